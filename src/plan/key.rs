//! Makes the keys of a table's rows, and reads them back.
//!
//! Comes in: a table and cells, or the values of key parts. Goes out: encoded keys, partitions and prefixes of the
//! clustering, or the values of a key. Time buckets and hashes are stored values, so their making is part of the
//! format on disk: tests pin it. Binding a read to a table is `bind`'s.

use std::borrow::Cow;

use jiff::SignedDuration;
use jiff::civil::date;
use smallvec::SmallVec;
use xxhash_rust::xxh64::xxh64;

use super::{Entries, KeyColumn, TablePlan, TableRole};
use crate::schema::{Bucket, ColumnId, ColumnType, KeyFunction, Scalar};
use crate::value::Value;
use crate::value::encode::{Malformed, RowKey, push_part, push_text_prefix, take_part};

const DAY_MS: i64 = 86_400_000;
const HOUR_MS: i64 = 3_600_000;

/// The key of a row from its cells; `None` if a key column is null or [`apply`] has no value for it.
pub fn row_key(table: &TablePlan, cells: &[Value]) -> Option<RowKey> {
    row_key_by(table, |_, column| cells.get(column.part.column.0 as usize))
}

/// The keys under which a row stands in a table: one, or none; of entries of a collection one for each of its elements.
pub fn row_keys(table: &TablePlan, cells: &[Value]) -> SmallVec<[RowKey; 1]> {
    let TableRole::Index { by: Entries::Elements, .. } = table.role else {
        return row_key(table, cells).into_iter().collect();
    };
    let at = table.partition.len() - 1;
    let held = cells.get(table.partition[at].part.column.0 as usize);
    let mut keys: SmallVec<[RowKey; 1]> = elements(held.unwrap_or(&Value::Null))
        .into_iter()
        .filter_map(|element| {
            row_key_by(table, |place, column| match place == at {
                true => Some(element),
                false => cells.get(column.part.column.0 as usize),
            })
        })
        .collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// What a collection is found by: its elements, of a map its keys.
pub fn elements(collection: &Value) -> Vec<&Value> {
    match collection {
        Value::List(items) | Value::Set(items) => items.iter().collect(),
        Value::Map(entries) => entries.iter().map(|(key, _)| key).collect(),
        _ => Vec::new(),
    }
}

/// As [`row_key`], from single cells: those of the key at least.
pub fn row_key_of(table: &TablePlan, cells: &[(ColumnId, Value)]) -> Option<RowKey> {
    row_key_by(table, |_, column| {
        cells.iter().find(|(at, _)| *at == column.part.column).map(|(_, cell)| cell)
    })
}

/// The partition, and the beginning of the clustering, of all rows whose key columns begin with these cells. `None` if
/// the partition is not among them.
pub fn range_of(table: &TablePlan, cells: &[(ColumnId, Value)]) -> Option<(Vec<u8>, Vec<u8>)> {
    let value = |column: &KeyColumn| {
        let (_, cell) = cells.iter().find(|(at, _)| *at == column.part.column)?;
        apply(column, cell)
    };
    let partition: Vec<Value> = table.partition.iter().map_while(value).collect();
    let clustering: Vec<Value> = table.clustering.iter().map_while(value).collect();
    Some((partition_bytes(table, &partition)?, clustering_prefix(table, &clustering)?))
}

/// The key of a row, from the column value of each of its parts: `value` is told the part's place, those of the
/// partition first. `None` as for [`row_key`].
pub fn row_key_by<'v>(
    table: &TablePlan,
    value: impl Fn(usize, &KeyColumn) -> Option<&'v Value>,
) -> Option<RowKey> {
    let mut bytes = Vec::with_capacity(64);
    let mut partition_len = 0;
    for (at, column) in table.partition.iter().chain(&table.clustering).enumerate() {
        let part = applied(column, value(at, column)?)?;
        push_part(&mut bytes, &part, column.order);
        if at + 1 == table.partition.len() {
            partition_len = bytes.len();
        }
    }
    RowKey::split(bytes, partition_len)
}

/// The stored value of a key part, from the value of its column: the value itself, its time bucket, or its hash.
/// `None` for null, for a time outside the calendar's years −9999 to 9999, and for a value not of the column's type.
pub fn apply(column: &KeyColumn, value: &Value) -> Option<Value> {
    applied(column, value).map(Cow::into_owned)
}

