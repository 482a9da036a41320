//! Types an expression and resolves its names.
//!
//! Comes in: a [`Node`] and the names in scope. Goes out: [`Code`] with its type, or every fault with its place and
//! advice. What only an event can tell is left to run time as a [`Kind`] asked for. `call` types functions.

use std::ops::Range;
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Span, nearest};
use crate::schema::{ColumnId, FieldSource, ReadModel, TypeId};
use crate::value::Value;

use super::code::{By, Code};
use super::coerce::Kind;
use super::parse::{self, Node};
use super::types::{comparable, of_column};
use super::val::Val;
use super::{Env, Read, Shape, Type};

/// A part of an expression, typed.
#[derive(Clone, Debug)]
pub(super) struct Typed {
    pub code: Code,
    pub ty: Type,
    pub at: Range<usize>,
}

/// What checking carries along. Faults are collected; a part with a fault gives `None`.
pub(super) struct Checker<'c> {
    pub env: &'c Env<'c>,
    pub text: &'c str,
    pub span: Span,
    pub faults: Vec<Diagnostic>,
    pub reads: Vec<Read>,
    /// Variables of the comprehensions around, outermost first.
    pub locals: Vec<(String, Type)>,
    /// What is known of each variable's JSON value.
    pub local_shapes: Vec<Option<Arc<Shape>>>,
    /// Whether lists and maps that are written out here may hold values of different types.
    pub mixed: bool,
}

