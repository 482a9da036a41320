//! Binds every resolvable `@key` of an entity to the table that finds its row.
//!
//! Comes in: a model and its tables. Goes out: a [`KeyLoad`] for each key, or rule L21 with the `@table` line that is
//! missing. Reads of fields are `bind`'s.

use super::bind::Ground;
use super::fit::{Fit, Given, fit};
use super::{KeyLoad, Part, TablePlan, TableRole, refuse};
use crate::diagnostic::Diagnostic;
use crate::schema::{ColumnId, EntityKey, TypeId};

impl Ground<'_> {
    /// How each `@key` of an entity is loaded.
    pub(super) fn key_loads(&self, entity: TypeId, faults: &mut Vec<Diagnostic>) -> Vec<Option<KeyLoad>> {
        let ty = self.model.ty(entity);
        let mut loads = Vec::new();
        for key in &ty.keys {
            let load = if key.resolvable { self.key_load(entity, key) } else { None };
            if key.resolvable && load.is_none() {
                faults.push(self.no_load(entity, key));
            }
            loads.push(load);
        }
        loads
    }

    /// A key is loaded in at most two reads: of a table that it determines, and of the base table for the rest.
    fn key_load(&self, entity: TypeId, key: &EntityKey) -> Option<KeyLoad> {
        let ty = self.model.ty(entity);
        let columns: Vec<ColumnId> = self.key_columns(entity, key)?;
        let given: Vec<Given> = columns.into_iter().map(Given::Column).collect();
        let name = |column: ColumnId| ty.column(column).name.clone();
        let mut fits: Vec<(bool, &TablePlan, Fit)> = self
            .tables_of(entity)
            .filter(|table| table.filter.is_none() && !matches!(table.role, TableRole::Index { .. }))
            .filter_map(|table| Some((!table.complete, table, fit(table, &given, None, &name).ok()?)))
            .filter(|(.., fit)| fit.is_determined())
            .collect();
        // Stable: among the complete tables the base table is first.
        fits.sort_by_key(|(is_incomplete, ..)| *is_incomplete);
        let (_, table, fit) = fits.into_iter().next()?;
        Some(KeyLoad {
            table: table.id,
            partition: fit.partition,
            clustering: fit.equal.into_iter().map(Part::From).collect(),
        })
    }

    fn key_columns(&self, entity: TypeId, key: &EntityKey) -> Option<Vec<ColumnId>> {
        key.fields.iter().map(|path| self.model.key_column(entity, path)).collect()
    }

    fn no_load(&self, entity: TypeId, key: &EntityKey) -> Diagnostic {
        let ty = self.model.ty(entity);
        let shown: Vec<String> = key.fields.iter().map(|path| self.model.path_shown(entity, path)).collect();
        let base = ty.tables.first().map_or("", |table| &table.name);
        let found = self.entities.iter().find(|found| found.entity == entity);
        let columns = self.key_columns(entity, key).unwrap_or_default();
        let names: Vec<&str> = columns.iter().map(|column| ty.column(*column).name.as_str()).collect();
        let rest =
            found.into_iter().flat_map(|found| &found.base_key).filter(|column| !columns.contains(column));
        let rest: Vec<&str> = rest.map(|column| ty.column(*column).name.as_str()).collect();
        let by: Vec<String> = names.iter().map(|name| crate::schema::snake(name)).collect();
        let clustering = match rest.is_empty() {
            true => String::new(),
            false => format!(", clustering: \"{}\"", rest.join(", ")),
        };
        let name = self.free_name(format!("{base}_by_{}", by.join("_and_")));
        let line = format!("@table(name: \"{name}\", partition: \"{}\"{clustering})", names.join(", "));
        let fault = refuse::l21(&ty.name, &shown.join(" "), key.span).fix(refuse::add_table(ty, &line));
        fault.help(format!("Add to `{}`: {line}", ty.name))
    }
}
