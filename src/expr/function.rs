//! The functions of the language: their names, how many arguments they take, and what they do.
//!
//! Comes in: a function and its arguments' values; a method's first argument is what it is called on. Goes out: a value
//! or a fault. Types of arguments are `call`'s. Only functions that give the same answer at each replay are here.

use std::borrow::Cow;

use smallvec::SmallVec;

use crate::value::{Decimal, decimal::Rounding};

use super::Fault;
use super::arith;
use super::coerce::{Kind, from_text};
use super::json;
use super::library::Signature;
use super::parse::Binary;
use super::reach;
use super::time;
use super::val::{self, Val};

/// A function.
#[derive(Clone, Copy, Debug)]
pub(super) enum Function {
    /// One of the library's table.
    Library(&'static Signature),
    Decimal,
    Int,
    Uint,
    Double,
    Bool,
    String,
    Timestamp,
    Date,
    Time,
    Duration,
    Uuid,
    Bytes,
    /// The bytes of a text.
    Utf8,
    Money,
    Div(u32, Rounding),
    Round(u32, Rounding),
    Size,
    Sum,
    /// A sum whose elements are decimals: empty, it is the decimal `0`.
    SumDecimals,
    SumFloats,
    SumUints,
    SumDurations,
    Min,
    Max,
    /// As `Max` and `Min`, of numbers of any type, of which there must be one.
    Greatest,
    Least,
    Values,
    Keys,
}

/// Arguments of a function: hardly ever more than two.
pub(super) type Args<'v> = SmallVec<[Val<'v>; 2]>;

/// Runs a function. `text` is the first argument as the author wrote it.
pub(super) fn run<'v>(function: Function, args: Args<'v>, text: &str) -> Result<Val<'v>, Fault> {
    if let Function::Library(called) = function {
        return (called.run)(&args, text);
    }
    let mut args = args.into_iter();
    let first = args.next().unwrap_or(Val::Null);
    let mut next = || args.next().unwrap_or(Val::Null);
    match function {
        Function::Decimal => {
            converted(&first, Kind::Decimal, text, "a decimal number of at most 38 digits such as \"12.50\"")
        }
        Function::Int => to_int(&first, text),
        Function::Uint => to_uint(&first, text),
        Function::Bool => to_bool(first, text),
        Function::Utf8 => match (reach::text_of(&first), first) {
            (Some(found), _) => Ok(Val::Bytes(Cow::Owned(found.as_bytes().to_vec()))),
            (None, Val::Bytes(bytes)) => Ok(Val::Bytes(bytes)),
            (None, other) => Err(Fault(format!("{text} is {}, expected a string", other.shown()))),
        },
        Function::Double => converted(&first, Kind::Float, text, "a number"),
        Function::Timestamp => {
            let seconds = match &first {
                Val::Int(seconds) => seconds.checked_mul(1000).and_then(time::in_calendar),
                _ => None,
            };
            match seconds {
                Some(ms) => Ok(Val::Timestamp(ms)),
                None => converted(
                    &first,
                    Kind::Timestamp,
                    text,
                    "a time with offset such as \"2026-01-01T00:00:00.000Z\"",
                ),
            }
        }
        Function::Date => match first {
            Val::Timestamp(ms) => time::date_of(ms)
                .map(Val::Date)
                .ok_or_else(|| Fault(format!("{text} is {}, which no date can hold", first.shown()))),
            _ => converted(&first, Kind::Date, text, "a date such as \"2026-01-31\""),
        },
        Function::Time => converted(&first, Kind::Time, text, "a time of day such as \"13:45:30\""),
        Function::Duration => converted(&first, Kind::Duration, text, "a duration such as \"1h30m\""),
        Function::Uuid => converted(&first, Kind::Uuid, text, "a UUID"),
        Function::Bytes => converted(&first, Kind::Bytes, text, "base64 text with padding"),
        Function::String => to_text(first, text),
        Function::Money => match (first, reach::text_of(&next())) {
            (Val::Decimal(amount), Some(currency)) => Ok(Val::Money(Box::new((amount, currency)))),
            (amount, _) => {
                Err(Fault(format!("{text} is {}, expected an amount and a currency", amount.shown())))
            }
        },
        Function::Div(scale, rounding) => divide(&first, &next(), scale, rounding),
        Function::Round(scale, rounding) => divide(&first, &Val::Int(1), scale, rounding),
        Function::Size => size(&first, text),
        Function::Sum
        | Function::SumDecimals
        | Function::SumFloats
        | Function::SumUints
        | Function::SumDurations => {
            elements(&first, text)?.try_fold(zero(function), |sum, element| add(sum, element, text))
        }
        Function::Min => extreme(&first, std::cmp::Ordering::Less, text),
        Function::Max => extreme(&first, std::cmp::Ordering::Greater, text),
        Function::Greatest => one_extreme(&first, std::cmp::Ordering::Greater, text),
        Function::Least => one_extreme(&first, std::cmp::Ordering::Less, text),
        Function::Values => values(&first, text),
        Function::Keys => match reach::items(&first) {
            Some(keys) => Ok(Val::List(keys.collect())),
            None => Err(Fault(format!("{text} is {}, expected a map", first.shown()))),
        },
        Function::Library(called) => (called.run)(&[first], text),
    }
}

