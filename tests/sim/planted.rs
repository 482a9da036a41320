//! Bugs planted between the write loop and its store and log: what each would come to if the loop, or a driver, broke a rule.
//!
//! Comes in: batches, answers and records. Goes out: the same, spoilt. The loop itself stays as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use kinora::event::{Offset, TopicPartition};
use kinora::plan::{Plan, TableId};
use kinora::schema::ColumnId;
use kinora::store::memory::MemoryStore;
use kinora::store::{
    Batch, Columns, Ended, Mutation, ParkChange, Parked, Progress, QueuedEvent, Store, StoreError, StoredRow,
    Tables, all_parked,
};
use kinora::value::encode::RowKey;

use crate::check::Generation;
use crate::desk::{Afloat, OwnerId, Shared, Writing};
use crate::plant::Plant;
use crate::tables::phases;

/// What one owner's store does wrong.
pub struct Planted {
    plant: Option<Plant>,
    owner: OwnerId,
    desk: Shared,
    plan: Arc<Plan>,
    tables: Arc<dyn Tables>,
    memory: Mutex<Memory>,
}

/// What a spoilt owner keeps that it should not.
#[derive(Default)]
struct Memory {
    /// Rows as they were read first.
    first: BTreeMap<RowKey, Option<StoredRow>>,
    /// Base rows of the batch under way, and of those that failed.
    sent: BTreeMap<RowKey, StoredRow>,
    failed: BTreeMap<RowKey, StoredRow>,
    buckets_sent: BTreeSet<RowKey>,
    buckets_failed: BTreeSet<RowKey>,
    /// What was parked before the partitions were taken, or when it was read first.
    parked: Option<Parked>,
    /// Whether a queue was read since the last batch.
    releases: bool,
}

impl Planted {
    pub fn new(plant: Option<Plant>, desk: &Shared, generation: &Generation, owner: OwnerId) -> Planted {
        Planted {
            plant,
            owner,
            desk: desk.clone(),
            plan: Arc::clone(&generation.bound.definitions.plan),
            tables: Arc::clone(&generation.tables),
            memory: Mutex::default(),
        }
    }

