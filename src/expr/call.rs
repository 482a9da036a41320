//! Types calls: functions, methods, and what goes through lists.
//!
//! Comes in: a call with its arguments. Goes out: [`Code`] with its type, or faults. What the functions do is
//! `function`'s.

use std::ops::Range;
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, nearest};
use crate::value::Value;
use crate::value::decimal::Rounding;

use super::check::{Checker, Typed};
use super::eval::{Code, Each, eval};
use super::function::Function;
use super::parse::{self, Node};
use super::types::join;
use super::val::Val;
use super::{Fault, Type};

/// Every function and method, as it is called.
const FORMS: &[(&str, &str)] = &[
    ("decimal", "decimal(x)"),
    ("int", "int(x)"),
    ("double", "double(x)"),
    ("string", "string(x)"),
    ("timestamp", "timestamp(x)"),
    ("date", "date(x)"),
    ("time", "time(x)"),
    ("duration", "duration(x)"),
    ("uuid", "uuid(x)"),
    ("base64", "base64(x)"),
    ("money", "money(amount, currency)"),
    ("div", "div(a, b, scale, rounding)"),
    ("round", "round(x, scale, rounding)"),
    ("size", "x.size()"),
    ("has", "has(x.field)"),
    ("orValue", "x.orValue(default)"),
    ("hasValue", "x.hasValue()"),
    ("map", "list.map(x, value)"),
    ("filter", "list.filter(x, condition)"),
    ("all", "list.all(x, condition)"),
    ("exists", "list.exists(x, condition)"),
    ("exists_one", "list.exists_one(x, condition)"),
    ("sum", "list.sum()"),
    ("min", "list.min()"),
    ("max", "list.max()"),
    ("values", "map.values()"),
    ("keys", "map.keys()"),
    ("startsWith", "text.startsWith(prefix)"),
    ("endsWith", "text.endsWith(suffix)"),
    ("contains", "text.contains(part)"),
    ("lowerAscii", "text.lowerAscii()"),
    ("upperAscii", "text.upperAscii()"),
    ("trim", "text.trim()"),
    ("replace", "text.replace(part, by)"),
    ("split", "text.split(separator)"),
    ("join", "list.join(separator)"),
];

/// What authors ask for that would give another answer at each replay.
const CHANGING: &[&str] =
    &["now", "today", "random", "rand", "currentTime", "currentTimestamp", "generateId"];

