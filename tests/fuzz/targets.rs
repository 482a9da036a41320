//! One function of bytes for each reader, with what must hold of whatever it answers: it comes back, and more.
//!
//! Here expressions and events, whose values are the same each time and read back as they are written, and requests,
//! whose answers are JSON, with errors that have codes and are none of our own bugs. Definitions and what lies on the disk
//! have files of their own.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use hmac::{Hmac, Mac};
use kinora::decode;
use kinora::diagnostic::{Sources, Span};
use kinora::engine::{Definitions, dump};
use kinora::event::{Json as EventJson, Record, TopicPartition};
use kinora::expr::{self, Env, Expected, Slot, Type};
use kinora::fold::{self, State};
use kinora::handler::Projection;
use kinora::plan::Plan;
use kinora::resolve::fresh::{parse_read_after, parse_wait};
use kinora::route::{Routed, route};
use kinora::sample;
use kinora::schema::{ColumnType, Scalar};
use kinora::source::NewRecord;
use kinora::source::file::{Lines, parse_line};
use kinora::value::encode::take_part;
use serde_json::{Map, Value as Json, json};
use sha2::Sha256;
use xxhash_rust::xxh3::xxh3_64;

use crate::definitions::hold;
pub use crate::definitions::{cases, defaults, event_schema, projection, sample, schema, settings};
pub use crate::disk::{segment, stored};
use crate::projects::{self, KEYS};
use crate::served;

/// An expression over an event, and the event: any value, twice the same, and as a cell of several types.
pub fn expression(input: &[u8]) {
    let wanted = [
        Expected::Any,
        Expected::Text,
        Expected::Int,
        Expected::List,
        Expected::Cell { ty: ColumnType::Scalar(Scalar::String), nullable: false },
        Expected::Cell { ty: ColumnType::Scalar(Scalar::Decimal), nullable: true },
        Expected::Cell { ty: ColumnType::Scalar(Scalar::DateTime), nullable: true },
        Expected::Cell { ty: ColumnType::List(Box::new(ColumnType::Scalar(Scalar::Long))), nullable: false },
    ];
    let expected = &wanted[xxh3_64(input) as usize % wanted.len()];
    evaluated(input, expected);
}

/// The same as a condition.
pub fn condition(input: &[u8]) {
    evaluated(input, &Expected::Condition);
}

fn evaluated(input: &[u8], expected: &Expected) {
    let (text, event) = parts(input);
    let mut sources = Sources::default();
    let file = sources.add("a.yaml", text.as_str());
    let span = Span { file, start: 0, end: u32::try_from(text.len()).expect("inputs are short") };
    let shop = &projects::all()[0].definitions.model;
    let order = shop.type_named("Order").expect("the shop has orders");
    let names = [("event", Type::Dyn), ("row", Type::Nullable(Box::new(Type::Record(order))))];
    let env = Env {
        model: shop,
        names: names.map(|(name, ty)| (name.to_owned(), ty)).into(),
        shapes: Vec::new(),
        columns_of: None,
    };
    let compiled = match expr::compile(&text, span, &env, expected) {
        Ok(compiled) => compiled,
        Err(faults) => {
            assert!(!faults.is_empty(), "what is refused is told why");
            return hold(&faults, &sources);
        }
    };
    let Ok(event) = decode::json(event.as_bytes()) else { return };
    let frame = [Slot::Json(&event), Slot::Record(None)];
    let (once, again) = match expected {
        Expected::Condition => [(); 2].map(|()| format!("{:?}", compiled.holds(&frame))).into(),
        Expected::Text => [(); 2].map(|()| format!("{:?}", compiled.text(&frame))).into(),
        Expected::List => [(); 2].map(|()| format!("{:?}", compiled.list(&frame))).into(),
        Expected::Cell { .. } => [(); 2].map(|()| format!("{:?}", compiled.cell(&frame))).into(),
        _ => [(); 2].map(|()| format!("{:?}", compiled.slot(&frame))).into(),
    };
    assert_eq!(once, again, "the same event gives the same value");
}

