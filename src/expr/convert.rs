//! Makes cells of values: JSON and computed values become what a column of a type can hold, or a fault.
//!
//! Comes in: a value, and a [`Target`] made once from the column's type. Goes out: a [`Value`]. Nothing is rounded,
//! cut or guessed: what does not fit is a fault that says what was found and what was expected.

use std::borrow::Cow;

use base64::Engine as _;

use crate::event::Json;
use crate::schema::{ColumnType, ReadModel, Scalar, TypeKind};
use crate::value::narrow::{float, ip_of, time_uuid, whole};
use crate::value::{Decimal, Period, Text, Uuid, Value};

use super::json;
use super::time;
use super::val::{Val, entry};

/// Records inside each other that a column may hold.
const DEPTH_MAX: usize = 16;

/// What a value is to become, with everything that converting needs of the read model.
#[derive(Clone, Debug)]
pub(super) enum Target {
    Scalar(Scalar),
    Enum {
        name: String,
        values: Vec<Text>,
    },
    Record(Box<RecordTarget>),
    /// One of several records, told by the `__typename` of a JSON object: its name, then each of them, of which one is there.
    Variants {
        name: String,
        members: Vec<(Text, Target)>,
    },
    List(Box<Target>),
    Set(Box<Target>),
    /// Records by one of their columns.
    Map {
        key: usize,
        record: Box<Target>,
    },
    /// Whatever the value is by itself.
    Natural,
}

#[derive(Clone, Debug)]
pub(super) struct RecordTarget {
    name: String,
    columns: Vec<ColumnTarget>,
}

#[derive(Clone, Debug)]
struct ColumnTarget {
    name: String,
    target: Target,
    nullable: bool,
}

impl Target {
    /// The target for a column's type; `None` where value types nest too deeply (or hold themselves).
    pub(super) fn new(ty: &ColumnType, model: &ReadModel) -> Option<Target> {
        Target::to_depth(ty, model, DEPTH_MAX)
    }

    fn to_depth(ty: &ColumnType, model: &ReadModel, depth: usize) -> Option<Target> {
        let depth = depth.checked_sub(1)?;
        let record = |id| -> Option<Box<RecordTarget>> {
            let ty = model.ty(id);
            let columns = ty.columns.iter().map(|column| {
                let target = Target::to_depth(&column.ty, model, depth)?;
                Some(ColumnTarget { name: column.name.clone(), target, nullable: !column.non_null })
            });
            Some(Box::new(RecordTarget { name: ty.name.clone(), columns: columns.collect::<Option<_>>()? }))
        };
        Some(match ty {
            ColumnType::Scalar(scalar) => Target::Scalar(*scalar),
            ColumnType::Enum(id) => {
                let found = model.enumeration(*id);
                let values = found.values.iter().map(|value| value.as_str().into()).collect();
                Target::Enum { name: found.name.clone(), values }
            }
            ColumnType::Record(id) if model.ty(*id).kind == TypeKind::Variants => {
                let columns = model.ty(*id).columns.iter().skip(1);
                let members = columns.map(|column| {
                    Some((column.name.as_str().into(), Target::to_depth(&column.ty, model, depth)?))
                });
                let members = members.collect::<Option<_>>()?;
                Target::Variants { name: model.ty(*id).name.clone(), members }
            }
            ColumnType::Record(id) => Target::Record(record(*id)?),
            ColumnType::List(of) => Target::List(Box::new(Target::to_depth(of, model, depth)?)),
            ColumnType::Set(of) => Target::Set(Box::new(Target::to_depth(of, model, depth)?)),
            ColumnType::Map { key, record: id } => {
                Target::Map { key: key.0 as usize, record: Box::new(Target::Record(record(*id)?)) }
            }
        })
    }

