//! `kinora serve`: what answers in a process that does not fold.
//!
//! Comes in: the generation that the store names. Goes out: answers from its tables, and how far others have folded them: the
//! store is asked again and again, since nobody else tells. When another generation of the same definitions takes over, new
//! requests go there; each request keeps the one it began with.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use crate::engine::live::{Made, active_of, status_of};
use crate::engine::{
    AnswerSettings, Definitions, EngineError, ProjectionStatus, Serving, Status, TopicStatus,
};
use crate::handler::Projection;
use crate::source::{PartitionInfo, TopicInfo};
use crate::store::{Manifest, Progress, Store};

/// How often the store is asked how far it is: a request that waits for a position waits so much longer at most.
const PROGRESS_EVERY: Duration = Duration::from_millis(50);

/// How often the store is asked which generation answers, and which keys are parked.
const MANIFEST_EVERY: Duration = Duration::from_secs(1);

/// Longest pause while the store does not answer.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// One process that answers.
pub struct Reading {
    definitions: Arc<Definitions>,
    store: Arc<dyn Store>,
    settings: AnswerSettings,
    now: RwLock<Now>,
}

struct Now {
    serving: Arc<Serving>,
    made: Made,
    /// Why another generation that answers elsewhere is not answered here, or the store cannot be asked.
    behind: Option<String>,
}

impl Reading {
    /// Opens the generation that answers, for the definitions that made it, and follows it until dropped.
    ///
    /// # Errors
    /// [`EngineError::NothingApplied`], [`EngineError::OtherDefinitions`]; the store fails.
    pub async fn open(
        definitions: Arc<Definitions>,
        store: Arc<dyn Store>,
        settings: AnswerSettings,
    ) -> Result<Arc<Reading>, EngineError> {
        let manifest = store.manifest().await?.ok_or(EngineError::NothingApplied)?;
        let serving = open(&definitions, store.as_ref(), &manifest, &settings).await?;
        let made = Made::of(&manifest, manifest.active);
        let now = RwLock::new(Now { serving, made, behind: None });
        let reading = Arc::new(Reading { definitions, store, settings, now });
        tokio::spawn(follow_progress(Arc::downgrade(&reading)));
        tokio::spawn(follow_manifest(Arc::downgrade(&reading)));
        Ok(reading)
    }

    /// What answers now; a request keeps it to its end.
    pub fn serving(&self) -> Arc<Serving> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner).serving)
    }

    /// The definitions that answer.
    pub fn definitions(&self) -> &Arc<Definitions> {
        &self.definitions
    }

    /// How far the generation is that answers, as its progress says: the log itself is not asked.
    pub fn status(&self) -> Status {
        let now = self.now.read().unwrap_or_else(PoisonError::into_inner);
        let Now { serving, made, behind } = &*now;
        let at = (serving.generation, serving.tables.as_ref(), made);
        let topics = topics_of(&serving.tables.progress());
        let of = |projection: &Arc<Projection>| {
            let state = "folded elsewhere".to_owned();
            ProjectionStatus { state, ..status_of(projection, at, (&topics, &|_| true), (None, None)) }
        };
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            generation: serving.generation,
            definitions: self.definitions.hash.clone(),
            building: None,
            topics: topics.iter().map(TopicStatus::of).collect(),
            projections: self.definitions.projections.iter().map(of).collect(),
            log_halted: None,
            diagnostics: behind.iter().cloned().collect(),
        }
    }

    /// Answers from the generation that the store names, where these definitions made it.
    async fn look(&self) -> Result<(), EngineError> {
        let manifest = self.store.manifest().await?.ok_or(EngineError::NothingApplied)?;
        if manifest.active == self.serving().generation {
            return Ok(());
        }
        let serving = open(&self.definitions, self.store.as_ref(), &manifest, &self.settings).await?;
        let mut now = self.now.write().unwrap_or_else(PoisonError::into_inner);
        (now.serving, now.made) = (serving, Made::of(&manifest, manifest.active));
        Ok(())
    }

    fn set_behind(&self, reason: Option<String>) {
        let mut now = self.now.write().unwrap_or_else(PoisonError::into_inner);
        if now.behind != reason {
            match &reason {
                Some(reason) => {
                    tracing::warn!(%reason, "What answers cannot be followed; it is tried again.")
                }
                None => tracing::info!("What answers is followed again."),
            }
            now.behind = reason;
        }
    }
}

/// Opens the generation that answers.
async fn open(
    definitions: &Definitions,
    store: &dyn Store,
    manifest: &Manifest,
    settings: &AnswerSettings,
) -> Result<Arc<Serving>, EngineError> {
    let generation = active_of(manifest, definitions)?;
    let tables = store.open(generation, &definitions.plan).await?;
    let serving = Serving::new(definitions, (generation, tables), settings)?;
    tracing::info!(generation, definitions = definitions.hash, "Generation answers.");
    Ok(serving)
}

/// Asks the store again and again how far it is. Where it does not answer, waiting requests find out by themselves.
async fn follow_progress(reading: Weak<Reading>) {
    let mut pause = PROGRESS_EVERY;
    loop {
        tokio::time::sleep(pause).await;
        let Some(reading) = reading.upgrade() else { return };
        pause = match reading.serving().tables.reload_progress().await {
            Ok(()) => PROGRESS_EVERY,
            Err(error) => {
                tracing::debug!(%error, "Progress could not be read.");
                (pause * 2).min(PAUSE_MAX)
            }
        };
    }
}

/// Asks the store again and again which generation answers.
async fn follow_manifest(reading: Weak<Reading>) {
    let mut pause = MANIFEST_EVERY;
    loop {
        tokio::time::sleep(pause).await;
        let Some(reading) = reading.upgrade() else { return };
        let mut looked = reading.look().await;
        if looked.is_ok() {
            looked = reading.serving().tables.reload().await.map_err(EngineError::from);
        }
        pause = if looked.is_ok() { MANIFEST_EVERY } else { (pause * 2).min(PAUSE_MAX) };
        reading.set_behind(looked.err().map(|error| error.to_string()));
    }
}

/// The topics that were folded, as far as progress knows of them.
pub(super) fn topics_of(progress: &Progress) -> Vec<TopicInfo> {
    let mut topics: BTreeMap<&Arc<str>, TopicInfo> = BTreeMap::new();
    for mark in progress.all() {
        let empty =
            || TopicInfo { name: Arc::clone(&mark.at.topic), id: mark.topic_id, partitions: Vec::new() };
        let partitions = &mut topics.entry(&mark.at.topic).or_insert_with(empty).partitions;
        let index = mark.at.partition as usize;
        if partitions.len() <= index {
            partitions.resize(index + 1, PartitionInfo { start: 0, end: 0 });
        }
        partitions[index].end = partitions[index].end.max(mark.end);
    }
    topics.into_values().collect()
}
