//! JSON lines as a source: the format in which events are published, from files and in requests.
//!
//! Comes in: lines such as `{"key": "o1", "value": {…}}`. Goes out: records to append ([`parse_line`]), or a source in
//! memory that holds them ([`Lines`]). The value is kept as the very bytes of the line. Reading files is `cli`'s.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use tokio::sync::watch;
use xxhash_rust::xxh3::xxh3_128;

use super::{Fetched, NewRecord, PartitionInfo, Reader, Source, SourceError, TopicInfo, partition, within};
use crate::event::{Offset, Position, Record, TopicPartition};

/// A line, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedLine {
    /// Where it says so; a publish request names the topic in its path instead.
    pub topic: Option<Box<str>>,
    pub record: NewRecord,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    #[serde(borrow, default)]
    topic: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    key: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "there")]
    value: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "valueBase64")]
    value_base64: Option<Cow<'a, str>>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    timestamp: Option<Timestamp<'a>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Timestamp<'a> {
    Ms(i64),
    #[serde(borrow)]
    Text(Cow<'a, str>),
}

/// Tells a value that is null from one that is missing.
fn there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Reads one line of the publish format: `topic`, `key` (text or null), `value` (any JSON; null is a tombstone) or
/// `valueBase64`, `headers` (texts), `timestamp` (ISO 8601 or milliseconds since 1970).
///
/// # Errors
/// One sentence: what is wrong, and what was expected.
pub fn parse_line(line: &str) -> Result<PublishedLine, String> {
    let line: Line<'_> = serde_json::from_str(line).map_err(|error| {
        let hint = "a line is {\"key\": text or null, \"value\": any JSON, \"headers\"?: {name: text}, \"timestamp\"?: ISO 8601}";
        format!("the line is not a record: {error}; {hint}")
    })?;
    let value = match (line.value, line.value_base64) {
        (Some(_), Some(_)) => {
            return Err("the line has both \"value\" and \"valueBase64\"; keep one".to_owned());
        }
        (None, None) => {
            return Err("the line has no \"value\"; a tombstone is \"value\": null".to_owned());
        }
        (Some(raw), None) if raw.get() == "null" => None,
        (Some(raw), None) => Some(Bytes::copy_from_slice(raw.get().as_bytes())),
        (None, Some(text)) => {
            let bytes = STANDARD.decode(&*text);
            Some(
                bytes.map_err(|error| format!("\"valueBase64\" is not base64 with padding: {error}"))?.into(),
            )
        }
    };
    let record = NewRecord {
        key: line.key.map(|key| Bytes::copy_from_slice(key.as_bytes())),
        value,
        headers: line.headers.into_iter().map(|(name, value)| (name, value.into())).collect(),
        timestamp_ms: line.timestamp.map(timestamp_ms).transpose()?,
        partition: None,
    };
    Ok(PublishedLine { topic: line.topic.map(|topic| topic.into_owned().into()), record })
}

fn timestamp_ms(timestamp: Timestamp<'_>) -> Result<i64, String> {
    match timestamp {
        Timestamp::Ms(ms) => Ok(ms),
        Timestamp::Text(text) => {
            let parsed: Result<jiff::Timestamp, _> = text.parse();
            let found = parsed.map_err(|_| {
                format!("\"timestamp\" is {text:?}, not a time with its zone such as 2026-11-21T10:00:00Z")
            })?;
            Ok(found.as_millisecond())
        }
    }
}

/// A source in memory, filled record by record. A clone is the same source. Its readers wait at the end for what is
/// pushed later.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    topics: RwLock<BTreeMap<Arc<str>, Vec<Vec<Record>>>>,
    /// Counts what was pushed; readers at their end wait for it.
    changes: watch::Sender<u64>,
}

impl Lines {
    /// A source without topics.
    pub fn new() -> Lines {
        Lines::default()
    }

