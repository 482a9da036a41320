//! Which partitions of an internal topic a record concerns, and what of it each of them takes.
//!
//! A partition of the base table lies in one partition of the internal topic, so a row is folded in one place, and so are all
//! rows that begin alike. What has no row lies where its record key says. Relay and fold ask here, so they agree.

use crate::event::{Record, TopicPartition};
use crate::route::Routed;
use crate::source::partition::of_key;
use crate::value::ParkedKey;

/// A record as it came from its source, with what routing made of it.
pub(super) struct Came<'r> {
    pub at: &'r TopicPartition,
    pub record: &'r Record,
}

impl Came<'_> {
    /// Where it goes whose row is not known.
    fn home(&self, partitions: u32) -> u32 {
        match &self.record.key {
            Some(key) => of_key(key, partitions),
            None => self.at.partition % partitions,
        }
    }

    /// The partitions that a record concerns, each once.
    pub fn homes(&self, routed: &Routed, partitions: u32) -> Vec<u32> {
        let of = |partition: &[u8]| of_key(partition, partitions);
        let mut homes: Vec<u32> = match routed {
            Routed::Ignore => Vec::new(),
            Routed::Event { key, .. }
            | Routed::Delete { key, .. }
            | Routed::Rejected { key: ParkedKey::Row(key), .. } => vec![of(key.partition())],
            Routed::Events(rows) => rows.iter().map(|row| of(row.key.partition())).collect(),
            Routed::Range { ranges, .. } => ranges.iter().map(|range| of(&range.partition)).collect(),
            Routed::Stop(_) | Routed::Rejected { .. } => vec![self.home(partitions)],
        };
        homes.sort_unstable();
        homes.dedup();
        homes
    }

    /// What one partition takes of a record; `None` where that is nothing.
    pub fn share(&self, routed: Routed, (partition, partitions): (u32, u32)) -> Option<Routed> {
        if !self.homes(&routed, partitions).contains(&partition) {
            return None;
        }
        let is_ours = |bytes: &[u8]| of_key(bytes, partitions) == partition;
        Some(match routed {
            Routed::Events(mut rows) => {
                rows.retain(|row| is_ours(row.key.partition()));
                Routed::Events(rows)
            }
            Routed::Range { mut ranges, event } => {
                ranges.retain(|range| is_ours(&range.partition));
                Routed::Range { ranges, event }
            }
            whole => whole,
        })
    }
}
