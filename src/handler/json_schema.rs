//! JSON Schema files of events → the shapes that expressions are checked against.
//!
//! Comes in: `*.schema.json` files as trees, and what `from.schemas` names. Goes out: a [`Shape`] for each event type, and
//! faults. Only what types a value is read: `type`, `properties`, `additionalProperties`, `items`, `enum`, `const`,
//! `format`, `oneOf`, `anyOf`, `allOf`, and `$ref` inside the file. What bounds values (`minimum`, `pattern`, `required`)
//! is left to whoever validates events. Unlike JSON Schema itself, an object with `properties` has no others unless
//! `additionalProperties` says so: a name that nobody declared is nearly always a typing error.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::declaration::SchemasDecl;
use super::nearest::advice;
use super::yaml::{self, Entry, Node, NodeKind, Text};
use crate::diagnostic::{Diagnostic, FileId, Sources, Span};
use crate::expr::{Format, ObjectShape, Shape, TextShape};

/// References inside each other that are followed; what lies deeper may be anything. So a schema may name itself.
const DEPTH_MAX: usize = 12;

/// The schema files of a project, read.
#[derive(Default)]
pub struct SchemaFiles {
    files: Vec<(String, Option<Node>)>,
}

/// Shapes by event type.
pub type EventShapes = FxHashMap<String, Arc<Shape>>;

impl SchemaFiles {
    /// Reads the files. JSON is YAML, so one reader gives places for both.
    pub fn read(files: &[FileId], sources: &Sources, faults: &mut Vec<Diagnostic>) -> SchemaFiles {
        let read = |&file: &FileId| {
            let source = sources.file(file);
            let (root, found) = yaml::read(file, &source.text);
            faults.extend(found);
            let name = source.path.rsplit('/').next().unwrap_or(&source.path);
            (name.to_owned(), root)
        };
        SchemaFiles { files: files.iter().map(read).collect() }
    }

    /// The shapes of the event types that a projection handles.
    pub fn shapes(
        &self,
        schemas: &SchemasDecl,
        events: &[&Text],
        faults: &mut Vec<Diagnostic>,
    ) -> EventShapes {
        let mut shapes = EventShapes::default();
        match schemas {
            SchemasDecl::File(name) => {
                let Some(root) = self.file(name, &name.text, faults) else { return shapes };
                for event in events {
                    let reader = Reader { root, faults: &mut *faults };
                    if let Some(shape) = reader.definition(event, name) {
                        shapes.insert(event.text.clone(), Arc::new(shape));
                    }
                }
            }
            SchemasDecl::ByType(pairs) => {
                for (event, name) in pairs {
                    if !events.iter().any(|known| known.text == event.text) {
                        let help = advice(&event.text, events.iter().map(|known| known.text.as_str()));
                        let message = format!("`events` has no `{}`", event.text);
                        faults.push(Diagnostic::error("P021", event.span, message).help(help));
                        continue;
                    }
                    let (path, pointer) = name.text.split_once('#').unwrap_or((&name.text, ""));
                    let Some(root) = self.file(name, path, faults) else { continue };
                    let mut reader = Reader { root, faults: &mut *faults };
                    let Some(node) = reader.at(pointer, name.span) else { continue };
                    let shape = reader.named(node, &event.text);
                    shapes.insert(event.text.clone(), Arc::new(shape));
                }
            }
        }
        shapes
    }

    fn file(&self, name: &Text, path: &str, faults: &mut Vec<Diagnostic>) -> Option<&Node> {
        match self.files.iter().find(|(known, _)| known == path) {
            Some((_, root)) => root.as_ref(), // Where it cannot be read, that is said already.
            None => {
                let help = match self.files.is_empty() {
                    true => {
                        "put the file beside the projection, with a name like `orders.schema.json`".to_owned()
                    }
                    false => advice(path, self.files.iter().map(|(known, _)| known.as_str())),
                };
                let message = format!("there is no schema file `projections/{path}`");
                faults.push(Diagnostic::error("P021", name.span, message).help(help));
                None
            }
        }
    }
}

