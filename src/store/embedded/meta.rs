//! What the embedded store keeps beside rows: the manifest, progress, parked keys and their queues.
//!
//! Comes in: values. Goes out: entries of the keyspace `meta`, and the values read back. An entry is a row of
//! `value::row`, so it has a version and says its kinds; its key begins with a letter and the generation.

use std::collections::BTreeMap;
use std::sync::Arc;

use fjall::{Database, Keyspace, OwnedWriteBatch as WriteBatch, PersistMode};

use super::open::fault;
use crate::event::{Offset, Start, TopicPartition};
use crate::schema::{ColumnId, Order};
use crate::store::{
    Began, Columns, Generation, Manifest, ParkChange, Parked, ParkedEntry, ParkedKey, Progress, ProgressMark,
    QueuedEvent, StoreError,
};
use crate::value::encode::{RowKey, push_part};
use crate::value::row::{decode_row, encode_row};
use crate::value::{Uuid, Value};

const MANIFEST: &[u8] = b"manifest";
const PROGRESS: u8 = b'p';
const PARKED: u8 = b'k';
const QUEUE: u8 = b'q';
/// More than any entry has.
const WIDTH: usize = 16;

/// Reads the manifest.
pub(super) fn manifest(meta: &Keyspace) -> Result<Option<Manifest>, StoreError> {
    let Some(bytes) = meta.get(MANIFEST).map_err(|error| fault("reading the manifest", error))? else {
        return Ok(None);
    };
    let mut cells = Fields::read(&bytes, "the manifest")?;
    let active = cells.number()?;
    let mut generations = Vec::new();
    for entry in cells.list()? {
        let mut entry = Fields::of(entry, "the manifest")?;
        generations.push(Generation {
            number: entry.number()?,
            definitions: entry.text()?.into(),
            starts: entry.optional_list()?.into_iter().map(began).collect::<Result<_, _>>()?,
        });
    }
    Ok(Some(Manifest { active, generations }))
}

/// Writes the manifest to the disk.
pub(super) fn set_manifest(
    database: &Database,
    meta: &Keyspace,
    manifest: &Manifest,
) -> Result<(), StoreError> {
    let entry = |generation: &Generation| {
        let starts = generation.starts.iter().map(began_value).collect();
        let Generation { number, definitions, .. } = generation;
        Value::Record(vec![int(*number), Value::text(definitions.as_str()), Value::List(starts)])
    };
    let generations = manifest.generations.iter().map(entry).collect();
    let bytes = entry_bytes(&[int(manifest.active), Value::List(generations)]);
    meta.insert(MANIFEST, bytes)
        .and_then(|()| database.persist(PersistMode::SyncAll))
        .map_err(|error| fault("writing the manifest", error))
}

/// Reads the progress of a generation.
pub(super) fn progress(meta: &Keyspace, generation: u32) -> Result<Progress, StoreError> {
    let mut marks = Vec::new();
    for guard in meta.prefix(prefix(PROGRESS, generation)) {
        let bytes = guard.value().map_err(|error| fault("reading progress", error))?;
        let mut cells = Fields::read(&bytes, "progress")?;
        marks.push(ProgressMark {
            projection: cells.text()?.into(),
            at: cells.place()?,
            topic_id: cells.uuid()?,
            next: cells.number()?,
            end: cells.number()?,
            time_ms: cells.number()?,
            base: cells.number()?,
        });
    }
    Ok(Progress { marks })
}

/// Reads the parked keys of a generation.
pub(super) fn parked(meta: &Keyspace, generation: u32) -> Result<Parked, StoreError> {
    let mut keys = BTreeMap::new();
    for guard in meta.prefix(prefix(PARKED, generation)) {
        let bytes = guard.value().map_err(|error| fault("reading parked keys", error))?;
        let mut cells = Fields::read(&bytes, "a parked key")?;
        let place = (Arc::from(&*cells.text()?), cells.parked_key()?);
        let entry = ParkedEntry {
            since: cells.event()?,
            entity: cells.text()?,
            shown: cells.text()?,
            stage: cells.text()?,
            reason: cells.text()?,
            waiting: cells.number()?,
            type_name: cells.optional_text()?,
        };
        keys.insert(place, entry);
    }
    Ok(Parked { keys })
}

