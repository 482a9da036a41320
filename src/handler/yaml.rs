//! YAML text → a tree with a place for every node.
//!
//! Comes in: the text of one file. Goes out: [`Node`]s, and every fault of the text. Anchors, aliases, tags, merge
//! keys, duplicate keys and a second document are refused: what is written is what is there. What the keys mean
//! is not known here.

use saphyr_parser::{Event, Parser, ScalarStyle};

use super::align::aligned;
use crate::diagnostic::{Diagnostic, FileId, Span};

/// Deepest nesting read.
pub const DEPTH_MAX: usize = 32;

/// A node of the tree.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub span: Span,
    pub kind: NodeKind,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq)]
pub enum NodeKind {
    Scalar(Text),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One `key: value`.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub key: Text,
    pub value: Node,
}

/// A scalar, and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Text {
    pub text: String,
    /// The text itself, without quotes; the whole scalar where escapes or folding changed it.
    pub span: Span,
    /// Whether the file's bytes at `span` are `text`: then places inside it can be shown.
    pub exact: bool,
    /// Where it is not: the place in the file of each byte of the text, and of its end. Empty where that is not known.
    pub places: Vec<u32>,
    /// Whether it was quoted or a block: then it is text whatever it looks like.
    pub quoted: bool,
}

impl Node {
    /// What it is, in words.
    pub fn describe(&self) -> &'static str {
        match &self.kind {
            NodeKind::Scalar(text) if text.is_null() => "nothing",
            NodeKind::Scalar(text) if text.text.is_empty() => "an empty text",
            NodeKind::Scalar(_) => "a single value",
            NodeKind::List(_) => "a list",
            NodeKind::Map(_) => "a map",
        }
    }
}

impl Node {
    /// Whether it is a plain null.
    pub fn is_null(&self) -> bool {
        matches!(&self.kind, NodeKind::Scalar(text) if text.is_null())
    }

    /// Whether nothing was written: null, or a list or map without entries.
    pub fn is_empty(&self) -> bool {
        match &self.kind {
            NodeKind::Scalar(text) => text.is_null(),
            NodeKind::List(items) => items.is_empty(),
            NodeKind::Map(entries) => entries.is_empty(),
        }
    }
}

impl Text {
    /// The place in the file of a part of the text, in bytes of it; all of it where that is not known.
    pub fn part(&self, start: u32, end: u32) -> Span {
        match (self.places.get(start as usize), self.places.get(end as usize)) {
            (Some(first), Some(last)) => Span { start: *first, end: *last, ..self.span },
            _ => self.span,
        }
    }

    /// Whether YAML's core schema reads it as null.
    pub fn is_null(&self) -> bool {
        !self.quoted && matches!(self.text.as_str(), "" | "~" | "null" | "Null" | "NULL")
    }

    /// The value of the core schema: quoted is text, plain may be null, a boolean or a number.
    ///
    /// Numbers keep their text where JSON can say them so.
    pub fn to_json(&self) -> String {
        if self.quoted {
            return quote(&self.text);
        }
        match self.text.as_str() {
            "" | "~" | "null" | "Null" | "NULL" => "null".to_owned(),
            "true" | "True" | "TRUE" => "true".to_owned(),
            "false" | "False" | "FALSE" => "false".to_owned(),
            text => number(text).unwrap_or_else(|| quote(text)),
        }
    }
}

/// A node as JSON text, with the core schema's scalars.
pub fn to_json(node: &Node) -> String {
    let mut out = String::new();
    push_json(&mut out, node);
    out
}

fn push_json(out: &mut String, node: &Node) {
    match &node.kind {
        NodeKind::Scalar(text) => out.push_str(&text.to_json()),
        NodeKind::List(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                push_json(out, item);
            }
            out.push(']');
        }
        NodeKind::Map(entries) => {
            out.push('{');
            for (index, entry) in entries.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                out.push_str(&quote(&entry.key.text));
                out.push(':');
                push_json(out, &entry.value);
            }
            out.push('}');
        }
    }
}

fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A plain scalar as a JSON number, if the core schema reads it as a finite one.
fn number(text: &str) -> Option<String> {
    if let Some(digits) = text.strip_prefix("0x") {
        return Some(i64::from_str_radix(digits, 16).ok()?.to_string());
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return Some(i64::from_str_radix(digits, 8).ok()?.to_string());
    }
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let (mantissa, exponent) = match rest.find(['e', 'E']) {
        Some(at) => (&rest[..at], Some(&rest[at + 1..])),
        None => (rest, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let fraction_digits = fraction.unwrap_or("");
    if !digits(whole) || !digits(fraction_digits) || (whole.is_empty() && fraction_digits.is_empty()) {
        return None;
    }
    let whole = whole.trim_start_matches('0');
    let mut json = format!("{sign}{}", if whole.is_empty() { "0" } else { whole });
    if !fraction_digits.is_empty() {
        json.push('.');
        json.push_str(fraction_digits);
    }
    if let Some(exponent) = exponent {
        let plain = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        if plain.is_empty() || !digits(plain) {
            return None;
        }
        json.push('e');
        json.push_str(exponent);
    }
    Some(json)
}

/// Reads one document. `None` where there is none, where the text is not YAML, or where a value of it cannot be known.
///
/// Every fault that lets reading go on is found in one pass; at a fault of the syntax reading ends.
pub fn read(file: FileId, text: &str) -> (Option<Node>, Vec<Diagnostic>) {
    let mut builder = Builder {
        file,
        text,
        places: Places::new(text),
        open: Vec::new(),
        root: None,
        lacks: false,
        faults: Vec::new(),
    };
    builder.run();
    let root = if builder.open.is_empty() && !builder.lacks { builder.root } else { None };
    (root, builder.faults)
}

/// From the parser's character numbers to bytes.
struct Places {
    /// Byte of each character; empty where all are ASCII.
    bytes: Vec<u32>,
    len: u32,
}

impl Places {
    fn new(text: &str) -> Places {
        let len = u32::try_from(text.len()).unwrap_or(u32::MAX);
        if text.is_ascii() {
            return Places { bytes: Vec::new(), len };
        }
        let bytes = text.char_indices().map(|(byte, _)| u32::try_from(byte).unwrap_or(u32::MAX)).collect();
        Places { bytes, len }
    }

    fn byte(&self, character: usize) -> u32 {
        if self.bytes.is_empty() {
            return u32::try_from(character).unwrap_or(u32::MAX).min(self.len);
        }
        self.bytes.get(character).copied().unwrap_or(self.len)
    }
}

/// A list or map that is still being read.
enum Open {
    List { start: Span, items: Vec<Node> },
    Map { start: Span, entries: Vec<Entry>, key: Option<Text> },
}

struct Builder<'t> {
    file: FileId,
    text: &'t str,
    places: Places,
    open: Vec<Open>,
    root: Option<Node>,
    /// Whether a key or value is not known: what it would be found to lack is not its author's fault.
    lacks: bool,
    faults: Vec<Diagnostic>,
}

impl Builder<'_> {
    fn run(&mut self) {
        let mut parser = Parser::new_from_str(self.text);
        let mut documents = 0;
        while let Some(next) = parser.next_event() {
            let (event, place) = match next {
                Ok(found) => found,
                Err(error) => return self.broken(&error),
            };
            let span = self.span(place.start.index(), place.end.index());
            if matches!(event, Event::DocumentStart(_)) {
                documents += 1;
                if documents > 1 {
                    return self.refuse(
                        span,
                        "a second document begins here",
                        "write one document in a file",
                    );
                }
            }
            if self.open.len() > DEPTH_MAX {
                return self.refuse(
                    span,
                    format!("the text nests deeper than {DEPTH_MAX}"),
                    "nothing of a projection nests so deep",
                );
            }
            self.take(event, span);
        }
    }

    fn take(&mut self, event: Event<'_>, span: Span) {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.no_extras(anchor, tag.is_some(), span);
                let scalar = self.scalar(text.into_owned(), style, span);
                self.put(Node { span, kind: NodeKind::Scalar(scalar) });
            }
            Event::SequenceStart(anchor, tag) => {
                self.no_extras(anchor, tag.is_some(), span);
                self.open.push(Open::List { start: span, items: Vec::new() });
            }
            Event::MappingStart(anchor, tag) => {
                self.no_extras(anchor, tag.is_some(), span);
                self.open.push(Open::Map { start: span, entries: Vec::new(), key: None });
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(span),
            Event::Alias(_) => {
                self.refuse(span, "an alias stands here", "write the value out: aliases are not read");
                self.lacks = true;
                let text = Text { text: String::new(), span, exact: false, places: Vec::new(), quoted: true };
                self.put(Node { span, kind: NodeKind::Scalar(text) });
            }
            _ => {}
        }
    }

    fn no_extras(&mut self, anchor: usize, tagged: bool, span: Span) {
        if anchor != 0 {
            self.refuse(span, "an anchor stands here", "write the value out: anchors are not read");
        }
        if tagged {
            self.refuse(
                span,
                "a tag stands here",
                "leave the tag out: the place of a value says what it is; quote what must be text",
            );
        }
    }

    fn scalar(&self, text: String, style: ScalarStyle, span: Span) -> Text {
        let quoted = style != ScalarStyle::Plain;
        let (start, end) = match style {
            ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted if span.end >= span.start + 2 => {
                (span.start + 1, span.end - 1)
            }
            _ => (span.start, span.end),
        };
        let inner = Span { start, end, ..span };
        let exact = self.text.get(start as usize..end as usize) == Some(text.as_str());
        // The parser's end of a plain scalar may lie behind blanks that are not part of it.
        let plain_end = start + u32::try_from(text.len()).unwrap_or(0);
        if !exact && self.text.get(start as usize..plain_end as usize) == Some(text.as_str()) {
            return Text {
                text,
                span: Span { start, end: plain_end, ..span },
                exact: true,
                places: Vec::new(),
                quoted,
            };
        }
        let places = if exact { Vec::new() } else { self.places(&text, style, span) };
        Text { text, span: if exact { inner } else { span }, exact, places, quoted }
    }

    /// Where the bytes of a folded or escaped text stand.
    fn places(&self, text: &str, style: ScalarStyle, span: Span) -> Vec<u32> {
        let Some(written) = self.text.get(span.start as usize..span.end as usize) else { return Vec::new() };
        // An escape may stand for any letter, but for a quote it stands beside it.
        let escaped = written.bytes().zip(written.bytes().skip(1));
        if style == ScalarStyle::DoubleQuoted
            && escaped.filter(|(first, _)| *first == b'\\').any(|(_, second)| second != b'"')
        {
            return Vec::new();
        }
        let places = aligned(written, text).unwrap_or_default();
        places.into_iter().map(|place| span.start + place).collect()
    }

    fn put(&mut self, node: Node) {
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::List { items, .. }) => items.push(node),
            Some(Open::Map { entries, key, .. }) => match key.take() {
                Some(key) => entries.push(Entry { key, value: node }),
                None => self.put_key(node),
            },
        }
    }

    fn put_key(&mut self, node: Node) {
        let NodeKind::Scalar(text) = node.kind else {
            self.refuse(node.span, "a key is a list or map", "write the key as one word");
            self.lacks = true;
            let text =
                Text { text: String::new(), span: node.span, exact: false, places: Vec::new(), quoted: true };
            self.set_key(text);
            return;
        };
        if text.text == "<<" && !text.quoted {
            self.refuse(text.span, "a merge key stands here", "write the keys out: `<<` is not read");
        } else if let Some(Open::Map { entries, .. }) = self.open.last()
            && let Some(first) = entries.iter().find(|entry| entry.key.text == text.text)
        {
            let line = line_of(self.text, first.key.span);
            self.faults.push(
                Diagnostic::error("P003", text.span, format!("`{}` is written twice in one map", text.text))
                    .label(format!("first written in line {line}"))
                    .help("leave one of the two out"),
            );
        }
        self.set_key(text);
    }

    fn set_key(&mut self, text: Text) {
        if let Some(Open::Map { key, .. }) = self.open.last_mut() {
            *key = Some(text);
        }
    }

    fn close(&mut self, end: Span) {
        let Some(open) = self.open.pop() else { return };
        let node = match open {
            Open::List { start, items } => {
                let span = around(start, end, items.first().map(|n| n.span), items.last().map(|n| n.span));
                Node { span, kind: NodeKind::List(items) }
            }
            Open::Map { start, entries, .. } => {
                let first = entries.first().map(|entry| entry.key.span);
                let span = around(start, end, first, entries.last().map(|entry| entry.value.span));
                Node { span, kind: NodeKind::Map(entries) }
            }
        };
        self.put(node);
    }

    fn refuse(&mut self, span: Span, message: impl Into<String>, help: &str) {
        self.faults.push(Diagnostic::error("P002", span, message).help(help));
    }

    fn broken(&mut self, error: &saphyr_parser::ScanError) {
        self.open.clear();
        self.root = None;
        let at = error.marker().index();
        let span = self.span(at, at + 1);
        self.faults.push(
            Diagnostic::error("P001", span, format!("this is not YAML: {}", error.info()))
                .label("reading ends here")
                .help("quote expressions that contain `: `, ` #`, or begin with one of `{ [ & * ! | > % @ `"),
        );
    }

    fn span(&self, start: usize, end: usize) -> Span {
        let start = self.places.byte(start);
        Span { file: self.file, start, end: self.places.byte(end).max(start) }
    }
}

