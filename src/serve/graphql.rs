//! GraphQL over HTTP: `GET` and `POST /graphql`.
//!
//! A well-formed request that asks for `application/json` has status 200 whatever became of its operation; one that
//! asks for `application/graphql-response+json` has a status that says it. Only JSON bodies are taken, so that no
//! form of another site can post here.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use tracing::Instrument;

use super::answer::{Code, Refusal, with_type};
use super::guard::BodyBound;
use super::negotiate::{Wanted, is_type, wanted};
use super::params::{self, Params};
use super::{Shared, guard, page};
use crate::observe::{Limit, OperationKind, continue_trace, metrics};
use crate::resolve::fresh::{parse_read_after, parse_wait};
use crate::resolve::{Answer, Caching, Outcome, Request as Operation, Wait};

/// Said while there is no generation.
pub(super) const NOTHING_ANSWERS: &str =
    "nothing answers yet: tables are being built, or the definitions have faults, see `/`; come again";

/// Bytes of the longest name of an operation that a span shows.
const OPERATION_NAME_MAX: usize = 200;

const READ_AFTER: &str = "x-read-after";
const READ_WAIT: &str = "x-read-wait";
const READ_POSITION: HeaderName = HeaderName::from_static("x-read-position");
const READ_STALE: HeaderName = HeaderName::from_static("x-read-stale");

/// `GET /graphql`: a query in the address, or GraphiQL for a browser.
pub(super) async fn by_get(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let query = request.uri().query().unwrap_or("").to_owned();
    let wanted = match wanted(guard::text(request.headers(), header::ACCEPT)) {
        Some(Wanted::Page) if !query.contains("query=") || request.method() == Method::HEAD => {
            return page::graphiql(State(shared)).await;
        }
        Some(Wanted::Page) => Wanted::Json,
        Some(wanted) => wanted,
        None => return not_acceptable(),
    };
    let answered = match params::from_query(&query).map_err(Refusal::bad_input) {
        Ok(params) => answer(&shared, request.headers(), params, true, wanted).await,
        Err(refusal) => Err(refusal),
    };
    answered.unwrap_or_else(|refusal| refusal.answer(wanted))
}

/// `POST /graphql`: a JSON body.
pub(super) async fn by_post(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let wanted = match wanted(guard::text(request.headers(), header::ACCEPT)) {
        Some(Wanted::Page) => Wanted::Json,
        Some(wanted) => wanted,
        None => return not_acceptable(),
    };
    posted(&shared, request, wanted).await.unwrap_or_else(|refusal| refusal.answer(wanted))
}

async fn posted(shared: &Shared, request: Request, wanted: Wanted) -> Result<Response, Refusal> {
    let content_type = guard::text(request.headers(), header::CONTENT_TYPE);
    if !is_type(content_type, &["application/json"]) {
        let message = format!(
            "the header `content-type` is {}; it must be application/json, in UTF-8",
            content_type.map_or("missing".to_owned(), |found| format!("\"{found}\""))
        );
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::BadUserInput, message));
    }
    let (parts, body) = request.into_parts();
    let bound = BodyBound { bytes_max: shared.settings.limits.body.len(), limit: Limit::Body };
    let (body, held) = guard::body(shared, body, bound).await?;
    let params = params::from_body(&body).map_err(Refusal::bad_input)?;
    drop(body);
    let answered = answer(shared, &parts.headers, params, false, wanted).await;
    drop(held);
    answered
}

async fn answer(
    shared: &Shared,
    headers: &HeaderMap,
    params: Params,
    get: bool,
    wanted: Wanted,
) -> Result<Response, Refusal> {
    let (read_after, wait) = freshness(headers)?;
    let _permit = shared.permits.try_acquire().map_err(|_| {
        let most = shared.settings.concurrent;
        metrics().limit_hit(Limit::Concurrent);
        Refusal::overloaded(format!("{most} requests are being answered (`serve.concurrent`); come again"))
    })?;
    let _waiting = match read_after.is_empty() {
        true => None,
        false => Some(shared.waiting.try_acquire().map_err(|_| {
            let most = shared.settings.waiting;
            metrics().limit_hit(Limit::Waiting);
            Refusal::overloaded(format!("{most} requests wait for positions (`serve.waiting`); come again"))
        })?),
    };
    let waiting = if read_after.is_empty() { Duration::ZERO } else { wait.at_most };
    let mutation = get && params::is_mutation(&params.query);
    let Params { query, operation_name, variables } = params;
    let operation = Operation { query, operation_name, variables, read_after, wait, get, at_ms: None };
    let begun = Instant::now();
    let span = request_span(headers, operation.operation_name.as_deref());
    let executing = guard::caught(shared.backend.execute(operation)).instrument(span.clone());
    let answered = guard::within(shared.settings.deadline + waiting, executing).await.flatten();
    let kind =
        answered.as_ref().ok().and_then(Option::as_ref).map_or(OperationKind::Refused, |answer| answer.kind);
    metrics().operation(kind, begun.elapsed());
    span.record("kind", kind.name());
    let answer = answered?.ok_or_else(|| Refusal::overloaded(NOTHING_ANSWERS))?;
    response(shared, answer, wanted, mutation)
}

