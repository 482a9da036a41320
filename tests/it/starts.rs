//! `from.start`: where a generation begins to read is fixed when it is made, and kept by restarts and by the next ones.

use std::sync::Arc;

use kinora::engine::{Embedded, Status};
use kinora::source::NewRecord;

use crate::support::{Project, ask, projection, record, written};

/// The projection of notes that begins there.
fn from(start: &str, text: &str) -> String {
    projection(text).replace("format: json,", &format!("format: json, start: {start},"))
}

/// Appends notes, all to the partition of their key, at these times.
async fn publish(engine: &Embedded, notes: &[(&str, i64)]) {
    let new = |(id, at): &(&str, i64)| NewRecord {
        timestamp_ms: Some(*at),
        partition: Some(0),
        ..record(&written(id, "x"))
    };
    engine.publish("notes", notes.iter().map(new).collect()).await.expect("published");
    engine.catch_up().await.expect("it catches up");
}

/// Of these notes, those that are there.
async fn there(engine: &Embedded, ids: &[&str]) -> String {
    let mut found = String::new();
    for id in ids {
        let answer = ask(engine, &format!("{{ note(id: \"{id}\") {{ id }} }}"), &[]).await;
        found.push_str(if answer["data"]["note"].is_null() { "" } else { id });
    }
    found
}

/// Where the projection began in partition 0, and what was said.
fn began(status: &Status) -> (u64, &str) {
    let first = &status.projections[0].partitions[0];
    (first.began, first.start.as_str())
}

async fn restarted(project: &Project, engine: Arc<Embedded>) -> Arc<Embedded> {
    engine.shut_down().await;
    drop(engine);
    let engine = project.engine();
    engine.take_over(project.definitions()).await.expect("it answers");
    engine
}

#[tokio::test]
async fn latest_is_the_end_when_the_generation_is_made_and_stays_there() {
    let project = Project::notes();
    let engine = project.engine();
    engine.take_over(project.definitions()).await.expect("it answers");
    publish(&engine, &[("a", 1), ("b", 2)]).await;

    project.write("projections/notes.yaml", &from("latest", "event.text"));
    engine.take_over(project.definitions()).await.expect("it answers, though nothing comes");
    assert_eq!(there(&engine, &["a", "b"]).await, "");
    publish(&engine, &[("c", 3)]).await;
    assert_eq!(there(&engine, &["a", "b", "c"]).await, "c");
    assert_eq!(began(&engine.status().await), (2, "latest"));

    let engine = restarted(&project, engine).await;
    publish(&engine, &[("d", 4)]).await;
    assert_eq!(there(&engine, &["a", "b", "c", "d"]).await, "cd");

    // A rebuild that says the same begins where the one before did, also after a restart with other definitions.
    project.write("projections/notes.yaml", &from("latest", "event.text + \"!\""));
    let engine = restarted(&project, engine).await;
    assert_eq!(there(&engine, &["a", "b", "c", "d"]).await, "cd");
    assert_eq!(began(&engine.status().await), (2, "latest"));
    let told = serde_json::to_value(engine.status().await).expect("JSON");
    assert_eq!(told["projections"][0]["partitions"][0]["start"], "latest");

    project.write("projections/notes.yaml", &from("earliest", "event.text"));
    engine.take_over(project.definitions()).await.expect("it answers");
    assert_eq!(there(&engine, &["a", "b", "c", "d"]).await, "abcd");
    assert_eq!(began(&engine.status().await), (0, "earliest"));

    project.write("projections/notes.yaml", &from("latest", "event.text"));
    engine.take_over(project.definitions()).await.expect("it answers");
    assert_eq!(
        (there(&engine, &["a", "d"]).await.as_str(), began(&engine.status().await)),
        ("", (4, "latest"))
    );
    engine.shut_down().await;
    drop(engine);
    project.run(&["status"]).says(0, &["notes began at notes:0@4 (latest), notes:1@0 (latest)"]);
}

