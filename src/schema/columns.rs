//! The small languages inside directive arguments: lists of columns, keys of references, durations.
//!
//! Comes in: an argument's text and where it stands. Goes out: names with places, or what is wrong with the text.
//! Knows no type: `bind` looks the names up.

use super::fieldset::{self, Path};
use super::{Bucket, KeyFunction, Order};
use crate::diagnostic::{Diagnostic, Span};

/// An argument's text and where it stands, so that a fault inside it can be underlined.
#[derive(Clone, Debug)]
pub(super) struct Text {
    pub value: String,
    /// The literal with its quotes.
    pub span: Span,
    /// Whether the literal holds the value letter by letter, and where in the file it then begins.
    pub verbatim: Option<u32>,
}

impl Text {
    /// The place of a range of bytes of the value.
    pub fn at(&self, start: usize, end: usize) -> Span {
        let into = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        match self.verbatim {
            Some(from) => Span { file: self.span.file, start: from + into(start), end: from + into(end) },
            None => self.span,
        }
    }
}

/// A column in a list, as written.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ColumnUse {
    pub column: String,
    pub via: KeyFunction,
    pub alias: Option<String>,
    pub order: Option<Order>,
    pub span: Span,
}

/// What a list of columns may hold.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Allowed {
    /// `partition`: columns and column expressions.
    Expressions,
    /// `clustering`: those, and `ASC` or `DESC`.
    ExpressionsInOrder,
    /// `fields`: names only.
    Names,
}

/// Reads `userId, month(placedAt) AS placedMonth`, commas optional.
///
/// # Errors
/// The first fault of the text, at its place.
pub(super) fn columns(text: &Text, allowed: Allowed) -> Result<Vec<ColumnUse>, Diagnostic> {
    let mut tokens = Tokens::new(text);
    let mut columns = Vec::new();
    while let Some(token) = tokens.next()? {
        if token.word != "," {
            columns.push(column(token, &mut tokens, allowed)?);
        }
    }
    if columns.is_empty() {
        return Err(Diagnostic::error("S030", text.span, "this list of columns is empty")
            .label("no column")
            .help("Name at least one column, or leave the argument out."));
    }
    Ok(columns)
}

fn column(first: Token<'_>, tokens: &mut Tokens<'_>, allowed: Allowed) -> Result<ColumnUse, Diagnostic> {
    first.is_name(tokens.text, "a column")?;
    let (start, mut end) = (first.start, first.end());
    let mut column = first.word.to_string();
    let mut via = KeyFunction::Itself;
    if tokens.peek()?.is_some_and(|token| token.word == "(") {
        (column, via, end) = call(&first, tokens, allowed)?;
    }
    let mut found = ColumnUse { column, via, alias: None, order: None, span: tokens.text.at(start, end) };
    while let Some(word) = tokens.peek()? {
        let upper = word.word.to_ascii_uppercase();
        match upper.as_str() {
            "AS" if allowed != Allowed::Names => {
                tokens.next()?;
                let alias = tokens.expect("a name after AS")?;
                alias.is_name(tokens.text, "a name after AS")?;
                found.alias = Some(alias.word.to_string());
            }
            "ASC" | "DESC" if allowed == Allowed::ExpressionsInOrder => {
                tokens.next()?;
                found.order = Some(if upper == "ASC" { Order::Asc } else { Order::Desc });
            }
            "ASC" | "DESC" => {
                return Err(word
                    .fault(tokens.text, format!("`{}` has no meaning here", word.word))
                    .help("Only `clustering` has an order: the rows of a partition are sorted by it."));
            }
            _ => break,
        }
    }
    Ok(found)
}

