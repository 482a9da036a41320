//! What a read costs: L13, L14, L15, L18, L20.
//!
//! Comes in: bound reads and their tables. Goes out: findings. What rows weigh is `size`'s.

use super::{declared, field_name, read_span, remark};
use crate::diagnostic::Diagnostic;
use crate::plan::{Part, Plan, ReadPlan, ReadSource, Shape, TablePlan, TableRole, VALUES_MAX};
use crate::schema::{Bucket, ColumnType, FieldSource, IndexDecl, KeyFunction, ObjectType, ReadModel, Scalar};

/// Indexes that Cassandra intersects (L14).
const FILTERS_MAX: usize = 2;
/// Partitions that one read may ask at once (L15).
const PARTITIONS_MAX: u64 = VALUES_MAX as u64;
/// Buckets that one page may walk (L18).
const BUCKETS_MAX: i64 = 50;
/// Indexes of one table (L13).
const INDEXES_MAX: usize = 10;

const DAY_MS: i64 = 24 * 3_600_000;
/// What a read without `lookback` is taken to walk.
const YEAR_MS: i64 = 365 * DAY_MS;

/// The rules of bound reads.
pub(super) fn rules(model: &ReadModel, plan: &Plan) -> Vec<Diagnostic> {
    let reads = || plan.reads.iter();
    let mut found: Vec<Diagnostic> = reads().filter_map(|read| l15(model, plan, read)).collect();
    found.extend(reads().filter_map(|read| l14(model, plan, read)));
    found.extend(reads().filter_map(|read| l18(model, plan, read)));
    found.extend(plan.tables.iter().filter_map(|table| l20(model, plan, table)));
    found
}

/// L13: more indexes than a table should carry, or one over values that hardly repeat.
pub(super) fn l13(model: &ReadModel) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for ty in &model.types {
        for table in &ty.tables {
            let of_it: Vec<&IndexDecl> =
                ty.indexes.iter().filter(|index| index.table == table.name).collect();
            if let Some(first_above) = of_it.get(INDEXES_MAX) {
                let message = format!("`{}` has {} indexes, above {INDEXES_MAX}", table.name, of_it.len());
                let help = "Each costs every write of a row. Keep those that reads use.";
                let fault = Diagnostic::error("L13", first_above.span, message);
                found.push(fault.label("one too many").help(help));
            }
        }
        found.extend(ty.indexes.iter().filter_map(|index| l13_unique(ty, index)));
    }
    found
}

fn l13_unique(ty: &ObjectType, index: &IndexDecl) -> Option<Diagnostic> {
    let column = ty.column(index.column);
    let is_field = |path: &[crate::schema::FieldId]| match path {
        [field] => matches!(ty.field(*field).source, FieldSource::Column(of) if of == index.column),
        _ => false,
    };
    let is_key = ty.keys.iter().any(|key| matches!(&key.fields[..], [path] if is_field(path)));
    let is_unique = is_key || matches!(column.ty, ColumnType::Scalar(Scalar::Uuid | Scalar::TimeUuid));
    is_unique.then(|| {
        let message =
            format!("the index of `{}` finds one row a value: its values hardly repeat", column.name);
        Diagnostic::warning("L13", index.span, message).label("nearly unique").help(format!(
            "Read it from a copy instead: @table(name: \"…_by_{}\", partition: \"{}\").",
            crate::schema::snake(&column.name),
            column.name
        ))
    })
}

/// L14: comparisons that only indexes answer, above those that Cassandra intersects.
fn l14(model: &ReadModel, plan: &Plan, read: &ReadPlan) -> Option<Diagnostic> {
    let table = plan.table(read.table);
    let by_index = read.ranged.is_some() || matches!(table.role, TableRole::Index { .. });
    let mut columns: Vec<_> =
        read.filters.iter().filter(|filter| filter.op.is_range()).map(|filter| filter.column).collect();
    columns.sort_unstable();
    columns.dedup();
    let single = read.filters.iter().filter(|filter| !filter.op.is_range()).count();
    let filters = usize::from(by_index) + single + columns.len();
    if filters <= FILTERS_MAX {
        return None;
    }
    let message = format!(
        "`{}` compares {filters} columns by indexes at once, above {FILTERS_MAX}",
        field_name(model, read)
    );
    let help = "Put what is always asked for into the key of a copy, and leave the rest to two indexes.";
    Some(Diagnostic::warning("L14", read_span(model, read), message).label("many filters").help(help))
}

