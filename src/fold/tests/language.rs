//! The projection language, sentence by sentence, over a small type; and handlers written in Rust.

use std::sync::Arc;

use crate::event::{Event, Reject};
use crate::fold::{Change, Fold, assignments};
use crate::handler::testing::{Loaded, Outcome, Rows, load_text};
use crate::handler::{CustomHandlers, UpdateKind};
use crate::value::Value;

const SMALL: &str = r#"
type Query { note(id: ID!): Note @read }
type Note @key(fields: "id") @table(name: "notes", partition: "id") {
  id: ID!
  text: String
  size: Int!
  parts: [Part!]! @column(as: MAP, key: "name", max: 3)
}
type Part @udt { name: String!  count: Int!  remark: String }
"#;

fn small(events: &str, custom: &CustomHandlers) -> Loaded {
    small_of(SMALL, events, custom)
}

fn small_of(schema: &str, events: &str, custom: &CustomHandlers) -> Loaded {
    let head = "projection: notes\ninto: Note\nfrom: { topic: t, format: json, type: event.type, recordKey: event.id }\nkey: { id: event.id }\nunknown: ignore\n";
    let loaded = load_text(schema, &[("projections/notes.yaml", &format!("{head}{events}"))], custom);
    assert_eq!(loaded.findings, "", "{events}");
    loaded
}

fn take(rows: &mut Rows<'_>, event: &str) -> Outcome {
    rows.take("n1", event)
}

