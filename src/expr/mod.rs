//! The expression language: the Common Expression Language (CEL), typed and compiled.
//!
//! Comes in: CEL text, where it stands, and the types of the names in scope. Goes out: a [`Compiled`] that
//! evaluates over borrowed data, or every fault of the text. `parse` reads CEL with places; `check`, `operator`, `call`,
//! `exact`, `literal`, `optional`, `walk` and `fit` type it, `cost` bounds it; `eval` runs it, `reach` looks into values, `function` and
//! `library` have the functions, `convert` makes cells. Only deterministic functions exist here.
//!
//! What is not said stays out: a field that is missing is no null, a null is equal to nothing but null, and no number
//! is rounded unasked. `&&` and `||` are decided by the side that decides, also where the other has no value.

mod arith;
mod bounds;
mod call;
mod check;
mod code;
mod coerce;
mod convert;
mod cost;
mod eval;
mod exact;
mod fit;
mod form;
mod function;
mod json;
mod library;
mod literal;
mod number;
mod operator;
mod optional;
mod parse;
mod reach;
mod shape;
mod time;
mod types;
mod val;
mod walk;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::diagnostic::{Diagnostic, Span};
use crate::event::Json;
use crate::schema::{ColumnType, EnumId, ReadModel, Scalar, TypeId};
use crate::value::Value;

use check::{Checker, Typed};
use code::{By, Code};
use convert::Target;
use eval::Stop;

pub use form::forms;
pub use shape::{Format, ObjectShape, Shape, TextShape};
pub use time::{read_timestamp, show_timestamp};
pub use val::Val;

/// The type of an expression or of a name in scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// Known when an event is there: a JSON value.
    Dyn,
    Null,
    Bool,
    Int,
    /// An integer of 64 bits without a sign; no column holds one.
    Uint,
    Float,
    Decimal,
    Text,
    Bytes,
    Timestamp,
    Date,
    Time,
    Duration,
    Uuid,
    /// What `type(x)` gives.
    Type,
    /// What the log says of an event: the name `record`. A JSON object, which also makes ids.
    LogRecord,
    Enum(EnumId),
    /// A `@udt`, or an entity's row, by its columns.
    Record(TypeId),
    /// What `money(amount, currency)` makes: fits any `@udt` whose columns are `amount: Decimal` and `currency: String`.
    Money,
    List(Box<Type>),
    Map(Box<Type>, Box<Type>),
    /// `T?`: may be null.
    Nullable(Box<Type>),
    /// CEL's optional value, made by `.?` and `[?]`.
    Optional(Box<Type>),
}

/// The names that an expression may use. A name's index is its slot in a [`Frame`].
#[derive(Clone, Debug)]
pub struct Env<'m> {
    pub model: &'m ReadModel,
    pub names: Vec<(String, Type)>,
    /// By slot, what is known of the JSON value in it; a slot beyond the end may hold anything.
    pub shapes: Vec<Option<Arc<Shape>>>,
    /// Columns of this type are names by themselves (`where` of a table); the row is then slot 0 and `names` is empty.
    pub columns_of: Option<TypeId>,
}

/// What the place of an expression wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// True or false; null counts as false only where `null_is_false`.
    Condition,
    /// A cell of this type.
    Cell {
        ty: ColumnType,
        nullable: bool,
    },
    /// Text: an event's type name, a record key. Integers are written out.
    Text,
    Int,
    /// Any type: `let`.
    Any,
    /// A list to go through: `each`.
    List,
}

/// An expression, ready to run.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The author's text.
    pub text: Arc<str>,
    pub span: Span,
    /// The type found.
    pub ty: Type,
    /// Slots of `Env::names` (or, with `columns_of`, columns) that it reads.
    pub reads: Vec<Read>,
    /// What is known of the JSON value that it finds, and of the elements where that is a list.
    pub shape: Option<Arc<Shape>>,
    pub elements: Option<Arc<Shape>>,
    /// The text as messages name it: cut where it is long.
    name: Box<str>,
    code: Code,
    target: Target,
    nullable: bool,
    /// Whether this is a path into an event, which may lead nowhere without being a fault.
    is_path: bool,
    /// The cell, where it is always the same.
    constant: Option<Box<Value>>,
}

/// Something that an expression reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// A slot, as a whole.
    Slot(usize),
    /// A column of the record or row in a slot.
    Column(usize, crate::schema::ColumnId),
    /// A field of the JSON value in a slot.
    Field(usize, Box<str>),
}

