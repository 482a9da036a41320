//! What every store promises of its tables: stamps, order, bounds, positions, progress, parked keys, generations.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use kinora::event::{Start, TopicPartition};
use kinora::plan::key::{clustering_prefix, key_values, partition_bytes, row_key};
use kinora::plan::{KeyColumn, Plan, TableId, TablePlan, TableRole};
use kinora::schema::{ColumnId, ColumnType, KeyFunction, KeyPart, Order, Scalar, TypeId};
use kinora::store::embedded::{Durability, EmbeddedStore};
use kinora::store::memory::{Fate, MemoryStore};
use kinora::store::{
    Batch, Began, Bound, Columns, Come, Generation, Internal, Manifest, Mutation, ParkChange, ParkedEntry,
    ParkedKey, ProgressMark, QueuedEvent, Relayed, Scan, Store, StoreError, StoredRow, Tables, all_parked,
};
use kinora::value::encode::RowKey;
use kinora::value::{Decimal, Uuid, Value};

const BASE: TableId = TableId(0);
const COPY: TableId = TableId(1);
/// The first of one table for each type that a key can have.
const TYPED: u32 = 2;

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

fn column(index: u32, ty: Scalar, order: Order) -> KeyColumn {
    let part = KeyPart { column: ColumnId(index), via: KeyFunction::Itself, name: format!("c{index}") };
    KeyColumn { part, ty: ColumnType::Scalar(ty), source: ColumnType::Scalar(ty), order }
}

fn table(
    id: u32,
    entity: u32,
    role: TableRole,
    partition: Vec<KeyColumn>,
    clustering: Vec<KeyColumn>,
    columns: u32,
) -> Arc<TablePlan> {
    Arc::new(TablePlan {
        id: TableId(id),
        name: format!("table_{id}"),
        entity: TypeId(entity),
        role,
        heads: None,
        partition,
        clustering,
        appended: 0,
        columns: (0..columns).map(ColumnId).collect(),
        complete: true,
        filter: None,
        expires: Vec::new(),
        buckets: None,
        rows: None,
        rate: None,
        options: Vec::new(),
    })
}

/// Entity 0: `id`, `user`, `at`, `note`, with a copy by user, newest first, without the note.
fn plan() -> Arc<Plan> {
    plan_of(base_and_copy())
}

fn plan_of(tables: Vec<Arc<TablePlan>>) -> Arc<Plan> {
    Arc::new(Plan { tables, entities: Vec::new(), reads: Vec::new() })
}

fn id() -> KeyColumn {
    column(0, Scalar::Id, Order::Asc)
}

fn base_and_copy() -> Vec<Arc<TablePlan>> {
    let clustering = vec![column(2, Scalar::DateTime, Order::Desc), id()];
    vec![
        table(0, 0, TableRole::Base, vec![id()], vec![], 4),
        table(1, 0, TableRole::Copy, vec![column(1, Scalar::Id, Order::Asc)], clustering, 3),
    ]
}

/// One table for each type and direction of a clustering column, besides.
fn plan_of_types() -> Arc<Plan> {
    let mut tables = base_and_copy();
    for (entity, scalar) in (1..).zip(SCALARS) {
        for order in [Order::Asc, Order::Desc] {
            let number = u32::try_from(tables.len()).expect("few tables");
            let clustering = vec![column(1, scalar, order), column(2, Scalar::Long, Order::Asc)];
            tables.push(table(number, entity, TableRole::Base, vec![id()], clustering, 3));
        }
    }
    plan_of(tables)
}

/// The entity of a header: a text beside the key.
const HEADER: u32 = SCALARS.len() as u32 + 1;

/// A table of addresses, and the header over its partitions.
fn plan_of_header() -> Arc<Plan> {
    let mut tables = base_and_copy();
    let entity = u32::try_from(SCALARS.len()).expect("few types");
    let clustering = vec![column(1, Scalar::Ipv6, Order::Desc), column(2, Scalar::Long, Order::Asc)];
    let rows = table(2, entity, TableRole::Base, vec![id()], clustering, 3);
    let mut header = table(3, HEADER, TableRole::Base, vec![id()], vec![], 2);
    let joined = Arc::get_mut(&mut header).expect("nobody else has it");
    (joined.heads, joined.name) = (Some(rows.id), rows.name.clone());
    tables.extend([rows, header]);
    plan_of(tables)
}

/// The read model of all these tables.
#[cfg(feature = "cassandra")]
fn model() -> Arc<kinora::schema::ReadModel> {
    let mut entities = vec![vec![Scalar::Id, Scalar::Id, Scalar::DateTime, Scalar::String]];
    entities.extend(SCALARS.map(|scalar| vec![Scalar::Id, scalar, Scalar::Long]));
    entities.push(vec![Scalar::Id, Scalar::String]);
    Arc::new(super::cluster::model(entities))
}

