//! References to one of several entities: `@ref` on a field of an interface or union.
//!
//! Comes in: interfaces and unions with their members. Goes out: for each that a `@ref` leads to, what is stored of it: the
//! member's name, and for each member a record of its key; and the column of every such field, or the faults.

use super::bind::Binder;
use super::column::column_name;
use super::columns::{later, reference};
use super::{
    Column, ColumnId, ColumnType, Field, FieldId, FieldSource, FieldType, NAME_BYTES_MAX, Named, ObjectType,
    RefDecl, TypeId, TypeKind, path_shown, snake,
};
use crate::diagnostic::Diagnostic;

/// What follows an entity's name in that of the record that holds its key.
const KEY: &str = "__key";

impl Binder<'_> {
    /// Gives their columns to the interfaces and unions of entities that a `@ref` leads to.
    pub(super) fn bind_references_of_several(&mut self) {
        for (id, members) in self.variants.clone() {
            if members.is_empty() || !self.is_referred(id) || self.misfit(&members).is_some() {
                continue;
            }
            let keys: Vec<TypeId> = members.iter().map(|member| self.key_record(*member)).collect();
            let names = members.iter().map(|member| self.types[member.0 as usize].name.clone());
            let columns = names.collect::<Vec<_>>().into_iter().zip(keys).collect();
            self.set_variants(id, columns);
        }
    }

    fn is_referred(&self, id: TypeId) -> bool {
        let mut fields = self.drafts.iter().flat_map(|draft| &draft.fields);
        fields.any(|field| {
            field.used("ref").is_some() && field.ty.as_ref().is_some_and(|ty| ty.named() == Named::Object(id))
        })
    }

    /// The first member that is no entity.
    fn misfit(&self, members: &[TypeId]) -> Option<&ObjectType> {
        let mut types = members.iter().map(|member| &self.types[member.0 as usize]);
        types.find(|ty| !matches!(ty.kind, TypeKind::Entity | TypeKind::Stub))
    }

    /// The record that holds an entity's key; its columns follow once keys are bound.
    fn key_record(&mut self, of: TypeId) -> TypeId {
        let kind = TypeKind::Key { of };
        if let Some(found) = self.types.iter().position(|ty| ty.kind == kind) {
            return TypeId(u32::try_from(found).expect("types are counted in u32"));
        }
        let (entity, span) = (&self.types[of.0 as usize].name, self.types[of.0 as usize].span);
        let name = format!("{entity}{KEY}");
        let fault = |message: String| Diagnostic::error("S004", span, message).label("too long");
        if snake(entity).len() <= NAME_BYTES_MAX && snake(&name).len() > NAME_BYTES_MAX {
            let message =
                format!("the record of its key, `{}`, has {} bytes", snake(&name), snake(&name).len());
            let help = format!(
                "The store takes names of at most {NAME_BYTES_MAX} bytes. Give the type a shorter one."
            );
            self.faults.push(fault(message).help(help));
        }
        if self.named.contains_key(&name) {
            let message =
                format!("the type `{name}` has the name of a record of ours: the key of `{entity}`");
            self.faults.push(
                Diagnostic::error("S003", span, message)
                    .label("its key is stored")
                    .help(format!("Give the type `{name}` another name.")),
            );
        }
        self.types.push(ObjectType { kind, ..ObjectType::new(name, span) });
        TypeId(u32::try_from(self.types.len() - 1).expect("types are counted in u32"))
    }

    /// The interface or union that a `@ref` field is of.
    pub(super) fn reference_of_several(&self, ty: TypeId, index: usize) -> Option<TypeId> {
        match self.drafts[ty.0 as usize].fields[index].ty.as_ref()?.named() {
            Named::Object(id) if self.types[id.0 as usize].kind == TypeKind::Variants => Some(id),
            _ => None,
        }
    }

    /// Binds a field that refers to one of several entities: it is the column that is made for it.
    pub(super) fn bind_reference_of_several(&mut self, ty: TypeId, index: usize, of: TypeId) {
        match self.column_of_several(ty, index, of) {
            Ok(Some(column)) => {
                self.push_field(ty, index, FieldSource::Column(column), Vec::new());
            }
            Ok(None) => {}
            Err(fault) => self.faults.push(*fault),
        }
    }

    fn column_of_several(
        &mut self,
        ty: TypeId,
        index: usize,
        of: TypeId,
    ) -> Result<Option<ColumnId>, Box<Diagnostic>> {
        let fields = &self.drafts[ty.0 as usize].fields;
        let field = &fields[index];
        let Some(text) = field.used("ref").and_then(|used| used.text("key")) else { return Ok(None) };
        let (name, several) = (&field.node.name, &self.types[of.0 as usize]);
        let fault = |message: String| Diagnostic::error("S041", text.span, message);
        let Some(FieldType::Named { non_null, .. }) = field.ty else {
            return Err(Box::new(later("a list of references to one of several entities", text.span)));
        };
        let pairs = reference(text)?;
        let [pair] = &pairs[..] else {
            let message =
                format!("`{name}` may be one of several entities, so one column holds which one and its key");
            return Err(Box::new(
                fault(message)
                    .label("several columns")
                    .help(format!("Name one: `@ref(key: \"{name}Key\")`.")),
            ));
        };
        if let Some(path) = &pair.path {
            let message = format!("`{name}` may be one of several entities, each with a key of its own");
            let at = Diagnostic::error("S041", path.span, message).label("of which one?");
            return Err(Box::new(
                at.help(format!("Name the column alone: `@ref(key: \"{}\")`.", pair.column)),
            ));
        }
        let is_declared = fields.iter().any(|other| {
            other.used("ref").is_none() && other.used("read").is_none() && column_name(other) == pair.column
        });
        let here = &self.types[ty.0 as usize];
        let made = here.column_named(&pair.column);
        let is_another = made.is_some_and(|made| here.column(made).ty != ColumnType::Record(of));
        if is_declared || is_another {
            let message = format!("`{}` is another column of `{}`", pair.column, here.name);
            let help = format!(
                "Name one that is not declared: it is made, and holds the name and the key of a `{}`.",
                several.name
            );
            return Err(Box::new(fault(message).label("taken").help(help)));
        }
        if several.columns.is_empty() {
            return Err(Box::new(self.unfit_reference(of, name, text.span)));
        }
        if let Some(made) = made {
            self.types[ty.0 as usize].columns[made.0 as usize].non_null |= non_null;
            return Ok(Some(made));
        }
        let column = Column {
            name: pair.column.clone(),
            ty: ColumnType::Record(of),
            non_null,
            hidden: true,
            max: None,
            vector: None,
            span: field.span,
        };
        let columns = &mut self.types[ty.0 as usize].columns;
        columns.push(column);
        Ok(Some(ColumnId(u32::try_from(columns.len() - 1).expect("columns are counted in u32"))))
    }

    /// Why no key of an interface or union can be stored.
    fn unfit_reference(&self, of: TypeId, field: &str, at: crate::diagnostic::Span) -> Diagnostic {
        let several = &self.types[of.0 as usize].name;
        let members =
            self.variants.iter().find(|(known, _)| *known == of).map_or(&[][..], |(_, members)| members);
        let fault = |message: String| Diagnostic::error("S041", at, message);
        match self.misfit(members) {
            Some(other) => fault(format!(
                "`{field}` cannot refer to a `{several}`: `{}` has no key",
                other.name
            ))
            .label("not all entities")
            .help(
                "Values are stored whole, without `@ref`; references lead to types with `@table` or `@key`.",
            ),
            None => fault(format!("no type implements `{several}`, so `{field}` refers to nothing"))
                .label("nothing to refer to")
                .help(format!("Write `implements {several}` on its entities.")),
        }
    }

    /// Gives every record of a key its columns, and the reference that they are, once keys and tables are bound.
    pub(super) fn bind_key_records(&mut self) {
        for index in 0..self.types.len() {
            let TypeKind::Key { of } = self.types[index].kind else { continue };
            match self.key_fields_of(of) {
                Ok(fields) => self.set_key_record(index, of, fields),
                Err(fault) => self.faults.extend(fault.map(|fault| *fault)),
            }
        }
    }

    fn set_key_record(&mut self, index: usize, of: TypeId, fields: Vec<(FieldId, ColumnType)>) {
        let (span, owner) = (self.types[index].span, &self.types[of.0 as usize]);
        let column = |(id, ty): &(FieldId, ColumnType)| Column {
            name: owner.field(*id).name.clone(),
            ty: ty.clone(),
            non_null: true,
            hidden: false,
            max: None,
            vector: None,
            span,
        };
        let columns: Vec<Column> = fields.iter().map(column).collect();
        let key = fields.into_iter().zip(0..).map(|((id, _), column)| (vec![id], ColumnId(column))).collect();
        let record = &mut self.types[index];
        record.columns = columns;
        record.fields.push(Field {
            name: "entity".to_owned(),
            ty: FieldType::Named { name: Named::Object(of), non_null: false },
            args: Vec::new(),
            source: FieldSource::Ref(RefDecl { target: of, key }),
            span,
        });
    }

    /// The fields of the key by which an entity is referred to: that of its base table, or of its first `@key`. An error
    /// without a fault: the key has one of its own.
    fn key_fields_of(&self, of: TypeId) -> Result<Vec<(FieldId, ColumnType)>, Option<Box<Diagnostic>>> {
        let owner = &self.types[of.0 as usize];
        let fault = |what: String| {
            let message =
                format!("`{}` cannot be one of several entities that a field refers to: {what}", owner.name);
            let help = "Each of them has a key of fields of its own, all in the graph.";
            Some(Box::new(Diagnostic::error("S041", owner.span, message).label("its key").help(help)))
        };
        if owner.kind == TypeKind::Stub {
            let Some(key) = owner.keys.first() else { return Err(None) };
            let one = |path: &super::KeyPath| match path[..] {
                [id] => {
                    let ty = self.draft_type(of, std::slice::from_ref(&owner.field(id).name));
                    ty.map(|ty| (id, ty)).ok_or(None)
                }
                _ => Err(fault(format!("`{}` is inside another", path_shown(&self.types, of, path)))),
            };
            return key.fields.iter().map(one).collect();
        }
        let Some(base) = owner.tables.first() else { return Err(None) };
        let one = |column: ColumnId| {
            let is_it =
                |field: &&Field| matches!(field.source, FieldSource::Column(found) if found == column);
            let id = owner.fields.iter().find(is_it).and_then(|field| owner.field_named(&field.name));
            let column = owner.column(column);
            match id {
                Some(id) => Ok((id, column.ty.clone())),
                None => Err(fault(format!("`{}`, of its key, is no field", column.name))),
            }
        };
        base.key_columns().into_iter().map(one).collect()
    }
}
