//! The sample: the same from the same seed, well formed, in order, and alive.

use std::collections::BTreeMap;

use super::{SHOP_LINE, SHOP_TOPICS, SampleEvent, shop};

const NOW_MS: i64 = 1_795_262_400_000;

fn drawn(seed: u64, count: usize) -> Vec<SampleEvent> {
    shop(seed, count, NOW_MS).collect()
}

fn body(event: &SampleEvent) -> serde_json::Value {
    serde_json::from_str(&event.value).expect("every event is JSON")
}

#[test]
fn the_same_seed_draws_the_same_events() {
    assert_eq!(drawn(7, 500), drawn(7, 500));
    assert_ne!(drawn(7, 500), drawn(8, 500));
    for count in [0, 1, 3, 100] {
        assert_eq!(drawn(1, count).len(), count);
    }
}

#[test]
fn every_event_is_whole_and_later_than_the_one_before() {
    let key_of = BTreeMap::from([
        ("shop.carts", "cartId"),
        ("shop.orders", "orderId"),
        ("shop.products", "productId"),
        ("shop.customers", "customerId"),
    ]);
    let events = drawn(1, 3_000);
    for event in &events {
        let body = body(event);
        assert!(SHOP_TOPICS.contains(&event.topic));
        assert_eq!(body[key_of[event.topic]], event.key.as_str(), "{body}");
        for field in ["type", "v", "id", "at"] {
            assert!(!body[field].is_null(), "{field} of {body}");
        }
        let at: jiff::Timestamp = body["at"].as_str().and_then(|at| at.parse().ok()).expect("a time");
        assert_eq!(at.as_millisecond(), event.timestamp_ms);
        assert_eq!(body["at"].as_str().map(str::len), Some(24), "milliseconds are written: {body}");
    }
    assert!(events.is_sorted_by_key(|event| event.timestamp_ms));
    assert_eq!(events.last().map(|event| event.timestamp_ms), Some(NOW_MS));
}

#[test]
fn all_kinds_of_events_happen() {
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    let mut old = 0;
    for event in drawn(1, 5_000) {
        let body = body(&event);
        old += usize::from(body["v"] == 0);
        *kinds.entry(body["type"].as_str().expect("text").to_owned()).or_default() += 1;
    }
    assert_eq!(kinds.len(), 14, "{kinds:?}");
    assert!(old > 0, "the first version of OrderPlaced is among them");
    assert!(kinds["ItemAddedToCart"] > 1_500 && kinds["OrderPlaced"] > 300, "{kinds:?}");
}

#[test]
fn an_order_follows_its_cart_and_its_payment_is_its_total() {
    let events = drawn(3, 4_000);
    let mut totals: BTreeMap<String, u64> = BTreeMap::new();
    let cents = |text: &serde_json::Value| -> u64 {
        text.as_str().expect("text").replace('.', "").parse().expect("a decimal")
    };
    for (at, event) in events.iter().enumerate() {
        let body = body(event);
        match body["type"].as_str().expect("text") {
            "OrderPlaced" => {
                assert!(events[at - 1].value.contains("CartCheckedOut"));
                let lines = body["lines"].as_array().expect("a list");
                let total = lines
                    .iter()
                    .map(|line| cents(&line["unitPrice"]) * line["quantity"].as_u64().expect("a number"))
                    .sum();
                totals.insert(event.key.clone(), total);
            }
            "PaymentTaken" => assert_eq!(totals.get(&event.key), Some(&cents(&body["amount"]))),
            "OrderShipped" | "OrderCancelled" => assert!(totals.contains_key(&event.key)),
            _ => {}
        }
    }
}

#[test]
fn the_line_to_publish_is_json() {
    let line: serde_json::Value = serde_json::from_str(SHOP_LINE).expect("JSON");
    assert_eq!(line["value"]["cartId"], line["key"]);
}