/// The shape of an event of any of the types: of which nothing is known unless all are.
pub fn of_any(shapes: &EventShapes, events: &[&Text]) -> Option<Arc<Shape>> {
    let mut all = events.iter().map(|event| shapes.get(&event.text));
    let first = all.next()??;
    let mut joined = Shape::clone(first);
    for shape in all {
        joined = either(joined, shape?);
    }
    if let Some(object) = &mut joined.object {
        Arc::make_mut(object).name = "the event".into();
    }
    Some(Arc::new(joined))
}

struct Reader<'n, 'f> {
    root: &'n Node,
    faults: &'f mut Vec<Diagnostic>,
}

impl<'n> Reader<'n, '_> {
    fn fault(&mut self, span: Span, message: String, help: impl Into<String>) {
        self.faults.push(Diagnostic::error("P021", span, message).help(help));
    }

    /// The definition of an event type in a file that has all of them.
    fn definition(mut self, event: &Text, file: &Text) -> Option<Shape> {
        let definitions = ["$defs", "definitions"].iter().find_map(|key| field(self.root, key));
        let Some(definitions) = definitions else {
            let message = format!("`{}` has no `$defs`", file.text);
            let help = "name the file of each type, `schemas: { OrderPlaced: placed.schema.json }`, or define all in one";
            self.fault(file.span, message, help);
            return None;
        };
        match field(definitions, &event.text) {
            Some(node) => Some(self.named(node, &event.text)),
            None => {
                let message = format!("`{}` defines no `{}`", file.text, event.text);
                let help =
                    advice(&event.text, entries(definitions).iter().map(|entry| entry.key.text.as_str()));
                self.fault(event.span, message, help);
                None
            }
        }
    }

    fn named(&mut self, node: &'n Node, event: &str) -> Shape {
        self.shape(node, &format!("the event `{event}`"), 0)
    }

    /// What a pointer leads to: `/$defs/Money`.
    fn at(&mut self, pointer: &str, span: Span) -> Option<&'n Node> {
        let mut node = self.root;
        for name in pointer.split('/').filter(|name| !name.is_empty()) {
            match field(node, &name.replace("~1", "/").replace("~0", "~")) {
                Some(inside) => node = inside,
                None => {
                    let help = advice(name, entries(node).iter().map(|entry| entry.key.text.as_str()));
                    self.fault(span, format!("`#{pointer}` leads nowhere: there is no `{name}`"), help);
                    return None;
                }
            }
        }
        Some(node)
    }

    fn shape(&mut self, node: &'n Node, name: &str, depth: usize) -> Shape {
        if depth > DEPTH_MAX {
            return Shape::any();
        }
        match &node.kind {
            NodeKind::Map(_) => {}
            NodeKind::Scalar(text) if text.text == "true" => return Shape::any(),
            _ => {
                let message = format!("a schema is an object or true, found {}", node.describe());
                self.fault(node.span, message, "write `{ \"type\": \"string\" }`");
                return Shape::any();
            }
        }
        let mut shape = self.own(node, name, depth);
        if let Some(reference) = scalar(node, "$ref") {
            let found = match reference.text.strip_prefix('#') {
                Some(pointer) => self.at(pointer, reference.span),
                None => {
                    let message = format!("`{}` is in another file, which is not read", reference.text);
                    self.fault(
                        reference.span,
                        message,
                        "define it in this file, under `$defs`, and write `#/$defs/…`",
                    );
                    None
                }
            };
            let found = found.map_or_else(Shape::any, |found| self.shape(found, name, depth + 1));
            shape = both(shape, found);
        }
        for part in list(node, "allOf") {
            let part = self.shape(part, name, depth + 1);
            shape = both(shape, part);
        }
        for key in ["oneOf", "anyOf"] {
            let parts = list(node, key).iter().map(|part| self.shape(part, name, depth + 1));
            if let Some(joined) = parts.reduce(|one, other| either(one, &other)) {
                shape = both(shape, joined);
            }
        }
        shape
    }

    /// What a schema says without those that it refers to or combines.
    fn own(&mut self, node: &'n Node, name: &str, depth: usize) -> Shape {
        let mut shape = Shape::default();
        let types = match field(node, "type") {
            Some(Node { kind: NodeKind::List(items), .. }) => items.iter().collect(),
            Some(one) => vec![one],
            None => Vec::new(),
        };
        let said = !types.is_empty();
        let has = |word: &str| {
            types.iter().any(|node| matches!(&node.kind, NodeKind::Scalar(text) if text.text == word))
        };
        shape.integer = has("integer");
        shape.number = has("number");
        shape.boolean = has("boolean");
        shape.null = has("null");
        let (text, array, object) = (has("string"), has("array"), has("object"));
        for node in &types {
            let known = ["string", "integer", "number", "boolean", "null", "array", "object"];
            if let NodeKind::Scalar(text) = &node.kind
                && !known.contains(&text.text.as_str())
            {
                let help = advice(&text.text, known);
                self.fault(text.span, format!("`{}` is not a type of JSON Schema", text.text), help);
            }
        }
        if text || (!said && scalar(node, "format").is_some()) {
            shape.text =
                Some(TextShape { format: scalar(node, "format").map(format_of), values: Vec::new() });
        }
        if array || (!said && field(node, "items").is_some()) {
            let items = field(node, "items").map(|items| self.shape(items, name, depth + 1));
            shape.list = Some(Arc::new(items.unwrap_or_else(Shape::any)));
        }
        if object || (!said && field(node, "properties").is_some()) {
            shape.object = Some(Arc::new(self.object(node, name, depth)));
        }
        self.values(node, said, &mut shape);
        shape.any = shape == Shape::default();
        shape
    }

    fn object(&mut self, node: &'n Node, name: &str, depth: usize) -> ObjectShape {
        let properties = field(node, "properties");
        let mut known = Vec::new();
        for entry in properties.map(entries).unwrap_or_default() {
            let inside = format!("`{}` of {name}", entry.key.text);
            let shape = self.shape(&entry.value, &inside, depth + 1);
            known.push((entry.key.text.as_str().into(), Arc::new(shape)));
        }
        let others = match field(node, "additionalProperties") {
            Some(Node { kind: NodeKind::Scalar(text), .. }) if text.text == "false" => None,
            Some(others) => Some(Arc::new(self.shape(others, name, depth + 1))),
            None if properties.is_none() || field(node, "patternProperties").is_some() => {
                Some(Arc::new(Shape::any()))
            }
            None => None,
        };
        ObjectShape { name: name.into(), known, others }
    }

    /// `enum` and `const`: what they list is all that may be there.
    fn values(&mut self, node: &'n Node, said: bool, shape: &mut Shape) {
        let constant = field(node, "const").into_iter();
        let values: Vec<&Text> = constant
            .chain(list(node, "enum"))
            .filter_map(|node| match &node.kind {
                NodeKind::Scalar(text) => Some(text),
                _ => None,
            })
            .collect();
        let texts = values.iter().filter(|text| text.quoted);
        let texts: Vec<Box<str>> = texts.map(|text| text.text.as_str().into()).collect();
        match &mut shape.text {
            Some(text) => text.values = texts,
            None if !said && !texts.is_empty() => {
                shape.text = Some(TextShape { format: None, values: texts });
            }
            None => {}
        }
        if !said {
            for value in values.iter().filter(|text| !text.quoted) {
                match value.text.as_str() {
                    "null" => shape.null = true,
                    "true" | "false" => shape.boolean = true,
                    text if text.parse::<i64>().is_ok() => shape.integer = true,
                    _ => shape.number = true,
                }
            }
        }
    }
}

