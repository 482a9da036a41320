//! The HTTP side: GraphQL over HTTP, the publish endpoint, health, the status page and what commands ask of a
//! running process.
//!
//! Comes in: requests. Goes out: what a [`Backend`] answers, with the right status, type and headers. `negotiate` and
//! `params` read a request, `graphql` answers it, `topics` publishes, `admin` shows, `page` has what a browser gets,
//! `guard` keeps strangers out, `connections` and `room` bound what is under way. Nothing here parses an operation, reads a table or folds an event.

mod admin;
mod answer;
pub mod client;
mod connections;
mod endpoint;
mod graphql;
mod guard;
mod negotiate;
#[cfg(test)]
mod overload_tests;
mod page;
mod params;
mod room;
#[cfg(test)]
mod tests;
mod topics;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::middleware;
use axum::routing::{get, post};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use crate::config;
use crate::engine::Status;
use crate::event::Position;
use crate::observe::Measured;
use crate::resolve::{Answer, Request};
use crate::source::NewRecord;
use connections::Bounds;
use room::Room;

pub use endpoint::{Endpoint, EndpointError, Token};

/// What stands behind the server.
pub trait Backend: Send + Sync + 'static {
    /// Executes an operation; `None` until the first generation answers.
    fn execute(&self, request: Request) -> BoxFuture<'_, Option<Answer>>;

    /// The gateway's SDL; `None` until there are definitions.
    fn sdl(&self) -> Option<Arc<str>>;

    /// How far everything is.
    fn status(&self) -> BoxFuture<'_, Status>;

    /// What `/metrics` shows of it.
    fn measured(&self) -> BoxFuture<'_, Measured>;

    /// Appends records to a topic, all or none, and answers their positions in order once they are durable.
    fn publish(
        &self,
        topic: String,
        records: Vec<NewRecord>,
    ) -> BoxFuture<'_, Result<Vec<Position>, PublishError>>;

    /// A page of the parked keys.
    fn parked(&self, query: ParkedQuery) -> BoxFuture<'_, Result<ParkedList, ParkedError>>;

    /// The parked keys that have `key` as their id or are shown so, each with a page of its queue; empty if there is none.
    fn parked_key(
        &self,
        key: String,
        query: ParkedQuery,
    ) -> BoxFuture<'_, Result<Vec<ParkedDetail>, ParkedError>>;

    /// Does a bounded step for one parked key. Whoever wants all of its queue asks again while events wait and nothing
    /// has stopped it.
    fn release_parked(
        &self,
        key: String,
        action: ParkedAction,
    ) -> BoxFuture<'_, Result<ParkedDone, ParkedError>>;

    /// Pauses a projection, or lets it fold again.
    fn set_paused(&self, order: PauseOrder) -> BoxFuture<'_, Result<Paused, ParkedError>>;
}

/// That a projection is to fold, or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PauseOrder {
    pub projection: String,
    pub pause: bool,
    /// Who says so.
    pub by: String,
}

/// What an order about a projection came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Paused {
    pub projection: String,
    /// Whether it is paused now.
    pub paused: bool,
    /// Whether that is news.
    pub changed: bool,
    /// Who paused it: the pause that stands, or that has just ended.
    pub by: Option<String>,
    /// Since when, milliseconds since 1970.
    pub since_ms: Option<i64>,
}

/// Why parked keys could not be read, or nothing was done for one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ParkedError {
    #[error("nothing is parked under {0:?}; `kinora parked list` shows the keys")]
    NotThere(String),
    #[error("{0}")]
    Refused(String),
    #[error("{0}")]
    Unavailable(String),
}

/// Why records were not published.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The request cannot be done as it is: a topic's name, a partition that is not there.
    #[error("{0}")]
    Refused(String),
    /// The log could not be written: it is full, or has halted. A partition that failed has nothing of it.
    #[error("{0}")]
    Unavailable(String),
}

