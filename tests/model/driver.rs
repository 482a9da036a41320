//! Drives an engine through a random run and compares it with the oracle after every step: every row of every table,
//! every answer, every parked key.
//!
//! Comes in: a seed and anything that is an [`Engine`]. Goes out: nothing, or the first [`Difference`].

use std::collections::BTreeMap;
use std::fmt::Debug;

use fastrand::Rng;
use serde_json::{Map, Value as Json, json};

use crate::answers::{CURSOR, Cursors, Question, answer, table_rows};
use crate::events::{Mix, draw};
use crate::oracle::{Oracle, Parked, Sent};

/// What is under test: a log, a write loop, tables and a graph in one.
pub trait Engine {
    /// Appends records in order; answers their positions, `topic:partition@offset`.
    fn publish(&mut self, records: &[Sent]) -> Vec<String>;
    /// Folds all that is published.
    fn catch_up(&mut self);
    /// Stops at once and starts again on the same data, perhaps with other batch sizes.
    fn restart(&mut self, rng: &mut Rng);
    /// Folds the whole log once more into the same tables, as a worker does that has lost its place.
    fn redeliver(&mut self);
    /// Every row of a table, cells by column name.
    fn table(&mut self, name: &str) -> Vec<Json>;
    /// The whole response to a query.
    fn query(&mut self, query: &str, variables: &Map<String, Json>) -> Json;
    /// Parked keys by projection and key as shown.
    fn parked(&mut self) -> Vec<Held>;
}

/// A parked key as the engine lists it.
#[derive(Clone, Debug)]
pub struct Held {
    pub projection: String,
    pub key: String,
    /// Position of the first event that waits.
    pub since: String,
    pub waiting: u64,
}

/// Where engine and oracle differ.
#[derive(Debug)]
pub struct Difference {
    pub what: String,
    pub expected: String,
    pub found: String,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}\n expected: {}\n    found: {}", self.what, self.expected, self.found)
    }
}

type Same = Result<(), Difference>;

fn same<T: PartialEq + Debug + ?Sized>(what: impl FnOnce() -> String, expected: &T, found: &T) -> Same {
    if expected == found {
        return Ok(());
    }
    Err(Difference { what: what(), expected: format!("{expected:?}"), found: format!("{found:?}") })
}

/// One random run: publishes, catches up and restarts by chance, compares after each step.
///
/// # Errors
/// The first difference; the text names the step.
pub fn run(seed: u64, steps: usize, mix: Mix, mut oracle: Oracle, engine: &mut dyn Engine) -> Same {
    let mut rng = Rng::with_seed(seed);
    let mut positions: Vec<String> = Vec::new();
    for step in 0..steps {
        let sent: Vec<Sent> = (0..rng.usize(1..30)).map(|_| draw(&mut rng, mix)).collect();
        positions.extend(engine.publish(&sent));
        sent.iter().for_each(|sent| oracle.apply(sent));
        if rng.u32(0..4) == 0 {
            engine.restart(&mut rng);
        }
        engine.catch_up();
        match rng.u32(0..4) {
            0 => engine.restart(&mut rng),
            1 => engine.redeliver(),
            _ => {}
        }
        compare(&oracle, engine, &positions, &mut rng, mix).map_err(|difference| Difference {
            what: format!("seed {seed}, step {step}, after {} events: {}", positions.len(), difference.what),
            ..difference
        })?;
    }
    Ok(())
}

/// Compares everything at one moment.
///
/// # Errors
/// The first difference.
pub fn compare(
    oracle: &Oracle,
    engine: &mut dyn Engine,
    positions: &[String],
    rng: &mut Rng,
    mix: Mix,
) -> Same {
    parked(oracle, engine, positions)?;
    for (entity, ty) in &oracle.definitions.types {
        for table in &ty.tables {
            let mut found = engine.table(&table.name);
            found.iter_mut().for_each(sort_fields);
            found.sort_by_key(Json::to_string);
            let mut expected = table_rows(oracle, entity, table);
            expected.iter_mut().for_each(sort_fields);
            expected.sort_by_key(Json::to_string);
            rows(&table.name, &expected, &found)?;
        }
    }
    by_key(oracle, engine, mix)?;
    entities(oracle, engine, rng, mix)?;
    for list in LISTS {
        for _ in 0..3 {
            let key = format!("{}{}", list.letter, rng.u32(0..mix.keys));
            paged(oracle, engine, rng, list, &key)?;
        }
    }
    Ok(())
}

