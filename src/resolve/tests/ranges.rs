//! Bounds on lists: each comparison, each kind of time bucket, shards, look-back and plain lists, against a filtered
//! and sorted `Vec`.

use serde_json::{Value as Json, json};

use super::paging::seeds;
use super::shop::{Shop, text};
use crate::value::Value;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// 2024-02-28T00:00:00Z, before a leap day and a month's end.
const START_MS: i64 = 1_709_078_400_000;

/// A table, what its partition has beside the group, its order, and how far apart its rows should be.
const LISTS: [(&str, &str, &str, i64); 10] = [
    ("rising", "", "ASC", HOUR_MS),
    ("falling", "", "DESC", HOUR_MS),
    ("years", ", year(at)", "DESC", 200 * DAY_MS),
    ("months", ", month(at)", "ASC", 20 * DAY_MS),
    ("weeks", ", week(at)", "DESC", 4 * DAY_MS),
    ("days", ", day(at)", "ASC", 10 * HOUR_MS),
    ("hours", ", hour(at)", "DESC", HOUR_MS / 2),
    ("shards", ", hash(id, 4)", "ASC", HOUR_MS),
    ("spreadMonths", ", month(at), hash(id, 3)", "DESC", 20 * DAY_MS),
    ("spreadHours", ", hash(id, 5), hour(at)", "ASC", HOUR_MS / 2),
];

/// Each list with both pairs of comparisons, as connection and as plain list.
fn schema() -> String {
    let mut reads = String::new();
    let mut tables = String::new();
    for (name, part, order, _) in LISTS {
        tables.push_str(&format!(
            r#" @table(name: "{name}", partition: "g{part}", clustering: "at {order}, id {order}", rows: 1000)"#
        ));
        for (suffix, lower, upper) in [("In", "GTE", "LT"), ("Out", "GT", "LTE")] {
            let bounds = format!(
                r#"g: ID!, from: DateTime @arg(column: "at", op: {lower}), to: DateTime @arg(column: "at", op: {upper})"#
            );
            reads.push_str(&format!(
                r#" {name}{suffix}({bounds}, first: Int, after: String, last: Int, before: String): EConnection! @read(table: "{name}")"#
            ));
            reads.push_str(&format!(
                r#" {name}{suffix}List({bounds}): [E!]! @read(table: "{name}", page: 7)"#
            ));
        }
    }
    format!(
        r#"scalar DateTime
        type Query {{ e(id: ID!): E @read
          recent(g: ID!, first: Int): EConnection! @read(table: "days", lookback: "2d")
          recentFalling(g: ID!, last: Int): EConnection! @read(table: "hours", lookback: "3h")
          {reads} }}
        type E @key(fields: "id") @table(name: "es", partition: "id") {tables} {{ id: ID! g: ID! at: DateTime! }}"#
    )
}

/// A shop with events of one group, spaced about so far; and the others that must never be answered.
async fn events(random: &mut fastrand::Rng, apart_ms: i64) -> (Shop, Vec<(i64, String)>) {
    let shop = Shop::with(&schema(), |_| {}).await;
    let mut rows = Vec::new();
    for number in 0..random.usize(0..40) {
        let at = START_MS + random.i64(-20..20) * apart_ms / 2 + random.i64(0..2);
        rows.push((at, format!("e{number:02}")));
    }
    for (at, id) in &rows {
        for (id, group) in [(id.clone(), "g"), (format!("other-{id}"), "h")] {
            let columns = [("id", text(id)), ("g", text(group)), ("at", Value::Timestamp(*at))];
            shop.put("E", &columns).await;
        }
    }
    rows.sort();
    (shop, rows)
}

fn shown(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).unwrap().to_string()
}

