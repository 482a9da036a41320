//! What is stored of the events: the row's key, its columns, and which event types set which.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::Sample;
use super::names::{Names, path, subject};
use super::shape::{self, Kind, find, kind, paths, words};

/// Most columns that are proposed.
const COLUMNS_MAX: usize = 200;

/// Fields that usually say when an event happened, and in which version it is.
const TIME_FIELDS: [&str; 8] =
    ["at", "time", "timestamp", "occurredAt", "occurred_at", "createdAt", "created_at", "date"];
const VERSION_FIELDS: [&str; 4] = ["v", "version", "schemaVersion", "schema_version"];

/// Everything that the files say.
#[derive(Debug)]
pub struct Model {
    pub topic: String,
    pub entity: String,
    pub table: String,
    pub type_field: Option<&'static str>,
    pub time_field: Option<&'static str>,
    pub version_field: Option<&'static str>,
    pub key: Column,
    pub columns: Vec<Column>,
    pub types: Vec<EventType>,
    /// What was not taken, with the reason.
    pub left_out: Vec<(String, String)>,
}

/// An event type of the sample.
#[derive(Debug)]
pub struct EventType {
    pub name: String,
    pub deletes: bool,
}

/// One column.
#[derive(Debug)]
pub struct Column {
    pub name: String,
    pub path: Vec<String>,
    pub holds: Holds,
    /// Whether every event that makes a row has it.
    pub is_required: bool,
    /// The event types that set it.
    pub set_by: BTreeSet<String>,
}

/// What a column holds.
#[derive(Debug)]
pub enum Holds {
    One(Kind),
    Enum {
        name: String,
        words: Vec<String>,
    },
    /// A list of scalars.
    Many {
        kind: Kind,
        max: usize,
    },
    /// A list of value types, or a map of them by a field.
    Records {
        name: String,
        parts: Vec<Column>,
        by: Option<String>,
        max: usize,
    },
}

impl Model {
    pub fn new(
        topic: &str,
        samples: &[&Sample],
        type_field: Option<&'static str>,
        key: Option<&str>,
    ) -> Result<Model, String> {
        let mut types = Names::default();
        let entity = types.of_type(subject(topic));
        let mut names = Names::default();
        let key = key_column(samples, type_field, key, &mut names)?;
        let everywhere = |fields: &[&'static str], fits: &dyn Fn(&Json) -> bool| {
            fields.iter().find(|name| samples.iter().all(|sample| fits(&sample.value[**name]))).copied()
        };
        let time_field = everywhere(&TIME_FIELDS, &|value| kind(&[value]) == Ok(Kind::DateTime));
        let version_field = everywhere(&VERSION_FIELDS, &|value| value.as_i64() == Some(1));
        let mut model = Model {
            topic: topic.to_owned(),
            table: Names::default().column(topic.rsplit('.').next().unwrap_or(topic)),
            entity,
            type_field,
            time_field,
            version_field,
            key,
            columns: Vec::new(),
            types: event_types(samples, type_field),
            left_out: Vec::new(),
        };
        model.find_columns(samples, &mut names, &mut types);
        Ok(model)
    }

