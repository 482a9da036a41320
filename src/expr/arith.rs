//! Arithmetic on values: exact, or a fault.
//!
//! Comes in: an operator and two values that `check` has found to fit, or values of an event of which nothing was
//! known. Goes out: a value, or a fault with the values in it.

use std::borrow::Cow;

use crate::value::Decimal;
use crate::value::decimal::DecimalError;

use super::Fault;
use super::json;
use super::library::TEXT_MAX;
use super::parse::Binary;
use super::time;
use super::val::Val;

/// Most elements of a list that is put together.
const ELEMENTS_MAX: usize = 1_000_000;

/// Refuses a text that would be too long.
fn in_bounds(bytes: usize) -> Result<(), Fault> {
    if bytes > TEXT_MAX {
        return Err(Fault(format!("a text would have more than {TEXT_MAX} bytes")));
    }
    Ok(())
}

/// `left operator right`.
///
/// # Errors
/// Overflow, division by zero, and operands that do not fit each other.
pub(super) fn arithmetic<'v>(operator: Binary, left: Val<'v>, right: Val<'v>) -> Result<Val<'v>, Fault> {
    let failed = |why: &str, left: &Val<'_>, right: &Val<'_>| {
        Fault(format!("{} {} {} {why}", left.shown(), operator.symbol(), right.shown()))
    };
    match (&left, &right) {
        (Val::Json(_), _) => return arithmetic(operator, plain(left)?, right),
        (_, Val::Json(_)) => return arithmetic(operator, left, plain(right)?),
        _ => {}
    }
    let found = match (operator, &left, &right) {
        (_, Val::Int(left), Val::Int(right)) => integers(operator, *left, *right).map(Val::Int),
        (_, Val::Uint(left), Val::Uint(right)) => unsigned(operator, *left, *right).map(Val::Uint),
        (Binary::Div | Binary::Rem, Val::Decimal(_), _) | (Binary::Div | Binary::Rem, _, Val::Decimal(_)) => {
            return Err(failed("is not exact; say div(a, b, scale, rounding)", &left, &right));
        }
        (_, Val::Decimal(a), Val::Decimal(b)) => return decimals(operator, *a, *b),
        (_, Val::Decimal(a), Val::Int(b)) => return decimals(operator, *a, (*b).into()),
        (_, Val::Int(a), Val::Decimal(b)) => return decimals(operator, (*a).into(), *b),
        (_, Val::Float(left), Val::Float(right)) => floats(operator, *left, *right).map(Val::Float),
        (Binary::Add, Val::Text(left), Val::Text(right)) => {
            in_bounds(left.len() + right.len())?;
            Some(Val::Text(Cow::Owned(format!("{left}{right}"))))
        }
        (Binary::Add, Val::Bytes(left), Val::Bytes(right)) => {
            in_bounds(left.len() + right.len())?;
            Some(Val::Bytes(Cow::Owned([&left[..], &right[..]].concat())))
        }
        (_, Val::Timestamp(left), Val::Timestamp(right)) => {
            integers(operator, *left, *right).and_then(time::in_duration).map(Val::Duration)
        }
        (_, Val::Timestamp(left), Val::Duration(right)) => {
            integers(operator, *left, *right).and_then(time::in_calendar).map(Val::Timestamp)
        }
        (Binary::Add, Val::Duration(left), Val::Timestamp(right)) => {
            left.checked_add(*right).and_then(time::in_calendar).map(Val::Timestamp)
        }
        (_, Val::Duration(left), Val::Duration(right)) => {
            integers(operator, *left, *right).and_then(time::in_duration).map(Val::Duration)
        }
        (Binary::Add, Val::Cells(_) | Val::List(_), Val::Cells(_) | Val::List(_)) => {
            let mut list = list_of(&left);
            list.extend(list_of(&right));
            if list.len() > ELEMENTS_MAX {
                return Err(Fault(format!("a list would have more than {ELEMENTS_MAX} elements")));
            }
            Some(Val::List(list))
        }
        _ => return Err(failed("cannot be computed: the types do not fit each other", &left, &right)),
    };
    found.ok_or_else(|| {
        if matches!(operator, Binary::Div | Binary::Rem) && matches!(right, Val::Int(0) | Val::Uint(0)) {
            failed("divides by zero", &left, &right)
        } else {
            failed("is out of range", &left, &right)
        }
    })
}

