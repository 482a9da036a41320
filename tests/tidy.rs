//! House rules as tests: which module may import which, where an outside crate may be named, what pure rooms must
//! not touch, page heads, and what lies at the top level.
//!
//! Comes in: this project's own files. Goes out: one line for each breach, with file, line and rule. Code under
//! `#[cfg(test)]` and files that are compiled for tests only may import what they like, but nothing may be left
//! unfinished there either. Sizes of files and functions are not checked.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Rooms without I/O, clock, chance or async; each may import those before it.
const PURE: [&str; 10] =
    ["schema", "value", "expr", "plan", "decode", "upcast", "handler", "lint", "route", "fold"];

/// What every room may import.
const GROUND: [&str; 3] = ["event", "diagnostic", "clock"];

/// Rooms that import no other: whoever wants to be seen tells them.
const ALONE: [&str; 1] = ["observe"];

/// Pairs that never import each other: they scale apart and meet in `plan` and `store`.
const APART: [(&str, &str); 2] = [("project", "resolve"), ("project", "serve")];

/// Outside crates, and the places that may name them. A place is a path below `src`, without `.rs`.
const CRATE_HOMES: [(&str, &[&str]); 29] = [
    ("apollo_compiler", &["schema", "resolve"]),
    ("axum", &["serve"]),
    ("cel", &["expr"]),
    ("clap", &["cli"]),
    ("clap_complete", &["cli"]),
    ("fjall", &["store/embedded"]),
    ("flate2", &["serve", "store"]),
    ("hmac", &["resolve"]),
    ("hyper", &["serve"]),
    ("hyper_util", &["serve"]),
    ("indicatif", &["cli"]),
    ("miette", &["diagnostic", "cli"]),
    ("libmimalloc_sys", &["allocator"]),
    ("notify", &["engine", "cli"]),
    ("opentelemetry", &["observe"]),
    ("opentelemetry_http", &["observe"]),
    ("opentelemetry_otlp", &["observe"]),
    ("opentelemetry_sdk", &["observe"]),
    ("prometheus_client", &["observe"]),
    ("rdkafka", &["source/kafka"]),
    ("regex", &["expr"]),
    ("rustls", &["store/cassandra"]),
    ("saphyr_parser", &["handler"]),
    ("scylla", &["store/cassandra"]),
    ("smol_str", &["event", "value"]),
    ("sonic_rs", &["event", "decode", "upcast", "expr"]),
    ("toml", &["config"]),
    ("tracing_opentelemetry", &["observe"]),
    ("tracing_subscriber", &["observe"]),
];

/// Words that a pure room must not use, and why.
const IMPURE: [(&str, &str); 14] = [
    ("async", "is not pure: only source, project, store, resolve, serve and engine wait"),
    ("await", "is not pure: only source, project, store, resolve, serve and engine wait"),
    ("tokio", "is not pure: only source, project, store, resolve, serve and engine wait"),
    ("Instant", "reads a clock: take the time as an argument"),
    ("SystemTime", "reads a clock: take the time as an argument"),
    ("Timestamp::now", "reads a clock: take the time as an argument"),
    ("Zoned::now", "reads a clock: take the time as an argument"),
    ("std::fs", "touches files: take the text as an argument"),
    ("std::net", "touches the network"),
    ("std::env", "reads the environment: take the value as an argument"),
    ("std::thread", "starts threads"),
    ("fastrand", "draws by chance: take the value as an argument"),
    ("getrandom", "draws by chance: take the value as an argument"),
    ("new_v4", "draws by chance: make ids from the event or its position"),
];

/// Words that no file of `src` may have.
const UNFINISHED: [&str; 3] = ["todo!", "unimplemented!", "dbg!"];

/// Only the command line prints: everything else returns values or logs.
const PRINTS: [&str; 4] = ["println!", "eprintln!", "print!", "eprint!"];
const PRINTERS: [&str; 2] = ["cli", "main"];

/// The only places that may say `unsafe`; each block there says why it is sound.
const UNSAFE: [&str; 2] = ["allocator", "source/kafka/native"];

/// What may lie at the top level beside dot files.
const TOP_LEVEL: [&str; 10] = [
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "docs",
    "kinora.toml",
    "projections",
    "schema",
];
const TOP_LEVEL_CODE: [&str; 2] = ["src", "tests"];

