//! What a change of definitions takes from whoever holds keys and cursors of those that are deployed: L23.
//!
//! Comes in: a model and its plan, and those that are deployed. Goes out: findings. How tables are moved is not known here.

use super::{Severities, field_name, read_span};
use crate::diagnostic::Diagnostic;
use crate::plan::{KeyColumn, Plan, ReadPlan, Shape, TablePlan};
use crate::schema::{EntityKey, ObjectType, Order, ReadModel, TypeId};

/// Definitions, as far as keys go.
#[derive(Clone, Copy)]
pub struct Keyed<'a> {
    pub model: &'a ReadModel,
    pub plan: &'a Plan,
}

/// Holds definitions against those that are deployed, with the project's severities.
pub fn lint_deployed(new: Keyed<'_>, deployed: Keyed<'_>, severities: &Severities) -> Vec<Diagnostic> {
    let mut found = keys(new.model, deployed.model);
    found.extend(cursors(new, deployed));
    severities.apply(found)
}

/// Keys of entities that are no longer there.
fn keys(new: &ReadModel, deployed: &ReadModel) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for (id, ty) in numbered(new) {
        let Some((old_id, old)) = numbered(deployed).find(|(_, old)| old.name == ty.name) else { continue };
        let shown = |model: &ReadModel, id, ty: &ObjectType| -> Vec<Vec<String>> {
            let paths = |key: &EntityKey| {
                let mut paths: Vec<String> =
                    key.fields.iter().map(|path| model.path_shown(id, path)).collect();
                paths.sort();
                paths
            };
            ty.keys.iter().filter(|key| key.resolvable).map(paths).collect()
        };
        let keys = shown(new, id, ty);
        for gone in shown(deployed, old_id, old).into_iter().filter(|key| !keys.contains(key)) {
            let gone = gone.join(" ");
            let message = format!(
                "the key \"{gone}\" of `{}` is deployed and no longer there: references and cache tags made of it find nothing",
                ty.name
            );
            let help = format!(
                "Keep `@key(fields: \"{gone}\")` beside the new one until no other subgraph, cache or client holds it."
            );
            found.push(Diagnostic::warning("L23", ty.span, message).label("lost a key").help(help));
        }
    }
    found
}

/// Lists whose cursors are refused once the definitions are taken over.
fn cursors(new: Keyed<'_>, deployed: Keyed<'_>) -> Vec<Diagnostic> {
    let paged = |plan: &ReadPlan| matches!(plan.shape, Shape::Connection { .. });
    let mut found = Vec::new();
    for read in new.plan.reads.iter().filter(|read| paged(read)) {
        let name = field_name(new.model, read);
        let mut olds = deployed.plan.reads.iter().filter(|old| paged(old));
        let Some(old) = olds.find(|old| field_name(deployed.model, old) == name) else { continue };
        let (table, old_table) = (new.plan.table(read.table), deployed.plan.table(old.table));
        if table.name == old_table.name && table.key_text() == old_table.key_text() {
            continue;
        }
        let message = format!(
            "cursors of `{name}` that clients hold are refused once this is taken over: its rows were in {}, and will be in {}",
            keyed(old_table),
            keyed(table)
        );
        let help = "Give the new order a field and a table of its own, and remove the old ones when no client pages by them.";
        found.push(
            Diagnostic::warning("L23", read_span(new.model, read), message).label("another order").help(help),
        );
    }
    found
}

/// A table and its key: `orders (userId; placedAt desc, id)`.
fn keyed(table: &TablePlan) -> String {
    let names = |columns: &[KeyColumn]| -> String {
        let name = |column: &KeyColumn| match column.order {
            Order::Asc => column.part.name.clone(),
            Order::Desc => format!("{} desc", column.part.name),
        };
        columns.iter().map(name).collect::<Vec<_>>().join(", ")
    };
    format!("`{}` ({}; {})", table.name, names(&table.partition), names(&table.clustering))
}

fn numbered(model: &ReadModel) -> impl Iterator<Item = (TypeId, &ObjectType)> {
    (0..).map(TypeId).zip(&model.types)
}
