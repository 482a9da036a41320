//! What processes on one store tell each other: what is paused, what is asked for parked keys, and who works what.
//!
//! A [`Pause`] stays until it is taken back. A [`Request`] is a step for a parked key, for whoever owns its partition: there is
//! at most one of a partition at a time, and it ends by itself, as does what a [`Worker`] says of itself. No row rests on any
//! of this: an owner does a step only while its epoch holds, and a step names what it means, so that one done twice does
//! nothing twice.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::{Owner, StoreError};
use crate::event::TopicPartition;
use crate::value::ParkedKey;

/// A projection that is not to fold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    pub projection: Arc<str>,
    /// Who said so.
    pub by: Box<str>,
    /// When, milliseconds since 1970.
    pub since_ms: i64,
}

impl fmt::Display for Pause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = jiff::Timestamp::from_millisecond(self.since_ms).unwrap_or_default();
        write!(f, "by {} since {since}", self.by)
    }
}

/// A step that is asked of the owner of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Drawn by whoever asks.
    pub id: u128,
    pub projection: Arc<str>,
    pub at: TopicPartition,
    pub key: ParkedKey,
    /// What is to be done.
    pub step: Box<str>,
    /// The event that is meant to be the first, as `topic:partition@offset`; none where that does not matter.
    pub first: Option<Box<str>>,
    /// Who asks.
    pub by: Box<str>,
    /// When, milliseconds since 1970.
    pub asked_ms: i64,
}

/// A request, and what has become of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub request: Request,
    /// Epoch of the owner that has taken it on; none where nobody has yet.
    pub taken: Option<u64>,
    /// What came of it, in the words of whoever did it.
    pub answer: Option<Box<str>>,
}

/// A write loop of a process, as it tells of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worker {
    /// Drawn when the process began.
    pub id: u128,
    pub projection: Arc<str>,
    /// `host:pid`.
    pub process: Box<str>,
    /// Its partitions, each with the epoch in which it took it.
    pub partitions: Vec<(TopicPartition, u64)>,
    /// What it is doing, for a person.
    pub state: Box<str>,
}

/// Where the processes that share a generation of tables meet.
pub trait Coordination: Send + Sync {
    /// Asks for a step, for at most so long, unless another request of that partition is under way. Answers the request that
    /// stands there now: this one where it was taken in.
    ///
    /// # Errors
    /// The store fails; the request may stand there all the same.
    fn ask<'a>(&'a self, request: &'a Request, kept: Duration) -> BoxFuture<'a, Result<Asked, StoreError>>;

    /// All requests of the generation, those that are answered too.
    fn asked(&self) -> BoxFuture<'_, Result<Vec<Asked>, StoreError>>;

    /// The request of one partition, after everything that was acknowledged.
    fn asked_at<'a>(
        &'a self,
        projection: &'a Arc<str>,
        at: &'a TopicPartition,
    ) -> BoxFuture<'a, Result<Option<Asked>, StoreError>>;

    /// Takes a request on, as the owner of its partition; answers whether it is this owner's now. One that an earlier owner
    /// has taken on, and not answered, goes to the later.
    fn take<'a>(&'a self, asked: &'a Asked, owner: &'a Owner) -> BoxFuture<'a, Result<bool, StoreError>>;

    /// Says what has become of a request, for so long; nothing where it is this owner's no more.
    fn answer<'a>(
        &'a self,
        request: &'a Request,
        owner: &'a Owner,
        answer: &'a str,
        kept: Duration,
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Takes a request back. Answers whether nobody had taken it on: then nobody will.
    fn withdraw<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<bool, StoreError>>;

    /// Says what a loop does, for so long.
    fn announce<'a>(&'a self, worker: &'a Worker, kept: Duration) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Takes back what a loop has said.
    fn leave<'a>(&'a self, worker: &'a Worker) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Every loop that has said something, and not for too long.
    fn workers(&self) -> BoxFuture<'_, Result<Vec<Worker>, StoreError>>;
}

/// Of several that say they work a partition the latest does: its process, and its epoch.
pub fn owner_of<'w>(
    workers: &'w [Worker],
    projection: &str,
    at: &TopicPartition,
) -> Option<(&'w Worker, u64)> {
    let of_it = workers.iter().filter(|worker| *worker.projection == *projection);
    let taken = of_it.flat_map(|worker| worker.partitions.iter().map(move |taken| (worker, taken)));
    taken
        .filter(|(_, (of, _))| of == at)
        .map(|(worker, (_, epoch))| (worker, *epoch))
        .max_by_key(|(_, epoch)| *epoch)
}