#[test]
fn every_rule_of_the_house_holds_in_src() {
    let mut breaches = Vec::new();
    for file in rust_files(&root().join("src")) {
        let text = std::fs::read_to_string(&file).expect("a source file can be read");
        let place = file.strip_prefix(root().join("src")).expect("the file lies in src");
        breaches.extend(check(&place.to_string_lossy().replace('\\', "/"), &text));
    }
    assert!(breaches.is_empty(), "{} breaches of the house rules:\n{}", breaches.len(), breaches.join("\n"));
}

#[test]
fn only_the_known_entries_lie_at_the_top_level() {
    let strays = strays(top_level_entries());
    assert!(
        strays.is_empty(),
        "these do not belong at the top level: {strays:?}. Settings of tools are dot files, everything else has its folder"
    );
}

#[test]
fn every_test_and_bench_opens_with_a_page_head() {
    let missing: Vec<_> = rust_files(&root().join("tests"))
        .into_iter()
        .filter(|file| !std::fs::read_to_string(file).expect("a test file can be read").starts_with("//!"))
        .collect();
    assert!(missing.is_empty(), "these files do not open with `//!`: {missing:?}");
}

/// All breaches in one file of `src`; `place` is its path below `src`.
fn check(place: &str, text: &str) -> Vec<String> {
    let mut breaches = Vec::new();
    if !text.starts_with("//!") {
        breaches.push(format!("src/{place}:1 does not open with `//!`: say what the file does and does not"));
    }
    let code = without_comments_and_text(text);
    for word in UNFINISHED {
        each_line_with(&code, word, |line| {
            breaches.push(format!("src/{place}:{line} `{word}` is unfinished work: finish it"));
        });
    }
    if is_test_file(place) {
        return breaches;
    }
    let code = without_test_modules(&code);
    if !UNSAFE.iter().any(|home| lies_in(place, home)) {
        each_line_with(&code, "unsafe", |line| {
            breaches.push(format!("src/{place}:{line} is `unsafe`: only {} may be", UNSAFE.join(", ")));
        });
    }
    check_edges(place, &code, &mut breaches);
    check_crates(place, &code, &mut breaches);
    check_purity(place, &code, &mut breaches);
    // A build script speaks to cargo by printing.
    if !place.ends_with("build.rs") && !PRINTERS.iter().any(|printer| lies_in(place, printer)) {
        for word in PRINTS {
            each_line_with(&code, word, |line| {
                breaches.push(format!(
                    "src/{place}:{line} `{word}` prints: only cli prints, others return or log"
                ));
            });
        }
    }
    breaches
}

fn check_edges(place: &str, code: &str, breaches: &mut Vec<String>) {
    let room = room_of(place);
    for (line, imported) in imports(code) {
        if imported == room {
            continue;
        }
        let reason = if GROUND.contains(&room) && !GROUND.contains(&imported.as_str()) {
            format!("`{room}` is what all others stand on and imports none of them")
        } else if let Some(rank) = PURE.iter().position(|pure| *pure == room)
            && !GROUND.contains(&imported.as_str())
            && !PURE[..rank].contains(&imported.as_str())
        {
            format!(
                "`{room}` is a pure room and may import only {}, {}",
                GROUND.join(", "),
                PURE[..rank].join(", ")
            )
        } else if ALONE.contains(&room) {
            format!("`{room}` is told by others, and imports none of them")
        } else if APART.iter().any(|(a, b)| (room, &*imported) == (*a, *b) || (room, &*imported) == (*b, *a))
        {
            format!("`{room}` and `{imported}` scale apart and meet only in plan and store")
        } else {
            continue;
        };
        breaches.push(format!("src/{place}:{line} imports crate::{imported}: {reason}"));
    }
}

fn check_crates(place: &str, code: &str, breaches: &mut Vec<String>) {
    for (name, homes) in CRATE_HOMES {
        if homes.iter().any(|home| lies_in(place, home)) {
            continue;
        }
        each_line_with(code, name, |line| {
            let text = code.lines().nth(line - 1).unwrap_or("");
            if names_crate(text, name) {
                breaches.push(format!("src/{place}:{line} names {name}: only {} may", homes.join(", ")));
            }
        });
    }
}

