//! The table of all rules, and the severities that a project gives them.
//!
//! Everything that names a rule takes it from here: findings, settings, the pages in `docs/lint`, reports for tools.
//! How a rule finds what it looks for is not known here.

use std::collections::BTreeMap;

use crate::diagnostic::{Diagnostic, Severity, nearest};

/// One numbered rule.
#[derive(Debug)]
pub struct Rule {
    /// `L01`: what a finding carries and a setting names.
    pub code: &'static str,
    /// A few words for lists.
    pub name: &'static str,
    /// The worst that a finding of it is, unless the project says otherwise.
    pub severity: Severity,
    pub state: State,
    /// Why, in one sentence.
    pub because: &'static str,
    /// Where the rule or its number comes from.
    pub source: &'static str,
}

/// Whether a rule can find something today.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It looks, and a project chooses its severity.
    Checked,
    /// It looks where `check` is given an option, or by another command, which is named here, and a project chooses its
    /// severity.
    With(&'static str),
    /// It looks, and is always an error: without what it asks for nothing can be read or counted right.
    Fixed,
    /// Nothing in the language can break it: why.
    Held(&'static str),
}

use Severity::{Error, Info, Warning};
use State::{Checked, Fixed, Held, With};

const fn rule(
    code: &'static str,
    name: &'static str,
    severity: Severity,
    state: State,
    [because, source]: [&'static str; 2],
) -> Rule {
    Rule { code, name, severity, state, because, source }
}

const DATASTAX_PARTITIONS: &str = "DataStax, estimating partition size: below 100,000 values and 100 MB";
const OURS: &str = "this engine's own arithmetic";

/// Every rule, in the order of the numbers.
#[rustfmt::skip]
pub const RULES: [Rule; 32] = [
    rule("L01", "open partition", Error, Fixed, ["The store would ask every node, and answer when the slowest has searched all it has.", "Apache Cassandra, ALLOW FILTERING and the guardrail allow_filtering_enabled"]),
    rule("L02", "read beside the clustering", Error, Fixed, ["The store neither filters nor sorts inside a partition.", "Apache Cassandra, ALLOW FILTERING and the guardrail allow_filtering_enabled"]),
    rule("L03", "unbounded partition", Error, Checked, ["A partition is never split, and reads of one that grows slow down until they fail.", "DataStax, data modelling: more partition columns against unbounded growth; guardrail partition_size_warn_threshold"]),
    rule("L04", "large partition", Error, Checked, ["A partition is repaired, compacted and cached as a whole by one set of replicas.", DATASTAX_PARTITIONS]),
    rule("L05", "few partitions", Warning, Checked, ["Few partitions use few nodes, and each of them grows with everything.", "DataStax, partition key best practice: many distinct values"]),
    rule("L06", "hot partition", Warning, Checked, ["All writes to a partition go to the same replicas, however many nodes there are.", "DataStax, partition key best practice: spread writes evenly"]),
    rule("L07", "queue", Warning, Checked, ["Rows that leave stay behind as tombstones, which every read from the head steps over.", "Apache Cassandra, tombstone thresholds of cassandra.yaml: 1,000 warn, 100,000 fail"]),
    rule("L08", "moving clustering", Warning, Checked, ["Each change of a clustering column deletes a row and writes another, and reads step over the deleted.", "Apache Cassandra, tombstone thresholds of cassandra.yaml: 1,000 warn, 100,000 fail"]),
    rule("L09", "overwritten collection", Warning, Held("collections are stored frozen, or, where an index looks into them, written anew with their whole row, and what is unset is not written as null"), ["Overwriting a collection that grows cell by cell leaves a tombstone each time.", "Apache Cassandra, guardrail partition_tombstones_warn_threshold"]),
    rule("L10", "list read before written", Error, Held("no list is changed element by element in the store: it is folded here and written whole"), ["Setting an element of a list by its place makes the store read before it writes.", "Apache Cassandra, guardrail read_before_write_list_operations_enabled"]),
    rule("L11", "large collection", Error, Checked, ["A collection is one cell, written and read whole.", "Apache Cassandra, collections are not paged; guardrails items_per_collection and collection_size"]),
    rule("L12", "large value", Error, With("--sample"), ["A value is held in memory whole on every hop, and a key has at most 64 KiB.", "Apache Cassandra, CQL limits; guardrail column_value_size"]),
    rule("L13", "index that does not help", Error, Checked, ["An index over nearly unique values is a slower copy, and each one costs every write.", "DataStax, when not to use an index; guardrail sai_indexes_per_table: 10"]),
    rule("L14", "filters at once", Warning, Checked, ["Cassandra intersects two indexes, and looks at every row that is left for the others.", "Apache Cassandra, storage-attached indexing: cassandra.sai.intersection_clause_limit is 2"]),
    rule("L15", "many partitions at once", Warning, Checked, ["Each partition is a read of its own, and the slowest of all decides.", "Apache Cassandra, guardrails partition_keys_in_select and in_select_cartesian_product"]),
    rule("L16", "counter", Error, Fixed, ["An increment that is repeated counts twice.", "Apache Cassandra, counters: no TTL, no timestamp, not idempotent"]),
    rule("L17", "materialised view", Error, Held("no definition can ask for a view: copies are written with the row they copy"), ["A view can drift from its table, and nothing repairs it.", "Apache Cassandra, guardrail materialized_views_enabled"]),
    rule("L18", "many buckets", Warning, Checked, ["A page that finds too few rows goes on to the next older bucket, one read each.", OURS]),
    rule("L19", "wide write", Warning, Checked, ["All tables of a row are written at once, and the slowest partition decides.", "Apache Cassandra, unlogged_batch_across_partitions_warn_threshold: 10"]),
    rule("L20", "mixed order", Info, Checked, ["A page that begins inside a mixed order needs several ranges instead of one.", "Apache Cassandra, tuples of clustering columns are compared in one direction"]),
    rule("L21", "key without a table", Error, Fixed, ["A gateway asks for a hundred entities at once.", "Apollo Federation, subgraph specification: _entities"]),
    rule("L22", "key that is not exact", Error, Checked, ["A gateway hands keys back, and one that has several spellings or is rounded finds another row or none.", "Apollo Router reads JSON numbers as doubles"]),
    rule("L23", "changed key", Warning, With("--deployed"), ["Cursors and cache tags are made of keys.", "Stargate: keys can never change"]),
    rule("L24", "dangling key", Warning, Checked, ["An entity that one key finds and another does not is two answers to one question.", OURS]),
    rule("L25", "expiry without windows", Warning, Checked, ["Rows that end at once are dropped at once only where they lie in one file.", "Apache Cassandra, time window compaction"]),
    rule("L26", "incomplete copy", Info, Checked, ["What a copy lacks is completed by a second read of the base table.", OURS]),
    rule("L27", "wide value type", Warning, Checked, ["A value type is one cell, written and read whole.", "Apache Cassandra, guardrail fields_per_udt"]),
    rule("L28", "large page", Warning, Checked, ["A page is held in memory whole, here and in the store.", "Apache Cassandra, guardrail page_size; ours is 1 MB a page"]),
    rule("L29", "idle table", Info, Checked, ["Each copy costs every write, read or not.", OURS]),
    rule("L30", "keyspace without overlap", Warning, With("kinora plan"), ["A read that need not meet the replicas of the write may be older than it.", "Apache Cassandra, guardrail minimum_replication_factor"]),
    rule("L31", "collision in the graph", Error, With("--subgraph"), ["Two subgraphs that both define a field compose only where both say it is shareable.", "Apollo Federation, composition rules"]),
    rule("L32", "foreign entity taken for granted", Warning, Checked, ["Where the other subgraph has no such entity, null goes up to the parent of a non-null field, row and all.", "GraphQL specification, handling execution errors; apollographql/router 1308, 2017"]),
];

/// The rule with that number.
pub fn rule_of(code: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.code.eq_ignore_ascii_case(code))
}

impl Rule {
    /// Whether a project may choose its severity.
    pub fn is_settable(&self) -> bool {
        matches!(self.state, Checked | With(_))
    }
}

/// What a project has said of the rules: `[lint]` of `kinora.toml`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Severities(BTreeMap<&'static str, Level>);

/// How bad all findings of a rule are; `None`: they are not shown.
type Level = Option<Severity>;

/// The words of a severity in settings.
const LEVELS: [(&str, Level); 4] =
    [("off", None), ("info", Some(Info)), ("warn", Some(Warning)), ("error", Some(Error))];

impl Severities {
    /// Sets the severity of a rule by its word.
    ///
    /// # Errors
    /// A sentence where the word is none of `off`, `info`, `warn` and `error`, or the rule is always an error.
    pub fn set(&mut self, rule: &'static Rule, word: &str) -> Result<(), String> {
        let Some((_, level)) = LEVELS.iter().find(|(known, _)| *known == word) else {
            let near = nearest(word, LEVELS.iter().map(|(known, _)| *known));
            let advice = near.map(|near| format!("; did you mean \"{near}\"?")).unwrap_or_default();
            return Err(format!(
                "`{word}` is not a severity: \"off\", \"info\", \"warn\" or \"error\"{advice}"
            ));
        };
        match rule.state {
            Checked | With(_) => {}
            Fixed if *level == Some(Error) => {}
            Fixed => {
                return Err(format!("{} ({}) is always \"error\". {}", rule.code, rule.name, rule.because));
            }
            Held(why) => return Err(format!("{} ({}) finds nothing: {why}", rule.code, rule.name)),
        }
        self.0.insert(rule.code, *level);
        Ok(())
    }

    /// The findings with the severities of this project.
    pub(super) fn apply(&self, found: Vec<Diagnostic>) -> Vec<Diagnostic> {
        let told = |finding: Diagnostic| match self.0.get(finding.code) {
            None => Some(finding),
            Some(level) => level.map(|severity| Diagnostic { severity, ..finding }),
        };
        found.into_iter().filter_map(told).collect()
    }
}
