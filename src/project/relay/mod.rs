//! From the partitions of sources into an internal topic, where all that concerns a row lies in one partition: how kind C is
//! folded where a store does not apply batches whole.
//!
//! Comes in: the partitions of a projection's sources, merged by time, and how far they are folded. Goes out: their records,
//! each into the partitions whose rows it concerns (`share`), with where it came from, and marks of how far sources have come
//! (`envelope`). `fold` is the other side. A relay remembers nothing: it begins where the sources are folded, and what it then
//! appends again is passed by the fold. So two relays at once do no harm, nor does one that was thought dead: each appends the
//! records of a source in their order and without gaps.

mod envelope;
mod fold;
mod share;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use self::share::Came;
use super::merge::Merge;
use super::place::{Place, internal_topic, places, topics_of};
use super::run::{Backoff, say};
use super::{Halt, ProjectorState, Scope};
use crate::event::{Record, TopicPartition};
use crate::handler::Projection;
use crate::plan::{Plan, TablePlan};
use crate::route::{Routed, route};
use crate::source::{Appender, NewRecord, Source, SourceError};
use crate::store::{Come, Internal, Relayed, StoreError, Tables};

pub(super) use fold::Passage;

/// Most records of sources, and most bytes of them about, that are on their way at once.
const AT_ONCE: (usize, usize) = (4_000, 1 << 20);

/// Bytes of records that are held before they are merged, about.
const HELD_BYTES: usize = 4 << 20;

/// How often at most it is said how far sources have come: who waits for a position waits so much longer.
const MARK_EVERY: Duration = Duration::from_millis(100);

/// How often at least: brokers forget producers that are silent for long.
const MARK_AT_LEAST: Duration = Duration::from_secs(3_600);

/// Records by which a relay is ahead of the fold at most, about: so many are appended once more after a crash.
const AHEAD_MAX: u64 = 100_000;

/// How long a partition that holds up the others may be silent before it is said.
const SILENT_MAX: Duration = Duration::from_secs(30);

/// How often it is looked whether the fold has come nearer.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Relays what one projection reads.
pub struct Relay {
    projection: Arc<Projection>,
    base: Arc<TablePlan>,
    tables: Arc<dyn Tables>,
    source: Arc<dyn Source>,
    internal: Internal,
    appender: Box<dyn Appender>,
    merge: Merge,
    /// One for each partition of each source: all before `next` is in the internal topic.
    places: Vec<Place>,
    /// When it was said last how far sources have come.
    marked: Instant,
    /// Whether they have come further since.
    is_unmarked: bool,
    /// When records came last, and whether it is said that others have not come since.
    came: Instant,
    is_held_up: bool,
    /// Records appended since it was looked how far the fold is.
    unseen: u64,
}

/// What a relay works on.
#[derive(Clone)]
pub struct Course {
    pub projection: Arc<Projection>,
    pub plan: Arc<Plan>,
    pub tables: Arc<dyn Tables>,
    pub source: Arc<dyn Source>,
    pub internal: Internal,
}

impl Relay {
    /// Begins where the sources are folded, and says so in every partition of the internal topic.
    ///
    /// # Errors
    /// A topic is missing, was created anew, or no longer holds the next event; the store or the log fails.
    pub async fn open(course: &Course, scope: Scope<'_>) -> Result<Relay, Halt> {
        let Course { projection, plan, tables, source, internal } = course.clone();
        // Progress first: read after the ends of the log, it could lie beyond them, and the log would seem cut off.
        tables.reload_progress().await?;
        internal_topic(&internal, source.as_ref()).await?;
        let topics = topics_of(&projection, source.as_ref()).await?;
        let (mut at, mut ends) = (Vec::new(), Vec::new());
        let scope = Scope { partitions: None, ..scope };
        for topic in &topics {
            at.extend(places(&projection, topic, tables.as_ref(), (0, scope))?);
            ends.extend(topic.partitions.iter().map(|partition| partition.end));
        }
        let mut merge = Merge::open(source.as_ref(), &at, HELD_BYTES).await?;
        merge.wait_for_all(&ends);
        let appender = source.appender(&internal.topic).await?;
        let base = Arc::clone(plan.table(plan.entity(projection.entity).base));
        let mut relay = Relay {
            projection,
            base,
            tables,
            source,
            internal,
            appender,
            merge,
            places: at,
            marked: Instant::now(),
            is_unmarked: false,
            came: Instant::now(),
            is_held_up: false,
            unseen: 0,
        };
        // Alone, before anything else: from then on brokers refuse what would come out of turn.
        let begins = envelope::marks(&relay.come(), true).collect();
        relay.appender.append(begins).await?;
        Ok(relay)
    }

    /// Waits for records, and appends those at hand; or says how far sources have come.
    ///
    /// # Errors
    /// The log or the store fails. Then this relay is at its end; so it is where the future is dropped. Another begins where
    /// the sources are folded.
    pub async fn step(&mut self) -> Result<(), Halt> {
        let due = self.marked + if self.is_unmarked { MARK_EVERY } else { MARK_AT_LEAST };
        let is_waiting = self.merge.lacking().is_some() && !self.is_held_up;
        let mut records = tokio::select! {
            waited = self.merge.wait() => {
                waited?;
                (self.came, self.is_held_up) = (Instant::now(), false);
                self.take()?
            }
            () = tokio::time::sleep_until(due) => Vec::new(),
            () = tokio::time::sleep_until(self.came + SILENT_MAX), if is_waiting => {
                self.is_held_up = true;
                Vec::new()
            }
        };
        self.unseen += records.len() as u64;
        if due <= Instant::now() {
            records.extend(envelope::marks(&self.come(), false));
            (self.marked, self.is_unmarked) = (Instant::now(), false);
        }
        if !records.is_empty() {
            self.appender.append(records).await?;
        }
        if self.unseen >= AHEAD_MAX / 4 {
            self.stay_near().await?;
        }
        Ok(())
    }

