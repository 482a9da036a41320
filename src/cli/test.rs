//! `kinora test`: the author's cases, each run in several ways.

use crate::cli::{Context, Exit, counted};
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
        text.push_str("\n  ");
        text.push_str(difference);
    }
    text
}
