//! Folds the events of a batch row by row, in place of the log's order.
//!
//! The events of one row stand far apart in the log, and the rows of a batch far apart in memory: in the log's order each event
//! waits for its row to come from there, and the batch holds all rows as values until it is written. So records are gathered
//! first, as bytes, and taken in the order of their keys: all events of a row in one go, while the row is at hand, after which
//! it is encoded. What comes out is the same, because all events of a row have one record key and keep their order (that is
//! what makes a projection one of kind B), and the batch is written whole.
//!
//! Comes in: the records of one partition that make a batch. Goes out: what it writes; or nothing, where it would be too
//! large or something in between must be written first: then the log's order, which can stop anywhere, is taken instead.

use std::hash::{Hash, Hasher};

use rustc_hash::{FxHashSet, FxHasher};

use super::{Folded, Halt, Projector};
use crate::event::{Offset, Record};
use crate::handler::{Projection, Unknown, UpdateKind};
use crate::store::{Profile, Tables};
use crate::value::look_at_bytes;

/// Batches that are folded in the log's order after one that could not be folded by key.
const IN_ORDER: u32 = 64;

/// Bytes that a record takes beside its own.
const RECORD: usize = size_of::<Record>();

/// Records of one partition that are to be folded together.
#[derive(Default)]
pub(super) struct Gathered {
    /// In the log's order, as they were fetched: to lay them into one list would move all of them.
    fetched: Vec<Vec<Record>>,
    /// One for each record.
    places: Vec<Place>,
    /// Hashes of their keys: about as many as the rows that they touch.
    keys: FxHashSet<u64>,
    bytes: usize,
}

/// A record, by the first bytes of its key: hardly any comparison looks further.
struct Place {
    begin: u64,
    len: u32,
    /// Its number in the log's order.
    number: u32,
}

/// Whether a projection may take records in the order of their keys, and when.
pub(super) struct ByKey {
    may: bool,
    /// Batches that are still folded in the log's order.
    in_order: u32,
}

impl ByKey {
    /// Whether all that happens to one key leaves the others alone, and the batch is written whole.
    pub fn of(projection: &Projection, tables: &dyn Tables) -> ByKey {
        let stops = projection.sources.iter().any(|from| matches!(from.unknown, Unknown::Stop));
        let may = projection.kind == UpdateKind::OwnedFold
            && tables.profile() == Profile::Atomic
            && !stops
            && !projection.has_ranges();
        ByKey { may, in_order: 0 }
    }

    /// Whether the next batch is folded by key.
    pub fn begin(&mut self) -> bool {
        let is_in_order = self.in_order > 0;
        self.in_order = self.in_order.saturating_sub(1);
        self.may && !is_in_order
    }
}

impl Gathered {
    pub fn add(&mut self, records: Vec<Record>) {
        for record in &records {
            let key = key(record);
            let mut begin = [0; 8];
            let len = key.len().min(8);
            begin[..len].copy_from_slice(&key[..len]);
            let number = u32::try_from(self.places.len()).expect("a batch has far fewer records");
            let len = u32::try_from(key.len()).unwrap_or(u32::MAX);
            self.places.push(Place { begin: u64::from_be_bytes(begin), len, number });
            let mut hasher = FxHasher::default();
            key.hash(&mut hasher);
            self.keys.insert(hasher.finish());
            self.bytes += record.len_bytes() + RECORD;
        }
        self.fetched.push(records);
    }

    /// How many keys they have, about.
    pub fn keys(&self) -> usize {
        self.keys.len()
    }

    /// Bytes that they take.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The records in the log's order, and in the order of their keys: those of one key stay in the log's.
    fn records(&mut self) -> (Vec<&Record>, Vec<&Record>) {
        let records: Vec<&Record> = self.fetched.iter().flatten().collect();
        let record = |place: &Place| records[place.number as usize];
        self.places.sort_unstable_by(|a, b| {
            let keys = || match a.len.max(b.len) {
                ..=8 => a.len.cmp(&b.len),
                _ => key(record(a)).cmp(key(record(b))),
            };
            a.begin.cmp(&b.begin).then_with(keys).then_with(|| a.number.cmp(&b.number))
        });
        let by_key = self.places.iter().map(record).collect();
        (records, by_key)
    }
}

/// The place in the log behind which about so many rows were touched, of as many as there are keys.
fn last_rows(records: &[&Record], keys: usize, rows: usize) -> Offset {
    let keys = keys.max(1);
    let share = records.len() * rows.min(keys) / keys;
    records.get(records.len() - share).map_or(Offset::MAX, |record| record.offset)
}

/// How many of the records to take next: about so many, and where their last key ends soon, up to there.
fn chunk(rest: &[&Record], about: usize) -> usize {
    let (about, most) = (about.min(rest.len()), (about + about / 2).min(rest.len()));
    (about..most).find(|end| !goes_on(&rest[..*end], &rest[*end..])).unwrap_or(most)
}

