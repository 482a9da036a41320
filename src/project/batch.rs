//! The writes of one key: what folding its events made of the row, and of every copy of it.
//!
//! Comes in: the row as stored, and its states event by event. Goes out: mutations, sorted into the phases of a
//! [`Batch`]. Rules B2 to B7 of the write protocol, in the replacement form: what is written under a key replaces
//! what stood there, whoever wrote it; every copy key that was current at any point of the batch and is not the
//! final one is deleted, whether this process wrote it or not.

use std::collections::BTreeMap;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::event::Offset;
use crate::expr::{Fault, Read, Slot};
use crate::fold::{ColumnSet, State};
use crate::plan::{EntityPlan, Plan, TableId, TablePlan, key};
use crate::schema::ColumnId;
use crate::store::{Batch, Mutation, RowCells};
use crate::value::Value;
use crate::value::encode::RowKey;

/// The copies of an entity, and which columns matter to each.
pub struct Copies {
    list: Vec<Copy>,
    /// The table of the base table's non-empty buckets.
    base_buckets: Option<Arc<TablePlan>>,
}

struct Copy {
    table: Arc<TablePlan>,
    /// The table of its non-empty buckets.
    buckets: Option<Arc<TablePlan>>,
    /// Columns that its key is made of or its `where` reads: only they move it.
    place: ColumnSet,
    /// All columns that it holds or that move it.
    held: ColumnSet,
}

impl Copies {
    /// The copies of an entity.
    pub fn of(plan: &Plan, entity: &EntityPlan) -> Copies {
        let all: ColumnSet = plan.table(entity.base).columns.iter().copied().collect();
        let copy = |id: &TableId| {
            let table = Arc::clone(plan.table(*id));
            let mut place: ColumnSet =
                table.partition.iter().chain(&table.clustering).map(|column| column.part.column).collect();
            let mut held = table.columns.iter().copied().collect::<ColumnSet>();
            for read in table.filter.iter().flat_map(|filter| &filter.reads) {
                match read {
                    Read::Column(_, column) => place.insert(*column),
                    // It reads the row as a whole.
                    Read::Slot(_) | Read::Field(..) => place.extend(&all),
                }
            }
            held.extend(&place);
            Copy { buckets: table.buckets.map(|id| Arc::clone(plan.table(id))), table, place, held }
        };
        let base_buckets = plan.table(entity.base).buckets.map(|id| Arc::clone(plan.table(id)));
        Copies { list: entity.copies.iter().map(copy).collect(), base_buckets }
    }
}

/// Where the copies of one row have stood through a batch.
pub struct Trail {
    /// Offset of the last event that changed the row; `None` until one has.
    changed_at: Option<Offset>,
    /// The columns that were changed.
    changed: ColumnSet,
    /// One for each copy of the entity.
    copies: SmallVec<[CopyTrail; 3]>,
}

/// The keys of a row in one copy.
type Keys = SmallVec<[RowKey; 1]>;

struct CopyTrail {
    /// Where the copies of the present state stand, each with whether it has stood there since before the batch. More
    /// than one only of entries of an index of a collection.
    current: SmallVec<[(RowKey, bool); 1]>,
    /// Keys that were left, with the offset of the event that last left each.
    left: Vec<(RowKey, Offset)>,
}

impl Trail {
    /// Begins with the row as it is stored.
    ///
    /// # Errors
    /// A `where` that has no value for the stored row.
    pub fn begin(copies: &Copies, stored: &State) -> Result<Trail, Fault> {
        let mut trails = SmallVec::with_capacity(copies.list.len());
        for copy in &copies.list {
            let current = copy_keys(&copy.table, stored.as_ref())?;
            trails.push(CopyTrail {
                current: current.into_iter().map(|key| (key, true)).collect(),
                left: Vec::new(),
            });
        }
        Ok(Trail { changed_at: None, changed: ColumnSet::default(), copies: trails })
    }

    /// Takes the state after the event at `offset`, which changed these columns. On an error nothing has changed.
    ///
    /// # Errors
    /// A `where` that has no value for the new state.
    pub fn advance(
        &mut self,
        copies: &Copies,
        offset: Offset,
        state: &State,
        changed: &ColumnSet,
    ) -> Result<(), Fault> {
        let mut keys: SmallVec<[Option<Keys>; 3]> = SmallVec::with_capacity(copies.list.len());
        for copy in &copies.list {
            let moves = changed.meets(&copy.place);
            keys.push(moves.then(|| copy_keys(&copy.table, state.as_ref())).transpose()?);
        }
        for (copy, key) in self.copies.iter_mut().zip(keys) {
            if let Some(key) = key {
                copy.move_to(key, offset);
            }
        }
        self.changed.extend(changed);
        self.changed_at = Some(offset);
        Ok(())
    }

