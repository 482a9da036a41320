//! Evaluates CEL by walking the `cel` crate's tree: the oracle's own reading of the expression language, written
//! apart from the engine's. Untyped: it finds faults only when they happen.

use std::collections::BTreeMap;

use cel::IdedExpr;
use cel::common::ast::{Expr, LiteralValue};

use crate::value::{Dec, V, parse_time};

/// A parsed expression.
#[derive(Clone, Debug)]
pub struct Cel {
    text: String,
    tree: IdedExpr,
}

/// Names and what they stand for.
pub type Names = BTreeMap<String, V>;

/// Why there is no value.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// A field of an event that is not there.
    Missing(String),
    Other(String),
}

type Result<T> = std::result::Result<T, Fault>;

fn fault<T>(text: impl Into<String>) -> Result<T> {
    Err(Fault::Other(text.into()))
}

impl Cel {
    pub fn parse(text: &str) -> Cel {
        let tree = cel::parser::Parser::new()
            .enable_optional_syntax(true)
            .parse(text)
            .unwrap_or_else(|errors| panic!("the oracle cannot parse `{text}`: {errors}"));
        Cel { text: text.to_owned(), tree }
    }

    pub fn value(&self, names: &Names) -> Result<V> {
        eval(&self.tree, names).map_err(|why| match why {
            Fault::Other(reason) => Fault::Other(format!("{}: {reason}", self.text)),
            missing => missing,
        })
    }

    /// The value of an expression that sets something: `None` where it is nothing but a path into the event (or an
    /// element of it) whose field is missing.
    pub fn setting(&self, names: &Names) -> Result<Option<V>> {
        match self.value(names) {
            Err(Fault::Missing(_)) if is_path(&self.tree.expr) => Ok(None),
            other => other.map(Some),
        }
    }

    /// Whether a condition holds; null does not.
    pub fn holds(&self, names: &Names) -> Result<bool> {
        match self.value(names)? {
            V::Bool(truth) => Ok(truth),
            V::Null => Ok(false),
            other => fault(format!("`{}` is {}, not a truth value", self.text, other.kind())),
        }
    }
}

fn is_path(expr: &Expr) -> bool {
    match expr {
        Expr::Ident(_) => true,
        Expr::Select(select) => !select.test && is_path(&select.operand.expr),
        _ => false,
    }
}

fn eval(node: &IdedExpr, names: &Names) -> Result<V> {
    match &node.expr {
        Expr::Literal(literal) => Ok(literal_value(literal)),
        Expr::Ident(name) => match names.get(name) {
            Some(value) => Ok(value.clone()),
            None => fault(format!("`{name}` is not known")),
        },
        Expr::Select(select) => {
            let operand = eval(&select.operand, names)?;
            if select.test {
                Ok(V::Bool(operand.get(&select.field).is_some()))
            } else {
                field(&operand, &select.field)
            }
        }
        Expr::List(list) => {
            list.elements.iter().map(|item| eval(item, names)).collect::<Result<_>>().map(V::List)
        }
        Expr::Call(call) => {
            let operator = call.func_name.as_str();
            if call.target.is_none() && matches!(operator, "_&&_" | "_||_" | "_?_:_") {
                return lazy(operator, &call.args, names);
            }
            let mut args = Vec::new();
            for arg in call.target.as_deref().into_iter().chain(&call.args) {
                args.push(eval(arg, names)?);
            }
            apply(operator, args)
        }
        Expr::Comprehension(loop_) => {
            let mut inner = names.clone();
            inner.insert(loop_.accu_var.clone(), eval(&loop_.accu_init, names)?);
            for item in items(eval(&loop_.iter_range, names)?)? {
                inner.insert(loop_.iter_var.clone(), item);
                if eval(&loop_.loop_cond, &inner)? == V::Bool(false) {
                    break;
                }
                let step = eval(&loop_.loop_step, &inner)?;
                inner.insert(loop_.accu_var.clone(), step);
            }
            eval(&loop_.result, &inner)
        }
        other => fault(format!("the oracle does not know {other:?}")),
    }
}

