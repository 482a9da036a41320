//! Which rows a record touches.
//!
//! Comes in: a record and a projection. Goes out: [`Routed`]: the row's key and the event brought to today's
//! version (of an event that is split, several), or why there is none. Path: decode → type and version → upcast → record key compared → row key.
//! What becomes of the row is `fold`'s.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::decode;
use crate::event::{Event, Json, Position, Record, Reject, Stage, Taken, TopicPartition, TypeName};
use crate::expr::{Compiled, Fault, Frame, Slot};
use crate::handler::{Key, Origin, Projection, Tombstone, Unknown};
use crate::plan::TablePlan;
use crate::plan::key::{range_of, row_key_of};
use crate::schema::{ColumnId, ColumnType, Scalar};
use crate::upcast::Upcasted;
use crate::value::encode::RowKey;
use crate::value::{ParkedKey, Uuid, Value};

/// Most rows that one record may concern: above it the record is rejected.
pub const ROWS_OF_A_RECORD_MAX: usize = 1_000;

/// Cells of a row's key, in the order of the key.
pub type KeyCells = Vec<(ColumnId, Value)>;

/// What a record means to a projection.
#[derive(Clone, Debug)]
pub enum Routed {
    /// Nothing: its position may be passed.
    Ignore,
    /// The projection must stop before this record; why, for a person.
    Stop(String),
    /// A record without a value deletes the row.
    Delete { key: RowKey, key_cells: KeyCells, position: Position, time_ms: i64 },
    /// An event for one row.
    Event { key: RowKey, key_cells: KeyCells, event: Event },
    /// Several events for one row, or events for several: what a record was split into. Each row stands here once.
    Events(Vec<RowEvents>),
    /// An event that deletes all rows of these ranges for which its condition holds.
    Range { ranges: Vec<RowRange>, event: Arc<Event> },
    /// It cannot be applied: its key is to be parked.
    Rejected {
        key: ParkedKey,
        /// Cells of the row's key, where the row was found.
        key_cells: KeyCells,
        /// The key for a person: `{"id":"o1"}`, the record key, or the position.
        shown: String,
        type_name: Option<String>,
        reject: Reject,
    },
}

/// All rows of one partition of the base table whose clustering begins so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowRange {
    pub partition: Vec<u8>,
    pub clustering: Vec<u8>,
}

impl RowRange {
    /// Whether a row is one of them.
    pub fn has(&self, key: &RowKey) -> bool {
        key.partition() == self.partition && key.clustering().starts_with(&self.clustering)
    }
}

/// The events of one record that one row takes: all of them, or none.
#[derive(Clone, Debug)]
pub struct RowEvents {
    pub key: RowKey,
    pub key_cells: KeyCells,
    pub events: Vec<Taken>,
}

/// The event that a record holds, or why it holds none; `None` of a record without a value.
pub type Decoded = Option<Result<Json, Reject>>;

/// Reads what a record holds. Records are decoded a few at a time before they are routed: the code of both together is more
/// than the processor keeps at hand.
pub fn decode(record: &Record) -> Decoded {
    record.value.as_deref().map(decode::json)
}

/// Finds the rows of a record. `base` is the base table of the projection's read model.
pub fn route(projection: &Projection, base: &TablePlan, at: &TopicPartition, record: &Record) -> Routed {
    route_decoded(projection, base, at, (record, decode(record)))
}

/// As [`route`], of a record that is decoded already.
pub fn route_decoded(
    projection: &Projection,
    base: &TablePlan,
    at: &TopicPartition,
    (record, decoded): (&Record, Decoded),
) -> Routed {
    let metadata = projection.reads_record.then(|| decode::metadata(at, record));
    let from = projection.source(&at.topic);
    let position = Position { at: at.clone(), offset: record.offset };
    let router = Router { projection, from, base, position, record, metadata };
    match decoded {
        None => router.tombstone(),
        Some(Ok(body)) => router.body(body),
        Some(Err(reject)) => router.rejected(None, reject),
    }
}

struct Router<'a> {
    projection: &'a Projection,
    from: &'a Origin,
    base: &'a TablePlan,
    position: Position,
    record: &'a Record,
    /// What expressions see of the record, where one looks at it.
    metadata: Option<Json>,
}

