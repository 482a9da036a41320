//! `check --sample`: what it measures in a log is what plain maps make of the same events.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value as Json, json};

use crate::support::{Project, seeds};

const SCHEMA: &str = "scalar DateTime\ntype Query { note(id: ID!): Note @read  notesOf(author: ID!): [Note!]! @read }\n\
    type Note @key(fields: \"id\")\n  @table(name: \"notes\", partition: \"id\")\n  @table(name: \"notes_of\", \
    partition: \"author\", clustering: \"id\", rows: 2, rate: 1) {\n  id: ID!\n  author: ID!\n  text: String!\n}\n";

const PROJECTION: &str = "projection: notes\ninto: Note\n\
    from: { topic: notes, format: json, type: event.type, time: event.at, recordKey: event.id }\n\
    key: { id: event.id }\nunknown: park\nevents:\n  \
    NoteWritten: { upsert: { author: event.author, text: event.text } }\n  NoteDeleted: { delete: row }\n";

fn project() -> Project {
    let project = Project::empty();
    project.write("schema/notes.graphql", SCHEMA);
    project.write("projections/notes.yaml", PROJECTION);
    project
}

fn publish(project: &Project, events: &[Json]) {
    let line = |event: &Json| json!({ "key": event["id"], "value": event }).to_string() + "\n";
    project.run_with(&["publish", "notes"], &events.iter().map(line).collect::<String>()).says(0, &[]);
}

fn at(second: u64) -> String {
    format!("2026-01-01T00:00:{second:02}Z")
}

fn draw(random: &mut fastrand::Rng) -> Json {
    let (id, at) = (format!("n{}", random.u64(..20)), at(random.u64(..4)));
    match random.u64(..10) {
        0 => json!({ "type": "Unknown", "id": id, "at": at }),
        1 | 2 => json!({ "type": "NoteDeleted", "id": id, "at": at }),
        _ => {
            let author = format!("a{}", random.u64(..3));
            json!({ "type": "NoteWritten", "id": id, "at": at, "author": author, "text": "x" })
        }
    }
}

/// For each author the rows in the end, and for each author and second the writes.
fn folded(events: &[Json]) -> (BTreeMap<String, BTreeSet<String>>, u64) {
    let mut rows: BTreeMap<String, String> = BTreeMap::new();
    let mut writes: BTreeMap<(String, String), u64> = BTreeMap::new();
    for event in events {
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        match event["type"].as_str() {
            Some("NoteWritten") => {
                rows.insert(text("id"), text("author"));
                *writes.entry((text("author"), text("at"))).or_default() += 1;
            }
            Some("NoteDeleted") => drop(rows.remove(&text("id"))),
            _ => {}
        }
    }
    let mut partitions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (id, author) in rows {
        partitions.entry(author).or_default().insert(id);
    }
    (partitions, writes.into_values().max().unwrap_or(0))
}

#[test]
fn a_sample_measures_what_plain_maps_make_of_the_events() {
    for seed in seeds(5) {
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let events: Vec<Json> = (0..random.usize(1..200)).map(|_| draw(&mut random)).collect();
        let project = project();
        publish(&project, &events);
        let sample =
            project.run(&["check", "--sample", "--format", "json"]).says(0, &[]).json()["sample"].clone();
        let (partitions, rate) = folded(&events);
        let unknown = events.iter().filter(|event| event["type"] == "Unknown").count();
        assert_eq!(
            (&sample["events"], &sample["of"]),
            (&json!(events.len()), &json!(events.len())),
            "seed {seed}"
        );
        assert_eq!(sample["rejected"], json!(unknown), "seed {seed}");
        let copy = &sample["tables"][1];
        let measured = ["name", "partitions", "rows", "rows_max", "rate_max"].map(|name| copy[name].clone());
        let rows: usize = partitions.values().map(BTreeSet::len).sum();
        let rows_max = partitions.values().map(BTreeSet::len).max().unwrap_or(0);
        let expected =
            [json!("notes_of"), json!(partitions.len()), json!(rows), json!(rows_max), json!(rate)];
        assert_eq!(measured, expected, "seed {seed}");
    }
}

#[test]
fn more_than_the_author_says_is_found_and_a_part_of_the_log_is_told_as_such() {
    let project = project();
    let written =
        |id: &str| json!({ "type": "NoteWritten", "id": id, "at": at(1), "author": "ada", "text": "x" });
    publish(&project, &["a", "b", "c"].map(written));
    let sampled = project.run(&["check", "--sample"]);
    sampled.says(
        0,
        &[
            "a partition of `notes_of` has 3 rows in the sample, but `rows` says 2",
            "a partition of `notes_of` took 3 writes in one second, but `rate` says 1",
            "sample: 3 events of 3\n",
            "  notes: NoteWritten 3\n",
            "  notes_of: 3 rows in 1 partition; the largest has 3 rows and ",
        ],
    );
    project.run(&["check", "--sample", "--deny-warnings"]).says(1, &[]);
    let part = project.run(&["check", "--sample", "1", "--format", "json"]).says(0, &[]).json();
    assert!(part["sample"]["events"].as_u64().expect("is a number") < 4 && part["sample"]["of"] == 3);
    for events in ["0", "1000001", "many"] {
        project.run(&["check", "--sample", events]).says(2, &[]);
    }
    let long = "k".repeat(70_000);
    publish(&project, &[written(&long)]);
    project.run(&["check", "--sample"]).says(3, &["L12", "a key of `notes` has 70"]);
}

#[test]
fn a_log_that_is_not_there_is_told() {
    let missing = "there is no log in";
    project().run(&["check", "--sample"]).says(4, &[missing, "--data names the directory of one"]);
    project().run(&["check", "--data", "here"]).says(2, &["--sample"]);
}