/// L15: the lists of `IN` and the shards that are merged multiply.
fn l15(model: &ReadModel, plan: &Plan, read: &ReadPlan) -> Option<Diagnostic> {
    let shards = read.partition.iter().fold(1_u64, |all, part| match part {
        Part::EachShard(shards) => all.saturating_mul(u64::from(*shards)),
        _ => all,
    });
    let lists = read.any_of(model);
    let is_list = |part: &Part<ReadSource>| matches!(part, Part::From(ReadSource::Argument(index)) if lists.contains(index));
    let values = if read.partition.iter().any(is_list) { PARTITIONS_MAX } else { 1 };
    let at_once = shards.saturating_mul(values);
    if at_once <= PARTITIONS_MAX {
        return None;
    }
    let message = format!(
        "`{}` may ask {at_once} partitions of `{}` at once, above {PARTITIONS_MAX}",
        field_name(model, read),
        plan.table(read.table).name
    );
    let help = match values {
        1 => "Cut the partition into fewer shards, or give the column that is hashed.",
        _ => {
            "Each value of the list is read from every shard. Read a table without `hash`, or compare with one value."
        }
    };
    Some(Diagnostic::warning("L15", read_span(model, read), message).label("many at once").help(help))
}

/// L18: a page that finds few rows may walk very many buckets.
fn l18(model: &ReadModel, plan: &Plan, read: &ReadPlan) -> Option<Diagnostic> {
    let table = plan.table(read.table);
    if !read.partition.contains(&Part::EachBucket) {
        return None;
    }
    let bucket = table.partition.iter().find_map(|key| match key.part.via {
        KeyFunction::Bucket(bucket) => Some(bucket),
        _ => None,
    })?;
    let lookback = match read.shape {
        Shape::Connection { lookback_ms, .. } => lookback_ms,
        Shape::One | Shape::List { .. } => None,
    };
    let buckets = lookback.unwrap_or(YEAR_MS) / width_ms(bucket);
    if buckets <= BUCKETS_MAX {
        return None;
    }
    let (name, of) = (field_name(model, read), &table.name);
    let message = match lookback {
        Some(_) => format!("a page of `{name}` may walk {buckets} buckets of `{of}`, above {BUCKETS_MAX}"),
        None => format!(
            "a page of `{name}` may walk every bucket of `{of}`, {buckets} in a year, above {BUCKETS_MAX}"
        ),
    };
    let help = "Cut the table into wider buckets, or walk fewer: `@read(lookback: \"…\")` of a connection.";
    Some(Diagnostic::warning("L18", read_span(model, read), message).label("many buckets").help(help))
}

fn width_ms(bucket: Bucket) -> i64 {
    match bucket {
        Bucket::Year => YEAR_MS,
        Bucket::Month => 30 * DAY_MS,
        Bucket::Week => 7 * DAY_MS,
        Bucket::Day => DAY_MS,
        Bucket::Hour => DAY_MS / 24,
    }
}

/// L20: pages of a table whose clustering goes both ways.
fn l20(model: &ReadModel, plan: &Plan, table: &TablePlan) -> Option<Diagnostic> {
    if !matches!(table.role, TableRole::Base | TableRole::Copy) {
        return None;
    }
    let is_mixed = |read: &&ReadPlan| {
        let open = &table.clustering[read.equal.len().min(table.clustering.len())..];
        read.table == table.id
            && matches!(read.shape, Shape::Connection { .. })
            && open.windows(2).any(|pair| pair[0].order != pair[1].order)
    };
    let read = plan.reads.iter().find(is_mixed)?;
    let decl = declared(model, table)?;
    let all: Vec<String> = table
        .clustering
        .iter()
        .map(|key| format!("{}{}", key.part.name, direction(table.clustering[0].order)))
        .collect();
    let message = format!(
        "pages of `{}` begin inside a mixed order: `{}` is sorted up and down",
        field_name(model, read),
        table.name
    );
    Some(remark("L20", decl.clustering_span, message).label("mixed").help(format!(
        "Where the order of equals does not matter, sort all one way: clustering: \"{}\".",
        all.join(", ")
    )))
}

fn direction(order: crate::schema::Order) -> &'static str {
    match order {
        crate::schema::Order::Asc => "",
        crate::schema::Order::Desc => " DESC",
    }
}
