//! Carries out the steps of a case, one after the other.
//!
//! Comes in: bound steps, the slots filled, the row that elements are taken from. Goes out: a [`Patch`]. A step sees what the
//! steps before it have assigned; `old` is what stood there before the event. The values are `make`'s.

use smallvec::SmallVec;

use super::make::{self, Maker};
use super::{Patch, reject, settle, unevaluated};
use crate::event::Reject;
use crate::expr::{Compiled, Fault, Slot};
use crate::handler::{Make, Projection, RecordMake, Step};
use crate::schema::{Column, ColumnId, ColumnType, TypeId};
use crate::value::Value;

/// The slots of an expression, as `handler::names` orders them.
pub type Slots<'a> = SmallVec<[Slot<'a>; 8]>;

/// A copy of a slot that borrows what the slot has.
pub fn reborrow<'s>(slot: &'s Slot<'_>) -> Slot<'s> {
    match slot {
        Slot::Owned(value) => Slot::Value(value),
        other => other.clone(),
    }
}

pub struct Steps<'s, 'a> {
    projection: &'a Projection,
    slots: &'s mut Slots<'a>,
    kept: Option<&'a [Value]>,
    pub patch: Patch,
}

impl<'s, 'a> Steps<'s, 'a> {
    /// Begins with nothing assigned. `kept` is the row that elements of collections are taken from.
    pub fn new(
        projection: &'a Projection,
        slots: &'s mut Slots<'a>,
        kept: Option<&'a [Value]>,
    ) -> Steps<'s, 'a> {
        Steps { projection, slots, kept, patch: Patch::default() }
    }

    pub fn take(&mut self, step: &Step) -> Result<(), Reject> {
        match step {
            Step::Set { column, make: Make::Value(value), once: false } => {
                let value = value.cell(self.slots).map_err(|fault| self.in_column(*column, value, &fault))?;
                if let Some(value) = value {
                    self.patch.set(column.0 as usize, value);
                }
                Ok(())
            }
            Step::Set { column, make, once } => self.set(*column, make, *once),
            Step::Merge { column, key, key_part, made } => self.merge(*column, key, *key_part, made),
            Step::Touch { column, key, record, parts, make } => {
                self.touch(*column, key.as_deref(), (*record, parts), make)
            }
            Step::Remove { column, key } => self.remove(*column, key),
            Step::Without { column, element } => self.without(*column, element),
        }
    }

    /// Makes something with the value before the event in the slot behind all others, where it is looked at.
    fn seeing<T>(&mut self, sees_old: bool, old: Option<&'a [Value]>, make: impl FnOnce(&Self) -> T) -> T {
        if sees_old {
            self.slots.push(Slot::Record(old));
        }
        let made = make(self);
        if sees_old {
            self.slots.pop();
        }
        made
    }

