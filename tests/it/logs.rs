//! What is logged: the closed list of events, as the page has it, and lines as JSON.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value as Json, json};

use crate::support::{Dev, Project, kinora, until};

/// An event: its level, its text and the names of its fields.
type Event = (String, String, BTreeSet<String>);

/// The events of a source text that operators see.
fn events(source: &str) -> Vec<Event> {
    let mut found = Vec::new();
    for level in ["error", "warn", "info"] {
        for (at, call) in source.match_indices(&format!("{level}!(")) {
            if source[..at].chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_') {
                continue;
            }
            let arguments = arguments(&source[at + call.len()..]);
            let Some((text, fields)) = arguments.split_last() else { continue };
            let text = text.trim().trim_matches('"').replace("\\'", "'");
            found.push((level.to_owned(), text, fields.iter().map(|field| name(field)).collect()));
        }
    }
    found
}

/// The name of a field: `%error`, `projection = %x`, `reason`.
fn name(field: &str) -> String {
    let name = field.split('=').next().unwrap_or(field);
    name.trim().trim_start_matches(['%', '?']).to_owned()
}

/// The arguments of a call, from behind its bracket on.
fn arguments(text: &str) -> Vec<String> {
    let (mut depth, mut in_text, mut escaped) = (0, false, false);
    let mut arguments = vec![String::new()];
    for c in text.chars() {
        match c {
            _ if in_text => (in_text, escaped) = (escaped || c != '"', c == '\\' && !escaped),
            '"' => in_text = true,
            '(' | '[' | '{' => depth += 1,
            ')' if depth == 0 => break,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                arguments.push(String::new());
                continue;
            }
            _ => {}
        }
        arguments.last_mut().expect("one is there").push(c);
    }
    arguments.retain(|argument| !argument.trim().is_empty());
    arguments
}

fn sources(below: &Path, out: &mut String) {
    for entry in std::fs::read_dir(below).expect("it can be read") {
        let path = entry.expect("it can be read").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() && name != "tests" {
            sources(&path, out);
        } else if name.ends_with(".rs") && !name.ends_with("tests.rs") {
            out.push_str(&std::fs::read_to_string(&path).expect("it can be read"));
        }
    }
}

#[test]
fn the_page_lists_what_is_logged() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut source = String::new();
    sources(&root.join("src"), &mut source);
    let mut logged: BTreeSet<Event> = events(&source).into_iter().collect();
    // Of two places that say the same, the one with more fields counts.
    let less = |one: &Event, all: &BTreeSet<Event>| {
        all.iter().any(|other| (&other.0, &other.1) == (&one.0, &one.1) && other.2.len() > one.2.len())
    };
    let all = logged.clone();
    logged.retain(|one| !less(one, &all));
    assert!(logged.len() > 30, "the source is read: {logged:?}");
    let page = std::fs::read_to_string(root.join("docs/observe.md")).expect("the page is there");
    let row = |line: &str| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, text, level @ ("error" | "warn" | "info"), fields, _, _] = cells[..] else { return None };
        let fields = fields.split(',').map(|field| field.trim().to_owned());
        Some((level.to_owned(), text.to_owned(), fields.filter(|field| !field.is_empty()).collect()))
    };
    let listed: BTreeSet<Event> = page.lines().filter_map(row).collect();
    let missing: Vec<&Event> = logged.difference(&listed).collect();
    let gone: Vec<&Event> = listed.difference(&logged).collect();
    assert!(
        missing.is_empty() && gone.is_empty(),
        "missing on the page: {missing:#?}\nno more logged: {gone:#?}"
    );
}

#[test]
fn calls_are_read_as_they_are_written() {
    let source =
        "tracing::warn!(%a, b = f(1, \"x, y)\"), c, \"It, is (so).\");\nmyinfo!(\"no\"); info!(\"plain\")";
    let fields = ["a", "b", "c"].map(str::to_owned).into();
    let expected = [
        ("warn".to_owned(), "It, is (so).".to_owned(), fields),
        ("info".to_owned(), "plain".to_owned(), BTreeSet::new()),
    ];
    assert_eq!(events(source), expected);
}

#[tokio::test]
async fn lines_are_json_where_that_is_asked_for() {
    let project = Project::notes();
    let mut command = kinora();
    command.args(["dev", "--listen", "127.0.0.1:0", "--log-format", "json", "--project"]).arg(project.path());
    command.env("KINORA_LOG", "info");
    let dev = Dev::run(&project, command).await.ready().await;
    dev.publish("notes", &[json!({ "type": "NoteBurnt", "id": "n1" })]).await;
    let parked = until("the parked key is logged", async || {
        let lines = dev.err();
        let lines = lines.lines().map(|line| {
            let parsed = serde_json::from_str::<Json>(line);
            parsed.unwrap_or_else(|error| panic!("{error}: {line}"))
        });
        lines.into_iter().find(|line| line["message"] == "Key parked.")
    });
    let parked = parked.await;
    assert_eq!((&parked["level"], &parked["projection"]), (&json!("WARN"), &json!("notes")));
    assert_eq!((&parked["key"], &parked["offset"]), (&json!("{\"id\":\"n1\"}"), &json!(0)));
    assert!(parked["reason"].as_str().is_some_and(|reason| reason.contains("NoteBurnt")), "{parked}");
    assert!(parked["timestamp"].is_string() && parked["target"] == "kinora::project::apply", "{parked}");
    let began = dev.err().lines().any(|line| line.contains("\"message\":\"Generation answers.\""));
    assert!(began, "{}", dev.err());

    project.write("kinora.toml", "[log]\nformat = \"xml\"\n");
    project.run(&["dev"]).says(3, &["log.format", "\"text\" or \"json\""]);
}
