//! What the contract suite cannot see: damage on the disk, and offsets that are remembered.

use super::*;
use crate::plan::key::row_key;
use crate::plan::{KeyColumn, TableId, TablePlan, TableRole};
use crate::schema::{ColumnId, ColumnType, Expiry, KeyFunction, KeyPart, Order, Scalar, TypeId};
use crate::store::{Batch, Bound, Columns, Mutation, Scan, Swept};
use crate::value::Value;
use crate::value::encode::RowKey;

fn plan() -> Arc<Plan> {
    let id = ColumnType::Scalar(Scalar::Long);
    let part = KeyPart { column: ColumnId(0), via: KeyFunction::Itself, name: "id".to_owned() };
    let table = TablePlan {
        id: TableId(0),
        name: "counters".to_owned(),
        entity: TypeId(0),
        role: TableRole::Base,
        heads: None,
        partition: vec![KeyColumn { part, ty: id.clone(), source: id, order: Order::Asc }],
        clustering: Vec::new(),
        appended: 0,
        columns: vec![ColumnId(0), ColumnId(1)],
        complete: true,
        filter: None,
        expires: Vec::new(),
        buckets: None,
        rows: None,
        rate: None,
        options: Vec::new(),
    };
    Arc::new(Plan { tables: vec![Arc::new(table)], entities: Vec::new(), reads: Vec::new() })
}

fn key(plan: &Plan, id: i64) -> RowKey {
    row_key(&plan.tables[0], &[Value::Int(id)]).expect("the id is not null")
}

fn replace(plan: &Plan, id: i64, offset: u64) -> Mutation {
    let number = i64::try_from(offset).expect("is small");
    let cells = Arc::new(vec![Value::Int(id), Value::Int(number)]);
    Mutation::Replace { table: TableId(0), key: key(plan, id), cells: cells.into(), offset, base: 0 }
}

fn batch(base: Vec<Mutation>) -> Batch {
    Batch { base, ..Batch::default() }
}

#[tokio::test]
async fn a_damaged_row_is_an_error_that_names_its_table() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = EmbeddedStore::open(directory.path(), Durability::Buffer).expect("opens");
    let plan = plan();
    let tables = store.open(1, &plan).await.expect("opens");
    let keyspace = open::keyspace(&store.database, "counters__g1", store.settings).expect("is there");
    keyspace.insert(key(&plan, 1).bytes(), [9]).expect("writes");
    let expected =
        "the store's data is damaged: table \"counters\": a row has 1 bytes, fewer than the 10 of its head";
    let read = tables.get(TableId(0), &[key(&plan, 1)], Columns::All).await;
    assert_eq!(read.expect_err("is damaged").to_string(), expected);
    let read = tables.all(TableId(0), None, 10).await;
    assert_eq!(read.expect_err("is damaged").to_string(), expected);
    let written = tables.commit(batch(vec![replace(&plan, 1, 3)])).await;
    assert_eq!(written.expect_err("is damaged").to_string(), expected);
    store.meta.insert([b'p', b':', 0, 0, 0, 1, 0], [1]).expect("writes");
    let error = tables.reload().await.expect_err("is damaged").to_string();
    assert!(error.starts_with("the store's data is damaged: progress: a row has 1 bytes"), "{error}");
}

#[tokio::test]
async fn an_older_write_loses_also_after_a_restart_and_with_more_rows_than_are_remembered() {
    let directory = tempfile::tempdir().expect("a directory");
    let plan = plan();
    let (rows, newest) = (70_000, 5);
    {
        let store = EmbeddedStore::open(directory.path(), Durability::Buffer).expect("opens");
        let tables = store.open(1, &plan).await.expect("opens");
        tables
            .commit(batch((0..rows).map(|id| replace(&plan, id, newest)).collect()))
            .await
            .expect("commits");
        tables.commit(batch((0..rows).map(|id| replace(&plan, id, 3)).collect())).await.expect("commits");
    }
    let store = EmbeddedStore::open(directory.path(), Durability::Buffer).expect("opens");
    let tables = store.open(1, &plan).await.expect("opens");
    tables.commit(batch((0..rows).map(|id| replace(&plan, id, 4)).collect())).await.expect("commits");
    let keys: Vec<RowKey> = (0..rows).map(|id| key(&plan, id)).collect();
    for row in tables.get(TableId(0), &keys, Columns::All).await.expect("reads") {
        assert_eq!(row.map(|row| row.offset), Some(newest));
    }
}

/// Rows of `(org, id)` that end a second after the time in their third column.
fn ending() -> Arc<Plan> {
    let long = ColumnType::Scalar(Scalar::Long);
    let key = |column: u32, name: &str| KeyColumn {
        part: KeyPart { column: ColumnId(column), via: KeyFunction::Itself, name: name.to_owned() },
        ty: long.clone(),
        source: long.clone(),
        order: Order::Asc,
    };
    let table = TablePlan {
        name: "sessions".to_owned(),
        partition: vec![key(0, "org")],
        clustering: vec![key(1, "id")],
        columns: (0..3).map(ColumnId).collect(),
        expires: vec![Expiry { from: ColumnId(2), after_ms: 1_000 }],
        heads: None,
        options: Vec::new(),
        id: TableId(0),
        entity: TypeId(0),
        role: TableRole::Base,
        appended: 0,
        complete: true,
        filter: None,
        buckets: None,
        rows: None,
        rate: None,
    };
    Arc::new(Plan { tables: vec![Arc::new(table)], entities: Vec::new(), reads: Vec::new() })
}