/// Fields in name order, at every depth: tables promise names, not an order.
fn sort_fields(json: &mut Json) {
    match json {
        Json::Array(items) => items.iter_mut().for_each(sort_fields),
        Json::Object(fields) => {
            fields.sort_keys();
            fields.values_mut().for_each(sort_fields);
        }
        _ => {}
    }
}

fn rows(table: &str, expected: &[Json], found: &[Json]) -> Same {
    let missing: Vec<_> = expected.iter().filter(|row| !found.contains(row)).map(Json::to_string).collect();
    let extra: Vec<_> = found.iter().filter(|row| !expected.contains(row)).map(Json::to_string).collect();
    if missing.is_empty() && extra.is_empty() && expected.len() == found.len() {
        return Ok(());
    }
    let what =
        format!("table {table}: {} rows expected, {} found; those that differ:", expected.len(), found.len());
    Err(Difference { what, expected: missing.join("\n"), found: extra.join("\n") })
}

/// Compares parked keys: of each projection and record key, the first position that waits and how many do.
fn parked(oracle: &Oracle, engine: &mut dyn Engine, positions: &[String]) -> Same {
    type Waiting = BTreeMap<(String, String), (u64, u64)>;
    let add = |all: &mut Waiting, projection: &str, key: String, since: u64, waiting: u64| {
        let held = all.entry((projection.to_owned(), key)).or_insert((since, 0));
        *held = (held.0.min(since), held.1 + waiting);
    };
    let mut expected = Waiting::new();
    for ((projection, key), held) in &oracle.parked {
        let key = match key {
            Parked::Row(key) => only_value(key),
            Parked::Record(key) => key.clone(),
            Parked::Alone(number) => positions[usize::try_from(*number).expect("logs are short")].clone(),
        };
        add(&mut expected, projection, key, held.since, held.waiting);
    }
    let mut found = Waiting::new();
    for held in engine.parked() {
        let since = positions.iter().position(|position| *position == held.since);
        let since = since.map_or(u64::MAX, |number| number as u64);
        add(&mut found, &held.projection, only_value(&held.key), since, held.waiting);
    }
    let only = |a: &Waiting, b: &Waiting| {
        let differs = |(key, held): &(&(String, String), &(u64, u64))| b.get(*key) != Some(*held);
        a.iter().filter(differs).map(|(key, held)| format!("{key:?}: {held:?}")).collect::<Vec<_>>()
    };
    same(
        || "parked keys (first event, events waiting)".into(),
        &only(&expected, &found),
        &only(&found, &expected),
    )
}

/// `["o1"]` or `{"id":"o1"}` → `o1`; anything else as it is.
fn only_value(shown: &str) -> String {
    match serde_json::from_str(shown) {
        Ok(Json::Array(items)) if items.len() == 1 => items[0].as_str().unwrap_or(shown).to_owned(),
        Ok(Json::Object(fields)) if fields.len() == 1 => {
            fields.values().next().and_then(Json::as_str).unwrap_or(shown).to_owned()
        }
        _ => shown.to_owned(),
    }
}

const MONEY: &str = "{ amount currency }";
const ORDER: &str = "__typename id number warehouseId status placedAt paidAt shippedAt trackingId cancelReason \
    total { amount currency } user { id } \
    lines { name quantity unitPrice { amount currency __typename } product { id sku price { amount } } }";
const CART: &str = "id state: status itemCount updatedAt total { amount currency } user { id } \
    order { id status placedAt user { id orders(first: 2) { nodes { id } } } } \
    lines { name quantity unitPrice { currency amount } product { id name } }";

