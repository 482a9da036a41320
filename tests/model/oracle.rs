//! The fold, a second time: what every row of every table must be after a log, found by plain maps and no cleverness.
//!
//! Comes in: [`Definitions`] and records in the order of their keys. Goes out: rows by entity and the parked keys. One
//! record at a time, every expression evaluated anew, every row cloned: slow, and easy to believe.

use std::collections::{BTreeMap, BTreeSet};

use crate::cel_walk::{Cel, Fault, Names};
use crate::definitions::{Case, ColumnTy, Definitions, Projection, Set, Table, Verb};
use crate::value::{Dec, V, parse_json, parse_time};

/// A record as it was published.
#[derive(Clone, Debug)]
pub struct Sent {
    pub topic: String,
    pub key: Option<String>,
    pub value: Option<Vec<u8>>,
}

/// A row: every column by name, null where it is not set.
pub type Row = BTreeMap<String, V>;

/// Read models after a log.
#[derive(Debug)]
pub struct Oracle {
    pub definitions: Definitions,
    /// By entity, then by the base key as JSON.
    pub rows: BTreeMap<String, BTreeMap<String, Row>>,
    /// By projection and what is parked.
    pub parked: BTreeMap<(String, Parked), Held>,
    seen: u64,
}

/// What is parked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Parked {
    /// A row, by its base key as JSON.
    Row(String),
    /// A record key.
    Record(String),
    /// A record without a key: its number in the log.
    Alone(u64),
}

/// A parked key's first event, its reason and how many wait.
#[derive(Clone, Debug)]
pub struct Held {
    /// Number of the record in the log.
    pub since: u64,
    pub reason: String,
    pub waiting: u64,
}

/// What became of an event in one projection.
#[derive(Clone, Debug, PartialEq)]
enum Outcome {
    Applied,
    Parked(Parked, String),
}

impl Oracle {
    pub fn new(definitions: Definitions) -> Oracle {
        Oracle { definitions, rows: BTreeMap::new(), parked: BTreeMap::new(), seen: 0 }
    }

    /// Folds one record into every projection of its topic.
    pub fn apply(&mut self, sent: &Sent) {
        let number = self.seen;
        self.seen += 1;
        for index in 0..self.definitions.projections.len() {
            if self.definitions.projections[index].topic != sent.topic {
                continue;
            }
            let outcome = self.project(index, sent, number);
            if let Outcome::Parked(key, reason) = outcome {
                let name = self.definitions.projections[index].name.clone();
                let held =
                    self.parked.entry((name, key)).or_insert(Held { since: number, reason, waiting: 0 });
                held.waiting += 1;
            }
        }
    }

    /// All rows of an entity.
    pub fn rows_of(&self, entity: &str) -> impl Iterator<Item = &Row> {
        self.rows.get(entity).into_iter().flat_map(BTreeMap::values)
    }

    /// The rows that a table holds: of a copy those for which its `where` holds.
    pub fn rows_in(&self, entity: &str, table: &Table) -> Vec<&Row> {
        let holds = |row: &&Row| match &table.filter {
            None => true,
            Some(filter) => {
                let mut names: Names = enum_names(&self.definitions);
                names.extend(row.iter().map(|(name, value)| (name.clone(), value.clone())));
                filter.holds(&names).expect("a filter has a truth value for every row")
            }
        };
        self.rows_of(entity).filter(holds).collect()
    }

