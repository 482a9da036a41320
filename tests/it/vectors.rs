//! The rows nearest to a vector, against a comparison of all rows in whole numbers, on both stores, while rows come, move
//! and go.

use std::cmp::Ordering;

use serde_json::{Value as Json, json};

use crate::both::{Both, project, upserting};
use crate::support::seeds;

const SCHEMA: &str = r#"
type Query {
  t(id: ID!): T @read
  cosine(org: ID!, a: [Float!]! @arg(op: ANN), first: Int = 10): [T!]! @read(max: 50)
  product(org: ID!, b: [Float!]! @arg(op: ANN), first: Int): [T!]! @read(page: 3, max: 50)
  distance(kind: Kind!, near: [Float!]! @arg(column: "c", op: ANN), first: Int): [T!]! @read(table: "by_kind", max: 50)
}
type T @key(fields: "id") @table(name: "t", partition: "id")
  @table(name: "by_org", partition: "org", clustering: "n DESC, id")
  @table(name: "by_kind", partition: "kind", clustering: "id", fields: "n", where: "n >= 0") {
  id: ID!  org: ID!  n: Int!  kind: Kind!
  a: [Float!] @column(type: "vector<float, 3>", hidden: true) @index(table: "by_org")
  b: [Float!] @column(type: "vector<float, 3>") @index(table: "by_org", ops: [ANN], similarity: DOT_PRODUCT)
  c: [Float!] @column(type: "vector<float, 3>") @index(table: "by_kind", ops: [ANN], similarity: EUCLIDEAN)
}
enum Kind { BOOK FILM }
"#;

const COLUMNS: [&str; 6] = ["org", "n", "kind", "a", "b", "c"];

#[derive(Clone, Debug)]
struct Row {
    id: String,
    org: String,
    n: i64,
    kind: &'static str,
    vector: Option<[i64; 3]>,
}

fn vector(random: &mut fastrand::Rng) -> [i64; 3] {
    loop {
        let found = [random.i64(-2..3), random.i64(-2..3), random.i64(-2..3)];
        if found != [0, 0, 0] {
            return found;
        }
    }
}

fn row(random: &mut fastrand::Rng) -> Row {
    Row {
        id: format!("t{:02}", random.u8(0..40)),
        org: format!("o{}", random.u8(0..2)),
        n: random.i64(-1..4),
        kind: ["BOOK", "FILM"][random.usize(0..2)],
        vector: (random.u8(0..6) > 0).then(|| vector(random)),
    }
}

fn event(row: &Row) -> Json {
    let Row { id, org, n, kind, vector } = row;
    json!({ "type": "Set", "id": id, "org": org, "n": n, "kind": kind, "a": vector, "b": vector, "c": vector })
}

fn product(a: [i64; 3], b: [i64; 3]) -> i64 {
    (0..3).map(|at| a[at] * b[at]).sum()
}

/// Which of two vectors is nearer to the third, in whole numbers.
fn nearer(read: &str, to: [i64; 3], a: [i64; 3], b: [i64; 3]) -> Ordering {
    match read {
        "product" => product(to, b).cmp(&product(to, a)),
        "distance" => {
            let square = |of: [i64; 3]| {
                let far = [of[0] - to[0], of[1] - to[1], of[2] - to[2]];
                product(far, far)
            };
            square(a).cmp(&square(b))
        }
        // cos²·sign of each, both multiplied by the squares of the lengths.
        _ => {
            let signed = |of: [i64; 3]| product(to, of) * product(to, of).abs();
            (signed(b) * product(a, a)).cmp(&(signed(a) * product(b, b)))
        }
    }
}

