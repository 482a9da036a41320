//! Events that a row has taken before, and events that come out of turn.
//!
//! Comes in: the row, and the id and number of an event. Goes out: whether the row takes it, and the cells that remember it;
//! or a [`Reject`]. What is remembered stands in columns of the row, so it is written with what the event changed. All
//! events of one record are decided by the first: they have one id and one number.

use smallvec::SmallVec;

use super::reject;
use crate::event::{Event, Reject};
use crate::handler::{Origin, Projection, Repeat, Sequence};
use crate::schema::ColumnId;
use crate::value::Value;

/// Cells that remember an event.
pub type Marks = SmallVec<[(usize, Value); 2]>;

/// Decides about an event: `None` where the row has taken it before.
pub fn admit(projection: &Projection, row: Option<&[Value]>, event: &Event) -> Result<Option<Marks>, Reject> {
    let mut marks = Marks::new();
    let Origin { remember, sequence, .. } = projection.source(&event.position.at.topic);
    if let (Some(remember), Some(id)) = (remember, &event.id) {
        let column = remember.column;
        let known = match row.map(|row| &row[column.0 as usize]) {
            Some(Value::List(ids)) => ids.as_slice(),
            _ => &[],
        };
        if known.iter().any(|known| known.as_str() == Some(id)) {
            return Ok(None);
        }
        let max = projection.shape.column(column).max.map_or(usize::MAX, |max| max as usize);
        let forgotten = (known.len() + 1).saturating_sub(max);
        let ids = known[forgotten..].iter().cloned().chain([Value::text(&**id)]).collect();
        marks.push((column.0 as usize, Value::List(ids)));
    }
    if let (Some(sequence), Some(number)) = (sequence, event.number) {
        if !in_turn(projection, sequence, row, number)? {
            return Ok(None);
        }
        marks.push((sequence.column.0 as usize, Value::Int(number)));
    }
    Ok(Some(marks))
}

/// Whether an event with that number is the row's next; what it is otherwise, `sequence` says.
fn in_turn(
    projection: &Projection,
    sequence: &Sequence,
    row: Option<&[Value]>,
    number: i64,
) -> Result<bool, Reject> {
    let name = || &projection.shape.column(sequence.column).name;
    let last = row.and_then(|row| number_in(row, sequence.column));
    let expected = match last {
        Some(last) if number <= last => {
            return match sequence.repeat {
                Repeat::Ignore => Ok(false),
                Repeat::Park => Err(reject(format!(
                    "{} is {number}, but the row's {} is {last} already",
                    sequence.number.text,
                    name()
                ))),
            };
        }
        Some(last) => last.saturating_add(1),
        None => match sequence.first {
            Some(first) => first,
            None => return Ok(true),
        },
    };
    if number == expected || sequence.accepts_gaps {
        return Ok(true);
    }
    Err(reject(format!(
        "{} is {number}, expected {expected}: an event of the row is missing or comes later",
        sequence.number.text
    )))
}

fn number_in(row: &[Value], column: ColumnId) -> Option<i64> {
    match row[column.0 as usize] {
        Value::Int(number) => Some(number),
        _ => None,
    }
}
