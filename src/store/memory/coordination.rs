//! Pauses, requests and workers of the store in memory. What ends by itself does so by the runtime's clock.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use crate::event::TopicPartition;
use crate::store::coordination::{Asked, Coordination, Pause, Request, Worker};
use crate::store::ledger::lock;
use crate::store::{Owner, StoreError};

type Slot = (Arc<str>, TopicPartition);

/// A loop: its projection, and the id of its process.
type Name = (Arc<str>, u128);

/// Something that stands until a time.
type Standing<T> = (T, Instant);

/// What the processes of one generation have said.
#[derive(Default)]
pub(super) struct Said {
    pauses: Mutex<BTreeMap<Arc<str>, Pause>>,
    asked: Mutex<BTreeMap<Slot, Standing<Asked>>>,
    workers: Mutex<BTreeMap<Name, Standing<Worker>>>,
}

impl Said {
    pub fn pauses(&self) -> Vec<Pause> {
        lock(&self.pauses).values().cloned().collect()
    }

    pub fn pause(&self, pause: &Pause) -> Pause {
        lock(&self.pauses).entry(Arc::clone(&pause.projection)).or_insert_with(|| pause.clone()).clone()
    }

    pub fn resume(&self, projection: &str) {
        lock(&self.pauses).remove(projection);
    }

    /// Changes the request of a partition, where there is one still.
    fn change<T: Default>(&self, slot: &Slot, change: impl FnOnce(&mut Standing<Asked>) -> T) -> T {
        let mut asked = lock(&self.asked);
        let now = Instant::now();
        asked.get_mut(slot).filter(|(_, until)| *until > now).map(change).unwrap_or_default()
    }
}

fn slot(request: &Request) -> Slot {
    (Arc::clone(&request.projection), request.at.clone())
}

impl Coordination for Said {
    fn ask<'a>(&'a self, request: &'a Request, kept: Duration) -> BoxFuture<'a, Result<Asked, StoreError>> {
        Box::pin(async move {
            let (mut asked, now) = (lock(&self.asked), Instant::now());
            if let Some((there, until)) = asked.get(&slot(request))
                && *until > now
                && (there.answer.is_none() || there.request.id == request.id)
            {
                return Ok(there.clone());
            }
            let new = Asked { request: request.clone(), taken: None, answer: None };
            asked.insert(slot(request), (new.clone(), now + kept));
            Ok(new)
        })
    }

    fn asked(&self) -> BoxFuture<'_, Result<Vec<Asked>, StoreError>> {
        Box::pin(async {
            let now = Instant::now();
            let asked = lock(&self.asked);
            Ok(asked.values().filter(|(_, until)| *until > now).map(|(asked, _)| asked.clone()).collect())
        })
    }

    fn asked_at<'a>(
        &'a self,
        projection: &'a Arc<str>,
        at: &'a TopicPartition,
    ) -> BoxFuture<'a, Result<Option<Asked>, StoreError>> {
        let slot = (Arc::clone(projection), at.clone());
        Box::pin(async move { Ok(self.change(&slot, |(asked, _)| Some(asked.clone()))) })
    }

    fn take<'a>(&'a self, asked: &'a Asked, owner: &'a Owner) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move {
            Ok(self.change(&slot(&asked.request), |(there, _)| {
                let is_free = there.taken.is_none_or(|taken| taken < owner.epoch);
                if there.request.id == asked.request.id && there.answer.is_none() && is_free {
                    there.taken = Some(owner.epoch);
                }
                there.request.id == asked.request.id && there.taken == Some(owner.epoch)
            }))
        })
    }

    fn answer<'a>(
        &'a self,
        request: &'a Request,
        owner: &'a Owner,
        answer: &'a str,
        kept: Duration,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.change(&slot(request), |(there, until)| {
                if there.request.id == request.id && there.taken == Some(owner.epoch) {
                    (there.answer, *until) = (Some(answer.into()), Instant::now() + kept);
                }
            });
            Ok(())
        })
    }

    fn withdraw<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move {
            let mut asked = lock(&self.asked);
            let ours = asked.get(&slot(request)).filter(|(there, _)| there.request.id == request.id);
            let is_taken = ours.is_some_and(|(there, _)| there.taken.is_some());
            if ours.is_some() && !is_taken {
                asked.remove(&slot(request));
            }
            Ok(!is_taken)
        })
    }

    fn announce<'a>(&'a self, worker: &'a Worker, kept: Duration) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let name = (Arc::clone(&worker.projection), worker.id);
            lock(&self.workers).insert(name, (worker.clone(), Instant::now() + kept));
            Ok(())
        })
    }

    fn leave<'a>(&'a self, worker: &'a Worker) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            lock(&self.workers).remove(&(Arc::clone(&worker.projection), worker.id));
            Ok(())
        })
    }

    fn workers(&self) -> BoxFuture<'_, Result<Vec<Worker>, StoreError>> {
        Box::pin(async {
            let now = Instant::now();
            let workers = lock(&self.workers);
            Ok(workers.values().filter(|(_, until)| *until > now).map(|(worker, _)| worker.clone()).collect())
        })
    }
}
