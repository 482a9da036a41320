//! Texts for tests that no text may make panic: an author's own texts, spoilt by chance, and the worst that can be
//! nested.
//!
//! Comes in: good texts and a reader. Goes out: nothing, or a panic that names the seed and the text.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use fastrand::Rng;

/// Spoilt texts that are tried for each seed.
const TEXTS_OF_A_SEED: usize = 20;

/// Characters that mean something to one of the languages, and some that mean nothing to any.
const ODD: &str = "{}[]()<>:;,.=+-*/%&|!?@#$'\"`\\~^_ \t\n\r0é€\u{1F600}\u{0}\u{FEFF}\u{2028}";

/// The seeds to try: `KINORA_SEEDS` of them (20 unless said) from `KINORA_SEED_BASE` (1 unless said) on.
pub fn seeds() -> Range<u64> {
    let number = |name: &str, default: u64| {
        std::env::var(name)
            .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is {text}")))
    };
    let base = number("KINORA_SEED_BASE", 1);
    base..base.saturating_add(number("KINORA_SEEDS", 20))
}

/// Gives a reader each of the texts, spoilt in many ways.
pub fn never_panics(texts: &[&str], read: impl Fn(&str)) {
    for seed in seeds() {
        println!("seed {seed}");
        let mut random = Rng::with_seed(seed);
        for _ in 0..TEXTS_OF_A_SEED {
            let text = spoil(texts[random.usize(0..texts.len())], &mut random);
            let run = catch_unwind(AssertUnwindSafe(|| read(&text)));
            assert!(run.is_ok(), "KINORA_SEEDS=1 KINORA_SEED_BASE={seed}: the reader panics on\n{text}");
        }
    }
}

/// Cuts, doubles, moves and replaces pieces of a text.
pub fn spoil(text: &str, random: &mut Rng) -> String {
    let odd: Vec<char> = ODD.chars().collect();
    let mut characters: Vec<char> = text.chars().collect();
    for _ in 0..random.usize(1..6) {
        let at = random.usize(0..=characters.len());
        let end = (at + random.usize(0..12)).min(characters.len());
        match random.usize(0..16) {
            0..3 => drop(characters.drain(at..end)),
            3..6 => {
                let piece: Vec<char> = characters[at..end].to_vec();
                characters.splice(at..at, piece);
            }
            6..10 => characters.insert(at, odd[random.usize(0..odd.len())]),
            10..15 => move_word(&mut characters, random),
            _ => characters.truncate(end.max(1)),
        }
    }
    characters.into_iter().collect()
}

/// Puts a word of the text in the place of another: what comes of it often reads well and means nothing.
fn move_word(characters: &mut Vec<char>, random: &mut Rng) {
    let from = word_at(characters, random.usize(0..=characters.len()));
    let to = word_at(characters, random.usize(0..=characters.len()));
    let word: Vec<char> = characters[from].to_vec();
    characters.splice(to, word);
}

/// The word around or behind a place.
fn word_at(characters: &[char], at: usize) -> Range<usize> {
    let is_word = |character: &char| character.is_alphanumeric() || *character == '_';
    let start =
        characters[..at].iter().rposition(|character| !is_word(character)).map_or(0, |before| before + 1);
    let end = characters[at..]
        .iter()
        .position(|character| !is_word(character))
        .map_or(characters.len(), |to| at + to);
    start..end
}

/// Texts of about that many bytes in which each of the pieces, and each pair of them, is repeated without end; and the
/// same behind `before` and in front of `after`.
pub fn nested(pieces: &[&str], bytes: usize, before: &str, after: &str) -> Vec<String> {
    let mut texts = Vec::new();
    for first in pieces {
        for second in std::iter::once(&"").chain(pieces) {
            let piece = format!("{first}{second}");
            let repeated = piece.repeat((bytes / piece.len().max(1)).max(1));
            texts.push(format!("{before}{repeated}{after}"));
        }
    }
    texts
}

/// Runs a test on a thread with the stack that threads of tests and of the engine have: 2 MiB.
pub fn on_a_usual_stack(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(test).expect("a thread starts");
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}
