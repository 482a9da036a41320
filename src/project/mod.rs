//! The write loop, source to store.
//!
//! One [`Projector`] works one projection: it fetches records of a partition, routes them to rows, folds each
//! row's events in order, and commits rows, copies, parked keys and progress as one [`Batch`]. Everything it
//! writes follows from the log's positions alone, so whatever is done twice, late or by two processes ends the
//! same. `place` says where it continues, `merge` makes one stream of several partitions, `relay` takes that through an
//! internal topic where a store does not apply batches whole, `apply` takes records into the rows of a batch, which `work`
//! holds, `gather` folds them row by row where that makes no difference, `seen` knows which rows are not stored yet, `batch`
//! derives the writes of a row and `write` commits them, `park` holds keys that wait, `retry` and `touch` set them free,
//! `range` deletes rows by the beginning of their key, `stamp` orders writes. `run` does batch after batch, until `halt` says
//! why it cannot go on. `budget` bounds what all projectors hold, `memory` what one remembers, `activity` says where it is,
//! `counts` what it has done, `spans` how long each step took.
//!
//! A record that cannot be applied parks its key and the loop goes on. Trouble with the store or the log is tried
//! again, with growing pauses; what cannot be right any more (a log created anew, data damaged) halts the
//! projection by name.

pub mod activity;
mod apply;
pub mod batch;
pub mod budget;
mod counts;
mod gather;
mod halt;
mod memory;
mod merge;
pub mod park;
mod place;
mod range;
pub mod relay;
pub mod retry;
mod run;
mod seen;
mod spans;
pub mod stamp;
mod touch;
mod work;
mod write;

use std::sync::Arc;

use tokio::sync::watch;
use tracing::Instrument;

use crate::event::{Event, Offset, Position, Record, TopicPartition};
use crate::handler::{Projection, UpdateKind};
use crate::plan::{EntityPlan, Plan};
use crate::project::activity::{Activity, Stage};
use crate::project::batch::{Copies, Trail};
use crate::project::budget::{Budget, Share};
use crate::project::counts::{Counts, Tally};
use crate::project::gather::{ByKey, Gathered};
use crate::project::memory::{Buckets, Remembered};
use crate::project::merge::Merge;
use crate::project::park::ParkedKeys;
use crate::project::place::{Place, begin, own, places};
use crate::project::relay::Passage;
use crate::project::seen::Seen;
use crate::project::spans::Spans;
use crate::project::work::{Due, Touched};
use crate::project::write::Made;
use crate::route::RowRange;
use crate::schema::ColumnId;
use crate::source::{Fetched, Reader, Source, SourceError};
use crate::store::coordination::Pause;
use crate::store::{Began, Internal, Owner, Profile, ProgressMark, QueuedEvent, Tables};
use crate::value::look_at;

pub use halt::{Halt, ProjectorState};
pub(crate) use place::{folded_topics, topics_of};

/// Bounds of a write loop.
#[derive(Clone, Copy, Debug)]
pub struct ProjectSettings {
    /// Events of one partition folded into one batch, in bytes; and bytes of the rows that are loaded for them. A row is
    /// written once for all of its events among them. At most a fifth of the budget, about.
    pub batch_bytes_max: usize,
    /// Rows of a batch, about: when so many are touched it is committed before more records are folded.
    pub batch_rows_max: usize,
    /// Rows kept in memory between batches, so that they need not be read again.
    pub cached_rows_max: usize,
    /// Bytes of these rows.
    pub cached_bytes_max: usize,
    /// Names of time buckets remembered as stored.
    pub cached_buckets_max: usize,
    /// Parked keys of one projection, above which it halts: so many are no accident of single events.
    pub parked_keys_max: usize,
    /// Share of the events of one projection, any [`park::WINDOW_EVENTS`] in a row, that may each park a key; it halts above
    /// it: so many at once are no accident either. 1 never halts it.
    pub parked_share_max: f64,
}

impl Default for ProjectSettings {
    fn default() -> ProjectSettings {
        ProjectSettings {
            batch_bytes_max: 16 << 20,
            batch_rows_max: 12_000,
            cached_rows_max: 2_000,
            cached_bytes_max: 8 << 20,
            cached_buckets_max: 10_000,
            parked_keys_max: 1_000,
            parked_share_max: 0.01,
        }
    }
}

