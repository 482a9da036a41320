//! A project's directory → definitions, or every fault of every file at once.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::diagnostic::{Diagnostic, FileId, Severity, Sources};
use crate::engine::Definitions;
use crate::handler::{self, CustomHandlers};
use crate::lint::{self, Severities, Subject};
use crate::plan;
use crate::schema;

/// What a project's files came to.
#[derive(Debug)]
pub struct Loaded {
    pub sources: Sources,
    /// Errors, warnings and remarks of all files.
    pub findings: Vec<Diagnostic>,
    /// There unless an error was found.
    pub definitions: Option<Arc<Definitions>>,
}

/// Why a project's files could not be read.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}", path = .path.display())]
pub struct LoadError {
    pub path: PathBuf,
    pub source: io::Error,
}

/// Reads `schema/*.graphql`, `projections/*.yaml` and `projections/*.json` below a directory, binds and checks them.
///
/// # Errors
/// The project is no directory, or a directory or file in it cannot be read. Faults inside the files are findings.
pub fn load(project: &Path, custom: &CustomHandlers) -> Result<Loaded, LoadError> {
    load_with(project, custom, &Severities::default())
}

/// As [`load`], with the severities that a project gives the numbered rules.
///
/// # Errors
/// As [`load`].
pub fn load_with(
    project: &Path,
    custom: &CustomHandlers,
    severities: &Severities,
) -> Result<Loaded, LoadError> {
    let listed = std::fs::read_dir(project).map(drop);
    listed.map_err(|source| LoadError { path: project.to_owned(), source })?;
    let mut sources = Sources::default();
    let schema_files = read_all(project, "schema", &["graphql", "graphqls"], &mut sources)?;
    let yaml_files = read_all(project, "projections", &["yaml", "yml", "json"], &mut sources)?;
    Ok(bind_with(sources, &schema_files, &yaml_files, custom, severities))
}

/// Binds and checks files that were read already. Files named `*.cases.yaml` are cases, `defaults.yaml` the
/// defaults of all projections, `*.schema.json` and `*.schema.yaml` schemas of events.
pub fn bind(
    sources: Sources,
    schema_files: &[FileId],
    yaml_files: &[FileId],
    custom: &CustomHandlers,
) -> Loaded {
    bind_with(sources, schema_files, yaml_files, custom, &Severities::default())
}

/// As [`bind`], with the severities that a project gives the numbered rules.
pub fn bind_with(
    sources: Sources,
    schema_files: &[FileId],
    yaml_files: &[FileId],
    custom: &CustomHandlers,
    severities: &Severities,
) -> Loaded {
    let kind = |file: &FileId| YamlKind::of(&sources.file(*file).path);
    let schemas: Vec<FileId> =
        yaml_files.iter().copied().filter(|file| kind(file) == YamlKind::EventSchema).collect();
    let projections: Vec<FileId> =
        yaml_files.iter().copied().filter(|file| kind(file) == YamlKind::Projection).collect();
    let defaults = yaml_files.iter().copied().find(|file| kind(file) == YamlKind::Defaults);
    let case_files: Vec<FileId> =
        yaml_files.iter().copied().filter(|file| kind(file) == YamlKind::Cases).collect();

    let (model, mut findings) = schema::load(schema_files, &sources);
    let mut cases = Vec::new();
    for file in case_files {
        let (found_cases, found) = handler::cases::load(file, &sources);
        cases.extend(found_cases);
        findings.extend(found);
    }
    let planned = model.map(|model| {
        let (plan, found) = plan::plan(&model, &sources);
        let is_sound = !has_errors(&found);
        findings.extend(found);
        (model, plan, is_sound)
    });
    let definitions = match planned {
        Some((mut model, Some(plan), is_sound)) => {
            let (bound, found) =
                handler::load(&projections, defaults, &schemas, &sources, &model, &plan, custom);
            findings.extend(found);
            let sound: Vec<&handler::Projection> = bound.iter().collect();
            let subject = Subject {
                sources: &sources,
                model: &model,
                plan: is_sound.then_some(&plan),
                projections: &sound,
            };
            findings.extend(lint::lint(subject, severities));
            model.sdl = model.weighed_sdl(&|ty, field| plan.weight(&model, ty, field));
            Some(Definitions {
                model: Arc::new(model),
                plan: Arc::new(plan),
                feeds: bound.iter().flat_map(handler::Projection::feeds).collect(),
                projections: bound.into_iter().map(Arc::new).collect(),
                cases,
                hash: hash(&sources, schema_files, &projections, defaults),
            })
        }
        unplanned => {
            findings.extend(handler::check_shape(&projections, defaults, &sources));
            if let Some((model, ..)) = unplanned {
                let subject = Subject { sources: &sources, model: &model, plan: None, projections: &[] };
                findings.extend(lint::lint(subject, severities));
            }
            None
        }
    };
    let faulty = has_errors(&findings);
    let definitions = definitions.filter(|_| !faulty).map(Arc::new);
    Loaded { sources, findings, definitions }
}

fn has_errors(findings: &[Diagnostic]) -> bool {
    findings.iter().any(|finding| finding.severity == Severity::Error)
}

#[derive(PartialEq, Eq)]
enum YamlKind {
    Projection,
    Cases,
    Defaults,
    EventSchema,
    /// Some other JSON file, which is nobody's here.
    Other,
}

impl YamlKind {
    fn of(path: &str) -> YamlKind {
        let name = path.rsplit('/').next().unwrap_or(path);
        let stem = name.strip_suffix(".yaml").or_else(|| name.strip_suffix(".yml")).unwrap_or(name);
        if let Some(stem) = name.strip_suffix(".json") {
            return if stem.ends_with(".schema") { YamlKind::EventSchema } else { YamlKind::Other };
        }
        match stem {
            "defaults" => YamlKind::Defaults,
            _ if stem.ends_with(".cases") => YamlKind::Cases,
            _ if stem.ends_with(".schema") => YamlKind::EventSchema,
            _ => YamlKind::Projection,
        }
    }
}

/// Version of what folding and storing make of the same definitions: raised when rows must be made anew.
const ENGINE_FORMAT: u32 = 1;

/// Hash over every definition that makes rows or answers. Cases are left out: they change nothing.
fn hash(sources: &Sources, schema: &[FileId], projections: &[FileId], defaults: Option<FileId>) -> String {
    let mut hasher = Sha256::new();
    hasher.update(ENGINE_FORMAT.to_be_bytes());
    for file in schema.iter().chain(projections).copied().chain(defaults) {
        let file = sources.file(file);
        for part in [file.path.as_bytes(), file.text.as_bytes()] {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
    }
    let digest = hasher.finalize();
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// All files of a directory with one of the endings, in name order. A directory that is not there is empty.
fn read_all(
    project: &Path,
    folder: &str,
    endings: &[&str],
    sources: &mut Sources,
) -> Result<Vec<FileId>, LoadError> {
    let directory = project.join(folder);
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| LoadError { path, source }
    };
    let entries = match std::fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(&directory)(error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed(&directory))?.path();
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or("");
        if path.is_file() && endings.contains(&ending) {
            paths.push(path);
        }
    }
    paths.sort();
    let mut files = Vec::with_capacity(paths.len());
    for path in paths {
        let text = std::fs::read_to_string(&path).map_err(failed(&path))?;
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("?");
        files.push(sources.add(format!("{folder}/{name}"), text));
    }
    Ok(files)
}
