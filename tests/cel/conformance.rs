//! The public conformance tests of CEL, run where their data is at hand: in the folder that `KINORA_CEL_DATA` names, or
//! in `../shared/data/cel-conformance` beside this project.
//!
//! Every test of every file is run. Those that do not apply are listed in `tests/golden/cel_left_out.txt`, each with its
//! reason; a test that fails and is not listed is a failure here, and so is one that is listed and passes.
//! `KINORA_BLESS=1` adds failing tests to the list, with the reason `?`, which is a failure until it is said.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kinora::expr::{Slot, Type, Val};

use crate::textproto::{Field, Message, read};
use crate::values::{Failed, evaluate};

/// Codes of what the language does not have at all: an error that a test expects must have another reason.
const ABSENT: [&str; 3] = ["E001", "E005", "E014"];

#[test]
fn the_public_conformance_tests_pass_where_they_apply() {
    let Some(folder) = folder() else {
        println!("the conformance data is not at hand: set KINORA_CEL_DATA to run its tests");
        return;
    };
    let listed = listed();
    let (mut failures, mut seen) = (Vec::new(), Vec::new());
    let mut found = BTreeMap::new();
    for (file, path) in files(&folder) {
        let (mut passed, mut left_out) = (0, 0);
        let text = std::fs::read_to_string(&path).expect("a file of the data can be read");
        for (section, test) in tests(&read(&text)) {
            let plain = format!("{file}/{section}/{}", test.text("name"));
            // Some names come more than once.
            let mut twins = (2..).map(|number| format!("{plain} #{number}"));
            let mut name = plain.clone();
            while seen.contains(&name) {
                name = twins.next().expect("numbers do not end");
            }
            seen.push(name.clone());
            match (run(&test), listed.get(&name)) {
                (Ok(()), None) => passed += 1,
                (Err(_), Some(reason)) if reason != "?" => left_out += 1,
                (Ok(()), Some(reason)) => {
                    failures.push(format!("{name} passes: take it off the list (it says {reason:?})"));
                }
                (Err(why), _) => {
                    failures.push(format!("{name}: {} {why}", test.text("expr")));
                    found.insert(name, "?".to_owned());
                }
            }
        }
        println!("{file}: {passed} passed, {left_out} left out");
    }
    for name in listed.keys().filter(|name| !seen.contains(name)) {
        failures.push(format!("{name} is listed, but there is no such test"));
    }
    if std::env::var_os("KINORA_BLESS").is_some() {
        let all = listed.into_iter().chain(found);
        let lines: String = all.map(|(name, reason)| format!("{name} — {reason}\n")).collect();
        std::fs::write(list_path(), lines).expect("the list can be written");
    }
    assert!(failures.is_empty(), "{} tests:\n{}", failures.len(), failures.join("\n"));
}

fn folder() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    if let Some(folder) = std::env::var_os("KINORA_CEL_DATA") {
        return Some(PathBuf::from(folder));
    }
    let mut beside = root.ancestors().map(|folder| folder.join("shared/data/cel-conformance"));
    beside.find(|folder| folder.is_dir())
}

fn files(folder: &Path) -> Vec<(String, PathBuf)> {
    let entries = std::fs::read_dir(folder).expect("the folder of the data can be read");
    let paths = entries.map(|entry| entry.expect("an entry of the folder").path());
    let mut files: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "textproto"))
        .map(|path| (path.file_stem().expect("a file has a name").to_string_lossy().into_owned(), path))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{} holds no tests", folder.display());
    files
}

fn list_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/cel_left_out.txt")
}

/// The tests that are left out, with the reason.
fn listed() -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(list_path()).expect("the list of what is left out can be read");
    let entries = text.lines().map(|line| {
        let (name, reason) = line.split_once(" — ").unwrap_or_else(|| panic!("{line}: no reason"));
        (name.to_owned(), reason.to_owned())
    });
    entries.collect()
}

/// Every test with its section.
fn tests(file: &Message) -> Vec<(String, Message)> {
    let mut all = Vec::new();
    for section in file.messages("section") {
        for test in section.messages("test") {
            all.push((section.text("name"), test.clone()));
        }
    }
    all
}

