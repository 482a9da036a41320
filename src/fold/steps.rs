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
use crate::schema::{Column, ColumnId, TypeId};
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

pub struct Steps<'a> {
    projection: &'a Projection,
    slots: Slots<'a>,
    kept: Option<&'a [Value]>,
    pub patch: Patch,
}

impl<'a> Steps<'a> {
    /// Begins with nothing assigned. `kept` is the row that elements of collections are taken from.
    pub fn new(projection: &'a Projection, slots: Slots<'a>, kept: Option<&'a [Value]>) -> Steps<'a> {
        Steps { projection, slots, kept, patch: Patch::default() }
    }

    pub fn take(&mut self, step: &Step) -> Result<(), Reject> {
        match step {
            Step::Set { column, make: Make::Value(value), once: false } => {
                let value =
                    value.cell(&self.slots).map_err(|fault| self.in_column(*column, value, &fault))?;
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
            self.maker().make(&self.slots, make, self.column(column), make::Before { now, old }, &name)?;
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
        let place = || format!("{}[{}]", self.column(column).name, settle::shown(&key));
        let now = self.element(column, &key);
        let mut cells = self.maker().record(&self.slots, made, now, old, &place)?;
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
        let name = &self.column(column).name;
        let begin = match &key {
            Some(key) => format!("{name}[{}]", settle::shown(key)),
            None => name.clone(),
        };
        let mut cells = now.to_vec();
        let Some((declared, cell, place)) = walk(self.projection, record, parts, &mut cells, begin) else {
            return Ok(());
        };
        // What holds the part: the reason of a check names the part itself.
        let holder = place.rsplit_once('.').map_or_else(String::new, |(holder, _)| holder.to_owned());
        let mut slots: Slots<'_> = self.slots.iter().map(reborrow).collect();
        slots.push(Slot::Record(old));
        let before = make::Before { now: Some(&*cell), old: None };
        let Some(value) = self.maker().make(&slots, make, declared, before, &|| place.clone())? else {
            return Ok(());
        };
        drop(slots);
        settle::check(&self.projection.shape, declared, &value).map_err(|found| match value.is_null() {
            true => reject(format!("{place} cannot be null")),
            false => reject(format!("{holder}.{}", found.reason)),
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

    fn column(&self, column: ColumnId) -> &'a Column {
        self.projection.shape.column(column)
    }

    fn in_column(&self, column: ColumnId, expression: &Compiled, fault: &Fault) -> Reject {
        unevaluated(&self.column(column).name, expression, fault)
    }
}

/// The cell that a path of parts leads to, its column, and its name for messages; `None` where a record on the way is null.
fn walk<'c>(
    projection: &'c Projection,
    record: TypeId,
    parts: &[ColumnId],
    cells: &'c mut [Value],
    begin: String,
) -> Option<(&'c Column, &'c mut Value, String)> {
    let (first, rest) = parts.split_first()?;
    let column = &projection.shape.records[&record][first.0 as usize];
    let place = format!("{begin}.{}", column.name);
    let cell = &mut cells[first.0 as usize];
    if rest.is_empty() {
        return Some((column, cell, place));
    }
    match (&column.ty, cell) {
        (crate::schema::ColumnType::Record(inner), Value::Record(cells)) => {
            walk(projection, *inner, rest, cells, place)
        }
        _ => None,
    }
}

fn find<'v>(map: &'v Value, key: &Value) -> Option<&'v [Value]> {
    let Value::Map(entries) = map else { return None };
    let at = entries.binary_search_by(|(known, _)| known.cmp(key)).ok()?;
    make::cells(&entries[at].1)
}
