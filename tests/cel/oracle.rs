//! The oracle of random expressions: a tree of its own, how it is written, and what it is, evaluated slowly and apart
//! from the engine.
//!
//! Comes in: a tree. Goes out: its text, or its value; `Err(())` where there is none.

use std::collections::BTreeMap;

use kinora::expr::Val;

/// What an expression gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Int,
    Float,
    Bool,
    Text,
    Ints,
    Texts,
    /// An optional Int.
    Maybe,
    /// Ints by text.
    Map,
}

#[derive(Clone, Debug)]
pub enum Expr {
    Int(i64),
    Float(f64),
    Bool(bool),
    Text(String),
    List(Vec<Expr>),
    Map(Vec<(String, Expr)>),
    Name(String),
    Call(&'static str, Vec<Expr>),
    /// A body that is run with names: for each element, or once.
    Walk {
        verb: &'static str,
        of: Box<Expr>,
        names: Vec<String>,
        body: Box<Expr>,
    },
}

impl Expr {
    pub fn call(name: &'static str, args: Vec<Expr>) -> Expr {
        Expr::Call(name, args)
    }
}

/// A value, all by itself.
#[derive(Clone, Debug)]
pub enum Made {
    Int(i64),
    Float(f64),
    Bool(bool),
    Text(String),
    List(Vec<Made>),
    Map(BTreeMap<String, Made>),
    Maybe(Option<Box<Made>>),
}

pub type Names = BTreeMap<String, Made>;

impl Made {
    /// The engine's value; an optional is what it holds.
    pub fn of(value: &Val<'_>) -> Made {
        match value {
            Val::Int(number) => Made::Int(*number),
            Val::Float(number) => Made::Float(*number),
            Val::Bool(truth) => Made::Bool(*truth),
            Val::Text(text) => Made::Text(text.to_string()),
            Val::List(list) => Made::List(list.iter().map(Made::of).collect()),
            Val::Map(map) => Made::Map(
                map.iter()
                    .map(|(key, value)| match key {
                        Val::Text(key) => (key.to_string(), Made::of(value)),
                        other => panic!("a key is {other:?}"),
                    })
                    .collect(),
            ),
            Val::Nothing => Made::Maybe(None),
            other => panic!("an expression gives {other:?}"),
        }
    }

    /// Whether two values are the same; NaN is, here.
    pub fn same(&self, other: &Made) -> bool {
        match (self, other) {
            (Made::Float(a), Made::Float(b)) => a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()),
            (Made::Maybe(None), Made::Maybe(None)) => true,
            (Made::Maybe(Some(held)), other) | (other, Made::Maybe(Some(held))) => held.same(other),
            (Made::List(a), Made::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.same(b)),
            (Made::Map(a), Made::Map(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|((k, a), (l, b))| k == l && a.same(b))
            }
            (a, b) => equal(a, b),
        }
    }

    fn int(&self) -> i64 {
        match self {
            Made::Int(number) => *number,
            other => panic!("{other:?} is no Int"),
        }
    }

    fn text(&self) -> &str {
        match self {
            Made::Text(text) => text,
            other => panic!("{other:?} is no text"),
        }
    }

    fn truth(&self) -> bool {
        match self {
            Made::Bool(truth) => *truth,
            other => panic!("{other:?} is no truth"),
        }
    }

    fn list(&self) -> &[Made] {
        match self {
            Made::List(list) => list,
            other => panic!("{other:?} is no list"),
        }
    }
}

fn equal(a: &Made, b: &Made) -> bool {
    match (a, b) {
        (Made::Int(a), Made::Int(b)) => a == b,
        (Made::Float(a), Made::Float(b)) => a == b,
        (Made::Bool(a), Made::Bool(b)) => a == b,
        (Made::Text(a), Made::Text(b)) => a == b,
        (Made::List(a), Made::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Made::Map(a), Made::Map(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|((k, a), (l, b))| k == l && equal(a, b))
        }
        (Made::Maybe(a), Made::Maybe(b)) => match (a, b) {
            (Some(a), Some(b)) => equal(a, b),
            (None, None) => true,
            _ => false,
        },
        _ => false,
    }
}

