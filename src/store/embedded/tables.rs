//! One generation of tables in the embedded store, and how a batch is written to it.
//!
//! Comes in: batches. Goes out: one write of fjall's for each, then the new progress. Why plain deletes of copies are
//! enough: a batch and its progress are one atomic write and one process holds the store, so no write is ever late; an
//! event that comes again is skipped by the position of its base row before it makes a mutation. Base rows check their
//! offset all the same, so that an old batch cannot take a row back. `Assign` (kind A) does not: the events of such a
//! row may come from several partitions, whose offsets do not compare, and progress is what keeps them from coming twice.

use std::sync::{Arc, Mutex};

use fjall::{Database, Keyspace, PersistMode};
use futures_util::future::BoxFuture;
use quick_cache::sync::Cache;
use rustc_hash::FxHashMap;
use xxhash_rust::xxh3::xxh3_128;

use super::meta::{self, MetaWrites};
use super::open::{self, fault};
use super::rows::Table;
use super::{Durability, EmbeddedSettings};
use crate::event::Offset;
use crate::plan::{Plan, TableId};
use crate::schema::ColumnId;
use crate::store::layout;
use crate::store::ledger::{self, Ledger, lock};
use crate::store::{
    Batch, Columns, Mutation, Parked, ParkedKey, Progress, QueuedEvent, Scan, StoreError, StoredRow, Tables,
};
use crate::value::Value;
use crate::value::encode::RowKey;
use crate::value::row::{DecodedRow, decode_row, encode_row, row_head};

/// What all handles to one generation share.
pub(super) struct Generation {
    database: Database,
    meta: Keyspace,
    number: u32,
    ledger: Ledger,
    /// Held for a whole commit: it reads offsets before it writes.
    committing: Mutex<()>,
    /// Offsets of base rows that were written lately, by table and hash of the key: asking the tree for each row that is
    /// written again would cost more than writing it. 128 bits of hash: two keys of one hash are not to be expected.
    offsets: Cache<HashedKey, Offset>,
}

/// A table, and the hash of a key in it.
type HashedKey = (TableId, u128);

/// How many offsets are remembered; about 5 MiB.
const OFFSETS_MAX: usize = 65_536;

impl Generation {
    /// Reads progress and parked keys.
    pub fn load(database: &Database, meta: &Keyspace, number: u32) -> Result<Generation, StoreError> {
        let ledger = Ledger::new(meta::progress(meta, number)?, meta::parked(meta, number)?);
        Ok(Generation {
            database: database.clone(),
            meta: meta.clone(),
            number,
            ledger,
            committing: Mutex::new(()),
            offsets: Cache::new(OFFSETS_MAX),
        })
    }

    fn reload(&self) -> Result<(), StoreError> {
        let _no_commit = lock(&self.committing);
        self.ledger.set_parked(meta::parked(&self.meta, self.number)?);
        self.ledger.set_progress(meta::progress(&self.meta, self.number)?);
        Ok(())
    }
}

/// A handle to a generation, by a plan. A clone is the same handle.
#[derive(Clone)]
pub(super) struct EmbeddedTables {
    inner: Arc<Inner>,
}

struct Inner {
    generation: Arc<Generation>,
    durability: Durability,
    tables: Vec<Table>,
}

impl EmbeddedTables {
    /// Opens the tables of a plan, making those that are missing.
    pub fn open(
        database: &Database,
        settings: EmbeddedSettings,
        generation: Arc<Generation>,
        plan: &Plan,
    ) -> Result<EmbeddedTables, StoreError> {
        let suffix = open::generation_suffix(generation.number);
        let open = |layout: layout::Layout| {
            let name = format!("{}{suffix}", layout.table.name);
            let keyspace = open::keyspace(database, &name, settings)?;
            Ok(Table { layout, keyspace })
        };
        let tables = layout::layouts(plan).into_iter().map(open).collect::<Result<_, StoreError>>()?;
        let inner = Inner { generation, durability: settings.durability, tables };
        Ok(EmbeddedTables { inner: Arc::new(inner) })
    }
}