fn entries(node: &Node) -> &[Entry] {
    match &node.kind {
        NodeKind::Map(entries) => entries,
        _ => &[],
    }
}

fn field<'n>(node: &'n Node, key: &str) -> Option<&'n Node> {
    entries(node).iter().find(|entry| entry.key.text == key).map(|entry| &entry.value)
}

fn scalar<'n>(node: &'n Node, key: &str) -> Option<&'n Text> {
    match &field(node, key)?.kind {
        NodeKind::Scalar(text) => Some(text),
        _ => None,
    }
}

fn list<'n>(node: &'n Node, key: &str) -> &'n [Node] {
    match field(node, key).map(|node| &node.kind) {
        Some(NodeKind::List(items)) => items,
        _ => &[],
    }
}

fn format_of(text: &Text) -> Format {
    match text.text.as_str() {
        "date-time" => Format::DateTime,
        "date" => Format::Date,
        "time" => Format::Time,
        "duration" => Format::Duration,
        "uuid" => Format::Uuid,
        _ => Format::Other,
    }
}

/// What is of one shape or of the other.
fn either(one: Shape, other: &Shape) -> Shape {
    let join = |one: Option<Arc<Shape>>, other: &Option<Arc<Shape>>| match (one, other) {
        (Some(one), Some(other)) => Some(Arc::new(either(Shape::clone(&one), other))),
        (one, other) => one.or_else(|| other.clone()),
    };
    Shape {
        text: match (one.text, &other.text) {
            (Some(one), Some(other)) => Some(either_text(one, other)),
            (one, other) => one.or_else(|| other.clone()),
        },
        integer: one.integer || other.integer,
        number: one.number || other.number,
        boolean: one.boolean || other.boolean,
        null: one.null || other.null,
        list: join(one.list, &other.list),
        object: match (one.object, &other.object) {
            (Some(one), Some(other)) => Some(Arc::new(merged(&one, other, either))),
            (one, other) => one.or_else(|| other.clone()),
        },
        any: one.any || other.any,
    }
}

