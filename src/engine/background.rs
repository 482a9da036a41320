//! A loop in the background: told to stop, waited for, and asked what it is doing.
//!
//! Comes in: what runs. Goes out: its state, and why it ended though nobody stopped it.

use std::future::Future;
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle};

use crate::project::ProjectorState;

/// A loop that runs until it is told to stop, or halts.
pub(super) struct Background {
    pub state: watch::Receiver<ProjectorState>,
    stop: watch::Sender<bool>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Background {
    /// Starts it. It says what it is doing, and hears when it is to stop.
    pub fn start<F>(run: impl FnOnce(watch::Sender<ProjectorState>, watch::Receiver<bool>) -> F) -> Background
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (say, state) = watch::channel(ProjectorState::Running);
        let (stop, stopped) = watch::channel(false);
        Background { state, stop, task: Mutex::new(Some(tokio::spawn(run(say, stopped)))) }
    }

    /// Tells it to stop.
    pub fn tell(&self) {
        self.stop.send_replace(true);
    }

    /// Waits until it has ended, once.
    ///
    /// # Errors
    /// A bug of ours ended it.
    pub async fn ended(&self) -> Result<(), JoinError> {
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        match task {
            Some(task) => task.await,
            None => Ok(()),
        }
    }

    pub fn has_ended(&self) -> bool {
        self.state.has_changed().is_err()
    }

    /// Why it does not run any more, though nobody stopped it; `what` is its name, where it has not said why.
    pub fn halted(&self, what: &str) -> Option<String> {
        match self.state.borrow().halted() {
            Some(reason) => Some(reason.to_owned()),
            // It says why it halts before it ends, unless a bug of ours ended it.
            None => self.has_ended().then(|| format!("its {what} broke off, see the log")),
        }
    }
}
