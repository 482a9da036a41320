//! Marks answers whose row stands still because its key is parked.
//!
//! Comes in: which keys are parked, held in memory by the store, and the rows as they are written. Goes out: the entries of
//! `extensions.kinora.parked`. While nothing is parked it does not exist; each parked key that an answer shows costs a read.

use crate::plan::{Feed, Plan, key};
use crate::schema::{ColumnId, TypeId};
use crate::store::{Parked, ParkedKey, StoredRow, Tables};
use crate::value::Value;
use crate::value::encode::RowKey;

use super::error::{Step, push_path};
use super::wire;

/// The parked keys of what an operation reads, and the places where they were met. Keys are looked up as rows are
/// written: there can be far more of them than an answer has rows.
pub(super) struct Marks<'a> {
    plan: &'a Plan,
    /// As it stood before rows were read: a key that is set free meanwhile may have been read as it was before.
    parked: &'a Parked,
    /// Of what is read, the feeds whose projection has parked keys.
    feeds: Vec<&'a Feed>,
    met: Vec<Met<'a>>,
    bytes: usize,
}

/// A parked key that the answer shows.
struct Met<'a> {
    feed: &'a Feed,
    key: ParkedKey,
    since: String,
    /// Where, as JSON.
    path: Vec<u8>,
}

impl Met<'_> {
    /// Bytes of it in an answer, about.
    fn len(&self) -> usize {
        let key = match &self.key {
            ParkedKey::Row(key) => key.bytes().len(),
            ParkedKey::Record(bytes) => bytes.len(),
            ParkedKey::Position(at, _) => at.topic.len(),
        };
        // Names and brackets, and a key that is longer as JSON than as stored.
        64 + self.since.len() + self.path.len() + key * 2
    }
}

impl<'a> Marks<'a> {
    /// `None` where nothing of what is read is parked.
    pub fn new(plan: &'a Plan, parked: &'a Parked, feeds: &[&'a Feed]) -> Option<Marks<'a>> {
        if parked.is_empty() {
            return None;
        }
        let has_parked = |feed: &&Feed| parked.keys(&feed.projection) > 0;
        let feeds: Vec<&Feed> = feeds.iter().copied().filter(has_parked).collect();
        (!feeds.is_empty()).then(|| Marks { plan, parked, feeds, met: Vec::new(), bytes: 0 })
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
        let mut feeds = self.feeds.iter().copied().filter(|feed| feed.entity == entity);
        let met = feeds.find_map(|feed| {
            self.meet(feed, ParkedKey::Row(key.clone()), path).or_else(|| self.record(feed, key, path))
        });
        self.bytes += met.as_ref().map_or(0, Met::len);
        self.met.extend(met);
    }

    fn meet(&self, feed: &'a Feed, key: ParkedKey, path: &[Step<'_>]) -> Option<Met<'a>> {
        let (at, offset) = self.parked.since(&feed.projection, &key)?;
        let since = format!("{}:{}@{offset}", at.topic, at.partition);
        let mut shown = Vec::new();
        push_path(&mut shown, path);
        Some(Met { feed, key, since, path: shown })
    }

    /// A record key parks the row whose key it is the text of.
    fn record(&self, feed: &'a Feed, key: &RowKey, path: &[Step<'_>]) -> Option<Met<'a>> {
        let text = self.record_text(feed.record_key?, feed.entity, key)?;
        self.meet(feed, ParkedKey::Record(text.into_bytes().into()), path)
    }

    fn record_text(&self, column: ColumnId, entity: TypeId, key: &RowKey) -> Option<String> {
        let base = self.plan.table(self.plan.entity(entity).base);
        let mut parts = base.partition.iter().chain(&base.clustering);
        let at = parts.position(|part| part.part.column == column && part.is_plain())?;
        record_text(&key::key_values(base, key).ok()?.into_iter().nth(at)?)
    }

    /// Bytes of what it has met, about: what keys are called is read at the end.
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// Appends the member `parked`, if a parked row was met.
    pub async fn push(self, tables: &dyn Tables, out: &mut Vec<u8>) {
        for (index, met) in self.met.iter().enumerate() {
            out.extend_from_slice(if index == 0 { br#","parked":["# } else { b"," });
            // Gone where it was set free meanwhile. What it is called is worth no error: where it stands is known.
            let entry = tables.parked_entry(&met.feed.projection, &met.key).await.unwrap_or_default();
            let (kind, key) = entry.map(|entry| (entry.entity, entry.shown)).unzip();
            out.push(b'{');
            for (name, text) in [("type", kind), ("key", key)] {
                let Some(text) = text else { continue };
                wire::push_string(out, name);
                out.push(b':');
                wire::push_string(out, &text);
                out.push(b',');
            }
            out.extend_from_slice(br#""since":"#);
            wire::push_string(out, &met.since);
            out.extend_from_slice(br#","path":"#);
            out.extend_from_slice(&met.path);
            out.push(b'}');
        }
        if !self.met.is_empty() {
            out.push(b']');
        }
    }
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