#[tokio::test]
async fn the_nearest_rows_are_those_of_a_comparison_of_all() {
    for seed in seeds(4) {
        let random = &mut fastrand::Rng::with_seed(seed);
        let mut both = Both::start(SCHEMA, &upserting(&COLUMNS)).await;
        let mut rows: Vec<Row> = Vec::new();
        for round in 0..4 {
            for _ in 0..30 {
                let row = row(random);
                rows.retain(|before| before.id != row.id);
                if random.u8(0..6) == 0 {
                    both.publish(&[json!({ "type": "Gone", "id": row.id })]).await;
                    continue;
                }
                both.publish(&[event(&row)]).await;
                rows.push(row);
            }
            for _ in 0..6 {
                let (to, org, kind) =
                    (vector(random), format!("o{}", random.u8(0..2)), ["BOOK", "FILM"][random.usize(0..2)]);
                let first = (random.u8(0..5) > 0).then(|| random.usize(0..12));
                for (read, given, default) in [
                    ("cosine", format!("org: \"{org}\", a: {to:?}"), 10),
                    ("product", format!("org: \"{org}\", b: {to:?}"), 3),
                    ("distance", format!("kind: {kind}, near: {to:?}"), 20),
                ] {
                    let is_in = |row: &&Row| match read {
                        "distance" => row.kind == kind && row.n >= 0,
                        _ => row.org == org,
                    };
                    let mut expected: Vec<(&Row, [i64; 3])> =
                        rows.iter().filter(is_in).filter_map(|row| Some((row, row.vector?))).collect();
                    match read {
                        "distance" => expected.sort_by_key(|(row, _)| row.id.clone()),
                        _ => expected.sort_by_key(|(row, _)| (-row.n, row.id.clone())),
                    }
                    expected.sort_by(|(_, a), (_, b)| nearer(read, to, *a, *b));
                    expected.truncate(first.unwrap_or(default));
                    let expected: Vec<Json> = expected
                        .iter()
                        .map(|(row, vector)| json!({ "id": row.id, "n": row.n, "b": vector.map(|number| number as f64) }))
                        .collect();
                    let first = first.map_or(String::new(), |first| format!(", first: {first}"));
                    let query = format!("{{ x: {read}({given}{first}) {{ id n b }} }}");
                    let found = both.data(&query).await["x"].take();
                    let numbers = |json: &Json| json.to_string().replace(".0", "");
                    let place = format!("seed {seed}, round {round}: {query}");
                    assert_eq!(numbers(&found), numbers(&Json::Array(expected)), "{place}");
                    // A vector that is not asked for is not needed to answer.
                    let ids =
                        both.data(&format!("{{ x: {read}({given}{first}) {{ id }} }}")).await["x"].take();
                    let names = |list: &Json| {
                        list.as_array()
                            .map(|list| list.iter().map(|row| row["id"].clone()).collect::<Vec<_>>())
                    };
                    assert_eq!(names(&ids), names(&found), "{place}");
                }
            }
        }
        both.end().await;
    }
}

#[tokio::test]
async fn arguments_that_are_no_vector_of_the_column_are_refused() {
    let mut both = Both::start(SCHEMA, &upserting(&COLUMNS)).await;
    both.publish(&[json!({ "type": "Set", "id": "a", "org": "o", "n": 1, "kind": "BOOK", "a": [0.5, 1, 0], "b": [0, 0, 0] })])
        .await;
    for (given, says) in [
        ("a: [1, 2]", "Argument `a`: 2 numbers are given, but vectors have 3 here."),
        ("a: 1", "Argument `a`: 1 numbers are given, but vectors have 3 here."),
        ("a: []", "Argument `a`: 0 numbers are given, but vectors have 3 here."),
        ("a: [0, 0.0, -0.0]", "Argument `a`: all numbers are 0, so it has no direction to compare."),
        ("a: [1, 2, 1e39]", "Argument `a`: 1e+39 is not a Float"),
        ("a: [1, 2, 3], first: 51", "`first` is 51; it must be from 0 to 50."),
    ] {
        let answer = both.ask(&format!("{{ cosine(org: \"o\", {given}) {{ id }} }}")).await;
        let error = &answer["errors"][0];
        assert_eq!(error["extensions"]["code"], "BAD_USER_INPUT", "{given}: {answer}");
        assert!(error["message"].as_str().is_some_and(|text| text.starts_with(says)), "{given}: {answer}");
    }
    // A product needs no direction, and no row is no error.
    let none = both
        .data("{ product(org: \"o\", b: [0, 0, 0]) { id } cosine(org: \"p\", a: [1, 0, 0]) { id } }")
        .await;
    assert_eq!(none, json!({ "product": [{ "id": "a" }], "cosine": [] }));
    both.end().await;
}

#[tokio::test]
async fn events_with_another_number_of_numbers_or_without_direction_wait() {
    for (a, says) in [
        (json!([1, 2]), "a would have 2 numbers, a vector of it has 3"),
        (json!([1, 2, 3, 4]), "a would have 4 numbers, a vector of it has 3"),
        (json!([0, 0, 0]), "a would have no direction: all its numbers are 0"),
    ] {
        let mut both = Both::start(SCHEMA, &upserting(&COLUMNS)).await;
        both.publish(&[json!({ "type": "Set", "id": "a", "org": "o", "n": 1, "kind": "BOOK", "a": a })])
            .await;
        both.ask("{ t(id: \"a\") { id } }").await;
        let reason = both.parked().await.expect("it waits");
        assert!(reason.contains(says), "{reason}");
        both.end().await;
    }
}

