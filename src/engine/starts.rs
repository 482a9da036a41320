//! Where a new generation begins to read: found once, when it is made, and kept in the manifest.
//!
//! Comes in: definitions, the log, and where the generation before began. Goes out: offsets, for partitions that are not
//! read from the log's start. A projection that says what it said before begins where it began before, so that changed
//! definitions do not lose rows.

use std::sync::Arc;

use crate::engine::Definitions;
use crate::event::{Offset, Start, TopicPartition};
use crate::expr::show_timestamp;
use crate::source::{PartitionInfo, Source, SourceError};
use crate::store::Began;

/// Where the projections begin. Reads each partition up to the time that its projection begins at.
///
/// # Errors
/// The log fails.
pub async fn starts(
    definitions: &Definitions,
    source: &dyn Source,
    before: &[Began],
) -> Result<Vec<Began>, SourceError> {
    let mut found = Vec::new();
    for projection in &definitions.projections {
        for from in projection.sources.iter().filter(|from| from.start != Start::Earliest) {
            let Some(topic) = source.topic(&from.topic).await? else { continue };
            for (partition, info) in (0..).zip(&topic.partitions) {
                let at = TopicPartition { topic: Arc::clone(&topic.name), partition };
                let began = |offset| Began {
                    projection: Arc::clone(&projection.name),
                    at: at.clone(),
                    topic_id: topic.id,
                    start: from.start,
                    offset,
                };
                let same = |known: &&Began| **known == began(known.offset);
                found.push(match before.iter().find(same) {
                    Some(known) => known.clone(),
                    None => began(first_offset(source, &at, *info, from.start).await?),
                });
            }
        }
    }
    Ok(found)
}

async fn first_offset(
    source: &dyn Source,
    at: &TopicPartition,
    info: PartitionInfo,
    start: Start,
) -> Result<Offset, SourceError> {
    match start {
        Start::Earliest => Ok(info.start),
        Start::Latest => Ok(info.end),
        // What was published since the end was looked at belongs to the generation in any case.
        Start::At(time_ms) => {
            Ok(source.first_from(at, time_ms).await?.map_or(info.end, |at| at.min(info.end)))
        }
    }
}

/// Where reading begins, as it is written in definitions.
pub fn shown(start: Start) -> String {
    match start {
        Start::Earliest => "earliest".to_owned(),
        Start::Latest => "latest".to_owned(),
        Start::At(ms) => show_timestamp(ms),
    }
}
