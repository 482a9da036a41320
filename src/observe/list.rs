//! The closed list of metrics: names, kinds, labels, and what each says.
//!
//! Nothing is counted under a name that is not here; `docs/observe.md` has the same list, and a test holds the two together.
//! Labels have the values of definitions (projections, topics, tables), numbers of partitions, or words of a closed list:
//! never keys, nor anything that a client or an event says.

use prometheus_client::registry::Unit;

/// A metric.
#[derive(Debug, PartialEq, Eq)]
pub struct Described {
    /// As it is scraped, with unit and `_total`.
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static [&'static str],
    /// One sentence without its full stop.
    pub help: &'static str,
}

/// How a metric is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows, and begins at 0 with the process.
    Counter,
    /// It is as it was when it was asked for.
    Gauge,
    /// Durations, counted by how long they were.
    Histogram,
}

macro_rules! list {
    ($($constant:ident = $name:literal, $kind:ident, [$($label:literal),*], $help:literal;)*) => {
        $(pub(super) const $constant: Described =
            Described { name: $name, kind: Kind::$kind, labels: &[$($label),*], help: $help };)*

        /// All metrics, in the order of the list.
        pub const ALL: &[&Described] = &[$(&$constant),*];
    };
}

list! {
    RECORDS = "kinora_records_total", Counter, ["projection", "topic"],
        "Records that were read from the log and folded";
    RECORD_BYTES = "kinora_record_bytes_total", Counter, ["projection", "topic"],
        "Bytes of keys, values and headers of these records";
    EVENTS = "kinora_events_total", Counter, ["projection"],
        "Events given to rows; one that concerns two rows counts twice";
    ROWS_WRITTEN = "kinora_rows_written_total", Counter, ["projection", "table"],
        "Rows written, deletes included";
    BATCHES = "kinora_batch_duration_seconds", Histogram, ["projection"],
        "Time from the first records of a batch to its commit";
    COMMITS = "kinora_commit_duration_seconds", Histogram, ["projection"],
        "Time in which the store took a batch";
    BATCHES_FAILED = "kinora_batches_failed_total", Counter, ["projection"],
        "Batches that failed because the store or the log did not answer, and were tried again";
    LOG_ERRORS = "kinora_log_errors_total", Counter, ["error"],
        "Errors of the log that a write loop met";
    STORE_ERRORS = "kinora_store_errors_total", Counter, ["error"],
        "Errors of the store that a write loop or a read met";
    STORE_RETRIES = "kinora_store_retries_total", Counter, [],
        "Statements sent to Cassandra once more";
    EPOCHS_LOST = "kinora_epochs_lost_total", Counter, ["projection"],
        "Partitions that turned out to be another process's";
    PARTITIONS_MOVED = "kinora_partitions_moved_total", Counter, ["how"],
        "Partitions that the consumer group gave to this process or took from it";
    PARTITIONS = "kinora_partitions", Gauge, ["projection"],
        "Partitions that this process folds";
    POSITION = "kinora_position", Gauge, ["projection", "topic", "partition"],
        "The next offset to be folded";
    LOG_END = "kinora_log_end", Gauge, ["projection", "topic", "partition"],
        "The end of the partition";
    LAG_EVENTS = "kinora_lag_events", Gauge, ["projection", "topic", "partition"],
        "Offsets between position and end";
    LAG_SECONDS = "kinora_lag_seconds", Gauge, ["projection"],
        "Age of the last event folded, where there are newer ones; else 0";
    STATE = "kinora_projection_state", Gauge, ["projection", "state"],
        "1 for the state that the projection is in, 0 for the others";
    PARKED_KEYS = "kinora_parked_keys", Gauge, ["projection"],
        "Keys that wait because an event could not be applied";
    GENERATION = "kinora_generation", Gauge, [],
        "Number of the generation that is folded or answers; 0 while there is none";
    BUDGET = "kinora_budget_bytes", Gauge, [],
        "Bytes that write loops may hold between fetch and commit";
    BUDGET_HELD = "kinora_budget_held_bytes", Gauge, [],
        "Bytes that they hold";
    REQUESTS = "kinora_requests_total", Counter, ["route", "status"],
        "HTTP requests answered";
    OPERATIONS = "kinora_operation_duration_seconds", Histogram, ["kind"],
        "Time to answer a GraphQL operation, waiting for a position included";
    ERRORS = "kinora_errors_total", Counter, ["code"],
        "Errors in answers";
    READS = "kinora_reads_total", Counter, ["table"],
        "Reads of tables, each of up to a thousand keys or of one range";
    ROWS_READ = "kinora_rows_read_total", Counter, ["table"],
        "Rows that these reads found";
    WAITS = "kinora_freshness_waits_total", Counter, ["outcome"],
        "Requests that named positions, by whether these were reached in time";
    CONNECTIONS = "kinora_connections", Gauge, [],
        "Open connections";
    LIMITS_HIT = "kinora_limits_hit_total", Counter, ["limit"],
        "Requests refused at a limit";
    SPANS_LOST = "kinora_spans_lost_total", Counter, ["why"],
        "Spans of traces that did not reach the collector";
    BUILD = "kinora_build", Gauge, ["version"],
        "1, with the version of this program";
    MEMORY = "process_resident_memory_bytes", Gauge, [],
        "Memory that the process has from the system; Linux only";
    OPEN_FILES = "process_open_fds", Gauge, [],
        "Files and connections that the process has open; Linux only";
}

impl Described {
    /// The name without what its kind and its unit add, and the unit: as a registry takes them.
    pub(super) fn parts(&self) -> (&'static str, Option<Unit>) {
        let name = match self.kind {
            Kind::Counter => self.name.strip_suffix("_total").unwrap_or(self.name),
            Kind::Gauge | Kind::Histogram => self.name,
        };
        match (name.strip_suffix("_bytes"), name.strip_suffix("_seconds")) {
            (Some(name), _) => (name, Some(Unit::Bytes)),
            (_, Some(name)) => (name, Some(Unit::Seconds)),
            (None, None) => (name, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_say_their_kind() {
        for (index, one) in ALL.iter().enumerate() {
            assert!(ALL[..index].iter().all(|before| before.name != one.name), "{} is there twice", one.name);
            assert_eq!(one.name.ends_with("_total"), one.kind == Kind::Counter, "{}", one.name);
            assert!(!one.help.ends_with('.'), "{}", one.name);
            let plain = |name: &str| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            assert!(plain(one.name) && one.labels.iter().all(|label| plain(label)), "{}", one.name);
        }
    }
}
