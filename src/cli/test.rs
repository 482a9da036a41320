//! `kinora test`: the author's cases, each run in several ways.

use crate::cli::{Context, Exit, counted};
use crate::engine::difference::{Change, Difference};
use crate::engine::{self, cases};

/// Arguments of `test`.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Runs only cases whose name or file contains this.
    filter: Option<String>,
}

pub fn run(context: &Context, arguments: &Arguments) -> Exit {
    let runtime = match context.runtime() {
        Ok(runtime) => runtime,
        Err(exit) => return exit,
    };
    let loaded = match engine::load_with(&context.project, &Default::default(), &context.settings.lint) {
        Ok(loaded) => loaded,
        Err(error) => {
            context.output.error(&error.to_string());
            return Exit::Invalid;
        }
    };
    let Some(definitions) = loaded.definitions else {
        context.output.findings(&loaded.findings, &loaded.sources);
        return Exit::Invalid;
    };
    let chosen: Vec<_> = definitions
        .cases
        .iter()
        .filter(|case| {
            let wanted = arguments.filter.as_deref().unwrap_or("");
            case.name.contains(wanted) || loaded.sources.file(case.span.file).path.contains(wanted)
        })
        .collect();
    let results = runtime.block_on(cases::run(&definitions, &loaded.sources, &chosen, |result| {
        if !context.output.json {
            context.output.line(&line(context, result));
        }
    }));
    let failed = results.iter().filter(|result| !result.differences.is_empty()).count();
    if context.output.json {
        context.output.value(&results, |_| String::new());
    } else {
        context.output.line(&match (results.len(), definitions.cases.len()) {
            (0, 0) => "there are no cases: projections/*.cases.yaml would hold them".to_owned(),
            (0, all) => format!("none of {} has that in its name or file", counted(all as u64, "case")),
            (run, _) => format!("{} passed, {failed} failed", run - failed),
        });
    }
    if failed == 0 { Exit::Done } else { Exit::Findings }
}

fn line(context: &Context, result: &cases::CaseResult) -> String {
    let output = &context.output;
    let place = format!("{}:{}", result.file, result.line);
    if result.differences.is_empty() {
        let runs = output.paint(&format!("({} runs, {place})", result.runs), "2");
        return format!("{} {} {runs}", output.paint("ok", "32"), result.name);
    }
    let mut text =
        format!("{} {} {}", output.paint("FAILED", "31;1"), result.name, output.paint(&place, "2"));
    for difference in &result.differences {
        text.push_str(&shown(context, difference));
    }
    text
}

/// Longest value that is shown beside another.
const BESIDE_MAX: usize = 40;

/// A difference: where and what, then each place with what is expected there and what was found.
fn shown(context: &Context, difference: &Difference) -> String {
    let output = &context.output;
    let run = difference.run.as_ref().map(|run| format!("{run}: ")).unwrap_or_default();
    let place = match difference.place.is_empty() {
        true => String::new(),
        false => format!(" {}", output.paint(&difference.place, "2")),
    };
    let mut text = format!("\n  {run}{}{place}", difference.what);
    if difference.changes.is_empty() {
        return text;
    }
    let cells: Vec<[String; 3]> = difference.changes.iter().map(cells).collect();
    let width = |column: usize, head: &str| {
        let lengths = cells.iter().map(|cells| cells[column].chars().count());
        lengths.chain([head.chars().count()]).max().expect("the head is there")
    };
    let (paths, expected) = (width(0, "at"), width(1, "expected"));
    let is_narrow = expected.max(width(2, "found")) <= BESIDE_MAX;
    if is_narrow {
        let head = format!("    {:paths$}  {:expected$}  found", "at", "expected");
        text.push_str(&format!("\n{}", output.paint(&head, "2")));
    }
    for [path, wanted, found] in &cells {
        let is_found = output.paint(found, "31");
        if is_narrow {
            let wanted = output.paint(&format!("{wanted:expected$}"), "32");
            text.push_str(&format!("\n    {path:paths$}  {wanted}  {is_found}"));
        } else {
            let wanted = output.paint(wanted, "32");
            text.push_str(&format!("\n    {path}\n      expected  {wanted}\n      found     {is_found}"));
        }
    }
    text
}

/// Path, expected and found value of a change as they are shown.
fn cells(change: &Change) -> [String; 3] {
    let value = |value: &Option<serde_json::Value>| {
        value.as_ref().map_or_else(|| "nothing".to_owned(), ToString::to_string)
    };
    let path = if change.path.is_empty() { "the whole" } else { &change.path };
    [path.to_owned(), value(&change.expected), value(&change.found)]
}
