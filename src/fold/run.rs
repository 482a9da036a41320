//! Carries out the declared cases: picks one, evaluates its steps, makes the new row.
//!
//! Comes in: the bound cases, the row, the event. Goes out: a [`Change`], a [`Patch`] of the row that is there, or the
//! cells assigned. Only the columns that a case assigns are evaluated; the rest stays.

use smallvec::SmallVec;

use super::{Change, Patch, reject, settle, unevaluated};
use crate::event::{Event, Reject};
use crate::expr::{Compiled, Fault, Fields, Slot};
use crate::handler::{Case, Condition, Declared, EventCases, FIRST_LET, Projection, Step, Verb, blank};
use crate::schema::{Column, ColumnId, TypeId};
use crate::value::Value;

/// The slots of an expression: event, row, position, `let`s, and `old` or the name of `each`.
type Slots<'a> = SmallVec<[Slot<'a>; 7]>;

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
    event: &Event,
) -> Result<Outcome, Reject> {
    let nothing = Outcome::Change(Change::Nothing);
    let Some(cases) = declared.events.get(&event.kind) else { return Ok(nothing) };
    let fields = Fields::of(&event.body);
    let slots = slots(cases, row, event, fields.as_ref());
    let Some(case) = pick(declared, cases, &slots)? else { return Ok(nothing) };
    match (case.verb, row) {
        (Verb::Create, Some(_)) | (Verb::Update | Verb::Delete | Verb::Remove, None) => Ok(nothing),
        (Verb::Delete, Some(_)) => Ok(Outcome::Change(Change::Delete)),
        (Verb::Replace, _) | (_, None) => {
            let patch = evaluate(projection, cases, case, slots, None)?;
            let cells = fresh(projection, key_cells, patch)?;
            Ok(Outcome::Change(Change::Write(cells)))
        }
        (_, Some(row)) => evaluate(projection, cases, case, slots, Some(row)).map(Outcome::Patch),
    }
}

/// The cells that an event assigns, whatever the row is.
pub fn assignments(
    projection: &Projection,
    declared: &Declared,
    key_cells: &[(ColumnId, Value)],
    event: &Event,
) -> Result<Option<Vec<(ColumnId, Value)>>, Reject> {
    let Some(cases) = declared.events.get(&event.kind) else { return Ok(None) };
    let fields = Fields::of(&event.body);
    let slots = slots(cases, None, event, fields.as_ref());
    let Some(case) = pick(declared, cases, &slots)? else { return Ok(None) };
    let mut assigned: Vec<_> = evaluate(projection, cases, case, slots, None)?.into_cells().collect();
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

/// Event, row and position, and a place for each `let`.
fn slots<'a>(
    cases: &EventCases,
    row: Option<&'a [Value]>,
    event: &'a Event,
    fields: Option<&'a Fields<'_>>,
) -> Slots<'a> {
    let mut slots = Slots::new();
    slots.push(fields.map_or(Slot::Json(&event.body), Fields::slot));
    slots.push(Slot::Record(row));
    slots.push(Slot::Position(&event.position));
    slots.extend(cases.lets.iter().map(|_| Slot::Owned(Value::Null)));
    slots
}

/// A copy of a slot that borrows what the slot has.
fn reborrow<'s>(slot: &'s Slot<'_>) -> Slot<'s> {
    match slot {
        Slot::Owned(value) => Slot::Value(value),
        other => other.clone(),
    }
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
    slots: Slots<'a>,
    kept: Option<&'a [Value]>,
) -> Result<Patch, Reject> {
    if case.lets.is_empty() {
        return carry_out(projection, case, slots, kept);
    }
    with_lets(&cases.lets, &case.lets, slots, |slots| {
        carry_out(projection, case, slots.iter().map(reborrow).collect(), kept)
    })
}

fn carry_out<'a>(
    projection: &'a Projection,
    case: &Case,
    slots: Slots<'a>,
    kept: Option<&'a [Value]>,
) -> Result<Patch, Reject> {
    let mut steps = Steps { projection, slots, kept, patch: Patch::default() };
    for step in &case.steps {
        steps.take(step)?;
    }
    Ok(steps.patch)
}

struct Steps<'a> {
    projection: &'a Projection,
    slots: Slots<'a>,
    kept: Option<&'a [Value]>,
    patch: Patch,
}

