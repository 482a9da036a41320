//! `@index`: what an index answers, against a filter over all rows, while rows come, move and go.

use serde_json::{Value as Json, json};

use crate::both::{Both, project, upserting};
use crate::support::seeds;

const SCHEMA: &str = r#"
scalar DateTime
type Query {
  t(id: ID!): T @read
  byStatus(org: ID!, status: Status!, first: Int, after: String, last: Int, before: String): TConnection!
    @read(table: "by_org", count: CAPPED)
  byCity(org: ID!, city: [String!]! @arg(op: IN), below: Int @arg(column: "n", op: LT), first: Int, after: String): TConnection!
    @read(table: "by_org", count: CAPPED)
  byOwner(org: ID!, ownerId: ID!): [T!]! @read(table: "by_month", page: 100)
}
type T @key(fields: "id") @table(name: "t", partition: "id")
  @table(name: "by_org", partition: "org", clustering: "n DESC, id", where: "n >= 0")
  @table(name: "by_month", partition: "org, month(at)", clustering: "at DESC, id", fields: "n") {
  id: ID!  org: ID!  n: Int!  at: DateTime!
  status: Status @index(table: "by_org")
  city: String @index(table: "by_org", ops: [EQ, IN])
  owner: U @ref(key: "ownerId") @index(table: "by_month")
}
type U @key(fields: "id") { id: ID! }
enum Status { OPEN PAID }
"#;

#[derive(Clone, Debug)]
struct Row {
    id: String,
    org: String,
    n: i64,
    at: String,
    status: Option<&'static str>,
    city: Option<&'static str>,
    owner: Option<&'static str>,
}

fn row(id: &str, random: &mut fastrand::Rng) -> Row {
    Row {
        id: id.to_owned(),
        org: format!("o{}", random.u8(0..2)),
        n: random.i64(-1..4),
        at: format!("2026-0{}-01T00:00:0{}.000Z", random.u8(1..4), random.u8(0..3)),
        status: [None, Some("OPEN"), Some("PAID")][random.usize(0..3)],
        city: [None, Some("a"), Some("b"), Some("c")][random.usize(0..4)],
        owner: [None, Some("u1"), Some("u2")][random.usize(0..3)],
    }
}

/// The event that makes the row: what is null in it is null.
fn event(row: &Row) -> Json {
    json!({
        "type": "Set", "id": row.id, "org": row.org, "n": row.n, "at": row.at, "status": row.status, "city": row.city,
        "ownerId": row.owner,
    })
}

async fn ids(both: &Both, field: &str, arguments: &str, size: usize) -> Vec<String> {
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let query = format!(
            "{{ x: {field}({arguments}, first: {size}{after}) {{ totalCount nodes {{ id org n status city owner {{ id }} }} \
             pageInfo {{ endCursor hasNextPage }} }} }}"
        );
        let page = both.data(&query).await["x"].take();
        found.extend(
            page["nodes"]
                .as_array()
                .expect("nodes")
                .iter()
                .map(|node| node["id"].as_str().expect("an id").to_owned()),
        );
        if page["pageInfo"]["hasNextPage"] == json!(false) {
            assert_eq!(page["totalCount"], json!(found.len()), "{query}");
            return found;
        }
        after = format!(", after: {}", page["pageInfo"]["endCursor"]);
    }
}

