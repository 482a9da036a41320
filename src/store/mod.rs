//! Where rows live. The write loop and the graph meet here, and nowhere else.
//!
//! [`Store`] holds generations of tables; [`Tables`] is one generation. Backends: `memory`, the model that
//! simulations run on (cell stamps, tombstones, Cassandra's tie rules), `embedded`, on disk with fjall, and `cassandra`, in a
//! cluster. All pass one contract suite (`tests/contract`). Only `project` calls [`Tables::commit`].
//!
//! Shaped for Cassandra: writes carry stamps, may be late, repeated or lost, and may be acknowledged in any
//! order inside one phase of a [`Batch`].

#[cfg(feature = "cassandra")]
pub mod cassandra;
pub mod coordination;
pub mod embedded;
mod layout;
mod ledger;
pub mod memory;
mod parked;
mod relayed;

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::event::{Offset, Start, TopicPartition};
use crate::plan::{Plan, TableId};
use crate::schema::ColumnId;
use crate::value::Value;
use crate::value::encode::RowKey;
use coordination::{Coordination, Pause};

pub use crate::value::ParkedKey;
pub use crate::value::row::{Columns, RowCells};
pub use parked::{
    Begun, Ended, ParkChange, Parked, ParkedCounts, ParkedEntry, ParkedIndex, ParkedItem, ParkedPage,
    QueuedEvent, all_parked,
};
pub use relayed::{Come, Internal, Relayed};

/// Which promises a store makes about a [`Batch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// A batch is applied whole or not at all, and is visible at once.
    Atomic,
    /// Each mutation stands alone; the stamps decide which of two wins.
    Stamped,
}

/// Why a store could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Worth trying again.
    #[error("the store is not answering: {0}")]
    Unavailable(String),
    /// What lies on disk is not what was written.
    #[error("the store's data is damaged: {0}")]
    Corrupt(String),
    /// Another process has it, or it is of another version.
    #[error("{0}")]
    Refused(String),
    /// The read would go past a bound: a sentence for whoever asks.
    #[error("{0}")]
    Bounded(String),
    /// What was to be written holds only for the owner of a partition, and that is another by now.
    #[error(
        "lost ownership of {} partition {} in projection {projection:?}: another process has taken it (epoch {found}, ours \
         is {epoch}) and goes on; end one of the two",
        at.topic, at.partition
    )]
    LostOwnership { projection: Arc<str>, at: TopicPartition, epoch: u64, found: u64 },
    #[error("{what}: {source}")]
    Io { what: String, source: std::io::Error },
}

impl StoreError {
    /// Its kind, in a word, for counting.
    pub fn name(&self) -> &'static str {
        match self {
            StoreError::Unavailable(_) => "unavailable",
            StoreError::Corrupt(_) => "corrupt",
            StoreError::Refused(_) => "refused",
            StoreError::Bounded(_) => "bounded",
            StoreError::LostOwnership { .. } => "lost ownership",
            StoreError::Io { .. } => "io",
        }
    }
}

/// What is written once for all generations: which one answers and which definitions made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The generation that answers.
    pub active: u32,
    /// Each generation that exists.
    pub generations: Vec<Generation>,
}

/// A generation, as the manifest has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generation {
    pub number: u32,
    /// Hash of the definitions that made it.
    pub definitions: String,
    /// Where it began, in partitions that it does not read from the log's start.
    pub starts: Vec<Began>,
    /// The internal topics of projections that merge partitions, where a batch is not applied whole.
    pub internal: Vec<Internal>,
}

/// Where a projection of a generation began in a partition: fixed when the generation was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Began {
    pub projection: Arc<str>,
    pub at: TopicPartition,
    /// Id of the topic, so that one created anew is seen.
    pub topic_id: u128,
    /// What the definitions said.
    pub start: Start,
    /// What it came to: the first offset that is read.
    pub offset: Offset,
}

impl Manifest {
    /// The generation of that number.
    pub fn generation(&self, number: u32) -> Option<&Generation> {
        self.generations.iter().find(|generation| generation.number == number)
    }
}

/// A place that holds generations of tables.
pub trait Store: Send + Sync + 'static {
    /// What this store promises about batches.
    fn profile(&self) -> Profile;

    /// The manifest; `None` before the first generation.
    fn manifest(&self) -> BoxFuture<'_, Result<Option<Manifest>, StoreError>>;

    /// Replaces the manifest if it is still `expected`; answers whether it was.
    fn set_manifest<'a>(
        &'a self,
        expected: Option<&'a Manifest>,
        new: &'a Manifest,
    ) -> BoxFuture<'a, Result<bool, StoreError>>;

    /// Opens the tables of a generation, making what is missing.
    fn open<'a>(
        &'a self,
        generation: u32,
        plan: &'a Arc<Plan>,
    ) -> BoxFuture<'a, Result<Arc<dyn Tables>, StoreError>>;

    /// Makes sure that what was acknowledged survives a power loss, where the store does not see to it by itself.
    fn persist(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async { Ok(()) })
    }

    /// Removes a generation's tables, progress and parked keys.
    fn drop_generation(&self, generation: u32) -> BoxFuture<'_, Result<(), StoreError>>;
}