/// Runs a test: why it fails.
fn run(test: &Message) -> Result<(), String> {
    let mut names = Vec::new();
    let mut frame = Vec::new();
    for variable in test.messages("type_env") {
        let name = variable.text("name");
        let Some(ty) = variable.message("ident").and_then(|ident| ident.message("type")) else {
            return Err(format!("declares `{name}`, which is no variable"));
        };
        names.push((name, type_of(ty)?));
    }
    for binding in test.messages("bindings") {
        let name = binding.text("key");
        let Some(value) = binding.message("value").and_then(|value| value.message("value")) else {
            return Err(format!("binds `{name}` to no value"));
        };
        let slot = names.iter().position(|(known, _)| *known == name).unwrap_or_else(|| {
            names.push((name, Type::Dyn));
            names.len() - 1
        });
        frame.resize_with(frame.len().max(slot + 1), || Slot::Made(Val::Null));
        frame[slot] = Slot::Made(value_of(value)?);
    }
    let expected = match (test.message("value"), test.message("typed_result")) {
        (Some(value), _) => Some(value_of(value)?),
        (None, Some(typed)) => match typed.message("result") {
            Some(result) => Some(value_of(result)?),
            None => None,
        },
        (None, None) if test.field("eval_error").is_some() => None,
        (None, None) => Some(Val::Bool(true)),
    };
    let text = test.text("expr");
    if let Some(deduced) = test.message("typed_result").and_then(|typed| typed.message("deduced_type")) {
        let (wanted, found) = (type_of(deduced)?, crate::values::compiled(&text, &names));
        match found {
            Ok(compiled) if compiled.ty == wanted => {}
            Ok(compiled) => return Err(format!("has the type {:?}, expected {wanted:?}", compiled.ty)),
            Err(faults) => return Err(told(&Failed::Check(faults))),
        }
    }
    if test.text("check_only") == "true" || (expected.is_none() && test.message("typed_result").is_some()) {
        return match crate::values::compiled(&text, &names) {
            Ok(_) => Ok(()),
            Err(faults) => Err(told(&Failed::Check(faults))),
        };
    }
    let found = evaluate(&text, &names, &frame, |value| match &expected {
        Some(expected) if same(value, expected) => Ok(()),
        Some(expected) => Err(format!("is {value:?}, expected {expected:?}")),
        None => Err(format!("is {value:?}, expected an error")),
    });
    match (found, &expected) {
        (Ok(result), _) => result,
        (Err(failed @ Failed::Check(_)), None) if is_absent(&failed) => Err(told(&failed)),
        (Err(_), None) => Ok(()),
        (Err(failed), Some(_)) => Err(told(&failed)),
    }
}

fn is_absent(failed: &Failed) -> bool {
    matches!(failed, Failed::Check(faults) if faults.iter().any(|fault| ABSENT.contains(&fault.code)))
}

fn told(failed: &Failed) -> String {
    match failed {
        Failed::Check(faults) => format!("refused: {} {}", faults[0].code, faults[0].message),
        Failed::Run(why) => format!("fails: {why}"),
    }
}

/// The type that a variable is declared with.
fn type_of(message: &Message) -> Result<Type, String> {
    let (name, field) = message.fields().next().ok_or("has a variable without a type")?;
    Ok(match (name, field) {
        ("primitive", Field::Word(word)) => match word.as_str() {
            "BOOL" => Type::Bool,
            "INT64" => Type::Int,
            "UINT64" => Type::Uint,
            "DOUBLE" => Type::Float,
            "STRING" => Type::Text,
            "BYTES" => Type::Bytes,
            other => return Err(format!("has a variable of type {other}")),
        },
        ("well_known", Field::Word(word)) => match word.as_str() {
            "TIMESTAMP" => Type::Timestamp,
            "DURATION" => Type::Duration,
            other => return Err(format!("has a variable of type {other}")),
        },
        ("message_type", Field::Text(text)) => match &**text {
            b"google.protobuf.Duration" => Type::Duration,
            b"google.protobuf.Timestamp" => Type::Timestamp,
            _ => return Err(format!("has a variable of type {}", String::from_utf8_lossy(text))),
        },
        ("dyn", _) => Type::Dyn,
        ("null", _) => Type::Null,
        ("wrapper", Field::Word(word)) => {
            let mut inner = Message::default();
            inner.push("primitive", Field::Word(word.clone()));
            Type::Nullable(Box::new(type_of(&inner)?))
        }
        ("abstract_type", Field::Message(of)) if of.text("name") == "optional_type" => {
            Type::Optional(Box::new(of.message("parameter_types").map_or(Ok(Type::Dyn), type_of)?))
        }
        ("list_type", Field::Message(list)) => match list.message("elem_type") {
            Some(of) => Type::List(Box::new(type_of(of)?)),
            None => Type::List(Box::new(Type::Dyn)),
        },
        ("map_type", Field::Message(map)) => {
            let of = |name| map.message(name).map_or(Ok(Type::Dyn), type_of);
            Type::Map(Box::new(of("key_type")?), Box::new(of("value_type")?))
        }
        (other, _) => return Err(format!("has a variable of a type {other}")),
    })
}

