//! Encoded bounds of a scan as comparisons of clustering columns.
//!
//! Comes in: a scan, whose bounds are beginnings of encoded clusterings in the table's own order. Goes out: slices of the
//! partition, each of them equalities on the first columns and at most a bound on either side of the next one; one after the
//! other they are the scan. CQL compares several columns at once by their values alone, which is another order than that of
//! a table whose columns go both ways, so a slice never bounds more than one.

use std::cmp::Ordering;

use crate::plan::{KeyColumn, TablePlan};
use crate::schema::{ColumnType, Order, Scalar};
use crate::store::{Bound, Scan};
use crate::value::Value;
use crate::value::encode::{Malformed, take_part};

/// Rows of a partition that lie together.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Slice {
    /// Values of the first clustering columns.
    pub equal: Vec<Value>,
    /// From below and from above, on the column after those.
    pub from: Option<Edge>,
    pub to: Option<Edge>,
}

/// Where a slice begins or ends, by the value of one column.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Edge {
    pub value: Value,
    pub included: bool,
}

/// A bound, decoded: whole values, then perhaps the beginning of a text.
#[derive(Clone, Debug, Default)]
struct Prefix {
    values: Vec<Value>,
    begins: Option<String>,
    included: bool,
}

impl Prefix {
    /// How many columns it says something of.
    fn depth(&self) -> usize {
        self.values.len() + usize::from(self.begins.is_some())
    }
}

/// The slices of a scan in its order; empty if no row can be in it.
///
/// # Errors
/// A bound is none of this table's clustering.
pub(super) fn slices(table: &TablePlan, scan: &Scan<'_>) -> Result<Vec<Slice>, Malformed> {
    let from = prefix(table, scan.from)?;
    let to = prefix(table, scan.to)?;
    let mut found = between(table, from.as_ref(), to.as_ref());
    if scan.reverse {
        found.reverse();
    }
    Ok(found)
}

/// In the table's order.
fn between(table: &TablePlan, from: Option<&Prefix>, to: Option<&Prefix>) -> Vec<Slice> {
    let shared = match (from, to) {
        (Some(from), Some(to)) => from.values.iter().zip(&to.values).take_while(|(a, b)| a == b).count(),
        _ => 0,
    };
    let equal = from.or(to).map(|known| &known.values[..shared]).unwrap_or_default();
    // A bound that says no more than what both share takes all of that in, or none of it.
    let ends = |prefix: &&Prefix| prefix.depth() == shared;
    if [from, to].into_iter().flatten().any(|prefix| ends(&prefix) && !prefix.included) {
        return Vec::new();
    }
    let (from, to) = (from.filter(|from| !ends(from)), to.filter(|to| !ends(to)));
    let lower = from.map(|from| asked(table, from, shared, Side::From));
    let upper = to.map(|to| asked(table, to, shared, Side::To));
    // What lies below a bound's own value is in the scan only if that value is.
    let below = |prefix: Option<&Prefix>, side, other: &Option<Asked>| -> Vec<Slice> {
        let Some(prefix) = prefix.filter(|prefix| {
            let value = prefix.values.get(shared);
            value.is_none_or(|value| other.as_ref().is_none_or(|other| other.admits(value)))
        }) else {
            return Vec::new();
        };
        let deeper = shared + 1..prefix.depth();
        deeper
            .filter_map(|at| slice(&prefix.values[..at], [Some(&asked(table, prefix, at, side)), None]))
            .collect()
    };
    let mut slices = below(from, Side::From, &upper);
    slices.reverse();
    slices.extend(slice(equal, [lower.as_ref(), upper.as_ref()]));
    slices.extend(below(to, Side::To, &lower));
    slices
}

#[derive(Clone, Copy, PartialEq)]
enum Side {
    From,
    To,
}

/// What a bound asks of the column at a place.
enum Asked {
    Edge {
        greater: bool,
        edge: Option<Edge>,
    },
    /// No value is there.
    Nothing,
}

