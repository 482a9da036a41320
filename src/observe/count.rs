//! Metrics that are counted as things happen.
//!
//! Comes in: what loops, stores and the server count. Goes out: counters and histograms, for `measure` to write out.
//! Whoever counts often keeps what it counts with ([`Folding`], [`Reads`]): finding one by its labels costs about as much as
//! a small allocation. Nothing is counted for single events.

use std::borrow::Cow;
use std::fmt;
use std::sync::LazyLock;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, LabelSetEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};

use super::list::{self, Described};

/// A counter. A clone counts for the same.
pub type Count = Counter;

/// The metrics of this process.
pub fn metrics() -> &'static Metrics {
    static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::new);
    &METRICS
}

/// Everything that is counted.
pub struct Metrics {
    pub(super) registry: Registry,
    records: Counts,
    record_bytes: Counts,
    events: Counts,
    rows_written: Counts,
    batches: Histograms,
    commits: Histograms,
    batches_failed: Counts,
    log_errors: Counts,
    store_errors: Counts,
    /// Statements sent to Cassandra once more.
    pub store_retries: Count,
    epochs_lost: Counts,
    partitions_moved: Counts,
    requests: Counts,
    operations: [Durations; OperationKind::ALL.len()],
    errors: Counts,
    reads: Counts,
    rows_read: Counts,
    /// Requests that named positions which were reached in time.
    pub waits_reached: Count,
    /// Those whose positions were not.
    pub waits_missed: Count,
    connections: Gauge,
    limits_hit: [Count; Limit::ALL.len()],
    /// Spans for which the queue had no room.
    pub spans_unqueued: Count,
    /// Spans that the collector did not take.
    pub spans_unsent: Count,
}

/// What one projection counts.
#[derive(Clone, Debug)]
pub struct Folding {
    projection: String,
    pub events: Count,
    /// From the first records of a batch to its commit.
    pub batches: Durations,
    /// In which the store took it.
    pub commits: Durations,
    pub failed: Count,
    pub epochs_lost: Count,
}

/// What is counted of one table that is read.
#[derive(Clone, Debug)]
pub struct Reads {
    pub reads: Count,
    pub rows: Count,
}

/// How long something took.
#[derive(Clone, Debug)]
pub struct Durations(Histogram);

/// What an operation asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperationKind {
    /// Entities, for a gateway.
    Entities,
    /// Fields of the query that read tables.
    Query,
    /// Nothing of any table: the schema, or `_service`.
    Introspection,
    /// It was not executed.
    Refused,
}

/// A bound at which requests are refused: the setting's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    Concurrent,
    Waiting,
    Connections,
    Memory,
    Body,
    Record,
    Publish,
    Tokens,
    Depth,
    Aliases,
    RootFields,
    Directives,
    Representations,
    Read,
    Answer,
}

impl OperationKind {
    const ALL: [OperationKind; 4] =
        [OperationKind::Entities, OperationKind::Query, OperationKind::Introspection, OperationKind::Refused];

    /// The value of the label.
    pub fn name(self) -> &'static str {
        match self {
            OperationKind::Entities => "entities",
            OperationKind::Query => "query",
            OperationKind::Introspection => "introspection",
            OperationKind::Refused => "refused",
        }
    }
}

impl Limit {
    const ALL: [Limit; 15] = [
        Limit::Concurrent,
        Limit::Waiting,
        Limit::Connections,
        Limit::Memory,
        Limit::Body,
        Limit::Record,
        Limit::Publish,
        Limit::Tokens,
        Limit::Depth,
        Limit::Aliases,
        Limit::RootFields,
        Limit::Directives,
        Limit::Representations,
        Limit::Read,
        Limit::Answer,
    ];

