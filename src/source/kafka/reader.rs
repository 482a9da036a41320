//! Reads partitions of Kafka, each from its own queue.
//!
//! Comes in: offsets. Goes out: records of one partition at a time, as many as are asked for. librdkafka fetches ahead into
//! the queues, up to a bound, after which it fetches no more of a partition until records are taken; it wakes whoever waits
//! when a queue fills. So a reader has no thread of its own, and what is taken is lost only with the reader.
//!
//! What lies between records moves on as well: markers of transactions, records of aborted ones, holes of compaction. Where
//! only these are left before the end, a fetch without records says where to go on.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::topic_partition_list::{Offset as At, TopicPartitionList};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::client::{self, Consumer, Context};
use super::link::{Link, of_topic};
use super::native::{Mark, PartitionQueue};
use crate::config::Kafka as Settings;
use crate::event::{Offset, Record, TopicPartition};
use crate::source::{Fetched, Reader, SourceError, TopicInfo, within};

/// How often it is looked whether topics are still those that they were.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How often what the client has to tell of its connections is heard while nothing comes.
const HEAR_EVERY: Duration = Duration::from_millis(500);
/// Most records taken from a queue at once.
const RECORDS_MAX: usize = 10_000;
/// Fewest bytes fetched ahead of one partition.
const AHEAD_MIN: usize = 64 << 10;
/// How long moving to another offset may take: it is done in this process.
const SEEK_WITHIN: Duration = Duration::from_secs(2);

/// Reads partitions of Kafka.
pub(super) struct KafkaReader {
    link: Arc<Link>,
    cursors: Vec<Cursor>,
    /// Whose turn it was.
    turn: usize,
    /// Told when one of the queues is no longer empty.
    wake: Arc<Notify>,
    topics: Topics,
    client: Client,
}

/// A place in a partition.
struct Cursor {
    at: TopicPartition,
    queue: PartitionQueue,
    start: Offset,
    next: Offset,
    /// Highest end that is known.
    end: Offset,
    /// Taken from the queue and not handed out: what went beyond the bytes asked for.
    stash: VecDeque<Record>,
    /// Bytes of a record, about.
    record_bytes: usize,
    /// Where the partition goes on once the stash is empty, if markers and holes stand there.
    passed: Option<Offset>,
    /// Comes after what is in the stash.
    fault: Option<SourceError>,
    /// Whether the end is to be told although nothing has moved: whoever waits then knows that brokers answer again.
    tells_end: bool,
}

/// The topics as they were when reading began.
struct Topics {
    ids: Vec<(Arc<str>, u128)>,
    looked: Instant,
    looking: Option<JoinHandle<Found>>,
}

/// Ids and numbers of partitions of topics that are there.
type Found = Result<Vec<Option<(u128, u32)>>, SourceError>;

/// The client behind a reader. Closing it takes some time, so another thread does.
struct Client(Option<Arc<Consumer>>);

impl Client {
    fn get(&self) -> &Arc<Consumer> {
        self.0.as_ref().expect("it goes only with the reader")
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let client = self.0.take();
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(move || drop(client))),
            Err(_) => drop(client),
        }
    }
}

impl KafkaReader {
    /// Begins at offsets that were found to be in the topics, as one of so many readers that share `kafka.memory`. Blocks a
    /// few milliseconds.
    pub fn open(
        link: Arc<Link>,
        topics: &[TopicInfo],
        (from, readers): (&[(TopicPartition, Offset)], usize),
    ) -> Result<KafkaReader, SourceError> {
        let config = config(&link.settings, from.len().saturating_mul(readers))?;
        let client: Arc<Consumer> = Arc::new(client::create(&config, Context::new(&link.settings))?);
        let wake = Arc::new(Notify::new());
        let mut cursors = Vec::with_capacity(from.len());
        let mut assigned = TopicPartitionList::new();
        for (at, offset) in from {
            let topic = topics.iter().find(|topic| topic.name == at.topic);
            let info = topic.and_then(|topic| topic.partitions.get(at.partition as usize));
            let (Some(info), Some(queue)) = (info, PartitionQueue::split(&client, at, &wake)) else {
                return Err(SourceError::Refused(format!("{}:{} cannot be read", at.topic, at.partition)));
            };
            add(&mut assigned, at, *offset)?;
            cursors.push(Cursor::new(at.clone(), queue, *offset, (info.start, info.end)));
        }
        if !cursors.is_empty() {
            // After the queues were split off: nothing comes into any other.
            client.assign(&assigned).map_err(|error| SourceError::Unavailable(error.to_string()))?;
        }
        let ids = topics.iter().map(|topic| (Arc::clone(&topic.name), topic.id)).collect();
        let topics = Topics { ids, looked: Instant::now(), looking: None };
        let turn = cursors.len().saturating_sub(1);
        Ok(KafkaReader { link, cursors, turn, wake, topics, client: Client(Some(client)) })
    }

