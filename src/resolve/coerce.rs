//! Input → values: arguments, keys of representations, variables of the built-in types.
//!
//! Comes in: JSON or a literal of the operation. Goes out: a stored value of the wanted type, or one sentence
//! about what does not fit. Writing values is `wire`'s.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use jiff::civil;

use crate::schema::{Named, ReadModel, Scalar};
use crate::value::{Decimal, Period, Value, narrow};

/// An input value, wherever it stood.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Given<'a> {
    Null,
    Bool(bool),
    /// A number by its digits, so that nothing is rounded on the way.
    Number(Cow<'a, str>),
    Text(&'a str),
    /// An enum value in the operation's text.
    Name(&'a str),
    /// A list or an object: fits no scalar.
    Compound,
}

impl<'a> Given<'a> {
    /// What a JSON value gives.
    pub fn json(value: &'a serde_json::Value) -> Given<'a> {
        match value {
            serde_json::Value::Null => Given::Null,
            serde_json::Value::Bool(truth) => Given::Bool(*truth),
            serde_json::Value::Number(number) => Given::Number(Cow::Owned(number.to_string())),
            serde_json::Value::String(text) => Given::Text(text),
            serde_json::Value::Array(_) | serde_json::Value::Object(_) => Given::Compound,
        }
    }

    fn shown(&self) -> String {
        match self {
            Given::Null => "null".to_owned(),
            Given::Bool(truth) => truth.to_string(),
            Given::Number(digits) => digits.to_string(),
            Given::Text(text) => format!("{:?}", text.chars().take(60).collect::<String>()),
            Given::Name(name) => (*name).to_owned(),
            Given::Compound => "a list or object".to_owned(),
        }
    }
}

/// The stored value that an input means for a type.
///
/// # Errors
/// One sentence: what was given and what the type takes. Null is taken by every type; the caller knows whether it may
/// stand there.
pub(super) fn coerce(model: &ReadModel, named: Named, given: &Given<'_>) -> Result<Value, String> {
    if *given == Given::Null {
        return Ok(Value::Null);
    }
    let (value, wanted) = match named {
        Named::Scalar(scalar) => (scalar_value(scalar, given), description(scalar)),
        Named::Enum(id) => {
            let values = &model.enumeration(id).values;
            let name = match given {
                Given::Text(name) | Given::Name(name) => Some(*name),
                _ => None,
            };
            let known = name.filter(|name| values.iter().any(|value| value == name));
            (known.map(Value::text), "a value of the enum")
        }
        Named::Object(_) => (None, "a scalar"),
    };
    value.ok_or_else(|| format!("{} is not {wanted}", given.shown()))
}

fn scalar_value(scalar: Scalar, given: &Given<'_>) -> Option<Value> {
    match (scalar, given) {
        (Scalar::Boolean, Given::Bool(truth)) => Some(Value::Bool(*truth)),
        (Scalar::String | Scalar::Id, Given::Text(text)) => Some(Value::text(*text)),
        (Scalar::Ascii, Given::Text(text)) => text.is_ascii().then(|| Value::text(*text)),
        (Scalar::Id, Given::Number(digits)) => integer_digits(digits).then(|| Value::text(&**digits)),
        (
            Scalar::Byte | Scalar::Short | Scalar::Int | Scalar::Long | Scalar::BigInt,
            Given::Number(digits),
        ) => narrow::whole(whole(digits)?, scalar),
        (Scalar::VarInt, Given::Number(text)) => varint(text),
        (Scalar::VarInt, Given::Text(text)) => varint(text),
        (Scalar::Long | Scalar::BigInt, Given::Text(text)) => text.parse().ok().map(Value::Int),
        (Scalar::Float | Scalar::Float32, Given::Number(digits)) => {
            narrow::float(digits.parse().ok()?, scalar)
        }
        (Scalar::Decimal, Given::Number(digits)) => decimal(digits),
        (Scalar::Decimal, Given::Text(text)) => decimal(text),
        (Scalar::DateTime, Given::Text(text)) => timestamp(text),
        (Scalar::LocalDate, Given::Text(text)) => date(text),
        (Scalar::LocalTime, Given::Text(text)) => time(text),
        (Scalar::Duration, Given::Text(text)) => Period::parse(text).map(Value::Period),
        (Scalar::Uuid, Given::Text(text)) => uuid::Uuid::try_parse(text).ok().map(Value::Uuid),
        (Scalar::TimeUuid, Given::Text(text)) => narrow::time_uuid(uuid::Uuid::try_parse(text).ok()?),
        (Scalar::Ip | Scalar::Ipv4 | Scalar::Ipv6, Given::Text(text)) => narrow::ip_of(text, scalar),
        (Scalar::Bytes, Given::Text(text)) => {
            STANDARD.decode(text).ok().map(|bytes| Value::Bytes(bytes.into()))
        }
        _ => None,
    }
}

fn description(scalar: Scalar) -> &'static str {
    match scalar {
        Scalar::Boolean => "a Boolean",
        Scalar::Byte => "a Byte (a whole number of 8 bits)",
        Scalar::Short => "a Short (a whole number of 16 bits)",
        Scalar::Int => "an Int (a whole number of 32 bits)",
        Scalar::Long => "a Long (a whole number of 64 bits)",
        Scalar::BigInt => "a BigInt (a whole number of 64 bits, as a string)",
        Scalar::VarInt => "a BigInt (a whole number of at most 38 digits, as a string)",
        Scalar::Float => "a Float (a finite number)",
        Scalar::Float32 => "a Float (a number that 32 bits can hold)",
        Scalar::Ascii => "a String of ASCII letters",
        Scalar::Duration => "a Duration (like \"P1DT2H\")",
        Scalar::TimeUuid => "a UUID of version 1",
        Scalar::Ip => "an IP address",
        Scalar::Ipv4 => "an address of IPv4",
        Scalar::Ipv6 => "an address of IPv6",
        Scalar::Json => "a value that can be compared: JSON cannot",
        Scalar::String => "a String",
        Scalar::Id => "an ID (a string or a whole number)",
        Scalar::Decimal => "a Decimal (a string like \"12.50\", at most 38 digits)",
        Scalar::DateTime => "a DateTime (like \"2026-01-01T00:00:00.000Z\", at most milliseconds)",
        Scalar::LocalDate => "a LocalDate (like \"2026-01-01\")",
        Scalar::LocalTime => "a LocalTime (like \"23:59:59.000000000\")",
        Scalar::Uuid => "a UUID",
        Scalar::Bytes => "base64 with padding",
    }
}

fn integer_digits(digits: &str) -> bool {
    let unsigned = digits.strip_prefix('-').unwrap_or(digits);
    !unsigned.is_empty() && unsigned.bytes().all(|byte| byte.is_ascii_digit())
}

/// A whole number; `1.0` and `1e2` of JSON are whole numbers too.
fn whole(digits: &str) -> Option<i64> {
    if integer_digits(digits) {
        return digits.parse().ok();
    }
    let number: f64 = digits.parse().ok()?;
    let exact = number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, reason = "checked: whole and at most 2^53")]
    exact.then_some(number as i64)
}

