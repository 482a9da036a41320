//! References: `@ref` fields, and the hidden columns that hold their keys.
//!
//! Comes in: drafts of fields; later, types with keys and tables. Goes out: hidden columns, and the source of every
//! `@ref` field, or the faults. Loading what a reference leads to is the executor's.

use super::bind::{Binder, argument_text, federation};
use super::column::{column_name, is_name, same_key_type, with_nearest};
use super::columns::{Pair, later, reference};
use super::fieldset::Path;
use super::scalar::scalar_name;
use super::{
    Column, ColumnId, ColumnType, EntityKey, FieldSource, FieldType, KeyPath, Named, ObjectType, RefDecl,
    TypeId, TypeKind, key_column, path_shown,
};
use crate::diagnostic::{Diagnostic, Span};

/// A column here and the part of the target's key that it holds.
struct Part {
    column: String,
    at: Span,
    path: Path,
}

impl Binder<'_> {
    /// The columns that hold a reference's key, each made unless a field has its name.
    pub(super) fn add_ref_columns(&mut self, ty: TypeId, index: usize) {
        // The keys of a list are declared: only the author knows how many there are at most.
        if matches!(self.drafts[ty.0 as usize].fields[index].ty, Some(FieldType::List { .. })) {
            return;
        }
        let Some((target, parts)) = self.ref_parts(ty, index) else { return };
        for part in parts {
            self.add_ref_column(ty, index, target, part);
        }
    }

    fn add_ref_column(&mut self, ty: TypeId, index: usize, target: TypeId, part: Part) {
        let fields = &self.drafts[ty.0 as usize].fields;
        let declared = fields.iter().any(|field| {
            field.used("ref").is_none() && field.used("read").is_none() && column_name(field) == part.column
        });
        let (at, non_null) = (fields[index].span, fields[index].ty.as_ref().is_some_and(FieldType::non_null));
        // Where there is no such field: said when the reference itself is bound.
        let Some(column_type) = self.draft_type(target, &part.path.names).filter(|_| !declared) else {
            return;
        };
        let columns = &mut self.types[ty.0 as usize].columns;
        if let Some(before) = columns.iter_mut().find(|before| before.name == part.column) {
            before.non_null |= non_null;
            return;
        }
        columns.push(Column {
            name: part.column,
            ty: column_type,
            non_null,
            hidden: true,
            max: None,
            vector: None,
            span: at,
        });
    }

    /// What is stored for the scalar at the end of a path of fields.
    pub(super) fn draft_type(&self, ty: TypeId, names: &[String]) -> Option<ColumnType> {
        let (name, rest) = names.split_first()?;
        let field = self.drafts.get(ty.0 as usize)?.fields.iter().find(|field| *field.node.name == **name)?;
        match (field.ty.as_ref()?.named(), rest) {
            (Named::Scalar(scalar), []) => Some(ColumnType::Scalar(field.stored.unwrap_or(scalar))),
            (Named::Enum(id), []) => Some(ColumnType::Enum(id)),
            (Named::Object(id), [_, ..]) => self.draft_type(id, rest),
            _ => None,
        }
    }

    /// Target type and parts of a `@ref`; its faults are said once, by `bind_refs`.
    fn ref_parts(&self, ty: TypeId, index: usize) -> Option<(TypeId, Vec<Part>)> {
        let field = &self.drafts[ty.0 as usize].fields[index];
        let pairs = reference(field.used("ref")?.text("key")?).ok()?;
        let target = referred(field.ty.as_ref()?)?;
        // Derived types have no draft and no key.
        self.drafts.get(target.0 as usize)?;
        let alone = pairs.len() == 1;
        let parts = pairs.into_iter().map(|Pair { column, at, path }| {
            let path = match path {
                Some(path) => path,
                None if alone => Path { names: vec![self.only_key(target)?], span: at },
                None => Path { names: vec![column.clone()], span: at },
            };
            Some(Part { column, at, path })
        });
        Some((target, parts.collect::<Option<_>>()?))
    }

    /// The one field of the type's first `@key`, or, without one, of its base table's partition.
    fn only_key(&self, ty: TypeId) -> Option<String> {
        let draft = self.drafts.get(ty.0 as usize)?;
        let mut keys = federation(draft.declaration, "key");
        let single = |text: &str| is_name(text.trim()).then(|| text.trim().to_string());
        let from_keys = keys.find_map(|(_, key)| single(argument_text(key, "fields")?));
        let base = draft.uses.iter().find(|used| used.name == "table" && used.text("clustering").is_none());
        let from_base = base.and_then(|base| single(&base.text("partition")?.value));
        match self.types[ty.0 as usize].kind {
            TypeKind::Entity => from_base.or(from_keys),
            _ => from_keys,
        }
    }

    /// Binds every `@ref`, once keys and tables are known. One whose key goes through another is bound after that one:
    /// each round binds what it can.
    pub(super) fn bind_refs(&mut self) {
        let mut open: Vec<(TypeId, usize)> = Vec::new();
        for ty in self.ids() {
            for index in 0..self.drafts[ty.0 as usize].fields.len() {
                let field = &self.drafts[ty.0 as usize].fields[index];
                let is_ref = field.used("ref").is_some()
                    && field.used("read").is_none()
                    && field.used("column").is_none()
                    && self.reference_of_several(ty, index).is_none();
                if is_ref && matches!(self.types[ty.0 as usize].kind, TypeKind::Entity | TypeKind::Udt) {
                    open.push((ty, index));
                }
            }
        }
        loop {
            let before = open.len();
            let mut faults = Vec::new();
            open.retain(|(ty, index)| match self.ref_decl(*ty, *index) {
                Ok(Some(decl)) => {
                    self.set_ref(*ty, *index, decl);
                    false
                }
                Ok(None) => false,
                Err(fault) => {
                    faults.push(*fault);
                    true
                }
            });
            if open.len() == before || open.is_empty() {
                self.faults.extend(faults);
                return;
            }
        }
    }

    fn set_ref(&mut self, ty: TypeId, index: usize, decl: RefDecl) {
        let name = self.drafts[ty.0 as usize].fields[index].node.name.to_string();
        let owner = &mut self.types[ty.0 as usize];
        if let Some(field) = owner.fields.iter_mut().find(|field| field.name == name) {
            field.source = FieldSource::Ref(decl);
        }
    }

    fn ref_decl(&self, ty: TypeId, index: usize) -> Result<Option<RefDecl>, Box<Diagnostic>> {
        let field = &self.drafts[ty.0 as usize].fields[index];
        let Some(text) = field.used("ref").and_then(|used| used.text("key")) else { return Ok(None) };
        reference(text)?;
        let fault = |message: String| Diagnostic::error("S041", text.span, message);
        let Some(declared) = &field.ty else { return Ok(None) };
        let is_list = matches!(declared, FieldType::List { .. });
        let target = match referred(declared) {
            Some(target)
                if matches!(self.types[target.0 as usize].kind, TypeKind::Entity | TypeKind::Stub) =>
            {
                target
            }
            Some(target) if self.is_unclear(target) => return Ok(None),
            None if is_list => return Err(Box::new(later("a list of lists", text.span))),
            _ => {
                let named = field.node.ty.inner_named_type();
                return Err(fault(format!("`{}` refers to `{named}`, which has no key", field.node.name))
                    .label("no key")
                    .help("`@ref` leads to a type with `@table` or `@key`.")
                    .into());
            }
        };
        let parts = self.ref_parts(ty, index).map(|(_, parts)| parts);
        if is_list && parts.as_ref().is_none_or(|parts| parts.len() > 1) {
            let name = &self.types[target.0 as usize].name;
            let message =
                format!("`{}` is a list of references, and a list holds keys of one field", field.node.name);
            return Err(fault(message)
                .label("several fields")
                .help(format!("Refer to a type with such a key, or make a value type with a `@ref` to `{name}` and store a list of it."))
                .into());
        }
        let Some(parts) = parts else {
            let name = &self.types[target.0 as usize].name;
            let fault = fault(format!("`{name}` has no key of one field")).label("which key?");
            return Err(Box::new(match self.key_example(target) {
                Some(example) => fault.help(format!(
                    "Say which column here holds which field of it: `@ref(key: \"{example}\")`."
                )),
                None => fault.help("Say which field of it the column holds: `@ref(key: \"userId -> id\")`."),
            }));
        };
        let mut key = Vec::new();
        for part in &parts {
            let path = self.path_in(target, &part.path, "S041")?;
            key.push((path.clone(), self.ref_column((ty, declared), target, part, &path)?));
        }
        self.check_ref_target(target, &key, &fault)?;
        Ok(Some(RefDecl { target, key }))
    }

    /// The column here that holds a part of the key.
    fn ref_column(
        &self,
        (ty, declared): (TypeId, &FieldType),
        target: TypeId,
        part: &Part,
        path: &KeyPath,
    ) -> Result<ColumnId, Box<Diagnostic>> {
        let Part { column, at, .. } = part;
        let here = &self.types[ty.0 as usize];
        let is_list = matches!(declared, FieldType::List { .. });
        let stored = key_column(&self.types, target, path)
            .and_then(|column| self.types[target.0 as usize].column(column).ty.named());
        let theirs = stored.unwrap_or_else(|| self.leaf(target, path));
        let Some(id) = here.column_named(column) else {
            let message = format!("`{}` has no column `{column}`", here.name);
            let fault = Diagnostic::error("S041", *at, message).label("not a column");
            return Err(Box::new(match is_list {
                true => fault.help(format!(
                    "Declare the list of keys, with its bound: `{column}: [{}!]! @column(max: 100)`, with `hidden: true` where \
                     it should not be in the graph.",
                    self.named_text(theirs)
                )),
                false => fault.help("Name the column that holds the key: it is made where none has its name."),
            }));
        };
        let mine = match (&here.column(id).ty, is_list) {
            (ColumnType::List(of) | ColumnType::Set(of), true) => &**of,
            (ty, _) => ty,
        };
        let is_collection = matches!(here.column(id).ty, ColumnType::List(_) | ColumnType::Set(_));
        if same_key_type(mine, theirs) && is_collection == is_list {
            if declared.non_null() && is_list && !here.column(id).non_null {
                let message = format!("the list may not be null, but `{column}`, which holds its keys, may");
                let help = format!("Write the type of `{column}` with `!`, or leave it out of the list's.");
                return Err(Diagnostic::error("S041", *at, message).label("nullable").help(help).into());
            }
            return Ok(id);
        }
        let (mine, theirs) = (self.column_text(&here.column(id).ty), self.named_text(theirs));
        let name = &self.types[target.0 as usize].name;
        let (message, help) = match is_list {
            true => (
                format!("`{column}` is `{mine}`, expected `[{theirs}!]`: the keys of `{name}`"),
                format!("Declare `{column}` as `[{theirs}!]`, with `@column(max:)`: a list of keys."),
            ),
            false => (
                format!("`{column}` is `{mine}`, but `{name}.{}` is `{theirs}`", part.path.shown()),
                format!(
                    "Declare `{column}` as `{theirs}`, or name another column: it is made where none has its name."
                ),
            ),
        };
        Err(Diagnostic::error("S041", *at, message).label(format!("`{mine}`")).help(help).into())
    }

    /// The type of the scalar at the end of a path.
    fn leaf(&self, ty: TypeId, path: &KeyPath) -> Named {
        let (mut ty, mut named) = (ty, Named::Object(ty));
        for id in path {
            named = self.types[ty.0 as usize].field(*id).ty.named();
            if let Named::Object(inner) = named {
                ty = inner;
            }
        }
        named
    }

    /// The fields of a path of names: the last a scalar, the others types with a key.
    pub(super) fn path_in(
        &self,
        ty: TypeId,
        path: &Path,
        code: &'static str,
    ) -> Result<KeyPath, Box<Diagnostic>> {
        let (mut owner, mut fields) = (ty, Vec::new());
        for (at, name) in path.names.iter().enumerate() {
            let found = &self.types[owner.0 as usize];
            let Some(id) = found.field_named(name) else {
                let message = format!("`{}` has no field `{name}`", found.name);
                let fault = Diagnostic::error(code, path.span, message).label("not a field");
                let names = found.fields.iter().map(|field| field.name.as_str());
                return Err(with_nearest(fault, name, names).into());
            };
            fields.push(id);
            let is_last = at + 1 == path.names.len();
            match &found.field(id).ty {
                FieldType::Named { name: Named::Scalar(_) | Named::Enum(_), .. } if is_last => {}
                FieldType::Named { name: Named::Object(inner), .. } if !is_last && self.has_key(*inner) => {
                    owner = *inner;
                }
                _ if is_last => {
                    let message = format!("`{}.{name}` is not a scalar", found.name);
                    let help = "Keys are made of scalars and enums; for a reference, name the key inside: `org { id }`.";
                    return Err(Diagnostic::error(code, path.span, message)
                        .label("not a scalar")
                        .help(help)
                        .into());
                }
                _ => {
                    let message = format!("`{}.{name}` leads to no type with a key", found.name);
                    let help = "Inside a key's braces stand the key fields of another entity.";
                    return Err(Diagnostic::error(code, path.span, message)
                        .label("no entity")
                        .help(help)
                        .into());
                }
            }
        }
        Ok(fields)
    }

    fn has_key(&self, ty: TypeId) -> bool {
        matches!(self.types[ty.0 as usize].kind, TypeKind::Entity | TypeKind::Stub)
    }

    fn named_text(&self, named: Named) -> String {
        match named {
            Named::Scalar(scalar) => scalar_name(scalar).to_string(),
            Named::Enum(id) => self.enums[id.0 as usize].name.clone(),
            Named::Object(id) => self.types[id.0 as usize].name.clone(),
        }
    }

    fn column_text(&self, ty: &ColumnType) -> String {
        match ty.named() {
            Some(named) => self.named_text(named),
            None => match ty {
                ColumnType::Record(id) => self.types[id.0 as usize].name.clone(),
                ColumnType::List(of) | ColumnType::Set(of) => format!("[{}!]", self.column_text(of)),
                _ => "a list".to_string(),
            },
        }
    }

    /// What `@ref(key:)` would be for the whole key of a type: that of its base table, or its first `@key`.
    fn key_example(&self, ty: TypeId) -> Option<String> {
        let owner = &self.types[ty.0 as usize];
        let paths: Vec<String> = match owner.tables.first() {
            Some(base) => base
                .key_columns()
                .iter()
                .map(|column| Some(path_shown(&self.types, ty, &column_path(owner, *column)?)))
                .collect::<Option<_>>()?,
            None => owner.keys.first()?.fields.iter().map(|path| path_shown(&self.types, ty, path)).collect(),
        };
        let pair = |path: &String| {
            let first = path.split(' ').next().unwrap_or_default();
            let (head, tail) = first.split_at_checked(1).unwrap_or_default();
            format!("{}{}{tail} -> {path}", owner.name.to_ascii_lowercase(), head.to_ascii_uppercase())
        };
        Some(paths.iter().map(pair).collect::<Vec<_>>().join(", "))
    }

    /// A type stored here is found by the whole key of its base table; another subgraph's by any of its keys.
    fn check_ref_target(
        &self,
        target: TypeId,
        key: &[(KeyPath, ColumnId)],
        fault: &dyn Fn(String) -> Diagnostic,
    ) -> Result<(), Box<Diagnostic>> {
        let owner = &self.types[target.0 as usize];
        let shown: Vec<String> = key.iter().map(|(path, _)| path_shown(&self.types, target, path)).collect();
        let shown = shown.join(", ");
        if owner.kind == TypeKind::Stub {
            let is_key = |known: &EntityKey| {
                known.fields.len() == key.len()
                    && known.fields.iter().all(|path| key.iter().any(|(other, _)| other == path))
            };
            if owner.keys.iter().any(is_key) {
                return Ok(());
            }
            return Err(fault(format!("`{shown}` is not a key of `{}`", owner.name))
                .label("not a key")
                .help(format!("Add `@key(fields: \"{}\")` to `{}`.", shown.replace(',', ""), owner.name))
                .into());
        }
        let Some(base) = owner.tables.first() else { return Ok(()) };
        let wanted = base.key_columns();
        let given: Vec<Option<ColumnId>> =
            key.iter().map(|(path, _)| key_column(&self.types, target, path)).collect();
        let is_base_key =
            wanted.len() == given.len() && wanted.iter().all(|column| given.contains(&Some(*column)));
        if is_base_key {
            return Ok(());
        }
        let names: Vec<&str> = wanted.iter().map(|column| owner.column(*column).name.as_str()).collect();
        Err(fault(format!("`{shown}` is not the key of `{}`, the base table of `{}`", base.name, owner.name))
            .label("not the base key")
            .help(format!(
                "A reference holds the whole key of the other type's first table: `{}`.",
                names.join(", ")
            ))
            .into())
    }
}

/// The type that a reference, or a list of them, is of; `None` for anything else.
fn referred(ty: &FieldType) -> Option<TypeId> {
    match ty {
        FieldType::Named { name: Named::Object(target), .. } => Some(*target),
        FieldType::List { of, .. } => match **of {
            FieldType::Named { name: Named::Object(target), .. } => Some(target),
            _ => None,
        },
        FieldType::Named { .. } => None,
    }
}

/// The path of fields at whose end a column's value stands.
fn column_path(owner: &ObjectType, column: ColumnId) -> Option<KeyPath> {
    (0..).map(super::FieldId).zip(&owner.fields).find_map(|(id, field)| match &field.source {
        FieldSource::Column(found) if *found == column => Some(vec![id]),
        FieldSource::Ref(decl) => {
            let (path, _) = decl.key.iter().find(|(_, held)| *held == column)?;
            Some([&[id], path.as_slice()].concat())
        }
        _ => None,
    })
}
