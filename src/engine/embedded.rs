//! The engine in one process: an embedded log, a store, the write loops and the graph.
//!
//! Definitions that differ from those of the active generation are built as a new generation from the log's
//! start, while the old one answers and goes on folding; when the new one has caught up it takes the old one's
//! place by one write of the manifest, and the old tables are dropped once no request uses them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::clock::now_ms;
use crate::engine::live::{Live, Made, hash_of};
use crate::engine::loops::{LoopSettings, Loops};
use crate::engine::starts::starts;
use crate::engine::{AnswerSettings, Building, Definitions, EngineError, Serving, Status, TopicStatus};
use crate::event::{Offset, Position, TopicPartition};
use crate::project::budget::Budget;
use crate::project::retry::ParkedRequest;
use crate::project::{ProjectSettings, Scope};
use crate::source::broker::Broker;
use crate::source::{NewRecord, Source, SourceError};
use crate::store::coordination::Pause;
use crate::store::{Began, Generation, Manifest, Store};

/// How an embedded engine runs.
#[derive(Clone, Debug)]
pub struct EmbeddedSettings {
    pub loops: LoopSettings,
    pub answers: AnswerSettings,
    /// Partitions of topics that are made here, by name.
    pub partitions: BTreeMap<String, u32>,
    /// Partitions of any other topic.
    pub partitions_default: u32,
}

impl EmbeddedSettings {
    /// Every setting at its default, and a key for cursors: the same one after a restart, or cursors that clients hold
    /// are refused.
    pub fn new(cursor_secret: impl Into<Vec<u8>>) -> EmbeddedSettings {
        EmbeddedSettings {
            loops: LoopSettings::default(),
            answers: AnswerSettings::new(cursor_secret),
            partitions: BTreeMap::new(),
            partitions_default: PARTITIONS_DEFAULT,
        }
    }
}

/// How often a step of the sweep is done, how many rows one looks at, and how long a row must have been over.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
const SWEEP_ROWS: usize = 2_000;
const SWEEP_AFTER_MS: i64 = 60_000;

/// Partitions of a topic that nothing is said of.
const PARTITIONS_DEFAULT: u32 = 4;

/// What [`Embedded::look`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looked {
    /// The generation that answered last; it is open now.
    Opened,
    /// No generation at all.
    Empty,
    /// A generation that other definitions made.
    OtherDefinitions,
}

/// Definitions at work on an embedded log and a store.
pub struct Embedded {
    broker: Arc<Broker>,
    store: Arc<dyn Store>,
    settings: EmbeddedSettings,
    /// The generation that answers. `None` until the first has caught up.
    live: RwLock<Option<Arc<Live>>>,
    /// The generation under construction.
    building: Mutex<Option<Building>>,
    /// Why the last change of definitions was not taken over.
    refused: RwLock<Vec<String>>,
    /// One change of generation at a time.
    changing: tokio::sync::Mutex<()>,
    /// Counts the calls of [`Embedded::give_up_building`].
    given_up: watch::Sender<u64>,
    /// One step for a parked key at a time, where no loop does it.
    stepping: tokio::sync::Mutex<()>,
    loops: Loops,
}

impl Embedded {
    /// Opens a log and a store with definitions, and waits until they answer: at once where the active generation
    /// was made by these definitions, else when a new one has caught up.
    ///
    /// # Errors
    /// The log or the store fails, or a projection halts before it has caught up.
    pub async fn start(
        broker: Arc<Broker>,
        store: Arc<dyn Store>,
        definitions: Arc<Definitions>,
        settings: EmbeddedSettings,
    ) -> Result<Arc<Embedded>, EngineError> {
        let engine = Embedded::idle(broker, store, settings);
        engine.take_over(definitions).await?;
        engine.sweep_on();
        engine.watch_on();
        Ok(engine)
    }

    /// Watches for write loops that stand still, until the engine is dropped.
    pub fn watch_on(&self) {
        self.loops.watchdog.begin();
    }

    /// The budget that all write loops share.
    pub fn budget(&self) -> &Arc<Budget> {
        &self.loops.budget
    }

