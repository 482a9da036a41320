//! Where events come from. Backends: `broker`, the embedded log in a directory; `kafka`; and `file`, JSON lines.
//!
//! Topics of many partitions, batches of one partition, at least once, async.
//! All backends pass one contract suite. Nothing here decodes a record.

pub mod broker;
pub mod file;
pub mod group;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod partition;

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::event::{Offset, Record, TopicPartition, content_len};

/// Why a log could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    #[error("the log is not answering: {0}")]
    Unavailable(String),
    /// The log no longer holds what is asked for, or is another log under the same name.
    #[error("{0}")]
    Gone(String),
    #[error("the log is damaged: {0}")]
    Corrupt(String),
    /// There is no room to append: nothing of it is there, and it may be tried again.
    #[error("the log is full: {0}")]
    Full(String),
    /// A write or an fsync failed, so nothing is appended any more. Reads go on.
    #[error("the log has halted: {0}")]
    Halted(String),
    #[error("{0}")]
    Refused(String),
    #[error("{what}: {source}")]
    Io { what: String, source: std::io::Error },
}

impl SourceError {
    /// Its kind, in a word, for counting.
    pub fn name(&self) -> &'static str {
        match self {
            SourceError::Unavailable(_) => "unavailable",
            SourceError::Gone(_) => "gone",
            SourceError::Corrupt(_) => "corrupt",
            SourceError::Full(_) => "full",
            SourceError::Halted(_) => "halted",
            SourceError::Refused(_) => "refused",
            SourceError::Io { .. } => "io",
        }
    }
}

/// A topic as the log describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicInfo {
    pub name: Arc<str>,
    /// Drawn when the topic was made: one created anew under the same name has another.
    pub id: u128,
    /// One for each partition, from 0.
    pub partitions: Vec<PartitionInfo>,
}

impl TopicInfo {
    /// Each partition, and what it holds.
    pub fn all(&self) -> impl Iterator<Item = (TopicPartition, PartitionInfo)> {
        let at = |partition| TopicPartition { topic: Arc::clone(&self.name), partition };
        (0u32..).zip(&self.partitions).map(move |(partition, info)| (at(partition), *info))
    }
}

/// The offsets that a partition holds: `start..end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionInfo {
    pub start: Offset,
    pub end: Offset,
}

/// A place with topics.
pub trait Source: Send + Sync + 'static {
    /// All topics.
    fn topics(&self) -> BoxFuture<'_, Result<Vec<TopicInfo>, SourceError>>;

    /// One topic; `None` if there is none of that name.
    fn topic<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<TopicInfo>, SourceError>>;

    /// Starts reading partitions from given offsets.
    ///
    /// # Errors
    /// [`SourceError::Gone`] where an offset is no longer, or not yet, in the log.
    fn read<'a>(
        &'a self,
        from: &'a [(TopicPartition, Offset)],
    ) -> BoxFuture<'a, Result<Box<dyn Reader>, SourceError>>;

    /// As [`Source::read`], by one of so many readers that share the room for what is fetched ahead.
    fn read_among<'a>(
        &'a self,
        from: &'a [(TopicPartition, Offset)],
        readers: usize,
    ) -> BoxFuture<'a, Result<Box<dyn Reader>, SourceError>> {
        let _ = readers;
        self.read(from)
    }

    /// Begins to append to a topic in order.
    ///
    /// # Errors
    /// [`SourceError::Refused`] where this source takes no records.
    fn appender<'a>(&'a self, topic: &'a str) -> BoxFuture<'a, Result<Box<dyn Appender>, SourceError>> {
        let refused = format!("nothing can be appended to topic {topic:?}: this log is only read");
        Box::pin(async { Err(SourceError::Refused(refused)) })
    }

    /// Reads single records by position: what waits for a parked key. `None` where the log lacks it.
    fn fetch<'a>(
        &'a self,
        at: &'a TopicPartition,
        offset: Offset,
    ) -> BoxFuture<'a, Result<Option<Record>, SourceError>>;

    /// The first offset of a partition whose record is not before a time, in milliseconds since 1970; `None` where there is
    /// none. Reads the partition up to it, where the log does not know.
    fn first_from<'a>(
        &'a self,
        at: &'a TopicPartition,
        time_ms: i64,
    ) -> BoxFuture<'a, Result<Option<Offset>, SourceError>> {
        Box::pin(first_by_reading(self, at, time_ms))
    }

    /// The positions that a group of consumers has committed in partitions: the offsets that it would read next. `None` where
    /// it has committed none. One for each partition, in their order.
    ///
    /// # Errors
    /// [`SourceError::Refused`] where the log knows no groups, or does not let this one be asked for.
    fn committed<'a>(
        &'a self,
        group: &'a str,
        partitions: &'a [TopicPartition],
    ) -> BoxFuture<'a, Result<Vec<Option<Offset>>, SourceError>> {
        let topic = partitions.first().map(|at| &*at.topic).unwrap_or_default();
        let reason = format!(
            "topic {topic:?} is in a log that has no consumer groups, so where {group:?} stands is not known; `from.start` may give \
             offsets or a time"
        );
        Box::pin(async { Err(SourceError::Refused(reason)) })
    }
}

