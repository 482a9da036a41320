//! How a finding is mended: the change of the author's text as data.
//!
//! Comes in: findings and the files they point into. Goes out: the files' new texts; nothing is written here. A change
//! that does not fit the text any more, or would overlap another, is left out.

use super::{Diagnostic, FileId, Sources, Span};

/// A change of the author's text that mends a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fix {
    /// Where to look for `found`.
    within: Span,
    /// What is replaced: the only place in `within` where it stands as a word. Empty: nothing, the text is put at the
    /// place's start.
    found: String,
    replacement: String,
}

/// A [`Fix`] in the text as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// What goes; empty where only something comes.
    pub span: Span,
    pub replacement: String,
}

impl Fix {
    /// Text put before a place.
    pub fn insert(file: FileId, at: u32, text: impl Into<String>) -> Fix {
        let within = Span { file, start: at, end: at };
        Fix { within, found: String::new(), replacement: text.into() }
    }

    /// Another word for the only `found` in a place.
    pub fn replace(within: Span, found: impl Into<String>, replacement: impl Into<String>) -> Fix {
        Fix { within, found: found.into(), replacement: replacement.into() }
    }

    /// Where exactly it changes the text; `None` where the text has no such place, or several.
    pub fn edit(&self, sources: &Sources) -> Option<Edit> {
        let text = sources.file(self.within.file).text.get(self.within.start as usize..)?;
        let text = text.get(..(self.within.end - self.within.start) as usize)?;
        if self.found.is_empty() {
            return Some(Edit { span: self.within, replacement: self.replacement.clone() });
        }
        let part = |letter: char| letter.is_alphanumeric() || letter == '_';
        let stands_alone = |start: usize| {
            let is_part = |letter: Option<char>| letter.is_some_and(part);
            !is_part(text[..start].chars().next_back())
                && !is_part(text[start + self.found.len()..].chars().next())
        };
        let mut places = text.match_indices(&self.found).map(|(at, _)| at).filter(|at| stands_alone(*at));
        let (at, None) = (places.next()?, places.next()) else { return None };
        let start = self.within.start + u32::try_from(at).ok()?;
        let end = start + u32::try_from(self.found.len()).ok()?;
        let span = Span { start, end, ..self.within };
        Some(Edit { span, replacement: self.replacement.clone() })
    }
}

/// The new texts of all files that the findings' fixes change, and the findings that are mended by it. Of two changes
/// that meet in one place the first is made; the other may follow when the new texts were checked.
pub fn mended<'d>(
    findings: impl Iterator<Item = &'d Diagnostic>,
    sources: &Sources,
) -> (Vec<(FileId, String)>, Vec<&'d Diagnostic>) {
    let mut edits: Vec<Edit> = Vec::new();
    let mut mended = Vec::new();
    for finding in findings {
        let Some(edit) = finding.fix.as_ref().and_then(|fix| fix.edit(sources)) else { continue };
        let is_same = edits.contains(&edit);
        if is_same || !edits.iter().any(|other| meet(other.span, edit.span)) {
            mended.push(finding);
            edits.extend((!is_same).then_some(edit));
        }
    }
    // From behind, so that the places before stay where they are.
    edits.sort_by_key(|edit| (edit.span.file, std::cmp::Reverse(edit.span.start)));
    let mut texts: Vec<(FileId, String)> = Vec::new();
    for edit in edits {
        let file = edit.span.file;
        if texts.last().is_none_or(|(last, _)| *last != file) {
            texts.push((file, sources.file(file).text.to_string()));
        }
        let (_, text) = texts.last_mut().expect("one was pushed");
        text.replace_range(edit.span.start as usize..edit.span.end as usize, &edit.replacement);
    }
    (texts, mended)
}

/// Whether two places have a letter in common, or begin at the same one.
fn meet(a: Span, b: Span) -> bool {
    a.file == b.file && (a.start == b.start || (a.start < b.end && b.start < a.end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> (Sources, Span) {
        let mut sources = Sources::default();
        let file = sources.add("a.graphql", text);
        (sources, Span { file, start: 0, end: u32::try_from(text.len()).expect("is short") })
    }

    fn finding(span: Span, fix: Fix) -> Diagnostic {
        Diagnostic::error("S001", span, "a fault").fix(Some(fix))
    }

    #[test]
    fn a_word_is_replaced_where_it_stands_alone_and_once() {
        let replaced = |text: &str| {
            let (sources, all) = of(text);
            let edit = Fix::replace(all, "ab", "x").edit(&sources)?;
            Some((edit.span.start, edit.span.end))
        };
        assert_eq!(replaced("é ab(abc)"), Some((3, 5)));
        assert_eq!(replaced("ab ab"), None, "which one?");
        assert_eq!(replaced("abc aab _ab"), None);
        assert_eq!(replaced(""), None);
    }

    #[test]
    fn changes_that_meet_are_left_for_the_next_round_and_equal_ones_made_once() {
        let (sources, all) = of("one two three");
        let fixes = [
            Fix::replace(all, "two", "2"),
            Fix::replace(Span { start: 4, end: 13, ..all }, "two three", "23"),
            Fix::insert(all.file, 13, "!"),
            Fix::insert(all.file, 13, "!"),
            Fix::insert(all.file, 13, "?"),
            Fix::insert(all.file, 99, "?"),
        ];
        let findings: Vec<Diagnostic> = fixes.into_iter().map(|fix| finding(all, fix)).collect();
        let (texts, done) = mended(findings.iter(), &sources);
        assert_eq!(texts, [(all.file, "one 2 three!".to_owned())]);
        assert_eq!(done.len(), 3);
    }
}
