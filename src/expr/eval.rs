//! Runs a compiled expression over borrowed data.
//!
//! Comes in: [`Code`], made once by `check`, and a frame of slots. Goes out: a value that borrows from them, or why there
//! is none. Everything is resolved: names are slots, columns are numbers, and types of an event's values are
//! asked for where `check` could not know them.

use std::borrow::Cow;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::event::Json;
use crate::value::Value;

use super::arith;
use super::coerce::{Kind, coerce};
use super::function::{self, Function};
use super::json;
use super::parse::Binary;
use super::val::{self, Val};
use super::{Fault, Slot};

/// An expression with everything resolved.
#[derive(Clone, Debug)]
pub(super) enum Code {
    Const(Value),
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
    /// `of.orValue(default)`.
    OrValue(Box<Code>, Box<Code>),
    /// `has(of)`, where `of` selects optionally.
    Has(Box<Code>),
    Each {
        verb: Each,
        over: Box<Code>,
        text: Arc<str>,
        filter: Option<Box<Code>>,
        body: Box<Code>,
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
    Filter,
    All,
    Exists,
    ExistsOne,
}

/// Why evaluation ended without a value.
#[derive(Clone, Debug)]
pub(super) enum Stop {
    /// A field of the event is not there: its path.
    Missing(Arc<str>),
    Fault(Fault),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Stop {
        Stop::Fault(fault)
    }
}

impl From<Stop> for Fault {
    fn from(stop: Stop) -> Fault {
        match stop {
            Stop::Missing(path) => Fault(format!("{path} is missing")),
            Stop::Fault(fault) => fault,
        }
    }
}

fn fault<T>(message: String) -> Result<T, Stop> {
    Err(Stop::Fault(Fault(message)))
}

/// Runs an expression.
pub(super) fn eval<'f>(code: &'f Code, frame: &'f [Slot<'f>]) -> Result<Val<'f>, Stop> {
    Machine { frame, locals: SmallVec::new() }.eval(code)
}

struct Machine<'f> {
    frame: &'f [Slot<'f>],
    locals: SmallVec<[Val<'f>; 1]>,
}

impl<'f> Machine<'f> {
    fn eval(&mut self, code: &'f Code) -> Result<Val<'f>, Stop> {
        match code {
            Code::Const(value) => Ok(value.into()),
            Code::Slot(slot, name) => self.slot(*slot, name),
            Code::Local(local) => Ok(self.locals.get(*local).cloned().unwrap_or(Val::Null)),
            Code::Select { of, by: By::Column(column), optional, text } => match self.record(of) {
                Some(cells) => Ok(column_of(cells, *column, *optional)),
                None => select(self.eval(of)?, &By::Column(*column), *optional, text),
            },
            Code::Select { of, by, optional, text } => match self.field(of, by) {
                Some(Some(field)) => Ok(Val::Json(field)),
                Some(None) if *optional => Ok(Val::Nothing),
                Some(None) => Err(Stop::Missing(text.clone())),
                None => select(self.eval(of)?, by, *optional, text),
            },
            Code::Index { of, index, optional, text } => {
                let (of, index) = (self.eval(of)?, self.eval(index)?);
                element(&of, &index, *optional, text)
            }
            Code::Coerce { of, to, text } => Ok(coerce(self.eval(of)?, *to, text)?),
            Code::Not(of) => Ok(Val::Bool(!self.truth(of)?)),
            Code::Negate(of) => Ok(arith::negate(self.eval(of)?)?),
            Code::And(left, right) => self.logic(left, right, false),
            Code::Or(left, right) => self.logic(left, right, true),
            Code::Arithmetic(operator, left, right) => {
                let (left, right) = (self.eval(left)?, self.eval(right)?);
                Ok(arith::arithmetic(*operator, left, right)?)
            }
            Code::Compare(operator, left, right) => self.compare(*operator, left, right),
            Code::Equal { left, right, negated } => {
                let same = val::equal(&self.eval(left)?, &self.eval(right)?);
                Ok(Val::Bool(same != *negated))
            }
            Code::In(element, list) => self.is_in(element, list),
            Code::If(condition, yes, no) => {
                if self.truth(condition)? {
                    self.eval(yes)
                } else {
                    self.eval(no)
                }
            }
            Code::List(elements) => {
                let elements: Result<_, Stop> = elements.iter().map(|element| self.eval(element)).collect();
                Ok(Val::List(elements?))
            }
            Code::OrValue(of, default) => {
                let value = self.eval(of)?;
                if value.is_nothing() { self.eval(default) } else { Ok(value) }
            }
            Code::Has(of) => {
                let value = self.eval(of)?;
                Ok(Val::Bool(!matches!(value, Val::Null | Val::Nothing)))
            }
            Code::Each { verb, over, text, filter, body } => {
                self.each(*verb, over, text, filter.as_deref(), body)
            }
            Code::Call(called, args, text) => self.call(*called, args, text),
        }
    }

    /// A field of an event whose fields are at hand; `None` where something else is selected.
    fn field(&self, of: &Code, by: &By) -> Option<Option<&'f Json>> {
        let (Code::Slot(slot, _), By::Name(name)) = (of, by) else { return None };
        match self.frame.get(*slot)? {
            Slot::Fields(_, fields) => Some(super::field_of(fields, name)),
            _ => None,
        }
    }

