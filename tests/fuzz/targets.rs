//! One function of bytes for each reader, with what must hold of whatever it answers.
//!
//! All of them: it comes back. Definitions: each finding lies inside its file and has a message, fixes can be made, and
//! what passes can be planned, served and folded with. Values: what is written reads back as the same. Requests: an
//! answer is JSON, its errors have codes, and none is our own bug.

use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use hmac::{Hmac, Mac};
use kinora::diagnostic::{self, Diagnostic, FileId, Sources, Span};
use kinora::engine::{Definitions, dump};
use kinora::event::{Json as EventJson, Record, TopicPartition};
use kinora::expr::{self, Env, Expected, Slot, Type};
use kinora::fold::{self, State};
use kinora::handler::{self, Projection, cases as case_files};
use kinora::lint::{self, Subject};
use kinora::plan::{self, Plan};
use kinora::resolve::fresh::{parse_read_after, parse_wait};
use kinora::resolve::{Graph, GraphSettings, Limits};
use kinora::route::{Routed, route};
use kinora::sample;
use kinora::schema::{self, ColumnType, Order, ReadModel, Scalar};
use kinora::source::broker::{Broker, BrokerSettings};
use kinora::source::file::{Lines, parse_line};
use kinora::source::{NewRecord, Source};
use kinora::value::encode::{push_part, take_part};
use kinora::value::row::{Columns, decode_row, encode_row, row_head};
use kinora::{config, decode, propose};
use serde_json::{Map, Value as Json, json};
use sha2::Sha256;
use tempfile::TempDir;
use xxhash_rust::xxh3::xxh3_64;

use crate::projects::{self, KEYS, Project};
use crate::served;

/// A schema: bound, planned, linted, and where it has no error served.
pub fn schema(input: &[u8]) {
    let mut sources = Sources::default();
    let file = sources.add("schema/a.graphql", String::from_utf8_lossy(input));
    let (model, mut findings) = schema::load(&[file], &sources);
    let Some(model) = model else { return hold(&findings, &sources) };
    let (plan, found) = plan::plan(&model, &sources);
    findings.extend(found);
    let subject = Subject { sources: &sources, model: &model, plan: plan.as_ref(), projections: &[] };
    findings.extend(lint::lint(subject, &Default::default()));
    hold(&findings, &sources);
    if let Some(plan) =
        plan.filter(|_| findings.iter().all(|found| found.severity != diagnostic::Severity::Error))
    {
        let _ = plan::cql::create_statements(&model, &plan);
        let _ = plan::explain::explain(&model, &plan, &[]);
        let settings = GraphSettings {
            limits: Limits::default(),
            cursor_secrets: vec![served::SECRET.to_vec()],
            definitions_hash: String::new(),
            feeds: Vec::new(),
            introspection: true,
        };
        let graph = Graph::new(Arc::new(model), Arc::new(plan), settings);
        assert!(graph.is_ok(), "what passes check can be served: {}", graph.err().unwrap_or_default());
    }
}

/// A projection of a project: bound, and where it has no error folded with.
pub fn projection(input: &[u8]) {
    let (project, text) = of_project(input);
    let (model, plan): (&ReadModel, &Plan) = (&project.definitions.model, &project.definitions.plan);
    let mut sources = sources_of(project);
    let schemas = add(project, &mut sources, |path| path.contains(".schema."));
    let defaults = add(project, &mut sources, |path| path.ends_with("/defaults.yaml"));
    let file = sources.add("projections/a.yaml", text);
    let (bound, findings) = handler::load(
        &[file],
        defaults.first().copied(),
        &schemas,
        &sources,
        model,
        plan,
        &Default::default(),
    );
    let subject = Subject {
        sources: &sources,
        model,
        plan: Some(plan),
        projections: &bound.iter().collect::<Vec<_>>(),
    };
    let _ = lint::lint(subject, &Default::default());
    hold(&findings, &sources);
    for projection in &bound {
        for event in handler::explain::event_types(projection) {
            let _ = handler::explain::explain(projection, Some(event));
        }
        for case in &project.definitions.cases {
            for given in &case.given {
                let at = TopicPartition { topic: given.topic.as_str().into(), partition: 0 };
                fold_record(plan, projection, &at, record(given.key.clone(), given.value.clone()));
            }
        }
    }
}

/// The defaults of a project's projections.
pub fn defaults(input: &[u8]) {
    let (project, text) = of_project(input);
    with_all_projections(project, "projections/defaults.yaml", text);
}

/// A JSON Schema of a project's events.
pub fn event_schema(input: &[u8]) {
    let (project, text) = of_project(input);
    with_all_projections(project, "projections/a.schema.json", text);
}

