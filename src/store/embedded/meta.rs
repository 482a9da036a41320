//! What the embedded store keeps beside rows and parked keys: the manifest, progress and owners.
//!
//! Comes in: values. Goes out: entries of the keyspace `meta`, and the values read back. An entry is a row of
//! `value::row`, so it has a version and says its kinds; its key begins with a letter and the generation.

use std::collections::BTreeMap;
use std::sync::Arc;

use fjall::{Database, Keyspace, OwnedWriteBatch as WriteBatch, PersistMode};

use super::open::fault;
use super::parked::COUNTS;
use crate::event::{Offset, Start, TopicPartition};
use crate::schema::{ColumnId, Order};
use crate::store::coordination::Pause;
use crate::store::ledger::Epochs;
use crate::store::{
    Began, Columns, Generation, Internal, Manifest, Owner, ParkedKey, Progress, ProgressMark, QueuedEvent,
    Relayed, StoreError,
};
use crate::value::encode::{RowKey, push_part};
use crate::value::row::{decode_row, encode_row};
use crate::value::{Uuid, Value};

const MANIFEST: &[u8] = b"manifest";
const PROGRESS: u8 = b'p';
const OWNER: u8 = b'o';
const PAUSE: u8 = b'h';
pub(super) const PARKED: u8 = b'k';
pub(super) const QUEUE: u8 = b'q';
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
            internal: entry.optional_list()?.into_iter().map(internal).collect::<Result<_, _>>()?,
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
        let mut cells = vec![int(*number), Value::text(definitions.as_str()), Value::List(starts)];
        if !generation.internal.is_empty() {
            cells.push(Value::List(generation.internal.iter().map(internal_value).collect()));
        }
        Value::Record(cells)
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
            relayed: match cells.optional_text()? {
                None => None,
                Some(text) => Some(Arc::new(
                    Relayed::read(&text)
                        .map_err(|reason| StoreError::Corrupt(format!("progress: {reason}")))?,
                )),
            },
        });
    }
    Ok(Progress::new(marks))
}

/// Reads who owns the partitions of a generation.
pub(super) fn epochs(meta: &Keyspace, generation: u32) -> Result<Epochs, StoreError> {
    let mut epochs = Epochs::default();
    for guard in meta.prefix(prefix(OWNER, generation)) {
        let bytes = guard.value().map_err(|error| fault("reading owners", error))?;
        let mut cells = Fields::read(&bytes, "an owner")?;
        let (projection, at) = (Arc::from(&*cells.text()?), cells.place()?);
        epochs.set(&Owner { projection, at, epoch: cells.number()? });
    }
    Ok(epochs)
}

/// Adds owners to a write.
pub(super) fn own(meta: &Keyspace, generation: u32, owners: &[Owner], write: &mut WriteBatch) {
    for Owner { projection, at, epoch } in owners {
        let mut key = prefix(OWNER, generation);
        push_part(&mut key, &Value::text(&**projection), Order::Asc);
        push_part(&mut key, &Value::text(&*at.topic), Order::Asc);
        push_part(&mut key, &int(at.partition), Order::Asc);
        let cells = [Value::text(&**projection), place_value(at), offset_value(*epoch)];
        write.insert(meta, key, entry_bytes(&cells));
    }
}

/// Reads which projections of a generation are paused.
pub(super) fn pauses(meta: &Keyspace, generation: u32) -> Result<Vec<Pause>, StoreError> {
    let mut pauses = Vec::new();
    for guard in meta.prefix(prefix(PAUSE, generation)) {
        let bytes = guard.value().map_err(|error| fault("reading what is paused", error))?;
        let mut cells = Fields::read(&bytes, "a pause")?;
        pauses.push(Pause { projection: cells.text()?.into(), by: cells.text()?, since_ms: cells.number()? });
    }
    Ok(pauses)
}

/// Writes to the disk that a projection is paused, or, without a pause, that it is not.
pub(super) fn set_pause(
    (database, meta): (&Database, &Keyspace),
    generation: u32,
    projection: &str,
    pause: Option<&Pause>,
) -> Result<(), StoreError> {
    let mut key = prefix(PAUSE, generation);
    push_part(&mut key, &Value::text(projection), Order::Asc);
    let written = match pause {
        Some(Pause { by, since_ms, .. }) => {
            let cells = [Value::text(projection), Value::text(&**by), Value::Int(*since_ms)];
            meta.insert(key, entry_bytes(&cells))
        }
        None => meta.remove(key),
    };
    written
        .and_then(|()| database.persist(PersistMode::SyncAll))
        .map_err(|error| fault("writing what is paused", error))
}

