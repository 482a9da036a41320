//! Several processes share the partitions of the shop over one stamped store, while partitions move among them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use kinora::engine::{
    self, AnswerSettings, Definitions, Embedded, EmbeddedSettings, EngineError, LoopSettings, Projecting,
    Reading, dump,
};
use kinora::event::{Offset, TopicPartition};
use kinora::plan::TableRole;
use kinora::resolve::{OnTimeout, Request, Wait};
use kinora::sample;
use kinora::source::broker::Broker;
use kinora::source::group::{Change, Group, Revoked};
use kinora::source::{NewRecord, Source, SourceError};
use kinora::store::memory::MemoryStore;
use kinora::store::{Generation, Manifest, Store, Tables};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::support::seeds;

const NOW_MS: i64 = 1_767_225_600_000;
const PARTITIONS: u32 = 5;

/// A place in a group that the test shares out.
struct Seat(mpsc::UnboundedReceiver<Change>);

impl Group for Seat {
    fn change(&mut self) -> BoxFuture<'_, Change> {
        Box::pin(async {
            let gone = || Change::Failed(SourceError::Unavailable("the test has ended".to_owned()));
            self.0.recv().await.unwrap_or_else(gone)
        })
    }

    fn report(&self, _: &[(TopicPartition, Offset)]) {}
}

/// Says when it is dropped: what was revoked is handed over.
struct HandOver(Option<oneshot::Sender<()>>);

impl Drop for HandOver {
    fn drop(&mut self) {
        let _ = self.0.take().map(|sender| sender.send(()));
    }
}

/// One process, as the test runs it.
struct Process {
    seat: mpsc::UnboundedSender<Change>,
    holds: BTreeSet<TopicPartition>,
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<(), EngineError>>,
}

struct Deployment {
    definitions: Arc<Definitions>,
    broker: Arc<Broker>,
    store: Arc<MemoryStore>,
}

fn definitions() -> Arc<Definitions> {
    let loaded = engine::load(Path::new(env!("CARGO_MANIFEST_DIR")), &Default::default());
    loaded.expect("the files can be read").definitions.expect("they are valid")
}

fn small() -> LoopSettings {
    let mut settings = LoopSettings::default();
    settings.project.batch_bytes_max = 4 << 10;
    settings.project.cached_rows_max = 20;
    settings
}

impl Deployment {
    async fn new(log: &Path) -> Deployment {
        let definitions = definitions();
        let broker = Arc::new(Broker::open(log).expect("the log opens"));
        for topic in sample::SHOP_TOPICS {
            broker.create_topic(topic, PARTITIONS).expect("the topic is made");
        }
        let store = Arc::new(MemoryStore::new());
        let generation = Generation {
            number: 1,
            definitions: definitions.hash.clone(),
            starts: Vec::new(),
            internal: Vec::new(),
        };
        let manifest = Manifest { active: 1, generations: vec![generation] };
        assert!(store.set_manifest(None, &manifest).await.expect("it is written"));
        Deployment { definitions, broker, store }
    }

    async fn publish(&self, events: &[sample::SampleEvent]) {
        let mut by_topic: BTreeMap<&str, Vec<NewRecord>> = BTreeMap::new();
        for event in events {
            let (key, value) = (Some(event.key.clone().into()), Some(event.value.clone().into()));
            let record =
                NewRecord { key, value, timestamp_ms: Some(event.timestamp_ms), ..NewRecord::default() };
            by_topic.entry(event.topic).or_default().push(record);
        }
        for (topic, records) in by_topic {
            self.broker.append(topic, records).await.expect("published");
        }
    }

    async fn process(&self) -> Process {
        let source = Arc::clone(&self.broker) as Arc<dyn Source>;
        let opened =
            Projecting::open(Arc::clone(&self.definitions), self.store.as_ref(), source, small()).await;
        let engine = opened.expect("the definitions are the active ones");
        let (seat, changes) = mpsc::unbounded_channel();
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(async move { engine.run(&mut Seat(changes), stopped).await });
        Process { seat, holds: BTreeSet::new(), stop, task }
    }

    fn partitions(&self) -> Vec<TopicPartition> {
        let topics = sample::SHOP_TOPICS.into_iter();
        let all = topics.flat_map(|topic| {
            (0..PARTITIONS).map(move |partition| TopicPartition { topic: topic.into(), partition })
        });
        all.collect()
    }

