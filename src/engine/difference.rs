//! What is expected beside what was found, as the places where the two differ.
//!
//! Comes in: two JSON values, or expected rows and those that there are. Goes out: [`Difference`]s with a path, the
//! expected and the found value of each place, as few as say all. How they are shown is `cli`'s.

use serde::Serialize;
use serde_json::{Map, Value as Json};

/// What differs from one expectation of a case.
#[derive(Clone, Debug, Serialize)]
pub struct Difference {
    /// The way of running the case in which it does; `None`: as it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// `file:line` of the expectation; empty where none is to blame.
    pub place: String,
    /// What differs, in words.
    pub what: String,
    /// Where it does; empty where the words say all.
    pub changes: Vec<Change>,
}

/// One place where the two differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// `lines[2].quantity`; empty for the whole.
    pub path: String,
    /// `None`: nothing is expected there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<Json>,
    /// `None`: nothing is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<Json>,
}

/// Which parts of objects are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parts {
    /// Those that the expectation names; one that is not there is null.
    Named,
    All,
}

impl Difference {
    /// One that words alone say.
    pub fn said(place: impl Into<String>, what: impl Into<String>) -> Difference {
        Difference { run: None, place: place.into(), what: what.into(), changes: Vec::new() }
    }
}

/// The places where two values differ.
pub fn changes(expected: &Json, found: &Json, parts: Parts) -> Vec<Change> {
    let mut changes = Vec::new();
    compare(String::new(), expected, found, parts, &mut changes);
    changes
}

/// Each expected row must be found once, by its named columns, and no row may be left over.
pub fn rows(
    place: &str,
    type_name: &str,
    expected: &[&Map<String, Json>],
    mut found: Vec<Map<String, Json>>,
) -> Vec<Difference> {
    let difference = |what: String, changes| Difference { run: None, place: place.to_owned(), what, changes };
    let mut missing = Vec::new();
    for row in expected {
        match found.iter().position(|candidate| agreeing(row, candidate) == row.len()) {
            Some(index) => {
                found.remove(index);
            }
            None => missing.push(*row),
        }
    }
    let mut differences = Vec::new();
    for row in missing {
        let closest = found.iter().enumerate().max_by_key(|(_, candidate)| agreeing(row, candidate));
        let Some((index, _)) = closest.filter(|(_, candidate)| agreeing(row, candidate) > 0) else {
            let change = Change { path: String::new(), expected: Some(row.clone().into()), found: None };
            differences.push(difference(format!("{type_name}: a row is missing"), vec![change]));
            continue;
        };
        let closest = found.remove(index);
        let named = closest.iter().next().map(|(column, value)| format!(" {column} {value}"));
        let what = format!("{type_name}{}", named.unwrap_or_default());
        let changes = changes(&row.clone().into(), &closest.into(), Parts::Named);
        differences.push(difference(what, changes));
    }
    for row in found {
        let change = Change { path: String::new(), expected: None, found: Some(row.into()) };
        differences.push(difference(format!("{type_name}: a row is not expected"), vec![change]));
    }
    differences
}

/// How many of the expected columns a row has.
fn agreeing(expected: &Map<String, Json>, found: &Map<String, Json>) -> usize {
    let agrees = |(column, wanted): &(&String, &Json)| {
        is_same(wanted, found.get(*column).unwrap_or(&Json::Null), Parts::Named)
    };
    expected.iter().filter(agrees).count()
}

fn is_same(expected: &Json, found: &Json, parts: Parts) -> bool {
    match (expected, found) {
        (Json::Object(expected), Json::Object(found)) if parts == Parts::Named => {
            agreeing(expected, found) == expected.len()
        }
        (Json::Array(expected), Json::Array(found)) => {
            expected.len() == found.len() && expected.iter().zip(found).all(|(a, b)| is_same(a, b, parts))
        }
        _ => expected == found,
    }
}

fn compare(path: String, expected: &Json, found: &Json, parts: Parts, changes: &mut Vec<Change>) {
    match (expected, found) {
        _ if is_same(expected, found, parts) => {}
        (Json::Object(expected), Json::Object(found)) => {
            let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
            for (name, wanted) in expected {
                match found.get(name) {
                    Some(is) => compare(below(name), wanted, is, parts, changes),
                    None if parts == Parts::Named && wanted.is_null() => {}
                    None => changes.push(Change {
                        path: below(name),
                        expected: Some(wanted.clone()),
                        found: None,
                    }),
                }
            }
            for (name, is) in
                found.iter().filter(|(name, _)| parts == Parts::All && !expected.contains_key(*name))
            {
                changes.push(Change { path: below(name), expected: None, found: Some(is.clone()) });
            }
        }
        (Json::Array(expected), Json::Array(found)) => lists(&path, expected, found, parts, changes),
        _ => changes.push(Change { path, expected: Some(expected.clone()), found: Some(found.clone()) }),
    }
}

