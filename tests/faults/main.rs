//! What happens to the data of `dev` when the machine does its worst: files damaged, processes killed, disks that fail or fill
//! up, and data that older versions wrote.
//!
//! One file for each kind of trouble. Random tests print their seeds: `KINORA_SEEDS` says how many, `KINORA_SEED_BASE` where
//! they begin. What a machine lacks is left out with a printed reason.

#![allow(clippy::print_stdout, reason = "what was left out, and what happened how often, is shown")]

mod accounts;
mod damage;
mod disks;
mod kills;
mod process;
mod shop;
