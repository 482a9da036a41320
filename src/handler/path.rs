//! The paths that cases assign to: `column`, `column.part`, `column[key]`, `column[key].part`.
//!
//! Comes in: the text of a path. Goes out: its pieces, each with its place, or nothing where it is no path. Whether the
//! pieces name anything is `assign`'s.

use super::steps::is_name;
use super::yaml::Text;
use crate::diagnostic::Span;

/// A path in pieces.
pub struct Path {
    pub column: Text,
    /// What stands in the brackets.
    pub key: Option<Text>,
    /// Names behind the dots.
    pub parts: Vec<Text>,
}

impl Path {
    /// Cuts a text at its brackets and dots.
    pub fn of(path: &Text) -> Option<Path> {
        let text = path.text.as_str();
        let end_of_column = text.find(['[', '.']).unwrap_or(text.len());
        let column = name(path, 0, end_of_column)?;
        let (key, rest) = match text[end_of_column..].starts_with('[') {
            true => {
                let close = text.rfind(']')?;
                if close <= end_of_column + 1 {
                    return None;
                }
                (Some(piece(path, end_of_column + 1, close)), close + 1)
            }
            false => (None, end_of_column),
        };
        let mut parts = Vec::new();
        let mut at = rest;
        while at < text.len() {
            let start = at + 1;
            if !text[at..].starts_with('.') {
                return None;
            }
            at = text[start..].find('.').map_or(text.len(), |dot| start + dot);
            parts.push(name(path, start, at)?);
        }
        Some(Path { column, key, parts })
    }
}

fn name(path: &Text, start: usize, end: usize) -> Option<Text> {
    is_name(&path.text[start..end]).then(|| piece(path, start, end))
}

fn piece(path: &Text, start: usize, end: usize) -> Text {
    let span = if path.exact {
        let at = |byte: usize| path.span.start + u32::try_from(byte).unwrap_or(0);
        Span { start: at(start), end: at(end), ..path.span }
    } else {
        path.span
    };
    let places = path.places.get(start..=end).map(<[u32]>::to_vec).unwrap_or_default();
    Text { text: path.text[start..end].to_owned(), span, exact: path.exact, places, quoted: path.quoted }
}
