//! `kinora check`: every fault of definitions and settings at once; with `--explain`, what was planned.

use crate::cli::{Context, Exit, counted};
use crate::diagnostic;
use crate::engine::{self, Definitions};
use crate::plan::explain::{self, Update};

/// Arguments of `check`.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Prints tables, their CQL, update kinds, and for each read its table, partition, order, reads and cost.
    #[arg(long)]
    explain: bool,
}

pub fn run(context: &Context, arguments: &Arguments) -> Exit {
    let loaded = match engine::load_with(&context.project, &Default::default(), &context.settings.lint) {
        Ok(loaded) => loaded,
        Err(error) => {
            context.output.error(&error.to_string());
            return Exit::Invalid;
        }
    };
    let explained = loaded.definitions.as_deref().filter(|_| arguments.explain);
    if context.output.json {
        let mut found = diagnostic::to_json(&loaded.findings, &loaded.sources);
        if let Some(definitions) = explained {
            found = serde_json::json!({
                "findings": found,
                "explain": explain::explain_json(&definitions.model, &definitions.plan, &updates(definitions)),
            });
        }
        context.output.value(&found, |_| String::new());
    } else {
        context.output.findings(&loaded.findings, &loaded.sources);
        if let Some(definitions) = explained {
            let text = explain::explain(&definitions.model, &definitions.plan, &updates(definitions));
            context.output.line(text.trim_end());
        } else if let Some(definitions) = &loaded.definitions {
            context.output.line(&summary(definitions));
        }
    }
    match loaded.definitions {
        Some(_) => Exit::Done,
        None => Exit::Invalid,
    }
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
