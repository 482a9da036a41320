//! Lays the entities out as tables: base tables, copies, the entries of indexes, and the tables of buckets.
//!
//! Comes in: a read model. Goes out: every table with its whole key, and the tables of each entity. A copy's key
//! always contains the base key, so that two rows can never overwrite each other. Reads are bound after this.

use std::sync::Arc;

use super::{EntityPlan, KeyColumn, TableId, TablePlan, TableRole};
use crate::diagnostic::Diagnostic;
use crate::expr::{self, Compiled, Env, Expected};
use crate::schema::{
    BUCKETS, Bucket, ColumnId, ColumnType, KeyFunction, KeyPart, ObjectType, Order, ReadModel, Scalar,
    TableDecl, TypeId, TypeKind, snake,
};

/// All tables, and the entities with their tables; keys are not bound yet.
pub(super) fn lay_out(
    model: &ReadModel,
    faults: &mut Vec<Diagnostic>,
) -> (Vec<Arc<TablePlan>>, Vec<EntityPlan>) {
    let mut tables = Vec::new();
    let mut entities = Vec::new();
    for (index, ty) in model.types.iter().enumerate().filter(|(_, ty)| ty.kind == TypeKind::Entity) {
        let id = TypeId(u32::try_from(index).expect("types are counted in u32"));
        entities.push(entity(model, id, ty, &mut tables, faults));
    }
    join_headers(model, &mut tables);
    (tables.into_iter().map(Arc::new).collect(), entities)
}

/// Tells every header which table's partitions it heads.
fn join_headers(model: &ReadModel, tables: &mut [TablePlan]) {
    let is_header = |table: &TablePlan| {
        table.role == TableRole::Base
            && model.ty(table.entity).tables.first().is_some_and(|base| base.is_header)
    };
    for header in 0..tables.len() {
        if is_header(&tables[header]) {
            let name = snake(&tables[header].name);
            let rows = tables.iter().find(|rows| !is_header(rows) && snake(&rows.name) == name);
            tables[header].heads = rows.map(|rows| rows.id);
        }
    }
}

fn entity(
    model: &ReadModel,
    id: TypeId,
    ty: &ObjectType,
    tables: &mut Vec<TablePlan>,
    faults: &mut Vec<Diagnostic>,
) -> EntityPlan {
    let base_key = ty.tables.first().map(TableDecl::key_columns).unwrap_or_default();
    let of_base = ty.tables.first().and_then(|base| base.expiry);
    let mut held: Vec<TableId> = Vec::new();
    for declared in &ty.tables {
        let role = if held.is_empty() { TableRole::Base } else { TableRole::Copy };
        let mut table = table(ty, id, declared, role, &base_key, next_id(tables));
        let own = declared.expiry.filter(|own| of_base.is_none_or(|of_base| of_base != *own));
        table.expires = of_base.into_iter().chain(own).collect();
        table.filter = filter(model, id, declared, faults);
        held.push(table.id);
        tables.push(table);
        let table = tables.last().expect("one was pushed");
        if let Some(buckets) = buckets(table, next_id(tables)) {
            let of = tables.len() - 1;
            tables[of].buckets = Some(buckets.id);
            tables.push(buckets);
        }
    }
    for index in &ty.indexes {
        let of = tables.iter().find(|table| held.contains(&table.id) && table.name == index.table);
        let Some(entries) = of.map(|of| index_of(ty, of, index.column, next_id(tables))) else { continue };
        held.push(entries.id);
        tables.push(entries);
        let entries = tables.last().expect("one was pushed");
        if let Some(buckets) = buckets(entries, next_id(tables)) {
            let of = tables.len() - 1;
            tables[of].buckets = Some(buckets.id);
            tables.push(buckets);
        }
    }
    let base = held.first().copied().expect("an entity has a `@table`");
    EntityPlan { entity: id, base, copies: held[1..].to_vec(), keys: Vec::new(), base_key }
}

fn next_id(tables: &[TablePlan]) -> TableId {
    TableId(u32::try_from(tables.len()).expect("tables are counted in u32"))
}

