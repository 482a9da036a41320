//! Rows in the order of how near a vector of theirs is to a given one.
//!
//! Comes in: a range that is one partition, and how many rows are wanted. Goes out: the nearest of them, exact: every row
//! of the partition is compared, in steps, and only the best so far are kept. A partition with too many rows is refused.

use crate::plan::{ENTRIES_MAX, Nearest};
use crate::schema::{ColumnId, Similarity};
use crate::store::{Columns, Scan, StoreError, StoredRow};
use crate::value::Value;

use super::range::{Edge, tighter_from};
use super::walk::{Found, Walk};

/// Rows that are compared in one read.
const CHUNK: usize = 256;

/// What rows are to be near to.
#[derive(Clone, Debug)]
pub(super) struct Near {
    column: ColumnId,
    similarity: Similarity,
    numbers: Vec<f64>,
}

impl Near {
    /// Of an argument that was checked; `None` if it is no vector.
    pub fn new(nearest: &Nearest, given: &Value) -> Option<Near> {
        let numbers = numbers(given)?.collect::<Option<Vec<f64>>>()?;
        Some(Near { column: nearest.column, similarity: nearest.similarity, numbers })
    }

    /// Appends what tells it from another.
    pub fn push_place(&self, place: &mut Vec<u8>) {
        place.extend(self.numbers.iter().flat_map(|number| number.to_bits().to_be_bytes()));
    }

    /// How near a row is, the greater the nearer; `None` if it has no vector.
    ///
    /// Numbers of 32 bits are multiplied and summed in 64, where neither can overflow.
    fn score(&self, row: &StoredRow) -> Option<f64> {
        let theirs = numbers(row.cells.get(self.column.0 as usize)?)?;
        let (mut product, mut length, mut distance) = (0.0, 0.0, 0.0);
        for (ours, theirs) in self.numbers.iter().zip(theirs) {
            let theirs = theirs?;
            product += ours * theirs;
            length += theirs * theirs;
            distance += (ours - theirs) * (ours - theirs);
        }
        match self.similarity {
            // The cosine but for our own length, squared with its sign: vectors of one direction are told equal.
            Similarity::Cosine => Some(product * product.abs() / length).filter(|score| score.is_finite()),
            Similarity::DotProduct => Some(product),
            Similarity::Euclidean => Some(-distance),
        }
    }
}

impl Walk<'_> {
    /// The rows nearest to the range's vector, those that are as near in the order of the table.
    pub async fn nearest(&self, count: usize) -> Result<Vec<Found>, StoreError> {
        let range = self.range;
        let (Some(near), [slice]) = (&range.near, &range.slices[..]) else { return Ok(Vec::new()) };
        let Some(partition) = range.partition_in(slice, None).filter(|_| count > 0) else {
            return Ok(Vec::new());
        };
        let is_wanted = self.columns.contains(&near.column);
        let mut columns = self.columns.to_vec();
        columns.push(near.column);
        columns.sort_unstable();
        columns.dedup();
        let mut best: Vec<(f64, StoredRow)> = Vec::new();
        let (mut from, mut looked_at) = (slice.from.clone(), 0);
        loop {
            let scan = Scan {
                table: range.table.id,
                partition: &partition,
                from: from.bound(),
                to: slice.to.bound(),
                reverse: false,
                limit: CHUNK,
                columns: Columns::Only(&columns),
                at_ms: Some(self.at_ms),
            };
            let rows = self.tables.scan(scan).await?;
            let is_last = rows.len() < CHUNK;
            looked_at += rows.len();
            if looked_at > ENTRIES_MAX {
                return Err(too_many());
            }
            if let Some(last) = rows.last() {
                from = tighter_from(&from, Edge::Excluded(last.key.clustering().into()));
            }
            for mut row in rows {
                let Some(score) = near.score(&row) else { continue };
                if !is_wanted {
                    row.cells[near.column.0 as usize] = Value::Null;
                }
                best.push((score, row));
            }
            // Stable: what came first in the table stays before what is as near.
            best.sort_by(|(a, _), (b, _)| b.total_cmp(a));
            best.truncate(count);
            if is_last {
                return Ok(best.into_iter().map(|(_, row)| Found::alone(row)).collect());
            }
        }
    }
}

/// Checks how many numbers an argument has.
///
/// # Errors
/// One sentence.
pub(super) fn check_count(nearest: &Nearest, count: usize) -> Result<(), String> {
    if count == nearest.dimensions as usize {
        return Ok(());
    }
    Err(format!("{count} numbers are given, but vectors have {} here", nearest.dimensions))
}

/// Checks the numbers of an argument: angles are compared only of what has a direction.
///
/// # Errors
/// One sentence.
pub(super) fn check_numbers(nearest: &Nearest, given: &[Value]) -> Result<(), String> {
    if given.iter().any(Value::is_null) {
        return Err("null is not a number".to_owned());
    }
    let is_zero = |number: &Value| matches!(number, Value::Float(number) if *number == 0.0);
    if nearest.similarity == Similarity::Cosine && given.iter().all(is_zero) {
        return Err("all numbers are 0, so it has no direction to compare".to_owned());
    }
    Ok(())
}

fn numbers(value: &Value) -> Option<impl Iterator<Item = Option<f64>>> {
    let Value::List(items) = value else { return None };
    Some(items.iter().map(|item| match item {
        // 0 and -0 are one number.
        Value::Float(number) => Some(*number + 0.0),
        _ => None,
    }))
}

fn too_many() -> StoreError {
    StoreError::Bounded(format!(
        "This partition has more than {ENTRIES_MAX} rows, more than are compared with a vector. Read a table with smaller \
         partitions."
    ))
}
