//! What may be sent to a cluster: every statement, held against what ScyllaDB documents as well.

use std::path::Path;

use super::bounds::{Edge, Slice};
use super::names;
use super::table::Physical;
use crate::engine;
use crate::plan::cql::{Cql, create_statements};
use crate::plan::key::{clustering_prefix, partition_bytes};
use crate::plan::{Plan, TableRole};
use crate::schema::{ColumnType, ReadModel, Scalar};
use crate::store::Mutation;
use crate::store::layout::layouts;
use crate::value::encode::RowKey;
use crate::value::{Uuid, Value};

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

fn is_foreign(statement: &str) -> Option<&'static str> {
    let upper = statement.to_ascii_uppercase();
    FOREIGN.into_iter().find(|word| upper.contains(word))
}

#[test]
fn no_statement_to_our_own_tables_is_foreign_to_scylladb() {
    for statement in names::ALL {
        assert_eq!(is_foreign(statement), None, "{statement}");
    }
}

/// Some value of a key's type.
fn some(ty: &ColumnType) -> Value {
    let ColumnType::Scalar(scalar) = ty else { return Value::text("RED") };
    match scalar {
        Scalar::DateTime => Value::Timestamp(0),
        Scalar::LocalDate => Value::Date(0),
        Scalar::LocalTime => Value::Time(0),
        Scalar::Uuid => Value::Uuid(Uuid::from_u128(0)),
        Scalar::Boolean => Value::Bool(true),
        Scalar::String | Scalar::Id | Scalar::Ascii => Value::text("x"),
        _ => Value::Int(0),
    }
}

/// Every statement that the tables of a plan are read and written with.
fn statements(model: &ReadModel, plan: &Plan) -> Vec<String> {
    let cql = Cql::of_generation(model, plan, 7);
    let mut found = Vec::new();
    for layout in layouts(plan) {
        let table = std::sync::Arc::clone(&layout.table);
        let physical = Physical::new("shop", &cql, model, layout);
        let values = |columns: &[crate::plan::KeyColumn]| -> Vec<Value> {
            columns.iter().map(|column| some(&column.ty)).collect()
        };
        let (partition, clustering) = (values(&table.partition), values(&table.clustering));
        let bytes = partition_bytes(&table, &partition).expect("no part is null");
        let key =
            RowKey::new(bytes.clone(), &clustering_prefix(&table, &clustering).expect("no part is null"));
        let bury = Mutation::Bury { table: table.id, key: key.clone(), offset: 1, base: 1 };
        found.extend(physical.writes(&bury).expect("fits").into_iter().map(|write| write.text.to_owned()));
        found.push(physical.read_one(&key).expect("fits").text.to_owned());
        for depth in 0..=clustering.len() {
            for (reverse, bounded) in [(false, false), (true, true)] {
                let edge = || Edge { value: clustering[depth].clone(), included: reverse };
                let bounded = bounded && depth < clustering.len();
                let slice = Slice {
                    equal: clustering[..depth].to_vec(),
                    from: bounded.then(edge),
                    to: bounded.then(edge),
                };
                found.push(physical.read_slice(&bytes, &slice, reverse).expect("fits").0);
            }
        }
        found.extend([None, Some(&key)].map(|after| physical.read_behind(after).expect("fits").0));
    }
    found
}

#[test]
fn no_statement_to_the_tables_of_a_plan_is_foreign_to_scylladb_and_none_compares() {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let loaded = engine::load(project, &Default::default()).expect("the shop can be read");
    let shop = loaded.definitions.expect("the shop passes every check");
    let all = statements(&shop.model, &shop.plan);
    assert!(all.len() > 5 * shop.plan.tables.len(), "{}", all.len());
    for statement in &all {
        assert_eq!(is_foreign(statement), None, "{statement}");
        assert!(!statement.contains(" IF "), "{statement}");
        let is_write = ["INSERT", "DELETE"].iter().any(|word| statement.starts_with(word));
        assert_eq!(is_write, statement.contains("USING TIMESTAMP ?"), "{statement}");
    }
    assert!(shop.plan.tables.iter().any(|table| table.role != TableRole::Base));
    for statement in create_statements(&shop.model, &shop.plan) {
        assert_eq!(is_foreign(&statement), None, "{statement}");
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