    /// What the next partition in turn has.
    fn poll(&mut self, bytes_max: usize) -> Result<Option<Fetched>, SourceError> {
        for _ in 0..self.cursors.len() {
            self.turn = (self.turn + 1) % self.cursors.len();
            if let Some(fetched) = self.cursors[self.turn].fetch(bytes_max)? {
                return Ok(Some(fetched));
            }
        }
        Ok(None)
    }

    /// Hears what the client tells, and whether topics are what they were.
    fn hear(&mut self) -> Result<(), SourceError> {
        let client = self.client.get();
        // Records have queues of their own: what comes here is told to the context.
        while client.poll(Duration::ZERO).is_some() {}
        if let Some(outage) = client.context().take_outage() {
            for cursor in &mut self.cursors {
                cursor.tells_end = true;
            }
            return Err(outage);
        }
        self.topics.look(&self.link)
    }
}

impl Reader for KafkaReader {
    fn next(&mut self, bytes_max: usize) -> BoxFuture<'_, Result<Fetched, SourceError>> {
        Box::pin(async move {
            loop {
                self.topics.look(&self.link)?;
                match self.poll(bytes_max) {
                    Ok(Some(fetched)) => return Ok(fetched),
                    Ok(None) => self.hear()?,
                    Err(gone @ SourceError::Gone(_)) => {
                        // It may be gone because the topic is another: that says more.
                        self.topics.look_now(&self.link).await?;
                        return Err(gone);
                    }
                    Err(error) => return Err(error),
                }
                // A queue that has filled since was told: that is kept until somebody waits.
                let filled = self.wake.notified();
                let _ = tokio::time::timeout(HEAR_EVERY, filled).await;
            }
        })
    }

    fn more(&mut self, bytes_max: usize) -> Result<Option<Fetched>, SourceError> {
        match self.cursors.get_mut(self.turn) {
            Some(cursor) => cursor.fetch(bytes_max),
            None => Ok(None),
        }
    }

    /// Takes some milliseconds at most, in which it blocks.
    fn seek(&mut self, at: &TopicPartition, offset: Offset) -> Result<(), SourceError> {
        let client = self.client.get();
        let Some(cursor) = self.cursors.iter_mut().find(|cursor| cursor.at == *at) else {
            let place = format!("{}:{}", at.topic, at.partition);
            return Err(SourceError::Refused(format!("{place} is not among the partitions of this reader")));
        };
        within(at, offset, cursor.start, cursor.end.max(cursor.queue.known_end().unwrap_or(0)))?;
        if offset == cursor.next && cursor.fault.is_none() {
            return Ok(());
        }
        seek(client, at, offset)?;
        cursor.rewind(offset);
        Ok(())
    }
}

impl Cursor {
    fn new(
        at: TopicPartition,
        queue: PartitionQueue,
        next: Offset,
        (start, end): (Offset, Offset),
    ) -> Cursor {
        Cursor {
            at,
            queue,
            start,
            next,
            end,
            stash: VecDeque::new(),
            record_bytes: 1 << 10,
            passed: None,
            fault: None,
            tells_end: false,
        }
    }

    fn rewind(&mut self, next: Offset) {
        self.next = next;
        self.stash.clear();
        self.passed = None;
        self.fault = None;
    }

