//! Values of every type of a column, alone and inside collections, value types and vectors, through every store.

use std::sync::Arc;

use fastrand::Rng;
use kinora::diagnostic::Sources;
use kinora::plan::key::row_key;
use kinora::plan::{Plan, TableId, plan};
use kinora::schema::{self, Column, ColumnId, ColumnType, ReadModel, Scalar};
use kinora::store::embedded::{Durability, EmbeddedStore};
use kinora::store::memory::MemoryStore;
use kinora::store::{Batch, Columns, Mutation, Store};
use kinora::value::{Decimal, Period, Uuid, Value};

const SCHEMA: &str = r#"
scalar Byte scalar Short scalar Long scalar BigInt scalar Float32 scalar Decimal scalar DateTime scalar LocalDate
scalar LocalTime scalar Duration scalar UUID scalar TimeUUID scalar Base64String scalar IP scalar IPv4 scalar IPv6 scalar JSON
type Query { thing(id: ID!): Thing @read }
enum Colour { RED GREEN }
type Part @udt { name: String! amount: Decimal at: DateTime inner: Inner tags: [String!] }
type Inner @udt { day: LocalDate number: Int }
type Thing @key(fields: "id") @table(name: "things", partition: "id") {
  id: ID! boolean: Boolean int: Int float: Float string: String other: ID byte: Byte short: Short long: Long big: BigInt
  varint: BigInt @column(type: "varint") ascii: String @column(type: "ascii") float32: Float32 decimal: Decimal
  dateTime: DateTime localDate: LocalDate localTime: LocalTime duration: Duration uuid: UUID timeUuid: TimeUUID
  bytes: Base64String ip: IP ipv4: IPv4 ipv6: IPv6 json: JSON colour: Colour part: Part inner: Inner
  list: [Decimal!] set: [UUID!] @column(as: SET) map: [Part!] @column(as: MAP, key: "name") parts: [Part!]
  vector: [Float!] @column(type: "vector<float, 3>")
}
"#;

const THINGS: TableId = TableId(0);

pub fn planned() -> (Arc<ReadModel>, Arc<Plan>) {
    let mut sources = Sources::default();
    let file = sources.add("schema/things.graphql", SCHEMA);
    let (model, faults) = schema::load(&[file], &sources);
    let model = model.unwrap_or_else(|| panic!("{}", kinora::diagnostic::render(&faults, &sources, false)));
    let (plan, faults) = plan(&model, &sources);
    let plan = plan.unwrap_or_else(|| panic!("{}", kinora::diagnostic::render(&faults, &sources, false)));
    (Arc::new(model), Arc::new(plan))
}

