//! Types what is written out: lists, maps, and the names of types.
//!
//! Comes in: the elements or entries of a literal. Goes out: [`Code`] with its type, or faults. The elements of a list and
//! the values of a map are of one type, unless something around says that anything may come: `dyn([1, 'a'])`.

use crate::diagnostic::Diagnostic;

use super::Type;
use super::check::{Checker, Typed, inner};
use super::code::Code;
use super::parse::{self, Element, Entry, Node};
use super::types::join;
use super::val::Val;

/// The names of types, as `type(x)` gives them.
const TYPES: [&str; 17] = [
    "bool",
    "bytes",
    "date",
    "decimal",
    "double",
    "google.protobuf.Duration",
    "google.protobuf.Timestamp",
    "int",
    "list",
    "map",
    "null_type",
    "optional_type",
    "string",
    "time",
    "type",
    "uint",
    "uuid",
];

impl Checker<'_> {
    /// The type that a name, or a path of names, is.
    pub(super) fn type_named(&self, node: &Node) -> Option<Typed> {
        let text = self.text.get(node.at.clone())?;
        let name = TYPES.iter().find(|known| **known == text.trim_start_matches('.'))?;
        Some(Typed { code: Code::Literal(Val::Type(name)), ty: Type::Type, at: node.at.clone() })
    }

    pub(super) fn list(&mut self, elements: &[Element], node: &Node, hint: Option<&Type>) -> Option<Typed> {
        let mut of = hint.and_then(inner);
        if of.is_none() && elements.iter().any(|element| self.wants_hint(&element.node)) {
            let known = elements.iter().find(|element| !self.wants_hint(&element.node));
            of = known.and_then(|known| {
                let (faults, reads) = (self.faults.len(), self.reads.len());
                let ty = self.check(&known.node, None).map(|typed| typed.ty);
                self.faults.truncate(faults);
                self.reads.truncate(reads);
                ty
            });
        }
        let typed: Vec<_> = elements.iter().map(|element| self.element(element, of.as_ref())).collect();
        let typed = typed.into_iter().collect::<Option<Vec<_>>>()?;
        let ty = self.one_type(&typed, "a list holds", "its elements")?;
        let codes = typed.into_iter().map(|element| element.code);
        let code = match elements.iter().any(|element| element.optional) {
            false => Code::List(codes.collect()),
            true => Code::Some(codes.zip(elements.iter().map(|element| element.optional)).collect()),
        };
        Some(Typed { code, ty: Type::List(Box::new(ty)), at: node.at.clone() })
    }

    /// An element; what an optional one holds where it is there.
    fn element(&mut self, element: &Element, hint: Option<&Type>) -> Option<Typed> {
        let typed = self.check(&element.node, hint)?;
        match element.optional {
            true => self.of_optional(typed),
            false => Some(typed),
        }
    }

    /// Refuses what is no optional where one is asked for, as `[?x]` does.
    fn of_optional(&mut self, typed: Typed) -> Option<Typed> {
        match &typed.ty {
            Type::Optional(of) => Some(Typed { ty: (**of).clone(), ..typed }),
            other => {
                let found = self.shown(other);
                let message = format!("`?` takes an optional, found {found}");
                let help = "write it without `?`, or read the field with `.?`";
                self.fault(Diagnostic::error("E007", self.place(&typed.at), message).help(help))
            }
        }
    }

    pub(super) fn map(&mut self, entries: &[Entry], node: &Node, hint: Option<&Type>) -> Option<Typed> {
        let (key_hint, value_hint) = match hint.map(Type::unwrapped) {
            Some(Type::Map(key, value)) => (Some((**key).clone()), Some((**value).clone())),
            _ => (None, None),
        };
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        for entry in entries {
            let key = self.check(&entry.key, key_hint.as_ref());
            let value = self.check(&entry.value, value_hint.as_ref());
            let value = match (value, entry.optional) {
                (Some(value), true) => self.of_optional(value),
                (value, _) => value,
            };
            keys.push(key.and_then(|key| self.key(key)));
            values.push(value);
        }
        let keys = keys.into_iter().collect::<Option<Vec<_>>>()?;
        let values = values.into_iter().collect::<Option<Vec<_>>>()?;
        self.once(entries)?;
        let key = self.one_type(&keys, "the keys of a map are", "its keys");
        // What a record is made of has a type for each name.
        let named = entries.iter().all(|entry| matches!(entry.key.kind, parse::Kind::Text(_)));
        let value = match named && value_types_differ(&values) {
            true => Some(Type::Dyn),
            false => self.one_type(&values, "a map holds", "its values"),
        };
        let codes = keys.into_iter().zip(values).zip(entries);
        let codes = codes.map(|((key, value), entry)| (key.code, value.code, entry.optional)).collect();
        let ty = Type::Map(Box::new(key?), Box::new(value?));
        Some(Typed { code: Code::Map(codes), ty, at: node.at.clone() })
    }

    /// Refuses what cannot be a key.
    fn key(&mut self, key: Typed) -> Option<Typed> {
        if matches!(key.ty, Type::Bool | Type::Int | Type::Uint | Type::Text | Type::Enum(_) | Type::Dyn) {
            return Some(key);
        }
        let message = format!("a key of a map is Boolean, Int or String, found {}", self.shown(&key.ty));
        self.fault(Diagnostic::error("E007", self.place(&key.at), message).help("write `string(…)`"))
    }

    /// Refuses a key that is written twice.
    fn once(&mut self, entries: &[Entry]) -> Option<()> {
        for (at, entry) in entries.iter().enumerate() {
            let literal = matches!(
                entry.key.kind,
                parse::Kind::Text(_) | parse::Kind::Int(_) | parse::Kind::Uint(_) | parse::Kind::Bool(_)
            );
            if literal && entries[..at].iter().any(|before| before.key.kind == entry.key.kind) {
                let message = format!("the key {} stands twice in one map", self.source(&entry.key.at));
                let help = "keep one of the two entries";
                self.fault(Diagnostic::error("E015", self.place(&entry.key.at), message).help(help));
                return None;
            }
        }
        Some(())
    }

    /// The one type of several parts.
    fn one_type(&mut self, parts: &[Typed], what: &str, whose: &str) -> Option<Type> {
        let mut ty = parts.first().map_or(Type::Dyn, |first| first.ty.clone());
        for part in parts.iter().skip(1) {
            match join(&ty, &part.ty) {
                Some(joined) => ty = joined,
                None if self.mixed => return Some(Type::Dyn),
                None => {
                    let (found, other) = (self.shown(&ty), self.shown(&part.ty));
                    let message = format!("{what} {found} and {other}");
                    let diagnostic = Diagnostic::error("E007", self.place(&part.at), message);
                    let help = format!("{whose} must be of one type; where anything may come, say `dyn(…)`");
                    self.fault(diagnostic.help(help));
                    return None;
                }
            }
        }
        Some(ty)
    }

    /// Types a part in which lists and maps may hold values of different types.
    pub(super) fn mixed(&mut self, node: &Node) -> Option<Typed> {
        let before = std::mem::replace(&mut self.mixed, true);
        let typed = self.check(node, None);
        self.mixed = before;
        typed
    }
}

fn value_types_differ(values: &[Typed]) -> bool {
    values.windows(2).any(|two| join(&two[0].ty, &two[1].ty).is_none())
}
