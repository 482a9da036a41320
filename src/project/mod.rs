//! The write loop, source to store.
//!
//! One [`Projector`] works one projection: it fetches records of a partition, routes them to rows, folds each
//! row's events in order, and commits rows, copies, parked keys and progress as one [`Batch`]. Everything it
//! writes follows from the log's positions alone, so whatever is done twice, late or by two processes ends the
//! same. `batch` derives the writes of a row, `merge` makes one stream of several partitions, `park` holds keys that
//! wait, `range` deletes rows by the beginning of their key, `stamp` orders writes.
//!
//! A record that cannot be applied parks its key and the loop goes on. Trouble with the store or the log is tried
//! again, with growing pauses; what cannot be right any more (a log created anew, data damaged) halts the
//! projection by name.

pub mod batch;
mod merge;
pub mod park;
mod range;
pub mod stamp;

use std::sync::Arc;
use std::time::Duration;

use quick_cache::unsync::Cache;
use rustc_hash::{FxBuildHasher, FxHashMap};
use tokio::sync::watch;

use crate::event::{Event, Json, Offset, Position, Record, Reject, Stage, Taken, TopicPartition};
use crate::fold::{self, ColumnSet, State};
use crate::handler::{Projection, UpdateKind};
use crate::plan::{EntityPlan, Plan, TablePlan};
use crate::project::batch::{Assigned, Copies, Trail};
use crate::project::merge::Merge;
use crate::project::park::ParkedKeys;
use crate::route::{KeyCells, Routed, RowRange, route};
use crate::schema::ColumnId;
use crate::source::{Fetched, Reader, Source, SourceError, TopicInfo};
use crate::store::{
    Batch, Columns, ParkChange, ParkedEntry, ParkedKey, Profile, ProgressMark, QueuedEvent, StoreError,
    StoredRow, Tables,
};
use crate::value::encode::RowKey;
use crate::value::row::{decode_row, push_row};

/// Bounds of a write loop.
#[derive(Clone, Copy, Debug)]
pub struct ProjectSettings {
    /// Events of one partition folded into one batch, in bytes. A row is written once for all of its events among them.
    pub batch_bytes_max: usize,
    /// Rows of a batch, about: when so many are touched it is committed before more records are folded.
    pub batch_rows_max: usize,
    /// Rows kept in memory between batches, so that they need not be read again.
    pub cached_rows_max: usize,
    /// Names of time buckets remembered as stored.
    pub cached_buckets_max: usize,
    /// Parked keys of one projection, above which it halts: so many are no accident of single events.
    pub parked_keys_max: usize,
}

impl Default for ProjectSettings {
    fn default() -> ProjectSettings {
        ProjectSettings {
            batch_bytes_max: 16 << 20,
            batch_rows_max: 12_000,
            cached_rows_max: 2_000,
            cached_buckets_max: 10_000,
            parked_keys_max: 1_000,
        }
    }
}

/// Why a projection cannot go on. An operator must act.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Halt {
    #[error(
        "topic {topic:?} does not exist; create it, or correct `from.topic` of projection {projection:?}"
    )]
    NoTopic { topic: String, projection: String },
    #[error(
        "topic {topic:?} was created anew: its id is {found:032x}, progress was made in {expected:032x}; \
         rebuild the projection, or restore the topic"
    )]
    TopicAnew { topic: String, expected: u128, found: u128 },
    #[error(
        "progress names partition {partition} of topic {topic:?}, which has {count}; was it created anew?"
    )]
    PartitionGone { topic: String, partition: u32, count: usize },
    #[error(
        "{topic}:{partition} begins at offset {start}, but {position} is the next to apply: \
         the log has dropped events that were never folded"
    )]
    LogExpired { topic: String, partition: u32, start: Offset, position: Offset },
    #[error(
        "{topic}:{partition} ends at offset {end}, but {position} is the next to apply: the log was cut off"
    )]
    LogTruncated { topic: String, partition: u32, end: Offset, position: Offset },
    #[error("{position}: event type {reason}, and `unknown: stop` says to halt")]
    UnknownType { position: String, reason: String },
    #[error(
        "{count} keys are parked, more than `parking.max_keys` allows ({max}); the last: {reason}. \
         Correct the projection or the events, or raise the setting"
    )]
    TooManyParked { count: usize, max: usize, reason: String },
    #[error(
        "projection {projection:?} merges partitions in memory (kind C), which is safe only where the store applies a \
         batch whole, as the embedded store does; feed its rows from one partition"
    )]
    NotAtomic { projection: String },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Source(#[from] SourceError),
}

