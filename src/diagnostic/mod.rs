//! Faults of definitions and settings, with the place in the author's text.
//!
//! Every reader of an author's file returns its faults as values, all of them at once; only `cli`
//! and `serve` show them. A diagnostic has a code, the place, what was found and expected, and advice.
//!
//! Comes in: findings and the files they point into. Goes out: [`render`]ed text for a person, or JSON or SARIF for a
//! tool, and with [`mended`] the texts that fixes make.

mod difference;
mod fix;
mod sarif;

use std::fmt::{self, Write as _};
use std::sync::Arc;

use serde_json::json;

pub use difference::difference;
pub use fix::{Edit, Fix, mended};
pub use sarif::{RuleText, sarif};

/// Number of a file in [`Sources`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub u32);

/// A range of bytes in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Span {
    pub file: FileId,
    pub start: u32,
    pub end: u32,
}

/// A file of the author's, as it was read.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// Path below the project's directory, with `/`.
    pub path: String,
    pub text: Arc<str>,
}

/// All files that a check has read, so that a [`Span`] can be shown.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    files: Vec<SourceFile>,
}

impl Sources {
    /// Adds a file; its number is what spans into it carry.
    pub fn add(&mut self, path: impl Into<String>, text: impl Into<Arc<str>>) -> FileId {
        let id = FileId(u32::try_from(self.files.len()).expect("fewer than 2^32 files are read"));
        self.files.push(SourceFile { path: path.into(), text: text.into() });
        id
    }

    /// The file with that number.
    pub fn file(&self, id: FileId) -> &SourceFile {
        &self.files[id.0 as usize]
    }

    /// All files in the order in which they were read.
    pub fn files(&self) -> &[SourceFile] {
        &self.files
    }

    /// Line and column, both from 1, of a span's start. Columns count characters.
    pub fn line_column(&self, span: Span) -> (usize, usize) {
        let text = &self.file(span.file).text;
        let before = &text[..(span.start as usize).min(text.len())];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        (line, column)
    }
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The definitions cannot run.
    Error,
    Warning,
    Info,
}

/// One finding of `check`.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    /// `S…` schema, `P…` projection, `E…` expression, `C…` settings, `T…` cases, `L…` lint.
    pub code: &'static str,
    pub severity: Severity,
    /// One sentence: what is wrong, with the values.
    pub message: String,
    /// The text to underline.
    pub span: Option<Span>,
    /// What stands under the underline: what was found or expected.
    pub label: String,
    /// What to do.
    pub help: Option<String>,
    /// The change of the text that does it, where there is one that is surely meant.
    pub fix: Option<Box<Fix>>,
}

impl Diagnostic {
    /// An error at a place.
    pub fn error(code: &'static str, span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic {
            code,
            severity: Severity::Error,
            message: message.into(),
            span: Some(span),
            label: String::new(),
            help: None,
            fix: None,
        }
    }

    /// A warning at a place.
    pub fn warning(code: &'static str, span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic { severity: Severity::Warning, ..Diagnostic::error(code, span, message) }
    }

    /// Says what stands under the underline.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Diagnostic {
        self.label = label.into();
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Diagnostic {
        self.help = Some(help.into());
        self
    }

    /// Says what change of the text does it.
    #[must_use]
    pub fn fix(mut self, fix: Option<Fix>) -> Diagnostic {
        self.fix = fix.map(Box::new);
        self
    }

    /// A wrong name is mended by the nearest that there is, unless another is as near.
    #[must_use]
    pub fn fix_name<'n>(self, name: &str, candidates: impl Iterator<Item = &'n str>) -> Diagnostic {
        let meant = self.span.zip(surely(name, candidates));
        let fix = meant.map(|(within, meant)| Fix::replace(within, name, meant));
        self.fix(fix)
    }
}

impl Severity {
    /// The word for it, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info => "info",
        }
    }
}

/// All findings for a person: the source line underlined, what was found, advice; last a line that counts them.
/// Sorted by file and place. Empty if there are none.
pub fn render(diagnostics: &[Diagnostic], sources: &Sources, color: bool) -> String {
    let mut text = String::new();
    for diagnostic in sorted(diagnostics, sources) {
        render_one(diagnostic, sources, color, &mut text);
    }
    if !diagnostics.is_empty() {
        text.push_str(&count_line(diagnostics));
        text.push('\n');
    }
    text
}

/// Each finding for a person, as in [`render`], without colours and without counting them.
pub fn render_each(diagnostics: &[Diagnostic], sources: &Sources) -> Vec<String> {
    let one = |diagnostic| {
        let mut text = String::new();
        render_one(diagnostic, sources, false, &mut text);
        text.trim_end().to_owned()
    };
    sorted(diagnostics, sources).into_iter().map(one).collect()
}

