//! What a browser gets: the status page, GraphiQL and the SDL. All of it comes from inside the binary.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::answer::{Code, Refusal, nothing_here, with_type};
use super::graphql::NOTHING_ANSWERS;
use super::{Shared, guard};

/// The page at `/`.
const STATUS: &str = include_str!("assets/status.html");
/// Our own small page for queries, where GraphiQL was not to be had when this was built.
const QUERY: &str = include_str!("assets/query.html");
/// The page that loads GraphiQL.
const GRAPHIQL: &str = include_str!("assets/graphiql.html");
const GRAPHIQL_START: &str = include_str!("assets/graphiql.js");

/// Files of GraphiQL, compressed by the build script: name, content type, bytes. Empty without npm.
struct Packed {
    name: &'static str,
    content_type: &'static str,
    gzip: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/graphiql.rs"));

/// `GET /`.
pub(super) async fn status() -> Result<Response, Refusal> {
    with_nonce(STATUS, "connect-src 'self'")
}

/// `GET /graphiql`, and `GET /graphql` for a browser.
pub(super) async fn graphiql(State(shared): State<Arc<Shared>>) -> Response {
    let example = shared.options.examples.query.as_deref().unwrap_or(ANY_QUERY);
    let (page, policy) = match PACKED.is_empty() {
        // The fallback has its script inside, so it goes the way of the status page.
        true => {
            return with_nonce(&QUERY.replace("{{query}}", &escaped(example)), "connect-src 'self'")
                .into_response();
        }
        // CodeMirror sizes its lines by styles that it writes itself.
        false => (GRAPHIQL.replace("{{query}}", &escaped(example)), GRAPHIQL_POLICY),
    };
    let mut response = with_type(StatusCode::OK, "text/html; charset=utf-8", page);
    let policy = HeaderValue::from_static(policy);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}

const GRAPHIQL_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data:; font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

/// Works on every project.
const ANY_QUERY: &str =
    "{\n  __schema {\n    queryType {\n      fields { name description }\n    }\n  }\n}\n";

/// `GET /graphiql/{file}`.
pub(super) async fn asset(
    file: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    uri: axum::http::Uri,
) -> Response {
    let Ok(Path(file)) = file else { return nothing_here(uri).await };
    if file == "start.js" {
        return with_type(StatusCode::OK, "text/javascript; charset=utf-8", GRAPHIQL_START);
    }
    let Some(packed) = PACKED.iter().find(|one| one.name == file) else { return nothing_here(uri).await };
    let takes_gzip = guard::text(&headers, header::ACCEPT_ENCODING)
        .is_some_and(|text| text.split(',').any(|one| one.trim().starts_with("gzip") || one.trim() == "*"));
    let mut response = match takes_gzip {
        true => with_type(StatusCode::OK, packed.content_type, packed.gzip),
        false => match unpacked(packed.gzip) {
            Ok(plain) => with_type(StatusCode::OK, packed.content_type, plain),
            Err(error) => {
                tracing::error!(%file, %error, "An embedded file cannot be unpacked.");
                return StatusCode::INTERNAL_SERVER_ERROR.into_response();
            }
        },
    };
    let headers = response.headers_mut();
    if takes_gzip {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    // The names carry their versions, so they may be kept.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("max-age=86400"));
    response
}

fn unpacked(gzip: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut plain = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(gzip), &mut plain)?;
    Ok(plain)
}

/// `GET /sdl`: what a gateway composes.
pub(super) async fn sdl(State(shared): State<Arc<Shared>>) -> Result<Response, Refusal> {
    match shared.backend.sdl() {
        Some(sdl) => Ok(with_type(StatusCode::OK, "text/plain; charset=utf-8", sdl.to_string())),
        None => Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, Code::Overloaded, NOTHING_ANSWERS)),
    }
}

/// A page whose one script and one style carry a number drawn for this answer, so that nothing put into the page
/// by others can run.
fn with_nonce(page: &str, connect: &str) -> Result<Response, Refusal> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| Refusal::overloaded(format!("this machine gives no random numbers: {error}")))?;
    let nonce = bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    });
    let mut response =
        with_type(StatusCode::OK, "text/html; charset=utf-8", page.replace("{{nonce}}", &nonce));
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; {connect}; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let policy = HeaderValue::from_str(&policy).expect("the policy is plain text");
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    Ok(response)
}

/// Text for inside HTML.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}
