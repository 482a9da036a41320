//! An expression with everything resolved: names are slots, columns are numbers, functions are chosen.
//!
//! `check` makes it once, `eval` runs it, `cost` estimates it. Does nothing by itself.

use std::sync::Arc;

use crate::value::Value;

use super::coerce::Kind;
use super::function::Function;
use super::parse::Binary;
use super::val::Val;

/// An expression with everything resolved.
#[derive(Clone, Debug)]
pub(super) enum Code {
    Const(Value),
    /// A value that no cell can hold.
    Literal(Val<'static>),
    /// A slot of the frame, and its name.
    Slot(usize, Arc<str>),
    /// A variable of a comprehension, counted from the outermost.
    Local(usize),
    Select {
        of: Box<Code>,
        by: By,
        optional: bool,
        text: Arc<str>,
    },
    Index {
        of: Box<Code>,
        index: Box<Code>,
        optional: bool,
        text: Arc<str>,
    },
    /// A value of the event, asked to be of a kind.
    Coerce {
        of: Box<Code>,
        to: Kind,
        text: Arc<str>,
    },
    Not(Box<Code>),
    Negate(Box<Code>),
    And(Box<Code>, Box<Code>),
    Or(Box<Code>, Box<Code>),
    Arithmetic(Binary, Box<Code>, Box<Code>),
    /// `<`, `<=`, `>`, `>=`.
    Compare(Binary, Box<Code>, Box<Code>),
    Equal {
        left: Box<Code>,
        right: Box<Code>,
        negated: bool,
    },
    In(Box<Code>, Box<Code>),
    If(Box<Code>, Box<Code>, Box<Code>),
    List(Vec<Code>),
    /// A list of which those elements that are optional are left out where they are empty.
    Some(Vec<(Code, bool)>),
    /// Keys and values, and whether an entry is left out where its value is empty.
    Map(Vec<(Code, Code, bool)>),
    /// `of.orValue(default)`.
    OrValue(Box<Code>, Box<Code>),
    /// `of.or(other)`, of two optionals.
    OrElse(Box<Code>, Box<Code>),
    /// Whether an optional holds a value, be it null.
    Has(Box<Code>),
    /// Whether a value is there and not null.
    IsThere(Box<Code>),
    /// What an optional holds.
    ValueOf(Box<Code>, Arc<str>),
    /// The value, or an empty optional where it is what its type begins with: `0`, `''`, an empty list.
    NonZero(Box<Code>),
    /// What the body makes of what an optional holds, which is a local there.
    OptMap {
        of: Box<Code>,
        body: Box<Code>,
    },
    /// A body with a local.
    Bind {
        value: Box<Code>,
        body: Box<Code>,
    },
    Each {
        verb: Each,
        over: Box<Code>,
        text: Arc<str>,
        /// Whether there are two locals, of which the first is the place or key.
        paired: bool,
        filter: Option<Box<Code>>,
        body: Box<Code>,
    },
    Matches {
        of: Box<Code>,
        regex: Box<regex::Regex>,
        text: Arc<str>,
    },
    Call(Function, Vec<Code>, Arc<str>),
}

/// How a field is found.
#[derive(Clone, Debug)]
pub(super) enum By {
    Column(usize),
    /// A field of a JSON object.
    Name(Box<str>),
    Amount,
    Currency,
}

/// What a comprehension does with its elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Each {
    Map,
    /// A map with the same keys.
    MapValues,
    /// A map of all entries that the body makes.
    Entries,
    Filter,
    All,
    Exists,
    ExistsOne,
}
