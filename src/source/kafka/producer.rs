//! Appends to topics of Kafka.
//!
//! Comes in: records, with headers, key and time. Goes out: their positions, once every in-sync replica has them. A record
//! that is sent twice because an answer was lost is there once, and in its place (an idempotent producer). A record goes to
//! the partition that it names, or that Kafka's own producers choose by its key.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::future_producer::Delivery;
use rdkafka::producer::{DeliveryFuture, FutureProducer, FutureRecord};

use super::Kafka;
use super::client::{self, Context};
use super::link::of_topic;
use crate::event::{Position, TopicPartition};
use crate::source::{Appender, NewRecord, SourceError, partition};

/// Most bytes of a record that this side takes; what the topic takes is `max.message.bytes` there.
const RECORD_BYTES_MAX: usize = 64 << 20;
/// Most records on their way at once.
const UNDER_WAY_MAX: usize = 10_000;
/// Fewest milliseconds that a record may take to arrive, whatever `kafka.timeout` says.
const DELIVERY_MS_MIN: u128 = 30_000;

/// Appends to topics of Kafka.
pub struct Producer {
    kafka: Kafka,
    producer: FutureProducer<Context>,
    /// What the producer is told of its connections.
    context: Context,
    /// The partition of the next record without a key.
    turn: AtomicU32,
}

impl Producer {
    /// Sets a producer up; it connects in the background.
    ///
    /// # Errors
    /// [`SourceError::Refused`] with the setting that cannot be used.
    pub fn open(kafka: &Kafka) -> Result<Producer, SourceError> {
        Producer::open_with(kafka, &[])
    }

    fn open_with(kafka: &Kafka, more: &[(&str, &str)]) -> Result<Producer, SourceError> {
        let settings = &kafka.link.settings;
        let mut config = client::config(settings)?;
        config.set("enable.idempotence", "true");
        config.set("acks", "all");
        config.set("compression.type", "lz4");
        config.set("linger.ms", "5");
        config.set("message.max.bytes", (RECORD_BYTES_MAX + (1 << 20)).to_string());
        let delivery_ms = settings.timeout.as_millis().max(DELIVERY_MS_MIN);
        config.set("message.timeout.ms", delivery_ms.to_string());
        for (name, value) in more {
            config.set(*name, *value);
        }
        let context = Context::new(settings);
        let producer = client::create(&config, context.clone())?;
        Ok(Producer { kafka: kafka.clone(), producer, context, turn: AtomicU32::new(0) })
    }

    /// Makes a topic with the brokers' own replication, and waits until it can be used; one that is there stays as it is.
    ///
    /// # Errors
    /// The brokers refuse it, or do not answer.
    pub async fn create_topic(&self, name: &str, partitions: u32) -> Result<(), SourceError> {
        self.create_topic_with(name, partitions, &[]).await
    }

    /// As [`Producer::create_topic`], with Kafka's own settings of a topic.
    ///
    /// # Errors
    /// As [`Producer::create_topic`].
    pub async fn create_topic_with(
        &self,
        name: &str,
        partitions: u32,
        settings: &[(&str, &str)],
    ) -> Result<(), SourceError> {
        self.create_replicated((name, partitions, None), settings).await
    }

