//! What is proposed for samples, odd ones among them, passes `check`, and its cases pass `test`.

use serde_json::json;

use super::*;
use crate::diagnostic::{Sources, render};
use crate::engine;

fn samples(values: Vec<Json>) -> Vec<Sample> {
    values.into_iter().map(|value| Sample { key: None, value }).collect()
}

/// Proposes, checks and tests; answers the text of all files.
fn sound(topic: &str, values: Vec<Json>) -> String {
    sound_samples(topic, &samples(values))
}

fn sound_samples(topic: &str, samples: &[Sample]) -> String {
    let files = propose(topic, samples, None).unwrap_or_else(|reason| panic!("{reason}"));
    let text: String = files.iter().map(|(name, text)| format!("## {name}\n{text}\n")).collect();
    let mut sources = Sources::default();
    let (mut schemas, mut yaml) = (Vec::new(), Vec::new());
    for (name, text) in &files {
        let file = sources.add(name, text.as_str());
        if name.ends_with(".graphql") { schemas.push(file) } else { yaml.push(file) }
    }
    let loaded = engine::bind(sources, &schemas, &yaml, &Default::default());
    let faults = render(&loaded.findings, &loaded.sources, false);
    let definitions = loaded.definitions.unwrap_or_else(|| panic!("{text}\n{faults}"));
    let cases: Vec<_> = definitions.cases.iter().collect();
    assert!(!cases.is_empty(), "{text}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    for result in runtime.block_on(engine::cases::run(&definitions, &loaded.sources, &cases, |_| {})) {
        assert!(result.differences.is_empty(), "{text}\n{:?}", result.differences);
    }
    text
}