fn cells(id: &str, user: &str, at: i64, note: Option<&str>) -> Vec<Value> {
    vec![Value::text(id), Value::text(user), Value::Timestamp(at), note.map_or(Value::Null, Value::text)]
}

fn key(plan: &Plan, table: TableId, cells: &[Value]) -> RowKey {
    row_key(plan.table(table), cells).expect("no part is null")
}

fn replace(plan: &Plan, table: TableId, cells: &[Value], offset: u64) -> Mutation {
    let key = key(plan, table, cells);
    Mutation::Replace { table, key, cells: Arc::new(cells.to_vec()).into(), offset, base: 1_000 }
}

fn base(mutations: Vec<Mutation>) -> Batch {
    Batch { base: mutations, ..Batch::default() }
}

fn derived(mutations: Vec<Mutation>) -> Batch {
    Batch { derived: mutations, ..Batch::default() }
}

async fn one(tables: &dyn Tables, table: TableId, key: &RowKey) -> Option<StoredRow> {
    let mut rows = tables.get(table, std::slice::from_ref(key), Columns::All).await.expect("reads");
    assert_eq!(rows.len(), 1);
    rows.remove(0)
}

async fn open(store: &dyn Store, plan: &Arc<Plan>) -> Arc<dyn Tables> {
    store.open(1, plan).await.expect("opens")
}

fn scan(table: TableId, partition: &[u8]) -> Scan<'_> {
    let (from, to) = (Bound::Unbounded, Bound::Unbounded);
    Scan { table, partition, from, to, reverse: false, limit: 100, columns: Columns::All, at_ms: None }
}

async fn a_row_is_what_was_last_written(store: impl Store) {
    let plan = plan();
    let tables = open(&store, &plan).await;
    let (old, new) = (cells("o1", "u1", 1, Some("x")), cells("o1", "u2", 2, None));
    let key = key(&plan, BASE, &old);
    assert!(one(&*tables, BASE, &key).await.is_none());
    tables.commit(base(vec![replace(&plan, BASE, &old, 3)])).await.expect("commits");
    tables.commit(base(vec![replace(&plan, BASE, &new, 5)])).await.expect("commits");
    let row = one(&*tables, BASE, &key).await.expect("is there");
    assert_eq!((row.key, row.offset, row.live, row.cells), (key, 5, true, new));
}

async fn an_older_or_repeated_write_of_a_base_row_changes_nothing(store: impl Store) {
    let plan = plan();
    let tables = open(&store, &plan).await;
    let (old, new) = (cells("o1", "u1", 1, Some("x")), cells("o1", "u2", 2, None));
    let key = key(&plan, BASE, &old);
    let bury = |offset| Mutation::Bury { table: BASE, key: key.clone(), offset, base: 1_000 };
    tables.commit(base(vec![replace(&plan, BASE, &new, 5)])).await.expect("commits");
    for late in [replace(&plan, BASE, &old, 3), replace(&plan, BASE, &new, 5), bury(4)] {
        tables.commit(base(vec![late])).await.expect("commits");
        let row = one(&*tables, BASE, &key).await.expect("is there");
        assert_eq!((row.offset, row.live, &row.cells), (5, true, &new));
    }
    tables.commit(base(vec![bury(6)])).await.expect("commits");
    tables.commit(base(vec![replace(&plan, BASE, &new, 5)])).await.expect("commits");
    let row = one(&*tables, BASE, &key).await.expect("remembers its position");
    assert_eq!((row.offset, row.live), (6, false));
}

async fn a_batch_that_does_not_begin_where_progress_stands_takes_no_row_back(store: impl Store) {
    let plan = plan();
    let tables = open(&store, &plan).await;
    let (old, new) = (cells("o1", "u1", 1, Some("x")), cells("o1", "u2", 2, None));
    let key = key(&plan, BASE, &old);
    let batch = |cells: &[Value], offset, begins_at, next| Batch {
        progress: vec![mark(0, next)],
        begins_at: Some(begins_at),
        ..base(vec![replace(&plan, BASE, cells, offset)])
    };
    for (cells, offset, begins_at, next) in [(&old, 2, 0, 3), (&new, 5, 3, 8)] {
        tables.commit(batch(cells, offset, begins_at, next)).await.expect("commits");
        assert_eq!(one(&*tables, BASE, &key).await.expect("is there").offset, offset);
    }
    // One that was sent again, one of other bounds, and one that says what cannot be.
    for (begins_at, next) in [(0, 3), (1, 6), (9, 10)] {
        tables.commit(batch(&old, 2, begins_at, next)).await.expect("commits");
        let row = one(&*tables, BASE, &key).await.expect("is there");
        assert_eq!((row.offset, &row.cells), (5, &new), "from {begins_at} to {next}");
    }
}

