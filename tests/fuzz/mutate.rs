//! Good inputs → bad ones.
//!
//! Most changes keep to words: a word, a quoted text or a sign is left out, doubled, moved, taken from another input, or
//! repeated without end, and lines are treated alike, since what nearly reads well goes deepest. The others change
//! bytes. Comes in: a corpus and a random generator. Goes out: bytes.

use std::ops::Range;

use fastrand::Rng;

/// Longest input that is made.
const BYTES_MAX: usize = 32 * 1024;
/// Longest run of one repeated piece.
const REPEATED_MAX: usize = 4_096;

/// What means something to one of the readers, or is at the edge of what a type holds.
const ODD: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    "<",
    ">",
    ":",
    ";",
    ",",
    ".",
    "..",
    "...",
    "=",
    "==",
    "!=",
    "=>",
    "->",
    "+",
    "-",
    "*",
    "/",
    "%",
    "&",
    "&&",
    "|",
    "||",
    "!",
    "?",
    "?.",
    "[?",
    "@",
    "#",
    "$",
    "'",
    "\"",
    "\"\"\"",
    "'''",
    "`",
    "\\",
    "\\u",
    "\\ud800",
    "\\x",
    "^",
    "~",
    "_",
    " ",
    "\t",
    "\n",
    "\r\n",
    "\r",
    "\n  ",
    "\n- ",
    ": ",
    "\0",
    "\u{1}",
    "é",
    "€",
    "\u{1F600}",
    "e\u{301}",
    "\u{FEFF}",
    "\u{2028}",
    "\u{202E}",
    "0",
    "-0",
    "1",
    "-1",
    "1e400",
    "1e-400",
    "0.1",
    "1e5",
    "127",
    "128",
    "255",
    "2147483647",
    "2147483648",
    "-2147483649",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "18446744073709551615",
    "99999999999999999999999999999999999999",
    "0.00000000000000000000000000000000000001",
    "NaN",
    "Infinity",
    "0x7f",
    "null",
    "true",
    "false",
    "~",
    "yes",
    "|",
    ">-",
    "&a",
    "*a",
    "<<: *a",
    "!!int",
    "%YAML 1.2",
    "---",
    "...",
    "2026-02-30",
    "2026-02-28T23:59:60Z",
    "0000-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999Z",
    "-9999-01-01T00:00:00Z",
    "P1Y2M3DT4H5M6.7S",
    "PT-1S",
    "24:00:00",
    "[1, 1]",
    "{}",
    "[]",
    "a.b",
    "a: b",
    "__typename",
    "event",
    "row",
    "old",
    "position",
    "record",
    "this",
    "in",
    "has(",
    "matches(",
    "(a+)+$",
    "00000000-0000-1000-8000-000000000000",
    "::1",
    "::ffff:1.2.3.4",
    "AA==",
    "%ff",
    "%00",
];

/// Good inputs, cut into words.
pub struct Corpus {
    inputs: Vec<Vec<u8>>,
    words: Vec<Vec<u8>>,
    lines: Vec<Vec<u8>>,
}

