//! Reads SDL text into declarations with places.
//!
//! Comes in: the author's files. Goes out: [`Declarations`], every type of all files with its extensions folded in,
//! or the faults of the syntax. Knows no directive and no type by name; `bind` does.

use apollo_compiler::ast::{self, Definition};
use apollo_compiler::parser::{LineColumn, Parser, SourceSpan};
use apollo_compiler::validation::DiagnosticList;
use apollo_compiler::{Name, Node};

use crate::diagnostic::{Diagnostic, FileId, Sources, Span};

/// Most lists, values or selections inside each other: what reads them recurses.
const DEPTH_MAX: usize = 64;

/// Faults of a file among which the first is looked for: they come nearly in order, and placing each reads the text.
const FAULTS_MAX: usize = 10;

/// A node of the text and the file it stands in.
pub(super) struct In<'a, T> {
    pub file: FileId,
    pub node: &'a T,
}

impl<T> Clone for In<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for In<'_, T> {}

/// One parsed file.
pub(super) struct Parsed {
    pub file: FileId,
    pub document: ast::Document,
}

/// An object type or interface with its extensions, whatever files they stand in.
pub(super) struct ObjectDeclaration<'a> {
    pub name: &'a Name,
    /// The name, where the type is defined, or else first extended.
    pub span: Span,
    pub directives: Vec<In<'a, Node<ast::Directive>>>,
    pub fields: Vec<In<'a, Node<ast::FieldDefinition>>>,
    pub implements: Vec<In<'a, Name>>,
    /// Whether a definition, not only an extension, was seen.
    pub defined: bool,
    pub description: Option<&'a Node<str>>,
}

/// An enum with its extensions.
pub(super) struct EnumDeclaration<'a> {
    pub name: &'a Name,
    pub span: Span,
    pub values: Vec<In<'a, Node<ast::EnumValueDefinition>>>,
    pub defined: bool,
    pub description: Option<&'a Node<str>>,
}

/// A union with its extensions.
pub(super) struct UnionDeclaration<'a> {
    pub name: &'a Name,
    pub span: Span,
    pub directives: Vec<In<'a, Node<ast::Directive>>>,
    pub members: Vec<In<'a, Name>>,
    pub defined: bool,
    pub description: Option<&'a Node<str>>,
}

/// Everything that the files declare, by kind, in order of first appearance.
#[derive(Default)]
pub(super) struct Declarations<'a> {
    pub objects: Vec<ObjectDeclaration<'a>>,
    pub enums: Vec<EnumDeclaration<'a>>,
    pub scalars: Vec<In<'a, Node<ast::ScalarTypeDefinition>>>,
    pub inputs: Vec<In<'a, Name>>,
    pub scalar_extensions: Vec<In<'a, Node<ast::ScalarTypeExtension>>>,
    pub interfaces: Vec<ObjectDeclaration<'a>>,
    pub unions: Vec<UnionDeclaration<'a>>,
    pub directives: Vec<In<'a, Node<ast::DirectiveDefinition>>>,
    /// Directives of `schema` and `extend schema`.
    pub schema_directives: Vec<In<'a, Node<ast::Directive>>>,
    pub root_operations: Vec<In<'a, Node<(ast::OperationType, ast::NamedType)>>>,
    /// Operations and fragments, which have no place here.
    pub executable: Vec<Span>,
}

/// Parses every file. Where one has a fault, the others are parsed all the same.
pub(super) fn parse(files: &[FileId], sources: &Sources, faults: &mut Vec<Diagnostic>) -> Vec<Parsed> {
    let mut parsed = Vec::new();
    for &file in files {
        let source = sources.file(file);
        match Parser::new().recursion_limit(DEPTH_MAX).parse_ast(source.text.to_string(), &source.path) {
            Ok(document) => parsed.push(Parsed { file, document }),
            Err(failed) => faults.extend(first_fault(file, &source.text, &failed.errors)),
        }
    }
    parsed
}

