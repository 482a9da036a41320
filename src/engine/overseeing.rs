//! What an operator sees and does of processes that share the partitions: from the store and the log alone.
//!
//! Comes in: the generation that answers, and what the processes say of themselves. Goes out: how far each partition is and who
//! works it, parked keys, pauses, and steps for parked keys: asked for in the store, done by whoever owns the partition, and
//! waited for here. Nothing is folded, and no ownership is taken.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use tokio::time::Instant;

use crate::clock::now_ms;
use crate::engine::errands::StepAnswer;
use crate::engine::live::{Made, active_of, status_of};
use crate::engine::parked::Desk;
use crate::engine::{
    Definitions, EngineError, PartitionOwner, ProjectionStatus, Status, TopicStatus, parked, pausing, reading,
};
use crate::event::{Position, TopicPartition};
use crate::handler::Projection;
use crate::project::retry::{ParkedStep, Release};
use crate::serve::{ParkedAction, ParkedDetail, ParkedDone, ParkedError, ParkedList, ParkedQuery};
use crate::source::{Source, TopicInfo};
use crate::store::coordination::{Asked, Coordination, Pause, Request, Worker, owner_of};
use crate::store::{ParkedItem, Store, StoreError, Tables};

/// How often it is asked whether a request was answered.
const POLL: Duration = Duration::from_millis(50);

/// How long a request stands in the store: longer than it is waited for, so that nobody does one that is given up.
const STANDS: Duration = Duration::from_secs(60);

/// How long an operator waits.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For the answer to a request.
    pub answer: Duration,
    /// For somebody who works the partition: partitions that move between processes have no owner for a moment.
    pub owner: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience { answer: Duration::from_secs(30), owner: Duration::from_secs(10) }
    }
}

/// A deployment of several processes, as an operator sees it.
pub struct Overseeing {
    definitions: Arc<Definitions>,
    generation: u32,
    made: Made,
    tables: Arc<dyn Tables>,
    /// Where events and the ends of partitions are read; `None` where no log is named.
    source: Option<Arc<dyn Source>>,
    /// Who asks.
    by: Box<str>,
    patience: Patience,
}

impl Overseeing {
    /// Opens the generation that answers, for the definitions that made it.
    ///
    /// # Errors
    /// [`EngineError::NothingApplied`], [`EngineError::OtherDefinitions`]; the store fails.
    pub async fn open(
        definitions: Arc<Definitions>,
        store: &dyn Store,
        source: Option<Arc<dyn Source>>,
        (by, patience): (String, Patience),
    ) -> Result<Arc<Overseeing>, EngineError> {
        let manifest = store.manifest().await?.ok_or(EngineError::NothingApplied)?;
        let generation = active_of(&manifest, &definitions)?;
        let tables = store.open(generation, &definitions.plan).await?;
        let made = Made::of(&manifest, generation);
        let by = by.into();
        Ok(Arc::new(Overseeing { definitions, generation, made, tables, source, by, patience }))
    }

    /// The definitions that answer.
    pub fn definitions(&self) -> &Arc<Definitions> {
        &self.definitions
    }

    /// The generation that answers.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// A page of the parked keys.
    ///
    /// # Errors
    /// There is no such projection; the store fails.
    pub async fn parked(&self, query: ParkedQuery) -> Result<ParkedList, ParkedError> {
        self.known(query.projection.as_deref())?;
        parked::list(self, query).await
    }

    /// The parked keys that a text names, each with a page of its queue; the values of events where the log answers.
    ///
    /// # Errors
    /// There is no such projection; the store fails.
    pub async fn parked_key(&self, key: &str, query: ParkedQuery) -> Result<Vec<ParkedDetail>, ParkedError> {
        self.known(query.projection.as_deref())?;
        parked::show(self, key, query).await
    }

    /// One step for one parked key, done by whoever owns its partition.
    ///
    /// # Errors
    /// No key, or several, are meant; nobody owns the partition, or its owner does not answer; the store fails.
    pub async fn release_parked(&self, key: &str, action: ParkedAction) -> Result<ParkedDone, ParkedError> {
        self.known(action.projection.as_deref())?;
        parked::release(self, key, action).await
    }

    fn known(&self, projection: Option<&str>) -> Result<(), ParkedError> {
        projection.map_or(Ok(()), |name| pausing::projection(&self.definitions, name).map(drop))
    }

