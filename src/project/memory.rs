//! What a projector remembers between batches: rows as they stand in the store, and names of buckets that are stored.
//!
//! Both are bounded, and both only spare reads and writes: what is forgotten is read, or written, once more.

use quick_cache::unsync::{Cache, DefaultLifecycle};
use quick_cache::{UnitWeighter, Weighter};
use rustc_hash::FxBuildHasher;

use crate::plan::TablePlan;
use crate::route::RowRange;
use crate::value::encode::RowKey;
use crate::value::row::EncodedRow;

/// Bytes that a row takes beside its own.
const ROW_BYTES: usize = 64;

/// Rows, as bytes: many small values would take several times the memory.
pub(super) struct Remembered {
    rows: Cache<RowKey, EncodedRow, RowWeight>,
}

/// A row counts its bytes, and at least an equal share of them all: so both rows and bytes are bounded.
#[derive(Clone)]
struct RowWeight {
    least: u64,
}

impl Weighter<RowKey, EncodedRow> for RowWeight {
    fn weight(&self, key: &RowKey, row: &EncodedRow) -> u64 {
        ((key.bytes().len() + row.bytes().len() + ROW_BYTES) as u64).max(self.least)
    }
}

impl Remembered {
    /// Room for so many rows of so many bytes together. A row larger than all of it is not remembered.
    pub fn new(rows_max: usize, bytes_max: usize) -> Remembered {
        let bytes_max = if rows_max == 0 { 0 } else { bytes_max as u64 };
        let least = bytes_max / (rows_max as u64).max(1);
        let expected = rows_max.min(bytes_max as usize / ROW_BYTES);
        Remembered { rows: Cache::with_weighter(expected, bytes_max, RowWeight { least }) }
    }

    pub fn get(&self, key: &RowKey) -> Option<&EncodedRow> {
        self.rows.get(key)
    }

    pub fn put(&mut self, key: RowKey, row: EncodedRow) {
        self.rows.insert(key, row);
    }

    pub fn remove(&mut self, key: &RowKey) {
        self.rows.remove(key);
    }

    /// Forgets the rows of a range.
    pub fn remove_range(&mut self, range: &RowRange) {
        self.rows.retain(|key, _| !range.has(key));
    }

    pub fn forget(&mut self) {
        self.rows.clear();
    }
}

/// Names of buckets, each with the number of its table.
pub(super) struct Buckets(Cache<(u32, RowKey), (), UnitWeighter, FxBuildHasher>);

impl Buckets {
    /// Room for so many names.
    pub fn new(names_max: usize) -> Buckets {
        let lifecycle = DefaultLifecycle::default();
        Buckets(Cache::with(names_max, names_max as u64, UnitWeighter, FxBuildHasher, lifecycle))
    }

    /// Whether a bucket's name was written before; from now on it was.
    pub fn is_known(&mut self, table: &TablePlan, name: &RowKey) -> bool {
        let place = (table.id.0, name.clone());
        let known = self.0.get(&place).is_some();
        if !known {
            self.0.insert(place, ());
        }
        known
    }

    pub fn forget(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::ColumnId;
    use crate::value::Value;

    fn key(number: usize) -> RowKey {
        RowKey::split(format!("{number:05}").into_bytes(), 5).expect("the partition is all of it")
    }

    /// A row of about so many bytes.
    fn row(bytes: usize) -> EncodedRow {
        let cells = vec![Value::text("x".repeat(bytes))];
        EncodedRow::of(0, Some(&cells), &[ColumnId(0)], &mut Vec::new())
    }

    #[test]
    fn rows_are_bounded_by_their_number_and_by_their_bytes() {
        for (rows, bytes, size, kept_max) in [
            (100, 1 << 20, 10, 100),
            (100, 100_000, 9_000, 11),
            (100, 10_000, 20_000, 0),
            (0, 1 << 20, 10, 0),
        ] {
            let mut remembered = Remembered::new(rows, bytes);
            for number in 0..1_000 {
                remembered.put(key(number), row(size));
            }
            let kept = (0..1_000).filter(|number| remembered.get(&key(*number)).is_some()).count();
            assert!(kept <= kept_max, "{kept} rows of {size} bytes are kept of {rows} and {bytes}");
            assert!(kept * 2 >= kept_max, "only {kept} rows of {size} bytes are kept of {rows} and {bytes}");
        }
    }

    #[test]
    fn a_replaced_row_is_the_newer_one_even_where_it_has_become_too_large() {
        let mut remembered = Remembered::new(10, 10_000);
        remembered.put(key(1), row(10));
        remembered.put(key(1), row(20_000));
        assert!(
            remembered.get(&key(1)).is_none_or(|row| row.bytes().len() > 20_000),
            "the old row is remembered"
        );
    }
}