    fn shown(&self) -> Cow<'_, str> {
        Cow::Borrowed(match self {
            Target::Scalar(scalar) => match scalar {
                Scalar::Boolean => "a Boolean",
                Scalar::Byte => "an integer of 8 bits",
                Scalar::Short => "an integer of 16 bits",
                Scalar::Int => "an integer of 32 bits",
                Scalar::VarInt => "an integer of at most 38 digits",
                Scalar::Float32 => "a finite number of 32 bits",
                Scalar::Ascii => "a string of ASCII letters",
                Scalar::Duration => "an ISO 8601 duration such as \"P1DT2H\"",
                Scalar::TimeUuid => "a UUID of version 1",
                Scalar::Ip => "an IP address",
                Scalar::Ipv4 => "an address of IPv4",
                Scalar::Ipv6 => "an address of IPv6",
                Scalar::Json => "JSON",
                Scalar::Long | Scalar::BigInt => "an integer of 64 bits",
                Scalar::Float => "a finite number",
                Scalar::String => "a string",
                Scalar::Id => "a string or an integer",
                Scalar::Decimal => "a decimal number of at most 38 digits such as \"12.50\"",
                Scalar::DateTime => "a time with offset such as \"2026-01-01T00:00:00.000Z\"",
                Scalar::LocalDate => "a date such as \"2026-01-31\"",
                Scalar::LocalTime => "a time of day such as \"13:45:30\"",
                Scalar::Uuid => "a UUID",
                Scalar::Bytes => "base64 text with padding",
            },
            Target::Enum { name, values } => {
                return Cow::Owned(format!("one of {name}: {}", values.join(", ")));
            }
            Target::Record(record) => &record.name,
            Target::Variants { name, members } => {
                let names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
                return Cow::Owned(format!(
                    "a {name}: an object whose `__typename` is {}",
                    names.join(" or ")
                ));
            }
            Target::List(_) | Target::Set(_) => "a list",
            Target::Map { record, .. } => return Cow::Owned(format!("a list of {}", record.shown())),
            Target::Natural => "a value",
        })
    }
}

/// Why a value does not fit, and where inside it.
struct Misfit {
    /// Path below the value: `.amount`, `[3].name`; empty for the value itself.
    path: String,
    message: String,
}

/// Makes a cell of a value that is there.
///
/// # Errors
/// One sentence that begins with `what`, the value's name in the expression.
pub(super) fn to_cell(
    value: &Val<'_>,
    target: &Target,
    nullable: bool,
    what: &str,
) -> Result<Value, super::Fault> {
    if value.is_nothing() {
        return if nullable {
            Ok(Value::Null)
        } else {
            Err(super::Fault(format!("{what} is null, expected {}", target.shown())))
        };
    }
    convert(value, target).map_err(|misfit| super::Fault(format!("{what}{} {}", misfit.path, misfit.message)))
}

fn convert(value: &Val<'_>, target: &Target) -> Result<Value, Misfit> {
    let misfit = || Misfit {
        path: String::new(),
        message: format!("is {}, expected {}", value.shown(), target.shown()),
    };
    match target {
        Target::Scalar(scalar) => to_scalar(value, *scalar).ok_or_else(misfit),
        Target::Enum { values, .. } => {
            let text = match value {
                Val::Text(text) => text,
                Val::Json(json) => json::text(json).ok_or_else(misfit)?,
                _ => return Err(misfit()),
            };
            let text: &str = text;
            match values.iter().find(|known| known.as_str() == text) {
                Some(known) => Ok(Value::Text(known.clone())),
                None => Err(misfit()),
            }
        }
        Target::Record(record) => to_record(value, record, &misfit),
        Target::Variants { members, .. } => to_variant(value, members, &misfit),
        Target::List(of) => Ok(Value::List(to_elements(value, of, &misfit)?)),
        Target::Set(of) => {
            let mut elements = to_elements(value, of, &misfit)?;
            elements.sort();
            elements.dedup();
            Ok(Value::Set(elements))
        }
        Target::Map { key, record } => to_map(value, *key, record, &misfit),
        Target::Natural => natural(value).ok_or_else(misfit),
    }
}