/// Every field that reads one row, for each key and for one that no event names.
fn by_key(oracle: &Oracle, engine: &mut dyn Engine, mix: Mix) -> Same {
    let product = format!("id sku categoryId name price {MONEY}");
    for number in (0..mix.keys).map(|n| n.to_string()).chain(["none".to_owned()]) {
        let query = format!(
            "{{ cart(id: \"c{number}\") {{ {CART} }} order(id: \"o{number}\") {{ {ORDER} }}
              byNumber: orderByNumber(number: \"n{number}\") {{ {ORDER} }} product(id: \"p{number}\") {{ {product} }}
              productBySku(sku: \"s{number}\") {{ {product} }} customer(id: \"u{number}\") {{ id name email }} }}"
        );
        ask(oracle, engine, &query, Map::new(), &Cursors::new())?;
    }
    Ok(())
}

/// `_entities` with representations of every type and key, in random order and repeated.
fn entities(oracle: &Oracle, engine: &mut dyn Engine, rng: &mut Rng, mix: Mix) -> Same {
    let query = format!(
        "query ($r: [_Any!]!) {{ _entities(representations: $r) {{ __typename
          ... on Order {{ {ORDER} }} ... on Product {{ id name price {MONEY} }} ... on Cart {{ {CART} }}
          ... on Customer {{ name }} ... on User {{ id orders(last: 3) {{ nodes {{ id placedAt }} }} }} }} }}"
    );
    let representation = |rng: &mut Rng| {
        let number = rng.u32(0..=mix.keys);
        match rng.u32(0..7) {
            0 => json!({ "__typename": "Order", "id": format!("o{number}") }),
            1 => json!({ "__typename": "Order", "number": format!("n{number}") }),
            2 => json!({ "__typename": "Product", "id": format!("p{number}") }),
            3 => json!({ "__typename": "Product", "sku": format!("s{number}") }),
            4 => json!({ "__typename": "Cart", "id": format!("c{number}") }),
            5 => json!({ "__typename": "Customer", "id": format!("u{number}") }),
            _ => json!({ "__typename": "User", "id": format!("u{number}") }),
        }
    };
    let wanted: Vec<Json> = (0..rng.usize(0..12)).map(|_| representation(rng)).collect();
    let variables = Map::from_iter([("r".to_owned(), Json::from(wanted))]);
    ask(oracle, engine, &query, variables, &Cursors::new())
}

/// A list that is walked page by page.
struct List {
    /// The query, with `$k` as the key, `PAGE` for the arguments and `CURSORS` for their variables.
    query: &'static str,
    /// Where the connection stands in `data`.
    path: &'static str,
    letter: &'static str,
    backward: bool,
}

const LISTS: [&List; 3] = [
    &List {
        query: "query ($k: ID! CURSORS) { list: ordersToPick(warehouseId: $k, PAGE) {
            nodes { id status } edges { cursor node { id placedAt } } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }",
        path: "/list",
        letter: "w",
        backward: false,
    },
    &List {
        query: "query ($k: ID! CURSORS) { list: productsInCategory(categoryId: $k, PAGE) {
            edges { cursor node { id name sku } } pageInfo { endCursor startCursor hasPreviousPage hasNextPage } } }",
        path: "/list",
        letter: "k",
        backward: true,
    },
    &List {
        query: "query ($k: _Any! CURSORS) { _entities(representations: [$k]) { ... on User { list: orders(PAGE) {
            edges { node { id number } cursor } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } } } }",
        path: "/_entities/0/list",
        letter: "u",
        backward: true,
    },
];

/// Walks a list from end to end with random page sizes, forward and back, then takes windows between two cursors.
fn paged(oracle: &Oracle, engine: &mut dyn Engine, rng: &mut Rng, list: &List, key: &str) -> Same {
    let mut cursors = Cursors::new();
    let mut in_order: Vec<String> = Vec::new();
    let mut at: Option<String> = None;
    loop {
        let size = rng.usize(1..5);
        let page = page(
            oracle,
            engine,
            list,
            key,
            &format!("first: {size}, after: $a"),
            [&at, &None],
            &mut cursors,
        )?;
        in_order.extend(page.cursors.iter().cloned());
        at = page.cursors.last().cloned();
        if !page.has_next {
            break;
        }
    }
    page(oracle, engine, list, key, "first: 0", [&None, &None], &mut cursors)?;
    page(oracle, engine, list, key, "after: $a", [&in_order.first().cloned(), &None], &mut cursors)?;
    if !list.backward {
        return Ok(());
    }
    let mut before: Option<String> = None;
    loop {
        let size = rng.usize(1..5);
        let page = page(
            oracle,
            engine,
            list,
            key,
            &format!("last: {size}, before: $b"),
            [&None, &before],
            &mut cursors,
        )?;
        before = page.cursors.first().cloned();
        if !page.has_previous {
            break;
        }
    }
    if in_order.len() > 1 {
        let (a, b) = (rng.usize(0..in_order.len() - 1), rng.usize(1..in_order.len()));
        let (a, b) = (Some(in_order[a.min(b - 1)].clone()), Some(in_order[b].clone()));
        for arguments in ["first: 2, after: $a, before: $b", "last: 2, after: $a, before: $b"] {
            page(oracle, engine, list, key, arguments, [&a, &b], &mut cursors)?;
        }
    }
    Ok(())
}

