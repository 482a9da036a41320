//! Chooses how rows of a projection are written: blind set (A), owned fold (B) or merged fold (C), with the reason as text.
//!
//! Comes in: a bound projection's parts. Goes out: the kind, or a fault where only an unsupported kind would do.

use super::bind::{Binder, quoted, same_text};
use super::declaration::Declaration;
use super::names::{ROW, reads};
use super::{
    Assert, Case, Compute, Condition, Declared, Handling, Key, Make, Origin, Step, Tombstone, UpdateKind,
    Verb,
};
use crate::diagnostic::Span;
use crate::expr::Compiled;
use crate::plan::TableRole;
use crate::schema::{ColumnId, ColumnType, Scalar};

/// The kind and why; `None` after reporting that none of the supported kinds fits.
pub fn choose(
    binder: &mut Binder<'_>,
    declaration: &Declaration,
    (sources, keys): (&[Origin], &[Key]),
    handling: &Handling,
    (compute, asserts): (&[Compute], &[Assert]),
) -> Option<(UpdateKind, String)> {
    let mut all: Vec<&Key> = keys.iter().collect();
    if let Handling::Declared(declared) = handling {
        all.extend(
            declared.events.values().filter_map(|event| event.rows.as_ref()).flat_map(|rows| &rows.keys),
        );
    }
    if all.is_empty() || all.iter().any(|key| key.is_empty()) {
        return None; // The key's own faults are reported already.
    }
    let partition = match one_partition(binder, declaration, sources, &all) {
        Ok(partition) => {
            check_header(binder, declaration, &sources[0]);
            partition
        }
        Err(Several { span, why, .. }) if declaration.is_merged => {
            if let Some(shared) = shared_partition(binder) {
                let message =
                    format!("{why}, but `{shared}` has a header, whose partitions have one writer each");
                binder.fault("P023", span, message, ONE_WRITER);
            }
            return Some((UpdateKind::MergedFold, format!("{why}; `order: time` merges them")));
        }
        Err(Several { span, why, help }) => {
            let help = format!(
                "{help}, or say `order: time`: then partitions are merged by the times of their records (kind C)"
            );
            binder.fault("P015", span, why, help);
            return None;
        }
    };
    Some(match why_not_blind(binder, &sources[0], handling, (compute, asserts)) {
        Some(reason) => (UpdateKind::OwnedFold, format!("{reason}; {partition}")),
        None => (
            UpdateKind::BlindSet,
            format!("upserts from the event alone, and no copy's key or `where` can change; {partition}"),
        ),
    })
}

/// What to do where a header's partition has several writers.
const ONE_WRITER: &str = "key the events of header and rows by a column of their common partition, or give the header a table of its own, without `static`";

/// The table that a header and rows of two types share, where the read model is one of them.
fn shared_partition(binder: &Binder<'_>) -> Option<String> {
    let base = binder.plan.table(binder.plan.entity(binder.entity).base);
    (base.heads.is_some() || binder.plan.header_of(base.id).is_some()).then(|| base.name.clone())
}

/// Header and rows are written to one partition, so one record key must own it whole: a column of it is that key.
fn check_header(binder: &mut Binder<'_>, declaration: &Declaration, origin: &Origin) {
    let Some(shared) = shared_partition(binder) else { return };
    let base = binder.plan.table(binder.plan.entity(binder.entity).base);
    let column = origin.record_key_column;
    if base.partition.iter().any(|key| Some(key.part.column) == column) {
        return;
    }
    let (Some(column), Some(record_key)) = (column, &origin.record_key) else { return };
    let name = &binder.ty.column(column).name;
    let partition: Vec<&str> = base.partition.iter().map(|key| key.part.name.as_str()).collect();
    let message = format!(
        "the record's key is `{name}`, but `{shared}` has a header, and {} says which partition it is",
        quoted(&partition)
    );
    let span = declaration
        .from
        .first()
        .and_then(|from| from.record_key.as_ref())
        .map_or(record_key.span, |text| text.span);
    binder.fault("P023", span, message, ONE_WRITER);
}

