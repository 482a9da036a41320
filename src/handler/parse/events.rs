//! `events:` as it is written → its declarations.
//!
//! Comes in: the node of `events`. Goes out: an [`EventDecl`] for each type, with its cases and what they assign, and faults:
//! verbs that cannot stand beside each other. Types, columns and expressions are `steps`'s and `assign`'s.

use super::super::Verb;
use super::super::declaration::{CaseDecl, EventDecl, RowsDecl, SetDecl};
use super::super::yaml::{Entry, Node, NodeKind, Text};
use super::{Fields, Reader};
use crate::diagnostic::Span;

const CASE: &[&str] = &[
    "when",
    "create",
    "update",
    "upsert",
    "replace",
    "delete",
    "once",
    "remove",
    "let",
    "each",
    "as",
    "key",
    "on",
    "missing",
    "initially",
];

impl Reader<'_> {
    /// The types that are handled, and those that are ignored.
    pub(super) fn events(&mut self, node: &Node) -> (Vec<EventDecl>, Vec<Text>) {
        let (mut events, mut ignored) = (Vec::new(), Vec::new());
        for entry in self.entries(node, "`events`") {
            match &entry.value.kind {
                NodeKind::Scalar(text) if text.text == "ignore" => ignored.push(entry.key.clone()),
                _ => events.push(self.event(entry)),
            }
        }
        (events, ignored)
    }

    fn event(&mut self, entry: &Entry) -> EventDecl {
        let name = entry.key.clone();
        let mut event = EventDecl { name, on: None, rows: None, lets: Vec::new(), cases: Vec::new() };
        let cases: &[Node] = match &entry.value.kind {
            NodeKind::List(items) => items,
            _ => std::slice::from_ref(&entry.value),
        };
        for (index, node) in cases.iter().enumerate() {
            if let NodeKind::Scalar(text) = &node.kind
                && !text.is_null()
            {
                self.fault("P006", node.span, format!("`{}` is not a case", text.text))
                    .help("a case is a map with a verb: `{ update: { status: PAID } }`, `{ delete: row }`; an event that concerns no row is `ignore`");
                return event;
            }
            let before = self.faults.len();
            let fields = self.map(node, "a case", CASE);
            if let (Some(node), Some(key)) = (fields.get("on"), fields.key("on")) {
                if index > 0 {
                    self.fault("P006", key.span, "`on` stands in the first case of an event")
                        .help("it says of which topic and type the event is, for all of its cases");
                }
                event.on = self.text(node, "a topic and a type, like `shop.orders/OrderPlaced`");
            }
            if let Some(lets) = fields.get("let") {
                if index > 0 {
                    let span = fields.key("let").map_or(node.span, |key| key.span);
                    self.fault("P006", span, "`let` stands in the first case of an event")
                        .help("names of the first case can be used in all cases of the event");
                }
                event.lets.extend(self.pairs(lets, "`let`", "a name"));
            }
            self.event_rows(&fields, index, &mut event);
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

    /// `each`, `as` and `key` of an event: which rows it concerns.
    fn event_rows(&mut self, fields: &Fields<'_>, index: usize, event: &mut EventDecl) {
        let Some(first) = fields.0.iter().find(|entry| ["each", "as", "key"].contains(&&*entry.key.text))
        else {
            return;
        };
        let span = first.key.span;
        if index > 0 {
            self.fault("P006", span, format!("`{}` stands in the first case of an event", first.key.text))
                .help("which rows an event concerns is the same for all of its cases");
            return;
        }
        let each = match (fields.get("each"), fields.get("as")) {
            (Some(list), Some(name)) => {
                let list = self.text(list, "a list to go through");
                list.zip(self.text(name, "a name for the element"))
            }
            (None, None) => None,
            _ => {
                self.fault("P005", span, "`each` and `as` stand together")
                    .help("`each: event.lines` says what is gone through, `as: line` names the element");
                None
            }
        };
        let Some(key) = fields.get("key") else {
            self.fault("P005", span, "`key` is missing")
                .help("say which row each element makes: `key: { orderId: event.orderId, sku: line.sku }`");
            return;
        };
        if key.is_empty() && !matches!(key.kind, NodeKind::List(_)) {
            self.no_column(fields.key("key").map_or(span, |name| name.span));
        }
        event.rows = Some(RowsDecl { span, each, keys: self.keys(key) });
    }

    fn case(&mut self, fields: &Fields<'_>, before: usize, span: Span) -> CaseDecl {
        let mut case = CaseDecl {
            span,
            when: None,
            verb: None,
            sets: Vec::new(),
            onces: Vec::new(),
            initially: Vec::new(),
            removes: Vec::new(),
            range: None,
            parks_missing: false,
            faulty: false,
        };
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
                Verb::Delete => case.range = self.delete(node),
                _ => case.sets = self.sets(node, verb.name()),
            }
        }
        if let (Some(node), Some(key)) = (fields.get("once"), fields.key("once")) {
            case.onces = self.sets(node, "once");
            self.onces(&mut case, key);
        }
        if let (Some(node), Some(key)) = (fields.get("remove"), fields.key("remove")) {
            self.each(node, |reader, item| {
                case.removes.extend(reader.text(item, "a path like `lines[event.productId]`"))
            });
            self.removes(&mut case, key);
        }
        self.initially(fields, &mut case);
        self.missing(fields, &mut case);
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

    fn onces(&mut self, case: &mut CaseDecl, key: &Text) {
        match case.verb {
            None => case.verb = Some((Verb::Update, key.span)),
            Some((Verb::Create | Verb::Update | Verb::Upsert, _)) => {}
            Some((verb, _)) => self
                .fault("P011", key.span, format!("`once` cannot stand beside `{}`", verb.name()))
                .help("`once` sets what is null in a row that stays: use `update` or `upsert`"),
        }
    }

    fn initially(&mut self, fields: &Fields<'_>, case: &mut CaseDecl) {
        let (Some(node), Some(key)) = (fields.get("initially"), fields.key("initially")) else { return };
        case.initially = self.sets(node, "initially");
        let (message, help) = match case.verb {
            Some((Verb::Upsert, _)) => return,
            None => (
                "`initially` has no `upsert` beside it".to_owned(),
                "write `upsert`: it makes the row, with what `initially` says, or changes the one that is there",
            ),
            Some((verb @ (Verb::Create | Verb::Replace), _)) => (
                format!("`initially` cannot stand beside `{}`", verb.name()),
                "it always makes the row: assign the first values there",
            ),
            Some((verb, _)) => (
                format!("`initially` cannot stand beside `{}`", verb.name()),
                "no row is made here: use `upsert`, or `once` for columns that are null",
            ),
        };
        self.fault("P011", key.span, message).help(help);
    }

    fn missing(&mut self, fields: &Fields<'_>, case: &mut CaseDecl) {
        let (Some(node), Some(key)) = (fields.get("missing"), fields.key("missing")) else { return };
        case.parks_missing =
            self.word(node, "what `missing` can say", &[("park", true), ("ignore", false)]) == Some(true);
        let help = "it says what an event does that finds no row: it stands beside `update`, `remove` or `delete: row`";
        match case.verb {
            Some((Verb::Update | Verb::Remove, _)) => {}
            Some((Verb::Delete, _)) if case.range.is_none() => {}
            Some((Verb::Delete, _)) => {
                self.fault("P011", key.span, "`missing` cannot stand beside `delete: rows`").help(help);
            }
            Some((verb, _)) => self
                .fault("P011", key.span, format!("`missing` cannot stand beside `{}`", verb.name()))
                .help(help),
            None => self.fault("P011", key.span, "`missing` has no verb beside it").help(help),
        }
    }

    /// `row` or `rows`: the place of the latter.
    fn delete(&mut self, node: &Node) -> Option<Span> {
        let what = self.text(node, "`row` or `rows`")?;
        match what.text.as_str() {
            "row" => None,
            "rows" => Some(what.span),
            other => {
                self.fault("P011", what.span, format!("`delete: {other}` is not known")).help(
                    "write `delete: row`, `delete: rows` for all whose key begins as `key` says, or `remove: path` for an element",
                );
                None
            }
        }
    }

    pub(super) fn sets(&mut self, node: &Node, what: &str) -> Vec<(Text, SetDecl)> {
        let entries = self.entries(node, &format!("`{what}`"));
        let entries = self.uncut(entries);
        entries.into_iter().filter_map(|entry| Some((entry.key.clone(), self.set(&entry.value)?))).collect()
    }

    fn set(&mut self, node: &Node) -> Option<SetDecl> {
        let NodeKind::Map(entries) = &node.kind else {
            return self.text(node, "an expression for a column").map(SetDecl::Expression);
        };
        if !entries.iter().any(|entry| entry.key.text == "each") {
            return Some(SetDecl::Parts(self.parts(node), node.span));
        }
        let fields = self.map(node, "`each`", &["each", "as", "set", "into", "key"]);
        for key in ["into", "key"] {
            if let Some(found) = fields.key(key) {
                self.fault(
                    "P011",
                    found.span,
                    format!("`each` of a column makes value types, and has no `{key}`"),
                )
                .help("for a row of each element write `each`, `as` and `key` beside the verb");
            }
        }
        for key in ["as", "set"] {
            self.required(&fields, key, node.span);
        }
        Some(SetDecl::Each {
            list: self.text(fields.get("each")?, "a list to go through")?,
            name: self.text(fields.get("as")?, "a name for the element")?,
            parts: self.sets(fields.get("set")?, "set"),
        })
    }

    /// The parts of a value type, each an expression or made of parts itself.
    fn parts(&mut self, node: &Node) -> Vec<(Text, SetDecl)> {
        let entries = self.entries(node, "an element");
        let entries = self.uncut(entries);
        entries.into_iter().filter_map(|entry| Some((entry.key.clone(), self.set(&entry.value)?))).collect()
    }
}
