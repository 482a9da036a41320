//! What is on the disk: recovery after crashes and damage, segments, names, and appends from many tasks at once.

mod power;
mod simulated;

use super::*;
use bytes::Bytes;

fn record(value: &str) -> NewRecord {
    NewRecord { value: Some(Bytes::copy_from_slice(value.as_bytes())), ..NewRecord::default() }
}

fn records(values: &[&str]) -> Vec<NewRecord> {
    values.iter().map(|value| record(value)).collect()
}

fn at(partition: u32) -> TopicPartition {
    TopicPartition { topic: "t".into(), partition }
}

fn segment(directory: &Path, first: u64) -> PathBuf {
    directory.join("t/0").join(format!("{first:020}.log"))
}

async fn values(broker: &Broker) -> Vec<String> {
    let end = broker.topic("t").await.expect("answers").expect("is there").partitions[0].end;
    let mut found = Vec::new();
    for offset in 0..end {
        let record = broker.fetch(&at(0), offset).await.expect("reads").expect("is there");
        assert_eq!(record.offset, offset);
        found.push(String::from_utf8(record.value.expect("has a value").to_vec()).expect("is text"));
    }
    found
}

async fn filled(directory: &Path, calls: &[&[&str]]) {
    let broker = Broker::open(directory).expect("opens");
    broker.create_topic("t", 1).expect("is made");
    for call in calls {
        broker.append("t", records(call)).await.expect("appends");
    }
}

#[tokio::test]
async fn a_torn_call_is_cut_off_whole_wherever_it_was_torn() {
    let directory = tempfile::tempdir().expect("a directory");
    filled(directory.path(), &[&["a"], &["b", "c", "d"]]).await;
    let path = segment(directory.path(), 0);
    let bytes = std::fs::read(&path).expect("reads");
    let first = record::frame(&bytes).expect("is whole").len;
    for cut in first..bytes.len() {
        std::fs::write(&path, &bytes[..cut]).expect("writes");
        let broker = Broker::open(directory.path()).expect("opens");
        assert_eq!(values(&broker).await, ["a"], "cut at {cut}");
        let position = broker.append("t", records(&["e"])).await.expect("appends");
        assert_eq!(position[0].to_string(), "t:0@1");
        assert_eq!(values(&broker).await, ["a", "e"], "cut at {cut}");
    }
}

#[tokio::test]
async fn pages_that_never_reached_the_disk_are_a_torn_tail() {
    let directory = tempfile::tempdir().expect("a directory");
    filled(directory.path(), &[&["a"], &["b", "c"]]).await;
    let path = segment(directory.path(), 0);
    let mut bytes = std::fs::read(&path).expect("reads");
    let first = record::frame(&bytes).expect("is whole").len;
    // The middle of the last write is missing; its last record is whole.
    bytes[first + 5..first + 20].fill(0);
    std::fs::write(&path, &bytes).expect("writes");
    let broker = Broker::open(directory.path()).expect("opens");
    assert_eq!(values(&broker).await, ["a"]);
}

#[tokio::test]
async fn damage_before_the_last_write_is_refused_with_file_and_byte() {
    let directory = tempfile::tempdir().expect("a directory");
    filled(directory.path(), &[&["a"], &["b"], &["c"]]).await;
    let path = segment(directory.path(), 0);
    let bytes = std::fs::read(&path).expect("reads");
    let len = record::frame(&bytes).expect("is whole").len;
    for damaged in 0..2 * len {
        let mut bytes = bytes.clone();
        bytes[damaged] ^= 0x55;
        std::fs::write(&path, &bytes).expect("writes");
        let error = Broker::open(directory.path()).expect_err("is damaged").to_string();
        let place = damaged / len * len;
        let expected = format!("the log is damaged: the record of {} at byte {place}", path.display());
        assert!(error.starts_with(&expected), "byte {damaged}: {error}");
    }
}

