//! Advice for a name that is not known: the one that was probably meant, or all that there are. Knows nothing of
//! what the names mean.

use crate::diagnostic::nearest;

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
