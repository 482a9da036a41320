//! Parked keys: decisions, which only the owner of a partition makes, and the queues behind them.
//!
//! Comes in: changes of a batch, in order. Goes out: which keys are parked, kept in memory, and queues, read when they are
//! asked for. A decision lies in the partition of its owner's row and is written only while the epoch is ours (P1); a queued
//! event has its offset as its stamp, and so does its removal, so that one which lands late stays away (P2). A key is parked
//! while there are both a decision and an event that waits.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use scylla::response::PagingState;
use serde::{Deserialize, Serialize};

use super::answers::{Answer, applied};
use super::meta::{self, Place};
use super::names::{self, within};
use super::session::{Binds, Reads, Step, each_row};
use super::table::signed;
use crate::event::{Offset, TopicPartition};
use crate::store::ledger::{Ledger, lock};
use crate::store::parked::begun_otherwise;
use crate::store::{
    Batch, Begun, Ended, Owner, ParkChange, Parked, ParkedCounts, ParkedEntry, ParkedItem, ParkedKey,
    ParkedPage, QueuedEvent, StoreError,
};
use crate::value::encode::RowKey;

/// A parked key: its projection, and what waits.
type Name = (Arc<str>, ParkedKey);

/// What is decided, as this process knows it.
#[derive(Debug, Default)]
pub(super) struct Decided {
    keys: BTreeMap<Name, ParkedEntry>,
    /// Counts of what left queues, by projection and partition: each owner writes its own.
    counts: BTreeMap<(Arc<str>, TopicPartition), ParkedCounts>,
    /// Partitions whose counts are not written yet.
    uncounted: BTreeSet<(Arc<str>, TopicPartition)>,
    /// Partitions that are listed in the store.
    listed: BTreeSet<(Arc<str>, TopicPartition)>,
}

impl Decided {
    /// Which keys are parked, and how many events have left.
    pub fn index(&self) -> Parked {
        let mut parked = Parked::default();
        for ((projection, key), entry) in &self.keys {
            parked.set(projection, key, Some((&entry.since.at, entry.since.offset)));
        }
        for projection in self.counts.keys().map(|(projection, _)| projection).collect::<BTreeSet<_>>() {
            parked.set_counts(projection, self.total(projection));
        }
        parked
    }

    fn total(&self, projection: &Arc<str>) -> ParkedCounts {
        let of_it = self.counts.iter().filter(|((name, _), _)| name == projection);
        of_it.fold(ParkedCounts::default(), |sum, (_, counts)| ParkedCounts {
            retried: sum.retried + counts.retried,
            skipped: sum.skipped + counts.skipped,
            dropped: sum.dropped + counts.dropped,
        })
    }
}

/// Reads what is decided from the store.
pub(super) async fn load(place: &Place) -> Result<Decided, StoreError> {
    let mut decided = Decided::default();
    let partitions = meta::partitions(place).await?;
    for (projection, at) in partitions {
        let mut found: Vec<(ParkedKey, ParkedEntry)> = Vec::new();
        let mut counts = ParkedCounts::default();
        let binds = place.binds(Binds::default(), &projection, &at);
        place
            .rows(names::OWNED, Reads::Serial, binds, |row| {
                counts = ParkedCounts {
                    retried: row.maybe_offset(1)?.unwrap_or_default(),
                    skipped: row.maybe_offset(2)?.unwrap_or_default(),
                    dropped: row.maybe_offset(3)?.unwrap_or_default(),
                };
                if !row.is_null(4) && !row.is_null(5) {
                    found.push((read_key(row.bytes(4)?)?, read_entry(row, &at)?));
                }
                Ok(())
            })
            .await?;
        let mut steps: Vec<Step<'_, Option<(Name, ParkedEntry)>>> = Vec::with_capacity(found.len());
        for (key, entry) in found {
            let name = (Arc::clone(&projection), key);
            steps.push(Box::pin(async move {
                Ok(has_queue(place, &name.0, &name.1).await?.then_some((name, entry)))
            }));
        }
        decided.keys.extend(place.session.all(steps).await?.into_iter().flatten());
        if counts != ParkedCounts::default() {
            decided.counts.insert((Arc::clone(&projection), at.clone()), counts);
        }
        decided.listed.insert((projection, at));
    }
    Ok(decided)
}

