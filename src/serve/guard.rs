//! Who may ask: the `host` that a request names, and the token.
//!
//! On loopback a page of another site could reach us under its own name, once that name leads here; so only our own
//! address is taken as `host`.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;

use super::Shared;
use super::answer::{Code, Refusal};
use super::room::Held;
use crate::observe::{Limit, metrics};

/// Refuses requests under a foreign name while we listen on loopback.
pub(super) async fn host(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    if shared.address.ip().is_loopback() && !names_us(request.headers(), shared.address) {
        return foreign(request.headers(), shared.address).into_response();
    }
    next.run(request).await
}

/// Counts requests, and refuses those that come while the process ends; probes and scrapes are answered to the last.
pub(super) async fn stopping(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    // Counted before it is looked: who waits for the last request sees this one, or this one sees that it is late.
    let _busy = Busy::of(&shared);
    let path = request.uri().path();
    let (route, is_watched) = (route(path), path.starts_with("/health/") || path == METRICS);
    let response = match shared.is_stopping() && !is_watched {
        true => Refusal::overloaded(STOPPING).into_response(),
        false => next.run(request).await,
    };
    metrics().request(route, response.status().as_u16());
    response
}

/// Where the metrics are.
pub(super) const METRICS: &str = "/metrics";

/// The route of a path, for counting: one of a few, whatever the path says.
fn route(path: &str) -> &'static str {
    const ROUTES: [&str; 8] =
        ["/graphql", "/topics", "/sdl", "/health", "/admin", METRICS, "/status.json", "/graphiql"];
    let of = |route: &&&str| {
        path.strip_prefix(**route).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    match path {
        "/" => "/",
        _ => ROUTES.iter().find(of).copied().unwrap_or("other"),
    }
}

/// Said while the process ends.
pub(super) const STOPPING: &str = "this process is ending; come again, to another or when it is back";

/// A request that is being worked on, to its end or until its client is gone.
struct Busy(Arc<Shared>);

impl Busy {
    fn of(shared: &Arc<Shared>) -> Busy {
        shared.busy.send_modify(|busy| *busy += 1);
        Busy(Arc::clone(shared))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.send_modify(|busy| *busy -= 1);
    }
}

/// Whether `host` is the address we listen on. Beyond loopback any name may lead to us.
fn names_us(headers: &HeaderMap, address: SocketAddr) -> bool {
    let Some(host) = text(headers, header::HOST) else { return false };
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, port.parse().ok()),
        _ => (host, Some(80)),
    };
    let ours = address.ip();
    let same = name.eq_ignore_ascii_case("localhost")
        || name.trim_matches(['[', ']']).parse().is_ok_and(|ip: std::net::IpAddr| ip == ours);
    same && port == Some(address.port())
}

fn foreign(headers: &HeaderMap, address: SocketAddr) -> Refusal {
    let found = text(headers, header::HOST).map_or("missing".to_owned(), |found| format!("\"{found}\""));
    let message = format!("the header `host` is {found}, but this server answers as \"{address}\" only");
    Refusal::new(StatusCode::FORBIDDEN, Code::Forbidden, message)
}

/// Asks for the token.
pub(super) fn token(shared: &Shared, headers: &HeaderMap) -> Result<(), Refusal> {
    let refused = |message: &str| Err(Refusal::new(StatusCode::UNAUTHORIZED, Code::Unauthenticated, message));
    match text(headers, header::AUTHORIZATION).map(|given| given.split_once(' ')) {
        Some(Some((scheme, given))) if scheme.eq_ignore_ascii_case("bearer") => {
            if shared.options.token.is(given.trim()) {
                Ok(())
            } else {
                refused("the token is not the one of this process; DATA/endpoint holds it")
            }
        }
        _ => refused("this needs `authorization: Bearer <token>`; DATA/endpoint holds the token"),
    }
}

