//! Generations: one takes the place of another, and what no request needs any more goes.

use std::sync::Arc;

use serde_json::json;

use kinora::engine::{Embedded, EngineError};
use kinora::store::embedded::{Durability, EmbeddedStore};
use kinora::store::{Generation, Manifest, Store};

use crate::support::{Project, ask, projection, record, until, written};

async fn publish(engine: &Embedded, count: usize) {
    let events = (0..count).map(|number| record(&written(&format!("n{number}"), "x"))).collect();
    engine.publish("notes", events).await.expect("published");
}

async fn text(engine: &Embedded) -> String {
    let answer = ask(engine, "{ note(id: \"n0\") { text } }", &[]).await;
    answer["data"]["note"]["text"].as_str().unwrap_or("nothing").to_owned()
}

/// What a store says after its engine has gone.
async fn manifest(project: &Project) -> Manifest {
    let store = EmbeddedStore::open(&project.data().join("store"), Durability::default()).expect("it opens");
    store.manifest().await.expect("readable").expect("there is a generation")
}

#[tokio::test]
async fn each_change_answers_from_tables_of_its_own_and_the_old_ones_are_dropped() {
    let project = Project::notes();
    let engine = project.engine();
    engine.take_over(project.definitions()).await.expect("it answers");
    publish(&engine, 50).await;
    for generation in 2..6u32 {
        project.write("projections/notes.yaml", &projection(&format!("event.text + \"{generation}\"")));
        engine.take_over(project.definitions()).await.expect("it answers");
        assert_eq!(text(&engine).await, format!("x{generation}"));
        assert_eq!(engine.status().await.generation, generation);
    }
    let hash = engine.definitions().expect("it answers").hash.clone();
    engine.shut_down().await;
    drop(engine);
    let last = Generation { number: 5, definitions: hash, starts: Vec::new(), internal: Vec::new() };
    assert_eq!(manifest(&project).await, Manifest { active: 5, generations: vec![last] });
}

#[tokio::test]
async fn a_request_that_began_on_the_old_generation_ends_on_it() {
    let project = Project::notes();
    let engine = project.engine();
    engine.take_over(project.definitions()).await.expect("it answers");
    publish(&engine, 1).await;
    engine.catch_up().await.expect("it catches up");
    let old = engine.serving().expect("it answers");
    project.write("projections/notes.yaml", &projection("event.text + \"!\""));
    let definitions = project.definitions();
    let changing = tokio::spawn({
        let engine = Arc::clone(&engine);
        async move { engine.take_over(definitions).await }
    });
    until("the new one answers", async || (engine.serving()?.generation == 2).then_some(())).await;
    let request = kinora::resolve::Request {
        query: "{ note(id: \"n0\") { text } }".to_owned(),
        ..kinora::resolve::Request::default()
    };
    let answer = old.graph.execute(request, &old.tables).await;
    let answer: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
    assert_eq!(answer["data"]["note"]["text"], json!("x"));
    assert_eq!(text(&engine).await, "x!");
    drop(old);
    changing.await.expect("no panic").expect("the old tables go");
    engine.shut_down().await;
    drop(engine);
    assert_eq!(manifest(&project).await.generations.len(), 1);
}

#[tokio::test]
async fn a_generation_that_newer_definitions_overtake_is_given_up() {
    let project = Project::notes();
    let engine = project.engine();
    engine.take_over(project.definitions()).await.expect("it answers");
    publish(&engine, 20_000).await;
    engine.catch_up().await.expect("it catches up");
    project.write("projections/notes.yaml", &projection("event.text + \"overtaken\""));
    let overtaken = project.definitions();
    let building = tokio::spawn({
        let engine = Arc::clone(&engine);
        async move { engine.take_over(overtaken).await }
    });
    until("it is being built", async || engine.building()).await;
    engine.give_up_building();
    let error = building.await.expect("no panic").expect_err("it was given up");
    assert!(matches!(error, EngineError::GivenUp(2)), "{error}");
    assert_eq!((text(&engine).await.as_str(), engine.status().await.generation), ("x", 1));
    assert!(engine.building().is_none());

    project.write("projections/notes.yaml", &projection("event.text + \"newest\""));
    engine.take_over(project.definitions()).await.expect("it answers");
    assert_eq!((text(&engine).await.as_str(), engine.status().await.generation), ("xnewest", 3));
    engine.shut_down().await;
    drop(engine);
    assert_eq!(manifest(&project).await.generations.len(), 1, "what was given up is gone too");
}

#[tokio::test]
async fn definitions_whose_projection_halts_do_not_take_over() {
    let project = Project::notes();
    let engine = project.engine();
    engine.take_over(project.definitions()).await.expect("it answers");
    publish(&engine, 3).await;
    let stops =
        projection("event.text").replace("unknown: park", "unknown: stop").replace("NoteWritten", "NoteMade");
    project.write("projections/notes.yaml", &stops);
    let error = engine.take_over(project.definitions()).await.expect_err("it halts").to_string();
    assert!(error.starts_with("projection \"notes\" halted: notes:"), "{error}");
    assert!(error.contains("NoteWritten") && error.contains("`unknown: stop`"), "{error}");
    engine.catch_up().await.expect("the old one goes on");
    assert_eq!((text(&engine).await.as_str(), engine.status().await.generation), ("x", 1));
    engine.shut_down().await;
}
