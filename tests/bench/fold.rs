//! Folding: CPU seconds for a million of the shop's events, from the embedded log through the four projections into
//! the embedded store, and how they are spent.
//!
//! Run `cargo bench --bench fold`; `KINORA_BENCH_EVENTS` sets another number of events, `KINORA_BENCH_BATCH` another
//! number of bytes that the write loops fetch at once, `KINORA_BENCH_ROWS` another number of rows of a batch. The events are made and
//! appended by a process of its own, and each stage runs in one too: what is reported is that of the stage alone. A
//! stage does what the one before does and one thing more:
//!
//! | stage | does |
//! | --- | --- |
//! | read | takes the records out of the log |
//! | decode | makes a JSON object of each |
//! | route | finds its type, version and row; upcasts it |
//! | fold | makes the row's next state, rows kept in a map |
//! | store | all that `dev` does: the write loops, copies, buckets, progress, commits |
//!
//! CPU time is that of the whole process, all threads, user and system apart; wall time depends on the machine's
//! cores. Rows written counts every mutation of every table, so a row that changes in two batches counts twice.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use kinora::decode;
use kinora::engine::{self, Definitions};
use kinora::event::{Offset, Record, TopicPartition};
use kinora::fold::{self, State};
use kinora::handler::Projection;
use kinora::plan::TablePlan;
use kinora::project::{ProjectSettings, Projector};
use kinora::route::{Routed, route};
use kinora::sample;
use kinora::source::broker::{Broker, BrokerSettings};
use kinora::source::{NewRecord, Source};
use kinora::store::embedded::EmbeddedStore;
use kinora::store::{Store, Tables};
use kinora::testing::Interrupted;
use kinora::value::encode::RowKey;
use rustc_hash::FxHashMap;
use sonic_rs::JsonValueTrait;

#[path = "../../src/allocator.rs"]
mod allocator;
#[path = "usage.rs"]
mod usage;

use usage::{cpu, peak_memory_mib};

/// Set for the processes that this one starts: what to do, and where.
const STAGE: &str = "KINORA_BENCH_STAGE";
const DATA: &str = "KINORA_BENCH_DATA";
const STAGES: [&str; 6] = ["fill", "read", "decode", "route", "fold", "store"];
const NOW_MS: i64 = 1_760_000_000_000;
const BATCH_BYTES: usize = 1 << 20;

fn main() {
    allocator::set_up();
    let events =
        std::env::var("KINORA_BENCH_EVENTS").map_or(1_000_000, |text| text.parse().expect("a number"));
    if let (Ok(stage), Ok(data)) = (std::env::var(STAGE), std::env::var(DATA)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        return runtime.expect("a runtime can be built").block_on(run(&stage, Path::new(&data), events));
    }
    println!("fold: {events} events of the shop, from the embedded log into the embedded store");
    println!("CPU seconds are per million events");
    let data = tempfile::tempdir().expect("a temporary directory can be made");
    let this = std::env::current_exe().expect("this program has a path");
    for stage in STAGES {
        let status = Command::new(&this).env(STAGE, stage).env(DATA, data.path()).status();
        assert!(status.expect("this program can be started").success(), "stage {stage} failed");
    }
}

async fn run(stage: &str, data: &Path, events: usize) {
    let broker = Broker::open_with(&data.join("log"), BrokerSettings { sync: false, ..Default::default() });
    let broker = broker.expect("the log opens");
    if stage == "fill" {
        return fill(&broker, events).await;
    }
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let loaded = engine::load(project, &Default::default()).expect("the shop can be read");
    let definitions = loaded.definitions.expect("the shop passes every check");
    let (before, began) = (cpu(), Instant::now());
    let more = match stage {
        "store" => store(data, &broker, &definitions).await,
        _ => pure(stage, &broker, &definitions).await,
    };
    let (after, wall) = (cpu(), began.elapsed().as_secs_f64());
    let millions = events as f64 / 1e6;
    let (user, system) = ((after.user - before.user) / millions, (after.system - before.system) / millions);
    println!(
        "  {stage:<7} CPU {:6.2} s (user {user:.2}, system {system:.2}), wall {wall:.2} s, {:.0} events/s, \
         peak memory {:.0} MiB{}",
        user + system,
        events as f64 / wall,
        peak_memory_mib(),
        more.told(wall),
    );
}

/// What a stage made.
enum Made {
    /// Rows and records, so that no work is optimised away.
    Rows {
        rows: usize,
        rejected: usize,
    },
    Written {
        rows: u64,
        batches: u64,
        parked: usize,
    },
}

impl Made {
    fn told(&self, wall: f64) -> String {
        match self {
            Made::Rows { rows, rejected } => format!(", {rows} rows, {rejected} rejected"),
            Made::Written { rows, batches, parked } => format!(
                ", {rows} rows written in {batches} batches, {:.0} rows/s, {parked} keys parked",
                *rows as f64 / wall
            ),
        }
    }
}

