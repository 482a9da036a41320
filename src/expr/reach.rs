//! Reaches into values: fields, elements, entries, and everything that a list or map holds.
//!
//! Comes in: a value and what is looked for in it. Goes out: what was found, borrowed from where it stands, or why it cannot be
//! there. Evaluates nothing.

use std::borrow::Cow;
use std::sync::Arc;

use crate::event::Json;
use crate::value::Value;

use super::arith;
use super::code::By;
use super::eval::{Stop, fault};
use super::json;
use super::val::{self, Val};

/// What a comprehension goes through.
pub(super) enum Items<'f> {
    Json(std::slice::Iter<'f, Json>),
    Cells(std::slice::Iter<'f, Value>),
    Keys(std::slice::Iter<'f, (Value, Value)>),
    Values(std::slice::Iter<'f, (Value, Value)>),
    Made(std::vec::IntoIter<Val<'f>>),
}

impl<'f> Iterator for Items<'f> {
    type Item = Val<'f>;

    fn next(&mut self) -> Option<Val<'f>> {
        match self {
            Items::Json(items) => items.next().map(Val::Json),
            Items::Cells(items) => items.next().map(Val::from),
            Items::Keys(items) => items.next().map(|(key, _)| key.into()),
            Items::Values(items) => items.next().map(|(_, value)| value.into()),
            Items::Made(items) => items.next(),
        }
    }
}

/// The elements of a list, the keys of a map; `None` for anything else.
pub(super) fn items<'f>(list: &Val<'f>) -> Option<Items<'f>> {
    Some(match list {
        Val::Json(json) => match json::array(json) {
            Some(array) => Items::Json(array.iter()),
            None => {
                let keys: Vec<_> =
                    json::fields(json)?.map(|(name, _)| Val::Text(Cow::Borrowed(name))).collect();
                Items::Made(keys.into_iter())
            }
        },
        Val::Cells(cells) => Items::Cells(cells.iter()),
        Val::Pairs(pairs) => Items::Keys(pairs.iter()),
        Val::List(list) => Items::Made(list.clone().into_iter()),
        Val::Map(entries) => {
            Items::Made(entries.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>().into_iter())
        }
        // A collection that was never written is empty.
        Val::Null => Items::Made(Vec::new().into_iter()),
        _ => return None,
    })
}

/// A column of a record; nothing where it is null and read optionally.
pub(super) fn column_of(cells: &[Value], column: usize, optional: bool) -> Val<'_> {
    match cells.get(column) {
        None | Some(Value::Null) if optional => Val::Nothing,
        Some(cell) => cell.into(),
        None => Val::Null,
    }
}

/// A field.
pub(super) fn select<'f>(of: Val<'f>, by: &By, optional: bool, text: &Arc<str>) -> Result<Val<'f>, Stop> {
    match (of, by) {
        (Val::Nothing, _) => Ok(Val::Nothing),
        (Val::Null, _) => Ok(if optional { Val::Nothing } else { Val::Null }),
        (Val::Record(cells), By::Column(column)) => Ok(column_of(cells, *column, optional)),
        (Val::Map(entries), By::Name(name)) => match val::entry(&entries, &Val::Text(Cow::Borrowed(name))) {
            Some(value) => Ok(value.clone()),
            None if optional => Ok(Val::Nothing),
            None => fault(format!("{text}: there is no element {name:?}")),
        },
        (Val::Money(money), By::Amount) => Ok(Val::Decimal(money.0)),
        (Val::Money(money), By::Currency) => Ok(Val::Text(money.1)),
        (Val::Json(json), By::Name(name)) => match json::field(json, name) {
            Some(field) => Ok(Val::Json(field)),
            None if optional && (json::is_object(json) || json::is_null(json)) => Ok(Val::Nothing),
            None if json::is_object(json) => Err(Stop::Missing(text.clone())),
            None => fault(format!("{text} cannot be read: {} has no fields", json::shown(json))),
        },
        (other, _) => fault(format!("{text} cannot be read: {} has no fields", other.shown())),
    }
}

