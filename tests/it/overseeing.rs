//! What an operator sees of processes that share a store, and asks of them, whoever works the partition.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use kinora::engine::{Definitions, EngineError, LoopSettings, Overseeing, Patience, Projecting, Status};
use kinora::event::{Offset, TopicPartition};
use kinora::serve::{Backend, ParkedAction, ParkedDone, ParkedError, ParkedQuery, ParkedView, PauseOrder};
use kinora::source::broker::Broker;
use kinora::source::group::{Change, Group};
use kinora::source::{NewRecord, Source};
use kinora::store::coordination::Request;
use kinora::store::memory::MemoryStore;
use kinora::store::{Generation, Manifest, Owner, ParkedPage, Store, Tables};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::support::{LIMIT, Project, record, until, written};

/// A place in a group that gives it everything, once.
struct Alone(Option<Vec<TopicPartition>>);

impl Group for Alone {
    fn change(&mut self) -> BoxFuture<'_, Change> {
        Box::pin(async {
            match self.0.take() {
                Some(partitions) => Change::Assigned(partitions),
                None => std::future::pending().await,
            }
        })
    }

    fn report(&self, _: &[(TopicPartition, Offset)]) {}
}

/// A process that folds.
struct Process {
    engine: Arc<Projecting>,
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<(), EngineError>>,
}

impl Process {
    async fn end(self) {
        self.stop.send_replace(true);
        self.task.await.expect("it does not panic").expect("nobody has taken its partitions");
    }
}

impl Process {
    /// Ends it after a projection of it has halted, which it says.
    async fn end_halted(self) {
        self.stop.send_replace(true);
        let ended = self.task.await.expect("it does not panic");
        assert!(matches!(ended, Err(EngineError::Stopped { .. })), "{ended:?}");
    }
}

struct Deployment {
    definitions: Arc<Definitions>,
    broker: Arc<Broker>,
    store: MemoryStore,
    _log: tempfile::TempDir,
}

const TOPIC: &str = "notes";

fn at() -> TopicPartition {
    TopicPartition { topic: TOPIC.into(), partition: 0 }
}

impl Deployment {
    async fn new() -> Deployment {
        let (definitions, log) = (Project::notes().definitions(), tempfile::tempdir().expect("a directory"));
        let broker = Arc::new(Broker::open(log.path()).expect("the log opens"));
        broker.create_topic(TOPIC, 1).expect("the topic is made");
        let store = MemoryStore::new();
        let generation = Generation {
            number: 1,
            definitions: definitions.hash.clone(),
            starts: Vec::new(),
            internal: Vec::new(),
        };
        let manifest = Manifest { active: 1, generations: vec![generation] };
        assert!(store.set_manifest(None, &manifest).await.expect("it is written"));
        Deployment { definitions, broker, store, _log: log }
    }

    async fn publish(&self, events: &[serde_json::Value]) {
        let records: Vec<NewRecord> = events.iter().map(record).collect();
        self.broker.append(TOPIC, records).await.expect("published");
    }

    async fn process(&self) -> Process {
        self.process_with(LoopSettings::default()).await
    }

    async fn process_with(&self, settings: LoopSettings) -> Process {
        let source = Arc::clone(&self.broker) as Arc<dyn Source>;
        let opened = Projecting::open(Arc::clone(&self.definitions), &self.store, source, settings).await;
        let engine = opened.expect("the definitions are the active ones");
        let (stop, stopped) = watch::channel(false);
        let working = Arc::clone(&engine);
        let task = tokio::spawn(async move { working.run(&mut Alone(Some(vec![at()])), stopped).await });
        Process { engine, stop, task }
    }

    async fn tables(&self) -> Arc<dyn Tables> {
        self.store.open(1, &self.definitions.plan).await.expect("it opens")
    }

    async fn operator(&self) -> Arc<Overseeing> {
        let patience = Patience { answer: Duration::from_secs(20), owner: Duration::from_millis(300) };
        self.operator_with(patience).await
    }

