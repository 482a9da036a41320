//! How far a partition grows, how many there are, how hot one gets: L03, L05, L06.
//!
//! Comes in: the tables as declared, with the author's `rows` and `rate`. What rows weigh is `size`'s.

use super::tables;
use crate::diagnostic::Diagnostic;
use crate::schema::{ColumnType, KeyFunction, ObjectType, ReadModel, Scalar, TableDecl};

/// Fewer partitions than this are too few to spread over nodes (L05).
pub(super) const PARTITIONS_MIN: u64 = 1_000;
/// Writes a second that one partition may take (L06).
pub(super) const RATE_MAX: u64 = 500;

/// L03: a partition that grows with time is bounded by a bucket, or by a promise in `rows`. A `ttl` bounds what is
/// served, not what lies on the disk, so it does not count.
pub(super) fn l03(model: &ReadModel) -> Vec<Diagnostic> {
    let grows = |(ty, table): (&ObjectType, &TableDecl)| {
        let has_bucket = table.partition.iter().any(|part| matches!(part.via, KeyFunction::Bucket(_)));
        if has_bucket || table.rows.is_some() {
            return None;
        }
        let is_time =
            |ty: &ColumnType| matches!(ty, ColumnType::Scalar(Scalar::DateTime | Scalar::LocalDate));
        let (part, _) = table.clustering.iter().find(|(part, _)| is_time(&ty.column(part.column).ty))?;
        let message =
            format!("the partitions of `{}` grow without end: nothing bounds `{}`", table.name, part.name);
        Some(Diagnostic::error("L03", table.clustering_span, message).label("grows with time").help(format!(
            "Add a time bucket to `partition`, as in \"…, month({})\"; or say how many rows a partition holds at \
             most, as in `rows: 500`.",
            part.name
        )))
    };
    tables(model).filter_map(grows).collect()
}

/// L05: a partition key that can have few values only.
pub(super) fn l05(model: &ReadModel) -> Vec<Diagnostic> {
    let few = |(ty, table): (&ObjectType, &TableDecl)| {
        let mut partitions: u64 = 1;
        for part in &table.partition {
            // A bucket adds a partition with time, but at one time there is one.
            if matches!(part.via, KeyFunction::Bucket(_)) {
                continue;
            }
            if matches!(part.via, KeyFunction::Hash(_)) {
                return None;
            }
            partitions = partitions.saturating_mul(values(model, &ty.column(part.column).ty)?);
        }
        if partitions >= PARTITIONS_MIN {
            return None;
        }
        let message = format!("all rows of `{}` lie in {partitions} partitions at one time", table.name);
        let last = table.clustering.last().map_or("id", |(part, _)| part.name.as_str());
        Some(Diagnostic::warning("L05", table.partition_span, message).label("few values").help(format!(
            "Spread each over several, which reads merge: \"…, hash({last}, 16)\"; or add a column with many values."
        )))
    };
    tables(model).filter_map(few).collect()
}

/// How many values a type has; `None` where there are many.
fn values(model: &ReadModel, ty: &ColumnType) -> Option<u64> {
    match ty {
        ColumnType::Scalar(Scalar::Boolean) => Some(2),
        ColumnType::Scalar(Scalar::Byte) => Some(256),
        ColumnType::Enum(id) => Some(model.enumeration(*id).values.len() as u64),
        _ => None,
    }
}

/// L06: more writes a second than one partition should take, as the author's `rate` says.
pub(super) fn l06(model: &ReadModel) -> Vec<Diagnostic> {
    let hot = |(_, table): (&ObjectType, &TableDecl)| {
        let rate = table.rate.filter(|rate| *rate > RATE_MAX)?;
        let message = format!(
            "the hottest partition of `{}` takes {rate} writes a second, above {RATE_MAX}",
            table.name
        );
        let shards = |now: u64| now.saturating_mul(rate.div_ceil(RATE_MAX));
        let cut = table.partition.iter().find_map(|part| match part.via {
            KeyFunction::Hash(shards) => Some((part, u64::from(shards))),
            _ => None,
        });
        let help = match cut {
            Some((_, now)) => format!("Cut it finer: {} shards instead of {now}.", shards(now)),
            None => {
                let last = table.clustering.last().map_or("id", |(part, _)| part.name.as_str());
                format!("Cut it by hash, which reads merge: \"…, hash({last}, {})\".", shards(1))
            }
        };
        Some(Diagnostic::warning("L06", table.partition_span, message).label("too hot").help(help))
    };
    tables(model).filter_map(hot).collect()
}