#[tokio::test]
async fn segments_roll_and_are_read_through() {
    let directory = tempfile::tempdir().expect("a directory");
    let settings = BrokerSettings { segment_bytes: 100, ..BrokerSettings::default() };
    let open = || Broker::open_with(directory.path(), settings).expect("opens");
    let expected: Vec<String> = (0..20).map(|number| format!("value {number}")).collect();
    let broker = open();
    broker.create_topic("t", 1).expect("is made");
    for value in &expected {
        broker.append("t", records(&[value])).await.expect("appends");
    }
    assert_eq!(values(&broker).await, expected);
    drop(broker);
    assert!(std::fs::read_dir(directory.path().join("t/0")).expect("lists").count() > 5);
    let broker = open();
    assert_eq!(values(&broker).await, expected);
    let mut reader = broker.read(&[(at(0), 0)]).await.expect("reads");
    let mut next = 0;
    while next < 20 {
        let fetched = reader.next(1 << 20).await.expect("reads");
        assert_eq!(fetched.records[0].offset, next);
        next = fetched.next;
    }
}

#[tokio::test]
async fn a_log_may_begin_later_but_has_no_holes() {
    let directory = tempfile::tempdir().expect("a directory");
    let settings = BrokerSettings { segment_bytes: 1, ..BrokerSettings::default() };
    let broker = Broker::open_with(directory.path(), settings).expect("opens");
    broker.create_topic("t", 1).expect("is made");
    for value in ["a", "b", "c", "d"] {
        broker.append("t", records(&[value])).await.expect("appends");
    }
    drop(broker);
    std::fs::remove_file(segment(directory.path(), 0)).expect("removes");
    let broker = Broker::open(directory.path()).expect("opens");
    let topic = broker.topic("t").await.expect("answers").expect("is there");
    assert_eq!(topic.partitions, [PartitionInfo { start: 1, end: 4 }]);
    assert!(broker.fetch(&at(0), 0).await.expect("reads").is_none());
    let error = broker.read(&[(at(0), 0)]).await.err().expect("is gone").to_string();
    assert_eq!(error, "t:0@0 is no longer in the log, which begins at 1");
    drop(broker);
    std::fs::remove_file(segment(directory.path(), 2)).expect("removes");
    let error = Broker::open(directory.path()).expect_err("has a hole").to_string();
    assert!(error.contains("3.log should begin at offset 2; is a file missing?"), "{error}");
}