impl<'c> Checker<'c> {
    pub(super) fn model(&self) -> &'c ReadModel {
        self.env.model
    }

    /// The place of a part in the author's file. Where the text stands there otherwise (quoted, folded), it is the whole.
    pub(super) fn place(&self, at: &Range<usize>) -> Span {
        place(self.text, self.span, at)
    }

    pub(super) fn fault(&mut self, diagnostic: Diagnostic) -> Option<Typed> {
        self.faults.push(diagnostic);
        None
    }

    pub(super) fn shown(&self, ty: &Type) -> String {
        ty.shown(self.model())
    }

    /// The text of a part, as the author wrote it.
    pub(super) fn source(&self, at: &Range<usize>) -> Arc<str> {
        self.text.get(at.clone()).unwrap_or(self.text).into()
    }

    /// Types a part. `hint` is what its place wants, where that is known: it gives enum values their type.
    pub(super) fn check(&mut self, node: &Node, hint: Option<&Type>) -> Option<Typed> {
        let (code, ty) = match &node.kind {
            parse::Kind::Null => (Code::Const(Value::Null), Type::Null),
            parse::Kind::Bool(truth) => (Code::Const(Value::Bool(*truth)), Type::Bool),
            parse::Kind::Int(number) => (Code::Const(Value::Int(*number)), Type::Int),
            parse::Kind::Uint(number) => (Code::Literal(Val::Uint(*number)), Type::Uint),
            parse::Kind::Float(number) => (Code::Const(Value::Float(*number)), Type::Float),
            parse::Kind::Text(text) => return self.literal_text(text, node, hint),
            parse::Kind::Bytes(bytes) => (Code::Const(Value::Bytes(bytes.clone().into())), Type::Bytes),
            parse::Kind::Name(name) => return self.name(node, name, hint),
            parse::Kind::Select { of, field, field_at, optional } => {
                return self.select(node, of, field, field_at, *optional);
            }
            parse::Kind::Index { of, index, optional } => return self.index(node, of, index, *optional),
            parse::Kind::Not(of) => {
                let of = self.condition(of)?;
                (Code::Not(Box::new(of)), Type::Bool)
            }
            parse::Kind::Negate(of) => return self.negate(node, of),
            parse::Kind::Binary(operator, left, right) => {
                return self.binary(*operator, left, right, node, hint);
            }
            parse::Kind::If(condition, yes, no) => return self.choice(condition, yes, no, node, hint),
            parse::Kind::Call { function, function_at, of, args } => {
                return self.call(node, function, function_at, of.as_deref(), args, hint);
            }
            parse::Kind::List(elements) => return self.list(elements, node, hint),
            parse::Kind::Map(entries) => return self.map(entries, node, hint),
        };
        Some(Typed { code, ty, at: node.at.clone() })
    }

    /// A part that must be true or false.
    pub(super) fn condition(&mut self, node: &Node) -> Option<Code> {
        let typed = self.check(node, Some(&Type::Bool))?;
        match &typed.ty {
            Type::Bool => Some(typed.code),
            Type::Dyn => Some(self.coerced(typed, &Type::Bool).code),
            Type::Nullable(of) | Type::Optional(of) if **of == Type::Bool => {
                self.may_be_nothing(&typed, "&&, || and !");
                None
            }
            other => {
                let found = self.shown(other);
                let fault = Diagnostic::error(
                    "E009",
                    self.place(&typed.at),
                    format!("expected Boolean, found {found}"),
                )
                .label(format!("this is {found}"))
                .help("compare it with something, such as `x == 1` or `has(event.x)`");
                self.faults.push(fault);
                None
            }
        }
    }

    /// Asks a value of the event to be of a type; other values stay as they are.
    pub(super) fn coerced(&mut self, typed: Typed, to: &Type) -> Typed {
        let (Type::Dyn, Some(kind)) = (&typed.ty, kind_of(to)) else { return typed };
        self.shape_may_be(&typed, kind);
        let text = self.source(&typed.at);
        let ty = if let Type::Enum(_) = to { Type::Text } else { to.clone() };
        Typed { code: Code::Coerce { of: Box::new(typed.code), to: kind, text }, ty, at: typed.at }
    }

    /// Refuses a value of the event that can never equal one of that type.
    pub(super) fn shape_may_equal(&mut self, typed: &Typed, other: &Type) {
        if let (Type::Dyn, Some(kind)) = (&typed.ty, kind_of(other)) {
            self.shape_may_be(typed, kind);
        }
    }

    /// The fault of a value that may be null where one must be there.
    pub(super) fn may_be_nothing(&mut self, typed: &Typed, what: &str) {
        let name = self.source(&typed.at);
        let found = self.shown(&typed.ty);
        let why = if matches!(typed.ty, Type::Optional(_)) { "may be missing" } else { "may be null" };
        let diagnostic = Diagnostic::error(
            "E008",
            self.place(&typed.at),
            format!("`{name}` {why}, which {what} cannot take"),
        )
        .label(format!("this is {found}"))
        .help(format!("say what then: `{name}.orValue({})`", example(typed.ty.unwrapped())));
        self.faults.push(diagnostic);
    }

    fn literal_text(&mut self, text: &str, node: &Node, hint: Option<&Type>) -> Option<Typed> {
        if let Some(Type::Enum(id)) = hint.map(Type::unwrapped) {
            let found = self.model().enumeration(*id);
            let name = nearest(text, found.values.iter().map(String::as_str));
            let help = match name {
                Some(name) => format!("write `{name}` without quotes"),
                None => format!("its values are {}", found.values.join(", ")),
            };
            let message = format!("`{text:?}` is a String where a `{}` is expected", found.name);
            return self.fault(Diagnostic::error("E007", self.place(&node.at), message).help(help));
        }
        Some(Typed { code: Code::Const(Value::text(text)), ty: Type::Text, at: node.at.clone() })
    }

    fn name(&mut self, node: &Node, name: &str, hint: Option<&Type>) -> Option<Typed> {
        let at = &node.at;
        if let Some((code, ty)) = self.resolve(name) {
            match &code {
                Code::Slot(slot, _) => self.read(Read::Slot(*slot)),
                Code::Select { by: By::Column(column), .. } => self.read(Read::Column(0, column_id(*column))),
                _ => {}
            }
            return Some(Typed { code, ty, at: at.clone() });
        }
        let Some(Type::Enum(id)) = hint.map(Type::unwrapped) else {
            return match self.type_named(node) {
                Some(found) => Some(found),
                None => self.unknown_name(name, at),
            };
        };
        let found = self.model().enumeration(*id);
        if found.values.iter().any(|value| value == name) {
            return Some(Typed { code: Code::Const(Value::text(name)), ty: Type::Enum(*id), at: at.clone() });
        }
        let message = format!("`{}` has no value `{name}`", found.name);
        let values = || found.values.iter().map(String::as_str);
        let help = match nearest(name, values()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("its values are {}", found.values.join(", ")),
        };
        let fault = Diagnostic::error("E003", self.place(at), message).label("not a value of it").help(help);
        self.fault(fault.fix_name(name, values()))
    }

    pub(super) fn unknown_name(&mut self, name: &str, at: &Range<usize>) -> Option<Typed> {
        let known = self.names();
        let in_event = if known.iter().any(|known| known == "event") {
            format!("`event.{name}`")
        } else {
            String::new()
        };
        let is_old = name == "position" && known.iter().any(|known| known == "record");
        let help = if is_old {
            "write `record`: `uuid(record)`, `record.topic`, `record.partition`, `record.offset`".to_owned()
        } else if let Some(row) = self.row_with(name) {
            let or = if in_event.is_empty() { "" } else { " or " };
            format!("did you mean {in_event}{or}`{row}.{name}`?")
        } else if let Some(near) = nearest(name, known.iter().map(String::as_str)) {
            format!("did you mean `{near}`?")
        } else if self.model().enums.iter().any(|found| found.values.iter().any(|value| value == name)) {
            format!(
                "`{name}` is a value of an enum, but nothing here says which is meant; for text write `'{name}'`"
            )
        } else if in_event.is_empty() {
            format!("the names here are {}", known.join(", "))
        } else {
            format!("a field of the event is {in_event}; the names here are {}", known.join(", "))
        };
        let message = format!("there is no name `{name}` here");
        let fault = Diagnostic::error("E003", self.place(at), message).label("unknown name").help(help);
        self.fault(match self.row_with(name) {
            None if is_old => fault.fix_name(name, ["record"].into_iter()),
            None => fault.fix_name(name, known.iter().map(String::as_str)),
            Some(_) => fault,
        })
    }

    /// The name of a row or record in scope that has such a column.
    fn row_with(&self, column: &str) -> Option<&str> {
        let has = |ty: &Type| match ty.unwrapped() {
            Type::Record(id) => self.env.model.ty(*id).column_named(column).is_some(),
            _ => false,
        };
        self.env.names.iter().find(|(_, ty)| has(ty)).map(|(name, _)| name.as_str())
    }

    fn names(&self) -> Vec<String> {
        let locals = self.locals.iter().rev().map(|(name, _)| name.clone());
        let names = self.env.names.iter().map(|(name, _)| name.clone()).filter(|name| !name.is_empty());
        let columns = self.env.columns_of.iter().flat_map(|id| self.env.model.ty(*id).column_names());
        locals.chain(names).chain(columns.map(str::to_owned)).collect()
    }

    pub(super) fn resolve(&self, name: &str) -> Option<(Code, Type)> {
        if let Some(local) = self.locals.iter().rposition(|(known, _)| known == name) {
            return Some((Code::Local(local), self.locals[local].1.clone()));
        }
        if let Some(slot) = self.env.names.iter().position(|(known, _)| known == name) {
            return Some((Code::Slot(slot, name.into()), self.env.names[slot].1.clone()));
        }
        let id = self.env.columns_of?;
        let (by, ty) = column(self.model(), id, name)?;
        let of = Box::new(Code::Slot(0, "row".into()));
        Some((Code::Select { of, by, optional: false, text: name.into() }, ty))
    }

    fn read(&mut self, read: Read) {
        if !self.reads.contains(&read) {
            self.reads.push(read);
        }
    }

    fn select(
        &mut self,
        node: &Node,
        of: &Node,
        field: &str,
        field_at: &Range<usize>,
        optional: bool,
    ) -> Option<Typed> {
        if self.is_unknown_path(of)
            && let Some(found) = self.type_named(node)
        {
            return Some(found);
        }
        let of = match &of.kind {
            // A name that is selected from is not read as a whole.
            parse::Kind::Name(name) => match self.resolve(name) {
                Some((code @ (Code::Slot(..) | Code::Local(_)), ty)) => Typed { code, ty, at: of.at.clone() },
                _ => self.check(of, None)?,
            },
            _ => self.check(of, None)?,
        };
        let (by, mut ty) = match of.ty.unwrapped() {
            Type::Dyn | Type::LogRecord => {
                self.shape_has(&of, field, field_at)?;
                (By::Name(field.into()), Type::Dyn)
            }
            Type::Record(id) => match column(self.model(), *id, field) {
                Some(found) => found,
                None => return self.unknown_field(*id, field, field_at),
            },
            Type::Money if field == "amount" => (By::Amount, Type::Decimal),
            Type::Money if field == "currency" => (By::Currency, Type::Text),
            // The keys of a stored map are no names of fields; its elements are records.
            Type::Map(key, value) if is_named(key) && !matches!(**value, Type::Record(_)) => {
                (By::Name(field.into()), (**value).clone())
            }
            other => {
                let found = self.shown(other);
                let message = format!("{found} has no field `{field}`");
                let help = match other {
                    Type::Map(..) | Type::List(_) => {
                        "take an element with `[…]`, or go through it with `.map(x, …)`"
                    }
                    _ => "only the event, rows and value types have fields",
                };
                return self.fault(Diagnostic::error("E004", self.place(field_at), message).help(help));
            }
        };
        match (&of.code, &by) {
            (Code::Slot(slot, _), By::Column(column)) => self.read(Read::Column(*slot, column_id(*column))),
            (Code::Slot(slot, _), By::Name(name)) => self.read(Read::Field(*slot, name.clone())),
            (Code::Slot(slot, _), _) => self.read(Read::Slot(*slot)),
            _ => {}
        }
        if of.ty.is_nullable() {
            ty = ty.nullable();
        }
        // As in CEL, what is selected from an optional is optional.
        let optional = optional || matches!(of.ty, Type::Optional(_));
        if optional {
            ty = ty.optional();
        }
        let text = self.source(&node.at);
        let code = Code::Select { of: Box::new(of.code), by, optional, text };
        Some(Typed { code, ty, at: node.at.clone() })
    }

    /// Whether this is a path of names that stand for nothing here.
    fn is_unknown_path(&self, node: &Node) -> bool {
        match &node.kind {
            parse::Kind::Name(name) => self.resolve(name).is_none(),
            parse::Kind::Select { of, .. } => self.is_unknown_path(of),
            _ => false,
        }
    }

    fn unknown_field(&mut self, id: TypeId, field: &str, at: &Range<usize>) -> Option<Typed> {
        let ty = self.model().ty(id);
        let reference = ty.field_named(field).map(|id| &ty.field(id).source);
        let diagnostic =
            Diagnostic::error("E004", self.place(at), format!("`{}` has no column `{field}`", ty.name));
        let help = match reference {
            Some(FieldSource::Ref(reference)) => {
                let columns: Vec<_> =
                    reference.key.iter().map(|(_, column)| ty.column(*column).name.as_str()).collect();
                format!("`{field}` is another entity; what is stored of it is `{}`", columns.join("`, `"))
            }
            _ => match nearest(field, ty.column_names()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => {
                    let names: Vec<_> = ty.column_names().collect();
                    format!("its columns are {}", names.join(", "))
                }
            },
        };
        let columns = ty.column_names();
        let fault = diagnostic.label("unknown column").help(help);
        self.fault(if reference.is_some() { fault } else { fault.fix_name(field, columns) })
    }

    fn index(&mut self, node: &Node, of: &Node, index: &Node, optional: bool) -> Option<Typed> {
        let of = self.check(of, None);
        let hint = match of.as_ref().map(|of| of.ty.unwrapped()) {
            Some(Type::Map(key, _)) => Some((**key).clone()),
            _ => None,
        };
        let index = self.check(index, hint.as_ref());
        let (of, index) = (of?, index?);
        if !optional && !matches!(of.ty, Type::Optional(_)) && of.ty.is_nullable() {
            let name = self.source(&of.at);
            let message = format!("`{name}` may be null, which `[…]` cannot take");
            let help = "write `[?…]`, and say with `.orValue(…)` what is meant where it is null";
            return self.fault(Diagnostic::error("E008", self.place(&of.at), message).help(help));
        }
        let (wanted, found) = match of.ty.unwrapped() {
            Type::Dyn => (None, Type::Dyn),
            Type::List(element) => (Some(Type::Int), (**element).clone()),
            Type::Map(key, value) => (Some((**key).clone()), (**value).clone()),
            other => {
                let message = format!("{} has no elements", self.shown(other));
                return self.fault(Diagnostic::error("E007", self.place(&of.at), message));
            }
        };
        if let Some(wanted) = &wanted
            && !comparable(wanted, &index.ty)
        {
            let (wanted, found) = (self.shown(wanted), self.shown(&index.ty));
            let message = format!("expected {wanted} in `[…]`, found {found}");
            return self.fault(Diagnostic::error("E007", self.place(&index.at), message));
        }
        let index = match &wanted {
            // Any whole number is the number of an element, whatever its type.
            Some(wanted) if *wanted != Type::Int => self.coerced(index, wanted),
            _ => index,
        };
        let optional = optional || matches!(of.ty, Type::Optional(_));
        let ty = if optional { found.optional() } else { found };
        let text = self.source(&node.at);
        let code = Code::Index { of: Box::new(of.code), index: Box::new(index.code), optional, text };
        Some(Typed { code, ty, at: node.at.clone() })
    }
}