/// Bytes read at once while a time is looked for.
const LOOK_BYTES: usize = 256 << 10;

async fn first_by_reading<S: Source + ?Sized>(
    source: &S,
    at: &TopicPartition,
    time_ms: i64,
) -> Result<Option<Offset>, SourceError> {
    let topic = source.topic(&at.topic).await?;
    let partition = topic.as_ref().and_then(|topic| topic.partitions.get(at.partition as usize));
    let Some(PartitionInfo { start, end }) = partition.copied() else { return Ok(None) };
    let mut reader = source.read(&[(at.clone(), start)]).await?;
    let mut next = start;
    while next < end {
        let fetched = reader.next(LOOK_BYTES).await?;
        if let Some(first) = fetched.records.iter().find(|record| record.timestamp_ms >= time_ms) {
            return Ok(Some(first.offset));
        }
        next = fetched.next;
    }
    Ok(None)
}

/// Appends to one topic, without gaps: of the records for a partition those that have arrived are at any time the first ones of
/// all that were appended, whatever has failed, though some may have arrived more than once, and some after this was dropped.
pub trait Appender: Send {
    /// Appends records, each to the partition that it names; answers once all have arrived. After an error nothing more may be
    /// appended: another appender begins where it is known that all has arrived.
    fn append(&mut self, records: Vec<NewRecord>) -> BoxFuture<'_, Result<(), SourceError>>;
}

/// Reads a set of partitions, in order within each.
pub trait Reader: Send {
    /// Waits for records; answers those of one partition, at most about `bytes_max` of them (one at least). None where only
    /// the place moves on, past what a compacted log no longer has. Partitions take turns. Dropping the future loses nothing.
    fn next(&mut self, bytes_max: usize) -> BoxFuture<'_, Result<Fetched, SourceError>>;

    /// More of the partition whose turn it was, without waiting; `None` where nothing more is at hand.
    fn more(&mut self, bytes_max: usize) -> Result<Option<Fetched>, SourceError>;

    /// Reads on from another place.
    fn seek(&mut self, at: &TopicPartition, offset: Offset) -> Result<(), SourceError>;
}

/// Records of one partition, in order.
#[derive(Clone, Debug)]
pub struct Fetched {
    pub at: TopicPartition,
    pub records: Vec<Record>,
    /// The next offset to read: past the last record, and past what a compacted log no longer has.
    pub next: Offset,
    /// End of the partition when this was read.
    pub end: Offset,
}

/// A record that is to be appended. The log gives it its offset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewRecord {
    pub key: Option<Bytes>,
    /// `None` is a tombstone.
    pub value: Option<Bytes>,
    pub headers: Vec<(String, Bytes)>,
    /// Milliseconds since 1970; `None`: when it is appended.
    pub timestamp_ms: Option<i64>,
    /// `None`: by the key's hash, as Kafka's own producer does; without a key in turn.
    pub partition: Option<u32>,
}

impl NewRecord {
    /// Bytes of key, value and headers.
    pub fn len_bytes(&self) -> usize {
        content_len(&self.key, &self.value, &self.headers)
    }
}

/// Refuses an offset that a partition no longer has, or does not have yet. Its end is fine: nothing is there yet.
fn within(at: &TopicPartition, offset: Offset, start: Offset, end: Offset) -> Result<(), SourceError> {
    let place = format!("{}:{}@{offset}", at.topic, at.partition);
    if offset < start {
        return Err(SourceError::Gone(format!("{place} is no longer in the log, which begins at {start}")));
    }
    if offset > end {
        return Err(SourceError::Gone(format!(
            "{place} is past the end of the log, {end}; was the topic deleted and created anew?"
        )));
    }
    Ok(())
}
