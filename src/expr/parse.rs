//! Reads CEL text into a tree with places.
//!
//! Comes in: text. Goes out: a [`Node`], each part with its range of bytes in the text, or the faults of
//! the text. The grammar is the `cel` crate's; macros stay plain calls, and what the language leaves out of CEL
//! (message literals) is refused here. Nothing is resolved or typed.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use cel::common::ast::{
    CallExpr, EntryExpr, Expr, IdedExpr, LiteralValue, MapEntryExpr, SourceInfo, operators,
};

use super::bounds::{bounded, mask, too_deep};

/// Most parts inside each other, as in `a + b + c` or `a.b.c`: what comes after recurses over them.
pub(super) const DEPTH_MAX: usize = 64;

/// A part of an expression and where it stands, in bytes of the text.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub at: Range<usize>,
    pub kind: Kind,
}

/// What a part of an expression is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    Name(String),
    /// `of.field`, or `of.?field`.
    Select {
        of: Box<Node>,
        field: String,
        field_at: Range<usize>,
        optional: bool,
    },
    /// `of[index]`, or `of[?index]`.
    Index {
        of: Box<Node>,
        index: Box<Node>,
        optional: bool,
    },
    Not(Box<Node>),
    Negate(Box<Node>),
    Binary(Binary, Box<Node>, Box<Node>),
    If(Box<Node>, Box<Node>, Box<Node>),
    /// `function(args)`, or `of.function(args)`.
    Call {
        function: String,
        function_at: Range<usize>,
        of: Option<Box<Node>>,
        args: Vec<Node>,
    },
    List(Vec<Element>),
    Map(Vec<Entry>),
}

/// An element of a list that is written out; an optional one, `?x`, is left out where it is empty.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Element {
    pub node: Node,
    pub optional: bool,
}

/// An entry of a map that is written out; an optional one, `?key: value`, is left out where its value is empty.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub key: Node,
    pub value: Node,
    pub optional: bool,
}

/// An operator between two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Binary {
    And,
    Or,
    Add,
    Sub,
    Mul,
    Div,
    Rem,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    In,
}

impl Binary {
    /// As it is written.
    pub(super) fn symbol(self) -> &'static str {
        match self {
            Binary::And => "&&",
            Binary::Or => "||",
            Binary::Add => "+",
            Binary::Sub => "-",
            Binary::Mul => "*",
            Binary::Div => "/",
            Binary::Rem => "%",
            Binary::Equal => "==",
            Binary::NotEqual => "!=",
            Binary::Less => "<",
            Binary::LessEqual => "<=",
            Binary::Greater => ">",
            Binary::GreaterEqual => ">=",
            Binary::In => "in",
        }
    }
}

/// A fault of the text, before anything is resolved.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fault {
    pub code: &'static str,
    pub at: Range<usize>,
    pub message: String,
    pub help: Option<String>,
}

/// Reads an expression.
///
/// # Errors
/// Every fault of the text that the grammar finds.
pub(super) fn parse(text: &str) -> Result<Node, Vec<Fault>> {
    let masked = mask(text);
    bounded(text, &masked).map_err(|fault| vec![fault])?;
    let (tree, places) = read(text)?;
    let mut builder = Builder { text, masked, places, depth: 0 };
    builder.node(&tree).map_err(|fault| vec![fault])
}

fn read(text: &str) -> Result<(IdedExpr, SourceInfo), Vec<Fault>> {
    let parser = || {
        // An environment without the standard library has no macros: `map`, `has` and the others stay calls.
        cel::Env::default()
            .parser()
            .enable_optional_syntax(true)
            .enable_ident_escape_syntax(true)
            .max_recursion_depth(96)
            .parse_with_source_info(text)
    };
    // The grammar's reader is not ours: text that makes it panic is a fault of the text, not of the process.
    let Ok(read) = catch_unwind(AssertUnwindSafe(parser)) else {
        return Err(vec![Fault {
            code: "E001",
            at: 0..text.len(),
            message: "the expression cannot be read".to_owned(),
            help: None,
        }]);
    };
    // What stands behind the first fault is read from the wrong place, and its faults with it.
    read.map_err(|errors| {
        let first = errors.errors.iter().map(|error| (offset(text, error.pos), &*error.msg));
        let (start, message) = first.min_by_key(|(start, _)| *start).unwrap_or((0, ""));
        vec![unreadable(text, start, message)]
    })
}

