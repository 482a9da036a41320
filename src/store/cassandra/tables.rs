//! One generation of tables in Cassandra, and how a batch is committed to it.
//!
//! Comes in: batches. Goes out: acknowledged writes, phase by phase, then decisions and progress, if their owners are the
//! owners still. Progress and parked keys are kept in memory, as this process wrote or last read them.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, try_join};

use super::coordination;
use super::meta::{self, Place};
use super::parked::{self, Decided};
use super::rows;
use super::session::Step;
use super::table::Physical;
use super::write;
use crate::clock::now_ms;
use crate::event::TopicPartition;
use crate::plan::TableId;
use crate::store::coordination::{Coordination, Pause};
use crate::store::ledger::{self, Ledger, lock};
use crate::store::{
    Batch, Columns, Owner, Parked, ParkedEntry, ParkedItem, ParkedKey, ParkedPage, Profile, Progress,
    ProgressMark, QueuedEvent, Scan, StoreError, StoredRow, Tables, layout,
};
use crate::value::encode::RowKey;

/// What all handles to one generation in this process share.
pub(super) struct Shared {
    place: Place,
    ledger: Ledger,
    decided: Mutex<Decided>,
    /// Held while decisions are made or read: both are several statements.
    deciding: tokio::sync::Mutex<()>,
    /// Held while progress is shown: it is read before it is written.
    showing: Mutex<()>,
    /// When its owners last said that they are there.
    seen: Mutex<Instant>,
}

/// How often owners say that they are there: a small part of any time after which deletions are purged.
const SEEN_EVERY: Duration = Duration::from_secs(600);

impl Shared {
    /// Reads progress and parked keys.
    pub async fn load(place: Place) -> Result<Shared, StoreError> {
        // Progress before decisions and queues: what progress has passed is in them (P3).
        let progress = meta::progress(&place, &Progress::default()).await?;
        let decided = parked::load(&place).await?;
        let ledger = Ledger::new(progress, decided.index());
        Ok(Shared {
            place,
            ledger,
            decided: Mutex::new(decided),
            deciding: tokio::sync::Mutex::default(),
            showing: Mutex::new(()),
            seen: Mutex::new(Instant::now()),
        })
    }

    async fn reload(&self) -> Result<(), StoreError> {
        let _deciding = self.deciding.lock().await;
        let progress = meta::progress(&self.place, &self.ledger.progress()).await?;
        let decided = parked::load(&self.place).await?;
        self.ledger.set_parked(decided.index());
        *lock(&self.decided) = decided;
        self.show(progress);
        Ok(())
    }

    async fn reload_progress(&self) -> Result<(), StoreError> {
        let progress = meta::progress(&self.place, &self.ledger.progress()).await?;
        self.show(progress);
        Ok(())
    }

    /// Shows progress that was read.
    fn show(&self, progress: Progress) {
        let _one_at_a_time = lock(&self.showing);
        // What this process wrote meanwhile is not taken back.
        let mut shown = Progress::clone(&self.ledger.progress());
        let before = shown.marks.clone();
        ledger::advance(&mut shown, progress.marks);
        if shown.marks != before {
            self.ledger.set_progress(shown);
        }
    }

    /// Refuses a batch of whose partitions one is another's by now.
    async fn check_batch(&self, batch: &Batch) -> Result<(), StoreError> {
        let of_batch = |owner: &&Owner| {
            let mut marks = batch.progress.iter();
            marks.any(|mark| mark.projection == owner.projection && mark.at == owner.at)
        };
        let mut owners: Vec<Owner> = batch.owners.iter().filter(of_batch).cloned().collect();
        for change in &batch.parked {
            let owner = batch.owner_of(change.projection(), &change.event().at);
            if !owners.contains(&owner) {
                owners.push(owner);
            }
        }
        let mut checks: Vec<Step<'_, ()>> = Vec::with_capacity(owners.len());
        for owner in &owners {
            checks.push(Box::pin(meta::check_owner(&self.place, owner)));
        }
        self.place.session.all(checks).await?;
        Ok(())
    }

    async fn check_owners(&self, owners: &[Owner]) -> Result<(), StoreError> {
        let is_due = lock(&self.seen).elapsed() >= SEEN_EVERY;
        let check = |owner| -> Step<'_, ()> {
            match is_due {
                true => Box::pin(meta::set_seen(&self.place, owner, Some(now_ms()))),
                false => Box::pin(meta::check_owner(&self.place, owner)),
            }
        };
        self.place.session.all(owners.iter().map(check).collect()).await?;
        if is_due {
            *lock(&self.seen) = Instant::now();
        }
        Ok(())
    }

    async fn progress(&self, marks: Vec<ProgressMark>) -> Result<(), StoreError> {
        let mut kept = Vec::with_capacity(marks.len());
        for mut mark in marks {
            match self.ledger.progress().of(&mark.projection, &mark.at) {
                Some(known) if known.next > mark.next => continue,
                Some(known) => mark.base = known.base,
                None => mark.base = meta::fix_base(&self.place, &mark).await?,
            }
            kept.push(mark);
        }
        let mut writes: Vec<Step<'_, ()>> = Vec::with_capacity(kept.len());
        for mark in &kept {
            writes.push(Box::pin(meta::set_progress(&self.place, mark)));
        }
        self.place.session.all(writes).await?;
        let _one_at_a_time = lock(&self.showing);
        let mut shown = Progress::clone(&self.ledger.progress());
        if !ledger::advance(&mut shown, kept).is_empty() {
            self.ledger.set_progress(shown);
        }
        Ok(())
    }
}

