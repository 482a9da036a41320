//! Reads a project's `schema/*.graphql` and `projections/*.yaml` for the oracle: with the parsers' own trees and
//! nothing of the engine. It trusts that the definitions are right (`kinora check` is not under test here) and panics
//! at what it does not know.

use std::collections::BTreeMap;
use std::path::Path;

use apollo_compiler::ast;
use saphyr_parser::{Event, Parser};

use crate::cel_walk::Cel;

/// All read models and projections of a project.
#[derive(Debug)]
pub struct Definitions {
    pub types: BTreeMap<String, Ty>,
    pub enums: BTreeMap<String, Vec<String>>,
    pub projections: Vec<Projection>,
}

/// An object type.
#[derive(Debug, Default)]
pub struct Ty {
    pub fields: Vec<Field>,
    pub columns: Vec<Column>,
    pub tables: Vec<Table>,
    pub keys: Vec<Vec<String>>,
}

#[derive(Debug)]
pub struct Field {
    pub name: String,
    /// The named type under lists and bangs.
    pub of: String,
    /// Pairs of target field and column here.
    pub reference: Option<Vec<(String, String)>>,
    pub read: Option<Read>,
    pub list: bool,
}

/// `@read`.
#[derive(Debug)]
pub struct Read {
    pub table: Option<String>,
    pub via: Option<String>,
    pub page: usize,
    /// Names of the arguments that are compared with columns.
    pub equals: Vec<String>,
}

#[derive(Debug)]
pub struct Column {
    pub name: String,
    pub ty: ColumnTy,
    pub non_null: bool,
    pub max: Option<usize>,
}

#[derive(Clone, Debug)]
pub enum ColumnTy {
    /// A scalar, an enum or a value type, by name.
    Named(String),
    List(Box<ColumnTy>),
    /// Records stored by one of their columns.
    Map {
        key: String,
        record: String,
    },
}

#[derive(Debug)]
pub struct Table {
    pub name: String,
    pub partition: Vec<Part>,
    pub clustering: Vec<Part>,
    pub filter: Option<Cel>,
    /// `fields:`; `None`: all columns.
    pub fields: Option<Vec<String>>,
}

#[derive(Debug)]
pub struct Part {
    pub column: String,
    /// `month`, `hash` …
    pub function: Option<String>,
    pub descending: bool,
}

#[derive(Debug)]
pub struct Projection {
    pub name: String,
    pub entity: String,
    pub topic: String,
    pub kind: Cel,
    pub version: Option<Cel>,
    pub time: Option<Cel>,
    pub record_key: Option<Cel>,
    pub key: Vec<(String, Cel)>,
    pub unknown_parks: bool,
    pub when: Option<Cel>,
    pub upcasts: BTreeMap<String, BTreeMap<i128, Upcast>>,
    pub events: BTreeMap<String, Vec<Case>>,
    pub compute: Vec<(String, Cel)>,
}

#[derive(Debug, Default)]
pub struct Upcast {
    pub rename: Vec<(String, String)>,
    pub default: Vec<(String, String)>,
    pub drop: Vec<String>,
}

#[derive(Debug)]
pub struct Case {
    pub when: Option<Cel>,
    pub lets: Vec<(String, Cel)>,
    pub verb: Verb,
    pub sets: Vec<Set>,
    /// Collection column and key of the element that goes.
    pub removes: Vec<(String, Cel)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verb {
    Create,
    Update,
    Upsert,
    Replace,
    Delete,
}

#[derive(Debug)]
pub enum Set {
    Column(String, Cel),
    /// `lines: {each, as, set}`.
    Each {
        column: String,
        list: Cel,
        item: String,
        fields: Vec<(String, Cel)>,
    },
    /// `lines[k]: {…}`.
    Element {
        column: String,
        key: Cel,
        fields: Vec<(String, Cel)>,
    },
    /// `lines[k].f: …`.
    ElementField {
        column: String,
        key: Cel,
        field: String,
        value: Cel,
    },
}

/// A YAML tree; every scalar as text.
#[derive(Clone, Debug)]
enum Yaml {
    Scalar(String),
    List(Vec<Yaml>),
    Map(Vec<(String, Yaml)>),
}

impl Definitions {
    /// Reads the project in that directory.
    pub fn read(project: &Path) -> Definitions {
        let mut definitions =
            Definitions { types: BTreeMap::new(), enums: BTreeMap::new(), projections: Vec::new() };
        for text in texts(&project.join("schema"), ".graphql") {
            definitions.add_schema(&text);
        }
        for (name, ty) in definitions.referenced_columns() {
            definitions.types.get_mut(&name).expect("the type was just read").columns = ty;
        }
        for text in texts(&project.join("projections"), ".yaml") {
            let yaml = parse_yaml(&text);
            if yaml.get("projection").is_some() {
                definitions.projections.push(projection(&yaml));
            }
        }
        definitions
    }