fn check_purity(place: &str, code: &str, breaches: &mut Vec<String>) {
    let room = room_of(place);
    if !PURE.contains(&room) {
        return;
    }
    for (word, reason) in IMPURE {
        each_line_with(code, word, |line| {
            breaches.push(format!("src/{place}:{line} `{word}` in the pure room `{room}`: it {reason}"));
        });
    }
}

/// Whether a file is compiled for tests only: `tests.rs`, `…_tests.rs`, `testing.rs` of a room, anything in `tests/`.
fn is_test_file(place: &str) -> bool {
    let (folder, file) = place.rsplit_once('/').unwrap_or(("", place));
    file.ends_with("tests.rs")
        || (file == "testing.rs" && !folder.is_empty())
        || folder.split('/').any(|f| f == "tests")
        || place == "testing/spoil.rs"
}

/// The room of a file: its first folder, or its own name.
fn room_of(place: &str) -> &str {
    let first = place.split('/').next().expect("split gives at least one part");
    first.strip_suffix(".rs").unwrap_or(first)
}

/// Whether a file is that place or lies below it.
fn lies_in(place: &str, home: &str) -> bool {
    place.strip_prefix(home).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

/// Whether a line names the crate and not a field, method or module of the same name.
fn names_crate(line: &str, name: &str) -> bool {
    word_starts(line, name).any(|start| {
        let before = line[..start].trim_end();
        let after = line[start + name.len()..].trim_start();
        let path = after.starts_with("::") && !before.ends_with("::") && !before.ends_with('.');
        let import = before.ends_with("use") && (after.starts_with(';') || after.starts_with(" as"));
        path || import
    })
}

/// Our own modules that a text imports, with the line: `crate::a`, `crate::{a, b::c}`, `kinora::a`.
fn imports(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for prefix in ["crate", "kinora"] {
        for start in word_starts(code, prefix) {
            let line = code[..start].matches('\n').count() + 1;
            let Some(rest) = code[start + prefix.len()..].trim_start().strip_prefix("::") else { continue };
            let rest = rest.trim_start();
            match rest.strip_prefix('{') {
                Some(group) => found.extend(group_heads(group).into_iter().map(|head| (line, head))),
                None => found.push((line, identifier(rest))),
            }
        }
    }
    found.retain(|(_, name)| name.starts_with(|c: char| c.is_ascii_lowercase()));
    found
}

/// The first names inside a `use` group, up to its closing brace.
fn group_heads(group: &str) -> Vec<String> {
    let mut heads = Vec::new();
    let mut depth = 0;
    let mut at_head = true;
    for (index, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => at_head = true,
            c if at_head && (c.is_alphanumeric() || c == '_') => {
                heads.push(identifier(&group[index..]));
                at_head = false;
            }
            _ => {}
        }
    }
    heads
}

fn identifier(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// Calls back with each line number (from 1) on which the word stands as a word.
fn each_line_with(code: &str, word: &str, mut found: impl FnMut(usize)) {
    for (index, line) in code.lines().enumerate() {
        if word_starts(line, word).next().is_some() {
            found(index + 1);
        }
    }
}

/// Where a word begins that is not part of a longer one.
fn word_starts<'t>(text: &'t str, word: &'t str) -> impl Iterator<Item = usize> + 't {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).map(|(start, _)| start).filter(move |&start| {
        let before = text[..start].chars().next_back();
        let after = text[start + word.len()..].chars().next();
        !before.is_some_and(part) && (word.ends_with('!') || !after.is_some_and(part))
    })
}

/// The text with comments, string and character literals blanked out; lines stay where they are.
fn without_comments_and_text(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = literal_end(&chars, at);
        if end == at {
            out.push(chars[at]);
            at += 1;
            continue;
        }
        out.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
        at = end;
    }
    out
}

