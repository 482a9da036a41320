//! The store in memory: the model of Cassandra that simulations run on.
//!
//! Each cell has the stamp of its write, each row that of its last delete; the later wins, whatever came first. On
//! equal stamps a delete beats a value, and the larger value beats the smaller. There are no row markers: a row is
//! there while its live cell is. Writes can be lost, be late or come twice ([`Fate`]). `row` has one row, `parked` the keys
//! that wait, `coordination` what processes tell each other. Nothing is kept on disk and tombstones are never purged.

mod coordination;
mod parked;
mod row;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::Bound as RangeBound;
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;

use super::coordination::{Coordination, Pause};
use super::layout::{self, Layout};
use super::ledger::{self, Ledger, lock};
use super::{
    Batch, Columns, Manifest, Mutation, Owner, ParkChange, Parked, ParkedEntry, ParkedItem, ParkedKey,
    ParkedPage, Profile, Progress, ProgressMark, QueuedEvent, Scan, Store, StoreError, StoredRow, Tables,
};
use crate::event::TopicPartition;
use crate::plan::{Plan, TableId};
use crate::value::Value;
use crate::value::encode::RowKey;
use row::Row;

/// What becomes of one write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Applied and acknowledged.
    Applied,
    /// Applied and acknowledged, and once more at the next [`MemoryStore::release`].
    Repeated,
    /// Applied, but the acknowledgement is lost: the commit fails.
    Unacknowledged,
    /// Not applied before the next [`MemoryStore::release`]; the commit fails.
    Late,
    /// Never applied; the commit fails.
    Lost,
}

/// Decides what becomes of each write. Called once for each, in the order in which they are sent.
pub type Faults = Box<dyn FnMut(Write<'_>) -> Fate + Send>;

/// One write of a batch.
#[derive(Clone, Copy, Debug)]
pub enum Write<'a> {
    Row(&'a Mutation),
    Park(&'a ParkChange),
    Progress(&'a ProgressMark),
    /// A partition is taken.
    Own(&'a Owner),
}

/// Generations of tables in memory. A clone is the same store.
#[derive(Clone, Default)]
pub struct MemoryStore {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    manifest: Mutex<Option<Manifest>>,
    generations: Mutex<BTreeMap<u32, Arc<Generation>>>,
    /// `None`: every write is applied.
    faults: Mutex<Option<Faults>>,
    /// Whether it says of itself that batches are applied whole.
    is_atomic: bool,
}

/// One generation's data; outlives the handles to it, as a database outlives its clients.
struct Generation {
    data: Mutex<Data>,
    ledger: Ledger,
    said: coordination::Said,
}

#[derive(Default)]
struct Data {
    /// By the table's name, so that a plan made anew finds its tables.
    tables: HashMap<String, BTreeMap<RowKey, Row>>,
    parked: parked::ParkedData,
    /// Writes that are yet to come, with the name of their table.
    held: Vec<(String, Mutation)>,
    /// Decisions that are yet to come, with the owner who must own the partition then.
    held_decisions: Vec<(ParkChange, Owner)>,
}

impl Inner {
    fn profile(&self) -> Profile {
        match self.is_atomic {
            true => Profile::Atomic,
            false => Profile::Stamped,
        }
    }
}

impl MemoryStore {
    /// An empty store in which every write is applied at once.
    pub fn new() -> MemoryStore {
        MemoryStore::default()
    }

    /// An empty store that says of itself that it applies batches whole, as it does where nobody cuts them.
    pub fn atomic() -> MemoryStore {
        MemoryStore { inner: Arc::new(Inner { is_atomic: true, ..Inner::default() }) }
    }

    /// An empty store whose writes meet the given fates.
    pub fn with_faults(faults: impl FnMut(Write<'_>) -> Fate + Send + 'static) -> MemoryStore {
        let store = MemoryStore::default();
        *lock(&store.inner.faults) = Some(Box::new(faults));
        store
    }

    /// Applies the writes of all generations that were late, and those that come twice, the last sent first.
    pub fn release(&self) {
        for generation in lock(&self.inner.generations).values() {
            let mut data = lock(&generation.data);
            while let Some((table, mutation)) = data.held.pop() {
                data.apply(&table, &mutation);
            }
            drop(data);
            generation.take_held_decisions();
        }
    }
}

impl Generation {
    /// Applies decisions that were late, the last sent first; not those of who is not the owner any more.
    fn take_held_decisions(&self) {
        let mut data = lock(&self.data);
        while let Some((change, owner)) = data.held_decisions.pop() {
            if self.ledger.epochs().check(&owner).is_ok() {
                // One that holds no more changes nothing.
                let _ = self.ledger.change_parked(|parked| data.parked.change(parked, change));
            }
        }
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let generations: Vec<u32> = lock(&self.inner.generations).keys().copied().collect();
        f.debug_struct("MemoryStore").field("generations", &generations).finish_non_exhaustive()
    }
}

impl Store for MemoryStore {
    fn profile(&self) -> Profile {
        self.inner.profile()
    }

    fn manifest(&self) -> BoxFuture<'_, Result<Option<Manifest>, StoreError>> {
        Box::pin(async { Ok(lock(&self.inner.manifest).clone()) })
    }

    fn set_manifest<'a>(
        &'a self,
        expected: Option<&'a Manifest>,
        new: &'a Manifest,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move {
            let mut manifest = lock(&self.inner.manifest);
            let matches = manifest.as_ref() == expected;
            if matches {
                *manifest = Some(new.clone());
            }
            Ok(matches)
        })
    }

    fn open<'a>(
        &'a self,
        generation: u32,
        plan: &'a Arc<Plan>,
    ) -> BoxFuture<'a, Result<Arc<dyn Tables>, StoreError>> {
        Box::pin(async move {
            let mut generations = lock(&self.inner.generations);
            let generation = generations.entry(generation).or_insert_with(|| {
                let ledger = Ledger::new(Progress::default(), Parked::default());
                let said = coordination::Said::default();
                Arc::new(Generation { data: Mutex::default(), ledger, said })
            });
            let tables = MemoryTables {
                store: Arc::clone(&self.inner),
                generation: Arc::clone(generation),
                layouts: layout::layouts(plan),
            };
            Ok(Arc::new(tables) as Arc<dyn Tables>)
        })
    }

    fn drop_generation(&self, generation: u32) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            lock(&self.inner.generations).remove(&generation);
            Ok(())
        })
    }
}

