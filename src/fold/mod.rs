//! (row, event) → what becomes of the row.
//!
//! Comes in: a bound projection, the row before the event, the event. Goes out: a [`Change`], or a [`Reject`]. Pure:
//! the same row and event always give the same change. `run` carries out the declared cases, `settle` checks
//! what every row must hold. Positions, keys and stores are not known here.

mod run;
mod settle;
#[cfg(test)]
mod tests;

pub use crate::handler::{Change, Fold};

use crate::event::{Event, Reject, Stage};
use crate::handler::{Handling, Projection};
use crate::schema::ColumnId;
use crate::value::Value;

/// Applies an event to the row with that key.
///
/// # Errors
/// A [`Reject`] that says which column or condition and why; the row then stays as it was.
pub fn fold(
    projection: &Projection,
    key_cells: &[(ColumnId, Value)],
    row: Option<&[Value]>,
    event: &Event,
) -> Result<Change, Reject> {
    match &projection.handling {
        Handling::Declared(declared) => run::fold(projection, declared, key_cells, row, event),
        Handling::Custom(handler) => match handler.fold(row, event)? {
            Change::Write(cells) => settle::custom(projection, key_cells, cells).map(Change::Write),
            other => Ok(other),
        },
    }
}

/// The cells that an event assigns in a projection of kind A, those of the key included, without looking at a row.
/// `None`: the event changes nothing.
///
/// # Errors
/// As [`fold`].
pub fn assignments(
    projection: &Projection,
    key_cells: &[(ColumnId, Value)],
    event: &Event,
) -> Result<Option<Vec<(ColumnId, Value)>>, Reject> {
    match &projection.handling {
        Handling::Declared(declared) => run::assignments(projection, declared, key_cells, event),
        Handling::Custom(_) => Err(reject("a handler written in Rust is never a blind set")),
    }
}

fn reject(reason: impl Into<String>) -> Reject {
    Reject::new(Stage::Fold, reason)
}
