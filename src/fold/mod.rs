//! (row, event) → what becomes of the row.
//!
//! Comes in: a bound projection, the row before the event, the event. Goes out: a [`Change`], or a [`Reject`]. Pure:
//! the same row and event always give the same change. `run` carries out the declared cases, `steps` what they
//! assign and `make` the values, `patch` has what they change in a row that is there, `settle` checks what every row
//! must hold, `guard` knows events that come again. Positions, keys and stores are not known here.

mod columns;
mod guard;
mod make;
mod patch;
mod run;
mod settle;
mod steps;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use crate::handler::{Change, Fold};
pub use columns::ColumnSet;

use crate::event::{Event, Json, Reject, Stage, Taken};
use crate::expr::{Compiled, Fault};
use crate::handler::{Handling, Projection};
use crate::schema::ColumnId;
use crate::value::{Cells, Value};
use guard::Marks;
pub(crate) use patch::Patch;
use run::Outcome;

/// A row: its cells, or `None` where it is not there.
pub type State = Option<Arc<Cells>>;

/// What an event has changed in a row, to take it back.
#[derive(Debug)]
#[must_use]
pub struct Undo(Before);

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "lives for one event: a box would cost more than its move")]
enum Before {
    /// The row as it was.
    Row(State),
    /// What stood where the event changed something.
    Patch(Patch),
    /// Several changes, oldest first.
    Several(Vec<Undo>),
}

impl Undo {
    /// Adds the columns that the event may have changed; `width` is how many the row has.
    pub fn add_changed(&self, width: usize, changed: &mut ColumnSet) {
        match &self.0 {
            Before::Row(_) => changed.extend(&ColumnSet::first(width)),
            Before::Patch(patch) => patch.columns().for_each(|column| changed.insert(column)),
            Before::Several(changes) => changes.iter().for_each(|change| change.add_changed(width, changed)),
        }
    }

    /// Makes the row what it was before the event.
    pub fn take_back(self, row: &mut State) {
        match (self.0, row) {
            (Before::Row(before), row) => *row = before,
            (Before::Patch(mut patch), Some(row)) => patch.swap(Arc::<Cells>::make_mut(row)),
            (Before::Patch(_), None) => {}
            (Before::Several(changes), row) => {
                for change in changes.into_iter().rev() {
                    change.take_back(row);
                }
            }
        }
    }
}

/// Applies an event to the row with that key, or to none where the row's `ttl` is over at the event's time; in place
/// where it is there and nobody else holds it. Answers what takes it back; `None`: nothing has changed.
///
/// # Errors
/// A [`Reject`] that says of which event type, which column or condition, in which expression and why; the row then stays
/// as it was.
pub fn apply(
    projection: &Projection,
    key_cells: &[(ColumnId, Value)],
    row: &mut State,
    event: &Event,
) -> Result<Option<Undo>, Reject> {
    let mut undo = unless_over(projection, row, event, |row| {
        match guard::admit(projection, row.as_ref().map(|cells| cells.as_slice()), event)? {
            Some(marks) => apply_one(projection, key_cells, row, (event, None), &marks),
            None => Ok(None),
        }
    })?;
    timed(projection, row, event, undo.as_mut());
    Ok(undo)
}

/// Writes the event's time into the row that it has written, where a `ttl` counts from it.
fn timed(projection: &Projection, row: &mut State, event: &Event, undo: Option<&mut Undo>) {
    let (Some(column), Some(cells), Some(undo)) = (projection.shape.time, row, undo) else { return };
    let index = column.0 as usize;
    let cell = &mut Arc::<Cells>::make_mut(cells)[index];
    let old = std::mem::replace(cell, Value::Timestamp(event.time_ms));
    match &mut undo.0 {
        Before::Row(_) => {}
        Before::Patch(patch) => patch.note(index, old),
        Before::Several(changes) => {
            let mut patch = Patch::default();
            patch.set(index, old);
            changes.push(Undo(Before::Patch(patch)));
        }
    }
}

/// Goes on with the row, or with none where the row's `ttl` is over at the event's time.
fn unless_over(
    projection: &Projection,
    row: &mut State,
    event: &Event,
    then: impl FnOnce(&mut State) -> Result<Option<Undo>, Reject>,
) -> Result<Option<Undo>, Reject> {
    let is_over = |cells: &Arc<Cells>| {
        projection.shape.expiry.is_some_and(|expiry| expiry.is_over(cells, event.time_ms))
    };
    if !row.as_ref().is_some_and(is_over) {
        return then(row);
    }
    // By the event's own time, not by a clock: a replay sees the same row.
    let before = row.take();
    match then(row) {
        Ok(Some(_)) => Ok(Some(Undo(Before::Row(before)))),
        unchanged => {
            *row = before;
            unchanged
        }
    }
}