fn ids(nodes: &Json) -> Vec<String> {
    nodes.as_array().unwrap().iter().map(|node| node["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn bounds_of_every_kind_agree_with_a_filtered_list() {
    for seed in seeds() {
        println!("seed {seed} (KINORA_SEEDS=1 KINORA_SEED_BASE={seed})");
        let mut random = fastrand::Rng::with_seed(seed);
        let (name, _, order, apart_ms) = LISTS[random.usize(0..LISTS.len())];
        let (shop, rows) = events(&mut random, apart_ms).await;
        for _ in 0..8 {
            let bounds = Bounds::random(&mut random, &rows);
            for inclusive in [true, false] {
                let kept = rows.iter().filter(|row| bounds.holds(row.0, inclusive));
                let mut expect: Vec<String> = kept.map(|row| row.1.clone()).collect();
                if order == "DESC" {
                    expect.reverse();
                }
                let field = format!("{name}{}", if inclusive { "In" } else { "Out" });
                pages(&shop, &field, &bounds.arguments(), &expect, &mut random).await;
            }
        }
    }
}

/// A lower and an upper bound, either of which may be missing.
struct Bounds {
    from: Option<i64>,
    to: Option<i64>,
}

impl Bounds {
    /// At rows, next to rows, and anywhere.
    fn random(random: &mut fastrand::Rng, rows: &[(i64, String)]) -> Bounds {
        let mut bound = || {
            let at = match random.usize(0..3) {
                0 => return None,
                1 if !rows.is_empty() => rows[random.usize(0..rows.len())].0,
                _ => START_MS + random.i64(-20..20) * DAY_MS,
            };
            Some(at + random.i64(-1..2))
        };
        Bounds { from: bound(), to: bound() }
    }

    /// `inclusive`: from the first on and below the last; else after the first and up to the last.
    fn holds(&self, at: i64, inclusive: bool) -> bool {
        let lower = self.from.is_none_or(|from| if inclusive { at >= from } else { at > from });
        let upper = self.to.is_none_or(|to| if inclusive { at < to } else { at <= to });
        lower && upper
    }

    fn arguments(&self) -> String {
        let one = |name: &str, bound: Option<i64>| match bound {
            Some(ms) => format!(r#", {name}: "{}""#, shown(ms)),
            None => format!(", {name}: null"),
        };
        one("from", self.from) + &one("to", self.to)
    }
}

/// The whole, a page from either end, a page after a cursor, and the plain list.
async fn pages(shop: &Shop, field: &str, bounds: &str, expect: &[String], random: &mut fastrand::Rng) {
    let connection = async |paging: &str| {
        let query = format!(
            r#"{{ {field}(g: "g"{bounds}{paging}) {{ nodes {{ id }} edges {{ cursor }} pageInfo {{ hasNextPage hasPreviousPage }} }} }}"#
        );
        shop.data(&query).await[field].take()
    };
    let whole = connection(", first: 100").await;
    assert_eq!(ids(&whole["nodes"]), expect, "{field} {bounds}");
    let count = random.usize(1..10);
    let first = connection(&format!(", first: {count}")).await;
    let taken = count.min(expect.len());
    assert_eq!(ids(&first["nodes"]), expect[..taken], "{field} {bounds} first {count}");
    assert_eq!(first["pageInfo"], json!({"hasNextPage": taken < expect.len(), "hasPreviousPage": false}));
    let last = connection(&format!(", last: {count}")).await;
    assert_eq!(ids(&last["nodes"]), expect[expect.len() - taken..], "{field} {bounds} last {count}");
    assert_eq!(last["pageInfo"], json!({"hasNextPage": false, "hasPreviousPage": taken < expect.len()}));
    if !expect.is_empty() {
        let at = random.usize(0..expect.len());
        let cursor = whole["edges"][at]["cursor"].as_str().unwrap();
        let after = connection(&format!(r#", first: 100, after: "{cursor}""#)).await;
        assert_eq!(ids(&after["nodes"]), expect[at + 1..], "{field} {bounds} after {at}");
    }
    let list = shop.data(&format!(r#"{{ {field}List(g: "g"{bounds}) {{ id }} }}"#)).await;
    assert_eq!(ids(&list[format!("{field}List")]), expect[..expect.len().min(7)], "{field}List {bounds}");
}

#[tokio::test]
async fn looking_back_ends_at_the_oldest_bucket_within_reach() {
    let shop = Shop::with(&schema(), |_| {}).await;
    for (id, hours) in
        [("a", -72), ("b", -49), ("c", -48), ("d", -25), ("e", -3), ("f", -2), ("g", 0), ("h", 1)]
    {
        let at = START_MS + hours * HOUR_MS;
        shop.put("E", &[("id", text(id)), ("g", text("g")), ("at", Value::Timestamp(at))]).await;
    }
    let data = shop
        .data(
            r#"{ recent(g: "g") { nodes { id } pageInfo { hasPreviousPage } } none: recent(g: "x") { nodes { id } }
                 recentFalling(g: "g") { nodes { id } } lastTwo: recentFalling(g: "g", last: 2) { nodes { id } } }"#,
        )
        .await;
    // The newest day is that of g; two days before it begins the day of c.
    assert_eq!(ids(&data["recent"]["nodes"]), ["c", "d", "e", "f", "g", "h"]);
    assert_eq!(data["recent"]["pageInfo"]["hasPreviousPage"], false);
    assert_eq!(data["none"]["nodes"], json!([]));
    // The newest hour is that of h, 01:00; three hours before it is 22:00.
    assert_eq!(ids(&data["recentFalling"]["nodes"]), ["h", "g", "f"]);
    assert_eq!(ids(&data["lastTwo"]["nodes"]), ["g", "f"]);
}

#[tokio::test]
async fn a_bound_that_is_no_time_is_refused_at_its_field() {
    let shop = Shop::with(&schema(), |_| {}).await;
    let query = r#"query ($from: DateTime) { daysIn(g: "g", from: $from) { nodes { id } } }"#;
    let body = shop.ask(query, json!({"from": "yesterday"})).await;
    let error = &body["errors"][0];
    assert_eq!(error["extensions"]["code"], "BAD_USER_INPUT");
    assert_eq!(error["path"], json!(["daysIn"]));
    assert_eq!(
        error["message"],
        r#"Argument `from`: "yesterday" is not a DateTime (like "2026-01-01T00:00:00.000Z", at most milliseconds)."#
    );
}

#[tokio::test]
async fn a_plain_list_under_several_parents_keeps_each_parents_rows() {
    let schema = r#"type Query { a(id: ID!): A @read }
        type A @key(fields: "id") @table(name: "as", partition: "id") {
          id: ID!
          es(least: Int @arg(column: "n", op: GTE)): [E!]! @read(table: "es_by_a", via: "a", page: 3)
          top: [E!] @read(table: "es_by_a", via: "a", page: 1)
        }
        type E @key(fields: "id") @table(name: "es", partition: "id")
          @table(name: "es_by_a", partition: "aId", clustering: "n, id", fields: "id", rows: 100) {
          id: ID!  n: Int!  a: A @ref(key: "aId")  name: String! }"#;
    let shop = Shop::with(schema, |_| {}).await;
    for (parent, count) in [("a1", 5), ("a2", 0), ("a3", 2)] {
        shop.put("A", &[("id", text(parent))]).await;
        for n in 0..count {
            let id = format!("{parent}-{n}");
            let columns =
                [("id", text(id.clone())), ("n", Value::Int(n)), ("aId", text(parent)), ("name", text(id))];
            shop.put("E", &columns).await;
        }
    }
    let query = r#"query ($r: [_Any!]!, $n: Int) { _entities(representations: $r) { ... on A {
        es(least: $n) { name a { top { id } } } } } }"#;
    let representations: Vec<Json> =
        ["a3", "a1", "a2", "a1"].iter().map(|id| json!({"__typename": "A", "id": id})).collect();
    for (least, expect) in [
        (json!(null), json!([["a3-0", "a3-1"], ["a1-0", "a1-1", "a1-2"], [], ["a1-0", "a1-1", "a1-2"]])),
        (json!(1), json!([["a3-1"], ["a1-1", "a1-2", "a1-3"], [], ["a1-1", "a1-2", "a1-3"]])),
        (json!(9), json!([[], [], [], []])),
    ] {
        let body = shop.ask(query, json!({"r": representations, "n": least})).await;
        assert_eq!(body.get("errors"), None);
        let lists = body["data"]["_entities"].as_array().unwrap().iter().map(|item| {
            let rows = item["es"].as_array().unwrap();
            for row in rows {
                let parent = row["name"].as_str().unwrap().split('-').next().unwrap();
                assert_eq!(row["a"]["top"], json!([{"id": format!("{parent}-0")}]));
            }
            rows.iter().map(|row| row["name"].clone()).collect::<Json>()
        });
        assert_eq!(lists.collect::<Json>(), expect, "{least}");
    }
}
