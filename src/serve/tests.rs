//! The real server over a real socket, on a small backend: what each request gets.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_graphql::dynamic::{Field, FieldFuture, FieldValue, InputValue, Object, Schema, TypeRef};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;

use super::client::{Reply, send};
use super::{
    Backend, Examples, Options, ParkedAction, ParkedDetail, ParkedDone, ParkedError, ParkedList, ParkedQuery,
    ParkedView, PauseOrder, Paused, PublishError, Server, Token, WaitingEvent,
};
use crate::config::{self, Bytes};
use crate::engine::{PartitionStatus, ProjectionStatus, Status, TopicStatus};
use crate::event::{Position, TopicPartition};
use crate::observe::{Measured, MeasuredPartition, MeasuredProjection, OperationKind};
use crate::resolve::{Answer, Caching, Outcome, Request};
use crate::source::NewRecord;

/// A backend with one field, a log in memory, and what a test sets.
pub(super) struct Small {
    schema: Schema,
    ready: bool,
    state: String,
    log: Mutex<Vec<NewRecord>>,
    next: AtomicU64,
    /// Operations that are being executed.
    pub executing: AtomicU64,
}

/// An operation, from its beginning until it is answered or given up.
struct Executing<'a>(&'a AtomicU64);

impl Drop for Executing<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Small {
    pub fn new() -> Small {
        let argument = InputValue::new("id", TypeRef::named(TypeRef::ID));
        let hello = Field::new("hello", TypeRef::named(TypeRef::STRING), |_| {
            FieldFuture::new(async { Ok(Some(FieldValue::value("world"))) })
        });
        let never = Field::new("never", TypeRef::named(TypeRef::STRING), |_| {
            FieldFuture::new(async {
                std::future::pending::<async_graphql::Result<Option<FieldValue<'_>>>>().await
            })
        });
        let query = Object::new("Query").field(hello.argument(argument)).field(never);
        let schema = Schema::build("Query", None, None).register(query).finish().expect("a valid schema");
        let (log, next, executing) = (Mutex::default(), AtomicU64::new(0), AtomicU64::new(0));
        Small { schema, ready: true, state: "running".into(), log, next, executing }
    }

    async fn answer(&self, request: Request) -> Answer {
        assert!(!request.query.contains("#panic"), "a bug of ours");
        self.executing.fetch_add(1, Ordering::SeqCst);
        let _executing = Executing(&self.executing);
        if let Some((_, bytes)) = request.query.split_once("#big ") {
            let body = vec![b' '; bytes.parse().expect("a number")];
            let position = String::new();
            return Answer {
                body,
                outcome: Outcome::Executed,
                position,
                stale: false,
                caching: None,
                kind: OperationKind::Query,
            };
        }
        let variables = async_graphql::Variables::from_json(request.variables.into());
        let mut operation = async_graphql::Request::new(&request.query).variables(variables);
        operation.operation_name = request.operation_name;
        let response = self.schema.execute(operation).await;
        let outcome = match &response.data {
            _ if request.query.contains("#stale") => Outcome::Stale,
            async_graphql::Value::Null if async_graphql::parser::parse_query(&request.query).is_err() => {
                Outcome::NotParsed
            }
            async_graphql::Value::Null => Outcome::NotValid,
            _ => Outcome::Executed,
        };
        let body = match outcome {
            Outcome::Executed => serde_json::json!({ "data": response.data }),
            _ => serde_json::json!({ "errors": [{ "message": "refused" }] }),
        };
        let position =
            if request.read_after.is_empty() { String::new() } else { "shop.orders:0@1".to_owned() };
        let stale = !request.read_after.is_empty();
        let kept = |is_private| Some(Caching { max_age_s: 30, is_private });
        let caching = match &request.query {
            query if query.contains("#private") => kept(true),
            query if query.contains("#public") => kept(false),
            _ => None,
        };
        Answer {
            body: body.to_string().into_bytes(),
            outcome,
            position,
            stale,
            caching,
            kind: OperationKind::Query,
        }
    }