    /// The partition that holds up the others, for a person.
    fn held_up(&self) -> Option<String> {
        let place = &self.places[self.merge.lacking().filter(|_| self.is_held_up)?];
        let (topic, partition, next) = (&place.at.topic, place.at.partition, place.next);
        Some(format!(
            "{topic}:{partition} has records from {next} on that have not come for {} s, and what is newer elsewhere waits for them",
            SILENT_MAX.as_secs()
        ))
    }

    /// Relays until told to stop, beginning anew wherever the log or the store do not answer; says what it is doing. Ends by
    /// itself only when it halts.
    pub async fn run(
        (course, scope): (Course, Scope<'_>),
        state: watch::Sender<ProjectorState>,
        mut stop: watch::Receiver<bool>,
    ) {
        let mut pause = Backoff::default();
        loop {
            let ended = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                halt = relay(&course, scope, (&state, &mut pause)) => halt,
            };
            let projection = &course.projection.name;
            match ended {
                Halt::Store(StoreError::Unavailable(reason))
                | Halt::Source(SourceError::Unavailable(reason)) => {
                    tracing::warn!(%projection, %reason, "Relaying begins anew.");
                    say(&state, ProjectorState::Waiting(reason));
                }
                halt => {
                    tracing::error!(%projection, reason = %halt, "Relaying halted.");
                    return say(&state, ProjectorState::Halted(halt.to_string()));
                }
            }
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                () = tokio::time::sleep(pause.next()) => {}
            }
        }
    }

    /// Takes what is at hand, in the order of its times, for the partitions that it concerns.
    fn take(&mut self) -> Result<Vec<NewRecord>, Halt> {
        let (mut records, mut count, mut bytes) = (Vec::new(), 0, 0);
        while count < AT_ONCE.0 && bytes < AT_ONCE.1 {
            let Some((place, record)) = self.merge.take()? else { break };
            self.relay(place, &record, &mut records);
            count += 1;
            bytes += record.len_bytes();
        }
        // What lies between records moves on as well.
        for (place, known) in self.places.iter_mut().enumerate() {
            let next = self.merge.next(place);
            self.is_unmarked |= next != known.next;
            known.next = next;
        }
        Ok(records)
    }

    fn relay(&mut self, place: usize, record: &Record, records: &mut Vec<NewRecord>) {
        let place = &mut self.places[place];
        let routed = route(&self.projection, &self.base, &place.at, record);
        let came = Came { at: &place.at, record };
        for partition in came.homes(&routed, self.internal.partitions) {
            records.push(envelope::wrap(&place.at, record, (partition, self.internal.partitions)));
        }
        place.time_ms = record.timestamp_ms;
    }

    /// How far sources have come.
    fn come(&self) -> Relayed {
        let mut relayed = Relayed { partitions: self.internal.partitions, sources: Vec::new() };
        for (number, Place { at, topic_id, next, time_ms, .. }) in self.places.iter().enumerate() {
            let end = self.merge.end(number).max(*next);
            relayed.add(Come { at: at.clone(), topic_id: *topic_id, next: *next, end, time_ms: *time_ms });
        }
        relayed
    }

    /// Waits while the fold is too far behind.
    async fn stay_near(&mut self) -> Result<(), Halt> {
        loop {
            self.tables.reload_progress().await?;
            let progress = self.tables.progress();
            let topic = internal_topic(&self.internal, self.source.as_ref()).await?;
            let ahead = topic.all().map(|(at, info)| {
                let folded = progress.of(&self.projection.name, &at).map_or(info.start, |mark| mark.next);
                info.end.saturating_sub(folded)
            });
            if ahead.sum::<u64>() < AHEAD_MAX {
                self.unseen = 0;
                return Ok(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// What a record means to a projection, read from one of its sources or from its internal topic.
pub fn route_wherever(
    projection: &Projection,
    base: &TablePlan,
    at: &TopicPartition,
    record: &Record,
) -> Routed {
    let is_source = projection.topics().any(|topic| *topic == at.topic);
    match envelope::open(record) {
        Ok(envelope::Opened::Event { at, record, .. }) if !is_source => route(projection, base, &at, &record),
        _ => route(projection, base, at, record),
    }
}

/// Relays until that fails.
async fn relay(
    course: &Course,
    scope: Scope<'_>,
    (state, pause): (&watch::Sender<ProjectorState>, &mut Backoff),
) -> Halt {
    let mut relay = match Relay::open(course, scope).await {
        Ok(relay) => relay,
        Err(halt) => return halt,
    };
    loop {
        say(state, relay.held_up().map_or(ProjectorState::Running, ProjectorState::Waiting));
        if let Err(halt) = relay.step().await {
            return halt;
        }
        pause.reset();
    }
}
