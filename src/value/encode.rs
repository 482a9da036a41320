//! The bytes of keys: one encoding for every store.
//!
//! Goes in: values and directions. Goes out: bytes that compare as the values do, and the values back. Each part
//! ends where its bytes say, so the bytes of a prefix of the parts are a prefix of the bytes of all keys that
//! begin with it, and of no others. `row` has the bytes of whole rows. The format is on disk: tests pin it.

use super::order::{by_time, from_time, octets};
use super::{Decimal, Uuid, Value, row};
use crate::schema::{ColumnType, Order, Scalar};

/// The whole primary key of a row, encoded: partition, then clustering. Bytes compare as the rows are ordered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowKey {
    bytes: Box<[u8]>,
    partition_len: u32,
}

impl RowKey {
    /// A key from its encoded partition and clustering.
    pub fn new(mut partition: Vec<u8>, clustering: &[u8]) -> RowKey {
        let partition_len = u32::try_from(partition.len()).expect("a key is far below 4 GiB");
        partition.extend_from_slice(clustering);
        RowKey { bytes: partition.into_boxed_slice(), partition_len }
    }

    /// A key from its bytes and the length of its partition; `None` if that is longer than the bytes.
    pub fn split(bytes: impl Into<Box<[u8]>>, partition_len: usize) -> Option<RowKey> {
        let bytes = bytes.into();
        let partition_len = u32::try_from(partition_len).ok().filter(|_| partition_len <= bytes.len())?;
        Some(RowKey { bytes, partition_len })
    }

    /// Partition and clustering in one.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The encoded partition.
    pub fn partition(&self) -> &[u8] {
        &self.bytes[..self.partition_len as usize]
    }

    /// The encoded clustering.
    pub fn clustering(&self) -> &[u8] {
        &self.bytes[self.partition_len as usize..]
    }
}

/// Bytes that are not what was written: a damaged row or key, or one of another version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub String);

/// Appends a part of a key. Null, periods and collections are never part of a key (`check` refuses them); were one given,
/// its bytes would still be unambiguous, but in no useful order, and [`take_part`] refuses them.
pub fn push_part(out: &mut Vec<u8>, value: &Value, order: Order) {
    let start = out.len();
    match value {
        Value::Bool(value) => out.push(u8::from(*value)),
        Value::Int(value) | Value::Timestamp(value) | Value::Time(value) => {
            out.extend_from_slice(&flip_i64(*value).to_be_bytes());
        }
        Value::Date(value) => out.extend_from_slice(&flip_i32(*value).to_be_bytes()),
        Value::Float(value) => out.extend_from_slice(&float_to_ordered(*value).to_be_bytes()),
        Value::Decimal(value) => push_decimal(out, value),
        Value::Text(value) => push_escaped(out, value.as_bytes()),
        Value::Uuid(value) => out.extend_from_slice(value.as_bytes()),
        Value::Bytes(value) => push_escaped(out, value),
        Value::TimeUuid(value) => out.extend_from_slice(&by_time(value)),
        Value::Ip(value) => push_escaped(out, &octets(value)),
        Value::Null
        | Value::List(_)
        | Value::Set(_)
        | Value::Map(_)
        | Value::Record(_)
        | Value::Period(_) => {
            let mut cell = Vec::new();
            row::push_cell(&mut cell, value);
            push_escaped(out, &cell);
        }
    }
    if order == Order::Desc {
        for byte in &mut out[start..] {
            *byte = !*byte;
        }
    }
}

/// Appends the beginning of a text as the part of each text that begins so.
pub fn push_text_prefix(out: &mut Vec<u8>, text: &str, order: Order) {
    let start = out.len();
    push_part(out, &Value::text(text), order);
    // Without the mark of the end, which a longer text has later.
    debug_assert!(out.len() >= start + 2, "every text ends with two bytes");
    out.truncate(out.len() - 2);
}

