//! Tests of the whole room, on the store in memory and the store on disk, with the shop's definitions.
//!
//! `shop` makes rows and asks; the rest is by subject.

mod answers;
mod federation;
mod freshness;
mod hostile;
mod operations;
mod paging;
mod ranges;
mod reads;
mod reference;
mod shop;
mod watched;
