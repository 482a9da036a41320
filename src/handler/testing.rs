//! For tests of these rooms: loads definitions from text, folds records in memory, shows rows as text.
//!
//! Comes in: SDL, YAML, records as text. Goes out: bound projections, rows. No store and no log take part.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{CustomHandlers, Projection, load};
use crate::diagnostic::{Sources, render};
use crate::event::{Record, Taken, TopicPartition};
use crate::fold::{State, apply_all};
use crate::plan::key::split_key;
use crate::plan::{self, Plan};
use crate::route::{KeyCells, Routed, route};
use crate::schema::{self, ReadModel};
use crate::value::Value;
use crate::value::encode::RowKey;

/// Definitions, loaded.
pub struct Loaded {
    pub model: ReadModel,
    pub plan: Plan,
    pub projections: Vec<Projection>,
    /// The findings of the projections, as they are shown.
    pub findings: String,
}

/// What became of a record.
#[derive(Debug, PartialEq)]
pub enum Outcome {
    Nothing,
    Written,
    Deleted,
    /// Why not.
    Rejected(String),
    Stopped(String),
}

/// The shop's definitions, which have no faults.
pub fn shop() -> Loaded {
    let loaded = load_text(
        include_str!("../../schema/shop.graphql"),
        &[
            ("projections/carts.yaml", include_str!("../../projections/carts.yaml")),
            ("projections/customers.yaml", include_str!("../../projections/customers.yaml")),
            ("projections/orders.yaml", include_str!("../../projections/orders.yaml")),
            ("projections/products.yaml", include_str!("../../projections/products.yaml")),
        ],
        &CustomHandlers::new(),
    );
    assert_eq!(loaded.findings, "");
    loaded
}

/// Loads definitions; `projections/defaults.yaml` sets defaults.
pub fn load_text(schema: &str, projections: &[(&str, &str)], custom: &CustomHandlers) -> Loaded {
    let mut sources = Sources::default();
    let file = sources.add("schema/schema.graphql", schema);
    let (model, faults) = schema::load(&[file], &sources);
    assert_eq!(render(&faults, &sources, false), "");
    let model = model.expect("the schema has no faults");
    let (plan, faults) = plan::plan(&model, &sources);
    let plan = plan.unwrap_or_else(|| panic!("{}", render(&faults, &sources, false)));
    let mut files = Vec::new();
    let mut defaults = None;
    let mut schemas = Vec::new();
    for (path, text) in projections {
        let file = sources.add(*path, *text);
        match path {
            path if path.ends_with("defaults.yaml") => defaults = Some(file),
            path if path.ends_with(".schema.json") => schemas.push(file),
            _ => files.push(file),
        }
    }
    let (projections, faults) = load(&files, defaults, &schemas, &sources, &model, &plan, custom);
    let findings = render(&faults, &sources, false);
    Loaded { model, plan, projections, findings }
}

impl Loaded {
    /// The projection of that name.
    pub fn projection(&self, name: &str) -> &Projection {
        let found = self.projections.iter().find(|projection| &*projection.name == name);
        found.unwrap_or_else(|| panic!("no projection {name}:\n{}", self.findings))
    }

    /// Starts folding a projection over no rows.
    pub fn rows(&self, projection: &str) -> Rows<'_> {
        Rows { loaded: self, projection: self.projection(projection), rows: BTreeMap::new(), offset: 0 }
    }
}

/// Rows of one projection, in memory.
pub struct Rows<'l> {
    loaded: &'l Loaded,
    projection: &'l Projection,
    rows: BTreeMap<Vec<u8>, Arc<Vec<Value>>>,
    offset: u64,
}

