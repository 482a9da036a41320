//! A deployment: definitions in a directory, a keyspace, a group and topics of its own, on servers that tests share or on
//! others, and its processes.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use kinora::config::{self, Cassandra};
use kinora::engine::{self, Definitions};
use kinora::plan::TableRole;
use kinora::source::kafka::Kafka;
use kinora::source::kafka::producer::Producer;
use kinora::store::cassandra::CassandraStore;
use kinora::store::{Store, Tables};
use serde_json::Value as Json;

use crate::load::Publisher;
use crate::process::{AT_MOST, Ended, Process};
use crate::{kafka_server, rows, servers};

/// Who may do everything on a node that asks for passwords.
pub const USER: &str = "cassandra";

/// Partitions of each topic.
const PARTITIONS: u32 = 4;

/// Reads of each projection of the shop: an answer waits for what feeds its own reads.
const SHOP_QUERY: &str = r#"{ __typename cart(id: "x") { id } order(id: "x") { id } product(id: "x") { id } customer(id: "x") { id } }"#;

/// Definitions, and what else a deployment of them needs.
pub struct Model {
    /// By their paths.
    pub files: Vec<(String, String)>,
    /// Made before anything starts.
    pub topics: Vec<String>,
    /// Reads of each projection.
    pub query: &'static str,
}

/// Servers that tests share: both ask for passwords, Kafka on a listener of its own only.
pub struct Shared {
    /// `None` where the environment names a broker.
    pub kafka: Option<kafka_server::Server>,
    cassandra: servers::Server,
    broker: String,
}

/// A deployment; processes of it are killed with them.
pub struct Deployment {
    project: tempfile::TempDir,
    name: String,
    query: &'static str,
    pub publisher: Publisher,
}

/// The servers that tests share; `None` where no real ones are asked for.
pub async fn shared(what: &str) -> Option<&'static Shared> {
    static SHARED: OnceLock<Shared> = OnceLock::new();
    if kafka_server::left_out(what) {
        return None;
    }
    let start = || {
        let cassandra = std::thread::spawn(|| match std::env::var("KINORA_TEST_CASSANDRA") {
            Ok(address) => servers::Server::running(address),
            Err(_) => servers::start_cassandra(&[("CASSANDRA_AUTH", "1")]),
        });
        let named = std::env::var("KINORA_TEST_KAFKA").ok();
        let kafka = named.is_none().then(|| kafka_server::Server::start(true));
        let broker = named.or_else(|| Some(kafka.as_ref()?.address())).expect("one of both");
        Shared { kafka, cassandra: cassandra.join().expect("Cassandra starts"), broker }
    };
    Some(tokio::task::spawn_blocking(move || SHARED.get_or_init(start)).await.expect("servers start"))
}

/// The shop with topics of its own names.
pub fn shop(name: &str) -> Model {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["schema", "projections"] {
        for entry in std::fs::read_dir(root.join(folder)).expect("the shop has it") {
            let path = entry.expect("it can be read").path();
            let file = path.file_name().expect("it has a name").to_string_lossy().into_owned();
            if !file.ends_with(".cases.yaml") {
                let text = std::fs::read_to_string(&path).expect("it can be read");
                files.push((
                    format!("{folder}/{file}"),
                    text.replace("topic: shop.", &format!("topic: {name}.")),
                ));
            }
        }
    }
    let topics = ["carts", "orders", "products", "customers"].map(|topic| format!("{name}.{topic}")).into();
    Model { files, topics, query: SHOP_QUERY }
}

impl Deployment {
    /// The shop on the servers that tests share; `None` where no real servers are asked for.
    pub async fn shop(name: &str) -> Option<Deployment> {
        let shared = shared(name).await?;
        Some(Deployment::shop_on(name, (&shared.broker, &shared.cassandra.address)).await)
    }

    /// The shop on a broker and a node.
    pub async fn shop_on(name: &str, at: (&str, &str)) -> Deployment {
        let name = unique(name);
        let model = shop(&name);
        Deployment::begin(name, model, (at, 1)).await
    }

    /// The shop on a broker and three nodes, with as many replicas; the nodes as `a", "b", "c`.
    pub async fn shop_on_three(name: &str, at: (&str, &str)) -> Deployment {
        let name = unique(name);
        let model = shop(&name);
        Deployment::begin(name, model, (at, 3)).await
    }

    /// A model of its own on the servers that tests share, made with the name that its topics begin with.
    pub async fn of(name: &str, model: impl FnOnce(&str) -> Model) -> Option<Deployment> {
        let shared = shared(name).await?;
        let name = unique(name);
        let model = model(&name);
        Some(Deployment::begin(name, model, ((&shared.broker, &shared.cassandra.address), 1)).await)
    }

