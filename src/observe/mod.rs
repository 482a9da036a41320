//! What a process tells of itself: metrics.
//!
//! Comes in: counts of the write loops, the stores and the server, and at each scrape what an engine knows of its state. Goes
//! out: the text of `/metrics`. `list` is the closed list of metrics, `count` has those that are counted as things happen,
//! `measure` those that are looked at when asked for, `memory` what the system says of the process.
//!
//! Metrics are of the process, as its logs are: there is one set of them, [`metrics`], and whoever runs two engines in one
//! process sees both together. Nothing here imports another room.

mod count;
pub mod list;
mod measure;
mod memory;

pub use count::{Count, Durations, Folding, Limit, Metrics, OperationKind, Reads, metrics};
pub use measure::{Measured, MeasuredPartition, MeasuredProjection, STATES, text};

/// Type of the text of `/metrics`.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
