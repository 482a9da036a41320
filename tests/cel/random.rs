//! Random expressions: well typed ones, compared with the slow oracle, and random text, which must never panic.
//!
//! `KINORA_SEEDS` says how many batches (default 4), `KINORA_SEED_BASE` where they start; a batch has 2,500 expressions
//! and 2,500 texts. A million texts take `KINORA_SEEDS=400`.

use std::panic::{AssertUnwindSafe, catch_unwind};

use fastrand::Rng;
use kinora::expr::{Slot, Type};

use crate::oracle::{Expr, Kind, Made, Names, text, value};
use crate::values::{Failed, compiled, evaluate};

const BATCH: usize = 2_500;

fn seeds() -> impl Iterator<Item = u64> {
    let number = |name: &str, default: u64| match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is \"{text}\", expected a number")),
        Err(_) => default,
    };
    let base = number("KINORA_SEED_BASE", 1);
    base..base + number("KINORA_SEEDS", 4)
}

/// The event that expressions read, and the same as the oracle sees it.
const EVENT: &str = r#"{"n":3,"m":-7,"z":0,"s":"ab€","e":"","b":true,"l":[3,0,-2],"w":["x","yz",""]}"#;

fn event_names() -> Names {
    let texts = |all: &[&str]| Made::List(all.iter().map(|text| Made::Text((*text).to_owned())).collect());
    Names::from([
        ("event.n".to_owned(), Made::Int(3)),
        ("event.m".to_owned(), Made::Int(-7)),
        ("event.z".to_owned(), Made::Int(0)),
        ("event.s".to_owned(), Made::Text("ab€".to_owned())),
        ("event.e".to_owned(), Made::Text(String::new())),
        ("event.b".to_owned(), Made::Bool(true)),
        ("event.l".to_owned(), Made::List([3, 0, -2].map(Made::Int).to_vec())),
        ("event.w".to_owned(), texts(&["x", "yz", ""])),
    ])
}

#[test]
fn random_expressions_are_what_the_oracle_says() {
    let event = sonic_rs::from_str(EVENT).expect("the event is JSON");
    let names = [("event".to_owned(), Type::Dyn)];
    let frame = [Slot::Json(&event)];
    let (mut values, mut rejects) = (0, 0);
    for seed in seeds() {
        let mut draw = Draw { random: Rng::with_seed(seed), locals: Vec::new() };
        for _ in 0..BATCH {
            let kind = draw.kind();
            let expr = draw.expr(kind, 4);
            let text = text(&expr);
            let wanted = value(&expr, &mut event_names());
            let found = evaluate(&text, &names, &frame, Made::of);
            match (found, wanted) {
                (Ok(found), Ok(wanted)) => {
                    assert!(
                        found.same(&wanted),
                        "seed {seed}: {text} is {found:?}, the oracle says {wanted:?}"
                    );
                    values += 1;
                }
                (Err(Failed::Run(_)), Err(())) => rejects += 1,
                (Err(Failed::Check(faults)), _)
                    if faults.iter().all(|fault| BOUNDS.contains(&fault.code)) => {}
                (found, wanted) => panic!("seed {seed}: {text} is {found:?}, the oracle says {wanted:?}"),
            }
        }
    }
    println!("{values} values, {rejects} rejects");
    assert!(values > 1_000 && rejects > 50, "{values} values and {rejects} rejects prove little");
}

/// What a random expression may run into by its size alone.
const BOUNDS: [&str; 2] = ["E002", "E013"];

/// Draws well-typed expressions.
struct Draw {
    random: Rng,
    /// Names that walks around have given, with their kinds.
    locals: Vec<(String, Kind)>,
}

impl Draw {
    fn kind(&mut self) -> Kind {
        [Kind::Int, Kind::Bool, Kind::Text, Kind::Ints, Kind::Texts, Kind::Float, Kind::Maybe, Kind::Map]
            [self.random.usize(..8)]
    }

    fn expr(&mut self, kind: Kind, depth: usize) -> Expr {
        if depth == 0 || self.random.u8(..6) == 0 {
            return self.leaf(kind);
        }
        let depth = depth - 1;
        match self.random.u8(..12) {
            0 => return self.choice(kind, depth),
            1 => return self.bound(kind, depth),
            2 if kind != Kind::Maybe => {
                let maybe = if kind == Kind::Int {
                    self.expr(Kind::Maybe, depth)
                } else {
                    self.optional_of(kind, depth)
                };
                return Expr::call("orValue", vec![maybe, self.expr(kind, depth)]);
            }
            _ => {}
        }
        match kind {
            Kind::Int => self.int(depth),
            Kind::Float => self.float(depth),
            Kind::Bool => self.truth(depth),
            Kind::Text => self.text(depth),
            Kind::Ints | Kind::Texts => self.list(kind, depth),
            Kind::Maybe => self.maybe(depth),
            Kind::Map => self.map(depth),
        }
    }