    /// How far every projection is, and who works it.
    ///
    /// # Errors
    /// The store fails. A log that does not answer is said in [`Status::diagnostics`]: then the ends are those that whoever
    /// folds saw last.
    pub async fn status(&self) -> Result<Status, StoreError> {
        let desk = self.desk()?;
        self.tables.reload().await?;
        let (workers, pauses) = (desk.workers().await?, self.tables.pauses().await?);
        let (topics, diagnostics) = self.topics().await;
        let of = |projection: &Arc<Projection>| {
            let at = (self.generation, self.tables.as_ref(), &self.made);
            let status = status_of(projection, at, (&topics, &|_| true), (None, None));
            with_owners(status, &workers, &pauses)
        };
        Ok(Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            generation: self.generation,
            definitions: self.definitions.hash.clone(),
            building: None,
            projections: self.definitions.projections.iter().map(of).collect(),
            topics: topics.iter().map(TopicStatus::of).collect(),
            log_halted: None,
            diagnostics,
        })
    }

    /// The topics that are read, with their ends, and what the log could not be asked for.
    async fn topics(&self) -> (Vec<TopicInfo>, Vec<String>) {
        let seen = reading::topics_of(&self.tables.progress());
        let Some(source) = &self.source else {
            return (seen, vec!["`kafka.brokers` is not set: ends are those that were seen last".to_owned()]);
        };
        let mut names: Vec<Arc<str>> =
            self.definitions.projections.iter().flat_map(|projection| self.made.topics(projection)).collect();
        names.sort();
        names.dedup();
        let (mut topics, mut diagnostics) = (Vec::new(), Vec::new());
        for (name, found) in names.iter().zip(join_all(names.iter().map(|name| source.topic(name))).await) {
            match found {
                Ok(Some(topic)) => topics.push(topic),
                Ok(None) => diagnostics.push(format!("topic {name:?} does not exist")),
                Err(error) => {
                    topics.extend(seen.iter().find(|topic| topic.name == *name).cloned());
                    let told = format!("{error}; ends are those that were seen last");
                    if !diagnostics.contains(&told) {
                        diagnostics.push(told);
                    }
                }
            }
        }
        (topics, diagnostics)
    }

    pub(super) fn tables(&self) -> &Arc<dyn Tables> {
        &self.tables
    }

    fn desk(&self) -> Result<&dyn Coordination, StoreError> {
        self.tables.coordination().ok_or_else(|| {
            StoreError::Refused(
                "one process has this store for itself: there are no others to see".to_owned(),
            )
        })
    }

    /// Asks whoever owns the key's partition for a step, and waits for its answer.
    async fn ask(&self, item: &ParkedItem, mut step: ParkedStep) -> Result<ParkedDone, ParkedError> {
        let desk = self.desk().map_err(parked::failed)?;
        if step.release == Release::Drop && step.first.is_none() {
            // Asked for twice, as when an owner dies between doing and answering, it drops nothing that came later.
            let first = self
                .tables
                .parked_queue(&item.projection, &item.key, None, 1)
                .await
                .map_err(parked::failed)?;
            step.first =
                first.into_iter().next().map(|event| Position { at: event.at, offset: event.offset });
        }
        let request = Request {
            id: fastrand::u128(..),
            projection: Arc::clone(&item.projection),
            at: item.entry.since.at.clone(),
            key: step.key,
            step: step.release.name().into(),
            first: step.first.map(|first| first.to_string().into()),
            by: self.by.clone(),
            asked_ms: now_ms(),
        };
        let until = Instant::now() + self.patience.answer;
        self.place(desk, &request, until).await?;
        self.wait(desk, &request, until).await
    }

    /// Puts a request where its owner looks, as soon as no other is there.
    async fn place(
        &self,
        desk: &dyn Coordination,
        request: &Request,
        until: Instant,
    ) -> Result<(), ParkedError> {
        loop {
            let standing = desk.ask(request, STANDS).await.map_err(parked::failed)?.request;
            if standing.id == request.id {
                return Ok(());
            }
            if Instant::now() >= until {
                let Request { step, by, .. } = &standing;
                return Err(ParkedError::Unavailable(format!(
                    "{} is asked to {step} for {by}, and has not answered yet, so nothing was asked for; try again later",
                    place_of(request)
                )));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until a request is answered.
    async fn wait(
        &self,
        desk: &dyn Coordination,
        request: &Request,
        until: Instant,
    ) -> Result<ParkedDone, ParkedError> {
        let mut owned_at = Instant::now();
        let mut look_at = Instant::now();
        let mut owner: Option<String> = None;
        loop {
            let standing = desk.asked_at(&request.projection, &request.at).await.map_err(parked::failed)?;
            let standing = standing.filter(|standing| standing.request.id == request.id);
            let Some(Asked { taken, answer, .. }) = standing else {
                return Err(ParkedError::Unavailable(format!(
                    "what {} was asked for is gone from the store; `kinora parked list` says how it stands",
                    place_of(request)
                )));
            };
            if let Some(answer) = answer {
                return read(&answer);
            }
            let now = Instant::now();
            if now >= look_at {
                let workers = desk.workers().await.map_err(parked::failed)?;
                let found = owner_of(&workers, &request.projection, &request.at);
                owner = found.map(|(worker, _)| worker.process.to_string());
                look_at = now + Duration::from_secs(1);
            }
            if owner.is_some() || taken.is_some() {
                owned_at = now;
            }
            if now >= until || now >= owned_at + self.patience.owner {
                let withdrawn = desk.withdraw(request).await.map_err(parked::failed)?;
                return Err(ParkedError::Unavailable(self.in_vain(request, owner.as_deref(), withdrawn)));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Why there is no answer.
    fn in_vain(&self, request: &Request, owner: Option<&str>, withdrawn: bool) -> String {
        let (place, answer) = (place_of(request), self.patience.answer);
        match (owner, withdrawn) {
            (None, true) => format!(
                "nobody works {place}, so nothing was done: start `kinora project`, or, where one runs, see `kinora status`"
            ),
            (Some(owner), true) => format!(
                "{owner} works {place} and has not taken the request on within {answer:?}, so nothing was done: see its log"
            ),
            (_, false) => format!(
                "whoever works {place} has taken the request on and not answered within {answer:?}: it may have been done, or \
                 may be yet. `kinora parked show` says how it stands; asking again does nothing twice"
            ),
        }
    }
}

impl Desk for Overseeing {
    fn tables(&self) -> Result<Arc<dyn Tables>, ParkedError> {
        Ok(Arc::clone(&self.tables))
    }

    fn refresh(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.tables.reload()
    }

    fn log(&self) -> Option<&dyn Source> {
        self.source.as_deref()
    }

    fn step<'a>(
        &'a self,
        item: &'a ParkedItem,
        step: ParkedStep,
    ) -> BoxFuture<'a, Result<ParkedDone, ParkedError>> {
        Box::pin(self.ask(item, step))
    }
}

fn place_of(request: &Request) -> String {
    let TopicPartition { topic, partition } = &request.at;
    format!("{topic}:{partition} of projection {:?}", &*request.projection)
}

fn read(answer: &str) -> Result<ParkedDone, ParkedError> {
    match serde_json::from_str(answer) {
        Ok(StepAnswer::Done(done)) => Ok(done),
        Ok(StepAnswer::Refused(reason)) => Err(ParkedError::Refused(reason)),
        Ok(StepAnswer::Failed(reason)) => Err(ParkedError::Unavailable(reason)),
        Err(error) => {
            let reason = format!("the answer is not of this version of Kinora: {error}");
            Err(ParkedError::Unavailable(reason))
        }
    }
}

/// Adds who works what, and what they say of it.
fn with_owners(mut status: ProjectionStatus, workers: &[Worker], pauses: &[Pause]) -> ProjectionStatus {
    let (mut states, mut unowned) = (Vec::<String>::new(), 0);
    for part in &mut status.partitions {
        let at = TopicPartition { topic: part.topic.as_str().into(), partition: part.partition };
        let Some((worker, epoch)) = owner_of(workers, &status.name, &at) else {
            unowned += 1;
            continue;
        };
        part.owner = Some(PartitionOwner { process: worker.process.to_string(), epoch });
        let is_plain = &*worker.state == "running" || worker.state.starts_with("paused");
        let state = if is_plain {
            worker.state.to_string()
        } else {
            format!("{} ({})", worker.state, worker.process)
        };
        if !states.contains(&state) {
            states.push(state);
        }
    }
    let count = status.partitions.len();
    let pause = pauses.iter().find(|pause| *pause.projection == *status.name);
    let mut told = Vec::new();
    if let Some(pause) = pause {
        // Whether or not each of them has heard of it yet.
        told.push(format!("paused {pause}"));
        states.retain(|state| !state.starts_with("paused") && state != "running");
    }
    if unowned > 0 {
        told.push(match unowned == count {
            true => "nobody works it: no `kinora project` runs".to_owned(),
            false => format!("nobody works {unowned} of {count} partitions"),
        });
    }
    let lagging = status.lag_events > 0;
    let plain = if lagging { "catching up" } else { "running" };
    let worst = states.iter().filter(|state| *state != "running");
    told.extend(worst.cloned());
    status.state = if told.is_empty() { plain.to_owned() } else { told.join("; ") };
    status
}
