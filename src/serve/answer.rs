//! Answers that are not the backend's: errors as GraphQL writes them, and JSON.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::negotiate::Wanted;
use crate::observe::metrics;

/// Codes of `serve`, out of the closed list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    BadUserInput,
    BadReadAfter,
    LimitExceeded,
    Timeout,
    Overloaded,
    Unauthenticated,
    Forbidden,
    Internal,
}

impl Code {
    fn name(self) -> &'static str {
        match self {
            Code::BadUserInput => "BAD_USER_INPUT",
            Code::BadReadAfter => "BAD_READ_AFTER",
            Code::LimitExceeded => "LIMIT_EXCEEDED",
            Code::Timeout => "TIMEOUT",
            Code::Overloaded => "OVERLOADED",
            Code::Unauthenticated => "UNAUTHENTICATED",
            Code::Forbidden => "FORBIDDEN",
            Code::Internal => "INTERNAL",
        }
    }
}

/// A refusal: status, code and a sentence.
#[derive(Debug)]
pub(super) struct Refusal {
    pub status: StatusCode,
    pub code: Code,
    pub message: String,
    /// Line of the body, from 1, where one line is to blame.
    pub line: Option<usize>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, code: Code, message: impl Into<String>) -> Refusal {
        Refusal { status, code, message: message.into(), line: None }
    }

    /// A 400 for what a client wrote.
    pub(super) fn bad_input(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::BAD_REQUEST, Code::BadUserInput, message)
    }

    /// A 400 for a line of the body.
    pub(super) fn at_line(line: usize, reason: impl std::fmt::Display) -> Refusal {
        Refusal { line: Some(line), ..Refusal::bad_input(format!("line {line}: {reason}")) }
    }

    /// Too much at once: come again in a second.
    pub(super) fn overloaded(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, Code::Overloaded, message)
    }

    /// A bug of ours: the client gets a number that the log has, and nothing of what happened.
    pub(super) fn internal(happened: impl std::fmt::Display) -> Refusal {
        let mut bytes = [0_u8; 8];
        let drawn = getrandom::fill(&mut bytes).is_ok();
        let id = if drawn { format!("{:016x}", u64::from_be_bytes(bytes)) } else { "unnumbered".to_owned() };
        tracing::error!(%id, %happened, "A request met a bug of this program.");
        let message = format!("something is wrong in this server; its log has more under {id}");
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, Code::Internal, message)
    }

    /// The answer, in the type that the client takes.
    pub(super) fn answer(self, wanted: Wanted) -> Response {
        metrics().error(self.code.name());
        let mut extensions = serde_json::json!({ "code": self.code.name() });
        if let Some(line) = self.line {
            extensions["line"] = line.into();
        }
        let body = serde_json::json!({ "errors": [{ "message": self.message, "extensions": extensions }] });
        let content_type = match wanted {
            Wanted::Response => Wanted::Response.content_type(),
            Wanted::Json | Wanted::Page => Wanted::Json.content_type(),
        };
        let mut response = with_type(self.status, content_type, body.to_string());
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        self.answer(Wanted::Json)
    }
}

/// A response with a content type; never sniffed, never stored by caches.
pub(super) fn with_type(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// A value as JSON.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => with_type(status, "application/json; charset=utf-8", body),
        Err(error) => {
            tracing::error!(%error, "An answer could not be written as JSON.");
            with_type(
                StatusCode::INTERNAL_SERVER_ERROR,
                "text/plain; charset=utf-8",
                "the answer could not be written",
            )
        }
    }
}

/// A path whose parts are not text.
pub(super) fn not_text(_: axum::extract::rejection::PathRejection) -> Refusal {
    Refusal::bad_input("the path is not UTF-8 once its %XX are read")
}

/// A path that is not ours.
pub(super) async fn nothing_here(uri: axum::http::Uri) -> Response {
    let message = format!("there is nothing at {}; `/` says what is here", uri.path());
    Refusal::new(StatusCode::NOT_FOUND, Code::BadUserInput, message).into_response()
}

/// A method that a path does not take. The router adds `allow`.
pub(super) async fn wrong_method(method: axum::http::Method, uri: axum::http::Uri) -> Response {
    let message = format!("{} does not take {method}; the header `allow` says what it does", uri.path());
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, Code::BadUserInput, message).into_response()
}
