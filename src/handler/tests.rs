//! Golden diagnostics: each folder of `tests/golden/projection` has projections and what `check` says of them.
//!
//! `KINORA_BLESS=1` writes `expect.txt` anew. Without a `schema.graphql` in the folder the shop's is taken.

use std::fs;
use std::path::{Path, PathBuf};

use super::testing::{load_text, shop};
use super::{CustomHandlers, UpdateKind};
use crate::diagnostic::{FileId, Sources, render};
use crate::testing::spoil;

fn folders() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/projection");
    let mut folders: Vec<PathBuf> = fs::read_dir(&root)
        .unwrap_or_else(|error| panic!("{}: {error}", root.display()))
        .map(|entry| entry.expect("the folder can be read").path())
        .collect();
    folders.sort();
    folders
}

fn findings(folder: &Path) -> String {
    let schema = fs::read_to_string(folder.join("schema.graphql"))
        .unwrap_or_else(|_| include_str!("../../schema/shop.graphql").to_owned());
    let mut files: Vec<(String, String)> = fs::read_dir(folder)
        .expect("the folder can be read")
        .map(|entry| entry.expect("the folder can be read").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml" || extension == "json"))
        .map(|path| {
            let name = path.file_name().expect("a file has a name").to_string_lossy().into_owned();
            (format!("projections/{name}"), fs::read_to_string(&path).expect("the file can be read"))
        })
        .collect();
    files.sort();
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    load_text(&schema, &files, &CustomHandlers::new()).findings
}

#[test]
fn every_fault_is_shown_as_its_golden_case_says() {
    let bless = std::env::var_os("KINORA_BLESS").is_some();
    let mut differ = Vec::new();
    for folder in folders() {
        let found = findings(&folder);
        let expect = folder.join("expect.txt");
        if bless {
            fs::write(&expect, &found).expect("the case can be written");
        }
        let expected = fs::read_to_string(&expect).unwrap_or_default();
        if found != expected {
            differ.push(format!("{}:\n--- expected\n{expected}\n--- found\n{found}", folder.display()));
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

#[test]
fn every_code_has_a_golden_case() {
    let all: String = folders()
        .iter()
        .map(|folder| fs::read_to_string(folder.join("expect.txt")).unwrap_or_default())
        .collect();
    for finding in all.split("\n\n  ").filter(|finding| finding.starts_with('×')) {
        assert!(finding.contains("  help: "), "no advice in\n{finding}");
    }
    let missing: Vec<String> =
        (1..=22).map(|number| format!("P{number:03}")).filter(|code| !all.contains(code.as_str())).collect();
    assert!(missing.is_empty(), "no golden case shows {missing:?}");
}

#[test]
fn the_shop_is_folded_by_owners_and_says_why() {
    let shop = shop();
    let reason = |name: &str| {
        let projection = shop.projection(name);
        assert_eq!(projection.kind, UpdateKind::OwnedFold);
        projection.kind_reason.clone()
    };
    let tail = "one partition determines a row, because its key column `id` is the record's key";
    assert_eq!(reason("carts"), format!("`compute` reads the new row; {tail}"));
    assert_eq!(
        reason("customers"),
        format!("`delete` of `CustomerErased` depends on whether the row is there; {tail}")
    );
    assert!(
        shop.projections.iter().all(|projection| projection.feeds().all(|feed| feed.record_key.is_some()))
    );
}

const TINY: &str = "type Query { a(id: ID!): A @read }\ntype A @key(fields: \"id\") @table(name: \"a\", partition: \"id\") COPY { id: ID!  x: Int!  y: String }\n";

fn kind(copy: &str, events: &str) -> String {
    let text = format!(
        "projection: a\ninto: A\nfrom: {{ topic: t, format: json, type: event.type, recordKey: event.id }}\nkey: {{ id: event.id }}\nunknown: park\nevents: {events}\n"
    );
    let loaded =
        load_text(&TINY.replace("COPY", copy), &[("projections/a.yaml", &text)], &CustomHandlers::new());
    assert_eq!(loaded.findings, "", "{events}");
    let projection = loaded.projection("a");
    let reason = projection.kind_reason.split(';').next().unwrap_or_default();
    format!("{}: {reason}", projection.kind.name())
}

#[test]
fn the_kind_follows_from_what_the_cases_need() {
    let blind = "{ E: { upsert: { x: 'int(event.x)', y: event.y } } }";
    let by_y = "@table(name: \"a_by_x\", partition: \"x\", clustering: \"id\", rows: 10)";
    assert_eq!(
        kind("", blind),
        "A blind set: upserts from the event alone, and no copy's key or `where` can change"
    );
    assert_eq!(kind(by_y, blind), "B owned fold: `x`, in the key of `a_by_x`, may change");
    assert_eq!(
        kind("", "{ E: { upsert: { x: event.x } } }"),
        "B owned fold: `E` keeps the old `x` where `event.x` is missing, and it cannot be null"
    );
    assert_eq!(
        kind("", "{ E: { update: { y: event.y } } }"),
        "B owned fold: `update` of `E` depends on whether the row is there"
    );
    assert_eq!(
        kind("", "{ E: { when: row.y != null, upsert: { x: 1 } } }"),
        "B owned fold: `when` of `E` reads the row"
    );
    let by_where = "@table(name: \"a_of_1\", partition: \"id\", where: \"x == 1\")";
    assert_eq!(kind(by_where, blind), "B owned fold: rows enter and leave `a_of_1` by its `where`");
    assert_eq!(
        kind("", "{ E: { upsert: { x: 1 } } }\ncompute: { y: string(row.x) }"),
        "B owned fold: `compute` reads the new row"
    );
    assert_eq!(
        kind("", "{ E: { let: { n: row.x.orValue(0) }, upsert: { x: n } } }"),
        "B owned fold: a `let` of `E` reads the row"
    );
    assert_eq!(
        kind("", "{ E: { upsert: { x: 'row.x.orValue(0) + 1' } } }"),
        "B owned fold: an expression of `E` reads the row"
    );
}

#[test]
fn defaults_set_what_files_leave_out() {
    let defaults =
        "from: { format: json, type: event.type, recordKey: event.id, tombstone: ignore }\nunknown: ignore\n";
    let text = "projection: a\ninto: A\nfrom: { topic: t, tombstone: park }\nkey: { id: event.id }\nevents: { E: { upsert: { x: 1 } } }\n";
    let files = [("projections/a.yaml", text), ("projections/defaults.yaml", defaults)];
    let loaded = load_text(&TINY.replace("COPY", ""), &files, &CustomHandlers::new());
    assert_eq!(loaded.findings, "");
    let projection = loaded.projection("a");
    assert_eq!(projection.sources[0].unknown, super::Unknown::Ignore);
    assert_eq!(projection.sources[0].tombstone, Some(super::Tombstone::Park));
}

#[test]
fn no_text_of_a_projection_makes_it_panic() {
    let shop = include_str!("../../schema/shop.graphql");
    let texts = [
        include_str!("../../projections/carts.yaml"),
        include_str!("../../projections/customers.yaml"),
        include_str!("../../projections/orders.yaml"),
        include_str!("../../projections/products.yaml"),
    ];
    spoil::never_panics(&texts, |text| {
        let loaded = load_text(shop, &[("projections/x.yaml", text)], &CustomHandlers::new());
        let refused = loaded.findings.lines().last().is_some_and(|count| count.contains("error"));
        assert_ne!(
            loaded.projections.len(),
            usize::from(refused),
            "a projection, or an error that says why not"
        );
    });
}

/// The files of each section of the page of the language, with their paths.
fn sections_of_the_language() -> Vec<Vec<(String, String)>> {
    let page = include_str!("../../docs/projections.md");
    let files = |section: &str| {
        let blocks = section.split("```").skip(1).step_by(2);
        let file = |block: &str| {
            let mut lines = block.lines().skip(1);
            let path = lines.next()?.strip_prefix("# ")?.to_owned();
            Some((path, lines.collect::<Vec<_>>().join("\n")))
        };
        blocks.filter_map(file).collect::<Vec<_>>()
    };
    page.split("\n## ").map(files).filter(|files| !files.is_empty()).collect()
}

#[test]
fn no_text_of_the_forms_of_the_language_makes_it_panic() {
    for files in sections_of_the_language() {
        let schema = &files.iter().find(|(path, _)| path.ends_with(".graphql")).expect("a schema").1;
        let is_case = |path: &str| path.contains(".cases.");
        for (path, text) in
            files.iter().filter(|(path, _)| path.starts_with("projections/") && !is_case(path))
        {
            spoil::never_panics(&[text], |text| {
                let all =
                    files.iter().filter(|(other, _)| other.starts_with("projections/") && !is_case(other));
                let all: Vec<(&str, &str)> = all
                    .map(|(other, own)| (other.as_str(), if other == path { text } else { own.as_str() }))
                    .collect();
                let loaded = load_text(schema, &all, &CustomHandlers::new());
                let sound = all
                    .iter()
                    .filter(|(path, _)| !path.ends_with("defaults.yaml") && !path.ends_with(".json"));
                let refused = loaded.findings.lines().last().is_some_and(|count| count.contains("error"));
                assert!(
                    refused || loaded.projections.len() == sound.count(),
                    "each is there, or says why not"
                );
            });
        }
    }
}

#[test]
fn no_record_makes_the_forms_of_the_language_panic() {
    for files in sections_of_the_language() {
        let schema = &files.iter().find(|(path, _)| path.ends_with(".graphql")).expect("a schema").1;
        let is_case = |path: &str| path.contains(".cases.");
        let all = files.iter().filter(|(path, _)| path.starts_with("projections/") && !is_case(path));
        let all: Vec<(&str, &str)> = all.map(|(path, text)| (path.as_str(), text.as_str())).collect();
        let loaded = load_text(schema, &all, &CustomHandlers::new());
        assert_eq!(loaded.findings, "");
        let mut sources = Sources::default();
        let mut given = Vec::new();
        for (path, text) in files.iter().filter(|(path, _)| is_case(path)) {
            let file = sources.add(path.clone(), text.clone());
            given.extend(super::cases::load(file, &sources).0.into_iter().flat_map(|case| case.given));
        }
        let given: Vec<(String, String)> = given
            .into_iter()
            .filter_map(|given| Some((given.key?, String::from_utf8(given.value?).expect("JSON is text"))))
            .collect();
        for seed in spoil::seeds() {
            println!("seed {seed}");
            let mut random = fastrand::Rng::with_seed(seed);
            for projection in &loaded.projections {
                let mut rows = loaded.rows(&projection.name);
                for _ in 0..40 {
                    let (key, value) = &given[random.usize(0..given.len())];
                    let value = if random.bool() { spoil::spoil(value, &mut random) } else { value.clone() };
                    rows.take(key, &value);
                }
            }
        }
    }
}

#[test]
fn no_text_of_cases_makes_it_panic() {
    let texts = [
        include_str!("../../projections/carts.cases.yaml"),
        include_str!("../../projections/orders.cases.yaml"),
    ];
    spoil::never_panics(&texts, |text| {
        let mut sources = Sources::default();
        let file = sources.add("projections/x.cases.yaml", text);
        let faults = super::cases::load(file, &sources).1;
        render(&faults, &sources, false);
    });
}

#[test]
fn no_nesting_of_yaml_needs_more_than_a_usual_stack() {
    spoil::on_a_usual_stack(|| {
        let pieces =
            ["[", "{", "{a: ", "- ", "? ", "a: ", "&a ", "!t ", "]", "}", "'", "\n", "\n - ", "|\n "];
        for text in spoil::nested(&pieces, 20_000, "", "") {
            super::yaml::read(FileId(0), &text);
        }
        let deeper: String = (0..2_000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
        let (_, faults) = super::yaml::read(FileId(0), &deeper);
        assert_eq!(faults[0].message, "the text nests deeper than 32");
    });
}

#[test]
fn upcasts_of_the_defaults_count_for_the_types_that_a_projection_handles() {
    let schema = "type Query { a(id: ID!): A @read  b(id: ID!): B @read }\n\
        type A @key(fields: \"id\") @table(name: \"a\", partition: \"id\") { id: ID!  x: Int }\n\
        type B @key(fields: \"id\") @table(name: \"b\", partition: \"id\") { id: ID!  x: Int }\n";
    let defaults = "from: { topic: t, format: json, type: event.type, recordKey: event.id, unknown: ignore }\n\
        upcast:\n  E: { 1: { rename: { y: x } }, 2: { split: [{ type: F }, { type: G }] } }\n  H: { 1: { drop: x } }\n";
    let file = |name: &str, into: &str, events: &str| {
        format!("projection: {name}\ninto: {into}\nkey: {{ id: event.id }}\nevents: {{ {events} }}\n")
    };
    let set = "{ upsert: { x: event.x } }";
    let a = file("a", "A", &format!("F: {set}"));
    let b = file("b", "B", &format!("E: {set}, G: {set}")) + "upcast: { E: { 1: { default: { x: 7 } } } }\n";
    let files =
        [("projections/a.yaml", &*a), ("projections/b.yaml", &*b), ("projections/defaults.yaml", defaults)];
    let loaded = load_text(schema, &files, &CustomHandlers::new());
    assert_eq!(loaded.findings, "");
    let event = ("1", r#"{"type":"E","id":"1","y":3}"#.to_owned());
    assert_eq!(loaded.rows("a").all(std::slice::from_ref(&event)).show(&["x"]), "x=3");
    assert_eq!(loaded.rows("b").all(&[event]).show(&["x"]), "x=7", "its own chain takes the place");
    assert_eq!(loaded.projection("a").sources[0].unknown, super::Unknown::Ignore);
}

#[test]
fn no_record_makes_the_shop_panic() {
    let shop = shop();
    let good = [
        r#"{"type":"ItemAddedToCart","v":1,"at":"2026-01-01T00:00:00.000Z","cartId":"c1","customerId":"u1","productId":"p1","name":"Lamp","quantity":1,"unitPrice":"12.50","currency":"EUR"}"#,
        r#"{"type":"QuantityChanged","v":1,"at":"2026-01-01T00:00:00.000Z","cartId":"c1","productId":"p1","quantity":3}"#,
        r#"{"type":"ItemRemovedFromCart","v":1,"at":"2026-01-01T00:00:00.000Z","cartId":"c1","productId":"p1"}"#,
    ];
    for seed in spoil::seeds() {
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let mut rows = shop.rows("carts");
        for _ in 0..100 {
            let event = good[random.usize(0..good.len())];
            let event = if random.bool() { spoil::spoil(event, &mut random) } else { event.to_owned() };
            rows.take("c1", &event);
        }
    }
}
