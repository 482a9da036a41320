//! Carries out the declared cases: picks one, makes its `let`s, makes the new row. What its steps do is `steps`'s.
//!
//! Comes in: the bound cases, the row, the event. Goes out: a [`Change`], a [`Patch`] of the row that is there, or the
//! cells assigned. Only the columns that a case assigns are evaluated; the rest stays.

use super::guard::Marks;
use super::steps::{Slots, Steps, reborrow};
use super::{Change, Patch, reject, settle, unevaluated};
use crate::event::{Event, Json, Reject};
use crate::expr::{Compiled, Fields, Slot};
use crate::handler::names::FIRST_LET;
use crate::handler::{Case, Condition, Declared, EventCases, Projection, Verb};
use crate::schema::ColumnId;
use crate::value::Value;

/// What an event makes of a row.
#[expect(clippy::large_enum_variant, reason = "lives for one event: a box would cost more than its move")]
pub enum Outcome {
    Change(Change),
    /// The row that is there changes so. Not checked yet: that takes the new row.
    Patch(Patch),
}

/// Applies an event to a row.
pub fn fold(
    projection: &Projection,
    declared: &Declared,
    key_cells: &[(ColumnId, Value)],
    row: Option<&[Value]>,
    (event, element): (&Event, Option<&Json>),
    marks: &Marks,
) -> Result<Outcome, Reject> {
    let nothing = Outcome::Change(Change::Nothing);
    let Some(cases) = declared.events.get(&*event.kind) else { return Ok(nothing) };
    let fields = Fields::of(&event.body);
    let mut slots = slots(cases, row, (event, element), fields.as_ref());
    let Some(case) = pick(declared, cases, &slots)? else { return Ok(nothing) };
    match (case.verb, row) {
        (Verb::Update | Verb::Delete | Verb::Remove, None) if case.parks_missing => {
            Err(reject(format!("{}: there is no row", case.verb.name())))
        }
        (Verb::Create, Some(_)) | (Verb::Update | Verb::Delete | Verb::Remove, None) => Ok(nothing),
        (Verb::Delete, Some(_)) => Ok(Outcome::Change(Change::Delete)),
        (Verb::Replace, _) | (_, None) => {
            let mut patch = evaluate(projection, cases, case, &mut slots, None)?;
            patch.mark(marks);
            let cells = fresh(projection, key_cells, patch)?;
            Ok(Outcome::Change(Change::Write(cells)))
        }
        (_, Some(row)) => {
            let mut patch = evaluate(projection, cases, case, &mut slots, Some(row))?;
            patch.mark(marks);
            Ok(Outcome::Patch(patch))
        }
    }
}

/// The cells that an event assigns, whatever the row is.
pub fn assignments(
    projection: &Projection,
    declared: &Declared,
    key_cells: &[(ColumnId, Value)],
    (event, element): (&Event, Option<&Json>),
) -> Result<Option<Vec<(ColumnId, Value)>>, Reject> {
    let Some(cases) = declared.events.get(&*event.kind) else { return Ok(None) };
    let fields = Fields::of(&event.body);
    let mut slots = slots(cases, None, (event, element), fields.as_ref());
    let Some(case) = pick(declared, cases, &slots)? else { return Ok(None) };
    let mut assigned: Vec<_> = evaluate(projection, cases, case, &mut slots, None)?.into_cells().collect();
    assigned.sort_unstable_by_key(|(index, _)| *index);
    let mut cells = key_cells.to_vec();
    for (index, value) in assigned {
        settle::check(&projection.shape, &projection.shape.columns[index], &value)?;
        cells.push((id(index), value));
    }
    Ok(Some(cells))
}

fn id(index: usize) -> ColumnId {
    ColumnId(u32::try_from(index).expect("columns are counted in u32"))
}

/// Event, row, record and element, and a place for each `let`.
fn slots<'a>(
    cases: &EventCases,
    row: Option<&'a [Value]>,
    (event, element): (&'a Event, Option<&'a Json>),
    fields: Option<&'a Fields<'_>>,
) -> Slots<'a> {
    let mut slots = Slots::new();
    slots.push(fields.map_or(Slot::Json(&event.body), Fields::slot));
    slots.push(Slot::Record(row));
    slots.push(event.record.as_ref().map_or(Slot::Value(&Value::Null), Slot::Json));
    slots.push(element.map_or(Slot::Value(&Value::Null), Slot::Json));
    slots.extend(cases.lets.iter().map(|_| Slot::Owned(Value::Null)));
    slots
}