fn read_entry(row: &Answer<'_>, at: &TopicPartition) -> Result<ParkedEntry, StoreError> {
    Ok(ParkedEntry {
        since: QueuedEvent {
            at: at.clone(),
            offset: row.offset(5)?,
            order: row.offset(6)?,
            time_ms: row.long(7)?,
        },
        entity: row.text(8)?.into(),
        shown: row.text(9)?.into(),
        stage: row.text(10)?.into(),
        reason: row.text(11)?.into(),
        type_name: row.maybe_text(12)?.map(Into::into),
        waiting: 0,
        begun: row.maybe_text(13)?.as_deref().map(read_begun).transpose()?,
    })
}

/// [`Begun`], as it lies in its column.
#[derive(Serialize, Deserialize)]
struct BegunText {
    topic: String,
    partition: u32,
    from: Offset,
    upto: Offset,
    first: Ended,
    rest: Ended,
}

fn begun_text(begun: &Begun) -> String {
    let Begun { at, from, upto, first, rest } = begun.clone();
    let text = BegunText { topic: at.topic.to_string(), partition: at.partition, from, upto, first, rest };
    serde_json::to_string(&text).expect("texts and numbers have JSON")
}

fn read_begun(text: &str) -> Result<Begun, StoreError> {
    let misread =
        |error: serde_json::Error| StoreError::Corrupt(format!("`begun` of a key in kinora_owned: {error}"));
    let BegunText { topic, partition, from, upto, first, rest } =
        serde_json::from_str(text).map_err(misread)?;
    Ok(Begun { at: TopicPartition { topic: topic.into(), partition }, from, upto, first, rest })
}

/// Applies the decisions of a batch: those of one key in their order.
pub(super) async fn change(
    place: &Place,
    ledger: &Ledger,
    decided: &Mutex<Decided>,
    batch: &Batch,
) -> Result<(), StoreError> {
    let mut by_key: BTreeMap<Name, Vec<&ParkChange>> = BTreeMap::new();
    for change in &batch.parked {
        by_key.entry((Arc::clone(change.projection()), change.key().clone())).or_default().push(change);
    }
    // What begins to wait is safe before anything leaves a queue: an event that goes from one to another is always in one.
    let leaves = |changes: &Vec<&ParkChange>| {
        changes.iter().any(|change| matches!(change, ParkChange::Dequeue { .. } | ParkChange::Restate { .. }))
    };
    let (later, first): (BTreeMap<_, _>, BTreeMap<_, _>) =
        by_key.into_iter().partition(|(_, changes)| leaves(changes));
    for wave in [first, later] {
        let mut steps: Vec<Step<'_, ()>> = Vec::with_capacity(wave.len());
        for (name, changes) in wave {
            steps.push(Box::pin(async move {
                let desk = Desk { place, ledger, decided, batch, name };
                for change in changes {
                    desk.change(change).await?;
                }
                Ok(())
            }));
        }
        place.session.all(steps).await?;
    }
    write_counts(place, ledger, decided, batch).await
}

/// Writes how many events have left the queues of each partition: once, after all that leave in one batch.
async fn write_counts(
    place: &Place,
    ledger: &Ledger,
    decided: &Mutex<Decided>,
    batch: &Batch,
) -> Result<(), StoreError> {
    let uncounted = lock(decided).uncounted.clone();
    for (projection, at) in uncounted {
        let of = (Arc::clone(&projection), at.clone());
        let counts = lock(decided).counts.get(&of).copied().unwrap_or_default();
        let binds = Binds::default()
            .long(signed(counts.retried)?)
            .long(signed(counts.skipped)?)
            .long(signed(counts.dropped)?);
        let owner = batch.owner_of(&projection, &at);
        compare(place, names::SET_COUNTS, place.binds(binds, &projection, &at), &owner).await?;
        let total = {
            let mut decided = lock(decided);
            decided.uncounted.remove(&of);
            decided.total(&projection)
        };
        ledger.change_parked(|parked| parked.set_counts(&projection, total));
    }
    Ok(())
}

/// Sends a write that compares the epoch.
async fn compare(place: &Place, statement: &str, binds: Binds, owner: &Owner) -> Result<(), StoreError> {
    let (mut applied, mut found) = (false, 0);
    let binds = binds.maybe_long(meta::some(owner.epoch)?);
    place
        .rows(statement, Reads::Usual, binds, |row| {
            applied = row.bool(0)?;
            found = row.maybe_offset(1)?.unwrap_or_default();
            Ok(())
        })
        .await?;
    if applied { Ok(()) } else { Err(meta::lost(owner, found)) }
}

