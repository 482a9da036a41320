//! Which rows surely are not stored yet, while tables are filled from nothing.
//!
//! A projection that begins with empty tables, in a store that applies a batch whole, has loaded every row that is stored:
//! a key that it never met is not there, and need not be looked for. Most events of a rebuild make rows, so this saves
//! most reads of it. Forgotten when the filter is full, and whenever it is not sure what was committed.

use std::hash::{Hash, Hasher};

use rustc_hash::FxHasher;

use super::place::Place;
use crate::handler::Projection;
use crate::store::{Profile, Tables};
use crate::value::encode::RowKey;

/// The keys that were met: a Bloom filter whose bits of one key lie in one word, so that a question costs one look at
/// memory (Putze, Sanders, Singler: Cache-, Hash- and Space-Efficient Bloom Filters, 2007).
pub(super) struct Seen {
    words: Vec<u64>,
    /// Keys that still fit.
    left: usize,
}

/// Words for each event that is read: a row has several events.
const EVENTS_PER_WORD: u64 = 8;
/// Most words: 4 MiB.
const WORDS_MAX: u64 = 1 << 19;
/// Keys for each word: above it one of fifteen questions is answered in vain.
const KEYS_PER_WORD: usize = 6;

impl Seen {
    /// Begins, where nothing can be stored: the projection has read nothing of any partition. `events` is how many it will
    /// read. `None` where rows may be stored already.
    pub fn begin(
        projection: &Projection,
        places: &[Place],
        tables: &dyn Tables,
        events: u64,
    ) -> Option<Seen> {
        let progress = tables.progress();
        let is_fresh = |place: &Place| progress.of(&projection.name, &place.at).is_none();
        if tables.profile() != Profile::Atomic || !places.iter().all(is_fresh) {
            return None;
        }
        let words = (events / EVENTS_PER_WORD).clamp(1, WORDS_MAX).next_power_of_two() as usize;
        Some(Seen { words: vec![0; words], left: words * KEYS_PER_WORD })
    }

    /// Whether no more keys fit: from now on most would be taken for known.
    pub fn is_full(&self) -> bool {
        self.left == 0
    }

    /// Notes a key. Answers whether it may have been met before; if not, no row is stored under it.
    pub fn meet(&mut self, key: &RowKey) -> bool {
        let mut hasher = FxHasher::default();
        key.bytes().hash(&mut hasher);
        let hash = hasher.finish().wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let word = (hash >> 32) as usize & (self.words.len() - 1);
        let bits = (0..4).fold(0, |bits, at| bits | 1_u64 << (hash >> (at * 6) & 63));
        let word = &mut self.words[word];
        let met = *word & bits == bits;
        *word |= bits;
        self.left = self.left.saturating_sub(usize::from(!met));
        met
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u32) -> RowKey {
        RowKey::new(number.to_be_bytes().to_vec(), &[])
    }

    #[test]
    fn what_was_met_is_known_and_few_others_are() {
        let mut seen = Seen { words: vec![0; 1 << 10], left: KEYS_PER_WORD << 10 };
        let strangers = (0..4_000).filter(|number| seen.meet(&key(*number))).count();
        assert!((0..4_000).all(|number| seen.meet(&key(number))));
        assert!(strangers < 200, "{strangers}");
        assert!(!seen.is_full());
    }

    #[test]
    fn it_is_full_when_its_words_are() {
        let mut seen = Seen { words: vec![0; 2], left: 2 * KEYS_PER_WORD };
        let strangers = (0..1_000).filter(|number| !seen.meet(&key(*number))).count();
        assert!(seen.is_full() && strangers < 100, "{strangers}");
    }
}
