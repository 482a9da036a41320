//! What tests of definitions and of the engine itself stand on: tables that stop a process at a chosen write, or
//! forget how far it had come, and stores and logs that hang. `kinora test` uses it too.

mod around;
mod hold;
mod interrupt;
#[cfg(test)]
pub(crate) mod spoil;

pub use around::Around;
pub use hold::{Gate, Gatekeeper, HeldSource, HeldStore, HeldTables};
pub use interrupt::Interrupted;
