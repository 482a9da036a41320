//! Lists: order and pages in both directions, across buckets and shards, against a sorted `Vec`.

use serde_json::{Value as Json, json};

use super::shop::{Shop, text};

/// One way to page: its query and the ids in the order that it must answer.
struct Case {
    field: &'static str,
    backward: bool,
}

pub fn seeds() -> impl Iterator<Item = u64> {
    let number =
        |name: &str, default| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let base: u64 = number("KINORA_SEED_BASE", 1);
    base..base + number("KINORA_SEEDS", 12)
}

/// A shop with random orders of one user in one warehouse, and the ids newest first and to pick.
async fn random_shop(random: &mut fastrand::Rng) -> (Shop, Vec<String>, Vec<String>) {
    let shop = Shop::new().await;
    let count = random.usize(0..60);
    let months = random.i64(1..30);
    let mut orders: Vec<(i64, String, bool)> = Vec::new();
    for number in 0..count {
        let placed = (1_700_000_000_000 + random.i64(0..months * 30) * 86_400_000) / 1000 * 1000;
        let placed = if random.bool() { placed } else { placed / 86_400_000_000 * 86_400_000_000 };
        orders.push((placed, format!("o{number:03}"), random.bool()));
    }
    for (placed, id, paid) in &orders {
        shop.put_order(id, "u1", if *paid { "PAID" } else { "PLACED" }, *placed, &[]).await;
        shop.put_order(&format!("x{id}"), "u2", "SHIPPED", *placed, &[]).await;
    }
    orders.sort();
    let pick = orders.iter().filter(|order| order.2).map(|order| order.1.clone()).collect();
    let newest = orders.iter().rev().map(|order| order.1.clone()).collect();
    (shop, newest, pick)
}

async fn page(shop: &Shop, field: &str, arguments: &str) -> Json {
    let selection = "{ edges { cursor node { id } } nodes { id } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } }";
    let query = match field {
        "orders" => format!(
            r#"{{ _entities(representations: [{{__typename: "User", id: "u1"}}]) {{ ... on User {{ orders({arguments}) {selection} }} }} }}"#
        ),
        _ => format!(r#"{{ ordersToPick(warehouseId: "w1", {arguments}) {selection} }}"#),
    };
    let mut data = shop.data(&query).await;
    if field == "orders" { data["_entities"][0]["orders"].take() } else { data[field].take() }
}

fn ids(page: &Json) -> Vec<String> {
    let ids: Vec<String> = page["edges"]
        .as_array()
        .unwrap()
        .iter()
        .map(|edge| edge["node"]["id"].as_str().unwrap().to_owned())
        .collect();
    let nodes: Vec<&str> =
        page["nodes"].as_array().unwrap().iter().map(|node| node["id"].as_str().unwrap()).collect();
    assert_eq!(ids, nodes);
    ids
}

#[tokio::test]
async fn pages_in_both_directions_agree_with_a_sorted_list() {
    for seed in seeds() {
        println!("seed {seed} (KINORA_SEEDS=1 KINORA_SEED_BASE={seed})");
        let mut random = fastrand::Rng::with_seed(seed);
        let (shop, newest, pick) = random_shop(&mut random).await;
        for case in [
            Case { field: "orders", backward: false },
            Case { field: "orders", backward: true },
            Case { field: "ordersToPick", backward: false },
        ] {
            let expect = if case.field == "orders" { &newest } else { &pick };
            walk(&shop, &case, expect, random.usize(1..8)).await;
        }
        let all = page(&shop, "orders", "first: 100").await;
        assert_eq!(ids(&all), newest, "seed {seed}");
        windows(&shop, &newest, &all, &mut random).await;
    }
}

/// Pages through everything; both flags are right on each page.
async fn walk(shop: &Shop, case: &Case, expect: &[String], size: usize) {
    let mut seen: Vec<String> = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let (count, from) = if case.backward { ("last", "before") } else { ("first", "after") };
        let after = cursor.as_ref().map(|cursor| format!(", {from}: \"{cursor}\"")).unwrap_or_default();
        let page = page(shop, case.field, &format!("{count}: {size}{after}")).await;
        let info = &page["pageInfo"];
        let found = ids(&page);
        let (ahead, behind) = if case.backward {
            ("hasPreviousPage", "hasNextPage")
        } else {
            ("hasNextPage", "hasPreviousPage")
        };
        assert_eq!(info[behind], json!(!seen.is_empty()), "{} behind, after {seen:?}", case.field);
        if case.backward {
            seen.splice(0..0, found);
        } else {
            seen.extend(found);
        }
        assert_eq!(info[ahead], json!(seen.len() < expect.len()), "{} ahead, after {seen:?}", case.field);
        if info[ahead] == json!(false) {
            break;
        }
        let next = if case.backward { &info["startCursor"] } else { &info["endCursor"] };
        cursor = Some(next.as_str().unwrap().to_owned());
    }
    assert_eq!(seen, expect, "{} backward {}", case.field, case.backward);
}