fn table(
    ty: &ObjectType,
    entity: TypeId,
    declared: &TableDecl,
    role: TableRole,
    base_key: &[ColumnId],
    id: TableId,
) -> TablePlan {
    let partition: Vec<KeyColumn> =
        declared.partition.iter().map(|part| key_column(ty, part.clone(), Order::Asc)).collect();
    let mut clustering: Vec<KeyColumn> =
        declared.clustering.iter().map(|(part, order)| key_column(ty, part.clone(), *order)).collect();
    let missing: Vec<KeyColumn> = base_key
        .iter()
        .filter(|&&column| {
            !partition.iter().chain(&clustering).any(|key| key.is_plain() && key.part.column == column)
        })
        .map(|&column| {
            let name = ty.column(column).name.clone();
            key_column(ty, KeyPart { column, via: KeyFunction::Itself, name }, Order::Asc)
        })
        .collect();
    let appended = missing.len();
    clustering.extend(missing);
    let all = (0..ty.columns.len())
        .map(|column| ColumnId(u32::try_from(column).expect("columns are counted in u32")));
    let is_held = |column: &ColumnId| match &declared.fields {
        None => true,
        Some(fields) => {
            fields.contains(column)
                || [ty.tables[0].expiry, declared.expiry]
                    .into_iter()
                    .flatten()
                    .any(|expiry| expiry.from == *column)
                || partition.iter().chain(&clustering).any(|key| key.part.column == *column)
        }
    };
    let columns: Vec<ColumnId> = all.filter(is_held).collect();
    TablePlan {
        id,
        name: declared.name.clone(),
        entity,
        role,
        heads: None,
        complete: columns.len() == ty.columns.len(),
        partition,
        clustering,
        appended,
        columns,
        filter: None,
        expires: Vec::new(),
        buckets: None,
        rows: declared.rows,
        rate: declared.rate,
        options: declared.options.clone(),
    }
}

fn key_column(ty: &ObjectType, part: KeyPart, order: Order) -> KeyColumn {
    let source = ty.column(part.column).ty.clone();
    let stored = match part.via {
        KeyFunction::Itself | KeyFunction::Prefix(_) => source.clone(),
        KeyFunction::Bucket(Bucket::Hour) => ColumnType::Scalar(Scalar::DateTime),
        KeyFunction::Bucket(_) => ColumnType::Scalar(Scalar::LocalDate),
        KeyFunction::Hash(_) => ColumnType::Scalar(Scalar::Int),
    };
    KeyColumn { part, ty: stored, source, order }
}

/// The table of an index's entries: partitioned as that table and by the indexed column, holding keys only.
fn index_of(ty: &ObjectType, of: &TablePlan, column: ColumnId, id: TableId) -> TablePlan {
    let name = ty.column(column).name.clone();
    let mut partition = of.partition.clone();
    partition.push(key_column(
        ty,
        KeyPart { column, via: KeyFunction::Itself, name: name.clone() },
        Order::Asc,
    ));
    let mut columns: Vec<ColumnId> =
        partition.iter().chain(&of.clustering).map(|key| key.part.column).collect();
    columns.extend(of.expires.iter().map(|expiry| expiry.from));
    columns.sort_unstable();
    columns.dedup();
    TablePlan {
        id,
        name: format!("{}__by_{name}", of.name),
        entity: of.entity,
        role: TableRole::Index { of: of.id },
        heads: None,
        complete: columns.len() == ty.columns.len(),
        partition,
        clustering: of.clustering.clone(),
        appended: of.appended,
        columns,
        filter: of.filter.clone(),
        expires: of.expires.clone(),
        buckets: None,
        rows: of.rows,
        rate: of.rate,
        options: Vec::new(),
    }
}

/// The table of a table's non-empty buckets: partitioned as that table without its bucket, sorted by the bucket.
fn buckets(of: &TablePlan, id: TableId) -> Option<TablePlan> {
    let is_bucket = |key: &&KeyColumn| matches!(key.part.via, KeyFunction::Bucket(_));
    let bucket = of.partition.iter().find(is_bucket)?;
    let order = of.clustering.first().map_or(Order::Asc, |first| first.order);
    let partition: Vec<KeyColumn> = of.partition.iter().filter(|key| !is_bucket(key)).cloned().collect();
    let mut columns: Vec<ColumnId> = partition.iter().map(|key| key.part.column).collect();
    columns.push(bucket.part.column);
    columns.sort_unstable();
    columns.dedup();
    Some(TablePlan {
        id,
        name: format!("{}{BUCKETS}", of.name),
        entity: of.entity,
        role: TableRole::Buckets { of: of.id },
        heads: None,
        partition,
        clustering: vec![KeyColumn { order, ..bucket.clone() }],
        appended: 0,
        columns,
        complete: false,
        filter: None,
        expires: Vec::new(),
        buckets: None,
        rows: None,
        rate: None,
        options: Vec::new(),
    })
}

fn filter(
    model: &ReadModel,
    entity: TypeId,
    declared: &TableDecl,
    faults: &mut Vec<Diagnostic>,
) -> Option<Compiled> {
    let (text, span) = declared.filter.as_ref()?;
    let env = Env { model, names: Vec::new(), shapes: Vec::new(), columns_of: Some(entity) };
    match expr::compile(text, *span, &env, &Expected::Condition) {
        Ok(compiled) => Some(compiled),
        Err(found) => {
            faults.extend(found);
            None
        }
    }
}
