//! Bugs planted between the write loop and its store and log: what each would come to if the loop, or a driver, broke a rule.
//!
//! Comes in: batches, answers and records. Goes out: the same, spoilt. The loop itself stays as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use kinora::event::{Offset, TopicPartition};
use kinora::schema::ColumnId;
use kinora::store::{Batch, Columns, Mutation, ParkChange, Parked, Progress, StoreError, StoredRow, Tables};
use kinora::value::encode::RowKey;

use crate::check::Generation;
use crate::desk::{OwnerId, Shared, Writing};
use crate::tables::phases;

/// A bug. Beside each the rule of the write protocol that it breaks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Plant {
    /// A row's position is not compared: events are applied again.
    PositionIgnored,
    /// A row is taken to be one event behind.
    PositionOneLow,
    /// A row is taken to be one event ahead.
    PositionOneHigh,
    /// A deleted row is read as one that never was.
    DeletedForgotten,
    /// A deleted row leaves no position.
    BuryIsDelete,
    /// A row that is deleted stays.
    BuryDropped,
    /// Rows are read as they were when this owner first read them.
    StaleReads,
    /// Rows in memory outlive the batch that failed.
    CacheOutlivesFailure,
    /// Names of buckets in memory outlive the batch that failed.
    BucketsOutliveFailure,
    /// Of a range only the first row is seen.
    RangeCut,
    /// The base row is sent before its copies.
    BaseBeforeDerived,
    /// The old copy goes before the new one is there.
    LeftBeforeDerived,
    /// Progress is sent before the rows.
    ProgressFirst,
    /// Progress passes an event that was not folded.
    ProgressOneAhead,
    /// Progress is sent with the rows, not after them.
    PhasesAtOnce,
    /// Progress is sent before what it passed is queued.
    ProgressBeforeParked,
    /// A batch counts as written when it is sent.
    NotWaitedFor,
    /// A write that fails counts as written.
    FailureIgnored,
    /// Copies under keys that were left stay.
    LeftDropped,
    /// Copies under keys that were left are deleted only where they are seen.
    LeftOnlyWhereStored,
    /// What left a copy is stamped as the event after it.
    LeftOneLate,
    /// What left a copy is stamped as the first event of all.
    LeftUnstamped,
    /// A copy is written only where none stands.
    DerivedOnlyWhereNew,
    /// A copy that is written keeps the cells that are null now.
    CopyAssigned,
    /// A base row that is written keeps the cells that are null now.
    BaseAssigned,
    /// Two columns change places.
    ColumnsSwapped,
    /// The last row of a batch is left out.
    LastRowDropped,
    /// Stamps follow the times of records.
    StampsFromTimes,
    /// All stamps are the same.
    StampsTie,
    /// Each owner chooses its own base of the stamps.
    BaseOfEachOwner,
    /// The base is stored with the first rows, not before them.
    BaseStoredLate,
    /// An event that must wait is lost.
    QueueEntryLost,
    /// The decision to park is lost.
    ParkLost,
    /// An owner does not know what was parked before it.
    ParkedUnknown,
    /// The name of a bucket is not written.
    BucketDropped,
    /// The name of a bucket comes after its rows.
    BucketLast,
    /// Of an atomic store: progress and the first half of the rows are one batch, the rest another.
    BatchTorn,
    /// The log leaves a record out.
    RecordLost,
    /// The log gives two records in the wrong order.
    RecordsSwapped,
    /// A reader that is to go back goes on.
    SeekIgnored,
    /// A reader begins one record too late where it does not begin at the start.
    ReadOneLate,
    /// A partition is not read.
    PartitionSkipped,
}