    async fn operator_with(&self, patience: Patience) -> Arc<Overseeing> {
        let source = Some(Arc::clone(&self.broker) as Arc<dyn Source>);
        let asking = ("ada@desk".to_owned(), patience);
        let opened = Overseeing::open(Arc::clone(&self.definitions), &self.store, source, asking).await;
        opened.expect("the definitions are the active ones")
    }

    /// Waits until so many events are folded, or wait.
    async fn folded(&self, next: u64) {
        let tables = self.tables().await;
        let mut changes = tables.progress_changes();
        let reached = || tables.progress().of("notes", &at()).is_some_and(|mark| mark.next >= next);
        let wait = async {
            while !reached() {
                changes.changed().await.expect("the store is there");
            }
        };
        assert!(tokio::time::timeout(LIMIT, wait).await.is_ok(), "{:?}", tables.progress());
    }
}

fn eaten(id: &str) -> serde_json::Value {
    json!({ "type": "NoteEaten", "id": id })
}

fn action(release: &str) -> ParkedAction {
    ParkedAction { release: release.to_owned(), projection: None, first: None }
}

async fn parked(operator: &Overseeing) -> Vec<ParkedView> {
    operator.parked(ParkedQuery::default()).await.expect("the store answers").parked
}

async fn status_until(operator: &Overseeing, what: &str, is: impl Fn(&Status) -> bool) -> Status {
    until(what, async || {
        Some(operator.status().await.expect("the store answers")).filter(|status| is(status))
    })
    .await
}

const KEY: &str = r#"{"id":"a"}"#;

