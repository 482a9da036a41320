//! Runs the author's cases: given these records, are there these rows, this answer, these parked keys?
//!
//! Each case is run as it stands, record by record, delivered a second time, and with a process that dies after
//! each of its writes in turn. All must come to the same.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value as Json;

use crate::clock::now_ms;
use crate::diagnostic::{Sources, Span};
use crate::engine::difference::{self, Change, Difference, Parts};
use crate::engine::{Definitions, dump};
use crate::event::{Event, Record, TopicPartition};
use crate::handler::UpdateKind;
use crate::handler::cases::{Case, ExpectedParked, ExpectedRows, Given};
use crate::project::{Halt, ProjectSettings, Projector};
use crate::resolve::{Graph, GraphSettings, Limits, Request};
use crate::route::{Routed, route};
use crate::source::file::Lines;
use crate::source::{NewRecord, Source, SourceError};
use crate::store::memory::MemoryStore;
use crate::store::{ParkedEntry, ParkedKey, Store, StoreError, Tables, all_parked};
use crate::testing::Interrupted;

/// What one case came to.
#[derive(Clone, Debug, Serialize)]
pub struct CaseResult {
    pub file: String,
    pub line: usize,
    pub name: String,
    /// How many ways of running it were tried.
    pub runs: usize,
    /// What differs from the expectation, with the run in which it did; empty where nothing does.
    pub differences: Vec<Difference>,
}

/// Most writes after which a death is tried, spread evenly over a case that has more.
const DEATHS_MAX: u64 = 200;

/// Partitions of each topic of a case.
const PARTITIONS: u32 = 4;

/// Why a case could not be run to its end.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error(transparent)]
    Halt(#[from] Halt),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("{0}")]
    Graph(String),
}

/// Runs cases, in order; `told` hears each result as it comes.
pub async fn run(
    definitions: &Definitions,
    sources: &Sources,
    cases: &[&Case],
    mut told: impl FnMut(&CaseResult),
) -> Vec<CaseResult> {
    let mut results = Vec::with_capacity(cases.len());
    for case in cases {
        let result = run_case(definitions, sources, case).await;
        told(&result);
        results.push(result);
    }
    results
}

async fn run_case(definitions: &Definitions, sources: &Sources, case: &Case) -> CaseResult {
    let mut result = CaseResult {
        file: sources.file(case.span.file).path.clone(),
        line: sources.line_column(case.span).0,
        name: case.name.clone(),
        runs: 0,
        differences: Vec::new(),
    };
    let runner = Runner { definitions, sources, case };
    let mut ways = vec![Way::Whole, Way::RecordByRecord, Way::Twice];
    match runner.writes().await {
        Ok(writes) => {
            let step = writes.div_ceil(DEATHS_MAX).max(1);
            let deaths = (0..writes).step_by(usize::try_from(step).unwrap_or(usize::MAX));
            ways.extend(deaths.map(Way::DiesAfter));
        }
        Err(error) => result.differences.push(failed(&error)),
    }
    for way in ways {
        if !result.differences.is_empty() {
            break; // The first way that differs says it; the others would say it again.
        }
        result.runs += 1;
        let found = match runner.run(way).await {
            Ok(tables) => runner.compare(&tables).await.unwrap_or_else(|error| vec![failed(&error)]),
            Err(error) => vec![failed(&error)],
        };
        let found = found.into_iter();
        result.differences = found.map(|difference| Difference { run: way.name(), ..difference }).collect();
    }
    result
}

/// A way of running a case.
#[derive(Clone, Copy, Debug)]
enum Way {
    Whole,
    RecordByRecord,
    Twice,
    DiesAfter(u64),
}

impl Way {
    fn name(self) -> Option<String> {
        match self {
            Way::Whole => None,
            Way::RecordByRecord => Some("record by record".to_owned()),
            Way::Twice => Some("delivered twice".to_owned()),
            Way::DiesAfter(writes) => Some(format!("dying after write {writes}")),
        }
    }
}

/// A case that did not come to its end.
fn failed(error: &RunError) -> Difference {
    Difference::said("", error.to_string())
}

