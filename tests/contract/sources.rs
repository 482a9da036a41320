//! What every source promises: order within a partition, positions that hold, fair turns, waiting at the end. On Kafka
//! where a real broker is asked for.

use std::sync::Arc;

use bytes::Bytes;
use kinora::event::{Position, TopicPartition};
use kinora::source::broker::{Broker, BrokerSettings};
use kinora::source::file::Lines;
use kinora::source::{NewRecord, Reader, Source, SourceError};

/// A source, and how records come into it.
pub trait Subject {
    fn source(&self) -> &dyn Source;

    /// The topic that a test calls so: where others have topics too, it has another name.
    fn name(&self, name: &str) -> String {
        name.to_owned()
    }

    /// A partition of the topic "t".
    fn at(&self, partition: u32) -> TopicPartition {
        TopicPartition { topic: self.name("t").into(), partition }
    }

    async fn create_topic(&self, name: &str, partitions: u32);
    async fn append(&self, topic: &str, records: Vec<NewRecord>) -> Result<Vec<Position>, SourceError>;
}

struct OnBroker {
    broker: Broker,
    /// Removed with the subject.
    _directory: tempfile::TempDir,
}

impl OnBroker {
    fn new() -> OnBroker {
        let directory = tempfile::tempdir().expect("a directory");
        let settings = BrokerSettings { segment_bytes: 2_000, ..BrokerSettings::default() };
        let broker = Broker::open_with(directory.path(), settings).expect("opens");
        OnBroker { broker, _directory: directory }
    }
}

impl Subject for OnBroker {
    fn source(&self) -> &dyn Source {
        &self.broker
    }

    async fn create_topic(&self, name: &str, partitions: u32) {
        self.broker.create_topic(name, partitions).expect("is made");
    }

    async fn append(&self, topic: &str, records: Vec<NewRecord>) -> Result<Vec<Position>, SourceError> {
        self.broker.append(topic, records).await
    }
}

impl Subject for Lines {
    fn source(&self) -> &dyn Source {
        self
    }

    async fn create_topic(&self, name: &str, partitions: u32) {
        Lines::create_topic(self, name, partitions);
    }

    async fn append(&self, topic: &str, records: Vec<NewRecord>) -> Result<Vec<Position>, SourceError> {
        records.into_iter().map(|record| self.push(topic, record)).collect()
    }
}

pub fn record(partition: u32, value: String) -> NewRecord {
    NewRecord { value: Some(value.into()), partition: Some(partition), ..NewRecord::default() }
}

async fn records_come_back_as_they_were_given(subject: impl Subject) {
    subject.create_topic("t", 1).await;
    let given = vec![
        NewRecord {
            key: Some(Bytes::from_static(b"k")),
            value: Some(Bytes::from_static(b"{\"a\":1.50}")),
            headers: vec![("h".to_owned(), Bytes::from_static(b"\xFF")), ("h".to_owned(), Bytes::new())],
            timestamp_ms: Some(-5),
            partition: None,
        },
        NewRecord { key: Some(Bytes::new()), timestamp_ms: Some(1), ..NewRecord::default() },
        NewRecord { value: Some(Bytes::new()), timestamp_ms: Some(2), ..NewRecord::default() },
    ];
    subject.append("t", given.clone()).await.expect("appends");
    for (offset, given) in (0..).zip(&given) {
        let found = subject.source().fetch(&subject.at(0), offset).await.expect("reads").expect("is there");
        assert_eq!(found.offset, offset);
        assert_eq!(Some(found.timestamp_ms), given.timestamp_ms);
        assert_eq!((&found.key, &found.value, &found.headers), (&given.key, &given.value, &given.headers));
    }
    assert!(subject.source().fetch(&subject.at(0), 3).await.expect("reads").is_none());
    assert!(subject.source().fetch(&subject.at(0), u64::MAX).await.expect("reads").is_none());
}

async fn a_reader_sees_each_partition_in_order_and_without_gaps(subject: impl Subject) {
    subject.create_topic("t", 3).await;
    for seed in super::seeds(5) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let topic = subject.source().topic(&subject.name("t")).await.expect("answers").expect("is there");
        let mut next: Vec<u64> = topic.partitions.iter().map(|partition| partition.end).collect();
        let from: Vec<_> =
            next.iter().enumerate().map(|(number, end)| (subject.at(number as u32), *end)).collect();
        let mut expected = vec![Vec::new(); 3];
        let mut reader = subject.source().read(&from).await.expect("reads");
        let mut left = 0;
        for _ in 0..rng.usize(1..20) {
            let values = (0..rng.usize(1..10))
                .map(|number| (rng.u32(0..3), format!("{seed}.{number}.{}", rng.u8(..))));
            let new: Vec<NewRecord> = values
                .map(|(partition, value)| {
                    expected[partition as usize].push(value.clone());
                    record(partition, value)
                })
                .collect();
            left += new.len();
            subject.append("t", new).await.expect("appends");
            while left > 0 && rng.bool() {
                let fetched = reader.next(rng.usize(0..300)).await.expect("reads");
                let partition = fetched.at.partition as usize;
                for found in &fetched.records {
                    assert_eq!(found.offset, next[partition], "seed {seed}");
                    let value = expected[partition].remove(0);
                    assert_eq!(found.value.as_deref(), Some(value.as_bytes()), "seed {seed}");
                    next[partition] += 1;
                }
                assert_eq!(fetched.next, next[partition], "seed {seed}");
                assert!(fetched.end >= fetched.next, "seed {seed}");
                left -= fetched.records.len();
            }
        }
    }
}

