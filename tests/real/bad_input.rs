//! Bad input over HTTP: each is one clear error, or a key that waits, and nothing good is lost.

use serde_json::{Value as Json, json};

use crate::process::{Dev, base64};
use crate::{AT, line, order_placed, product_added};

/// What `parked` says of the only parked key of a projection, and the row of a neighbour is as it was.
fn parks(record: Json, topic: &str, says: &[&str]) {
    let dev = Dev::start();
    let neighbour = order_placed("ok", "n-ok", "u1", AT, &line("p1", "Lamp", 1, "1.00"));
    dev.publish_event("shop.orders", "ok", neighbour);
    let response = dev.publish(topic, std::slice::from_ref(&record));
    assert_eq!(response.status, 200, "a record that cannot be folded is stored all the same: {response:?}");
    let position = response.json()["positions"][0].as_str().expect("a position is text").to_owned();
    let paid = json!({ "type": "PaymentTaken", "v": 1, "at": AT, "orderId": "ok", "paymentId": "y", "amount": "1.00" });
    let last = dev.publish_event("shop.orders", "ok", paid);

    let read_after = format!("{position},{last}");
    let answer = dev.data("{ order(id: \"ok\") { status } }", Some(&read_after));
    assert_eq!(answer, json!({ "order": { "status": "PAID" } }), "other keys go on");

    let listed = dev.command(&["parked", "list", "--format", "json"]);
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.status.success(), "{listed:?}");
    for part in says {
        assert!(text.contains(part), "`parked list` does not say `{part}`: {text}");
    }
    assert!(text.contains(&position) || text.contains("offset"), "`parked list` does not say where: {text}");
}

#[test]
fn an_event_that_is_not_json_waits() {
    parks(
        json!({ "key": "o1", "valueBase64": base64(b"not json") }),
        "shop.orders",
        &["o1", "decode", "JSON"],
    );
}

#[test]
fn an_event_without_its_key_field_waits() {
    let mut event = order_placed("o1", "n1", "u1", AT, &line("p1", "Lamp", 1, "1.00"));
    event.as_object_mut().expect("an object").remove("orderId");
    parks(json!({ "key": "o1", "value": event }), "shop.orders", &["o1", "orderId"]);
}

#[test]
fn an_event_under_another_record_key_waits() {
    let event = order_placed("o1", "n1", "u1", AT, &line("p1", "Lamp", 1, "1.00"));
    let says = r#"record key is \"o2\", event.orderId is \"o1\""#;
    parks(json!({ "key": "o2", "value": event }), "shop.orders", &[says, "route"]);
}

#[test]
fn an_event_of_an_unknown_type_waits() {
    let event = json!({ "type": "OrderEaten", "v": 1, "at": AT, "orderId": "o1" });
    parks(json!({ "key": "o1", "value": event }), "shop.orders", &["OrderEaten", "is not known"]);
}

#[test]
fn an_answer_about_a_parked_row_says_so() {
    let dev = Dev::start();
    dev.publish_event(
        "shop.orders",
        "o1",
        order_placed("o1", "n1", "u1", AT, &line("p1", "Lamp", 1, "1.00")),
    );
    let bad = json!({ "type": "PaymentTaken", "v": 1, "at": "yesterday", "orderId": "o1" });
    let position = dev.publish_event("shop.orders", "o1", bad);
    let answer = dev.query("{ order(id: \"o1\") { status } }", json!({}), Some(&position)).json();
    assert_eq!(answer["data"], json!({ "order": { "status": "PLACED" } }));
    let parked = &answer["extensions"]["kinora"]["parked"][0];
    assert_eq!(parked["type"], json!("Order"), "{answer}");
    assert_eq!(parked["path"], json!(["order"]), "{answer}");
    assert!(parked["key"].to_string().contains("o1"), "{answer}");
}

#[test]
fn an_event_of_20_mb_is_refused_and_nothing_of_its_request_is_written() {
    let dev = Dev::start();
    let mut large = product_added("p1", "s1", "Lamp");
    large["name"] = Json::from("x".repeat(20 << 20));
    let records = [
        json!({ "key": "p2", "value": product_added("p2", "s2", "Chair") }),
        json!({ "key": "p1", "value": large }),
    ];
    let response = dev.publish("shop.products", &records);
    assert!([400, 413].contains(&response.status), "status {}", response.status);
    assert!(response.body.contains("10 MiB") || response.body.contains("10485760"), "{}", response.body);
    let position = dev.publish_event("shop.products", "p3", product_added("p3", "s3", "Table"));
    let data = dev.data("{ a: product(id: \"p2\") { id } b: product(id: \"p3\") { id } }", Some(&position));
    assert_eq!(data, json!({ "a": null, "b": { "id": "p3" } }));
}