/// `-value`.
///
/// # Errors
/// Overflow, and what is no number.
pub(super) fn negate(value: Val<'_>) -> Result<Val<'_>, Fault> {
    match plain(value)? {
        Val::Int(number) => {
            number.checked_neg().map(Val::Int).ok_or_else(|| Fault(format!("-({number}) is out of range")))
        }
        Val::Float(number) => Ok(Val::Float(-number)),
        Val::Decimal(number) => Ok(Val::Decimal(-number)),
        Val::Duration(ms) => Ok(Val::Duration(ms.wrapping_neg())),
        other => Err(Fault(format!("-({}) cannot be computed: it is not a number", other.shown()))),
    }
}

/// A JSON number or string as the value it is: integers as they are, other numbers as exact decimals.
pub(super) fn plain(value: Val<'_>) -> Result<Val<'_>, Fault> {
    let Val::Json(found) = value else { return Ok(value) };
    if let Some(text) = json::text(found) {
        return Ok(Val::Text(Cow::Borrowed(text)));
    }
    if let Some(number) = json::integer(found) {
        return Ok(Val::Int(number));
    }
    match json::number(found) {
        Some(number) => Ok(Val::Decimal(number)),
        None => Err(Fault(format!("{} is not a number or text", json::shown(found)))),
    }
}

/// Of whole numbers; `None` where that is out of range.
pub(super) fn integers(operator: Binary, left: i64, right: i64) -> Option<i64> {
    match operator {
        Binary::Add => left.checked_add(right),
        Binary::Sub => left.checked_sub(right),
        Binary::Mul => left.checked_mul(right),
        Binary::Div => left.checked_div(right),
        Binary::Rem => left.checked_rem(right),
        _ => None,
    }
}

fn unsigned(operator: Binary, left: u64, right: u64) -> Option<u64> {
    match operator {
        Binary::Add => left.checked_add(right),
        Binary::Sub => left.checked_sub(right),
        Binary::Mul => left.checked_mul(right),
        Binary::Div => left.checked_div(right),
        Binary::Rem => left.checked_rem(right),
        _ => None,
    }
}

/// Sum, difference or product of decimals.
pub(super) fn exactly(operator: Binary, left: Decimal, right: Decimal) -> Result<Decimal, DecimalError> {
    match operator {
        Binary::Add => left.checked_add(right),
        Binary::Sub => left.checked_sub(right),
        _ => left.checked_mul(right),
    }
}

fn decimals<'v>(operator: Binary, left: Decimal, right: Decimal) -> Result<Val<'v>, Fault> {
    exactly(operator, left, right)
        .map(Val::Decimal)
        .map_err(|error| Fault(format!("{left} {} {right}: {error}", operator.symbol())))
}

/// As IEEE 754 says: what is too large is infinite, and `0.0 / 0.0` is no number. No column holds either.
fn floats(operator: Binary, left: f64, right: f64) -> Option<f64> {
    match operator {
        Binary::Add => Some(left + right),
        Binary::Sub => Some(left - right),
        Binary::Mul => Some(left * right),
        Binary::Div => Some(left / right),
        _ => None,
    }
}

fn list_of<'v>(value: &Val<'v>) -> Vec<Val<'v>> {
    match value {
        Val::Cells(cells) => cells.iter().map(Val::from).collect(),
        Val::List(list) => list.clone(),
        _ => Vec::new(),
    }
}
