//! Definitions, settings and samples: each finding lies inside its file and has a message, fixes can be made, and what
//! passes can be planned, served and folded with.

use std::sync::Arc;

use kinora::diagnostic::{self, Diagnostic, FileId, Sources, Span};
use kinora::event::TopicPartition;
use kinora::handler::{self, cases as case_files};
use kinora::lint::{self, Subject};
use kinora::plan::{self, Plan};
use kinora::resolve::{Graph, GraphSettings, Limits};
use kinora::schema::{self, ReadModel};
use kinora::{config, propose};

use crate::projects::{self, Project};
use crate::served;
use crate::targets::{fold_record, number, parts, record};

/// A schema: bound, planned, linted, and where it has no error served.
pub fn schema(input: &[u8]) {
    let mut sources = Sources::default();
    let file = sources.add("schema/a.graphql", String::from_utf8_lossy(input));
    let (model, mut findings) = schema::load(&[file], &sources);
    let Some(model) = model else { return hold(&findings, &sources) };
    let (plan, found) = plan::plan(&model, &sources);
    findings.extend(found);
    let subject = Subject { sources: &sources, model: &model, plan: plan.as_ref(), projections: &[] };
    findings.extend(lint::lint(subject, &Default::default()));
    hold(&findings, &sources);
    if let Some(plan) =
        plan.filter(|_| findings.iter().all(|found| found.severity != diagnostic::Severity::Error))
    {
        let _ = plan::cql::create_statements(&model, &plan);
        let _ = plan::explain::explain(&model, &plan, &[]);
        let settings = GraphSettings {
            limits: Limits::default(),
            cursor_secrets: vec![served::SECRET.to_vec()],
            definitions_hash: String::new(),
            feeds: Vec::new(),
            introspection: true,
        };
        let graph = Graph::new(Arc::new(model), Arc::new(plan), settings);
        assert!(graph.is_ok(), "what passes check can be served: {}", graph.err().unwrap_or_default());
    }
}

/// A projection of a project: bound, and where it has no error folded with.
pub fn projection(input: &[u8]) {
    let (project, text) = of_project(input);
    let (model, plan): (&ReadModel, &Plan) = (&project.definitions.model, &project.definitions.plan);
    let mut sources = sources_of(project);
    let schemas = add(project, &mut sources, |path| path.contains(".schema."));
    let defaults = add(project, &mut sources, |path| path.ends_with("/defaults.yaml"));
    let file = sources.add("projections/a.yaml", text);
    let (bound, findings) = handler::load(
        &[file],
        defaults.first().copied(),
        &schemas,
        &sources,
        model,
        plan,
        &Default::default(),
    );
    let subject = Subject {
        sources: &sources,
        model,
        plan: Some(plan),
        projections: &bound.iter().collect::<Vec<_>>(),
    };
    let _ = lint::lint(subject, &Default::default());
    hold(&findings, &sources);
    for projection in &bound {
        for event in handler::explain::event_types(projection) {
            let _ = handler::explain::explain(projection, Some(event));
        }
        for case in &project.definitions.cases {
            for given in &case.given {
                let at = TopicPartition { topic: given.topic.as_str().into(), partition: 0 };
                fold_record(plan, projection, &at, record(given.key.clone(), given.value.clone()));
            }
        }
    }
}

/// The defaults of a project's projections.
pub fn defaults(input: &[u8]) {
    let (project, text) = of_project(input);
    with_all_projections(project, "projections/defaults.yaml", text);
}

/// A JSON Schema of a project's events.
pub fn event_schema(input: &[u8]) {
    let (project, text) = of_project(input);
    with_all_projections(project, "projections/a.schema.json", text);
}

fn with_all_projections(project: &Project, path: &str, text: String) {
    let (model, plan): (&ReadModel, &Plan) = (&project.definitions.model, &project.definitions.plan);
    let mut sources = sources_of(project);
    let files = add(project, &mut sources, |path| {
        path.starts_with("projections/")
            && !["defaults.yaml", ".cases.yaml", ".schema.json", ".schema.yaml"]
                .iter()
                .any(|end| path.ends_with(end))
    });
    let is_defaults = path.ends_with("defaults.yaml");
    let kept = if is_defaults { ".schema." } else { "/defaults.yaml" };
    let others = add(project, &mut sources, |path| path.contains(kept));
    let file = sources.add(path, text);
    let (defaults, schemas) = match is_defaults {
        true => (Some(file), others),
        false => (others.first().copied(), vec![file]),
    };
    let (_, findings) = handler::load(&files, defaults, &schemas, &sources, model, plan, &Default::default());
    hold(&findings, &sources);
}

/// A file of cases.
pub fn cases(input: &[u8]) {
    let (_, text) = of_project(input);
    let mut sources = Sources::default();
    let file = sources.add("projections/a.cases.yaml", text);
    let (_, findings) = case_files::load(file, &sources);
    hold(&findings, &sources);
}

/// Settings, from a file and the environment.
pub fn settings(input: &[u8]) {
    let (text, environment) = parts(input);
    let environment = environment.lines().filter_map(|line| line.split_once('='));
    let loaded =
        config::read(&text, environment.map(|(name, value)| (name.to_owned(), value.to_owned())), &[]);
    hold(&loaded.findings, &loaded.sources);
}

/// Events of which a read model is proposed: what is proposed passes check.
pub fn sample(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let samples: Vec<propose::Sample> = text
        .lines()
        .filter_map(|line| Some(propose::Sample { key: None, value: serde_json::from_str(line).ok()? }))
        .collect();
    if let Ok(files) = propose::propose("t", &samples, None) {
        let loaded = projects::load(&files);
        hold(&loaded.findings, &loaded.sources);
        assert!(
            loaded.definitions.is_some(),
            "{files:#?}\n{}",
            diagnostic::render(&loaded.findings, &loaded.sources, false)
        );
    }
}

/// What must hold of any findings.
pub fn hold(findings: &[Diagnostic], sources: &Sources) {
    for finding in findings {
        assert!(!finding.message.is_empty() && !finding.code.is_empty(), "{finding:?}");
        let Some(Span { file, start, end }) = finding.span else { continue };
        let text = &sources.file(file).text;
        let (start, end) = (start as usize, end as usize);
        assert!(start <= end && end <= text.len(), "beside the text: {finding:?}");
        assert!(text.is_char_boundary(start) && text.is_char_boundary(end), "inside a letter: {finding:?}");
    }
    let _ = diagnostic::to_json(findings, sources);
    let _ = diagnostic::mended(findings.iter(), sources);
    // To show them for a person costs more than to find them: one finding of each input is.
    if let Some(first) = findings.first() {
        assert!(!diagnostic::render(std::slice::from_ref(first), sources, false).is_empty());
    }
}

/// The project whose number stands first, and the text behind it.
fn of_project(input: &[u8]) -> (&'static Project, String) {
    let (name, text) = parts(input);
    let all = projects::all();
    (&all[number(&name) % all.len()], text)
}

/// Sources that hold the files of a project's schema: findings point into them.
fn sources_of(project: &Project) -> Sources {
    let mut sources = Sources::default();
    add(project, &mut sources, |path| path.starts_with("schema/"));
    sources
}

/// The files of a project for whose path it holds.
fn add(project: &Project, sources: &mut Sources, holds: impl Fn(&str) -> bool) -> Vec<FileId> {
    let files = project.files.iter().filter(|(path, _)| holds(path));
    files.map(|(path, text)| sources.add(path.as_str(), text.as_str())).collect()
}
