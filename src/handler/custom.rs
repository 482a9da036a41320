//! Handlers written in Rust: the way out where the projection language cannot say it.
//!
//! Comes in: a row and an event. Goes out: what becomes of the row. Which rows and events is said by the projection's
//! file all the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::event::{Event, Reject};
use crate::value::{Cells, Value};

/// Handlers written in Rust, by the name that `handler:` says.
pub type CustomHandlers = BTreeMap<String, Arc<dyn Fold>>;

/// What becomes of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// It stays as it is.
    Nothing,
    /// It is there, with these cells: one for each column.
    Write(Cells),
    /// It goes.
    Delete,
}

/// A handler written in Rust: the way out where the projection language cannot say it.
///
/// It sees the row and the event and nothing else, and must answer the same whenever it is asked the same; then
/// crashes, redelivery and rebuilds are as harmless as with a declared projection. Key, position and state stay
/// the engine's.
pub trait Fold: Send + Sync {
    /// The change that an event makes; `row` is `None` where there is none. Cells stand in the order of the
    /// read model's columns; those of the key must stay as they are. Computed columns are made afterwards.
    ///
    /// # Errors
    /// A reason to park the row's key: a fact about the event, as one sentence with the values found.
    fn fold(&self, row: Option<&[Value]>, event: &Event) -> Result<Change, Reject>;
}
