//! Folding: CPU seconds for a million of the shop's events, decode + fold + store, from the embedded log into the
//! embedded store.
//!
//! Run `cargo bench --bench fold`; `KINORA_BENCH_EVENTS` sets another number of events. The log is filled by a process
//! of its own, so that peak memory is that of folding alone. CPU time is the whole process's, both user and system;
//! wall time stands beside it and depends on the machine.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use kinora::engine::{self, Embedded, EmbeddedSettings};
use kinora::project::ProjectSettings;
use kinora::resolve::Limits;
use kinora::sample;
use kinora::source::NewRecord;
use kinora::source::broker::Broker;
use kinora::store::Store;
use kinora::store::embedded::EmbeddedStore;

#[path = "usage.rs"]
mod usage;

use usage::{cpu_seconds, peak_memory_mib};

/// Set for the process that fills the log: where.
const FILL: &str = "KINORA_BENCH_FILL";
const NOW_MS: i64 = 1_760_000_000_000;

fn main() {
    let events =
        std::env::var("KINORA_BENCH_EVENTS").map_or(1_000_000, |text| text.parse().expect("a number"));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime can be built");
    if let Ok(data) = std::env::var(FILL) {
        return runtime.block_on(fill(Path::new(&data), events));
    }
    let data = tempfile::tempdir().expect("a temporary directory can be made");
    let this = std::env::current_exe().expect("this program has a path");
    let filled = Command::new(this).env(FILL, data.path()).status().expect("this program can be started");
    assert!(filled.success(), "the log could not be filled");
    runtime.block_on(fold(data.path(), events));
}

async fn fill(data: &Path, events: usize) {
    let broker = Broker::open(&data.join("log")).expect("the log opens");
    for topic in sample::SHOP_TOPICS {
        broker.create_topic(topic, 4).expect("a topic can be made");
    }
    let mut waiting: std::collections::BTreeMap<&str, Vec<NewRecord>> = Default::default();
    for event in sample::shop(1, events, NOW_MS) {
        let records = waiting.entry(event.topic).or_default();
        records.push(NewRecord {
            key: Some(event.key.into()),
            value: Some(event.value.into()),
            headers: Vec::new(),
            timestamp_ms: Some(event.timestamp_ms),
            partition: None,
        });
        if records.len() == 1_000 {
            broker.append(event.topic, std::mem::take(records)).await.expect("the log takes records");
        }
    }
    for (topic, records) in waiting {
        broker.append(topic, records).await.expect("the log takes records");
    }
}

async fn fold(data: &Path, events: usize) {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let loaded = engine::load(project, &Default::default()).expect("the shop can be read");
    let definitions = loaded.definitions.expect("the shop passes every check");
    let broker = Arc::new(Broker::open(&data.join("log")).expect("the log opens"));
    let store: Arc<dyn Store> =
        Arc::new(EmbeddedStore::open(&data.join("store"), Default::default()).expect("the store opens"));
    let settings = EmbeddedSettings {
        project: ProjectSettings::default(),
        limits: Limits::default(),
        cursor_secrets: vec![b"of the benchmark".to_vec()],
        introspection: false,
        partitions: Default::default(),
        partitions_default: 4,
    };
    let (cpu, wall) = (cpu_seconds(), Instant::now());
    let engine =
        Embedded::start(broker, store, Arc::clone(&definitions), settings).await.expect("the engine starts");
    let (cpu, wall) = (cpu_seconds() - cpu, wall.elapsed().as_secs_f64());

    let serving = engine.serving().expect("it answers");
    let mut rows = 0;
    for table in &definitions.plan.tables {
        let mut after = None;
        loop {
            let page =
                serving.tables.all(table.id, after.as_ref(), 1_000).await.expect("a table can be read");
            let Some(last) = page.last() else { break };
            after = Some(last.key.clone());
            rows += page.len();
        }
    }
    let parked = serving.tables.parked().keys.len();
    let millions = events as f64 / 1e6;
    println!("fold: {events} events of the shop, decode + fold + store, embedded");
    println!("  CPU        {:.2} s, {:.2} s per million events", cpu, cpu / millions);
    println!("  wall       {wall:.2} s, {:.0} events/s", events as f64 / wall);
    println!("  final rows {rows} in {} tables, {parked} keys parked", definitions.plan.tables.len());
    println!("  peak RSS   {:.0} MiB", peak_memory_mib());
    engine.shut_down().await;
}
