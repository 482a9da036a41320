//! The one order of values, and equality and hashing to match.
//!
//! Goes in: two values. Goes out: how they compare. Everything that sorts agrees with this order: sets and maps,
//! the memory store's keys, and (by [`super::encode`]) the bytes of keys on disk. Values of different kinds never
//! meet in one column; they are ordered by kind only so that the order is total.

use core::net::IpAddr;
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

use smallvec::SmallVec;

use super::{Decimal, Uuid, Value};

impl Ord for Value {
    fn cmp(&self, other: &Value) -> Ordering {
        match (self, other) {
            (Value::Null, Value::Null) => Ordering::Equal,
            (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
            (Value::Int(a), Value::Int(b))
            | (Value::Timestamp(a), Value::Timestamp(b))
            | (Value::Time(a), Value::Time(b)) => a.cmp(b),
            (Value::Float(a), Value::Float(b)) => a.total_cmp(b),
            (Value::Decimal(a), Value::Decimal(b)) => compare_decimals(a, b),
            (Value::Text(a), Value::Text(b)) => a.as_bytes().cmp(b.as_bytes()),
            (Value::Date(a), Value::Date(b)) => a.cmp(b),
            (Value::Uuid(a), Value::Uuid(b)) => a.as_bytes().cmp(b.as_bytes()),
            (Value::Bytes(a), Value::Bytes(b)) => a.cmp(b),
            (Value::TimeUuid(a), Value::TimeUuid(b)) => by_time(a).cmp(&by_time(b)),
            (Value::Period(a), Value::Period(b)) => a.cmp(b),
            (Value::Ip(a), Value::Ip(b)) => octets(a).as_slice().cmp(octets(b).as_slice()),
            (Value::List(a), Value::List(b))
            | (Value::Set(a), Value::Set(b))
            | (Value::Record(a), Value::Record(b)) => a.cmp(b),
            (Value::Map(a), Value::Map(b)) => a.cmp(b),
            _ => self.kind().cmp(&other.kind()),
        }
    }
}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Value) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Value) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Value {}

impl Hash for Value {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.kind().hash(state);
        match self {
            Value::Null => {}
            Value::Bool(value) => value.hash(state),
            Value::Int(value) | Value::Timestamp(value) | Value::Time(value) => value.hash(state),
            Value::Float(value) => value.to_bits().hash(state),
            Value::Decimal(value) => (value.mantissa, value.scale).hash(state),
            Value::Text(value) => value.hash(state),
            Value::Date(value) => value.hash(state),
            Value::Uuid(value) => value.hash(state),
            Value::Bytes(value) => value.hash(state),
            Value::List(values) | Value::Set(values) | Value::Record(values) => values.hash(state),
            Value::Map(entries) => entries.hash(state),
            Value::TimeUuid(value) => value.hash(state),
            Value::Period(value) => value.hash(state),
            Value::Ip(value) => value.hash(state),
        }
    }
}

impl Value {
    /// Rank of the kind; also its tag in stored rows, so it never changes.
    pub(super) fn kind(&self) -> u8 {
        match self {
            Value::Null => 0,
            Value::Bool(_) => 1,
            Value::Int(_) => 2,
            Value::Float(_) => 3,
            Value::Decimal(_) => 4,
            Value::Text(_) => 5,
            Value::Timestamp(_) => 6,
            Value::Date(_) => 7,
            Value::Time(_) => 8,
            Value::Uuid(_) => 9,
            Value::Bytes(_) => 10,
            Value::List(_) => 11,
            Value::Set(_) => 12,
            Value::Map(_) => 13,
            Value::Record(_) => 14,
            Value::TimeUuid(_) => 15,
            Value::Period(_) => 16,
            Value::Ip(_) => 17,
        }
    }
}

/// A UUID of version 1 as bytes that compare as Cassandra compares them: by time, then by the signed bytes of the rest.
pub(super) fn by_time(uuid: &Uuid) -> [u8; 16] {
    let [a, b, c, d, e, f, g, h, rest @ ..] = *uuid.as_bytes();
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&[g, h, e, f, a, b, c, d]);
    for (byte, signed) in bytes[8..].iter_mut().zip(rest) {
        *byte = signed ^ 0x80;
    }
    bytes
}

