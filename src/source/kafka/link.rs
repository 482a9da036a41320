//! What brokers say of topics: names, ids, partitions, offsets.
//!
//! Comes in: names. Goes out: [`TopicInfo`]s with the start of each partition and the end that a reader can come to, which
//! lies before an open transaction. Every call blocks until brokers answer, at most `kafka.timeout` and a little.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset as At, TopicPartitionList};

use super::client::{self, Consumer, Context};
use super::native::{self, Asked, Listed};
use crate::config::Kafka as Settings;
use crate::event::{Offset, TopicPartition};
use crate::source::{PartitionInfo, SourceError, TopicInfo};

/// How long one try for the names of all topics may take.
const TRY: Duration = Duration::from_millis(500);

/// A connection for questions, and the settings for others.
pub(super) struct Link {
    pub settings: Arc<Settings>,
    client: Consumer,
}

impl Link {
    pub fn new(settings: Arc<Settings>) -> Result<Link, SourceError> {
        let client = client::create(&client::config(&settings)?, Context::new(&settings))?;
        Ok(Link { settings, client })
    }

    /// All topics but those that Kafka keeps for itself, by name.
    pub fn all(&self) -> Result<Vec<TopicInfo>, SourceError> {
        let names = self.names()?;
        let found = self.describe(&names)?;
        let mut topics: Vec<TopicInfo> = found.into_iter().flatten().collect();
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(topics)
    }

    /// Topics of these names, in their order; `None` where there is none of a name.
    pub fn describe(&self, names: &[Arc<str>]) -> Result<Vec<Option<TopicInfo>>, SourceError> {
        let described = self.ids(names)?;
        let mut partitions = Vec::new();
        for (name, described) in names.iter().zip(&described) {
            let count = described.as_ref().map_or(0, |(_, count)| *count);
            partitions
                .extend((0..count).map(|partition| TopicPartition { topic: Arc::clone(name), partition }));
        }
        let mut offsets = self.offsets(&partitions)?;
        let info = |(name, described): (&Arc<str>, Option<(u128, u32)>)| {
            let (id, count) = described?;
            let at = |partition| TopicPartition { topic: Arc::clone(name), partition };
            let partitions = (0..count).map(|partition| offsets.remove(&at(partition)));
            // A topic that was deleted between the two questions has no offsets: it is not there.
            Some(TopicInfo { name: Arc::clone(name), id, partitions: partitions.collect::<Option<_>>()? })
        };
        Ok(names.iter().zip(described).map(info).collect())
    }