#[test]
fn a_missing_path_leaves_a_column_and_null_clears_it() {
    let loaded = small(
        "events:\n  Made: { create: { text: event.text, size: event.size } }\n  Set: { upsert: { text: event.text, size: event.size } }\n",
        &CustomHandlers::new(),
    );
    let mut rows = loaded.rows("notes");
    assert_eq!(
        take(&mut rows, r#"{"type":"Set","id":"n1","text":"a"}"#),
        Outcome::Rejected("fold: Set.size has no value, and cannot be null".to_owned())
    );
    assert_eq!(take(&mut rows, r#"{"type":"Made","id":"n1","text":"a","size":1}"#), Outcome::Written);
    assert_eq!(take(&mut rows, r#"{"type":"Set","id":"n1","size":2}"#), Outcome::Written);
    assert_eq!(rows.show(&["text", "size"]), "text=a size=2");
    assert_eq!(take(&mut rows, r#"{"type":"Set","id":"n1","text":null}"#), Outcome::Written);
    assert_eq!(rows.show(&["text", "size"]), "text=null size=2");
    assert!(matches!(take(&mut rows, r#"{"type":"Set","id":"n1","size":null}"#), Outcome::Rejected(_)));
}

#[test]
fn each_fills_a_map_and_a_key_twice_is_rejected() {
    let loaded = small(
        "events:\n  Made:\n    replace:\n      size: event.parts.size()\n      parts: { each: event.parts, as: p, set: { name: p.n, count: p.c } }\n",
        &CustomHandlers::new(),
    );
    let mut rows = loaded.rows("notes");
    let made = r#"{"type":"Made","id":"n1","parts":[{"n":"b","c":2},{"n":"a","c":1}]}"#;
    assert_eq!(take(&mut rows, made), Outcome::Written);
    assert_eq!(rows.show(&["size", "parts"]), "size=2 parts={a:(a,1,null),b:(b,2,null)}");
    let twice = made.replace("\"a\"", "\"b\"");
    assert_eq!(
        take(&mut rows, &twice),
        Outcome::Rejected("fold: Made.parts: two elements have the key \"b\"".to_owned())
    );
    let four = r#"{"type":"Made","id":"n1","parts":[{"n":"a","c":1},{"n":"b","c":1},{"n":"c","c":1},{"n":"d","c":1}]}"#;
    assert_eq!(
        take(&mut rows, four),
        Outcome::Rejected("fold: Made.parts would have 4 elements, at most 3 are allowed".to_owned())
    );
}

#[test]
fn each_over_null_clears_the_column_and_over_nothing_leaves_it() {
    let schema = SMALL.replace("parts: [Part!]!", "parts: [Part!]");
    let events = "events:\n  Set: { upsert: { size: 1, parts: { each: event.parts, as: p, set: { name: p.n, count: 1 } } } }\n";
    for (schema, of_null) in [
        (schema.as_str(), Outcome::Written),
        (SMALL, Outcome::Rejected("fold: Set.parts has no value, and cannot be null".to_owned())),
    ] {
        let loaded = small_of(schema, events, &CustomHandlers::new());
        let mut rows = loaded.rows("notes");
        take(&mut rows, r#"{"type":"Set","id":"n1","parts":[{"n":"a"}]}"#);
        assert_eq!(take(&mut rows, r#"{"type":"Set","id":"n1"}"#), Outcome::Written);
        assert_eq!(rows.show(&["parts"]), "parts={a:(a,1,null)}");
        assert_eq!(take(&mut rows, r#"{"type":"Set","id":"n1","parts":null}"#), of_null);
    }
}

#[test]
fn elements_are_made_touched_and_removed_and_old_is_the_element_before_the_event() {
    let loaded = small(
        r#"
events:
  Add:
    upsert:
      size: row.size.orValue(0) + 1
      parts[event.a]: { count: old.?count.orValue(0) + 1 }
      parts[event.b]: { count: old.?count.orValue(10) + 1 }
  Touch: { update: { "parts[event.a].remark": event.r, "parts[event.a].count": old.count.orValue(0) * 2 } }
  Drop: { remove: ["parts[event.a]", "parts[event.b]"] }
"#,
        &CustomHandlers::new(),
    );
    let mut rows = loaded.rows("notes");
    take(&mut rows, r#"{"type":"Add","id":"n1","a":"x","b":"x"}"#);
    assert_eq!(rows.show(&["parts"]), "parts={x:(x,11,null)}", "both saw that there was none");
    take(&mut rows, r#"{"type":"Add","id":"n1","a":"x","b":"y"}"#);
    assert_eq!(rows.show(&["size", "parts"]), "size=2 parts={x:(x,12,null),y:(y,11,null)}");
    take(&mut rows, r#"{"type":"Touch","id":"n1","a":"y","r":"hot"}"#);
    assert_eq!(rows.show(&["parts"]), "parts={x:(x,12,null),y:(y,22,hot)}");
    take(&mut rows, r#"{"type":"Touch","id":"n1","a":"y","r":null}"#);
    assert_eq!(take(&mut rows, r#"{"type":"Touch","id":"n1","a":"z","r":"no"}"#), Outcome::Written);
    assert_eq!(rows.show(&["parts"]), "parts={x:(x,12,null),y:(y,44,null)}", "only what is there is touched");
    take(&mut rows, r#"{"type":"Drop","id":"n1","a":"z","b":"x"}"#);
    assert_eq!(rows.show(&["parts"]), "parts={y:(y,44,null)}");
    assert_eq!(rows.take("n2", r#"{"type":"Drop","id":"n2","a":"z","b":"x"}"#), Outcome::Nothing);
}

#[test]
fn computed_columns_come_after_what_they_read_whatever_their_order() {
    let loaded = small(
        r#"
events:
  Set: { upsert: { "parts[event.a]": { count: event.n } } }
  Note: { update: { "parts[event.a].remark": event.r } }
compute:
  text: string(row.size) + " in all"
  size: row.parts.values().map(p, p.count).sum()
"#,
        &CustomHandlers::new(),
    );
    let mut rows = loaded.rows("notes");
    take(&mut rows, r#"{"type":"Set","id":"n1","a":"x","n":2}"#);
    take(&mut rows, r#"{"type":"Set","id":"n1","a":"y","n":3}"#);
    assert_eq!(rows.show(&["text", "size"]), "text=5 in all size=5");
}

#[test]
fn numbers_dates_and_enums_that_do_not_fit_are_rejected_with_what_was_found() {
    let schema = SMALL
        .replace("text: String", "text: String  at: LocalDate  big: Long  state: State  price: Decimal")
        + "scalar LocalDate\nscalar Long\nscalar Decimal\nenum State { NEW OLD }\n";
    let events = "events:\n  Set: { upsert: { size: event.size, at: event.at, big: event.big, state: event.state, price: event.price } }\n";
    let loaded = small_of(&schema, events, &CustomHandlers::new());
    let mut rows = loaded.rows("notes");
    for (field, reason) in [
        (r#""size":2147483648"#, "size: event.size is 2147483648, expected an integer of 32 bits"),
        (r#""size":1.5"#, "size: event.size is 1.5, expected an integer of 32 bits"),
        (
            r#""size":1,"big":9223372036854775808"#,
            "big: event.big is 9223372036854775808, expected an integer of 64 bits",
        ),
        (
            r#""size":1,"at":"2026-02-30""#,
            "at: event.at is \"2026-02-30\", expected a date such as \"2026-01-31\"",
        ),
        (r#""size":1,"state":"new""#, "state: event.state is \"new\", expected one of State: NEW, OLD"),
        (
            r#""size":1,"price":"1,5""#,
            "price: event.price is \"1,5\", expected a decimal number of at most 38 digits such as \"12.50\"",
        ),
    ] {
        let outcome = take(&mut rows, &format!(r#"{{"type":"Set","id":"n1",{field}}}"#));
        assert_eq!(outcome, Outcome::Rejected(format!("fold: Set.{reason}")));
    }
    let fits = r#"{"type":"Set","id":"n1","size":1.0,"big":7,"price":12.50}"#;
    assert_eq!(take(&mut rows, fits), Outcome::Written);
    assert_eq!(rows.show(&["size", "big", "price"]), "size=1 big=7 price=12.50");
}

#[test]
fn lets_are_made_only_where_they_are_used() {
    let loaded = small(
        "let: { twice: event.size * 2, other: event.nothing + 1 }\nevents:\n  Made:\n    let: { more: twice + 1 }\n    create: { size: more }\n  Bad: { create: { size: other } }\n",
        &CustomHandlers::new(),
    );
    let mut rows = loaded.rows("notes");
    assert_eq!(
        take(&mut rows, r#"{"type":"Bad","id":"n1"}"#),
        Outcome::Rejected("fold: Bad.let.other: event.nothing is missing, in `event.nothing + 1`".to_owned())
    );
    assert_eq!(take(&mut rows, r#"{"type":"Made","id":"n1","size":3}"#), Outcome::Written);
    assert_eq!(rows.show(&["size"]), "size=7");
}

#[test]
fn replace_clears_what_it_does_not_name_and_upsert_keeps_it() {
    let loaded = small(
        "events:\n  Up: { upsert: { size: 1, text: event.text } }\n  Anew: { replace: { size: 2 } }\n",
        &CustomHandlers::new(),
    );
    let mut rows = loaded.rows("notes");
    take(&mut rows, r#"{"type":"Up","id":"n1","text":"a"}"#);
    take(&mut rows, r#"{"type":"Up","id":"n1"}"#);
    assert_eq!(rows.show(&["text", "size"]), "text=a size=1");
    take(&mut rows, r#"{"type":"Anew","id":"n1"}"#);
    assert_eq!(rows.show(&["text", "size"]), "text=null size=2");
}

/// Counts events; a handler as an embedding program writes it.
struct Counter;

impl Fold for Counter {
    fn fold(&self, row: Option<&[Value]>, event: &Event) -> Result<Change, Reject> {
        match &*event.kind {
            "Gone" => Ok(Change::Delete),
            "Bad" => Ok(Change::Write(Vec::new())),
            "Moved" => {
                Ok(Change::Write(vec![Value::text("n2"), Value::Null, Value::Int(1), Value::Map(Vec::new())]))
            }
            "Wrong" => Ok(Change::Write(vec![
                Value::text("n1"),
                Value::Int(1),
                Value::Int(1),
                Value::Map(Vec::new()),
            ])),
            _ => {
                let seen = match row.map(|cells| &cells[2]) {
                    Some(Value::Int(seen)) => *seen,
                    _ => 0,
                };
                Ok(Change::Write(vec![
                    Value::text("n1"),
                    Value::Null,
                    Value::Int(seen + 1),
                    Value::Map(Vec::new()),
                ]))
            }
        }
    }
}

#[test]
fn a_handler_in_rust_folds_with_the_same_checks() {
    let custom = CustomHandlers::from([("counter".to_owned(), Arc::new(Counter) as Arc<dyn Fold>)]);
    let loaded = small("handler: counter\n", &custom);
    assert_eq!(loaded.projection("notes").kind, UpdateKind::OwnedFold);
    let mut rows = loaded.rows("notes");
    let one = |kind: &str| format!(r#"{{"type":"{kind}","id":"n1"}}"#);
    take(&mut rows, &one("Any"));
    assert_eq!(take(&mut rows, &one("Any")), Outcome::Written);
    assert_eq!(rows.show(&["size"]), "size=2");
    let rejected = |reason: &str| Outcome::Rejected(format!("fold: {reason}"));
    assert_eq!(take(&mut rows, &one("Bad")), rejected("the handler made 0 cells, a row has 4"));
    assert_eq!(take(&mut rows, &one("Moved")), rejected("the handler changed id, which is in the row's key"));
    assert_eq!(take(&mut rows, &one("Wrong")), rejected("the handler put a value of another type into text"));
    assert_eq!(take(&mut rows, &one("Gone")), Outcome::Deleted);
}

#[test]
fn a_blind_set_assigns_only_what_the_event_says() {
    let loaded = small(
        "events:\n  Set: { upsert: { text: event.text, size: 'int(event.?size.orValue(0))' } }\n",
        &CustomHandlers::new(),
    );
    let projection = loaded.projection("notes");
    assert_eq!(projection.kind, UpdateKind::BlindSet, "{}", projection.kind_reason);
    let mut rows = loaded.rows("notes");
    let mut assigned = |event: &str| {
        let crate::route::Routed::Event { key_cells, event, .. } = rows.route(Some("n1"), Some(event)) else {
            panic!("it is routed")
        };
        let cells =
            assignments(projection, &key_cells, &event, None).expect("it is applied").expect("it assigns");
        cells.into_iter().map(|(column, _)| column.0).collect::<Vec<_>>()
    };
    assert_eq!(assigned(r#"{"type":"Set","id":"n1"}"#), [0, 2]);
    assert_eq!(assigned(r#"{"type":"Set","id":"n1","text":null,"size":4}"#), [0, 1, 2]);
}

#[test]
fn first_values_are_made_only_where_the_row_is_and_see_none() {
    let loaded = small(
        "let: { first: event.first + '!', name: event.name }\nevents:\n  Set:\n    initially: { size: 7, text: first, 'parts[name]': { count: 1 } }\n    upsert: { 'parts[name].count': \"old.?count.orValue(0) + 1\" }\n  Gone: { missing: park, delete: row }\n",
        &CustomHandlers::new(),
    );
    let mut rows = loaded.rows("notes");
    assert_eq!(
        take(&mut rows, r#"{"type":"Gone","id":"n1"}"#),
        Outcome::Rejected("fold: Gone.delete: there is no row".to_owned())
    );
    let set = r#"{"type":"Set","id":"n1","name":"a","first":"x"}"#;
    assert_eq!(take(&mut rows, set), Outcome::Written);
    assert_eq!(rows.show(&["text", "size"]), "text=x! size=7");
    // What only first values need is not looked at where the row is there.
    assert_eq!(take(&mut rows, r#"{"type":"Set","id":"n1","name":"a"}"#), Outcome::Written);
    assert_eq!(rows.show(&["text", "size"]), "text=x! size=7");
    assert_eq!(take(&mut rows, r#"{"type":"Gone","id":"n1"}"#), Outcome::Deleted);
    assert!(matches!(take(&mut rows, r#"{"type":"Set","id":"n1","name":"a"}"#), Outcome::Rejected(_)));
}

#[test]
fn what_is_always_assigned_gives_way_to_the_case_itself() {
    let loaded = small(
        "always: { size: event.n, text: \"'always'\" }\nevents:\n  A: { upsert: {} }\n  B: { update: { text: \"'own'\" } }\n  C: { remove: 'parts[event.p]' }\n  D: { create: { size: 1 } }\n",
        &CustomHandlers::new(),
    );
    assert_eq!(loaded.projection("notes").kind, UpdateKind::OwnedFold);
    let mut rows = loaded.rows("notes");
    let event = |kind: &str, n: u32| format!(r#"{{"type":"{kind}","id":"n1","n":{n},"p":"p"}}"#);
    for (kind, n, shown) in
        [("A", 1, "text=always size=1"), ("B", 2, "text=own size=2"), ("C", 3, "text=always size=3")]
    {
        assert_eq!(take(&mut rows, &event(kind, n)), Outcome::Written, "{kind}");
        assert_eq!(rows.show(&["text", "size"]), shown, "{kind}");
    }
    assert_eq!(take(&mut rows, &event("D", 4)), Outcome::Nothing, "a row is there");
    assert_eq!(rows.show(&["text", "size"]), "text=always size=3");
}

#[test]
fn a_part_sees_what_it_was_and_a_row_is_set_blindly_by_what_is_always_assigned() {
    let loaded = small(
        "events:\n  Set: { upsert: { size: 1, 'parts[event.p]': { count: event.n } } }\n  Less: { update: { 'parts[event.p].count': old.count - event.n } }\n",
        &CustomHandlers::new(),
    );
    let mut rows = loaded.rows("notes");
    for event in [
        r#"{"type":"Set","id":"n1","p":"a","n":5}"#,
        r#"{"type":"Less","id":"n1","p":"a","n":2}"#,
        r#"{"type":"Less","id":"n1","p":"b","n":2}"#,
    ] {
        assert_ne!(take(&mut rows, event), Outcome::Nothing, "{event}");
    }
    assert_eq!(rows.show(&["parts"]), "parts={a:(a,3,null)}");
    let blind = small("always: { size: 1 }\nevents: { A: { upsert: {} } }\n", &CustomHandlers::new());
    assert_eq!(blind.projection("notes").kind, UpdateKind::BlindSet);
}
