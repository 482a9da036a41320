//! Measures what definitions make of a real log: rows and bytes in a partition, writes in a second.
//!
//! Comes in: definitions, a log, and how many events to read at most for each projection. Goes out: a [`Sample`]. Rows
//! are folded in memory, never more than events were read, and nothing is written. An event that cannot be applied is
//! left out and counted.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::engine::Definitions;
use crate::event::{Offset, Record, TopicPartition};
use crate::expr::Slot;
use crate::fold::{self, State};
use crate::handler::Projection;
use crate::lint::{Sample, TableSample};
use crate::plan::{TablePlan, TableRole, key};
use crate::route::{Routed, route};
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
    rows: FxHashMap<Box<[u8]>, State>,
}

async fn read(
    folding: &mut Folding<'_>,
    source: &dyn Source,
    events_max: u64,
    sample: &mut Sample,
    told: &mut impl FnMut(u64),
) -> Result<(), SourceError> {
    let Some(topic) = source.topic(&folding.projection.from.topic).await? else { return Ok(()) };
    let numbered = (0..).zip(&topic.partitions);
    let open: Vec<(TopicPartition, Offset, Offset)> = numbered
        .filter(|(_, partition)| partition.start < partition.end)
        .map(|(number, found)| {
            (TopicPartition { topic: Arc::clone(&topic.name), partition: number }, found.start, found.end)
        })
        .collect();
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
        let (row_key, time_ms, is_changed) = match route(self.projection, base, at, record) {
            Routed::Ignore => return,
            Routed::Stop(_) | Routed::Rejected { .. } => {
                sample.rejected += 1;
                return;
            }
            Routed::Delete { key, time_ms, .. } => {
                let row = self.rows.get_mut(key.bytes());
                let is_changed = row.is_some_and(|row| fold::delete(row).is_some());
                (key, time_ms, is_changed)
            }
            Routed::Event { key, key_cells, event } => {
                let topic = sample.types.entry(at.topic.to_string()).or_default();
                *topic.entry(event.kind.to_string()).or_default() += 1;
                let row = self.rows.entry(key.bytes().into()).or_default();
                match fold::apply(self.projection, &key_cells, row, &event) {
                    Ok(undo) => (key, event.time_ms, undo.is_some()),
                    Err(_) => {
                        sample.rejected += 1;
                        return;
                    }
                }
            }
        };
        if is_changed {
            self.count(&row_key, time_ms);
        }
    }

    /// Counts a write to the partition of each table where the row is now.
    fn count(&mut self, row_key: &RowKey, time_ms: i64) {
        let Some(Some(cells)) = self.rows.get(row_key.bytes()) else { return };
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

/// Where a row stands in a table; `None` where it is not in it.
fn place(table: &TablePlan, cells: &[Value]) -> Option<RowKey> {
    let is_held = match &table.filter {
        None => true,
        Some(filter) => filter.holds(&[Slot::Record(Some(cells))]).unwrap_or(false),
    };
    is_held.then(|| key::row_key(table, cells)).flatten()
}