    fn project(&mut self, index: usize, sent: &Sent, number: u64) -> Outcome {
        let projection = &self.definitions.projections[index];
        let by_record = match &sent.key {
            Some(key) => Parked::Record(key.clone()),
            None => Parked::Alone(number),
        };
        if self.parked.contains_key(&(projection.name.clone(), by_record.clone())) {
            return Outcome::Parked(by_record, "waits".into());
        }
        let event = match decode(projection, sent) {
            Ok(Some(event)) => event,
            Ok(None) => return Outcome::Applied,
            Err(reason) => return Outcome::Parked(by_record, reason),
        };
        let mut names = enum_names(&self.definitions);
        names.insert("event".into(), event.body.clone());
        let key = match route(projection, &self.definitions, &names, sent.key.as_deref()) {
            Ok(key) => key,
            Err(reason) => return Outcome::Parked(by_record, reason),
        };
        let row_key = key_text(key.values());
        let by_row = Parked::Row(row_key.clone());
        if self.parked.contains_key(&(projection.name.clone(), by_row.clone())) {
            return Outcome::Parked(by_row, "waits".into());
        }
        let before = self.rows.get(&projection.entity).and_then(|rows| rows.get(&row_key));
        match fold(projection, &self.definitions, &event, names, key, before) {
            Err(reason) => Outcome::Parked(by_row, reason),
            Ok(after) => {
                let rows = self.rows.entry(projection.entity.clone()).or_default();
                match after {
                    Some(row) => rows.insert(row_key, row),
                    None => rows.remove(&row_key),
                };
                Outcome::Applied
            }
        }
    }
}

/// The base key of a row, as one text.
pub fn key_text<'v>(values: impl Iterator<Item = &'v V>) -> String {
    serde_json::Value::Array(values.map(V::to_json).collect()).to_string()
}

/// Every enum value as a name that stands for itself.
fn enum_names(definitions: &Definitions) -> Names {
    definitions.enums.values().flatten().map(|value| (value.clone(), V::text(value.clone()))).collect()
}

struct Decoded {
    kind: String,
    body: V,
}

/// The event in today's version; `None` where it is to be ignored.
fn decode(projection: &Projection, sent: &Sent) -> Result<Option<Decoded>, String> {
    let bytes = sent.value.as_deref().ok_or("the record has no value")?;
    let body = parse_json(bytes)?;
    if !matches!(body, V::Map(_)) {
        return Err(format!("an event is an object, not {}", body.kind()));
    }
    let mut names = Names::from([("event".to_owned(), body.clone())]);
    let setting = |cel: &Cel| cel.setting(&names).map_err(said);
    let kind = match setting(&projection.kind)? {
        Some(V::Text(kind)) => kind,
        other => return Err(format!("the type is {other:?}")),
    };
    let version = match projection.version.as_ref().map(&setting).transpose()?.flatten() {
        None => 1,
        Some(value) => value.as_int().ok_or_else(|| format!("the version is {}", value.kind()))?,
    };
    match projection.time.as_ref().map(&setting).transpose()?.flatten() {
        None => {}
        Some(V::Text(text)) => drop(parse_time(&text)?),
        Some(other) => return Err(format!("the time is {}", other.kind())),
    }
    let steps = projection.upcasts.get(&kind);
    let newest = steps.and_then(|steps| steps.keys().last()).map_or(1, |last| last + 1);
    if !projection.events.contains_key(&kind) || version > newest {
        return if projection.unknown_parks {
            Err(format!("{kind} version {version} is unknown"))
        } else {
            Ok(None)
        };
    }
    for step in version..newest {
        let upcast =
            steps.and_then(|steps| steps.get(&step)).ok_or(format!("no upcast from version {step}"))?;
        let Some(V::Map(fields)) = names.get_mut("event") else { unreachable!("the body is an object") };
        for (from, to) in &upcast.rename {
            if let Some(value) = fields.remove(from) {
                fields.insert(to.clone(), value);
            }
        }
        for (name, value) in &upcast.default {
            fields.entry(name.clone()).or_insert_with(|| V::text(value.clone()));
        }
        for name in &upcast.drop {
            fields.remove(name);
        }
    }
    if version < 1 && steps.is_none() {
        return Err(format!("version {version} is older than any known"));
    }
    Ok(Some(Decoded { kind, body: names.remove("event").expect("it was put there") }))
}

fn said(fault: Fault) -> String {
    match fault {
        Fault::Missing(field) => format!("the field `{field}` is missing"),
        Fault::Other(reason) => reason,
    }
}