fn to_scalar(value: &Val<'_>, scalar: Scalar) -> Option<Value> {
    if let Val::Json(json) = value {
        return json_to_scalar(json, scalar);
    }
    Some(match (scalar, value) {
        (Scalar::Boolean, Val::Bool(truth)) => Value::Bool(*truth),
        (Scalar::Byte | Scalar::Short | Scalar::Int | Scalar::Long | Scalar::BigInt, Val::Int(number)) => {
            whole(*number, scalar)?
        }
        (
            Scalar::Byte | Scalar::Short | Scalar::Int | Scalar::Long | Scalar::BigInt,
            Val::Decimal(number),
        ) => return to_scalar(&Val::Int(number.to_i64()?), scalar),
        (Scalar::VarInt, Val::Int(number)) => Value::Decimal(Decimal::from(*number)),
        (Scalar::VarInt, Val::Decimal(number)) => Value::Decimal(number.whole()?),
        (Scalar::Float | Scalar::Float32, Val::Float(number)) => float(*number, scalar)?,
        #[expect(clippy::cast_precision_loss, reason = "the nearest double is what a Float column holds")]
        (Scalar::Float | Scalar::Float32, Val::Int(number)) => float(*number as f64, scalar)?,
        (Scalar::Float | Scalar::Float32, Val::Decimal(number)) => float(number.to_f64(), scalar)?,
        (Scalar::String | Scalar::Id, Val::Text(text)) => Value::text(&**text),
        (Scalar::Id, Val::Int(number)) => Value::text(number.to_string()),
        (Scalar::String | Scalar::Id, Val::Uuid(uuid)) => Value::text(uuid.to_string()),
        (Scalar::Decimal, Val::Decimal(number)) => Value::Decimal(*number),
        (Scalar::Decimal, Val::Int(number)) => Value::Decimal(Decimal::from(*number)),
        (Scalar::DateTime, Val::Timestamp(ms)) => Value::Timestamp(*ms),
        (Scalar::LocalDate, Val::Date(days)) => Value::Date(*days),
        (Scalar::LocalTime, Val::Time(nanos)) => Value::Time(*nanos),
        (Scalar::Uuid, Val::Uuid(uuid)) => Value::Uuid(*uuid),
        (Scalar::TimeUuid, Val::Uuid(uuid)) => time_uuid(*uuid)?,
        (Scalar::Duration, Val::Duration(ms)) => {
            Value::Period(Period { nanos: ms.checked_mul(1_000_000)?, ..Period::default() })
        }
        (Scalar::Bytes, Val::Bytes(bytes)) => Value::Bytes(bytes.as_ref().into()),
        (_, Val::Text(text)) => return text_to_scalar(text, scalar),
        _ => return None,
    })
}

/// A JSON value as a scalar's cell; `None` where it is none of that kind.
pub(super) fn json_to_scalar(json: &Json, scalar: Scalar) -> Option<Value> {
    Some(match scalar {
        Scalar::Boolean => Value::Bool(json::bool(json)?),
        Scalar::Byte | Scalar::Short | Scalar::Int | Scalar::Long => whole(json::integer(json)?, scalar)?,
        Scalar::VarInt => Value::Decimal(json::decimal(json)?.whole()?),
        Scalar::BigInt => match json::text(json) {
            // It is a string on the wire, because many readers of JSON lose digits above 53 bits.
            Some(text) => Value::Int(text.parse().ok()?),
            None => Value::Int(json::integer(json)?),
        },
        Scalar::Float | Scalar::Float32 => float(json::float(json)?, scalar)?,
        Scalar::Json if json::is_null(json) => return None,
        Scalar::Json => Value::text(sonic_rs::to_string(json).ok()?),
        Scalar::Decimal => Value::Decimal(json::decimal(json)?),
        Scalar::Id => match json::text(json) {
            Some(text) => Value::text(text),
            None => Value::text(json::integer(json)?.to_string()),
        },
        _ => return text_to_scalar(json::text(json)?, scalar),
    })
}