/// A handle to one generation.
struct MemoryTables {
    store: Arc<Inner>,
    generation: Arc<Generation>,
    layouts: Vec<Layout>,
}

impl Tables for MemoryTables {
    fn profile(&self) -> Profile {
        self.store.profile()
    }

    fn get<'a>(
        &'a self,
        table: TableId,
        keys: &'a [RowKey],
        columns: Columns<'a>,
    ) -> BoxFuture<'a, Result<Vec<Option<StoredRow>>, StoreError>> {
        Box::pin(async move {
            let layout = layout::of(&self.layouts, table)?;
            let data = lock(&self.generation.data);
            let rows = data.tables.get(&*layout.table.space());
            let read = |key: &RowKey| match rows.and_then(|rows| rows.get(key)) {
                Some(row) => stored(layout, key, row, columns),
                None => Ok(None),
            };
            keys.iter().map(read).collect()
        })
    }

    fn scan<'a>(&'a self, scan: Scan<'a>) -> BoxFuture<'a, Result<Vec<StoredRow>, StoreError>> {
        Box::pin(async move {
            let layout = layout::of(&self.layouts, scan.table)?;
            let data = lock(&self.generation.data);
            let (Some(rows), Some(range)) =
                (data.tables.get(&*layout.table.space()), layout::range_of(&scan))
            else {
                return Ok(Vec::new());
            };
            let first = RangeBound::Included(bound_key(range.first));
            let end = range.end.map_or(RangeBound::Unbounded, |end| RangeBound::Excluded(bound_key(end)));
            let range = rows.range((first, end));
            if scan.reverse {
                living(layout, range.rev(), scan.columns, scan.limit, scan.at_ms)
            } else {
                living(layout, range, scan.columns, scan.limit, scan.at_ms)
            }
        })
    }

    fn all<'a>(
        &'a self,
        table: TableId,
        after: Option<&'a RowKey>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<StoredRow>, StoreError>> {
        Box::pin(async move {
            let layout = layout::of(&self.layouts, table)?;
            let data = lock(&self.generation.data);
            let Some(rows) = data.tables.get(&*layout.table.space()) else {
                return Ok(Vec::new());
            };
            let first = after.map_or(RangeBound::Unbounded, RangeBound::Excluded);
            living(layout, rows.range::<RowKey, _>((first, RangeBound::Unbounded)), Columns::All, limit, None)
        })
    }

    fn own<'a>(
        &'a self,
        projection: &'a Arc<str>,
        partitions: &'a [TopicPartition],
    ) -> BoxFuture<'a, Result<Vec<Owner>, StoreError>> {
        Box::pin(async move { self.take(projection, partitions) })
    }

    fn check_owners<'a>(&'a self, owners: &'a [Owner]) -> BoxFuture<'a, Result<(), StoreError>> {
        let epochs = self.generation.ledger.epochs();
        let checked = owners.iter().try_for_each(|owner| epochs.check(owner));
        Box::pin(async { checked })
    }

    fn commit(&self, mut batch: Batch) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            if self.store.is_atomic {
                self.generation.ledger.epochs().check_all(&batch)?;
            }
            let mut phase = |rows: fn(&mut Batch) -> &mut Vec<Mutation>| std::mem::take(rows(&mut batch));
            let phases = [
                phase(|batch| &mut batch.buckets),
                phase(|batch| &mut batch.derived),
                phase(|batch| &mut batch.left),
                phase(|batch| &mut batch.base),
            ];
            phases.into_iter().try_for_each(|rows| self.send_rows(rows))?;
            self.send_parked(&batch)?;
            self.send_progress(batch.progress)
        })
    }

    fn progress(&self) -> Arc<Progress> {
        self.generation.ledger.progress()
    }

    fn reload(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        // The ledger is the store: there is nothing to read anew, but what was decided.
        Box::pin(async {
            self.generation.take_held_decisions();
            Ok(())
        })
    }

    fn progress_changes(&self) -> tokio::sync::watch::Receiver<u64> {
        self.generation.ledger.changes()
    }

    fn parked(&self) -> Parked {
        self.generation.ledger.parked()
    }

    fn parked_page<'a>(&'a self, page: ParkedPage<'a>) -> BoxFuture<'a, Result<Vec<ParkedItem>, StoreError>> {
        Box::pin(async move { Ok(lock(&self.generation.data).parked.page(page)) })
    }

    fn parked_entry<'a>(
        &'a self,
        projection: &'a str,
        key: &'a ParkedKey,
    ) -> BoxFuture<'a, Result<Option<ParkedEntry>, StoreError>> {
        Box::pin(async move { Ok(lock(&self.generation.data).parked.entry(projection, key)) })
    }

    fn parked_queue<'a>(
        &'a self,
        projection: &'a str,
        key: &'a ParkedKey,
        after: Option<&'a QueuedEvent>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<QueuedEvent>, StoreError>> {
        Box::pin(async move { Ok(lock(&self.generation.data).parked.queue(projection, key, after, limit)) })
    }

    fn pauses(&self) -> BoxFuture<'_, Result<Vec<Pause>, StoreError>> {
        Box::pin(async { Ok(self.generation.said.pauses()) })
    }

    fn pause<'a>(&'a self, pause: &'a Pause) -> BoxFuture<'a, Result<Pause, StoreError>> {
        Box::pin(async { Ok(self.generation.said.pause(pause)) })
    }

    fn resume<'a>(&'a self, projection: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async {
            self.generation.said.resume(projection);
            Ok(())
        })
    }

    fn coordination(&self) -> Option<&dyn Coordination> {
        (!self.store.is_atomic).then_some(&self.generation.said as &dyn Coordination)
    }
}

