//! What a write loop is doing, and why it cannot go on.

use super::park;
use crate::event::Offset;
use crate::source::SourceError;
use crate::store::StoreError;

/// Why a projection cannot go on. An operator must act.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Halt {
    #[error(
        "topic {topic:?} does not exist; create it, or correct `from.topic` of projection {projection:?}"
    )]
    NoTopic { topic: String, projection: String },
    #[error(
        "topic {topic:?} was created anew: its id is {found:032x}, progress was made in {expected:032x}; \
         rebuild the projection, or restore the topic"
    )]
    TopicAnew { topic: String, expected: u128, found: u128 },
    #[error(
        "progress names partition {partition} of topic {topic:?}, which has {count}; was it created anew?"
    )]
    PartitionGone { topic: String, partition: u32, count: usize },
    #[error(
        "{topic}:{partition} begins at offset {start}, but {position} is the next to apply: \
         the log has dropped events that were never folded"
    )]
    LogExpired { topic: String, partition: u32, start: Offset, position: Offset },
    #[error(
        "{topic}:{partition} ends at offset {end}, but {position} is the next to apply: the log was cut off"
    )]
    LogTruncated { topic: String, partition: u32, end: Offset, position: Offset },
    #[error("{position}: event type {reason}, and `unknown: stop` says to halt")]
    UnknownType { position: String, reason: String },
    #[error(
        "{count} keys are parked, more than `parking.max_keys` allows ({max}); the last: {reason}. \
         Correct the projection or the events, or raise the setting"
    )]
    TooManyParked { count: usize, max: usize, reason: String },
    #[error(
        "{count} of {} events in a row parked a key, more than `parking.max_share` allows ({max}); the last: {reason}. \
         Correct the projection or the events, or raise the setting",
        park::WINDOW_EVENTS
    )]
    TooLargeShareParked { count: usize, max: f64, reason: String },
    #[error(
        "projection {projection:?} merges partitions (kind C), which goes through an internal topic where the store does not \
         apply a batch whole, and this generation has none for it: run `kinora apply`, which makes it"
    )]
    NoInternal { projection: String },
    #[error(
        "internal topic {topic:?} of projection {projection:?} does not exist any more; restore it, or fold anew into a new \
         keyspace: set cassandra.keyspace, then `kinora apply`"
    )]
    InternalGone { topic: String, projection: String },
    #[error(
        "internal topic {topic:?} has {found} partitions, and {expected} were made: they say where a row is folded, so their \
         number never changes; fold anew into a new keyspace: set cassandra.keyspace, then `kinora apply`"
    )]
    InternalGrown { topic: String, expected: u32, found: u32 },
    #[error(
        "{position}, in an internal topic, cannot be folded: {reason}; nobody but `kinora project` may write there, and all \
         processes that do are of one version"
    )]
    NotRelayed { position: String, reason: String },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Source(#[from] SourceError),
}

/// What a projector is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProjectorState {
    Running,
    /// The store or the log does not answer; it is being tried again.
    Waiting(String),
    /// It folds nothing until it is told to go on, and says who paused it. Nothing had failed before.
    Paused(String),
    /// It has stopped and says why.
    Halted(String),
    /// It has stopped, because another process has taken a partition of it.
    Lost(String),
}

impl ProjectorState {
    /// Whether nothing that failed is still to be done again.
    pub fn is_in_order(&self) -> bool {
        matches!(self, ProjectorState::Running | ProjectorState::Paused(_))
    }

    /// Why it has stopped; `None` while it runs.
    pub fn halted(&self) -> Option<&str> {
        match self {
            ProjectorState::Halted(reason) | ProjectorState::Lost(reason) => Some(reason),
            ProjectorState::Running | ProjectorState::Waiting(_) | ProjectorState::Paused(_) => None,
        }
    }
}