/// The UUID that [`by_time`] made bytes of.
pub(super) fn from_time([g, h, e, f, a, b, c, d, rest @ ..]: [u8; 16]) -> Uuid {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&[a, b, c, d, e, f, g, h]);
    for (byte, unsigned) in bytes[8..].iter_mut().zip(rest) {
        *byte = unsigned ^ 0x80;
    }
    Uuid::from_bytes(bytes)
}

/// The bytes of an address: 4 or 16, by which CQL orders them.
pub(super) fn octets(ip: &IpAddr) -> SmallVec<[u8; 16]> {
    match ip {
        IpAddr::V4(ip) => SmallVec::from_slice(&ip.octets()),
        IpAddr::V6(ip) => SmallVec::from_slice(&ip.octets()),
    }
}

/// By number, then by scale. Never overflows, whatever the two hold.
fn compare_decimals(a: &Decimal, b: &Decimal) -> Ordering {
    let sign = a.mantissa.signum().cmp(&b.mantissa.signum());
    if sign != Ordering::Equal {
        return sign;
    }
    let size = compare_sizes(a, b);
    let number = if a.mantissa < 0 { size.reverse() } else { size };
    number.then(a.scale.cmp(&b.scale))
}

/// Compares without the signs. First by the place of the leading digit, then digit by digit.
fn compare_sizes(a: &Decimal, b: &Decimal) -> Ordering {
    let (size_a, size_b) = (a.mantissa.unsigned_abs(), b.mantissa.unsigned_abs());
    if size_a == 0 || size_b == 0 {
        return size_a.cmp(&size_b);
    }
    let (digits_a, digits_b) = (size_a.ilog10(), size_b.ilog10());
    let places = (i64::from(digits_a) - i64::from(a.scale)).cmp(&(i64::from(digits_b) - i64::from(b.scale)));
    if places != Ordering::Equal {
        return places;
    }
    if digits_a < digits_b {
        compare_scaled(size_a, digits_b - digits_a, size_b)
    } else {
        compare_scaled(size_b, digits_a - digits_b, size_a).reverse()
    }
}

/// Compares `size × 10^by` with `other`, which has as many digits. A product that does not fit is the larger.
fn compare_scaled(size: u128, by: u32, other: u128) -> Ordering {
    10u128
        .checked_pow(by)
        .and_then(|power| size.checked_mul(power))
        .map_or(Ordering::Greater, |scaled| scaled.cmp(&other))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(mantissa: i128, scale: u32) -> Value {
        Value::Decimal(Decimal { mantissa, scale })
    }

    #[test]
    fn decimals_compare_by_number_then_by_scale() {
        let ascending = [
            decimal(i128::MIN, 0),
            decimal(-100, 1),
            decimal(-15, 1),
            decimal(-150, 2),
            decimal(-1, 40),
            decimal(0, 0),
            decimal(0, 2),
            decimal(1, u32::MAX),
            decimal(9, 1),
            decimal(10, 1),
            decimal(100, 2),
            decimal(101, 2),
            decimal(9, 0),
            decimal(10, 0),
            decimal(i128::MAX, 0),
        ];
        for (i, a) in ascending.iter().enumerate() {
            for (j, b) in ascending.iter().enumerate() {
                assert_eq!(a.cmp(b), i.cmp(&j), "{a:?} and {b:?}");
            }
        }
    }

    #[test]
    fn a_product_that_does_not_fit_is_the_larger() {
        assert_eq!(compare_scaled(9, 38, u128::MAX), Ordering::Greater);
        assert_eq!(compare_scaled(3, 38, u128::MAX), Ordering::Less);
    }

    #[test]
    fn null_is_before_everything_and_text_compares_by_bytes() {
        assert!(Value::Null < Value::Bool(false));
        assert!(Value::text("Z") < Value::text("a"));
        assert!(Value::text("z") < Value::text("é"));
        assert!(Value::Float(-0.0) < Value::Float(0.0));
    }
}