impl MemoryTables {
    fn fate(&self, write: Write<'_>) -> Fate {
        lock(&self.store.faults).as_mut().map_or(Fate::Applied, |faults| faults(write))
    }

    /// Sends one phase of rows. All of it is sent before a failure is told, as a driver with many writes in flight does.
    fn send_rows(&self, phase: Vec<Mutation>) -> Result<(), StoreError> {
        let mut failed = 0;
        for mutation in phase {
            let name = layout::of(&self.layouts, mutation.table())?.table.space();
            let fate = self.fate(Write::Row(&mutation));
            let mut data = lock(&self.generation.data);
            if fate.applies() {
                data.apply(&name, &mutation);
            }
            if matches!(fate, Fate::Repeated | Fate::Late) {
                data.held.push((name.into_owned(), mutation));
            }
            failed += usize::from(!fate.acknowledges());
        }
        acknowledged(failed, "rows")
    }

    /// Raises the epoch of each partition.
    fn take(&self, projection: &Arc<str>, partitions: &[TopicPartition]) -> Result<Vec<Owner>, StoreError> {
        let mut failed = 0;
        let owners = self.generation.ledger.epochs().next(projection, partitions);
        for owner in &owners {
            let fate = self.fate(Write::Own(owner));
            failed += usize::from(!fate.acknowledges());
            if fate.applies() {
                self.generation.ledger.epochs().set(owner);
            }
        }
        acknowledged(failed, "ownership")?;
        Ok(owners)
    }

