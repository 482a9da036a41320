//! What a step of an upcast does to the fields of one event.
//!
//! Comes in: a JSON object and an [`Upcast`]. Goes out: the object changed in place, or a [`Reject`] that names the field.
//! A field that is not there is no fault: producers leave out what they do not know. Numbers keep their digits.

use std::fmt;

use sonic_rs::{JsonContainerTrait, JsonValueMutTrait, JsonValueTrait};

use super::reject;
use crate::event::{Json, Reject};

/// What differs between a version and the next. Renames come first, then moves, conversions, drops, defaults.
#[derive(Clone, Debug, Default)]
pub struct Upcast {
    /// Old and new name of a field.
    pub rename: Vec<(Box<str>, Box<str>)>,
    /// Where a field stood and where it stands now.
    pub moves: Vec<(Path, Path)>,
    pub convert: Vec<(Path, Convert)>,
    pub drop: Vec<Path>,
    /// A field and the value that it gets where it is missing.
    pub default: Vec<(Path, Json)>,
}

/// Names of fields, each inside the one before: `address.city`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path(Vec<Box<str>>);

/// What becomes of a value. Null stays null.
#[derive(Clone, Debug)]
pub enum Convert {
    /// A number or truth as text.
    Text,
    /// Text with a whole number as a number.
    Int,
    /// Text with a number as a number, digits kept.
    Number,
    /// `"true"`, `"false"`, 1 and 0 as a truth.
    Boolean,
    /// One value as a list of it.
    List,
    /// Milliseconds since 1970 as a time.
    Milliseconds,
    /// Seconds since 1970 as a time.
    Seconds,
    /// Each known value, as text, and what takes its place.
    Words(Vec<(Box<str>, Json)>),
}

impl Convert {
    /// The conversions that are named by a word.
    pub const NAMED: [(&'static str, Convert); 7] = [
        ("text", Convert::Text),
        ("int", Convert::Int),
        ("number", Convert::Number),
        ("boolean", Convert::Boolean),
        ("list", Convert::List),
        ("milliseconds", Convert::Milliseconds),
        ("seconds", Convert::Seconds),
    ];
}

/// A plain value from JSON text.
///
/// # Errors
/// Text that is not JSON, with the reason.
pub fn plain(json: &str) -> Result<Json, String> {
    sonic_rs::from_str(json).map_err(|error| error.to_string())
}

/// A copy of an object without some fields, and with one more.
pub fn copy(body: &Json, without: &[Box<str>], with: Option<(&str, &Json)>) -> Json {
    let mut object = sonic_rs::Object::new();
    for (name, value) in body.as_object().into_iter().flatten() {
        if !without.iter().any(|dropped| **dropped == *name) {
            object.insert(name, value.clone());
        }
    }
    if let Some((name, value)) = with {
        object.insert(name, value.clone());
    }
    object.into()
}

impl Upcast {
    pub(super) fn apply(&self, type_name: &str, body: &mut Json) -> Result<(), Reject> {
        let both = |old: &dyn fmt::Display, new: &dyn fmt::Display| {
            reject(format!("{type_name} has both `{old}` and `{new}`, which is its new name"))
        };
        for (old, new) in &self.rename {
            let Some(object) = body.as_object_mut() else { return Ok(()) };
            let Some(value) = object.remove(old) else { continue };
            if object.contains_key(new) {
                return Err(both(old, new));
            }
            object.insert(new, value);
        }
        for (old, new) in &self.moves {
            let Some(value) = old.take(body) else { continue };
            match new.put(body, value) {
                Ok(true) => {}
                Ok(false) => return Err(both(old, new)),
                Err(blocked) => {
                    return Err(reject(format!(
                        "`{old}` of {type_name} cannot move to `{new}`: `{blocked}` is no object"
                    )));
                }
            }
        }
        for (path, convert) in &self.convert {
            let Some(value) = path.find_mut(body) else { continue };
            if let Some(new) = convert.apply(value).map_err(|expected| {
                reject(format!("`{path}` of {type_name} is {}, expected {expected}", shown(value)))
            })? {
                *value = new;
            }
        }
        for path in &self.drop {
            path.take(body);
        }
        for (path, value) in &self.default {
            // What stands in the way is no fault: then there is no place for a default.
            let _ = path.put(body, value.clone());
        }
        Ok(())
    }
}

impl Path {
    /// Reads `a.b.c`; `None` where a name is empty.
    pub fn parse(text: &str) -> Option<Path> {
        let names: Vec<Box<str>> = text.split('.').map(Box::from).collect();
        names.iter().all(|name| !name.is_empty()).then_some(Path(names))
    }

    /// Whether one of the two lies in the other.
    pub fn overlaps(&self, other: &Path) -> bool {
        self.0.iter().zip(&other.0).all(|(a, b)| a == b)
    }