    async fn tables(&self) -> Arc<dyn Tables> {
        self.store.open(1, &self.definitions.plan).await.expect("it opens")
    }

    /// Waits until every partition is folded to its end, by whomever.
    async fn caught_up(&self) {
        let tables = self.tables().await;
        let mut changes = tables.progress_changes();
        let topics = self.broker.topics().await.expect("the log answers");
        let reached = || {
            let progress = tables.progress();
            self.definitions.projections.iter().all(|projection| {
                projection.topics().all(|name| {
                    let topic = topics.iter().find(|topic| topic.name == *name).expect("it is there");
                    (0..).zip(&topic.partitions).all(|(partition, info)| {
                        let at = TopicPartition { topic: Arc::clone(name), partition };
                        progress.of(&projection.name, &at).is_some_and(|mark| mark.next >= info.end)
                    })
                })
            })
        };
        let wait = async {
            while !reached() {
                changes.changed().await.expect("the store is there");
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(60), wait).await;
        assert!(waited.is_ok(), "folding did not reach the end: {:?}", tables.progress());
    }
}

impl Process {
    fn assign(&mut self, partitions: Vec<TopicPartition>) {
        self.holds.extend(partitions.iter().cloned());
        self.seat.send(Change::Assigned(partitions)).expect("the process runs");
    }

    /// Takes partitions away and waits until they are handed over.
    async fn revoke(&mut self, partitions: Vec<TopicPartition>) {
        self.holds.retain(|at| !partitions.contains(at));
        let (sender, handed_over) = oneshot::channel();
        let revoked = Revoked::new(partitions, HandOver(Some(sender)));
        self.seat.send(Change::Revoked(revoked)).expect("the process runs");
        handed_over.await.expect("what is revoked is handed over");
    }

