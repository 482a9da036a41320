//! `kinora init`: a new project that checks, tests and runs as it is, of notes or of a topic's own events. Never writes
//! over a file.
//!
//! What is proposed from events is checked and tested before it is written.

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::cli::{Exit, Failed, Output, sample};
use crate::diagnostic::Sources;
use crate::engine::{self, cases};
use crate::propose::{Files, propose};
use crate::source::broker::check_name;

/// Arguments of `init`.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Where the project is made [default: what `--project` says].
    directory: Option<PathBuf>,
    /// Proposes a read model for the events in this file: records or events, one JSON line each.
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// The topic; without --from its events are taken from the log [default: the name of the file].
    #[arg(long)]
    topic: Option<String>,
    /// Most events that are looked at.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    sample: u32,
    /// The field that tells rows apart, where the events do not: `orderId`, `order.id`.
    #[arg(long, value_name = "FIELD")]
    key: Option<String>,
    /// Directory of the log that has the topic [default: `.kinora` in the project].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// The read model of a project without events.
const NOTES: [(&str, &str); 3] = [
    ("schema/notes.graphql", include_str!("template/notes.graphql")),
    ("projections/notes.yaml", include_str!("template/notes.yaml")),
    ("projections/notes.cases.yaml", include_str!("template/notes.cases.yaml")),
];

/// What every new project has.
const SETTINGS: [(&str, &str); 2] = [
    ("kinora.toml", include_str!("template/kinora.toml")),
    (".gitignore", include_str!("template/gitignore")),
];

pub fn run(project: &Path, output: &Output, arguments: &Arguments) -> Exit {
    let directory = arguments.directory.as_deref().unwrap_or(project);
    let made = definitions(project, arguments).and_then(|files| make(directory, files));
    match made {
        Ok(names) => {
            let made = serde_json::json!({ "directory": directory.display().to_string(), "files": names });
            output.value(&made, |_| text(directory, &names));
            Exit::Done
        }
        Err((exit, reason)) => {
            output.error(&reason);
            exit
        }
    }
}

/// The definitions of the new project.
fn definitions(project: &Path, arguments: &Arguments) -> Result<Files, Failed> {
    if arguments.from.is_none() && arguments.topic.is_none() {
        if arguments.key.is_some() || arguments.data.is_some() {
            return Err((Exit::Usage, "--key and --data need --from or --topic".to_owned()));
        }
        return Ok(NOTES.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect());
    }
    let stem =
        || arguments.from.as_ref().and_then(|path| path.file_stem()).map(|stem| stem.to_string_lossy());
    let topic = arguments.topic.clone().or_else(|| stem().map(String::from)).unwrap_or_default();
    check_name(&topic).map_err(|error| (Exit::Usage, format!("{error}; --topic names it")))?;
    let most = usize::try_from(arguments.sample).unwrap_or(usize::MAX);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(super::unreachable)?;
    let samples = match &arguments.from {
        Some(path) => sample::of_file(path, most)?,
        None => {
            let data = arguments.data.clone().unwrap_or_else(|| project.join(".kinora"));
            runtime.block_on(sample::of_topic(&data, &topic, most))?
        }
    };
    let files = propose(&topic, &samples, arguments.key.as_deref())
        .map_err(|reason| (Exit::Findings, format!("{reason}; nothing was written")))?;
    match runtime.block_on(fault(&files)) {
        None => Ok(files),
        Some(fault) => Err((
            Exit::Bug,
            format!(
                "nothing was written: the proposal for these events is faulty, which is our own bug: {fault}"
            ),
        )),
    }
}

/// What is wrong with proposed files, if anything is.
async fn fault(files: &Files) -> Option<String> {
    let mut sources = Sources::default();
    let (mut schemas, mut yaml) = (Vec::new(), Vec::new());
    for (name, text) in files {
        let file = sources.add(name, text.as_str());
        if name.ends_with(".graphql") { schemas.push(file) } else { yaml.push(file) }
    }
    let loaded = engine::bind(sources, &schemas, &yaml, &Default::default());
    let Some(definitions) = loaded.definitions else {
        return Some(loaded.findings.first().map(|finding| finding.message.clone()).unwrap_or_default());
    };
    let all: Vec<_> = definitions.cases.iter().collect();
    let results = cases::run(&definitions, &loaded.sources, &all, |_| {}).await;
    let difference = results.into_iter().flat_map(|result| result.differences).next()?;
    Some(format!("{}: {}", difference.place, difference.what))
}

/// Writes the files, or none where one stands in the way; answers their names.
fn make(directory: &Path, mut files: Files) -> Result<Vec<String>, Failed> {
    files.extend(SETTINGS.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())));
    let names: Vec<String> = files.iter().map(|(name, _)| name.clone()).collect();
    let taken = taken(directory, &names);
    if !taken.is_empty() {
        return Err((
            Exit::Usage,
            format!(
                "{} already has {}, and nothing is written over; name another directory: `kinora init DIR`",
                directory.display(),
                taken.join(", ")
            ),
        ));
    }
    for (name, text) in files {
        let path = directory.join(name);
        write_new(&path, &text)
            .map_err(|error| (Exit::Unreachable, format!("{} cannot be written: {error}", path.display())))?;
    }
    Ok(names)
}

/// What is there already: the files of a new project, and definitions that these would be mixed with.
fn taken(directory: &Path, names: &[String]) -> Vec<String> {
    let is_there = |name: &&String| directory.join(name).symlink_metadata().is_ok();
    let mut taken: Vec<String> = names.iter().filter(is_there).cloned().collect();
    for folder in ["schema", "projections"] {
        let is_used =
            std::fs::read_dir(directory.join(folder)).is_ok_and(|mut entries| entries.next().is_some());
        if is_used && !taken.iter().any(|name| name.starts_with(folder)) {
            taken.push(format!("files in {folder}/"));
        }
    }
    taken
}

/// Writes a file that is not there, and the folders above it.
fn write_new(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::File::create_new(path)?.write_all(text.as_bytes())
}

fn text(directory: &Path, names: &[String]) -> String {
    let mut text = format!("made in {}:\n", directory.display());
    for name in names {
        text.push_str(&format!("  {name}\n"));
    }
    let project = match directory == Path::new(".") {
        true => String::new(),
        false => format!(" --project {}", directory.display()),
    };
    text.push_str(&format!("next: kinora test{project}, then kinora dev{project}"));
    text
}
