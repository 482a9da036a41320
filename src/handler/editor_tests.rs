//! The JSON Schemas beside the loader: both know the same keys, and every file of this repository is valid.

use std::collections::BTreeSet;

use super::*;
use crate::diagnostic::Sources;
use crate::handler::{cases, check_shape, yaml};

/// Keys that the loader knows in order to refuse them well.
const REFUSED: [&str; 2] = ["into", "key"];

/// For each shape a file with `nonsense` as a key of it.
const PROBES: [(&str, YamlFile, &str); 13] = [
    ("projection", YamlFile::Projection, "nonsense: 1"),
    ("defaults", YamlFile::Defaults, "nonsense: 1"),
    ("from", YamlFile::Projection, "from: { nonsense: 1 }"),
    ("upcast", YamlFile::Projection, "upcast: { A: { 0: { nonsense: 1 } } }"),
    ("piece", YamlFile::Projection, "upcast: { A: { 0: { split: [{ nonsense: 1 }] } } }"),
    ("sequence", YamlFile::Projection, "from: { sequence: { nonsense: 1 } }"),
    ("event", YamlFile::Cases, "cases: [{ name: a, given: [], events: { p: [{ nonsense: 1 }] } }]"),
    ("case", YamlFile::Projection, "events: { A: { nonsense: 1 } }"),
    ("each", YamlFile::Projection, "events: { A: { update: { x: { each: a, nonsense: 1 } } } }"),
    ("cases", YamlFile::Cases, "nonsense: 1"),
    ("case", YamlFile::Cases, "cases: [{ nonsense: 1 }]"),
    ("record", YamlFile::Cases, "cases: [{ name: a, given: [{ nonsense: 1 }] }]"),
    ("parked", YamlFile::Cases, "cases: [{ name: a, given: [], parked: [{ nonsense: 1 }] }]"),
];

/// The keys that the loader lists where it finds `nonsense`.
fn known_to_the_loader(file: YamlFile, text: &str) -> BTreeSet<String> {
    let mut sources = Sources::default();
    let added = sources.add("projections/x.yaml", text);
    let faults = match file {
        YamlFile::Projection => check_shape(&[added], None, &sources),
        YamlFile::Defaults => check_shape(&[], Some(added), &sources),
        YamlFile::Cases => cases::load(added, &sources).1,
    };
    let fault = faults.iter().find(|fault| fault.message.ends_with("has no key `nonsense`"));
    let help = fault.and_then(|fault| fault.help.clone()).unwrap_or_else(|| panic!("{text}: {faults:?}"));
    let known = help.strip_prefix("known: ").unwrap_or_else(|| panic!("{text}: {help}"));
    known.split(", ").map(|key| key.trim_matches('`').to_owned()).collect()
}

#[test]
fn the_loader_and_the_schemas_know_the_same_keys() {
    for (name, file, text) in PROBES {
        let mut known = known_to_the_loader(file, text);
        let refused_here = |key: &str| match (name, file) {
            ("each", _) => REFUSED.contains(&key),
            _ => false,
        };
        known.retain(|key| !refused_here(key));
        let schema = schema_of(file);
        let properties = schema["$defs"][name]["properties"].as_object().expect("a shape has keys");
        let described: BTreeSet<String> = properties.keys().cloned().collect();
        assert_eq!(described, known, "{name} of {file:?}: the schema's keys, and the loader's");
        assert!(
            properties.values().all(|key| key["description"].is_string()),
            "{name} says what each key means"
        );
    }
    for file in [YamlFile::Projection, YamlFile::Defaults, YamlFile::Cases] {
        let schema = schema_of(file);
        for name in schema["$defs"]
            .as_object()
            .expect("definitions")
            .keys()
            .filter(|name| !["expression", "value"].contains(&name.as_str()))
        {
            let is_probed = PROBES.iter().any(|(probed, _, _)| probed == name);
            assert!(is_probed, "{name} has a probe");
        }
    }
}

#[test]
fn every_file_of_this_repository_is_valid() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut seen = 0;
    for entry in std::fs::read_dir(root.join("projections")).expect("the shop is there") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        let file = match name.as_str() {
            "defaults.yaml" => YamlFile::Defaults,
            name if name.ends_with(".cases.yaml") => YamlFile::Cases,
            _ => YamlFile::Projection,
        };
        let text = std::fs::read_to_string(&path).expect("text");
        assert_eq!(faults(file, &text), Vec::<String>::new(), "{name}");
        seen += 1;
    }
    assert!(seen >= 8, "{seen} files");
}