impl Corpus {
    /// A corpus of these inputs; there is one at least.
    pub fn of(inputs: Vec<Vec<u8>>) -> Corpus {
        assert!(!inputs.is_empty(), "a corpus has an input");
        let mut words: Vec<Vec<u8>> = ODD.iter().map(|odd| odd.as_bytes().to_vec()).collect();
        let mut lines = Vec::new();
        for input in &inputs {
            words.extend(cut(input).into_iter().map(|word| input[word].to_vec()));
            lines.extend(input.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec));
        }
        for pieces in [&mut words, &mut lines] {
            pieces.sort_unstable();
            pieces.dedup();
        }
        Corpus { inputs, words, lines }
    }

    /// The good inputs.
    pub fn whole(&self) -> &[Vec<u8>] {
        &self.inputs
    }

    /// One of them, changed in one place or several.
    pub fn spoilt(&self, random: &mut Rng) -> Vec<u8> {
        let mut input = random.choice(&self.inputs).expect("there is one").clone();
        // Few changes leave most of it well formed: these go deepest.
        let changes = [1, 1, 1, 2, 2, 3, 5, 12][random.usize(..8)];
        for _ in 0..changes {
            match random.usize(..20) {
                0..11 => self.change_words(&mut input, random),
                11..16 => self.change_lines(&mut input, random),
                16..19 => change_bytes(&mut input, random),
                _ => self.join(&mut input, random),
            }
            input.truncate(BYTES_MAX);
        }
        input
    }

    fn change_words(&self, input: &mut Vec<u8>, random: &mut Rng) {
        let words = cut(input);
        let Some(at) = random.choice(&words).cloned() else {
            return input.extend_from_slice(random.choice(&self.words).expect("there is one"));
        };
        let other = random.choice(&words).cloned().expect("there is one");
        match random.usize(..12) {
            0 => drop(input.drain(at)),
            1 => {
                let word = input[at.clone()].to_vec();
                splice(input, at.start..at.start, &word);
            }
            2..4 => {
                let word = input[other].to_vec();
                splice(input, at, &word);
            }
            4..7 => splice(input, at, random.choice(&self.words).expect("there is one")),
            7..9 => splice(input, at.start..at.start, random.choice(&self.words).expect("there is one")),
            9 => {
                let odd = random.choice(ODD).expect("there is one").as_bytes();
                splice(input, at, odd);
            }
            10 => {
                let span = at.start.min(other.start)..at.end.max(other.end);
                let piece = input[span.clone()].to_vec();
                splice(input, span.start..span.start, &piece);
            }
            _ => {
                let word = match random.bool() {
                    true => input[at.clone()].to_vec(),
                    false => random.choice(ODD).expect("there is one").as_bytes().to_vec(),
                };
                let most = 1 << random.usize(1..13);
                let times = random.usize(..most).min(REPEATED_MAX / word.len().max(1));
                splice(input, at.start..at.start, &word.repeat(times));
            }
        }
    }

    fn change_lines(&self, input: &mut Vec<u8>, random: &mut Rng) {
        let mut lines: Vec<Vec<u8>> =
            input.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        if lines.len() < 2 {
            return self.change_words(input, random);
        }
        let at = random.usize(..lines.len());
        match random.usize(..6) {
            0 => drop(lines.remove(at)),
            1 => lines.insert(at, lines[at].clone()),
            2 => {
                let to = random.usize(..lines.len());
                lines.swap(at, to);
            }
            3 => lines.insert(at, random.choice(&self.lines).expect("there is one").clone()),
            4 => lines[at].splice(..0, vec![b' '; random.usize(1..4)]).for_each(drop),
            _ => {
                let spaces = lines[at].iter().take_while(|byte| **byte == b' ').count();
                lines[at].drain(..spaces.min(random.usize(1..4)));
            }
        }
        *input = lines.concat();
    }

    /// The front of one and the end of another.
    fn join(&self, input: &mut Vec<u8>, random: &mut Rng) {
        let other = random.choice(&self.inputs).expect("there is one");
        input.truncate(random.usize(..=input.len()));
        input.extend_from_slice(&other[random.usize(..=other.len())..]);
    }
}

fn change_bytes(input: &mut Vec<u8>, random: &mut Rng) {
    let at = random.usize(..=input.len());
    let end = (at + random.usize(..9)).min(input.len());
    match random.usize(..5) {
        0 => drop(input.drain(at..end)),
        1 if at < input.len() => input[at] ^= 1 << random.u8(..8),
        2 if at < input.len() => input[at] = random.u8(..),
        3 => input.truncate(at),
        _ => input.insert(at, random.u8(..)),
    }
}

fn splice(input: &mut Vec<u8>, at: Range<usize>, piece: &[u8]) {
    input.splice(at, piece.iter().copied()).for_each(drop);
}

/// Where the words of an input lie: names and numbers, quoted texts, runs of blanks, and every other byte by itself.
fn cut(input: &[u8]) -> Vec<Range<usize>> {
    let mut words = Vec::new();
    let mut at = 0;
    while at < input.len() {
        let rest = &input[at..];
        let run = |of: fn(u8) -> bool| rest.iter().take_while(|byte| of(**byte)).count();
        let length = match rest[0] {
            b' ' | b'\n' | b'\r' | b'\t' => run(|byte| byte.is_ascii_whitespace()),
            quote @ (b'"' | b'\'') => {
                let inside = rest[1..].iter().take(200).position(|byte| *byte == quote || *byte == b'\n');
                inside.filter(|end| rest[1 + end] == quote).map_or(1, |end| end + 2)
            }
            byte if is_word(byte) => run(is_word),
            _ => 1,
        };
        words.push(at..at + length);
        at += length;
    }
    words
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}
