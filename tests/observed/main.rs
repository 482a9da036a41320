//! `kinora project` and `kinora serve` as processes on a real Kafka broker and a real Cassandra node: what they tell of
//! themselves, and what they may do.
//!
//! Runs where `KINORA_REAL=1` is set, as `.ci/run` does. `exposition` and `spans` read what is told, also for `tests/it`.
#![cfg(all(feature = "cassandra", feature = "kafka"))]
#![allow(clippy::print_stdout, reason = "what was left out is shown")]

mod deployment;
mod exposition;
#[path = "../servers/kafka.rs"]
mod kafka_server;
#[path = "../cluster/process.rs"]
#[allow(dead_code, reason = "processes of clusters are shared")]
mod process;
mod rights;
#[path = "../servers/mod.rs"]
mod servers;
mod told;

/// A time within which all events lie.
const NOW_MS: i64 = 1_767_225_600_000;

/// How long a run is.
fn number(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}
