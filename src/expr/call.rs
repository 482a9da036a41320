//! Types calls: functions, methods, and what goes through lists.
//!
//! Comes in: a call with its arguments. Goes out: [`Code`] with its type, or faults. What the functions do is
//! `function`'s.

use std::ops::Range;

use crate::diagnostic::Diagnostic;
use crate::value::Value;

use super::Type;
use super::check::{Checker, Typed};
use super::code::{Code, Each};
use super::exact::conversion;
use super::function::Function;
use super::library::{self, Takes};
use super::parse::{self, Node};
use super::types::join;
use super::walk::Walk;

/// Names before a dot that belong to a function's name.
const NAMESPACES: [&str; 5] = ["base64", "cel", "math", "optional", "strings"];

/// Most bytes of a regular expression once it is ready to run.
const PATTERN_MAX: usize = 1 << 18;

impl Checker<'_> {
    pub(super) fn call(
        &mut self,
        node: &Node,
        name: &str,
        name_at: &Range<usize>,
        of: Option<&Node>,
        args: &[Node],
        hint: Option<&Type>,
    ) -> Option<Typed> {
        let qualified = self.qualified(of, name);
        let (name, name_at, of) = match &qualified {
            Some((name, at)) => (&**name, at, None),
            None => (name, name_at, of),
        };
        let (code, ty) = match (name, of, args) {
            ("has", None, [arg]) => self.has(arg)?,
            ("cel.bind", None, [var, value, body]) => self.bind(var, value, body, hint)?,
            ("optional.none", None, []) => Checker::none(),
            ("optional.of" | "optional.ofNonZeroValue", None, [arg]) => {
                self.optional_of(arg, name == "optional.ofNonZeroValue")?
            }
            ("orValue", Some(of), [default]) => self.or_value(of, default, hint)?,
            ("or", Some(of), [other]) => self.or(of, other)?,
            ("hasValue", Some(of), []) => self.has_value(of)?,
            ("value", Some(of), []) => self.value_of(of)?,
            ("optMap" | "optFlatMap", Some(of), [var, body]) => {
                self.opt_map(of, var, body, name == "optFlatMap")?
            }
            ("div", None, [left, right, scale, rounding]) => self.div(left, Some(right), scale, rounding)?,
            ("round", None, [of, scale, rounding]) => self.div(of, None, scale, rounding)?,
            ("money", None, [amount, currency]) => self.money(amount, currency)?,
            ("math.greatest" | "math.least", None, [_, ..]) => self.extreme_of(name, args)?,
            ("size", None, [of]) | ("size", Some(of), []) => self.size(of)?,
            ("sum" | "min" | "max", Some(of), []) => self.aggregate(name, of)?,
            ("values" | "keys", Some(of), []) => self.parts(name, of)?,
            ("matches", Some(of), [pattern]) | ("matches", None, [of, pattern]) => {
                self.matches(of, pattern)?
            }
            ("dyn", None, [arg]) => {
                let typed = self.mixed(arg)?;
                (typed.code, Type::Dyn)
            }
            // `uuid(record)` is the library's.
            ("uuid", None, [arg]) if self.is_record(arg) => self.library(name, None, args)??,
            (_, None, [arg]) if conversion(name).is_some() => self.conversion(name, arg)?,
            (_, Some(of), args) if let Some(walk) = walk(name, of, args) => self.each(&walk)?,
            _ => match self.library(name, of, args) {
                Some(found) => found?,
                None => return self.unknown_call(name, name_at, of.is_some(), args.len()),
            },
        };
        Some(Typed { code, ty, at: node.at.clone() })
    }

    /// The whole name of a function with a namespace, as in `math.ceil(x)`, and where it stands.
    fn qualified(&self, of: Option<&Node>, name: &str) -> Option<(String, Range<usize>)> {
        let Some(Node { kind: parse::Kind::Name(space), at }) = of else { return None };
        if !NAMESPACES.contains(&space.as_str()) || self.resolve(space).is_some() {
            return None;
        }
        let end = self.text[at.end..].find(name).map_or(at.end, |found| at.end + found + name.len());
        Some((format!("{space}.{name}"), at.start..end))
    }

    fn is_record(&self, node: &Node) -> bool {
        match &node.kind {
            parse::Kind::Name(name) => matches!(self.resolve(name), Some((_, Type::LogRecord))),
            _ => false,
        }
    }

    /// A function of the library's table; `None` where none is called so.
    #[expect(clippy::option_option, reason = "no such function, or one with a fault")]
    fn library(&mut self, name: &str, of: Option<&Node>, args: &[Node]) -> Option<Option<(Code, Type)>> {
        let count = args.len() + usize::from(of.is_some());
        let ways: Vec<_> = library::named(name, of.is_some(), count).collect();
        let first_way = *ways.first()?;
        let mut typed = Vec::with_capacity(count);
        for (node, takes) in of.into_iter().chain(args).zip(first_way.takes) {
            let arg = match takes {
                Takes::Any => self.mixed(node),
                _ => self.present_one(node, name),
            };
            let Some(arg) = arg else { return Some(None) };
            typed.push(arg);
        }
        let fits = |way: &&&'static library::Signature| {
            way.takes.iter().zip(&typed).all(|(takes, arg)| takes.fits(&arg.ty))
        };
        let Some(way) = ways.iter().find(fits) else {
            let (takes, arg) =
                first_way.takes.iter().zip(&typed).find(|(takes, arg)| !takes.fits(&arg.ty)).unzip();
            let (Some(takes), Some(arg)) = (takes, arg) else { return Some(None) };
            let wanted: Vec<_> = ways
                .iter()
                .map(|way| way.takes.iter().zip(&typed).find(|(takes, arg)| !takes.fits(&arg.ty)))
                .map(|found| found.map_or(takes.shown(), |(takes, _)| takes.shown()))
                .fold(Vec::new(), |mut all, one| {
                    if !all.contains(&one) {
                        all.push(one);
                    }
                    all
                });
            return Some(self.wrong(arg, &wanted.join(" or "), Some(format!("write `{}`", first_way.form))));
        };
        Some(self.called(way, typed))
    }

    fn called(&mut self, way: &'static library::Signature, typed: Vec<Typed>) -> Option<(Code, Type)> {
        let first = typed.first().map_or(Type::Dyn, |first| first.ty.clone());
        let text = typed.first().map_or_else(|| "".into(), |first| self.source(&first.at));
        let mut codes = Vec::with_capacity(typed.len());
        for (takes, arg) in way.takes.iter().zip(typed) {
            if *takes == Takes::Zone
                && let Code::Const(Value::Text(zone)) = &arg.code
                && library::zone(zone).is_none()
            {
                let message = format!("there is no time zone {zone:?}");
                let help = format!("write {}", library::zone_expected());
                self.fault(Diagnostic::error("E015", self.place(&arg.at), message).help(help));
                return None;
            }
            codes.push(match (&arg.ty, takes.kind()) {
                (Type::Dyn, Some(to)) => {
                    Code::Coerce { text: self.source(&arg.at), of: Box::new(arg.code), to }
                }
                _ => arg.code,
            });
        }
        Some((Code::Call(Function::Library(way), codes, text), way.gives.of(&first)))
    }

    /// `text.matches('pattern')`: the pattern is made here, so that it must be written out.
    fn matches(&mut self, of: &Node, pattern: &Node) -> Option<(Code, Type)> {
        let of = self.present_one(of, "matches")?;
        if !matches!(of.ty, Type::Text | Type::Dyn | Type::Enum(_)) {
            return self.wrong(&of, "a String", None);
        }
        let parse::Kind::Text(text) = &pattern.kind else {
            let message =
                "the pattern of `matches` is written out, because it is read when definitions are checked";
            let help = "write `text.matches('^[a-z]+$')`";
            self.fault(Diagnostic::error("E015", self.place(&pattern.at), message).help(help));
            return None;
        };
        let built =
            regex::RegexBuilder::new(text).size_limit(PATTERN_MAX).dfa_size_limit(PATTERN_MAX).build();
        let regex = match built {
            Ok(regex) => regex,
            Err(regex::Error::CompiledTooBig(_)) => {
                let message = format!("this regular expression takes more than {PATTERN_MAX} bytes to run");
                let help = "count fewer repetitions, as in `x{1,1000}`";
                self.fault(Diagnostic::error("E013", self.place(&pattern.at), message).help(help));
                return None;
            }
            Err(error) => {
                let error = error.to_string();
                let why = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
                let message = format!("this is no regular expression: {why}");
                let help = "groups, classes, repetitions and anchors may be used; references back and looking around may not";
                self.fault(Diagnostic::error("E015", self.place(&pattern.at), message).help(help));
                return None;
            }
        };
        let text = self.source(&of.at);
        let of = self.coerced(of, &Type::Text);
        Some((Code::Matches { of: Box::new(of.code), regex: Box::new(regex), text }, Type::Bool))
    }

    /// `math.greatest(a, b, …)`, or of a list.
    fn extreme_of(&mut self, name: &str, args: &[Node]) -> Option<(Code, Type)> {
        let function = if name == "math.greatest" { Function::Greatest } else { Function::Least };
        let nodes: Vec<&Node> = match args {
            [Node { kind: parse::Kind::List(elements), .. }]
                if !elements.is_empty() && elements.iter().all(|element| !element.optional) =>
            {
                elements.iter().map(|element| &element.node).collect()
            }
            [list] => {
                let typed = self.present_one(list, name)?;
                return match &typed.ty {
                    Type::List(of) if Takes::Number.fits(of) => {
                        let (ty, text) = ((**of).clone(), self.source(&typed.at));
                        Some((Code::Call(function, vec![typed.code], text), ty))
                    }
                    ty if Takes::Number.fits(ty) => Some((typed.code, typed.ty)),
                    _ => self.wrong(&typed, "a number or a list of numbers", None),
                };
            }
            several => several.iter().collect(),
        };
        let mut codes = Vec::with_capacity(nodes.len());
        let mut ty: Option<Type> = None;
        for node in nodes {
            let typed = self.present_one(node, name)?;
            if !Takes::Number.fits(&typed.ty) {
                return self.wrong(&typed, "a number", None);
            }
            // Of numbers of different types only the event can tell which is given.
            ty = Some(match ty {
                Some(before) => join(&before, &typed.ty).unwrap_or(Type::Dyn),
                None => typed.ty.clone(),
            });
            codes.push(typed.code);
        }
        let text = self.source(&args[0].at);
        Some((Code::Call(function, vec![Code::List(codes)], text), ty.unwrap_or(Type::Dyn)))
    }

    fn has(&mut self, arg: &Node) -> Option<(Code, Type)> {
        if !matches!(arg.kind, parse::Kind::Select { .. }) {
            let message = "`has` takes a field, such as `has(event.reason)`";
            self.fault(Diagnostic::error("E015", self.place(&arg.at), message));
            return None;
        }
        let mut typed = self.check(arg, None)?;
        if let Code::Select { optional, .. } = &mut typed.code {
            *optional = true;
        }
        Some((Code::Has(Box::new(typed.code)), Type::Bool))
    }

    fn or_value(&mut self, of: &Node, default: &Node, hint: Option<&Type>) -> Option<(Code, Type)> {
        let of = self.check(of, hint);
        let hint = of.as_ref().map(|of| of.ty.unwrapped().clone()).filter(|ty| *ty != Type::Dyn);
        let default = self.check(default, hint.as_ref());
        let (of, default) = (of?, default?);
        let inner = match &of.ty {
            Type::Null => default.ty.clone(),
            other => other.unwrapped().clone(),
        };
        let (at, text) = (of.at.clone(), self.source(&of.at));
        let code = Code::OrValue(Box::new(of.code), Box::new(default.code.clone()));
        if inner == Type::Dyn {
            let typed = Typed { code, ty: Type::Dyn, at };
            let typed = self.coerced(typed, &default.ty);
            return Some((typed.code, typed.ty));
        }
        if inner == Type::Decimal && default.ty == Type::Int {
            return Some((code, Type::Decimal));
        }
        if matches!((&inner, &default.ty), (Type::Decimal, Type::Float)) {
            self.floating(&default);
            return None;
        }
        match join(&inner, &default.ty) {
            Some(ty) => Some((code, ty)),
            None => {
                let (found, other) = (self.shown(&default.ty), self.shown(&inner));
                let message = format!("`{text}` is {other}, but its default is {found}");
                self.fault(Diagnostic::error("E007", self.place(&default.at), message));
                None
            }
        }
    }

    /// An argument that must be there.
    pub(super) fn present_one(&mut self, node: &Node, what: &str) -> Option<Typed> {
        let typed = self.check(node, None)?;
        if typed.ty.is_nullable() || matches!(typed.ty, Type::Optional(_)) {
            self.may_be_nothing(&typed, what);
            return None;
        }
        Some(typed)
    }

    pub(super) fn wrong(
        &mut self,
        typed: &Typed,
        expected: &str,
        help: Option<String>,
    ) -> Option<(Code, Type)> {
        let message = format!("expected {expected}, found {}", self.shown(&typed.ty));
        let source = self.source(&typed.at);
        let help = help.unwrap_or_else(|| match expected {
            "a String" | "a String as currency" => format!("write `string({source})`"),
            "a Decimal" => format!("write `decimal({source})`"),
            "a list of strings" => format!("write `{source}.map(x, string(x))`"),
            _ => "docs/expressions.md says what each function takes".to_owned(),
        });
        self.fault(Diagnostic::error("E007", self.place(&typed.at), message).help(help));
        None
    }

    fn size(&mut self, of: &Node) -> Option<(Code, Type)> {
        let typed = self.present_one(of, "size")?;
        if !matches!(typed.ty, Type::Text | Type::Bytes | Type::List(_) | Type::Map(..) | Type::Dyn) {
            return self.wrong(&typed, "text, a list or a map", None);
        }
        let text = self.source(&typed.at);
        Some((Code::Call(Function::Size, vec![typed.code], text), Type::Int))
    }
}