    pub fn ty(&self, name: &str) -> &Ty {
        self.types.get(name).unwrap_or_else(|| panic!("there is no type {name}"))
    }

    /// The columns of an entity's base key, in order.
    pub fn base_key(&self, entity: &str) -> Vec<&str> {
        let table = self.ty(entity).tables.first().expect("an entity has a table");
        table.partition.iter().chain(&table.clustering).map(|part| part.column.as_str()).collect()
    }

    /// Whether values of that type are stored inside rows.
    pub fn is_value_type(&self, name: &str) -> bool {
        self.types.get(name).is_some_and(|ty| ty.tables.is_empty() && ty.keys.is_empty())
    }

    fn add_schema(&mut self, text: &str) {
        let document = ast::Document::parse(text, "schema.graphql").expect("the schema parses");
        for definition in &document.definitions {
            match definition {
                ast::Definition::EnumTypeDefinition(definition) => {
                    let values = definition.values.iter().map(|value| value.value.to_string()).collect();
                    self.enums.insert(definition.name.to_string(), values);
                }
                ast::Definition::ObjectTypeDefinition(definition) => {
                    self.types.insert(definition.name.to_string(), object(definition));
                }
                _ => {}
            }
        }
    }

    /// The columns of every type, those of `@ref`s with the type of the key they hold.
    fn referenced_columns(&self) -> Vec<(String, Vec<Column>)> {
        let mut all = Vec::new();
        for (name, ty) in &self.types {
            let mut columns: Vec<Column> = Vec::new();
            for field in &ty.fields {
                for (target, column) in field.reference.iter().flatten() {
                    let of = self
                        .ty(&field.of)
                        .fields
                        .iter()
                        .find(|f| f.name == *target)
                        .expect("the key field exists");
                    if !ty.columns.iter().any(|c| c.name == *column)
                        && !columns.iter().any(|c| c.name == *column)
                    {
                        let ty = ColumnTy::Named(of.of.clone());
                        columns.push(Column { name: column.clone(), ty, non_null: false, max: None });
                    }
                }
            }
            columns.extend(ty.columns.iter().map(|c| Column {
                name: c.name.clone(),
                ty: c.ty.clone(),
                ..*c
            }));
            all.push((name.clone(), columns));
        }
        all
    }
}

fn texts(folder: &Path, suffix: &str) -> Vec<String> {
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .unwrap_or_else(|fault| panic!("{}: {fault}", folder.display()))
        .map(|entry| entry.expect("an entry can be read").path())
        .filter(|path| {
            path.to_string_lossy().ends_with(suffix) && !path.to_string_lossy().ends_with(".cases.yaml")
        })
        .collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read_to_string(path).expect("a definition can be read")).collect()
}

