//! Keys of entities, as `@key` and `@ref` write them: `id org { id }`.
//!
//! Comes in: the text of a field set. Goes out: paths of names, each with its place, or what is wrong with the text.
//! Knows no type: `table` and `reference` look the names up.

use super::columns::{Text, Token, Tokens};
use crate::diagnostic::{Diagnostic, Span};

/// Most fields inside each other in a key.
const DEPTH_MAX: usize = 8;

/// Names from the entity to the scalar, and where they stand.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Path {
    pub names: Vec<String>,
    pub span: Span,
}

impl Path {
    /// The path as a key writes it.
    pub fn shown(&self) -> String {
        shown(self.names.iter().map(String::as_str))
    }
}

/// `org { id }` of its names.
pub(super) fn shown<'n>(names: impl DoubleEndedIterator<Item = &'n str>) -> String {
    names.rev().fold(String::new(), |inner, name| match inner.is_empty() {
        true => name.to_string(),
        false => format!("{name} {{ {inner} }}"),
    })
}

/// Reads a whole field set, commas optional: at least one path.
///
/// # Errors
/// The first fault of the text, at its place.
pub(super) fn paths(text: &Text) -> Result<Vec<Path>, Box<Diagnostic>> {
    let mut tokens = Tokens::new(text);
    let mut found = Vec::new();
    while let Some(token) = tokens.next()? {
        if token.word != "," {
            found.extend(paths_from(text, token, &mut tokens, 1)?);
        }
    }
    if found.is_empty() {
        return Err(Diagnostic::error("S050", text.span, "this key names no field")
            .label("empty")
            .help("Name the fields that tell the rows apart: `@key(fields: \"id\")`.")
            .into());
    }
    Ok(found)
}

/// The paths that begin with a name: one, or as many as stand in its braces.
pub(super) fn paths_from(
    text: &Text,
    name: Token<'_>,
    tokens: &mut Tokens<'_>,
    depth: usize,
) -> Result<Vec<Path>, Box<Diagnostic>> {
    name.is_name(text, "a field")?;
    let span = text.at(name.start, name.end());
    if tokens.peek()?.is_none_or(|token| token.word != "{") {
        return Ok(vec![Path { names: vec![name.word.to_string()], span }]);
    }
    if depth == DEPTH_MAX {
        let message = format!("more than {DEPTH_MAX} fields stand inside each other in this key");
        return Err(Diagnostic::error("S050", span, message)
            .label("too deep")
            .help("Name a nearer field.")
            .into());
    }
    tokens.next()?;
    let mut found = Vec::new();
    loop {
        let token = tokens.expect("a field or `}`")?;
        match token.word {
            "}" => break,
            "," => {}
            _ => found.extend(paths_from(text, token, tokens, depth + 1)?),
        }
    }
    if found.is_empty() {
        let message = format!("nothing of `{}` is named", name.word);
        return Err(Diagnostic::error("S050", span, message)
            .label("empty braces")
            .help(format!("Name its key: `{} {{ id }}`.", name.word))
            .into());
    }
    for path in &mut found {
        path.names.insert(0, name.word.to_string());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::FileId;

    fn read(value: &str) -> String {
        let span = Span { file: FileId(0), start: 0, end: 99 };
        match paths(&Text { value: value.to_string(), span, verbatim: Some(10) }) {
            Ok(paths) => paths.iter().map(Path::shown).collect::<Vec<_>>().join(", "),
            Err(fault) => fault.message,
        }
    }

    #[test]
    fn nested_fields_are_paths_of_their_own() {
        assert_eq!(read("id"), "id");
        assert_eq!(
            read("id, org { id country { code } }\n sku"),
            "id, org { id }, org { country { code } }, sku"
        );
        for (wrong, fault) in [
            ("", "this key names no field"),
            ("org {}", "nothing of `org` is named"),
            ("org { id", "the text ends where a field or `}` should be"),
            ("org } id", "`}` stands where a field should be"),
            ("a(b)", "`(` stands where a field should be"),
            (
                "a { b { c { d { e { f { g { h { i } } } } } } } }",
                "more than 8 fields stand inside each other in this key",
            ),
        ] {
            assert_eq!(read(wrong), fault, "{wrong}");
        }
        assert_eq!(read("a { b { c { d { e { f { g { h } } } } } } }").matches('{').count(), 7);
    }
}
