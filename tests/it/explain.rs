//! `kinora explain`: reads and events of the shop as text and JSON, and names that are not there.

use std::process::Output;

use crate::support::{golden, kinora};

fn explain(arguments: &[&str]) -> (Option<i32>, String, String) {
    let shop = env!("CARGO_MANIFEST_DIR");
    let Output { status, stdout, stderr } = kinora()
        .arg("explain")
        .args(arguments)
        .args(["--project", shop])
        .output()
        .expect("kinora can be run");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn reads_and_events_are_explained() {
    let mut all = String::new();
    for name in
        ["Query.order", "User.orders", "Query.ordersToPick", "orders.OrderPlaced", "carts", "products"]
    {
        let (code, text, fault) = explain(&[name]);
        assert_eq!((code, fault.as_str()), (Some(0), ""), "{name}");
        all.push_str(&format!("$ kinora explain {name}\n{text}\n"));
    }
    golden("explain/shop.txt", &all);
    let (_, text, _) = explain(&["User.orders", "--format", "json"]);
    let read: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(
        (&read["read"]["table"], &read["table"]["name"]),
        (&"orders_by_user".into(), &"orders_by_user".into())
    );
    let (_, text, _) = explain(&["orders", "--format", "json"]);
    let events: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let types = events["events"].as_array().expect("a list").iter().map(|event| event["event"].as_str());
    assert!(types.clone().any(|name| name == Some("OrderPlaced")), "{text}");
    assert!(types.is_sorted(), "{text}");
}

#[test]
fn a_name_that_is_not_there_finds_the_nearest() {
    let (code, _, fault) = explain(&["Query.ordr"]);
    assert_eq!(code, Some(2));
    assert!(fault.contains(
        "`Query.ordr` is no read, projection or event of a projection; did you mean `Query.order`?"
    ));
    let (code, _, fault) = explain(&["zzzzzzzzzz"]);
    assert_eq!(code, Some(2));
    assert!(fault.contains("known: ") && fault.contains("orders.OrderPlaced"), "{fault}");
}
