//! Values as the bytes of CQL's protocol, and back.
//!
//! Comes in: a value and the type of its column, or bytes. Goes out: bytes, or a value. What a column's type cannot hold is
//! refused with a reason; nothing is rounded or cut. Whether a value may be null is not asked here.

use core::net::IpAddr;

use crate::schema::{Column, ColumnType, ReadModel, Scalar};
use crate::value::encode::Malformed;
use crate::value::{Decimal, Period, Uuid, Value};

/// The type of a cell or of a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CellType {
    Scalar(Scalar),
    List(Box<CellType>),
    Set(Box<CellType>),
    Map(Box<CellType>, Box<CellType>),
    /// A value type: the types of its fields, in their order.
    Record(Vec<CellType>),
    /// Numbers of 32 bits, so many.
    Vector(usize),
}

impl CellType {
    /// The type of a column.
    pub fn of_column(model: &ReadModel, column: &Column) -> CellType {
        match column.vector {
            Some(vector) => CellType::Vector(vector.dimensions as usize),
            None => CellType::of(model, &column.ty),
        }
    }

    /// The type of what a column's type says.
    pub fn of(model: &ReadModel, ty: &ColumnType) -> CellType {
        let record = |id| {
            let columns = &model.ty(id).columns;
            CellType::Record(columns.iter().map(|column| CellType::of_column(model, column)).collect())
        };
        match ty {
            ColumnType::Scalar(scalar) => CellType::Scalar(*scalar),
            ColumnType::Enum(_) => CellType::Scalar(Scalar::String),
            ColumnType::Record(id) => record(*id),
            ColumnType::List(of) => CellType::List(Box::new(CellType::of(model, of))),
            ColumnType::Set(of) => CellType::Set(Box::new(CellType::of(model, of))),
            ColumnType::Map { key, record: id } => {
                let key = CellType::of(model, &model.ty(*id).column(*key).ty);
                CellType::Map(Box::new(key), Box::new(record(*id)))
            }
        }
    }
}

fn malformed(text: impl Into<String>) -> Malformed {
    Malformed(text.into())
}

/// Appends a value with its length before it, as the protocol has cells and parts of them; null is the length −1.
///
/// # Errors
/// The value is none of that type.
pub(super) fn push_framed(out: &mut Vec<u8>, ty: &CellType, value: &Value) -> Result<(), Malformed> {
    let at = out.len();
    out.extend_from_slice(&(-1i32).to_be_bytes());
    if value.is_null() {
        return Ok(());
    }
    push(out, ty, value)?;
    let len = i32::try_from(out.len() - at - 4).map_err(|_| malformed("a value has 2 GiB or more"))?;
    out[at..at + 4].copy_from_slice(&len.to_be_bytes());
    Ok(())
}

fn push(out: &mut Vec<u8>, ty: &CellType, value: &Value) -> Result<(), Malformed> {
    match (ty, value) {
        (CellType::Scalar(scalar), value) => push_scalar(out, *scalar, value),
        (CellType::List(of), Value::List(items)) | (CellType::Set(of), Value::Set(items)) => {
            push_count(out, items.len())?;
            items.iter().try_for_each(|item| push_framed(out, of, item))
        }
        (CellType::Map(key, of), Value::Map(entries)) => {
            push_count(out, entries.len())?;
            entries.iter().try_for_each(|(name, value)| {
                push_framed(out, key, name)?;
                push_framed(out, of, value)
            })
        }
        (CellType::Record(types), Value::Record(values)) if types.len() == values.len() => {
            types.iter().zip(values).try_for_each(|(ty, value)| push_framed(out, ty, value))
        }
        (CellType::Vector(dimensions), Value::List(numbers)) if *dimensions == numbers.len() => {
            numbers.iter().try_for_each(|number| push_scalar(out, Scalar::Float32, number))
        }
        (ty, value) => Err(malformed(format!("{value:?} is no {ty:?}"))),
    }
}

fn push_count(out: &mut Vec<u8>, count: usize) -> Result<(), Malformed> {
    let count = i32::try_from(count).map_err(|_| malformed("a collection has 2³¹ elements or more"))?;
    out.extend_from_slice(&count.to_be_bytes());
    Ok(())
}

