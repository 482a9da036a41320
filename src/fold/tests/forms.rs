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
    let head = "projection: a\ninto: A\nfrom: { topic: t, format: json, type: event.type, recordKey: event.id }\nkey: { id: event.id }\nunknown: park\n";
    let loaded =
        load_text(SCHEMA, &[("projections/a.yaml", &format!("{head}{events}"))], &CustomHandlers::new());
    assert_eq!(loaded.findings, "", "{events}");
    loaded
}

/// Folds events, each with the columns after it, or why it was rejected.
fn check(events: &str, given: &[(&str, &str)]) {
    let loaded = loaded(events);
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
            (r#""type":"A","x":null"#, "fold: list[1]: event.x is null, expected a string"),
            (r#""type":"A","x":"b""#, "n=null tags=null list=[a,b] part=null"),
            (r#""type":"A","x":"c""#, "fold: list would have 3 elements, at most 2 are allowed"),
            (r#""type":"K","x":"c""#, "n=null tags=null list=[b,c] part=null"),
            (r#""type":"T","x":"q""#, "n=null tags=[q] list=[b,c] part=null"),
            (r#""type":"U","x":["c","q"]"#, "n=null tags=[c,q] list=[b,c] part=null"),
            (r#""type":"U","x":["d"]"#, "fold: tags would have 3 elements, at most 2 are allowed"),
            (r#""type":"R","x":"c""#, "n=null tags=[q] list=[b] part=null"),
            (r#""type":"R","x":"z""#, "n=null tags=[q] list=[b] part=null"),
            (r#""type":"R""#, "fold: tags: event.x is missing"),
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
            (r#""type":"M","name":"b""#, "fold: part.inner.deep has no value, and cannot be null"),
            (r#""type":"M","deep":"x""#, "n=null tags=null list=[] part=(new!,(x))"),
            (r#""type":"D","deep":"y""#, "n=null tags=null list=[] part=(new!,(y))"),
            (r#""type":"D","deep":null"#, "fold: part.inner.deep: event.deep is null, expected a string"),
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
            (r#""type":"S","n":10"#, "fold: assert \"n is small\" does not hold: row.n.orValue(0) < 10"),
            (r#""type":"S","n":9"#, "n=9 tags=null list=[] part=null"),
            (r#""type":"S","n":null"#, "n=null tags=null list=[] part=null"),
            (r#""type":"O","n":11"#, "fold: assert \"n is small\" does not hold: row.n.orValue(0) < 10"),
        ],
    );
}