    /// Makes topics, keyspace and tables, with so many replicas.
    pub async fn begin(
        name: String,
        model: Model,
        ((broker, node), replicas): ((&str, &str), usize),
    ) -> Deployment {
        let project = tempfile::tempdir().expect("a temporary directory");
        let settings = format!(
            "[serve]\ncursor_secrets = [\"a key for cursors of the tests\"]\n[parking]\nmax_keys = 1000000\nmax_share = 1\n\
             [kafka]\nbrokers = [\"{broker}\"]\ngroup = \"{name}\"\ninternal_partitions = 3\n\
             [cassandra]\nnodes = [\"{node}\"]\nkeyspace = \"{name}\"\nreplication = \"datacenter1: {replicas}\"\n\
             user = \"{USER}\"\npassword = \"{USER}\"\nconnect = \"60s\"\n"
        );
        for (path, text) in model.files.iter().chain([&("kinora.toml".to_owned(), settings)]) {
            write(project.path(), path, text);
        }
        let kafka = Kafka::open(&config::load(project.path(), &[]).settings.kafka);
        let producer =
            Producer::open(&kafka.expect("the settings are right")).expect("the settings are right");
        for topic in &model.topics {
            producer.create_topic(topic, PARTITIONS).await.expect("the topic is made");
        }
        let deployment = Deployment { project, name, query: model.query, publisher: Publisher::new(broker) };
        deployment.apply().await;
        deployment
    }

    /// Makes the keyspace and what is in it. A node that asks for passwords lets nobody in for a moment after its start.
    async fn apply(&self) {
        let begun = Instant::now();
        loop {
            let Ended { code, said, .. } = self.run(&["apply", "--keyspace"], &[]).await;
            if code == Some(0) {
                return;
            }
            assert!(said.contains("refuses us") && begun.elapsed() < AT_MOST, "{said}");
        }
    }

    pub fn path(&self) -> &Path {
        self.project.path()
    }

    /// What its topics, its group and its keyspace are named.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Writes a file of it anew.
    pub fn write(&self, path: &str, text: &str) {
        write(self.path(), path, text);
    }

    pub fn cassandra(&self) -> Cassandra {
        config::load(self.path(), &[]).settings.cassandra
    }

    pub fn definitions(&self) -> Arc<Definitions> {
        let loaded = engine::load(self.path(), &Default::default()).expect("the files can be read");
        loaded.definitions.unwrap_or_else(|| panic!("they are refused: {:#?}", loaded.findings))
    }

    pub fn command(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kinora"));
        command.args(arguments).arg("--project").arg(self.path()).stdin(Stdio::null());
        command.env("KINORA_LOG", "info,scylla=off").envs(environment.iter().copied());
        command
    }

    /// Runs a command to its end.
    pub async fn run(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Ended {
        Ended::of(self.command(arguments, environment)).await
    }

    /// Begins to fold.
    pub fn project(&self) -> Process {
        self.project_with(&[])
    }

    /// Begins to fold with settings of this process.
    pub fn project_with(&self, environment: &[(&str, &str)]) -> Process {
        Process::start(self.command(&["project", "--listen", "127.0.0.1:0", "--format", "json"], environment))
    }

    /// Begins to answer.
    pub fn serve(&self) -> Process {
        let process =
            Process::start(self.command(&["serve", "--listen", "127.0.0.1:0", "--format", "json"], &[]));
        process.asks(self.query)
    }

    /// The tables as they lie in Cassandra.
    pub async fn tables(&self) -> Arc<dyn Tables> {
        let definitions = self.definitions();
        let store = CassandraStore::connect(&self.cassandra(), Arc::clone(&definitions.model)).await;
        let store = store.expect("it answers");
        let manifest = store.manifest().await.expect("it can be read").expect("it was applied");
        store.open(manifest.active, &definitions.plan).await.expect("it opens")
    }

    /// Every row of a table.
    pub async fn rows(&self, tables: &dyn Tables, name: &str) -> Vec<Json> {
        let definitions = self.definitions();
        let mut all = definitions.plan.tables.iter();
        let table = all.find(|table| table.name == name && !matches!(table.role, TableRole::Buckets { .. }));
        let table = table.unwrap_or_else(|| panic!("there is no table {name}"));
        rows::stored(&definitions.model, table, (tables, 1_000)).await
    }
}

/// A name that no earlier run had on servers that go on.
fn unique(name: &str) -> String {
    format!("t{:x}_{name}", fastrand::u32(..))
}

fn write(directory: &Path, path: &str, text: &str) {
    let path = directory.join(path);
    std::fs::create_dir_all(path.parent().expect("it lies in one")).expect("a folder can be made");
    std::fs::write(path, text).expect("it can be written");
}