    /// Id and number of partitions of topics, in the order of their names.
    pub fn ids(&self, names: &[Arc<str>]) -> Result<Vec<Option<(u128, u32)>>, SourceError> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let found = native::describe(&self.client, names, self.settings.timeout)?;
        let one =
            |(name, described): (&Arc<str>, Result<native::Described, RDKafkaErrorCode>)| match described {
                Ok(topic) if topic.is_internal => Ok(None),
                Ok(topic) => Ok(Some((topic.id, topic.partitions))),
                Err(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::InvalidTopic) => Ok(None),
                Err(code) => Err(of_topic(name, code)),
            };
        names.iter().zip(found).map(one).collect()
    }

    /// Start and end of partitions. Those of a topic that is not there are left out.
    pub fn offsets(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, PartitionInfo>, SourceError> {
        let starts = self.list(partitions, Asked::Start)?;
        let mut ends = self.list(partitions, Asked::End)?;
        let both = |(at, start): (TopicPartition, Offset)| {
            let end = ends.remove(&at)?.max(start);
            Some((at, PartitionInfo { start, end }))
        };
        Ok(starts.into_iter().filter_map(both).collect())
    }

    /// Makes a topic, with the brokers' own replication where no number of replicas is given; one that is there stays as it is.
    pub fn create_topic(
        &self,
        (name, partitions, replicas): (&str, u32, Option<u16>),
        settings: &[(String, String)],
    ) -> Result<(), SourceError> {
        let timeout = self.settings.timeout;
        match native::create_topic(&self.client, (name, partitions, replicas), settings, timeout)? {
            None | Some((RDKafkaErrorCode::TopicAlreadyExists, _)) => Ok(()),
            Some((_, reason)) => {
                Err(SourceError::Refused(format!("Kafka does not make topic {name:?}: {reason}")))
            }
        }
    }

    /// The first record that is not before a time; `None` where there is none.
    pub fn first_from(&self, at: &TopicPartition, time_ms: i64) -> Result<Option<Offset>, SourceError> {
        Ok(self.list(std::slice::from_ref(at), Asked::From(time_ms))?.remove(at))
    }

    /// The positions that a group has committed in partitions, in their order. The group is asked for, not joined.
    pub fn committed(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Option<Offset>>, SourceError> {
        let mut config = client::config(&self.settings)?;
        config.set("group.id", group);
        let client: Consumer = client::create(&config, Context::new(&self.settings))?;
        let mut asked = TopicPartitionList::new();
        for at in partitions {
            asked.add_partition(&at.topic, i32::try_from(at.partition).unwrap_or(i32::MAX));
        }
        let found = client.committed_offsets(asked, self.settings.timeout);
        // Connections tell what is wrong with them only to those who listen.
        while client.poll(Duration::ZERO).is_some() {}
        let refused = |error: &KafkaError| match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::GroupAuthorizationFailed) => SourceError::Refused(format!(
                "Kafka does not let this process see where group {group:?} stands; grant its user DESCRIBE on the group"
            )),
            code => client.context().why(code),
        };
        let found = found.map_err(|error| refused(&error))?;
        let one = |at: &TopicPartition| {
            let partition = i32::try_from(at.partition).unwrap_or(i32::MAX);
            let Some(element) = found.find_partition(&at.topic, partition) else { return Ok(None) };
            element.error().map_err(|error| refused(&error))?;
            match element.offset() {
                At::Offset(offset) => Ok(u64::try_from(offset).ok()),
                _ => Ok(None),
            }
        };
        partitions.iter().map(one).collect()
    }

    fn list(
        &self,
        partitions: &[TopicPartition],
        asked: Asked,
    ) -> Result<BTreeMap<TopicPartition, Offset>, SourceError> {
        if partitions.is_empty() {
            return Ok(BTreeMap::new());
        }
        let mut found = BTreeMap::new();
        let listed = native::list_offsets(&self.client, partitions, asked, self.settings.timeout)?;
        for (at, offset, code) in listed as Vec<Listed> {
            match (code, u64::try_from(offset)) {
                (None, Ok(offset)) => {
                    found.insert(at, offset);
                }
                (None, Err(_)) | (Some(RDKafkaErrorCode::UnknownTopicOrPartition), _) => {}
                (Some(code), _) => return Err(of_topic(&at.topic, code)),
            }
        }
        Ok(found)
    }

    fn names(&self) -> Result<Vec<Arc<str>>, SourceError> {
        let asked = Instant::now();
        let context = self.client.context();
        loop {
            let found = self.client.fetch_metadata(None, TRY);
            // Connections tell what is wrong with them only to those who listen.
            while self.client.poll(Duration::ZERO).is_some() {}
            match found {
                Ok(found) => {
                    context.answered();
                    let names = found.topics().iter().map(|topic| topic.name());
                    return Ok(names.filter(|name| !name.starts_with("__")).map(Arc::from).collect());
                }
                Err(error) => {
                    let waited = asked.elapsed();
                    if context.is_cut_off(waited > TRY) || waited > self.settings.timeout {
                        return Err(context.why(error.rdkafka_error_code()));
                    }
                }
            }
        }
    }
}

/// What a broker's refusal of a topic means.
pub(super) fn of_topic(name: &str, code: RDKafkaErrorCode) -> SourceError {
    match code {
        RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::ClusterAuthorizationFailed => {
            SourceError::Refused(format!(
                "Kafka does not let this process use topic {name:?}: {code}; grant its user DESCRIBE and READ there, and \
                 WRITE to publish"
            ))
        }
        code => SourceError::Unavailable(format!("Kafka does not answer for topic {name:?}: {code}")),
    }
}
