//! `kinora init`: a new project checks, tests and runs as it is, and nothing that is there is written over.

use serde_json::json;

use crate::support::{Dev, Project};

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
