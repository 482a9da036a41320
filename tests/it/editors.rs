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

#[test]
fn bash_completes_commands_flags_and_values() {
    let script = kinora().args(["completions", "bash"]).output().expect("kinora can be run").stdout;
    let project = Project::empty();
    project.write("kinora.bash", &String::from_utf8(script).expect("a script is text"));
    let completed = |words: &str, word: &str, before: &str| {
        let count = words.split(' ').count();
        let asked = format!(
            "source kinora.bash; COMP_WORDS=({words} '{word}'); COMP_CWORD={count}; _kinora kinora '{word}' '{before}'; echo \"${{COMPREPLY[@]}}\""
        );
        let output =
            std::process::Command::new("bash").args(["-c", &asked]).current_dir(project.path()).output();
        String::from_utf8(output.expect("bash can be run").stdout).expect("it prints text").trim().to_owned()
    };
    assert_eq!(completed("kinora", "ch", "kinora"), "check");
    assert_eq!(completed("kinora check", "--form", "check"), "--format");
    assert_eq!(completed("kinora check --format", "", "--format"), "text json sarif");
}