/// The first fault of a file that is not GraphQL: those after it mostly follow from it.
fn first_fault(file: FileId, text: &str, errors: &DiagnosticList) -> Option<Diagnostic> {
    let place = |range: Option<std::ops::Range<LineColumn>>| {
        range.map_or(0, |range| byte_at(text, range.start.line, range.start.column))
    };
    let (start, error) = errors
        .iter()
        .take(FAULTS_MAX)
        .map(|error| (place(error.line_column_range()), error))
        .min_by_key(|(start, _)| *start)?;
    let width = text[start..].chars().next().map_or(0, char::len_utf8);
    let span = Span { file, start: offset(start), end: offset(start + width) };
    let reason = sentence(&error.error.to_string());
    let fault = Diagnostic::error("S001", span, format!("this is not GraphQL: {reason}"))
        .label("cannot be read")
        .help("Faults after this one are looked for once the file can be read.");
    Some(fault)
}

/// Where a line and a column, both from 1, begin in a text.
fn byte_at(text: &str, line: usize, column: usize) -> usize {
    let (line, column) = (line.saturating_sub(1), column.saturating_sub(1));
    let line_start: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
    let in_line = text[line_start..].char_indices().nth(column).map_or(text.len() - line_start, |(at, _)| at);
    line_start + in_line
}

/// The parser's reason, with signs in place of its names for them.
fn sentence(message: &str) -> String {
    let message = message.trim();
    if message.contains("recursion limit reached") {
        return format!("more than {DEPTH_MAX} lists, objects or selections stand inside each other");
    }
    let mut sentence = message.strip_prefix("syntax error: ").unwrap_or(message).to_string();
    if let Some((expected, found)) = sentence.split_once(", got ") {
        sentence = match found.trim() {
            "" | "EOF" => format!("{expected}, found the end of the text"),
            found => format!("{expected}, found `{found}`"),
        };
    }
    for (name, sign) in [
        ("L_PAREN", "`(`"),
        ("R_PAREN", "`)`"),
        ("L_CURLY", "`{`"),
        ("R_CURLY", "`}`"),
        ("L_BRACK", "`[`"),
        ("R_BRACK", "`]`"),
    ] {
        sentence = sentence.replace(name, sign);
    }
    sentence
}

/// Sorts what was parsed by kind, and folds extensions into what they extend.
pub(super) fn declarations<'a>(
    parsed: &'a [Parsed],
    sources: &Sources,
) -> (Declarations<'a>, Vec<Diagnostic>) {
    let mut all = Declarations::default();
    let mut faults = Vec::new();
    for Parsed { file, document } in parsed {
        for definition in &document.definitions {
            add(&mut all, *file, definition, sources, &mut faults);
        }
    }
    (all, faults)
}

