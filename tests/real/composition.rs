//! What `check --subgraph` finds is what Apollo's own composition finds.

use std::process::Command;

use serde_json::{Value as Json, json};

use super::{left_out, node};

const OURS: &str = r#"
scalar Decimal
type Query {
  order(id: ID!): Order @read
  stock(id: ID!): [Stock!] @read @shareable
}
type Order @key(fields: "id") @table(name: "orders", partition: "id") {
  id: ID!
  total: Decimal! @shareable
  number: String
  status: Status!
  codes: [Int!]! @column(max: 5) @shareable
  note: Note
}
type Stock @key(fields: "id at") @shareable @table(name: "stock", partition: "id", clustering: "at", rows: 10) {
  id: ID!
  at: ID!
  count: Int!
}
type Note @udt @shareable { text: String!  by: String }
enum Status { OPEN PAID }
"#;

const LINK: &str = r#"extend schema @link(url: "https://specs.apollo.dev/federation/v2.3",
  import: ["@key", "@shareable", "@external", "@override", "@provides", "@interfaceObject"])
"#;

/// What the other subgraph says, without its link.
const OTHERS: &[(&str, &str)] = &[
    ("nothing of the same name", "type Query { users: [User!]! } type User @key(fields: \"id\") { id: ID! }"),
    (
        "a root field of the same name",
        "type Query { order(id: ID!): Order } type Order @key(fields: \"id\") { id: ID! }",
    ),
    (
        "a root field that both share",
        "type Query { stock(id: ID!): [Stock!] @shareable } type Stock @key(fields: \"id at\") { id: ID! at: ID! }",
    ),
    (
        "a root field that only we share",
        "type Query { stock(id: ID!): [Stock!] } type Stock @key(fields: \"id at\") { id: ID! at: ID! }",
    ),
    (
        "a root type of another name",
        "schema { query: Root } type Root { order(id: ID!): Order } type Order @key(fields: \"id\") { id: ID! }",
    ),
    (
        "an entity with fields of its own",
        "type Query { a: Int } type Order @key(fields: \"id\") { id: ID! weight: Int }",
    ),
    (
        "a field that neither shares",
        "type Query { a: Int } type Order @key(fields: \"id\") { id: ID! number: String }",
    ),
    (
        "a field that only they share",
        "type Query { a: Int } type Order @key(fields: \"id\") { id: ID! number: String @shareable }",
    ),
    (
        "a field that both share",
        "type Query { a: Int } scalar Decimal type Order @key(fields: \"id\") { id: ID! total: Decimal! @shareable }",
    ),
    (
        "a shared field that may be null there",
        "type Query { a: Int } scalar Decimal type Order @key(fields: \"id\") { id: ID! total: Decimal @shareable }",
    ),
    (
        "a shared field of another type",
        "type Query { a: Int } type Order @key(fields: \"id\") { id: ID! total: String! @shareable }",
    ),
    (
        "a shared field that is no list there",
        "type Query { a: Int } type Order @key(fields: \"id\") { id: ID! codes: Int! @shareable }",
    ),
    (
        "a field that is taken over",
        "type Query { a: Int } type Order @key(fields: \"id\") { id: ID! number: String @override(from: \"ours\") }",
    ),
    (
        "a field that is external there",
        "type Query { o: Order @provides(fields: \"number\") } type Order @key(fields: \"id\") { id: ID! number: String @external }",
    ),
    (
        "a field that is a key there",
        "type Query { a: Int } type Order @key(fields: \"id\") @key(fields: \"number\") { id: ID! number: String }",
    ),
    (
        "a field inside a key there",
        "type Query { a: Int } type Bill @key(fields: \"order { id }\") { order: Order! } type Order @key(fields: \"id\") { id: ID! }",
    ),
    (
        "a value type that both share",
        "type Query { n: Note } type Note @shareable { text: String! by: String }",
    ),
    ("a value type that only we share", "type Query { n: Note } type Note { text: String! by: String }"),
    ("an enum that is an object there", "type Query { s: Status } type Status { text: String! }"),
    (
        "an object that is an interface there",
        "type Query { o: Order } interface Order { id: ID! } type Web implements Order { id: ID! }",
    ),
    ("a scalar that is an enum there", "type Query { d: Decimal } enum Decimal { ONE TWO }"),
    ("an enum with the same values", "type Query { s: Status } enum Status { OPEN PAID }"),
];

/// Subgraphs with a link of their own, or none.
const LINKED: &[(&str, &str)] = &[
    ("Federation 1, a value type", "type Query { n: Note } type Note { text: String! by: String }"),
    (
        "Federation 1, a field of an entity",
        "type Query { a: Int } type Order @key(fields: \"id\") { id: ID! number: String }",
    ),
    (
        "directives by other names",
        r#"extend schema @link(url: "https://specs.apollo.dev/federation/v2.3", as: "fed", import: [{ name: "@shareable", as: "@common" }])
        scalar Decimal type Query { a: Int } type Order @fed__key(fields: "id") { id: ID! total: Decimal! @common }"#,
    ),
];

#[test]
fn check_with_another_subgraph_agrees_with_composition() {
    if left_out("composition") {
        return;
    }
    let project = tempfile::tempdir().expect("a temporary directory can be made");
    std::fs::create_dir(project.path().join("schema")).expect("a folder can be made");
    std::fs::write(project.path().join("schema/ours.graphql"), OURS).expect("a file can be written");
    let kinora = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kinora"));
        command.args(arguments).arg("--project").arg(project.path());
        command.output().expect("kinora can be run")
    };
    let linked = LINKED.iter().map(|(name, text)| (*name, (*text).to_owned()));
    let others = OTHERS.iter().map(|(name, text)| (*name, format!("{LINK}{text}"))).chain(linked);
    let mut told: Vec<Json> = Vec::new();
    for (name, sdl) in others {
        let path = project.path().join("other.graphql");
        std::fs::write(&path, &sdl).expect("a file can be written");
        let path = path.display().to_string();
        let output = kinora(&["check", "--format", "json", "--subgraph", &path]);
        let found: Json = serde_json::from_slice(&output.stdout).expect("findings are JSON");
        let found = found.as_array().expect("findings are a list");
        assert!(
            found.iter().all(|finding| finding["severity"] != "error" || finding["code"] == "L31"),
            "{found:?}"
        );
        let fires = found.iter().any(|finding| finding["code"] == "L31");
        assert_eq!(output.status.code(), Some(if fires { 3 } else { 0 }), "{name}: {found:?}");
        told.push(json!({ "name": name, "sdl": sdl, "fires": fires }));
    }
    let fired = told.iter().filter(|told| told["fires"] == true).count();
    assert!(fired >= 8 && fired < told.len(), "{fired} of {} collide", told.len());
    let ours = String::from_utf8(kinora(&["sdl"]).stdout).expect("SDL is text");
    let file = project.path().join("told.json");
    let text = json!({ "ours": ours, "others": told }).to_string();
    std::fs::write(&file, text).expect("a file can be written");
    node("composition.mjs", &file.display().to_string());
}
