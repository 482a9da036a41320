//! Keys: order, round trip, prefixes and the pinned format.

use super::*;

fn seeds() -> impl Iterator<Item = u64> {
    let number =
        |name: &str, default| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let base: u64 = number("KINORA_SEED_BASE", 1);
    base..base.saturating_add(number("KINORA_SEEDS", 20))
}

const SCALARS: [Scalar; 22] = [
    Scalar::Boolean,
    Scalar::Int,
    Scalar::Long,
    Scalar::BigInt,
    Scalar::Float,
    Scalar::String,
    Scalar::Id,
    Scalar::Decimal,
    Scalar::DateTime,
    Scalar::LocalDate,
    Scalar::LocalTime,
    Scalar::Uuid,
    Scalar::Bytes,
    Scalar::Byte,
    Scalar::Short,
    Scalar::Float32,
    Scalar::VarInt,
    Scalar::Ascii,
    Scalar::TimeUuid,
    Scalar::Ip,
    Scalar::Ipv4,
    Scalar::Ipv6,
];

/// Values close to each other and to the edges, so that ties and prefixes happen.
fn random(scalar: Scalar, rng: &mut fastrand::Rng) -> Value {
    let long = match rng.u8(0..4) {
        0 => rng.i64(-3..3),
        1 => i64::MIN + rng.i64(0..2),
        2 => i64::MAX - rng.i64(0..2),
        _ => rng.i64(..),
    };
    match scalar {
        Scalar::Boolean => Value::Bool(rng.bool()),
        Scalar::Byte | Scalar::Short | Scalar::Int | Scalar::Long | Scalar::BigInt => Value::Int(long),
        Scalar::DateTime => Value::Timestamp(long),
        Scalar::LocalTime => Value::Time(long),
        Scalar::LocalDate => Value::Date(long as i32),
        Scalar::Float | Scalar::Float32 => {
            Value::Float([0.0, -0.0, 1.5, -1.5, f64::MAX, f64::MIN, rng.f64()][rng.usize(0..7)])
        }
        Scalar::Decimal => Value::Decimal(random_decimal(rng)),
        Scalar::VarInt => Value::Decimal(Decimal { scale: 0, ..random_decimal(rng) }),
        Scalar::TimeUuid => Value::TimeUuid(time_uuid(rng)),
        Scalar::Ip | Scalar::Ipv4 | Scalar::Ipv6 => Value::Ip(match rng.bool() {
            true => [rng.u8(0..2), 0, rng.u8(..), 255].into(),
            false => [0, 0, rng.u16(0..2), 0, 0, 1, rng.u16(..), 9].into(),
        }),
        Scalar::Duration | Scalar::Json => Value::Null,
        Scalar::Uuid => Value::Uuid(Uuid::from_u128(if rng.bool() { rng.u128(..) } else { rng.u128(0..2) })),
        Scalar::String | Scalar::Id | Scalar::Ascii => {
            let letters = ['\0', '\u{1}', 'a', 'b', 'é', '\u{10FFFF}'];
            Value::text((0..rng.usize(0..5)).map(|_| letters[rng.usize(0..6)]).collect::<String>())
        }
        Scalar::Bytes => {
            let bytes = [0, 1, 0xFE, 0xFF];
            Value::Bytes((0..rng.usize(0..5)).map(|_| bytes[rng.usize(0..4)]).collect())
        }
    }
}

/// A UUID of version 1 whose parts are small, so that only one of them often tells two apart.
fn time_uuid(rng: &mut fastrand::Rng) -> Uuid {
    let mut part =
        |bits: u32| u128::from(rng.u64(..)) & ((1 << bits) - 1) & [1, 0xFF, u128::MAX][rng.usize(0..3)];
    Uuid::from_u128(part(32) << 96 | part(16) << 80 | 0x1 << 76 | part(12) << 64 | part(63) | 0x8 << 60)
}

fn random_decimal(rng: &mut fastrand::Rng) -> Decimal {
    let mantissa = match rng.u8(0..4) {
        0 => rng.i128(-120..120),
        1 => rng.i128(-12..12) * 10i128.pow(rng.u32(0..37)),
        2 => [i128::MIN, i128::MAX, i128::MIN + 1][rng.usize(0..3)],
        _ => rng.i128(..),
    };
    Decimal { mantissa, scale: if rng.u8(0..20) == 0 { u32::MAX } else { rng.u32(0..40) } }
}

fn key(values: &[Value], orders: &[Order]) -> Vec<u8> {
    let mut out = Vec::new();
    for (value, order) in values.iter().zip(orders) {
        push_part(&mut out, value, *order);
    }
    out
}

