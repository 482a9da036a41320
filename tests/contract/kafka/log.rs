//! What a log of Kafka's does that the embedded one does not: transactions, compaction, retention, other producers'
//! compression, topics created anew.

use std::time::Duration;

use kinora::event::TopicPartition;
use kinora::source::{NewRecord, SourceError};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::{OnKafka, read_up_to, values, within};
use crate::sources::{Subject, record};

const TIMEOUT: Duration = Duration::from_secs(20);

/// A client of another make: plain librdkafka.
fn client(subject: &OnKafka, settings: &[(&str, &str)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", subject.settings.brokers.join(","));
    for (name, value) in settings {
        config.set(*name, *value);
    }
    config
}

fn admin(subject: &OnKafka) -> AdminClient<DefaultClientContext> {
    client(subject, &[]).create().expect("is made")
}

fn send(producer: &BaseProducer, topic: &str, value: &str) {
    let record: BaseRecord<'_, str, str> = BaseRecord::to(topic).partition(0).payload(value);
    producer.send(record).expect("is taken");
}

async fn end_of(subject: &OnKafka) -> u64 {
    let topic = subject.source().topic(&subject.name("t")).await.expect("answers").expect("is there");
    topic.partitions[0].end
}

/// Waits for an end: markers are written a moment after a transaction is said to be over.
async fn end_at(subject: &OnKafka, end: u64) {
    within("the marker", async { while end_of(subject).await != end {} }).await;
}

#[tokio::test]
async fn aborted_and_open_transactions_do_not_show() {
    let Some(subject) = OnKafka::open("transactions").await else { return };
    subject.create_topic("t", 1).await;
    let topic = subject.name("t");
    let id = subject.name("id");
    let producer: BaseProducer =
        client(&subject, &[("transactional.id", &id), ("linger.ms", "0")]).create().expect("is made");
    producer.init_transactions(TIMEOUT).expect("begins");
    let transaction = |values: &[&str], commits: bool| {
        producer.begin_transaction().expect("begins");
        values.iter().for_each(|value| send(&producer, &topic, value));
        producer.flush(TIMEOUT).expect("is sent");
        match commits {
            true => producer.commit_transaction(TIMEOUT).expect("commits"),
            false => producer.abort_transaction(TIMEOUT).expect("aborts"),
        }
    };
    transaction(&["no", "no", "no"], false);
    transaction(&["a", "b"], true);
    let mut reader = subject.source().read(&[(subject.at(0), 0)]).await.expect("reads");
    // Three aborted, a marker, two committed, a marker.
    end_at(&subject, 7).await;
    let records = read_up_to(reader.as_mut(), 7).await;
    assert_eq!(values(&records), ["a", "b"]);
    assert_eq!((records[0].offset, records[1].offset), (4, 5));
    assert!(subject.source().fetch(&subject.at(0), 1).await.expect("reads").is_none(), "was aborted");

    // Only what does not show is left: the reader comes to the end all the same.
    transaction(&["no"], false);
    assert!(read_up_to(reader.as_mut(), 9).await.is_empty());

    producer.begin_transaction().expect("begins");
    send(&producer, &topic, "open");
    producer.flush(TIMEOUT).expect("is sent");
    // Behind an open transaction nothing shows, whoever wrote it.
    subject.append("t", vec![record(0, "behind".to_owned())]).await.expect("appends");
    assert_eq!(end_of(&subject).await, 9);
    assert!(subject.source().fetch(&subject.at(0), 10).await.expect("reads").is_none());
    let at_end = subject.source().read(&[(subject.at(0), 9)]).await;
    assert!(at_end.is_ok(), "the end is a place to begin at");
    producer.commit_transaction(TIMEOUT).expect("commits");
    assert_eq!(values(&read_up_to(reader.as_mut(), 12).await), ["open", "behind"]);
}

#[tokio::test]
async fn holes_of_compaction_are_passed() {
    let Some(subject) = OnKafka::open("compaction").await else { return };
    let settings = [
        ("cleanup.policy", "compact"),
        ("segment.ms", "100"),
        ("min.cleanable.dirty.ratio", "0.001"),
        ("max.compaction.lag.ms", "100"),
    ];
    subject.producer.create_topic_with(&subject.name("t"), 1, &settings).await.expect("is made");
    let keyed = |key: u32, value: String| NewRecord { key: Some(key.to_string().into()), ..record(0, value) };
    let many = (0..500).map(|number| keyed(number % 5, number.to_string())).collect();
    subject.append("t", many).await.expect("appends");
    // A segment is cleaned when another one is begun, which happens when something is appended later.
    let first_left = within("compaction", async {
        loop {
            subject.append("t", vec![keyed(99, "later".to_owned())]).await.expect("appends");
            let mut reader = subject.source().read(&[(subject.at(0), 0)]).await.expect("reads");
            let fetched = reader.next(100).await.expect("reads");
            match fetched.records.first() {
                Some(first) if first.offset > 0 => return first.offset,
                _ => {}
            }
        }
    });
    let first_left = first_left.await;
    let end = end_of(&subject).await;
    let mut reader = subject.source().read(&[(subject.at(0), 0)]).await.expect("reads");
    let records = read_up_to(reader.as_mut(), end).await;
    assert!(records.is_sorted_by(|a, b| a.offset < b.offset));
    assert!(records.len() < 400, "{} are left", records.len());
    for number in 495..500 {
        let last = records.iter().find(|record| record.offset == number).expect("the last of a key stays");
        assert_eq!(last.value.as_deref(), Some(number.to_string().as_bytes()));
    }
    let place = subject.at(0);
    assert!(subject.source().fetch(&place, first_left - 1).await.expect("reads").is_none(), "is a hole");
    assert!(subject.source().fetch(&place, 497).await.expect("reads").is_some());
}

#[tokio::test]
async fn what_retention_has_taken_is_gone_by_name() {
    let Some(subject) = OnKafka::open("retention").await else { return };
    subject.create_topic("t", 1).await;
    subject
        .append("t", (0..10).map(|number| record(0, number.to_string())).collect())
        .await
        .expect("appends");
    let mut reader = subject.source().read(&[(subject.at(0), 8)]).await.expect("reads");
    assert_eq!(reader.next(1_000).await.expect("reads").records[0].offset, 8);
    let mut before = TopicPartitionList::new();
    before.add_partition_offset(&subject.name("t"), 0, Offset::Offset(5)).expect("is an offset");
    admin(&subject).delete_records(&before, &AdminOptions::new()).await.expect("deletes");

    let topic = subject.source().topic(&subject.name("t")).await.expect("answers").expect("is there");
    assert_eq!((topic.partitions[0].start, topic.partitions[0].end), (5, 10));
    assert!(subject.source().fetch(&subject.at(0), 4).await.expect("reads").is_none());
    assert!(subject.source().fetch(&subject.at(0), 5).await.expect("reads").is_some());
    let gone = subject.source().read(&[(subject.at(0), 4)]).await.err().expect("is refused").to_string();
    assert!(gone.ends_with("0@4 is no longer in the log, which begins at 5"), "{gone}");
    // A reader that began before knows of no new start: the broker says it.
    reader.seek(&subject.at(0), 2).expect("was there when reading began");
    let gone = within("the error", reader.next(1_000)).await.expect_err("is gone");
    assert!(matches!(gone, SourceError::Gone(_)), "{gone}");
    assert!(gone.to_string().contains("0@2 is not in the log any more"), "{gone}");
    assert!(gone.to_string().contains("retention has passed it"), "{gone}");
}

#[tokio::test]
async fn a_topic_that_was_created_anew_is_another() {
    let Some(subject) = OnKafka::open("anew").await else { return };
    subject.create_topic("t", 1).await;
    let name = subject.name("t");
    subject.append("t", vec![record(0, "old".to_owned())]).await.expect("appends");
    let before = subject.source().topic(&name).await.expect("answers").expect("is there");
    let mut reader = subject.source().read(&[(subject.at(0), 0)]).await.expect("reads");
    assert_eq!(values(&reader.next(1_000).await.expect("reads").records), ["old"]);

    admin(&subject).delete_topics(&[&name], &AdminOptions::new()).await.expect("deletes");
    within("the end of the topic", async {
        while subject.source().topic(&name).await.expect("answers").is_some() {}
    })
    .await;
    subject.create_topic("t", 1).await;
    let new = (0..5).map(|number| record(0, number.to_string())).collect();
    subject.append("t", new).await.expect("appends");
    let after = subject.source().topic(&name).await.expect("answers").expect("is there");
    assert_ne!(before.id, after.id);
    // The offset at which it reads is there in the new topic too: records of that one may come first, but not for long.
    let gone = within("the error", async {
        loop {
            if let Err(error) = reader.next(1_000).await {
                return error;
            }
        }
    });
    let gone = gone.await;
    assert!(matches!(gone, SourceError::Gone(_)), "{gone}");
    assert!(gone.to_string().contains("created anew") || gone.to_string().contains("deleted"), "{gone}");
}

#[tokio::test]
async fn every_compression_is_read() {
    let Some(subject) = OnKafka::open("compression").await else { return };
    subject.create_topic("t", 1).await;
    let topic = subject.name("t");
    let mut expected = Vec::new();
    for compression in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let producer: BaseProducer =
            client(&subject, &[("compression.type", compression), ("linger.ms", "50")])
                .create()
                .expect("is made");
        for number in 0..200 {
            let value = format!("{compression} {number} {}", "a".repeat(50));
            send(&producer, &topic, &value);
            expected.push(value);
        }
        producer.flush(TIMEOUT).expect("is sent");
    }
    let mut reader = subject.source().read(&[(subject.at(0), 0)]).await.expect("reads");
    let records = read_up_to(reader.as_mut(), 1_000).await;
    assert_eq!(values(&records), expected);
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused_before_anything_is() {
    let Some(subject) = OnKafka::open("refused").await else { return };
    subject.create_topic("t", 2).await;
    let name = subject.name("t");
    let good = || record(0, "good".to_owned());
    let refused = [
        (record(2, String::new()), "there is no partition 2"),
        (NewRecord { timestamp_ms: Some(0), ..good() }, "cannot send the time 1970-01-01T00:00:00.000Z"),
        (NewRecord { headers: vec![("a\0b".to_owned(), "".into())], ..good() }, "has a zero byte"),
        (record(0, "x".repeat((64 << 20) + 1)), "67108864 are the most"),
    ];
    for (bad, says) in refused {
        let error = subject.append("t", vec![good(), bad]).await.expect_err("is refused").to_string();
        assert!(error.starts_with("record 2 of the call: ") && error.contains(says), "{error}");
    }
    let topic = subject.source().topic(&name).await.expect("answers").expect("is there");
    assert!(topic.partitions.iter().all(|partition| partition.end == 0), "nothing was sent");
    // What is too large for the topic only the broker knows.
    let mut rng = fastrand::Rng::with_seed(1);
    let noise: String = (0..2 << 20).map(|_| rng.alphanumeric()).collect();
    let error = subject.append("t", vec![record(0, noise)]).await.expect_err("is refused");
    assert!(error.to_string().contains("raise `max.message.bytes` of the topic"), "{error}");
    let error = subject.append("none", vec![good()]).await.expect_err("is refused").to_string();
    assert_eq!(error, format!("there is no topic {:?}", subject.name("none")));
    let place = TopicPartition { topic: subject.name("none").into(), partition: 0 };
    let error = subject.source().read(&[(place, 0)]).await.err().expect("is refused").to_string();
    assert_eq!(error, format!("there is no topic {:?}", subject.name("none")));
}
