//! What a record says of itself, as a JSON object: what expressions call `record`.
//!
//! Comes in: a record and its place. Goes out: an object of its topic, partition, offset, key, time and headers; and the
//! same with what is known once its event is read. Made only for projections that look at it.

use crate::event::{Event, Json, Record, TopicPartition};

/// What is known before the event is read. A header that is not text is left out; of headers of one name the last counts.
pub fn metadata(at: &TopicPartition, record: &Record) -> Json {
    let mut headers = sonic_rs::Object::new();
    for (name, value) in &record.headers {
        if let Ok(text) = std::str::from_utf8(value) {
            headers.insert(name, text);
        }
    }
    let mut object = sonic_rs::Object::new();
    object.insert("topic", &*at.topic);
    object.insert("partition", at.partition);
    object.insert("offset", record.offset);
    object.insert("position", position(at, record.offset).as_str());
    object.insert("timestamp", time(record.timestamp_ms).as_str());
    object.insert("headers", headers);
    match record.key.as_deref().map(std::str::from_utf8) {
        Some(Ok(key)) => object.insert("key", key),
        _ => object.insert("key", ()),
    };
    object.into()
}

/// The same with the event's type, version, time, place among the events of its record, and an id made from all of it.
pub fn of_event(metadata: &Json, event: &Event) -> Json {
    let mut object: sonic_rs::Object = metadata.clone().into_object().unwrap_or_default();
    let position = event.position.to_string();
    let id = if event.part == 0 { position } else { format!("{position}/{}", event.part) };
    object.insert("type", &*event.kind);
    object.insert("version", event.version);
    object.insert("time", time(event.time_ms).as_str());
    object.insert("part", event.part);
    object.insert("id", id.as_str());
    object.into()
}

fn position(at: &TopicPartition, offset: u64) -> String {
    format!("{}:{}@{offset}", at.topic, at.partition)
}

/// A time as an event would say it. One that no calendar has stands there as the nearest that one has.
fn time(ms: i64) -> String {
    let moment = jiff::Timestamp::from_millisecond(ms).unwrap_or(match ms < 0 {
        true => jiff::Timestamp::MIN,
        false => jiff::Timestamp::MAX,
    });
    moment.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}
