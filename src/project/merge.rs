//! Several partitions as one stream: the order in which kind C folds.
//!
//! Comes in: the partitions of all sources of a projection. Goes out: their records, one at a time, by the records' times,
//! then by the order of sources and partitions. Of what the log held when reading began, the order depends on the log alone;
//! what is published later is taken as it comes. Rows that several partitions feed are only safe where a batch is atomic:
//! the order lives in memory, and what was committed is what fixes it.

use std::collections::VecDeque;

use futures_util::future::select_all;
use tracing::Instrument;

use super::activity::Stage;
use super::budget::Share;
use super::counts::Tally;
use super::place::Place;
use super::spans::Spans;
use super::work::{Due, Touched};
use super::{CHUNK_RECORDS, FETCH_BYTES, Halt, Input, Projector};
use crate::event::{Offset, Position, Record, TopicPartition};
use crate::source::{Fetched, Reader, Source, SourceError};
use crate::store::Tables;

/// Partitions side by side, each with what was fetched of it and not taken yet.
pub(super) struct Merge {
    lanes: Vec<Lane>,
    /// Most bytes fetched of a partition at once: all lanes together hold no more than a batch.
    lane_bytes_max: usize,
    /// Whether nothing is taken while a partition has more than is at hand: a log far away answers late.
    waits_for_all: bool,
}

struct Lane {
    reader: Box<dyn Reader>,
    records: VecDeque<Record>,
    /// Where the next fetch begins.
    next: Offset,
    /// End of the partition when it was last read.
    end: Offset,
}

impl Merge {
    /// Begins where the places stand.
    pub async fn open(
        source: &dyn Source,
        places: &[Place],
        batch_bytes_max: usize,
    ) -> Result<Merge, SourceError> {
        let mut lanes = Vec::with_capacity(places.len());
        for place in places {
            let reader = source.read_among(&[(place.at.clone(), place.next)], places.len()).await?;
            lanes.push(Lane { reader, records: VecDeque::new(), next: place.next, end: place.next });
        }
        let lane_bytes_max = (batch_bytes_max / lanes.len().max(1)).clamp(1, FETCH_BYTES);
        Ok(Merge { lanes, lane_bytes_max, waits_for_all: false })
    }

    /// From now on waits for each partition that has more, as far as is known: at first these ends. So what the log holds is
    /// taken in the order of its times, however late it comes.
    pub fn wait_for_all(&mut self, ends: &[Offset]) {
        self.waits_for_all = true;
        for (lane, end) in self.lanes.iter_mut().zip(ends) {
            lane.end = lane.end.max(*end);
        }
    }

    /// Waits until a record is at hand, or a place has moved on without one. Dropping the future loses nothing.
    pub async fn wait(&mut self) -> Result<(), SourceError> {
        let bytes_max = self.lane_bytes_max;
        loop {
            for lane in &mut self.lanes {
                lane.fill(bytes_max)?;
            }
            let lacks = self.lacking().is_some();
            if !lacks && self.lanes.iter().any(|lane| !lane.records.is_empty()) {
                return Ok(());
            }
            let waited = (0..).zip(&mut self.lanes).filter(|(_, lane)| !lacks || lane.lacks());
            let (numbers, next): (Vec<usize>, Vec<_>) =
                waited.map(|(number, lane)| (number, lane.reader.next(bytes_max))).unzip();
            let (fetched, first, rest) = select_all(next).await;
            drop(rest);
            let fetched = fetched?;
            let only_moves = fetched.records.is_empty();
            self.lanes[numbers[first]].take(fetched);
            if only_moves || !self.waits_for_all {
                return Ok(());
            }
        }
    }

    /// The first partition that has more which is not at hand, and is waited for.
    pub fn lacking(&self) -> Option<usize> {
        self.lanes.iter().position(Lane::lacks).filter(|_| self.waits_for_all)
    }

    /// The next record and the number of its place; `None` where none is at hand.
    pub fn take(&mut self) -> Result<Option<(usize, Record)>, SourceError> {
        if self.lacking().is_some() {
            return Ok(None);
        }
        let bytes_max = self.lane_bytes_max;
        let fronts = self.lanes.iter().enumerate();
        let fronts = fronts.filter_map(|(lane, found)| Some((found.records.front()?.timestamp_ms, lane)));
        let Some((_, first)) = fronts.min() else { return Ok(None) };
        let lane = &mut self.lanes[first];
        let record = lane.records.pop_front();
        // The next record of this partition may be older than those of the others: it is asked for before they go on.
        lane.fill(bytes_max)?;
        Ok(record.map(|record| (first, record)))
    }

