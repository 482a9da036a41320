//! The proposal as text: schema, projection and cases.

use std::collections::BTreeSet;
use std::fmt::Write;

use serde_json::{Map, Value as Json};

use super::columns::{Column, EventType, Holds, Model, pointer, text_of};
use super::names::path;
use super::{Files, Sample};
use crate::schema::snake;

/// Scalars that a schema declares where it uses them.
const DECLARED: [&str; 3] = ["DateTime", "Decimal", "Long"];

pub fn files(model: &Model, samples: &[&Sample]) -> Files {
    let name = snake(&model.table);
    vec![
        (format!("schema/{name}.graphql"), schema(model)),
        (format!("projections/{name}.yaml"), projection(model, &name)),
        (format!("projections/{name}.cases.yaml"), cases(model, samples)),
    ]
}

fn schema(model: &Model) -> String {
    let Model { entity, key, .. } = model;
    let mut text = format!(
        "# Proposed from a sample of {}. DECIDE: which questions are asked? Each further one is a field of Query with\n\
         # @read, and a @table with the partition that answers it; `kinora check` writes out a line that is missing.\n\
         # A field has a `!` where every event of the sample that makes a row has it.\n\n",
        one_line(&model.topic)
    );
    let mut field = entity.clone();
    field[..1].make_ascii_lowercase();
    let key_type = key_type(key);
    let mut body = format!(
        "type Query {{\n  {field}({}: {key_type}!): {entity} @read\n}}\n\ntype {entity} @key(fields: \"{}\") @table(name: \"{}\", partition: \"{}\") {{\n  {}: {key_type}!\n",
        key.name, key.name, model.table, key.name, key.name
    );
    let mut others = String::new();
    for column in &model.columns {
        let stored = match &column.holds {
            Holds::One(_) => String::new(),
            Holds::Enum { name, words } => {
                let _ = write!(
                    others,
                    "\n# DECIDE: are these all? An event with another value waits; String takes any.\nenum {name} {{ {} }}\n",
                    words.join(" ")
                );
                String::new()
            }
            Holds::Many { max, .. } => format!(" @column(as: LIST, max: {max})"),
            Holds::Records { name, parts, by, max } => {
                let fields: Vec<String> =
                    parts.iter().map(|part| format!("{}: {}!", part.name, part.type_name())).collect();
                let _ = write!(others, "\ntype {name} @udt {{\n  {}\n}}\n", fields.join("\n  "));
                match by {
                    Some(by) => format!(" @column(as: MAP, key: \"{by}\", max: {max})"),
                    None => format!(" @column(as: LIST, max: {max})"),
                }
            }
        };
        let is_list = matches!(column.holds, Holds::Many { .. } | Holds::Records { .. });
        let mark = if is_list || column.is_required { "!" } else { "" };
        let decide = if is_list { " # DECIDE: how many can there be?" } else { "" };
        let _ = writeln!(body, "  {}: {}{mark}{stored}{decide}", column.name, column.type_name());
    }
    body.push_str("}\n");
    body.push_str(&others);
    let words: BTreeSet<&str> = body.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    for scalar in DECLARED.iter().filter(|scalar| words.contains(**scalar)) {
        let _ = writeln!(text, "scalar {scalar}");
    }
    format!("{text}\n{body}")
}

fn key_type(key: &Column) -> &'static str {
    if key.type_name() == "Int" { "Int" } else { "ID" }
}

fn projection(model: &Model, name: &str) -> String {
    let mut text = format!("# Proposed from a sample of {}.\n", one_line(&model.topic));
    for (field, reason) in &model.left_out {
        let _ = writeln!(text, "# DECIDE: {} is left out: {}", one_line(field), one_line(reason));
    }
    let field = |name: &str| path("event", &[name.to_owned()]);
    let key = model.key.expression("event");
    let _ = write!(
        text,
        "projection: {}\ninto: {}\nfrom:\n  topic: {}\n  format: json\n",
        quoted(name),
        model.entity,
        quoted(&model.topic)
    );
    match model.type_field {
        Some(name) => {
            let _ = writeln!(text, "  type: {}", quoted(&field(name)));
        }
        None => {
            let _ =
                writeln!(text, "  # DECIDE: no field names the event's type; all are taken to be of one.");
            let _ = writeln!(text, "  type: \"'Record'\"");
        }
    }
    if let Some(name) = model.version_field {
        let _ = writeln!(text, "  version: {}", quoted(&field(name)));
    }
    if let Some(name) = model.time_field {
        let _ = writeln!(text, "  time: {}", quoted(&field(name)));
    }
    let _ = write!(
        text,
        "  recordKey: {} # what producers put into the record's key; an event with another key waits\nkey: {{ {}: {} }}\n\
         unknown: park # DECIDE: an event of another type waits, and its key with it; or ignore, or stop\nevents:\n",
        quoted(&key),
        quoted(&model.key.name),
        quoted(&key)
    );
    for it in &model.types {
        text.push_str(&event(model, it));
    }
    text
}

