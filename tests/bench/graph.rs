//! Reading: our executor beside async-graphql's dynamic one, over the same rows in the same store.
//!
//! Run `cargo bench --bench graph`. Both sides answer the same operations, and must answer the same data before any
//! time is taken. Requests are made beforehand in the form that each side takes them; from there on to the bytes of the
//! answer all is counted. Pairs are interleaved A B B A; each figure is CPU time of this process, which nothing else uses. The
//! ratio is the median of the pairs', with the least and the greatest. `KINORA_BENCH_PAIRS` sets how many (default 8).
//! `KINORA_BENCH_ALONE=list` runs our side only, of operations with that in their name: for a profiler.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

#[path = "pairs.rs"]
mod pairs;
#[path = "peer.rs"]
mod peer;
#[path = "usage.rs"]
mod usage;

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value as Json, json};
use tokio::runtime::Runtime;

use kinora::engine::{self, Embedded, EmbeddedSettings, Serving};
use kinora::resolve::Request;
use kinora::source::NewRecord;
use kinora::source::broker::Broker;
use kinora::store::embedded::EmbeddedStore;

use pairs::{Compared, compared};
use usage::cpu_seconds_of_threads as cpu_seconds;

#[path = "../../src/allocator.rs"]
mod allocator;

const ORDERS: usize = 1_500;
const FIELDS: &str = "id number status placedAt total { amount currency }";

struct Operation {
    name: &'static str,
    query: String,
    variables: Map<String, Json>,
    /// How often it runs in one measurement.
    repeat: u32,
}

fn main() {
    allocator::set_up();
    let pairs: usize = std::env::var("KINORA_BENCH_PAIRS").map_or(8, |text| text.parse().expect("a number"));
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be built");
    let data = tempfile::tempdir().expect("a temporary directory can be made");
    let engine = runtime.block_on(start(data.path()));
    let serving = engine.serving().expect("it answers");
    let model = Arc::clone(&engine.definitions().expect("it has definitions").model);
    let plan = Arc::clone(&engine.definitions().expect("it has definitions").plan);
    let peer = runtime.block_on(peer::build(&model, &plan, Arc::clone(&serving.tables)));
    println!("graph: CPU per operation, ours beside async-graphql's dynamic executor, {pairs} pairs");
    let alone = std::env::var("KINORA_BENCH_ALONE").ok();
    for operation in operations() {
        if let Some(part) = &alone {
            if operation.name.contains(part.as_str()) {
                repeat_alone(&runtime, &serving, &operation, pairs);
            }
            continue;
        }
        compare(&runtime, &serving, &peer, &operation, pairs);
    }
    runtime.block_on(engine.shut_down());
}

fn operations() -> [Operation; 4] {
    let entities = |name, count: usize, repeat| {
        let representation =
            |n: usize| json!({ "__typename": "Order", "id": format!("o{:05}", n * 7 % ORDERS) });
        Operation {
            name,
            query: format!(
                "query ($r: [_Any!]!) {{ _entities(representations: $r) {{ ... on Order {{ {FIELDS} }} }} }}"
            ),
            variables: Map::from_iter([("r".to_owned(), (0..count).map(representation).collect())]),
            repeat,
        }
    };
    [
        Operation {
            name: "one row by key",
            query: format!("{{ order(id: \"o00007\") {{ {FIELDS} }} }}"),
            variables: Map::new(),
            repeat: 4_000,
        },
        Operation {
            name: "list of 1,000 nodes",
            query: format!(
                "{{ ordersToPick(warehouseId: \"w1\", first: 1000) {{ nodes {{ {FIELDS} }} pageInfo {{ hasNextPage }} }} }}"
            ),
            variables: Map::new(),
            repeat: 40,
        },
        entities("_entities × 100", 100, 300),
        entities("_entities × 500", 500, 60),
    ]
}

