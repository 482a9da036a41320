//! Whether a table can answer equalities and a range, and how.
//!
//! Comes in: a table, the columns that are given by `=` or `IN`, and perhaps one column that is bounded. Goes out: what fills
//! each part of the key, or the first reason why the table cannot answer without filtering. Knows nothing of fields
//! and arguments; `bind` does.

use super::{KeyColumn, Part, TablePlan};
use crate::schema::{ColumnId, KeyFunction};

/// Something given by `=`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Given {
    Column(ColumnId),
    /// A time bucket or a prefix by the name of its key part: a time inside the bucket, or a text that begins so, is given.
    Part(String),
    /// One of several values of the column.
    AnyOf(ColumnId),
    /// An element of the collection: only an index finds rows by it.
    Holds(ColumnId),
}

/// How a table answers. Numbers are places in the list of what is given.
#[derive(Clone, Debug)]
pub(super) struct Fit {
    pub partition: Vec<Part<usize>>,
    /// Equalities on the first clustering columns.
    pub equal: Vec<usize>,
}

impl Fit {
    /// Whether every partition column is given.
    pub fn is_determined(&self) -> bool {
        self.partition.iter().all(|part| matches!(part, Part::From(_)))
    }

    /// Whether all buckets are walked.
    pub fn walks_buckets(&self) -> bool {
        self.partition.iter().any(|part| matches!(part, Part::EachBucket))
    }
}

/// Why a table cannot answer without filtering.
#[derive(Clone, Debug)]
pub(super) enum Misfit {
    /// A partition column is not given.
    Partition(String),
    /// What is given does not fit the clustering: a sentence.
    Clustering(String),
}

/// How `table` answers what is given; `range` is the column that is bounded.
pub(super) fn fit(
    table: &TablePlan,
    given: &[Given],
    range: Option<ColumnId>,
    name: &dyn Fn(ColumnId) -> String,
) -> Result<Fit, Misfit> {
    let at = |column: ColumnId| {
        let is_given = |given: &Given| matches!(given, Given::Column(of) | Given::AnyOf(of) if *of == column);
        given.iter().position(is_given)
    };
    let partition = partition(table, given, &at)?;
    let equal: Vec<usize> = table.clustering.iter().map_while(|key| at(key.part.column)).collect();
    let fit = Fit { partition, equal };
    for (index, given) in given.iter().enumerate() {
        if !is_used(table, &fit, given, index) {
            return Err(Misfit::Clustering(unused(table, given, name)));
        }
    }
    let next = table.clustering.get(fit.equal.len());
    if let Some(range) = range
        && next.is_none_or(|next| next.part.column != range)
    {
        let range = name(range);
        return Err(Misfit::Clustering(match next {
            Some(next) => {
                format!("`{range}` is bounded, but the next clustering column is `{}`", next.part.name)
            }
            None => format!("`{range}` is bounded, but every clustering column is given already"),
        }));
    }
    check_walk(table, given, &fit, next)?;
    Ok(fit)
}

fn partition(
    table: &TablePlan,
    given: &[Given],
    at: &dyn Fn(ColumnId) -> Option<usize>,
) -> Result<Vec<Part<usize>>, Misfit> {
    let fill = |key: &KeyColumn| {
        let by_name =
            given.iter().position(|given| matches!(given, Given::Part(name) if *name == key.part.name));
        match (by_name.or_else(|| at(key.part.column)), key.part.via) {
            (Some(from), _) => Ok(Part::From(from)),
            (None, KeyFunction::Bucket(_)) => Ok(Part::EachBucket),
            (None, KeyFunction::Hash(shards)) => Ok(Part::EachShard(shards)),
            (None, KeyFunction::Itself | KeyFunction::Prefix(_)) => {
                Err(Misfit::Partition(key.part.name.clone()))
            }
        }
    };
    table.partition.iter().map(fill).collect()
}

/// Whether an equality holds for every row that the fit reads. A bucket or hash made of a column narrows the read, but
/// other values share it, so the column must be in the key itself as well.
fn is_used(table: &TablePlan, fit: &Fit, given: &Given, index: usize) -> bool {
    match given {
        Given::Part(name) => table.partition.iter().any(|key| key.part.name == *name),
        Given::Holds(_) => false,
        Given::Column(column) | Given::AnyOf(column) => {
            fit.equal.contains(&index)
                || table.partition.iter().any(|key| key.is_plain() && key.part.column == *column)
        }
    }
}

fn unused(table: &TablePlan, given: &Given, name: &dyn Fn(ColumnId) -> String) -> String {
    let column = match given {
        Given::Part(name) => return format!("`{name}` is not in the partition of `{}`", table.name),
        Given::Column(column) | Given::AnyOf(column) | Given::Holds(column) => *column,
    };
    let given = name(column);
    let place = table.clustering.iter().position(|key| key.part.column == column);
    match place.and_then(|place| table.clustering.get(place.checked_sub(1)?)) {
        Some(before) => format!("`{given}` is given, but `{}` before it is not", before.part.name),
        None => format!("`{given}` is given, but is not in the key of `{}`", table.name),
    }
}

/// Buckets are walked in the order of the table's rows, so the bucket's column must be what the rows are sorted by.
fn check_walk(table: &TablePlan, given: &[Given], fit: &Fit, next: Option<&KeyColumn>) -> Result<(), Misfit> {
    if !fit.walks_buckets() {
        return Ok(());
    }
    let bucket = table.partition.iter().find(|key| matches!(key.part.via, KeyFunction::Bucket(_)));
    let bucket = bucket.expect("a walk has a bucket");
    if next.is_none_or(|next| next.part.column != bucket.part.column) {
        return Err(Misfit::Clustering(format!(
            "the buckets `{}` would have to be walked, but the rows are not sorted by what they are made of",
            bucket.part.name
        )));
    }
    let is_one_of_many = |index: &usize| matches!(given[*index], Given::AnyOf(_));
    if fit.equal.iter().any(is_one_of_many) {
        return Err(Misfit::Clustering(format!(
            "the buckets `{}` would have to be walked for each value of a list, whose rows come one after another",
            bucket.part.name
        )));
    }
    Ok(())
}
