//! What a projection does with one event type, as texts: for people and tools.
//!
//! Comes in: a bound [`Projection`]. Goes out: [`Explained`]. Decides nothing; how it looks is `cli`'s.

use serde::Serialize;

use super::{Case, Condition, Handling, Make, Projection, RecordMake, Repeat, Step, Verb};
use crate::expr::Compiled;
use crate::schema::{ColumnId, ColumnType};

/// What becomes of an event type.
#[derive(Clone, Debug, Serialize)]
pub struct Explained {
    pub projection: String,
    pub entity: String,
    pub topic: String,
    /// `None`: a handler written in Rust, which knows its own types.
    pub event: Option<String>,
    /// Whether it is known and concerns no row.
    pub ignored: bool,
    /// The oldest version that is known, and the newest, to which all are brought.
    pub versions: (i64, i64),
    /// Which row an event concerns.
    pub key: Vec<Assigned>,
    /// Where a row remembers the ids of its events, and how many; by topic.
    pub remember: Vec<ExplainedRemember>,
    /// The order in which a row takes events; by topic.
    pub sequence: Vec<ExplainedSequence>,
    /// What the record's key must be.
    pub record_key: Option<String>,
    /// The condition of the whole projection.
    pub when: Option<String>,
    pub lets: Vec<Assigned>,
    /// The first whose condition holds is applied.
    pub cases: Vec<ExplainedCase>,
    /// Columns made from the new row.
    pub compute: Vec<Assigned>,
    /// What must hold of every row afterwards.
    pub asserts: Vec<Assigned>,
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
    /// What an event does that finds no row, where the verb needs one: `park` its key, or `ignore`.
    pub missing: Option<&'static str>,
    /// What is assigned first where the row is made.
    pub initially: Vec<Assigned>,
    pub columns: Vec<Assigned>,
}

/// Where a row remembers the ids of its events.
#[derive(Clone, Debug, Serialize)]
pub struct ExplainedRemember {
    pub topic: String,
    pub column: String,
    pub id: String,
    /// How many of the last.
    pub last: Option<u32>,
}

/// The numbers of a row's events.
#[derive(Clone, Debug, Serialize)]
pub struct ExplainedSequence {
    pub topic: String,
    pub column: String,
    pub number: String,
    /// The number of a row's first event; `None`: any.
    pub first: Option<i64>,
    /// What an event does that leaves numbers out: `park` its key, or `accept`.
    pub gap: &'static str,
    /// What an event does whose number the row has passed: `ignore`, or `park` its key.
    pub repeat: &'static str,
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
    let mut names: Vec<&str> = declared.events.keys().chain(&declared.ignored).map(|name| &**name).collect();
    names.sort_unstable();
    names
}

/// What a projection does with an event type, which [`event_types`] names; `None` for a handler written in Rust.
pub fn explain(projection: &Projection, event: Option<&str>) -> Explained {
    let column = |id: ColumnId| projection.shape.column(id).name.clone();
    let mut explained = Explained {
        projection: projection.name.to_string(),
        entity: projection.entity_name.to_string(),
        topic: projection.topics().map(|topic| &**topic).collect::<Vec<_>>().join(", "),
        event: event.map(str::to_owned),
        ignored: event.is_some_and(|event| projection.ignores(event)),
        versions: (1, 1),
        key: projection.keys.iter().flatten().map(|(id, value)| assigned(column(*id), value)).collect(),
        remember: remember(projection),
        sequence: sequence(projection),
        record_key: projection.sources[0].record_key.as_ref().map(|key| key.text.to_string()),
        when: None,
        lets: Vec::new(),
        cases: Vec::new(),
        compute: projection.compute.iter().map(|it| assigned(column(it.column), &it.value)).collect(),
        asserts: projection.asserts.iter().map(|it| assigned(it.name.to_string(), &it.holds)).collect(),
        kind: projection.kind.name(),
        how: projection.kind.how(),
        why: projection.kind_reason.clone(),
    };
    if let (Handling::Declared(declared), Some(event)) = (&projection.handling, event)
        && let Some(found) = declared.events.get(event)
    {
        explained.versions = projection.upcasts.versions(event);
        if let Some(rows) = &found.rows {
            let each = rows.each.iter().map(|list| assigned("each".to_owned(), list));
            let keys = rows.keys.iter().flatten().map(|(id, value)| assigned(column(*id), value));
            explained.key = each.chain(keys).collect();
        }
        explained.when = declared.when.as_ref().map(condition);
        explained.lets = found.lets.iter().map(|(name, value)| assigned(name.clone(), value)).collect();
        explained.cases = found.cases.iter().map(|case| explain_case(projection, case)).collect();
    }
    explained
}

