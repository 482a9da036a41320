//! The log as an owner sees it: partitions in any order, as few records at a time as the world likes, and trouble.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use kinora::event::{Offset, Record, TopicPartition};
use kinora::source::{Fetched, PartitionInfo, Reader, Source, SourceError, TopicInfo};

use crate::desk::{Answer, Ask, Desk, OwnerId, Shared};
use crate::language::reference::Given;
use crate::plant::Plant;

/// The log, for one owner.
pub struct SimSource {
    pub desk: Shared,
    pub owner: OwnerId,
    pub sight: Sight,
}

/// How an owner sees records.
#[derive(Clone, Copy)]
pub struct Sight {
    /// Whether it understands those that its forerunners did not.
    pub mended: bool,
    pub plant: Option<Plant>,
}

struct SimReader {
    desk: Shared,
    owner: OwnerId,
    places: Vec<(TopicPartition, Offset)>,
    turn: usize,
    sight: Sight,
}

impl Sight {
    /// Records as this owner sees them.
    fn of(self, desk: &mut Desk, mut fetched: Fetched) -> Fetched {
        let changes = self.plant == Some(Plant::DefinitionsChange) && desk.rng.bool();
        let mended = self.mended != changes;
        if !mended {
            for record in &mut fetched.records {
                if let Some(bytes) = desk.spoilt.get(&(fetched.at.clone(), record.offset)) {
                    record.value = Some(bytes.clone());
                }
            }
        }
        match (self.plant, fetched.records.as_mut_slice()) {
            (Some(Plant::RecordLost), [_, _, ..]) => drop(fetched.records.remove(0)),
            (Some(Plant::RecordsSwapped), [first, second, ..]) => {
                std::mem::swap(&mut first.value, &mut second.value)
            }
            _ => {}
        }
        fetched
    }
}

fn trouble() -> SourceError {
    SourceError::Unavailable("the simulation says so".to_owned())
}

/// A record of the drawn log.
pub fn record(given: &Given, offset: Offset) -> Record {
    Record {
        offset,
        timestamp_ms: given.time_ms,
        key: Some(Bytes::from(given.key.clone())),
        value: Some(Bytes::from(given.value.to_string())),
        headers: Vec::new(),
    }
}

impl Desk {
    /// Whether the log goes on behind a place.
    pub fn goes_on(&self, (at, next): &(TopicPartition, Offset)) -> bool {
        self.log.get(at).is_some_and(|records| (*next as usize) < records.len())
    }

    /// Some of the records behind a place: one at least, at most about so many bytes.
    pub fn fetch(&mut self, (at, next): &(TopicPartition, Offset), bytes_max: usize) -> Fetched {
        let most = self.rng.usize(1..8);
        let records = &self.log[at];
        let mut left = Some(bytes_max);
        let fits = |record: &&Record| {
            let fits = left.is_some();
            left = left.and_then(|left| left.checked_sub(record.len_bytes()));
            fits
        };
        let taken: Vec<Record> =
            records[*next as usize..].iter().take_while(fits).take(most).cloned().collect();
        let next = next + taken.len() as u64;
        Fetched { at: at.clone(), records: taken, next, end: records.len() as u64 }
    }

    fn topic(&self, name: &str) -> Option<TopicInfo> {
        let partitions = self.log.iter().filter(|(at, _)| &*at.topic == name);
        let partitions: Vec<_> =
            partitions.map(|(_, records)| PartitionInfo { start: 0, end: records.len() as u64 }).collect();
        (!partitions.is_empty()).then(|| TopicInfo { name: name.into(), id: 7, partitions })
    }
}

impl Source for SimSource {
    fn topics(&self) -> BoxFuture<'_, Result<Vec<TopicInfo>, SourceError>> {
        Box::pin(async { Ok(["a", "b"].iter().filter_map(|name| self.desk.lock().topic(name)).collect()) })
    }

    fn topic<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<TopicInfo>, SourceError>> {
        Box::pin(async move {
            match self.desk.ask(self.owner, Ask::Topic).await {
                Answer::Failed => Err(trouble()),
                _ => Ok(self.desk.lock().topic(name)),
            }
        })
    }

    fn read<'a>(
        &'a self,
        from: &'a [(TopicPartition, Offset)],
    ) -> BoxFuture<'a, Result<Box<dyn Reader>, SourceError>> {
        let mut places = from.to_vec();
        match self.sight.plant {
            Some(Plant::PartitionSkipped) => places.retain(|(at, _)| at.partition == 0),
            Some(Plant::ReadOneLate) => places.iter_mut().for_each(|(_, next)| *next += u64::from(*next > 0)),
            _ => {}
        }
        let (desk, sight) = (self.desk.clone(), self.sight);
        let reader = SimReader { desk, owner: self.owner, places, turn: 0, sight };
        Box::pin(async move { Ok(Box::new(reader) as Box<dyn Reader>) })
    }

    fn fetch<'a>(
        &'a self,
        at: &'a TopicPartition,
        offset: Offset,
    ) -> BoxFuture<'a, Result<Option<Record>, SourceError>> {
        let mut desk = self.desk.lock();
        let found = desk.log.get(at).and_then(|records| records.get(offset as usize).cloned());
        let records = found.into_iter().collect();
        let fetched = Fetched { at: at.clone(), records, next: offset + 1, end: offset + 1 };
        let found = self.sight.of(&mut desk, fetched).records.pop();
        Box::pin(async move { Ok(found) })
    }
}

impl Reader for SimReader {
    fn next(&mut self, bytes_max: usize) -> BoxFuture<'_, Result<Fetched, SourceError>> {
        Box::pin(async move {
            let ask = Ask::Fetch(self.places.clone(), bytes_max);
            let Answer::Fetched(fetched) = self.desk.ask(self.owner, ask).await else {
                return Err(trouble());
            };
            self.turn =
                self.places.iter().position(|(at, _)| *at == fetched.at).expect("it was of this reader");
            self.places[self.turn].1 = fetched.next;
            Ok(self.sight.of(&mut self.desk.lock(), fetched))
        })
    }

    fn more(&mut self, bytes_max: usize) -> Result<Option<Fetched>, SourceError> {
        let place = &mut self.places[self.turn];
        let mut desk = self.desk.lock();
        if !desk.prompt && desk.rng.u8(0..60) == 0 {
            return Err(trouble());
        }
        if !desk.goes_on(place) || !desk.prompt && desk.rng.u8(0..3) == 0 {
            return Ok(None);
        }
        let fetched = desk.fetch(place, bytes_max);
        place.1 = fetched.next;
        Ok(Some(self.sight.of(&mut desk, fetched)))
    }

    fn seek(&mut self, at: &TopicPartition, offset: Offset) -> Result<(), SourceError> {
        let place = self.places.iter_mut().find(|(known, _)| known == at);
        if let Some(place) = place.filter(|_| self.sight.plant != Some(Plant::SeekIgnored)) {
            place.1 = offset;
        }
        Ok(())
    }
}
