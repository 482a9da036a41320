//! What hangs is named: a handler with the row's key, a store, a log. Nothing else is said to hang, and when it comes back
//! that is seen too.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use serde_json::json;
use tokio::sync::watch;

use kinora::engine::watchdog::{Stall, Watchdog, Watched};
use kinora::engine::{Embedded, EmbeddedSettings};
use kinora::event::{Event, Reject};
use kinora::fold::{Change, Fold};
use kinora::handler::CustomHandlers;
use kinora::project::{ProjectSettings, Projector, ProjectorState};
use kinora::source::broker::Broker;
use kinora::source::file::Lines;
use kinora::store::Store;
use kinora::store::memory::MemoryStore;
use kinora::testing::{Gate, Gatekeeper, HeldSource, HeldStore};
use kinora::value::Value;

use crate::support::{Project, ask, record, until, written};

const AFTER: Duration = Duration::from_millis(100);

fn settings() -> EmbeddedSettings {
    let mut settings = EmbeddedSettings::new("a key for cursors");
    settings.loops.stall = AFTER;
    settings
}

async fn start(project: &Project, store: Arc<dyn Store>, custom: &CustomHandlers) -> Arc<Embedded> {
    let broker = Broker::open(&project.path().join("log")).expect("the log opens");
    let definitions = project.definitions_with(custom);
    Embedded::start(Arc::new(broker), store, definitions, settings()).await.expect("it answers")
}

async fn stall(engine: &Embedded, projection: &str) -> Option<Stall> {
    let status = engine.status().await;
    let one = status.projections.into_iter().find(|one| one.name == projection).expect("it runs");
    assert_eq!(one.state.starts_with("stalled: "), one.stalled.is_some(), "{}", one.state);
    one.stalled
}

async fn until_stalled(engine: &Embedded, projection: &str) -> Stall {
    until("it is said to stand still", async || stall(engine, projection).await).await
}

async fn until_it_goes_on(engine: &Embedded, projection: &str) {
    until("it goes on", async || stall(engine, projection).await.is_none().then_some(())).await;
}

/// A handler that does not come back from some events until it is told.
#[derive(Clone, Default)]
struct Hangs(Arc<(Mutex<bool>, Condvar)>);

impl Hangs {
    fn release(&self) {
        *self.0.0.lock().expect("no test panics with it") = true;
        self.0.1.notify_all();
    }
}

/// Lets go of the handler also where the test fails: its thread is the runtime's.
struct ReleaseAtEnd(Hangs);

impl Drop for ReleaseAtEnd {
    fn drop(&mut self) {
        self.0.release();
    }
}

