//! The files of projections as JSON Schema (2020-12), for editors: keys, what each takes, and what it means.
//!
//! Comes in: nothing. Goes out: one document for each kind of file. A test asks the loader for its keys, so that a key
//! added there and not here is noticed. What is refused is left out. Types and columns are `check`'s alone.

use serde_json::{Map, Value, json};

/// The kinds of files in `projections/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum YamlFile {
    /// `<name>.yaml`
    Projection,
    /// `defaults.yaml`
    Defaults,
    /// `<name>.cases.yaml`
    Cases,
}

/// The JSON Schema of a kind of file.
pub fn schema_of(file: YamlFile) -> Value {
    let (title, root) = match file {
        YamlFile::Projection => ("A projection of Kinora", "projection"),
        YamlFile::Defaults => ("What holds for all projections of a Kinora project", "defaults"),
        YamlFile::Cases => ("Cases of a Kinora project", "cases"),
    };
    let mut document = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        "$ref": format!("#/$defs/{root}"),
    });
    let shapes: Vec<Shape> = match file {
        YamlFile::Cases => shapes_of_cases(),
        YamlFile::Projection | YamlFile::Defaults => shapes_of_projections(),
    };
    let mut definitions = Map::new();
    for shape in shapes {
        definitions.insert(shape.name.to_owned(), shape.schema());
    }
    definitions.insert(
        "expression".to_owned(),
        json!({
            "description": "An expression of the Common Expression Language. Quote it where YAML would read `{`, `[`, `: ` or ` #` in it.",
            "type": ["string", "number", "boolean", "null"],
        }),
    );
    if file != YamlFile::Cases {
        definitions.insert("value".to_owned(), value());
    }
    document["$defs"] = Value::Object(definitions);
    document
}

/// A map whose keys are known.
struct Shape {
    name: &'static str,
    /// Each key, what it takes, and what it means.
    keys: Vec<(&'static str, Value, &'static str)>,
    required: &'static [&'static str],
    /// What is to hold beside.
    rules: Value,
}

impl Shape {
    fn schema(self) -> Value {
        let mut properties = Map::new();
        for (key, mut takes, about) in self.keys {
            takes["description"] = about.into();
            properties.insert(key.to_owned(), takes);
        }
        let mut schema = json!({ "type": "object", "properties": properties, "additionalProperties": false });
        if !self.required.is_empty() {
            schema["required"] = json!(self.required);
        }
        if let (Value::Object(rules), Some(schema)) = (self.rules, schema.as_object_mut()) {
            schema.extend(rules);
        }
        schema
    }
}

