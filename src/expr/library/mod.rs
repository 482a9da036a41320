//! The functions that need nothing but the values of their arguments, as one table: how each is called, what it takes,
//! what it gives, and what runs it.
//!
//! Comes in: the name of a call and how many arguments it has; at run time their values, of the types that the table
//! says. Goes out: the rows of the table that may be meant; a value or a fault. What needs more than values (macros,
//! optionals, decimals with a rounding) is `call`'s.

/// A row of the table: a function, or, with `.` before its name, a method.
macro_rules! signature {
    (@ $method:literal, $name:literal, [$($takes:ident),*], $gives:ident, $form:literal, $run:expr) => {
        Signature {
            name: $name,
            method: $method,
            takes: &[$(Takes::$takes),*],
            gives: Gives::$gives,
            form: $form,
            run: $run,
        }
    };
    (. $($rest:tt)*) => { signature!(@ true, $($rest)*) };
    ($($rest:tt)*) => { signature!(@ false, $($rest)*) };
}

mod encoders;
mod format;
mod math;
mod strings;
mod times;

use super::coerce::Kind;
use super::val::Val;
use super::{Fault, Type};

pub(super) use strings::TEXT_MAX;
pub(super) use times::{zone, zone_expected};

/// What an argument must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    Any,
    Int,
    /// An integer with or without a sign.
    Whole,
    /// A floating number, or a value of the event that holds one.
    Float,
    /// Any number.
    Number,
    Text,
    /// The name of a time zone, or an offset from UTC.
    Zone,
    /// A list of texts.
    Texts,
    Bytes,
    Timestamp,
    /// A time or a day.
    TimeOrDay,
    Duration,
    /// What the log says of the event, by its name.
    Record,
}

/// What a call gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gives {
    Bool,
    Int,
    Text,
    Texts,
    Bytes,
    Float,
    Date,
    Timestamp,
    Uuid,
    Type,
    /// What the first argument is.
    First,
}

/// One way to call a function.
#[derive(Clone, Copy)]
pub(super) struct Signature {
    /// With its namespace, such as `math.ceil`.
    pub name: &'static str,
    /// Called on its first argument: `x.name(…)`.
    pub method: bool,
    /// The first is what a method is called on.
    pub takes: &'static [Takes],
    pub gives: Gives,
    /// As it is written, for advice.
    pub form: &'static str,
    pub run: Run,
}

/// Runs a function. The text is the first argument as the author wrote it.
pub(super) type Run = for<'v> fn(&[Val<'v>], &str) -> Result<Val<'v>, Fault>;

impl std::fmt::Debug for Signature {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.form)
    }
}

/// Every function of the table.
pub(super) fn all() -> impl Iterator<Item = &'static Signature> {
    [strings::ALL, times::ALL, math::ALL, encoders::ALL].into_iter().flatten()
}

/// The ways to call a function of that name with so many arguments, what a method is called on included.
pub(super) fn named(name: &str, method: bool, args: usize) -> impl Iterator<Item = &'static Signature> {
    all().filter(move |known| known.name == name && known.method == method && known.takes.len() == args)
}

impl Takes {
    /// Whether a type fits, or may fit once the event is there.
    pub(super) fn fits(self, ty: &Type) -> bool {
        match (self, ty) {
            (Takes::Record, ty) => *ty == Type::LogRecord,
            (Takes::Any, _) | (_, Type::Dyn) => true,
            (Takes::Int | Takes::Whole | Takes::Number, Type::Int) => true,
            (Takes::Whole | Takes::Number, Type::Uint) => true,
            (Takes::Float | Takes::Number, Type::Float) => true,
            (Takes::Number, Type::Decimal) => true,
            (Takes::Text | Takes::Zone, Type::Text | Type::Enum(_)) => true,
            (Takes::Texts, Type::List(of)) => matches!(**of, Type::Text | Type::Dyn | Type::Enum(_)),
            (Takes::Bytes, Type::Bytes) => true,
            (Takes::Timestamp | Takes::TimeOrDay, Type::Timestamp) => true,
            (Takes::TimeOrDay, Type::Date) => true,
            (Takes::Duration, Type::Duration) => true,
            _ => false,
        }
    }

    /// What a value of the event is asked to be.
    pub(super) fn kind(self) -> Option<Kind> {
        Some(match self {
            Takes::Any | Takes::Texts | Takes::Record => return None,
            Takes::Whole | Takes::Int => Kind::Whole,
            Takes::Float | Takes::Number => Kind::Number,
            Takes::Text | Takes::Zone => Kind::Text,
            Takes::Bytes => Kind::Bytes,
            Takes::Timestamp | Takes::TimeOrDay => Kind::Timestamp,
            Takes::Duration => Kind::Duration,
        })
    }

    /// As messages name it.
    pub(super) fn shown(self) -> &'static str {
        match self {
            Takes::Any => "a value",
            Takes::Int | Takes::Whole => "Int",
            Takes::Float => "Float",
            Takes::Number => "a number",
            Takes::Text => "a String",
            Takes::Zone => "a String that names a time zone",
            Takes::Texts => "a list of strings",
            Takes::Bytes => "Bytes",
            Takes::Timestamp => "DateTime",
            Takes::TimeOrDay => "DateTime or LocalDate",
            Takes::Duration => "Duration",
            Takes::Record => "`record`",
        }
    }
}

impl Gives {
    pub(super) fn of(self, first: &Type) -> Type {
        match self {
            Gives::Bool => Type::Bool,
            Gives::Int => Type::Int,
            Gives::Text => Type::Text,
            Gives::Texts => Type::List(Box::new(Type::Text)),
            Gives::Bytes => Type::Bytes,
            Gives::Float => Type::Float,
            Gives::Date => Type::Date,
            Gives::Timestamp => Type::Timestamp,
            Gives::Uuid => Type::Uuid,
            Gives::Type => Type::Type,
            Gives::First => first.clone(),
        }
    }
}

/// The fault of an argument that is not what it must be.
fn unfit<T>(text: &str, found: &Val<'_>, expected: &str) -> Result<T, Fault> {
    Err(Fault(format!("{text} is {}, expected {expected}", found.shown())))
}