/// An element of a list, or the value of a map's key.
pub(super) fn element<'f>(
    of: &Val<'f>,
    index: &Val<'f>,
    optional: bool,
    text: &Arc<str>,
) -> Result<Val<'f>, Stop> {
    if matches!(of, Val::Nothing) || (optional && of.is_nothing()) {
        return Ok(Val::Nothing);
    }
    let found = match of {
        Val::Pairs(pairs) => {
            pairs.iter().find(|(key, _)| val::equal(&key.into(), index)).map(|(_, value)| value.into())
        }
        Val::Map(entries) => val::entry(entries, index).cloned(),
        Val::Cells(cells) => at(index, text)?.and_then(|at| cells.get(at)).map(Val::from),
        Val::List(list) => at(index, text)?.and_then(|at| list.get(at)).cloned(),
        Val::Json(json) => match json::array(json) {
            Some(array) => at(index, text)?.and_then(|at| array.get(at)).map(Val::Json),
            None if json::is_object(json) => match text_of(index) {
                Some(name) => json::field(json, &name).map(Val::Json),
                None => return fault(format!("{text}: {} is not the name of a field", index.shown())),
            },
            None => return fault(format!("{text} cannot be read: {} has no elements", json::shown(json))),
        },
        Val::Null => None,
        other => return fault(format!("{text} cannot be read: {} has no elements", other.shown())),
    };
    match found {
        Some(value) => Ok(value),
        None if optional => Ok(Val::Nothing),
        None if matches!(of, Val::Json(_)) => Err(Stop::Missing(text.clone())),
        None => fault(format!("{text}: there is no element {}", index.shown())),
    }
}

fn at(index: &Val<'_>, text: &Arc<str>) -> Result<Option<usize>, Stop> {
    let number = match index {
        Val::Int(number) => Some(*number),
        Val::Uint(number) => i64::try_from(*number).ok(),
        #[expect(clippy::cast_possible_truncation, reason = "only small integers are taken")]
        Val::Float(number) if number.fract() == 0.0 && number.abs() < 1e15 => Some(*number as i64),
        Val::Json(json) => json::integer(json),
        _ => None,
    };
    match number {
        Some(number) => Ok(usize::try_from(number).ok()),
        None => fault(format!("{text}: {} is not the number of an element", index.shown())),
    }
}

/// The text of a string, whoever holds it.
pub(super) fn text_of<'f>(value: &Val<'f>) -> Option<Cow<'f, str>> {
    match value {
        Val::Text(text) => Some(text.clone()),
        Val::Json(json) => json::text(json).map(Cow::Borrowed),
        _ => None,
    }
}

/// Puts an entry into a map that is made.
pub(super) fn insert<'v>(
    entries: &mut Vec<(Val<'v>, Val<'v>)>,
    key: Val<'v>,
    value: Val<'v>,
) -> Result<(), Stop> {
    if !matches!(key, Val::Bool(_) | Val::Int(_) | Val::Uint(_) | Val::Text(_)) {
        let key = arith::plain(key)?;
        return match key {
            Val::Int(_) | Val::Text(_) => insert(entries, key, value),
            key => fault(format!("{} cannot be a key of a map", key.shown())),
        };
    }
    if val::entry(entries, &key).is_some() {
        return fault(format!("the key {} comes twice in one map", key.shown()));
    }
    entries.push((key, value));
    Ok(())
}

/// Whether a value is what its type begins with.
pub(super) fn is_zero(value: &Val<'_>) -> bool {
    match value {
        Val::Null | Val::Nothing => true,
        Val::Bool(truth) => !truth,
        Val::Int(number) | Val::Duration(number) => *number == 0,
        Val::Uint(number) => *number == 0,
        Val::Float(number) => *number == 0.0,
        Val::Decimal(number) => number.mantissa == 0,
        Val::Bytes(bytes) => bytes.is_empty(),
        Val::Json(json) => match (json::text(json), json::bool(json), json::number(json)) {
            (Some(text), _, _) => text.is_empty(),
            (_, Some(truth), _) => !truth,
            (_, _, Some(number)) => number.mantissa == 0,
            _ => json::is_null(json) || items(value).is_some_and(|mut items| items.next().is_none()),
        },
        Val::Text(text) => text.is_empty(),
        other => items(other).is_some_and(|mut items| items.next().is_none()),
    }
}
