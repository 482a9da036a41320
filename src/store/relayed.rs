//! How far the sources of a projection have come through its internal topic: kept beside the progress of each partition of
//! that topic, in one write with it.
//!
//! Comes in: what a partition of the internal topic was folded up to. Goes out: the text that stores and marks of relays have
//! of it, and, from all partitions together, how far each source is folded.

use std::fmt::Write as _;
use std::sync::Arc;

use super::ProgressMark;
use crate::event::{Offset, TopicPartition};

/// The topic through which records go that are merged, on their way to the partitions of rows: fixed with the generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Internal {
    pub projection: Arc<str>,
    pub topic: Arc<str>,
    /// Drawn when it was made, so that one created anew is seen.
    pub topic_id: u128,
    /// How many partitions it has, for good: they say where a row is folded.
    pub partitions: u32,
}

impl Internal {
    /// What is known of a partition of it that nothing was read of.
    pub fn not_begun(&self) -> Relayed {
        Relayed { partitions: self.partitions, sources: Vec::new() }
    }
}

/// How far sources have come through one partition of an internal topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Relayed {
    /// Partitions of the internal topic.
    pub partitions: u32,
    /// One for each partition of a source, in their order.
    pub sources: Vec<Come>,
}

/// How far a partition of a source has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Come {
    pub at: TopicPartition,
    /// Id of the source's topic, so that one created anew is seen.
    pub topic_id: u128,
    /// What concerned the partition of the internal topic and lies below this offset has been in it.
    pub next: Offset,
    /// End of the source's partition, as it was seen last.
    pub end: Offset,
    /// Time of the last record that was passed, milliseconds since 1970; 0 before the first.
    pub time_ms: i64,
}

/// The version of the text.
const VERSION: &str = "1";

impl Relayed {
    /// How far a partition of a source has come.
    pub fn of(&self, at: &TopicPartition) -> Option<&Come> {
        let found = self.sources.binary_search_by(|come| come.at.cmp(at)).ok()?;
        Some(&self.sources[found])
    }

    /// As [`Relayed::of`], to change it.
    pub fn of_mut(&mut self, at: &TopicPartition) -> Option<&mut Come> {
        let found = self.sources.binary_search_by(|come| come.at.cmp(at)).ok()?;
        Some(&mut self.sources[found])
    }

    /// Adds a partition of a source that is not among them.
    pub fn add(&mut self, come: Come) {
        let place = self.sources.partition_point(|known| known.at < come.at);
        self.sources.insert(place, come);
    }

    /// As stores and marks of relays have it: a line for the partitions, one for each source.
    pub fn text(&self) -> String {
        let mut text = format!("{VERSION} {}", self.partitions);
        for Come { at, topic_id, next, end, time_ms } in &self.sources {
            let (topic, partition) = (&at.topic, at.partition);
            let _ = write!(text, "\n{topic} {partition} {topic_id:032x} {next} {end} {time_ms}");
        }
        text
    }

    /// Reads what [`Relayed::text`] has written.
    ///
    /// # Errors
    /// The line that cannot be read.
    pub fn read(text: &str) -> Result<Relayed, String> {
        let refused =
            |line: &str| format!("{:?} is no place of a source", line.chars().take(80).collect::<String>());
        let mut lines = text.split('\n');
        let first = lines.next().unwrap_or_default();
        let partitions = first.strip_prefix(VERSION).and_then(|rest| rest.strip_prefix(' ')?.parse().ok());
        let mut relayed =
            Relayed { partitions: partitions.ok_or_else(|| refused(first))?, sources: Vec::new() };
        for line in lines {
            let come = come(line).ok_or_else(|| refused(line))?;
            if relayed.of(&come.at).is_some() {
                return Err(refused(line));
            }
            relayed.add(come);
        }
        Ok(relayed)
    }
}

fn come(line: &str) -> Option<Come> {
    let mut words = line.split(' ');
    let mut word = || words.next();
    let at = TopicPartition { topic: word()?.into(), partition: word()?.parse().ok()? };
    let topic_id = u128::from_str_radix(word()?, 16).ok()?;
    let come = Come {
        at,
        topic_id,
        next: word()?.parse().ok()?,
        end: word()?.parse().ok()?,
        time_ms: word()?.parse().ok()?,
    };
    word().is_none().then_some(come)
}

/// How far each source is folded that goes through an internal topic: as far as in all partitions of that. Empty where not
/// all of them have begun.
pub(super) fn sources(marks: &[ProgressMark]) -> Vec<ProgressMark> {
    let mut found: Vec<(ProgressMark, u32, u32)> = Vec::new();
    for (mark, relayed) in marks.iter().filter_map(|mark| Some((mark, mark.relayed.as_ref()?))) {
        for come in &relayed.sources {
            let same = |(known, ..): &&mut (ProgressMark, u32, u32)| {
                known.projection == mark.projection && known.at == come.at
            };
            let new = ProgressMark {
                projection: Arc::clone(&mark.projection),
                at: come.at.clone(),
                topic_id: come.topic_id,
                next: come.next,
                end: come.end,
                time_ms: come.time_ms,
                base: 0,
                relayed: None,
            };
            match found.iter_mut().find(same) {
                None => found.push((new, 1, relayed.partitions)),
                Some((known, count, _)) => {
                    *count += 1;
                    let end = known.end.max(new.end);
                    if new.next < known.next {
                        *known = new;
                    }
                    known.end = end;
                }
            }
        }
    }
    // In what has no word of a source yet, nothing of it is folded.
    found.into_iter().filter(|(_, count, partitions)| count == partitions).map(|(mark, ..)| mark).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn come(topic: &str, partition: u32, next: Offset) -> Come {
        let at = TopicPartition { topic: topic.into(), partition };
        Come { at, topic_id: u128::MAX - 7, next, end: next + 5, time_ms: -3 }
    }

    fn mark(partition: u32, sources: Vec<Come>) -> ProgressMark {
        ProgressMark {
            projection: "p".into(),
            at: TopicPartition { topic: "internal".into(), partition },
            topic_id: 1,
            next: 9,
            end: 9,
            time_ms: 0,
            base: 4,
            relayed: Some(Arc::new(Relayed { partitions: 2, sources })),
        }
    }

    #[test]
    fn a_text_reads_back_and_what_is_none_is_refused() {
        let relayed =
            Relayed { partitions: 12, sources: vec![come("a", 0, 3), come("a", 2, 0), come("b.c-d", 1, 7)] };
        assert_eq!(Relayed::read(&relayed.text()), Ok(relayed));
        let none = Relayed { partitions: 1, sources: Vec::new() };
        assert_eq!(Relayed::read(&none.text()), Ok(none));
        for text in [
            "",
            "1",
            "2 3",
            "1 x",
            "1 1\n",
            "1 1\na 0 0 0 0",
            "1 1\na 0 0 0 0 0 0",
            "1 1\na 0 0 0 0 0\na 0 0 0 0 0",
        ] {
            let error = Relayed::read(text).expect_err("it is refused");
            assert!(error.ends_with("is no place of a source"), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_source_is_folded_as_far_as_in_every_partition() {
        let first = mark(0, vec![come("a", 0, 3), come("a", 1, 8)]);
        assert_eq!(sources(std::slice::from_ref(&first)), [], "the other partition has not begun");
        let both = [first, mark(1, vec![come("a", 0, 5), come("a", 1, 2)])];
        let found: Vec<_> =
            sources(&both).into_iter().map(|mark| (mark.at.partition, mark.next, mark.end)).collect();
        assert_eq!(found, [(0, 3, 10), (1, 2, 13)]);
    }
}