/// The expression as an author writes it, with every bracket that may be needed.
pub fn text(expr: &Expr) -> String {
    match expr {
        Expr::Int(number) if *number < 0 => format!("({number})"),
        Expr::Int(number) => number.to_string(),
        Expr::Float(number) => format!("({number:?})"),
        Expr::Bool(truth) => truth.to_string(),
        Expr::Text(text) => format!("'{text}'"),
        Expr::Name(name) => name.clone(),
        Expr::List(list) => format!("[{}]", list.iter().map(text).collect::<Vec<_>>().join(", ")),
        Expr::Map(map) => {
            let entries: Vec<_> =
                map.iter().map(|(key, value)| format!("'{key}': {}", text(value))).collect();
            format!("{{{}}}", entries.join(", "))
        }
        Expr::Walk { verb: "bind", of, names, body } => {
            format!("cel.bind({}, {}, {})", names[0], text(of), text(body))
        }
        Expr::Walk { verb, of, names, body } => {
            format!("{}.{verb}({}, {})", text(of), names.join(", "), text(body))
        }
        Expr::Call(name, args) => {
            let args: Vec<_> = args.iter().map(text).collect();
            match (*name, args.as_slice()) {
                ("?:", [condition, yes, no]) => format!("({condition} ? {yes} : {no})"),
                ("-_", [of]) => format!("(-{of})"),
                ("!", [of]) => format!("(!{of})"),
                ("[]", [of, at]) => format!("{of}[{at}]"),
                ("[?]", [of, at]) => format!("{of}[?{at}]"),
                ("size" | "int" | "string" | "double", [of]) => format!("{name}({of})"),
                (name, args) if name.contains('.') => format!("{name}({})", args.join(", ")),
                (name, [left, right]) if !name.starts_with(char::is_alphabetic) || name == "in" => {
                    format!("({left} {name} {right})")
                }
                (name, [of, rest @ ..]) => format!("{of}.{name}({})", rest.join(", ")),
                (name, []) => format!("{name}()"),
            }
        }
    }
}

/// What an expression is.
pub fn value(expr: &Expr, names: &mut Names) -> Result<Made, ()> {
    Ok(match expr {
        Expr::Int(number) => Made::Int(*number),
        Expr::Float(number) => Made::Float(*number),
        Expr::Bool(truth) => Made::Bool(*truth),
        Expr::Text(text) => Made::Text(text.clone()),
        Expr::Name(name) => names[name].clone(),
        Expr::List(list) => Made::List(list.iter().map(|part| value(part, names)).collect::<Result<_, _>>()?),
        Expr::Map(map) => {
            let entries = map.iter().map(|(key, part)| Ok((key.clone(), value(part, names)?)));
            Made::Map(entries.collect::<Result<_, ()>>()?)
        }
        Expr::Call(name, args) => return call(name, args, names),
        Expr::Walk { verb, of, names: given, body } => return walk(verb, of, given, body, names),
    })
}

fn call(name: &str, args: &[Expr], names: &mut Names) -> Result<Made, ()> {
    match (name, args) {
        ("?:", [condition, yes, no]) => {
            let chosen = if value(condition, names)?.truth() { yes } else { no };
            return value(chosen, names);
        }
        ("&&" | "||", [left, right]) => {
            let decides = name == "||";
            let sides = [value(left, names), value(right, names)];
            if sides.iter().flatten().any(|side| side.truth() == decides) {
                return Ok(Made::Bool(decides));
            }
            return match sides {
                [Ok(_), Ok(_)] => Ok(Made::Bool(!decides)),
                _ => Err(()),
            };
        }
        ("or" | "orValue", [of, other]) => {
            return match value(of, names)? {
                Made::Maybe(None) => value(other, names),
                Made::Maybe(Some(held)) if name == "orValue" => Ok(*held),
                held => Ok(held),
            };
        }
        _ => {}
    }
    let args: Vec<Made> = args.iter().map(|arg| value(arg, names)).collect::<Result<_, _>>()?;
    match args.as_slice() {
        [] => Ok(Made::Maybe(None)),
        [of] => one(name, of),
        [left, right, ..] => two(name, left, right),
    }
}

