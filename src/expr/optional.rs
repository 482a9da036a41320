//! Types CEL's optionals: values that may be missing, and what is said where they are.
//!
//! Comes in: a call on an optional, or one that makes one. Goes out: [`Code`] with its type, or faults. An optional inside
//! an optional is one optional: there is nothing, or there is a value.

use crate::diagnostic::Diagnostic;

use super::Type;
use super::check::{Checker, Typed};
use super::code::Code;
use super::parse::Node;
use super::types::join;
use super::val::Val;

impl Checker<'_> {
    /// `optional.none()`.
    pub(super) fn none() -> (Code, Type) {
        (Code::Literal(Val::Nothing), Type::Optional(Box::new(Type::Dyn)))
    }

    /// `optional.of(x)` and `optional.ofNonZeroValue(x)`.
    pub(super) fn optional_of(&mut self, of: &Node, non_zero: bool) -> Option<(Code, Type)> {
        let typed = self.check(of, None)?;
        let ty = match typed.ty {
            Type::Null => Type::Optional(Box::new(Type::Null)),
            other => other.optional(),
        };
        let code = if non_zero { Code::NonZero(Box::new(typed.code)) } else { typed.code };
        Some((code, ty))
    }

    pub(super) fn has_value(&mut self, of: &Node) -> Option<(Code, Type)> {
        let typed = self.check(of, None)?;
        let code = Box::new(typed.code);
        let optional = matches!(typed.ty, Type::Optional(_));
        Some((if optional { Code::Has(code) } else { Code::IsThere(code) }, Type::Bool))
    }

    /// `x.value()`: the value, or a fault where there is none.
    pub(super) fn value_of(&mut self, of: &Node) -> Option<(Code, Type)> {
        let typed = self.check(of, None)?;
        let Type::Optional(inner) = &typed.ty else { return self.no_optional(&typed, "value()") };
        let ty = (**inner).clone();
        let text = self.source(&typed.at);
        Some((Code::ValueOf(Box::new(typed.code), text), ty))
    }

    /// `x.or(y)`: the second optional where the first is empty.
    pub(super) fn or(&mut self, of: &Node, other: &Node) -> Option<(Code, Type)> {
        let (of, other) = (self.check(of, None), self.check(other, None));
        let (of, other) = (of?, other?);
        for side in [&of, &other] {
            if !matches!(side.ty, Type::Optional(_)) {
                return self.no_optional(side, "or(…)");
            }
        }
        let Some(ty) = join(&of.ty, &other.ty) else {
            let (found, wanted) = (self.shown(&other.ty), self.shown(&of.ty));
            let message = format!("`or` takes {wanted}, found {found}");
            let help = "both optionals hold values of one type";
            self.fault(Diagnostic::error("E007", self.place(&other.at), message).help(help));
            return None;
        };
        Some((Code::OrElse(Box::new(of.code), Box::new(other.code)), ty))
    }

    /// `x.optMap(name, body)` and `x.optFlatMap(name, body)`.
    pub(super) fn opt_map(&mut self, of: &Node, var: &Node, body: &Node, flat: bool) -> Option<(Code, Type)> {
        let of = self.check(of, None)?;
        let Type::Optional(inner) = &of.ty else {
            return self.no_optional(&of, if flat { "optFlatMap(…)" } else { "optMap(…)" });
        };
        let inner = (**inner).clone();
        let name = self.new_name(var, &[])?;
        self.locals.push((name, inner));
        let body = self.check(body, None);
        self.locals.pop();
        let body = body?;
        if flat && !matches!(body.ty, Type::Optional(_) | Type::Dyn) {
            return self.no_optional(&body, "optFlatMap(…)");
        }
        let ty = body.ty.optional();
        Some((Code::OptMap { of: Box::new(of.code), body: Box::new(body.code) }, ty))
    }

    /// `cel.bind(name, value, body)`.
    pub(super) fn bind(
        &mut self,
        var: &Node,
        value: &Node,
        body: &Node,
        hint: Option<&Type>,
    ) -> Option<(Code, Type)> {
        let value = self.check(value, None);
        let name = self.new_name(var, &[])?;
        let value = value?;
        self.locals.push((name, value.ty));
        let body = self.check(body, hint);
        self.locals.pop();
        let body = body?;
        Some((Code::Bind { value: Box::new(value.code), body: Box::new(body.code) }, body.ty))
    }

    fn no_optional(&mut self, typed: &Typed, what: &str) -> Option<(Code, Type)> {
        let found = self.shown(&typed.ty);
        let message = format!("`{what}` takes an optional, found {found}");
        let help = "an optional is what `.?` and `[?…]` find, and what `optional.of(…)` makes";
        self.fault(Diagnostic::error("E007", self.place(&typed.at), message).help(help));
        None
    }
}