/// The rest of `month(placedAt)` after its name: column, function and end.
fn call(
    name: &Token<'_>,
    tokens: &mut Tokens<'_>,
    allowed: Allowed,
) -> Result<(String, KeyFunction, usize), Diagnostic> {
    if allowed == Allowed::Names {
        return Err(name
            .fault(tokens.text, "column expressions have no meaning here")
            .help("`fields` names columns: \"number, total\"."));
    }
    tokens.next()?;
    let column = tokens.expect("a column")?;
    column.is_name(tokens.text, "a column")?;
    let via = match name.word.to_ascii_lowercase().as_str() {
        "year" => KeyFunction::Bucket(Bucket::Year),
        "month" => KeyFunction::Bucket(Bucket::Month),
        "week" => KeyFunction::Bucket(Bucket::Week),
        "day" => KeyFunction::Bucket(Bucket::Day),
        "hour" => KeyFunction::Bucket(Bucket::Hour),
        "hash" => KeyFunction::Hash(shards(tokens)?),
        "prefix" => KeyFunction::Prefix(letters(tokens)?),
        _ => {
            let functions = ["year", "month", "week", "day", "hour", "hash", "prefix"];
            let nearest = crate::diagnostic::nearest(name.word, functions.into_iter());
            return Err(name
                .fault(tokens.text, format!("there is no column function `{}`", name.word))
                .help(match nearest {
                    Some(near) => format!("Did you mean `{near}`?"),
                    None => format!("There are: {}.", functions.join(", ")),
                }));
        }
    };
    let close = tokens.expect("`)`")?;
    if close.word != ")" {
        return Err(close.fault(tokens.text, format!("`)` is missing before `{}`", close.word)));
    }
    Ok((column.word.to_string(), via, close.end()))
}

/// The number of shards of `hash(column, n)`.
fn shards(tokens: &mut Tokens<'_>) -> Result<u32, Diagnostic> {
    let number = number(tokens, "the number of shards, as in `hash(id, 8)`")?;
    match number.word.parse::<u32>() {
        Ok(shards @ 2..=1024) => Ok(shards),
        _ => Err(number
            .fault(tokens.text, format!("`{}` is not a number of shards", number.word))
            .help("`hash(column, n)` takes n from 2 to 1024: every read merges n partitions.")),
    }
}

/// The number of letters of `prefix(column, n)`.
fn letters(tokens: &mut Tokens<'_>) -> Result<u32, Diagnostic> {
    let number = number(tokens, "the number of letters, as in `prefix(name, 2)`")?;
    match number.word.parse::<u32>() {
        Ok(letters @ 1..=LETTERS_MAX) => Ok(letters),
        _ => Err(number
            .fault(tokens.text, format!("`{}` is not a number of letters", number.word))
            .help(format!("`prefix(column, n)` takes n from 1 to {LETTERS_MAX}."))),
    }
}

/// Most letters of a `prefix`.
const LETTERS_MAX: u32 = 64;

/// The number that follows a function's column.
fn number<'t>(tokens: &mut Tokens<'t>, wanted: &str) -> Result<Token<'t>, Diagnostic> {
    let number = tokens.expect(wanted)?;
    if number.word == "," { tokens.expect(wanted) } else { Ok(number) }
}

/// One part of a reference's key: the column here, and what of the target's key it holds, where that is said.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pair {
    pub column: String,
    pub at: Span,
    pub path: Option<Path>,
}

/// Reads the key of a reference: `userId`, or `userId -> id, tenant -> org { id }`.
///
/// # Errors
/// The first fault of the text, at its place.
pub(super) fn reference(text: &Text) -> Result<Vec<Pair>, Box<Diagnostic>> {
    let mut tokens = Tokens::new(text);
    let mut pairs: Vec<Pair> = Vec::new();
    loop {
        let column = tokens.expect("a column")?;
        column.is_name(text, "a column")?;
        let (at, column) = (text.at(column.start, column.end()), column.word.to_string());
        let mut path = None;
        if tokens.peek()?.is_some_and(|token| token.word == "->") {
            tokens.next()?;
            let field = tokens.expect("a key field of the other type after `->`")?;
            let found = fieldset::paths_from(text, field, &mut tokens, 1)?;
            let [one] = <[Path; 1]>::try_from(found).map_err(|_| {
                Diagnostic::error("S030", at, format!("`{column}` would hold several fields"))
                    .label("one column")
                    .help("Name one field for each column: `a -> org { id }, b -> org { region }`.")
            })?;
            path = Some(one);
        }
        pairs.push(Pair { column, at, path });
        match tokens.next()? {
            None => return Ok(pairs),
            Some(comma) if comma.word == "," => {}
            Some(other) => {
                return Err(other
                    .fault(text, format!("`{}` does not belong here", other.word))
                    .help(
                        "Write `\"userId\"`, or `\"userId -> id, tenant -> org { id }\"`: a column here, then the key \
                         field of the other type that it holds.",
                    )
                    .into());
            }
        }
    }
}

