//! The numbered rules of tables and reads: what Cassandra does badly is said before it is built.
//!
//! Comes in: a model and its plan. Goes out: findings. Each rule is a function with its number and its reason. L16
//! (counter columns) is found while the schema is read, as no model holds a counter.
//!
//! | rule | refuses | because |
//! | --- | --- | --- |
//! | L01 | a read that leaves a partition column open | the store would ask every node |
//! | L02 | a read that does not fit the clustering | the store neither filters nor sorts inside a partition |
//! | L03 | a partition that grows with time | it is never split, and reads of it slow down until they fail |
//! | L11 | a collection without a bound, or above 1,000; warns above 500 | it is one cell, written and read whole |
//! | L16 | a counter column | an increment that is repeated counts twice |
//! | L21 | a resolvable key without a table | a gateway asks for a hundred entities at once |
//! | L26 | a base table without all columns; remarks on a read that is completed | it completes the copies, by a second read |

use super::bind::read_span;
use super::{Plan, TableRole};
use crate::diagnostic::{Diagnostic, Severity, Span};
use crate::schema::{ColumnType, KeyFunction, ReadModel, Scalar, TableDecl, TypeKind};

/// Elements of a collection above which a warning is given (L11).
///
/// The usual advice, to warn above 64, is for collections that grow element by element: each change leaves a cell and
/// tombstones beside the others. Ours are frozen: one cell, replaced whole, so that only bytes count. 500 elements of
/// 100 bytes are 50 KB, which one write can carry; much more makes every change of the row and every page of rows slow.
pub const COLLECTION_WARN: u32 = 500;
/// Most elements that a collection may hold.
pub const COLLECTION_MAX: u32 = 1_000;

/// All rules that look at a finished plan.
pub(super) fn lint_plan(model: &ReadModel, plan: &Plan) -> Vec<Diagnostic> {
    l26_completed(model, plan)
}

/// All rules that look at the model alone.
pub(super) fn lint_model(model: &ReadModel) -> Vec<Diagnostic> {
    let mut found = l03(model);
    found.extend(l11(model));
    found.extend(l26_base(model));
    found
}

/// L01: a read must give every partition column by `=`. Without one the store would search every node.
pub(super) fn l01(field: &str, table: &str, column: &str, at: Span) -> Diagnostic {
    let message =
        format!("`{field}` does not say which partition of `{table}` to read: `{column}` is not given");
    Diagnostic::error("L01", at, message).label(format!("nothing gives `{column}`"))
}

/// L02: equalities must be the first clustering columns and a range the next. Anything else would need filtering or
/// sorting, which the store does not do inside a partition.
pub(super) fn l02(field: &str, table: &str, why: &str, at: Span) -> Diagnostic {
    let message = format!("`{field}` cannot be read from `{table}` without filtering: {why}");
    Diagnostic::error("L02", at, message).label("does not fit the key")
}

/// L03: a partition that grows with time must be bounded by a bucket, or by a promise in `rows`. It is never split, and
/// reads of it slow down until they fail.
fn l03(model: &ReadModel) -> Vec<Diagnostic> {
    let grows = |ty: &crate::schema::ObjectType, table: &TableDecl| {
        let has_bucket = table.partition.iter().any(|part| matches!(part.via, KeyFunction::Bucket(_)));
        let time = table.clustering.iter().find(|(part, _)| {
            matches!(ty.column(part.column).ty, ColumnType::Scalar(Scalar::DateTime | Scalar::LocalDate))
        });
        if has_bucket || table.rows.is_some() { None } else { time.map(|(part, _)| part.name.clone()) }
    };
    let mut found = Vec::new();
    for ty in &model.types {
        for table in &ty.tables {
            let Some(column) = grows(ty, table) else { continue };
            let message =
                format!("the partitions of `{}` grow without end: nothing bounds `{column}`", table.name);
            found.push(
                Diagnostic::error("L03", table.clustering_span, message).label("grows with time").help(format!(
                    "Add a time bucket to `partition`, as in \"…, month({column})\"; or say how many rows a partition \
                     holds at most, as in `rows: 500`."
                )),
            );
        }
    }
    found
}

/// L11: a collection needs a bound, because it is stored in one cell, written and read whole. Without one it is an error,
/// above [`COLLECTION_WARN`] a warning, above [`COLLECTION_MAX`] an error.
fn l11(model: &ReadModel) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for ty in model.types.iter().filter(|ty| matches!(ty.kind, TypeKind::Entity | TypeKind::Udt)) {
        for column in &ty.columns {
            if !matches!(column.ty, ColumnType::List(_) | ColumnType::Set(_) | ColumnType::Map { .. }) {
                continue;
            }
            let name = format!("{}.{}", ty.name, column.name);
            found.extend(match column.max {
                None => Some(
                    Diagnostic::error("L11", column.span, format!("the collection `{name}` has no bound"))
                        .label("no `max`")
                        .help("Add `@column(max: 100)`: an event that would make it larger is parked."),
                ),
                Some(max) if max > COLLECTION_MAX => Some(
                    Diagnostic::error(
                        "L11",
                        column.span,
                        format!("the collection `{name}` may hold {max} elements, above {COLLECTION_MAX}"),
                    )
                    .label("too large")
                    .help(
                        "It is written and read whole. Make the elements rows of their own, with a `@table`.",
                    ),
                ),
                Some(max) if max > COLLECTION_WARN => Some(
                    Diagnostic::warning(
                        "L11",
                        column.span,
                        format!("the collection `{name}` may hold {max} elements, above {COLLECTION_WARN}"),
                    )
                    .label("large")
                    .help("It is written and read whole with every change of the row."),
                ),
                Some(_) => None,
            });
        }
    }
    found
}

/// L21: a resolvable key must be served in at most two reads, as a gateway asks for a hundred entities at once.
pub(super) fn l21(ty: &str, fields: &str, at: Span) -> Diagnostic {
    let message = format!("no table of `{ty}` finds a row by the key \"{fields}\"");
    Diagnostic::error("L21", at, message).label("no table for it")
}

/// L26, as an error: the base table must hold every column, as it completes all other tables.
fn l26_base(model: &ReadModel) -> Vec<Diagnostic> {
    let bases = model.types.iter().filter_map(|ty| Some((ty, ty.tables.first()?)));
    bases
        .filter(|(_, base)| base.fields.is_some())
        .map(|(ty, base)| {
            let message =
                format!("no table of `{}` holds all its columns: the base table has `fields`", ty.name);
            Diagnostic::error("L26", base.span, message)
                .label("holds only some columns")
                .help("Remove `fields` here. The first table holds every column; copies may hold fewer.")
        })
        .collect()
}

/// L26, as a remark: a read of a copy that lacks columns usually needs a second, batched read of the base table.
fn l26_completed(model: &ReadModel, plan: &Plan) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for read in plan.reads.iter().filter(|read| read.completed) {
        let (table, entity) = (plan.table(read.table), plan.entity(read.entity));
        // An index holds keys only: its `fields` are nobody's choice.
        if matches!(table.role, TableRole::Index { .. }) {
            continue;
        }
        let field =
            format!("{}.{}", model.ty(read.parent).name, model.ty(read.parent).field(read.field).name);
        let message = format!(
            "`{field}` takes two reads: `{}` lacks columns, which `{}` completes",
            table.name,
            plan.table(entity.base).name
        );
        found.push(Diagnostic {
            severity: Severity::Info,
            ..Diagnostic::warning("L26", read_span(model, read), message)
                .label("completed by one batched read")
                .help("Nothing to do. To save the second read, add the columns to the copy's `fields`.")
        });
    }
    found
}
