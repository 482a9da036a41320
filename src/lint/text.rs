//! Where the parts of a field stand in the author's text, for changes that mend it.
//!
//! Comes in: the place of a field's name. Goes out: the places of its type and directives, or nothing where the text
//! is not as plain as that: a comment between, arguments of its own.

use crate::diagnostic::{Sources, Span};

/// A field as it is written.
pub(super) struct FieldText<'t> {
    pub ty: Span,
    /// Name of each directive, and where its list of arguments closes; `None` where it has none.
    pub directives: Vec<(&'t str, Option<u32>)>,
}

/// The field whose name stands at a place.
pub(super) fn field(sources: &Sources, name: Span) -> Option<FieldText<'_>> {
    let text = sources.file(name.file).text.get(..)?;
    let mut at = Cursor { text, at: name.end as usize };
    at.blanks();
    at.sign(':')?;
    at.blanks();
    let start = at.at;
    at.skip(|letter| is_word(letter) || matches!(letter, '[' | ']' | '!'));
    let ty = Span { start: place(start)?, end: place(at.at)?, ..name };
    let mut directives = Vec::new();
    loop {
        at.blanks();
        if at.sign('@').is_none() {
            break;
        }
        let from = at.at;
        at.skip(is_word);
        let directive = text.get(from..at.at)?;
        at.blanks();
        let close = if at.sign('(').is_some() { Some(place(at.close()?)?) } else { None };
        directives.push((directive, close));
    }
    (ty.end > ty.start).then_some(FieldText { ty, directives })
}

fn place(at: usize) -> Option<u32> {
    u32::try_from(at).ok()
}

fn is_word(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_'
}

struct Cursor<'t> {
    text: &'t str,
    at: usize,
}

impl Cursor<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn skip(&mut self, goes_on: impl Fn(char) -> bool) {
        let rest = self.rest();
        self.at += rest.find(|letter| !goes_on(letter)).unwrap_or(rest.len());
    }

    /// Blanks and commas, which mean the same.
    fn blanks(&mut self) {
        self.skip(|letter| letter.is_ascii_whitespace() || letter == ',');
    }

    fn sign(&mut self, sign: char) -> Option<()> {
        self.rest().starts_with(sign).then(|| self.at += sign.len_utf8())
    }

    /// Passes the bracket that closes the one before, and what stands between; answers where it is.
    fn close(&mut self) -> Option<usize> {
        let mut depth = 1;
        while let Some(letter) = self.rest().chars().next() {
            self.at += letter.len_utf8();
            match letter {
                '"' => self.text_end()?,
                '#' => return None,
                '(' => depth += 1,
                ')' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return Some(self.at - 1);
            }
        }
        None
    }

    /// Passes a quoted text; a block text is not passed.
    fn text_end(&mut self) -> Option<()> {
        if self.rest().starts_with("\"\"") {
            return None;
        }
        while let Some(letter) = self.rest().chars().next() {
            self.at += letter.len_utf8();
            match letter {
                '"' => return Some(()),
                '\\' => self.at += self.rest().chars().next()?.len_utf8(),
                _ => {}
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Found = (String, Vec<(String, Option<u32>)>);

    fn of(text: &str) -> Option<Found> {
        let mut sources = Sources::default();
        let file = sources.add("a.graphql", text);
        let found = field(&sources, Span { file, start: 0, end: 1 })?;
        let ty = text[found.ty.start as usize..found.ty.end as usize].to_owned();
        Some((ty, found.directives.into_iter().map(|(name, end)| (name.to_owned(), end)).collect()))
    }

    #[test]
    fn type_and_directives_of_a_plain_field_are_found() {
        assert_eq!(of("x: [Int!]! }"), Some(("[Int!]!".to_owned(), vec![])));
        let directives = vec![("a".to_owned(), None), ("column".to_owned(), Some(25))];
        assert_eq!(of("x :Int,@a\n@column(as: \")\") y: Int"), Some(("Int".to_owned(), directives)));
    }

    #[test]
    fn what_is_not_plain_is_left_alone() {
        for text in [
            "x",
            "x(a: Int): Int",
            "x # no\n: Int",
            "x: Int @a(",
            "x: Int @a(\"",
            "x: Int @a(\"\"\")\"\"\")",
            "x: ",
        ] {
            assert_eq!(of(text), None, "{text}");
        }
    }
}
