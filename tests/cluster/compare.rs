//! Holds a deployment against the oracle: every row of every table as it lies in Cassandra, and every row again as the graph
//! answers it.

use std::collections::BTreeSet;

use kinora::store::all_parked;
use serde_json::{Map, Value as Json, json};

use crate::answers::{Cursors, Question, answer, table_rows};
use crate::definitions::Definitions;
use crate::deployment::Deployment;
use crate::load::Log;
use crate::oracle::{Oracle, Parked};
use crate::process::Process;

/// Keys of each kind that are asked for through the graph at most: the oracle looks each up in all rows.
const KEYS_MAX: u32 = 300;
/// Representations of one question.
const AT_ONCE: usize = 200;

const MONEY: &str = "{ amount currency }";
const ORDER: &str = "id number warehouseId status placedAt paidAt shippedAt trackingId cancelReason total { amount currency } \
    user { id } lines { name quantity unitPrice { amount currency } product { id sku price { amount } } }";
const CART: &str = "id state: status itemCount updatedAt total { amount currency } user { id } order { id status number } \
    lines { name quantity unitPrice { amount currency } product { id name } }";

/// Lists of the shop: the query, with `$after`, and the letter and number of their keys.
const LISTS: [(&str, &str); 2] = [
    (
        "query ($key: ID!, $after: String) { list: ordersToPick(warehouseId: $key, first: ALL, after: $after) {
           nodes { id status placedAt } pageInfo { hasNextPage endCursor } } }",
        "w",
    ),
    (
        "query ($key: ID!, $after: String) { list: productsInCategory(categoryId: $key, first: ALL, after: $after) {
           nodes { id name sku price { amount currency } } pageInfo { hasNextPage endCursor } } }",
        "k",
    ),
];

/// What the log comes to.
pub fn oracle(deployment: &Deployment, log: &Log) -> Oracle {
    let mut oracle = Oracle::new(Definitions::read(deployment.path()));
    log.sent.iter().for_each(|sent| oracle.apply(sent));
    oracle
}

/// Waits until all is folded, then compares every row, in the tables and through the graph.
///
/// # Panics
/// At the first table or answer that differs: those rows are shown.
pub async fn all(deployment: &Deployment, serving: &Process, log: &Log) {
    serving.wait_until_read(&log.ends).await;
    let oracle = oracle(deployment, log);
    tables(deployment, &oracle).await;
    parked(deployment, &oracle).await;
    graph(serving, &oracle).await;
}

/// Compares every row as it lies in Cassandra.
pub async fn tables(deployment: &Deployment, oracle: &Oracle) {
    let stored = deployment.tables().await;
    let mut count = 0;
    for (entity, ty) in &oracle.definitions.types {
        for table in &ty.tables {
            let found = sorted(deployment.rows(stored.as_ref(), &table.name).await);
            let wanted = sorted(table_rows(oracle, entity, table));
            let only = |a: &[String], b: &[String]| {
                let missing = a.iter().filter(|row| b.binary_search(row).is_err());
                missing.take(3).cloned().collect::<Vec<_>>()
            };
            assert!(
                found == wanted,
                "{}: {} rows where {} are right; wrong or too much: {:#?}; missing: {:#?}",
                table.name,
                found.len(),
                wanted.len(),
                only(&found, &wanted),
                only(&wanted, &found)
            );
            count += wanted.len();
        }
    }
    assert!(count > 0, "nothing was compared");
}

/// Compares the rows whose keys are parked, and how many events wait behind each: some events of the shop add up to more than
/// a number holds.
async fn parked(deployment: &Deployment, oracle: &Oracle) {
    let stored = deployment.tables().await;
    let found = all_parked(stored.as_ref()).await.expect("it can be read");
    let found: BTreeSet<_> = found
        .iter()
        .map(|((projection, _), held)| (projection.to_string(), only_value(&held.shown), held.waiting))
        .collect();
    let wanted: BTreeSet<_> = oracle
        .parked
        .iter()
        .map(|((projection, key), held)| match key {
            Parked::Row(key) => (projection.clone(), only_value(key), held.waiting),
            other => panic!("the shop's events have rows: {other:?}"),
        })
        .collect();
    assert_eq!(found, wanted);
}

/// What a key of one column is, shown by its name or alone.
fn only_value(shown: &str) -> String {
    let shown: Json = serde_json::from_str(shown).expect("a key is shown as JSON");
    let first = shown.as_object().map_or(&shown[0], |object| object.values().next().unwrap_or(&Json::Null));
    first.to_string()
}

