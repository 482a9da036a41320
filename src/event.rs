//! What travels: records as a log holds them, events as handlers see them, and the reasons for
//! which an event is parked. Nothing here reads a log, decodes bytes or applies an event.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

/// The name of an event type. A short one is held in place.
pub use smol_str::SmolStr as TypeName;

/// Number of a record inside its partition, from 0, without gaps in the embedded log.
pub type Offset = u64;

/// A partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    pub topic: Arc<str>,
    pub partition: u32,
}

/// Where an event stands in its log; written `topic:partition@offset`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    pub at: TopicPartition,
    pub offset: Offset,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}@{}", self.at.topic, self.at.partition, self.offset)
    }
}

/// Where a projection begins to read a log that it has not read before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// At the first record that the log has.
    #[default]
    Earliest,
    /// Behind the last record that the log has when a generation is made.
    Latest,
    /// At the first record whose timestamp is not before this time: milliseconds since 1970.
    At(i64),
    /// At the position that this consumer group has committed when a generation is made; where it has committed none, at the
    /// first record.
    Group(Arc<str>),
    /// At these offsets, one for each partition.
    Offsets(Arc<BTreeMap<u32, Offset>>),
}

impl Start {
    /// At this offset of a partition.
    #[must_use]
    pub fn given(partition: u32, offset: Offset) -> Start {
        Start::Offsets(Arc::new(BTreeMap::from([(partition, offset)])))
    }

    /// What it says of one partition.
    #[must_use]
    pub fn in_partition(&self, partition: u32) -> Start {
        match self {
            Start::Offsets(offsets) => {
                let own = offsets.get(&partition).map(|offset| (partition, *offset));
                Start::Offsets(Arc::new(own.into_iter().collect()))
            }
            other => other.clone(),
        }
    }
}

/// A record as the log holds it. Its partition is that of the batch it came in.
#[derive(Clone, Debug)]
pub struct Record {
    pub offset: Offset,
    /// Milliseconds since 1970, as the producer or the log said.
    pub timestamp_ms: i64,
    pub key: Option<Bytes>,
    /// `None` is a tombstone.
    pub value: Option<Bytes>,
    pub headers: Vec<(String, Bytes)>,
}

impl Record {
    /// Bytes of key, value and headers.
    pub fn len_bytes(&self) -> usize {
        content_len(&self.key, &self.value, &self.headers)
    }
}

/// Bytes of the parts of a record.
pub(crate) fn content_len(key: &Option<Bytes>, value: &Option<Bytes>, headers: &[(String, Bytes)]) -> usize {
    let headers = headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
    key.as_ref().map_or(0, Bytes::len) + value.as_ref().map_or(0, Bytes::len) + headers
}

/// A JSON value: what an event's body is made of. Numbers keep their text, so that decimals are exact.
pub type Json = sonic_rs::Value;

/// How a handler written in Rust reads a [`Json`].
pub use sonic_rs::{JsonContainerTrait, JsonNumberTrait, JsonValueTrait};

/// An event: a record decoded, brought to today's version and ready to be handled.
#[derive(Clone, Debug)]
pub struct Event {
    pub position: Position,
    /// Time of the event, as `from.time` says, else the record's. Milliseconds since 1970.
    pub time_ms: i64,
    pub timestamp_ms: i64,
    /// Name of the event type.
    pub kind: TypeName,
    /// Version after upcasting.
    pub version: i64,
    /// Which of the events of its record this is, from 0: more than one where an upcast has split it.
    pub part: u32,
    /// The body: always a JSON object.
    pub body: Json,
    /// What makes it known again, as `from.id` says.
    pub id: Option<Box<str>>,
    /// Its number among the events of its row, as `from.sequence` says.
    pub number: Option<i64>,
    /// What its record says of itself, headers included: an object, as expressions see it under the name `record`. There
    /// where the projection looks at it; a handler written in Rust may always.
    pub record: Option<Json>,
    /// The record's key, where it is text; there as `record` is.
    pub key: Option<Box<str>>,
}

/// An event as one row takes it.
#[derive(Clone, Debug)]
pub struct Taken {
    pub event: Arc<Event>,
    /// The element of the event's list that the row is made for, where the event goes through one.
    pub element: Option<Json>,
}

/// Why an event could not be applied: a fact about the event, not a fault of the engine. It parks the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    pub stage: Stage,
    /// One sentence with the values found and what was expected.
    pub reason: String,
}

/// Where in the path of an event it was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Decode,
    Upcast,
    Route,
    Fold,
}

impl Reject {
    pub fn new(stage: Stage, reason: impl Into<String>) -> Reject {
        Reject { stage, reason: reason.into() }
    }
}

impl Stage {
    /// The stage's name, as it is stored and shown.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Decode => "decode",
            Stage::Upcast => "upcast",
            Stage::Route => "route",
            Stage::Fold => "fold",
        }
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.stage.name(), self.reason)
    }
}