    /// Frees rows whose time is over, a few each second, until the engine is dropped: what is over for a minute, so that
    /// no request still asks for the time before.
    pub fn sweep_on(self: &Arc<Self>) {
        let engine = Arc::downgrade(self);
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(SWEEP_EVERY);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let Some(engine) = engine.upgrade() else { return };
                let Some(serving) = engine.serving() else { continue };
                match serving.tables.sweep(now_ms().saturating_sub(SWEEP_AFTER_MS), SWEEP_ROWS).await {
                    Ok(swept) if swept.freed > 0 => {
                        tracing::debug!(freed = swept.freed, "Swept rows whose time is over.")
                    }
                    Ok(_) => {}
                    Err(reason) => tracing::warn!(%reason, "Sweeping failed; it is tried again."),
                }
            }
        });
    }

    /// An engine without definitions yet: it takes events, and answers nothing until [`Embedded::take_over`].
    pub fn idle(broker: Arc<Broker>, store: Arc<dyn Store>, settings: EmbeddedSettings) -> Arc<Embedded> {
        let loops = Loops::new(Arc::clone(&broker) as _, settings.loops);
        Arc::new(Embedded {
            broker,
            store,
            settings,
            live: RwLock::new(None),
            building: Mutex::new(None),
            refused: RwLock::new(Vec::new()),
            changing: tokio::sync::Mutex::new(()),
            given_up: watch::Sender::new(0),
            stepping: tokio::sync::Mutex::new(()),
            loops,
        })
    }

    /// Makes these definitions the ones that answer. The present ones answer until the new ones have caught up;
    /// if that fails they stay.
    ///
    /// # Errors
    /// As [`Embedded::start`]; [`EngineError::GivenUp`] where [`Embedded::give_up_building`] came in between.
    pub async fn take_over(&self, definitions: Arc<Definitions>) -> Result<(), EngineError> {
        let given_up = self.given_up.subscribe();
        let _one_at_a_time = self.changing.lock().await;
        if self.live().is_some_and(|live| live.definitions.hash == definitions.hash) {
            self.set_refused(Vec::new());
            return Ok(());
        }
        self.make_topics(&definitions)?;
        let manifest = self.store.manifest().await?;
        let active = manifest.as_ref().and_then(|manifest| hash_of(manifest, manifest.active));
        if let (Some(manifest), true) = (&manifest, active == Some(definitions.hash.as_str())) {
            let live = self.work(manifest, manifest.active, &definitions).await?;
            self.switch(live);
        } else {
            self.build(manifest, definitions, given_up).await?;
        }
        self.set_refused(Vec::new());
        Ok(())
    }

    /// Ends the building of a generation that newer definitions have overtaken: [`Embedded::take_over`] then fails, and
    /// what answers goes on. Does nothing while none is being built.
    pub fn give_up_building(&self) {
        self.given_up.send_modify(|count| *count += 1);
    }

    /// Remembers why changed definitions were not taken over, for the status page.
    pub fn set_refused(&self, diagnostics: Vec<String>) {
        *self.refused.write().unwrap_or_else(PoisonError::into_inner) = diagnostics;
    }

    /// What answers now; a request keeps it to its end. `None` until the first generation has caught up.
    pub fn serving(&self) -> Option<Arc<Serving>> {
        self.live().map(|live| Arc::clone(&live.serving))
    }

    /// The generation under construction, if there is one.
    pub fn building(&self) -> Option<Building> {
        self.building.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The log that events are published to.
    pub fn broker(&self) -> &Arc<Broker> {
        &self.broker
    }

    /// The definitions that answer.
    pub fn definitions(&self) -> Option<Arc<Definitions>> {
        self.live().map(|live| Arc::clone(&live.definitions))
    }

    /// Appends records to a topic, making it where it is not there, and answers their positions once durable.
    ///
    /// # Errors
    /// The topic's name is not one, or the log fails: then nothing was written, or it may have been in part.
    pub async fn publish(&self, topic: &str, records: Vec<NewRecord>) -> Result<Vec<Position>, SourceError> {
        self.make_topic(topic)?;
        self.broker.append(topic, records).await
    }

    /// Waits until every projection has applied all that the log holds now.
    ///
    /// # Errors
    /// A projection has halted.
    pub async fn catch_up(&self) -> Result<(), EngineError> {
        match self.live() {
            Some(live) => self.wait_for(&live, |_| {}).await,
            None => Ok(()),
        }
    }

    /// Stops the write loops and waits for them. What was acknowledged is kept.
    pub async fn shut_down(&self) {
        let live = self.live.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(live) = live {
            live.stop().await;
        }
    }

    /// As [`Embedded::shut_down`], at most so long, and makes sure that what was written is on the disk. Answers what did not
    /// end in time, or failed: one sentence for each.
    pub async fn shut_down_within(&self, at_most: Duration) -> Vec<String> {
        let end = tokio::time::Instant::now() + at_most;
        let live = self.live.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(live) = live
            && tokio::time::timeout_at(end, live.stop()).await.is_err()
        {
            let hung = live.workers.iter().filter(|worker| !worker.background.has_ended());
            return hung.map(|worker| worker.told_in_vain()).collect();
        }
        match tokio::time::timeout_at(end, self.store.persist()).await {
            Ok(Ok(())) => Vec::new(),
            Ok(Err(error)) => vec![format!("the store could not make sure of what it wrote: {error}")],
            Err(_) => vec!["the store did not come back from writing to the disk".to_owned()],
        }
    }

    /// What the engine is doing.
    pub async fn status(&self) -> Status {
        let topics = self.broker.topics().await.unwrap_or_default();
        let live = self.live();
        let projections = live.iter().flat_map(|live| {
            live.definitions
                .projections
                .iter()
                .map(|projection| live.status(projection, &topics, &self.loops.watchdog))
        });
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            generation: live.as_ref().map_or(0, |live| live.serving.generation),
            definitions: live.as_ref().map_or_else(String::new, |live| live.definitions.hash.clone()),
            building: self.building(),
            projections: projections.collect(),
            topics: topics.iter().map(TopicStatus::of).collect(),
            log_halted: self.broker.halted(),
            diagnostics: self.refused.read().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// Opens the generation that answered last, without folding: for commands that look at data while no process
    /// runs.
    ///
    /// # Errors
    /// The store fails, or the schema cannot be served.
    pub async fn look(&self, definitions: &Arc<Definitions>) -> Result<Looked, EngineError> {
        let manifest = self.store.manifest().await?;
        let Some(manifest) = manifest else { return Ok(Looked::Empty) };
        if hash_of(&manifest, manifest.active) != Some(definitions.hash.as_str()) {
            return Ok(Looked::OtherDefinitions);
        }
        let serving = self.open(manifest.active, definitions).await?;
        let made = Made::of(&manifest, manifest.active);
        self.switch(Live { definitions: Arc::clone(definitions), serving, workers: Vec::new(), made });
        Ok(Looked::Opened)
    }

    /// Where the loop of a projection is asked for steps; `None` where none runs.
    pub(super) fn parked_queue_of(&self, projection: &str) -> Option<mpsc::Sender<ParkedRequest>> {
        let live = self.live()?;
        let worker = live.workers.iter().find(|worker| *worker.projection.name == *projection)?;
        worker.desk()
    }

    /// Tells the loops of the generation that answers what is paused.
    pub(super) fn set_pauses(&self, pauses: &[Pause]) {
        self.live().iter().flat_map(|live| &live.workers).for_each(|worker| worker.set_pauses(pauses));
    }

    pub(super) fn stepping(&self) -> &tokio::sync::Mutex<()> {
        &self.stepping
    }

    pub(super) fn project_settings(&self) -> ProjectSettings {
        self.loops.settings_of(1)
    }

    /// Where the generation that answers began.
    pub(super) fn starts(&self) -> Vec<Began> {
        self.live().map(|live| live.made.starts.clone()).unwrap_or_default()
    }

    fn live(&self) -> Option<Arc<Live>> {
        self.live.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn make_topics(&self, definitions: &Definitions) -> Result<(), SourceError> {
        let projections = definitions.projections.iter();
        projections.flat_map(|projection| projection.topics()).try_for_each(|topic| self.make_topic(topic))
    }

    fn make_topic(&self, name: &str) -> Result<(), SourceError> {
        let partitions = self.settings.partitions.get(name).copied();
        let partitions = partitions.unwrap_or(self.settings.partitions_default);
        self.broker.create_topic(name, partitions).map(drop)
    }

    /// Builds a generation for new definitions and lets it take the place of the active one.
    async fn build(
        &self,
        manifest: Option<Manifest>,
        definitions: Arc<Definitions>,
        mut given_up: watch::Receiver<u64>,
    ) -> Result<(), EngineError> {
        let (manifest, generation) = self.register(manifest, &definitions).await?;
        tracing::info!(generation, "Building a generation.");
        let live = self.work(&manifest, generation, &definitions).await?;
        let built = tokio::select! {
            built = self.wait_for(&live, |building| self.set_building(Some(building))) => built,
            _ = given_up.changed() => Err(EngineError::GivenUp(generation)),
        };
        self.set_building(None);
        if let Err(error) = built {
            live.stop().await;
            return Err(error);
        }
        let active = Manifest { active: generation, ..manifest.clone() };
        self.write_manifest(Some(&manifest), &active).await?;
        let old = self.switch(live);
        self.retire(active, generation, old).await
    }

    /// Writes down that a generation exists for these definitions, and where it begins: the one left half-built, if there
    /// is one.
    async fn register(
        &self,
        manifest: Option<Manifest>,
        definitions: &Definitions,
    ) -> Result<(Manifest, u32), EngineError> {
        let hash = definitions.hash.as_str();
        let before = manifest.as_ref().map(|old| Made::of(old, old.active).starts).unwrap_or_default();
        let generation = async |number| {
            let starts = starts(definitions, self.broker.as_ref(), &before).await?;
            Ok::<_, EngineError>(Generation {
                number,
                definitions: hash.to_owned(),
                starts,
                internal: Vec::new(),
            })
        };
        let Some(old) = manifest else {
            let first = Manifest { active: 1, generations: vec![generation(1).await?] };
            self.write_manifest(None, &first).await?;
            return Ok((first, 1));
        };
        let mut others = old.generations.iter().filter(|other| other.number != old.active);
        if let Some(half_built) = others.clone().find(|other| other.definitions == hash) {
            let number = half_built.number;
            return Ok((old, number));
        }
        for stale in &mut others {
            self.store.drop_generation(stale.number).await?;
        }
        let mut new = old.clone();
        new.generations.retain(|kept| kept.number == old.active);
        let newest = old.generations.iter().map(|known| known.number).max().unwrap_or(old.active);
        new.generations.push(generation(newest + 1).await?);
        self.write_manifest(Some(&old), &new).await?;
        Ok((new, newest + 1))
    }

    async fn write_manifest(&self, expected: Option<&Manifest>, new: &Manifest) -> Result<(), EngineError> {
        match self.store.set_manifest(expected, new).await? {
            true => Ok(()),
            false => Err(EngineError::ManifestRace),
        }
    }

    /// Drops every generation but the active one, once no request reads the old one any more.
    async fn retire(
        &self,
        manifest: Manifest,
        active: u32,
        old: Option<Arc<Live>>,
    ) -> Result<(), EngineError> {
        if let Some(old) = old {
            old.stop().await;
            // A request lasts at most its deadline; after a minute the tables go whoever still holds them.
            for _ in 0..600 {
                if Arc::strong_count(&old.serving) == 1 {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        let mut alone = manifest.clone();
        for old in manifest.generations.iter().filter(|old| old.number != active) {
            self.store.drop_generation(old.number).await?;
            alone.generations.retain(|kept| kept.number != old.number);
        }
        if alone != manifest {
            self.write_manifest(Some(&manifest), &alone).await?;
        }
        Ok(())
    }

    /// Opens a generation: its tables, and the graph over them.
    async fn open(&self, generation: u32, definitions: &Definitions) -> Result<Arc<Serving>, EngineError> {
        let tables = self.store.open(generation, &definitions.plan).await?;
        Serving::new(definitions, (generation, tables), &self.settings.answers)
    }

    /// Opens a generation and starts its write loops.
    async fn work(
        &self,
        manifest: &Manifest,
        generation: u32,
        definitions: &Arc<Definitions>,
    ) -> Result<Live, EngineError> {
        let made = Made::of(manifest, generation);
        let serving = self.open(generation, definitions).await?;
        let scope = Scope { starts: &made.starts, ..Scope::default() };
        let at = (generation, &serving.tables);
        let workers = self.loops.start(definitions, &definitions.projections, at, scope).await?;
        Ok(Live { definitions: Arc::clone(definitions), serving, workers, made })
    }

    /// Lets a generation answer; gives back the one that did.
    fn switch(&self, live: Live) -> Option<Arc<Live>> {
        tracing::info!(
            generation = live.serving.generation,
            definitions = live.definitions.hash,
            "Generation answers."
        );
        self.live.write().unwrap_or_else(PoisonError::into_inner).replace(Arc::new(live))
    }

    fn set_building(&self, building: Option<Building>) {
        *self.building.lock().unwrap_or_else(PoisonError::into_inner) = building;
    }

    /// Waits until a generation has applied what the log held when this began.
    async fn wait_for(&self, live: &Live, told: impl Fn(Building)) -> Result<(), EngineError> {
        let mut ends = Vec::new();
        for worker in &live.workers {
            for name in worker.projection.topics() {
                let Some(topic) = self.broker.topic(name).await? else { continue };
                let topic_ends: Vec<Offset> = topic.partitions.iter().map(|part| part.end).collect();
                ends.push((worker, topic, topic_ends));
            }
        }
        let mut changes = live.serving.tables.progress_changes();
        let total = ends.iter().flat_map(|(_, _, ends)| ends).sum();
        loop {
            changes.borrow_and_update();
            let progress = live.serving.tables.progress();
            let mut done = 0;
            for (worker, topic, ends) in &ends {
                if let Some(reason) = worker.halted() {
                    let projection = worker.projection.name.to_string();
                    return Err(EngineError::Stopped { projection, reason });
                }
                for (partition, end) in (0u32..).zip(ends) {
                    let at = TopicPartition { topic: Arc::clone(&topic.name), partition };
                    let next = progress.of(&worker.projection.name, &at).map_or(0, |mark| mark.next);
                    done += next.min(*end);
                }
            }
            if done == total {
                return Ok(());
            }
            told(Building { generation: live.serving.generation, done, total });
            let halted = futures_util::future::select_all(live.workers.iter().map(|worker| {
                let mut state = worker.background.state.clone();
                Box::pin(async move {
                    let _ = state.wait_for(|state| state.halted().is_some()).await;
                })
            }));
            tokio::select! {
                _ = changes.changed() => {}
                _ = halted => {}
            }
        }
    }
}
