//! Errors of an answer: the closed list of codes, and their form in JSON.
//!
//! Comes in: what went wrong and where. Goes out: entries of `errors`. What clients must not see (a store's own
//! words) is masked here: it goes to the log under an id, and the id to the client.

use std::fmt::Display;
use std::sync::Arc;

use super::wire;
use crate::observe::metrics;

/// The codes a client can meet in `extensions.code`. A closed list: nothing else is ever sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    BadUserInput,
    CursorInvalid,
    CursorModelChanged,
    StaleRead,
    LimitExceeded,
    Internal,
}

impl Code {
    /// The code as it is sent.
    pub fn name(self) -> &'static str {
        match self {
            Code::BadUserInput => "BAD_USER_INPUT",
            Code::CursorInvalid => "CURSOR_INVALID",
            Code::CursorModelChanged => "CURSOR_MODEL_CHANGED",
            Code::StaleRead => "STALE_READ",
            Code::LimitExceeded => "LIMIT_EXCEEDED",
            Code::Internal => "INTERNAL",
        }
    }
}

/// Line and column in the operation's text, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub line: u32,
    pub column: u32,
}

/// What went wrong: one sentence and its code. Cheap to copy, since one failed read can concern many fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub code: Code,
    pub message: Arc<str>,
}

impl Fault {
    pub fn new(code: Code, message: impl Into<Arc<str>>) -> Fault {
        Fault { code, message: message.into() }
    }

    /// A fault of ours or of the store: the log has the words, the client an id.
    pub fn internal(what: &str, cause: impl Display) -> Fault {
        let id = uuid::Uuid::from_u64_pair(fastrand::u64(..), fastrand::u64(..)).simple().to_string();
        tracing::error!(%id, what, %cause, "A read failed; the client was answered with this id.");
        Fault::new(Code::Internal, format!("Internal error. The log has the cause under id {id}."))
    }
}

/// A fault that keeps an operation from being executed at all: the answer has no `data`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub parsed: bool,
    pub faults: Vec<(Fault, Vec<Place>)>,
}

impl Refusal {
    /// The text parses, but cannot be executed.
    pub fn of(fault: Fault) -> Refusal {
        Refusal { parsed: true, faults: vec![(fault, Vec::new())] }
    }

    /// The same, about a place in the text.
    pub fn at(fault: Fault, place: Option<Place>) -> Refusal {
        Refusal { parsed: true, faults: vec![(fault, place.into_iter().collect())] }
    }

    /// The whole answer.
    pub fn body(&self) -> Vec<u8> {
        let mut out = br#"{"errors":["#.to_vec();
        for (index, (fault, places)) in self.faults.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            push_error(&mut out, fault, places, &[]);
        }
        out.extend_from_slice(b"]}");
        out
    }
}

/// A step of a path into the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

/// Writes one entry of `errors`.
pub(super) fn push_error(out: &mut Vec<u8>, fault: &Fault, places: &[Place], path: &[Step<'_>]) {
    metrics().error(fault.code.name());
    out.extend_from_slice(br#"{"message":"#);
    wire::push_string(out, &fault.message);
    if !places.is_empty() {
        out.extend_from_slice(br#","locations":["#);
        for (index, place) in places.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            out.extend_from_slice(br#"{"line":"#);
            wire::push_integer(out, i64::from(place.line));
            out.extend_from_slice(br#","column":"#);
            wire::push_integer(out, i64::from(place.column));
            out.push(b'}');
        }
        out.push(b']');
    }
    if !path.is_empty() {
        out.extend_from_slice(br#","path":"#);
        push_path(out, path);
    }
    out.extend_from_slice(br#","extensions":{"code":""#);
    out.extend_from_slice(fault.code.name().as_bytes());
    out.extend_from_slice(br#""}}"#);
}

/// Writes a path as a JSON list.
pub(super) fn push_path(out: &mut Vec<u8>, path: &[Step<'_>]) {
    out.push(b'[');
    for (index, step) in path.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        match step {
            Step::Key(key) => wire::push_string(out, key),
            Step::Index(at) => wire::push_integer(out, i64::try_from(*at).expect("an index fits 63 bits")),
        }
    }
    out.push(b']');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_message_locations_path_and_code_in_that_order() {
        let mut out = Vec::new();
        push_error(
            &mut out,
            &Fault::new(Code::BadUserInput, "first is \"-1\""),
            &[Place { line: 1, column: 3 }],
            &[Step::Key("orders"), Step::Index(2)],
        );
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#"{"message":"first is \"-1\"","locations":[{"line":1,"column":3}],"path":["orders",2],"extensions":{"code":"BAD_USER_INPUT"}}"#
        );
    }

    #[test]
    fn an_internal_fault_hides_its_cause() {
        let fault = Fault::internal("reading carts", "disk on fire");
        assert_eq!(fault.code, Code::Internal);
        assert!(!fault.message.contains("fire"), "{}", fault.message);
    }
}
