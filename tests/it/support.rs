//! Projects in temporary directories, `kinora` processes on them, and engines inside the test.
//!
//! Nothing here knows what is tested. Whoever waits, waits for a condition, at most [`LIMIT`].

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};
use tempfile::TempDir;

use kinora::engine::{self, Definitions, Embedded, EmbeddedSettings};
use kinora::event::Position;
use kinora::handler::CustomHandlers;
use kinora::resolve::Request;
use kinora::serve::Endpoint;
use kinora::serve::client::{Reply, send};
use kinora::source::NewRecord;
use kinora::source::broker::Broker;
use kinora::store::embedded::{Durability, EmbeddedStore};

/// Longest wait for anything.
pub const LIMIT: Duration = Duration::from_secs(30);

pub const SCHEMA: &str = "type Query { note(id: ID!): Note @read }\n\
    type Note @key(fields: \"id\") @table(name: \"notes\", partition: \"id\") { id: ID!  text: String! }\n";

/// A projection of notes whose text is made by this expression.
pub fn projection(text: &str) -> String {
    format!(
        "projection: notes\ninto: Note\n\
         from: {{ topic: notes, format: json, type: event.type, recordKey: event.id }}\n\
         key: {{ id: event.id }}\nunknown: park\nevents:\n  \
         NoteWritten: {{ upsert: {{ text: '{text}' }} }}\n  NoteDeleted: {{ delete: row }}\n"
    )
}

/// Compares with a golden file, or rewrites it where `KINORA_BLESS=1`.
pub fn golden(name: &str, text: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("KINORA_BLESS").is_some_and(|bless| bless == "1") {
        std::fs::create_dir_all(path.parent().expect("a file has a folder")).expect("a folder can be made");
        std::fs::write(&path, text).expect("a golden file can be written");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "{} differs; KINORA_BLESS=1 rewrites it", path.display());
}

/// A project of notes, in a directory of its own.
pub struct Project {
    directory: TempDir,
}

impl Project {
    /// Without any file.
    pub fn empty() -> Project {
        Project { directory: tempfile::tempdir().expect("a temporary directory can be made") }
    }

    pub fn notes() -> Project {
        let project = Project::empty();
        project.write("schema/notes.graphql", SCHEMA);
        project.write("projections/notes.yaml", &projection("event.text"));
        project
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn data(&self) -> PathBuf {
        self.path().join(".kinora")
    }

    /// Writes a file, and its folder where it is not there.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a file has a folder")).expect("a folder can be made");
        std::fs::write(path, text).expect("a file can be written");
    }

    pub fn remove(&self, name: &str) {
        std::fs::remove_file(self.path().join(name)).expect("the file is there");
    }

    /// Runs a command on the project to its end.
    pub fn run(&self, arguments: &[&str]) -> Ended {
        self.run_with(arguments, "")
    }

    /// Runs a command on the project to its end, with this standard input.
    pub fn run_with(&self, arguments: &[&str], input: &str) -> Ended {
        let file = |name: &str| self.path().join(name);
        std::fs::write(file("input"), input).expect("a file can be written");
        let make = |name: &str| File::create(file(name)).expect("a file can be made");
        let mut child = kinora()
            .args(arguments)
            .arg("--project")
            .arg(self.path())
            .stdin(File::open(file("input")).expect("the file is there"))
            .stdout(make("run-out.txt"))
            .stderr(make("run-err.txt"))
            .spawn()
            .expect("kinora can be started");
        let start = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().expect("it can be asked") {
                break Some(status);
            }
            if start.elapsed() > LIMIT {
                let _ = child.kill();
                let _ = child.wait();
                break None;
            }
            std::thread::park_timeout(Duration::from_millis(2));
        };
        let text = |name: &str| {
            let bytes = std::fs::read(file(name)).expect("its output is there");
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let code = status.and_then(|status| status.code());
        Ended { code, out: text("run-out.txt"), err: text("run-err.txt") }
    }

