//! Parked keys, as every store keeps them.
//!
//! [`ParkChange`] is what the write loop decides, [`ParkedEntry`] and [`QueuedEvent`] what a store holds and gives out page
//! by page, [`Parked`] what is held in memory: which keys are parked and since when, in some fifty bytes for each. A view of it
//! stays as it is while the store goes on; what a view and the store share is copied in small parts, when they change.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Arc, LazyLock};

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::{StoreError, Tables};
use crate::event::{Offset, TopicPartition};
use crate::value::ParkedKey;
use crate::value::encode::RowKey;

/// A decision about a key. All hold only while whoever decides owns the partition of the event in question (P1).
#[derive(Clone, Debug)]
pub enum ParkChange {
    /// The key is parked from this event on.
    Park { projection: Arc<str>, key: ParkedKey, entry: ParkedEntry },
    /// Another event of a parked key waits. One that has left the queue does not come back.
    Enqueue { projection: Arc<str>, key: ParkedKey, event: QueuedEvent },
    /// An event waits no more. With the last one the key is parked no more.
    Dequeue { projection: Arc<str>, key: ParkedKey, event: QueuedEvent, ended: Ended },
    /// What the first event that still waits waits for. Does nothing to a key that is not parked; how many events wait, and
    /// what was begun, is not taken from it.
    Restate { projection: Arc<str>, key: ParkedKey, entry: ParkedEntry },
    /// How events are taken off the queue from now on, if that stands as it `was`: one that comes late or twice changes
    /// nothing. Else [`StoreError::Unavailable`].
    Begin { projection: Arc<str>, key: ParkedKey, since: QueuedEvent, was: Option<Begun>, begun: Begun },
}

impl ParkChange {
    pub fn projection(&self) -> &Arc<str> {
        match self {
            ParkChange::Park { projection, .. }
            | ParkChange::Enqueue { projection, .. }
            | ParkChange::Dequeue { projection, .. }
            | ParkChange::Restate { projection, .. }
            | ParkChange::Begin { projection, .. } => projection,
        }
    }

    pub fn key(&self) -> &ParkedKey {
        match self {
            ParkChange::Park { key, .. }
            | ParkChange::Enqueue { key, .. }
            | ParkChange::Dequeue { key, .. }
            | ParkChange::Restate { key, .. }
            | ParkChange::Begin { key, .. } => key,
        }
    }

    /// The event that the decision is about.
    pub fn event(&self) -> &QueuedEvent {
        match self {
            ParkChange::Park { entry, .. } | ParkChange::Restate { entry, .. } => &entry.since,
            ParkChange::Enqueue { event, .. } | ParkChange::Dequeue { event, .. } => event,
            ParkChange::Begin { since, .. } => since,
        }
    }
}

/// How an event left the queue of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ended {
    /// The row has it.
    Applied,
    /// Its position was passed without it; those behind it went on.
    Skipped,
    /// It was forgotten together with all that waited.
    Dropped,
}

/// How events that wait are being taken off a queue: written down before any row of them is. Where a store does not apply a
/// batch whole, some of the rows may be there when the rest fails; taken off in another way, one stamp would have two contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begun {
    pub at: TopicPartition,
    /// The event that was the first of the queue.
    pub from: Offset,
    /// The last one that this is about.
    pub upto: Offset,
    /// What becomes of the first.
    pub first: Ended,
    /// What becomes of those behind it.
    pub rest: Ended,
}

/// The refusal of [`ParkChange::Begin`] where something else was begun meanwhile.
pub(super) fn begun_otherwise() -> StoreError {
    let reason = "how a parked key is set free was changed meanwhile";
    StoreError::Unavailable(reason.to_owned())
}

impl Begun {
    /// What becomes of an event; `None` where this is not about it.
    pub fn of(&self, event: &QueuedEvent) -> Option<Ended> {
        let is_about = event.at == self.at && (self.from..=self.upto).contains(&event.offset);
        is_about.then_some(if event.offset == self.from { self.first } else { self.rest })
    }
}

/// A parked key, as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedEntry {
    /// The first event that waits: it could not be applied.
    pub since: QueuedEvent,
    /// Name of the entity.
    pub entity: Box<str>,
    /// The key for a person: `{"id":"o1"}`, or the record key.
    pub shown: Box<str>,
    pub stage: Box<str>,
    pub reason: Box<str>,
    pub type_name: Option<Box<str>>,
    /// How many events wait, the first included.
    pub waiting: u64,
    /// Only of the *stamped* profile: what was last begun with its queue. Of events that have left it nothing follows.
    pub begun: Option<Begun>,
}

/// A position in a parked key's queue; the log keeps the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuedEvent {
    pub at: TopicPartition,
    pub offset: Offset,
    /// Its place among the events of the key: the offset, or for kind C that among the events of all partitions.
    pub order: Offset,
    pub time_ms: i64,
}

impl QueuedEvent {
    /// What queues are ordered by.
    pub(super) fn place(&self) -> (Offset, &TopicPartition, Offset) {
        (self.order, &self.at, self.offset)
    }
}