/// What a projector is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProjectorState {
    Running,
    /// The store or the log does not answer; it is being tried again.
    Waiting(String),
    /// It has stopped and says why.
    Halted(String),
}

/// Works one projection over all partitions of its topic.
pub struct Projector {
    projection: Arc<Projection>,
    plan: Arc<Plan>,
    entity: EntityPlan,
    copies: Copies,
    tables: Arc<dyn Tables>,
    input: Input,
    settings: ProjectSettings,
    /// One for each partition of each topic: where the next fetch continues, and its stamps' base.
    places: Vec<Place>,
    parked: ParkedKeys,
    /// Rows as they stand in the store, as bytes: many small values would take several times the memory.
    rows: Cache<RowKey, Box<[u8]>>,
    /// All columns of a row.
    columns: Vec<ColumnId>,
    /// Names of buckets that are surely stored.
    buckets: Buckets,
}

/// How records come in.
enum Input {
    /// Kinds A and B: partitions take turns.
    Turns(Box<dyn Reader>),
    /// Kind C: as one stream.
    Merged(Merge),
}

#[derive(Clone)]
struct Place {
    at: TopicPartition,
    /// Id of the topic, so that one created anew is seen.
    topic_id: u128,
    next: Offset,
    base: i64,
    time_ms: i64,
}

/// A row as the store holds it.
#[derive(Clone)]
struct Row {
    state: State,
    /// `None`: nothing was ever stored under the key.
    offset: Option<Offset>,
}

impl Row {
    fn from_store(stored: Option<StoredRow>) -> Row {
        match stored {
            Some(row) => Row { offset: Some(row.offset), state: row.live.then(|| Arc::new(row.cells)) },
            None => Row { state: None, offset: None },
        }
    }

    fn pack(&self, columns: &[ColumnId], out: &mut Vec<u8>) {
        // A row that was never stored is one that remembers no event.
        let (offset, known) = (self.offset.unwrap_or_default(), self.offset.is_some());
        out.push(u8::from(known));
        let cells = self.state.as_ref().map_or(&[][..], |cells| cells.as_slice());
        push_row(out, offset, self.state.is_some(), cells, columns);
    }

    fn unpack(bytes: &[u8], width: usize) -> Option<Row> {
        let (known, row) = bytes.split_first()?;
        let row = decode_row(row, Columns::All, width).ok()?;
        let offset = (*known == 1).then_some(row.offset);
        Some(Row { state: row.live.then(|| Arc::new(row.cells)), offset })
    }
}

/// Most records that are decoded before they are folded: few, so that what was decoded is still at hand.
const CHUNK_RECORDS: usize = 128;

/// Records fetched at once, in bytes: what is held of the log while it is folded.
const FETCH_BYTES: usize = 256 << 10;

/// The rows that a batch touches, in the order in which it met them.
#[derive(Default)]
struct Touched {
    index: FxHashMap<RowKey, usize>,
    rows: Vec<Work>,
}

/// One row's share of a batch.
struct Work {
    key: RowKey,
    key_cells: KeyCells,
    /// The row as it stands after the events so far; `None` until it is loaded. Kind A loads none.
    row: Option<Row>,
    /// Kind B: where its copies have stood; `None` until an event changes it.
    trail: Option<Trail>,
    /// Kind A: what its events have assigned.
    set: Assigned,
    /// Whether an event of it waits, and so all later ones do.
    waits: bool,
}

impl Touched {
    /// The place of a row.
    fn place(&mut self, key: RowKey, key_cells: KeyCells) -> usize {
        *self.index.entry(key).or_insert_with_key(|key| {
            let (key, set) = (key.clone(), Assigned::default());
            self.rows.push(Work { key, key_cells, row: None, trail: None, set, waits: false });
            self.rows.len() - 1
        })
    }
}

/// What was folded of one partition and is not committed yet.
struct Folded {
    /// Number of the partition.
    place: usize,
    touched: Touched,
    /// The next offset to read after it.
    next: Offset,
    /// End of the partition when it was last read.
    end: Offset,
    /// Time of the last event.
    time_ms: i64,
}