/// One generation of tables.
pub trait Tables: Send + Sync + 'static {
    /// What the store promises about batches.
    fn profile(&self) -> Profile;

    /// Whether it keeps rows as [`crate::value::row`] encodes them: to write rows that are encoded already spares memory.
    fn keeps_encoded(&self) -> bool {
        false
    }

    /// Reads rows by their whole key, also those whose time is over. One answer for each key, in order. Deleted rows
    /// of a base table come with `live == false`, so that their position is known; of a copy they are `None`.
    fn get<'a>(
        &'a self,
        table: TableId,
        keys: &'a [RowKey],
        columns: Columns<'a>,
    ) -> BoxFuture<'a, Result<Vec<Option<StoredRow>>, StoreError>>;

    /// Reads living rows of one partition in clustering order, or its reverse.
    ///
    /// # Errors
    /// Also [`StoreError::Bounded`] where more than [`OVER_MAX`] rows would be passed over because their time is over.
    fn scan<'a>(&'a self, scan: Scan<'a>) -> BoxFuture<'a, Result<Vec<StoredRow>, StoreError>>;

    /// Reads every living row of a table, in no promised order, in pages. For `test`, oracles and checks;
    /// no request of a client comes here. `after` is the last key of the page before.
    fn all<'a>(
        &'a self,
        table: TableId,
        after: Option<&'a RowKey>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<StoredRow>, StoreError>>;

    /// Frees what rows whose time is over at a time, milliseconds since 1970, take up: looks at most at so many rows, and
    /// goes on there at the next call. Nobody may ask for an earlier time afterwards. What a fold sees stays the same: an
    /// event that is late by its own time finds its row as it was. Does nothing where the store frees them by itself.
    fn sweep(&self, at_ms: i64, rows_max: usize) -> BoxFuture<'_, Result<Swept, StoreError>> {
        let _ = (at_ms, rows_max);
        Box::pin(async { Ok(Swept::default()) })
    }

    /// Takes partitions of a projection, whoever has them: raises the epoch of each by one, for good. On a store of many
    /// processes that is a comparing write of one small row for each; between two that take at once one is later. What is
    /// read of progress and parked keys is to be read afterwards (P3).
    ///
    /// # Errors
    /// [`StoreError::Refused`] where the last owner did not [`Tables::settle`] and was last heard of so long ago that the store
    /// may have forgotten deletions since (B12). The store fails; then any of the epochs may have been raised. Taking them again is always right.
    fn own<'a>(
        &'a self,
        projection: &'a Arc<str>,
        partitions: &'a [TopicPartition],
    ) -> BoxFuture<'a, Result<Vec<Owner>, StoreError>>;

    /// Whether all of these are the owners still. Whoever works partitions asks now and then: of the *stamped* profile no
    /// commit of rows says it, since nothing rests on it for rows and copies.
    ///
    /// # Errors
    /// [`StoreError::LostOwnership`] of the first that is not; the store fails.
    fn check_owners<'a>(&'a self, owners: &'a [Owner]) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Told by owners that end in order: nothing of theirs is under way, and progress has passed all that they wrote. Where a
    /// store forgets deletions after a while, nobody else may take a partition up after long (B12).
    ///
    /// # Errors
    /// [`StoreError::LostOwnership`]; the store fails.
    fn settle<'a>(&'a self, owners: &'a [Owner]) -> BoxFuture<'a, Result<(), StoreError>> {
        let _ = owners;
        Box::pin(async { Ok(()) })
    }

    /// Applies a batch, its phases in order: each is acknowledged before the next is sent.
    ///
    /// Decisions about parked keys hold only while the batch's owners are the owners still: of the *atomic* profile nothing
    /// of the batch is applied else, of the *stamped* one no decision, and no progress.
    ///
    /// # Errors
    /// [`StoreError::LostOwnership`].
    /// On an error of a *stamped* store any part of the phase under way, and all before it, may have been
    /// applied, or may be applied later. Committing the same batch again is always right.
    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<(), StoreError>>;

    /// How far each projection has come. Kept in memory: costs no read.
    fn progress(&self) -> Arc<Progress>;

    /// Reads progress and parked keys from the store anew, as a new owner does, and one whose decisions about parked keys were
    /// not acknowledged: when this has answered, each of those has been taken, or never will be.
    fn reload(&self) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Reads progress alone from the store anew, as who waits for a position does: a small part of [`Tables::reload`].
    fn reload_progress(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.reload()
    }

    /// Told after each change of [`Tables::progress`].
    fn progress_changes(&self) -> tokio::sync::watch::Receiver<u64>;

    /// Which keys are parked. Kept in memory: costs no read. Whoever holds it for long makes changes dearer.
    fn parked(&self) -> Parked;

    /// Reads parked keys in order, a page at a time.
    fn parked_page<'a>(&'a self, page: ParkedPage<'a>) -> BoxFuture<'a, Result<Vec<ParkedItem>, StoreError>>;

    /// Reads one parked key; `None` if it is not parked.
    fn parked_entry<'a>(
        &'a self,
        projection: &'a str,
        key: &'a ParkedKey,
    ) -> BoxFuture<'a, Result<Option<ParkedEntry>, StoreError>>;

    /// The queue of one parked key, oldest first, behind an event of it where one is given, at most `limit`.
    fn parked_queue<'a>(
        &'a self,
        projection: &'a str,
        key: &'a ParkedKey,
        after: Option<&'a QueuedEvent>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<QueuedEvent>, StoreError>>;

    /// The projections of this generation that are not to fold.
    fn pauses(&self) -> BoxFuture<'_, Result<Vec<Pause>, StoreError>>;

    /// Says that a projection is not to fold, until [`Tables::resume`]. Answers the pause that stands: an earlier one stays.
    fn pause<'a>(&'a self, pause: &'a Pause) -> BoxFuture<'a, Result<Pause, StoreError>>;

    /// Says that a projection is to fold; changes nothing where it is not paused.
    fn resume<'a>(&'a self, projection: &'a str) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Where the processes that share these tables meet; `None` of a store that one process has for itself.
    fn coordination(&self) -> Option<&dyn Coordination> {
        None
    }
}

