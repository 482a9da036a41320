//! `kinora check`: every fault of definitions and settings at once; with `--explain`, what was planned; with `--fix`,
//! mended where findings say how.

use std::path::PathBuf;

use crate::cli::data;
use crate::cli::{Context, Exit, Failed, counted, unreachable};
use crate::diagnostic::{self, Severity};
use crate::engine::mend::{self, Mended};
use crate::engine::{self, Definitions, Loaded};
use crate::lint::{self, Sample};
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
    /// Folds at most so many events of the log for each projection, and holds what it measures against the rules and
    /// against `rows` and `rate`.
    #[arg(long, value_name = "EVENTS", num_args = 0..=1, default_missing_value = "100000",
          value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    sample: Option<u64>,
    /// Directory of the log that is sampled [default: `dev.data`, which is `.kinora` in the project].
    #[arg(long, value_name = "DIR", requires = "sample")]
    data: Option<PathBuf>,
    /// SDL of another subgraph: finds what the two define both, and cannot (L31). May be given several times.
    #[arg(long, value_name = "FILE")]
    subgraph: Vec<PathBuf>,
    /// A project directory with the definitions that are deployed: finds keys and cursors that a change takes from those
    /// who hold them (L23).
    #[arg(long, value_name = "DIR")]
    deployed: Option<PathBuf>,
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
    let (loaded, sample) = match sample(context, arguments, loaded) {
        Ok(sampled) => sampled,
        Err((exit, message)) => {
            context.output.error(&message);
            return exit;
        }
    };
    let loaded = match compare(context, arguments, loaded) {
        Ok(compared) => compared,
        Err((exit, message)) => {
            context.output.error(&message);
            return exit;
        }
    };
    show(context, arguments, &loaded, changed.as_deref(), sample.as_ref());
    let has = |severity| loaded.findings.iter().any(|finding| finding.severity == severity);
    match loaded.definitions {
        None => Exit::Invalid,
        Some(_) if has(Severity::Error) => Exit::Invalid,
        Some(_) if arguments.deny_warnings && has(Severity::Warning) => Exit::Findings,
        Some(_) => Exit::Done,
    }
}

/// Measures the log, where that is asked for and the definitions can run; the findings are added.
fn sample(
    context: &Context,
    arguments: &Arguments,
    mut loaded: Loaded,
) -> Result<(Loaded, Option<Sample>), Failed> {
    let (Some(events_max), Some(definitions)) = (arguments.sample, &loaded.definitions) else {
        return Ok((loaded, None));
    };
    let data = context.data_dir(arguments.data.as_ref());
    if !data.join("log").is_dir() {
        let message = format!("there is no log in {}; --data names the directory of one", data.display());
        return Err((Exit::Unreachable, message));
    }
    let (_lock, log) = data::log_to_read(&data)?;
    let runtime = context.runtime().map_err(|exit| (exit, "nothing was sampled".to_owned()))?;
    let bar = match context.output.bars() {
        true => indicatif::ProgressBar::new_spinner(),
        false => indicatif::ProgressBar::hidden(),
    };
    let told = |events| {
        bar.set_position(events);
        bar.set_message(counted(events, "event"));
    };
    let sampled = runtime.block_on(engine::sample::sample(definitions, &log, events_max, told));
    bar.finish_and_clear();
    let sampled = sampled.map_err(unreachable)?;
    let Definitions { model, plan, .. } = &**definitions;
    loaded.findings.extend(lint::lint_sample(model, plan, &sampled, &context.settings.lint));
    Ok((loaded, Some(sampled)))
}

