//! Parked keys of the store in memory: decisions, and queues in which an event that has left stays away.
//!
//! Comes in: changes, in whatever order they arrive. Goes out: keys and queues. An entry that was deleted is remembered, as
//! a tombstone of the same stamp is: one that arrives late does not come back. A key is parked while an event of it waits.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::event::{Offset, TopicPartition};
use crate::store::parked::begun_otherwise;
use crate::store::{
    ParkChange, Parked, ParkedCounts, ParkedEntry, ParkedItem, ParkedKey, ParkedPage, QueuedEvent, StoreError,
};

#[derive(Default)]
pub(super) struct ParkedData {
    keys: BTreeMap<(Arc<str>, ParkedKey), Kept>,
    counts: BTreeMap<Arc<str>, ParkedCounts>,
}

#[derive(Default)]
struct Kept {
    /// The decision; `None` where none has come yet, or the last event has left.
    entry: Option<ParkedEntry>,
    /// By order and position; `None`: it has left.
    queue: BTreeMap<(Offset, TopicPartition, Offset), Option<QueuedEvent>>,
}

impl Kept {
    fn waiting(&self) -> impl Iterator<Item = &QueuedEvent> {
        self.queue.values().flatten()
    }

    fn enqueue(&mut self, event: &QueuedEvent) {
        self.queue.entry(place(event)).or_insert_with(|| Some(event.clone()));
    }

    /// The key as it is listed: parked while events wait.
    fn listed(&self) -> Option<ParkedEntry> {
        let waiting = self.waiting().count() as u64;
        let entry = self.entry.as_ref().filter(|_| waiting > 0)?;
        Some(ParkedEntry { waiting, ..entry.clone() })
    }
}

fn place(event: &QueuedEvent) -> (Offset, TopicPartition, Offset) {
    (event.order, event.at.clone(), event.offset)
}

impl ParkedData {
    /// Applies a change, and shows it.
    ///
    /// # Errors
    /// What is to be begun was begun otherwise.
    pub fn change(&mut self, parked: &mut Parked, change: ParkChange) -> Result<(), StoreError> {
        let name = (Arc::clone(change.projection()), change.key().clone());
        let kept = self.keys.entry(name.clone()).or_default();
        match change {
            ParkChange::Park { entry, .. } => {
                kept.enqueue(&entry.since);
                kept.entry.get_or_insert(entry);
            }
            ParkChange::Enqueue { event, .. } => kept.enqueue(&event),
            ParkChange::Dequeue { event, ended, .. } => {
                let before = kept.queue.insert(place(&event), None).flatten();
                let counts = self.counts.entry(Arc::clone(&name.0)).or_default();
                if before.is_some() {
                    counts.add(ended);
                }
                parked.set_counts(&name.0, *counts);
            }
            ParkChange::Restate { entry, .. } => {
                if let Some(stated) = &mut kept.entry {
                    *stated = ParkedEntry { begun: stated.begun.take(), ..entry };
                }
            }
            ParkChange::Begin { was, begun, .. } => match &mut kept.entry {
                Some(stated) if stated.begun == was || stated.begun.as_ref() == Some(&begun) => {
                    stated.begun = Some(begun);
                }
                Some(_) => return Err(begun_otherwise()),
                None => {}
            },
        }
        let listed = kept.listed();
        if listed.is_none() && kept.waiting().next().is_none() {
            kept.entry = None;
        }
        let since = listed.as_ref().map(|entry| (&entry.since.at, entry.since.offset));
        parked.set(&name.0, &name.1, since);
        Ok(())
    }

    pub fn entry(&self, projection: &str, key: &ParkedKey) -> Option<ParkedEntry> {
        self.keys.get(&(Arc::from(projection), key.clone()))?.listed()
    }

    pub fn page(&self, page: ParkedPage<'_>) -> Vec<ParkedItem> {
        let after = page.after.map(|(projection, key)| (Arc::from(projection), key.clone()));
        let asked = |(projection, key): &(Arc<str>, ParkedKey)| {
            let of_row = |begin: &[u8]| matches!(key, ParkedKey::Row(key) if key.bytes().starts_with(begin));
            page.projection.is_none_or(|asked| **projection == *asked) && page.rows.is_none_or(of_row)
        };
        let behind = |name: &(Arc<str>, ParkedKey)| after.as_ref().is_none_or(|after| name > after);
        let keys = self.keys.iter().filter(|(name, _)| asked(name) && behind(name));
        let listed = keys.filter_map(|((projection, key), kept)| {
            Some(ParkedItem { projection: Arc::clone(projection), key: key.clone(), entry: kept.listed()? })
        });
        listed.take(page.limit).collect()
    }

    pub fn queue(
        &self,
        projection: &str,
        key: &ParkedKey,
        after: Option<&QueuedEvent>,
        limit: usize,
    ) -> Vec<QueuedEvent> {
        let Some(kept) = self.keys.get(&(Arc::from(projection), key.clone())) else { return Vec::new() };
        let behind = |event: &&QueuedEvent| after.is_none_or(|after| event.place() > after.place());
        kept.waiting().filter(behind).take(limit).cloned().collect()
    }
}
