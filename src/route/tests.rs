//! Where records go, and the text of each reason why not.

use super::*;
use crate::handler::CustomHandlers;
use crate::handler::testing::{Loaded, load_text, shop};

const SCHEMA: &str = r#"
type Query { note(id: ID!): Note @read }
type Note @key(fields: "id") @table(name: "notes", partition: "id") { id: ID!  text: String }
"#;

fn notes(from: &str, unknown: &str) -> Loaded {
    let text = format!(
        "projection: notes\ninto: Note\nfrom: {{ topic: t, format: json, type: event.type, version: event.v, recordKey: event.id{from} }}\nkey: {{ id: event.id }}\nunknown: {unknown}\nevents:\n  Set: {{ update: {{ text: event.text }} }}\n"
    );
    let loaded = load_text(SCHEMA, &[("projections/notes.yaml", &text)], &CustomHandlers::new());
    assert_eq!(loaded.findings, "");
    loaded
}

fn rejected(
    loaded: &Loaded,
    name: &str,
    key: Option<&str>,
    value: Option<&str>,
) -> (String, String, Option<String>) {
    match loaded.rows(name).route(key, value) {
        Routed::Rejected { reject, shown, type_name, .. } => (reject.to_string(), shown, type_name),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_event_finds_its_row_version_and_time() {
    let shop = shop();
    let value = r#"{"type":"CustomerRenamed","at":"1970-01-01T00:00:05Z","customerId":"u1","name":"x"}"#;
    let Routed::Event { key_cells, event, .. } = shop.rows("customers").route(Some("u1"), Some(value)) else {
        panic!("it is routed")
    };
    assert_eq!(shop.projection("customers").shown_key(&key_cells), r#"{"id":"u1"}"#);
    assert_eq!(
        (&*event.kind, event.version, event.time_ms, event.timestamp_ms),
        ("CustomerRenamed", 1, 5_000, 1_000)
    );
    assert_eq!(event.position.to_string(), "shop.customers:0@0");
}

#[test]
fn a_record_key_that_differs_is_rejected_under_the_record_key() {
    let shop = shop();
    let value = r#"{"type":"OrderShipped","at":"1970-01-01T00:00:05Z","orderId":"o1"}"#;
    let (reason, shown, kind) = rejected(&shop, "orders", Some("o2"), Some(value));
    assert_eq!(reason, r#"route: record key is "o2", event.orderId is "o1""#);
    assert_eq!((shown.as_str(), kind.as_deref()), ("o2", Some("OrderShipped")));
    let (reason, shown, _) = rejected(&shop, "orders", None, Some(value));
    assert_eq!(reason, r#"route: the record has no key, event.orderId is "o1""#);
    assert_eq!(shown, "shop.orders:0@0");
}

#[test]
fn a_missing_key_field_or_type_is_rejected_by_name() {
    let shop = shop();
    let (reason, shown, _) = rejected(&shop, "orders", Some("o1"), Some(r#"{"type":"OrderShipped"}"#));
    assert_eq!((reason.as_str(), shown.as_str()), ("route: event.orderId is missing", "o1"));
    let (reason, ..) = rejected(&shop, "orders", Some("o1"), Some(r#"{"orderId":"o1"}"#));
    assert_eq!(reason, "route: event.type is missing");
    let (reason, ..) = rejected(&shop, "orders", Some("o1"), Some(r#"{"type":null}"#));
    assert_eq!(reason, "route: event.type is null");
    let (reason, ..) = rejected(&shop, "orders", Some("o1"), Some("[]"));
    assert_eq!(reason, "decode: an event is a JSON object, this is a list");
}

#[test]
fn an_unknown_type_or_version_does_what_the_projection_says() {
    let event = r#"{"type":"Other","id":"n1"}"#;
    let newer = r#"{"type":"Set","v":2,"id":"n1"}"#;
    let park = notes("", "park");
    let (reason, shown, kind) = rejected(&park, "notes", Some("n1"), Some(event));
    assert_eq!(reason, "route: event type Other is not known to projection notes");
    assert_eq!((shown.as_str(), kind.as_deref()), (r#"{"id":"n1"}"#, Some("Other")));
    let (reason, ..) = rejected(&park, "notes", Some("n1"), Some(newer));
    assert_eq!(reason, "route: version 2 of Set is newer than 1, the newest version that is known");
    let (reason, ..) = rejected(&park, "notes", Some("n1"), Some(r#"{"type":"Set","v":0,"id":"n1"}"#));
    assert_eq!(reason, "upcast: version 0 of Set is older than 1, the oldest version that is known");
    let ignore = notes("", "ignore");
    assert!(matches!(ignore.rows("notes").route(Some("n1"), Some(event)), Routed::Ignore));
    let stop = notes("", "stop");
    let Routed::Stop(reason) = stop.rows("notes").route(Some("n1"), Some(event)) else { panic!("it stops") };
    assert_eq!(reason, "event type Other is not known to projection notes (record t:0@0)");
}

#[test]
fn a_record_without_a_value_does_what_the_projection_says() {
    let (reason, shown, _) = rejected(&notes("", "park"), "notes", Some("n1"), None);
    assert_eq!(
        reason,
        "route: the record has no value, and the projection does not say what that means: `tombstone: delete`, `ignore` or `park`"
    );
    assert_eq!(shown, r#"{"id":"n1"}"#);
    let (reason, ..) = rejected(&notes(", tombstone: park", "park"), "notes", Some("n1"), None);
    assert_eq!(reason, "route: the record has no value, and `tombstone: park` says that it waits");
    assert!(matches!(
        notes(", tombstone: ignore", "park").rows("notes").route(Some("n1"), None),
        Routed::Ignore
    ));
    let delete = notes(", tombstone: delete", "park");
    let Routed::Delete { key_cells, .. } = delete.rows("notes").route(Some("n1"), None) else {
        panic!("it deletes")
    };
    assert_eq!(key_cells, [(ColumnId(0), Value::text("n1"))]);
    let (reason, shown, _) = rejected(&delete, "notes", None, None);
    assert_eq!((reason.as_str(), shown.as_str()), ("route: the record has neither key nor value", "t:0@0"));
}

#[test]
fn a_record_key_may_be_a_number_written_out() {
    let schema = SCHEMA.replace("id: ID!  text", "id: Int!  text").replace("note(id: ID!)", "note(id: Int!)");
    let text = "projection: notes\ninto: Note\nfrom: { topic: t, format: json, type: event.type, recordKey: event.id, tombstone: delete }\nkey: { id: event.id }\nunknown: park\nevents:\n  Set: { update: { text: event.text } }\n";
    let loaded = load_text(&schema, &[("projections/notes.yaml", text)], &CustomHandlers::new());
    assert_eq!(loaded.findings, "");
    let value = r#"{"type":"Set","id":17}"#;
    let Routed::Event { key, .. } = loaded.rows("notes").route(Some("17"), Some(value)) else {
        panic!("it is routed")
    };
    let Routed::Delete { key: deleted, .. } = loaded.rows("notes").route(Some("17"), None) else {
        panic!("it deletes")
    };
    assert_eq!(key, deleted);
    let (reason, ..) = rejected(&loaded, "notes", Some("17x"), None);
    assert_eq!(reason, r#"route: record key is "17x", which is no Int"#);
    let (reason, ..) = rejected(&loaded, "notes", Some("017"), None);
    assert_eq!(reason, r#"route: record key is "017", but the row's key is spelled "17""#);
    let (reason, ..) = rejected(&loaded, "notes", Some("18"), Some(value));
    assert_eq!(reason, r#"route: record key is "18", event.id is "17""#);
}

#[test]
fn a_record_key_spelled_otherwise_than_the_rows_key_is_rejected() {
    let id = "67e55044-10b1-426f-9247-bb680e5fe0c8";
    let schema = SCHEMA.replace("id: ID!", "id: UUID!") + "scalar UUID\n";
    let text = "projection: notes\ninto: Note\nfrom: { topic: t, format: json, type: event.type, recordKey: event.id }\nkey: { id: event.id }\nunknown: park\nevents:\n  Set: { update: { text: event.text } }\n";
    let loaded = load_text(&schema, &[("projections/notes.yaml", text)], &CustomHandlers::new());
    assert_eq!(loaded.findings, "");
    let event = |id: &str| format!(r#"{{"type":"Set","id":"{id}"}}"#);
    assert!(matches!(loaded.rows("notes").route(Some(id), Some(&event(id))), Routed::Event { .. }));
    let upper = id.to_uppercase();
    let (reason, ..) = rejected(&loaded, "notes", Some(&upper), Some(&event(&upper)));
    assert_eq!(reason, format!("route: record key is \"{upper}\", but the row's key is spelled \"{id}\""));
}

#[test]
fn a_missing_version_is_1_and_null_is_none() {
    let Routed::Event { event, .. } =
        notes("", "park").rows("notes").route(Some("n1"), Some(r#"{"type":"Set","id":"n1"}"#))
    else {
        panic!("it is routed")
    };
    assert_eq!(event.version, 1);
    let (reason, ..) =
        rejected(&notes("", "park"), "notes", Some("n1"), Some(r#"{"type":"Set","v":null,"id":"n1"}"#));
    assert_eq!(reason, "route: event.v is null, expected a whole number");
}

#[test]
fn type_time_and_key_may_come_from_the_record() {
    let loaded = load_text(
        "scalar DateTime\ntype Query { note(key: ID!): Note @read }\n\
         type Note @key(fields: \"key\") @table(name: \"notes\", partition: \"key\", clustering: \"id\") { key: ID!  id: ID!  at: DateTime }\n",
        &[(
            "projections/notes.yaml",
            "projection: notes\ninto: Note\n\
             from: { topic: notes, format: json, type: \"record.headers['type']\", version: \"int(record.headers[?'v'].orValue('1'))\", time: record.timestamp, recordKey: record.key }\n\
             key: { key: record.key, id: record.id }\nunknown: park\nevents: { Written: { upsert: { at: record.time } } }\n",
        )],
        &CustomHandlers::new(),
    );
    assert_eq!(loaded.findings, "");
    let projection = loaded.projection("notes");
    let base = loaded.plan.entity(projection.entity).base;
    let at = TopicPartition { topic: "notes".into(), partition: 3 };
    let record = |headers: &[(&str, &str)]| Record {
        offset: 5,
        timestamp_ms: 1_500,
        key: Some("n1".into()),
        value: Some("{}".into()),
        headers: headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned().into()))
            .collect(),
    };
    let routed = route(projection, loaded.plan.table(base), &at, &record(&[("type", "Written")]));
    let Routed::Event { key_cells, event, .. } = routed else { panic!("{routed:?}") };
    assert_eq!(&*event.kind, "Written");
    assert_eq!(
        (event.time_ms, &key_cells[0].1, &key_cells[1].1),
        (1_500, &Value::text("n1"), &Value::text("notes:3@5"))
    );
    let Routed::Rejected { reject, .. } = route(projection, loaded.plan.table(base), &at, &record(&[]))
    else {
        panic!("there is no type")
    };
    assert_eq!(reject.to_string(), "route: record.headers['type'] is missing");
}

#[test]
fn a_record_concerns_at_most_so_many_rows() {
    let loaded = load_text(
        "type Query { lines(o: ID!): [Line!]! @read }\n\
         type Line @key(fields: \"o l\") @table(name: \"lines\", partition: \"o\", clustering: \"l\", rows: 10) { o: ID!  l: ID! }\n",
        &[(
            "projections/lines.yaml",
            "projection: lines\ninto: Line\nfrom: { topic: t, format: json, type: event.type, recordKey: event.o }\n\
             key: { o: event.o, l: event.l }\nunknown: park\n\
             events: { E: { each: event.list, as: l, key: { o: event.o, l: l }, upsert: {} } }\n",
        )],
        &CustomHandlers::new(),
    );
    assert_eq!(loaded.findings, "");
    let event = |list: &str| format!(r#"{{"type":"E","o":"1","list":{list}}}"#);
    let numbers = |count: usize| format!("{:?}", (0..count).collect::<Vec<_>>());
    let routed = |list: &str| loaded.rows("lines").route(Some("1"), Some(&event(list)));
    let Routed::Events(rows) = routed(&numbers(ROWS_OF_A_RECORD_MAX)) else { panic!("it is routed") };
    assert_eq!(rows.len(), ROWS_OF_A_RECORD_MAX);
    for (list, expected) in [
        (
            numbers(ROWS_OF_A_RECORD_MAX + 1),
            "route: the record concerns more than 1000 rows, which is the most it may",
        ),
        ("[null]".to_owned(), "route: l is null, expected a string or an integer"),
        ("7".to_owned(), "route: event.list is 7, expected a list"),
    ] {
        let Routed::Rejected { reject, shown, .. } = routed(&list) else { panic!("it is rejected") };
        assert_eq!((reject.to_string(), shown), (expected.to_owned(), "1".to_owned()));
    }
    assert!(matches!(routed("null"), Routed::Ignore));
    let Routed::Events(rows) = routed("[5, 6, 5]") else { panic!("it is routed") };
    assert_eq!(rows.iter().map(|row| row.events.len()).collect::<Vec<_>>(), [2, 1]);
}

#[test]
fn an_ignored_type_concerns_no_row_in_any_version_and_as_no_piece() {
    let defaults = "upcast: { Seen: { 1: { rename: { a: b } } }, Old: { 1: { split: [{ type: Set }, { type: Seen }] } } }\n";
    let text = "projection: notes\ninto: Note\n\
                from: { topic: t, format: json, type: event.type, version: event.v, recordKey: event.id }\n\
                key: { id: event.id }\nunknown: park\n\
                events:\n  Set: { update: { text: event.text } }\n  Seen: ignore\n";
    let files = [("projections/defaults.yaml", defaults), ("projections/notes.yaml", text)];
    let loaded = load_text(SCHEMA, &files, &CustomHandlers::new());
    assert_eq!(loaded.findings, "");
    let routed = |value: &str| loaded.rows("notes").route(Some("n1"), Some(value));
    for value in [r#"{"type":"Seen"}"#, r#"{"type":"Seen","id":"other"}"#, r#"{"type":"Seen","v":9}"#] {
        assert!(matches!(routed(value), Routed::Ignore), "{value}: {:?}", routed(value));
    }
    let Routed::Event { event, .. } = routed(r#"{"type":"Old","id":"n1","text":"a"}"#) else {
        panic!("the piece that is not ignored is left")
    };
    assert_eq!((&*event.kind, event.part), ("Set", 0));
    let (reason, ..) = rejected(&loaded, "notes", Some("n1"), Some(r#"{"type":"Sene","id":"n1"}"#));
    assert_eq!(reason, "route: event type Sene is not known to projection notes");
}
