//! What one read of a list covers: a table, what is known of its partition, and bounds on its clustering.
//!
//! Comes in: column values, from arguments and parents. Goes out: a [`Range`] of encoded bytes, which `walk` reads.
//! Nothing is read here.

use std::sync::Arc;

use crate::plan::{Part, Plan, TablePlan, key};
use crate::schema::{ArgOp, ColumnId, Order};
use crate::store::Bound;
use crate::value::Value;
use crate::value::encode::RowKey;

use super::nearest::Near;

/// What a read covers: slices of partitions, whose rows are merged in the table's order.
#[derive(Clone, Debug)]
pub(super) struct Range {
    pub table: Arc<TablePlan>,
    /// At least one. Two never have a row in common.
    pub slices: Vec<Slice>,
    pub bucket_from: Option<Vec<u8>>,
    pub bucket_to: Option<Vec<u8>>,
    pub lookback_ms: Option<i64>,
    /// Entries of an index that are read in place of the table, and sorted.
    pub ranged: Option<RangedSlice>,
    /// What must hold of the base row besides.
    pub filters: Vec<Held>,
    /// What rows are put in order by, in place of the table's.
    pub near: Option<Near>,
}

/// The part of each partition of an index's entries that is read.
#[derive(Clone, Debug)]
pub(super) struct RangedSlice {
    pub entries: Arc<TablePlan>,
    pub from: Edge,
    pub to: Edge,
}

/// A comparison of a column with a value.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub column: ColumnId,
    pub op: ArgOp,
    pub value: Value,
}

/// Rows of one partition, or, where it has a bucket that is walked, of the same in each bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slice {
    /// Stored key values; `None` for the bucket.
    partition: Vec<Option<Value>>,
    /// Stored values of the first clustering columns.
    pub equal: Vec<Value>,
    pub from: Edge,
    pub to: Edge,
}

/// A bound that owns its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Edge {
    Unbounded,
    Included(Vec<u8>),
    Excluded(Vec<u8>),
}

impl Range {
    /// A range, from column values; a list of values stands for each of them. `None` if no row can match: a value is
    /// null, or has no bucket, or a list is empty.
    pub fn new(
        plan: &Plan,
        table: &Arc<TablePlan>,
        partition: Vec<Part<Value>>,
        equal: &[Value],
        bounds: &[(ArgOp, Value)],
    ) -> Option<Range> {
        let partitions = combined(partition.into_iter().map(choices));
        let equals = combined(equal.iter().map(|value| listed(value).into_iter().map(Some).collect()));
        let mut range = Range {
            table: table.clone(),
            slices: Vec::new(),
            bucket_from: None,
            bucket_to: None,
            lookback_ms: None,
            ranged: None,
            filters: Vec::new(),
            near: None,
        };
        for partition in &partitions {
            for equal in &equals {
                let slice = range.slice(partition, equal);
                range.slices.extend(slice.filter(|slice| !range.slices.contains(slice)));
            }
        }
        let equal = range.slices.first()?.equal.clone();
        if let Some(value) = equal.first() {
            range.bound_buckets(plan, ArgOp::Gte, value);
            range.bound_buckets(plan, ArgOp::Lte, value);
        }
        for (op, value) in bounds {
            for at in 0..range.slices.len() {
                range.bound(at, *op, value)?;
            }
            if equal.is_empty() {
                range.bound_buckets(plan, *op, value);
            }
        }
        Some(range)
    }

    /// How many slices a read would have, for each of whose shards there is one more.
    pub fn combinations(partition: &[Part<Value>], equal: &[Value]) -> usize {
        let given = partition.iter().filter_map(|part| match part {
            Part::From(value) => Some(value),
            Part::EachBucket | Part::EachShard(_) => None,
        });
        given.chain(equal).map(|value| listed(value).len()).fold(1, usize::saturating_mul)
    }

    fn slice(&self, partition: &[Option<Value>], equal: &[Option<Value>]) -> Option<Slice> {
        let stored = |(column, value): (&crate::plan::KeyColumn, &Option<Value>)| match value {
            Some(Value::Null) => None,
            // A shard is a stored value already.
            Some(Value::Record(shard)) => Some(shard.first().cloned()),
            Some(value) => key::apply(column, value).map(Some),
            None => Some(None),
        };
        let partition = self.table.partition.iter().zip(partition).map(stored).collect::<Option<_>>()?;
        let equal =
            self.table.clustering.iter().zip(equal).map(stored).collect::<Option<Option<Vec<_>>>>()??;
        let prefix = key::clustering_prefix(&self.table, &equal)?;
        let whole = if prefix.is_empty() { Edge::Unbounded } else { Edge::Included(prefix) };
        Some(Slice { partition, equal, from: whole.clone(), to: whole })
    }

    /// The same range, walking no buckets older than that.
    pub fn looking_back(mut self, lookback_ms: Option<i64>) -> Range {
        self.lookback_ms = lookback_ms;
        self
    }

