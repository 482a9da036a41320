//! The answer that a query must have, by walking the query over the oracle's rows: no plans, no tables read, every
//! list sorted from all rows. Knows fields, aliases, arguments, variables, inline fragments and `__typename`.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use apollo_compiler::ast::{self, Selection, Value as Literal};
use serde_json::{Map, Value as Json};

use crate::definitions::{ColumnTy, Field, Part, Table};
use crate::oracle::{Oracle, Row, key_text};
use crate::value::V;

/// What an asker knows besides the rows: which row an opaque cursor stands for.
pub type Cursors = BTreeMap<String, String>;

/// One question: variables are in its text already or here.
pub struct Question<'q> {
    pub query: &'q str,
    pub variables: &'q Map<String, Json>,
    pub cursors: &'q Cursors,
}

/// In place of every cursor: the engine's are opaque, so both sides are compared without them.
pub const CURSOR: &str = "<cursor>";

/// The `data` that the question must be answered with.
pub fn answer(oracle: &Oracle, question: &Question<'_>) -> Json {
    let document = ast::Document::parse(question.query, "query.graphql").expect("the query parses");
    let operation = document
        .definitions
        .iter()
        .find_map(|definition| match definition {
            ast::Definition::OperationDefinition(operation) => Some(operation),
            _ => None,
        })
        .expect("the query has an operation");
    let walk = Walk { oracle, question };
    walk.object("Query", &Row::new(), &operation.selection_set)
}

/// The base key of a row, as cursors name it.
pub fn row_name(oracle: &Oracle, entity: &str, row: &Row) -> String {
    key_text(oracle.definitions.base_key(entity).into_iter().map(|column| &row[column]))
}

struct Walk<'o> {
    oracle: &'o Oracle,
    question: &'o Question<'o>,
}

