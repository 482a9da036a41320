//! `ttl`: rows whose time is over are not served, not counted and not folded into, by whatever clock is asked with.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use crate::both::{Both, project};
use crate::support::seeds;

const DAY_MS: i64 = 86_400_000;

const SCHEMA: &str = r#"
scalar DateTime
type Query {
  t(id: ID!): T @read
  inOrg(org: ID!, first: Int): TConnection! @read(table: "by_org", count: CAPPED)
  fresh(org: ID!, first: Int): TConnection! @read(table: "fresh", count: CAPPED)
  byKind(org: ID!, kind: String!): [T!]! @read(table: "by_org", page: 100)
}
type T @key(fields: "id") @table(name: "t", partition: "id", ttl: "3d", ttlFrom: "seen")
  @table(name: "by_org", partition: "org", clustering: "id", fields: "n")
  @table(name: "fresh", partition: "org", clustering: "id", ttl: "1d", ttlFrom: "made") {
  id: ID!  org: ID!  n: Int!  seen: DateTime  made: DateTime!
  kind: String @index(table: "by_org")
}
"#;

const PROJECTION: &str = "
projection: things
into: T
from: { topic: things, format: json, type: event.type, time: event.at, recordKey: event.id }
key: { id: event.id }
unknown: park
events:
  Made: { create: { org: event.org, n: 0, seen: event.seen, made: event.at, kind: event.kind } }
  Seen: { update: { n: row.n.orValue(0) + 1, seen: event.seen } }
  Gone: { delete: row }
";

#[derive(Clone, Debug)]
struct Row {
    org: String,
    n: i64,
    seen: Option<i64>,
    made: i64,
}

impl Row {
    fn is_over(&self, at_ms: i64) -> bool {
        self.seen.is_some_and(|seen| seen + 3 * DAY_MS <= at_ms)
    }
}

fn text(ms: i64) -> String {
    let (days, rest) = (ms.div_euclid(DAY_MS), ms.rem_euclid(DAY_MS));
    format!("1970-01-{:02}T{:02}:00:00.000Z", days + 1, rest / 3_600_000)
}

/// What a row is after an event, folded apart from the engine.
fn fold(row: Option<Row>, kind: &str, at_ms: i64, org: &str, seen: Option<i64>) -> Option<Row> {
    let there = row.clone().filter(|row| !row.is_over(at_ms));
    match (kind, there) {
        ("Made", None) => Some(Row { org: org.to_owned(), n: 0, seen, made: at_ms }),
        ("Seen", Some(there)) => Some(Row { n: there.n + 1, seen, ..there }),
        ("Gone", Some(_)) => None,
        (_, _) => row,
    }
}

#[tokio::test]
async fn rows_end_when_their_time_is_over_by_the_clock_that_is_asked_with() {
    for seed in seeds(5) {
        let random = &mut fastrand::Rng::with_seed(seed);
        let mut both = Both::start(SCHEMA, PROJECTION).await;
        let mut rows: BTreeMap<String, Row> = BTreeMap::new();
        let mut events = Vec::new();
        for _ in 0..80 {
            let at_ms = random.i64(0..240) * 3_600_000;
            let (id, org) = (format!("t{}", random.u8(0..8)), format!("o{}", random.u8(0..2)));
            let kind = ["Made", "Seen", "Gone"][random.usize(0..10) / 4];
            let seen = (random.u8(0..8) > 0)
                .then(|| at_ms + random.i64(-30..30) * 3_600_000)
                .map(|seen| seen.max(0));
            events.push(json!({
                "type": kind, "id": id, "at": text(at_ms), "org": org, "seen": seen.map(text), "kind": "k",
            }));
            let row = rows.remove(&id);
            rows.extend(fold(row, kind, at_ms, &org, seen).map(|row| (id, row)));
        }
        both.publish(&events).await;
        for _ in 0..8 {
            let at_ms = random.i64(0..300) * 3_600_000 + random.i64(-1..2);
            for org in ["o0", "o1"] {
                let there: Vec<(&String, &Row)> =
                    rows.iter().filter(|(_, row)| row.org == org && !row.is_over(at_ms)).collect();
                let shown = |(id, row): &(&String, &Row)| json!({ "id": id, "n": row.n });
                let all: Vec<Json> = there.iter().map(shown).collect();
                let fresh: Vec<Json> =
                    there.iter().filter(|(_, row)| row.made + DAY_MS > at_ms).map(shown).collect();
                let query = format!(
                    "{{ inOrg(org: \"{org}\") {{ totalCount nodes {{ id n }} }} fresh(org: \"{org}\") {{ totalCount nodes \
                     {{ id n }} }} byKind(org: \"{org}\", kind: \"k\") {{ id n }} }}"
                );
                let answer = both.data_at(&query, at_ms).await;
                let place = format!("seed {seed}, {org} at {at_ms}");
                assert_eq!(answer["inOrg"], json!({ "totalCount": all.len(), "nodes": all }), "{place}");
                assert_eq!(answer["fresh"], json!({ "totalCount": fresh.len(), "nodes": fresh }), "{place}");
                assert_eq!(answer["byKind"], json!(all), "{place}");
            }
            for at in 0..8 {
                let id = format!("t{at}");
                let row = rows.get(&id).filter(|row| !row.is_over(at_ms));
                let query = format!(
                    "{{ t(id: \"{id}\") {{ n }} _entities(representations: [{{ __typename: \"T\", id: \"{id}\" }}]) \
                     {{ ... on T {{ n }} }} }}"
                );
                let expected = row.map_or(json!(null), |row| json!({ "n": row.n }));
                let answer = both.data_at(&query, at_ms).await;
                assert_eq!(
                    answer,
                    json!({ "t": expected, "_entities": [expected] }),
                    "seed {seed}, {id} at {at_ms}"
                );
            }
        }
        both.end().await;
    }
}