/// The span of an operation, in the trace that the request's headers name.
fn request_span(headers: &HeaderMap, name: Option<&str>) -> tracing::Span {
    let span = tracing::info_span!(
        "request",
        otel.kind = "server",
        operation = tracing::field::Empty,
        kind = tracing::field::Empty
    );
    if let Some(name) = name.filter(|name| name.len() <= OPERATION_NAME_MAX) {
        span.record("operation", name);
    }
    continue_trace(&span, guard::text(headers, "traceparent"), guard::text(headers, "tracestate"));
    span
}

fn freshness(headers: &HeaderMap) -> Result<(Vec<crate::event::Position>, Wait), Refusal> {
    let bad = |name: &str, reason: String| {
        Refusal::new(StatusCode::BAD_REQUEST, Code::BadReadAfter, format!("the header `{name}`: {reason}"))
    };
    let header = |name: &str| match headers.get(name).map(HeaderValue::to_str) {
        None => Ok(None),
        Some(Ok(text)) => Ok(Some(text)),
        Some(Err(_)) => Err(bad(name, "it is not text".to_owned())),
    };
    let read_after = match header(READ_AFTER)? {
        Some(text) => parse_read_after(text).map_err(|reason| bad(READ_AFTER, reason))?,
        None => Vec::new(),
    };
    let wait = match header(READ_WAIT)? {
        Some(text) => parse_wait(text).map_err(|reason| bad(READ_WAIT, reason))?,
        None => Wait::default(),
    };
    Ok((read_after, wait))
}

fn response(
    shared: &Shared,
    answer: Answer,
    wanted: Wanted,
    mutation_by_get: bool,
) -> Result<Response, Refusal> {
    let status = status(answer.outcome, wanted, mutation_by_get);
    let mut response = with_type(status, wanted.content_type(), shared.room.keep(answer.body)?);
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("accept"));
    if let Ok(position) = HeaderValue::from_str(&answer.position)
        && !answer.position.is_empty()
    {
        headers.insert(READ_POSITION, position);
    }
    if let Some(Caching { max_age_s, is_private }) = answer.caching {
        let scope = if is_private { "private" } else { "public" };
        if let Ok(kept) = HeaderValue::from_str(&format!("max-age={max_age_s}, {scope}")) {
            headers.insert(header::CACHE_CONTROL, kept);
        }
        // Who has written something may not be given what was kept before.
        headers.insert(header::VARY, HeaderValue::from_static("accept, x-read-after, x-read-wait"));
    }
    if answer.stale {
        headers.insert(READ_STALE, HeaderValue::from_static("true"));
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
    }
    Ok(response)
}

fn status(outcome: Outcome, wanted: Wanted, mutation_by_get: bool) -> StatusCode {
    match (outcome, wanted) {
        (Outcome::Executed, _) => StatusCode::OK,
        (Outcome::Stale, _) => StatusCode::SERVICE_UNAVAILABLE,
        (Outcome::NotParsed | Outcome::NotValid, _) if mutation_by_get => StatusCode::METHOD_NOT_ALLOWED,
        (Outcome::NotParsed | Outcome::NotValid, Wanted::Response) => StatusCode::BAD_REQUEST,
        (Outcome::NotParsed | Outcome::NotValid, _) => StatusCode::OK,
    }
}

fn not_acceptable() -> Response {
    let message = "nothing that `accept` names is here; there are application/graphql-response+json, \
                   application/json and, for GET, text/html";
    Refusal::new(StatusCode::NOT_ACCEPTABLE, Code::BadUserInput, message).answer(Wanted::Json)
}
