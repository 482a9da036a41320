//! Comparisons of arguments: lists of values, ranges and beginnings of text, against a filtered and sorted `Vec`.

use serde_json::{Value as Json, json};

use crate::both::{Both, project, upserting};

const SCHEMA: &str = r#"
scalar DateTime
type Query {
  t(id: ID!): T @read
  byIds(ids: [ID!]! @arg(column: "id", op: IN), first: Int, after: String, last: Int, before: String): TConnection! @read
  listed(ids: [ID!]! @arg(column: "id", op: IN)): [T!]! @read(table: "t", page: 100)
  inOrgs(orgs: [ID!]! @arg(column: "org", op: IN), names: [String!]! @arg(column: "name", op: IN),
         from: Int @arg(column: "n", op: GTE), below: Int @arg(column: "n", op: LT),
         first: Int, after: String, last: Int, before: String): TConnection! @read(table: "by_org")
  named(org: ID!, name: String @arg(op: PREFIX), first: Int, after: String, last: Int, before: String): TConnection!
    @read(table: "by_org")
  namedDown(orgs: [ID!]! @arg(column: "org", op: IN), name: String @arg(op: PREFIX),
            first: Int, after: String, last: Int, before: String): TConnection! @read(table: "by_org_down")
  over(orgs: [ID!]! @arg(column: "org", op: IN), since: DateTime @arg(column: "at", op: GTE),
       first: Int, after: String, last: Int, before: String): TConnection! @read(table: "by_month")
}
type T @key(fields: "id") @table(name: "t", partition: "id")
  @table(name: "by_org", partition: "org", clustering: "name, n")
  @table(name: "by_org_down", partition: "org", clustering: "name DESC, n DESC, id DESC")
  @table(name: "by_month", partition: "org, hash(n, 2), month(at)", clustering: "at DESC") {
  id: ID!  org: ID!  name: String!  n: Int!  at: DateTime!
}
"#;

#[derive(Clone, Debug)]
struct Row {
    id: String,
    org: String,
    name: String,
    n: i64,
    at: String,
}

fn rows(random: &mut fastrand::Rng) -> Vec<Row> {
    let names = ["", "a", "ab", "a\0", "abc", "b", "é", "\u{10FFFF}"];
    let row = |id| Row {
        id: format!("t{id}"),
        org: format!("o{}", random.u8(0..4)),
        name: names[random.usize(0..names.len())].to_owned(),
        n: random.i64(0..4),
        at: format!("2026-0{}-1{}T00:00:00.000Z", random.u8(1..6), random.u8(0..2)),
    };
    (0..60).map(row).collect()
}

async fn start(rows: &[Row]) -> Both {
    let mut both = Both::start(SCHEMA, &upserting(&["org", "name", "n", "at"])).await;
    let event = |row: &Row| json!({ "type": "Set", "id": row.id, "org": row.org, "name": row.name, "n": row.n, "at": row.at });
    both.publish(&rows.iter().map(event).collect::<Vec<_>>()).await;
    both
}

/// Goes through all pages of a connection and answers the ids, forward; backward, they come in the same order.
async fn paged(both: &Both, field: &str, arguments: &str, size: usize, backward: bool) -> Vec<String> {
    let (mut ids, mut cursor): (Vec<String>, Option<String>) = (Vec::new(), None);
    loop {
        let (count, from) = if backward { ("last", "before") } else { ("first", "after") };
        let place = cursor.map_or(String::new(), |cursor| format!(", {from}: \"{cursor}\""));
        let query = format!(
            "{{ {field}({arguments}, {count}: {size}{place}) {{ edges {{ cursor node {{ id }} }} \
             pageInfo {{ hasNextPage hasPreviousPage }} }} }}"
        );
        let answer = both.data(&query).await;
        let page = &answer[field];
        let edges = page["edges"].as_array().expect("edges");
        let found = edges.iter().map(|edge| edge["node"]["id"].as_str().expect("an id").to_owned());
        let (more, edge) = match backward {
            true => (&page["pageInfo"]["hasPreviousPage"], edges.first()),
            false => (&page["pageInfo"]["hasNextPage"], edges.last()),
        };
        let other = if backward { "hasNextPage" } else { "hasPreviousPage" };
        assert_eq!(page["pageInfo"][other], json!(!ids.is_empty()), "{query}");
        ids = if backward { found.chain(ids).collect() } else { ids.into_iter().chain(found).collect() };
        cursor = edge.and_then(|edge| edge["cursor"].as_str()).map(str::to_owned);
        if more == &json!(false) || cursor.is_none() {
            return ids;
        }
    }
}

