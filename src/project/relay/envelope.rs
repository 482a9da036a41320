//! Records of an internal topic: those of sources, each with where it came from, and marks that say how far sources have come.
//!
//! A record goes through as it is, with one header more. A mark has a header of its own, and the places of sources as its
//! value. Whatever else lies in an internal topic was written by somebody else, and is refused. Both headers begin with a
//! version.

use std::sync::Arc;

use bytes::Bytes;

use crate::event::{Offset, Position, Record, TopicPartition};
use crate::source::NewRecord;
use crate::store::Relayed;

/// The header of a record that was relayed: version, partitions of the internal topic, time, position.
const FROM: &str = "kinora-from";
/// The header of a mark: version, and what it is.
const MARK: &str = "kinora-mark";
const VERSION: &str = "1";

/// What a record of an internal topic is.
#[derive(Debug)]
pub enum Opened {
    /// One of a source, as that has it.
    Event { partitions: u32, at: TopicPartition, record: Record },
    /// A relay begins: what comes behind continues these places.
    Begins(Relayed),
    /// What concerns this partition and lies before these places stands before the mark, or in earlier relays.
    Passes(Relayed),
}

/// A record on its way into a partition of an internal topic that has so many.
pub fn wrap(at: &TopicPartition, record: &Record, (partition, partitions): (u32, u32)) -> NewRecord {
    let position = Position { at: at.clone(), offset: record.offset };
    let from = format!("{VERSION} {partitions} {} {position}", record.timestamp_ms);
    let mut headers = record.headers.clone();
    headers.push((FROM.to_owned(), from.into()));
    NewRecord {
        key: record.key.clone(),
        value: record.value.clone(),
        headers,
        timestamp_ms: None,
        partition: Some(partition),
    }
}

/// A mark for each partition of an internal topic.
pub fn marks(places: &Relayed, begins: bool) -> impl Iterator<Item = NewRecord> {
    let what = if begins { "begins" } else { "passes" };
    let (header, value) = (Bytes::from(format!("{VERSION} {what}")), Bytes::from(places.text()));
    (0..places.partitions).map(move |partition| NewRecord {
        key: None,
        value: Some(value.clone()),
        headers: vec![(MARK.to_owned(), header.clone())],
        timestamp_ms: None,
        partition: Some(partition),
    })
}

/// Reads a record of an internal topic.
///
/// # Errors
/// A sentence: no relay has written it, or one of a later version.
pub fn open(record: &Record) -> Result<Opened, String> {
    // A source may be somebody's copy of an internal topic: the header that was added last is ours.
    let header = record.headers.iter().rposition(|(name, _)| name == FROM || name == MARK);
    let Some(header) = header else { return Err("it has no header of a relay".to_owned()) };
    let (name, value) = &record.headers[header];
    let text = std::str::from_utf8(value).ok();
    let rest = text.and_then(|text| text.strip_prefix(VERSION)?.strip_prefix(' '));
    let refused = || {
        let shown = String::from_utf8_lossy(&value[..value.len().min(80)]).into_owned();
        format!("its header {name:?} is {shown:?}, which this version does not know")
    };
    let rest = rest.ok_or_else(refused)?;
    if name == MARK {
        let value = record.value.as_deref().and_then(|value| std::str::from_utf8(value).ok());
        let places = Relayed::read(value.unwrap_or_default())?;
        return match rest {
            "begins" => Ok(Opened::Begins(places)),
            "passes" => Ok(Opened::Passes(places)),
            _ => Err(refused()),
        };
    }
    let (partitions, at, offset, timestamp_ms) = from(rest).ok_or_else(refused)?;
    let mut headers = record.headers.clone();
    headers.remove(header);
    let record =
        Record { offset, timestamp_ms, key: record.key.clone(), value: record.value.clone(), headers };
    Ok(Opened::Event { partitions, at, record })
}