    fn leaf(&mut self, kind: Kind) -> Expr {
        let locals: Vec<_> = self.locals.iter().filter(|(_, known)| *known == kind).collect();
        if !locals.is_empty() && self.random.bool() {
            return Expr::Name(locals[self.random.usize(..locals.len())].0.clone());
        }
        let pick = |random: &mut Rng, all: &[&str]| Expr::Name(all[random.usize(..all.len())].to_owned());
        let read = self.random.u8(..3) == 0;
        match kind {
            Kind::Int if read => {
                let path = pick(&mut self.random, &["event.n", "event.m", "event.z"]);
                Expr::call("int", vec![path])
            }
            Kind::Text if read => Expr::call("string", vec![pick(&mut self.random, &["event.s", "event.e"])]),
            Kind::Int => Expr::Int(match self.random.u8(..8) {
                0 => i64::MAX,
                1 => i64::MIN + 1,
                _ => self.random.i64(-5..6),
            }),
            Kind::Float => Expr::Float([0.0, -0.0, 1.5, -2.25, 1e300, 3.0][self.random.usize(..6)]),
            Kind::Bool => Expr::Bool(self.random.bool()),
            Kind::Text => {
                Expr::Text(["", "a", "ab", "b€", "x y", "-7", "12"][self.random.usize(..7)].to_owned())
            }
            Kind::Ints => {
                Expr::List((0..self.random.usize(..4)).map(|_| Expr::Int(self.random.i64(-3..4))).collect())
            }
            Kind::Texts => {
                let count = self.random.usize(..3);
                Expr::List((0..count).map(|_| self.leaf(Kind::Text)).collect())
            }
            Kind::Maybe => match self.random.bool() {
                true => Expr::call("optional.none", Vec::new()),
                false => Expr::call("optional.of", vec![Expr::Int(self.random.i64(-2..3))]),
            },
            Kind::Map => Expr::Map(vec![("a".to_owned(), Expr::Int(self.random.i64(-2..3)))]),
        }
    }

    fn choice(&mut self, kind: Kind, depth: usize) -> Expr {
        let condition = self.expr(Kind::Bool, depth);
        let (yes, no) = (self.expr(kind, depth), self.expr(kind, depth));
        Expr::call("?:", vec![condition, yes, no])
    }

    fn bound(&mut self, kind: Kind, depth: usize) -> Expr {
        let of = self.kind();
        let value = self.expr(of, depth);
        let (name, body) = self.under(of, |draw| draw.expr(kind, depth));
        Expr::Walk { verb: "bind", of: Box::new(value), names: vec![name], body: Box::new(body) }
    }

    /// Draws with one more name.
    fn under<T>(&mut self, kind: Kind, draw: impl FnOnce(&mut Draw) -> T) -> (String, T) {
        let name = format!("x{}", self.locals.len());
        self.locals.push((name.clone(), kind));
        let drawn = draw(self);
        self.locals.pop();
        (name, drawn)
    }

