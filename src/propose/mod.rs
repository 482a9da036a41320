//! Proposes a read model for a topic, from a sample of its events.
//!
//! Comes in: the topic's name and [`Sample`]s. Goes out: the files of a project that `check` and `test` pass, with a
//! `DECIDE` where only a person can know. `shape` finds what the events have in common, `columns` what is stored of it,
//! `files` writes schema, projection and cases. Reads and writes nothing itself.
//!
//! An object inside an event becomes columns of its own, a list of objects value types. What has no one type, or is
//! null where only a person knows what that means, is left out and named.

mod columns;
mod files;
mod names;
mod shape;
#[cfg(test)]
mod tests;

use serde_json::Value as Json;

/// Most event types that one sample may have: more of them, and the type is no type.
const TYPES_MAX: usize = 100;

/// A record's key and its event.
#[derive(Clone, Debug)]
pub struct Sample {
    pub key: Option<String>,
    pub value: Json,
}

/// The files of a project, as their paths and texts.
pub type Files = Vec<(String, String)>;

/// Proposes schema, projection and cases for a topic. `key` names the field that tells rows apart, where the sample
/// does not.
///
/// # Errors
/// One sentence: what the sample lacks, and what to do.
pub fn propose(topic: &str, samples: &[Sample], key: Option<&str>) -> Result<Files, String> {
    let samples: Vec<&Sample> = samples.iter().filter(|sample| sample.value.is_object()).collect();
    if samples.is_empty() {
        return Err("the sample has no event that is a JSON object; others cannot be folded".to_owned());
    }
    let type_field = shape::type_field(&samples);
    let model = columns::Model::new(topic, &samples, type_field, key)?;
    if model.types.len() > TYPES_MAX {
        return Err(format!("the sample has {} event types, {TYPES_MAX} are the most", model.types.len()));
    }
    Ok(files::files(&model, &samples))
}