impl ProjectSettings {
    /// Bytes of the fetch that begins a batch.
    fn first_bytes(&self) -> usize {
        self.batch_bytes_max.min(FIRST_BYTES)
    }
}

/// The part of the log that a projector works on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scope<'a> {
    /// Where the generation begins, in partitions that it does not read from the log's start.
    pub starts: &'a [Began],
    /// Those that are this projector's; `None`: all.
    pub partitions: Option<&'a [TopicPartition]>,
    /// What the projection is folded from instead of its sources, where it merges partitions and the store does not apply
    /// batches whole: the partitions are of this topic.
    pub internal: Option<&'a Internal>,
}

impl Scope<'_> {
    fn has(&self, at: &TopicPartition) -> bool {
        self.partitions.is_none_or(|partitions| partitions.contains(at))
    }
}

/// Works one projection over the partitions of its topics, or some of them.
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
    /// Its partitions, as it has taken them: what it decides about parked keys holds while nobody takes them anew.
    owners: Arc<[Owner]>,
    parked: ParkedKeys,
    /// What it is folded from.
    topics: Vec<Arc<str>>,
    /// Whether it is folded from an internal topic: then what its events wait as is their place there.
    is_relayed: bool,
    /// Whether decisions of it may have been taken, or not: they were sent, and not acknowledged.
    in_doubt: bool,
    /// Rows as they stand in the store, as bytes: many small values would take several times the memory.
    rows: Remembered,
    /// What need not be looked for; `None` where any row may be stored.
    seen: Option<Seen>,
    /// Whether records are taken in the order of their keys.
    by_key: ByKey,
    /// Whether rows are written as the bytes that they are remembered as.
    keeps_encoded: bool,
    /// All columns of a row.
    columns: Vec<ColumnId>,
    /// Names of buckets that are surely stored.
    buckets: Buckets,
    /// What all projectors of the process share.
    budget: Arc<Budget>,
    /// What is paused now, of all projections.
    pauses: watch::Receiver<Vec<Pause>>,
    activity: Arc<Activity>,
    counts: Counts,
    /// Records decoded, and rows loaded, at once: the larger rows are, the fewer.
    chunk: usize,
}

/// How records come in.
enum Input {
    /// Kinds A and B: partitions take turns.
    Turns(Box<dyn Reader>),
    /// Kind C: as one stream.
    Merged(Merge),
}

/// Most records that are decoded before they are folded: few, so that what was decoded is still at hand.
const CHUNK_RECORDS: usize = 128;

/// Most bytes fetched at once.
const FETCH_BYTES: usize = 256 << 10;

/// Bytes of the fetch that begins a batch, about. It is held while the projector waits for its share of the budget: only
/// then is it known that there is anything to fold.
const FIRST_BYTES: usize = 16 << 10;

/// Records of the first chunk: nothing is known of the size of rows yet.
const CHUNK_FIRST: usize = 8;

/// What was folded of one partition and is not committed yet.
struct Folded {
    /// Number of the partition.
    place: usize,
    touched: Touched,
    /// What is to be folded by key.
    gathered: Gathered,
    is_by_key: bool,
    /// What rows that are folded write.
    made: Made,
    /// The next offset to read after it.
    next: Offset,
    /// End of the partition when it was last read.
    end: Offset,
    /// Time of the last event.
    time_ms: i64,
    /// Of a partition of an internal topic: how far sources have come there.
    passage: Option<Passage>,
    tally: Tally,
    spans: Spans,
}

impl Folded {
    /// Nothing yet.
    fn after(at: &TopicPartition, places: &[Place], projection: &Projection, is_by_key: bool) -> Folded {
        let place = places.iter().position(|place| place.at == *at);
        let place = place.expect("only its own partitions are read");
        let Place { next, time_ms, .. } = places[place];
        let passage = places[place].relayed.clone().map(Passage::from);
        let tally = Tally::default();
        let spans = Spans::of(projection, &Position { at: at.clone(), offset: next });
        let (touched, gathered, made) = (Touched::default(), Gathered::default(), Made::default());
        Folded { place, touched, gathered, is_by_key, made, next, end: next, time_ms, passage, tally, spans }
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
        Projector::open_within(projection, plan, tables, source, (settings, now_us), Scope::default()).await
    }

