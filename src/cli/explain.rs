//! `kinora explain`: how one read is answered, or what one event does.

use serde_json::{Value, json};

use crate::cli::{Context, Exit};
use crate::diagnostic::nearest;
use crate::engine::Definitions;
use crate::handler::explain::{
    Assigned, Explained, ExplainedRemember, ExplainedSequence, event_types, explain,
};
use crate::plan::explain::{explain_read, explain_read_json, read_name};

/// Arguments of `explain`.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// A read, such as `Query.order`; a projection, such as `orders`; or an event of one, such as `orders.OrderPlaced`.
    name: String,
}

pub fn run(context: &Context, arguments: &Arguments) -> Exit {
    let definitions = match context.definitions() {
        Ok(definitions) => definitions,
        Err(exit) => return exit,
    };
    let found = events(&definitions, &arguments.name).or_else(|| reads(&definitions, &arguments.name));
    let Some((text, value)) = found else {
        let names = names(&definitions);
        let advice = match nearest(&arguments.name, names.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known: {}", names.join(", ")),
        };
        let name = &arguments.name;
        context.output.error(&format!("`{name}` is no read, projection or event of a projection; {advice}"));
        return Exit::Usage;
    };
    context.output.value(&value, |_| text);
    Exit::Done
}

/// The read of that name.
fn reads(definitions: &Definitions, name: &str) -> Option<(String, Value)> {
    let (model, plan) = (&definitions.model, &definitions.plan);
    let read = plan.reads.iter().find(|read| read_name(model, read) == name)?;
    Some((explain_read(model, plan, read), explain_read_json(model, plan, read)))
}

/// The events of the projection of that name, or the one that it names.
fn events(definitions: &Definitions, name: &str) -> Option<(String, Value)> {
    for projection in &definitions.projections {
        let types = event_types(projection);
        let chosen: Vec<Option<&str>> = match name.strip_prefix(&*projection.name) {
            Some("") if types.is_empty() => vec![None],
            Some("") => types.into_iter().map(Some).collect(),
            Some(rest) => match rest.strip_prefix('.') {
                Some(event) if types.contains(&event) => vec![Some(event)],
                _ => continue,
            },
            None => continue,
        };
        let explained: Vec<Explained> = chosen.into_iter().map(|event| explain(projection, event)).collect();
        let texts: Vec<String> = explained.iter().map(event_text).collect();
        return Some((texts.join("\n"), json!({ "events": explained })));
    }
    None
}

/// Everything that can be explained.
fn names(definitions: &Definitions) -> Vec<String> {
    let mut names: Vec<String> =
        definitions.plan.reads.iter().map(|read| read_name(&definitions.model, read)).collect();
    for projection in &definitions.projections {
        names.push(projection.name.to_string());
        names.extend(event_types(projection).iter().map(|event| format!("{}.{event}", projection.name)));
    }
    names
}

fn event_text(explained: &Explained) -> String {
    let Explained { projection, topic, entity, kind, how, why, .. } = explained;
    let event = explained.event.as_ref().map(|event| format!(".{event}")).unwrap_or_default();
    let mut text = format!("{projection}{event}: {topic} -> {entity}\n");
    let mut line = |name: &str, value: &str| text.push_str(&format!("  {name:<11} {value}\n"));
    let list = |all: &[Assigned]| all.iter().map(assignment).collect::<Vec<String>>();
    if explained.event.is_none() {
        line("handler", "written in Rust; it knows its own event types");
    } else {
        let (oldest, newest) = explained.versions;
        let versions: Vec<String> = (oldest..=newest).map(|version| version.to_string()).collect();
        line("versions", &versions.join(" -> "));
    }
    if explained.ignored {
        line("ignored", "it is known, and concerns no row");
        return text;
    }
    line("row", &list(&explained.key).join(", "));
    line("record key", explained.record_key.as_deref().unwrap_or("any"));
    for it in &explained.remember {
        line("remember", &remembered(it));
    }
    for it in &explained.sequence {
        line("sequence", &sequenced(it));
    }
    if let Some(when) = &explained.when {
        line("when", when);
    }
    for it in list(&explained.lets) {
        line("let", &it);
    }
    for (number, case) in (1..).zip(&explained.cases) {
        let when = case.when.as_ref().map(|when| format!(" when {when}")).unwrap_or_default();
        line(&format!("case {number}"), &format!("{}{when}", case.verb));
        if case.missing == Some("park") {
            line("", "  no row: its key is parked");
        }
        for it in list(&case.initially) {
            line("", &format!("  {it} (initially)"));
        }
        for it in list(&case.columns) {
            line("", &format!("  {it}"));
        }
    }
    for it in list(&explained.compute) {
        line("compute", &it);
    }
    for it in &explained.asserts {
        line("assert", &format!("{}: {}", it.name, it.value.as_deref().unwrap_or_default()));
    }
    line("kind", &format!("{kind}: {how}"));
    line("why", why);
    text
}

fn remembered(remember: &ExplainedRemember) -> String {
    let ExplainedRemember { topic, column, id, last } = remember;
    let last = last.map(|last| format!("the last {last} of ")).unwrap_or_default();
    format!("{column} = {last}{id} ({topic}); an event whose id stands there changes nothing")
}

fn sequenced(sequence: &ExplainedSequence) -> String {
    let ExplainedSequence { topic, column, number, first, gap, repeat } = sequence;
    let first = first.map_or("any".to_owned(), |first| first.to_string());
    format!("{column} = {number} ({topic}); first {first}, gap: {gap}, repeat: {repeat}")
}

fn assignment(assigned: &Assigned) -> String {
    match &assigned.value {
        Some(value) => format!("{} = {value}", assigned.name),
        None => format!("{} goes", assigned.name),
    }
}
