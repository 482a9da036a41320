//! A library whose media other subgraphs know by their interface, which lends them to one of several borrowers, and which
//! Apollo's gateway composes and asks (`library.mjs`).

use std::path::Path;

use serde_json::json;

use crate::process::Dev;
use crate::{left_out, node};

const SCHEMA: &str = r#"
type Query { lent(reader: ID!): Loan @read }
interface Media @key(fields: "id") { id: ID!  title: String! }
type Book implements Media @key(fields: "id") @table(name: "books", partition: "id") { id: ID!  title: String! }
type Film implements Media @key(fields: "id") @table(name: "films", partition: "id") {
  id: ID!
  title: String!
  minutes: Int
}
union Borrower = Reader | Shop
type Reader @key(fields: "id") { id: ID! }
type Shop @key(fields: "id") @table(name: "shops", partition: "id") { id: ID!  city: String }
type Loan @key(fields: "reader") @table(name: "loans", partition: "reader") {
  reader: ID!
  media: Media @ref(key: "mediaKey")
  to: Borrower @ref(key: "toKey")
  togetherIds: [ID!]! @column(max: 5, hidden: true)
  together: [Reader]! @ref(key: "togetherIds")
}
"#;

fn write(project: &Path, projection: &str, into: &str, key: &str, set: &str) {
    let text = format!(
        "projection: {projection}\ninto: {into}\n\
         from: {{ topic: {projection}, format: json, type: event.type, recordKey: event.{key} }}\n\
         key: {{ {key}: event.{key} }}\nunknown: park\nevents:\n  Set: {{ upsert: {{ {set} }} }}\n"
    );
    std::fs::write(project.join(format!("projections/{projection}.yaml")), text).expect("it can be written");
}

#[test]
fn apollo_gateway_finds_entities_by_their_interface_and_one_of_several() {
    if left_out("Apollo's gateway over entity interfaces") {
        return;
    }
    let project = tempfile::tempdir().expect("a temporary directory can be made");
    let project = project.path();
    for folder in ["schema", "projections"] {
        std::fs::create_dir(project.join(folder)).expect("a folder can be made");
    }
    std::fs::write(project.join("schema/library.graphql"), SCHEMA).expect("it can be written");
    write(project, "books", "Book", "id", "title: event.title");
    write(project, "films", "Film", "id", "title: event.title, minutes: event.minutes");
    write(project, "shops", "Shop", "id", "city: event.city");
    write(
        project,
        "loans",
        "Loan",
        "reader",
        "mediaKey: event.media, toKey: event.to, togetherIds: event.together",
    );
    let dev = Dev::start_on(project);
    let of = |name: &str, id: &str| json!({ "__typename": name, "id": id });
    let loan = |reader: &str, media, to, together: &[&str]| json!({ "type": "Set", "reader": reader, "media": media, "to": to, "together": together });
    let published = [
        ("books", "b1", json!({ "type": "Set", "id": "b1", "title": "A book" })),
        ("films", "f1", json!({ "type": "Set", "id": "f1", "title": "A film", "minutes": 90 })),
        ("shops", "s1", json!({ "type": "Set", "id": "s1", "city": "Bern" })),
        ("loans", "r1", loan("r1", of("Book", "b1"), of("Reader", "r1"), &["s1"])),
        ("loans", "s1", loan("s1", of("Film", "f1"), of("Shop", "s1"), &[])),
    ];
    for (topic, key, event) in published {
        let position = dev.publish_event(topic, key, event);
        let all = r#"{ lent(reader: "r1") { media { id } to { ... on Shop { id } } } }"#;
        dev.data(all, Some(&position));
    }
    node("library.mjs", &dev.url("/graphql"));
}