impl Walk<'_> {
    /// An object of that type; `row` holds its columns, of a stub its key.
    fn object(&self, ty: &str, row: &Row, selections: &[Selection]) -> Json {
        let mut out = Map::new();
        self.select(ty, row, selections, &mut out);
        Json::Object(out)
    }

    fn select(&self, ty: &str, row: &Row, selections: &[Selection], out: &mut Map<String, Json>) {
        for selection in selections {
            match selection {
                Selection::Field(field) => {
                    let value = match field.name.as_str() {
                        "__typename" => Json::from(ty),
                        "_entities" => self.entities(field),
                        _ => self.field(ty, row, field),
                    };
                    out.insert(response_name(field), value);
                }
                Selection::InlineFragment(fragment) => {
                    if fragment.type_condition.as_ref().is_none_or(|condition| condition == ty) {
                        self.select(ty, row, &fragment.selection_set, out);
                    }
                }
                Selection::FragmentSpread(spread) => {
                    panic!("the oracle knows no fragment {}", spread.fragment_name)
                }
            }
        }
    }

    fn field(&self, ty: &str, row: &Row, field: &ast::Field) -> Json {
        let fields = &self.oracle.definitions.ty(ty).fields;
        let known = fields.iter().find(|known| field.name == *known.name);
        let known = known.unwrap_or_else(|| panic!("{ty} has no field {}", field.name));
        if let Some(read) = &known.read {
            return self.read(ty, row, known, read, field);
        }
        if let Some(pairs) = &known.reference {
            return self.reference(row, known, pairs, field);
        }
        self.value(&known.of, row.get(&known.name).unwrap_or(&V::Null), &field.selection_set)
    }

    /// A stored value: a scalar, a value type, or a collection of either.
    fn value(&self, ty: &str, value: &V, selections: &[Selection]) -> Json {
        match value {
            V::List(items) => items.iter().map(|item| self.value(ty, item, selections)).collect(),
            V::Map(fields) if self.is_keyed(ty, fields) => {
                fields.values().map(|item| self.value(ty, item, selections)).collect()
            }
            V::Map(fields) => self.object(ty, fields, selections),
            scalar => scalar.to_json(),
        }
    }

    /// Whether a map is a collection stored by key rather than one record of that type.
    fn is_keyed(&self, ty: &str, fields: &BTreeMap<String, V>) -> bool {
        let columns = &self.oracle.definitions.ty(ty).columns;
        !columns.iter().all(|column| fields.contains_key(&column.name))
    }

    fn reference(&self, row: &Row, known: &Field, pairs: &[(String, String)], field: &ast::Field) -> Json {
        let mut key = Row::new();
        for (target, column) in pairs {
            match row.get(column) {
                None | Some(V::Null) => return Json::Null,
                Some(value) => drop(key.insert(target.clone(), value.clone())),
            }
        }
        self.entity(&known.of, &key, &field.selection_set)
    }

    /// An entity by some of its fields: a stub is what its key says, any other must have a row.
    fn entity(&self, ty: &str, key: &Row, selections: &[Selection]) -> Json {
        if self.oracle.definitions.ty(ty).tables.is_empty() {
            return self.object(ty, key, selections);
        }
        let mut found: Vec<&Row> = self.oracle.rows_of(ty).filter(|row| matches(row, key)).collect();
        found.sort_by(|a, b| self.by_base_key(ty, a, b));
        found.first().map_or(Json::Null, |row| self.object(ty, row, selections))
    }

    fn entities(&self, field: &ast::Field) -> Json {
        let representations = self.argument(field, "representations").expect("_entities has representations");
        let one = |representation: &Json| {
            let ty = representation["__typename"].as_str().expect("a representation names its type");
            let keys = &self.oracle.definitions.ty(ty).keys;
            let complete = |key: &&Vec<String>| key.iter().all(|name| !representation[name].is_null());
            let key = keys.iter().find(complete).expect("a representation has a key");
            let key = key.iter().map(|name| (name.clone(), from_json(&representation[name]))).collect();
            self.entity(ty, &key, &field.selection_set)
        };
        representations.as_array().expect("representations are a list").iter().map(one).collect()
    }

    fn read(
        &self,
        parent: &str,
        row: &Row,
        known: &Field,
        read: &crate::definitions::Read,
        field: &ast::Field,
    ) -> Json {
        let entity = known.of.strip_suffix("Connection").unwrap_or(&known.of);
        let mut wanted: Row = read
            .equals
            .iter()
            .map(|name| (name.clone(), from_json(&self.argument(field, name).unwrap_or(Json::Null))))
            .collect();
        if let Some(via) = &read.via {
            let back = self.oracle.definitions.ty(entity).fields.iter().find(|field| field.name == *via);
            let pairs = back.and_then(|field| field.reference.as_ref()).expect("`via` names a @ref");
            assert_eq!(back.expect("it is there").of, parent, "`via` leads back to the parent");
            wanted.extend(pairs.iter().map(|(target, column)| (column.clone(), row[target].clone())));
        }
        let table = self.table(entity, read.table.as_deref(), &wanted);
        let mut rows = self.oracle.rows_in(entity, table);
        rows.retain(|row| matches(row, &wanted));
        rows.sort_by(|a, b| self.by_clustering(entity, table, a, b));
        if known.of == entity && !known.list {
            return rows.first().map_or(Json::Null, |row| self.object(entity, row, &field.selection_set));
        }
        self.connection(entity, &rows, read.page, field)
    }

    /// The named table, or the first whose partition is just what is asked by.
    fn table(&self, entity: &str, name: Option<&str>, wanted: &Row) -> &Table {
        let tables = &self.oracle.definitions.ty(entity).tables;
        let fits = |table: &&Table| match name {
            Some(name) => table.name == name,
            None => {
                let asked = |part: &&Part| part.function.is_none();
                table.partition.iter().filter(asked).all(|part| wanted.contains_key(&part.column))
                    && wanted.keys().all(|column| table.partition.iter().any(|part| part.column == *column))
            }
        };
        tables.iter().find(fits).unwrap_or_else(|| panic!("no table of {entity} answers {wanted:?}"))
    }

    fn connection(&self, entity: &str, rows: &[&Row], page: usize, field: &ast::Field) -> Json {
        let count = |name: &str| {
            self.argument(field, name)
                .and_then(|n| n.as_u64())
                .map(|n| usize::try_from(n).expect("a page is small"))
        };
        let place = |name: &str| {
            let cursor = self.argument(field, name)?;
            let row = &self.question.cursors[cursor.as_str()?];
            let at = rows.iter().position(|each| row_name(self.oracle, entity, each) == *row);
            Some(at.expect("the cursor's row is still in the list"))
        };
        let mut from = place("after").map_or(0, |at| at + 1);
        let mut to = place("before").unwrap_or(rows.len()).max(from);
        match (count("first"), count("last")) {
            (None, Some(last)) => from = to.saturating_sub(last).max(from),
            (first, _) => to = (from + first.unwrap_or(page)).min(to),
        }
        let shown = &rows[from..to];
        let info = |selections: &[Selection]| {
            let mut out = Map::new();
            for field in fields(selections) {
                let value = match field.name.as_str() {
                    "hasNextPage" => Json::from(to < rows.len()),
                    "hasPreviousPage" => Json::from(from > 0),
                    "startCursor" | "endCursor" if shown.is_empty() => Json::Null,
                    "startCursor" | "endCursor" => Json::from(CURSOR),
                    "__typename" => Json::from("PageInfo"),
                    other => panic!("PageInfo has no field {other}"),
                };
                out.insert(response_name(field), value);
            }
            Json::Object(out)
        };
        let edge = |row: &Row, selections: &[Selection]| {
            let mut out = Map::new();
            for field in fields(selections) {
                let value = match field.name.as_str() {
                    "cursor" => Json::from(CURSOR),
                    "node" => self.object(entity, row, &field.selection_set),
                    "__typename" => Json::from(format!("{entity}Edge")),
                    other => panic!("an edge has no field {other}"),
                };
                out.insert(response_name(field), value);
            }
            Json::Object(out)
        };
        let mut out = Map::new();
        for field in fields(&field.selection_set) {
            let inner = &field.selection_set;
            let value = match field.name.as_str() {
                "nodes" => shown.iter().map(|row| self.object(entity, row, inner)).collect(),
                "edges" => shown.iter().map(|row| edge(row, inner)).collect(),
                "pageInfo" => info(inner),
                "__typename" => Json::from(format!("{entity}Connection")),
                other => panic!("a connection has no field {other}"),
            };
            out.insert(response_name(field), value);
        }
        Json::Object(out)
    }

    fn by_clustering(&self, entity: &str, table: &Table, a: &Row, b: &Row) -> Ordering {
        for part in &table.clustering {
            let order = compare(&a[&part.column], &b[&part.column]);
            let order = if part.descending { order.reverse() } else { order };
            if order.is_ne() {
                return order;
            }
        }
        self.by_base_key(entity, a, b)
    }

    fn by_base_key(&self, entity: &str, a: &Row, b: &Row) -> Ordering {
        let key = self.oracle.definitions.base_key(entity);
        key.iter()
            .map(|column| compare(&a[*column], &b[*column]))
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    }

    fn argument(&self, field: &ast::Field, name: &str) -> Option<Json> {
        let argument = field.arguments.iter().find(|argument| argument.name == *name)?;
        let value = literal_json(&argument.value, self.question.variables);
        (!value.is_null()).then_some(value)
    }
}