#[test]
fn keys_compare_as_their_values_do_and_come_back() {
    for seed in seeds() {
        let mut rng = fastrand::Rng::with_seed(seed);
        for _ in 0..500 {
            let scalars: Vec<Scalar> =
                (0..rng.usize(1..4)).map(|_| SCALARS[rng.usize(0..SCALARS.len())]).collect();
            let orders: Vec<Order> =
                scalars.iter().map(|_| if rng.bool() { Order::Asc } else { Order::Desc }).collect();
            let a: Vec<Value> = scalars.iter().map(|scalar| random(*scalar, &mut rng)).collect();
            let b: Vec<Value> = scalars
                .iter()
                .zip(&a)
                .map(|(scalar, a)| if rng.bool() { a.clone() } else { random(*scalar, &mut rng) })
                .collect();
            let expected =
                a.iter().zip(&b).zip(&orders).fold(std::cmp::Ordering::Equal, |before, ((a, b), order)| {
                    before.then(if *order == Order::Asc { a.cmp(b) } else { b.cmp(a) })
                });
            let (key_a, key_b) = (key(&a, &orders), key(&b, &orders));
            assert_eq!(key_a.cmp(&key_b), expected, "seed {seed}: {a:?} and {b:?} {orders:?}");
            for prefix in 1..=a.len() {
                let bytes = key(&a[..prefix], &orders);
                assert_eq!(
                    key_b.starts_with(&bytes),
                    a[..prefix] == b[..prefix],
                    "seed {seed}: {a:?} and {b:?}"
                );
            }
            let mut rest = key_a.as_slice();
            for ((scalar, order), value) in scalars.iter().zip(&orders).zip(&a) {
                let taken = take_part(&mut rest, &ColumnType::Scalar(*scalar), *order);
                assert_eq!(taken.as_ref(), Ok(value), "seed {seed}");
            }
            assert!(rest.is_empty(), "seed {seed}: {rest:?} is left over");
        }
    }
}

#[test]
fn damaged_keys_are_errors_and_never_panic() {
    for seed in seeds() {
        let mut rng = fastrand::Rng::with_seed(seed);
        for _ in 0..500 {
            let bytes: Vec<u8> = (0..rng.usize(0..24)).map(|_| rng.u8(..)).collect();
            for scalar in SCALARS {
                let order = if rng.bool() { Order::Asc } else { Order::Desc };
                let _ = take_part(&mut bytes.as_slice(), &ColumnType::Scalar(scalar), order);
            }
        }
    }
    let fault = |bytes: &[u8], scalar| {
        take_part(&mut &*bytes, &ColumnType::Scalar(scalar), Order::Asc).expect_err("is refused").to_string()
    };
    assert_eq!(fault(&[1, 2], Scalar::Int), "a key part of 8 bytes has only 2");
    assert_eq!(fault(b"ab", Scalar::Id), "a text key part has no end");
    assert_eq!(fault(&[0, 7], Scalar::Id), "a text key part has a zero byte that is not escaped");
    assert_eq!(fault(&[9], Scalar::Boolean), "a boolean key part is 0 or 1, not 9");
    assert_eq!(fault(&[9], Scalar::Decimal), "a decimal key part begins with 1, 2 or 3, not 9");
    assert!(fault(&[0xFF, 0, 0], Scalar::String).starts_with("a text key part is not UTF-8"));
    let list = ColumnType::List(Box::new(ColumnType::Scalar(Scalar::Int)));
    let error = take_part(&mut [0; 9].as_slice(), &list, Order::Asc).expect_err("is refused");
    assert_eq!(error.to_string(), "a List(Scalar(Int)) is never part of a key");
}

#[test]
fn the_format_is_pinned() {
    let fixtures = [
        (Value::Bool(true), "01"),
        (Value::Int(-1), "7fffffffffffffff"),
        (Value::Int(1), "8000000000000001"),
        (Value::Timestamp(1_700_000_000_000), "8000018bcfe56800"),
        (Value::Time(0), "8000000000000000"),
        (Value::Date(-1), "7fffffff"),
        (Value::Float(1.5), "bff8000000000000"),
        (Value::Float(-1.5), "4007ffffffffffff"),
        (Value::text("a\0b"), "6100ff620000"),
        (Value::Bytes(Box::new([255])), "ff0000"),
        (Value::Uuid(Uuid::from_u128(258)), "00000000000000000000000000000102"),
        (
            Value::TimeUuid(Uuid::from_u128(0x0123_4567_89ab_1def_8123_4567_89ab_cdef)),
            "1def89ab0123456701a3c5e7092b4d6f",
        ),
        (Value::Ip([10, 0, 0, 1].into()), "0a00ff00ff010000"),
        (Value::Decimal(Decimal { mantissa: 0, scale: 2 }), "0200000002"),
        (Value::Decimal(Decimal { mantissa: 1250, scale: 2 }), "0380000000020203060000000002"),
        (Value::Decimal(Decimal { mantissa: -1250, scale: 2 }), "017ffffffffdfdfcf9ff00000002"),
    ];
    for (value, expected) in fixtures {
        let bytes = |order| key(std::slice::from_ref(&value), &[order]);
        let hex: String = bytes(Order::Asc).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expected, "{value:?}");
        let inverted: Vec<u8> = bytes(Order::Desc).iter().map(|byte| !byte).collect();
        assert_eq!(inverted, bytes(Order::Asc), "{value:?} descending");
    }
}
