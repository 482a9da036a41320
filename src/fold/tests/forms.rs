//! The forms that make value types, lists and sets; `once`; `assert`: what they leave alone and what they refuse.

use crate::handler::CustomHandlers;
use crate::handler::testing::{Loaded, Outcome, load_text};

const SCHEMA: &str = r#"
type Query { a(id: ID!): A @read }
type A @key(fields: "id") @table(name: "a", partition: "id") {
  id: ID!
  n: Int
  tags: [String!] @column(as: SET, max: 2)
  list: [String!]! @column(as: LIST, max: 2)
  part: Part
}
type Part @udt { name: String!  inner: Inner }
type Inner @udt { deep: String! }
"#;

fn loaded(events: &str) -> Loaded {
    loaded_from("", events)
}

fn loaded_from(more: &str, events: &str) -> Loaded {
    let head = format!(
        "projection: a\ninto: A\nfrom: {{ topic: t, format: json, type: event.type, recordKey: event.id{more} }}\nkey: {{ id: event.id }}\nunknown: park\n"
    );
    let loaded =
        load_text(SCHEMA, &[("projections/a.yaml", &format!("{head}{events}"))], &CustomHandlers::new());
    assert_eq!(loaded.findings, "", "{events}");
    loaded
}

/// Folds events, each with the columns after it, or why it was rejected.
fn check(events: &str, given: &[(&str, &str)]) {
    check_in(&loaded(events), given);
}

fn check_in(loaded: &Loaded, given: &[(&str, &str)]) {
    let mut rows = loaded.rows("a");
    for (event, expected) in given {
        let event = format!("{{\"id\":\"1\",{event}}}");
        let found = match rows.take("1", &event) {
            Outcome::Rejected(reason) => reason,
            _ => rows.show(&["n", "tags", "list", "part"]),
        };
        assert_eq!(found, *expected, "{event}");
    }
}

