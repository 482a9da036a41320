//! Advice for a name that is not known: the one that was probably meant, or all that there are. Knows nothing of
//! what the names mean.

use super::yaml::{Entry, Text};
use crate::diagnostic::{Diagnostic, nearest};

/// A fault for each key that is not known there; `what` names the place, and `code` is that of the file's kind.
pub fn unknown_keys(code: &'static str, what: &str, entries: &[Entry], known: &[&str]) -> Vec<Diagnostic> {
    let unknown = entries.iter().map(|entry| &entry.key).filter(|key| !known.contains(&key.text.as_str()));
    let fault = |key: &Text| {
        let message = format!("{what} has no key `{}`", key.text);
        let fault = Diagnostic::error(code, key.span, message);
        fault.help(advice(&key.text, known.iter().copied())).fix_name(&key.text, known.iter().copied())
    };
    unknown.map(fault).collect()
}

/// Advice for a name that is not known: the nearest, or all of them.
pub fn advice<'k>(found: &str, known: impl IntoIterator<Item = &'k str> + Clone) -> String {
    if let Some(name) = nearest(found, known.clone().into_iter()) {
        return format!("did you mean `{name}`?");
    }
    let all: Vec<String> = known.into_iter().map(|name| format!("`{name}`")).collect();
    if all.is_empty() { "there is none".to_owned() } else { format!("known: {}", all.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_word_and_nonsense_finds_none() {
        let known = ["create", "update", "upsert", "replace"];
        assert_eq!(advice("udpate", known), "did you mean `update`?");
        assert_eq!(advice("zzzzzz", known), "known: `create`, `update`, `upsert`, `replace`");
    }
}