fn remember(projection: &Projection) -> Vec<ExplainedRemember> {
    let known = projection.sources.iter().filter_map(|from| Some((from, from.remember.as_ref()?)));
    let explained = known.map(|(from, remember)| {
        let column = projection.shape.column(remember.column);
        ExplainedRemember {
            topic: from.topic.to_string(),
            column: column.name.clone(),
            id: remember.id.text.to_string(),
            last: column.max,
        }
    });
    explained.collect()
}

fn sequence(projection: &Projection) -> Vec<ExplainedSequence> {
    let known = projection.sources.iter().filter_map(|from| Some((from, from.sequence.as_ref()?)));
    let explained = known.map(|(from, sequence)| ExplainedSequence {
        topic: from.topic.to_string(),
        column: projection.shape.column(sequence.column).name.clone(),
        number: sequence.number.text.to_string(),
        first: sequence.first,
        gap: if sequence.accepts_gaps { "accept" } else { "park" },
        repeat: match sequence.repeat {
            Repeat::Ignore => "ignore",
            Repeat::Park => "park",
        },
    });
    explained.collect()
}

fn explain_case(projection: &Projection, case: &Case) -> ExplainedCase {
    let columns = |steps: &[Step]| steps.iter().flat_map(|step| explain_step(projection, step)).collect();
    let needs_row = matches!(case.verb, Verb::Update | Verb::Delete | Verb::Remove);
    ExplainedCase {
        when: case.when.as_ref().map(condition),
        verb: case.verb.name(),
        missing: needs_row.then_some(if case.parks_missing { "park" } else { "ignore" }),
        initially: columns(&case.initially.steps),
        columns: columns(&case.steps),
    }
}

fn explain_step(projection: &Projection, step: &Step) -> Vec<Assigned> {
    let name = |id: &ColumnId| projection.shape.column(*id).name.as_str();
    match step {
        Step::Set { column, make, once } => {
            let only = if *once { " (once)" } else { "" };
            explain_make(projection, format!("{}{only}", name(column)), make)
        }
        Step::Merge { column, key, made, .. } => {
            explain_record(projection, &format!("{}[{}]", name(column), key.text), made)
        }
        Step::Touch { column, key, record, parts, make } => {
            let mut at = name(column).to_owned();
            if let Some(key) = key {
                at.push_str(&format!("[{}]", key.text));
            }
            let mut within = Some(*record);
            for id in parts {
                let columns = within.and_then(|record| projection.shape.records.get(&record));
                let Some(part) = columns.and_then(|columns| columns.get(id.0 as usize)) else { break };
                at.push_str(&format!(".{}", part.name));
                within = match part.ty {
                    ColumnType::Record(inner) => Some(inner),
                    _ => None,
                };
            }
            explain_make(projection, at, make)
        }
        Step::Remove { column, key } => vec![goes(name(column), &key.text)],
        Step::Without { column, element } => vec![goes(name(column), &element.text)],
    }
}

fn explain_make(projection: &Projection, at: String, make: &Make) -> Vec<Assigned> {
    match make {
        Make::Value(value) => vec![assigned(at, value)],
        Make::Record(made) => explain_record(projection, &at, made),
        Make::Each(each) => {
            let at = format!("{at}[]");
            let list = Assigned { name: at.clone(), value: Some(format!("each of {}", each.list.text)) };
            std::iter::once(list).chain(explain_record(projection, &at, &each.made)).collect()
        }
        Make::Append { element, keep } => {
            let keep = keep.map(|keep| format!(", of which the last {keep} stay")).unwrap_or_default();
            explain_make(projection, format!("{at}[one more{keep}]"), element)
        }
        Make::Add(value) => vec![assigned(format!("{at}[one more]"), value)],
        Make::AddAll(value) => vec![assigned(format!("{at}[all of]"), value)],
    }
}

fn explain_record(projection: &Projection, at: &str, made: &RecordMake) -> Vec<Assigned> {
    let part = |id: &ColumnId| {
        let columns = projection.shape.records.get(&made.record);
        columns.and_then(|columns| columns.get(id.0 as usize)).map_or("", |column| column.name.as_str())
    };
    let parts = made.parts.iter();
    parts.flat_map(|(id, make)| explain_make(projection, format!("{at}.{}", part(id)), make)).collect()
}

fn goes(column: &str, key: &str) -> Assigned {
    Assigned { name: format!("{column}[{key}]"), value: None }
}

fn assigned(name: String, value: &Compiled) -> Assigned {
    Assigned { name, value: Some(value.text.to_string()) }
}

fn condition(condition: &Condition) -> String {
    condition.holds.text.to_string()
}
