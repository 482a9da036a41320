//! The commands. Arguments come in, text and an exit code go out: only this room prints.
//!
//! One file for each command; `output` shows findings and values, `teller` finds out who is asked, `data` who holds a data
//! directory,
//! `open_files` how many files may be opened, `signals` when to end.

#[cfg(feature = "cassandra")]
mod apply;
mod check;
#[cfg(all(feature = "cassandra", feature = "kafka"))]
mod cluster;
mod completions;
mod data;
mod dev;
mod explain;
mod init;
#[cfg(feature = "cassandra")]
mod internal;
mod open_files;
mod output;
mod parked;
mod pause;
mod publish;
mod sample;
mod schema;
mod sdl;
mod server;
mod signals;
mod status;
mod teller;
mod test;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use crate::config::{self, Settings};
use output::Output;

/// Folds event streams into denormalised tables, one table per query, and serves them as a federated subgraph.
#[derive(Parser, Debug)]
#[command(name = "kinora", version, max_term_width = 110)]
struct Arguments {
    /// Directory with `schema/`, `projections/` and `kinora.toml`.
    #[arg(long, global = true, default_value = ".", value_name = "DIR")]
    project: PathBuf,
    /// How results are printed.
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Whether text is coloured.
    #[arg(long, global = true, value_enum, default_value_t = Colour::Auto)]
    color: Colour,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
    /// Findings for code hosts; of `check` alone.
    Sarif,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Colour {
    Auto,
    Always,
    Never,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Runs everything in one process: log, store, projections, graph, status page.
    Dev(dev::Arguments),
    /// Checks all definitions and settings, and reports every fault at once.
    Check(check::Arguments),
    /// Runs the cases in `projections/*.cases.yaml`.
    Test(test::Arguments),
    /// Prints the SDL that the gateway composes.
    Sdl,
    /// Appends records, one JSON line each, to a topic.
    Publish(publish::Arguments),
    /// Shows topics, projections, lag and parked keys.
    Status(status::Arguments),
    /// Shows keys that wait because an event could not be applied.
    Parked(parked::Arguments),
    /// Lets a projection fold nothing until it is resumed.
    Pause(pause::Arguments),
    /// Lets a paused projection go on.
    Resume(pause::Arguments),
    /// Prints the statements that make what these definitions need in Cassandra, and changes nothing.
    #[cfg(feature = "cassandra")]
    Plan,
    /// Makes what these definitions need in Cassandra. Nothing else changes its schema.
    #[cfg(feature = "cassandra")]
    Apply(apply::Arguments),
    /// Folds events of Kafka into Cassandra, beside other such processes.
    #[cfg(all(feature = "cassandra", feature = "kafka"))]
    Project(server::ServerArguments),
    /// Answers from Cassandra what `project` has folded.
    #[cfg(all(feature = "cassandra", feature = "kafka"))]
    Serve(server::ServerArguments),
    /// Shows how a read is answered, or what an event does.
    Explain(explain::Arguments),
    /// Makes a new project that checks, tests and runs as it is: of notes, or proposed from a topic's events.
    Init(init::Arguments),
    /// Prints what an editor needs to complete and check these files while they are written.
    Schema(schema::Arguments),
    /// Prints a script with which a shell completes commands and flags.
    Completions(completions::Arguments),
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    Done = 0,
    /// Findings or differences.
    Findings = 1,
    Usage = 2,
    /// Definitions or settings are invalid.
    Invalid = 3,
    /// A server is unreachable or refused.
    Unreachable = 4,
    /// Halted by name: data that are not what was written.
    Halted = 5,
    /// Our own bug.
    Bug = 70,
}

/// How a command failed, and the sentence that says why.
type Failed = (Exit, String);

/// Runs the program with the process's arguments.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Done }.into();
        }
    };
    let output = Output::new(arguments.format, &arguments.project, arguments.color);
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(arguments, &output)));
    outcome.unwrap_or(Exit::Bug).into()
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