/// A read of parked keys, in the order of projections and keys.
#[derive(Clone, Copy, Debug)]
pub struct ParkedPage<'a> {
    /// Only keys of this projection.
    pub projection: Option<&'a str>,
    /// Only rows whose encoded key begins so; with a projection alone.
    pub rows: Option<&'a [u8]>,
    /// Begins behind this key.
    pub after: Option<(&'a str, &'a ParkedKey)>,
    pub limit: usize,
}

/// A parked key with its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedItem {
    pub projection: Arc<str>,
    pub key: ParkedKey,
    pub entry: ParkedEntry,
}

/// Every parked key of a generation: for `test`, oracles and checks, where there are few.
///
/// # Errors
/// The store fails.
pub async fn all_parked(
    tables: &dyn Tables,
) -> Result<BTreeMap<(Arc<str>, ParkedKey), ParkedEntry>, StoreError> {
    let page = ParkedPage { projection: None, rows: None, after: None, limit: usize::MAX };
    let items = tables.parked_page(page).await?;
    Ok(items.into_iter().map(|item| ((item.projection, item.key), item.entry)).collect())
}

/// How many events have left the queues of a projection, since its generation was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ParkedCounts {
    /// Applied by a retry.
    pub retried: u64,
    pub skipped: u64,
    pub dropped: u64,
}

impl ParkedCounts {
    /// One more event has left its queue.
    pub(super) fn add(&mut self, ended: Ended) {
        match ended {
            Ended::Applied => self.retried += 1,
            Ended::Skipped => self.skipped += 1,
            Ended::Dropped => self.dropped += 1,
        }
    }
}

/// Which keys of a generation are parked, by projection.
#[derive(Clone, Debug, Default)]
pub struct Parked {
    projections: BTreeMap<Arc<str>, ParkedIndex>,
}

/// Which keys of one projection are parked, each with the first event that waits.
#[derive(Clone, Default)]
pub struct ParkedIndex {
    /// Empty, or [`SHARDS`]; in parts, so that a change copies little of what a view still holds.
    shards: Arc<Vec<Option<Arc<Shard>>>>,
    places: Arc<Vec<TopicPartition>>,
    keys: usize,
    counts: ParkedCounts,
}

/// By a digest of the key: the number of the partition, and the offset.
type Shard = FxHashMap<u128, (u32, Offset)>;

const SHARDS: usize = 1024;

impl Parked {
    /// Whether no key of any projection is parked.
    pub fn is_empty(&self) -> bool {
        self.projections.values().all(ParkedIndex::is_empty)
    }

    /// The parked keys of a projection.
    pub fn of(&self, projection: &str) -> ParkedIndex {
        self.projections.get(projection).cloned().unwrap_or_default()
    }

    /// How many keys of a projection are parked.
    pub fn keys(&self, projection: &str) -> usize {
        self.projections.get(projection).map_or(0, |index| index.keys)
    }

    /// How many events have left the queues of a projection.
    pub fn counts(&self, projection: &str) -> ParkedCounts {
        self.projections.get(projection).map(|index| index.counts).unwrap_or_default()
    }

    /// The first event that waits for a key, if it is parked: its partition and offset.
    pub fn since(&self, projection: &str, key: &ParkedKey) -> Option<(TopicPartition, Offset)> {
        self.projections.get(projection)?.since(key)
    }

    /// Makes a key parked from an event on, or parked no more.
    pub(super) fn set(
        &mut self,
        projection: &Arc<str>,
        key: &ParkedKey,
        since: Option<(&TopicPartition, Offset)>,
    ) {
        self.index(projection).set(key, since);
    }

    pub(super) fn set_counts(&mut self, projection: &Arc<str>, counts: ParkedCounts) {
        self.index(projection).counts = counts;
    }

    fn index(&mut self, projection: &Arc<str>) -> &mut ParkedIndex {
        self.projections.entry(Arc::clone(projection)).or_default()
    }
}

impl ParkedIndex {
    pub fn is_empty(&self) -> bool {
        self.keys == 0
    }

    /// How many keys are parked.
    pub fn len(&self) -> usize {
        self.keys
    }

    /// The first event that waits for a key, if it is parked: its partition and offset.
    pub fn since(&self, key: &ParkedKey) -> Option<(TopicPartition, Offset)> {
        let (place, offset) = self.find(digest(key))?;
        Some((self.places[place as usize].clone(), offset))
    }

    /// Whether an event of this key waits: the key is parked, from this event on or from an earlier one. Events
    /// below the first parked one were applied before the decision and pass (P4).
    pub fn holds(&self, key: &ParkedKey, at: &TopicPartition, offset: Offset) -> bool {
        self.covers(digest(key), at, offset)
    }

    /// As [`ParkedIndex::holds`], of a row.
    pub fn holds_row(&self, key: &RowKey, at: &TopicPartition, offset: Offset) -> bool {
        self.covers(digest_row(key), at, offset)
    }

    fn covers(&self, digest: u128, at: &TopicPartition, offset: Offset) -> bool {
        let since = self.find(digest);
        since.is_some_and(|(place, since)| since <= offset || self.places[place as usize] != *at)
    }

