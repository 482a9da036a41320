//! What is printed, as text for a person or as JSON for a program.

use std::io::{IsTerminal, Write};
use std::path::Path;

use serde::Serialize;

use crate::cli::{Colour, Format};
use crate::diagnostic::{self, Diagnostic, RuleText, Sources};
use crate::lint::RULES;

/// How this process prints.
#[derive(Clone, Debug)]
pub struct Output {
    /// One JSON value on standard output instead of text.
    pub json: bool,
    /// Findings as SARIF on standard output; then `json` is not set.
    pub sarif: Option<String>,
    /// Whether text is coloured.
    pub colour: bool,
}

impl Output {
    pub(super) fn new(format: Format, project: &Path, colour: Colour) -> Output {
        let colour = match colour {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto => std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
        };
        let sarif = (format == Format::Sarif).then(|| root(project));
        Output { json: format == Format::Json, sarif, colour }
    }

    /// Prints a value: as JSON, or as the text that is made of it.
    pub fn value<T: Serialize>(&self, value: &T, text: impl FnOnce(&T) -> String) {
        if self.json {
            self.line(&serde_json::to_string_pretty(value).expect("what is shown has JSON"));
        } else {
            self.line(text(value).trim_end());
        }
    }

    /// Prints one of several values of a command that goes on, as JSON on a line of its own.
    pub fn event(&self, value: &serde_json::Value) {
        self.line(&value.to_string());
    }

    /// Prints findings with their source lines.
    pub fn findings(&self, findings: &[Diagnostic], sources: &Sources) {
        if let Some(root) = &self.sarif {
            let log = diagnostic::sarif(findings, sources, &rules(), root);
            self.line(&serde_json::to_string_pretty(&log).expect("what is shown has JSON"));
        } else if self.json {
            self.value(&diagnostic::to_json(findings, sources), |_| String::new());
        } else if !findings.is_empty() {
            self.line(diagnostic::render(findings, sources, self.colour).trim_end());
        }
    }

    /// Prints one error.
    pub fn error(&self, message: &str) {
        if self.json {
            self.line(&serde_json::json!({ "error": message }).to_string());
        } else {
            let mut stderr = std::io::stderr().lock();
            let _ = writeln!(stderr, "{} {message}", self.paint("error:", "31;1"));
        }
    }

    /// Prints a line. A reader that has gone away is no fault of ours.
    pub fn line(&self, text: &str) {
        self.try_line(text);
    }

    /// Prints a line; answers whether anybody reads still.
    pub fn try_line(&self, text: &str) -> bool {
        let mut stdout = std::io::stdout().lock();
        writeln!(stdout, "{text}").and_then(|()| stdout.flush()).is_ok()
    }

    /// The text in a colour, where colours are wanted.
    pub fn paint(&self, text: &str, code: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Whether long work may show a bar.
    pub fn bars(&self) -> bool {
        !self.json && self.sarif.is_none() && std::io::stderr().is_terminal()
    }
}

/// What stands before paths in a report: the project's directory, where it lies below the present one.
fn root(project: &Path) -> String {
    let is_below = project.is_relative() && !project.starts_with("..") && project != Path::new(".");
    if is_below { project.strip_prefix(".").unwrap_or(project).display().to_string() } else { String::new() }
}

/// The numbered rules as reports tell of them.
fn rules() -> Vec<RuleText> {
    let text = |rule: &crate::lint::Rule| RuleText {
        code: rule.code,
        name: rule.name,
        because: rule.because,
        severity: rule.severity,
    };
    RULES.iter().map(text).collect()
}
