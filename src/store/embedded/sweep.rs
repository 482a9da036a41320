//! Frees what rows whose time is over take up, a bounded step at a time.
//!
//! Comes in: a time, and how many rows to look at. Goes out: what was freed. Rows of copies and entries of indexes are removed,
//! and the names of buckets that are empty then. Base rows are put aside, out of the partitions that are read: an event
//! that is late by its own time must find its row as it was, or a replay would come to something else. The sweep goes
//! round through all tables, and first where scans had to pass over many rows.

use std::ops::Bound;

use fjall::{OwnedWriteBatch as WriteBatch, PersistMode, UserValue};

use super::open::fault;
use super::rows::Table;
use super::tables::Inner;
use crate::plan::key;
use crate::plan::{KeyColumn, TableId, TablePlan, TableRole};
use crate::schema::KeyFunction;
use crate::store::ledger::lock;
use crate::store::{Mutation, StoreError, Swept};
use crate::value::Value;
use crate::value::encode::{Malformed, RowKey};

/// Most removed names of buckets that are remembered until rows come there again. Above that names stay.
const UNNAMED_MAX: usize = 10_000;

/// Where a sweep goes on: behind this key of this table.
#[derive(Debug, Default)]
pub(super) struct Place {
    table: usize,
    after: Option<Vec<u8>>,
}

/// A row whose time is over.
struct Over {
    key: Vec<u8>,
    bytes: UserValue,
}

impl Inner {
    /// One step of the sweep.
    pub fn sweep(&self, at_ms: i64, rows_max: usize) -> Result<Swept, StoreError> {
        let mut swept = Swept::default();
        for table in self.tables.iter().filter(|table| table.ends()) {
            let places = std::mem::take(&mut *lock(&table.crowded));
            for place in places {
                let room = rows_max - swept.looked_at;
                self.sweep_from(table, Bound::Included(place), (at_ms, room), &mut swept)?;
            }
        }
        let mut place = lock(&self.swept_to);
        // Once round at most.
        for _ in 0..self.tables.len() {
            let room = rows_max - swept.looked_at;
            if room == 0 {
                break;
            }
            let table = &self.tables[place.table];
            let from = place.after.take().map_or(Bound::Unbounded, Bound::Excluded);
            place.after = match table.layout.table.role {
                TableRole::Buckets { of } if self.table(of)?.ends() => {
                    self.sweep_names((table, self.table(of)?), from, room, &mut swept)?
                }
                _ if table.ends() => self.sweep_from(table, from, (at_ms, room), &mut swept)?,
                _ => None,
            };
            if place.after.is_none() {
                place.table = (place.table + 1) % self.tables.len();
            }
        }
        Ok(swept)
    }

    /// Sweeps so many rows from a place on; answers the last key, `None` at the table's end.
    fn sweep_from(
        &self,
        table: &Table,
        from: Bound<Vec<u8>>,
        (at_ms, rows_max): (i64, usize),
        swept: &mut Swept,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let _no_commit = lock(&self.generation.committing);
        let columns = table.ends_by();
        let (mut over, mut last, mut looked_at) = (Vec::new(), None, 0);
        for guard in table.keyspace.range::<Vec<u8>, _>((from, Bound::Unbounded)).take(rows_max) {
            let (key, bytes) = guard.into_inner().map_err(|error| table.fault(error))?;
            looked_at += 1;
            if table.is_over(&bytes, &columns, at_ms)? {
                over.push(Over { key: key.to_vec(), bytes });
            }
            last = Some(key.to_vec());
        }
        swept.looked_at += looked_at;
        self.free(table, &over)?;
        swept.freed += over.len();
        Ok(last.filter(|_| looked_at == rows_max))
    }

