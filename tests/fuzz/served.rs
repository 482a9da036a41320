//! The shop's sample behind a graph and behind a server, in memory: made once, read by every input.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use kinora::config;
use kinora::engine::{Definitions, Status};
use kinora::event::{Position, TopicPartition};
use kinora::observe::Measured;
use kinora::project::{ProjectSettings, Projector};
use kinora::resolve::{Answer, Graph, GraphSettings, Limits, Outcome, Request};
use kinora::sample;
use kinora::serve::{
    Backend, Examples, Options, ParkedAction, ParkedDetail, ParkedDone, ParkedError, ParkedList, ParkedQuery,
    PauseOrder, Paused, PublishError, Server, Token,
};
use kinora::source::file::Lines;
use kinora::source::{NewRecord, Source};
use kinora::store::memory::MemoryStore;
use kinora::store::{Store, Tables};
use serde_json::{Map, Value as Json};

use crate::projects::{self, sorted};

const NOW_MS: i64 = 1_760_000_000_000;
pub const SECRET: &[u8] = b"a secret that signs cursors";
const PARTITIONS: u32 = 4;

/// Operations that use what the language has, with variables.
pub const OPERATIONS: [(&str, &str); 4] = [
    (
        "query Q($id: ID!, $first: Int = 5) { order(id: $id) { ...F lines { name quantity unitPrice { amount } } } } fragment F on Order { id user { id orders(first: $first) @include(if: true) { edges { cursor node { number } } pageInfo { endCursor hasNextPage } } } }",
        r#"{"id":"o1","first":3}"#,
    ),
    (
        "query ($r: [_Any!]!) { a: cart(id: \"demo\") { __typename total { amount currency } } _entities(representations: $r) { ... on Order { status placedAt } ... on User { orders(last: 2) { nodes { id } } } } _service { sdl } }",
        r#"{"r":[{"__typename":"Order","id":"o1"},{"__typename":"User","id":"u1"}]}"#,
    ),
    (
        "{ __schema { types { name fields(includeDeprecated: true) { name type { ofType { name } } } } } __type(name: \"Order\") { kind } }",
        "{}",
    ),
    (
        "query A($c: ID!, $skip: Boolean!) { productsInCategory(categoryId: $c, first: 3) @skip(if: $skip) { nodes { id sku price { amount } } } } query B { __typename }",
        r#"{"c":"lighting","skip":false}"#,
    ),
];

/// Lists that give out cursors; `{}` is where paging arguments stand.
pub const LISTS: [&str; 2] = [
    "{ productsInCategory(categoryId: \"lighting\"{}) { edges { cursor } } }",
    "{ ordersToPick(warehouseId: \"w1\"{}) { edges { cursor } } }",
];

/// What answers.
pub struct Served {
    graph: Arc<Graph>,
    tables: Arc<dyn Tables>,
}

/// The shop with its sample folded.
pub fn shop() -> &'static Served {
    static SHOP: OnceLock<Served> = OnceLock::new();
    SHOP.get_or_init(|| {
        let log = Lines::new();
        sample::SHOP_TOPICS.iter().for_each(|topic| log.create_topic(topic, PARTITIONS));
        for event in sample::shop(1, 2_000, NOW_MS) {
            let record = NewRecord {
                key: Some(event.key.into()),
                value: Some(event.value.into()),
                timestamp_ms: Some(event.timestamp_ms),
                ..NewRecord::default()
            };
            log.push(event.topic, record).expect("the topic is there");
        }
        Served::of(&projects::all()[0].definitions, &log)
    })
}

/// Waits for a future that has nothing to wait for.
pub fn run<T>(future: impl Future<Output = T>) -> T {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime can be built");
    }
    RUNTIME.with(|runtime| runtime.block_on(future))
}