fn fields(selections: &[Selection]) -> impl Iterator<Item = &ast::Field> {
    selections.iter().map(|selection| match selection {
        Selection::Field(field) => field.as_ref(),
        other => panic!("the oracle knows only fields here, found {other:?}"),
    })
}

fn response_name(field: &ast::Field) -> String {
    field.alias.as_ref().unwrap_or(&field.name).to_string()
}

fn literal_json(literal: &Literal, variables: &Map<String, Json>) -> Json {
    match literal {
        Literal::String(text) => Json::from(text.as_str()),
        Literal::Int(int) => int.as_str().parse::<i64>().map(Json::from).expect("a small integer"),
        Literal::Boolean(truth) => Json::from(*truth),
        Literal::Null => Json::Null,
        Literal::Enum(name) => Json::from(name.as_str()),
        Literal::List(items) => items.iter().map(|item| literal_json(item, variables)).collect(),
        Literal::Object(fields) => Json::Object(
            fields.iter().map(|(name, value)| (name.to_string(), literal_json(value, variables))).collect(),
        ),
        Literal::Variable(name) => variables.get(name.as_str()).cloned().unwrap_or(Json::Null),
        other => panic!("the oracle does not know the literal {other:?}"),
    }
}

fn from_json(json: &Json) -> V {
    match json {
        Json::String(text) => V::text(text.clone()),
        Json::Number(number) => V::Number(number.to_string()),
        Json::Null => V::Null,
        other => panic!("the oracle does not know the argument {other}"),
    }
}

fn matches(row: &Row, wanted: &Row) -> bool {
    wanted.iter().all(|(column, value)| row.get(column) == Some(value) && *value != V::Null)
}

/// The order of the stores: text by bytes.
fn compare(a: &V, b: &V) -> Ordering {
    match (a, b) {
        (V::Text(a), V::Text(b)) => a.as_bytes().cmp(b.as_bytes()),
        (V::Time(a), V::Time(b)) => a.cmp(b),
        (V::Decimal(a), V::Decimal(b)) => a.compare(b),
        (V::Null, V::Null) => Ordering::Equal,
        (V::Null, _) => Ordering::Less,
        (_, V::Null) => Ordering::Greater,
        _ => a.as_int().cmp(&b.as_int()),
    }
}

/// What a table must hold, one canonical row each, sorted: the columns that it has, by name.
pub fn table_rows(oracle: &Oracle, entity: &str, table: &Table) -> Vec<Json> {
    let keys = table.partition.iter().chain(&table.clustering).map(|part| part.column.as_str());
    let mut held: Vec<&str> = oracle.definitions.base_key(entity);
    held.extend(keys);
    let columns = &oracle.definitions.ty(entity).columns;
    let holds = |name: &str| {
        table.fields.as_ref().is_none_or(|f| f.iter().any(|f| f == name) || held.contains(&name))
    };
    let json = |row: &Row| {
        let cells = columns.iter().filter(|column| holds(&column.name));
        Json::Object(
            cells.map(|column| (column.name.clone(), cell(&column.ty, &row[&column.name]))).collect(),
        )
    };
    let mut rows: Vec<Json> = oracle.rows_in(entity, table).into_iter().map(json).collect();
    rows.sort_by_key(Json::to_string);
    rows
}

/// A cell as JSON: a collection stored by key is a list of its elements in key order.
fn cell(ty: &ColumnTy, value: &V) -> Json {
    match (ty, value) {
        (ColumnTy::Map { .. }, V::Map(elements)) => elements.values().map(V::to_json).collect(),
        (_, value) => value.to_json(),
    }
}