async fn a_buried_row_keeps_its_position_and_is_in_no_scan(store: impl Store) {
    let plan = plan();
    let tables = open(&store, &plan).await;
    let row = cells("o1", "u1", 1, Some("x"));
    let key = key(&plan, BASE, &row);
    tables.commit(base(vec![replace(&plan, BASE, &row, 0)])).await.expect("commits");
    let bury = Mutation::Bury { table: BASE, key: key.clone(), offset: 7, base: 1_000 };
    tables.commit(base(vec![bury])).await.expect("commits");
    let buried = one(&*tables, BASE, &key).await.expect("remembers its position");
    assert_eq!((buried.offset, buried.live), (7, false));
    assert!(buried.cells.iter().all(Value::is_null));
    assert!(tables.scan(scan(BASE, key.partition())).await.expect("reads").is_empty());
    assert!(tables.all(BASE, None, 10).await.expect("reads").is_empty());
    tables.commit(base(vec![replace(&plan, BASE, &row, 8)])).await.expect("commits");
    assert_eq!(one(&*tables, BASE, &key).await.map(|row| (row.offset, row.live)), Some((8, true)));
}

async fn a_header_and_the_rows_of_its_partition_come_and_go_apart(store: impl Store) {
    let plan = plan_of_header();
    let tables = open(&store, &plan).await;
    let header = plan.tables.last().expect("it is the last").id;
    let rows = plan.table(header).heads.expect("it heads a table");
    let (head, row) = (
        [Value::text("p"), Value::text("x")],
        [Value::text("p"), Value::Ip("::1".parse().expect("an address")), Value::Int(1)],
    );
    let partition = key(&plan, header, &head);
    let there = async || {
        let rows = tables.scan(scan(rows, partition.partition())).await.expect("reads").len();
        (one(&*tables, header, &partition).await.is_some_and(|header| header.live), rows)
    };
    let bury = |table, key, offset| Mutation::Bury { table, key, offset, base: 1_000 };
    tables.commit(base(vec![replace(&plan, header, &head, 1)])).await.expect("commits");
    assert_eq!(there().await, (true, 0));
    tables.commit(base(vec![replace(&plan, rows, &row, 2)])).await.expect("commits");
    assert_eq!(there().await, (true, 1));
    tables.commit(base(vec![bury(header, partition.clone(), 3)])).await.expect("commits");
    assert_eq!(there().await, (false, 1), "the row stays");
    let of_row = key(&plan, rows, &row);
    let both = vec![replace(&plan, header, &head, 4), bury(rows, of_row, 4)];
    tables.commit(base(both)).await.expect("commits");
    assert_eq!(there().await, (true, 0), "the header stays");
}

async fn a_copy_that_was_left_is_gone(store: impl Store) {
    let plan = plan();
    let tables = open(&store, &plan).await;
    let (old, new) = (cells("o1", "u1", 1, Some("x")), cells("o1", "u2", 1, None));
    tables.commit(derived(vec![replace(&plan, COPY, &old, 1)])).await.expect("commits");
    let left = Mutation::Delete { table: COPY, key: key(&plan, COPY, &old), offset: 2, base: 1_000 };
    let batch = Batch { left: vec![left], ..derived(vec![replace(&plan, COPY, &new, 2)]) };
    tables.commit(batch).await.expect("commits");
    assert!(one(&*tables, COPY, &key(&plan, COPY, &old)).await.is_none());
    let copy = one(&*tables, COPY, &key(&plan, COPY, &new)).await.expect("is there");
    assert_eq!(copy.cells[..3], new[..3]);
}

async fn of_several_writes_of_one_key_in_a_batch_the_stamps_decide(store: impl Store) {
    let plan = plan();
    let tables = open(&store, &plan).await;
    let (first, second) = (cells("o1", "u1", 1, Some("a")), cells("o1", "u1", 1, Some("b")));
    let left = |offset| Mutation::Delete { table: COPY, key: key(&plan, COPY, &first), offset, base: 1_000 };
    // Left at 3, entered again at 5: there. Then entered at 6 and left at 7: gone.
    let batch = Batch { left: vec![left(3)], ..derived(vec![replace(&plan, COPY, &first, 5)]) };
    tables.commit(batch).await.expect("commits");
    assert!(one(&*tables, COPY, &key(&plan, COPY, &first)).await.is_some());
    let batch = Batch { left: vec![left(7)], ..derived(vec![replace(&plan, COPY, &first, 6)]) };
    tables.commit(batch).await.expect("commits");
    assert!(one(&*tables, COPY, &key(&plan, COPY, &first)).await.is_none());
    let both = vec![replace(&plan, BASE, &first, 5), replace(&plan, BASE, &second, 6)];
    tables.commit(base(both)).await.expect("commits");
    let row = one(&*tables, BASE, &key(&plan, BASE, &first)).await.expect("is there");
    assert_eq!((row.offset, row.cells), (6, second));
}

