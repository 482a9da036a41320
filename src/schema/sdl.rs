//! The SDL that a gateway sees, and the one that operations are validated against.
//!
//! Comes in: the author's text and the model. Goes out: the author's bytes with what is ours cut out by its span, what
//! gateways are told put after the field it is of, what else is derived appended in name order; and the executable schema with the
//! federation's own fields.

use apollo_compiler::Node;
use apollo_compiler::ast::{self, Definition, DirectiveList};

use super::connection;
use super::directive::is_ours;
use super::hint::{self, Hint, Hints};
use super::link::{self, Link};
use super::parse::{Declarations, Parsed, span};
use super::{FieldId, ReadModel, TypeId, TypeKind};
use crate::diagnostic::{Sources, Span};

/// The subgraph's SDL but for what only a plan knows: what reads cost.
#[derive(Debug, Default)]
pub struct Draft {
    authored: Vec<Chunk>,
    /// What `@cost` is called in the author's text.
    cost: String,
    /// The directives that our `@link` imports, each with the version that it needs; `None` where the author has one.
    used: Option<Vec<(String, u32)>>,
    /// The derived types.
    derived: Vec<String>,
}

#[derive(Debug)]
enum Chunk {
    Text(String),
    /// Where the cost of a read may stand.
    Cost(TypeId, FieldId),
}

impl Draft {
    /// The SDL, byte for byte as every command and `_service` give it, with the `@cost` that each read has.
    pub(super) fn text(&self, weight: &dyn Fn(TypeId, FieldId) -> Option<u32>) -> String {
        let (mut text, mut has_costs) = (String::new(), false);
        for chunk in &self.authored {
            match chunk {
                Chunk::Text(authored) => text.push_str(authored),
                Chunk::Cost(ty, field) => {
                    let Some(weight) = weight(*ty, *field) else { continue };
                    has_costs = true;
                    text.push_str(&format!(" @{}(weight: {weight})", self.cost));
                }
            }
        }
        if let Some(used) = &self.used {
            let mut used = used.clone();
            used.extend(has_costs.then(|| (hint::COST.to_string(), link::version_of(hint::COST))));
            text.push('\n');
            text.push_str(&link::line(used));
        }
        for derived in &self.derived {
            text.push('\n');
            text.push_str(derived);
        }
        text
    }
}

/// The subgraph's SDL, ready for what reads cost.
pub(super) fn draft(
    parsed: &[Parsed],
    declarations: &Declarations<'_>,
    model: &ReadModel,
    sources: &Sources,
) -> Draft {
    let link = Link::of(declarations);
    let hints = Hints::new(model, declarations, link.as_ref());
    let mut used = link::used_directives(parsed);
    let mut authored: Vec<Chunk> = Vec::new();
    for (index, file) in parsed.iter().enumerate() {
        if index > 0 {
            authored.push(Chunk::Text("\n".to_string()));
        }
        authored.extend(author_text(file, sources, &hints, &mut used));
    }
    let derived: Vec<&super::ObjectType> = derived(declarations, model);
    if !derived.is_empty() {
        used.push(("shareable".to_string(), 0));
    }
    let shareable = link.as_ref().map_or("shareable".to_string(), |link| link.local_name("shareable"));
    Draft {
        authored,
        cost: hints.cost.unwrap_or_default(),
        used: link.is_none().then_some(used),
        derived: derived.iter().map(|ty| connection::sdl(ty, Some(&shareable))).collect(),
    }
}

/// The derived types, in name order.
fn derived<'m>(declarations: &Declarations<'_>, model: &'m ReadModel) -> Vec<&'m super::ObjectType> {
    let is_derived = |ty: &&super::ObjectType| {
        !matches!(ty.kind, TypeKind::Variants | TypeKind::Key { .. })
            && !declarations.objects.iter().any(|object| *object.name == *ty.name)
    };
    let mut derived: Vec<_> = model.types.iter().filter(is_derived).collect();
    derived.sort_by(|a, b| a.name.cmp(&b.name));
    derived
}

