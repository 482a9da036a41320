//! A `kinora dev` that may be killed at any moment, and a plain HTTP client that lives on.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

/// Longest wait for anything.
pub const LIMIT: Duration = Duration::from_secs(120);

/// A running process; killed when dropped.
pub struct Dev {
    pub address: SocketAddr,
    child: Child,
    errors: std::path::PathBuf,
}

/// An answer that came whole.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub body: String,
}

impl Reply {
    pub fn json(&self) -> Json {
        serde_json::from_str(&self.body).unwrap_or_else(|fault| panic!("{fault}: {self:?}"))
    }
}

/// The binary without settings of the environment.
pub fn kinora() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kinora"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("KINORA_")) {
        command.env_remove(name);
    }
    command
}

impl Dev {
    /// Starts it; it may be killed before it listens. What it says on standard error is added to `errors` in the project.
    pub fn start(project: &Path, data: &Path, environment: &[(&str, &str)]) -> Dev {
        let address = free_address();
        let errors = project.join("errors.txt");
        let written = std::fs::File::options().create(true).append(true).open(&errors);
        let child = kinora()
            .args(["dev", "--no-sample", "--listen", &address.to_string(), "--project"])
            .arg(project)
            .arg("--data")
            .arg(data)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(written.expect("a file can be made"))
            .spawn()
            .expect("kinora can be started");
        Dev { address, child, errors }
    }

    /// Waits until it is ready.
    pub fn ready(mut self) -> Dev {
        self.await_ready();
        self
    }

    /// As [`Dev::ready`].
    pub fn await_ready(&mut self) {
        let start = Instant::now();
        while request(self.address, "GET", "/health/ready", &[], "").is_none_or(|reply| reply.status != 200) {
            if let Some(status) = self.child.try_wait().expect("it can be asked") {
                panic!("it ended with {status} before it was ready: {}", self.errors());
            }
            assert!(start.elapsed() < LIMIT, "it is not ready: {}", self.errors());
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// What it, and those before it, said on standard error.
    pub fn errors(&self) -> String {
        std::fs::read_to_string(&self.errors).unwrap_or_default()
    }

    /// Where it writes its standard error.
    pub fn error_file(&self) -> &Path {
        &self.errors
    }

    /// Kills it without warning.
    pub fn kill(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it can be waited for");
    }

    /// Tells it to end; answers how it did.
    pub fn end(mut self) -> ExitStatus {
        let told = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(told.expect("kill is there").success());
        self.ended()
    }

    /// Waits until it ends by itself.
    pub fn ended(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it can be asked") {
                return status;
            }
            assert!(start.elapsed() < LIMIT, "it does not end: {}", self.errors());
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// Publishes records; `None` where no whole answer came.
    pub fn publish(&self, topic: &str, records: &[Json]) -> Option<Reply> {
        publish(self.address, topic, records)
    }

    /// The status that the page shows.
    pub fn status(&self) -> Json {
        let reply = request(self.address, "GET", "/status.json", &[], "").expect("it answers");
        reply.json()["status"].clone()
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn publish(address: SocketAddr, topic: &str, records: &[Json]) -> Option<Reply> {
    let lines: String = records.iter().map(|record| format!("{record}\n")).collect();
    let headers = [("content-type", "application/x-ndjson")];
    request(address, "POST", &format!("/topics/{topic}"), &headers, &lines)
}

/// Asks for data not older than positions; `None` where no whole answer came, or the server is about to end.
pub fn query(address: SocketAddr, query: &str, read_after: &str) -> Option<Json> {
    let headers = [
        ("content-type", "application/json"),
        ("x-read-after", read_after),
        ("x-read-wait", "30s;on-timeout=fail"),
    ];
    let reply = request(address, "POST", "/graphql", &headers, &json!({ "query": query }).to_string())?;
    let answer = reply.json();
    assert!(answer.get("errors").is_none() || reply.status == 503, "{answer}");
    answer.get("data").cloned()
}

/// One request on a connection of its own.
pub fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Option<Reply> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5)).ok()?;
    stream.set_read_timeout(Some(LIMIT)).expect("a time limit can be set");
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    text += &format!("content-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(text.as_bytes()).ok()?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).ok()?;
    whole(&bytes)
}

/// The answer in these bytes, if they are all of it.
fn whole(bytes: &[u8]) -> Option<Reply> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?.to_ascii_lowercase();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let length: usize =
        head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok())?;
    let body = bytes.get(end + 4..end + 4 + length)?;
    Some(Reply { status, body: String::from_utf8(body.to_vec()).ok()? })
}

fn free_address() -> SocketAddr {
    let probe = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    probe.local_addr().expect("a bound socket has an address")
}
