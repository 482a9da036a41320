//! One deployment: a keyspace, a group and topics of its own on the servers that all tests share.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use kinora::sample::{SHOP_TOPICS, SampleEvent};
use serde_json::{Value as Json, json};

use crate::process::Process;
use crate::{kafka_server, servers};

/// Reads of each projection: an answer waits for what feeds its own reads.
const QUERY: &str = r#"{ __typename cart(id: "x") { id } order(id: "x") { id } product(id: "x") { id } customer(id: "x") { id } }"#;

pub struct Deployment {
    project: tempfile::TempDir,
    /// Settings of each command, as variables, by its name.
    pub variables: BTreeMap<&'static str, Vec<(&'static str, String)>>,
    /// Reads of each projection.
    pub query: &'static str,
}

impl Deployment {
    /// The shop, with its keyspace applied; `None` where no real servers are asked for.
    pub async fn begin(name: &str) -> Option<Deployment> {
        if kafka_server::left_out("project and serve") {
            return None;
        }
        // A broker of its own: the topics have the names of the shop.
        let broker = Box::leak(Box::new(kafka_server::Server::start(false))).address();
        let node = &servers::cassandra().expect("real servers are asked for").address;
        let keyspace = format!("cluster_{name}");
        let deployment = Deployment::on(&broker, node, &keyspace);
        let applied = deployment.run(&["apply", "--keyspace"]).stdout;
        let applied = String::from_utf8(applied).expect("it is text");
        assert!(applied.contains("has one replica in datacenter1"), "{applied}");
        Some(deployment)
    }

    /// The shop on a broker and a node, in a keyspace; nothing is applied.
    pub fn on(broker: &str, node: &str, keyspace: &str) -> Deployment {
        let project = tempfile::tempdir().expect("a temporary directory");
        for folder in ["schema", "projections"] {
            let (from, to) =
                (Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), project.path().join(folder));
            std::fs::create_dir(&to).expect("a folder can be made");
            for entry in std::fs::read_dir(from).expect("the shop has it") {
                let entry = entry.expect("it can be read");
                std::fs::copy(entry.path(), to.join(entry.file_name())).expect("it can be copied");
            }
        }
        let settings = format!(
            "[serve]\ncursor_secrets = [\"a key for cursors of the tests\"]\n[kafka]\nbrokers = [\"{broker}\"]\n\
             [cassandra]\nnodes = [\"{node}\"]\nkeyspace = \"{keyspace}\"\nreplication = \"datacenter1: 1\"\n"
        );
        std::fs::write(project.path().join("kinora.toml"), settings).expect("it can be written");
        Deployment { project, variables: BTreeMap::new(), query: QUERY }
    }

    /// Gives it a file more.
    pub fn write(&self, path: &str, text: &str) {
        std::fs::write(self.project.path().join(path), text).expect("it can be written");
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kinora"));
        command.args(arguments).arg("--project").arg(self.project.path()).stdin(Stdio::null());
        let variables = arguments.first().and_then(|name| self.variables.get(name));
        command.envs(variables.into_iter().flatten().map(|(name, value)| (*name, value.as_str())));
        command
    }

    /// Runs a command to its end, whatever that is.
    pub fn try_run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("kinora can be run")
    }

    /// Runs a command to its end, which must be a good one.
    pub fn run(&self, arguments: &[&str]) -> Output {
        let output = self.try_run(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}");
        output
    }

    /// Publishes events, topic by topic; notes the highest position of each partition.
    pub fn publish(&self, events: &[SampleEvent], read_after: &mut BTreeMap<String, u64>) {
        for topic in SHOP_TOPICS {
            let line = |event: &SampleEvent| {
                let value: Json = serde_json::from_str(&event.value).expect("an event is JSON");
                format!("{}\n", json!({ "key": event.key, "value": value, "timestamp": event.timestamp_ms }))
            };
            let lines: String = events.iter().filter(|event| event.topic == topic).map(line).collect();
            let file = self.project.path().join("lines");
            std::fs::write(&file, lines).expect("it can be written");
            let file = file.display().to_string();
            let output = self.run(&["publish", topic, &file, "--create", "--format", "json"]);
            let said: Json = serde_json::from_slice(&output.stdout).expect("it answers JSON");
            for position in said["readAfter"].as_str().unwrap_or_default().split(',') {
                if let Some((partition, offset)) = position.rsplit_once('@') {
                    read_after.insert(partition.to_owned(), offset.parse().expect("an offset"));
                }
            }
        }
    }

    pub fn project(&self) -> Process {
        self.start("project")
    }

    pub fn serve(&self) -> Process {
        self.start("serve")
    }

    fn start(&self, what: &str) -> Process {
        Process::start(self.command(&[what, "--listen", "127.0.0.1:0", "--format", "json"])).asks(self.query)
    }
}