    /// Removes rows, or puts them aside.
    fn free(&self, table: &Table, over: &[Over]) -> Result<(), StoreError> {
        let mut write = self.batch(over.len());
        for Over { key, bytes } in over {
            write.remove(&table.keyspace, key.as_slice());
            if let Some(aside) = &table.aside {
                write.insert(aside, key.as_slice(), bytes.as_ref());
            }
        }
        write.commit().map_err(|error| fault("sweeping a table", error))
    }

    /// As `sweep_from`, of the names of buckets: removes those of buckets that have no row any more.
    fn sweep_names(
        &self,
        (names, of): (&Table, &Table),
        from: Bound<Vec<u8>>,
        rows_max: usize,
        swept: &mut Swept,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let _no_commit = lock(&self.generation.committing);
        let mut unnamed = lock(&self.generation.unnamed);
        let (mut write, mut removed) = (self.batch(1), Vec::new());
        let (mut last, mut looked_at) = (None, 0);
        for guard in names.keyspace.range::<Vec<u8>, _>((from, Bound::Unbounded)).take(rows_max) {
            let bytes = guard.key().map_err(|error| names.fault(error))?;
            looked_at += 1;
            let corrupt = |error| names.layout.corrupt(&error);
            let name = key::split_key(&names.layout.table, &bytes).map_err(corrupt)?;
            let partition = bucket_of(&names.layout.table, &of.layout.table, &name).map_err(corrupt)?;
            let is_empty = partition.is_some_and(|bytes| of.keyspace.prefix(bytes).next().is_none());
            if is_empty && unnamed.len() + removed.len() < UNNAMED_MAX {
                write.remove(&names.keyspace, name.bytes());
                removed.push((names.layout.table.id, name));
            }
            last = Some(bytes.to_vec());
        }
        write.commit().map_err(|error| fault("sweeping the names of buckets", error))?;
        swept.looked_at += looked_at;
        swept.freed += removed.len();
        unnamed.extend(removed);
        Ok(last.filter(|_| looked_at == rows_max))
    }

    /// The names that rows of a batch need and that a sweep has removed.
    pub fn renamed<'m>(
        &self,
        written: impl Iterator<Item = &'m Mutation>,
    ) -> Result<Vec<Mutation>, StoreError> {
        let unnamed = lock(&self.generation.unnamed);
        let mut names: Vec<Mutation> = Vec::new();
        if unnamed.is_empty() {
            return Ok(names);
        }
        for mutation in written {
            let Mutation::Replace { table, cells, offset, base, .. } = mutation else { continue };
            let Some(id) = self.table(*table)?.layout.table.buckets else { continue };
            let Some(key) = self.name_of(id, &cells.values())? else { continue };
            if unnamed.contains(&(id, key.clone())) {
                let (cells, offset, base) = (cells.clone(), *offset, *base);
                names.push(Mutation::Replace { table: id, key, cells, offset, base });
            }
        }
        Ok(names)
    }

    fn name_of(&self, names: TableId, cells: &[Value]) -> Result<Option<RowKey>, StoreError> {
        Ok(key::row_key(&self.table(names)?.layout.table, cells))
    }

    /// What is lost of it in a crash is swept again.
    fn batch(&self, capacity: usize) -> WriteBatch {
        WriteBatch::with_capacity(self.generation.database.clone(), capacity)
            .durability(Some(PersistMode::Buffer))
    }
}

/// The partition that a name of a bucket stands for.
fn bucket_of(names: &TablePlan, of: &TablePlan, name: &RowKey) -> Result<Option<Vec<u8>>, Malformed> {
    let mut values = key::key_values(names, name)?;
    let Some(bucket) = values.pop() else { return Ok(None) };
    let mut rest = values.into_iter();
    let part = |column: &KeyColumn| match column.part.via {
        KeyFunction::Bucket(_) => Some(bucket.clone()),
        _ => rest.next(),
    };
    let values: Option<Vec<Value>> = of.partition.iter().map(part).collect();
    Ok(values.and_then(|values| key::partition_bytes(of, &values)))
}
