//! The seeded simulation: the real write loop on one thread, over a store and a log that do their worst.
//!
//! `case` draws definitions, a log and a schedule from a seed; `world` carries it out over `desk`, `tables` and `source`,
//! the seams of the loop; `operator` sets parked keys free, and has the fences of owners; `history` says by the independent reference what the log means, `check` holds everything
//! against that after each change, and at the end. `KINORA_SEEDS` says how many seeds (2,000), `KINORA_SEED_BASE` where they
//! start (1).

#![allow(clippy::print_stdout, reason = "seeds are printed")]

mod case;
mod check;
mod desk;
mod ends;
mod graph;
mod history;
mod language;
mod operator;
mod owners;
mod plant;
mod planted;
mod runs;
mod seen;
mod shrink;
mod source;
mod tables;
mod world;