/// The row key that an event is for.
fn route(
    projection: &Projection,
    definitions: &Definitions,
    names: &Names,
    record_key: Option<&str>,
) -> Result<BTreeMap<String, V>, String> {
    if let Some(expected) = &projection.record_key {
        let expected = match expected.value(names).map_err(said)? {
            V::Text(text) => text,
            V::Number(text) => text,
            other => return Err(format!("the record key would be {}", other.kind())),
        };
        if record_key != Some(&expected) {
            return Err(format!("record key is {record_key:?}, the event says {expected}"));
        }
    }
    let mut key = BTreeMap::new();
    for (name, cel) in &projection.key {
        let ty = &column_of(definitions, &projection.entity, name).ty;
        let value = fit(cel.value(names).map_err(said)?, ty, definitions)?;
        if value == V::Null {
            return Err(format!("the key column {name} is null"));
        }
        key.insert(name.clone(), value);
    }
    Ok(key)
}

/// The row after the event; `None` where there is none.
fn fold(
    projection: &Projection,
    definitions: &Definitions,
    event: &Decoded,
    mut names: Names,
    key: BTreeMap<String, V>,
    before: Option<&Row>,
) -> Result<Option<Row>, String> {
    let unchanged = || Ok(before.cloned());
    names.insert("row".into(), before.map_or(V::Null, |row| V::Map(row.clone())));
    let holds = |condition: &Option<Cel>, names: &Names| match condition {
        None => Ok(true),
        Some(cel) => cel.holds(names).map_err(said),
    };
    if !holds(&projection.when, &names)? {
        return unchanged();
    }
    let mut chosen: Option<&Case> = None;
    for case in &projection.events[&event.kind] {
        if chosen.is_none() && holds(&case.when, &names)? {
            chosen = Some(case);
        }
    }
    let Some(case) = chosen else { return unchanged() };
    match (case.verb, before) {
        (Verb::Create, Some(_)) | (Verb::Update, None) => return unchanged(),
        (Verb::Delete, _) => return Ok(None),
        _ => {}
    }
    for (name, cel) in &case.lets {
        let value = cel.value(&names).map_err(said)?;
        names.insert(name.clone(), value);
    }
    let entity = &projection.entity;
    let mut row: Row =
        definitions.ty(entity).columns.iter().map(|column| (column.name.clone(), V::Null)).collect();
    if case.verb != Verb::Replace
        && let Some(before) = before
    {
        row = before.clone();
    }
    row.extend(key);
    for set in &case.sets {
        apply_set(definitions, entity, set, &names, &mut row)?;
    }
    for (column, cel) in &case.removes {
        let gone = cel.value(&names).map_err(said)?;
        if let (Some(V::Map(elements)), Some(gone)) = (row.get_mut(column), gone.as_text()) {
            elements.remove(gone);
        }
    }
    compute(projection, definitions, &mut names, &mut row)?;
    for column in &definitions.ty(entity).columns {
        check_column(column.non_null, column.max, &column.name, &row[&column.name])?;
    }
    Ok(Some(row))
}

fn compute(
    projection: &Projection,
    definitions: &Definitions,
    names: &mut Names,
    row: &mut Row,
) -> Result<(), String> {
    for (name, cel) in &projection.compute {
        // A collection that nothing has filled yet is empty, not null.
        for column in &definitions.ty(&projection.entity).columns {
            if column.non_null && row[&column.name] == V::Null {
                match column.ty {
                    ColumnTy::Map { .. } => drop(row.insert(column.name.clone(), V::Map(BTreeMap::new()))),
                    ColumnTy::List(_) => drop(row.insert(column.name.clone(), V::List(Vec::new()))),
                    ColumnTy::Named(_) => {}
                }
            }
        }
        names.insert("row".into(), V::Map(row.clone()));
        let value = cel.value(names).map_err(said)?;
        let ty = &column_of(definitions, &projection.entity, name).ty;
        row.insert(name.clone(), fit(value, ty, definitions)?);
    }
    Ok(())
}

