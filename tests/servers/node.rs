//! A node of Cassandra that a test may kill, hold up and start again.
//!
//! Comes in: an address and ports. Goes out: a node that takes statements, on what it has stored where it is started again;
//! it ends with this process, however that ends.
#![allow(dead_code, reason = "each test binary uses some of it")]

use std::path::PathBuf;
use std::process::{ChildStdin, Command};

use super::{directory_of, free_ports, guard, script, up};

/// A node.
pub struct Node {
    directory: PathBuf,
    /// What its script is given, and with which variables.
    arguments: Vec<String>,
    variables: Vec<(&'static str, &'static str)>,
    /// Its end is what the process that ends the node waits for.
    _alive: ChildStdin,
}

impl Node {
    /// Starts a node of its own cluster on free ports of 127.0.0.1, and waits until it takes statements.
    pub fn start(variables: &[(&'static str, &'static str)]) -> Node {
        Node::start_at("127.0.0.1", free_ports(), None, variables)
    }

    /// Starts a node at a loopback address; where a seed is named, in that one's cluster.
    pub fn start_at(
        address: &str,
        [port, storage]: [u16; 2],
        seed: Option<&str>,
        variables: &[(&'static str, &'static str)],
    ) -> Node {
        let mut arguments = vec![port.to_string(), storage.to_string(), address.to_owned()];
        arguments.extend(seed.map(str::to_owned));
        let directory = directory_of("cassandra", &format!("{address}-{port}"));
        let alive = guard("cassandra", &directory);
        let node = Node { directory, arguments, variables: variables.to_vec(), _alive: alive };
        node.up();
        node
    }

    /// `host:port` where it takes statements.
    pub fn address(&self) -> String {
        format!("{}:{}", self.arguments[2], self.arguments[0])
    }

    /// Starts it, again, on what it has stored.
    pub fn up(&self) {
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        up("cassandra", &self.directory, &arguments, &self.variables);
    }

    /// Ends it at once, with what it had in memory, and waits until it is gone.
    pub fn kill(&self) {
        let killed = Command::new(script("cassandra-down.sh")).arg(&self.directory).arg("now").status();
        assert!(killed.expect("bash can be run").success(), "the node was gone already");
    }

    /// Holds it up.
    pub fn hold_up(&self) {
        self.signal("STOP");
    }

    /// Lets it go on.
    pub fn go_on(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let pid = std::fs::read_to_string(self.directory.join("pid")).expect("it was started");
        let sent = Command::new("kill").args([&format!("-{name}"), pid.trim()]).status();
        assert!(sent.expect("kill can be run").success(), "the node was gone already");
    }
}

impl Drop for Node {
    /// One that is held up could not end.
    fn drop(&mut self) {
        if let Ok(pid) = std::fs::read_to_string(self.directory.join("pid")) {
            let _ = Command::new("kill").args(["-CONT", pid.trim()]).output();
        }
    }
}