#[test]
fn what_the_loader_refuses_by_its_shape_is_invalid() {
    let projection =
        |events: &str| format!("projection: a\ninto: A\nkey: {{ id: event.id }}\nunknown: park\n{events}\n");
    for sound in [
        "events: { A: { delete: row } }",
        "events: { A: ignore, B: { missing: park, delete: row } }\nalways: { at: record.time }",
        "events: { A: { initially: { n: 0 }, upsert: { 'm[event.k]': { a: 1 } } } }\nfrom: { topic: t, start: latest }",
        "events: {}\nfrom: [{ topic: t, start: '2026-01-01T00:00:00Z' }]",
        "events: { A: [{ when: 'true', update: { n: 1 } }, { remove: ['l[1]', 'l[2]'] }] }",
        "events: { A: { upsert: { a: null, l: { each: event.l, as: x, set: { a: x.a } }, 'm[x]': { a: 1 } } } }",
        "handler: x\nupcast: { A: { 0: { rename: { a: b }, default: { c: [1] }, drop: d } } }",
    ] {
        assert_eq!(faults(YamlFile::Projection, &projection(sound)), Vec::<String>::new(), "{sound}");
    }
    for (faulty, place) in [
        ("events: { A: { delete: all } }", "/events/A"),
        ("events: { A: ignroe }", "/events/A"),
        ("events: {}\nfrom: { topic: t, start: lastest }", "/from"),
        ("events: { A: { missing: never, delete: row } }", "/events/A"),
        ("events: { A: { udpate: { n: 1 } } }", "/events/A"),
        ("events: { A: { upsert: { l: { each: event.l, set: { a: x.a } } } } }", "/events/A"),
        ("handler: x\nupcast: { A: { first: {} } }", "/upcast/A"),
        ("unknwon: park\nhandler: x", ""),
        ("events: {}\nhandler: x", ""),
        ("", ""),
    ] {
        let found = faults(YamlFile::Projection, &projection(faulty));
        assert!(found.iter().any(|fault| fault.starts_with(&format!("{place}: "))), "{faulty}: {found:?}");
    }
    let cases = |case: &str| faults(YamlFile::Cases, &format!("cases: [{case}]"));
    assert!(cases("{ name: a, given: [{ topic: t, value: null }] }").is_empty());
    assert!(!cases("{ name: a, given: [{ topic: t }] }").is_empty());
    assert!(!cases("{ name: a, given: [], answer: {} }").is_empty());
    assert!(!cases("{ name: a, given: [], parked: [{ waiting: -1 }] }").is_empty());
}

fn faults(file: YamlFile, text: &str) -> Vec<String> {
    let mut sources = Sources::default();
    let (root, found) = yaml::read(sources.add("x.yaml", text), text);
    assert!(found.is_empty(), "{found:?}");
    let value = serde_json::from_str(&yaml::to_json(&root.expect("a file has a root"))).expect("JSON");
    let schema = schema_of(file);
    let mut faults = Vec::new();
    check(&schema, &schema, &value, "", &mut faults);
    faults
}

/// As much of JSON Schema as is used here; a keyword that is not known is a failure.
fn check(root: &Value, schema: &Value, value: &Value, at: &str, faults: &mut Vec<String>) {
    let holds = |schema: &Value, value: &Value| {
        let mut faults = Vec::new();
        check(root, schema, value, at, &mut faults);
        faults.is_empty()
    };
    let object = value.as_object();
    for (keyword, rule) in schema.as_object().expect("a schema is a map") {
        let fine = match keyword.as_str() {
            "$schema" | "$defs" | "title" | "description" | "patternProperties" => true,
            "$ref" => {
                let path = rule.as_str().expect("a text").trim_start_matches('#');
                let target = root.pointer(path).unwrap_or_else(|| panic!("{path} is there"));
                check(root, target, value, at, faults);
                true
            }
            "type" => match rule {
                Value::Array(names) => names.iter().any(|name| is_a(name, value)),
                name => is_a(name, value),
            },
            "enum" => rule.as_array().expect("a list").contains(value),
            "format" => {
                assert_eq!(rule, "date-time", "the only format that is used");
                value.as_str().is_none_or(|text| crate::expr::read_timestamp(text).is_some())
            }
            "minLength" => value.as_str().is_none_or(|text| !text.is_empty()),
            "minProperties" => object.is_none_or(|object| !object.is_empty()),
            "minimum" => value.as_i64().is_none_or(|number| Some(number) >= rule.as_i64()),
            "required" => object.is_none_or(|object| names(rule).all(|name| object.contains_key(name))),
            "dependentRequired" => object.is_none_or(|object| {
                let mut needs = rule.as_object().expect("a map").iter();
                needs.all(|(key, needed)| {
                    !object.contains_key(key) || names(needed).all(|name| object.contains_key(name))
                })
            }),
            "anyOf" => rule.as_array().expect("a list").iter().any(|one| holds(one, value)),
            "oneOf" => rule.as_array().expect("a list").iter().filter(|one| holds(one, value)).count() == 1,
            "not" => !holds(rule, value),
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(root, rule, item, &format!("{at}/{index}"), faults);
                }
                true
            }
            "properties" => {
                for (key, rule) in rule.as_object().expect("a map") {
                    if let Some(value) = value.get(key) {
                        check(root, rule, value, &format!("{at}/{key}"), faults);
                    }
                }
                true
            }
            "additionalProperties" => others(schema, value).all(|(key, other)| match rule {
                Value::Bool(allowed) => *allowed,
                rule => {
                    check(root, rule, other, &format!("{at}/{key}"), faults);
                    true
                }
            }),
            keyword => panic!("{keyword} is not known to this test"),
        };
        if !fine {
            faults.push(format!("{at}: {keyword}: {value}"));
        }
    }
    if let Some(versions) = schema.get("patternProperties").and_then(Value::as_object) {
        for (key, other) in object.into_iter().flatten().filter(|(key, _)| key.parse::<i64>().is_ok()) {
            check(root, &versions["^-?[0-9]+$"], other, &format!("{at}/{key}"), faults);
        }
    }
}

/// The entries that neither `properties` nor the one pattern names.
fn others<'v>(schema: &'v Value, value: &'v Value) -> impl Iterator<Item = (&'v String, &'v Value)> {
    value.as_object().into_iter().flatten().filter(|(key, _)| {
        let named = schema.get("properties").is_some_and(|known| known.get(key.as_str()).is_some());
        let numbered = schema.get("patternProperties").is_some() && key.parse::<i64>().is_ok();
        !named && !numbered
    })
}

fn names(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn is_a(name: &Value, value: &Value) -> bool {
    match name.as_str().expect("a text") {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_i64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        name => panic!("{name} is not a type"),
    }
}
