//! The examples of `docs/projections.md`: each section is a project that checks without a finding and passes its cases.

use crate::support::Project;

const PAGE: &str = include_str!("../../docs/projections.md");

/// The files of each section: fenced blocks whose first line is a path.
fn sections() -> Vec<(&'static str, Vec<(&'static str, String)>)> {
    let mut sections: Vec<(&str, Vec<(&str, String)>)> = Vec::new();
    let mut lines = PAGE.lines();
    while let Some(line) = lines.next() {
        if let Some(title) = line.strip_prefix("## ") {
            sections.push((title, Vec::new()));
        } else if line.starts_with("```") {
            let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            let path = block[0].strip_prefix("# ").filter(|path| path.contains('/'));
            let path = path.unwrap_or_else(|| panic!("a block begins with {:?}, not with a path", block[0]));
            sections.last_mut().expect("a section").1.push((path, block[1..].join("\n")));
        }
    }
    sections.retain(|(_, files)| !files.is_empty());
    sections
}

#[test]
fn every_example_of_the_language_checks_and_passes_its_cases() {
    for (title, files) in sections() {
        let project = Project::empty();
        for (path, text) in &files {
            project.write(path, text);
        }
        assert!(files.iter().any(|(path, _)| path.ends_with(".cases.yaml")), "{title}: there are cases");
        let checked = project.run(&["check"]);
        assert!(checked.code == Some(0) && checked.out.starts_with("ok:"), "{title}: {checked:?}");
        let tested = project.run(&["test"]);
        assert!(tested.code == Some(0), "{title}: {}{}", tested.out, tested.err);
    }
}