impl<'a> Steps<'a> {
    fn take(&mut self, step: &Step) -> Result<(), Reject> {
        match step {
            Step::Set { column, value } => {
                let value =
                    value.cell(&self.slots).map_err(|fault| self.in_column(*column, value, &fault))?;
                if let Some(value) = value {
                    self.patch.set(column.0 as usize, value);
                }
                Ok(())
            }
            Step::Each { column, list, parts, record, keyed_by } => {
                self.each(*column, list, parts, *record, *keyed_by)
            }
            Step::Merge { column, key, key_part, parts, record } => {
                self.merge(*column, key, *key_part, parts, *record)
            }
            Step::Touch { column, key, part, value, record } => {
                self.touch(*column, key, *part, value, *record)
            }
            Step::Remove { column, key } => self.remove(*column, key),
        }
    }

    fn each(
        &mut self,
        column: ColumnId,
        list: &Compiled,
        parts: &[(ColumnId, Compiled)],
        record: TypeId,
        keyed_by: Option<ColumnId>,
    ) -> Result<(), Reject> {
        let elements = list.list(&self.slots).map_err(|fault| self.in_column(column, list, &fault))?;
        let Some(elements) = elements else {
            // Missing leaves the column, null clears it: as with `column: event.field`.
            if list.is_null(&self.slots) {
                self.patch.set(column.0 as usize, Value::Null);
            }
            return Ok(());
        };
        settle::check_len(self.column(column), elements.len())?;
        let mut records = Vec::with_capacity(elements.len());
        let mut slots: Slots<'_> = self.slots.iter().map(reborrow).collect();
        for (index, element) in elements.into_iter().enumerate() {
            slots.push(element);
            let place = || format!("{}[{index}]", self.column(column).name);
            records.push(self.record(&slots, record, None, parts, &place)?);
            slots.pop();
        }
        let value = match keyed_by {
            None => Value::List(records.into_iter().map(Value::Record).collect()),
            Some(key) => self.keyed(column, records, key)?,
        };
        self.patch.set(column.0 as usize, value);
        Ok(())
    }

    fn keyed(&self, column: ColumnId, records: Vec<Vec<Value>>, key: ColumnId) -> Result<Value, Reject> {
        let name = &self.column(column).name;
        let mut entries = Vec::with_capacity(records.len());
        for record in records {
            let key = record[key.0 as usize].clone();
            if key.is_null() {
                return Err(reject(format!("{name}: an element has no key")));
            }
            entries.push((key, Value::Record(record)));
        }
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(Value::Map(entries))
    }

    /// A record from its parts, over the one that was there.
    fn record(
        &self,
        slots: &Slots<'_>,
        ty: TypeId,
        old: Option<&[Value]>,
        parts: &[(ColumnId, Compiled)],
        place: &dyn Fn() -> String,
    ) -> Result<Vec<Value>, Reject> {
        let columns = &self.projection.shape.records[&ty];
        let mut cells = match old {
            Some(old) => old.to_vec(),
            None => columns.iter().map(blank).collect(),
        };
        for (part, value) in parts {
            let index = part.0 as usize;
            let column = &columns[index];
            let found = value
                .cell(slots)
                .map_err(|fault| unevaluated(&format!("{}.{}", place(), column.name), value, &fault))?;
            if let Some(value) = found {
                cells[index] = value;
            }
            settle::check(&self.projection.shape, column, &cells[index])
                .map_err(|found| reject(format!("{}.{}", place(), found.reason)))?;
        }
        Ok(cells)
    }

    fn merge(
        &mut self,
        column: ColumnId,
        key: &Compiled,
        key_part: ColumnId,
        parts: &[(ColumnId, Compiled)],
        record: TypeId,
    ) -> Result<(), Reject> {
        let key = self.key(column, key)?;
        let old = self.kept_element(column, &key);
        let projection = self.projection;
        let place = || format!("{}[{}]", projection.shape.column(column).name, settle::shown(&key));
        self.slots.push(Slot::Record(old));
        let made = self.record(&self.slots, record, self.element(column, &key), parts, &place);
        self.slots.pop();
        let mut made = made?;
        made[key_part.0 as usize] = key.clone();
        self.put(column, key, Some(made));
        Ok(())
    }

