//! `kinora project`: the write loops of one process among several that share the partitions.
//!
//! Comes in: what the [`Group`] says is this process's. Goes out: loops over just those partitions, drained before a
//! partition is handed over. A change of what is ours ends the loops that it concerns and opens them anew where the store
//! stands: what they remembered is read again. A loop that finds its partition taken by another ends the whole process: who
//! does not know what is its own must not go on.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::engine::live::{Made, active_of, status_of};
use crate::engine::loops::{self, LoopSettings, Loops, Worker};
use crate::engine::reading::topics_of as topics_known;
use crate::engine::relaying::{Relaying, place_of};
use crate::engine::who;
use crate::engine::{Definitions, EngineError, ProjectionStatus, Status, TopicStatus};
use crate::event::{Offset, TopicPartition};
use crate::handler::{Projection, UpdateKind};
use crate::observe::metrics;
use crate::project::budget::Budget;
use crate::project::relay::Course;
use crate::project::retry::ParkedRequest;
use crate::project::{Halt, ProjectorState, Scope, folded_topics, topics_of};
use crate::source::group::{Change, Group, Revoked};
use crate::source::{Source, SourceError, TopicInfo};
use crate::store::coordination::{Pause, Worker as Said};
use crate::store::{Internal, Owner, Profile, Store, StoreError, Tables};

/// How often the group is told how far partitions are worked.
const REPORT_EVERY: Duration = Duration::from_secs(5);

/// How often the store is asked whether our partitions are ours still.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// How long the log may take to say its ends where somebody wants to see them.
const ASK_MAX: Duration = Duration::from_secs(1);

/// Least and longest pause before loops that could not be opened are tried again.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// One process that folds.
pub struct Projecting {
    definitions: Arc<Definitions>,
    generation: u32,
    tables: Arc<dyn Tables>,
    source: Arc<dyn Source>,
    made: Made,
    loops: Loops,
    held: Mutex<Held>,
    /// What others know this process by: drawn when it began, and `host:pid`.
    name: (u128, Box<str>),
}

/// Partitions that a status is of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    All,
    /// Those that loops of this process work.
    Worked,
}

/// What is this process's now.
#[derive(Default)]
struct Held {
    partitions: BTreeSet<TopicPartition>,
    workers: Vec<Arc<Worker>>,
    relays: Vec<Arc<Relaying>>,
}

/// Loops and relays that are to be ended, and projections that are to be opened over other partitions, or relayed.
struct Due {
    ended: Vec<Arc<Worker>>,
    opened: Vec<(Arc<Projection>, Vec<TopicPartition>)>,
    unrelayed: Vec<Arc<Relaying>>,
    relayed: Vec<(Arc<Projection>, Internal)>,
}

impl Projecting {
    /// Opens the generation that answers, for the definitions that made it.
    ///
    /// # Errors
    /// [`EngineError::NothingApplied`], [`EngineError::OtherDefinitions`]; a topic is missing; the store or the log fails.
    pub async fn open(
        definitions: Arc<Definitions>,
        store: &dyn Store,
        source: Arc<dyn Source>,
        settings: LoopSettings,
    ) -> Result<Arc<Projecting>, EngineError> {
        let manifest = store.manifest().await?.ok_or(EngineError::NothingApplied)?;
        let generation = active_of(&manifest, &definitions)?;
        let made = Made::of(&manifest, generation);
        for projection in &definitions.projections {
            let internal = made.internal_of(projection);
            let is_merged = projection.kind == UpdateKind::MergedFold;
            if is_merged && internal.is_none() && store.profile() == Profile::Stamped {
                return Err(Halt::NoInternal { projection: projection.name.to_string() }.into());
            }
            topics_of(projection, source.as_ref()).await?;
            folded_topics(projection, internal, source.as_ref()).await?;
        }
        let tables = store.open(generation, &definitions.plan).await?;
        let loops = Loops::new(Arc::clone(&source), settings);
        loops.watchdog.begin();
        let (held, name) = (Mutex::default(), (fastrand::u128(..), who::process().into()));
        tracing::info!(generation, definitions = definitions.hash, "Generation is folded.");
        Ok(Arc::new(Projecting { definitions, generation, tables, source, made, loops, held, name }))
    }

    /// The topics that the projections are folded from: their partitions are shared among processes.
    pub fn topics(&self) -> Vec<Arc<str>> {
        let all = self.definitions.projections.iter().flat_map(|projection| self.made.folded(projection));
        let names: BTreeSet<Arc<str>> = all.collect();
        names.into_iter().collect()
    }