/// Reads `90d`, `12h`, `30m`, `45s` or `2w` into milliseconds.
pub(super) fn duration_ms(text: &str) -> Option<i64> {
    let digits = text.len() - text.trim_start_matches(|letter: char| letter.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let unit_ms: i64 = match unit {
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "w" => 604_800_000,
        _ => return None,
    };
    number.parse::<i64>().ok().filter(|&number| number > 0)?.checked_mul(unit_ms)
}

/// The fault of a text that is no duration.
pub(super) fn no_duration(text: &Text) -> Diagnostic {
    Diagnostic::error("S013", text.span, format!("`{}` is not a duration", text.value))
        .label("not a duration")
        .help("Write a whole number and a unit: \"45s\", \"30m\", \"12h\", \"90d\", \"8w\".")
}

/// The fault of something that the language has words for, but the engine no work yet.
pub(super) fn later(what: &str, span: Span) -> Diagnostic {
    Diagnostic::error("S016", span, format!("{what} is not supported yet"))
        .label("not supported yet")
        .help("It may come with a later version. Leave it out for now.")
}

/// A word or a sign of an argument's text.
pub(super) struct Token<'t> {
    pub word: &'t str,
    pub start: usize,
}

impl Token<'_> {
    pub fn end(&self) -> usize {
        self.start + self.word.len()
    }

    fn fault(&self, text: &Text, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error("S030", text.at(self.start, self.end()), message).label("cannot be read")
    }

    pub fn is_name(&self, text: &Text, wanted: &str) -> Result<(), Diagnostic> {
        if self.word.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_') {
            return Ok(());
        }
        Err(self.fault(text, format!("`{}` stands where {wanted} should be", self.word)))
    }
}

/// An argument's text, word by word.
pub(super) struct Tokens<'t> {
    text: &'t Text,
    at: usize,
}

impl<'t> Tokens<'t> {
    pub fn new(text: &'t Text) -> Tokens<'t> {
        Tokens { text, at: 0 }
    }

    pub fn peek(&self) -> Result<Option<Token<'t>>, Diagnostic> {
        Tokens { text: self.text, at: self.at }.next()
    }