fn list(values: &[&str]) -> String {
    Json::from(values.to_vec()).to_string()
}

#[tokio::test]
async fn lists_ranges_and_prefixes_answer_what_a_filter_would_in_the_tables_order() {
    for seed in crate::support::seeds(4) {
        let random = &mut fastrand::Rng::with_seed(seed);
        let rows = rows(random);
        let both = start(&rows).await;
        for _ in 0..12 {
            let some = |random: &mut fastrand::Rng, of: &[&str]| -> Vec<String> {
                (0..random.usize(0..5)).map(|_| of[random.usize(0..of.len())].to_owned()).collect()
            };
            let orgs = some(random, &["o0", "o1", "o2", "o3", "o9"]);
            let names = some(random, &["", "a", "ab", "a\0", "é"]);
            let ids = some(random, &["t1", "t2", "t3", "t59", "t60"]);
            let prefix = ["", "a", "ab", "a\0", "é", "z"][random.usize(0..6)];
            let (from, below) = (random.i64(0..3), random.i64(1..5));
            let (size, backward) = (random.usize(1..8), random.bool());
            let refs = |values: &[String]| list(&values.iter().map(String::as_str).collect::<Vec<_>>());

            let mut expected: Vec<&Row> = rows
                .iter()
                .filter(|row| orgs.contains(&row.org) && names.contains(&row.name))
                .filter(|row| row.n >= from && row.n < below)
                .collect();
            expected.sort_by_key(|row| (row.name.clone(), row.n, row.id.clone()));
            let arguments =
                format!("orgs: {}, names: {}, from: {from}, below: {below}", refs(&orgs), refs(&names));
            let found = paged(&both, "inOrgs", &arguments, size, backward).await;
            let ids_of = |rows: &[&Row]| rows.iter().map(|row| row.id.clone()).collect::<Vec<_>>();
            assert_eq!(found, ids_of(&expected), "seed {seed}: {arguments}");

            let mut expected: Vec<&Row> = rows.iter().filter(|row| ids.contains(&row.id)).collect();
            expected.sort_by_key(|row| row.id.clone());
            let arguments = format!("ids: {}", refs(&ids));
            assert_eq!(
                paged(&both, "byIds", &arguments, size, backward).await,
                ids_of(&expected),
                "seed {seed}: {arguments}"
            );
            let answer = both.data(&format!("{{ listed({arguments}) {{ id }} }}")).await;
            let listed: Vec<Json> = expected.iter().map(|row| json!({ "id": row.id })).collect();
            assert_eq!(answer["listed"], json!(listed), "seed {seed}: {arguments}");

            let mut expected: Vec<&Row> =
                rows.iter().filter(|row| row.org == "o1" && row.name.starts_with(prefix)).collect();
            expected.sort_by_key(|row| (row.name.clone(), row.n, row.id.clone()));
            let arguments = format!("org: \"o1\", name: {}", Json::from(prefix));
            assert_eq!(
                paged(&both, "named", &arguments, size, backward).await,
                ids_of(&expected),
                "seed {seed}: {arguments}"
            );

            let since = format!("2026-0{}-11T00:00:00.000Z", random.u8(1..6));
            let mut expected: Vec<&Row> =
                rows.iter().filter(|row| orgs.contains(&row.org) && row.at >= since).collect();
            expected.sort_by_key(|row| (std::cmp::Reverse(row.at.clone()), row.id.clone()));
            let arguments = format!("orgs: {}, since: \"{since}\"", refs(&orgs));
            assert_eq!(
                paged(&both, "over", &arguments, size, backward).await,
                ids_of(&expected),
                "seed {seed}: {arguments}"
            );

            let mut expected: Vec<&Row> =
                rows.iter().filter(|row| orgs.contains(&row.org) && row.name.starts_with(prefix)).collect();
            expected.sort_by_key(|row| (row.name.clone(), row.n, row.id.clone()));
            expected.reverse();
            let arguments = format!("orgs: {}, name: {}", refs(&orgs), Json::from(prefix));
            assert_eq!(
                paged(&both, "namedDown", &arguments, size, backward).await,
                ids_of(&expected),
                "seed {seed}: {arguments}"
            );
        }
        both.end().await;
    }
}