impl Asked {
    /// Whether a value is on the side that is asked for.
    fn admits(&self, value: &Value) -> bool {
        match self {
            Asked::Nothing => false,
            Asked::Edge { edge: None, .. } => true,
            Asked::Edge { greater, edge: Some(edge) } => match value.cmp(&edge.value) {
                Ordering::Equal => edge.included,
                Ordering::Greater => *greater,
                Ordering::Less => !greater,
            },
        }
    }
}

fn asked(table: &TablePlan, prefix: &Prefix, at: usize, side: Side) -> Asked {
    let ascending = table.clustering[at].order == Order::Asc;
    // Whether the values wanted are the greater ones.
    let greater = ascending == (side == Side::From);
    let included = prefix.included && at + 1 == prefix.depth();
    let edge = match (prefix.values.get(at), &prefix.begins) {
        (Some(value), _) => Some(Edge { value: value.clone(), included }),
        // Texts from the shorter one on begin so, up to the next that does not.
        (None, Some(begins)) if included == greater => {
            Some(Edge { value: Value::text(begins.as_str()), included: greater })
        }
        (None, Some(begins)) => match after_all(begins) {
            Some(next) => Some(Edge { value: Value::text(next), included: greater }),
            None if greater => return Asked::Nothing,
            None => None,
        },
        (None, None) => None,
    };
    Asked::Edge { greater, edge }
}

/// `None` if no row can be in it.
fn slice(equal: &[Value], asked: [Option<&Asked>; 2]) -> Option<Slice> {
    let (mut from, mut to) = (None, None);
    for asked in asked.into_iter().flatten() {
        match asked {
            Asked::Nothing => return None,
            Asked::Edge { greater: true, edge } => from = edge.clone(),
            Asked::Edge { greater: false, edge } => to = edge.clone(),
        }
    }
    if let (Some(from), Some(to)) = (&from, &to)
        && (from.value > to.value || (from.value == to.value && !(from.included && to.included)))
    {
        return None;
    }
    Some(Slice { equal: equal.to_vec(), from, to })
}

/// The least text above all that begin with this one: texts are ordered by their letters' numbers.
fn after_all(begins: &str) -> Option<String> {
    let mut letters: Vec<char> = begins.chars().collect();
    while let Some(last) = letters.pop() {
        let next = match last {
            '\u{D7FF}' => Some('\u{E000}'),
            _ => char::from_u32(last as u32 + 1),
        };
        if let Some(next) = next {
            letters.push(next);
            return Some(letters.into_iter().collect());
        }
    }
    None
}

fn prefix(table: &TablePlan, bound: Bound<'_>) -> Result<Option<Prefix>, Malformed> {
    let (mut bytes, included) = match bound {
        Bound::Unbounded => return Ok(None),
        Bound::Included(bytes) => (bytes, true),
        Bound::Excluded(bytes) => (bytes, false),
    };
    let mut prefix = Prefix { included, ..Prefix::default() };
    for column in &table.clustering {
        if bytes.is_empty() {
            break;
        }
        let mut rest = bytes;
        match take_part(&mut rest, &column.ty, column.order) {
            Ok(value) => {
                prefix.values.push(value);
                bytes = rest;
            }
            Err(error) => {
                prefix.begins = Some(beginning(bytes, column).ok_or(error)?);
                bytes = &[];
            }
        }
    }
    match bytes.is_empty() {
        true => Ok(Some(prefix)),
        false => {
            Err(Malformed(format!("a bound of table {:?} has {} bytes too many", table.name, bytes.len())))
        }
    }
}

/// The beginning of a text: as the text, but for the mark of its end.
fn beginning(bytes: &[u8], column: &KeyColumn) -> Option<String> {
    let is_text = matches!(
        column.ty,
        ColumnType::Scalar(Scalar::String | Scalar::Id | Scalar::Ascii) | ColumnType::Enum(_)
    );
    let end = if column.order == Order::Desc { [0xFF; 2] } else { [0; 2] };
    let whole = [bytes, &end].concat();
    let mut rest = &whole[..];
    match take_part(&mut rest, &column.ty, column.order) {
        Ok(Value::Text(text)) if is_text && rest.is_empty() => Some(text.to_string()),
        _ => None,
    }
}

#[cfg(test)]
#[path = "bounds_tests.rs"]
mod tests;
