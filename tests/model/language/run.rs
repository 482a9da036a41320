//! The engine under test: folds a log on every store, with processes that die, batches of any size and redelivery, and is
//! compared with what the reference came to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fastrand::Rng;
use kinora::engine::Definitions;
use kinora::handler::UpdateKind;
use kinora::project::{Halt, ProjectSettings, Projector};
use kinora::source::file::Lines;
use kinora::source::{NewRecord, Source};
use kinora::store::embedded::{Durability, EmbeddedStore};
use kinora::store::memory::MemoryStore;
use kinora::store::{ParkedKey, Store, Tables, all_parked};
use kinora::testing::Interrupted;

use super::program::Program;
use super::reference::{Given, State};
use super::stored::{self, definitions, shown};

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
    assert!(!program.is_blind || definitions.projections[0].kind == UpdateKind::BlindSet);
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
        rows(program, &definitions, tables.as_ref(), expected).await.map_err(|what| differ(&what))?;
        parked(tables.as_ref(), expected).await.map_err(|what| differ(&what))?;
    }
    Ok(())
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

/// The rows of every table.
async fn rows(
    program: &Program,
    definitions: &Definitions,
    tables: &dyn Tables,
    expected: &State,
) -> Result<(), String> {
    for table in &definitions.plan.tables {
        stored::index(table, tables, &expected.rows).await?;
        let Some(wanted) = stored::rows(program, &table.name, &expected.rows) else { continue };
        let stored = tables.all(table.id, None, 10_000).await.map_err(|error| error.to_string())?;
        let found: BTreeSet<String> = stored.iter().map(|row| shown(&row.cells)).collect();
        if found.len() != stored.len() || found != wanted {
            let missing: Vec<_> = wanted.difference(&found).collect();
            let extra: Vec<_> = found.difference(&wanted).collect();
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