/// Where the changes of one key are made.
struct Desk<'a> {
    place: &'a Place,
    ledger: &'a Ledger,
    decided: &'a Mutex<Decided>,
    batch: &'a Batch,
    name: Name,
}

impl Desk<'_> {
    async fn change(&self, change: &ParkChange) -> Result<(), StoreError> {
        match change {
            ParkChange::Park { entry, .. } => {
                let known = self.known();
                if known.is_none() {
                    self.decide(entry).await?;
                }
                self.enqueue(&entry.since).await?;
                self.show(Some(known.unwrap_or_else(|| entry.clone())));
                Ok(())
            }
            ParkChange::Enqueue { event, .. } => self.enqueue(event).await,
            ParkChange::Dequeue { event, ended, .. } => self.dequeue(event, *ended).await,
            ParkChange::Restate { entry, .. } => {
                let Some(before) = self.known() else { return Ok(()) };
                self.decide(entry).await?;
                if before.since.at != entry.since.at {
                    self.forget(&before.since.at).await?;
                }
                self.show(Some(ParkedEntry { begun: before.begun, ..entry.clone() }));
                Ok(())
            }
            ParkChange::Begin { was, begun, .. } => self.begin(was.as_ref(), begun).await,
        }
    }

    fn known(&self) -> Option<ParkedEntry> {
        lock(self.decided).keys.get(&self.name).cloned()
    }

    /// Shows what is decided now.
    fn show(&self, entry: Option<ParkedEntry>) {
        let (projection, key) = &self.name;
        let since = entry.as_ref().map(|entry| (entry.since.at.clone(), entry.since.offset));
        let mut decided = lock(self.decided);
        match entry {
            Some(entry) => drop(decided.keys.insert(self.name.clone(), entry)),
            None => drop(decided.keys.remove(&self.name)),
        }
        self.ledger.change_parked(|parked| {
            parked.set(projection, key, since.as_ref().map(|(at, offset)| (at, *offset)));
        });
    }

    /// Writes the decision, if its owner is the owner still.
    async fn decide(&self, entry: &ParkedEntry) -> Result<(), StoreError> {
        let at = &entry.since.at;
        let listed = (Arc::clone(&self.name.0), at.clone());
        if !lock(self.decided).listed.contains(&listed) {
            meta::know(self.place, &self.name.0, at).await?;
            lock(self.decided).listed.insert(listed);
        }
        let binds = Binds::default()
            .long(signed(entry.since.offset)?)
            .long(signed(entry.since.order)?)
            .long(entry.since.time_ms)
            .text(&entry.entity)
            .text(&entry.shown)
            .text(&entry.stage)
            .text(&entry.reason)
            .maybe_text(entry.type_name.as_deref());
        self.compare(
            names::PARK,
            self.place.binds(binds, &self.name.0, at).blob(&key_bytes(&self.name.1)),
            at,
        )
        .await
    }

    /// Removes the decision of a key whose queue is empty.
    async fn forget(&self, at: &TopicPartition) -> Result<(), StoreError> {
        let binds = self.place.binds(Binds::default(), &self.name.0, at).blob(&key_bytes(&self.name.1));
        self.compare(names::UNPARK, binds, at).await
    }

    /// Writes how events are taken off the queue, if nothing else was begun meanwhile.
    async fn begin(&self, was: Option<&Begun>, begun: &Begun) -> Result<(), StoreError> {
        let Some(known) = self.known() else { return Ok(()) };
        let (at, text) = (&known.since.at, begun_text(begun));
        let owner = self.batch.owner_of(&self.name.0, at);
        let name = |binds| self.place.binds(binds, &self.name.0, at).blob(&key_bytes(&self.name.1));
        let binds = name(Binds::default().text(&text)).maybe_long(meta::some(owner.epoch)?);
        let binds = binds.maybe_text(was.map(begun_text).as_deref());
        if !applied(&self.place.session, names::BEGIN, binds).await? {
            meta::check_owner(self.place, &owner).await?;
            // One that was sent twice finds itself.
            let mut is_ours = false;
            self.place
                .rows(names::BEGUN, Reads::Serial, name(Binds::default()), |row| {
                    is_ours = row.maybe_text(0)?.as_deref() == Some(&text);
                    Ok(())
                })
                .await?;
            if !is_ours {
                return Err(begun_otherwise());
            }
        }
        self.show(Some(ParkedEntry { begun: Some(begun.clone()), ..known }));
        Ok(())
    }

    async fn compare(&self, statement: &str, binds: Binds, at: &TopicPartition) -> Result<(), StoreError> {
        compare(self.place, statement, binds, &self.batch.owner_of(&self.name.0, at)).await
    }

    fn queue(&self, binds: Binds) -> Binds {
        binds.int(self.place.generation).text(&self.name.0).blob(&key_bytes(&self.name.1))
    }

    fn event(&self, binds: Binds, event: &QueuedEvent) -> Result<Binds, StoreError> {
        let place =
            self.queue(binds).long(signed(event.order)?).text(&event.at.topic).int(event.at.partition);
        Ok(place.long(signed(event.offset)?))
    }

    async fn enqueue(&self, event: &QueuedEvent) -> Result<(), StoreError> {
        let binds = self.event(Binds::default(), event)?.long(event.time_ms).long(signed(event.offset)?);
        self.place.run(names::ENQUEUE, binds).await
    }

    async fn dequeue(&self, event: &QueuedEvent, ended: Ended) -> Result<(), StoreError> {
        let mut waited = false;
        let binds = self.event(Binds::default(), event)?;
        self.place
            .rows(names::WAITS, Reads::Usual, binds, |_| {
                waited = true;
                Ok(())
            })
            .await?;
        let binds = self.event(Binds::default().long(signed(event.offset)?), event)?;
        self.place.run(names::DEQUEUE, binds).await?;
        if waited {
            let of = (Arc::clone(&self.name.0), event.at.clone());
            let mut decided = lock(self.decided);
            decided.counts.entry(of.clone()).or_default().add(ended);
            decided.uncounted.insert(of);
        }
        if let Some(known) = self.known()
            && !has_queue(self.place, &self.name.0, &self.name.1).await?
        {
            self.forget(&known.since.at).await?;
            self.show(None);
        }
        Ok(())
    }
}

