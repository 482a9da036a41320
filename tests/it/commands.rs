//! Every command with and without a running `dev`: what it prints, as text and as JSON, and its exit code.

use serde_json::json;

use crate::support::{Dev, Project, golden, projection, written};

const LINE: &str = r#"{"key":"a","value":{"type":"NoteWritten","id":"a","text":"x"}}"#;

#[test]
fn check_tells_sound_definitions_from_faulty_ones() {
    let project = Project::notes();
    let sound = project.run(&["check"]);
    assert_eq!(sound.says(0, &[]).out, "ok: 1 read model, 1 table, 1 read, 1 projection\n");
    assert_eq!(project.run(&["check", "--format", "json"]).says(0, &[]).json(), json!([]));
    project.run(&["check", "--explain"]).says(0, &["CREATE TABLE notes", "Query.note: notes"]);
    let explained = project.run(&["check", "--explain", "--format", "json"]).says(0, &[]).json();
    assert_eq!(explained["findings"], json!([]));

    project.write("projections/notes.yaml", &projection("evnt.text"));
    project.run(&["check"]).says(3, &["projections/notes.yaml:7:", "there is no name `evnt` here"]);
    assert_eq!(project.run(&["check", "--format", "json"]).says(3, &[]).json()[0]["line"], json!(7));
    project.run(&["sdl"]).says(3, &["evnt"]);
    project.run(&["test"]).says(3, &["evnt"]);
}

#[test]
fn check_says_the_faults_of_all_files_at_once() {
    let project = Project::notes();
    let schema = std::fs::read_to_string(project.path().join("schema/notes.graphql")).expect("it is there");
    project.write("projections/notes.yaml", &projection("evnt.text"));
    project.write("schema/notes.graphql", &schema.replace("text: String!", "text: String! tags: [String!]"));
    project
        .run(&["check"])
        .says(3, &["the collection `Note.tags` has no bound", "there is no name `evnt` here"]);
    // Where the schema cannot be read, the projection's shape still can.
    project.write("schema/notes.graphql", &schema.replace("type Note", "typo Note"));
    project.write("projections/notes.yaml", &projection("event.text").replace("unknown:", "unknwon:"));
    project.run(&["check"]).says(3, &["this is not GraphQL", "unknwon"]);
}

#[test]
fn check_holds_definitions_against_another_subgraph_and_against_what_is_deployed() {
    let (project, deployed) = (Project::notes(), Project::notes());
    let path = |name: &str| project.path().join(name).display().to_string();
    let other = path("other.graphql");
    let check = || project.run(&["check", "--subgraph", &other, "--format", "json"]);
    project.write("other.graphql", "type Query { other: Int }");
    assert_eq!(check().says(0, &[]).json(), json!([]));
    project.write("other.graphql", "type Query { other: Int }\nenum Note { A B }");
    let found = check().says(3, &[]).json();
    assert_eq!(
        (&found[0]["code"], &found[0]["file"]),
        (&json!("L31"), &json!("schema/notes.graphql")),
        "{found}"
    );
    assert!(found[0]["message"].as_str().is_some_and(|said| said.contains("other.graphql:2")), "{found}");
    project.write("other.graphql", "type Query {");
    project.run(&["check", "--subgraph", &other]).says(3, &["other.graphql:1:", "this is not GraphQL"]);
    project.run(&["check", "--subgraph", &path("nothing")]).says(2, &["--subgraph", "nothing: No such file"]);

    let before = deployed.path().display().to_string();
    let check = || project.run(&["check", "--deployed", &before, "--deny-warnings"]);
    check().says(0, &[]);
    let schema = std::fs::read_to_string(path("schema/notes.graphql")).expect("it is there");
    let keys = "@key(fields: \"id\") @key(fields: \"text\")";
    let tables = "partition: \"id\") @table(name: \"by_text\", partition: \"text\", clustering: \"id\")";
    let two = schema.replace("@key(fields: \"id\")", keys).replace("partition: \"id\")", tables);
    deployed.write("schema/notes.graphql", &two);
    deployed.run(&["check"]).says(0, &[]);
    check().says(1, &["L23", "the key \"text\" of `Note` is deployed and no longer there"]);
    deployed.write("schema/notes.graphql", "type");
    check().says(3, &["have errors: see `kinora check --project"]);
    project.run(&["check", "--deployed", &path("nowhere")]).says(2, &["--deployed", "nowhere"]);
}