    /// As [`Projector::open`], of a part of the log.
    ///
    /// # Errors
    /// As [`Projector::open`].
    pub async fn open_within(
        projection: Arc<Projection>,
        plan: Arc<Plan>,
        tables: Arc<dyn Tables>,
        source: &dyn Source,
        (settings, now_us): (ProjectSettings, i64),
        scope: Scope<'_>,
    ) -> Result<Projector, Halt> {
        let is_merged = projection.kind == UpdateKind::MergedFold && scope.internal.is_none();
        if is_merged && tables.profile() != Profile::Atomic {
            return Err(Halt::NoInternal { projection: projection.name.to_string() });
        }
        // Before anything is read: what an earlier owner still decides afterwards does not hold (P3).
        let topics = folded_topics(&projection, scope.internal, source).await?;
        let owners = own(&projection, &topics, tables.as_ref(), scope).await?;
        // Progress first: read after the ends of the log, it could lie beyond them, and the log would seem cut off.
        tables.reload().await?;
        let topics = folded_topics(&projection, scope.internal, source).await?;
        let mut places = Vec::new();
        for topic in &topics {
            places.extend(self::places(&projection, topic, tables.as_ref(), (now_us, scope))?);
        }
        let input = if is_merged {
            merge::share_base(&mut places, tables.as_ref(), &projection.name);
            Input::Merged(Merge::open(source, &places, settings.batch_bytes_max).await?)
        } else {
            let from: Vec<_> = places.iter().map(|place| (place.at.clone(), place.next)).collect();
            Input::Turns(source.read(&from).await?)
        };
        let partitions = topics.iter().flat_map(|topic| &topic.partitions);
        let events = partitions.map(|partition| partition.end - partition.start).sum();
        let seen = Seen::begin(&projection, &places, tables.as_ref(), events);
        begin(&projection, &mut places, &owners, tables.as_ref()).await?;
        let parked = ParkedKeys::from_store(&projection.name, &tables.parked());
        let entity = plan.entity(projection.entity).clone();
        Ok(Projector {
            copies: Copies::of(&plan, &entity),
            entity,
            rows: Remembered::new(settings.cached_rows_max, settings.cached_bytes_max),
            seen,
            by_key: ByKey::of(&projection, tables.as_ref()),
            keeps_encoded: tables.keeps_encoded(),
            columns: (0..).map(ColumnId).take(projection.shape.columns.len()).collect(),
            buckets: Buckets::new(settings.cached_buckets_max),
            budget: Budget::new(settings.batch_bytes_max.saturating_mul(4)),
            pauses: watch::channel(Vec::new()).1,
            activity: Arc::new(Activity::new(places.iter().map(|place| place.at.clone()).collect())),
            chunk: CHUNK_FIRST,
            counts: Counts::new(&projection),
            projection,
            plan,
            tables,
            input,
            settings,
            places,
            owners,
            parked,
            topics: topics.iter().map(|topic| Arc::clone(&topic.name)).collect(),
            is_relayed: scope.internal.is_some(),
            in_doubt: false,
        })
    }

    /// Shares a budget with other projectors. Without, it has one of its own, of four batches.
    #[must_use]
    pub fn within(mut self, budget: Arc<Budget>) -> Projector {
        self.budget = budget;
        self
    }

    /// Folds nothing while it is among these. Without, it is never paused.
    #[must_use]
    pub fn heeding(mut self, pauses: watch::Receiver<Vec<Pause>>) -> Projector {
        self.pauses = pauses;
        self
    }

    /// Where it is, for whoever watches it.
    pub fn activity(&self) -> Arc<Activity> {
        Arc::clone(&self.activity)
    }

    /// The projection worked here.
    pub fn projection(&self) -> &Arc<Projection> {
        &self.projection
    }

    /// The topics that it is folded from.
    pub fn topics(&self) -> Vec<Arc<str>> {
        self.topics.clone()
    }