    fn parked_one(&self) -> ParkedView {
        ParkedView {
            id: "orders/r2.6f31".into(),
            projection: "orders".into(),
            entity: "Order".into(),
            key: "{\"id\":\"<b>o1</b>\"}".into(),
            since: "shop.orders:1@1".into(),
            since_ms: 1_790_000_000_000,
            stage: "fold".into(),
            reason: "`event.total` is text \"12,50\", but a decimal is needed".into(),
            type_name: Some("OrderPlaced".into()),
            waiting: 2,
        }
    }
}

impl Backend for Small {
    fn execute(&self, request: Request) -> BoxFuture<'_, Option<Answer>> {
        async move { if self.ready { Some(self.answer(request).await) } else { None } }.boxed()
    }

    fn sdl(&self) -> Option<Arc<str>> {
        self.ready.then(|| self.schema.sdl().into())
    }

    fn status(&self) -> BoxFuture<'_, Status> {
        async move {
            Status {
                version: "0.1.0".into(),
                generation: 1,
                definitions: "3f9a6c2d1b0e4f57".into(),
                building: None,
                log_halted: None,
                topics: vec![TopicStatus { name: "shop.orders".into(), partitions: vec![(0, 7), (0, 3)] }],
                projections: vec![ProjectionStatus {
                    name: "orders".into(),
                    entity: "Order".into(),
                    topic: "shop.orders".into(),
                    kind: "B owned fold".into(),
                    partitions: vec![
                        PartitionStatus {
                            topic: "shop.orders".into(),
                            partition: 0,
                            began: 0,
                            start: "earliest".into(),
                            position: 4,
                            end: 7,
                            lag_ms: 1_200,
                            parked_keys: 1,
                            owner: None,
                            through: None,
                        },
                        PartitionStatus {
                            topic: "shop.orders".into(),
                            partition: 1,
                            began: 2,
                            start: "latest".into(),
                            position: 3,
                            end: 3,
                            lag_ms: 0,
                            parked_keys: 0,
                            owner: None,
                            through: None,
                        },
                    ],
                    lag_events: 3,
                    lag_ms: 1_200,
                    parked_keys: 1,
                    parked_retried: 0,
                    parked_skipped: 0,
                    parked_dropped: 0,
                    state: self.state.clone(),
                    stalled: None,
                }],
                diagnostics: Vec::new(),
            }
        }
        .boxed()
    }

    fn measured(&self) -> BoxFuture<'_, Measured> {
        let partition = MeasuredPartition {
            topic: "shop.orders".into(),
            partition: 1,
            position: 3,
            end: 5,
            is_folded: true,
        };
        let projection = MeasuredProjection {
            name: "orders".into(),
            state: "catching up",
            lag_ms: 1_250,
            parked_keys: 1,
            partitions: vec![partition],
        };
        let measured = Measured { generation: 7, projections: vec![projection], budget: Some((1_000, 10)) };
        async move { measured }.boxed()
    }

    fn publish(
        &self,
        topic: String,
        records: Vec<NewRecord>,
    ) -> BoxFuture<'_, Result<Vec<Position>, PublishError>> {
        async move {
            if topic.contains('!') {
                return Err(PublishError::Refused(format!("\"{topic}\" is no topic's name")));
            }
            let at = TopicPartition { topic: topic.into(), partition: 0 };
            let place = |_| Position { at: at.clone(), offset: self.next.fetch_add(1, Ordering::Relaxed) };
            let positions = records.iter().map(place).collect();
            self.log.lock().expect("no test panics with it").extend(records);
            Ok(positions)
        }
        .boxed()
    }

    fn parked(&self, query: ParkedQuery) -> BoxFuture<'_, Result<ParkedList, ParkedError>> {
        async move {
            let asked = query.projection.is_none_or(|projection| projection == "orders");
            let parked = if asked { vec![self.parked_one()] } else { Vec::new() };
            Ok(ParkedList { parked, next: query.after })
        }
        .boxed()
    }

    fn parked_key(
        &self,
        key: String,
        query: ParkedQuery,
    ) -> BoxFuture<'_, Result<Vec<ParkedDetail>, ParkedError>> {
        async move {
            let parked = self.parked_one();
            let position = parked.since.clone();
            let event =
                WaitingEvent { id: format!("1/{position}"), position, time_ms: 0, value: Some("{}".into()) };
            let queue = vec![event; query.limit.min(2)];
            Ok(if key == parked.key {
                vec![ParkedDetail { parked, queue, unread: None }]
            } else {
                Vec::new()
            })
        }
        .boxed()
    }

    fn release_parked(
        &self,
        key: String,
        action: ParkedAction,
    ) -> BoxFuture<'_, Result<ParkedDone, ParkedError>> {
        async move {
            match (key == self.parked_one().key, action.release.as_str()) {
                (false, _) => Err(ParkedError::NotThere(key)),
                (_, "retry") => Ok(ParkedDone { applied: 2, stopped: action.first, ..ParkedDone::default() }),
                (_, other) => Err(ParkedError::Unavailable(format!("{other} is not answering"))),
            }
        }
        .boxed()
    }

    fn set_paused(&self, order: PauseOrder) -> BoxFuture<'_, Result<Paused, ParkedError>> {
        async move {
            match order {
                PauseOrder { projection, pause, by } if projection == "orders" => {
                    let (paused, by) = (pause, Some(by));
                    Ok(Paused { projection, paused, changed: true, by, since_ms: Some(7) })
                }
                PauseOrder { projection, .. } => {
                    Err(ParkedError::Refused(format!("there is no projection {projection:?}")))
                }
            }
        }
        .boxed()
    }
}

