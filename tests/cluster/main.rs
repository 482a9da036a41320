//! `kinora apply`, `project` and `serve` as processes, on a real Kafka broker and a real Cassandra node: whatever fails
//! meanwhile, rows are those of the oracle, in the tables and through the graph.
//!
//! `workers` kills and holds up what folds, and lets it come and go; `outage` does so to broker and node, `nodes` to a cluster of three, `network` to
//! statements on their way; `operate` sees and steers what folds; `log` has events that come twice, all at once, or not any more, `refusals` settings and clusters
//! that are wrong. Here: what they share. `deployment` and `process` start what is tested, `load` publishes, `proxy` is a bad
//! network, `cql` looks into the keyspace, `compare` holds all of it against the oracle, which is that of `tests/model`.
//!
//! Runs where `KINORA_REAL=1` is set, as `.ci/run` does. Seeds and lengths are printed, and set by the environment.
#![cfg(all(feature = "cassandra", feature = "kafka"))]
#![allow(clippy::print_stdout, reason = "what was left out, and the seed, is shown")]

mod compare;
mod cql;
mod deployment;
#[path = "../servers/kafka.rs"]
mod kafka_server;
mod load;
mod log;
mod network;
mod nodes;
mod operate;
mod outage;
mod process;
mod proxy;
mod refusals;
mod relayed;
#[path = "../servers/mod.rs"]
mod servers;
mod workers;

#[path = "../model/answers.rs"]
#[allow(dead_code, reason = "the oracle is shared")]
mod answers;
#[path = "../model/cel_walk.rs"]
#[allow(dead_code, reason = "the oracle is shared")]
mod cel_walk;
#[path = "../model/definitions.rs"]
#[allow(dead_code, reason = "the oracle is shared")]
mod definitions;
#[path = "../model/events.rs"]
#[allow(dead_code, reason = "the oracle is shared")]
mod events;
#[path = "../model/oracle.rs"]
#[allow(dead_code, reason = "the oracle is shared")]
mod oracle;
#[path = "../model/rows.rs"]
#[allow(dead_code, reason = "the oracle is shared")]
mod rows;
#[path = "../model/value.rs"]
#[allow(dead_code, reason = "the oracle is shared")]
mod value;

/// How long a run is, or how many of something it has.
fn number(name: &str, default: usize) -> usize {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}, expected a number")),
        Err(_) => default,
    }
}

/// What draws events and moments.
fn seed() -> u64 {
    number("KINORA_SEED_BASE", 1) as u64
}

/// How nodes that are killed sync: before they acknowledge, as docs/reliability.md asks for; `KINORA_CLUSTER_SYNC=periodic`
/// shows what is lost otherwise.
fn sync() -> (&'static str, &'static str) {
    let is_periodic = std::env::var("KINORA_CLUSTER_SYNC").is_ok_and(|sync| sync == "periodic");
    ("CASSANDRA_SYNC", if is_periodic { "periodic" } else { "batch" })
}
