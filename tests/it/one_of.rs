//! Fields that refer to one of several entities, stored here or another subgraph's: which one, and its key, is stored.

use serde_json::{Value as Json, json};

use crate::both::{Both, project};
use crate::support::seeds;

const SCHEMA: &str = r#"
type Query { t(id: ID!): T @read }
"Who a thing belongs to."
union Owner = User | Org | Shop
interface Place { city: String }
type T @key(fields: "id") @table(name: "t", partition: "id") {
  id: ID!
  owner: Owner @ref(key: "ownerKey")
  place: Place! @ref(key: "placeKey")
  parts: [Part!]! @column(max: 5)
}
"Inside a row, too."
type Part @udt { name: String! maker: Owner @ref(key: "makerKey") }
"Another subgraph's."
type User @key(fields: "id") { id: ID! }
type Shop implements Place @key(fields: "region number") { region: ID! number: Int! city: String @external }
type Org implements Place @key(fields: "id") @table(name: "orgs", partition: "id") {
  id: ID!
  city: String
  head: User @ref(key: "headId")
}
"#;

const PROJECTION: &str = "
projection: things
into: T
from: { topic: things, format: json, type: event.type, recordKey: event.id }
key: { id: event.id }
unknown: park
events:
  Set: { upsert: { ownerKey: event.owner, placeKey: event.place, parts: 'event.?parts.orValue([])' } }
  Moved: { when: 'row.ownerKey.__typename == User', update: { ownerKey: event.owner } }
";

const ORGS: &str = "
projection: orgs
into: Org
from: { topic: orgs, format: json, type: event.type, recordKey: event.id }
key: { id: event.id }
unknown: park
events:
  Org: { upsert: { city: event.city, headId: event.head } }
  Closed: { delete: row }
";

fn user(id: &str) -> Json {
    json!({ "__typename": "User", "id": id })
}

fn org(id: &str) -> Json {
    json!({ "__typename": "Org", "id": id })
}

fn shop(number: i64) -> Json {
    json!({ "__typename": "Shop", "region": "north", "number": number })
}

fn set(id: &str, owner: Json, place: Json, parts: Json) -> Json {
    json!({ "type": "Set", "id": id, "owner": owner, "place": place, "parts": parts })
}

async fn start() -> Both {
    let mut both = Both::start_with(SCHEMA, PROJECTION, &[("orgs", ORGS)]).await;
    let org = |id: &str, city: &str| json!({ "type": "Org", "id": id, "city": city, "head": "u9" });
    both.publish_to("orgs", "id", &[org("o1", "Bern"), org("o2", "Oslo")]).await;
    both
}

#[tokio::test]
async fn a_reference_answers_the_type_that_is_stored() {
    let mut both = start().await;
    let part = |name: &str, maker: Json| json!({ "name": name, "makerKey": maker });
    both.publish(&[
        set(
            "a",
            user("u1"),
            org("o1"),
            json!([
                part("x", org("o2")),
                part("y", user("u2")),
                part("z", json!(null)),
                part("w", org("none"))
            ]),
        ),
        set("b", org("o2"), shop(7), json!([])),
        set("c", org("none"), shop(8), json!([])),
    ])
    .await;
    let query = r#"{
      a: t(id: "a") { ...all } b: t(id: "b") { ...all } c: t(id: "c") { ...all }
    }
    fragment all on T {
      owner { __typename ... on User { id } ... on Org { id city head { id } } }
      place { __typename city ... on Shop { region number } }
      parts { name maker { ... on Org { city } ... on User { id } } }
    }"#;
    let parts = json!([
        { "name": "x", "maker": { "city": "Oslo" } },
        { "name": "y", "maker": { "id": "u2" } },
        { "name": "z", "maker": null },
        { "name": "w", "maker": null },
    ]);
    let place =
        |number: i64| json!({ "__typename": "Shop", "city": null, "region": "north", "number": number });
    let expected = json!({
        "a": { "owner": user("u1"), "place": { "__typename": "Org", "city": "Bern" }, "parts": parts },
        "b": {
            "owner": { "__typename": "Org", "id": "o2", "city": "Oslo", "head": { "id": "u9" } },
            "place": place(7), "parts": [],
        },
        "c": { "owner": null, "place": place(8), "parts": [] },
    });
    assert_eq!(both.data(query).await, expected);
    // An entity that goes takes what may not be null with it, and comes back as it is then.
    both.publish_to("orgs", "id", &[json!({ "type": "Closed", "id": "o1" })]).await;
    let answer = both.ask(r#"{ t(id: "a") { place { city } } }"#).await;
    assert_eq!(answer["data"], json!({ "t": null }));
    assert_eq!(answer["errors"][0]["path"], json!(["t", "place"]));
    // An expression sees which one it is.
    both.publish(&[
        json!({ "type": "Moved", "id": "a", "owner": org("o2") }),
        json!({ "type": "Moved", "id": "b", "owner": user("u3") }),
    ])
    .await;
    let query = r#"{ a: t(id: "a") { owner { __typename } } b: t(id: "b") { owner { __typename } } }"#;
    let org = json!({ "owner": { "__typename": "Org" } });
    assert_eq!(both.data(query).await, json!({ "a": org, "b": org }), "only a was a user's");
    both.end().await;
}