    fn one_of(&mut self, names: &'static [&'static str], args: Vec<Expr>) -> Expr {
        Expr::call(names[self.random.usize(..names.len())], args)
    }

    fn int(&mut self, depth: usize) -> Expr {
        match self.random.u8(..9) {
            0..=3 => {
                let args = vec![self.expr(Kind::Int, depth), self.expr(Kind::Int, depth)];
                self.one_of(&["+", "-", "*", "/", "%"], args)
            }
            4 => Expr::call("-_", vec![self.expr(Kind::Int, depth)]),
            5 => {
                let of = [Kind::Text, Kind::Ints, Kind::Texts, Kind::Map][self.random.usize(..4)];
                Expr::call("size", vec![self.expr(of, depth)])
            }
            6 => Expr::call("[]", vec![self.expr(Kind::Ints, depth), self.expr(Kind::Int, 0)]),
            7 => Expr::call("sum", vec![self.expr(Kind::Ints, depth)]),
            _ => {
                let args = vec![self.expr(Kind::Text, depth), self.expr(Kind::Text, depth)];
                self.one_of(&["indexOf", "lastIndexOf"], args)
            }
        }
    }

    fn float(&mut self, depth: usize) -> Expr {
        match self.random.u8(..3) {
            0 => Expr::call("double", vec![self.expr(Kind::Int, depth)]),
            1 => {
                let of = self.expr(Kind::Float, depth);
                self.one_of(&["math.floor", "math.ceil", "math.trunc", "-_"], vec![of])
            }
            _ => {
                let args = vec![self.expr(Kind::Float, depth), self.expr(Kind::Float, depth)];
                self.one_of(&["+", "-", "*", "/"], args)
            }
        }
    }

    fn truth(&mut self, depth: usize) -> Expr {
        let two = |draw: &mut Draw, kind| vec![draw.expr(kind, depth), draw.expr(kind, depth)];
        match self.random.u8(..10) {
            0..=2 => {
                let args = two(self, Kind::Bool);
                self.one_of(&["&&", "||"], args)
            }
            3 => Expr::call("!", vec![self.expr(Kind::Bool, depth)]),
            4 | 5 => {
                let kind = [Kind::Int, Kind::Text, Kind::Float][self.random.usize(..3)];
                let args = two(self, kind);
                self.one_of(&["==", "!=", "<", "<=", ">", ">="], args)
            }
            6 => {
                let kind = [Kind::Ints, Kind::Texts, Kind::Map, Kind::Maybe][self.random.usize(..4)];
                let args = two(self, kind);
                self.one_of(&["==", "!="], args)
            }
            7 => Expr::call("in", vec![self.expr(Kind::Int, depth), self.expr(Kind::Ints, depth)]),
            8 => {
                let args = two(self, Kind::Text);
                self.one_of(&["contains", "startsWith", "endsWith"], args)
            }
            _ => {
                let verb = ["all", "exists", "exists_one"][self.random.usize(..3)];
                let of = self.expr(Kind::Ints, depth);
                let (name, body) = self.under(Kind::Int, |draw| draw.expr(Kind::Bool, depth));
                Expr::Walk { verb, of: Box::new(of), names: vec![name], body: Box::new(body) }
            }
        }
    }

    fn text(&mut self, depth: usize) -> Expr {
        match self.random.u8(..6) {
            0 | 1 => Expr::call("+", vec![self.expr(Kind::Text, depth), self.expr(Kind::Text, depth)]),
            2 => {
                let of = self.expr(Kind::Text, depth);
                self.one_of(&["upperAscii", "reverse", "trim"], vec![of])
            }
            3 => Expr::call("substring", vec![self.expr(Kind::Text, depth), self.expr(Kind::Int, 0)]),
            4 => Expr::call("join", vec![self.expr(Kind::Texts, depth), self.expr(Kind::Text, 0)]),
            _ => Expr::call("string", vec![self.expr(Kind::Int, depth)]),
        }
    }

    fn list(&mut self, kind: Kind, depth: usize) -> Expr {
        let element = if kind == Kind::Ints { Kind::Int } else { Kind::Text };
        match self.random.u8(..6) {
            0 => Expr::call("+", vec![self.expr(kind, depth), self.expr(kind, depth)]),
            1 => {
                let of = self.expr(kind, depth);
                let (name, body) = self.under(element, |draw| draw.expr(Kind::Bool, depth));
                Expr::Walk { verb: "filter", of: Box::new(of), names: vec![name], body: Box::new(body) }
            }
            2 => {
                let from = [Kind::Ints, Kind::Texts][self.random.usize(..2)];
                let of = self.expr(from, depth);
                let from = if from == Kind::Ints { Kind::Int } else { Kind::Text };
                let (name, body) = self.under(from, |draw| draw.expr(element, depth));
                Expr::Walk { verb: "map", of: Box::new(of), names: vec![name], body: Box::new(body) }
            }
            3 if kind == Kind::Ints => {
                let of = self.expr(Kind::Ints, depth);
                let (place, (name, body)) =
                    self.under(Kind::Int, |draw| draw.under(Kind::Int, |draw| draw.expr(Kind::Int, depth)));
                Expr::Walk {
                    verb: "transformList",
                    of: Box::new(of),
                    names: vec![place, name],
                    body: Box::new(body),
                }
            }
            4 if kind == Kind::Texts => {
                Expr::call("split", vec![self.expr(Kind::Text, depth), self.leaf(Kind::Text)])
            }
            _ => Expr::List((0..self.random.usize(..4)).map(|_| self.expr(element, depth)).collect()),
        }
    }

    fn optional_of(&mut self, kind: Kind, depth: usize) -> Expr {
        Expr::call("optional.of", vec![self.expr(kind, depth)])
    }

    fn maybe(&mut self, depth: usize) -> Expr {
        match self.random.u8(..5) {
            0 => self.optional_of(Kind::Int, depth),
            1 => Expr::call("optional.ofNonZeroValue", vec![self.expr(Kind::Int, depth)]),
            2 => Expr::call("or", vec![self.expr(Kind::Maybe, depth), self.expr(Kind::Maybe, depth)]),
            3 => Expr::call("[?]", vec![self.expr(Kind::Ints, depth), self.expr(Kind::Int, 0)]),
            _ => {
                let of = self.expr(Kind::Maybe, depth);
                let (name, body) = self.under(Kind::Int, |draw| draw.expr(Kind::Int, depth));
                Expr::Walk { verb: "optMap", of: Box::new(of), names: vec![name], body: Box::new(body) }
            }
        }
    }

    fn map(&mut self, depth: usize) -> Expr {
        if self.random.bool() {
            let keys = ["a", "b", "c"].into_iter().filter(|_| self.random.bool()).collect::<Vec<_>>();
            return Expr::Map(
                keys.into_iter().map(|key| (key.to_owned(), self.expr(Kind::Int, depth))).collect(),
            );
        }
        let of = self.expr(Kind::Map, depth);
        let (key, (name, body)) =
            self.under(Kind::Text, |draw| draw.under(Kind::Int, |draw| draw.expr(Kind::Int, depth)));
        Expr::Walk { verb: "transformMap", of: Box::new(of), names: vec![key, name], body: Box::new(body) }
    }
}

