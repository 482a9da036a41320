//! `kinora dev`: everything in one process.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cli::data::{self, DataLock, Holder};
use crate::cli::open_files;
use crate::cli::server;
use crate::cli::signals::Signals;
use crate::cli::{Context, Exit, Failed, counted, link, unreachable};
use crate::clock::now_ms;
use crate::config::{self, Flag, Settings};
use crate::diagnostic::{self, Diagnostic, Severity};
use crate::engine::watch::DefinitionWatch;
use crate::engine::{
    self, AnswerSettings, Embedded, EmbeddedSettings, EngineError, Loaded, LoopSettings, Status,
};
use crate::observe::{self, Sending};
use crate::project::ProjectSettings;
use crate::sample::{self, SampleEvent};
use crate::serve::{Endpoint, Examples, Options, Server, Token};
use crate::source::NewRecord;
use crate::source::Source;
use crate::source::broker::BrokerSettings;
use crate::store;

/// Arguments of `dev`.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Directory of log and store [default: `dev.data`, which is `.kinora` in the project].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    #[command(flatten)]
    server: server::ServerArguments,
    /// Leaves an empty log empty.
    #[arg(long)]
    no_sample: bool,
}

impl Arguments {
    /// The settings that these arguments override.
    pub fn flags(&self) -> Vec<Flag> {
        self.server.flags("serve.listen")
    }
}

pub fn run(context: &Context, arguments: Arguments) -> Exit {
    let runtime = match context.runtime() {
        Ok(runtime) => runtime,
        Err(exit) => return exit,
    };
    let _telemetry = begin_telling(context);
    let data = context.data_dir(arguments.data.as_ref());
    let lock = match data::take(&data) {
        Ok(Holder::Us(lock)) => lock,
        Ok(Holder::Running(endpoint)) => {
            let address = link(endpoint.address);
            context.output.error(&format!(
                "{} is in use by a `kinora dev` at {address}; --data takes another directory",
                data.display()
            ));
            return Exit::Unreachable;
        }
        Err(error) => {
            context.output.error(&error.to_string());
            return Exit::Unreachable;
        }
    };
    let ended = runtime.block_on(serve(context, &arguments, &data, lock));
    Endpoint::remove(&data);
    runtime.shutdown_timeout(LOOPS_DRAIN_MIN);
    match ended {
        Ok(()) => Exit::Done,
        Err((exit, message)) => {
            context.output.error(&message);
            exit
        }
    }
}

/// Logs to standard error, as `KINORA_LOG` and the settings say, and sends traces where they do. What it answers is held to
/// the end of the process.
pub fn begin_telling(context: &Context) -> Option<Sending> {
    let Settings { log, telemetry, .. } = &context.settings;
    let filter = std::env::var("KINORA_LOG").ok();
    let (sending, begun) = observe::begin(filter.as_deref(), log.format, telemetry.sending().as_ref());
    if let Err(reason) = begun {
        context.output.error(&reason);
    }
    sending
}

