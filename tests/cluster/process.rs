//! A running `kinora project` or `kinora serve`: asked over HTTP, killed, held up, ended, and heard.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::net::SocketAddr;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use kinora::serve::client;
use serde_json::{Map, Value as Json, json};

/// Longest wait for what must come.
pub const AT_MOST: Duration = Duration::from_secs(90);

/// How often it is looked whether something has come.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A process; killed when it is dropped.
pub struct Process {
    child: Child,
    /// What it prints, to standard output and to standard error.
    said: tempfile::NamedTempFile,
    /// Where it listens.
    address: SocketAddr,
    query: &'static str,
}

/// A process that has ended.
pub struct Ended {
    pub code: Option<i32>,
    /// What it printed, to standard output and to standard error.
    pub said: String,
}

impl Ended {
    /// Runs a command to its end.
    pub async fn of(mut command: Command) -> Ended {
        let said = tempfile::NamedTempFile::new().expect("a file can be made");
        let into = || OpenOptions::new().append(true).open(said.path()).expect("it can be opened");
        let child = command.stdout(into()).stderr(into()).spawn().expect("kinora can be run");
        let mut process = Process { child, said, address: ([127, 0, 0, 1], 0).into(), query: "" };
        let code = process.ended().await;
        Ended { code, said: process.said() }
    }
}

impl Process {
    /// Starts it, and waits until it listens.
    ///
    /// # Panics
    /// If it ends instead: what it said is shown.
    pub fn start(mut command: Command) -> Process {
        let said = tempfile::NamedTempFile::new().expect("a file can be made");
        let into = || OpenOptions::new().append(true).open(said.path()).expect("it can be opened");
        let child = command.stdout(into()).stderr(into()).spawn().expect("kinora can be run");
        let mut process =
            Process { child, said, address: ([127, 0, 0, 1], 0).into(), query: "{ __typename }" };
        let begun = Instant::now();
        let listening = |line: &str| -> Option<SocketAddr> {
            let line: Json = serde_json::from_str(line).ok()?;
            line["listening"].as_str()?.strip_prefix("http://")?.parse().ok()
        };
        while process.address.port() == 0 {
            let said = process.said();
            assert!(process.runs() && begun.elapsed() < AT_MOST, "it did not start: {said}");
            // A line that is not whole yet is read again.
            if let Some(address) = said.lines().find_map(listening) {
                process.address = address;
            }
            std::thread::sleep(LOOK_EVERY);
        }
        process
    }

    /// Takes a query that reads what each projection feeds.
    pub fn asks(mut self, query: &'static str) -> Process {
        self.query = query;
        self
    }

    /// Ends it as a power loss would.
    pub fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it can be waited for");
    }

    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &pid]).status().expect("kill can be run");
        assert!(sent.success(), "the process is gone");
    }

    /// Tells it to end, unless it has ended by itself, and waits until it has.
    pub async fn told_to_end(mut self) -> Ended {
        if self.runs() {
            self.signal("TERM");
        }
        let code = self.ended().await;
        Ended { code, said: self.said() }
    }

    /// As [`Process::told_to_end`]; it ends well, whatever happened before.
    pub async fn ends_well(self) {
        let Ended { code, said } = self.told_to_end().await;
        assert_eq!(code, Some(0), "it ended with {code:?} and said: {said}");
    }

    /// As [`Process::ends_well`]; or it has ended because the group had given its partitions to another, as it does with a
    /// process or a broker that it does not hear of for some seconds.
    pub async fn ends_well_or_fenced(self) {
        let Ended { code, said } = self.told_to_end().await;
        let is_fenced = code == Some(5) && said.contains("lost ownership of");
        assert!(code == Some(0) || is_fenced, "it ended with {code:?} and said: {said}");
    }

    /// Waits until it has ended; answers its exit code.
    pub async fn ended(&mut self) -> Option<i32> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it can be waited for") {
                return status.code();
            }
            assert!(begun.elapsed() < AT_MOST, "it does not end: {}", self.said());
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Whether it runs still.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().expect("it can be waited for").is_none()
    }

    /// Bytes of it that are in memory now.
    pub fn resident_bytes(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let text = std::fs::read_to_string(path).expect("it runs");
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
        kib << 10
    }

    /// The number that the machine gave it.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// All that it has printed.
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.said.path()).unwrap_or_default()
    }

    /// Waits until it has printed one of these; answers which.
    pub async fn wait_until_said(&self, texts: &[&'static str]) -> &'static str {
        let begun = Instant::now();
        loop {
            let said = self.said();
            if let Some(text) = texts.iter().find(|text| said.contains(**text)) {
                return text;
            }
            assert!(begun.elapsed() < AT_MOST, "it said none of {texts:?}: {said}");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The answer to a query, with nothing older than these positions; null where it did not come.
    pub async fn ask(&self, query: &str, variables: &Map<String, Json>, read_after: &str) -> Json {
        let body = json!({ "query": query, "variables": variables }).to_string();
        let mut headers = vec![("content-type", "application/json"), ("x-read-wait", "4s;on-timeout=fail")];
        if !read_after.is_empty() {
            headers.push(("x-read-after", read_after));
        }
        let reply = client::send(self.address, "POST", "/graphql", &headers, body.as_bytes()).await;
        reply.ok().and_then(|reply| serde_json::from_slice(&reply.body).ok()).unwrap_or_default()
    }

    /// What it answers to a path.
    pub async fn reply(&self, path: &str) -> client::Reply {
        client::send(self.address, "GET", path, &[], &[]).await.expect("it answers")
    }

    /// What a page of it answers as JSON.
    pub async fn get(&self, path: &str) -> Json {
        serde_json::from_slice(&self.reply(path).await.body).expect("it is JSON")
    }

    /// Waits until the graph answers with all up to these positions, by partition, within a time.
    pub async fn wait_until_read_within(&self, positions: &BTreeMap<String, u64>, at_most: Duration) {
        let all: Vec<String> = positions.iter().map(|(at, offset)| format!("{at}@{offset}")).collect();
        let all = all.join(",");
        let begun = Instant::now();
        loop {
            let answer = self.ask(self.query, &Map::new(), &all).await;
            if answer["data"]["__typename"] == "Query" && answer["errors"].is_null() {
                return;
            }
            assert!(begun.elapsed() < at_most, "not all was folded in {at_most:?}: {answer}");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// As [`Process::wait_until_read_within`], within the usual time.
    pub async fn wait_until_read(&self, positions: &BTreeMap<String, u64>) {
        self.wait_until_read_within(positions, AT_MOST).await;
    }
}

impl Drop for Process {
    #[expect(clippy::print_stdout, reason = "why a test fails is often known to the process alone")]
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            println!("process {} said:\n{}", self.child.id(), self.said());
        }
    }
}
