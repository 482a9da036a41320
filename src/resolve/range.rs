//! What one read of a list covers: a table, what is known of its partition, and bounds on its clustering.
//!
//! Comes in: column values, from arguments and parents. Goes out: a [`Range`] of encoded bytes, which `walk` reads.
//! Nothing is read here.

use std::sync::Arc;

use crate::plan::{Part, Plan, TablePlan, key};
use crate::schema::{ArgOp, Order};
use crate::store::Bound;
use crate::value::Value;

/// What a read covers.
#[derive(Clone, Debug)]
pub(super) struct Range {
    pub table: Arc<TablePlan>,
    /// Stored key values, or how to go through all.
    pub partition: Vec<Part<Value>>,
    pub from: Edge,
    pub to: Edge,
    pub bucket_from: Option<Vec<u8>>,
    pub bucket_to: Option<Vec<u8>>,
    pub lookback_ms: Option<i64>,
}

/// A bound that owns its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Edge {
    Unbounded,
    Included(Vec<u8>),
    Excluded(Vec<u8>),
}

impl Range {
    /// A range, from column values. `None` if no row can match: a value is null, or has no bucket.
    pub fn new(
        plan: &Plan,
        table: &Arc<TablePlan>,
        partition: Vec<Part<Value>>,
        equal: &[Value],
        bounds: &[(ArgOp, Value)],
    ) -> Option<Range> {
        let partition: Vec<Part<Value>> = table
            .partition
            .iter()
            .zip(partition)
            .map(|(column, part)| match part {
                Part::From(value) => key::apply(column, &value).map(Part::From),
                other => Some(other),
            })
            .collect::<Option<_>>()?;
        let equal: Vec<Value> = table
            .clustering
            .iter()
            .zip(equal)
            .map(|(column, value)| key::apply(column, value))
            .collect::<Option<_>>()?;
        let prefix = key::clustering_prefix(table, &equal)?;
        let whole = if prefix.is_empty() { Edge::Unbounded } else { Edge::Included(prefix) };
        let mut range = Range {
            table: table.clone(),
            partition,
            from: whole.clone(),
            to: whole,
            bucket_from: None,
            bucket_to: None,
            lookback_ms: None,
        };
        if let Some(value) = equal.first() {
            range.bound_buckets(plan, ArgOp::Gte, value);
            range.bound_buckets(plan, ArgOp::Lte, value);
        }
        for (op, value) in bounds {
            range.bound(plan, &equal, *op, value)?;
        }
        Some(range)
    }

    /// The same range, walking no buckets older than that.
    pub fn looking_back(mut self, lookback_ms: Option<i64>) -> Range {
        self.lookback_ms = lookback_ms;
        self
    }

    fn bound(&mut self, plan: &Plan, equal: &[Value], op: ArgOp, value: &Value) -> Option<()> {
        let column = self.table.clustering.get(equal.len())?;
        let mut values = equal.to_vec();
        values.push(key::apply(column, value)?);
        let bytes = key::clustering_prefix(&self.table, &values)?;
        let ascending = column.order == Order::Asc;
        let (lower, edge) = match op {
            ArgOp::Gt => (ascending, Edge::Excluded(bytes)),
            ArgOp::Gte => (ascending, Edge::Included(bytes)),
            ArgOp::Lt => (!ascending, Edge::Excluded(bytes)),
            ArgOp::Lte => (!ascending, Edge::Included(bytes)),
            ArgOp::Eq => {
                self.from = tighter_from(&self.from, Edge::Included(bytes.clone()));
                self.to = tighter_to(&self.to, Edge::Included(bytes));
                return Some(());
            }
        };
        if lower {
            self.from = tighter_from(&self.from, edge);
        } else {
            self.to = tighter_to(&self.to, edge);
        }
        if equal.is_empty() {
            self.bound_buckets(plan, op, value);
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
        let at = self.partition.iter().position(|part| matches!(part, Part::EachBucket))?;
        let names = plan.table(self.table.buckets?);
        Some((names, &plan.table(self.table.id).partition[at]))
    }

    pub fn shards(&self) -> u32 {
        self.partition
            .iter()
            .find_map(|part| match part {
                Part::EachShard(count) => Some(*count),
                _ => None,
            })
            .unwrap_or(1)
    }

    /// The encoded partition of a shard, in a bucket.
    pub fn partition_in(&self, shard: u32, bucket: Option<&Value>) -> Option<Vec<u8>> {
        let values: Option<Vec<Value>> = self
            .partition
            .iter()
            .map(|part| match part {
                Part::From(value) => Some(value.clone()),
                Part::EachBucket => bucket.cloned(),
                Part::EachShard(_) => Some(Value::Int(i64::from(shard))),
            })
            .collect();
        key::partition_bytes(&self.table, &values?)
    }

    pub fn names_partition(&self, names: &TablePlan, shard: u32) -> Option<Vec<u8>> {
        let values: Vec<Value> = self
            .partition
            .iter()
            .filter_map(|part| match part {
                Part::From(value) => Some(value.clone()),
                Part::EachBucket => None,
                Part::EachShard(_) => Some(Value::Int(i64::from(shard))),
            })
            .collect();
        key::partition_bytes(names, &values)
    }
}

impl Edge {
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
