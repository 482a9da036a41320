//! The engine as the driver sees it: a log on disk, a store on disk or in memory, the write loops and the graph.
//!
//! A restart drops the runtime with everything that runs on it, wherever it is, and opens the same data again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use fastrand::Rng;
use serde_json::{Map, Value as Json};
use tokio::runtime::Runtime;

use kinora::engine::{self, Definitions, Embedded, EmbeddedSettings, Serving};
use kinora::plan::{TablePlan, TableRole};
use kinora::project::{ProjectSettings, Projector};
use kinora::resolve::{Limits, Request};
use kinora::source::broker::Broker;
use kinora::source::{NewRecord, Source, TopicInfo};
use kinora::store::embedded::EmbeddedStore;
use kinora::store::memory::MemoryStore;
use kinora::store::{Store, all_parked};
use kinora::testing::Interrupted;

use crate::driver::{Engine, Held};
use crate::oracle::Sent;
use crate::rows;

/// Which store a run is on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum StoreKind {
    Memory,
    Embedded,
}

/// The shop on an embedded engine.
pub struct Kinora {
    definitions: Arc<Definitions>,
    data: tempfile::TempDir,
    kind: StoreKind,
    /// The memory store outlives restarts as a database would.
    memory: Arc<MemoryStore>,
    batch_bytes_max: usize,
    running: Option<Running>,
}

struct Running {
    engine: Arc<Embedded>,
    runtime: Runtime,
}

impl Kinora {
    /// Starts on fresh data.
    pub fn start(project: &Path, kind: StoreKind, batch_bytes_max: usize) -> Kinora {
        let loaded = engine::load(project, &Default::default()).expect("the project can be read");
        let definitions =
            loaded.definitions.unwrap_or_else(|| panic!("the shop is refused: {:#?}", loaded.findings));
        let mut kinora = Kinora {
            definitions,
            data: tempfile::tempdir().expect("a temporary directory can be made"),
            kind,
            memory: Arc::new(MemoryStore::new()),
            batch_bytes_max,
            running: None,
        };
        kinora.open();
        kinora
    }

    fn open(&mut self) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime can be built");
        let broker = Arc::new(Broker::open(&self.path("log")).expect("the log opens"));
        let store: Arc<dyn Store> = match self.kind {
            StoreKind::Memory => Arc::clone(&self.memory) as _,
            StoreKind::Embedded => Arc::new(
                EmbeddedStore::open(&self.path("store"), Default::default()).expect("the store opens"),
            ),
        };
        let mut settings = EmbeddedSettings::new("a secret of the tests");
        settings.loops.project = self.settings();
        // So small that loops wait for each other.
        settings.loops.budget_bytes = 256 << 10;
        settings.answers.limits = Limits { depth: 100, ..Limits::default() };
        let started = Embedded::start(broker, store, Arc::clone(&self.definitions), settings);
        let engine = runtime.block_on(started).expect("the engine starts");
        self.running = Some(Running { engine, runtime });
    }

    fn settings(&self) -> ProjectSettings {
        ProjectSettings {
            batch_bytes_max: self.batch_bytes_max,
            // So few that a fetch is committed in parts.
            batch_rows_max: if self.batch_bytes_max == 5_000 { 3 } else { 4_000 },
            parked_keys_max: usize::MAX,
            parked_share_max: 1.0,
            // So small that rows are often read from the store again.
            cached_rows_max: 3,
            ..ProjectSettings::default()
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.data.path().join(name)
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("it runs between calls")
    }

    fn serving(&self) -> Arc<Serving> {
        self.running().engine.serving().expect("it answers once it has started")
    }

    /// A table's rows as the store holds them, cells by column name.
    fn rows(&self, table: &TablePlan) -> Vec<Json> {
        let serving = self.serving();
        self.running().runtime.block_on(rows::stored(
            &self.definitions.model,
            table,
            (serving.tables.as_ref(), 7),
        ))
    }
}