/// Types and compiles an expression.
///
/// # Errors
/// Every fault of the text, each with its own place in it.
pub fn compile(
    text: &str,
    span: Span,
    env: &Env<'_>,
    expected: &Expected,
) -> Result<Compiled, Vec<Diagnostic>> {
    let node = parse::parse(text).map_err(|faults| {
        let show = |fault: parse::Fault| {
            let place = check::place(text, span, &fault.at);
            Diagnostic { help: fault.help, ..Diagnostic::error(fault.code, place, fault.message) }
        };
        faults.into_iter().map(show).collect::<Vec<_>>()
    })?;
    let mut checker = Checker {
        env,
        text,
        span,
        faults: Vec::new(),
        reads: Vec::new(),
        locals: Vec::new(),
        local_shapes: Vec::new(),
        mixed: false,
    };
    let hint = checker.hint(expected);
    let typed = checker.check(&node, hint.as_ref());
    if let Some(typed) = &typed {
        checker.fit(typed, expected);
        checker.affordable(typed);
    }
    let target = target(&mut checker, expected);
    match (typed, target) {
        (Some(Typed { code, ty, .. }), Some(target)) if checker.faults.is_empty() => {
            let nullable = match expected {
                Expected::Cell { nullable, .. } => *nullable,
                _ => true,
            };
            let is_path = is_path(&code);
            let shape = checker.shape_of(&code);
            let elements = checker.element_shape(&code);
            let name = shortened(text);
            let constant = match &code {
                Code::Const(value) => {
                    convert::to_cell(&value.into(), &target, nullable, &name).ok().map(Box::new)
                }
                _ => None,
            };
            Ok(Compiled {
                text: text.into(),
                name,
                span,
                ty,
                reads: checker.reads,
                code,
                target,
                nullable,
                is_path,
                shape,
                elements,
                constant,
            })
        }
        _ => Err(checker.faults),
    }
}

fn shortened(text: &str) -> Box<str> {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}

fn target(checker: &mut Checker<'_>, expected: &Expected) -> Option<Target> {
    let target = match expected {
        Expected::Cell { ty, .. } => Target::new(ty, checker.model()),
        Expected::Int => Some(Target::Scalar(Scalar::Long)),
        // A string, or an integer written out: what an `ID` takes.
        Expected::Text => Some(Target::Scalar(Scalar::Id)),
        _ => Some(Target::Natural),
    };
    if target.is_none() {
        let message = "the column's value types stand too deeply inside each other, or one holds itself";
        checker.faults.push(Diagnostic::error("E009", checker.span, message));
    }
    target
}

/// Whether this only selects from a slot: then a field that is not there is no fault.
fn is_path(code: &Code) -> bool {
    match code {
        Code::Select { of, by: By::Name(_), .. } => matches!(**of, Code::Slot(..)) || is_path(of),
        Code::Index { of, index, .. } => matches!(**index, Code::Const(_)) && is_path(of),
        _ => false,
    }
}

