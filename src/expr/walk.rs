//! Types what goes through lists and maps: `map`, `filter`, `all`, `exists`, sums and extremes, keys and values.
//!
//! Comes in: a call on a list with its arguments. Goes out: [`Code`] with its type, or faults. How deep walks may stand inside
//! each other is bounded here: their costs multiply.

use crate::diagnostic::Diagnostic;

use super::Type;
use super::check::{Checker, Typed, inner};
use super::eval::{Code, Each};
use super::function::Function;
use super::parse::{self, Node};

/// Most `map`, `filter`, `all` and `exists` inside each other.
pub(super) const NESTING_MAX: usize = 3;

impl Checker<'_> {
    pub(super) fn each(
        &mut self,
        verb: Each,
        of: &Node,
        var: &Node,
        filter: Option<&Node>,
        body: &Node,
    ) -> Option<(Code, Type)> {
        let of = self.present_one(of, "going through it")?;
        let Some(element) = inner(&of.ty) else {
            let message = format!("expected a list, found {}", self.shown(&of.ty));
            self.fault(Diagnostic::error("E007", self.place(&of.at), message));
            return None;
        };
        let parse::Kind::Name(name) = &var.kind else {
            let message = "expected a name for the element";
            self.fault(
                Diagnostic::error("E015", self.place(&var.at), message).help("write `list.map(x, x.field)`"),
            );
            return None;
        };
        if self.locals.len() >= NESTING_MAX {
            let message = format!("more than {NESTING_MAX} walks through lists stand inside each other");
            let help = "their costs multiply; make the inner list when the event is produced";
            self.fault(Diagnostic::error("E013", self.place(&body.at), message).help(help));
            return None;
        }
        if self
            .env
            .names
            .iter()
            .map(|(known, _)| known)
            .chain(self.locals.iter().map(|(known, _)| known))
            .any(|known| known == name)
        {
            let message = format!("`{name}` is taken already");
            self.fault(
                Diagnostic::error("E015", self.place(&var.at), message)
                    .help("choose another name for the element"),
            );
            return None;
        }
        self.shape_is_list(&of);
        self.local_shapes.push(self.element_shape(&of.code));
        self.locals.push((name.clone(), element.clone()));
        let filter = filter.map(|filter| self.condition(filter));
        let result = if verb == Each::Map {
            self.check(body, None)
        } else {
            let at = body.at.clone();
            self.condition(body).map(|code| Typed { code, ty: Type::Bool, at })
        };
        self.locals.pop();
        self.local_shapes.pop();
        let (filter, body) = (filter.map_or(Some(None), |filter| filter.map(Some))?, result?);
        let ty = match verb {
            Each::Map => Type::List(Box::new(body.ty)),
            Each::Filter => Type::List(Box::new(element)),
            Each::All | Each::Exists | Each::ExistsOne => Type::Bool,
        };
        let text = self.source(&of.at);
        let (over, filter, body) = (Box::new(of.code), filter.map(Box::new), Box::new(body.code));
        Some((Code::Each { verb, over, text, filter, body }, ty))
    }

    pub(super) fn aggregate(&mut self, name: &str, of: &Node) -> Option<(Code, Type)> {
        let typed = self.present_one(of, name)?;
        let element = match &typed.ty {
            Type::List(of) => (**of).clone(),
            Type::Dyn => Type::Dyn,
            _ => return self.wrong(&typed, "a list", None),
        };
        if element.is_nullable() || matches!(element, Type::Optional(_)) {
            let found = self.shown(&element);
            let message = format!("`{name}` cannot take elements that may be null: they are {found}");
            let help = "unwrap them where the list is made, such as `.map(x, x.n.orValue(0))`";
            self.fault(Diagnostic::error("E008", self.place(&typed.at), message).help(help));
            return None;
        }
        let (function, ty) = match (name, &element) {
            ("sum", Type::Int | Type::Dyn) => (Function::Sum, element),
            ("sum", Type::Decimal) => (Function::SumDecimals, element),
            ("sum", Type::Float) => (Function::SumFloats, element),
            ("sum", _) => {
                return self.wrong(&typed, "a list of numbers", None);
            }
            (_, Type::Record(_) | Type::Money | Type::List(_) | Type::Map(..) | Type::Enum(_)) => {
                return self.wrong(&typed, "a list of numbers, text or times", None);
            }
            ("min", _) => (Function::Min, element.nullable()),
            _ => (Function::Max, element.nullable()),
        };
        let text = self.source(&typed.at);
        Some((Code::Call(function, vec![typed.code], text), ty))
    }

    pub(super) fn parts(&mut self, name: &str, of: &Node) -> Option<(Code, Type)> {
        let typed = self.present_one(of, name)?;
        let of = match (name, &typed.ty) {
            ("keys", Type::Map(key, _)) => (**key).clone(),
            ("values", Type::Map(_, value)) => (**value).clone(),
            ("keys", Type::Dyn) => Type::Text,
            (_, Type::Dyn) => Type::Dyn,
            _ => return self.wrong(&typed, "a map", None),
        };
        let function = if name == "keys" { Function::Keys } else { Function::Values };
        let text = self.source(&typed.at);
        Some((Code::Call(function, vec![typed.code], text), Type::List(Box::new(of))))
    }
}
