//! `upcast:` as it is written → its declarations.
//!
//! Comes in: the node of `upcast`. Goes out: one [`UpcastDecl`] for each type and version. Paths, plain values and the
//! order of versions are `upcasts`'s.

use super::super::declaration::{ConvertDecl, PieceDecl, UpcastDecl};
use super::super::yaml::{Entry, Node, NodeKind, Text, to_json};
use super::Reader;

const STEP: &[&str] = &["rename", "move", "convert", "drop", "default", "split"];
const PIECE: &[&str] = &["type", "version", "each", "as", "drop"];

impl Reader<'_> {
    pub(super) fn upcasts(&mut self, node: &Node, upcasts: &mut Vec<UpcastDecl>) {
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
        let fields = self.map(&step.value, "an upcast", STEP);
        let mut pairs =
            |key: &str| fields.get(key).map(|node| self.pairs(node, &format!("`{key}`"), "a field"));
        let rename = pairs("rename").unwrap_or_default();
        let moves = pairs("move").unwrap_or_default();
        let convert = fields.get("convert").map(|node| self.entries(node, "`convert`")).unwrap_or_default();
        let default = fields.get("default").map(|node| self.entries(node, "`default`")).unwrap_or_default();
        UpcastDecl {
            type_name: type_name.clone(),
            version,
            version_span: step.key.span,
            rename,
            moves,
            convert: convert.iter().filter_map(|entry| self.convert(entry)).collect(),
            default: default.iter().map(|entry| (entry.key.clone(), to_json(&entry.value))).collect(),
            drop: self.names(fields.get("drop")),
            split: fields.get("split").map(|node| self.pieces(node)),
            shared: false,
        }
    }

    fn names(&mut self, node: Option<&Node>) -> Vec<Text> {
        let mut names = Vec::new();
        if let Some(node) = node {
            self.each(node, |reader, item| names.extend(reader.text(item, "the name of a field")));
        }
        names
    }

    fn convert(&mut self, entry: &Entry) -> Option<(Text, ConvertDecl)> {
        let convert = match &entry.value.kind {
            NodeKind::Map(words) => ConvertDecl::Words(
                words.iter().map(|word| (word.key.clone(), to_json(&word.value))).collect(),
            ),
            _ => ConvertDecl::Named(self.text(&entry.value, "the name of a conversion")?),
        };
        Some((entry.key.clone(), convert))
    }

    fn pieces(&mut self, node: &Node) -> Vec<PieceDecl> {
        match &node.kind {
            NodeKind::List(items) => items.iter().filter_map(|item| self.piece(item)).collect(),
            _ => {
                self.fault("P006", node.span, format!("`split` is a list, found {}", node.describe())).help(
                    "write the events that it becomes, each as `- { type: LineAdded, each: lines, as: line }`",
                );
                Vec::new()
            }
        }
    }

    fn piece(&mut self, node: &Node) -> Option<PieceDecl> {
        let fields = self.map(node, "an event of `split`", PIECE);
        let Some(type_name) = fields.get("type") else {
            self.fault("P005", node.span, "`type` is missing")
                .help("say which event type it becomes: `type: LineAdded`");
            return None;
        };
        let each = match (fields.get("each"), fields.get("as")) {
            (Some(list), Some(name)) => {
                Some((self.text(list, "a field with a list")?, self.text(name, "the name of a field")?))
            }
            (None, None) => None,
            _ => {
                self.fault("P005", node.span, "`each` and `as` stand together")
                    .help("`each: lines` names the list, `as: line` the field that holds one element of it");
                None
            }
        };
        let version = fields.get("version").and_then(|node| {
            let text = self.text(node, "a version")?;
            let number = text.text.parse().ok();
            if number.is_none() {
                self.fault("P017", text.span, format!("`{}` is not a version", text.text))
                    .help("write a whole number, or leave it out: then it is version 1");
            }
            Some((number?, text.span))
        });
        let type_name = self.text(type_name, "the name of an event type")?;
        Some(PieceDecl { type_name, version, each, drop: self.names(fields.get("drop")) })
    }
}
