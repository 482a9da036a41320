//! `kinora plan` and `kinora apply`: what a cluster needs for these definitions, and making it.
//!
//! Comes in: definitions and the settings of `[cassandra]`. Goes out: statements, the generation that they make, and, of
//! `apply`, the manifest with it. Nothing else changes a schema.

use std::sync::Arc;

use serde::Serialize;

use crate::cli::internal::{self, NewTopic};
use crate::cli::{Context, Exit, Failed, counted, unreachable};
use crate::diagnostic::{self, Sources};
use crate::engine::{self, Definitions};
use crate::event::Start;
use crate::lint;
#[cfg(feature = "kafka")]
use crate::source::{Source as _, kafka::Kafka};
use crate::store::cassandra::CassandraStore;
use crate::store::{Began, Generation, Internal, Manifest, Store, StoreError};

/// What is to be run, or was.
#[derive(Serialize)]
struct Changes {
    generation: u32,
    /// The generation that answers; none before the first.
    active: Option<u32>,
    definitions: String,
    statements: Vec<String>,
    /// Internal topics of projections that merge partitions.
    topics: Vec<NewTopic>,
    /// Whether the statements were run, and the topics made.
    applied: bool,
    /// What is to be said of the keyspace (L30).
    findings: serde_json::Value,
}

/// Arguments of `apply`.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Makes the keyspace too where it is not there, replicated as `cassandra.replication` says.
    #[arg(long)]
    keyspace: bool,
}

/// Shows what `apply` would run.
pub fn plan(context: &Context) -> Exit {
    run(context, None)
}

/// Makes what is missing.
pub fn apply(context: &Context, arguments: &Arguments) -> Exit {
    run(context, Some(arguments))
}

fn run(context: &Context, apply: Option<&Arguments>) -> Exit {
    let (definitions, runtime) = match (context.definitions(), context.runtime()) {
        (Ok(definitions), Ok(runtime)) => (definitions, runtime),
        (Err(exit), _) | (_, Err(exit)) => return exit,
    };
    match runtime.block_on(changes(context, &definitions, apply)) {
        Ok(changes) => {
            context.output.value(&changes, shown);
            Exit::Done
        }
        Err((exit, text)) => {
            context.output.error(&text);
            exit
        }
    }
}

async fn changes(
    context: &Context,
    definitions: &Definitions,
    apply: Option<&Arguments>,
) -> Result<Changes, Failed> {
    let store = CassandraStore::connect(&context.settings.cassandra, Arc::clone(&definitions.model));
    let store = store.await.map_err(failed)?;
    let makes = apply.is_some();
    let keyspace = match apply {
        Some(Arguments { keyspace: true }) => store.make_keyspace().await.map_err(failed)?,
        _ => None,
    };
    let manifest = store.manifest().await.map_err(failed)?;
    let generation = store.generation_of(manifest.as_ref(), &definitions.hash).await.map_err(failed)?;
    let statements = match makes {
        true => store.apply(generation, &definitions.plan).await,
        false => store.pending(generation, &definitions.plan).await,
    };
    let statements = keyspace.into_iter().chain(statements.map_err(failed)?).collect();
    let topics = internal::missing(context, definitions, (manifest.as_ref(), generation));
    let mut active = manifest.as_ref().map(|manifest| manifest.active);
    let is_new = manifest.as_ref().is_none_or(|manifest| manifest.generation(generation).is_none());
    if makes && (is_new || !topics.is_empty()) {
        let starts = starts(context, definitions, manifest.as_ref()).await?;
        let internal = internal::make(context, &topics).await?;
        let new = with(manifest.as_ref(), generation, (&definitions.hash, starts, internal));
        if !store.set_manifest(manifest.as_ref(), &new).await.map_err(failed)? {
            let text = "another process has changed the generations meanwhile; run it again";
            return Err((Exit::Unreachable, text.to_owned()));
        }
        active = Some(new.active);
    }
    let findings = keyspace_findings(context, &store).await?;
    let definitions = definitions.hash.clone();
    Ok(Changes { generation, active, definitions, statements, topics, applied: makes, findings })
}

