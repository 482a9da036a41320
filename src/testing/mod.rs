//! What tests of definitions and of the engine itself stand on: tables that stop a process at a chosen write, or
//! forget how far it had come. `kinora test` uses it too.

mod interrupt;
#[cfg(test)]
pub(crate) mod spoil;

pub use interrupt::Interrupted;
