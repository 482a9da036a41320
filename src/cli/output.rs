//! What is printed, as text for a person or as JSON for a program.

use std::io::{IsTerminal, Write};

use serde::Serialize;

use crate::cli::Colour;
use crate::diagnostic::{self, Diagnostic, Sources};

/// How this process prints.
#[derive(Clone, Debug)]
pub struct Output {
    /// One JSON value on standard output instead of text.
    pub json: bool,
    /// Whether text is coloured.
    pub colour: bool,
}

impl Output {
    pub(super) fn new(json: bool, colour: Colour) -> Output {
        let colour = match colour {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto => std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
        };
        Output { json, colour }
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
        if self.json {
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
        let mut stdout = std::io::stdout().lock();
        let _ = writeln!(stdout, "{text}");
        let _ = stdout.flush();
    }

    /// The text in a colour, where colours are wanted.
    pub fn paint(&self, text: &str, code: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Whether long work may show a bar.
    pub fn bars(&self) -> bool {
        !self.json && std::io::stderr().is_terminal()
    }
}