/// What lists have in common at both ends is left out, so that one element more is one change.
fn lists(path: &str, expected: &[Json], found: &[Json], parts: Parts, changes: &mut Vec<Change>) {
    let same = |(a, b): &(&Json, &Json)| is_same(a, b, parts);
    let before = expected.iter().zip(found).take_while(same).count();
    let after = expected[before..].iter().rev().zip(found[before..].iter().rev()).take_while(same).count();
    let wanted = &expected[before..expected.len() - after];
    let is = &found[before..found.len() - after];
    for index in 0..wanted.len().max(is.len()) {
        let path = format!("{path}[{}]", before + index);
        match (wanted.get(index), is.get(index)) {
            (Some(wanted), Some(is)) => compare(path, wanted, is, parts, changes),
            (wanted, is) => changes.push(Change { path, expected: wanted.cloned(), found: is.cloned() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(expected: Json, is: Json, parts: Parts) -> Vec<String> {
        let shown = |value: &Option<Json>| value.as_ref().map_or("nothing".to_owned(), Json::to_string);
        let one = |change: Change| {
            format!("{}: {} / {}", change.path, shown(&change.expected), shown(&change.found))
        };
        changes(&expected, &is, parts).into_iter().map(one).collect()
    }

    #[test]
    fn only_the_places_that_differ_are_named() {
        let same = json!({ "a": [1, { "b": null }] });
        assert!(found(same.clone(), same, Parts::All).is_empty());
        assert_eq!(
            found(json!({ "a": { "b": 1, "c": 2 }, "d": 1 }), json!({ "a": { "b": 1, "c": 3 } }), Parts::All),
            ["a.c: 2 / 3", "d: 1 / nothing"]
        );
        assert_eq!(found(json!({}), json!({ "a": 1 }), Parts::All), ["a: nothing / 1"]);
        assert!(found(json!({}), json!({ "a": 1 }), Parts::Named).is_empty());
        assert!(found(json!({ "a": null }), json!({}), Parts::Named).is_empty());
        assert_eq!(found(json!(1), json!("1"), Parts::All), [": 1 / \"1\""]);
    }

    #[test]
    fn an_element_more_or_less_is_one_change() {
        assert_eq!(found(json!([1, 2, 3]), json!([1, 3]), Parts::All), ["[1]: 2 / nothing"]);
        assert_eq!(found(json!([1, 3]), json!([1, 2, 3]), Parts::All), ["[1]: nothing / 2"]);
        assert_eq!(found(json!([1, 1]), json!([1, 1, 1]), Parts::All), ["[2]: nothing / 1"]);
        assert_eq!(found(json!([{ "a": 1 }]), json!([{ "a": 2, "b": 1 }]), Parts::Named), ["[0].a: 1 / 2"]);
    }

    #[test]
    fn every_difference_has_a_change_and_every_change_a_difference() {
        let values = [
            json!(null),
            json!(1),
            json!([]),
            json!([1]),
            json!([1, 2]),
            json!({}),
            json!({ "a": 1 }),
            json!({ "a": [1], "b": null }),
            json!({ "a": [2, 1] }),
            json!([{ "a": 1 }, { "a": 2 }]),
        ];
        for parts in [Parts::Named, Parts::All] {
            for a in &values {
                for b in &values {
                    assert_eq!(changes(a, b, parts).is_empty(), is_same(a, b, parts), "{a} {b} {parts:?}");
                }
            }
        }
    }

    #[test]
    fn a_row_is_compared_with_the_one_that_is_closest() {
        let row = |value: Json| value.as_object().expect("a row").clone();
        let (a, b) = (row(json!({ "id": "a", "n": 1 })), row(json!({ "id": "c" })));
        let there = vec![row(json!({ "id": "a", "n": 2, "m": 3 })), row(json!({ "id": "b" }))];
        let differences = rows("x:1", "T", &[&a, &b], there);
        let what: Vec<&str> = differences.iter().map(|difference| difference.what.as_str()).collect();
        assert_eq!(what, [r#"T id "a""#, "T: a row is missing", "T: a row is not expected"]);
        assert_eq!(differences[0].changes[0].path, "n");
    }
}