    fn fetch(&mut self, bytes_max: usize) -> Result<Option<Fetched>, SourceError> {
        let mut records = Vec::new();
        if self.stash.is_empty() && self.passed.is_none() && self.fault.is_none() {
            self.take(bytes_max, &mut records);
        } else {
            let count = fitting(self.stash.iter(), bytes_max);
            records.extend(self.stash.drain(..count));
        }
        let before = self.next;
        if let Some(last) = records.last() {
            self.next = last.offset + 1;
        }
        let mut is_told = false;
        if self.stash.is_empty() {
            if records.is_empty()
                && let Some(fault) = self.fault.take()
            {
                return Err(fault);
            }
            if let Some(passed) = self.passed.take() {
                self.next = self.next.max(passed);
                is_told = std::mem::take(&mut self.tells_end);
            }
        }
        if records.is_empty() && self.next == before && !is_told {
            return Ok(None);
        }
        self.end = self.end.max(self.next);
        Ok(Some(Fetched { at: self.at.clone(), records, next: self.next, end: self.end }))
    }

    /// Takes from the queue what fits, about; what does not goes to the stash.
    fn take(&mut self, bytes_max: usize, records: &mut Vec<Record>) {
        let (mut marks, mut bytes) = (Vec::new(), 0);
        loop {
            let left = bytes_max.saturating_sub(bytes);
            let count = (left / self.record_bytes).clamp(1, RECORDS_MAX);
            let before = records.len();
            bytes += self.queue.take(count, records, &mut marks);
            if !records.is_empty() {
                self.record_bytes = (bytes / records.len()).max(1);
            }
            // Records that are smaller than was thought leave room for more.
            if records.len() - before < count || bytes + self.record_bytes > bytes_max {
                break;
            }
        }
        if !records.is_empty() {
            let fitting = fitting(records.iter(), bytes_max);
            self.stash.extend(records.drain(fitting..));
            self.end = self.end.max(self.queue.known_end().unwrap_or(0));
        }
        for mark in marks {
            match mark {
                // The end that a reader comes to may lie before the one that is known: a transaction is open there.
                Mark::End(offset) => {
                    self.passed = Some(offset);
                    self.end = offset;
                }
                Mark::Fault { code, reason } => self.fault = Some(self.sentence(code, &reason)),
            }
        }
    }

    /// What a partition's error means.
    fn sentence(&self, code: RDKafkaErrorCode, reason: &str) -> SourceError {
        let place = format!("{}:{}@{}", self.at.topic, self.at.partition, self.next);
        match code {
            RDKafkaErrorCode::AutoOffsetReset
            | RDKafkaErrorCode::OffsetOutOfRange
            | RDKafkaErrorCode::LogTruncation => SourceError::Gone(format!(
                "{place} is not in the log any more ({reason}): retention has passed it, or the log was cut off; rebuild \
                 the projection, or restore the topic"
            )),
            RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownPartition => SourceError::Gone(deleted(&self.at.topic)),
            RDKafkaErrorCode::BadMessage
            | RDKafkaErrorCode::InvalidMessage
            | RDKafkaErrorCode::BadCompression => SourceError::Corrupt(format!(
                "the record at {place} or behind it cannot be read: {reason}; check the broker's disk"
            )),
            RDKafkaErrorCode::TopicAuthorizationFailed => of_topic(&self.at.topic, code),
            _ => SourceError::Unavailable(format!("{place}: {reason}")),
        }
    }
}

impl Topics {
    /// Looks, now and then and without waiting, whether each topic has the id that it had: librdkafka reads on from the
    /// same offset of a topic that was created anew.
    fn look(&mut self, link: &Arc<Link>) -> Result<(), SourceError> {
        if let Some(looking) = &mut self.looking {
            let Some(found) = looking.now_or_never() else { return Ok(()) };
            (self.looking, self.looked) = (None, Instant::now());
            self.compare(found.unwrap_or(Ok(Vec::new())))
        } else {
            if self.looked.elapsed() >= LOOK_EVERY && !self.ids.is_empty() {
                self.looking = Some(self.ask(link));
            }
            Ok(())
        }
    }

    /// Looks now, and waits for the answer.
    async fn look_now(&mut self, link: &Arc<Link>) -> Result<(), SourceError> {
        let found = self.ask(link).await;
        self.compare(found.unwrap_or(Ok(Vec::new())))
    }

