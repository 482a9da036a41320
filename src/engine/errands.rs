//! What a process that folds does for operators: it heeds what is paused, does steps for parked keys that are asked for in the
//! store, and says what it works.
//!
//! Comes in: rows that operators write, looked at each second. Goes out: steps of its own loops, each answered where it was
//! asked. A step is taken on in the epoch in which the partition is ours; one that an owner had taken on who has lost the
//! partition since is done again by the next, which harms nothing: a retry finds what is applied, a skip and a drop name the
//! event that they mean.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::engine::{Projecting, parked};
use crate::project::retry::ParkedStep;
use crate::serve::{ParkedDone, ParkedError};
use crate::store::Owner;
use crate::store::coordination::{Asked, Coordination, Request, Worker};

/// How often the store is asked what is to be done.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often, and for how long, after something was done: who asks for a step often asks for the next.
const LOOK_SOON: Duration = Duration::from_millis(50);
const SOON: Duration = Duration::from_secs(2);

/// How often it is said again what is worked, and how long it stands: somebody who has died is an owner for so long.
const SAY_EVERY: Duration = Duration::from_secs(5);
const SAID: Duration = Duration::from_secs(15);

/// Longest time for taking back what was said, when the process ends.
const LEAVE_MAX: Duration = Duration::from_secs(2);

/// How long an answer stands.
const ANSWERED: Duration = Duration::from_secs(60);

/// What a step came to, as it stands in the store.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum StepAnswer {
    Done(ParkedDone),
    Refused(String),
    Failed(String),
}

impl Projecting {
    /// Runs errands for as long as it is polled. Does nothing on a store that one process has for itself.
    pub(super) async fn run_errands(&self) -> Infallible {
        let Some(desk) = self.tables().coordination() else { return std::future::pending().await };
        tokio::select! {
            never = self.heed_pauses() => never,
            never = self.do_requests(desk) => never,
            never = self.announce(desk) => never,
        }
    }