fn shapes_of_projections() -> Vec<Shape> {
    let unknown =
        ("unknown", words(&["park", "ignore", "stop"]), "What an event of an unknown type or version does.");
    vec![
        Shape {
            name: "projection",
            keys: vec![
                ("projection", text(), "Its name: letters, digits, `_`, `-` and `.`."),
                ("into", text(), "The type of the schema whose rows it makes."),
                (
                    "from",
                    one_or_more(reference("from")),
                    "Where events come from and how they are read; a list for several topics.",
                ),
                (
                    "key",
                    one_or_more(map_of(expression())),
                    "What each key column of the base table is made from; a list for several rows.",
                ),
                (
                    "order",
                    words(&["time"]),
                    "Events of a row come from several partitions: they are merged by time.",
                ),
                (
                    "assert",
                    map_of(expression()),
                    "What must hold of every row: an event that would break it parks its key.",
                ),
                unknown.clone(),
                ("when", expression(), "A condition for all cases."),
                ("let", map_of(expression()), "Names for expressions, for all events."),
                (
                    "events",
                    map_of(json!({ "anyOf": [one_or_more(reference("case")), words(&["ignore"])] })),
                    "What each event type does; `ignore` for one that concerns no row.",
                ),
                (
                    "always",
                    sets(),
                    "What every case assigns that makes or changes a row, unless it does so itself.",
                ),
                ("compute", map_of(expression()), "Columns made from the new row."),
                ("upcast", upcasts(), "Older versions of event types, each brought to the next."),
                ("handler", text(), "Instead of `events`: the name of a handler written in Rust."),
            ],
            required: &["projection", "into", "key"],
            rules: json!({ "oneOf": [{ "required": ["events"] }, { "required": ["handler"] }] }),
        },
        Shape {
            name: "defaults",
            keys: vec![
                ("from", reference("from"), "What holds where a projection's `from` does not say it."),
                unknown.clone(),
                ("upcast", upcasts(), "Older versions of event types, each brought to the next."),
            ],
            required: &[],
            rules: Value::Null,
        },
        Shape {
            name: "from",
            keys: vec![
                ("topic", text(), "The topic."),
                ("format", words(&["json"]), "How records are written."),
                ("type", expression(), "The event's type, from the event as it came: `event.type`."),
                ("version", expression(), "Its version, from the event as it came; 1 where it is not said."),
                ("time", expression(), "Its time, after upcasting; the record's own where it is not said."),
                ("recordKey", expression(), "What producers put into the record's key."),
                ("tombstone", words(&["delete", "ignore", "park"]), "What a record without a value does."),
                unknown,
                ("id", expression(), "What tells events apart that producers append twice; with `remember`."),
                ("remember", text(), "The list column that holds the last ids."),
                ("sequence", reference("sequence"), "The order in which a row takes events."),
                (
                    "schemas",
                    json!({ "anyOf": [text(), map_of(text())] }),
                    "A JSON Schema file that types the events, or one for each event type.",
                ),
                (
                    "start",
                    json!({ "anyOf": [words(&["earliest", "latest"]), { "type": "string", "format": "date-time" }, starts_of_others()] }),
                    "Where a new generation begins to read the log; a time is that of the records, a group that of other consumers.",
                ),
                ("upcast", upcasts(), "Older versions of event types, each brought to the next."),
            ],
            required: &[],
            rules: Value::Null,
        },
        Shape {
            name: "upcast",
            keys: vec![
                ("rename", map_of(text()), "Old and new names of fields."),
                (
                    "default",
                    json!({ "type": "object" }),
                    "Fields and the value each gets where it is missing.",
                ),
                ("drop", one_or_more(text()), "Fields that go."),
                ("move", map_of(text()), "Old and new places of fields."),
                (
                    "convert",
                    json!({ "type": ["object", "null"] }),
                    "Fields and how each is converted: a name, or words for words.",
                ),
                (
                    "split",
                    json!({ "type": "array", "items": reference("piece") }),
                    "The events that it becomes.",
                ),
            ],
            required: &[],
            rules: Value::Null,
        },
        Shape {
            name: "piece",
            keys: vec![
                ("type", text(), "The event type that it becomes."),
                ("version", json!({ "type": "integer" }), "Its version; 1 where it is not said."),
                ("each", text(), "A field with a list: one event for each element."),
                ("as", text(), "The field that holds the element."),
                ("drop", one_or_more(text()), "Fields that go."),
            ],
            required: &["type"],
            rules: json!({ "dependentRequired": { "each": ["as"], "as": ["each"] } }),
        },
        Shape {
            name: "sequence",
            keys: vec![
                ("number", expression(), "The event's number."),
                ("in", text(), "The column that holds the last number."),
                ("first", json!({ "type": "integer" }), "The number of a row's first event."),
                ("gap", words(&["park", "accept"]), "What an event does that leaves numbers out."),
                ("repeat", words(&["ignore", "park"]), "What an event does whose number the row has passed."),
            ],
            required: &["number", "in"],
            rules: Value::Null,
        },
        Shape {
            name: "case",
            keys: vec![
                ("when", expression(), "The first case whose condition holds counts."),
                (
                    "let",
                    map_of(expression()),
                    "Names for expressions, for all cases of the event; in its first case.",
                ),
                ("create", sets(), "No row: it is made. A row: nothing."),
                ("update", sets(), "No row: nothing. A row: the named columns."),
                ("upsert", sets(), "No row: it is made. A row: the named columns."),
                ("replace", sets(), "No row: it is made. A row: all columns; those not named are cleared."),
                (
                    "delete",
                    words(&["row", "rows"]),
                    "The row goes from every table; `rows`: all whose key begins as `key` says.",
                ),
                ("once", sets(), "Columns that are set only where they are null."),
                ("initially", sets(), "First values of a row that `upsert` makes."),
                (
                    "missing",
                    words(&["park", "ignore"]),
                    "What an event does that finds no row, beside `update`, `remove` or `delete: row`.",
                ),
                (
                    "each",
                    expression(),
                    "A row for each element of this list; in the event's first case, with `as` and `key`.",
                ),
                ("as", text(), "A name for the element."),
                ("key", one_or_more(map_of(expression())), "Which rows the event concerns."),
                ("on", text(), "Of which topic and type the event is: `shop.orders/OrderPlaced`."),
                ("remove", one_or_more(text()), "Elements that go: `lines[event.productId]`."),
            ],
            required: &[],
            rules: json!({ "minProperties": 1 }),
        },
        Shape {
            name: "each",
            keys: vec![
                ("each", expression(), "The list to go through."),
                ("as", text(), "A name for the element."),
                ("set", sets(), "What each field of the value type is made from."),
            ],
            required: &["each", "as", "set"],
            rules: Value::Null,
        },
    ]
}