    /// The cells of a record that stands in the frame: reached without making values on the way.
    fn record(&self, code: &Code) -> Option<&'f [Value]> {
        match code {
            Code::Slot(slot, _) => match self.frame.get(*slot)? {
                Slot::Record(cells) => *cells,
                _ => None,
            },
            Code::Local(local) => match self.locals.get(*local)? {
                Val::Record(cells) => Some(cells),
                _ => None,
            },
            Code::Select { of, by: By::Column(column), .. } => match self.record(of)?.get(*column)? {
                Value::Record(cells) => Some(cells),
                _ => None,
            },
            _ => None,
        }
    }

    fn call(&mut self, called: Function, args: &'f [Code], text: &Arc<str>) -> Result<Val<'f>, Stop> {
        if let (
            Function::Sum | Function::SumDecimals | Function::SumFloats,
            [Code::Each { verb: Each::Map, over, text: list, filter, body }],
        ) = (called, args)
        {
            return self.sum(called, over, list, filter.as_deref(), body, text);
        }
        let mut values = function::Args::new();
        for arg in args {
            values.push(self.eval(arg)?);
        }
        Ok(function::run(called, values, text)?)
    }

    /// `list.map(x, …).sum()` without a list in between.
    fn sum(
        &mut self,
        called: Function,
        over: &'f Code,
        list: &Arc<str>,
        filter: Option<&'f Code>,
        body: &'f Code,
        text: &Arc<str>,
    ) -> Result<Val<'f>, Stop> {
        let mut sum = function::zero(called);
        for item in self.items(over, list)? {
            self.locals.push(item);
            let made = self.step(Each::Map, filter, body);
            self.locals.pop();
            if let Some(made) = made? {
                sum = function::add(sum, made, text)?;
            }
        }
        Ok(sum)
    }

    /// What a comprehension goes through.
    fn items(&mut self, over: &'f Code, text: &Arc<str>) -> Result<Items<'f>, Stop> {
        let list = match over {
            // The values of a stored map are gone through where they stand.
            Code::Call(Function::Values, args, of) if args.len() == 1 => match self.eval(&args[0])? {
                Val::Pairs(pairs) => return Ok(Items::Values(pairs.iter())),
                map => function::values(&map, of)?,
            },
            _ => self.eval(over)?,
        };
        match items(&list) {
            Some(items) => Ok(items),
            None => fault(format!("{text} is {}, expected a list", list.shown())),
        }
    }

    fn slot(&self, slot: usize, name: &Arc<str>) -> Result<Val<'f>, Stop> {
        match self.frame.get(slot) {
            Some(Slot::Json(json)) => Ok(Val::Json(json)),
            Some(Slot::Fields(json, _)) => Ok(Val::Json(json)),
            Some(Slot::Record(Some(cells))) => Ok(Val::Record(cells)),
            Some(Slot::Record(None)) => Ok(Val::Null),
            Some(Slot::Value(value)) => Ok(Val::from(*value)),
            Some(Slot::Owned(value)) => Ok(value.into()),
            Some(Slot::Made(value)) => Ok(value.clone()),
            None => Err(Stop::Missing(name.clone())),
        }
    }

    fn truth(&mut self, code: &'f Code) -> Result<bool, Stop> {
        match self.eval(code)? {
            Val::Bool(truth) => Ok(truth),
            other => fault(format!("{} is not true or false", other.shown())),
        }
    }

    /// `&&` and `||`: the side that decides does so whatever the other side is, also where that has no value.
    fn logic(&mut self, left: &'f Code, right: &'f Code, decides: bool) -> Result<Val<'f>, Stop> {
        let left = self.truth(left);
        if matches!(left, Ok(truth) if truth == decides) {
            return Ok(Val::Bool(decides));
        }
        let right = self.truth(right)?;
        if right == decides {
            return Ok(Val::Bool(decides));
        }
        left.map(Val::Bool)
    }

    fn compare(&mut self, operator: Binary, left: &'f Code, right: &'f Code) -> Result<Val<'f>, Stop> {
        let (left, right) = (self.eval(left)?, self.eval(right)?);
        let (left, right) = match (&left, &right) {
            (Val::Json(_), _) | (_, Val::Json(_)) => (arith::plain(left)?, arith::plain(right)?),
            _ => (left, right),
        };
        let Some(order) = val::compare(&left, &right) else {
            return fault(format!(
                "{} {} {} cannot be compared",
                left.shown(),
                operator.symbol(),
                right.shown()
            ));
        };
        Ok(Val::Bool(match operator {
            Binary::Less => order.is_lt(),
            Binary::LessEqual => order.is_le(),
            Binary::Greater => order.is_gt(),
            _ => order.is_ge(),
        }))
    }

    fn is_in(&mut self, element: &'f Code, list: &'f Code) -> Result<Val<'f>, Stop> {
        let element = self.eval(element)?;
        // Literal lists are gone through where they stand: no list is made.
        if let Code::List(list) = list {
            let mut found = false;
            for code in list {
                found |= val::equal(&element, &self.eval(code)?);
            }
            return Ok(Val::Bool(found && !element.is_nothing()));
        }
        let list = self.eval(list)?;
        if element.is_nothing() || list.is_nothing() {
            return Ok(Val::Bool(false));
        }
        let found = match items(&list) {
            Some(mut items) => items.any(|item| val::equal(&element, &item)),
            None => return fault(format!("{} is not a list or a map: nothing can be `in` it", list.shown())),
        };
        Ok(Val::Bool(found))
    }

    fn each(
        &mut self,
        verb: Each,
        over: &'f Code,
        text: &Arc<str>,
        filter: Option<&'f Code>,
        body: &'f Code,
    ) -> Result<Val<'f>, Stop> {
        let items = self.items(over, text)?;
        let mut made = Vec::new();
        let (mut count, mut stopped) = (0_usize, None);
        for item in items {
            self.locals.push(item);
            let result = self.step(verb, filter, body);
            let item =
                self.locals.pop().expect("it was pushed above and every step takes off what it puts on");
            match (verb, result) {
                (Each::Map, Ok(Some(value))) => made.push(value),
                (Each::Filter, Ok(Some(_))) => made.push(item),
                (Each::Exists, Ok(Some(_))) => return Ok(Val::Bool(true)),
                (Each::All, Ok(None)) => return Ok(Val::Bool(false)),
                (Each::ExistsOne, Ok(Some(_))) => count += 1,
                // As with `||` and `&&`: an element that decides makes up for one without a value.
                (Each::Exists | Each::All, Err(stop)) => stopped = stopped.or(Some(stop)),
                (_, Err(stop)) => return Err(stop),
                (_, Ok(_)) => {}
            }
        }
        match (verb, stopped) {
            (_, Some(stop)) => Err(stop),
            (Each::Map | Each::Filter, None) => Ok(Val::List(made)),
            (Each::All, None) => Ok(Val::Bool(true)),
            (Each::Exists, None) => Ok(Val::Bool(false)),
            (Each::ExistsOne, None) => Ok(Val::Bool(count == 1)),
        }
    }

    /// One element: the mapped value, or anything where the condition holds.
    fn step(
        &mut self,
        verb: Each,
        filter: Option<&'f Code>,
        body: &'f Code,
    ) -> Result<Option<Val<'f>>, Stop> {
        if let Some(filter) = filter
            && !self.truth(filter)?
        {
            return Ok(None);
        }
        if verb == Each::Map {
            return self.eval(body).map(Some);
        }
        Ok(self.truth(body)?.then_some(Val::Null))
    }
}

