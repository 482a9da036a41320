//! What kind C promises: the events of several partitions and topics, each once and in one order, whatever crashes.
//!
//! The reference merges the logs by itself: always the front with the least time, then the first topic and partition. A row
//! writes down every event that it takes, so an event that is lost, doubled or in another place shows.

use std::collections::BTreeMap;
use std::sync::Arc;

use fastrand::Rng;
use kinora::engine::Definitions;
use kinora::handler::UpdateKind;
use kinora::project::{Halt, ProjectSettings, Projector};
use kinora::source::NewRecord;
use kinora::source::file::Lines;
use kinora::store::embedded::{Durability, EmbeddedStore};
use kinora::store::memory::MemoryStore;
use kinora::store::{Store, Tables, all_parked};
use kinora::testing::Interrupted;
use kinora::value::Value;

use crate::{bound, seeds};

const SCHEMA: &str = r#"
type Query { row(id: ID!): Row @read  byWord(word: String!): [Row!]! @read }
type Row @key(fields: "id") @table(name: "rows", partition: "id") @table(name: "by_last", partition: "word", clustering: "id", rows: 1000) {
  id: ID!
  taken: [String!]! @column(as: LIST, max: 400)
  word: String!
}
"#;

const PROJECTION: &str = "
projection: rows
into: Row
from:
  - { topic: a, format: json, type: event.type }
  - { topic: b, format: json, type: event.kind }