async fn serve(context: &Context, arguments: &Arguments, data: &Path, _lock: DataLock) -> Result<(), Failed> {
    let settings = &context.settings;
    let mut signals =
        Signals::listen().map_err(|error| unreachable(format!("signals cannot be listened to: {error}")))?;
    let (mut serve_settings, mut store_settings) = (settings.serve.clone(), store_settings(settings));
    let mut log_settings = BrokerSettings::default();
    let users = (&mut serve_settings, &mut store_settings, &mut log_settings);
    let lowered = open_files::share(open_files::files_max(), users);
    if let Some(lowered) = lowered.map_err(unreachable)? {
        tracing::warn!(reason = lowered, "Bounds are lowered to the files that may be open.");
    }
    let broker = Arc::new(data::open_log_with(data, log_settings)?);
    let store = data::open_store_with(data, store_settings)?;
    data::check_log(data, &broker, &store)?;
    let secret = cursor_secret(data).map_err(|error| {
        unreachable(format!("{} cannot be made or read: {error}", data.join("cursor.key").display()))
    })?;
    let engine = Embedded::idle(Arc::clone(&broker), Arc::new(store), engine_settings(settings, secret));
    engine.sweep_on();
    engine.watch_on();
    let sampled = settings.dev.sample.is_some() && !arguments.no_sample;
    if sampled {
        fill(&engine).await.map_err(|error| data::not_written(&error))?;
    }
    let token = Token::draw().map_err(unreachable)?;
    let options = Options {
        project: project_name(&context.project),
        token: token.clone(),
        publish: true,
        examples: examples(sampled),
    };
    let server =
        Server::bind(&serve_settings, options, Arc::clone(&engine) as _).await.map_err(unreachable)?;
    let address = server.address();
    Endpoint { address, token }.write(data).map_err(unreachable)?;

    let (stop, stopped) = tokio::sync::watch::channel(false);
    let serving = tokio::spawn(server.run(async move {
        let mut stopped = stopped;
        let _ = stopped.wait_for(|stop| *stop).await;
    }));
    greet(context, address);
    let mut watch = DefinitionWatch::begin(&context.project).map_err(|error| {
        unreachable(format!("changes in {} cannot be watched: {error}", context.project.display()))
    })?;
    let follow = async {
        loop {
            let taking = take_over(context, &engine);
            tokio::pin!(taking);
            tokio::select! {
                () = &mut taking => watch.changed().await,
                () = watch.changed() => {
                    engine.give_up_building();
                    taking.await;
                }
            }
        }
    };
    tokio::select! {
        () = follow => {}
        () = signals.next() => {}
    }
    let begun = Instant::now();
    stop.send_replace(true);
    let end = async {
        let served = serving.await;
        let left = settings.serve.drain.saturating_sub(begun.elapsed()).max(LOOPS_DRAIN_MIN);
        let halted = halted(&engine.status().await);
        (served, halted, engine.shut_down_within(left).await)
    };
    let (served, halted, hung) = tokio::select! {
        biased;
        // Whoever asks twice does not wait: what is on the disk is whole whenever the process ends.
        () = signals.next() => leave(data, AT_ONCE),
        ended = end => ended,
    };
    if !hung.is_empty() {
        let exit = match halted {
            Some(reason) => {
                context.output.error(&reason);
                Exit::Halted
            }
            None => Exit::Unreachable,
        };
        let hung = hung.join("; ");
        context.output.error(&format!("{hung}; ended all the same, nothing acknowledged is lost"));
        // Whoever waits for what hangs would hang too.
        leave(data, exit as i32);
    }
    bound_the_rest(data);
    match (served, halted) {
        (Ok(Ok(())), None) => Ok(()),
        (Ok(Ok(())), Some(reason)) => Err((Exit::Halted, reason)),
        (Ok(Err(error)), _) => Err(unreachable(error)),
        (Err(error), _) => Err((Exit::Bug, error.to_string())),
    }
}

