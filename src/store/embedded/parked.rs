//! What the embedded store keeps of parked keys: the keys, their queues, and how many events have left them.
//!
//! Comes in: changes. Goes out: entries of the keyspace `meta`, read back by page, and what the view in memory is to show. A
//! queue is as long as it must be and costs no memory; a key costs an entry, and its place in the view.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use fjall::{Keyspace, OwnedWriteBatch as WriteBatch};

use super::meta::{Fields, PARKED, QUEUE, entry_bytes, event_value, int, offset_value, prefix};
use super::open::fault;
use crate::schema::Order;
use crate::store::{
    ParkChange, Parked, ParkedCounts, ParkedEntry, ParkedItem, ParkedKey, ParkedPage, QueuedEvent, StoreError,
};
use crate::value::Value;
use crate::value::encode::push_part;

/// How many events have left the queues of a projection.
pub(super) const COUNTS: u8 = b'd';

/// Reads which keys of a generation are parked.
pub(super) fn parked(meta: &Keyspace, generation: u32) -> Result<Parked, StoreError> {
    let mut parked = Parked::default();
    for guard in meta.prefix(prefix(PARKED, generation)) {
        let item = item(&guard.value().map_err(reading_keys)?)?;
        let since = &item.entry.since;
        parked.set(&item.projection, &item.key, Some((&since.at, since.offset)));
    }
    for guard in meta.prefix(prefix(COUNTS, generation)) {
        let bytes = guard.value().map_err(reading_keys)?;
        let mut cells = Fields::read(&bytes, "counts of parked events")?;
        let projection = Arc::from(&*cells.text()?);
        parked.set_counts(&projection, counts(&mut cells)?);
    }
    Ok(parked)
}

/// Reads parked keys in order.
pub(super) fn page(
    meta: &Keyspace,
    generation: u32,
    page: ParkedPage<'_>,
) -> Result<Vec<ParkedItem>, StoreError> {
    let mut begin = prefix(PARKED, generation);
    if let Some(projection) = page.projection {
        push_part(&mut begin, &Value::text(projection), Order::Asc);
        if let Some(row) = page.rows {
            push_part(&mut begin, &int(0u32), Order::Asc);
            push_part(&mut begin, &Value::Bytes(row.into()), Order::Asc);
            // Without the mark of the end, which a longer key has later.
            begin.truncate(begin.len() - 2);
        }
    }
    let after = page.after.map(|(projection, key)| place_key(PARKED, generation, projection, key));
    let items = behind(meta, &begin, after).take(page.limit);
    items.map(|guard| item(&guard.value().map_err(reading_keys)?)).collect()
}

/// Reads one parked key.
pub(super) fn entry(
    meta: &Keyspace,
    generation: u32,
    projection: &str,
    key: &ParkedKey,
) -> Result<Option<ParkedEntry>, StoreError> {
    let bytes = meta.get(place_key(PARKED, generation, projection, key)).map_err(reading_keys)?;
    bytes.map(|bytes| Ok(item(&bytes)?.entry)).transpose()
}

/// Reads the queue of a parked key, oldest first.
pub(super) fn queue(
    meta: &Keyspace,
    generation: u32,
    (projection, key): (&str, &ParkedKey),
    after: Option<&QueuedEvent>,
    limit: usize,
) -> Result<Vec<QueuedEvent>, StoreError> {
    let begin = place_key(QUEUE, generation, projection, key);
    let after = after.map(|event| queue_key(begin.clone(), event));
    let events = behind(meta, &begin, after).take(limit);
    events
        .map(|guard| Fields::read(&guard.value().map_err(reading_queue)?, "a queued event")?.event())
        .collect()
}

/// The entries whose keys begin so, from behind one of them on.
fn behind(meta: &Keyspace, begin: &[u8], after: Option<Vec<u8>>) -> fjall::Iter {
    let from = after.map_or(Bound::Included(begin.to_vec()), Bound::Excluded);
    let mut end = begin.to_vec();
    while end.last() == Some(&0xFF) {
        end.pop();
    }
    // A key of `meta` begins with a letter, so something is left to count up.
    end.iter_mut().last().into_iter().for_each(|byte| *byte += 1);
    meta.range((from, Bound::Excluded(end)))
}

/// What a batch changes of parked keys: entries, one for each key, and the view.
pub(super) struct ParkedWrites<'m> {
    meta: &'m Keyspace,
    generation: u32,
    keys: BTreeMap<(Arc<str>, ParkedKey), Option<ParkedEntry>>,
    queues: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    counts: BTreeMap<Arc<str>, ParkedCounts>,
}

impl<'m> ParkedWrites<'m> {
    /// Works out what changes come to. `known` has the counts as they stand. A decision or an entry that comes again
    /// changes nothing.
    pub fn of(
        (meta, generation): (&'m Keyspace, u32),
        changes: Vec<ParkChange>,
        known: &Parked,
    ) -> Result<ParkedWrites<'m>, StoreError> {
        let (keys, queues, counts) = Default::default();
        let mut writes = ParkedWrites { meta, generation, keys, queues, counts };
        changes.into_iter().try_for_each(|change| writes.change(change, known))?;
        Ok(writes)
    }

