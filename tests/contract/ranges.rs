//! What `delete: rows` promises: all rows of a range go, however many pages they fill, whatever crashes on the way; nothing
//! else goes, and what is made afterwards stays.

use std::sync::Arc;

use fastrand::Rng;
use kinora::engine::Definitions;
use kinora::project::{ProjectSettings, Projector};
use kinora::source::NewRecord;
use kinora::source::file::Lines;
use kinora::store::embedded::{Durability, EmbeddedStore};
use kinora::store::memory::MemoryStore;
use kinora::store::{Store, Tables};
use kinora::testing::Interrupted;
use kinora::value::Value;

use crate::{bound, seeds};

const SCHEMA: &str = r#"
type Query { lines(o: ID!, first: Int, after: String): LineConnection! @read(table: "lines")  byN(n: Int!, first: Int, after: String): LineConnection! @read }
type Line @key(fields: "o l") @table(name: "lines", partition: "o", clustering: "l", rows: 2000) @table(name: "by_n", partition: "n", clustering: "o, l", rows: 2000) {
  o: ID!
  l: ID!
  n: Int!
}
"#;

/// Rows of the largest order: more than two pages.
const ROWS: usize = 1_203;

fn definitions(order: &str) -> Arc<Definitions> {
    let projection = format!(
        "projection: lines\ninto: Line\nfrom: {{ topic: t, format: json, type: event.type, recordKey: event.o }}\n\
         key: {{ o: event.o, l: event.l }}\nunknown: park\n{order}events:\n  \
         Made: {{ each: event.lines, as: l, key: {{ o: event.o, l: l }}, upsert: {{ n: event.n }} }}\n  \
         Changed: {{ update: {{ n: event.n }} }}\n  \
         Dropped: {{ key: {{ o: event.o }}, when: row.n != event.kept, delete: rows }}\n"
    );
    bound(SCHEMA, &projection, &Default::default())
}

