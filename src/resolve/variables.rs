//! Variables of an operation: coerced before it runs, looked up while it runs.
//!
//! Comes in: the declared types and the request's JSON. Goes out: [`Variables`], or a refusal that names the variable
//! and the place inside it. Values of custom scalars stay JSON: the argument that takes one knows its type.

use std::borrow::Cow;

use apollo_compiler::ast;
use apollo_compiler::executable as exe;
use apollo_compiler::parser::SourceMap;
use apollo_compiler::schema::{EnumType, ExtendedType};
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
                let takes = takes(definition.ty.inner_named_type(), schema);
                let value =
                    fitted(&definition.ty, &takes, value).map_err(|misfit| refused(misfit.sentence()))?;
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

/// What a named type takes.
enum Takes<'s> {
    Int,
    Float,
    String,
    Boolean,
    Id,
    Enum(&'s EnumType),
    /// Custom scalars: the argument that takes the value knows more.
    Anything,
}

fn takes<'s>(name: &str, schema: &'s Schema) -> Takes<'s> {
    match name {
        "Int" => Takes::Int,
        "Float" => Takes::Float,
        "String" => Takes::String,
        "Boolean" => Takes::Boolean,
        "ID" => Takes::Id,
        _ => match schema.types.get(name) {
            Some(ExtendedType::Enum(of)) => Takes::Enum(of),
            _ => Takes::Anything,
        },
    }
}

/// A value that does not fit. Its place is known where it is found and grows on the way out: what fits pays nothing.
struct Misfit {
    why: String,
    /// Indices of lists, the innermost first.
    path: Vec<usize>,
}

impl Misfit {
    fn sentence(&self) -> String {
        let path: String = self.path.iter().rev().map(|index| format!("[{index}]")).collect();
        format!("{path} is {}", self.why)
    }
}

/// The value as its type takes it: a lone value becomes a list where a list is wanted.
fn fitted(ty: &ast::Type, takes: &Takes<'_>, value: Json) -> Result<Json, Misfit> {
    match (ty, value) {
        (ast::Type::NonNullNamed(_) | ast::Type::NonNullList(_), Json::Null) => {
            Err(Misfit { why: format!("null, but its type is `{ty}`."), path: Vec::new() })
        }
        (_, Json::Null) => Ok(Json::Null),
        (ast::Type::List(item) | ast::Type::NonNullList(item), Json::Array(mut values)) => {
            for (index, value) in values.iter_mut().enumerate() {
                *value = fitted(item, takes, value.take()).map_err(|mut misfit| {
                    misfit.path.push(index);
                    misfit
                })?;
            }
            Ok(Json::Array(values))
        }
        (ast::Type::List(item) | ast::Type::NonNullList(item), lone) => {
            Ok(Json::Array(vec![fitted(item, takes, lone)?]))
        }
        (ast::Type::Named(name) | ast::Type::NonNullNamed(name), value) => {
            if takes.fits(&value) {
                return Ok(value);
            }
            let whole = value.to_string();
            let mut shown: String = whole.chars().take(60).collect();
            if shown.len() < whole.len() {
                shown.push('…');
            }
            Err(Misfit { why: format!("{shown}, which is not of type `{name}`."), path: Vec::new() })
        }
    }
}

impl Takes<'_> {
    fn fits(&self, value: &Json) -> bool {
        match self {
            Takes::Int => match value {
                Json::Number(number) => number.as_f64().is_some_and(|number| {
                    number.fract() == 0.0 && number >= f64::from(i32::MIN) && number <= f64::from(i32::MAX)
                }),
                _ => false,
            },
            Takes::Float => value.is_number(),
            Takes::String => value.is_string(),
            Takes::Boolean => value.is_boolean(),
            Takes::Id => value.is_string() || value.is_i64() || value.is_u64(),
            Takes::Enum(of) => value.as_str().is_some_and(|value| of.values.contains_key(value)),
            Takes::Anything => true,
        }
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