    fn send_parked(&self, batch: &Batch) -> Result<(), StoreError> {
        let mut data = lock(&self.generation.data);
        for change in &batch.parked {
            let owner = batch.owner_of(change.projection(), &change.event().at);
            self.generation.ledger.epochs().check(&owner)?;
            let fate = self.fate(Write::Park(change));
            if fate.applies() {
                let ledger = &self.generation.ledger;
                ledger.change_parked(|parked| data.parked.change(parked, change.clone()))?;
            }
            if matches!(fate, Fate::Repeated | Fate::Late) {
                data.held_decisions.push((change.clone(), owner));
            }
            acknowledged(usize::from(!fate.acknowledges()), "decisions to park")?;
        }
        Ok(())
    }

    fn send_progress(&self, marks: Vec<ProgressMark>) -> Result<(), StoreError> {
        let (mut failed, mut kept) = (0, Vec::with_capacity(marks.len()));
        for mark in marks {
            let fate = self.fate(Write::Progress(&mark));
            failed += usize::from(!fate.acknowledges());
            if fate.applies() {
                kept.push(mark);
            }
        }
        let _one_at_a_time = lock(&self.generation.data);
        let mut progress = Progress::clone(&self.generation.ledger.progress());
        if !ledger::advance(&mut progress, kept).is_empty() {
            self.generation.ledger.set_progress(progress);
        }
        acknowledged(failed, "progress marks")
    }
}

fn acknowledged(failed: usize, what: &str) -> Result<(), StoreError> {
    if failed == 0 {
        return Ok(());
    }
    Err(StoreError::Unavailable(format!("{failed} writes of {what} were not acknowledged")))
}

impl Fate {
    fn applies(self) -> bool {
        matches!(self, Fate::Applied | Fate::Repeated | Fate::Unacknowledged)
    }

    fn acknowledges(self) -> bool {
        matches!(self, Fate::Applied | Fate::Repeated)
    }
}

/// A key that stands before all keys with these bytes or more.
fn bound_key(bytes: Vec<u8>) -> RowKey {
    RowKey::split(bytes, 0).expect("an empty partition fits any bytes")
}

fn living<'r>(
    layout: &Layout,
    rows: impl Iterator<Item = (&'r RowKey, &'r Row)>,
    columns: Columns<'_>,
    limit: usize,
    at_ms: Option<i64>,
) -> Result<Vec<StoredRow>, StoreError> {
    let is_over = |row: &StoredRow| at_ms.is_some_and(|at_ms| layout.table.is_over(&row.cells, at_ms));
    let (mut found, mut passed) = (Vec::new(), 0);
    for (key, row) in rows.filter(|(_, row)| row.is_live()) {
        if found.len() == limit {
            break;
        }
        let Some(mut row) = stored(layout, key, row, Columns::All)? else { continue };
        if is_over(&row) {
            passed += 1;
            if passed > super::OVER_MAX {
                return Err(super::too_many_over(&layout.table.name));
            }
            continue;
        }
        super::keep_wanted(columns, &mut row.cells);
        found.push(row);
    }
    Ok(found)
}

/// The row as a reader sees it; `None` if nothing of it is visible, or it is a copy that is not there.
fn stored(
    layout: &Layout,
    key: &RowKey,
    row: &Row,
    columns: Columns<'_>,
) -> Result<Option<StoredRow>, StoreError> {
    let live = row.is_live();
    let Some(offset) = row.offset().filter(|_| live || layout.is_base()) else {
        return Ok(None);
    };
    let mut cells = vec![Value::Null; layout.width];
    if live {
        // A mutation carries the whole row; the table has some of its columns.
        for (column, value) in row.cells().filter(|(column, _)| layout.table.columns.contains(column)) {
            if let Some(slot) = cells.get_mut(column.0 as usize) {
                slot.clone_from(value);
            }
        }
        layout.fill_from_key(key, &mut cells)?;
        super::keep_wanted(columns, &mut cells);
    }
    Ok(Some(StoredRow { key: key.clone(), offset, live, cells }))
}

impl Data {
    fn apply(&mut self, table: &str, mutation: &Mutation) {
        if !self.tables.contains_key(table) {
            self.tables.insert(table.to_owned(), BTreeMap::new());
        }
        let rows = self.tables.get_mut(table).expect("it was made above if it was missing");
        rows.entry(mutation.key().clone()).or_default().apply(mutation);
    }
}