impl Fold for Hangs {
    fn fold(&self, _: Option<&[Value]>, event: &Event) -> Result<Change, Reject> {
        let (released, told) = &*self.0;
        if &*event.kind == "Hangs" {
            let released = released.lock().expect("no test panics with it");
            let _released = told.wait_while(released, |released| !*released).expect("no test panics with it");
        }
        Ok(Change::Write(vec![Value::text("s1"), Value::text("folded")]))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_does_not_come_back_is_named_with_event_and_row() {
    let project = Project::notes();
    project.write(
        "schema/sensors.graphql",
        "extend type Query { sensor(id: ID!): Sensor @read }\n\
         type Sensor @key(fields: \"id\") @table(name: \"sensors\", partition: \"id\") { id: ID!  text: String! }\n",
    );
    project.write(
        "projections/sensors.yaml",
        "projection: sensors\ninto: Sensor\n\
         from: { topic: sensors, format: json, type: event.type, recordKey: event.id }\n\
         key: { id: event.id }\nunknown: park\nhandler: hangs\n",
    );
    let hangs = Hangs::default();
    let _release = ReleaseAtEnd(hangs.clone());
    let mut custom = CustomHandlers::new();
    custom.insert("hangs".to_owned(), Arc::new(hangs.clone()));
    let engine = start(&project, Arc::new(MemoryStore::new()), &custom).await;
    let events = [json!({ "type": "Works", "id": "s1" }), json!({ "type": "Hangs", "id": "s1" })];
    let after = engine.publish("sensors", events.iter().map(record).collect()).await.expect("published");

    let stall = until_stalled(&engine, "sensors").await;
    let position = after[1].to_string();
    assert_eq!(stall.doing, format!("folding {position}"));
    assert_eq!(stall.key.as_deref(), Some("{\"id\":\"s1\"}"));
    assert!(stall.for_ms >= 100 && stall.to_string().contains("into {\"id\":\"s1\"}, for "), "{stall}");

    let note = engine.publish("notes", vec![record(&written("n1", "goes on"))]).await.expect("published");
    assert_eq!(ask(&engine, "{ note(id: \"n1\") { text } }", &note).await["data"]["note"]["text"], "goes on");
    assert_eq!(self::stall(&engine, "notes").await, None);

    hangs.release();
    until_it_goes_on(&engine, "sensors").await;
    engine.catch_up().await.expect("folded");
    let answer = ask(&engine, "{ sensor(id: \"s1\") { text } }", &after).await;
    assert_eq!(answer["data"]["sensor"]["text"], "folded");
    engine.shut_down().await;
}

#[tokio::test]
async fn a_store_that_hangs_or_fails_is_named_until_it_is_back() {
    let project = Project::notes();
    let gate = Gatekeeper::default();
    let store = HeldStore::new(Arc::new(MemoryStore::new()), &gate);
    let engine = start(&project, Arc::new(store), &CustomHandlers::new()).await;
    for (round, (held, doing)) in
        [(Gate::Closed, "committing all before "), (Gate::Failing, "")].into_iter().enumerate()
    {
        gate.set(held);
        let event = record(&written("n1", &format!("round {round}")));
        let after = engine.publish("notes", vec![event]).await.expect("published");
        let stall = until_stalled(&engine, "notes").await;
        assert!(stall.doing.starts_with(doing), "{stall}");
        assert!(stall.doing.contains("notes:"), "{stall}");
        gate.set(Gate::Open);
        until_it_goes_on(&engine, "notes").await;
        let answer = ask(&engine, "{ note(id: \"n1\") { text } }", &after).await;
        let wait = kinora::resolve::Wait { at_most: Duration::from_secs(20), ..Default::default() };
        let request = kinora::resolve::Request {
            query: "{ note(id: \"n1\") { text } }".to_owned(),
            read_after: after,
            wait,
            ..Default::default()
        };
        let serving = engine.serving().expect("it answers");
        let waited = serving.graph.execute(request, &serving.tables).await;
        let waited: serde_json::Value = serde_json::from_slice(&waited.body).expect("JSON");
        assert_eq!(waited["data"]["note"]["text"], format!("round {round}"), "{answer}");
    }
    engine.shut_down().await;
}

#[tokio::test]
async fn a_log_that_hangs_is_named_and_who_has_nothing_to_do_is_not() {
    let project = Project::notes();
    let definitions = project.definitions();
    let lines = Arc::new(Lines::default());
    lines.create_topic("notes", 1);
    let gate = Gatekeeper::default();
    let source = Arc::new(HeldSource::new(Arc::clone(&lines) as _, &gate));
    let tables = MemoryStore::new().open(1, &definitions.plan).await.expect("opens");
    let projection = Arc::clone(&definitions.projections[0]);
    let projector = Projector::open(
        Arc::clone(&projection),
        Arc::clone(&definitions.plan),
        Arc::clone(&tables),
        source.as_ref(),
        ProjectSettings::default(),
        0,
    );
    let projector = projector.await.expect("opens");
    let (say, state) = watch::channel(ProjectorState::Running);
    let (stop, stopped) = watch::channel(false);
    let base = Arc::clone(definitions.plan.table(definitions.plan.entity(projection.entity).base));
    let activity = projector.activity();
    let watched = Arc::new(Watched {
        generation: 1,
        topics: projector.topics(),
        projection,
        partitions: Vec::new(),
        base,
        tables,
        activity,
        state,
    });
    let dog = Watchdog::new(source, AFTER);
    dog.watch(&watched);
    gate.set(Gate::Closed);
    let running = tokio::spawn(projector.run(say, stopped));

    // Nothing is published yet: however long it is looked, nobody stands still.
    let begun = std::time::Instant::now();
    until("so much time is over", async || {
        dog.look().await;
        assert_eq!(dog.stalls(), vec![]);
        (begun.elapsed() > 3 * AFTER).then_some(())
    })
    .await;

    lines.push("notes", record(&written("n1", "waits"))).expect("taken");
    let look = async || {
        dog.look().await;
        dog.stall_of(1, "notes")
    };
    let stall = until("it is said to stand still", look).await;
    assert_eq!((stall.doing.as_str(), stall.key), ("fetching records after notes:0@0", None));
    gate.set(Gate::Open);
    until("it goes on", async || look().await.is_none().then_some(())).await;
    stop.send_replace(true);
    running.await.expect("no panic");
    drop(watched);
    dog.look().await;
    assert_eq!(dog.stalls(), vec![]);
}
