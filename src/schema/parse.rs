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

/// A type with its extensions, whatever files they stand in.
pub(super) struct ObjectDeclaration<'a> {
    pub name: &'a Name,
    /// The name, where the type is first written.
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

/// Everything that the files declare, by kind, in order of first appearance.
#[derive(Default)]
pub(super) struct Declarations<'a> {
    pub objects: Vec<ObjectDeclaration<'a>>,
    pub enums: Vec<EnumDeclaration<'a>>,
    pub scalars: Vec<In<'a, Node<ast::ScalarTypeDefinition>>>,
    pub inputs: Vec<In<'a, Name>>,
    pub interfaces: Vec<In<'a, Node<ast::InterfaceTypeDefinition>>>,
    pub unions: Vec<In<'a, Node<ast::UnionTypeDefinition>>>,
    /// Extensions of interfaces and unions, which are refused.
    pub extended: Vec<In<'a, Name>>,
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
        Definition::ScalarTypeExtension(_) => {}
        Definition::ObjectTypeDefinition(node) => {
            let object = object(all, &node.name, file);
            if object.defined {
                let place = place(object.span, sources);
                faults.push(twice("type", &node.name, name_span(file, &node.name), &place));
                return; // What it holds would only be declared twice again.
            }
            object.defined = true;
            object.description = node.description.as_ref();
            object.directives.extend(node.directives.iter().map(within));
            object.fields.extend(node.fields.iter().map(|node| In { file, node }));
            object.implements.extend(node.implements_interfaces.iter().map(|node| In { file, node }));
        }
        Definition::ObjectTypeExtension(node) => {
            let object = object(all, &node.name, file);
            object.directives.extend(node.directives.iter().map(within));
            object.fields.extend(node.fields.iter().map(|node| In { file, node }));
            object.implements.extend(node.implements_interfaces.iter().map(|node| In { file, node }));
        }
        Definition::EnumTypeDefinition(node) => {
            let found = enumeration(all, &node.name, file);
            if found.defined {
                let place = place(found.span, sources);
                faults.push(twice("enum", &node.name, name_span(file, &node.name), &place));
                return;
            }
            found.defined = true;
            found.description = node.description.as_ref();
            found.values.extend(node.values.iter().map(|node| In { file, node }));
        }
        Definition::EnumTypeExtension(node) => {
            let found = enumeration(all, &node.name, file);
            found.values.extend(node.values.iter().map(|node| In { file, node }));
        }
        Definition::InterfaceTypeDefinition(node) => all.interfaces.push(In { file, node }),
        Definition::InterfaceTypeExtension(node) => all.extended.push(In { file, node: &node.name }),
        Definition::UnionTypeDefinition(node) => all.unions.push(In { file, node }),
        Definition::UnionTypeExtension(node) => all.extended.push(In { file, node: &node.name }),
        Definition::InputObjectTypeDefinition(node) => all.inputs.push(In { file, node: &node.name }),
        Definition::InputObjectTypeExtension(node) => all.inputs.push(In { file, node: &node.name }),
    }
}

fn object<'m, 'a>(
    all: &'m mut Declarations<'a>,
    name: &'a Name,
    file: FileId,
) -> &'m mut ObjectDeclaration<'a> {
    if let Some(index) = all.objects.iter().position(|object| object.name == name) {
        return &mut all.objects[index];
    }
    all.objects.push(ObjectDeclaration {
        name,
        span: name_span(file, name),
        directives: Vec::new(),
        fields: Vec::new(),
        implements: Vec::new(),
        defined: false,
        description: None,
    });
    all.objects.last_mut().expect("one was pushed")
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