impl Rows<'_> {
    /// Where a record goes.
    pub fn route(&mut self, key: Option<&str>, value: Option<&str>) -> Routed {
        let at = TopicPartition { topic: Arc::clone(&self.projection.sources[0].topic), partition: 0 };
        let base = self.loaded.plan.entity(self.projection.entity).base;
        let record = Record {
            offset: self.offset,
            timestamp_ms: 1_000,
            key: key.map(|key| key.as_bytes().to_vec().into()),
            value: value.map(|value| value.as_bytes().to_vec().into()),
            headers: Vec::new(),
        };
        self.offset += 1;
        route(self.projection, self.loaded.plan.table(base), &at, &record)
    }

    fn put(&mut self, key: &[u8], row: State) -> Outcome {
        match row {
            Some(cells) => {
                self.rows.insert(key.to_vec(), cells);
                Outcome::Written
            }
            None => {
                self.rows.remove(key);
                Outcome::Deleted
            }
        }
    }

    /// Applies a record.
    pub fn take(&mut self, key: &str, value: &str) -> Outcome {
        match self.route(Some(key), Some(value)) {
            Routed::Ignore => Outcome::Nothing,
            Routed::Stop(reason) => Outcome::Stopped(reason),
            Routed::Range { ranges, event } => {
                let base = self.loaded.plan.table(self.loaded.plan.entity(self.projection.entity).base);
                let keys: Vec<Vec<u8>> = self.rows.keys().cloned().collect();
                let keys = keys.iter().map(|bytes| split_key(base, bytes).expect("a key of the table"));
                let hit: Vec<RowKey> = keys.filter(|key| ranges.iter().any(|range| range.has(key))).collect();
                let taken = Taken { event, element: None };
                hit.iter()
                    .map(|key| self.apply(key, &Vec::new(), std::slice::from_ref(&taken)))
                    .fold(Outcome::Nothing, |all, one| if one == Outcome::Nothing { all } else { one })
            }
            Routed::Rejected { reject, .. } => Outcome::Rejected(reject.to_string()),
            Routed::Delete { key, .. } => {
                self.rows.remove(key.bytes());
                Outcome::Deleted
            }
            Routed::Events(rows) => rows
                .into_iter()
                .map(|row| self.apply(&row.key, &row.key_cells, &row.events))
                .fold(Outcome::Nothing, |all, one| if one == Outcome::Nothing { all } else { one }),
            Routed::Event { key, key_cells, event } => {
                let taken = Taken { event: Arc::new(event), element: None };
                self.apply(&key, &key_cells, &[taken])
            }
        }
    }

    fn apply(&mut self, key: &RowKey, key_cells: &KeyCells, events: &[Taken]) -> Outcome {
        let before = self.rows.get(key.bytes()).cloned();
        let mut row = before.clone();
        match apply_all(self.projection, key_cells, &mut row, events) {
            Ok(None) => Outcome::Nothing,
            Ok(Some(undo)) => {
                let after = row.clone();
                undo.take_back(&mut row);
                assert_eq!(row, before, "an event that is taken back leaves no trace");
                self.put(key.bytes(), after)
            }
            Err(reject) => {
                assert_eq!(row, before, "an event that is rejected changes nothing");
                Outcome::Rejected(reject.to_string())
            }
        }
    }

    /// Applies records that must not be rejected.
    pub fn all(mut self, records: &[(&str, String)]) -> Self {
        for (key, value) in records {
            let outcome = self.take(key, value);
            assert!(!matches!(outcome, Outcome::Rejected(_) | Outcome::Stopped(_)), "{value}: {outcome:?}");
        }
        self
    }

    /// All rows in key order, only the named columns: `id=o1 status=PAID`, one row in a line.
    pub fn show(&self, columns: &[&str]) -> String {
        let ty = self.loaded.model.ty(self.projection.entity);
        let line = |cells: &Arc<Vec<Value>>| {
            let cell = |name: &&str| {
                let column = ty.column_named(name).unwrap_or_else(|| panic!("no column {name}"));
                format!("{name}={}", text(&cells[column.0 as usize]))
            };
            columns.iter().map(cell).collect::<Vec<_>>().join(" ")
        };
        self.rows.values().map(line).collect::<Vec<_>>().join("\n")
    }
}

fn text(value: &Value) -> String {
    let all = |items: &[Value]| items.iter().map(text).collect::<Vec<_>>().join(",");
    match value {
        Value::Null => "null".to_owned(),
        Value::Text(text) => text.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Bool(truth) => truth.to_string(),
        Value::Decimal(decimal) => decimal.to_string(),
        Value::Timestamp(ms) => format!("@{ms}"),
        Value::List(items) | Value::Set(items) => format!("[{}]", all(items)),
        Value::Record(cells) => format!("({})", all(cells)),
        Value::Map(entries) => {
            let entry = |(key, value): &(Value, Value)| format!("{}:{}", text(key), text(value));
            format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(","))
        }
        other => format!("{other:?}"),
    }
}