async fn assigning_changes_only_the_assigned_cells(store: impl Store) {
    let plan = plan();
    let tables = open(&store, &plan).await;
    let key = key(&plan, BASE, &cells("o1", "u1", 1, None));
    let assign = |offset, cells: &[(u32, Value)]| Mutation::Assign {
        table: BASE,
        key: key.clone(),
        cells: cells.iter().map(|(column, value)| (ColumnId(*column), value.clone())).collect(),
        offset,
        base: 1_000,
    };
    tables.commit(base(vec![assign(1, &[(1, Value::text("u1"))])])).await.expect("commits");
    let both = vec![
        assign(2, &[(3, Value::text("note"))]),
        assign(3, &[(1, Value::Null), (2, Value::Timestamp(4))]),
    ];
    tables.commit(base(both)).await.expect("commits");
    let row = one(&*tables, BASE, &key).await.expect("is there");
    assert_eq!((row.offset, row.live), (3, true));
    let expected = vec![Value::text("o1"), Value::Null, Value::Timestamp(4), Value::text("note")];
    assert_eq!(row.cells, expected);
}

async fn a_pruned_read_answers_only_what_was_asked_for(store: impl Store) {
    let plan = plan();
    let tables = open(&store, &plan).await;
    let row = cells("o1", "u1", 1, Some("x"));
    tables.commit(base(vec![replace(&plan, BASE, &row, 1)])).await.expect("commits");
    let keys = [key(&plan, BASE, &row), key(&plan, BASE, &cells("o2", "u1", 1, None))];
    let only = [ColumnId(1), ColumnId(3)];
    let rows = tables.get(BASE, &keys, Columns::Only(&only)).await.expect("reads");
    assert!(rows[1].is_none());
    let found = rows[0].as_ref().expect("is there");
    assert_eq!(found.cells, vec![Value::Null, Value::text("u1"), Value::Null, Value::text("x")]);
}

async fn a_partition_is_read_in_its_order_within_bounds_and_limit(store: impl Store) {
    let plan = plan();
    let tables = open(&store, &plan).await;
    let rows: Vec<Vec<Value>> =
        (0..10).map(|at| cells(&format!("o{}", at % 3), "u1", at / 2, None)).collect();
    let mut batch: Vec<Mutation> = rows.iter().map(|row| replace(&plan, COPY, row, 1)).collect();
    batch.push(replace(&plan, COPY, &cells("o1", "u2", 3, None), 1));
    batch.push(replace(&plan, COPY, &cells("o1", "u", 3, None), 1));
    tables.commit(derived(batch)).await.expect("commits");
    let copy = plan.table(COPY);
    let partition = partition_bytes(copy, &[Value::text("u1")]).expect("no part is null");
    let bound = |at| clustering_prefix(copy, &[Value::Timestamp(at)]).expect("no part is null");
    let mut sorted: Vec<(i64, String)> = (0..10).map(|at| (-(at / 2), format!("o{}", at % 3))).collect();
    sorted.sort();
    let (two, three) = (bound(2), bound(3));
    let cases = [
        (Bound::Unbounded, Bound::Unbounded, -9..=9),
        (Bound::Included(&three), Bound::Included(&two), -3..=-2),
        (Bound::Excluded(&three), Bound::Unbounded, -2..=9),
        (Bound::Unbounded, Bound::Excluded(&two), -9..=-3),
        (Bound::Excluded(&three), Bound::Excluded(&two), 5..=6),
        (Bound::Included(&two), Bound::Included(&three), 5..=6),
    ];
    for (from, to, newest) in cases {
        for reverse in [false, true] {
            for limit in [0, 1, 3, 100] {
                let scan = Scan { from, to, reverse, limit, ..scan(COPY, &partition) };
                let found = tables.scan(scan.clone()).await.expect("reads");
                let mut expected: Vec<(i64, String)> =
                    sorted.iter().filter(|(at, _)| newest.contains(at)).cloned().collect();
                if reverse {
                    expected.reverse();
                }
                expected.truncate(limit);
                let shown: Vec<(i64, String)> = found
                    .iter()
                    .map(|row| match &row.cells[..] {
                        [Value::Text(id), _, Value::Timestamp(at), Value::Null] => (-at, id.to_string()),
                        other => panic!("{other:?}"),
                    })
                    .collect();
                assert_eq!(shown, expected, "{scan:?}");
            }
        }
    }
}

