//! What a process tells of itself: metrics, logs and traces.
//!
//! Comes in: counts and spans of the write loops, the stores and the server, and at each scrape what an engine knows of its
//! state. Goes out: the text of `/metrics`, lines on standard error, spans to a collector. `list` is the closed list of
//! metrics, `count` has those that are counted as things happen, `measure` those that are looked at when asked for,
//! `memory` what the system says of the process; `logs` sets up what is logged and traced, `traces` makes spans, `queue`
//! bounds those that wait to be sent, `collector` speaks HTTP with whoever takes them.
//!
//! Metrics are of the process, as its logs are: there is one set of them, [`metrics`], and whoever runs two engines in one
//! process sees both together. Nothing here imports another room.

mod collector;
mod count;
pub mod list;
mod logs;
mod measure;
mod memory;
mod queue;
mod traces;

pub use count::{Count, Durations, Folding, Limit, Metrics, OperationKind, Reads, metrics};
pub use logs::{LogFormat, begin};
pub use measure::{Measured, MeasuredPartition, MeasuredProjection, STATES, text};
pub use traces::{Sending, Traces, continue_trace};

/// Type of the text of `/metrics`.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