/// Holds the definitions against other subgraphs and against what is deployed; the findings are added.
fn compare(context: &Context, arguments: &Arguments, mut loaded: Loaded) -> Result<Loaded, Failed> {
    let Some(definitions) = loaded.definitions.clone() else { return Ok(loaded) };
    let severities = &context.settings.lint;
    for path in &arguments.subgraph {
        let text = std::fs::read_to_string(path)
            .map_err(|error| (Exit::Usage, format!("--subgraph {}: {error}", path.display())))?;
        let file = loaded.sources.add(path.display().to_string(), text);
        match lint::lint_subgraph(&definitions.model, file, &loaded.sources, severities) {
            Ok(found) | Err(found) => loaded.findings.extend(found),
        }
    }
    if let Some(dir) = &arguments.deployed {
        let deployed = engine::load(dir, &Default::default())
            .map_err(|error| (Exit::Usage, format!("--deployed {}", error)))?;
        let Some(deployed) = deployed.definitions else {
            let dir = dir.display();
            let message = format!("the definitions in {dir} have errors: see `kinora check --project {dir}`");
            return Err((Exit::Invalid, message));
        };
        loaded.findings.extend(lint::lint_deployed(definitions.keyed(), deployed.keyed(), severities));
    }
    Ok(loaded)
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

fn show(
    context: &Context,
    arguments: &Arguments,
    loaded: &Loaded,
    changed: Option<&[Mended]>,
    sample: Option<&Sample>,
) {
    let output = &context.output;
    let explained = loaded.definitions.as_deref().filter(|_| arguments.explain);
    if output.json {
        let found = diagnostic::to_json(&loaded.findings, &loaded.sources);
        if explained.is_none() && changed.is_none() && sample.is_none() {
            return output.value(&found, |_| String::new());
        }
        let mut whole = serde_json::json!({ "findings": found });
        if let Some(definitions) = explained {
            whole["explain"] =
                explain::explain_json(&definitions.model, &definitions.plan, &updates(definitions));
        }
        if let Some(changed) = changed {
            whole["changed"] = changed.iter().map(changed_json).collect();
        }
        if let Some(sample) = sample {
            whole["sample"] = serde_json::to_value(sample).expect("a sample has JSON");
        }
        return output.value(&whole, |_| String::new());
    }
    output.findings(&loaded.findings, &loaded.sources);
    if output.sarif.is_some() {
        return;
    }
    if let Some(sample) = sample {
        output.line(sample_text(sample).trim_end());
    }
    if let Some(definitions) = explained {
        let text = explain::explain(&definitions.model, &definitions.plan, &updates(definitions));
        output.line(text.trim_end());
    } else if let Some(definitions) = &loaded.definitions {
        output.line(&summary(definitions));
    }
}

/// What was measured, one line for each topic and table.
fn sample_text(sample: &Sample) -> String {
    let mut text = format!("sample: {} of {}", counted(sample.events, "event"), sample.of);
    if sample.rejected > 0 {
        text.push_str(&format!("; {} could not be applied and were left out", sample.rejected));
    }
    text.push('\n');
    for (topic, types) in &sample.types {
        let types: Vec<String> = types.iter().map(|(name, count)| format!("{name} {count}")).collect();
        text.push_str(&format!("  {topic}: {}\n", types.join(", ")));
    }
    for table in &sample.tables {
        text.push_str(&format!(
            "  {}: {} in {}; the largest has {} and {} bytes, the hottest took {} in a second\n",
            table.name,
            counted(table.rows, "row"),
            counted(table.partitions, "partition"),
            counted(table.rows_max, "row"),
            table.bytes_max,
            counted(table.rate_max, "write"),
        ));
    }
    text
}

fn changed_json(file: &Mended) -> serde_json::Value {
    serde_json::json!({ "file": file.path, "difference": diagnostic::difference(&file.old, &file.new) })
}

/// How each projection writes its rows, and why so.
fn updates(definitions: &Definitions) -> Vec<Update> {
    let update = |projection: &std::sync::Arc<crate::handler::Projection>| Update {
        projection: projection.name.to_string(),
        topic: projection.topics().map(|topic| &**topic).collect::<Vec<_>>().join(", "),
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