fn converted<'v>(value: &Val<'v>, to: Kind, text: &str, expected: &str) -> Result<Val<'v>, Fault> {
    let found = match (value, to) {
        (Val::Int(number), Kind::Decimal) => Some(Val::Decimal(Decimal::from(*number))),
        (Val::Uint(number), Kind::Decimal) => Decimal::new((*number).into(), 0).ok().map(Val::Decimal),
        (Val::Text(found), Kind::Float) if special(found).is_some() => special(found).map(Val::Float),
        #[expect(clippy::cast_precision_loss, reason = "a double is asked for")]
        (Val::Uint(number), Kind::Float) => Some(Val::Float(*number as f64)),
        #[expect(clippy::cast_precision_loss, reason = "a double is asked for")]
        (Val::Int(number), Kind::Float) => Some(Val::Float(*number as f64)),
        (Val::Decimal(number), Kind::Float) => Some(Val::Float(number.to_f64())),
        (Val::Text(text), _) => from_text(text, to),
        (Val::Json(found), Kind::Decimal) => json::decimal(found).map(Val::Decimal),
        (Val::Json(found), Kind::Float) if json::text(found).is_none() => json::float(found).map(Val::Float),
        (Val::Json(found), _) => json::text(found).and_then(|text| from_text(text, to)),
        (Val::Decimal(_), Kind::Decimal)
        | (Val::Float(_), Kind::Float)
        | (Val::Timestamp(_), Kind::Timestamp)
        | (Val::Date(_), Kind::Date)
        | (Val::Time(_), Kind::Time)
        | (Val::Duration(_), Kind::Duration)
        | (Val::Uuid(_), Kind::Uuid)
        | (Val::Bytes(_), Kind::Bytes) => Some(value.clone()),
        _ => None,
    };
    found.ok_or_else(|| Fault(format!("{text} is {}, expected {expected}", value.shown())))
}

/// What is written for floating numbers that are not finite.
fn special(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" | "+Infinity" | "Inf" | "+Inf" => Some(f64::INFINITY),
        "-Infinity" | "-Inf" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

fn to_int<'v>(value: &Val<'v>, text: &str) -> Result<Val<'v>, Fault> {
    let found = match value {
        Val::Int(number) => Some(*number),
        Val::Uint(number) => i64::try_from(*number).ok(),
        Val::Decimal(number) => number.to_i64(),
        // A double cannot tell the smallest integer from what lies below it.
        Val::Float(number) => {
            cut(*number).and_then(|number| i64::try_from(number).ok()).filter(|number| *number > i64::MIN)
        }
        Val::Timestamp(ms) => Some(ms.div_euclid(1000)),
        Val::Text(text) => text.parse().ok(),
        Val::Json(found) => match json::text(found) {
            Some(text) => text.parse().ok(),
            None => json::integer(found),
        },
        _ => None,
    };
    found
        .map(Val::Int)
        .ok_or_else(|| Fault(format!("{text} is {}, expected an integer of 64 bits", value.shown())))
}