fn literal_value(literal: &LiteralValue) -> V {
    match literal {
        LiteralValue::Boolean(truth) => V::Bool(*truth.inner()),
        LiteralValue::Int(int) => V::Int(i128::from(*int.inner())),
        LiteralValue::UInt(int) => V::Int(i128::from(*int.inner())),
        LiteralValue::Double(float) => V::Float(*float.inner()),
        LiteralValue::String(text) => V::text(text.inner()),
        LiteralValue::Null => V::Null,
        LiteralValue::Bytes(bytes) => V::text(String::from_utf8_lossy(bytes.inner())),
    }
}

fn field(operand: &V, name: &str) -> Result<V> {
    match operand {
        V::Map(fields) => fields.get(name).cloned().ok_or_else(|| Fault::Missing(name.to_owned())),
        // Of a row that is not there every column is null.
        V::Null => Ok(V::Null),
        V::Optional(None) => Ok(V::Optional(None)),
        V::Optional(Some(inner)) => Ok(V::Optional(inner.get(name).cloned().map(Box::new))),
        other => fault(format!("{} has no field `{name}`", other.kind())),
    }
}

/// CEL's `&&` and `||` take a fault on one side where the other side decides.
fn lazy(operator: &str, args: &[IdedExpr], names: &Names) -> Result<V> {
    if operator == "_?_:_" {
        return match eval(&args[0], names)? {
            V::Bool(true) => eval(&args[1], names),
            V::Bool(false) => eval(&args[2], names),
            other => fault(format!("{} is not a truth value", other.kind())),
        };
    }
    let decides = V::Bool(operator == "_||_");
    let mut first_fault = None;
    for arg in args {
        match eval(arg, names) {
            Ok(value) if value == decides => return Ok(decides),
            Ok(V::Bool(_)) => {}
            Ok(other) => {
                first_fault =
                    first_fault.or(Some(Fault::Other(format!("{} is not a truth value", other.kind()))))
            }
            Err(why) => first_fault = first_fault.or(Some(why)),
        }
    }
    first_fault.map_or(Ok(V::Bool(operator == "_&&_")), Err)
}