/// Removes the queues of a generation that is gone, and its decisions with the list of partitions.
pub(super) async fn forget_all(place: &Place) -> Result<(), StoreError> {
    for (projection, key) in load(place).await?.keys.into_keys() {
        let binds = Binds::default().int(place.generation).text(&projection).blob(&key_bytes(&key));
        place.run(names::DROP_QUEUE, binds).await?;
    }
    Ok(())
}

async fn has_queue(place: &Place, projection: &str, key: &ParkedKey) -> Result<bool, StoreError> {
    Ok(!queue(place, projection, key, None, 1).await?.is_empty())
}

/// The queue of a key, oldest first, behind an event of it.
pub(super) async fn queue(
    place: &Place,
    projection: &str,
    key: &ParkedKey,
    after: Option<&QueuedEvent>,
    limit: usize,
) -> Result<Vec<QueuedEvent>, StoreError> {
    let mut found: Vec<QueuedEvent> = Vec::new();
    let text = within(names::QUEUE, place.keyspace());
    let from = after.map_or(Ok(0), |after| signed(after.order))?;
    let binds = Binds::default().int(place.generation).text(projection).blob(&key_bytes(key)).long(from);
    let mut state = Some(PagingState::start());
    while let Some(at) = state.take().filter(|_| found.len() < limit) {
        let rows = (limit - found.len()).clamp(1, 1_000);
        let (result, next) = place.session.page(&text, &binds, rows, &at).await?;
        each_row(result, |cells| {
            let row = Answer { cells };
            let event = QueuedEvent {
                at: row.partition(1)?,
                offset: row.offset(3)?,
                order: row.offset(0)?,
                time_ms: row.long(4)?,
            };
            if found.len() < limit && after.is_none_or(|after| event.place() > after.place()) {
                found.push(event);
            }
            Ok(())
        })?;
        state = next;
    }
    Ok(found)
}

async fn waiting(place: &Place, name: &Name) -> Result<u64, StoreError> {
    Ok(queue(place, &name.0, &name.1, None, usize::MAX).await?.len() as u64)
}

/// One parked key, with how many events wait.
pub(super) async fn entry(
    place: &Place,
    decided: &Mutex<Decided>,
    projection: &str,
    key: &ParkedKey,
) -> Result<Option<ParkedEntry>, StoreError> {
    let name = (Arc::from(projection), key.clone());
    let Some(entry) = lock(decided).keys.get(&name).cloned() else { return Ok(None) };
    let waiting = waiting(place, &name).await?;
    Ok((waiting > 0).then_some(ParkedEntry { waiting, ..entry }))
}

