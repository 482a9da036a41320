//! Data that older versions wrote can be opened for ever: one folder `tests/golden/formats/v…` for each version of what lies on
//! the disk, with the project that made them and what is in them.
//!
//! A folder holds a data directory: segments and `topic.json` of the log, the store with rows, progress, a parked key and its
//! queue and the manifest, the key of cursors, and the endpoint of a process. `KINORA_BLESS=1` writes the folder of the present
//! version where there is none; one that is there is never written over.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use kinora::engine::{self, Definitions, Embedded, EmbeddedSettings, dump};
use kinora::resolve::Request;
use kinora::serve::Endpoint;
use kinora::source::broker::Broker;
use kinora::source::{NewRecord, Source};
use kinora::store::embedded::{Durability, EmbeddedSettings as StoreSettings, EmbeddedStore};
use kinora::store::{Store, Tables, all_parked};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::accounts::{self, TOPIC, added};
use crate::files;

/// The version that this program writes.
const PRESENT: &str = "v1";
const SECRET: &str = "a key for cursors, as long as one";

/// What is in a folder.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Content {
    /// Rows of each table, as text.
    rows: BTreeMap<String, Vec<String>>,
    /// Parked keys: key, reason, and positions that wait.
    parked: Vec<(String, String, Vec<String>)>,
    /// How far the projection was in each partition.
    progress: Vec<(u32, u64)>,
    /// Values in the log, by position.
    records: BTreeMap<String, String>,
}

/// A page's cursor, and the account that follows it.
#[derive(Debug, Serialize, Deserialize)]
struct Page {
    after: String,
    next: String,
}

#[test]
fn data_of_every_version_are_opened_and_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/formats");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime can be made");
    let present = folder.join(PRESENT);
    if !present.exists() {
        assert!(std::env::var_os("KINORA_BLESS").is_some(), "{} is missing", present.display());
        runtime.block_on(make(&present));
    }
    let mut versions = 0;
    for version in std::fs::read_dir(&folder).expect("it can be listed") {
        let version = version.expect("it can be listed").path();
        runtime.block_on(check(&version));
        versions += 1;
    }
    assert!(versions > 0);
}

async fn check(version: &Path) {
    let text = |name: &str| std::fs::read_to_string(version.join(name)).expect("it can be read");
    let scratch = tempfile::tempdir().expect("a directory can be made");
    files::copy(version, scratch.path(), &files::below(version));
    let data = scratch.path().join("data");
    let definitions = definitions(scratch.path());
    let endpoint = Endpoint::read(&data).expect("it can be read").expect("it is there");
    assert_eq!(endpoint.address.port(), 4000);
    let secret = std::fs::read(data.join("cursor.key")).expect("it can be read");
    let (broker, store) = open(&data);
    // As they were written: before anything is folded.
    let tables = store.open(1, &definitions.plan).await.expect("its tables open");
    let expected: Content = serde_json::from_str(&text("content.json")).expect("it is JSON");
    assert_eq!(content(&broker, tables.as_ref(), &definitions).await, expected, "{}", version.display());
    assert_eq!(store.manifest().await.expect("it can be read").expect("it is there").active, 1);
    drop(tables);
    // And with all that is done to them at a start.
    let engine = Embedded::idle(broker, store, EmbeddedSettings::new(secret));
    engine.take_over(Arc::clone(&definitions)).await.expect("it answers");
    let page: Page = serde_json::from_str(&text("page.json")).expect("it is JSON");
    let answer = ask(&engine, &list(&format!("first: 1, after: \"{}\"", page.after))).await;
    assert_eq!(answer["data"]["accountsOf"]["nodes"][0]["id"], json!(page.next), "{answer}");
    let event = added("a0", 100, "new");
    engine.publish(TOPIC, vec![record(&event)]).await.expect("it takes records");
    engine.catch_up().await.expect("it catches up");
    let answer = ask(&engine, "{ account(id: \"a0\") { last } }").await;
    assert_eq!(answer["data"]["account"]["last"], json!(100), "{answer}");
    engine.shut_down().await;
}

