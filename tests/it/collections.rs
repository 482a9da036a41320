//! Collections and their bounds, also those inside value types: at the bound they are stored, above it the key waits.

use serde_json::{Value as Json, json};

use crate::both::Both;

const SCHEMA: &str = r#"
type Query { t(id: ID!): T @read }
type T @key(fields: "id") @table(name: "t", partition: "id") {
  id: ID!
  tags: [String!]! @column(as: SET, max: 2)
  days: [Day!]! @column(max: 2)
  lines: [Line!]! @column(as: MAP, key: "sku", max: 2)
  day: Day
}
type Day @udt { name: String! stops: [Stop!]! @column(as: MAP, key: "at", max: 2) }
type Stop @udt { at: Int! marks: [Int!] @column(as: SET, max: 2) }
type Line @udt { sku: ID! notes: [String!] @column(max: 2) }
"#;

const PROJECTION: &str = "
projection: things
into: T
from: { topic: things, format: json, type: event.type, recordKey: event.id }
key: { id: event.id }
unknown: park
events:
  Set: { upsert: { tags: event.tags, days: event.days, lines: event.lines, day: event.day } }
  Line: { upsert: { 'lines[event.sku]': { notes: event.notes } } }
  Notes: { update: { 'lines[event.sku].notes': event.notes } }
";

fn day(stops: usize, marks: usize) -> Json {
    let marks: Vec<usize> = (0..marks).rev().collect();
    let stops: Vec<Json> = (0..stops).rev().map(|at| json!({ "at": at, "marks": marks })).collect();
    json!({ "name": "d", "stops": stops })
}

async fn parked_after(events: &[Json]) -> (Both, Option<String>) {
    let mut both = Both::start(SCHEMA, PROJECTION).await;
    both.publish(events).await;
    both.data("{ t(id: \"a\") { id } }").await;
    let parked = both.parked().await;
    (both, parked)
}

#[tokio::test]
async fn collections_at_their_bounds_are_stored_and_answered_in_order() {
    let set = json!({
        "type": "Set", "id": "a", "tags": ["b", "a", "b"], "days": [day(2, 2), day(0, 0)],
        "lines": [{ "sku": "2" }, { "sku": "1", "notes": ["x", "x"] }], "day": day(1, 2),
    });
    let (both, parked) =
        parked_after(&[set, json!({ "type": "Line", "id": "a", "sku": "2", "notes": ["y"] })]).await;
    assert_eq!(parked, None);
    let stop = |at: i32, marks: Json| json!({ "at": at, "marks": marks });
    let expected = json!({
        "tags": ["a", "b"],
        "days": [{ "name": "d", "stops": [stop(0, json!([0, 1])), stop(1, json!([0, 1]))] }, { "name": "d", "stops": [] }],
        "lines": [{ "sku": "1", "notes": ["x", "x"] }, { "sku": "2", "notes": ["y"] }],
        "day": { "name": "d", "stops": [stop(0, json!([0, 1]))] },
    });
    let query = "{ t(id: \"a\") { tags days { name stops { at marks } } lines { sku notes } day { name stops { at marks } } } }";
    assert_eq!(both.data(query).await["t"], expected);
    both.end().await;
}

#[tokio::test]
async fn more_than_max_elements_are_rejected_wherever_they_stand() {
    let line = |sku: &str| json!({ "sku": sku });
    for (field, value, reason) in [
        ("tags", json!(["a", "b", "c"]), "tags would have 3 elements, at most 2 are allowed"),
        (
            "days",
            json!([day(0, 0), day(0, 0), day(0, 0)]),
            "days would have 3 elements, at most 2 are allowed",
        ),
        ("days", json!([day(0, 0), day(3, 0)]), "days[1].stops would have 3 elements, at most 2 are allowed"),
        ("days", json!([day(2, 3)]), "days[0].stops[0].marks would have 3 elements, at most 2 are allowed"),
        ("day", day(1, 3), "day.stops[0].marks would have 3 elements, at most 2 are allowed"),
        (
            "lines",
            json!([line("1"), line("2"), line("3")]),
            "lines would have 3 elements, at most 2 are allowed",
        ),
        (
            "lines",
            json!([{ "sku": "1", "notes": ["x", "y", "z"] }]),
            "lines[\"1\"].notes would have 3 elements, at most 2 are allowed",
        ),
    ] {
        let (both, parked) = parked_after(&[json!({ "type": "Set", "id": "a", field: value })]).await;
        assert_eq!(parked, Some(format!("Set.{reason}")), "{field}");
        both.end().await;
    }
    let set = json!({ "type": "Set", "id": "a", "lines": [line("1"), line("2")] });
    for (event, reason) in [
        (
            json!({ "type": "Line", "id": "a", "sku": "3" }),
            "lines would have 3 elements, at most 2 are allowed",
        ),
        (
            json!({ "type": "Line", "id": "a", "sku": "1", "notes": ["x", "y", "z"] }),
            "lines[\"1\"].notes would have 3 elements, at most 2 are allowed",
        ),
        (
            json!({ "type": "Notes", "id": "a", "sku": "1", "notes": ["x", "y", "z"] }),
            "lines[\"1\"].notes would have 3 elements, at most 2 are allowed",
        ),
    ] {
        let reason = format!("{}.{reason}", event["type"].as_str().expect("has a type"));
        let (both, parked) = parked_after(&[set.clone(), event]).await;
        assert_eq!(parked, Some(reason));
        both.end().await;
    }
}

/// A row of kind A has only what was assigned to it: a collection of which no event spoke is as empty as it is in kind B.
#[tokio::test]
async fn a_collection_of_which_no_event_spoke_is_empty() {
    let schema = r#"
type Query { t(id: ID!): T @read }
type T @key(fields: "id") @table(name: "t", partition: "id") {
  id: ID!
  n: Int
  tags: [String!]! @column(as: SET, max: 2)
  days: [Day!]! @column(max: 2)
}
type Day @udt { name: String! }
"#;
    for verb in ["upsert", "create"] {
        let projection = format!(
            "projection: things\ninto: T\nfrom: {{ topic: things, format: json, type: event.type, recordKey: event.id }}\n\
             key: {{ id: event.id }}\nunknown: park\nevents:\n  Set: {{ {verb}: {{ n: event.n }} }}\n"
        );
        let mut both = Both::start(schema, &projection).await;
        both.publish(&[json!({ "type": "Set", "id": "t1", "n": 1 })]).await;
        let answer = both.data(r#"{ t(id: "t1") { n tags days { name } } }"#).await;
        assert_eq!(answer["t"], json!({ "n": 1, "tags": [], "days": [] }), "{verb}");
        both.end().await;
    }
}
