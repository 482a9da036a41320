//! Lists of references: the keys are a column of the row, and all rows they lead to are read at once.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use crate::both::{Both, project, upserting};
use crate::support::seeds;

const SCHEMA: &str = r#"
type Query { t(id: ID!): T @read }
type T @key(fields: "id") @table(name: "t", partition: "id") {
  id: ID!
  itemIds: [ID!]! @column(max: 5)
  items: [Item!]! @ref(key: "itemIds")
  itemsOrNull: [Item]! @ref(key: "itemIds -> id")
  tags: [Int!] @column(as: SET, max: 5, hidden: true)
  tagged: [Tag] @ref(key: "tags")
  friendIds: [ID!] @column(max: 5)
  friends: [Friend] @ref(key: "friendIds")
  boxes: [Box!]! @column(max: 3)
}
type Box @udt { name: String! itemIds: [ID!] @column(max: 2) items: [Item!] @ref(key: "itemIds") }
type Item @key(fields: "id") @table(name: "items", partition: "id") {
  id: ID!
  title: String!
  next: [Item!] @ref(key: "nextIds")
  nextIds: [ID!] @column(max: 5)
}
type Tag @key(fields: "number") @table(name: "tags", partition: "number") { number: Int!  name: String! }
"Another subgraph's."
type Friend @key(fields: "id") { id: ID! }
"#;

const ITEMS: &str = "
projection: items
into: Item
from: { topic: items, format: json, type: event.type, recordKey: event.id }
key: { id: event.id }
unknown: ignore
events:
  Item: { upsert: { title: event.title, nextIds: event.next } }
  NoItem: { delete: row }
";

const TAGS: &str = "
projection: tags
into: Tag
from: { topic: tags, format: json, type: event.type, recordKey: event.number }
key: { number: event.number }
unknown: ignore
events:
  Tag: { upsert: { name: event.name } }
";

fn things() -> String {
    upserting(&["itemIds", "tags", "friendIds", "boxes"])
}

async fn start() -> Both {
    Both::start_with(SCHEMA, &things(), &[("items", ITEMS), ("tags", TAGS)]).await
}

fn set(id: &str, items: Json, tags: Json, friends: Json, boxes: Json) -> Json {
    json!({ "type": "Set", "id": id, "itemIds": items, "tags": tags, "friendIds": friends, "boxes": boxes })
}

fn item(id: &str, next: Json) -> Json {
    json!({ "type": "Item", "id": id, "title": format!("item {id}"), "next": next })
}

#[tokio::test]
async fn a_list_answers_its_entities_in_order_and_leaves_out_what_is_not_there() {
    let mut both = start().await;
    both.publish_to(
        "items",
        "id",
        &[item("a", json!(["b", "none", "a"])), item("b", json!(null)), item("c", json!([]))],
    )
    .await;
    both.publish(&[
        set(
            "x",
            json!(["c", "none", "a", "c"]),
            json!([7, 3]),
            json!(["f2", "f1"]),
            json!([{ "name": "p", "itemIds": ["b"] }, { "name": "q" }]),
        ),
        set("y", json!([]), json!(null), json!(null), json!([])),
    ])
    .await;
    let query = r#"{
      x: t(id: "x") { ...all } y: t(id: "y") { ...all }
    }
    fragment all on T {
      items { id title next { id next { id } } }
      itemsOrNull { id }
      tagged { name }
      friends { __typename id }
      boxes { name items { id } }
    }"#;
    let a = json!({ "id": "a", "title": "item a", "next": [
        { "id": "b", "next": null },
        { "id": "a", "next": [{ "id": "b" }, { "id": "a" }] },
    ] });
    let c = json!({ "id": "c", "title": "item c", "next": [] });
    let friend = |id: &str| json!({ "__typename": "Friend", "id": id });
    let expected = json!({
        "x": {
            "items": [c, a, c],
            "itemsOrNull": [{ "id": "c" }, null, { "id": "a" }, { "id": "c" }],
            "tagged": [null, null],
            "friends": [friend("f2"), friend("f1")],
            "boxes": [{ "name": "p", "items": [{ "id": "b" }] }, { "name": "q", "items": null }],
        },
        "y": { "items": [], "itemsOrNull": [], "tagged": null, "friends": null, "boxes": [] },
    });
    assert_eq!(both.data(query).await, expected);
    both.publish_to("items", "id", &[json!({ "type": "NoItem", "id": "c" })]).await;
    assert_eq!(
        both.data(r#"{ t(id: "x") { items { id } } }"#).await["t"],
        json!({ "items": [{ "id": "a" }] })
    );
    both.end().await;
}