#[test]
fn lists_and_sets_grow_within_their_bounds() {
    check(
        "events:\n  A: { upsert: { list: { append: event.x } } }\n  K: { upsert: { list: { append: event.x, keep: 2 } } }\n  T: { upsert: { tags: { add: event.x } } }\n  U: { upsert: { tags: { addAll: event.x } } }\n  R: { remove: ['tags[event.x]', 'list[event.x]'] }\n",
        &[
            (r#""type":"A","x":"a""#, "n=null tags=null list=[a] part=null"),
            (r#""type":"A""#, "n=null tags=null list=[a] part=null"),
            (r#""type":"A","x":null"#, "fold: A.list[1]: event.x is null, expected a string"),
            (r#""type":"A","x":"b""#, "n=null tags=null list=[a,b] part=null"),
            (r#""type":"A","x":"c""#, "fold: A.list would have 3 elements, at most 2 are allowed"),
            (r#""type":"K","x":"c""#, "n=null tags=null list=[b,c] part=null"),
            (r#""type":"T","x":"q""#, "n=null tags=[q] list=[b,c] part=null"),
            (r#""type":"U","x":["c","q"]"#, "n=null tags=[c,q] list=[b,c] part=null"),
            (r#""type":"U","x":["d"]"#, "fold: U.tags would have 3 elements, at most 2 are allowed"),
            (r#""type":"R","x":"c""#, "n=null tags=[q] list=[b] part=null"),
            (r#""type":"R","x":"z""#, "n=null tags=[q] list=[b] part=null"),
            (r#""type":"R""#, "fold: R.tags: event.x is missing"),
        ],
    );
}

#[test]
fn parts_are_made_merged_and_touched_only_where_they_are() {
    check(
        "events:\n  M: { upsert: { part: { name: event.name, inner: { deep: event.deep } } } }\n  N: { upsert: { part: { name: old.?name.orValue('new') + '!' } } }\n  D: { upsert: { part.inner.deep: event.deep } }\n  C: { upsert: { part.inner: null } }\n  Z: { upsert: { part: null } }\n",
        &[
            (r#""type":"D","deep":"x""#, "n=null tags=null list=[] part=null"),
            (r#""type":"N""#, "n=null tags=null list=[] part=(new!,null)"),
            (r#""type":"D","deep":"x""#, "n=null tags=null list=[] part=(new!,null)"),
            (r#""type":"M","name":"b""#, "fold: M.part.inner.deep has no value, and cannot be null"),
            (r#""type":"M","deep":"x""#, "n=null tags=null list=[] part=(new!,(x))"),
            (r#""type":"D","deep":"y""#, "n=null tags=null list=[] part=(new!,(y))"),
            (r#""type":"D","deep":null"#, "fold: D.part.inner.deep: event.deep is null, expected a string"),
            (r#""type":"N""#, "n=null tags=null list=[] part=(new!!,(y))"),
            (r#""type":"C""#, "n=null tags=null list=[] part=(new!!,null)"),
            (r#""type":"Z""#, "n=null tags=null list=[] part=null"),
        ],
    );
}

#[test]
fn once_sets_what_is_null_and_assert_refuses_what_must_not_be() {
    check(
        "events:\n  O: { upsert: {}, once: { n: event.n } }\n  S: { update: { n: event.n } }\nassert: { n is small: row.n.orValue(0) < 10 }\n",
        &[
            (r#""type":"O""#, "n=null tags=null list=[] part=null"),
            (r#""type":"O","n":1"#, "n=1 tags=null list=[] part=null"),
            (r#""type":"O","n":2"#, "n=1 tags=null list=[] part=null"),
            (r#""type":"S","n":10"#, "fold: S.assert \"n is small\" does not hold: row.n.orValue(0) < 10"),
            (r#""type":"S","n":9"#, "n=9 tags=null list=[] part=null"),
            (r#""type":"S","n":null"#, "n=null tags=null list=[] part=null"),
            (r#""type":"O","n":11"#, "fold: O.assert \"n is small\" does not hold: row.n.orValue(0) < 10"),
        ],
    );
}

#[test]
fn a_row_takes_events_once_and_in_their_turn() {
    let events = "events:\n  S: { upsert: { part: { name: event.name } } }\n  D: { delete: row }\n  N: { when: false, update: {} }\n";
    let remembering = loaded_from(", id: event.e, remember: list", events);
    check_in(
        &remembering,
        &[
            (r#""type":"S","name":"a""#, "route: event.e is missing"),
            (r#""type":"S","e":1,"name":"a""#, "n=null tags=null list=[1] part=(a,null)"),
            (r#""type":"S","e":"1","name":"b""#, "n=null tags=null list=[1] part=(a,null)"),
            (r#""type":"N","e":2"#, "n=null tags=null list=[1,2] part=(a,null)"),
            (r#""type":"S","e":2,"name":"c""#, "n=null tags=null list=[1,2] part=(a,null)"),
            (r#""type":"S","e":3,"name":null"#, "fold: S.part.name: event.name is null, expected a string"),
            (r#""type":"S","e":3,"name":"d""#, "n=null tags=null list=[2,3] part=(d,null)"),
            (r#""type":"S","e":1,"name":"e""#, "n=null tags=null list=[3,1] part=(e,null)"),
            (r#""type":"D","e":4"#, ""),
            (r#""type":"S","e":4,"name":"f""#, "n=null tags=null list=[4] part=(f,null)"),
        ],
    );
    let events = "events:\n  S: { upsert: { part: { name: event.name } } }\n";
    let strict = loaded_from(", sequence: { number: event.v, in: n, repeat: park }", events);
    check_in(
        &strict,
        &[
            (r#""type":"S","v":5,"name":"a""#, "n=5 tags=null list=[] part=(a,null)"),
            (r#""type":"S","v":5,"name":"b""#, "fold: event.v is 5, but the row's n is 5 already"),
            (
                r#""type":"S","v":7,"name":"b""#,
                "fold: event.v is 7, expected 6: an event of the row is missing or comes later",
            ),
            (r#""type":"S","v":"6","name":"b""#, "route: event.v is \"6\", expected an integer of 64 bits"),
            (r#""type":"S","v":null,"name":"b""#, "route: event.v is null"),
            (r#""type":"S","v":6,"name":"b""#, "n=6 tags=null list=[] part=(b,null)"),
        ],
    );
    let loose = loaded_from(", sequence: { number: event.v, in: n, gap: accept }", events);
    check_in(
        &loose,
        &[
            (r#""type":"S","v":5,"name":"a""#, "n=5 tags=null list=[] part=(a,null)"),
            (r#""type":"S","v":4,"name":"b""#, "n=5 tags=null list=[] part=(a,null)"),
            (r#""type":"S","v":9,"name":"c""#, "n=9 tags=null list=[] part=(c,null)"),
        ],
    );
}