    fn ask(&self, link: &Arc<Link>) -> JoinHandle<Found> {
        let link = Arc::clone(link);
        let names: Vec<Arc<str>> = self.ids.iter().map(|(name, _)| Arc::clone(name)).collect();
        tokio::task::spawn_blocking(move || link.ids(&names))
    }

    /// Whoever cannot be asked is asked again later; that brokers are away shows elsewhere.
    fn compare(&self, found: Found) -> Result<(), SourceError> {
        for ((name, id), found) in self.ids.iter().zip(found.unwrap_or_default()) {
            match found {
                Some((found, _)) if found == *id => {}
                Some((found, _)) => {
                    return Err(SourceError::Gone(format!(
                        "topic {name:?} was created anew while it was read: its id is {found:032x}, it was {id:032x}; \
                         rebuild the projection, or restore the topic"
                    )));
                }
                None => return Err(SourceError::Gone(deleted(name))),
            }
        }
        Ok(())
    }
}

fn deleted(topic: &str) -> String {
    format!("topic {topic:?} was deleted while it was read; restore it, or take it out of the projection")
}

/// How many records fit, one at least.
fn fitting<'r>(records: impl Iterator<Item = &'r Record>, bytes_max: usize) -> usize {
    let (mut bytes, mut count) = (0, 0);
    for record in records {
        bytes += record.len_bytes();
        if bytes > bytes_max && count > 0 {
            break;
        }
        count += 1;
    }
    count
}

fn add(list: &mut TopicPartitionList, at: &TopicPartition, offset: Offset) -> Result<(), SourceError> {
    let offset = i64::try_from(offset).ok().map(At::Offset);
    let partition = i32::try_from(at.partition).ok();
    let (Some(offset), Some(partition)) = (offset, partition) else {
        return Err(SourceError::Gone(format!(
            "Kafka has no place {}:{}@{offset:?}",
            at.topic, at.partition
        )));
    };
    list.add_partition_offset(&at.topic, partition, offset)
        .map_err(|error| SourceError::Refused(format!("{}:{}: {error}", at.topic, at.partition)))
}

/// Moves to another offset. A partition that has only just been assigned cannot be moved for a moment: it is tried again.
fn seek(client: &Consumer, at: &TopicPartition, offset: Offset) -> Result<(), SourceError> {
    let begun = Instant::now();
    loop {
        let mut list = TopicPartitionList::new();
        add(&mut list, at, offset)?;
        let sought = client.seek_partitions(list, SEEK_WITHIN);
        let failed = match sought {
            Ok(list) => list.elements().iter().find_map(|element| element.error().err()),
            Err(error) => Some(error),
        };
        match failed {
            None => return Ok(()),
            Some(_) if begun.elapsed() < SEEK_WITHIN => std::thread::sleep(Duration::from_millis(1)),
            Some(error) => {
                let place = format!("{}:{}@{offset}", at.topic, at.partition);
                return Err(SourceError::Unavailable(format!("moving to {place} failed: {error}")));
            }
        }
    }
}

/// How a reader is set up where so many partitions share the memory.
fn config(settings: &Settings, partitions: usize) -> Result<ClientConfig, SourceError> {
    let mut config = client::config(settings)?;
    // Only for the form: it never joins.
    config.set("group.id", &settings.group);
    config.set("enable.auto.commit", "false");
    config.set("enable.auto.offset.store", "false");
    config.set("auto.offset.reset", "error");
    config.set("isolation.level", "read_committed");
    config.set("check.crcs", "true");
    config.set("enable.partition.eof", "true");
    config.set("fetch.queue.backoff.ms", "2");
    config.set("fetch.error.backoff.ms", "100");
    // Each partition fetches ahead so much, and what is on its way.
    let ahead = (settings.memory.len() / partitions.max(1)).max(AHEAD_MIN);
    config.set("queued.max.messages.kbytes", (ahead / 1024).to_string());
    config.set("queued.min.messages", "1000000");
    config.set("max.partition.fetch.bytes", ahead.min(1 << 20).to_string());
    Ok(config)
}
