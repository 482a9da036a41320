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
use crate::expr::{Fault, Slot};
use crate::fold::State;
use crate::plan::{EntityPlan, Plan, TablePlan, key};
use crate::schema::ColumnId;
use crate::store::{Batch, Mutation};
use crate::value::Value;
use crate::value::encode::RowKey;

/// Where the copies of one row have stood through a batch.
pub struct Trail {
    /// Offset of the last event that changed the row; `None` until one has.
    changed_at: Option<Offset>,
    /// One for each copy of the entity.
    copies: SmallVec<[CopyTrail; 3]>,
}

struct CopyTrail {
    /// Where the copy of the present state stands.
    current: Option<RowKey>,
    /// Keys that were left, with the offset of the event that last left each.
    left: Vec<(RowKey, Offset)>,
}

impl Trail {
    /// Begins with the row as it is stored.
    ///
    /// # Errors
    /// A `where` that has no value for the stored row.
    pub fn begin(plan: &Plan, entity: &EntityPlan, stored: &State) -> Result<Trail, Fault> {
        let mut copies = SmallVec::with_capacity(entity.copies.len());
        for id in &entity.copies {
            copies.push(CopyTrail { current: copy_key(plan.table(*id), stored.as_ref())?, left: Vec::new() });
        }
        Ok(Trail { changed_at: None, copies })
    }

    /// Takes the state after the event at `offset`. On an error nothing has changed.
    ///
    /// # Errors
    /// A `where` that has no value for the new state.
    pub fn advance(
        &mut self,
        plan: &Plan,
        entity: &EntityPlan,
        offset: Offset,
        state: &State,
    ) -> Result<(), Fault> {
        let mut keys: SmallVec<[Option<RowKey>; 3]> = SmallVec::with_capacity(entity.copies.len());
        for id in &entity.copies {
            keys.push(copy_key(plan.table(*id), state.as_ref())?);
        }
        for (copy, key) in self.copies.iter_mut().zip(keys) {
            if copy.current != key
                && let Some(old) = std::mem::replace(&mut copy.current, key)
            {
                copy.left.retain(|(left, _)| *left != old);
                copy.left.push((old, offset));
            }
        }
        self.changed_at = Some(offset);
        Ok(())
    }

    /// Adds the writes of the row, as it now stands, to a batch. `known_bucket` answers whether a bucket's name is
    /// surely stored already.
    pub fn finish(
        self,
        plan: &Plan,
        entity: &EntityPlan,
        (key, state): (&RowKey, &State),
        base: i64,
        batch: &mut Batch,
        mut known_bucket: impl FnMut(&TablePlan, &RowKey) -> bool,
    ) {
        let Some(offset) = self.changed_at else { return };
        for (id, copy) in entity.copies.iter().zip(self.copies) {
            for (key, left_at) in copy.left {
                if copy.current.as_ref() != Some(&key) {
                    batch.left.push(Mutation::Delete { table: *id, key, offset: left_at, base });
                }
            }
            if let (Some(key), Some(cells)) = (copy.current, state) {
                if let Some(buckets) = plan.table(*id).buckets {
                    let names = plan.table(buckets);
                    let name = key::row_key(names, cells).expect("a copy's key columns are set");
                    if !known_bucket(names, &name) {
                        batch.buckets.push(replace(buckets, name, cells, offset, base));
                    }
                }
                batch.derived.push(replace(*id, key, cells, offset, base));
            }
        }
        let key = key.clone();
        batch.base.push(match state {
            Some(cells) => replace(entity.base, key, cells, offset, base),
            None => Mutation::Bury { table: entity.base, key, offset, base },
        });
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
    key: RowKey,
    row: &[Value],
    set: Assigned,
    base: i64,
    batch: &mut Batch,
) {
    let row = Some(Arc::new(row.to_vec()));
    let cells: Vec<(ColumnId, Value)> = set.cells.into_iter().collect();
    let Some(offset) = set.set_at else { return };
    for id in &entity.copies {
        // A `where` over key columns has a value, or `check` would have made the projection kind B.
        if let Ok(Some(copy)) = copy_key(plan.table(*id), row.as_ref()) {
            batch.derived.push(Mutation::Assign {
                table: *id,
                key: copy,
                cells: cells.clone(),
                offset,
                base,
            });
        }
    }
    batch.base.push(Mutation::Assign { table: entity.base, key, cells, offset, base });
}

fn replace(
    table: crate::plan::TableId,
    key: RowKey,
    cells: &Arc<Vec<Value>>,
    offset: Offset,
    base: i64,
) -> Mutation {
    Mutation::Replace { table, key, cells: Arc::clone(cells), offset, base }
}

/// Where the copy of a row stands in a table: nowhere if the row is not there, a key column is null, or the
/// table's `where` does not hold.
fn copy_key(table: &TablePlan, state: Option<&Arc<Vec<Value>>>) -> Result<Option<RowKey>, Fault> {
    let Some(cells) = state else { return Ok(None) };
    if let Some(filter) = &table.filter
        && !filter.holds(&[Slot::Record(Some(cells))])?
    {
        return Ok(None);
    }
    Ok(key::row_key(table, cells))
}