impl Tables for EmbeddedTables {
    fn get<'a>(
        &'a self,
        table: TableId,
        keys: &'a [RowKey],
        columns: Columns<'a>,
    ) -> BoxFuture<'a, Result<Vec<Option<StoredRow>>, StoreError>> {
        Box::pin(async move {
            let table = self.inner.table(table)?;
            let mut rows = Vec::with_capacity(keys.len());
            for key in keys {
                rows.push(table.get(key, columns)?);
            }
            Ok(rows)
        })
    }

    fn scan<'a>(&'a self, scan: Scan<'a>) -> BoxFuture<'a, Result<Vec<StoredRow>, StoreError>> {
        Box::pin(async move { self.inner.table(scan.table)?.scan(&scan) })
    }

    fn all<'a>(
        &'a self,
        table: TableId,
        after: Option<&'a RowKey>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<StoredRow>, StoreError>> {
        Box::pin(async move { self.inner.table(table)?.all(after, limit) })
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<(), StoreError>> {
        let inner = Arc::clone(&self.inner);
        Box::pin(async move {
            // A commit may wait for fjall's compaction or for the disk, so it must not hold up the runtime's thread.
            match tokio::runtime::Handle::try_current() {
                Ok(runtime) => match runtime.spawn_blocking(move || inner.commit(batch)).await {
                    Ok(result) => result,
                    Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                    Err(_) => Err(StoreError::Unavailable("the program is shutting down".to_owned())),
                },
                Err(_) => inner.commit(batch),
            }
        })
    }

    fn progress(&self) -> Arc<Progress> {
        self.inner.generation.ledger.progress()
    }

    fn reload(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async { self.inner.generation.reload() })
    }

    fn progress_changes(&self) -> tokio::sync::watch::Receiver<u64> {
        self.inner.generation.ledger.changes()
    }

    fn parked(&self) -> Arc<Parked> {
        self.inner.generation.ledger.parked()
    }

    fn parked_queue<'a>(
        &'a self,
        projection: &'a str,
        key: &'a ParkedKey,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<QueuedEvent>, StoreError>> {
        let generation = &self.inner.generation;
        Box::pin(async move { meta::queue(&generation.meta, generation.number, projection, key, limit) })
    }
}

/// What a batch will write, one entry for each row: fjall gives all of a batch one sequence number, so of two
/// writes of one key in it either might win.
type Pending<'b> = FxHashMap<(TableId, &'b RowKey), PendingRow>;

struct PendingRow {
    offset: Offset,
    /// `None` removes the row.
    bytes: Option<Vec<u8>>,
}

impl Inner {
    fn table(&self, id: TableId) -> Result<&Table, StoreError> {
        layout::of(&self.tables, id)
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        let generation = &*self.generation;
        let _one_at_a_time = lock(&generation.committing);
        let mut pending = Pending::default();
        pending.reserve(batch.buckets.len() + batch.derived.len() + batch.left.len() + batch.base.len());
        let written = batch.buckets.iter().chain(&batch.derived).chain(&batch.left).chain(&batch.base);
        for mutation in written {
            self.apply(&mut pending, mutation)?;
        }
        let mut progress = Progress::clone(&generation.ledger.progress());
        let moved = !ledger::advance(&mut progress, batch.progress).is_empty();
        let mut writes = MetaWrites::new(&generation.meta, generation.number);
        if moved {
            writes.progress(&progress);
        }
        let parked = writes.park(&generation.ledger.parked(), batch.parked)?;
        let written = self.write(pending, writes)?;
        for (place, offset) in written {
            generation.offsets.insert(place, offset);
        }
        if let Some(parked) = parked {
            generation.ledger.set_parked(parked);
        }
        if moved {
            generation.ledger.set_progress(progress);
        }
        Ok(())
    }

