//! What the log means at each of its positions, by the independent reference.
//!
//! Comes in: a program and a log. Goes out: every row after every event that changed it, and what waits at the end.

use std::collections::{BTreeMap, BTreeSet};

use kinora::event::{Offset, TopicPartition};

use crate::language::events::in_order;
use crate::language::program::Program;
use crate::language::reference::{Given, Key, Passed, Reference, Row, State};

/// The rows of a log through time. A position is an offset of the row's partition; merged, a place in the order of all.
pub struct History {
    states: BTreeMap<Key, Vec<(Offset, Option<Row>)>>,
    /// The partition of each row; `None` where all are merged.
    homes: BTreeMap<Key, TopicPartition>,
    pub last: State,
    /// How many records changed rows, did nothing, wait.
    pub counts: [usize; 3],
}

/// The partition of a record.
pub fn home(given: &Given) -> TopicPartition {
    TopicPartition { topic: given.topic.into(), partition: given.partition }
}

/// The offset in `topic:partition@offset`.
pub fn offset(position: &str) -> Offset {
    let (_, offset) = position.split_once('@').expect("a position has an offset");
    offset.parse().expect("offsets are numbers")
}

impl History {
    /// What a log comes to of which some has been passed.
    pub fn of(program: &Program, log: &[Given], passed: &Passed) -> History {
        let mut reference = Reference::passing(program, passed.clone());
        let (mut states, mut homes) = (BTreeMap::<Key, Vec<_>>::new(), BTreeMap::new());
        let mut counts = [0; 3];
        for (place, given) in in_order(program, log).iter().enumerate() {
            let before = reference.state.clone();
            reference.take(given);
            let position = if program.is_merged { place as Offset } else { offset(&given.position) };
            let keys: BTreeSet<&Key> = before.rows.keys().chain(reference.state.rows.keys()).collect();
            let changed = |key: &&Key| before.rows.get(*key) != reference.state.rows.get(*key);
            let changed: Vec<Key> = keys.into_iter().filter(changed).cloned().collect();
            let waits = before.parked_rows != reference.state.parked_rows
                || before.parked_records != reference.state.parked_records;
            counts[if waits { 2 } else { usize::from(changed.is_empty()) }] += 1;
            for key in changed {
                let row = reference.state.rows.get(&key).cloned();
                homes.insert(key.clone(), home(given));
                states.entry(key).or_default().push((position, row));
            }
        }
        History { states, homes, last: reference.state, counts }
    }

    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.states.keys()
    }

    /// The partition that a row's events come from.
    pub fn home(&self, key: &Key) -> &TopicPartition {
        &self.homes[key]
    }

    /// The row as the events up to a position have made it.
    pub fn at(&self, key: &Key, position: Offset) -> Option<&Row> {
        let states = self.states.get(key)?;
        let after = states.partition_point(|(at, _)| *at <= position);
        states[..after].last()?.1.as_ref()
    }

    /// The row as it is from a position on, each state of it.
    pub fn since<'h>(&'h self, key: &'h Key, position: Offset) -> impl Iterator<Item = Option<&'h Row>> {
        let later = self.states.get(key).into_iter().flatten().filter(move |(at, _)| *at > position);
        std::iter::once(self.at(key, position)).chain(later.map(|(_, row)| row.as_ref()))
    }

    /// Whether nothing changes a row from an offset on.
    pub fn is_over(&self, key: &Key, next: Offset) -> bool {
        self.states[key].last().is_none_or(|(at, _)| *at < next)
    }

    /// By parked key as it is shown, the positions that wait, of those for which it holds.
    pub fn waiting(&self, counts: impl Fn(&str) -> bool) -> BTreeMap<String, Vec<String>> {
        let rows = self.last.parked_rows.iter();
        let rows = rows.map(|((p, id), queue)| (format!(r#"{{"p":"{p}","id":"{id}"}}"#), queue));
        let records = self.last.parked_records.iter().map(|(key, queue)| (key.clone(), queue));
        let counted = |queue: &[String]| queue.iter().filter(|at| counts(at)).cloned().collect::<Vec<_>>();
        let all = rows.chain(records).map(|(key, queue)| (key, counted(queue)));
        all.filter(|(_, queue)| !queue.is_empty()).collect()
    }
}
