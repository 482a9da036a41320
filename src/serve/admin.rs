//! What operators and commands ask: health, status, parked keys.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::Shared;
use super::answer::{Refusal, json, not_text};
use super::guard;
use crate::engine::Status;

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

/// `GET /admin/status`, with the token.
pub(super) async fn status(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    guard::token(&shared, &headers)?;
    Ok(json(StatusCode::OK, &shared.backend.status().await))
}

/// `GET /admin/parked`, with the token.
pub(super) async fn parked(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    guard::token(&shared, &headers)?;
    Ok(json(StatusCode::OK, &json!({ "parked": shared.backend.parked().await })))
}

/// `GET /admin/parked/{key}`, with the token: the keys that are shown as this text, with their queues.
pub(super) async fn parked_key(
    State(shared): State<Arc<Shared>>,
    key: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    guard::token(&shared, &headers)?;
    let Path(key) = key.map_err(not_text)?;
    match shared.backend.parked_key(key).await {
        Ok(found) => Ok(json(StatusCode::OK, &json!({ "parked": found }))),
        Err(reason) => Err(Refusal::overloaded(reason)),
    }
}

/// `GET /status.json`: what the page shows. Parked keys can be people's; beyond loopback they are only counted.
pub(super) async fn status_json(State(shared): State<Arc<Shared>>) -> Response {
    let status = shared.backend.status().await;
    let parked = match shared.address.ip().is_loopback() {
        true => shared.backend.parked().await.into_iter().take(PARKED_SHOWN_MAX).collect(),
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

const PARKED_SHOWN_MAX: usize = 100;
