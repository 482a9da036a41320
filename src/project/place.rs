//! Where a projection continues in each partition, and whether it still can.

use std::sync::Arc;

use super::{Halt, stamp};
use crate::event::{Offset, TopicPartition};
use crate::handler::Projection;
use crate::source::TopicInfo;
use crate::store::{ProgressMark, Tables};

#[derive(Clone)]
pub(super) struct Place {
    pub at: TopicPartition,
    /// Id of the topic, so that one created anew is seen.
    pub topic_id: u128,
    pub next: Offset,
    pub base: i64,
    pub time_ms: i64,
}

/// Where each partition continues, checked against the log as it is.
pub(super) fn places(
    projection: &Projection,
    topic: &TopicInfo,
    tables: &dyn Tables,
    now_us: i64,
) -> Result<Vec<Place>, Halt> {
    let progress = tables.progress();
    let name = || topic.name.to_string();
    let mine = |mark: &&ProgressMark| mark.projection == projection.name && mark.at.topic == topic.name;
    for mark in progress.marks.iter().filter(mine) {
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
        let place = match progress.of(&projection.name, &at) {
            Some(mark) => {
                Place { topic_id: topic.id, next: mark.next, base: mark.base, time_ms: mark.time_ms, at }
            }
            None => {
                let base = stamp::base(now_us, info.end);
                Place { topic_id: topic.id, next: 0, base, time_ms: 0, at }
            }
        };
        if place.next > info.end {
            return Err(Halt::LogTruncated { topic: name(), partition, end: info.end, position: place.next });
        }
        if place.next < info.start {
            if progress.of(&projection.name, &place.at).is_some() {
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
