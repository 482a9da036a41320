//! What only Kafka has, on a real broker: `log` has transactions, compaction, retention and topics created anew, `outage`
//! brokers that are away, `security` logins and certificates, `group` consumer groups, `publish` the command. Here: the subject, and what they share.

mod group;
mod log;
mod outage;
mod publish;
mod security;

use std::time::Duration;
use std::time::{SystemTime, UNIX_EPOCH};

use kinora::config::Kafka as Settings;
use kinora::event::{Position, Record};
use kinora::source::kafka::Kafka;
use kinora::source::kafka::producer::Producer;
use kinora::source::{NewRecord, Reader, Source, SourceError};

use crate::kafka_server;
use crate::sources::Subject;

/// Kafka, with topics of one test.
pub struct OnKafka {
    kafka: Kafka,
    producer: Producer,
    settings: Settings,
    prefix: String,
}

impl OnKafka {
    /// `None` where no real servers are asked for.
    pub async fn open(test: &str) -> Option<OnKafka> {
        if kafka_server::left_out(test) {
            return None;
        }
        let address = tokio::task::spawn_blocking(kafka_server::shared).await.expect("it starts");
        Some(OnKafka::at_address(&address, test))
    }

    fn at_address(address: &str, test: &str) -> OnKafka {
        OnKafka::with(&Settings { brokers: vec![address.to_owned()], ..Settings::default() }, test)
    }

    fn with(settings: &Settings, test: &str) -> OnKafka {
        let kafka = Kafka::open(settings).expect("the settings are right");
        let producer = Producer::open(&kafka).expect("the settings are right");
        // A broker that was named has the topics of earlier runs.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos();
        OnKafka { kafka, producer, settings: settings.clone(), prefix: format!("{test}.{since}") }
    }
}

impl Subject for OnKafka {
    fn source(&self) -> &dyn Source {
        &self.kafka
    }

    fn name(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }

    async fn create_topic(&self, name: &str, partitions: u32) {
        self.producer.create_topic(&self.name(name), partitions).await.expect("is made");
    }

    async fn append(&self, topic: &str, records: Vec<NewRecord>) -> Result<Vec<Position>, SourceError> {
        self.producer.append(&self.name(topic), records).await
    }
}

/// How long a test waits for what must come.
const BOUND: Duration = Duration::from_secs(60);

/// Waits for what must come.
async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(BOUND, future).await {
        Ok(found) => found,
        Err(_) => panic!("{what} did not come within {BOUND:?}"),
    }
}

/// Reads until the next offset is the one that is waited for.
async fn read_up_to(reader: &mut dyn Reader, end: u64) -> Vec<Record> {
    let mut records = Vec::new();
    let mut next = 0;
    while next < end {
        let fetched = within("the end", reader.next(1 << 20)).await.expect("reads");
        assert!(fetched.end >= fetched.next && fetched.next >= next);
        next = fetched.next;
        records.extend(fetched.records);
    }
    assert_eq!(next, end);
    records
}

fn values(records: &[Record]) -> Vec<String> {
    let text =
        |record: &Record| String::from_utf8_lossy(record.value.as_deref().unwrap_or(b"(none)")).into_owned();
    records.iter().map(text).collect()
}