    /// Reads a text of lines, each into the topic it names, else into `topic`. Empty lines are passed over. Topics have
    /// `partitions` partitions.
    ///
    /// # Errors
    /// Every bad line: its number from 1, and what is wrong.
    pub fn parse(text: &str, topic: &str, partitions: u32) -> Result<Lines, Vec<(usize, String)>> {
        let lines = Lines::new();
        lines.create_topic(topic, partitions);
        let mut faults = Vec::new();
        for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
            match parse_line(line) {
                Ok(line) => {
                    let topic = line.topic.as_deref().unwrap_or(topic);
                    lines.create_topic(topic, partitions);
                    if let Err(error) = lines.push(topic, line.record) {
                        faults.push((number, error.to_string()));
                    }
                }
                Err(reason) => faults.push((number, reason)),
            }
        }
        if faults.is_empty() { Ok(lines) } else { Err(faults) }
    }

    /// Makes a topic with that many partitions (one at least), unless it exists.
    pub fn create_topic(&self, name: &str, partitions: u32) {
        let mut topics = self.inner.topics.write().unwrap_or_else(PoisonError::into_inner);
        topics.entry(name.into()).or_insert_with(|| vec![Vec::new(); partitions.max(1) as usize]);
    }

    /// Adds a record; answers its position. A record without a timestamp gets 0, without key and partition the
    /// partition with the fewest records.
    ///
    /// # Errors
    /// There is no such topic or partition.
    pub fn push(&self, topic: &str, record: NewRecord) -> Result<Position, SourceError> {
        let mut topics = self.inner.topics.write().unwrap_or_else(PoisonError::into_inner);
        let missing = || SourceError::Refused(format!("there is no topic {topic:?}"));
        let name = topics.get_key_value(topic).map(|(name, _)| Arc::clone(name)).ok_or_else(missing)?;
        let partitions = topics.get_mut(topic).ok_or_else(missing)?;
        let count = u32::try_from(partitions.len()).expect("partitions are counted in u32");
        let number = match (record.partition, &record.key) {
            (Some(number), _) => number,
            (None, Some(key)) => partition::of_key(key, count),
            (None, None) => (0..count).min_by_key(|number| partitions[*number as usize].len()).unwrap_or(0),
        };
        let records =
            partitions.get_mut(number as usize).ok_or_else(|| no_partition(topic, number, count))?;
        let offset = records.len() as Offset;
        records.push(Record {
            offset,
            timestamp_ms: record.timestamp_ms.unwrap_or(0),
            key: record.key,
            value: record.value,
            headers: record.headers,
        });
        drop(topics);
        self.inner.changes.send_modify(|count| *count += 1);
        Ok(Position { at: TopicPartition { topic: name, partition: number }, offset })
    }
}

fn no_partition(topic: &str, number: u32, count: u32) -> SourceError {
    SourceError::Refused(format!(
        "topic {topic:?} has {count} partitions from 0, there is no partition {number}"
    ))
}

impl Inner {
    /// Looks at the records of a partition.
    fn with<T>(&self, at: &TopicPartition, look: impl FnOnce(&[Record]) -> T) -> Result<T, SourceError> {
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        let partitions = topics
            .get(&at.topic)
            .ok_or_else(|| SourceError::Refused(format!("there is no topic {:?}", at.topic)))?;
        let count = u32::try_from(partitions.len()).expect("partitions are counted in u32");
        let records = partitions
            .get(at.partition as usize)
            .ok_or_else(|| no_partition(&at.topic, at.partition, count))?;
        Ok(look(records))
    }

    fn check(&self, at: &TopicPartition, offset: Offset) -> Result<(), SourceError> {
        self.with(at, |records| within(at, offset, 0, records.len() as Offset))?
    }
}

/// The id is made from the name: the same lines are the same topic each time.
fn info(name: &Arc<str>, partitions: &[Vec<Record>]) -> TopicInfo {
    let partition = |records: &Vec<Record>| PartitionInfo { start: 0, end: records.len() as Offset };
    TopicInfo {
        name: Arc::clone(name),
        id: xxh3_128(name.as_bytes()),
        partitions: partitions.iter().map(partition).collect(),
    }
}

impl Source for Lines {
    fn topics(&self) -> BoxFuture<'_, Result<Vec<TopicInfo>, SourceError>> {
        Box::pin(async {
            let topics = self.inner.topics.read().unwrap_or_else(PoisonError::into_inner);
            Ok(topics.iter().map(|(name, partitions)| info(name, partitions)).collect())
        })
    }

    fn topic<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<TopicInfo>, SourceError>> {
        Box::pin(async move {
            let topics = self.inner.topics.read().unwrap_or_else(PoisonError::into_inner);
            Ok(topics.get_key_value(name).map(|(name, partitions)| info(name, partitions)))
        })
    }

    fn read<'a>(
        &'a self,
        from: &'a [(TopicPartition, Offset)],
    ) -> BoxFuture<'a, Result<Box<dyn Reader>, SourceError>> {
        Box::pin(async move {
            for (at, offset) in from {
                self.inner.check(at, *offset)?;
            }
            let changes = self.inner.changes.subscribe();
            let reader = LinesReader {
                inner: Arc::clone(&self.inner),
                from: from.to_vec(),
                turn: from.len().saturating_sub(1),
                changes,
            };
            Ok(Box::new(reader) as Box<dyn Reader>)
        })
    }

    fn fetch<'a>(
        &'a self,
        at: &'a TopicPartition,
        offset: Offset,
    ) -> BoxFuture<'a, Result<Option<Record>, SourceError>> {
        Box::pin(async move {
            let index = usize::try_from(offset).unwrap_or(usize::MAX);
            self.inner.with(at, |records| records.get(index).cloned())
        })
    }
}

struct LinesReader {
    inner: Arc<Inner>,
    from: Vec<(TopicPartition, Offset)>,
    /// Whose turn it was.
    turn: usize,
    changes: watch::Receiver<u64>,
}