fn push(log: &Lines, order: &str, value: &str) {
    let value = format!(r#"{{"o":"{order}",{value}}}"#);
    let record =
        NewRecord { key: Some(order.to_owned().into()), value: Some(value.into()), ..NewRecord::default() };
    log.push("t", record).expect("the topic is there");
}

fn made(lines: std::ops::Range<usize>, n: u8) -> String {
    let lines: Vec<String> = lines.map(|line| format!("\"l{line:04}\"")).collect();
    format!(r#""type":"Made","n":{n},"lines":[{}]"#, lines.join(","))
}

fn log() -> Lines {
    let log = Lines::new();
    log.create_topic("t", 1);
    push(&log, "a", &made(0..600, 1));
    push(&log, "a", &made(600..ROWS, 2));
    push(&log, "a", &made(100..105, 3));
    push(&log, "b", &made(0..3, 1));
    push(&log, "a", r#""type":"Dropped","kept":3"#);
    push(&log, "a", &made(7..9, 1));
    push(&log, "a", &made(101..102, 1));
    push(&log, "c", r#""type":"Dropped","kept":0"#);
    log
}

async fn fold(definitions: &Definitions, tables: Arc<dyn Tables>, log: &Lines, bytes: usize) -> Option<()> {
    let settings = ProjectSettings { batch_bytes_max: bytes, ..ProjectSettings::default() };
    let projection = Arc::clone(&definitions.projections[0]);
    let plan = Arc::clone(&definitions.plan);
    let mut projector = Projector::open(projection, plan, tables, log, settings, 1_000_000).await.ok()?;
    projector.catch_up(&[8]).await.ok()
}

/// The rows of every table, as `o/l=n`, in order.
async fn rows(definitions: &Definitions, tables: &dyn Tables) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    for table in &definitions.plan.tables {
        let stored = tables.all(table.id, None, 5_000).await.expect("reads");
        let shown = stored.iter().map(|row| match row.cells.as_slice() {
            [Value::Text(o), Value::Text(l), Value::Int(n)] => format!("{o}/{l}={n}"),
            other => panic!("{other:?}"),
        });
        let mut shown: Vec<String> = shown.collect();
        shown.sort();
        all.push(shown);
    }
    all
}

#[tokio::test]
async fn a_range_of_many_pages_goes_whatever_crashes() {
    let expected: Vec<String> =
        ["a/l0007=1", "a/l0008=1", "a/l0100=3", "a/l0101=1", "a/l0102=3", "a/l0103=3", "a/l0104=3"]
            .into_iter()
            .chain(["b/l0000=1", "b/l0001=1", "b/l0002=1"])
            .map(str::to_owned)
            .collect();
    for order in ["", "order: time\n"] {
        let definitions = definitions(order);
        for seed in seeds(6) {
            println!("seed {seed} {order}");
            let mut random = Rng::with_seed(seed);
            let log = log();
            let directory = tempfile::tempdir().expect("a directory");
            let embedded = EmbeddedStore::open(directory.path(), Durability::default()).expect("opens");
            let memory = MemoryStore::atomic();
            for store in [&memory as &dyn Store, &embedded] {
                let tables = store.open(1, &definitions.plan).await.expect("opens");
                for _ in 0..random.usize(0..3) {
                    let dying = Interrupted::after(Arc::clone(&tables), random.u64(1..9_000));
                    // An atomic store dies between batches only.
                    let dying = dying.keeping_whole(vec!["lines".into()]);
                    let _ =
                        fold(&definitions, Arc::new(dying), &log, [1, usize::MAX][random.usize(0..2)]).await;
                }
                let whole = fold(&definitions, Arc::clone(&tables), &log, usize::MAX).await;
                assert!(whole.is_some(), "KINORA_SEED_BASE={seed}");
                for found in rows(&definitions, tables.as_ref()).await {
                    assert_eq!(found, expected, "KINORA_SEED_BASE={seed}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_range_goes_also_where_each_write_may_be_the_last_and_all_comes_again() {
    let definitions = definitions("");
    each_write_may_be_the_last(&MemoryStore::new(), &definitions, 6).await;
}

#[cfg(feature = "cassandra")]
#[tokio::test]
async fn a_range_goes_also_where_each_write_may_be_the_last_and_all_comes_again_in_cassandra() {
    let definitions = definitions("");
    if let Some(store) = crate::cluster::cluster(Arc::clone(&definitions.model)).await {
        each_write_may_be_the_last(&store, &definitions, 1).await;
    }
}

async fn each_write_may_be_the_last(store: &dyn Store, definitions: &Definitions, default: u64) {
    for seed in seeds(default) {
        let mut random = Rng::with_seed(seed);
        let log = log();
        store.drop_generation(1).await.expect("drops");
        let tables = store.open(1, &definitions.plan).await.expect("opens");
        for _ in 0..3 {
            let dying = Interrupted::after(Arc::clone(&tables), random.u64(1..6_000));
            let _ = fold(definitions, Arc::new(dying), &log, [1, usize::MAX][random.usize(0..2)]).await;
        }
        assert!(fold(definitions, Arc::clone(&tables), &log, usize::MAX).await.is_some());
        let once = rows(definitions, tables.as_ref()).await;
        let again = Arc::new(Interrupted::forgetful(Arc::clone(&tables)));
        assert!(fold(definitions, again, &log, 1).await.is_some());
        let twice = rows(definitions, tables.as_ref()).await;
        assert_eq!(once, twice, "KINORA_SEED_BASE={seed}");
        assert_eq!((once[0].len(), &once[0]), (10, &once[1]), "KINORA_SEED_BASE={seed}");
    }
}

#[tokio::test]
async fn an_owner_forgets_rows_of_a_range_that_another_has_deleted() {
    let definitions = definitions("");
    let lines = Lines::new();
    lines.create_topic("t", 1);
    let tables = MemoryStore::new().open(1, &definitions.plan).await.expect("opens");
    let open = || {
        let (projection, plan) = (Arc::clone(&definitions.projections[0]), Arc::clone(&definitions.plan));
        Projector::open(projection, plan, Arc::clone(&tables), &lines, ProjectSettings::default(), 1_000_000)
    };
    push(&lines, "a", &made(0..2, 1));
    let mut first = open().await.expect("opens");
    first.catch_up(&[1]).await.expect("folds");
    push(&lines, "a", r#""type":"Dropped","kept":0"#);
    open().await.expect("opens").catch_up(&[2]).await.expect("folds");
    // The first has both rows in memory, and finds none of them in the store.
    push(&lines, "a", r#""type":"Changed","l":"l0000","n":5"#);
    first.catch_up(&[3]).await.expect("folds");
    for rows in rows(&definitions, tables.as_ref()).await {
        assert!(rows.is_empty(), "{rows:?}");
    }
}