/// Byte offset of a line and a column, both from 1, columns in characters.
fn offset(text: &str, (line, column): (isize, isize)) -> usize {
    let line = usize::try_from(line - 1).unwrap_or(0);
    let column = usize::try_from(column - 1).unwrap_or(0);
    let start: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
    text[start..].char_indices().nth(column).map_or(text.len(), |(at, _)| start + at)
}

/// The fault of text that the grammar does not know, from the reader's message: only the word it names is kept.
fn unreadable(text: &str, start: usize, message: &str) -> Fault {
    let rest = &text[start..];
    let first = rest.chars().next();
    let fault = |len: usize, message: String, help: &str| Fault {
        code: "E001",
        at: start..start + len,
        message,
        help: Some(help.to_owned()),
    };
    if let Some(start) = mask(text).windows(2).position(|two| two == b"??") {
        return Fault {
            code: "E001",
            at: start..start + 2,
            message: "`??` is no operator".to_owned(),
            help: Some(
                "say what is meant where a field is missing: `event.?note.orValue('none')`".to_owned(),
            ),
        };
    }
    if message.contains("token recognition error") {
        return match first {
            Some('=') => fault(1, "`=` is no operator".to_owned(), "write `==` to compare"),
            Some('&') => fault(1, "`&` is no operator".to_owned(), "write `&&`: both must hold"),
            Some('|') => fault(1, "`|` is no operator".to_owned(), "write `||`: one of the two must hold"),
            Some('"' | '\'') => fault(
                rest.len(),
                "the text that begins here has no end".to_owned(),
                "close it with the same quote",
            ),
            first => fault(
                first.map_or(0, char::len_utf8),
                format!("`{}` cannot stand here", first.map_or(String::new(), String::from)),
                "names have letters from a to z, digits and `_`; other text stands in quotes",
            ),
        };
    }
    if rest.trim().is_empty() {
        let message = "the expression ends too early".to_owned();
        return fault(rest.len(), message, "something is missing behind it: an operand or a closing bracket");
    }
    let word = word(rest);
    if let Some((_, operator)) = WORDS.iter().find(|(known, _)| *known == word) {
        return fault(word.len(), format!("`{word}` is no operator"), &format!("write `{operator}`"));
    }
    let help = match message.contains("expecting {<EOF>") || message.contains("expecting <EOF>") {
        true => "the expression ends before it: join two parts with an operator, or quote text",
        false => "an operand, such as `event.x` or a quoted text, is expected before it",
    };
    fault(word.len(), format!("`{word}` does not belong here"), help)
}

/// Operators of other languages, and what they are here.
const WORDS: &[(&str, &str)] =
    &[("and", "&&"), ("or", "||"), ("not", "!"), ("AND", "&&"), ("OR", "||"), ("NOT", "!")];

/// The name, number or sign that a text begins with.
fn word(text: &str) -> &str {
    let is_word = |character: char| character.is_alphanumeric() || character == '_';
    match text.find(|character| !is_word(character)) {
        Some(0) => &text[..text.chars().next().map_or(0, char::len_utf8)],
        Some(end) => &text[..end],
        None => text,
    }
}

struct Builder<'t> {
    text: &'t str,
    masked: Vec<u8>,
    places: SourceInfo,
    depth: usize,
}