    fn find<'j>(&self, body: &'j Json) -> Option<&'j Json> {
        self.0.iter().try_fold(body, |inside, name| inside.as_object()?.get(name))
    }

    fn find_mut<'j>(&self, body: &'j mut Json) -> Option<&'j mut Json> {
        self.0.iter().try_fold(body, |inside, name| inside.as_object_mut()?.get_mut(name))
    }

    /// The elements of the list that stands there; none where it is missing or null. What it is where it is no list.
    pub(super) fn list<'j>(&self, body: &'j Json) -> Result<&'j [Json], String> {
        match self.find(body) {
            None => Ok(&[]),
            Some(found) if found.is_null() => Ok(&[]),
            Some(found) => found.as_array().map(|list| list.as_slice()).ok_or_else(|| shown(found)),
        }
    }

    fn take(&self, body: &mut Json) -> Option<Json> {
        let (last, before) = self.0.split_last()?;
        let inside = before.iter().try_fold(body, |inside, name| inside.as_object_mut()?.get_mut(name))?;
        inside.as_object_mut()?.remove(last)
    }

    /// Puts a value where nothing stands, and makes the objects on the way. `Ok(false)`: something stands there; `Err`: the
    /// name on the way that holds no object.
    fn put(&self, body: &mut Json, value: Json) -> Result<bool, &str> {
        let Some((last, before)) = self.0.split_last() else { return Ok(false) };
        let mut inside = body;
        for name in before {
            let Some(object) = inside.as_object_mut() else { return Err(name) };
            if !object.contains_key(name) {
                object.insert(name, sonic_rs::Object::new());
            }
            inside = object.get_mut(name).expect("it was there, or was just put there");
            if !inside.is_object() {
                return Err(name);
            }
        }
        let Some(object) = inside.as_object_mut() else { return Ok(false) };
        if object.contains_key(last) {
            return Ok(false);
        }
        object.insert(last, value);
        Ok(true)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("."))
    }
}

impl Convert {
    /// The new value; `None` where it stays as it is, and what was expected where it cannot be.
    fn apply(&self, value: &Json) -> Result<Option<Json>, String> {
        if value.is_null() {
            return Ok(None);
        }
        match self {
            Convert::Text if value.is_str() => Ok(None),
            Convert::Text => scalar_text(value)
                .map(|text| Some(Json::from(text.as_str())))
                .ok_or_else(|| "a string, a number, true or false".to_owned()),
            Convert::Int => number(value, |text| text.parse::<i64>().is_ok())
                .ok_or_else(|| "a whole number of 64 bits".to_owned()),
            Convert::Number => number(value, |_| true).ok_or_else(|| "a number".to_owned()),
            Convert::Boolean => boolean(value).ok_or_else(|| "true, false, 1 or 0".to_owned()),
            Convert::List if value.is_array() => Ok(None),
            Convert::List => Ok(Some([value.clone()].into_iter().collect())),
            Convert::Milliseconds => moment(value, 1).ok_or_else(|| "milliseconds since 1970".to_owned()),
            Convert::Seconds => moment(value, 1_000).ok_or_else(|| "seconds since 1970".to_owned()),
            Convert::Words(words) => {
                let text = scalar_text(value);
                let found = words.iter().find(|(word, _)| Some(&**word) == text.as_deref());
                found.map(|(_, new)| Some(new.clone())).ok_or_else(|| {
                    let known: Vec<&str> = words.iter().map(|(word, _)| &**word).collect();
                    format!("one of {}", known.join(", "))
                })
            }
        }
    }
}

/// The text of a string, a number or a truth.
fn scalar_text(value: &Json) -> Option<String> {
    match value.as_str() {
        Some(text) => Some(text.to_owned()),
        None => number_text(value).or_else(|| value.as_bool().map(|truth| truth.to_string())),
    }
}

/// A number's own digits.
fn number_text(value: &Json) -> Option<String> {
    value.is_number().then(|| match value.as_raw_number() {
        Some(raw) => raw.as_str().to_owned(),
        None => value.to_string(),
    })
}

/// A number from a number or from text, if it is one that is wanted. `Some(None)`: it is one already.
fn number(value: &Json, wanted: impl Fn(&str) -> bool) -> Option<Option<Json>> {
    if let Some(text) = number_text(value) {
        return wanted(&text).then_some(None);
    }
    let text = value.as_str()?;
    let made = plain(text).ok().filter(|made| made.is_number() && wanted(text))?;
    Some(Some(made))
}

fn boolean(value: &Json) -> Option<Option<Json>> {
    if value.is_boolean() {
        return Some(None);
    }
    match scalar_text(value)?.as_str() {
        "true" | "1" => Some(Some(Json::from(true))),
        "false" | "0" => Some(Some(Json::from(false))),
        _ => None,
    }
}

fn moment(value: &Json, factor: i64) -> Option<Option<Json>> {
    let count: i64 = scalar_text(value)?.parse().ok()?;
    let moment = jiff::Timestamp::from_millisecond(count.checked_mul(factor)?).ok()?;
    Some(Some(Json::from(moment.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string().as_str())))
}

/// A value as a reason shows it: cut where it is long.
fn shown(value: &Json) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