fn add<'a>(
    all: &mut Declarations<'a>,
    file: FileId,
    definition: &'a Definition,
    sources: &Sources,
    faults: &mut Vec<Diagnostic>,
) {
    let within = |node| In { file, node };
    match definition {
        Definition::OperationDefinition(node) => all.executable.push(span(file, node.location(), sources)),
        Definition::FragmentDefinition(node) => all.executable.push(span(file, node.location(), sources)),
        Definition::DirectiveDefinition(node) => all.directives.push(In { file, node }),
        Definition::SchemaDefinition(node) => {
            all.schema_directives.extend(node.directives.iter().map(within));
            all.root_operations.extend(node.root_operations.iter().map(|node| In { file, node }));
        }
        Definition::SchemaExtension(node) => {
            all.schema_directives.extend(node.directives.iter().map(within));
            all.root_operations.extend(node.root_operations.iter().map(|node| In { file, node }));
        }
        Definition::ScalarTypeDefinition(node) => all.scalars.push(In { file, node }),
        Definition::ScalarTypeExtension(node) => all.scalar_extensions.push(In { file, node }),
        Definition::ObjectTypeDefinition(node) => {
            let object = object(&mut all.objects, &node.name, file);
            let first = (object.defined, object.span);
            if is_twice("type", first, &node.name, file, sources, faults) {
                return; // What it holds would only be declared twice again.
            }
            (object.defined, object.span) = (true, name_span(file, &node.name));
            object.description = node.description.as_ref();
            object.add(file, &node.directives, &node.fields, &node.implements_interfaces);
        }
        Definition::ObjectTypeExtension(node) => {
            let object = object(&mut all.objects, &node.name, file);
            object.add(file, &node.directives, &node.fields, &node.implements_interfaces);
        }
        Definition::InterfaceTypeDefinition(node) => {
            let interface = object(&mut all.interfaces, &node.name, file);
            let first = (interface.defined, interface.span);
            if is_twice("interface", first, &node.name, file, sources, faults) {
                return;
            }
            (interface.defined, interface.span) = (true, name_span(file, &node.name));
            interface.description = node.description.as_ref();
            interface.add(file, &node.directives, &node.fields, &node.implements_interfaces);
        }
        Definition::InterfaceTypeExtension(node) => {
            let interface = object(&mut all.interfaces, &node.name, file);
            interface.add(file, &node.directives, &node.fields, &node.implements_interfaces);
        }
        Definition::UnionTypeDefinition(node) => {
            let union = union(all, &node.name, file);
            let first = (union.defined, union.span);
            if is_twice("union", first, &node.name, file, sources, faults) {
                return;
            }
            (union.defined, union.span) = (true, name_span(file, &node.name));
            union.description = node.description.as_ref();
            union.directives.extend(node.directives.iter().map(within));
            union.members.extend(node.members.iter().map(|node| In { file, node }));
        }
        Definition::UnionTypeExtension(node) => {
            let union = union(all, &node.name, file);
            union.directives.extend(node.directives.iter().map(within));
            union.members.extend(node.members.iter().map(|node| In { file, node }));
        }
        Definition::EnumTypeDefinition(node) => {
            let found = enumeration(all, &node.name, file);
            if is_twice("enum", (found.defined, found.span), &node.name, file, sources, faults) {
                return;
            }
            (found.defined, found.span) = (true, name_span(file, &node.name));
            found.description = node.description.as_ref();
            found.values.extend(node.values.iter().map(|node| In { file, node }));
        }
        Definition::EnumTypeExtension(node) => {
            let found = enumeration(all, &node.name, file);
            found.values.extend(node.values.iter().map(|node| In { file, node }));
        }
        Definition::InputObjectTypeDefinition(node) => all.inputs.push(In { file, node: &node.name }),
        Definition::InputObjectTypeExtension(node) => all.inputs.push(In { file, node: &node.name }),
    }
}

/// Whether a definition of that name was seen before; then that is a fault.
fn is_twice(
    what: &str,
    (is_defined, first): (bool, Span),
    name: &Name,
    file: FileId,
    sources: &Sources,
    faults: &mut Vec<Diagnostic>,
) -> bool {
    if is_defined {
        faults.push(twice(what, name, name_span(file, name), &place(first, sources)));
    }
    is_defined
}

impl<'a> ObjectDeclaration<'a> {
    fn add(
        &mut self,
        file: FileId,
        directives: &'a ast::DirectiveList,
        fields: &'a [Node<ast::FieldDefinition>],
        implements: &'a [Name],
    ) {
        self.directives.extend(directives.iter().map(|node| In { file, node }));
        self.fields.extend(fields.iter().map(|node| In { file, node }));
        self.implements.extend(implements.iter().map(|node| In { file, node }));
    }
}

fn object<'m, 'a>(
    all: &'m mut Vec<ObjectDeclaration<'a>>,
    name: &'a Name,
    file: FileId,
) -> &'m mut ObjectDeclaration<'a> {
    if let Some(index) = all.iter().position(|object| object.name == name) {
        return &mut all[index];
    }
    all.push(ObjectDeclaration {
        name,
        span: name_span(file, name),
        directives: Vec::new(),
        fields: Vec::new(),
        implements: Vec::new(),
        defined: false,
        description: None,
    });
    all.last_mut().expect("one was pushed")
}

fn union<'m, 'a>(
    all: &'m mut Declarations<'a>,
    name: &'a Name,
    file: FileId,
) -> &'m mut UnionDeclaration<'a> {
    if let Some(index) = all.unions.iter().position(|union| union.name == name) {
        return &mut all.unions[index];
    }
    all.unions.push(UnionDeclaration {
        name,
        span: name_span(file, name),
        directives: Vec::new(),
        members: Vec::new(),
        defined: false,
        description: None,
    });
    all.unions.last_mut().expect("one was pushed")
}

