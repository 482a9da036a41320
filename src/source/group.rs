//! How several processes share the partitions of topics.
//!
//! A member is told what is its own, and says when it has let go of what is taken away. It is told who should work a
//! partition, no more: that nobody else still does is held by epochs in the store.

use std::any::Any;
use std::fmt;

use futures_util::future::BoxFuture;

use super::SourceError;
use crate::event::{Offset, TopicPartition};

/// A place among the processes that share the partitions of some topics. Dropped, the process leaves them.
pub trait Group: Send {
    /// Waits for the next change. Dropping the future loses nothing.
    fn change(&mut self) -> BoxFuture<'_, Change>;

    /// Tells how far partitions are worked, for tools that show lag: the next offset of each. It is not waited for, and
    /// nothing depends on it.
    fn report(&self, offsets: &[(TopicPartition, Offset)]);
}

/// What changed for this process.
#[derive(Debug)]
pub enum Change {
    /// Is to be worked from now on, beside what already is.
    Assigned(Vec<TopicPartition>),
    /// Goes to another as soon as it is handed over: what is under way may be finished.
    Revoked(Revoked),
    /// Others may work it by now: what is under way is in vain.
    Lost(Vec<TopicPartition>),
    /// The process is out of the group and will not come back by itself.
    Failed(SourceError),
}

/// Partitions that are taken away. Whoever drops it hands them over: nothing of this process may be under way there.
pub struct Revoked {
    pub partitions: Vec<TopicPartition>,
    /// What hands over when it is dropped.
    _hand_over: Box<dyn Any + Send>,
}

impl Revoked {
    /// Partitions, and what hands them over when it is dropped.
    pub fn new(partitions: Vec<TopicPartition>, hand_over: impl Any + Send) -> Revoked {
        Revoked { partitions, _hand_over: Box::new(hand_over) }
    }

    /// Hands the partitions over.
    pub fn hand_over(self) {}
}

impl fmt::Debug for Revoked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revoked").field("partitions", &self.partitions).finish_non_exhaustive()
    }
}