fn run(arguments: Arguments, output: &Output) -> Exit {
    match &arguments.command {
        Command::Schema(schema) => return schema::run(output, schema),
        Command::Completions(completions) => return completions::run(output, completions),
        Command::Init(init) => return init::run(&arguments.project, output, init),
        _ => {}
    }
    if !arguments.project.is_dir() {
        output.error(&format!("{} is no directory; --project names one", arguments.project.display()));
        return Exit::Usage;
    }
    if output.sarif.is_some() && !matches!(arguments.command, Command::Check(_)) {
        output.error("only `check` has findings for `--format sarif`");
        return Exit::Usage;
    }
    let flags = match &arguments.command {
        Command::Dev(dev) => dev.flags(),
        #[cfg(all(feature = "cassandra", feature = "kafka"))]
        Command::Project(project) => project.flags("project.listen"),
        #[cfg(all(feature = "cassandra", feature = "kafka"))]
        Command::Serve(serve) => serve.flags("serve.listen"),
        _ => Vec::new(),
    };
    let loaded = config::load(&arguments.project, &flags);
    if !loaded.findings.is_empty() {
        output.findings(&loaded.findings, &loaded.sources);
        return Exit::Invalid;
    }
    let context = Context { project: arguments.project, settings: loaded.settings, output: output.clone() };
    match arguments.command {
        Command::Dev(dev) => dev::run(&context, dev),
        Command::Check(check) => check::run(&context, &check),
        Command::Test(test) => test::run(&context, &test),
        Command::Sdl => sdl::run(&context),
        Command::Publish(publish) => publish::run(&context, &publish),
        Command::Status(status) => status::run(&context, &status),
        Command::Parked(parked) => parked::run(&context, &parked),
        Command::Pause(pause) => pause::pause(&context, &pause),
        Command::Resume(resume) => pause::resume(&context, &resume),
        #[cfg(feature = "cassandra")]
        Command::Plan => apply::plan(&context),
        #[cfg(feature = "cassandra")]
        Command::Apply(apply) => apply::apply(&context, &apply),
        #[cfg(all(feature = "cassandra", feature = "kafka"))]
        Command::Project(_) => cluster::project(&context),
        #[cfg(all(feature = "cassandra", feature = "kafka"))]
        Command::Serve(_) => cluster::serve(&context),
        Command::Explain(explain) => explain::run(&context, &explain),
        Command::Init(_) | Command::Schema(_) | Command::Completions(_) => {
            unreachable!("these need no project and have run")
        }
    }
}

/// What every command is given.
struct Context {
    project: PathBuf,
    settings: Settings,
    output: Output,
}

impl Context {
    /// The data directory: as the flag says, else as the settings say, from the project's directory.
    fn data_dir(&self, flag: Option<&PathBuf>) -> PathBuf {
        let in_project = || match self.project.as_os_str() == "." {
            true => self.settings.dev.data.clone(),
            false => self.project.join(&self.settings.dev.data),
        };
        flag.cloned().unwrap_or_else(in_project)
    }

    /// A runtime for commands that wait for something.
    fn runtime(&self) -> Result<tokio::runtime::Runtime, Exit> {
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|error| {
            self.output.error(&format!("this machine refuses the threads that are needed: {error}"));
            Exit::Unreachable
        })
    }

    /// Loads the definitions; shows findings and ends where they cannot run.
    fn definitions(&self) -> Result<std::sync::Arc<crate::engine::Definitions>, Exit> {
        let loaded = match crate::engine::load_with(&self.project, &Default::default(), &self.settings.lint) {
            Ok(loaded) => loaded,
            Err(error) => {
                self.output.error(&error.to_string());
                return Err(Exit::Invalid);
            }
        };
        loaded.definitions.ok_or_else(|| {
            self.output.findings(&loaded.findings, &loaded.sources);
            Exit::Invalid
        })
    }
}

/// The address that a link to a server should name.
fn link(address: SocketAddr) -> String {
    format!("http://{address}")
}

/// A number of things: `1 event`, `2 events`.
fn counted(number: u64, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// A failure of what lies outside: a server, a disk, an address.
fn unreachable(error: impl ToString) -> Failed {
    (Exit::Unreachable, error.to_string())
}
