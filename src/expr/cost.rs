//! What an expression may cost, estimated before any event is there.
//!
//! Comes in: [`Code`]. Goes out: about how many steps it takes, and a fault where they are too many. A step is one
//! operator or function on a short value. What the event brings is not known yet: each of its lists and texts is counted
//! with [`ASSUMED`] elements. A larger one is bounded when it comes, by `eval` and by the functions that make texts.

use crate::diagnostic::Diagnostic;
use crate::value::Value;

use super::check::{Checker, Typed};
use super::code::{Code, Each};
use super::eval::STEPS_MAX;
use super::function::Function;

/// Elements that a list of the event or the row is counted with, and characters that a text is.
pub(super) const ASSUMED: u64 = 100;
/// Characters that are worked on in one step.
const PER_STEP: u64 = 16;

/// What a part costs, and how large what it gives is: elements of a list or map, characters of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cost {
    steps: u64,
    size: u64,
}

impl Checker<'_> {
    /// Refuses an expression that may take too many steps.
    pub(super) fn affordable(&mut self, typed: &Typed) {
        let steps = cost(&typed.code, &mut Vec::new()).steps;
        let most = u64::from(STEPS_MAX);
        if steps > most {
            let message = format!("this may take {} steps; at most {most} are allowed", shown(steps));
            let help = format!(
                "lists and texts of the event are counted with {ASSUMED} elements; walks inside each other multiply: make the inner list when the event is produced"
            );
            let fault = Diagnostic::error("E013", self.place(&typed.at), message);
            self.faults.push(fault.label("too costly").help(help));
        }
    }
}

/// A number of steps, rounded where its digits say nothing.
fn shown(steps: u64) -> String {
    match steps {
        u64::MAX => "more steps than can be counted, about 2^64".to_owned(),
        steps => format!("about {}", steps - steps % 10_u64.pow(steps.ilog10().saturating_sub(1))),
    }
}

/// What a part costs. `locals` are the sizes of the values that are bound around it.
fn cost(code: &Code, locals: &mut Vec<u64>) -> Cost {
    match code {
        Code::Const(value) => Cost { steps: 1, size: size_of(value) },
        Code::Literal(_) => Cost { steps: 1, size: 1 },
        Code::Slot(..) => Cost { steps: 1, size: ASSUMED },
        Code::Local(local) => Cost { steps: 1, size: locals.get(*local).copied().unwrap_or(ASSUMED) },
        Code::Select { of, .. } => Cost { steps: cost(of, locals).steps.saturating_add(1), size: ASSUMED },
        Code::Index { of, index, .. } => sum(&[of, index], ASSUMED, locals),
        Code::Coerce { of, .. }
        | Code::Has(of)
        | Code::IsThere(of)
        | Code::ValueOf(of, _)
        | Code::NonZero(of) => {
            let of = cost(of, locals);
            Cost { steps: of.steps.saturating_add(1), size: of.size }
        }
        Code::Not(of) | Code::Negate(of) => sum(&[of], 1, locals),
        Code::And(left, right) | Code::Or(left, right) => sum(&[left, right], 1, locals),
        Code::Compare(_, left, right) | Code::Equal { left, right, .. } | Code::In(left, right) => {
            let (left, right) = (cost(left, locals), cost(right, locals));
            let work = left.size.max(right.size) / PER_STEP + 1;
            Cost { steps: left.steps.saturating_add(right.steps).saturating_add(work), size: 1 }
        }
        Code::Arithmetic(_, left, right) => {
            let (left, right) = (cost(left, locals), cost(right, locals));
            let size = left.size.saturating_add(right.size);
            let work = size / PER_STEP + 1;
            Cost { steps: left.steps.saturating_add(right.steps).saturating_add(work), size }
        }
        Code::If(condition, yes, no) => {
            let (condition, yes, no) = (cost(condition, locals), cost(yes, locals), cost(no, locals));
            let steps = condition.steps.saturating_add(yes.steps.max(no.steps));
            Cost { steps: steps.saturating_add(1), size: yes.size.max(no.size) }
        }
        Code::OrValue(of, default) | Code::OrElse(of, default) => {
            let (of, default) = (cost(of, locals), cost(default, locals));
            Cost { steps: of.steps.saturating_add(default.steps), size: of.size.max(default.size) }
        }
        Code::List(elements) => literal(elements.iter(), locals),
        Code::Some(elements) => literal(elements.iter().map(|(element, _)| element), locals),
        Code::Map(entries) => literal(entries.iter().flat_map(|(key, value, _)| [key, value]), locals),
        Code::OptMap { of, body } | Code::Bind { value: of, body } => {
            let of = cost(of, locals);
            let body = with(&[of.size], body, locals);
            Cost { steps: of.steps.saturating_add(body.steps).saturating_add(1), size: body.size }
        }
        Code::Each { verb, over, paired, filter, body, .. } => {
            walk(*verb, over, *paired, filter.as_deref(), body, locals)
        }
        Code::Matches { of, .. } => {
            let of = cost(of, locals);
            Cost { steps: of.steps.saturating_add(of.size).saturating_add(1), size: 1 }
        }
        Code::Call(function, args, _) => call(*function, args, locals),
    }
}

