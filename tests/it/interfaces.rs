//! `@key` on interfaces, and types that are spread over extensions.

use serde_json::{Value as Json, json};

use crate::both::{Both, project};

const SCHEMA: &str = r#"
type Query { t(id: ID!): T @read  film(id: ID!): Film @read }
interface Media @key(fields: "id") { id: ID! }
extend interface Media { title: String! }
type T implements Media @key(fields: "id") @table(name: "t", partition: "id") {
  id: ID!
  title: String!
  pages: Int
  bonus: Extra
}
type Film implements Media @key(fields: "id") @key(fields: "code")
  @table(name: "films", partition: "id") @table(name: "films_by_code", partition: "code") {
  id: ID!
  code: String!
  title: String!
  minutes: Int
}
union Extra = Poster
extend union Extra = Song
type Poster @udt { width: Int! }
type Song @udt { name: String! }
scalar When
extend scalar When @specifiedBy(url: "https://scalars.graphql.org/andimarek/date-time.html")
extend type T { at: When }
enum Genre { CRIME }
extend enum Genre { LOVE }
extend type Film { genre: Genre }
"#;

const BOOKS: &str = "
projection: things
into: T
from: { topic: things, format: json, type: event.type, recordKey: event.id }
key: { id: event.id }
unknown: park
events:
  Set: { upsert: { title: event.title, pages: event.pages, bonus: event.bonus, at: event.at } }
";

const FILMS: &str = "
projection: films
into: Film
from: { topic: films, format: json, type: event.type, recordKey: event.id }
key: { id: event.id }
unknown: park
events:
  Shot: { upsert: { title: event.title, code: event.code, minutes: event.minutes, genre: event.genre } }
";

async fn start() -> Both {
    let mut both = Both::start_with(SCHEMA, BOOKS, &[("films", FILMS)]).await;
    both.publish(&[
        json!({ "type": "Set", "id": "b1", "title": "a book", "pages": 90, "bonus": { "__typename": "Song", "name": "s" }, "at": "2026-01-01T00:00:00Z" }),
        json!({ "type": "Set", "id": "both", "title": "the book" }),
    ])
    .await;
    both.publish_to("films", "id", &[
        json!({ "type": "Shot", "id": "f1", "code": "x", "title": "a film", "minutes": 90, "genre": "LOVE" }),
        json!({ "type": "Shot", "id": "both", "code": "y", "title": "the film" }),
    ])
    .await;
    both
}

#[tokio::test]
async fn an_entity_known_by_its_interface_is_answered_as_the_type_that_has_a_row() {
    let both = start().await;
    let query = r#"{ _entities(representations: [
        { __typename: "Media", id: "f1" },
        { __typename: "Media", id: "b1" },
        { __typename: "Media", id: "none" },
        { __typename: "Film", code: "x" },
        { __typename: "Media", id: "b1" },
        { __typename: "Media", id: "both" },
        { __typename: "Media", code: "x" },
        { __typename: "Media" },
        { __typename: "Extra", id: "b1" }
    ]) { __typename ... on Media { title } ... on Film { minutes } ... on T { pages } } }"#;
    let answer = both.ask(query).await;
    let film = json!({ "__typename": "Film", "title": "a film", "minutes": 90 });
    let book = json!({ "__typename": "T", "title": "a book", "pages": 90 });
    let first = json!({ "__typename": "T", "title": "the book", "pages": null });
    assert_eq!(answer["data"]["_entities"], json!([film, book, null, film, book, first, null, null, null]));
    let errors = answer["errors"].as_array().expect("errors");
    let errors: Vec<(&Json, &str)> =
        errors.iter().map(|error| (&error["path"][1], error["message"].as_str().expect("a text"))).collect();
    assert_eq!(
        errors,
        [
            (&json!(6), "A representation of T has none of its keys: `id`."),
            (&json!(7), "A representation of T has none of its keys: `id`."),
            (&json!(8), "`__typename` is \"Extra\", which is no entity of this subgraph."),
        ]
    );
    both.end().await;
}

#[tokio::test]
async fn what_extensions_add_is_part_of_the_type() {
    let both = start().await;
    let query = r#"{
      t(id: "b1") { title at bonus { ... on Poster { width } ... on Song { name } } ... on Media { title } }
      film(id: "f1") { genre }
      __type(name: "Extra") { possibleTypes { name } }
      media: __type(name: "Media") { fields { name } }
      when: __type(name: "When") { specifiedByURL }
    }"#;
    let expected = json!({
        "t": { "title": "a book", "at": "2026-01-01T00:00:00.000Z", "bonus": { "name": "s" } },
        "film": { "genre": "LOVE" },
        "__type": { "possibleTypes": [{ "name": "Poster" }, { "name": "Song" }] },
        "media": { "fields": [{ "name": "id" }, { "name": "title" }] },
        "when": { "specifiedByURL": "https://scalars.graphql.org/andimarek/date-time.html" },
    });
    assert_eq!(both.data(query).await, expected);
    both.end().await;
}

#[test]
fn the_gateway_sees_the_key_of_the_interface_and_the_version_that_knows_it() {
    let project = project(SCHEMA, BOOKS);
    project.write("projections/films.yaml", FILMS);
    project.run(&["sdl"]).says(
        0,
        &[
            r#"@link(url: "https://specs.apollo.dev/federation/v2.9", import: ["@cost", "@key"])"#,
            r#"interface Media @key(fields: "id") { id: ID! }"#,
            "extend interface Media { title: String! }",
            "extend union Extra = Song",
        ],
    );
}
