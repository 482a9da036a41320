//! `kinora plan` and `kinora apply`: what a cluster needs for these definitions, and making it.
//!
//! Comes in: definitions and the settings of `[cassandra]`. Goes out: statements, the generation that they make, and, of
//! `apply`, the manifest with it. Nothing else changes a schema.

use std::sync::Arc;

use serde::Serialize;

use crate::cli::{Context, Exit, Failed, counted};
use crate::engine::Definitions;
use crate::store::cassandra::CassandraStore;
use crate::store::{Generation, Manifest, Store, StoreError};

/// What is to be run, or was.
#[derive(Serialize)]
struct Changes {
    generation: u32,
    /// The generation that answers; none before the first.
    active: Option<u32>,
    definitions: String,
    statements: Vec<String>,
    /// Whether the statements were run.
    applied: bool,
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
    let mut active = manifest.as_ref().map(|manifest| manifest.active);
    if makes && manifest.as_ref().is_none_or(|manifest| manifest.generation(generation).is_none()) {
        let new = with(manifest.as_ref(), generation, &definitions.hash);
        if !store.set_manifest(manifest.as_ref(), &new).await.map_err(failed)? {
            let text = "another process has changed the generations meanwhile; run it again";
            return Err((Exit::Unreachable, text.to_owned()));
        }
        active = Some(new.active);
    }
    let definitions = definitions.hash.clone();
    Ok(Changes { generation, active, definitions, statements, applied: makes })
}

/// The manifest with one more generation: the first answers, a later one does not yet.
fn with(manifest: Option<&Manifest>, number: u32, definitions: &str) -> Manifest {
    let generation = Generation { number, definitions: definitions.to_owned(), starts: Vec::new() };
    match manifest {
        None => Manifest { active: number, generations: vec![generation] },
        Some(manifest) => {
            let mut new = manifest.clone();
            new.generations.push(generation);
            new
        }
    }
}

fn failed(error: StoreError) -> Failed {
    let exit = if matches!(error, StoreError::Corrupt(_)) { Exit::Halted } else { Exit::Unreachable };
    (exit, error.to_string())
}

fn shown(changes: &Changes) -> String {
    let Changes { generation, active, statements, applied, .. } = changes;
    let count = counted(statements.len() as u64, "statement");
    let end = match (statements.is_empty(), applied) {
        (true, _) => format!("-- generation {generation} has all that these definitions need"),
        (false, true) => format!("-- generation {generation}: {count} run"),
        (false, false) => format!("-- generation {generation}: {count} to run; `kinora apply` runs them"),
    };
    let answers = match active {
        Some(active) if active != generation => format!("; generation {active} answers"),
        _ => String::new(),
    };
    statements.iter().map(|statement| format!("{statement}\n")).collect::<String>() + &end + &answers
}
