//! The tree of a file → the declaration that it makes, untyped.
//!
//! Comes in: [`Node`]s. Goes out: a [`Declaration`] with the author's text and places, and every fault of the
//! shape: unknown and missing keys, lists where maps belong. Types, columns and expressions are `bind`'s.

use super::declaration::{CaseDecl, Declaration, Defaults, EventDecl, FromDecl, SetDecl, UpcastDecl};
use super::nearest::advice;
use super::yaml::{Entry, Node, NodeKind, Text, to_json};
use super::{Tombstone, Unknown, Verb};
use crate::diagnostic::{Diagnostic, Span};

const TOP: &[&str] = &[
    "projection",
    "into",
    "from",
    "key",
    "unknown",
    "when",
    "let",
    "events",
    "compute",
    "upcast",
    "handler",
];
const FROM: &[&str] =
    &["topic", "format", "type", "version", "time", "recordKey", "id", "tombstone", "start", "upcast"];
const CASE: &[&str] = &["when", "create", "update", "upsert", "replace", "delete", "remove", "let", "on"];

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
    let mut declaration = Declaration {
        span: top.get("projection").map_or(start, |node| node.span),
        name: top.get("projection").and_then(|node| reader.text(node, "the projection's name")),
        into: top.get("into").and_then(|node| reader.text(node, "the name of a type")),
        from,
        key: top.get("key").map(|node| reader.key(node)).unwrap_or_default(),
        unknown: top.get("unknown").and_then(|node| reader.unknown(node)).or(defaults.unknown),
        when: top.get("when").and_then(|node| reader.text(node, "a condition")),
        lets: top.get("let").map(|node| reader.pairs(node, "`let`", "a name")).unwrap_or_default(),
        events: top.get("events").map(|node| reader.events(node)).unwrap_or_default(),
        compute: top
            .get("compute")
            .map(|node| reader.pairs(node, "`compute`", "a column"))
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
    if declaration.unknown.is_none() && top.get("unknown").is_none() {
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
    let top = reader.map(root, "`defaults.yaml`", &["from", "unknown"]);
    let mut upcasts = Vec::new();
    let from = top.get("from").map(|node| reader.from(node, None, &mut upcasts));
    if !upcasts.is_empty() {
        reader
            .fault("P010", root.span, "`upcast` cannot be a default")
            .help("write `upcast` in the projection whose events it is for");
    }
    Defaults { from, unknown: top.get("unknown").and_then(|node| reader.unknown(node)) }
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
        for entry in entries {
            if !known.contains(&entry.key.text.as_str()) {
                let help = advice(&entry.key.text, known.iter().copied());
                let message = format!("{what} has no key `{}`", entry.key.text);
                let fault = Diagnostic::error("P004", entry.key.span, message).help(help);
                self.faults.push(fault.fix_name(&entry.key.text, known.iter().copied()));
            }
        }
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

    /// What the row's key is made from: a map of expressions.
    fn key(&mut self, node: &Node) -> Vec<(Text, Text)> {
        let lists: Vec<Span> = match &node.kind {
            NodeKind::List(_) => vec![node.span],
            NodeKind::Map(entries) => {
                let values = entries.iter().map(|entry| &entry.value);
                values
                    .filter(|value| matches!(value.kind, NodeKind::List(_)))
                    .map(|value| value.span)
                    .collect()
            }
            NodeKind::Scalar(text) if !text.is_null() => {
                self.fault("P006", node.span, format!("`key` is a map, found `{}`", text.text))
                    .help(format!("say which column it makes: `key: {{ id: {} }}`", text.text));
                return Vec::new();
            }
            NodeKind::Scalar(_) => Vec::new(),
        };
        for at in &lists {
            self.fault("P010", *at, "a list of keys (one event, many rows) is not supported yet")
                .help("an event changes one row: write one expression for each column, `key: { id: event.orderId }`");
        }
        match lists.is_empty() {
            true => self.pairs(node, "`key`", "a column"),
            false => Vec::new(),
        }
    }

    fn froms(
        &mut self,
        node: &Node,
        defaults: Option<&FromDecl>,
        upcasts: &mut Vec<UpcastDecl>,
    ) -> Vec<FromDecl> {
        match &node.kind {
            NodeKind::List(items) => items.iter().map(|item| self.from(item, defaults, upcasts)).collect(),
            _ => vec![self.from(node, defaults, upcasts)],
        }
    }

    fn from(&mut self, node: &Node, defaults: Option<&FromDecl>, upcasts: &mut Vec<UpcastDecl>) -> FromDecl {
        let fields = self.map(node, "`from`", FROM);
        let mut text = |key: &str, what: &str, default: Option<&Option<Text>>| match fields.get(key) {
            Some(node) => self.text(node, what),
            None => default.cloned().flatten(),
        };
        let mut from = FromDecl {
            span: fields.key("topic").map_or(node.span, |key| key.span),
            topic: text("topic", "the name of a topic", defaults.map(|d| &d.topic)),
            format: text("format", "a format", defaults.map(|d| &d.format)),
            type_name: text("type", "an expression", defaults.map(|d| &d.type_name)),
            version: text("version", "an expression", defaults.map(|d| &d.version)),
            time: text("time", "an expression", defaults.map(|d| &d.time)),
            record_key: text("recordKey", "an expression", defaults.map(|d| &d.record_key)),
            tombstone: defaults.and_then(|d| d.tombstone),
        };
        if let Some(node) = fields.get("tombstone") {
            let words =
                [("delete", Tombstone::Delete), ("ignore", Tombstone::Ignore), ("park", Tombstone::Park)];
            from.tombstone = self.word(node, "what `tombstone` can say", &words).map(|it| (it, node.span));
        }
        self.not_yet(&fields);
        if let Some(node) = fields.get("upcast") {
            self.upcasts(node, upcasts);
        }
        from
    }

    fn not_yet(&mut self, fields: &Fields<'_>) {
        if let Some(key) = fields.key("id") {
            self.fault("P010", key.span, "`from.id` is not supported yet").help(
                "leave it out: an event is a record at a position, and one appended twice is two events",
            );
        }
        if let Some(node) = fields.get("start")
            && let Some(start) = self.text(node, "a place to start")
            && start.text != "earliest"
        {
            self.fault("P010", start.span, format!("`start: {}` is not supported yet", start.text)).help(
                "a read model is built from the whole log: write `start: earliest`, or leave `start` out",
            );
        }
    }

    fn upcasts(&mut self, node: &Node, upcasts: &mut Vec<UpcastDecl>) {
        for of_type in self.entries(node, "`upcast`") {
            for step in self.entries(&of_type.value, "the upcasts of a type") {
                let Ok(version) = step.key.text.parse::<i64>() else {
                    self.fault("P017", step.key.span, format!("`{}` is not a version", step.key.text))
                        .help("write the version that is brought to the next one: `0:` makes 1 from 0");
                    continue;
                };
                let step = self.upcast(&of_type.key, version, step);
                upcasts.push(step);
            }
        }
    }

    fn upcast(&mut self, type_name: &Text, version: i64, step: &Entry) -> UpcastDecl {
        let fields =
            self.map(&step.value, "an upcast", &["rename", "default", "drop", "move", "convert", "split"]);
        for key in ["move", "convert", "split"] {
            if let Some(found) = fields.key(key) {
                self.fault("P010", found.span, format!("`{key}` is not supported yet"))
                    .help("`rename`, `default` and `drop` are; handle the rest in the event's expressions");
            }
        }
        let mut drop = Vec::new();
        if let Some(node) = fields.get("drop") {
            self.each(node, |reader, item| drop.extend(reader.text(item, "the name of a field")));
        }
        let default = fields.get("default").map(|node| self.entries(node, "`default`")).unwrap_or_default();
        UpcastDecl {
            type_name: type_name.clone(),
            version,
            version_span: step.key.span,
            rename: fields.get("rename").map(|n| self.pairs(n, "`rename`", "a field")).unwrap_or_default(),
            default: default.iter().map(|entry| (entry.key.clone(), to_json(&entry.value))).collect(),
            drop,
        }
    }

    /// A list's items, or the one value that stands for a list of one.
    fn each<'n>(&mut self, node: &'n Node, mut take: impl FnMut(&mut Self, &'n Node)) {
        match &node.kind {
            NodeKind::List(items) => items.iter().for_each(|item| take(self, item)),
            _ => take(self, node),
        }
    }

    fn events(&mut self, node: &Node) -> Vec<EventDecl> {
        self.entries(node, "`events`").iter().map(|entry| self.event(entry)).collect()
    }

    fn event(&mut self, entry: &Entry) -> EventDecl {
        let mut event = EventDecl { name: entry.key.clone(), lets: Vec::new(), cases: Vec::new() };
        let cases: &[Node] = match &entry.value.kind {
            NodeKind::List(items) => items,
            _ => std::slice::from_ref(&entry.value),
        };
        for (index, node) in cases.iter().enumerate() {
            if let NodeKind::Scalar(text) = &node.kind
                && !text.is_null()
            {
                self.fault("P006", node.span, format!("`{}` is not a case", text.text))
                    .help("a case is a map with a verb: `{ update: { status: PAID } }`, `{ delete: row }`");
                return event;
            }
            let before = self.faults.len();
            let fields = self.map(node, "a case", CASE);
            if let Some(on) = fields.key("on") {
                self.fault("P010", on.span, "`on: topic/Type` is not supported yet").help(
                    "leave it out: a projection reads one topic, so the type's name alone says which event is meant",
                );
            }
            if let Some(lets) = fields.get("let") {
                if index > 0 {
                    let span = fields.key("let").map_or(node.span, |key| key.span);
                    self.fault("P006", span, "`let` stands in the first case of an event")
                        .help("names of the first case can be used in all cases of the event");
                }
                event.lets.extend(self.pairs(lets, "`let`", "a name"));
            }
            let span = fields.0.first().map_or(entry.key.span, |first| first.key.span);
            let case = self.case(
                &fields,
                before,
                if node.span.start == node.span.end { entry.key.span } else { span },
            );
            event.cases.push(case);
        }
        if event.cases.is_empty() {
            self.fault("P011", entry.key.span, format!("`{}` has no case", entry.key.text)).help(
                "say what the event does: `create`, `update`, `upsert`, `replace`, `delete` or `remove`",
            );
        }
        event
    }

    fn case(&mut self, fields: &Fields<'_>, before: usize, span: Span) -> CaseDecl {
        let mut case =
            CaseDecl { span, when: None, verb: None, sets: Vec::new(), removes: Vec::new(), faulty: false };
        case.when = fields.get("when").and_then(|node| self.text(node, "a condition"));
        for verb in [Verb::Create, Verb::Update, Verb::Upsert, Verb::Replace, Verb::Delete] {
            let (Some(node), Some(key)) = (fields.get(verb.name()), fields.key(verb.name())) else {
                continue;
            };
            if let Some((first, _)) = case.verb {
                self.fault(
                    "P011",
                    key.span,
                    format!("a case has one verb, found `{}` and `{}`", first.name(), verb.name()),
                )
                .help("write a list of cases, each with its own `when`");
                continue;
            }
            case.verb = Some((verb, key.span));
            match verb {
                Verb::Delete => self.delete(node),
                _ => case.sets = self.sets(node, verb),
            }
        }
        if let (Some(node), Some(key)) = (fields.get("remove"), fields.key("remove")) {
            self.each(node, |reader, item| {
                case.removes.extend(reader.text(item, "a path like `lines[event.productId]`"))
            });
            self.removes(&mut case, key);
        }
        case.faulty = self.faults.len() > before;
        if case.verb.is_none() && !case.faulty {
            self.fault("P011", span, "this case has no verb")
                .help("add `create`, `update`, `upsert`, `replace`, `delete` or `remove`");
        }
        case
    }

    fn removes(&mut self, case: &mut CaseDecl, key: &Text) {
        match case.verb {
            None => case.verb = Some((Verb::Remove, key.span)),
            Some((Verb::Update | Verb::Upsert, _)) => {}
            Some((verb, _)) => self
                .fault("P011", key.span, format!("`remove` cannot stand beside `{}`", verb.name()))
                .help("elements are removed from a row that stays: use `update` or `upsert`, or leave `remove` out"),
        }
    }

    fn delete(&mut self, node: &Node) {
        if let Some(what) = self.text(node, "`row`")
            && what.text != "row"
        {
            self.fault("P011", what.span, format!("`delete: {}` is not known", what.text))
                .help("write `delete: row`, or `remove: path` for an element");
        }
    }

    fn sets(&mut self, node: &Node, verb: Verb) -> Vec<(Text, SetDecl)> {
        let entries = self.entries(node, &format!("`{}`", verb.name()));
        let entries = self.uncut(entries);
        entries.into_iter().filter_map(|entry| Some((entry.key.clone(), self.set(&entry.value)?))).collect()
    }

    fn set(&mut self, node: &Node) -> Option<SetDecl> {
        let NodeKind::Map(entries) = &node.kind else {
            return self.text(node, "an expression").map(SetDecl::Expression);
        };
        if !entries.iter().any(|entry| entry.key.text == "each") {
            return Some(SetDecl::Parts(self.pairs(node, "an element", "a column"), node.span));
        }
        let fields = self.map(node, "`each`", &["each", "as", "set", "into", "key"]);
        for key in ["into", "key"] {
            if let Some(found) = fields.key(key) {
                self.fault(
                    "P010",
                    found.span,
                    format!("`each` with `{key}` (one event, many rows) is not supported yet"),
                )
                .help("`each` with `as` and `set` makes value types");
            }
        }
        for key in ["as", "set"] {
            self.required(&fields, key, node.span);
        }
        Some(SetDecl::Each {
            list: self.text(fields.get("each")?, "a list to go through")?,
            name: self.text(fields.get("as")?, "a name for the element")?,
            parts: self.pairs(fields.get("set")?, "`set`", "a column"),
        })
    }
}

/// Whether an unquoted text has more brackets opened than closed.
fn is_open(node: &Node) -> bool {
    let NodeKind::Scalar(text) = &node.kind else { return false };
    let count = |wanted: [char; 2]| text.text.matches(wanted).count();
    !text.quoted && count(['(', '[']) > count([')', ']'])
}
