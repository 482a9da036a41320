//! What a projection declares: for each event type, what becomes of a row.
//!
//! Comes in: `projections/<name>.yaml` and a read model. Goes out: a [`Projection`], or every fault at once.
//! `load` goes through the files, `yaml` reads text with places, `parse` makes the `declaration`, `bind`, `sources`,
//! `steps`, `assign` and `upcasts` type it against the read model, `kind` chooses how rows are written, `memory` binds what rows
//! remember of events, `json_schema` knows what events hold, `cases` reads `<name>.cases.yaml`; `editor`
//! describes these files to editors, `explain` a projection to people. Applying events is `fold`'s.
//!
//! Codes: P001 not YAML; P002 YAML that is not read here; P003 a key twice; P004 an unknown key; P005 a missing
//! key; P006 a wrong shape; P007 an unknown type; P008 a second projection; P009 (warning) no projection;
//! P010 not supported yet; P011 verbs; P012 a column that cannot be assigned; P013 a column that may stay unset;
//! P014 the row's key; P015 an update kind that is not supported yet; P016 computed columns; P017 upcasts;
//! P018 a path; P019 a handler; P020 tombstones; P021 schemas of events; P022 columns that remember events.

mod align;
mod assign;
mod bind;
pub mod cases;
mod custom;
mod declaration;
mod editor;
pub mod explain;
mod json_schema;
mod kind;
mod load;
mod memory;
pub mod names;
mod nearest;
mod parse;
mod path;
mod sources;
mod step;
mod steps;
#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;
mod upcasts;
pub mod yaml;

use std::fmt;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

pub use bind::blank;
pub use custom::{Change, CustomHandlers, Fold};
pub use editor::{YamlFile, schema_of};
pub use load::{check_shape, load};
pub use step::{EachMake, Make, RecordMake, Step};

use crate::diagnostic::{FileId, Span};
use crate::event::{Start, TypeName};
use crate::expr::Compiled;
use crate::plan::Feed;
use crate::schema::{Column, ColumnId, Expiry, TypeId};
use crate::upcast::Upcasts;
use crate::value::{Cells, Value};

/// A projection, bound and typed: all that `route` and `fold` need.
#[derive(Debug)]
pub struct Projection {
    pub name: Arc<str>,
    pub file: FileId,
    pub span: Span,
    /// The read model that it owns.
    pub entity: TypeId,
    /// Name of the read model.
    pub entity_name: Arc<str>,
    /// Where its events come from: one, unless the kind is C. Never empty.
    pub sources: Vec<Origin>,
    /// Of each row that an event concerns, what its key columns are made from. Never empty.
    pub keys: Vec<Key>,
    pub kind: UpdateKind,
    /// Why it is of that kind, for `check --explain`.
    pub kind_reason: String,
    pub handling: Handling,
    /// Columns made from the new row, in an order in which each comes after what it reads.
    pub compute: Vec<Compute>,
    pub asserts: Vec<Assert>,
    /// Older versions of events.
    pub upcasts: Upcasts,
    pub shape: RowShape,
    /// Whether anything looks at `record`: it is made only then.
    pub reads_record: bool,
}

/// What a row of the read model looks like; kept so that folding needs no read model.
#[derive(Debug)]
pub struct RowShape {
    pub columns: Vec<Column>,
    /// Until when a row is there: an event after that sees none.
    pub expiry: Option<Expiry>,
    /// The column of the time of the last event that wrote the row, where a table's end is counted from it.
    pub time: Option<ColumnId>,
    /// A row with nothing in it: null, and empty where a collection must be.
    pub blank: Cells,
    /// Columns of each `@udt` that a column of this entity holds.
    pub records: FxHashMap<TypeId, Vec<Column>>,
    /// Values of each enum that a column holds, by the enum's number.
    pub enums: FxHashMap<u32, Vec<String>>,
}

/// Where events come from and how they are read.
#[derive(Clone, Debug)]
pub struct Origin {
    pub topic: Arc<str>,
    /// Event types of this topic that have another name in `events`, with that name.
    pub names: FxHashMap<Box<str>, Box<str>>,
    /// Names in `events` that stand for a type of this topic or another only by `on`.
    pub aliases: Vec<Box<str>>,
    /// Name of the event's type, from the event as it came. Slot 0: the event.
    pub type_name: Compiled,
    /// Version, from the event as it came. Without it every event has version 1.
    pub version: Option<Compiled>,
    /// Time of the event, after upcasting. Without it the record's time.
    pub time: Option<Compiled>,
    /// What producers put into the record's key, after upcasting.
    pub record_key: Option<Compiled>,
    /// The key column whose text form is the record's key.
    pub record_key_column: Option<ColumnId>,
    /// What a record without a value does; `None`: it was not said.
    pub tombstone: Option<Tombstone>,
    pub unknown: Unknown,
    /// Where reading begins.
    pub start: Start,
    /// How a row knows an event again.
    pub remember: Option<Remember>,
    /// The order in which a row takes events.
    pub sequence: Option<Sequence>,
}