/// All findings for a tool, as a JSON array in the order of [`render`]. Lines and columns count from 1, columns in
/// characters; the end is the first character after the place. `file`, `line` and so on are null without a place, `fix`
/// without a change that mends it.
pub fn to_json(diagnostics: &[Diagnostic], sources: &Sources) -> serde_json::Value {
    let one = |diagnostic: &Diagnostic| {
        let start = diagnostic.span.map(|span| sources.line_column(span));
        let end = diagnostic.span.map(|span| sources.line_column(Span { start: span.end, ..span }));
        json!({
            "code": diagnostic.code,
            "severity": diagnostic.severity.name(),
            "file": diagnostic.span.map(|span| sources.file(span.file).path.clone()),
            "line": start.map(|place| place.0),
            "column": start.map(|place| place.1),
            "endLine": end.map(|place| place.0),
            "endColumn": end.map(|place| place.1),
            "message": diagnostic.message,
            "label": diagnostic.label,
            "help": diagnostic.help,
            "fix": diagnostic.fix.as_ref().and_then(|fix| fix.edit(sources)).map(|edit| edit_json(&edit, sources)),
        })
    };
    sorted(diagnostics, sources).into_iter().map(one).collect()
}

fn edit_json(edit: &Edit, sources: &Sources) -> serde_json::Value {
    let (start, end) =
        (sources.line_column(edit.span), sources.line_column(Span { start: edit.span.end, ..edit.span }));
    json!({
        "file": sources.file(edit.span.file).path.clone(),
        "line": start.0,
        "column": start.1,
        "endLine": end.0,
        "endColumn": end.1,
        "replacement": edit.replacement,
    })
}

/// The candidate that was most likely meant by `name`: the one with the fewest edits, at most a third of the name
/// (letter case does not count). `None` if none is near.
pub fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let wanted: Vec<char> = name.to_lowercase().chars().collect();
    let edits_max = (wanted.len() / 3).max(1);
    candidates
        .map(|candidate| (edits(&wanted, &candidate.to_lowercase()), candidate))
        .filter(|(edits, _)| *edits <= edits_max)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// The [`nearest`], unless another is as near.
fn surely<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let mut candidates: Vec<&str> = candidates.collect();
    let found = nearest(name, candidates.iter().copied())?;
    let wanted: Vec<char> = name.to_lowercase().chars().collect();
    let distance = |candidate: &str| edits(&wanted, &candidate.to_lowercase());
    candidates.retain(|candidate| *candidate != found);
    let is_only = candidates.into_iter().all(|other| distance(other) > distance(found));
    is_only.then_some(found)
}

/// Insertions, deletions, replacements and swaps of neighbours that make one text of the other.
fn edits(from: &[char], to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut rows = vec![vec![0; to.len() + 1]; from.len() + 1];
    for i in 0..=from.len() {
        for j in 0..=to.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let replaced = rows[i - 1][j - 1] + usize::from(from[i - 1] != to[j - 1]);
                let mut fewest = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                if i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1] {
                    fewest = fewest.min(rows[i - 2][j - 2] + 1);
                }
                fewest
            };
        }
    }
    rows[from.len()][to.len()]
}

/// By path, place and code; findings without a place come first.
fn sorted<'d>(diagnostics: &'d [Diagnostic], sources: &'d Sources) -> Vec<&'d Diagnostic> {
    let mut sorted: Vec<&Diagnostic> = diagnostics.iter().collect();
    sorted.sort_by_key(|diagnostic| {
        let place = diagnostic.span.map(|span| (sources.file(span.file).path.as_str(), span.start, span.end));
        (place, diagnostic.code)
    });
    sorted
}

fn count_line(diagnostics: &[Diagnostic]) -> String {
    let counted = |severity, one: &str, many: &str| match diagnostics
        .iter()
        .filter(|diagnostic| diagnostic.severity == severity)
        .count()
    {
        0 => None,
        1 => Some(format!("1 {one}")),
        count => Some(format!("{count} {many}")),
    };
    let counts = [
        counted(Severity::Error, "error", "errors"),
        counted(Severity::Warning, "warning", "warnings"),
        counted(Severity::Info, "remark", "remarks"),
    ];
    counts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// Columns of the rendered text. Fixed, so that the same findings give the same text everywhere.
const WIDTH: usize = 110;

fn render_one(diagnostic: &Diagnostic, sources: &Sources, color: bool, text: &mut String) {
    let theme =
        if color { miette::GraphicalTheme::unicode() } else { miette::GraphicalTheme::unicode_nocolor() };
    let source = diagnostic.span.map(|span| {
        let file = sources.file(span.file);
        Named { path: file.path.clone(), text: Arc::clone(&file.text) }
    });
    let report = Report { diagnostic, source };
    miette::GraphicalReportHandler::new_themed(theme)
        .with_width(WIDTH)
        .with_links(false)
        .render_report(text, &report)
        .expect("writing to a string succeeds");
    writeln!(text).expect("writing to a string succeeds");
}

/// A finding as `miette` wants it.
#[derive(Debug)]
struct Report<'d> {
    diagnostic: &'d Diagnostic,
    source: Option<Named>,
}

