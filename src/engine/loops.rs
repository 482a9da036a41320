//! The write loops of a process: opened where the store's progress stands, run, watched, ended.
//!
//! Comes in: definitions, the tables of a generation, and which partitions are this process's. Goes out: [`Worker`]s. What
//! all loops of a process share is in [`Loops`].

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::clock::now_ms;
use crate::engine::Definitions;
use crate::engine::background::Background;
use crate::engine::watchdog::{Stall, Watchdog, Watched};
use crate::event::TopicPartition;
use crate::handler::Projection;
use crate::plan::TablePlan;
use crate::project::budget::Budget;
use crate::project::retry::{ParkedRequest, ParkedRequests};
use crate::project::{Halt, ProjectSettings, Projector, ProjectorState, Scope};
use crate::source::Source;
use crate::store::coordination::Pause;
use crate::store::{Owner, Tables};

/// Steps for parked keys that wait for a projection; whoever asks for more waits until there is room.
const PARKED_REQUESTS: usize = 16;

/// How the write loops of a process run.
#[derive(Clone, Copy, Debug)]
pub struct LoopSettings {
    pub project: ProjectSettings,
    /// Bytes of events and rows that all loops together hold between fetch and commit.
    pub budget_bytes: usize,
    /// Bytes of rows that all loops of a generation together keep between batches.
    pub cache_bytes: usize,
    /// How long a projection may lag without progress before it is said to stand still.
    pub stall: Duration,
}

impl Default for LoopSettings {
    fn default() -> LoopSettings {
        LoopSettings {
            project: ProjectSettings::default(),
            budget_bytes: 128 << 20,
            cache_bytes: 32 << 20,
            stall: Duration::from_secs(30),
        }
    }
}

/// What all write loops of a process share.
pub(super) struct Loops {
    source: Arc<dyn Source>,
    settings: LoopSettings,
    pub budget: Arc<Budget>,
    pub watchdog: Arc<Watchdog>,
}

impl Loops {
    pub fn new(source: Arc<dyn Source>, settings: LoopSettings) -> Loops {
        let budget = Budget::new(settings.budget_bytes);
        let watchdog = Watchdog::new(Arc::clone(&source), settings.stall);
        Loops { source, settings, budget, watchdog }
    }

    /// How one of `count` loops runs.
    pub fn settings_of(&self, count: usize) -> ProjectSettings {
        let mut project = self.settings.project;
        project.cached_bytes_max = project.cached_bytes_max.min(self.settings.cache_bytes / count.max(1));
        project
    }

    /// Opens the loop of each projection, all before the first begins, and starts them.
    ///
    /// # Errors
    /// As [`Projector::open`].
    pub async fn start(
        &self,
        definitions: &Definitions,
        projections: &[Arc<Projection>],
        (generation, tables): (u32, &Arc<dyn Tables>),
        scope: Scope<'_>,
    ) -> Result<Vec<Arc<Worker>>, Halt> {
        let settings = self.settings_of(definitions.projections.len());
        let mut projectors = Vec::with_capacity(projections.len());
        for projection in projections {
            let projector = Projector::open_within(
                Arc::clone(projection),
                Arc::clone(&definitions.plan),
                Arc::clone(tables),
                self.source.as_ref(),
                (settings, now_ms().saturating_mul(1_000)),
                scope,
            );
            projectors.push(projector.await?.within(Arc::clone(&self.budget)));
        }
        let partitions = scope.partitions.unwrap_or_default();
        let pauses = tables.pauses().await?;
        let start = |projector: Projector| {
            let base = definitions.plan.entity(projector.projection().entity).base;
            let base = Arc::clone(definitions.plan.table(base));
            let worker = Worker::start(
                projector,
                (generation, partitions),
                base,
                (Arc::clone(tables), Arc::clone(&self.source)),
                pauses.clone(),
            );
            self.watchdog.watch(&worker.watched);
            Arc::new(worker)
        };
        Ok(projectors.into_iter().map(start).collect())
    }
}

/// The write loop of one projection.
pub(super) struct Worker {
    pub projection: Arc<Projection>,
    /// Those it was opened for; none where it was opened for all.
    pub partitions: Vec<TopicPartition>,
    /// Its partitions, as it has taken them.
    pub owners: Arc<[Owner]>,
    pub background: Background,
    /// Takes what is asked for parked keys.
    pub asked: mpsc::Sender<ParkedRequest>,
    /// What is paused, as far as the loop knows.
    pauses: watch::Sender<Vec<Pause>>,
    pub watched: Arc<Watched>,
}

/// Stops loops, and waits until what each has folded is committed.
pub(super) async fn stop(workers: &[Arc<Worker>]) {
    for worker in workers {
        worker.background.tell();
    }
    for worker in workers {
        if let Err(error) = worker.background.ended().await {
            tracing::error!(projection = %worker.projection.name, %error, "A write loop ended badly.");
        }
    }
}

impl Worker {
    pub fn start(
        projector: Projector,
        (generation, partitions): (u32, &[TopicPartition]),
        base: Arc<TablePlan>,
        (tables, source): (Arc<dyn Tables>, Arc<dyn Source>),
        pauses: Vec<Pause>,
    ) -> Worker {
        let (pauses, heeded) = watch::channel(pauses);
        let projector = projector.heeding(heeded);
        let projection = Arc::clone(projector.projection());
        let (activity, owners, topics) = (projector.activity(), projector.owners(), projector.topics());
        let (ask, asked) = mpsc::channel(PARKED_REQUESTS);
        let mut requests = Some(ParkedRequests { source, asked });
        let background = Background::start(|say, stopped| async move {
            let halted = projector.run_with(&mut requests, say, stopped.clone()).await;
            if let (Some(projector), Some(requests)) = (halted, requests) {
                projector.attend(requests, stopped).await;
            }
        });
        let watched = Arc::new(Watched {
            generation,
            projection: Arc::clone(&projection),
            topics,
            partitions: partitions.to_vec(),
            base,
            tables,
            activity,
            state: background.state.clone(),
        });
        Worker {
            projection,
            partitions: partitions.to_vec(),
            owners,
            background,
            asked: ask,
            pauses,
            watched,
        }
    }

    /// Tells the loop what is paused, where that is news.
    pub fn set_pauses(&self, pauses: &[Pause]) {
        self.pauses.send_if_modified(|known| {
            let changed = known != pauses;
            *known = pauses.to_vec();
            changed
        });
    }

    /// Where steps for parked keys are asked for, also while it has halted; `None` once it has ended.
    pub fn desk(&self) -> Option<mpsc::Sender<ParkedRequest>> {
        (!self.asked.is_closed()).then(|| self.asked.clone())
    }

    /// What hangs, for a person.
    pub fn told_in_vain(&self) -> String {
        format!("projection {:?} did not stop: it is {}", self.projection.name, self.watched.activity.look())
    }

    /// What it is doing, for a person.
    pub fn shown(&self, lag_events: u64, stall: Option<&Stall>) -> String {
        if let Some(reason) = self.halted() {
            return format!("halted: {reason}");
        }
        if let Some(stall) = stall {
            return format!("stalled: {stall}");
        }
        match &*self.background.state.borrow() {
            ProjectorState::Waiting(reason) => format!("waiting: {reason}"),
            ProjectorState::Paused(by) => format!("paused {by}"),
            _ if lag_events > 0 => "catching up".to_owned(),
            _ => "running".to_owned(),
        }
    }

    /// Why the loop does not run any more, though nobody stopped it.
    pub fn halted(&self) -> Option<String> {
        self.background.halted("loop")
    }
}
