//! Where a projection continues in each partition, and whether it still can.

use std::sync::Arc;

use super::{Halt, Scope, stamp};
use crate::event::{Offset, TopicPartition};
use crate::handler::Projection;
use crate::source::{Source, TopicInfo};
use crate::store::{Batch, Began, Internal, Owner, ProgressMark, Relayed, StoreError, Tables};

#[derive(Clone)]
pub(super) struct Place {
    pub at: TopicPartition,
    /// Id of the topic, so that one created anew is seen.
    pub topic_id: u128,
    pub next: Offset,
    pub base: i64,
    pub time_ms: i64,
    /// Of a partition of an internal topic: how far sources have come there.
    pub relayed: Option<Relayed>,
}

impl Place {
    /// Progress in the partition.
    pub fn mark(&self, projection: &Projection, (next, end): (Offset, Offset), time_ms: i64) -> ProgressMark {
        ProgressMark {
            projection: Arc::clone(&projection.name),
            at: self.at.clone(),
            topic_id: self.topic_id,
            next,
            end,
            time_ms,
            base: self.base,
            relayed: self.relayed.clone().map(Arc::new),
        }
    }
}

/// The topics of a projection.
///
/// # Errors
/// [`Halt::NoTopic`]; the log fails.
pub(crate) async fn topics_of(projection: &Projection, source: &dyn Source) -> Result<Vec<TopicInfo>, Halt> {
    let mut topics = Vec::new();
    for name in projection.topics() {
        topics.push(source.topic(name).await?.ok_or_else(|| Halt::NoTopic {
            topic: name.to_string(),
            projection: projection.name.to_string(),
        })?);
    }
    Ok(topics)
}

/// An internal topic, if it is the one that was made with the generation.
///
/// # Errors
/// [`Halt::NoTopic`], [`Halt::TopicAnew`], [`Halt::InternalGrown`]; the log fails.
pub(super) async fn internal_topic(internal: &Internal, source: &dyn Source) -> Result<TopicInfo, Halt> {
    let Internal { projection, topic, topic_id: expected, partitions } = internal;
    let (topic, projection) = (topic.to_string(), projection.to_string());
    let found = source.topic(&topic).await?;
    let found = found.ok_or_else(|| Halt::InternalGone { topic: topic.clone(), projection })?;
    if found.id != *expected {
        return Err(Halt::TopicAnew { topic, expected: *expected, found: found.id });
    }
    match u32::try_from(found.partitions.len()) {
        Ok(count) if count == *partitions => Ok(found),
        count => Err(Halt::InternalGrown { topic, expected: *partitions, found: count.unwrap_or(u32::MAX) }),
    }
}

/// The topics that a projection is folded from: its own, or the internal one that what it reads goes through.
///
/// # Errors
/// As [`topics_of`] and [`internal_topic`].
pub(crate) async fn folded_topics(
    projection: &Projection,
    internal: Option<&Internal>,
    source: &dyn Source,
) -> Result<Vec<TopicInfo>, Halt> {
    match internal {
        Some(internal) => Ok(vec![internal_topic(internal, source).await?]),
        None => topics_of(projection, source).await,
    }
}

/// Takes the partitions of a projection's topics that are ours.
pub(super) async fn own(
    projection: &Projection,
    topics: &[TopicInfo],
    tables: &dyn Tables,
    scope: Scope<'_>,
) -> Result<Arc<[Owner]>, StoreError> {
    let partitions: Vec<TopicPartition> = topics
        .iter()
        .flat_map(|topic| {
            (0u32..).zip(&topic.partitions).map(|(partition, _)| {
                let topic = Arc::clone(&topic.name);
                TopicPartition { topic, partition }
            })
        })
        .filter(|at| scope.has(at))
        .collect();
    Ok(tables.own(&projection.name, &partitions).await?.into())
}

/// Writes down where each partition begins of which nothing was stored, before any row of it is: its stamps must have one
/// base, whoever else begins it at the same time, and who waits for a position that lies before waits for nothing.
pub(super) async fn begin(
    projection: &Projection,
    places: &mut [Place],
    owners: &Arc<[Owner]>,
    tables: &dyn Tables,
) -> Result<(), StoreError> {
    let known = tables.progress();
    let new = |place: &&Place| known.of(&projection.name, &place.at).is_none();
    let progress: Vec<ProgressMark> = places
        .iter()
        .filter(new)
        .map(|place| place.mark(projection, (place.next, place.next), place.time_ms))
        .collect();
    if progress.is_empty() {
        return Ok(());
    }
    let owners = Arc::clone(owners);
    tables.commit(Batch { progress, owners, ..Batch::default() }).await?;
    // Of several that begin, the first has chosen.
    tables.reload().await?;
    let chosen = tables.progress();
    for place in places {
        place.base = chosen.of(&projection.name, &place.at).map_or(place.base, |mark| mark.base);
    }
    Ok(())
}

/// Where each partition continues, checked against the log as it is.
pub(super) fn places(
    projection: &Projection,
    topic: &TopicInfo,
    tables: &dyn Tables,
    (now_us, scope): (i64, Scope<'_>),
) -> Result<Vec<Place>, Halt> {
    let progress = tables.progress();
    let name = || topic.name.to_string();
    let mine = |mark: &&ProgressMark| mark.projection == projection.name && mark.at.topic == topic.name;
    for mark in progress.all().filter(mine) {
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
        if !scope.has(&at) {
            continue;
        }
        let place = match progress.of(&projection.name, &at) {
            Some(mark) => {
                let relayed = mark.relayed.as_deref().cloned();
                Place {
                    topic_id: topic.id,
                    next: mark.next,
                    base: mark.base,
                    time_ms: mark.time_ms,
                    at,
                    relayed,
                }
            }
            None => {
                let base = stamp::base(now_us, info.end);
                let begins = |began: &&Began| began.projection == projection.name && began.at == at;
                let next = scope.starts.iter().find(begins).map_or(0, |began| began.offset);
                let relayed = scope.internal.map(Internal::not_begun);
                Place { topic_id: topic.id, next, base, time_ms: 0, at, relayed }
            }
        };
        if place.next > info.end {
            return Err(Halt::LogTruncated { topic: name(), partition, end: info.end, position: place.next });
        }
        if place.next < info.start {
            // What was relayed and is gone was never folded, whether or not folding had begun.
            if scope.internal.is_some() || progress.of(&projection.name, &place.at).is_some() {
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