    /// A topic that was just made is not known to all brokers at once.
    async fn wait_for_topic(&self, name: &str) -> Result<(), SourceError> {
        let name: Arc<str> = Arc::from(name);
        let begun = std::time::Instant::now();
        let timeout = self.kafka.link.settings.timeout;
        loop {
            let asked = Arc::clone(&name);
            match self.kafka.ask(move |link| link.describe(&[asked])).await {
                Ok(found) if found.iter().all(Option::is_some) => return Ok(()),
                Ok(_) | Err(SourceError::Unavailable(_)) if begun.elapsed() < timeout => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Ok(_) => {
                    return Err(SourceError::Unavailable(format!(
                        "topic {name:?} was made, but does not show"
                    )));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Appends records; answers their positions, in their order, once all are there. Records are checked before any is sent;
    /// those of one partition arrive in their order. If the future is dropped, those that were sent arrive all the same.
    ///
    /// # Errors
    /// [`SourceError::Refused`] if there is no such topic or partition, a record is too large or has a time that Kafka's
    /// client cannot send, or this process may not write; [`SourceError::Unavailable`] if brokers do not answer. Then some
    /// of the records may be there.
    pub async fn append(&self, topic: &str, records: Vec<NewRecord>) -> Result<Vec<Position>, SourceError> {
        let name: Arc<str> = Arc::from(topic);
        let asked = Arc::clone(&name);
        let found = self.kafka.ask(move |link| link.ids(&[asked])).await?.into_iter().flatten().next();
        let Some((_, count)) = found else {
            return Err(SourceError::Refused(format!("there is no topic {topic:?}")));
        };
        for (at, record) in records.iter().enumerate() {
            check(topic, count, record)
                .map_err(|reason| SourceError::Refused(format!("record {} of the call: {reason}", at + 1)))?;
        }
        let mut positions = Vec::with_capacity(records.len());
        let mut under_way = VecDeque::new();
        for record in &records {
            if under_way.len() >= UNDER_WAY_MAX {
                self.arrive(&name, &mut under_way, &mut positions).await?;
            }
            loop {
                match self.send(topic, count, record) {
                    Ok(delivery) => break under_way.push_back(delivery),
                    // Room comes when others have arrived; those of other calls are waited for by these.
                    Err(KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)) => {
                        if under_way.is_empty() {
                            tokio::time::sleep(Duration::from_millis(5)).await;
                        } else {
                            self.arrive(&name, &mut under_way, &mut positions).await?;
                        }
                    }
                    Err(error) => return Err(self.failed(topic, &error)),
                }
            }
        }
        while !under_way.is_empty() {
            self.arrive(&name, &mut under_way, &mut positions).await?;
        }
        Ok(positions)
    }

    /// As [`Producer::create_topic_with`], with so many replicas of each partition.
    ///
    /// # Errors
    /// As [`Producer::create_topic`].
    pub async fn create_replicated(
        &self,
        (name, partitions, replicas): (&str, u32, Option<u16>),
        settings: &[(&str, &str)],
    ) -> Result<(), SourceError> {
        let owned = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let (topic, settings) = (name.to_owned(), owned.collect::<Vec<_>>());
        self.kafka.ask(move |link| link.create_topic((&topic, partitions, replicas), &settings)).await?;
        self.wait_for_topic(name).await
    }

    fn send(&self, topic: &str, count: u32, record: &NewRecord) -> Result<DeliveryFuture, KafkaError> {
        let number = match (record.partition, &record.key) {
            (Some(number), _) => number,
            (None, Some(key)) => partition::of_key(key, count),
            (None, None) => self.turn.fetch_add(1, Ordering::Relaxed) % count,
        };
        let mut sent: FutureRecord<'_, [u8], [u8]> = FutureRecord::to(topic);
        sent.partition = Some(i32::try_from(number).unwrap_or(i32::MAX));
        sent.key = record.key.as_deref();
        sent.payload = record.value.as_deref();
        sent.timestamp = record.timestamp_ms;
        if !record.headers.is_empty() {
            let headers = record.headers.iter();
            let none = OwnedHeaders::new_with_capacity(record.headers.len());
            sent.headers =
                Some(headers.fold(none, |headers, (key, value)| {
                    headers.insert(Header { key, value: Some(&value[..]) })
                }));
        }
        self.producer.send_result(sent).map_err(|(error, _)| error)
    }

    /// Waits for the first of those under way.
    async fn arrive(
        &self,
        topic: &Arc<str>,
        under_way: &mut VecDeque<DeliveryFuture>,
        positions: &mut Vec<Position>,
    ) -> Result<(), SourceError> {
        let Some(first) = under_way.pop_front() else { return Ok(()) };
        match first.await {
            Ok(Ok(Delivery { partition, offset, .. })) => {
                let at = TopicPartition { topic: Arc::clone(topic), partition: partition.unsigned_abs() };
                positions.push(Position { at, offset: offset.unsigned_abs() });
                Ok(())
            }
            Ok(Err((error, _))) => Err(self.failed(topic, &error)),
            Err(_) => Err(SourceError::Unavailable("the program is shutting down".to_owned())),
        }
    }

    fn failed(&self, topic: &str, error: &KafkaError) -> SourceError {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::MessageSizeTooLarge) => SourceError::Refused(format!(
                "a record is larger than topic {topic:?} takes; raise `max.message.bytes` of the topic, or publish less"
            )),
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
                SourceError::Refused(format!("there is no topic {topic:?}"))
            }
            Some(code @ RDKafkaErrorCode::TopicAuthorizationFailed) => of_topic(topic, code),
            Some(code @ (RDKafkaErrorCode::InvalidRecord | RDKafkaErrorCode::InvalidTimestamp)) => {
                SourceError::Refused(format!("topic {topic:?} does not take a record: {code}"))
            }
            code => self.context.why(code),
        }
    }
}

/// Appends to one topic without gaps: a producer whose first failure is its last, so that nothing can arrive in its place before
/// what has failed.
pub(super) struct InOrder {
    topic: String,
    /// `None` once something has failed.
    producer: Option<Producer>,
}

impl InOrder {
    pub fn open(kafka: &Kafka, topic: &str) -> Result<InOrder, SourceError> {
        let producer = Producer::open_with(kafka, &[("enable.gapless.guarantee", "true")])?;
        Ok(InOrder { topic: topic.to_owned(), producer: Some(producer) })
    }

    async fn append_all(&mut self, records: Vec<NewRecord>) -> Result<(), SourceError> {
        // Taken out for the while: dropped in the middle, nothing is appended behind what may not have arrived.
        let Some(producer) = self.producer.take() else {
            return Err(SourceError::Halted(format!(
                "appending to topic {:?} has failed before",
                self.topic
            )));
        };
        producer.append(&self.topic, records).await?;
        self.producer = Some(producer);
        Ok(())
    }
}

impl Appender for InOrder {
    fn append(&mut self, records: Vec<NewRecord>) -> BoxFuture<'_, Result<(), SourceError>> {
        Box::pin(self.append_all(records))
    }
}

/// Why a record cannot be sent.
fn check(topic: &str, partitions: u32, record: &NewRecord) -> Result<(), String> {
    let bytes = record.len_bytes();
    if bytes > RECORD_BYTES_MAX {
        return Err(format!("it has {bytes} bytes, {RECORD_BYTES_MAX} are the most"));
    }
    if let Some(number) = record.partition.filter(|number| *number >= partitions) {
        return Err(format!(
            "topic {topic:?} has {partitions} partitions from 0, there is no partition {number}"
        ));
    }
    if record.timestamp_ms == Some(0) {
        // librdkafka takes it for "now".
        return Err("Kafka's client cannot send the time 1970-01-01T00:00:00.000Z".to_owned());
    }
    match record.headers.iter().find(|(name, _)| name.contains('\0')) {
        Some((name, _)) => Err(format!("the name of header {name:?} has a zero byte")),
        None => Ok(()),
    }
}