    /// The setting.
    pub fn name(self) -> &'static str {
        match self {
            Limit::Concurrent => "serve.concurrent",
            Limit::Waiting => "serve.waiting",
            Limit::Connections => "serve.connections",
            Limit::Memory => "serve.memory",
            Limit::Body => "serve.limits.body",
            Limit::Record => "serve.limits.record",
            Limit::Publish => "serve.limits.publish",
            Limit::Tokens => "serve.limits.tokens",
            Limit::Depth => "serve.limits.depth",
            Limit::Aliases => "serve.limits.aliases",
            Limit::RootFields => "serve.limits.root_fields",
            Limit::Directives => "serve.limits.directives",
            Limit::Representations => "serve.limits.representations",
            Limit::Read => "serve.limits.read",
            Limit::Answer => "serve.limits.answer",
        }
    }
}

impl Metrics {
    fn new() -> Metrics {
        let mut registry = Registry::default();
        let registry_of = &mut registry;
        let waits = Counts::new(registry_of, &list::WAITS);
        let limits = Counts::new(registry_of, &list::LIMITS_HIT);
        let lost = Counts::new(registry_of, &list::SPANS_LOST);
        let operations = Histograms::new(registry_of, &list::OPERATIONS);
        Metrics {
            records: Counts::new(registry_of, &list::RECORDS),
            record_bytes: Counts::new(registry_of, &list::RECORD_BYTES),
            events: Counts::new(registry_of, &list::EVENTS),
            rows_written: Counts::new(registry_of, &list::ROWS_WRITTEN),
            batches: Histograms::new(registry_of, &list::BATCHES),
            commits: Histograms::new(registry_of, &list::COMMITS),
            batches_failed: Counts::new(registry_of, &list::BATCHES_FAILED),
            log_errors: Counts::new(registry_of, &list::LOG_ERRORS),
            store_errors: Counts::new(registry_of, &list::STORE_ERRORS),
            store_retries: registered(registry_of, &list::STORE_RETRIES),
            epochs_lost: Counts::new(registry_of, &list::EPOCHS_LOST),
            partitions_moved: Counts::new(registry_of, &list::PARTITIONS_MOVED),
            requests: Counts::new(registry_of, &list::REQUESTS),
            operations: OperationKind::ALL.map(|kind| operations.with([kind.name().into()])),
            errors: Counts::new(registry_of, &list::ERRORS),
            reads: Counts::new(registry_of, &list::READS),
            rows_read: Counts::new(registry_of, &list::ROWS_READ),
            waits_reached: waits.with(["reached".into()]),
            waits_missed: waits.with(["missed".into()]),
            connections: registered(registry_of, &list::CONNECTIONS),
            limits_hit: Limit::ALL.map(|limit| limits.with([limit.name().into()])),
            spans_unqueued: lost.with(["queue full".into()]),
            spans_unsent: lost.with(["not taken".into()]),
            registry,
        }
    }

    /// What a projection counts.
    pub fn folding(&self, projection: &str) -> Folding {
        let name = || [Cow::Owned(projection.to_owned())];
        Folding {
            events: self.events.with(name()),
            batches: self.batches.with(name()),
            commits: self.commits.with(name()),
            failed: self.batches_failed.with(name()),
            epochs_lost: self.epochs_lost.with(name()),
            projection: projection.to_owned(),
        }
    }

    /// What is counted of a table that is read.
    pub fn reads(&self, table: &str) -> Reads {
        let name = || [Cow::Owned(table.to_owned())];
        Reads { reads: self.reads.with(name()), rows: self.rows_read.with(name()) }
    }

    /// Counts an error of the log, by its kind.
    pub fn log_error(&self, error: &'static str) {
        self.log_errors.with([error.into()]).inc();
    }

    /// Counts an error of the store, by its kind.
    pub fn store_error(&self, error: &'static str) {
        self.store_errors.with([error.into()]).inc();
    }

    /// Counts partitions that were `taken`, `handed over` or `lost`.
    pub fn partitions_moved(&self, how: &'static str, count: usize) {
        self.partitions_moved.with([how.into()]).inc_by(count as u64);
    }

    /// Counts a request by its route and the class of its status.
    pub fn request(&self, route: &'static str, status: u16) {
        let class = match status {
            ..200 => "1xx",
            200..300 => "2xx",
            300..400 => "3xx",
            400..500 => "4xx",
            500.. => "5xx",
        };
        self.requests.with([route.into(), class.into()]).inc();
    }

