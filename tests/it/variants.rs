//! Interfaces and unions: a field that holds one of several value types, answered by the one that is stored.

use serde_json::{Value as Json, json};

use crate::both::{Both, project};

const SCHEMA: &str = r#"
scalar Decimal
type Query { t(id: ID!): T @read }
interface Named { id: ID! }
"What can be paid with."
interface Means { amount: Decimal! note: String }
union Item = Book | Film
type T implements Named @key(fields: "id") @table(name: "t", partition: "id") {
  id: ID!
  paid: Means
  items: [Item!]! @column(max: 3)
  best: Item
}
type Card implements Means @udt { amount: Decimal! note: String number: String! }
type Cash implements Means @udt { amount: Decimal! note: String }
type Book @udt { title: String! author: Person @ref(key: "authorId") tags: [String!] @column(max: 1) }
type Film @udt { title: String! minutes: Int! director: T @ref(key: "directorId") }
type Person @key(fields: "id") { id: ID! }
"#;

const PROJECTION: &str = "
projection: things
into: T
from: { topic: things, format: json, type: event.type, recordKey: event.id }
key: { id: event.id }
unknown: park
events:
  Set: { upsert: { paid: event.paid, items: event.items, best: event.best } }
  Best: { update: { best: 'row.items[0]' } }
";

fn set(id: &str, paid: Json, items: Json) -> Json {
    json!({ "type": "Set", "id": id, "paid": paid, "items": items })
}

#[tokio::test]
async fn a_value_is_answered_as_the_type_that_is_stored() {
    let mut both = Both::start(SCHEMA, PROJECTION).await;
    let book = json!({ "__typename": "Book", "title": "b", "authorId": "p1", "tags": ["x"] });
    let film =
        |director: &str| json!({ "__typename": "Film", "title": "f", "minutes": 90, "directorId": director });
    both.publish(&[
        set(
            "a",
            json!({ "__typename": "Card", "amount": "1.50", "number": "7" }),
            json!([film("b"), book, film("none")]),
        ),
        set("b", json!({ "__typename": "Cash", "amount": 2, "note": "small" }), json!([])),
        json!({ "type": "Best", "id": "a" }),
    ])
    .await;
    let query = r#"{
      a: t(id: "a") {
        ... on Named { id }
        paid { __typename amount ... on Card { number } ... on Cash { note } }
        items { ... on Book { title author { id } tags } ...film }
        best { __typename ... on Film { minutes } }
      }
      b: t(id: "b") { paid { ... on Means { note } ... on Card { number } } items { __typename } best { __typename } }
    }
    fragment film on Film { kind: __typename minutes director { id paid { amount } } }"#;
    let director = json!({ "id": "b", "paid": { "amount": "2" } });
    let expected = json!({
        "a": {
            "id": "a",
            "paid": { "__typename": "Card", "amount": "1.50", "number": "7" },
            "items": [
                { "kind": "Film", "minutes": 90, "director": director },
                { "title": "b", "author": { "id": "p1" }, "tags": ["x"] },
                { "kind": "Film", "minutes": 90, "director": null },
            ],
            "best": { "__typename": "Film", "minutes": 90 },
        },
        "b": { "paid": { "note": "small" }, "items": [], "best": null },
    });
    assert_eq!(both.data(query).await, expected);
    let query = r#"{ _entities(representations: [{ __typename: "T", id: "b" }]) { ... on Named { id } __typename } }"#;
    assert_eq!(both.data(query).await["_entities"], json!([{ "id": "b", "__typename": "T" }]));
    let query = r#"{ __type(name: "Means") { possibleTypes { name } } }"#;
    let types = json!({ "possibleTypes": [{ "name": "Card" }, { "name": "Cash" }] });
    assert_eq!(both.data(query).await["__type"], types);
    both.end().await;
}

#[tokio::test]
async fn a_value_of_no_member_is_rejected_and_so_is_one_that_lacks_what_its_type_needs() {
    for (paid, items, reason) in [
        (
            json!({ "amount": 1 }),
            json!([]),
            "event.paid is an object, expected a Means: an object whose `__typename` is Card or Cash",
        ),
        (
            json!({ "__typename": "Cheque" }),
            json!([]),
            "expected a Means: an object whose `__typename` is Card or Cash",
        ),
        (
            json!({ "__typename": "Card", "amount": 1 }),
            json!([]),
            "event.paid.number is missing, expected a string",
        ),
        (json!(null), json!([{ "__typename": "Film", "title": "f" }]), "event.items[0].minutes is missing"),
        (
            json!(null),
            json!([{ "__typename": "Book", "title": "b", "tags": ["x", "y"] }]),
            "items[0].Book.tags would have 2 elements, at most 1 are allowed",
        ),
    ] {
        let mut both = Both::start(SCHEMA, PROJECTION).await;
        both.publish(&[set("a", paid, items)]).await;
        both.data("{ t(id: \"a\") { id } }").await;
        let parked = both.parked().await.expect("its key waits");
        assert!(parked.contains(reason), "{parked}");
        both.end().await;
    }
}

#[test]
fn cases_explain_and_sdl_know_them() {
    let project = project(SCHEMA, PROJECTION);
    project.write("projections/things.cases.yaml", r#"
cases:
  - name: cash is cash
    given:
      - { topic: things, key: a, value: { type: Set, id: a, items: [], paid: { __typename: Cash, amount: 1.50 } } }
    rows: { T: [{ id: a, items: [], paid: { __typename: Cash, amount: "1.50" } }] }
    query: '{ t(id: "a") { paid { __typename amount } } }'
    answer: { t: { paid: { __typename: Cash, amount: "1.50" } } }
"#);
    project.run(&["test"]).says(0, &["1 passed, 0 failed"]);
    project.run(&["check", "--explain"]).says(
        0,
        &[
            "CREATE TYPE means (\n  \"__typename\" text,\n  card frozen<card>,\n  cash frozen<cash>\n);",
            "items frozen<list<frozen<item>>>",
        ],
    );
    project.run(&["sdl"]).says(0, &["union Item = Book | Film", "type Card implements Means {"]);
}
