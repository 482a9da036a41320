//! Values of the scalars that hold less than their kind of value: integers of fewer bits, floats of 32 bits, UUIDs of
//! version 1, addresses of one family.
//!
//! Comes in: a value of the kind. Goes out: the cell, or nothing where the scalar cannot hold it. Reads no JSON and no
//! other text: events are read by `expr`, requests by `resolve`, and both come here.

use core::net::IpAddr;

use super::{Uuid, Value};
use crate::schema::Scalar;

/// An integer that a column of that type can hold.
pub fn whole(number: i64, scalar: Scalar) -> Option<Value> {
    let fits = match scalar {
        Scalar::Byte => i8::try_from(number).is_ok(),
        Scalar::Short => i16::try_from(number).is_ok(),
        Scalar::Int => i32::try_from(number).is_ok(),
        _ => true,
    };
    fits.then_some(Value::Int(number))
}

/// A finite number, for 32 bits the nearest that they can hold.
pub fn float(number: f64, scalar: Scalar) -> Option<Value> {
    let number = match scalar {
        #[expect(clippy::cast_possible_truncation, reason = "the nearest float is what the column holds")]
        Scalar::Float32 => f64::from(number as f32),
        _ => number,
    };
    number.is_finite().then_some(Value::Float(number))
}

/// A UUID of version 1; no other has a time to sort by.
pub fn time_uuid(uuid: Uuid) -> Option<Value> {
    (uuid.get_version_num() == 1).then_some(Value::TimeUuid(uuid))
}

/// An address in one form for each: one of IPv4 inside IPv6 is of IPv4, but where IPv6 is asked for.
pub fn ip_of(text: &str, scalar: Scalar) -> Option<Value> {
    let ip: IpAddr = text.parse().ok()?;
    match (scalar, ip) {
        (Scalar::Ipv6, IpAddr::V6(_)) => Some(Value::Ip(ip)),
        (Scalar::Ipv6, _) => None,
        (_, ip) => match (scalar, ip.to_canonical()) {
            (Scalar::Ipv4, IpAddr::V6(_)) => None,
            (_, ip) => Some(Value::Ip(ip)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_fit_below_at_and_not_above_their_bits() {
        for (scalar, most) in [(Scalar::Byte, 127), (Scalar::Short, 32_767), (Scalar::Int, 2_147_483_647)] {
            for (number, fits) in [(most, true), (most + 1, false), (-most - 1, true), (-most - 2, false)] {
                assert_eq!(whole(number, scalar).is_some(), fits, "{scalar:?} {number}");
            }
        }
        assert_eq!(whole(i64::MIN, Scalar::Long), Some(Value::Int(i64::MIN)));
    }

    #[test]
    fn floats_are_the_nearest_and_finite() {
        assert_eq!(float(0.1, Scalar::Float), Some(Value::Float(0.1)));
        assert_eq!(float(0.1, Scalar::Float32), Some(Value::Float(0.100_000_001_490_116_12)));
        assert_eq!(float(1e39, Scalar::Float32), None);
        assert_eq!(float(f64::NAN, Scalar::Float), None);
    }

    #[test]
    fn an_address_has_one_form() {
        let shown = |text: &str, scalar| match ip_of(text, scalar) {
            Some(Value::Ip(ip)) => ip.to_string(),
            _ => "refused".to_owned(),
        };
        assert_eq!(shown("2001:DB8:0:0:0:0:0:1", Scalar::Ip), "2001:db8::1");
        assert_eq!(shown("::ffff:10.0.0.1", Scalar::Ip), "10.0.0.1");
        assert_eq!(shown("::ffff:10.0.0.1", Scalar::Ipv4), "10.0.0.1");
        assert_eq!(shown("::ffff:10.0.0.1", Scalar::Ipv6), "::ffff:10.0.0.1");
        for (text, scalar) in
            [("10.0.0.1", Scalar::Ipv6), ("::1", Scalar::Ipv4), ("10.0.0", Scalar::Ip), ("", Scalar::Ip)]
        {
            assert_eq!(shown(text, scalar), "refused", "{text}");
        }
    }
}