    async fn end(self) -> Result<(), EngineError> {
        self.stop.send_replace(true);
        self.task.await.expect("the process does not panic")
    }
}

/// All rows of all tables, as text.
async fn rows(definitions: &Definitions, tables: &dyn Tables) -> BTreeMap<String, Vec<String>> {
    let mut all = BTreeMap::new();
    for table in &definitions.plan.tables {
        let rows = dump::rows(&definitions.model, &definitions.plan, tables, table.id)
            .await
            .expect("it can be read");
        let mut rows: Vec<String> = rows.into_iter().map(|row| format!("{row:?}")).collect();
        rows.sort_unstable();
        if matches!(table.role, TableRole::Buckets { .. }) {
            // What names a bucket is the row that came first, which may be another.
            rows = vec![format!("{} names", rows.len())];
        }
        all.insert(table.name.clone(), rows);
    }
    all
}

/// The rows as one process makes them, from the same log.
async fn rows_of_one(deployment: &Deployment) -> BTreeMap<String, Vec<String>> {
    let (broker, store) = (Arc::clone(&deployment.broker), Arc::new(MemoryStore::atomic()));
    let settings = EmbeddedSettings::new("a key for cursors");
    let started = Embedded::start(broker, store, Arc::clone(&deployment.definitions), settings).await;
    let engine = started.expect("it answers");
    engine.catch_up().await.expect("it catches up");
    let serving = engine.serving().expect("it answers");
    let rows = rows(&deployment.definitions, serving.tables.as_ref()).await;
    engine.shut_down().await;
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_hand_partitions_to_each_other_make_the_rows_that_one_makes() {
    for seed in seeds(3) {
        let mut chance = fastrand::Rng::with_seed(seed);
        let directory = tempfile::tempdir().expect("a temporary directory");
        let deployment = Deployment::new(directory.path()).await;
        let events: Vec<_> = sample::shop(seed, 4_000, NOW_MS).collect();
        let mut processes = Vec::new();
        for _ in 0..3 {
            processes.push(deployment.process().await);
        }
        for at in deployment.partitions() {
            processes[chance.usize(..3)].assign(vec![at]);
        }
        for some in events.chunks(200) {
            deployment.publish(some).await;
            let (from, to) = (chance.usize(..3), chance.usize(..3));
            let some: Vec<_> =
                processes[from].holds.iter().filter(|_| chance.u8(..3) == 0).cloned().collect();
            match chance.u8(..6) {
                // A process ends and another begins; what it held goes to one that stays.
                0 => {
                    let old = std::mem::replace(&mut processes[from], deployment.process().await);
                    let held = old.holds.iter().cloned().collect();
                    old.end().await.expect("nobody has taken its partitions");
                    processes[to].assign(held);
                }
                _ if some.is_empty() => {}
                _ => {
                    processes[from].revoke(some.clone()).await;
                    processes[to].assign(some);
                }
            }
        }
        deployment.caught_up().await;
        for process in processes {
            process.end().await.expect("nobody has taken its partitions");
        }
        let tables = deployment.tables().await;
        let (made, wanted) =
            (rows(&deployment.definitions, tables.as_ref()).await, rows_of_one(&deployment).await);
        for (table, wanted) in wanted {
            let same = made[&table] == wanted;
            let differs = made[&table].iter().zip(&wanted).find(|(made, wanted)| made != wanted);
            assert!(
                same,
                "seed {seed}: {table}: {} and {} rows, {differs:?}",
                made[&table].len(),
                wanted.len()
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_whose_partition_another_has_taken_ends_and_says_so() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let deployment = Deployment::new(directory.path()).await;
    let events: Vec<_> = sample::shop(1, 2_000, NOW_MS).collect();
    let (mut old, mut new) = (deployment.process().await, deployment.process().await);
    old.assign(deployment.partitions());
    deployment.publish(&events[..1_000]).await;
    deployment.caught_up().await;
    // Nobody tells the old one: it was away for so long that the group has given it up.
    new.assign(deployment.partitions());
    deployment.publish(&events[1_000..]).await;
    let ended = tokio::time::timeout(Duration::from_secs(60), old.task).await.expect("it ends by itself");
    let error = ended.expect("it does not panic").expect_err("its partitions are another's");
    assert!(error.to_string().contains("lost ownership of shop."), "{error}");
    deployment.caught_up().await;
    new.end().await.expect("it is the owner");
    let tables = deployment.tables().await;
    assert_eq!(rows(&deployment.definitions, tables.as_ref()).await, rows_of_one(&deployment).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_that_did_not_make_the_active_generation_are_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let deployment = Deployment::new(directory.path()).await;
    let empty = MemoryStore::new();
    let source = || Arc::clone(&deployment.broker) as Arc<dyn Source>;
    let open = async |store: &MemoryStore| {
        let opened = Projecting::open(Arc::clone(&deployment.definitions), store, source(), small()).await;
        opened.err().expect("it is refused").to_string()
    };
    assert_eq!(open(&empty).await, "the store has no generation yet: run `kinora apply` first");
    let generation =
        Generation { number: 3, definitions: "0123".to_owned(), starts: Vec::new(), internal: Vec::new() };
    let other = Manifest { active: 3, generations: vec![generation] };
    assert!(empty.set_manifest(None, &other).await.expect("it is written"));
    let said = open(&empty).await;
    assert!(said.starts_with("generation 3, which answers, was made by other definitions (0123)"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_only_answers_sees_what_another_folds_and_waits_for_positions() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let deployment = Deployment::new(directory.path()).await;
    let mut folding = deployment.process().await;
    folding.assign(deployment.partitions());
    let store = Arc::clone(&deployment.store) as Arc<dyn Store>;
    let opened =
        Reading::open(Arc::clone(&deployment.definitions), store, AnswerSettings::new("a key for cursors"));
    let reading = opened.await.expect("the definitions are the active ones");
    let value = r#"{"type":"CustomerRegistered","v":1,"at":"2026-01-01T00:00:00.000Z","customerId":"c-me","name":"Ada","email":"ada@example.com"}"#;
    let record = NewRecord { key: Some("c-me".into()), value: Some(value.into()), ..NewRecord::default() };
    let positions = deployment.broker.append("shop.customers", vec![record]).await.expect("published");
    let request = Request {
        query: "{ customer(id: \"c-me\") { name } }".to_owned(),
        read_after: positions,
        wait: Wait { at_most: Duration::from_secs(30), on_timeout: OnTimeout::Fail },
        ..Request::default()
    };
    let serving = reading.serving();
    let answer = serving.graph.execute(request, &serving.tables).await;
    let body = String::from_utf8(answer.body.to_vec()).expect("it is text");
    assert!(body.contains("\"name\":\"Ada\""), "{body}");
    let status = reading.status();
    assert_eq!(status.generation, 1);
    assert!(status.projections.iter().all(|projection| projection.state == "folded elsewhere"));
    folding.end().await.expect("it is the owner");
}