/// One generation, as a plan has it.
pub(super) struct CassandraTables {
    pub shared: Arc<Shared>,
    pub tables: Vec<Arc<Physical>>,
}

impl CassandraTables {
    fn place(&self) -> &Place {
        &self.shared.place
    }

    async fn commit_phases(&self, batch: Batch) -> Result<(), StoreError> {
        let session = &self.place().session;
        let rows = async {
            for phase in [&batch.buckets, &batch.derived, &batch.left, &batch.base] {
                write::write(session, &self.tables, phase).await?;
            }
            Ok(())
        };
        if batch.parked.is_empty() {
            // Rows are safe whoever writes them, and progress only rises: this spares a process that lost its place some work.
            try_join(rows, self.shared.check_batch(&batch)).await?;
            return self.shared.progress(batch.progress).await;
        }
        rows.await?;
        let _deciding = self.shared.deciding.lock().await;
        self.shared.check_batch(&batch).await?;
        parked::change(self.place(), &self.shared.ledger, &self.shared.decided, &batch).await?;
        self.shared.progress(batch.progress).await
    }
}

impl Tables for CassandraTables {
    fn profile(&self) -> Profile {
        Profile::Stamped
    }

    fn get<'a>(
        &'a self,
        table: TableId,
        keys: &'a [RowKey],
        columns: Columns<'a>,
    ) -> BoxFuture<'a, Result<Vec<Option<StoredRow>>, StoreError>> {
        Box::pin(async move {
            rows::get(&self.place().session, layout::of(&self.tables, table)?, keys, columns).await
        })
    }

    fn scan<'a>(&'a self, scan: Scan<'a>) -> BoxFuture<'a, Result<Vec<StoredRow>, StoreError>> {
        Box::pin(async move {
            rows::scan(&self.place().session, layout::of(&self.tables, scan.table)?, scan).await
        })
    }

    fn all<'a>(
        &'a self,
        table: TableId,
        after: Option<&'a RowKey>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<StoredRow>, StoreError>> {
        Box::pin(async move {
            rows::all(&self.place().session, layout::of(&self.tables, table)?, after, limit).await
        })
    }

    fn own<'a>(
        &'a self,
        projection: &'a Arc<str>,
        partitions: &'a [TopicPartition],
    ) -> BoxFuture<'a, Result<Vec<Owner>, StoreError>> {
        Box::pin(async move {
            let grace = meta::grace(self.place()).await?;
            let mut taken: Vec<Step<'_, Owner>> = Vec::with_capacity(partitions.len());
            for at in partitions {
                taken.push(Box::pin(meta::own(self.place(), (projection, at), grace)));
            }
            self.place().session.all(taken).await
        })
    }

    fn check_owners<'a>(&'a self, owners: &'a [Owner]) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.shared.check_owners(owners))
    }

    fn settle<'a>(&'a self, owners: &'a [Owner]) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let settle = |owner| -> Step<'_, ()> { Box::pin(meta::set_seen(self.place(), owner, None)) };
            self.place().session.all(owners.iter().map(settle).collect()).await.map(drop)
        })
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.commit_phases(batch))
    }

    fn progress(&self) -> Arc<Progress> {
        self.shared.ledger.progress()
    }

    fn reload(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.shared.reload())
    }

    fn reload_progress(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.shared.reload_progress())
    }

    fn progress_changes(&self) -> tokio::sync::watch::Receiver<u64> {
        self.shared.ledger.changes()
    }

    fn parked(&self) -> Parked {
        self.shared.ledger.parked()
    }

    fn parked_page<'a>(&'a self, page: ParkedPage<'a>) -> BoxFuture<'a, Result<Vec<ParkedItem>, StoreError>> {
        Box::pin(parked::page(self.place(), &self.shared.decided, page))
    }

    fn parked_entry<'a>(
        &'a self,
        projection: &'a str,
        key: &'a ParkedKey,
    ) -> BoxFuture<'a, Result<Option<ParkedEntry>, StoreError>> {
        Box::pin(parked::entry(self.place(), &self.shared.decided, projection, key))
    }

    fn parked_queue<'a>(
        &'a self,
        projection: &'a str,
        key: &'a ParkedKey,
        after: Option<&'a QueuedEvent>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<QueuedEvent>, StoreError>> {
        Box::pin(parked::queue(self.place(), projection, key, after, limit))
    }

    fn pauses(&self) -> BoxFuture<'_, Result<Vec<Pause>, StoreError>> {
        Box::pin(coordination::pauses(self.place()))
    }

    fn pause<'a>(&'a self, pause: &'a Pause) -> BoxFuture<'a, Result<Pause, StoreError>> {
        Box::pin(coordination::pause(self.place(), pause))
    }

    fn resume<'a>(&'a self, projection: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(coordination::resume(self.place(), projection))
    }

    fn coordination(&self) -> Option<&dyn Coordination> {
        Some(self.place())
    }
}