/// Most rows that one scan passes over because their time is over.
pub const OVER_MAX: usize = 10_000;

/// What a sweep has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Rows that were looked at.
    pub looked_at: usize,
    /// Rows of tables, entries of indexes and names of buckets that are gone from their tables.
    pub freed: usize,
}

/// The refusal of a scan that would pass over too many rows.
fn too_many_over(table: &str) -> StoreError {
    StoreError::Bounded(format!(
        "More than {OVER_MAX} rows of this partition of {table:?} whose time is over lie before those asked for. They are \
         being removed: ask again in a while."
    ))
}

/// A row as stored.
#[derive(Clone, Debug)]
pub struct StoredRow {
    pub key: RowKey,
    /// Offset of the last event applied to the row.
    pub offset: Offset,
    /// Whether the row is there, or only remembers its position.
    pub live: bool,
    /// One for each column of the entity; `Null` where the table lacks it or it was not asked for.
    pub cells: Vec<Value>,
}

/// A read of one partition.
#[derive(Clone, Debug)]
pub struct Scan<'a> {
    pub table: TableId,
    /// The encoded partition, see [`crate::value::encode`].
    pub partition: &'a [u8],
    /// Encoded bounds on the clustering, in the table's own order whatever the direction.
    pub from: Bound<'a>,
    pub to: Bound<'a>,
    /// Against the table's clustering order.
    pub reverse: bool,
    pub limit: usize,
    pub columns: Columns<'a>,
    /// Rows that are gone at this time, milliseconds since 1970, are passed over; `None`: all are there.
    pub at_ms: Option<i64>,
}

/// A bound on encoded clustering bytes. A prefix of the clustering columns bounds all rows that begin with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound<'a> {
    Unbounded,
    /// From (or to) these bytes, rows that begin with them included.
    Included(&'a [u8]),
    /// After (or before) these bytes, rows that begin with them left out.
    Excluded(&'a [u8]),
}

/// A unit of writing. The phases are sent in the order of the fields.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Names of time buckets: before a bucket's first row.
    pub buckets: Vec<Mutation>,
    /// Rows of copies: before the old copies go and before the base row.
    pub derived: Vec<Mutation>,
    /// Copies under keys that the row has left.
    pub left: Vec<Mutation>,
    /// Base rows.
    pub base: Vec<Mutation>,
    /// Decisions about parked keys. What begins to wait is acknowledged before what waits no more is sent: an event that goes
    /// from one queue to another is in one of them at any time.
    pub parked: Vec<ParkChange>,
    /// Progress: only over events that the phases above made durable.
    pub progress: Vec<ProgressMark>,
    /// Where its events begin, if all are of the one partition in `progress`. To a store of the atomic profile whose
    /// progress stands there, none of the rows is news: they were made from what it holds, and need not be compared.
    pub begins_at: Option<Offset>,
    /// The partitions that whoever made the batch has taken. Decisions about parked keys need them.
    pub owners: Arc<[Owner]>,
}

