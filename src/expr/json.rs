//! Reads JSON values of events: numbers from their text, so that decimals stay exact.
//!
//! Comes in: a JSON value. Goes out: what it holds, `None` where it holds something else. Knows nothing of types
//! of columns.

use sonic_rs::{JsonContainerTrait, JsonType, JsonValueTrait};

use crate::event::Json;
use crate::value::Decimal;

/// Arrays and objects inside each other that are still compared.
const DEPTH_MAX: usize = 64;

pub(super) fn is_null(json: &Json) -> bool {
    json.is_null()
}

pub(super) fn bool(json: &Json) -> Option<bool> {
    json.as_bool()
}

pub(super) fn text(json: &Json) -> Option<&str> {
    json.as_str()
}

pub(super) fn array(json: &Json) -> Option<&[Json]> {
    json.as_array().map(|array| &**array)
}

pub(super) fn is_object(json: &Json) -> bool {
    json.is_object()
}

/// A field of an object; `None` where this is no object.
pub(super) fn field_of_object<'j>(json: &'j Json, name: &str) -> Option<Option<&'j Json>> {
    json.as_object().map(|object| object.get(&name))
}

/// A field of an object; `None` also where this is no object.
pub(super) fn field<'j>(json: &'j Json, name: &str) -> Option<&'j Json> {
    json.as_object()?.get(&name)
}

/// The fields of an object, in their order.
pub(super) fn fields(json: &Json) -> Option<impl Iterator<Item = (&str, &Json)>> {
    Some(json.as_object()?.iter())
}

/// The exact number, where this is a number that fits a decimal.
pub(super) fn number(json: &Json) -> Option<Decimal> {
    Decimal::parse(&number_text(json)?).ok()
}

/// The exact number, where this is a number or text that holds one.
pub(super) fn decimal(json: &Json) -> Option<Decimal> {
    match json.as_str() {
        Some(text) => Decimal::parse(text).ok(),
        None => number(json),
    }
}

/// The integer, where this is a number without a fraction that fits 64 bits: `3`, `3.0`, `3e0`.
pub(super) fn integer(json: &Json) -> Option<i64> {
    let text = number_text(json)?;
    match text.parse() {
        Ok(number) => Some(number),
        Err(_) => Decimal::parse(&text).ok()?.to_i64(),
    }
}

/// The nearest double, where this is a number that has one.
pub(super) fn float(json: &Json) -> Option<f64> {
    number_text(json)?.parse().ok().filter(|number: &f64| number.is_finite())
}

/// A number's text, as the producer wrote it.
pub(super) fn number_text(json: &Json) -> Option<NumberText> {
    if json.get_type() != JsonType::Number {
        return None;
    }
    if let Some(raw) = json.as_raw_number() {
        return Some(NumberText::Raw(raw));
    }
    // Numbers that upcasting made were never text.
    let text = match (json.as_i64(), json.as_u64()) {
        (Some(number), _) => number.to_string(),
        (None, Some(number)) => number.to_string(),
        (None, None) => json.as_f64()?.to_string(),
    };
    Some(NumberText::Made(text))
}

/// The text of a number.
pub(super) enum NumberText {
    Raw(sonic_rs::RawNumber),
    Made(String),
}

impl std::ops::Deref for NumberText {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            NumberText::Raw(raw) => raw.as_str(),
            NumberText::Made(text) => text,
        }
    }
}

/// Elements of an array, and every so many bytes of a text.
pub(super) fn size(json: &Json, bytes: usize) -> usize {
    match json.get_type() {
        JsonType::Array => json.as_array().map_or(0, |array| array.len()),
        JsonType::String => json.as_str().map_or(0, str::len) / bytes,
        _ => 0,
    }
}

/// The value as messages show it.
pub(super) fn shown(json: &Json) -> String {
    match json.get_type() {
        JsonType::Object => "an object".to_owned(),
        JsonType::Array => "a list".to_owned(),
        JsonType::String => format!("{:?}", json.as_str().unwrap_or_default()),
        JsonType::Number => number_text(json).map(|text| text.to_owned()).unwrap_or_default(),
        JsonType::Boolean => json.is_true().to_string(),
        JsonType::Null => "null".to_owned(),
    }
}

/// Whether two JSON values are the same: numbers by number, objects whatever the order of their fields.
pub(super) fn equal(left: &Json, right: &Json) -> bool {
    equal_to_depth(left, right, DEPTH_MAX)
}

fn equal_to_depth(left: &Json, right: &Json, depth: usize) -> bool {
    if depth == 0 || left.get_type() != right.get_type() {
        return false;
    }
    if let (Some(left), Some(right)) = (array(left), array(right)) {
        return left.len() == right.len()
            && left.iter().zip(right).all(|(left, right)| equal_to_depth(left, right, depth - 1));
    }
    if let (Some(left), Some(right)) = (left.as_object(), right.as_object()) {
        return left.len() == right.len()
            && left.iter().all(|(name, left)| {
                right.get(&name).is_some_and(|right| equal_to_depth(left, right, depth - 1))
            });
    }
    if let (Some(left), Some(right)) = (number_text(left), number_text(right)) {
        return match (Decimal::parse(&left), Decimal::parse(&right)) {
            (Ok(left), Ok(right)) => left.cmp_number(right).is_eq(),
            _ => *left == *right,
        };
    }
    left.as_str() == right.as_str() && left.as_bool() == right.as_bool()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Json {
        sonic_rs::from_str(text).expect("the test writes JSON")
    }

    #[test]
    fn numbers_are_read_from_their_text() {
        let value = json("[1.10, 0.1234567890123456789012345678901234567, 9007199254740993, 3.0, 1e2, 1.5]");
        let numbers = array(&value).unwrap();
        assert_eq!(decimal(&numbers[0]).unwrap().to_string(), "1.10");
        assert_eq!(decimal(&numbers[1]).unwrap().to_string(), "0.1234567890123456789012345678901234567");
        assert_eq!(integer(&numbers[2]), Some(9_007_199_254_740_993));
        assert_eq!(integer(&numbers[3]), Some(3));
        assert_eq!(integer(&numbers[4]), Some(100));
        assert_eq!(integer(&numbers[5]), None);
        assert_eq!(number(&json("\"1.5\"")), None);
        assert_eq!(integer(&sonic_rs::json!(7)), Some(7));
        assert_eq!(decimal(&sonic_rs::json!(0.5)).unwrap().to_string(), "0.5");
    }

    #[test]
    fn equality_is_by_number_and_not_by_order_of_fields() {
        assert!(equal(&json(r#"{"a":1,"b":[1.0,"x",null]}"#), &json(r#"{"b":[1,"x",null],"a":1.00}"#)));
        assert!(!equal(&json(r#"{"a":1}"#), &json(r#"{"a":"1"}"#)));
        assert!(!equal(&json("[1]"), &json("[1,1]")));
        assert!(!equal(&json("true"), &json("false")));
    }
}