    pub fn definitions(&self) -> Arc<Definitions> {
        self.definitions_with(&CustomHandlers::new())
    }

    pub fn definitions_with(&self, custom: &CustomHandlers) -> Arc<Definitions> {
        let loaded = engine::load(self.path(), custom).expect("the files can be read");
        loaded.definitions.unwrap_or_else(|| panic!("{:?}", loaded.findings))
    }

    /// An engine on the project's data, without definitions yet.
    pub fn engine(&self) -> Arc<Embedded> {
        std::fs::create_dir_all(self.data()).expect("a folder can be made");
        let broker = Broker::open(&self.data().join("log")).expect("the log opens");
        let store =
            EmbeddedStore::open(&self.data().join("store"), Durability::default()).expect("the store opens");
        Embedded::idle(Arc::new(broker), Arc::new(store), EmbeddedSettings::new("a key for cursors"))
    }
}

pub fn kinora() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kinora"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("KINORA_")) {
        command.env_remove(name);
    }
    command
}

/// What a command printed, and how it ended; without a code where it did not end in time.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ended {
    /// It ended with this code; what it said contains each of the parts.
    #[track_caller]
    pub fn says(&self, code: i32, parts: &[&str]) -> &Ended {
        assert_eq!(self.code, Some(code), "{self:?}");
        for part in parts {
            let said = self.out.contains(part) || self.err.contains(part);
            assert!(said, "it does not say `{part}`: {self:?}");
        }
        self
    }

    pub fn json(&self) -> Json {
        serde_json::from_str(&self.out).unwrap_or_else(|fault| panic!("{fault}: {self:?}"))
    }
}

/// A running `kinora dev`; killed when dropped.
pub struct Dev<'p> {
    project: &'p Project,
    child: Child,
    endpoint: Endpoint,
}