key: { id: event.row }
unknown: park
order: time
events:
  Made: { upsert: { taken: { append: record.id }, word: event.word } }
  Broken: { upsert: { taken: { append: record.id }, word: \"event.nothing + 'x'\" } }
  Gone: { when: 'row.?taken.orValue([]).size() > 3', delete: row }
  Closed: { on: b/Made, update: { taken: { append: record.id }, word: event.word } }
";

/// Topics with their partitions.
const TOPICS: [(&str, u32); 2] = [("a", 3), ("b", 2)];

fn definitions() -> Arc<Definitions> {
    bound(SCHEMA, PROJECTION, &Default::default())
}

#[derive(Clone)]
struct Given {
    topic: usize,
    partition: u32,
    time_ms: i64,
    kind: &'static str,
    row: u8,
    word: u8,
}

fn given(random: &mut Rng, count: usize) -> Vec<Given> {
    let one = |random: &mut Rng| {
        let topic = random.usize(0..TOPICS.len());
        Given {
            topic,
            partition: random.u32(0..TOPICS[topic].1),
            time_ms: random.i64(0..30),
            kind: if random.u8(0..6) == 0 { "Gone" } else { "Made" },
            row: random.u8(0..4),
            word: random.u8(0..3),
        }
    };
    (0..count).map(|_| one(random)).collect()
}

fn push(log: &Lines, given: &Given) {
    let Given { kind, row, word, .. } = given;
    let name = if given.topic == 0 { "type" } else { "kind" };
    let value = format!(r#"{{"{name}":"{kind}","row":"r{row}","word":"w{word}"}}"#);
    let record = NewRecord {
        value: Some(value.into()),
        timestamp_ms: Some(given.time_ms),
        partition: Some(given.partition),
        ..NewRecord::default()
    };
    log.push(TOPICS[given.topic].0, record).expect("the topic is there");
}

fn log() -> Lines {
    let log = Lines::new();
    TOPICS.iter().for_each(|(name, partitions)| log.create_topic(name, *partitions));
    log
}

/// Rows by id: what they took, and the last word.
type Rows = BTreeMap<String, (Vec<String>, String)>;

/// By row, the events that wait, in order.
type Waiting = BTreeMap<String, Vec<String>>;

/// The log's own partitions, merged and folded apart from the engine.
fn reference(given: &[Given]) -> (Rows, Waiting) {
    let mut lanes: BTreeMap<(usize, u32), Vec<(u64, &Given)>> = BTreeMap::new();
    for one in given {
        let lane = lanes.entry((one.topic, one.partition)).or_default();
        lane.push((lane.len() as u64, one));
    }
    let (mut rows, mut waiting) = (Rows::new(), Waiting::new());
    loop {
        let fronts = lanes.iter().filter_map(|(place, lane)| Some((lane.first()?.1.time_ms, *place)));
        let Some((_, place)) = fronts.min() else { return (rows, waiting) };
        let (offset, one) = lanes.get_mut(&place).expect("it has a front").remove(0);
        let id = format!("{}:{}@{offset}", TOPICS[one.topic].0, one.partition);
        let (row, word) = (format!("r{}", one.row), format!("w{}", one.word));
        if one.kind == "Broken" || waiting.contains_key(&row) {
            waiting.entry(row).or_default().push(id);
            continue;
        }
        if one.kind == "Gone" {
            let is_long = rows.get(&row).is_some_and(|(taken, _)| taken.len() > 3);
            drop(is_long.then(|| rows.remove(&row)));
            continue;
        }
        match (one.topic, rows.get_mut(&row)) {
            (_, Some((taken, last))) => {
                taken.push(id);
                *last = word;
            }
            (0, None) => drop(rows.insert(row, (vec![id], word))),
            _ => {}
        }
    }
}

/// The rows of the base table; those of the copy must be the same.
async fn rows(definitions: &Definitions, tables: &dyn Tables) -> Rows {
    let mut all = Vec::new();
    for table in &definitions.plan.tables {
        let stored = tables.all(table.id, None, 1_000).await.expect("reads");
        let rows: Rows = stored
            .into_iter()
            .map(|row| match row.cells.as_slice() {
                [Value::Text(id), Value::List(taken), Value::Text(last)] => {
                    let taken = taken.iter().map(|id| id.as_str().expect("text").to_owned()).collect();
                    (id.to_string(), (taken, last.to_string()))
                }
                other => panic!("{other:?}"),
            })
            .collect();
        all.push(rows);
    }
    assert_eq!(all[0], all[1], "the copy is as the base table");
    all.swap_remove(0)
}

async fn fold(
    definitions: &Definitions,
    tables: Arc<dyn Tables>,
    log: &Lines,
    bytes: usize,
) -> Result<(), Halt> {
    use kinora::source::Source;
    let mut ends = Vec::new();
    for (name, _) in TOPICS {
        let topic = log.topic(name).await.expect("answers").expect("is there");
        ends.extend(topic.partitions.iter().map(|partition| partition.end));
    }
    let settings =
        ProjectSettings { batch_bytes_max: bytes, cached_rows_max: 2, ..ProjectSettings::default() };
    let projection = Arc::clone(&definitions.projections[0]);
    let plan = Arc::clone(&definitions.plan);
    let mut projector = Projector::open(projection, plan, tables, log, settings, 1_000_000).await?;
    projector.catch_up(&ends).await
}

#[tokio::test]
async fn merged_partitions_are_folded_in_one_order_whatever_the_batches_and_crashes() {
    let definitions = definitions();
    assert_eq!(definitions.projections[0].kind, UpdateKind::MergedFold);
    for seed in seeds(25) {
        println!("seed {seed}");
        let mut random = Rng::with_seed(seed);
        let count = random.usize(1..200);
        let given = given(&mut random, count);
        let log = log();
        given.iter().for_each(|one| push(&log, one));
        let (expected, _) = reference(&given);
        let directory = tempfile::tempdir().expect("a directory");
        let embedded = EmbeddedStore::open(directory.path(), Durability::default()).expect("opens");
        let memory = MemoryStore::atomic();
        for store in [&memory as &dyn Store, &embedded] {
            let tables = store.open(1, &definitions.plan).await.expect("opens");
            // Processes that die after some batches, each taken up by the next.
            for _ in 0..random.usize(0..4) {
                let dying = Interrupted::after(Arc::clone(&tables), random.u64(1..60));
                let dying = Arc::new(dying.keeping_whole(vec!["rows".into()]));
                let _ = fold(&definitions, dying, &log, [1, 300, usize::MAX][random.usize(0..3)]).await;
            }
            fold(&definitions, Arc::clone(&tables), &log, [1, 300, usize::MAX][random.usize(0..3)])
                .await
                .expect("folds");
            assert_eq!(rows(&definitions, tables.as_ref()).await, expected, "KINORA_SEED_BASE={seed}");
            assert!(tables.parked().is_empty());
        }
    }
}

#[tokio::test]
async fn what_waits_for_a_parked_row_waits_in_the_merged_order() {
    let definitions = definitions();
    for seed in seeds(25) {
        println!("seed {seed}");
        let mut random = Rng::with_seed(seed);
        let count = random.usize(1..120);
        let mut given = given(&mut random, count);
        given.iter_mut().filter(|_| random.u8(0..20) == 0).for_each(|one| one.kind = "Broken");
        let log = log();
        given.iter().for_each(|one| push(&log, one));
        let (expected, waiting) = reference(&given);
        let directory = tempfile::tempdir().expect("a directory");
        let embedded = EmbeddedStore::open(directory.path(), Durability::default()).expect("opens");
        let memory = MemoryStore::atomic();
        for store in [&memory as &dyn Store, &embedded] {
            let tables = store.open(1, &definitions.plan).await.expect("opens");
            for _ in 0..random.usize(0..3) {
                let dying = Interrupted::after(Arc::clone(&tables), random.u64(1..40));
                let dying = Arc::new(dying.keeping_whole(vec!["rows".into()]));
                let _ = fold(&definitions, dying, &log, [1, 300, usize::MAX][random.usize(0..3)]).await;
            }
            let bytes = [1, 300, usize::MAX][random.usize(0..3)];
            fold(&definitions, Arc::clone(&tables), &log, bytes).await.expect("folds");
            assert_eq!(rows(&definitions, tables.as_ref()).await, expected, "KINORA_SEED_BASE={seed}");
            let mut found = Waiting::new();
            for ((projection, key), entry) in &all_parked(tables.as_ref()).await.expect("reads") {
                let queue = tables.parked_queue(projection, key, None, 1_000).await.expect("reads");
                let ids = queue
                    .iter()
                    .map(|event| format!("{}:{}@{}", event.at.topic, event.at.partition, event.offset));
                let row = entry.shown.trim_start_matches("{\"id\":\"").trim_end_matches("\"}");
                found.insert(row.to_owned(), ids.collect());
            }
            assert_eq!(found, waiting, "KINORA_SEED_BASE={seed}");
        }
    }
}

#[tokio::test]
async fn what_is_published_meanwhile_is_taken_once_and_each_partition_stays_in_order() {
    let definitions = definitions();
    for seed in seeds(25) {
        println!("seed {seed}");
        let mut random = Rng::with_seed(seed);
        let log = log();
        let tables = MemoryStore::atomic().open(1, &definitions.plan).await.expect("opens");
        let mut published = Vec::new();
        for _ in 0..random.usize(1..8) {
            let more = random.usize(0..20);
            for mut one in given(&mut random, more) {
                one.kind = "Made";
                one.topic = 0;
                push(&log, &one);
                published.push(one);
            }
            let dying = Interrupted::after(Arc::clone(&tables), random.u64(1..40));
            let dying = Arc::new(dying.keeping_whole(vec!["rows".into()]));
            let _ = fold(&definitions, dying, &log, 1).await;
        }
        fold(&definitions, Arc::clone(&tables), &log, usize::MAX).await.expect("folds");
        let rows = rows(&definitions, tables.as_ref()).await;
        let mut seen: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for (taken, _) in rows.values() {
            for partition in 0..TOPICS[0].1 {
                let prefix = format!("a:{partition}@");
                let offsets: Vec<u64> =
                    taken.iter().filter_map(|id| id.strip_prefix(&prefix)?.parse().ok()).collect();
                assert!(offsets.is_sorted_by(|a, b| a < b), "KINORA_SEED_BASE={seed}: {offsets:?}");
                seen.entry(prefix).or_default().extend(offsets);
            }
        }
        for (partition, count) in (0..TOPICS[0].1).map(|partition| {
            (partition, published.iter().filter(|one| one.partition == partition).count() as u64)
        }) {
            let mut offsets = seen.remove(&format!("a:{partition}@")).unwrap_or_default();
            offsets.sort_unstable();
            assert_eq!(offsets, (0..count).collect::<Vec<_>>(), "KINORA_SEED_BASE={seed}");
        }
    }
}

#[tokio::test]
async fn a_store_that_does_not_apply_batches_whole_is_refused() {
    let definitions = definitions();
    let tables = MemoryStore::new().open(1, &definitions.plan).await.expect("opens");
    let halt = fold(&definitions, tables, &log(), 1).await.expect_err("it is refused");
    assert_eq!(
        halt.to_string(),
        "projection \"rows\" merges partitions (kind C), which goes through an internal topic where the store does not apply a batch whole, and this generation has none for it: run `kinora apply`, which makes it"
    );
}