fn decimal(text: &str) -> Option<Value> {
    Decimal::parse(text).ok().map(Value::Decimal)
}

fn varint(text: &str) -> Option<Value> {
    Some(Value::Decimal(Decimal::parse(text).ok()?.whole()?))
}

fn timestamp(text: &str) -> Option<Value> {
    let instant: Timestamp = text.parse().ok()?;
    let whole_ms = instant.subsec_nanosecond() % 1_000_000 == 0;
    whole_ms.then(|| Value::Timestamp(instant.as_millisecond()))
}

fn date(text: &str) -> Option<Value> {
    if text.len() != 10 {
        return None;
    }
    let date: civil::Date = text.parse().ok()?;
    let days = civil::date(1970, 1, 1).until(date).ok()?.get_days();
    Some(Value::Date(days))
}

fn time(text: &str) -> Option<Value> {
    if !text.starts_with(|first: char| first.is_ascii_digit()) || text.contains(['T', 't']) {
        return None;
    }
    let time: civil::Time = text.parse().ok()?;
    let seconds = i64::from(time.hour()) * 3600 + i64::from(time.minute()) * 60 + i64::from(time.second());
    Some(Value::Time(seconds * 1_000_000_000 + i64::from(time.subsec_nanosecond())))
}

#[cfg(test)]
mod tests {
    use super::super::wire;
    use super::*;

    fn read(scalar: Scalar, given: Given<'_>) -> Option<String> {
        let value = scalar_value(scalar, &given)?;
        let mut out = Vec::new();
        assert!(wire::push_scalar(&mut out, scalar, &value));
        Some(String::from_utf8(out).unwrap())
    }

