//! What rows weigh, and with them partitions and pages: L04 and L28.
//!
//! Comes in: types, and the author's `rows` and `max`. Sizes are assumed low, so that a finding is not a guess about
//! long texts: a text has [`TEXT_BYTES`], a collection [`ELEMENTS`] elements.

use super::{field_name, read_span, tables};
use crate::diagnostic::Diagnostic;
use crate::plan::{Plan, Shape};
use crate::schema::{ColumnId, ColumnType, ObjectType, ReadModel, Scalar, TableDecl, TypeKind};

/// What a text is taken to weigh.
const TEXT_BYTES: u64 = 24;
/// How many elements a collection is taken to have, or its `max` where that is less.
const ELEMENTS: u64 = 4;
/// What the store keeps with each cell: its stamp.
const CELL_BYTES: u64 = 8;

/// Bytes of a partition above which a warning is given (L04).
pub(super) const PARTITION_WARN: u64 = 10_000_000;
/// Most bytes of a partition.
pub(super) const PARTITION_MAX: u64 = 100_000_000;
/// Values in a partition above which a warning is given.
const VALUES_WARN: u64 = 100_000;
/// Bytes of the largest page above which a warning is given (L28).
const PAGE_WARN: u64 = 1_000_000;

/// L04: as many rows in a partition as the author says make it too large.
pub(super) fn l04(model: &ReadModel) -> Vec<Diagnostic> {
    tables(model).filter_map(|(ty, table)| l04_of(model, ty, table)).collect()
}

fn l04_of(model: &ReadModel, ty: &ObjectType, table: &TableDecl) -> Option<Diagnostic> {
    let rows = table.rows?;
    let key = table.key_columns();
    let columns = held(ty, table);
    let bytes = rows.saturating_mul(row_bytes(model, ty, &columns));
    let values = rows.saturating_mul(columns.iter().filter(|column| !key.contains(column)).count() as u64);
    let name = &table.name;
    let help = "Cut it by time, as in \"…, month(at)\", or by hash, as in \"…, hash(id, 8)\", which reads merge; or \
                keep fewer columns there with `fields`.";
    let size = shown(bytes);
    if bytes > PARTITION_MAX {
        let message = format!(
            "a partition of `{name}` has about {size} in {rows} rows, above {}",
            shown(PARTITION_MAX)
        );
        return Some(Diagnostic::error("L04", table.span, message).label("too large").help(help));
    }
    let message = if bytes > PARTITION_WARN {
        format!("a partition of `{name}` has about {size} in {rows} rows, above {}", shown(PARTITION_WARN))
    } else if values > VALUES_WARN {
        format!("a partition of `{name}` has {values} values in {rows} rows, above {VALUES_WARN}")
    } else {
        return None;
    };
    Some(Diagnostic::warning("L04", table.span, message).label("large").help(help))
}

/// L28: the largest page of a read weighs too much.
pub(super) fn l28(model: &ReadModel, plan: &Plan) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for read in &plan.reads {
        let (Shape::List { max, .. } | Shape::Connection { max, .. }) = read.shape else { continue };
        let ty = model.ty(read.entity);
        // What a copy lacks comes from the base table, so the page has whole rows.
        let all: Vec<ColumnId> = (0..).map(ColumnId).take(ty.columns.len()).collect();
        let bytes = u64::from(max).saturating_mul(row_bytes(model, ty, &all));
        if bytes <= PAGE_WARN {
            continue;
        }
        let message = format!(
            "the largest page of `{}` has about {} in {max} rows, above {}",
            field_name(model, read),
            shown(bytes),
            shown(PAGE_WARN)
        );
        let fits = (PAGE_WARN / (bytes / u64::from(max)).max(1)).max(1);
        let help = format!("Lower its `max`: {fits} rows fit.");
        found.push(Diagnostic::warning("L28", read_span(model, read), message).label("large").help(help));
    }
    found
}

/// The columns that a table holds.
fn held(ty: &ObjectType, table: &TableDecl) -> Vec<ColumnId> {
    match &table.fields {
        None => (0..).map(ColumnId).take(ty.columns.len()).collect(),
        Some(fields) => {
            let mut columns = table.key_columns();
            columns.extend(fields.iter().filter(|column| !table.key_columns().contains(column)));
            columns
        }
    }
}

fn row_bytes(model: &ReadModel, ty: &ObjectType, columns: &[ColumnId]) -> u64 {
    let one = |column: &ColumnId| {
        let column = ty.column(*column);
        CELL_BYTES.saturating_add(bytes(model, &column.ty, column.max))
    };
    columns.iter().map(one).fold(0, u64::saturating_add)
}

/// What a value is taken to weigh. Value types do not hold themselves, so this ends.
fn bytes(model: &ReadModel, ty: &ColumnType, max: Option<u32>) -> u64 {
    let many = |one: u64| one.saturating_mul(max.map_or(ELEMENTS, |max| ELEMENTS.min(u64::from(max))));
    match ty {
        ColumnType::Scalar(scalar) => scalar_bytes(*scalar),
        ColumnType::Enum(_) => 8,
        ColumnType::Record(id) => record_bytes(model, model.ty(*id)),
        ColumnType::List(of) | ColumnType::Set(of) => many(bytes(model, of, None)),
        ColumnType::Map { record, .. } => many(record_bytes(model, model.ty(*record))),
    }
}

fn record_bytes(model: &ReadModel, record: &ObjectType) -> u64 {
    let parts = record.columns.iter().map(|part| bytes(model, &part.ty, part.max));
    match record.kind {
        // One member of it is there.
        TypeKind::Variants => parts.max().unwrap_or(0),
        _ => parts.fold(0, u64::saturating_add),
    }
}

fn scalar_bytes(scalar: Scalar) -> u64 {
    match scalar {
        Scalar::Boolean | Scalar::Byte => 1,
        Scalar::Short => 2,
        Scalar::Int | Scalar::Float32 | Scalar::LocalDate => 4,
        Scalar::Long
        | Scalar::BigInt
        | Scalar::VarInt
        | Scalar::Float
        | Scalar::Decimal
        | Scalar::DateTime
        | Scalar::LocalTime => 8,
        Scalar::Duration | Scalar::Uuid | Scalar::TimeUuid | Scalar::Ip | Scalar::Ipv4 | Scalar::Ipv6 => 16,
        Scalar::String | Scalar::Ascii | Scalar::Id | Scalar::Bytes | Scalar::Json => TEXT_BYTES,
    }
}

/// Bytes for a person, in steps of thousand as the bounds are given.
pub(super) fn shown(bytes: u64) -> String {
    match (bytes / 1_000_000, bytes / 100_000 % 10) {
        (whole, 0) => format!("{whole} MB"),
        (whole, tenths) => format!("{whole}.{tenths} MB"),
    }
}