/// What a comprehension goes through.
pub(super) enum Items<'f> {
    Json(std::slice::Iter<'f, Json>),
    Cells(std::slice::Iter<'f, Value>),
    Keys(std::slice::Iter<'f, (Value, Value)>),
    Values(std::slice::Iter<'f, (Value, Value)>),
    Made(std::vec::IntoIter<Val<'f>>),
}

impl<'f> Iterator for Items<'f> {
    type Item = Val<'f>;

    fn next(&mut self) -> Option<Val<'f>> {
        match self {
            Items::Json(items) => items.next().map(Val::Json),
            Items::Cells(items) => items.next().map(Val::from),
            Items::Keys(items) => items.next().map(|(key, _)| key.into()),
            Items::Values(items) => items.next().map(|(_, value)| value.into()),
            Items::Made(items) => items.next(),
        }
    }
}

/// The elements of a list, the keys of a map; `None` for anything else.
pub(super) fn items<'f>(list: &Val<'f>) -> Option<Items<'f>> {
    Some(match list {
        Val::Json(json) => match json::array(json) {
            Some(array) => Items::Json(array.iter()),
            None => {
                let keys: Vec<_> =
                    json::fields(json)?.map(|(name, _)| Val::Text(Cow::Borrowed(name))).collect();
                Items::Made(keys.into_iter())
            }
        },
        Val::Cells(cells) => Items::Cells(cells.iter()),
        Val::Pairs(pairs) => Items::Keys(pairs.iter()),
        Val::List(list) => Items::Made(list.clone().into_iter()),
        // A collection that was never written is empty.
        Val::Null => Items::Made(Vec::new().into_iter()),
        _ => return None,
    })
}

fn column_of(cells: &[Value], column: usize, optional: bool) -> Val<'_> {
    match cells.get(column) {
        None | Some(Value::Null) if optional => Val::Nothing,
        Some(cell) => cell.into(),
        None => Val::Null,
    }
}