/// A row that was found.
type Row = (RowKey, KeyCells);

/// The rows of one record, each once, in the order in which they were met.
#[derive(Default)]
struct Rows {
    rows: Vec<RowEvents>,
    index: FxHashMap<RowKey, usize>,
}

impl Rows {
    fn add(&mut self, (key, key_cells): Row, taken: Taken) -> Result<(), Reject> {
        match self.index.get(&key) {
            Some(&at) => self.rows[at].events.push(taken),
            None => {
                if self.rows.len() == ROWS_OF_A_RECORD_MAX {
                    let reason = format!(
                        "the record concerns more than {ROWS_OF_A_RECORD_MAX} rows, which is the most it may"
                    );
                    return Err(reject(reason));
                }
                self.index.insert(key.clone(), self.rows.len());
                self.rows.push(RowEvents { key, key_cells, events: vec![taken] });
            }
        }
        Ok(())
    }

    fn routed(self) -> Routed {
        match self.rows.is_empty() {
            true => Routed::Ignore,
            false => Routed::Events(self.rows),
        }
    }
}

/// The slots of expressions of `from` and `key`.
fn frame<'f>(body: &'f Json, record: Option<&'f Json>, element: Option<&'f Json>) -> [Slot<'f>; 3] {
    let slot = |json: Option<&'f Json>| json.map_or(Slot::Value(&Value::Null), Slot::Json);
    [Slot::Json(body), slot(record), slot(element)]
}