/// The span of a collection: its brackets, or in block style from the first node to the last.
fn around(start: Span, end: Span, first: Option<Span>, last: Option<Span>) -> Span {
    match (first, last) {
        (Some(first), Some(last)) if start.start == start.end || end.start == end.end => {
            Span { start: first.start, end: last.end.max(first.end), ..start }
        }
        _ => Span { end: end.end.max(start.end), ..start },
    }
}

fn line_of(text: &str, span: Span) -> usize {
    text[..(span.start as usize).min(text.len())].matches('\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        read(FileId(0), text)
            .1
            .into_iter()
            .map(|fault| format!("{}: {}", fault.code, fault.message))
            .collect()
    }

    #[test]
    fn every_node_knows_its_bytes() {
        let text = "naïve: {a: \"x y\", b: [1, 'z']}\nlines[event.productId].n: event.q  # why\n";
        let (root, faults) = read(FileId(0), text);
        assert!(faults.is_empty(), "{faults:?}");
        let NodeKind::Map(entries) = root.expect("a document").kind else { panic!("a map") };
        let shown = |text: &Text, of: &str| of[text.span.start as usize..text.span.end as usize].to_owned();
        assert_eq!(shown(&entries[0].key, text), "naïve");
        assert_eq!(shown(&entries[1].key, text), "lines[event.productId].n");
        let NodeKind::Scalar(value) = &entries[1].value.kind else { panic!("a scalar") };
        assert_eq!((shown(value, text).as_str(), value.exact), ("event.q", true));
        let NodeKind::Map(inner) = &entries[0].value.kind else { panic!("a map") };
        let NodeKind::Scalar(value) = &inner[0].value.kind else { panic!("a scalar") };
        assert_eq!((shown(value, text).as_str(), value.exact, value.quoted), ("x y", true, true));
    }

    #[test]
    fn escaped_text_is_shown_as_a_whole() {
        let (root, _) = read(FileId(0), r#"a: "x\ny""#);
        let NodeKind::Map(entries) = root.expect("a document").kind else { panic!("a map") };
        let NodeKind::Scalar(value) = &entries[0].value.kind else { panic!("a scalar") };
        assert_eq!((value.text.as_str(), value.exact), ("x\ny", false));
    }

    #[test]
    fn what_is_not_read_is_refused_with_its_place() {
        assert_eq!(faults("a: &x 1\nb: *x\n"), ["P002: an anchor stands here", "P002: an alias stands here"]);
        assert_eq!(faults("a: !!str 1\n"), ["P002: a tag stands here"]);
        assert_eq!(faults("<<: {a: 1}\n"), ["P002: a merge key stands here"]);
        assert_eq!(faults("a: 1\na: 2\n"), ["P003: `a` is written twice in one map"]);
        assert_eq!(faults("a: 1\n---\nb: 2\n"), ["P002: a second document begins here"]);
        assert_eq!(faults("? [a, b]\n: 1\n"), ["P002: a key is a list or map"]);
    }

    #[test]
    fn broken_text_is_one_fault_without_a_tree() {
        let (root, faults) = read(FileId(0), "a: [1, 2\nb: }\n");
        assert!(root.is_none());
        assert_eq!(faults.len(), 1);
        assert!(faults[0].message.starts_with("this is not YAML: "), "{}", faults[0].message);
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(faults(&nested(DEPTH_MAX)).is_empty());
        assert_eq!(faults(&nested(DEPTH_MAX + 1)), [format!("P002: the text nests deeper than {DEPTH_MAX}")]);
    }

    #[test]
    fn scalars_follow_the_core_schema() {
        let json = |text: &str| to_json(&read(FileId(0), text).0.expect("a document"));
        assert_eq!(
            json("[1, -2.50, +3, .5, 1e3, 0x1F, 0o17, 007, true, null, ~, '1', \"x\", 2026-01-01, 1.2.3]"),
            r#"[1,-2.50,3,0.5,1e3,31,15,7,true,null,null,"1","x","2026-01-01","1.2.3"]"#
        );
        assert_eq!(json("{a: {b: [yes, no]}, c: }"), r#"{"a":{"b":["yes","no"]},"c":null}"#);
    }
}
