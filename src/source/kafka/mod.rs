//! Apache Kafka.
//!
//! `client` sets clients up and puts their troubles into words, `link` asks brokers about topics, `reader` reads partitions,
//! `producer` appends, `group` shares partitions among processes, `token` reads tokens to log in with; `native` is what
//! librdkafka's binding has no safe form of.
//!
//! Partitions are assigned by whoever reads, from offsets of the caller: offsets that a consumer group has committed are
//! never read. Records of aborted transactions do not show, those of open ones not yet: the end of a partition is its last
//! stable offset. Checksums are verified. Each reader has a connection of its own, and no thread but librdkafka's.

mod client;
pub mod group;
mod link;
mod native;
pub mod producer;
mod reader;
mod token;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::Mutex;

use self::link::Link;
use self::reader::KafkaReader;
use super::{Appender, Reader, Source, SourceError, TopicInfo, within};
use crate::config::Kafka as Settings;
use crate::event::{Offset, Record, TopicPartition};

/// Bytes read for a single record.
const FIND_BYTES: usize = 64 << 10;

/// A Kafka cluster. A clone is the same connection.
#[derive(Clone)]
pub struct Kafka {
    link: Arc<Link>,
    /// Reads single records: the next is often near the last.
    finder: Arc<Mutex<Option<Finder>>>,
}

/// A reader of one partition.
struct Finder {
    at: TopicPartition,
    reader: KafkaReader,
}

impl Kafka {
    /// Sets a client up. Connects in the background: that a broker is away shows when it is asked for something.
    ///
    /// # Errors
    /// [`SourceError::Refused`] with the setting that cannot be used.
    pub fn open(settings: &Settings) -> Result<Kafka, SourceError> {
        if settings.brokers.is_empty() {
            return Err(SourceError::Refused(
                "`kafka.brokers` names no broker; set it, like [\"kafka-1:9092\"]".to_owned(),
            ));
        }
        let link = Link::new(Arc::new(settings.clone()))?;
        Ok(Kafka { link: Arc::new(link), finder: Arc::default() })
    }

    /// Asks off the runtime's threads.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Link) -> Result<T, SourceError> + Send + 'static,
    ) -> Result<T, SourceError> {
        ask(&self.link, question).await
    }

    async fn open_reader(
        &self,
        from: &[(TopicPartition, Offset)],
        readers: usize,
    ) -> Result<KafkaReader, SourceError> {
        let mut names: Vec<Arc<str>> = from.iter().map(|(at, _)| Arc::clone(&at.topic)).collect();
        names.sort();
        names.dedup();
        let asked = names.clone();
        let topics = self.ask(move |link| link.describe(&asked)).await?;
        for (name, topic) in names.iter().zip(&topics) {
            topic.as_ref().ok_or_else(|| SourceError::Refused(format!("there is no topic {name:?}")))?;
        }
        let topics: Vec<TopicInfo> = topics.into_iter().flatten().collect();
        for (at, offset) in from {
            let Some(topic) = topics.iter().find(|topic| topic.name == at.topic) else { continue };
            let (name, count) = (&topic.name, topic.partitions.len());
            let partition = topic.partitions.get(at.partition as usize).ok_or_else(|| {
                SourceError::Refused(format!(
                    "topic {name:?} has {count} partitions from 0, there is no partition {}",
                    at.partition
                ))
            })?;
            within(at, *offset, partition.start, partition.end)?;
        }
        let from = from.to_vec();
        let again = Arc::clone(&self.link);
        self.ask(move |_| KafkaReader::open(again, &topics, (&from, readers))).await
    }

    /// The record at an offset that the partition has, unless compaction has taken it.
    async fn find(&self, at: &TopicPartition, offset: Offset) -> Result<Option<Record>, SourceError> {
        let mut finder = self.finder.lock().await;
        let mut known = finder.take().filter(|finder| finder.at == *at);
        if let Some(open) = &mut known
            && open.reader.seek(at, offset).is_err()
        {
            // Opened anew, it knows the partition's offsets of today.
            known = None;
        }
        let mut open = match known {
            Some(open) => open,
            None => {
                let reader = self.open_reader(&[(at.clone(), offset)], 1).await?;
                Finder { at: at.clone(), reader }
            }
        };
        let timeout = self.link.settings.timeout;
        let fetched = tokio::time::timeout(timeout, open.reader.next(FIND_BYTES)).await;
        let fetched = fetched.map_err(|_| {
            let place = format!("{}:{}@{offset}", at.topic, at.partition);
            SourceError::Unavailable(format!("{place} did not come within {timeout:?} (`kafka.timeout`)"))
        })??;
        *finder = Some(open);
        Ok(fetched.records.into_iter().next().filter(|record| record.offset == offset))
    }
}

