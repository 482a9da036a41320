//! Bounds on an operation's text, checked before the parser sees it.
//!
//! Comes in: the text. Goes out: nothing, or the first bound that is exceeded. One pass over the tokens, no memory.
//! `Room` counts what the rows of an answer take.
//! It is not a parser: text that is no GraphQL passes, and the parser refuses it. What only shows after fragments
//! are expanded is counted by `operation`.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::Limits;
use super::error::{Code, Fault};
use crate::observe::{Limit, metrics};
use crate::store::StoredRow;
use crate::value::weight;

/// Counts tokens, depth, aliases, root fields and directives.
///
/// # Errors
/// `LIMIT_EXCEEDED`, naming the bound and its value.
pub(super) fn check(text: &str, limits: &Limits) -> Result<(), Fault> {
    let mut count = Count::default();
    let mut before = [Token::End; 2];
    let mut scanner = Scanner { bytes: text.as_bytes(), at: 0 };
    loop {
        let token = scanner.next();
        if token == Token::End {
            return Ok(());
        }
        count.token(token, before);
        before = [token, before[0]];
        count.check(limits)?;
    }
}

/// The fault of an exceeded bound.
pub(super) fn exceeded(limit: Limit, what: &str, bound: usize) -> Fault {
    metrics().limit_hit(limit);
    Fault::new(Code::LimitExceeded, format!("The operation has more than {bound} {what}."))
}

/// The fault of a selection that is too deep.
pub(super) fn too_deep(bound: usize) -> Fault {
    metrics().limit_hit(Limit::Depth);
    Fault::new(Code::LimitExceeded, format!("The operation is nested deeper than {bound} levels."))
}

/// The fault of an answer that is too large.
pub(super) fn too_large(bound: usize) -> Fault {
    metrics().limit_hit(Limit::Answer);
    let message = format!(
        "The answer has more than {bound} bytes (`serve.limits.answer`); ask for fewer fields, or for smaller pages."
    );
    Fault::new(Code::LimitExceeded, message)
}

/// Room for the rows of one answer.
#[derive(Debug)]
pub(super) struct Room {
    bytes_max: usize,
    held: AtomicUsize,
}

impl Room {
    pub fn new(bytes_max: usize) -> Room {
        Room { bytes_max, held: AtomicUsize::new(0) }
    }