fn check_column(non_null: bool, max: Option<usize>, name: &str, value: &V) -> Result<(), String> {
    let elements = match value {
        V::Null if non_null => return Err(format!("{name} may not be null")),
        V::List(items) => items.len(),
        V::Map(items) => items.len(),
        _ => 0,
    };
    match max {
        Some(max) if elements > max => Err(format!("{name} has {elements} elements, more than {max}")),
        _ => Ok(()),
    }
}

fn apply_set(
    definitions: &Definitions,
    entity: &str,
    set: &Set,
    names: &Names,
    row: &mut Row,
) -> Result<(), String> {
    match set {
        Set::Column(name, cel) => {
            let column = column_of(definitions, entity, name);
            if let Some(value) = cel.setting(names).map_err(said)? {
                if value == V::Null && column.non_null {
                    return Err(format!("{name} may not be null"));
                }
                row.insert(name.clone(), fit(value, &column.ty, definitions)?);
            }
        }
        Set::Each { column, list, item, fields } => {
            let list = match list.setting(names).map_err(said)? {
                None => return Ok(()),
                Some(V::List(items)) => items,
                Some(other) => return Err(format!("{column} would be {}", other.kind())),
            };
            let ColumnTy::List(of) = &column_of(definitions, entity, column).ty else {
                panic!("the oracle knows `each` only for lists")
            };
            let ColumnTy::Named(record) = of.as_ref() else { panic!("a list of lists") };
            let mut made = Vec::new();
            for element in list {
                let mut inner = names.clone();
                inner.insert(item.clone(), element);
                made.push(V::Map(merged(definitions, record, BTreeMap::new(), fields, &inner)?));
            }
            row.insert(column.clone(), V::List(made));
        }
        Set::Element { column, key, fields } => {
            let (key_column, record) = stored_by(definitions, entity, column);
            let key = element_key(definitions, &record, &key_column, key, names)?;
            let mut elements = elements_of(row, column);
            let old = elements.get(&key).cloned();
            let mut inner = names.clone();
            inner.insert("old".into(), old.clone().unwrap_or(V::Null));
            let mut start = match old {
                Some(V::Map(old)) => old,
                _ => BTreeMap::new(),
            };
            start.insert(key_column, V::text(key.clone()));
            elements.insert(key, V::Map(merged(definitions, &record, start, fields, &inner)?));
            row.insert(column.clone(), V::Map(elements));
        }
        Set::ElementField { column, key, field, value } => {
            let (key_column, record) = stored_by(definitions, entity, column);
            let key = element_key(definitions, &record, &key_column, key, names)?;
            let mut elements = elements_of(row, column);
            let Some(V::Map(old)) = elements.get(&key).cloned() else { return Ok(()) };
            let mut inner = names.clone();
            inner.insert("old".into(), V::Map(old.clone()));
            let fields = [(field.clone(), value.clone())];
            elements.insert(key, V::Map(merged(definitions, &record, old, &fields, &inner)?));
            row.insert(column.clone(), V::Map(elements));
        }
    }
    Ok(())
}

fn elements_of(row: &Row, column: &str) -> BTreeMap<String, V> {
    match &row[column] {
        V::Map(elements) => elements.clone(),
        _ => BTreeMap::new(),
    }
}

fn element_key(
    definitions: &Definitions,
    record: &str,
    key_column: &str,
    key: &Cel,
    names: &Names,
) -> Result<String, String> {
    let ty = &column_of(definitions, record, key_column).ty;
    match fit(key.value(names).map_err(said)?, ty, definitions)? {
        V::Text(key) => Ok(key),
        other => Err(format!("{} is no key of an element", other.kind())),
    }
}