    /// Its partitions, as it has taken them.
    pub fn owners(&self) -> Arc<[Owner]> {
        Arc::clone(&self.owners)
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

    /// Waits for records of one partition, folds them, and commits what they made.
    ///
    /// Dropping the future between fetch and commit leaves the reader ahead: only a projector that is dropped with
    /// it may be interrupted there.
    ///
    /// # Errors
    /// Trouble with the store or the log, or `unknown: stop` met an unknown type. Nothing is lost: progress has
    /// not passed what was not committed.
    pub async fn step(&mut self) -> Result<(), Halt> {
        let (fetched, share) = self.begin().await?;
        self.work_off(fetched, share).await
    }

    /// Waits for the first records of a batch, then for its share of the budget: all that the batch may hold where the log
    /// has more, so that nothing is asked for while a share is held.
    async fn begin(&mut self) -> Result<(Option<Fetched>, Share), Halt> {
        self.end_doubt().await?;
        self.activity.enter(Stage::Fetching);
        let fetched = self.input.next(self.settings.first_bytes()).await?;
        let (bytes, has_more) = match (&fetched, &self.input) {
            (Some(fetched), _) => (len_bytes(fetched), fetched.next < fetched.end),
            (None, Input::Merged(merge)) => merge.at_hand(),
            (None, Input::Turns(_)) => (0, false),
        };
        let events = if has_more { bytes.max(self.batch_bytes_max()) } else { bytes };
        Ok((fetched, self.share(events).await))
    }

    /// A share of the budget for so many bytes of events, and as many of rows.
    async fn share(&mut self, events: usize) -> Share {
        self.activity.enter(Stage::WaitingForRoom);
        self.budget.share(events.saturating_mul(2)).await
    }

    /// Bytes of the events of a batch, and of the rows loaded for them: so that two projectors at least can work at a time.
    fn batch_bytes_max(&self) -> usize {
        self.settings.batch_bytes_max.min(self.budget.half() / 2)
    }

    /// Folds what was fetched, and what more of its partition is at hand, and commits it in as few batches as its
    /// bounds allow: a row that many events touch is written once for all of them.
    async fn work_off(&mut self, fetched: Option<Fetched>, mut share: Share) -> Result<(), Halt> {
        let Some(fetched) = fetched else { return self.work_off_merged(share).await };
        let bytes_max = self.batch_bytes_max();
        let is_by_key = self.by_key.begin();
        let mut folded = Folded::after(&fetched.at, &self.places, &self.projection, is_by_key);
        let (mut fetched, mut bytes) = (Some(fetched), 0);
        while let Some(some) = fetched {
            let len = len_bytes(&some);
            if bytes > 0 && bytes + len > share.bytes() {
                // A record larger than what is left: what stands before it is written, and it waits for a share as the
                // first of a batch does.
                if !self.fold_by_key(&mut folded).await? {
                    return Ok(());
                }
                self.commit(&mut folded).await?;
                drop(share);
                (share, bytes) = (self.share(len).await, 0);
            }
            folded.tally.records(some.records.len(), len);
            if is_by_key {
                (folded.next, folded.end) = (some.next, some.end);
                folded.gathered.add(some.records);
                bytes = folded.gathered.bytes();
                if folded.gathered.keys() >= self.settings.batch_rows_max {
                    break;
                }
            } else {
                bytes += len;
                self.fold_some(&some, &mut folded).await?;
            }
            let left = bytes_max.min(share.bytes()).saturating_sub(bytes).min(FETCH_BYTES);
            fetched = if left > 0 { folded.spans.fetch.in_scope(|| self.input.more(left))? } else { None };
        }
        match self.fold_by_key(&mut folded).await? {
            true => self.commit(&mut folded).await,
            false => Ok(()),
        }
    }

    /// Folds what was fetched. Commits what has gathered when its rows fill a batch, and before it halts.
    async fn fold_some(&mut self, fetched: &Fetched, folded: &mut Folded) -> Result<(), Halt> {
        folded.end = fetched.end;
        let (rows_max, bytes_max) = (self.settings.batch_rows_max, self.batch_bytes_max());
        let mut rest = fetched.records.as_slice();
        while !rest.is_empty() {
            let room = rows_max.saturating_sub(folded.touched.rows.len()).max(1);
            let (records, after) = rest.split_at(rest.len().min(room).min(self.chunk));
            self.parked.see(records.len());
            let pause = self.fold_chunk(&fetched.at, &records.iter().collect::<Vec<_>>(), folded).await?;
            let before_pause = |record: &&Record| pause.as_ref().is_none_or(|at| record.offset < at.offset());
            if let Some(last) = records.iter().rfind(before_pause) {
                folded.next = last.offset + 1;
                folded.time_ms = last.timestamp_ms;
            }
            rest = after;
            if let Some(pause) = pause {
                self.commit(folded).await?;
                let offset = pause.offset();
                self.activity.at(offset);
                self.pass(folded.place, offset, pause).await?;
                folded.passage.iter_mut().for_each(Passage::pass_held);
                let passed = fetched.records.partition_point(|record| record.offset <= offset);
                rest = &fetched.records[passed..];
                folded.next = offset + 1;
            }
            let rows = folded.touched.rows.len() + self.parked.changed();
            if rows >= rows_max || folded.touched.bytes >= bytes_max {
                self.commit(folded).await?;
            }
        }
        folded.next = fetched.next;
        Ok(())
    }

    /// Folds a few records of a partition into their rows. Ends early at one at which folding must pause.
    async fn fold_chunk(
        &mut self,
        at: &TopicPartition,
        records: &[&Record],
        folded: &mut Folded,
    ) -> Result<Option<Barrier>, Halt> {
        self.activity.enter_at(Stage::Routing, folded.place, records[0].offset);
        let decode = folded.spans.decode.clone();
        let Folded { touched, passage, .. } = &mut *folded;
        let (touches, pause) = decode.in_scope(|| match passage {
            None => Ok(self.sort(at, (records, 0), touched)),
            Some(passage) => self.sort_relayed(at, records, (touched, passage)),
        })?;
        if self.projection.kind != UpdateKind::BlindSet {
            let load = folded.spans.load.clone();
            let bytes_max = self.batch_bytes_max();
            self.load_chunk(&mut folded.touched, bytes_max).instrument(load).await?;
            let rows = touches.iter().map(|(place, _)| &folded.touched.rows[*place]);
            look_at(rows.filter_map(|work| Some(work.row.as_ref()?.state.as_ref()?.as_slice())));
        }
        self.activity.enter(Stage::Folding);
        folded.tally.events(touches.len());
        let activity = self.activity();
        let due = touches.into_iter().map(|(row, touch)| {
            let order = touch.offset();
            activity.at(order);
            Due { row, order, touch }
        });
        let rows = &mut folded.touched.rows;
        folded.spans.fold.in_scope(|| match folded.is_by_key {
            true => self.take_each(rows, due),
            false => self.take_all(rows, due),
        });
        Ok(pause)
    }

    /// Loads the rows of a chunk, and fits the next one to their size.
    async fn load_chunk(&mut self, touched: &mut Touched, bytes_max: usize) -> Result<(), Halt> {
        self.activity.enter(Stage::Loading);
        let before = touched.bytes;
        self.load(touched).await?;
        self.fit_chunk(touched.bytes - before, bytes_max);
        Ok(())
    }

    /// Fits what is loaded at once to how large rows are: less than a batch may hold, even where they grow suddenly.
    fn fit_chunk(&mut self, loaded: usize, bytes_max: usize) {
        if loaded > bytes_max / 8 {
            self.chunk = (self.chunk / 2).max(1);
        } else if loaded < bytes_max / 32 {
            self.chunk = (self.chunk * 2).min(CHUNK_RECORDS);
        }
    }

    /// Goes past a record at which folding paused, now that all before it is written. `order` is what its writes are
    /// stamped with.
    async fn pass(&mut self, place: usize, order: Offset, barrier: Barrier) -> Result<(), Halt> {
        match barrier {
            Barrier::Stop(offset, reason) => {
                let at = self.places[place].at.clone();
                Err(Halt::UnknownType { position: Position { at, offset }.to_string(), reason })
            }
            Barrier::Range(offset, ranges, event) => {
                let Place { at, base, .. } = &self.places[place];
                let (place, base) =
                    (QueuedEvent { at: at.clone(), offset, order, time_ms: event.time_ms }, *base);
                self.delete_ranges((&place, base), &ranges, &event).await
            }
        }
    }

    fn mark(&self, place: usize, (next, end): (Offset, Offset), time_ms: i64) -> ProgressMark {
        self.places[place].mark(&self.projection, (next, end), time_ms)
    }
}

/// Bytes of what was fetched.
fn len_bytes(fetched: &Fetched) -> usize {
    fetched.records.iter().map(Record::len_bytes).sum()
}

impl Input {
    /// Waits for records: those of one partition, or `None` where the merge has some at hand.
    async fn next(&mut self, bytes_max: usize) -> Result<Option<Fetched>, SourceError> {
        match self {
            Input::Turns(reader) => reader.next(bytes_max).await.map(Some),
            Input::Merged(merge) => merge.wait().await.map(|()| None),
        }
    }

    fn more(&mut self, bytes_max: usize) -> Result<Option<Fetched>, SourceError> {
        match self {
            Input::Turns(reader) => reader.more(bytes_max),
            Input::Merged(_) => Ok(None),
        }
    }
}
