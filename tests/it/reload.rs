//! Definitions that change while `kinora dev` runs.

use serde_json::json;

use crate::support::{Dev, Project, SCHEMA, projection, until, written};

#[tokio::test]
async fn an_edit_answers_once_it_has_caught_up_with_the_log() {
    let project = Project::notes();
    let dev = Dev::start(&project).await.ready().await;
    let position = dev.publish("notes", &[written("a", "x"), written("b", "y")]).await;
    assert_eq!(dev.text("a", &position).await.as_deref(), Some("x"));

    project.write("projections/notes.yaml", &projection("event.text + \"!\""));
    dev.prints("generation 2 answers, 2 events folded").await;
    assert_eq!(dev.text("a", &position).await.as_deref(), Some("x!"));
    assert_eq!(dev.text("b", &position).await.as_deref(), Some("y!"));
    let position = dev.publish("notes", &[written("a", "z")]).await;
    assert_eq!(dev.text("a", &position).await.as_deref(), Some("z!"));
}

#[tokio::test]
async fn a_faulty_edit_keeps_the_old_definitions_and_shows_the_source_until_it_is_taken_back() {
    let project = Project::notes();
    let dev = Dev::start(&project).await.ready().await;
    dev.publish("notes", &[written("a", "x")]).await;

    project.write("projections/notes.yaml", &projection("evnt.text"));
    dev.prints("generation 1 goes on answering until this is corrected").await;
    assert!(dev.out().contains("there is no name `evnt` here"), "{}", dev.out());
    let position = dev.publish("notes", &[written("a", "y")]).await;
    assert_eq!(dev.text("a", &position).await.as_deref(), Some("y"));
    let status = dev.status().await;
    let shown = status["diagnostics"][0].as_str().expect("a fault");
    for part in ["there is no name `evnt` here", "projections/notes.yaml:7:", "unknown name"] {
        assert!(shown.contains(part), "{shown}");
    }
    assert!(!shown.contains("1 error"), "one fault is not counted: {shown}");

    project.write("projections/notes.yaml", &projection("event.text"));
    dev.prints("generation 1 goes on: the files are its definitions").await;
    assert_eq!(dev.status().await["diagnostics"], json!([]));
}

#[tokio::test]
async fn an_empty_directory_becomes_a_project_while_dev_runs() {
    let project = Project::empty();
    let dev = Dev::start(&project).await;
    dev.prints("nothing answers until this is corrected").await;
    assert_eq!(dev.get("/health/ready").await.status, 503);
    assert_eq!(dev.get("/sdl").await.status, 503);
    let reply =
        dev.post("/graphql", &[("content-type", "application/json")], r#"{"query":"{ __typename }"}"#).await;
    assert_eq!(reply.status, 503);
    assert!(reply.text().contains("nothing answers yet"), "{}", reply.text());

    project.write("schema/notes.graphql", SCHEMA);
    project.write("projections/notes.yaml", &projection("event.text"));
    dev.prints("generation 1 answers, 0 events folded").await;
    let position = dev.publish("notes", &[written("a", "x")]).await;
    assert_eq!(dev.text("a", &position).await.as_deref(), Some("x"));
}

#[tokio::test]
async fn files_that_come_and_go_are_seen() {
    let project = Project::notes();
    let dev = Dev::start(&project).await.ready().await;
    project.write(
        "schema/tags.graphql",
        "extend type Query { tag(id: ID!): Tag @read }\n\
         type Tag @key(fields: \"id\") @table(name: \"tags\", partition: \"id\") { id: ID! }\n",
    );
    // Until the projection is there the schema alone has a warning at most; both together answer.
    project.write(
        "projections/tags.yaml",
        "projection: tags\ninto: Tag\nfrom: { topic: tags, format: json, type: event.type, recordKey: event.id }\n\
         key: { id: event.id }\nunknown: park\nevents:\n  TagMade: { upsert: {} }\n",
    );
    until("both projections run", async || {
        (dev.status().await["projections"].as_array()?.len() == 2).then_some(())
    })
    .await;
    project.remove("projections/tags.yaml");
    project.remove("schema/tags.graphql");
    until("one projection runs", async || {
        (dev.status().await["projections"].as_array()?.len() == 1).then_some(())
    })
    .await;
    let position = dev.publish("notes", &[written("a", "x")]).await;
    assert_eq!(dev.text("a", &position).await.as_deref(), Some("x"));
}

#[tokio::test]
async fn of_edits_in_quick_succession_the_last_one_answers() {
    let project = Project::notes();
    let dev = Dev::start(&project).await.ready().await;
    let position = dev.publish("notes", &[written("a", "x")]).await;
    for number in 0..20 {
        project.write("projections/notes.yaml", &projection(&format!("event.text + \"{number}\"")));
    }
    until("the last edit answers", async || (dev.text("a", &position).await? == "x19").then_some(())).await;
    assert_eq!(dev.status().await["diagnostics"], json!([]));
    assert_eq!(dev.status().await["building"], json!(null));
}

#[tokio::test]
async fn with_format_json_every_line_is_a_value() {
    let project = Project::notes();
    let dev = Dev::start_with(&project, &["--format", "json"]).await.ready().await;
    dev.prints("\"generation\":1").await;
    project.write("projections/notes.yaml", &projection("evnt.text"));
    dev.prints("\"findings\"").await;
    let lines: Vec<serde_json::Value> = dev
        .out()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|fault| panic!("{fault}: {line}")))
        .collect();
    assert_eq!(lines[0]["listening"], json!(format!("http://{}", dev.endpoint().address)));
    assert_eq!(lines[1], json!({ "generation": 1, "folded": 0, "changed": true }));
    assert_eq!(lines[2]["findings"][0]["line"], json!(7));
}
