//! A key that cannot go on waits; the rest goes on.
//!
//! The first event of a key that is rejected parks the key; its later events queue behind it, positions only,
//! in order. This holds the decisions in memory beside the store's, so that a batch sees what it has itself
//! decided, and collects the changes for the batch.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::event::{Offset, Record, TopicPartition};
use crate::store::{Ended, ParkChange, Parked, ParkedEntry, ParkedIndex, ParkedKey, QueuedEvent};
use crate::value::encode::RowKey;

/// The parked keys of one projection, as of the last commit and with what the batch under way adds.
pub struct ParkedKeys {
    projection: Arc<str>,
    /// What the store holds. Let go of while a batch is committed, so that the store need not copy what it changes.
    stored: ParkedIndex,
    /// What the batch under way parks, and since when.
    new: HashMap<ParkedKey, (TopicPartition, Offset)>,
    changes: Vec<ParkChange>,
    window: Window,
}

/// Events of a projection among which those that park a key are counted.
pub const WINDOW_EVENTS: u64 = 10_000;

/// Which of the last events have parked a key.
#[derive(Debug, Default)]
struct Window {
    /// Events that were taken up so far.
    seen: u64,
    /// What `seen` was at each event that parked a key, the oldest first.
    parked: VecDeque<u64>,
    /// The most that there were.
    most: usize,
    /// Where events are taken up in another order than the log's: which of them have parked a key so far.
    unordered: Option<Vec<Offset>>,
}

impl Window {
    fn park(&mut self, offset: Offset) {
        match &mut self.unordered {
            Some(offsets) => offsets.push(offset),
            None => self.note(),
        }
    }

    fn note(&mut self) {
        self.parked.push_back(self.seen);
        let old = self.parked.partition_point(|at| at + WINDOW_EVENTS <= self.seen);
        self.parked.drain(..old);
        // Events of one chunk are taken up at once, so a few more than a window's may be within it.
        self.most = self.most.max(self.parked.len().min(WINDOW_EVENTS as usize));
    }
}

impl ParkedKeys {
    /// Begins with what the store holds.
    pub fn from_store(projection: &Arc<str>, parked: &Parked) -> ParkedKeys {
        let (projection, stored) = (Arc::clone(projection), parked.of(projection));
        ParkedKeys { projection, stored, new: HashMap::new(), changes: Vec::new(), window: Window::default() }
    }

    /// Whether nothing is parked: the common case, in which nothing more need be asked.
    pub fn is_empty(&self) -> bool {
        self.stored.is_empty() && self.new.is_empty()
    }

    /// How many keys are parked.
    pub fn len(&self) -> usize {
        self.stored.len() + self.new.len()
    }

    /// An event leaves the queue of its key.
    pub fn dequeue(&mut self, key: ParkedKey, event: QueuedEvent, ended: Ended) {
        let projection = Arc::clone(&self.projection);
        self.changes.push(ParkChange::Dequeue { projection, key, event, ended });
    }

    /// Says anew what a parked key waits for.
    pub fn restate(&mut self, key: ParkedKey, entry: ParkedEntry) {
        self.changes.push(ParkChange::Restate { projection: Arc::clone(&self.projection), key, entry });
    }

    /// The last key that the batch under way parks.
    pub fn last_parked(&self) -> Option<&ParkedEntry> {
        self.changes.iter().rev().find_map(|change| match change {
            ParkChange::Park { entry, .. } => Some(entry),
            _ => None,
        })
    }

    /// So many events more are taken up.
    pub fn see(&mut self, events: usize) {
        self.window.seen += events as u64;
    }

    /// Events of a partition come in another order than the log's, until [`ParkedKeys::see_all`].
    pub fn begin_unordered(&mut self) {
        self.window.unordered = Some(Vec::new());
    }

    /// Those events were taken up: they are counted as if they had come in the log's order, in which they stand here.
    pub fn see_all(&mut self, records: &[&Record]) {
        let mut parked = self.window.unordered.take().unwrap_or_default();
        parked.sort_unstable();
        let begun = self.window.seen;
        for offset in parked {
            let before = records.partition_point(|record| record.offset < offset);
            self.window.seen = begun + before as u64;
            self.window.note();
        }
        self.window.seen = begun + records.len() as u64;
    }

    /// How many of [`WINDOW_EVENTS`] events in a row have parked a key: the most that there were since this began.
    pub fn most_of_a_window(&self) -> usize {
        self.window.most
    }

    /// How many decisions the batch under way has.
    pub fn changed(&self) -> usize {
        self.changes.len()
    }

    /// Whether an event of this key waits: the key is parked, from this event on or from an earlier one. Events
    /// below the first parked one were applied before the decision and pass (P4).
    pub fn holds(&self, key: &ParkedKey, at: &TopicPartition, offset: Offset) -> bool {
        self.stored.holds(key, at, offset) || self.is_new(key, at, offset)
    }

    /// As [`ParkedKeys::holds`], of a row.
    pub fn holds_row(&self, key: &RowKey, at: &TopicPartition, offset: Offset) -> bool {
        self.stored.holds_row(key, at, offset)
            || !self.new.is_empty() && self.is_new(&ParkedKey::Row(key.clone()), at, offset)
    }

