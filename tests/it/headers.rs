//! `@table(static: true)`: what a partition has once, and its rows, each written and deleted without the other.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use crate::both::{Both, project};
use crate::support::seeds;

const SCHEMA: &str = r#"
scalar DateTime
type Query {
  cart(userId: ID!): Cart @read
  line(userId: ID!, productId: ID!): Line @read
  carts(coupon: String!): [Cart!]! @read
  linesOf(productId: ID!): [Line!]! @read
}
type Cart @key(fields: "userId")
  @table(name: "carts", partition: "userId", static: true, ttl: "30d", ttlFrom: "touched")
  @table(name: "carts_by_coupon", partition: "coupon", fields: "currency") {
  userId: ID!
  currency: String!
  coupon: String!
  touched: DateTime
  lines(first: Int, after: String): LineConnection! @read
}
type Line @key(fields: "userId productId")
  @table(name: "carts", partition: "userId", clustering: "productId")
  @table(name: "lines_by_product", partition: "productId") {
  userId: ID!
  productId: ID!
  quantity: Int!
}
"#;

const CARTS: &str = "
projection: carts
into: Cart
from: { topic: carts, format: json, type: event.type, time: event.at, recordKey: event.user }
key: { userId: event.user }
unknown: ignore
events:
  Opened: { upsert: { currency: event.currency, coupon: event.coupon, touched: event.touched } }
  Closed: { delete: row }
";

const LINES: &str = "
projection: lines
into: Line
from: { topic: carts, format: json, type: event.type, recordKey: event.user }
key: { userId: event.user, productId: event.product }
unknown: ignore
events:
  Put: { upsert: { quantity: event.quantity } }
  Taken: { delete: row }
  Emptied: { delete: rows, key: { userId: event.user } }
";

const CART: &str = "{ currency coupon lines(first: 50) { nodes { productId quantity } } }";

async fn start() -> Both {
    Both::start_with(SCHEMA, CARTS, &[("lines", LINES)]).await
}

fn opened(user: &str, currency: &str, coupon: &str) -> Json {
    json!({ "type": "Opened", "user": user, "currency": currency, "coupon": coupon, "at": "2026-01-01T00:00:00Z" })
}

fn put(user: &str, product: &str, quantity: i64) -> Json {
    json!({ "type": "Put", "user": user, "product": product, "quantity": quantity })
}

fn of(kind: &str, user: &str, product: Option<&str>) -> Json {
    json!({ "type": kind, "user": user, "product": product, "at": "2026-01-01T00:00:00Z" })
}

/// What a cart answers.
fn cart(currency: &str, coupon: &str, lines: &[(&str, i64)]) -> Json {
    let line = |(product, quantity): &(&str, i64)| json!({ "productId": product, "quantity": quantity });
    let nodes: Vec<Json> = lines.iter().map(line).collect();
    json!({ "currency": currency, "coupon": coupon, "lines": { "nodes": nodes } })
}

#[tokio::test]
async fn header_and_rows_are_there_without_each_other() {
    let mut both = start().await;
    let found = async |both: &Both, user: &str| {
        let query = format!(
            "{{ cart(userId: {user:?}) {CART} line(userId: {user:?}, productId: \"p\") {{ quantity }} }}"
        );
        both.data(&query).await
    };
    // A header alone, and rows alone.
    both.publish_to("carts", "user", &[opened("a", "EUR", ""), put("b", "p", 1), put("b", "q", 2)]).await;
    assert_eq!(found(&both, "a").await, json!({ "cart": cart("EUR", "", &[]), "line": null }));
    assert_eq!(found(&both, "b").await, json!({ "cart": null, "line": { "quantity": 1 } }));
    // Now both have both, and then each loses one of the two.
    both.publish_to("carts", "user", &[put("a", "p", 3), opened("b", "CHF", "x")]).await;
    assert_eq!(found(&both, "a").await["cart"], cart("EUR", "", &[("p", 3)]));
    assert_eq!(found(&both, "b").await["cart"], cart("CHF", "x", &[("p", 1), ("q", 2)]));
    both.publish_to("carts", "user", &[of("Closed", "a", None), of("Emptied", "b", None)]).await;
    assert_eq!(found(&both, "a").await, json!({ "cart": null, "line": { "quantity": 3 } }), "the row stays");
    assert_eq!(found(&both, "b").await["cart"], cart("CHF", "x", &[]), "the header stays");
    // A header that comes again finds the rows that stayed; the copies of both tell the same.
    both.publish_to("carts", "user", &[opened("a", "SEK", "x")]).await;
    assert_eq!(found(&both, "a").await["cart"], cart("SEK", "x", &[("p", 3)]));
    let copies =
        both.data("{ carts(coupon: \"x\") { userId touched } linesOf(productId: \"p\") { userId } }").await;
    let carts = json!([{ "userId": "a", "touched": null }, { "userId": "b", "touched": null }]);
    assert_eq!(copies, json!({ "carts": carts, "linesOf": [{ "userId": "a" }] }));
    let query = r#"{ _entities(representations: [
        { __typename: "Cart", userId: "a" }, { __typename: "Line", userId: "a", productId: "p" }, { __typename: "Cart", userId: "z" }
    ]) { ... on Cart { currency } ... on Line { quantity } } }"#;
    assert_eq!(both.data(query).await["_entities"], json!([{ "currency": "SEK" }, { "quantity": 3 }, null]));
    both.end().await;
}