    fn maker(&self) -> Maker<'a> {
        Maker { projection: self.projection }
    }

    fn set(&mut self, column: ColumnId, make: &Make, once: bool) -> Result<(), Reject> {
        let index = column.0 as usize;
        let now = self.now(index);
        if once && now.is_some_and(|value| !value.is_null()) {
            return Ok(());
        }
        let name = || self.column(column).name.clone();
        let old = self.kept.and_then(|row| make::cells(&row[index]));
        let made =
            self.maker().make(self.slots, make, self.column(column), make::Before { now, old }, &name)?;
        if let Some(value) = made {
            self.patch.set(index, value);
        }
        Ok(())
    }

    /// A column as it stands after the steps so far, elements that they changed aside.
    fn now(&self, index: usize) -> Option<&Value> {
        self.patch.cell(index).or_else(|| self.kept.map(|row| &row[index]))
    }

    fn merge(
        &mut self,
        column: ColumnId,
        key: &Compiled,
        key_part: ColumnId,
        made: &RecordMake,
    ) -> Result<(), Reject> {
        let key = self.key(column, key)?;
        let old = self.kept_element(column, &key);
        let name = &self.column(column).name;
        let place = || format!("{name}[{}]", settle::shown(&key));
        let cells = self.seeing(made.sees_old, old, |steps| {
            let now = steps.element(column, &key);
            steps.maker().parts(steps.slots, made, now, &place)
        });
        let mut cells = cells?;
        cells[key_part.0 as usize] = key.clone();
        self.put(column, key, Some(cells));
        Ok(())
    }

    fn touch(
        &mut self,
        column: ColumnId,
        key: Option<&Compiled>,
        (record, parts): (TypeId, &[ColumnId]),
        make: &Make,
    ) -> Result<(), Reject> {
        let key = key.map(|key| self.key(column, key)).transpose()?;
        let index = column.0 as usize;
        let (now, old) = match &key {
            Some(key) => (self.element(column, key), self.kept_element(column, key)),
            None => {
                (self.now(index).and_then(make::cells), self.kept.and_then(|row| make::cells(&row[index])))
            }
        };
        let Some(now) = now else { return Ok(()) };
        let mut cells = now.to_vec();
        let Some((declared, cell)) = walk(self.projection, record, parts, &mut cells) else {
            return Ok(());
        };
        let name = &self.column(column).name;
        let holder = || {
            let begin = match &key {
                Some(key) => format!("{name}[{}]", settle::shown(key)),
                None => name.clone(),
            };
            holder(self.projection, record, parts, begin)
        };
        let place = || format!("{}.{}", holder(), declared.name);
        let before = make::Before { now: Some(&*cell), old: None };
        let made =
            self.seeing(true, old, |steps| steps.maker().make(steps.slots, make, declared, before, &place));
        let Some(value) = made? else { return Ok(()) };
        settle::check(&self.projection.shape, declared, &value).map_err(|found| match value.is_null() {
            true => reject(format!("{} cannot be null", place())),
            // The reason of a check names the part itself.
            false => reject(format!("{}.{}", holder(), found.reason)),
        })?;
        *cell = value;
        match key {
            Some(key) => self.put(column, key, Some(cells)),
            None => self.patch.set(index, Value::Record(cells)),
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

    /// Removes the elements of a list or a set that equal a value.
    fn without(&mut self, column: ColumnId, element: &Compiled) -> Result<(), Reject> {
        let element = self.key(column, element)?;
        let index = column.0 as usize;
        let left = |items: &[Value]| items.iter().filter(|item| **item != element).cloned().collect();
        let changed = match self.now(index) {
            Some(Value::List(items)) if items.contains(&element) => Value::List(left(items)),
            Some(Value::Set(items)) if items.contains(&element) => Value::Set(left(items)),
            _ => return Ok(()),
        };
        self.patch.set(index, changed);
        Ok(())
    }

    fn key(&self, column: ColumnId, key: &Compiled) -> Result<Value, Reject> {
        let value = key.cell(self.slots).map_err(|fault| self.in_column(column, key, &fault))?;
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

    fn column(&self, column: ColumnId) -> &'a Column {
        self.projection.shape.column(column)
    }

    fn in_column(&self, column: ColumnId, expression: &Compiled, fault: &Fault) -> Reject {
        unevaluated(&self.column(column).name, expression, fault)
    }
}

/// The cell that a path of parts leads to, and its column; `None` where a record on the way is null.
fn walk<'c>(
    projection: &'c Projection,
    record: TypeId,
    parts: &[ColumnId],
    cells: &'c mut [Value],
) -> Option<(&'c Column, &'c mut Value)> {
    let (first, rest) = parts.split_first()?;
    let column = &projection.shape.records[&record][first.0 as usize];
    let cell = &mut cells[first.0 as usize];
    if rest.is_empty() {
        return Some((column, cell));
    }
    match (&column.ty, cell) {
        (ColumnType::Record(inner), Value::Record(cells)) => walk(projection, *inner, rest, cells),
        _ => None,
    }
}

/// The name of the record that the last of a path's parts stands in, for messages.
fn holder(projection: &Projection, record: TypeId, parts: &[ColumnId], begin: String) -> String {
    let [first, rest @ ..] = parts else { return begin };
    let column = &projection.shape.records[&record][first.0 as usize];
    match (&column.ty, rest) {
        (ColumnType::Record(inner), [_, ..]) => {
            holder(projection, *inner, rest, format!("{begin}.{}", column.name))
        }
        _ => begin,
    }
}

fn find<'v>(map: &'v Value, key: &Value) -> Option<&'v [Value]> {
    let Value::Map(entries) = map else { return None };
    let at = entries.binary_search_by(|(known, _)| known.cmp(key)).ok()?;
    make::cells(&entries[at].1)
}
