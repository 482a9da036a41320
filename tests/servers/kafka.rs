//! Real Kafka brokers for tests. Comes in: nothing, or `KINORA_TEST_KAFKA=host:port` of one that runs. Goes out: a broker on
//! free ports of 127.0.0.1, started by `kafka-up.sh` when a test first asks for one, and ended when this process is gone,
//! however it went.
#![allow(dead_code, reason = "each test binary uses some of it")]

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// A broker.
pub struct Server {
    directory: PathBuf,
    port: u16,
    controller: u16,
    secure: Option<(u16, u16)>,
}

/// Whether tests with real servers run: where `KINORA_REAL=1` is set, or a broker is named. Then none is left out.
pub fn is_asked_for() -> bool {
    let is_real = std::env::var("KINORA_REAL").is_ok_and(|value| value == "1");
    is_real || running().is_some()
}

/// Says that a test was left out, unless real servers are asked for.
#[expect(clippy::print_stdout, reason = "whoever runs the tests is to know")]
pub fn left_out(what: &str) -> bool {
    let asked = is_asked_for();
    if !asked {
        println!(
            "{what} was left out: set KINORA_REAL=1, or KINORA_TEST_KAFKA=host:port of a broker for tests"
        );
    }
    !asked
}

/// The broker that all tests of this process share, as `host:port`.
pub fn shared() -> String {
    static SHARED: OnceLock<Server> = OnceLock::new();
    running().unwrap_or_else(|| SHARED.get_or_init(|| Server::start(false)).address())
}

fn running() -> Option<String> {
    std::env::var("KINORA_TEST_KAFKA").ok().filter(|address| !address.is_empty())
}

impl Server {
    /// Starts a broker of this test's own, with listeners for logins and certificates if it asks for them. Blocks until it
    /// takes requests.
    ///
    /// # Panics
    /// If it does not start: its log is shown.
    pub fn start(with_security: bool) -> Server {
        // Kept until all are known, so that none is given twice.
        let sockets: Vec<TcpListener> =
            (0..4).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port is free")).collect();
        let port = |at: usize| sockets[at].local_addr().expect("it is bound").port();
        let (controller, secure) = (port(1), with_security.then(|| (port(2), port(3))));
        let directory =
            tempfile::Builder::new().prefix("kinora-kafka-").tempdir().expect("a directory").keep();
        let server = Server { directory, port: port(0), controller, secure };
        drop(sockets);
        server.guard();
        server.up();
        server
    }

    /// `host:port` of the listener without security.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// `host:port` of the listener for logins.
    pub fn with_login(&self) -> String {
        format!("127.0.0.1:{}", self.secure.expect("it was asked for").0)
    }

    /// `host:port` of the listener for certificates.
    pub fn with_certificates(&self) -> String {
        format!("127.0.0.1:{}", self.secure.expect("it was asked for").1)
    }

    /// A file that clients need: `ca.pem`, `client.pem`, `client.key`, `other.pem`.
    pub fn tls(&self, name: &str) -> PathBuf {
        self.directory.join("tls").join(name)
    }

    /// Ends the broker at once, as a power loss would, and waits until it is gone.
    pub fn kill(&self) {
        let killed = Command::new(script("kafka-down.sh")).arg(&self.directory).arg("now").status();
        assert!(killed.expect("bash can be run").success(), "the broker was gone already");
    }

    /// Starts it, again, on what it has stored.
    pub fn up(&self) {
        let mut command = Command::new(script("kafka-up.sh"));
        command.arg(&self.directory).args([self.port.to_string(), self.controller.to_string()]);
        if let Some((login, certificates)) = self.secure {
            command.env("KAFKA_SASL_PORT", login.to_string());
            command.env("KAFKA_TLS_PORT", certificates.to_string());
        }
        let output = command.stdin(Stdio::null()).output().expect("bash can be run");
        assert!(output.status.success(), "Kafka did not start: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Ends the broker when this process has ended: a test that fails, or is killed, leaves none behind.
    fn guard(&self) {
        const SCRIPT: &str = "tail --pid=\"$1\" -f /dev/null; \"$2\" \"$3\"; rm -rf \"$3\"";
        let started = Command::new("setsid")
            .args(["--fork", "bash", "-c", SCRIPT, "guard"])
            .arg(std::process::id().to_string())
            .args([script("kafka-down.sh").as_path(), &self.directory])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .expect("setsid and bash can be run");
        assert!(started.success(), "setsid starts bash");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let ended = Command::new(script("kafka-down.sh")).arg(&self.directory).output();
        let is_over = std::thread::panicking() || ended.is_ok_and(|output| output.status.success());
        assert!(is_over, "{} may still have a broker", self.directory.display());
    }
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers").join(name)
}
