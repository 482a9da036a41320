//! Arithmetic on stored whole numbers and decimals, where it is all that an expression does: sums go through many.
//!
//! Comes in: cells. Goes out: the number that `arith` would give; nothing where that is another matter, a fault included.

use crate::value::{Decimal, Value};

use super::arith;
use super::parse::Binary;
use super::val::Val;

/// A number that is exact.
#[derive(Clone, Copy, Debug)]
pub(super) enum Number {
    Int(i64),
    Decimal(Decimal),
}

impl Number {
    /// The number in a cell.
    pub fn of(cell: &Value) -> Option<Number> {
        match cell {
            Value::Int(number) => Some(Number::Int(*number)),
            Value::Decimal(number) => Some(Number::Decimal(*number)),
            _ => None,
        }
    }

    /// What an operator makes of it and another.
    pub fn with(self, operator: Binary, other: Number) -> Option<Number> {
        if let (Number::Int(left), Number::Int(right)) = (self, other) {
            return arith::integers(operator, left, right).map(Number::Int);
        }
        if matches!(operator, Binary::Div | Binary::Rem) {
            return None;
        }
        arith::exactly(operator, self.decimal(), other.decimal()).ok().map(Number::Decimal)
    }

    /// A sum with this one more.
    pub fn added_to<'v>(self, sum: &Val<'_>) -> Option<Val<'v>> {
        let sum = match sum {
            Val::Int(sum) => Number::Int(*sum),
            Val::Decimal(sum) => Number::Decimal(*sum),
            _ => return None,
        };
        sum.with(Binary::Add, self).map(Val::from)
    }

    fn decimal(self) -> Decimal {
        match self {
            Number::Int(number) => number.into(),
            Number::Decimal(number) => number,
        }
    }
}

impl From<Number> for Val<'_> {
    fn from(number: Number) -> Self {
        match number {
            Number::Int(number) => Val::Int(number),
            Number::Decimal(number) => Val::Decimal(number),
        }
    }
}
