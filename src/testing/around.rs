//! Tables around other tables: what one changes of them it says itself, all else is passed on.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use crate::event::TopicPartition;
use crate::plan::TableId;
use crate::store::coordination::{Coordination, Pause};
use crate::store::{
    Batch, Columns, Owner, Parked, ParkedEntry, ParkedItem, ParkedKey, ParkedPage, Profile, Progress,
    QueuedEvent, Scan, StoreError, StoredRow, Swept, Tables,
};
use crate::value::encode::RowKey;

/// Tables that pass on to others what they do not do themselves. Each method is that of [`Tables`].
#[allow(missing_docs, reason = "each is said at the trait that it stands for")]
pub trait Around: Send + Sync + 'static {
    /// What it is passed on to.
    fn inner(&self) -> &dyn Tables;

    fn profile(&self) -> Profile {
        self.inner().profile()
    }

    fn keeps_encoded(&self) -> bool {
        self.inner().keeps_encoded()
    }

    fn get<'a>(
        &'a self,
        table: TableId,
        keys: &'a [RowKey],
        columns: Columns<'a>,
    ) -> BoxFuture<'a, Result<Vec<Option<StoredRow>>, StoreError>> {
        self.inner().get(table, keys, columns)
    }

    fn scan<'a>(&'a self, scan: Scan<'a>) -> BoxFuture<'a, Result<Vec<StoredRow>, StoreError>> {
        self.inner().scan(scan)
    }

    fn all<'a>(
        &'a self,
        table: TableId,
        after: Option<&'a RowKey>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<StoredRow>, StoreError>> {
        self.inner().all(table, after, limit)
    }

    fn sweep(&self, at_ms: i64, rows_max: usize) -> BoxFuture<'_, Result<Swept, StoreError>> {
        self.inner().sweep(at_ms, rows_max)
    }

    fn own<'a>(
        &'a self,
        projection: &'a Arc<str>,
        partitions: &'a [TopicPartition],
    ) -> BoxFuture<'a, Result<Vec<Owner>, StoreError>> {
        self.inner().own(projection, partitions)
    }

    fn check_owners<'a>(&'a self, owners: &'a [Owner]) -> BoxFuture<'a, Result<(), StoreError>> {
        self.inner().check_owners(owners)
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<(), StoreError>> {
        self.inner().commit(batch)
    }

    fn progress(&self) -> Arc<Progress> {
        self.inner().progress()
    }

    fn settle<'a>(&'a self, owners: &'a [Owner]) -> BoxFuture<'a, Result<(), StoreError>> {
        self.inner().settle(owners)
    }

    fn reload(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.inner().reload()
    }

    fn reload_progress(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.inner().reload_progress()
    }

    fn progress_changes(&self) -> watch::Receiver<u64> {
        self.inner().progress_changes()
    }

    fn parked(&self) -> Parked {
        self.inner().parked()
    }

    fn parked_page<'a>(&'a self, page: ParkedPage<'a>) -> BoxFuture<'a, Result<Vec<ParkedItem>, StoreError>> {
        self.inner().parked_page(page)
    }

    fn parked_entry<'a>(
        &'a self,
        projection: &'a str,
        key: &'a ParkedKey,
    ) -> BoxFuture<'a, Result<Option<ParkedEntry>, StoreError>> {
        self.inner().parked_entry(projection, key)
    }

    fn parked_queue<'a>(
        &'a self,
        projection: &'a str,
        key: &'a ParkedKey,
        after: Option<&'a QueuedEvent>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<QueuedEvent>, StoreError>> {
        self.inner().parked_queue(projection, key, after, limit)
    }

    fn pauses(&self) -> BoxFuture<'_, Result<Vec<Pause>, StoreError>> {
        self.inner().pauses()
    }

    fn pause<'a>(&'a self, pause: &'a Pause) -> BoxFuture<'a, Result<Pause, StoreError>> {
        self.inner().pause(pause)
    }

    fn resume<'a>(&'a self, projection: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        self.inner().resume(projection)
    }

    fn coordination(&self) -> Option<&dyn Coordination> {
        self.inner().coordination()
    }
}

impl<T: Around> Tables for T {
    fn profile(&self) -> Profile {
        Around::profile(self)
    }

    fn keeps_encoded(&self) -> bool {
        Around::keeps_encoded(self)
    }

    fn get<'a>(
        &'a self,
        table: TableId,
        keys: &'a [RowKey],
        columns: Columns<'a>,
    ) -> BoxFuture<'a, Result<Vec<Option<StoredRow>>, StoreError>> {
        Around::get(self, table, keys, columns)
    }

    fn scan<'a>(&'a self, scan: Scan<'a>) -> BoxFuture<'a, Result<Vec<StoredRow>, StoreError>> {
        Around::scan(self, scan)
    }

    fn all<'a>(
        &'a self,
        table: TableId,
        after: Option<&'a RowKey>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<StoredRow>, StoreError>> {
        Around::all(self, table, after, limit)
    }

    fn sweep(&self, at_ms: i64, rows_max: usize) -> BoxFuture<'_, Result<Swept, StoreError>> {
        Around::sweep(self, at_ms, rows_max)
    }

    fn own<'a>(
        &'a self,
        projection: &'a Arc<str>,
        partitions: &'a [TopicPartition],
    ) -> BoxFuture<'a, Result<Vec<Owner>, StoreError>> {
        Around::own(self, projection, partitions)
    }

    fn check_owners<'a>(&'a self, owners: &'a [Owner]) -> BoxFuture<'a, Result<(), StoreError>> {
        Around::check_owners(self, owners)
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<(), StoreError>> {
        Around::commit(self, batch)
    }

    fn progress(&self) -> Arc<Progress> {
        Around::progress(self)
    }

    fn settle<'a>(&'a self, owners: &'a [Owner]) -> BoxFuture<'a, Result<(), StoreError>> {
        Around::settle(self, owners)
    }

    fn reload(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Around::reload(self)
    }

    fn reload_progress(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Around::reload_progress(self)
    }

    fn progress_changes(&self) -> watch::Receiver<u64> {
        Around::progress_changes(self)
    }

    fn parked(&self) -> Parked {
        Around::parked(self)
    }

    fn parked_page<'a>(&'a self, page: ParkedPage<'a>) -> BoxFuture<'a, Result<Vec<ParkedItem>, StoreError>> {
        Around::parked_page(self, page)
    }

    fn parked_entry<'a>(
        &'a self,
        projection: &'a str,
        key: &'a ParkedKey,
    ) -> BoxFuture<'a, Result<Option<ParkedEntry>, StoreError>> {
        Around::parked_entry(self, projection, key)
    }

    fn parked_queue<'a>(
        &'a self,
        projection: &'a str,
        key: &'a ParkedKey,
        after: Option<&'a QueuedEvent>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<QueuedEvent>, StoreError>> {
        Around::parked_queue(self, projection, key, after, limit)
    }

    fn pauses(&self) -> BoxFuture<'_, Result<Vec<Pause>, StoreError>> {
        Around::pauses(self)
    }

    fn pause<'a>(&'a self, pause: &'a Pause) -> BoxFuture<'a, Result<Pause, StoreError>> {
        Around::pause(self, pause)
    }

    fn resume<'a>(&'a self, projection: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        Around::resume(self, projection)
    }

    fn coordination(&self) -> Option<&dyn Coordination> {
        Around::coordination(self)
    }
}