fn push_scalar(out: &mut Vec<u8>, scalar: Scalar, value: &Value) -> Result<(), Malformed> {
    let misfit =
        || malformed(format!("{value:?} does not fit a column of CQL's {}", crate::schema::cql_type(scalar)));
    match (scalar, value) {
        (Scalar::Boolean, Value::Bool(value)) => out.push(u8::from(*value)),
        (Scalar::Byte, Value::Int(value)) => {
            out.extend_from_slice(&i8::try_from(*value).map_err(|_| misfit())?.to_be_bytes());
        }
        (Scalar::Short, Value::Int(value)) => {
            out.extend_from_slice(&i16::try_from(*value).map_err(|_| misfit())?.to_be_bytes());
        }
        (Scalar::Int, Value::Int(value)) => {
            out.extend_from_slice(&i32::try_from(*value).map_err(|_| misfit())?.to_be_bytes());
        }
        (Scalar::Long | Scalar::BigInt, Value::Int(value))
        | (Scalar::DateTime, Value::Timestamp(value))
        | (Scalar::LocalTime, Value::Time(value)) => out.extend_from_slice(&value.to_be_bytes()),
        (Scalar::VarInt, &Value::Decimal(Decimal { mantissa, scale: 0 })) => {
            out.extend_from_slice(shortest(&mantissa.to_be_bytes()));
        }
        (Scalar::Decimal, &Value::Decimal(Decimal { mantissa, scale })) => {
            out.extend_from_slice(&i32::try_from(scale).map_err(|_| misfit())?.to_be_bytes());
            out.extend_from_slice(shortest(&mantissa.to_be_bytes()));
        }
        (Scalar::Float, Value::Float(value)) => out.extend_from_slice(&value.to_bits().to_be_bytes()),
        (Scalar::Float32, Value::Float(value)) => {
            #[expect(clippy::cast_possible_truncation, reason = "compared with what was given")]
            let narrow = *value as f32;
            if f64::from(narrow).to_bits() != value.to_bits() {
                return Err(misfit());
            }
            out.extend_from_slice(&narrow.to_bits().to_be_bytes());
        }
        (Scalar::String | Scalar::Id | Scalar::Json | Scalar::Ascii, Value::Text(text)) => {
            out.extend_from_slice(text.as_bytes());
        }
        (Scalar::LocalDate, Value::Date(days)) => out.extend_from_slice(&(*days ^ i32::MIN).to_be_bytes()),
        (Scalar::Uuid, Value::Uuid(uuid)) | (Scalar::TimeUuid, Value::TimeUuid(uuid)) => {
            out.extend_from_slice(uuid.as_bytes());
        }
        (Scalar::Bytes, Value::Bytes(bytes)) => out.extend_from_slice(bytes),
        (Scalar::Ip | Scalar::Ipv4 | Scalar::Ipv6, Value::Ip(IpAddr::V4(ip))) => {
            out.extend_from_slice(&ip.octets())
        }
        (Scalar::Ip | Scalar::Ipv4 | Scalar::Ipv6, Value::Ip(IpAddr::V6(ip))) => {
            out.extend_from_slice(&ip.octets())
        }
        (Scalar::Duration, Value::Period(period)) => {
            for part in [i64::from(period.months), i64::from(period.days), period.nanos] {
                push_vint(out, part);
            }
        }
        _ => return Err(misfit()),
    }
    Ok(())
}

/// Two's complement without the leading bytes that only repeat the sign.
fn shortest(bytes: &[u8; 16]) -> &[u8] {
    let repeats = |pair: &&[u8]| {
        matches!(pair, [0, next] if next >> 7 == 0) || matches!(pair, [0xFF, next] if next >> 7 == 1)
    };
    &bytes[bytes.windows(2).take_while(repeats).count()..]
}

/// A number of the protocol's variable length: as many leading ones as bytes follow the first; the sign is the last bit.
fn push_vint(out: &mut Vec<u8>, number: i64) {
    let zigzag = (number << 1 ^ number >> 63).cast_unsigned();
    let bits = (64 - zigzag.leading_zeros()).max(1) as usize;
    // Each byte adds seven bits, the ninth eight.
    let more = (bits - 1) / 7;
    if more >= 8 {
        out.push(0xFF);
        out.extend_from_slice(&zigzag.to_be_bytes());
        return;
    }
    let start = out.len();
    out.extend_from_slice(&zigzag.to_be_bytes()[7 - more..]);
    out[start] |= !(0xFFu8 >> more);
}

