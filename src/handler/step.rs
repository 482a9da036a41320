//! What a case does to a row, bound: steps, and how each makes its value.
//!
//! Comes in: what `assign` has typed. Goes out: what `fold` carries out, and which expressions stand in a step. Nothing is
//! evaluated here.

use crate::expr::Compiled;
use crate::schema::{ColumnId, TypeId};

/// One assignment.
#[derive(Debug)]
pub enum Step {
    /// `column: …`; under `once` only where the column is null.
    Set { column: ColumnId, make: Make, once: bool },
    /// `column[key]: {…}`: merges into the element or makes it.
    Merge { column: ColumnId, key: Compiled, key_part: ColumnId, made: RecordMake },
    /// `column.part` or `column[key].part`, and parts of parts: only where what holds it is there.
    Touch { column: ColumnId, key: Option<Box<Compiled>>, record: TypeId, parts: Vec<ColumnId>, make: Make },
    /// `remove: column[key]` of a map: only where the element is there.
    Remove { column: ColumnId, key: Compiled },
    /// `remove: column[element]` of a list or a set: every element that equals it.
    Without { column: ColumnId, element: Compiled },
}

/// How a value is made.
#[derive(Debug)]
pub enum Make {
    Value(Compiled),
    /// `{ part: …, … }`: a record, over the one that was there.
    Record(RecordMake),
    /// `{ each, as, set }`: a list of records, or a map of them.
    Each(EachMake),
    /// `{ append, keep }`: the list with one element more, and of all only the last so many.
    Append {
        element: Box<Make>,
        keep: Option<usize>,
    },
    /// `{ add }`: the set with one element more.
    Add(Compiled),
    /// `{ addAll }`: the set with the elements of a list.
    AddAll(Compiled),
}

/// A record and what makes its parts.
#[derive(Debug)]
pub struct RecordMake {
    pub record: TypeId,
    pub parts: Vec<(ColumnId, Make)>,
    /// Whether the parts see the record before the event, as `old`.
    pub sees_old: bool,
}

/// Records made from the elements of a list.
#[derive(Debug)]
pub struct EachMake {
    pub list: Compiled,
    pub made: RecordMake,
    /// The part that is the key, where they go into a map.
    pub keyed_by: Option<ColumnId>,
}

impl Step {
    /// Whether it may make a column, or an element of it, that was not there.
    pub fn makes(&self, id: ColumnId) -> bool {
        matches!(self, Step::Set { column, .. } | Step::Merge { column, .. } if *column == id)
    }

    /// Every expression of a step.
    pub fn expressions(&self) -> Vec<&Compiled> {
        let mut found = Vec::new();
        match self {
            Step::Set { make, .. } => make.expressions(&mut found),
            Step::Merge { key, made, .. } => {
                found.push(key);
                made.expressions(&mut found);
            }
            Step::Touch { key, make, .. } => {
                found.extend(key.as_deref());
                make.expressions(&mut found);
            }
            Step::Remove { key, .. } => found.push(key),
            Step::Without { element, .. } => found.push(element),
        }
        found
    }
}

impl Make {
    /// Whether it rests on the value that is there.
    pub fn needs_old(&self) -> bool {
        match self {
            Make::Value(_) | Make::Each(_) => false,
            Make::Record(_) | Make::Append { .. } | Make::Add(_) | Make::AddAll(_) => true,
        }
    }

    fn expressions<'m>(&'m self, found: &mut Vec<&'m Compiled>) {
        match self {
            Make::Value(value) | Make::Add(value) | Make::AddAll(value) => found.push(value),
            Make::Record(made) => made.expressions(found),
            Make::Each(each) => {
                found.push(&each.list);
                each.made.expressions(found);
            }
            Make::Append { element, .. } => element.expressions(found),
        }
    }
}

impl RecordMake {
    fn expressions<'m>(&'m self, found: &mut Vec<&'m Compiled>) {
        for (_, make) in &self.parts {
            make.expressions(found);
        }
    }
}
