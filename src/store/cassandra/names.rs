//! The tables that the engine keeps beside those of a plan: what they are, and every statement that is sent to them.
//!
//! Those of comparing writes (`kinora_manifest`, `kinora_lease`, `kinora_bases`, `kinora_owned`, `kinora_paused`,
//! `kinora_requests`) are written by nothing else; the others (`kinora_progress`, `kinora_partitions`, `kinora_queue`,
//! `kinora_workers`) never by such. Progress has the next offset as its
//! stamp, a queued event its offset, so that neither goes back.

use crate::plan::cql::quoted;

/// Name, columns with their types, and the end of the statement that makes a table.
pub(super) struct Kept {
    pub name: &'static str,
    pub columns: &'static [(&'static str, &'static str)],
    pub key: &'static str,
}

pub(super) const KEPT: [Kept; 10] = [
    Kept { name: "kinora_manifest", columns: &[("name", "text"), ("manifest", "text")], key: "name" },
    Kept { name: "kinora_lease", columns: &[("name", "text"), ("holder", "text")], key: "name" },
    Kept {
        name: "kinora_progress",
        columns: &[
            ("generation", "int"),
            ("projection", "text"),
            ("topic", "text"),
            ("partition", "int"),
            ("topic_id", "uuid"),
            ("next_offset", "bigint"),
            ("end_offset", "bigint"),
            ("time_ms", "bigint"),
            ("relayed", "text"),
        ],
        key: "generation, projection, topic, partition",
    },
    Kept {
        name: "kinora_bases",
        columns: &[
            ("generation", "int"),
            ("projection", "text"),
            ("topic", "text"),
            ("partition", "int"),
            ("base", "bigint"),
        ],
        key: "generation, projection, topic, partition",
    },
    Kept {
        name: "kinora_partitions",
        columns: &[("generation", "int"), ("projection", "text"), ("topic", "text"), ("partition", "int")],
        key: "generation, projection, topic, partition",
    },
    Kept {
        name: "kinora_owned",
        columns: &[
            ("generation", "int"),
            ("projection", "text"),
            ("topic", "text"),
            ("partition", "int"),
            ("key", "blob"),
            ("epoch", "bigint STATIC"),
            ("seen_ms", "bigint STATIC"),
            ("retried", "bigint STATIC"),
            ("skipped", "bigint STATIC"),
            ("dropped", "bigint STATIC"),
            ("since_offset", "bigint"),
            ("since_order", "bigint"),
            ("since_time_ms", "bigint"),
            ("entity", "text"),
            ("shown", "text"),
            ("stage", "text"),
            ("reason", "text"),
            ("type_name", "text"),
            ("begun", "text"),
        ],
        key: "(generation, projection, topic, partition), key",
    },
    Kept {
        name: "kinora_queue",
        columns: &[
            ("generation", "int"),
            ("projection", "text"),
            ("key", "blob"),
            ("place", "bigint"),
            ("topic", "text"),
            ("partition", "int"),
            ("event_offset", "bigint"),
            ("time_ms", "bigint"),
        ],
        key: "(generation, projection, key), place, topic, partition, event_offset",
    },
    Kept {
        name: "kinora_paused",
        columns: &[
            ("generation", "int"),
            ("projection", "text"),
            ("paused_by", "text"),
            ("since_ms", "bigint"),
        ],
        key: "generation, projection",
    },
    Kept {
        name: "kinora_requests",
        columns: &[
            ("generation", "int"),
            ("projection", "text"),
            ("topic", "text"),
            ("partition", "int"),
            ("id", "uuid"),
            ("key", "blob"),
            ("step", "text"),
            ("first_event", "text"),
            ("asked_by", "text"),
            ("asked_ms", "bigint"),
            ("epoch", "bigint"),
            ("answer", "text"),
        ],
        key: "generation, projection, topic, partition",
    },
    Kept {
        name: "kinora_workers",
        columns: &[
            ("generation", "int"),
            ("projection", "text"),
            ("worker", "uuid"),
            ("process", "text"),
            ("partitions", "text"),
            ("state", "text"),
        ],
        key: "generation, projection, worker",
    },
];