impl Plant {
    pub const ALL: [Plant; 42] = [
        Plant::PositionIgnored,
        Plant::PositionOneLow,
        Plant::PositionOneHigh,
        Plant::DeletedForgotten,
        Plant::BuryIsDelete,
        Plant::BuryDropped,
        Plant::StaleReads,
        Plant::CacheOutlivesFailure,
        Plant::BucketsOutliveFailure,
        Plant::RangeCut,
        Plant::BaseBeforeDerived,
        Plant::LeftBeforeDerived,
        Plant::ProgressFirst,
        Plant::ProgressOneAhead,
        Plant::PhasesAtOnce,
        Plant::ProgressBeforeParked,
        Plant::NotWaitedFor,
        Plant::FailureIgnored,
        Plant::LeftDropped,
        Plant::LeftOnlyWhereStored,
        Plant::LeftOneLate,
        Plant::LeftUnstamped,
        Plant::DerivedOnlyWhereNew,
        Plant::CopyAssigned,
        Plant::BaseAssigned,
        Plant::ColumnsSwapped,
        Plant::LastRowDropped,
        Plant::StampsFromTimes,
        Plant::StampsTie,
        Plant::BaseOfEachOwner,
        Plant::BaseStoredLate,
        Plant::QueueEntryLost,
        Plant::ParkLost,
        Plant::ParkedUnknown,
        Plant::BucketDropped,
        Plant::BucketLast,
        Plant::BatchTorn,
        Plant::RecordLost,
        Plant::RecordsSwapped,
        Plant::SeekIgnored,
        Plant::ReadOneLate,
        Plant::PartitionSkipped,
    ];
}

/// What one owner's store does wrong.
pub struct Planted {
    plant: Option<Plant>,
    owner: OwnerId,
    desk: Shared,
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
}

impl Planted {
    pub fn new(plant: Option<Plant>, desk: &Shared, generation: &Generation, owner: OwnerId) -> Planted {
        Planted {
            plant,
            owner,
            desk: desk.clone(),
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

    /// Spoils rows that were read.
    pub fn read(&self, keys: &[RowKey], rows: Vec<Option<StoredRow>>) -> Vec<Option<StoredRow>> {
        let mut memory = self.memory();
        let spoil = |(key, mut row): (&RowKey, Option<StoredRow>)| {
            if let Some(row) = &mut row {
                match self.plant {
                    Some(Plant::PositionIgnored) => row.offset = 0,
                    Some(Plant::PositionOneLow) => row.offset = row.offset.saturating_sub(1),
                    Some(Plant::PositionOneHigh) => row.offset += 1,
                    _ => {}
                }
            }
            match self.plant {
                Some(Plant::DeletedForgotten) => row.filter(|row| row.live),
                Some(Plant::StaleReads) => memory.first.entry(key.clone()).or_insert(row).clone(),
                Some(Plant::CacheOutlivesFailure) => memory.failed.get(key).cloned().or(row),
                _ => row,
            }
        };
        keys.iter().zip(rows).map(spoil).collect()
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
        let [buckets, derived, left, base, parked, progress] = [0, 1, 2, 3, 4, 5];
        let order = match self.plant {
            Some(Plant::BaseBeforeDerived) => [buckets, base, derived, left, parked, progress],
            Some(Plant::LeftBeforeDerived) => [buckets, left, derived, base, parked, progress],
            Some(Plant::ProgressFirst) => [progress, buckets, derived, left, base, parked],
            Some(Plant::ProgressBeforeParked) => [buckets, derived, left, base, progress, parked],
            Some(Plant::BucketLast) => [derived, left, base, buckets, parked, progress],
            _ => [buckets, derived, left, base, parked, progress],
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
                    StoredRow { key, offset, live: true, cells: cells.to_vec() }
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
                let mut cells = cells.to_vec();
                cells.swap(4, 6);
                Some(Mutation::Replace { table, key, cells: Arc::new(cells), offset, base })
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
        if self.is(Plant::FailureIgnored) { Ok(()) } else { sent }
    }

    /// The batch under way has been written, or has failed.
    pub fn told(&self, ok: bool) {
        let mut memory = self.memory();
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
        if self.is(Plant::ParkedUnknown) { Parked::default() } else { parked.clone() }
    }
}

/// Only the cells that are not null.
fn assigned(mutation: Mutation) -> Mutation {
    match mutation {
        Mutation::Replace { table, key, cells, offset, base } => {
            let cells = (0..).map(ColumnId).zip(cells.iter().cloned());
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
