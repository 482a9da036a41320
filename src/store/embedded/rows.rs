//! Reads rows of the embedded store: by key, along one partition, and all of a table.
//!
//! Comes in: a keyspace with its layout, and what to read. Goes out: rows, or the place of the damage. Cells that
//! were not asked for are stepped over, not decoded. Calls block for as long as the disk takes.

use std::ops::Bound as RangeBound;
use std::sync::Mutex;

use fjall::{Guard, Keyspace};

use super::memtables::Gathered;
use super::open::fault;
use crate::plan::key::split_key;
use crate::schema::ColumnId;
use crate::store::layout::{self, Layout};
use crate::store::ledger::lock;
use crate::store::{Columns, OVER_MAX, Scan, StoreError, StoredRow, too_many_over};
use crate::value::encode::RowKey;
use crate::value::row::decode_row;

/// One table of a generation.
pub(super) struct Table {
    pub layout: Layout,
    pub keyspace: Keyspace,
    /// Of a base table whose rows end: those that a sweep has put aside. What a fold reads is there or here.
    pub aside: Option<Keyspace>,
    /// Where scans passed over many rows whose time is over: a sweep begins there.
    pub crowded: Mutex<Vec<Vec<u8>>>,
    /// What it has gathered in memory.
    pub gathered: Gathered,
}

/// Rows passed over in one scan that are worth telling the sweep.
const CROWDED: usize = 100;
/// Most places that are remembered for the sweep.
const CROWDED_PLACES_MAX: usize = 64;

impl Table {
    /// The bytes of a row, also of one that was put aside.
    pub fn bytes(&self, key: &RowKey) -> Result<Option<fjall::UserValue>, StoreError> {
        let get = |keyspace: &Keyspace| keyspace.get(key.bytes()).map_err(|error| self.fault(error));
        match (get(&self.keyspace)?, &self.aside) {
            (None, Some(aside)) => get(aside),
            (found, _) => Ok(found),
        }
    }

    /// A row by its key; of a base table also one that only remembers its position.
    pub fn get(&self, key: &RowKey, columns: Columns<'_>) -> Result<Option<StoredRow>, StoreError> {
        let Some(bytes) = self.bytes(key)? else {
            return Ok(None);
        };
        let row = self.row(key.clone(), &bytes, columns)?;
        Ok((row.live || self.layout.is_base()).then_some(row))
    }

    /// Living rows of a partition; without a time also those that were put aside.
    pub fn scan(&self, scan: &Scan<'_>) -> Result<Vec<StoredRow>, StoreError> {
        let mut rows = self.scan_in(&self.keyspace, scan)?;
        if let (Some(aside), None) = (&self.aside, scan.at_ms) {
            rows.extend(self.scan_in(aside, scan)?);
            rows.sort_unstable_by(|a, b| match scan.reverse {
                true => b.key.cmp(&a.key),
                false => a.key.cmp(&b.key),
            });
            rows.truncate(scan.limit);
        }
        Ok(rows)
    }

    fn scan_in(&self, keyspace: &Keyspace, scan: &Scan<'_>) -> Result<Vec<StoredRow>, StoreError> {
        let Some(range) = layout::range_of(scan) else {
            return Ok(Vec::new());
        };
        let end = range.end.map_or(RangeBound::Unbounded, RangeBound::Excluded);
        let rows = keyspace.range::<Vec<u8>, _>((RangeBound::Included(range.first), end));
        let partition_len = scan.partition.len();
        let key = |bytes: &[u8]| {
            RowKey::split(bytes, partition_len)
                .ok_or_else(|| self.layout.corrupt(&"a key is shorter than its partition"))
        };
        if scan.reverse {
            self.living(rows.rev(), key, scan.columns, scan.limit, scan.at_ms)
        } else {
            self.living(rows, key, scan.columns, scan.limit, scan.at_ms)
        }
    }

    /// Living rows of the table after a key.
    pub fn all(&self, after: Option<&RowKey>, limit: usize) -> Result<Vec<StoredRow>, StoreError> {
        let first = after.map_or(RangeBound::Unbounded, |key| RangeBound::Excluded(key.bytes()));
        let rows = self.keyspace.range::<&[u8], _>((first, RangeBound::Unbounded));
        let key =
            |bytes: &[u8]| split_key(&self.layout.table, bytes).map_err(|error| self.layout.corrupt(&error));
        self.living(rows, key, Columns::All, limit, None)
    }

    fn living(
        &self,
        rows: impl Iterator<Item = Guard>,
        key: impl Fn(&[u8]) -> Result<RowKey, StoreError>,
        columns: Columns<'_>,
        limit: usize,
        at_ms: Option<i64>,
    ) -> Result<Vec<StoredRow>, StoreError> {
        let mut found = Vec::with_capacity(limit.min(128));
        if limit == 0 {
            return Ok(found);
        }
        let from = self.ends_by();
        let at_ms = at_ms.filter(|_| !from.is_empty());
        let mut passed = 0;
        for guard in rows {
            let (key_bytes, bytes) = guard.into_inner().map_err(|error| self.fault(error))?;
            if let Some(at_ms) = at_ms
                && self.is_over(&bytes, &from, at_ms)?
            {
                passed += 1;
                self.pass(passed, &key_bytes)?;
                continue;
            }
            let row = self.row(key(&key_bytes)?, &bytes, columns)?;
            if row.live {
                found.push(row);
            }
            if found.len() == limit {
                break;
            }
        }
        Ok(found)
    }

    /// Whether its rows end.
    pub fn ends(&self) -> bool {
        !self.layout.table.expires.is_empty()
    }

    /// The columns by which its rows end.
    pub fn ends_by(&self) -> Vec<ColumnId> {
        let mut from: Vec<ColumnId> = self.layout.table.expires.iter().map(|expiry| expiry.from).collect();
        from.sort_unstable();
        from.dedup();
        from
    }

    /// Notes a place where many rows are passed over.
    ///
    /// # Errors
    /// They are more than one scan may pass.
    fn pass(&self, passed: usize, key: &[u8]) -> Result<(), StoreError> {
        if passed.is_multiple_of(CROWDED) {
            let mut crowded = lock(&self.crowded);
            if crowded.len() < CROWDED_PLACES_MAX {
                crowded.push(key.to_vec());
            }
        }
        match passed > OVER_MAX {
            true => Err(too_many_over(&self.layout.table.name)),
            false => Ok(()),
        }
    }

    /// Whether a row is gone at a time, by the columns that say so: no others are decoded.
    pub fn is_over(&self, bytes: &[u8], from: &[ColumnId], at_ms: i64) -> Result<bool, StoreError> {
        let row = decode_row(bytes, Columns::Only(from), self.layout.width)
            .map_err(|error| self.layout.corrupt(&error))?;
        Ok(self.layout.table.is_over(&row.cells, at_ms))
    }

    fn row(&self, key: RowKey, bytes: &[u8], columns: Columns<'_>) -> Result<StoredRow, StoreError> {
        let row =
            decode_row(bytes, columns, self.layout.width).map_err(|error| self.layout.corrupt(&error))?;
        Ok(StoredRow { key, offset: row.offset, live: row.live, cells: row.cells })
    }

    pub fn fault(&self, error: fjall::Error) -> StoreError {
        fault(&format!("reading table {:?}", self.layout.table.name), error)
    }
}
