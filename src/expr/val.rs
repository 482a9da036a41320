//! What an expression computes with: values borrowed from events and rows, or made while running.
//!
//! Comes in: JSON and cells. Goes out: a [`Val`], its equality and order, and its text for messages. No arithmetic
//! (`arith`), no conversion to columns (`convert`).

use std::borrow::Cow;
use std::cmp::Ordering;

use crate::event::Json;
use crate::value::{Decimal, Uuid, Value};

use super::json;
use super::time;

/// A value while an expression runs.
#[derive(Clone, Debug)]
pub enum Val<'a> {
    Null,
    /// CEL's empty optional: what `.?` and `[?]` find where there is nothing.
    Nothing,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    Decimal(Decimal),
    /// Text, ids, enum values by name.
    Text(Cow<'a, str>),
    Bytes(Cow<'a, [u8]>),
    /// Milliseconds since 1970-01-01T00:00:00Z.
    Timestamp(i64),
    /// Days since 1970-01-01.
    Date(i32),
    /// Nanoseconds since midnight.
    Time(i64),
    /// Milliseconds.
    Duration(i64),
    Uuid(Uuid),
    Json(&'a Json),
    /// A row, or a value type, by its columns.
    Record(&'a [Value]),
    /// A stored list or set.
    Cells(&'a [Value]),
    /// A stored map, sorted by key.
    Pairs(&'a [(Value, Value)]),
    /// A list made while running.
    List(Vec<Val<'a>>),
    /// A map made while running, in the order in which it was made; a key comes once.
    Map(Vec<(Val<'a>, Val<'a>)>),
    /// What `type(x)` gives: the type's name.
    Type(&'static str),
    /// What `money(amount, currency)` makes.
    Money(Box<(Decimal, Cow<'a, str>)>),
}

impl<'a> From<&'a Value> for Val<'a> {
    fn from(value: &'a Value) -> Val<'a> {
        match value {
            Value::Null => Val::Null,
            Value::Bool(truth) => Val::Bool(*truth),
            Value::Int(number) => Val::Int(*number),
            Value::Float(number) => Val::Float(*number),
            Value::Decimal(number) => Val::Decimal(*number),
            Value::Text(text) => Val::Text(Cow::Borrowed(text)),
            Value::Timestamp(ms) => Val::Timestamp(*ms),
            Value::Date(days) => Val::Date(*days),
            Value::Time(nanos) => Val::Time(*nanos),
            Value::Uuid(uuid) | Value::TimeUuid(uuid) => Val::Uuid(*uuid),
            Value::Period(period) => Val::Text(period.to_string().into()),
            Value::Ip(ip) => Val::Text(ip.to_string().into()),
            Value::Bytes(bytes) => Val::Bytes(Cow::Borrowed(bytes)),
            Value::List(cells) | Value::Set(cells) => Val::Cells(cells),
            Value::Map(pairs) => Val::Pairs(pairs),
            Value::Record(cells) => Val::Record(cells),
        }
    }
}

impl Val<'_> {
    /// Whether there is no value here.
    pub(super) fn is_nothing(&self) -> bool {
        match self {
            Val::Null | Val::Nothing => true,
            Val::Json(json) => json::is_null(json),
            _ => false,
        }
    }

    /// How many steps it takes to go through the value: none for what is short.
    pub(super) fn weight(&self) -> usize {
        /// Bytes of a text that are worked on in one step.
        const BYTES: usize = 64;
        match self {
            Val::Text(text) => text.len() / BYTES,
            Val::Bytes(bytes) => bytes.len() / BYTES,
            Val::List(list) => list.len(),
            Val::Map(entries) => entries.len(),
            Val::Cells(cells) => cells.len(),
            Val::Json(json) => json::size(json, BYTES),
            _ => 0,
        }
    }

    /// The value as messages show it, cut where it is long.
    pub(super) fn shown(&self) -> String {
        let shown = match self {
            Val::Null | Val::Nothing => "null".to_owned(),
            Val::Text(text) => format!("{text:?}"),
            Val::Json(json) => json::shown(json),
            Val::Record(_) => "a record".to_owned(),
            Val::Cells(_) | Val::List(_) => "a list".to_owned(),
            Val::Pairs(_) | Val::Map(_) => "a map".to_owned(),
            Val::Type(name) => (*name).to_owned(),
            Val::Bytes(bytes) => format!("{} bytes", bytes.len()),
            Val::Money(money) => format!("{} {}", money.0, money.1),
            other => other.text().unwrap_or_default().into_owned(),
        };
        match shown.char_indices().nth(60) {
            Some((end, _)) => format!("{}…", &shown[..end]),
            None => shown,
        }
    }

    /// The value written out, where it has one plain text form.
    pub(super) fn text(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            Val::Text(text) => Cow::Borrowed(text),
            Val::Bool(truth) => truth.to_string().into(),
            Val::Int(number) => number.to_string().into(),
            Val::Uint(number) => number.to_string().into(),
            Val::Float(number) => show_float(*number).into(),
            Val::Decimal(number) => number.to_string().into(),
            Val::Timestamp(ms) => time::show_timestamp(*ms).into(),
            Val::Date(days) => time::show_date(*days).into(),
            Val::Time(nanos) => time::show_time(*nanos).into(),
            Val::Duration(ms) => time::show_duration(*ms).into(),
            Val::Uuid(uuid) => uuid.to_string().into(),
            _ => return None,
        })
    }
}

/// A floating number as text: as short as can be while it reads back as the same number.
pub(super) fn show_float(number: f64) -> String {
    match number {
        number if number.is_nan() => "NaN".to_owned(),
        number if number.is_infinite() => if number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned(),
        number => number.to_string(),
    }
}

/// Whether two values are the same. Null is equal to nothing but null; numbers are compared by number whatever their
/// type; text inside JSON is read as what it is compared with. Values of different types are not equal.
pub(super) fn equal(left: &Val<'_>, right: &Val<'_>) -> bool {
    if matches!(left, Val::Nothing) || matches!(right, Val::Nothing) {
        return matches!((left, right), (Val::Nothing, Val::Nothing));
    }
    if left.is_nothing() || right.is_nothing() {
        return left.is_nothing() && right.is_nothing();
    }
    match (left, right) {
        (Val::Json(left), Val::Json(right)) => json::equal(left, right),
        (Val::Json(json), other) | (other, Val::Json(json)) => json_equals(json, other),
        (Val::Record(left), Val::Record(right)) => {
            left.len() == right.len()
                && left.iter().zip(*right).all(|(left, right)| equal(&left.into(), &right.into()))
        }
        (Val::Pairs(left), Val::Pairs(right)) => {
            left.len() == right.len()
                && left.iter().zip(*right).all(|(left, right)| {
                    equal(&(&left.0).into(), &(&right.0).into())
                        && equal(&(&left.1).into(), &(&right.1).into())
                })
        }
        (Val::Map(_), Val::Map(_) | Val::Pairs(_)) | (Val::Pairs(_), Val::Map(_)) => {
            same_entries(left, right)
        }
        (Val::Money(money), Val::Record(cells)) | (Val::Record(cells), Val::Money(money)) => {
            money_equals(money, cells)
        }
        (Val::Money(left), Val::Money(right)) => left.0.cmp_number(right.0).is_eq() && left.1 == right.1,
        (Val::Bytes(left), Val::Bytes(right)) => left == right,
        (Val::Bool(left), Val::Bool(right)) => left == right,
        (Val::Uuid(left), Val::Uuid(right)) => left == right,
        (Val::Type(left), Val::Type(right)) => left == right,
        (Val::Cells(_) | Val::List(_), Val::Cells(_) | Val::List(_)) => {
            let (left, right) = (elements(left), elements(right));
            left.len() == right.len() && left.iter().zip(&right).all(|(left, right)| equal(left, right))
        }
        _ => compare(left, right) == Some(Ordering::Equal),
    }
}

/// Whether two maps have the same keys with the same values, whatever their order.
fn same_entries(left: &Val<'_>, right: &Val<'_>) -> bool {
    let (left, right) = (entries(left), entries(right));
    left.len() == right.len()
        && left.iter().all(|(key, value)| entry(&right, key).is_some_and(|other| equal(value, other)))
}

fn entries<'v>(map: &'v Val<'v>) -> Vec<(Val<'v>, Val<'v>)> {
    match map {
        Val::Map(entries) => entries.clone(),
        Val::Pairs(pairs) => pairs.iter().map(|(key, value)| (key.into(), value.into())).collect(),
        _ => Vec::new(),
    }
}

/// The value of a key.
pub(super) fn entry<'m, 'v>(entries: &'m [(Val<'v>, Val<'v>)], key: &Val<'_>) -> Option<&'m Val<'v>> {
    entries.iter().find(|(known, _)| equal(known, key)).map(|(_, value)| value)
}

/// Whether this is a number, whatever its type.
pub(super) fn is_number(value: &Val<'_>) -> bool {
    matches!(value, Val::Int(_) | Val::Uint(_) | Val::Float(_) | Val::Decimal(_))
}

/// The order of two values of one type; `None` where there is none. Text compares by bytes, numbers by number.
pub(super) fn compare(left: &Val<'_>, right: &Val<'_>) -> Option<Ordering> {
    Some(match (left, right) {
        (Val::Int(left), Val::Int(right)) => left.cmp(right),
        (Val::Float(left), Val::Float(right)) => left.partial_cmp(right)?,
        (Val::Decimal(left), Val::Decimal(right)) => left.cmp_number(*right),
        (left, right) if is_number(left) && is_number(right) => return numbers(left, right),
        (Val::Text(left), Val::Text(right)) => left.as_bytes().cmp(right.as_bytes()),
        (Val::Bytes(left), Val::Bytes(right)) => left.cmp(right),
        (Val::Timestamp(left), Val::Timestamp(right)) | (Val::Time(left), Val::Time(right)) => {
            left.cmp(right)
        }
        (Val::Duration(left), Val::Duration(right)) => left.cmp(right),
        (Val::Date(left), Val::Date(right)) => left.cmp(right),
        (Val::Bool(left), Val::Bool(right)) => left.cmp(right),
        _ => return None,
    })
}

/// The order of two numbers of different types.
fn numbers(left: &Val<'_>, right: &Val<'_>) -> Option<Ordering> {
    match (left, right) {
        (Val::Float(left), right) => float_beside(*left, right),
        (left, Val::Float(right)) => float_beside(*right, left).map(Ordering::reverse),
        (Val::Decimal(left), right) => Some(left.cmp_number(Decimal::new(whole(right)?, 0).ok()?)),
        (left, Val::Decimal(right)) => Some(Decimal::new(whole(left)?, 0).ok()?.cmp_number(*right)),
        (left, right) => Some(whole(left)?.cmp(&whole(right)?)),
    }
}

fn whole(value: &Val<'_>) -> Option<i128> {
    match value {
        Val::Int(number) => Some((*number).into()),
        Val::Uint(number) => Some((*number).into()),
        _ => None,
    }
}

/// The order of a floating number beside an integer or a decimal, both as floating numbers.
#[expect(clippy::cast_precision_loss, reason = "an integer beside a double is compared as a double")]
fn float_beside(left: f64, right: &Val<'_>) -> Option<Ordering> {
    let right = match right {
        Val::Int(right) => *right as f64,
        Val::Uint(right) => *right as f64,
        Val::Decimal(right) => right.to_f64(),
        _ => return None,
    };
    left.partial_cmp(&right)
}

fn json_equals(json: &Json, other: &Val<'_>) -> bool {
    let text = json::text(json);
    match other {
        Val::Text(right) => text == Some(right),
        Val::Bool(right) => json::bool(json) == Some(*right),
        Val::Int(_) | Val::Uint(_) | Val::Float(_) => json::number(json)
            .is_some_and(|left| compare(&Val::Decimal(left), other) == Some(Ordering::Equal)),
        Val::Decimal(right) => json::decimal(json).is_some_and(|left| left.cmp_number(*right).is_eq()),
        Val::Timestamp(right) => text.and_then(time::read_timestamp) == Some(*right),
        Val::Date(right) => text.and_then(time::read_date) == Some(*right),
        Val::Time(right) => text.and_then(time::read_time) == Some(*right),
        Val::Uuid(right) => text.and_then(|text| Uuid::try_parse(text).ok()) == Some(*right),
        Val::Cells(_) | Val::List(_) => {
            let right = elements(other);
            json::array(json).is_some_and(|left| {
                left.len() == right.len()
                    && left.iter().zip(&right).all(|(left, right)| equal(&Val::Json(left), right))
            })
        }
        Val::Map(right) => json::fields(json).is_some_and(|left| {
            let left: Vec<_> = left.collect();
            left.len() == right.len()
                && left.iter().all(|(name, value)| {
                    entry(right, &Val::Text(Cow::Borrowed(name)))
                        .is_some_and(|other| equal(&Val::Json(value), other))
                })
        }),
        _ => false,
    }
}

fn money_equals(money: &(Decimal, Cow<'_, str>), cells: &[Value]) -> bool {
    cells.len() == 2
        && cells.iter().all(|cell| match cell {
            Value::Decimal(amount) => amount.cmp_number(money.0).is_eq(),
            Value::Text(currency) => **currency == *money.1,
            _ => false,
        })
}

/// The elements of a list of values; of anything else none.
fn elements<'v>(list: &'v Val<'v>) -> Vec<Val<'v>> {
    match list {
        Val::Cells(cells) => cells.iter().map(Val::from).collect(),
        Val::List(list) => list.clone(),
        _ => Vec::new(),
    }
}