impl Engine for Kinora {
    fn publish(&mut self, records: &[Sent]) -> Vec<String> {
        let mut by_topic: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (number, sent) in records.iter().enumerate() {
            by_topic.entry(&sent.topic).or_default().push(number);
        }
        let mut positions = vec![String::new(); records.len()];
        let running = self.running();
        for (topic, numbers) in by_topic {
            let batch = numbers.iter().map(|number| new_record(&records[*number])).collect();
            let at = running
                .runtime
                .block_on(running.engine.publish(topic, batch))
                .expect("the log takes records");
            for (number, position) in numbers.into_iter().zip(at) {
                positions[number] = position.to_string();
            }
        }
        positions
    }

    fn catch_up(&mut self) {
        let running = self.running();
        running.runtime.block_on(running.engine.catch_up()).expect("no projection halts");
    }

    fn restart(&mut self, rng: &mut Rng) {
        let Running { engine, runtime } = self.running.take().expect("it runs between calls");
        if rng.bool() {
            runtime.block_on(engine.shut_down());
        }
        // Whatever is under way ends at the next point where it waits.
        drop(runtime);
        drop(engine);
        self.batch_bytes_max = [1, 200, 5_000, 1 << 20][rng.usize(0..4)];
        self.open();
    }

    fn redeliver(&mut self) {
        let serving = self.serving();
        let running = self.running();
        running.runtime.block_on(async {
            for projection in &self.definitions.projections {
                let tables = Arc::new(Interrupted::forgetful(Arc::clone(&serving.tables)));
                let broker = running.engine.broker();
                let ends: TopicInfo = broker
                    .topic(&projection.sources[0].topic)
                    .await
                    .expect("the log answers")
                    .expect("the topic is there");
                let ends: Vec<_> = ends.partitions.iter().map(|partition| partition.end).collect();
                let plan = Arc::clone(&self.definitions.plan);
                let opened = Projector::open(
                    Arc::clone(projection),
                    plan,
                    tables,
                    broker.as_ref(),
                    self.settings(),
                    1,
                )
                .await;
                let mut projector = opened.expect("the projection opens");
                projector.catch_up(&ends).await.expect("what was folded can be folded again");
            }
        });
        // The partitions are theirs now: those that ran before would halt.
        drop(serving);
        let Running { engine, runtime } = self.running.take().expect("it runs between calls");
        runtime.block_on(engine.shut_down());
        drop(runtime);
        drop(engine);
        self.open();
    }

    fn table(&mut self, name: &str) -> Vec<Json> {
        let mut tables = self.definitions.plan.tables.iter();
        let table =
            tables.find(|table| table.name == name && !matches!(table.role, TableRole::Buckets { .. }));
        self.rows(table.unwrap_or_else(|| panic!("there is no table {name}")))
    }

    fn query(&mut self, query: &str, variables: &Map<String, Json>) -> Json {
        let request = Request { query: query.to_owned(), variables: variables.clone(), ..Request::default() };
        let serving = self.serving();
        let answer = self.running().runtime.block_on(serving.graph.execute(request, &serving.tables));
        serde_json::from_slice(&answer.body).expect("an answer is JSON")
    }

    fn parked(&mut self) -> Vec<Held> {
        let tables = Arc::clone(&self.serving().tables);
        let parked =
            self.running().runtime.block_on(all_parked(tables.as_ref())).expect("the store can be read");
        let held = parked.iter().map(|((projection, _), entry)| Held {
            projection: projection.to_string(),
            key: entry.shown.to_string(),
            since: format!("{}:{}@{}", entry.since.at.topic, entry.since.at.partition, entry.since.offset),
            waiting: entry.waiting,
        });
        held.collect()
    }
}

fn new_record(sent: &Sent) -> NewRecord {
    NewRecord {
        key: sent.key.clone().map(Bytes::from),
        value: sent.value.clone().map(Bytes::from),
        headers: Vec::new(),
        timestamp_ms: None,
        partition: None,
    }
}