/// A file as `miette` wants it. Its own kind counts columns in bytes; everything here counts characters.
#[derive(Debug)]
struct Named {
    path: String,
    text: Arc<str>,
}

impl miette::SourceCode for Named {
    fn read_span<'a>(
        &'a self,
        span: &miette::SourceSpan,
        lines_before: usize,
        lines_after: usize,
    ) -> Result<Box<dyn miette::SpanContents<'a> + 'a>, miette::MietteError> {
        let found = self.text.read_span(span, lines_before, lines_after)?;
        let before = self.text.get(..found.span().offset()).unwrap_or("");
        let column = before.rsplit('\n').next().unwrap_or("").chars().count();
        let (data, at, line, lines) = (found.data(), *found.span(), found.line(), found.line_count());
        Ok(Box::new(miette::MietteSpanContents::new_named(self.path.clone(), data, at, line, column, lines)))
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.diagnostic.message)
    }
}

impl std::error::Error for Report<'_> {}

impl miette::Diagnostic for Report<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.diagnostic.code))
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.diagnostic.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
            Severity::Info => miette::Severity::Advice,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        let help = self.diagnostic.help.as_ref()?;
        Some(Box::new(help))
    }

    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        let source = self.source.as_ref()?;
        Some(source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = miette::LabeledSpan> + '_>> {
        let span = self.diagnostic.span?;
        let label = Some(self.diagnostic.label.clone()).filter(|label| !label.is_empty());
        let length = (span.end - span.start) as usize;
        Some(Box::new(std::iter::once(miette::LabeledSpan::new(label, span.start as usize, length))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_faults() -> (Vec<Diagnostic>, Sources) {
        let mut sources = Sources::default();
        let b = sources.add("schema/b.graphql", "type Ä {\n  ü: Strin\n}\n");
        let a = sources.add("schema/a.graphql", "type A");
        let at = |file, start, end| Span { file, start, end };
        let faults = vec![
            Diagnostic::error("S002", at(b, 16, 21), "no type is named `Strin`")
                .label("not declared")
                .help("did you mean `String`?"),
            Diagnostic::warning("S001", at(a, 0, 4), "a type without fields"),
        ];
        (faults, sources)
    }

    #[test]
    fn findings_are_sorted_underlined_and_counted() {
        let (faults, sources) = two_faults();
        let text = render(&faults, &sources, false);
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        assert!(lines[0].starts_with("S001"), "{text}");
        assert!(text.find("a.graphql") < text.find("b.graphql"), "{text}");
        assert!(text.contains("schema/b.graphql:2:6"), "{text}");
        assert!(text.contains("not declared"), "{text}");
        assert!(text.contains("did you mean `String`?"), "{text}");
        assert!(text.ends_with("1 error, 1 warning\n"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
        assert!(render(&faults, &sources, true).contains('\u{1b}'));
    }

    #[test]
    fn nothing_found_renders_as_nothing() {
        assert_eq!(render(&[], &Sources::default(), false), "");
    }

    #[test]
    fn a_finding_at_the_very_end_of_a_file_or_without_a_place_is_shown() {
        let mut sources = Sources::default();
        let file = sources.add("empty.graphql", "");
        let end = Diagnostic::error("S001", Span { file, start: 0, end: 0 }, "the file is empty");
        let nowhere = Diagnostic { span: None, ..end.clone() };
        let text = render(&[end, nowhere], &sources, false);
        assert_eq!(text.matches("the file is empty").count(), 2, "{text}");
        assert!(text.ends_with("2 errors\n"));
    }

    #[test]
    fn json_counts_lines_and_characters_from_one() {
        let (faults, sources) = two_faults();
        let json = to_json(&faults, &sources);
        assert_eq!(json[0]["severity"], "warning");
        let second = &json[1];
        assert_eq!(second["file"], "schema/b.graphql");
        assert_eq!((second["line"].as_u64(), second["column"].as_u64()), (Some(2), Some(6)));
        assert_eq!((second["endLine"].as_u64(), second["endColumn"].as_u64()), (Some(2), Some(11)));
        assert_eq!(second["help"], "did you mean `String`?");
    }

    #[test]
    fn the_nearest_name_is_found_within_a_third_of_the_letters() {
        let names = ["partition", "clustering", "name"];
        let near = |name| nearest(name, names.into_iter());
        assert_eq!(near("partiton"), Some("partition"));
        assert_eq!(near("Clusterign"), Some("clustering"));
        assert_eq!(near("nmae"), Some("name"));
        assert_eq!(near("zebra"), None);
    }
}
