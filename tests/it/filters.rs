//! Indexes of ranges and of collections, alone and several at once, against a filter over all rows, while rows come, move
//! and go.

use serde_json::{Value as Json, json};

use crate::both::{Both, project, upserting};
use crate::support::seeds;

const SCHEMA: &str = r#"
scalar DateTime
type Query {
  t(id: ID!): T @read
  scored(org: ID!, least: Int @arg(column: "score", op: GTE), below: Int @arg(column: "score", op: LT),
         first: Int, after: String, last: Int, before: String): TConnection! @read(table: "by_org", count: CAPPED)
  tagged(org: ID!, tag: String! @arg(column: "tags", op: CONTAINS), first: Int, after: String, last: Int, before: String):
    TConnection! @read(table: "by_org", count: CAPPED)
  holding(org: ID!, sku: ID! @arg(column: "lines", op: CONTAINS), above: Int @arg(column: "n", op: GT),
          first: Int, after: String, last: Int, before: String): TConnection! @read(table: "by_org", count: CAPPED)
  all(org: ID!, tag: String! @arg(column: "tags", op: CONTAINS), state: [State!]! @arg(op: IN), least: Int @arg(column: "score", op: GTE),
      most: Int @arg(column: "score", op: LTE), first: Int, after: String, last: Int, before: String): TConnection!
    @read(table: "by_org", count: CAPPED)
  both(org: ID!, tag: String! @arg(column: "tags", op: CONTAINS), other: String! @arg(column: "tags", op: CONTAINS),
       first: Int, after: String, last: Int, before: String): TConnection! @read(table: "by_org", count: CAPPED)
  months(org: ID!, least: Int @arg(column: "score", op: GT), most: Int @arg(column: "score", op: LTE), word: String! @arg(column: "words", op: CONTAINS),
         first: Int, after: String, last: Int, before: String): TConnection! @read(table: "by_month", count: CAPPED)
  sharded(org: ID!, least: Int @arg(column: "score", op: GTE), most: Int @arg(column: "score", op: LT),
         first: Int, after: String, last: Int, before: String): TConnection! @read(table: "shards", count: CAPPED)
  worded(org: ID!, word: String! @arg(column: "words", op: CONTAINS),
         first: Int, after: String, last: Int, before: String): TConnection! @read(table: "by_month", count: CAPPED)
}
type T @key(fields: "id") @table(name: "t", partition: "id")
  @table(name: "by_org", partition: "org", clustering: "n DESC, id", where: "n >= 0")
  @table(name: "by_month", partition: "org, month(at)", clustering: "at DESC, id", fields: "n")
  @table(name: "shards", partition: "org, hash(id, 3)", clustering: "n, id", fields: "at") {
  id: ID!  org: ID!  n: Int!  at: DateTime!
  state: State @index(table: "by_org", ops: [IN])
  score: Int @index(table: "by_org", ops: [GTE, GT, LTE, LT]) @index(table: "by_month", ops: [GT, LTE]) @index(table: "shards", ops: [GTE, LT])
  tags: [String!] @column(as: SET, max: 9) @index(table: "by_org", ops: [CONTAINS])
  words: [String!] @column(as: LIST, max: 9) @index(table: "by_month")
  lines: [Line!] @column(as: MAP, key: "sku", max: 9) @index(table: "by_org", ops: [CONTAINS])
}
type Line @udt { sku: ID!  count: Int! }
enum State { OPEN PAID }
"#;

const COLUMNS: [&str; 8] = ["org", "n", "at", "state", "score", "tags", "words", "lines"];

#[derive(Clone, Debug)]
struct Row {
    id: String,
    org: String,
    n: i64,
    at: String,
    state: Option<&'static str>,
    score: Option<i64>,
    tags: Vec<&'static str>,
    words: Vec<&'static str>,
    skus: Vec<&'static str>,
}

fn some(random: &mut fastrand::Rng) -> Vec<&'static str> {
    let mut words: Vec<&str> = ["a", "b", "c"].into_iter().filter(|_| random.bool()).collect();
    random.shuffle(&mut words);
    words
}

