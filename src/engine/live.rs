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
use crate::store::{Began, Manifest, Tables};

/// A generation at work: what answers, and the loops that feed it.
pub(super) struct Live {
    pub definitions: Arc<Definitions>,
    pub serving: Arc<Serving>,
    pub workers: Vec<Arc<Worker>>,
    /// Where the generation began.
    pub starts: Vec<Began>,
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

pub(super) fn starts_of(manifest: &Manifest, generation: u32) -> Vec<Began> {
    manifest.generation(generation).map(|found| found.starts.clone()).unwrap_or_default()
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
        let at = (self.serving.generation, self.serving.tables.as_ref(), self.starts.as_slice());
        status_of(projection, at, (topics, &|_| true), (worker.map(Arc::as_ref), Some(watchdog)))
    }
}

/// The partitions that are looked at.
pub(super) type Looked<'a> = &'a dyn Fn(&TopicPartition) -> bool;

/// How far a projection has come in the partitions that are looked at.
pub(super) fn status_of(
    projection: &Projection,
    (generation, tables, starts): (u32, &dyn Tables, &[Began]),
    (topics, is_looked_at): (&[TopicInfo], Looked<'_>),
    (worker, watchdog): (Option<&Worker>, Option<&Watchdog>),
) -> ProjectionStatus {
    let now_ms = now_ms();
    let (progress, parked) = (tables.progress(), tables.parked());
    let mut partitions = Vec::new();
    let (mut lag_events, mut lag_ms) = (0, 0i64);
    let read = projection.topics().filter_map(|name| topics.iter().find(|topic| topic.name == *name));
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
        (lag_events, lag_ms) = (lag_events + behind, lag_ms.max(late));
        let parked_keys = parked.keys_at(&projection.name, &at);
        let began = starts.iter().find(|began| began.projection == projection.name && began.at == at);
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
            owner: None,
        });
    }
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