fn random(scalar: Scalar, rng: &mut fastrand::Rng) -> Value {
    let long = if rng.bool() { rng.i64(-3..3) } else { rng.i64(..) };
    match scalar {
        Scalar::Boolean => Value::Bool(rng.bool()),
        Scalar::Byte => Value::Int((long as i8).into()),
        Scalar::Short => Value::Int((long as i16).into()),
        Scalar::Int => Value::Int((long as i32).into()),
        Scalar::Long | Scalar::BigInt => Value::Int(long),
        Scalar::DateTime => Value::Timestamp(long),
        Scalar::LocalTime => Value::Time(long.rem_euclid(86_400_000_000_000)),
        Scalar::LocalDate => Value::Date(long as i32),
        Scalar::Float => Value::Float([0.0, -0.0, f64::MAX, -rng.f64(), rng.f64()][rng.usize(0..5)]),
        Scalar::Float32 => Value::Float([0.0, -0.0, f32::MAX, -rng.f32(), rng.f32()][rng.usize(0..5)].into()),
        // Two of one number and several scales are one clustering key to Cassandra.
        Scalar::Decimal => {
            let mantissa = i128::from(long) * 10 + [1, 3, 7, 9][rng.usize(..4)];
            Value::Decimal(Decimal { mantissa, scale: rng.u32(0..4) })
        }
        Scalar::VarInt => Value::Decimal(Decimal { mantissa: long.into(), scale: 0 }),
        // Cassandra sorts those of several versions by version first.
        Scalar::Uuid => Value::Uuid(Uuid::from_u128(rng.u128(..) & !(0xF << 76) | 4 << 76)),
        Scalar::TimeUuid => Value::TimeUuid(Uuid::from_u128(rng.u128(..) & !(0xE << 76) | 1 << 76)),
        Scalar::Ip | Scalar::Ipv4 | Scalar::Ipv6 => Value::Ip(match rng.bool() {
            true => [rng.u8(0..2), 0, rng.u8(..), 255].into(),
            false => [0, 0, rng.u16(0..2), 0, 0, 1, rng.u16(..), 9].into(),
        }),
        Scalar::Duration | Scalar::Json => unreachable!("never part of a key"),
        Scalar::Ascii => Value::text(
            (0..rng.usize(0..4)).map(|_| ['\0', 'a', '\u{7F}'][rng.usize(0..3)]).collect::<String>(),
        ),
        Scalar::String | Scalar::Id => {
            let letters = ['\0', '\u{1}', 'a', 'é', '\u{10FFFF}'];
            Value::text((0..rng.usize(0..4)).map(|_| letters[rng.usize(0..5)]).collect::<String>())
        }
        Scalar::Bytes => {
            Value::Bytes((0..rng.usize(0..4)).map(|_| [0, 1, 0xFE, 0xFF][rng.usize(0..4)]).collect())
        }
    }
}

async fn rows_of_every_key_type_are_in_order(store: impl Store) {
    let plan = plan_of_types();
    let tables = open(&store, &plan).await;
    for seed in super::seeds(3) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let partition_value = Value::text(seed.to_string());
        for (at, scalar) in SCALARS.iter().enumerate() {
            for (descending, order) in [Order::Asc, Order::Desc].into_iter().enumerate() {
                let id = TableId(TYPED + u32::try_from(at * 2 + descending).expect("few tables"));
                let rows: Vec<Vec<Value>> = (0..40)
                    .map(|_| {
                        vec![partition_value.clone(), random(*scalar, &mut rng), Value::Int(rng.i64(0..3))]
                    })
                    .collect();
                let batch = rows.iter().map(|row| replace(&plan, id, row, 1)).collect();
                tables.commit(base(batch)).await.expect("commits");
                let mut expected = rows;
                expected.sort_by(|a, b| {
                    let first = if order == Order::Asc { a[1].cmp(&b[1]) } else { b[1].cmp(&a[1]) };
                    first.then(a[2].cmp(&b[2]))
                });
                expected.dedup();
                let partition = partition_bytes(plan.table(id), std::slice::from_ref(&partition_value))
                    .expect("no part is null");
                let found = tables.scan(scan(id, &partition)).await.expect("reads");
                for row in &found {
                    let values = key_values(plan.table(id), &row.key);
                    assert_eq!(values.as_deref(), Ok(&row.cells[..]), "seed {seed}: {scalar:?}");
                }
                let found: Vec<Vec<Value>> = found.into_iter().map(|row| row.cells).collect();
                assert_eq!(found, expected, "seed {seed}: {scalar:?} {order:?}");
            }
        }
    }
}

async fn all_rows_come_in_pages(store: impl Store) {
    let plan = plan();
    let tables = open(&store, &plan).await;
    let rows: Vec<Vec<Value>> = (0..25).map(|at| cells(&format!("o{at}"), "u1", at, None)).collect();
    tables
        .commit(base(rows.iter().map(|row| replace(&plan, BASE, row, 1)).collect()))
        .await
        .expect("commits");
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = tables.all(BASE, after.as_ref(), 10).await.expect("reads");
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 10);
        after = Some(last.key.clone());
        found.extend(page.into_iter().map(|row| row.cells));
    }
    found.sort();
    let mut expected = rows;
    expected.sort();
    assert_eq!(found, expected);
}

fn mark(partition: u32, next: u64) -> ProgressMark {
    ProgressMark {
        projection: Arc::from("orders"),
        at: TopicPartition { topic: Arc::from("shop.orders"), partition },
        topic_id: u128::MAX,
        next,
        end: 100,
        time_ms: -1,
        base: i64::MIN,
        relayed: None,
    }
}

