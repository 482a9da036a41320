//! A running `kinora dev` and a plain HTTP client for it. Knows nothing of what is tested.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde_json::{Value as Json, json};

/// `kinora dev` over a project and a data directory of its own; stopped when dropped.
pub struct Dev {
    pub address: SocketAddr,
    /// From the start of the process to the first answer of `/health/ready`.
    pub ready_after: Duration,
    project: PathBuf,
    data: tempfile::TempDir,
    process: Child,
}

/// An HTTP response.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Json {
        serde_json::from_str(&self.body).unwrap_or_else(|fault| panic!("{fault}: {self:?}"))
    }
}

impl Dev {
    /// Starts it over the project of this repository.
    pub fn start() -> Dev {
        Dev::start_on(Path::new(env!("CARGO_MANIFEST_DIR")))
    }

    /// Starts it on a free port and waits until it is ready.
    pub fn start_on(project: &Path) -> Dev {
        let data = tempfile::tempdir().expect("a temporary directory can be made");
        let address = free_address();
        let process = spawn(project, data.path(), address);
        let project = project.to_owned();
        let mut dev = Dev { address, ready_after: Duration::ZERO, project, data, process };
        dev.await_ready();
        dev
    }

    /// Kills it without warning and starts it again on the same data.
    pub fn kill_and_restart(&mut self) {
        self.stop();
        self.address = free_address();
        self.process = spawn(&self.project, self.data.path(), self.address);
        self.await_ready();
    }

    fn stop(&mut self) {
        self.process.kill().expect("the process can be killed");
        self.process.wait().expect("the process can be waited for");
    }

    fn await_ready(&mut self) {
        let start = Instant::now();
        while self.try_request("GET", "/health/ready", &[], b"").is_none_or(|response| response.status != 200)
        {
            if let Some(status) = self.process.try_wait().expect("the process can be asked") {
                panic!("kinora dev ended with {status} before it was ready");
            }
            assert!(start.elapsed() < Duration::from_secs(60), "kinora dev is not ready after a minute");
            std::thread::park_timeout(Duration::from_millis(5));
        }
        self.ready_after = start.elapsed();
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Runs another command of kinora on the same project and data.
    pub fn command(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_kinora"))
            .args(arguments)
            .arg("--project")
            .arg(&self.project)
            .arg("--data")
            .arg(self.data.path())
            .stdin(Stdio::null())
            .output()
            .expect("kinora can be run")
    }

    pub fn get(&self, path: &str, accept: &str) -> Response {
        self.request("GET", path, &[("accept", accept)], b"")
    }

    /// Publishes records, one JSON line each.
    pub fn publish(&self, topic: &str, records: &[Json]) -> Response {
        let lines: String = records.iter().map(|record| format!("{record}\n")).collect();
        let headers = [("content-type", "application/x-ndjson")];
        self.request("POST", &format!("/topics/{topic}"), &headers, lines.as_bytes())
    }

    /// Publishes one event under its key; answers the position to read after.
    pub fn publish_event(&self, topic: &str, key: &str, event: Json) -> String {
        let response = self.publish(topic, &[json!({ "key": key, "value": event })]);
        assert_eq!(response.status, 200, "{response:?}");
        response.json()["readAfter"]
            .as_str()
            .unwrap_or_else(|| panic!("no readAfter: {response:?}"))
            .to_owned()
    }

    pub fn query(&self, query: &str, variables: Json, read_after: Option<&str>) -> Response {
        let body = json!({ "query": query, "variables": variables }).to_string();
        let mut headers = vec![("content-type", "application/json"), ("accept", "application/json")];
        if let Some(position) = read_after {
            headers.extend([("x-read-after", position), ("x-read-wait", "10s;on-timeout=fail")]);
        }
        self.request("POST", "/graphql", &headers, body.as_bytes())
    }

    /// The `data` of a query that must have no errors.
    pub fn data(&self, query: &str, read_after: Option<&str>) -> Json {
        let response = self.query(query, json!({}), read_after);
        let json = response.json();
        assert!(json.get("errors").is_none(), "{query}: {response:?}");
        json["data"].clone()
    }

    pub fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        self.try_request(method, path, headers, body)
            .unwrap_or_else(|| panic!("{method} {path} on {} was not answered", self.address))
    }

    fn try_request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Option<Response> {
        let mut stream = TcpStream::connect_timeout(&self.address, Duration::from_secs(5)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a time limit can be set");
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", self.address);
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("content-length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).ok()?;
        // A server may refuse a large body before it has read it all: what it answers is still to be read.
        let _ = stream.write_all(body);
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        parse_response(&bytes)
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Bytes as `valueBase64` takes them.
pub fn base64(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn free_address() -> SocketAddr {
    let probe = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    probe.local_addr().expect("a bound socket has an address")
}

fn spawn(project: &Path, data: &Path, address: SocketAddr) -> Child {
    Command::new(env!("CARGO_BIN_EXE_kinora"))
        .args(["dev", "--no-sample", "--listen", &address.to_string(), "--project"])
        .arg(project)
        .arg("--data")
        .arg(data)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("kinora can be started")
}

fn parse_response(bytes: &[u8]) -> Option<Response> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let chunked = headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked");
    let body = if chunked { unchunk(&bytes[end + 4..]) } else { bytes[end + 4..].to_vec() };
    Some(Response { status, headers, body: String::from_utf8_lossy(&body).into_owned() })
}

fn unchunk(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(line) = rest.windows(2).position(|window| window == b"\r\n") {
        let size = String::from_utf8_lossy(&rest[..line]);
        let size = usize::from_str_radix(size.split(';').next().unwrap_or("").trim(), 16).unwrap_or(0);
        let from = line + 2;
        if size == 0 || from + size + 2 > rest.len() {
            break;
        }
        body.extend_from_slice(&rest[from..from + size]);
        rest = &rest[from + size + 2..];
    }
    body
}