/// The owner of a partition of a projection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    pub projection: Arc<str>,
    pub at: TopicPartition,
    /// How often the partition has been taken so far: the latest is the owner.
    pub epoch: u64,
}

impl Batch {
    /// The owner among those of the batch who decides about a partition.
    fn owner_of(&self, projection: &Arc<str>, at: &TopicPartition) -> Owner {
        let of_it = |owner: &&Owner| owner.projection == *projection && owner.at == *at;
        // Who has taken nothing is older than every owner.
        let nobody = || Owner { projection: Arc::clone(projection), at: at.clone(), epoch: 0 };
        self.owners.iter().find(of_it).cloned().unwrap_or_else(nobody)
    }
}

/// One write of one row.
#[derive(Clone, Debug)]
pub enum Mutation {
    /// Row delete at `offset - 1` and all non-null cells at `offset`: what stood there is gone (B2, B7).
    Replace { table: TableId, key: RowKey, cells: RowCells, offset: Offset, base: i64 },
    /// Row delete at `offset`.
    Delete { table: TableId, key: RowKey, offset: Offset, base: i64 },
    /// A base row goes but keeps its position: row delete at `offset - 1`, position at `offset`, not live (B3).
    Bury { table: TableId, key: RowKey, offset: Offset, base: i64 },
    /// Kind A: only these cells, null as a tombstone, and the live flag (A1).
    Assign { table: TableId, key: RowKey, cells: Vec<(ColumnId, Value)>, offset: Offset, base: i64 },
}

/// How far a projection has come in a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgressMark {
    pub projection: Arc<str>,
    pub at: TopicPartition,
    /// Id of the topic, so that one created anew is seen.
    pub topic_id: u128,
    /// The next offset to read: all below it is applied, skipped or durably queued.
    pub next: Offset,
    /// End of the partition as the owner last saw it.
    pub end: Offset,
    /// Time of the last event passed, milliseconds since 1970; 0 before the first.
    pub time_ms: i64,
    /// The partition's base B: the write timestamp of offset n is `B + n` microseconds. That of the first mark which is
    /// stored stays: one that comes with a later mark is not taken.
    pub base: i64,
    /// Of a partition of an internal topic: how far sources have come there, with this very offset.
    pub relayed: Option<Arc<Relayed>>,
}

/// Progress of all projections. A mark never goes back.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    pub marks: Vec<ProgressMark>,
    /// Of what goes through internal topics, how far its sources are folded: it follows from `marks`, and is stored nowhere.
    pub sources: Vec<ProgressMark>,
}

impl Progress {
    /// What marks say, and what follows from them.
    pub fn new(marks: Vec<ProgressMark>) -> Progress {
        Progress { sources: relayed::sources(&marks), marks }
    }

    /// The mark of a projection in a partition.
    pub fn of(&self, projection: &str, at: &TopicPartition) -> Option<&ProgressMark> {
        self.all().find(|mark| &*mark.projection == projection && mark.at == *at)
    }

    /// All marks: those that are stored, and those of sources that go through internal topics.
    pub fn all(&self) -> impl Iterator<Item = &ProgressMark> {
        self.marks.iter().chain(&self.sources)
    }
}

impl Mutation {
    /// The table it writes to.
    pub fn table(&self) -> TableId {
        match self {
            Mutation::Replace { table, .. }
            | Mutation::Delete { table, .. }
            | Mutation::Bury { table, .. }
            | Mutation::Assign { table, .. } => *table,
        }
    }

    /// The row it writes.
    pub fn key(&self) -> &RowKey {
        match self {
            Mutation::Replace { key, .. }
            | Mutation::Delete { key, .. }
            | Mutation::Bury { key, .. }
            | Mutation::Assign { key, .. } => key,
        }
    }

    /// Offset of the event that it is the effect of.
    pub fn offset(&self) -> Offset {
        match self {
            Mutation::Replace { offset, .. }
            | Mutation::Delete { offset, .. }
            | Mutation::Bury { offset, .. }
            | Mutation::Assign { offset, .. } => *offset,
        }
    }

    /// The base of its partition: its stamp is base plus offset.
    pub fn base(&self) -> i64 {
        match self {
            Mutation::Replace { base, .. }
            | Mutation::Delete { base, .. }
            | Mutation::Bury { base, .. }
            | Mutation::Assign { base, .. } => *base,
        }
    }
}

/// Makes null what was not asked for.
fn keep_wanted(columns: Columns<'_>, cells: &mut [Value]) {
    if let Columns::Only(only) = columns {
        for (column, cell) in (0..).map(ColumnId).zip(cells) {
            if only.binary_search(&column).is_err() {
                *cell = Value::Null;
            }
        }
    }
}
