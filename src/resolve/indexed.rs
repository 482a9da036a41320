//! Reads that indexes answer: ranges of entries, brought into the order of the table, and rows that must hold several
//! comparisons at once.
//!
//! Comes in: a slice of a partition, and how many rows of it are wanted. Goes out: those rows, as a scan of the table would
//! give them. A comparison beside the first is made with the base row, which always holds the column. What is looked at is
//! bounded: a read that needs more is refused, not cut short.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::plan::{ENTRIES_MAX, key};
use crate::schema::ColumnId;
use crate::store::{Columns, Scan, StoreError, StoredRow};
use crate::value::encode::{RowKey, take_part};

use super::range::{Edge, RangedSlice, tighter_from, tighter_to};
use super::walk::{PartitionRead, Shard};

/// Rows that are compared with filters in one read.
const CHUNK: usize = 128;

/// The entries of partitions, in the order of the table: read once for a page, whatever is asked of its surroundings.
#[derive(Default)]
pub(super) struct Gathered {
    partitions: Mutex<HashMap<Vec<u8>, Arc<Vec<StoredRow>>>>,
    read: AtomicUsize,
}

impl PartitionRead<'_> {
    /// The first rows of a slice for which everything holds.
    pub(super) async fn indexed(&self, shard: &Shard, limit: usize) -> Result<Vec<StoredRow>, StoreError> {
        let mut source = match &self.walk.range.ranged {
            Some(ranged) => Source::Sorted(self.sorted(ranged, shard).await?.into_iter()),
            None => Source::Scanned { from: shard.from.clone(), to: shard.to.clone(), ended: false },
        };
        let mut found = Vec::new();
        while found.len() < limit {
            let wanted = (limit - found.len()).max(CHUNK);
            let rows = self.next(&mut source, shard, wanted).await?;
            if rows.is_empty() {
                break;
            }
            found.extend(self.matching(rows).await?);
        }
        found.truncate(limit);
        Ok(found)
    }

    async fn next(
        &self,
        source: &mut Source,
        shard: &Shard,
        wanted: usize,
    ) -> Result<Vec<StoredRow>, StoreError> {
        let (from, to, ended) = match source {
            Source::Sorted(rows) => return Ok(rows.take(wanted).collect()),
            Source::Scanned { ended: true, .. } => return Ok(Vec::new()),
            Source::Scanned { from, to, ended } => (from, to, ended),
        };
        let columns = self.columns_and_key();
        let rows = self.scan((&shard.partition, from, to), wanted, &columns).await?;
        *ended = rows.len() < wanted;
        if let Some(last) = rows.last() {
            let read_to = Edge::Excluded(last.key.clustering().into());
            match self.reverse {
                true => *to = tighter_to(to, read_to),
                false => *from = tighter_from(from, read_to),
            }
        }
        Ok(rows)
    }

    /// Those of the rows for which all filters hold.
    async fn matching(&self, rows: Vec<StoredRow>) -> Result<Vec<StoredRow>, StoreError> {
        let (walk, filters) = (self.walk, &self.walk.range.filters);
        if filters.is_empty() {
            return Ok(rows);
        }
        let looked_at = self.looked_at.fetch_add(rows.len(), Ordering::Relaxed) + rows.len();
        if looked_at > ENTRIES_MAX + CHUNK {
            return Err(too_many());
        }
        let base = walk.plan.table(walk.plan.entity(walk.range.table.entity).base);
        let key = |row: &StoredRow| {
            key::row_key(base, &row.cells).ok_or_else(|| {
                StoreError::Corrupt(format!("a row of {:?} has no base key", walk.range.table.name))
            })
        };
        let keys = rows.iter().map(key).collect::<Result<Vec<RowKey>, StoreError>>()?;
        let mut columns: Vec<ColumnId> = filters.iter().map(|filter| filter.column).collect();
        columns.sort_unstable();
        columns.dedup();
        let stored = walk.tables.get(base.id, &keys, Columns::Only(&columns)).await?;
        let holds = |row: &Option<StoredRow>| {
            row.as_ref().is_some_and(|row| row.live && filters.iter().all(|filter| filter.holds(&row.cells)))
        };
        Ok(rows.into_iter().zip(&stored).filter(|(_, base)| holds(base)).map(|(row, _)| row).collect())
    }

    /// What of a partition's entries lies in a slice, in reading order.
    async fn sorted(&self, ranged: &RangedSlice, shard: &Shard) -> Result<Vec<StoredRow>, StoreError> {
        let all = self.gathered(ranged, &shard.partition).await?;
        let is_between = |row: &&StoredRow| {
            let place = row.key.clustering();
            shard.from.lets_in_above(place) && shard.to.lets_in_below(place)
        };
        let mut rows: Vec<StoredRow> = all.iter().filter(is_between).cloned().collect();
        if self.reverse {
            rows.reverse();
        }
        Ok(rows)
    }

    /// The entries of a partition under the keys that their rows have in the table, sorted.
    async fn gathered(
        &self,
        ranged: &RangedSlice,
        partition: &[u8],
    ) -> Result<Arc<Vec<StoredRow>>, StoreError> {
        let Gathered { partitions, read } = &self.walk.entries;
        let known = || partitions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(rows) = known().get(partition) {
            return Ok(Arc::clone(rows));
        }
        let room = ENTRIES_MAX.saturating_sub(read.load(Ordering::Relaxed));
        let scan = Scan {
            table: ranged.entries.id,
            partition,
            from: ranged.from.bound(),
            to: ranged.to.bound(),
            reverse: false,
            limit: room + 1,
            columns: Columns::Only(&self.columns_and_key()),
            at_ms: Some(self.walk.at_ms),
        };
        let mut rows = self.walk.tables.scan(scan).await?;
        if read.fetch_add(rows.len(), Ordering::Relaxed) + rows.len() > ENTRIES_MAX {
            return Err(too_many());
        }
        let column = ranged.entries.indexed();
        for row in &mut rows {
            let mut place = row.key.clustering();
            take_part(&mut place, &column.ty, column.order)
                .map_err(|error| StoreError::Corrupt(format!("table {:?}: {error}", ranged.entries.name)))?;
            row.key = RowKey::new(partition.to_vec(), place);
        }
        rows.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        let rows = Arc::new(rows);
        known().insert(partition.to_vec(), Arc::clone(&rows));
        Ok(rows)
    }

    /// The columns of the page, and those that lead to base rows.
    fn columns_and_key(&self) -> Vec<ColumnId> {
        let entity = self.walk.plan.entity(self.walk.range.table.entity);
        let mut columns = [self.walk.columns, &entity.base_key].concat();
        columns.sort_unstable();
        columns.dedup();
        columns
    }
}

/// Where rows come from.
enum Source {
    Sorted(std::vec::IntoIter<StoredRow>),
    Scanned { from: Edge, to: Edge, ended: bool },
}

fn too_many() -> StoreError {
    StoreError::Bounded(format!(
        "More than {ENTRIES_MAX} rows of this partition match one of the filters, more than a page looks at. Narrow it: \
         bound the range more closely, or filter by what fewer rows have."
    ))
}
