//! Marks answers whose row stands still because its key is parked.
//!
//! Comes in: the parked keys, held in memory by the store, and the rows as they are written. Goes out: the entries of
//! `extensions.kinora.parked`. Costs no read; while nothing is parked it does not exist.

use rustc_hash::FxHashMap;

use crate::plan::{Feed, Plan, key};
use crate::schema::{ColumnId, TypeId};
use crate::store::{Parked, ParkedEntry, ParkedKey, StoredRow};
use crate::value::Value;
use crate::value::encode::RowKey;

use super::error::{Step, push_path};
use super::wire;

/// The parked keys of what an operation reads, and the places where they were met.
pub(super) struct Marks<'a> {
    plan: &'a Plan,
    rows: FxHashMap<(TypeId, &'a RowKey), &'a ParkedEntry>,
    /// Record keys, for each entity with the column that holds them.
    records: FxHashMap<(TypeId, &'a [u8]), &'a ParkedEntry>,
    record_columns: Vec<(TypeId, ColumnId)>,
    /// Entries, with commas between.
    out: Vec<u8>,
}

impl<'a> Marks<'a> {
    /// `None` where nothing of what is read is parked.
    pub fn new(plan: &'a Plan, parked: &'a Parked, feeds: &[&'a Feed]) -> Option<Marks<'a>> {
        if parked.keys.is_empty() {
            return None;
        }
        let mut marks = Marks {
            plan,
            rows: FxHashMap::default(),
            records: FxHashMap::default(),
            record_columns: Vec::new(),
            out: Vec::new(),
        };
        for ((projection, key), entry) in &parked.keys {
            for feed in feeds.iter().filter(|feed| feed.projection == *projection) {
                match key {
                    ParkedKey::Row(key) => {
                        marks.rows.insert((feed.entity, key), entry);
                    }
                    ParkedKey::Record(key) => {
                        marks.records.insert((feed.entity, key), entry);
                        marks.record_columns.extend(feed.record_key.map(|column| (feed.entity, column)));
                    }
                    ParkedKey::Position(..) => {}
                }
            }
        }
        marks.record_columns.sort_unstable();
        marks.record_columns.dedup();
        (!marks.rows.is_empty() || !marks.records.is_empty()).then_some(marks)
    }

    /// A row is being answered at a path.
    pub fn row(&mut self, entity: TypeId, row: &StoredRow, path: &[Step<'_>]) {
        let Some(tables) = self.plan.entities.iter().find(|tables| tables.entity == entity) else { return };
        if let Some(key) = key::row_key(self.plan.table(tables.base), &row.cells) {
            self.key(entity, &key, path);
        }
    }

    /// A base key was asked for, and its row is not there.
    pub fn key(&mut self, entity: TypeId, key: &RowKey, path: &[Step<'_>]) {
        let entry = self.rows.get(&(entity, key)).copied().or_else(|| self.record(entity, key));
        if let Some(entry) = entry {
            self.mark(entry, path);
        }
    }

    fn record(&self, entity: TypeId, key: &RowKey) -> Option<&'a ParkedEntry> {
        let (_, column) = self.record_columns.iter().find(|(of, _)| *of == entity)?;
        let tables = self.plan.entities.iter().find(|tables| tables.entity == entity)?;
        let base = self.plan.table(tables.base);
        let at = base
            .partition
            .iter()
            .chain(&base.clustering)
            .position(|part| part.part.column == *column && part.is_plain())?;
        let value = key::key_values(base, key).ok()?.into_iter().nth(at)?;
        self.records.get(&(entity, record_text(&value)?.as_bytes())).copied()
    }

    fn mark(&mut self, entry: &ParkedEntry, path: &[Step<'_>]) {
        if !self.out.is_empty() {
            self.out.push(b',');
        }
        self.out.extend_from_slice(br#"{"type":"#);
        wire::push_string(&mut self.out, &entry.entity);
        self.out.extend_from_slice(br#","key":"#);
        wire::push_string(&mut self.out, &entry.shown);
        let since = &entry.since;
        let position = format!("{}:{}@{}", since.at.topic, since.at.partition, since.offset);
        self.out.extend_from_slice(br#","since":"#);
        wire::push_string(&mut self.out, &position);
        self.out.extend_from_slice(br#","path":"#);
        push_path(&mut self.out, path);
        self.out.push(b'}');
    }

    /// Appends the member `parked`, if a parked row was met.
    pub fn push(&self, out: &mut Vec<u8>) {
        if !self.out.is_empty() {
            out.extend_from_slice(br#","parked":["#);
            out.extend_from_slice(&self.out);
            out.push(b']');
        }
    }
}

/// A key value as producers write it into a record's key.
fn record_text(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.to_string()),
        Value::Int(number) => Some(number.to_string()),
        Value::Uuid(uuid) => Some(uuid.to_string()),
        _ => None,
    }
}
