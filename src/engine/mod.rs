//! Everything in one process: definitions, a source, a store, the write loop and the graph.
//!
//! `dev`, `test` and embedding programs run this. A change of definitions is built as a new generation beside the
//! one that answers, and takes its place when it has caught up. `loops` runs the write loops of a process, `serving` is what
//! answers, `live` both of one generation; `embedded` has all of it in one process,
//! `projecting` the loops of one among several, `relaying` what they are fed through, `reading` what answers beside them, `overseeing` what an operator sees of all
//! of them; `errands` is what the former do for the latter.

mod backend;
mod background;
pub mod cases;
pub mod difference;
pub mod dump;
mod embedded;
mod errands;
mod live;
mod load;
mod loops;
mod measured;
pub mod mend;
#[cfg(test)]
mod mend_tests;
mod overseeing;
mod parked;
mod pausing;
mod projecting;
mod reading;
mod relaying;
pub mod sample;
mod serving;
mod starts;
pub mod watch;
pub mod watchdog;
pub mod who;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::handler::Projection;
use crate::handler::cases::Case;
use crate::lint::Keyed;
use crate::plan::{Feed, Plan};
use crate::project::Halt;
use crate::schema::ReadModel;
use crate::source::{SourceError, TopicInfo};
use crate::store::StoreError;

pub use embedded::{Embedded, EmbeddedSettings, Looked};
pub use load::{LoadError, Loaded, bind, bind_with, load, load_with};
pub use loops::LoopSettings;
pub use overseeing::{Overseeing, Patience};
pub use projecting::Projecting;
pub use reading::Reading;
pub use serving::{AnswerSettings, Serving};
pub use starts::starts;
pub use watchdog::Stall;

/// Why the engine could not start or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Halted(#[from] Halt),
    #[error("the schema cannot be served: {0}")]
    Graph(String),
    #[error("projection {projection:?} halted: {reason}")]
    Stopped { projection: String, reason: String },
    #[error("generation {0} was given up before it had caught up: newer definitions are there")]
    GivenUp(u32),
    #[error("another process changed the manifest at the same time; start again")]
    ManifestRace,
    #[error("the store has no generation yet: run `kinora apply` first")]
    NothingApplied,
    #[error(
        "generation {generation}, which answers, was made by other definitions ({active}) than these ({ours}): start with the \
         definitions that made it, or run `kinora apply` for a generation of these"
    )]
    OtherDefinitions { generation: u32, active: String, ours: String },
}

/// Definitions that passed every check.
#[derive(Debug)]
pub struct Definitions {
    pub model: Arc<ReadModel>,
    pub plan: Arc<Plan>,
    pub projections: Vec<Arc<Projection>>,
    pub feeds: Vec<Feed>,
    /// What `kinora test` runs.
    pub cases: Vec<Case>,
    /// Hash over every definition, in hexadecimal.
    pub hash: String,
}

impl Definitions {
    /// What others are held against: keys and the tables of lists.
    pub fn keyed(&self) -> Keyed<'_> {
        Keyed { model: &self.model, plan: &self.plan }
    }
}

/// What the status page, `kinora status` and `/admin/status` show.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    /// Generation that answers.
    pub generation: u32,
    pub definitions: String,
    /// A generation under construction: how many events of how many are folded.
    pub building: Option<Building>,
    pub topics: Vec<TopicStatus>,
    pub projections: Vec<ProjectionStatus>,
    /// Why the log takes no more events; `None` while it does.
    #[serde(default)]
    pub log_halted: Option<String>,
    /// Diagnostics of the last reload that failed, as text; empty when the running definitions are the files'.
    pub diagnostics: Vec<String>,
}

/// A generation being built.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Building {
    pub generation: u32,
    pub done: u64,
    pub total: u64,
}

/// A topic and what it holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TopicStatus {
    pub name: String,
    /// Offsets `[start, end)` of each partition.
    pub partitions: Vec<(u64, u64)>,
}

impl TopicStatus {
    fn of(topic: &TopicInfo) -> TopicStatus {
        let partitions = topic.partitions.iter().map(|part| (part.start, part.end));
        TopicStatus { name: topic.name.to_string(), partitions: partitions.collect() }
    }
}

/// A projection and how far it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProjectionStatus {
    pub name: String,
    pub entity: String,
    pub topic: String,
    /// `B owned fold` and the like.
    pub kind: String,
    pub partitions: Vec<PartitionStatus>,
    pub lag_events: u64,
    pub lag_ms: u64,
    pub parked_keys: usize,
    /// Events that have left the queues of parked keys, since the generation was made: applied by a retry, skipped, dropped.
    #[serde(default)]
    pub parked_retried: u64,
    #[serde(default)]
    pub parked_skipped: u64,
    #[serde(default)]
    pub parked_dropped: u64,
    /// `running`, `catching up`, `paused by …`, or `halted: …`, `waiting: …`, `stalled: …` with the reason.
    pub state: String,
    /// Where it stands still, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stalled: Option<Stall>,
}

/// A projection in one partition.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PartitionStatus {
    pub topic: String,
    pub partition: u32,
    /// The first offset that the generation read, and what the definitions said of it: `earliest`, `latest` or a time.
    pub began: u64,
    pub start: String,
    pub position: u64,
    pub end: u64,
    /// Time between now and the last event passed, milliseconds; 0 where nothing is behind it.
    #[serde(default)]
    pub lag_ms: u64,
    /// Parked keys whose first event lies here.
    #[serde(default)]
    pub parked_keys: usize,
    /// The internal topic that it goes through, on its way to rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub through: Option<String>,
    /// Who works it, where processes share the partitions and one says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<PartitionOwner>,
}

/// The process that works a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionOwner {
    /// `host:pid`.
    pub process: String,
    /// How often the partition has been taken so far.
    pub epoch: u64,
}
