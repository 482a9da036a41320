//! Tables that remember what was read of them, and fail where a test wants it.

use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;

use crate::plan::TableId;
use crate::store::{Columns, Scan, StoreError, StoredRow, Tables};
use crate::testing::Around;
use crate::value::encode::RowKey;

/// A read that reached the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    Get { table: TableId, keys: usize },
    Scan { table: TableId, limit: usize },
}

/// Tables around tables.
pub struct Watched {
    inner: Arc<dyn Tables>,
    reads: Mutex<Vec<Read>>,
    failing: Mutex<Vec<TableId>>,
}

impl Watched {
    pub fn new(inner: Arc<dyn Tables>) -> Watched {
        Watched { inner, reads: Mutex::default(), failing: Mutex::default() }
    }

    /// Every read of these tables fails from now on; of others none.
    pub fn fail(&self, tables: &[TableId]) {
        *self.failing.lock().unwrap() = tables.to_vec();
    }

    /// The reads since this was last asked.
    pub fn take_reads(&self) -> Vec<Read> {
        std::mem::take(&mut self.reads.lock().unwrap())
    }

    fn read(&self, table: TableId, read: Read) -> Result<(), StoreError> {
        self.reads.lock().unwrap().push(read);
        if self.failing.lock().unwrap().contains(&table) {
            return Err(StoreError::Unavailable("the disk is on fire".to_owned()));
        }
        Ok(())
    }
}

impl Around for Watched {
    fn inner(&self) -> &dyn Tables {
        self.inner.as_ref()
    }

    fn get<'a>(
        &'a self,
        table: TableId,
        keys: &'a [RowKey],
        columns: Columns<'a>,
    ) -> BoxFuture<'a, Result<Vec<Option<StoredRow>>, StoreError>> {
        match self.read(table, Read::Get { table, keys: keys.len() }) {
            Ok(()) => self.inner.get(table, keys, columns),
            Err(error) => Box::pin(async { Err(error) }),
        }
    }

    fn scan<'a>(&'a self, scan: Scan<'a>) -> BoxFuture<'a, Result<Vec<StoredRow>, StoreError>> {
        match self.read(scan.table, Read::Scan { table: scan.table, limit: scan.limit }) {
            Ok(()) => self.inner.scan(scan),
            Err(error) => Box::pin(async { Err(error) }),
        }
    }
}