fn to_uint<'v>(value: &Val<'v>, text: &str) -> Result<Val<'v>, Fault> {
    let found = match value {
        Val::Uint(number) => Some(*number),
        Val::Int(number) => u64::try_from(*number).ok(),
        Val::Decimal(number) => number.to_i64().and_then(|number| u64::try_from(number).ok()),
        Val::Float(number) => cut(*number).and_then(|number| u64::try_from(number).ok()),
        Val::Text(text) => text.parse().ok(),
        Val::Json(found) => match json::text(found) {
            Some(text) => text.parse().ok(),
            None => json::integer(found).and_then(|number| u64::try_from(number).ok()),
        },
        _ => None,
    };
    found.map(Val::Uint).ok_or_else(|| {
        Fault(format!("{text} is {}, expected an integer of 64 bits that is not negative", value.shown()))
    })
}

/// As CEL: a double is cut toward zero.
#[expect(clippy::cast_possible_truncation, reason = "the guard keeps it within 128 bits")]
fn cut(number: f64) -> Option<i128> {
    (number.is_finite() && number.abs() < 1e30).then(|| number.trunc() as i128)
}

fn to_bool<'v>(value: Val<'v>, text: &str) -> Result<Val<'v>, Fault> {
    let found = match &value {
        Val::Bool(truth) => Some(*truth),
        Val::Json(found) if json::bool(found).is_some() => json::bool(found),
        other => match reach::text_of(other).as_deref() {
            Some("true" | "True" | "TRUE" | "t" | "1") => Some(true),
            Some("false" | "False" | "FALSE" | "f" | "0") => Some(false),
            _ => None,
        },
    };
    found
        .map(Val::Bool)
        .ok_or_else(|| Fault(format!("{text} is {}, expected \"true\" or \"false\"", value.shown())))
}

fn to_text<'v>(value: Val<'v>, text: &str) -> Result<Val<'v>, Fault> {
    if let Val::Json(found) = value {
        let written = match (json::text(found), json::number_text(found), json::bool(found)) {
            (Some(text), _, _) => Cow::Borrowed(text),
            (None, Some(number), _) => Cow::Owned(number.to_owned()),
            (None, None, Some(truth)) => Cow::Owned(truth.to_string()),
            _ => return Err(Fault(format!("{text} is {}, expected a string or a number", value.shown()))),
        };
        return Ok(Val::Text(written));
    }
    match value {
        Val::Text(_) => Ok(value),
        Val::Timestamp(ms) => Ok(Val::Text(Cow::Owned(time::show_shortest(ms)))),
        Val::Bytes(bytes) => match std::str::from_utf8(&bytes) {
            Ok(text) => Ok(Val::Text(Cow::Owned(text.to_owned()))),
            Err(_) => Err(Fault(format!("{text} holds bytes that are not text"))),
        },
        other => match other.text() {
            Some(written) => Ok(Val::Text(Cow::Owned(written.into_owned()))),
            None => Err(Fault(format!("{text} is {}, which has no text form", other.shown()))),
        },
    }
}

fn divide<'v>(left: &Val<'v>, right: &Val<'v>, scale: u32, rounding: Rounding) -> Result<Val<'v>, Fault> {
    let number = |value: &Val<'_>| match value {
        Val::Decimal(number) => Ok(*number),
        Val::Int(number) => Ok(Decimal::from(*number)),
        other => Err(Fault(format!("{} is not a decimal number", other.shown()))),
    };
    number(left)?
        .div(number(right)?, scale, rounding)
        .map(Val::Decimal)
        .map_err(|error| Fault(error.to_string()))
}

