//! Interfaces and unions: names for one of several object types.
//!
//! Comes in: their declarations. Goes out: a type for each, which stores a value of one of its members: the member's name
//! (`__typename`), and a column for each member, of which that one's is there. Members that can be stored so are value
//! types; over entities an interface or union names them in operations, and `one_of` stores references to them.

use apollo_compiler::Name;

use super::bind::{Binder, never_defined};
use super::parse::{Declarations, In, name_span};
use super::{Column, ColumnType, EnumId, EnumType, Named, ObjectType, TypeId, TypeKind};
use crate::diagnostic::{Diagnostic, Span};

/// The column that says which member a value is of.
pub(super) const TYPE_NAME: &str = "__typename";

/// An interface or union, with the names of its members.
struct Abstract {
    name: String,
    span: Span,
    members: Vec<(String, Span)>,
}

impl Binder<'_> {
    /// Gives every interface and union a number, and every object type the names of those that it belongs to.
    pub(super) fn add_abstracts(&mut self, declarations: &Declarations<'_>) {
        let interfaces =
            declarations.interfaces.iter().map(|found| ("interface", found.defined, found.name, found.span));
        let unions = declarations.unions.iter().map(|found| ("union", found.defined, found.name, found.span));
        for (what, _, name, span) in interfaces.chain(unions).filter(|(_, defined, ..)| !defined) {
            self.faults.push(never_defined(what, name, span));
        }
        for found in abstracts(declarations) {
            let members = self.members(&found);
            let id = TypeId(u32::try_from(self.types.len()).expect("types are counted in u32"));
            for member in &members {
                self.types[member.0 as usize].belongs_to.push(found.name.clone());
            }
            self.types.push(ObjectType {
                kind: TypeKind::Variants,
                ..ObjectType::new(found.name.clone(), found.span)
            });
            self.variants.push((id, members));
            self.name_type(found.name, Named::Object(id), found.span);
        }
    }

    fn members(&mut self, of: &Abstract) -> Vec<TypeId> {
        let mut members = Vec::new();
        for (name, at) in &of.members {
            match self.named.get(name) {
                Some(Named::Object(id)) if !members.contains(id) => members.push(*id),
                Some(Named::Object(_)) => {}
                _ => {
                    let message = format!("`{}` has the member `{name}`, which is no object type", of.name);
                    self.faults.push(
                        Diagnostic::error("S020", *at, message)
                            .label("not an object type")
                            .help("Name types that are declared by `type`."),
                    );
                }
            }
        }
        members
    }

    /// Gives the columns to those whose members are all value types.
    pub(super) fn bind_variants(&mut self) {
        for (id, members) in self.variants.clone() {
            let is_value = |member: &TypeId| self.types[member.0 as usize].kind == TypeKind::Udt;
            if members.is_empty() || !members.iter().all(is_value) {
                continue;
            }
            let name = |member: TypeId| (self.types[member.0 as usize].name.clone(), member);
            let members = members.into_iter().map(name).collect();
            self.set_variants(id, members);
        }
    }

    /// Makes an interface or union store one of several records, each under the name of its member.
    pub(super) fn set_variants(&mut self, id: TypeId, members: Vec<(String, TypeId)>) {
        let (name, span) = (self.types[id.0 as usize].name.clone(), self.types[id.0 as usize].span);
        let names = members.iter().map(|(name, _)| name.clone()).collect();
        let values = EnumId(u32::try_from(self.enums.len()).expect("enums are counted in u32"));
        self.enums.push(EnumType { name, values: names, span });
        let column = |name: String, ty, non_null| Column {
            name,
            ty,
            non_null,
            hidden: false,
            max: None,
            vector: None,
            span,
        };
        let mut columns = vec![column(TYPE_NAME.to_string(), ColumnType::Enum(values), true)];
        columns.extend(
            members.into_iter().map(|(name, record)| column(name, ColumnType::Record(record), false)),
        );
        self.types[id.0 as usize].columns = columns;
    }

    /// Why a field cannot store a value of an interface or union; `None` if it can.
    pub(super) fn unfit_variants(
        &self,
        id: TypeId,
        (field, is_list): (&str, bool),
        at: Span,
    ) -> Option<Diagnostic> {
        let found = &self.types[id.0 as usize];
        let members =
            self.variants.iter().find(|(known, _)| *known == id).map(|(_, members)| members.as_slice());
        let mut members = members.unwrap_or_default().iter().map(|member| &self.types[member.0 as usize]);
        if found.columns.is_empty() && members.len() == 0 {
            let message = format!("no type implements `{}`, so `{field}` has no value", found.name);
            let help = format!("Write `implements {}` on its value types.", found.name);
            return Some(Diagnostic::error("S046", at, message).label("nothing to store").help(help));
        }
        let other = members.find(|member| member.kind != TypeKind::Udt)?;
        let message = format!("`{field}` cannot store a `{}`: `{}` is no value type", found.name, other.name);
        let help = match (members.all(|member| member.kind != TypeKind::Udt), is_list) {
            (true, false) => format!(
                "To refer to one of several entities, add `@ref(key: \"{field}Key\")`: which one, and its key, is stored."
            ),
            (true, true) => "A list holds value types; one field alone may refer to one of several entities.".to_owned(),
            (false, _) => {
                "A field holds one of several value types, or refers to one of several entities (`@ref`), not both."
                    .to_owned()
            }
        };
        Some(Diagnostic::error("S046", at, message).label("not all `@udt`").help(help))
    }
}

fn abstracts(declarations: &Declarations<'_>) -> Vec<Abstract> {
    let mut found: Vec<Abstract> = Vec::new();
    for declared in &declarations.interfaces {
        let implements = |object: &&super::parse::ObjectDeclaration<'_>| {
            object.implements.iter().any(|name| name.node == declared.name)
        };
        let members = declarations.objects.iter().filter(implements);
        found.push(Abstract {
            name: declared.name.to_string(),
            span: declared.span,
            members: members.map(|object| (object.name.to_string(), object.span)).collect(),
        });
    }
    for declared in &declarations.unions {
        let member = |member: &In<'_, Name>| (member.node.to_string(), name_span(member.file, member.node));
        found.push(Abstract {
            name: declared.name.to_string(),
            span: declared.span,
            members: declared.members.iter().map(member).collect(),
        });
    }
    found
}