    #[test]
    fn what_is_written_reads_back() {
        for (scalar, text) in [
            (Scalar::Decimal, "-12.50"),
            (Scalar::Decimal, "0.00"),
            (Scalar::BigInt, "9223372036854775807"),
            (Scalar::DateTime, "2026-02-28T23:59:59.123Z"),
            (Scalar::DateTime, "1969-12-31T23:59:59.999Z"),
            (Scalar::LocalDate, "1912-02-29"),
            (Scalar::LocalTime, "23:59:59.000000001"),
            (Scalar::Uuid, "a1a2a3a4-b1b2-c1c2-d1d2-d3d4d5d6d7d8"),
            (Scalar::Bytes, "AAECAw=="),
            (Scalar::VarInt, "-12345678901234567890123456789012345678"),
            (Scalar::Duration, "P1Y2M3DT4H5M6.7S"),
            (Scalar::TimeUuid, "a1a2a3a4-b1b2-11c2-91d2-d3d4d5d6d7d8"),
            (Scalar::Ip, "2001:db8::1"),
            (Scalar::Ipv4, "10.0.0.1"),
            (Scalar::Ascii, "a b"),
        ] {
            assert_eq!(read(scalar, Given::Text(text)), Some(format!("{text:?}")), "{scalar:?}");
        }
    }

    #[test]
    fn other_forms_of_the_same_value_are_taken() {
        let number = |digits: &'static str| Given::Number(Cow::Borrowed(digits));
        assert_eq!(read(Scalar::Id, number("7")).as_deref(), Some("\"7\""));
        assert_eq!(read(Scalar::Int, number("7.0")).as_deref(), Some("7"));
        assert_eq!(read(Scalar::Byte, number("-128")).as_deref(), Some("-128"));
        assert_eq!(read(Scalar::Float32, number("0.1")).as_deref(), Some("0.1"));
        assert_eq!(read(Scalar::VarInt, number("7")).as_deref(), Some("\"7\""));
        assert_eq!(read(Scalar::Ip, Given::Text("::ffff:10.0.0.1")).as_deref(), Some("\"10.0.0.1\""));
        assert_eq!(read(Scalar::Decimal, number("12.50")).as_deref(), Some("\"12.50\""));
        assert_eq!(read(Scalar::Decimal, number("1.5e3")).as_deref(), Some("\"1500\""));
        assert_eq!(
            read(Scalar::DateTime, Given::Text("2026-01-01T02:00:00+02:00")).as_deref(),
            Some("\"2026-01-01T00:00:00.000Z\"")
        );
        assert_eq!(
            read(Scalar::Uuid, Given::Text("A1A2A3A4-B1B2-C1C2-D1D2-D3D4D5D6D7D8")).as_deref(),
            Some("\"a1a2a3a4-b1b2-c1c2-d1d2-d3d4d5d6d7d8\"")
        );
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let number = |digits: &'static str| Given::Number(Cow::Borrowed(digits));
        for (scalar, given) in [
            (Scalar::Int, number("2147483648")),
            (Scalar::Int, number("1.5")),
            (Scalar::Int, Given::Text("1")),
            (Scalar::Id, number("1.5")),
            (Scalar::Id, Given::Bool(true)),
            (Scalar::String, number("1")),
            (Scalar::Float, number("1e999")),
            (Scalar::Decimal, Given::Text("1.")),
            (Scalar::Decimal, Given::Text(".5")),
            (Scalar::Decimal, Given::Text("100000000000000000000000000000000000000")),
            (Scalar::DateTime, Given::Text("2026-01-01")),
            (Scalar::DateTime, Given::Text("2026-01-01T00:00:00.0001Z")),
            (Scalar::LocalDate, Given::Text("2026-02-30")),
            (Scalar::LocalTime, Given::Text("24:00:00")),
            (Scalar::Uuid, Given::Text("a1")),
            (Scalar::Bytes, Given::Text("AQ")),
            (Scalar::Byte, number("128")),
            (Scalar::Short, number("32768")),
            (Scalar::Float32, number("1e39")),
            (Scalar::VarInt, Given::Text("1.5")),
            (Scalar::VarInt, Given::Text("123456789012345678901234567890123456789")),
            (Scalar::Ascii, Given::Text("é")),
            (Scalar::Duration, Given::Text("1 day")),
            (Scalar::TimeUuid, Given::Text("a1a2a3a4-b1b2-41c2-91d2-d3d4d5d6d7d8")),
            (Scalar::Ipv4, Given::Text("::1")),
            (Scalar::Ipv6, Given::Text("10.0.0.1")),
            (Scalar::Ip, Given::Text("10.0.0.256")),
            (Scalar::Json, Given::Text("1")),
            (Scalar::Boolean, Given::Text("true")),
            (Scalar::String, Given::Compound),
        ] {
            assert_eq!(read(scalar, given.clone()), None, "{scalar:?} {given:?}");
        }
    }
}