/// Each row as text, fields in the order of their names.
fn sorted(rows: Vec<Json>) -> Vec<String> {
    let text = |mut row: Json| {
        row.sort_all_objects();
        row.to_string()
    };
    let mut rows: Vec<String> = rows.into_iter().map(text).collect();
    rows.sort_unstable();
    rows
}

/// Compares rows as the graph answers them: by each key, and in lists.
async fn graph(serving: &Process, oracle: &Oracle) {
    let query = format!(
        "query ($of: [_Any!]!) {{ _entities(representations: $of) {{ __typename
           ... on Order {{ {ORDER} }} ... on Product {{ id sku categoryId name price {MONEY} }} ... on Cart {{ {CART} }}
           ... on Customer {{ id name email }} ... on User {{ id orders(first: 100) {{ nodes {{ id placedAt status }} }} }} }} }}"
    );
    let representations: Vec<Json> = numbers(oracle).into_iter().flat_map(of_number).collect();
    assert!(representations.len() > AT_ONCE, "{} are few", representations.len());
    for some in representations.chunks(AT_ONCE) {
        let variables = Map::from_iter([("of".to_owned(), Json::from(some))]);
        let found = data(serving, &query, &variables).await;
        let cursors = Cursors::new();
        let wanted = answer(oracle, &Question { query: &query, variables: &variables, cursors: &cursors });
        let both = found["_entities"]
            .as_array()
            .into_iter()
            .flatten()
            .zip(wanted["_entities"].as_array().into_iter().flatten());
        for ((found, wanted), of) in both.zip(some) {
            assert_eq!(found.to_string(), wanted.to_string(), "{of}");
        }
        assert_eq!(found.to_string(), wanted.to_string());
    }
    for (query, letter) in LISTS {
        for number in 0..2 {
            list(serving, oracle, query, &format!("{letter}{number}")).await;
        }
    }
}

/// The numbers that keys are asked for with: all, or some all over.
fn numbers(oracle: &Oracle) -> Vec<u32> {
    let ids = oracle.rows_of("Order").chain(oracle.rows_of("Cart")).filter_map(|row| row["id"].as_text());
    let highest = ids.filter_map(|id| id[1..].parse::<u32>().ok()).max().unwrap_or(0);
    (0..=highest).step_by((highest / KEYS_MAX + 1) as usize).collect()
}

fn of_number(number: u32) -> [Json; 7] {
    [
        json!({ "__typename": "Order", "id": format!("o{number}") }),
        json!({ "__typename": "Order", "number": format!("n{number}") }),
        json!({ "__typename": "Product", "id": format!("p{number}") }),
        json!({ "__typename": "Product", "sku": format!("s{number}") }),
        json!({ "__typename": "Cart", "id": format!("c{number}") }),
        json!({ "__typename": "Customer", "id": format!("u{number}") }),
        json!({ "__typename": "User", "id": format!("u{number}") }),
    ]
}

/// Walks a list page by page; all of it together is what the oracle answers at once.
async fn list(serving: &Process, oracle: &Oracle, query: &str, key: &str) {
    let (mut found, mut after) = (Vec::new(), Json::Null);
    loop {
        let variables = Map::from_iter([("key".to_owned(), json!(key)), ("after".to_owned(), after)]);
        let page = data(serving, &query.replace("ALL", "100"), &variables).await;
        let Json::Array(nodes) = &page["list"]["nodes"] else { panic!("{page} has no list") };
        found.extend(nodes.iter().cloned());
        if page["list"]["pageInfo"]["hasNextPage"] != true {
            break;
        }
        after = page["list"]["pageInfo"]["endCursor"].clone();
    }
    let variables = Map::from_iter([("key".to_owned(), json!(key))]);
    let all = query.replace("ALL", "1000000").replace(", after: $after", "");
    let cursors = Cursors::new();
    let wanted = answer(oracle, &Question { query: &all, variables: &variables, cursors: &cursors });
    assert_eq!(Json::from(found).to_string(), wanted["list"]["nodes"].to_string(), "{key}: {query}");
}

async fn data(serving: &Process, query: &str, variables: &Map<String, Json>) -> Json {
    let answer = serving.ask(query, variables, "").await;
    assert!(answer["errors"].is_null() && !answer["data"].is_null(), "{answer} to {query}");
    answer["data"].clone()
}