fn from(text: &str) -> Option<(u32, TopicPartition, Offset, i64)> {
    let mut words = text.splitn(3, ' ');
    let (partitions, time_ms): (u32, i64) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    if partitions == 0 {
        return None;
    }
    let (place, offset) = words.next()?.rsplit_once('@')?;
    let (topic, partition) = place.rsplit_once(':')?;
    let at = TopicPartition { topic: Arc::from(topic), partition: partition.parse().ok()? };
    Some((partitions, at, offset.parse().ok()?, time_ms))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Come;
    use crate::testing::spoil;

    fn at() -> TopicPartition {
        TopicPartition { topic: "shop.carts".into(), partition: 7 }
    }

    fn as_read(new: NewRecord, offset: Offset) -> Record {
        let NewRecord { key, value, headers, .. } = new;
        Record { offset, timestamp_ms: 99, key, value, headers }
    }

    #[test]
    fn a_record_comes_out_as_it_went_in_tombstones_and_headers_of_the_same_name_too() {
        for (key, value) in [(Some("k"), Some("{}")), (None, None), (Some(""), Some(""))] {
            let headers =
                vec![(FROM.to_owned(), Bytes::from_static(b"1 3 5 a:0@1")), ("x".to_owned(), Bytes::new())];
            let record = Record {
                offset: 41,
                timestamp_ms: -8,
                key: key.map(Into::into),
                value: value.map(Into::into),
                headers,
            };
            let wrapped = wrap(&at(), &record, (2, 12));
            assert_eq!(wrapped.partition, Some(2));
            let Ok(Opened::Event { partitions, at: from, record: found }) = open(&as_read(wrapped, 1_000))
            else {
                panic!("it is a record")
            };
            assert_eq!((partitions, from, found.offset, found.timestamp_ms), (12, at(), 41, -8));
            assert_eq!((found.key, found.value, found.headers), (record.key, record.value, record.headers));
        }
    }

    #[test]
    fn a_mark_says_what_it_is_in_every_partition() {
        let come = Come { at: at(), topic_id: 5, next: 10, end: 12, time_ms: 3 };
        let places = Relayed { partitions: 3, sources: vec![come] };
        for begins in [true, false] {
            let marks: Vec<_> = marks(&places, begins).collect();
            let partitions: Vec<_> = marks.iter().map(|mark| mark.partition).collect();
            assert_eq!(partitions, [Some(0), Some(1), Some(2)]);
            for mark in marks {
                match (open(&as_read(mark, 0)), begins) {
                    (Ok(Opened::Begins(found)), true) | (Ok(Opened::Passes(found)), false) => {
                        assert_eq!(found, places)
                    }
                    (other, _) => panic!("{other:?}"),
                }
            }
        }
    }

    #[test]
    fn what_no_relay_has_written_is_refused() {
        let with = |name: &str, header: &str, value: &str| {
            let headers = vec![(name.to_owned(), Bytes::from(header.to_owned()))];
            Record { offset: 0, timestamp_ms: 0, key: None, value: Some(value.to_owned().into()), headers }
        };
        for (record, reason) in [
            (with("x", "1", ""), "it has no header of a relay"),
            (
                with(FROM, "2 1 0 a:0@0", ""),
                "its header \"kinora-from\" is \"2 1 0 a:0@0\", which this version does not know",
            ),
            (
                with(FROM, "1 1 0 a:0", ""),
                "its header \"kinora-from\" is \"1 1 0 a:0\", which this version does not know",
            ),
            (
                with(FROM, "1 0 0 a:0@0", ""),
                "its header \"kinora-from\" is \"1 0 0 a:0@0\", which this version does not know",
            ),
            (
                with(MARK, "1 ends", "1 1"),
                "its header \"kinora-mark\" is \"1 ends\", which this version does not know",
            ),
            (with(MARK, "1 begins", "1 1\nx"), "\"x\" is no place of a source"),
        ] {
            assert_eq!(open(&record).expect_err("it is refused"), reason);
        }
    }

    #[test]
    fn no_record_makes_it_panic() {
        let headers = ["1 3 5 a:0@1", "1 0 0 a:0@0", "1 3 -5 shop.carts:7@18446744073709551615", "1 begins"];
        spoil::never_panics(&headers, |text| {
            for name in [FROM, MARK] {
                let headers = vec![(name.to_owned(), Bytes::from(text.to_owned()))];
                let value = Some(Bytes::from(text.to_owned()));
                let _ = open(&Record { offset: 0, timestamp_ms: 0, key: None, value, headers });
            }
        });
        let places = Relayed {
            partitions: 3,
            sources: vec![Come { at: at(), topic_id: 5, next: 10, end: 12, time_ms: 3 }],
        };
        spoil::never_panics(&[places.text().as_str()], |text| drop(Relayed::read(text)));
    }
}
