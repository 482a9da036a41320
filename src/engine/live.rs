//! A generation at work: what answers from it, the loops that feed it, and how far each has come.
//!
//! Which generation is at work, and why, is known to whoever holds it.

use std::sync::Arc;

use crate::clock::now_ms;
use crate::engine::loops::{self, Worker};
use crate::engine::starts::shown;
use crate::engine::watchdog::Watchdog;
use crate::engine::{Definitions, EngineError, PartitionStatus, ProjectionStatus, Serving};
use crate::event::{Start, TopicPartition};
use crate::handler::Projection;
use crate::source::TopicInfo;
use crate::store::{Began, Internal, Manifest, Tables};

/// A generation at work: what answers, and the loops that feed it.
pub(super) struct Live {
    pub definitions: Arc<Definitions>,
    pub serving: Arc<Serving>,
    pub workers: Vec<Arc<Worker>>,
    pub made: Made,
}

/// How a generation was made.
#[derive(Clone, Default)]
pub(super) struct Made {
    /// Where it began, in partitions that it does not read from the log's start.
    pub starts: Vec<Began>,
    /// The internal topics that it has.
    pub internal: Vec<Internal>,
}

impl Made {
    pub fn of(manifest: &Manifest, generation: u32) -> Made {
        let found = manifest.generation(generation);
        found.map_or_else(Made::default, |found| Made {
            starts: found.starts.clone(),
            internal: found.internal.clone(),
        })
    }

    /// The internal topic that a projection is folded from, if it is.
    pub fn internal_of(&self, projection: &Projection) -> Option<&Internal> {
        self.internal.iter().find(|internal| internal.projection == projection.name)
    }

    /// The topics that a projection is folded from.
    pub fn folded(&self, projection: &Projection) -> Vec<Arc<str>> {
        match self.internal_of(projection) {
            Some(internal) => vec![Arc::clone(&internal.topic)],
            None => projection.topics().cloned().collect(),
        }
    }

    /// All topics that a projection has to do with: those that it reads, and the internal one.
    pub fn topics(&self, projection: &Projection) -> Vec<Arc<str>> {
        let internal = self.internal_of(projection).map(|internal| Arc::clone(&internal.topic));
        projection.topics().cloned().chain(internal).collect()
    }
}

pub(super) fn hash_of(manifest: &Manifest, generation: u32) -> Option<&str> {
    manifest.generation(generation).map(|found| found.definitions.as_str())
}

/// The generation that answers, where these definitions made it.
///
/// # Errors
/// [`EngineError::OtherDefinitions`].
pub(super) fn active_of(manifest: &Manifest, definitions: &Definitions) -> Result<u32, EngineError> {
    let generation = manifest.active;
    let made_by = hash_of(manifest, generation).unwrap_or_default();
    if made_by != definitions.hash {
        let (ours, active) = (definitions.hash.clone(), made_by.to_owned());
        return Err(EngineError::OtherDefinitions { generation, active, ours });
    }
    Ok(generation)
}

impl Live {
    pub async fn stop(&self) {
        loops::stop(&self.workers).await;
    }

    /// How far a projection has come.
    pub fn status(
        &self,
        projection: &Projection,
        topics: &[TopicInfo],
        watchdog: &Watchdog,
    ) -> ProjectionStatus {
        let worker = self.workers.iter().find(|worker| worker.projection.name == projection.name);
        let at = (self.serving.generation, self.serving.tables.as_ref(), &self.made);
        status_of(projection, at, (topics, &|_| true), (worker.map(Arc::as_ref), Some(watchdog)))
    }
}

/// The partitions that are looked at.
pub(super) type Looked<'a> = &'a dyn Fn(&TopicPartition) -> bool;

/// How far a projection has come in the partitions that are looked at.
pub(super) fn status_of(
    projection: &Projection,
    (generation, tables, made): (u32, &dyn Tables, &Made),
    (topics, is_looked_at): (&[TopicInfo], Looked<'_>),
    (worker, watchdog): (Option<&Worker>, Option<&Watchdog>),
) -> ProjectionStatus {
    let now_ms = now_ms();
    let (progress, parked) = (tables.progress(), tables.parked());
    let mut partitions = Vec::new();
    let (mut lag_events, mut lag_ms) = (0, 0i64);
    // What is between sources and rows in an internal topic is behind in its sources too.
    let (mut lag_inside, internal) = (0, made.internal_of(projection));
    let names = made.topics(projection);
    let read = names.iter().filter_map(|name| topics.iter().find(|topic| topic.name == *name));
    let read = read
        .flat_map(|topic| (0u32..).zip(&topic.partitions).map(move |(number, info)| (topic, number, info)));
    for (topic, partition, info) in read {
        let at = TopicPartition { topic: Arc::clone(&topic.name), partition };
        if !is_looked_at(&at) {
            continue;
        }
        let mark = progress.of(&projection.name, &at);
        let position = mark.map_or(info.start, |mark| mark.next);
        let behind = info.end.saturating_sub(position);
        let late = mark.filter(|_| behind > 0).map_or(0, |mark| now_ms.saturating_sub(mark.time_ms).max(0));
        let through = internal.filter(|internal| internal.topic != topic.name);
        match internal.is_some() && through.is_none() {
            true => lag_inside += behind,
            false => lag_events += behind,
        }
        lag_ms = lag_ms.max(late);
        let parked_keys = parked.keys_at(&projection.name, &at);
        let began = made.starts.iter().find(|began| began.projection == projection.name && began.at == at);
        let (began, start) = began.map_or((0, Start::Earliest), |began| (began.offset, began.start.clone()));
        let (topic, start) = (topic.name.to_string(), shown(&start));
        partitions.push(PartitionStatus {
            topic,
            partition,
            began,
            start,
            position,
            end: info.end,
            lag_ms: u64::try_from(late).unwrap_or(0),
            parked_keys,
            through: through.map(|internal| internal.topic.to_string()),
            owner: None,
        });
    }
    // A process that does not relay knows no more of it.
    lag_events = lag_events.max(lag_inside);
    let counts = parked.counts(&projection.name);
    let stalled = watchdog.and_then(|watchdog| watchdog.stall_of(generation, &projection.name));
    let shown = |worker: &Worker| worker.shown(lag_events, stalled.as_ref());
    let state = worker.map_or_else(|| "stopped".to_owned(), shown);
    ProjectionStatus {
        name: projection.name.to_string(),
        entity: projection.entity_name.to_string(),
        topic: projection.topics().map(|topic| &**topic).collect::<Vec<_>>().join(", "),
        kind: projection.kind.name().to_owned(),
        partitions,
        lag_events,
        lag_ms: u64::try_from(lag_ms).unwrap_or(0),
        parked_keys: parked.keys(&projection.name),
        parked_retried: counts.retried,
        parked_skipped: counts.skipped,
        parked_dropped: counts.dropped,
        state,
        stalled,
    }
}