fn text_to_scalar(text: &str, scalar: Scalar) -> Option<Value> {
    Some(match scalar {
        Scalar::String | Scalar::Id => Value::text(text),
        Scalar::Ascii => text.is_ascii().then(|| Value::text(text))?,
        Scalar::Duration => Value::Period(Period::parse(text)?),
        Scalar::TimeUuid => time_uuid(Uuid::try_parse(text).ok()?)?,
        Scalar::Ip | Scalar::Ipv4 | Scalar::Ipv6 => ip_of(text, scalar)?,
        Scalar::DateTime => Value::Timestamp(time::read_timestamp(text)?),
        Scalar::LocalDate => Value::Date(time::read_date(text)?),
        Scalar::LocalTime => Value::Time(time::read_time(text)?),
        Scalar::Uuid => Value::Uuid(Uuid::try_parse(text).ok()?),
        Scalar::Bytes => Value::Bytes(base64::engine::general_purpose::STANDARD.decode(text).ok()?.into()),
        Scalar::Decimal => Value::Decimal(Decimal::parse(text).ok()?),
        _ => return None,
    })
}

fn to_record(value: &Val<'_>, record: &RecordTarget, misfit: &dyn Fn() -> Misfit) -> Result<Value, Misfit> {
    match value {
        Val::Record(cells) if cells.len() == record.columns.len() => Ok(Value::Record(cells.to_vec())),
        Val::Money(money) => {
            let mut cells = Vec::with_capacity(record.columns.len());
            for column in &record.columns {
                cells.push(match column.name.as_str() {
                    "amount" => Value::Decimal(money.0),
                    "currency" => Value::text(&*money.1),
                    _ => return Err(misfit()),
                });
            }
            Ok(Value::Record(cells))
        }
        Val::Map(entries) => {
            let columns = record.columns.iter();
            columns.map(|column| field_of(entries, column)).collect::<Result<_, _>>().map(Value::Record)
        }
        Val::Json(object) if json::is_object(object) => {
            let mut cells = Vec::with_capacity(record.columns.len());
            for column in &record.columns {
                let cell = match json::field(object, &column.name) {
                    Some(field) if !json::is_null(field) => convert(&Val::Json(field), &column.target)
                        .map_err(|inner| below(inner, &column.name))?,
                    found if !column.nullable => {
                        let found = if found.is_some() { "null" } else { "missing" };
                        let message = format!("is {found}, expected {}", column.target.shown());
                        return Err(Misfit { path: format!(".{}", column.name), message });
                    }
                    _ => Value::Null,
                };
                cells.push(cell);
            }
            Ok(Value::Record(cells))
        }
        _ => Err(misfit()),
    }
}

/// A column's cell from a map that was made: `{'amount': …, 'currency': …}`.
fn field_of(entries: &[(Val<'_>, Val<'_>)], column: &ColumnTarget) -> Result<Value, Misfit> {
    match entry(entries, &Val::Text(Cow::Borrowed(&column.name))) {
        Some(value) if !value.is_nothing() => {
            convert(value, &column.target).map_err(|inner| below(inner, &column.name))
        }
        _ if column.nullable => Ok(Value::Null),
        found => {
            let found = if found.is_some() { "null" } else { "missing" };
            let message = format!("is {found}, expected {}", column.target.shown());
            Err(Misfit { path: format!(".{}", column.name), message })
        }
    }
}

fn to_variant(
    value: &Val<'_>,
    members: &[(Text, Target)],
    misfit: &dyn Fn() -> Misfit,
) -> Result<Value, Misfit> {
    if let Val::Record(cells) = value {
        return if cells.len() == members.len() + 1 {
            Ok(Value::Record(cells.to_vec()))
        } else {
            Err(misfit())
        };
    }
    let Val::Json(object) = value else { return Err(misfit()) };
    let name = json::field(object, "__typename").and_then(json::text).ok_or_else(misfit)?;
    let mut cells = vec![Value::text(name)];
    for (member, target) in members {
        cells.push(if member.as_str() == name { convert(value, target)? } else { Value::Null });
    }
    if cells[1..].iter().all(Value::is_null) { Err(misfit()) } else { Ok(Value::Record(cells)) }
}

fn below(inner: Misfit, name: &str) -> Misfit {
    Misfit { path: format!(".{name}{}", inner.path), message: inner.message }
}