/// Removes progress, owners, parked keys, queues and pauses of a generation.
pub(super) fn forget(database: &Database, meta: &Keyspace, generation: u32) -> Result<(), StoreError> {
    let mut write = database.batch().durability(Some(PersistMode::SyncAll));
    for kind in [PROGRESS, OWNER, PARKED, QUEUE, COUNTS, PAUSE] {
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
            let mut cells = vec![
                Value::text(&*mark.projection),
                place_value(&mark.at),
                Value::Uuid(Uuid::from_u128(mark.topic_id)),
                offset_value(mark.next),
                offset_value(mark.end),
                Value::Int(mark.time_ms),
                Value::Int(mark.base),
            ];
            cells.extend(mark.relayed.as_ref().map(|relayed| Value::text(relayed.text())));
            self.entries.insert(key, entry_bytes(&cells));
        }
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

pub(super) fn prefix(kind: u8, generation: u32) -> Vec<u8> {
    let mut key = vec![kind, b':'];
    key.extend_from_slice(&generation.to_be_bytes());
    key
}

fn place_value(at: &TopicPartition) -> Value {
    Value::Record(vec![Value::text(&*at.topic), int(at.partition)])
}

fn began_value(began: &Began) -> Value {
    let start = match &began.start {
        Start::Earliest => Value::Null,
        Start::Latest => Value::text("latest"),
        Start::At(ms) => Value::Timestamp(*ms),
        Start::Group(name) => Value::List(vec![Value::text(&**name)]),
        Start::Offsets(_) => Value::text("offset"),
    };
    Value::Record(vec![
        Value::text(&*began.projection),
        place_value(&began.at),
        Value::Uuid(Uuid::from_u128(began.topic_id)),
        start,
        offset_value(began.offset),
    ])
}

fn internal_value(internal: &Internal) -> Value {
    Value::Record(vec![
        Value::text(&*internal.projection),
        Value::text(&*internal.topic),
        Value::Uuid(Uuid::from_u128(internal.topic_id)),
        int(internal.partitions),
    ])
}

fn internal(value: Value) -> Result<Internal, StoreError> {
    let mut cells = Fields::of(value, "an internal topic")?;
    Ok(Internal {
        projection: cells.text()?.into(),
        topic: cells.text()?.into(),
        topic_id: cells.uuid()?,
        partitions: cells.number()?,
    })
}

fn began(value: Value) -> Result<Began, StoreError> {
    let mut cells = Fields::of(value, "where a generation began")?;
    let (projection, at, topic_id) = (cells.text()?.into(), cells.place()?, cells.uuid()?);
    let (start, offset) = (cells.next(), cells.number()?);
    let start = match start {
        Value::Null => Start::Earliest,
        Value::Timestamp(ms) => Start::At(ms),
        Value::Text(text) if text == "latest" => Start::Latest,
        Value::Text(text) if text == "offset" => Start::given(at.partition, offset),
        Value::List(names) => {
            Start::Group(Fields::of(Value::Record(names), "a consumer group")?.text()?.into())
        }
        other => return cells.wrong("a place to start", &other),
    };
    Ok(Began { projection, at, topic_id, start, offset })
}

pub(super) fn event_value(event: &QueuedEvent) -> Value {
    let order = offset_value(event.order);
    Value::Record(vec![place_value(&event.at), offset_value(event.offset), Value::Int(event.time_ms), order])
}

pub(super) fn int(number: impl Into<i64>) -> Value {
    Value::Int(number.into())
}

/// Offsets are counted from 0 one by one, so they stay below 2^63.
pub(super) fn offset_value(offset: Offset) -> Value {
    Value::Int(i64::try_from(offset).expect("offsets stay below 2^63"))
}

pub(super) fn entry_bytes(cells: &[Value]) -> Vec<u8> {
    let columns: Vec<ColumnId> = (0..).map(ColumnId).take(cells.len()).collect();
    encode_row(0, true, cells, &columns)
}

/// Fields of an entry, taken one after another.
pub(super) struct Fields {
    cells: std::vec::IntoIter<Value>,
    /// What the entry is, for errors.
    what: &'static str,
}

impl Fields {
    pub fn read(bytes: &[u8], what: &'static str) -> Result<Fields, StoreError> {
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

    pub fn number<T: TryFrom<i64>>(&mut self) -> Result<T, StoreError> {
        match self.next() {
            Value::Int(number) => {
                T::try_from(number).or_else(|_| self.wrong("a number in range", &Value::Int(number)))
            }
            other => self.wrong("a number", &other),
        }
    }

    pub fn text(&mut self) -> Result<Box<str>, StoreError> {
        match self.next() {
            Value::Text(text) => Ok(text.as_str().into()),
            other => self.wrong("a text", &other),
        }
    }

    pub fn optional_text(&mut self) -> Result<Option<Box<str>>, StoreError> {
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

    fn record(&mut self) -> Result<Fields, StoreError> {
        Fields::of(self.next(), self.what)
    }

    pub fn place(&mut self) -> Result<TopicPartition, StoreError> {
        let mut parts = self.record()?;
        Ok(TopicPartition { topic: parts.text()?.into(), partition: parts.number()? })
    }

    pub fn event(&mut self) -> Result<QueuedEvent, StoreError> {
        let mut parts = self.record()?;
        let (at, offset, time_ms) = (parts.place()?, parts.number()?, parts.number()?);
        Ok(QueuedEvent { at, offset, time_ms, order: parts.number()? })
    }

    pub fn parked_key(&mut self) -> Result<ParkedKey, StoreError> {
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