#[tokio::test]
async fn random_references_are_what_was_sent_last() {
    for seed in seeds(5) {
        println!("seed {seed}");
        let random = &mut fastrand::Rng::with_seed(seed);
        let mut both = start().await;
        let mut draw = || match random.u8(0..5) {
            0 => (user("u1"), user("u1")),
            1 => (shop(3), json!({ "__typename": "Shop", "number": 3 })),
            2 => (org("o2"), json!({ "__typename": "Org", "city": "Oslo" })),
            3 => (org("none"), json!(null)),
            _ => (json!(null), json!(null)),
        };
        let (mut events, mut expected) = (Vec::new(), serde_json::Map::new());
        for number in 0..60 {
            let id = format!("t{}", number % 17);
            let ((owner, shown), (maker, made)) = (draw(), draw());
            events.push(set(&id, owner, shop(1), json!([{ "name": "p", "makerKey": maker }])));
            expected.insert(id, json!({ "owner": shown, "parts": [{ "maker": made }] }));
        }
        both.publish(&events).await;
        let reads: String = expected
            .keys()
            .map(|id| format!("{id}: t(id: {id:?}) {{ owner {{ ...one }} parts {{ maker {{ ...one }} }} }} "))
            .collect();
        let query = format!(
            "{{ {reads} }} fragment one on Owner {{ __typename ... on User {{ id }} ... on Shop {{ number }} ... on Org {{ city }} }}"
        );
        assert_eq!(both.data(&query).await, Json::Object(expected), "seed {seed}");
        both.end().await;
    }
}

#[tokio::test]
async fn a_key_that_is_no_members_is_rejected() {
    for (owner, reason) in [
        (json!({ "__typename": "Org" }), "event.owner.id is missing"),
        (json!({ "__typename": "Shop", "region": "n", "number": "x" }), "event.owner.number is"),
        (json!({ "id": "u1" }), "expected a Owner: an object whose `__typename` is User or Org or Shop"),
    ] {
        let mut both = start().await;
        both.publish(&[set("a", owner, shop(1), json!([]))]).await;
        both.data("{ t(id: \"a\") { id } }").await;
        let parked = both.parked().await.expect("its key waits");
        assert!(parked.contains(reason), "{parked}");
        both.end().await;
    }
}

#[test]
fn cases_explain_and_sdl_know_them() {
    let project = project(SCHEMA, PROJECTION);
    project.write("projections/orgs.yaml", ORGS);
    project.write("projections/things.cases.yaml", r#"
cases:
  - name: a thing of a user
    given:
      - { topic: things, key: a, value: { type: Set, id: a, owner: { __typename: User, id: u1 }, place: { __typename: Shop, region: n, number: 1 } } }
    rows: { T: [{ id: a, ownerKey: { __typename: User, id: u1 }, placeKey: { __typename: Shop, region: n, number: 1 }, parts: [] }] }
    query: '{ t(id: "a") { owner { ... on User { id } } } }'
    answer: { t: { owner: { id: u1 } } }
"#);
    project.run(&["test"]).says(0, &["1 passed, 0 failed"]);
    project.run(&["check", "--explain"]).says(
        0,
        &[
            "CREATE TYPE user__key (\n  id text\n);",
            "CREATE TYPE shop__key (\n  region text,\n  number int\n);",
            "CREATE TYPE owner (\n  \"__typename\" text,\n  user frozen<user__key>,\n  org frozen<org__key>,\n  shop frozen<shop__key>\n);",
            "owner_key frozen<owner>",
            "`T.place` may not be null, but whether the `Shop` exists is another subgraph's to say",
            "Write its type without `!`: `place: Place`.",
        ],
    );
    project
        .run(&["sdl"])
        .says(0, &["union Owner = User | Org | Shop", "  owner: Owner\n", "  place: Place!\n"]);
}
