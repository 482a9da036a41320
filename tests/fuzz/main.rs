//! No input from outside makes the engine panic, hang or point beside its text: each reader gets texts that nobody
//! would write, made from good ones.
//!
//! `targets`, `definitions` and `disk` have one function of bytes for each reader, with what must hold of whatever it answers; `corpus` has the
//! good inputs, taken from this repository; `mutate` spoils them, by bytes and by words. Every input has a number, and
//! follows from it. `cargo test --test fuzz` tries a few of each. A million of each, optimised, but with overflow and
//! debug assertions still found:
//!
//! ```sh
//! CARGO_PROFILE_DEV_OPT_LEVEL=2 KINORA_FUZZ_INPUTS=1000000 cargo test --test fuzz -- --nocapture
//! ```
//!
//! `KINORA_SEEDS` says how many inputs for each target instead, `KINORA_SEED_BASE` the number of the first.
//! `KINORA_FUZZ_KEEP=DIR` writes each input to a file before it is tried, for those that end the process.

#![allow(clippy::print_stdout, reason = "seeds and figures are shown")]

mod corpus;
mod definitions;
mod disk;
mod mutate;
mod projects;
mod served;
mod targets;

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use fastrand::Rng;

/// Inputs for each target, unless said.
const INPUTS: u64 = 300;
/// The longest that one input may take of a processor, also where nothing is optimised.
const CPU_MAX: Duration = Duration::from_secs(5);
/// After so long an input is taken to have no end.
const HANG: Duration = Duration::from_secs(300);
/// The most memory that this process may ever have held. All targets run in it at once.
const MEMORY_MAX_MIB: f64 = 2_048.0;

#[path = "../bench/usage.rs"]
mod usage;

/// A reader of bytes, and the good inputs from which bad ones are made.
struct Target {
    name: &'static str,
    run: fn(&[u8]),
    corpus: fn() -> Vec<Vec<u8>>,
    /// One input of so many is tried: those that cost more are tried less often in the short run.
    share: u64,
}

macro_rules! targets {
    ($($name:ident 1 / $share:literal: $corpus:expr;)*) => {
        $(#[test]
        fn $name() {
            fuzz(&Target { name: stringify!($name), run: targets::$name, corpus: $corpus, share: $share });
        })*
    };
}

targets! {
    schema 1/2: corpus::schemas;
    projection 1/2: corpus::projections;
    defaults 1/5: corpus::defaults;
    event_schema 1/5: corpus::event_schemas;
    cases 1/1: corpus::cases;
    expression 1/1: corpus::expressions;
    condition 1/1: corpus::expressions;
    event 1/1: corpus::events;
    spelling 1/1: corpus::spellings;
    operation 1/2: corpus::operations;
    cursor 1/2: corpus::cursors;
    freshness 1/1: corpus::freshness;
    settings 1/1: corpus::settings;
    publish 1/1: corpus::lines;
    http 1/2: corpus::requests;
    segment 1/5: corpus::segments;
    stored 1/1: corpus::stored;
    sample 1/5: corpus::samples;
}

/// Tries a target with as many inputs as the environment says.
fn fuzz(target: &Target) {
    let number = |name: &str| {
        let text = std::env::var(name).ok()?;
        Some(text.parse::<u64>().unwrap_or_else(|_| panic!("{name} is \"{text}\", expected a number")))
    };
    let count = number("KINORA_FUZZ_INPUTS").or(number("KINORA_SEEDS"));
    let (first, count) = (number("KINORA_SEED_BASE").unwrap_or(1), count.unwrap_or(INPUTS / target.share));
    println!("{}: KINORA_SEED_BASE={first} KINORA_SEEDS={count}", target.name);
    let keep = std::env::var_os("KINORA_FUZZ_KEEP").map(|folder| PathBuf::from(folder).join(target.name));
    let corpus = mutate::Corpus::of((target.corpus)());
    let alive = watched(target.name);
    let began = Instant::now();
    // Good inputs first: they must hold too.
    for input in corpus.whole() {
        attempt(target, input, &format!("{}: an input of the corpus", target.name));
    }
    let mut bytes = 0;
    for seed in first..first.saturating_add(count) {
        let _ = alive.send(seed);
        let input = corpus.spoilt(&mut Rng::with_seed(seed));
        bytes += input.len();
        if let Some(keep) = &keep {
            std::fs::write(keep, &input).expect("the input can be kept");
        }
        attempt(target, &input, &format!("{}: KINORA_SEED_BASE={seed} KINORA_SEEDS=1", target.name));
    }
    let (wall, memory) = (began.elapsed().as_secs_f64(), usage::peak_memory_mib());
    println!(
        "{}: {count} inputs of {} bytes on average in {wall:.0} s, peak memory of the process {memory:.0} MiB",
        target.name,
        bytes as u64 / count.max(1)
    );
    assert!(memory < MEMORY_MAX_MIB, "{}: this process has held {memory:.0} MiB", target.name);
}

/// Runs a target on an input: it must come back, soon, without a panic.
fn attempt(target: &Target, input: &[u8], told: &str) {
    let timed = || {
        let began = Instant::now();
        let run = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
        assert!(run.is_ok(), "{told}: it panics on\n{}", String::from_utf8_lossy(input));
        began.elapsed()
    };
    if timed() < CPU_MAX {
        return;
    }
    // The machine may have been busy with something else: what this thread itself needs decides.
    let before = thread_cpu();
    timed();
    let needed = thread_cpu() - before;
    assert!(needed < CPU_MAX, "{told}: it takes {needed:?} for\n{}", String::from_utf8_lossy(input));
}

/// CPU time of this thread (Linux).
fn thread_cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux has /proc");
    let used = stat.split_whitespace().next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(used.expect("the kernel counts nanoseconds"))
}

/// Ends the process where no new input is begun for so long: an input that never ends cannot be stopped otherwise.
fn watched(target: &'static str) -> Sender<u64> {
    let (alive, begun) = channel();
    let watch = move || {
        let mut last = 0;
        loop {
            match begun.recv_timeout(HANG) {
                Ok(seed) => last = seed,
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    let told =
                        format!("{target}: KINORA_SEED_BASE={last} KINORA_SEEDS=1: no end after {HANG:?}\n");
                    // Not by `eprintln!`, which the test harness keeps until the test ends.
                    let _ = std::io::stderr().write_all(told.as_bytes());
                    std::process::abort();
                }
            }
        }
    };
    std::thread::spawn(watch);
    alive
}
