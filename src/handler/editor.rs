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
pub fn json_schema(file: YamlFile) -> Value {
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
    let from = |about| ("from", reference("from"), about);
    let unknown =
        ("unknown", words(&["park", "ignore", "stop"]), "What an event of an unknown type or version does.");
    vec![
        Shape {
            name: "projection",
            keys: vec![
                ("projection", text(), "Its name: letters, digits, `_`, `-` and `.`."),
                ("into", text(), "The type of the schema whose rows it makes."),
                from("Where events come from and how they are read."),
                ("key", map_of(expression()), "What each key column of the base table is made from."),
                unknown.clone(),
                ("when", expression(), "A condition for all cases."),
                ("let", map_of(expression()), "Names for expressions, for all events."),
                ("events", map_of(one_or_more(reference("case"))), "What each event type does."),
                ("compute", map_of(expression()), "Columns made from the new row."),
                ("upcast", upcasts(), "Older versions of event types, each brought to the next."),
                ("handler", text(), "Instead of `events`: the name of a handler written in Rust."),
            ],
            required: &["projection", "into", "key"],
            rules: json!({ "oneOf": [{ "required": ["events"] }, { "required": ["handler"] }] }),
        },
        Shape {
            name: "defaults",
            keys: vec![from("What holds where a projection's `from` does not say it."), unknown],
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
                ("start", words(&["earliest"]), "Where the log is read from."),
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
            ],
            required: &[],
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
                ("delete", words(&["row"]), "The row goes from every table."),
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
                ("set", map_of(expression()), "What each field of the value type is made from."),
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
    let parts = json!({
        "type": "object",
        "not": { "required": ["each"] },
        "additionalProperties": expression(),
    });
    map_of(json!({ "anyOf": [expression(), reference("each"), parts] }))
}

#[cfg(test)]
#[path = "editor_tests.rs"]
mod tests;