async fn fill(broker: &Broker, events: usize) {
    for topic in sample::SHOP_TOPICS {
        broker.create_topic(topic, 4).expect("a topic can be made");
    }
    let mut waiting: FxHashMap<&str, Vec<NewRecord>> = FxHashMap::default();
    for event in sample::shop(1, events, NOW_MS) {
        let records = waiting.entry(event.topic).or_default();
        records.push(NewRecord {
            key: Some(event.key.into()),
            value: Some(event.value.into()),
            timestamp_ms: Some(event.timestamp_ms),
            ..NewRecord::default()
        });
        if records.len() == 1_000 {
            broker.append(event.topic, std::mem::take(records)).await.expect("the log takes records");
        }
    }
    for (topic, records) in waiting {
        broker.append(topic, records).await.expect("the log takes records");
    }
}

/// The stages before the store: each projection goes through its topic once.
async fn pure(stage: &str, broker: &Broker, definitions: &Definitions) -> Made {
    let (mut rows, mut rejected) = (0, 0);
    for projection in &definitions.projections {
        let base = definitions.plan.table(definitions.plan.entity(projection.entity).base);
        let mut stage =
            Stage { name: stage, projection, base, rows: FxHashMap::default(), seen: 0, rejected: 0 };
        let topic =
            broker.topic(&projection.sources[0].topic).await.expect("the log answers").expect("it is there");
        for (partition, info) in (0u32..).zip(&topic.partitions) {
            let at = TopicPartition { topic: Arc::clone(&topic.name), partition };
            let mut reader = broker.read(&[(at.clone(), 0)]).await.expect("the log can be read");
            let mut next = 0;
            while next < info.end {
                let fetched = reader.next(BATCH_BYTES).await.expect("the log can be read");
                fetched.records.iter().for_each(|record| stage.take(&at, record));
                next = fetched.next;
            }
        }
        rows += stage.rows.len() + stage.seen;
        rejected += stage.rejected;
    }
    Made::Rows { rows, rejected }
}

struct Stage<'a> {
    name: &'a str,
    projection: &'a Projection,
    base: &'a TablePlan,
    rows: FxHashMap<RowKey, State>,
    seen: usize,
    rejected: usize,
}

impl Stage<'_> {
    fn take(&mut self, at: &TopicPartition, record: &Record) {
        match self.name {
            "read" => self.seen += usize::from(record.value.is_some()),
            "decode" => match decode::json(record.value.as_deref().unwrap_or_default()) {
                Ok(body) => self.seen += usize::from(!std::hint::black_box(body).is_null()),
                Err(_) => self.rejected += 1,
            },
            _ => match route(self.projection, self.base, at, record) {
                Routed::Event { key, key_cells, event } if self.name == "fold" => {
                    let row = self.rows.entry(key).or_default();
                    if fold::apply(self.projection, &key_cells, row, &event).is_err() {
                        self.rejected += 1;
                    }
                }
                Routed::Event { .. } => self.seen += 1,
                _ => self.rejected += 1,
            },
        }
    }
}

/// The whole: four write loops beside each other, as `dev` runs them.
async fn store(data: &Path, broker: &Broker, definitions: &Definitions) -> Made {
    let store = EmbeddedStore::open(&data.join("store"), Default::default()).expect("the store opens");
    let inner = store.open(1, &definitions.plan).await.expect("the tables open");
    // Counts, and passes everything on.
    let counted = Arc::new(Interrupted::after(inner, u64::MAX));
    let mut settings = ProjectSettings::default();
    if let Ok(bytes) = std::env::var("KINORA_BENCH_BATCH") {
        settings.batch_bytes_max = bytes.parse().expect("a number of bytes");
    }
    if let Ok(rows) = std::env::var("KINORA_BENCH_ROWS") {
        settings.batch_rows_max = rows.parse().expect("a number of rows");
    }
    let mut loops = Vec::new();
    for projection in &definitions.projections {
        let tables = Arc::clone(&counted) as Arc<dyn Tables>;
        let (projection, plan) = (Arc::clone(projection), Arc::clone(&definitions.plan));
        let topic =
            broker.topic(&projection.sources[0].topic).await.expect("the log answers").expect("it is there");
        let ends: Vec<Offset> = topic.partitions.iter().map(|partition| partition.end).collect();
        let projector = Projector::open(projection, plan, tables, broker, settings, NOW_MS * 1_000).await;
        let mut projector = projector.expect("the projection can be taken up");
        loops
            .push(tokio::spawn(async move { projector.catch_up(&ends).await.expect("it folds to the end") }));
    }
    for one in loops {
        one.await.expect("no write loop panics");
    }
    let (batches, now) = (counted.batches(), counted.parked());
    let parked: usize = definitions.projections.iter().map(|projection| now.keys(&projection.name)).sum();
    // A batch writes its progress once, and the decision about a parked key.
    Made::Written { rows: counted.written() - batches - parked as u64, batches, parked }
}