fn applied<'v>(column: &KeyColumn, value: &'v Value) -> Option<Cow<'v, Value>> {
    match column.part.via {
        KeyFunction::Itself => (!value.is_null()).then_some(Cow::Borrowed(value)),
        KeyFunction::Bucket(bucket) => bucket_of(bucket, value).map(Cow::Owned),
        KeyFunction::Hash(shards) => shard_of(shards, value, &column.source).map(Cow::Owned),
        KeyFunction::Prefix(letters) => prefix_of(letters, value).map(Cow::Owned),
    }
}

/// The encoded partition, from stored key values (see [`apply`]), one for each partition column; `None` if their
/// number differs or one is null.
pub fn partition_bytes(table: &TablePlan, values: &[Value]) -> Option<Vec<u8>> {
    (values.len() == table.partition.len()).then(|| encode(&table.partition, values))?
}

/// The encoded beginning of the clustering, from stored key values (see [`apply`]), as many as are known. It bounds
/// exactly the rows that begin with these values. `None` if there are more values than columns or one is null.
pub fn clustering_prefix(table: &TablePlan, values: &[Value]) -> Option<Vec<u8>> {
    (values.len() <= table.clustering.len()).then(|| encode(&table.clustering, values))?
}

/// As [`clustering_prefix`], with the beginning of a text for the next column: it bounds exactly the rows whose text
/// begins so. `None` also where that column holds no text.
pub fn clustering_text_prefix(table: &TablePlan, values: &[Value], text: &str) -> Option<Vec<u8>> {
    let column = table.clustering.get(values.len())?;
    let mut out = clustering_prefix(table, values)?;
    push_text_prefix(&mut out, text, column.order);
    Some(out)
}

fn encode(columns: &[KeyColumn], values: &[Value]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(64);
    for (column, value) in columns.iter().zip(values) {
        if value.is_null() {
            return None;
        }
        push_part(&mut out, value, column.order);
    }
    Some(out)
}

/// The stored values of a key: those of the partition, then those of the clustering.
///
/// # Errors
/// The bytes are not a key of this table.
pub fn key_values(table: &TablePlan, key: &RowKey) -> Result<Vec<Value>, Malformed> {
    let mut bytes = key.bytes();
    let mut values = Vec::with_capacity(table.partition.len() + table.clustering.len());
    for column in table.partition.iter().chain(&table.clustering) {
        values.push(take_part(&mut bytes, &column.ty, column.order)?);
    }
    no_rest(table, bytes)?;
    Ok(values)
}

/// The key whose bytes these are: finds where the partition ends.
///
/// # Errors
/// The bytes are not a key of this table.
pub fn split_key(table: &TablePlan, bytes: &[u8]) -> Result<RowKey, Malformed> {
    let mut rest = bytes;
    for column in &table.partition {
        take_part(&mut rest, &column.ty, column.order)?;
    }
    let partition_len = bytes.len() - rest.len();
    for column in &table.clustering {
        take_part(&mut rest, &column.ty, column.order)?;
    }
    no_rest(table, rest)?;
    Ok(RowKey::split(bytes, partition_len).expect("the partition is the front of the bytes"))
}

fn no_rest(table: &TablePlan, rest: &[u8]) -> Result<(), Malformed> {
    if rest.is_empty() {
        return Ok(());
    }
    Err(Malformed(format!("a key of table {:?} has {} bytes too many", table.name, rest.len())))
}

/// Start of the time bucket in UTC: a `Date`, for hours a `Timestamp`.
fn bucket_of(bucket: Bucket, value: &Value) -> Option<Value> {
    let (days, ms) = match value {
        Value::Timestamp(ms) => (ms.div_euclid(DAY_MS), *ms),
        Value::Date(days) => (i64::from(*days), i64::from(*days) * DAY_MS),
        _ => return None,
    };
    let first = match bucket {
        Bucket::Hour => return Some(Value::Timestamp(ms.checked_sub(ms.rem_euclid(HOUR_MS))?)),
        Bucket::Day => days,
        // The first of January 1970 was a Thursday.
        Bucket::Week => days - (days + 3).rem_euclid(7),
        Bucket::Month => days - i64::from(calendar(days)?.day() - 1),
        Bucket::Year => days - i64::from(calendar(days)?.day_of_year() - 1),
    };
    i32::try_from(first).ok().map(Value::Date)
}