/// Writes a folder as this program writes data.
async fn make(folder: &Path) {
    let scratch = tempfile::tempdir().expect("a directory can be made");
    accounts::write_project(scratch.path());
    let data = scratch.path().join("data");
    std::fs::create_dir_all(&data).expect("it can be made");
    std::fs::write(data.join("cursor.key"), SECRET).expect("it can be written");
    let endpoint = json!({ "address": "127.0.0.1:4000", "token": "0".repeat(64) });
    std::fs::write(data.join("endpoint"), endpoint.to_string()).expect("it can be written");
    let definitions = definitions(scratch.path());
    let broker = Arc::new(Broker::open(&data.join("log")).expect("the log opens"));
    // Small, so that rows lie in files of tables as well as in the journal.
    let settings = StoreSettings { memtable_bytes: 1024, ..StoreSettings::default() };
    let store = EmbeddedStore::open_with(&data.join("store"), settings).expect("the store opens");
    let engine = Embedded::idle(Arc::clone(&broker), Arc::new(store), EmbeddedSettings::new(SECRET));
    engine.take_over(Arc::clone(&definitions)).await.expect("it answers");
    for n in 1..=14 {
        let mut events: Vec<Json> = (0..6).map(|account| added(&format!("a{account}"), n, "m")).collect();
        if n == 2 {
            // No number: its key is parked, and what follows waits.
            events[3]["value"]["amount"] = json!("much");
        }
        engine.publish(TOPIC, events.iter().map(record).collect()).await.expect("it takes them");
        engine.catch_up().await.expect("it catches up");
    }
    let serving = engine.serving().expect("it answers");
    let content = content(&broker, serving.tables.as_ref(), &definitions).await;
    assert_eq!((content.parked.len(), content.parked[0].2.len()), (1, 13), "{content:?}");
    let answer = ask(&engine, &list("first: 2")).await;
    let nodes = answer["data"]["accountsOf"]["edges"].as_array().expect("edges").clone();
    let text = |json: &Json| json.as_str().expect("it is text").to_owned();
    let page = Page { after: text(&nodes[0]["cursor"]), next: text(&nodes[1]["node"]["id"]) };
    drop(serving);
    engine.shut_down().await;
    drop((engine, broker));
    let written = files::below(scratch.path());
    let tables = written.iter().filter(|file| file.parent().is_some_and(|parent| parent.ends_with("tables")));
    let of_rows = tables.filter(|file| !file.starts_with("data/store/keyspaces/0")).count();
    assert!(of_rows > 1, "no rows have gone to files yet; try again");
    files::copy(scratch.path(), folder, &written);
    let write = |name: &str, text: String| {
        std::fs::write(folder.join(name), text + "\n").expect("it can be written");
    };
    write("content.json", serde_json::to_string_pretty(&content).expect("it is JSON"));
    write("page.json", serde_json::to_string_pretty(&page).expect("it is JSON"));
}

fn open(data: &Path) -> (Arc<Broker>, Arc<EmbeddedStore>) {
    let broker = Broker::open(&data.join("log")).expect("the log opens");
    let store = EmbeddedStore::open(&data.join("store"), Durability::Buffer).expect("the store opens");
    (Arc::new(broker), Arc::new(store))
}

fn definitions(project: &Path) -> Arc<Definitions> {
    let loaded = engine::load(project, &Default::default()).expect("the files can be read");
    loaded.definitions.expect("they are valid")
}

async fn content(broker: &Broker, tables: &dyn Tables, definitions: &Definitions) -> Content {
    let mut rows = BTreeMap::new();
    for table in &definitions.plan.tables {
        let found = dump::rows(&definitions.model, &definitions.plan, tables, table.id).await;
        let found = found.expect("they can be read").into_iter().map(|row| Json::Object(row).to_string());
        let mut found: Vec<String> = found.collect();
        found.sort_unstable();
        rows.insert(table.name.clone(), found);
    }
    let mut parked = Vec::new();
    for ((projection, key), entry) in all_parked(tables).await.expect("they can be read") {
        let queue = tables.parked_queue(&projection, &key, None, 100).await.expect("it can be read");
        let waiting = queue.iter().map(|event| format!("{}@{}", event.at.partition, event.offset)).collect();
        parked.push((entry.shown.to_string(), entry.reason.to_string(), waiting));
    }
    let progress = tables.progress();
    let mut progress: Vec<_> = progress.marks.iter().map(|mark| (mark.at.partition, mark.next)).collect();
    progress.sort_unstable();
    Content { rows, parked, progress, records: records(broker).await }
}

async fn records(broker: &Broker) -> BTreeMap<String, String> {
    let topic = broker.topic(TOPIC).await.expect("it answers").expect("it is there");
    let mut found = BTreeMap::new();
    for (partition, info) in (0..).zip(&topic.partitions) {
        let at = kinora::event::TopicPartition { topic: TOPIC.into(), partition };
        for offset in info.start..info.end {
            let record = broker.fetch(&at, offset).await.expect("it can be read").expect("it is there");
            let value = record.value.map(|value| String::from_utf8_lossy(&value).into_owned());
            found.insert(format!("{partition}@{offset}"), value.unwrap_or_default());
        }
    }
    found
}

fn list(arguments: &str) -> String {
    format!(
        "{{ accountsOf(owner: \"w4\", {arguments}) {{ nodes {{ id }} edges {{ cursor node {{ id }} }} }} }}"
    )
}

async fn ask(engine: &Embedded, query: &str) -> Json {
    let serving = engine.serving().expect("something answers");
    let request = Request { query: query.to_owned(), ..Request::default() };
    let answer = serving.graph.execute(request, &serving.tables).await;
    serde_json::from_slice(&answer.body).expect("an answer is JSON")
}

fn record(event: &Json) -> NewRecord {
    NewRecord {
        key: event["key"].as_str().map(|key| key.to_owned().into()),
        value: Some(event["value"].to_string().into()),
        timestamp_ms: Some(1_767_225_600_000),
        ..NewRecord::default()
    }
}
