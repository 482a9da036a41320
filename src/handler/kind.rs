//! Chooses how rows of a projection are written: blind set (A) or owned fold (B), with the reason as text.
//!
//! Comes in: a bound projection's parts. Goes out: the kind, or a fault where only an unsupported kind would do.

use super::bind::{Binder, ROW, quoted};
use super::steps::expressions;
use super::{Case, Compute, Condition, Declared, Handling, Origin, Step, Tombstone, UpdateKind, Verb};
use crate::expr::{Compiled, Read};
use crate::plan::TableRole;
use crate::schema::{ColumnId, ColumnType, Scalar};

/// The kind and why; `None` after reporting that none of the supported kinds fits.
pub fn choose(
    binder: &mut Binder<'_>,
    origin: &Origin,
    key: &[(ColumnId, Compiled)],
    handling: &Handling,
    compute: &[Compute],
) -> Option<(UpdateKind, String)> {
    let partition = one_partition(binder, origin, key)?;
    Some(match why_not_blind(binder, origin, handling, compute) {
        Some(reason) => (UpdateKind::OwnedFold, format!("{reason}; {partition}")),
        None => (
            UpdateKind::BlindSet,
            format!("upserts from the event alone, and no copy's key or `where` can change; {partition}"),
        ),
    })
}

/// Kinds A and B need all events of a row to come from one partition.
fn one_partition(binder: &mut Binder<'_>, origin: &Origin, key: &[(ColumnId, Compiled)]) -> Option<String> {
    let Some(record_key) = &origin.record_key else {
        binder.fault(
            "P015",
            origin.type_name.span,
            "without `recordKey` the events of a row may come from several partitions",
            "say what producers put into the record's key: `recordKey: event.orderId`; merging partitions (kinds C and D) is not supported yet",
        );
        return None;
    };
    let Some(column) = origin.record_key_column else {
        if key.is_empty() {
            return None; // The key's own faults are reported already.
        }
        let keys: Vec<&str> = key.iter().map(|(_, compiled)| &*compiled.text).collect();
        binder.fault(
            "P015",
            record_key.span,
            format!("the record's key is `{}`, but the row's key is made from {}", record_key.text, quoted(&keys)),
            "make one column of `key` from the same expression as `recordKey`; merging the partitions that events of one row come from (kinds C and D) is not supported yet",
        );
        return None;
    };
    if !has_one_spelling(&binder.ty.column(column).ty) {
        let name = &binder.ty.column(column).name;
        binder.fault(
            "P015",
            record_key.span,
            format!("values of `{name}` can be written in several ways, so events of one row could come from several partitions"),
            "key the rows by an ID, a String, an Int, a Long, a UUID or an enum; merging partitions (kinds C and D) is not supported yet",
        );
        return None;
    }
    Some(format!(
        "one partition determines a row, because its key column `{}` is the record's key",
        binder.ty.column(column).name
    ))
}

/// Whether equal values have equal texts, or `route` can tell a text that is not the usual one.
fn has_one_spelling(ty: &ColumnType) -> bool {
    match ty {
        ColumnType::Enum(_) => true,
        ColumnType::Scalar(scalar) => matches!(
            scalar,
            Scalar::Id
                | Scalar::String
                | Scalar::Ascii
                | Scalar::Byte
                | Scalar::Short
                | Scalar::Int
                | Scalar::Long
                | Scalar::BigInt
                | Scalar::Uuid
        ),
        _ => false,
    }
}

fn why_not_blind(
    binder: &Binder<'_>,
    origin: &Origin,
    handling: &Handling,
    compute: &[Compute],
) -> Option<String> {
    let Handling::Declared(declared) = handling else {
        return Some("a handler written in Rust sees the row".to_owned());
    };
    if origin.tombstone == Some(Tombstone::Delete) {
        return Some("a tombstone deletes the row".to_owned());
    }
    if !compute.is_empty() {
        return Some("`compute` reads the new row".to_owned());
    }
    if binder.ty.tables.first().is_some_and(|base| base.expiry.is_some()) {
        return Some("a row whose `ttl` is over counts as absent".to_owned());
    }
    not_blind_events(binder, declared).or_else(|| moving_copy(binder))
}

fn not_blind_events(binder: &Binder<'_>, declared: &Declared) -> Option<String> {
    if reads_row(declared.when.as_ref()) {
        return Some("`when` reads the row".to_owned());
    }
    let mut names: Vec<&str> = declared.events.keys().map(|name| &**name).collect();
    names.sort_unstable();
    names.into_iter().find_map(|name| {
        let event = &declared.events[name];
        if event.lets.iter().any(|(_, compiled)| reads(compiled, ROW)) {
            return Some(format!("a `let` of `{name}` reads the row"));
        }
        event.cases.iter().find_map(|case| not_blind_case(binder, name, case))
    })
}

fn not_blind_case(binder: &Binder<'_>, name: &str, case: &Case) -> Option<String> {
    if case.verb != Verb::Upsert {
        return Some(format!("`{}` of `{name}` depends on whether the row is there", case.verb.name()));
    }
    if reads_row(case.when.as_ref()) {
        return Some(format!("`when` of `{name}` reads the row"));
    }
    case.steps.iter().find_map(|step| {
        if matches!(step, Step::Merge { .. } | Step::Touch { .. } | Step::Remove { .. }) {
            return Some(format!("`{name}` changes elements of a collection"));
        }
        if expressions(step).into_iter().any(|compiled| reads(compiled, ROW)) {
            return Some(format!("an expression of `{name}` reads the row"));
        }
        let (column, value) = match step {
            Step::Set { column, value } => (*column, value),
            Step::Each { column, list, .. } => (*column, list),
            _ => return None,
        };
        let column = binder.ty.column(column);
        (column.non_null && value.may_be_missing()).then(|| {
            format!(
                "`{name}` keeps the old `{}` where `{}` is missing, and it cannot be null",
                column.name, value.text
            )
        })
    })
}

/// A copy whose rows can move: then the old key must be known, which is in the old row.
fn moving_copy(binder: &Binder<'_>) -> Option<String> {
    let entity = binder.plan.entity(binder.entity);
    entity.copies.iter().map(|id| binder.plan.table(*id)).find_map(|table| {
        if matches!(table.role, TableRole::Base | TableRole::Buckets { .. }) {
            return None;
        }
        if table.filter.is_some() {
            return Some(format!("rows enter and leave `{}` by its `where`", table.name));
        }
        let mut columns = table.partition.iter().chain(&table.clustering).map(|key| key.part.column);
        let moving = columns.find(|column| !entity.base_key.contains(column))?;
        Some(format!("`{}`, in the key of `{}`, may change", binder.ty.column(moving).name, table.name))
    })
}

fn reads_row(condition: Option<&Condition>) -> bool {
    condition.is_some_and(|condition| reads(&condition.holds, ROW))
}

fn reads(compiled: &Compiled, slot: usize) -> bool {
    compiled.reads.iter().any(|read| {
        let (Read::Slot(found) | Read::Column(found, _) | Read::Field(found, _)) = read;
        *found == slot
    })
}
