//! Findings as SARIF 2.1.0, which code hosts show beside the lines.
//!
//! Comes in: findings, the files they point into, and what is known of the rules. Goes out: one log with one run.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Diagnostic, Severity, Sources, Span, sorted};

/// What SARIF says of a rule beside its findings.
#[derive(Clone, Copy, Debug)]
pub struct RuleText {
    pub code: &'static str,
    pub name: &'static str,
    pub because: &'static str,
    pub severity: Severity,
}

/// A log with one run. `root` stands before every path: the project's directory as seen from where the log is read.
pub fn sarif(diagnostics: &[Diagnostic], sources: &Sources, rules: &[RuleText], root: &str) -> Value {
    let mut codes: BTreeMap<&str, Value> =
        diagnostics.iter().map(|found| (found.code, json!({ "id": found.code }))).collect();
    for rule in rules {
        let told = json!({
            "id": rule.code,
            "shortDescription": { "text": rule.name },
            "fullDescription": { "text": rule.because },
            "defaultConfiguration": { "level": level(rule.severity) },
        });
        codes.insert(rule.code, told);
    }
    let places = Places { sources, root };
    let index = |code: &str| codes.keys().position(|known| *known == code);
    let results: Vec<Value> = sorted(diagnostics, sources)
        .into_iter()
        .map(|found| places.result(found, index(found.code)))
        .collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "kinora",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": codes.values().collect::<Vec<_>>(),
            } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

struct Places<'a> {
    sources: &'a Sources,
    root: &'a str,
}

impl Places<'_> {
    fn result(&self, found: &Diagnostic, rule: Option<usize>) -> Value {
        let advice = found.help.iter().map(|help| format!("\n{help}"));
        let text = std::iter::once(found.message.clone()).chain(advice).collect::<String>();
        let mut result = json!({
            "ruleId": found.code,
            "ruleIndex": rule,
            "level": level(found.severity),
            "message": { "text": text },
        });
        if let Some(span) = found.span {
            result["locations"] = json!([{ "physicalLocation": {
                "artifactLocation": self.file(span),
                "region": self.region(span),
            } }]);
        }
        if let Some(edit) = found.fix.as_ref().and_then(|fix| fix.edit(self.sources)) {
            result["fixes"] = json!([{
                "description": { "text": found.help.as_deref().unwrap_or(&found.message) },
                "artifactChanges": [{
                    "artifactLocation": self.file(edit.span),
                    "replacements": [{
                        "deletedRegion": self.region(edit.span),
                        "insertedContent": { "text": edit.replacement },
                    }],
                }],
            }]);
        }
        result
    }

    fn file(&self, span: Span) -> Value {
        let path = &self.sources.file(span.file).path;
        let whole = match self.root {
            "" => path.clone(),
            root => format!("{}/{path}", root.trim_end_matches('/')),
        };
        json!({ "uri": escaped(&whole) })
    }

    fn region(&self, span: Span) -> Value {
        let (start, end) =
            (self.sources.line_column(span), self.sources.line_column(Span { start: span.end, ..span }));
        json!({ "startLine": start.0, "startColumn": start.1, "endLine": end.0, "endColumn": end.1 })
    }
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "note",
    }
}

/// A path as a relative URI: bytes that have a meaning there, or none, are escaped.
fn escaped(path: &str) -> String {
    let mut out = String::new();
    for byte in path.replace('\\', "/").bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Fix;

    #[test]
    fn a_log_has_every_rule_and_for_each_result_level_region_and_fix() {
        let mut sources = Sources::default();
        let file = sources.add("schema/a b.graphql", "type Ä {\n  ü: Strin\n}\n");
        let span = Span { file, start: 16, end: 21 };
        let faults = [
            Diagnostic::error("S020", span, "no type is named `Strin`")
                .help("Did you mean `String`?")
                .fix(Some(Fix::replace(span, "Strin", "String"))),
            Diagnostic { span: None, ..Diagnostic::warning("L05", span, "few") },
        ];
        let rule = RuleText { code: "L05", name: "few", because: "Why.", severity: Severity::Warning };
        let log = sarif(&faults, &sources, &[rule], "sub/");
        assert_eq!(log["version"], "2.1.0");
        let run = &log["runs"][0];
        let results = run["results"].as_array().expect("is a list");
        for result in results {
            let index = result["ruleIndex"].as_u64().expect("is a number") as usize;
            assert_eq!(run["tool"]["driver"]["rules"][index]["id"], result["ruleId"]);
        }
        let place = json!({ "uri": "sub/schema/a%20b.graphql" });
        let region = json!({ "startLine": 2, "startColumn": 6, "endLine": 2, "endColumn": 11 });
        assert_eq!(
            results[1],
            json!({
                "ruleId": "S020",
                "ruleIndex": 1,
                "level": "error",
                "message": { "text": "no type is named `Strin`\nDid you mean `String`?" },
                "locations": [{ "physicalLocation": { "artifactLocation": place, "region": region } }],
                "fixes": [{
                    "description": { "text": "Did you mean `String`?" },
                    "artifactChanges": [{ "artifactLocation": place, "replacements": [{
                        "deletedRegion": region, "insertedContent": { "text": "String" },
                    }] }],
                }],
            })
        );
        assert_eq!(results[0]["level"], "warning");
        assert!(results[0].get("locations").is_none());
    }
}