/// A value as the tests write it.
fn value_of(message: &Message) -> Result<Val<'static>, String> {
    let (name, field) = message.fields().next().ok_or("has a value without a kind")?;
    let number = |text: &str| format!("has the number {text}");
    Ok(match (name, field) {
        ("null_value", _) => Val::Null,
        ("bool_value", Field::Word(word)) => Val::Bool(word == "true"),
        ("int64_value", Field::Word(word)) => Val::Int(word.parse().map_err(|_| number(word))?),
        ("uint64_value", Field::Word(word)) => Val::Uint(word.parse().map_err(|_| number(word))?),
        ("double_value", Field::Word(word)) => Val::Float(word.parse().map_err(|_| number(word))?),
        ("string_value", Field::Text(text)) => Val::Text(String::from_utf8_lossy(text).into_owned().into()),
        ("bytes_value", Field::Text(bytes)) => Val::Bytes(bytes.clone().into()),
        ("type_value", Field::Text(text)) => Val::Type(String::from_utf8_lossy(text).into_owned().leak()),
        ("list_value", Field::Message(list)) => {
            Val::List(list.messages("values").map(value_of).collect::<Result<_, _>>()?)
        }
        ("map_value", Field::Message(map)) => {
            let entry = |entry: &Message| {
                let side = |name| value_of(entry.message(name).ok_or("has an entry without a side")?);
                Ok::<_, String>((side("key")?, side("value")?))
            };
            Val::Map(map.messages("entries").map(entry).collect::<Result<_, _>>()?)
        }
        ("object_value", Field::Message(object)) => object_of(object)?,
        (other, _) => return Err(format!("has a value of kind {other}")),
    })
}

/// A message that stands for a value of the language: a duration or a time.
fn object_of(object: &Message) -> Result<Val<'static>, String> {
    let (name, field) = object.fields().next().ok_or("has a message without a type")?;
    let Field::Message(parts) = field else { return Err(format!("has a message {name}")) };
    let part = |name| match parts.text(name).as_str() {
        "" => Ok(0_i64),
        text => text.parse().map_err(|_| format!("has the number {text}")),
    };
    let ms = || Ok::<_, String>(part("seconds")? * 1000 + part("nanos")? / 1_000_000);
    match name {
        "[type.googleapis.com/google.protobuf.Duration]" => Ok(Val::Duration(ms()?)),
        "[type.googleapis.com/google.protobuf.Timestamp]" => Ok(Val::Timestamp(ms()?)),
        other => Err(format!("has a message {other}")),
    }
}

/// Whether a value is the expected one, its type included.
fn same(found: &Val<'_>, expected: &Val<'_>) -> bool {
    match (found, expected) {
        (Val::Null, Val::Null) => true,
        (Val::Bool(a), Val::Bool(b)) => a == b,
        (Val::Int(a), Val::Int(b)) | (Val::Timestamp(a), Val::Timestamp(b)) => a == b,
        (Val::Duration(a), Val::Duration(b)) => a == b,
        (Val::Uint(a), Val::Uint(b)) => a == b,
        (Val::Float(a), Val::Float(b)) => a == b || (a.is_nan() && b.is_nan()),
        (Val::Text(a), Val::Text(b)) => a == b,
        (Val::Bytes(a), Val::Bytes(b)) => a == b,
        (Val::Type(a), Val::Type(b)) => a == b,
        (Val::List(a), Val::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Val::Map(a), Val::Map(b)) => {
            a.len() == b.len()
                && b.iter()
                    .all(|(key, value)| a.iter().any(|(known, found)| same(known, key) && same(found, value)))
        }
        _ => false,
    }
}