struct Runner<'a> {
    definitions: &'a Definitions,
    sources: &'a Sources,
    case: &'a Case,
}

impl Runner<'_> {
    /// How many writes the case makes when nothing goes wrong.
    async fn writes(&self) -> Result<u64, RunError> {
        let counted = Arc::new(self.whole(Interrupted::after(self.tables().await?, u64::MAX)));
        self.fold(&self.log()?, counted.clone(), usize::MAX).await?;
        Ok(counted.written())
    }

    async fn run(&self, way: Way) -> Result<Arc<dyn Tables>, RunError> {
        let log = self.log()?;
        let tables = self.tables().await?;
        match way {
            Way::Whole => self.fold(&log, Arc::clone(&tables), usize::MAX).await?,
            Way::RecordByRecord => self.fold(&log, Arc::clone(&tables), 1).await?,
            Way::Twice => {
                self.fold(&log, Arc::clone(&tables), usize::MAX).await?;
                self.fold(&log, Arc::new(self.whole(Interrupted::forgetful(Arc::clone(&tables)))), 1).await?;
            }
            Way::DiesAfter(writes) => {
                let dying = Arc::new(self.whole(Interrupted::after(Arc::clone(&tables), writes)));
                // It dies: that is the point. What it left is taken up record by record.
                let batch_bytes_max = if writes % 2 == 0 { usize::MAX } else { 1 };
                let _ = self.fold(&log, dying, batch_bytes_max).await;
                self.fold(&log, Arc::clone(&tables), 1).await?;
            }
        }
        Ok(tables)
    }

    async fn tables(&self) -> Result<Arc<dyn Tables>, StoreError> {
        MemoryStore::atomic().open(1, &self.definitions.plan).await
    }

    /// Leaves whole what only an atomic store may hold; everything else is cut as no store may be needed to prevent.
    fn whole(&self, tables: Interrupted) -> Interrupted {
        let merged = self.definitions.projections.iter().filter(|found| found.kind == UpdateKind::MergedFold);
        tables.keeping_whole(merged.map(|projection| Arc::clone(&projection.name)).collect())
    }

    fn log(&self) -> Result<Lines, SourceError> {
        let log = Lines::new();
        for projection in &self.definitions.projections {
            projection.topics().for_each(|topic| log.create_topic(topic, PARTITIONS));
        }
        for (index, given) in (0..).zip(&self.case.given) {
            log.create_topic(&given.topic, PARTITIONS);
            // Where nothing is said the records follow each other, so that those of several partitions do too.
            let timestamp_ms = given.timestamp_ms.or(Some(index));
            log.push(&given.topic, NewRecord { timestamp_ms, ..record(given) })?;
        }
        Ok(log)
    }

    async fn fold(
        &self,
        log: &Lines,
        tables: Arc<dyn Tables>,
        batch_bytes_max: usize,
    ) -> Result<(), RunError> {
        let settings = ProjectSettings { batch_bytes_max, ..ProjectSettings::default() };
        for projection in &self.definitions.projections {
            let mut ends: Vec<u64> = Vec::new();
            for name in projection.topics() {
                let topic = log.topic(name).await?;
                ends.extend(topic.iter().flat_map(|topic| &topic.partitions).map(|partition| partition.end));
            }
            let mut projector = Projector::open(
                Arc::clone(projection),
                Arc::clone(&self.definitions.plan),
                Arc::clone(&tables),
                log,
                settings,
                now_ms().saturating_mul(1_000),
            )
            .await?;
            projector.catch_up(&ends).await?;
        }
        Ok(())
    }

    async fn compare(&self, tables: &Arc<dyn Tables>) -> Result<Vec<Difference>, RunError> {
        let mut differences = Vec::new();
        for expected in &self.case.events {
            self.compare_events(expected, &mut differences);
        }
        for expected in &self.case.rows {
            let Some(entity) = self.definitions.model.type_named(&expected.type_name) else {
                let what = format!("there is no type {}", expected.type_name);
                differences.push(Difference::said(self.at(expected.span), what));
                continue;
            };
            let Some(entity) = self.definitions.plan.entities.iter().find(|plan| plan.entity == entity)
            else {
                let what = format!("{} has no table", expected.type_name);
                differences.push(Difference::said(self.at(expected.span), what));
                continue;
            };
            let (model, plan) = (&self.definitions.model, &self.definitions.plan);
            let rows = dump::rows(model, plan, tables.as_ref(), entity.base).await?;
            let wanted: Vec<_> = expected.rows.iter().map(|row| &row.columns).collect();
            let at = self.at(expected.span);
            differences.extend(difference::rows(&at, &expected.type_name, &wanted, rows));
        }
        if let Some(query) = &self.case.query {
            let answer = self.answer(tables, query).await?;
            let changes = difference::changes(&query.answer, &answer, Parts::All);
            if !changes.is_empty() {
                let said = Difference::said(self.at(query.answer_span), "the answer");
                differences.push(Difference { changes, ..said });
            }
        }
        self.compare_parked(tables, &mut differences).await?;
        Ok(differences)
    }

    /// What the given records are to a projection, in order, once they are upcast.
    fn compare_events(&self, expected: &ExpectedRows, differences: &mut Vec<Difference>) {
        let mut projections = self.definitions.projections.iter();
        let Some(projection) = projections.find(|projection| *projection.name == *expected.type_name) else {
            let (at, name) = (self.at(expected.span), &expected.type_name);
            return differences.push(Difference::said(at, format!("there is no projection {name}")));
        };
        let base = self.definitions.plan.entity(projection.entity).base;
        let mut found = Vec::new();
        for (offset, given) in (0..).zip(&self.case.given) {
            let Some(topic) = projection.topics().find(|topic| ***topic == *given.topic) else { continue };
            let at = TopicPartition { topic: Arc::clone(topic), partition: 0 };
            let new = record(given);
            let record = Record {
                offset,
                timestamp_ms: given.timestamp_ms.unwrap_or_default(),
                key: new.key,
                value: new.value,
                headers: new.headers,
            };
            let events = events_of(route(projection, self.definitions.plan.table(base), &at, &record));
            found.extend(events.into_iter().map(shown));
        }
        for (index, wanted) in expected.rows.iter().enumerate() {
            let found = found.get(index).unwrap_or(&Json::Null);
            let changes = difference::changes(&wanted.columns.clone().into(), found, Parts::Named);
            if !changes.is_empty() {
                let said = Difference::said(self.at(wanted.span), format!("event {}", index + 1));
                differences.push(Difference { changes, ..said });
            }
        }
        if let Some(more) = found.get(expected.rows.len()) {
            let change = Change { path: String::new(), expected: None, found: Some(more.clone()) };
            let said = Difference::said(self.at(expected.span), "an event is not expected");
            differences.push(Difference { changes: vec![change], ..said });
        }
    }

    /// The query's `data`, or the whole response where there are errors.
    async fn answer(
        &self,
        tables: &Arc<dyn Tables>,
        query: &crate::handler::cases::Query,
    ) -> Result<Json, RunError> {
        let settings = GraphSettings {
            limits: Limits::default(),
            cursor_secrets: vec![vec![0; 32]],
            definitions_hash: self.definitions.hash.clone(),
            feeds: self.definitions.feeds.clone(),
            introspection: true,
        };
        let (model, plan) = (Arc::clone(&self.definitions.model), Arc::clone(&self.definitions.plan));
        let graph = Graph::new(model, plan, settings).map_err(RunError::Graph)?;
        let at_ms = Some(self.last_time_ms());
        let (query, variables) = (query.text.clone(), query.variables.clone());
        let request = Request { query, variables, at_ms, ..Request::default() };
        let answer = graph.execute(request, tables).await;
        let mut response: Json =
            serde_json::from_slice(&answer.body).map_err(|error| RunError::Graph(error.to_string()))?;
        if response.get("errors").is_some() {
            return Ok(response);
        }
        Ok(response.get_mut("data").map(Json::take).unwrap_or_default())
    }

    /// The time of the last event: a case is asked then, so that rows with a `ttl` give the same answer for ever.
    fn last_time_ms(&self) -> i64 {
        let mut last_ms = 0;
        for (given, offset) in self.case.given.iter().zip(0..) {
            let record = Record {
                offset,
                timestamp_ms: given.timestamp_ms.unwrap_or(i64::try_from(offset).unwrap_or_default()),
                key: given.key.clone().map(Into::into),
                value: given.value.clone().map(Into::into),
                headers: Vec::new(),
            };
            let at = TopicPartition { topic: given.topic.as_str().into(), partition: 0 };
            let fed = self
                .definitions
                .projections
                .iter()
                .filter(|projection| projection.topics().any(|topic| **topic == *given.topic));
            for projection in fed {
                let plan = &self.definitions.plan;
                let base = plan.table(plan.entity(projection.entity).base);
                let times = events_of(route(projection, base, &at, &record));
                last_ms = times.iter().map(|event| event.time_ms).fold(last_ms, i64::max);
            }
        }
        last_ms
    }

    async fn compare_parked(
        &self,
        tables: &Arc<dyn Tables>,
        differences: &mut Vec<Difference>,
    ) -> Result<(), StoreError> {
        let parked = all_parked(tables.as_ref()).await?;
        let mut found: Vec<(&Arc<str>, &ParkedKey, &ParkedEntry)> =
            parked.iter().map(|((projection, key), entry)| (projection, key, entry)).collect();
        for expected in &self.case.parked {
            match found.iter().position(|(projection, key, entry)| fits(expected, projection, key, entry)) {
                Some(index) => {
                    found.remove(index);
                }
                None => {
                    differences.push(Difference::said(self.at(expected.span), "no parked key is like this"))
                }
            }
        }
        for (projection, _, entry) in found {
            let what =
                format!("{} of {projection} is parked: {}: {}", entry.shown, entry.stage, entry.reason);
            differences.push(Difference::said(self.at(self.case.span), what));
        }
        Ok(())
    }

    /// `file:line` of a place.
    fn at(&self, span: Span) -> String {
        format!("{}:{}", self.sources.file(span.file).path, self.sources.line_column(span).0)
    }
}

