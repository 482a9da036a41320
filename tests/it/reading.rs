//! What `@read` says of a list beside its table: its order, and how long an answer may be kept.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use kinora::resolve::{Caching, Request};

use crate::both::{Both, project, upserting};
use crate::support::seeds;

const SCHEMA: &str = r#"
scalar DateTime
type Query {
  t(id: ID!): T @read(maxAge: 30)
  here(org: ID!, first: Int, after: String, last: Int, before: String): TConnection! @read(table: "by_org", maxAge: 60, scope: PRIVATE)
  turned(org: ID!, least: Int @arg(column: "n", op: GTE), first: Int, after: String, last: Int, before: String): TConnection!
    @read(table: "by_org", order: "n, id DESC")
  months(org: ID!, first: Int, after: String, last: Int, before: String): TConnection! @read(table: "by_month", order: "at", maxAge: 20)
  shards(org: ID!, first: Int, after: String, last: Int, before: String): TConnection! @read(table: "shards", order: "n DESC, id DESC")
  newest(org: ID!): T @read(table: "by_month", maxAge: 5)
  oldest(org: ID!): T @read(table: "by_month", order: "at ASC, id DESC", maxAge: 5)
  few(org: ID!): [T!]! @read(table: "by_org", order: "n DESC, id", page: 2)
  owned(org: ID!, tag: String!, first: Int, after: String, last: Int, before: String): TConnection! @read(table: "by_org", order: "n, id DESC")
}
type T @key(fields: "id") @table(name: "t", partition: "id")
  @table(name: "by_org", partition: "org", clustering: "n DESC, id")
  @table(name: "by_month", partition: "org, month(at)", clustering: "at DESC")
  @table(name: "shards", partition: "org, hash(id, 3)", clustering: "n, id") {
  id: ID!  org: ID!  n: Int!  at: DateTime!
  tag: String @index(table: "by_org")
  next: T @ref(key: "nextId")
}
"#;

const COLUMNS: [&str; 5] = ["org", "n", "at", "tag", "nextId"];