/// A record from an old one and the fields that are set; those that must be there are.
fn merged(
    definitions: &Definitions,
    record: &str,
    old: BTreeMap<String, V>,
    fields: &[(String, Cel)],
    names: &Names,
) -> Result<BTreeMap<String, V>, String> {
    let mut made = old;
    for (name, cel) in fields {
        let ty = &column_of(definitions, record, name).ty;
        if let Some(value) = cel.setting(names).map_err(said)? {
            made.insert(name.clone(), fit(value, ty, definitions)?);
        }
    }
    complete(definitions, record, made).map(|value| match value {
        V::Map(fields) => fields,
        _ => unreachable!("a record is a map"),
    })
}

/// A record with every column, null where it is not set and may be.
fn complete(definitions: &Definitions, record: &str, mut fields: BTreeMap<String, V>) -> Result<V, String> {
    for column in &definitions.ty(record).columns {
        let value = fields.entry(column.name.clone()).or_insert(V::Null);
        check_column(column.non_null, column.max, &column.name, value)?;
    }
    Ok(V::Map(fields))
}

fn stored_by(definitions: &Definitions, entity: &str, column: &str) -> (String, String) {
    match &column_of(definitions, entity, column).ty {
        ColumnTy::Map { key, record } => (key.clone(), record.clone()),
        other => panic!("{column} is {other:?}, not stored by a key"),
    }
}

fn column_of<'d>(definitions: &'d Definitions, ty: &str, name: &str) -> &'d crate::definitions::Column {
    let columns = &definitions.ty(ty).columns;
    columns.iter().find(|column| column.name == name).unwrap_or_else(|| panic!("{ty} has no column {name}"))
}

/// A value as a column of that type stores it.
fn fit(value: V, ty: &ColumnTy, definitions: &Definitions) -> Result<V, String> {
    let value = match value {
        V::Optional(inner) => inner.map_or(V::Null, |inner| *inner),
        other => other,
    };
    if value == V::Null {
        return Ok(V::Null);
    }
    match (ty, value) {
        (ColumnTy::List(of), V::List(items)) => {
            items.into_iter().map(|item| fit(item, of, definitions)).collect::<Result<_, _>>().map(V::List)
        }
        (ColumnTy::Map { .. }, value @ V::Map(_)) => Ok(value),
        (ColumnTy::Named(name), value) => fit_named(name, value, definitions),
        (_, other) => Err(format!("{} does not fit a collection", other.kind())),
    }
}

fn fit_named(name: &str, value: V, definitions: &Definitions) -> Result<V, String> {
    let bad = |value: &V| Err(format!("{} does not fit {name}", value.kind()));
    if let Some(values) = definitions.enums.get(name) {
        return match value.as_text() {
            Some(text) if values.iter().any(|known| known == text) => Ok(value),
            _ => Err(format!("{:?} is no value of {name}", value.as_text())),
        };
    }
    match (name, &value) {
        ("ID" | "String", V::Text(_)) | ("Boolean", V::Bool(_)) | ("DateTime", V::Time(_)) => Ok(value),
        ("Int", _) => match value.as_int() {
            Some(int) if i32::try_from(int).is_ok() => Ok(V::Int(int)),
            _ => bad(&value),
        },
        ("DateTime", V::Text(text)) => parse_time(text).map(V::Time),
        ("Decimal", V::Text(text) | V::Number(text)) => Dec::parse(text).map(V::Decimal),
        ("Decimal", V::Decimal(_)) => Ok(value),
        ("Decimal", V::Int(int)) => Ok(V::Decimal(Dec::from_int(*int))),
        (_, V::Map(fields)) if definitions.is_value_type(name) => {
            let mut fitted = BTreeMap::new();
            let columns = &definitions.ty(name).columns;
            let known: BTreeSet<&str> = columns.iter().map(|column| column.name.as_str()).collect();
            for (field, value) in fields.iter().filter(|(field, _)| known.contains(field.as_str())) {
                let ty = &column_of(definitions, name, field).ty;
                fitted.insert(field.clone(), fit(value.clone(), ty, definitions)?);
            }
            complete(definitions, name, fitted)
        }
        _ => bad(&value),
    }
}
