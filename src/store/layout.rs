//! What each store needs to know of a table beside its plan, and the range of keys that a scan covers.
//!
//! Comes in: a plan, or a scan. Goes out: layouts by table, or a range of encoded keys. Reads and writes nothing.

use std::sync::Arc;

use super::{Bound, Scan, StoreError};
use crate::plan::key::key_values;
use crate::plan::{KeyColumn, Plan, TableId, TablePlan, TableRole};
use crate::schema::ColumnId;
use crate::value::Value;
use crate::value::encode::RowKey;

/// A table, and how its rows are laid out.
#[derive(Debug)]
pub(super) struct Layout {
    pub table: Arc<TablePlan>,
    /// How many columns the entity has: the length of a row's cells.
    pub width: usize,
    /// Columns that stand in the key as they are, each with its place among the key's values.
    plain: Vec<(ColumnId, usize)>,
}

/// One layout for each table of a plan, by [`TableId`].
pub(super) fn layouts(plan: &Plan) -> Vec<Layout> {
    plan.tables.iter().map(|table| layout(plan, table)).collect()
}

fn layout(plan: &Plan, table: &Arc<TablePlan>) -> Layout {
    let of_entity = plan.tables.iter().filter(|other| other.entity == table.entity);
    let columns = of_entity.flat_map(|other| {
        let key = other.partition.iter().chain(&other.clustering).map(|column| column.part.column);
        other.columns.iter().copied().chain(key)
    });
    let width = columns.map(|column| column.0 as usize + 1).max().unwrap_or(0);
    let key = table.partition.iter().chain(&table.clustering).enumerate();
    // Of a collection the key has one element.
    let is_held = |column: &KeyColumn| table.columns.contains(&column.part.column);
    let plain = key
        .filter(|(_, column)| column.is_plain() && is_held(column))
        .map(|(at, column)| (column.part.column, at));
    Layout { table: Arc::clone(table), width, plain: plain.collect() }
}

/// What belongs to a table in a list with one entry for each table.
///
/// # Errors
/// The number is of another plan.
pub(super) fn of<T>(entries: &[T], table: TableId) -> Result<&T, StoreError> {
    entries.get(table.0 as usize).ok_or_else(|| {
        let count = entries.len();
        StoreError::Refused(format!(
            "table {} is not in this plan of {count} tables; it is of another plan",
            table.0
        ))
    })
}

impl Layout {
    /// Whether rows keep their position when they are deleted.
    pub fn is_base(&self) -> bool {
        self.table.role == TableRole::Base
    }

    /// Fills cells that stand in the key: a row that was only ever assigned to does not have them.
    ///
    /// # Errors
    /// The bytes are not a key of this table.
    pub fn fill_from_key(&self, key: &RowKey, cells: &mut [Value]) -> Result<(), StoreError> {
        if self
            .plain
            .iter()
            .all(|(column, _)| cells.get(column.0 as usize).is_none_or(|cell| !cell.is_null()))
        {
            return Ok(());
        }
        let values = key_values(&self.table, key).map_err(|error| self.corrupt(&error))?;
        for (column, at) in &self.plain {
            if let (Some(cell), Some(value)) = (cells.get_mut(column.0 as usize), values.get(*at))
                && cell.is_null()
            {
                *cell = value.clone();
            }
        }
        Ok(())
    }

    /// The error for bytes of this table that cannot be read.
    pub fn corrupt(&self, error: &dyn std::fmt::Display) -> StoreError {
        StoreError::Corrupt(format!("table {:?}: {error}", self.table.name))
    }
}

/// Keys from `first` on and below `end`; without an end, all from `first` on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct KeyRange {
    pub first: Vec<u8>,
    pub end: Option<Vec<u8>>,
}

/// The range of keys that a scan covers; `None` if it is empty.
pub(super) fn range_of(scan: &Scan<'_>) -> Option<KeyRange> {
    let with = |bound: &[u8]| [scan.partition, bound].concat();
    let first = match scan.from {
        Bound::Unbounded => scan.partition.to_vec(),
        Bound::Included(bound) => with(bound),
        Bound::Excluded(bound) => after(with(bound))?,
    };
    let end = match scan.to {
        Bound::Unbounded => after(scan.partition.to_vec()),
        Bound::Included(bound) => after(with(bound)),
        Bound::Excluded(bound) => Some(with(bound)),
    };
    if end.as_ref().is_some_and(|end| *end <= first) {
        return None;
    }
    Some(KeyRange { first, end })
}

/// The least bytes above everything that begins with `prefix`; `None` if there are none.
pub(super) fn after(mut prefix: Vec<u8>) -> Option<Vec<u8>> {
    while prefix.last() == Some(&0xFF) {
        prefix.pop();
    }
    *prefix.last_mut()? += 1;
    Some(prefix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Columns;

    fn range(from: Bound<'_>, to: Bound<'_>) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
        let scan = Scan {
            table: TableId(0),
            partition: b"p",
            from,
            to,
            reverse: false,
            limit: 1,
            columns: Columns::All,
            at_ms: None,
        };
        range_of(&scan).map(|range| (range.first, range.end))
    }

    #[test]
    fn bounds_cover_all_rows_that_begin_with_them() {
        let bytes = |text: &[u8]| Some(text.to_vec());
        assert_eq!(range(Bound::Unbounded, Bound::Unbounded), Some((b"p".to_vec(), bytes(b"q"))));
        assert_eq!(range(Bound::Included(b"a"), Bound::Included(b"c")), Some((b"pa".to_vec(), bytes(b"pd"))));
        assert_eq!(range(Bound::Excluded(b"a"), Bound::Excluded(b"c")), Some((b"pb".to_vec(), bytes(b"pc"))));
        assert_eq!(range(Bound::Excluded(b"a"), Bound::Excluded(b"b")), None);
        assert_eq!(range(Bound::Included(b"c"), Bound::Included(b"a")), None);
        assert_eq!(range(Bound::Included(b"\xFF"), Bound::Unbounded), Some((b"p\xFF".to_vec(), bytes(b"q"))));
        assert_eq!(range(Bound::Excluded(b"\xFF"), Bound::Unbounded), None);
    }

    #[test]
    fn nothing_is_above_the_highest_bytes() {
        assert_eq!(after(vec![0xFF, 0xFF]), None);
        assert_eq!(after(vec![1, 0xFF]), Some(vec![2]));
    }
}
