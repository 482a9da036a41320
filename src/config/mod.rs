//! Settings: `kinora.toml`, then `KINORA_SECTION__KEY`, then flags.
//!
//! Comes in: the text of the file, the environment and the flags. Goes out: [`Settings`] with typed values, and every
//! fault at once, each with its place. `read` goes through what is given, `value` makes typed values, `kafka`,
//! `cassandra` and `telemetry` have the settings of those rooms. The fields' docs are the manual. Nothing here opens a socket or a database.

mod cassandra;
mod kafka;
mod read;
mod telemetry;
#[cfg(test)]
mod tests;
mod value;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::diagnostic::{Diagnostic, Sources};
use crate::lint::Severities;
use crate::resolve::Limits;

pub use cassandra::{Cassandra, Consistency, Tls};
pub use kafka::{Kafka, Mechanism, Security};
pub use read::{Flag, read};
pub use telemetry::{Endpoint, Log, Telemetry};
pub use value::{Bytes, Secret};

/// Name of the settings file in a project's directory.
pub const FILE: &str = "kinora.toml";

/// All settings of a process.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    pub serve: Serve,
    /// `[topics."<name>"]`: what is particular to a topic.
    pub topics: BTreeMap<String, Topic>,
    pub dev: Dev,
    pub parking: Parking,
    pub project: Project,
    pub store: Store,
    pub cassandra: Cassandra,
    pub kafka: Kafka,
    pub log: Log,
    pub telemetry: Telemetry,
    /// `[lint]`: `lint.L03` and so on, `off`, `info`, `warn` or `error`: how bad the findings of a numbered rule are.
    /// `docs/lint` has every rule, and its default.
    pub lint: Severities,
}

/// `[serve]`: the HTTP side.
#[derive(Clone, Debug)]
pub struct Serve {
    /// `serve.listen`: address and port. Default `127.0.0.1:4000`; port 0 takes a free one. Beyond loopback the
    /// publish endpoint wants the token.
    pub listen: SocketAddr,
    /// `serve.cursor_secrets`: keys that sign cursors; the first signs, all verify, so that a new one can be put in
    /// front. Each at least 16 bytes. Default none: `dev` then makes one in its data directory.
    pub cursor_secrets: Vec<Secret>,
    /// `serve.introspection`: whether `__schema` and `__type` answer. Default true. `_service` answers always.
    pub introspection: bool,
    /// `serve.deadline`: longest time for one request, waiting for a position not included. Default `5s`, from
    /// `10ms` to `5m`.
    pub deadline: Duration,
    /// `serve.drain`: how long a stopping server lets requests finish. Default `25s`, from `0s` to `10m`.
    pub drain: Duration,
    /// `serve.concurrent`: requests worked on at once; more are told to come again. Default 512, from 1 to 100,000.
    pub concurrent: usize,
    /// `serve.waiting`: requests that wait for a position (`x-read-after`) at once; more are told to come again, so that
    /// those who wait leave room for those who do not. Default 256, from 1 to 100,000.
    pub waiting: usize,
    /// `serve.connections`: open connections; whoever comes beyond them is told to come again. Default 1,024, from 1 to
    /// 100,000; at most half of the files that the process may open.
    pub connections: usize,
    /// `serve.idle`: longest time in which a connection sends no whole head of a request, or takes nothing of its answer;
    /// then it is closed. Default `30s`, from `100ms` to `1h`.
    pub idle: Duration,
    /// `serve.memory`: bytes of bodies and answers in flight, together; a request that finds no room is told to come
    /// again. Default `256MiB`, from `1MiB` to `64GiB`.
    pub memory: Bytes,
    pub limits: ServeLimits,
}

/// `[serve.limits]`: bounds on what a client may send.
#[derive(Clone, Copy, Debug)]
pub struct ServeLimits {
    /// `serve.limits.body`: largest body of a GraphQL request. Default `1MiB`, from `1KiB` to `64MiB`.
    pub body: Bytes,
    /// `serve.limits.record`: largest record on the publish endpoint. Default `10MiB`, from `1KiB` to `64MiB`.
    pub record: Bytes,
    /// `serve.limits.publish`: largest body on the publish endpoint. Default `64MiB`, from `1KiB` to `1GiB`.
    pub publish: Bytes,
    /// `serve.limits.tokens` (default 10,000), `depth` (20), `aliases` (100), `root_fields` (50), `directives` (50),
    /// `representations` (1,000): bounds on one operation. `cached_operations` (1,000): operations kept planned.
    /// Each from 1 to 1,000,000. `read`: bytes of the rows that are held for one answer, default `64MiB`; `answer`: bytes
    /// of one answer, default `32MiB`; each from `1KiB` to `1GiB`.
    pub operation: Limits,
}

/// `[topics."<name>"]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Topic {
    /// `partitions`: how many a topic gets when the embedded log makes it. Default 4, from 1 to 1,024. An existing
    /// topic keeps what it has.
    pub partitions: u32,
}