async fn progress_never_goes_back_and_is_told(store: impl Store) {
    let plan = plan();
    let tables = open(&store, &plan).await;
    let mut changes = tables.progress_changes();
    let commit = |marks| tables.commit(Batch { progress: marks, ..Batch::default() });
    commit(vec![mark(0, 5), mark(1, 3)]).await.expect("commits");
    assert!(changes.has_changed().expect("the tables live"));
    changes.borrow_and_update();
    commit(vec![mark(0, 4)]).await.expect("commits");
    assert!(!changes.has_changed().expect("the tables live"));
    commit(vec![mark(1, 3), mark(1, 6)]).await.expect("commits");
    for _ in 0..2 {
        let progress = tables.progress();
        assert_eq!(progress.marks.len(), 2);
        assert_eq!(progress.of("orders", &mark(0, 0).at), Some(&mark(0, 5)));
        assert_eq!(progress.of("orders", &mark(1, 0).at), Some(&mark(1, 6)));
        tables.reload().await.expect("reads");
    }
    // How far sources have come stays with the offset that it belongs to.
    let relayed = |next, come| {
        let at = TopicPartition { topic: "source".into(), partition: 3 };
        let sources = vec![Come { at, topic_id: 7, next: come, end: 50, time_ms: -2 }];
        ProgressMark { relayed: Some(Arc::new(Relayed { partitions: 1, sources })), ..mark(2, next) }
    };
    commit(vec![relayed(4, 9)]).await.expect("commits");
    commit(vec![relayed(3, 11)]).await.expect("commits");
    for _ in 0..2 {
        let progress = tables.progress();
        assert_eq!(progress.of("orders", &mark(2, 0).at), Some(&relayed(4, 9)));
        let source = TopicPartition { topic: "source".into(), partition: 3 };
        assert_eq!(progress.of("orders", &source).map(|mark| (mark.next, mark.end)), Some((9, 50)));
        tables.reload().await.expect("reads");
    }
}

fn event(offset: u64) -> QueuedEvent {
    QueuedEvent { at: mark(2, 0).at, offset, order: offset, time_ms: 9 }
}

fn entry(since: u64) -> ParkedEntry {
    ParkedEntry {
        since: event(since),
        entity: "Order".into(),
        shown: "{\"id\":\"o1\"}".into(),
        stage: "fold".into(),
        reason: "amount is \"x\", not a decimal".into(),
        type_name: None,
        waiting: 1,
        begun: None,
    }
}

async fn parked_keys_keep_their_queue_in_order_and_each_event_once(store: impl Store) {
    let plan = plan();
    let tables = open(&store, &plan).await;
    let keys = [
        ParkedKey::Row(RowKey::new(vec![1, 0], &[2])),
        ParkedKey::Row(RowKey::new(vec![1], &[0, 2])),
        ParkedKey::Record(Box::new([0, 0xFF])),
        ParkedKey::Position(mark(1, 0).at, 7),
    ];
    let projection: Arc<str> = Arc::from("orders");
    // Of another partition: where it waits is its place among all of them, not its offset.
    let merged = QueuedEvent { at: mark(0, 0).at, offset: 400, order: 12, time_ms: 9 };
    for key in &keys {
        let park = || ParkChange::Park { projection: projection.clone(), key: key.clone(), entry: entry(10) };
        let enqueue = |offset| ParkChange::Enqueue {
            projection: projection.clone(),
            key: key.clone(),
            event: event(offset),
        };
        let commit = |parked| tables.commit(Batch { parked, ..Batch::default() });
        commit(vec![park(), enqueue(300)]).await.expect("commits");
        commit(vec![enqueue(11), enqueue(300)]).await.expect("commits");
        commit(vec![park(), enqueue(11)]).await.expect("commits");
        let event = merged.clone();
        commit(vec![ParkChange::Enqueue { projection: projection.clone(), key: key.clone(), event }])
            .await
            .expect("commits");
    }
    for _ in 0..2 {
        let parked = all_parked(tables.as_ref()).await.expect("reads");
        let expected: BTreeMap<_, _> = keys
            .iter()
            .map(|key| ((projection.clone(), key.clone()), ParkedEntry { waiting: 4, ..entry(10) }))
            .collect();
        assert_eq!(parked, expected);
        for (name, entry) in &parked {
            let found = tables.parked_entry(&name.0, &name.1).await.expect("reads");
            assert_eq!(found.as_ref(), Some(entry));
            let since = tables.parked().since(&name.0, &name.1);
            assert_eq!(since, Some((entry.since.at.clone(), entry.since.offset)));
        }
        for key in &keys {
            let queue = tables.parked_queue("orders", key, None, 10).await.expect("reads");
            assert_eq!(queue, [event(10), event(11), merged.clone(), event(300)]);
            assert_eq!(tables.parked_queue("orders", key, None, 2).await.expect("reads").len(), 2);
            assert!(tables.parked_queue("order", key, None, 2).await.expect("reads").is_empty());
        }
        tables.reload().await.expect("reads");
    }
}

