//! Real servers for tests: one of each for a test binary, on free ports of the loopback address.
//!
//! Comes in: the environment. `KINORA_REAL=1` starts servers by the scripts in this folder; `KINORA_TEST_CASSANDRA=host:port`
//! uses one that runs. Goes out: an address, or nothing where neither is set, and then only. Who ends a server that was
//! started is a process of its own that waits for the end of this one, however it comes.
#![allow(dead_code, reason = "each test binary uses some of it")]

pub mod node;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::OnceLock;

/// A server, for as long as this process lives.
pub struct Server {
    /// `host:port`.
    pub address: String,
    /// Its end is what the process that ends the server waits for.
    _alive: Option<ChildStdin>,
}

impl Server {
    /// One that somebody else started.
    pub fn running(address: String) -> Server {
        Server { address, _alive: None }
    }
}

/// Cassandra; `None` only where the environment asks for no real servers.
pub fn cassandra() -> Option<&'static Server> {
    static CASSANDRA: OnceLock<Option<Server>> = OnceLock::new();
    CASSANDRA
        .get_or_init(|| match std::env::var("KINORA_TEST_CASSANDRA") {
            Ok(address) => Some(Server::running(address)),
            Err(_) => wants_real().then(|| start_cassandra(&[])),
        })
        .as_ref()
}

/// Whether the environment asks for real servers.
pub fn wants_real() -> bool {
    std::env::var("KINORA_REAL").is_ok_and(|value| value == "1")
}

/// Starts a node, with variables of its script.
pub fn start_cassandra(variables: &[(&str, &str)]) -> Server {
    let [port, storage] = free_ports();
    let (port, storage) = (port.to_string(), storage.to_string());
    let alive = start("cassandra", &[&port, &storage], variables);
    Server { address: format!("127.0.0.1:{port}"), _alive: Some(alive) }
}

/// Starts a server by `NAME-up.sh DIRECTORY ARGUMENTS…`, and what ends it by `NAME-down.sh DIRECTORY`.
pub fn start(name: &str, arguments: &[&str], variables: &[(&str, &str)]) -> ChildStdin {
    let directory = directory_of(name, arguments[0]);
    // First what ends it: so a server is never left behind.
    let alive = guard(name, &directory);
    up(name, &directory, arguments, variables);
    alive
}

/// Where a server of this process has its files.
fn directory_of(name: &str, which: &str) -> PathBuf {
    std::env::temp_dir().join(format!("kinora-{name}-{}-{which}", std::process::id()))
}

/// Begins a process that ends a server, and removes its files, once what this answers is closed.
fn guard(name: &str, directory: &Path) -> ChildStdin {
    // It outlives this process, so nobody waits for it.
    #[expect(clippy::zombie_processes, reason = "it ends after this process")]
    let mut guard = Command::new("setsid")
        .args(["sh", "-c", "cat; \"$0\" \"$1\"; rm -rf \"$1\""])
        .args([script(&format!("{name}-down.sh")).as_path(), directory])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("setsid and sh are there");
    guard.stdin.take().expect("it is piped")
}

/// Runs `NAME-up.sh DIRECTORY ARGUMENTS…`.
fn up(name: &str, directory: &Path, arguments: &[&str], variables: &[(&str, &str)]) {
    let up = script(&format!("{name}-up.sh"));
    let done = Command::new(&up).arg(directory).args(arguments).envs(variables.iter().copied()).output();
    let done = done.unwrap_or_else(|error| panic!("{} cannot be run: {error}", up.display()));
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{} failed:\n{said}", up.display());
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers").join(name)
}

/// Ports that nobody listens on.
pub fn free_ports<const N: usize>() -> [u16; N] {
    let held = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    held.map(|listener| listener.local_addr().expect("it is bound").port())
}
