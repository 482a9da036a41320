//! Waiting for positions, the positions of answers, and marks of parked keys.

use std::time::Duration;

use serde_json::{Value as Json, json};

use super::super::fresh::parse_read_after;
use super::super::{OnTimeout, Outcome, Request, Wait};
use super::shop::{Shop, text};
use crate::event::TopicPartition;
use crate::plan::key;
use crate::store::{Batch, ParkChange, ParkedEntry, ParkedKey, QueuedEvent};
use crate::value::Value;

const CART: &str = r#"{ cart(id: "c1") { id order { id } } }"#;

fn after(query: &str, positions: &str, ms: u64, on_timeout: OnTimeout) -> Request {
    Request {
        query: query.to_owned(),
        read_after: parse_read_after(positions).unwrap(),
        wait: Wait { at_most: Duration::from_millis(ms), on_timeout },
        ..Request::default()
    }
}

#[tokio::test]
async fn an_answer_says_how_fresh_it_is() {
    let shop = Shop::new().await;
    shop.progress("carts", "shop.carts", 0, 18, 20).await;
    shop.progress("carts", "shop.carts", 1, 0, 0).await;
    shop.progress("orders", "shop.orders", 2, 5, 5).await;
    shop.progress("products", "shop.products", 0, 9, 9).await;
    let (answer, body) = shop.answer(Request { query: CART.into(), ..Request::default() }).await;
    let kinora = &body["extensions"]["kinora"];
    assert_eq!(kinora["position"], json!({"shop.carts": {"0": 17}, "shop.orders": {"2": 4}}));
    assert_eq!(kinora["lag"]["events"], 2);
    assert!(kinora["lag"]["ms"].as_i64().unwrap() > 1_000_000);
    assert_eq!(kinora.as_object().unwrap().len(), 2);
    assert_eq!(answer.position, "shop.carts:0@17,shop.orders:2@4");
    let body = shop
        .ask(
            r#"{ _entities(representations: [{__typename: "User", id: "u1"}]) { ... on User { id } } }"#,
            json!({}),
        )
        .await;
    assert_eq!(body.get("extensions"), None, "nothing was read");
    let body = shop
        .ask(
            r#"{ _entities(representations: [{__typename: "Product", id: "p"}]) { ... on Product { id } } }"#,
            json!({}),
        )
        .await;
    assert_eq!(body["extensions"]["kinora"]["position"], json!({"shop.products": {"0": 8}}));
}

#[tokio::test]
async fn a_read_waits_for_the_position_it_names() {
    let shop = Shop::new().await;
    shop.progress("carts", "shop.carts", 0, 17, 18).await;
    let request = after(CART, "shop.carts:0@17,shop.users:0@3", 30_000, OnTimeout::Fail);
    let ((answer, body), ()) = tokio::join!(shop.answer(request), async {
        tokio::task::yield_now().await;
        shop.put_cart("c1", "u1", None, &[]).await;
        shop.progress("carts", "shop.carts", 0, 18, 18).await;
    });
    assert_eq!((answer.outcome, answer.stale), (Outcome::Executed, false));
    assert_eq!(body["data"]["cart"]["id"], "c1");
    assert_eq!(body["extensions"]["kinora"]["ignored"], json!(["shop.users"]));
}

#[tokio::test]
async fn what_is_not_reached_in_time_is_stale_or_fails() {
    let shop = Shop::new().await;
    shop.progress("carts", "shop.carts", 0, 17, 18).await;
    for position in ["shop.carts:0@17", "shop.carts:3@0", "shop.orders:0@0"] {
        let (answer, body) = shop.answer(after(CART, position, 20, OnTimeout::Stale)).await;
        assert_eq!((answer.outcome, answer.stale), (Outcome::Executed, true));
        assert_eq!(body["extensions"]["kinora"]["stale"], true);
        let (answer, body) = shop.answer(after(CART, position, 20, OnTimeout::Fail)).await;
        assert_eq!((answer.outcome, answer.stale), (Outcome::Stale, true));
        assert_eq!(body.get("data"), None);
        assert_eq!(body["errors"][0]["extensions"]["code"], "STALE_READ");
        assert_eq!(
            body["errors"][0]["message"],
            format!("Position {position} was not reached within 20 ms.")
        );
    }
    let (answer, _) = shop.answer(after(CART, "shop.carts:0@16", 0, OnTimeout::Fail)).await;
    assert_eq!(answer.outcome, Outcome::Executed);
}

async fn park(shop: &Shop, projection: &str, key: ParkedKey, entity: &str, shown: &str) {
    let at = TopicPartition { topic: format!("shop.{projection}").into(), partition: 1 };
    let since = QueuedEvent { at, offset: 5, order: 5, time_ms: 0 };
    let entry = ParkedEntry {
        since,
        entity: entity.into(),
        shown: shown.into(),
        stage: "fold".into(),
        reason: "why".into(),
        type_name: None,
        waiting: 1,
        begun: None,
    };
    let change = ParkChange::Park { projection: projection.into(), key, entry };
    shop.commit(Batch { parked: vec![change], ..Batch::default() }).await;
}

fn row_key(shop: &Shop, ty: &str, id: &str) -> ParkedKey {
    let ty = shop.model.type_named(ty).unwrap();
    let mut cells = vec![Value::Null; shop.model.ty(ty).columns.len()];
    cells[shop.model.ty(ty).column_named("id").unwrap().0 as usize] = text(id);
    ParkedKey::Row(key::row_key(shop.plan.table(shop.plan.entity(ty).base), &cells).unwrap())
}

