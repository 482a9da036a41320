//! What the arguments of a read are compared with, and whether they can be.
//!
//! Comes in: the arguments of a field, and the entity that it answers. Goes out: what is given and what is bounded, added to
//! what the read asks for; or a fault. Which table answers is `bind`'s.

use super::bind::{Asked, Ground, list};
use super::fit::Given;
use super::{ReadSource, Shape};
use crate::diagnostic::{Diagnostic, nearest};
use crate::schema::{
    ArgOp, Argument, ArgumentBinding, ColumnId, ColumnType, FieldSource, KeyFunction, Named, ObjectType,
    Scalar, TypeId, same_key_type, scalar_name,
};

impl Ground<'_> {
    /// Adds what one argument says.
    pub(super) fn add_argument(
        &self,
        asked: &mut Asked<'_>,
        index: usize,
        argument: &Argument,
    ) -> Result<(), Box<Diagnostic>> {
        let ArgumentBinding::Column { column, op } = &argument.binds else { return Ok(()) };
        let child = self.model.ty(asked.entity);
        let source = ReadSource::Argument(index);
        let fault = |message: String| Diagnostic::error("S070", argument.span, message);
        let Some(id) = child.column_named(column) else {
            let part = self.named_part(asked.entity, column).filter(|_| *op == ArgOp::Eq);
            let Some(of) = part else {
                return Err(Box::new(self.unknown_column(child, argument, column)));
            };
            self.check_type(child, of, argument)?;
            asked.given.push(Given::Part(column.clone()));
            asked.sources.push(source);
            return Ok(());
        };
        if *op == ArgOp::Ann {
            return self.add_nearest(asked, argument, id, source);
        }
        match op {
            ArgOp::Contains => self.check_element(child, id, argument)?,
            _ => self.check_type(child, id, argument)?,
        }
        if *op == ArgOp::Prefix {
            self.check_prefix(child, id, argument)?;
        }
        if *op == ArgOp::In && asked.shape == Shape::One {
            let message =
                format!("`{}` answers one row, but `{}` may name several", asked.field.name, argument.name);
            return Err(fault(message)
                .label("several values")
                .help("Answer a list or a connection, or compare with one value.")
                .into());
        }
        match op {
            ArgOp::Eq | ArgOp::In | ArgOp::Contains => self.add_given(asked, argument, id, *op)?,
            _ => self.add_bound(asked, argument, id, (*op, source.clone()))?,
        }
        if matches!(op, ArgOp::Eq | ArgOp::In | ArgOp::Contains) {
            asked.sources.push(source);
        }
        Ok(())
    }

    /// Adds a bound on a column.
    fn add_bound(
        &self,
        asked: &mut Asked<'_>,
        argument: &Argument,
        id: ColumnId,
        (op, source): (ArgOp, ReadSource),
    ) -> Result<(), Box<Diagnostic>> {
        let child = self.model.ty(asked.entity);
        let column = &child.column(id).name;
        let fault = |message: String| Diagnostic::error("S070", argument.span, message);
        // Of two ranges indexes must answer one.
        let is_indexed = |id: &ColumnId| child.indexes.iter().any(|index| index.column == *id);
        let others =
            asked.bounds.iter().find(|(other, ..)| *other != id && !is_indexed(other) && !is_indexed(&id));
        if let Some((other, ..)) = others {
            let message = format!("`{column}` and `{}` are both bounded", child.column(*other).name);
            return Err(fault(message)
                .label("a second range")
                .help("One read bounds one column of a key; an index may bound others: `@index(ops: [GTE, LT])`.")
                .into());
        }
        let is_lower = |op: &ArgOp| matches!(op, ArgOp::Gt | ArgOp::Gte);
        let same_side = |before: &ArgOp| {
            is_lower(before) == is_lower(&op) || *before == ArgOp::Prefix || op == ArgOp::Prefix
        };
        if asked.bounds.iter().any(|(other, before, _)| *other == id && same_side(before)) {
            let message = format!("`{column}` is bounded twice on the same side");
            return Err(fault(message)
                .label("a second bound")
                .help("Keep one of the two: one lower and one upper bound make a range.")
                .into());
        }
        asked.bounds.push((id, op, source));
        Ok(())
    }

    /// Adds what a column is compared with.
    fn add_given(
        &self,
        asked: &mut Asked<'_>,
        argument: &Argument,
        id: ColumnId,
        op: ArgOp,
    ) -> Result<(), Box<Diagnostic>> {
        let column = &self.model.ty(asked.entity).column(id).name;
        let fault = |message: String| Diagnostic::error("S070", argument.span, message);
        if !argument.ty.non_null() {
            let message = format!(
                "the argument `{}` may be left out, but what is compared with it says which rows are read",
                argument.name
            );
            let named = self.type_name(argument.ty.named());
            let help = match op {
                ArgOp::In => format!("Write its type with `!`: `{}: [{named}!]!`.", argument.name),
                _ => format!("Write its type with `!`: `{}: {named}!`.", argument.name),
            };
            return Err(fault(message).label("nullable").help(help).into());
        }
        if asked.given.contains(&Given::Column(id)) || asked.given.contains(&Given::AnyOf(id)) {
            let message = format!("`{column}` is given twice");
            return Err(fault(message)
                .label("a second time")
                .help("The parent's row, or another argument, gives it already.")
                .into());
        }
        asked.given.push(match op {
            ArgOp::In => Given::AnyOf(id),
            ArgOp::Contains => Given::Holds(id),
            _ => Given::Column(id),
        });
        Ok(())
    }

    fn check_prefix(
        &self,
        child: &ObjectType,
        column: ColumnId,
        argument: &Argument,
    ) -> Result<(), Box<Diagnostic>> {
        let column = child.column(column);
        if matches!(column.ty, ColumnType::Scalar(Scalar::String | Scalar::Id | Scalar::Ascii)) {
            return Ok(());
        }
        let wanted = self.column_text(&column.ty);
        let message = format!("`op: PREFIX` compares text, but the column `{}` is `{wanted}`", column.name);
        let fault = Diagnostic::error("S070", argument.span, message).label("not text");
        Err(fault.help("Use `GTE` and `LT` for a range of other values.").into())
    }

    /// The column of a time bucket or of a prefix by the name of its key part.
    pub(super) fn named_part(&self, entity: TypeId, name: &str) -> Option<ColumnId> {
        let keys = self.tables_of(entity).flat_map(|table| &table.partition);
        let can_be_given = |via| matches!(via, KeyFunction::Bucket(_) | KeyFunction::Prefix(_));
        let mut parts = keys.filter(|key| can_be_given(key.part.via));
        parts.find(|key| key.part.name == name).map(|key| key.part.column)
    }

    fn unknown_column(&self, child: &ObjectType, argument: &Argument, column: &str) -> Diagnostic {
        let message = format!("the argument `{}` names no column of `{}`", argument.name, child.name);
        let fault = Diagnostic::error("S070", argument.span, message).label(format!("no column `{column}`"));
        let reference = child.field_named(column).and_then(|field| match &child.field(field).source {
            FieldSource::Ref(decl) => Some(&child.column(decl.key.first()?.1).name),
            _ => None,
        });
        let names = || child.columns.iter().map(|column| column.name.as_str());
        match reference.map(String::as_str).or_else(|| nearest(column, names())) {
            Some(near) => fault.help(format!(
                "Did you mean `{near}`? Rename the argument, or add `@arg(column: \"{near}\")`."
            )),
            None => fault.help(format!("Its columns: {}. Say which: `@arg(column: …)`.", list(names()))),
        }
    }

    fn check_type(
        &self,
        child: &ObjectType,
        column: ColumnId,
        argument: &Argument,
    ) -> Result<(), Box<Diagnostic>> {
        let column = child.column(column);
        if same_key_type(&column.ty, argument.ty.named()) {
            return Ok(());
        }
        let (given, name) = (self.type_name(argument.ty.named()), &argument.name);
        let wanted = self.column_text(&column.ty);
        let message =
            format!("the argument `{name}` is `{given}`, but the column `{}` is `{wanted}`", column.name);
        let fault = Diagnostic::error("S070", argument.span, message).label(format!("`{given}`"));
        let help = match self.model.element(&column.ty) {
            Some(_) => format!("Ask for what it holds: `@arg(column: \"{}\", op: CONTAINS)`.", column.name),
            None => format!("Write `{name}: {wanted}`, or name another column by `@arg(column: …)`."),
        };
        Err(fault.help(help).into())
    }

    /// `CONTAINS` compares with an element of a collection, of a `MAP` with a key.
    fn check_element(
        &self,
        child: &ObjectType,
        column: ColumnId,
        argument: &Argument,
    ) -> Result<(), Box<Diagnostic>> {
        let column = child.column(column);
        let fault = |message: String| Diagnostic::error("S070", argument.span, message);
        let Some(element) = self.model.element(&column.ty) else {
            let message = format!("`op: CONTAINS` looks into a collection, but `{}` is none", column.name);
            let help = "It is for collections of scalars and enums, and for `MAP`s, by their keys.";
            return Err(fault(message).label("no collection").help(help).into());
        };
        if same_key_type(element, argument.ty.named()) {
            return Ok(());
        }
        let (given, wanted) = (self.type_name(argument.ty.named()), self.column_text(element));
        let message = format!(
            "the argument `{}` is `{given}`, but the column `{}` is found by `{wanted}`",
            argument.name, column.name
        );
        let help = format!("Write `{}: {wanted}!`.", argument.name);
        Err(fault(message).label(format!("`{given}`")).help(help).into())
    }

    fn column_text(&self, ty: &ColumnType) -> String {
        match ty {
            ColumnType::Scalar(scalar) => self.type_name(Named::Scalar(*scalar)),
            ColumnType::Enum(id) => self.type_name(Named::Enum(*id)),
            ColumnType::Record(id) => self.type_name(Named::Object(*id)),
            ColumnType::List(_) | ColumnType::Set(_) | ColumnType::Map { .. } => "a list".to_string(),
        }
    }

    fn type_name(&self, named: Named) -> String {
        match named {
            Named::Object(id) => self.model.ty(id).name.clone(),
            Named::Enum(id) => self.model.enumeration(id).name.clone(),
            Named::Scalar(scalar) => scalar_name(scalar).to_string(),
        }
    }
}
