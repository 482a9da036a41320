//! What parking costs in time and memory: a million events that wait under one key, then are retried; and 100,000 parked
//! keys, listed in pages and dropped.
//!
//! Run `cargo bench --bench parking`. Each stage is a process of its own, so that its peak memory is its own; all have the
//! embedded log and store. A handler refuses events until the stages that set them free. `KINORA_BENCH_EVENTS` sets how
//! many events wait under the one key (default 1,000,000), `KINORA_BENCH_KEYS` how many keys are parked (default 100,000).

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use kinora::diagnostic::{Sources, render};
use kinora::engine::{self, Definitions};
use kinora::event::{Event, JsonValueTrait, Reject, Stage};
use kinora::fold::{Change, Fold};
use kinora::handler::CustomHandlers;
use kinora::project::retry::{ParkedStep, Release};
use kinora::project::{ProjectSettings, Projector};
use kinora::source::NewRecord;
use kinora::source::broker::{Broker, BrokerSettings};
use kinora::store::embedded::EmbeddedStore;
use kinora::store::{ParkedItem, ParkedPage, Store, Tables};
use kinora::value::Value;

#[path = "../../src/allocator.rs"]
mod allocator;
#[path = "usage.rs"]
mod usage;

use usage::peak_memory_mib;

const STAGE: &str = "KINORA_BENCH_STAGE";
const DATA: &str = "KINORA_BENCH_DATA";
const STAGES: [&str; 6] = ["fill one", "park one", "retry one", "fill many", "park many", "drop many"];

const SCHEMA: &str = "type Query { sum(id: ID!): Sum @read }\n\
    type Sum @key(fields: \"id\") @table(name: \"sums\", partition: \"id\") { id: ID!  total: Long! }\n\
    scalar Long\n";
const PROJECTION: &str = "projection: sums\ninto: Sum\n\
    from: { topic: sums, format: json, type: event.type, recordKey: event.id }\n\
    key: { id: event.id }\nunknown: park\nhandler: sum\n";

/// Adds up, and refuses the first event of each row where it is told to.
struct Sum {
    refuses: bool,
}

impl Fold for Sum {
    fn fold(&self, row: Option<&[Value]>, event: &Event) -> Result<Change, Reject> {
        let number = event.body.get("number").and_then(|number| number.as_i64()).expect("it was made here");
        if self.refuses && number == 0 {
            return Err(Reject::new(Stage::Fold, "it is refused for now"));
        }
        let id =
            event.body.get("id").and_then(|id| id.as_str().map(str::to_owned)).expect("it was made here");
        let total = match row {
            Some([_, Value::Int(total)]) => *total,
            _ => 0,
        };
        Ok(Change::Write(vec![Value::text(id), Value::Int(total + number)]))
    }
}

fn main() {
    allocator::set_up();
    let number = |name: &str, default: u64| {
        std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
    };
    let (events, keys) = (number("KINORA_BENCH_EVENTS", 1_000_000), number("KINORA_BENCH_KEYS", 100_000));
    if let (Ok(stage), Ok(data)) = (std::env::var(STAGE), std::env::var(DATA)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        return runtime.expect("a runtime can be built").block_on(run(
            &stage,
            Path::new(&data),
            (events, keys),
        ));
    }
    println!("parking: {events} events under one key, {keys} parked keys");
    let data = tempfile::tempdir().expect("a temporary directory can be made");
    let this = std::env::current_exe().expect("this program has a path");
    for stage in STAGES {
        let status = Command::new(&this).env(STAGE, stage).env(DATA, data.path()).status();
        assert!(status.expect("this program can be started").success(), "stage {stage} failed");
    }
}

async fn run(stage: &str, data: &Path, (events, keys): (u64, u64)) {
    let (work, subject) = stage.split_once(' ').expect("a stage has two words");
    let data = data.join(subject);
    let broker = Broker::open_with(&data.join("log"), BrokerSettings { sync: false, ..Default::default() });
    let broker = broker.expect("the log opens");
    let count = if subject == "one" { events } else { keys };
    let began = Instant::now();
    match work {
        "fill" => return fill(&broker, subject, count).await,
        "park" => park(&data, &broker, count).await,
        _ => release(&data, &broker, subject, count).await,
    }
    let wall = began.elapsed().as_secs_f64();
    println!(
        "  {stage:<9} wall {wall:6.2} s, {:9.0}/s, peak memory {:4.0} MiB",
        count as f64 / wall,
        peak_memory_mib()
    );
}