#[tokio::test]
async fn random_lists_are_what_a_plain_join_says() {
    for seed in seeds(5) {
        println!("seed {seed}");
        let random = &mut fastrand::Rng::with_seed(seed);
        let mut both = start().await;
        let (mut items, mut lists): (BTreeMap<String, Vec<String>>, BTreeMap<String, Vec<String>>) =
            Default::default();
        let mut of_items = Vec::new();
        let mut of_lists = Vec::new();
        let ids = |random: &mut fastrand::Rng| -> Vec<String> {
            (0..random.usize(0..5)).map(|_| format!("i{}", random.u8(0..7))).collect()
        };
        for _ in 0..40 {
            let id = format!("i{}", random.u8(0..7));
            if random.u8(0..4) == 0 {
                items.remove(&id);
                of_items.push(json!({ "type": "NoItem", "id": id }));
            } else {
                let next = ids(random);
                of_items.push(item(&id, json!(next)));
                items.insert(id, next);
            }
            let (list, keys) = (format!("t{}", random.u8(0..4)), ids(random));
            of_lists.push(set(
                &list,
                json!(keys),
                json!(null),
                json!(null),
                json!([{ "name": "b", "itemIds": keys.iter().take(2).collect::<Vec<_>>() }]),
            ));
            lists.insert(list, keys);
        }
        both.publish_to("items", "id", &of_items).await;
        both.publish(&of_lists).await;
        let there = |keys: &[String]| -> Vec<Json> {
            let found = keys.iter().filter(|key| items.contains_key(*key));
            found.map(|key| json!({ "id": key })).collect()
        };
        for (list, keys) in &lists {
            let found = both.data(&format!(
                "{{ t(id: {list:?}) {{ items {{ id next {{ id }} }} itemsOrNull {{ id }} boxes {{ items {{ id }} }} }} }}"
            )).await;
            let of_keys = keys.iter().filter_map(|key| Some((key, items.get(key)?)));
            let nested: Vec<Json> =
                of_keys.map(|(key, next)| json!({ "id": key, "next": there(next) })).collect();
            let or_null: Vec<Json> = keys
                .iter()
                .map(|key| match items.contains_key(key) {
                    true => json!({ "id": key }),
                    false => json!(null),
                })
                .collect();
            let boxes = json!([{ "items": there(&keys[..keys.len().min(2)]) }]);
            let expected = json!({ "items": nested, "itemsOrNull": or_null, "boxes": boxes });
            assert_eq!(found["t"], expected, "seed {seed}, {list}");
        }
        both.end().await;
    }
}

#[test]
fn the_gateway_sees_lists_of_entities_and_the_lint_what_they_take_for_granted() {
    let schema = SCHEMA.replace("friends: [Friend] ", "friends: [Friend!] ");
    let project = project(&schema, &things());
    project.write("projections/items.yaml", ITEMS);
    project.write("projections/tags.yaml", TAGS);
    project.run(&["check", "--explain"]).says(
        0,
        &[
            "item_ids frozen<list<text>>",
            "tags frozen<set<int>>",
            "`T.friends` may not be null, but whether the `Friend` exists is another subgraph's to say",
            "Write its elements without `!`: `friends: [Friend]!`.",
        ],
    );
    project.run(&["sdl"]).says(
        0,
        &["  items: [Item!]! @listSize(assumedSize: 5)\n", "  tagged: [Tag] @listSize(assumedSize: 5)\n"],
    );
}