    /// The same range, of the entries of an index between these bounds.
    pub fn by_entries(mut self, entries: &Arc<TablePlan>, bounds: &[(ArgOp, Value)]) -> Option<Range> {
        let column = entries.clustering.first()?;
        let (mut from, mut to) = (Edge::Unbounded, Edge::Unbounded);
        for (op, value) in bounds {
            let bytes = key::clustering_prefix(entries, &[key::apply(column, value)?])?;
            match op {
                ArgOp::Gt => from = tighter_from(&from, Edge::Excluded(bytes)),
                ArgOp::Gte => from = tighter_from(&from, Edge::Included(bytes)),
                ArgOp::Lt => to = tighter_to(&to, Edge::Excluded(bytes)),
                _ => to = tighter_to(&to, Edge::Included(bytes)),
            }
        }
        self.ranged = Some(RangedSlice { entries: Arc::clone(entries), from, to });
        Some(self)
    }

    /// The same range, of the rows for which all this holds. `None` if no row can match.
    pub fn filtered(mut self, filters: Vec<Held>) -> Option<Range> {
        if filters.iter().any(|filter| filter.value.is_null()) {
            return None;
        }
        self.filters = filters;
        Some(self)
    }

    fn bound(&mut self, at: usize, op: ArgOp, value: &Value) -> Option<()> {
        let Slice { equal, from, to, .. } = &mut self.slices[at];
        let column = self.table.clustering.get(equal.len())?;
        let ascending = column.order == Order::Asc;
        let bytes = match op {
            ArgOp::Prefix => key::clustering_text_prefix(&self.table, equal, value.as_str()?)?,
            _ => {
                let mut values = equal.clone();
                values.push(key::apply(column, value)?);
                key::clustering_prefix(&self.table, &values)?
            }
        };
        let (lower, edge) = match op {
            ArgOp::Gt => (ascending, Edge::Excluded(bytes)),
            ArgOp::Gte => (ascending, Edge::Included(bytes)),
            ArgOp::Lt => (!ascending, Edge::Excluded(bytes)),
            ArgOp::Lte => (!ascending, Edge::Included(bytes)),
            ArgOp::Eq | ArgOp::In | ArgOp::Contains | ArgOp::Prefix | ArgOp::Ann => {
                *from = tighter_from(from, Edge::Included(bytes.clone()));
                *to = tighter_to(to, Edge::Included(bytes));
                return Some(());
            }
        };
        if lower {
            *from = tighter_from(from, edge);
        } else {
            *to = tighter_to(to, edge);
        }
        Some(())
    }

    /// A bound on the column that the buckets are made of leaves out whole buckets.
    fn bound_buckets(&mut self, plan: &Plan, op: ArgOp, value: &Value) {
        let Some((names, column)) = self.buckets(plan) else { return };
        let same = self.table.clustering.first().is_some_and(|first| first.part.column == column.part.column);
        let bucket = same.then(|| key::apply(column, value)).flatten();
        let Some(bytes) = bucket.and_then(|bucket| key::clustering_prefix(names, &[bucket])) else { return };
        let ascending = names.clustering.first().is_none_or(|column| column.order == Order::Asc);
        let lower = matches!(op, ArgOp::Gt | ArgOp::Gte) == ascending;
        if lower {
            self.bucket_from = Some(bytes);
        } else {
            self.bucket_to = Some(bytes);
        }
    }

    /// The table of bucket names and the bucket's key column, if this range goes through buckets.
    pub fn buckets<'p>(&self, plan: &'p Plan) -> Option<(&'p Arc<TablePlan>, &'p crate::plan::KeyColumn)> {
        let at = self.slices.first()?.partition.iter().position(Option::is_none)?;
        let names = plan.table(self.table.buckets?);
        Some((names, &plan.table(self.table.id).partition[at]))
    }

    /// The encoded partition of a slice, in a bucket.
    pub fn partition_in(&self, slice: &Slice, bucket: Option<&Value>) -> Option<Vec<u8>> {
        let values = slice.partition.iter().map(|value| value.as_ref().or(bucket).cloned());
        key::partition_bytes(&self.table, &values.collect::<Option<Vec<Value>>>()?)
    }

    /// The partitions of the names of the buckets that are walked.
    pub fn names_partitions(&self, names: &TablePlan) -> Vec<Vec<u8>> {
        // Entries of a collection's elements share the names of the table, which know nothing of the element.
        let values = |slice: &Slice| {
            slice.partition.iter().flatten().take(names.partition.len()).cloned().collect::<Vec<Value>>()
        };
        let mut partitions: Vec<Vec<u8>> =
            self.slices.iter().filter_map(|slice| key::partition_bytes(names, &values(slice))).collect();
        partitions.sort_unstable();
        partitions.dedup();
        partitions
    }

    /// The key of the only row of this range, where its whole key is known.
    pub fn point(&self) -> Option<RowKey> {
        let [slice] = &self.slices[..] else { return None };
        if slice.equal.len() != self.table.clustering.len() {
            return None;
        }
        let clustering = key::clustering_prefix(&self.table, &slice.equal)?;
        Some(RowKey::new(self.partition_in(slice, None)?, &clustering))
    }
}