    /// The type of an event.
    pub fn type_of<'a>(&self, event: &'a Json) -> &'a str {
        type_of(event, self.type_field)
    }

    fn find_columns(&mut self, samples: &[&Sample], names: &mut Names, types: &mut Names) {
        let deletes: BTreeSet<&str> =
            self.types.iter().filter(|it| it.deletes).map(|it| it.name.as_str()).collect();
        let makes: Vec<(&str, &Json)> = samples
            .iter()
            .map(|sample| (type_of(&sample.value, self.type_field), &sample.value))
            .filter(|(name, _)| !deletes.contains(name))
            .collect();
        let events = || makes.iter().map(|(_, event)| *event);
        let passed = [self.type_field, self.version_field];
        for at in paths(events()) {
            if at == self.key.path || (at.len() == 1 && passed.contains(&Some(at[0].as_str()))) {
                continue;
            }
            let shown = at.join(".");
            if self.columns.len() == COLUMNS_MAX {
                self.left_out.push((shown, format!("{COLUMNS_MAX} columns are proposed at most")));
                continue;
            }
            let mut dropped = Vec::new();
            match self.column(&makes, at, names, types, &mut dropped) {
                Ok(column) => {
                    self.columns.push(column);
                    self.left_out.extend(dropped);
                }
                Err(reason) => self.left_out.push((shown, reason)),
            }
        }
    }

    fn column(
        &self,
        makes: &[(&str, &Json)],
        at: Vec<String>,
        names: &mut Names,
        types: &mut Names,
        dropped: &mut Vec<(String, String)>,
    ) -> Result<Column, String> {
        for depth in 1..at.len() {
            let parents = makes.iter().map(|(_, event)| event.pointer(&pointer(&at[..depth])));
            if parents.flatten().any(|parent| !parent.is_object()) {
                return Err(format!("{} is not an object in every event", at[..depth].join(".")));
            }
        }
        let found = find(makes.iter().map(|(_, event)| *event), &at);
        let kind = kind(&found.values)?;
        let name = at.join(" ");
        let holds = match kind {
            Kind::Object => return Err("it is an object without fields, or too deep".to_owned()),
            Kind::List => self.list(&at, &found.values, types, dropped)?,
            Kind::Text => match words(&found.values) {
                Some(words) => Holds::Enum { name: types.of_type(&format!("{} {name}", self.entity)), words },
                None => Holds::One(kind),
            },
            kind => Holds::One(kind),
        };
        let mut set_by: BTreeSet<String> = BTreeSet::new();
        for (type_name, event) in makes {
            if event.pointer(&pointer(&at)).is_some() {
                set_by.insert((*type_name).to_owned());
            }
        }
        if !matches!(holds, Holds::One(_) | Holds::Enum { .. }) {
            let lacks = |(name, event): &(&str, &Json)| {
                set_by.contains(*name) && !event.pointer(&pointer(&at)).is_some_and(Json::is_array)
            };
            if let Some((lacking, _)) = makes.iter().find(|make| lacks(make)) {
                return Err(format!("{lacking} has this list in some events only"));
            }
        }
        Ok(Column { name: names.column(&name), path: at, holds, is_required: found.is_required, set_by })
    }

    fn list(
        &self,
        at: &[String],
        lists: &[&Json],
        types: &mut Names,
        dropped: &mut Vec<(String, String)>,
    ) -> Result<Holds, String> {
        let lists: Vec<&Vec<Json>> = lists.iter().filter_map(|list| list.as_array()).collect();
        let items: Vec<&Json> = lists.iter().flat_map(|list| list.iter()).collect();
        if items.iter().any(|item| item.is_null()) {
            return Err("it has null elements".to_owned());
        }
        let longest = lists.iter().map(|list| list.len()).max().unwrap_or(0);
        let max = (longest * 2).next_multiple_of(100).min(100_000);
        match kind(&items)? {
            Kind::List => Err("it is a list of lists".to_owned()),
            Kind::Object => {
                let parts = parts(&items, &at.join("."), dropped);
                if parts.is_empty() {
                    return Err("no field of its elements has one type".to_owned());
                }
                let by = unique(&lists, &parts);
                Ok(Holds::Records {
                    name: types.of_type(&format!("{} {}", self.entity, at.join(" "))),
                    parts,
                    by,
                    max,
                })
            }
            kind => Ok(Holds::Many { kind, max }),
        }
    }
}

/// The fields that every element of a list has as a scalar of one kind; the others are dropped, with the reason.
fn parts(items: &[&Json], list: &str, dropped: &mut Vec<(String, String)>) -> Vec<Column> {
    let mut names = Names::default();
    let mut parts = Vec::new();
    for at in paths(items.iter().copied()) {
        let found = find(items.iter().copied(), &at);
        let reason = match kind(&found.values) {
            Ok(kind) if kind.is_scalar() && found.is_required && at.len() == 1 => {
                let (name, holds) = (names.column(&at[0]), Holds::One(kind));
                parts.push(Column { name, path: at, holds, is_required: true, set_by: BTreeSet::new() });
                continue;
            }
            Ok(kind) if kind.is_scalar() && at.len() == 1 => "not every element has it".to_owned(),
            Ok(_) => "it lies deeper than the element's own fields".to_owned(),
            Err(reason) => reason,
        };
        dropped.push((format!("{list}[].{}", at.join(".")), reason));
    }
    parts
}

/// The field that tells a list's elements apart: named like a key, and different in all elements of each list.
fn unique(lists: &[&Vec<Json>], parts: &[Column]) -> Option<String> {
    if lists.iter().all(|list| list.len() < 2) {
        return None;
    }
    let tells_apart = |part: &&Column| {
        let is_key = matches!(part.holds, Holds::One(Kind::Text | Kind::Int));
        let texts = |list: &Vec<Json>| -> BTreeSet<String> {
            list.iter().map(|item| item[&part.path[0]].to_string()).collect()
        };
        is_key && is_key_name(&part.path[0]) && lists.iter().all(|list| texts(list).len() == list.len())
    };
    parts.iter().find(tells_apart).map(|part| part.name.clone())
}

