//! Reading CEL text: the place of each part, what is refused, and how deep text may be.

use crate::expr::bounds::{BRACKETS_MAX, OPERATORS_MAX, TEXT_MAX};
use crate::expr::parse::{DEPTH_MAX, Kind, Node, parse};
use crate::testing::spoil;

fn parts(text: &str) -> Vec<&str> {
    fn walk<'t>(text: &'t str, node: &Node, found: &mut Vec<&'t str>) {
        found.push(&text[node.at.clone()]);
        match &node.kind {
            Kind::Select { of, field_at, .. } => {
                found.push(&text[field_at.clone()]);
                walk(text, of, found);
            }
            Kind::Index { of, index, .. } => [of, index].into_iter().for_each(|part| walk(text, part, found)),
            Kind::Not(of) | Kind::Negate(of) => walk(text, of, found),
            Kind::Binary(_, left, right) => {
                [left, right].into_iter().for_each(|part| walk(text, part, found));
            }
            Kind::If(condition, yes, no) => {
                [condition, yes, no].into_iter().for_each(|part| walk(text, part, found));
            }
            Kind::Call { of, args, function_at, .. } => {
                found.push(&text[function_at.clone()]);
                of.iter().map(|of| &**of).chain(args).for_each(|part| walk(text, part, found));
            }
            Kind::List(parts) => parts.iter().for_each(|part| walk(text, &part.node, found)),
            Kind::Map(entries) => entries.iter().for_each(|entry| {
                walk(text, &entry.key, found);
                walk(text, &entry.value, found);
            }),
            _ => {}
        }
    }
    let mut found = Vec::new();
    walk(text, &parse(text).expect("the test's text parses"), &mut found);
    found
}

#[test]
fn each_part_knows_its_bytes() {
    assert_eq!(
        parts("old.?quantity.orValue(0) + event.n"),
        [
            "old.?quantity.orValue(0) + event.n",
            "old.?quantity.orValue(0)",
            "orValue",
            "old.?quantity",
            "quantity",
            "old",
            "0",
            "event.n",
            "n",
            "event"
        ]
    );
    assert_eq!(parts("m[?'a]'] == [1, 2]")[1..3], ["m[?'a]']", "m"]);
    assert_eq!(parts("x ? -y : !z")[2..], ["-y", "y", "!z", "z"]);
}

#[test]
fn places_are_bytes_also_after_text_that_is_not_ascii() {
    assert_eq!(
        parts("'Größe €🦀' + event.größe(1)".replace("größe", "size").as_str())[1..3],
        ["'Größe €🦀'", "event.size(1)"]
    );
    assert_eq!(
        parts("event.a == '€' && event.b")[1..],
        ["event.a == '€'", "event.a", "a", "event", "'€'", "event.b", "b", "event"]
    );
}

#[test]
fn macros_stay_calls() {
    let node = parse("event.lines.map(l, l.n)").unwrap();
    assert!(
        matches!(node.kind, Kind::Call { ref function, ref args, .. } if function == "map" && args.len() == 2)
    );
    let node = parse("has(event.a)").unwrap();
    assert!(matches!(node.kind, Kind::Call { ref function, of: None, .. } if function == "has"));
}

#[test]
fn text_that_does_not_parse_says_where_and_what_to_write() {
    for (text, under, message) in [
        ("'€' + ) 1", ")", "`)` does not belong here"),
        ("row.y = 1", "=", "`=` is no operator"),
        ("a & b", "&", "`&` is no operator"),
        ("a | b", "|", "`|` is no operator"),
        ("a + 'open", "'open", "the text that begins here has no end"),
        ("évent.y", "é", "`é` cannot stand here"),
        ("a + ", "", "the expression ends too early"),
        ("(a", "", "the expression ends too early"),
        ("a.b ?? 'none'", "??", "`??` is no operator"),
        ("a and b", "and", "`and` is no operator"),
        ("a == '??' or b", "or", "`or` is no operator"),
        ("a bcd e", "bcd", "`bcd` does not belong here"),
        ("a.b.", "", "the expression ends too early"),
    ] {
        let faults = parse(text).unwrap_err();
        assert_eq!(faults.len(), 1, "{text}: {faults:?}");
        assert_eq!((&text[faults[0].at.clone()], &*faults[0].message), (under, message), "{text}");
        assert!(faults[0].help.is_some(), "{text}");
    }
    for text in ["", " ", "@", "\u{0}", "1uu", "{'a'}", "A{b: 1}", "[?]", "if"] {
        assert!(parse(text).is_err(), "{text:?}");
    }
}

#[test]
fn size_and_depth_are_bounded() {
    let nested = |depth| format!("{}1{}", "(".repeat(depth), ")".repeat(depth));
    assert!(parse(&nested(BRACKETS_MAX)).is_ok());
    let fault = &parse(&nested(BRACKETS_MAX + 1)).unwrap_err()[0];
    assert_eq!(fault.message, "33 brackets stand inside each other; at most 32 are allowed");
    let text = |bytes: usize| format!("'{}'", "x".repeat(bytes - 2));
    assert!(parse(&text(TEXT_MAX)).is_ok());
    let fault = &parse(&text(TEXT_MAX + 1)).unwrap_err()[0];
    assert_eq!(fault.message, "the expression has 4097 bytes; at most 4096 are allowed");
    assert!(parse(&format!("true{}", " && true".repeat(OPERATORS_MAX))).is_ok());
    let fault = &parse(&format!("true{}", " && true".repeat(OPERATORS_MAX + 1))).unwrap_err()[0];
    assert_eq!(fault.message, "the expression has 257 operators; at most 256 are allowed");
    for (first, more) in [("a", ".b"), ("1", " + 1"), ("1", " == 1")] {
        assert!(parse(&format!("{first}{}", more.repeat(DEPTH_MAX - 1))).is_ok(), "{more}");
        let fault = &parse(&format!("{first}{}", more.repeat(DEPTH_MAX))).unwrap_err()[0];
        assert_eq!(fault.message, "more than 64 parts stand inside each other", "{more}");
    }
    assert!(parse(&"-".repeat(4000)).is_err());
    assert!(parse(&"a in ".repeat(800)).is_err());
}

/// Whatever is nested, the reader must not run out of its stack: that ends the process.
#[test]
fn no_nesting_needs_more_than_a_usual_stack() {
    spoil::on_a_usual_stack(|| {
        let pieces = [
            "(", "[", "{", "a.", "a.?b", "-", "!", "a+", "a&&", "a||", "a?", "a:", "a?b:", "a in ", "f(",
            "a[", "a[?", "A{b:", "{a:", "a,", ")", "]", "'", "r\"", "// ", "1 ", ".", "=",
        ];
        for (before, after) in [("", ""), ("a == ", ")"), ("(", "]")] {
            for text in spoil::nested(&pieces, TEXT_MAX, before, after) {
                let _ = parse(&text[..TEXT_MAX.min(text.len())]);
            }
        }
    });
}
