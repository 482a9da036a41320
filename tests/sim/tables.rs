//! The store as one owner sees it: every mutation of a phase travels by itself, and comes when and how the world likes.
//!
//! Of the stamped profile a phase is over when each of its writes is acknowledged; of the atomic one a batch is one write.
//! Progress and parked keys are those that this owner has read or written, as a process of its own would know them.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use kinora::event::TopicPartition;
use kinora::plan::TableId;
use kinora::store::{
    Batch, Bound, Columns, Owner, ParkChange, Parked, ParkedKey, Profile, Progress, ProgressMark,
    QueuedEvent, Scan, StoreError, StoredRow, Tables,
};
use kinora::testing::Around;
use kinora::value::encode::RowKey;

use crate::desk::{All, Answer, Ask, Decided, Edge, OwnerId, Page, Shared, Writing};
use crate::planted::Planted;

/// A generation's tables, for one owner.
pub struct SimTables {
    pub desk: Shared,
    pub owner: OwnerId,
    /// Number of the generation.
    pub generation: usize,
    /// The tables themselves; asked here only for what costs no read.
    pub inner: Arc<dyn Tables>,
    /// Sets progress back to a part of what it was, in quarters: as a process finds it that lost some of it.
    pub remembers_quarters: u64,
    pub view: Mutex<View>,
    pub planted: Planted,
}

/// What an owner knows without asking.
#[derive(Clone, Default)]
pub struct View {
    progress: Arc<Progress>,
    parked: Parked,
}

fn trouble() -> StoreError {
    StoreError::Unavailable("the simulation says so".to_owned())
}

impl SimTables {
    fn view(&self) -> std::sync::MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a fold reads is read whole: repairs of a part would split what was written as one (S1).
    fn whole(&self, columns: Columns<'_>) {
        if !matches!(columns, Columns::All) {
            self.desk.lock().broken = Some("a row that is to be folded is read in part".to_owned());
        }
    }

    async fn send(&self, phase: Vec<Writing>) -> Result<(), StoreError> {
        let sent = phase.into_iter().map(|writing| self.desk.ask(self.owner, Ask::Write(writing))).collect();
        All(sent).await.map_err(refusal)
    }

    /// What was acknowledged is known.
    fn learn(&self, marks: Vec<ProgressMark>, decides: bool) {
        let mut view = self.view();
        let progress = Arc::make_mut(&mut view.progress);
        for mark in marks {
            let same = |known: &&mut ProgressMark| known.projection == mark.projection && known.at == mark.at;
            match progress.marks.iter_mut().find(same) {
                Some(known) if known.next >= mark.next => {}
                Some(known) => known.next = mark.next,
                None => progress.marks.push(mark),
            }
        }
        if decides {
            // Only the owner has: nobody else has changed them meanwhile.
            view.parked = self.inner.parked();
        }
    }
}

/// Why an ask was not answered as it should be.
fn refusal(answer: Answer) -> StoreError {
    match answer {
        Answer::Refused(error) => error,
        _ => trouble(),
    }
}

/// The phases of a batch, in their order.
pub fn phases(batch: Batch) -> Vec<Vec<Writing>> {
    let rows = |phase: Vec<_>| phase.into_iter().map(Writing::Row).collect();
    let owners = batch.owners;
    let does_begin =
        |change: &ParkChange| matches!(change, ParkChange::Park { .. } | ParkChange::Enqueue { .. });
    let (begins, ends): (Vec<_>, Vec<_>) = batch.parked.into_iter().partition(does_begin);
    let decision = |change: ParkChange| {
        let (projection, at) = (change.projection(), &change.event().at);
        let owner = owners.iter().find(|owner| owner.projection == *projection && owner.at == *at).cloned();
        let nobody = || Owner { projection: Arc::clone(projection), at: at.clone(), epoch: 0 };
        let owner = owner.unwrap_or_else(nobody);
        Writing::Park(change, owner)
    };
    vec![
        rows(batch.buckets),
        rows(batch.derived),
        rows(batch.left),
        rows(batch.base),
        begins.into_iter().map(decision).collect(),
        ends.into_iter().map(decision).collect(),
        batch.progress.into_iter().map(Writing::Progress).collect(),
    ]
}

