//! Bounds on an expression's text, found before it is read: the grammar's reader and our own checks recurse.
//!
//! Comes in: text. Goes out: the fault of a text that is too long or too deep, and the text with strings and comments
//! blanked out. Knows nothing of the grammar but brackets, operators and quotes.

use std::ops::Range;

use super::parse::{DEPTH_MAX, Fault};

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
    let brackets = brackets_of(masked);
    if brackets > BRACKETS_MAX {
        let message =
            format!("{brackets} brackets stand inside each other; at most {BRACKETS_MAX} are allowed");
        return Err(fault(message, "name its parts with `let`"));
    }
    let operators = operators_of(masked);
    if operators > OPERATORS_MAX {
        let message =
            format!("the expression has {operators} operators; at most {OPERATORS_MAX} are allowed");
        return Err(fault(message, "name its parts with `let`"));
    }
    if depth_of(masked) > DEPTH_MAX {
        return Err(too_deep(0..text.len()));
    }
    Ok(())
}

/// The fault of a tree that is too deep.
pub(super) fn too_deep(at: Range<usize>) -> Fault {
    Fault {
        code: "E002",
        at,
        message: format!("more than {DEPTH_MAX} parts stand inside each other"),
        help: Some("name its parts with `let`".to_owned()),
    }
}

/// Most brackets inside each other.
fn brackets_of(masked: &[u8]) -> usize {
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
    deepest
}

/// What stands between two brackets, as far as it was read: how deep its tree will be.
#[derive(Clone, Copy, Default)]
struct Level {
    /// Choices `? :`: each stands inside the one before.
    choices: usize,
    /// Operators since the last `&&`, `||`, `?`, `:` or comma: each holds those to its left.
    operators: usize,
    /// Selections, indexes and brackets of the operand that is being read.
    operand: usize,
    /// The deepest operand since the operators are counted.
    operand_max: usize,
    deepest: usize,
}

impl Level {
    fn operand_ends(&mut self) {
        self.operand_max = self.operand_max.max(self.operand);
        self.operand = 0;
        self.deepest = self.deepest.max(self.choices + self.operators + self.operand_max + 1);
    }

    fn part_ends(&mut self) {
        self.operand_ends();
        (self.operators, self.operand_max) = (0, 0);
    }
}

/// How deep the tree of a text will be, and a little more. Chains of `&&` and `||` do not count: the reader balances
/// them.
fn depth_of(masked: &[u8]) -> usize {
    let mut levels = vec![Level::default()];
    for (at, byte) in masked.iter().enumerate() {
        let level = levels.last_mut().expect("the first level is never closed");
        let before = at.checked_sub(1).map_or(b' ', |before| masked[before]);
        match byte {
            b'(' | b'[' | b'{' => {
                level.operand += usize::from(*byte == b'[');
                levels.push(Level::default());
            }
            b')' | b']' | b'}' => close(&mut levels),
            b'.' => level.operand += 1,
            b'?' if !b".[".contains(&before) => {
                level.part_ends();
                level.choices += 1;
            }
            b'&' | b'|' | b':' => level.part_ends(),
            b',' => {
                level.part_ends();
                level.choices = 0;
            }
            b'=' if b"=!<>".contains(&before) => {}
            b'+' | b'-' | b'*' | b'/' | b'%' | b'<' | b'>' | b'!' | b'=' => {
                level.operand_ends();
                level.operators += 1;
            }
            b'n' if is_in(masked, at) => {
                level.operand_ends();
                level.operators += 1;
            }
            _ => {}
        }
    }
    while levels.len() > 1 {
        close(&mut levels);
    }
    levels[0].part_ends();
    levels[0].deepest
}

/// What stood in brackets becomes part of the operand around it.
fn close(levels: &mut Vec<Level>) {
    let [.., outer, inner] = levels.as_mut_slice() else { return };
    inner.part_ends();
    outer.operand = outer.operand.max(inner.deepest);
    levels.pop();
}

/// Whether the operator `in` ends here.
fn is_in(masked: &[u8], end: usize) -> bool {
    let is_word = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    let Some(start) = end.checked_sub(1) else { return false };
    masked[start] == b'i'
        && !is_word(start.checked_sub(1).map(|at| &masked[at]))
        && !is_word(masked.get(end + 1))
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
