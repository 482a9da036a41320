//! Plans the fields that lead to other entities by a key at hand.
//!
//! Comes in: a `@ref`, or an entity inside another one's key, and where its key stands. Goes out: what is written for it, and
//! the site that loads it. Everything else of an operation is planned by `select`.

use apollo_compiler::Node;
use apollo_compiler::executable as exe;

use crate::schema::{ColumnId, FieldId, FieldType, KeyPath, Named, RefDecl, TypeId, TypeKind};

use super::error::{Fault, Refusal};
use super::planned::{Load, Set, Shape, Spot, What};
use super::select::{Planner, View, sets};

impl<'a> Planner<'a> {
    /// An entity inside the key of another subgraph's entity: its key came with that one's. One that is stored here is
    /// loaded by it.
    pub(super) fn inner_entity(
        &mut self,
        ty: TypeId,
        id: FieldId,
        view: View<'_>,
        spot: &Spot,
        fields: &[&'a Node<exe::Field>],
    ) -> Result<Option<What>, Refusal> {
        let FieldType::Named { name: Named::Object(inner), .. } = self.model.ty(ty).field(id).ty else {
            return Ok(None);
        };
        let is_stored = self.model.ty(inner).kind == TypeKind::Entity;
        match view {
            View::Referred { reference, prefix } => {
                let path = [prefix, &[id]].concat();
                let parts: Vec<(&[FieldId], usize)> = reference
                    .key
                    .iter()
                    .filter(|(key, _)| key.len() > path.len() && key.starts_with(&path))
                    .map(|(key, column)| (&key[path.len()..], column.0 as usize))
                    .collect();
                parts.iter().for_each(|(_, cell)| self.need(spot, *cell));
                if parts.is_empty() {
                    return Ok(None);
                }
                if is_stored {
                    return self.by_base_key(inner, &parts, spot.clone(), fields).map(Some);
                }
                let view = View::Referred { reference, prefix: &path };
                let fields = self.object(inner, view, spot, &sets(fields))?;
                Ok(Some(What::Stub { key: parts.into_iter().map(|(_, cell)| cell).collect(), fields }))
            }
            View::Represented if is_stored => {
                let ids = (0..).map(FieldId).take(self.model.ty(inner).fields.len());
                let ids: Vec<FieldId> = ids.collect();
                let parts: Vec<(&[FieldId], usize)> =
                    ids.iter().map(|id| (std::slice::from_ref(id), id.0 as usize)).collect();
                let mut inside = spot.clone();
                inside.path.push(id.0 as usize);
                self.by_base_key(inner, &parts, inside, fields).map(Some)
            }
            View::Represented | View::Columns => Ok(None),
        }
    }

    /// The row of an entity by its base key, of which the parts are at hand, each with its cell.
    fn by_base_key(
        &mut self,
        entity: TypeId,
        parts: &[(&[FieldId], usize)],
        spot: Spot,
        fields: &[&'a Node<exe::Field>],
    ) -> Result<What, Refusal> {
        let cell_of = |wanted: &ColumnId| {
            let part = parts.iter().find(|(path, _)| self.model.key_column(entity, path) == Some(*wanted));
            part.map(|(_, cell)| *cell)
        };
        let key: Option<Vec<usize>> = self.plan.entity(entity).base_key.iter().map(cell_of).collect();
        let Some(key) = key else { return Ok(What::Nothing) };
        let site = self.site(spot, Load::Ref { key }, entity);
        Ok(What::Row { site, fields: self.rows_of(site, fields)? })
    }

    pub(super) fn reference(
        &mut self,
        ty: TypeId,
        view: View<'_>,
        reference: &RefDecl,
        spot: &Spot,
        fields: &[&'a Node<exe::Field>],
    ) -> Result<What, Refusal> {
        let cells: Vec<usize> =
            reference.key.iter().map(|(_, column)| self.cell_of_column(ty, *column, view)).collect();
        for cell in &cells {
            self.need(spot, *cell);
        }
        let target = self.model.ty(reference.target);
        if target.kind == TypeKind::Stub {
            let view = View::Referred { reference, prefix: &[] };
            let fields = self.object(reference.target, view, spot, &sets(fields))?;
            return Ok(What::Stub { key: cells, fields });
        }
        let mut key = Vec::new();
        for wanted in &self.plan.entity(reference.target).base_key {
            let holds = |path: &KeyPath| self.model.key_column(reference.target, path) == Some(*wanted);
            let position = reference.key.iter().position(|(path, _)| holds(path));
            let Some(position) = position else {
                let cause = format!("a @ref to {} does not hold its base key", target.name);
                return Err(Refusal::of(Fault::internal("planning an operation", cause)));
            };
            key.push(cells[position]);
        }
        let site = self.site(spot.clone(), Load::Ref { key }, reference.target);
        let fields = self.rows_of(site, fields)?;
        Ok(What::Row { site, fields })
    }

    /// A list of references: every key of the list is an object of its own, whose only cell is the key.
    pub(super) fn references(
        &mut self,
        ty: TypeId,
        item_non_null: bool,
        reference: &RefDecl,
        spot: &Spot,
        fields: &[&'a Node<exe::Field>],
    ) -> Result<What, Refusal> {
        let [(path, column)] = &reference.key[..] else {
            let cause = "a list of references has a key of several parts";
            return Err(Refusal::of(Fault::internal("planning an operation", cause)));
        };
        let cell = column.0 as usize;
        self.need(spot, cell);
        let level = self.level_below(spot.set);
        self.planned.sets.push(Set::Elements {
            of: spot.set,
            path: spot.path.clone(),
            cell,
            key: None,
            level,
        });
        let set = self.planned.sets.len() - 1;
        let one = RefDecl { target: reference.target, key: vec![(path.clone(), ColumnId(0))] };
        let inside = Spot { set, path: Vec::new() };
        let what = Box::new(self.reference(ty, View::Columns, &one, &inside, fields)?);
        Ok(What::Value { cell, shape: Shape::References { item_non_null, what, set } })
    }
}