fn apply(name: &str, mut args: Vec<V>) -> Result<V> {
    let count = args.len();
    let mut next = || args.remove(0);
    Ok(match (name, count) {
        ("!_", 1) => match next() {
            V::Bool(truth) => V::Bool(!truth),
            other => return fault(format!("{} is not a truth value", other.kind())),
        },
        ("_==_", 2) => V::Bool(equal(&next(), &next())),
        ("_!=_", 2) => V::Bool(!equal(&next(), &next())),
        ("_<_" | "_<=_" | "_>_" | "_>=_", 2) => {
            let order = compare(&next(), &next())?;
            V::Bool(match name {
                "_<_" => order.is_lt(),
                "_<=_" => order.is_le(),
                "_>_" => order.is_gt(),
                _ => order.is_ge(),
            })
        }
        ("_+_" | "_-_" | "_*_", 2) => arithmetic(name, next(), next())?,
        ("-_", 1) => arithmetic("_-_", V::Int(0), next())?,
        ("@in", 2) => {
            let (item, all) = (next(), next());
            V::Bool(contains(&all, &item)?)
        }
        ("_[_]", 2) => match (next(), next()) {
            (V::Map(fields), V::Text(key)) => fields.get(&key).cloned().ok_or(Fault::Missing(key))?,
            (V::List(items), index) => match index.as_int().and_then(|i| items.get(usize::try_from(i).ok()?))
            {
                Some(item) => item.clone(),
                None => return fault("no such element"),
            },
            (other, _) => return fault(format!("{} has no elements", other.kind())),
        },
        ("_?._" | "_[?_]", 2) => match (next(), next()) {
            (V::Map(fields), V::Text(key)) => V::Optional(fields.get(&key).cloned().map(Box::new)),
            (V::Optional(Some(inner)), V::Text(key)) => V::Optional(inner.get(&key).cloned().map(Box::new)),
            (V::Null | V::Optional(None), _) => V::Optional(None),
            (other, _) => return fault(format!("{} has no fields", other.kind())),
        },
        ("orValue", 2) => match (next(), next()) {
            (V::Null | V::Optional(None), default) => default,
            (V::Optional(Some(inner)), default) if *inner == V::Null => default,
            (V::Optional(Some(inner)), _) => *inner,
            (value, _) => value,
        },
        ("hasValue", 1) => V::Bool(matches!(next(), V::Optional(Some(_)))),
        ("values", 1) => V::List(match next() {
            V::Map(fields) => fields.into_values().collect(),
            other => return fault(format!("{} has no values", other.kind())),
        }),
        ("keys", 1) => V::List(match next() {
            V::Map(fields) => fields.into_keys().map(V::Text).collect(),
            other => return fault(format!("{} has no keys", other.kind())),
        }),
        ("size", 1) => V::Int(match next() {
            V::Text(text) => text.chars().count() as i128,
            other => items(other)?.len() as i128,
        }),
        ("sum", 1) => sum(items(next())?)?,
        ("decimal", 1) => V::Decimal(decimal(&next())?),
        ("money", 2) => {
            let (amount, currency) = (decimal(&next())?, next());
            if currency.as_text().is_none() {
                return fault(format!("a currency is text, not {}", currency.kind()));
            }
            V::Map([("amount".into(), V::Decimal(amount)), ("currency".into(), currency)].into())
        }
        ("timestamp", 1) => match next() {
            V::Text(text) => V::Time(parse_time(&text).map_err(Fault::Other)?),
            V::Time(ms) => V::Time(ms),
            other => return fault(format!("{} is not a time", other.kind())),
        },
        ("startsWith" | "endsWith" | "contains", 2) => match (next(), next()) {
            (V::Text(text), V::Text(part)) => V::Bool(match name {
                "startsWith" => text.starts_with(&part),
                "endsWith" => text.ends_with(&part),
                _ => text.contains(&part),
            }),
            (other, _) => return fault(format!("{} is not text", other.kind())),
        },
        _ => return fault(format!("the oracle does not know `{name}` with {count} operands")),
    })
}

/// The elements of a list, or the keys of a map.
fn items(value: V) -> Result<Vec<V>> {
    match value {
        V::List(items) => Ok(items),
        V::Map(fields) => Ok(fields.into_keys().map(V::Text).collect()),
        other => fault(format!("{} is not a list", other.kind())),
    }
}

fn contains(all: &V, item: &V) -> Result<bool> {
    match all {
        V::List(items) => Ok(items.iter().any(|each| equal(each, item))),
        V::Map(fields) => Ok(item.as_text().is_some_and(|key| fields.contains_key(key))),
        V::Null => Ok(false),
        other => fault(format!("{} has no elements", other.kind())),
    }
}

fn equal(a: &V, b: &V) -> bool {
    match (number(a), number(b)) {
        (Some(a), Some(b)) => a.compare(&b).is_eq(),
        _ => a == b,
    }
}

fn compare(a: &V, b: &V) -> Result<std::cmp::Ordering> {
    match (a, b) {
        (V::Text(a), V::Text(b)) => Ok(a.as_bytes().cmp(b.as_bytes())),
        (V::Time(a), V::Time(b)) => Ok(a.cmp(b)),
        _ => match (number(a), number(b)) {
            (Some(a), Some(b)) => Ok(a.compare(&b)),
            _ => fault(format!("{} and {} cannot be compared", a.kind(), b.kind())),
        },
    }
}

/// A number of any kind, exactly.
fn number(value: &V) -> Option<Dec> {
    match value {
        V::Int(int) => Some(Dec::from_int(*int)),
        V::Number(text) => Dec::parse(text).ok(),
        V::Decimal(dec) => Some(dec.clone()),
        V::Float(float) => Dec::parse(&float.to_string()).ok(),
        _ => None,
    }
}