fn enumeration<'m, 'a>(
    all: &'m mut Declarations<'a>,
    name: &'a Name,
    file: FileId,
) -> &'m mut EnumDeclaration<'a> {
    if let Some(index) = all.enums.iter().position(|found| found.name == name) {
        return &mut all.enums[index];
    }
    all.enums.push(EnumDeclaration {
        name,
        span: name_span(file, name),
        values: Vec::new(),
        defined: false,
        description: None,
    });
    all.enums.last_mut().expect("one was pushed")
}

/// The fault of a name that is declared a second time.
pub(super) fn twice(what: &str, name: &str, span: Span, first: &str) -> Diagnostic {
    Diagnostic::error("S002", span, format!("the {what} `{name}` is declared twice"))
        .label("declared again here")
        .help(format!("The first is at {first}. Remove one, or give it another name."))
}

/// A place as text: `schema/shop.graphql:3:6`.
pub(super) fn place(span: Span, sources: &Sources) -> String {
    let (line, column) = sources.line_column(span);
    format!("{}:{line}:{column}", sources.file(span.file).path)
}

/// Where a name stands.
pub(super) fn name_span(file: FileId, name: &Name) -> Span {
    match name.location() {
        Some(location) => Span { file, start: offset(location.offset()), end: offset(location.end_offset()) },
        None => Span { file, start: 0, end: 0 },
    }
}

/// Where a node stands, without the blanks and comments that follow it.
pub(super) fn span(file: FileId, location: Option<SourceSpan>, sources: &Sources) -> Span {
    match location {
        Some(location) => whole(file, location, &sources.file(file).text),
        None => Span { file, start: 0, end: 0 },
    }
}

fn whole(file: FileId, location: SourceSpan, text: &str) -> Span {
    let (start, end) = (location.offset(), location.end_offset().min(text.len()));
    let end = text.get(start..end).map_or(end, |node| start + significant_len(node));
    Span { file, start: offset(start), end: offset(end) }
}

fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// Length of a piece of SDL up to the end of its last token: blanks, commas and comments at its end do not count.
pub(super) fn significant_len(text: &str) -> usize {
    let bytes = text.as_bytes();
    let (mut at, mut end) = (0, 0);
    while at < bytes.len() {
        match bytes[at] {
            b'#' => at += line_len(&bytes[at..]),
            b'"' => {
                at += string_len(&bytes[at..]);
                end = at;
            }
            b' ' | b'\t' | b'\n' | b'\r' | b',' => at += 1,
            _ => {
                at += 1;
                end = at;
            }
        }
    }
    end
}

fn line_len(bytes: &[u8]) -> usize {
    bytes.iter().position(|&byte| byte == b'\n').unwrap_or(bytes.len())
}

/// Length of the string or block string that begins here.
pub(super) fn string_len(bytes: &[u8]) -> usize {
    let block = bytes.starts_with(b"\"\"\"");
    let quote: &[u8] = if block { b"\"\"\"" } else { b"\"" };
    let mut at = quote.len();
    while at < bytes.len() {
        if bytes[at..].starts_with(b"\\\"\"\"") && block {
            at += 4;
        } else if bytes[at] == b'\\' && !block {
            at += 2;
        } else if bytes[at..].starts_with(quote) {
            return at + quote.len();
        } else {
            at += 1;
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_and_comments_behind_a_node_do_not_belong_to_it() {
        for (text, end) in [
            ("@a(b: \"# no\") # c\n  ", 13),
            ("@a", 2),
            ("@a(b: \"\"\"x \"y\" \\\"\"\" \"\"\"), ", 24),
            ("  # only\n", 0),
            ("@a(b: \"\\\"\") #\"", 11),
        ] {
            assert_eq!(significant_len(text), end, "{text}");
        }
    }

    #[test]
    fn the_faults_of_all_files_are_found_at_once() {
        let mut sources = Sources::default();
        let files = [
            sources.add("a.graphql", "type A {"),
            sources.add("b.graphql", "type B { x: }"),
            sources.add("c.graphql", "scalar C"),
        ];
        let mut faults = Vec::new();
        let parsed = parse(&files, &sources, &mut faults);
        assert_eq!(parsed.len(), 1);
        assert!(faults.iter().any(|fault| fault.span.is_some_and(|span| span.file == files[0])));
        assert!(faults.iter().any(|fault| fault.span.is_some_and(|span| span.file == files[1])));
    }
}