#[test]
fn one_bad_line_refuses_the_whole_request_and_names_the_line() {
    let dev = Dev::start();
    let good = json!({ "key": "p1", "value": product_added("p1", "s1", "Lamp") });
    let body = format!("{good}\n{{\"key\": 7}}\n");
    let headers = [("content-type", "application/x-ndjson")];
    let response = dev.request("POST", "/topics/shop.products", &headers, body.as_bytes());
    assert_eq!(response.status, 400, "{response:?}");
    assert!(response.body.contains("line 2"), "{response:?}");
    let position = dev.publish_event("shop.products", "p9", product_added("p9", "s9", "Table"));
    assert_eq!(dev.data("{ product(id: \"p1\") { id } }", Some(&position)), json!({ "product": null }));
}

#[test]
fn a_web_page_cannot_publish() {
    let dev = Dev::start();
    let line = json!({ "key": "p1", "value": product_added("p1", "s1", "Lamp") }).to_string();
    for headers in [
        &[("content-type", "text/plain")][..],
        &[("content-type", "application/x-www-form-urlencoded")][..],
        &[][..],
    ] {
        let response = dev.request("POST", "/topics/shop.products", headers, line.as_bytes());
        assert_eq!(response.status, 415, "{headers:?}: {response:?}");
    }
}

/// The only error of a query, with its code.
fn refused(dev: &Dev, query: &str, code: &str) -> String {
    let response = dev.query(query, json!({}), None);
    let json = response.json();
    let errors = json["errors"].as_array().unwrap_or_else(|| panic!("no errors: {response:?}"));
    assert_eq!(errors.len(), 1, "{response:?}");
    assert_eq!(errors[0]["extensions"]["code"], json!(code), "{response:?}");
    errors[0]["message"].as_str().expect("a message is text").to_owned()
}

#[test]
fn a_query_nested_100_deep_is_refused() {
    let dev = Dev::start();
    let mut query = "id".to_owned();
    for _ in 0..33 {
        query = format!("user {{ orders {{ nodes {{ {query} }} }} }}");
    }
    let query = format!("{{ order(id: \"o1\") {{ {query} }} }}");
    let message = refused(&dev, &query, "LIMIT_EXCEEDED");
    assert!(message.contains("20"), "the limit is not named: {message}");
}

#[test]
fn a_forged_cursor_is_refused() {
    let dev = Dev::start();
    let mut last = String::new();
    for number in 0..3 {
        let (id, sku) = (format!("p{number}"), format!("s{number}"));
        last = dev.publish_event("shop.products", &id, product_added(&id, &sku, "Lamp"));
        dev.data("{ product(id: \"p0\") { id } }", Some(&last));
    }
    let list = "{ productsInCategory(categoryId: \"k1\", first: 1) { pageInfo { endCursor } } }";
    let data = dev.data(list, Some(&last));
    let cursor =
        data["productsInCategory"]["pageInfo"]["endCursor"].as_str().expect("there is a page").to_owned();
    let middle = cursor.len() / 2;
    let other = if &cursor[middle..=middle] == "A" { "B" } else { "A" };
    let forged = format!("{}{other}{}", &cursor[..middle], &cursor[middle + 1..]);
    for bad in [forged.as_str(), "", "x", "AAAA", &cursor[1..]] {
        let query = format!(
            "{{ productsInCategory(categoryId: \"k1\", first: 1, after: \"{bad}\") {{ nodes {{ id }} }} }}"
        );
        refused(&dev, &query, "CURSOR_INVALID");
    }
    let elsewhere =
        format!("{{ ordersToPick(warehouseId: \"w1\", after: \"{cursor}\") {{ nodes {{ id }} }} }}");
    refused(&dev, &elsewhere, "CURSOR_INVALID");
}

#[test]
fn bad_page_sizes_are_refused_not_clamped() {
    let dev = Dev::start();
    for arguments in ["first: -1", "first: 101", "last: 101", "first: 1, last: 1"] {
        let query = format!("{{ productsInCategory(categoryId: \"k1\", {arguments}) {{ nodes {{ id }} }} }}");
        refused(&dev, &query, "BAD_USER_INPUT");
    }
    for arguments in ["first: 0", "first: 100", "last: 100", "last: 0"] {
        let query = format!("{{ productsInCategory(categoryId: \"k1\", {arguments}) {{ nodes {{ id }} }} }}");
        assert_eq!(dev.data(&query, None), json!({ "productsInCategory": { "nodes": [] } }));
    }
}

#[test]
fn a_malformed_read_after_is_refused() {
    let dev = Dev::start();
    for bad in ["shop.orders", "shop.orders:x@1", "shop.orders:0@-1", "@"] {
        let headers =
            [("content-type", "application/json"), ("accept", "application/json"), ("x-read-after", bad)];
        let response =
            dev.request("POST", "/graphql", &headers, br#"{"query": "{ order(id: \"o1\") { id } }"}"#);
        assert_eq!(response.status, 400, "{bad}: {response:?}");
        assert_eq!(
            response.json()["errors"][0]["extensions"]["code"],
            json!("BAD_READ_AFTER"),
            "{bad}: {response:?}"
        );
    }
}
