//! Rows as answers: values, references, null, errors, limits, conditions, introspection.

use serde_json::{Value as Json, json};

use super::super::Outcome;
use super::shop::{Shop, text};
use crate::value::Value;

#[tokio::test]
async fn a_row_answers_in_selection_order_with_aliases_and_merged_fields() {
    let shop = Shop::new().await;
    shop.put_cart("c1", "u1", None, &["p1"]).await;
    let query = r#"query Q { z: cart(id: "c1") { total { amount } ...F user { id } n: itemCount __typename }
        missing: cart(id: "c2") { id } __typename }
        fragment F on Cart { total { currency amount } updatedAt status lines { name quantity } user { t: __typename } }"#;
    let (_, body) = shop.answer(super::super::Request { query: query.into(), ..Default::default() }).await;
    let expect = concat!(
        r#"{"z":{"total":{"amount":"25.00","currency":"EUR"},"updatedAt":"1970-01-01T00:00:00.000Z","status":"OPEN","#,
        r#""lines":[{"name":"name of p1","quantity":2}],"user":{"t":"User","id":"u1"},"n":2,"__typename":"Cart"},"#,
        r#""missing":null,"__typename":"Query"}"#
    );
    assert_eq!(body["data"].to_string(), expect);
}

#[tokio::test]
async fn a_reference_is_null_when_its_row_is_absent_whatever_is_selected() {
    let shop = Shop::new().await;
    shop.put_product("p1", "s1", "k", "Lamp").await;
    shop.put_order("o1", "u1", "PAID", 0, &["p1"]).await;
    shop.put_cart("c1", "u1", Some("o1"), &["p1", "p2"]).await;
    shop.put_cart("c2", "u1", Some("gone"), &[]).await;
    let data = shop
        .data(
            r#"{ a: cart(id: "c1") { order { id } lines { product { id } } }
                 b: cart(id: "c2") { order { id } lines { name } user { id __typename } } }"#,
        )
        .await;
    assert_eq!(
        data,
        json!({
            "a": {"order": {"id": "o1"}, "lines": [{"product": {"id": "p1"}}, {"product": null}]},
            "b": {"order": null, "lines": [], "user": {"id": "u1", "__typename": "User"}},
        })
    );
}

#[tokio::test]
async fn references_nest_through_lists_of_value_types() {
    let shop = Shop::new().await;
    for product in ["p1", "p2", "p3"] {
        shop.put_product(product, &format!("s-{product}"), "k", product).await;
    }
    shop.put_order("o1", "u1", "PAID", 0, &["p2", "p1", "p2"]).await;
    shop.put_order("o2", "u1", "PLACED", 0, &["p3"]).await;
    shop.put_cart("c1", "u2", Some("o1"), &["p1", "p3"]).await;
    let data = shop
        .data(
            r#"{ cart(id: "c1") { lines { product { sku } } order { lines { product { name } } user { orders { nodes {
                 id lines { product { id } } } } } } } }"#,
        )
        .await;
    assert_eq!(
        data,
        json!({"cart": {
            "lines": [{"product": {"sku": "s-p1"}}, {"product": {"sku": "s-p3"}}],
            "order": {
                "lines": [{"product": {"name": "p2"}}, {"product": {"name": "p1"}}, {"product": {"name": "p2"}}],
                "user": {"orders": {"nodes": [
                    {"id": "o2", "lines": [{"product": {"id": "p3"}}]},
                    {"id": "o1", "lines": [{"product": {"id": "p2"}}, {"product": {"id": "p1"}}, {"product": {"id": "p2"}}]},
                ]}},
            },
        }})
    );
}