    fn find(&self, digest: u128) -> Option<(u32, Offset)> {
        self.shards.get(shard_of(digest))?.as_ref()?.get(&digest).copied()
    }

    pub(super) fn set(&mut self, key: &ParkedKey, since: Option<(&TopicPartition, Offset)>) {
        let digest = digest(key);
        let since = since.map(|(at, offset)| (self.place(at), offset));
        let shards = Arc::make_mut(&mut self.shards);
        if shards.is_empty() {
            shards.resize(SHARDS, None);
        }
        let shard = Arc::make_mut(shards[shard_of(digest)].get_or_insert_default());
        let before = match since {
            Some(since) => shard.insert(digest, since),
            None => shard.remove(&digest),
        };
        self.keys = self.keys + usize::from(since.is_some()) - usize::from(before.is_some());
    }

    /// The number of a partition.
    fn place(&mut self, at: &TopicPartition) -> u32 {
        let known = self.places.iter().position(|place| place == at);
        let number = known.unwrap_or_else(|| {
            let places = Arc::make_mut(&mut self.places);
            places.push(at.clone());
            places.len() - 1
        });
        u32::try_from(number).expect("a projection reads far fewer partitions")
    }
}

impl fmt::Debug for ParkedIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParkedIndex").field("keys", &self.keys).finish_non_exhaustive()
    }
}

fn shard_of(digest: u128) -> usize {
    (digest % SHARDS as u128) as usize
}

/// Drawn anew by each process: nobody outside can choose keys whose digests are the same.
static SEEDS: LazyLock<[RandomState; 2]> = LazyLock::new(Default::default);

/// 128 bits that stand for a key: of a million keys no two are the same, but once in 10²⁶ runs.
fn digest(key: &ParkedKey) -> u128 {
    match key {
        ParkedKey::Row(key) => digest_row(key),
        ParkedKey::Record(bytes) => digest_of(1, bytes, 0, 0),
        ParkedKey::Position(at, offset) => digest_of(2, at.topic.as_bytes(), at.partition, *offset),
    }
}

fn digest_row(key: &RowKey) -> u128 {
    digest_of(0, key.bytes(), 0, key.partition().len() as u64)
}

fn digest_of(kind: u8, bytes: &[u8], partition: u32, number: u64) -> u128 {
    let half = |seed: &RandomState| {
        let mut hasher = seed.build_hasher();
        hasher.write_u8(kind);
        hasher.write_u32(partition);
        hasher.write_u64(number);
        hasher.write(bytes);
        u128::from(hasher.finish())
    };
    half(&SEEDS[0]) << 64 | half(&SEEDS[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(partition: u32) -> TopicPartition {
        TopicPartition { topic: "shop.orders".into(), partition }
    }

    fn key(number: u32) -> ParkedKey {
        ParkedKey::Row(RowKey::new(number.to_be_bytes().to_vec(), &[]))
    }

    #[test]
    fn keys_are_parked_from_an_event_on_and_those_of_other_partitions_whatever_their_offset() {
        let mut index = ParkedIndex::default();
        index.set(&key(1), Some((&at(3), 5)));
        assert!(index.holds(&key(1), &at(3), 5) && index.holds(&key(1), &at(3), 6));
        assert!(!index.holds(&key(1), &at(3), 4));
        assert!(index.holds(&key(1), &at(2), 0));
        assert!(!index.holds(&key(2), &at(3), 5));
        assert_eq!(index.since(&key(1)), Some((at(3), 5)));
    }

    #[test]
    fn a_view_stays_as_it_is() {
        let mut parked = Parked::default();
        let orders: Arc<str> = "orders".into();
        (0..2_000).for_each(|number| parked.set(&orders, &key(number), Some((&at(0), 1))));
        let view = parked.clone();
        (0..1_999).for_each(|number| parked.set(&orders, &key(number), None));
        parked.set(&orders, &key(1_999), Some((&at(0), 9)));
        assert_eq!((view.keys("orders"), parked.keys("orders")), (2_000, 1));
        assert_eq!(view.since("orders", &key(7)), Some((at(0), 1)));
        assert_eq!(parked.since("orders", &key(7)), None);
        assert_eq!(parked.since("orders", &key(1_999)), Some((at(0), 9)));
        parked.set(&orders, &key(1_999), None);
        assert!(parked.is_empty() && !view.is_empty());
    }

    #[test]
    fn keys_of_different_kinds_are_different() {
        let same = b"o1".as_slice();
        let keys = [
            ParkedKey::Row(RowKey::new(same.to_vec(), &[])),
            ParkedKey::Row(RowKey::new(b"o".to_vec(), b"1")),
            ParkedKey::Record(same.into()),
            ParkedKey::Position(TopicPartition { topic: "o1".into(), partition: 0 }, 0),
            ParkedKey::Position(TopicPartition { topic: "o1".into(), partition: 0 }, 1),
            ParkedKey::Position(TopicPartition { topic: "o1".into(), partition: 1 }, 0),
        ];
        let mut index = ParkedIndex::default();
        keys.iter().for_each(|key| index.set(key, Some((&at(0), 0))));
        assert_eq!(index.len(), keys.len());
    }
}
