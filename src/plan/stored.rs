//! What lies in the tables of a generation in Cassandra, for who reads them from elsewhere.
//!
//! Comes in: a model, its plan and a generation. Goes out: each physical table with its columns and what they hold, and what
//! a reader must know to see the rows that the graph shows.

use serde::Serialize;

use super::cql::{Cql, CqlColumn, CqlHolds, CqlKind, direction};
use super::explain::{keys, role_text, until_text};
use super::{KeyColumn, Plan, TablePlan, TableRole};
use crate::schema::ReadModel;

/// A physical table.
#[derive(Debug, Serialize)]
pub struct StoredTable {
    pub name: String,
    /// The read model whose rows it holds.
    pub entity: String,
    /// What it is for.
    pub role: String,
    pub columns: Vec<StoredColumn>,
    /// What a reader must know.
    pub notes: Vec<String>,
}

/// A column of a physical table.
#[derive(Debug, Serialize)]
pub struct StoredColumn {
    pub name: String,
    /// Its CQL type.
    #[serde(rename = "type")]
    pub ty: String,
    /// `partition`, `clustering ASC`, `clustering DESC` or `static`; nothing for the others.
    pub key: Option<String>,
    pub holds: String,
}

/// Every table of a generation.
pub fn stored(model: &ReadModel, plan: &Plan, generation: u32) -> Vec<StoredTable> {
    let cql = Cql::of_generation(model, plan, generation);
    let tables = cql.tables().into_iter().map(|(table, stored)| StoredTable {
        name: stored.name,
        entity: model.ty(table.entity).name.clone(),
        role: role_text(model, plan, table),
        columns: columns(model, plan, table, &stored.columns),
        notes: notes(model, plan, table),
    });
    tables.collect()
}

fn columns(model: &ReadModel, plan: &Plan, table: &TablePlan, columns: &[CqlColumn]) -> Vec<StoredColumn> {
    let mut parts = table.partition.iter().chain(&table.clustering);
    let one = |column: &CqlColumn| StoredColumn {
        name: column.name.clone(),
        ty: column.ty.clone(),
        key: match column.kind {
            CqlKind::Partition => Some("partition".to_owned()),
            CqlKind::Clustering(order) => Some(format!("clustering {}", direction(order))),
            CqlKind::Static => Some("static".to_owned()),
            CqlKind::Regular => None,
        },
        holds: holds(model, plan, table, column, &mut parts),
    };
    columns.iter().map(one).collect()
}

fn holds<'k>(
    model: &ReadModel,
    plan: &Plan,
    table: &TablePlan,
    column: &CqlColumn,
    parts: &mut impl Iterator<Item = &'k KeyColumn>,
) -> String {
    let is_static = column.kind == CqlKind::Static;
    let entity = match plan.header_of(table.id).filter(|_| is_static) {
        Some(header) => model.ty(header.entity),
        None => model.ty(table.entity),
    };
    match column.holds {
        CqlHolds::Key => {
            let part = parts.next().expect("a key column is made of each part of the key, in their order");
            let shown = keys(model, table, std::slice::from_ref(part));
            shown.split(" AS ").next().unwrap_or_default().trim_end_matches(" DESC").to_owned()
        }
        CqlHolds::Cell(id) => format!("{} of {}", entity.column(id).name, entity.name),
        CqlHolds::Position => "bookkeeping: offset of the last event that was applied".to_owned(),
        CqlHolds::Live => {
            "bookkeeping: true while the row is there; without it, only its position is".to_owned()
        }
    }
}

fn notes(model: &ReadModel, plan: &Plan, table: &TablePlan) -> Vec<String> {
    let mut notes = Vec::new();
    if table.role == TableRole::Base {
        notes.push("rows whose __live is not true are deleted: pass them over".to_owned());
    }
    if plan.header_of(table.id).is_some() {
        notes.push("static columns are there while __header_live is true".to_owned());
    }
    if let Some(filter) = &table.filter {
        notes.push(format!("holds the rows for which {} is true", filter.text));
    }
    if let TableRole::Buckets { .. } = table.role {
        notes.push("names buckets that hold rows, or once did".to_owned());
    }
    for until in until_text(model, table) {
        notes.push(format!("rows end {until}; they are not removed: pass them over"));
    }
    notes
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::engine;

    #[test]
    fn every_column_of_every_table_of_the_shop_says_what_it_holds() {
        let project = Path::new(env!("CARGO_MANIFEST_DIR"));
        let shop = engine::load(project, &Default::default()).expect("the shop can be read");
        let shop = shop.definitions.expect("it is valid");
        let tables = stored(&shop.model, &shop.plan, 7);
        let own = shop.plan.tables.iter().filter(|table| table.heads.is_none());
        assert_eq!(tables.len(), own.count());
        for table in &tables {
            assert!(table.name.ends_with("__g7") && !table.role.is_empty(), "{}", table.name);
            assert!(table.columns.iter().all(|column| !column.holds.is_empty()), "{}", table.name);
            let is_kept = |column: &&StoredColumn| column.name.starts_with("__");
            let told = |column: &&StoredColumn| column.holds.starts_with("bookkeeping");
            let kept = table.columns.iter().filter(is_kept).count();
            assert_eq!(kept, table.columns.iter().filter(told).count(), "{}", table.name);
            let has_live = table.columns.iter().any(|column| column.name == "__live");
            assert_eq!(has_live, table.notes.iter().any(|note| note.contains("__live")), "{}", table.name);
        }
        let orders = tables.iter().find(|table| table.name == "orders__g7").expect("the shop has orders");
        let id = &orders.columns[0];
        assert_eq!((id.name.as_str(), id.ty.as_str(), id.holds.as_str()), ("id", "text", "id"));
        assert_eq!(id.key.as_deref(), Some("partition"));
        let derived =
            tables.iter().flat_map(|table| &table.columns).find(|column| column.holds.contains('('));
        assert!(derived.is_some_and(|column| column.key.is_some()), "{derived:?}");
    }
}