    /// Works what the group says until told to stop; then ends the loops and lets go of the partitions.
    ///
    /// # Errors
    /// A partition was taken by another process, or this one is out of the group. The loops have ended then too. Where it was
    /// told to stop: a projection had halted.
    pub async fn run(
        &self,
        group: &mut dyn Group,
        mut stop: watch::Receiver<bool>,
    ) -> Result<(), EngineError> {
        let mut report = tokio::time::interval(REPORT_EVERY);
        report.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut pause, mut is_due) = (PAUSE.0, false);
        let stopped = async { stop.wait_for(|stop| *stop).await.map(|_| ()) };
        let (lost, errands) = (self.lost(), self.run_errands());
        tokio::pin!(stopped, lost, errands);
        let ended = loop {
            tokio::select! {
                biased;
                _ = &mut stopped => break Ok(()),
                lost = &mut lost => break Err(lost),
                change = group.change() => {
                    let revoked = match self.take(change) {
                        Ok(revoked) => revoked,
                        Err(error) => break Err(error),
                    };
                    self.end_due().await;
                    // Nothing is under way there any more: whoever comes next begins where the store stands.
                    drop(revoked);
                    (pause, is_due) = (PAUSE.0, true);
                }
                () = tokio::time::sleep(pause), if is_due => match self.open_due().await {
                    Ok(()) => (pause, is_due) = (PAUSE.0, false),
                    Err(Halt::Store(StoreError::Unavailable(reason)))
                    | Err(Halt::Source(SourceError::Unavailable(reason))) => {
                        tracing::warn!(%reason, "Projections could not be opened; it is tried again.");
                        pause = (pause * 2).min(PAUSE.1);
                    }
                    Err(halt) => break Err(halt.into()),
                },
                _ = report.tick() => group.report(&self.progress()),
                never = &mut errands => match never {},
            }
        };
        let said = self.as_workers();
        let Held { workers, relays, .. } = std::mem::take(&mut *self.held());
        stop_all(&relays).await;
        loops::stop(&workers).await;
        self.settle(&workers).await;
        self.leave(&said).await;
        group.report(&self.progress());
        ended?;
        // Told to end, it still says what had halted before.
        for worker in &workers {
            if let ProjectorState::Halted(reason) = &*worker.background.state.borrow() {
                let projection = worker.projection.name.to_string();
                return Err(EngineError::Stopped { projection, reason: reason.clone() });
            }
        }
        for relay in &relays {
            if let ProjectorState::Halted(reason) = &*relay.background.state.borrow() {
                let projection = relay.projection.name.to_string();
                return Err(EngineError::Stopped { projection, reason: reason.clone() });
            }
        }
        Ok(())
    }

    /// What is being done.
    pub async fn status(&self) -> Status {
        self.status_within(&self.source.topics().await.unwrap_or_default(), Which::All)
    }

    /// As [`Projecting::status`], of the partitions that are this process's: it knows them as they are now. The log is asked
    /// for the topics that are read, and not for long; else their ends are as the loops saw them last.
    pub(super) async fn status_of_ours(&self) -> Status {
        let mut names = self.topics();
        let relayed = self.held().relays.clone();
        names.extend(relayed.iter().flat_map(|relay| relay.projection.topics().cloned()));
        names.sort();
        names.dedup();
        let asked = futures_util::future::try_join_all(names.iter().map(|name| self.source.topic(name)));
        let topics = match tokio::time::timeout(ASK_MAX, asked).await {
            Ok(Ok(topics)) => topics.into_iter().flatten().collect(),
            _ => topics_known(&self.tables.progress()),
        };
        self.status_within(&topics, Which::Worked)
    }

    /// The budget that all write loops share.
    pub fn budget(&self) -> &Arc<Budget> {
        &self.loops.budget
    }

    fn status_within(&self, topics: &[TopicInfo], which: Which) -> Status {
        let (workers, relays) = {
            let held = self.held();
            (held.workers.clone(), held.relays.clone())
        };
        let of = |projection: &Arc<Projection>| -> ProjectionStatus {
            let worker = workers.iter().find(|worker| worker.projection.name == projection.name);
            let relay = relays.iter().find(|relay| relay.projection.name == projection.name);
            // Until a loop is opened, what is known of its partitions is of another time.
            let is_looked_at = |at: &TopicPartition| {
                which == Which::All
                    || worker.is_some_and(|worker| worker.partitions.contains(at))
                    || relay.is_some() && projection.topics().any(|topic| *topic == at.topic)
            };
            let at = (self.generation, self.tables.as_ref(), &self.made);
            let mut status = status_of(
                projection,
                at,
                (topics, &is_looked_at),
                (worker.map(Arc::as_ref), Some(&self.loops.watchdog)),
            );
            if let Some(told) = relay.and_then(|relay| relay.shown()) {
                status.state = told;
            }
            status
        };
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            generation: self.generation,
            definitions: self.definitions.hash.clone(),
            building: None,
            projections: self.definitions.projections.iter().map(of).collect(),
            topics: topics.iter().filter(|topic| self.reads(&topic.name)).map(TopicStatus::of).collect(),
            log_halted: None,
            diagnostics: Vec::new(),
        }
    }

    /// The definitions that are worked.
    pub fn definitions(&self) -> &Arc<Definitions> {
        &self.definitions
    }

    /// Where the loop over a partition is asked for steps; `None` where none runs here.
    pub(super) fn parked_queue_of(
        &self,
        projection: &str,
        at: &TopicPartition,
    ) -> Option<mpsc::Sender<ParkedRequest>> {
        let held = self.held();
        let worker = held.workers.iter().find(|worker| *worker.projection.name == *projection)?;
        worker.desk().filter(|_| worker.partitions.contains(at))
    }

    /// As whom this process works a partition of a projection; `None` where it does not.
    pub(super) fn owner_of(&self, projection: &str, at: &TopicPartition) -> Option<Owner> {
        let held = self.held();
        let worker = held.workers.iter().find(|worker| *worker.projection.name == *projection)?;
        worker.owners.iter().find(|owner| owner.at == *at).cloned()
    }

    /// What each loop works and does, as others are told.
    pub(super) fn as_workers(&self) -> Vec<Said> {
        let held = self.held();
        let progress = self.tables.progress();
        let said = |worker: &Arc<Worker>| {
            let projection = Arc::clone(&worker.projection.name);
            let stall = self.loops.watchdog.stall_of(self.generation, &projection);
            let relay = held.relays.iter().find(|relay| relay.projection.name == projection);
            let mut partitions: Vec<(TopicPartition, u64)> =
                worker.owners.iter().map(|owner| (owner.at.clone(), owner.epoch)).collect();
            if relay.is_some() {
                // Nobody needs to take what is relayed: its epoch stays 0.
                let sources = progress.sources.iter().filter(|mark| mark.projection == projection);
                partitions.extend(sources.map(|mark| (mark.at.clone(), 0)));
            }
            let state = relay.and_then(|relay| relay.shown());
            Said {
                id: self.name.0,
                process: self.name.1.clone(),
                partitions,
                state: state.unwrap_or_else(|| worker.shown(0, stall.as_ref())).into(),
                projection,
            }
        };
        held.workers.iter().map(said).collect()
    }

    /// Whether something is relayed here: how far its sources are folded depends on others too.
    pub(super) fn relays(&self) -> bool {
        !self.held().relays.is_empty()
    }

    pub(super) fn set_pauses(&self, pauses: &[Pause]) {
        self.held().workers.iter().for_each(|worker| worker.set_pauses(pauses));
    }

    pub(super) fn tables(&self) -> &Arc<dyn Tables> {
        &self.tables
    }

    pub(super) fn source(&self) -> &dyn Source {
        self.source.as_ref()
    }

    fn reads(&self, topic: &str) -> bool {
        let mut projections = self.definitions.projections.iter();
        projections.any(|projection| self.made.topics(projection).iter().any(|read| **read == *topic))
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what is ours now. What is taken away is handed over by whoever drops it.
    fn take(&self, change: Change) -> Result<Option<Revoked>, EngineError> {
        let mut held = self.held();
        let (gone, revoked) = match change {
            Change::Assigned(partitions) => {
                if !partitions.is_empty() {
                    tracing::info!(partitions = shown(&partitions), "Partitions are taken.");
                }
                metrics().partitions_moved("taken", partitions.len());
                held.partitions.extend(partitions);
                return Ok(None);
            }
            Change::Revoked(revoked) => {
                tracing::info!(partitions = shown(&revoked.partitions), "Partitions are handed over.");
                metrics().partitions_moved("handed over", revoked.partitions.len());
                (revoked.partitions.clone(), Some(revoked))
            }
            Change::Lost(partitions) => {
                tracing::warn!(partitions = shown(&partitions), "Partitions are lost to the group.");
                metrics().partitions_moved("lost", partitions.len());
                (partitions, None)
            }
            Change::Failed(error) => return Err(error.into()),
        };
        held.partitions.retain(|at| !gone.contains(at));
        Ok(revoked)
    }

    /// Ends the loops over partitions that are not all of what is ours, and waits until each has committed.
    async fn end_due(&self) {
        let due = self.due();
        stop_all(&due.unrelayed).await;
        loops::stop(&due.ended).await;
        self.settle(&due.ended).await;
        let is_ended = |worker: &Arc<Worker>| due.ended.iter().any(|ended| Arc::ptr_eq(ended, worker));
        let is_unrelayed =
            |relay: &Arc<Relaying>| due.unrelayed.iter().any(|ended| Arc::ptr_eq(ended, relay));
        let mut held = self.held();
        held.workers.retain(|worker| !is_ended(worker));
        held.relays.retain(|relay| !is_unrelayed(relay));
    }

    /// Says of loops that ended in order that they have left nothing under way. What is not said costs at most that partitions
    /// which nobody takes up for days are refused.
    async fn settle(&self, ended: &[Arc<Worker>]) {
        let in_order = ended.iter().filter(|worker| worker.background.state.borrow().is_in_order());
        let owners: Vec<Owner> = in_order.flat_map(|worker| worker.owners.iter().cloned()).collect();
        if let Err(error) = self.tables.settle(&owners).await {
            tracing::debug!(%error, "Partitions could not be said to be settled.");
        }
    }

    /// Opens loops over what is ours and has none.
    async fn open_due(&self) -> Result<(), Halt> {
        let Due { opened, relayed, .. } = self.due();
        for (projection, partitions) in opened {
            let internal = self.made.internal_of(&projection);
            let scope = Scope { starts: &self.made.starts, partitions: Some(&partitions), internal };
            let at = (self.generation, &self.tables);
            let opened = self.loops.start(&self.definitions, &[projection], at, scope).await?;
            self.held().workers.extend(opened);
        }
        for (projection, internal) in relayed {
            let course = Course {
                projection,
                plan: Arc::clone(&self.definitions.plan),
                tables: Arc::clone(&self.tables),
                source: Arc::clone(&self.source),
                internal,
            };
            let relay = Relaying::start(course, self.made.starts.clone());
            self.held().relays.push(Arc::new(relay));
        }
        Ok(())
    }

    /// What must be done so that every partition of ours is worked, and no other.
    fn due(&self) -> Due {
        let held = self.held();
        let (mut ended, mut opened) = (Vec::new(), Vec::new());
        let (mut unrelayed, mut relayed) = (Vec::new(), Vec::new());
        for projection in &self.definitions.projections {
            if let Some(internal) = self.made.internal_of(projection) {
                let relay = held.relays.iter().find(|relay| relay.projection.name == projection.name);
                match (relay, held.partitions.contains(&place_of(internal))) {
                    (None, true) => relayed.push((Arc::clone(projection), internal.clone())),
                    (Some(relay), false) => unrelayed.push(Arc::clone(relay)),
                    _ => {}
                }
            }
            let folded = self.made.folded(projection);
            let of_it = |at: &&TopicPartition| folded.contains(&at.topic);
            let ours: Vec<TopicPartition> = held.partitions.iter().filter(of_it).cloned().collect();
            let worker = held.workers.iter().find(|worker| worker.projection.name == projection.name);
            match worker {
                Some(worker) if worker.partitions == ours => {}
                Some(worker) => ended.push(Arc::clone(worker)),
                None if ours.is_empty() => {}
                None => opened.push((Arc::clone(projection), ours)),
            }
        }
        Due { ended, opened, unrelayed, relayed }
    }

    /// Waits until a partition of ours turns out to be another's: a loop was refused, or the store says so. A store that does
    /// not answer says nothing.
    async fn lost(&self) -> EngineError {
        loop {
            let workers = self.held().workers.clone();
            for worker in &workers {
                if let ProjectorState::Lost(reason) = &*worker.background.state.borrow() {
                    let projection = worker.projection.name.to_string();
                    return EngineError::Stopped { projection, reason: reason.clone() };
                }
            }
            let owners: Vec<Owner> =
                workers.iter().flat_map(|worker| worker.owners.iter().cloned()).collect();
            match self.tables.check_owners(&owners).await {
                Err(lost @ StoreError::LostOwnership { .. }) if self.holds(&workers) => return lost.into(),
                _ => tokio::time::sleep(CHECK_EVERY).await,
            }
        }
    }

    /// Whether these loops run still: what was ours may be another's as soon as they have ended.
    fn holds(&self, workers: &[Arc<Worker>]) -> bool {
        let held = self.held();
        workers.iter().all(|worker| held.workers.iter().any(|held| Arc::ptr_eq(held, worker)))
    }

    /// The next offset of each partition of ours that some projection has not passed.
    fn progress(&self) -> Vec<(TopicPartition, Offset)> {
        let progress = self.tables.progress();
        let held = self.held();
        let least = |at: &TopicPartition| {
            let projections = self.definitions.projections.iter();
            let read = projections.filter(|one| self.made.folded(one).contains(&at.topic));
            let offsets = read.map(|one| progress.of(&one.name, at).map(|mark| mark.next));
            offsets.min().flatten()
        };
        held.partitions.iter().filter_map(|at| Some((at.clone(), least(at)?))).collect()
    }
}

async fn stop_all(relays: &[Arc<Relaying>]) {
    for relay in relays {
        relay.stop().await;
    }
}

/// Partitions for a log line.
fn shown(partitions: &[TopicPartition]) -> String {
    let names: Vec<String> = partitions.iter().map(|at| format!("{}:{}", at.topic, at.partition)).collect();
    names.join(" ")
}