/// Takes a part of a key off the front of the bytes.
///
/// # Errors
/// The bytes are too short, are no value of that type, or no such type is ever part of a key.
pub fn take_part(bytes: &mut &[u8], ty: &ColumnType, order: Order) -> Result<Value, Malformed> {
    let mask = if order == Order::Desc { 0xFF } else { 0 };
    let scalar = match ty {
        ColumnType::Scalar(scalar) => *scalar,
        ColumnType::Enum(_) => Scalar::String,
        ColumnType::Record(_) | ColumnType::List(_) | ColumnType::Set(_) | ColumnType::Map { .. } => {
            return Err(Malformed(format!("a {ty:?} is never part of a key")));
        }
    };
    match scalar {
        Scalar::Boolean => match take_array::<1>(bytes, mask)? {
            [0] => Ok(Value::Bool(false)),
            [1] => Ok(Value::Bool(true)),
            [other] => Err(Malformed(format!("a boolean key part is 0 or 1, not {other}"))),
        },
        Scalar::Byte | Scalar::Short | Scalar::Int | Scalar::Long | Scalar::BigInt => {
            take_i64(bytes, mask).map(Value::Int)
        }
        Scalar::DateTime => take_i64(bytes, mask).map(Value::Timestamp),
        Scalar::LocalTime => take_i64(bytes, mask).map(Value::Time),
        Scalar::LocalDate => {
            take_array(bytes, mask).map(|part| Value::Date(flip_i32(i32::from_be_bytes(part))))
        }
        Scalar::Float | Scalar::Float32 => {
            take_array(bytes, mask).map(|part| Value::Float(ordered_to_float(u64::from_be_bytes(part))))
        }
        Scalar::Decimal | Scalar::VarInt => take_decimal(bytes, mask).map(Value::Decimal),
        Scalar::Uuid => take_array(bytes, mask).map(|part| Value::Uuid(Uuid::from_bytes(part))),
        Scalar::Bytes => take_escaped(bytes, mask).map(|part| Value::Bytes(part.into_boxed_slice())),
        Scalar::TimeUuid => take_array(bytes, mask).map(|part| Value::TimeUuid(from_time(part))),
        Scalar::Ip | Scalar::Ipv4 | Scalar::Ipv6 => row::ip(&take_escaped(bytes, mask)?).map(Value::Ip),
        Scalar::Duration | Scalar::Json => Err(Malformed(format!("a {scalar:?} is never part of a key"))),
        Scalar::String | Scalar::Id | Scalar::Ascii => {
            let text = String::from_utf8(take_escaped(bytes, mask)?)
                .map_err(|error| Malformed(format!("a text key part is not UTF-8: {error}")))?;
            Ok(Value::text(text))
        }
    }
}

fn flip_i64(value: i64) -> i64 {
    value ^ i64::MIN
}

fn flip_i32(value: i32) -> i32 {
    value ^ i32::MIN
}