#[tokio::test]
async fn an_index_answers_what_a_filter_over_all_rows_would() {
    for seed in seeds(4) {
        let random = &mut fastrand::Rng::with_seed(seed);
        let mut both =
            Both::start(SCHEMA, &upserting(&["org", "n", "at", "status", "city", "ownerId"])).await;
        let mut rows: Vec<Row> = Vec::new();
        for round in 0..4 {
            for _ in 0..30 {
                let id = format!("t{}", random.u8(0..25));
                rows.retain(|row| row.id != id);
                if random.u8(0..5) == 0 {
                    both.publish(&[json!({ "type": "Gone", "id": id })]).await;
                    continue;
                }
                let row = row(&id, random);
                both.publish(&[event(&row)]).await;
                rows.push(row);
            }
            let of = |wanted: &dyn Fn(&Row) -> bool| {
                let mut found: Vec<&Row> = rows.iter().filter(|row| row.n >= 0 && wanted(row)).collect();
                found.sort_by_key(|row| (-row.n, row.id.clone()));
                found.iter().map(|row| row.id.clone()).collect::<Vec<_>>()
            };
            for (org, status) in [("o0", "OPEN"), ("o1", "PAID"), ("o9", "OPEN")] {
                let expected = of(&|row| row.org == org && row.status == Some(status));
                let arguments = format!("org: \"{org}\", status: {status}");
                assert_eq!(
                    ids(&both, "byStatus", &arguments, 3).await,
                    expected,
                    "seed {seed}, round {round}: {arguments}"
                );
            }
            for (cities, below) in [(vec!["a", "b"], 2), (vec!["c"], 9), (vec![], 9)] {
                let expected = of(&|row| {
                    row.org == "o0" && row.n < below && row.city.is_some_and(|city| cities.contains(&city))
                });
                let arguments = format!("org: \"o0\", city: {}, below: {below}", json!(cities));
                assert_eq!(
                    ids(&both, "byCity", &arguments, 2).await,
                    expected,
                    "seed {seed}, round {round}: {arguments}"
                );
            }
            let mut expected: Vec<&Row> =
                rows.iter().filter(|row| row.org == "o1" && row.owner == Some("u1")).collect();
            expected.sort_by_key(|row| (std::cmp::Reverse(row.at.clone()), row.id.clone()));
            let expected: Vec<Json> =
                expected.iter().map(|row| json!({ "id": row.id, "at": row.at, "city": row.city })).collect();
            let answer = both.data("{ byOwner(org: \"o1\", ownerId: \"u1\") { id at city } }").await;
            assert_eq!(answer["byOwner"], json!(expected), "seed {seed}, round {round}");
        }
        both.end().await;
    }
}

#[test]
fn explain_shows_the_index_and_its_table() {
    let ended = project(SCHEMA, &upserting(&["org", "n", "at", "status", "city", "ownerId"]))
        .run(&["check", "--explain"]);
    ended.says(
        0,
        &[
            "Query.byStatus: by_org by its index of status",
            "CREATE TABLE by_org__by_status (",
            "CREATE TABLE by_month__by_owner_id (",
        ],
    );
    assert!(!ended.out.contains("CREATE INDEX"), "{}", ended.out);
}

#[test]
fn an_index_is_right_after_redelivery_and_a_crash_at_every_write() {
    let project = project(SCHEMA, &upserting(&["org", "n", "at", "status", "city", "ownerId"]));
    project.write(
        "projections/things.cases.yaml",
        r#"
cases:
  - name: a row is found by what it is now
    given:
      - { topic: things, key: a, value: { type: Set, id: a, org: o, n: 1, at: "2026-01-01T00:00:00Z", status: OPEN, city: x, ownerId: u } }
      - { topic: things, key: b, value: { type: Set, id: b, org: o, n: 2, at: "2026-02-01T00:00:00Z", status: OPEN, city: x, ownerId: u } }
      - { topic: things, key: a, value: { type: Set, id: a, org: o, n: 3, at: "2026-03-01T00:00:00Z", status: PAID, city: x, ownerId: null } }
      - { topic: things, key: a, value: { type: Set, id: a, org: o, n: 3, at: "2026-03-01T00:00:00Z", status: OPEN, city: y, ownerId: u } }
      - { topic: things, key: c, value: { type: Set, id: c, org: o, n: 4, at: "2026-03-01T00:00:00Z", status: OPEN, city: x, ownerId: u } }
      - { topic: things, key: c, value: { type: Gone, id: c } }
    query: |
      { byStatus(org: "o", status: OPEN) { totalCount nodes { id } } paid: byStatus(org: "o", status: PAID) { totalCount }
        byCity(org: "o", city: ["x", "y"]) { nodes { id city } } byOwner(org: "o", ownerId: "u") { id } }
    answer:
      byStatus: { totalCount: 2, nodes: [{ id: a }, { id: b }] }
      paid: { totalCount: 0 }
      byCity: { nodes: [{ id: a, city: y }, { id: b, city: x }] }
      byOwner: [{ id: a }, { id: b }]
"#,
    );
    project.run(&["test"]).says(0, &["1 passed, 0 failed"]);
}
