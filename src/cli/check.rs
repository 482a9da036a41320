//! `kinora check`: every fault of definitions and settings at once; with `--explain`, what was planned; with `--fix`,
//! mended where findings say how.

use crate::cli::{Context, Exit, counted};
use crate::diagnostic::{self, Severity};
use crate::engine::mend::{self, Mended};
use crate::engine::{self, Definitions, Loaded};
use crate::plan::explain::{self, Update};

/// Arguments of `check`.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Prints tables, their CQL, update kinds, and for each read its table, partition, order, reads and cost.
    #[arg(long, conflicts_with = "fix")]
    explain: bool,
    /// Mends in the files what findings say how to mend, and prints what it changed.
    #[arg(long)]
    fix: bool,
    /// Ends with 1 where there are warnings and no errors.
    #[arg(long)]
    deny_warnings: bool,
}

pub fn run(context: &Context, arguments: &Arguments) -> Exit {
    let loaded = match engine::load_with(&context.project, &Default::default(), &context.settings.lint) {
        Ok(loaded) => loaded,
        Err(error) => {
            context.output.error(&error.to_string());
            return Exit::Invalid;
        }
    };
    let (loaded, changed) = match arguments.fix {
        false => (loaded, None),
        true => match fix(context, loaded) {
            Ok((loaded, changed)) => (loaded, Some(changed)),
            Err(exit) => return exit,
        },
    };
    show(context, arguments, &loaded, changed.as_deref());
    let has_warning = loaded.findings.iter().any(|finding| finding.severity == Severity::Warning);
    match loaded.definitions {
        None => Exit::Invalid,
        Some(_) if arguments.deny_warnings && has_warning => Exit::Findings,
        Some(_) => Exit::Done,
    }
}

/// Mends the files, and says what was changed in them.
fn fix(context: &Context, loaded: Loaded) -> Result<(Loaded, Vec<Mended>), Exit> {
    let (loaded, changed, count) = mend::mend(loaded, &Default::default(), &context.settings.lint);
    if let Err(error) = mend::write(&context.project, &changed) {
        context.output.error(&error.to_string());
        return Err(Exit::Unreachable);
    }
    if !context.output.json && context.output.sarif.is_none() {
        for file in &changed {
            let difference = diagnostic::difference(&file.old, &file.new);
            context.output.line(&format!(
                "{}\n{}",
                context.output.paint(&file.path, "1"),
                difference.trim_end()
            ));
        }
        let files = counted(changed.len() as u64, "file");
        context.output.line(&format!("{} mended in {files}", counted(count as u64, "finding")));
    }
    Ok((loaded, changed))
}

fn show(context: &Context, arguments: &Arguments, loaded: &Loaded, changed: Option<&[Mended]>) {
    let output = &context.output;
    let explained = loaded.definitions.as_deref().filter(|_| arguments.explain);
    if output.json {
        let found = diagnostic::to_json(&loaded.findings, &loaded.sources);
        let whole = match (explained, changed) {
            (None, None) => found,
            (Some(definitions), _) => serde_json::json!({
                "findings": found,
                "explain": explain::explain_json(&definitions.model, &definitions.plan, &updates(definitions)),
            }),
            (None, Some(changed)) => serde_json::json!({
                "findings": found,
                "changed": changed.iter().map(changed_json).collect::<Vec<_>>(),
            }),
        };
        output.value(&whole, |_| String::new());
        return;
    }
    output.findings(&loaded.findings, &loaded.sources);
    if output.sarif.is_some() {
        return;
    }
    if let Some(definitions) = explained {
        let text = explain::explain(&definitions.model, &definitions.plan, &updates(definitions));
        output.line(text.trim_end());
    } else if let Some(definitions) = &loaded.definitions {
        output.line(&summary(definitions));
    }
}

fn changed_json(file: &Mended) -> serde_json::Value {
    serde_json::json!({ "file": file.path, "difference": diagnostic::difference(&file.old, &file.new) })
}

/// How each projection writes its rows, and why so.
fn updates(definitions: &Definitions) -> Vec<Update> {
    let update = |projection: &std::sync::Arc<crate::handler::Projection>| Update {
        projection: projection.name.to_string(),
        topic: projection.from.topic.to_string(),
        entity: projection.entity_name.to_string(),
        kind: projection.kind.name(),
        how: projection.kind.how(),
        why: projection.kind_reason.clone(),
    };
    definitions.projections.iter().map(update).collect()
}

fn summary(definitions: &Definitions) -> String {
    let plan = &definitions.plan;
    let counts = [
        (plan.entities.len(), "read model"),
        (plan.tables.len(), "table"),
        (plan.reads.len(), "read"),
        (definitions.projections.len(), "projection"),
    ];
    let counts: Vec<String> = counts.iter().map(|(number, thing)| counted(*number as u64, thing)).collect();
    format!("ok: {}", counts.join(", "))
}