    /// Adds the writes of the row to a batch: its cells as they now stand, and as they are written; `None` where it is gone. A copy that stands where it stood, and of whose
    /// columns none was changed, is not written again: the base row stored before says that it is there.
    /// `known_bucket` answers whether a bucket's name is surely stored already.
    pub fn finish(
        self,
        copies: &Copies,
        base_table: TableId,
        (key, row): (&RowKey, Option<(&[Value], &RowCells)>),
        base: i64,
        batch: &mut Batch,
        mut known_bucket: impl FnMut(&TablePlan, &RowKey) -> bool,
    ) {
        let Some(offset) = self.changed_at else { return };
        for (copy, trail) in copies.list.iter().zip(self.copies) {
            let table = copy.table.id;
            for (key, left_at) in trail.left {
                if trail.current.iter().all(|(current, _)| *current != key) {
                    batch.left.push(Mutation::Delete { table, key, offset: left_at, base });
                }
            }
            let Some((cells, written)) = row else { continue };
            let changed = self.changed.meets(&copy.held);
            for (key, _) in trail.current.into_iter().filter(|(_, stayed)| changed || !stayed) {
                if let Some(names) = &copy.buckets {
                    push_name(names, (cells, written), (offset, base), batch, &mut known_bucket);
                }
                batch.derived.push(replace(table, key, written, offset, base));
            }
        }
        let key = key.clone();
        if let (Some(names), Some(row)) = (&copies.base_buckets, row) {
            push_name(names, row, (offset, base), batch, &mut known_bucket);
        }
        batch.base.push(match row {
            Some((_, written)) => replace(base_table, key, written, offset, base),
            None => Mutation::Bury { table: base_table, key, offset, base },
        });
    }
}

impl CopyTrail {
    /// Takes where the copies stand after an event. What it left, even where it comes back later, was left.
    fn move_to(&mut self, keys: Keys, offset: Offset) {
        if self.current.iter().map(|(key, _)| key).eq(&keys) {
            return;
        }
        let before = std::mem::take(&mut self.current);
        for (old, _) in before.iter().filter(|(old, _)| !keys.contains(old)) {
            self.left.retain(|(left, _)| left != old);
            self.left.push((old.clone(), offset));
        }
        let stayed = |key: &RowKey| before.iter().any(|(old, stayed)| *stayed && old == key);
        let current = |key: RowKey| {
            let has_stayed = stayed(&key);
            (key, has_stayed)
        };
        self.current = keys.into_iter().map(current).collect();
    }
}

/// What a batch assigns to one row of kind A.
#[derive(Default)]
pub struct Assigned {
    /// The last value of each column.
    pub cells: BTreeMap<ColumnId, Value>,
    /// Offset of the last event that assigned.
    pub set_at: Option<Offset>,
}

/// Adds the writes of a row of kind A. `row` holds the row's key: all that the keys and `where`s of its copies may
/// rest on, so a copy stands in the same place for ever.
pub fn assign(
    plan: &Plan,
    entity: &EntityPlan,
    (key, row): (RowKey, &[Value]),
    set: Assigned,
    base: i64,
    batch: &mut Batch,
    mut known_bucket: impl FnMut(&TablePlan, &RowKey) -> bool,
) {
    let row = Arc::new(row.to_vec());
    let written = RowCells::Values(Arc::clone(&row));
    let cells: Vec<(ColumnId, Value)> = set.cells.into_iter().collect();
    let Some(offset) = set.set_at else { return };
    let mut name_bucket = |table: TableId, batch: &mut Batch| {
        if let Some(names) = plan.table(table).buckets {
            push_name(plan.table(names), (&row, &written), (offset, base), batch, &mut known_bucket);
        }
    };
    for id in &entity.copies {
        // A `where` over key columns has a value, or `check` would have made the projection kind B.
        for copy in copy_keys(plan.table(*id), Some(&row)).unwrap_or_default() {
            name_bucket(*id, batch);
            batch.derived.push(Mutation::Assign {
                table: *id,
                key: copy,
                cells: cells.clone(),
                offset,
                base,
            });
        }
    }
    name_bucket(entity.base, batch);
    batch.base.push(Mutation::Assign { table: entity.base, key, cells, offset, base });
}

/// Adds the name of the bucket in which a row stands, unless it is surely stored already.
fn push_name(
    names: &TablePlan,
    (cells, written): (&[Value], &RowCells),
    (offset, base): (Offset, i64),
    batch: &mut Batch,
    known_bucket: &mut impl FnMut(&TablePlan, &RowKey) -> bool,
) {
    let name = key::row_key(names, cells).expect("the key columns of a table's rows are set");
    if !known_bucket(names, &name) {
        batch.buckets.push(replace(names.id, name, written, offset, base));
    }
}

fn replace(table: TableId, key: RowKey, written: &RowCells, offset: Offset, base: i64) -> Mutation {
    Mutation::Replace { table, key, cells: written.clone(), offset, base }
}

/// Where the copies of a row stand in a table: nowhere if the row is not there, a key column is null, or the
/// table's `where` does not hold.
fn copy_keys(table: &TablePlan, state: Option<&Arc<Vec<Value>>>) -> Result<Keys, Fault> {
    let Some(cells) = state else { return Ok(Keys::new()) };
    if let Some(filter) = &table.filter
        && !filter.holds(&[Slot::Record(Some(cells))])?
    {
        return Ok(Keys::new());
    }
    Ok(key::row_keys(table, cells))
}
