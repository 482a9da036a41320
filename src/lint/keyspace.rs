//! How a keyspace of Cassandra is replicated, and how soon its nodes sync: L30.
//!
//! Comes in: both, as the cluster says them. Goes out: findings. Reads and writes are both of a quorum, so they overlap
//! whatever the number of replicas; what a single replica, or one placed without regard to datacenters, cannot do is here.

use super::Severities;
use crate::diagnostic::{Diagnostic, FileId, Severity, Span};

/// Holds the replication of a keyspace against the rule: its class without the package, and replicas by datacenter. `unsynced`
/// are the nodes that acknowledge writes before they sync them.
pub fn lint_keyspace(
    keyspace: &str,
    (class, replicas): (&str, &[(String, u32)]),
    unsynced: &[String],
    severities: &Severities,
) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    if class == "SimpleStrategy" {
        let message = format!(
            "keyspace {keyspace:?} is replicated by SimpleStrategy, which knows no datacenters: `LOCAL_QUORUM` does not mean \
             what it says once there are two"
        );
        let help = "Alter it: `WITH replication = {'class': 'NetworkTopologyStrategy', 'datacenter1': 3}`, then repair it.";
        found.push(remark(message, help));
    }
    for (datacenter, count) in replicas.iter().filter(|(_, count)| *count < 3) {
        let message = match count {
            1 => format!(
                "keyspace {keyspace:?} has one replica in {datacenter}: what it loses is nowhere else"
            ),
            _ => format!(
                "keyspace {keyspace:?} has {count} replicas in {datacenter}: a quorum of them is all, so none may be away"
            ),
        };
        found.push(remark(message, "Three replicas let one be away; alter the keyspace, then repair it."));
    }
    // A single replica loses the end of one log: rows, and progress with them.
    if !unsynced.is_empty() && replicas.iter().any(|(_, count)| *count > 1) {
        let message = format!(
            "{} acknowledge writes before they sync them (`commitlog_sync: periodic`): where several replicas lose power at \
             once, rows are lost whose progress a third one has, and are not written again",
            unsynced.join(", ")
        );
        let help = "Set `commitlog_sync: group` (or `batch`) in each node's cassandra.yaml; after such a loss without it, fold \
                    anew into another keyspace.";
        found.push(remark(message, help));
    }
    severities.apply(found)
}

fn remark(message: String, help: &str) -> Diagnostic {
    let nowhere = Span { file: FileId(0), start: 0, end: 0 };
    let finding = Diagnostic { span: None, ..Diagnostic::warning("L30", nowhere, message) };
    Diagnostic { severity: Severity::Warning, ..finding.help(help) }
}