#[tokio::test(flavor = "multi_thread")]
async fn steps_are_done_by_whoever_owns_the_partition() {
    let deployment = Deployment::new().await;
    let operator = deployment.operator().await;
    let process = deployment.process().await;
    deployment
        .publish(&[
            written("a", "before"),
            eaten("a"),
            written("a", "between"),
            eaten("a"),
            written("a", "after"),
        ])
        .await;
    deployment.folded(5).await;
    let listed = parked(&operator).await;
    assert_eq!((listed.len(), listed[0].key.as_str(), listed[0].waiting), (1, KEY, 4));
    let shown = operator.parked_key(KEY, ParkedQuery::default()).await.expect("the store answers");
    assert_eq!(shown[0].queue.len(), 4);
    assert!(shown[0].queue[0].value.as_ref().is_some_and(|value| value.contains("NoteEaten")), "{shown:?}");

    let told = status_until(&operator, "somebody says that he owns it", |status| {
        status.projections[0].partitions[0].owner.is_some()
    })
    .await;
    let part = &told.projections[0].partitions[0];
    assert_eq!((part.position, part.end, part.parked_keys), (5, 5, 1));
    assert_eq!(part.owner.as_ref().map(|owner| owner.epoch), Some(1));
    assert_eq!(told.projections[0].state, "running");

    let vain = operator.release_parked(KEY, action("retry")).await.expect("it is answered");
    assert_eq!((vain.applied, vain.waiting), (0, 4));
    assert!(vain.stopped.is_some_and(|reason| reason.contains("NoteEaten is not known")));
    let skipped = operator.release_parked(KEY, action("skip-first")).await.expect("it is answered");
    assert_eq!((skipped.skipped, skipped.applied, skipped.waiting), (1, 1, 2));
    let dropped = operator.release_parked(KEY, action("drop")).await.expect("it is answered");
    assert_eq!((dropped.dropped, dropped.waiting), (2, 0));
    assert_eq!(parked(&operator).await, []);
    let error = operator.release_parked(KEY, action("retry")).await.expect_err("it is free").to_string();
    assert_eq!(error, format!("nothing is parked under {KEY:?}; `kinora parked list` shows the keys"));
    let query = ParkedQuery { projection: Some("carts".to_owned()), ..ParkedQuery::default() };
    let error = operator.parked(query).await.expect_err("there is none").to_string();
    assert_eq!(error, "there is no projection \"carts\"; there are notes");
    process.end().await;
    let status = operator.status().await.expect("the store answers");
    assert_eq!(status.projections[0].partitions[0].owner, None, "who ends in order says so");
    assert_eq!(status.projections[0].state, "nobody works it: no `kinora project` runs");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_owns_the_partition_nothing_is_done_and_it_is_said() {
    let deployment = Deployment::new().await;
    let operator = deployment.operator().await;
    let process = deployment.process().await;
    deployment.publish(&[eaten("a")]).await;
    deployment.folded(1).await;
    process.end().await;
    let error = operator.release_parked(KEY, action("drop")).await.expect_err("nobody is there").to_string();
    assert!(
        error.starts_with("nobody works notes:0 of projection \"notes\", so nothing was done"),
        "{error}"
    );
    let process = deployment.process().await;
    let error = operator.release_parked(KEY, action("eat")).await.expect_err("what is that").to_string();
    assert_eq!(error, "\"eat\" is not what can be done: retry, skip-first or drop");
    let operator = deployment.operator_with(Patience::default()).await;
    let dropped = operator.release_parked(KEY, action("drop")).await.expect("somebody is there now");
    assert_eq!(dropped, ParkedDone { dropped: 1, ..ParkedDone::default() });
    process.end().await;
}

/// A request about the first event that waits.
async fn request(deployment: &Deployment, step: &str) -> Request {
    let tables = deployment.tables().await;
    let page = ParkedPage { projection: None, rows: None, after: None, limit: 1 };
    let item = tables.parked_page(page).await.expect("reads").pop().expect("a key is parked");
    let first =
        tables.parked_queue("notes", &item.key, None, 1).await.expect("reads").pop().expect("one waits");
    Request {
        id: 7,
        projection: "notes".into(),
        at: at(),
        key: item.key,
        step: step.into(),
        first: Some(format!("notes:0@{}", first.offset).into()),
        by: "bob@desk".into(),
        asked_ms: 1,
    }
}

/// Asks, and lets the owner of an epoch take it on, which never answers.
async fn take_on(deployment: &Deployment, request: &Request, epoch: u64) {
    let tables = deployment.tables().await;
    let desk = tables.coordination().expect("processes share it");
    let asked = desk.ask(request, LIMIT).await.expect("it is asked");
    let owner = Owner { projection: "notes".into(), at: at(), epoch };
    assert!(desk.take(&asked, &owner).await.expect("it is taken on"));
}

async fn answer_of(deployment: &Deployment, request: &Request) -> serde_json::Value {
    let tables = deployment.tables().await;
    let desk = tables.coordination().expect("processes share it");
    let answer = until("it is answered", async || {
        let asked = desk.asked_at(&request.projection, &request.at).await.expect("reads");
        asked.and_then(|asked| asked.answer)
    })
    .await;
    serde_json::from_str(&answer).expect("it is JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_owner_did_before_it_died_is_not_done_twice() {
    for step in ["skip-first", "drop"] {
        let deployment = Deployment::new().await;
        let process = deployment.process().await;
        deployment.publish(&[eaten("a"), written("a", "x"), eaten("a")]).await;
        deployment.folded(3).await;
        // The owner does it, and dies before it can say so: here it is done at its own desk.
        let request = request(&deployment, step).await;
        let done = Backend::release_parked(process.engine.as_ref(), KEY.to_owned(), action(step)).await;
        let done = done.expect("it owns the partition");
        assert_eq!(done.skipped + done.dropped, if step == "drop" { 3 } else { 1 });
        process.task.abort();
        let _ = process.task.await;
        take_on(&deployment, &request, 1).await;
        // Another event of the key waits by now.
        deployment.publish(&[eaten("a")]).await;
        let process = deployment.process().await;
        deployment.folded(4).await;
        let answer = answer_of(&deployment, &request).await;
        let counts = ["skipped", "dropped", "applied"].map(|what| answer["done"][what].as_u64());
        assert_eq!(counts, [Some(0); 3], "{step}: {answer}");
        let operator = deployment.operator().await;
        let waiting: u64 = parked(&operator).await.iter().map(|key| key.waiting).sum();
        assert_eq!(waiting, if step == "drop" { 1 } else { 2 }, "{step}");
        process.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_behind_another_waits_and_says_so_where_that_does_not_end() {
    let deployment = Deployment::new().await;
    let process = deployment.process().await;
    deployment.publish(&[eaten("a")]).await;
    deployment.folded(1).await;
    // One that a later epoch has taken on, which never answers.
    take_on(&deployment, &request(&deployment, "skip-first").await, 99).await;
    let patience = Patience { answer: Duration::from_millis(300), owner: Duration::from_millis(300) };
    let operator = deployment.operator_with(patience).await;
    let error = operator.release_parked(KEY, action("retry")).await.expect_err("it is taken").to_string();
    let said =
        "notes:0 of projection \"notes\" is asked to skip-first for bob@desk, and has not answered yet";
    assert!(error.starts_with(said), "{error}");
    process.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_projection_keeps_its_partitions_folds_nothing_and_goes_on_where_it_was() {
    let deployment = Deployment::new().await;
    let operator = deployment.operator().await;
    let process = deployment.process().await;
    deployment.publish(&[eaten("a"), written("b", "first")]).await;
    deployment.folded(2).await;
    let order = |pause| PauseOrder { projection: "notes".to_owned(), pause, by: "ada@desk".to_owned() };
    let done = operator.set_paused(order(true)).await.expect("it is written");
    assert!(done.paused && done.changed, "{done:?}");
    let again = operator.set_paused(PauseOrder { by: "bob@desk".to_owned(), ..order(true) }).await;
    let again = again.expect("it is read");
    assert_eq!((again.changed, again.by.as_deref()), (false, Some("ada@desk")));
    // The loop has heeded it: only then is anything published that it must not fold.
    until("the process says that it is paused", async || {
        let state = process.engine.status().await.projections[0].state.clone();
        state.starts_with("paused by ada@desk since 2").then_some(())
    })
    .await;
    deployment.publish(&[written("b", "second")]).await;
    let told = operator.status().await.expect("the store answers");
    assert!(told.projections[0].state.starts_with("paused by ada@desk since 2"), "{told:?}");
    // Keys are set free meanwhile.
    let skipped = operator.release_parked(KEY, action("skip-first")).await.expect("it is answered");
    assert_eq!((skipped.skipped, skipped.waiting), (1, 0));
    let told = operator.status().await.expect("the store answers");
    assert_eq!((told.projections[0].lag_events, told.projections[0].partitions[0].position), (1, 2));
    process.end().await;

    let process = deployment.process().await;
    let told = status_until(&operator, "somebody owns it", |status| {
        status.projections[0].partitions[0].owner.as_ref().is_some_and(|owner| owner.epoch == 2)
    })
    .await;
    assert_eq!(told.projections[0].partitions[0].position, 2, "a pause outlives the process");
    let done = operator.set_paused(order(false)).await.expect("it is written");
    assert!(!done.paused && done.changed, "{done:?}");
    deployment.folded(3).await;
    status_until(&operator, "it runs", |status| status.projections[0].state == "running").await;
    let error = operator.set_paused(PauseOrder { projection: "x".to_owned(), ..order(true) }).await;
    let error = error.expect_err("there is none");
    assert!(
        matches!(&error, ParkedError::Refused(text) if text == "there is no projection \"x\"; there are notes")
    );
    process.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_a_halted_projection_are_set_free_by_its_owner() {
    let deployment = Deployment::new().await;
    let operator = deployment.operator().await;
    let mut settings = LoopSettings::default();
    settings.project.parked_keys_max = 1;
    let process = deployment.process_with(settings).await;
    deployment.publish(&[eaten("a")]).await;
    deployment.folded(1).await;
    deployment.publish(&[eaten("b")]).await;
    let told = status_until(&operator, "it has halted", |status| {
        status.projections[0].state.starts_with("halted: 2 keys are parked")
    })
    .await;
    assert!(told.projections[0].partitions[0].owner.is_some());
    let dropped = operator.release_parked(KEY, action("drop")).await.expect("it is answered");
    assert_eq!((dropped.dropped, dropped.waiting), (1, 0));
    process.end_halted().await;
    let process = deployment.process_with(settings).await;
    deployment.folded(2).await;
    assert_eq!(parked(&operator).await[0].key, r#"{"id":"b"}"#);
    process.end().await;
}