fn row(id: &str, random: &mut fastrand::Rng) -> Row {
    Row {
        id: id.to_owned(),
        org: format!("o{}", random.u8(0..2)),
        n: random.i64(-1..4),
        at: format!("2026-0{}-01T00:00:0{}.000Z", random.u8(1..4), random.u8(0..3)),
        state: [None, Some("OPEN"), Some("PAID")][random.usize(0..3)],
        score: (random.u8(0..4) > 0).then(|| random.i64(-3..4)),
        tags: some(random),
        words: [some(random), some(random)].concat(),
        skus: some(random),
    }
}

fn event(row: &Row) -> Json {
    let lines: Vec<Json> = row.skus.iter().map(|sku| json!({ "sku": sku, "count": 1 })).collect();
    json!({
        "type": "Set", "id": row.id, "org": row.org, "n": row.n, "at": row.at, "state": row.state, "score": row.score,
        "tags": row.tags, "words": row.words, "lines": lines,
    })
}

/// The ids of a list, read page by page in one direction; their number is what `totalCount` says.
async fn ids(both: &Both, read: &str, arguments: &str, size: usize, backward: bool) -> Vec<String> {
    let (mut pages, mut place) = (Vec::new(), String::new());
    let (count, cursor, end, more) = match backward {
        false => ("first", "after", "endCursor", "hasNextPage"),
        true => ("last", "before", "startCursor", "hasPreviousPage"),
    };
    loop {
        let query = format!(
            "{{ x: {read}({arguments}, {count}: {size}{place}) {{ totalCount nodes {{ id n score tags lines {{ sku }} }} \
             pageInfo {{ {end} {more} }} }} }}"
        );
        let page = both.data(&query).await["x"].take();
        let nodes = page["nodes"].as_array().expect("nodes");
        pages.push(
            nodes.iter().map(|node| node["id"].as_str().expect("an id").to_owned()).collect::<Vec<_>>(),
        );
        if page["pageInfo"][more] == json!(false) {
            if backward {
                pages.reverse();
            }
            let all = pages.concat();
            assert_eq!(page["totalCount"], json!(all.len()), "{query}");
            return all;
        }
        place = format!(", {cursor}: {}", page["pageInfo"][end]);
    }
}

/// A read with its arguments, and the rows that it should find.
struct Ask<'a> {
    read: &'static str,
    arguments: String,
    matches: Box<dyn Fn(&Row) -> bool + 'a>,
}

fn ask<'a>(read: &'static str, arguments: String, matches: impl Fn(&Row) -> bool + 'a) -> Ask<'a> {
    Ask { read, arguments, matches: Box::new(matches) }
}

fn asks(random: &mut fastrand::Rng) -> Vec<Ask<'static>> {
    let org = format!("o{}", random.u8(0..2));
    let (low, high) = (random.i64(-4..3), random.i64(-2..5));
    let (tag, other) = (["a", "b", "c", "d"][random.usize(0..4)], ["a", "b", "c"][random.usize(0..3)]);
    let given = |random: &mut fastrand::Rng| random.u8(0..4) > 0;
    let (has_low, has_high) = (given(random), given(random));
    let bounds = |low_name: &str, high_name: &str| {
        let low = if has_low { format!(", {low_name}: {low}") } else { String::new() };
        let high = if has_high { format!(", {high_name}: {high}") } else { String::new() };
        format!("{low}{high}")
    };
    let between = move |row: &Row, low_in: bool, high_in: bool| {
        let above = |score: i64| if low_in { score >= low } else { score > low };
        let below = |score: i64| if high_in { score <= high } else { score < high };
        (!has_low || row.score.is_some_and(above)) && (!has_high || row.score.is_some_and(below))
    };
    let of = |org: &str| {
        let org = org.to_owned();
        move |row: &Row| row.org == org
    };
    let (scored, tagged, holding, all, both, months, sharded, worded) =
        (of(&org), of(&org), of(&org), of(&org), of(&org), of(&org), of(&org), of(&org));
    vec![
        ask("scored", format!("org: \"{org}\"{}", bounds("least", "below")), move |row| {
            scored(row) && row.n >= 0 && between(row, true, false)
        }),
        ask("tagged", format!("org: \"{org}\", tag: \"{tag}\""), move |row| {
            tagged(row) && row.n >= 0 && row.tags.contains(&tag)
        }),
        ask("holding", format!("org: \"{org}\", sku: \"{tag}\", above: {low}"), move |row| {
            holding(row) && row.n >= 0 && row.n > low && row.skus.contains(&tag)
        }),
        ask(
            "all",
            format!("org: \"{org}\", tag: \"{tag}\", state: [OPEN]{}", bounds("least", "most")),
            move |row| {
                all(row)
                    && row.n >= 0
                    && row.tags.contains(&tag)
                    && row.state == Some("OPEN")
                    && between(row, true, true)
            },
        ),
        ask("both", format!("org: \"{org}\", tag: \"{tag}\", other: \"{other}\""), move |row| {
            both(row) && row.n >= 0 && row.tags.contains(&tag) && row.tags.contains(&other)
        }),
        ask("months", format!("org: \"{org}\", word: \"{tag}\"{}", bounds("least", "most")), move |row| {
            months(row) && row.words.contains(&tag) && between(row, false, true)
        }),
        ask("sharded", format!("org: \"{org}\"{}", bounds("least", "most")), move |row| {
            sharded(row) && between(row, true, false)
        }),
        ask("worded", format!("org: \"{org}\", word: \"{tag}\""), move |row| {
            worded(row) && row.words.contains(&tag)
        }),
    ]
}