    /// Writes all at once. Answers the offsets of the base rows that were written.
    fn write(
        &self,
        pending: Pending<'_>,
        meta: MetaWrites<'_>,
    ) -> Result<Vec<(HashedKey, Offset)>, StoreError> {
        let mode = match self.durability {
            Durability::Buffer => PersistMode::Buffer,
            Durability::Sync => PersistMode::SyncData,
        };
        let mut write = self.generation.database.batch().durability(Some(mode));
        let mut written = Vec::with_capacity(pending.len());
        for ((table, key), row) in pending {
            let Table { layout, keyspace } = self.table(table)?;
            match row.bytes {
                Some(bytes) => {
                    if layout.is_base() {
                        written.push(((table, xxh3_128(key.bytes())), row.offset));
                    }
                    write.insert(keyspace, key.bytes(), bytes);
                }
                None => {
                    self.generation.offsets.remove(&(table, xxh3_128(key.bytes())));
                    write.remove(keyspace, key.bytes());
                }
            }
        }
        meta.into_batch(&mut write);
        write.commit().map_err(|error| fault("committing a batch", error))?;
        Ok(written)
    }

    fn apply<'b>(&self, pending: &mut Pending<'b>, mutation: &'b Mutation) -> Result<(), StoreError> {
        let table = self.table(mutation.table())?;
        let place = (mutation.table(), mutation.key());
        let offset = mutation.offset();
        let row = match mutation {
            Mutation::Assign { cells, .. } => assign(table, pending.get(&place), mutation, cells)?,
            _ if !self.passes(table, pending.get(&place), mutation)? => return Ok(()),
            Mutation::Replace { cells, .. } => PendingRow {
                offset,
                bytes: Some(encode_row(offset, true, cells, &table.layout.table.columns)),
            },
            Mutation::Bury { .. } => PendingRow { offset, bytes: Some(encode_row(offset, false, &[], &[])) },
            Mutation::Delete { .. } => PendingRow { offset, bytes: None },
        };
        pending.insert(place, row);
        Ok(())
    }

    /// Whether a write is newer than what stands there. What stands in the store is only asked for base rows.
    fn passes(
        &self,
        table: &Table,
        before: Option<&PendingRow>,
        mutation: &Mutation,
    ) -> Result<bool, StoreError> {
        let stored = match before {
            Some(row) => Some(row.offset),
            None if table.layout.is_base() => self.stored_offset(table, mutation)?,
            None => None,
        };
        // On one stamp a delete wins over a row.
        let wins_ties = matches!(mutation, Mutation::Delete { .. });
        Ok(stored.is_none_or(|stored| mutation.offset() > stored || wins_ties && mutation.offset() == stored))
    }

    fn stored_offset(&self, table: &Table, mutation: &Mutation) -> Result<Option<Offset>, StoreError> {
        let place = (mutation.table(), xxh3_128(mutation.key().bytes()));
        if let Some(offset) = self.generation.offsets.get(&place) {
            return Ok(Some(offset));
        }
        let Some(bytes) = table.bytes(mutation.key())? else {
            return Ok(None);
        };
        let (offset, _) = row_head(&bytes).map_err(|error| table.layout.corrupt(&error))?;
        Ok(Some(offset))
    }
}

/// The row with the assigned cells, everything else as it was.
fn assign(
    table: &Table,
    before: Option<&PendingRow>,
    mutation: &Mutation,
    assigned: &[(ColumnId, Value)],
) -> Result<PendingRow, StoreError> {
    let width = table.layout.width;
    let decode =
        |bytes: &[u8]| decode_row(bytes, Columns::All, width).map_err(|error| table.layout.corrupt(&error));
    let row = match before {
        Some(PendingRow { bytes: Some(bytes), .. }) => Some(decode(bytes)?),
        Some(PendingRow { bytes: None, .. }) => None,
        None => table.bytes(mutation.key())?.map(|bytes| decode(&bytes)).transpose()?,
    };
    let absent = || DecodedRow { offset: 0, live: false, cells: vec![Value::Null; width] };
    let mut row = row.unwrap_or_else(absent);
    for (column, value) in assigned {
        if let Some(cell) = row.cells.get_mut(column.0 as usize) {
            cell.clone_from(value);
        }
    }
    table.layout.fill_from_key(mutation.key(), &mut row.cells)?;
    let offset = row.offset.max(mutation.offset());
    Ok(PendingRow { offset, bytes: Some(encode_row(offset, true, &row.cells, &table.layout.table.columns)) })
}