impl Served {
    /// Definitions with a log folded.
    pub fn of(definitions: &Arc<Definitions>, log: &Lines) -> Served {
        let settings = GraphSettings {
            limits: Limits::default(),
            cursor_secrets: vec![SECRET.to_vec()],
            definitions_hash: definitions.hash.clone(),
            feeds: definitions.feeds.clone(),
            introspection: true,
        };
        let graph = Graph::new(Arc::clone(&definitions.model), Arc::clone(&definitions.plan), settings);
        let tables = run(MemoryStore::atomic().open(1, &definitions.plan)).expect("the tables open");
        for projection in &definitions.projections {
            let (tables, settings) = (Arc::clone(&tables), ProjectSettings::default());
            let plan = Arc::clone(&definitions.plan);
            run(async move {
                let mut ends = Vec::new();
                for topic in projection.topics() {
                    let found = log.topic(topic).await.expect("the log answers").expect("it is there");
                    ends.extend(found.partitions.iter().map(|partition| partition.end));
                }
                let projector =
                    Projector::open(Arc::clone(projection), plan, tables, log, settings, NOW_MS * 1_000);
                projector
                    .await
                    .expect("it can be taken up")
                    .catch_up(&ends)
                    .await
                    .expect("it folds to the end");
            });
        }
        Served { graph: Arc::new(graph.expect("the schema can be served")), tables }
    }

    pub fn answer(&self, query: &str, variables: Map<String, Json>) -> Answer {
        let request =
            Request { query: query.to_owned(), variables, at_ms: Some(NOW_MS), ..Request::default() };
        run(self.graph.execute(request, &self.tables))
    }

    /// The cursors of a list's first page.
    pub fn cursors(&self, list: &str) -> Vec<String> {
        let answer = self.answer(&list.replace("{})", ", first: 5)"), Map::new());
        let body: Json = serde_json::from_slice(&answer.body).expect("an answer is JSON");
        let lists = body["data"].as_object().expect("there is data").values();
        let edges = lists.flat_map(|list| list["edges"].as_array().cloned().unwrap_or_default());
        let found: Vec<String> =
            edges.map(|edge| edge["cursor"].as_str().expect("a cursor is text").to_owned()).collect();
        assert!(!found.is_empty(), "{list} gives out cursors: {body}");
        found
    }
}

/// An answer is JSON, each of its errors has a code, and none is our own bug.
pub fn hold(answer: &Answer) -> Json {
    let body: Json = serde_json::from_slice(&answer.body).expect("an answer is JSON");
    let errors = body["errors"].as_array().cloned().unwrap_or_default();
    assert!(answer.outcome == Outcome::Executed || !errors.is_empty(), "a refusal says why: {body}");
    for error in errors {
        let code = error["extensions"]["code"].as_str().unwrap_or_default();
        assert!(!matches!(code, "" | "INTERNAL"), "{body}");
        assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{body}");
    }
    body
}

/// The only segment of the only topic of a log in a folder.
pub fn segment(folder: &Path) -> PathBuf {
    let inside = |folder: &Path| sorted(folder).into_iter().find(|path| path.is_dir()).expect("a folder");
    let partition = inside(&inside(folder));
    let found = sorted(&partition).into_iter().find(|path| path.extension().is_some_and(|it| it == "log"));
    found.expect("a segment")
}

/// Takes what is published, and forgets it.
struct Forgetful(&'static Served);

impl Backend for Forgetful {
    fn execute(&self, mut request: Request) -> BoxFuture<'_, Option<Answer>> {
        // Nothing is ever reached here: what would wait for it is answered at once.
        request.wait.at_most = Duration::ZERO;
        Box::pin(async move { Some(self.0.graph.execute(request, &self.0.tables).await) })
    }

    fn sdl(&self) -> Option<Arc<str>> {
        Some(Arc::clone(&self.0.graph.model.sdl))
    }

    fn status(&self) -> BoxFuture<'_, Status> {
        let status = Status {
            version: "0".to_owned(),
            generation: 1,
            definitions: String::new(),
            building: None,
            topics: Vec::new(),
            projections: Vec::new(),
            log_halted: None,
            diagnostics: Vec::new(),
        };
        Box::pin(async move { status })
    }

    fn measured(&self) -> BoxFuture<'_, Measured> {
        Box::pin(async { Measured::default() })
    }

    fn publish(
        &self,
        topic: String,
        records: Vec<NewRecord>,
    ) -> BoxFuture<'_, Result<Vec<Position>, PublishError>> {
        let at = TopicPartition { topic: topic.into(), partition: 0 };
        let positions =
            (0..records.len()).map(|at_record| Position { at: at.clone(), offset: at_record as u64 });
        let positions = positions.collect();
        Box::pin(async move { Ok(positions) })
    }

    fn parked(&self, _: ParkedQuery) -> BoxFuture<'_, Result<ParkedList, ParkedError>> {
        Box::pin(async { Ok(ParkedList { parked: Vec::new(), next: None }) })
    }

    fn parked_key(&self, _: String, _: ParkedQuery) -> BoxFuture<'_, Result<Vec<ParkedDetail>, ParkedError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn release_parked(&self, key: String, _: ParkedAction) -> BoxFuture<'_, Result<ParkedDone, ParkedError>> {
        Box::pin(async move { Err(ParkedError::NotThere(key)) })
    }

    fn set_paused(&self, order: PauseOrder) -> BoxFuture<'_, Result<Paused, ParkedError>> {
        Box::pin(async move { Err(ParkedError::NotThere(order.projection)) })
    }
}