/// The order of the table that a read reads.
fn sort(read: &str, rows: &mut [&Row]) {
    match read {
        "months" | "worded" => rows.sort_by_key(|row| (std::cmp::Reverse(row.at.clone()), row.id.clone())),
        "sharded" => rows.sort_by_key(|row| (row.n, row.id.clone())),
        _ => rows.sort_by_key(|row| (-row.n, row.id.clone())),
    }
}

#[tokio::test]
async fn indexes_answer_what_a_filter_over_all_rows_would() {
    for seed in seeds(4) {
        let random = &mut fastrand::Rng::with_seed(seed);
        let mut both = Both::start(SCHEMA, &upserting(&COLUMNS)).await;
        let mut rows: Vec<Row> = Vec::new();
        for round in 0..4 {
            for _ in 0..30 {
                let id = format!("t{}", random.u8(0..25));
                rows.retain(|row| row.id != id);
                if random.u8(0..6) == 0 {
                    both.publish(&[json!({ "type": "Gone", "id": id })]).await;
                    continue;
                }
                let row = row(&id, random);
                both.publish(&[event(&row)]).await;
                rows.push(row);
            }
            for _ in 0..4 {
                for Ask { read, arguments, matches } in asks(random) {
                    let mut expected: Vec<&Row> = rows.iter().filter(|row| matches(row)).collect();
                    sort(read, &mut expected);
                    let expected: Vec<String> = expected.iter().map(|row| row.id.clone()).collect();
                    let place = format!("seed {seed}, round {round}: {read}({arguments})");
                    let size = random.usize(1..5);
                    assert_eq!(ids(&both, read, &arguments, size, false).await, expected, "{place}");
                    assert_eq!(ids(&both, read, &arguments, size, true).await, expected, "{place}, backward");
                }
            }
        }
        both.end().await;
    }
}

#[test]
fn explain_shows_ranges_and_filters_with_their_statements() {
    project(SCHEMA, &upserting(&COLUMNS)).run(&["check", "--explain"]).says(
        0,
        &[
            "Query.scored: by_org by its index of score",
            "index       score >= $least, score < $below",
            "of each, all entries in the range, sorted, at most 10000 for a page",
            "Query.tagged: by_org by its index of tags",
            "org = $org, tags contains $tag",
            "index       state in $state, score >= $least, score <= $most",
            "the base row of every entry until the page is full, at most 10000 for a page",
            "CREATE TABLE by_org__in_order_of_score (",
            "CREATE TABLE by_org__by_tags (",
            "  tags frozen<set<text>>,",
            "  lines frozen<map<text, frozen<line>>>,",
        ],
    );
}

