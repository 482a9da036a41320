//! How calls are written, for advice: every function with its form, and the fault of a call that there is not.
//!
//! Comes in: a call that nothing here knows. Goes out: its fault, with the nearest function or the right form.

use std::ops::Range;

use crate::diagnostic::{Diagnostic, nearest};

use super::check::{Checker, Typed};
use super::library;

/// Calls that are no rows of the library's table, each way that they are written.
const FORMS: &[(&str, &str)] = &[
    ("decimal", "decimal(x)"),
    ("int", "int(x)"),
    ("uint", "uint(x)"),
    ("double", "double(x)"),
    ("bool", "bool(x)"),
    ("string", "string(x)"),
    ("bytes", "bytes(text)"),
    ("timestamp", "timestamp(x)"),
    ("date", "date(x)"),
    ("time", "time(x)"),
    ("duration", "duration(x)"),
    ("uuid", "uuid(x)"),
    ("base64", "base64(x)"),
    ("dyn", "dyn(x)"),
    ("money", "money(amount, currency)"),
    ("div", "div(a, b, scale, rounding)"),
    ("round", "round(x, scale, rounding)"),
    ("math.greatest", "math.greatest(a, b)"),
    ("math.least", "math.least(a, b)"),
    ("size", "x.size()"),
    ("has", "has(x.field)"),
    ("cel.bind", "cel.bind(name, value, expression)"),
    ("optional.of", "optional.of(x)"),
    ("optional.ofNonZeroValue", "optional.ofNonZeroValue(x)"),
    ("optional.none", "optional.none()"),
    ("orValue", "x.orValue(default)"),
    ("or", "x.or(optional)"),
    ("hasValue", "x.hasValue()"),
    ("value", "x.value()"),
    ("optMap", "x.optMap(name, value)"),
    ("optFlatMap", "x.optFlatMap(name, optional)"),
    ("map", "list.map(x, value)"),
    ("filter", "list.filter(x, condition)"),
    ("all", "list.all(x, condition)"),
    ("exists", "list.exists(x, condition)"),
    ("exists_one", "list.exists_one(x, condition)"),
    ("existsOne", "list.existsOne(i, x, condition)"),
    ("transformList", "list.transformList(i, x, value)"),
    ("transformMap", "map.transformMap(k, x, value)"),
    ("transformMapEntry", "map.transformMapEntry(k, x, {key: value})"),
    ("sum", "list.sum()"),
    ("min", "list.min()"),
    ("max", "list.max()"),
    ("values", "map.values()"),
    ("keys", "map.keys()"),
    ("matches", "text.matches('pattern')"),
];

/// Every function and macro by name, and how it is written; a name comes once for each way.
pub fn forms() -> impl Iterator<Item = (&'static str, &'static str)> {
    FORMS.iter().copied().chain(library::all().map(|known| (known.name, known.form)))
}

/// What authors ask for that would give another answer at each replay.
const CHANGING: &[&str] =
    &["now", "today", "random", "rand", "currentTime", "currentTimestamp", "generateId"];

impl Checker<'_> {
    pub(super) fn unknown_call(
        &mut self,
        name: &str,
        at: &Range<usize>,
        method: bool,
        args: usize,
    ) -> Option<Typed> {
        let place = self.place(at);
        if CHANGING.contains(&name) || (name == "uuid" && args == 0) {
            let message =
                format!("`{name}()` gives another value at each call, and a replay must give the same row");
            return self.fault(
                Diagnostic::error("E012", place, message).help("take it from the event, such as `event.at`"),
            );
        }
        let ways: Vec<_> = forms().filter(|(known, _)| *known == name).map(|(_, form)| form).collect();
        if !ways.is_empty() {
            let found = match args {
                1 => "one argument".to_owned(),
                args => format!("{args} arguments"),
            };
            let on = if method { " on a value" } else { "" };
            let message = format!("`{name}` is called{on} with {found}");
            let help = format!("write `{}`", ways.join("` or `"));
            return self.fault(Diagnostic::error("E006", place, message).help(help));
        }
        let help = match nearest(name, forms().map(|(known, _)| known)) {
            Some(near) => {
                let form = forms().find(|(known, _)| *known == near).map_or(near, |(_, form)| form);
                format!("did you mean `{form}`?")
            }
            None => "docs/expressions.md lists the functions".to_owned(),
        };
        let message = format!("there is no function `{name}`");
        self.fault(Diagnostic::error("E005", place, message).label("unknown function").help(help))
    }
}
