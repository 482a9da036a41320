//! Tables that break a promise about parked keys, to see that the checks of `released` would tell.
//!
//! Comes in: tables, and which promise. Goes out: the same tables, spoilt.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::BoxFuture;
use kinora::plan::TableId;
use kinora::store::{
    Batch, Columns, Ended, ParkChange, Parked, ParkedKey, QueuedEvent, StoreError, StoredRow, Tables,
};
use kinora::testing::Around;
use kinora::value::encode::RowKey;

/// A promise that is broken. Beside each the rule of the write protocol.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bug {
    /// An event that waits is lost (P2).
    EntryLost,
    /// Nobody knows what was parked before (P3).
    ParkedUnknown,
    /// An event leaves its queue before its row has it (P5).
    DequeuedFirst,
    /// A queue is worked off from its end (P5).
    QueueReversed,
    /// An event that its row has is applied from the queue once more (P6).
    RetriedAgain,
    /// An event stays in its queue when its row has it.
    DequeueLost,
    /// What is passed leaves no position (P8).
    PassedWithoutPosition,
}

impl Bug {
    pub const ALL: [Bug; 7] = [
        Bug::EntryLost,
        Bug::ParkedUnknown,
        Bug::DequeuedFirst,
        Bug::QueueReversed,
        Bug::RetriedAgain,
        Bug::DequeueLost,
        Bug::PassedWithoutPosition,
    ];
}

/// Tables with a bug.
pub struct Spoilt {
    pub inner: Arc<dyn Tables>,
    pub bug: Bug,
    /// Whether a queue was read since the last batch.
    pub releases: AtomicBool,
}

fn is_dequeue(change: &ParkChange) -> bool {
    matches!(change, ParkChange::Dequeue { .. })
}

/// Whether all that a batch does is to pass events.
fn passes(batch: &Batch) -> bool {
    let is_applied =
        |change: &ParkChange| matches!(change, ParkChange::Dequeue { ended: Ended::Applied, .. });
    batch.parked.iter().any(is_dequeue) && !batch.parked.iter().any(is_applied)
}

impl Spoilt {
    async fn commit_spoilt(&self, mut batch: Batch) -> Result<(), StoreError> {
        self.releases.store(false, Ordering::Relaxed);
        let is_entry = |change: &ParkChange| matches!(change, ParkChange::Enqueue { .. });
        match self.bug {
            Bug::EntryLost => batch.parked.retain(|change| !is_entry(change)),
            Bug::DequeueLost => batch.parked.retain(|change| !is_dequeue(change)),
            Bug::PassedWithoutPosition if passes(&batch) => {
                (batch.base, batch.derived, batch.left) = (Vec::new(), Vec::new(), Vec::new());
            }
            Bug::DequeuedFirst if batch.parked.iter().any(is_dequeue) => {
                let (parked, owners) = (std::mem::take(&mut batch.parked), Arc::clone(&batch.owners));
                self.inner.commit(Batch { parked, owners, ..Batch::default() }).await?;
            }
            _ => {}
        }
        self.inner.commit(batch).await
    }
}

impl Around for Spoilt {
    fn inner(&self) -> &dyn Tables {
        self.inner.as_ref()
    }

    fn get<'a>(
        &'a self,
        table: TableId,
        keys: &'a [RowKey],
        columns: Columns<'a>,
    ) -> BoxFuture<'a, Result<Vec<Option<StoredRow>>, StoreError>> {
        Box::pin(async move {
            let mut rows = self.inner.get(table, keys, columns).await?;
            if self.bug == Bug::RetriedAgain && self.releases.load(Ordering::Relaxed) {
                rows.iter_mut().flatten().for_each(|row| row.offset = 0);
            }
            Ok(rows)
        })
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.commit_spoilt(batch))
    }

    fn parked(&self) -> Parked {
        if self.bug == Bug::ParkedUnknown { Parked::default() } else { self.inner.parked() }
    }

    fn parked_queue<'a>(
        &'a self,
        projection: &'a str,
        key: &'a ParkedKey,
        after: Option<&'a QueuedEvent>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<QueuedEvent>, StoreError>> {
        Box::pin(async move {
            self.releases.store(true, Ordering::Relaxed);
            let mut queue = self.inner.parked_queue(projection, key, after, limit).await?;
            if self.bug == Bug::QueueReversed {
                queue.reverse();
            }
            Ok(queue)
        })
    }
}
