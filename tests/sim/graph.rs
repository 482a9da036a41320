//! The rows at the end once more, as clients read them.
//!
//! Comes in: a generation that has caught up. Goes out: nothing, or the first answer that is not what the log means.

use std::collections::BTreeSet;
use std::sync::Arc;

use kinora::engine::Definitions;
use kinora::resolve::{Graph, GraphSettings, Limits, Request};
use serde_json::{Map, Value as Json, json};

use crate::check::{Generation, Held};
use crate::language::reference::{Key, MOMENTS, Row};

const FIELDS: &str = "p id n a word first at total tags log moment";

/// Asks for every row by its key, and for the rows of every list that holds one.
pub async fn answers(generation: &Generation) -> Held {
    let graph = match generation.bound.graph.get() {
        Some(graph) => graph,
        None => {
            let graph = graph_of(&generation.bound.definitions)?;
            generation.bound.graph.get_or_init(|| graph)
        }
    };
    let last = &generation.history.last;
    let mut asked = BTreeSet::new();
    for (key, row) in &last.rows {
        let query = format!("query($p: ID!, $id: ID!) {{ row(p: $p, id: $id) {{ {FIELDS} }} }}");
        let variables = variables(&[("p", json!(key.0)), ("id", json!(key.1))]);
        let found = ask(graph, generation, query, variables).await?;
        same(&[found["row"].clone()], &[shown(key, row)], "row")?;
        for copy in &generation.bound.program.copies {
            let Some((name, value)) = copy.argument(key, row).filter(|_| copy.holds(row)) else { continue };
            if !asked.insert((copy.name(), value.to_string())) {
                continue;
            }
            let is_there = |(key, row): &(&Key, &Row)| {
                copy.holds(row) && copy.argument(key, row) == Some((name, value.clone()))
            };
            let wanted: Vec<Json> =
                last.rows.iter().filter(is_there).map(|(key, row)| shown(key, row)).collect();
            let ty = match name {
                "n" => "Int!",
                "p" | "id" => "ID!",
                _ => "String!",
            };
            let table = copy.name();
            let query = format!("query(${name}: {ty}) {{ {table}({name}: ${name}) {{ {FIELDS} }} }}");
            let found = ask(graph, generation, query, variables_of(name, &value)).await?;
            let found = found[table].as_array().cloned().unwrap_or_default();
            same(&found, &wanted, table)?;
        }
    }
    Ok(())
}

fn graph_of(definitions: &Definitions) -> Result<Graph, String> {
    let settings = GraphSettings {
        limits: Limits::default(),
        cursor_secrets: vec![b"a secret of the tests".to_vec()],
        definitions_hash: definitions.hash.clone(),
        feeds: definitions.feeds.clone(),
        introspection: false,
    };
    Graph::new(Arc::clone(&definitions.model), Arc::clone(&definitions.plan), settings)
}

fn variables(all: &[(&str, Json)]) -> Map<String, Json> {
    all.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

fn variables_of(name: &str, value: &Json) -> Map<String, Json> {
    variables(&[(name, value.clone())])
}

async fn ask(
    graph: &Graph,
    generation: &Generation,
    query: String,
    variables: Map<String, Json>,
) -> Result<Json, String> {
    let request = Request { query, variables, at_ms: Some(0), ..Request::default() };
    let answer = graph.execute(request, &generation.tables).await;
    let body: Json = serde_json::from_slice(&answer.body).map_err(|error| error.to_string())?;
    match body.get("errors") {
        Some(errors) => Err(format!("the graph answers {errors}")),
        None => Ok(body["data"].clone()),
    }
}

/// A row as the graph shows it.
fn shown((p, id): &Key, row: &Row) -> Json {
    let moment =
        MOMENTS.iter().find(|(_, ms)| Some(*ms) == row.moment).map(|(text, _)| text.replace('Z', ".000Z"));
    json!({
        "p": p, "id": id, "n": row.n, "a": row.a, "word": row.word, "first": row.first, "at": row.at,
        "total": row.total, "tags": row.tags, "log": row.log, "moment": moment,
    })
}

fn same(found: &[Json], wanted: &[Json], what: &str) -> Held {
    let texts = |rows: &[Json]| rows.iter().map(Json::to_string).collect::<BTreeSet<_>>();
    match found.len() == wanted.len() && texts(found) == texts(wanted) {
        true => Ok(()),
        false => Err(format!("`{what}` answers\n  {found:#?}, the log says\n  {wanted:#?}")),
    }
}