/// Parked keys in order, a page.
pub(super) async fn page(
    place: &Place,
    decided: &Mutex<Decided>,
    page: ParkedPage<'_>,
) -> Result<Vec<ParkedItem>, StoreError> {
    let after = page.after.map(|(projection, key)| (Arc::from(projection), key.clone()));
    let asked = |(projection, key): &Name| {
        let of_row = |begin: &[u8]| matches!(key, ParkedKey::Row(key) if key.bytes().starts_with(begin));
        page.projection.is_none_or(|asked| **projection == *asked)
            && page.rows.is_none_or(of_row)
            && after.as_ref().is_none_or(|after| (projection, key) > (&after.0, &after.1))
    };
    let named: Vec<(Name, ParkedEntry)> = {
        let decided = lock(decided);
        let of_page = decided.keys.iter().filter(|(name, _)| asked(name)).take(page.limit);
        of_page.map(|(name, entry)| (name.clone(), entry.clone())).collect()
    };
    let mut steps: Vec<Step<'_, ParkedItem>> = Vec::with_capacity(named.len());
    for (name, entry) in named {
        steps.push(Box::pin(async move {
            let waiting = waiting(place, &name).await?;
            Ok(ParkedItem { projection: name.0, key: name.1, entry: ParkedEntry { waiting, ..entry } })
        }));
    }
    place.session.all(steps).await
}

const ROW: u8 = 0;
const RECORD: u8 = 1;
const POSITION: u8 = 2;

/// The bytes of a parked key: its kind, then what it is.
pub(super) fn key_bytes(key: &ParkedKey) -> Vec<u8> {
    match key {
        ParkedKey::Row(key) => {
            let len = u32::try_from(key.partition().len()).expect("a key is far below 4 GiB");
            [&[ROW], &len.to_be_bytes()[..], key.bytes()].concat()
        }
        ParkedKey::Record(bytes) => [&[RECORD], &**bytes].concat(),
        ParkedKey::Position(at, offset) => {
            [&[POSITION], &at.partition.to_be_bytes()[..], &offset.to_be_bytes(), at.topic.as_bytes()]
                .concat()
        }
    }
}

pub(super) fn read_key(bytes: &[u8]) -> Result<ParkedKey, StoreError> {
    let misread = || StoreError::Corrupt("a parked key in Cassandra is none of ours".to_owned());
    let (kind, rest) = bytes.split_first().ok_or_else(misread)?;
    match *kind {
        ROW => {
            let (len, key) = rest.split_first_chunk::<4>().ok_or_else(misread)?;
            let key = RowKey::split(key, u32::from_be_bytes(*len) as usize).ok_or_else(misread)?;
            Ok(ParkedKey::Row(key))
        }
        RECORD => Ok(ParkedKey::Record(rest.into())),
        POSITION => {
            let (partition, rest) = rest.split_first_chunk::<4>().ok_or_else(misread)?;
            let (offset, topic) = rest.split_first_chunk::<8>().ok_or_else(misread)?;
            let topic = std::str::from_utf8(topic).map_err(|_| misread())?.into();
            let at = TopicPartition { topic, partition: u32::from_be_bytes(*partition) };
            Ok(ParkedKey::Position(at, u64::from_be_bytes(*offset)))
        }
        _ => Err(misread()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_begun_comes_back_from_its_text() {
        let at = TopicPartition { topic: "shop.orders".into(), partition: 7 };
        let begun = Begun { at, from: 3, upto: 9, first: Ended::Skipped, rest: Ended::Applied };
        let text = begun_text(&begun);
        assert_eq!(read_begun(&text).expect("is ours"), begun);
        assert!(text.contains("\"first\":\"skipped\""), "{text}");
        (0..text.len()).for_each(|len| assert!(read_begun(&text[..len]).is_err()));
    }

    #[test]
    fn keys_of_every_kind_come_back_from_their_bytes() {
        let at = TopicPartition { topic: "shop.orders".into(), partition: 7 };
        for key in [
            ParkedKey::Row(RowKey::new(vec![1, 0], &[2])),
            ParkedKey::Row(RowKey::new(vec![], &[])),
            ParkedKey::Record(Box::new([0, 0xFF])),
            ParkedKey::Position(at, 9),
        ] {
            let bytes = key_bytes(&key);
            assert_eq!(read_key(&bytes).expect("is ours"), key);
            (0..bytes.len()).for_each(|len| drop(read_key(&bytes[..len])));
        }
    }
}
