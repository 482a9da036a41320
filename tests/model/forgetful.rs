//! Tables that have forgotten how far a projection came: a worker over them gets the whole log again. The partitions'
//! bases are kept, since they are chosen once for the life of a table.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use kinora::plan::TableId;
use kinora::store::{
    Batch, Columns, Parked, ParkedKey, Progress, ProgressMark, QueuedEvent, Scan, StoreError, StoredRow,
    Tables,
};
use kinora::value::encode::RowKey;

/// Passes everything on but progress, which it shows as not begun.
pub struct Forgetful(pub Arc<dyn Tables>);

impl Tables for Forgetful {
    fn progress(&self) -> Arc<Progress> {
        let from_the_start = |mark: &ProgressMark| ProgressMark { next: 0, time_ms: 0, ..mark.clone() };
        Arc::new(Progress { marks: self.0.progress().marks.iter().map(from_the_start).collect() })
    }

    fn get<'a>(
        &'a self,
        table: TableId,
        keys: &'a [RowKey],
        columns: Columns<'a>,
    ) -> BoxFuture<'a, Result<Vec<Option<StoredRow>>, StoreError>> {
        self.0.get(table, keys, columns)
    }

    fn scan<'a>(&'a self, scan: Scan<'a>) -> BoxFuture<'a, Result<Vec<StoredRow>, StoreError>> {
        self.0.scan(scan)
    }

    fn all<'a>(
        &'a self,
        table: TableId,
        after: Option<&'a RowKey>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<StoredRow>, StoreError>> {
        self.0.all(table, after, limit)
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<(), StoreError>> {
        self.0.commit(batch)
    }

    fn reload(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.0.reload()
    }

    fn progress_changes(&self) -> watch::Receiver<u64> {
        self.0.progress_changes()
    }

    fn parked(&self) -> Arc<Parked> {
        self.0.parked()
    }

    fn parked_queue<'a>(
        &'a self,
        projection: &'a str,
        key: &'a ParkedKey,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<QueuedEvent>, StoreError>> {
        self.0.parked_queue(projection, key, limit)
    }
}
