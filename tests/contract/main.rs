//! The contract suites: what every store and every source promises, run on each of them, and what the write loop
//! promises to a store.

#[cfg(feature = "cassandra")]
mod applied;
#[cfg(feature = "cassandra")]
mod cluster;
mod coordination;
#[cfg(feature = "cassandra")]
mod forgotten;
#[cfg(feature = "kafka")]
mod kafka;
mod merged;
mod parked;
mod projector;
mod ranges;
mod relayed;
mod released;
mod sources;
mod spoilt;
mod tables;
mod types;

use std::sync::Arc;

use kinora::diagnostic::{Sources, render};
use kinora::engine::{self, Definitions};
use kinora::handler::CustomHandlers;

/// Real brokers.
#[cfg(feature = "kafka")]
#[path = "../servers/kafka.rs"]
mod kafka_server;

/// Definitions of one schema and one projection.
fn bound(schema: &str, projection: &str, custom: &CustomHandlers) -> Arc<Definitions> {
    let mut sources = Sources::default();
    let schema = sources.add("schema/rows.graphql", schema);
    let projection = sources.add("projections/rows.yaml", projection);
    let loaded = engine::bind(sources, &[schema], &[projection], custom);
    loaded.definitions.unwrap_or_else(|| panic!("{}", render(&loaded.findings, &loaded.sources, false)))
}

/// Seeds of the random tests: `KINORA_SEEDS` of them from `KINORA_SEED_BASE` on.
fn seeds(default: u64) -> impl Iterator<Item = u64> {
    let number =
        |name: &str, default| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let base: u64 = number("KINORA_SEED_BASE", 1);
    base..base.saturating_add(number("KINORA_SEEDS", default))
}
