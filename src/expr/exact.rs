//! Types conversions, and what is exact: decimals, their rounding, money.
//!
//! Comes in: a call with its arguments. Goes out: [`Code`] with its type, or faults. What is written out is converted when
//! definitions are checked: a slip in it is the author's to see, and no event's.

use crate::diagnostic::Diagnostic;
use crate::value::Value;
use crate::value::decimal::Rounding;

use super::check::Checker;
use super::code::Code;
use super::eval::eval;
use super::function::Function;
use super::parse::{self, Node};
use super::val::Val;
use super::{Fault, Type};

impl Checker<'_> {
    pub(super) fn conversion(&mut self, name: &str, arg: &Node) -> Option<(Code, Type)> {
        let typed = self.present_one(arg, name)?;
        let (function, ty) = conversion(name)?;
        if name == "decimal" && typed.ty == Type::Float {
            self.floating(&typed);
            return None;
        }
        let fits = match (&typed.ty, function) {
            (Type::Dyn | Type::Text, _) => true,
            (found, _) if *found == ty => true,
            (
                Type::Int | Type::Uint | Type::Decimal | Type::Float,
                Function::Int | Function::Uint | Function::Double,
            ) => true,
            (Type::Int | Type::Uint, Function::Decimal) => true,
            (Type::Timestamp, Function::Int | Function::Date) | (Type::Int, Function::Timestamp) => true,
            (other, Function::String) => !matches!(
                other,
                Type::Record(_)
                    | Type::Money
                    | Type::List(_)
                    | Type::Map(..)
                    | Type::Type
                    | Type::LogRecord
                    | Type::Null
            ),
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
        Some((folded.unwrap_or(code), ty))
    }

    pub(super) fn money(&mut self, amount: &Node, currency: &Node) -> Option<(Code, Type)> {
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

    pub(super) fn div(
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
}

pub(super) fn conversion(name: &str) -> Option<(Function, Type)> {
    Some(match name {
        "decimal" => (Function::Decimal, Type::Decimal),
        "int" => (Function::Int, Type::Int),
        "uint" => (Function::Uint, Type::Uint),
        "bool" => (Function::Bool, Type::Bool),
        "bytes" => (Function::Utf8, Type::Bytes),
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

/// Code for a value that is always the same.
fn constant_of(value: &Val<'_>) -> Option<Code> {
    Some(Code::Const(match value {
        Val::Bool(truth) => Value::Bool(*truth),
        Val::Decimal(number) => Value::Decimal(*number),
        Val::Int(number) => Value::Int(*number),
        Val::Float(number) if number.is_finite() => Value::Float(*number),
        Val::Text(text) => Value::text(&**text),
        Val::Bytes(bytes) => Value::Bytes(bytes.as_ref().into()),
        Val::Timestamp(ms) => Value::Timestamp(*ms),
        Val::Date(days) => Value::Date(*days),
        Val::Time(nanos) => Value::Time(*nanos),
        Val::Uuid(uuid) => Value::Uuid(*uuid),
        // No column holds these.
        Val::Float(number) => return Some(Code::Literal(Val::Float(*number))),
        Val::Uint(number) => return Some(Code::Literal(Val::Uint(*number))),
        Val::Duration(ms) => return Some(Code::Literal(Val::Duration(*ms))),
        _ => return None,
    }))
}
