//! Upcasts as sentences: what each step does, what it refuses, and what becomes of an event that is split.

use sonic_rs::JsonContainerTrait;

use super::*;

fn path(text: &str) -> Path {
    Path::parse(text).expect("a path")
}

fn json(text: &str) -> Json {
    plain(text).expect("JSON")
}

fn step(change: Upcast) -> Step {
    Step { change, split: None }
}

fn of(name: &str, steps: Vec<(i64, Step)>) -> Upcasts {
    Upcasts::new(FxHashMap::from_iter([(name.into(), Chain::new(steps))]))
}

fn upcast(upcasts: &Upcasts, version: i64, body: &str) -> Result<Vec<(String, i64, String)>, String> {
    let events = upcasts.apply("E".into(), version, json(body)).map_err(|reject| reject.to_string())?;
    let show = |event: Upcasted| (event.type_name.to_string(), event.version, sorted(&event.body));
    Ok(events.into_iter().map(show).collect())
}

/// A value's text with the fields of objects in order.
fn sorted(value: &Json) -> String {
    let Some(object) = value.as_object() else { return value.to_string() };
    let mut fields: Vec<String> =
        object.iter().map(|(name, value)| format!("{name:?}:{}", sorted(value))).collect();
    fields.sort();
    format!("{{{}}}", fields.join(","))
}

fn one(upcasts: &Upcasts, version: i64, body: &str) -> Result<String, String> {
    upcast(upcasts, version, body).map(|events| events.into_iter().map(|event| event.2).collect())
}

