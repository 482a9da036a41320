//! Asks values of an event to be of a kind, where only the event can tell what they are.
//!
//! Comes in: a value and the [`Kind`] that its place wants. Goes out: the value as that kind, or nothing. Exact, or not at
//! all.

use std::borrow::Cow;

use base64::Engine as _;

use crate::event::Json;
use crate::value::{Decimal, Uuid};

use super::Fault;
use super::json;
use super::time;
use super::val::Val;

/// What a value of an event must be where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Int,
    Uint,
    /// An integer, with or without a sign.
    Whole,
    /// Any number.
    Number,
    Float,
    Decimal,
    Text,
    Bytes,
    Timestamp,
    Date,
    Time,
    Duration,
    Uuid,
}

impl Kind {
    /// The kind as messages name it.
    pub(super) fn shown(self) -> &'static str {
        match self {
            Kind::Bool => "a Boolean",
            Kind::Int | Kind::Whole => "an integer",
            Kind::Uint => "an integer that is not negative",
            Kind::Float | Kind::Number => "a number",
            Kind::Decimal => "a decimal number of at most 38 digits such as \"12.50\"",
            Kind::Text => "a string",
            Kind::Bytes => "base64 text",
            Kind::Timestamp => "a time with offset such as \"2026-01-01T00:00:00.000Z\"",
            Kind::Date => "a date such as \"2026-01-31\"",
            Kind::Time => "a time of day such as \"13:45:30\"",
            Kind::Duration => "a duration such as \"1h30m\"",
            Kind::Uuid => "a UUID",
        }
    }
}

/// The value as that kind. `text` names it in the fault.
pub(super) fn coerce<'f>(value: Val<'f>, to: Kind, text: &str) -> Result<Val<'f>, Fault> {
    match coerced(&value, to) {
        Some(value) => Ok(value),
        None => Err(Fault(format!("{text} is {}, expected {}", value.shown(), to.shown()))),
    }
}

fn coerced<'f>(value: &Val<'f>, to: Kind) -> Option<Val<'f>> {
    if let Val::Json(json) = value {
        return from_json(json, to);
    }
    match (to, value) {
        (Kind::Decimal, Val::Int(number)) => Some(Val::Decimal(Decimal::from(*number))),
        (Kind::Decimal, Val::Text(text)) => Decimal::parse(text).ok().map(Val::Decimal),
        (Kind::Int | Kind::Whole, Val::Decimal(number)) => number.to_i64().map(Val::Int),
        (Kind::Number, Val::Int(_) | Val::Uint(_) | Val::Float(_) | Val::Decimal(_))
        | (Kind::Whole, Val::Int(_) | Val::Uint(_))
        | (Kind::Uint, Val::Uint(_)) => Some(value.clone()),
        #[expect(clippy::cast_precision_loss, reason = "a Float is asked for")]
        (Kind::Float, Val::Int(number)) => Some(Val::Float(*number as f64)),
        (Kind::Float, Val::Decimal(number)) => Some(Val::Float(number.to_f64())),
        (Kind::Bool, Val::Bool(_))
        | (Kind::Int, Val::Int(_))
        | (Kind::Float, Val::Float(_))
        | (Kind::Decimal, Val::Decimal(_))
        | (Kind::Text, Val::Text(_))
        | (Kind::Bytes, Val::Bytes(_))
        | (Kind::Timestamp, Val::Timestamp(_))
        | (Kind::Date, Val::Date(_))
        | (Kind::Time, Val::Time(_))
        | (Kind::Duration, Val::Duration(_))
        | (Kind::Uuid, Val::Uuid(_)) => Some(value.clone()),
        (Kind::Timestamp | Kind::Date | Kind::Time | Kind::Duration | Kind::Uuid, Val::Text(text)) => {
            from_text(text, to)
        }
        _ => None,
    }
}

fn from_json<'f>(json: &'f Json, to: Kind) -> Option<Val<'f>> {
    match to {
        Kind::Bool => json::bool(json).map(Val::Bool),
        Kind::Int | Kind::Whole => json::integer(json).map(Val::Int),
        Kind::Uint => u64::try_from(json::integer(json)?).ok().map(Val::Uint),
        Kind::Number => match json::integer(json) {
            Some(number) => Some(Val::Int(number)),
            None => json::number(json).map(Val::Decimal),
        },
        Kind::Float => json::float(json).map(Val::Float),
        Kind::Decimal => json::decimal(json).map(Val::Decimal),
        Kind::Text => json::text(json).map(|text| Val::Text(Cow::Borrowed(text))),
        _ => from_text(json::text(json)?, to),
    }
}

/// Reads text as a time, a UUID or bytes.
pub(super) fn from_text<'f>(text: &str, to: Kind) -> Option<Val<'f>> {
    match to {
        Kind::Timestamp => time::read_timestamp(text).map(Val::Timestamp),
        Kind::Date => time::read_date(text).map(Val::Date),
        Kind::Time => time::read_time(text).map(Val::Time),
        Kind::Duration => time::read_duration(text).map(Val::Duration),
        Kind::Uuid => Uuid::try_parse(text).ok().map(Val::Uuid),
        Kind::Bytes => {
            let bytes = base64::engine::general_purpose::STANDARD.decode(text).ok()?;
            Some(Val::Bytes(Cow::Owned(bytes)))
        }
        Kind::Decimal => Decimal::parse(text).ok().map(Val::Decimal),
        Kind::Int => text.parse().ok().map(Val::Int),
        Kind::Uint => text.parse().ok().map(Val::Uint),
        Kind::Float => text.parse().ok().filter(|number: &f64| number.is_finite()).map(Val::Float),
        Kind::Bool | Kind::Text | Kind::Whole | Kind::Number => None,
    }
}
