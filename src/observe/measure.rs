//! Metrics that are looked at when they are asked for, and the text of all.
//!
//! Comes in: what an engine knows of its state. Goes out: the text that `/metrics` answers, in the OpenMetrics format.

use std::fmt;

use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::count::{Labels, metrics, registered};
use super::list::{self, Described};
use super::memory;

/// The state of an engine at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measured {
    /// The generation that is folded or answers; 0 while there is none.
    pub generation: u32,
    pub projections: Vec<MeasuredProjection>,
    /// Bytes that write loops may hold, and hold, between fetch and commit; `None` where none run.
    pub budget: Option<(usize, usize)>,
}

/// A projection at that moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MeasuredProjection {
    pub name: String,
    /// One of [`STATES`].
    pub state: &'static str,
    /// Age of the last event folded, in milliseconds; 0 where there is no newer one.
    pub lag_ms: u64,
    pub parked_keys: usize,
    /// Those that it is seen in: of a process that folds, those that are its own.
    pub partitions: Vec<MeasuredPartition>,
}

/// A projection in one partition.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MeasuredPartition {
    pub topic: String,
    pub partition: u32,
    pub position: u64,
    pub end: u64,
    /// Whether rows are folded from it, and not from an internal topic that it goes through.
    pub is_folded: bool,
}

/// States of a projection.
pub const STATES: [&str; 8] =
    ["running", "catching up", "waiting", "paused", "stalled", "halted", "stopped", "folded elsewhere"];

/// All metrics as text: those that were counted, and the state of an engine.
pub fn text(measured: &Measured) -> String {
    let mut registry = Registry::default();
    let mut gauges = Gauges(&mut registry);
    gauges.engine(measured);
    gauges.process();
    let mut text = String::new();
    let written = encode_registry(&mut text, &metrics().registry)
        .and_then(|()| encode_registry(&mut text, &registry))
        .and_then(|()| encode_eof(&mut text));
    if let Err(fmt::Error) = written {
        // Writing to memory fails for nobody; a metric of ours that cannot be written is left out by who reads.
        tracing::error!("Metrics could not be written.");
    }
    text
}

struct Gauges<'r>(&'r mut Registry);

impl Gauges<'_> {
    fn engine(&mut self, measured: &Measured) {
        self.one(&list::GENERATION, i64::from(measured.generation));
        if let Some((max, held)) = measured.budget {
            self.one(&list::BUDGET, number(max as u64));
            self.one(&list::BUDGET_HELD, number(held as u64));
        }
        let position = self.family(&list::POSITION);
        let end = self.family(&list::LOG_END);
        let lag = self.family(&list::LAG_EVENTS);
        let lag_seconds: Family<Labels, Gauge<f64, std::sync::atomic::AtomicU64>> =
            registered(self.0, &list::LAG_SECONDS);
        let states = self.family(&list::STATE);
        let parked = self.family(&list::PARKED_KEYS);
        let partitions = self.family(&list::PARTITIONS);
        for projection in &measured.projections {
            let name = || projection.name.clone().into();
            for one in &projection.partitions {
                let at = || [name(), one.topic.clone().into(), one.partition.to_string().into()];
                position.get_or_create(&Labels::new(&list::POSITION, at())).set(number(one.position));
                end.get_or_create(&Labels::new(&list::LOG_END, at())).set(number(one.end));
                let behind = one.end.saturating_sub(one.position);
                lag.get_or_create(&Labels::new(&list::LAG_EVENTS, at())).set(number(behind));
            }
            let seconds = projection.lag_ms as f64 / 1_000.0;
            lag_seconds.get_or_create(&Labels::new(&list::LAG_SECONDS, [name()])).set(seconds);
            for state in STATES {
                let is_it = i64::from(state == projection.state);
                states.get_or_create(&Labels::new(&list::STATE, [name(), state.into()])).set(is_it);
            }
            let keys = number(projection.parked_keys as u64);
            parked.get_or_create(&Labels::new(&list::PARKED_KEYS, [name()])).set(keys);
            if measured.budget.is_some() {
                let folded = projection.partitions.iter().filter(|one| one.is_folded);
                let count = number(folded.count() as u64);
                partitions.get_or_create(&Labels::new(&list::PARTITIONS, [name()])).set(count);
            }
        }
    }

    fn process(&mut self) {
        let build = self.family(&list::BUILD);
        build.get_or_create(&Labels::new(&list::BUILD, [env!("CARGO_PKG_VERSION").into()])).set(1);
        if let Some(bytes) = memory::resident_bytes() {
            self.one(&list::MEMORY, number(bytes));
        }
        if let Some(files) = memory::open_files() {
            self.one(&list::OPEN_FILES, number(files));
        }
    }

    fn family(&mut self, of: &'static Described) -> Family<Labels, Gauge> {
        registered(self.0, of)
    }

    fn one(&mut self, of: &'static Described, value: i64) {
        let gauge: Gauge = registered(self.0, of);
        gauge.set(value);
    }
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
