//! The write loop, source to store.
//!
//! One [`Projector`] works one projection: it fetches records of a partition, routes them to rows, folds each
//! row's events in order, and commits rows, copies, parked keys and progress as one [`Batch`]. Everything it
//! writes follows from the log's positions alone, so whatever is done twice, late or by two processes ends the
//! same. `batch` derives the writes of a row, `park` holds keys that wait, `stamp` orders writes.
//!
//! A record that cannot be applied parks its key and the loop goes on. Trouble with the store or the log is tried
//! again, with growing pauses; what cannot be right any more (a log created anew, data damaged) halts the
//! projection by name.

pub mod batch;
pub mod park;
pub mod stamp;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use quick_cache::unsync::Cache;
use rustc_hash::FxBuildHasher;
use tokio::sync::watch;

use crate::event::{Event, Offset, Position, Reject, Stage, TopicPartition};
use crate::fold::{self, Change};
use crate::handler::{Projection, UpdateKind};
use crate::plan::{EntityPlan, Plan};
use crate::project::batch::{Assigned, State, Trail};
use crate::project::park::ParkedKeys;
use crate::route::{Routed, route};
use crate::schema::ColumnId;
use crate::source::{Fetched, Reader, Source, SourceError, TopicInfo};
use crate::store::{
    Batch, Columns, ParkChange, ParkedEntry, ParkedKey, ProgressMark, QueuedEvent, StoreError, StoredRow,
    Tables,
};
use crate::value::Value;
use crate::value::encode::RowKey;

/// Bounds of a write loop.
#[derive(Clone, Copy, Debug)]
pub struct ProjectSettings {
    /// Records fetched and folded as one batch, in bytes.
    pub batch_bytes_max: usize,
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
            batch_bytes_max: 1 << 20,
            cached_rows_max: 20_000,
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
    tables: Arc<dyn Tables>,
    reader: Box<dyn Reader>,
    settings: ProjectSettings,
    topic_id: u128,
    /// One for each partition: where the next fetch continues, and its stamps' base.
    places: Vec<Place>,
    parked: ParkedKeys,
    /// Rows as they stand in the store, with the offset that made them so.
    rows: Cache<RowKey, Row>,
    /// Names of buckets that are surely stored.
    buckets: Cache<(u32, RowKey), (), quick_cache::UnitWeighter, FxBuildHasher>,
}

#[derive(Clone)]
struct Place {
    at: TopicPartition,
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
}

/// One row's share of a fetched batch.
struct Work {
    key_cells: Vec<(ColumnId, Value)>,
    touches: Vec<Touch>,
}

/// What a record does to its row.
enum Touch {
    Event(Event),
    /// A record without a value: the row goes.
    Delete {
        position: Position,
        time_ms: i64,
    },
}

impl Touch {
    fn offset(&self) -> Offset {
        match self {
            Touch::Event(event) => event.position.offset,
            Touch::Delete { position, .. } => position.offset,
        }
    }

    fn queued(&self) -> QueuedEvent {
        let (position, time_ms) = match self {
            Touch::Event(event) => (&event.position, event.time_ms),
            Touch::Delete { position, time_ms } => (position, *time_ms),
        };
        QueuedEvent { at: position.at.clone(), offset: position.offset, time_ms }
    }

    fn kind(&self) -> Option<&str> {
        match self {
            Touch::Event(event) => Some(&event.kind),
            Touch::Delete { .. } => None,
        }
    }
}

