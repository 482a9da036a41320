//! Marks answers whose row stands still because its key is parked.
//!
//! Comes in: the parked keys, held in memory by the store, and the rows as they are written. Goes out: the entries of
//! `extensions.kinora.parked`. Costs no read; while nothing is parked it does not exist.

use crate::plan::{Feed, Plan, key};
use crate::schema::{ColumnId, TypeId};
use crate::store::{Parked, ParkedEntry, ParkedKey, StoredRow};
use crate::value::Value;
use crate::value::encode::RowKey;

use super::error::{Step, push_path};
use super::wire;

/// The parked keys of what an operation reads, and the places where they were met. Keys are looked up as rows are
/// written: there can be far more of them than an answer has rows.
pub(super) struct Marks<'a> {
    plan: &'a Plan,
    parked: &'a Parked,
    /// Of what is read, the feeds whose projection has parked keys.
    feeds: Vec<&'a Feed>,
    /// Entries, with commas between.
    out: Vec<u8>,
}

impl<'a> Marks<'a> {
    /// `None` where nothing of what is read is parked.
    pub fn new(plan: &'a Plan, parked: &'a Parked, feeds: &[&'a Feed]) -> Option<Marks<'a>> {
        if parked.keys.is_empty() {
            return None;
        }
        let feeds: Vec<&Feed> = feeds.iter().copied().filter(|feed| has_parked(parked, feed)).collect();
        (!feeds.is_empty()).then(|| Marks { plan, parked, feeds, out: Vec::new() })
    }

    /// A row is being answered at a path.
    pub fn row(&mut self, entity: TypeId, row: &StoredRow, path: &[Step<'_>]) {
        if !self.feeds.iter().any(|feed| feed.entity == entity) {
            return;
        }
        let base = self.plan.table(self.plan.entity(entity).base);
        if let Some(key) = key::row_key(base, &row.cells) {
            self.key(entity, &key, path);
        }
    }

    /// A base key was asked for, and its row is not there.
    pub fn key(&mut self, entity: TypeId, key: &RowKey, path: &[Step<'_>]) {
        let mut feeds = self.feeds.iter().filter(|feed| feed.entity == entity);
        let entry = feeds.find_map(|feed| {
            self.entry(feed, ParkedKey::Row(key.clone())).or_else(|| self.record(feed, key))
        });
        if let Some(entry) = entry {
            self.mark(entry, path);
        }
    }

    fn entry(&self, feed: &Feed, key: ParkedKey) -> Option<&'a ParkedEntry> {
        self.parked.keys.get(&(feed.projection.clone(), key))
    }

    /// A record key parks the row whose key it is the text of.
    fn record(&self, feed: &Feed, key: &RowKey) -> Option<&'a ParkedEntry> {
        let text = self.record_text(feed.record_key?, feed.entity, key)?;
        self.entry(feed, ParkedKey::Record(text.into_bytes().into()))
    }

    fn record_text(&self, column: ColumnId, entity: TypeId, key: &RowKey) -> Option<String> {
        let base = self.plan.table(self.plan.entity(entity).base);
        let mut parts = base.partition.iter().chain(&base.clustering);
        let at = parts.position(|part| part.part.column == column && part.is_plain())?;
        record_text(&key::key_values(base, key).ok()?.into_iter().nth(at)?)
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

    /// Bytes of what it has met.
    pub fn len(&self) -> usize {
        self.out.len()
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

/// Whether the projection of a feed has parked keys.
fn has_parked(parked: &Parked, feed: &Feed) -> bool {
    let least = ParkedKey::Row(RowKey::new(Vec::new(), &[]));
    let first = parked.keys.range((feed.projection.clone(), least)..).next();
    first.is_some_and(|((projection, _), _)| *projection == feed.projection)
}

/// A key value as producers write it into a record's key.
fn record_text(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.to_string()),
        Value::Int(number) => Some(number.to_string()),
        Value::Uuid(uuid) | Value::TimeUuid(uuid) => Some(uuid.to_string()),
        _ => None,
    }
}