impl<'p> Dev<'p> {
    /// Starts it on a free port and waits until it listens.
    pub async fn start(project: &'p Project) -> Dev<'p> {
        Dev::start_with(project, &[]).await
    }

    pub async fn start_with(project: &'p Project, more: &[&str]) -> Dev<'p> {
        let mut command = kinora();
        command.args(["dev", "--listen", "127.0.0.1:0", "--project"]).arg(project.path()).args(more);
        Dev::run(project, command).await
    }

    /// Runs a command that becomes `kinora dev` on the project, and waits until it listens.
    pub async fn run(project: &'p Project, mut command: Command) -> Dev<'p> {
        let output = |name: &str| File::create(project.path().join(name)).expect("a file can be made");
        let child = command
            .stdin(Stdio::null())
            .stdout(output("out.txt"))
            .stderr(output("err.txt"))
            .spawn()
            .expect("kinora can be started");
        let pid = child.id();
        let endpoint = until("it listens", async || {
            let endpoint = Endpoint::read(&project.data()).ok().flatten()?;
            let live = send(endpoint.address, "GET", "/health/live", &[], &[]).await.ok()?;
            (live.status == 200).then_some(endpoint)
        });
        let endpoint = endpoint.await;
        let dev = Dev { project, child, endpoint };
        assert_eq!(dev.child.id(), pid);
        dev
    }

    /// Waits until it is ready.
    pub async fn ready(self) -> Self {
        until("it is ready", async || (self.get("/health/ready").await.status == 200).then_some(())).await;
        self
    }

    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub async fn get(&self, path: &str) -> Reply {
        send(self.endpoint.address, "GET", path, &[], &[]).await.expect("it answers")
    }

    pub async fn post(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        send(self.endpoint.address, "POST", path, headers, body.as_bytes()).await.expect("it answers")
    }

    /// The status that the page shows.
    pub async fn status(&self) -> Json {
        let page: Json = serde_json::from_slice(&self.get("/status.json").await.body).expect("JSON");
        page["status"].clone()
    }

    /// Publishes events under their `id`; answers the positions to read after.
    pub async fn publish(&self, topic: &str, events: &[Json]) -> String {
        let lines: Vec<String> =
            events.iter().map(|event| json!({ "key": event["id"], "value": event }).to_string()).collect();
        let headers = [("content-type", "application/x-ndjson")];
        let reply = self.post(&format!("/topics/{topic}"), &headers, &lines.join("\n")).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let answer: Json = serde_json::from_slice(&reply.body).expect("JSON");
        answer["readAfter"].as_str().expect("positions").to_owned()
    }

    /// The text of a note, not older than these positions; `None` where there is no such note.
    pub async fn text(&self, id: &str, read_after: &str) -> Option<String> {
        let body =
            json!({ "query": "query($id: ID!) { note(id: $id) { text } }", "variables": { "id": id } });
        let mut headers = vec![("content-type", "application/json"), ("x-read-wait", "10s;on-timeout=fail")];
        if !read_after.is_empty() {
            headers.push(("x-read-after", read_after));
        }
        let reply = self.post("/graphql", &headers, &body.to_string()).await;
        let answer: Json = serde_json::from_slice(&reply.body).expect("JSON");
        assert!(answer.get("errors").is_none(), "{answer}");
        answer["data"]["note"]["text"].as_str().map(str::to_owned)
    }

    /// What it has printed so far.
    pub fn out(&self) -> String {
        std::fs::read_to_string(self.project.path().join("out.txt")).expect("its output is there")
    }

    pub fn err(&self) -> String {
        std::fs::read_to_string(self.project.path().join("err.txt")).expect("its output is there")
    }

    /// Waits until it has printed a text on standard output.
    pub async fn prints(&self, text: &str) {
        until(text, async || self.out().contains(text).then_some(())).await;
    }

    /// Sends a signal by name.
    pub fn tell(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &pid]).status().expect("kill is there");
        assert!(sent.success());
    }

    /// Sends a signal by name and waits for the end.
    pub async fn signal(self, name: &str) -> ExitStatus {
        self.tell(name);
        self.ended().await
    }

    /// Waits for the end.
    pub async fn ended(mut self) -> ExitStatus {
        let child = &mut self.child;
        until("it ends", async || child.try_wait().expect("it can be asked")).await
    }
}

impl Drop for Dev<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks again and again until there is an answer.
pub async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(start.elapsed() < LIMIT, "not within {LIMIT:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// `NoteWritten` as its producer writes it.
pub fn written(id: &str, text: &str) -> Json {
    json!({ "type": "NoteWritten", "id": id, "text": text })
}

/// An event as a record under its `id`.
pub fn record(event: &Json) -> NewRecord {
    NewRecord {
        key: event["id"].as_str().map(|id| id.to_owned().into()),
        value: Some(event.to_string().into()),
        ..NewRecord::default()
    }
}

/// The answer of an engine to a query, not older than these positions.
pub async fn ask(engine: &Embedded, query: &str, read_after: &[Position]) -> Json {
    ask_at(engine, query, read_after, None).await
}

/// As [`ask`], at a time, milliseconds since 1970.
pub async fn ask_at(engine: &Embedded, query: &str, read_after: &[Position], at_ms: Option<i64>) -> Json {
    let serving = engine.serving().expect("something answers");
    let (query, read_after) = (query.to_owned(), read_after.to_vec());
    let request = Request { query, read_after, at_ms, ..Request::default() };
    let answer = serving.graph.execute(request, &serving.tables).await;
    serde_json::from_slice(&answer.body).expect("an answer is JSON")
}

/// The seeds of a random test: `KINORA_SEEDS` of them (else so many) from `KINORA_SEED_BASE` on.
pub fn seeds(count: u64) -> impl Iterator<Item = u64> {
    let number =
        |name: &str, default| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let base: u64 = number("KINORA_SEED_BASE", 1);
    base..base.saturating_add(number("KINORA_SEEDS", count))
}