#[tokio::test]
async fn a_base_row_that_is_put_aside_is_found_by_whoever_folds() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = EmbeddedStore::open(directory.path(), Durability::Buffer).expect("opens");
    let plan = ending();
    let tables = store.open(1, &plan).await.expect("opens");
    let session = |id: i64, from_ms: i64, offset: u64| {
        let cells = vec![Value::Int(7), Value::Int(id), Value::Timestamp(from_ms)];
        let key = row_key(&plan.tables[0], &cells).expect("the key is not null");
        Mutation::Replace { table: TableId(0), key, cells: Arc::new(cells).into(), offset, base: 0 }
    };
    let sessions = (0..6).map(|id| session(id, (id % 2) * 1_000, 1)).collect();
    tables.commit(batch(sessions)).await.expect("commits");
    let partition = session(0, 0, 0).key().partition().to_vec();
    let found = async |reverse, limit, at_ms| {
        let scan = Scan {
            table: TableId(0),
            partition: &partition,
            from: Bound::Unbounded,
            to: Bound::Unbounded,
            reverse,
            limit,
            columns: Columns::All,
            at_ms,
        };
        let rows = tables.scan(scan).await.expect("reads");
        rows.iter().map(|row| row.cells[1].clone()).collect::<Vec<_>>()
    };
    let ids = |ids: &[i64]| ids.iter().map(|id| Value::Int(*id)).collect::<Vec<_>>();
    let keyspace = |name: &str| open::keyspace(&store.database, name, store.settings).expect("is there");
    let held =
        || [keyspace("sessions__g1"), keyspace("sessions__over__g1")].map(|table| table.iter().count());

    // Bounded: two rows a step, of which one is over.
    assert_eq!(tables.sweep(1_000, 2).await.expect("sweeps"), Swept { looked_at: 2, freed: 1 });
    assert_eq!(held(), [5, 1]);
    assert_eq!(tables.sweep(1_000, 100).await.expect("sweeps").freed, 2);
    assert_eq!(held(), [3, 3]);
    assert_eq!(found(false, 10, Some(1_000)).await, ids(&[1, 3, 5]));
    // Who asks without a time, as a fold does, sees them all, in order.
    assert_eq!(found(false, 4, None).await, ids(&[0, 1, 2, 3]));
    assert_eq!(found(true, 4, None).await, ids(&[5, 4, 3, 2]));
    let key = session(2, 0, 0).key().clone();
    let row =
        tables.get(TableId(0), std::slice::from_ref(&key), Columns::All).await.expect("reads").remove(0);
    assert_eq!(row.map(|row| (row.offset, row.live)), Some((1, true)));

    // An older write loses against a row that is aside; a newer one takes its place, and a delete too.
    tables.commit(batch(vec![session(2, 9_000, 0)])).await.expect("commits");
    assert_eq!((held(), found(false, 10, Some(1_000)).await), ([3, 3], ids(&[1, 3, 5])));
    tables.commit(batch(vec![session(2, 9_000, 2)])).await.expect("commits");
    let key = session(4, 0, 0).key().clone();
    tables
        .commit(batch(vec![Mutation::Delete { table: TableId(0), key, offset: 2, base: 0 }]))
        .await
        .expect("commits");
    assert_eq!((held(), found(false, 10, None).await), ([4, 1], ids(&[0, 1, 2, 3, 5])));
}

#[tokio::test]
async fn tables_together_gather_no_more_in_memory_than_they_may() {
    let directory = tempfile::tempdir().expect("a directory");
    let plan = plan();
    // One table alone would begin a file much later.
    let settings = EmbeddedSettings {
        memtable_bytes: 64 << 20,
        memtables_bytes: 1 << 20,
        ..EmbeddedSettings::default()
    };
    let store = EmbeddedStore::open_with(directory.path(), settings).expect("opens");
    let tables = store.open(1, &plan).await.expect("opens");
    for round in 0..64 {
        let large = |id: i64| {
            let cells = Arc::new(vec![Value::Int(id), Value::text("x".repeat(10_000))]);
            Mutation::Replace {
                table: TableId(0),
                key: key(&plan, id),
                cells: cells.into(),
                offset: round + 1,
                base: 0,
            }
        };
        tables.commit(batch((0..20).map(large).collect())).await.expect("commits");
        let begun = std::time::Instant::now();
        while store.database.write_buffer_size() > settings.memtables_bytes + 400_000 {
            assert!(begun.elapsed().as_secs() < 30, "{} bytes", store.database.write_buffer_size());
            tokio::task::yield_now().await;
        }
    }
    let row = tables.get(TableId(0), &[key(&plan, 7)], Columns::All).await.expect("reads");
    assert_eq!(row[0].as_ref().map(|row| row.offset), Some(64));
}
