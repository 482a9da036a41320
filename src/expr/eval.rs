//! Runs a compiled expression over borrowed data.
//!
//! Comes in: [`Code`], made once by `check`, and a frame of slots. Goes out: a value that borrows from them, or why there
//! is none. Types of an event's values are asked for where `check` could not know them.

use std::borrow::Cow;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::event::Json;
use crate::value::Value;

use super::arith;
use super::code::{By, Code, Each};
use super::coerce::coerce;
use super::function::{self, Function};
use super::json;
use super::number::Number;
use super::parse::Binary;
use super::reach::{Items, column_of, element, insert, is_zero, items, select, text_of};
use super::val::{self, Val};
use super::{Fault, Slot};

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

pub(super) fn fault<T>(message: String) -> Result<T, Stop> {
    Err(Stop::Fault(Fault(message)))
}

/// Runs an expression.
pub(super) fn eval<'f>(code: &'f Code, frame: &'f [Slot<'f>]) -> Result<Val<'f>, Stop> {
    Machine { frame, locals: SmallVec::new(), steps: 0 }.eval(code)
}

/// Most steps of an expression: elements gone through, and parts of long texts, lists and maps worked on.
pub(super) const STEPS_MAX: u32 = 10_000_000;

struct Machine<'f> {
    frame: &'f [Slot<'f>],
    locals: SmallVec<[Val<'f>; 1]>,
    /// Steps taken so far.
    steps: u32,
}

