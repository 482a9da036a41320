//! The relays of a process: who works the first partition of an internal topic also relays what its projection reads.
//!
//! Comes in: partitions that the group gives this process. Goes out: relays that run, and what each of them is doing.

use std::sync::Arc;

use crate::engine::background::Background;
use crate::event::TopicPartition;
use crate::handler::Projection;
use crate::project::relay::{Course, Relay};
use crate::project::{ProjectorState, Scope};
use crate::store::{Began, Internal};

/// A relay that runs.
pub(super) struct Relaying {
    pub projection: Arc<Projection>,
    pub background: Background,
}

/// The partition whose owner relays.
pub(super) fn place_of(internal: &Internal) -> TopicPartition {
    TopicPartition { topic: Arc::clone(&internal.topic), partition: 0 }
}

impl Relaying {
    pub fn start(course: Course, starts: Vec<Began>) -> Relaying {
        let projection = Arc::clone(&course.projection);
        tracing::info!(projection = %projection.name, topic = %course.internal.topic, "Relaying begins.");
        let background = Background::start(|say, stopped| async move {
            let scope = Scope { starts: &starts, ..Scope::default() };
            Relay::run((course, scope), say, stopped).await;
        });
        Relaying { projection, background }
    }

    /// Stops it; what it has under way may still arrive.
    pub async fn stop(&self) {
        self.background.tell();
        if let Err(error) = self.background.ended().await {
            tracing::error!(projection = %self.projection.name, %error, "A relay ended badly.");
        }
    }

    /// Why it has stopped, though nobody stopped it.
    pub fn halted(&self) -> Option<String> {
        self.background.halted("relay")
    }

    /// What is not as it should be, for a person.
    pub fn shown(&self) -> Option<String> {
        if let Some(reason) = self.halted() {
            return Some(format!("halted: relaying: {reason}"));
        }
        match &*self.background.state.borrow() {
            ProjectorState::Waiting(reason) => Some(format!("waiting: relaying: {reason}")),
            _ => None,
        }
    }
}