impl Folded {
    /// Nothing yet.
    fn after(at: &TopicPartition, places: &[Place]) -> Folded {
        let place = at.partition as usize;
        let Place { next, time_ms, .. } = places[place];
        Folded { place, touched: Touched::default(), next, end: next, time_ms }
    }
}

/// A record at which folding must pause, because what stood before it must be written first.
enum Barrier {
    /// It says to stop: its offset, and why.
    Stop(Offset, String),
    /// It deletes rows that only the store knows.
    Range(Offset, Vec<RowRange>, Arc<Event>),
}

impl Barrier {
    fn offset(&self) -> Offset {
        match self {
            Barrier::Stop(offset, _) | Barrier::Range(offset, ..) => *offset,
        }
    }
}

/// What a record does to its row.
enum Touch {
    Event(Event),
    /// What the row takes of its record, where that is several events, or one of many rows: all of it is applied, or
    /// nothing. Never empty.
    Events(Vec<Taken>),
    /// A record without a value: the row goes.
    Delete {
        position: Position,
        time_ms: i64,
    },
    /// Its row was found, but it cannot be applied.
    Rejected {
        waiting: QueuedEvent,
        type_name: Option<String>,
        reject: Reject,
    },
}

impl Touch {
    fn offset(&self) -> Offset {
        match self {
            Touch::Event(event) => event.position.offset,
            Touch::Events(events) => events[0].event.position.offset,
            Touch::Delete { position, .. } => position.offset,
            Touch::Rejected { waiting, .. } => waiting.offset,
        }
    }

    fn queued(&self) -> QueuedEvent {
        let (position, time_ms) = match self {
            Touch::Event(event) => (&event.position, event.time_ms),
            Touch::Events(events) => (&events[0].event.position, events[0].event.time_ms),
            Touch::Delete { position, time_ms } => (position, *time_ms),
            Touch::Rejected { waiting, .. } => return waiting.clone(),
        };
        QueuedEvent { at: position.at.clone(), offset: position.offset, time_ms }
    }

    fn kind(&self) -> Option<&str> {
        match self {
            Touch::Event(event) => Some(&event.kind),
            Touch::Events(events) => Some(&events[0].event.kind),
            Touch::Delete { .. } => None,
            Touch::Rejected { type_name, .. } => type_name.as_deref(),
        }
    }
}

impl Projector {
    /// Takes up a projection where its progress stands.
    ///
    /// # Errors
    /// A topic is missing, was created anew, or no longer holds the next event; the store does not apply batches whole,
    /// which kind C needs; the store or the log fails.
    pub async fn open(
        projection: Arc<Projection>,
        plan: Arc<Plan>,
        tables: Arc<dyn Tables>,
        source: &dyn Source,
        settings: ProjectSettings,
        now_us: i64,
    ) -> Result<Projector, Halt> {
        let is_merged = projection.kind == UpdateKind::MergedFold;
        if is_merged && tables.profile() != Profile::Atomic {
            return Err(Halt::NotAtomic { projection: projection.name.to_string() });
        }
        let mut topics = Vec::new();
        for name in projection.topics() {
            topics.push(source.topic(name).await?.ok_or_else(|| Halt::NoTopic {
                topic: name.to_string(),
                projection: projection.name.to_string(),
            })?);
        }
        tables.reload().await?;
        let mut places = Vec::new();
        for topic in &topics {
            places.extend(self::places(&projection, topic, tables.as_ref(), now_us)?);
        }
        let input = if is_merged {
            merge::share_base(&mut places, tables.as_ref(), &projection.name);
            Input::Merged(Merge::open(source, &places).await?)
        } else {
            let from: Vec<_> = places.iter().map(|place| (place.at.clone(), place.next)).collect();
            Input::Turns(source.read(&from).await?)
        };
        let parked = ParkedKeys::from_store(&projection.name, &tables.parked());
        let entity = plan.entity(projection.entity).clone();
        Ok(Projector {
            copies: Copies::of(&plan, &entity),
            entity,
            rows: Cache::new(settings.cached_rows_max),
            columns: (0..).map(ColumnId).take(projection.shape.columns.len()).collect(),
            buckets: Cache::with(
                settings.cached_buckets_max,
                settings.cached_buckets_max as u64,
                quick_cache::UnitWeighter,
                FxBuildHasher,
                quick_cache::unsync::DefaultLifecycle::default(),
            ),
            projection,
            plan,
            tables,
            input,
            settings,
            places,
            parked,
        })
    }