fn either_text(one: TextShape, other: &TextShape) -> TextShape {
    let bounded = !one.values.is_empty() && !other.values.is_empty();
    TextShape {
        format: one.format.filter(|format| other.format == Some(*format)),
        values: match bounded {
            true => one.values.into_iter().chain(other.values.iter().cloned()).collect(),
            false => Vec::new(),
        },
    }
}

/// What is of both shapes.
fn both(one: Shape, other: Shape) -> Shape {
    if one.any {
        return other;
    }
    if other.any {
        return one;
    }
    Shape {
        text: match (one.text, other.text) {
            (Some(one), Some(other)) => Some(TextShape {
                format: one.format.or(other.format),
                values: if one.values.is_empty() { other.values } else { one.values },
            }),
            _ => None,
        },
        integer: (one.integer || one.number)
            && (other.integer || other.number)
            && (one.integer || other.integer),
        number: one.number && other.number,
        boolean: one.boolean && other.boolean,
        null: one.null && other.null,
        list: match (one.list, other.list) {
            (Some(one), Some(other)) => Some(Arc::new(both(Shape::clone(&one), Shape::clone(&other)))),
            _ => None,
        },
        object: match (one.object, other.object) {
            (Some(one), Some(other)) => {
                Some(Arc::new(merged(&one, &other, |one, other| both(one, other.clone()))))
            }
            _ => None,
        },
        any: false,
    }
}

/// The fields of two objects; those of one name are combined.
fn merged(one: &ObjectShape, other: &ObjectShape, combine: impl Fn(Shape, &Shape) -> Shape) -> ObjectShape {
    let mut known = one.known.clone();
    for (name, shape) in &other.known {
        match known.iter_mut().find(|(known, _)| known == name) {
            Some((_, found)) => *found = Arc::new(combine(Shape::clone(found), shape)),
            None => known.push((name.clone(), Arc::clone(shape))),
        }
    }
    ObjectShape { name: one.name.clone(), known, others: one.others.clone().or_else(|| other.others.clone()) }
}