/// The bits of a double such that they compare as [`f64::total_cmp`] does.
fn float_to_ordered(value: f64) -> u64 {
    let bits = value.to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

fn ordered_to_float(bits: u64) -> f64 {
    f64::from_bits(if bits >> 63 == 1 { bits & !(1 << 63) } else { !bits })
}

fn take_i64(bytes: &mut &[u8], mask: u8) -> Result<i64, Malformed> {
    Ok(flip_i64(i64::from_be_bytes(take_array(bytes, mask)?)))
}

fn take_array<const N: usize>(bytes: &mut &[u8], mask: u8) -> Result<[u8; N], Malformed> {
    let Some((head, rest)) = bytes.split_first_chunk::<N>() else {
        return Err(Malformed(format!("a key part of {N} bytes has only {}", bytes.len())));
    };
    *bytes = rest;
    Ok(head.map(|byte| byte ^ mask))
}

/// Zero bytes become `00 FF`; `00 00` ends the part. So a text sorts before its longer ones, and parts never run
/// into each other.
fn push_escaped(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut rest = bytes;
    while let Some(zero) = rest.iter().position(|byte| *byte == 0) {
        out.extend_from_slice(&rest[..=zero]);
        out.push(0xFF);
        rest = &rest[zero + 1..];
    }
    out.extend_from_slice(rest);
    out.extend_from_slice(&[0, 0]);
}

fn take_escaped(bytes: &mut &[u8], mask: u8) -> Result<Vec<u8>, Malformed> {
    let mut out = Vec::new();
    loop {
        let Some(zero) = bytes.iter().position(|byte| byte ^ mask == 0) else {
            return Err(Malformed("a text key part has no end".to_owned()));
        };
        out.extend(bytes[..zero].iter().map(|byte| byte ^ mask));
        let after = bytes.get(zero + 1).map(|byte| byte ^ mask);
        *bytes = bytes.get(zero + 2..).unwrap_or_default();
        match after {
            Some(0) => return Ok(out),
            Some(0xFF) => out.push(0),
            _ => return Err(Malformed("a text key part has a zero byte that is not escaped".to_owned())),
        }
    }
}

const NEGATIVE: u8 = 1;
const ZERO: u8 = 2;
const POSITIVE: u8 = 3;
/// Makes the place of the leading digit positive in five bytes, whatever the scale.
const PLACE_BIAS: i64 = 1 << 39;

/// Sign, place of the leading digit, digits (each plus one, then a zero), these inverted where negative; then the
/// scale. Trailing zeros are no digits: the scale tells them.
fn push_decimal(out: &mut Vec<u8>, value: &Decimal) {
    let mut size = value.mantissa.unsigned_abs();
    if size == 0 {
        out.push(ZERO);
        out.extend_from_slice(&value.scale.to_be_bytes());
        return;
    }
    out.push(if value.mantissa < 0 { NEGATIVE } else { POSITIVE });
    let start = out.len();
    let place = i64::from(size.ilog10()) + 1 - i64::from(value.scale) + PLACE_BIAS;
    out.extend_from_slice(&place.to_be_bytes()[3..]);
    while size.is_multiple_of(10) {
        size /= 10;
    }
    for place in (0..=size.ilog10()).rev() {
        out.push(u8::try_from(size / 10u128.pow(place) % 10).expect("one digit") + 1);
    }
    out.push(0);
    if value.mantissa < 0 {
        for byte in &mut out[start..] {
            *byte = !*byte;
        }
    }
    out.extend_from_slice(&value.scale.to_be_bytes());
}

fn take_decimal(bytes: &mut &[u8], mask: u8) -> Result<Decimal, Malformed> {
    let [sign] = take_array::<1>(bytes, mask)?;
    let size_mask = match sign {
        ZERO => return Ok(Decimal { mantissa: 0, scale: u32::from_be_bytes(take_array(bytes, mask)?) }),
        NEGATIVE => !mask,
        POSITIVE => mask,
        other => return Err(Malformed(format!("a decimal key part begins with 1, 2 or 3, not {other}"))),
    };
    let mut place = [0; 8];
    place[3..].copy_from_slice(&take_array::<5>(bytes, size_mask)?);
    let place = i64::from_be_bytes(place) - PLACE_BIAS;
    let (digits, count) = take_digits(bytes, size_mask)?;
    let scale = u32::from_be_bytes(take_array(bytes, mask)?);
    let mantissa = u32::try_from(place + i64::from(scale) - count)
        .ok()
        .and_then(|zeros| digits.checked_mul(10u128.checked_pow(zeros)?))
        .and_then(|size| match sign {
            NEGATIVE => 0i128.checked_sub_unsigned(size),
            _ => i128::try_from(size).ok(),
        })
        .ok_or_else(|| Malformed("a decimal key part is out of range".to_owned()))?;
    Ok(Decimal { mantissa, scale })
}

/// The digits up to their end, as one number, and how many they are.
fn take_digits(bytes: &mut &[u8], mask: u8) -> Result<(u128, i64), Malformed> {
    let (mut digits, mut count) = (0u128, 0);
    loop {
        let digit = match take_array::<1>(bytes, mask)? {
            [0] => return Ok((digits, count)),
            [byte @ 1..=10] => u128::from(byte - 1),
            [other] => return Err(Malformed(format!("a digit of a decimal key part is {other}, above 10"))),
        };
        digits = digits
            .checked_mul(10)
            .and_then(|digits| digits.checked_add(digit))
            .ok_or_else(|| Malformed("a decimal key part has more than 39 digits".to_owned()))?;
        count += 1;
    }
}

#[cfg(test)]
#[path = "encode_tests.rs"]
mod tests;
