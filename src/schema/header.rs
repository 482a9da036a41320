//! Headers: `@table(static: true)`, what a partition of another type's table has once.
//!
//! Comes in: types with tables. Goes out: the faults of headers that do not fit their rows. That one record key owns such a
//! partition is `handler`'s to check, where the events come from is said there.

use super::bind::Binder;
use super::{Column, KeyFunction, ObjectType, TableDecl, TypeId, TypeKind, snake};
use crate::diagnostic::Diagnostic;

impl Binder<'_> {
    /// Checks every header against the table whose partitions it heads.
    pub(super) fn check_headers(&mut self) {
        let faults: Vec<Diagnostic> = self.ids().filter_map(|ty| self.header_fault(ty)).collect();
        self.faults.extend(faults);
    }

    fn header_fault(&self, ty: TypeId) -> Option<Diagnostic> {
        let owner = &self.types[ty.0 as usize];
        let place = owner.tables.iter().position(|table| table.is_header)?;
        let header = &owner.tables[place];
        let fault = |message: String| Diagnostic::error("S038", header.span, message);
        if place > 0 {
            let message = format!("the header `{}` is not the first table of `{}`", header.name, owner.name);
            let help = "A header is its type's base table: write it first. Copies may follow it.";
            return Some(fault(message).label("a copy").help(help));
        }
        if !header.clustering.is_empty() {
            let message =
                format!("the header `{}` has a clustering, but a partition has one header", header.name);
            return Some(fault(message).label("no rows to sort").help("Leave `clustering` out."));
        }
        if !header.options.is_empty() {
            let message =
                format!("`options` of the header `{}` are those of the table that it shares", header.name);
            let help = "Say them where the rows are: header and rows are one table.";
            return Some(fault(message).label("not the rows").help(help));
        }
        let Some((rows_of, rows)) = self.rows_under(header) else {
            // A table with a fault of its own is in no list.
            let is_whole = |(ty, draft): (&ObjectType, &super::bind::Draft<'_>)| {
                ty.kind != TypeKind::Entity
                    || draft.uses.iter().filter(|used| used.name == "table").count() == ty.tables.len()
            };
            if !self.types.iter().zip(&self.drafts).all(is_whole) {
                return None;
            }
            let key: Vec<&str> = header.partition.iter().map(|part| part.name.as_str()).collect();
            return Some(fault(format!("no type has the rows of `{}`", header.name)).label("a header alone").help(
                format!(
                    "Give them to a type of their own, `@table(name: \"{}\", partition: \"{}\", clustering: …)`, or leave \
                     `static` out.",
                    header.name,
                    key.join(", ")
                ),
            ));
        };
        if rows_of.tables[0].name != rows.name {
            let message = format!("`{}`, whose header this is, is a copy of `{}`", rows.name, rows_of.name);
            let help = "Rows enter and leave the partitions of a copy with other keys than the header's. Head the first table of a type.";
            return Some(fault(message).label("over a copy").help(help));
        }
        if rows.clustering.is_empty() {
            let message =
                format!("`{}` has one row in a partition, so nothing is under its header", rows.name);
            let help = format!("Give `{}` a clustering, or put these columns into it.", rows_of.name);
            return Some(fault(message).label("over one row").help(help));
        }
        unlike_partition(owner, header, rows_of, rows).or_else(|| same_column(owner, header, rows_of, rows))
    }

    /// The type and the table whose partitions a header heads.
    fn rows_under(&self, header: &TableDecl) -> Option<(&ObjectType, &TableDecl)> {
        let tables = self.types.iter().flat_map(|ty| ty.tables.iter().map(move |table| (ty, table)));
        tables.into_iter().find(|(_, table)| !table.is_header && snake(&table.name) == snake(&header.name))
    }
}

/// Header and rows lie in one partition, so both name the same columns for it.
fn unlike_partition(
    owner: &ObjectType,
    header: &TableDecl,
    rows_of: &ObjectType,
    rows: &TableDecl,
) -> Option<Diagnostic> {
    let fault = |message: String| Diagnostic::error("S038", header.partition_span, message);
    let expression =
        header.partition.iter().chain(&rows.partition).find(|part| part.via != KeyFunction::Itself);
    if let Some(part) = expression {
        let message = format!("`{}` is made from a column, so a partition has no header", part.name);
        let help = "Head a table whose partition is columns alone: the header is found by their values.";
        return Some(fault(message).label("an expression").help(help));
    }
    let key = |ty: &ObjectType, table: &TableDecl| {
        let one = |part: &super::KeyPart| (snake(&part.name), ty.column(part.column).ty.clone());
        table.partition.iter().map(one).collect::<Vec<_>>()
    };
    if key(owner, header) == key(rows_of, rows) {
        return None;
    }
    let names = |table: &TableDecl| {
        table.partition.iter().map(|part| format!("`{}`", part.name)).collect::<Vec<_>>().join(", ")
    };
    let message = format!(
        "the header is by {}, but the rows of `{}`, in `{}`, are by {}",
        names(header),
        rows.name,
        rows_of.name,
        names(rows)
    );
    let help = "Give both the same columns, of the same names and types, in the same order.";
    Some(fault(message).label("another partition").help(help))
}

/// The columns of both are columns of one table in the store.
fn same_column(
    owner: &ObjectType,
    header: &TableDecl,
    rows_of: &ObjectType,
    rows: &TableDecl,
) -> Option<Diagnostic> {
    let others = |ty: &ObjectType, table: &TableDecl| -> Vec<Column> {
        let in_key = |name: &str| table.partition.iter().any(|part| snake(&part.name) == snake(name));
        ty.columns.iter().filter(|column| !in_key(&column.name)).cloned().collect()
    };
    let of_rows = others(rows_of, rows);
    let of_header = others(owner, header);
    let is_taken = |column: &&Column| of_rows.iter().any(|other| snake(&other.name) == snake(&column.name));
    let column = of_header.iter().find(is_taken)?;
    let message = format!(
        "the column `{}` is in the header of `{}` and in its rows, `{}`",
        column.name, header.name, rows_of.name
    );
    Some(Diagnostic::error("S038", column.span, message).label("in both").help(format!(
        "Both are columns of one table. Name one otherwise: `@column(name: \"{}Of{}\")`.",
        column.name, owner.name
    )))
}