/// Of a log that is far away not everything is at hand when a reader begins: what concerns that is tried so often.
const TRIES: u32 = 100;

/// A reader of three partitions of "t" from their beginning.
async fn reader_of_three(subject: &impl Subject) -> Box<dyn Reader> {
    let from: Vec<_> = (0..3).map(|number| (subject.at(number), 0)).collect();
    subject.source().read(&from).await.expect("reads")
}

async fn three_hundred_in_three(subject: &impl Subject) {
    subject.create_topic("t", 3).await;
    let new = (0..300).map(|number| record(number % 3, format!("value {number}"))).collect();
    subject.append("t", new).await.expect("appends");
}

async fn partitions_take_turns(subject: impl Subject) {
    three_hundred_in_three(&subject).await;
    for _ in 0..TRIES {
        let mut reader = reader_of_three(&subject).await;
        // The turns from where each partition has had one, until one comes to its end.
        let (mut turns, mut seen) = (Vec::new(), std::collections::BTreeSet::new());
        loop {
            let fetched = reader.next(200).await.expect("reads");
            assert!(!fetched.records.is_empty() && fetched.records.len() < 100);
            if fetched.next == 100 {
                break;
            }
            seen.insert(fetched.at.partition);
            if seen.len() == 3 {
                turns.push(fetched.at.partition);
            }
        }
        if turns.len() >= 6 {
            let is_fair = |turns: &[u32]| turns.iter().collect::<std::collections::BTreeSet<_>>().len() == 3;
            assert!(turns.windows(3).all(is_fair), "{turns:?}");
            return;
        }
    }
    panic!("three partitions were never at hand at once");
}

async fn more_comes_of_the_same_partition_and_never_waits(subject: impl Subject) {
    three_hundred_in_three(&subject).await;
    let mut nothing = subject.source().read(&[]).await.expect("reads");
    assert!(nothing.more(200).expect("reads").is_none());
    for _ in 0..TRIES {
        let mut reader = reader_of_three(&subject).await;
        let mut turns = Vec::new();
        for _ in 0..3 {
            let first = reader.next(200).await.expect("reads");
            let mut next = first.next;
            while let Some(more) = reader.more(200).expect("reads") {
                assert_eq!((&more.at, more.records[0].offset), (&first.at, next));
                next = more.next;
            }
            if next == 100 {
                turns.push(first.at.partition);
            }
        }
        if turns.len() == 3 {
            turns.sort_unstable();
            assert_eq!(turns, [0, 1, 2]);
            assert!(reader.more(200).expect("reads").is_none());
            return;
        }
    }
    panic!("all of three partitions was never at hand at once");
}

async fn a_record_larger_than_asked_for_comes_alone(subject: impl Subject) {
    subject.create_topic("t", 1).await;
    let large = "x".repeat(10_000);
    subject.append("t", vec![record(0, large.clone()), record(0, large)]).await.expect("appends");
    let mut reader = subject.source().read(&[(subject.at(0), 0)]).await.expect("reads");
    for offset in 0..2 {
        let fetched = reader.next(10).await.expect("reads");
        assert_eq!((fetched.records.len(), fetched.next, fetched.end), (1, offset + 1, 2));
    }
}

async fn a_reader_at_the_end_waits_and_dropping_the_wait_loses_nothing(subject: impl Subject) {
    subject.create_topic("t", 1).await;
    let mut reader = subject.source().read(&[(subject.at(0), 0)]).await.expect("reads");
    for _ in 0..3 {
        let waited = futures_util::poll!(reader.next(100));
        assert!(waited.is_pending());
    }
    let (fetched, appended) =
        tokio::join!(reader.next(100), subject.append("t", vec![record(0, "a".to_owned())]));
    appended.expect("appends");
    assert_eq!(fetched.expect("reads").next, 1);
}