    /// Counts an operation and how long it took.
    pub fn operation(&self, kind: OperationKind, took: Duration) {
        self.operations[kind as usize].took(took);
    }

    /// Counts an error of an answer, by its code.
    pub fn error(&self, code: &'static str) {
        self.errors.with([code.into()]).inc();
    }

    /// Counts a request that was refused at a limit.
    pub fn limit_hit(&self, limit: Limit) {
        self.limits_hit[limit as usize].inc();
    }

    /// Counts a connection as open until this is dropped.
    pub fn connected(&self) -> impl Drop + Send + use<> {
        self.connections.inc();
        Connected(self.connections.clone())
    }
}

impl Folding {
    /// Counts records of a topic that were folded, and their bytes.
    pub fn records(&self, topic: &str, records: u64, bytes: usize) {
        let labels = || [Cow::Owned(self.projection.clone()), Cow::Owned(topic.to_owned())];
        metrics().records.with(labels()).inc_by(records);
        metrics().record_bytes.with(labels()).inc_by(bytes as u64);
    }

    /// Counts rows of a table that were written.
    pub fn rows_written(&self, table: &str, rows: u64) {
        let labels = [Cow::Owned(self.projection.clone()), Cow::Owned(table.to_owned())];
        metrics().rows_written.with(labels).inc_by(rows);
    }
}

impl Durations {
    /// Counts something that took so long.
    pub fn took(&self, duration: Duration) {
        self.0.observe(duration.as_secs_f64());
    }
}

struct Connected(Gauge);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Values of the labels of a metric, with their names, in the list's order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Labels(&'static [&'static str], Vec<Cow<'static, str>>);

impl Labels {
    pub fn new<const N: usize>(of: &Described, values: [Cow<'static, str>; N]) -> Labels {
        debug_assert_eq!(of.labels.len(), N, "{} has other labels", of.name);
        Labels(of.labels, values.into())
    }
}

impl EncodeLabelSet for Labels {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        let pairs: Vec<(&str, &str)> =
            self.0.iter().zip(&self.1).map(|(name, value)| (*name, value.as_ref())).collect();
        pairs.encode(encoder)
    }
}

/// A counter for each set of labels.
struct Counts {
    of: &'static Described,
    family: Family<Labels, Counter>,
}

impl Counts {
    fn new(registry: &mut Registry, of: &'static Described) -> Counts {
        Counts { of, family: registered(registry, of) }
    }

    fn with<const N: usize>(&self, values: [Cow<'static, str>; N]) -> Count {
        self.family.get_or_create_owned(&Labels::new(self.of, values))
    }
}

/// A histogram for each set of labels.
struct Histograms {
    of: &'static Described,
    family: Family<Labels, Histogram, fn() -> Histogram>,
}

/// Upper bounds of the histograms' buckets, in seconds.
const BUCKETS: [f64; 15] =
    [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

impl Histograms {
    fn new(registry: &mut Registry, of: &'static Described) -> Histograms {
        let make: fn() -> Histogram = || Histogram::new(BUCKETS);
        let family = Family::new_with_constructor(make);
        register(registry, of, family.clone());
        Histograms { of, family }
    }

    fn with<const N: usize>(&self, values: [Cow<'static, str>; N]) -> Durations {
        Durations(self.family.get_or_create_owned(&Labels::new(self.of, values)))
    }
}

/// A metric as the list has it.
pub(super) fn registered<M: Metric + Clone + Default>(registry: &mut Registry, of: &'static Described) -> M {
    let metric = M::default();
    register(registry, of, metric.clone());
    metric
}

fn register(registry: &mut Registry, of: &'static Described, metric: impl Metric) {
    match of.parts() {
        (name, Some(unit)) => registry.register_with_unit(name, of.help, unit, metric),
        (name, None) => registry.register(name, of.help, metric),
    }
}