impl Checker<'_> {
    pub(super) fn call(
        &mut self,
        node: &Node,
        name: &str,
        name_at: &Range<usize>,
        of: Option<&Node>,
        args: &[Node],
        hint: Option<&Type>,
    ) -> Option<Typed> {
        let (code, ty) = match (name, of, args) {
            ("has", None, [arg]) => self.has(arg)?,
            ("orValue", Some(of), [default]) => self.or_value(of, default, hint)?,
            ("hasValue", Some(of), []) => (Code::Has(Box::new(self.check(of, None)?.code)), Type::Bool),
            ("map", Some(of), [var, filter, body]) => self.each(Each::Map, of, var, Some(filter), body)?,
            ("map" | "filter" | "all" | "exists" | "exists_one" | "existsOne", Some(of), [var, body]) => {
                self.each(verb(name), of, var, None, body)?
            }
            ("div", None, [left, right, scale, rounding]) => self.div(left, Some(right), scale, rounding)?,
            ("round", None, [of, scale, rounding]) => self.div(of, None, scale, rounding)?,
            ("money", None, [amount, currency]) => self.money(amount, currency)?,
            ("size", None, [of]) | ("size", Some(of), []) => self.size(of)?,
            ("sum" | "min" | "max", Some(of), []) => self.aggregate(name, of)?,
            ("values" | "keys", Some(of), []) => self.parts(name, of)?,
            (_, None, [arg]) if conversion(name).is_some() => self.conversion(name, arg)?,
            (_, Some(of), args) if method(name).is_some_and(|(_, count)| count == args.len()) => {
                self.method(name, of, args)?
            }
            _ => return self.unknown_call(name, name_at, of.is_some(), args.len()),
        };
        Some(Typed { code, ty, at: node.at.clone() })
    }

    fn unknown_call(&mut self, name: &str, at: &Range<usize>, method: bool, args: usize) -> Option<Typed> {
        let place = self.place(at);
        if CHANGING.contains(&name) || (name == "uuid" && args == 0) {
            let message =
                format!("`{name}()` gives another value at each call, and a replay must give the same row");
            return self.fault(
                Diagnostic::error("E012", place, message).help("take it from the event, such as `event.at`"),
            );
        }
        if let Some((_, form)) = FORMS.iter().find(|(known, _)| *known == name) {
            let found = match (method, args) {
                (_, 1) => "one argument".to_owned(),
                (_, args) => format!("{args} arguments"),
            };
            let on = if method { " on a value" } else { "" };
            let message = format!("`{name}` is called{on} with {found}");
            return self.fault(Diagnostic::error("E006", place, message).help(format!("write `{form}`")));
        }
        let help = if name == "matches" {
            "regular expressions are left out, because their cost has no bound; see `startsWith`, `endsWith`, `contains`".to_owned()
        } else {
            match nearest(name, FORMS.iter().map(|(known, _)| *known)) {
                Some(near) => {
                    let form = FORMS.iter().find(|(known, _)| *known == near).map_or(near, |(_, form)| form);
                    format!("did you mean `{form}`?")
                }
                None => {
                    let names: Vec<_> = FORMS.iter().map(|(known, _)| *known).collect();
                    format!("the functions are {}", names.join(", "))
                }
            }
        };
        let message = format!("there is no function `{name}`");
        self.fault(Diagnostic::error("E005", place, message).label("unknown function").help(help))
    }

    fn has(&mut self, arg: &Node) -> Option<(Code, Type)> {
        if !matches!(arg.kind, parse::Kind::Select { .. }) {
            let message = "`has` takes a field, such as `has(event.reason)`";
            self.fault(Diagnostic::error("E015", self.place(&arg.at), message));
            return None;
        }
        let mut typed = self.check(arg, None)?;
        if let Code::Select { optional, .. } = &mut typed.code {
            *optional = true;
        }
        Some((Code::Has(Box::new(typed.code)), Type::Bool))
    }

    fn or_value(&mut self, of: &Node, default: &Node, hint: Option<&Type>) -> Option<(Code, Type)> {
        let of = self.check(of, hint);
        let hint = of.as_ref().map(|of| of.ty.unwrapped().clone()).filter(|ty| *ty != Type::Dyn);
        let default = self.check(default, hint.as_ref());
        let (of, default) = (of?, default?);
        let inner = match &of.ty {
            Type::Null => default.ty.clone(),
            other => other.unwrapped().clone(),
        };
        let (at, text) = (of.at.clone(), self.source(&of.at));
        let code = Code::OrValue(Box::new(of.code), Box::new(default.code.clone()));
        if inner == Type::Dyn {
            let typed = Typed { code, ty: Type::Dyn, at };
            let typed = self.coerced(typed, &default.ty);
            return Some((typed.code, typed.ty));
        }
        if inner == Type::Decimal && default.ty == Type::Int {
            return Some((code, Type::Decimal));
        }
        if matches!((&inner, &default.ty), (Type::Decimal, Type::Float)) {
            self.floating(&default);
            return None;
        }
        match join(&inner, &default.ty) {
            Some(ty) => Some((code, ty)),
            None => {
                let (found, other) = (self.shown(&default.ty), self.shown(&inner));
                let message = format!("`{text}` is {other}, but its default is {found}");
                self.fault(Diagnostic::error("E007", self.place(&default.at), message));
                None
            }
        }
    }

    /// An argument that must be there.
    pub(super) fn present_one(&mut self, node: &Node, what: &str) -> Option<Typed> {
        let typed = self.check(node, None)?;
        if typed.ty.is_nullable() || matches!(typed.ty, Type::Optional(_)) {
            self.may_be_nothing(&typed, what);
            return None;
        }
        Some(typed)
    }

    pub(super) fn wrong(
        &mut self,
        typed: &Typed,
        expected: &str,
        help: Option<String>,
    ) -> Option<(Code, Type)> {
        let message = format!("expected {expected}, found {}", self.shown(&typed.ty));
        let mut diagnostic = Diagnostic::error("E007", self.place(&typed.at), message);
        diagnostic.help = help;
        self.fault(diagnostic);
        None
    }

    fn conversion(&mut self, name: &str, arg: &Node) -> Option<(Code, Type)> {
        let typed = self.present_one(arg, name)?;
        let (function, ty) = conversion(name)?;
        if name == "decimal" && typed.ty == Type::Float {
            self.floating(&typed);
            return None;
        }
        let fits = match (&typed.ty, function) {
            (Type::Dyn | Type::Text, _) => true,
            (found, _) if *found == ty => true,
            (Type::Int | Type::Decimal | Type::Float, Function::Int | Function::Double) => true,
            (Type::Int, Function::Decimal) | (Type::Timestamp, Function::Int | Function::Date) => true,
            (other, Function::String) => {
                !matches!(other, Type::Record(_) | Type::Money | Type::List(_) | Type::Map(..) | Type::Bytes)
            }
            _ => false,
        };
        if !fits {
            let expected = format!("what {name} can read");
            return self.wrong(&typed, &expected, None);
        }
        let (at, text) = (typed.at.clone(), self.source(&typed.at));
        let constant = matches!(typed.code, Code::Const(_));
        let code = Code::Call(function, vec![typed.code], text);
        if !constant {
            return Some((code, ty));
        }
        // What is written out is read now: a slip in it is the author's to see, and no event's.
        let folded = match eval(&code, &[]) {
            Ok(value) => constant_of(&value),
            Err(stop) => {
                self.fault(Diagnostic::error("E015", self.place(&at), Fault::from(stop).0));
                return None;
            }
        };
        Some((folded.map_or(code, Code::Const), ty))
    }

    fn money(&mut self, amount: &Node, currency: &Node) -> Option<(Code, Type)> {
        let amount = self.present_one(amount, "money");
        let currency = self.present_one(currency, "money");
        let (amount, currency) = (amount?, currency?);
        if amount.ty == Type::Float {
            self.floating(&amount);
            return None;
        }
        if !matches!(amount.ty, Type::Decimal | Type::Int | Type::Dyn) {
            let help = format!("write `decimal({})`", self.source(&amount.at));
            return self.wrong(&amount, "a Decimal as amount", (amount.ty == Type::Text).then_some(help));
        }
        if !matches!(currency.ty, Type::Text | Type::Dyn | Type::Enum(_)) {
            return self.wrong(&currency, "a String as currency", None);
        }
        let text = self.source(&amount.at);
        let amount = match amount.ty {
            Type::Int => Code::Call(Function::Decimal, vec![amount.code], text.clone()),
            _ => self.coerced(amount, &Type::Decimal).code,
        };
        let currency = self.coerced(currency, &Type::Text).code;
        Some((Code::Call(Function::Money, vec![amount, currency], text), Type::Money))
    }

    fn div(
        &mut self,
        left: &Node,
        right: Option<&Node>,
        scale: &Node,
        rounding: &Node,
    ) -> Option<(Code, Type)> {
        let mut args = Vec::new();
        for node in [Some(left), right].into_iter().flatten() {
            let typed = self.present_one(node, if right.is_some() { "div" } else { "round" })?;
            if typed.ty == Type::Float {
                self.floating(&typed);
                return None;
            }
            if !matches!(typed.ty, Type::Decimal | Type::Int | Type::Dyn) {
                return self.wrong(&typed, "a Decimal", None);
            }
            args.push(self.coerced(typed, &Type::Decimal).code);
        }
        let text = self.source(&left.at);
        let digits = match scale.kind {
            parse::Kind::Int(digits) => u32::try_from(digits).ok().filter(|digits| *digits <= 38),
            _ => None,
        };
        let Some(digits) = digits else {
            let message =
                "the scale is how many digits stand after the point: a number from 0 to 38, written out";
            self.fault(Diagnostic::error("E015", self.place(&scale.at), message));
            return None;
        };
        let known = match &rounding.kind {
            parse::Kind::Text(name) => Rounding::named(name),
            _ => None,
        };
        let Some(known) = known else {
            let names: Vec<_> = Rounding::NAMES.iter().map(|(name, _)| format!("'{name}'")).collect();
            let message = format!("the rounding is one of {}, written out", names.join(", "));
            self.fault(Diagnostic::error("E015", self.place(&rounding.at), message));
            return None;
        };
        let function =
            if right.is_some() { Function::Div(digits, known) } else { Function::Round(digits, known) };
        Some((Code::Call(function, args, text), Type::Decimal))
    }

    fn size(&mut self, of: &Node) -> Option<(Code, Type)> {
        let typed = self.present_one(of, "size")?;
        if !matches!(typed.ty, Type::Text | Type::Bytes | Type::List(_) | Type::Map(..) | Type::Dyn) {
            return self.wrong(&typed, "text, a list or a map", None);
        }
        let text = self.source(&typed.at);
        Some((Code::Call(Function::Size, vec![typed.code], text), Type::Int))
    }

    fn method(&mut self, name: &str, of: &Node, args: &[Node]) -> Option<(Code, Type)> {
        let (function, _) = method(name)?;
        let of = self.present_one(of, name)?;
        let text: Arc<str> = self.source(&of.at);
        let fits = match (function, &of.ty) {
            (_, Type::Dyn) => true,
            (Function::Join, Type::List(of)) => matches!(**of, Type::Text | Type::Dyn | Type::Enum(_)),
            (Function::Join, _) => false,
            (_, found) => *found == Type::Text,
        };
        if !fits {
            let expected = if function == Function::Join { "a list of strings" } else { "a String" };
            return self.wrong(&of, expected, None);
        }
        let mut codes = vec![of.code];
        for arg in args {
            let typed = self.present_one(arg, name)?;
            if !matches!(typed.ty, Type::Text | Type::Dyn) {
                return self.wrong(&typed, "a String", None);
            }
            codes.push(self.coerced(typed, &Type::Text).code);
        }
        let ty = match function {
            Function::StartsWith | Function::EndsWith | Function::Contains => Type::Bool,
            Function::Split => Type::List(Box::new(Type::Text)),
            _ => Type::Text,
        };
        Some((Code::Call(function, codes, text), ty))
    }
}

