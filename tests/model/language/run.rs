//! The engine under test: folds a log on every store, with processes that die, batches of any size and redelivery, and is
//! compared with what the reference came to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fastrand::Rng;
use kinora::diagnostic::{Sources, render};
use kinora::engine::{self, Definitions};
use kinora::handler::UpdateKind;
use kinora::project::{Halt, ProjectSettings, Projector};
use kinora::source::file::Lines;
use kinora::source::{NewRecord, Source};
use kinora::store::embedded::{Durability, EmbeddedStore};
use kinora::store::memory::MemoryStore;
use kinora::store::{ParkedKey, Store, Tables, all_parked};
use kinora::testing::Interrupted;
use kinora::value::Value;

use super::program::{Program, SCHEMA};
use super::reference::{Given, Row, State};

/// Lets the engine fold the log on every store that the projection may be on.
///
/// # Errors
/// Where it came to something else.
pub async fn compare(
    program: &Program,
    log: &[Given],
    expected: &State,
    rng: &mut Rng,
) -> Result<(), String> {
    let definitions = definitions(program)?;
    let is_merged = definitions.projections[0].kind == UpdateKind::MergedFold;
    assert_eq!(is_merged, program.is_merged);
    let directory = tempfile::tempdir().expect("a directory can be made");
    let embedded = EmbeddedStore::open(directory.path(), Durability::default()).expect("it opens");
    let (atomic, stamped) = (MemoryStore::atomic(), MemoryStore::new());
    let mut stores: Vec<(&str, &dyn Store)> = vec![("memory", &atomic), ("embedded", &embedded)];
    if !is_merged {
        stores.push(("stamped memory", &stamped));
    }
    for (name, store) in stores {
        let tables = store.open(1, &definitions.plan).await.expect("it opens");
        let lines = Lines::new();
        ["a", "b"].into_iter().for_each(|topic| lines.create_topic(topic, 2));
        // What merges partitions sees their order only where all of it is there.
        let first = if is_merged { log.len() } else { rng.usize(0..=log.len()) };
        for part in [&log[..first], &log[first..]] {
            part.iter().for_each(|given| push(&lines, given));
            for _ in 0..rng.usize(0..3) {
                let dying = Interrupted::after(Arc::clone(&tables), rng.u64(1..50));
                let dying = if is_merged { dying.keeping_whole(vec!["rows".into()]) } else { dying };
                let _ = fold(&definitions, Arc::new(dying), &lines, rng).await;
            }
            fold(&definitions, Arc::clone(&tables), &lines, rng).await.map_err(|halt| halt.to_string())?;
        }
        if !is_merged && rng.bool() {
            let again = Arc::new(Interrupted::forgetful(Arc::clone(&tables)));
            fold(&definitions, again, &lines, rng).await.map_err(|halt| halt.to_string())?;
        }
        let differ = |what: &str| format!("{name} store: {what}");
        rows(&definitions, tables.as_ref(), expected).await.map_err(|what| differ(&what))?;
        parked(tables.as_ref(), expected).await.map_err(|what| differ(&what))?;
    }
    Ok(())
}

fn definitions(program: &Program) -> Result<Arc<Definitions>, String> {
    let mut sources = Sources::default();
    let schema = sources.add("schema/rows.graphql", SCHEMA);
    let projection = sources.add("projections/rows.yaml", program.text());
    let loaded = engine::bind(sources, &[schema], &[projection], &Default::default());
    loaded.definitions.ok_or_else(|| render(&loaded.findings, &loaded.sources, false))
}

fn push(lines: &Lines, given: &Given) {
    let record = NewRecord {
        key: Some(given.key.clone().into()),
        value: Some(given.value.to_string().into()),
        timestamp_ms: Some(given.time_ms),
        partition: Some(given.partition),
        ..NewRecord::default()
    };
    lines.push(given.topic, record).expect("the topic is there");
}

/// Folds to the log's end, in batches of any size.
async fn fold(
    definitions: &Definitions,
    tables: Arc<dyn Tables>,
    lines: &Lines,
    rng: &mut Rng,
) -> Result<(), Halt> {
    let projection = Arc::clone(&definitions.projections[0]);
    let mut ends = Vec::new();
    for name in projection.topics() {
        let topic = lines.topic(name).await?.expect("the topic is there");
        ends.extend(topic.partitions.iter().map(|partition| partition.end));
    }
    let settings = ProjectSettings {
        batch_bytes_max: [1, 700, usize::MAX][rng.usize(0..3)],
        batch_rows_max: [1, 3, 1_000][rng.usize(0..3)],
        cached_rows_max: 2,
        ..ProjectSettings::default()
    };
    let plan = Arc::clone(&definitions.plan);
    let mut projector = Projector::open(projection, plan, tables, lines, settings, 1_000_000).await?;
    projector.catch_up(&ends).await
}

