//! The folding side of an internal topic: one of its partitions, read as the records of sources that it holds.
//!
//! Comes in: records of the internal topic, in order. Goes out: what they do to rows, stamped with their places there. Relays
//! repeat what they may not have appended, so what of a source has been here before is passed: how far each source has come is
//! stored with the progress that it belongs to, in one write, so whoever goes on from there decides alike.

use std::sync::Arc;

use super::envelope::{self, Opened};
use super::share::Came;
use crate::event::{Offset, Position, Record, Reject, Stage, TopicPartition};
use crate::project::apply::Sorted;
use crate::project::work::Touched;
use crate::project::{Halt, Projector};
use crate::route::{Routed, route};
use crate::store::{Come, ParkedKey, QueuedEvent, Relayed};

/// How far sources have come in a partition of an internal topic, with what is folded and not committed yet.
#[derive(Clone)]
pub(in crate::project) struct Passage {
    pub relayed: Relayed,
    /// What folding has paused at: it has come only when it is passed.
    held: Option<(TopicPartition, Offset, i64)>,
}

impl Passage {
    pub fn from(relayed: Relayed) -> Passage {
        Passage { relayed, held: None }
    }

    /// What folding had paused at is passed.
    pub fn pass_held(&mut self) {
        if let Some((at, offset, time_ms)) = self.held.take() {
            self.come(&at, offset, time_ms);
        }
    }

    /// Takes note of a record.
    fn come(&mut self, at: &TopicPartition, offset: Offset, time_ms: i64) {
        if let Some(come) = self.relayed.of_mut(at) {
            come.next = offset.saturating_add(1);
            come.end = come.end.max(come.next);
            come.time_ms = time_ms;
        }
    }

    /// Whether a record has not been here; `None` where no relay had begun with its source.
    fn is_new(&self, at: &TopicPartition, offset: Offset) -> Option<bool> {
        self.relayed.of(at).map(|come| offset >= come.next)
    }

    /// A relay begins: where its sources are known already, it continues them.
    fn begin(&mut self, places: Relayed) -> Result<(), Halt> {
        for come in places.sources {
            match self.relayed.of(&come.at) {
                None => self.relayed.add(come),
                Some(known) => continues(known, &come)?,
            }
        }
        Ok(())
    }

    /// What concerns this partition and lies before these places has been here.
    fn advance(&mut self, places: Relayed) -> Option<()> {
        for come in places.sources {
            let known = self.relayed.of_mut(&come.at)?;
            known.end = known.end.max(come.end);
            if come.next > known.next {
                (known.next, known.time_ms) = (come.next, come.time_ms);
            }
        }
        Some(())
    }
}

/// Refuses a relay that leaves something out.
fn continues(known: &Come, come: &Come) -> Result<(), Halt> {
    let topic = come.at.topic.to_string();
    if known.topic_id != come.topic_id {
        return Err(Halt::TopicAnew { topic, expected: known.topic_id, found: come.topic_id });
    }
    if come.next > known.next {
        let (partition, start, position) = (come.at.partition, come.next, known.next);
        return Err(Halt::LogExpired { topic, partition, start, position });
    }
    Ok(())
}

