//! The tree of a file → the declaration that it makes, untyped.
//!
//! Comes in: [`Node`]s. Goes out: a [`Declaration`] with the author's text and places, and every fault of the
//! shape: unknown and missing keys, lists where maps belong. `events`, `from` and `upcast` read those. Types, columns and expressions are
//! `bind`'s.

mod events;
mod from;
mod upcast;

use super::Unknown;
use super::declaration::{Declaration, Defaults, UpcastDecl};
use super::nearest::{advice, unknown_keys};
use super::yaml::{Entry, Node, NodeKind, Text};
use crate::diagnostic::{Diagnostic, Span};

const TOP: &[&str] = &[
    "projection",
    "into",
    "from",
    "key",
    "unknown",
    "order",
    "when",
    "let",
    "events",
    "always",
    "compute",
    "assert",
    "upcast",
    "handler",
];

/// Makes the declaration of one file.
pub fn declaration(root: &Node, defaults: &Defaults, faults: &mut Vec<Diagnostic>) -> Declaration {
    let before = faults.len();
    let mut reader = Reader { faults };
    let top = reader.map(root, "a projection", TOP);
    let start = top.0.first().map_or(root.span, |entry| entry.key.span);
    let mut upcasts = Vec::new();
    let from = match top.get("from") {
        Some(node) => reader.froms(node, defaults.from.as_ref(), &mut upcasts),
        None => defaults.from.iter().cloned().collect(),
    };
    if let Some(node) = top.get("upcast") {
        reader.upcasts(node, &mut upcasts);
    }
    // What a projection says of a type takes the place of what all say.
    let shared = defaults.upcasts.iter();
    let shared: Vec<UpcastDecl> = shared
        .filter(|shared| !upcasts.iter().any(|own| own.type_name.text == shared.type_name.text))
        .cloned()
        .collect();
    upcasts.extend(shared);
    let (events, ignored) = top.get("events").map(|node| reader.events(node)).unwrap_or_default();
    let mut declaration = Declaration {
        span: top.get("projection").map_or(start, |node| node.span),
        name: top.get("projection").and_then(|node| reader.text(node, "the projection's name")),
        into: top.get("into").and_then(|node| reader.text(node, "the name of a type")),
        from,
        keys: top.get("key").map(|node| reader.keys(node)).unwrap_or_default(),
        unknown: top.get("unknown").and_then(|node| reader.unknown(node)).or(defaults.unknown),
        is_merged: top
            .get("order")
            .and_then(|node| reader.word(node, "what `order` can say", &[("time", ())]))
            .is_some(),
        when: top.get("when").and_then(|node| reader.text(node, "a condition")),
        lets: top.get("let").map(|node| reader.pairs(node, "`let`", "a name")).unwrap_or_default(),
        events,
        ignored,
        always: top.get("always").map(|node| reader.sets(node, "always")).unwrap_or_default(),
        compute: top
            .get("compute")
            .map(|node| reader.pairs(node, "`compute`", "a column"))
            .unwrap_or_default(),
        asserts: top
            .get("assert")
            .map(|node| reader.pairs(node, "`assert`", "what must hold"))
            .unwrap_or_default(),
        upcasts,
        handler: top.get("handler").and_then(|node| reader.text(node, "the name of a handler")),
        faulty: false,
    };
    for key in ["projection", "into", "key"] {
        reader.required(&top, key, start);
    }
    if top.get("from").is_none() && defaults.from.is_none() {
        reader.required(&top, "from", start);
    }
    for (key, what, help) in [
        (
            "from",
            "no topic",
            "say where events come from: `from: { topic: …, format: json, type: event.type }`",
        ),
        ("key", "no column", "say what the row's key is made from: `key: { id: event.orderId }`"),
        (
            "events",
            "no event type",
            "say what each event type does: `events: { OrderPlaced: { upsert: { … } } }`",
        ),
    ] {
        if let (Some(name), Some(true)) = (top.key(key), top.get(key).map(Node::is_empty)) {
            reader.fault("P005", name.span, format!("`{key}` names {what}")).help(help);
        }
    }
    let said = !declaration.from.is_empty() && declaration.from.iter().all(|from| from.unknown.is_some());
    if declaration.unknown.is_none() && top.get("unknown").is_none() && !said {
        reader.fault("P005", declaration.span, "`unknown` is missing").help(
            "say what an event of an unknown type or version does: `unknown: park`, `ignore` or `stop`",
        );
    }
    if top.get("events").is_none() && top.get("handler").is_none() {
        reader
            .fault("P005", declaration.span, "`events` is missing")
            .help("add `events:` with what each event type does");
    }
    if let (Some(_), Some(handler)) = (top.get("events"), top.get("handler")) {
        reader
            .fault("P011", handler.span, "a projection has either `events` or a `handler`")
            .help("leave one of the two out");
    }
    declaration.faulty = faults.len() > before;
    declaration
}

