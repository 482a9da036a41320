//! Reads rows of the embedded store: by key, along one partition, and all of a table.
//!
//! Comes in: a keyspace with its layout, and what to read. Goes out: rows, or the place of the damage. Cells that
//! were not asked for are stepped over, not decoded. Calls block for as long as the disk takes.

use std::ops::Bound as RangeBound;

use fjall::{Guard, Keyspace};

use super::open::fault;
use crate::plan::key::split_key;
use crate::schema::ColumnId;
use crate::store::layout::{self, Layout};
use crate::store::{Columns, Scan, StoreError, StoredRow};
use crate::value::encode::RowKey;
use crate::value::row::decode_row;

/// One table of a generation.
pub(super) struct Table {
    pub layout: Layout,
    pub keyspace: Keyspace,
}

impl Table {
    /// The bytes of a row.
    pub fn bytes(&self, key: &RowKey) -> Result<Option<fjall::UserValue>, StoreError> {
        self.keyspace.get(key.bytes()).map_err(|error| self.fault(error))
    }

    /// A row by its key; of a base table also one that only remembers its position.
    pub fn get(&self, key: &RowKey, columns: Columns<'_>) -> Result<Option<StoredRow>, StoreError> {
        let Some(bytes) = self.bytes(key)? else {
            return Ok(None);
        };
        let row = self.row(key.clone(), &bytes, columns)?;
        Ok((row.live || self.layout.is_base()).then_some(row))
    }

    /// Living rows of a partition.
    pub fn scan(&self, scan: &Scan<'_>) -> Result<Vec<StoredRow>, StoreError> {
        let Some(range) = layout::range_of(scan) else {
            return Ok(Vec::new());
        };
        let end = range.end.map_or(RangeBound::Unbounded, RangeBound::Excluded);
        let rows = self.keyspace.range::<Vec<u8>, _>((RangeBound::Included(range.first), end));
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
        let mut from: Vec<ColumnId> = self.layout.table.expires.iter().map(|expiry| expiry.from).collect();
        from.sort_unstable();
        let at_ms = at_ms.filter(|_| !from.is_empty());
        for guard in rows {
            let (key_bytes, bytes) = guard.into_inner().map_err(|error| self.fault(error))?;
            if let Some(at_ms) = at_ms
                && self.is_over(&bytes, &from, at_ms)?
            {
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

    /// Whether a row is gone at a time, by the columns that say so: no others are decoded.
    fn is_over(&self, bytes: &[u8], from: &[ColumnId], at_ms: i64) -> Result<bool, StoreError> {
        let row = decode_row(bytes, Columns::Only(from), self.layout.width)
            .map_err(|error| self.layout.corrupt(&error))?;
        Ok(self.layout.table.is_over(&row.cells, at_ms))
    }

    fn row(&self, key: RowKey, bytes: &[u8], columns: Columns<'_>) -> Result<StoredRow, StoreError> {
        let row =
            decode_row(bytes, columns, self.layout.width).map_err(|error| self.layout.corrupt(&error))?;
        Ok(StoredRow { key, offset: row.offset, live: row.live, cells: row.cells })
    }

    fn fault(&self, error: fjall::Error) -> StoreError {
        fault(&format!("reading table {:?}", self.layout.table.name), error)
    }
}
