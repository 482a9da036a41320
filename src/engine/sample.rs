//! Measures what definitions make of a real log: rows and bytes in a partition, writes in a second.
//!
//! Comes in: definitions, a log, and how many events to read at most for each projection. Goes out: a [`Sample`]. Rows
//! are folded in memory, and nothing is written. An event that cannot be applied is left out and counted. Partitions are
//! read one beside the other: of rows fed by several the order is approximate, their sizes hardly.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::engine::Definitions;
use crate::event::{Event, Offset, Record, Reject, Taken, TopicPartition};
use crate::expr::Slot;
use crate::fold::{self, State, Undo};
use crate::handler::Projection;
use crate::lint::{Sample, TableSample};
use crate::plan::{TablePlan, TableRole, key};
use crate::route::{Routed, RowEvents, route};
use crate::source::{Source, SourceError};
use crate::value::Value;
use crate::value::encode::RowKey;
use crate::value::row::encode_row;

/// Bytes that are read at once.
const READ_BYTES: usize = 1 << 20;

/// Folds at most `events_max` events for each projection; `told` hears how many have been read.
///
/// # Errors
/// The log cannot be read. A topic that is not there yet is empty.
pub async fn sample(
    definitions: &Definitions,
    source: &dyn Source,
    events_max: u64,
    mut told: impl FnMut(u64),
) -> Result<Sample, SourceError> {
    let mut sample = Sample::default();
    for projection in &definitions.projections {
        let entity = definitions.plan.entity(projection.entity);
        let ids = std::iter::once(&entity.base).chain(&entity.copies);
        let tables = ids.map(|id| &**definitions.plan.table(*id));
        let tables = tables.filter(|table| matches!(table.role, TableRole::Base | TableRole::Copy));
        let mut folding = Folding {
            projection,
            tables: tables.map(|table| (table, FxHashMap::default())).collect(),
            rows: FxHashMap::default(),
        };
        read(&mut folding, source, events_max, &mut sample, &mut told).await?;
        sample.tables.extend(folding.measured());
    }
    Ok(sample)
}

/// The writes to each partition, by its hash, in each second.
type Rates = FxHashMap<(u64, i64), u64>;

struct Folding<'a> {
    projection: &'a Projection,
    /// The base table first.
    tables: Vec<(&'a TablePlan, Rates)>,
    rows: FxHashMap<RowKey, State>,
}

async fn read(
    folding: &mut Folding<'_>,
    source: &dyn Source,
    events_max: u64,
    sample: &mut Sample,
    told: &mut impl FnMut(u64),
) -> Result<(), SourceError> {
    let mut open: Vec<(TopicPartition, Offset, Offset)> = Vec::new();
    for from in &folding.projection.sources {
        let Some(topic) = source.topic(&from.topic).await? else { continue };
        let numbered = (0..).zip(&topic.partitions);
        open.extend(numbered.filter(|(_, found)| found.start < found.end).map(|(partition, found)| {
            let at = TopicPartition { topic: Arc::clone(&topic.name), partition };
            (at, found.start, found.end)
        }));
    }
    let total: u64 = open.iter().map(|(_, start, end)| end - start).sum();
    sample.of += total;
    // An even share of each partition, so that each is read from its start.
    let share = events_max.div_ceil(open.len().max(1) as u64);
    let from: Vec<(TopicPartition, Offset)> =
        open.iter().map(|(at, start, _)| (at.clone(), *start)).collect();
    let mut left: FxHashMap<TopicPartition, u64> =
        open.iter().map(|(at, start, end)| (at.clone(), share.min(end - start))).collect();
    if left.is_empty() {
        return Ok(());
    }
    let mut reader = source.read(&from).await?;
    while left.values().any(|left| *left > 0) {
        let fetched = reader.next(READ_BYTES).await?;
        let Some(wanted) = left.get_mut(&fetched.at) else { continue };
        for record in fetched.records.iter().take(usize::try_from(*wanted).unwrap_or(usize::MAX)) {
            *wanted -= 1;
            sample.events += 1;
            folding.record(&fetched.at, record, sample);
        }
        // What a compacted log no longer has will not come.
        if fetched.next >= fetched.end {
            *wanted = 0;
        }
        told(sample.events);
    }
    Ok(())
}

