//! The examples of `docs/projections.md`, `docs/guide.md` and `docs/cookbook.md`: each section is a project that checks
//! without a finding and passes its cases. Links between pages lead somewhere.

use std::path::Path;

use crate::support::Project;

const PAGES: [(&str, &str); 3] = [
    ("projections.md", include_str!("../../docs/projections.md")),
    ("guide.md", include_str!("../../docs/guide.md")),
    ("cookbook.md", include_str!("../../docs/cookbook.md")),
];

/// The files of each section: fenced blocks whose first line is a path. A picture is a block of `text`.
fn sections(page: &'static str) -> Vec<(&'static str, Vec<(&'static str, String)>)> {
    let mut sections: Vec<(&str, Vec<(&str, String)>)> = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(title) = line.strip_prefix("## ") {
            sections.push((title, Vec::new()));
        } else if line.starts_with("```") {
            let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            if line == "```text" {
                continue;
            }
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
    for (page, text) in PAGES {
        for (title, files) in sections(text) {
            let project = Project::empty();
            for (path, text) in &files {
                project.write(path, text);
            }
            assert!(
                files.iter().any(|(path, _)| path.ends_with(".cases.yaml")),
                "{page}, {title}: there are cases"
            );
            let checked = project.run(&["check"]);
            assert!(
                checked.code == Some(0) && checked.out.starts_with("ok:"),
                "{page}, {title}: {checked:?}"
            );
            let tested = project.run(&["test"]);
            assert!(tested.code == Some(0), "{page}, {title}: {}{}", tested.out, tested.err);
        }
    }
}

/// The anchor that code hosts make of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase().replace(' ', "-");
    kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect()
}

#[test]
fn every_link_of_the_pages_leads_to_a_page_and_a_heading() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let readme =
        std::fs::read_to_string(docs.join("../README.md")).expect("it is there").replace("](docs/", "](");
    let mut count = 0;
    for (page, text) in
        PAGES.map(|(page, text)| (page, text.to_owned())).into_iter().chain([("../README.md", readme)])
    {
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") || link.contains(' ') {
                continue;
            }
            let (path, heading) = link.split_once('#').unwrap_or((link, ""));
            let path = docs.join(if path.is_empty() { page } else { path });
            let target = std::fs::read_to_string(&path).unwrap_or_else(|_| panic!("{page} links to {link}"));
            let found = target.lines().filter_map(|line| line.strip_prefix('#'));
            let mut headings = found.map(|line| anchor(line.trim_start_matches('#').trim()));
            assert!(heading.is_empty() || headings.any(|found| found == heading), "{page} links to {link}");
            count += 1;
        }
    }
    assert!(count > 20, "{count} links");
}