fn event(model: &Model, event: &EventType) -> String {
    let name = quoted(&event.name);
    if event.deletes {
        return format!("  {name}: {{ delete: row }} # DECIDE: by its name; does the row go?\n");
    }
    let mut text = format!(
        "  {name}: # DECIDE: upsert makes the row or changes it; create, update and replace do one thing\n"
    );
    let set: Vec<&Column> =
        model.columns.iter().filter(|column| column.set_by.contains(&event.name)).collect();
    if set.is_empty() {
        return text + "    upsert: {}\n";
    }
    text.push_str("    upsert:\n");
    for column in set {
        let value = column.expression("event");
        match &column.holds {
            Holds::Records { parts, .. } => {
                let _ = write!(
                    text,
                    "      {}:\n        each: {}\n        as: it\n        set:\n",
                    quoted(&column.name),
                    quoted(&value)
                );
                for part in parts {
                    let _ = writeln!(
                        text,
                        "          {}: {}",
                        quoted(&part.name),
                        quoted(&part.expression("it"))
                    );
                }
            }
            _ => {
                let _ = writeln!(text, "      {}: {}", quoted(&column.name), quoted(&value));
            }
        }
    }
    text
}

fn cases(model: &Model, samples: &[&Sample]) -> String {
    let mut text = String::from(
        "# Made of real events. DECIDE: take out what is nobody else's business before you share this file.\ncases:\n",
    );
    let mut covered: BTreeSet<&str> = BTreeSet::new();
    while covered.len() < model.types.len() {
        let given = best(model, samples, &covered);
        let types: Vec<&str> = given.iter().map(|event| model.type_of(event)).collect();
        covered.extend(&types);
        text.push_str(&case(model, &types, &given));
    }
    text
}

/// The first event of each type of the key that has the most types which no case has yet.
fn best<'a>(model: &Model, samples: &[&'a Sample], covered: &BTreeSet<&str>) -> Vec<&'a Json> {
    let at = pointer(&model.key.path);
    let mut keys: Vec<(&Json, Vec<&'a Json>, usize)> = Vec::new();
    let mut places = std::collections::BTreeMap::new();
    for sample in samples {
        let Some(key) = sample.value.pointer(&at) else { continue };
        let place = *places.entry(text_of(key)).or_insert(keys.len());
        if place == keys.len() {
            keys.push((key, Vec::new(), 0));
        }
        let (_, events, fresh) = &mut keys[place];
        let name = model.type_of(&sample.value);
        if !events.iter().any(|event| model.type_of(event) == name) {
            events.push(&sample.value);
            *fresh += usize::from(!covered.contains(name));
        }
    }
    let most = keys.iter().map(|(_, _, fresh)| *fresh).max().unwrap_or(0);
    let found = keys.into_iter().find(|(_, _, fresh)| *fresh == most);
    found.map(|(_, events, _)| events).unwrap_or_default()
}

fn case(model: &Model, types: &[&str], given: &[&Json]) -> String {
    let mut text =
        format!("  - name: {}\n    given:\n", quoted(&format!("{} makes its rows", types.join(", "))));
    let at = pointer(&model.key.path);
    for event in given {
        let key = event.pointer(&at).map(text_of).unwrap_or_default();
        let _ = writeln!(
            text,
            "      - {{ \"topic\": {}, \"key\": {}, \"value\": {event} }}",
            quoted_always(&model.topic),
            quoted_always(&key)
        );
    }
    let rows: Vec<String> = row(model, given).map(|row| Json::Object(row).to_string()).into_iter().collect();
    let _ = writeln!(text, "    rows: {{ {}: [{}] }}", model.entity, rows.join(", "));
    text
}

/// The row that the events come to, of the columns whose values stay as they are written.
fn row(model: &Model, given: &[&Json]) -> Option<Map<String, Json>> {
    let mut row: Option<Map<String, Json>> = None;
    for event in given {
        let name = model.type_of(event);
        if model.types.iter().any(|it| it.name == name && it.deletes) {
            row = None;
            continue;
        }
        let row = row.get_or_insert_default();
        for column in
            std::iter::once(&model.key).chain(model.columns.iter().filter(|column| column.is_plain()))
        {
            if let Some(value) = event.pointer(&pointer(&column.path)) {
                row.insert(column.name.clone(), value.clone());
            }
        }
    }
    row
}

/// A text as YAML: as it is where it is a name or a path, else in quotes.
fn quoted(text: &str) -> String {
    const WORDS: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let is_plain = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.')
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && !WORDS.contains(&text.to_ascii_lowercase().as_str());
    if is_plain { text.to_owned() } else { quoted_always(text) }
}

fn quoted_always(text: &str) -> String {
    Json::from(text).to_string()
}

/// A text that stays inside its comment.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
