//! One generation of tables in the embedded store, and how a batch is committed to it.
//!
//! Comes in: batches. Goes out: one write of fjall's for each, then the new progress. Why plain deletes of copies are
//! enough: a batch and its progress are one atomic write and one process holds the store, so no write is ever late; an
//! event that comes again is skipped by the position of its base row before it makes a mutation. Base rows check their
//! offset all the same, so that an old batch cannot take a row back; only a batch that begins where its partition's
//! progress stands was surely made from these rows, and is spared the reads. `Assign` (kind A) does not: the events of such a
//! row may come from several partitions, whose offsets do not compare, and progress is what keeps them from coming twice.

use std::sync::{Arc, Mutex};

use fjall::{Database, Keyspace, OwnedWriteBatch as WriteBatch, PersistMode};
use futures_util::future::BoxFuture;
use rustc_hash::FxHashSet;

use super::memtables::Gathered;
use super::meta::{self, MetaWrites};
use super::open::{self, fault};
use super::parked::{self, ParkedWrites};
use super::rows::Table;
use super::sweep::Place;
use super::{Durability, EmbeddedSettings};
use crate::event::TopicPartition;
use crate::plan::{Plan, TableId};
use crate::store::coordination::Pause;
use crate::store::layout;
use crate::store::ledger::{self, Ledger, lock};
use crate::store::{
    Batch, Columns, Owner, Parked, ParkedEntry, ParkedItem, ParkedKey, ParkedPage, Profile, Progress,
    QueuedEvent, Scan, StoreError, StoredRow, Swept, Tables,
};
use crate::value::encode::RowKey;

/// What all handles to one generation share.
pub(super) struct Generation {
    pub database: Database,
    meta: Keyspace,
    number: u32,
    ledger: Ledger,
    /// Held for a whole commit, and for a step of a sweep: they read before they write.
    pub committing: Mutex<()>,
    /// Names of buckets that a sweep has removed. A projector may take them for stored, so whoever writes a row there
    /// writes the name again.
    pub unnamed: Mutex<FxHashSet<(TableId, RowKey)>>,
}

impl Generation {
    /// Reads progress, owners and parked keys.
    pub fn load(database: &Database, meta: &Keyspace, number: u32) -> Result<Generation, StoreError> {
        let ledger = Ledger::new(meta::progress(meta, number)?, parked::parked(meta, number)?);
        *ledger.epochs() = meta::epochs(meta, number)?;
        Ok(Generation {
            database: database.clone(),
            meta: meta.clone(),
            number,
            ledger,
            committing: Mutex::new(()),
            unnamed: Mutex::default(),
        })
    }

    fn reload(&self) -> Result<(), StoreError> {
        let _no_commit = lock(&self.committing);
        self.ledger.set_parked(parked::parked(&self.meta, self.number)?);
        self.ledger.set_progress(meta::progress(&self.meta, self.number)?);
        Ok(())
    }
}

/// A handle to a generation, by a plan. A clone is the same handle.
#[derive(Clone)]
pub(super) struct EmbeddedTables {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub generation: Arc<Generation>,
    pub durability: Durability,
    /// Bytes that one table, and all together, may gather in memory.
    pub memtables: (u64, u64),
    pub tables: Vec<Table>,
    /// Where the sweep goes on.
    pub swept_to: Mutex<Place>,
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
        let has_progress = !generation.ledger.progress().marks.is_empty();
        let open = |layout: layout::Layout| {
            let name = format!("{}{suffix}", layout.table.space());
            if has_progress && !database.keyspace_exists(&name) {
                let reason = format!("table {name:?} is gone, though events were folded into it");
                return Err(StoreError::Corrupt(reason));
            }
            let keyspace = open::keyspace(database, &name, settings)?;
            let ends = layout.is_base() && !layout.table.expires.is_empty();
            let aside = ends.then(|| {
                open::keyspace(database, &format!("{}__over{suffix}", layout.table.space()), settings)
            });
            Ok(Table {
                layout,
                keyspace,
                aside: aside.transpose()?,
                crowded: Mutex::default(),
                gathered: Gathered::default(),
            })
        };
        let tables = layout::layouts(plan).into_iter().map(open).collect::<Result<_, StoreError>>()?;
        let swept_to = Mutex::default();
        let memtables = (settings.memtable_bytes, settings.memtables_bytes);
        let inner = Inner { generation, durability: settings.durability, memtables, tables, swept_to };
        Ok(EmbeddedTables { inner: Arc::new(inner) })
    }
}

impl EmbeddedTables {
    /// Does what writes: it may wait for fjall's compaction or for the disk, so it must not hold up the runtime's thread.
    fn aside<T: Send + 'static>(
        &self,
        write: impl FnOnce(&Inner) -> Result<T, StoreError> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, StoreError>> {
        let inner = Arc::clone(&self.inner);
        Box::pin(async move {
            match tokio::runtime::Handle::try_current() {
                Ok(runtime) => match runtime.spawn_blocking(move || write(&inner)).await {
                    Ok(result) => result,
                    Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                    Err(_) => Err(StoreError::Unavailable("the program is shutting down".to_owned())),
                },
                Err(_) => write(&inner),
            }
        })
    }
}

impl Tables for EmbeddedTables {
    fn profile(&self) -> Profile {
        Profile::Atomic
    }

    fn keeps_encoded(&self) -> bool {
        true
    }

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