#[test]
fn indexes_are_right_after_redelivery_and_a_crash_at_every_write() {
    let project = project(SCHEMA, &upserting(&COLUMNS));
    project.write(
        "projections/things.cases.yaml",
        r#"
cases:
  - name: a row is found by what it holds now
    given:
      - { topic: things, key: a, value: { type: Set, id: a, org: o, n: 1, at: "2026-01-01T00:00:00Z", score: 5, tags: [x, y], words: [w, w], lines: [{ sku: s, count: 1 }] } }
      - { topic: things, key: b, value: { type: Set, id: b, org: o, n: 2, at: "2026-02-01T00:00:00Z", score: 7, tags: [x], words: [w], lines: [] } }
      - { topic: things, key: a, value: { type: Set, id: a, org: o, n: 1, at: "2026-01-01T00:00:00Z", score: 6, tags: [y], words: [v], lines: [{ sku: t, count: 1 }] } }
      - { topic: things, key: a, value: { type: Set, id: a, org: o, n: 3, at: "2026-01-01T00:00:00Z", score: 5, tags: [y, x], words: [w, v], lines: [{ sku: s, count: 2 }] } }
      - { topic: things, key: c, value: { type: Set, id: c, org: o, n: 4, at: "2026-03-01T00:00:00Z", score: 5, tags: [x, y], words: [w], lines: [{ sku: s, count: 1 }] } }
      - { topic: things, key: c, value: { type: Gone, id: c } }
    query: |
      { scored(org: "o", least: 5, below: 7) { totalCount nodes { id } } tagged(org: "o", tag: "x") { nodes { id tags } }
        holding(org: "o", sku: "s") { nodes { id } } months(org: "o", word: "w", least: 4) { nodes { id } } }
    answer:
      scored: { totalCount: 1, nodes: [{ id: a }] }
      tagged: { nodes: [{ id: a, tags: [x, y] }, { id: b, tags: [x] }] }
      holding: { nodes: [{ id: a }] }
      months: { nodes: [{ id: b }, { id: a }] }
"#,
    );
    project.run(&["test"]).says(0, &["1 passed, 0 failed"]);
}

#[tokio::test]
async fn a_page_that_looks_at_too_many_rows_is_refused() {
    const BOUND: usize = kinora::plan::ENTRIES_MAX;
    let schema = r#"
type Query {
  ranged(org: ID!, least: Int @arg(column: "score", op: GTE), first: Int): TConnection! @read(table: "by_org")
  tagged(org: ID!, tag: String! @arg(column: "tags", op: CONTAINS), other: String! @arg(column: "tags", op: CONTAINS), first: Int): TConnection!
    @read(table: "by_org")
}
type T @key(fields: "m id") @table(name: "t", partition: "m", clustering: "id", rows: 20000)
  @table(name: "by_org", partition: "org", clustering: "id", rows: 20000) {
  m: ID!  id: ID!  org: ID!
  score: Int @index(table: "by_org", ops: [GTE])
  tags: [String!] @column(as: SET, max: 3) @index(table: "by_org", ops: [CONTAINS])
}
"#;
    let projection = "
projection: things
into: T
from: { topic: things, format: json, type: event.type, recordKey: event.id }
key: { m: event.id, id: event.id }
unknown: park
events:
  Many: { each: event.ids, as: l, key: { m: event.id, id: l }, upsert: { org: \"'o'\", score: event.score, tags: event.tags } }
";
    let mut both = Both::start(schema, projection).await;
    let many = |from: usize, to: usize| {
        let ids: Vec<String> = (from..to).map(|at| format!("t{at:06}")).collect();
        json!({ "type": "Many", "id": "m", "ids": ids, "score": from, "tags": ["x"] })
    };
    for from in (0..BOUND).step_by(500) {
        both.publish(&[many(from, (from + 500).min(BOUND))]).await;
    }
    let ranged = "{ ranged(org: \"o\", least: 0, first: 1) { nodes { id } } }";
    assert_eq!(both.data(ranged).await, json!({ "ranged": { "nodes": [{ "id": "t000000" }] } }));
    // No row has the other tag: all that have the first are looked at.
    let tagged = "{ tagged(org: \"o\", tag: \"x\", other: \"y\", first: 1) { nodes { id } } }";
    assert_eq!(both.data(tagged).await, json!({ "tagged": { "nodes": [] } }));
    both.publish(&[many(BOUND, BOUND + 500)]).await;
    for query in [ranged, tagged] {
        let answer = both.ask(query).await;
        let error = &answer["errors"][0];
        assert_eq!(error["extensions"]["code"], "LIMIT_EXCEEDED", "{answer}");
        let expected = format!("More than {BOUND} rows of this partition match one of the filters");
        assert!(error["message"].as_str().is_some_and(|text| text.starts_with(&expected)), "{answer}");
    }
    let narrower = "{ ranged(org: \"o\", least: 1000, first: 1) { nodes { id } } }";
    assert_eq!(both.data(narrower).await, json!({ "ranged": { "nodes": [{ "id": "t001000" }] } }));
    both.end().await;
}