    /// Takes in rows.
    ///
    /// # Errors
    /// There is no room for them: what was read so far counts, and nothing more is read.
    pub fn take<'r>(&self, rows: impl Iterator<Item = &'r StoredRow>) -> Result<(), Fault> {
        let bytes: usize = rows.map(|row| weight(&row.cells)).sum();
        self.held.fetch_add(bytes, Ordering::Relaxed);
        self.fault().map_or(Ok(()), Err)
    }

    /// The fault of a room that is full.
    pub fn fault(&self) -> Option<Fault> {
        let bound = self.bytes_max;
        (self.held.load(Ordering::Relaxed) > bound).then(|| {
            let message = format!(
                "The rows that this operation reads take more than {bound} bytes (`serve.limits.read`); ask for smaller \
                 pages, or for less at once."
            );
            Fault::new(Code::LimitExceeded, message)
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Token {
    Name { on: bool, fragment: bool },
    Mark(u8),
    Spread,
    Other,
    End,
}

#[derive(Default)]
struct Count {
    tokens: usize,
    /// Braces of selections open now.
    depth: usize,
    /// Brackets and braces inside parentheses open now.
    nested: usize,
    parentheses: usize,
    deepest: usize,
    aliases: usize,
    directives: usize,
    root_fields: usize,
    most_root_fields: usize,
    fragment: bool,
}

impl Count {
    fn token(&mut self, token: Token, before: [Token; 2]) {
        self.tokens += 1;
        match token {
            Token::Mark(b'(') => self.parentheses += 1,
            Token::Mark(b')') => self.parentheses = self.parentheses.saturating_sub(1),
            Token::Mark(b'@') => self.directives += 1,
            Token::Mark(b'{' | b'[') if self.parentheses > 0 => self.open_value(),
            Token::Mark(b'}' | b']') if self.parentheses > 0 => self.nested = self.nested.saturating_sub(1),
            Token::Mark(b'{') => self.open_selection(),
            Token::Mark(b'}') => self.close_selection(),
            Token::Mark(b':') if self.parentheses == 0 => self.alias(),
            Token::Name { fragment, .. } if self.depth == 0 && self.parentheses == 0 => {
                self.fragment |= fragment && !matches!(before[0], Token::Name { .. });
            }
            Token::Name { .. } if self.is_field(before) => self.root_fields += 1,
            _ => {}
        }
        self.deepest = self.deepest.max(self.depth + self.nested);
        self.most_root_fields = self.most_root_fields.max(self.root_fields);
    }

    fn open_value(&mut self) {
        self.nested += 1;
    }

    fn open_selection(&mut self) {
        self.depth += 1;
    }

    fn close_selection(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        if self.depth == 0 {
            self.root_fields = 0;
            self.fragment = false;
        }
    }

    /// The name before the colon was an alias: it was counted as a field, and the field's own name comes.
    fn alias(&mut self) {
        self.aliases += 1;
        if self.depth == 1 && !self.fragment {
            self.root_fields = self.root_fields.saturating_sub(1);
        }
    }

    fn is_field(&self, before: [Token; 2]) -> bool {
        let named_otherwise = matches!(before[0], Token::Mark(b'@' | b'$') | Token::Spread);
        let type_condition = matches!(before, [Token::Name { on: true, .. }, Token::Spread]);
        self.depth == 1 && self.parentheses == 0 && !self.fragment && !named_otherwise && !type_condition
    }

    fn check(&self, limits: &Limits) -> Result<(), Fault> {
        for (limit, count, bound, what) in [
            (Limit::Tokens, self.tokens, limits.tokens, "tokens"),
            (Limit::Aliases, self.aliases, limits.aliases, "aliases"),
            (Limit::Directives, self.directives, limits.directives, "directives"),
            (Limit::RootFields, self.most_root_fields, limits.root_fields, "root fields"),
        ] {
            if count > bound {
                return Err(exceeded(limit, what, bound));
            }
        }
        if self.deepest > limits.depth { Err(too_deep(limits.depth)) } else { Ok(()) }
    }
}

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Scanner<'_> {
    fn next(&mut self) -> Token {
        self.skip_ignored();
        let Some(&byte) = self.bytes.get(self.at) else { return Token::End };
        match byte {
            b'_' | b'a'..=b'z' | b'A'..=b'Z' => self.name(),
            b'0'..=b'9' | b'-' => {
                self.skip_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.'));
                Token::Other
            }
            b'"' => self.string(),
            b'.' if self.bytes[self.at..].starts_with(b"...") => {
                self.at += 3;
                Token::Spread
            }
            _ => {
                self.at += 1;
                Token::Mark(byte)
            }
        }
    }

    fn skip_ignored(&mut self) {
        loop {
            self.skip_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b',' | 0xEF | 0xBB | 0xBF));
            if self.bytes.get(self.at) != Some(&b'#') {
                return;
            }
            self.skip_while(|byte| !matches!(byte, b'\n' | b'\r'));
        }
    }

    fn skip_while(&mut self, holds: impl Fn(u8) -> bool) {
        while self.bytes.get(self.at).is_some_and(|byte| holds(*byte)) {
            self.at += 1;
        }
    }

    fn name(&mut self) -> Token {
        let start = self.at;
        self.skip_while(|byte| byte == b'_' || byte.is_ascii_alphanumeric());
        let name = &self.bytes[start..self.at];
        Token::Name { on: name == b"on", fragment: name == b"fragment" }
    }

    fn string(&mut self) -> Token {
        let rest = &self.bytes[self.at..];
        if rest.starts_with(b"\"\"\"") {
            self.at += 3;
            while self.at < self.bytes.len() && !self.bytes[self.at..].starts_with(b"\"\"\"") {
                self.at += if self.bytes[self.at..].starts_with(b"\\\"\"\"") { 4 } else { 1 };
            }
            self.at = (self.at + 3).min(self.bytes.len());
            return Token::Other;
        }
        self.at += 1;
        while let Some(&byte) = self.bytes.get(self.at) {
            self.at += if byte == b'\\' { 2 } else { 1 };
            if matches!(byte, b'"' | b'\n' | b'\r') {
                break;
            }
        }
        Token::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Limits = Limits {
        tokens: usize::MAX,
        depth: usize::MAX,
        aliases: usize::MAX,
        root_fields: usize::MAX,
        directives: usize::MAX,
        representations: usize::MAX,
        cached_operations: 1,
        read_bytes: usize::MAX,
        answer_bytes: usize::MAX,
    };

    /// The text passes with `at` and fails with one less.
    fn bound(text: &str, at: usize, what: &str, set: impl Fn(&mut Limits, usize)) {
        for (bound, passes) in [(at + 1, true), (at, true), (at - 1, false)] {
            let mut limits = NONE;
            set(&mut limits, bound);
            let result = check(text, &limits);
            assert_eq!(result.is_ok(), passes, "{text} with at most {bound} {what}: {result:?}");
            if let Err(fault) = result {
                assert_eq!(fault.code, Code::LimitExceeded);
                assert!(
                    fault.message.contains(what) && fault.message.contains(&bound.to_string()),
                    "{fault:?}"
                );
            }
        }
    }

    #[test]
    fn each_bound_holds_below_at_and_above() {
        let tokens = |limits: &mut Limits, to| limits.tokens = to;
        bound("{ a(x: \"} } # \\\" {\", y: 1) } # { {", 11, "tokens", tokens);
        bound("{ a(x: \"\"\" \" { \\\"\"\" \"\"\") b }", 9, "tokens", tokens);
        bound("query Q { a { b { c } } d }", 3, "levels", |limits, to| limits.depth = to);
        bound("{ a(x: [[{ y: [1] }]]) }", 5, "levels", |limits, to| limits.depth = to);
        bound("query ($v: Int = 1) { a: b c: d(x: 1) { e: f } }", 3, "aliases", |limits, to| {
            limits.aliases = to
        });
        bound("query @a { b @c(x: 1) ... @d { e } }", 3, "directives", |limits, to| limits.directives = to);
        let roots = |limits: &mut Limits, to| limits.root_fields = to;
        bound(
            "query fragment { a b: c @x(y: 1) d { e f } ...F ... on Query { g } }",
            3,
            "root fields",
            roots,
        );
        bound("fragment F on Query { a b c d e } { x y }", 2, "root fields", roots);
    }

    #[test]
    fn text_that_is_no_graphql_never_panics() {
        for text in
            ["", "}", "{{{", "\"", "\"\"\"", "\"\\", "...", "....", ")(", ": : :", "\u{feff}{a}", "é", "@"]
        {
            assert!(check(text, &NONE).is_ok(), "{text}");
        }
    }
}