impl Projector {
    /// Takes up a projection where its progress stands.
    ///
    /// # Errors
    /// The topic is missing, was created anew, or no longer holds the next event; the store or the log fails.
    pub async fn open(
        projection: Arc<Projection>,
        plan: Arc<Plan>,
        tables: Arc<dyn Tables>,
        source: &dyn Source,
        settings: ProjectSettings,
        now_us: i64,
    ) -> Result<Projector, Halt> {
        let topic = source.topic(&projection.from.topic).await?.ok_or_else(|| Halt::NoTopic {
            topic: projection.from.topic.to_string(),
            projection: projection.name.to_string(),
        })?;
        tables.reload().await?;
        let places = places(&projection, &topic, tables.as_ref(), now_us)?;
        let from: Vec<_> = places.iter().map(|place| (place.at.clone(), place.next)).collect();
        let reader = source.read(&from).await?;
        let parked = ParkedKeys::from_store(&projection.name, &tables.parked());
        Ok(Projector {
            entity: plan.entity(projection.entity).clone(),
            topic_id: topic.id,
            rows: Cache::new(settings.cached_rows_max),
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
            reader,
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
                fetched = self.reader.next(self.settings.batch_bytes_max) => fetched,
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
        for place in &self.places {
            self.reader.seek(&place.at, place.next)?;
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
        let fetched = self.reader.next(self.settings.batch_bytes_max).await?;
        self.work_off(fetched).await
    }

    async fn work_off(&mut self, fetched: Fetched) -> Result<(), Halt> {
        let place = fetched.at.partition as usize;
        let mut batch = Batch::default();
        let (work, order, stop) = self.sort(&fetched);
        let base = self.places[place].base;
        let mut changed = Vec::with_capacity(order.len());
        match self.projection.kind {
            UpdateKind::OwnedFold => {
                let stored = self.load(&order).await?;
                for ((key, work), stored) in order.into_iter().zip(work).zip(stored) {
                    changed.extend(self.fold_row(&fetched.at, key, stored, work, base, &mut batch));
                }
            }
            UpdateKind::BlindSet => {
                for (key, work) in order.into_iter().zip(work) {
                    self.assign_row(&fetched.at, key, work, base, &mut batch);
                }
            }
        }
        batch.parked = self.parked.take_changes();
        self.check_parked(&batch)?;
        let next = stop.as_ref().map_or(fetched.next, |(offset, _)| *offset);
        let time_ms = last_time(&fetched, next).unwrap_or(self.places[place].time_ms);
        batch.progress.push(self.mark(place, next, fetched.end, time_ms));
        self.tables.commit(batch).await?;
        self.places[place].next = next;
        self.places[place].time_ms = time_ms;
        for (key, row) in changed {
            self.rows.insert(key, row);
        }
        match stop {
            Some((offset, reason)) => {
                Err(Halt::UnknownType { position: format_position(&fetched.at, offset), reason })
            }
            None => Ok(()),
        }
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

    fn mark(&self, place: usize, next: Offset, end: Offset, time_ms: i64) -> ProgressMark {
        ProgressMark {
            projection: Arc::clone(&self.projection.name),
            at: self.places[place].at.clone(),
            topic_id: self.topic_id,
            next,
            end,
            time_ms,
            base: self.places[place].base,
        }
    }

    /// Routes records to rows, in order within each row. Parks what cannot be routed, queues what must wait.
    /// Ends early at an event that says to stop.
    fn sort(&mut self, fetched: &Fetched) -> (Vec<Work>, Vec<RowKey>, Option<(Offset, String)>) {
        let mut index: HashMap<RowKey, usize, FxBuildHasher> = HashMap::default();
        let mut work: Vec<Work> = Vec::new();
        let mut order: Vec<RowKey> = Vec::new();
        let base_table = Arc::clone(self.plan.table(self.entity.base));
        let mut add = |key: RowKey, key_cells, touch| {
            let slot = *index.entry(key).or_insert_with_key(|key| {
                order.push(key.clone());
                work.push(Work { key_cells, touches: Vec::new() });
                work.len() - 1
            });
            work[slot].touches.push(touch);
        };
        for record in &fetched.records {
            let queued = || QueuedEvent {
                at: fetched.at.clone(),
                offset: record.offset,
                time_ms: record.timestamp_ms,
            };
            if let Some(key) = self.waits_by_record_key(&fetched.at, record.offset, record.key.as_deref()) {
                self.parked.enqueue(key, queued());
                continue;
            }
            match route(&self.projection, &base_table, &fetched.at, record) {
                Routed::Ignore => {}
                Routed::Stop(reason) => return (work, order, Some((record.offset, reason))),
                Routed::Rejected { key, shown, type_name, reject } => {
                    let entry = self.entry(queued(), &shown, type_name.as_deref(), &reject);
                    self.parked.park(key, entry);
                }
                Routed::Event { key, key_cells, event } => add(key, key_cells, Touch::Event(event)),
                Routed::Delete { key, key_cells, position, time_ms } => {
                    add(key, key_cells, Touch::Delete { position, time_ms });
                }
            }
        }
        (work, order, None)
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

    /// The rows as they are stored, from memory or from the store: whole, as a fold must see them.
    async fn load(&mut self, order: &[RowKey]) -> Result<Vec<Row>, Halt> {
        let mut rows: Vec<Option<Row>> = order.iter().map(|key| self.rows.get(key).cloned()).collect();
        let missing: Vec<RowKey> =
            order.iter().zip(&rows).filter(|(_, row)| row.is_none()).map(|(key, _)| key.clone()).collect();
        if !missing.is_empty() {
            let stored = self.tables.get(self.entity.base, &missing, Columns::All).await?;
            let mut stored = stored.into_iter().map(Row::from_store);
            for row in rows.iter_mut().filter(|row| row.is_none()) {
                *row = stored.next();
            }
        }
        Ok(rows.into_iter().map(|row| row.expect("each missing key was asked for, in order")).collect())
    }

    /// Folds one row's events and adds its writes to the batch; answers the row as it will stand.
    fn fold_row(
        &mut self,
        at: &TopicPartition,
        key: RowKey,
        stored: Row,
        work: Work,
        base: i64,
        batch: &mut Batch,
    ) -> Option<(RowKey, Row)> {
        let parked_key = ParkedKey::Row(key.clone());
        let plan = Arc::clone(&self.plan);
        let mut trail = None;
        let mut waits = false;
        for touch in &work.touches {
            let offset = touch.offset();
            if waits || (!self.parked.is_empty() && self.parked.holds(&parked_key, at, offset)) {
                self.parked.enqueue(parked_key.clone(), touch.queued());
                waits = true;
                continue;
            }
            // Applied before: a redelivery is skipped before it is evaluated (B1).
            if stored.offset.is_some_and(|applied| offset <= applied) {
                continue;
            }
            if let Err(reject) = self.apply(&plan, &key, &stored, &mut trail, &work.key_cells, touch) {
                self.park_row(parked_key.clone(), &work.key_cells, touch, &reject);
                waits = true;
            }
        }
        let trail = trail?;
        let (state, changed_at) = trail.outcome();
        let row = Row { state: state.clone(), offset: Some(changed_at?) };
        let buckets = &mut self.buckets;
        trail.finish(&plan, &self.entity, base, batch, |table, name| {
            let known = (table.id.0, name.clone());
            let was = buckets.get(&known).is_some();
            buckets.insert(known, ());
            was
        });
        Some((key, row))
    }

    fn apply(
        &self,
        plan: &Plan,
        key: &RowKey,
        stored: &Row,
        trail: &mut Option<Trail>,
        key_cells: &[(ColumnId, Value)],
        touch: &Touch,
    ) -> Result<(), Reject> {
        let row = match trail {
            Some(trail) => trail.row(),
            None => stored.state.as_ref().map(|cells| cells.as_slice()),
        };
        let change = match touch {
            Touch::Event(event) => fold::fold(&self.projection, key_cells, row, event)?,
            Touch::Delete { .. } if row.is_some() => Change::Delete,
            Touch::Delete { .. } => Change::Nothing,
        };
        let state = match change {
            Change::Nothing => return Ok(()),
            Change::Write(cells) => Some(Arc::new(cells)),
            Change::Delete => None,
        };
        let fault = |fault: crate::expr::Fault| Reject::new(Stage::Fold, format!("`where`: {}", fault.0));
        if trail.is_none() {
            *trail =
                Some(Trail::begin(plan, &self.entity, key.clone(), stored.state.clone()).map_err(fault)?);
        }
        let trail = trail.as_mut().expect("begun above");
        trail.advance(plan, &self.entity, touch.offset(), state).map_err(fault)
    }

    /// Adds the writes of one row of kind A: the cells that its events assign, whatever is stored (A1).
    fn assign_row(&mut self, at: &TopicPartition, key: RowKey, work: Work, base: i64, batch: &mut Batch) {
        let parked_key = ParkedKey::Row(key.clone());
        let mut set = Assigned::default();
        let mut waits = false;
        for touch in &work.touches {
            let offset = touch.offset();
            if waits || (!self.parked.is_empty() && self.parked.holds(&parked_key, at, offset)) {
                self.parked.enqueue(parked_key.clone(), touch.queued());
                waits = true;
                continue;
            }
            match touch {
                // A projection whose tombstones delete rows is of kind B.
                Touch::Delete { .. } => {}
                Touch::Event(event) => match fold::assignments(&self.projection, &work.key_cells, event) {
                    Ok(None) => {}
                    Ok(Some(cells)) => {
                        set.cells.extend(cells);
                        set.set_at = Some(offset);
                    }
                    Err(reject) => {
                        self.park_row(parked_key.clone(), &work.key_cells, touch, &reject);
                        waits = true;
                    }
                },
            }
        }
        let row = self.projection.shape.row_of(&work.key_cells);
        batch::assign(&self.plan, &self.entity, key, &row, set, base, batch);
    }

    fn park_row(&mut self, key: ParkedKey, key_cells: &[(ColumnId, Value)], touch: &Touch, reject: &Reject) {
        let shown = self.projection.shown_key(key_cells);
        let entry = self.entry(touch.queued(), &shown, touch.kind(), reject);
        self.parked.park(key, entry);
    }
}

fn format_position(at: &TopicPartition, offset: Offset) -> String {
    format!("{}:{}@{offset}", at.topic, at.partition)
}

fn last_time(fetched: &Fetched, next: Offset) -> Option<i64> {
    fetched.records.iter().rev().find(|record| record.offset < next).map(|record| record.timestamp_ms)
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
    for mark in progress.marks.iter().filter(|mark| mark.projection == projection.name) {
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
            Some(mark) => Place { next: mark.next, base: mark.base, time_ms: mark.time_ms, at },
            None => Place { next: 0, base: stamp::base(now_us, info.end), time_ms: 0, at },
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