struct Page {
    cursors: Vec<String>,
    has_next: bool,
    has_previous: bool,
}

fn page(
    oracle: &Oracle,
    engine: &mut dyn Engine,
    list: &List,
    key: &str,
    arguments: &str,
    [after, before]: [&Option<String>; 2],
    cursors: &mut Cursors,
) -> Result<Page, Difference> {
    let declared =
        |name: &str| if arguments.contains(name) { format!(", {name}: String") } else { String::new() };
    let query =
        list.query.replace("PAGE", arguments).replace(" CURSORS", &(declared("$a") + &declared("$b")));
    let key = if list.letter == "u" { json!({ "__typename": "User", "id": key }) } else { json!(key) };
    let mut variables = Map::from_iter([("k".to_owned(), key)]);
    variables.extend(after.iter().map(|cursor| ("a".to_owned(), json!(cursor))));
    variables.extend(before.iter().map(|cursor| ("b".to_owned(), json!(cursor))));
    let data = ask_raw(oracle, engine, &query, variables, cursors)?;
    let connection = data.pointer(list.path).expect("the answer has the list: it was compared");
    let edges = connection["edges"].as_array().expect("edges are a list");
    let mut found = Vec::new();
    for edge in edges {
        let cursor = edge["cursor"].as_str().expect("cursors are text: it was compared").to_owned();
        let row = Json::from(vec![edge["node"]["id"].clone()]).to_string();
        if let Some(other) = cursors.insert(cursor.clone(), row.clone()) {
            same(|| format!("the cursor {cursor} stands for two rows"), &other, &row)?;
        }
        found.push(cursor);
    }
    let info = &connection["pageInfo"];
    for (name, expected) in [("startCursor", found.first()), ("endCursor", found.last())] {
        same(|| format!("{name} of {query}"), &json!(expected), &info[name])?;
    }
    let truth = |name: &str| info[name].as_bool().expect("page info was compared");
    Ok(Page { has_next: truth("hasNextPage"), has_previous: truth("hasPreviousPage"), cursors: found })
}

fn ask(
    oracle: &Oracle,
    engine: &mut dyn Engine,
    query: &str,
    variables: Map<String, Json>,
    cursors: &Cursors,
) -> Same {
    ask_raw(oracle, engine, query, variables, cursors).map(drop)
}

/// Asks both sides and compares their answers as text, field order included; answers what the engine said.
fn ask_raw(
    oracle: &Oracle,
    engine: &mut dyn Engine,
    query: &str,
    variables: Map<String, Json>,
    cursors: &Cursors,
) -> Result<Json, Difference> {
    let response = engine.query(query, &variables);
    let shown = || format!("{query}\n with {}", Json::Object(variables.clone()));
    same(|| format!("errors of {}", shown()), &Json::Null, &response["errors"])?;
    let expected = answer(oracle, &Question { query, variables: &variables, cursors });
    let mut found = response["data"].clone();
    hide_cursors(&mut found);
    same(|| format!("answer to {}", shown()), &expected.to_string(), &found.to_string())?;
    Ok(response["data"].clone())
}

fn hide_cursors(json: &mut Json) {
    match json {
        Json::Array(items) => items.iter_mut().for_each(hide_cursors),
        Json::Object(fields) => {
            for (name, value) in fields {
                if name.to_ascii_lowercase().ends_with("cursor") && value.is_string() {
                    *value = Json::from(CURSOR);
                }
                hide_cursors(value);
            }
        }
        _ => {}
    }
}