/// The place of a part of an expression's text in the author's file.
pub(super) fn place(text: &str, span: Span, at: &Range<usize>) -> Span {
    let (Ok(start), Ok(end)) = (u32::try_from(at.start), u32::try_from(at.end)) else { return span };
    // Quoted or folded text is longer in the file than it reads: then no part can be found in it.
    if span.end.saturating_sub(span.start) as usize != text.len() {
        return span;
    }
    Span { file: span.file, start: span.start + start, end: span.start + end }
}

/// What the elements of a list, or the keys of a map, are.
pub(super) fn inner(ty: &Type) -> Option<Type> {
    match ty.unwrapped() {
        Type::List(of) | Type::Map(of, _) => Some((**of).clone()),
        Type::Dyn | Type::Null => Some(Type::Dyn),
        _ => None,
    }
}

/// Whether a map has keys that can be written as fields.
fn is_named(key: &Type) -> bool {
    matches!(key, Type::Text | Type::Dyn)
}

/// What a value of the event is asked to be where this type is wanted.
fn kind_of(ty: &Type) -> Option<Kind> {
    Some(match ty.unwrapped() {
        Type::Bool => Kind::Bool,
        Type::Int => Kind::Int,
        Type::Uint => Kind::Uint,
        Type::Float => Kind::Float,
        Type::Decimal => Kind::Decimal,
        Type::Text | Type::Enum(_) => Kind::Text,
        Type::Bytes => Kind::Bytes,
        Type::Timestamp => Kind::Timestamp,
        Type::Date => Kind::Date,
        Type::Time => Kind::Time,
        Type::Duration => Kind::Duration,
        Type::Uuid => Kind::Uuid,
        _ => return None,
    })
}

/// A default as an author might write it, for advice.
fn example(ty: &Type) -> &'static str {
    match ty {
        Type::Int => "0",
        Type::Decimal => "decimal('0')",
        Type::Text => "''",
        Type::Bool => "false",
        _ => "…",
    }
}

fn column_id(column: usize) -> ColumnId {
    ColumnId(u32::try_from(column).expect("columns are counted in u32"))
}

fn column(model: &ReadModel, id: TypeId, name: &str) -> Option<(By, Type)> {
    let ty = model.ty(id);
    let column = ty.column_named(name)?;
    let found = of_column(&ty.column(column).ty, model);
    let found = if ty.column(column).non_null { found } else { found.nullable() };
    Some((By::Column(column.0 as usize), found))
}