const LAST_EVENT: &str = r#"
scalar DateTime
type Query {
  t(id: ID!): T @read
  inOrg(org: ID!, first: Int): TConnection! @read(table: "by_org", count: CAPPED)
  fresh(org: ID!, first: Int): TConnection! @read(table: "fresh", count: CAPPED)
  byKind(org: ID!, kind: String!): [T!]! @read(table: "fresh", page: 100)
}
type T @key(fields: "id") @table(name: "t", partition: "id", ttl: "3d")
  @table(name: "by_org", partition: "org", clustering: "id", fields: "n")
  @table(name: "fresh", partition: "org", clustering: "id", ttl: "1d") {
  id: ID!  org: ID!  n: Int!
  kind: String @index(table: "fresh")
}
"#;

const COUNTING: &str = "
projection: things
into: T
from: { topic: things, format: json, type: event.type, time: event.at, recordKey: event.id }
key: { id: event.id }
unknown: park
events:
  Made: { create: { org: event.org, n: 0, kind: \"'k'\" } }
  Seen: { update: { n: row.n.orValue(0) + 1 } }
  Moved: { upsert: { org: event.org, n: 7, kind: \"'k'\" } }
  Peeked: { when: row.n.orValue(0) > 1, update: { n: row.n.orValue(0) - 1 } }
  Gone: { delete: row }
";

/// What a row and the time of its last event are after an event, folded apart from the engine.
fn counted(row: Option<(String, i64, i64)>, kind: &str, at_ms: i64, org: &str) -> Option<(String, i64, i64)> {
    let there = row.clone().filter(|(_, _, last)| last + 3 * DAY_MS > at_ms);
    match (kind, there) {
        ("Made", None) => Some((org.to_owned(), 0, at_ms)),
        ("Moved", _) => Some((org.to_owned(), 7, at_ms)),
        ("Seen", Some((org, n, _))) => Some((org, n + 1, at_ms)),
        ("Peeked", Some((org, n, _))) if n > 1 => Some((org, n - 1, at_ms)),
        ("Gone", Some(_)) => None,
        (_, _) => row,
    }
}

#[tokio::test]
async fn without_ttl_from_a_row_ends_after_the_last_event_that_wrote_it() {
    for seed in seeds(5) {
        let random = &mut fastrand::Rng::with_seed(seed);
        let mut both = Both::start(LAST_EVENT, COUNTING).await;
        let mut rows: BTreeMap<String, (String, i64, i64)> = BTreeMap::new();
        for round in 0..3 {
            let mut events = Vec::new();
            // Mostly onward, but events may be late: the last in the log counts, whatever its time.
            for step in 0..40 {
                let at_ms = (round * 60 + step + random.i64(-20..20)).max(0) * 3_600_000;
                let (id, org) = (format!("t{}", random.u8(0..6)), format!("o{}", random.u8(0..2)));
                let kind = ["Made", "Seen", "Moved", "Peeked", "Seen", "Gone"][random.usize(0..6)];
                events.push(json!({ "type": kind, "id": id, "at": text(at_ms), "org": org }));
                let row = rows.remove(&id);
                rows.extend(counted(row, kind, at_ms, &org).map(|row| (id, row)));
            }
            // The first rounds event by event, the last in batches that write a row once for several events.
            match round {
                2 => both.publish_at_once(&events).await,
                _ => both.publish(&events).await,
            }
            for _ in 0..6 {
                let at_ms = random.i64(0..300) * 3_600_000 + random.i64(-1..2);
                for org in ["o0", "o1"] {
                    let within = |days: i64| {
                        let there =
                            rows.iter().filter(|(_, row)| row.0 == org && row.2 + days * DAY_MS > at_ms);
                        there.map(|(id, row)| json!({ "id": id, "n": row.1 })).collect::<Vec<Json>>()
                    };
                    let place = format!("seed {seed}, round {round}, {org} at {at_ms}");
                    lists_are(&both, (org, at_ms), &within(3), &within(1), &place).await;
                }
                for (id, row) in &rows {
                    let there = row.2 + 3 * DAY_MS > at_ms;
                    let expected = if there { json!({ "n": row.1 }) } else { json!(null) };
                    let answer = both.data_at(&format!("{{ t(id: \"{id}\") {{ n }} }}"), at_ms).await;
                    assert_eq!(answer["t"], expected, "seed {seed}, round {round}, {id} at {at_ms}");
                }
            }
        }
        both.end().await;
    }
}

/// Compares the lists of an organisation at a time with the rows that must be there, in all and in the table that ends sooner.
async fn lists_are(both: &Both, (org, at_ms): (&str, i64), all: &[Json], fresh: &[Json], place: &str) {
    let query = format!(
        "{{ inOrg(org: \"{org}\") {{ totalCount nodes {{ id n }} }} fresh(org: \"{org}\") {{ totalCount nodes \
         {{ id n }} }} byKind(org: \"{org}\", kind: \"k\") {{ id n }} }}"
    );
    let answer = both.data_at(&query, at_ms).await;
    assert_eq!(answer["inOrg"], json!({ "totalCount": all.len(), "nodes": all }), "{place}");
    assert_eq!(answer["fresh"], json!({ "totalCount": fresh.len(), "nodes": fresh }), "{place}");
    assert_eq!(answer["byKind"], json!(fresh), "{place}");
}

const SWEPT: &str = r#"
scalar DateTime
type Query {
  t(id: ID!): T @read
  inOrg(org: ID!, first: Int): TConnection! @read(table: "by_org", count: CAPPED)
  fresh(org: ID!, first: Int): TConnection! @read(table: "fresh", count: CAPPED)
  byKind(org: ID!, kind: String!): [T!]! @read(table: "fresh", page: 100)
}
type T @key(fields: "id") @table(name: "t", partition: "id", ttl: "3d")
  @table(name: "by_org", partition: "org, day(made)", clustering: "made, id")
  @table(name: "fresh", partition: "org, month(made)", clustering: "made, id", ttl: "1d") {
  id: ID!  org: ID!  n: Int!  made: DateTime!
  kind: String @index(table: "fresh")
}
"#;

/// How many records the tables on the disk hold, those of buckets and indexes with them.
async fn records(both: &Both) -> usize {
    let engine = &both.engines[1];
    let (tables, definitions) =
        (&engine.serving().expect("it answers").tables, engine.definitions().expect("it has"));
    let mut count = 0;
    for table in &definitions.plan.tables {
        count += tables.all(table.id, None, 10_000).await.expect("reads").len();
    }
    count
}

/// One step of the sweep on the disk; answers how many records were freed.
async fn sweep(both: &Both, at_ms: i64, rows: usize) -> usize {
    let tables = &both.engines[1].serving().expect("it answers").tables;
    let swept = tables.sweep(at_ms, rows).await.expect("sweeps");
    assert!(swept.looked_at <= rows, "it looked at {} rows, above {rows}", swept.looked_at);
    swept.freed
}

/// What a row is and when it was made, and the time of its last event.
type Made = (String, i64, i64, i64);

fn made(row: Option<Made>, kind: &str, at_ms: i64, org: &str) -> Option<Made> {
    let there = row.clone().filter(|(.., last)| last + 3 * DAY_MS > at_ms);
    match (kind, there) {
        ("Made", None) => Some((org.to_owned(), 0, at_ms, at_ms)),
        ("Moved", _) => Some((org.to_owned(), 7, at_ms, at_ms)),
        ("Seen", Some((org, n, made, _))) => Some((org, n + 1, made, at_ms)),
        ("Peeked", Some((org, n, made, _))) if n > 1 => Some((org, n - 1, made, at_ms)),
        ("Gone", Some(_)) => None,
        (_, _) => row,
    }
}

#[tokio::test]
async fn a_sweep_frees_rows_that_are_over_and_changes_no_answer() {
    let projection = COUNTING.replace("org: event.org,", "org: event.org, made: event.at,");
    for seed in seeds(6) {
        let random = &mut fastrand::Rng::with_seed(seed);
        let mut both = Both::start(SWEPT, &projection).await;
        let mut rows: BTreeMap<String, Made> = BTreeMap::new();
        let (mut now_ms, mut freed) = (0, 0);
        for round in 0..12 {
            now_ms += random.i64(0..40) * 3_600_000;
            let mut events = Vec::new();
            for _ in 0..random.usize(0..25) {
                // Some are late by days: they find what was swept as it was.
                let at_ms = (now_ms - random.i64(0..4).pow(4) * 3_600_000).max(0);
                let (id, org) = (format!("t{}", random.u8(0..9)), format!("o{}", random.u8(0..2)));
                let kind = ["Made", "Seen", "Moved", "Peeked", "Seen", "Gone"][random.usize(0..6)];
                events.push(json!({ "type": kind, "id": id, "at": text(at_ms), "org": org }));
                let row = rows.remove(&id);
                rows.extend(made(row, kind, at_ms, &org).map(|row| (id, row)));
            }
            both.publish_at_once(&events).await;
            for _ in 0..random.usize(0..6) {
                both.data("{ t(id: \"none\") { n } }").await;
                freed += sweep(&both, now_ms, random.usize(1..30)).await;
            }
            for at_ms in [now_ms, now_ms + random.i64(0..90) * 3_600_000] {
                for org in ["o0", "o1"] {
                    let within = |days: i64| {
                        let mut there: Vec<_> = rows
                            .iter()
                            .filter(|(_, row)| row.0 == org && row.3 + days * DAY_MS > at_ms)
                            .collect();
                        there.sort_by_key(|(id, row)| (row.2, (*id).clone()));
                        there.iter().map(|(id, row)| json!({ "id": id, "n": row.1 })).collect::<Vec<Json>>()
                    };
                    let place = format!("seed {seed}, round {round}, {org} at {at_ms}");
                    lists_are(&both, (org, at_ms), &within(3), &within(1), &place).await;
                }
            }
        }
        // A year later nothing is there any more, nor does it take any room.
        while sweep(&both, 365 * DAY_MS, 1_000).await > 0 {}
        let stored: usize = records(&both).await;
        let remembered = rows.len();
        assert!(freed > 0 || remembered == 0, "seed {seed}: nothing was swept on the way");
        // What is left are base rows that were deleted, and remember only that.
        assert!(
            stored <= 9 - remembered,
            "seed {seed}: {stored} records are left, {remembered} rows were over"
        );
        both.end().await;
    }
}

#[tokio::test]
async fn a_page_passes_a_bounded_number_of_rows_that_are_over_until_they_are_swept() {
    let mut both =
        Both::start(SWEPT, &COUNTING.replace("org: event.org,", "org: event.org, made: event.at,")).await;
    let events: Vec<Json> = (0..kinora::store::OVER_MAX + 1)
        .map(|at| json!({ "type": "Made", "id": format!("t{at:05}"), "at": text(0), "org": "o" }))
        .collect();
    let last = json!({ "type": "Made", "id": "t99999", "at": text(3_600_000), "org": "o" });
    both.publish_at_once(&events[1..]).await;
    both.publish(std::slice::from_ref(&last)).await;
    let query = "{ inOrg(org: \"o\", first: 1) { nodes { id } } }";
    let at_ms = 3 * DAY_MS;
    let expected = json!({ "inOrg": { "nodes": [{ "id": "t99999" }] } });
    assert_eq!(both.data_at(query, at_ms).await, expected);
    both.publish(&events[..1]).await;
    let answer = both.ask_at(query, Some(at_ms)).await;
    assert_eq!(answer["errors"][0]["extensions"]["code"], "LIMIT_EXCEEDED", "{answer}");
    let reason = answer["errors"][0]["message"].as_str().expect("a message");
    assert!(
        reason.starts_with("More than 10000 rows of this partition of \"by_org\" whose time is over"),
        "{reason}"
    );
    let before = records(&both).await;
    let mut steps = 0;
    while sweep(&both, at_ms, 2_000).await > 0 {
        steps += 1;
    }
    let after = records(&both).await;
    // The row that is there has a base row and a copy, a bucket's name for it; its entry in `fresh` is over.
    assert!(before > 40_000 && after == 3 && steps > 10, "{before} records, {after} after {steps} steps");
    let engine = &both.engines[1];
    let answer = crate::support::ask_at(engine, query, &[], Some(at_ms)).await;
    assert_eq!(answer["data"], expected, "{answer}");
    both.end().await;
}

#[test]
fn the_time_of_the_last_event_is_the_same_after_redelivery_and_a_crash_at_every_write() {
    let project = project(LAST_EVENT, COUNTING);
    project.write(
        "projections/things.cases.yaml",
        r#"
cases:
  - name: each event that writes a row puts its end off
    given:
      - { topic: things, key: a, value: { type: Made, id: a, at: "2026-01-01T00:00:00Z", org: o } }
      - { topic: things, key: b, value: { type: Made, id: b, at: "2026-01-01T00:00:00Z", org: o } }
      - { topic: things, key: a, value: { type: Seen, id: a, at: "2026-01-03T23:59:59Z" } }
      - { topic: things, key: b, value: { type: Peeked, id: b, at: "2026-01-03T23:59:59Z" } }
      - { topic: things, key: b, value: { type: Seen, id: b, at: "2026-01-04T00:00:00Z" } }
      - { topic: things, key: a, value: { type: Seen, id: a, at: "2026-01-06T00:00:00Z" } }
    rows: { T: [{ id: a, n: 2, org: o, kind: k }, { id: b, n: 0, org: o, kind: k }] }
    query: '{ a: t(id: "a") { n } b: t(id: "b") { n } fresh(org: "o") { nodes { id } } }'
    answer: { a: { n: 2 }, b: null, fresh: { nodes: [{ id: a }] } }
"#,
    );
    project.run(&["test"]).says(0, &["1 passed, 0 failed"]);
    project
        .run(&["check", "--explain"])
        .says(0, &["until       3 days after the last event that wrote the row", "  \"__time\" timestamp,"]);
    project.write(
        "projections/things.yaml",
        &COUNTING.replace("{ n: row.n.orValue(0) + 1 }", "{ __time: event.at }"),
    );
    project.run(&["check"]).says(3, &["__time"]);
    project.write(
        "projections/things.yaml",
        &COUNTING.replace("when: row.n.orValue(0) > 1", "when: row.__time != null"),
    );
    project.run(&["check"]).says(3, &["`T` has no column `__time`"]);
}

#[tokio::test]
async fn a_page_goes_past_rows_that_are_over() {
    let mut both = Both::start(SCHEMA, PROJECTION).await;
    let made = |at: i64, day: i64| json!({ "type": "Made", "id": format!("t{at:02}"), "at": text(0), "org": "o", "seen": text(day * DAY_MS), "kind": "k" });
    // Only every tenth is still there on the fourth day.
    let events: Vec<Json> = (0..50).map(|at| made(at, if at % 10 == 9 { 2 } else { 0 })).collect();
    both.publish(&events).await;
    let query = "{ inOrg(org: \"o\", first: 3) { nodes { id } pageInfo { hasNextPage } } }";
    let page = both.data_at(query, 4 * DAY_MS).await["inOrg"].take();
    assert_eq!(page["nodes"], json!([{ "id": "t09" }, { "id": "t19" }, { "id": "t29" }]));
    assert_eq!(page["pageInfo"]["hasNextPage"], json!(true));
    both.end().await;
}

#[test]
fn a_case_is_asked_at_the_time_of_its_last_event() {
    let project = project(SCHEMA, PROJECTION);
    project.write("projections/things.cases.yaml", r#"
cases:
  - name: three days after it was seen a thing is gone, and made anew
    given:
      - { topic: things, key: a, value: { type: Made, id: a, at: "2026-01-01T00:00:00Z", org: o, seen: "2026-01-01T00:00:00Z", kind: k } }
      - { topic: things, key: a, value: { type: Seen, id: a, at: "2026-01-03T23:59:59Z", org: o, seen: "2026-01-02T00:00:00Z" } }
      - { topic: things, key: b, value: { type: Made, id: b, at: "2026-01-01T00:00:00Z", org: o, seen: "2026-01-01T00:00:00Z", kind: k } }
      - { topic: things, key: a, value: { type: Made, id: a, at: "2026-01-06T00:00:00Z", org: p, seen: "2026-01-06T00:00:00Z", kind: k } }
    query: '{ a: t(id: "a") { n org } b: t(id: "b") { n } }'
    answer: { a: { n: 0, org: p }, b: null }
"#);
    project.run(&["test"]).says(0, &["1 passed, 0 failed"]);
    project
        .run(&["check", "--explain"])
        .says(0, &["until       3 days after seen\n    until       1 days after made", "B owned fold"]);
}