fn object(definition: &ast::ObjectTypeDefinition) -> Ty {
    let mut ty = Ty::default();
    for directive in &definition.directives.0 {
        match directive.name.as_str() {
            "key" => {
                let fields = text_arg(directive, "fields").expect("@key has fields");
                ty.keys.push(fields.split_whitespace().map(str::to_owned).collect());
            }
            "table" => ty.tables.push(Table {
                name: text_arg(directive, "name").expect("@table has a name"),
                partition: parts(&text_arg(directive, "partition").expect("@table has a partition")),
                clustering: parts(&text_arg(directive, "clustering").unwrap_or_default()),
                filter: text_arg(directive, "where").map(|text| Cel::parse(&text)),
                fields: text_arg(directive, "fields")
                    .map(|text| parts(&text).into_iter().map(|part| part.column).collect()),
            }),
            _ => {}
        }
    }
    // A type without @key and @table that is no root type is a value type; its fields are columns all the same.
    for field in &definition.fields {
        let (of, list, non_null) = named(&field.ty);
        let directive = |name: &str| field.directives.0.iter().find(|directive| directive.name == *name);
        let reference = directive("ref").map(|r| reference(&text_arg(r, "key").expect("@ref has a key")));
        let read = directive("read").map(|r| Read {
            table: text_arg(r, "table"),
            via: text_arg(r, "via"),
            page: int_arg(r, "page").unwrap_or(20),
            equals: field
                .arguments
                .iter()
                .map(|argument| argument.name.to_string())
                .filter(|name| !["first", "last", "after", "before"].contains(&name.as_str()))
                .collect(),
        });
        let column = directive("column");
        if reference.is_none() && read.is_none() && !of.ends_with("Connection") {
            ty.columns.push(Column {
                name: field.name.to_string(),
                ty: match (list, column.and_then(|c| text_arg(c, "key"))) {
                    (true, Some(key)) => ColumnTy::Map { key, record: of.clone() },
                    (true, None) => ColumnTy::List(Box::new(ColumnTy::Named(of.clone()))),
                    (false, _) => ColumnTy::Named(of.clone()),
                },
                non_null,
                max: column.and_then(|c| int_arg(c, "max")),
            });
        }
        ty.fields.push(Field { name: field.name.to_string(), of, reference, read, list });
    }
    ty
}

fn named(ty: &ast::Type) -> (String, bool, bool) {
    match ty {
        ast::Type::Named(name) => (name.to_string(), false, false),
        ast::Type::NonNullNamed(name) => (name.to_string(), false, true),
        ast::Type::List(of) => (named(of).0, true, false),
        ast::Type::NonNullList(of) => (named(of).0, true, true),
    }
}

fn text_arg(directive: &ast::Directive, name: &str) -> Option<String> {
    match directive.arguments.iter().find(|argument| argument.name == *name)?.value.as_ref() {
        ast::Value::String(text) => Some(text.clone()),
        _ => None,
    }
}

fn int_arg(directive: &ast::Directive, name: &str) -> Option<usize> {
    match directive.arguments.iter().find(|argument| argument.name == *name)?.value.as_ref() {
        ast::Value::Int(int) => int.as_str().parse().ok(),
        _ => None,
    }
}

/// `"userId"` or `"userId -> id, tenant -> org"`: pairs of target field and column.
fn reference(text: &str) -> Vec<(String, String)> {
    text.split(',')
        .map(|pair| match pair.split_once("->") {
            Some((column, target)) => (target.trim().to_owned(), column.trim().to_owned()),
            None => ("id".to_owned(), pair.trim().to_owned()),
        })
        .collect()
}

/// `placedAt DESC, hash(id, 8) AS shard`.
fn parts(text: &str) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_alphanumeric() || c == '_') {
        rest = &rest[start..];
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        rest = after;
        match word.to_ascii_uppercase().as_str() {
            "DESC" => parts.last_mut().expect("a direction follows a column").descending = true,
            "ASC" => {}
            "AS" => {
                let name = rest.trim_start();
                rest = &name[name.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(name.len())..];
            }
            _ => match rest.trim_start().strip_prefix('(') {
                Some(inside) => {
                    let (inside, after) = inside.split_once(')').expect("a bracket closes");
                    let column = inside.split(',').next().expect("split gives a part").trim().to_owned();
                    parts.push(Part { column, function: Some(word.to_owned()), descending: false });
                    rest = after;
                }
                None => parts.push(Part { column: word.to_owned(), function: None, descending: false }),
            },
        }
    }
    parts
}