async fn a_reader_seeks_and_refuses_what_is_not_there(subject: impl Subject) {
    subject.create_topic("t", 1).await;
    subject.append("t", (0..5).map(|number| record(0, number.to_string())).collect()).await.expect("appends");
    let mut reader = subject.source().read(&[(subject.at(0), 5)]).await.expect("reads from the end");
    reader.seek(&subject.at(0), 3).expect("is there");
    let fetched = reader.next(1_000).await.expect("reads");
    assert_eq!((fetched.records[0].offset, fetched.next), (3, 5));
    let gone = reader.seek(&subject.at(0), 6).expect_err("is past the end");
    assert!(matches!(gone, SourceError::Gone(_)), "{gone}");
    let says = format!("{}:0@6 is past the end of the log, 5", subject.name("t"));
    assert!(gone.to_string().contains(&says), "{gone}");
    let gone = subject.source().read(&[(subject.at(0), 6)]).await.err().expect("is past the end");
    assert!(matches!(gone, SourceError::Gone(_)), "{gone}");
    let refused = subject.source().read(&[(subject.at(1), 0)]).await.err().expect("is refused").to_string();
    let name = subject.name("t");
    assert_eq!(refused, format!("topic {name:?} has 1 partitions from 0, there is no partition 1"));
    let name = subject.name("u");
    let other = TopicPartition { topic: Arc::from(name.as_str()), partition: 0 };
    let refused = subject.source().read(&[(other, 0)]).await.err().expect("is refused").to_string();
    assert_eq!(refused, format!("there is no topic {name:?}"));
}

async fn a_time_is_found_at_the_first_record_that_is_not_before_it(subject: impl Subject) {
    subject.create_topic("t", 1).await;
    let at_times = [1_000, 3_000, 2_000, 4_000].map(|timestamp_ms| NewRecord {
        timestamp_ms: Some(timestamp_ms),
        ..record(0, timestamp_ms.to_string())
    });
    subject.append("t", at_times.to_vec()).await.expect("appends");
    let expected =
        [(1, Some(0)), (1_000, Some(0)), (1_001, Some(1)), (3_000, Some(1)), (3_001, Some(3)), (4_001, None)];
    for (time_ms, offset) in expected {
        let found = subject.source().first_from(&subject.at(0), time_ms).await.expect("answers");
        assert_eq!(found, offset, "from {time_ms}");
    }
}

async fn topics_are_listed_with_their_ids_and_ends(subject: impl Subject) {
    subject.create_topic("t", 2).await;
    subject.create_topic("u", 1).await;
    let new = (0..10).map(|number: u32| NewRecord {
        key: Some(number.to_string().into()),
        value: Some(Bytes::from_static(b"1")),
        ..NewRecord::default()
    });
    let positions = subject.append("t", new.collect()).await.expect("appends");
    let mut topics = subject.source().topics().await.expect("answers");
    let names = [subject.name("t"), subject.name("u")];
    topics.retain(|topic| names.iter().any(|name| **name == *topic.name));
    assert_eq!(topics.iter().map(|topic| &*topic.name).collect::<Vec<_>>(), names);
    assert_ne!(topics[0].id, topics[1].id);
    let total: u64 = topics[0].partitions.iter().map(|partition| partition.end - partition.start).sum();
    assert_eq!(total, 10);
    for (number, partition) in (0..).zip(&topics[0].partitions) {
        let last = positions
            .iter()
            .filter(|position| position.at.partition == number)
            .map(|position| position.offset)
            .max();
        assert_eq!(last.map_or(0, |last| last + 1), partition.end);
    }
    assert_eq!(subject.source().topic(&subject.name("t")).await.expect("answers").as_ref(), Some(&topics[0]));
    assert_eq!(subject.source().topic(&subject.name("v")).await.expect("answers"), None);
}

macro_rules! suite {
    ($($test:ident),* $(,)?) => {
        mod broker {
            $(#[tokio::test] async fn $test() { super::$test(super::OnBroker::new()).await; })*
        }
        #[cfg(feature = "kafka")]
        mod kafka {
            $(#[tokio::test] async fn $test() {
                if let Some(subject) = crate::kafka::OnKafka::open(stringify!($test)).await {
                    super::$test(subject).await;
                }
            })*
        }
        mod lines {
            $(#[tokio::test] async fn $test() { super::$test(super::Lines::new()).await; })*
        }
    };
}

suite!(
    records_come_back_as_they_were_given,
    a_reader_sees_each_partition_in_order_and_without_gaps,
    partitions_take_turns,
    more_comes_of_the_same_partition_and_never_waits,
    a_record_larger_than_asked_for_comes_alone,
    a_reader_at_the_end_waits_and_dropping_the_wait_loses_nothing,
    a_reader_seeks_and_refuses_what_is_not_there,
    a_time_is_found_at_the_first_record_that_is_not_before_it,
    topics_are_listed_with_their_ids_and_ends,
);
