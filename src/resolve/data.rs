//! What was loaded for an operation, and how its objects are gone through.
//!
//! Comes in: rows, pages and faults, as `fetch` finds them. Goes out: [`Data`], from which `execute` makes the reads of
//! the next level and `write` the answer. Objects are numbered as `planned` says. Nothing is read here.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::store::StoredRow;
use crate::value::Value;
use crate::value::encode::RowKey;

use super::entity::Slot;
use super::error::Fault;
use super::page::Home;
use super::planned::{Planned, Set, Spot};

/// What was loaded. Indices are those of [`Planned`].
#[derive(Debug, Default)]
pub(super) struct Data {
    pub sites: Vec<Loaded>,
    /// For each set of elements: where those of each parent begin.
    pub starts: Vec<Vec<u32>>,
    /// For each `_entities`: its items in order.
    pub lists: Vec<Vec<Slot>>,
}

/// What a site's parents got.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    /// One for each object of the parent set.
    pub of: Vec<Target>,
    pub rows: Vec<Option<StoredRow>>,
    /// The base keys of rows that are not there, where something is parked: such a row can be a parked one.
    pub asked: FxHashMap<u32, RowKey>,
    /// The bucket of each row, where the table has buckets and cursors are wanted.
    pub buckets: Vec<Option<Arc<[u8]>>>,
    pub pages: Vec<Page>,
    pub faults: Vec<Fault>,
}

/// What one parent got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Null,
    /// A row, or a page.
    At(u32),
    Fault(u32),
}

/// A page of a site's rows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Page {
    pub start: u32,
    pub end: u32,
    pub next: bool,
    pub previous: bool,
    /// How many rows the whole list has, where that is wanted and within the bound.
    pub total: Option<usize>,
    /// Whether its rows come from several partitions: then a cursor names the partition too.
    pub merged: bool,
    pub home: Home,
}

/// An object's cells, and the key of the map that it stands in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Object<'d> {
    pub cells: &'d [Value],
    pub key: Option<(usize, &'d Value)>,
}

static NULL: Value = Value::Null;

impl<'d> Object<'d> {
    pub fn of(cells: &'d [Value]) -> Object<'d> {
        Object { cells, key: None }
    }

    /// A cell; a map's key column may stand in the key only.
    pub fn get(&self, cell: usize) -> &'d Value {
        match (self.cells.get(cell), self.key) {
            (None | Some(Value::Null), Some((column, key))) if column == cell => key,
            (found, _) => found.unwrap_or(&NULL),
        }
    }

    /// The record at the end of a path of records.
    pub fn inside(self, path: &[usize]) -> Option<Object<'d>> {
        let mut object = self;
        for cell in path {
            match object.get(*cell) {
                Value::Record(cells) => object = Object::of(cells),
                _ => return None,
            }
        }
        Some(object)
    }

    pub fn elements(&self, cell: usize) -> usize {
        match self.get(cell) {
            Value::List(values) | Value::Set(values) => values.len(),
            Value::Map(entries) => entries.len(),
            _ => 0,
        }
    }
}

/// Goes through all objects of a set, in their order. `None`: the object is not there, but has a number.
pub(super) fn visit<'d>(
    planned: &Planned,
    data: &'d Data,
    set: usize,
    f: &mut dyn FnMut(Option<Object<'d>>),
) {
    match &planned.sets[set] {
        Set::Root => f(Some(Object::of(&[]))),
        Set::Rows(site) => {
            for row in &data.sites[*site].rows {
                f(row.as_ref().map(|row| Object::of(&row.cells)));
            }
        }
        Set::Elements { of, path, cell, key, .. } => visit(planned, data, *of, &mut |object| {
            let Some(object) = object.and_then(|object| object.inside(path)) else { return };
            match object.get(*cell) {
                Value::List(values) | Value::Set(values) => {
                    for value in values {
                        f(element(value));
                    }
                }
                Value::Map(entries) => {
                    for (entry, value) in entries {
                        f(record(value, key.map(|column| (column, entry))));
                    }
                }
                _ => {}
            }
        }),
    }
}

/// A record as an object.
pub(super) fn record<'d>(value: &'d Value, key: Option<(usize, &'d Value)>) -> Option<Object<'d>> {
    match value {
        Value::Record(cells) => Some(Object { cells, key }),
        _ => None,
    }
}

/// An element of a list or set as an object: a record, or a key alone, whose only cell it is.
pub(super) fn element(value: &Value) -> Option<Object<'_>> {
    match value {
        Value::Null => None,
        Value::Record(cells) => Some(Object::of(cells)),
        key => Some(Object::of(std::slice::from_ref(key))),
    }
}

/// Goes through the objects at a spot.
pub(super) fn for_each<'d>(
    planned: &Planned,
    data: &'d Data,
    spot: &Spot,
    f: &mut dyn FnMut(Option<Object<'d>>),
) {
    visit(planned, data, spot.set, &mut |object| f(object.and_then(|object| object.inside(&spot.path))));
}

impl Loaded {
    /// Adds a row, or room for one that is to be read.
    pub fn push(&mut self, row: Option<StoredRow>) -> u32 {
        self.rows.push(row);
        u32::try_from(self.rows.len() - 1).expect("rows are counted in u32")
    }

    pub fn fault(&mut self, fault: Fault) -> Target {
        self.faults.push(fault);
        Target::Fault(u32::try_from(self.faults.len() - 1).expect("faults are counted in u32"))
    }
}