impl<'f> Machine<'f> {
    fn eval(&mut self, code: &'f Code) -> Result<Val<'f>, Stop> {
        match code {
            Code::Const(value) => Ok(value.into()),
            Code::Literal(value) => Ok(value.clone()),
            Code::Slot(slot, name) => self.slot(*slot, name),
            Code::Local(local) => {
                let value = self.locals.get(*local).cloned().unwrap_or(Val::Null);
                self.spend(value.weight())?;
                Ok(value)
            }
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
                if let Val::Map(entries) = &of {
                    self.spend(entries.len())?;
                }
                element(&of, &index, *optional, text)
            }
            Code::Coerce { of, to, text } => Ok(coerce(self.eval(of)?, *to, text)?),
            Code::Not(of) => Ok(Val::Bool(!self.truth(of)?)),
            Code::Negate(of) => Ok(arith::negate(self.eval(of)?)?),
            Code::And(left, right) => self.logic(left, right, false),
            Code::Or(left, right) => self.logic(left, right, true),
            Code::Arithmetic(operator, left, right) => {
                let (left, right) = (self.eval(left)?, self.eval(right)?);
                let made = arith::arithmetic(*operator, left, right)?;
                self.spend(made.weight())?;
                Ok(made)
            }
            Code::Compare(operator, left, right) => self.compare(*operator, left, right),
            Code::Equal { left, right, negated } => {
                let (left, right) = (self.eval(left)?, self.eval(right)?);
                self.spend(left.weight().min(right.weight()))?;
                Ok(Val::Bool(val::equal(&left, &right) != *negated))
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
            Code::Each { verb, over, text, paired, filter, body } => {
                let walk = Walk { verb: *verb, filter: filter.as_deref(), body };
                match paired {
                    false => {
                        let items = self.items(over, text)?;
                        self.each(&walk, items.map(|item| (None, item)))
                    }
                    true => {
                        let pairs = self.pairs(over, text)?;
                        self.each(&walk, pairs.into_iter().map(|(key, item)| (Some(key), item)))
                    }
                }
            }
            Code::Call(called, args, text) => self.call(*called, args, text),
            Code::Matches { of, regex, text } => {
                let of = self.eval(of)?;
                self.spend(of.weight())?;
                match text_of(&of) {
                    Some(found) => Ok(Val::Bool(regex.is_match(&found))),
                    None => fault(format!("{text} is {}, expected a string", of.shown())),
                }
            }
            Code::Some(_) | Code::Map(_) => self.made(code),
            _ => self.optional(code),
        }
    }

    /// Lists and maps that are written out with optional parts.
    fn made(&mut self, code: &'f Code) -> Result<Val<'f>, Stop> {
        match code {
            Code::Some(elements) => {
                let mut list = Vec::with_capacity(elements.len());
                for (element, optional) in elements {
                    let value = self.eval(element)?;
                    if !(*optional && matches!(value, Val::Nothing)) {
                        list.push(value);
                    }
                }
                Ok(Val::List(list))
            }
            Code::Map(entries) => {
                let mut map = Vec::with_capacity(entries.len());
                for (key, value, optional) in entries {
                    let (key, value) = (self.eval(key)?, self.eval(value)?);
                    if !(*optional && matches!(value, Val::Nothing)) {
                        insert(&mut map, key, value)?;
                    }
                }
                Ok(Val::Map(map))
            }
            _ => Ok(Val::Null),
        }
    }

    /// What makes and reads optionals.
    fn optional(&mut self, code: &'f Code) -> Result<Val<'f>, Stop> {
        match code {
            Code::Has(of) => Ok(Val::Bool(!matches!(self.eval(of)?, Val::Nothing))),
            Code::IsThere(of) => Ok(Val::Bool(!matches!(self.eval(of)?, Val::Null | Val::Nothing))),
            Code::ValueOf(of, text) => match self.eval(of)? {
                Val::Nothing => fault(format!("{text} holds no value")),
                value => Ok(value),
            },
            Code::NonZero(of) => {
                let value = self.eval(of)?;
                Ok(if is_zero(&value) { Val::Nothing } else { value })
            }
            Code::OrElse(of, other) => match self.eval(of)? {
                Val::Nothing => self.eval(other),
                value => Ok(value),
            },
            Code::OptMap { of, body } => match self.eval(of)? {
                Val::Nothing => Ok(Val::Nothing),
                value => self.with(value, body),
            },
            Code::Bind { value, body } => {
                let value = self.eval(value)?;
                self.with(value, body)
            }
            _ => Ok(Val::Null),
        }
    }

    /// Runs a body with one more local.
    fn with(&mut self, value: Val<'f>, body: &'f Code) -> Result<Val<'f>, Stop> {
        self.locals.push(value);
        let result = self.eval(body);
        self.locals.pop();
        result
    }

    /// Counts steps, such as an element that is gone through.
    fn spend(&mut self, steps: usize) -> Result<(), Stop> {
        self.steps = self.steps.saturating_add(u32::try_from(steps).unwrap_or(u32::MAX));
        if self.steps > STEPS_MAX {
            return fault(format!("this takes more than {STEPS_MAX} steps"));
        }
        Ok(())
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
            [Code::Each { verb: Each::Map, over, text: list, paired: false, filter, body }],
        ) = (called, args)
        {
            let walk = Walk { verb: Each::Map, filter: filter.as_deref(), body };
            return self.sum(called, over, list, &walk, text);
        }
        let mut values = function::Args::new();
        for arg in args {
            let value = self.eval(arg)?;
            self.spend(value.weight())?;
            values.push(value);
        }
        let made = function::run(called, values, text)?;
        self.spend(made.weight())?;
        Ok(made)
    }

    /// `list.map(x, …).sum()` without a list in between.
    fn sum(
        &mut self,
        called: Function,
        over: &'f Code,
        list: &Arc<str>,
        walk: &Walk<'f>,
        text: &Arc<str>,
    ) -> Result<Val<'f>, Stop> {
        let mut sum = function::zero(called);
        for item in self.items(over, list)? {
            self.spend(1)?;
            self.locals.push(item);
            let quick = if walk.filter.is_none() { self.number(walk.body) } else { None };
            let made = match quick {
                Some(_) => Ok(None),
                None => self.step(walk),
            };
            self.locals.pop();
            match (quick.and_then(|number| number.added_to(&sum)), quick, made?) {
                (Some(more), ..) => sum = more,
                (None, Some(number), _) => sum = function::add(sum, number.into(), text)?,
                (None, None, Some(made)) => sum = function::add(sum, made, text)?,
                (None, None, None) => {}
            }
        }
        Ok(sum)
    }

