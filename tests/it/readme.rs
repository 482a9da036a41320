//! The README's own project, exactly as it stands there.

use serde_json::{Value as Json, json};

use crate::support::{Dev, Project};

const README: &str = include_str!("../../README.md");

/// The text of each fenced block with its first line.
fn blocks() -> Vec<(String, String)> {
    let mut blocks = Vec::new();
    let mut lines = README.lines();
    while let Some(line) = lines.next() {
        if line.starts_with("```") && line.len() > 3 {
            let text: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            blocks.push((text[0].to_owned(), text.join("\n") + "\n"));
        }
    }
    blocks
}

/// The project whose files the README shows, each under the name in its first line.
fn shown() -> Project {
    let project = Project::empty();
    let mut names = Vec::new();
    for (first, text) in blocks() {
        let Some(name) = first.strip_prefix("# ").filter(|name| name.contains('/')) else { continue };
        project.write(name, &text);
        names.push(name.to_owned());
    }
    assert_eq!(names, ["schema/notes.graphql", "projections/notes.yaml", "projections/notes.cases.yaml"]);
    project
}

#[tokio::test]
async fn the_project_of_the_readme_checks_tests_folds_and_answers() {
    let project = shown();
    project.run(&["check"]).says(0, &["ok: 1 read model, 2 tables"]);
    project.run(&["test"]).says(0, &["1 passed, 0 failed"]);
    let dev = Dev::start(&project).await.ready().await;
    let line = README.lines().find_map(|line| line.strip_prefix("echo '")?.strip_suffix("' | kinora publish notes"));
    let line = line.expect("the README publishes a note");
    let published = project.run_with(&["publish", "notes", "--format", "json"], line).says(0, &[]).json();
    let after = published["readAfter"].as_str().expect("a position");
    let body = README.lines().find_map(|line| line.trim().strip_prefix("-d '")?.strip_suffix('\'')).into_iter();
    let body = body.chain(README.lines().filter_map(|line| line.trim().strip_prefix("-d '")?.strip_suffix('\'')));
    let body = body.into_iter().find(|body| body.contains("notesOf")).expect("the README asks for notes");
    let headers = [("content-type", "application/json"), ("x-read-after", after)];
    let answer: Json = serde_json::from_slice(&dev.post("/graphql", &headers, body).await.body).expect("JSON");
    assert_eq!(answer["data"], json!({ "notesOf": { "nodes": [{ "id": "n1", "text": "Hello" }] } }));
}

#[test]
fn every_command_and_flag_of_the_readme_is_there() {
    let help = |command: &str| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_kinora"))
            .args(command.split_whitespace().chain(["--help"]))
            .output()
            .expect("kinora can be run");
        assert!(output.status.success(), "{command}");
        String::from_utf8(output.stdout).expect("text")
    };
    let commands = README.lines().filter_map(|line| line.strip_prefix("| `kinora "));
    let mut seen = 0;
    for line in commands {
        let written = line.split('`').next().expect("a line has a first part");
        let words: Vec<&str> = written.split([' ', '[', ']', ',']).filter(|word| !word.is_empty()).collect();
        let command: Vec<&str> =
            words.iter().copied().take_while(|word| word.chars().all(|c| c.is_ascii_lowercase())).collect();
        let help = help(&command.join(" "));
        for flag in words.iter().filter(|word| word.starts_with("--")) {
            assert!(help.contains(flag), "{command:?} has no {flag}: {help}");
        }
        seen += 1;
    }
    assert!(seen >= 8, "the README lists the commands");
}