/// The end of the comment or literal that begins here, or `at` where none does.
fn literal_end(chars: &[char], at: usize) -> usize {
    let next = |offset: usize| chars.get(at + offset).copied();
    match (chars[at], next(1)) {
        ('/', Some('/')) => find(chars, at, |rest| rest[0] == '\n'),
        ('/', Some('*')) => block_comment_end(chars, at),
        ('"', _) => string_end(chars, at + 1),
        ('r', Some('"' | '#')) if at == 0 || !is_word(chars[at - 1]) || chars[at - 1] == 'b' => {
            let hashes = chars[at + 1..].iter().take_while(|c| **c == '#').count();
            if next(1 + hashes) != Some('"') {
                return at;
            }
            let close: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
            let body = at + 2 + hashes;
            (find(chars, body, |rest| rest.starts_with(&close)) + close.len()).min(chars.len())
        }
        ('\'', Some('\\')) => find(chars, at + 3, |rest| rest[0] == '\'') + 1,
        ('\'', Some(_)) if next(2) == Some('\'') => at + 3,
        _ => at,
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The first place from `from` on where the condition holds, or the end.
fn find(chars: &[char], from: usize, holds: impl Fn(&[char]) -> bool) -> usize {
    (from..chars.len()).find(|at| holds(&chars[*at..])).unwrap_or(chars.len())
}

fn string_end(chars: &[char], mut at: usize) -> usize {
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

fn block_comment_end(chars: &[char], mut at: usize) -> usize {
    let mut depth = 0;
    while at + 1 < chars.len() {
        match (chars[at], chars[at + 1]) {
            ('/', '*') => (depth, at) = (depth + 1, at + 2),
            ('*', '/') => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    chars.len()
}

/// The text with every item under `#[cfg(test)]` blanked out.
fn without_test_modules(code: &str) -> String {
    let mut out = code.to_owned();
    while let Some(start) = out.find("#[cfg(test)]") {
        let rest = &out[start..];
        let item = rest.find(['{', ';']).unwrap_or(rest.len().saturating_sub(1));
        let end = if rest[item..].starts_with('{') { closing_brace(rest, item) } else { item + 1 };
        let blank: String = rest[..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
        out.replace_range(start..start + end, &blank);
    }
    out
}

/// Just behind the brace that closes the one at `open`.
fn closing_brace(text: &str, open: usize) -> usize {
    let mut depth = 0;
    for (index, c) in text[open..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return open + index + 1;
        }
    }
    text.len()
}

fn strays(entries: BTreeSet<String>) -> Vec<String> {
    let known = |entry: &String| {
        entry.starts_with('.') || TOP_LEVEL.contains(&&**entry) || TOP_LEVEL_CODE.contains(&&**entry)
    };
    entries.into_iter().filter(|entry| !known(entry)).collect()
}

/// What the repository holds at the top; outside a repository, what lies there beside `target`.
fn top_level_entries() -> BTreeSet<String> {
    let listed = std::process::Command::new("git")
        .arg("-C")
        .arg(root())
        .args(["ls-tree", "--name-only", "HEAD"])
        .output();
    match listed {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
        }
        _ => std::fs::read_dir(root())
            .expect("the project's directory can be listed")
            .map(|entry| entry.expect("an entry can be read").file_name().to_string_lossy().into_owned())
            .filter(|name| name != "target")
            .collect(),
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(below: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let Ok(entries) = std::fs::read_dir(below) else { return files };
    for entry in entries {
        let path = entry.expect("an entry can be read").path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "node_modules") {
                files.extend(rust_files(&path));
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

mod rules_can_fail {
    use super::*;

    /// The one breach of a made-up file, or the empty string.
    fn breach(place: &str, code: &str) -> String {
        check(place, &format!("//! Head.\n{code}\n")).join("\n")
    }

    fn refused(place: &str, code: &str, says: &str) {
        let found = breach(place, code);
        assert!(found.contains(says), "{place}: `{code}` should be refused with `{says}`, found: `{found}`");
    }

    fn allowed(place: &str, code: &str) {
        assert_eq!(breach(place, code), "", "{place}: `{code}` should be allowed");
    }

    #[test]
    fn a_file_without_a_head_is_refused() {
        assert_eq!(
            check("fold/mod.rs", "use crate::plan::Plan;\n"),
            ["src/fold/mod.rs:1 does not open with `//!`: say what the file does and does not"]
        );
    }

    #[test]
    fn a_pure_room_imports_only_what_stands_before_it() {
        allowed("plan/bind.rs", "use crate::schema::ReadModel;\nuse crate::expr::Compiled;");
        allowed("plan/bind.rs", "use crate::{event::Event, value::{Value, encode::RowKey}};");
        refused("schema/mod.rs", "use crate::plan::Plan;", "src/schema/mod.rs:2 imports crate::plan");
        refused("expr/mod.rs", "use crate::{schema, plan::Plan};", "imports crate::plan");
        refused("fold/mod.rs", "fn f(t: &dyn crate::store::Tables) {}", "imports crate::store");
        refused("fold.rs", "use crate\n    ::store;", "imports crate::store");
    }

    #[test]
    fn the_ground_imports_no_room() {
        refused("event.rs", "use crate::schema::Scalar;", "what all others stand on");
        refused("diagnostic.rs", "use crate::store::StoreError;", "what all others stand on");
        allowed("event.rs", "use crate::diagnostic::Span;");
    }

    #[test]
    fn writing_and_serving_stay_apart() {
        refused("project/mod.rs", "use crate::resolve::Graph;", "scale apart");
        refused("project/park.rs", "use crate::serve;", "scale apart");
        refused("serve/mod.rs", "use crate::project::run;", "scale apart");
        refused("resolve/fresh.rs", "use crate::{plan, project::Lag};", "scale apart");
        allowed("engine/mod.rs", "use crate::project;\nuse crate::resolve;");
    }

    #[test]
    fn what_is_told_imports_nobody() {
        refused("observe/count.rs", "use crate::store::StoreError;", "is told by others");
        refused("fold/run.rs", "use crate::observe::metrics;", "imports crate::observe");
        allowed("project/counts.rs", "use crate::observe::metrics;");
    }

    #[test]
    fn an_outside_crate_is_named_only_at_home() {
        refused("plan/mod.rs", "use cel::Parser;", "names cel: only expr may");
        refused("store/mod.rs", "fn f() -> fjall::Keyspace { g() }", "names fjall: only store/embedded may");
        refused("engine/mod.rs", "use axum;", "names axum: only serve may");
        allowed("store/embedded/mod.rs", "use fjall::Keyspace;");
        allowed("store/embedded.rs", "use fjall::Keyspace;");
        allowed("project/mod.rs", "let notify = self.notify; notify.notify_waiters();");
        allowed("plan/mod.rs", "use crate::expr::cel;\nlet x = expr::cel::parse();");
    }

    #[test]
    fn a_pure_room_has_no_clock_chance_files_or_waiting() {
        refused("route.rs", "async fn route() {}", "`async` in the pure room `route`");
        refused("decode/json.rs", "let now = std::time::Instant::now();", "reads a clock");
        refused("schema/parse.rs", "let t = std::fs::read_to_string(p);", "touches files");
        refused("upcast.rs", "let n = fastrand::u32(..);", "draws by chance");
        allowed("project/mod.rs", "async fn run() { std::time::Instant::now(); }");
    }

    #[test]
    fn nothing_is_left_unfinished_nor_printed() {
        refused("serve/mod.rs", "fn f() { todo!() }", "unfinished");
        refused("resolve/tests.rs", "fn f() { dbg!(1); }", "unfinished");
        refused("serve/mod.rs", "fn f() { println!(); }", "only cli prints");
        allowed("cli/check.rs", "fn f() { println!(); }");
        refused("source/kafka/reader.rs", "unsafe { f() }", "is `unsafe`");
        allowed("source/kafka/native/ask.rs", "unsafe { f() }");
        allowed("serve/assets/build.rs", "fn main() { println!(); }");
    }

    #[test]
    fn comments_text_and_test_modules_do_not_count() {
        allowed("schema/mod.rs", "// use crate::plan::Plan; todo!()\n/* std::fs /* nested */ async */");
        allowed("schema/mod.rs", "const T: &str = \"use crate::plan; async\"; const C: char = '\"';");
        allowed("schema/mod.rs", "const T: &str = r#\"a \" async std::fs\"#; fn f<'a>(x: &'a str) {}");
        allowed(
            "schema/mod.rs",
            "#[cfg(test)]\nmod tests {\n use crate::engine::load;\n fn f() { { std::fs::read(p) } }\n}",
        );
        allowed("schema/mod.rs", "#[cfg(test)]\nuse crate::engine::load;");
        refused(
            "schema/mod.rs",
            "#[cfg(test)]\nmod tests { }\nuse crate::plan::Plan;",
            ":4 imports crate::plan",
        );
    }

    #[test]
    fn a_stray_file_at_the_top_is_named() {
        let entries = ["src", ".ci", "README.md", "notes.txt", "extras"].map(str::to_owned);
        assert_eq!(strays(entries.into()), ["extras", "notes.txt"]);
    }
}