fn verb(name: &str) -> Each {
    match name {
        "map" => Each::Map,
        "filter" => Each::Filter,
        "all" => Each::All,
        "exists" => Each::Exists,
        _ => Each::ExistsOne,
    }
}

fn conversion(name: &str) -> Option<(Function, Type)> {
    Some(match name {
        "decimal" => (Function::Decimal, Type::Decimal),
        "int" => (Function::Int, Type::Int),
        "double" => (Function::Double, Type::Float),
        "string" => (Function::String, Type::Text),
        "timestamp" => (Function::Timestamp, Type::Timestamp),
        "date" => (Function::Date, Type::Date),
        "time" => (Function::Time, Type::Time),
        "duration" => (Function::Duration, Type::Duration),
        "uuid" => (Function::Uuid, Type::Uuid),
        "base64" => (Function::Bytes, Type::Bytes),
        _ => return None,
    })
}

/// Methods on text, and how many arguments they take.
fn method(name: &str) -> Option<(Function, usize)> {
    Some(match name {
        "startsWith" => (Function::StartsWith, 1),
        "endsWith" => (Function::EndsWith, 1),
        "contains" => (Function::Contains, 1),
        "lowerAscii" => (Function::LowerAscii, 0),
        "upperAscii" => (Function::UpperAscii, 0),
        "trim" => (Function::Trim, 0),
        "replace" => (Function::Replace, 2),
        "split" => (Function::Split, 1),
        "join" => (Function::Join, 1),
        _ => return None,
    })
}

fn constant_of(value: &Val<'_>) -> Option<Value> {
    Some(match value {
        Val::Decimal(number) => Value::Decimal(*number),
        Val::Int(number) => Value::Int(*number),
        Val::Float(number) => Value::Float(*number),
        Val::Text(text) => Value::text(&**text),
        Val::Timestamp(ms) => Value::Timestamp(*ms),
        Val::Date(days) => Value::Date(*days),
        Val::Time(nanos) => Value::Time(*nanos),
        Val::Uuid(uuid) => Value::Uuid(*uuid),
        // A duration is no column's value: it is made when the expression runs.
        _ => return None,
    })
}