#[tokio::test]
async fn rows_of_parked_keys_are_marked_where_they_are_answered() {
    let shop = Shop::new().await;
    shop.put_order("o1", "u1", "PAID", 0, &[]).await;
    shop.put_order("o2", "u1", "PAID", 1, &[]).await;
    shop.put_cart("c1", "u1", Some("o1"), &[]).await;
    let marks = async |query: &str| {
        let body = shop.ask(query, json!({})).await;
        body["extensions"]["kinora"].get("parked").cloned().unwrap_or(Json::Null)
    };
    let query = r#"{ cart(id: "c1") { order { status } } ordersToPick(warehouseId: "w1") { nodes { status } edges { node { id } } }
        gone: order(id: "o9") { id } orderByNumber(number: "N-o1") { status } }"#;
    assert_eq!(marks(query).await, Json::Null);
    park(&shop, "orders", row_key(&shop, "Order", "o1"), "Order", r#"{"id":"o1"}"#).await;
    park(&shop, "orders", ParkedKey::Record(b"o9".as_slice().into()), "Order", "o9").await;
    park(&shop, "products", row_key(&shop, "Product", "o1"), "Product", r#"{"id":"o1"}"#).await;
    let mark = |key: &str, path: Json| json!({"type": "Order", "key": key, "since": "shop.orders:1@5", "path": path});
    let o1 = r#"{"id":"o1"}"#;
    assert_eq!(
        marks(query).await,
        json!([
            mark(o1, json!(["cart", "order"])),
            mark(o1, json!(["ordersToPick", "nodes", 0])),
            mark(o1, json!(["ordersToPick", "edges", 0, "node"])),
            mark("o9", json!(["gone"])),
            mark(o1, json!(["orderByNumber"])),
        ])
    );
    assert_eq!(marks(r#"{ order(id: "o2") { id } }"#).await, Json::Null);
    let entities = r#"{ _entities(representations: [{__typename: "Order", id: "o2"}, {__typename: "Order", id: "o9"}]) { __typename } }"#;
    assert_eq!(marks(entities).await, json!([mark("o9", json!(["_entities", 1]))]));
}

#[tokio::test]
async fn marks_stand_at_references_inside_lists_and_at_copies_of_either_kind() {
    let shop = Shop::new().await;
    shop.put_product("p1", "s1", "k", "Lamp").await;
    shop.put_product("p2", "s2", "k", "Rug").await;
    shop.put_order("o1", "u1", "PAID", 0, &["p2", "p1", "p9"]).await;
    shop.put_cart("c1", "u1", None, &["p1", "p9"]).await;
    for id in ["p1", "p9"] {
        let shown = format!(r#"{{"id":"{id}"}}"#);
        park(&shop, "products", row_key(&shop, "Product", id), "Product", &shown).await;
    }
    let query = r#"{ order(id: "o1") { lines { product { name } } } cart(id: "c1") { lines { again: product { id } } }
        whole: productBySku(sku: "s1") { name } key: productBySku(sku: "s1") { sku } other: productBySku(sku: "s2") { name }
        productsInCategory(categoryId: "k") { edges { node { name } } pageInfo { hasNextPage } } }"#;
    let body = shop.ask(query, json!({})).await;
    assert_eq!(body["data"]["cart"]["lines"], json!([{"again": {"id": "p1"}}, {"again": null}]));
    let marks: Vec<String> = body["extensions"]["kinora"]["parked"]
        .as_array()
        .unwrap()
        .iter()
        .map(|mark| format!("{} {}", mark["key"].as_str().unwrap(), mark["path"]))
        .collect();
    assert_eq!(
        marks,
        [
            r#"{"id":"p1"} ["order","lines",1,"product"]"#,
            r#"{"id":"p9"} ["order","lines",2,"product"]"#,
            r#"{"id":"p1"} ["cart","lines",0,"again"]"#,
            r#"{"id":"p9"} ["cart","lines",1,"again"]"#,
            r#"{"id":"p1"} ["whole"]"#,
            r#"{"id":"p1"} ["key"]"#,
            r#"{"id":"p1"} ["productsInCategory","edges",0,"node"]"#,
        ]
    );
}

#[tokio::test]
async fn topics_that_are_not_read_are_named_once_and_not_waited_for() {
    let shop = Shop::new().await;
    shop.progress("carts", "shop.carts", 0, 1, 1).await;
    let positions = "shop.users:0@9,shop.users:1@9,shop.carts:0@0,elsewhere:7@1";
    let (answer, body) = shop.answer(after(CART, positions, 0, OnTimeout::Fail)).await;
    assert_eq!((answer.outcome, answer.stale), (Outcome::Executed, false));
    assert_eq!(body["extensions"]["kinora"]["ignored"], json!(["shop.users", "elsewhere"]));
    let (_, body) = shop.answer(after("{ __typename }", "shop.carts:0@9", 0, OnTimeout::Fail)).await;
    let kinora = json!({"position": {}, "lag": {"events": 0, "ms": 0}, "ignored": ["shop.carts"]});
    assert_eq!(body, json!({"data": {"__typename": "Query"}, "extensions": {"kinora": kinora}}));
}