impl Projector {
    /// As `sort`, of records of an internal topic.
    pub(in crate::project) fn sort_relayed(
        &mut self,
        at: &TopicPartition,
        records: &[&Record],
        (touched, passage): (&mut Touched, &mut Passage),
    ) -> Result<Sorted, Halt> {
        let mut touches = Vec::with_capacity(records.len());
        let base_table = Arc::clone(self.plan.table(self.entity.base));
        for record in records {
            let position = Position { at: at.clone(), offset: record.offset };
            let opened = envelope::open(record).map_err(|reason| foreign(&position, reason))?;
            let (partitions, from, inner) = match opened {
                Opened::Event { partitions, at, record } => (partitions, at, record),
                Opened::Begins(places) => {
                    passage.begin(places)?;
                    continue;
                }
                Opened::Passes(places) => {
                    let unknown =
                        || foreign(&position, "no relay has begun with its sources before it".to_owned());
                    passage.advance(places).ok_or_else(unknown)?;
                    continue;
                }
            };
            if partitions != passage.relayed.partitions {
                return Err(Halt::InternalGrown {
                    topic: at.topic.to_string(),
                    expected: passage.relayed.partitions,
                    found: partitions,
                });
            }
            match passage.is_new(&from, inner.offset) {
                Some(true) => {}
                Some(false) => continue,
                None => {
                    return Err(foreign(
                        &position,
                        "no relay has begun with its source before it".to_owned(),
                    ));
                }
            }
            let came = Came { at: &from, record: &inner };
            let routed = route(&self.projection, &base_table, &from, &inner);
            let Some(routed) = came.share(routed, (at.partition, partitions)) else {
                let reason =
                    "it concerns no row of this partition: a relay of another version has written it";
                return Err(foreign(&position, reason.to_owned()));
            };
            let queued = QueuedEvent {
                at: at.clone(),
                offset: record.offset,
                order: record.offset,
                time_ms: inner.timestamp_ms,
            };
            let before = touches.len();
            let routed = alone(routed, &position);
            let paused = self.sort_one(routed, (record.offset, &|| queued.clone()), touched, &mut touches);
            if let Some(paused) = paused {
                passage.held = Some((from, inner.offset, inner.timestamp_ms));
                return Ok((touches, Some(paused)));
            }
            let new = touches.split_off(before);
            touches.extend(new.into_iter().map(|(row, touch)| (row, touch.relayed(&queued))));
            passage.come(&from, inner.offset, inner.timestamp_ms);
        }
        Ok((touches, None))
    }

    /// What a record of an internal topic that waited means to the partition that it waited in. One that had no row has what it
    /// concerns there alone, or is refused.
    pub(in crate::project) fn route_relayed(
        &self,
        event: &QueuedEvent,
        record: &Record,
        is_row: bool,
    ) -> Result<Routed, Halt> {
        let position = Position { at: event.at.clone(), offset: event.offset };
        let opened = envelope::open(record).map_err(|reason| foreign(&position, reason))?;
        let Opened::Event { partitions, at, record } = opened else {
            return Err(foreign(&position, "a mark waits for a parked key".to_owned()));
        };
        let base_table = Arc::clone(self.plan.table(self.entity.base));
        let came = Came { at: &at, record: &record };
        let routed = route(&self.projection, &base_table, &at, &record);
        let is_here = is_row
            || matches!(routed, Routed::Ignore)
            || came.homes(&routed, partitions) == [event.at.partition];
        let share = if is_here {
            came.share(routed, (event.at.partition, partitions))
        } else {
            Some(elsewhere(&position))
        };
        Ok(share.unwrap_or(Routed::Ignore))
    }
}

/// The refusal of a record that by now concerns rows of other partitions: they have gone on without it.
fn elsewhere(position: &Position) -> Routed {
    let reason = "by now it concerns rows that are folded in other partitions and have gone on without it; skip it, or change \
                  the definitions, so that all rows are made anew";
    Routed::Rejected {
        key: ParkedKey::Position(position.at.clone(), position.offset),
        key_cells: Vec::new(),
        shown: position.to_string(),
        type_name: None,
        reject: Reject::new(Stage::Route, reason),
    }
}

/// A record whose row is not known is parked alone: what its record key has later goes to the partitions of its rows, and
/// does not pass here.
fn alone(routed: Routed, position: &Position) -> Routed {
    match routed {
        Routed::Rejected {
            key: ParkedKey::Record(_) | ParkedKey::Position(..),
            key_cells,
            shown,
            type_name,
            reject,
        } => {
            let key = ParkedKey::Position(position.at.clone(), position.offset);
            Routed::Rejected { key, key_cells, shown, type_name, reject }
        }
        routed => routed,
    }
}

fn foreign(position: &Position, reason: String) -> Halt {
    Halt::NotRelayed { position: position.to_string(), reason }
}