fn projection(yaml: &Yaml) -> Projection {
    let from = yaml.get("from").expect("a projection has `from`");
    let text = |at: &Yaml, name: &str| at.get(name).map(|value| value.scalar().to_owned());
    let cel = |at: &Yaml, name: &str| at.get(name).map(|value| Cel::parse(value.scalar()));
    let unknown = text(yaml, "unknown").expect("`unknown` is said");
    assert!(["park", "ignore"].contains(&unknown.as_str()), "the oracle does not know `unknown: {unknown}`");
    Projection {
        name: text(yaml, "projection").expect("a projection has a name"),
        entity: text(yaml, "into").expect("a projection has `into`"),
        topic: text(from, "topic").expect("`from` has a topic"),
        kind: cel(from, "type").expect("`from` has a type"),
        version: cel(from, "version"),
        time: cel(from, "time"),
        record_key: cel(from, "recordKey"),
        key: cels(yaml.get("key").expect("a projection has a key")),
        unknown_parks: unknown == "park",
        when: cel(yaml, "when"),
        upcasts: entries(yaml.get("upcast"))
            .iter()
            .map(|(kind, versions)| {
                let of =
                    |(version, steps): &(String, Yaml)| (version.parse().expect("a version"), upcast(steps));
                (kind.clone(), entries(Some(versions)).iter().map(of).collect())
            })
            .collect(),
        events: entries(yaml.get("events"))
            .iter()
            .map(|(kind, cases)| (kind.clone(), all_cases(cases)))
            .collect(),
        compute: yaml.get("compute").map(cels).unwrap_or_default(),
    }
}

fn upcast(yaml: &Yaml) -> Upcast {
    let mut upcast = Upcast::default();
    for (step, what) in entries(Some(yaml)) {
        let pairs = |what: &Yaml| {
            entries(Some(what)).iter().map(|(a, b)| (a.clone(), b.scalar().to_owned())).collect()
        };
        match step.as_str() {
            "rename" => upcast.rename = pairs(what),
            "default" => upcast.default = pairs(what),
            "drop" => upcast.drop = what.list().iter().map(|name| name.scalar().to_owned()).collect(),
            other => panic!("the oracle does not know the upcast step `{other}`"),
        }
    }
    upcast
}

fn all_cases(yaml: &Yaml) -> Vec<Case> {
    match yaml {
        Yaml::List(cases) => cases.iter().map(case).collect(),
        one => vec![case(one)],
    }
}

fn case(yaml: &Yaml) -> Case {
    let mut case =
        Case { when: None, lets: Vec::new(), verb: Verb::Update, sets: Vec::new(), removes: Vec::new() };
    for (word, what) in entries(Some(yaml)) {
        let verb = match word.as_str() {
            "when" => {
                case.when = Some(Cel::parse(what.scalar()));
                continue;
            }
            "let" => {
                case.lets = cels(what);
                continue;
            }
            "remove" => {
                let paths = match what {
                    Yaml::List(paths) => paths.clone(),
                    one => vec![one.clone()],
                };
                case.removes = paths
                    .iter()
                    .map(|path| element(path.scalar()).expect("an element is removed"))
                    .map(|(column, key, _)| (column, key))
                    .collect();
                continue;
            }
            "create" => Verb::Create,
            "update" => Verb::Update,
            "upsert" => Verb::Upsert,
            "replace" => Verb::Replace,
            "delete" => Verb::Delete,
            other => panic!("the oracle does not know `{other}`"),
        };
        case.verb = verb;
        if verb != Verb::Delete {
            case.sets = entries(Some(what)).iter().map(|(path, value)| set(path, value)).collect();
        }
    }
    case
}

fn set(path: &str, value: &Yaml) -> Set {
    match (element(path), value) {
        (Some((column, key, Some(field))), value) => {
            Set::ElementField { column, key, field, value: Cel::parse(value.scalar()) }
        }
        (Some((column, key, None)), fields) => Set::Element { column, key, fields: cels(fields) },
        (None, Yaml::Scalar(text)) => Set::Column(path.to_owned(), Cel::parse(text)),
        (None, each) => Set::Each {
            column: path.to_owned(),
            list: Cel::parse(each.get("each").expect("a list has `each`").scalar()),
            item: each.get("as").expect("`each` has `as`").scalar().to_owned(),
            fields: cels(each.get("set").expect("`each` has `set`")),
        },
    }
}

