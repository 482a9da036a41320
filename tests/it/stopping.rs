//! A process that is told to end: it answers what it has, refuses the rest, keeps what it acknowledged, and is bounded in
//! how long it takes, whatever hangs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use kinora::engine::{Embedded, EmbeddedSettings};
use kinora::resolve::Request;
use kinora::serve::client::send;
use kinora::source::broker::Broker;
use kinora::store::memory::MemoryStore;
use kinora::testing::{Gate, Gatekeeper, HeldStore};

use crate::support::{Dev, Project, record, until, written};

#[tokio::test]
async fn what_is_under_way_is_answered_and_the_rest_refused_until_it_ends() {
    let project = Project::notes();
    project.write("kinora.toml", "[serve]\nconcurrent = 1\n");
    let dev = Dev::start(&project).await.ready().await;
    let position = dev.publish("notes", &[written("n1", "kept")]).await;
    assert_eq!(dev.text("n1", &position).await.as_deref(), Some("kept"));

    // It waits for an event that will not come, then it answers with what there is.
    let address = dev.endpoint().address;
    let body = json!({ "query": "{ note(id: \"n1\") { text } }" }).to_string();
    let headers = [
        ("content-type", "application/json"),
        ("x-read-after", "notes:0@999999"),
        ("x-read-wait", "5s;on-timeout=stale"),
    ];
    let under_way = async {
        // Where the one who asks below was first, it comes again.
        until("it is let in and answered", async || {
            let reply =
                send(address, "POST", "/graphql", &headers, body.as_bytes()).await.expect("it answers");
            (reply.status == 200).then_some(reply)
        })
        .await
    };
    let told = async {
        let ask = async || dev.post("/graphql", &headers[..1], &body).await;
        until("it is under way", async || (ask().await.status == 503).then_some(())).await;
        dev.tell("TERM");
        let ready = until("it is not ready", async || {
            let ready = dev.get("/health/ready").await;
            (ready.status == 503).then_some(ready)
        });
        assert!(ready.await.text().contains("this process is ending"));
        let line = json!({ "key": "n2", "value": written("n2", "late") }).to_string();
        let reply = dev.post("/topics/notes", &headers[..1], &line).await;
        assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")), "{}", reply.text());
        assert!(reply.text().contains("this process is ending"), "{}", reply.text());
    };
    let (answered, ()) = tokio::join!(under_way, told);
    let answer: Json = serde_json::from_slice(&answered.body).expect("JSON");
    assert_eq!((answered.status, &answer["data"]["note"]["text"]), (200, &json!("kept")));
    assert_eq!(dev.ended().await.code(), Some(0));
    assert!(!project.data().join("endpoint").exists());

    let again = Dev::start(&project).await.ready().await;
    assert_eq!(again.text("n1", &position).await.as_deref(), Some("kept"));
    assert_eq!(again.text("n2", "").await, None);
}

#[tokio::test]
async fn a_backlog_does_not_hold_it_up_and_is_folded_on_from_there() {
    let project = Project::notes();
    let events: Vec<Json> =
        (0..20_000).map(|number| written(&format!("n{}", number % 500), &number.to_string())).collect();
    let mut position = String::new();
    for round in 0..4 {
        let dev = Dev::start(&project).await;
        if round == 0 {
            position = dev.publish("notes", &events).await;
        }
        let begun = Instant::now();
        assert_eq!(dev.signal(["TERM", "INT"][round % 2]).await.code(), Some(0));
        assert!(begun.elapsed() < Duration::from_secs(20), "round {round}: {:?}", begun.elapsed());
    }
    let dev = Dev::start(&project).await.ready().await;
    for number in [0, 250, 499] {
        let last = 19_500 + number;
        assert_eq!(dev.text(&format!("n{number}"), &position).await, Some(last.to_string()));
    }
}

/// An engine on a store whose writes can be held up.
async fn held(project: &Project) -> (Arc<Embedded>, Gatekeeper) {
    let broker = Broker::open(&project.path().join("log")).expect("the log opens");
    let gate = Gatekeeper::default();
    let store = HeldStore::new(Arc::new(MemoryStore::new()), &gate);
    let settings = EmbeddedSettings::new("a key for cursors");
    let started = Embedded::start(Arc::new(broker), Arc::new(store), project.definitions(), settings);
    (started.await.expect("it answers"), gate)
}

const AT_MOST: Duration = Duration::from_millis(300);
const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_store_that_hangs_is_named_and_not_waited_for() {
    let project = Project::notes();
    let (engine, gate) = held(&project).await;
    gate.set(Gate::Closed);
    let after = engine.publish("notes", vec![record(&written("n1", "waits"))]).await.expect("published");
    let state = async || {
        let status = engine.status().await;
        let fetched = status.projections[0].lag_events == 1;
        fetched.then_some(())
    };
    until("it lags", state).await;
    let begun = Instant::now();
    let hung = engine.shut_down_within(AT_MOST).await;
    assert!(begun.elapsed() >= AT_MOST && begun.elapsed() < SOON, "{:?}", begun.elapsed());
    // Whether it has come as far as its commit, only the machine knows; then it is done and the store is what hangs.
    let at = format!("{}:{}", after[0].at.topic, after[0].at.partition);
    let projection = format!(
        "projection \"notes\" did not stop: it is committing all before {at}@{}",
        after[0].offset + 1
    );
    let store = "the store did not come back from writing to the disk";
    assert!(hung == [projection.as_str()] || hung == [store], "{hung:?}");
}

#[tokio::test]
async fn a_disk_that_hangs_or_fails_at_the_end_is_named() {
    for (held_by, said) in [
        (Gate::Closed, "the store did not come back from writing to the disk"),
        (
            Gate::Failing,
            "the store could not make sure of what it wrote: the store is not answering: it fails, as the test asked",
        ),
    ] {
        let project = Project::notes();
        let (engine, gate) = held(&project).await;
        engine.publish("notes", vec![record(&written("n1", "kept"))]).await.expect("published");
        engine.catch_up().await.expect("folded");
        gate.set(held_by);
        let begun = Instant::now();
        assert_eq!(engine.shut_down_within(AT_MOST).await, [said]);
        assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
        assert!(engine.serving().is_none(), "it answers no more");
    }
    let project = Project::notes();
    let (engine, _gate) = held(&project).await;
    let serving = engine.serving().expect("it answers");
    assert_eq!(engine.shut_down_within(AT_MOST).await, [""; 0]);
    let request = Request { query: "{ note(id: \"n1\") { text } }".to_owned(), ..Request::default() };
    let answer = serving.graph.execute(request, &serving.tables).await;
    assert_eq!(
        answer.body,
        br#"{"data":{"note":null},"extensions":{"kinora":{"position":{},"lag":{"events":0,"ms":0}}}}"#
    );
}
