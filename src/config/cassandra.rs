//! `[cassandra]`: where the tables are, when they are in Apache Cassandra.
//!
//! Comes in: typed values. Goes out: the settings of a session. The fields' docs are the manual; connecting is the store's.

use std::path::PathBuf;
use std::time::Duration;

use super::{Bytes, Secret};

/// `[cassandra]`.
#[derive(Clone, Debug)]
pub struct Cassandra {
    /// `cassandra.nodes`: nodes to begin with, `"host:port"`, the port 9042 where it is left out. Default none: then
    /// nothing is stored in Cassandra.
    pub nodes: Vec<String>,
    /// `cassandra.keyspace`: the keyspace of all tables. Default `kinora`. It is not made: who runs the cluster says how often
    /// it is replicated, and `kinora plan` prints the statement.
    pub keyspace: String,
    /// `cassandra.datacenter`: the datacenter that is asked, and that `LOCAL_QUORUM` counts in. Default: that of the node
    /// that answers.
    pub datacenter: Option<String>,
    /// `cassandra.user` and `cassandra.password`. Default none: the cluster asks for none.
    pub user: Option<String>,
    pub password: Option<Secret>,
    pub tls: Tls,
    /// `cassandra.consistency`: `LOCAL_QUORUM`, which is the default, or `QUORUM`: how many replicas have every write, and are
    /// asked for every read.
    pub consistency: Consistency,
    /// `cassandra.replication`: the replication that the keyspace must have, such as `"dc1: 3"`. Default: any.
    pub replication: Option<String>,
    /// `cassandra.connect`: longest time for the first answer of a node. Default `10s`, from `100ms` to `5m`.
    pub connect: Duration,
    /// `cassandra.timeout`: longest time for one statement; then it is tried again. Default `10s`, from `100ms` to `5m`.
    pub timeout: Duration,
    /// `cassandra.retries`: how often one statement is tried again, with growing pauses. Default 8, from 0 to 100. All
    /// together not more than one in ten is tried again over time.
    pub retries: usize,
    /// `cassandra.concurrent`: most statements under way at once, for each batch and each read; fewer while the cluster does
    /// not keep up. Default 128, from 1 to 4,096.
    pub concurrent: usize,
    /// `cassandra.batch`: largest write of one partition; more rows go in several. Default `64KiB`, from `1KiB` to `4MiB`.
    pub batch: Bytes,
}

/// `[cassandra.tls]`: with an authority, connections are encrypted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// `cassandra.tls.ca`: PEM file with the authorities that sign the nodes' certificates. These name the nodes'
    /// addresses.
    pub ca: Option<PathBuf>,
    /// `cassandra.tls.cert` and `cassandra.tls.key`: PEM files with our own certificate and its key, where nodes ask for one.
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
}

/// How many replicas a statement waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consistency {
    /// Most of those in the datacenter.
    #[default]
    LocalQuorum,
    /// Most of all.
    Quorum,
}

impl Consistency {
    /// The word for it.
    pub fn of(word: &str) -> Option<Consistency> {
        match word.to_ascii_uppercase().as_str() {
            "LOCAL_QUORUM" => Some(Consistency::LocalQuorum),
            "QUORUM" => Some(Consistency::Quorum),
            _ => None,
        }
    }
}

impl Default for Cassandra {
    fn default() -> Cassandra {
        Cassandra {
            nodes: Vec::new(),
            keyspace: "kinora".to_owned(),
            datacenter: None,
            user: None,
            password: None,
            tls: Tls::default(),
            consistency: Consistency::default(),
            replication: None,
            connect: Duration::from_secs(10),
            timeout: Duration::from_secs(10),
            retries: 8,
            concurrent: 128,
            batch: Bytes::kib(64),
        }
    }
}
