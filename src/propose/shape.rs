//! What events have in common: which field is their type, and for each path how often it is there and what it holds.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::Sample;

/// Fields that usually name an event's type, the likeliest first.
const TYPE_FIELDS: [&str; 8] = ["type", "eventType", "event_type", "@type", "_type", "kind", "event", "name"];

/// Deepest object whose fields become columns.
const DEPTH_MAX: usize = 6;

/// What a value is stored as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Bool,
    Int,
    Long,
    Decimal,
    Float,
    DateTime,
    /// A text of digits with a point: an exact number.
    DecimalText,
    Text,
    Object,
    List,
}

/// What stands at one path of the events of one sample.
#[derive(Clone, Debug, Default)]
pub struct Found<'a> {
    pub values: Vec<&'a Json>,
    /// Whether it is there and not null in every event.
    pub is_required: bool,
}

/// The field that names the type in every event.
pub fn type_field(samples: &[&Sample]) -> Option<&'static str> {
    let everywhere = |name: &&&str| {
        samples.iter().all(|sample| sample.value[**name].as_str().is_some_and(|text| !text.is_empty()))
    };
    TYPE_FIELDS.iter().find(everywhere).copied()
}

/// Every path of the objects whose values are no objects, or objects that are too deep; in the order of the events.
pub fn paths<'a>(objects: impl Iterator<Item = &'a Json>) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    for object in objects {
        walk(object, &mut Vec::new(), &mut paths);
    }
    let mut seen = BTreeSet::new();
    paths.retain(|path| seen.insert(path.clone()));
    paths
}

fn walk(value: &Json, at: &mut Vec<String>, paths: &mut Vec<Vec<String>>) {
    match value {
        Json::Object(fields) if at.len() < DEPTH_MAX && (at.is_empty() || !fields.is_empty()) => {
            for (name, value) in fields {
                at.push(name.clone());
                walk(value, at, paths);
                at.pop();
            }
        }
        _ => paths.push(at.clone()),
    }
}

/// What stands at a path.
pub fn find<'a>(objects: impl Iterator<Item = &'a Json>, path: &[String]) -> Found<'a> {
    let mut found = Found { values: Vec::new(), is_required: true };
    for object in objects {
        match path.iter().try_fold(object, |value, name| value.get(name)) {
            Some(Json::Null) | None => found.is_required = false,
            Some(value) => found.values.push(value),
        }
    }
    found
}

/// The one kind that holds all values; or the kinds that there are, for a person.
pub fn kind(values: &[&Json]) -> Result<Kind, String> {
    let kinds: BTreeSet<Kind> = values.iter().map(|value| kind_of(value)).collect();
    let is_among = |allowed: &[Kind]| kinds.iter().all(|kind| allowed.contains(kind));
    let mut one = kinds.iter();
    match (one.next(), one.next()) {
        (None, _) => Err("it is null, or empty, in every event".to_owned()),
        (Some(kind), None) => Ok(*kind),
        _ if is_among(&[Kind::Int, Kind::Long]) => Ok(Kind::Long),
        _ if is_among(&[Kind::Int, Kind::Long, Kind::Decimal]) => Ok(Kind::Decimal),
        _ if is_among(&[Kind::Int, Kind::Long, Kind::Decimal, Kind::Float]) => Ok(Kind::Float),
        _ if is_among(&[Kind::Text, Kind::DateTime, Kind::DecimalText]) => Ok(Kind::Text),
        _ => {
            let names: BTreeSet<&str> = kinds.iter().map(|kind| kind.name()).collect();
            Err(format!("it is {}", names.into_iter().collect::<Vec<_>>().join(" and ")))
        }
    }
}

fn kind_of(value: &Json) -> Kind {
    match value {
        Json::Bool(_) => Kind::Bool,
        Json::Number(number) => match number.as_i64() {
            Some(whole) if i32::try_from(whole).is_ok() => Kind::Int,
            Some(_) => Kind::Long,
            None if number.to_string().contains(['e', 'E']) || number.is_u64() => Kind::Float,
            None => Kind::Decimal,
        },
        Json::String(text) if is_time(text) => Kind::DateTime,
        Json::String(text) if is_decimal(text) => Kind::DecimalText,
        Json::Object(_) => Kind::Object,
        Json::Array(_) => Kind::List,
        Json::String(_) | Json::Null => Kind::Text,
    }
}

/// `2026-01-01T10:00:00.000Z`, or with an offset; at most milliseconds, which is what is stored.
fn is_time(text: &str) -> bool {
    let fraction =
        text.split_once('.').map_or(0, |(_, rest)| rest.chars().take_while(char::is_ascii_digit).count());
    text.as_bytes().get(10) == Some(&b'T')
        && text.starts_with(|c: char| c.is_ascii_digit())
        && fraction <= 3
        && text.len() <= 32
        && text.parse::<jiff::Timestamp>().is_ok()
}

fn is_decimal(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.len() <= 30
        && text.strip_prefix('-').unwrap_or(text).split_once('.').is_some_and(|(a, b)| digits(a) && digits(b))
}

/// The values of an enum, where the texts look like one: few, in capitals, each seen about twice.
pub fn words(values: &[&Json]) -> Option<Vec<String>> {
    let is_word = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_uppercase())
            && text.len() <= 40
            && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
    };
    let mut words = BTreeSet::new();
    for value in values {
        words.insert(value.as_str().filter(|text| is_word(text))?.to_owned());
    }
    let is_few = words.len() <= 12 && words.len() * 2 <= values.len();
    is_few.then(|| words.into_iter().collect())
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Bool => "true or false",
            Kind::Int | Kind::Long | Kind::Decimal | Kind::Float => "a number",
            Kind::DateTime | Kind::DecimalText | Kind::Text => "a text",
            Kind::Object => "an object",
            Kind::List => "a list",
        }
    }

    /// The scalar of the schema.
    pub fn scalar(self) -> &'static str {
        match self {
            Kind::Bool => "Boolean",
            Kind::Int => "Int",
            Kind::Long => "Long",
            Kind::Decimal | Kind::DecimalText => "Decimal",
            Kind::Float => "Float",
            Kind::DateTime => "DateTime",
            Kind::Text | Kind::Object | Kind::List => "String",
        }
    }

    pub fn is_scalar(self) -> bool {
        !matches!(self, Kind::Object | Kind::List)
    }
}
