//! `kinora explain`: reads and events of the shop as text and JSON, and names that are not there.

use std::process::Output;

use crate::support::{Project, golden, kinora};

fn explain(arguments: &[&str]) -> (Option<i32>, String, String) {
    let shop = env!("CARGO_MANIFEST_DIR");
    let Output { status, stdout, stderr } = kinora()
        .arg("explain")
        .args(arguments)
        .args(["--project", shop])
        .output()
        .expect("kinora can be run");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn reads_and_events_are_explained() {
    let mut all = String::new();
    for name in
        ["Query.order", "User.orders", "Query.ordersToPick", "orders.OrderPlaced", "carts", "products"]
    {
        let (code, text, fault) = explain(&[name]);
        assert_eq!((code, fault.as_str()), (Some(0), ""), "{name}");
        all.push_str(&format!("$ kinora explain {name}\n{text}\n"));
    }
    golden("explain/shop.txt", &all);
    let (_, text, _) = explain(&["User.orders", "--format", "json"]);
    let read: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(
        (&read["read"]["table"], &read["table"]["name"]),
        (&"orders_by_user".into(), &"orders_by_user".into())
    );
    let (_, text, _) = explain(&["orders", "--format", "json"]);
    let events: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let types = events["events"].as_array().expect("a list").iter().map(|event| event["event"].as_str());
    assert!(types.clone().any(|name| name == Some("OrderPlaced")), "{text}");
    assert!(types.is_sorted(), "{text}");
}

#[test]
fn a_name_that_is_not_there_finds_the_nearest() {
    let (code, _, fault) = explain(&["Query.ordr"]);
    assert_eq!(code, Some(2));
    assert!(fault.contains(
        "`Query.ordr` is no read, projection or event of a projection; did you mean `Query.order`?"
    ));
    let (code, _, fault) = explain(&["zzzzzzzzzz"]);
    assert_eq!(code, Some(2));
    assert!(fault.contains("known: ") && fault.contains("orders.OrderPlaced"), "{fault}");
}

const SCHEMA: &str = r#"
scalar DateTime
scalar Long
type Query { note(id: ID!): Note @read }
type Note @key(fields: "id") @table(name: "notes", partition: "id") {
  id: ID!
  text: String!
  edits: Int!
  at: DateTime!
  seen: [String!]! @column(as: LIST, max: 8, hidden: true)
  last: Long @column(hidden: true)
}
"#;

const PROJECTION: &str = r#"
projection: notes
into: Note
from:
  topic: notes
  format: json
  type: event.type
  recordKey: event.id
  id: event.eventId
  remember: seen
  sequence: { number: event.seq, in: last, first: 1, gap: accept, repeat: park }
key: { id: event.id }
unknown: park
always: { at: record.time }
events:
  Written: { initially: { edits: 0 }, upsert: { text: event.text } }
  Edited: { missing: park, update: { text: event.text, edits: row.edits + 1 } }
  Dropped: { delete: row }
  Seen: ignore
assert:
  a note says something: row.text != ''
"#;

#[test]
fn what_a_row_remembers_begins_with_and_must_hold_is_explained() {
    let project = Project::empty();
    project.write("schema/notes.graphql", SCHEMA);
    project.write("projections/notes.yaml", PROJECTION);
    golden("explain/notes.txt", &project.run(&["explain", "notes"]).out);
    let told = project.run(&["explain", "notes", "--format", "json"]).json();
    let events = told["events"].as_array().expect("a list");
    let of = |name: &str| events.iter().find(|event| event["event"] == *name).expect("it is there");
    assert_eq!(of("Edited")["cases"][0]["missing"], "park");
    assert_eq!(of("Dropped")["cases"][0]["missing"], "ignore");
    assert_eq!(of("Written")["cases"][0]["missing"], serde_json::Value::Null);
    assert_eq!(of("Written")["cases"][0]["initially"][0]["name"], "edits");
    assert_eq!((&of("Seen")["ignored"], &of("Edited")["ignored"]), (&true.into(), &false.into()));
    assert_eq!(of("Edited")["remember"][0]["last"], 8);
    assert_eq!(of("Edited")["sequence"][0]["repeat"], "park");
    assert_eq!(of("Edited")["asserts"][0]["name"], "a note says something");
}