    /// Bytes of records at hand, and whether the log has more.
    pub fn at_hand(&self) -> (usize, bool) {
        let records = self.lanes.iter().flat_map(|lane| &lane.records);
        (records.map(Record::len_bytes).sum(), self.lanes.iter().any(|lane| lane.next < lane.end))
    }

    /// End of a partition when it was last read.
    pub fn end(&self, place: usize) -> Offset {
        self.lanes[place].end
    }

    /// Where a partition goes on behind what was taken of it.
    pub fn next(&self, place: usize) -> Offset {
        let lane = &self.lanes[place];
        lane.records.front().map_or(lane.next, |front| front.offset)
    }

    /// Forgets what is at hand, and reads on from the places.
    pub fn rewind(&mut self, places: &[Place]) -> Result<(), SourceError> {
        for (lane, place) in self.lanes.iter_mut().zip(places) {
            lane.records.clear();
            lane.next = place.next;
            lane.reader.seek(&place.at, place.next)?;
        }
        Ok(())
    }
}

impl Lane {
    /// Whether the log has more, and nothing is at hand.
    fn lacks(&self) -> bool {
        self.records.is_empty() && self.next < self.end
    }

    /// Fetches more where nothing is left, without waiting.
    fn fill(&mut self, bytes_max: usize) -> Result<(), SourceError> {
        if self.records.is_empty()
            && let Some(fetched) = self.reader.more(bytes_max)?
        {
            self.take(fetched);
        }
        Ok(())
    }

    fn take(&mut self, fetched: Fetched) {
        (self.next, self.end) = (fetched.next, fetched.end);
        self.records.extend(fetched.records);
    }
}

/// What was folded of all partitions and is not committed yet.
struct Gathered {
    touched: Touched,
    /// By place, the next offset and the time of the last record.
    passed: Vec<Offset>,
    times: Vec<i64>,
    bytes: usize,
    /// By place, what was folded.
    tallies: Vec<Tally>,
    spans: Spans,
}

impl Projector {
    /// Folds what is at hand, in order, and commits it in as few batches as its bounds allow.
    pub(super) async fn work_off_merged(&mut self, share: Share) -> Result<(), Halt> {
        let bytes_max = self.batch_bytes_max().min(share.bytes());
        let mut gathered = Gathered {
            touched: Touched::default(),
            passed: self.places.iter().map(|place| place.next).collect(),
            times: self.places.iter().map(|place| place.time_ms).collect(),
            bytes: 0,
            tallies: self.places.iter().map(|_| Tally::default()).collect(),
            spans: self.spans_of_merged(),
        };
        while self.fold_merged(&mut gathered, bytes_max).await? {
            let is_full = gathered.bytes >= bytes_max
                || gathered.touched.bytes >= bytes_max
                || gathered.touched.rows.len() + self.parked.changed() >= self.settings.batch_rows_max;
            if is_full {
                break;
            }
        }
        self.commit_merged(&mut gathered).await
    }