/// The address of a server of the shop, which runs until the process ends.
fn address() -> SocketAddr {
    static ADDRESS: OnceLock<SocketAddr> = OnceLock::new();
    *ADDRESS.get_or_init(|| {
        let (told, address) = std::sync::mpsc::channel();
        let shop = shop();
        std::thread::spawn(move || {
            run(async move {
                let listen = "127.0.0.1:0".parse().expect("an address");
                let settings = config::Serve { listen, ..config::Serve::default() };
                let options = Options {
                    project: "shop".to_owned(),
                    token: Token::draw().expect("a token can be drawn"),
                    publish: true,
                    examples: Examples::default(),
                };
                let server =
                    Server::bind(&settings, options, Arc::new(Forgetful(shop))).await.expect("it is bound");
                told.send(server.address()).expect("someone waits");
                server.run(std::future::pending()).await.expect("it goes on");
            });
        });
        address.recv().expect("it is told")
    })
}

/// Sends a request and answers its status; `None` where the server ended the connection instead.
pub fn status_of(head: &[u8], headers: &[u8], body: &[u8]) -> Option<u16> {
    thread_local! {
        static CONNECTION: std::cell::RefCell<Option<BufReader<TcpStream>>> = const { std::cell::RefCell::new(None) };
    }
    let mut request = head.to_vec();
    request.extend_from_slice(b" HTTP/1.1\r\nhost: ");
    request.extend_from_slice(address().to_string().as_bytes());
    for header in headers.split(|byte| *byte == b'\n').filter(|header| !header.is_empty()) {
        request.extend_from_slice(b"\r\n");
        request.extend_from_slice(header);
    }
    request.extend_from_slice(format!("\r\ncontent-length: {}\r\n\r\n", body.len()).as_bytes());
    request.extend_from_slice(body);
    CONNECTION.with_borrow_mut(|kept| {
        let mut connection = kept.take().or_else(connect).expect("the server takes connections");
        let answer = connection.get_mut().write_all(&request).ok().and_then(|()| answer(&mut connection));
        let (status, stays) = answer?;
        if stays && connection.buffer().is_empty() {
            *kept = Some(connection);
        }
        Some(status)
    })
}

fn connect() -> Option<BufReader<TcpStream>> {
    let stream = TcpStream::connect(address()).ok()?;
    stream.set_nodelay(true).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(60))).ok()?;
    Some(BufReader::new(stream))
}

/// The status of an answer, once all of it is read, and whether the connection stays.
fn answer(connection: &mut BufReader<TcpStream>) -> Option<(u16, bool)> {
    let mut line = String::new();
    connection.read_line(&mut line).ok()?;
    let status = line.split(' ').nth(1)?.parse().ok()?;
    let (mut length, mut stays) = (None, true);
    loop {
        line.clear();
        connection.read_line(&mut line).ok()?;
        let header = line.trim_end().to_ascii_lowercase();
        match header.split_once(": ") {
            None => break,
            Some(("content-length", value)) => length = value.parse::<usize>().ok(),
            Some(("connection", "close")) => stays = false,
            Some(_) => {}
        }
    }
    let mut body = vec![0; length.unwrap_or(0)];
    connection.read_exact(&mut body).ok()?;
    Some((status, stays && length.is_some()))
}
