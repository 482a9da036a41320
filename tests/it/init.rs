//! `kinora init`: a new project checks, tests and runs as it is, and nothing that is there is written over.

use serde_json::json;

use crate::support::{Dev, Project, written};

#[tokio::test]
async fn a_new_project_checks_tests_and_runs() {
    let project = Project::empty();
    project.run(&["init"]).says(0, &["schema/notes.graphql", "next: kinora test --project "]);
    project.run(&["check"]).says(0, &["ok: 1 read model, 2 tables, 2 reads, 1 projection"]);
    project.run(&["test"]).says(0, &["2 passed, 0 failed"]);
    let dev = Dev::start(&project).await.ready().await;
    let event =
        json!({ "type": "NoteWritten", "at": "2026-01-01T10:00:00Z", "id": "a", "author": "b", "text": "x" });
    let line = json!({ "key": "a", "value": event }).to_string();
    project.run_with(&["publish", "notes"], &line).says(0, &["1 record published"]);
    drop(dev);
}

#[test]
fn nothing_is_written_over() {
    let project = Project::empty();
    let made = project.run(&["init", "--format", "json"]).says(0, &[]).json();
    assert_eq!(made["files"].as_array().map(Vec::len), Some(5));
    project.write("projections/notes.yaml", "mine");
    project.run(&["init"]).says(2, &["already has schema/notes.graphql", "nothing is written over"]);
    let text = std::fs::read_to_string(project.path().join("projections/notes.yaml")).expect("it is there");
    assert_eq!(text, "mine");

    let other = Project::empty();
    other.write("schema/shop.graphql", "type Query { a: Int }");
    other.run(&["init"]).says(2, &["already has files in schema/"]);
    assert!(!other.path().join("projections").exists(), "nothing is made where something stands in the way");
    let new = other.path().join("a/b");
    let named = new.to_str().expect("a path is text");
    other.run(&["init", named]).says(0, &["projections/notes.cases.yaml"]);
    assert!(new.join(".gitignore").is_file());
}

const EVENTS: &str = r#"{"type":"OrderPlaced","at":"2026-01-01T10:00:00Z","id":"o1","total":"12.50","lines":[{"sku":"a","n":1},{"sku":"b","n":2}]}
{"key":"o1","value":{"type":"OrderPaid","at":"2026-01-01T10:01:00Z","id":"o1","method":"CARD"}}

"#;

#[test]
fn a_read_model_is_proposed_from_a_file_of_events() {
    let project = Project::empty();
    project.write("shop.orders.jsonl", EVENTS);
    let file = project.path().join("shop.orders.jsonl");
    let file = file.to_str().expect("a path is text");
    project
        .run(&["init", "--from", file])
        .says(0, &["schema/orders.graphql", "projections/orders.cases.yaml"]);
    project.run(&["check"]).says(0, &["ok: 1 read model, 1 table, 1 read, 1 projection"]);
    project.run(&["test"]).says(0, &["ok OrderPlaced, OrderPaid makes its rows", "1 passed, 0 failed"]);
    project.run(&["init", "--from", file]).says(2, &["already has schema/orders.graphql"]);
    let text = std::fs::read_to_string(project.path().join("schema/orders.graphql")).expect("it is there");
    assert!(text.contains("lines: [OrderLines!]! @column(as: MAP, key: \"sku\", max: 100)"), "{text}");
}

#[test]
fn a_sample_that_proposes_nothing_says_why() {
    let project = Project::empty();
    project.write("a.jsonl", "{\"x\":1.5}\n");
    project.write("b.jsonl", "{\"id\":\"a\"}\noops\n");
    project.write("c.jsonl", "[1]\n");
    let path = |name: &str| project.path().join(name).to_str().expect("a path is text").to_owned();
    project
        .run(&["init", "--from", &path("a.jsonl")])
        .says(1, &["in every event none is", "nothing was written"]);
    project.run(&["init", "--from", &path("b.jsonl")]).says(1, &["b.jsonl:2: this line is not JSON"]);
    project.run(&["init", "--from", &path("b.jsonl"), "--sample", "1"]).says(0, &["schema/b.graphql"]);
    project.run(&["init", "--from", &path("c.jsonl")]).says(1, &["no event that is a JSON object"]);
    project.run(&["init", "--from", &path("none.jsonl")]).says(2, &["none.jsonl: No such file"]);
    project
        .run(&["init", "--from", &path("a.jsonl"), "--topic", "a b"])
        .says(2, &["is not a topic name", "--topic names it"]);
    project.run(&["init", "--key", "id"]).says(2, &["--key and --data need --from or --topic"]);
    project.run(&["init", "--topic", "notes"]).says(4, &["holds no data of Kinora"]);
}

#[tokio::test]
async fn a_read_model_is_proposed_from_a_topic() {
    let project = Project::notes();
    let line = r#"{"key":"a","value":{"type":"NoteWritten","id":"a","text":"x"}}"#;
    project.run_with(&["publish", "notes"], line).says(0, &["1 record published"]);
    let new = project.path().join("new");
    let named = new.to_str().expect("a path is text");
    project.run(&["init", named, "--topic", "nots"]).says(2, &["has no topic \"nots\"; it has notes"]);
    let dev = Dev::start(&project).await.ready().await;
    dev.publish("notes", &[written("b", "while it runs")]).await;
    project.run(&["init", named, "--topic", "notes"]).says(0, &["schema/notes.graphql"]);
    let data = project.data();
    let data = data.to_str().expect("a path is text");
    project.run(&["check", "--sample", "--data", data]).says(0, &["sample: 2 events of 2"]);
    drop(dev);
}

#[test]
fn a_topic_is_sampled_from_the_log_of_its_data() {
    let project = Project::notes();
    let line = r#"{"key":"a","value":{"type":"NoteWritten","id":"a","text":"x"}}"#;
    project.run_with(&["publish", "notes"], line).says(0, &["1 record published"]);
    let new = project.path().join("new");
    let named = new.to_str().expect("a path is text");
    project
        .run(&["init", named, "--topic", "notes"])
        .says(0, &["schema/notes.graphql", "projections/notes.yaml"]);
    let text = std::fs::read_to_string(new.join("projections/notes.cases.yaml")).expect("it is there");
    assert!(text.contains(r#"rows: { Note: [{"id":"a","text":"x"}] }"#), "{text}");
}