/// One that began somewhere in two partitions.
fn generation(number: u32, hash: &str) -> Generation {
    let began = |partition, start, offset| Began {
        projection: "orders".into(),
        at: TopicPartition { topic: "shop.orders".into(), partition },
        topic_id: 7,
        start,
        offset,
    };
    let starts = vec![
        began(0, Start::Latest, 17),
        began(3, Start::At(-1_500), 0),
        began(4, Start::Group("old writers".into()), 12),
        began(5, Start::given(5, 9), 9),
    ];
    let internal = vec![Internal {
        projection: "merged".into(),
        topic: "kinora.merged".into(),
        topic_id: u128::MAX - 1,
        partitions: 12,
    }];
    Generation { number, definitions: hash.to_owned(), starts, internal }
}

async fn the_manifest_is_replaced_only_if_it_is_as_expected(store: impl Store) {
    let first = Manifest { active: 1, generations: vec![generation(1, "aa")] };
    let second = Manifest { active: 2, generations: vec![generation(1, "aa"), generation(2, "bb")] };
    assert_eq!(store.manifest().await.expect("reads"), None);
    assert!(!store.set_manifest(Some(&first), &second).await.expect("writes"));
    assert!(store.set_manifest(None, &first).await.expect("writes"));
    assert!(!store.set_manifest(None, &second).await.expect("writes"));
    assert_eq!(store.manifest().await.expect("reads"), Some(first.clone()));
    assert!(store.set_manifest(Some(&first), &second).await.expect("writes"));
    assert_eq!(store.manifest().await.expect("reads"), Some(second));
}

async fn generations_are_apart_and_a_dropped_one_is_empty(store: impl Store) {
    let plan = plan();
    let row = cells("o1", "u1", 1, Some("x"));
    let key = key(&plan, BASE, &row);
    for generation in [1, 2, 21] {
        let tables = store.open(generation, &plan).await.expect("opens");
        let progress = vec![mark(0, u64::from(generation))];
        let park = ParkChange::Park {
            projection: Arc::from("orders"),
            key: ParkedKey::Row(key.clone()),
            entry: entry(1),
        };
        let row = replace(&plan, BASE, &row, u64::from(generation));
        let batch = Batch { progress, parked: vec![park], ..base(vec![row]) };
        tables.commit(batch).await.expect("commits");
    }
    store.drop_generation(1).await.expect("drops");
    store.drop_generation(7).await.expect("drops what never was");
    for (generation, expected) in [(1, None), (2, Some(2)), (21, Some(21))] {
        let tables = store.open(generation, &plan).await.expect("opens");
        assert_eq!(
            one(&*tables, BASE, &key).await.map(|row| row.offset),
            expected,
            "generation {generation}"
        );
        let progress = tables.progress().of("orders", &mark(0, 0).at).map(|mark| mark.next);
        assert_eq!(progress, expected, "generation {generation}");
        assert_eq!(tables.parked().keys("orders"), usize::from(expected.is_some()));
        let queue =
            tables.parked_queue("orders", &ParkedKey::Row(key.clone()), None, 9).await.expect("reads");
        assert_eq!(queue.len(), usize::from(expected.is_some()));
    }
}

async fn all_handles_to_a_generation_see_the_same(store: impl Store) {
    let plan = plan();
    let (writer, reader) = (open(&store, &plan).await, open(&store, &self::plan()).await);
    let changes = reader.progress_changes();
    let row = cells("o1", "u1", 1, Some("x"));
    let batch = Batch { progress: vec![mark(0, 1)], ..base(vec![replace(&plan, BASE, &row, 0)]) };
    writer.commit(batch).await.expect("commits");
    assert!(changes.has_changed().expect("the tables live"));
    assert_eq!(*reader.progress().marks, [mark(0, 1)]);
    assert!(one(&*reader, BASE, &key(&plan, BASE, &row)).await.is_some());
}

async fn a_table_of_another_plan_is_refused(store: impl Store) {
    let plan = plan();
    let tables = open(&store, &plan).await;
    let error = tables.get(TableId(99), &[], Columns::All).await.expect_err("is refused").to_string();
    assert_eq!(error, "table 99 is not in this plan of 2 tables; it is of another plan");
}

struct Embedded {
    store: EmbeddedStore,
    /// Removed with the store.
    _directory: tempfile::TempDir,
}

fn embedded_in(directory: &Path) -> EmbeddedStore {
    EmbeddedStore::open(directory, Durability::Buffer).expect("opens")
}

fn embedded() -> impl Store {
    let directory = tempfile::tempdir().expect("a directory");
    Embedded { store: embedded_in(directory.path()), _directory: directory }
}

type Answer<'a, T> = futures_util::future::BoxFuture<'a, Result<T, StoreError>>;

impl Store for Embedded {
    fn profile(&self) -> kinora::store::Profile {
        self.store.profile()
    }

