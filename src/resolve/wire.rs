//! Values as JSON: the one place that knows the wire form of each scalar.
//!
//! Comes in: a stored value and the type the schema gives it. Goes out: bytes, appended. A value that does not fit
//! its type is refused, never bent. Reading values is `coerce`'s.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::schema::Scalar;
use crate::value::{Decimal, Value};

const DAY_MS: i64 = 86_400_000;

/// Appends a scalar; `false`, and nothing appended, where the value is not of that type.
pub(crate) fn push_scalar(out: &mut Vec<u8>, scalar: Scalar, value: &Value) -> bool {
    match (scalar, value) {
        (Scalar::String | Scalar::Ascii | Scalar::Id, Value::Text(text)) => push_string(out, text),
        // It was written as JSON when the event was folded.
        (Scalar::Json, Value::Text(text)) => out.extend_from_slice(text.as_bytes()),
        (Scalar::Byte | Scalar::Short | Scalar::Int | Scalar::Long, Value::Int(number)) => {
            push_integer(out, *number);
        }
        (Scalar::BigInt | Scalar::Id, Value::Int(number)) => quoted(out, |out| push_integer(out, *number)),
        (Scalar::Boolean, Value::Bool(truth)) => {
            out.extend_from_slice(if *truth { b"true" } else { b"false" });
        }
        (Scalar::Float, Value::Float(number)) => return push_float(out, *number),
        #[expect(clippy::cast_possible_truncation, reason = "the value was made of a float of 32 bits")]
        (Scalar::Float32, Value::Float(number)) => {
            let number = *number as f32;
            return number.is_finite() && serde_json::to_writer(out, &number).is_ok();
        }
        (Scalar::Float, Value::Int(number)) => push_integer(out, *number),
        (Scalar::Decimal | Scalar::BigInt | Scalar::VarInt, Value::Decimal(number)) => {
            quoted(out, |out| push_decimal(out, *number));
        }
        (Scalar::DateTime, Value::Timestamp(ms)) => quoted(out, |out| push_timestamp(out, *ms)),
        (Scalar::LocalDate, Value::Date(days)) => quoted(out, |out| push_date(out, i64::from(*days))),
        (Scalar::LocalTime, Value::Time(ns)) => quoted(out, |out| push_time(out, *ns)),
        (Scalar::Duration, Value::Period(period)) => quoted(out, |out| {
            let _ = write!(out, "{period}");
        }),
        (Scalar::Ip | Scalar::Ipv4 | Scalar::Ipv6, Value::Ip(ip)) => quoted(out, |out| {
            let _ = write!(out, "{ip}");
        }),
        (Scalar::Uuid | Scalar::TimeUuid | Scalar::Id, Value::Uuid(uuid) | Value::TimeUuid(uuid)) => {
            quoted(out, |out| {
                let mut buffer = uuid::Uuid::encode_buffer();
                out.extend_from_slice(uuid.hyphenated().encode_lower(&mut buffer).as_bytes());
            })
        }
        (Scalar::Bytes, Value::Bytes(bytes)) => {
            quoted(out, |out| out.extend_from_slice(STANDARD.encode(bytes).as_bytes()));
        }
        _ => return false,
    }
    true
}

/// Appends a JSON string. Most text has nothing to escape and is copied whole.
pub(super) fn push_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let is_plain = |byte: u8| byte >= 0x20 && byte != b'"' && byte != b'\\';
    // Without a way out of the loop, many bytes are looked at in one step.
    if bytes.iter().fold(true, |plain, byte| plain & is_plain(*byte)) {
        out.extend_from_slice(bytes);
        out.push(b'"');
        return;
    }
    let mut copied = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        if is_plain(byte) {
            continue;
        }
        out.extend_from_slice(&bytes[copied..at]);
        copied = at + 1;
        push_escape(out, byte);
    }
    out.extend_from_slice(&bytes[copied..]);
    out.push(b'"');
}

fn push_escape(out: &mut Vec<u8>, byte: u8) {
    match byte {
        b'"' => out.extend_from_slice(b"\\\""),
        b'\\' => out.extend_from_slice(b"\\\\"),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        _ => {
            let hex = b"0123456789abcdef";
            out.extend_from_slice(b"\\u00");
            out.push(hex[usize::from(byte >> 4)]);
            out.push(hex[usize::from(byte & 15)]);
        }
    }
}

/// Appends a whole number.
pub(super) fn push_integer(out: &mut Vec<u8>, number: i64) {
    if number < 0 {
        out.push(b'-');
    }
    push_digits(out, u128::from(number.unsigned_abs()), 1);
}

/// Appends a whole number that has no sign.
pub(super) fn push_count(out: &mut Vec<u8>, number: u64) {
    push_digits(out, u128::from(number), 1);
}

fn quoted(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'"');
    write(out);
    out.push(b'"');
}

/// Shortest digits that read back as the same number; JSON has no word for NaN and the infinities.
fn push_float(out: &mut Vec<u8>, number: f64) -> bool {
    number.is_finite() && serde_json::to_writer(out, &number).is_ok()
}

fn push_decimal(out: &mut Vec<u8>, number: Decimal) {
    if number.mantissa < 0 {
        out.push(b'-');
    }
    let scale = number.scale as usize;
    let start = out.len();
    push_digits(out, number.mantissa.unsigned_abs(), scale + 1);
    if scale > 0 {
        let point = out.len() - scale;
        debug_assert!(point > start, "at least one digit stands before the point");
        out.insert(point, b'.');
    }
}

