//! What a projector counts, once for each batch.
//!
//! Comes in: how much was folded, and what a batch writes. Goes out: the metrics of the projection. What is
//! counted has been committed; of a batch that fails and is tried again one fetch at most is counted twice.

use tokio::time::Instant;

use crate::handler::Projection;
use crate::observe::{Folding, metrics};
use crate::plan::{Plan, TableId};
use crate::project::Halt;
use crate::store::{Batch, Mutation, StoreError};

/// The metrics of one projection.
pub(super) struct Counts(Folding);

/// What was folded of one partition and is not counted yet.
pub(super) struct Tally {
    begun: Instant,
    records: usize,
    bytes: usize,
    events: usize,
}

/// Rows of a batch by table, and when it was sent.
pub(super) struct Written {
    sent: Instant,
    rows: Vec<(TableId, u64)>,
}

impl Default for Tally {
    fn default() -> Tally {
        Tally { begun: Instant::now(), records: 0, bytes: 0, events: 0 }
    }
}

impl Tally {
    /// Adds records that were read.
    pub fn records(&mut self, records: usize, bytes: usize) {
        self.records += records;
        self.bytes += bytes;
    }

    /// Adds what rows take of them.
    pub fn events(&mut self, events: usize) {
        self.events += events;
    }
}

impl Counts {
    pub fn new(projection: &Projection) -> Counts {
        Counts(metrics().folding(&projection.name))
    }

    /// Counts what was folded, now that it is committed.
    pub fn batch(&self, topic: &str, tally: Tally) {
        self.0.batches.took(tally.begun.elapsed());
        self.0.records(topic, tally.records as u64, tally.bytes);
        self.0.events.inc_by(tally.events as u64);
    }

    /// What a batch writes.
    pub fn written(&self, batch: &Batch) -> Written {
        let mut rows: Vec<(TableId, u64)> = Vec::new();
        let phases = [&batch.buckets, &batch.derived, &batch.left, &batch.base];
        for table in phases.into_iter().flatten().map(Mutation::table) {
            match rows.iter_mut().find(|(known, _)| *known == table) {
                Some((_, count)) => *count += 1,
                None => rows.push((table, 1)),
            }
        }
        Written { sent: Instant::now(), rows }
    }

    /// Counts it, now that the store has it.
    pub fn committed(&self, plan: &Plan, written: Written) {
        self.0.commits.took(written.sent.elapsed());
        for (table, rows) in written.rows {
            self.0.rows_written(&plan.table(table).name, rows);
        }
    }

    /// Counts why a batch has failed.
    pub fn failed(&self, halt: &Halt) {
        match halt {
            Halt::Store(error) => {
                metrics().store_error(error.name());
                match error {
                    StoreError::Unavailable(_) => drop(self.0.failed.inc()),
                    StoreError::LostOwnership { .. } => drop(self.0.epochs_lost.inc()),
                    _ => {}
                }
            }
            Halt::Source(error) => {
                metrics().log_error(error.name());
                if let crate::source::SourceError::Unavailable(_) = error {
                    self.0.failed.inc();
                }
            }
            _ => {}
        }
    }
}
