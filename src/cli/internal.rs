//! The internal topics of projections that merge partitions: which ones a generation needs, and making them.
//!
//! Comes in: definitions, the manifest and the settings of `[kafka]`. Goes out: topics as `plan` shows them, and, once `apply`
//! has made them, what the manifest has of them. Nothing else makes such a topic.

use std::sync::Arc;

use serde::Serialize;

#[cfg(not(feature = "kafka"))]
use crate::cli::Exit;
#[cfg(feature = "kafka")]
use crate::cli::unreachable;
use crate::cli::{Context, Failed};
use crate::engine::Definitions;
use crate::handler::UpdateKind;
#[cfg(feature = "kafka")]
use crate::source::{
    Source as _,
    kafka::{Kafka, producer::Producer},
};
use crate::store::{Internal, Manifest};

/// A topic that is yet to be made.
#[derive(Clone, Debug, Serialize)]
pub(super) struct NewTopic {
    #[serde(skip)]
    projection: Arc<str>,
    pub name: String,
    pub partitions: u32,
    /// Replicas of each partition; none: as many as brokers give.
    pub replicas: Option<u16>,
    pub settings: Vec<(&'static str, &'static str)>,
}

/// What was relayed and not folded is nowhere else in that order, so nothing goes by itself; and a record is as large as any
/// that is read, with where it came from.
const SETTINGS: [(&str, &str); 4] = [
    ("cleanup.policy", "delete"),
    ("retention.ms", "-1"),
    ("retention.bytes", "-1"),
    ("max.message.bytes", "68157440"),
];

/// The topics that a generation needs and does not have.
pub(super) fn missing(
    context: &Context,
    definitions: &Definitions,
    (manifest, generation): (Option<&Manifest>, u32),
) -> Vec<NewTopic> {
    let made = manifest.and_then(|manifest| manifest.generation(generation));
    let has = |projection: &str| {
        made.is_some_and(|made| made.internal.iter().any(|internal| *internal.projection == *projection))
    };
    let merged = definitions.projections.iter().filter(|one| one.kind == UpdateKind::MergedFold);
    let (kafka, keyspace) = (&context.settings.kafka, &context.settings.cassandra.keyspace);
    merged
        .filter(|one| !has(&one.name))
        .map(|one| NewTopic {
            projection: Arc::clone(&one.name),
            name: format!("kinora.{keyspace}.g{generation}.{}", one.name),
            partitions: kafka.internal_partitions,
            replicas: kafka.internal_replication,
            settings: SETTINGS.to_vec(),
        })
        .collect()
}

#[cfg(not(feature = "kafka"))]
pub(super) async fn make(_: &Context, topics: &[NewTopic]) -> Result<Vec<Internal>, Failed> {
    match topics.first() {
        None => Ok(Vec::new()),
        Some(NewTopic { name, .. }) => {
            let reason = format!(
                "topic {name:?} is made in Kafka, and this program was built without its feature `kafka`"
            );
            Err((Exit::Invalid, reason))
        }
    }
}

/// Makes topics. One that is there is taken if nothing was ever in it: a run before was cut off.
#[cfg(feature = "kafka")]
pub(super) async fn make(context: &Context, topics: &[NewTopic]) -> Result<Vec<Internal>, Failed> {
    let mut made = Vec::with_capacity(topics.len());
    if topics.is_empty() {
        return Ok(made);
    }
    let kafka = Kafka::open(&context.settings.kafka).map_err(unreachable)?;
    let producer = Producer::open(&kafka).map_err(unreachable)?;
    for NewTopic { projection, name, partitions, replicas, settings } in topics {
        let new = (name.as_str(), *partitions, *replicas);
        producer.create_replicated(new, settings).await.map_err(unreachable)?;
        let found = kafka.topic(name).await.map_err(unreachable)?;
        let found =
            found.ok_or_else(|| unreachable(format!("topic {name:?} was made, and is gone again")))?;
        if found.partitions.iter().any(|partition| partition.end > 0) {
            return Err(unreachable(format!(
                "topic {name:?} is there already and holds records, of a keyspace of the same name before: delete the topic, or \
                 set another `cassandra.keyspace`, and run it again"
            )));
        }
        made.push(Internal {
            projection: Arc::clone(projection),
            topic: Arc::clone(&found.name),
            topic_id: found.id,
            partitions: u32::try_from(found.partitions.len()).unwrap_or(u32::MAX),
        });
    }
    Ok(made)
}

/// For a person.
pub(super) fn shown(topic: &NewTopic) -> String {
    let NewTopic { name, partitions, replicas, settings, .. } = topic;
    let replicas = replicas.map(|replicas| format!(", {replicas} replicas")).unwrap_or_default();
    let settings: Vec<String> = settings.iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!("-- topic {name}: {partitions} partitions{replicas}, {}\n", settings.join(", "))
}