/// What is in a slot while an expression runs. Borrowed: nothing is copied to be read.
#[derive(Clone, Debug)]
pub enum Slot<'a> {
    Json(&'a Json),
    /// An object whose fields are read often, and these: see [`Fields`].
    Fields(&'a Json, &'a [(&'a str, &'a Json)]),
    /// A row or record of an entity or `@udt`; `None` is a row that is not there.
    Record(Option<&'a [Value]>),
    Value(&'a Value),
    /// A value made while running: a `let`.
    Owned(Value),
    /// What [`Compiled::slot`] or [`Compiled::list`] found.
    Made(Val<'a>),
}

/// The fields of a JSON object, side by side: to find one is then much cheaper than in the object.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    json: &'a Json,
    fields: SmallVec<[(&'a str, &'a Json); 12]>,
}

impl<'a> Fields<'a> {
    /// The fields of an object; `None` of anything else.
    pub fn of(json: &'a Json) -> Option<Fields<'a>> {
        Some(Fields { json, fields: json::fields(json)?.collect() })
    }

    /// The object as a slot.
    pub fn slot(&self) -> Slot<'_> {
        Slot::Fields(self.json, &self.fields)
    }
}

fn field_of<'a>(fields: &[(&'a str, &'a Json)], name: &str) -> Option<&'a Json> {
    // Names of one length mostly end differently, which is seen at once.
    let last = name.as_bytes().last();
    let is = |known: &str| known.len() == name.len() && known.as_bytes().last() == last && known == name;
    fields.iter().find(|(known, _)| is(known)).map(|(_, field)| *field)
}

/// The slots of an [`Env`], filled.
pub type Frame<'a> = [Slot<'a>];

/// Why an expression has no value for this event; becomes the reason of a `Reject`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault(pub String);

impl Compiled {
    /// The value as a cell of the expected type; `None` where the expression is a path into the event that is
    /// missing there.
    ///
    /// # Errors
    /// A missing field inside a larger expression, a wrong type, a number out of range.
    pub fn cell(&self, frame: &Frame<'_>) -> Result<Option<Value>, Fault> {
        if let Some(constant) = &self.constant {
            return Ok(Some(Value::clone(constant)));
        }
        if let Some(cell) = self.plain_field(frame) {
            return Ok(cell);
        }
        match self.found(frame)? {
            None | Some(Val::Nothing) => Ok(None),
            Some(value) => convert::to_cell(&value, &self.target, self.nullable, &self.name).map(Some),
        }
    }

    /// The usual case: a scalar column from a field of the event that holds such a value, or is missing. `None`: anything
    /// else, which takes the general way.
    fn plain_field(&self, frame: &Frame<'_>) -> Option<Option<Value>> {
        let Target::Scalar(scalar) = &self.target else { return None };
        match self.field(frame)? {
            Some(field) => convert::json_to_scalar(field, *scalar).map(Some),
            None => Some(None),
        }
    }

    /// Of a path of one field into an event: that field, where it is there. `None`: this is something else.
    fn field<'f>(&self, frame: &'f Frame<'f>) -> Option<Option<&'f Json>> {
        let Code::Select { of, by: By::Name(name), optional: false, .. } = &self.code else { return None };
        let Code::Slot(slot, _) = **of else { return None };
        match frame.get(slot)? {
            Slot::Fields(_, fields) => Some(field_of(fields, name)),
            Slot::Json(json) => json::field_of_object(json, name),
            _ => None,
        }
    }

    /// The author's text, cut where it is long.
    pub fn shown(&self) -> &str {
        &self.name
    }

    /// Whether [`Compiled::cell`] may give `None` and so leave a column as it is.
    pub fn may_be_missing(&self) -> bool {
        self.is_path || matches!(self.ty, Type::Optional(_))
    }

    /// The truth of a condition; null is false.
    ///
    /// # Errors
    /// As [`Compiled::cell`], and a path into the event that is missing there.
    pub fn holds(&self, frame: &Frame<'_>) -> Result<bool, Fault> {
        match eval::eval(&self.code, frame)? {
            Val::Bool(truth) => Ok(truth),
            Val::Null | Val::Nothing => Ok(false),
            other => match &other {
                Val::Json(json) if json::bool(json).is_some() => Ok(json::bool(json) == Some(true)),
                _ => Err(Fault(format!("{} is {}, expected true or false", self.name, other.shown()))),
            },
        }
    }

    /// The value as text, integers written out; `None` as [`Compiled::cell`], and for null.
    ///
    /// # Errors
    /// As [`Compiled::cell`].
    pub fn text<'f>(&'f self, frame: &'f Frame<'f>) -> Result<Option<Cow<'f, str>>, Fault> {
        if let Some(text) = self.field(frame).flatten().and_then(json::text) {
            return Ok(Some(Cow::Borrowed(text)));
        }
        let Some(value) = self.found(frame)? else { return Ok(None) };
        if value.is_nothing() {
            return Ok(None);
        }
        let text = match &value {
            Val::Text(text) => Some(text.clone()),
            Val::Json(found) => match json::text(found) {
                Some(text) => Some(Cow::Borrowed(text)),
                None => json::integer(found).map(|number| Cow::Owned(number.to_string())),
            },
            Val::Int(number) => Some(Cow::Owned(number.to_string())),
            Val::Uuid(uuid) => Some(Cow::Owned(uuid.to_string())),
            _ => None,
        };
        match text {
            Some(text) => Ok(Some(text)),
            None => {
                Err(Fault(format!("{} is {}, expected a string or an integer", self.name, value.shown())))
            }
        }
    }

    /// The value for a slot of other expressions: a `let`. Borrows what it can.
    ///
    /// # Errors
    /// As [`Compiled::cell`], and a path into the event that is missing there.
    pub fn slot<'f>(&'f self, frame: &'f Frame<'f>) -> Result<Slot<'f>, Fault> {
        Ok(slot_of(eval::eval(&self.code, frame)?))
    }

    /// The elements of a list (the keys of a map), each for a slot: what `each` goes through. `None` where a path into the
    /// event is missing there, or the list is null.
    ///
    /// # Errors
    /// As [`Compiled::cell`], and a value that is no list.
    pub fn list<'f>(&'f self, frame: &'f Frame<'f>) -> Result<Option<Vec<Slot<'f>>>, Fault> {
        let Some(value) = self.found(frame)? else { return Ok(None) };
        if value.is_nothing() {
            return Ok(None);
        }
        match reach::items(&value) {
            Some(items) => Ok(Some(items.map(slot_of).collect())),
            None => Err(Fault(format!("{} is {}, expected a list", self.name, value.shown()))),
        }
    }

    /// Whether the value is there and null.
    pub fn is_null(&self, frame: &Frame<'_>) -> bool {
        matches!(self.found(frame), Ok(Some(value)) if value.is_nothing() && !matches!(value, Val::Nothing))
    }

    /// The value; `None` where this is a path into the event that is missing there.
    fn found<'f>(&'f self, frame: &'f Frame<'f>) -> Result<Option<Val<'f>>, Fault> {
        match eval::eval(&self.code, frame) {
            Ok(value) => Ok(Some(value)),
            Err(Stop::Missing(_)) if self.is_path => Ok(None),
            Err(stop) => Err(stop.into()),
        }
    }
}

fn slot_of(value: Val<'_>) -> Slot<'_> {
    match value {
        Val::Json(json) => Slot::Json(json),
        Val::Record(cells) => Slot::Record(Some(cells)),
        other => Slot::Made(other),
    }
}