/// Digits of a number, with zeros in front up to `width`.
fn push_digits(out: &mut Vec<u8>, mut number: u128, width: usize) {
    let mut buffer = [b'0'; 40];
    let mut at = buffer.len();
    if let Ok(mut small) = u64::try_from(number) {
        while small > 0 {
            at -= 1;
            buffer[at] = b'0' + u8::try_from(small % 10).expect("a digit");
            small /= 10;
        }
    } else {
        while number > 0 {
            at -= 1;
            buffer[at] = b'0' + u8::try_from(number % 10).expect("a digit");
            number /= 10;
        }
    }
    let digits = buffer.len() - at;
    out.resize(out.len() + width.saturating_sub(digits), b'0');
    out.extend_from_slice(&buffer[at..]);
}

/// `2026-01-01T00:00:00.000Z`: always three digits and `Z`.
fn push_timestamp(out: &mut Vec<u8>, ms: i64) {
    push_date(out, ms.div_euclid(DAY_MS));
    out.push(b'T');
    let rest = ms.rem_euclid(DAY_MS).unsigned_abs();
    push_clock(out, rest / 1000);
    let ms = rest % 1000;
    out.extend_from_slice(&[b'.', digit(ms / 100), digit(ms / 10), digit(ms), b'Z']);
}

/// `YYYY-MM-DD`, in the Gregorian calendar however far back.
fn push_date(out: &mut Vec<u8>, days: i64) {
    let (year, month, day) = civil(days);
    if year < 0 {
        out.push(b'-');
    }
    push_digits(out, u128::from(year.unsigned_abs()), 4);
    out.extend_from_slice(&[b'-', digit(month / 10), digit(month), b'-', digit(day / 10), digit(day)]);
}

fn push_time(out: &mut Vec<u8>, ns: i64) {
    let ns = ns.unsigned_abs();
    push_clock(out, ns / 1_000_000_000);
    let _ = write!(out, ".{:09}", ns % 1_000_000_000);
}

fn push_clock(out: &mut Vec<u8>, seconds: u64) {
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    out.extend_from_slice(&[digit(hours / 10), digit(hours), b':', digit(minutes / 10), digit(minutes)]);
    out.extend_from_slice(&[b':', digit(seconds / 10), digit(seconds)]);
}

/// The last digit of a number.
fn digit(number: u64) -> u8 {
    b'0' + u8::try_from(number % 10).expect("a digit")
}

/// Year, month and day of a number of days since 1970-01-01. Counted in eras of 400 years that begin in March,
/// so that the leap day is the last day of a year.
fn civil(days: i64) -> (i64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097).unsigned_abs();
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = i64::try_from(year_of_era).expect("below 400") + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(scalar: Scalar, value: Value) -> String {
        let mut out = Vec::new();
        assert!(push_scalar(&mut out, scalar, &value), "{value:?} is not of type {scalar:?}");
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_scalar_has_its_wire_form() {
        let decimal = |mantissa, scale| Value::Decimal(Decimal { mantissa, scale });
        assert_eq!(shown(Scalar::Decimal, decimal(2500, 2)), r#""25.00""#);
        assert_eq!(shown(Scalar::Decimal, decimal(-5, 3)), r#""-0.005""#);
        assert_eq!(shown(Scalar::Decimal, decimal(0, 0)), r#""0""#);
        assert_eq!(shown(Scalar::Decimal, decimal(0, 2)), r#""0.00""#);
        assert_eq!(
            shown(Scalar::Decimal, decimal(99_999_999_999_999_999_999_999_999_999_999_999_999, 0)),
            r#""99999999999999999999999999999999999999""#
        );
        assert_eq!(shown(Scalar::BigInt, Value::Int(i64::MIN)), r#""-9223372036854775808""#);
        assert_eq!(shown(Scalar::Long, Value::Int(1 << 53)), "9007199254740992");
        assert_eq!(shown(Scalar::Id, Value::Int(7)), r#""7""#);
        assert_eq!(shown(Scalar::Boolean, Value::Bool(true)), "true");
        assert_eq!(shown(Scalar::Float, Value::Float(0.1)), "0.1");
        assert_eq!(
            shown(Scalar::DateTime, Value::Timestamp(1_767_225_600_000)),
            r#""2026-01-01T00:00:00.000Z""#
        );
        assert_eq!(shown(Scalar::DateTime, Value::Timestamp(-1)), r#""1969-12-31T23:59:59.999Z""#);
        assert_eq!(shown(Scalar::LocalDate, Value::Date(-719_468)), r#""0000-03-01""#);
        assert_eq!(shown(Scalar::LocalTime, Value::Time(3_600_000_000_001)), r#""01:00:00.000000001""#);
        assert_eq!(shown(Scalar::Bytes, Value::Bytes([1u8].into())), r#""AQ==""#);
        assert_eq!(
            shown(Scalar::Uuid, Value::Uuid(uuid::Uuid::from_u128(0xABCD << 112))),
            r#""abcd0000-0000-0000-0000-000000000000""#
        );
        assert_eq!(shown(Scalar::String, Value::text("a\"b\\c\n\u{1}é")), "\"a\\\"b\\\\c\\n\\u0001é\"");
    }

    #[test]
    fn a_value_of_another_type_is_refused_and_leaves_nothing() {
        let mut out = Vec::new();
        assert!(!push_scalar(&mut out, Scalar::Int, &Value::text("1")));
        assert!(!push_scalar(&mut out, Scalar::Float, &Value::Float(f64::NAN)));
        assert!(out.is_empty());
    }

    #[test]
    fn dates_agree_with_the_calendar_of_jiff() {
        for days in (-700_000..2_900_000).step_by(97) {
            let date = jiff::civil::date(1970, 1, 1).checked_add(jiff::Span::new().days(days)).unwrap();
            let expect = (
                i64::from(date.year()),
                date.month().unsigned_abs().into(),
                date.day().unsigned_abs().into(),
            );
            assert_eq!(civil(days), expect, "{days}");
        }
    }
}