#[tokio::test]
async fn lists_are_bounded_and_lone_values_and_left_out_ranges_are_taken() {
    let rows: Vec<Row> = (0..3)
        .map(|at| Row {
            id: format!("t{at}"),
            org: "o".to_owned(),
            name: "a".to_owned(),
            n: at,
            at: "2026-01-01T00:00:00Z".to_owned(),
        })
        .collect();
    let both = start(&rows).await;
    let many = |count: usize| list(&vec!["x"; count]);
    for (arguments, message) in [
        (format!("ids: {}", many(101)), "Argument `ids`: 101 values are given; at most 100 are taken."),
        ("ids: [\"a\", null]".to_owned(), "expected"),
    ] {
        let answer = both.ask(&format!("{{ listed({arguments}) {{ id }} }}")).await;
        let found = answer["errors"][0]["message"].as_str().expect("a message");
        assert!(found.contains(message), "{found}");
    }
    assert_eq!(both.data(&format!("{{ listed(ids: {}) {{ id }} }}", many(100))).await["listed"], json!([]));
    assert_eq!(both.data("{ listed(ids: \"t1\") { id } }").await["listed"], json!([{ "id": "t1" }]));
    let query = format!("{{ inOrgs(orgs: {}, names: {}) {{ nodes {{ id }} }} }}", many(11), many(10));
    let answer = both.ask(&query).await;
    let message = "Lists of values make 110 combinations; at most 100 are taken.";
    assert_eq!(answer["errors"][0]["message"], json!(message));
    let query = "{ named(org: \"o\") { nodes { id } } inOrgs(orgs: [\"o\"], names: [\"a\"], from: null) { nodes { id } } }";
    let answer = both.data(query).await;
    for field in ["named", "inOrgs"] {
        assert_eq!(answer[field]["nodes"].as_array().map(Vec::len), Some(3), "{field}");
    }
    both.end().await;
}

#[test]
fn explain_shows_lists_and_prefixes_and_what_they_cost() {
    let ended = project(SCHEMA, &upserting(&["org", "name", "n", "at"])).run(&["check", "--explain"]);
    ended.says(0, &[
        "partition   org in $orgs\n    rows        name in $names\n    range       n >= $from, n < $below",
        "1 partition for each value of $orgs and $names, at most 100, merged; cost 100",
        "range       name begins with $name",
    ]);
}

/// A walk goes through the names of buckets: they are written for base tables and for rows that nobody reads, too.
#[tokio::test]
async fn every_bucketed_table_is_walked_whatever_writes_it() {
    let schema = r#"
scalar DateTime
type Query {
  base(u: ID!): [T!]! @read
  copy(u: ID!): [T!]! @read(table: "by_day")
}
type T @key(fields: "u at id") @table(name: "t", partition: "u, month(at)", clustering: "at, id")
  @table(name: "by_day", partition: "u, day(at)", clustering: "at DESC, id") { u: ID!  id: ID!  at: DateTime!  n: Int }
"#;
    for (verb, kind) in [("upsert", "A blind set"), ("create", "B owned fold")] {
        let projection = format!(
            "projection: things\ninto: T\nfrom: {{ topic: things, format: json, type: event.type, recordKey: event.id }}\n\
             key: {{ u: event.u, id: event.id, at: event.at }}\nunknown: park\nevents:\n  Set: {{ {verb}: {{ n: event.n }} }}\n"
        );
        project(schema, &projection).run(&["check", "--explain"]).says(0, &[kind]);
        let mut both = Both::start(schema, &projection).await;
        for (id, at) in
            [("a", "2026-01-31T00:00:00Z"), ("b", "2026-02-01T00:00:00Z"), ("c", "2026-02-01T00:00:00Z")]
        {
            both.publish(&[json!({ "type": "Set", "id": id, "u": "u", "at": at, "n": 1 })]).await;
        }
        let answer = both.data("{ base(u: \"u\") { id } copy(u: \"u\") { id } }").await;
        let ids = |ids: &[&str]| ids.iter().map(|id| json!({ "id": id })).collect::<Vec<_>>();
        assert_eq!(answer["base"], json!(ids(&["a", "b", "c"])), "{kind}");
        assert_eq!(answer["copy"], json!(ids(&["b", "c", "a"])), "{kind}");
        both.end().await;
    }
}