/// Reads a cell.
///
/// # Errors
/// The bytes are no value of that type, or none that we can hold.
pub(super) fn read(bytes: &[u8], ty: &CellType) -> Result<Value, Malformed> {
    let mut rest = bytes;
    match ty {
        CellType::Scalar(scalar) => read_scalar(bytes, *scalar),
        CellType::List(of) => Ok(Value::List(read_items(&mut rest, of)?)),
        CellType::Set(of) => {
            let mut items = read_items(&mut rest, of)?;
            // The store's order of some types is another than ours.
            items.sort_unstable();
            Ok(Value::Set(items))
        }
        CellType::Map(key, of) => {
            let count = take_count(&mut rest)?;
            let entry = |_| Ok((take_framed(&mut rest, key)?, take_framed(&mut rest, of)?));
            let mut entries = (0..count).map(entry).collect::<Result<Vec<_>, Malformed>>()?;
            entries.sort_unstable();
            Ok(Value::Map(entries))
        }
        CellType::Record(types) => {
            // Fields that were added to the type after the value was written are missing at its end.
            let field = |ty| if rest.is_empty() { Ok(Value::Null) } else { take_framed(&mut rest, ty) };
            Ok(Value::Record(types.iter().map(field).collect::<Result<_, _>>()?))
        }
        CellType::Vector(dimensions) => {
            if bytes.len() != dimensions * 4 {
                return Err(malformed(format!("a vector of {dimensions} numbers has {} bytes", bytes.len())));
            }
            let numbers = bytes.chunks_exact(4).map(|number| read_scalar(number, Scalar::Float32));
            Ok(Value::List(numbers.collect::<Result<_, _>>()?))
        }
    }
}

fn read_items(rest: &mut &[u8], of: &CellType) -> Result<Vec<Value>, Malformed> {
    let count = take_count(rest)?;
    (0..count).map(|_| take_framed(rest, of)).collect()
}

fn take_count(rest: &mut &[u8]) -> Result<usize, Malformed> {
    let count =
        usize::try_from(take_i32(rest)?).map_err(|_| malformed("a collection has a negative length"))?;
    // Each element has a length of four bytes.
    match count <= rest.len() / 4 {
        true => Ok(count),
        false => Err(malformed(format!("a collection of {count} elements has only {} bytes", rest.len()))),
    }
}

fn take_i32(rest: &mut &[u8]) -> Result<i32, Malformed> {
    let (head, tail) = rest.split_first_chunk::<4>().ok_or_else(|| malformed("a length is cut off"))?;
    *rest = tail;
    Ok(i32::from_be_bytes(*head))
}

fn take_framed(rest: &mut &[u8], ty: &CellType) -> Result<Value, Malformed> {
    let Ok(len) = usize::try_from(take_i32(rest)?) else { return Ok(Value::Null) };
    let (bytes, tail) =
        rest.split_at_checked(len).ok_or_else(|| malformed("a part of a value is cut off"))?;
    *rest = tail;
    read(bytes, ty)
}