#[test]
fn arguments_that_fit_nothing_are_a_matter_of_usage() {
    let project = Project::notes();
    for arguments in [&["nonsense"][..], &["publish"], &["parked"], &["check", "--format", "xml"], &[]] {
        let ended = project.run(arguments);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.err.contains("--help"), "{ended:?}");
    }
    project.run(&["--help"]).says(0, &["Usage: kinora"]);
    project.run(&["--version"]).says(0, &["kinora 0."]);
    let ended = Project::empty().run(&["check", "--project", "nowhere"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    project.write("schema.txt", "");
    let file = project.path().join("schema.txt");
    let kinora = std::process::Command::new(env!("CARGO_BIN_EXE_kinora"))
        .args(["check", "--project"])
        .arg(&file)
        .output()
        .expect("kinora can be run");
    assert_eq!(kinora.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&kinora.stderr).contains("is no directory; --project names one"));
}

#[test]
fn faults_of_the_settings_are_all_named_before_anything_is_done() {
    let project = Project::notes();
    project.write("kinora.toml", "[serve]\nlisten = \"here\"\nconcurent = 3\n");
    for command in [&["check"][..], &["dev"], &["status"]] {
        project.run(command).says(3, &["kinora.toml:2:", "kinora.toml:3:", "concurrent"]);
    }
    assert!(!project.data().exists(), "nothing was made");
}

#[test]
fn data_that_are_not_there_are_not_made_by_looking() {
    let project = Project::notes();
    for command in [&["status"][..], &["parked", "list"], &["parked", "show", "x"]] {
        project.run(command).says(4, &["holds no data of Kinora; `kinora dev` makes them"]);
    }
    let error = project.run(&["status", "--format", "json"]).says(4, &[]).json();
    assert!(error["error"].as_str().is_some_and(|error| error.contains("holds no data")), "{error}");
    assert!(!project.data().exists(), "nothing was made");
}

#[test]
fn cases_are_run_and_differences_are_findings() {
    let project = Project::notes();
    project.run(&["test"]).says(0, &["there are no cases"]);
    let case = |text: &str| {
        format!(
            "cases:\n  - name: a note is written\n    given:\n      - {{ topic: notes, key: a, value: \
             {{ type: NoteWritten, id: a, text: x }} }}\n    rows: {{ Note: [{{ id: a, text: {text} }}] }}\n"
        )
    };
    project.write("projections/notes.cases.yaml", &case("x"));
    project.run(&["test"]).says(0, &["ok a note is written", "1 passed, 0 failed"]);
    project.run(&["test", "nothing like it"]).says(0, &["none of 1 case has that"]);
    project.write("projections/notes.cases.yaml", &case("z"));
    project.run(&["test"]).says(1, &["FAILED a note is written", "0 passed, 1 failed"]);
    let results = project.run(&["test", "--format", "json"]).says(1, &[]).json();
    assert_eq!(results[0]["name"], json!("a note is written"));
}

#[test]
fn what_differs_is_shown_place_by_place() {
    let project = Project::empty();
    project.run(&["init"]).says(0, &[]);
    let written = |id: &str, text: &str| {
        format!(
            "      - {{ topic: notes, key: {id}, value: {{ type: NoteWritten, at: \"2026-01-01T10:00:00Z\", \
             id: {id}, author: ada, text: {text} }} }}\n"
        )
    };
    let long = "a text that is longer than what stands beside another";
    let cases = format!(
        "cases:\n  - name: columns\n    given:\n{}{}    rows: {{ Note: [{{ id: n1, author: eve, text: Helo }}, {{ id: n3 }}] }}\n    \
         query: '{{ notesOf(author: \"ada\") {{ nodes {{ id text }} }} note(id: \"n1\") {{ text }} }}'\n    \
         answer: {{ notesOf: {{ nodes: [{{ id: n2, text: Hi }}] }}, note: null, more: 1 }}\n  \
         - name: long values\n    given:\n{}    rows: {{ Note: [{{ id: n1, text: {long}. }}], Nothing: [] }}\n    parked: [{{ key: n9 }}]\n  \
         - name: a parked key\n    given:\n      - {{ topic: notes, key: n1, value: {{ type: NoteEaten, id: n1 }} }}\n",
        written("n1", "Hello"),
        written("n2", "Hi"),
        written("n1", long),
    );
    project.write("projections/notes.cases.yaml", &cases);
    golden("test/differences.txt", &project.run(&["test"]).says(1, &["0 passed, 3 failed"]).out);
    let coloured = project.run(&["test", "--color", "always", "columns"]);
    coloured.says(1, &["\u{1b}[32m\"eve\" ", "\u{1b}[31m\"ada\"\u{1b}[0m"]);
    let found = project.run(&["test", "--format", "json", "columns"]).says(1, &[]).json();
    assert_eq!(
        found[0]["differences"][0]["changes"],
        json!([
            { "path": "author", "expected": "eve", "found": "ada" },
            { "path": "text", "expected": "Helo", "found": "Hello" },
        ])
    );
}