/// Makes the `let`s that are needed, those first that others need, and goes on with the slots filled. Each is made
/// for every condition and case that needs it: they are few, and always come out the same.
fn with_lets<T>(
    lets: &[(String, Compiled)],
    needed: &[usize],
    slots: Slots<'_>,
    then: impl FnOnce(Slots<'_>) -> Result<T, Reject>,
) -> Result<T, Reject> {
    let mut then = Some(then);
    let mut result = None;
    make(lets, needed, slots, &mut |slots| {
        let then = then.take().expect("the end is reached once");
        result = Some(then(slots));
    })?;
    result.expect("without a fault the end was reached")
}

fn make(
    lets: &[(String, Compiled)],
    needed: &[usize],
    slots: Slots<'_>,
    then: &mut dyn FnMut(Slots<'_>),
) -> Result<(), Reject> {
    let Some((&first, rest)) = needed.split_first() else {
        then(slots);
        return Ok(());
    };
    let (name, compiled) = &lets[first];
    let value =
        compiled.slot(&slots).map_err(|fault| unevaluated(&format!("let.{name}"), compiled, &fault))?;
    let mut filled: Slots<'_> = slots.iter().map(reborrow).collect();
    filled[FIRST_LET + first] = value;
    make(lets, rest, filled, then)
}

/// The first case whose condition holds, if the one joined to all does.
fn pick<'c>(
    declared: &Declared,
    cases: &'c EventCases,
    slots: &Slots<'_>,
) -> Result<Option<&'c Case>, Reject> {
    if let Some(when) = &declared.when
        && !holds(cases, when, slots)?
    {
        return Ok(None);
    }
    for case in &cases.cases {
        match &case.when {
            Some(when) if !holds(cases, when, slots)? => {}
            _ => return Ok(Some(case)),
        }
    }
    Ok(None)
}

fn holds(cases: &EventCases, condition: &Condition, slots: &Slots<'_>) -> Result<bool, Reject> {
    let test = |slots: &Slots<'_>| {
        condition.holds.holds(slots).map_err(|fault| unevaluated("when", &condition.holds, &fault))
    };
    if condition.lets.is_empty() {
        return test(slots);
    }
    with_lets(&cases.lets, &condition.lets, slots.iter().map(reborrow).collect(), |slots| test(&slots))
}

/// Evaluates the steps of a case. `kept` is the row that elements of collections are taken from.
fn evaluate<'a>(
    projection: &'a Projection,
    cases: &EventCases,
    case: &Case,
    slots: &mut Slots<'a>,
    kept: Option<&'a [Value]>,
) -> Result<Patch, Reject> {
    let lets = if kept.is_some() { &case.lets } else { &case.initially.lets };
    if lets.is_empty() {
        return carry_out(projection, case, slots, kept);
    }
    with_lets(&cases.lets, lets, std::mem::take(slots), |slots| {
        carry_out(projection, case, &mut slots.iter().map(reborrow).collect(), kept)
    })
}

fn carry_out<'a>(
    projection: &'a Projection,
    case: &Case,
    slots: &mut Slots<'a>,
    kept: Option<&'a [Value]>,
) -> Result<Patch, Reject> {
    let mut steps = Steps::new(projection, slots, kept);
    if kept.is_none() {
        for step in &case.initially.steps {
            steps.take(step)?;
        }
    }
    for step in &case.steps {
        steps.take(step)?;
    }
    Ok(steps.patch)
}

/// A row that was not there: the assigned cells, the computed ones, and all of it checked.
fn fresh(
    projection: &Projection,
    key_cells: &[(ColumnId, Value)],
    patch: Patch,
) -> Result<Vec<Value>, Reject> {
    let mut cells = projection.shape.row_of(key_cells);
    for (index, value) in patch.into_cells() {
        cells[index] = value;
    }
    // It is checked before `compute`, so that a missing column is named, not what it breaks.
    settle::fresh(projection, &mut cells)?;
    Ok(cells)
}
