//! What events wait under when one of them cannot be applied.
//!
//! Comes in: what `route` found of a record's key. Goes out: the name of its queue. The queue itself is `store`'s.

use super::encode::RowKey;
use crate::event::{Offset, TopicPartition};

/// What is parked: a row, a record key where routing failed, or one record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ParkedKey {
    /// Encoded key of the base row.
    Row(RowKey),
    /// The record's key, as it came.
    Record(Box<[u8]>),
    /// A record without a key.
    Position(TopicPartition, Offset),
}
