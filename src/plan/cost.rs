//! What a read costs: how many partitions an answer reads, as `explain` shows it and gateways are told.
//!
//! Comes in: a bound read. Goes out: a number, for a walk of buckets the least, for lists of values the most.

use super::{Part, Plan, ReadPlan, ReadSource, Shape, VALUES_MAX};
use crate::schema::{FieldId, ReadModel, TypeId};

/// Partitions that an answer reads: the shards of one bucket (1 without shards) for each value of a list, twice where rows are
/// counted, 1 for the table of buckets and 1 for the completion.
pub(super) fn cost(model: &ReadModel, read: &ReadPlan) -> u64 {
    let values = if listed_keys(model, read).is_empty() { 1 } else { VALUES_MAX as u64 };
    let walks = read.partition.contains(&Part::EachBucket);
    let counted = matches!(read.shape, Shape::Connection { counted: true, .. });
    let partitions = shards(read).saturating_mul(values).saturating_mul(1 + u64::from(counted));
    partitions.saturating_add(u64::from(walks) + u64::from(read.completed))
}

/// The shards that are merged; 1 without shards.
pub(super) fn shards(read: &ReadPlan) -> u64 {
    let shards =
        read.partition.iter().map(|part| if let Part::EachShard(n) = part { u64::from(*n) } else { 1 });
    shards.fold(1, u64::saturating_mul)
}

/// The arguments of `IN` that each of its values is a partition for, or a place of one, by their index in `Field::args`.
pub(super) fn listed_keys(model: &ReadModel, read: &ReadPlan) -> Vec<usize> {
    let is_key = |at: &usize| {
        let from = ReadSource::Argument(*at);
        read.equal.contains(&from) || read.partition.contains(&Part::From(from))
    };
    read.any_of(model).into_iter().filter(is_key).collect()
}

impl Plan {
    /// What gateways are told that a field costs. Of a plain list nothing: some of them count a field's weight for each
    /// item of its list, others once.
    pub fn weight(&self, model: &ReadModel, parent: TypeId, field: FieldId) -> Option<u32> {
        let read = self.read(parent, field).filter(|read| !matches!(read.shape, Shape::List { .. }))?;
        let most = i32::MAX.unsigned_abs();
        Some(u32::try_from(cost(model, read)).map_or(most, |cost| cost.min(most)))
    }
}