#[tokio::test]
async fn a_partition_of_too_many_rows_is_refused() {
    const BOUND: usize = kinora::plan::ENTRIES_MAX;
    let schema = r#"
type Query { near(org: ID!, v: [Float!]! @arg(op: ANN), first: Int): [T!]! @read }
type T @key(fields: "m id") @table(name: "t", partition: "m", clustering: "id", rows: 20000)
  @table(name: "by_org", partition: "org", clustering: "id", rows: 20000) {
  m: ID!  id: ID!  org: ID!
  v: [Float!] @column(type: "vector<float, 1>") @index(table: "by_org", similarity: EUCLIDEAN)
}
"#;
    let projection = "
projection: things
into: T
from: { topic: things, format: json, type: event.type, recordKey: event.id }
key: { m: event.id, id: event.id }
unknown: park
events:
  Many: { each: event.ids, as: l, key: { m: event.id, id: l }, upsert: { org: \"'o'\", v: event.v } }
";
    let mut both = Both::start(schema, projection).await;
    let many = |from: usize, to: usize| {
        let ids: Vec<String> = (from..to).map(|at| format!("t{at:06}")).collect();
        json!({ "type": "Many", "id": "m", "ids": ids, "v": [from] })
    };
    for from in (0..BOUND).step_by(500) {
        both.publish(&[many(from, (from + 500).min(BOUND))]).await;
    }
    let query = "{ near(org: \"o\", v: [9400], first: 2) { id } }";
    assert_eq!(both.data(query).await, json!({ "near": [{ "id": "t009500" }, { "id": "t009501" }] }));
    both.publish(&[many(BOUND, BOUND + 1)]).await;
    let answer = both.ask(query).await;
    let error = &answer["errors"][0];
    assert_eq!(error["extensions"]["code"], "LIMIT_EXCEEDED", "{answer}");
    let expected = format!("This partition has more than {BOUND} rows");
    assert!(error["message"].as_str().is_some_and(|text| text.starts_with(&expected)), "{answer}");
    both.end().await;
}

#[test]
fn explain_shows_the_order_with_its_statement() {
    project(SCHEMA, &upserting(&COLUMNS)).run(&["check", "--explain"]).says(
        0,
        &[
            "Query.cosine: by_org",
            "order       a nearest to $a by COSINE, then n DESC, id ASC",
            "CQL         ORDER BY a ANN OF ? LIMIT ?",
            "reads       1 partition, whole, at most 10000 rows; cost 1",
            "order       c nearest to $near by EUCLIDEAN, then id ASC",
            "  a vector<float, 3>,",
            "CREATE INDEX by_org__by_a ON by_org (a) USING 'sai' WITH OPTIONS = { 'similarity_function': 'COSINE' };",
            "CREATE INDEX by_org__by_b ON by_org (b) USING 'sai' WITH OPTIONS = { 'similarity_function': 'DOT_PRODUCT' };",
        ],
    );
}

#[test]
fn the_nearest_rows_are_right_after_redelivery_and_a_crash_at_every_write() {
    let project = project(SCHEMA, &upserting(&COLUMNS));
    project.write(
        "projections/things.cases.yaml",
        r#"
cases:
  - name: a row is as near as it is now
    given:
      - { topic: things, key: x, value: { type: Set, id: x, org: o, n: 1, kind: BOOK, a: [1, 0, 0], b: [1, 0, 0], c: [1, 0, 0] } }
      - { topic: things, key: y, value: { type: Set, id: y, org: o, n: 2, kind: BOOK, a: [0, 1, 0], b: [0, 1, 0], c: [0, 1, 0] } }
      - { topic: things, key: z, value: { type: Set, id: z, org: o, n: 3, kind: BOOK } }
      - { topic: things, key: x, value: { type: Set, id: x, org: o, n: 1, kind: BOOK, a: [-1, 0, 0], b: [3, 0, 0], c: [9, 0, 0] } }
    query: |
      { cosine(org: "o", a: [1, 0, 0]) { id } product(org: "o", b: [1, 0, 0]) { id } distance(kind: BOOK, near: [1, 0, 0]) { id } }
    answer:
      cosine: [{ id: y }, { id: x }]
      product: [{ id: x }, { id: y }]
      distance: [{ id: y }, { id: x }]
"#,
    );
    project.run(&["test"]).says(0, &["1 passed, 0 failed"]);
}
