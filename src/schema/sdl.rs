//! The SDL that a gateway sees, and the one that operations are validated against.
//!
//! Comes in: the author's text and the model. Goes out: the author's bytes with what is ours cut out by its span, what
//! is derived appended in name order; and the executable schema with the federation's own fields.

use apollo_compiler::Node;
use apollo_compiler::ast::{self, Definition, Directive, DirectiveList};

use super::connection;
use super::directive::{FEDERATION, is_ours};
use super::parse::{Declarations, Parsed, span};
use super::{ReadModel, TypeKind};
use crate::diagnostic::{Sources, Span};

/// The subgraph's SDL, byte for byte as every command and `_service` give it.
pub(super) fn subgraph(
    parsed: &[Parsed],
    declarations: &Declarations<'_>,
    model: &ReadModel,
    sources: &Sources,
) -> String {
    let mut parts: Vec<String> = Vec::new();
    for file in parsed {
        parts.push(authored(file, sources));
    }
    let link = Link::of(declarations);
    let derived: Vec<&super::ObjectType> = derived(declarations, model);
    let mut used = used_directives(parsed);
    if !derived.is_empty() {
        used.push(("shareable".to_string(), 0));
    }
    if link.is_none() {
        parts.push(link_line(used));
    }
    let shareable = link.as_ref().map_or("shareable".to_string(), |link| link.local_name("shareable"));
    parts.extend(derived.iter().map(|ty| connection::sdl(ty, Some(&shareable))));
    parts.join("\n")
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

/// One file without what is ours; ends with a line break.
fn authored(parsed: &Parsed, sources: &Sources) -> String {
    let text = &sources.file(parsed.file).text;
    let mut cuts = Cuts { text, sources, comment_ends: comment_ends(text), cuts: Vec::new() };
    cuts.collect(parsed);
    cuts.cuts.sort_unstable();
    let (mut kept, mut at) = (String::with_capacity(text.len()), 0);
    for (start, end) in cuts.cuts {
        if start >= at {
            kept.push_str(&text[at..start]);
        }
        at = at.max(end);
    }
    kept.push_str(&text[at..]);
    if !kept.is_empty() && !kept.ends_with('\n') {
        kept.push('\n');
    }
    kept
}

struct Cuts<'a> {
    text: &'a str,
    sources: &'a Sources,
    comment_ends: Vec<usize>,
    cuts: Vec<(usize, usize)>,
}

impl Cuts<'_> {
    fn collect(&mut self, parsed: &Parsed) {
        for definition in &parsed.document.definitions {
            let (directives, fields): (&DirectiveList, &[Node<ast::FieldDefinition>]) = match definition {
                Definition::ObjectTypeDefinition(node) => (&node.directives, &node.fields),
                Definition::ObjectTypeExtension(node) => (&node.directives, &node.fields),
                _ => continue,
            };
            self.cut_directives(parsed, directives);
            for field in fields {
                if is_hidden(field) {
                    self.cut_field(span(parsed.file, field.location(), self.sources));
                    continue;
                }
                self.cut_directives(parsed, &field.directives);
                for argument in &field.arguments {
                    self.cut_directives(parsed, &argument.directives);
                }
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
fn is_hidden(field: &ast::FieldDefinition) -> bool {
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

/// The author's own `@link` to the federation specification.
struct Link {
    prefix: String,
    imports: Vec<(String, String)>,
}

impl Link {
    fn of(declarations: &Declarations<'_>) -> Option<Link> {
        let links = declarations.schema_directives.iter().filter(|directive| directive.node.name == "link");
        let text = |link: &Directive, name: &str| -> Option<String> {
            let argument = link.arguments.iter().find(|argument| argument.name == name)?;
            Some(argument.value.as_str()?.to_string())
        };
        let link = links.map(|link| link.node).find(|link| {
            text(link, "url").is_some_and(|url| url.starts_with("https://specs.apollo.dev/federation/"))
        })?;
        let mut imports = Vec::new();
        let import = link.arguments.iter().find(|argument| argument.name == "import");
        for item in import.and_then(|import| import.value.as_list()).into_iter().flatten() {
            let (name, local) = match &**item {
                ast::Value::Object(fields) => {
                    let field = |wanted: &str| {
                        let (_, value) = fields.iter().find(|(name, _)| name == wanted)?;
                        value.as_str()
                    };
                    let Some(name) = field("name") else { continue };
                    (name, field("as").unwrap_or(name))
                }
                item => match item.as_str() {
                    Some(name) => (name, name),
                    None => continue,
                },
            };
            imports
                .push((name.trim_start_matches('@').to_string(), local.trim_start_matches('@').to_string()));
        }
        Some(Link { prefix: text(link, "as").unwrap_or_else(|| "federation".to_string()), imports })
    }

    /// What a directive of the federation is called in the author's text.
    fn local_name(&self, name: &str) -> String {
        match self.imports.iter().find(|(imported, _)| imported == name) {
            Some((_, local)) => local.clone(),
            None => format!("{}__{name}", self.prefix),
        }
    }
}

/// The minor version of the federation specification that takes `@key` on interfaces.
const ENTITY_INTERFACES: u32 = 3;

/// Directives of the federation that the text applies, each with the minor version that it needs.
fn used_directives(parsed: &[Parsed]) -> Vec<(String, u32)> {
    let mut used = Vec::new();
    for file in parsed {
        for definition in &file.document.definitions {
            let is_interface = matches!(
                definition,
                Definition::InterfaceTypeDefinition(_) | Definition::InterfaceTypeExtension(_)
            );
            each_directive(definition, &mut |directive| {
                let Some((name, version)) = FEDERATION.iter().find(|(name, _)| directive.name == *name)
                else {
                    return;
                };
                let has_label = *name == "override"
                    && directive.arguments.iter().any(|argument| argument.name == "label");
                let version = match *name {
                    "key" if is_interface => ENTITY_INTERFACES,
                    _ if has_label => 7,
                    _ => *version,
                };
                used.push(((*name).to_string(), version));
            });
        }
    }
    used
}

fn each_directive(definition: &Definition, found: &mut dyn FnMut(&Directive)) {
    let mut all = |directives: &DirectiveList| directives.iter().for_each(|directive| found(directive));
    all(definition.directives());
    let fields = match definition {
        Definition::ObjectTypeDefinition(node) => &node.fields,
        Definition::ObjectTypeExtension(node) => &node.fields,
        Definition::InterfaceTypeDefinition(node) => &node.fields,
        Definition::InterfaceTypeExtension(node) => &node.fields,
        Definition::EnumTypeDefinition(node) => {
            return node.values.iter().for_each(|value| all(&value.directives));
        }
        Definition::EnumTypeExtension(node) => {
            return node.values.iter().for_each(|value| all(&value.directives));
        }
        _ => return,
    };
    for field in fields.iter().filter(|field| !is_hidden(field)) {
        all(&field.directives);
        field.arguments.iter().for_each(|argument| all(&argument.directives));
    }
}

/// The `@link` of the lowest version that knows all directives used.
fn link_line(mut used: Vec<(String, u32)>) -> String {
    let version = used.iter().map(|(_, version)| *version).max().unwrap_or(0);
    used.sort();
    used.dedup_by(|a, b| a.0 == b.0);
    let url = format!("https://specs.apollo.dev/federation/v2.{version}");
    let imports: Vec<String> = used.iter().map(|(name, _)| format!("\"@{name}\"")).collect();
    match imports.is_empty() {
        true => format!("extend schema @link(url: \"{url}\")\n"),
        false => format!("extend schema @link(url: \"{url}\", import: [{}])\n", imports.join(", ")),
    }
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