    pub fn next(&mut self) -> Result<Option<Token<'t>>, Diagnostic> {
        let rest = &self.text.value[self.at..];
        let start = self.at + rest.len() - rest.trim_start().len();
        let rest = &self.text.value[start..];
        let Some(first) = rest.chars().next() else { return Ok(None) };
        let is_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        let length = if is_word(first) {
            rest.find(|letter| !is_word(letter)).unwrap_or(rest.len())
        } else if rest.starts_with("->") {
            2
        } else if "(),{}".contains(first) {
            1
        } else {
            let end = start + first.len_utf8();
            let fault = Diagnostic::error(
                "S030",
                self.text.at(start, end),
                format!("`{first}` does not belong here"),
            );
            return Err(fault.label("cannot be read").help("Columns are separated by commas or blanks."));
        };
        self.at = start + length;
        Ok(Some(Token { word: &self.text.value[start..self.at], start }))
    }

    pub fn expect(&mut self, wanted: &str) -> Result<Token<'t>, Diagnostic> {
        match self.next()? {
            Some(token) => Ok(token),
            None => Err(Diagnostic::error(
                "S030",
                self.text.span,
                format!("the text ends where {wanted} should be"),
            )
            .label("incomplete")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::FileId;

    fn text(value: &str) -> Text {
        let span = Span { file: FileId(0), start: 0, end: 99 };
        Text { value: value.to_string(), span, verbatim: Some(10) }
    }

    fn shown(value: &str, allowed: Allowed) -> String {
        match columns(&text(value), allowed) {
            Ok(columns) => columns
                .iter()
                .map(|found| format!("{}:{:?}:{:?}:{:?}", found.column, found.via, found.alias, found.order))
                .collect::<Vec<_>>()
                .join(" "),
            Err(fault) => format!("{} at {:?}", fault.message, fault.span.map(|span| (span.start, span.end))),
        }
    }

    #[test]
    fn columns_expressions_names_and_orders_are_read() {
        let read = shown("userId, month(placedAt) AS m", Allowed::Expressions);
        assert_eq!(read, "userId:Itself:None:None placedAt:Bucket(Month):Some(\"m\"):None");
        let read = shown("placedAt DESC id asc", Allowed::ExpressionsInOrder);
        assert_eq!(read, "placedAt:Itself:None:Some(Desc) id:Itself:None:Some(Asc)");
        assert_eq!(shown("hash(id 8)", Allowed::Expressions), "id:Hash(8):None:None");
    }

    #[test]
    fn a_fault_is_placed_on_the_word_that_is_wrong() {
        for (given, fault) in [
            ("a, mouth(b)", "there is no column function `mouth` at Some((13, 18))"),
            ("a; b", "`;` does not belong here at Some((11, 12))"),
            ("hash(a, 1)", "`1` is not a number of shards at Some((18, 19))"),
            ("hash(a, 1025)", "`1025` is not a number of shards at Some((18, 22))"),
            ("month(a b)", "`)` is missing before `b` at Some((18, 19))"),
            ("month(", "the text ends where a column should be at Some((0, 99))"),
            ("a DESC", "`DESC` has no meaning here at Some((12, 16))"),
            (" ", "this list of columns is empty at Some((0, 99))"),
            ("8", "`8` stands where a column should be at Some((10, 11))"),
        ] {
            assert_eq!(shown(given, Allowed::Expressions), fault, "{given}");
        }
    }

    #[test]
    fn the_bounds_of_shards_are_taken() {
        assert!(shown("hash(a, 2)", Allowed::Expressions).contains("Hash(2)"));
        assert!(shown("hash(a, 1024)", Allowed::Expressions).contains("Hash(1024)"));
    }

    #[test]
    fn a_reference_names_its_columns_and_perhaps_the_fields() {
        let read = |value: &str| match reference(&text(value)) {
            Ok(pairs) => pairs
                .iter()
                .map(|pair| {
                    format!("{}>{}", pair.column, pair.path.as_ref().map_or(String::new(), Path::shown))
                })
                .collect::<Vec<_>>()
                .join(" "),
            Err(fault) => fault.message,
        };
        assert_eq!(read("userId"), "userId>");
        assert_eq!(read("userId -> id, tenant -> org { id }"), "userId>id tenant>org { id }");
        for (wrong, fault) in [
            ("userId id", "`id` does not belong here"),
            ("userId ->", "the text ends where a key field of the other type after `->` should be"),
            ("", "the text ends where a column should be"),
            ("a,", "the text ends where a column should be"),
            ("a -> org { id region }", "`a` would hold several fields"),
            ("a -> b c", "`c` does not belong here"),
        ] {
            assert_eq!(read(wrong), fault, "{wrong}");
        }
    }

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(duration_ms("90d"), Some(7_776_000_000));
        for wrong in ["90", "d", "0d", "-1d", "1y", "99999999999999999d"] {
            assert_eq!(duration_ms(wrong), None, "{wrong}");
        }
    }
}