fn apply_one(
    projection: &Projection,
    key_cells: &[(ColumnId, Value)],
    row: &mut State,
    (event, element): (&Event, Option<&Json>),
    marks: &Marks,
) -> Result<Option<Undo>, Reject> {
    let cells = row.as_ref().map(|cells| cells.as_slice());
    let told = |reject| of_event(event, reject);
    let change = match &projection.handling {
        Handling::Declared(declared) => {
            match run::fold(projection, declared, key_cells, cells, (event, element), marks).map_err(told)? {
                Outcome::Patch(patch) => return amend(projection, row, patch).map(Some).map_err(told),
                Outcome::Change(change) => change,
            }
        }
        Handling::Custom(handler) => match handler.fold(cells, event)? {
            Change::Write(mut cells) => {
                // A handler knows nothing of the column that the engine keeps behind the others.
                if projection.shape.time.is_some_and(|time| time.0 as usize == cells.len()) {
                    cells.push(Value::Null);
                }
                for (index, value) in marks {
                    // A row that is too short is refused just below.
                    if let Some(cell) = cells.get_mut(*index) {
                        *cell = value.clone();
                    }
                }
                Change::Write(settle::custom(projection, key_cells, cells)?)
            }
            other => other,
        },
    };
    let new = match change {
        // A row that an event leaves as it is remembers it all the same.
        Change::Nothing if row.is_some() && !marks.is_empty() => {
            let mut patch = Patch::default();
            patch.mark(marks);
            return amend(projection, row, patch).map(Some);
        }
        Change::Nothing => return Ok(None),
        Change::Write(cells) => Some(Arc::new(cells)),
        Change::Delete => None,
    };
    Ok(Some(Undo(Before::Row(std::mem::replace(row, new)))))
}

/// Applies the events of one record to a row, as [`apply`] does: all of them, or none.
///
/// # Errors
/// The [`Reject`] of the first that cannot be applied; the row then stays as it was before all of them.
pub fn apply_all(
    projection: &Projection,
    key_cells: &[(ColumnId, Value)],
    row: &mut State,
    events: &[Taken],
) -> Result<Option<Undo>, Reject> {
    let (Some(first), Some(last)) = (events.first(), events.last()) else { return Ok(None) };
    let mut undo = unless_over(projection, row, &first.event, |row| {
        match guard::admit(projection, row.as_ref().map(|cells| cells.as_slice()), &first.event)? {
            Some(marks) => apply_each(projection, key_cells, row, events, &marks),
            None => Ok(None),
        }
    })?;
    timed(projection, row, &last.event, undo.as_mut());
    Ok(undo)
}

fn apply_each(
    projection: &Projection,
    key_cells: &[(ColumnId, Value)],
    row: &mut State,
    events: &[Taken],
    marks: &Marks,
) -> Result<Option<Undo>, Reject> {
    let mut changes = Vec::new();
    for Taken { event, element } in events {
        match apply_one(projection, key_cells, row, (event, element.as_ref()), marks) {
            Ok(change) => changes.extend(change),
            Err(reject) => {
                Undo(Before::Several(changes)).take_back(row);
                return Err(reject);
            }
        }
    }
    Ok((!changes.is_empty()).then_some(Undo(Before::Several(changes))))
}

/// Removes a row. Answers what takes that back; `None`: it was not there.
pub fn delete(row: &mut State) -> Option<Undo> {
    row.take().map(|cells| Undo(Before::Row(Some(cells))))
}

fn amend(projection: &Projection, row: &mut State, mut patch: Patch) -> Result<Undo, Reject> {
    if let Some(row) = row {
        let cells = Arc::make_mut(row);
        patch.swap(cells);
        if let Err(reject) = settle::patched(projection, cells, &mut patch) {
            patch.swap(cells);
            return Err(reject);
        }
    }
    Ok(Undo(Before::Patch(patch)))
}

/// The cells that an event assigns in a projection of kind A, those of the key included, without looking at a row.
/// `None`: the event changes nothing. `element` is that of [`Taken`].
///
/// # Errors
/// As [`apply`].
pub fn assignments(
    projection: &Projection,
    key_cells: &[(ColumnId, Value)],
    event: &Event,
    element: Option<&Json>,
) -> Result<Option<Vec<(ColumnId, Value)>>, Reject> {
    match &projection.handling {
        Handling::Declared(declared) => run::assignments(projection, declared, key_cells, (event, element))
            .map_err(|reject| of_event(event, reject)),
        Handling::Custom(_) => Err(reject("a handler written in Rust is never a blind set")),
    }
}

fn reject(reason: impl Into<String>) -> Reject {
    Reject::new(Stage::Fold, reason)
}

/// The reason with the event's type before it, as the path that the author wrote: `OrderPlaced.total: …`.
fn of_event(event: &Event, reject: Reject) -> Reject {
    Reject { reason: format!("{}.{}", event.kind, reject.reason), ..reject }
}

/// The reject of an expression that has no value: where it stands, why, and the expression, unless the reason is about
/// all of it.
fn unevaluated(place: &str, expression: &Compiled, Fault(reason): &Fault) -> Reject {
    let shown = expression.shown();
    match reason.starts_with(shown) {
        true => reject(format!("{place}: {reason}")),
        false => reject(format!("{place}: {reason}, in `{shown}`")),
    }
}
