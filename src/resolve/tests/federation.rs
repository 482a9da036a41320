//! `_entities`: order, absence, faults of one item, keys, stubs.

use serde_json::{Value as Json, json};

use super::super::Outcome;
use super::shop::Shop;

const QUERY: &str = r#"query ($r: [_Any!]!) { _entities(representations: $r) { __typename
    ... on Order { id number status } ... on Product { id name } ... on User { id orders(first: 1) { nodes { id } } }
    ... on Cart { id lines { product { id } } } } }"#;

async fn shop() -> Shop {
    let shop = Shop::new().await;
    shop.put_product("p1", "s1", "k", "Lamp").await;
    shop.put_order("o1", "u1", "PAID", 0, &["p1"]).await;
    shop.put_order("o2", "u1", "PLACED", 1, &[]).await;
    shop.put_cart("c1", "u1", None, &["p1", "p9"]).await;
    shop
}

async fn entities(shop: &Shop, representations: Json) -> (Json, Json) {
    let mut body = shop.ask(QUERY, json!({"r": representations})).await;
    (body["data"]["_entities"].take(), body["errors"].take())
}

#[tokio::test]
async fn order_is_kept_over_types_keys_duplicates_and_absent_rows() {
    let shop = shop().await;
    let (found, errors) = entities(
        &shop,
        json!([
            {"__typename": "Product", "id": "p1"},
            {"__typename": "Order", "number": "N-o2"},
            {"__typename": "Order", "id": "o1"},
            {"__typename": "Order", "id": "none"},
            {"__typename": "Product", "sku": "none"},
            {"__typename": "User", "id": 7},
            {"__typename": "Order", "id": "o1", "number": "ignored"},
            {"__typename": "Product", "sku": "s1"},
            {"__typename": "User", "id": "u1"},
            {"__typename": "Cart", "id": "c1"},
        ]),
    )
    .await;
    assert_eq!(errors, Json::Null);
    let o1 = json!({"__typename": "Order", "id": "o1", "number": "N-o1", "status": "PAID"});
    let p1 = json!({"__typename": "Product", "id": "p1", "name": "Lamp"});
    assert_eq!(
        found,
        json!([
            p1,
            {"__typename": "Order", "id": "o2", "number": "N-o2", "status": "PLACED"},
            o1,
            null,
            null,
            {"__typename": "User", "id": "7", "orders": {"nodes": []}},
            o1,
            p1,
            {"__typename": "User", "id": "u1", "orders": {"nodes": [{"id": "o2"}]}},
            {"__typename": "Cart", "id": "c1", "lines": [{"product": {"id": "p1"}}, {"product": null}]},
        ])
    );
}

#[tokio::test]
async fn a_fault_of_one_item_never_harms_the_others() {
    let shop = shop().await;
    let (found, errors) = entities(
        &shop,
        json!([
            {"__typename": "Order", "id": "o1"},
            {"__typename": "Nothing", "id": "o1"},
            {"id": "o1"},
            {"__typename": "Order"},
            {"__typename": "Order", "id": {"a": 1}},
            {"__typename": "Order", "id": null},
            "text",
            {"__typename": 1},
            {"__typename": "Money", "amount": "1"},
            {"__typename": "Product", "id": "p1"},
        ]),
    )
    .await;
    let there: Vec<bool> = found.as_array().unwrap().iter().map(|item| !item.is_null()).collect();
    assert_eq!(there, [true, false, false, false, false, false, false, false, false, true]);
    let shown: Vec<String> = errors
        .as_array()
        .unwrap()
        .iter()
        .map(|error| {
            format!(
                "{} {} {}",
                error["path"],
                error["extensions"]["code"],
                error["message"].as_str().unwrap()
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            r#"["_entities",1] "BAD_USER_INPUT" `__typename` is "Nothing", which is no entity of this subgraph."#,
            r#"["_entities",2] "BAD_USER_INPUT" A representation has no `__typename`."#,
            r#"["_entities",3] "BAD_USER_INPUT" A representation of Order has none of its keys: `id` or `number`."#,
            r#"["_entities",4] "BAD_USER_INPUT" Key field `id` of Order: a list or object is not an ID (a string or a whole number)."#,
            r#"["_entities",5] "BAD_USER_INPUT" A representation of Order has none of its keys: `id` or `number`."#,
            r#"["_entities",6] "BAD_USER_INPUT" A representation must be an object with `__typename` and a key."#,
            r#"["_entities",7] "BAD_USER_INPUT" `__typename` of a representation is not a string."#,
            r#"["_entities",8] "BAD_USER_INPUT" `__typename` is "Money", which is no entity of this subgraph."#,
        ]
    );
}

#[tokio::test]
async fn several_aliased_lists_and_literals_answer_in_one_operation() {
    let shop = shop().await;
    let body = shop
        .ask(
            r#"query ($id: ID!) {
                a: _entities(representations: [{__typename: "Order", id: $id}, {__typename: "Order", id: "o2"}]) { ... on Order { id } }
                b: _entities(representations: {__typename: "Product", sku: "s1"}) { ... on _Entity { ... on Product { sku } } }
                c: _entities(representations: []) { __typename }
                _service { sdl } }"#,
            json!({"id": "o1"}),
        )
        .await;
    assert_eq!(body.get("errors"), None);
    assert_eq!(body["data"]["a"], json!([{"id": "o1"}, {"id": "o2"}]));
    assert_eq!(body["data"]["b"], json!([{"sku": "s1"}]));
    assert_eq!(body["data"]["c"], json!([]));
}

#[tokio::test]
async fn representations_are_bounded() {
    let shop = Shop::with(include_str!("../../../schema/shop.graphql"), |settings| {
        settings.limits.representations = 3
    })
    .await;
    let of = |count: usize| Json::Array(vec![json!({"__typename": "User", "id": "u"}); count]);
    for count in [2, 3] {
        let (found, errors) = entities(&shop, of(count)).await;
        assert_eq!((found.as_array().unwrap().len(), errors), (count, Json::Null));
    }
    let (outcome, code, message) = shop.refused(QUERY, json!({"r": of(4)})).await;
    assert_eq!((outcome, &*code), (Outcome::NotValid, "LIMIT_EXCEEDED"));
    assert_eq!(message, "The operation has more than 3 representations.");
}
