//! What editors and shells are given: SDL of the directives, JSON Schemas, completions.

use crate::support::{Project, golden, kinora};

#[test]
fn the_directives_are_defined_for_editors() {
    let project = Project::empty();
    golden("editor/directives.graphql", &project.run(&["schema", "directives"]).says(0, &[]).out);
    let json = project.run(&["schema", "directives", "--format", "json"]).says(0, &[]).json();
    assert!(json["sdl"].as_str().is_some_and(|sdl| sdl.contains("directive @table(")), "{json}");
    project.run(&["schema", "projektion"]).says(2, &[]);
}

#[test]
fn the_files_of_projections_have_json_schemas() {
    let project = Project::empty();
    for of in ["projection", "defaults", "cases"] {
        let printed = project.run(&["schema", of]);
        assert_eq!(printed.says(0, &[]).json()["$ref"], format!("#/$defs/{of}"));
        golden(&format!("editor/{of}.schema.json"), &printed.out);
    }
}

#[test]
fn every_shell_completes_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = kinora().args(["completions", shell]).output().expect("kinora can be run");
        let script = String::from_utf8(output.stdout).expect("text");
        assert!(output.status.success(), "{shell}");
        for command in ["dev", "check", "parked", "completions", "--project"] {
            assert!(script.contains(command.trim_start_matches('-')), "{shell} has no {command}");
        }
    }
    Project::empty().run(&["completions", "cmd"]).says(2, &[]);
}