fn with_all_projections(project: &Project, path: &str, text: String) {
    let (model, plan): (&ReadModel, &Plan) = (&project.definitions.model, &project.definitions.plan);
    let mut sources = sources_of(project);
    let files = add(project, &mut sources, |path| {
        path.starts_with("projections/")
            && !["defaults.yaml", ".cases.yaml", ".schema.json", ".schema.yaml"]
                .iter()
                .any(|end| path.ends_with(end))
    });
    let is_defaults = path.ends_with("defaults.yaml");
    let kept = if is_defaults { ".schema." } else { "/defaults.yaml" };
    let others = add(project, &mut sources, |path| path.contains(kept));
    let file = sources.add(path, text);
    let (defaults, schemas) = match is_defaults {
        true => (Some(file), others),
        false => (others.first().copied(), vec![file]),
    };
    let (_, findings) = handler::load(&files, defaults, &schemas, &sources, model, plan, &Default::default());
    hold(&findings, &sources);
}

/// A file of cases.
pub fn cases(input: &[u8]) {
    let (_, text) = of_project(input);
    let mut sources = Sources::default();
    let file = sources.add("projections/a.cases.yaml", text);
    let (_, findings) = case_files::load(file, &sources);
    hold(&findings, &sources);
}

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

/// Settings, from a file and the environment.
pub fn settings(input: &[u8]) {
    let (text, environment) = parts(input);
    let environment = environment.lines().filter_map(|line| line.split_once('='));
    let loaded =
        config::read(&text, environment.map(|(name, value)| (name.to_owned(), value.to_owned())), &[]);
    hold(&loaded.findings, &loaded.sources);
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

/// A segment of the log: opened and read, or refused as damaged; what was opened can be written to and opened again.
pub fn segment(input: &[u8]) {
    let [anew, bytes @ ..] = input else { return };
    let mut bytes = bytes.to_vec();
    if anew % 2 == 1 {
        sum_anew(&mut bytes);
    }
    let folder = log_of(&bytes);
    let settings = BrokerSettings { sync: false, ..Default::default() };
    let open = || Broker::open_with(&folder, settings).and_then(|broker| Ok((records(&broker)?, broker)));
    let Ok((found, broker)) = open() else { return };
    let record = NewRecord { value: Some(Bytes::from_static(b"{}")), ..NewRecord::default() };
    served::run(broker.append("t", vec![record])).expect("an opened log takes records");
    drop(broker);
    let (again, _) = open().unwrap_or_else(|error| panic!("what was opened once opens again: {error}"));
    assert_eq!(again.len(), found.len() + 1);
    for (before, after) in found.iter().zip(&again) {
        assert_eq!((before.offset, &before.key, &before.value), (after.offset, &after.key, &after.value));
    }
}

/// The bytes of a stored row and of keys: what is read is written again as it was.
pub fn stored(input: &[u8]) {
    const WIDTH: usize = 8;
    let head = row_head(input);
    if let Ok(row) = decode_row(input, Columns::All, WIDTH) {
        assert_eq!(head, Ok((row.offset, row.live)));
        let columns: Vec<_> = (0..WIDTH as u32).map(schema::ColumnId).collect();
        let written = encode_row(row.offset, row.live, &row.cells, &columns);
        let again = decode_row(&written, Columns::All, WIDTH).expect("a written row reads back");
        assert_eq!(format!("{:?}", again.cells), format!("{:?}", row.cells));
    }
    let scalars = [
        Scalar::String,
        Scalar::Boolean,
        Scalar::Int,
        Scalar::Long,
        Scalar::Float,
        Scalar::Decimal,
        Scalar::DateTime,
        Scalar::Uuid,
        Scalar::LocalDate,
        Scalar::LocalTime,
    ];
    for ty in scalars.map(ColumnType::Scalar) {
        for order in [Order::Asc, Order::Desc] {
            let mut rest = input;
            if let Ok(value) = take_part(&mut rest, &ty, order) {
                let mut written = Vec::new();
                push_part(&mut written, &value, order);
                let mut bytes = &written[..];
                let again = take_part(&mut bytes, &ty, order).expect("a written part reads back");
                assert!(again == value && bytes.is_empty(), "{value:?} reads back as {again:?}");
            }
        }
    }
}

/// Events of which a read model is proposed: what is proposed passes check.
pub fn sample(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let samples: Vec<propose::Sample> = text
        .lines()
        .filter_map(|line| Some(propose::Sample { key: None, value: serde_json::from_str(line).ok()? }))
        .collect();
    if let Ok(files) = propose::propose("t", &samples, None) {
        let loaded = projects::load(&files);
        hold(&loaded.findings, &loaded.sources);
        assert!(
            loaded.definitions.is_some(),
            "{files:#?}\n{}",
            diagnostic::render(&loaded.findings, &loaded.sources, false)
        );
    }
}

/// What must hold of any findings.
fn hold(findings: &[Diagnostic], sources: &Sources) {
    for finding in findings {
        assert!(!finding.message.is_empty() && !finding.code.is_empty(), "{finding:?}");
        let Some(Span { file, start, end }) = finding.span else { continue };
        let text = &sources.file(file).text;
        let (start, end) = (start as usize, end as usize);
        assert!(start <= end && end <= text.len(), "beside the text: {finding:?}");
        assert!(text.is_char_boundary(start) && text.is_char_boundary(end), "inside a letter: {finding:?}");
    }
    let _ = diagnostic::to_json(findings, sources);
    let _ = diagnostic::mended(findings.iter(), sources);
    // To show them for a person costs more than to find them: one finding of each input is.
    if let Some(first) = findings.first() {
        assert!(!diagnostic::render(std::slice::from_ref(first), sources, false).is_empty());
    }
}

/// Routes a record and folds what comes of it into no row.
fn fold_record(plan: &Plan, projection: &Projection, at: &TopicPartition, record: Record) {
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

fn record(key: Option<String>, value: Option<Vec<u8>>) -> Record {
    let (key, value) = (key.map(Bytes::from), value.map(Bytes::from));
    Record { offset: 7, timestamp_ms: 1_760_000_000_000, key, value, headers: Vec::new() }
}

/// The project whose number stands first, and the text behind it.
fn of_project(input: &[u8]) -> (&'static Project, String) {
    let (name, text) = parts(input);
    let all = projects::all();
    (&all[number(&name) % all.len()], text)
}

/// Sources that hold the files of a project's schema: findings point into them.
fn sources_of(project: &Project) -> Sources {
    let mut sources = Sources::default();
    add(project, &mut sources, |path| path.starts_with("schema/"));
    sources
}

/// The files of a project for whose path it holds.
fn add(project: &Project, sources: &mut Sources, holds: impl Fn(&str) -> bool) -> Vec<FileId> {
    let files = project.files.iter().filter(|(path, _)| holds(path));
    files.map(|(path, text)| sources.add(path.as_str(), text.as_str())).collect()
}

/// The two parts of an input.
fn parts(input: &[u8]) -> (String, String) {
    let text = String::from_utf8_lossy(input);
    let (first, second) = text.split_once('\0').unwrap_or((&text, ""));
    (first.to_owned(), second.to_owned())
}

fn number(text: &str) -> usize {
    text.parse().unwrap_or(0)
}

fn sonic_text(json: &EventJson) -> String {
    sonic_rs::to_string(json).expect("a value can be written")
}

/// The folder of a log of one topic and partition with these bytes: made once for each thread.
fn log_of(bytes: &[u8]) -> PathBuf {
    thread_local! {
        static LOG: (TempDir, PathBuf) = {
            let folder = tempfile::tempdir().expect("a folder can be made");
            let settings = BrokerSettings { sync: false, ..Default::default() };
            let broker = Broker::open_with(folder.path(), settings).expect("the log opens");
            broker.create_topic("t", 1).expect("a topic can be made");
            let segment = served::segment(folder.path());
            (folder, segment)
        };
    }
    LOG.with(|(folder, segment)| {
        std::fs::write(segment, bytes).expect("the segment can be written");
        folder.path().to_owned()
    })
}

fn records(broker: &Broker) -> Result<Vec<Record>, kinora::source::SourceError> {
    served::run(async {
        let topic = broker.topic("t").await?.expect("it is there");
        let at = TopicPartition { topic: Arc::clone(&topic.name), partition: 0 };
        let info = &topic.partitions[0];
        let mut reader = broker.read(&[(at, info.start)]).await?;
        let (mut found, mut next) = (Vec::new(), info.start);
        while next < info.end {
            let fetched = reader.next(1 << 20).await?;
            found.extend(fetched.records);
            next = fetched.next;
        }
        Ok(found)
    })
}

/// Makes the checksum of every frame right, so that what the frames say is looked at.
fn sum_anew(bytes: &mut [u8]) {
    let mut at = 0;
    while let Some(head) = bytes.get(at..at + 12) {
        let length = u32::from_be_bytes(head[..4].try_into().expect("four bytes")) as usize;
        let Some(body) = bytes.get(at + 12..).and_then(|rest| rest.get(..length)) else { return };
        let sum = xxh3_64(body).to_be_bytes();
        bytes[at + 4..at + 12].copy_from_slice(&sum);
        at += 12 + length;
    }
}
