//! The README's own project and commands, exactly as they stand there.

use serde_json::{Value as Json, json};

use crate::support::{Dev, Project, kinora};

const README: &str = include_str!("../../README.md");

/// The files that the README shows: fenced blocks whose first line is a path.
fn shown() -> Project {
    let project = Project::empty();
    let mut names = Vec::new();
    let mut lines = README.lines();
    while let Some(line) = lines.next() {
        if !line.starts_with("```") {
            continue;
        }
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        let Some(name) = block[0].strip_prefix("# ").filter(|name| name.contains('/')) else { continue };
        project.write(name, &block.join("\n"));
        names.push(name);
    }
    assert_eq!(names, ["schema/notes.graphql", "projections/notes.yaml", "projections/notes.cases.yaml"]);
    project
}

/// What stands between two texts, the first time that they do in one line.
fn between(before: &str, after: &str) -> &'static str {
    let mut found = README.lines().filter_map(|line| line.trim().strip_prefix(before)?.strip_suffix(after));
    found.next().unwrap_or_else(|| panic!("the README has no line `{before}…{after}`"))
}

#[tokio::test]
async fn the_project_of_the_readme_checks_tests_folds_and_answers() {
    let project = shown();
    project.run(&["check"]).says(0, &["ok: 1 read model, 2 tables, 2 reads, 1 projection"]);
    project.run(&["test"]).says(0, &["1 passed, 0 failed"]);
    let dev = Dev::start(&project).await.ready().await;
    let line = between("echo '", "' | kinora publish notes");
    let printed = project.run_with(&["publish", "notes"], line).says(0, &[]).out.clone();
    assert_eq!(printed.trim(), format!("1 record{}", between("# 1 record", "")));
    let after = printed.trim().rsplit(' ').next().expect("a position").to_owned();
    let body = between("-d '{\"query\":\"{ notesOf", "'");
    let body = format!("{{\"query\":\"{{ notesOf{body}");
    let headers = [("content-type", "application/json"), ("x-read-after", after.as_str())];
    let answer: Json =
        serde_json::from_slice(&dev.post("/graphql", &headers, &body).await.body).expect("JSON");
    assert_eq!(answer["data"], json!({ "notesOf": { "nodes": [{ "id": "n1", "text": "Hello" }] } }));
}

#[test]
fn every_command_and_flag_of_the_readme_is_there() {
    let mut seen = 0;
    for line in README.lines().filter_map(|line| line.strip_prefix("| `kinora ")) {
        let written = line.split('`').next().expect("a line has a first part");
        let words: Vec<&str> = written.split([' ', '[', ']']).filter(|word| !word.is_empty()).collect();
        let is_command = |word: &&&str| word.chars().all(|letter| letter.is_ascii_lowercase());
        let command: Vec<&str> = words.iter().take_while(is_command).copied().collect();
        let output = kinora().args(&command).arg("--help").output().expect("kinora can be run");
        let help = String::from_utf8(output.stdout).expect("text");
        assert!(output.status.success(), "{command:?}");
        for flag in words.iter().filter(|word| word.starts_with("--")) {
            assert!(help.contains(flag), "{command:?} has no {flag}: {help}");
        }
        seen += 1;
    }
    assert_eq!(seen, 23, "the README lists the commands");
}

#[tokio::test]
async fn the_first_commands_of_the_readme_answer_as_it_shows() {
    let project = Project::empty();
    let shop = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    for name in ["kinora.toml", "schema/shop.graphql"] {
        project.write(name, &std::fs::read_to_string(shop.join(name)).expect("the shop has it"));
    }
    for name in ["carts", "customers", "orders", "products"] {
        let name = format!("projections/{name}.yaml");
        project.write(&name, &std::fs::read_to_string(shop.join(&name)).expect("the shop has it"));
    }
    let dev = Dev::start(&project).await.ready().await;
    let record = between("'{\"key\":\"c-me\"", "'");
    let record = format!("{{\"key\":\"c-me\"{record}");
    let json = ("content-type", "application/json");
    let published = dev.post("/topics/shop.customers", &[json], &record).await.text();
    assert_eq!(published, format!("{{\"positions\":{}", between("# {\"positions\":", "")));
    let published: Json = serde_json::from_str(&published).expect("JSON");
    let after = published["readAfter"].as_str().expect("a position");
    let query = format!("{{\"query\":\"{{ customer{}", between("-d '{\"query\":\"{ customer", "'"));
    let answer = dev.post("/graphql", &[json, ("x-read-after", after)], &query).await.text();
    let shown = between("# {\"data\":{\"customer\":", "{…}}}");
    assert!(answer.starts_with(&format!("{{\"data\":{{\"customer\":{shown}")), "{answer}");
}