/// Id, `n`, time and tag.
type Row = (String, i64, String, &'static str);

async fn ids(both: &Both, read: &str, size: usize, backward: bool) -> Vec<String> {
    let (mut pages, mut place) = (Vec::new(), String::new());
    let (count, cursor, end, more, none) = match backward {
        false => ("first", "after", "endCursor", "hasNextPage", "hasPreviousPage"),
        true => ("last", "before", "startCursor", "hasPreviousPage", "hasNextPage"),
    };
    loop {
        let query = format!(
            "{{ x: {read}, {count}: {size}{place}) {{ nodes {{ id }} pageInfo {{ {end} {more} {none} }} }} }}"
        );
        let page = both.data(&query).await["x"].take();
        let nodes = page["nodes"].as_array().expect("nodes");
        assert_eq!(page["pageInfo"][none], json!(!place.is_empty()), "{query}");
        pages.push(
            nodes.iter().map(|node| node["id"].as_str().expect("an id").to_owned()).collect::<Vec<_>>(),
        );
        if page["pageInfo"][more] == json!(false) {
            if backward {
                pages.reverse();
            }
            return pages.concat();
        }
        place = format!(", {cursor}: {}", page["pageInfo"][end]);
    }
}

#[tokio::test]
async fn a_list_is_read_in_the_order_of_its_table_or_the_reverse() {
    for seed in seeds(4) {
        let random = &mut fastrand::Rng::with_seed(seed);
        let mut both = Both::start(SCHEMA, &upserting(&COLUMNS)).await;
        let mut rows: Vec<Row> = Vec::new();
        for at in 0..random.usize(1..30) {
            let (n, month, second) = (random.i64(0..6), random.u8(1..5), random.u8(0..3));
            let (id, at) = (format!("t{at:02}"), format!("2026-0{month}-01T00:00:0{second}.000Z"));
            let tag = ["a", "b"][random.usize(0..2)];
            both.publish(&[json!({ "type": "Set", "id": id, "org": "o", "n": n, "at": at, "tag": tag })])
                .await;
            rows.push((id, n, at, tag));
        }
        let sorted = |key: &dyn Fn(&Row) -> (i64, String), wanted: &dyn Fn(i64, &str) -> bool| {
            let mut found: Vec<_> = rows.iter().filter(|row| wanted(row.1, row.3)).collect();
            found.sort_by_key(|row| (key(row), row.0.clone()));
            found.iter().map(|row| row.0.clone()).collect::<Vec<_>>()
        };
        let down = |row: &Row| (-row.1, String::new());
        let up = |row: &Row| (row.1, String::new());
        let reversed = |mut ids: Vec<String>| {
            ids.reverse();
            ids
        };
        let mut by_time: Vec<_> = rows.iter().collect();
        by_time.sort_by(|a, b| (&b.2, &a.0).cmp(&(&a.2, &b.0)));
        let by_time: Vec<String> = by_time.iter().map(|row| row.0.clone()).collect();
        let asks = [
            ("turned(org: \"o\"", reversed(sorted(&down, &|_, _| true))),
            ("turned(org: \"o\", least: 2", reversed(sorted(&down, &|n, _| n >= 2))),
            ("owned(org: \"o\", tag: \"a\"", reversed(sorted(&down, &|_, tag| tag == "a"))),
            ("shards(org: \"o\"", reversed(sorted(&up, &|_, _| true))),
            ("months(org: \"o\"", reversed(by_time.clone())),
            ("here(org: \"o\"", sorted(&down, &|_, _| true)),
        ];
        for (read, expected) in asks {
            let size = random.usize(1..7);
            assert_eq!(ids(&both, read, size, false).await, expected, "seed {seed}: {read}");
            assert_eq!(ids(&both, read, size, true).await, expected, "seed {seed}: {read}, backward");
        }
        let few: Vec<Json> =
            sorted(&down, &|_, _| true).into_iter().take(2).map(|id| json!({ "id": id })).collect();
        let answer =
            both.data("{ newest(org: \"o\") { id } oldest(org: \"o\") { id } few(org: \"o\") { id } }").await;
        let expected = json!({ "newest": { "id": by_time[0] }, "oldest": { "id": by_time[by_time.len() - 1] }, "few": few });
        assert_eq!(answer, expected, "seed {seed}");
        both.end().await;
    }
}

#[test]
fn explain_shows_the_order_of_the_list() {
    project(SCHEMA, &upserting(&COLUMNS)).run(&["check", "--explain"]).says(
        0,
        &["Query.turned: by_org\n    partition   org = $org\n    range       n >= $least\n    order       n ASC, id DESC"],
    );
}

#[tokio::test]
async fn an_answer_is_kept_as_long_as_the_narrowest_of_its_reads_says() {
    let mut both = Both::start(SCHEMA, &upserting(&COLUMNS)).await;
    let event =
        json!({ "type": "Set", "id": "a", "org": "o", "n": 1, "at": "2026-01-01T00:00:00Z", "nextId": "a" });
    both.publish(&[event]).await;
    both.data("{ t(id: \"a\") { id } }").await;
    let serving = both.engines[0].serving().expect("it answers");
    let kept = async |query: &str| {
        let request = Request { query: query.to_owned(), ..Request::default() };
        let serving = Arc::clone(&serving);
        serving.graph.execute(request, &serving.tables).await.caching
    };
    let some = |max_age_s, is_private| Some(Caching { max_age_s, is_private });
    for (query, expected) in [
        ("{ t(id: \"a\") { id } }", some(30, false)),
        ("{ __typename t(id: \"a\") { next { n next { id } } } }", some(30, false)),
        ("{ t(id: \"a\") { id } here(org: \"o\") { nodes { id } } }", some(30, true)),
        ("{ here(org: \"o\") { nodes { id } } newest(org: \"o\") { id } }", some(5, true)),
        ("{ t(id: \"a\") { id } few(org: \"o\") { id } }", None),
        ("{ t(id: \"a\") { id } few(org: \"o\") @skip(if: true) { id } }", some(30, false)),
        (
            "{ _entities(representations: [{ __typename: \"T\", id: \"a\" }]) { __typename } t(id: \"a\") { id } }",
            None,
        ),
        ("{ __typename }", None),
        ("{ months(org: \"o\", first: -1) { nodes { id } } t(id: \"a\") { id } }", None),
        ("{ nothing }", None),
    ] {
        assert_eq!(kept(query).await, expected, "{query}");
    }
    drop(serving);
    both.end().await;
}
