//! Names: the snake case that tables and columns have in the store, and which names cannot be taken.
//!
//! Comes in: the author's names with their places. Goes out: faults. Names that begin with `_` are ours; two names
//! that are equal in snake case would be one column, so both places are shown.

use rustc_hash::FxHashMap;

use super::parse::place;
use crate::diagnostic::{Diagnostic, Sources, Span};

/// Most bytes of a name in snake case: Cassandra takes 48.
pub const NAME_BYTES_MAX: usize = 48;

/// What follows a table's name in that of the table of its buckets.
pub const BUCKETS: &str = "__buckets";

/// The column of the time of the last event that wrote a row.
pub const TIME: &str = "__time";

/// A name as the store writes it: `placedAt` becomes `placed_at`, `HTTPStatus` becomes `http_status`.
pub fn snake(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    let mut snake = String::with_capacity(name.len() + 4);
    for (index, &letter) in letters.iter().enumerate() {
        let before = index.checked_sub(1).map(|before| letters[before]);
        let next_is_lower = letters.get(index + 1).is_some_and(char::is_ascii_lowercase);
        let begins_word = match before {
            Some('_') | None => false,
            Some(before) if before.is_ascii_uppercase() => next_is_lower,
            Some(_) => true,
        };
        if letter.is_ascii_uppercase() && begins_word {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

/// Checks one name by itself.
pub(super) fn check(what: &str, name: &str, span: Span, faults: &mut Vec<Diagnostic>) {
    if name.starts_with('_') {
        faults.push(
            Diagnostic::error("S003", span, format!("the {what} `{name}` begins with `_`"))
                .label("reserved")
                .help("Names that begin with `_` are the engine's. Choose another name."),
        );
    }
    let stored = snake(name);
    if stored.len() > NAME_BYTES_MAX {
        let message = format!("the {what} `{name}` is too long: `{stored}` has {} bytes", stored.len());
        faults.push(
            Diagnostic::error("S004", span, message)
                .label("too long")
                .help(format!("The store takes names of at most {NAME_BYTES_MAX} bytes in snake case.")),
        );
    }
}

/// Checks the name of a table with time buckets: the table of its buckets has the same, and more.
pub(super) fn check_bucketed(name: &str, span: Span, faults: &mut Vec<Diagnostic>) {
    let before = faults.len();
    check("table", name, span, faults);
    let buckets = format!("{}{BUCKETS}", snake(name));
    if faults.len() == before && buckets.len() > NAME_BYTES_MAX {
        let message = format!(
            "the table `{name}` is too long: the table of its buckets, `{buckets}`, has {} bytes",
            buckets.len()
        );
        let most = NAME_BYTES_MAX - BUCKETS.len();
        faults.push(Diagnostic::error("S004", span, message).label("too long").help(format!(
            "The store takes names of at most {NAME_BYTES_MAX} bytes: {most} for a table with buckets."
        )));
    }
}

/// Checks that no two names are equal once they are stored.
pub(super) fn check_distinct(
    what: &str,
    names: &[(&str, Span)],
    sources: &Sources,
    faults: &mut Vec<Diagnostic>,
) {
    let mut known: FxHashMap<String, &(&str, Span)> = FxHashMap::default();
    for declared @ (name, span) in names {
        let stored = snake(name);
        let Some((first, at)) = known.get(&stored) else {
            known.insert(stored, declared);
            continue;
        };
        let message = match first == name {
            true => format!("the {what} `{name}` is declared twice"),
            false => format!("the {what}s `{first}` and `{name}` are both stored as `{stored}`"),
        };
        let code = if first == name { "S002" } else { "S005" };
        faults.push(
            Diagnostic::error(code, *span, message)
                .label(format!("`{stored}` again"))
                .help(format!("The other is at {}. Rename one.", place(*at, sources))),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::FileId;

    #[test]
    fn snake_case_follows_words() {
        for (name, stored) in [
            ("placedAt", "placed_at"),
            ("id", "id"),
            ("HTTPStatus", "http_status"),
            ("userID", "user_id"),
            ("OrderLine", "order_line"),
            ("line2Total", "line2_total"),
            ("orders_by_user", "orders_by_user"),
            ("a_B", "a_b"),
        ] {
            assert_eq!(snake(name), stored);
        }
    }

    #[test]
    fn a_name_may_have_48_bytes_and_no_more() {
        let span = Span { file: FileId(0), start: 0, end: 0 };
        for (bytes, faulty) in [(47, false), (48, false), (49, true)] {
            let mut faults = Vec::new();
            check("column", &"a".repeat(bytes), span, &mut faults);
            assert_eq!(!faults.is_empty(), faulty, "{bytes}");
        }
    }
}