/// Reads the queue of a parked key, oldest first.
pub(super) fn queue(
    meta: &Keyspace,
    generation: u32,
    projection: &str,
    key: &ParkedKey,
    limit: usize,
) -> Result<Vec<QueuedEvent>, StoreError> {
    let events = meta.prefix(place_key(QUEUE, generation, projection, key)).take(limit);
    events
        .map(|guard| {
            let bytes = guard.value().map_err(|error| fault("reading the queue of a parked key", error))?;
            Fields::read(&bytes, "a queued event")?.event()
        })
        .collect()
}

/// Removes progress, parked keys and queues of a generation.
pub(super) fn forget(database: &Database, meta: &Keyspace, generation: u32) -> Result<(), StoreError> {
    let mut write = database.batch().durability(Some(PersistMode::SyncAll));
    for kind in [PROGRESS, PARKED, QUEUE] {
        for guard in meta.prefix(prefix(kind, generation)) {
            write.remove(meta, guard.key().map_err(|error| fault("dropping a generation", error))?);
        }
    }
    write.commit().map_err(|error| fault("dropping a generation", error))
}

/// Entries that a batch will write; one for each key.
pub(super) struct MetaWrites<'m> {
    meta: &'m Keyspace,
    generation: u32,
    entries: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl<'m> MetaWrites<'m> {
    pub fn new(meta: &'m Keyspace, generation: u32) -> MetaWrites<'m> {
        MetaWrites { meta, generation, entries: BTreeMap::new() }
    }

    /// All marks are written: they are few, and one write is one entry of the journal.
    pub fn progress(&mut self, progress: &Progress) {
        for mark in &progress.marks {
            let mut key = prefix(PROGRESS, self.generation);
            push_part(&mut key, &Value::text(&*mark.projection), Order::Asc);
            push_part(&mut key, &Value::text(&*mark.at.topic), Order::Asc);
            push_part(&mut key, &int(mark.at.partition), Order::Asc);
            let bytes = entry_bytes(&[
                Value::text(&*mark.projection),
                place_value(&mark.at),
                Value::Uuid(Uuid::from_u128(mark.topic_id)),
                offset_value(mark.next),
                offset_value(mark.end),
                Value::Int(mark.time_ms),
                Value::Int(mark.base),
            ]);
            self.entries.insert(key, bytes);
        }
    }

    /// Writes decisions and queue entries; answers all parked keys after them, `None` if there were no changes.
    /// A decision or an entry that comes again changes nothing.
    pub fn park(&mut self, before: &Parked, changes: Vec<ParkChange>) -> Result<Option<Parked>, StoreError> {
        if changes.is_empty() {
            return Ok(None);
        }
        let mut parked = before.clone();
        for change in changes {
            let (place, event, entry) = match change {
                ParkChange::Park { projection, key, entry } => {
                    ((projection, key), entry.since.clone(), Some(entry))
                }
                ParkChange::Enqueue { projection, key, event } => ((projection, key), event, None),
            };
            let new = self.enqueue(&place, &event)?;
            if let Some(entry) = entry {
                parked.keys.entry(place.clone()).or_insert(ParkedEntry { waiting: 0, ..entry });
            }
            if let Some(entry) = parked.keys.get_mut(&place) {
                entry.waiting += u64::from(new);
                let key = place_key(PARKED, self.generation, &place.0, &place.1);
                self.entries.insert(key, parked_bytes(&place, entry));
            }
        }
        Ok(Some(parked))
    }

    /// Answers whether the event was not in the queue yet.
    fn enqueue(&mut self, place: &(Arc<str>, ParkedKey), event: &QueuedEvent) -> Result<bool, StoreError> {
        let mut key = place_key(QUEUE, self.generation, &place.0, &place.1);
        push_part(&mut key, &offset_value(event.order), Order::Asc);
        push_part(&mut key, &Value::text(&*event.at.topic), Order::Asc);
        push_part(&mut key, &int(event.at.partition), Order::Asc);
        push_part(&mut key, &offset_value(event.offset), Order::Asc);
        let stored = self
            .meta
            .contains_key(&key)
            .map_err(|error| fault("reading the queue of a parked key", error))?;
        Ok(self.entries.insert(key, entry_bytes(&[event_value(event)])).is_none() && !stored)
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Adds the entries to a write.
    pub fn into_batch(self, write: &mut WriteBatch) {
        for (key, bytes) in self.entries {
            write.insert(self.meta, key, bytes);
        }
    }
}

fn prefix(kind: u8, generation: u32) -> Vec<u8> {
    let mut key = vec![kind, b':'];
    key.extend_from_slice(&generation.to_be_bytes());
    key
}

fn place_key(kind: u8, generation: u32, projection: &str, key: &ParkedKey) -> Vec<u8> {
    let mut out = prefix(kind, generation);
    push_part(&mut out, &Value::text(projection), Order::Asc);
    let (kind, bytes, number) = parked_key_parts(key);
    push_part(&mut out, &kind, Order::Asc);
    push_part(&mut out, &bytes, Order::Asc);
    push_part(&mut out, &number, Order::Asc);
    if let ParkedKey::Position(_, offset) = key {
        push_part(&mut out, &offset_value(*offset), Order::Asc);
    }
    out
}

fn parked_bytes((projection, key): &(Arc<str>, ParkedKey), entry: &ParkedEntry) -> Vec<u8> {
    let (kind, bytes, number) = parked_key_parts(key);
    let offset = match key {
        ParkedKey::Position(_, offset) => offset_value(*offset),
        _ => Value::Int(0),
    };
    entry_bytes(&[
        Value::text(&**projection),
        Value::Record(vec![kind, bytes, number, offset]),
        event_value(&entry.since),
        Value::text(entry.entity.clone()),
        Value::text(entry.shown.clone()),
        Value::text(entry.stage.clone()),
        Value::text(entry.reason.clone()),
        offset_value(entry.waiting),
        entry.type_name.clone().map_or(Value::Null, Value::text),
    ])
}

/// Kind, bytes (or topic), and the length of the partition (or its number).
fn parked_key_parts(key: &ParkedKey) -> (Value, Value, Value) {
    match key {
        ParkedKey::Row(key) => (int(0u32), Value::Bytes(key.bytes().into()), length(key.partition().len())),
        ParkedKey::Record(key) => (int(1u32), Value::Bytes(key.clone()), int(0u32)),
        ParkedKey::Position(at, _) => (int(2u32), Value::text(&*at.topic), int(at.partition)),
    }
}

fn place_value(at: &TopicPartition) -> Value {
    Value::Record(vec![Value::text(&*at.topic), int(at.partition)])
}

fn began_value(began: &Began) -> Value {
    let start = match began.start {
        Start::Earliest => Value::Null,
        Start::Latest => Value::text("latest"),
        Start::At(ms) => Value::Timestamp(ms),
    };
    Value::Record(vec![
        Value::text(&*began.projection),
        place_value(&began.at),
        Value::Uuid(Uuid::from_u128(began.topic_id)),
        start,
        offset_value(began.offset),
    ])
}

fn began(value: Value) -> Result<Began, StoreError> {
    let mut cells = Fields::of(value, "where a generation began")?;
    Ok(Began {
        projection: cells.text()?.into(),
        at: cells.place()?,
        topic_id: cells.uuid()?,
        start: cells.start()?,
        offset: cells.number()?,
    })
}

fn event_value(event: &QueuedEvent) -> Value {
    let order = offset_value(event.order);
    Value::Record(vec![place_value(&event.at), offset_value(event.offset), Value::Int(event.time_ms), order])
}

fn int(number: impl Into<i64>) -> Value {
    Value::Int(number.into())
}

fn length(len: usize) -> Value {
    Value::Int(i64::try_from(len).expect("no slice is longer than 2^63 bytes"))
}

/// Offsets are counted from 0 one by one, so they stay below 2^63.
fn offset_value(offset: Offset) -> Value {
    Value::Int(i64::try_from(offset).expect("offsets stay below 2^63"))
}

fn entry_bytes(cells: &[Value]) -> Vec<u8> {
    let columns: Vec<ColumnId> = (0..).map(ColumnId).take(cells.len()).collect();
    encode_row(0, true, cells, &columns)
}

/// Fields of an entry, taken one after another.
struct Fields {
    cells: std::vec::IntoIter<Value>,
    /// What the entry is, for errors.
    what: &'static str,
}

impl Fields {
    fn read(bytes: &[u8], what: &'static str) -> Result<Fields, StoreError> {
        match decode_row(bytes, Columns::All, WIDTH) {
            Ok(row) => Ok(Fields { cells: row.cells.into_iter(), what }),
            Err(error) => Err(StoreError::Corrupt(format!("{what}: {error}"))),
        }
    }

    fn of(value: Value, what: &'static str) -> Result<Fields, StoreError> {
        match value {
            Value::Record(cells) => Ok(Fields { cells: cells.into_iter(), what }),
            other => Err(wrong(what, "a record", &other)),
        }
    }

    fn next(&mut self) -> Value {
        self.cells.next().unwrap_or_default()
    }

    fn wrong<T>(&self, expected: &str, found: &Value) -> Result<T, StoreError> {
        Err(wrong(self.what, expected, found))
    }

    fn number<T: TryFrom<i64>>(&mut self) -> Result<T, StoreError> {
        match self.next() {
            Value::Int(number) => {
                T::try_from(number).or_else(|_| self.wrong("a number in range", &Value::Int(number)))
            }
            other => self.wrong("a number", &other),
        }
    }

    fn text(&mut self) -> Result<Box<str>, StoreError> {
        match self.next() {
            Value::Text(text) => Ok(text.as_str().into()),
            other => self.wrong("a text", &other),
        }
    }

    fn optional_text(&mut self) -> Result<Option<Box<str>>, StoreError> {
        match self.next() {
            Value::Null => Ok(None),
            Value::Text(text) => Ok(Some(text.as_str().into())),
            other => self.wrong("a text or nothing", &other),
        }
    }

    fn uuid(&mut self) -> Result<u128, StoreError> {
        match self.next() {
            Value::Uuid(uuid) => Ok(uuid.as_u128()),
            other => self.wrong("an id", &other),
        }
    }

    fn list(&mut self) -> Result<Vec<Value>, StoreError> {
        match self.next() {
            Value::List(values) => Ok(values),
            other => self.wrong("a list", &other),
        }
    }

    /// What entries of before there were such lists do not have.
    fn optional_list(&mut self) -> Result<Vec<Value>, StoreError> {
        match self.next() {
            Value::Null => Ok(Vec::new()),
            Value::List(values) => Ok(values),
            other => self.wrong("a list or nothing", &other),
        }
    }

    fn start(&mut self) -> Result<Start, StoreError> {
        match self.next() {
            Value::Null => Ok(Start::Earliest),
            Value::Timestamp(ms) => Ok(Start::At(ms)),
            Value::Text(text) if text == "latest" => Ok(Start::Latest),
            other => self.wrong("a place to start", &other),
        }
    }

    fn record(&mut self) -> Result<Fields, StoreError> {
        Fields::of(self.next(), self.what)
    }

    fn place(&mut self) -> Result<TopicPartition, StoreError> {
        let mut parts = self.record()?;
        Ok(TopicPartition { topic: parts.text()?.into(), partition: parts.number()? })
    }

    fn event(&mut self) -> Result<QueuedEvent, StoreError> {
        let mut parts = self.record()?;
        let (at, offset, time_ms) = (parts.place()?, parts.number()?, parts.number()?);
        Ok(QueuedEvent { at, offset, time_ms, order: parts.number()? })
    }

    fn parked_key(&mut self) -> Result<ParkedKey, StoreError> {
        let mut parts = self.record()?;
        let kind: u32 = parts.number()?;
        match (kind, parts.next()) {
            (0, Value::Bytes(bytes)) => match RowKey::split(bytes, parts.number()?) {
                Some(key) => Ok(ParkedKey::Row(key)),
                None => self.wrong("a row key that holds its partition", &Value::Null),
            },
            (1, Value::Bytes(bytes)) => Ok(ParkedKey::Record(bytes)),
            (2, Value::Text(topic)) => {
                let at = TopicPartition { topic: topic.as_str().into(), partition: parts.number()? };
                Ok(ParkedKey::Position(at, parts.number()?))
            }
            (_, other) => self.wrong("a parked key", &other),
        }
    }
}

fn wrong(what: &str, expected: &str, found: &Value) -> StoreError {
    StoreError::Corrupt(format!("{what}: expected {expected}, found {found:?}"))
}