#[test]
fn each_version_is_brought_to_the_newest() {
    let rename = Upcast {
        rename: vec![("customer".into(), "customerId".into())],
        default: vec![(path("currency"), json("\"EUR\""))],
        ..Upcast::default()
    };
    let drop = Upcast { drop: vec![path("note")], ..Upcast::default() };
    let chain = of("E", vec![(0, step(rename)), (1, step(drop))]);
    let newest = |version, body: &str| upcast(&chain, version, body).expect("it is known")[0].clone();
    assert_eq!(
        newest(0, r#"{"customer":"u1","note":"x"}"#),
        ("E".to_owned(), 2, r#"{"currency":"EUR","customerId":"u1"}"#.to_owned())
    );
    assert_eq!(newest(1, r#"{"customer":"u1","note":"x"}"#).2, r#"{"customer":"u1"}"#);
    assert_eq!(newest(2, r#"{"note":"x"}"#).2, r#"{"note":"x"}"#);
    assert_eq!(newest(0, r#"{"currency":null}"#).2, r#"{"currency":null}"#, "null is there");
    assert_eq!(
        upcast(&chain, -1, "{}").expect_err("too old"),
        "upcast: version -1 of E is older than 0, the oldest version that is known"
    );
    assert_eq!(
        upcast(&chain, 0, r#"{"customer":"u1","customerId":"u2"}"#).expect_err("both are there"),
        "upcast: E has both `customer` and `customerId`, which is its new name"
    );
}

#[test]
fn a_field_moves_into_an_object_and_out_of_one() {
    let moves = |from: &str, to: &str| {
        let change = Upcast { moves: vec![(path(from), path(to))], ..Upcast::default() };
        of("E", vec![(0, step(change))])
    };
    assert_eq!(one(&moves("a.b", "c"), 0, r#"{"a":{"b":1,"x":2}}"#), Ok(r#"{"a":{"x":2},"c":1}"#.into()));
    assert_eq!(one(&moves("a", "b.c.d"), 0, r#"{"a":1.50}"#), Ok(r#"{"b":{"c":{"d":1.50}}}"#.into()));
    assert_eq!(one(&moves("a", "b.c"), 0, r#"{"a":1,"b":{"x":2}}"#), Ok(r#"{"b":{"c":1,"x":2}}"#.into()));
    assert_eq!(one(&moves("a.b", "c"), 0, r#"{"a":[1]}"#), Ok(r#"{"a":[1]}"#.into()), "nothing to move");
    assert_eq!(
        one(&moves("a", "b.c"), 0, r#"{"a":1,"b":{"c":2}}"#),
        Err("upcast: E has both `a` and `b.c`, which is its new name".into())
    );
    assert_eq!(
        one(&moves("a", "b.c"), 0, r#"{"a":1,"b":7}"#),
        Err("upcast: `a` of E cannot move to `b.c`: `b` is no object".into())
    );
}

#[test]
fn a_value_is_converted_exactly_or_not_at_all() {
    let words = vec![("N".into(), json("\"NEW\"")), ("2".into(), json("{\"paid\":true}"))];
    for (convert, given, made) in [
        (Convert::Text, "12.50", Ok(r#""12.50""#)),
        (Convert::Text, "true", Ok(r#""true""#)),
        (Convert::Text, "[1]", Err("[1], expected a string, a number, true or false")),
        (Convert::Int, r#""12""#, Ok("12")),
        (Convert::Int, "12", Ok("12")),
        (Convert::Int, r#""12.5""#, Err(r#""12.5", expected a whole number of 64 bits"#)),
        (Convert::Int, "12.5", Err("12.5, expected a whole number of 64 bits")),
        (Convert::Number, r#""12.50""#, Ok("12.50")),
        (Convert::Number, r#""x""#, Err(r#""x", expected a number"#)),
        (Convert::Boolean, r#""true""#, Ok("true")),
        (Convert::Boolean, "0", Ok("false")),
        (Convert::Boolean, "2", Err("2, expected true, false, 1 or 0")),
        (Convert::List, "7", Ok("[7]")),
        (Convert::List, "[7]", Ok("[7]")),
        (Convert::Milliseconds, "1767225600123", Ok(r#""2026-01-01T00:00:00.123Z""#)),
        (Convert::Seconds, r#""1767225600""#, Ok(r#""2026-01-01T00:00:00.000Z""#)),
        (Convert::Seconds, r#""soon""#, Err(r#""soon", expected seconds since 1970"#)),
        (Convert::Words(words.clone()), r#""N""#, Ok(r#""NEW""#)),
        (Convert::Words(words.clone()), "2", Ok(r#"{"paid":true}"#)),
        (Convert::Words(words), r#""X""#, Err(r#""X", expected one of N, 2"#)),
        (Convert::Int, "null", Ok("null")),
    ] {
        let change = Upcast { convert: vec![(path("a"), convert)], ..Upcast::default() };
        let found = one(&of("E", vec![(0, step(change))]), 0, &format!(r#"{{"a":{given}}}"#));
        let expected = match made {
            Ok(made) => Ok(format!(r#"{{"a":{made}}}"#)),
            Err(reason) => Err(format!("upcast: `a` of E is {reason}")),
        };
        assert_eq!(found, expected, "{given}");
    }
}

#[test]
fn an_event_is_split_in_order_and_its_pieces_go_through_their_own_chains() {
    let lines = Piece {
        type_name: "L".into(),
        version: 1,
        each: Some((path("lines"), "line".into())),
        drop: vec!["lines".into()],
    };
    let head = Piece { type_name: "E".into(), version: 2, each: None, drop: vec!["lines".into()] };
    let last = Upcast { default: vec![(path("done"), json("true"))], ..Upcast::default() };
    let line = Upcast { moves: vec![(path("line.id"), path("id"))], ..Upcast::default() };
    let upcasts = Upcasts::new(FxHashMap::from_iter([
        (
            "E".into(),
            Chain::new(vec![
                (1, Step { split: Some(vec![head, lines]), ..Step::default() }),
                (2, step(last)),
            ]),
        ),
        ("L".into(), Chain::new(vec![(1, step(line))])),
    ]));
    assert_eq!(
        upcast(&upcasts, 1, r#"{"o":1,"lines":[{"id":"a"},{"id":"b","n":2}]}"#).expect("it is split"),
        [
            ("E".to_owned(), 3, r#"{"done":true,"o":1}"#.to_owned()),
            ("L".to_owned(), 2, r#"{"id":"a","line":{},"o":1}"#.to_owned()),
            ("L".to_owned(), 2, r#"{"id":"b","line":{"n":2},"o":1}"#.to_owned()),
        ]
    );
    assert_eq!(upcast(&upcasts, 2, r#"{"o":1}"#).expect("not split any more").len(), 1);
    assert_eq!(upcast(&upcasts, 1, r#"{"o":1,"lines":null}"#).expect("no lines").len(), 1);
    assert_eq!(
        upcast(&upcasts, 1, r#"{"lines":5}"#),
        Err("upcast: E is split by `lines`, which is 5, expected a list".to_owned())
    );
}

#[test]
fn a_record_is_split_into_at_most_so_many_events() {
    let piece = Piece {
        type_name: "L".into(),
        version: 1,
        each: Some((path("l"), "x".into())),
        drop: vec!["l".into()],
    };
    let upcasts = of("E", vec![(0, Step { split: Some(vec![piece]), ..Step::default() })]);
    let body = |count: usize| format!("{{\"l\":[{}]}}", vec!["1"; count].join(","));
    let split = |count| upcast(&upcasts, 0, &body(count)).map(|events| events.len());
    assert_eq!(split(EVENTS_OF_A_RECORD_MAX - 1), Ok(EVENTS_OF_A_RECORD_MAX - 1));
    assert_eq!(split(EVENTS_OF_A_RECORD_MAX), Ok(EVENTS_OF_A_RECORD_MAX));
    assert_eq!(
        split(EVENTS_OF_A_RECORD_MAX + 1),
        Err("upcast: `l` of E has 1001 elements, at most 1000 events are made".to_owned())
    );
    let twice = Piece { type_name: "E".into(), version: 1, each: None, drop: Vec::new() };
    let doubling = (0..11).map(|version| {
        let piece = Piece { version: version + 1, ..twice.clone() };
        (version, Step { split: Some(vec![piece.clone(), piece]), ..Step::default() })
    });
    assert_eq!(
        upcast(&of("E", doubling.collect()), 0, "{}"),
        Err("upcast: the record is split into more than 1000 events, which is the most it may be".to_owned())
    );
    let nothing = of("E", vec![(0, Step { split: Some(Vec::new()), ..Step::default() })]);
    assert_eq!(upcast(&nothing, 0, "{}"), Ok(Vec::new()));
}
