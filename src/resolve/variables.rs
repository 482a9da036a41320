//! Variables of an operation: coerced before it runs, looked up while it runs.
//!
//! Comes in: the declared types and the request's JSON. Goes out: [`Variables`], or a refusal that names the variable
//! and the place inside it. Values of custom scalars stay JSON: the argument that takes one knows its type.

use std::borrow::Cow;

use apollo_compiler::ast;
use apollo_compiler::executable as exe;
use apollo_compiler::parser::SourceMap;
use apollo_compiler::schema::ExtendedType;
use apollo_compiler::{Node, Schema};
use serde_json::{Map, Value as Json};

use super::coerce::Given;
use super::error::{Code, Fault, Refusal};
use super::operation::declared_at;

/// The values of an operation's variables. One that was not given, and has no default, is not in it.
#[derive(Debug, Default)]
pub(super) struct Variables {
    values: Map<String, Json>,
}

/// Coerces all variables of an operation.
///
/// # Errors
/// The first variable that does not fit its type.
pub(super) fn coerce(
    operation: &exe::Operation,
    mut given: Map<String, Json>,
    schema: &Schema,
    sources: &SourceMap,
) -> Result<Variables, Refusal> {
    let mut values = Map::new();
    for definition in &operation.variables {
        let name = definition.name.as_str();
        let refused = |why: String| {
            let fault = Fault::new(Code::BadUserInput, format!("Variable `${name}`{why}"));
            Refusal::at(fault, declared_at(definition, sources))
        };
        match (given.remove(name), &definition.default_value) {
            (Some(value), _) => {
                let value = fitted(&definition.ty, value, schema, &mut String::new()).map_err(refused)?;
                values.insert(name.to_owned(), value);
            }
            (None, Some(default)) => {
                let none = Variables::default();
                values.insert(name.to_owned(), none.json(default).into_owned());
            }
            (None, None) if definition.ty.is_non_null() => {
                return Err(refused(format!(" of type `{}` was not given.", definition.ty)));
            }
            (None, None) => {}
        }
    }
    Ok(Variables { values })
}

/// The value as its type takes it: a lone value becomes a list where a list is wanted.
fn fitted(ty: &ast::Type, value: Json, schema: &Schema, path: &mut String) -> Result<Json, String> {
    match (ty, value) {
        (ast::Type::NonNullNamed(_) | ast::Type::NonNullList(_), Json::Null) => {
            Err(format!("{path} is null, but its type is `{ty}`."))
        }
        (_, Json::Null) => Ok(Json::Null),
        (ast::Type::List(item) | ast::Type::NonNullList(item), Json::Array(values)) => {
            let mut fit = Vec::with_capacity(values.len());
            for (index, value) in values.into_iter().enumerate() {
                let length = path.len();
                path.push_str(&format!("[{index}]"));
                fit.push(fitted(item, value, schema, path)?);
                path.truncate(length);
            }
            Ok(Json::Array(fit))
        }
        (ast::Type::List(item) | ast::Type::NonNullList(item), lone) => {
            Ok(Json::Array(vec![fitted(item, lone, schema, path)?]))
        }
        (ast::Type::Named(name) | ast::Type::NonNullNamed(name), value) => {
            if fits(name, &value, schema) {
                return Ok(value);
            }
            let mut shown: String = value.to_string().chars().take(60).collect();
            if shown.len() < value.to_string().len() {
                shown.push('…');
            }
            Err(format!("{path} is {shown}, which is not of type `{name}`."))
        }
    }
}

fn fits(name: &str, value: &Json, schema: &Schema) -> bool {
    match name {
        "Int" => match value {
            Json::Number(number) => number.as_f64().is_some_and(|number| {
                number.fract() == 0.0 && number >= f64::from(i32::MIN) && number <= f64::from(i32::MAX)
            }),
            _ => false,
        },
        "Float" => value.is_number(),
        "String" => value.is_string(),
        "Boolean" => value.is_boolean(),
        "ID" => value.is_string() || value.is_i64() || value.is_u64(),
        _ => match schema.types.get(name) {
            Some(ExtendedType::Enum(of)) => value.as_str().is_some_and(|value| of.values.contains_key(value)),
            _ => true,
        },
    }
}

impl Variables {
    /// All values.
    pub fn values(&self) -> &Map<String, Json> {
        &self.values
    }

    /// The value of a condition: validation has seen to it that it is a Boolean.
    pub fn truth(&self, name: &str) -> bool {
        self.values.get(name).and_then(Json::as_bool).unwrap_or(false)
    }

    /// An argument's value; `None` where it is a variable that was not given.
    pub fn given<'v>(&'v self, value: &'v ast::Value) -> Option<Given<'v>> {
        Some(match value {
            ast::Value::Null => Given::Null,
            ast::Value::Boolean(truth) => Given::Bool(*truth),
            ast::Value::Int(digits) => Given::Number(Cow::Borrowed(digits.as_str())),
            ast::Value::Float(digits) => Given::Number(Cow::Borrowed(digits.as_str())),
            ast::Value::String(text) => Given::Text(text),
            ast::Value::Enum(name) => Given::Name(name),
            ast::Value::Variable(name) => Given::json(self.values.get(name.as_str())?),
            ast::Value::List(_) | ast::Value::Object(_) => Given::Compound,
        })
    }

    /// The same for an optional argument.
    pub fn argument<'v>(&'v self, value: Option<&'v Node<ast::Value>>) -> Option<Given<'v>> {
        value.and_then(|value| self.given(value))
    }

    /// An argument's value as JSON; a variable's is not copied.
    pub fn json<'v>(&'v self, value: &'v ast::Value) -> Cow<'v, Json> {
        match value {
            ast::Value::Variable(name) => match self.values.get(name.as_str()) {
                Some(value) => Cow::Borrowed(value),
                None => Cow::Owned(Json::Null),
            },
            ast::Value::List(items) => {
                Cow::Owned(Json::Array(items.iter().map(|item| self.json(item).into_owned()).collect()))
            }
            ast::Value::Object(fields) => {
                let known = fields.iter().filter(|(_, value)| self.is_given(value));
                Cow::Owned(Json::Object(
                    known.map(|(name, value)| (name.to_string(), self.json(value).into_owned())).collect(),
                ))
            }
            other => Cow::Owned(literal(other)),
        }
    }

    fn is_given(&self, value: &ast::Value) -> bool {
        value.as_variable().is_none_or(|name| self.values.contains_key(name.as_str()))
    }
}

fn literal(value: &ast::Value) -> Json {
    match value {
        ast::Value::Boolean(truth) => Json::Bool(*truth),
        ast::Value::String(text) => Json::String(text.clone()),
        ast::Value::Enum(name) => Json::String(name.to_string()),
        ast::Value::Int(digits) => number(digits.as_str()),
        ast::Value::Float(digits) => number(digits.as_str()),
        ast::Value::Null | ast::Value::Variable(_) | ast::Value::List(_) | ast::Value::Object(_) => {
            Json::Null
        }
    }
}

/// A number that JSON can hold exactly, else its digits as text: what takes such numbers takes both.
fn number(digits: &str) -> Json {
    match serde_json::from_str::<serde_json::Number>(digits) {
        Ok(number) if number.to_string() == digits => Json::Number(number),
        Ok(number) if number.is_f64() && digits.parse::<f64>().is_ok_and(f64::is_finite) => {
            if digits.contains(['e', 'E']) { Json::Number(number) } else { Json::String(digits.to_owned()) }
        }
        _ => Json::String(digits.to_owned()),
    }
}