/// A server that runs until it is dropped.
pub(super) struct Running {
    pub address: SocketAddr,
    token: Token,
    pub backend: Arc<Small>,
    pub stop: Option<oneshot::Sender<()>>,
    pub ended: Option<tokio::task::JoinHandle<Result<(), super::ServeError>>>,
}

pub(super) async fn start(backend: Small, change: impl FnOnce(&mut config::Serve)) -> Running {
    let mut settings =
        config::Serve { listen: SocketAddr::from(([127, 0, 0, 1], 0)), ..config::Serve::default() };
    change(&mut settings);
    let token = Token::draw().expect("randomness");
    let options = Options {
        project: "shop".into(),
        token: token.clone(),
        publish: true,
        examples: Examples::default(),
    };
    let backend = Arc::new(backend);
    let server = Server::bind(&settings, options, backend.clone()).await.expect("a free port");
    let address = server.address();
    let (stop, stopped) = oneshot::channel();
    let ended = tokio::spawn(server.run(async {
        let _ = stopped.await;
    }));
    Running { address, token, backend, stop: Some(stop), ended: Some(ended) }
}

impl Running {
    pub async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        send(self.address, method, path, headers, body.as_bytes()).await.expect("an answer")
    }

    pub async fn query(&self, query: &str, headers: &[(&str, &str)]) -> Reply {
        let headers = [headers, &[("content-type", "application/json")]].concat();
        self.ask("POST", "/graphql", &headers, &serde_json::json!({ "query": query }).to_string()).await
    }
}

pub(super) fn message(reply: &Reply) -> (u16, String, String) {
    let body: serde_json::Value = serde_json::from_slice(&reply.body).expect("JSON");
    let text = |value: &serde_json::Value| value.as_str().unwrap_or("").to_owned();
    (reply.status, text(&body["errors"][0]["extensions"]["code"]), text(&body["errors"][0]["message"]))
}

const RESPONSE: (&str, &str) = ("accept", "application/graphql-response+json");
const JSON: (&str, &str) = ("content-type", "application/json");
const LINES: (&str, &str) = ("content-type", "application/x-ndjson");

