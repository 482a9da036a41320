//! Projections of public event-sourcing projects, rebuilt with their own event shapes: each folder of `tests/golden/public` is a project
//! that checks without a finding and passes its cases. What each rebuilds, and what differs, stands at the head of its projection.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Output;

use crate::support::kinora;

/// All of them, so that none goes missing and none lies there untested.
const PROJECTS: [&str; 7] = [
    "cart-short-info",
    "emmett-client-summary",
    "eshop-order-status",
    "helpdesk-incident-history",
    "lagom-cart-report",
    "marten-flat-import",
    "pekko-item-popularity",
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/public")
}

#[test]
fn the_public_projections_are_all_there() {
    let entries = std::fs::read_dir(folder()).expect("the folder is there");
    let found: BTreeSet<String> = entries
        .map(|entry| entry.expect("it can be read").file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(found, PROJECTS.map(str::to_owned).into());
}

#[test]
fn every_public_projection_checks_and_passes_its_cases_one_of_which_parks() {
    for name in PROJECTS {
        let checked = run(name, "check");
        let says = text(&checked.stdout);
        assert!(checked.status.success() && !says.contains("⚠"), "{name}: {says}{}", text(&checked.stderr));
        let tested = run(name, "test");
        assert!(tested.status.success(), "{name}: {}{}", text(&tested.stdout), text(&tested.stderr));
        let results: serde_json::Value = serde_json::from_slice(&tested.stdout).expect("results are JSON");
        let passed = results.as_array().map_or(0, Vec::len);
        assert!(passed >= 3, "{name}: {passed} cases");
        assert!(cases(name).contains("parked: [{"), "{name}: no case parks a key");
    }
}

/// The text of all cases of a project.
fn cases(name: &str) -> String {
    let entries = std::fs::read_dir(folder().join(name).join("projections")).expect("the folder is there");
    let paths = entries.map(|entry| entry.expect("it can be read").path());
    let cases = paths.filter(|path| path.to_string_lossy().ends_with(".cases.yaml"));
    cases.map(|path| std::fs::read_to_string(path).expect("it can be read")).collect()
}

fn run(name: &str, command: &str) -> Output {
    let format = if command == "test" { "json" } else { "text" };
    kinora()
        .args([command, "--format", format, "--project"])
        .arg(folder().join(name))
        .output()
        .expect("kinora can be run")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