/// A walk through a list or map, by its name and arguments.
fn walk<'n>(name: &str, of: &'n Node, args: &'n [Node]) -> Option<Walk<'n>> {
    let (verb, vars, filter) = match (name, args.len()) {
        ("map", 2) => (Each::Map, 1, false),
        ("map", 3) => (Each::Map, 1, true),
        ("filter", 2) => (Each::Filter, 1, false),
        ("all", 2) => (Each::All, 1, false),
        ("all", 3) => (Each::All, 2, false),
        ("exists", 2) => (Each::Exists, 1, false),
        ("exists", 3) => (Each::Exists, 2, false),
        ("exists_one" | "existsOne", 2) => (Each::ExistsOne, 1, false),
        ("exists_one" | "existsOne", 3) => (Each::ExistsOne, 2, false),
        ("transformList", 3) => (Each::Map, 2, false),
        ("transformList", 4) => (Each::Map, 2, true),
        ("transformMap", 3) => (Each::MapValues, 2, false),
        ("transformMap", 4) => (Each::MapValues, 2, true),
        ("transformMapEntry", 3) => (Each::Entries, 2, false),
        ("transformMapEntry", 4) => (Each::Entries, 2, true),
        _ => return None,
    };
    let (vars, rest) = args.split_at(vars);
    let (body, before) = rest.split_last()?;
    Some(Walk { verb, of, vars, filter: before.first().filter(|_| filter), body })
}
