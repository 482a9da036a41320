//! Kinora from outside: the binary as a person starts it, and the library as a program embeds it.
//!
//! One file for each subject; `support` starts processes and engines and asks them.

mod arguments;
mod both;
mod budget;
mod collections;
mod commands;
mod counts;
mod custom;
mod editors;
mod embedded;
mod expiry;
mod explain;
#[path = "../observed/exposition.rs"]
mod exposition;
mod filters;
mod generations;
mod headers;
mod hostile;
mod indexes;
mod init;
mod interfaces;
mod language;
mod layouts;
mod limits;
mod logs;
mod mending;
mod metrics;
mod one_of;
mod overseeing;
mod parking;
mod pausing;
mod public;
mod reading;
mod readme;
mod reference_lists;
mod references;
mod reload;
mod restart;
mod sampling;
mod scalars;
mod sharing;
#[path = "../observed/spans.rs"]
mod spans;
mod stalls;
mod starts;
mod stopping;
mod support;
mod traces;
mod variants;
mod vectors;
