//! Where a new generation begins to read: found once, when it is made, and kept in the manifest.
//!
//! Comes in: definitions, the log, and where the generation before began. Goes out: offsets, for partitions that are not
//! read from the log's start. A projection that says what it said before begins where it began before, so that changed
//! definitions do not lose rows.

use std::sync::Arc;

use crate::engine::Definitions;
use crate::event::{Offset, Start, TopicPartition};
use crate::expr::show_timestamp;
use crate::source::{PartitionInfo, Source, SourceError, TopicInfo};
use crate::store::Began;

/// Where the projections begin. Reads each partition up to the time that its projection begins at.
///
/// # Errors
/// Offsets that are given, or a group's positions, are not in the log; the log fails.
pub async fn starts(
    definitions: &Definitions,
    source: &dyn Source,
    before: &[Began],
) -> Result<Vec<Began>, SourceError> {
    let mut found = Vec::new();
    for projection in &definitions.projections {
        for from in projection.sources.iter().filter(|from| from.start != Start::Earliest) {
            let Some(topic) = source.topic(&from.topic).await? else { continue };
            is_there(&from.start, &topic, &projection.name)?;
            let at = |partition| TopicPartition { topic: Arc::clone(&topic.name), partition };
            let places: Vec<TopicPartition> =
                (0..).zip(&topic.partitions).map(|(partition, _)| at(partition)).collect();
            let committed = match &from.start {
                Start::Group(group) => source.committed(group, &places).await?,
                _ => vec![None; places.len()],
            };
            for ((at, info), committed) in places.into_iter().zip(&topic.partitions).zip(committed) {
                let began = |offset| Began {
                    projection: Arc::clone(&projection.name),
                    at: at.clone(),
                    topic_id: topic.id,
                    start: from.start.in_partition(at.partition),
                    offset,
                };
                let same = |known: &&Began| **known == began(known.offset);
                found.push(match before.iter().find(same) {
                    Some(known) => known.clone(),
                    None => began(first_offset(source, (&at, *info), &from.start, committed).await?),
                });
            }
        }
    }
    Ok(found)
}

/// Offsets are given of partitions that the topic has.
fn is_there(start: &Start, topic: &TopicInfo, projection: &str) -> Result<(), SourceError> {
    let Start::Offsets(offsets) = start else { return Ok(()) };
    let (name, count) = (&topic.name, topic.partitions.len());
    match offsets.keys().find(|partition| **partition as usize >= count) {
        None => Ok(()),
        Some(partition) => Err(SourceError::Refused(format!(
            "`from.start` of projection {projection:?} gives an offset of {name}:{partition}, and the topic has {count} partitions \
             from 0"
        ))),
    }
}

async fn first_offset(
    source: &dyn Source,
    (at, PartitionInfo { start: first, end }): (&TopicPartition, PartitionInfo),
    start: &Start,
    committed: Option<Offset>,
) -> Result<Offset, SourceError> {
    let within = |offset: Offset, whose: &str| match (first..=end).contains(&offset) {
        true => Ok(offset),
        false => Err(SourceError::Refused(format!(
            "{whose} of {}:{} is {offset}, where the log has offsets from {first} to its end at {end}; give one of these with \
             `start: {{ offsets: … }}`",
            at.topic, at.partition
        ))),
    };
    match start {
        Start::Earliest => Ok(first),
        Start::Latest => Ok(end),
        // What was published since the end was looked at belongs to the generation in any case.
        Start::At(time_ms) => Ok(source.first_from(at, *time_ms).await?.map_or(end, |at| at.min(end))),
        // What the group never committed, nobody is known to have worked.
        Start::Group(group) => match committed {
            Some(offset) => within(offset, &format!("the position of consumer group {group:?}")),
            None => Ok(first),
        },
        Start::Offsets(offsets) => match offsets.get(&at.partition) {
            Some(offset) => within(*offset, "the offset that `from.start` gives"),
            None => Err(SourceError::Refused(format!(
                "`from.start` gives no offset of {}:{}; give one for each partition, {first} to read all of it",
                at.topic, at.partition
            ))),
        },
    }
}

/// Where reading begins, as it is written in definitions.
pub fn shown(start: &Start) -> String {
    match start {
        Start::Earliest => "earliest".to_owned(),
        Start::Latest => "latest".to_owned(),
        Start::At(ms) => show_timestamp(*ms),
        Start::Group(name) => format!("group {name}"),
        Start::Offsets(_) => "given offset".to_owned(),
    }
}