#[tokio::test]
async fn the_status_tells_what_became_of_an_operation_only_where_that_type_is_asked_for() {
    let server = start(Small::new(), |_| {}).await;
    for (query, plain, exact) in [
        ("{ hello }", 200, 200),
        ("{ hel", 200, 400),
        ("{ nothing }", 200, 400),
        ("{ hello } #stale", 503, 503),
    ] {
        let reply = server.query(query, &[]).await;
        assert_eq!(reply.status, plain, "{query}");
        assert_eq!(reply.header("content-type"), Some("application/json; charset=utf-8"));
        let reply = server.query(query, &[RESPONSE]).await;
        assert_eq!(reply.status, exact, "{query}");
        assert_eq!(reply.header("content-type"), Some("application/graphql-response+json; charset=utf-8"));
    }
}

#[tokio::test]
async fn what_is_not_a_graphql_request_is_refused_with_its_reason() {
    let server = start(Small::new(), |_| {}).await;
    let body = r#"{"query":"{ hello }"}"#;
    let reply = server.ask("POST", "/graphql", &[], body).await;
    assert_eq!(
        message(&reply),
        (
            415,
            "BAD_USER_INPUT".into(),
            "the header `content-type` is missing; it must be application/json, in UTF-8".into()
        )
    );
    let reply = server.ask("POST", "/graphql", &[("content-type", "text/plain")], body).await;
    assert_eq!(reply.status, 415);
    let reply = server.ask("POST", "/graphql", &[JSON, ("accept", "image/png")], body).await;
    assert_eq!(reply.status, 406);
    let reply = server.ask("POST", "/graphql", &[JSON], "{").await;
    assert_eq!(reply.status, 400);
    let reply = server.ask("PUT", "/graphql", &[JSON], body).await;
    assert_eq!(reply.status, 405);
    assert!(reply.header("allow").is_some_and(|allow| allow.contains("POST")));
    let reply = server.ask("GET", "/nowhere", &[], "").await;
    assert_eq!(message(&reply).2, "there is nothing at /nowhere; `/` says what is here");
}