/// Pieces that texts are put together from.
const PIECES: [&str; 56] = [
    "event",
    ".n",
    ".?x",
    "[",
    "[?",
    "]",
    "(",
    ")",
    "{",
    "}",
    "{?",
    ":",
    ",",
    "?",
    "'a'",
    "\"b",
    "1",
    "2u",
    "1.5",
    "-",
    "!",
    "+",
    "*",
    "/",
    "%",
    "==",
    "!=",
    "<",
    ">=",
    "&&",
    "||",
    " in ",
    "true",
    "null",
    "b'\\xff'",
    "r'",
    "\\",
    ".map(x, ",
    ".all(i, v, ",
    "has(",
    "size(",
    ".format([",
    "'%s%d'",
    "timestamp(",
    "'2026-01-01T00:00:00Z'",
    ".getHours('",
    "duration('1h')",
    "optional.of(",
    ".orValue(",
    "math.greatest(",
    ".matches('",
    "a{1,9}",
    "dyn(",
    "uuid(",
    "€",
    "\u{0}",
];

#[test]
fn random_texts_never_panic() {
    let event = sonic_rs::from_str(EVENT).expect("the event is JSON");
    let names = [("event".to_owned(), Type::Dyn)];
    let frame = [Slot::Json(&event)];
    for seed in seeds() {
        let mut random = Rng::with_seed(seed);
        let mut draw = Draw { random: Rng::with_seed(seed ^ 0x9e37), locals: Vec::new() };
        for number in 0..BATCH {
            let text = match number % 3 {
                0 => {
                    (0..random.usize(..14)).map(|_| PIECES[random.usize(..PIECES.len())]).collect::<String>()
                }
                1 => (0..random.usize(..24)).map(|_| char::from(random.u8(9..127))).collect(),
                _ => spoilt(&mut random, &text(&draw.expr(Kind::Bool, 3))),
            };
            let ran = catch_unwind(AssertUnwindSafe(|| {
                if compiled(&text, &names).is_ok() {
                    let _ = evaluate(&text, &names, &frame, |_| ());
                }
            }));
            assert!(ran.is_ok(), "seed {seed}: {text:?} panics");
        }
    }
}

/// A text with a few characters taken out, put in or moved.
fn spoilt(random: &mut Rng, text: &str) -> String {
    let mut characters: Vec<char> = text.chars().collect();
    for _ in 0..random.usize(1..4) {
        let at = random.usize(..=characters.len());
        match random.u8(..3) {
            0 if at < characters.len() => {
                characters.remove(at);
            }
            1 if at < characters.len() => {
                let other = random.usize(..characters.len());
                characters.swap(at, other);
            }
            _ => {
                let piece = PIECES[random.usize(..PIECES.len())];
                for (place, character) in piece.chars().enumerate() {
                    characters.insert(at + place, character);
                }
            }
        }
    }
    characters.into_iter().collect()
}
