//! The expression language from outside: the public conformance data of CEL where it is at hand, facts of our own, the
//! reference page, and random expressions against an oracle.
//!
//! Seeds: `KINORA_SEEDS` says how many, `KINORA_SEED_BASE` where they start.

#![allow(clippy::print_stdout, reason = "seeds and summaries are printed")]

mod conformance;
mod facts;
mod oracle;
mod page;
mod random;
mod textproto;
mod values;