/// An event's bytes: what is taken is JSON to others too, reads back as it is written, and folds or is rejected.
pub fn event(input: &[u8]) {
    let mut parts = input.splitn(2, |byte| *byte == 0);
    let topic =
        number(&String::from_utf8_lossy(parts.next().unwrap_or_default())) % sample::SHOP_TOPICS.len();
    let value = parts.next().unwrap_or_default();
    if let Ok(body) = decode::json(value) {
        let other: Result<serde::de::IgnoredAny, _> = serde_json::from_slice(value);
        assert!(other.is_ok(), "{other:?}");
        let written = sonic_text(&body);
        let again = decode::json(written.as_bytes()).expect("what is written can be read");
        assert_eq!(sonic_text(&again), written);
    }
    let at = TopicPartition { topic: sample::SHOP_TOPICS[topic].into(), partition: 0 };
    let Definitions { plan, projections, .. } = &*projects::all()[0].definitions;
    let reading = projections.iter().filter(|projection| projection.topics().any(|name| **name == *at.topic));
    for projection in reading {
        fold_record(plan, projection, &at, record(Some("k".to_owned()), Some(value.to_vec())));
    }
}

/// A key as an event spells it: its bytes read back, and its own spelling leads to the same row, from an event and from a query.
pub fn spelling(input: &[u8]) {
    let (scalar, value) = parts(input);
    let (scalar, _) = KEYS[number(&scalar) % KEYS.len()];
    let Definitions { model, plan, projections, .. } = &*projects::keys().definitions;
    let name = format!("K{scalar}");
    let ty = model.type_named(&name).expect("it was declared");
    let projection = projections.iter().find(|projection| projection.entity == ty).expect("it was declared");
    let base = plan.table(plan.entity(ty).base);
    let at = TopicPartition { topic: "k".into(), partition: 0 };
    let put = |value: &str| {
        let text = format!("{{\"type\":\"Put\",\"k\":{value}}}");
        route(projection, base, &at, &record(None, Some(text.into_bytes())))
    };
    let Routed::Event { key, key_cells, .. } = put(&value) else { return };
    let (mut bytes, cell) = (key.partition(), &key_cells[0].1);
    let column = &base.partition[0];
    let read = take_part(&mut bytes, &column.ty, column.order).expect("a key reads back");
    assert!(read == *cell && bytes.is_empty(), "{read:?} is not {cell:?}");
    let shown =
        dump::row(model, ty, &projection.shape.row_of(&key_cells)).remove("k").expect("the key is shown");
    let Routed::Event { key: again, .. } = put(&shown.to_string()) else {
        panic!("{scalar} {value} is shown as {shown}, which is refused")
    };
    assert_eq!(again, key, "{scalar} {value} is shown as {shown}, which is another key");
    let log = Lines::new();
    log.create_topic("k", 1);
    let text = format!("{{\"type\":\"Put\",\"k\":{value}}}");
    log.push("k", NewRecord { value: Some(text.into()), ..NewRecord::default() })
        .expect("the topic is there");
    let served = served::Served::of(&projects::keys().definitions, &log);
    let query = format!("query ($k: {scalar}!) {{ k{scalar}(k: $k) {{ k }} }}");
    let asked = |value: Json| {
        let answer = served.answer(&query, Map::from_iter([("k".to_owned(), value)]));
        served::hold(&answer)
    };
    assert_eq!(asked(shown.clone())["data"][format!("k{scalar}")], json!({ "k": shown }), "{scalar} {value}");
    // A client may spell it otherwise than the event did; where both take a spelling it is the same key.
    if let Ok(value) = serde_json::from_str(&value) {
        let answer = asked(value);
        assert!(
            answer.get("errors").is_some() || !answer["data"][format!("k{scalar}")].is_null(),
            "{answer}"
        );
    }
}

