//! Types operators: arithmetic, comparisons, logic, membership and the choice `? :`.
//!
//! Comes in: an operator and its operands' nodes. Goes out: [`Code`] with its type, or faults with advice: what may be null
//! is unwrapped first, and nothing that is not exact stands beside a decimal.

use std::ops::Range;

use crate::diagnostic::Diagnostic;

use super::Type;
use super::check::{Checker, Typed, inner};
use super::code::Code;
use super::coerce::Kind;
use super::parse::{self, Binary, Node};
use super::types::{comparable, join};

impl Checker<'_> {
    pub(super) fn negate(&mut self, node: &Node, of: &Node) -> Option<Typed> {
        let of = self.check(of, None)?;
        if of.ty.is_nullable() || matches!(of.ty, Type::Optional(_)) {
            self.may_be_nothing(&of, "`-`");
            return None;
        }
        match of.ty {
            Type::Int | Type::Float | Type::Decimal | Type::Duration | Type::Dyn => {
                Some(Typed { code: Code::Negate(Box::new(of.code)), ty: of.ty, at: node.at.clone() })
            }
            other => {
                let message = format!("`-` takes a number, found {}", self.shown(&other));
                self.fault(Diagnostic::error("E007", self.place(&of.at), message))
            }
        }
    }

    pub(super) fn binary(
        &mut self,
        operator: Binary,
        left: &Node,
        right: &Node,
        node: &Node,
        hint: Option<&Type>,
    ) -> Option<Typed> {
        let at = node.at.clone();
        let (code, ty) = match operator {
            Binary::And | Binary::Or => {
                let (left, right) = (self.condition(left), self.condition(right));
                let (left, right) = (Box::new(left?), Box::new(right?));
                let code =
                    if operator == Binary::And { Code::And(left, right) } else { Code::Or(left, right) };
                (code, Type::Bool)
            }
            Binary::Equal | Binary::NotEqual => {
                let (left, right) = self.both(left, right)?;
                self.equality(&left, &right, &at)?;
                let negated = operator == Binary::NotEqual;
                let (left, right) = (Box::new(left.code), Box::new(right.code));
                (Code::Equal { left, right, negated }, Type::Bool)
            }
            Binary::In => {
                let (element, list) = self.membership(left, right, &at)?;
                (Code::In(Box::new(element), Box::new(list)), Type::Bool)
            }
            Binary::Less | Binary::LessEqual | Binary::Greater | Binary::GreaterEqual => {
                let (left, right) = self.both(left, right)?;
                let (left, right) = self.ordered(operator, left, right, &at)?;
                (Code::Compare(operator, Box::new(left.code), Box::new(right.code)), Type::Bool)
            }
            _ => {
                let (left, right) = (self.check(left, hint), self.check(right, hint));
                return self.arithmetic(operator, left?, right?, at);
            }
        };
        Some(Typed { code, ty, at })
    }

    /// Both sides of a comparison: each gives the other's enum values their type.
    fn both(&mut self, left: &Node, right: &Node) -> Option<(Typed, Typed)> {
        if self.wants_hint(left) && !self.wants_hint(right) {
            let right = self.check(right, None);
            let left = self.check(left, right.as_ref().map(|right| &right.ty));
            return Some((left?, right?));
        }
        let left = self.check(left, None);
        // A side with a fault must not make a fault of the other.
        let hint = match &left {
            Some(left) => Some(left.ty.clone()),
            None if self.wants_hint(right) => return None,
            None => None,
        };
        let right = self.check(right, hint.as_ref());
        Some((left?, right?))
    }

    pub(super) fn wants_hint(&self, node: &Node) -> bool {
        match &node.kind {
            parse::Kind::Name(name) => self.resolve(name).is_none(),
            parse::Kind::Text(_) => true,
            parse::Kind::List(elements) => elements.iter().any(|element| self.wants_hint(&element.node)),
            parse::Kind::If(_, yes, no) => self.wants_hint(yes) || self.wants_hint(no),
            _ => false,
        }
    }

    fn equality(&mut self, left: &Typed, right: &Typed, at: &Range<usize>) -> Option<()> {
        // Two optionals are equal where both are empty, or hold what is equal.
        let one_sided = match (&left.ty, &right.ty) {
            (Type::Optional(_), Type::Optional(_)) => None,
            (Type::Optional(_), _) => Some(left),
            (_, Type::Optional(_)) => Some(right),
            _ => None,
        };
        if let Some(side) = one_sided {
            self.may_be_nothing(side, "a comparison");
            return None;
        }
        self.exact(left, right)?;
        if comparable(&left.ty, &right.ty) {
            self.shapes_meet(left, right, at)?;
            self.shape_may_equal(left, &right.ty);
            self.shape_may_equal(right, &left.ty);
            return Some(());
        }
        let (found, other) = (self.shown(&left.ty), self.shown(&right.ty));
        let message = format!("{found} is compared with {other}, which can never be equal");
        let fault = Diagnostic::error("E007", self.place(at), message).label(format!("{found} and {other}"));
        self.fault(fault.help(converted(&left.ty, &right.ty)));
        None
    }

    fn membership(&mut self, element: &Node, list: &Node, at: &Range<usize>) -> Option<(Code, Code)> {
        let (element, list) = if self.wants_hint(element) && !self.wants_hint(list) {
            let list = self.check(list, None);
            let hint = list.as_ref().and_then(|list| inner(&list.ty));
            (self.check(element, hint.as_ref()), list)
        } else {
            let element = self.check(element, None);
            let hint = match &element {
                Some(element) => Some(Type::List(Box::new(element.ty.unwrapped().clone()))),
                None if self.wants_hint(list) => return None,
                None => None,
            };
            (element, self.check(list, hint.as_ref()))
        };
        let (element, list) = (element?, list?);
        for side in [&element, &list] {
            if matches!(side.ty, Type::Optional(_)) {
                self.may_be_nothing(side, "`in`");
                return None;
            }
        }
        let Some(of) = inner(&list.ty) else {
            let found = self.shown(&list.ty);
            let message = format!("`in` takes a list or a map, found {found}");
            let fault = Diagnostic::error("E007", self.place(&list.at), message);
            self.fault(fault.help("write a list: `x in [1, 2]`, or compare with `==`"));
            return None;
        };
        if !comparable(&element.ty, &of) {
            let (found, of_ty, of) = (self.shown(&element.ty), of.clone(), self.shown(&of));
            let message = format!("{found} can never be in {}", self.shown(&list.ty));
            let label = format!("{found} in a list or map of {of}");
            let fault = Diagnostic::error("E007", self.place(at), message).label(label);
            self.fault(fault.help(converted(&element.ty, &of_ty)));
            return None;
        }
        Some((element.code, list.code))
    }

    fn ordered(
        &mut self,
        operator: Binary,
        left: Typed,
        right: Typed,
        at: &Range<usize>,
    ) -> Option<(Typed, Typed)> {
        self.present(&left, &right, operator)?;
        self.exact(&left, &right)?;
        self.shapes_meet(&left, &right, at)?;
        let (left_ty, right_ty) = (left.ty.clone(), right.ty.clone());
        let (left, right) = (self.ordered_beside(left, &right_ty), self.ordered_beside(right, &left_ty));
        let fits = match (&left.ty, &right.ty) {
            (Type::Dyn, _) | (_, Type::Dyn) => true,
            (Type::Int | Type::Uint | Type::Float, Type::Int | Type::Uint | Type::Float) => true,
            (Type::Int | Type::Uint | Type::Decimal, Type::Int | Type::Uint | Type::Decimal) => true,
            (left, right) => {
                left == right
                    && matches!(
                        left,
                        Type::Bool
                            | Type::Text
                            | Type::Bytes
                            | Type::Timestamp
                            | Type::Date
                            | Type::Time
                            | Type::Duration
                    )
            }
        };
        if fits {
            return Some((left, right));
        }
        let (found, other) = (self.shown(&left_ty), self.shown(&right_ty));
        let message = format!("`{}` cannot compare {found} with {other}", operator.symbol());
        let fault = Diagnostic::error("E007", self.place(at), message).label(format!("{found} and {other}"));
        self.fault(fault.help(converted(&left_ty, &right_ty)));
        None
    }

    /// A value of the event beside what it is ordered with: numbers are compared by number, whatever their type.
    fn ordered_beside(&mut self, typed: Typed, other: &Type) -> Typed {
        match (&typed.ty, other) {
            (Type::Dyn, Type::Int | Type::Uint | Type::Float) => {
                let text = self.source(&typed.at);
                let code = Code::Coerce { of: Box::new(typed.code), to: Kind::Number, text };
                Typed { code, ty: Type::Dyn, at: typed.at }
            }
            _ => self.coerced(typed, other),
        }
    }

    /// Refuses operands that may be null or missing.
    fn present(&mut self, left: &Typed, right: &Typed, operator: Binary) -> Option<()> {
        let mut present = Some(());
        for side in [left, right] {
            if side.ty.is_nullable() || matches!(side.ty, Type::Optional(_)) {
                self.may_be_nothing(side, &format!("`{}`", operator.symbol()));
                present = None;
            }
        }
        present
    }

    /// Refuses a floating number beside a decimal.
    fn exact(&mut self, left: &Typed, right: &Typed) -> Option<()> {
        let float = match (left.ty.unwrapped(), right.ty.unwrapped()) {
            (Type::Float, Type::Decimal) => left,
            (Type::Decimal, Type::Float) => right,
            _ => return Some(()),
        };
        self.floating(float);
        None
    }

    /// The fault of a floating number where an exact one is meant.
    pub(super) fn floating(&mut self, float: &Typed) {
        let text = self.source(&float.at);
        let help = if matches!(float.code, Code::Const(_)) {
            format!("write `decimal('{text}')`")
        } else {
            "a Float cannot be made exact; store and send it as a decimal".to_owned()
        };
        let message = format!("`{text}` is a floating number beside a decimal, and would not be exact");
        let diagnostic =
            Diagnostic::error("E010", self.place(&float.at), message).label("this is Float").help(help);
        self.faults.push(diagnostic);
    }

    fn arithmetic(&mut self, operator: Binary, left: Typed, right: Typed, at: Range<usize>) -> Option<Typed> {
        self.present(&left, &right, operator)?;
        self.exact(&left, &right)?;
        self.shapes_meet(&left, &right, &at)?;
        let (left_ty, right_ty) = (left.ty.clone(), right.ty.clone());
        // A Duration beside a value of the event says nothing of that value: it may be a time or a duration.
        let (left, right) = match (&left_ty, &right_ty) {
            (Type::Dyn, Type::Duration) => (self.coerced(left, &Type::Timestamp), right),
            (Type::Timestamp, Type::Dyn) => (left, self.coerced(right, &Type::Timestamp)),
            _ => (self.coerced(left, &right_ty), self.coerced(right, &left_ty)),
        };
        let division = matches!(operator, Binary::Div | Binary::Rem);
        let ty = match (&left.ty, &right.ty) {
            (Type::Decimal, Type::Decimal | Type::Int) | (Type::Int, Type::Decimal) if division => {
                let message = format!("`{}` on decimals has no exact answer", operator.symbol());
                let (a, b) = (self.source(&left.at), self.source(&right.at));
                let help = format!("say how to round: `div({a}, {b}, 2, 'HALF_UP')`");
                return self.fault(Diagnostic::error("E011", self.place(&at), message).help(help));
            }
            (Type::Int, Type::Int) => Type::Int,
            (Type::Uint, Type::Uint) => Type::Uint,
            (Type::Decimal | Type::Int, Type::Decimal | Type::Int) => Type::Decimal,
            (Type::Float, Type::Float) if operator != Binary::Rem => Type::Float,
            (Type::Text, Type::Text) if operator == Binary::Add => Type::Text,
            (Type::Bytes, Type::Bytes) if operator == Binary::Add => Type::Bytes,
            (Type::Dyn, Type::Dyn) => Type::Dyn,
            (Type::List(a), Type::List(b)) if operator == Binary::Add => match join(a, b) {
                Some(of) => Type::List(Box::new(of)),
                None => return self.misfit(operator, &left_ty, &right_ty, &at),
            },
            (Type::Timestamp, Type::Duration) if matches!(operator, Binary::Add | Binary::Sub) => {
                Type::Timestamp
            }
            (Type::Duration, Type::Timestamp) if operator == Binary::Add => Type::Timestamp,
            (Type::Timestamp, Type::Timestamp) if operator == Binary::Sub => Type::Duration,
            (Type::Duration, Type::Duration) if matches!(operator, Binary::Add | Binary::Sub) => {
                Type::Duration
            }
            _ => return self.misfit(operator, &left_ty, &right_ty, &at),
        };
        Some(Typed { code: Code::Arithmetic(operator, Box::new(left.code), Box::new(right.code)), ty, at })
    }

    fn misfit(&mut self, operator: Binary, left: &Type, right: &Type, at: &Range<usize>) -> Option<Typed> {
        let (found, other) = (self.shown(left), self.shown(right));
        let message = format!("`{}` cannot take {found} and {other}", operator.symbol());
        let label = format!("{found} and {other}");
        self.fault(
            Diagnostic::error("E007", self.place(at), message).label(label).help(converted(left, right)),
        )
    }

    pub(super) fn choice(
        &mut self,
        condition: &Node,
        yes: &Node,
        no: &Node,
        node: &Node,
        hint: Option<&Type>,
    ) -> Option<Typed> {
        let condition = self.condition(condition);
        let (yes, no) = match hint {
            Some(_) => (self.check(yes, hint), self.check(no, hint)),
            None => match self.both(yes, no) {
                Some((yes, no)) => (Some(yes), Some(no)),
                None => (None, None),
            },
        };
        let (condition, yes, no) = (condition?, yes?, no?);
        let Some(ty) = join(&yes.ty, &no.ty) else {
            let (found, other) = (self.shown(&yes.ty), self.shown(&no.ty));
            let message = format!("the two sides of `? :` are {found} and {other}");
            let at = yes.at.start..no.at.end;
            return self
                .fault(Diagnostic::error("E007", self.place(&at), message).help("both must be of one type"));
        };
        let code = Code::If(Box::new(condition), Box::new(yes.code), Box::new(no.code));
        Some(Typed { code, ty, at: node.at.clone() })
    }
}

/// How two operands become of one type.
fn converted(left: &Type, right: &Type) -> &'static str {
    match (left, right) {
        (Type::Uint, Type::Int) | (Type::Int, Type::Uint) => {
            "integers with and without a sign are not mixed: say `int(x)` or `uint(x)`"
        }
        (Type::Float, Type::Int | Type::Uint) | (Type::Int | Type::Uint, Type::Float) => {
            "numbers of different types are not mixed: say `double(x)`"
        }
        (Type::Text, _) | (_, Type::Text) => {
            "make text of the other side with `string(x)`, or a number of the text with `int(x)` or `decimal(x)`"
        }
        _ => "both sides must be of one type",
    }
}
