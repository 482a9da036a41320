//! What the contract suite cannot see: damage on the disk, and offsets that are remembered.

use super::*;
use crate::plan::key::row_key;
use crate::plan::{KeyColumn, TableId, TablePlan, TableRole};
use crate::schema::{ColumnId, ColumnType, KeyFunction, KeyPart, Order, Scalar, TypeId};
use crate::store::{Batch, Columns, Mutation};
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
    Mutation::Replace { table: TableId(0), key: key(plan, id), cells, offset, base: 0 }
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
