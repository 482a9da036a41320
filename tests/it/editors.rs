//! What editors and shells are given: the SDL of the directives, and completions.

use std::path::PathBuf;

use crate::support::{Project, kinora};

/// Compares with a golden file, or rewrites it where `KINORA_BLESS=1`.
fn golden(name: &str, text: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/editor").join(name);
    if std::env::var_os("KINORA_BLESS").is_some_and(|bless| bless == "1") {
        std::fs::create_dir_all(path.parent().expect("a file has a folder")).expect("a folder can be made");
        std::fs::write(&path, text).expect("a golden file can be written");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "{} differs; KINORA_BLESS=1 rewrites it", path.display());
}

#[test]
fn the_directives_are_defined_for_editors() {
    let project = Project::empty();
    golden("directives.graphql", &project.run(&["schema", "directives"]).says(0, &[]).out);
    let json = project.run(&["schema", "directives", "--format", "json"]).says(0, &[]).json();
    assert!(json["sdl"].as_str().is_some_and(|sdl| sdl.contains("directive @table(")), "{json}");
    project.run(&["schema", "projektion"]).says(2, &[]);
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
