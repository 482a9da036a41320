//! What `/metrics` shows of an engine.
//!
//! Comes in: its status. Goes out: [`Measured`], of the partitions that are worked here alone where others are another
//! process's: what is known of those is as old as the last time that they were read.

use std::sync::Arc;

use crate::engine::{Embedded, PartitionStatus, Projecting, ProjectionStatus, Reading, Status};
use crate::observe::{Measured, MeasuredPartition, MeasuredProjection, STATES};
use crate::project::budget::Budget;

impl Embedded {
    /// Its state, for `/metrics`.
    pub async fn measured(&self) -> Measured {
        of(&self.status().await, Some(self.budget()))
    }
}

impl Projecting {
    /// Its state, for `/metrics`, of the partitions that are this process's.
    pub async fn measured(&self) -> Measured {
        of(&self.status_of_ours().await, Some(self.budget()))
    }
}

impl Reading {
    /// Its state, for `/metrics`: how far others have folded what it answers.
    pub fn measured(&self) -> Measured {
        of(&self.status(), None)
    }
}

fn of(status: &Status, budget: Option<&Arc<Budget>>) -> Measured {
    Measured {
        generation: status.generation,
        projections: status.projections.iter().map(projection).collect(),
        budget: budget.map(|budget| (budget.bytes_max(), budget.bytes_held())),
    }
}

fn projection(status: &ProjectionStatus) -> MeasuredProjection {
    let is_it = |state: &&&str| status.state.starts_with(**state);
    MeasuredProjection {
        name: status.name.clone(),
        state: STATES.iter().find(is_it).copied().unwrap_or("running"),
        lag_ms: status.lag_ms,
        parked_keys: status.parked_keys,
        partitions: status.partitions.iter().map(partition).collect(),
    }
}

fn partition(status: &PartitionStatus) -> MeasuredPartition {
    let PartitionStatus { topic, partition, position, end, through, .. } = status;
    MeasuredPartition {
        topic: topic.clone(),
        partition: *partition,
        position: *position,
        end: *end,
        is_folded: through.is_none(),
    }
}