/// How a row knows an event again that its producer has appended twice.
#[derive(Clone, Debug)]
pub struct Remember {
    pub id: Compiled,
    /// A list of the last ids; its bound is how many are remembered.
    pub column: ColumnId,
}

/// The numbers of a row's events: each is one above the one before.
#[derive(Clone, Debug)]
pub struct Sequence {
    pub number: Compiled,
    /// Holds the last number.
    pub column: ColumnId,
    /// The first number; without it a new row takes any.
    pub first: Option<i64>,
    /// Whether a number may be left out; else the key is parked.
    pub accepts_gaps: bool,
    pub repeat: Repeat,
}

/// What an event does whose number the row has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    Ignore,
    Park,
}

/// What an event of an unknown type or version does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// It waits, and its key with it.
    Park,
    /// Nothing.
    Ignore,
    /// The projection stops before it.
    Stop,
}

/// What a record without a value does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tombstone {
    /// The row goes.
    Delete,
    Ignore,
    Park,
}

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateKind {
    /// A: assigned cells only, nothing is read.
    BlindSet,
    /// B: the row is read once, folded, and written whole.
    OwnedFold,
    /// C: as B, with the events of several partitions in one order. Safe only where the store applies a batch whole.
    MergedFold,
}

/// How an event changes a row.
pub enum Handling {
    /// The declared cases, by event type.
    Declared(Box<Declared>),
    /// A handler written in Rust; it knows its own event types.
    Custom(Arc<dyn Fold>),
}

/// The declared part. What stands in which slot is said in [`names`].
#[derive(Debug, Default)]
pub struct Declared {
    /// The condition joined to every case.
    pub when: Option<Condition>,
    pub events: FxHashMap<Box<str>, EventCases>,
    /// Event types that are known, and concern no row.
    pub ignored: FxHashSet<Box<str>>,
}

/// What the key columns of a row are made from.
pub type Key = Vec<(ColumnId, Compiled)>;

/// Which rows an event concerns.
#[derive(Debug)]
pub struct Rows {
    /// There is one for each element.
    pub each: Option<Compiled>,
    pub keys: Vec<Key>,
    /// Whether the keys are beginnings of keys, and each stands for all rows that begin so.
    pub is_range: bool,
}

/// What one event type does.
#[derive(Debug)]
pub struct EventCases {
    /// Where they are not those that the projection says.
    pub rows: Option<Rows>,
    /// `let`s that these cases can see: those of the projection, then those of the event.
    pub lets: Vec<(String, Compiled)>,
    pub cases: Vec<Case>,
    /// Whether they look up so many fields of the event that these are better laid side by side first.
    pub looks_often: bool,
}

/// A condition, and the `let`s that it needs.
#[derive(Debug)]
pub struct Condition {
    pub holds: Compiled,
    pub lets: Vec<usize>,
}

/// One case: the first whose condition holds is applied.
#[derive(Debug)]
pub struct Case {
    pub when: Option<Condition>,
    pub verb: Verb,
    pub steps: Vec<Step>,
    /// `let`s that the steps need, in order.
    pub lets: Vec<usize>,
    /// What is assigned first where the row is made.
    pub initially: Initially,
    /// Whether an event that finds no row parks the key; else it does nothing.
    pub parks_missing: bool,
    pub span: Span,
}

/// First values of a row that `upsert` makes.
#[derive(Debug, Default)]
pub struct Initially {
    pub steps: Vec<Step>,
    /// `let`s that these steps need, or those of the case.
    pub lets: Vec<usize>,
}

impl Case {
    /// Every step that it may take.
    pub fn all_steps(&self) -> impl Iterator<Item = &Step> {
        self.initially.steps.iter().chain(&self.steps)
    }
}

/// What a case does to a row that is there, and to one that is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Makes the row; leaves one that is there alone.
    Create,
    /// Changes a row that is there.
    Update,
    /// Makes the row, or changes it.
    Upsert,
    /// Makes the row anew, whatever was there.
    Replace,
    /// Removes the row.
    Delete,
    /// Removes elements of a row that is there.
    Remove,
}

/// What must hold of every row after every event. Slot 0 is the new row.
#[derive(Debug)]
pub struct Assert {
    /// What it says, for a person.
    pub name: Box<str>,
    pub holds: Compiled,
}

/// One computed column. Slot 0 is the new row.
#[derive(Debug)]
pub struct Compute {
    pub column: ColumnId,
    pub value: Compiled,
    /// Columns that it reads; `None`: the row as a whole.
    pub reads: Option<Vec<ColumnId>>,
}

impl Projection {
    /// Which entity it feeds, and from where: one feed for each topic.
    pub fn feeds(&self) -> impl Iterator<Item = Feed> {
        self.sources.iter().map(|from| Feed {
            projection: Arc::clone(&self.name),
            entity: self.entity,
            topic: Arc::clone(&from.topic),
            record_key: from.record_key_column,
        })
    }

