//! `@read` and `@arg`: what a field asks for, and what its arguments mean.
//!
//! Comes in: types with columns and keys. Goes out: the source and the arguments of every read field, or the faults.
//! Which table answers is `plan`'s.

use super::bind::Binder;
use super::columns::{Allowed, ColumnUse, Text, columns, duration_ms, no_duration};
use super::directive::{Place, Use, uses};
use super::parse::{In, name_span, place, twice};
use super::{
    ArgOp, Argument, ArgumentBinding, FieldSource, FieldType, Named, Order, ReadDecl, Scalar, TypeId,
    TypeKind,
};
use crate::diagnostic::{Diagnostic, Span};

/// What a field with `@read` answers with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answers {
    One,
    List,
    Connection,
}

impl Binder<'_> {
    /// Binds every field with `@read`.
    pub(super) fn bind_reads(&mut self) {
        for ty in self.ids() {
            for index in 0..self.drafts[ty.0 as usize].fields.len() {
                if self.drafts[ty.0 as usize].fields[index].used("read").is_some() {
                    self.bind_read(ty, index);
                }
            }
        }
    }

    fn bind_read(&mut self, ty: TypeId, index: usize) {
        let draft = &self.drafts[ty.0 as usize].fields[index];
        let Some(field_type) = draft.ty.clone() else { return };
        let (name, at) = (draft.node.name.to_string(), draft.span);
        let (answers, entity) = match self.answers(&field_type) {
            Ok(found) => found,
            Err(_) if self.is_unclear_type(&field_type) => return,
            Err(wrong) => {
                let message = format!("`{name}` cannot read {wrong}");
                self.faults.push(Diagnostic::error("S042", at, message).label("not a read model").help(
                    "A read answers a type with `@table`: one (`Order`), a list (`[Order!]!`) or a page of them \
                     (`OrderConnection!`).",
                ));
                return;
            }
        };
        if self.is_unclear(ty) {
            return;
        }
        if self.types[ty.0 as usize].kind == TypeKind::Udt {
            let message = format!("`{name}` reads from inside a value type");
            self.faults.push(
                Diagnostic::error("S042", at, message)
                    .label("in a value type")
                    .help("Put the `@read` on a type with a key, or on `Query`."),
            );
            return;
        }
        if answers == Answers::One && field_type.non_null() {
            let message = format!("`{name}` cannot be non-null: the row may be absent");
            self.faults.push(
                Diagnostic::error("S042", at, message)
                    .label("with `!`")
                    .help("Remove the `!` of the field's type."),
            );
        }
        let faults_before = self.faults.len();
        let drafts = std::mem::take(&mut self.drafts);
        let draft = &drafts[ty.0 as usize].fields[index];
        let used = draft.used("read").expect("the caller looked");
        let decl = self.read_decl(used, answers);
        if answers == Answers::Connection
            && !decl.counted
            && self.counted.contains(draft.node.ty.inner_named_type().as_str())
        {
            let message = format!(
                "another read of `{}` counts its rows, but `{name}` does not",
                draft.node.ty.inner_named_type()
            );
            self.faults.push(Diagnostic::error("S042", used.span, message).label("no `count`").help(
                "Add `count: CAPPED`: `totalCount` is part of the type, so each read of it must know it.",
            ));
        }
        let args = self.arguments(&name, draft.file, draft.node, answers, entity);
        self.drafts = drafts;
        if self.faults.len() > faults_before {
            return;
        }
        let owner = &mut self.types[ty.0 as usize];
        if let Some(field) = owner.fields.iter_mut().find(|field| field.name == name) {
            field.source = FieldSource::Read(decl);
            field.args = args;
        }
    }

    /// Whether a directive of the type that a field answers is not known: it may have been its `@table`.
    fn is_unclear_type(&self, ty: &FieldType) -> bool {
        let Named::Object(id) = ty.named() else { return false };
        match self.types[id.0 as usize].kind {
            TypeKind::Connection { node } => self.is_unclear(node),
            _ => self.is_unclear(id),
        }
    }

    fn answers(&self, ty: &FieldType) -> Result<(Answers, TypeId), String> {
        let (id, list) = match ty {
            FieldType::Named { name: Named::Object(id), .. } => (*id, false),
            FieldType::List { of, .. } => match **of {
                FieldType::Named { name: Named::Object(id), .. } => (id, true),
                _ => return Err("a list of scalars or of lists".to_string()),
            },
            FieldType::Named { .. } => return Err("a scalar".to_string()),
        };
        let found = &self.types[id.0 as usize];
        match (found.kind, list) {
            (TypeKind::Entity, false) => Ok((Answers::One, id)),
            (TypeKind::Entity, true) => Ok((Answers::List, id)),
            (TypeKind::Connection { node }, false)
                if self.types[node.0 as usize].kind == TypeKind::Entity =>
            {
                Ok((Answers::Connection, node))
            }
            _ => Err(format!("`{}`, which has no table", found.name)),
        }
    }

    fn read_decl(&mut self, used: &Use, answers: Answers) -> ReadDecl {
        let number = |name: &str, default: u32| {
            used.int(name).map_or(default, |given| u32::try_from(given).expect("checked when it was read"))
        };
        let max = number("max", 100);
        let page = number("page", 20.min(max));
        if page > max {
            let message = format!("the default page of {page} is above the largest, {max}");
            self.faults.push(
                Diagnostic::error("S013", used.span, message)
                    .label("`page` above `max`")
                    .help(format!("Write `page: {max}` or less, or raise `max`.")),
            );
        }
        if answers == Answers::One {
            let without_use = ["page", "max"].into_iter().find(|name| used.int(name).is_some());
            let without_use = without_use.or(used.text("lookback").map(|_| "lookback"));
            if let Some(name) = without_use {
                let message = format!("`{name}` has no use: the field answers one row");
                self.faults.push(
                    Diagnostic::error("S042", used.span, message)
                        .label("one row")
                        .help(format!("Leave `{name}` out, or answer a list or a connection.")),
                );
            }
        }
        let counted = used.choice("count") == Some("CAPPED");
        if counted && answers != Answers::Connection {
            self.faults.push(
                Diagnostic::error("S042", used.span, "`count` has no use: the field answers no connection")
                    .label("nothing to count")
                    .help("Leave `count` out, or answer a connection: its `totalCount` is the number."),
            );
        }
        let lookback_ms = used.text("lookback").and_then(|text| {
            let found = duration_ms(&text.value);
            if found.is_none() {
                self.faults.push(no_duration(text));
            }
            found
        });
        let order = used.text("order").and_then(|text| self.read_order(text));
        let max_age_s = number("maxAge", 0);
        let is_private = used.choice("scope") == Some("PRIVATE");
        if used.choice("scope").is_some() && max_age_s == 0 {
            self.faults.push(
                Diagnostic::error("S042", used.span, "`scope` has no use: no cache may keep the answer")
                    .label("no `maxAge`")
                    .help("Say how many seconds it may be kept: `maxAge: 30`, or leave `scope` out."),
            );
        }
        let text = |name: &str| used.text(name).map(|text| text.value.clone());
        ReadDecl {
            table: text("table"),
            via: text("via"),
            page,
            max,
            lookback_ms,
            counted,
            order,
            max_age_s,
            is_private,
            span: used.span,
        }
    }

    fn read_order(&mut self, text: &Text) -> Option<(Vec<(String, Order)>, Span)> {
        match columns(text, Allowed::ExpressionsInOrder) {
            Ok(uses) => {
                let named = |used: ColumnUse| (used.column, used.order.unwrap_or_default());
                Some((uses.into_iter().map(named).collect(), text.span))
            }
            Err(fault) => {
                self.faults.push(fault);
                None
            }
        }
    }

    fn arguments(
        &mut self,
        field: &str,
        file: crate::diagnostic::FileId,
        node: &apollo_compiler::ast::FieldDefinition,
        answers: Answers,
        entity: TypeId,
    ) -> Vec<Argument> {
        let mut arguments: Vec<Argument> = Vec::new();
        for argument in &node.arguments {
            let name = argument.name.to_string();
            let at = name_span(file, &argument.name);
            if let Some(first) = arguments.iter().find(|before| before.name == name) {
                self.faults.push(twice("argument", &name, at, &place(first.span, self.sources)));
                continue;
            }
            let directives: Vec<_> = argument.directives.iter().map(|node| In { file, node }).collect();
            let found = uses(&directives, Place::Argument, &self.known, self.sources, &mut self.faults);
            let Some((mut ty, span)) = self.argument(file, argument) else { continue };
            let used = found.first();
            let is_paging =
                answers != Answers::One && used.is_none() && PAGING.iter().any(|(known, _)| *known == name);
            let binds = if is_paging {
                self.check_paging(field, argument, &ty, span, answers);
                ArgumentBinding::Paging
            } else {
                let op = used.and_then(|used| used.choice("op")).map_or(ArgOp::Eq, ArgOp::of);
                self.check_argument(field, &name, &ty, op, argument, span);
                let column = used.and_then(|used| used.text("column"));
                ty = self.read_as_column(entity, column.map_or(&name, |text| &text.value), argument, ty);
                ArgumentBinding::Column { column: column.map_or(name.clone(), |text| text.value.clone()), op }
            };
            arguments.push(Argument { name, ty, binds, span });
        }
        arguments
    }

    /// A scalar that is bound to nothing is what the column stores that the argument is compared with.
    fn read_as_column(
        &self,
        entity: TypeId,
        column: &str,
        argument: &apollo_compiler::ast::InputValueDefinition,
        mut ty: FieldType,
    ) -> FieldType {
        let entity = &self.types[entity.0 as usize];
        let stored = entity.column_named(column).map(|column| &entity.column(column).ty);
        let stored = stored.and_then(|ty| super::element(&self.types, ty).unwrap_or(ty).named());
        if let Some(stored) =
            stored.filter(|_| self.unbound.contains_key(argument.ty.inner_named_type().as_str()))
        {
            ty.set_named(stored);
        }
        ty
    }

    fn check_argument(
        &mut self,
        field: &str,
        name: &str,
        ty: &FieldType,
        op: ArgOp,
        argument: &apollo_compiler::ast::InputValueDefinition,
        at: Span,
    ) {
        let element = argument.ty.inner_named_type();
        let fault = |message: String| Diagnostic::error("S043", at, message);
        let fault = match (ty, op) {
            (ty, _) if matches!(ty.named(), Named::Object(_)) => {
                fault(format!("the argument `{name}` of `{field}` has an output type"))
                    .label("an output type")
                    .help("Arguments are scalars and enums: ask for the key.")
            }
            (FieldType::List { of, .. }, ArgOp::In | ArgOp::Ann) => match &**of {
                FieldType::Named { non_null: true, .. } => return,
                _ => fault(format!("the elements of `{name}` of `{field}` may be null, or are lists"))
                    .label("elements without `!`")
                    .help(format!("None of them is null. Write `{name}: [{element}!]!`.")),
            },
            (FieldType::List { .. }, _) => {
                fault(format!("the argument `{name}` of `{field}` is a list, but is compared with one value"))
                    .label("a list")
                    .help(format!("Write `{name}: [{element}!]! @arg(op: IN)` for the rows of each value."))
            }
            (FieldType::Named { .. }, ArgOp::In | ArgOp::Ann) => fault(format!(
                "`op: {}` takes a list, but the argument `{name}` of `{field}` is `{}`",
                op.word(),
                argument.ty
            ))
            .label("not a list")
            .help(format!("Write `{name}: [{element}!]!`.")),
            (FieldType::Named { .. }, _) => return,
        };
        self.faults.push(fault);
    }

    fn check_paging(
        &mut self,
        field: &str,
        argument: &apollo_compiler::ast::InputValueDefinition,
        ty: &FieldType,
        at: Span,
        answers: Answers,
    ) {
        let name = argument.name.as_str();
        let wanted = PAGING.iter().find(|(known, _)| *known == name).expect("the caller looked").1;
        let fits = matches!(ty, FieldType::Named { name: Named::Scalar(found), non_null: false } if *found == wanted);
        if !fits {
            let wanted = if wanted == Scalar::Int { "Int" } else { "String" };
            let message = format!(
                "the paging argument `{name}` of `{field}` is `{}`, expected `{wanted}`, which may be null",
                argument.ty
            );
            self.faults.push(
                Diagnostic::error("S043", at, message).label(format!("expected `{wanted}`, nullable")).help(
                    format!("Write `{name}: {wanted}`; for a column of that name add `@arg(column: …)`."),
                ),
            );
        }
        if answers == Answers::List && name != "first" {
            let message = format!("a plain list has no cursors, so `{name}` of `{field}` has no use");
            self.faults.push(
                Diagnostic::error("S043", at, message)
                    .label("no use")
                    .help("Answer a connection to page through: `OrderConnection!`."),
            );
        }
    }
}

/// The arguments of the cursor connections specification, with their types.
const PAGING: &[(&str, Scalar)] =
    &[("first", Scalar::Int), ("last", Scalar::Int), ("after", Scalar::String), ("before", Scalar::String)];