    fn touch(
        &mut self,
        column: ColumnId,
        key: &Compiled,
        part: ColumnId,
        value: &Compiled,
        record: TypeId,
    ) -> Result<(), Reject> {
        let key = self.key(column, key)?;
        if self.element(column, &key).is_none() {
            return Ok(());
        }
        let old = self.kept_element(column, &key);
        let projection = self.projection;
        let declared = &projection.shape.records[&record][part.0 as usize];
        let place =
            || format!("{}[{}].{}", projection.shape.column(column).name, settle::shown(&key), declared.name);
        self.slots.push(Slot::Record(old));
        let found = value.cell(&self.slots).map_err(|fault| unevaluated(&place(), value, &fault));
        self.slots.pop();
        let Some(value) = found? else { return Ok(()) };
        settle::check(&projection.shape, declared, &value).map_err(|found| match value.is_null() {
            true => reject(format!("{} cannot be null", place())),
            false => reject(format!(
                "{}[{}].{}",
                projection.shape.column(column).name,
                settle::shown(&key),
                found.reason
            )),
        })?;
        if let Some(there) = self.element(column, &key) {
            let mut cells = there.to_vec();
            cells[part.0 as usize] = value;
            self.put(column, key, Some(cells));
        }
        Ok(())
    }

    fn remove(&mut self, column: ColumnId, key: &Compiled) -> Result<(), Reject> {
        let key = self.key(column, key)?;
        if self.element(column, &key).is_none() {
            return Ok(());
        }
        self.put(column, key, None);
        Ok(())
    }

    fn key(&self, column: ColumnId, key: &Compiled) -> Result<Value, Reject> {
        let value = key.cell(&self.slots).map_err(|fault| self.in_column(column, key, &fault))?;
        match value {
            None => Err(reject(format!("{}: {} is missing", self.column(column).name, key.text))),
            Some(Value::Null) => Err(reject(format!("{}: {} is null", self.column(column).name, key.text))),
            Some(value) => Ok(value),
        }
    }

    /// The element as it stands after the steps so far.
    fn element(&self, column: ColumnId, key: &Value) -> Option<&[Value]> {
        let index = column.0 as usize;
        match (self.patch.cell(index), self.patch.element(index, key)) {
            (Some(map), _) => find(map, key),
            (None, Some(Some(Value::Record(cells)))) => Some(cells),
            (None, Some(_)) => None,
            (None, None) => self.kept_element(column, key),
        }
    }

    /// The element as it was before the event: `old`.
    fn kept_element(&self, column: ColumnId, key: &Value) -> Option<&'a [Value]> {
        find(&self.kept?[column.0 as usize], key)
    }

    /// Sets an element of a map column; `None` removes it. A map that the row has is not copied for it.
    fn put(&mut self, column: ColumnId, key: Value, cells: Option<Vec<Value>>) {
        let index = column.0 as usize;
        let element = cells.map(Value::Record);
        let kept = self.kept.is_some_and(|row| matches!(row[index], Value::Map(_)));
        if kept && !self.patch.sets(index) {
            return self.patch.set_element(index, key, element);
        }
        if !matches!(self.patch.cell(index), Some(Value::Map(_))) {
            self.patch.set(index, Value::Map(Vec::new()));
        }
        let Some(Value::Map(entries)) = self.patch.cell_mut(index) else { return };
        match (entries.binary_search_by(|(known, _)| known.cmp(&key)), element) {
            (Ok(at), Some(element)) => entries[at].1 = element,
            (Ok(at), None) => drop(entries.remove(at)),
            (Err(at), Some(element)) => entries.insert(at, (key, element)),
            (Err(_), None) => {}
        }
    }

    fn column(&self, column: ColumnId) -> &Column {
        self.projection.shape.column(column)
    }

    fn in_column(&self, column: ColumnId, expression: &Compiled, fault: &Fault) -> Reject {
        unevaluated(&self.column(column).name, expression, fault)
    }
}

fn find<'v>(map: &'v Value, key: &Value) -> Option<&'v [Value]> {
    let Value::Map(entries) = map else { return None };
    let at = entries.binary_search_by(|(known, _)| known.cmp(key)).ok()?;
    match &entries[at].1 {
        Value::Record(cells) => Some(cells),
        _ => None,
    }
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
