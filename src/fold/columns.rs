//! A set of columns of a row.

use smallvec::SmallVec;

use crate::schema::ColumnId;

/// Columns of one entity, a bit for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnSet {
    /// Two at least.
    words: SmallVec<[u64; 2]>,
}

impl Default for ColumnSet {
    fn default() -> ColumnSet {
        ColumnSet { words: SmallVec::from_buf([0; 2]) }
    }
}

impl ColumnSet {
    /// The first so many columns.
    pub fn first(count: usize) -> ColumnSet {
        (0..).map(ColumnId).take(count).collect()
    }

    /// Adds a column.
    pub fn insert(&mut self, column: ColumnId) {
        let (word, bit) = (column.0 as usize / 64, column.0 % 64);
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << bit;
    }

    /// Adds the columns of another set.
    pub fn extend(&mut self, other: &ColumnSet) {
        if self.words.len() < other.words.len() {
            self.words.resize(other.words.len(), 0);
        }
        for (word, more) in self.words.iter_mut().zip(&other.words) {
            *word |= more;
        }
    }

    /// Whether both have a column in common.
    pub fn meets(&self, other: &ColumnSet) -> bool {
        self.words.iter().zip(&other.words).any(|(one, two)| one & two != 0)
    }
}

impl FromIterator<ColumnId> for ColumnSet {
    fn from_iter<I: IntoIterator<Item = ColumnId>>(columns: I) -> ColumnSet {
        let mut set = ColumnSet::default();
        columns.into_iter().for_each(|column| set.insert(column));
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(columns: &[u32]) -> ColumnSet {
        columns.iter().copied().map(ColumnId).collect()
    }

    #[test]
    fn sets_meet_where_they_share_a_column_whatever_their_widths() {
        assert!(set(&[1, 64]).meets(&set(&[64])));
        assert!(set(&[130]).meets(&set(&[0, 130])));
        assert!(!set(&[1]).meets(&set(&[65])) && !set(&[65]).meets(&set(&[1])));
        assert!(!set(&[]).meets(&set(&[0])));
        assert!(ColumnSet::first(65).meets(&set(&[64])) && !ColumnSet::first(64).meets(&set(&[64])));
    }

    #[test]
    fn a_set_extended_by_a_wider_one_has_the_columns_of_both() {
        let mut small = set(&[3]);
        small.extend(&set(&[200]));
        assert_eq!(small, set(&[3, 200]));
    }
}
