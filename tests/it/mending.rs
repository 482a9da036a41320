//! `check --fix`, `--format sarif` and `--deny-warnings`: what a pipeline runs.

use serde_json::json;

use crate::support::{Project, projection};

const SCHEMA: &str = "type Query { note(id: ID!): Note @read  notesOf(author: ID!): [Note!]! @read }\n\
    type Note @key(fields: \"id\")\n  @table(name: \"notes\", partition: \"id\") {\n  id: ID!\n  author: ID\n  \
    text: String!\n  tags: [String!]\n}\n";

fn faulty() -> Project {
    let project = Project::notes();
    project.write("schema/notes.graphql", &SCHEMA.replace("author: ID\n", "author: ID!\n"));
    let yaml = projection("event.text").replace("unknown:", "unknwon:");
    project.write("projections/notes.yaml", &yaml.replace("{ text: ", "{ author: event.author, text: "));
    project
}

#[test]
fn what_findings_say_how_to_mend_is_mended_in_the_files_and_shown() {
    let project = faulty();
    let file = |name: &str| std::fs::read_to_string(project.path().join(name)).expect("is there");
    project.run(&["check"]).says(3, &["L01", "L11", "P004"]);
    let fixed = project.run(&["check", "--fix"]);
    let shown = [
        "schema/notes.graphql\n@@ line 1\n",
        "+   @table(name: \"notes_by_author\", partition: \"author\", clustering: \"id\") {\n",
        "-   tags: [String!]\n+   tags: [String!] @column(max: 100)\n",
        "- unknwon: park\n+ unknown: park\n",
        "3 findings mended in 2 files\n",
        "ok: 1 read model, 2 tables, 2 reads, 1 projection\n",
    ];
    fixed.says(0, &shown);
    let (schema, yaml) = (file("schema/notes.graphql"), file("projections/notes.yaml"));
    assert!(schema.contains("\n  @table(name: \"notes_by_author\"") && yaml.contains("unknown: park"));
    project.run(&["check", "--fix"]).says(0, &["0 findings mended in 0 files\n"]);
    assert_eq!((file("schema/notes.graphql"), file("projections/notes.yaml")), (schema, yaml));
    let json = faulty().run(&["check", "--fix", "--format", "json"]).says(0, &[]).json();
    assert_eq!(json["findings"], json!([]));
    assert_eq!(json["changed"][1]["file"], "projections/notes.yaml");
}

#[test]
fn a_report_for_code_hosts_has_rules_places_and_fixes() {
    let log = faulty().run(&["check", "--format", "sarif"]).says(3, &[]).json();
    let run = &log["runs"][0];
    let results = run["results"].as_array().expect("is a list");
    assert_eq!((&log["version"], results.len()), (&json!("2.1.0"), 4));
    for result in results {
        let index = usize::try_from(result["ruleIndex"].as_u64().expect("is a number")).expect("is small");
        assert_eq!(run["tool"]["driver"]["rules"][index]["id"], result["ruleId"]);
        assert_eq!(result["level"], "error");
        let inserted =
            &result["fixes"][0]["artifactChanges"][0]["replacements"][0]["insertedContent"]["text"];
        // That a key is missing is mended with the misspelt one.
        assert!(inserted.is_string() || result["ruleId"] == "P005", "{result}");
    }
    let bounded = results.iter().find(|result| result["ruleId"] == "L11").expect("is found");
    let region = &bounded["fixes"][0]["artifactChanges"][0]["replacements"][0]["deletedRegion"];
    assert_eq!(*region, json!({ "startLine": 7, "startColumn": 18, "endLine": 7, "endColumn": 18 }));
    let none = Project::notes().run(&["check", "--format", "sarif"]).says(0, &[]).json();
    assert_eq!(none["runs"][0]["results"], json!([]));
    let settings = Project::notes();
    settings.write("kinora.toml", "[lint]\nL11 = 3\n");
    let log = settings.run(&["check", "--format", "sarif"]).says(3, &[]).json();
    assert_eq!(log["runs"][0]["results"][0]["ruleId"], "C003");
    Project::notes().run(&["sdl", "--format", "sarif"]).says(2, &["only `check` has findings"]);
}

#[test]
fn warnings_end_with_a_code_of_their_own_where_they_are_denied() {
    let project = Project::notes();
    let hot = "partition: \"id\", rate: 501)";
    project.write("schema/notes.graphql", &crate::support::SCHEMA.replace("partition: \"id\")", hot));
    project.run(&["check"]).says(0, &["L06", "1 warning", "ok: "]);
    project.run(&["check", "--deny-warnings"]).says(1, &["L06"]);
    project.write("kinora.toml", "[lint]\nL06 = \"info\"\n");
    project.run(&["check", "--deny-warnings"]).says(0, &["1 remark"]);
    project.write("kinora.toml", "[lint]\nL06 = \"error\"\n");
    project.run(&["check", "--deny-warnings"]).says(3, &["1 error"]);
    project.write("kinora.toml", "[lint]\nL06 = \"off\"\n");
    assert_eq!(project.run(&["check"]).says(0, &[]).out, "ok: 1 read model, 1 table, 1 read, 1 projection\n");
}