#[allow(clippy::cast_precision_loss, reason = "a floating number is asked for")]
fn one(name: &str, of: &Made) -> Result<Made, ()> {
    Ok(match (name, of) {
        ("-_", Made::Int(number)) => Made::Int(number.checked_neg().ok_or(())?),
        ("-_", Made::Float(number)) => Made::Float(-number),
        ("!", of) => Made::Bool(!of.truth()),
        ("int", of) => of.clone(),
        ("string", Made::Int(number)) => Made::Text(number.to_string()),
        ("string", of) => of.clone(),
        ("double", of) => Made::Float(of.int() as f64),
        ("size", Made::Text(text)) => count(text.chars().count()),
        ("size", Made::Map(map)) => count(map.len()),
        ("size", of) => count(of.list().len()),
        ("sum", of) => {
            let sum = of.list().iter().try_fold(0_i64, |sum, part| sum.checked_add(part.int()));
            Made::Int(sum.ok_or(())?)
        }
        ("upperAscii", of) => Made::Text(of.text().to_ascii_uppercase()),
        ("reverse", of) => Made::Text(of.text().chars().rev().collect()),
        ("trim", of) => Made::Text(of.text().trim().to_owned()),
        ("math.floor", Made::Float(number)) => Made::Float(number.floor()),
        ("math.ceil", Made::Float(number)) => Made::Float(number.ceil()),
        ("math.trunc", Made::Float(number)) => Made::Float(number.trunc()),
        ("optional.of", of) => Made::Maybe(Some(Box::new(of.clone()))),
        ("optional.ofNonZeroValue", Made::Int(0)) => Made::Maybe(None),
        ("optional.ofNonZeroValue", of) => Made::Maybe(Some(Box::new(of.clone()))),
        (name, of) => panic!("the oracle does not know {name} of {of:?}"),
    })
}

fn count(number: usize) -> Made {
    Made::Int(i64::try_from(number).expect("a list of a test is short"))
}

fn two(name: &str, left: &Made, right: &Made) -> Result<Made, ()> {
    let at = |list: &[Made]| usize::try_from(right.int()).ok().and_then(|at| list.get(at).cloned());
    Ok(match (name, left, right) {
        ("==", ..) => Made::Bool(equal(left, right)),
        ("!=", ..) => Made::Bool(!equal(left, right)),
        ("<" | "<=" | ">" | ">=", ..) => Made::Bool(ordered(name, left, right)),
        ("in", ..) => Made::Bool(right.list().iter().any(|part| equal(part, left))),
        ("[]", ..) => at(left.list()).ok_or(())?,
        ("[?]", ..) => Made::Maybe(at(left.list()).map(Box::new)),
        ("+", Made::Text(a), Made::Text(b)) => Made::Text(format!("{a}{b}")),
        ("+", Made::List(a), Made::List(b)) => Made::List([a.as_slice(), b].concat()),
        (_, Made::Int(a), Made::Int(b)) => Made::Int(integers(name, (*a).into(), (*b).into())?),
        (_, Made::Float(a), Made::Float(b)) => Made::Float(match name {
            "+" => a + b,
            "-" => a - b,
            "*" => a * b,
            _ => a / b,
        }),
        ("contains", ..) => Made::Bool(left.text().contains(right.text())),
        ("startsWith", ..) => Made::Bool(left.text().starts_with(right.text())),
        ("endsWith", ..) => Made::Bool(left.text().ends_with(right.text())),
        ("indexOf" | "lastIndexOf", ..) => {
            let (whole, part): (Vec<char>, Vec<char>) =
                (left.text().chars().collect(), right.text().chars().collect());
            let mut places =
                (0..=whole.len().saturating_sub(part.len())).filter(|at| whole[*at..].starts_with(&part));
            let place = if name == "indexOf" { places.next() } else { places.next_back() };
            place.map_or(Made::Int(-1), count)
        }
        ("substring", ..) => {
            let characters: Vec<char> = left.text().chars().collect();
            let from = usize::try_from(right.int()).ok().filter(|from| *from <= characters.len()).ok_or(())?;
            Made::Text(characters[from..].iter().collect())
        }
        ("join", ..) => Made::Text(left.list().iter().map(Made::text).collect::<Vec<_>>().join(right.text())),
        ("split", ..) if right.text().is_empty() => {
            Made::List(left.text().chars().map(|part| Made::Text(part.to_string())).collect())
        }
        ("split", ..) => {
            Made::List(left.text().split(right.text()).map(|part| Made::Text(part.to_owned())).collect())
        }
        _ => panic!("the oracle does not know {left:?} {name} {right:?}"),
    })
}