/// Which parked keys, or events of one, are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedQuery {
    /// Only of this projection.
    pub projection: Option<String>,
    /// Behind the one with this id.
    pub after: Option<String>,
    /// At most so many.
    pub limit: usize,
}

impl Default for ParkedQuery {
    fn default() -> ParkedQuery {
        ParkedQuery { projection: None, after: None, limit: PARKED_LISTED }
    }
}

/// Parked keys, or events of one, that are shown where nobody says how many.
pub const PARKED_LISTED: usize = 100;

/// The most that are shown at once.
pub const PARKED_LISTED_MAX: usize = 10_000;

/// A page of parked keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParkedList {
    pub parked: Vec<ParkedView>,
    /// Id of the last one, where more follow.
    pub next: Option<String>,
}

/// What is to be done for a parked key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedAction {
    /// `retry`, `skip-first` or `drop`.
    pub release: String,
    /// Only of this projection.
    pub projection: Option<String>,
    /// Position of the event that is meant to be the first: nothing is done where another is.
    pub first: Option<String>,
}

/// What a step for a parked key has done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParkedDone {
    pub applied: u64,
    pub skipped: u64,
    pub dropped: u64,
    /// Events that still wait: none where the key is parked no more.
    pub waiting: u64,
    /// Position of the event at which it stopped, and why; `null` while it goes on.
    pub stopped: Option<String>,
}

/// A parked key, as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ParkedView {
    /// What names it alone, here and in `after`.
    pub id: String,
    pub projection: String,
    pub entity: String,
    /// The key for a person: `{"id":"o1"}`, or the record's key.
    pub key: String,
    /// `topic:partition@offset` of the first event that could not be applied.
    pub since: String,
    /// Time of that event, milliseconds since 1970.
    pub since_ms: i64,
    /// `decode`, `upcast`, `route` or `fold`.
    pub stage: String,
    pub reason: String,
    /// The event's type, where it could be read.
    #[serde(rename = "type")]
    pub type_name: Option<String>,
    /// Events that wait, the first included.
    pub waiting: u64,
}

/// A parked key with the events that wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ParkedDetail {
    #[serde(flatten)]
    pub parked: ParkedView,
    /// Oldest first.
    pub queue: Vec<WaitingEvent>,
    /// Why the log was not asked for their values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unread: Option<String>,
}

/// An event that waits behind a parked key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WaitingEvent {
    /// `topic:partition@offset`.
    pub position: String,
    /// What names it in `after`.
    pub id: String,
    pub time_ms: i64,
    /// The record's value as text, cut after 4 KiB; `null` where the log no longer has it or it is a tombstone.
    pub value: Option<String>,
}

/// What a server is told beside its settings.
#[derive(Clone, Debug)]
pub struct Options {
    /// Name of the project, for the page.
    pub project: String,
    /// Guards `/admin/*`, and publishing beyond loopback.
    pub token: Token,
    /// Whether `POST /topics/{topic}` is there.
    pub publish: bool,
    /// What the page and GraphiQL offer to try.
    pub examples: Examples,
}

/// Something to try, for the page and GraphiQL. Fits the project; none is needed.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Examples {
    /// An operation.
    pub query: Option<String>,
    /// A topic, and a line to publish to it.
    pub topic: Option<String>,
    pub line: Option<String>,
}

/// Why a server could not start or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    #[error("cannot listen on {address}: {source}{}", advice(source))]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("the server stopped: {0}")]
    Stopped(std::io::Error),
}

fn advice(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => "; another process has it, --listen takes another address",
        std::io::ErrorKind::PermissionDenied => {
            "; ports below 1024 are not everyone's, --listen takes another"
        }
        _ => "",
    }
}