/// One file without what is ours and with what gateways are told beside it; ends with a line break. Says which directives
/// that needs.
fn author_text(
    parsed: &Parsed,
    sources: &Sources,
    hints: &Hints<'_>,
    used: &mut Vec<(String, u32)>,
) -> Vec<Chunk> {
    let text = &sources.file(parsed.file).text;
    let mut edits =
        Edits { text, sources, comment_ends: comment_ends(text), cuts: Vec::new(), told: Vec::new() };
    edits.collect(parsed, hints);
    let keys = hints.of_entities(parsed.file).into_iter();
    edits
        .told
        .extend(keys.map(|(key, hint)| (span(parsed.file, key.location(), sources).end as usize, hint)));
    edits.cuts.sort_unstable();
    edits.told.sort_by_key(|(at, _)| *at);
    let (mut chunks, mut kept, mut at) = (Vec::new(), String::with_capacity(text.len()), 0);
    let mut told = edits.told.into_iter().peekable();
    // A cut that ends where something is told comes first, one that begins there after it.
    for (start, end) in edits.cuts.into_iter().chain([(text.len(), text.len())]) {
        while let Some((place, hint)) = told.next_if(|(place, _)| *place <= start) {
            kept.push_str(text.get(at..place).unwrap_or_default());
            at = at.max(place);
            used.extend(hint.used.iter().map(|name| ((*name).to_string(), link::version_of(name))));
            kept.push_str(&hint.before);
            if let Some((ty, field)) = hint.read {
                chunks.push(Chunk::Text(std::mem::take(&mut kept)));
                chunks.push(Chunk::Cost(ty, field));
            }
            kept.push_str(&hint.after);
        }
        kept.push_str(text.get(at..start).unwrap_or_default());
        at = at.max(end);
    }
    if !kept.is_empty() && !kept.ends_with('\n') {
        kept.push('\n');
    }
    chunks.push(Chunk::Text(kept));
    chunks
}

struct Edits<'a> {
    text: &'a str,
    sources: &'a Sources,
    comment_ends: Vec<usize>,
    cuts: Vec<(usize, usize)>,
    /// What is told, and after which byte.
    told: Vec<(usize, Hint)>,
}

impl Edits<'_> {
    fn collect(&mut self, parsed: &Parsed, hints: &Hints<'_>) {
        for definition in &parsed.document.definitions {
            let (name, directives, fields) = match definition {
                Definition::ObjectTypeDefinition(node) => (&node.name, &node.directives, &node.fields),
                Definition::ObjectTypeExtension(node) => (&node.name, &node.directives, &node.fields),
                _ => continue,
            };
            self.cut_directives(parsed, directives);
            for field in fields {
                let at = span(parsed.file, field.location(), self.sources);
                if is_hidden(field) {
                    self.cut_field(at);
                    continue;
                }
                self.cut_directives(parsed, &field.directives);
                for argument in &field.arguments {
                    self.cut_directives(parsed, &argument.directives);
                }
                self.told.extend(hints.of_field(name, field).map(|hint| (at.end as usize, hint)));
            }
        }
    }

    fn cut_directives(&mut self, parsed: &Parsed, directives: &DirectiveList) {
        for directive in directives.iter().filter(|directive| is_ours(&directive.name)) {
            let at = span(parsed.file, directive.location(), self.sources);
            let start = self.blank_before(at.start as usize);
            self.cuts.push((start, at.end as usize));
        }
    }

    /// A field that has its lines to itself goes with them; else only with the blanks before it.
    fn cut_field(&mut self, at: Span) {
        let (start, end) = (at.start as usize, at.end as usize);
        let line_start = self.text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let rest = &self.text[end..];
        let blanks = rest.len() - rest.trim_start_matches([' ', '\t', ',', '\r']).len();
        let is_alone = self.text[line_start..start].trim().is_empty() && rest[blanks..].starts_with('\n');
        match is_alone {
            true => self.cuts.push((line_start, end + blanks + 1)),
            false => self.cuts.push((self.blank_before(start), end)),
        }
    }

    /// Where the blanks before a place begin. The line break that ends a comment stays: without it, what follows
    /// would become part of the comment.
    fn blank_before(&self, start: usize) -> usize {
        let blank = self.text[..start].trim_end().len();
        match self.comment_ends.contains(&blank) {
            true => self.text[blank..start].find('\n').map_or(start, |newline| blank + newline + 1),
            false => blank,
        }
    }
}

/// Whether a field is stored, but not in the graph.
pub(super) fn is_hidden(field: &ast::FieldDefinition) -> bool {
    let column = field.directives.iter().find(|directive| directive.name == "column");
    let hidden = column.and_then(|column| column.arguments.iter().find(|argument| argument.name == "hidden"));
    hidden.is_some_and(|hidden| hidden.value.to_bool() == Some(true))
}

/// Where the comments of a text end, blanks at their ends not counted.
fn comment_ends(text: &str) -> Vec<usize> {
    let bytes = text.as_bytes();
    let (mut ends, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        match bytes[at] {
            b'#' => {
                let end = text[at..].find('\n').map_or(text.len(), |newline| at + newline);
                ends.push(at + text[at..end].trim_end().len());
                at = end;
            }
            b'"' => at += super::parse::string_len(&bytes[at..]),
            _ => at += 1,
        }
    }
    ends
}