fn arithmetic(operator: &str, a: V, b: V) -> Result<V> {
    if let (V::Decimal(_), _) | (_, V::Decimal(_)) = (&a, &b) {
        let (a, b) = (exact(&a)?, exact(&b)?);
        let result = match operator {
            "_+_" => a.plus(&b),
            "_-_" => a.minus(&b),
            _ => a.times(&b),
        };
        return result.map(V::Decimal).map_err(Fault::Other);
    }
    if let (Some(a), Some(b)) = (a.as_int(), b.as_int()) {
        let result = match operator {
            "_+_" => a + b,
            "_-_" => a - b,
            _ => a * b,
        };
        return match i64::try_from(result) {
            Ok(fits) => Ok(V::Int(i128::from(fits))),
            Err(_) => fault("more than 64 bits"),
        };
    }
    match (operator, a, b) {
        ("_+_", V::Text(a), V::Text(b)) => Ok(V::Text(a + &b)),
        ("_+_", V::List(a), V::List(b)) => Ok(V::List([a, b].concat())),
        (_, a, b) => fault(format!("{operator} of {} and {}", a.kind(), b.kind())),
    }
}

/// A factor beside a decimal: another decimal or an integer.
fn exact(value: &V) -> Result<Dec> {
    match value {
        V::Decimal(dec) => Ok(dec.clone()),
        _ => match value.as_int() {
            Some(int) => Ok(Dec::from_int(int)),
            None => fault(format!("{} beside a decimal", value.kind())),
        },
    }
}

fn decimal(value: &V) -> Result<Dec> {
    let read = match value {
        V::Text(text) | V::Number(text) => Dec::parse(text),
        V::Decimal(dec) => Ok(dec.clone()),
        V::Int(int) => Ok(Dec::from_int(*int)),
        other => Err(format!("{} is not a decimal", other.kind())),
    };
    read.map_err(Fault::Other)
}

fn sum(items: Vec<V>) -> Result<V> {
    let mut items = items.into_iter();
    let Some(first) = items.next() else { return Ok(V::Int(0)) };
    items.try_fold(first, |total, item| arithmetic("_+_", total, item))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::parse_json;

    fn value(text: &str) -> std::result::Result<String, Fault> {
        let event =
            parse_json(br#"{"q": 2, "p": "1.50", "n": null, "f": 1.5, "lines": [{"p": "1.5", "q": 2}]}"#);
        let names = Names::from([("event".into(), event.expect("JSON")), ("row".into(), V::Null)]);
        Cel::parse(text).value(&names).map(|value| value.to_json().to_string())
    }

    #[test]
    fn expressions_have_the_values_that_cel_gives_them() {
        for (text, expect) in [
            ("event.q + 1 == 3 && event.q > 1", "true"),
            ("money(event.p, 'EUR').amount * event.q", "\"3.00\""),
            ("event.lines.map(l, decimal(l.p) * l.q).sum()", "\"3.0\""),
            ("[].sum()", "0"),
            ("event.?x.orValue(7)", "7"),
            ("'a' in ['a', 'b'] ? 1 : 2", "1"),
            ("row.status != 'A'", "true"),
            ("row.status in ['A']", "false"),
            ("'a' in row.lines", "false"),
            ("false && event.x", "false"),
            ("has(event.q) && !has(event.x)", "true"),
            ("event.f > 1", "true"),
        ] {
            assert_eq!(value(text).as_deref(), Ok(expect), "{text}");
        }
    }

    #[test]
    fn faults_are_found() {
        assert_eq!(value("event.x + 1"), Err(Fault::Missing("x".into())));
        for text in
            ["event.q + event.f", "event.n > 1", "money('x', 'EUR')", "event.q.z", "decimal('1') * 1.5"]
        {
            assert!(matches!(value(text), Err(Fault::Other(_))), "{text} has a value: {:?}", value(text));
        }
    }
}