#[tokio::test]
async fn a_query_may_come_by_get_and_a_mutation_may_not() {
    let server = start(Small::new(), |_| {}).await;
    let reply = server.ask("GET", "/graphql?query=%7B+hello+%7D", &[], "").await;
    assert_eq!((reply.status, reply.text().as_str()), (200, r#"{"data":{"hello":"world"}}"#));
    let reply = server.ask("GET", "/graphql?query=mutation+%7B+hello+%7D", &[], "").await;
    assert_eq!((reply.status, reply.header("allow")), (405, Some("POST")));
    assert_eq!(server.ask("GET", "/graphql", &[], "").await.status, 400);
}

#[tokio::test]
async fn a_body_is_measured_below_at_and_above_its_limit() {
    let server = start(Small::new(), |settings| settings.limits.body = Bytes(1_024)).await;
    for (length, status) in [(1_023, 200), (1_024, 200), (1_025, 413)] {
        let short = r#"{"query":"{ hello }"}"#;
        let body = format!("{short}{}", " ".repeat(length - short.len()));
        let reply = server.ask("POST", "/graphql", &[JSON], &body).await;
        assert_eq!(reply.status, status, "{length}");
        if status == 413 {
            let expected = "the body is larger than 1024 bytes (`serve.limits.body`)";
            assert_eq!(message(&reply), (413, "LIMIT_EXCEEDED".into(), expected.into()));
        }
    }
}

#[tokio::test]
async fn a_body_that_is_declared_too_large_is_refused_before_it_comes() {
    let server = start(Small::new(), |settings| settings.limits.body = Bytes(1_024)).await;
    let mut stream = tokio::net::TcpStream::connect(server.address).await.expect("open");
    let head = format!(
        "POST /graphql HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: 1025\r\n\r\n",
        server.address
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 413");
}

#[tokio::test]
async fn a_body_that_comes_too_slowly_is_ended() {
    let server = start(Small::new(), |settings| settings.deadline = Duration::from_millis(50)).await;
    for (path, kind) in [("/graphql", JSON.1), ("/topics/t", LINES.1)] {
        let mut stream = tokio::net::TcpStream::connect(server.address).await.expect("open");
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: {kind}\r\ncontent-length: 9\r\n\r\n{{",
            server.address
        );
        stream.write_all(head.as_bytes()).await.expect("sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("an answer, and the end");
        let answer = String::from_utf8(answer).expect("text");
        assert!(answer.starts_with("HTTP/1.1 408 "), "{path}: {answer}");
        assert!(answer.contains("the body did not come within 50 ms (`serve.deadline`)"), "{path}: {answer}");
    }
}

#[tokio::test]
async fn an_answer_says_how_long_it_may_be_kept_and_by_whom() {
    let server = start(Small::new(), |_| {}).await;
    let varies = Some("accept, x-read-after, x-read-wait");
    for (query, kept, vary) in [
        ("{ hello } #private", "max-age=30, private", varies),
        ("{ hello } #public", "max-age=30, public", varies),
        ("{ hello }", "no-store", Some("accept")),
    ] {
        let reply = server.query(query, &[]).await;
        assert_eq!((reply.header("cache-control"), reply.header("vary")), (Some(kept), vary), "{query}");
    }
}

#[tokio::test]
async fn freshness_comes_and_goes_in_headers() {
    let server = start(Small::new(), |_| {}).await;
    let reply =
        server.query("{ hello }", &[("x-read-after", "shop.orders:0@1"), ("x-read-wait", "10ms")]).await;
    assert_eq!((reply.status, reply.header("x-read-position")), (200, Some("shop.orders:0@1")));
    assert_eq!(reply.header("x-read-stale"), Some("true"));
    let reply = server.query("{ hello }", &[]).await;
    assert_eq!((reply.header("x-read-position"), reply.header("x-read-stale")), (None, None));
    for header in [("x-read-after", "nonsense"), ("x-read-wait", "soon")] {
        let (status, code, message) = message(&server.query("{ hello }", &[header]).await);
        assert_eq!((status, code.as_str()), (400, "BAD_READ_AFTER"));
        assert!(message.starts_with(&format!("the header `{}`: ", header.0)), "{message}");
    }
}

#[tokio::test]
async fn what_takes_too_long_is_ended() {
    let server = start(Small::new(), |settings| settings.deadline = Duration::from_millis(50)).await;
    let (status, code, message) = message(&server.query("{ never }", &[]).await);
    assert_eq!((status, code.as_str()), (504, "TIMEOUT"));
    assert_eq!(message, "the request took longer than 50 ms (`serve.deadline`)");
}

#[tokio::test]
async fn a_bug_of_ours_is_masked_and_numbered() {
    let server = start(Small::new(), |_| {}).await;
    let (status, code, message) = message(&server.query("{ hello } #panic", &[]).await);
    assert_eq!((status, code.as_str()), (500, "INTERNAL"));
    assert!(message.starts_with("something is wrong in this server; its log has more under "), "{message}");
    assert_eq!(server.query("{ hello }", &[]).await.status, 200);
}

#[tokio::test]
async fn more_than_can_be_answered_is_told_to_come_again() {
    let server = start(Small::new(), |settings| settings.concurrent = 1).await;
    let address = server.address;
    let long = tokio::spawn(async move {
        let body = br#"{"query":"{ never }"}"#;
        send(address, "POST", "/graphql", &[JSON], body).await
    });
    // The first holds the only permit once the second is refused.
    let refused = async {
        loop {
            let reply = server.query("{ hello }", &[]).await;
            if reply.status != 200 {
                break reply;
            }
        }
    };
    let reply = tokio::time::timeout(Duration::from_secs(4), refused).await.expect("refused in time");
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")));
    assert_eq!(message(&reply).1, "OVERLOADED");
    long.abort();
}

#[tokio::test]
async fn only_our_own_name_is_answered_on_loopback() {
    let server = start(Small::new(), |_| {}).await;
    for path in ["/", "/graphql?query=%7Bhello%7D", "/status.json", "/health/live"] {
        let reply = server.ask("GET", path, &[("host", "evil.example")], "").await;
        assert_eq!(message(&reply).1, "FORBIDDEN", "{path}");
    }
    let local = format!("localhost:{}", server.address.port());
    assert_eq!(server.ask("GET", "/health/live", &[("host", &local)], "").await.status, 200);
}

#[tokio::test]
async fn published_records_come_back_as_positions() {
    let server = start(Small::new(), |_| {}).await;
    let two = "{\"key\":\"o1\",\"value\":{\"n\":1.50}}\n\n{\"key\":null,\"value\":null}\n";
    let reply = server.ask("POST", "/topics/shop.orders", &[LINES], two).await;
    assert_eq!(
        reply.text(),
        r#"{"positions":["shop.orders:0@0","shop.orders:0@1"],"readAfter":"shop.orders:0@1"}"#
    );
    assert_eq!(server.backend.log.lock().expect("whole").len(), 2);
}

#[tokio::test]
async fn nothing_is_published_of_a_body_with_a_bad_line() {
    let server = start(Small::new(), |_| {}).await;
    let bad = "{\"key\":\"o1\",\"value\":1}\n{\"key\":\n";
    let reply = server.ask("POST", "/topics/shop.orders", &[LINES], bad).await;
    assert!(message(&reply).2.starts_with("line 2: "), "{}", reply.text());
    assert!(reply.text().contains("\"line\":2"));
    let reply = server.ask("POST", "/topics/shop.orders", &[("content-type", "text/plain")], "{}").await;
    assert_eq!(reply.status, 415);
    let reply = server.ask("POST", "/topics/no!", &[LINES], "{\"key\":null,\"value\":1}").await;
    assert_eq!(message(&reply), (400, "BAD_USER_INPUT".into(), "\"no!\" is no topic's name".into()));
    assert_eq!(server.backend.log.lock().expect("whole").len(), 0);
}

#[tokio::test]
async fn beyond_loopback_publishing_needs_the_token_and_parked_keys_are_not_shown() {
    let everywhere = SocketAddr::from(([0, 0, 0, 0], 0));
    let mut server = start(Small::new(), |settings| settings.listen = everywhere).await;
    server.address.set_ip([127, 0, 0, 1].into());
    let line = "{\"key\":\"o1\",\"value\":1}";
    let host = ("host", "shop.example");
    let reply = server.ask("POST", "/topics/t", &[LINES, host], line).await;
    assert_eq!(message(&reply).1, "UNAUTHENTICATED");
    let token = server.token.header();
    let reply = server.ask("POST", "/topics/t", &[LINES, host, ("authorization", &token)], line).await;
    assert_eq!(reply.status, 200);
    let status: serde_json::Value =
        serde_json::from_slice(&server.ask("GET", "/status.json", &[host], "").await.body).expect("JSON");
    assert_eq!(status["parked"], serde_json::json!([]));
}

#[tokio::test]
async fn the_token_opens_what_is_for_operators() {
    let server = start(Small::new(), |_| {}).await;
    for path in ["/admin/status", "/admin/parked", "/admin/parked/x"] {
        assert_eq!(message(&server.ask("GET", path, &[], "").await).1, "UNAUTHENTICATED");
        let wrong = [("authorization", "Bearer 0000")];
        assert_eq!(server.ask("GET", path, &wrong, "").await.status, 401);
    }
    let endpoint = super::Endpoint { address: server.address, token: server.token.clone() };
    assert_eq!(endpoint.get("/admin/status").await.expect("open")["generation"], 1);
    let parked = endpoint.get("/admin/parked").await.expect("open");
    assert_eq!(parked["parked"][0]["type"], "OrderPlaced");
    let one = endpoint.get("/admin/parked/%7B%22id%22%3A%22%3Cb%3Eo1%3C%2Fb%3E%22%7D").await.expect("open");
    assert_eq!(one["parked"][0]["queue"][0]["position"], "shop.orders:1@1");
    let key = "/admin/parked/%7B%22id%22%3A%22%3Cb%3Eo1%3C%2Fb%3E%22%7D";
    let two = endpoint.get(&format!("{key}?limit=2")).await.expect("open");
    assert_eq!(two["parked"][0]["queue"].as_array().map(Vec::len), Some(2));
    let none = endpoint.get("/admin/parked?projection=carts&after=a%2Fb").await.expect("open");
    assert_eq!(none, serde_json::json!({ "parked": [], "next": "a/b" }));
    for (query, reason) in
        [("limit=many", "`limit` is \"many\""), ("limits=1", "there is no parameter \"limits\"")]
    {
        let error = endpoint.get(&format!("/admin/parked?{query}")).await.expect_err("refused").to_string();
        assert!(error.contains(reason), "{error}");
    }
    let post = async |path: &str| endpoint.post(path, "application/json", b"").await;
    let done = post(&format!("{key}/retry?first=t:0@1")).await.expect("open");
    let expected =
        serde_json::json!({ "applied": 2, "skipped": 0, "dropped": 0, "waiting": 0, "stopped": "t:0@1" });
    assert_eq!(done, expected);
    let error = post(&format!("{key}/drop")).await.expect_err("refused").to_string();
    assert!(error.contains("answered 503") && error.contains("drop is not answering"), "{error}");
    let error = post("/admin/parked/x/retry").await.expect_err("refused").to_string();
    assert!(error.contains("answered 400") && error.contains("nothing is parked under \"x\""), "{error}");
    let paused = post("/admin/projections/orders/pause?by=ada%40desk").await.expect("open");
    let expected = serde_json::json!({
        "projection": "orders", "paused": true, "changed": true, "by": "ada@desk", "sinceMs": 7,
    });
    assert_eq!(paused, expected);
    assert_eq!(post("/admin/projections/orders/resume").await.expect("open")["paused"], false);
    for (path, reason) in [
        ("carts/pause", "there is no projection \"carts\""),
        ("orders/stop", "\"stop\" is not what can be done: pause or resume"),
    ] {
        let error = post(&format!("/admin/projections/{path}")).await.expect_err("refused").to_string();
        assert!(error.contains("answered 400") && error.contains(reason), "{error}");
    }
    let refused = server.ask("POST", "/admin/projections/orders/pause", &[], "").await;
    assert_eq!(message(&refused).1, "UNAUTHENTICATED");
    let none = endpoint.get("/admin/parked/x").await.expect("open");
    assert_eq!(none, serde_json::json!({ "parked": [] }));
    let error = endpoint.get("/admin/parked/%ff").await.expect_err("no text").to_string();
    assert!(error.ends_with("answered 400: the path is not UTF-8 once its %XX are read"), "{error}");
}

#[tokio::test]
async fn health_says_when_requests_should_not_come() {
    let waiting = start(Small { ready: false, ..Small::new() }, |_| {}).await;
    assert_eq!(waiting.ask("GET", "/health/live", &[], "").await.status, 200);
    let reply = waiting.ask("GET", "/health/ready", &[], "").await;
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")));
    let reply = waiting.query("{ hello }", &[]).await;
    assert_eq!((reply.status, message(&reply).1.as_str()), (503, "OVERLOADED"));
    assert_eq!(waiting.ask("GET", "/sdl", &[], "").await.status, 503);
    let halted = start(Small { state: "halted: the log is gone".into(), ..Small::new() }, |_| {}).await;
    let reply = halted.ask("GET", "/health/ready", &[], "").await;
    assert_eq!(reply.status, 503);
    assert!(reply.text().contains("orders: halted: the log is gone"));
    let ready = start(Small::new(), |_| {}).await;
    assert_eq!(ready.ask("GET", "/health/ready", &[], "").await.status, 200);
}

#[tokio::test]
async fn metrics_show_the_state_of_what_stands_behind() {
    let server = start(Small::new(), |_| {}).await;
    let reply = server.ask("GET", "/metrics", &[], "").await;
    assert_eq!(reply.status, 200);
    let text = reply.text();
    for line in [
        "kinora_generation 7",
        "kinora_budget_bytes 1000",
        "kinora_budget_held_bytes 10",
        "kinora_position{projection=\"orders\",topic=\"shop.orders\",partition=\"1\"} 3",
        "kinora_log_end{projection=\"orders\",topic=\"shop.orders\",partition=\"1\"} 5",
        "kinora_lag_events{projection=\"orders\",topic=\"shop.orders\",partition=\"1\"} 2",
        "kinora_lag_seconds{projection=\"orders\"} 1.25",
        "kinora_projection_state{projection=\"orders\",state=\"catching up\"} 1",
        "kinora_projection_state{projection=\"orders\",state=\"halted\"} 0",
        "kinora_parked_keys{projection=\"orders\"} 1",
        "kinora_partitions{projection=\"orders\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing:\n{text}");
    }
}

#[tokio::test]
async fn pages_run_no_script_but_their_own() {
    let server = start(Small::new(), |_| {}).await;
    let page = server.ask("GET", "/", &[], "").await;
    let policy = page.header("content-security-policy").expect("a policy").to_owned();
    let nonce = policy.split("'nonce-").nth(1).and_then(|rest| rest.split('\'').next()).expect("a nonce");
    assert!(page.text().contains(&format!("<script nonce=\"{nonce}\">")));
    assert!(!page.text().contains("{{"), "every mark is filled");
    let browser = [("accept", "text/html,application/xhtml+xml,*/*;q=0.8")];
    let page = server.ask("GET", "/graphql", &browser, "").await;
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(
        page.header("content-security-policy").is_some_and(|policy| policy.contains("default-src 'none'"))
    );
    assert_eq!(server.ask("GET", "/graphiql/none.js", &[], "").await.status, 404);
    assert!(server.ask("GET", "/sdl", &[], "").await.text().contains("type Query"));
}

#[tokio::test]
async fn the_status_page_gets_its_data_as_json() {
    let server = start(Small::new(), |_| {}).await;
    let reply = server.ask("GET", "/status.json", &[], "").await;
    let status: serde_json::Value = serde_json::from_slice(&reply.body).expect("JSON");
    assert_eq!(status["status"]["projections"][0]["lag_events"], 3);
    assert_eq!(status["parked"][0]["waiting"], 2);
    assert_eq!(status["notReady"], serde_json::Value::Null);
}

#[tokio::test]
async fn a_stopped_server_ends_and_takes_no_more() {
    let mut server = start(Small::new(), |_| {}).await;
    server.stop.take().expect("running").send(()).expect("running");
    let ended = server.ended.take().expect("running");
    tokio::time::timeout(Duration::from_secs(4), ended)
        .await
        .expect("in time")
        .expect("no panic")
        .expect("ended");
    assert!(send(server.address, "GET", "/health/live", &[], b"").await.is_err());
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let first = start(Small::new(), |_| {}).await;
    let settings = config::Serve { listen: first.address, ..config::Serve::default() };
    let options = Options {
        project: String::new(),
        token: first.token.clone(),
        publish: false,
        examples: Examples::default(),
    };
    let error =
        Server::bind(&settings, options, first.backend.clone()).await.err().expect("taken").to_string();
    assert!(error.ends_with("another process has it, --listen takes another address"), "{error}");
}

/// Runs the conformance checks of the GraphQL-over-HTTP specification. `KINORA_HTTP_AUDIT` is the path of a script
/// that takes the address and ends with 0 where all pass; without it there is nothing to run.
#[tokio::test(flavor = "multi_thread")]
async fn the_http_audit_passes_where_it_is_installed() {
    let Ok(script) = std::env::var("KINORA_HTTP_AUDIT") else { return };
    let server = start(Small::new(), |_| {}).await;
    let url = format!("http://{}/graphql", server.address);
    let run = tokio::task::spawn_blocking(move || {
        std::process::Command::new("node").args([&script, &url]).output()
    });
    let done = run.await.expect("no panic").expect("node starts");
    println!("{}", String::from_utf8_lossy(&done.stdout));
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
}