/// A server that is bound and not yet running.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// What every request needs.
struct Shared {
    backend: Arc<dyn Backend>,
    settings: config::Serve,
    options: Options,
    address: SocketAddr,
    /// One for each request that may be worked on at once.
    permits: Semaphore,
    /// One for each request that may wait for a position.
    waiting: Semaphore,
    room: Room,
    /// Set once it is to end: nothing new is begun.
    stopping: AtomicBool,
    /// Requests that are being worked on.
    busy: watch::Sender<usize>,
}

impl Server {
    /// Binds the address of the settings.
    ///
    /// # Errors
    /// [`ServeError::Listen`] where the address is taken or not ours.
    pub async fn bind(
        settings: &config::Serve,
        options: Options,
        backend: Arc<dyn Backend>,
    ) -> Result<Server, ServeError> {
        let refused = |source| ServeError::Listen { address: settings.listen, source };
        let listener = TcpListener::bind(settings.listen).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let shared = Arc::new(Shared {
            backend,
            options,
            address,
            permits: Semaphore::new(settings.concurrent),
            waiting: Semaphore::new(settings.waiting),
            room: Room::new(settings.memory.len()),
            stopping: AtomicBool::new(false),
            busy: watch::Sender::new(0),
            settings: settings.clone(),
        });
        Ok(Server { listener, address, shared })
    }

    /// The address it has: the port is a real one where 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` is ready. From then on requests are refused (503, and not ready) while those under way finish;
    /// then connections close: at most `serve.drain` for both.
    ///
    /// # Errors
    /// [`ServeError::Stopped`] where the listener fails.
    pub async fn run(self, stop: impl Future<Output = ()> + Send + 'static) -> Result<(), ServeError> {
        let Server { listener, shared, .. } = self;
        let (drain, bounds) = (shared.settings.drain, shared.bounds());
        let (stopping, mut stopped) = watch::channel(false);
        let through = Arc::clone(&shared);
        let finished = async move {
            stop.await;
            through.stopping.store(true, Ordering::SeqCst);
            stopping.send_replace(true);
            let _ = through.busy.subscribe().wait_for(|busy| *busy == 0).await;
        };
        let serving = connections::serve(listener, router(Arc::clone(&shared)), bounds, finished);
        let overdue = async move {
            if stopped.wait_for(|stopping| *stopping).await.is_err() {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(drain).await;
        };
        tokio::select! {
            ended = serving => ended.map_err(ServeError::Stopped),
            () = overdue => {
                let requests = *shared.busy.borrow();
                tracing::warn!(drain_ms = drain.as_millis(), requests, "Requests or answers were under way when the time to drain was over.");
                Ok(())
            }
        }
    }
}

impl Shared {
    fn bounds(&self) -> Bounds {
        Bounds { connections: self.settings.connections, idle: self.settings.idle }
    }

    /// Whether it is to end.
    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }
}

fn router(shared: Arc<Shared>) -> Router {
    let mut router = Router::new()
        .route("/graphql", get(graphql::by_get).post(graphql::by_post))
        .route("/", get(page::status))
        .route("/status.json", get(admin::status_json))
        .route("/sdl", get(page::sdl))
        .route("/graphiql", get(page::graphiql))
        .route("/graphiql/{file}", get(page::asset))
        .route(guard::METRICS, get(admin::metrics))
        .route("/health/live", get(admin::live))
        .route("/health/ready", get(admin::ready))
        .route("/admin/status", get(admin::status))
        .route("/admin/parked", get(admin::parked))
        .route("/admin/parked/{key}", get(admin::parked_key))
        .route("/admin/parked/{key}/{release}", post(admin::release_parked))
        .route("/admin/projections/{projection}/{order}", post(admin::set_paused));
    if shared.options.publish {
        router = router.route("/topics/{topic}", post(topics::publish));
    }
    router
        .fallback(answer::nothing_here)
        .method_not_allowed_fallback(answer::wrong_method)
        .layer(middleware::from_fn_with_state(shared.clone(), guard::host))
        .layer(middleware::from_fn_with_state(shared.clone(), guard::stopping))
        .with_state(shared)
}
