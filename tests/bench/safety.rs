//! What safety costs: the same run with and without each safeguard that can be taken away without touching the others.
//!
//! Run `cargo bench --bench safety`; `KINORA_BENCH_EVENTS` sets another number of the shop's events, `KINORA_BENCH_PAIRS`
//! another number of pairs, `KINORA_BENCH_ONLY` the safeguards whose name has this text. Each run is a process of its own;
//! pairs are interleaved, A B B A. What is compared is CPU time of the whole process, and wall time where a safeguard waits
//! for the disk. No safeguard can be switched off by a setting that makes data wrong: those that have no setting are taken
//! away by the bench's own tables, or measured alone.
//!
//! | safeguard | with | without |
//! | --- | --- | --- |
//! | checksums of the log | reading all records, and once more the checksum of each | reading all records |
//! | fsync of the log | appends of 100 records wait for the disk | they do not |
//! | fsync of the store | each batch waits for the disk | batches go to the operating system |
//! | comparing offsets | the store looks at each base row before it replaces it | it is told that the batch is the next one |
//! | skipping what is applied | the whole log, delivered a second time | nothing: the run before it alone |
//! | stamps and tombstones | the model of a store without atomic batches, in memory | the model of one with them |
//! | parking | one key is parked, so each event asks whether it must wait | no key is parked |
//! | budget | all write loops share 16 MiB | they share 1 GiB |
//! | watchdog | looks at the write loops every 25 ms | nobody looks |

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kinora::engine::watchdog::{Watchdog, Watched};
use kinora::engine::{self, Definitions};
use kinora::event::Offset;
use kinora::project::budget::Budget;
use kinora::project::{ProjectSettings, Projector, ProjectorState};
use kinora::sample;
use kinora::source::broker::{Broker, BrokerSettings};
use kinora::source::{NewRecord, Source};
use kinora::store::embedded::{Durability, EmbeddedStore};
use kinora::store::memory::MemoryStore;
use kinora::store::{Store, Tables, all_parked};
use kinora::testing::Interrupted;
use tokio::sync::watch;
use xxhash_rust::xxh3::xxh3_64;

#[path = "../../src/allocator.rs"]
mod allocator;
#[path = "pairs.rs"]
mod pairs;
#[path = "usage.rs"]
mod usage;

use pairs::compared;
use usage::{cpu, peak_memory_mib};

const CASE: &str = "KINORA_BENCH_CASE";
const DATA: &str = "KINORA_BENCH_DATA";
const NOW_MS: i64 = 1_760_000_000_000;

/// A safeguard: its name, the runs with and without it, and whether wall time is compared.
const SAFEGUARDS: [(&str, &str, &str, bool); 9] = [
    ("checksums of the log", "read twice hashed", "read", false),
    ("fsync of the log", "append synced", "append", true),
    ("fsync of the store", "fold synced", "fold", true),
    ("comparing offsets", "fold comparing", "fold", false),
    ("skipping what is applied", "fold again", "fold", false),
    ("stamps and tombstones", "fold stamped", "fold atomic", false),
    ("parking", "fold parked", "fold", false),
    ("budget", "fold budget small", "fold budget large", false),
    ("watchdog", "fold watched", "fold", false),
];

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

fn main() {
    allocator::set_up();
    let events = number("KINORA_BENCH_EVENTS", 300_000);
    if let (Ok(case), Ok(data)) = (std::env::var(CASE), std::env::var(DATA)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        return runtime.expect("a runtime can be built").block_on(run(&case, Path::new(&data), events));
    }
    let (count, only) =
        (number("KINORA_BENCH_PAIRS", 6), std::env::var("KINORA_BENCH_ONLY").unwrap_or_default());
    println!(
        "safety: {events} events of the shop; {count} pairs; with : without, median (least to greatest)"
    );
    let data = tempfile::tempdir().expect("a temporary directory can be made");
    for log in ["log", "parked"] {
        child(&format!("fill {log}"), data.path());
    }
    for (name, with, without, is_wall) in SAFEGUARDS.iter().filter(|one| one.0.contains(&only)) {
        let memory = std::cell::Cell::new([0.0; 2]);
        let measured = |side: usize, case: &str| {
            let Used { cpu, wall, peak_mib } = child(case, data.path());
            let mut most = memory.get();
            most[side] = f64::max(most[side], peak_mib);
            memory.set(most);
            if *is_wall { wall } else { cpu }
        };
        let found = compared(count, || measured(0, with), || measured(1, without));
        let [with_mib, without_mib] = memory.get();
        println!(
            "  {name:<26} {:6.2} s : {:6.2} s {}, {:.2} ({:.2}-{:.2}), peak {with_mib:.0} : {without_mib:.0} MiB",
            found.ours,
            found.theirs,
            if *is_wall { "wall" } else { "CPU " },
            found.ratio,
            found.least,
            found.greatest
        );
    }
}