fn is_key_name(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    ["id", "key", "sku", "code", "number", "uuid"].iter().any(|word| lower.ends_with(word))
}

fn event_types(samples: &[&Sample], type_field: Option<&str>) -> Vec<EventType> {
    let mut types: Vec<EventType> = Vec::new();
    for sample in samples {
        let name = type_of(&sample.value, type_field);
        if !types.iter().any(|known| known.name == name) {
            let deletes = type_field.is_some()
                && ["Deleted", "_deleted", ".deleted", "_DELETED"].iter().any(|end| name.ends_with(end));
            types.push(EventType { name: name.to_owned(), deletes });
        }
    }
    // Something must make rows.
    if types.iter().all(|it| it.deletes) {
        types.iter_mut().for_each(|it| it.deletes = false);
    }
    types
}

fn type_of<'a>(event: &'a Json, type_field: Option<&str>) -> &'a str {
    type_field.and_then(|field| event[field].as_str()).unwrap_or("Record")
}

/// The field that tells rows apart: what the records' keys are, where they have any.
fn key_column(
    samples: &[&Sample],
    type_field: Option<&str>,
    wanted: Option<&str>,
    names: &mut Names,
) -> Result<Column, String> {
    let values = || samples.iter().map(|sample| &sample.value);
    let mut candidates: Vec<(Vec<String>, Kind)> = Vec::new();
    for at in paths(values()) {
        let found = find(values(), &at);
        let kind = kind(&found.values).map(|kind| if kind.scalar() == "Int" { kind } else { Kind::Text });
        let is_kind = found.values.iter().all(|value| value.is_string()) || kind == Ok(Kind::Int);
        let is_empty = found.values.iter().any(|value| value.as_str() == Some(""));
        if let Ok(kind) = kind
            && found.is_required
            && is_kind
            && !is_empty
            && type_field.is_none_or(|field| at != [field])
        {
            candidates.push((at, kind));
        }
    }
    let is_record_key = |at: &[String]| {
        samples.iter().all(|sample| {
            let found = sample.value.pointer(&pointer(at)).map(text_of);
            sample.key.is_none() || sample.key == found
        })
    };
    let fitting: Vec<&(Vec<String>, Kind)> = candidates.iter().filter(|(at, _)| is_record_key(at)).collect();
    let chosen = match wanted {
        Some(wanted) => fitting.iter().find(|(at, _)| at.join(".") == wanted),
        None if samples.iter().any(|sample| sample.key.is_some()) => fitting.first(),
        None => {
            let named = |name: &str| fitting.iter().find(|(at, _)| at.len() == 1 && at[0] == name);
            named("id")
                .or_else(|| fitting.iter().find(|(at, _)| at.last().is_some_and(|name| is_key_name(name))))
        }
    };
    let Some((at, kind)) = chosen else {
        let all: Vec<String> = candidates.iter().map(|(at, _)| at.join(".")).collect();
        let there =
            if all.is_empty() { "none is".to_owned() } else { format!("these are: {}", all.join(", ")) };
        return Err(match wanted {
            Some(wanted) => format!(
                "`{wanted}` cannot be the key: it must be a text or a whole number of 32 bits in every event, and equal to the record's key; in every event {there}"
            ),
            None => format!(
                "no field can be seen to be the key: it must be in every event and equal to the record's key; in every event {there}; --key FIELD names one"
            ),
        });
    };
    let name = names.column(&at.join(" "));
    Ok(Column {
        name,
        path: at.clone(),
        holds: Holds::One(*kind),
        is_required: true,
        set_by: BTreeSet::new(),
    })
}

/// A path as JSON Pointer.
pub fn pointer(path: &[String]) -> String {
    path.iter().map(|part| format!("/{}", part.replace('~', "~0").replace('/', "~1"))).collect()
}

/// A value as a record's key.
pub fn text_of(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

impl Column {
    /// The expression that it is made from, below a name.
    pub fn expression(&self, root: &str) -> String {
        path(root, &self.path)
    }

    /// Its type in the schema, without `!`.
    pub fn type_name(&self) -> String {
        match &self.holds {
            Holds::One(kind) => kind.scalar().to_owned(),
            Holds::Enum { name, .. } => name.clone(),
            Holds::Many { kind, .. } => format!("[{}!]", kind.scalar()),
            Holds::Records { name, .. } => format!("[{name}!]"),
        }
    }

    /// Whether its value in a row is, byte for byte, what the event has.
    pub fn is_plain(&self) -> bool {
        matches!(
            &self.holds,
            Holds::One(shape::Kind::Text | shape::Kind::Int | shape::Kind::Bool) | Holds::Enum { .. }
        )
    }
}