/// Random windows between two cursors, with any count, 0 included.
async fn windows(shop: &Shop, expect: &[String], all: &Json, random: &mut fastrand::Rng) {
    if expect.is_empty() {
        return;
    }
    let cursor = |at: usize| all["edges"][at]["cursor"].as_str().unwrap();
    for _ in 0..12 {
        let (mut from, mut to) = (0, expect.len());
        let mut arguments = String::new();
        if random.bool() {
            let at = random.usize(0..expect.len());
            from = at + 1;
            arguments.push_str(&format!(", after: \"{}\"", cursor(at)));
        }
        if random.bool() {
            to = random.usize(0..expect.len());
            arguments.push_str(&format!(", before: \"{}\"", cursor(to)));
        }
        let count = random.usize(0..6);
        let backward = random.bool();
        let word = if backward { "last" } else { "first" };
        let page = page(shop, "orders", &format!("{word}: {count}{arguments}")).await;
        let window: &[String] = if from < to { &expect[from..to] } else { &[] };
        let take = count.min(window.len());
        let found = if backward { &window[window.len() - take..] } else { &window[..take] };
        assert_eq!(ids(&page), found, "{word} {count} of {from}..{to}");
        if found.is_empty() && from >= to {
            continue;
        }
        // Where the page begins and ends in the whole list.
        let (start, end) = if backward { (to - take, to) } else { (from, from + take) };
        let info = &page["pageInfo"];
        assert_eq!(info["hasPreviousPage"], json!(start > 0), "{word} {count} of {from}..{to}");
        assert_eq!(info["hasNextPage"], json!(end < expect.len()), "{word} {count} of {from}..{to}");
        let edge = |at: usize| if found.is_empty() { Json::Null } else { json!(cursor(at)) };
        assert_eq!(info["startCursor"], edge(start));
        assert_eq!(info["endCursor"], edge(end.saturating_sub(1)));
    }
}