/// What had halted when it was told to end.
fn halted(status: &Status) -> Option<String> {
    let log = status.log_halted.iter().map(|reason| format!("the log has halted: {reason}"));
    let projections = status.projections.iter().filter(|projection| projection.state.starts_with("halted"));
    let projections = projections.map(|one| format!("projection {:?} has {}", one.name, one.state));
    let all: Vec<String> = log.chain(projections).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

/// Ends the process without waiting for anything.
fn leave(data: &Path, code: i32) -> ! {
    Endpoint::remove(data);
    std::process::exit(code)
}

/// Ends the process where closing the files of log and store does not come back.
fn bound_the_rest(data: &Path) {
    let data = data.to_owned();
    // Where there is no thread for it, it is waited for.
    let _ = std::thread::Builder::new().name("end".to_owned()).spawn(move || {
        std::thread::sleep(CLOSE_MAX);
        tracing::error!(
            "Closing the store did not come back; ended all the same, nothing acknowledged is lost."
        );
        leave(&data, Exit::Unreachable as i32)
    });
}

/// How long closing files may take.
const CLOSE_MAX: Duration = Duration::from_secs(10);

/// How the process ends that was told twice: as the shells say of one that a signal ended.
pub const AT_ONCE: i32 = 130;

/// How long the write loops and the store have at least to come to an end, however long requests took.
const LOOPS_DRAIN_MIN: Duration = Duration::from_secs(2);

fn store_settings(settings: &Settings) -> store::embedded::EmbeddedSettings {
    store::embedded::EmbeddedSettings {
        cache_bytes: settings.store.cache.0,
        memtables_bytes: settings.store.memtables.0,
        ..Default::default()
    }
}

pub fn engine_settings(settings: &Settings, made_secret: Vec<u8>) -> EmbeddedSettings {
    let mut answers = answer_settings(settings);
    if answers.cursor_secrets.is_empty() {
        answers.cursor_secrets.push(made_secret);
    }
    EmbeddedSettings {
        loops: loop_settings(settings),
        answers,
        partitions: settings.topics.iter().map(|(name, topic)| (name.clone(), topic.partitions)).collect(),
        partitions_default: config::Topic::default().partitions,
    }
}

/// How requests are answered, by the settings; without a key for cursors where they have none.
pub fn answer_settings(settings: &Settings) -> AnswerSettings {
    AnswerSettings {
        limits: settings.serve.limits.operation,
        cursor_secrets: settings.serve.cursor_secrets.iter().map(|secret| secret.0.clone()).collect(),
        introspection: settings.serve.introspection,
    }
}

/// How write loops run, by the settings.
pub fn loop_settings(settings: &Settings) -> LoopSettings {
    LoopSettings {
        project: ProjectSettings {
            batch_bytes_max: settings.project.batch.len(),
            parked_keys_max: settings.parking.max_keys,
            parked_share_max: settings.parking.max_share,
            cached_bytes_max: settings.project.cache.len(),
            ..ProjectSettings::default()
        },
        budget_bytes: settings.project.budget.len(),
        cache_bytes: settings.project.cache.len(),
        stall: settings.project.stall,
    }
}

/// The key that signs cursors, made once for a data directory, so that cursors outlive a restart.
fn cursor_secret(data: &Path) -> std::io::Result<Vec<u8>> {
    let path = data.join("cursor.key");
    match std::fs::read(&path) {
        Ok(secret) if secret.len() >= 16 => return Ok(secret),
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut secret = vec![0; 32];
    getrandom::fill(&mut secret).map_err(|error| std::io::Error::other(error.to_string()))?;
    let mut options = std::fs::File::options();
    options.create(true).truncate(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    std::io::Write::write_all(&mut options.open(&path)?, &secret)?;
    Ok(secret)
}

/// Fills an empty log with the sample's events.
async fn fill(engine: &Embedded) -> Result<(), crate::source::SourceError> {
    let topics = engine.broker().topics().await?;
    if topics.iter().any(|topic| topic.partitions.iter().any(|partition| partition.end > 0)) {
        return Ok(());
    }
    let mut by_topic: std::collections::BTreeMap<&'static str, Vec<NewRecord>> = Default::default();
    for event in sample::shop(SAMPLE_SEED, SAMPLE_EVENTS, now_ms()) {
        by_topic.entry(event.topic).or_default().push(record(event));
    }
    for (topic, records) in by_topic {
        engine.publish(topic, records).await?;
    }
    Ok(())
}

fn record(event: SampleEvent) -> NewRecord {
    NewRecord {
        key: Some(event.key.into()),
        value: Some(event.value.into()),
        headers: Vec::new(),
        timestamp_ms: Some(event.timestamp_ms),
        partition: None,
    }
}

const SAMPLE_SEED: u64 = 1;
const SAMPLE_EVENTS: usize = 2_000;

fn examples(sampled: bool) -> Examples {
    if !sampled {
        return Examples::default();
    }
    Examples {
        query: Some(sample::SHOP_QUERY.to_owned()),
        topic: Some("shop.carts".to_owned()),
        line: Some(sample::SHOP_LINE.to_owned()),
    }
}

/// The name of a project: that of its directory.
pub fn project_name(project: &Path) -> String {
    let name = project.canonicalize().ok().and_then(|path| Some(path.file_name()?.to_str()?.to_owned()));
    name.unwrap_or_else(|| "kinora".to_owned())
}

fn greet(context: &Context, address: SocketAddr) {
    let output = &context.output;
    if output.json {
        return output.event(&serde_json::json!({ "listening": link(address) }));
    }
    let base = link(address);
    output.line(&format!(
        "{} {}\n  status    {base}/\n  GraphiQL  {base}/graphql\n  publish   POST {base}/topics/{{topic}}",
        output.paint("kinora", "1"),
        env!("CARGO_PKG_VERSION"),
    ));
}

/// Loads the files and lets their definitions answer; faulty ones are shown and change nothing.
async fn take_over(context: &Context, engine: &Arc<Embedded>) {
    let loaded = match engine::load_with(&context.project, &Default::default(), &context.settings.lint) {
        Ok(loaded) => loaded,
        Err(error) => return refuse(context, engine, error.to_string()),
    };
    let shown = show(context, &loaded);
    let Some(definitions) = loaded.definitions else {
        engine.set_refused(shown);
        return told_to_correct(context, engine);
    };
    let changed = engine.definitions().is_none_or(|present| present.hash != definitions.hash);
    let bar = progress_bar(context, engine);
    let taken = engine.take_over(definitions).await;
    bar.abort();
    match taken {
        Ok(()) => answers(context, &engine.status().await, changed),
        // The files have changed once more: their newest state is taken over next.
        Err(EngineError::GivenUp(_)) => {}
        Err(EngineError::Halted(halt)) => {
            let advice = "to fold the log anew, end `kinora dev` and move `store` out of its data directory";
            refuse(context, engine, format!("{halt}; {advice}"));
        }
        Err(error) => refuse(context, engine, error.to_string()),
    }
}

/// Says which generation answers now.
fn answers(context: &Context, status: &Status, changed: bool) {
    let partitions = status.projections.iter().flat_map(|projection| &projection.partitions);
    let events: u64 = partitions.map(|partition| partition.position).sum();
    let generation = status.generation;
    if context.output.json {
        return context
            .output
            .event(&serde_json::json!({ "generation": generation, "folded": events, "changed": changed }));
    }
    let line = match changed {
        true => format!("generation {generation} answers, {} folded", counted(events, "event")),
        false => format!("generation {generation} goes on: the files are its definitions"),
    };
    context.output.line(&context.output.paint(&line, "32"));
}

fn refuse(context: &Context, engine: &Embedded, reason: String) {
    context.output.error(&reason);
    engine.set_refused(vec![reason]);
    told_to_correct(context, engine);
}

/// Says what answers while the files cannot.
fn told_to_correct(context: &Context, engine: &Embedded) {
    if context.output.json {
        return;
    }
    let line = match engine.serving() {
        Some(serving) => {
            format!("generation {} goes on answering until this is corrected", serving.generation)
        }
        None => "nothing answers until this is corrected".to_owned(),
    };
    context.output.line(&context.output.paint(&line, "33"));
}

fn show(context: &Context, loaded: &Loaded) -> Vec<String> {
    // Remarks are for `check`; here they would hide what matters.
    let serious = |finding: &&Diagnostic| finding.severity != Severity::Info;
    let findings: Vec<Diagnostic> = loaded.findings.iter().filter(serious).cloned().collect();
    if !context.output.json {
        context.output.findings(&findings, &loaded.sources);
    } else if !findings.is_empty() {
        let findings = diagnostic::to_json(&findings, &loaded.sources);
        context.output.event(&serde_json::json!({ "findings": findings }));
    }
    let error = |finding: &&Diagnostic| finding.severity == Severity::Error;
    let errors: Vec<Diagnostic> = loaded.findings.iter().filter(error).cloned().collect();
    diagnostic::render_each(&errors, &loaded.sources)
}

/// A bar on standard error while a generation is built, where a person watches.
fn progress_bar(context: &Context, engine: &Arc<Embedded>) -> tokio::task::JoinHandle<()> {
    let engine = Arc::clone(engine);
    let watched = context.output.bars();
    tokio::spawn(async move {
        if !watched {
            return;
        }
        let bar = indicatif::ProgressBar::new(0);
        let style = "{msg} {bar:40} {pos}/{len} events {per_sec} {eta}";
        bar.set_style(indicatif::ProgressStyle::with_template(style).expect("the template is ours"));
        loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            if let Some(building) = engine.building() {
                bar.set_message(format!("generation {}", building.generation));
                bar.set_length(building.total);
                bar.set_position(building.done);
            }
        }
    })
}