/// What is to be said of how the keyspace is replicated and synced; shown beside the statements, which can be run all the same.
async fn keyspace_findings(context: &Context, store: &CassandraStore) -> Result<serde_json::Value, Failed> {
    let Some((class, replicas)) = store.replication().await.map_err(failed)? else {
        return Ok(serde_json::json!([]));
    };
    let keyspace = &context.settings.cassandra.keyspace;
    let unsynced = store.unsynced_nodes().await;
    let found = lint::lint_keyspace(keyspace, (&class, &replicas), &unsynced, &context.settings.lint);
    let sources = Sources::default();
    if !context.output.json && !found.is_empty() {
        context.output.line(diagnostic::render(&found, &sources, false).trim_end());
    }
    Ok(diagnostic::to_json(&found, &sources))
}

/// Where projections begin that do not read the log from its start: fixed with the generation.
async fn starts(
    context: &Context,
    definitions: &Definitions,
    manifest: Option<&Manifest>,
) -> Result<Vec<Began>, Failed> {
    let mut sources = definitions.projections.iter().flat_map(|projection| &projection.sources);
    if sources.all(|from| from.start == Start::Earliest) {
        return Ok(Vec::new());
    }
    let before = manifest.and_then(|manifest| manifest.generation(manifest.active));
    let before = before.map(|generation| generation.starts.as_slice()).unwrap_or_default();
    from_kafka(context, definitions, before).await
}

#[cfg(feature = "kafka")]
async fn from_kafka(
    context: &Context,
    definitions: &Definitions,
    before: &[Began],
) -> Result<Vec<Began>, Failed> {
    let kafka = Kafka::open(&context.settings.kafka).map_err(unreachable)?;
    for from in definitions.projections.iter().flat_map(|projection| &projection.sources) {
        if from.start != Start::Earliest && kafka.topic(&from.topic).await.map_err(unreachable)?.is_none() {
            let reason = format!(
                "topic {:?} does not exist, so where `from.start` begins in it is not known; create it first",
                &*from.topic
            );
            return Err(unreachable(reason));
        }
    }
    engine::starts(definitions, &kafka, before).await.map_err(unreachable)
}

#[cfg(not(feature = "kafka"))]
async fn from_kafka(_: &Context, _: &Definitions, _: &[Began]) -> Result<Vec<Began>, Failed> {
    let reason =
        "where `from.start` begins is in Kafka, and this program was built without its feature `kafka`";
    Err((Exit::Invalid, reason.to_owned()))
}

/// The manifest with one more generation, or with more internal topics of one that is there. The first answers, a later one
/// does not yet.
fn with(
    manifest: Option<&Manifest>,
    number: u32,
    (definitions, starts, internal): (&str, Vec<Began>, Vec<Internal>),
) -> Manifest {
    let mut new = manifest.cloned().unwrap_or(Manifest { active: number, generations: Vec::new() });
    match new.generations.iter_mut().find(|generation| generation.number == number) {
        Some(generation) => generation.internal.extend(internal),
        None => {
            let definitions = definitions.to_owned();
            new.generations.push(Generation { number, definitions, starts, internal });
        }
    }
    new
}

fn failed(error: StoreError) -> Failed {
    let exit = if matches!(error, StoreError::Corrupt(_)) { Exit::Halted } else { Exit::Unreachable };
    (exit, error.to_string())
}

fn shown(changes: &Changes) -> String {
    let Changes { generation, active, statements, applied, .. } = changes;
    let topics: Vec<String> = changes.topics.iter().map(internal::shown).collect();
    let mut count = counted(statements.len() as u64, "statement");
    if !topics.is_empty() {
        count = format!("{count} and {}", counted(topics.len() as u64, "topic"));
    }
    let end = match (statements.is_empty() && topics.is_empty(), applied) {
        (true, _) => format!("-- generation {generation} has all that these definitions need"),
        (false, true) if topics.is_empty() => format!("-- generation {generation}: {count} run"),
        (false, true) => format!("-- generation {generation}: {count} made"),
        (false, false) if topics.is_empty() => {
            format!("-- generation {generation}: {count} to run; `kinora apply` runs them")
        }
        (false, false) => format!("-- generation {generation}: {count} to make; `kinora apply` makes them"),
    };
    let answers = match active {
        Some(active) if active != generation => format!("; generation {active} answers"),
        _ => String::new(),
    };
    let statements: String = statements.iter().map(|statement| format!("{statement}\n")).collect();
    statements + &topics.concat() + &end + &answers
}
