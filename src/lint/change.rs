//! What events move: L07, L08, L19.
//!
//! Comes in: a plan, and projections, which say what events change. A column counts as changing where an event assigns
//! it to a row that is there. Without a projection, or with a handler written in Rust, nothing is known and nothing
//! said.

use super::declared;
use super::entity::is_plain;
use crate::diagnostic::Diagnostic;
use crate::expr::Read;
use crate::handler::{Declared, Handling, Projection, Step, Verb};
use crate::plan::{KeyColumn, Plan, TablePlan, TableRole};
use crate::schema::{ColumnId, ColumnType, KeyFunction, ReadModel, Scalar};

/// Partitions that one event may write (L19).
const PARTITIONS_MAX: usize = 10;

/// The rules of projections.
pub(super) fn rules(model: &ReadModel, plan: &Plan, projections: &[&Projection]) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for projection in projections {
        let Handling::Declared(declared) = &projection.handling else { continue };
        let change = Change { model, plan, projection, declared };
        let entity = plan.entity(projection.entity);
        for copy in entity.copies.iter().map(|id| plan.table(*id)) {
            if copy.role == TableRole::Copy {
                found.extend(change.l07(copy));
                found.extend(change.l08(copy));
            }
        }
        found.extend(change.l19());
    }
    found
}

struct Change<'a> {
    model: &'a ReadModel,
    plan: &'a Plan,
    projection: &'a Projection,
    declared: &'a Declared,
}

impl Change<'_> {
    /// L07: rows come into a copy, leave it by its `where`, and all of it happens in one place.
    fn l07(&self, copy: &TablePlan) -> Option<Diagnostic> {
        let decl = declared(self.model, copy)?;
        if copy.partition.iter().any(|key| key.part.via != KeyFunction::Itself) {
            return None;
        }
        let (column, event) =
            self.filter_columns(copy).find_map(|column| Some((column, self.changed_by(column)?)))?;
        let name = &self.projection.shape.column(column).name;
        let (_, span) = decl.filter.as_ref()?;
        let message = format!(
            "`{}` is a queue: rows leave it when {event} changes `{name}`, and reads step over what is left of them",
            copy.name
        );
        let last = copy.clustering.last().map_or("id", |key| key.part.name.as_str());
        Some(Diagnostic::warning("L07", *span, message).label("rows leave by this").help(format!(
            "Cut its partitions, so that each holds less of what has left: by hash, which reads merge, as in \"…, \
             hash({last}, 8)\"; or by time."
        )))
    }

    /// L08: the rows of a copy are sorted by a number or time that events change.
    fn l08(&self, copy: &TablePlan) -> Option<Diagnostic> {
        let decl = declared(self.model, copy)?;
        let base_key = &self.plan.entity(copy.entity).base_key;
        let moves = |key: &&KeyColumn| {
            is_plain(&key.part) && !base_key.contains(&key.part.column) && is_measure(&key.ty)
        };
        let mut moving = copy.clustering.iter().filter(moves);
        let (key, event) = moving.find_map(|key| Some((key, self.changed_by(key.part.column)?)))?;
        let message = format!(
            "a row of `{}` moves each time {event} changes `{}`: one is deleted and another written",
            copy.name, key.part.name
        );
        Some(Diagnostic::warning("L08", decl.clustering_span, message).label("moves").help(
            "Sort by something that stays, such as the time the row was made; or keep the partitions small.",
        ))
    }

    /// L19: all that one event may write: the base row, its copies, twice where they may move, and new buckets.
    fn l19(&self) -> Option<Diagnostic> {
        let entity = self.plan.entity(self.projection.entity);
        let mut partitions = 1;
        for copy in entity.copies.iter().map(|id| self.plan.table(*id)) {
            let may_move = copy.partition.iter().any(|key| self.changed_by(key.part.column).is_some());
            partitions += 1 + usize::from(may_move) + usize::from(copy.buckets.is_some());
        }
        if partitions <= PARTITIONS_MAX {
            return None;
        }
        let ty = self.model.ty(self.projection.entity);
        let message = format!(
            "one event of `{}` may write {partitions} partitions, above {PARTITIONS_MAX}",
            self.projection.name
        );
        let at = ty.tables.first().map_or(ty.span, |base| base.span);
        Some(Diagnostic::warning("L19", at, message).label("many copies").help(format!(
            "Remove copies and indexes of `{}` that few reads use, or key them by columns that stay.",
            ty.name
        )))
    }

    /// The columns that a copy's `where` reads.
    fn filter_columns<'t>(&self, copy: &'t TablePlan) -> impl Iterator<Item = ColumnId> + use<'t> {
        let reads = copy.filter.iter().flat_map(|filter| &filter.reads);
        reads.filter_map(|read| match read {
            Read::Column(_, column) => Some(*column),
            Read::Slot(_) | Read::Field(..) => None,
        })
    }

    /// What changes a column of a row that is there, for a person: an event, or `compute`.
    fn changed_by(&self, column: ColumnId) -> Option<String> {
        if self.plan.entity(self.projection.entity).base_key.contains(&column) {
            return None;
        }
        let mut setting: Vec<(&str, Verb)> = Vec::new();
        for (event, cases) in &self.declared.events {
            let sets =
                cases.cases.iter().filter(|case| case.steps.iter().any(|step| step_column(step) == column));
            setting.extend(sets.map(|case| (&**event, case.verb)));
        }
        setting.sort_unstable_by_key(|(event, _)| *event);
        if let Some((event, _)) = setting.iter().find(|(_, verb)| matches!(verb, Verb::Update | Verb::Remove))
        {
            return Some(format!("`{event}`"));
        }
        // One event type that makes the row sets it once; the second to set it changes it.
        let again = setting.iter().filter(|(_, verb)| matches!(verb, Verb::Upsert | Verb::Replace));
        if let Some((event, _)) = again.clone().find(|(event, _)| *event != setting[0].0) {
            return Some(format!("`{event}`"));
        }
        let computed = self.projection.compute.iter().any(|compute| compute.column == column);
        computed.then(|| "`compute`".to_owned())
    }
}

fn step_column(step: &Step) -> ColumnId {
    match step {
        Step::Set { column, .. }
        | Step::Merge { column, .. }
        | Step::Touch { column, .. }
        | Step::Remove { column, .. }
        | Step::Without { column, .. } => *column,
    }
}

/// Whether values of a type are amounts or times, which change often; a name or a state changes seldom.
fn is_measure(ty: &ColumnType) -> bool {
    matches!(
        ty,
        ColumnType::Scalar(
            Scalar::Byte
                | Scalar::Short
                | Scalar::Int
                | Scalar::Long
                | Scalar::BigInt
                | Scalar::VarInt
                | Scalar::Float
                | Scalar::Float32
                | Scalar::Decimal
                | Scalar::DateTime
                | Scalar::LocalDate
        )
    )
}