#[tokio::test]
async fn a_copy_is_completed_from_its_base_row_and_the_lowest_id_answers() {
    let shop = Shop::new().await;
    shop.put_product("p2", "same", "k", "Second").await;
    shop.put_product("p1", "same", "k", "First").await;
    let data = shop
        .data(r#"{ a: productBySku(sku: "same") { name price { amount } } b: productBySku(sku: "same") { id } c: productBySku(sku: "none") { name } }"#)
        .await;
    let first = json!({"name": "First", "price": {"amount": "9.99"}});
    assert_eq!(data, json!({"a": first, "b": {"id": "p1"}, "c": null}));
}

#[tokio::test]
async fn null_goes_up_to_the_nearest_field_that_may_be_null() {
    let shop = Shop::new().await;
    let broken = [
        ("id", text("c1")),
        ("status", text("OPEN")),
        ("itemCount", Value::Int(1)),
        ("total", shop.record("Money", &[("currency", text("EUR"))])),
        (
            "lines",
            Value::Map(vec![
                (text("p1"), shop.line("CartLine", "p1", 1)),
                (text("p2"), Value::Record(vec![])),
            ]),
        ),
        ("updatedAt", Value::Timestamp(0)),
        ("currency", text("EUR")),
    ];
    shop.put("Cart", &broken).await;
    let body = shop
        .ask(r#"{ ok: cart(id: "c1") { itemCount user { id } order { id } } bad: cart(id: "c1") { id total { amount } } }"#, json!({}))
        .await;
    assert_eq!(body["data"], json!({"ok": {"itemCount": 1, "user": null, "order": null}, "bad": null}));
    assert_eq!(body["errors"][0]["path"], json!(["bad", "total", "amount"]));
    assert_eq!(body["errors"].as_array().unwrap().len(), 1);
    let body = shop.ask(r#"{ cart(id: "c1") { lines { product { id } name } } }"#, json!({})).await;
    assert_eq!(body["data"], json!({"cart": null}));
    assert_eq!(body["errors"][0]["path"], json!(["cart", "lines", 1, "name"]));
    assert_eq!(body["errors"][0]["locations"], json!([{"line": 1, "column": 43}]));
}

#[tokio::test]
async fn null_inside_an_element_stays_there_and_the_others_keep_their_references() {
    let schema = r#"
        type Query { a(id: ID!): A @read }
        type A @key(fields: "id") @table(name: "as", partition: "id") {
          id: ID!
          some: [P!] @column(as: LIST, max: 9)
          must: [P!]! @column(as: LIST, max: 9)
          words: [String!]! @column(as: SET, max: 9)
          b: A @ref(key: "bId")
        }
        type P @udt { q: Q  a: A @ref(key: "aId")  n: Int! }
        type Q @udt { m: Int!  a: A @ref(key: "aId") }"#;
    let shop = Shop::with(schema, |_| {}).await;
    let inner = |m: Value| shop.record("Q", &[("m", m), ("aId", text("a1"))]);
    let outer = |q: Value, a: &str, n: Value| shop.record("P", &[("q", q), ("aId", text(a)), ("n", n)]);
    let one = || Value::Int(1);
    let list = Value::List(vec![
        outer(inner(one()), "a1", one()),
        outer(inner(Value::Null), "a1", Value::Null),
        outer(Value::Null, "a2", one()),
        outer(inner(one()), "a1", one()),
    ]);
    let words = Value::Set(vec![text("x"), text("y")]);
    shop.put("A", &[("id", text("a1")), ("some", list.clone()), ("must", list), ("words", words)]).await;
    let body =
        shop.ask(r#"{ a(id: "a1") { words some { q { m a { id } } a { id } } b { id } } }"#, json!({})).await;
    let a1 = json!({"id": "a1"});
    assert_eq!(
        body["data"],
        json!({"a": {
            "words": ["x", "y"],
            "some": [
                {"q": {"m": 1, "a": a1}, "a": a1},
                {"q": null, "a": a1},
                {"q": null, "a": null},
                {"q": {"m": 1, "a": a1}, "a": a1},
            ],
            "b": null,
        }})
    );
    assert_eq!(body["errors"][0]["path"], json!(["a", "some", 1, "q", "m"]));
    assert_eq!(body["errors"].as_array().unwrap().len(), 1);
    let body = shop.ask(r#"{ a(id: "a1") { id some { n } } }"#, json!({})).await;
    assert_eq!(body["data"], json!({"a": {"id": "a1", "some": null}}));
    assert_eq!(body["errors"][0]["path"], json!(["a", "some", 1, "n"]));
    let body = shop.ask(r#"{ a(id: "a1") { must { n } } }"#, json!({})).await;
    assert_eq!(body["data"], json!({"a": null}));
}

#[tokio::test]
async fn a_null_at_the_root_makes_data_null() {
    let shop = Shop::new().await;
    let body =
        shop.ask(r#"{ productsInCategory(categoryId: "k", first: -1) { nodes { id } } }"#, json!({})).await;
    assert_eq!(body["data"], json!(null));
    let error = &body["errors"][0];
    assert_eq!(error["message"], "`first` is -1; it must be from 0 to 100.");
    assert_eq!(error["extensions"]["code"], "BAD_USER_INPUT");
    assert_eq!(error["path"], json!(["productsInCategory"]));
}

#[tokio::test]
async fn an_enum_value_that_the_schema_lost_is_an_error_of_its_field() {
    let shop = Shop::new().await;
    shop.put_order("o1", "u1", "LOST", 0, &[]).await;
    let body = shop.ask(r#"{ order(id: "o1") { id } bad: order(id: "o1") { status } }"#, json!({})).await;
    assert_eq!(body["data"], json!({"order": {"id": "o1"}, "bad": null}));
    assert_eq!(body["errors"][0]["path"], json!(["bad", "status"]));
    assert!(body["errors"][0]["message"].as_str().unwrap().contains("\"LOST\""));
}

#[tokio::test]
async fn skip_and_include_are_decided_for_each_request() {
    let shop = Shop::new().await;
    shop.put_cart("c1", "u1", None, &[]).await;
    let query = r#"query ($x: Boolean!, $y: Boolean = true) { cart(id: "c1") { id @skip(if: $x) ... @include(if: $y) { status }
        itemCount @include(if: false) total @include(if: $x) { amount } total { currency } } }"#;
    for (variables, expect) in [
        (json!({"x": true}), json!({"status": "OPEN", "total": {"amount": "25.00", "currency": "EUR"}})),
        (json!({"x": false, "y": false}), json!({"id": "c1", "total": {"currency": "EUR"}})),
        (json!({"x": false, "y": true}), json!({"id": "c1", "status": "OPEN", "total": {"currency": "EUR"}})),
    ] {
        let body = shop.ask(query, variables.clone()).await;
        assert_eq!(body["data"]["cart"], expect, "{variables}");
    }
}

#[tokio::test]
async fn variables_are_coerced_before_anything_runs() {
    let shop = Shop::new().await;
    shop.put_cart("7", "u1", None, &[]).await;
    let query = "query ($id: ID!) { cart(id: $id) { id } }";
    assert_eq!(shop.ask(query, json!({"id": 7})).await["data"], json!({"cart": {"id": "7"}}));
    assert_eq!(shop.data("{ cart(id: 7) { id } }").await, json!({"cart": {"id": "7"}}));
    for (variables, message) in [
        (json!({}), "Variable `$id` of type `ID!` was not given."),
        (json!({"id": null}), "Variable `$id` is null, but its type is `ID!`."),
        (json!({"id": [1]}), "Variable `$id` is [1], which is not of type `ID`."),
        (json!({"id": 1.5}), "Variable `$id` is 1.5, which is not of type `ID`."),
    ] {
        let refused = shop.refused(query, variables).await;
        assert_eq!(refused, (Outcome::NotValid, "BAD_USER_INPUT".to_owned(), message.to_owned()));
    }
}

#[tokio::test]
async fn what_does_not_parse_and_what_is_not_valid_are_told_apart() {
    let shop = Shop::new().await;
    let (outcome, code, _) = shop.refused("{ cart(id: ", json!({})).await;
    assert_eq!((outcome, &*code), (Outcome::NotParsed, "BAD_USER_INPUT"));
    let (outcome, code, message) = shop.refused("{ nope }", json!({})).await;
    assert_eq!((outcome, &*code), (Outcome::NotValid, "BAD_USER_INPUT"));
    assert!(message.contains("nope"), "{message}");
    let (outcome, ..) = shop.refused("mutation { a }", json!({})).await;
    assert_eq!(outcome, Outcome::NotValid);
    let (outcome, ..) = shop.refused("query A { __typename } query B { __typename }", json!({})).await;
    assert_eq!(outcome, Outcome::NotValid);
    let (outcome, ..) = shop.refused("", json!({})).await;
    assert_eq!(outcome, Outcome::NotParsed);
}

#[tokio::test]
async fn limits_hold_through_fragments() {
    let shop = Shop::new().await;
    let mut query = "{ user: cart(id: \"c\") { ...F0 } }".to_owned();
    for level in 0..30 {
        query.push_str(&format!(" fragment F{level} on Cart {{ ...F{next} ...F{next} }}", next = level + 1));
    }
    query.push_str(" fragment F30 on Cart { id }");
    let (outcome, code, message) = shop.refused(&query, json!({})).await;
    assert_eq!((outcome, &*code), (Outcome::NotValid, "LIMIT_EXCEEDED"), "{message}");
    let nested = |depth: usize| {
        let inside = "order { user { orders { nodes { ".repeat(depth);
        format!(
            "{{ cart(id: \"c\") {{ {inside} ...C {} }} }} fragment C on Order {{ id }}",
            "} } } } ".repeat(depth)
        )
    };
    // The cart, four levels, then the fragment's field.
    assert_eq!(shop.data(&nested(1)).await, json!({"cart": null}));
    let (_, code, message) = shop.refused(&nested(5), json!({})).await;
    assert_eq!((&*code, &*message), ("LIMIT_EXCEEDED", "The operation is nested deeper than 20 levels."));
    let roots = format!(
        "{{ ...R }} fragment R on Query {{ {} }}",
        (0..51).map(|at| format!("a{at}: __typename ")).collect::<String>()
    );
    let (_, code, message) = shop.refused(&roots, json!({})).await;
    assert_eq!((&*code, &*message), ("LIMIT_EXCEEDED", "The operation has more than 50 root fields."));
}

#[tokio::test]
async fn introspection_can_be_off_without_harming_federation() {
    let query = r#"query ($n: String!) { __schema { queryType { name } } __type(name: $n) { kind fields { name } } t: __typename _service { sdl } }"#;
    let shop = Shop::new().await;
    let body = shop.ask(query, json!({"n": "Money"})).await;
    assert_eq!(body["data"]["__schema"]["queryType"]["name"], "Query");
    assert_eq!(body["data"]["__type"]["fields"], json!([{"name": "amount"}, {"name": "currency"}]));
    assert_eq!(body["data"]["_service"]["sdl"].as_str().unwrap(), &*shop.model.sdl);
    assert_eq!(body["data"]["t"], "Query");
    assert_eq!(body.get("extensions"), None);
    let shop =
        Shop::with(include_str!("../../../schema/shop.graphql"), |settings| settings.introspection = false)
            .await;
    let (outcome, code, message) = shop.refused("{ __schema { queryType { name } } }", json!({})).await;
    assert_eq!((outcome, &*code), (Outcome::NotValid, "BAD_USER_INPUT"));
    assert!(message.contains("Introspection is off"), "{message}");
    assert!(shop.data("{ _service { s: sdl __typename } __typename }").await["_service"]["s"].is_string());
}

/// What tools ask for first: the introspection query that GraphiQL and the gateways' tools send.
const INTROSPECTION: &str = r#"
query IntrospectionQuery {
  __schema {
    description
    queryType { name kind }
    mutationType { name kind }
    subscriptionType { name kind }
    types { ...FullType }
    directives { name description isRepeatable locations args(includeDeprecated: true) { ...InputValue } }
  }
}
fragment FullType on __Type {
  kind name description specifiedByURL
  fields(includeDeprecated: true) {
    name description args(includeDeprecated: true) { ...InputValue } type { ...TypeRef } isDeprecated deprecationReason
  }
  inputFields(includeDeprecated: true) { ...InputValue }
  interfaces { ...TypeRef }
  enumValues(includeDeprecated: true) { name description isDeprecated deprecationReason }
  possibleTypes { ...TypeRef }
}
fragment InputValue on __InputValue {
  name description type { ...TypeRef } defaultValue isDeprecated deprecationReason
}
fragment TypeRef on __Type {
  kind name
  ofType { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name
    ofType { kind name ofType { kind name ofType { kind name } } } } } } } } }
}"#;

#[tokio::test]
async fn the_introspection_query_of_tools_is_answered_whole() {
    let shop = Shop::new().await;
    let data = shop.data(INTROSPECTION).await;
    let schema = &data["__schema"];
    assert_eq!(schema["queryType"], json!({"name": "Query", "kind": "OBJECT"}));
    assert_eq!(schema["mutationType"], json!(null));
    let find = |list: &Json, name: &str| {
        let found = list.as_array().unwrap().iter().find(|item| item["name"] == name);
        found.unwrap_or_else(|| panic!("{name} is missing")).clone()
    };
    for ty in &shop.model.types {
        let shown = find(&schema["types"], &ty.name);
        assert_eq!(shown["kind"], "OBJECT");
        for field in ty.fields.iter().filter(|_| ty.name != "Query") {
            find(&shown["fields"], &field.name);
        }
    }
    let list = find(&find(&schema["types"], "Query")["fields"], "ordersToPick");
    assert_eq!(list["description"], "Paid, not yet shipped, oldest first.");
    assert_eq!(list["type"]["kind"], "NON_NULL");
    assert_eq!(list["type"]["ofType"]["name"], "OrderConnection");
    assert_eq!(
        find(&list["args"], "first")["type"],
        json!({"kind": "SCALAR", "name": "Int", "ofType": null})
    );
    let statuses = find(&schema["types"], "OrderStatus")["enumValues"].clone();
    assert_eq!(statuses.as_array().unwrap().len(), 4);
    assert_eq!(find(&schema["types"], "_Entity")["kind"], "UNION");
}

#[tokio::test]
async fn introspection_stands_beside_rows_under_its_alias() {
    let shop = Shop::new().await;
    shop.put_cart("c1", "u1", None, &[]).await;
    let query = r#"query ($skip: Boolean!) { a: __type(name: "Money") { name } cart(id: "c1") { id __typename }
        b: __type(name: "None") { name } c: __schema @skip(if: $skip) { queryType { name } } }"#;
    for (skip, c) in [(false, json!({"queryType": {"name": "Query"}})), (true, Json::Null)] {
        let body = shop.ask(query, json!({"skip": skip})).await;
        assert_eq!(body["data"]["a"], json!({"name": "Money"}));
        assert_eq!(body["data"]["b"], Json::Null);
        assert_eq!(body["data"]["cart"], json!({"id": "c1", "__typename": "Cart"}));
        assert_eq!(body["data"]["c"], c);
        assert_eq!(body["data"].get("c").is_some(), !skip);
    }
}

#[tokio::test]
async fn fields_that_differ_under_one_name_are_refused() {
    let shop = Shop::new().await;
    for query in [
        r#"{ cart(id: "c1") { id } cart(id: "c2") { id } }"#,
        r#"{ cart(id: "c1") { x: id x: status } }"#,
        r#"{ _entities(representations: []) { ... on Cart { status } ... on Order { status } } }"#,
        r#"query ($a: ID!, $b: ID!) { cart(id: $a) { id } cart(id: $b) { id } }"#,
    ] {
        let (outcome, code, _) = shop.refused(query, json!({"a": "1", "b": "1"})).await;
        assert_eq!((outcome, &*code), (Outcome::NotValid, "BAD_USER_INPUT"), "{query}");
    }
}
