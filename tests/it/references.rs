//! References and entities with keys of several fields, and of fields inside other entities.

use serde_json::json;

use crate::both::{Both, project, upserting};

const SCHEMA: &str = r#"
type Query {
  t(id: ID!): T @read
  item(org: ID! @arg(column: "orgId"), sku: ID!): Item @read
}
"An order, whose item and buyer have keys of two parts."
type T @key(fields: "id") @table(name: "t", partition: "id")
  @table(name: "by_buyer", partition: "tenant, buyerId")
  @table(name: "by_item", partition: "itemOrg", clustering: "sku") {
  id: ID!
  item: Item @ref(key: "itemOrg -> org { id }, sku")
  sku: ID!
  buyer: User @ref(key: "buyerId -> id, tenant -> org { id }")
}
type Item @key(fields: "sku org { id }") @table(name: "items", partition: "orgId", clustering: "sku") {
  sku: ID!
  org: Org! @ref(key: "orgId")
  title: String
  orders: [T!]! @read
}
"Another subgraph's, known by its organisation and its number there."
type User @key(fields: "id org { id }") {
  id: ID!
  org: Org! @external
  orders: [T!]! @read
}
"Another subgraph's."
type Org @key(fields: "id") { id: ID! }
"#;

const ITEMS: &str = "
projection: items
into: Item
from: { topic: items, format: json, type: event.type, recordKey: event.org }
key: { orgId: event.org, sku: event.sku }
unknown: ignore
events:
  Listed: { upsert: { title: event.title } }
";

async fn start() -> Both {
    let projection = upserting(&["sku", "itemOrg", "buyerId", "tenant"]);
    let mut both = Both::start_with(SCHEMA, &projection, &[("items", ITEMS)]).await;
    both.publish_to(
        "items",
        "org",
        &[
            json!({ "type": "Listed", "org": "a", "sku": "1", "title": "a one" }),
            json!({ "type": "Listed", "org": "b", "sku": "1", "title": "b one" }),
        ],
    )
    .await;
    both.publish(&[
        json!({ "type": "Set", "id": "o1", "itemOrg": "b", "sku": "1", "buyerId": "u", "tenant": "x" }),
        json!({ "type": "Set", "id": "o2", "itemOrg": "a", "sku": "2", "buyerId": "u", "tenant": "y" }),
    ])
    .await;
    both
}

#[tokio::test]
async fn a_reference_of_two_parts_leads_to_the_row_that_has_both() {
    let both = start().await;
    let answer = both.data("{ a: t(id: \"o1\") { item { title org { id } orders { id } } } b: t(id: \"o2\") { item { title } } }").await;
    assert_eq!(
        answer["a"]["item"],
        json!({ "title": "b one", "org": { "id": "b" }, "orders": [{ "id": "o1" }] })
    );
    assert_eq!(answer["b"]["item"], json!(null), "organisation a has no item 2");
    both.end().await;
}

#[tokio::test]
async fn a_reference_to_another_subgraph_answers_its_key_and_what_is_inside() {
    let both = start().await;
    let answer =
        both.data("{ t(id: \"o1\") { buyer { __typename id org { __typename id } orders { id } } } }").await;
    let org = json!({ "__typename": "Org", "id": "x" });
    let buyer = json!({ "__typename": "User", "id": "u", "org": org, "orders": [{ "id": "o1" }] });
    assert_eq!(answer["t"]["buyer"], buyer);
    both.end().await;
}

#[tokio::test]
async fn entities_are_found_by_nested_keys_and_refused_without_them() {
    let both = start().await;
    let query = r#"{ _entities(representations: [
        { __typename: "Item", sku: "1", org: { id: "a" } },
        { __typename: "Item", sku: "1", org: { id: "c" } },
        { __typename: "User", id: "u", org: { id: "y" } },
        { __typename: "Item", sku: "1" },
        { __typename: "Item", sku: "1", org: { id: { x: 1 } } },
        { __typename: "User", id: "u", org: "y" }
    ]) { ... on Item { title } ... on User { org { id } orders { id } } } }"#;
    let answer = both.ask(query).await;
    let user = json!({ "org": { "id": "y" }, "orders": [{ "id": "o2" }] });
    assert_eq!(answer["data"]["_entities"], json!([{ "title": "a one" }, null, user, null, null, null]));
    let errors: Vec<&str> = answer["errors"]
        .as_array()
        .expect("errors")
        .iter()
        .filter_map(|error| error["message"].as_str())
        .collect();
    assert_eq!(
        errors,
        [
            "A representation of Item has none of its keys: `sku org { id }`.",
            "Key field `org { id }` of Item: a list or object is not an ID (a string or a whole number).",
            "A representation of User has none of its keys: `id org { id }`.",
        ]
    );
    both.end().await;
}

#[test]
fn explain_names_nested_keys_and_the_table_that_finds_them() {
    let project = project(SCHEMA, &upserting(&["sku", "itemOrg", "buyerId", "tenant"]));
    project.write("projections/items.yaml", ITEMS);
    let ended = project.run(&["check", "--explain"]);
    ended.says(
        0,
        &[
            "Item by sku org { id }: items",
            "User.orders: by_buyer",
            "partition   tenant = User.org { id }, buyerId = User.id",
            "Item.orders: by_item",
        ],
    );
}