/// Reads `projections/defaults.yaml`.
pub fn defaults(root: &Node, faults: &mut Vec<Diagnostic>) -> Defaults {
    let mut reader = Reader { faults };
    let top = reader.map(root, "`defaults.yaml`", &["from", "unknown", "upcast"]);
    let mut upcasts = Vec::new();
    let from = top.get("from").map(|node| reader.from(node, None, &mut upcasts));
    if let Some(node) = top.get("upcast") {
        reader.upcasts(node, &mut upcasts);
    }
    for upcast in &mut upcasts {
        upcast.shared = true;
    }
    Defaults { from, unknown: top.get("unknown").and_then(|node| reader.unknown(node)), upcasts }
}

/// The entries of a map whose keys are known.
struct Fields<'n>(&'n [Entry]);

impl<'n> Fields<'n> {
    fn get(&self, key: &str) -> Option<&'n Node> {
        self.0.iter().find(|entry| entry.key.text == key).map(|entry| &entry.value)
    }

    fn key(&self, key: &str) -> Option<&'n Text> {
        self.0.iter().find(|entry| entry.key.text == key).map(|entry| &entry.key)
    }
}

struct Reader<'f> {
    faults: &'f mut Vec<Diagnostic>,
}

/// A fault just reported, to which advice is added.
struct Reported<'f>(&'f mut Diagnostic);

impl Reported<'_> {
    fn help(self, help: impl Into<String>) {
        self.0.help = Some(help.into());
    }
}