impl Router<'_> {
    fn body(&self, body: Json) -> Routed {
        let (kind, version) = match self.kind(&body) {
            Ok(found) => found,
            Err(reject) => return self.rejected(None, reject),
        };
        let kind = match self.from.name_of(kind) {
            Ok(name) => name,
            Err(kind) => return self.unknown_type(&body, kind),
        };
        let upcasts = &self.projection.upcasts;
        let newest = upcasts.newest(&kind);
        if !self.projection.handles(&kind) && !upcasts.is_split(&kind, version) {
            if self.projection.ignores(&kind) {
                return Routed::Ignore;
            }
            return self.unknown_type(&body, kind);
        }
        if version > newest {
            let reason = format!(
                "version {version} of {kind} is newer than {newest}, the newest version that is known"
            );
            return self.unknown(&body, kind, reason);
        }
        if !upcasts.knows(&kind) && version == newest {
            return match self.event(kind.clone(), version, 0, body) {
                Ok(event) => self.single(kind, event),
                Err(reject) => self.rejected(Some(kind), reject),
            };
        }
        match upcasts.apply(kind.clone(), version, body) {
            Ok(events) => self.upcasted(kind, events),
            Err(reject) => self.rejected(Some(kind), reject),
        }
    }

    /// What a record was made into: all of it has rows, or the record is rejected as a whole.
    fn upcasted(&self, kind: TypeName, events: Vec<Upcasted>) -> Routed {
        if let Some(event) = events.iter().find(|event| !self.projection.handles(&event.type_name)) {
            return self.unknown_type(&event.body, event.type_name.clone());
        }
        let mut rows = Rows::default();
        let single = events.len() == 1;
        for (part, Upcasted { type_name, version, body }) in (0..).zip(events) {
            match self.event(type_name, version, part, body) {
                Ok(event) if single => return self.single(kind, event),
                Ok(event) => {
                    if let Err(reject) = self.add(&mut rows, event) {
                        return self.rejected(Some(kind), reject);
                    }
                }
                Err(reject) => return self.rejected(Some(kind), reject),
            }
        }
        rows.routed()
    }

    /// The only event of a record.
    fn single(&self, kind: TypeName, event: Event) -> Routed {
        let declared = self.projection.rows_of(&event.kind);
        if let Some(rows) = declared.filter(|rows| rows.is_range) {
            return match rows.keys.iter().map(|key| self.range(key, &event)).collect() {
                Ok(ranges) => Routed::Range { ranges, event: Arc::new(event) },
                Err(reject) => self.rejected(Some(kind), reject),
            };
        }
        let found = match (declared, self.projection.keys.as_slice()) {
            (None, [key]) => match self.row(key, &frame(&event.body, event.record.as_ref(), None)) {
                Ok((key, key_cells)) => return Routed::Event { key, key_cells, event },
                Err(reject) => Err(reject),
            },
            _ => {
                let mut rows = Rows::default();
                self.add(&mut rows, event).map(|()| rows)
            }
        };
        match found {
            Ok(rows) => rows.routed(),
            Err(reject) => self.rejected(Some(kind), reject),
        }
    }

    fn range(&self, key: &Key, event: &Event) -> Result<RowRange, Reject> {
        let cells = self.cells(key, &frame(&event.body, event.record.as_ref(), None))?;
        let (partition, clustering) =
            range_of(self.base, &cells).ok_or_else(|| reject("a part of the rows' key is null"))?;
        Ok(RowRange { partition, clustering })
    }

    /// Adds the rows that an event concerns, each with what it takes of it.
    fn add(&self, rows: &mut Rows, event: Event) -> Result<(), Reject> {
        let event = Arc::new(event);
        let declared = self.projection.rows_of(&event.kind);
        let keys = declared.map_or(&self.projection.keys, |rows| &rows.keys);
        let frame = |element| frame(&event.body, event.record.as_ref(), element);
        let Some(list) = declared.and_then(|rows| rows.each.as_ref()) else {
            for key in keys {
                rows.add(self.row(key, &frame(None))?, Taken { event: Arc::clone(&event), element: None })?;
            }
            return Ok(());
        };
        let origin = frame(None);
        let elements = list.list(&origin).map_err(|Fault(reason)| reject(reason))?;
        for element in elements.unwrap_or_default() {
            let Slot::Json(element) = element else {
                return Err(reject(format!("{} holds what is no value of the event", list.text)));
            };
            for key in keys {
                let row = self.row(key, &frame(Some(element)))?;
                rows.add(row, Taken { event: Arc::clone(&event), element: Some(element.clone()) })?;
            }
        }
        Ok(())
    }

    fn unknown_type(&self, body: &Json, kind: TypeName) -> Routed {
        let reason = format!("event type {kind} is not known to projection {}", self.projection.name);
        self.unknown(body, kind, reason)
    }

    /// An event of today's version.
    fn event(&self, kind: TypeName, version: i64, part: u32, body: Json) -> Result<Event, Reject> {
        let key = self.record.key.as_deref().filter(|_| self.projection.reads_record);
        let key = key.and_then(|key| std::str::from_utf8(key).ok());
        let mut event = Event {
            position: self.position(),
            time_ms: self.time(&body)?,
            timestamp_ms: self.record.timestamp_ms,
            kind,
            version,
            part,
            body,
            id: None,
            number: None,
            record: None,
            key: key.map(Box::from),
        };
        event.record = self.metadata.as_ref().map(|metadata| decode::of_event(metadata, &event));
        let frame = frame(&event.body, event.record.as_ref(), None);
        let id = self.from.remember.as_ref().map(|remember| text(&remember.id, &frame)).transpose()?;
        let id = id.map(|id| Box::from(&*id));
        let sequence = self.from.sequence.as_ref();
        let number = sequence.map(|sequence| self.number(&sequence.number, &frame)).transpose()?;
        (event.id, event.number) = (id, number);
        Ok(event)
    }

    fn number(&self, expression: &Compiled, frame: &Frame<'_>) -> Result<i64, Reject> {
        match present(expression, expression.cell(frame))? {
            Value::Int(number) => Ok(number),
            _ => Err(reject(format!("{} is no whole number", expression.text))),
        }
    }

    fn position(&self) -> Position {
        self.position.clone()
    }

    /// Type and version of an event as it came.
    fn kind(&self, body: &Json) -> Result<(TypeName, i64), Reject> {
        let from = self.from;
        let frame = frame(body, self.metadata.as_ref(), None);
        let kind = TypeName::new(text(&from.type_name, &frame)?);
        let version = match &from.version {
            None => 1,
            Some(version) => match version.cell(&frame).map_err(|Fault(reason)| reject(reason))? {
                None => 1,
                Some(Value::Int(found)) => found,
                Some(_) => return Err(reject(format!("{} is null, expected a whole number", version.text))),
            },
        };
        Ok((kind, version))
    }

    fn unknown(&self, body: &Json, kind: TypeName, reason: String) -> Routed {
        match self.from.unknown {
            Unknown::Ignore => Routed::Ignore,
            Unknown::Stop => Routed::Stop(format!("{reason} (record {})", self.position())),
            Unknown::Park => {
                let reject = reject(reason);
                match self.row(&self.projection.keys[0], &frame(body, self.metadata.as_ref(), None)) {
                    Ok(row) => self.rejected_row(row, Some(kind), reject),
                    Err(_) => self.rejected(Some(kind), reject),
                }
            }
        }
    }

    fn time(&self, body: &Json) -> Result<i64, Reject> {
        let Some(time) = &self.from.time else { return Ok(self.record.timestamp_ms) };
        match time.cell(&frame(body, self.metadata.as_ref(), None)).map_err(|Fault(reason)| reject(reason))? {
            Some(Value::Timestamp(ms)) => Ok(ms),
            _ => Ok(self.record.timestamp_ms),
        }
    }

    /// The row of an event of today's version, once the record's key is what it must be.
    fn row(&self, key: &Key, frame: &Frame<'_>) -> Result<Row, Reject> {
        self.keyed(self.cells(key, frame)?)
    }

    /// The key columns of a row, once the record's key is what it must be.
    fn cells(&self, key: &Key, frame: &Frame<'_>) -> Result<KeyCells, Reject> {
        let mut unseen = self.from.record_key.as_ref();
        let mut cells = Vec::with_capacity(key.len());
        for (column, expression) in key {
            let value = present(expression, expression.cell(frame))?;
            // Most often the record's key is the row's: it is evaluated once.
            if let Some(record_key) = unseen.take_if(|record_key| record_key.text == expression.text) {
                match &value {
                    Value::Text(found) => self.same_key(record_key, found)?,
                    _ => self.same_key(record_key, &text(record_key, frame)?)?,
                }
            }
            if self.from.record_key_column == Some(*column) {
                self.one_spelling(&value)?;
            }
            cells.push((*column, value));
        }
        if let Some(record_key) = unseen {
            self.same_key(record_key, &text(record_key, frame)?)?;
        }
        Ok(cells)
    }

    /// Refuses a record key that is another spelling of the row's key, as `017` is of 17: it may lie in another partition,
    /// and a row is folded from one.
    fn one_spelling(&self, value: &Value) -> Result<(), Reject> {
        let spelled = match value {
            Value::Int(number) => number.to_string(),
            Value::Uuid(uuid) | Value::TimeUuid(uuid) => uuid.to_string(),
            _ => return Ok(()),
        };
        match &self.record.key {
            Some(key) if **key != *spelled.as_bytes() => Err(reject(format!(
                "record key is {}, but the row's key is spelled {}",
                quote(&String::from_utf8_lossy(key)),
                quote(&spelled)
            ))),
            _ => Ok(()),
        }
    }

    fn keyed(&self, cells: KeyCells) -> Result<Row, Reject> {
        let key = row_key_of(self.base, &cells).ok_or_else(|| reject("a part of the row's key is null"))?;
        Ok((key, cells))
    }

    fn same_key(&self, expression: &Compiled, found: &str) -> Result<(), Reject> {
        match &self.record.key {
            Some(key) if **key == *found.as_bytes() => Ok(()),
            Some(key) => Err(reject(format!(
                "record key is {}, {} is {}",
                quote(&String::from_utf8_lossy(key)),
                expression.text,
                quote(found)
            ))),
            None => Err(reject(format!("the record has no key, {} is {}", expression.text, quote(found)))),
        }
    }

    fn tombstone(&self) -> Routed {
        let why = match self.from.tombstone {
            Some(Tombstone::Ignore) => return Routed::Ignore,
            Some(Tombstone::Delete) => {
                return match self.row_of_record_key() {
                    Ok((key, key_cells)) => {
                        let time_ms = self.record.timestamp_ms;
                        Routed::Delete { key, key_cells, position: self.position(), time_ms }
                    }
                    Err(reject) => self.rejected(None, reject),
                };
            }
            Some(Tombstone::Park) => "the record has no value, and `tombstone: park` says that it waits",
            None => {
                "the record has no value, and the projection does not say what that means: `tombstone: delete`, `ignore` or `park`"
            }
        };
        match self.row_of_record_key() {
            Ok(row) => self.rejected_row(row, None, reject(why)),
            Err(_) => self.rejected(None, reject(why)),
        }
    }

    /// The row whose only key column is the record's key as text.
    fn row_of_record_key(&self) -> Result<Row, Reject> {
        let column = match (self.from.record_key_column, self.projection.keys.as_slice()) {
            (Some(column), [key]) if key.len() == 1 => column,
            _ => return Err(reject("the record has no value, and its key is not the row's")),
        };
        let Some(bytes) = &self.record.key else {
            return Err(reject("the record has neither key nor value"));
        };
        let text = std::str::from_utf8(bytes).map_err(|_| reject("the record's key is not UTF-8"))?;
        let ty = &self.projection.shape.column(column).ty;
        let value = key_value(ty, text)
            .ok_or_else(|| reject(format!("record key is {}, which is no {}", quote(text), type_name(ty))))?;
        self.one_spelling(&value)?;
        self.keyed(vec![(column, value)])
    }

    fn rejected_row(&self, (key, cells): Row, kind: Option<TypeName>, reject: Reject) -> Routed {
        let shown = self.projection.shown_key(&cells);
        let type_name = kind.map(|kind| kind.as_str().to_owned());
        Routed::Rejected { key: ParkedKey::Row(key), key_cells: cells, shown, type_name, reject }
    }

    fn rejected(&self, kind: Option<TypeName>, reject: Reject) -> Routed {
        let (key, shown) = match &self.record.key {
            Some(key) => (ParkedKey::Record(Box::from(&**key)), String::from_utf8_lossy(key).into_owned()),
            None => {
                let position = self.position();
                let shown = position.to_string();
                (ParkedKey::Position(position.at, position.offset), shown)
            }
        };
        Routed::Rejected {
            key,
            key_cells: Vec::new(),
            shown,
            type_name: kind.map(|kind| kind.as_str().to_owned()),
            reject,
        }
    }
}

