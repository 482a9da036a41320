//! Projections of `dev` paused and resumed from outside, and what `status` shows again and again.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use serde_json::{Value as Json, json};

use crate::support::{Dev, Project, kinora, until, written};

async fn state(dev: &Dev<'_>) -> String {
    dev.status().await["projections"][0]["state"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_paused_projection_of_dev_folds_nothing_over_a_restart_until_it_is_resumed() {
    let project = Project::notes();
    let dev = Dev::start(&project).await.ready().await;
    let position = dev.publish("notes", &[written("a", "first")]).await;
    assert_eq!(dev.text("a", &position).await.as_deref(), Some("first"));
    project.run(&["resume", "notes"]).says(0, &["notes was not paused"]);
    let done = project.run(&["pause", "notes", "--format", "json"]).says(0, &[]).json();
    assert_eq!((&done["paused"], &done["changed"]), (&json!(true), &json!(true)), "{done}");
    project.run(&["pause", "notes"]).says(0, &["notes is paused already, by "]);
    project.run(&["pause", "carts"]).says(2, &["there is no projection \"carts\"; there are notes"]);
    until("the loop has heeded it", async || state(&dev).await.starts_with("paused by ").then_some(())).await;
    let measured = String::from_utf8(dev.get("/metrics").await.body).expect("it is text");
    assert!(
        measured.contains("kinora_projection_state{projection=\"notes\",state=\"paused\"} 1\n"),
        "{measured}"
    );
    dev.publish("notes", &[written("a", "second")]).await;
    project.run(&["status"]).says(0, &["1 event, ", "paused by "]);
    dev.signal("TERM").await;

    // Also while no `dev` runs.
    project.run(&["pause", "notes"]).says(0, &["notes is paused already, by "]);
    project.run(&["pause", "carts"]).says(2, &["there is no projection \"carts\"; there are notes"]);
    let dev = Dev::start(&project).await.ready().await;
    until("it is paused still", async || state(&dev).await.starts_with("paused by ").then_some(())).await;
    assert_eq!(dev.text("a", "").await.as_deref(), Some("first"));
    project.run(&["resume", "notes"]).says(0, &["notes goes on; it was paused by "]);
    let position = dev.publish("notes", &[written("b", "third")]).await;
    assert_eq!(dev.text("b", &position).await.as_deref(), Some("third"));
    until("all is folded", async || (dev.text("a", "").await.as_deref() == Some("second")).then_some(()))
        .await;
    assert!(!state(&dev).await.starts_with("paused"));
}

#[tokio::test]
async fn status_watches_a_running_dev_and_says_where_there_is_nothing_to_watch() {
    let project = Project::notes();
    project.run(&["status", "--watch"]).says(4, &["holds no data of Kinora"]);
    project.run(&["status", "--tables"]).says(4, &["holds no data of Kinora"]);
    let dev = Dev::start(&project).await.ready().await;
    let mut watch = kinora()
        .args(["status", "--watch", "--format", "json", "--project"])
        .arg(project.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("kinora can be started");
    let mut lines = BufReader::new(watch.stdout.take().expect("it is piped")).lines();
    for _ in 0..2 {
        let line = lines.next().expect("it goes on").expect("it is text");
        let status: Json = serde_json::from_str(&line).expect("each look is a line of JSON");
        assert_eq!(status["projections"][0]["name"], "notes", "{line}");
    }
    drop(lines);
    assert_eq!(watch.wait().expect("nobody reads it any more, so it ends").code(), Some(0));
    project.run(&["status", "--tables"]).says(2, &["`--tables` shows tables in Cassandra"]);
    dev.signal("TERM").await;
    project.run(&["status", "--watch"]).says(4, &["there is nothing to watch"]);
}
