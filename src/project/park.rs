//! A key that cannot go on waits; the rest goes on.
//!
//! The first event of a key that is rejected parks the key; its later events queue behind it, positions only,
//! in order. This holds the decisions in memory beside the store's, so that a batch sees what it has itself
//! decided, and collects the changes for the batch.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::event::{Offset, TopicPartition};
use crate::route::RowRange;
use crate::store::{ParkChange, Parked, ParkedEntry, ParkedKey, QueuedEvent};

/// The parked keys of one projection, as of the last commit and with what the batch under way adds.
pub struct ParkedKeys {
    projection: Arc<str>,
    /// What is parked, and since when.
    since: BTreeMap<ParkedKey, (TopicPartition, Offset)>,
    changes: Vec<ParkChange>,
}

impl ParkedKeys {
    /// Begins with what the store holds.
    pub fn from_store(projection: &Arc<str>, parked: &Parked) -> ParkedKeys {
        let mine = parked.keys.iter().filter(|((name, _), _)| name == projection);
        ParkedKeys {
            projection: Arc::clone(projection),
            since: mine
                .map(|((_, key), entry)| (key.clone(), (entry.since.at.clone(), entry.since.offset)))
                .collect(),
            changes: Vec::new(),
        }
    }

    /// Whether nothing is parked: the common case, in which nothing more need be asked.
    pub fn is_empty(&self) -> bool {
        self.since.is_empty()
    }

    /// The parked rows of a range.
    pub fn rows_of<'p>(&'p self, range: &'p RowRange) -> impl Iterator<Item = &'p ParkedKey> {
        self.since.keys().filter(|key| matches!(key, ParkedKey::Row(key) if range.has(key)))
    }

    /// How many keys are parked.
    pub fn len(&self) -> usize {
        self.since.len()
    }

    /// Whether an event of this key waits: the key is parked, from this event on or from an earlier one. Events
    /// below the first parked one were applied before the decision and pass (P4).
    pub fn holds(&self, key: &ParkedKey, at: &TopicPartition, offset: Offset) -> bool {
        self.since.get(key).is_some_and(|(since_at, since)| since_at != at || *since <= offset)
    }

    /// Parks a key, or queues the event where the key is parked already. A key's events come in their order, so the
    /// first that is rejected is why the key waits.
    pub fn park(&mut self, key: ParkedKey, entry: ParkedEntry) {
        if self.since.contains_key(&key) {
            self.enqueue(key, entry.since);
            return;
        }
        self.since.insert(key.clone(), (entry.since.at.clone(), entry.since.offset));
        self.changes.push(ParkChange::Park { projection: Arc::clone(&self.projection), key, entry });
    }

    /// Queues an event of a parked key.
    pub fn enqueue(&mut self, key: ParkedKey, event: QueuedEvent) {
        self.changes.push(ParkChange::Enqueue { projection: Arc::clone(&self.projection), key, event });
    }

    /// What the batch under way has decided; forgotten here once taken.
    pub fn take_changes(&mut self) -> Vec<ParkChange> {
        std::mem::take(&mut self.changes)
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
        }
    }

    fn at() -> TopicPartition {
        TopicPartition { topic: "shop.orders".into(), partition: 0 }
    }

    fn key() -> ParkedKey {
        ParkedKey::Record(b"o1".as_slice().into())
    }

    #[test]
    fn a_key_that_is_parked_queues_what_comes_later() {
        let mut parked = ParkedKeys::from_store(&"orders".into(), &Parked::default());
        parked.park(key(), entry(5));
        parked.take_changes();
        parked.park(key(), entry(7));
        assert!(
            matches!(parked.take_changes().as_slice(), [ParkChange::Enqueue { event, .. }] if event.offset == 7)
        );
        assert!(parked.holds(&key(), &at(), 5));
    }
}