/// Why the events of a row may come from several partitions.
struct Several {
    span: Span,
    why: String,
    /// What to do so that they come from one.
    help: String,
}

/// Kinds A and B need all events of a row to come from one partition. Answers why they do.
fn one_partition(
    binder: &Binder<'_>,
    declaration: &Declaration,
    sources: &[Origin],
    keys: &[&Key],
) -> Result<String, Several> {
    if let Some(other) = declaration.from.get(1) {
        return Err(Several {
            span: other.span,
            why: format!("the events of `{}` come from several topics", binder.ty.name),
            help: "feed a read model from one topic".to_owned(),
        });
    }
    let origin = &sources[0];
    let Some(record_key) = &origin.record_key else {
        return Err(Several {
            span: origin.type_name.span,
            why: "without `recordKey` the events of a row may come from several partitions".to_owned(),
            help: "say what producers put into the record's key: `recordKey: event.orderId`".to_owned(),
        });
    };
    let stray = keys.iter().find(|key| !key.iter().any(|made| is_record_key(origin, made)));
    let (Some(column), None) = (origin.record_key_column, stray) else {
        let key = stray.unwrap_or(&keys[0]);
        let made: Vec<&str> = key.iter().map(|(_, compiled)| &*compiled.text).collect();
        return Err(Several {
            span: record_key.span,
            why: format!(
                "the record's key is `{}`, but the row's key is made from {}",
                record_key.text,
                quoted(&made)
            ),
            help: "make one column of `key` from the same expression as `recordKey`".to_owned(),
        });
    };
    let name = &binder.ty.column(column).name;
    if !has_one_spelling(&binder.ty.column(column).ty) {
        return Err(Several {
            span: record_key.span,
            why: format!(
                "values of `{name}` can be written in several ways, so events of one row could come from several partitions"
            ),
            help: "key the rows by an ID, a String, an Int, a Long, a UUID or an enum".to_owned(),
        });
    }
    Ok(format!("one partition determines a row, because its key column `{name}` is the record's key"))
}

/// Whether a column of a key is made as the record's key is, and is the column that it is made into everywhere.
fn is_record_key(origin: &Origin, (column, compiled): &(ColumnId, Compiled)) -> bool {
    origin.record_key_column == Some(*column)
        && origin.record_key.as_ref().is_some_and(|record_key| same_text(&record_key.text, &compiled.text))
}

/// Whether equal values have equal texts, or `route` can tell a text that is not the usual one.
pub fn has_one_spelling(ty: &ColumnType) -> bool {
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
    (compute, asserts): (&[Compute], &[Assert]),
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
    if origin.remember.is_some() || origin.sequence.is_some() {
        return Some("the row remembers the events that it has taken".to_owned());
    }
    if !asserts.is_empty() {
        return Some("`assert` reads the new row".to_owned());
    }
    if binder.ty.tables.first().is_some_and(|base| base.expiry.is_some()) {
        return Some("a row whose `ttl` is over counts as absent".to_owned());
    }
    if let Some(copy) = binder.ty.tables.iter().find(|table| table.expiry.is_some()) {
        return Some(format!("`{}` has a `ttl`, so its rows are written whole", copy.name));
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
    if !case.initially.steps.is_empty() {
        return Some(format!("`initially` of `{name}` depends on whether the row is there"));
    }
    case.steps.iter().find_map(|step| {
        let (column, make) = match step {
            Step::Set { column, make, once } if !once && !make.needs_old() => (*column, make),
            Step::Set { once: true, .. } => {
                return Some(format!("`once` of `{name}` depends on what the column holds"));
            }
            Step::Set { column, .. } | Step::Touch { column, key: None, .. } => {
                let column = &binder.ty.column(*column).name;
                return Some(format!("`{name}` changes a part of `{column}`"));
            }
            _ => return Some(format!("`{name}` changes elements of a collection")),
        };
        if step.expressions().into_iter().any(|compiled| reads(compiled, ROW)) {
            return Some(format!("an expression of `{name}` reads the row"));
        }
        let value = match make {
            Make::Each(each) => &each.list,
            Make::Value(value) => value,
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
