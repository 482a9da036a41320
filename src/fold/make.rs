//! Makes the value that stands behind a column or a part: an expression's, a record, a list of records, a list or a set
//! with one element more.
//!
//! Comes in: how it is made, the slots filled, what stood there. Goes out: the value; nothing, where a path into the event is
//! missing there and all stays as it is; or a [`Reject`] that names the place.

use super::steps::{Slots, reborrow};
use super::{reject, settle, unevaluated};
use crate::event::Reject;
use crate::expr::{Compiled, Slot};
use crate::handler::{EachMake, Make, Projection, RecordMake, blank};
use crate::schema::{Column, ColumnId, ColumnType};
use crate::value::Value;

/// What stood where a value is made.
#[derive(Clone, Copy)]
pub struct Before<'v> {
    /// As it stands after the steps so far.
    pub now: Option<&'v Value>,
    /// Of a record, what it was before the event.
    pub old: Option<&'v [Value]>,
}

/// Makes values of one projection.
#[derive(Clone, Copy)]
pub struct Maker<'p> {
    pub projection: &'p Projection,
}

/// The cells of a record.
pub fn cells(value: &Value) -> Option<&[Value]> {
    match value {
        Value::Record(cells) => Some(cells),
        _ => None,
    }
}

type Place<'f> = &'f dyn Fn() -> String;

impl Maker<'_> {
    /// The new value; `None`: it stays as it is.
    pub fn make(
        self,
        slots: &Slots<'_>,
        make: &Make,
        column: &Column,
        before: Before<'_>,
        place: Place<'_>,
    ) -> Result<Option<Value>, Reject> {
        match make {
            Make::Value(value) => evaluate(value, slots, place),
            Make::Record(made) => {
                let now = before.now.and_then(cells);
                self.record(slots, made, now, before.old, place).map(|cells| Some(Value::Record(cells)))
            }
            Make::Each(each) => self.each(slots, each, column, place),
            Make::Append { element, keep } => self.append(slots, element, (column, *keep), before, place),
            Make::Add(element) => {
                let Some(element) = evaluate(element, slots, place)? else { return Ok(None) };
                Ok(Some(joined(before.now, std::iter::once(element))))
            }
            Make::AddAll(elements) => match evaluate(elements, slots, place)? {
                Some(Value::Set(elements)) => Ok(Some(joined(before.now, elements))),
                _ => Ok(None),
            },
        }
    }

    /// A record from its parts, over the one that stands there.
    pub fn record(
        self,
        slots: &Slots<'_>,
        made: &RecordMake,
        now: Option<&[Value]>,
        old: Option<&[Value]>,
        place: Place<'_>,
    ) -> Result<Vec<Value>, Reject> {
        if !made.sees_old {
            return self.parts(slots, made, now, place);
        }
        let mut seeing: Slots<'_> = slots.iter().map(reborrow).collect();
        seeing.push(Slot::Record(old));
        self.parts(&seeing, made, now, place)
    }

    /// The cells of a record from its parts; the slots have what they look at.
    pub fn parts(
        self,
        slots: &Slots<'_>,
        made: &RecordMake,
        now: Option<&[Value]>,
        place: Place<'_>,
    ) -> Result<Vec<Value>, Reject> {
        let columns = &self.projection.shape.records[&made.record];
        let mut cells = match now {
            Some(now) => now.to_vec(),
            None => columns.iter().map(blank).collect(),
        };
        for (part, make) in &made.parts {
            let index = part.0 as usize;
            let column = &columns[index];
            let inside = || format!("{}.{}", place(), column.name);
            let before = Before { now: Some(&cells[index]), old: None };
            if let Some(value) = self.make(slots, make, column, before, &inside)? {
                cells[index] = value;
            }
            settle::check(&self.projection.shape, column, &cells[index])
                .map_err(|found| reject(format!("{}.{}", place(), found.reason)))?;
        }
        Ok(cells)
    }

    fn each(
        self,
        slots: &Slots<'_>,
        each: &EachMake,
        column: &Column,
        place: Place<'_>,
    ) -> Result<Option<Value>, Reject> {
        let elements = each.list.list(slots).map_err(|fault| unevaluated(&place(), &each.list, &fault))?;
        let Some(elements) = elements else {
            // Missing leaves the column, null clears it: as with `column: event.field`.
            return Ok(each.list.is_null(slots).then_some(Value::Null));
        };
        settle::check_len(column, elements.len())?;
        let mut records = Vec::with_capacity(elements.len());
        let mut slots: Slots<'_> = slots.iter().map(reborrow).collect();
        for (index, element) in elements.into_iter().enumerate() {
            slots.push(element);
            records.push(self.parts(&slots, &each.made, None, &|| format!("{}[{index}]", place()))?);
            slots.pop();
        }
        match each.keyed_by {
            None => Ok(Some(Value::List(records.into_iter().map(Value::Record).collect()))),
            Some(key) => keyed(records, key, place).map(Some),
        }
    }

    fn append(
        self,
        slots: &Slots<'_>,
        element: &Make,
        (column, keep): (&Column, Option<usize>),
        before: Before<'_>,
        place: Place<'_>,
    ) -> Result<Option<Value>, Reject> {
        let mut items = match before.now {
            Some(Value::List(items)) => items.clone(),
            _ => Vec::new(),
        };
        let ty = match &column.ty {
            ColumnType::List(of) => (**of).clone(),
            other => other.clone(),
        };
        let of = Column { ty, non_null: true, max: None, ..column.clone() };
        let nothing = Before { now: None, old: None };
        let index = items.len();
        let inside = || format!("{}[{index}]", place());
        let Some(element) = self.make(slots, element, &of, nothing, &inside)? else { return Ok(None) };
        items.push(element);
        let surplus = keep.map_or(0, |keep| items.len().saturating_sub(keep));
        items.drain(..surplus);
        Ok(Some(Value::List(items)))
    }
}

fn evaluate(value: &Compiled, slots: &Slots<'_>, place: Place<'_>) -> Result<Option<Value>, Reject> {
    value.cell(slots).map_err(|fault| unevaluated(&place(), value, &fault))
}

/// A set with elements more.
fn joined(now: Option<&Value>, elements: impl IntoIterator<Item = Value>) -> Value {
    let mut items = match now {
        Some(Value::Set(items)) => items.clone(),
        _ => Vec::new(),
    };
    for element in elements {
        if let Err(at) = items.binary_search(&element) {
            items.insert(at, element);
        }
    }
    Value::Set(items)
}

fn keyed(records: Vec<Vec<Value>>, key: ColumnId, place: Place<'_>) -> Result<Value, Reject> {
    let mut entries = Vec::with_capacity(records.len());
    for record in records {
        let key = record[key.0 as usize].clone();
        if key.is_null() {
            return Err(reject(format!("{}: an element has no key", place())));
        }
        entries.push((key, Value::Record(record)));
    }
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(Value::Map(entries))
}