/// A header as text.
pub(super) fn text(headers: &HeaderMap, name: impl header::AsHeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// Ends what takes too long. What it held is given back: dropping a read is always safe.
pub(super) async fn within<T>(deadline: Duration, work: impl Future<Output = T>) -> Result<T, Refusal> {
    tokio::time::timeout(deadline, work).await.map_err(|_| {
        let message = format!("the request took longer than {} ms (`serve.deadline`)", deadline.as_millis());
        Refusal::new(StatusCode::GATEWAY_TIMEOUT, Code::Timeout, message)
    })
}

/// Turns a panic into an answer: the connection, and all others, go on.
pub(super) async fn caught<T>(mut work: BoxFuture<'_, T>) -> Result<T, Refusal> {
    std::future::poll_fn(|context| {
        // What panicked is never polled again, so nothing sees it half done.
        match std::panic::catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
            Ok(polled) => polled.map(Ok),
            Err(panic) => {
                let said = panic.downcast_ref::<String>().map(String::as_str);
                let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
                Poll::Ready(Err(Refusal::internal(said)))
            }
        }
    })
    .await
}

/// A bound on a body: its bytes, and the setting that says so.
pub(super) struct BodyBound {
    pub bytes_max: usize,
    pub limit: Limit,
}

/// Reads a body within a bound and a time.
///
/// # Errors
/// 413 where it is larger, said before all of it has come: where the request declares its length, before any has. 408
/// where it comes too slowly; 503 where there is no room for it.
pub(super) async fn body(shared: &Shared, body: Body, bound: BodyBound) -> Result<(Bytes, Held), Refusal> {
    let deadline = shared.settings.deadline;
    tokio::time::timeout(deadline, whole(shared.room.nothing(), body, bound)).await.map_err(|_| {
        let message = format!("the body did not come within {} ms (`serve.deadline`)", deadline.as_millis());
        Refusal::new(StatusCode::REQUEST_TIMEOUT, Code::Timeout, message)
    })?
}

async fn whole(
    mut held: Held,
    body: Body,
    BodyBound { bytes_max, limit }: BodyBound,
) -> Result<(Bytes, Held), Refusal> {
    let too_large = || {
        let message = format!("the body is larger than {bytes_max} bytes (`{}`)", limit.name());
        metrics().limit_hit(limit);
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, Code::LimitExceeded, message)
    };
    let declared = axum::body::HttpBody::size_hint(&body).lower();
    if declared > bytes_max as u64 {
        return Err(too_large());
    }
    held.grow_to(usize::try_from(declared).unwrap_or(usize::MAX))?;
    let mut stream = body.into_data_stream();
    let mut first = Bytes::new();
    let mut whole: Vec<u8> = Vec::new();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|error| Refusal::bad_input(format!("the body broke off: {error}")))?;
        if first.len() + whole.len() + chunk.len() > bytes_max {
            return Err(too_large());
        }
        held.grow_to(first.len() + whole.len() + chunk.len())?;
        match (first.is_empty(), whole.is_empty()) {
            (true, true) => first = chunk,
            (_, true) => {
                whole = Vec::from(std::mem::take(&mut first));
                whole.extend_from_slice(&chunk);
            }
            (_, false) => whole.extend_from_slice(&chunk),
        }
    }
    Ok((if whole.is_empty() { first } else { Bytes::from(whole) }, held))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(host: &str, address: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().expect("a header"));
        names_us(&headers, address.parse().expect("an address"))
    }

    #[test]
    fn only_our_own_address_is_our_name() {
        assert!(named("127.0.0.1:4000", "127.0.0.1:4000"));
        assert!(named("localhost:4000", "127.0.0.1:4000"));
        assert!(named("LOCALHOST:4000", "127.0.0.1:4000"));
        assert!(named("[::1]:4000", "[::1]:4000"));
        assert!(named("localhost", "127.0.0.1:80"));
        assert!(!named("127.0.0.1:4001", "127.0.0.1:4000"));
        assert!(!named("127.0.0.1", "127.0.0.1:4000"));
        assert!(!named("evil.example:4000", "127.0.0.1:4000"));
        assert!(!named("127.0.0.1.evil.example:4000", "127.0.0.1:4000"));
        assert!(!named("[::1]", "[::1]:4000"));
        assert!(!named("", "127.0.0.1:4000"));
    }
}
