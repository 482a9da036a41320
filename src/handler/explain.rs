//! What a projection does with one event type, as texts: for people and tools.
//!
//! Comes in: a bound [`Projection`]. Goes out: [`Explained`]. Decides nothing; how it looks is `cli`'s.

use serde::Serialize;

use super::{Case, Condition, Handling, Projection, Step};
use crate::expr::Compiled;
use crate::schema::{ColumnId, TypeId};

/// What becomes of an event type.
#[derive(Clone, Debug, Serialize)]
pub struct Explained {
    pub projection: String,
    pub entity: String,
    pub topic: String,
    /// `None`: a handler written in Rust, which knows its own types.
    pub event: Option<String>,
    /// The oldest version that is known, and the newest, to which all are brought.
    pub versions: (i64, i64),
    /// Which row an event concerns.
    pub key: Vec<Assigned>,
    /// What the record's key must be.
    pub record_key: Option<String>,
    /// The condition of the whole projection.
    pub when: Option<String>,
    pub lets: Vec<Assigned>,
    /// The first whose condition holds is applied.
    pub cases: Vec<ExplainedCase>,
    /// Columns made from the new row.
    pub compute: Vec<Assigned>,
    /// The update kind, what is done for it, and why it was chosen.
    pub kind: &'static str,
    pub how: &'static str,
    pub why: String,
}

/// One case.
#[derive(Clone, Debug, Serialize)]
pub struct ExplainedCase {
    pub when: Option<String>,
    pub verb: &'static str,
    pub columns: Vec<Assigned>,
}

/// A column, or a part of one, and the expression that it is made from.
#[derive(Clone, Debug, Serialize)]
pub struct Assigned {
    pub name: String,
    /// `None`: it goes.
    pub value: Option<String>,
}

/// The event types that a projection handles, in order of their names; none for a handler written in Rust.
pub fn event_types(projection: &Projection) -> Vec<&str> {
    let Handling::Declared(declared) = &projection.handling else { return Vec::new() };
    let mut names: Vec<&str> = declared.events.keys().map(|name| &**name).collect();
    names.sort_unstable();
    names
}

/// What a projection does with an event type, which [`event_types`] names; `None` for a handler written in Rust.
pub fn explain(projection: &Projection, event: Option<&str>) -> Explained {
    let column = |id: ColumnId| projection.shape.column(id).name.clone();
    let mut explained = Explained {
        projection: projection.name.to_string(),
        entity: projection.entity_name.to_string(),
        topic: projection.from.topic.to_string(),
        event: event.map(str::to_owned),
        versions: (1, 1),
        key: projection.key.iter().map(|(id, value)| assigned(column(*id), value)).collect(),
        record_key: projection.from.record_key.as_ref().map(|key| key.text.to_string()),
        when: None,
        lets: Vec::new(),
        cases: Vec::new(),
        compute: projection.compute.iter().map(|it| assigned(column(it.column), &it.value)).collect(),
        kind: projection.kind.name(),
        how: projection.kind.how(),
        why: projection.kind_reason.clone(),
    };
    if let (Handling::Declared(declared), Some(event)) = (&projection.handling, event)
        && let Some(found) = declared.events.get(event)
    {
        let newest = projection.newest_version(event);
        explained.versions = (projection.upcasts.get(event).map_or(newest, |chain| chain.oldest()), newest);
        explained.when = declared.when.as_ref().map(condition);
        explained.lets = found.lets.iter().map(|(name, value)| assigned(name.clone(), value)).collect();
        explained.cases = found.cases.iter().map(|case| explain_case(projection, case)).collect();
    }
    explained
}

fn explain_case(projection: &Projection, case: &Case) -> ExplainedCase {
    ExplainedCase {
        when: case.when.as_ref().map(condition),
        verb: case.verb.name(),
        columns: case.steps.iter().flat_map(|step| explain_step(projection, step)).collect(),
    }
}

fn explain_step(projection: &Projection, step: &Step) -> Vec<Assigned> {
    let name = |id: &ColumnId| projection.shape.column(*id).name.as_str();
    let part = |record: &TypeId, id: &ColumnId| {
        let columns = projection.shape.records.get(record);
        columns.and_then(|columns| columns.get(id.0 as usize)).map_or("", |column| column.name.as_str())
    };
    match step {
        Step::Set { column, value } => vec![assigned(name(column).to_owned(), value)],
        Step::Each { column, list, parts, record, .. } => {
            let list = Assigned {
                name: format!("{}[]", name(column)),
                value: Some(format!("each of {}", list.text)),
            };
            let parts = parts
                .iter()
                .map(|(id, value)| assigned(format!("{}[].{}", name(column), part(record, id)), value));
            std::iter::once(list).chain(parts).collect()
        }
        Step::Merge { column, key, parts, record, .. } => {
            let at = format!("{}[{}]", name(column), key.text);
            parts.iter().map(|(id, value)| assigned(format!("{at}.{}", part(record, id)), value)).collect()
        }
        Step::Touch { column, key, part: id, value, record } => {
            vec![assigned(format!("{}[{}].{}", name(column), key.text, part(record, id)), value)]
        }
        Step::Remove { column, key } => {
            vec![Assigned { name: format!("{}[{}]", name(column), key.text), value: None }]
        }
    }
}

fn assigned(name: String, value: &Compiled) -> Assigned {
    Assigned { name, value: Some(value.text.to_string()) }
}

fn condition(condition: &Condition) -> String {
    condition.holds.text.to_string()
}
