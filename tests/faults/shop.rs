//! The shop of this repository, folded inside the test, and all of its rows.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use kinora::engine::{self, Definitions, Embedded, EmbeddedSettings, EngineError, dump};
use kinora::sample;
use kinora::source::broker::{Broker, BrokerSettings};
use kinora::source::{NewRecord, SourceError};
use kinora::store::StoreError;
use kinora::store::embedded::{Durability, EmbeddedSettings as StoreSettings, EmbeddedStore};

/// A time within which all events lie.
pub const NOW_MS: i64 = 1_767_225_600_000;

/// All rows of all tables, each as text, in order.
pub type Rows = BTreeMap<String, Vec<String>>;

pub fn definitions() -> Arc<Definitions> {
    let loaded = engine::load(Path::new(env!("CARGO_MANIFEST_DIR")), &Default::default());
    loaded.expect("the files can be read").definitions.expect("they are valid")
}

/// A log with so many events of the shop; a write for every hundred.
pub async fn filled(log: &Path, seed: u64, events: usize) -> Result<Arc<Broker>, SourceError> {
    let settings = BrokerSettings { sync: false, ..BrokerSettings::default() };
    let broker = Arc::new(Broker::open_with(log, settings)?);
    for topic in sample::SHOP_TOPICS {
        broker.create_topic(topic, 2)?;
    }
    let events: Vec<_> = sample::shop(seed, events, NOW_MS).collect();
    for some in events.chunks(100) {
        let mut by_topic: BTreeMap<&str, Vec<NewRecord>> = BTreeMap::new();
        for event in some {
            let (key, value) = (Some(event.key.clone().into()), Some(event.value.clone().into()));
            let timestamp_ms = Some(event.timestamp_ms);
            let record = NewRecord { key, value, timestamp_ms, ..NewRecord::default() };
            by_topic.entry(event.topic).or_default().push(record);
        }
        for (topic, records) in by_topic {
            broker.append(topic, records).await?;
        }
    }
    Ok(broker)
}

/// A store whose tables go to files early, so that there are some.
pub fn store(directory: &Path) -> Result<EmbeddedStore, StoreError> {
    let settings = StoreSettings {
        durability: Durability::Buffer,
        memtable_bytes: 16 * 1024,
        ..StoreSettings::default()
    };
    EmbeddedStore::open_with(directory, settings)
}

/// Folds what the store lacks, and reads all rows.
pub async fn rows(
    broker: &Arc<Broker>,
    store: EmbeddedStore,
    definitions: &Arc<Definitions>,
) -> Result<Rows, EngineError> {
    let mut settings = EmbeddedSettings::new("a key for cursors");
    settings.loops.project.batch_bytes_max = 8 << 10;
    let engine = Embedded::idle(Arc::clone(broker), Arc::new(store), settings);
    let taken = async {
        engine.take_over(Arc::clone(definitions)).await?;
        engine.catch_up().await?;
        let serving = engine.serving().expect("it was taken over");
        let mut all = Rows::new();
        for table in &definitions.plan.tables {
            let rows =
                dump::rows(&definitions.model, &definitions.plan, serving.tables.as_ref(), table.id).await?;
            let mut rows: Vec<String> = rows.into_iter().map(|row| format!("{row:?}")).collect();
            rows.sort_unstable();
            all.insert(table.name.clone(), rows);
        }
        Ok(all)
    };
    let taken = taken.await;
    engine.shut_down().await;
    taken
}
