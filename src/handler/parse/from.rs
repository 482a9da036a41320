//! `from:` as it is written → its declarations.
//!
//! Comes in: the node of `from`, and what the defaults say. Goes out: a [`FromDecl`] for each topic, and the upcasts that
//! stand in it. Expressions and columns are `sources`'s and `memory`'s.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::declaration::{FromDecl, SchemasDecl, SequenceDecl, UpcastDecl};
use super::super::yaml::{Entry, Node, NodeKind, Text};
use super::super::{Repeat, Tombstone};
use super::Reader;
use crate::diagnostic::{Diagnostic, nearest};
use crate::event::Start;
use crate::expr::read_timestamp;

const FROM: &[&str] = &[
    "topic",
    "format",
    "type",
    "version",
    "time",
    "recordKey",
    "id",
    "remember",
    "sequence",
    "tombstone",
    "unknown",
    "schemas",
    "start",
    "upcast",
];
impl Reader<'_> {
    pub(super) fn froms(
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

    pub(super) fn from(
        &mut self,
        node: &Node,
        defaults: Option<&FromDecl>,
        upcasts: &mut Vec<UpcastDecl>,
    ) -> FromDecl {
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
            unknown: defaults.and_then(|d| d.unknown),
            start: defaults.map(|d| d.start.clone()).unwrap_or_default(),
            schemas: defaults.and_then(|d| d.schemas.clone()),
            id: text("id", "an expression", defaults.map(|d| &d.id)),
            remember: text("remember", "the name of a column", defaults.map(|d| &d.remember)),
            sequence: defaults.and_then(|d| d.sequence.clone()),
        };
        if let Some(node) = fields.get("sequence") {
            from.sequence = self.sequence(node);
        }
        if let Some(node) = fields.get("schemas") {
            from.schemas = match &node.kind {
                NodeKind::Map(_) => Some(SchemasDecl::ByType(self.pairs(node, "`schemas`", "an event type"))),
                _ => self.text(node, "the name of a schema file").map(SchemasDecl::File),
            };
        }
        if let Some(node) = fields.get("unknown") {
            from.unknown = self.unknown(node);
        }
        if let Some(node) = fields.get("tombstone") {
            let words =
                [("delete", Tombstone::Delete), ("ignore", Tombstone::Ignore), ("park", Tombstone::Park)];
            from.tombstone = self.word(node, "what `tombstone` can say", &words).map(|it| (it, node.span));
        }
        if let Some(start) = fields.get("start").and_then(|node| self.start(node)) {
            from.start = start;
        }
        if let Some(node) = fields.get("upcast") {
            self.upcasts(node, upcasts);
        }
        from
    }

    fn sequence(&mut self, node: &Node) -> Option<SequenceDecl> {
        let fields = self.map(node, "`sequence`", &["number", "in", "first", "gap", "repeat"]);
        for key in ["number", "in"] {
            self.required(&fields, key, node.span);
        }
        let first = fields.get("first").and_then(|node| self.text(node, "a number"));
        let number = first.as_ref().and_then(|text| text.text.parse().ok());
        if let (Some(text), None) = (&first, number) {
            self.fault("P006", text.span, format!("`{}` is not a whole number", text.text))
                .help("write the number of a row's first event, such as `first: 1`");
        }
        let gaps = [("park", false), ("accept", true)];
        let repeats = [("ignore", Repeat::Ignore), ("park", Repeat::Park)];
        Some(SequenceDecl {
            number: self.text(fields.get("number")?, "an expression")?,
            column: self.text(fields.get("in")?, "the name of a column")?,
            first: number,
            accepts_gaps: fields
                .get("gap")
                .and_then(|node| self.word(node, "what `gap` can say", &gaps))
                .unwrap_or(false),
            repeat: fields.get("repeat").and_then(|node| self.word(node, "what `repeat` can say", &repeats)),
        })
    }

    fn start(&mut self, node: &Node) -> Option<Start> {
        if let NodeKind::Map(_) = node.kind {
            return self.start_of_others(node);
        }
        let text = self.text(node, "a place to start")?;
        let words = [("earliest", Start::Earliest), ("latest", Start::Latest)];
        let word = words.iter().find(|(word, _)| *word == text.text).map(|(_, start)| start.clone());
        let found = word.or_else(|| read_timestamp(&text.text).map(Start::At));
        if found.is_none() {
            let known = || words.iter().map(|(word, _)| *word);
            let help = match nearest(&text.text, known()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => {
                    "write `earliest`, `latest`, a time with its offset: `2026-01-01T00:00:00Z`, or where others have stopped: \
                     `{ group: its-name }` or `{ offsets: { 0: 512, 1: 498 } }`"
                        .to_owned()
                }
            };
            let message = format!("`{}` is no place to start", text.text);
            let fault = Diagnostic::error("P006", text.span, message).help(help);
            self.faults.push(fault.fix_name(&text.text, known()));
        }
        found
    }

    /// Where a consumer group has come to, or offsets.
    fn start_of_others(&mut self, node: &Node) -> Option<Start> {
        let fields = self.map(node, "`start`", &["group", "offsets"]);
        match (fields.get("group"), fields.get("offsets")) {
            (Some(group), None) => {
                let name = self.text(group, "the name of a consumer group")?;
                Some(Start::Group(name.text.as_str().into()))
            }
            (None, Some(offsets)) => self.offsets(offsets),
            (Some(_), Some(_)) => {
                self.fault("P006", node.span, "`start` names a group and offsets, which are two places")
                    .help("write either `{ group: its-name }` or `{ offsets: { 0: 512, 1: 498 } }`");
                None
            }
            (None, None) => None,
        }
    }

    fn offsets(&mut self, node: &Node) -> Option<Start> {
        let mut offsets = BTreeMap::new();
        for Entry { key, value } in self.entries(node, "`offsets`") {
            let offset = self.text(value, "an offset")?;
            let (Ok(partition), Ok(number)) = (key.text.parse(), offset.text.parse()) else {
                self.fault("P006", key.span, format!("`{}: {}` is no offset of a partition", key.text, offset.text))
                    .help("write the number of each partition and the first offset that is to be read: `{ 0: 512, 1: 498 }`");
                return None;
            };
            offsets.insert(partition, number);
        }
        Some(Start::Offsets(Arc::new(offsets)))
    }
}
