//! `POST /topics/{topic}`: appends records to the embedded log.
//!
//! Every line is read and checked before any is written; one bad line refuses them all. Only content types that a page
//! of another site cannot send without asking first are taken, and `host` must be our own address; beyond loopback the
//! token is needed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, header};
use axum::response::Response;
use serde_json::json;

use super::answer::{Code, Refusal, json, not_text};
use super::guard::BodyBound;
use super::negotiate::is_type;
use super::room::Held;
use super::{PublishError, Shared, guard};
use crate::event::{Offset, Position};
use crate::observe::{Limit, metrics};
use crate::source::NewRecord;
use crate::source::file::parse_line;

const JSON: &str = "application/json";
const LINES: &str = "application/x-ndjson";

pub(super) async fn publish(
    State(shared): State<Arc<Shared>>,
    topic: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Refusal> {
    let Path(topic) = topic.map_err(not_text)?;
    let (parts, body) = request.into_parts();
    if !shared.address.ip().is_loopback() {
        guard::token(&shared, &parts.headers)?;
    }
    let content_type = guard::text(&parts.headers, header::CONTENT_TYPE);
    if !is_type(content_type, &[JSON, LINES]) {
        let message = format!(
            "the header `content-type` is {}; it must be {LINES} or {JSON}",
            content_type.map_or("missing".to_owned(), |found| format!("\"{found}\""))
        );
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::BadUserInput, message));
    }
    let one_value = is_type(content_type, &[JSON]);
    let _permit = shared.permits.try_acquire().map_err(|_| {
        let most = shared.settings.concurrent;
        metrics().limit_hit(Limit::Concurrent);
        Refusal::overloaded(format!("{most} requests are being answered (`serve.concurrent`); come again"))
    })?;
    let bound = BodyBound { bytes_max: shared.settings.limits.publish.len(), limit: Limit::Publish };
    let (body, held) = guard::body(&shared, body, bound).await?;
    let records = records(&topic, &body, one_value, shared.settings.limits.record.len())?;
    drop(body);
    appended(&shared, topic, (records, held)).await
}

/// Appends in a task of its own: a client that goes away does not leave half of its records unconfirmed.
async fn appended(
    shared: &Arc<Shared>,
    topic: String,
    (records, held): (Vec<NewRecord>, Held),
) -> Result<Response, Refusal> {
    let backend = shared.backend.clone();
    let append = async move {
        let appended = backend.publish(topic, records).await;
        drop(held);
        appended
    };
    match tokio::spawn(append).await {
        Ok(Ok(positions)) => {
            let texts: Vec<String> = positions.iter().map(Position::to_string).collect();
            Ok(json(StatusCode::OK, &json!({ "positions": texts, "readAfter": read_after(&positions) })))
        }
        Ok(Err(PublishError::Refused(reason))) => Err(Refusal::bad_input(reason)),
        Ok(Err(error @ PublishError::Unavailable(_))) => Err(Refusal::overloaded(error.to_string())),
        Err(error) => {
            // Whether the records were written is not known: the topic's end says it.
            Err(Refusal::internal(format!("publishing broke off: {error}")))
        }
    }
}

/// The records of a body, or what is wrong with the first bad line.
fn records(topic: &str, body: &[u8], one_value: bool, bytes_max: usize) -> Result<Vec<NewRecord>, Refusal> {
    let text = std::str::from_utf8(body).map_err(|error| {
        let line = body[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
        Refusal::at_line(line, "this is not UTF-8; bytes go into `valueBase64`")
    })?;
    // One object may be laid out over several lines, where the type says that the body is JSON.
    if one_value && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() {
        return Ok(vec![record(topic, 1, text.trim(), bytes_max)?]);
    }
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let records: Vec<NewRecord> =
        lines.map(|(at, line)| record(topic, at + 1, line, bytes_max)).collect::<Result<_, _>>()?;
    match records.is_empty() {
        true => {
            Err(Refusal::bad_input("the body has no record; a line is {\"key\": \"k1\", \"value\": {…}}"))
        }
        false => Ok(records),
    }
}

fn record(topic: &str, line: usize, text: &str, bytes_max: usize) -> Result<NewRecord, Refusal> {
    let published = parse_line(text).map_err(|reason| Refusal::at_line(line, reason))?;
    if let Some(other) = published.topic.as_deref().filter(|other| *other != topic) {
        return Err(Refusal::at_line(line, format!("its topic is \"{other}\", but this is \"{topic}\"")));
    }
    let record = published.record;
    let length = record.len_bytes();
    if length > bytes_max {
        metrics().limit_hit(Limit::Record);
        let reason =
            format!("the record has {length} bytes, {bytes_max} are the most (`serve.limits.record`)");
        let mut refusal = Refusal::at_line(line, reason);
        (refusal.status, refusal.code) = (StatusCode::PAYLOAD_TOO_LARGE, Code::LimitExceeded);
        return Err(refusal);
    }
    Ok(record)
}

/// The highest position of each partition, as `x-read-after` takes it.
fn read_after(positions: &[Position]) -> String {
    let mut highest: BTreeMap<(&str, u32), Offset> = BTreeMap::new();
    for position in positions {
        let offset = highest.entry((&position.at.topic, position.at.partition)).or_default();
        *offset = (*offset).max(position.offset);
    }
    let mut text = String::new();
    for ((topic, partition), offset) in highest {
        let comma = if text.is_empty() { "" } else { "," };
        let _ = write!(text, "{comma}{topic}:{partition}@{offset}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::TopicPartition;

    fn refused(body: &[u8]) -> String {
        records("t", body, false, 20).expect_err("refused").message
    }

    #[test]
    fn one_bad_line_refuses_all_and_is_named() {
        assert!(refused(b"{\"key\":\"a\",\"value\":1}\n\n{\"key\":").starts_with("line 3: "));
        assert_eq!(refused(b"{\"value\":1}\n\xff"), "line 2: this is not UTF-8; bytes go into `valueBase64`");
        assert!(refused(b"\n \n").starts_with("the body has no record"));
        assert_eq!(
            refused(br#"{"topic":"other","key":null,"value":1}"#),
            "line 1: its topic is \"other\", but this is \"t\""
        );
    }

    #[test]
    fn a_record_is_measured_below_at_and_above_the_limit() {
        for (length, fits) in [(16, true), (17, true), (18, false)] {
            let line = format!("{{\"key\":\"k\",\"value\":\"{}\"}}", "x".repeat(length));
            let found = records("t", line.as_bytes(), false, 20);
            assert_eq!(found.is_ok(), fits, "{length}");
            if let Err(refusal) = found {
                assert_eq!(refusal.status, StatusCode::PAYLOAD_TOO_LARGE);
                assert_eq!(
                    refusal.message,
                    "line 1: the record has 21 bytes, 20 are the most (`serve.limits.record`)"
                );
            }
        }
    }

    #[test]
    fn a_json_body_may_be_laid_out_over_lines() {
        let body = b"{\n  \"key\": \"a\",\n  \"value\": 1\n}\n";
        assert_eq!(records("t", body, true, 20).expect("one record").len(), 1);
        assert!(records("t", body, false, 20).is_err());
        assert_eq!(records("t", b"{\"value\":1}\n{\"value\":2}", true, 20).expect("two records").len(), 2);
    }

    #[test]
    fn read_after_names_the_highest_offset_of_each_partition() {
        let position =
            |partition, offset| Position { at: TopicPartition { topic: Arc::from("t"), partition }, offset };
        assert_eq!(
            read_after(&[position(1, 7), position(0, 3), position(1, 8), position(0, 2)]),
            "t:0@3,t:1@8"
        );
    }
}
