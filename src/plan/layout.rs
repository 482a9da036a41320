//! Lays the entities out as tables: base tables, copies, the entries of indexes, and the tables of buckets.
//!
//! Comes in: a read model. Goes out: every table with its whole key, and the tables of each entity. A copy's key
//! always contains the base key, so that two rows can never overwrite each other. Reads are bound after this.

use std::sync::Arc;

use super::{EntityPlan, Entries, KeyColumn, TableId, TablePlan, TableRole};
use crate::diagnostic::Diagnostic;
use crate::expr::{self, Compiled, Env, Expected};
use crate::schema::{
    ArgOp, BUCKETS, Bucket, ColumnId, ColumnType, IndexDecl, KeyFunction, KeyPart, ObjectType, Order,
    ReadModel, Scalar, TableDecl, TypeId, TypeKind, snake,
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
        let Some(of) = of.map(|of| of.id) else { continue };
        for by in forms(index) {
            let entries = index_of(model, ty, (&tables[of.0 as usize], index.column, by), next_id(tables));
            held.push(entries.id);
            tables.push(entries);
            let entries = tables.last().expect("one was pushed");
            // A bucket that has an entry is one of the table's, whose names these two forms share.
            if matches!(by, Entries::Order | Entries::Elements) {
                tables.last_mut().expect("one was pushed").buckets = tables[of.0 as usize].buckets;
            } else if let Some(buckets) = buckets(entries, next_id(tables)) {
                let of = tables.len() - 1;
                tables[of].buckets = Some(buckets.id);
                tables.push(buckets);
            }
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
            // Cassandra indexes columns of the table itself.
            let is_indexed =
                ty.indexes.iter().any(|index| index.column == *column && index.table == declared.name);
            is_indexed
                || fields.contains(column)
                || [ty.tables[0].expiry, declared.expiry]
                    .into_iter()
                    .flatten()
                    .any(|expiry| expiry.from == *column)
                || partition.iter().chain(&clustering).any(|key| key.part.column == *column)
        }
    };
    // The time of the last event changes with each: only tables that end by it are written for it.
    let is_due = |column: &ColumnId| {
        let expiries = [ty.tables[0].expiry, declared.expiry].into_iter().flatten();
        ty.time_column() != Some(*column)
            || role == TableRole::Base
            || expiries.map(|expiry| expiry.from).any(|from| from == *column)
    };
    let complete = declared.fields.is_none();
    let columns: Vec<ColumnId> = all.filter(|column| is_held(column) && is_due(column)).collect();
    TablePlan {
        id,
        name: declared.name.clone(),
        entity,
        role,
        heads: None,
        complete: complete || columns.len() == ty.columns.len(),
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

/// The forms of entries that answer what an index is asked.
fn forms(index: &IndexDecl) -> Vec<Entries> {
    let of = |ask: fn(&ArgOp) -> bool, form| index.ops.iter().any(ask).then_some(form);
    let forms = [
        of(|op| matches!(op, ArgOp::Eq | ArgOp::In), Entries::Values),
        of(|op| op.is_range(), Entries::Order),
        of(|op| *op == ArgOp::Contains, Entries::Elements),
    ];
    forms.into_iter().flatten().collect()
}

/// The table of an index's entries: keyed as that table and by the indexed column, holding keys only.
fn index_of(
    model: &ReadModel,
    ty: &ObjectType,
    (of, column, by): (&TablePlan, ColumnId, Entries),
    id: TableId,
) -> TablePlan {
    let name = ty.column(column).name.clone();
    let part = KeyPart { column, via: KeyFunction::Itself, name: name.clone() };
    let mut value = key_column(ty, part, Order::Asc);
    if let (Entries::Elements, Some(element)) = (by, model.element(&value.source)) {
        value = KeyColumn { ty: element.clone(), source: element.clone(), ..value };
    }
    let (mut partition, mut clustering) = (of.partition.clone(), of.clustering.clone());
    let name = match by {
        Entries::Order => {
            clustering.insert(0, value);
            format!("{}__in_order_of_{name}", of.name)
        }
        Entries::Values | Entries::Elements => {
            partition.push(value);
            format!("{}__by_{name}", of.name)
        }
    };
    let keys = partition.iter().chain(&clustering).map(|key| key.part.column);
    // An entry has one element of the collection, in its key.
    let mut columns: Vec<ColumnId> = keys.filter(|key| by != Entries::Elements || *key != column).collect();
    columns.extend(of.expires.iter().map(|expiry| expiry.from));
    columns.sort_unstable();
    columns.dedup();
    TablePlan {
        id,
        name,
        entity: of.entity,
        role: TableRole::Index { of: of.id, by },
        heads: None,
        complete: columns.len() == ty.columns.len(),
        partition,
        clustering,
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