async fn fill(broker: &Broker, subject: &str, count: u64) {
    broker.create_topic("sums", 1).expect("a topic can be made");
    let record = |number: u64| {
        let (id, number) = match subject {
            "one" => ("a".to_owned(), number),
            _ => (format!("key-{number}"), 0),
        };
        let value = format!(r#"{{"type":"Added","id":"{id}","number":{number}}}"#);
        NewRecord { key: Some(id.into()), value: Some(value.into()), ..NewRecord::default() }
    };
    for begin in (0..count).step_by(10_000) {
        let records = (begin..count.min(begin + 10_000)).map(record).collect();
        broker.append("sums", records).await.expect("it is appended");
    }
}

fn definitions(refuses: bool) -> Arc<Definitions> {
    let mut sources = Sources::default();
    let schema = sources.add("schema/sums.graphql", SCHEMA);
    let projection = sources.add("projections/sums.yaml", PROJECTION);
    let handler: Arc<dyn Fold> = Arc::new(Sum { refuses });
    let custom = CustomHandlers::from([("sum".to_owned(), handler)]);
    let loaded = engine::bind(sources, &[schema], &[projection], &custom);
    loaded.definitions.unwrap_or_else(|| panic!("{}", render(&loaded.findings, &loaded.sources, false)))
}

async fn open(data: &Path, broker: &Broker, refuses: bool) -> (Arc<dyn Tables>, Projector) {
    let definitions = definitions(refuses);
    let store = EmbeddedStore::open(&data.join("store"), Default::default()).expect("the store opens");
    let tables = store.open(1, &definitions.plan).await.expect("the tables open");
    let settings =
        ProjectSettings { parked_keys_max: 1_000_000, parked_share_max: 1.0, ..ProjectSettings::default() };
    let (projection, plan) = (Arc::clone(&definitions.projections[0]), Arc::clone(&definitions.plan));
    let projector = Projector::open(projection, plan, Arc::clone(&tables), broker, settings, 0).await;
    (tables, projector.expect("the projection can be taken up"))
}

async fn park(data: &Path, broker: &Broker, count: u64) {
    let (tables, mut projector) = open(data, broker, true).await;
    projector.catch_up(&[count]).await.expect("it folds to the end");
    assert!(!tables.parked().is_empty());
}

/// Sets all keys free, read in pages; then the one row must have taken each event once.
async fn release(data: &Path, broker: &Broker, subject: &str, count: u64) {
    let (tables, mut projector) = open(data, broker, false).await;
    let (mut listed, mut left): (Vec<ParkedItem>, u64) = (Vec::new(), 0);
    loop {
        let after = listed.last().map(|item| (&*item.projection, &item.key));
        let page = ParkedPage { projection: Some("sums"), rows: None, after, limit: 100 };
        listed = tables.parked_page(page).await.expect("it can be read");
        if listed.is_empty() {
            break;
        }
        for item in &listed {
            let release = if subject == "one" { Release::Retry } else { Release::Drop };
            let step = ParkedStep { key: item.key.clone(), release, first: None };
            loop {
                let done = projector.step_parked(broker, &step).await.expect("it steps");
                assert_eq!(done.stopped, None);
                left += done.applied + done.dropped;
                if done.waiting == 0 {
                    break;
                }
            }
        }
    }
    assert_eq!(left, count);
    assert!(tables.parked().is_empty());
    if subject == "one" {
        let base = definitions(false).plan.tables[0].id;
        let rows = tables.all(base, None, 2).await.expect("it can be read");
        let total = i64::try_from(count * (count - 1) / 2).expect("it fits");
        assert_eq!(rows[0].cells[1], Value::Int(total), "each event once");
    }
}