    fn change(&mut self, change: ParkChange, known: &Parked) -> Result<(), StoreError> {
        let place = (Arc::clone(change.projection()), change.key().clone());
        let mut kept = match self.keys.get_mut(&place) {
            Some(kept) => kept.take(),
            None => entry(self.meta, self.generation, &place.0, &place.1)?,
        };
        match change {
            ParkChange::Park { entry, .. } => {
                let new = self.enqueue(&place, &entry.since)?;
                let kept = kept.get_or_insert(ParkedEntry { waiting: 0, ..entry });
                kept.waiting += u64::from(new);
            }
            ParkChange::Enqueue { event, .. } => {
                let new = self.enqueue(&place, &event)?;
                kept.iter_mut().for_each(|kept| kept.waiting += u64::from(new));
            }
            ParkChange::Dequeue { event, ended, .. } => {
                if self.dequeue(&place, &event)? {
                    let before = || known.counts(&place.0);
                    self.counts.entry(Arc::clone(&place.0)).or_insert_with(before).add(ended);
                    kept.iter_mut().for_each(|kept| kept.waiting = kept.waiting.saturating_sub(1));
                }
            }
            ParkChange::Restate { entry, .. } => {
                kept = kept.map(|kept| ParkedEntry { waiting: kept.waiting, ..entry });
            }
            // Batches are applied whole here: what is begun is done.
            ParkChange::Begin { .. } => {}
        }
        self.keys.insert(place, kept.filter(|kept| kept.waiting > 0));
        Ok(())
    }

    /// Answers whether the event was not in the queue yet.
    fn enqueue(&mut self, place: &(Arc<str>, ParkedKey), event: &QueuedEvent) -> Result<bool, StoreError> {
        let key = self.queue_key(place, event);
        let waits = self.waits(&key)?;
        self.queues.insert(key, Some(entry_bytes(&[event_value(event)])));
        Ok(!waits)
    }

    /// Answers whether the event was in the queue.
    fn dequeue(&mut self, place: &(Arc<str>, ParkedKey), event: &QueuedEvent) -> Result<bool, StoreError> {
        let key = self.queue_key(place, event);
        let waits = self.waits(&key)?;
        self.queues.insert(key, None);
        Ok(waits)
    }

    fn waits(&self, key: &[u8]) -> Result<bool, StoreError> {
        match self.queues.get(key) {
            Some(entry) => Ok(entry.is_some()),
            None => self.meta.contains_key(key).map_err(reading_queue),
        }
    }

    fn queue_key(&self, place: &(Arc<str>, ParkedKey), event: &QueuedEvent) -> Vec<u8> {
        queue_key(place_key(QUEUE, self.generation, &place.0, &place.1), event)
    }

    /// Adds the entries to a write.
    pub fn add_to(&self, write: &mut WriteBatch) {
        for (place, entry) in &self.keys {
            let key = place_key(PARKED, self.generation, &place.0, &place.1);
            match entry {
                Some(entry) => write.insert(self.meta, key, parked_bytes(place, entry)),
                None => write.remove(self.meta, key),
            }
        }
        for (key, bytes) in &self.queues {
            match bytes {
                Some(bytes) => write.insert(self.meta, key.as_slice(), bytes.as_slice()),
                None => write.remove(self.meta, key.as_slice()),
            }
        }
        for (projection, counts) in &self.counts {
            let mut key = prefix(COUNTS, self.generation);
            push_part(&mut key, &Value::text(&**projection), Order::Asc);
            let ParkedCounts { retried, skipped, dropped } = *counts;
            let numbers = [retried, skipped, dropped].map(offset_value);
            let cells: Vec<Value> = [Value::text(&**projection)].into_iter().chain(numbers).collect();
            write.insert(self.meta, key, entry_bytes(&cells));
        }
    }

    /// Shows the changes, once they are written.
    pub fn show(self, parked: &mut Parked) {
        for ((projection, key), entry) in &self.keys {
            let since = entry.as_ref().map(|entry| (&entry.since.at, entry.since.offset));
            parked.set(projection, key, since);
        }
        self.counts.iter().for_each(|(projection, counts)| parked.set_counts(projection, *counts));
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.keys.len() + self.queues.len() + self.counts.len()
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

fn reading_keys(error: fjall::Error) -> StoreError {
    fault("reading parked keys", error)
}

fn reading_queue(error: fjall::Error) -> StoreError {
    fault("reading the queue of a parked key", error)
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

fn queue_key(mut key: Vec<u8>, event: &QueuedEvent) -> Vec<u8> {
    push_part(&mut key, &offset_value(event.order), Order::Asc);
    push_part(&mut key, &Value::text(&*event.at.topic), Order::Asc);
    push_part(&mut key, &int(event.at.partition), Order::Asc);
    push_part(&mut key, &offset_value(event.offset), Order::Asc);
    key
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

fn item(bytes: &[u8]) -> Result<ParkedItem, StoreError> {
    let mut cells = Fields::read(bytes, "a parked key")?;
    let (projection, key) = (Arc::from(&*cells.text()?), cells.parked_key()?);
    let entry = ParkedEntry {
        since: cells.event()?,
        entity: cells.text()?,
        shown: cells.text()?,
        stage: cells.text()?,
        reason: cells.text()?,
        waiting: cells.number()?,
        type_name: cells.optional_text()?,
        // Batches are applied whole here.
        begun: None,
    };
    Ok(ParkedItem { projection, key, entry })
}

fn counts(cells: &mut Fields) -> Result<ParkedCounts, StoreError> {
    Ok(ParkedCounts { retried: cells.number()?, skipped: cells.number()?, dropped: cells.number()? })
}

/// Kind, bytes (or topic), and the length of the partition (or its number).
fn parked_key_parts(key: &ParkedKey) -> (Value, Value, Value) {
    match key {
        ParkedKey::Row(key) => (int(0u32), Value::Bytes(key.bytes().into()), length(key.partition().len())),
        ParkedKey::Record(key) => (int(1u32), Value::Bytes(key.clone()), int(0u32)),
        ParkedKey::Position(at, _) => (int(2u32), Value::text(&*at.topic), int(at.partition)),
    }
}

fn length(len: usize) -> Value {
    Value::Int(i64::try_from(len).expect("no slice is longer than 2^63 bytes"))
}