fn read_scalar(bytes: &[u8], scalar: Scalar) -> Result<Value, Malformed> {
    let text =
        || std::str::from_utf8(bytes).map_err(|error| malformed(format!("a text is not UTF-8: {error}")));
    Ok(match scalar {
        Scalar::Boolean => Value::Bool(array::<1>(bytes, scalar)? != [0]),
        Scalar::Byte => Value::Int(i8::from_be_bytes(array(bytes, scalar)?).into()),
        Scalar::Short => Value::Int(i16::from_be_bytes(array(bytes, scalar)?).into()),
        Scalar::Int => Value::Int(i32::from_be_bytes(array(bytes, scalar)?).into()),
        Scalar::Long | Scalar::BigInt => Value::Int(i64::from_be_bytes(array(bytes, scalar)?)),
        Scalar::DateTime => Value::Timestamp(i64::from_be_bytes(array(bytes, scalar)?)),
        Scalar::LocalTime => Value::Time(i64::from_be_bytes(array(bytes, scalar)?)),
        Scalar::VarInt => Value::Decimal(Decimal { mantissa: read_integer(bytes)?, scale: 0 }),
        Scalar::Decimal => {
            let mut rest = bytes;
            let scale = take_i32(&mut rest)?;
            Value::Decimal(decimal(read_integer(rest)?, scale)?)
        }
        Scalar::Float => Value::Float(f64::from_bits(u64::from_be_bytes(array(bytes, scalar)?))),
        Scalar::Float32 => Value::Float(f32::from_bits(u32::from_be_bytes(array(bytes, scalar)?)).into()),
        Scalar::String | Scalar::Id | Scalar::Json | Scalar::Ascii => Value::text(text()?),
        Scalar::LocalDate => Value::Date(i32::from_be_bytes(array(bytes, scalar)?) ^ i32::MIN),
        Scalar::Uuid => Value::Uuid(Uuid::from_bytes(array(bytes, scalar)?)),
        Scalar::TimeUuid => Value::TimeUuid(Uuid::from_bytes(array(bytes, scalar)?)),
        Scalar::Bytes => Value::Bytes(bytes.into()),
        Scalar::Ip | Scalar::Ipv4 | Scalar::Ipv6 => match bytes.len() {
            4 => Value::Ip(array::<4>(bytes, scalar)?.into()),
            _ => Value::Ip(IpAddr::from(array::<16>(bytes, scalar)?).to_canonical()),
        },
        Scalar::Duration => {
            let mut rest = bytes;
            let (months, days, nanos) = (take_vint(&mut rest)?, take_vint(&mut rest)?, take_vint(&mut rest)?);
            let narrow =
                |part| i32::try_from(part).map_err(|_| malformed("a duration's part is out of range"));
            Value::Period(Period { months: narrow(months)?, days: narrow(days)?, nanos })
        }
    })
}

fn array<const N: usize>(bytes: &[u8], scalar: Scalar) -> Result<[u8; N], Malformed> {
    bytes.try_into().map_err(|_| {
        malformed(format!("a {} has {} bytes, not {N}", crate::schema::cql_type(scalar), bytes.len()))
    })
}

fn read_integer(bytes: &[u8]) -> Result<i128, Malformed> {
    let Some(first) = bytes.first() else { return Err(malformed("a whole number has no bytes")) };
    let fill = if first >> 7 == 1 { 0xFF } else { 0 };
    let spare = bytes.len().saturating_sub(16);
    let (spare, bytes) = bytes.split_at(spare);
    let fits = spare.iter().all(|byte| *byte == fill) && (spare.is_empty() || bytes[0] >> 7 == fill >> 7);
    if !fits {
        return Err(malformed("a whole number has more than 38 digits"));
    }
    let mut whole = [fill; 16];
    whole[16 - bytes.len()..].copy_from_slice(bytes);
    Ok(i128::from_be_bytes(whole))
}

/// A decimal as others may have written it: with a negative scale it ends in zeros.
fn decimal(mantissa: i128, scale: i32) -> Result<Decimal, Malformed> {
    match u32::try_from(scale) {
        Ok(scale) => Ok(Decimal { mantissa, scale }),
        Err(_) => 10i128
            .checked_pow(scale.unsigned_abs())
            .and_then(|power| mantissa.checked_mul(power))
            .map(|mantissa| Decimal { mantissa, scale: 0 })
            .ok_or_else(|| malformed("a decimal has more than 38 digits")),
    }
}

