//! `kinora init`: a new project that checks, tests and runs as it is. Never writes over a file.

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::cli::{Exit, Failed, Output};

/// Arguments of `init`.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Where the project is made [default: what `--project` says].
    directory: Option<PathBuf>,
}

/// The files of a new project.
const FILES: [(&str, &str); 5] = [
    ("schema/notes.graphql", include_str!("template/notes.graphql")),
    ("projections/notes.yaml", include_str!("template/notes.yaml")),
    ("projections/notes.cases.yaml", include_str!("template/notes.cases.yaml")),
    ("kinora.toml", include_str!("template/kinora.toml")),
    (".gitignore", include_str!("template/gitignore")),
];

pub fn run(project: &Path, output: &Output, arguments: &Arguments) -> Exit {
    let directory = arguments.directory.as_deref().unwrap_or(project);
    match make(directory) {
        Ok(()) => {
            let names: Vec<&str> = FILES.iter().map(|(name, _)| *name).collect();
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

fn make(directory: &Path) -> Result<(), Failed> {
    let taken = taken(directory);
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
    for (name, text) in FILES {
        let path = directory.join(name);
        write_new(&path, text)
            .map_err(|error| (Exit::Unreachable, format!("{} cannot be written: {error}", path.display())))?;
    }
    Ok(())
}

/// What is there already: the files of a new project, and definitions that these would be mixed with.
fn taken(directory: &Path) -> Vec<String> {
    let files =
        FILES.iter().map(|(name, _)| *name).filter(|name| directory.join(name).symlink_metadata().is_ok());
    let mut taken: Vec<String> = files.map(str::to_owned).collect();
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

fn text(directory: &Path, names: &[&str]) -> String {
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
