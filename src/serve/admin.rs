//! What operators and commands ask: health, status, parked keys.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::answer::{Refusal, json, not_text, with_type};
use super::{PARKED_LISTED, PARKED_LISTED_MAX, ParkedAction, ParkedError, ParkedQuery, PauseOrder, Shared};
use super::{guard, params};
use crate::engine::Status;
use crate::observe;

/// `GET /health/live`: the process turns.
pub(super) async fn live() -> Response {
    json(StatusCode::OK, &json!({ "status": "live" }))
}

/// `GET /health/ready`: 200 once a generation answers and some projection is not halted; else 503 with the reason.
pub(super) async fn ready(State(shared): State<Arc<Shared>>) -> Response {
    let status = shared.backend.status().await;
    match not_ready(&shared, &status) {
        None => json(StatusCode::OK, &ready_body(&status)),
        Some(reason) => {
            let mut response =
                json(StatusCode::SERVICE_UNAVAILABLE, &json!({ "status": "not ready", "reason": reason }));
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            response
        }
    }
}

/// Rows that stand still are answered, and answers say how far they lag; so a stall is said, and takes nobody away.
fn ready_body(status: &Status) -> serde_json::Value {
    let stalled = status.projections.iter().filter_map(|one| Some((&one.name, one.stalled.as_ref()?)));
    let stalled: serde_json::Map<String, serde_json::Value> =
        stalled.map(|(name, stall)| (name.clone(), stall.to_string().into())).collect();
    match stalled.is_empty() {
        true => json!({ "status": "ready" }),
        false => json!({ "status": "ready", "stalled": stalled }),
    }
}

fn not_ready(shared: &Shared, status: &Status) -> Option<String> {
    if shared.is_stopping() {
        return Some(guard::STOPPING.to_owned());
    }
    if shared.backend.sdl().is_none() {
        return Some("no generation answers yet".to_owned());
    }
    let halted = |state: &str| state.starts_with("halted");
    let all_halted =
        !status.projections.is_empty() && status.projections.iter().all(|one| halted(&one.state));
    all_halted.then(|| {
        let states = status.projections.iter().map(|one| format!("{}: {}", one.name, one.state));
        format!("all projections are halted; {}", states.collect::<Vec<_>>().join("; "))
    })
}

/// `GET /metrics`: for Prometheus.
pub(super) async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let text = observe::text(&shared.backend.measured().await);
    with_type(StatusCode::OK, observe::CONTENT_TYPE, text)
}

/// `GET /admin/status`, with the token.
pub(super) async fn status(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    guard::token(&shared, &headers)?;
    Ok(json(StatusCode::OK, &shared.backend.status().await))
}

/// `GET /admin/parked`, with the token: a page of the parked keys.
pub(super) async fn parked(
    State(shared): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    guard::token(&shared, &headers)?;
    let query = asked_for(query)?.page();
    let list = shared.backend.parked(query).await.map_err(refused)?;
    Ok(json(StatusCode::OK, &list))
}

/// `GET /admin/parked/{key}`, with the token: the keys that have this id or are shown so, with a page of their queues.
pub(super) async fn parked_key(
    State(shared): State<Arc<Shared>>,
    key: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    guard::token(&shared, &headers)?;
    let Path(key) = key.map_err(not_text)?;
    let query = asked_for(query)?.page();
    let found = shared.backend.parked_key(key, query).await.map_err(refused)?;
    Ok(json(StatusCode::OK, &json!({ "parked": found })))
}

/// `POST /admin/parked/{key}/{retry|skip-first|drop}`, with the token: one step for a key.
pub(super) async fn release_parked(
    State(shared): State<Arc<Shared>>,
    path: Result<Path<(String, String)>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    guard::token(&shared, &headers)?;
    let Path((key, release)) = path.map_err(not_text)?;
    let Asked { projection, first, .. } = asked_for(query)?;
    let action = ParkedAction { release, projection, first };
    let done = shared.backend.release_parked(key, action).await.map_err(refused)?;
    Ok(json(StatusCode::OK, &done))
}

/// `POST /admin/projections/{projection}/{pause|resume}?by=`, with the token.
pub(super) async fn set_paused(
    State(shared): State<Arc<Shared>>,
    path: Result<Path<(String, String)>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    guard::token(&shared, &headers)?;
    let Path((projection, what)) = path.map_err(not_text)?;
    let pause = match what.as_str() {
        "pause" => true,
        "resume" => false,
        _ => return Err(Refusal::bad_input(format!("{what:?} is not what can be done: pause or resume"))),
    };
    let by = asked_for(query)?.by.unwrap_or_else(|| "somebody".to_owned());
    let done = shared.backend.set_paused(PauseOrder { projection, pause, by }).await.map_err(refused)?;
    Ok(json(StatusCode::OK, &done))
}

/// What a request about parked keys or projections may say.
#[derive(Debug, Default)]
struct Asked {
    projection: Option<String>,
    after: Option<String>,
    limit: Option<usize>,
    first: Option<String>,
    by: Option<String>,
}

impl Asked {
    fn page(self) -> ParkedQuery {
        let limit = self.limit.unwrap_or(PARKED_LISTED).clamp(1, PARKED_LISTED_MAX);
        ParkedQuery { projection: self.projection, after: self.after, limit }
    }
}

fn asked_for(query: Option<String>) -> Result<Asked, Refusal> {
    let mut asked = Asked::default();
    for (name, value) in params::pairs(query.as_deref().unwrap_or_default()).map_err(Refusal::bad_input)? {
        match name.as_str() {
            "projection" => asked.projection = Some(value),
            "after" => asked.after = Some(value),
            "first" => asked.first = Some(value),
            "by" => asked.by = Some(value),
            "limit" => {
                let limit = value.parse();
                let refused =
                    |_| Refusal::bad_input(format!("the parameter `limit` is {value:?}, not a number"));
                asked.limit = Some(limit.map_err(refused)?);
            }
            _ => {
                let known = "`projection`, `after`, `limit`, `first` and `by`";
                return Err(Refusal::bad_input(format!("there is no parameter {name:?}; there are {known}")));
            }
        }
    }
    Ok(asked)
}

fn refused(error: ParkedError) -> Refusal {
    match error {
        ParkedError::NotThere(_) | ParkedError::Refused(_) => Refusal::bad_input(error.to_string()),
        ParkedError::Unavailable(reason) => Refusal::overloaded(reason),
    }
}

/// `GET /status.json`: what the page shows. Parked keys can be people's; beyond loopback they are only counted.
pub(super) async fn status_json(State(shared): State<Arc<Shared>>) -> Response {
    let status = shared.backend.status().await;
    let parked = match shared.address.ip().is_loopback() {
        true => {
            shared.backend.parked(ParkedQuery::default()).await.map(|list| list.parked).unwrap_or_default()
        }
        false => Vec::new(),
    };
    let not_ready = not_ready(&shared, &status);
    json(
        StatusCode::OK,
        &json!({
            "project": shared.options.project,
            "publish": shared.options.publish,
            "examples": shared.options.examples,
            "notReady": not_ready,
            "status": status,
            "parked": parked,
        }),
    )
    .into_response()
}