/// `lines[event.productId].quantity` → column, key, field.
fn element(path: &str) -> Option<(String, Cel, Option<String>)> {
    let (column, rest) = path.split_once('[')?;
    let (key, field) = rest.rsplit_once(']').expect("the bracket closes");
    Some((column.to_owned(), Cel::parse(key), field.strip_prefix('.').map(str::to_owned)))
}

fn cels(yaml: &Yaml) -> Vec<(String, Cel)> {
    entries(Some(yaml)).iter().map(|(name, value)| (name.clone(), Cel::parse(value.scalar()))).collect()
}

fn entries(yaml: Option<&Yaml>) -> &[(String, Yaml)] {
    match yaml {
        Some(Yaml::Map(entries)) => entries,
        None => &[],
        Some(other) => panic!("expected a map, found {other:?}"),
    }
}

impl Yaml {
    fn get(&self, name: &str) -> Option<&Yaml> {
        entries(Some(self)).iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    fn scalar(&self) -> &str {
        match self {
            Yaml::Scalar(text) => text,
            other => panic!("expected text, found {other:?}"),
        }
    }

    fn list(&self) -> &[Yaml] {
        match self {
            Yaml::List(items) => items,
            other => panic!("expected a list, found {other:?}"),
        }
    }
}

fn parse_yaml(text: &str) -> Yaml {
    let mut events =
        Parser::new_from_str(text).map(|event| event.expect("the YAML parses").0).filter(|event| {
            !matches!(
                event,
                Event::Nothing
                    | Event::StreamStart
                    | Event::StreamEnd
                    | Event::DocumentStart(_)
                    | Event::DocumentEnd
            )
        });
    node(events.next().expect("the YAML has a node"), &mut events)
}

fn node<'y>(first: Event<'y>, events: &mut impl Iterator<Item = Event<'y>>) -> Yaml {
    match first {
        Event::Scalar(text, ..) => Yaml::Scalar(text.into_owned()),
        Event::SequenceStart(..) => {
            let mut items = Vec::new();
            loop {
                match events.next().expect("a list ends") {
                    Event::SequenceEnd => return Yaml::List(items),
                    event => items.push(node(event, events)),
                }
            }
        }
        Event::MappingStart(..) => {
            let mut entries = Vec::new();
            loop {
                match events.next().expect("a map ends") {
                    Event::MappingEnd => return Yaml::Map(entries),
                    Event::Scalar(key, ..) => {
                        let value = events.next().expect("a key has a value");
                        entries.push((key.into_owned(), node(value, events)));
                    }
                    other => panic!("a key is text, found {other:?}"),
                }
            }
        }
        other => panic!("the oracle does not know {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_parts_are_read() {
        let read = |text| {
            let of = |part: &Part| format!("{:?} {} {}", part.function, part.column, part.descending);
            parts(text).iter().map(of).collect::<Vec<_>>()
        };
        assert_eq!(
            read("userId, month(placedAt) AS m  name DESC, hash(id, 8) id ASC"),
            [
                "None userId false",
                "Some(\"month\") placedAt false",
                "None name true",
                "Some(\"hash\") id false",
                "None id false"
            ]
        );
    }

    #[test]
    fn the_shop_is_read_whole() {
        let shop = Definitions::read(Path::new(env!("CARGO_MANIFEST_DIR")));
        assert_eq!(shop.projections.len(), 4);
        assert_eq!(shop.base_key("Order"), ["id"]);
        let columns = |name: &str| shop.ty(name).columns.iter().map(|c| c.name.as_str()).collect::<Vec<_>>();
        assert_eq!(columns("CartLine"), ["productId", "name", "quantity", "unitPrice"]);
        assert!(columns("Cart").contains(&"currency") && columns("Cart").contains(&"userId"));
        assert_eq!(shop.ty("Order").tables.len(), 4);
        assert!(shop.is_value_type("Money") && !shop.is_value_type("User"));
    }
}
