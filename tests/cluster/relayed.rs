//! Rows that many partitions feed: their events go through an internal topic, and each is folded once, in the order in which it
//! first stands there, whichever process is killed; who waits for the position of an event reads it.
//!
//! The reference reads sources and internal topic apart from the engine. `KINORA_CLUSTER_RELAYED` says how many events there
//! are, `KINORA_SEED_BASE` draws others.

use std::collections::{BTreeMap, BTreeSet};

use kinora::config;
use kinora::event::Record;
use kinora::source::Source as _;
use kinora::source::kafka::Kafka;
use serde_json::{Map, Value as Json, json};

use crate::deployment::{Deployment, Model};
use crate::load::Log;
use crate::oracle::Sent;
use crate::process::AT_MOST;
use crate::{number, seed};

/// How often each product lies in all carts and on all wish lists together, and what has changed that.
const POPULARITY: &str = r#"
type Query { popularity(item: ID!): Popularity @read  rank(shelf: ID!): [Popularity!]! @read }
type Popularity @key(fields: "item")
  @table(name: "popularity", partition: "item")
  @table(name: "rank", partition: "shelf", clustering: "count DESC, item", fields: "count", rows: 100) {
  item: ID!
  shelf: ID!
  count: Int!
  taken: [String!]! @column(as: LIST, max: 1000)
}
"#;
const CHANGED: &str = "
projection: popularity
into: Popularity
from:
  - { topic: TOPIC.carts, format: json, type: event.type, recordKey: event.owner }
  - { topic: TOPIC.wishes, format: json, type: event.type, recordKey: event.owner }