/// An operation and its variables.
pub fn operation(input: &[u8]) {
    let (query, variables) = parts(input);
    let variables = serde_json::from_str(&variables).unwrap_or_default();
    served::hold(&served::shop().answer(&query, variables));
}

/// A cursor of a list, signed or not: a place in it, or refused.
pub fn cursor(input: &[u8]) {
    let [list, signed, bytes @ ..] = input else { return };
    let mut bytes = bytes.to_vec();
    if signed % 2 == 1 && bytes.len() >= 16 {
        let end = bytes.len() - 16;
        let mut mac = Hmac::<Sha256>::new_from_slice(served::SECRET).expect("any secret will do");
        mac.update(&bytes[..end]);
        bytes[end..].copy_from_slice(&mac.finalize().into_bytes()[..16]);
    }
    let side = if signed & 2 == 0 { "first: 3, after" } else { "last: 3, before" };
    let paging = format!(", {side}: \"{}\"", URL_SAFE_NO_PAD.encode(bytes));
    let list = served::LISTS[usize::from(*list) % served::LISTS.len()];
    served::hold(&served::shop().answer(&list.replace("{})", &format!("{paging})")), Map::new()));
}

/// The headers of freshness: positions read back as they are written.
pub fn freshness(input: &[u8]) {
    let (positions, wait) = parts(input);
    let _ = parse_wait(&wait);
    if let Ok(found) = parse_read_after(&positions) {
        let written = found.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        assert_eq!(parse_read_after(&written), Ok(found));
    }
}

/// Lines of the publish format.
pub fn publish(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let refused = text.lines().filter(|line| !line.trim().is_empty() && parse_line(line).is_err()).count();
    match Lines::parse(&text, "t", 4) {
        Ok(_) => assert_eq!(refused, 0),
        Err(faults) => {
            assert!(faults.len() >= refused && faults.iter().all(|(line, why)| *line > 0 && !why.is_empty()))
        }
    }
}

/// A request to a server: answered, by one of the statuses that it has, or the connection ended where it was no HTTP.
pub fn http(input: &[u8]) {
    let mut parts = input.splitn(3, |byte| *byte == 0);
    let mut next = || parts.next().unwrap_or_default();
    let (head, headers, body) = (next(), next(), next());
    if let Some(status) = served::status_of(head, headers, body) {
        assert!((200..500).contains(&status) || matches!(status, 501 | 503 | 504), "status {status}");
    }
}

/// Routes a record and folds what comes of it into no row.
pub fn fold_record(plan: &Plan, projection: &Projection, at: &TopicPartition, record: Record) {
    let base = plan.table(plan.entity(projection.entity).base);
    match route(projection, base, at, &record) {
        Routed::Event { key_cells, event, .. } => {
            let mut row = State::default();
            let _ = fold::apply(projection, &key_cells, &mut row, &event);
            let _ = fold::apply(projection, &key_cells, &mut row, &event);
        }
        Routed::Events(rows) => {
            for found in rows {
                let _ = fold::apply_all(projection, &found.key_cells, &mut State::default(), &found.events);
            }
        }
        Routed::Rejected { reject, shown, .. } => {
            assert!(!reject.reason.is_empty() && !shown.is_empty(), "{reject:?}");
        }
        _ => {}
    }
}

pub fn record(key: Option<String>, value: Option<Vec<u8>>) -> Record {
    let (key, value) = (key.map(Bytes::from), value.map(Bytes::from));
    Record { offset: 7, timestamp_ms: 1_760_000_000_000, key, value, headers: Vec::new() }
}

/// The two parts of an input.
pub fn parts(input: &[u8]) -> (String, String) {
    let text = String::from_utf8_lossy(input);
    let (first, second) = text.split_once('\0').unwrap_or((&text, ""));
    (first.to_owned(), second.to_owned())
}

pub fn number(text: &str) -> usize {
    text.parse().unwrap_or(0)
}

fn sonic_text(json: &EventJson) -> String {
    sonic_rs::to_string(json).expect("a value can be written")
}
