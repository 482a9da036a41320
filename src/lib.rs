//! Kinora folds event streams into denormalised tables, one table per query, and serves them as an Apollo
//! Federation subgraph. This page is its architecture; the README says how to use it.
//!
//! It is the read side only: not an event store for a write side, not a gateway, not a message broker.
//!
//! # The path of an event
//!
//! [`source`] reads records of a partition, in order. [`decode`] makes a body of a record's bytes, [`upcast`] brings
//! it to today's version, [`route`] finds the row it concerns, [`fold`] makes the row's next state. [`project`] is
//! the loop around them: it groups events by row, derives the rows of every copy, and commits all of it with its
//! position to a [`store`]. An event that cannot be applied parks its key; the loop goes on.
//!
//! # The path of a query
//!
//! [`serve`] takes the request off HTTP and checks its bounds. [`resolve`] parses, validates and plans an operation
//! once, reads level by level with one read set per table from the [`store`], and writes JSON straight from rows.
//!
//! # What both follow from
//!
//! [`schema`] binds `schema/*.graphql` to read models. [`expr`] types and compiles expressions. [`plan`] lays read
//! models out as tables and binds every read to exactly one. [`handler`] binds `projections/*.yaml` to read models.
//! [`lint`] says what of all that is stored badly.
//! [`engine`] puts all of it to work in one process; [`propose`] drafts definitions from a sample of events;
//! [`config`] has the settings, [`cli`] the commands; [`observe`] is what a process tells of itself.
//!
//! # Invariants
//!
//! `tests/tidy.rs` holds those that can be seen in the text, the contract and model tests the others.
//!
//! - `schema`, `expr`, `plan`, `handler`, `lint`, `decode`, `upcast`, `route` and `fold` are pure: no I/O, no clock, no chance,
//!   no async. What a row becomes is a function of the log alone.
//! - `project` and `resolve`/`serve` know nothing of each other. They meet in `plan` and `store`. `observe` is told by others,
//!   and knows none of them.
//! - Only `project` commits. A row's state and the position that made it travel in one write; progress never runs
//!   ahead of rows.
//! - An event at or below a row's position is skipped before it is evaluated.
//! - A row's writes are replacements: what stood under a key before is gone, whoever wrote it.
//! - Nothing rests on an event arriving once, or on one process being alone; but projections that merge partitions in memory
//!   rest on a store that applies a batch whole. On any other they go through an internal topic, and a row is folded from one
//!   partition of that.
//! - No event is skipped because it is bad: its key waits, and answers say so.
//! - No read scans. A field that no table can answer from one partition does not pass `check`.
//! - Each outside crate is named in one room: `apollo_compiler` in `schema` and `resolve`, `cel` in `expr`, `fjall` in
//!   `store/embedded`, `rdkafka` in `source/kafka`, `axum` in `serve`, `clap` in `cli`,
//!   `prometheus_client`, OpenTelemetry's and `tracing_subscriber` in `observe`.
//! - `unsafe` stands in two places: `allocator`, of the program, and `source/kafka/native`.
//! - Nothing from outside makes a panic: definitions get diagnostics, events get rejects, requests get errors.
//! - What outlives a process (rows, keys, progress, cursors, log segments) is encoded by hand in one place, with a
//!   version.

#![deny(unsafe_code)]

/// The README's code runs with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub mod cli;
pub mod clock;
pub mod config;
pub mod decode;
pub mod diagnostic;
pub mod engine;
pub mod event;
pub mod expr;
pub mod fold;
pub mod handler;
pub mod lint;
pub mod observe;
pub mod plan;
pub mod project;
pub mod propose;
pub mod resolve;
pub mod route;
pub mod sample;
pub mod schema;
pub mod serve;
pub mod source;
pub mod store;
pub mod testing;
pub mod upcast;
pub mod value;
