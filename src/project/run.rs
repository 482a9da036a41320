//! A write loop that runs: batch after batch, until it is told to stop or cannot go on.
//!
//! Comes in: what is paused, what is asked for parked keys, whether to stop. Goes out: what it is doing. Trouble with the store or the
//! log sends it back to the last commit, with growing pauses.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::budget::Share;
use super::park::ParkedKeys;
use super::retry::{ParkedRequest, ParkedRequests};
use super::{Halt, Input, Projector, ProjectorState};
use crate::source::{Fetched, Source, SourceError};
use crate::store::StoreError;
use crate::store::coordination::Pause;

/// What a running projector does next.
enum Next {
    Asked((Arc<dyn Source>, ParkedRequest)),
    /// Other projections are paused, or this one, or it is not any more.
    Told,
    Begun(Result<(Option<Fetched>, Share), Halt>),
}

/// Waits for something that is asked for parked keys; `None` where nobody can ask any more.
async fn asked(requests: &mut Option<ParkedRequests>) -> Option<(Arc<dyn Source>, ParkedRequest)> {
    let requests = requests.as_mut()?;
    let request = requests.asked.recv().await?;
    Some((Arc::clone(&requests.source), request))
}

impl Projector {
    /// Works until told to stop; says what it is doing in `state`. Ends by itself only when it halts.
    pub async fn run(self, state: watch::Sender<ProjectorState>, stop: watch::Receiver<bool>) {
        self.run_with(&mut None, state, stop).await;
    }