fn scalar(scalar: Scalar, rng: &mut Rng) -> Value {
    let long = rng.i64(..) >> rng.u32(0..64);
    let mantissa = (rng.i128(..) >> rng.u32(0..128)) / 10;
    match scalar {
        Scalar::Boolean => Value::Bool(rng.bool()),
        Scalar::Byte => Value::Int(rng.i8(..).into()),
        Scalar::Short => Value::Int(rng.i16(..).into()),
        Scalar::Int => Value::Int(rng.i32(..).into()),
        Scalar::Long | Scalar::BigInt => Value::Int(long),
        Scalar::VarInt => Value::Decimal(Decimal { mantissa, scale: 0 }),
        Scalar::Decimal => Value::Decimal(Decimal { mantissa, scale: rng.u32(0..40) }),
        Scalar::Float => Value::Float([0.0, -0.0, f64::MAX, f64::MIN_POSITIVE, rng.f64()][rng.usize(0..5)]),
        Scalar::Float32 => Value::Float([0.0, -0.0, f32::MAX, f32::MIN, rng.f32()][rng.usize(0..5)].into()),
        Scalar::DateTime => Value::Timestamp(long),
        Scalar::LocalDate => Value::Date(rng.i32(..)),
        Scalar::LocalTime => Value::Time(rng.i64(0..86_400_000_000_000)),
        // All parts have one sign.
        Scalar::Duration => {
            let sign = if rng.bool() { 1 } else { -1 };
            let (months, days) = (rng.i32(0..=i32::MAX), rng.i32(0..=i32::MAX));
            Value::Period(Period {
                months: sign * months,
                days: sign * days,
                nanos: i64::from(sign) * rng.i64(0..=i64::MAX),
            })
        }
        Scalar::Uuid => Value::Uuid(Uuid::from_u128(rng.u128(..))),
        Scalar::TimeUuid => Value::TimeUuid(Uuid::from_u128(rng.u128(..) & !(0xF << 76) | 1 << 76)),
        Scalar::Bytes => Value::Bytes((0..rng.usize(0..9)).map(|_| rng.u8(..)).collect()),
        Scalar::Ipv4 => Value::Ip(rng.u32(..).to_be_bytes().into()),
        Scalar::Ip | Scalar::Ipv6 => Value::Ip((rng.u128(..) | 1 << 127).to_be_bytes().into()),
        Scalar::Json => Value::text(r#"{"a":[1,null]}"#),
        Scalar::Ascii => {
            Value::text((0..rng.usize(0..5)).map(|_| char::from(rng.u8(0..128))).collect::<String>())
        }
        Scalar::String | Scalar::Id => {
            Value::text((0..rng.usize(0..5)).map(|_| rng.char(..)).collect::<String>())
        }
    }
}

fn column(model: &ReadModel, column: &Column, rng: &mut Rng) -> Value {
    match column.vector {
        Some(vector) => Value::List((0..vector.dimensions).map(|_| Value::Float(rng.f32().into())).collect()),
        None => of(model, &column.ty, rng),
    }
}

fn of(model: &ReadModel, ty: &ColumnType, rng: &mut Rng) -> Value {
    let count = rng.usize(0..4);
    match ty {
        ColumnType::Scalar(of) => scalar(*of, rng),
        ColumnType::Enum(id) => {
            Value::text(rng.choice(&model.enumeration(*id).values).expect("it has some").as_str())
        }
        ColumnType::Record(id) => {
            let parts = &model.ty(*id).columns;
            Value::Record(
                parts
                    .iter()
                    .map(|part| if rng.u8(..) < 50 { Value::Null } else { column(model, part, rng) })
                    .collect(),
            )
        }
        ColumnType::List(item) => Value::List((0..count).map(|_| of(model, item, rng)).collect()),
        ColumnType::Set(item) => {
            let mut items: Vec<Value> = (0..count).map(|_| of(model, item, rng)).collect();
            items.sort();
            items.dedup();
            Value::Set(items)
        }
        ColumnType::Map { key, record } => {
            let key = &model.ty(*record).column(*key).ty;
            let mut entries: Vec<(Value, Value)> = (0..count)
                .map(|_| (of(model, key, rng), of(model, &ColumnType::Record(*record), rng)))
                .collect();
            entries.sort();
            entries.dedup_by(|a, b| a.0 == b.0);
            Value::Map(entries)
        }
    }
}

async fn values_of_every_type_come_back(store: impl Store) {
    let (model, plan) = planned();
    let table = plan.table(THINGS);
    let columns = &model.ty(table.entity).columns;
    let tables = store.open(1, &plan).await.expect("opens");
    for seed in super::seeds(60) {
        let mut rng = Rng::with_seed(seed);
        let mut cells: Vec<Value> = columns
            .iter()
            .map(|found| if rng.u8(..) < 40 { Value::Null } else { column(&model, found, &mut rng) })
            .collect();
        cells[0] = Value::text(format!("t{}", seed % 7));
        let key = row_key(table, &cells).expect("the key is not null");
        let (cells, offset) = (Arc::new(cells), seed + 1);
        let write = match rng.bool() {
            true => Mutation::Replace {
                table: THINGS,
                key: key.clone(),
                cells: Arc::clone(&cells).into(),
                offset,
                base: 0,
            },
            // Every cell, null ones too, so that nothing is left of what stood there.
            false => {
                let cells = (0..).map(ColumnId).zip(cells.iter().cloned()).collect();
                Mutation::Assign { table: THINGS, key: key.clone(), cells, offset, base: 0 }
            }
        };
        tables.commit(Batch { base: vec![write], ..Batch::default() }).await.expect("commits");
        let mut found = tables.get(THINGS, &[key], Columns::All).await.expect("reads");
        let found = found.remove(0).expect("is there").cells;
        for (column, (found, expected)) in columns.iter().zip(found.iter().zip(cells.iter())) {
            assert_eq!(found, expected, "KINORA_SEED_BASE={seed}: {} {:?}", column.name, column.ty);
        }
    }
}

#[tokio::test]
async fn values_of_every_type_come_back_in_memory() {
    values_of_every_type_come_back(MemoryStore::new()).await;
}

#[tokio::test]
async fn values_of_every_type_come_back_from_disk() {
    let directory = tempfile::tempdir().expect("a directory");
    values_of_every_type_come_back(EmbeddedStore::open(directory.path(), Durability::Buffer).expect("opens"))
        .await;
}

#[cfg(feature = "cassandra")]
#[tokio::test]
async fn values_of_every_type_come_back_from_cassandra() {
    if let Some(store) = super::cluster::cluster(planned().0).await {
        values_of_every_type_come_back(store).await;
    }
}
