//! Progress, parked keys and owners as every store keeps them in memory, and who is told when progress moves.
//!
//! Comes in: what was read from the store at opening, then what each commit made durable. Goes out: shared views
//! that cost no read. Writing them to a store is the store's.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use tokio::sync::watch;

use super::{Batch, Owner, Parked, Progress, ProgressMark, StoreError};
use crate::event::TopicPartition;

/// Locks, also after another thread panicked while it held the lock: what we guard is replaced whole, never left half done.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Progress, parked keys and owners of one generation.
#[derive(Debug)]
pub(super) struct Ledger {
    progress: RwLock<Arc<Progress>>,
    parked: RwLock<Parked>,
    epochs: Mutex<Epochs>,
    /// Counts the changes of progress; readers that wait for a position hold the other end.
    changes: watch::Sender<u64>,
}

impl Ledger {
    /// A ledger that begins with what a store holds.
    pub fn new(progress: Progress, parked: Parked) -> Ledger {
        Ledger {
            progress: RwLock::new(Arc::new(progress)),
            parked: RwLock::new(parked),
            epochs: Mutex::default(),
            changes: watch::Sender::new(0),
        }
    }

    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn parked(&self) -> Parked {
        self.parked.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Shows new progress and tells who waits for it.
    pub fn set_progress(&self, progress: Progress) {
        let progress = Progress::new(progress.marks);
        *self.progress.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(progress);
        self.changes.send_modify(|count| *count += 1);
    }

    /// Shows other parked keys.
    pub fn set_parked(&self, parked: Parked) {
        *self.parked.write().unwrap_or_else(PoisonError::into_inner) = parked;
    }

    /// Changes the parked keys in place.
    pub fn change_parked<T>(&self, change: impl FnOnce(&mut Parked) -> T) -> T {
        change(&mut self.parked.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// The epochs of all partitions.
    pub fn epochs(&self) -> MutexGuard<'_, Epochs> {
        lock(&self.epochs)
    }
}

/// How often each partition of each projection has been taken.
#[derive(Clone, Debug, Default)]
pub(super) struct Epochs {
    epochs: BTreeMap<(Arc<str>, TopicPartition), u64>,
}

impl Epochs {
    pub fn of(&self, projection: &Arc<str>, at: &TopicPartition) -> u64 {
        self.epochs.get(&(Arc::clone(projection), at.clone())).copied().unwrap_or_default()
    }

    /// The next owners of partitions.
    pub fn next(&self, projection: &Arc<str>, partitions: &[TopicPartition]) -> Vec<Owner> {
        let next = |at: &TopicPartition| {
            let epoch = self.of(projection, at) + 1;
            Owner { projection: Arc::clone(projection), at: at.clone(), epoch }
        };
        partitions.iter().map(next).collect()
    }

    pub fn set(&mut self, owner: &Owner) {
        self.epochs.insert((Arc::clone(&owner.projection), owner.at.clone()), owner.epoch);
    }

    /// Refuses who owns a partition no more.
    pub fn check(&self, owner: &Owner) -> Result<(), StoreError> {
        let found = self.of(&owner.projection, &owner.at);
        if found == owner.epoch {
            return Ok(());
        }
        let Owner { projection, at, epoch } = owner.clone();
        Err(StoreError::LostOwnership { projection, at, epoch, found })
    }

    /// Refuses a batch of which not all owners own their partitions still.
    pub fn check_all(&self, batch: &Batch) -> Result<(), StoreError> {
        batch.owners.iter().try_for_each(|owner| self.check(owner))?;
        batch
            .parked
            .iter()
            .try_for_each(|change| self.check(&batch.owner_of(change.projection(), &change.event().at)))
    }
}

/// Takes marks into progress, except those that would go back. A partition keeps the base of its first mark. Answers which
/// were taken.
pub(super) fn advance(progress: &mut Progress, marks: Vec<ProgressMark>) -> Vec<ProgressMark> {
    let mut taken = Vec::with_capacity(marks.len());
    for mut mark in marks {
        let same = |known: &&mut ProgressMark| known.projection == mark.projection && known.at == mark.at;
        match progress.marks.iter_mut().find(same) {
            Some(known) if known.next > mark.next => continue,
            Some(known) => {
                mark.base = known.base;
                *known = mark.clone();
            }
            None => progress.marks.push(mark.clone()),
        }
        taken.push(mark);
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::TopicPartition;

    fn mark(partition: u32, next: u64) -> ProgressMark {
        ProgressMark {
            projection: "orders".into(),
            at: TopicPartition { topic: "shop.orders".into(), partition },
            topic_id: 1,
            next,
            end: 100,
            time_ms: 0,
            base: 0,
            relayed: None,
        }
    }

    #[test]
    fn a_mark_never_goes_back() {
        let mut progress = Progress::default();
        assert_eq!(advance(&mut progress, vec![mark(0, 5), mark(1, 3)]).len(), 2);
        assert_eq!(advance(&mut progress, vec![mark(0, 4), mark(1, 4)]), vec![mark(1, 4)]);
        assert_eq!(progress.marks, vec![mark(0, 5), mark(1, 4)]);
    }

    #[test]
    fn a_partition_keeps_the_base_that_it_began_with() {
        let mut progress = Progress::default();
        advance(&mut progress, vec![mark(0, 0)]);
        advance(&mut progress, vec![ProgressMark { base: 7, ..mark(0, 4) }]);
        assert_eq!(progress.marks, vec![mark(0, 4)]);
    }

    #[test]
    fn whoever_waits_is_told_of_each_change() {
        let ledger = Ledger::new(Progress::default(), Parked::default());
        let changes = ledger.changes();
        assert!(!changes.has_changed().expect("the ledger lives"));
        ledger.set_progress(Progress::new(vec![mark(0, 1)]));
        assert!(changes.has_changed().expect("the ledger lives"));
        assert_eq!(ledger.progress().marks.len(), 1);
    }
}
