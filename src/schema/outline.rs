//! What composition looks at: the types of a subgraph, their kinds, and which of their fields others may define too.
//!
//! Comes in: the SDL of a subgraph, ours or another's. Goes out: an [`Outline`]. Which fields may be shared is as Apollo's
//! composition has it: those that say `@shareable`, or whose type does, those that a `@key` or `@provides` names, and all
//! of a subgraph of Federation 1.

use std::collections::BTreeMap;

use apollo_compiler::ast::{self, OperationType};

use super::columns::Text;
use super::fieldset;
use super::link::Link;
use super::parse::{self, Declarations, In, ObjectDeclaration};
use crate::diagnostic::{Diagnostic, FileId, Severity, Sources, Span};

/// The types of a subgraph by name. Root types have the names that a gateway gives them.
#[derive(Debug, Default)]
pub struct Outline {
    pub types: BTreeMap<String, TypeOutline>,
}

/// One type of a subgraph.
#[derive(Debug)]
pub struct TypeOutline {
    pub kind: Kind,
    pub span: Span,
    /// Of object types and interfaces; without those that are only named, as `@external`.
    pub fields: BTreeMap<String, FieldOutline>,
}

/// What kind of type a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Object,
    /// An object type that stands for an interface of other subgraphs: `@interfaceObject`.
    InterfaceObject,
    Interface,
    Union,
    Enum,
    Scalar,
    Input,
}

/// One field of a subgraph.
#[derive(Debug)]
pub struct FieldOutline {
    pub span: Span,
    /// The name of its type, without list and `!`.
    pub named: String,
    /// How many lists stand around it.
    pub lists: usize,
    pub is_shareable: bool,
    /// It says that it takes over from another subgraph.
    pub overrides: bool,
    /// Another subgraph defines it; it is answered here only where a `@provides` names it.
    is_external: bool,
}

impl Kind {
    /// The kind in a sentence.
    pub fn shown(self) -> &'static str {
        match self {
            Kind::Object => "an object type",
            Kind::InterfaceObject => "an `@interfaceObject`",
            Kind::Interface => "an interface",
            Kind::Union => "a union",
            Kind::Enum => "an enum",
            Kind::Scalar => "a scalar",
            Kind::Input => "an input type",
        }
    }
}

/// Reads the SDL of a subgraph.
///
/// # Errors
/// The faults of a text that is not GraphQL, or that defines a type twice.
pub fn outline(file: FileId, sources: &Sources) -> Result<Outline, Vec<Diagnostic>> {
    let mut faults = Vec::new();
    let parsed = parse::parse(&[file], sources, &mut faults);
    let (declarations, found) = parse::declarations(&parsed, sources);
    faults.extend(found);
    if faults.iter().any(|fault| fault.severity == Severity::Error) {
        return Err(faults);
    }
    let reader = Reader { names: Names(Link::of(&declarations)), declarations: &declarations };
    let mut outline = reader.types();
    reader.share_named(&mut outline);
    outline.types.retain(|name, _| !is_of_federation(name));
    outline.types.values_mut().for_each(|ty| ty.fields.retain(|_, field| !field.is_external));
    Ok(outline)
}

/// What the directives of the federation are called in a subgraph; `None` for one of Federation 1.
struct Names(Option<Link>);

impl Names {
    fn is(&self, directive: &ast::Directive, name: &str) -> bool {
        directive.name == name
            || self.0.as_ref().is_some_and(|link| *link.local_name(name) == *directive.name)
    }

    fn any(&self, directives: &ast::DirectiveList, name: &str) -> bool {
        directives.iter().any(|directive| self.is(directive, name))
    }
}

struct Reader<'a> {
    names: Names,
    declarations: &'a Declarations<'a>,
}