    /// As [`Projector::run`], and between two batches does what is asked for parked keys, while it is paused too. Answers
    /// itself where it has halted and owns its partitions still.
    pub async fn run_with(
        mut self,
        requests: &mut Option<ParkedRequests>,
        state: watch::Sender<ProjectorState>,
        mut stop: watch::Receiver<bool>,
    ) -> Option<Projector> {
        let (mut pause, mut pauses, mut is_paused) = (Backoff::default(), self.pauses.clone(), false);
        loop {
            is_paused = self.say_paused(&pauses.borrow_and_update(), &state, is_paused);
            // Only the wait for records is cut short: what was fetched is folded and committed to its end, so that
            // nothing of this loop is still under way when it has stopped.
            let next = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return None,
                Some(asked) = asked(requests) => Next::Asked(asked),
                Ok(()) = pauses.changed() => Next::Told,
                begun = self.begin(), if !is_paused => Next::Begun(begun),
            };
            let worked = match next {
                Next::Begun(Ok((fetched, share))) => self.work_off(fetched, share).await,
                Next::Begun(Err(halt)) => Err(halt),
                Next::Asked((source, request)) => self.answer(source.as_ref(), request).await,
                // What was fetched meanwhile is gone.
                Next::Told => self.seek_back(),
            };
            if let Err(halt) = &worked {
                self.counts.failed(halt);
            }
            match worked {
                Ok(()) => {
                    self.activity.worked();
                    pause.reset();
                    if !is_paused {
                        say(&state, ProjectorState::Running);
                    }
                }
                Err(Halt::Store(StoreError::Unavailable(reason)))
                | Err(Halt::Source(SourceError::Unavailable(reason))) => {
                    tracing::warn!(projection = %self.projection.name, %reason, "Trying again.");
                    self.activity.failed();
                    say(&state, ProjectorState::Waiting(reason));
                    if let Err(halt) = self.rewind() {
                        return self.halt(&state, &halt);
                    }
                    tokio::select! {
                        _ = stop.wait_for(|stop| *stop) => return None,
                        () = tokio::time::sleep(pause.next()) => {}
                    }
                }
                Err(halt) => return self.halt(&state, &halt),
            }
        }
    }

    /// Goes on doing what is asked for parked keys where the loop has halted, and folds nothing, until told to stop or nobody
    /// can ask any more.
    pub async fn attend(mut self, mut requests: ParkedRequests, mut stop: watch::Receiver<bool>) {
        loop {
            // What was not committed is forgotten; that the log cannot be read on does not matter here.
            let _ = self.rewind();
            let request = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                request = requests.asked.recv() => request,
            };
            let Some(ParkedRequest { step, reply }) = request else { return };
            let stepped = self.step_parked(requests.source.as_ref(), &step).await;
            let is_lost = matches!(stepped, Err(Halt::Store(StoreError::LostOwnership { .. })));
            let _ = reply.send(stepped.map_err(|halt| halt.to_string()));
            if is_lost {
                return;
            }
        }
    }

    /// Says whether this projection is paused, where that is news.
    fn say_paused(&self, pauses: &[Pause], state: &watch::Sender<ProjectorState>, was_paused: bool) -> bool {
        let name = &self.projection.name;
        let paused = pauses.iter().find(|pause| pause.projection == *name);
        let before = state.borrow().clone();
        match paused {
            Some(pause) if !was_paused => {
                tracing::warn!(projection = %name, by = %pause.by, "Projection is paused: it folds nothing.");
                say(
                    state,
                    match before {
                        // What failed stays to be done again.
                        ProjectorState::Waiting(reason) => {
                            ProjectorState::Waiting(format!("paused {pause}, while {reason}"))
                        }
                        _ => ProjectorState::Paused(pause.to_string()),
                    },
                );
            }
            None if was_paused => {
                tracing::warn!(projection = %name, "Projection is resumed.");
                if let ProjectorState::Paused(_) = before {
                    say(state, ProjectorState::Running);
                }
            }
            _ => {}
        }
        paused.is_some()
    }

    /// Does a step for a parked key, and tells whoever asked for it.
    async fn answer(&mut self, source: &dyn Source, request: ParkedRequest) -> Result<(), Halt> {
        // What was fetched while this was asked for is gone.
        self.seek_back()?;
        let stepped = self.step_parked(source, &request.step).await;
        let (told, worked) = match stepped {
            Ok(stepped) => (Ok(stepped), Ok(())),
            Err(halt) => (Err(halt.to_string()), Err(halt)),
        };
        // Whoever asked may be gone: what was done is in the store all the same.
        let _ = request.reply.send(told);
        worked
    }

    fn halt(self, state: &watch::Sender<ProjectorState>, halt: &Halt) -> Option<Projector> {
        tracing::error!(projection = %self.projection.name, reason = %halt, "Projection halted.");
        let reason = halt.to_string();
        if let Halt::Store(StoreError::LostOwnership { .. }) = halt {
            say(state, ProjectorState::Lost(reason));
            return None;
        }
        say(state, ProjectorState::Halted(reason));
        Some(self)
    }

    /// Forgets what is in memory and reads on from the last commit.
    pub(super) fn rewind(&mut self) -> Result<(), Halt> {
        self.rows.forget();
        self.seen = None;
        self.buckets.forget();
        self.parked = ParkedKeys::from_store(&self.projection.name, &self.tables.parked());
        self.seek_back()
    }

    /// Learns what has become of decisions that were not acknowledged: what waits is not known without. An event that is
    /// queued behind others which have left meanwhile would wait for nobody.
    pub(super) async fn end_doubt(&mut self) -> Result<(), Halt> {
        if self.in_doubt {
            self.tables.reload().await?;
            self.parked = ParkedKeys::from_store(&self.projection.name, &self.tables.parked());
            self.in_doubt = false;
        }
        Ok(())
    }

    /// Reads on from the last commit.
    pub(super) fn seek_back(&mut self) -> Result<(), Halt> {
        match &mut self.input {
            Input::Merged(merge) => {
                // What failed may have been applied, and what it parked waits: the order goes on where the store stands.
                let stored = self.tables.progress();
                for place in &mut self.places {
                    if let Some(mark) = stored.of(&self.projection.name, &place.at)
                        && mark.next > place.next
                    {
                        (place.next, place.time_ms) = (mark.next, mark.time_ms);
                    }
                }
                merge.rewind(&self.places)?;
            }
            Input::Turns(reader) => {
                for place in &self.places {
                    reader.seek(&place.at, place.next)?;
                }
            }
        }
        Ok(())
    }
}

pub(super) fn say(state: &watch::Sender<ProjectorState>, new: ProjectorState) {
    state.send_if_modified(|old| {
        let changed = *old != new;
        *old = new;
        changed
    });
}

/// Growing pauses between tries: 50 ms, doubled up to 5 s.
pub(super) struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff(Duration::from_millis(50))
    }
}

impl Backoff {
    pub fn next(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(Duration::from_secs(5));
        pause
    }

    pub fn reset(&mut self) {
        *self = Backoff::default();
    }
}