    fn is(&self, plant: Plant) -> bool {
        self.plant == Some(plant)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Partitions are about to be taken.
    pub fn before_own(&self) {
        if self.is(Plant::ParkedReadBeforeOwn) {
            self.memory().parked = Some(self.tables.parked());
        }
    }

    /// Spoils what is known to be parked when it is read anew.
    pub fn reloaded(&self, parked: Parked) -> Parked {
        match self.plant {
            Some(Plant::ParkedReadBeforeOwn) => self.memory().parked.clone().unwrap_or(parked),
            Some(Plant::DoubtIgnored) => self.memory().parked.get_or_insert(parked).clone(),
            _ => parked,
        }
    }

    /// Spoils a queue that was read.
    pub fn queue(&self, mut queue: Vec<QueuedEvent>) -> Vec<QueuedEvent> {
        self.memory().releases = true;
        if self.is(Plant::QueueReversed) {
            queue.reverse();
        }
        queue
    }

    /// Spoils rows that were read.
    pub fn read(
        &self,
        table: TableId,
        keys: &[RowKey],
        rows: Vec<Option<StoredRow>>,
    ) -> Vec<Option<StoredRow>> {
        let mut memory = self.memory();
        let spoil = |(key, mut row): (&RowKey, Option<StoredRow>)| {
            if let Some(row) = &mut row {
                match self.plant {
                    Some(Plant::PositionIgnored) => row.offset = 0,
                    Some(Plant::PositionOneLow) => row.offset = row.offset.saturating_sub(1),
                    Some(Plant::PositionOneHigh) => row.offset += 1,
                    Some(Plant::RetriedAgain) if memory.releases => row.offset = 0,
                    _ => {}
                }
            }
            match self.plant {
                Some(Plant::DeletedForgotten) => row.filter(|row| row.live),
                Some(Plant::StaleReads) => memory.first.entry(key.clone()).or_insert(row).clone(),
                Some(Plant::RowSplit | Plant::ReadUnrepaired) => self.half_read(table, key, row),
                Some(Plant::CacheOutlivesFailure) => memory.failed.get(key).cloned().or(row),
                _ => row,
            }
        };
        keys.iter().zip(rows).map(spoil).collect()
    }

    /// A row of which a later write has reached one replica.
    fn half_read(&self, table: TableId, key: &RowKey, row: Option<StoredRow>) -> Option<StoredRow> {
        let mut desk = self.desk.lock();
        let stored_at = row.as_ref().map(|row| row.offset);
        let is_later = |afloat: &Afloat| match &afloat.writing {
            Writing::Row(mutation @ Mutation::Replace { offset, .. }) => {
                mutation.table() == table && mutation.key() == key && Some(*offset) > stored_at
            }
            _ => false,
        };
        let Some(place) = desk.afloat.iter().position(is_later) else { return row };
        let Writing::Row(Mutation::Replace { cells, offset, .. }) = desk.afloat[place].writing.clone() else {
            return row;
        };
        let cells = cells.values().to_vec();
        match self.plant {
            Some(Plant::RowSplit) => row.map(|row| StoredRow { cells, live: true, ..row }),
            _ => {
                // The others never get it.
                desk.afloat.swap_remove(place);
                Some(StoredRow { key: key.clone(), offset, live: true, cells })
            }
        }
    }

    /// Spoils a page of rows.
    pub fn scanned(&self, mut rows: Vec<StoredRow>) -> Vec<StoredRow> {
        if self.is(Plant::RangeCut) {
            rows.truncate(1);
        }
        rows
    }

    /// The phases of a batch of the stamped profile, spoilt.
    pub fn phases(&self, mut batch: Batch) -> Vec<Vec<Writing>> {
        self.spoil(&mut batch);
        let mut phases = phases(batch);
        let [buckets, derived, left, base, parked, ended, progress] = [0, 1, 2, 3, 4, 5, 6];
        let order = match self.plant {
            Some(Plant::BaseBeforeDerived) => [buckets, base, derived, left, parked, ended, progress],
            Some(Plant::LeftBeforeDerived) => [buckets, left, derived, base, parked, ended, progress],
            Some(Plant::ProgressFirst) => [progress, buckets, derived, left, base, parked, ended],
            Some(Plant::ProgressBeforeParked) => [buckets, derived, left, base, progress, parked, ended],
            Some(Plant::DequeuedFirst) => [ended, buckets, derived, left, base, parked, progress],
            Some(Plant::BucketLast) => [derived, left, base, buckets, parked, ended, progress],
            _ => [buckets, derived, left, base, parked, ended, progress],
        };
        let phases: Vec<_> = order.iter().map(|at: &usize| std::mem::take(&mut phases[*at])).collect();
        match self.plant {
            Some(Plant::PhasesAtOnce) => vec![phases.concat()],
            Some(Plant::NotWaitedFor) => {
                let all = phases.concat().into_iter().map(|writing| self.afloat(writing));
                all.for_each(drop);
                Vec::new()
            }
            _ => phases,
        }
    }

    /// Sends a write, and does not wait for it.
    fn afloat(&self, writing: Writing) {
        drop(self.desk.ask(self.owner, crate::desk::Ask::Write(writing)));
    }

    /// A batch of the atomic profile, spoilt.
    pub fn batches(&self, mut batch: Batch) -> Vec<Vec<Writing>> {
        self.spoil(&mut batch);
        let whole = |batch| vec![Writing::Batch(Box::new(batch))];
        if self.is(Plant::BatchTorn) && batch.base.len() > 1 {
            let rest = batch.base.split_off(batch.base.len() / 2);
            return vec![whole(batch), whole(Batch { base: rest, ..Batch::default() })];
        }
        vec![whole(batch)]
    }

    fn spoil(&self, batch: &mut Batch) {
        self.remember(batch);
        match self.plant {
            Some(Plant::BuryIsDelete | Plant::BuryDropped | Plant::BaseAssigned | Plant::ColumnsSwapped) => {
                batch.base = batch.base.drain(..).filter_map(|mutation| self.base_row(mutation)).collect();
            }
            Some(Plant::CopyAssigned) => batch.derived = batch.derived.drain(..).map(assigned).collect(),
            Some(Plant::LeftDropped) => batch.left.clear(),
            Some(Plant::LeftOnlyWhereStored) => batch.left.retain(|mutation| self.stands(mutation)),
            Some(Plant::DerivedOnlyWhereNew) => batch.derived.retain(|mutation| !self.stands(mutation)),
            Some(Plant::LeftOneLate) => {
                batch.left.iter_mut().for_each(|left| stamp(left, |at, base| (at + 1, base)))
            }
            Some(Plant::LeftUnstamped) => {
                batch.left.iter_mut().for_each(|left| stamp(left, |_, base| (0, base)))
            }
            Some(Plant::LastRowDropped) if batch.base.len() > 1 => drop(batch.base.pop()),
            Some(Plant::StampsFromTimes | Plant::StampsTie) => {
                let at = batch.progress.first().map(|mark| mark.at.clone());
                let rows = [&mut batch.buckets, &mut batch.derived, &mut batch.left, &mut batch.base];
                for mutation in rows.into_iter().flatten() {
                    stamp(mutation, |offset, base| (offset, self.base(at.as_ref(), offset, base)));
                }
            }
            Some(Plant::ProgressOneAhead) => {
                batch.progress.iter_mut().for_each(|mark| mark.next += u64::from(mark.next > 0));
            }
            Some(Plant::BaseStoredLate) => batch.progress.retain(|mark| mark.next > 0),
            Some(Plant::QueueEntryLost) => {
                batch.parked.retain(|change| !matches!(change, ParkChange::Enqueue { .. }));
            }
            Some(Plant::ParkLost) => batch.parked.retain(|change| !matches!(change, ParkChange::Park { .. })),
            Some(Plant::PassedWithoutPosition) if passes(batch) => {
                *batch = Batch {
                    parked: std::mem::take(&mut batch.parked),
                    owners: Arc::clone(&batch.owners),
                    ..Batch::default()
                };
            }
            Some(Plant::BegunNotStored) => {
                batch.parked.retain(|change| !matches!(change, ParkChange::Begin { .. }));
            }
            Some(Plant::DequeueLost) => {
                batch.parked.retain(|change| !matches!(change, ParkChange::Dequeue { .. }));
            }
            Some(Plant::NullsLeftOut) => {
                batch.base.iter_mut().chain(&mut batch.derived).for_each(leave_out_nulls);
            }
            Some(Plant::CopyKeyCut) => {
                batch.derived.iter_mut().chain(&mut batch.left).for_each(cut_key);
            }
            Some(Plant::BucketDropped) => batch.buckets.clear(),
            Some(Plant::BucketsOutliveFailure) => {
                let memory = self.memory();
                batch.buckets.retain(|name| !memory.buckets_failed.contains(name.key()));
            }
            _ => {}
        }
    }

    /// Keeps in mind what a batch makes of base rows and buckets.
    fn remember(&self, batch: &Batch) {
        let mut memory = self.memory();
        memory.buckets_sent.extend(batch.buckets.iter().map(|name| name.key().clone()));
        for mutation in &batch.base {
            let (key, offset) = (mutation.key().clone(), mutation.offset());
            let row = match mutation {
                Mutation::Replace { cells, .. } => {
                    StoredRow { key, offset, live: true, cells: cells.values().to_vec() }
                }
                _ => StoredRow { key, offset, live: false, cells: Vec::new() },
            };
            memory.sent.insert(row.key.clone(), row);
        }
    }

    fn base_row(&self, mutation: Mutation) -> Option<Mutation> {
        match mutation {
            Mutation::Bury { table, key, offset, base } => {
                (!self.is(Plant::BuryDropped)).then_some(match self.plant {
                    Some(Plant::BuryIsDelete) => Mutation::Delete { table, key, offset, base },
                    _ => Mutation::Bury { table, key, offset, base },
                })
            }
            mutation if self.is(Plant::BaseAssigned) => Some(assigned(mutation)),
            Mutation::Replace { table, key, cells, offset, base } if self.is(Plant::ColumnsSwapped) => {
                let mut cells = cells.values().to_vec();
                cells.swap(4, 6);
                Some(Mutation::Replace { table, key, cells: Arc::new(cells).into(), offset, base })
            }
            mutation => Some(mutation),
        }
    }

    /// Whether a row stands where a mutation writes.
    fn stands(&self, mutation: &Mutation) -> bool {
        let keys = std::slice::from_ref(mutation.key());
        let found = self.tables.get(mutation.table(), keys, Columns::All).now_or_never();
        found.and_then(Result::ok).is_some_and(|rows| rows[0].is_some())
    }

    /// The base of a stamp that is not what it should be.
    fn base(&self, at: Option<&TopicPartition>, offset: Offset, base: i64) -> i64 {
        if self.is(Plant::StampsTie) {
            return base - offset as i64;
        }
        let desk = self.desk.lock();
        let record = at.and_then(|at| desk.log.get(at)).and_then(|records| records.get(offset as usize));
        base + record.map_or(0, |record| record.timestamp_ms) - offset as i64
    }

    /// What is told of a phase.
    pub fn acknowledged(&self, sent: Result<(), StoreError>) -> Result<(), StoreError> {
        match (self.plant, &sent) {
            (Some(Plant::FailureIgnored), _) => Ok(()),
            (Some(Plant::RefusalIgnored), Err(StoreError::LostOwnership { .. })) => Ok(()),
            _ => sent,
        }
    }

    /// The batch under way has been written, or has failed.
    pub fn told(&self, ok: bool) {
        let mut memory = self.memory();
        memory.releases = false;
        let (sent, buckets) = (std::mem::take(&mut memory.sent), std::mem::take(&mut memory.buckets_sent));
        match ok {
            true => {
                memory.failed.retain(|key, _| !sent.contains_key(key));
            }
            false => {
                memory.failed.extend(sent);
                memory.buckets_failed.extend(buckets);
            }
        }
    }

    /// Spoils progress that was read.
    pub fn progress(&self, mut progress: Progress) -> Arc<Progress> {
        if self.is(Plant::BaseOfEachOwner) {
            progress.marks.iter_mut().for_each(|mark| mark.base += 5 * self.owner as i64);
        }
        Arc::new(progress)
    }

    /// Spoils the parked keys that are known.
    pub fn parked(&self, parked: &Parked) -> Parked {
        match self.plant {
            Some(Plant::ParkedUnknown) => Parked::default(),
            Some(Plant::ParkedFromTheStart) => self.parked_from_the_start(parked),
            _ => parked.clone(),
        }
    }

    /// Parked keys as they would be if each were parked from the first event of its partition on.
    fn parked_from_the_start(&self, parked: &Parked) -> Parked {
        if parked.is_empty() {
            return parked.clone();
        }
        let early = async {
            let all = all_parked(self.tables.as_ref()).await?;
            let store = MemoryStore::new();
            let scratch = store.open(1, &self.plan).await?;
            for ((projection, key), mut entry) in all {
                entry.since.offset = 0;
                let owners = scratch.own(&projection, std::slice::from_ref(&entry.since.at)).await?.into();
                let parked = vec![ParkChange::Park { projection, key, entry }];
                scratch.commit(Batch { parked, owners, ..Batch::default() }).await?;
            }
            Ok::<_, StoreError>(scratch.parked())
        };
        early.now_or_never().and_then(Result::ok).unwrap_or_else(|| parked.clone())
    }
}

/// Only the cells that are not null.
fn assigned(mutation: Mutation) -> Mutation {
    match mutation {
        Mutation::Replace { table, key, cells, offset, base } => {
            let values = cells.values();
            let cells = (0..).map(ColumnId).zip(values.iter().cloned());
            let cells = cells.filter(|(_, cell)| !cell.is_null()).collect();
            Mutation::Assign { table, key, cells, offset, base }
        }
        other => other,
    }
}

/// Changes offset and base of a mutation.
fn stamp(mutation: &mut Mutation, change: impl Fn(Offset, i64) -> (Offset, i64)) {
    match mutation {
        Mutation::Replace { offset, base, .. }
        | Mutation::Delete { offset, base, .. }
        | Mutation::Bury { offset, base, .. }
        | Mutation::Assign { offset, base, .. } => (*offset, *base) = change(*offset, *base),
    }
}

/// Whether all that a batch does is to pass events.
fn passes(batch: &Batch) -> bool {
    let mut ended = batch.parked.iter().filter_map(|change| match change {
        ParkChange::Dequeue { ended, .. } => Some(*ended != Ended::Applied),
        _ => None,
    });
    ended.next() == Some(true) && ended.all(|passes| passes)
}

fn leave_out_nulls(mutation: &mut Mutation) {
    if let Mutation::Assign { cells, .. } = mutation {
        cells.retain(|(_, cell)| !cell.is_null());
    }
}

/// Keeps of a key only the partition.
fn cut_key(mutation: &mut Mutation) {
    match mutation {
        Mutation::Replace { key, .. }
        | Mutation::Delete { key, .. }
        | Mutation::Bury { key, .. }
        | Mutation::Assign { key, .. } => *key = RowKey::new(key.partition().to_vec(), &[]),
    }
}
