//! One row of the memory store: cells with stamps, and which of two writes wins.
//!
//! Comes in: mutations in any order, any of them more than once. Goes out: what a reader sees. That is the same for
//! every order: the tests try them all.

use std::collections::BTreeMap;

use crate::event::Offset;
use crate::schema::ColumnId;
use crate::store::Mutation;
use crate::value::Value;

/// Base plus offset. Wide enough for every base and every offset.
type Stamp = i128;

/// One row, with all that was ever written to it and is not overwritten.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    deleted: Option<Stamp>,
    position: Option<Cell<Offset>>,
    live: Option<Cell<bool>>,
    cells: BTreeMap<ColumnId, Cell<Value>>,
}

#[derive(Clone, Debug)]
struct Cell<T> {
    stamp: Stamp,
    /// `None` is a tombstone.
    value: Option<T>,
}

impl Row {
    /// Takes in a write, whenever it comes.
    pub fn apply(&mut self, mutation: &Mutation) {
        let stamp = Stamp::from(mutation.base()) + Stamp::from(mutation.offset());
        match mutation {
            Mutation::Replace { cells, offset, .. } => {
                self.delete(stamp - 1);
                for (column, value) in (0..).map(ColumnId).zip(cells.values().iter()) {
                    if !value.is_null() {
                        self.assign(column, stamp, value);
                    }
                }
                self.stand(stamp, *offset, Some(true));
            }
            Mutation::Delete { .. } => self.delete(stamp),
            Mutation::Bury { offset, .. } => {
                self.delete(stamp - 1);
                self.stand(stamp, *offset, None);
            }
            Mutation::Assign { cells, offset, .. } => {
                for (column, value) in cells {
                    self.assign(*column, stamp, value);
                }
                self.stand(stamp, *offset, Some(true));
            }
        }
    }

    fn delete(&mut self, stamp: Stamp) {
        self.deleted = self.deleted.max(Some(stamp));
    }

    fn assign(&mut self, column: ColumnId, stamp: Stamp, value: &Value) {
        let new = Cell { stamp, value: (!value.is_null()).then(|| value.clone()) };
        match self.cells.get_mut(&column) {
            Some(old) => old.take(new),
            None => drop(self.cells.insert(column, new)),
        }
    }

    fn stand(&mut self, stamp: Stamp, offset: Offset, live: Option<bool>) {
        take(&mut self.position, Cell { stamp, value: Some(offset) });
        if let Some(live) = live {
            take(&mut self.live, Cell { stamp, value: Some(live) });
        }
    }

    /// The value, unless it is a tombstone or the row was deleted at its stamp or later.
    fn visible<'c, T>(&self, cell: Option<&'c Cell<T>>) -> Option<&'c T> {
        cell.filter(|cell| Some(cell.stamp) > self.deleted)?.value.as_ref()
    }

    /// Offset of the last event applied, where it is visible.
    pub fn offset(&self) -> Option<Offset> {
        self.visible(self.position.as_ref()).copied()
    }

    /// The cells that are visible.
    pub fn cells(&self) -> impl Iterator<Item = (ColumnId, &Value)> {
        self.cells.iter().filter_map(|(column, cell)| Some((*column, self.visible(Some(cell))?)))
    }

    /// Whether the row is there.
    pub fn is_live(&self) -> bool {
        self.visible(self.live.as_ref()).is_some()
    }
}

fn take<T: Ord>(slot: &mut Option<Cell<T>>, new: Cell<T>) {
    match slot {
        Some(old) => old.take(new),
        None => *slot = Some(new),
    }
}

impl<T: Ord> Cell<T> {
    /// The later of the two; of one stamp a tombstone, else the larger value.
    fn take(&mut self, new: Cell<T>) {
        let beats = match (&new.value, &self.value) {
            _ if new.stamp != self.stamp => new.stamp > self.stamp,
            (None, _) => true,
            (Some(_), None) => false,
            (Some(new), Some(old)) => new > old,
        };
        if beats {
            *self = new;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::plan::TableId;
    use crate::value::encode::RowKey;

    fn key() -> RowKey {
        RowKey::new(vec![1], &[])
    }

    fn replace(offset: Offset, value: i64) -> Mutation {
        Mutation::Replace {
            table: TableId(0),
            key: key(),
            cells: Arc::new(vec![Value::Int(value)]).into(),
            offset,
            base: 1_000,
        }
    }

    fn assign(offset: Offset, value: Value) -> Mutation {
        Mutation::Assign {
            table: TableId(0),
            key: key(),
            cells: vec![(ColumnId(0), value)],
            offset,
            base: 1_000,
        }
    }

    fn delete(offset: Offset) -> Mutation {
        Mutation::Delete { table: TableId(0), key: key(), offset, base: 1_000 }
    }

    fn bury(offset: Offset) -> Mutation {
        Mutation::Bury { table: TableId(0), key: key(), offset, base: 1_000 }
    }

    /// Live flag, position and the one cell, after the writes in that order, and in every other.
    #[track_caller]
    fn check(writes: &[Mutation], live: bool, position: Option<Offset>, cell: Option<i64>) {
        permute(writes.len(), &mut |order| {
            let mut row = Row::default();
            for at in order {
                row.apply(&writes[*at]);
            }
            assert_eq!(row.is_live(), live, "{order:?}");
            assert_eq!(row.offset(), position, "{order:?}");
            let found = row.cells().next().map(|(_, value)| value.clone());
            assert_eq!(found, cell.map(Value::Int), "{order:?}");
        });
    }

    fn permute(len: usize, see: &mut dyn FnMut(&[usize])) {
        fn go(left: &mut Vec<usize>, done: &mut Vec<usize>, see: &mut dyn FnMut(&[usize])) {
            if left.is_empty() {
                return see(done);
            }
            for at in 0..left.len() {
                done.push(left.remove(at));
                go(left, done, see);
                left.insert(at, done.pop().expect("it was pushed above"));
            }
        }
        go(&mut (0..len).collect(), &mut Vec::new(), see);
    }

    #[test]
    fn the_later_write_wins_in_every_order() {
        check(&[replace(1, 10), replace(2, 5)], true, Some(2), Some(5));
        check(&[replace(1, 10), replace(2, 5), bury(3)], false, Some(3), None);
        check(&[replace(1, 10), bury(2), replace(3, 7)], true, Some(3), Some(7));
        check(&[replace(1, 10), delete(2)], false, None, None);
        check(&[replace(1, 10), assign(2, Value::Null)], true, Some(2), None);
        check(&[assign(1, Value::Int(1)), assign(2, Value::Int(0))], true, Some(2), Some(0));
    }

    #[test]
    fn on_one_stamp_a_delete_wins_then_the_larger_value() {
        check(&[replace(2, 10), delete(2)], false, None, None);
        check(&[assign(2, Value::Int(1)), assign(2, Value::Int(2))], true, Some(2), Some(2));
        check(&[assign(2, Value::Int(1)), assign(2, Value::Null)], true, Some(2), None);
    }

    #[test]
    fn a_write_that_comes_twice_changes_nothing() {
        check(&[replace(1, 10), replace(2, 5), replace(1, 10)], true, Some(2), Some(5));
        check(&[replace(1, 10), bury(2), replace(1, 10)], false, Some(2), None);
    }
}
