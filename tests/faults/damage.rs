//! Files of the store are cut off and flipped: it comes to the right rows all the same, or says that it is damaged.
//!
//! The files are those of a store that was closed after it had folded a log: journals, tables, and what names them. After
//! the damage the store is opened, folds what it lacks, and every row is compared with those before. A panic is a failure.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kinora::engine::{Definitions, EngineError};
use kinora::source::broker::Broker;

use crate::shop::{self, Rows};

/// What became of a damaged store.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Clone, Copy)]
enum Outcome {
    /// All rows are right.
    Right,
    /// It cannot be opened, or not be read, and says so.
    Named,
}

struct Case {
    log: Arc<Broker>,
    definitions: Arc<Definitions>,
    expected: Rows,
    whole: PathBuf,
    scratch: PathBuf,
}

#[test]
fn a_store_with_damaged_files_has_the_right_rows_or_says_that_it_is_damaged() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime can be made");
    let directory = tempfile::tempdir().expect("a directory can be made");
    let definitions = shop::definitions();
    let whole = directory.path().join("whole");
    let (log, expected) = runtime.block_on(async {
        let log = shop::filled(&directory.path().join("log"), 1, 3_000).await.expect("it takes them");
        let store = shop::store(&whole).expect("it opens");
        let rows = shop::rows(&log, store, &definitions).await.expect("they can be folded");
        (log, rows)
    });
    let scratch = directory.path().join("scratch");
    let case = Case { log, definitions, expected, whole, scratch };
    let files = files(&case.whole);
    let tables = files.iter().filter(|file| file.parent().is_some_and(|parent| parent.ends_with("tables")));
    assert!(tables.count() > 5, "too few tables for the test to say much: {files:?}");
    let mut outcomes: BTreeMap<(&str, Outcome), u32> = BTreeMap::new();
    for seed in seeds(20) {
        let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            runtime.block_on(case.run(seed, &files))
        }));
        let outcome = run.unwrap_or_else(|_| panic!("KINORA_SEEDS=1 KINORA_SEED_BASE={seed}"));
        *outcomes.entry(outcome).or_default() += 1;
    }
    println!("{outcomes:?}");
}

impl Case {
    /// Damages one file, as a seed says, and sees what comes of it.
    async fn run(&self, seed: u64, files: &[PathBuf]) -> (&'static str, Outcome) {
        let mut random = fastrand::Rng::with_seed(seed);
        copy(&self.whole, &self.scratch, files);
        // Journals and what names the tables are few, and most depends on them.
        let journals: Vec<_> = files.iter().filter(|file| is_journal(file)).collect();
        let others: Vec<_> = files.iter().filter(|file| !is_journal(file)).collect();
        let from = if random.u8(0..2) == 0 { &journals } else { &others };
        let path = self.scratch.join(from[random.usize(0..from.len())]);
        let kind = damage(&path, &mut random);
        let shown = format!("KINORA_SEEDS=1 KINORA_SEED_BASE={seed}: {kind} {}", path.display());
        println!("{shown}");
        match self.rows().await {
            Ok(rows) => {
                for (table, expected) in &self.expected {
                    let found = &rows[table];
                    let lacks: Vec<_> = expected.iter().filter(|row| !found.contains(row)).take(2).collect();
                    let more: Vec<_> = found.iter().filter(|row| !expected.contains(row)).take(2).collect();
                    assert!(expected == found, "{shown}: {table} lacks {lacks:?} and has {more:?}");
                }
                (kind, Outcome::Right)
            }
            Err(error) => {
                println!("  {error}");
                assert!(!error.to_string().contains("broke off"), "{shown}: {error}");
                (kind, Outcome::Named)
            }
        }
    }

    async fn rows(&self) -> Result<Rows, EngineError> {
        let store = shop::store(&self.scratch)?;
        shop::rows(&self.log, store, &self.definitions).await
    }
}

/// Cuts off a file, flips bits in it, or empties a sector.
fn damage(path: &Path, random: &mut fastrand::Rng) -> &'static str {
    let mut bytes = std::fs::read(path).expect("it can be read");
    let kind = if bytes.is_empty() { 0 } else { random.u8(0..3) };
    let kind = match kind {
        0 => {
            bytes.truncate(random.usize(0..=bytes.len()));
            "cut"
        }
        1 => {
            for _ in 0..random.usize(1..4) {
                let at = random.usize(0..bytes.len());
                bytes[at] ^= 1 << random.u8(0..8);
            }
            "flip"
        }
        _ => {
            let from = random.usize(0..bytes.len()) / 512 * 512;
            let to = bytes.len().min(from + 512);
            bytes[from..to].fill(0);
            "sector"
        }
    };
    std::fs::write(path, bytes).expect("it can be written");
    kind
}

fn is_journal(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "jnl")
}

/// All files below a directory, by their paths in it, in order.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![PathBuf::new()];
    while let Some(part) = open.pop() {
        for entry in std::fs::read_dir(directory.join(&part)).expect("it can be listed") {
            let entry = entry.expect("it can be listed");
            let path = part.join(entry.file_name());
            if entry.file_type().expect("it has one").is_dir() { open.push(path) } else { found.push(path) }
        }
    }
    found.sort_unstable();
    found
}

/// Copies files; of a journal without the room that it keeps for later.
fn copy(from: &Path, to: &Path, files: &[PathBuf]) {
    let _ = std::fs::remove_dir_all(to);
    for file in files {
        let mut bytes = std::fs::read(from.join(file)).expect("it can be read");
        if is_journal(file) {
            let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            bytes.truncate(used);
        }
        let path = to.join(file);
        std::fs::create_dir_all(path.parent().expect("it lies in one")).expect("it can be made");
        std::fs::write(path, bytes).expect("it can be written");
    }
}

/// The seeds of a random test.
fn seeds(count: u64) -> std::ops::Range<u64> {
    let number =
        |name: &str, default| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let base: u64 = number("KINORA_SEED_BASE", 1);
    base..base.saturating_add(number("KINORA_SEEDS", count))
}
