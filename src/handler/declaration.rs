//! A projection as it is written, before anything of it is typed.
//!
//! Comes in: what `parse` finds. Goes out: what `bind` and `steps` type. Texts carry their places; nothing is checked.

use super::yaml::Text;
use super::{Repeat, Tombstone, Unknown, Verb};
use crate::diagnostic::Span;
use crate::event::Start;

/// A projection as written.
#[derive(Debug)]
pub struct Declaration {
    pub span: Span,
    pub name: Option<Text>,
    pub into: Option<Text>,
    pub from: Vec<FromDecl>,
    /// Each makes a row.
    pub keys: Vec<Vec<(Text, Text)>>,
    pub unknown: Option<Unknown>,
    /// Whether `order: time` is said.
    pub is_merged: bool,
    pub when: Option<Text>,
    pub lets: Vec<(Text, Text)>,
    pub events: Vec<EventDecl>,
    /// Event types that concern no row.
    pub ignored: Vec<Text>,
    /// What every case assigns that makes or changes a row.
    pub always: Vec<(Text, SetDecl)>,
    pub compute: Vec<(Text, Text)>,
    pub asserts: Vec<(Text, Text)>,
    pub upcasts: Vec<UpcastDecl>,
    pub handler: Option<Text>,
    /// Whether anything was wrong with the text that lets binding find only follow-up faults.
    pub faulty: bool,
}

/// One entry of `from`.
#[derive(Clone, Debug)]
pub struct FromDecl {
    pub span: Span,
    pub topic: Option<Text>,
    pub format: Option<Text>,
    pub type_name: Option<Text>,
    pub version: Option<Text>,
    pub time: Option<Text>,
    pub record_key: Option<Text>,
    pub tombstone: Option<(Tombstone, Span)>,
    /// What an unknown event of this topic does; else what the projection says.
    pub unknown: Option<Unknown>,
    /// Where reading begins.
    pub start: Start,
    /// Where the schemas of its events are.
    pub schemas: Option<SchemasDecl>,
    pub id: Option<Text>,
    /// The column that remembers ids.
    pub remember: Option<Text>,
    pub sequence: Option<SequenceDecl>,
}

/// `sequence: { number, in, first, gap, repeat }`.
#[derive(Clone, Debug)]
pub struct SequenceDecl {
    pub number: Text,
    pub column: Text,
    pub first: Option<i64>,
    pub accepts_gaps: bool,
    pub repeat: Option<Repeat>,
}

/// Files that hold the schemas of events.
#[derive(Clone, Debug)]
pub enum SchemasDecl {
    /// One, with all types under `$defs`.
    File(Text),
    /// One for each type, perhaps with a pointer into it.
    ByType(Vec<(Text, Text)>),
}

/// One event type with its cases.
#[derive(Debug)]
pub struct EventDecl {
    pub name: Text,
    /// Topic and type that it stands for, where not a type of its own name.
    pub on: Option<Text>,
    pub rows: Option<RowsDecl>,
    pub lets: Vec<(Text, Text)>,
    pub cases: Vec<CaseDecl>,
}

/// Which rows an event concerns, where that is not what the projection says.
#[derive(Debug)]
pub struct RowsDecl {
    pub span: Span,
    /// A list, and the name of its element.
    pub each: Option<(Text, Text)>,
    pub keys: Vec<Vec<(Text, Text)>>,
}

/// One case.
#[derive(Debug)]
pub struct CaseDecl {
    pub span: Span,
    pub when: Option<Text>,
    pub verb: Option<(Verb, Span)>,
    pub sets: Vec<(Text, SetDecl)>,
    pub onces: Vec<(Text, SetDecl)>,
    /// What `upsert` assigns only where it makes the row.
    pub initially: Vec<(Text, SetDecl)>,
    pub removes: Vec<Text>,
    /// `delete: rows`: all rows whose key begins as `key` says.
    pub range: Option<Span>,
    /// Whether an event that finds no row parks the key.
    pub parks_missing: bool,
    /// Whether something of it could not be read: then what it lacks is not looked for.
    pub faulty: bool,
}

/// What stands behind a path.
#[derive(Debug)]
pub enum SetDecl {
    Expression(Text),
    Parts(Vec<(Text, SetDecl)>, Span),
    Each { list: Text, name: Text, parts: Vec<(Text, SetDecl)> },
}

/// One step of one type's upcasts: from `version` to the next.
#[derive(Clone, Debug)]
pub struct UpcastDecl {
    pub type_name: Text,
    pub version: i64,
    pub version_span: Span,
    pub rename: Vec<(Text, Text)>,
    pub moves: Vec<(Text, Text)>,
    pub convert: Vec<(Text, ConvertDecl)>,
    /// Field and JSON text.
    pub default: Vec<(Text, String)>,
    pub drop: Vec<Text>,
    pub split: Option<Vec<PieceDecl>>,
    /// Whether it stands in `defaults.yaml`: then it counts for the types that a projection handles.
    pub shared: bool,
}

/// What becomes of a field.
#[derive(Clone, Debug)]
pub enum ConvertDecl {
    /// The word that names it.
    Named(Text),
    /// Each known value, and JSON text of what takes its place.
    Words(Vec<(Text, String)>),
}

/// One of the events that another is split into.
#[derive(Clone, Debug)]
pub struct PieceDecl {
    pub type_name: Text,
    pub version: Option<(i64, Span)>,
    /// Path of a list, and the name of the field that holds one of its elements.
    pub each: Option<(Text, Text)>,
    pub drop: Vec<Text>,
}

/// What `projections/defaults.yaml` sets for all files.
#[derive(Debug, Default)]
pub struct Defaults {
    pub from: Option<FromDecl>,
    pub unknown: Option<Unknown>,
    pub upcasts: Vec<UpcastDecl>,
}