/// The rows of the base table, and those of the copy.
async fn rows(definitions: &Definitions, tables: &dyn Tables, expected: &State) -> Result<(), String> {
    let all: BTreeSet<String> =
        expected.rows.iter().map(|((p, id), row)| shown(&cells(p, id, row))).collect();
    let above = expected.rows.iter().filter(|(_, row)| row.n > Some(2));
    let copied: BTreeSet<String> = above.map(|((p, id), row)| shown(&cells(p, id, row))).collect();
    for table in &definitions.plan.tables {
        let stored = tables.all(table.id, None, 10_000).await.map_err(|error| error.to_string())?;
        let found: BTreeSet<String> = stored.iter().map(|row| shown(&row.cells)).collect();
        let wanted = if table.name == "rows" { &all } else { &copied };
        if found.len() != stored.len() || found != *wanted {
            let missing: Vec<_> = wanted.difference(&found).collect();
            let extra: Vec<_> = found.difference(wanted).collect();
            return Err(format!("table {}\n expected {missing:#?}\n found {extra:#?}", table.name));
        }
    }
    Ok(())
}

/// What waits, key by key, in order.
async fn parked(tables: &dyn Tables, expected: &State) -> Result<(), String> {
    let row = |(p, id): &(String, String)| format!(r#"{{"p":"{p}","id":"{id}"}}"#);
    let mut wanted: BTreeMap<String, Vec<String>> =
        expected.parked_rows.iter().map(|(key, queue)| (row(key), queue.clone())).collect();
    wanted.extend(expected.parked_records.clone());
    let mut found = BTreeMap::new();
    let parked = all_parked(tables).await.map_err(|error| error.to_string())?;
    for ((projection, key), entry) in &parked {
        let queue =
            tables.parked_queue(projection, key, None, 10_000).await.map_err(|error| error.to_string())?;
        if queue.len() as u64 != entry.waiting || matches!(key, ParkedKey::Position(..)) {
            return Err(format!("{entry:?} has a queue of {}", queue.len()));
        }
        let queue = queue.iter().map(|one| format!("{}:{}@{}", one.at.topic, one.at.partition, one.offset));
        found.insert(entry.shown.to_string(), queue.collect());
    }
    match found == wanted {
        true => Ok(()),
        false => Err(format!("parked\n expected {wanted:#?}\n found {found:#?}\n{parked:#?}")),
    }
}

/// The cells of a row as the store has them.
fn cells(p: &str, id: &str, row: &Row) -> Vec<Value> {
    let text = |text: &Option<String>| text.as_ref().map_or(Value::Null, |text| Value::text(text.as_str()));
    let int = |number: Option<i64>| number.map_or(Value::Null, Value::Int);
    let texts = |list: &[String]| list.iter().map(|text| Value::text(text.as_str())).collect::<Vec<_>>();
    let part = |(name, (count, remark)): (&String, &(i64, Option<String>))| {
        let key = Value::text(name.as_str());
        (key.clone(), Value::Record(vec![key, Value::Int(*count), text(remark)]))
    };
    let item = |(k, n): &(String, i64)| Value::Record(vec![Value::text(k.as_str()), Value::Int(*n)]);
    vec![
        Value::text(p),
        Value::text(id),
        int(row.n),
        int(row.a),
        text(&row.word),
        text(&row.first),
        text(&row.at),
        int(row.total),
        Value::Set(row.tags.iter().map(|tag| Value::text(tag.as_str())).collect()),
        Value::List(texts(&row.log)),
        Value::Map(row.parts.iter().map(part).collect()),
        Value::List(row.items.iter().map(item).collect()),
        row.address
            .as_ref()
            .map_or(Value::Null, |(city, zip)| Value::Record(vec![Value::text(city.as_str()), int(*zip)])),
        Value::List(texts(&row.ids)),
        int(row.last),
    ]
}

fn shown(cells: &[Value]) -> String {
    format!("{cells:?}")
}