/// Asks off the runtime's threads.
async fn ask<T: Send + 'static>(
    link: &Arc<Link>,
    question: impl FnOnce(&Link) -> Result<T, SourceError> + Send + 'static,
) -> Result<T, SourceError> {
    let link = Arc::clone(link);
    let asked = tokio::task::spawn_blocking(move || question(&link)).await;
    asked.map_err(|_| SourceError::Unavailable("the program is shutting down".to_owned()))?
}

impl Source for Kafka {
    fn topics(&self) -> BoxFuture<'_, Result<Vec<TopicInfo>, SourceError>> {
        Box::pin(self.ask(Link::all))
    }

    fn topic<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<TopicInfo>, SourceError>> {
        Box::pin(async move {
            let name = Arc::from(name);
            Ok(self.ask(move |link| link.describe(&[name])).await?.into_iter().flatten().next())
        })
    }

    fn read<'a>(
        &'a self,
        from: &'a [(TopicPartition, Offset)],
    ) -> BoxFuture<'a, Result<Box<dyn Reader>, SourceError>> {
        Box::pin(async move { Ok(Box::new(self.open_reader(from, 1).await?) as Box<dyn Reader>) })
    }

    fn read_among<'a>(
        &'a self,
        from: &'a [(TopicPartition, Offset)],
        readers: usize,
    ) -> BoxFuture<'a, Result<Box<dyn Reader>, SourceError>> {
        Box::pin(async move { Ok(Box::new(self.open_reader(from, readers).await?) as Box<dyn Reader>) })
    }

    fn appender<'a>(&'a self, topic: &'a str) -> BoxFuture<'a, Result<Box<dyn Appender>, SourceError>> {
        Box::pin(async move { Ok(Box::new(producer::InOrder::open(self, topic)?) as Box<dyn Appender>) })
    }

    fn fetch<'a>(
        &'a self,
        at: &'a TopicPartition,
        offset: Offset,
    ) -> BoxFuture<'a, Result<Option<Record>, SourceError>> {
        Box::pin(async move {
            let place = at.clone();
            let found = self.ask(move |link| link.offsets(std::slice::from_ref(&place))).await?;
            match found.get(at) {
                Some(partition) if (partition.start..partition.end).contains(&offset) => {
                    self.find(at, offset).await
                }
                _ => Ok(None),
            }
        })
    }

    fn first_from<'a>(
        &'a self,
        at: &'a TopicPartition,
        time_ms: i64,
    ) -> BoxFuture<'a, Result<Option<Offset>, SourceError>> {
        Box::pin(async move {
            let place = at.clone();
            self.ask(move |link| link.first_from(&place, time_ms)).await
        })
    }

    fn committed<'a>(
        &'a self,
        group: &'a str,
        partitions: &'a [TopicPartition],
    ) -> BoxFuture<'a, Result<Vec<Option<Offset>>, SourceError>> {
        let (group, partitions) = (group.to_owned(), partitions.to_vec());
        Box::pin(self.ask(move |link| link.committed(&group, &partitions)))
    }
}