#[tokio::test]
async fn the_sdl_is_the_same_bytes_wherever_it_is_asked_for() {
    let shop = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let project = Project::empty();
    for folder in ["schema", "projections"] {
        for entry in std::fs::read_dir(shop.join(folder)).expect("the shop has it") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
            let text = std::fs::read_to_string(&path).expect("text");
            project.write(&format!("{folder}/{name}"), &text);
        }
    }
    let told = ["OrderConnection! @cost(weight: 8) @listSize(assumedSize: 20"];
    let printed = project.run(&["sdl"]).says(0, &told).out.clone();
    let as_json = project.run(&["sdl", "--format", "json"]).says(0, &[]).json();
    assert_eq!(as_json["sdl"].as_str(), Some(printed.as_str()));
    let dev = Dev::start(&project).await.ready().await;
    assert_eq!(dev.get("/sdl").await.text(), printed);
    let query = r#"{"query":"{ _service { sdl } }"}"#;
    let reply = dev.post("/graphql", &[("content-type", "application/json")], query).await;
    let answer: serde_json::Value = serde_json::from_slice(&reply.body).expect("JSON");
    assert_eq!(answer["data"]["_service"]["sdl"].as_str(), Some(printed.as_str()));
}

#[tokio::test]
async fn what_is_published_says_the_same_with_and_without_a_running_dev() {
    let project = Project::notes();
    let mut dev = None;
    for round in 0..2 {
        let published = project.run_with(&["publish", "notes", "--format", "json"], LINE).says(0, &[]).json();
        assert_eq!(published["records"], json!(1));
        let position = published["readAfter"].as_str().expect("a position").to_owned();
        assert!(position.starts_with("notes:") && position.ends_with(&format!("@{round}")), "{position}");
        project.run_with(&["publish", "notes"], "\n").says(0, &["0 records published"]);
        project.run_with(&["publish", "a b"], LINE).says(2, &["\"a b\" is not a topic name"]);
        project.run(&["publish", "notes", "nowhere.jsonl"]).says(2, &["nowhere.jsonl: No such file"]);
        let other = format!("{LINE}\n{}", r#"{"topic":"other","key":"a","value":1}"#);
        let other = project.run_with(&["publish", "spoilt"], &other);
        other.says(1, &["standard input:2: ", "\"other\"", "1 record before this line went in"]);
        project
            .run_with(&["publish", "spoilt"], "oops")
            .says(1, &["standard input:1: ", "nothing was published"]);
        let large = format!(r#"{{"key":"a","value":"{}"}}"#, "x".repeat(11 << 20));
        let large = project.run_with(&["publish", "spoilt"], &large);
        large.says(1, &["are the most (`serve.limits.record`)", "nothing was published"]);
        if dev.is_none() {
            dev = Some(Dev::start(&project).await.ready().await);
        }
    }
    let dev = dev.expect("it was started");
    assert_eq!(dev.text("a", "").await.as_deref(), Some("x"));
}

#[tokio::test]
async fn status_and_parked_say_the_same_with_and_without_a_running_dev() {
    let project = Project::notes();
    let dev = Dev::start(&project).await.ready().await;
    let eaten = json!({ "type": "NoteEaten", "id": "b" });
    let position = dev.publish("notes", &[written("a", "x"), eaten, written("b", "y")]).await;
    assert_eq!(dev.text("b", &position).await, None);
    let check = || {
        project.run(&["status"]).says(0, &["notes", "3/3", "0 events", "generation 1"]);
        let status = project.run(&["status", "--format", "json"]).says(0, &[]).json();
        assert_eq!(status["projections"][0]["parked_keys"], json!(1));
        let listed = project.run(&["parked", "list"]);
        listed.says(0, &[r#"{"id":"b"}"#, "event type NoteEaten is not known to projection notes", "2"]);
        let listed = project.run(&["parked", "list", "--format", "json"]).says(0, &[]).json();
        assert_eq!((&listed[0]["stage"], &listed[0]["waiting"]), (&json!("route"), &json!(2)));
        let shown = project.run(&["parked", "show", r#"{"id":"b"}"#]);
        shown.says(0, &["2 events wait:", "NoteEaten", "NoteWritten"]);
        project.run(&["parked", "show", "x"]).says(2, &["nothing is parked under \"x\""]);
    };
    check();
    dev.signal("TERM").await;
    check();
}