impl LinesReader {
    fn poll(&mut self, bytes_max: usize) -> Result<Option<Fetched>, SourceError> {
        for _ in 0..self.from.len() {
            self.turn = (self.turn + 1) % self.from.len();
            if let Some(fetched) = self.fetch(bytes_max)? {
                return Ok(Some(fetched));
            }
        }
        Ok(None)
    }

    fn fetch(&mut self, bytes_max: usize) -> Result<Option<Fetched>, SourceError> {
        let Some((at, next)) = self.from.get_mut(self.turn) else { return Ok(None) };
        let (records, end) = self.inner.with(at, |records| chunk(records, *next, bytes_max))?;
        if records.is_empty() {
            return Ok(None);
        }
        *next += records.len() as Offset;
        Ok(Some(Fetched { at: at.clone(), records, next: *next, end }))
    }
}

/// Records from an offset on, about as many as fit, one at least; and the end.
fn chunk(records: &[Record], from: Offset, bytes_max: usize) -> (Vec<Record>, Offset) {
    let size = |part: &Option<Bytes>| part.as_ref().map_or(0, Bytes::len);
    let mut left = Some(bytes_max);
    let fits = |record: &&Record| {
        let fits = left.is_some();
        left = left.and_then(|left| left.checked_sub(size(&record.key) + size(&record.value)));
        fits
    };
    let from = usize::try_from(from).unwrap_or(usize::MAX);
    let rest = records.get(from..).unwrap_or_default();
    (rest.iter().take_while(fits).cloned().collect(), records.len() as Offset)
}

impl Reader for LinesReader {
    fn next(&mut self, bytes_max: usize) -> BoxFuture<'_, Result<Fetched, SourceError>> {
        Box::pin(async move {
            loop {
                self.changes.borrow_and_update();
                if let Some(fetched) = self.poll(bytes_max)? {
                    return Ok(fetched);
                }
                // The sender lives as long as this reader holds the source.
                let _ = self.changes.changed().await;
            }
        })
    }

    fn more(&mut self, bytes_max: usize) -> Result<Option<Fetched>, SourceError> {
        self.fetch(bytes_max)
    }

    fn seek(&mut self, at: &TopicPartition, offset: Offset) -> Result<(), SourceError> {
        self.inner.check(at, offset)?;
        match self.from.iter_mut().find(|(place, _)| place == at) {
            Some((_, next)) => *next = offset,
            None => {
                let place = format!("{}:{}", at.topic, at.partition);
                return Err(SourceError::Refused(format!(
                    "{place} is not among the partitions of this reader"
                )));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(line: &str) -> String {
        parse_line(line).expect_err("is refused")
    }

    #[test]
    fn the_value_keeps_the_bytes_of_the_line() {
        let line = r#"{"topic":"t","key":"o\"1","value": {"price": 12.50, "n":1e400} ,"headers":{"h":"v"},"timestamp":"1970-01-01T00:00:01.5Z"}"#;
        let parsed = parse_line(line).expect("is a record");
        assert_eq!(parsed.topic.as_deref(), Some("t"));
        let record = parsed.record;
        assert_eq!(record.key.as_deref(), Some(&b"o\"1"[..]));
        assert_eq!(record.value.as_deref(), Some(&br#"{"price": 12.50, "n":1e400}"#[..]));
        assert_eq!(record.headers, vec![("h".to_owned(), Bytes::from_static(b"v"))]);
        assert_eq!(record.timestamp_ms, Some(1_500));
    }

    #[test]
    fn null_is_a_tombstone_and_base64_any_bytes() {
        let tombstone = parse_line(r#"{"key":null,"value":null,"timestamp":7}"#).expect("is a record").record;
        assert_eq!(tombstone, NewRecord { timestamp_ms: Some(7), ..NewRecord::default() });
        let bytes = parse_line(r#"{"valueBase64":"AP8="}"#).expect("is a record").record;
        assert_eq!(bytes.value.as_deref(), Some(&[0, 255][..]));
    }

    #[test]
    fn a_bad_line_says_what_is_wrong() {
        assert!(fault("nope").starts_with("the line is not a record: expected"), "{}", fault("nope"));
        assert!(fault(r#"{"value":1,"kee":1}"#).contains("unknown field `kee`"));
        assert!(fault(r#"{"value":1,"key":5}"#).contains("invalid type: integer `5`, expected"));
        assert!(fault(r#"{"key":"a"}"#).contains("has no \"value\""));
        assert!(fault(r#"{"value":1,"valueBase64":"AA=="}"#).contains("has both"));
        assert!(fault(r#"{"valueBase64":"AA"}"#).contains("is not base64 with padding"));
        assert!(fault(r#"{"value":1,"timestamp":"yesterday"}"#).contains("\"timestamp\" is \"yesterday\""));
    }

    #[test]
    fn every_bad_line_is_told_with_its_number() {
        let faults = Lines::parse("{\"value\":1}\n\nnope\n{}\n", "t", 2).expect_err("two are bad");
        assert_eq!(faults.iter().map(|(number, _)| *number).collect::<Vec<_>>(), vec![3, 4]);
    }
}
