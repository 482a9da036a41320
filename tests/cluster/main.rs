//! `kinora apply`, `project`, `serve` and `publish` as processes, on a real Kafka broker and a real Cassandra node: rows are
//! those of a fold in one process, whatever is killed or held up meanwhile.
//!
//! Runs where `KINORA_REAL=1` is set, as `.ci/run` does. `KINORA_CLUSTER_KILLS` and `KINORA_CLUSTER_EVENTS` make it longer.
#![cfg(all(feature = "cassandra", feature = "kafka"))]
#![allow(clippy::print_stdout, reason = "what was left out, and the seed, is shown")]

#[path = "../observed/exposition.rs"]
mod exposition;
#[path = "../servers/kafka.rs"]
mod kafka_server;
mod observed;
mod processes;
mod rights;
#[path = "../servers/mod.rs"]
mod servers;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use kinora::config;
use kinora::engine::{self, Definitions, Embedded, EmbeddedSettings, dump};
use kinora::plan::TableRole;
use kinora::sample::{self, SampleEvent};
use kinora::source::NewRecord;
use kinora::source::broker::{Broker, BrokerSettings};
use kinora::store::cassandra::CassandraStore;
use kinora::store::memory::MemoryStore;
use kinora::store::{Store, Tables};

use processes::Deployment;

/// A time within which all events lie.
const NOW_MS: i64 = 1_767_225_600_000;

type Rows = BTreeMap<String, Vec<String>>;

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn definitions() -> Arc<Definitions> {
    let loaded = engine::load(Path::new(env!("CARGO_MANIFEST_DIR")), &Default::default());
    loaded.expect("the files can be read").definitions.expect("they are valid")
}

/// All rows of all tables but those that only name buckets, as text.
async fn rows(definitions: &Definitions, tables: &dyn Tables) -> Rows {
    let mut all = Rows::new();
    let holds_rows = |role: TableRole| matches!(role, TableRole::Base | TableRole::Copy);
    for table in definitions.plan.tables.iter().filter(|table| holds_rows(table.role)) {
        let rows = dump::rows(&definitions.model, &definitions.plan, tables, table.id).await;
        let mut rows: Vec<String> =
            rows.expect("it can be read").into_iter().map(|row| format!("{row:?}")).collect();
        rows.sort_unstable();
        all.insert(table.name.clone(), rows);
    }
    all
}

/// The rows as one process folds them from a log of its own.
async fn rows_of_one(definitions: &Arc<Definitions>, events: &[SampleEvent]) -> Rows {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let settings = BrokerSettings { sync: false, ..BrokerSettings::default() };
    let broker = Arc::new(Broker::open_with(directory.path(), settings).expect("the log opens"));
    let mut by_topic: BTreeMap<&str, Vec<NewRecord>> = BTreeMap::new();
    for event in events {
        let (key, value) = (Some(event.key.clone().into()), Some(event.value.clone().into()));
        let record = NewRecord { key, value, timestamp_ms: Some(event.timestamp_ms), ..NewRecord::default() };
        by_topic.entry(event.topic).or_default().push(record);
    }
    for (topic, records) in by_topic {
        broker.create_topic(topic, 1).expect("the topic is made");
        broker.append(topic, records).await.expect("it is written");
    }
    let (store, settings) = (Arc::new(MemoryStore::atomic()), EmbeddedSettings::new("a key for cursors"));
    let engine = Embedded::start(broker, store, Arc::clone(definitions), settings).await.expect("it answers");
    engine.catch_up().await.expect("it catches up");
    let serving = engine.serving().expect("it answers");
    let rows = rows(definitions, serving.tables.as_ref()).await;
    engine.shut_down().await;
    rows
}

/// The rows as they lie in Cassandra.
async fn rows_stored(definitions: &Arc<Definitions>, settings: &config::Cassandra) -> Rows {
    let store = CassandraStore::connect(settings, Arc::clone(&definitions.model)).await.expect("it answers");
    let manifest = store.manifest().await.expect("it can be read").expect("it was applied");
    let tables = store.open(manifest.active, &definitions.plan).await.expect("it opens");
    rows(definitions, tables.as_ref()).await
}

