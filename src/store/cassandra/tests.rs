//! What may be sent to a cluster: every statement, held against what ScyllaDB documents as well.

use super::names;

/// Words that ScyllaDB does not take, or takes otherwise, and none of our statements needs.
const FOREIGN: [&str; 12] = [
    "SAI",
    "CUSTOM INDEX",
    "MATERIALIZED VIEW",
    "COUNTER",
    "LOGGED",
    "ALLOW FILTERING",
    " LIKE ",
    "GROUP BY",
    " IN (",
    "DROP ",
    "ALTER ",
    "TRUNCATE",
];

#[test]
fn no_statement_to_our_own_tables_is_foreign_to_scylladb() {
    for statement in names::ALL {
        let upper = statement.to_ascii_uppercase();
        for word in FOREIGN {
            assert!(!upper.contains(word), "{word:?} in {statement}");
        }
    }
}

#[test]
fn a_table_is_written_by_comparing_writes_or_by_plain_ones_never_by_both() {
    let is_write =
        |statement: &&&str| ["INSERT", "UPDATE", "DELETE"].iter().any(|word| statement.starts_with(word));
    for kept in &names::KEPT {
        let of_it = names::ALL.iter().filter(is_write).filter(|statement| statement.contains(kept.name));
        let comparing: Vec<bool> = of_it.map(|statement| statement.contains(" IF ")).collect();
        assert!(!comparing.is_empty(), "{} is never written", kept.name);
        assert!(comparing.iter().all(|one| *one == comparing[0]), "{} is written both ways", kept.name);
    }
}