fn shapes_of_cases() -> Vec<Shape> {
    let plain = || json!({ "type": ["string", "number", "boolean"] });
    let list = |items: Value| json!({ "type": ["array", "null"], "items": items });
    vec![
        Shape {
            name: "cases",
            keys: vec![("cases", list(reference("case")), "What is run by `kinora test`.")],
            required: &["cases"],
            rules: Value::Null,
        },
        Shape {
            name: "case",
            keys: vec![
                ("name", plain(), "What is shown."),
                ("given", list(reference("record")), "The records, in order."),
                ("events", map_of(list(reference("event"))), "By projection, the events that are routed."),
                (
                    "rows",
                    map_of(list(json!({ "type": "object" }))),
                    "By type, all rows that there are then; of each only the named columns are compared.",
                ),
                ("query", text(), "A GraphQL operation that is asked then."),
                ("variables", json!({ "type": "object" }), "Its variables."),
                ("answer", json!({}), "Its `data`, or the whole response where there are errors."),
                ("parked", list(reference("parked")), "The keys that wait then."),
            ],
            required: &["name", "given"],
            rules: json!({
                "dependentRequired": { "query": ["answer"], "answer": ["query"], "variables": ["query"] },
            }),
        },
        Shape {
            name: "record",
            keys: vec![
                ("topic", plain(), "The topic."),
                ("key", json!({ "type": ["string", "number", "boolean", "null"] }), "The record's key."),
                ("value", json!({}), "The event as JSON; null is a tombstone."),
                ("raw", plain(), "Instead of `value`: text that is not JSON."),
                ("headers", map_of(plain()), "Its headers."),
                ("timestamp", json!({ "type": "integer" }), "Its time in milliseconds since 1970."),
            ],
            required: &["topic"],
            rules: json!({ "oneOf": [{ "required": ["value"] }, { "required": ["raw"] }] }),
        },
        Shape {
            name: "event",
            keys: vec![
                ("type", plain(), "Its type."),
                ("version", json!({ "type": "integer" }), "Its version, after upcasting."),
                ("event", json!({}), "Its body; only the named parts are compared."),
            ],
            required: &["type"],
            rules: Value::Null,
        },
        Shape {
            name: "parked",
            keys: vec![
                ("projection", plain(), "The projection in which it waits."),
                ("key", plain(), "The record's key, or the row's as `kinora parked list` shows it."),
                ("stage", plain(), "Where the event failed: `decode`, `upcast`, `route`, `fold`."),
                ("reason", plain(), "A part of the reason."),
                ("waiting", json!({ "type": "integer", "minimum": 0 }), "How many events wait."),
            ],
            required: &[],
            rules: Value::Null,
        },
    ]
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/$defs/{name}") })
}

fn expression() -> Value {
    reference("expression")
}

fn text() -> Value {
    json!({ "type": "string", "minLength": 1 })
}

fn words(words: &[&str]) -> Value {
    json!({ "enum": words })
}

fn map_of(value: Value) -> Value {
    json!({ "type": ["object", "null"], "additionalProperties": value })
}

/// Where other consumers have stopped.
fn starts_of_others() -> Value {
    let one = |key: &str, value: Value| json!({ "type": "object", "properties": { key: value }, "required": [key], "additionalProperties": false });
    let offsets = json!({ "type": "object", "additionalProperties": { "type": "integer", "minimum": 0 } });
    json!({ "anyOf": [one("group", text()), one("offsets", offsets)] })
}

fn one_or_more(value: Value) -> Value {
    json!({ "anyOf": [value, { "type": "array", "items": value }] })
}

/// By event type, and by the version that a step brings to the next.
fn upcasts() -> Value {
    let steps = json!({
        "type": "object",
        "patternProperties": { "^-?[0-9]+$": reference("upcast") },
        "additionalProperties": false,
    });
    map_of(steps)
}

/// What columns become: an expression, a list made of a list, or the parts of an element.
fn sets() -> Value {
    map_of(reference("value"))
}

/// What a column becomes: an expression, `each`, or parts, which also say `append`, `keep`, `add` and `addAll`.
fn value() -> Value {
    let parts = json!({
        "type": "object",
        "not": { "required": ["each"] },
        "additionalProperties": reference("value"),
    });
    json!({ "anyOf": [expression(), reference("each"), parts] })
}

#[cfg(test)]
#[path = "editor_tests.rs"]
mod tests;