#[tokio::test]
async fn a_header_ends_with_its_time_and_its_rows_stay() {
    let mut both = start().await;
    let mut opened = opened("a", "EUR", "");
    opened["touched"] = json!("1970-01-02T00:00:00.000Z");
    both.publish_to("carts", "user", &[opened, put("a", "p", 1)]).await;
    let query = r#"{ cart(userId: "a") { currency } line(userId: "a", productId: "p") { quantity } }"#;
    let day_ms = 86_400_000;
    let line = json!({ "quantity": 1 });
    assert_eq!(
        both.data_at(query, 31 * day_ms - 1).await,
        json!({ "cart": { "currency": "EUR" }, "line": line })
    );
    assert_eq!(both.data_at(query, 31 * day_ms).await, json!({ "cart": null, "line": line }));
    both.end().await;
}

#[tokio::test]
async fn random_carts_are_what_a_plain_fold_says() {
    for seed in seeds(5) {
        println!("seed {seed}");
        let random = &mut fastrand::Rng::with_seed(seed);
        let mut headers: BTreeMap<String, (String, String)> = BTreeMap::new();
        let mut lines: BTreeMap<(String, String), i64> = BTreeMap::new();
        let mut both = start().await;
        for _ in 0..6 {
            let mut events = Vec::new();
            for _ in 0..12 {
                let (user, product) = (format!("u{}", random.u8(0..3)), format!("p{}", random.u8(0..4)));
                let row = (user.clone(), product.clone());
                events.push(match random.u8(0..8) {
                    0 | 1 => {
                        let coupon = format!("c{}", random.u8(0..2));
                        let currency = format!("C{}", random.u8(0..9));
                        headers.insert(user.clone(), (currency.clone(), coupon.clone()));
                        opened(&user, &currency, &coupon)
                    }
                    2 => {
                        headers.remove(&user);
                        of("Closed", &user, None)
                    }
                    3 => {
                        lines.retain(|(of, _), _| *of != user);
                        of("Emptied", &user, None)
                    }
                    4 => {
                        lines.remove(&row);
                        of("Taken", &user, Some(&product))
                    }
                    _ => {
                        let quantity = random.i64(1..100);
                        lines.insert(row, quantity);
                        put(&user, &product, quantity)
                    }
                });
            }
            both.publish_to("carts", "user", &events).await;
            for user in ["u0", "u1", "u2"] {
                let of_user = lines.iter().filter(|((of, _), _)| of == user);
                let of_user: Vec<(&str, i64)> =
                    of_user.map(|((_, product), n)| (product.as_str(), *n)).collect();
                let expected = headers.get(user).map(|(currency, coupon)| cart(currency, coupon, &of_user));
                let found = both.data(&format!("{{ cart(userId: {user:?}) {CART} }}")).await;
                assert_eq!(found["cart"], json!(expected), "seed {seed}, {user}");
            }
        }
        both.end().await;
    }
}

#[test]
fn explain_shows_one_table_with_static_columns_and_cases_fold_both() {
    let project = project(SCHEMA, CARTS);
    project.write("projections/lines.yaml", LINES);
    project.write("projections/carts.cases.yaml", r#"
cases:
  - name: a cart with a line
    given:
      - { topic: carts, key: a, value: { type: Put, user: a, product: p, quantity: 2 } }
      - { topic: carts, key: a, value: { type: Opened, user: a, currency: EUR, coupon: x, at: "2026-01-01T00:00:00Z" } }
    rows:
      Cart: [{ userId: a, currency: EUR, coupon: x }]
      Line: [{ userId: a, productId: p, quantity: 2 }]
    query: '{ cart(userId: "a") { currency lines { nodes { quantity } } } }'
    answer: { cart: { currency: EUR, lines: { nodes: [{ quantity: 2 }] } } }
"#);
    project.run(&["test"]).says(0, &["1 passed, 0 failed"]);
    project.run(&["check", "--explain"]).says(
        0,
        &[
            "carts: header of Cart, once in each partition of its rows, Line",
            "CREATE TABLE carts (
  user_id text,
  product_id text,
  quantity int,
  \"__o\" bigint,
  \"__live\" boolean,
  currency text STATIC,
  coupon text STATIC,
  touched timestamp STATIC,
  \"__header_o\" bigint STATIC,
  \"__header_live\" boolean STATIC,
  PRIMARY KEY (user_id, product_id)
);",
            "partition   userId = Cart.userId",
            "header      Cart lies in this partition: a store with static columns reads both at once",
            "the header `Cart` ends, but its rows, `Line`, stay",
        ],
    );
}