fn size<'v>(value: &Val<'v>, text: &str) -> Result<Val<'v>, Fault> {
    let count = match value {
        Val::Text(text) => text.chars().count(),
        Val::Bytes(bytes) => bytes.len(),
        Val::Json(found) if json::text(found).is_some() => {
            json::text(found).map_or(0, |text| text.chars().count())
        }
        Val::Cells(cells) => cells.len(),
        Val::Pairs(pairs) => pairs.len(),
        Val::List(list) => list.len(),
        Val::Map(entries) => entries.len(),
        other => match reach::items(other) {
            Some(items) => items.count(),
            None => return Err(Fault(format!("{text} is {}, which has no size", other.shown()))),
        },
    };
    Ok(Val::Int(i64::try_from(count).expect("what fits memory is counted in 63 bits")))
}

/// What the sum of no elements is.
pub(super) fn zero<'v>(sum: Function) -> Val<'v> {
    match sum {
        Function::SumDecimals => Val::Decimal(Decimal::ZERO),
        Function::SumFloats => Val::Float(0.0),
        Function::SumUints => Val::Uint(0),
        Function::SumDurations => Val::Duration(0),
        _ => Val::Int(0),
    }
}

/// A sum with one more element of the list that `text` is.
pub(super) fn add<'v>(sum: Val<'v>, element: Val<'v>, text: &str) -> Result<Val<'v>, Fault> {
    match arith::plain(element)? {
        Val::Text(found) => Err(Fault(format!("{text} holds {found:?}, expected numbers"))),
        number => arith::arithmetic(Binary::Add, sum, number),
    }
}

fn extreme<'v>(list: &Val<'v>, wanted: std::cmp::Ordering, text: &str) -> Result<Val<'v>, Fault> {
    let mut best: Option<Val<'v>> = None;
    for element in elements(list, text)? {
        let element = arith::plain(element)?;
        let better = match &best {
            None => true,
            Some(best) => match val::compare(&element, best) {
                Some(order) => order == wanted,
                None => {
                    let (left, right) = (element.shown(), best.shown());
                    return Err(Fault(format!("{text} holds {left} and {right}, which have no order")));
                }
            },
        };
        if better {
            best = Some(element);
        }
    }
    Ok(best.unwrap_or(Val::Null))
}

fn one_extreme<'v>(list: &Val<'v>, wanted: std::cmp::Ordering, text: &str) -> Result<Val<'v>, Fault> {
    match extreme(list, wanted, text)? {
        Val::Null => Err(Fault(format!("{text} has no elements, of which one would be given"))),
        number if val::is_number(&number) => Ok(number),
        other => Err(Fault(format!("{text} holds {}, expected numbers", other.shown()))),
    }
}

fn elements<'v>(list: &Val<'v>, text: &str) -> Result<reach::Items<'v>, Fault> {
    match list {
        Val::Json(found) if json::array(found).is_none() => None,
        _ => reach::items(list),
    }
    .ok_or_else(|| Fault(format!("{text} is {}, expected a list", list.shown())))
}

pub(super) fn values<'v>(map: &Val<'v>, text: &str) -> Result<Val<'v>, Fault> {
    match map {
        Val::Pairs(pairs) => Ok(Val::List(pairs.iter().map(|(_, value)| value.into()).collect())),
        Val::Map(entries) => Ok(Val::List(entries.iter().map(|(_, value)| value.clone()).collect())),
        Val::Null => Ok(Val::List(Vec::new())),
        Val::Json(found) => match json::fields(found) {
            Some(fields) => Ok(Val::List(fields.map(|(_, value)| Val::Json(value)).collect())),
            None => Err(Fault(format!("{text} is {}, expected an object", map.shown()))),
        },
        other => Err(Fault(format!("{text} is {}, expected a map", other.shown()))),
    }
}