fn same(made: &Rows, wanted: &Rows) {
    for (table, wanted) in wanted {
        let made = &made[table];
        let differs = made.iter().zip(wanted).find(|(made, wanted)| made != wanted);
        assert!(made == wanted, "{table}: {} and {} rows, {differs:?}", made.len(), wanted.len());
    }
}

/// Publishes in parts while one process after the other is killed and replaced; then every row is right, in the tables and
/// through the graph.
#[tokio::test(flavor = "multi_thread")]
async fn rows_are_right_after_processes_were_killed_while_they_folded() {
    let Some(deployment) = Deployment::begin("killed").await else { return };
    let (kills, count) = (number("KINORA_CLUSTER_KILLS", 4), number("KINORA_CLUSTER_EVENTS", 6_000));
    let seed = number("KINORA_SEED_BASE", 1) as u64;
    println!("seed {seed}, {kills} kills, {count} events");
    let mut chance = fastrand::Rng::with_seed(seed);
    let events: Vec<SampleEvent> = sample::shop(seed, count, NOW_MS).collect();
    let mut read_after = BTreeMap::new();
    deployment.publish(&[], &mut read_after);
    let mut folding: Vec<_> = (0..3).map(|_| deployment.project()).collect();
    let part = count.div_ceil(kills + 1);
    for (number, part) in events.chunks(part).enumerate() {
        deployment.publish(part, &mut read_after);
        if number < kills {
            // Soon after it was published, so that some of it is under way.
            std::thread::sleep(std::time::Duration::from_millis(chance.u64(..600)));
            let victim = chance.usize(..3);
            folding[victim].kill();
            folding[victim] = deployment.project();
        }
    }
    let serving = deployment.serve();
    deployment.wait_until_read(&serving, &read_after).await;
    let definitions = definitions();
    let wanted = rows_of_one(&definitions, &events).await;
    same(&rows_stored(&definitions, &deployment.cassandra()).await, &wanted);
    for process in folding {
        assert_eq!(process.end(), Some(0), "told to end, a process ends well");
    }
    assert_eq!(serving.end(), Some(0));
}

/// A process that was away for longer than the group waits for it writes nothing that stays, and says so: it hears from the
/// group that its partitions are lost, and takes its place anew; or, where it had something under way, it finds the epoch of
/// another in the store, and ends with 5.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_was_away_too_long_says_so_and_harms_nothing() {
    let Some(deployment) = Deployment::begin("away").await else { return };
    let events: Vec<SampleEvent> = sample::shop(7, 3_000, NOW_MS).collect();
    let mut read_after = BTreeMap::new();
    deployment.publish(&[], &mut read_after);
    let old = deployment.project();
    let serving = deployment.serve();
    deployment.publish(&events[..1_500], &mut read_after);
    deployment.wait_until_read(&serving, &read_after).await;
    deployment.publish(&events[1_500..2_000], &mut read_after);
    old.signal("STOP");
    // This only the other can fold, once the group has given the first one up.
    deployment.publish(&events[2_000..2_500], &mut read_after);
    let new = deployment.project();
    deployment.wait_until_read(&serving, &read_after).await;
    old.signal("CONT");
    let said = old.wait_until_said(&["Partitions are lost to the group.", "lost ownership of shop."]);
    println!("it said: {said}");
    deployment.publish(&events[2_500..], &mut read_after);
    deployment.wait_until_read(&serving, &read_after).await;
    let definitions = definitions();
    let wanted = rows_of_one(&definitions, &events).await;
    same(&rows_stored(&definitions, &deployment.cassandra()).await, &wanted);
    let ended = old.end();
    assert!(ended == Some(0) || ended == Some(5), "{ended:?}");
    assert_eq!((new.end(), serving.end()), (Some(0), Some(0)));
}