fn edge(bound: Bound<'_>) -> Edge {
    match bound {
        Bound::Unbounded => Edge::Unbounded,
        Bound::Included(bytes) => Edge::Included(bytes.to_vec()),
        Bound::Excluded(bytes) => Edge::Excluded(bytes.to_vec()),
    }
}

impl Edge {
    pub fn bound(&self) -> Bound<'_> {
        match self {
            Edge::Unbounded => Bound::Unbounded,
            Edge::Included(bytes) => Bound::Included(bytes),
            Edge::Excluded(bytes) => Bound::Excluded(bytes),
        }
    }
}

impl Around for SimTables {
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
            self.whole(columns);
            match self.desk.ask(self.owner, Ask::Get(table, keys.to_vec())).await {
                Answer::Rows(rows) => Ok(self.planted.read(table, keys, rows)),
                _ => Err(trouble()),
            }
        })
    }

    fn scan<'a>(&'a self, scan: Scan<'a>) -> BoxFuture<'a, Result<Vec<StoredRow>, StoreError>> {
        Box::pin(async move {
            self.whole(scan.columns);
            let (from, to) = (edge(scan.from), edge(scan.to));
            let page =
                Page { table: scan.table, partition: scan.partition.to_vec(), from, to, limit: scan.limit };
            match self.desk.ask(self.owner, Ask::Scan(page)).await {
                Answer::Page(rows) => Ok(self.planted.scanned(rows)),
                _ => Err(trouble()),
            }
        })
    }

    /// A comparing write: whoever asks at once with another is told no, and asks again.
    fn own<'a>(
        &'a self,
        projection: &'a Arc<str>,
        partitions: &'a [TopicPartition],
    ) -> BoxFuture<'a, Result<Vec<Owner>, StoreError>> {
        Box::pin(async move {
            self.planted.before_own();
            let taken = self.desk.lock().epochs[self.generation];
            let own = Writing::Own(Arc::clone(projection), partitions.to_vec(), taken);
            match self.desk.ask(self.owner, Ask::Write(own)).await {
                Answer::Owners(owners) => Ok(owners),
                other => Err(refusal(other)),
            }
        })
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let marks = batch.progress.clone();
            let decides = !batch.parked.is_empty();
            let phases = match self.inner.profile() {
                Profile::Stamped => {
                    // From here on anything of it may arrive.
                    self.desk.lock().decided.extend(Decided::of(&batch));
                    self.planted.phases(batch)
                }
                Profile::Atomic => self.planted.batches(batch),
            };
            let mut sent = Ok(());
            for phase in phases.into_iter().filter(|phase| !phase.is_empty()) {
                sent = self.planted.acknowledged(self.send(phase).await);
                if sent.is_err() {
                    break;
                }
            }
            self.planted.told(sent.is_ok());
            if sent.is_err() && self.inner.profile() == Profile::Atomic {
                // Progress and what waits are written as one, and known as one.
                *self.view() = View { progress: self.inner.progress(), parked: self.inner.parked() };
            }
            sent?;
            self.learn(marks, decides);
            Ok(())
        })
    }

    fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.view().progress)
    }

    fn reload(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let Answer::Ledger(progress, parked) = self.desk.ask(self.owner, Ask::Reload).await else {
                return Err(trouble());
            };
            let mut progress = Progress::clone(&progress);
            for mark in &mut progress.marks {
                mark.next = mark.next * self.remembers_quarters / 4;
            }
            let parked = self.planted.reloaded(parked);
            *self.view() = View { progress: self.planted.progress(progress), parked };
            Ok(())
        })
    }

    fn parked_queue<'a>(
        &'a self,
        projection: &'a str,
        key: &'a ParkedKey,
        after: Option<&'a QueuedEvent>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<QueuedEvent>, StoreError>> {
        Box::pin(async move {
            let queue = self.inner.parked_queue(projection, key, after, limit).await?;
            Ok(self.planted.queue(queue))
        })
    }

    fn parked(&self) -> Parked {
        self.planted.parked(&self.view().parked)
    }
}