#[tokio::test]
async fn cursors_of_elsewhere_are_refused_and_harm_only_their_field() {
    let shop = Shop::new().await;
    for id in ["p1", "p2"] {
        shop.put_product(id, id, "k1", id).await;
    }
    shop.put_order("o1", "u1", "PAID", 0, &[]).await;
    let data = shop
        .data(r#"{ productsInCategory(categoryId: "k1", first: 1) { pageInfo { endCursor } } ordersToPick(warehouseId: "w1") { edges { cursor } } }"#)
        .await;
    let cursor = data["productsInCategory"]["pageInfo"]["endCursor"].as_str().unwrap();
    let other = data["ordersToPick"]["edges"][0]["cursor"].as_str().unwrap();
    let mut forged = cursor.to_owned();
    forged.replace_range(60..61, if &cursor[60..61] == "A" { "B" } else { "A" });
    for (category, after, works) in [
        ("k1", cursor, true),
        ("k2", cursor, false),
        ("k1", other, false),
        ("k1", &*forged, false),
        ("k1", "", false),
    ] {
        let query = r#"query ($c: ID!, $a: String) { productsInCategory(categoryId: $c, after: $a) { nodes { id } } }"#;
        let body = shop.ask(query, json!({"c": category, "a": after})).await;
        if works {
            assert_eq!(body["data"]["productsInCategory"]["nodes"], json!([{"id": "p2"}]));
        } else {
            assert_eq!(body["errors"][0]["extensions"]["code"], "CURSOR_INVALID", "{category} {after}");
            assert_eq!(body["data"], Json::Null);
        }
    }
}

#[tokio::test]
async fn counts_hold_at_their_bounds_and_default_to_twenty() {
    let shop = Shop::new().await;
    for at in 0..25 {
        shop.put_product(&format!("p{at:02}"), "s", "k", "same").await;
    }
    let count = async |arguments: &str| {
        let query = format!(
            r#"{{ productsInCategory(categoryId: "k"{arguments}) {{ nodes {{ id }} pageInfo {{ hasNextPage }} }} }}"#
        );
        let body = shop.ask(&query, json!({})).await;
        let page = &body["data"]["productsInCategory"];
        match page["nodes"].as_array() {
            Some(nodes) => format!("{} {}", nodes.len(), page["pageInfo"]["hasNextPage"]),
            None => body["errors"][0]["extensions"]["code"].as_str().unwrap().to_owned(),
        }
    };
    for (arguments, expect) in [
        ("", "20 true"),
        (", first: null", "20 true"),
        (", first: 0", "0 true"),
        (", first: 25", "25 false"),
        (", first: 99", "25 false"),
        (", first: 100", "25 false"),
        (", first: 101", "BAD_USER_INPUT"),
        (", last: 101", "BAD_USER_INPUT"),
        (", last: 3", "3 false"),
        (", first: -1", "BAD_USER_INPUT"),
        (", first: 1, last: 1", "BAD_USER_INPUT"),
    ] {
        assert_eq!(count(arguments).await, expect, "{arguments}");
    }
}

#[tokio::test]
async fn a_cursor_from_before_the_key_changed_says_so() {
    let schema = |clustering: &str| {
        format!(
            r#"type Query {{ es(g: ID!, first: Int, after: String): EConnection @read(table: "es_by_g") e(id: ID!): E @read }}
            type E @key(fields: "id") @table(name: "es", partition: "id")
              @table(name: "es_by_g", partition: "g", clustering: "{clustering}", rows: 100) {{ id: ID! g: ID! name: String! }}"#
        )
    };
    let shop = async |clustering: &str, hash: &str, secrets: &[&str]| {
        let shop = Shop::with(&schema(clustering), |settings| {
            settings.definitions_hash = hash.to_owned();
            settings.cursor_secrets = secrets.iter().map(|secret| secret.as_bytes().to_vec()).collect();
        })
        .await;
        for id in ["a", "b", "c"] {
            shop.put("E", &[("id", text(id)), ("g", text("g")), ("name", text(id))]).await;
        }
        shop
    };
    let before = shop("name, id", "1", &["old"]).await;
    let query = r#"query ($after: String) { es(g: "g", first: 1, after: $after) { nodes { id } pageInfo { endCursor } } }"#;
    let body = before.ask(query, json!({})).await;
    let cursor = &body["data"]["es"]["pageInfo"]["endCursor"];
    let ask = async |shop: &Shop| shop.ask(query, json!({ "after": cursor })).await;
    // The same key under other definitions, signed with what is the second secret by now.
    let body = ask(&shop("name, id", "2", &["new", "old"]).await).await;
    assert_eq!(body["data"]["es"]["nodes"], json!([{"id": "b"}]));
    let body = ask(&shop("name DESC, id", "2", &["new", "old"]).await).await;
    assert_eq!(body["data"], json!({"es": null}));
    let error = &body["errors"][0];
    assert_eq!(error["extensions"]["code"], "CURSOR_MODEL_CHANGED");
    assert_eq!(error["path"], json!(["es"]));
    assert_eq!(
        error["message"],
        "`after` is a cursor from before the table's key changed; start again without it."
    );
    let body = ask(&shop("name, id", "1", &["new"]).await).await;
    assert_eq!(body["errors"][0]["extensions"]["code"], "CURSOR_INVALID");
}