#[tokio::test]
async fn damage_that_comes_while_the_log_is_open_is_seen_when_it_is_read() {
    let directory = tempfile::tempdir().expect("a directory");
    let broker = Broker::open(directory.path()).expect("opens");
    broker.create_topic("t", 1).expect("is made");
    broker.append("t", records(&["a", "b"])).await.expect("appends");
    let path = segment(directory.path(), 0);
    let mut bytes = std::fs::read(&path).expect("reads");
    let len = record::frame(&bytes).expect("is whole").len;
    bytes[len + 20] ^= 1;
    std::fs::write(&path, &bytes).expect("writes");
    let mut reader = broker.read(&[(at(0), 0)]).await.expect("reads");
    assert_eq!(reader.next(1_000).await.expect("reads").next, 1);
    let error = reader.next(1_000).await.expect_err("is damaged").to_string();
    let place = format!("{} at byte {len}: its checksum does not match", path.display());
    assert!(error.ends_with(&place), "{error}");
    std::fs::write(&path, &bytes[..len + 3]).expect("writes");
    let error = broker.fetch(&at(0), 1).await.expect_err("is cut").to_string();
    assert!(error.contains("the file has become shorter than what was written"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_from_many_tasks_keep_every_record_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let broker = Broker::open(directory.path()).expect("opens");
    broker.create_topic("t", 2).expect("is made");
    let append = |task: usize| {
        let broker = broker.clone();
        tokio::spawn(async move {
            let mut positions = Vec::new();
            for call in 0..20 {
                let values = [format!("{task}.{call}.a"), format!("{task}.{call}.b")];
                let new = values.iter().map(|value| record(value)).collect();
                positions.extend(broker.append("t", new).await.expect("appends").into_iter().zip(values));
            }
            positions
        })
    };
    let tasks: Vec<_> = (0..8).map(append).collect();
    let mut positions = Vec::new();
    for task in tasks {
        positions.extend(task.await.expect("does not panic"));
    }
    assert_eq!(positions.len(), 320);
    for (position, value) in &positions {
        let found = broker.fetch(&position.at, position.offset).await.expect("reads").expect("is there");
        assert_eq!(found.value.as_deref(), Some(value.as_bytes()), "{position}");
    }
    positions.sort();
    positions.dedup_by(|a, b| a.0 == b.0);
    assert_eq!(positions.len(), 320);
}

#[tokio::test]
async fn what_cannot_be_appended_is_refused_before_anything_is_written() {
    let directory = tempfile::tempdir().expect("a directory");
    let broker = Broker::open(directory.path()).expect("opens");
    broker.create_topic("t", 1).expect("is made");
    let mut new = records(&["a", "b"]);
    new[1].partition = Some(1);
    let error = broker.append("t", new).await.expect_err("is refused").to_string();
    assert_eq!(error, "topic \"t\" has 1 partitions from 0, there is no partition 1");
    let large = NewRecord { value: Some(Bytes::from(vec![0; record::BODY_MAX])), ..NewRecord::default() };
    let error = broker.append("t", vec![record("a"), large]).await.expect_err("is refused").to_string();
    assert_eq!(error, "record 2 of the call has more than 67108864 bytes or 65,535 headers");
    let error = broker.append("u", records(&["a"])).await.expect_err("is refused").to_string();
    assert_eq!(error, "there is no topic \"u\"");
    assert_eq!(values(&broker).await, Vec::<String>::new());
}

#[test]
fn names_that_kafka_refuses_are_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let broker = Broker::open(directory.path()).expect("opens");
    let longest = "a".repeat(249);
    for name in ["shop.orders", "A_b-1", &longest] {
        assert!(broker.create_topic(name, 1).is_ok(), "{name}");
    }
    let too_long = "a".repeat(250);
    for name in ["", ".", "..", "a/b", "é", "a b", &too_long] {
        let error = broker.create_topic(name, 1).expect_err("is refused").to_string();
        assert!(error.contains("is not a topic name"), "{error}");
    }
    for partitions in [0, PARTITIONS_MAX + 1] {
        let error = broker.create_topic("u", partitions).expect_err("is refused").to_string();
        assert!(error.contains("1 to 10000 partitions"), "{error}");
    }
}

#[test]
fn a_log_that_is_open_or_of_another_format_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let broker = Broker::open(directory.path()).expect("opens");
    broker.create_topic("t", 1).expect("is made");
    let error = Broker::open(directory.path()).expect_err("is open").to_string();
    assert!(error.contains("is open already"), "{error}");
    drop(broker);
    let file = directory.path().join("t/topic.json");
    std::fs::write(&file, r#"{"version":2,"id":"00","partitions":1}"#).expect("writes");
    let error = Broker::open(directory.path()).expect_err("is newer").to_string();
    assert!(error.contains("has format 2, but this version of Kinora knows format 1"), "{error}");
    std::fs::write(&file, "{").expect("writes");
    let error = Broker::open(directory.path()).expect_err("is damaged").to_string();
    assert!(error.contains("topic.json: EOF"), "{error}");
}

#[tokio::test]
async fn a_log_that_another_has_open_can_be_looked_at_and_nothing_is_written() {
    let directory = tempfile::tempdir().expect("a directory");
    let broker = Broker::open(directory.path()).expect("opens");
    broker.create_topic("t", 1).expect("is made");
    assert_eq!(values(&Broker::look(directory.path()).expect("looks")).await, Vec::<String>::new());
    broker.append("t", records(&["a"])).await.expect("appends");
    let look = Broker::look(directory.path()).expect("looks");
    broker.append("t", records(&["b"])).await.expect("appends");
    assert_eq!(values(&look).await, ["a"], "as it stood then");
    assert_eq!(values(&Broker::look(directory.path()).expect("looks")).await, ["a", "b"]);

    assert_eq!(look.create_topic("t", 9).expect("is there").partitions.len(), 1);
    let refused = look.create_topic("u", 1).expect_err("is not made").to_string();
    assert_eq!(refused, "this log is only looked at");
    let refused = look.append("t", records(&["c"])).await.expect_err("is not written").to_string();
    assert_eq!(refused, "the log has halted: this log is only looked at");
    assert!(Broker::look(&directory.path().join("none")).is_err());
    assert!(!directory.path().join("none").exists());
}

#[tokio::test]
async fn a_write_that_is_under_way_is_not_there_yet_and_stays_whole() {
    let directory = tempfile::tempdir().expect("a directory");
    filled(directory.path(), &[&["a"], &["b", "c", "d"]]).await;
    let path = segment(directory.path(), 0);
    let bytes = std::fs::read(&path).expect("reads");
    let first = record::frame(&bytes).expect("is whole").len;
    for cut in first..bytes.len() {
        std::fs::write(&path, &bytes[..cut]).expect("writes");
        let look = Broker::look(directory.path()).expect("looks");
        assert_eq!(values(&look).await, ["a"], "cut at {cut}");
        assert_eq!(std::fs::read(&path).expect("reads").len(), cut, "nothing was cut off");
    }
    std::fs::write(&path, &bytes).expect("writes");
    assert_eq!(values(&Broker::look(directory.path()).expect("looks")).await.len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_looked_at_while_others_append_is_always_a_beginning() {
    let directory = tempfile::tempdir().expect("a directory");
    let settings = BrokerSettings { sync: false, segment_bytes: 2_000, ..BrokerSettings::default() };
    let broker = Broker::open_with(directory.path(), settings).expect("opens");
    broker.create_topic("t", 1).expect("is made");
    let writing = tokio::spawn(async move {
        for number in 0..600_u32 {
            let value = format!("{number}:{}", "x".repeat(number as usize % 90));
            broker.append("t", records(&[value.as_str(), "and"])).await.expect("appends");
        }
    });
    let mut last = 0;
    while !writing.is_finished() {
        let look = Broker::look(directory.path()).expect("looks");
        let found = values(&look).await;
        assert!(found.len() % 2 == 0 && found.len() >= last, "whole calls, and never fewer");
        for (number, value) in found.iter().step_by(2).enumerate() {
            assert!(value.starts_with(&format!("{number}:")), "{value}");
        }
        last = found.len();
    }
    writing.await.expect("no panic");
    assert_eq!(values(&Broker::look(directory.path()).expect("looks")).await.len(), 1_200);
}

#[test]
fn a_topic_that_would_take_too_many_files_is_not_made() {
    let directory = tempfile::tempdir().expect("a directory");
    let settings = BrokerSettings { partitions_max: 10, ..BrokerSettings::default() };
    let broker = Broker::open_with(directory.path(), settings).expect("opens");
    broker.create_topic("a", 6).expect("is made");
    broker.create_topic("b", 4).expect("is made: ten are the most");
    let refused = broker.create_topic("c", 1).expect_err("one too many").to_string();
    assert!(
        refused.starts_with("topic \"c\" is not made: the log has 10 partitions, and 10 are the most"),
        "{refused}"
    );
    assert!(!directory.path().join("c").exists());
    broker.create_topic("a", 6).expect("what is there stays");
    drop(broker);
    let settings = BrokerSettings { partitions_max: 1, ..BrokerSettings::default() };
    Broker::open_with(directory.path(), settings).expect("opens with what it has");
}