/// The statement that makes a table.
pub(super) fn create(keyspace: &str, kept: &Kept) -> String {
    let columns: String = kept.columns.iter().map(|(name, ty)| format!("  {name} {ty},\n")).collect();
    format!("CREATE TABLE {keyspace}.{} (\n{columns}  PRIMARY KEY ({})\n);", kept.name, kept.key)
}

/// Each statement, with `{}` for the keyspace.
macro_rules! statements {
    ($($name:ident = $text:literal;)*) => {
        $(pub(super) const $name: &str = $text;)*
        /// All of them, for the test that looks at what may be sent.
        #[cfg(test)]
        pub(super) const ALL: &[&str] = &[$($text),*];
    };
}

statements! {
    MANIFEST = "SELECT manifest FROM {}.kinora_manifest WHERE name = ?";
    NEW_MANIFEST = "INSERT INTO {}.kinora_manifest (name, manifest) VALUES (?, ?) IF NOT EXISTS";
    SET_MANIFEST = "UPDATE {}.kinora_manifest SET manifest = ? WHERE name = ? IF manifest = ?";
    LEASE = "INSERT INTO {}.kinora_lease (name, holder) VALUES (?, ?) IF NOT EXISTS USING TTL 120";
    KEEP_LEASE = "UPDATE {}.kinora_lease USING TTL 120 SET holder = ? WHERE name = ? IF holder = ?";
    END_LEASE = "DELETE FROM {}.kinora_lease WHERE name = ? IF holder = ?";
    PROGRESS = "SELECT projection, topic, partition, topic_id, next_offset, end_offset, time_ms, relayed FROM {}.kinora_progress \
                WHERE generation = ?";
    SET_PROGRESS = "INSERT INTO {}.kinora_progress (generation, projection, topic, partition, topic_id, next_offset, \
                    end_offset, time_ms, relayed) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?";
    DROP_PROGRESS = "DELETE FROM {}.kinora_progress WHERE generation = ?";
    BASES = "SELECT projection, topic, partition, base FROM {}.kinora_bases WHERE generation = ?";
    NEW_BASE = "INSERT INTO {}.kinora_bases (generation, projection, topic, partition, base) VALUES (?, ?, ?, ?, ?) \
                IF NOT EXISTS";
    PARTITIONS = "SELECT projection, topic, partition FROM {}.kinora_partitions WHERE generation = ?";
    NEW_PARTITION = "INSERT INTO {}.kinora_partitions (generation, projection, topic, partition) VALUES (?, ?, ?, ?)";
    DROP_PARTITIONS = "DELETE FROM {}.kinora_partitions WHERE generation = ?";
    OWNED = "SELECT epoch, retried, skipped, dropped, key, since_offset, since_order, since_time_ms, entity, shown, stage, \
             reason, type_name, begun FROM {}.kinora_owned WHERE generation = ? AND projection = ? AND topic = ? AND partition = ?";
    EPOCH = "SELECT DISTINCT epoch, seen_ms FROM {}.kinora_owned WHERE generation = ? AND projection = ? AND topic = ? AND partition = ?";
    SET_EPOCH = "UPDATE {}.kinora_owned SET epoch = ?, seen_ms = ? WHERE generation = ? AND projection = ? AND topic = ? AND partition = ? \
                 IF epoch = ?";
    SET_SEEN = "UPDATE {}.kinora_owned SET seen_ms = ? WHERE generation = ? AND projection = ? AND topic = ? AND partition = ? \
                IF epoch = ?";
    PARK = "UPDATE {}.kinora_owned SET since_offset = ?, since_order = ?, since_time_ms = ?, entity = ?, shown = ?, stage = ?, \
            reason = ?, type_name = ? WHERE generation = ? AND projection = ? AND topic = ? AND partition = ? AND key = ? \
            IF epoch = ?";
    BEGIN = "UPDATE {}.kinora_owned SET begun = ? WHERE generation = ? AND projection = ? AND topic = ? AND partition = ? \
             AND key = ? IF epoch = ? AND begun = ?";
    BEGUN = "SELECT begun FROM {}.kinora_owned WHERE generation = ? AND projection = ? AND topic = ? AND partition = ? AND key = ?";
    UNPARK = "UPDATE {}.kinora_owned SET since_offset = null, since_order = null, since_time_ms = null, entity = null, \
              shown = null, stage = null, reason = null, type_name = null, begun = null \
              WHERE generation = ? AND projection = ? AND topic = ? AND partition = ? AND key = ? IF epoch = ?";
    SET_COUNTS = "UPDATE {}.kinora_owned SET retried = ?, skipped = ?, dropped = ? WHERE generation = ? AND projection = ? \
                  AND topic = ? AND partition = ? IF epoch = ?";
    ENQUEUE = "INSERT INTO {}.kinora_queue (generation, projection, key, place, topic, partition, event_offset, time_ms) \
               VALUES (?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?";
    DEQUEUE = "DELETE FROM {}.kinora_queue USING TIMESTAMP ? WHERE generation = ? AND projection = ? AND key = ? \
               AND place = ? AND topic = ? AND partition = ? AND event_offset = ?";
    WAITS = "SELECT time_ms FROM {}.kinora_queue WHERE generation = ? AND projection = ? AND key = ? AND place = ? \
             AND topic = ? AND partition = ? AND event_offset = ?";
    QUEUE = "SELECT place, topic, partition, event_offset, time_ms FROM {}.kinora_queue WHERE generation = ? AND projection = ? \
             AND key = ? AND place >= ?";
    DROP_QUEUE = "DELETE FROM {}.kinora_queue WHERE generation = ? AND projection = ? AND key = ?";
    PAUSES = "SELECT projection, paused_by, since_ms FROM {}.kinora_paused WHERE generation = ?";
    PAUSE = "INSERT INTO {}.kinora_paused (generation, projection, paused_by, since_ms) VALUES (?, ?, ?, ?) IF NOT EXISTS";
    RESUME = "DELETE FROM {}.kinora_paused WHERE generation = ? AND projection = ? IF EXISTS";
    REQUESTS = "SELECT projection, topic, partition, id, key, step, first_event, asked_by, asked_ms, epoch, answer \
                FROM {}.kinora_requests WHERE generation = ?";
    REQUEST = "SELECT projection, topic, partition, id, key, step, first_event, asked_by, asked_ms, epoch, answer \
               FROM {}.kinora_requests WHERE generation = ? AND projection = ? AND topic = ? AND partition = ?";
    ASK = "UPDATE {}.kinora_requests USING TTL ? SET id = ?, key = ?, step = ?, first_event = ?, asked_by = ?, asked_ms = ?, \
           epoch = ?, answer = ? WHERE generation = ? AND projection = ? AND topic = ? AND partition = ? IF id = ?";
    TAKE = "UPDATE {}.kinora_requests SET epoch = ? WHERE generation = ? AND projection = ? AND topic = ? AND partition = ? \
            IF id = ? AND epoch = ?";
    ANSWER = "UPDATE {}.kinora_requests USING TTL ? SET answer = ? WHERE generation = ? AND projection = ? AND topic = ? \
              AND partition = ? IF id = ? AND epoch = ?";
    WITHDRAW = "DELETE FROM {}.kinora_requests WHERE generation = ? AND projection = ? AND topic = ? AND partition = ? \
                IF id = ? AND epoch = ?";
    WORKERS = "SELECT projection, worker, process, partitions, state FROM {}.kinora_workers WHERE generation = ?";
    ANNOUNCE = "INSERT INTO {}.kinora_workers (generation, projection, worker, process, partitions, state) \
                VALUES (?, ?, ?, ?, ?, ?) USING TTL ?";
    LEAVE = "DELETE FROM {}.kinora_workers WHERE generation = ? AND projection = ? AND worker = ?";
    TABLES = "SELECT table_name FROM system_schema.tables WHERE keyspace_name = ?";
    GRACE = "SELECT gc_grace_seconds FROM system_schema.tables WHERE keyspace_name = ?";
    COLUMNS = "SELECT table_name, column_name, type, kind, position, clustering_order FROM system_schema.columns \
               WHERE keyspace_name = ?";
    TYPES = "SELECT type_name, field_names, field_types FROM system_schema.types WHERE keyspace_name = ?";
    INDEXES = "SELECT index_name FROM system_schema.indexes WHERE keyspace_name = ?";
    KEYSPACE = "SELECT replication FROM system_schema.keyspaces WHERE keyspace_name = ?";
}

/// A statement in its keyspace.
pub(super) fn within(statement: &str, keyspace: &str) -> String {
    statement.replacen("{}", &quoted(keyspace), 1)
}