fn ordered(name: &str, left: &Made, right: &Made) -> bool {
    let order = match (left, right) {
        (Made::Int(a), Made::Int(b)) => Some(a.cmp(b)),
        (Made::Text(a), Made::Text(b)) => Some(a.as_bytes().cmp(b.as_bytes())),
        (Made::Float(a), Made::Float(b)) => a.partial_cmp(b),
        _ => panic!("{left:?} and {right:?} have no order"),
    };
    order.is_some_and(|order| match name {
        "<" => order.is_lt(),
        "<=" => order.is_le(),
        ">" => order.is_gt(),
        _ => order.is_ge(),
    })
}

fn integers(name: &str, a: i128, b: i128) -> Result<i64, ()> {
    let found = match name {
        "+" => a + b,
        "-" => a - b,
        "*" => a * b,
        _ if b == 0 => return Err(()),
        "/" => a / b,
        _ => a % b,
    };
    // The smallest integer by -1 is refused as its quotient is, though nothing would be left over.
    if name == "%" && a == i128::from(i64::MIN) && b == -1 {
        return Err(());
    }
    i64::try_from(found).map_err(drop)
}

fn walk(verb: &str, of: &Expr, given: &[String], body: &Expr, names: &mut Names) -> Result<Made, ()> {
    let of = value(of, names)?;
    let mut run = |values: &[Made]| {
        names.extend(given.iter().cloned().zip(values.iter().cloned()));
        value(body, names)
    };
    Ok(match (verb, of) {
        ("bind", of) => run(&[of])?,
        ("optMap", Made::Maybe(None)) => Made::Maybe(None),
        ("optMap", Made::Maybe(Some(held))) => Made::Maybe(Some(Box::new(run(&[*held])?))),
        ("transformMap", Made::Map(map)) => {
            let entries =
                map.into_iter().map(|(key, part)| Ok((key.clone(), run(&[Made::Text(key), part])?)));
            Made::Map(entries.collect::<Result<_, ()>>()?)
        }
        ("transformList", Made::List(list)) => {
            let parts = list.into_iter().enumerate().map(|(at, part)| run(&[count(at), part]));
            Made::List(parts.collect::<Result<_, _>>()?)
        }
        ("map", Made::List(list)) => {
            Made::List(list.into_iter().map(|part| run(&[part])).collect::<Result<_, _>>()?)
        }
        ("filter", Made::List(list)) => {
            let mut kept = Vec::new();
            for part in list {
                if run(std::slice::from_ref(&part))?.truth() {
                    kept.push(part);
                }
            }
            Made::List(kept)
        }
        ("all" | "exists", Made::List(list)) => {
            let decides = verb == "exists";
            let parts: Vec<_> = list.into_iter().map(|part| run(&[part])).collect();
            match parts.iter().flatten().any(|part| part.truth() == decides) {
                true => Made::Bool(decides),
                false if parts.iter().any(Result::is_err) => return Err(()),
                false => Made::Bool(!decides),
            }
        }
        ("exists_one", Made::List(list)) => {
            let parts = list.into_iter().map(|part| run(&[part])).collect::<Result<Vec<_>, _>>()?;
            Made::Bool(parts.iter().filter(|part| part.truth()).count() == 1)
        }
        (verb, of) => panic!("the oracle does not know {verb} of {of:?}"),
    })
}
