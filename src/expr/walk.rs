//! Types what goes through lists and maps: `map`, `filter`, `all`, `exists`, sums and extremes, keys and values.
//!
//! Comes in: a call on a list with its arguments. Goes out: [`Code`] with its type, or faults. What walks inside each other
//! may cost is `cost`'s.

use crate::diagnostic::Diagnostic;

use super::Type;
use super::check::{Checker, Typed, inner};
use super::code::{Code, Each};
use super::function::Function;
use super::parse::{self, Node};

/// A walk as it is written.
pub(super) struct Walk<'n> {
    pub verb: Each,
    pub of: &'n Node,
    /// The name of the element; or of its place (a map's key) and of the element.
    pub vars: &'n [Node],
    pub filter: Option<&'n Node>,
    pub body: &'n Node,
}

impl Checker<'_> {
    pub(super) fn each(&mut self, walk: &Walk<'_>) -> Option<(Code, Type)> {
        let of = self.present_one(walk.of, "going through it")?;
        let Some(element) = inner(&of.ty) else {
            let message = format!("expected a list, found {}", self.shown(&of.ty));
            self.fault(Diagnostic::error("E007", self.place(&of.at), message));
            return None;
        };
        let types = match (walk.vars, of.ty.unwrapped()) {
            ([_], _) => vec![element.clone()],
            (_, Type::Map(key, value)) => vec![(**key).clone(), (**value).clone()],
            (_, Type::List(_)) => vec![Type::Int, element.clone()],
            _ => vec![Type::Dyn, Type::Dyn],
        };
        let mut names = Vec::new();
        for var in walk.vars {
            names.push(self.new_name(var, &names)?);
        }
        let (outer, paired) = (self.locals.len(), names.len() == 2);
        self.shape_is_list(&of);
        // Of a list gone through by place and value, or of an object, nothing is known.
        self.local_shapes.resize(outer, None);
        self.local_shapes.extend((!paired).then(|| self.element_shape(&of.code)));
        self.locals.extend(names.into_iter().zip(types.iter().cloned()));
        let filter = walk.filter.map(|filter| self.condition(filter));
        let body = match walk.verb {
            Each::Map | Each::MapValues | Each::Entries => self.check(walk.body, None),
            _ => {
                let at = walk.body.at.clone();
                self.condition(walk.body).map(|code| Typed { code, ty: Type::Bool, at })
            }
        };
        self.locals.truncate(outer);
        self.local_shapes.truncate(outer);
        let (filter, body) = (filter.map_or(Some(None), |filter| filter.map(Some))?, body?);
        let ty = match walk.verb {
            Each::Map => Type::List(Box::new(body.ty)),
            Each::MapValues => Type::Map(Box::new(types[0].clone()), Box::new(body.ty)),
            Each::Entries => match body.ty {
                Type::Map(..) => body.ty,
                _ => return self.wrong(&body, "a map, such as `{key: value}`", None),
            },
            Each::Filter => Type::List(Box::new(element)),
            Each::All | Each::Exists | Each::ExistsOne => Type::Bool,
        };
        let text = self.source(&of.at);
        let (over, filter, body) = (Box::new(of.code), filter.map(Box::new), Box::new(body.code));
        Some((Code::Each { verb: walk.verb, over, text, paired, filter, body }, ty))
    }

    /// A name that an expression gives to a value; faults where it is none, or is taken.
    pub(super) fn new_name(&mut self, var: &Node, others: &[String]) -> Option<String> {
        let parse::Kind::Name(name) = &var.kind else {
            let message = "expected a name for the element";
            self.fault(
                Diagnostic::error("E015", self.place(&var.at), message).help("write `list.map(x, x.field)`"),
            );
            return None;
        };
        let known = self.env.names.iter().chain(&self.locals).map(|(known, _)| known);
        if known.chain(others).any(|known| known == name) {
            let message = format!("`{name}` is taken already");
            self.fault(
                Diagnostic::error("E015", self.place(&var.at), message)
                    .help("choose another name for the element"),
            );
            return None;
        }
        Some(name.clone())
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
            ("sum", Type::Uint) => (Function::SumUints, element),
            ("sum", Type::Decimal) => (Function::SumDecimals, element),
            ("sum", Type::Float) => (Function::SumFloats, element),
            ("sum", Type::Duration) => (Function::SumDurations, element),
            ("sum", _) => {
                return self.wrong(&typed, "a list of numbers", None);
            }
            (
                _,
                Type::Record(_)
                | Type::Money
                | Type::List(_)
                | Type::Map(..)
                | Type::Enum(_)
                | Type::Type
                | Type::LogRecord
                | Type::Uuid
                | Type::Bytes,
            ) => {
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