    /// What arithmetic on stored whole numbers and decimals gives, without values in between. `None`: anything else, also
    /// what is out of range, which takes the general way and is told there.
    fn number(&self, code: &Code) -> Option<Number> {
        match code {
            Code::Select { of, by: By::Column(column), optional: false, .. } => {
                Number::of(self.record(of)?.get(*column)?)
            }
            Code::Arithmetic(operator, left, right) => {
                self.number(left)?.with(*operator, self.number(right)?)
            }
            _ => None,
        }
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

    fn slot(&mut self, slot: usize, name: &Arc<str>) -> Result<Val<'f>, Stop> {
        match self.frame.get(slot) {
            Some(Slot::Json(json)) => Ok(Val::Json(json)),
            Some(Slot::Fields(json, _)) => Ok(Val::Json(json)),
            Some(Slot::Record(Some(cells))) => Ok(Val::Record(cells)),
            Some(Slot::Record(None)) => Ok(Val::Null),
            Some(Slot::Value(value)) => Ok(Val::from(*value)),
            Some(Slot::Owned(value)) => Ok(value.into()),
            Some(Slot::Made(value)) => {
                self.spend(value.weight())?;
                Ok(value.clone())
            }
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
        self.spend(left.weight().min(right.weight()))?;
        let (left, right) = match (&left, &right) {
            (Val::Json(_), _) | (_, Val::Json(_)) => (arith::plain(left)?, arith::plain(right)?),
            _ => (left, right),
        };
        let Some(order) = val::compare(&left, &right) else {
            // What is no number is neither less nor more than any.
            if val::is_number(&left) && val::is_number(&right) {
                return Ok(Val::Bool(false));
            }
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
        self.spend(list.weight())?;
        if element.is_nothing() || list.is_nothing() {
            return Ok(Val::Bool(false));
        }
        let found = match items(&list) {
            Some(mut items) => items.any(|item| val::equal(&element, &item)),
            None => return fault(format!("{} is not a list or a map: nothing can be `in` it", list.shown())),
        };
        Ok(Val::Bool(found))
    }

    /// Places and elements of a list, keys and values of a map.
    fn pairs(&mut self, over: &'f Code, text: &Arc<str>) -> Result<Vec<(Val<'f>, Val<'f>)>, Stop> {
        let list = self.eval(over)?;
        Ok(match &list {
            Val::Map(entries) => entries.clone(),
            Val::Pairs(pairs) => pairs.iter().map(|(key, value)| (key.into(), value.into())).collect(),
            Val::Json(json) if json::is_object(json) => json::fields(json)
                .into_iter()
                .flatten()
                .map(|(name, value)| (Val::Text(Cow::Borrowed(name)), Val::Json(value)))
                .collect(),
            _ => match items(&list) {
                Some(items) => (0..).map(Val::Int).zip(items).collect(),
                None => return fault(format!("{text} is {}, expected a list or a map", list.shown())),
            },
        })
    }

    fn each(
        &mut self,
        walk: &Walk<'f>,
        items: impl Iterator<Item = (Option<Val<'f>>, Val<'f>)>,
    ) -> Result<Val<'f>, Stop> {
        let (mut made, mut entries) = (Vec::new(), Vec::new());
        let (mut count, mut stopped) = (0_usize, None);
        let outer = self.locals.len();
        for (place, item) in items {
            self.spend(1)?;
            self.locals.extend(place);
            self.locals.push(item);
            let result = self.step(walk);
            let item =
                self.locals.pop().expect("it was pushed above and every step takes off what it puts on");
            let place = if self.locals.len() > outer { self.locals.pop() } else { None };
            match (walk.verb, result) {
                (Each::Map, Ok(Some(value))) => made.push(value),
                (Each::MapValues, Ok(Some(value))) => entries.push((place.unwrap_or(Val::Null), value)),
                (Each::Entries, Ok(Some(Val::Map(more)))) => {
                    self.spend(entries.len())?;
                    for (key, value) in more {
                        insert(&mut entries, key, value)?;
                    }
                }
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
        match (walk.verb, stopped) {
            (_, Some(stop)) => Err(stop),
            (Each::Map | Each::Filter, None) => Ok(Val::List(made)),
            (Each::MapValues | Each::Entries, None) => Ok(Val::Map(entries)),
            (Each::All, None) => Ok(Val::Bool(true)),
            (Each::Exists, None) => Ok(Val::Bool(false)),
            (Each::ExistsOne, None) => Ok(Val::Bool(count == 1)),
        }
    }

    /// One element: the mapped value, or anything where the condition holds.
    fn step(&mut self, walk: &Walk<'f>) -> Result<Option<Val<'f>>, Stop> {
        if let Some(filter) = walk.filter
            && !self.truth(filter)?
        {
            return Ok(None);
        }
        match walk.verb {
            Each::Map | Each::MapValues | Each::Entries => self.eval(walk.body).map(Some),
            _ => Ok(self.truth(walk.body)?.then_some(Val::Null)),
        }
    }
}

/// What is done with each element of a walk.
struct Walk<'f> {
    verb: Each,
    filter: Option<&'f Code>,
    body: &'f Code,
}