#[test]
fn orders_get_times_numbers_words_and_lines_by_their_key() {
    let line = |sku: &str| json!({ "sku": sku, "quantity": 2, "price": "1.50" });
    let placed = |id: &str, status: &str| {
        json!({ "type": "OrderPlaced", "v": 1, "at": "2026-01-01T10:00:00Z", "orderId": id, "status": status,
            "customer": { "id": "c1", "address": { "city": "Ulm" } }, "lines": [line("a"), line("b")],
            "total": 3.5, "tags": ["x"], "gift": true, "count": 3, "views": 5_000_000_000_i64 })
    };
    let deleted = json!({ "type": "OrderDeleted", "v": 1, "at": "2026-01-01T11:00:00Z", "orderId": "o1" });
    let noted =
        json!({ "type": "OrderNoted", "v": 1, "at": "2026-01-01T10:30:00Z", "orderId": "o2", "note": null });
    let values = vec![
        placed("o1", "OPEN"),
        placed("o2", "OPEN"),
        placed("o3", "PAID"),
        placed("o4", "PAID"),
        deleted,
        noted,
    ];
    let text = sound("shop.orders", values);
    for part in [
        "type Order @key(fields: \"orderId\") @table(name: \"orders\", partition: \"orderId\")",
        "lines: [OrderLines!]! @column(as: MAP, key: \"sku\", max: 100)",
        "price: Decimal!",
        "tags: [String!]! @column(as: LIST",
        "customerAddressCity: String\n",
        "views: Long\n",
        "enum OrderStatus { OPEN PAID }",
        "at: DateTime!",
        "time: event.at",
        "version: event.v",
        "gift: Boolean\n",
        "OrderDeleted: { delete: row }",
        "# DECIDE: note is left out: it is null, or empty, in every event",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
}

#[test]
fn odd_samples_are_sound_too() {
    for (topic, values) in [
        ("one", vec![json!({ "id": "a" })]),
        ("untyped", vec![json!({ "id": 5, "x": 1.5e300 }), json!({ "id": 6, "x": 2 })]),
        (
            "mixed",
            vec![
                json!({ "id": "a", "x": 1 }),
                json!({ "id": "b", "x": "1" }),
                json!({ "id": "c", "x": [1] }),
            ],
        ),
        (
            "nulls",
            vec![
                json!({ "id": "a", "x": null, "y": { "z": 1 }, "l": [null] }),
                json!({ "id": "b", "x": 1, "y": null }),
            ],
        ),
        (
            "deep",
            vec![json!({ "id": "a", "b": { "c": { "d": { "e": { "f": { "g": { "h": 1 } } } } } }, "o": {} })],
        ),
        (
            "sparse",
            vec![json!({ "id": "a", "b": { "c": 1 } }), json!({ "id": "a" }), json!({ "id": "a", "b": {} })],
        ),
        (
            "query",
            vec![
                json!({ "id": "a", "type": "query", "in": 1, "null": 2, "true": "x", "_id": 1, "__typename": "q", "event": 1, "row": 2 }),
            ],
        ),
        (
            "strings",
            vec![
                json!({ "id": "a", "ID": "b", "i d": "c", "9lives": 1, "content-type": "x", "ü": 1, "": 2, "a\"b": "\u{1}\n# x" }),
            ],
        ),
        (
            "types",
            vec![
                json!({ "id": "a", "type": "a/b: c" }),
                json!({ "id": "a", "type": "null" }),
                json!({ "id": "b", "type": "5" }),
            ],
        ),
        (
            "lists",
            vec![
                json!({ "id": "a", "e": [], "n": [[1]], "o": [{ "p": { "q": 1 } }], "t": [1, "a"], "u": [{ "each": 1, "x": null }] }),
            ],
        ),
        ("some-lists", vec![json!({ "id": "a", "l": [1] }), json!({ "id": "b" })]),
        ("status", vec![json!({ "id": "a", "s": "TRUE" }), json!({ "id": "b", "s": "TRUE" })]),
        (
            "long",
            vec![
                json!({ "id": "a", "a_very_long_name_that_the_store_would_not_take_as_it_is_written": 1, "a_very_long_name_that_the_store_would_not_take_as_it_was": 2 }),
            ],
        ),
        (
            "times",
            vec![
                json!({ "id": "a", "t": "2026-01-01T10:00:00+02:00", "u": "2026-01-01T10:00:00.123456Z", "d": "2026-01-01" }),
            ],
        ),
        (
            "numbers",
            vec![
                json!({ "id": "a", "n": "-0.10", "big": 18_446_744_073_709_551_615_u64, "neg": -5, "frac": 0.1 }),
            ],
        ),
        ("deleted", vec![json!({ "id": "a", "type": "ThingDeleted", "x": 1 })]),
    ] {
        sound(topic, values);
    }
}

#[test]
fn what_elements_do_not_share_is_named() {
    let list = json!([{ "n": 1, "m": null, "o": { "p": 1 } }, { "n": 2, "m": 1 }]);
    let text = sound("t", vec![json!({ "id": "a", "l": list })]);
    assert!(text.contains("# DECIDE: l[].m is left out: not every element has it"), "{text}");
    assert!(
        text.contains("# DECIDE: l[].o.p is left out: it lies deeper than the element's own fields"),
        "{text}"
    );
}

#[test]
fn the_key_is_what_the_records_have() {
    let record = |key: &str, value: Json| Sample { key: Some(key.to_owned()), value };
    let text = sound_samples(
        "t",
        &[
            record("x", json!({ "id": "1", "ref": { "owner": "x" } })),
            record("y", json!({ "id": "2", "ref": { "owner": "y" } })),
        ],
    );
    assert!(text.contains("recordKey: event.ref.owner"), "{text}");
    let refused = |samples: &[Sample], key| propose("t", samples, key).expect_err("no key");
    let other = [record("z", json!({ "id": "1", "n": 1.5 }))];
    assert_eq!(
        refused(&other, None),
        "no field can be seen to be the key: it must be in every event and equal to the record's key; in every event these are: id; --key FIELD names one"
    );
    assert!(
        refused(&other, Some("n")).starts_with("`n` cannot be the key: it must be a text or a whole number")
    );
    assert!(
        refused(&samples(vec![json!(1), json!([])]), None)
            .starts_with("the sample has no event that is a JSON object")
    );
    let many = (0..=TYPES_MAX).map(|number| json!({ "id": "a", "type": format!("T{number}") })).collect();
    assert_eq!(refused(&samples(many), None), "the sample has 101 event types, 100 are the most");
    let named = propose("t", &samples(vec![json!({ "a": "1", "b": "2" })]), Some("b")).expect("b is there");
    assert!(named[0].1.contains("partition: \"b\""), "{}", named[0].1);
}
