//! What is stored badly is said before it is built: the numbered rules of tables, reads and writes.
//!
//! Comes in: a model; where it is sound its plan; the projections. Goes out: findings, with the severities that the
//! project has given. `rules` is the table of all of them; each other file has the rules of one subject: `partition`
//! how large and how hot partitions get, `size` what rows weigh, `change` what events move, `read` what a read costs,
//! `sample` what was measured in a log, `collection` what stands in one cell, `entity` keys, copies and references, `composition` what another
//! subgraph defines too, `deployed` what a change takes from those who hold keys and cursors, `keyspace`
//! how a keyspace is replicated. L01, L02, L21 and
//! that a base table is whole (L26) are found while tables are laid out and reads bound (`plan`), L16 while the schema
//! is read. Reads nothing but definitions, and what it is given to hold them against.

mod change;
mod collection;
mod composition;
mod deployed;
mod entity;
mod keyspace;
mod partition;
mod read;
mod rules;
mod sample;
mod size;
#[cfg(test)]
mod tests;
mod text;

pub use collection::{COLLECTION_MAX, COLLECTION_WARN};
pub use composition::lint_subgraph;
pub use deployed::{Keyed, lint_deployed};
pub use keyspace::lint_keyspace;
pub use rules::{RULES, Rule, Severities, State, rule_of};
pub use sample::{Sample, TableSample, lint_sample};

use crate::diagnostic::{Diagnostic, Severity, Sources, Span};
use crate::handler::Projection;
use crate::plan::{Plan, ReadPlan, TablePlan};
use crate::schema::{FieldSource, ObjectType, ReadModel, TableDecl};

/// What the rules look at.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// The text of the definitions, for what mends them.
    pub sources: &'a Sources,
    pub model: &'a ReadModel,
    /// Where every read and key is bound.
    pub plan: Option<&'a Plan>,
    /// Those that are sound: rules of what events change look at these.
    pub projections: &'a [&'a Projection],
}

/// All findings of all rules, with the project's severities.
pub fn lint(subject: Subject<'_>, severities: &Severities) -> Vec<Diagnostic> {
    let Subject { model, sources, .. } = subject;
    let mut found = Vec::new();
    found.extend(partition::l03(model));
    found.extend(collection::l11(model, sources));
    found.extend(collection::l27(model));
    found.extend(partition::l05(model));
    found.extend(partition::l06(model));
    found.extend(read::l13(model));
    found.extend(size::l04(model));
    found.extend(entity::l22(model));
    found.extend(entity::l32(model, sources));
    found.extend(entity::l25(model));
    if let Some(plan) = subject.plan {
        found.extend(change::rules(model, plan, subject.projections));
        found.extend(read::rules(model, plan));
        found.extend(size::l28(model, plan));
        found.extend(entity::l24(model, plan));
        found.extend(entity::l24_headers(model, plan));
        found.extend(entity::l26(model, plan));
        found.extend(entity::l29(model, plan));
    }
    severities.apply(found)
}

/// A remark at a place.
fn remark(code: &'static str, at: Span, message: String) -> Diagnostic {
    Diagnostic { severity: Severity::Info, ..Diagnostic::warning(code, at, message) }
}

/// Every `@table` of every type.
fn tables(model: &ReadModel) -> impl Iterator<Item = (&ObjectType, &TableDecl)> {
    model.types.iter().flat_map(|ty| ty.tables.iter().map(move |table| (ty, table)))
}

/// A planned table as it was declared; `None` where it was made by us.
fn declared<'m>(model: &'m ReadModel, table: &TablePlan) -> Option<&'m TableDecl> {
    model.ty(table.entity).tables.iter().find(|declared| declared.name == table.name)
}

/// Where a read stands.
fn read_span(model: &ReadModel, read: &ReadPlan) -> Span {
    let field = model.ty(read.parent).field(read.field);
    match &field.source {
        FieldSource::Read(decl) => decl.span,
        _ => field.span,
    }
}

/// A read's field as messages name it: `Query.order`.
fn field_name(model: &ReadModel, read: &ReadPlan) -> String {
    let parent = model.ty(read.parent);
    format!("{}.{}", parent.name, parent.field(read.field).name)
}
