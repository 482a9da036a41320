//! What a projector is doing, for whoever watches it.
//!
//! Comes in: a note at each stage of a batch, and the offset of each event while it is folded. Goes out: where it is now.
//! A note is a plain store to memory, no clock is read and nothing is locked: who watches compares what he sees with what he
//! saw before. The row's key is not kept: it follows from the position.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use crate::event::{Offset, Position, TopicPartition};

/// A stage of the write loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It waits for records of the log.
    Fetching,
    /// It waits for its share of `project.budget`.
    WaitingForRoom,
    /// It decodes records and finds their rows.
    Routing,
    /// It reads rows from the store.
    Loading,
    /// It folds an event into its row.
    Folding,
    /// It deletes rows of a range.
    Deleting,
    /// It takes events off the queue of a parked key.
    Releasing,
    /// It writes a batch.
    Committing,
    /// The store or the log did not answer: it pauses before it tries again.
    Pausing,
}

const STAGES: [Stage; 9] = [
    Stage::Fetching,
    Stage::WaitingForRoom,
    Stage::Routing,
    Stage::Loading,
    Stage::Folding,
    Stage::Deleting,
    Stage::Releasing,
    Stage::Committing,
    Stage::Pausing,
];

impl Stage {
    /// For a sentence that goes on with a position.
    pub fn words(self) -> &'static str {
        match self {
            Stage::Fetching => "fetching records after",
            Stage::WaitingForRoom => "waiting for its share of `project.budget` before",
            Stage::Routing => "decoding and routing from",
            Stage::Loading => "loading the rows of events from",
            Stage::Folding => "folding",
            Stage::Deleting => "deleting a range of rows for",
            Stage::Releasing => "setting a parked key free before",
            Stage::Committing => "committing all before",
            Stage::Pausing => "pausing before it tries again at",
        }
    }
}

/// Where a projector is. Written by it alone, read by anyone.
#[derive(Debug)]
pub struct Activity {
    /// Its partitions, by their number.
    places: Vec<TopicPartition>,
    stage: AtomicU8,
    place: AtomicU32,
    offset: AtomicU64,
    /// Counts stages: it stands still where this and the offset do.
    steps: AtomicU64,
    /// Failed tries since the last commit.
    tries: AtomicU32,
}

/// Where a projector was when it was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doing {
    pub stage: Stage,
    /// The event, or where the batch stands. `None`: it has no partition.
    pub position: Option<Position>,
    /// Failed tries since the last commit.
    pub tries: u32,
    steps: u64,
}

impl Activity {
    /// A projector of these partitions that has done nothing yet.
    pub fn new(places: Vec<TopicPartition>) -> Activity {
        Activity {
            places,
            stage: AtomicU8::new(0),
            place: AtomicU32::new(0),
            offset: AtomicU64::new(0),
            steps: AtomicU64::new(0),
            tries: AtomicU32::new(0),
        }
    }

    /// Begins a stage where the last one stood.
    pub(super) fn enter(&self, stage: Stage) {
        self.stage.store(stage as u8, Ordering::Relaxed);
        // Only the projector writes, so nothing is lost between the two.
        self.steps.store(self.steps.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// Begins a stage at a place.
    pub(super) fn enter_at(&self, stage: Stage, place: usize, offset: Offset) {
        self.place.store(u32::try_from(place).unwrap_or(u32::MAX), Ordering::Relaxed);
        self.at(offset);
        self.enter(stage);
    }

    /// Goes on to an event of the same partition.
    #[inline]
    pub(super) fn at(&self, offset: Offset) {
        self.offset.store(offset, Ordering::Relaxed);
    }

    /// Notes a try that failed.
    pub(super) fn failed(&self) {
        self.tries.fetch_add(1, Ordering::Relaxed);
        self.enter(Stage::Pausing);
    }

    /// Notes a batch that was worked off.
    pub(super) fn worked(&self) {
        self.tries.store(0, Ordering::Relaxed);
    }

    /// Where it is now. The parts may be of two moments that follow each other.
    pub fn look(&self) -> Doing {
        let stage = STAGES[usize::from(self.stage.load(Ordering::Relaxed)) % STAGES.len()];
        let at = self.places.get(self.place.load(Ordering::Relaxed) as usize);
        let offset = self.offset.load(Ordering::Relaxed);
        Doing {
            stage,
            position: at.map(|at| Position { at: at.clone(), offset }),
            tries: self.tries.load(Ordering::Relaxed),
            steps: self.steps.load(Ordering::Relaxed),
        }
    }
}

impl Doing {
    /// As if it had been seen.
    #[cfg(test)]
    pub(crate) fn of(stage: Stage, offset: Offset, tries: u32) -> Doing {
        let at = TopicPartition { topic: "t".into(), partition: 0 };
        Doing { stage, position: Some(Position { at, offset }), tries, steps: 0 }
    }
}

impl std::fmt::Display for Doing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.stage.words())?;
        match &self.position {
            Some(position) => write!(f, " {position}"),
            None => f.write_str(" nothing: it has no partition"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stage_is_seen_as_it_was_noted() {
        let activity = Activity::new(vec![TopicPartition { topic: "t".into(), partition: 3 }]);
        for stage in STAGES {
            activity.enter_at(stage, 0, 7);
            let seen = activity.look();
            assert_eq!(seen.stage, stage);
            assert_eq!(seen.to_string(), format!("{} t:3@7", stage.words()));
        }
    }

    #[test]
    fn who_does_something_is_seen_to() {
        let activity = Activity::new(vec![TopicPartition { topic: "t".into(), partition: 0 }]);
        activity.enter_at(Stage::Folding, 0, 7);
        let seen = activity.look();
        assert_eq!(seen, activity.look());
        activity.at(8);
        assert_ne!(seen, activity.look(), "the next event");
        activity.enter_at(Stage::Folding, 0, 7);
        assert_ne!(seen, activity.look(), "the same event, once more");
    }
}