    fn sweep(&self, at_ms: i64, rows_max: usize) -> BoxFuture<'_, Result<Swept, StoreError>> {
        self.aside(move |inner| inner.sweep(at_ms, rows_max))
    }

    fn own<'a>(
        &'a self,
        projection: &'a Arc<str>,
        partitions: &'a [TopicPartition],
    ) -> BoxFuture<'a, Result<Vec<Owner>, StoreError>> {
        let (projection, partitions) = (Arc::clone(projection), partitions.to_vec());
        self.aside(move |inner| inner.own(&projection, &partitions))
    }

    fn check_owners<'a>(&'a self, owners: &'a [Owner]) -> BoxFuture<'a, Result<(), StoreError>> {
        let epochs = self.inner.generation.ledger.epochs();
        let checked = owners.iter().try_for_each(|owner| epochs.check(owner));
        Box::pin(async { checked })
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<(), StoreError>> {
        self.aside(move |inner| inner.commit(batch))
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

    fn parked(&self) -> Parked {
        self.inner.generation.ledger.parked()
    }

    fn parked_page<'a>(&'a self, page: ParkedPage<'a>) -> BoxFuture<'a, Result<Vec<ParkedItem>, StoreError>> {
        let generation = &self.inner.generation;
        Box::pin(async move { parked::page(&generation.meta, generation.number, page) })
    }

    fn parked_entry<'a>(
        &'a self,
        projection: &'a str,
        key: &'a ParkedKey,
    ) -> BoxFuture<'a, Result<Option<ParkedEntry>, StoreError>> {
        let generation = &self.inner.generation;
        Box::pin(async move { parked::entry(&generation.meta, generation.number, projection, key) })
    }

    fn parked_queue<'a>(
        &'a self,
        projection: &'a str,
        key: &'a ParkedKey,
        after: Option<&'a QueuedEvent>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<QueuedEvent>, StoreError>> {
        let generation = &self.inner.generation;
        Box::pin(async move {
            parked::queue(&generation.meta, generation.number, (projection, key), after, limit)
        })
    }

    fn pauses(&self) -> BoxFuture<'_, Result<Vec<Pause>, StoreError>> {
        let generation = &self.inner.generation;
        Box::pin(async { meta::pauses(&generation.meta, generation.number) })
    }

    fn pause<'a>(&'a self, pause: &'a Pause) -> BoxFuture<'a, Result<Pause, StoreError>> {
        let pause = pause.clone();
        self.aside(move |inner| inner.pause(pause))
    }

    fn resume<'a>(&'a self, projection: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        let projection = projection.to_owned();
        self.aside(move |inner| {
            let Generation { database, meta, number, .. } = &*inner.generation;
            meta::set_pause((database, meta), *number, &projection, None)
        })
    }
}

impl Inner {
    pub fn table(&self, id: TableId) -> Result<&Table, StoreError> {
        layout::of(&self.tables, id)
    }

    /// Raises the epochs of partitions: one process holds the store, so what is in memory is what is stored.
    fn own(&self, projection: &Arc<str>, partitions: &[TopicPartition]) -> Result<Vec<Owner>, StoreError> {
        let generation = &*self.generation;
        let _no_commit = lock(&generation.committing);
        let owners = generation.ledger.epochs().next(projection, partitions);
        let mut write = WriteBatch::with_capacity(generation.database.clone(), owners.len());
        meta::own(&generation.meta, generation.number, &owners, &mut write);
        let written = write.durability(Some(self.mode())).commit();
        written.map_err(|error| fault("taking ownership", error))?;
        owners.iter().for_each(|owner| generation.ledger.epochs().set(owner));
        Ok(owners)
    }

    fn pause(&self, pause: Pause) -> Result<Pause, StoreError> {
        let Generation { database, meta, number, committing, .. } = &*self.generation;
        let _one_at_a_time = lock(committing);
        let known = meta::pauses(meta, *number)?;
        if let Some(standing) = known.into_iter().find(|known| known.projection == pause.projection) {
            return Ok(standing);
        }
        meta::set_pause((database, meta), *number, &pause.projection, Some(&pause))?;
        Ok(pause)
    }

    /// When a write counts as done.
    pub(super) fn mode(&self) -> PersistMode {
        match self.durability {
            Durability::Buffer => PersistMode::Buffer,
            Durability::Sync => PersistMode::SyncData,
        }
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        let generation = &*self.generation;
        let _one_at_a_time = lock(&generation.committing);
        generation.ledger.epochs().check_all(&batch)?;
        let mut progress = Progress::clone(&generation.ledger.progress());
        let is_next = continues(&progress, &batch);
        let named = self.renamed(batch.derived.iter().chain(&batch.base))?;
        let phases = [batch.buckets, batch.derived, batch.left, batch.base];
        let mut mutations = Vec::with_capacity(named.len() + phases.iter().map(Vec::len).sum::<usize>());
        mutations.extend(named.iter().cloned());
        mutations.extend(phases.into_iter().flatten());
        let moved = !ledger::advance(&mut progress, batch.progress).is_empty();
        let mut writes = MetaWrites::new(&generation.meta, generation.number);
        if moved {
            writes.progress(&progress);
        }
        let place = (&generation.meta, generation.number);
        let parked = ParkedWrites::of(place, batch.parked, &generation.ledger.parked())?;
        self.write(mutations, (writes, &parked), is_next)?;
        let mut unnamed = lock(&generation.unnamed);
        for mutation in named {
            unnamed.remove(&(mutation.table(), mutation.key().clone()));
        }
        drop(unnamed);
        if !parked.is_empty() {
            generation.ledger.change_parked(|shown| parked.show(shown));
        }
        if moved {
            generation.ledger.set_progress(progress);
        }
        Ok(())
    }
}

/// Whether a batch begins where the stored progress of its partition stands.
fn continues(progress: &Progress, batch: &Batch) -> bool {
    let [mark] = batch.progress.as_slice() else { return false };
    let stored = progress.of(&mark.projection, &mark.at);
    stored.is_some_and(|stored| batch.begins_at == Some(stored.next))
}