fn select<'f>(of: Val<'f>, by: &By, optional: bool, text: &Arc<str>) -> Result<Val<'f>, Stop> {
    match (of, by) {
        (Val::Nothing, _) => Ok(Val::Nothing),
        (Val::Null, _) => Ok(if optional { Val::Nothing } else { Val::Null }),
        (Val::Record(cells), By::Column(column)) => Ok(column_of(cells, *column, optional)),
        (Val::Money(money), By::Amount) => Ok(Val::Decimal(money.0)),
        (Val::Money(money), By::Currency) => Ok(Val::Text(money.1)),
        (Val::Json(json), By::Name(name)) => match json::field(json, name) {
            Some(field) => Ok(Val::Json(field)),
            None if optional && (json::is_object(json) || json::is_null(json)) => Ok(Val::Nothing),
            None if json::is_object(json) => Err(Stop::Missing(text.clone())),
            None => fault(format!("{text} cannot be read: {} has no fields", json::shown(json))),
        },
        (other, _) => fault(format!("{text} cannot be read: {} has no fields", other.shown())),
    }
}

fn element<'f>(of: &Val<'f>, index: &Val<'f>, optional: bool, text: &Arc<str>) -> Result<Val<'f>, Stop> {
    if matches!(of, Val::Nothing) || (optional && of.is_nothing()) {
        return Ok(Val::Nothing);
    }
    let found = match of {
        Val::Pairs(pairs) => {
            pairs.iter().find(|(key, _)| val::equal(&key.into(), index)).map(|(_, value)| value.into())
        }
        Val::Cells(cells) => at(index, text)?.and_then(|at| cells.get(at)).map(Val::from),
        Val::List(list) => at(index, text)?.and_then(|at| list.get(at)).cloned(),
        Val::Json(json) => match json::array(json) {
            Some(array) => at(index, text)?.and_then(|at| array.get(at)).map(Val::Json),
            None if json::is_object(json) => match text_of(index) {
                Some(name) => json::field(json, &name).map(Val::Json),
                None => return fault(format!("{text}: {} is not the name of a field", index.shown())),
            },
            None => return fault(format!("{text} cannot be read: {} has no elements", json::shown(json))),
        },
        Val::Null => None,
        other => return fault(format!("{text} cannot be read: {} has no elements", other.shown())),
    };
    match found {
        Some(value) => Ok(value),
        None if optional => Ok(Val::Nothing),
        None if matches!(of, Val::Json(_)) => Err(Stop::Missing(text.clone())),
        None => fault(format!("{text}: there is no element {}", index.shown())),
    }
}

fn at(index: &Val<'_>, text: &Arc<str>) -> Result<Option<usize>, Stop> {
    let number = match index {
        Val::Int(number) => Some(*number),
        Val::Json(json) => json::integer(json),
        _ => None,
    };
    match number {
        Some(number) => Ok(usize::try_from(number).ok()),
        None => fault(format!("{text}: {} is not the number of an element", index.shown())),
    }
}

/// The text of a string, whoever holds it.
pub(super) fn text_of<'f>(value: &Val<'f>) -> Option<Cow<'f, str>> {
    match value {
        Val::Text(text) => Some(text.clone()),
        Val::Json(json) => json::text(json).map(Cow::Borrowed),
        _ => None,
    }
}
