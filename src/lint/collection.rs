//! What stands in one cell: collections and value types, L11 and L27.
//!
//! Comes in: the types as declared. Goes out: findings. What rows weigh together is `size`'s.

use super::text;
use crate::diagnostic::{Diagnostic, Fix, Sources};
use crate::schema::{Column, ColumnType, ObjectType, ReadModel, TypeKind};

/// Elements of a collection above which a warning is given (L11).
///
/// The usual advice, to warn above 64, is for collections that grow element by element: each change leaves a cell and
/// tombstones beside the others. Ours are frozen: one cell, replaced whole, so that only bytes count. 500 elements of
/// 100 bytes are 50 KB, which one write can carry; much more makes every change of the row and every page of rows slow.
pub const COLLECTION_WARN: u32 = 500;
/// Most elements that a collection may hold.
pub const COLLECTION_MAX: u32 = 1_000;
/// Parts of a value type above which a warning is given (L27).
const PARTS_MAX: usize = 30;
/// Numbers of a vector above which a warning is given (L27).
const DIMENSIONS_WARN: u32 = 2_048;

/// L11: a collection needs a bound. Without one it is an error, above [`COLLECTION_WARN`] a warning, above
/// [`COLLECTION_MAX`] an error.
pub(super) fn l11(model: &ReadModel, sources: &Sources) -> Vec<Diagnostic> {
    let stored = model.types.iter().filter(|ty| matches!(ty.kind, TypeKind::Entity | TypeKind::Udt));
    stored.flat_map(|ty| ty.columns.iter().filter_map(|column| l11_of(ty, column, sources))).collect()
}

fn l11_of(ty: &ObjectType, column: &Column, sources: &Sources) -> Option<Diagnostic> {
    if column.vector.is_some()
        || !matches!(column.ty, ColumnType::List(_) | ColumnType::Set(_) | ColumnType::Map { .. })
    {
        return None;
    }
    let name = format!("{}.{}", ty.name, column.name);
    let Some(max) = column.max else {
        let fault = Diagnostic::error("L11", column.span, format!("the collection `{name}` has no bound"));
        let help = "Add `@column(max: 100)`: an event that would make it larger is parked.";
        return Some(fault.label("no `max`").help(help).fix(bound(column, sources)));
    };
    let above = |bound| format!("the collection `{name}` may hold {max} elements, above {bound}");
    if max > COLLECTION_MAX {
        let help = "It is written and read whole. Make the elements rows of their own, with a `@table`.";
        let fault = Diagnostic::error("L11", column.span, above(COLLECTION_MAX));
        return Some(fault.label("too large").help(help));
    }
    if max > COLLECTION_WARN {
        let fault = Diagnostic::warning("L11", column.span, above(COLLECTION_WARN));
        return Some(fault.label("large").help("It is written and read whole with every change of the row."));
    }
    None
}

/// The change that gives a collection a bound: in its `@column`, or in one of its own.
fn bound(column: &Column, sources: &Sources) -> Option<Fix> {
    let field = text::field(sources, column.span)?;
    let (file, end) = (column.span.file, field.ty.end);
    match field.directives.iter().find(|(name, _)| *name == "column") {
        None => Some(Fix::insert(file, end, " @column(max: 100)")),
        Some((_, arguments_end)) => arguments_end.map(|at| Fix::insert(file, at, ", max: 100")),
    }
}

/// L27: a value type of very many parts, or a vector of very many numbers.
pub(super) fn l27(model: &ReadModel) -> Vec<Diagnostic> {
    let wide = |ty: &&ObjectType| ty.kind == TypeKind::Udt && ty.columns.len() > PARTS_MAX;
    let finding = |ty: &ObjectType| {
        let parts = ty.columns.len();
        let message = format!("the value type `{}` has {parts} parts, above {PARTS_MAX}", ty.name);
        Diagnostic::warning("L27", ty.span, message)
            .label("wide")
            .help("It is written and read whole. Store what is read alone in columns of the row.")
    };
    let columns = model.types.iter().flat_map(|ty| ty.columns.iter().map(move |column| (ty, column)));
    let long = columns.filter_map(|(ty, column)| {
        let dimensions =
            column.vector.map(|vector| vector.dimensions).filter(|count| *count > DIMENSIONS_WARN)?;
        let message = format!(
            "the vector `{}.{}` has {dimensions} numbers, above {DIMENSIONS_WARN}",
            ty.name, column.name
        );
        Some(
            Diagnostic::warning("L27", column.span, message)
                .label("long")
                .help("Every row is compared number by number. Use a model of embeddings that makes fewer."),
        )
    });
    model.types.iter().filter(wide).map(finding).chain(long).collect()
}