/// What a run took.
struct Used {
    cpu: f64,
    wall: f64,
    peak_mib: f64,
}

fn child(case: &str, data: &Path) -> Used {
    let this = std::env::current_exe().expect("this program has a path");
    let output = Command::new(this).env(CASE, case).env(DATA, data).output().expect("it can be started");
    assert!(output.status.success(), "{case} failed: {}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8_lossy(&output.stdout);
    let mut numbers = said.split_whitespace().map(|text| text.parse().expect("a number"));
    let mut next = || numbers.next().expect("three numbers");
    Used { cpu: next(), wall: next(), peak_mib: next() }
}

async fn run(case: &str, data: &Path, events: usize) {
    let (before, began) = (cpu(), Instant::now());
    match case.split_once(' ').unwrap_or((case, "")) {
        ("fill", log) => fill(&open(data, log, false), events, log == "parked").await,
        ("append", how) => append(how == "synced", events).await,
        ("read", how) => read(&open(data, "log", false), !how.is_empty()).await,
        (_, how) => fold(data, how).await,
    }
    let after = cpu();
    let used = after.user + after.system - before.user - before.system;
    println!("{used} {} {}", began.elapsed().as_secs_f64(), peak_memory_mib());
}

fn open(data: &Path, log: &str, sync: bool) -> Arc<Broker> {
    let settings = BrokerSettings { sync, ..BrokerSettings::default() };
    Arc::new(Broker::open_with(&data.join(log), settings).expect("the log opens"))
}

async fn fill(broker: &Broker, events: usize, parks: bool) {
    for topic in sample::SHOP_TOPICS {
        broker.create_topic(topic, 4).expect("a topic can be made");
        let bad = (0..4).map(|partition| NewRecord {
            key: Some("a key that is parked".into()),
            value: Some("{".into()),
            timestamp_ms: Some(NOW_MS),
            partition: Some(partition),
            ..NewRecord::default()
        });
        if parks {
            broker.append(topic, bad.collect()).await.expect("the log takes records");
        }
    }
    for (topic, records) in batches(events, 1_000) {
        broker.append(topic, records).await.expect("the log takes records");
    }
}

/// The shop's events, so many of a topic at a time.
fn batches(events: usize, size: usize) -> Vec<(&'static str, Vec<NewRecord>)> {
    let mut waiting: std::collections::BTreeMap<&str, Vec<NewRecord>> = Default::default();
    let mut batches = Vec::new();
    for event in sample::shop(1, events, NOW_MS) {
        let records = waiting.entry(event.topic).or_default();
        records.push(NewRecord {
            key: Some(event.key.into()),
            value: Some(event.value.into()),
            timestamp_ms: Some(event.timestamp_ms),
            ..NewRecord::default()
        });
        if records.len() == size {
            batches.push((event.topic, std::mem::take(records)));
        }
    }
    batches.extend(waiting);
    batches
}

/// Appends a tenth of the events, a hundred at a time: as one producer does that waits for each answer.
async fn append(sync: bool, events: usize) {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let broker = open(directory.path(), "log", sync);
    for topic in sample::SHOP_TOPICS {
        broker.create_topic(topic, 4).expect("a topic can be made");
    }
    for (topic, records) in batches(events / 10, 100) {
        broker.append(topic, records).await.expect("the log takes records");
    }
}

/// Reads every record; the log checks each by its checksum, which can be done once more but not be left out.
async fn read(broker: &Broker, hashes_again: bool) {
    for topic in broker.topics().await.expect("the log answers") {
        for (partition, info) in (0u32..).zip(&topic.partitions) {
            let at = kinora::event::TopicPartition { topic: Arc::clone(&topic.name), partition };
            let mut reader = broker.read(&[(at, 0)]).await.expect("the log can be read");
            let mut next = 0;
            while next < info.end {
                let fetched = reader.next(256 << 10).await.expect("the log can be read");
                next = fetched.next;
                for record in fetched.records.iter().filter(|_| hashes_again) {
                    std::hint::black_box(xxh3_64(record.value.as_deref().unwrap_or_default()));
                }
            }
        }
    }
}

/// Folds the whole log through the shop's projections, beside each other.
async fn fold(data: &Path, how: &str) {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let loaded = engine::load(project, &Default::default()).expect("the shop can be read");
    let definitions = loaded.definitions.expect("the shop passes every check");
    let broker = open(data, if how == "parked" { "parked" } else { "log" }, false);
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let durability = if how == "synced" { Durability::Sync } else { Durability::Buffer };
    let store: Arc<dyn Store> = match how {
        "stamped" => Arc::new(MemoryStore::new()),
        "atomic" => Arc::new(MemoryStore::atomic()),
        _ => Arc::new(EmbeddedStore::open(directory.path(), durability).expect("the store opens")),
    };
    let tables = store.open(1, &definitions.plan).await.expect("the tables open");
    let tables = match how {
        "comparing" => Arc::new(Interrupted::comparing(tables)) as Arc<dyn Tables>,
        _ => tables,
    };
    let budget = Budget::new(if how == "budget small" { 16 << 20 } else { 1 << 30 });
    let dog = (how == "watched").then(|| Watchdog::new(Arc::clone(&broker) as _, Duration::from_millis(100)));
    dog.iter().for_each(Watchdog::begin);
    all(&definitions, &broker, &tables, (&budget, dog.as_deref())).await;
    let parked = all_parked(tables.as_ref()).await.expect("reads").len();
    assert_eq!(parked > 0, how == "parked", "{parked} keys are parked");
    if how == "again" {
        let again = Arc::new(Interrupted::forgetful(tables)) as Arc<dyn Tables>;
        all(&definitions, &broker, &again, (&budget, None)).await;
    }
}

/// Every projection from where it stands to the end of its topics.
async fn all(
    definitions: &Definitions,
    broker: &Arc<Broker>,
    tables: &Arc<dyn Tables>,
    (budget, dog): (&Arc<Budget>, Option<&Watchdog>),
) {
    let mut loops = Vec::new();
    for projection in &definitions.projections {
        let topic = broker.topic(&projection.sources[0].topic).await;
        let topic = topic.expect("the log answers").expect("it is there");
        let ends: Vec<Offset> = topic.partitions.iter().map(|partition| partition.end).collect();
        let (one, plan) = (Arc::clone(projection), Arc::clone(&definitions.plan));
        let settings = ProjectSettings::default();
        let opened =
            Projector::open(one, plan, Arc::clone(tables), broker.as_ref(), settings, NOW_MS * 1_000).await;
        let mut projector = opened.expect("the projection can be taken up").within(Arc::clone(budget));
        let (running, state) = watch::channel(ProjectorState::Running);
        let watched = Arc::new(Watched {
            generation: 1,
            topics: projector.topics(),
            projection: Arc::clone(projection),
            partitions: Vec::new(),
            base: Arc::clone(definitions.plan.table(definitions.plan.entity(projection.entity).base)),
            tables: Arc::clone(tables),
            activity: projector.activity(),
            state,
        });
        dog.iter().for_each(|dog| dog.watch(&watched));
        loops.push(tokio::spawn(async move {
            projector.catch_up(&ends).await.expect("it folds to the end");
            drop((watched, running));
        }));
    }
    for one in loops {
        one.await.expect("no write loop panics");
    }
}