impl Reader<'_> {
    fn types(&self) -> Outline {
        let Declarations { objects, interfaces, unions, enums, scalars, inputs, .. } = self.declarations;
        let mut types = BTreeMap::new();
        let mut plain = |name: &str, kind, span| {
            types.insert(name.to_owned(), TypeOutline { kind, span, fields: BTreeMap::new() });
        };
        unions.iter().for_each(|union| plain(union.name, Kind::Union, union.span));
        enums.iter().for_each(|found| plain(found.name, Kind::Enum, found.span));
        for scalar in scalars {
            plain(&scalar.node.name, Kind::Scalar, parse::name_span(scalar.file, &scalar.node.name));
        }
        for input in inputs {
            plain(input.node, Kind::Input, parse::name_span(input.file, input.node));
        }
        for object in objects {
            let is_interface =
                object.directives.iter().any(|found| self.names.is(found.node, "interfaceObject"));
            let kind = if is_interface { Kind::InterfaceObject } else { Kind::Object };
            types.insert(self.root_name(object.name), self.object(kind, object));
        }
        for interface in interfaces {
            types.insert(interface.name.to_string(), self.object(Kind::Interface, interface));
        }
        Outline { types }
    }

    fn object(&self, kind: Kind, object: &ObjectDeclaration<'_>) -> TypeOutline {
        let says = |name| object.directives.iter().any(|found| self.names.is(found.node, name));
        let is_shareable = self.names.0.is_none() || says("shareable");
        let mut fields = BTreeMap::new();
        for In { file, node } in object.fields.iter().copied() {
            let is_external = says("external") || self.names.any(&node.directives, "external");
            if is_of_federation(&node.name) {
                continue;
            }
            let mut lists = 0;
            let mut ty = &node.ty;
            while let ast::Type::List(inner) | ast::Type::NonNullList(inner) = ty {
                (lists, ty) = (lists + 1, inner);
            }
            let field = FieldOutline {
                span: parse::name_span(file, &node.name),
                named: ty.inner_named_type().to_string(),
                lists,
                is_shareable: is_shareable || self.names.any(&node.directives, "shareable"),
                overrides: self.names.any(&node.directives, "override"),
                is_external,
            };
            fields.insert(node.name.to_string(), field);
        }
        TypeOutline { kind, span: object.span, fields }
    }

    /// Marks what keys and `@provides` name, in the types that they lead to.
    fn share_named(&self, outline: &mut Outline) {
        for object in &self.declarations.objects {
            let name = self.root_name(object.name);
            for key in object.directives.iter().filter(|found| self.names.is(found.node, "key")) {
                mark(outline, &name, key.node, |field| field.is_shareable = true);
            }
            for field in &object.fields {
                let provides = field.node.directives.iter();
                for provides in provides.filter(|directive| self.names.is(directive, "provides")) {
                    mark(outline, field.node.ty.inner_named_type(), provides, |field| {
                        (field.is_shareable, field.is_external) = (true, false);
                    });
                }
            }
        }
    }

    /// The name that a gateway gives a type: root types are called as by default.
    fn root_name(&self, name: &str) -> String {
        let root = self.declarations.root_operations.iter().find(|root| root.node.1 == *name);
        let default = |operation| match operation {
            OperationType::Query => "Query",
            OperationType::Mutation => "Mutation",
            OperationType::Subscription => "Subscription",
        };
        root.map_or_else(|| name.to_owned(), |root| default(root.node.0).to_owned())
    }
}

/// Marks the fields that a set of fields names, from a type on.
fn mark(outline: &mut Outline, of: &str, directive: &ast::Directive, mark: fn(&mut FieldOutline)) {
    let fields = directive.arguments.iter().find(|argument| argument.name == "fields");
    let Some(text) = fields.and_then(|fields| fields.value.as_str()) else { return };
    // A text that cannot be read marks nothing: composition says what is wrong with it.
    let nowhere = Span { file: FileId(0), start: 0, end: 0 };
    let text = Text { value: text.to_owned(), span: nowhere, verbatim: None };
    for path in fieldset::paths(&text).unwrap_or_default() {
        let mut at = of.to_owned();
        for name in &path.names {
            let Some(field) = outline.types.get_mut(&at).and_then(|ty| ty.fields.get_mut(name)) else {
                break;
            };
            mark(field);
            at = field.named.clone();
        }
    }
}

/// Names that each subgraph has of its own, and that never meet.
fn is_of_federation(name: &str) -> bool {
    matches!(name, "_Any" | "_Entity" | "_Service" | "_FieldSet" | "_entities" | "_service")
        || name.starts_with("federation__")
        || name.starts_with("link__")
}