fn calendar(days: i64) -> Option<jiff::civil::Date> {
    let hours = days.checked_mul(24).filter(|hours| hours.checked_mul(3600).is_some())?;
    date(1970, 1, 1).checked_add(SignedDuration::from_hours(hours)).ok()
}

/// The first letters of a text, whole where it has fewer.
fn prefix_of(letters: u32, value: &Value) -> Option<Value> {
    let Value::Text(text) = value else { return None };
    let end = text.char_indices().nth(letters as usize).map_or(text.len(), |(at, _)| at);
    Some(Value::text(&text[..end]))
}

fn shard_of(shards: u32, value: &Value, source: &ColumnType) -> Option<Value> {
    let hash = match value {
        Value::Text(text) => xxh64(text.as_bytes(), 0),
        Value::Bytes(bytes) => xxh64(bytes, 0),
        Value::Uuid(uuid) => xxh64(uuid.as_bytes(), 0),
        other => xxh64(&cql_bytes(other, source)?, 0),
    };
    let shard = hash.checked_rem(u64::from(shards))?;
    Some(Value::Int(i64::try_from(shard).expect("a shard is below 2^32")))
}

/// The bytes that Cassandra keeps for the value; `None` where its type is no scalar or another.
fn cql_bytes(value: &Value, source: &ColumnType) -> Option<Vec<u8>> {
    Some(match value {
        Value::Bool(value) => vec![u8::from(*value)],
        Value::Int(value) => match source {
            ColumnType::Scalar(Scalar::Byte) => i8::try_from(*value).ok()?.to_be_bytes().to_vec(),
            ColumnType::Scalar(Scalar::Short) => i16::try_from(*value).ok()?.to_be_bytes().to_vec(),
            ColumnType::Scalar(Scalar::Int) => i32::try_from(*value).ok()?.to_be_bytes().to_vec(),
            _ => value.to_be_bytes().to_vec(),
        },
        Value::Timestamp(value) | Value::Time(value) => value.to_be_bytes().to_vec(),
        #[expect(clippy::cast_possible_truncation, reason = "the column holds only what a float can")]
        Value::Float(value) if *source == ColumnType::Scalar(Scalar::Float32) => {
            (*value as f32).to_bits().to_be_bytes().to_vec()
        }
        Value::Float(value) => value.to_bits().to_be_bytes().to_vec(),
        Value::Date(days) => (*days ^ i32::MIN).to_be_bytes().to_vec(),
        Value::Decimal(decimal) if *source == ColumnType::Scalar(Scalar::VarInt) => {
            shortest(&decimal.mantissa.to_be_bytes()).to_vec()
        }
        Value::Decimal(decimal) => {
            let mut bytes = decimal.scale.to_be_bytes().to_vec();
            bytes.extend_from_slice(shortest(&decimal.mantissa.to_be_bytes()));
            bytes
        }
        Value::Text(text) => text.as_bytes().to_vec(),
        Value::Uuid(uuid) | Value::TimeUuid(uuid) => uuid.as_bytes().to_vec(),
        Value::Bytes(bytes) => bytes.to_vec(),
        Value::Ip(core::net::IpAddr::V4(ip)) => ip.octets().to_vec(),
        Value::Ip(core::net::IpAddr::V6(ip)) => ip.octets().to_vec(),
        Value::Null
        | Value::List(_)
        | Value::Set(_)
        | Value::Map(_)
        | Value::Record(_)
        | Value::Period(_) => return None,
    })
}

