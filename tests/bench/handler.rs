//! What a declared handler costs: decoding, routing and folding an event of the shop's orders, beside `serde_json` and
//! the same mapping written in Rust by hand.
//!
//! Run `cargo bench --bench handler`. Both sides take the same records in the same order and keep rows in a map; both
//! must make the same rows before any time is taken. Times are CPU time of this process, which does nothing else; pairs
//! are interleaved; the ratio is the median of the pairs', with the least and the greatest. `KINORA_BENCH_EVENTS` sets
//! how many events (default 50,000), `KINORA_BENCH_PAIRS` how many pairs (default 12), and
//! `KINORA_BENCH_ALONE=N` folds them so many times on our side alone: for a profiler.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use kinora::engine::{self, Definitions, dump};
use kinora::event::{Json, Record, TopicPartition};
use kinora::fold::{self, State};
use kinora::handler::Projection;
use kinora::plan::TablePlan;
use kinora::route::{Routed, decode, route_decoded};
use kinora::sample;
use kinora::value::encode::RowKey;
use rustc_hash::FxHashMap;

#[path = "../../src/allocator.rs"]
mod allocator;
#[path = "by_hand.rs"]
mod by_hand;
#[path = "pairs.rs"]
mod pairs;
#[path = "usage.rs"]
mod usage;

use by_hand::ByHand;
use pairs::{Compared, compared};
use usage::cpu_seconds_of_threads;

const NOW_MS: i64 = 1_760_000_000_000;
const TOPIC: &str = "shop.orders";
/// Records that are routed before they are folded, and decoded before they are routed: as the write loop does.
const CHUNK_RECORDS: usize = 128;
const DECODED_AT_ONCE: usize = 16;

fn main() {
    allocator::set_up();
    let number = |name: &str, default: usize| {
        std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
    };
    let (events, pairs) = (number("KINORA_BENCH_EVENTS", 50_000), number("KINORA_BENCH_PAIRS", 12));
    let loaded = engine::load(Path::new(env!("CARGO_MANIFEST_DIR")), &Default::default());
    let loaded = loaded.expect("the shop can be read");
    let definitions = loaded.definitions.expect("the shop passes every check");
    let records = records(events);
    let ours = Ours::of(&definitions);
    if let Ok(times) = std::env::var("KINORA_BENCH_ALONE") {
        for _ in 0..times.parse().expect("a number") {
            std::hint::black_box(ours.folded(&records));
        }
        return;
    }
    verify(&ours, &definitions, &records);
    println!(
        "handler: CPU per event of the shop's orders, ours beside serde_json and Rust by hand, {pairs} pairs"
    );
    let bytes: usize = records.iter().map(|record| record.value.as_ref().map_or(0, Bytes::len)).sum();
    println!("  {} events of {} bytes on average", records.len(), bytes / records.len());
    let time = |run: &dyn Fn()| {
        let start = cpu_seconds_of_threads();
        run();
        (cpu_seconds_of_threads() - start) * 1e9 / records.len() as f64
    };
    let told = |name: &str, ours: &dyn Fn(), theirs: &dyn Fn()| {
        let Compared { ours, theirs, ratio, least, greatest } =
            compared(pairs, || time(ours), || time(theirs));
        println!(
            "  {name:<24} {ours:>6.0} ns beside {theirs:>6.0} ns: {ratio:.2} times ({least:.2}..{greatest:.2})"
        );
    };
    told("decode", &|| ours.decoded(&records), &|| by_hand::decoded(&records));
    told("decode, route and fold", &|| drop(ours.folded(&records)), &|| drop(ByHand::folded(&records)));
}

/// Events of the shop's orders, as the log would hold them.
fn records(count: usize) -> Vec<Record> {
    // About one event of eight is an order's.
    let events = sample::shop(1, count * 10, NOW_MS).filter(|event| event.topic == TOPIC).take(count);
    let record = |(offset, event): (u64, sample::SampleEvent)| Record {
        offset,
        timestamp_ms: event.timestamp_ms,
        key: Some(event.key.into()),
        value: Some(event.value.into()),
        headers: Vec::new(),
    };
    let records: Vec<Record> = (0..).zip(events).map(record).collect();
    assert!(records.len() * 2 > count, "the sample has only {} events of {TOPIC}", records.len());
    records
}

/// The projection as it is declared.
struct Ours<'a> {
    projection: &'a Projection,
    base: &'a TablePlan,
    at: TopicPartition,
}

impl<'a> Ours<'a> {
    fn of(definitions: &'a Definitions) -> Ours<'a> {
        let named = |projection: &&Arc<Projection>| &*projection.name == "orders";
        let projection = definitions.projections.iter().find(named).expect("the shop has orders");
        let base = definitions.plan.table(definitions.plan.entity(projection.entity).base);
        Ours { projection, base, at: TopicPartition { topic: TOPIC.into(), partition: 0 } }
    }

    fn decoded(&self, records: &[Record]) {
        for record in records {
            let body: Result<Json, _> = decode(record).expect("an event has a value");
            drop(std::hint::black_box(body.expect("an event is JSON")));
        }
    }

    fn folded(&self, records: &[Record]) -> FxHashMap<RowKey, State> {
        let mut rows: FxHashMap<RowKey, State> = FxHashMap::default();
        for chunk in records.chunks(CHUNK_RECORDS) {
            let decoded = chunk.chunks(DECODED_AT_ONCE).flat_map(|records| {
                let decoded: Vec<_> = records.iter().map(decode).collect();
                records.iter().zip(decoded)
            });
            let routed: Vec<_> =
                decoded.map(|decoded| route_decoded(self.projection, self.base, &self.at, decoded)).collect();
            for routed in routed {
                let Routed::Event { key, key_cells, event } = routed else {
                    panic!("an order's event concerns one row")
                };
                let row = rows.entry(key).or_default();
                fold::apply(self.projection, &key_cells, row, &event).expect("the sample can be folded");
            }
        }
        rows
    }
}

/// Both sides must make the same rows.
fn verify(ours: &Ours<'_>, definitions: &Definitions, records: &[Record]) {
    let order = ours.projection.entity;
    let rows = ours.folded(records);
    let by_hand = ByHand::folded(records);
    assert_eq!(rows.len(), by_hand.orders.len(), "both sides make as many rows");
    for cells in rows.values().flatten() {
        let row = dump::row(&definitions.model, order, cells);
        let id = row["id"].as_str().expect("an order has its id");
        assert_eq!(serde_json::Value::Object(row.clone()), by_hand.orders[id].json(id), "{id} differs");
    }
}
