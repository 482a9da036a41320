//! What tests of definitions and of the engine itself stand on: tables that stop a process at a chosen write, or
//! forget how far it had come. `kinora test` uses it too.

mod interrupt;

pub use interrupt::Interrupted;