/// The events of a record, in order.
fn events_of(routed: Routed) -> Vec<Arc<Event>> {
    let mut events = match routed {
        Routed::Event { event, .. } => vec![Arc::new(event)],
        Routed::Range { event, .. } => vec![event],
        Routed::Events(rows) => {
            rows.into_iter().flat_map(|row| row.events).map(|taken| taken.event).collect()
        }
        _ => Vec::new(),
    };
    events.sort_by_key(|event| event.part);
    events.dedup_by_key(|event| event.part);
    events
}

/// An event as `events` of a case says it.
fn shown(event: Arc<Event>) -> Json {
    let body: Json = serde_json::from_str(&event.body.to_string()).unwrap_or_default();
    serde_json::json!({ "type": event.kind.as_str(), "version": event.version, "event": body })
}

fn record(given: &Given) -> NewRecord {
    NewRecord {
        key: given.key.clone().map(Into::into),
        value: given.value.clone().map(Into::into),
        headers: given.headers.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect(),
        timestamp_ms: given.timestamp_ms,
        partition: None,
    }
}

fn fits(expected: &ExpectedParked, projection: &str, key: &ParkedKey, entry: &ParkedEntry) -> bool {
    let record_key = match key {
        ParkedKey::Record(bytes) => std::str::from_utf8(bytes).ok(),
        _ => None,
    };
    let is = |expected: &Option<String>, found: &str| expected.as_deref().is_none_or(|text| text == found);
    is(&expected.projection, projection)
        && (is(&expected.key, &entry.shown) || expected.key.as_deref() == record_key)
        && is(&expected.stage, &entry.stage)
        && expected.reason.as_deref().is_none_or(|part| entry.reason.contains(part))
        && expected.waiting.is_none_or(|waiting| waiting == entry.waiting)
}