impl Builder<'_> {
    fn node(&mut self, tree: &IdedExpr) -> Result<Node, Fault> {
        let token = self.token(tree.id);
        if self.depth == DEPTH_MAX {
            return Err(too_deep(token));
        }
        self.depth += 1;
        let node = self.kind(tree, token);
        self.depth -= 1;
        node
    }

    fn kind(&mut self, tree: &IdedExpr, token: Range<usize>) -> Result<Node, Fault> {
        match &tree.expr {
            Expr::Literal(literal) => Ok(Builder::literal(literal, token)),
            Expr::Ident(name) => {
                Ok(Node { at: token, kind: Kind::Name(name.trim_start_matches('.').to_owned()) })
            }
            Expr::Select(select) => self.select(&select.operand, &select.field, token, false),
            Expr::Call(call) => self.call(call, token),
            Expr::List(list) => {
                let elements = list.elements.iter().enumerate().map(|(index, element)| {
                    let optional = list.optional_indices.contains(&index);
                    Ok(Element { node: self.node(element)?, optional })
                });
                let elements = elements.collect::<Result<_, Fault>>()?;
                Ok(Node { at: token.start..self.close(token.start), kind: Kind::List(elements) })
            }
            Expr::Map(map) => {
                let entries = map.entries.iter().filter_map(|entry| match &entry.expr {
                    EntryExpr::MapEntry(entry) => Some(self.entry(entry)),
                    EntryExpr::StructField(_) => None,
                });
                let entries = entries.collect::<Result<_, Fault>>()?;
                Ok(Node { at: token.start..self.close(token.start), kind: Kind::Map(entries) })
            }
            Expr::Struct(_) => Err(unsupported(token.start..self.close(token.start), "message literals")),
            Expr::Comprehension(_) => Err(unsupported(token, "this macro")),
            Expr::Unspecified => Err(unsupported(token, "this text")),
        }
    }

    fn entry(&mut self, entry: &MapEntryExpr) -> Result<Entry, Fault> {
        let (key, value) = (self.node(&entry.key)?, self.node(&entry.value)?);
        Ok(Entry { key, value, optional: entry.optional })
    }

    fn nodes(&mut self, trees: &[IdedExpr]) -> Result<Vec<Node>, Fault> {
        trees.iter().map(|tree| self.node(tree)).collect()
    }

    fn literal(literal: &LiteralValue, token: Range<usize>) -> Node {
        let kind = match literal {
            LiteralValue::Null => Kind::Null,
            LiteralValue::Boolean(truth) => Kind::Bool(**truth),
            LiteralValue::Int(number) => Kind::Int(**number),
            LiteralValue::Double(number) => Kind::Float(**number),
            LiteralValue::String(text) => Kind::Text(text.inner().to_owned()),
            LiteralValue::Bytes(bytes) => Kind::Bytes(bytes.inner().to_vec()),
            LiteralValue::UInt(number) => Kind::Uint(**number),
        };
        Node { at: token, kind }
    }

    fn call(&mut self, call: &CallExpr, token: Range<usize>) -> Result<Node, Fault> {
        if call.target.is_none()
            && let Some(node) = self.operator(call, &token)?
        {
            return Ok(node);
        }
        let of = match &call.target {
            Some(target) => Some(self.node(target)?),
            None => None,
        };
        let args = self.nodes(&call.args)?;
        let name = call.func_name.trim_start_matches('.');
        let function_at = self.name_before(token.start, name);
        let start = of.as_ref().map_or(function_at.start, |of| of.at.start);
        let kind = Kind::Call { function: name.to_owned(), function_at, of: of.map(Box::new), args };
        Ok(Node { at: start..self.close(token.start), kind })
    }

    fn operator(&mut self, call: &CallExpr, token: &Range<usize>) -> Result<Option<Node>, Fault> {
        let node = match (call.func_name.as_str(), call.args.as_slice()) {
            (operators::CONDITIONAL, [condition, yes, no]) => {
                let (condition, yes, no) = (self.node(condition)?, self.node(yes)?, self.node(no)?);
                let at = condition.at.start..no.at.end;
                Node { at, kind: Kind::If(Box::new(condition), Box::new(yes), Box::new(no)) }
            }
            (operators::LOGICAL_NOT, [of]) => {
                let of = self.node(of)?;
                Node { at: token.start..of.at.end, kind: Kind::Not(Box::new(of)) }
            }
            (operators::NEGATE, [of]) => {
                let of = self.node(of)?;
                Node { at: token.start..of.at.end, kind: Kind::Negate(Box::new(of)) }
            }
            (operators::INDEX | operators::OPT_INDEX, [of, index]) => {
                let (of, index) = (self.node(of)?, self.node(index)?);
                let at = of.at.start..self.close(token.start);
                let optional = call.func_name == operators::OPT_INDEX;
                Node { at, kind: Kind::Index { of: Box::new(of), index: Box::new(index), optional } }
            }
            (operators::OPT_SELECT, [of, field]) => match &field.expr {
                Expr::Literal(LiteralValue::String(field)) => {
                    self.select(of, field.inner(), token.clone(), true)?
                }
                _ => return Ok(None),
            },
            (name, [left, right]) => match binary(name) {
                Some(operator) => {
                    let (left, right) = (self.node(left)?, self.node(right)?);
                    let at = left.at.start..right.at.end;
                    Node { at, kind: Kind::Binary(operator, Box::new(left), Box::new(right)) }
                }
                None => return Ok(None),
            },
            _ => return Ok(None),
        };
        Ok(Some(node))
    }

    fn select(
        &mut self,
        of: &IdedExpr,
        field: &str,
        dot: Range<usize>,
        optional: bool,
    ) -> Result<Node, Fault> {
        let of = self.node(of)?;
        let field_at = self.name_after(dot.end, field);
        let at = of.at.start..field_at.end;
        Ok(Node { at, kind: Kind::Select { of: Box::new(of), field: field.to_owned(), field_at, optional } })
    }

    /// The bytes of the token that made a part.
    fn token(&self, id: u64) -> Range<usize> {
        let Some((start, last)) = self.places.offset_for(id) else { return 0..self.text.len() };
        let (start, last) = (start as usize, last as usize);
        if start >= self.text.len() || last < start || !self.text.is_char_boundary(start) {
            return self.text.len()..self.text.len();
        }
        let end = self
            .text
            .get(last..)
            .and_then(|rest| rest.chars().next())
            .map_or(last, |char| last + char.len_utf8());
        start..end
    }

    /// End of the bracket that opens at or after `open`.
    fn close(&self, open: usize) -> usize {
        let mut depth = 0_usize;
        for (at, byte) in self.masked.iter().enumerate().skip(open) {
            match byte {
                b'(' | b'[' | b'{' => depth += 1,
                b')' | b']' | b'}' => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        return at + 1;
                    }
                }
                _ => {}
            }
        }
        self.text.len()
    }

    fn name_before(&self, end: usize, name: &str) -> Range<usize> {
        match self.text[..end].rfind(name) {
            Some(start) => start..start + name.len(),
            None => end..end,
        }
    }

    fn name_after(&self, start: usize, name: &str) -> Range<usize> {
        match self.text[start..].find(name) {
            Some(at) => start + at..start + at + name.len(),
            None => start..start,
        }
    }
}

fn unsupported(at: Range<usize>, what: &str) -> Fault {
    Fault { code: "E014", at, message: format!("{what} cannot be used in this language"), help: None }
}

fn binary(name: &str) -> Option<Binary> {
    Some(match name {
        operators::LOGICAL_AND => Binary::And,
        operators::LOGICAL_OR => Binary::Or,
        operators::ADD => Binary::Add,
        operators::SUBSTRACT => Binary::Sub,
        operators::MULTIPLY => Binary::Mul,
        operators::DIVIDE => Binary::Div,
        operators::MODULO => Binary::Rem,
        operators::EQUALS => Binary::Equal,
        operators::NOT_EQUALS => Binary::NotEqual,
        operators::LESS => Binary::Less,
        operators::LESS_EQUALS => Binary::LessEqual,
        operators::GREATER => Binary::Greater,
        operators::GREATER_EQUALS => Binary::GreaterEqual,
        operators::IN => Binary::In,
        _ => return None,
    })
}
