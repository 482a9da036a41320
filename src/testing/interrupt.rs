//! Tables that act as a process would that dies between two writes, or comes back without its progress.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::BoxFuture;

use crate::store::{Batch, Progress, ProgressMark, StoreError, Tables};
use crate::testing::Around;

/// Passes everything on to other tables until its writes are used up; then nothing more is written.
///
/// Where its writes can be used up, only for stores of the *stamped* profile: a batch is cut between two of its writes,
/// which an atomic store never does.
pub struct Interrupted {
    inner: Arc<dyn Tables>,
    writes_left: AtomicU64,
    written: AtomicU64,
    batches: AtomicU64,
    forgets_progress: bool,
    /// Whether the store is to compare each base row with what it holds.
    compares: bool,
    /// Projections that rest on their batches being applied whole.
    whole: Vec<Arc<str>>,
}

impl Interrupted {
    /// Stops after so many writes, progress counted as one.
    pub fn after(inner: Arc<dyn Tables>, writes: u64) -> Interrupted {
        Interrupted {
            inner,
            writes_left: AtomicU64::new(writes),
            written: AtomicU64::new(0),
            batches: AtomicU64::new(0),
            forgets_progress: false,
            compares: false,
            whole: Vec::new(),
        }
    }

    /// Neither cuts the batches of these projections nor forgets their progress: what an atomic store never does.
    pub fn keeping_whole(self, projections: Vec<Arc<str>>) -> Interrupted {
        Interrupted { whole: projections, ..self }
    }

    /// Whether a batch is of one of these projections.
    fn is_one(&self, batch: &Batch) -> bool {
        let owned = batch.owners.iter().any(|owner| self.whole.contains(&owner.projection));
        owned || self.is_whole(&batch.progress)
    }

    fn is_whole(&self, marks: &[ProgressMark]) -> bool {
        marks.iter().any(|mark| self.whole.contains(&mark.projection))
    }

    /// Never stops, but shows progress as not begun: everything is delivered again. The partitions' bases stay, since
    /// they are chosen once for the life of a table.
    pub fn forgetful(inner: Arc<dyn Tables>) -> Interrupted {
        Interrupted { forgets_progress: true, ..Interrupted::after(inner, u64::MAX) }
    }

    /// Never stops, and takes from batches the word that they continue what is stored: the store then looks at each row
    /// before it replaces it, as it does with a batch that may be old.
    pub fn comparing(inner: Arc<dyn Tables>) -> Interrupted {
        Interrupted { compares: true, ..Interrupted::after(inner, u64::MAX) }
    }

    /// How many writes were passed on.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// How many batches were passed on, whole or cut.
    pub fn batches(&self) -> u64 {
        self.batches.load(Ordering::Relaxed)
    }

    async fn commit_within_budget(&self, mut batch: Batch) -> Result<(), StoreError> {
        if self.compares {
            batch.begins_at = None;
        }
        let wanted = writes_of(&batch);
        let left = self.writes_left.load(Ordering::Relaxed);
        let passed = match wanted.min(left) {
            part if part < wanted && self.is_one(&batch) => 0,
            part => part,
        };
        // What is not passed on ends it all the same.
        self.writes_left.store(if passed == wanted { left - passed } else { 0 }, Ordering::Relaxed);
        self.written.fetch_add(passed, Ordering::Relaxed);
        self.batches.fetch_add(1, Ordering::Relaxed);
        if passed == wanted {
            return self.inner.commit(batch).await;
        }
        self.inner.commit(cut(batch, passed)).await?;
        Err(StoreError::Refused("the process was stopped here, as the test asked".to_owned()))
    }
}

fn writes_of(batch: &Batch) -> u64 {
    let rows = batch.buckets.len() + batch.derived.len() + batch.left.len() + batch.base.len();
    (rows + batch.parked.len() + batch.progress.len()) as u64
}

/// The first so many writes of a batch, in the order of its phases.
fn cut(mut batch: Batch, writes: u64) -> Batch {
    let mut left = usize::try_from(writes).unwrap_or(usize::MAX);
    let mut keep = |len: usize| {
        let kept = len.min(left);
        left -= kept;
        kept
    };
    batch.buckets.truncate(keep(batch.buckets.len()));
    batch.derived.truncate(keep(batch.derived.len()));
    batch.left.truncate(keep(batch.left.len()));
    batch.base.truncate(keep(batch.base.len()));
    batch.parked.truncate(keep(batch.parked.len()));
    batch.progress.truncate(keep(batch.progress.len()));
    batch
}

impl Around for Interrupted {
    fn inner(&self) -> &dyn Tables {
        self.inner.as_ref()
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.commit_within_budget(batch))
    }

    fn progress(&self) -> Arc<Progress> {
        let progress = self.inner.progress();
        if !self.forgets_progress {
            return progress;
        }
        let from_the_start = |mark: &ProgressMark| match self.is_whole(std::slice::from_ref(mark)) {
            true => mark.clone(),
            false => ProgressMark { next: 0, time_ms: 0, relayed: None, ..mark.clone() },
        };
        Arc::new(Progress::new(progress.marks.iter().map(from_the_start).collect()))
    }
}