    fn manifest(&self) -> Answer<'_, Option<Manifest>> {
        self.store.manifest()
    }

    fn set_manifest<'a>(&'a self, expected: Option<&'a Manifest>, new: &'a Manifest) -> Answer<'a, bool> {
        self.store.set_manifest(expected, new)
    }

    fn open<'a>(&'a self, generation: u32, plan: &'a Arc<Plan>) -> Answer<'a, Arc<dyn Tables>> {
        self.store.open(generation, plan)
    }

    fn drop_generation(&self, generation: u32) -> Answer<'_, ()> {
        self.store.drop_generation(generation)
    }
}

macro_rules! suite {
    ($($test:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test] async fn $test() { super::$test(super::MemoryStore::new()).await; })*
        }
        mod embedded {
            $(#[tokio::test] async fn $test() { super::$test(super::embedded()).await; })*
        }
        #[cfg(feature = "cassandra")]
        mod cassandra {
            $(#[tokio::test] async fn $test() {
                if let Some(store) = crate::cluster::cluster(super::model()).await {
                    super::$test(store).await;
                }
            })*
        }
    };
}

suite!(
    a_row_is_what_was_last_written,
    an_older_or_repeated_write_of_a_base_row_changes_nothing,
    a_batch_that_does_not_begin_where_progress_stands_takes_no_row_back,
    a_buried_row_keeps_its_position_and_is_in_no_scan,
    a_header_and_the_rows_of_its_partition_come_and_go_apart,
    a_copy_that_was_left_is_gone,
    of_several_writes_of_one_key_in_a_batch_the_stamps_decide,
    assigning_changes_only_the_assigned_cells,
    a_pruned_read_answers_only_what_was_asked_for,
    a_partition_is_read_in_its_order_within_bounds_and_limit,
    rows_of_every_key_type_are_in_order,
    all_rows_come_in_pages,
    progress_never_goes_back_and_is_told,
    parked_keys_keep_their_queue_in_order_and_each_event_once,
    the_manifest_is_replaced_only_if_it_is_as_expected,
    generations_are_apart_and_a_dropped_one_is_empty,
    all_handles_to_a_generation_see_the_same,
    a_table_of_another_plan_is_refused,
);

#[tokio::test]
async fn the_embedded_store_keeps_everything_over_a_restart() {
    let directory = tempfile::tempdir().expect("a directory");
    let plan = plan();
    let row = cells("o1", "u1", 1, Some("x"));
    let parked = ParkedKey::Record(Box::new(*b"o9"));
    let manifest = Manifest { active: 1, generations: vec![generation(1, "aa")] };
    {
        let store = EmbeddedStore::open(directory.path(), Durability::Sync).expect("opens");
        store.set_manifest(None, &manifest).await.expect("writes");
        let tables = open(&store, &plan).await;
        let park = ParkChange::Park { projection: Arc::from("orders"), key: parked.clone(), entry: entry(4) };
        let batch = Batch {
            progress: vec![mark(3, 8)],
            parked: vec![park],
            ..base(vec![replace(&plan, BASE, &row, 7)])
        };
        tables.commit(batch).await.expect("commits");
    }
    let store = embedded_in(directory.path());
    assert_eq!(store.manifest().await.expect("reads"), Some(manifest));
    let tables = open(&store, &plan).await;
    assert_eq!(tables.progress().marks, [mark(3, 8)]);
    assert_eq!(tables.parked_entry("orders", &parked).await.expect("reads"), Some(entry(4)));
    assert!(tables.parked().since("orders", &parked).is_some());
    let found = one(&*tables, BASE, &key(&plan, BASE, &row)).await.expect("is there");
    assert_eq!((found.offset, found.cells), (7, row));
}

#[tokio::test]
async fn writes_that_are_lost_or_late_fail_the_commit_and_committing_again_is_right() {
    let plan = plan();
    for seed in super::seeds(50) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut fates = fastrand::Rng::with_seed(seed ^ 0x5EED);
        let store = MemoryStore::with_faults(move |_| {
            [Fate::Applied, Fate::Repeated, Fate::Unacknowledged, Fate::Late, Fate::Lost][fates.usize(0..5)]
        });
        let tables = open(&store, &plan).await;
        let mut expected = BTreeMap::new();
        for offset in 0..30 {
            let row = cells(&format!("o{}", rng.u8(0..3)), "u1", rng.i64(..), rng.bool().then_some("x"));
            let mutation = replace(&plan, BASE, &row, offset);
            expected.insert(mutation.key().clone(), (offset, row));
            let batch = || Batch { progress: vec![mark(0, offset + 1)], ..base(vec![mutation.clone()]) };
            while tables.commit(batch()).await.is_err() {}
            if rng.u8(0..5) == 0 {
                store.release();
            }
        }
        store.release();
        for (key, (offset, cells)) in expected {
            let found = one(&*tables, BASE, &key).await.expect("is there");
            assert_eq!((found.offset, found.cells), (offset, cells), "seed {seed}");
        }
        assert_eq!(tables.progress().marks, [mark(0, 30)], "seed {seed}");
    }
}