/// `[dev]`: `kinora dev` alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dev {
    /// `dev.sample`: events for an empty log. `"shop"`, or nothing, which is the default.
    pub sample: Option<Sample>,
    /// `dev.data`: directory of log and store, from the project's directory. Default `.kinora`.
    pub data: PathBuf,
}

/// Samples that ship.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sample {
    Shop,
}

/// `[parking]`: when parked keys stop a projection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Parking {
    /// `parking.max_keys`: parked keys of one projection, above which it halts. Default 1,000, from 0 to 1,000,000.
    pub max_keys: usize,
    /// `parking.max_share`: share of any 10,000 events of a projection in a row that may each park a key; above it halts.
    /// Events that wait behind a parked key do not count. Default 0.01, from 0 to 1; 1 never halts it.
    pub max_share: f64,
}

/// `[project]`: the write loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Project {
    /// `project.listen`: address and port of `kinora project`, for its status and health. Default `127.0.0.1:4001`; port 0
    /// takes a free one.
    pub listen: SocketAddr,
    /// `project.batch`: about how many bytes of events are folded in one batch, and of rows loaded for them. Default
    /// `16MiB`, from `1KiB` to `64MiB`; at most about a fifth of `project.budget`.
    pub batch: Bytes,
    /// `project.budget`: bytes of events and rows that all projections together hold between fetch and commit. Default
    /// `128MiB`, which lets three whole batches be under way at once, beside small ones; from `1MiB` to `64GiB`.
    pub budget: Bytes,
    /// `project.cache`: bytes of rows that all projections of a generation together keep between batches. Default
    /// `32MiB`, from `1MiB` to `64GiB`.
    pub cache: Bytes,
    /// `project.stall`: how long a projection may lag without progress before it is said to stand still. Default `30s`,
    /// from `100ms` to `1h`.
    pub stall: Duration,
}

/// `[store]`: the embedded store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Store {
    /// `store.memtables`: bytes that all tables together gather in memory before they go to files. Default `64MiB`, from
    /// `4MiB` to `16GiB`. One table goes to a file at 2 MiB.
    pub memtables: Bytes,
    /// `store.cache`: bytes of blocks of files kept in memory for reading. Default `16MiB`, from `1MiB` to `64GiB`.
    pub cache: Bytes,
}

/// What came of reading the settings.
#[derive(Debug)]
pub struct Loaded {
    /// Whole even where there are findings: what could not be read has its default.
    pub settings: Settings,
    /// The settings file, for showing findings.
    pub sources: Sources,
    pub findings: Vec<Diagnostic>,
}

/// Reads `kinora.toml` of a project, the process's environment and flags. A missing file is an empty one.
pub fn load(project: &Path, flags: &[Flag]) -> Loaded {
    let path = project.join(FILE);
    let (text, unreadable) = match std::fs::read_to_string(&path) {
        Ok(text) => (text, None),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => (String::new(), None),
        Err(error) => (String::new(), Some(format!("{} cannot be read: {error}", path.display()))),
    };
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())));
    let mut loaded = read(&text, environment, flags);
    loaded.settings.kafka.seen_from(project);
    if let Some(message) = unreadable {
        loaded.findings.insert(0, read::fault("C001", None, message));
    }
    loaded
}

impl Settings {
    /// Partitions of a topic that is made.
    pub fn partitions(&self, topic: &str) -> u32 {
        self.topics.get(topic).copied().unwrap_or_default().partitions
    }
}

impl Default for Serve {
    fn default() -> Serve {
        Serve {
            listen: SocketAddr::from(([127, 0, 0, 1], 4000)),
            cursor_secrets: Vec::new(),
            introspection: true,
            deadline: Duration::from_secs(5),
            drain: Duration::from_secs(25),
            concurrent: 512,
            waiting: 256,
            connections: 1_024,
            idle: Duration::from_secs(30),
            memory: Bytes::mib(256),
            limits: ServeLimits::default(),
        }
    }
}

impl Default for ServeLimits {
    fn default() -> ServeLimits {
        ServeLimits {
            body: Bytes::mib(1),
            record: Bytes::mib(10),
            publish: Bytes::mib(64),
            operation: Limits::default(),
        }
    }
}

impl Default for Topic {
    fn default() -> Topic {
        Topic { partitions: 4 }
    }
}

impl Default for Dev {
    fn default() -> Dev {
        Dev { sample: None, data: PathBuf::from(".kinora") }
    }
}

impl Default for Parking {
    fn default() -> Parking {
        Parking { max_keys: 1_000, max_share: 0.01 }
    }
}

impl Default for Project {
    fn default() -> Project {
        Project {
            listen: SocketAddr::from(([127, 0, 0, 1], 4001)),
            batch: Bytes::mib(16),
            budget: Bytes::mib(128),
            cache: Bytes::mib(32),
            stall: Duration::from_secs(30),
        }
    }
}

impl Default for Store {
    fn default() -> Store {
        Store { memtables: Bytes::mib(64), cache: Bytes::mib(16) }
    }
}