impl Folding<'_> {
    fn record(&mut self, at: &TopicPartition, record: &Record, sample: &mut Sample) {
        let (base, _) = self.tables[0];
        match route(self.projection, base, at, record) {
            Routed::Ignore => {}
            Routed::Stop(_) | Routed::Rejected { .. } => sample.rejected += 1,
            Routed::Delete { key, time_ms, .. } => {
                self.change((key, time_ms), sample, |_, row| Ok(fold::delete(row)));
            }
            Routed::Event { key, key_cells, event } => {
                note_type(at, &event, sample);
                let fold = |projection: &Projection, row: &mut State| {
                    fold::apply(projection, &key_cells, row, &event)
                };
                self.change((key, event.time_ms), sample, fold);
            }
            Routed::Events(rows) => {
                note_types(at, &rows, sample);
                for row in rows {
                    let Some(time_ms) = row.events.first().map(|taken| taken.event.time_ms) else { continue };
                    self.change((row.key, time_ms), sample, |projection, state| {
                        fold::apply_all(projection, &row.key_cells, state, &row.events)
                    });
                }
            }
            Routed::Range { ranges, event } => {
                note_type(at, &event, sample);
                let taken = [Taken { event: Arc::clone(&event), element: None }];
                let held = |key: &&RowKey| ranges.iter().any(|range| range.has(key));
                let keys: Vec<RowKey> = self.rows.keys().filter(held).cloned().collect();
                for key in keys {
                    let fold = |projection: &Projection, row: &mut State| {
                        fold::apply_all(projection, &[], row, &taken)
                    };
                    self.change((key, event.time_ms), sample, fold);
                }
            }
        }
    }

    /// Changes a row, and counts the write or the reject.
    fn change(
        &mut self,
        (key, time_ms): (RowKey, i64),
        sample: &mut Sample,
        fold: impl FnOnce(&Projection, &mut State) -> Result<Option<Undo>, Reject>,
    ) {
        match fold(self.projection, self.rows.entry(key.clone()).or_default()) {
            Ok(Some(_)) => self.count(&key, time_ms),
            Ok(None) => {}
            Err(_) => sample.rejected += 1,
        }
    }

    /// Counts a write to the partition of each table where the row is now.
    fn count(&mut self, row_key: &RowKey, time_ms: i64) {
        let Some(Some(cells)) = self.rows.get(row_key) else { return };
        for (table, rates) in &mut self.tables {
            if let Some(key) = place(table, cells) {
                let partition = xxhash_rust::xxh64::xxh64(key.partition(), 0);
                *rates.entry((partition, time_ms.div_euclid(1_000))).or_default() += 1;
            }
        }
    }

    fn measured(&self) -> Vec<TableSample> {
        self.tables.iter().map(|(table, rates)| self.table(table, rates)).collect()
    }

    fn table(&self, table: &TablePlan, rates: &Rates) -> TableSample {
        let mut partitions: FxHashMap<Box<[u8]>, (u64, u64)> = FxHashMap::default();
        let mut measured = TableSample {
            table: table.id,
            name: table.name.clone(),
            partitions: 0,
            rows: 0,
            rows_max: 0,
            bytes_max: 0,
            rate_max: rates.values().copied().max().unwrap_or(0),
            cell_bytes_max: 0,
            key_bytes_max: 0,
        };
        for cells in self.rows.values().flatten() {
            let Some(key) = place(table, cells) else { continue };
            let size = |columns: &[_]| encode_row(0, true, cells, columns).len() as u64;
            let (rows, bytes) = partitions.entry(key.partition().into()).or_default();
            *rows += 1;
            *bytes += size(&table.columns) + key.clustering().len() as u64;
            measured.rows += 1;
            measured.key_bytes_max = measured.key_bytes_max.max(key.bytes().len() as u64);
            let cell = table.columns.iter().map(|column| size(&[*column])).max().unwrap_or(0);
            measured.cell_bytes_max = measured.cell_bytes_max.max(cell);
        }
        measured.partitions = partitions.len() as u64;
        measured.rows_max = partitions.values().map(|(rows, _)| *rows).max().unwrap_or(0);
        measured.bytes_max = partitions.values().map(|(_, bytes)| *bytes).max().unwrap_or(0);
        measured
    }
}

fn note_type(at: &TopicPartition, event: &Event, sample: &mut Sample) {
    let topic = sample.types.entry(at.topic.to_string()).or_default();
    *topic.entry(event.kind.to_string()).or_default() += 1;
}

/// Each event of a record once, however many rows take it.
fn note_types(at: &TopicPartition, rows: &[RowEvents], sample: &mut Sample) {
    let mut noted = FxHashSet::default();
    for taken in rows.iter().flat_map(|row| &row.events) {
        if noted.insert(Arc::as_ptr(&taken.event)) {
            note_type(at, &taken.event, sample);
        }
    }
}

/// Where a row stands in a table; `None` where it is not in it.
fn place(table: &TablePlan, cells: &[Value]) -> Option<RowKey> {
    let is_held = match &table.filter {
        None => true,
        Some(filter) => filter.holds(&[Slot::Record(Some(cells))]).unwrap_or(false),
    };
    is_held.then(|| key::row_key(table, cells)).flatten()
}
