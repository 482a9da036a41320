//! How a read or key is refused that no table answers: the findings of L01, L02 and L21; and a base
//! table that cannot complete its copies, L26.
//!
//! Comes in: what is missing. Goes out: the finding; `bind` and `load` add the `@table` line. All other numbered rules
//! are in `lint`.

use crate::diagnostic::{Diagnostic, Fix, Span};
use crate::schema::{ObjectType, ReadModel};

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

/// L21: a resolvable key must be served in at most two reads, as a gateway asks for a hundred entities at once.
pub(super) fn l21(ty: &str, fields: &str, at: Span) -> Diagnostic {
    let message = format!("no table of `{ty}` finds a row by the key \"{fields}\"");
    Diagnostic::error("L21", at, message).label("no table for it")
}

/// L26: the base table must hold every column, as it completes all other tables.
pub(super) fn l26(model: &ReadModel) -> Vec<Diagnostic> {
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

/// The change that adds a `@table` line behind the last of a type.
pub(super) fn add_table(ty: &ObjectType, line: &str) -> Option<Fix> {
    let last = ty.tables.iter().map(|table| table.span).max_by_key(|span| (span.file, span.end))?;
    Some(Fix::insert(last.file, last.end, format!("\n  {line}")))
}
