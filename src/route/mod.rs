//! Which row an event touches.
//!
//! Comes in: a record and a projection. Goes out: [`Routed`]: the row's key and the event brought to today's
//! version, or why there is none. Path: decode → type and version → upcast → record key compared → row key.
//! What becomes of the row is `fold`'s.

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use crate::decode;
use crate::event::{Event, Json, Position, Record, Reject, Stage, TopicPartition};
use crate::expr::{Compiled, Fault, Frame, Slot};
use crate::handler::{Projection, Tombstone, Unknown};
use crate::plan::TablePlan;
use crate::plan::key::row_key_of;
use crate::schema::{ColumnId, ColumnType, Scalar};
use crate::upcast::too_old;
use crate::value::encode::RowKey;
use crate::value::{ParkedKey, Uuid, Value};

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

/// Finds the row of a record. `base` is the base table of the projection's read model.
pub fn route(projection: &Projection, base: &TablePlan, at: &TopicPartition, record: &Record) -> Routed {
    let router = Router { projection, base, at, record };
    match &record.value {
        None => router.tombstone(),
        Some(value) => match decode::json(value) {
            Ok(body) => router.body(body),
            Err(reject) => router.rejected(None, reject),
        },
    }
}

struct Router<'a> {
    projection: &'a Projection,
    base: &'a TablePlan,
    at: &'a TopicPartition,
    record: &'a Record,
}

/// A row that was found.
type Row = (RowKey, KeyCells);

impl Router<'_> {
    fn body(&self, mut body: Json) -> Routed {
        let (kind, version) = match self.kind(&body) {
            Ok(found) => found,
            Err(reject) => return self.rejected(None, reject),
        };
        let newest = self.projection.newest_version(&kind);
        let unknown = if !self.projection.handles(&kind) {
            Some(format!("event type {kind} is not known to projection {}", self.projection.name))
        } else if version > newest {
            Some(format!(
                "version {version} of {kind} is newer than {newest}, the newest version that is known"
            ))
        } else {
            None
        };
        if let Some(reason) = unknown {
            return self.unknown(&body, kind, reason);
        }
        let upcast = match self.projection.upcasts.get(&*kind) {
            Some(chain) => chain.apply(&kind, version, &mut body),
            None if version < 1 => Err(too_old(&kind, version, 1)),
            None => Ok(version),
        };
        let version = match upcast {
            Ok(version) => version,
            Err(reject) => return self.rejected(Some(kind), reject),
        };
        match self.row(&body).and_then(|row| Ok((row, self.time(&body)?))) {
            Ok(((key, key_cells), time_ms)) => {
                let event = self.event(kind, version, time_ms, body);
                Routed::Event { key, key_cells, event }
            }
            Err(reject) => self.rejected(Some(kind), reject),
        }
    }

    fn event(&self, kind: Box<str>, version: i64, time_ms: i64, body: Json) -> Event {
        let key = self.record.key.as_deref().and_then(|key| std::str::from_utf8(key).ok());
        Event {
            position: self.position(),
            time_ms,
            timestamp_ms: self.record.timestamp_ms,
            kind,
            version,
            body,
            key: key.map(Box::from),
        }
    }

    fn position(&self) -> Position {
        Position { at: self.at.clone(), offset: self.record.offset }
    }

    /// Type and version of an event as it came.
    fn kind(&self, body: &Json) -> Result<(Box<str>, i64), Reject> {
        let from = &self.projection.from;
        let frame = [Slot::Json(body)];
        let kind = Box::from(&*text(&from.type_name, &frame)?);
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

    fn unknown(&self, body: &Json, kind: Box<str>, reason: String) -> Routed {
        match self.projection.unknown {
            Unknown::Ignore => Routed::Ignore,
            Unknown::Stop => Routed::Stop(format!("{reason} (record {})", self.position())),
            Unknown::Park => {
                let reject = reject(reason);
                match self.row(body) {
                    Ok(row) => self.rejected_row(row, Some(kind), reject),
                    Err(_) => self.rejected(Some(kind), reject),
                }
            }
        }
    }

    fn time(&self, body: &Json) -> Result<i64, Reject> {
        let Some(time) = &self.projection.from.time else { return Ok(self.record.timestamp_ms) };
        match time.cell(&[Slot::Json(body)]).map_err(|Fault(reason)| reject(reason))? {
            Some(Value::Timestamp(ms)) => Ok(ms),
            _ => Ok(self.record.timestamp_ms),
        }
    }

    /// The row of an event of today's version, once the record's key is what it must be.
    fn row(&self, body: &Json) -> Result<Row, Reject> {
        let frame = [Slot::Json(body)];
        if let Some(expression) = &self.projection.from.record_key {
            self.same_key(expression, &text(expression, &frame)?)?;
        }
        let position = self.position();
        let frame = [Slot::Json(body), Slot::Position(&position)];
        let mut cells = Vec::with_capacity(self.projection.key.len());
        for (column, expression) in &self.projection.key {
            let value = present(expression, expression.cell(&frame))?;
            if self.projection.from.record_key_column == Some(*column) {
                self.one_spelling(&value)?;
            }
            cells.push((*column, value));
        }
        self.keyed(cells)
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
        let why = match self.projection.from.tombstone {
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
        let column = match (self.projection.from.record_key_column, self.projection.key.as_slice()) {
            (Some(column), [_]) => column,
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

    fn rejected_row(&self, (key, cells): Row, kind: Option<Box<str>>, reject: Reject) -> Routed {
        let shown = self.projection.shown_key(&cells);
        let type_name = kind.map(String::from);
        Routed::Rejected { key: ParkedKey::Row(key), key_cells: cells, shown, type_name, reject }
    }

    fn rejected(&self, kind: Option<Box<str>>, reject: Reject) -> Routed {
        let (key, shown) = match &self.record.key {
            Some(key) => (ParkedKey::Record(Box::from(&**key)), String::from_utf8_lossy(key).into_owned()),
            None => {
                let position = self.position();
                let shown = position.to_string();
                (ParkedKey::Position(position.at, position.offset), shown)
            }
        };
        Routed::Rejected { key, key_cells: Vec::new(), shown, type_name: kind.map(String::from), reject }
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