    fn is_new(&self, key: &ParkedKey, at: &TopicPartition, offset: Offset) -> bool {
        self.new.get(key).is_some_and(|(since_at, since)| since_at != at || *since <= offset)
    }

    /// Parks a key, or queues the event where the key is parked already. A key's events come in their order, so the
    /// first that is rejected is why the key waits.
    pub fn park(&mut self, key: ParkedKey, entry: ParkedEntry) {
        if self.stored.since(&key).is_some() || self.new.contains_key(&key) {
            self.enqueue(key, entry.since);
            return;
        }
        self.window.park(entry.since.offset);
        self.new.insert(key.clone(), (entry.since.at.clone(), entry.since.offset));
        self.changes.push(ParkChange::Park { projection: Arc::clone(&self.projection), key, entry });
    }

    /// Queues an event of a parked key.
    pub fn enqueue(&mut self, key: ParkedKey, event: QueuedEvent) {
        self.changes.push(ParkChange::Enqueue { projection: Arc::clone(&self.projection), key, event });
    }

    /// What the batch under way has decided. Until [`ParkedKeys::committed`] nothing is known to be parked.
    pub fn take_changes(&mut self) -> Vec<ParkChange> {
        self.new.clear();
        self.stored = ParkedIndex::default();
        std::mem::take(&mut self.changes)
    }

    /// The batch is committed: goes on with what the store holds.
    pub fn committed(&mut self, parked: &Parked) {
        self.stored = parked.of(&self.projection);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(offset: Offset) -> ParkedEntry {
        ParkedEntry {
            since: QueuedEvent { at: at(), offset, order: offset, time_ms: 0 },
            entity: "Order".into(),
            shown: "o1".into(),
            stage: "fold".into(),
            reason: format!("event {offset}").into(),
            type_name: None,
            waiting: 1,
            begun: None,
        }
    }

    fn at() -> TopicPartition {
        TopicPartition { topic: "shop.orders".into(), partition: 0 }
    }

    fn key() -> ParkedKey {
        ParkedKey::Record(b"o1".as_slice().into())
    }

    #[test]
    fn of_a_sliding_window_the_events_that_parked_a_key_are_counted() {
        let mut parked = ParkedKeys::from_store(&"orders".into(), &Parked::default());
        let park = |parked: &mut ParkedKeys, number: u64| {
            parked.park(ParkedKey::Record(number.to_be_bytes().into()), entry(number));
        };
        (0..3).for_each(|number| park(&mut parked, number));
        park(&mut parked, 2);
        assert_eq!(parked.most_of_a_window(), 3, "what waits behind a parked key does not count");
        parked.see(9_999);
        park(&mut parked, 3);
        assert_eq!(parked.most_of_a_window(), 4);
        parked.see(1);
        park(&mut parked, 4);
        assert_eq!(parked.window.parked.len(), 2, "the first three are 10,000 events ago");
        assert_eq!(parked.most_of_a_window(), 4);
    }

    #[test]
    fn more_than_all_events_never_park_a_key() {
        let mut parked = ParkedKeys::from_store(&"orders".into(), &Parked::default());
        for number in 0..3 * WINDOW_EVENTS {
            if number % 100 == 0 {
                parked.see(100);
            }
            parked.park(ParkedKey::Record(number.to_be_bytes().into()), entry(number));
        }
        assert_eq!(parked.most_of_a_window() as u64, WINDOW_EVENTS);
    }

    #[test]
    fn events_that_come_in_another_order_are_counted_in_that_of_the_log() {
        let record = |offset| Record { offset, timestamp_ms: 0, key: None, value: None, headers: Vec::new() };
        let records: Vec<Record> = (0..25_000).map(record).collect();
        let mut parked = ParkedKeys::from_store(&"orders".into(), &Parked::default());
        let park = |parked: &mut ParkedKeys, offset: u64| {
            parked.park(ParkedKey::Record(offset.to_be_bytes().into()), entry(offset));
        };
        parked.begin_unordered();
        // Any 10,000 in a row have two of them.
        [20_000, 10_000, 0, 19_999, 9_999].into_iter().for_each(|offset| park(&mut parked, offset));
        parked.see_all(&records.iter().collect::<Vec<_>>());
        assert_eq!((parked.most_of_a_window(), parked.window.seen), (2, 25_000));
        park(&mut parked, 25_000);
        assert_eq!(parked.most_of_a_window(), 3, "those at 19,999 and 20,000 are not 10,000 events ago");
    }

    #[test]
    fn a_key_that_is_parked_queues_what_comes_later() {
        let mut parked = ParkedKeys::from_store(&"orders".into(), &Parked::default());
        parked.park(key(), entry(5));
        parked.park(key(), entry(7));
        assert_eq!((parked.changed(), parked.len()), (2, 1));
        assert!(
            matches!(&parked.changes[..], [ParkChange::Park { .. }, ParkChange::Enqueue { event, .. }] if event.offset == 7)
        );
        assert!(parked.holds(&key(), &at(), 5) && !parked.holds(&key(), &at(), 4));
    }
}
