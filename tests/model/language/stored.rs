//! What the rows of the reference are in a store: their cells, and which table holds which of them.
//!
//! Comes in: rows of the reference. Goes out: cells as the engine's stores have them, and the definitions that make them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kinora::diagnostic::{Sources, render};
use kinora::engine::{self, Definitions};
use kinora::plan::key::row_keys;
use kinora::plan::{TablePlan, TableRole};
use kinora::store::Tables;
use kinora::value::Value;
use kinora::value::encode::RowKey;

use super::copy::Copy;
use super::program::Program;
use super::reference::{Key, Row};

/// The definitions of a program.
///
/// # Errors
/// What `check` finds, as text.
pub fn definitions(program: &Program) -> Result<Arc<Definitions>, String> {
    let mut sources = Sources::default();
    let schema = sources.add("schema/rows.graphql", program.schema());
    let projection = sources.add("projections/rows.yaml", program.text());
    let loaded = engine::bind(sources, &[schema], &[projection], &Default::default());
    loaded.definitions.ok_or_else(|| render(&loaded.findings, &loaded.sources, false))
}

/// The columns, in the order of the schema.
const COLUMNS: [&str; 16] = [
    "p", "id", "n", "a", "word", "first", "at", "total", "tags", "log", "parts", "items", "address", "ids",
    "last", "moment",
];

/// The rows that a table holds, as text; `None` of a table that only helps another.
pub fn rows(program: &Program, table: &str, rows: &BTreeMap<Key, Row>) -> Option<BTreeSet<String>> {
    if table == "rows" {
        return Some(rows.iter().map(|((p, id), row)| shown(&cells(p, id, row))).collect());
    }
    let copy = program.copies.iter().find(|copy| copy.name() == table)?;
    Some(rows.iter().filter_map(|(key, row)| copied(*copy, key, row)).collect())
}

/// An index has an entry for each element of each row, and no other.
///
/// # Errors
/// How many it has too many, or lacks.
pub async fn index(table: &TablePlan, tables: &dyn Tables, rows: &BTreeMap<Key, Row>) -> Result<(), String> {
    if !matches!(table.role, TableRole::Index { .. }) {
        return Ok(());
    }
    let stored = tables.all(table.id, None, 10_000).await.map_err(|error| error.to_string())?;
    let found: BTreeSet<RowKey> = stored.into_iter().map(|row| row.key).collect();
    let entries = rows.iter().flat_map(|((p, id), row)| row_keys(table, &cells(p, id, row)));
    let wanted: BTreeSet<RowKey> = entries.collect();
    let (extra, missing) = (found.difference(&wanted).count(), wanted.difference(&found).count());
    match extra + missing {
        0 => Ok(()),
        _ => Err(format!("the index {} has {extra} entries too many, and lacks {missing}", table.name)),
    }
}

/// A row as text, as it stands in a copy; `None` where it does not.
pub fn copied(copy: Copy, (p, id): &Key, row: &Row) -> Option<String> {
    if !copy.holds(row) {
        return None;
    }
    let mut cells = cells(p, id, row);
    if let Some(held) = copy.columns() {
        let left_out = COLUMNS.iter().zip(&mut cells).filter(|(name, _)| !held.contains(name));
        left_out.for_each(|(_, cell)| *cell = Value::Null);
    }
    Some(shown(&cells))
}

/// The cells of a row as the store has them.
pub fn cells(p: &str, id: &str, row: &Row) -> Vec<Value> {
    let text = |text: &Option<String>| text.as_ref().map_or(Value::Null, |text| Value::text(text.as_str()));
    let int = |number: Option<i64>| number.map_or(Value::Null, Value::Int);
    let texts = |list: &[String]| list.iter().map(|text| Value::text(text.as_str())).collect::<Vec<_>>();
    let part = |(name, (count, remark)): (&String, &(i64, Option<String>))| {
        let key = Value::text(name.as_str());
        (key.clone(), Value::Record(vec![key, Value::Int(*count), text(remark)]))
    };
    let item = |(k, n): &(String, i64)| Value::Record(vec![Value::text(k.as_str()), Value::Int(*n)]);
    vec![
        Value::text(p),
        Value::text(id),
        int(row.n),
        int(row.a),
        text(&row.word),
        text(&row.first),
        text(&row.at),
        int(row.total),
        Value::Set(row.tags.iter().map(|tag| Value::text(tag.as_str())).collect()),
        Value::List(texts(&row.log)),
        Value::Map(row.parts.iter().map(part).collect()),
        Value::List(row.items.iter().map(item).collect()),
        row.address
            .as_ref()
            .map_or(Value::Null, |(city, zip)| Value::Record(vec![Value::text(city.as_str()), int(*zip)])),
        Value::List(texts(&row.ids)),
        int(row.last),
        row.moment.map_or(Value::Null, Value::Timestamp),
    ]
}

/// Cells as text. An empty collection and none are one, as in Cassandra: what only assigns does not make it.
pub fn shown(cells: &[Value]) -> String {
    let is_empty = |cell: &Value| match cell {
        Value::List(items) | Value::Set(items) => items.is_empty(),
        Value::Map(entries) => entries.is_empty(),
        _ => false,
    };
    let cells: Vec<&Value> =
        cells.iter().map(|cell| if is_empty(cell) { &Value::Null } else { cell }).collect();
    format!("{cells:?}")
}
