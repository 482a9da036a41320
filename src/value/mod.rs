//! What a stored cell can hold, and the one order and one encoding that every store uses.
//!
//! Comes in: values made by `decode` and `expr`. Goes out: cells of rows, parts of keys, bytes.
//! `decimal` holds exact decimals, `period` lengths of time, `order` compares, `encode` has the bytes of keys, `row` those of rows, `weight` says
//! what they take in memory.

pub mod decimal;
pub mod encode;
pub mod narrow;
mod order;
mod parked;
mod period;
pub mod row;
mod weight;

use core::net::IpAddr;

use crate::schema::Expiry;

pub use decimal::Decimal;
pub use parked::ParkedKey;
pub use period::Period;
pub use smol_str::SmolStr as Text;
pub use uuid::Uuid;
pub use weight::weight;

/// One cell of a row, one part of a key, or a value inside a collection.
///
/// Equality and order are those of the stores: text compares by bytes, a decimal by its number
/// first (then by scale, so that `1.0` and `1.00` are two values), `Null` sorts before everything.
#[derive(Clone, Debug, Default)]
pub enum Value {
    /// No value. Never part of a key.
    #[default]
    Null,
    Bool(bool),
    /// Whole numbers of at most 64 bits: the column type says how many.
    Int(i64),
    /// A double. Finite: `decode` and `expr` reject NaN and the infinities.
    Float(f64),
    /// Also whole numbers of any size, without a scale.
    Decimal(Decimal),
    /// Text, ids, enum values by name, JSON as text.
    Text(Text),
    /// Milliseconds since 1970-01-01T00:00:00Z.
    Timestamp(i64),
    /// Days since 1970-01-01.
    Date(i32),
    /// Nanoseconds since midnight.
    Time(i64),
    Uuid(Uuid),
    Bytes(Box<[u8]>),
    /// In the author's order.
    List(Vec<Value>),
    /// Sorted, without duplicates.
    Set(Vec<Value>),
    /// Sorted by key, each key once.
    Map(Vec<(Value, Value)>),
    /// A value type (`@udt`): one entry for each of its columns, in their declared order.
    Record(Vec<Value>),
    /// A UUID of version 1, ordered by its time.
    TimeUuid(Uuid),
    Period(Period),
    /// An address of IPv4 or IPv6; one that is both is of IPv4.
    Ip(IpAddr),
}

/// The cells of a row, one for each column of the read model, in column order.
pub type Cells = Vec<Value>;

impl Value {
    /// Text from anything that reads as a string.
    pub fn text(text: impl Into<Text>) -> Value {
        Value::Text(text.into())
    }

    /// Whether this is `Null`.
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// The text, where this is text.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// Looks at rows that are worked on next. They lie far apart in memory: looked at one after the other, with nothing in
/// between, the processor fetches many of them at a time.
pub fn look_at<'r>(rows: impl Iterator<Item = &'r [Value]>) {
    /// Cells in one line of the processor's cache, which has 64 bytes.
    const CELLS_OF_A_LINE: usize = 64 / size_of::<Value>();
    let cells = rows.flat_map(|row| row.iter().step_by(CELLS_OF_A_LINE));
    std::hint::black_box(cells.filter(|cell| cell.is_null()).count());
}

/// As [`look_at`], of bytes.
pub fn look_at_bytes<'r>(parts: impl Iterator<Item = &'r [u8]>) {
    const LINE: usize = 64;
    let bytes = parts.flat_map(|bytes| bytes.iter().step_by(LINE));
    std::hint::black_box(bytes.fold(0, |all, byte| all ^ byte));
}

impl Expiry {
    /// Whether a row with these cells is gone at a time, milliseconds since 1970.
    pub fn is_over(&self, cells: &[Value], at_ms: i64) -> bool {
        match cells.get(self.from.0 as usize) {
            Some(Value::Timestamp(from_ms)) => from_ms.saturating_add(self.after_ms) <= at_ms,
            _ => false,
        }
    }
}