fn reject(reason: impl Into<String>) -> Reject {
    Reject::new(Stage::Route, reason)
}

fn text<'f>(expression: &'f Compiled, frame: &'f Frame<'f>) -> Result<Cow<'f, str>, Reject> {
    let found = expression.text(frame).map_err(|Fault(reason)| reject(reason))?;
    let state = || if matches!(expression.cell(frame), Ok(Some(_))) { "null" } else { "missing" };
    found.ok_or_else(|| reject(format!("{} is {}", expression.text, state())))
}

fn present(expression: &Compiled, value: Result<Option<Value>, Fault>) -> Result<Value, Reject> {
    match value {
        Ok(Some(Value::Null)) => Err(reject(format!("{} is null", expression.text))),
        Ok(Some(value)) => Ok(value),
        Ok(None) => Err(reject(format!("{} is missing", expression.text))),
        Err(Fault(reason)) => Err(reject(reason)),
    }
}

fn key_value(ty: &ColumnType, text: &str) -> Option<Value> {
    let ColumnType::Scalar(scalar) = ty else { return None };
    match scalar {
        Scalar::Id | Scalar::String => Some(Value::text(text)),
        Scalar::Ascii => text.is_ascii().then(|| Value::text(text)),
        Scalar::Byte => Some(Value::Int(i64::from(text.parse::<i8>().ok()?))),
        Scalar::Short => Some(Value::Int(i64::from(text.parse::<i16>().ok()?))),
        Scalar::Int => Some(Value::Int(i64::from(text.parse::<i32>().ok()?))),
        Scalar::Long | Scalar::BigInt => Some(Value::Int(text.parse().ok()?)),
        Scalar::Uuid => Some(Value::Uuid(Uuid::parse_str(text).ok()?)),
        _ => None,
    }
}

fn type_name(ty: &ColumnType) -> String {
    match ty {
        ColumnType::Scalar(scalar) => format!("{scalar:?}"),
        _ => "key".to_owned(),
    }
}

fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