/// Whether the first of what comes next has the key of the last before.
fn goes_on(before: &[&Record], next: &[&Record]) -> bool {
    let (Some(last), Some(next)) = (before.last(), next.first()) else { return false };
    key(last) == key(next)
}

/// The key of a record. One without is rejected, and waits for none.
fn key(record: &Record) -> &[u8] {
    record.key.as_deref().unwrap_or_default()
}

impl Projector {
    /// Folds what was gathered. Answers `false` where it cannot be folded by key: nothing of it was written, and what is in
    /// memory of it is to be forgotten.
    pub(super) async fn fold_by_key(&mut self, folded: &mut Folded) -> Result<bool, Halt> {
        let mut gathered = std::mem::take(&mut folded.gathered);
        if gathered.places.is_empty() {
            return Ok(true);
        }
        let at = self.places[folded.place].at.clone();
        let (base, bytes_max) = (self.places[folded.place].base, self.batch_bytes_max());
        let keys = gathered.keys();
        let (in_order, by_key) = gathered.records();
        let since = last_rows(&in_order, keys, self.settings.cached_rows_max);
        let mut rest = by_key.as_slice();
        self.parked.begin_unordered();
        while !rest.is_empty() {
            let (some, next) = rest.split_at(chunk(rest, self.chunk));
            look_at_bytes(some.iter().filter_map(|record| record.value.as_deref()));
            if self.fold_chunk(&at, some, folded).await?.is_some() {
                return self.fold_in_order();
            }
            if !goes_on(some, next) {
                self.finish(&mut folded.touched, base, &mut folded.made, |_, row| row.offset >= Some(since));
            }
            let bytes = folded.touched.bytes + folded.made.bytes;
            if (bytes > bytes_max || self.parked.changed() > self.settings.batch_rows_max) && !next.is_empty()
            {
                return self.fold_in_order();
            }
            rest = next;
        }
        self.parked.see_all(&in_order);
        folded.time_ms = in_order.last().map_or(folded.time_ms, |last| last.timestamp_ms);
        Ok(true)
    }

    /// Begins anew in the log's order.
    fn fold_in_order(&mut self) -> Result<bool, Halt> {
        self.by_key.in_order = IN_ORDER;
        self.rewind()?;
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record((offset, key): (u64, &Option<&str>)) -> Record {
        let key = key.map(|key| key.to_owned().into());
        Record { offset, timestamp_ms: 0, key, value: None, headers: Vec::new() }
    }

    fn gathered(keys: &[Option<&str>]) -> Gathered {
        let mut records: Vec<Record> = (0..).zip(keys).map(record).collect();
        let more = records.split_off(keys.len() / 2);
        let mut gathered = Gathered::default();
        gathered.add(records);
        gathered.add(more);
        gathered
    }

    fn offsets(records: &[&Record]) -> Vec<Offset> {
        records.iter().map(|record| record.offset).collect()
    }

    #[test]
    fn records_come_by_key_and_those_of_one_key_as_they_stand() {
        let mut random = fastrand::Rng::with_seed(7);
        let pieces = ["", "a", "ab", "\0", "12345678", "123456789", "x-12345678"];
        for _ in 0..200 {
            let mut piece = || pieces[random.usize(..pieces.len())];
            let keys: Vec<String> = (0..40).map(|_| piece().to_owned() + piece()).collect();
            let mut gathered = gathered(&keys.iter().map(|key| Some(key.as_str())).collect::<Vec<_>>());
            let (in_order, by_key) = gathered.records();
            let mut expected: Vec<Offset> = (0..40).collect();
            assert_eq!(offsets(&in_order), expected);
            expected.sort_by_key(|offset| keys[*offset as usize].as_bytes());
            assert_eq!(offsets(&by_key), expected, "{keys:?}");
        }
    }

    #[test]
    fn a_chunk_ends_with_its_last_key_where_that_is_near() {
        let mut gathered =
            gathered(&[Some("a"), Some("a"), Some("b"), Some("b"), Some("b"), Some("b"), None]);
        let (_, order) = gathered.records();
        assert_eq!(offsets(&order), [6, 0, 1, 2, 3, 4, 5]);
        let chunk = |from: usize, about| chunk(&order[from..], about);
        assert_eq!((chunk(0, 1), chunk(1, 2), chunk(1, 1)), (1, 2, 1));
        assert_eq!((chunk(3, 2), chunk(3, 3), chunk(3, 100)), (3, 4, 4));
        assert!(goes_on(&order[..4], &order[4..]) && !goes_on(&order[..3], &order[3..]));
    }

    #[test]
    fn the_last_rows_are_those_of_the_last_records() {
        let mut gathered = gathered(&[Some("a"), Some("b"), Some("a"), Some("b"), Some("c"), Some("d")]);
        let keys = gathered.keys();
        assert_eq!(keys, 4);
        let (in_order, _) = gathered.records();
        let last = |rows| last_rows(&in_order, keys, rows);
        assert_eq!((last(2), last(4), last(9), last(0)), (3, 0, 0, Offset::MAX));
    }
}