    /// The names of its topics, in the order of its sources.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<str>> {
        self.sources.iter().map(|from| &from.topic)
    }

    /// The source that a topic is; the first where it is none.
    pub fn source(&self, topic: &str) -> &Origin {
        match self.sources.as_slice() {
            [one] => one,
            several => several.iter().find(|from| *from.topic == *topic).unwrap_or(&several[0]),
        }
    }

    /// A row's key for a person, as JSON: `{"id":"o1"}`.
    pub fn shown_key(&self, cells: &[(ColumnId, Value)]) -> String {
        let mut out = String::from("{");
        for (index, (column, value)) in cells.iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            out.push_str(&quote(&self.shape.column(*column).name));
            out.push(':');
            out.push_str(&shown_value(value));
        }
        out.push('}');
        out
    }

    /// Which rows events of that type concern, where they say it themselves.
    pub fn rows_of(&self, type_name: &str) -> Option<&Rows> {
        match &self.handling {
            Handling::Declared(declared) => declared.events.get(type_name)?.rows.as_ref(),
            Handling::Custom(_) => None,
        }
    }

    /// Whether an event may concern rows that only the store knows: all whose keys begin as it says.
    pub fn has_ranges(&self) -> bool {
        match &self.handling {
            Handling::Declared(declared) => {
                declared.events.values().any(|cases| cases.rows.as_ref().is_some_and(|rows| rows.is_range))
            }
            Handling::Custom(_) => false,
        }
    }

    /// Whether events of that type are known, and concern no row.
    pub fn ignores(&self, type_name: &str) -> bool {
        match &self.handling {
            Handling::Declared(declared) => declared.ignored.contains(type_name),
            Handling::Custom(_) => false,
        }
    }

    /// Whether events of that type are handled.
    pub fn handles(&self, type_name: &str) -> bool {
        match &self.handling {
            Handling::Declared(declared) => declared.events.contains_key(type_name),
            Handling::Custom(_) => true,
        }
    }
}

impl Origin {
    /// The name that `events` has for an event type of this topic.
    ///
    /// # Errors
    /// The type, where `events` has its name for something else.
    pub fn name_of(&self, type_name: TypeName) -> Result<TypeName, TypeName> {
        match self.names.get(&*type_name) {
            Some(name) => Ok(TypeName::new(name)),
            None if self.aliases.iter().any(|alias| **alias == *type_name) => Err(type_name),
            None => Ok(type_name),
        }
    }
}

impl RowShape {
    /// The column with that number.
    pub fn column(&self, id: ColumnId) -> &Column {
        &self.columns[id.0 as usize]
    }

    /// A blank row with its key.
    pub fn row_of(&self, key: &[(ColumnId, Value)]) -> Cells {
        let mut cells = self.blank.clone();
        for (column, value) in key {
            cells[column.0 as usize] = value.clone();
        }
        cells
    }
}

impl UpdateKind {
    /// The kind as `check --explain` and the status page show it.
    pub fn name(self) -> &'static str {
        match self {
            UpdateKind::BlindSet => "A blind set",
            UpdateKind::OwnedFold => "B owned fold",
            UpdateKind::MergedFold => "C merged fold",
        }
    }

    /// What is done for an event, in words.
    pub fn how(self) -> &'static str {
        match self {
            UpdateKind::BlindSet => "the assigned columns are written, nothing is read",
            UpdateKind::OwnedFold => "the row is read once, folded, and written with its position",
            UpdateKind::MergedFold => {
                "partitions are merged by time, the row is read once, folded, and written in one commit with all progress; on Cassandra they are merged into an internal topic, and the row is written with its position there"
            }
        }
    }
}

impl Verb {
    /// The verb as it is written.
    pub fn name(self) -> &'static str {
        match self {
            Verb::Create => "create",
            Verb::Update => "update",
            Verb::Upsert => "upsert",
            Verb::Replace => "replace",
            Verb::Delete => "delete",
            Verb::Remove => "remove",
        }
    }

    /// Whether the case can make a row.
    pub fn makes(self) -> bool {
        matches!(self, Verb::Create | Verb::Upsert | Verb::Replace)
    }
}

impl fmt::Debug for Handling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Handling::Declared(declared) => declared.fmt(f),
            Handling::Custom(_) => f.write_str("Custom"),
        }
    }
}

/// A value of a key as JSON.
fn shown_value(value: &Value) -> String {
    match value {
        Value::Text(text) => quote(text),
        Value::Uuid(uuid) => quote(&uuid.to_string()),
        Value::Decimal(decimal) => quote(&decimal.to_string()),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) | Value::Timestamp(value) | Value::Time(value) => value.to_string(),
        Value::Date(value) => value.to_string(),
        other => quote(&format!("{other:?}")),
    }
}

fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