    /// Folds the next few records; answers whether there were some. Commits before it halts.
    async fn fold_merged(&mut self, gathered: &mut Gathered, bytes_max: usize) -> Result<bool, Halt> {
        let left = bytes_max.saturating_sub(gathered.bytes).max(1);
        let mut touches = Vec::new();
        let mut paused = None;
        let (mut count, mut bytes) = (0, 0);
        self.activity.enter(Stage::Routing);
        while count < self.chunk.min(CHUNK_RECORDS) && bytes < left {
            let Input::Merged(merge) = &mut self.input else { break };
            let Some((place, record)) = merge.take()? else { break };
            let at = self.places[place].at.clone();
            self.activity.enter_at(Stage::Routing, place, record.offset);
            let records = (&[&record][..], order(&gathered.passed, place, 0));
            let (decode, touched) = (gathered.spans.decode.clone(), &mut gathered.touched);
            let (found, pause) = decode.in_scope(|| self.sort(&at, records, touched));
            if let Some(pause) = pause {
                paused = Some((place, record.timestamp_ms, pause));
                break;
            }
            let order = order(&gathered.passed, place, record.offset);
            gathered.tallies[place].records(1, record.len_bytes());
            gathered.tallies[place].events(found.len());
            touches.extend(found.into_iter().map(|(row, touch)| (place, order, row, touch)));
            gathered.passed[place] = record.offset + 1;
            gathered.times[place] = record.timestamp_ms;
            count += 1;
            bytes += record.len_bytes().max(1);
        }
        gathered.bytes += bytes;
        self.parked.see(count);
        let load = gathered.spans.load.clone();
        self.load_chunk(&mut gathered.touched, bytes_max).instrument(load).await?;
        let activity = self.activity();
        let due = touches.into_iter().map(|(place, order, row, touch)| {
            activity.enter_at(Stage::Folding, place, touch.offset());
            Due { row, order, touch }
        });
        let fold = gathered.spans.fold.clone();
        fold.in_scope(|| self.take_all(&mut gathered.touched.rows, due));
        let Some((place, time_ms, pause)) = paused else { return Ok(count > 0) };
        self.commit_merged(gathered).await?;
        let offset = pause.offset();
        self.pass(place, order(&gathered.passed, place, offset), pause).await?;
        gathered.passed[place] = offset + 1;
        gathered.times[place] = time_ms;
        Ok(true)
    }

    /// The spans of a batch: that of several partitions begins at the first of them.
    fn spans_of_merged(&self) -> Spans {
        let first = self.places.first().map(|place| Position { at: place.at.clone(), offset: place.next });
        let nowhere = || Position { at: TopicPartition { topic: "".into(), partition: 0 }, offset: 0 };
        Spans::of(&self.projection, &first.unwrap_or_else(nowhere))
    }

    /// Commits what was gathered, with the progress of every partition that it is of.
    async fn commit_merged(&mut self, gathered: &mut Gathered) -> Result<(), Halt> {
        let Input::Merged(merge) = &self.input else { return Ok(()) };
        let moved = |place: &usize| gathered.passed[*place] != self.places[*place].next;
        let moved: Vec<usize> = (0..self.places.len()).filter(moved).collect();
        let Some(first) = moved.first() else { return Ok(()) };
        let base = self.places[*first].base;
        let mark = |place: &usize| {
            let end = merge.end(*place).max(gathered.passed[*place]);
            self.mark(*place, (gathered.passed[*place], end), gathered.times[*place])
        };
        let marks = moved.iter().map(mark).collect();
        let commit = gathered.spans.commit.clone();
        self.write(&mut gathered.touched, base, marks, None).instrument(commit).await?;
        for place in moved {
            self.places[place].next = gathered.passed[place];
            self.places[place].time_ms = gathered.times[place];
            let tally = std::mem::take(&mut gathered.tallies[place]);
            self.counts.batch(&self.places[place].at.topic, tally);
        }
        Ok(())
    }
}

/// Gives all places one base: their stamps are compared with each other.
pub(super) fn share_base(places: &mut [Place], tables: &dyn Tables, projection: &str) {
    let progress = tables.progress();
    let known = progress.marks.iter().find(|mark| *mark.projection == *projection).map(|mark| mark.base);
    let earliest = places.iter().map(|place| place.base).min().unwrap_or_default();
    for place in places {
        place.base = known.unwrap_or(earliest);
    }
}

/// The place of a record in the order of all: what its writes are stamped with. `passed` has the next offset of every
/// place before it. It grows with each record, and follows from progress alone, so it goes on where it stopped.
pub(super) fn order(passed: &[Offset], place: usize, offset: Offset) -> Offset {
    let others = passed.iter().enumerate().filter(|(other, _)| *other != place);
    others.fold(offset, |sum, (_, next)| sum.saturating_add(*next))
}

#[cfg(test)]
mod tests {
    use super::order;

    #[test]
    fn each_record_stands_behind_all_that_were_passed() {
        let mut passed = [3, 0, 10];
        let mut last = None;
        for (place, offset) in [(0, 3), (2, 12), (1, 0), (1, 1), (0, 4), (2, 13)] {
            let now = order(&passed, place, offset);
            assert!(last.is_none_or(|last| last < now), "{now} stands behind {last:?}");
            passed[place] = offset + 1;
            last = Some(now);
        }
        assert_eq!(last, Some(passed.iter().sum::<u64>() - 1));
    }
}