key: { item: event.item }
order: time
unknown: park
events:
  Added:
    upsert: { shelf: \"'s' + event.item.substring(1, 2)\", count: row.?count.orValue(0) + event.quantity, taken: { append: record.id } }
  Removed:
    update: { count: row.count - event.quantity, taken: { append: record.id } }
assert:
  nobody removes more than there is in all: row.count > -1000000
";
const ITEMS: u8 = 40;

fn popularity(name: &str) -> Model {
    let files = vec![
        ("schema/popularity.graphql".to_owned(), POPULARITY.to_owned()),
        ("projections/popularity.yaml".to_owned(), CHANGED.replace("TOPIC", name)),
    ];
    let topics = ["carts", "wishes"].map(|topic| format!("{name}.{topic}")).into();
    Model { files, topics, query: r#"{ __typename popularity(item: "i0") { count } }"# }
}

/// Events of many owners, whose carts and lists hold the same few items.
fn changed(name: &str, count: usize, chance: &mut fastrand::Rng) -> Vec<Sent> {
    let mut one = || {
        let topic = if chance.bool() { "carts" } else { "wishes" };
        let (owner, item) = (format!("o{}", chance.u8(..)), format!("i{}", chance.u8(..ITEMS)));
        let kind = if chance.u8(..4) == 0 { "Removed" } else { "Added" };
        let event = json!({ "type": kind, "owner": owner, "item": item, "quantity": chance.u8(1..9) });
        Sent { topic: format!("{name}.{topic}"), key: Some(owner), value: Some(event.to_string().into()) }
    };
    std::iter::repeat_with(&mut one).take(count).collect()
}

/// All records of a topic, by partition.
async fn records(kafka: &Kafka, topic: &str) -> Vec<Vec<(String, Record)>> {
    let info = kafka.topic(topic).await.expect("it answers").expect("it is there");
    let mut all = Vec::new();
    for (at, info) in info.all() {
        let mut found = Vec::new();
        let mut next = info.start;
        let mut reader = kafka.read(&[(at.clone(), next)]).await.expect("it can be read");
        while next < info.end {
            let fetched = reader.next(1 << 20).await.expect("it can be read");
            let id = |record: &Record| format!("{}:{}@{}", at.topic, at.partition, record.offset);
            found.extend(fetched.records.into_iter().map(|record| (id(&record), record)));
            next = fetched.next;
        }
        all.push(found);
    }
    all
}

/// What each item must be: folded from the internal topic's order, each event once; the sum also from the sources, where order
/// does not count.
async fn expected(deployment: &Deployment) -> BTreeMap<String, (i64, Vec<String>)> {
    let kafka = Kafka::open(&config::load(deployment.path(), &[]).settings.kafka).expect("it opens");
    let mut events = BTreeMap::new();
    for topic in ["carts", "wishes"] {
        let all = records(&kafka, &format!("{}.{topic}", deployment.name())).await;
        events.extend(all.into_iter().flatten());
    }
    let internal = format!("kinora.{0}.g1.popularity", deployment.name());
    let (mut rows, mut seen) = (BTreeMap::<String, (i64, Vec<String>)>::new(), BTreeSet::new());
    for record in records(&kafka, &internal).await.iter().flatten() {
        let from = record.1.headers.iter().find(|(name, _)| name == "kinora-from");
        let Some((_, text)) = from else { continue };
        let id = String::from_utf8_lossy(text).rsplit(' ').next().expect("a word").to_owned();
        let Some(value) = events.get(&id).and_then(|record| record.value.clone()) else {
            panic!("{id} was never published")
        };
        assert_eq!(Some(&value), record.1.value.as_ref(), "{id} is relayed as it is");
        if !seen.insert(id.clone()) {
            continue;
        }
        let event: Json = serde_json::from_slice(&value).expect("it is JSON");
        let (item, quantity) =
            (event["item"].as_str().expect("text"), event["quantity"].as_i64().expect("a number"));
        match (event["type"].as_str(), rows.get_mut(item)) {
            (Some("Added"), None) => drop(rows.insert(item.to_owned(), (quantity, vec![id]))),
            (Some("Added"), Some((count, taken))) => {
                *count += quantity;
                taken.push(id);
            }
            (_, Some((count, taken))) => {
                *count -= quantity;
                taken.push(id);
            }
            (_, None) => {}
        }
    }
    assert_eq!(seen.len(), events.len(), "every event was relayed");
    rows
}

async fn compare(deployment: &Deployment, serving: &crate::process::Process, log: &Log) {
    let expected = expected(deployment).await;
    let tables = deployment.tables().await;
    let found = deployment.rows(tables.as_ref(), "popularity").await;
    assert_eq!(found.len(), expected.len());
    let ranked = deployment.rows(tables.as_ref(), "rank").await;
    assert_eq!(ranked.len(), expected.len(), "the copy stands nowhere twice");
    let ends: Vec<String> = log.ends.iter().map(|(at, offset)| format!("{at}@{offset}")).collect();
    for (item, (count, taken)) in &expected {
        let row = found.iter().find(|row| row["item"] == **item).expect("it is there");
        assert_eq!((&row["count"], &row["taken"]), (&json!(count), &json!(taken)), "{item}");
        let row = ranked.iter().find(|row| row["item"] == **item).expect("it is there");
        assert_eq!(row["count"], json!(count), "the copy of {item}");
        let variables = Map::from_iter([("item".to_owned(), json!(item))]);
        let query = "query($item: ID!) { popularity(item: $item) { count taken } }";
        let answer = serving.ask(query, &variables, &ends.join(",")).await;
        assert_eq!(answer["data"]["popularity"], json!({ "count": count, "taken": taken }), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_many_partitions_feed_are_right_after_processes_were_killed() {
    let Some(deployment) = Deployment::of("relayed", popularity).await else { return };
    let (count, seed) = (number("KINORA_CLUSTER_RELAYED", 3_000), seed());
    println!("KINORA_SEED_BASE={seed} KINORA_CLUSTER_RELAYED={count}");
    let mut chance = fastrand::Rng::with_seed(seed);
    let sent = changed(deployment.name(), count, &mut chance);
    let mut folding = vec![deployment.project(), deployment.project()];
    let serving = deployment.serve();
    let mut log = Log::default();
    for (round, part) in sent.chunks(count.div_ceil(4)).enumerate() {
        let records = part.iter().map(|one| (one, one.value.as_deref().expect("it has a body"), None));
        log.append(&deployment.publisher, records).await;
        if round < 3 {
            // Soon after it was published, so that some of it is under way.
            tokio::time::sleep(std::time::Duration::from_millis(chance.u64(..400))).await;
            // Each of the two at least once: one of them relays.
            folding[round % 2].kill();
            folding[round % 2] = deployment.project();
        }
    }
    serving.wait_until_read(&log.ends).await;
    compare(&deployment, &serving, &log).await;
    said(&deployment).await;
    for process in folding {
        process.ends_well_or_fenced().await;
    }
    serving.ends_well().await;
}

/// What is said of it: sources and internal topic, all folded, and, as soon as it was said once more, each worked by somebody.
async fn said(deployment: &Deployment) {
    let begun = std::time::Instant::now();
    loop {
        let ended = deployment.run(&["status", "--format", "json"], &[]).await;
        let text = &ended.said[ended.said.find("{\n").unwrap_or_default()..];
        let status = serde_json::Deserializer::from_str(text).into_iter::<Json>().next();
        let status = status.and_then(Result::ok).unwrap_or_else(|| panic!("{}", ended.said));
        let popularity = &status["projections"][0];
        let partitions = popularity["partitions"].as_array().expect("a list");
        let internal = format!("kinora.{}.g1.popularity", deployment.name());
        let (inside, sources): (Vec<&Json>, Vec<&Json>) =
            partitions.iter().partition(|part| part["topic"] == *internal);
        assert_eq!((inside.len(), sources.len()), (3, 8), "{popularity}");
        assert!(sources.iter().all(|part| part["through"] == *internal), "{popularity}");
        assert!(partitions.iter().all(|part| part["position"] == part["end"]), "{popularity}");
        assert_eq!(popularity["lag_events"], 0, "{popularity}");
        if partitions.iter().all(|part| part["owner"]["process"].is_string()) {
            return assert_eq!(popularity["state"], "running", "{popularity}");
        }
        assert!(begun.elapsed() < AT_MOST, "{popularity}");
    }
}