fn to_elements(value: &Val<'_>, of: &Target, misfit: &dyn Fn() -> Misfit) -> Result<Vec<Value>, Misfit> {
    let element = |(index, element): (usize, Val<'_>)| {
        if element.is_nothing() {
            let message = format!("is null, expected {}", of.shown());
            return Err(Misfit { path: format!("[{index}]"), message });
        }
        convert(&element, of)
            .map_err(|inner| Misfit { path: format!("[{index}]{}", inner.path), message: inner.message })
    };
    match value {
        Val::Json(list) => {
            json::array(list).ok_or_else(misfit)?.iter().map(Val::Json).enumerate().map(element).collect()
        }
        Val::Cells(cells) => cells.iter().map(Val::from).enumerate().map(element).collect(),
        Val::List(list) => list.iter().cloned().enumerate().map(element).collect(),
        Val::Pairs(pairs) => {
            pairs.iter().map(|(_, value)| Val::from(value)).enumerate().map(element).collect()
        }
        _ => Err(misfit()),
    }
}

fn to_map(
    value: &Val<'_>,
    key: usize,
    record: &Target,
    misfit: &dyn Fn() -> Misfit,
) -> Result<Value, Misfit> {
    if let Val::Pairs(pairs) = value {
        return Ok(Value::Map(pairs.to_vec()));
    }
    let mut pairs = Vec::new();
    for element in to_elements(value, record, misfit)? {
        let Value::Record(cells) = &element else { return Err(misfit()) };
        pairs.push((cells[key].clone(), element));
    }
    pairs.sort_by(|left, right| left.0.cmp(&right.0));
    if let Some(twice) = pairs.windows(2).find(|two| two[0].0 == two[1].0) {
        let key = Val::from(&twice[0].0).shown();
        let message = format!("holds two {} of key {key}; a key may come once", record.shown());
        return Err(Misfit { path: String::new(), message });
    }
    Ok(Value::Map(pairs))
}

/// The value as it is, for a name that only other expressions read. A JSON number becomes exact.
fn natural(value: &Val<'_>) -> Option<Value> {
    Some(match value {
        Val::Null | Val::Nothing => Value::Null,
        Val::Bool(truth) => Value::Bool(*truth),
        Val::Int(number) => Value::Int(*number),
        Val::Uint(number) => Value::Int(i64::try_from(*number).ok()?),
        Val::Float(number) if number.is_finite() => Value::Float(*number),
        Val::Float(_) | Val::Type(_) => return None,
        Val::Decimal(number) => Value::Decimal(*number),
        Val::Text(text) => Value::text(&**text),
        Val::Bytes(bytes) => Value::Bytes(bytes.as_ref().into()),
        Val::Timestamp(ms) => Value::Timestamp(*ms),
        Val::Date(days) => Value::Date(*days),
        Val::Time(nanos) => Value::Time(*nanos),
        Val::Duration(ms) => Value::Int(*ms),
        Val::Uuid(uuid) => Value::Uuid(*uuid),
        Val::Record(cells) => Value::Record(cells.to_vec()),
        Val::Cells(cells) => Value::List(cells.to_vec()),
        Val::Pairs(pairs) => Value::Map(pairs.to_vec()),
        Val::Map(entries) => {
            let entries = entries.iter().map(|(key, value)| Some((natural(key)?, natural(value)?)));
            let mut entries = entries.collect::<Option<Vec<_>>>()?;
            entries.sort_by(|left, right| left.0.cmp(&right.0));
            Value::Map(entries)
        }
        Val::List(list) => Value::List(list.iter().map(natural).collect::<Option<_>>()?),
        Val::Money(money) => Value::Record(vec![Value::Decimal(money.0), Value::text(&*money.1)]),
        Val::Json(found) => match (json::array(found), json::bool(found)) {
            (Some(list), _) => {
                Value::List(list.iter().map(|json| natural(&Val::Json(json))).collect::<Option<_>>()?)
            }
            (None, Some(truth)) => Value::Bool(truth),
            (None, None) if json::is_null(found) => Value::Null,
            (None, None) => natural(&super::arith::plain(value.clone()).ok()?)?,
        },
    })
}
