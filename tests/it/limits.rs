//! Answers that would grow without end, and files that are too few.

use std::process::Command;
use std::time::Instant;

use kinora::engine::{Embedded, EmbeddedSettings};
use kinora::serve::client::send;
use kinora::source::broker::Broker;
use kinora::store::memory::MemoryStore;
use serde_json::{Value as Json, json};
use std::sync::Arc;

use crate::both::project;
use crate::support::{Dev, Project, ask, record, until, written};

/// Five nodes, each of which leads to all five.
const SCHEMA: &str = r#"
type Query { node(id: ID!): Node @read }
type Node @key(fields: "id") @table(name: "nodes", partition: "id") {
  id: ID!
  nextIds: [ID!] @column(max: 5)
  next: [Node!] @ref(key: "nextIds")
}
"#;

const NODES: &str = "
projection: nodes
into: Node
from: { topic: nodes, format: json, type: event.type, recordKey: event.id }
key: { id: event.id }
unknown: park
events:
  Node: { upsert: { nextIds: event.next } }
";

async fn nodes(change: impl FnOnce(&mut EmbeddedSettings)) -> (Project, Arc<Embedded>) {
    let project = project(SCHEMA, NODES);
    let broker = Broker::open(&project.path().join("log")).expect("the log opens");
    let mut settings = EmbeddedSettings::new("a key for cursors");
    change(&mut settings);
    let started =
        Embedded::start(Arc::new(broker), Arc::new(MemoryStore::new()), project.definitions(), settings);
    let engine = started.await.expect("it answers");
    let ids = ["a", "b", "c", "d", "e"];
    let events = ids.map(|id| record(&json!({ "type": "Node", "id": id, "next": ids })));
    engine.publish("nodes", events.to_vec()).await.expect("published");
    engine.catch_up().await.expect("folded");
    (project, engine)
}

/// So many levels of nodes: each multiplies the answer by five, and reads the same five rows.
fn query(levels: usize) -> String {
    format!("{{ node(id: \"a\") {}{{ id }}{} }}", "{ next ".repeat(levels), " }".repeat(levels))
}

fn refusal(answer: &Json) -> (&str, &str) {
    let error = &answer["errors"][0];
    assert!(answer.get("data").is_none(), "an answer that is too large has no data");
    (error["extensions"]["code"].as_str().expect("a code"), error["message"].as_str().expect("a message"))
}

#[tokio::test]
async fn a_list_that_leads_back_to_itself_ends_at_the_bound_of_an_answer() {
    let (_project, engine) = nodes(|_| {}).await;
    let small = ask(&engine, &query(3), &[]).await;
    assert_eq!(small["data"]["node"]["next"][4]["next"][4]["next"][4]["id"], "e");
    let begun = Instant::now();
    let answer = ask(&engine, &query(18), &[]).await;
    let (code, message) = refusal(&answer);
    assert_eq!(code, "LIMIT_EXCEEDED");
    assert!(message.contains("more than 33554432 bytes (`serve.limits.answer`)"), "{message}");
    assert!(begun.elapsed().as_secs() < 20, "4 billion objects are not written: {:?}", begun.elapsed());
    engine.shut_down().await;
}

#[tokio::test]
async fn an_answer_is_bounded_below_at_and_above() {
    let (_project, engine) = nodes(|_| {}).await;
    let whole = engine.serving().expect("it answers");
    let request = |levels| kinora::resolve::Request { query: query(levels), ..Default::default() };
    for levels in [1, 4] {
        let answer = whole.graph.execute(request(levels), &whole.tables).await;
        let json: Json = serde_json::from_slice(&answer.body).expect("JSON");
        let len = br#"{"data":"#.len() + json["data"].to_string().len();
        for (bound, fits) in [(len + 1, true), (len, true), (len - 1, false)] {
            let (_project, bounded) = nodes(|settings| settings.answers.limits.answer_bytes = bound).await;
            let bounded_answer = ask(&bounded, &query(levels), &[]).await;
            match fits {
                true => assert_eq!(bounded_answer["data"], json["data"], "{bound}"),
                false => assert_eq!(refusal(&bounded_answer).0, "LIMIT_EXCEEDED", "{bound}"),
            }
            bounded.shut_down().await;
        }
    }
    engine.shut_down().await;
}

#[tokio::test]
async fn rows_held_for_an_answer_are_bounded() {
    // The first row has its two cells and the five of its list; what is not
    // asked for, its id and their lists, is not read.
    let all = 17 * size_of::<kinora::value::Value>() + 10;
    for (bound, fits) in [(all + 1, true), (all, true), (all - 1, false)] {
        let (_project, engine) = nodes(|settings| settings.answers.limits.read_bytes = bound).await;
        let answer = ask(&engine, &query(1), &[]).await;
        match fits {
            true => assert_eq!(answer["data"]["node"]["next"][4]["id"], "e"),
            false => {
                let (code, message) = refusal(&answer);
                assert_eq!(code, "LIMIT_EXCEEDED");
                assert!(
                    message.contains(&format!("more than {bound} bytes (`serve.limits.read`)")),
                    "{message}"
                );
            }
        }
        engine.shut_down().await;
    }
}

/// Runs `dev` where so few files may be opened.
fn dev_with_files(project: &Project, files: usize) -> Command {
    let mut command = Command::new("sh");
    let dev = format!(
        "ulimit -n {files}; exec {} dev --listen 127.0.0.1:0 --project {}",
        env!("CARGO_BIN_EXE_kinora"),
        project.path().display()
    );
    command.arg("-c").arg(dev);
    command
}

#[test]
fn too_few_files_are_refused_before_anything_is_opened() {
    let project = Project::notes();
    let ended = dev_with_files(&project, 64).output().expect("sh is there");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(4), "{said}");
    assert!(said.contains("may open 64 files at once") && said.contains("ulimit -n 4096"), "{said}");
    assert!(!project.data().join("log").exists());
}

#[tokio::test]
async fn few_files_are_enough_for_many_connections_and_projections() {
    let project = Project::notes();
    let dev = Dev::run(&project, dev_with_files(&project, 256)).await.ready().await;
    let mut open = Vec::new();
    for _ in 0..300 {
        open.extend(tokio::net::TcpStream::connect(dev.endpoint().address).await);
    }
    // Of many that come at once some are closed without a word.
    let told = async || send(dev.endpoint().address, "GET", "/health/live", &[], &[]).await.ok();
    let reply = until("it is told to come again", told).await;
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")));
    assert!(dev.err().contains("`serve.connections` is 128 instead of 1024"), "{}", dev.err());
    drop(open);
    until("there is room again", async || told().await.filter(|reply| reply.status == 200)).await;
    let dev = dev.ready().await;
    let position = dev.publish("notes", &[written("n1", "still there")]).await;
    assert_eq!(dev.text("n1", &position).await.as_deref(), Some("still there"));
}