/// Parts one after the other, and what they give together.
fn sum(parts: &[&Code], size: u64, locals: &mut Vec<u64>) -> Cost {
    let steps = parts.iter().map(|part| cost(part, locals).steps).fold(1, u64::saturating_add);
    Cost { steps, size }
}

fn literal<'c>(parts: impl Iterator<Item = &'c Code>, locals: &mut Vec<u64>) -> Cost {
    let mut made = Cost { steps: 1, size: 0 };
    for part in parts {
        made.steps = made.steps.saturating_add(cost(part, locals).steps);
        made.size += 1;
    }
    made
}

/// A body with more locals.
fn with(sizes: &[u64], body: &Code, locals: &mut Vec<u64>) -> Cost {
    let outer = locals.len();
    locals.extend_from_slice(sizes);
    let body = cost(body, locals);
    locals.truncate(outer);
    body
}

fn walk(
    verb: Each,
    over: &Code,
    paired: bool,
    filter: Option<&Code>,
    body: &Code,
    locals: &mut Vec<u64>,
) -> Cost {
    let over = cost(over, locals);
    let sizes: &[u64] = if paired { &[1, ASSUMED] } else { &[ASSUMED] };
    let filter = filter.map_or(0, |filter| with(sizes, filter, locals).steps);
    let body = with(sizes, body, locals);
    let each = body.steps.saturating_add(filter).saturating_add(1);
    // A key that is put into a map is compared with those that are there.
    let each = if verb == Each::Entries { each.saturating_add(over.size) } else { each };
    let steps = over.steps.saturating_add(over.size.saturating_mul(each));
    Cost { steps, size: over.size.max(1) }
}

fn call(function: Function, args: &[Code], locals: &mut Vec<u64>) -> Cost {
    let args: Vec<_> = args.iter().map(|arg| cost(arg, locals)).collect();
    let steps = args.iter().map(|arg| arg.steps).fold(1, u64::saturating_add);
    let sizes = args.iter().map(|arg| arg.size);
    let name = match function {
        Function::Library(called) => called.name,
        _ => "",
    };
    let size = match name {
        // Each character may be replaced by a text; each element is followed by one.
        "replace" | "join" => sizes.fold(1, |size: u64, arg| size.saturating_mul(arg.max(1))),
        _ => sizes.fold(0, u64::saturating_add),
    };
    let size = if name == "join" { size.saturating_mul(ASSUMED) } else { size };
    Cost { steps: steps.saturating_add(size / PER_STEP), size }
}

/// How large a value that is written out is.
fn size_of(value: &Value) -> u64 {
    let size = match value {
        Value::Text(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        _ => 1,
    };
    u64::try_from(size).unwrap_or(u64::MAX)
}