/// The whole executable schema: the author's types and the derived ones without directives that only a gateway
/// reads, and the federation's own fields.
pub(super) fn executable(declarations: &Declarations<'_>, model: &ReadModel) -> String {
    let mut parts: Vec<String> = Vec::new();
    for directive in &declarations.directives {
        let is_for_operations = directive.node.locations.iter().any(|location| is_executable(*location));
        if is_for_operations {
            parts.push(directive.node.to_string());
        }
    }
    for scalar in &declarations.scalars {
        let mut scalar = (**scalar.node).clone();
        let extensions = declarations.scalar_extensions.iter().filter(|other| other.node.name == scalar.name);
        scalar.directives.extend(extensions.flat_map(|other| other.node.directives.iter().cloned()));
        keep_standard(&mut scalar.directives);
        parts.push(scalar.to_string());
    }
    for declared in &declarations.enums {
        let mut values: Vec<_> = declared.values.iter().map(|value| value.node.clone()).collect();
        values.iter_mut().for_each(|value| keep_standard(&mut value.make_mut().directives));
        let (description, directives) = (declared.description.cloned(), DirectiveList::default());
        parts.push(
            ast::EnumTypeDefinition { description, name: declared.name.clone(), directives, values }
                .to_string(),
        );
    }
    let entities: Vec<&str> = model
        .types
        .iter()
        .filter(|ty| ty.keys.iter().any(|key| key.resolvable))
        .map(|ty| ty.name.as_str())
        .collect();
    for object in &declarations.objects {
        parts.push(object_text(object, !entities.is_empty()));
    }
    parts.extend(declarations.interfaces.iter().map(interface_text));
    for declared in &declarations.unions {
        let union = ast::UnionTypeDefinition {
            description: declared.description.cloned(),
            name: declared.name.clone(),
            directives: DirectiveList::default(),
            members: declared.members.iter().map(|name| name.node.clone()).collect(),
        };
        parts.push(union.to_string());
    }
    parts.extend(derived(declarations, model).iter().map(|ty| connection::sdl(ty, None)));
    parts.push("type _Service {\n  sdl: String\n}\n".to_string());
    if !entities.is_empty() {
        parts.push("scalar _Any\n".to_string());
        parts.push(format!("union _Entity = {}\n", entities.join(" | ")));
    }
    parts.join("\n")
}

fn interface_text(interface: &super::parse::ObjectDeclaration<'_>) -> String {
    let definition = ast::InterfaceTypeDefinition {
        description: interface.description.cloned(),
        name: interface.name.clone(),
        implements_interfaces: interface.implements.iter().map(|name| name.node.clone()).collect(),
        directives: DirectiveList::default(),
        fields: visible_fields(interface),
    };
    definition.to_string()
}

/// The fields that are in the graph, without directives that only a gateway reads.
fn visible_fields(object: &super::parse::ObjectDeclaration<'_>) -> Vec<Node<ast::FieldDefinition>> {
    let visible = object.fields.iter().filter(|field| !is_hidden(field.node));
    let field = |field: &super::parse::In<'_, Node<ast::FieldDefinition>>| {
        let mut field = field.node.clone();
        let inner = field.make_mut();
        keep_standard(&mut inner.directives);
        inner.arguments.iter_mut().for_each(|argument| keep_standard(&mut argument.make_mut().directives));
        field
    };
    visible.map(field).collect()
}

fn object_text(object: &super::parse::ObjectDeclaration<'_>, has_entities: bool) -> String {
    let definition = ast::ObjectTypeDefinition {
        description: object.description.cloned(),
        name: object.name.clone(),
        implements_interfaces: object.implements.iter().map(|name| name.node.clone()).collect(),
        directives: DirectiveList::default(),
        fields: visible_fields(object),
    };
    let mut text = definition.to_string();
    if object.name == "Query" {
        let end = text.rfind('}').unwrap_or(text.len());
        let entities = "  _entities(representations: [_Any!]!): [_Entity]!\n";
        let own = format!("  _service: _Service!\n{}", if has_entities { entities } else { "" });
        text.insert_str(end, &own);
    }
    text
}

/// Keeps only the directives that introspection shows.
fn keep_standard(directives: &mut DirectiveList) {
    directives.retain(|directive| matches!(directive.name.as_str(), "deprecated" | "specifiedBy"));
}

fn is_executable(location: ast::DirectiveLocation) -> bool {
    use ast::DirectiveLocation as At;
    matches!(
        location,
        At::Query
            | At::Mutation
            | At::Subscription
            | At::Field
            | At::FragmentDefinition
            | At::FragmentSpread
            | At::InlineFragment
            | At::VariableDefinition
    )
}