/// What can stand in a part of the partition: each value of a list, or each shard; `None` for the bucket.
fn choices(part: Part<Value>) -> Vec<Option<Value>> {
    match part {
        Part::From(value) => listed(&value).into_iter().map(Some).collect(),
        Part::EachBucket => vec![None],
        Part::EachShard(count) => {
            (0..count).map(|shard| Some(Value::Record(vec![Value::Int(shard.into())]))).collect()
        }
    }
}

/// The values of a list, or the one value.
fn listed(value: &Value) -> Vec<Value> {
    match value {
        Value::List(values) => values.clone(),
        one => vec![one.clone()],
    }
}

/// Every combination of one choice for each place.
fn combined(places: impl Iterator<Item = Vec<Option<Value>>>) -> Vec<Vec<Option<Value>>> {
    places.fold(vec![Vec::new()], |begun, choices| {
        let longer = |begin: &Vec<Option<Value>>| {
            choices
                .iter()
                .map(|choice| [begin.as_slice(), std::slice::from_ref(choice)].concat())
                .collect::<Vec<_>>()
        };
        begun.iter().flat_map(longer).collect()
    })
}

impl Held {
    /// Whether it holds of a row.
    pub fn holds(&self, cells: &[Value]) -> bool {
        let Some(cell) = cells.get(self.column.0 as usize).filter(|cell| !cell.is_null()) else {
            return false;
        };
        match (self.op, &self.value) {
            (ArgOp::In, Value::List(values)) => values.contains(cell),
            (ArgOp::Contains, value) => key::elements(cell).contains(&value),
            (ArgOp::Lt, value) => cell < value,
            (ArgOp::Lte, value) => cell <= value,
            (ArgOp::Gt, value) => cell > value,
            (ArgOp::Gte, value) => cell >= value,
            (ArgOp::Eq | ArgOp::In, value) => cell == value,
            // It is an order, not a comparison.
            (ArgOp::Ann, _) => true,
            (ArgOp::Prefix, value) => {
                cell.as_str().zip(value.as_str()).is_some_and(|(text, begin)| text.starts_with(begin))
            }
        }
    }
}

impl Edge {
    /// Whether bytes are at this lower bound or above; what begins with it is at it.
    pub fn lets_in_above(&self, bytes: &[u8]) -> bool {
        match self {
            Edge::Unbounded => true,
            Edge::Included(bound) => bytes >= bound.as_slice(),
            Edge::Excluded(bound) => bytes >= bound.as_slice() && !bytes.starts_with(bound),
        }
    }

    /// Whether bytes are at this upper bound or below; what begins with it is at it.
    pub fn lets_in_below(&self, bytes: &[u8]) -> bool {
        match self {
            Edge::Unbounded => true,
            Edge::Included(bound) => bytes < bound.as_slice() || bytes.starts_with(bound),
            Edge::Excluded(bound) => bytes < bound.as_slice(),
        }
    }

    pub fn bound(&self) -> Bound<'_> {
        match self {
            Edge::Unbounded => Bound::Unbounded,
            Edge::Included(bytes) => Bound::Included(bytes),
            Edge::Excluded(bytes) => Bound::Excluded(bytes),
        }
    }
}

/// The later of two starts. Bytes bound all rows that begin with them.
pub(super) fn tighter_from(a: &Edge, b: Edge) -> Edge {
    match (a, &b) {
        (Edge::Unbounded, _) => b,
        (_, Edge::Unbounded) => a.clone(),
        (Edge::Included(x) | Edge::Excluded(x), Edge::Included(y) | Edge::Excluded(y)) => {
            // An excluded prefix leaves out more than anything that begins with it.
            let a_is_later = match (a, &b) {
                (Edge::Excluded(_), _) if y.starts_with(x) => true,
                (_, Edge::Excluded(_)) if x.starts_with(y) => false,
                _ => x > y,
            };
            if a_is_later { a.clone() } else { b }
        }
    }
}

/// The earlier of two ends.
pub(super) fn tighter_to(a: &Edge, b: Edge) -> Edge {
    match (a, &b) {
        (Edge::Unbounded, _) => b,
        (_, Edge::Unbounded) => a.clone(),
        (Edge::Included(x) | Edge::Excluded(x), Edge::Included(y) | Edge::Excluded(y)) => {
            let a_is_earlier = match (a, &b) {
                (Edge::Excluded(_), _) if y.starts_with(x) => true,
                (_, Edge::Excluded(_)) if x.starts_with(y) => false,
                // An included prefix lets in all rows that begin with it: the longer one is tighter.
                (Edge::Included(_), Edge::Included(_)) if x.starts_with(y) => true,
                (Edge::Included(_), Edge::Included(_)) if y.starts_with(x) => false,
                (Edge::Included(_), Edge::Excluded(_)) if y.starts_with(x) => false,
                (Edge::Excluded(_), Edge::Included(_)) if x.starts_with(y) => true,
                _ => x < y,
            };
            if a_is_earlier { a.clone() } else { b }
        }
    }
}
