//! Bounds on an expression's text, found before it is read: the grammar's reader and our own checks recurse.
//!
//! Comes in: text. Goes out: the fault of a text that is too long or too deep, and the text with strings and comments
//! blanked out. Knows nothing of the grammar but brackets, operators and quotes.

use super::parse::Fault;

/// Most bytes of an expression.
pub(super) const TEXT_MAX: usize = 4096;
/// Most brackets inside each other.
pub(super) const BRACKETS_MAX: usize = 32;
/// Most operators, selections and calls.
pub(super) const OPERATORS_MAX: usize = 256;

/// Refuses what would be read too deeply: the grammar's reader and our own checks recurse.
pub(super) fn bounded(text: &str, masked: &[u8]) -> Result<(), Fault> {
    let fault = |message: String, help: &str| Fault {
        code: "E002",
        at: 0..text.len(),
        message,
        help: Some(help.to_owned()),
    };
    if text.trim().is_empty() {
        return Err(Fault {
            code: "E001",
            at: 0..text.len(),
            message: "an expression is expected, but the text is empty".to_owned(),
            help: None,
        });
    }
    if text.len() > TEXT_MAX {
        let message = format!("the expression has {} bytes; at most {TEXT_MAX} are allowed", text.len());
        return Err(fault(message, "name its parts with `let`"));
    }
    let (mut depth, mut deepest) = (0_usize, 0);
    for byte in masked {
        match byte {
            b'(' | b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    if deepest > BRACKETS_MAX {
        let message =
            format!("{deepest} brackets stand inside each other; at most {BRACKETS_MAX} are allowed");
        return Err(fault(message, "name its parts with `let`"));
    }
    let operators = operators_of(masked);
    if operators > OPERATORS_MAX {
        let message =
            format!("the expression has {operators} operators; at most {OPERATORS_MAX} are allowed");
        return Err(fault(message, "name its parts with `let`"));
    }
    Ok(())
}

/// Counts operators, selections, calls and `in`: each may nest the tree one deeper.
fn operators_of(masked: &[u8]) -> usize {
    let symbols = masked.iter().enumerate().filter(|(at, byte)| {
        let before = at.checked_sub(1).map_or(b' ', |before| masked[before]);
        match byte {
            b'=' => !b"=!<>".contains(&before),
            b'&' | b'|' => before != **byte,
            b'?' => !b".[".contains(&before),
            byte => b".([{+-*/%<>!".contains(byte),
        }
    });
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let words =
        masked.windows(4).filter(|four| &four[1..3] == b"in" && !is_word(four[0]) && !is_word(four[3]));
    symbols.count() + words.count()
}

/// The text with strings and comments blanked out, byte for byte, so that brackets and operators can be found.
pub(super) fn mask(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut masked = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'"' | b'\'' => string_end(bytes, at),
            b'/' if bytes.get(at + 1) == Some(&b'/') => {
                bytes[at..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |line| at + line)
            }
            _ => {
                at += 1;
                continue;
            }
        };
        masked[at..end].fill(b' ');
        at = end;
    }
    masked
}

fn string_end(bytes: &[u8], start: usize) -> usize {
    let quote = bytes[start];
    let before = |back: usize| start.checked_sub(back).map(|at| bytes[at].to_ascii_lowercase());
    let raw = before(1) == Some(b'r') || (before(1) == Some(b'b') && before(2) == Some(b'r'));
    let triple = bytes.get(start + 1) == Some(&quote) && bytes.get(start + 2) == Some(&quote);
    let width = if triple { 3 } else { 1 };
    let mut at = start + width;
    while at < bytes.len() {
        if bytes[at] == b'\\' && !raw {
            at += 2;
            continue;
        }
        if bytes[at..].iter().take(width).filter(|byte| **byte == quote).count() == width {
            return at + width;
        }
        at += 1;
    }
    bytes.len()
}
