//! Events that flow into Kafka, and what of them has arrived: the oracle folds the same.
//!
//! One task publishes, each event once and in order, so the log holds each key's events as they were drawn: with a plain
//! idempotent producer, which waits for a broker that is away for as long as a test does.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::producer::future_producer::Delivery;
use rdkafka::producer::{DeliveryFuture, FutureProducer, FutureRecord};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::deployment::Deployment;
use crate::events::{Mix, draw};
use crate::oracle::Sent;
use crate::process::AT_MOST;

/// Records on their way at once.
const UNDER_WAY_MAX: usize = 10_000;

/// What publishes; a clone is the same connection.
#[derive(Clone)]
pub struct Publisher(FutureProducer);

/// What has been published.
#[derive(Default)]
pub struct Log {
    pub sent: Vec<Sent>,
    /// The highest offset of each partition, by `topic:partition`.
    pub ends: BTreeMap<String, u64>,
}

/// Draws good events of the shop.
pub struct Draws {
    chance: fastrand::Rng,
    mix: Mix,
    topics: String,
    /// Bytes that make each record longer, and that no projection looks at.
    padding: usize,
}

/// Events that flow until they are told to stop.
pub struct Load {
    stop: watch::Sender<bool>,
    count: watch::Receiver<usize>,
    task: JoinHandle<Log>,
}

/// How many events flow, and how fast.
#[derive(Clone, Copy)]
pub struct Pace {
    pub at_once: usize,
    pub every: Duration,
}

impl Draws {
    /// Events of so many keys of each kind, for a deployment of the shop.
    pub fn new(deployment: &Deployment, seed: u64, keys: usize) -> Draws {
        let keys = u32::try_from(keys.max(20)).expect("there are fewer keys");
        Draws {
            chance: fastrand::Rng::with_seed(seed),
            mix: Mix { bad_percent: 0, keys },
            topics: deployment.name().to_owned(),
            padding: 0,
        }
    }

    /// With records that are longer by so many bytes.
    pub fn padded(self, padding: usize) -> Draws {
        Draws { padding, ..self }
    }

    /// The next event, and the body of its record.
    fn one(&mut self) -> (Sent, Vec<u8>) {
        let sent = draw(&mut self.chance, self.mix);
        let sent = Sent { topic: sent.topic.replacen("shop", &self.topics, 1), ..sent };
        let body = self.body(&sent);
        (sent, body)
    }

    /// The body of an event's record.
    fn body(&mut self, sent: &Sent) -> Vec<u8> {
        let mut value = sent.value.clone().expect("a good event has a body");
        if self.padding > 0 {
            assert_eq!(value.pop(), Some(b'}'), "an event is an object");
            value.extend_from_slice(br#","padding":""#);
            value.extend(std::iter::repeat_with(|| self.chance.alphanumeric() as u8).take(self.padding));
            value.extend_from_slice(br#""}"#);
        }
        value
    }
}

impl Publisher {
    pub fn new(broker: &str) -> Publisher {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", broker).set("enable.idempotence", "true").set("linger.ms", "5");
        config.set("compression.type", "lz4").set("message.timeout.ms", AT_MOST.as_millis().to_string());
        Publisher(config.create().expect("the settings are right"))
    }
}

impl Log {
    /// Publishes so many events, and waits until they are there.
    pub async fn publish(&mut self, publisher: &Publisher, draws: &mut Draws, count: usize) {
        let some: Vec<(Sent, Vec<u8>)> = std::iter::repeat_with(|| draws.one()).take(count).collect();
        self.append(publisher, some.iter().map(|(sent, body)| (sent, &body[..], None))).await;
        self.sent.extend(some.into_iter().map(|(sent, _)| sent));
    }

    /// Publishes records, some at a time and in order, with a body and perhaps a time.
    pub async fn append<'r>(
        &mut self,
        Publisher(producer): &Publisher,
        records: impl Iterator<Item = (&'r Sent, &'r [u8], Option<i64>)>,
    ) {
        let mut under_way = VecDeque::new();
        for (sent, body, timestamp) in records {
            let mut record = FutureRecord::to(&sent.topic).payload(body);
            record.key = sent.key.as_ref();
            record.timestamp = timestamp;
            under_way.push_back((&sent.topic, producer.send_result(record).map_err(|(error, _)| error)));
            if under_way.len() >= UNDER_WAY_MAX {
                self.arrive(under_way.pop_front()).await;
            }
        }
        while !under_way.is_empty() {
            self.arrive(under_way.pop_front()).await;
        }
    }

    async fn arrive(&mut self, first: Option<(&String, Result<DeliveryFuture, KafkaError>)>) {
        let Some((topic, sent)) = first else { return };
        let arrived = sent.expect("there is room").await.expect("the producer is there");
        let Delivery { partition, offset, .. } = arrived.map_err(|(error, _)| error).expect("Kafka takes it");
        let offset = u64::try_from(offset).expect("an offset");
        let end = self.ends.entry(format!("{topic}:{partition}")).or_insert(offset);
        *end = offset.max(*end);
    }
}

impl Load {
    /// Begins to publish, with what was published before.
    pub fn begin(publisher: &Publisher, mut log: Log, mut draws: Draws, pace: Pace) -> Load {
        let (stop, stopped) = watch::channel(false);
        let (say, count) = watch::channel(log.sent.len());
        let publisher = publisher.clone();
        let task = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(pace.every);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            while !*stopped.borrow() {
                ticks.tick().await;
                log.publish(&publisher, &mut draws, pace.at_once).await;
                say.send_replace(log.sent.len());
            }
            log
        });
        Load { stop, count, task }
    }

    /// How many have arrived.
    pub fn count(&self) -> usize {
        *self.count.borrow()
    }

    /// Waits until so many more have arrived.
    pub async fn wait_for_more(&mut self, more: usize) {
        let wanted = self.count() + more;
        let arrived = tokio::time::timeout(AT_MOST, self.count.wait_for(|count| *count >= wanted)).await;
        arrived.expect("events do not flow").expect("nobody stops them");
    }

    /// Ends it; answers what was published.
    pub async fn end(self) -> Log {
        self.stop.send_replace(true);
        self.task.await.expect("it publishes to its end")
    }
}