/// Two's complement without the leading bytes that only repeat the sign.
fn shortest(bytes: &[u8; 16]) -> &[u8] {
    let repeats = |pair: &&[u8]| {
        matches!(pair, [0, next] if next >> 7 == 0) || matches!(pair, [0xFF, next] if next >> 7 == 1)
    };
    &bytes[bytes.windows(2).take_while(repeats).count()..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::TableId;
    use crate::schema::{KeyPart, Order, TypeId};
    use crate::value::{Decimal, Uuid};

    fn scalar(scalar: Scalar) -> ColumnType {
        ColumnType::Scalar(scalar)
    }

    fn column(index: u32, via: KeyFunction, ty: Scalar, source: Scalar, order: Order) -> KeyColumn {
        let part = KeyPart { column: ColumnId(index), via, name: format!("c{index}") };
        KeyColumn { part, ty: scalar(ty), source: scalar(source), order }
    }

    fn table() -> TablePlan {
        let month = KeyFunction::Bucket(Bucket::Month);
        TablePlan {
            id: TableId(0),
            name: "orders_by_user".to_owned(),
            entity: TypeId(0),
            role: TableRole::Copy,
            heads: None,
            partition: vec![
                column(1, KeyFunction::Itself, Scalar::Id, Scalar::Id, Order::Asc),
                column(2, month, Scalar::LocalDate, Scalar::DateTime, Order::Asc),
            ],
            clustering: vec![
                column(2, KeyFunction::Itself, Scalar::DateTime, Scalar::DateTime, Order::Desc),
                column(0, KeyFunction::Itself, Scalar::Id, Scalar::Id, Order::Desc),
            ],
            appended: 0,
            columns: (0..3).map(ColumnId).collect(),
            complete: true,
            filter: None,
            expires: Vec::new(),
            buckets: None,
            rows: None,
            rate: None,
            options: Vec::new(),
        }
    }

    fn at(text: &str) -> Value {
        Value::Timestamp(text.parse::<jiff::Timestamp>().expect("a timestamp").as_millisecond())
    }

    fn day(text: &str) -> Value {
        let date: jiff::civil::Date = text.parse().expect("a date");
        let days = (date - jiff::civil::date(1970, 1, 1)).get_days();
        Value::Date(days)
    }

    #[test]
    fn a_key_holds_its_parts_in_the_tables_order() {
        let table = table();
        let cells = [Value::text("o1"), Value::text("u1"), at("2026-11-21T10:00:00Z")];
        let key = row_key(&table, &cells).expect("no part is null");
        let values = [Value::text("u1"), day("2026-11-01"), cells[2].clone(), Value::text("o1")];
        assert_eq!(key_values(&table, &key).as_deref(), Ok(&values[..]));
        assert_eq!(partition_bytes(&table, &values[..2]).as_deref(), Some(key.partition()));
        assert_eq!(clustering_prefix(&table, &values[2..]).as_deref(), Some(key.clustering()));
        let prefix = clustering_prefix(&table, &values[2..3]).expect("one of two is given");
        assert!(key.clustering().starts_with(&prefix));
        let single = [(ColumnId(2), cells[2].clone()), (ColumnId(0), cells[0].clone())];
        assert_eq!(row_key_of(&table, &single), None);
        let single = [single.as_slice(), &[(ColumnId(1), cells[1].clone())]].concat();
        assert_eq!(row_key_of(&table, &single).as_ref(), Some(&key));
        assert_eq!(split_key(&table, key.bytes()), Ok(key));
    }

    #[test]
    fn a_key_column_that_is_null_makes_no_key() {
        let table = table();
        let cells = [Value::text("o1"), Value::text("u1"), Value::Null];
        assert_eq!(row_key(&table, &cells), None);
        assert_eq!(row_key(&table, &cells[..2]), None);
        assert_eq!(partition_bytes(&table, &[Value::text("u1"), Value::Null]), None);
        assert_eq!(partition_bytes(&table, &[Value::text("u1")]), None);
        assert_eq!(clustering_prefix(&table, &vec![Value::Int(1); 3]), None);
    }

    #[test]
    fn bytes_of_another_table_are_refused() {
        let table = table();
        let cells = [Value::text("o1"), Value::text("u1"), at("2026-11-21T10:00:00Z")];
        let mut bytes = row_key(&table, &cells).expect("no part is null").bytes().to_vec();
        bytes.push(1);
        let error = split_key(&table, &bytes).expect_err("one byte too many").to_string();
        assert_eq!(error, "a key of table \"orders_by_user\" has 1 bytes too many");
    }

    #[test]
    fn time_buckets_are_pinned() {
        let noon = "2026-11-21T12:34:56.789Z";
        let fixtures = [
            (Bucket::Year, noon, day("2026-01-01")),
            (Bucket::Month, noon, day("2026-11-01")),
            (Bucket::Week, noon, day("2026-11-16")),
            (Bucket::Week, "2026-11-16T00:00:00Z", day("2026-11-16")),
            (Bucket::Week, "2026-11-15T23:59:59.999Z", day("2026-11-09")),
            (Bucket::Day, noon, day("2026-11-21")),
            (Bucket::Hour, noon, at("2026-11-21T12:00:00Z")),
            (Bucket::Year, "1969-12-31T23:59:59.999Z", day("1969-01-01")),
            (Bucket::Month, "1969-12-31T23:59:59.999Z", day("1969-12-01")),
            (Bucket::Week, "1969-12-31T23:59:59.999Z", day("1969-12-29")),
            (Bucket::Day, "1969-12-31T23:59:59.999Z", Value::Date(-1)),
            (Bucket::Hour, "1969-12-31T23:59:59.999Z", Value::Timestamp(-HOUR_MS)),
        ];
        for (bucket, text, expected) in fixtures {
            assert_eq!(bucket_of(bucket, &at(text)), Some(expected), "{bucket:?} of {text}");
        }
        assert_eq!(bucket_of(Bucket::Month, &day("2024-02-29")), Some(day("2024-02-01")));
    }

    #[test]
    fn times_outside_the_calendar_have_no_bucket() {
        for bucket in [Bucket::Year, Bucket::Month, Bucket::Week, Bucket::Day] {
            assert_eq!(bucket_of(bucket, &Value::Timestamp(i64::MAX)), None, "{bucket:?}");
            assert_eq!(bucket_of(bucket, &Value::Timestamp(i64::MIN)), None, "{bucket:?}");
        }
        assert_eq!(bucket_of(Bucket::Hour, &Value::Timestamp(i64::MIN)), None);
        assert_eq!(bucket_of(Bucket::Day, &Value::text("x")), None);
    }

    #[test]
    fn prefixes_are_whole_letters() {
        for (letters, text, prefix) in [
            (1, "Zürich", "Z"),
            (2, "Zürich", "Zü"),
            (2, "東京都", "東京"),
            (2, "😀😀😀", "😀😀"),
            (3, "ab", "ab"),
            (3, "abc", "abc"),
            (1, "", ""),
        ] {
            assert_eq!(
                prefix_of(letters, &Value::text(text)),
                Some(Value::text(prefix)),
                "{letters} of {text}"
            );
        }
        assert_eq!(prefix_of(1, &Value::Int(1)), None);
        assert_eq!(prefix_of(1, &Value::Null), None);
    }

    #[test]
    fn shards_are_pinned() {
        let fixtures = [
            (Value::text("u1"), Scalar::Id),
            (Value::text(""), Scalar::String),
            (Value::Int(7), Scalar::Int),
            (Value::Int(7), Scalar::Long),
            (Value::Timestamp(7), Scalar::DateTime),
            (Value::Date(0), Scalar::LocalDate),
            (Value::Uuid(Uuid::from_u128(7)), Scalar::Uuid),
            (Value::Decimal(Decimal { mantissa: 1250, scale: 2 }), Scalar::Decimal),
            (Value::Bool(true), Scalar::Boolean),
        ];
        let shards: Vec<Option<Value>> =
            fixtures.iter().map(|(value, ty)| shard_of(1_000_000, value, &scalar(*ty))).collect();
        let pinned = [913_663, 376_921, 829_975, 951_567, 951_567, 25_765, 8_905, 936_669, 718_960];
        assert_eq!(shards, pinned.map(|shard| Some(Value::Int(shard))));
    }

    #[test]
    fn cql_bytes_are_those_of_the_column_type() {
        let bytes = |value, ty| cql_bytes(&value, &scalar(ty));
        assert_eq!(bytes(Value::Int(7), Scalar::Int), Some(vec![0, 0, 0, 7]));
        assert_eq!(bytes(Value::Int(7), Scalar::Long), Some(vec![0, 0, 0, 0, 0, 0, 0, 7]));
        assert_eq!(bytes(Value::Int(i64::MAX), Scalar::Int), None);
        assert_eq!(bytes(Value::Date(0), Scalar::LocalDate), Some(vec![0x80, 0, 0, 0]));
        let decimal = |mantissa| Value::Decimal(Decimal { mantissa, scale: 2 });
        assert_eq!(bytes(decimal(1250), Scalar::Decimal), Some(vec![0, 0, 0, 2, 4, 0xE2]));
        assert_eq!(bytes(decimal(128), Scalar::Decimal), Some(vec![0, 0, 0, 2, 0, 128]));
        assert_eq!(bytes(decimal(-128), Scalar::Decimal), Some(vec![0, 0, 0, 2, 128]));
        assert_eq!(bytes(decimal(0), Scalar::Decimal), Some(vec![0, 0, 0, 2, 0]));
        assert_eq!(bytes(Value::List(vec![]), Scalar::Int), None);
        assert_eq!(shard_of(0, &Value::Int(1), &scalar(Scalar::Int)), None);
    }
}