    async fn heed_pauses(&self) -> Infallible {
        loop {
            match self.tables().pauses().await {
                Ok(pauses) => self.set_pauses(&pauses),
                Err(error) => tracing::debug!(%error, "It could not be read what is paused."),
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn do_requests(&self, desk: &dyn Coordination) -> Infallible {
        let mut doing = FuturesUnordered::new();
        let mut under_way = BTreeSet::new();
        let (mut next, mut soon_until) = (Instant::now(), Instant::now());
        loop {
            tokio::select! {
                Some(id) = doing.next(), if !doing.is_empty() => {
                    under_way.remove(&id);
                    soon_until = Instant::now() + SOON;
                    next = next.min(Instant::now() + LOOK_SOON);
                }
                () = tokio::time::sleep_until(next) => {
                    for (asked, owner) in self.due_of(desk).await {
                        // At most one for each partition: there is no more room for them in the store.
                        if under_way.insert(asked.request.id) {
                            doing.push(self.do_request(desk, asked, owner));
                        }
                    }
                    next = Instant::now() + if Instant::now() < soon_until { LOOK_SOON } else { LOOK_EVERY };
                }
            }
        }
    }

    /// What is asked of us and not done.
    async fn due_of(&self, desk: &dyn Coordination) -> Vec<(Asked, Owner)> {
        let asked = match desk.asked().await {
            Ok(asked) => asked,
            Err(error) => {
                tracing::debug!(%error, "It could not be read what is asked for.");
                return Vec::new();
            }
        };
        let open = asked.into_iter().filter(|asked| asked.answer.is_none());
        open.filter_map(|asked| {
            let owner = self.owner_of(&asked.request.projection, &asked.request.at)?;
            Some((asked, owner))
        })
        .collect()
    }

    /// Does what is asked, if it is for us to do; answers its id.
    async fn do_request(&self, desk: &dyn Coordination, asked: Asked, owner: Owner) -> u128 {
        let Asked { request, .. } = &asked;
        match desk.take(&asked, &owner).await {
            Ok(true) => {}
            Ok(false) => return request.id,
            Err(error) => {
                tracing::debug!(%error, "A request could not be taken on; it is tried again.");
                return request.id;
            }
        }
        let Request { projection, step, by, .. } = request;
        let Some(done) = self.step_for(request).await else {
            // The partition is being handed over: whoever takes it up finds the request.
            return request.id;
        };
        let answer = match done {
            Ok(done) => {
                let ParkedDone { applied, skipped, dropped, waiting, .. } = done;
                tracing::warn!(%projection, %step, %by, applied, skipped, dropped, waiting, "An operator's request was done.");
                StepAnswer::Done(done)
            }
            Err(error) => {
                tracing::warn!(%projection, %step, %by, %error, "An operator's request was not done.");
                match error {
                    ParkedError::Unavailable(reason) => StepAnswer::Failed(reason),
                    refused => StepAnswer::Refused(refused.to_string()),
                }
            }
        };
        let answer = serde_json::to_string(&answer).expect("numbers and texts have JSON");
        if let Err(error) = desk.answer(request, &owner, &answer, ANSWERED).await {
            tracing::warn!(%projection, %step, %by, %error, "What came of a request could not be said.");
        }
        request.id
    }

    /// `None` where nothing was done, because the loop ends.
    async fn step_for(&self, request: &Request) -> Option<Result<ParkedDone, ParkedError>> {
        let step = match step_of(request) {
            Ok(step) => step,
            Err(refused) => return Some(Err(refused)),
        };
        let asked = self.parked_queue_of(&request.projection, &request.at)?;
        parked::ask_loop(&asked, step).await
    }

    /// Says what each loop works and does: again and again, and at once where it is news.
    async fn announce(&self, desk: &dyn Coordination) -> Infallible {
        let mut said: BTreeMap<Arc<str>, (Worker, Instant)> = BTreeMap::new();
        loop {
            if self.relays()
                && let Err(error) = self.tables().reload_progress().await
            {
                tracing::debug!(%error, "It could not be read how far what is relayed is folded.");
            }
            let now = self.as_workers();
            for gone in said.keys().filter(|name| !now.iter().any(|worker| worker.projection == **name)) {
                let worker = &said[gone].0;
                if let Err(error) = desk.leave(worker).await {
                    tracing::debug!(%error, "It could not be said what is not worked any more.");
                }
            }
            said.retain(|name, _| now.iter().any(|worker| worker.projection == *name));
            for worker in now {
                let known = said.get(&worker.projection);
                if known.is_some_and(|(known, at)| *known == worker && at.elapsed() < SAY_EVERY) {
                    continue;
                }
                match desk.announce(&worker, SAID).await {
                    Ok(()) => drop(said.insert(Arc::clone(&worker.projection), (worker, Instant::now()))),
                    Err(error) => tracing::debug!(%error, "It could not be said what is worked."),
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Takes back what was said, within bounds: the process ends.
    pub(super) async fn leave(&self, workers: &[Worker]) {
        let Some(desk) = self.tables().coordination() else { return };
        let leave = async {
            for worker in workers {
                if desk.leave(worker).await.is_err() {
                    return;
                }
            }
        };
        if tokio::time::timeout(LEAVE_MAX, leave).await.is_err() {
            tracing::debug!("It could not be said in time that nothing is worked here any more.");
        }
    }
}

/// The step that a request is for.
fn step_of(request: &Request) -> Result<ParkedStep, ParkedError> {
    let Request { key, step, first, .. } = request;
    let refused = |text: &str| ParkedError::Refused(format!("{text:?} is no position"));
    let first = first.as_deref().map(|text| parked::position_of(text).ok_or_else(|| refused(text)));
    Ok(ParkedStep { key: key.clone(), release: parked::release_of(step)?, first: first.transpose()? })
}