fn take_vint(rest: &mut &[u8]) -> Result<i64, Malformed> {
    let cut = || malformed("a duration is cut off");
    let (&first, tail) = rest.split_first().ok_or_else(cut)?;
    let more = first.leading_ones() as usize;
    let (bytes, tail) = tail.split_at_checked(more).ok_or_else(cut)?;
    *rest = tail;
    let begin = if more >= 7 { 0 } else { u64::from(first & 0xFF >> (more + 1)) };
    let zigzag = bytes.iter().fold(begin, |number, byte| number << 8 | u64::from(*byte));
    Ok((zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(ty: &CellType, value: &Value) -> Vec<u8> {
        let mut out = Vec::new();
        push_framed(&mut out, ty, value).expect("fits");
        out.split_off(4)
    }

    #[track_caller]
    fn there_and_back(ty: &CellType, value: &Value) {
        assert_eq!(&read(&bytes(ty, value), ty).expect("can be read"), value);
    }

    #[test]
    fn numbers_of_any_size_come_back() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..20_000 {
            let size = random.u32(0..127);
            let mantissa = random.i128(..) >> size;
            there_and_back(
                &CellType::Scalar(Scalar::VarInt),
                &Value::Decimal(Decimal { mantissa, scale: 0 }),
            );
            let scale = random.u32(0..100);
            there_and_back(&CellType::Scalar(Scalar::Decimal), &Value::Decimal(Decimal { mantissa, scale }));
            let nanos = random.i64(..) >> random.u32(0..64);
            let period = Period { months: random.i32(..), days: random.i32(..) >> random.u32(0..32), nanos };
            there_and_back(&CellType::Scalar(Scalar::Duration), &Value::Period(period));
        }
        for nanos in [0, 1, -1, 63, 64, -64, -65, i64::MIN, i64::MAX] {
            there_and_back(
                &CellType::Scalar(Scalar::Duration),
                &Value::Period(Period { months: 0, days: 0, nanos }),
            );
        }
    }

    /// Bytes of the native protocol's specification, version 5, sections 5.9 and 6.
    #[test]
    fn bytes_are_those_of_the_protocol() {
        let varint = |mantissa| {
            bytes(&CellType::Scalar(Scalar::VarInt), &Value::Decimal(Decimal { mantissa, scale: 0 }))
        };
        for (number, expected) in [
            (0, &[0][..]),
            (127, &[0x7F]),
            (128, &[0, 0x80]),
            (129, &[0, 0x81]),
            (-1, &[0xFF]),
            (-128, &[0x80]),
        ] {
            assert_eq!(varint(number), expected);
        }
        assert_eq!(varint(-129), [0xFF, 0x7F]);
        assert_eq!(bytes(&CellType::Scalar(Scalar::LocalDate), &Value::Date(0)), [0x80, 0, 0, 0]);
        let period = Value::Period(Period { months: 1, days: -1, nanos: 1_000 });
        assert_eq!(bytes(&CellType::Scalar(Scalar::Duration), &period), [2, 1, 0x87, 0xD0]);
        let record = CellType::Record(vec![CellType::Scalar(Scalar::Byte), CellType::Scalar(Scalar::String)]);
        let value = Value::Record(vec![Value::Int(5), Value::Null]);
        assert_eq!(bytes(&record, &value), [0, 0, 0, 1, 5, 0xFF, 0xFF, 0xFF, 0xFF]);
        let list = CellType::List(Box::new(CellType::Scalar(Scalar::Short)));
        assert_eq!(bytes(&list, &Value::List(vec![Value::Int(258)])), [0, 0, 0, 1, 0, 0, 0, 2, 1, 2]);
        assert_eq!(bytes(&CellType::Vector(1), &Value::List(vec![Value::Float(1.0)])), [0x3F, 0x80, 0, 0]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for (scalar, value) in [
            (Scalar::Byte, Value::Int(128)),
            (Scalar::Short, Value::Int(-32_769)),
            (Scalar::Int, Value::Int(1 << 31)),
            (Scalar::Float32, Value::Float(0.1)),
            (Scalar::VarInt, Value::Decimal(Decimal { mantissa: 1, scale: 1 })),
            (Scalar::Boolean, Value::Int(1)),
        ] {
            let mut out = Vec::new();
            let error = push_framed(&mut out, &CellType::Scalar(scalar), &value)
                .expect_err("does not fit")
                .to_string();
            assert!(error.contains("does not fit a column of CQL's"), "{error}");
        }
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let types = [
            CellType::List(Box::new(CellType::Scalar(Scalar::Decimal))),
            CellType::Map(
                Box::new(CellType::Scalar(Scalar::Ip)),
                Box::new(CellType::Record(vec![CellType::Scalar(Scalar::Duration)])),
            ),
            CellType::Vector(2),
            CellType::Scalar(Scalar::Decimal),
            CellType::Scalar(Scalar::VarInt),
            CellType::Scalar(Scalar::Duration),
            CellType::Scalar(Scalar::Uuid),
        ];
        let mut random = fastrand::Rng::with_seed(3);
        for _ in 0..50_000 {
            let bytes: Vec<u8> = (0..random.usize(0..24))
                .map(|_| if random.bool() { random.u8(0..3) } else { random.u8(..) })
                .collect();
            for ty in &types {
                let _ = read(&bytes, ty);
            }
        }
    }
}