#[tokio::test]
async fn a_time_is_the_first_record_that_is_not_older_and_what_follows_it() {
    let project = Project::notes();
    let engine = project.engine();
    project.write("projections/notes.yaml", &from("1970-01-01T00:00:02Z", "event.text"));
    engine.take_over(project.definitions()).await.expect("it answers");
    // Nothing was there yet, so all that comes is read, whatever its time.
    publish(&engine, &[("a", 1_000), ("b", 1_999)]).await;
    assert_eq!((there(&engine, &["a", "b"]).await.as_str(), began(&engine.status().await).0), ("ab", 0));

    // Another time is looked for anew: the first record that is not before it, and all behind that one.
    publish(&engine, &[("c", 3_000), ("d", 2_500), ("e", 9_000)]).await;
    project.write("projections/notes.yaml", &from("1970-01-01T01:00:03+01:00", "event.text"));
    engine.take_over(project.definitions()).await.expect("it answers");
    assert_eq!(there(&engine, &["a", "b", "c", "d", "e"]).await, "cde");
    assert_eq!(began(&engine.status().await), (2, "1970-01-01T00:00:03.000Z"));

    project.write("projections/notes.yaml", &from("1970-01-01T00:00:09.001Z", "event.text"));
    engine.take_over(project.definitions()).await.expect("it answers");
    assert_eq!((there(&engine, &["a", "e"]).await.as_str(), began(&engine.status().await).0), ("", 5));
    let engine = restarted(&project, engine).await;
    publish(&engine, &[("f", 1)]).await;
    assert_eq!(there(&engine, &["e", "f"]).await, "f");
    engine.shut_down().await;
}

#[tokio::test]
async fn offsets_are_those_that_are_given_and_are_in_the_log() {
    let project = Project::notes();
    let engine = project.engine();
    engine.take_over(project.definitions()).await.expect("it answers");
    publish(&engine, &[("a", 1), ("b", 2), ("c", 3)]).await;
    let all = |first: u64| format!("{{ offsets: {{ 0: {first}, 1: 0, 2: 0, 3: 0 }} }}");
    project.write("projections/notes.yaml", &from(&all(1), "event.text"));
    engine.take_over(project.definitions()).await.expect("it answers");
    assert_eq!(there(&engine, &["a", "b", "c"]).await, "bc");
    assert_eq!(began(&engine.status().await), (1, "given offset"));
    let engine = restarted(&project, engine).await;
    publish(&engine, &[("d", 4)]).await;
    assert_eq!(there(&engine, &["a", "b", "c", "d"]).await, "bcd");

    for (start, says) in [
        (
            all(5),
            "the offset that `from.start` gives of notes:0 is 5, where the log has offsets from 0 to its end at 4",
        ),
        ("{ offsets: { 0: 1 } }".to_owned(), "`from.start` gives no offset of notes:1"),
        (
            "{ offsets: { 0: 1, 1: 0, 2: 0, 3: 0, 7: 1 } }".to_owned(),
            "gives an offset of notes:7, and the topic has 4 partitions",
        ),
        ("{ group: old }".to_owned(), "topic \"notes\" is in a log that has no consumer groups"),
    ] {
        project.write("projections/notes.yaml", &from(&start, "event.text"));
        let refused = engine.take_over(project.definitions()).await.expect_err("it is refused").to_string();
        assert!(refused.contains(says), "{refused}");
        assert_eq!(there(&engine, &["a", "b", "c", "d"]).await, "bcd", "what answered before answers still");
    }
    engine.shut_down().await;
}

#[tokio::test]
async fn merged_partitions_begin_each_at_its_own_place() {
    let project = Project::notes();
    let engine = project.engine();
    engine.take_over(project.definitions()).await.expect("it answers");
    let at = |id: &str, partition, at| NewRecord {
        timestamp_ms: Some(at),
        partition: Some(partition),
        ..record(&written(id, "x"))
    };
    engine
        .publish("notes", vec![at("a", 0, 1_000), at("b", 0, 5_000), at("c", 1, 4_000), at("d", 2, 100)])
        .await
        .expect("published");
    let merged = from("1970-01-01T00:00:02Z", "event.text").replace(" recordKey: event.id", "");
    let merged = merged.replace("unknown: park", "order: time\nunknown: park").replace(", }", " }");
    project.write("projections/notes.yaml", &merged);
    engine.take_over(project.definitions()).await.expect("it answers");
    assert_eq!(there(&engine, &["a", "b", "c", "d"]).await, "bc");
    let engine = restarted(&project, engine).await;
    engine.publish("notes", vec![at("e", 2, 100), at("b", 1, 9_000)]).await.expect("published");
    engine.catch_up().await.expect("it catches up");
    assert_eq!(there(&engine, &["a", "b", "c", "d", "e"]).await, "bce");
    engine.shut_down().await;
}