impl Reader<'_> {
    fn fault(&mut self, code: &'static str, span: Span, message: impl Into<String>) -> Reported<'_> {
        self.faults.push(Diagnostic::error(code, span, message));
        Reported(self.faults.last_mut().expect("one was just pushed"))
    }

    fn required(&mut self, fields: &Fields<'_>, key: &str, span: Span) {
        if fields.get(key).is_none() {
            self.fault("P005", span, format!("`{key}` is missing")).help(match key {
                "projection" => "say the projection's name: `projection: orders`".to_owned(),
                "into" => "say which type of the schema it makes: `into: Order`".to_owned(),
                "key" => "say what the row's key is made from: `key: { id: event.orderId }`".to_owned(),
                "from" => "say where events come from: `from: { topic: …, format: json, type: event.type }`"
                    .to_owned(),
                _ => format!("add `{key}:`"),
            });
        }
    }

    fn entries<'n>(&mut self, node: &'n Node, what: &str) -> &'n [Entry] {
        match &node.kind {
            NodeKind::Map(entries) => entries,
            NodeKind::Scalar(text) if text.is_null() => &[],
            _ => {
                self.fault("P006", node.span, format!("{what} is a map, found {}", node.describe()))
                    .help("write `name: value`, one in a line");
                &[]
            }
        }
    }

    fn map<'n>(&mut self, node: &'n Node, what: &str, known: &[&str]) -> Fields<'n> {
        let entries = self.entries(node, what);
        self.faults.extend(unknown_keys("P004", what, entries, known));
        Fields(entries)
    }

    fn text(&mut self, node: &Node, what: &str) -> Option<Text> {
        match &node.kind {
            NodeKind::Scalar(text) if !text.text.is_empty() => Some(text.clone()),
            _ => {
                self.fault("P006", node.span, format!("{what} belongs here, found {}", node.describe()))
                    .help("write one value; quote it where YAML would read `{`, `[`, `: ` or ` #` in it");
                None
            }
        }
    }

    /// The entries without those that are pieces of an expression which YAML cut at its commas: one fault for each.
    fn uncut<'n>(&mut self, entries: &'n [Entry]) -> Vec<&'n Entry> {
        let mut whole = Vec::new();
        let mut entries = entries.iter().peekable();
        while let Some(entry) = entries.next() {
            let mut last = None;
            while is_open(&entry.value)
                && let Some(piece) = entries.next_if(|next| next.value.is_null())
            {
                last = Some(piece.key.span);
            }
            let Some(last) = last else {
                whole.push(entry);
                continue;
            };
            let span = Span { end: last.end, ..entry.value.span };
            self.fault("P006", span, "this expression is cut at its comma")
                .help("inside `{…}` YAML ends a value at a comma: put the expression in quotes");
        }
        whole
    }

    fn pairs(&mut self, node: &Node, what: &str, key: &str) -> Vec<(Text, Text)> {
        let entries = self.entries(node, what);
        let wanted = format!("an expression for {key}");
        let entries = self.uncut(entries);
        entries.into_iter().filter_map(|e| Some((e.key.clone(), self.text(&e.value, &wanted)?))).collect()
    }

    fn word<T: Copy>(&mut self, node: &Node, what: &str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(node, what)?;
        let found = words.iter().find(|(word, _)| *word == text.text).map(|(_, value)| *value);
        if found.is_none() {
            let help = advice(&text.text, words.iter().map(|(word, _)| *word));
            let fault =
                Diagnostic::error("P006", text.span, format!("`{}` is not {what}", text.text)).help(help);
            self.faults.push(fault.fix_name(&text.text, words.iter().map(|(word, _)| *word)));
        }
        found
    }

    fn unknown(&mut self, node: &Node) -> Option<Unknown> {
        let words = [("park", Unknown::Park), ("ignore", Unknown::Ignore), ("stop", Unknown::Stop)];
        self.word(node, "what `unknown` can say", &words)
    }

    /// What rows' keys are made from: a map of expressions, or a list of such maps.
    fn keys(&mut self, node: &Node) -> Vec<Vec<(Text, Text)>> {
        match &node.kind {
            NodeKind::List(items) => {
                if items.is_empty() {
                    self.fault("P005", node.span, "`key` names no row")
                        .help("write one map for each row that an event concerns");
                }
                for item in items.iter().filter(|item| item.is_empty()) {
                    self.no_column(item.span);
                }
                items.iter().map(|item| self.key(item)).collect()
            }
            _ => vec![self.key(node)],
        }
    }

    fn no_column(&mut self, span: Span) {
        self.fault("P005", span, "this key names no column")
            .help("say what each key column of the row is made from: `{ id: event.orderId }`");
    }

    fn key(&mut self, node: &Node) -> Vec<(Text, Text)> {
        match &node.kind {
            NodeKind::Map(entries) => {
                let lists = entries.iter().filter(|entry| matches!(entry.value.kind, NodeKind::List(_)));
                let lists: Vec<Span> = lists.map(|entry| entry.value.span).collect();
                for at in &lists {
                    self.fault("P006", *at, "a column of the key is one expression, found a list").help(
                        "for several rows write a list of keys: `key: [{ id: event.a }, { id: event.b }]`",
                    );
                }
                match lists.is_empty() {
                    true => self.pairs(node, "`key`", "a column"),
                    false => Vec::new(),
                }
            }
            NodeKind::Scalar(text) if !text.is_null() => {
                self.fault("P006", node.span, format!("`key` is a map, found `{}`", text.text))
                    .help(format!("say which column it makes: `key: {{ id: {} }}`", text.text));
                Vec::new()
            }
            _ => self.pairs(node, "`key`", "a column"),
        }
    }

    /// A list's items, or the one value that stands for a list of one.
    fn each<'n>(&mut self, node: &'n Node, mut take: impl FnMut(&mut Self, &'n Node)) {
        match &node.kind {
            NodeKind::List(items) => items.iter().for_each(|item| take(self, item)),
            _ => take(self, node),
        }
    }
}

/// Whether an unquoted text has more brackets opened than closed.
fn is_open(node: &Node) -> bool {
    let NodeKind::Scalar(text) = &node.kind else { return false };
    let count = |wanted: [char; 2]| text.text.matches(wanted).count();
    !text.quoted && count(['(', '[']) > count([')', ']'])
}
