//! References: `@ref` fields, and the hidden columns that hold their keys.
//!
//! Comes in: drafts of fields; later, types with keys and tables. Goes out: hidden columns, and the source of every
//! `@ref` field, or the faults. Loading what a reference leads to is the executor's.

use super::bind::{Binder, argument_text, federation};
use super::column::{column_name, is_name, same_key_type, with_nearest};
use super::columns::{later, reference};
use super::scalar::scalar_name;
use super::{
    Column, ColumnId, ColumnType, FieldId, FieldSource, FieldType, Named, RefDecl, TypeId, TypeKind,
};
use crate::diagnostic::{Diagnostic, Span};

impl Binder<'_> {
    /// The column that holds a reference's key, made unless a field has its name.
    pub(super) fn add_ref_column(&mut self, ty: TypeId, index: usize) {
        let Some((target, column, key)) = self.ref_parts(ty, index) else { return };
        let fields = &self.drafts[ty.0 as usize].fields;
        let declared = fields.iter().any(|field| {
            field.used("ref").is_none() && field.used("read").is_none() && column_name(field) == column.0
        });
        let (at, non_null) = (fields[index].span, fields[index].ty.as_ref().is_some_and(FieldType::non_null));
        if declared {
            return;
        }
        let target_fields = &self.drafts[target.0 as usize].fields;
        let found = target_fields.iter().find(|field| *field.node.name == *key);
        let stored = found.and_then(|field| field.stored);
        let column_type = match found.and_then(|field| field.ty.as_ref()).map(FieldType::named) {
            Some(Named::Scalar(scalar)) => ColumnType::Scalar(stored.unwrap_or(scalar)),
            Some(Named::Enum(id)) => ColumnType::Enum(id),
            // Said when the reference itself is bound.
            _ => return,
        };
        let columns = &mut self.types[ty.0 as usize].columns;
        if let Some(before) = columns.iter_mut().find(|before| before.name == column.0) {
            before.non_null |= non_null;
            return;
        }
        columns.push(Column { name: column.0, ty: column_type, non_null, hidden: true, max: None, span: at });
    }

    /// Target type, column here (with its place) and the target's key field of a `@ref`; its faults are said once, by
    /// `bind_refs`.
    fn ref_parts(&self, ty: TypeId, index: usize) -> Option<(TypeId, (String, Span), String)> {
        let field = &self.drafts[ty.0 as usize].fields[index];
        let text = field.used("ref")?.text("key")?;
        let (column, key) = reference(text).ok()?;
        let Some(FieldType::Named { name: Named::Object(target), .. }) = field.ty else { return None };
        let key = match key {
            Some(key) => key,
            None => self.only_key(target)?,
        };
        // Derived types have no draft and no key.
        (target.0 as usize).lt(&self.drafts.len()).then_some((target, (column, text.span), key))
    }

    /// The one field of the type's first `@key`, or, without one, of its base table's partition.
    fn only_key(&self, ty: TypeId) -> Option<String> {
        let draft = self.drafts.get(ty.0 as usize)?;
        let mut keys = federation(draft.declaration, "key");
        let single = |text: &str| is_name(text.trim()).then(|| text.trim().to_string());
        let from_keys = keys.find_map(|(_, key)| single(argument_text(key, "fields")?));
        let base = draft.uses.iter().find(|used| used.name == "table");
        let from_base = base.and_then(|base| single(&base.text("partition")?.value));
        match self.types[ty.0 as usize].kind {
            TypeKind::Entity => from_base.or(from_keys),
            _ => from_keys,
        }
    }

    /// Binds every `@ref`, once keys and tables are known.
    pub(super) fn bind_refs(&mut self) {
        for ty in self.ids() {
            for index in 0..self.drafts[ty.0 as usize].fields.len() {
                let field = &self.drafts[ty.0 as usize].fields[index];
                let is_ref = field.used("ref").is_some() && field.uses.len() == 1;
                if is_ref && matches!(self.types[ty.0 as usize].kind, TypeKind::Entity | TypeKind::Udt) {
                    self.bind_ref(ty, index);
                }
            }
        }
    }

    fn bind_ref(&mut self, ty: TypeId, index: usize) {
        match self.ref_decl(ty, index) {
            Ok(Some(decl)) => {
                let name = self.drafts[ty.0 as usize].fields[index].node.name.to_string();
                let owner = &mut self.types[ty.0 as usize];
                if let Some(field) = owner.fields.iter_mut().find(|field| field.name == name) {
                    field.source = FieldSource::Ref(decl);
                }
            }
            Ok(None) => {}
            Err(fault) => self.faults.push(*fault),
        }
    }

    fn ref_decl(&self, ty: TypeId, index: usize) -> Result<Option<RefDecl>, Box<Diagnostic>> {
        let field = &self.drafts[ty.0 as usize].fields[index];
        let Some(text) = field.used("ref").and_then(|used| used.text("key")) else { return Ok(None) };
        reference(text)?;
        let fault = |message: String| Diagnostic::error("S041", text.span, message);
        let target = match &field.ty {
            None => return Ok(None),
            Some(FieldType::Named { name: Named::Object(target), .. })
                if matches!(self.types[target.0 as usize].kind, TypeKind::Entity | TypeKind::Stub) =>
            {
                *target
            }
            Some(FieldType::List { .. }) => return Err(Box::new(later("a list of references", text.span))),
            Some(FieldType::Named { name: Named::Object(target), .. }) if self.is_unclear(*target) => {
                return Ok(None);
            }
            Some(_) => {
                let named = field.node.ty.inner_named_type();
                return Err(fault(format!("`{}` refers to `{named}`, which has no key", field.node.name))
                    .label("no key")
                    .help("`@ref` leads to a type with `@table` or `@key`.")
                    .into());
            }
        };
        let owner = &self.types[target.0 as usize];
        let Some((_, (column, at), key)) = self.ref_parts(ty, index) else {
            return Err(fault(format!("`{}` has no key of one field", owner.name))
                .label("which key?")
                .help("Say which field of it the column holds: `@ref(key: \"userId -> id\")`. Keys of several fields are not supported yet.")
                .into());
        };
        let Some(key_field) = owner.field_named(&key) else {
            let fault = fault(format!("`{}` has no field `{key}`", owner.name)).label("not a field");
            return Err(
                with_nearest(fault, &key, owner.fields.iter().map(|field| field.name.as_str())).into()
            );
        };
        self.check_ref_target(target, key_field, &fault)?;
        let here = &self.types[ty.0 as usize];
        let Some(id) = here.column_named(&column) else {
            return Err(fault(format!("`{}` has no column `{column}`", here.name))
                .label("not a column")
                .help("Name the column that holds the key: it is made where none has its name.")
                .into());
        };
        let (Named::Scalar(_) | Named::Enum(_)) = owner.field(key_field).ty.named() else {
            return Err(fault(format!("`{}.{key}` is not a scalar", owner.name))
                .label("not a scalar")
                .help("A reference holds a key, and keys are made of scalars and enums.")
                .into());
        };
        if !same_key_type(&here.column(id).ty, owner.field(key_field).ty.named()) {
            let named = owner.field(key_field).ty.named();
            let (mine, theirs) = (self.column_text(&here.column(id).ty), self.named_text(named));
            let message = format!("`{column}` is `{mine}`, but `{}.{key}` is `{theirs}`", owner.name);
            let help = format!(
                "Declare `{column}` as `{theirs}`, or name another column: it is made where none has its name."
            );
            return Err(Diagnostic::error("S041", at, message).label(format!("`{mine}`")).help(help).into());
        }
        Ok(Some(RefDecl { target, key: vec![(key_field, id)] }))
    }

    fn named_text(&self, named: Named) -> String {
        match named {
            Named::Scalar(scalar) => scalar_name(scalar).to_string(),
            Named::Enum(id) => self.enums[id.0 as usize].name.clone(),
            Named::Object(id) => self.types[id.0 as usize].name.clone(),
        }
    }

    fn column_text(&self, ty: &ColumnType) -> String {
        match ty {
            ColumnType::Scalar(scalar) => scalar_name(*scalar).to_string(),
            ColumnType::Enum(id) => self.enums[id.0 as usize].name.clone(),
            ColumnType::Record(id) => self.types[id.0 as usize].name.clone(),
            ColumnType::List(_) | ColumnType::Set(_) | ColumnType::Map { .. } => "a list".to_string(),
        }
    }

    /// A type stored here is found by the key of its base table; another subgraph's by any of its keys.
    fn check_ref_target(
        &self,
        target: TypeId,
        key: FieldId,
        fault: &dyn Fn(String) -> Diagnostic,
    ) -> Result<(), Box<Diagnostic>> {
        let owner = &self.types[target.0 as usize];
        let key_name = &owner.field(key).name;
        if owner.kind == TypeKind::Stub {
            if owner.keys.iter().any(|known| known.fields == [key]) {
                return Ok(());
            }
            return Err(fault(format!("`{key_name}` is not a key of `{}`", owner.name))
                .label("not a key")
                .help(format!("Add `@key(fields: \"{key_name}\")` to `{}`.", owner.name))
                .into());
        }
        let Some(base) = owner.tables.first() else { return Ok(()) };
        let mut columns: Vec<ColumnId> = base.partition.iter().map(|part| part.column).collect();
        columns.extend(base.clustering.iter().map(|(part, _)| part.column));
        let is_base_key = columns
            .iter()
            .all(|&column| matches!(owner.field(key).source, FieldSource::Column(found) if found == column));
        if is_base_key {
            return Ok(());
        }
        Err(fault(format!("`{key_name}` is not the key of `{}`, the base table of `{}`", base.name, owner.name))
            .label("not the base key")
            .help("A reference holds the key of the other type's first table. Other keys, and keys of several columns, are not supported yet.")
            .into())
    }
}
