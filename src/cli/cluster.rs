//! `kinora project` and `kinora serve`: the two halves, on Kafka and Cassandra, each in as many processes as wanted.
//!
//! Comes in: definitions and settings. Goes out: a process that folds, or one that answers, until it is told to end. Neither
//! changes a schema: `kinora apply` does.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::cli::signals::Signals;
use crate::cli::{Context, Exit, Failed, dev, link, unreachable};
use crate::config;
use crate::engine::{Definitions, EngineError, Projecting, Reading};
use crate::project::Halt;
use crate::serve::{Backend, Examples, Options, Server, Token};
use crate::source::SourceError;
use crate::source::kafka::Kafka;
use crate::source::kafka::group::{Membership, Protocol};
use crate::store::StoreError;
use crate::store::cassandra::CassandraStore;

/// How long loops have at least to come to an end.
const DRAIN_MIN: Duration = Duration::from_secs(2);

/// Folds, and shares the partitions with the other processes of the group.
pub fn project(context: &Context) -> Exit {
    run(context, fold)
}

/// Answers from the tables that others fold.
pub fn serve(context: &Context) -> Exit {
    run(context, answer)
}

fn run<'c, F: Future<Output = Result<(), Failed>>>(
    context: &'c Context,
    work: impl FnOnce(&'c Context, Arc<Definitions>) -> F,
) -> Exit {
    let _telemetry = dev::begin_telling(context);
    let (definitions, runtime) = match (context.definitions(), context.runtime()) {
        (Ok(definitions), Ok(runtime)) => (definitions, runtime),
        (Err(exit), _) | (_, Err(exit)) => return exit,
    };
    let ended = runtime.block_on(work(context, definitions));
    runtime.shutdown_timeout(DRAIN_MIN);
    match ended {
        Ok(()) => Exit::Done,
        Err((exit, message)) => {
            context.output.error(&message);
            exit
        }
    }
}

async fn fold(context: &Context, definitions: Arc<Definitions>) -> Result<(), Failed> {
    let settings = &context.settings;
    let mut signals = listen()?;
    let source = Arc::new(Kafka::open(&settings.kafka).map_err(unreachable)?);
    let store = connect(context, &definitions).await?;
    let opened = Projecting::open(definitions, store.as_ref(), source, dev::loop_settings(settings));
    let engine = opened.await.map_err(failed)?;
    let listens = config::Serve { listen: settings.project.listen, ..settings.serve.clone() };
    let server = bind(context, &listens, Arc::clone(&engine) as _).await?;
    let (stop, stopped) = watch::channel(false);
    let topics = engine.topics();
    let topics: Vec<&str> = topics.iter().map(|topic| &**topic).collect();
    let mut group = Membership::join(&settings.kafka, &topics, Protocol::Broker).map_err(unreachable)?;
    greet(context, "project", &server, &format!("group     {}", settings.kafka.group));
    let serving = tokio::spawn(server.run(told(stopped.clone())));
    let mut folding = tokio::spawn(async move { engine.run(&mut group, stopped).await });
    let ended = tokio::select! {
        ended = &mut folding => Some(ended),
        () = signals.next() => None,
    };
    stop.send_replace(true);
    let ended = match ended {
        Some(ended) => ended,
        None => tokio::select! {
            biased;
            // Whoever asks twice does not wait: nothing rests on how a process ends.
            () = signals.next() => std::process::exit(dev::AT_ONCE),
            ended = tokio::time::timeout(settings.serve.drain.max(DRAIN_MIN), folding) => ended.map_err(|_| {
                unreachable("folding did not end in time; ended all the same, what was not committed is folded again")
            })?,
        },
    };
    // It has nothing under way that anybody waits for.
    serving.abort();
    match ended {
        Ok(ended) => ended.map_err(failed),
        Err(error) => Err((Exit::Bug, error.to_string())),
    }
}

async fn answer(context: &Context, definitions: Arc<Definitions>) -> Result<(), Failed> {
    let settings = &context.settings;
    let mut signals = listen()?;
    let answers = dev::answer_settings(settings);
    if answers.cursor_secrets.is_empty() {
        let advice = "every `kinora serve` signs cursors with the same key, `openssl rand -hex 32` makes one";
        return Err((Exit::Invalid, format!("`serve.cursor_secrets` is not set: {advice}")));
    }
    let store = connect(context, &definitions).await?;
    let engine = Reading::open(definitions, store, answers).await.map_err(failed)?;
    let server = bind(context, &settings.serve, engine as _).await?;
    let (stop, stopped) = watch::channel(false);
    greet(context, "serve", &server, &format!("GraphiQL  {}/graphql", link(server.address())));
    let mut serving = tokio::spawn(server.run(told(stopped)));
    let ended = tokio::select! {
        ended = &mut serving => ended,
        () = signals.next() => {
            stop.send_replace(true);
            tokio::select! {
                biased;
                () = signals.next() => std::process::exit(dev::AT_ONCE),
                ended = serving => ended,
            }
        }
    };
    match ended {
        Ok(ended) => ended.map_err(unreachable),
        Err(error) => Err((Exit::Bug, error.to_string())),
    }
}

fn listen() -> Result<Signals, Failed> {
    Signals::listen().map_err(|error| unreachable(format!("signals cannot be listened to: {error}")))
}

/// Connects to the cluster of the settings.
pub(super) async fn connect(
    context: &Context,
    definitions: &Definitions,
) -> Result<Arc<CassandraStore>, Failed> {
    let connecting = CassandraStore::connect(&context.settings.cassandra, Arc::clone(&definitions.model));
    Ok(Arc::new(connecting.await.map_err(|error| failed(error.into()))?))
}

async fn bind(
    context: &Context,
    settings: &config::Serve,
    backend: Arc<dyn Backend>,
) -> Result<Server, Failed> {
    let options = Options {
        project: dev::project_name(&context.project),
        token: Token::draw().map_err(unreachable)?,
        publish: false,
        examples: Examples::default(),
    };
    Server::bind(settings, options, backend).await.map_err(unreachable)
}

async fn told(mut stopped: watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stop| *stop).await;
}

fn greet(context: &Context, what: &str, server: &Server, more: &str) {
    let output = &context.output;
    let base = link(server.address());
    if output.json {
        return output.event(&serde_json::json!({ "listening": base }));
    }
    let name = output.paint(&format!("kinora {what}"), "1");
    output.line(&format!("{name} {}\n  status    {base}/\n  {more}", env!("CARGO_PKG_VERSION")));
}

/// How a process ends that could not start or go on.
pub(super) fn failed(error: EngineError) -> Failed {
    let exit = match &error {
        EngineError::NothingApplied
        | EngineError::OtherDefinitions { .. }
        | EngineError::Halted(Halt::NoInternal { .. }) => Exit::Invalid,
        EngineError::Store(error) | EngineError::Halted(Halt::Store(error)) => match error {
            StoreError::Corrupt(_) | StoreError::LostOwnership { .. } => Exit::Halted,
            _ => Exit::Unreachable,
        },
        EngineError::Halted(
            Halt::NoTopic { .. } | Halt::Source(SourceError::Unavailable(_) | SourceError::Refused(_)),
        ) => Exit::Unreachable,
        EngineError::Halted(_) | EngineError::Stopped { .. } => Exit::Halted,
        _ => Exit::Unreachable,
    };
    (exit, error.to_string())
}