    /// The projection worked here.
    pub fn projection(&self) -> &Arc<Projection> {
        &self.projection
    }

    /// How many keys are parked.
    pub fn parked_keys(&self) -> usize {
        self.parked.len()
    }

    /// Whether every partition has been applied up to the given ends (missing partitions count as reached).
    pub fn has_reached(&self, ends: &[Offset]) -> bool {
        self.places.iter().zip(ends).all(|(place, end)| place.next >= *end)
    }

    /// Reads, folds and commits until every partition has reached the given ends.
    ///
    /// # Errors
    /// As [`Projector::step`].
    pub async fn catch_up(&mut self, ends: &[Offset]) -> Result<(), Halt> {
        while !self.has_reached(ends) {
            self.step().await?;
        }
        Ok(())
    }

    /// Works until told to stop; says what it is doing in `state`. Ends by itself only when it halts.
    pub async fn run(mut self, state: watch::Sender<ProjectorState>, mut stop: watch::Receiver<bool>) {
        let mut pause = Pause::default();
        loop {
            // Only the wait for records is cut short: what was fetched is folded and committed to its end, so that
            // nothing of this loop is still under way when it has stopped.
            let fetched = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                fetched = self.input.next(self.settings.batch_bytes_max.min(FETCH_BYTES)) => fetched,
            };
            let worked = match fetched {
                Ok(fetched) => self.work_off(fetched).await,
                Err(error) => Err(error.into()),
            };
            match worked {
                Ok(()) => {
                    pause.reset();
                    say(&state, ProjectorState::Running);
                }
                Err(Halt::Store(StoreError::Unavailable(reason)))
                | Err(Halt::Source(SourceError::Unavailable(reason))) => {
                    tracing::warn!(projection = %self.projection.name, %reason, "Trying again.");
                    say(&state, ProjectorState::Waiting(reason));
                    if let Err(halt) = self.rewind() {
                        return self.halt(&state, &halt);
                    }
                    tokio::select! {
                        _ = stop.wait_for(|stop| *stop) => return,
                        () = tokio::time::sleep(pause.next()) => {}
                    }
                }
                Err(halt) => return self.halt(&state, &halt),
            }
        }
    }

    fn halt(&self, state: &watch::Sender<ProjectorState>, halt: &Halt) {
        tracing::error!(projection = %self.projection.name, reason = %halt, "Projection halted.");
        say(state, ProjectorState::Halted(halt.to_string()));
    }

    /// Forgets what is in memory and reads on from the last commit.
    fn rewind(&mut self) -> Result<(), Halt> {
        self.rows.clear();
        self.buckets.clear();
        self.parked = ParkedKeys::from_store(&self.projection.name, &self.tables.parked());
        match &mut self.input {
            Input::Merged(merge) => merge.rewind(&self.places)?,
            Input::Turns(reader) => {
                for place in &self.places {
                    reader.seek(&place.at, place.next)?;
                }
            }
        }
        Ok(())
    }

    /// Waits for records of one partition, folds them, and commits what they made.
    ///
    /// Dropping the future between fetch and commit leaves the reader ahead: only a projector that is dropped with
    /// it may be interrupted there.
    ///
    /// # Errors
    /// Trouble with the store or the log, or `unknown: stop` met an unknown type. Nothing is lost: progress has
    /// not passed what was not committed.
    pub async fn step(&mut self) -> Result<(), Halt> {
        let fetched = self.input.next(self.settings.batch_bytes_max.min(FETCH_BYTES)).await?;
        self.work_off(fetched).await
    }

    /// Folds what was fetched, and what more of its partition is at hand, and commits it in as few batches as its
    /// bounds allow: a row that many events touch is written once for all of them.
    async fn work_off(&mut self, fetched: Option<Fetched>) -> Result<(), Halt> {
        let Some(fetched) = fetched else { return self.work_off_merged().await };
        let bytes_max = self.settings.batch_bytes_max;
        let mut folded = Folded::after(&fetched.at, &self.places);
        let (mut fetched, mut bytes) = (Some(fetched), 0);
        while let Some(some) = fetched {
            bytes += some.records.iter().map(Record::len_bytes).sum::<usize>();
            self.fold_some(&some, &mut folded).await?;
            let left = bytes_max.saturating_sub(bytes).min(FETCH_BYTES);
            fetched = if left > 0 { self.input.more(left)? } else { None };
        }
        self.commit(&mut folded).await
    }

    /// Folds what was fetched. Commits what has gathered when its rows fill a batch, and before it halts.
    async fn fold_some(&mut self, fetched: &Fetched, folded: &mut Folded) -> Result<(), Halt> {
        folded.end = fetched.end;
        let rows_max = self.settings.batch_rows_max;
        let mut rest = fetched.records.as_slice();
        while !rest.is_empty() {
            let (records, after) = rest.split_at(rest.len().min(rows_max.clamp(1, CHUNK_RECORDS)));
            let (touches, pause) = self.sort(&fetched.at, records, &mut folded.touched);
            if self.projection.kind == UpdateKind::OwnedFold {
                self.load(&mut folded.touched.rows).await?;
            }
            for (row, touch) in touches {
                let order = touch.offset();
                self.take(&fetched.at, order, &mut folded.touched.rows[row], &touch);
            }
            let before_pause = |record: &&Record| pause.as_ref().is_none_or(|at| record.offset < at.offset());
            if let Some(last) = records.iter().rfind(before_pause) {
                folded.next = last.offset + 1;
                folded.time_ms = last.timestamp_ms;
            }
            rest = after;
            if let Some(pause) = pause {
                self.commit(folded).await?;
                let offset = self.pass(&fetched.at, pause).await?;
                let passed = fetched.records.partition_point(|record| record.offset <= offset);
                rest = &fetched.records[passed..];
                folded.next = offset + 1;
            }
            if folded.touched.rows.len() >= rows_max {
                self.commit(folded).await?;
            }
        }
        folded.next = fetched.next;
        Ok(())
    }

    /// Goes past a record at which folding paused, now that all before it is written. Answers its offset.
    async fn pass(&mut self, at: &TopicPartition, barrier: Barrier) -> Result<Offset, Halt> {
        match barrier {
            Barrier::Stop(offset, reason) => {
                let position = Position { at: at.clone(), offset }.to_string();
                Err(Halt::UnknownType { position, reason })
            }
            Barrier::Range(offset, ranges, event) => {
                let base = self.places[at.partition as usize].base;
                self.delete_ranges((offset, base), &ranges, &event).await?;
                Ok(offset)
            }
        }
    }

    /// Commits what was folded, and the partition's progress with it.
    async fn commit(&mut self, folded: &mut Folded) -> Result<(), Halt> {
        let place = folded.place;
        if folded.next == self.places[place].next {
            return Ok(());
        }
        let rows = std::mem::take(&mut folded.touched).rows;
        let mark = self.mark(place, (folded.next, folded.end), folded.time_ms);
        let begins_at = Some(self.places[place].next);
        self.write(rows, self.places[place].base, vec![mark], begins_at).await?;
        self.places[place].next = folded.next;
        self.places[place].time_ms = folded.time_ms;
        Ok(())
    }

    /// Writes rows, what was parked, and progress as one batch.
    async fn write(
        &mut self,
        rows: Vec<Work>,
        base: i64,
        progress: Vec<ProgressMark>,
        begins_at: Option<Offset>,
    ) -> Result<(), Halt> {
        let mut batch = Batch { progress, begins_at, ..Batch::default() };
        let remembered = self.finish(rows, base, &mut batch);
        batch.parked = self.parked.take_changes();
        self.check_parked(&batch)?;
        self.tables.commit(batch).await?;
        for (key, row) in remembered {
            self.rows.insert(key, row);
        }
        Ok(())
    }

    /// Refuses a batch that parks one key too many, before anything of it is written.
    fn check_parked(&self, batch: &Batch) -> Result<(), Halt> {
        let (count, max) = (self.parked.len(), self.settings.parked_keys_max);
        let last = batch.parked.iter().rev().find_map(|change| match change {
            ParkChange::Park { entry, .. } => Some(entry.reason.to_string()),
            ParkChange::Enqueue { .. } => None,
        });
        match last {
            Some(reason) if count > max => Err(Halt::TooManyParked { count, max, reason }),
            _ => Ok(()),
        }
    }

    fn mark(&self, place: usize, (next, end): (Offset, Offset), time_ms: i64) -> ProgressMark {
        let place = &self.places[place];
        ProgressMark {
            projection: Arc::clone(&self.projection.name),
            at: place.at.clone(),
            topic_id: place.topic_id,
            next,
            end,
            time_ms,
            base: place.base,
        }
    }

    /// Routes records to rows, in order. Parks what has no row, queues what must wait. Ends early at an event at which
    /// folding must pause.
    fn sort(
        &mut self,
        at: &TopicPartition,
        records: &[Record],
        touched: &mut Touched,
    ) -> (Vec<(usize, Touch)>, Option<Barrier>) {
        let mut touches = Vec::with_capacity(records.len());
        let base_table = Arc::clone(self.plan.table(self.entity.base));
        for record in records {
            let queued =
                || QueuedEvent { at: at.clone(), offset: record.offset, time_ms: record.timestamp_ms };
            if let Some(key) = self.waits_by_record_key(at, record.offset, record.key.as_deref()) {
                self.parked.enqueue(key, queued());
                continue;
            }
            match route(&self.projection, &base_table, at, record) {
                Routed::Ignore => {}
                Routed::Stop(reason) => return (touches, Some(Barrier::Stop(record.offset, reason))),
                Routed::Range { ranges, event } => {
                    return (touches, Some(Barrier::Range(record.offset, ranges, event)));
                }
                // It parks its row only after the row's events before it have been folded.
                Routed::Rejected { key: ParkedKey::Row(key), key_cells, type_name, reject, .. } => {
                    let touch = Touch::Rejected { waiting: queued(), type_name, reject };
                    touches.push((touched.place(key, key_cells), touch));
                }
                Routed::Rejected { key, shown, type_name, reject, .. } => {
                    let entry = self.entry(queued(), &shown, type_name.as_deref(), &reject);
                    self.parked.park(key, entry);
                }
                Routed::Event { key, key_cells, event } => {
                    touches.push((touched.place(key, key_cells), Touch::Event(event)));
                }
                Routed::Events(rows) => touches.extend(
                    rows.into_iter()
                        .map(|row| (touched.place(row.key, row.key_cells), Touch::Events(row.events))),
                ),
                Routed::Delete { key, key_cells, position, time_ms } => {
                    touches.push((touched.place(key, key_cells), Touch::Delete { position, time_ms }));
                }
            }
        }
        (touches, None)
    }

    /// The parked record key that this record must wait behind, if there is one.
    fn waits_by_record_key(
        &self,
        at: &TopicPartition,
        offset: Offset,
        key: Option<&[u8]>,
    ) -> Option<ParkedKey> {
        if self.parked.is_empty() {
            return None;
        }
        let key = ParkedKey::Record(key?.into());
        self.parked.holds(&key, at, offset).then_some(key)
    }

    fn entry(
        &self,
        since: QueuedEvent,
        shown: &str,
        type_name: Option<&str>,
        reject: &Reject,
    ) -> ParkedEntry {
        tracing::warn!(
            projection = %self.projection.name, key = %shown, offset = since.offset, reason = %reject, "Key parked."
        );
        ParkedEntry {
            since,
            entity: self.projection.entity_name.as_ref().into(),
            shown: shown.into(),
            stage: reject.stage.name().into(),
            reason: reject.reason.as_str().into(),
            type_name: type_name.map(Into::into),
            waiting: 1,
        }
    }

    /// Loads the rows that are not loaded yet, from memory or from the store: whole, as a fold must see them.
    async fn load(&mut self, rows: &mut [Work]) -> Result<(), Halt> {
        // Those that earlier records of the batch touched are loaded, and stand in front.
        let loaded = rows.partition_point(|work| work.row.is_some());
        let mut missing = Vec::new();
        for work in &mut rows[loaded..] {
            work.row = self.rows.get(&work.key).and_then(|bytes| Row::unpack(bytes, self.columns.len()));
            if work.row.is_none() {
                missing.push(work.key.clone());
            }
        }
        if !missing.is_empty() {
            let stored = self.tables.get(self.entity.base, &missing, Columns::All).await?;
            let lacking = rows[loaded..].iter_mut().filter(|work| work.row.is_none());
            for (work, stored) in lacking.zip(stored) {
                work.row = Some(Row::from_store(stored));
            }
        }
        Ok(())
    }

    /// Takes one record of a row: applies it, or lets it wait. `order` is what its write is stamped with: the offset, or
    /// for kind C the place of the record among those of all partitions.
    fn take(&mut self, at: &TopicPartition, order: Offset, work: &mut Work, touch: &Touch) {
        if work.waits || self.is_parked(&work.key, at, touch.offset()) {
            self.parked.enqueue(ParkedKey::Row(work.key.clone()), touch.queued());
            work.waits = true;
            return;
        }
        let taken = match (touch, self.projection.kind) {
            (Touch::Rejected { reject, .. }, _) => Err(reject.clone()),
            (touch, UpdateKind::OwnedFold | UpdateKind::MergedFold) => self.fold(work, order, touch),
            (touch, UpdateKind::BlindSet) => self.assign(work, touch),
        };
        if let Err(reject) = taken {
            self.park_row(work, touch, &reject);
            work.waits = true;
        }
    }

    fn is_parked(&self, key: &RowKey, at: &TopicPartition, offset: Offset) -> bool {
        !self.parked.is_empty() && self.parked.holds(&ParkedKey::Row(key.clone()), at, offset)
    }

    /// Folds a record of kind B or C into its row.
    fn fold(&self, work: &mut Work, offset: Offset, touch: &Touch) -> Result<(), Reject> {
        let row = work.row.as_mut().expect("rows are loaded before their records are folded");
        // Applied before: a redelivery is skipped before it is evaluated (B1).
        if row.offset.is_some_and(|applied| offset <= applied) {
            return Ok(());
        }
        let begun = match &work.trail {
            None => Some(Trail::begin(&self.copies, &row.state)),
            Some(_) => None,
        };
        let undo = match touch {
            Touch::Event(event) => fold::apply(&self.projection, &work.key_cells, &mut row.state, event)?,
            Touch::Events(events) => {
                fold::apply_all(&self.projection, &work.key_cells, &mut row.state, events)?
            }
            Touch::Delete { .. } => fold::delete(&mut row.state),
            Touch::Rejected { reject, .. } => return Err(reject.clone()),
        };
        let Some(undo) = undo else { return Ok(()) };
        let mut changed = ColumnSet::default();
        undo.add_changed(self.columns.len(), &mut changed);
        let advanced = begun.transpose().and_then(|begun| {
            let trail = match begun {
                Some(begun) => work.trail.insert(begun),
                None => work.trail.as_mut().expect("it was begun by an earlier record"),
            };
            trail.advance(&self.copies, offset, &row.state, &changed)
        });
        match advanced {
            Ok(()) => {
                row.offset = Some(offset);
                Ok(())
            }
            Err(fault) => {
                undo.take_back(&mut row.state);
                Err(Reject::new(Stage::Fold, format!("`where`: {}", fault.0)))
            }
        }
    }

    /// Takes the cells that a record of kind A assigns, whatever is stored (A1).
    fn assign(&self, work: &mut Work, touch: &Touch) -> Result<(), Reject> {
        // A projection whose tombstones delete rows is of kind B.
        let mut assigned = Vec::new();
        let mut assign = |event: &Event, element: Option<&Json>| {
            let cells = fold::assignments(&self.projection, &work.key_cells, event, element)?;
            assigned.extend(cells);
            Ok::<_, Reject>(())
        };
        match touch {
            Touch::Event(event) => assign(event, None)?,
            Touch::Events(events) => {
                events.iter().try_for_each(|taken| assign(&taken.event, taken.element.as_ref()))?;
            }
            _ => return Ok(()),
        }
        if !assigned.is_empty() {
            work.set.cells.extend(assigned.into_iter().flatten());
            work.set.set_at = Some(touch.offset());
        }
        Ok(())
    }

    /// Adds the writes of the rows to the batch; answers those that changed as they will stand, for memory.
    fn finish(&mut self, rows: Vec<Work>, base: i64, batch: &mut Batch) -> Vec<(RowKey, Box<[u8]>)> {
        let mut folded = Vec::with_capacity(rows.len().min(self.settings.cached_rows_max));
        let mut bytes = Vec::new();
        let forgotten = rows.len().saturating_sub(self.settings.cached_rows_max);
        for (at, work) in rows.into_iter().enumerate() {
            match work.row {
                Some(row) => {
                    if let Some(trail) = work.trail {
                        let buckets = &mut self.buckets;
                        let known = |table: &TablePlan, name: &RowKey| is_known(buckets, table, name);
                        let row_now = (&work.key, &row.state);
                        trail.finish(&self.copies, self.entity.base, row_now, base, batch, known);
                        if at >= forgotten {
                            bytes.clear();
                            row.pack(&self.columns, &mut bytes);
                            folded.push((work.key, bytes.as_slice().into()));
                        } else {
                            self.rows.remove(&work.key);
                        }
                    }
                }
                None => {
                    let cells = self.projection.shape.row_of(&work.key_cells);
                    batch::assign(&self.plan, &self.entity, work.key, &cells, work.set, base, batch);
                }
            }
        }
        folded
    }

    fn park_row(&mut self, work: &Work, touch: &Touch, reject: &Reject) {
        let shown = self.projection.shown_key(&work.key_cells);
        let entry = self.entry(touch.queued(), &shown, touch.kind(), reject);
        self.parked.park(ParkedKey::Row(work.key.clone()), entry);
    }
}

