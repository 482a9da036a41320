//! The desk between owners and the world: what they ask of store and log lies here until the world answers it.
//!
//! Comes in: asks, each of an owner. Goes out: answers, whenever and in whatever order the world gives them. What an owner
//! stops waiting for, because it crashed or gave up, stays afloat if it was a write.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use fastrand::Rng;
use kinora::event::{Offset, Record, TopicPartition};
use kinora::plan::TableId;
use kinora::source::Fetched;
use kinora::store::{
    Batch, Ended, Mutation, Owner, ParkChange, Parked, ParkedKey, Progress, ProgressMark, QueuedEvent,
    StoreError, StoredRow,
};
use kinora::value::encode::RowKey;

/// What an owner asks.
#[derive(Clone, Debug)]
pub enum Ask {
    /// Whole rows by key.
    Get(TableId, Vec<RowKey>),
    Scan(Page),
    /// Progress and parked keys.
    Reload,
    Write(Writing),
    /// Which topics there are.
    Topic,
    /// Records of one of these places, at most about so many bytes.
    Fetch(Vec<(TopicPartition, Offset)>, usize),
}

/// A read of a part of a partition, with its own bounds.
#[derive(Clone, Debug)]
pub struct Page {
    pub table: TableId,
    pub partition: Vec<u8>,
    pub from: Edge,
    pub to: Edge,
    pub limit: usize,
}

#[derive(Clone, Debug)]
pub enum Edge {
    Unbounded,
    Included(Vec<u8>),
    Excluded(Vec<u8>),
}

/// What stands or falls as one.
#[derive(Clone, Debug)]
pub enum Writing {
    Row(Mutation),
    /// A decision, with the owner who decides.
    Park(ParkChange, Owner),
    Progress(ProgressMark),
    /// Taking these partitions of a projection, if they have been taken so often until now.
    Own(Arc<str>, Vec<TopicPartition>, u64),
    /// On a store of the atomic profile.
    Batch(Box<Batch>),
}

#[derive(Debug)]
pub enum Answer {
    Rows(Vec<Option<StoredRow>>),
    Page(Vec<StoredRow>),
    Ledger(Arc<Progress>, Parked),
    Fetched(Fetched),
    Owners(Vec<Owner>),
    Done,
    Failed,
    /// The store has said no.
    Refused(StoreError),
}

pub type OwnerId = usize;

/// A write that was sent, and of which nobody waits to hear.
#[derive(Clone, Debug)]
pub struct Afloat {
    pub owner: OwnerId,
    pub writing: Writing,
}

/// What lies on the desk.
pub struct Desk {
    next: u64,
    pub pending: BTreeMap<u64, (OwnerId, Ask)>,
    answers: BTreeMap<u64, Answer>,
    pub afloat: Vec<Afloat>,
    /// The log, as far as it has been written.
    pub log: BTreeMap<TopicPartition, Vec<Record>>,
    /// Chance of what is answered at once.
    pub rng: Rng,
    /// Whether a reader always has at hand what the log holds.
    pub prompt: bool,
    /// How often each generation's partitions have been taken.
    pub epochs: Vec<u64>,
    /// Records as they are read by whoever does not understand them yet.
    pub spoilt: BTreeMap<(TopicPartition, Offset), Bytes>,
    /// Whether those who begin now understand them.
    pub mended: bool,
    /// What owners have decided since the world last looked.
    pub decided: Vec<Decided>,
    /// What an owner has done that it must never do.
    pub broken: Option<String>,
}

/// How an event leaves the queue of its key, as an owner is about to write it.
#[derive(Debug)]
pub struct Decided {
    pub key: ParkedKey,
    pub event: QueuedEvent,
    pub ended: Ended,
}

impl Decided {
    /// What a batch decides.
    pub fn of(batch: &Batch) -> Vec<Decided> {
        let decided = |change: &ParkChange| match change.clone() {
            ParkChange::Dequeue { key, event, ended, .. } => Some(Decided { key, event, ended }),
            _ => None,
        };
        batch.parked.iter().filter_map(decided).collect()
    }
}

impl Desk {
    /// Takes a write that is afloat, if there is one.
    pub fn take_afloat(&mut self, pick: u16) -> Option<Afloat> {
        let count = self.afloat.len();
        (count > 0).then(|| self.afloat.swap_remove(usize::from(pick) % count))
    }
}

/// The desk, shared by owners and world.
#[derive(Clone)]
pub struct Shared(Arc<Mutex<Desk>>);

impl Shared {
    pub fn new(rng: Rng, prompt: bool) -> Shared {
        Shared(Arc::new(Mutex::new(Desk {
            next: 0,
            pending: BTreeMap::new(),
            answers: BTreeMap::new(),
            afloat: Vec::new(),
            log: BTreeMap::new(),
            rng,
            prompt,
            epochs: Vec::new(),
            spoilt: BTreeMap::new(),
            mended: false,
            decided: Vec::new(),
            broken: None,
        })))
    }

    pub fn lock(&self) -> MutexGuard<'_, Desk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lays an ask on the desk at once; the answer may be waited for.
    pub fn ask(&self, owner: OwnerId, ask: Ask) -> Ticket {
        let mut desk = self.lock();
        let id = desk.next;
        desk.next += 1;
        desk.pending.insert(id, (owner, ask));
        Ticket { desk: self.clone(), id }
    }

    pub fn answer(&self, id: u64, answer: Answer) {
        let mut desk = self.lock();
        desk.pending.remove(&id);
        desk.answers.insert(id, answer);
    }
}

/// The right to an answer.
pub struct Ticket {
    desk: Shared,
    id: u64,
}

impl Future for Ticket {
    type Output = Answer;

    /// The world asks again after each answer, so nobody is woken.
    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Answer> {
        match self.desk.lock().answers.remove(&self.id) {
            Some(answer) => Poll::Ready(answer),
            None => Poll::Pending,
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut desk = self.desk.lock();
        desk.answers.remove(&self.id);
        if let Some((owner, Ask::Write(writing))) = desk.pending.remove(&self.id) {
            desk.afloat.push(Afloat { owner, writing });
        }
    }
}

/// Waits for all answers; ends at the first that is none, and leaves the others afloat.
pub struct All(pub Vec<Ticket>);

impl Future for All {
    type Output = Result<(), Answer>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut at = 0;
        while let Some(ticket) = self.0.get_mut(at) {
            match Pin::new(ticket).poll(context) {
                Poll::Pending => at += 1,
                Poll::Ready(no @ (Answer::Failed | Answer::Refused(_))) => return Poll::Ready(Err(no)),
                Poll::Ready(_) => drop(self.0.swap_remove(at)),
            }
        }
        if self.0.is_empty() { Poll::Ready(Ok(())) } else { Poll::Pending }
    }
}