/// An engine with `ORDERS` paid orders of one warehouse.
async fn start(data: &Path) -> Arc<Embedded> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let loaded = engine::load(project, &Default::default()).expect("the shop can be read");
    let broker = Arc::new(Broker::open(&data.join("log")).expect("the log opens"));
    let store = EmbeddedStore::open(&data.join("store"), Default::default()).expect("the store opens");
    let mut settings = EmbeddedSettings::new("of the benchmark");
    settings.answers.introspection = false;
    let definitions = loaded.definitions.expect("the shop passes every check");
    let engine =
        Embedded::start(broker, Arc::new(store), definitions, settings).await.expect("the engine starts");
    let mut records = Vec::new();
    for n in 0..ORDERS {
        let (id, at) = (
            format!("o{n:05}"),
            format!("2026-01-{:02}T00:{:02}:{:02}.000Z", n % 28 + 1, n / 60 % 60, n % 60),
        );
        let placed = json!({ "type": "OrderPlaced", "v": 1, "at": at, "orderId": id, "number": format!("n{n}"),
            "customerId": format!("u{}", n % 100), "warehouseId": "w1", "currency": "EUR",
            "lines": [{ "productId": "p1", "categoryId": "k1", "name": "Lamp", "quantity": 2, "unitPrice": "12.50" }] });
        let paid = json!({ "type": "PaymentTaken", "v": 1, "at": at, "orderId": id, "paymentId": "y", "amount": "25.00" });
        for event in [placed, paid] {
            records.push(NewRecord {
                key: Some(id.clone().into()),
                value: Some(event.to_string().into()),
                headers: Vec::new(),
                timestamp_ms: None,
                partition: None,
            });
        }
    }
    engine.publish("shop.orders", records).await.expect("the log takes records");
    engine.catch_up().await.expect("no projection halts");
    engine
}

fn compare(runtime: &Runtime, serving: &Serving, peer: &peer::Schema, operation: &Operation, pairs: usize) {
    let ours = |requests: Vec<Request>| {
        requests.into_iter().map(|request| answer(runtime, serving, request)).last().unwrap_or_default()
    };
    let theirs = |requests: Vec<peer::Request>| {
        let answers = requests.into_iter().map(|request| runtime.block_on(peer::execute(peer, request)));
        answers.last().unwrap_or_default()
    };
    let our_request = || request(operation);
    let their_request = || peer::request(&operation.query, &operation.variables);
    let data =
        |body: &[u8]| serde_json::from_slice::<Json>(body).expect("an answer is JSON")["data"].to_string();
    let (our_answer, their_answer) = (ours(vec![our_request()]), theirs(vec![their_request()]));
    assert_eq!(data(&our_answer), data(&their_answer), "{}: the answers differ", operation.name);

    let time_ours = || time(operation, our_request, ours);
    let time_theirs = || time(operation, their_request, theirs);
    // Theirs by ours: how many times as fast ours is.
    let Compared { ours: theirs, theirs: ours, ratio, least, greatest } =
        compared(pairs, time_theirs, time_ours);
    println!(
        "  {:<20} {ours:>8.0} µs beside {theirs:>8.0} µs: {ratio:.1} times ({least:.1}..{greatest:.1})",
        operation.name
    );
}

/// CPU microseconds for each of an operation's answers.
fn time<R>(operation: &Operation, request: impl Fn() -> R, run: impl Fn(Vec<R>) -> Vec<u8>) -> f64 {
    let requests: Vec<R> = (0..operation.repeat).map(|_| request()).collect();
    let start = cpu_seconds();
    std::hint::black_box(run(requests));
    (cpu_seconds() - start) * 1e6 / f64::from(operation.repeat)
}

fn request(operation: &Operation) -> Request {
    Request { query: operation.query.clone(), variables: operation.variables.clone(), ..Request::default() }
}

/// Our answer.
fn answer(runtime: &Runtime, serving: &Serving, request: Request) -> Vec<u8> {
    runtime.block_on(serving.graph.execute(request, &serving.tables)).body
}

fn repeat_alone(runtime: &Runtime, serving: &Serving, operation: &Operation, times: usize) {
    let run = |requests: Vec<Request>| {
        requests.into_iter().map(|request| answer(runtime, serving, request)).last().unwrap_or_default()
    };
    let micros: f64 = (0..times).map(|_| time(operation, || request(operation), run)).sum();
    println!("  {:<20} {:>8.0} µs", operation.name, micros / times as f64);
}