/// Names of buckets, each with the number of its table.
type Buckets = Cache<(u32, RowKey), (), quick_cache::UnitWeighter, FxBuildHasher>;

/// Whether a bucket's name was written before; from now on it was.
fn is_known(buckets: &mut Buckets, table: &TablePlan, name: &RowKey) -> bool {
    let place = (table.id.0, name.clone());
    let known = buckets.get(&place).is_some();
    if !known {
        buckets.insert(place, ());
    }
    known
}

fn say(state: &watch::Sender<ProjectorState>, new: ProjectorState) {
    state.send_if_modified(|old| {
        let changed = *old != new;
        *old = new;
        changed
    });
}

/// Where each partition continues, checked against the log as it is.
fn places(
    projection: &Projection,
    topic: &TopicInfo,
    tables: &dyn Tables,
    now_us: i64,
) -> Result<Vec<Place>, Halt> {
    let progress = tables.progress();
    let name = || topic.name.to_string();
    let mine = |mark: &&ProgressMark| mark.projection == projection.name && mark.at.topic == topic.name;
    for mark in progress.marks.iter().filter(mine) {
        if mark.topic_id != topic.id {
            return Err(Halt::TopicAnew { topic: name(), expected: mark.topic_id, found: topic.id });
        }
        if mark.at.partition as usize >= topic.partitions.len() {
            let count = topic.partitions.len();
            return Err(Halt::PartitionGone { topic: name(), partition: mark.at.partition, count });
        }
    }
    let mut places = Vec::with_capacity(topic.partitions.len());
    for (partition, info) in (0u32..).zip(&topic.partitions) {
        let at = TopicPartition { topic: Arc::clone(&topic.name), partition };
        let place = match progress.of(&projection.name, &at) {
            Some(mark) => {
                Place { topic_id: topic.id, next: mark.next, base: mark.base, time_ms: mark.time_ms, at }
            }
            None => {
                let base = stamp::base(now_us, info.end);
                Place { topic_id: topic.id, next: 0, base, time_ms: 0, at }
            }
        };
        if place.next > info.end {
            return Err(Halt::LogTruncated { topic: name(), partition, end: info.end, position: place.next });
        }
        if place.next < info.start {
            if progress.of(&projection.name, &place.at).is_some() {
                let (start, position) = (info.start, place.next);
                return Err(Halt::LogExpired { topic: name(), partition, start, position });
            }
            places.push(Place { next: info.start, ..place });
        } else {
            places.push(place);
        }
    }
    Ok(places)
}

impl Input {
    /// Waits for records: those of one partition, or `None` where the merge has some at hand.
    async fn next(&mut self, bytes_max: usize) -> Result<Option<Fetched>, SourceError> {
        match self {
            Input::Turns(reader) => reader.next(bytes_max).await.map(Some),
            Input::Merged(merge) => merge.wait(bytes_max).await.map(|()| None),
        }
    }

    fn more(&mut self, bytes_max: usize) -> Result<Option<Fetched>, SourceError> {
        match self {
            Input::Turns(reader) => reader.more(bytes_max),
            Input::Merged(_) => Ok(None),
        }
    }
}

/// Growing pauses between tries: 50 ms, doubled up to 5 s.
struct Pause(Duration);

impl Default for Pause {
    fn default() -> Pause {
        Pause(Duration::from_millis(50))
    }
}

impl Pause {
    fn next(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(Duration::from_secs(5));
        pause
    }

    fn reset(&mut self) {
        *self = Pause::default();
    }
}
