//! Slices of a scan, beside the plain comparison of encoded bytes that they stand for.

use std::sync::Arc;

use super::*;
use crate::plan::key::{clustering_prefix, clustering_text_prefix};
use crate::plan::{KeyColumn, TableId, TableRole};
use crate::schema::{ColumnId, KeyFunction, KeyPart, TypeId};
use crate::store::Columns;
use crate::store::layout::range_of;

fn table(columns: &[(Scalar, Order)]) -> TablePlan {
    let clustering = (0..).zip(columns).map(|(index, (scalar, order))| KeyColumn {
        part: KeyPart { column: ColumnId(index), via: KeyFunction::Itself, name: format!("c{index}") },
        ty: ColumnType::Scalar(*scalar),
        source: ColumnType::Scalar(*scalar),
        order: *order,
    });
    TablePlan {
        id: TableId(0),
        name: "t".to_owned(),
        entity: TypeId(0),
        role: TableRole::Base,
        heads: None,
        partition: Vec::new(),
        clustering: clustering.collect(),
        appended: 0,
        columns: Vec::new(),
        complete: true,
        filter: None,
        expires: Vec::new(),
        buckets: None,
        rows: None,
        rate: None,
        options: Vec::new(),
    }
}

fn value(scalar: Scalar, random: &mut fastrand::Rng) -> Value {
    match scalar {
        Scalar::Int => Value::Int(random.i64(0..4)),
        _ => {
            let letters = ['\0', 'a', 'b', '\u{D7FF}', '\u{E000}', '\u{10FFFF}'];
            Value::text(
                (0..random.usize(0..3))
                    .map(|_| *random.choice(letters.iter()).expect("some"))
                    .collect::<String>(),
            )
        }
    }
}

fn holds(slice: &Slice, row: &[Value]) -> bool {
    let next = &row[slice.equal.len()..];
    let above = |edge: &Edge| next[0] > edge.value || (edge.included && next[0] == edge.value);
    let below = |edge: &Edge| next[0] < edge.value || (edge.included && next[0] == edge.value);
    row.starts_with(&slice.equal)
        && slice.from.as_ref().is_none_or(above)
        && slice.to.as_ref().is_none_or(below)
}

#[test]
fn slices_one_after_the_other_are_the_scan() {
    for seed in 0..20_000 {
        let mut random = fastrand::Rng::with_seed(seed);
        let columns: Vec<(Scalar, Order)> = (0..random.usize(1..4))
            .map(|_| {
                let scalar = if random.bool() { Scalar::Int } else { Scalar::String };
                (scalar, if random.bool() { Order::Asc } else { Order::Desc })
            })
            .collect();
        let table = table(&columns);
        let row = |random: &mut fastrand::Rng| -> Vec<Value> {
            columns.iter().map(|(scalar, _)| value(*scalar, random)).collect()
        };
        let mut rows: Vec<Vec<Value>> = (0..12).map(|_| row(&mut random)).collect();
        let bytes = |values: &[Value]| clustering_prefix(&table, values).expect("no part is null");
        rows.sort_by_key(|row| bytes(row));
        rows.dedup();
        let mut bound = || {
            let values =
                if random.bool() { rows[random.usize(..rows.len())].clone() } else { row(&mut random) };
            let depth = random.usize(..=columns.len());
            match columns.get(depth) {
                Some((Scalar::String, _)) if random.bool() => {
                    let Value::Text(text) = &values[depth] else { unreachable!("the column has texts") };
                    let Some(first) = text.chars().next() else { return bytes(&values[..depth]) };
                    clustering_text_prefix(&table, &values[..depth], &first.to_string()).expect("a text")
                }
                _ => bytes(&values[..depth]),
            }
        };
        let (low, high) = (bound(), bound());
        let mut side =
            |bytes| [Bound::Unbounded, Bound::Included(bytes), Bound::Excluded(bytes)][random.usize(..3)];
        let (from, to) = (side(&low), side(&high));
        let scan = Scan {
            table: TableId(0),
            partition: &[],
            from,
            to,
            reverse: seed % 2 == 1,
            limit: 1,
            columns: Columns::All,
            at_ms: None,
        };
        let in_range = |row: &&Vec<Value>| {
            // An empty partition has no bytes that a range could end at: this one has one.
            let (partition, key) = ([1], [&[1][..], &bytes(row)].concat());
            let range = range_of(&Scan { partition: &partition, ..scan.clone() });
            range.is_some_and(|range| key >= range.first && range.end.is_none_or(|end| key < end))
        };
        let mut expected: Vec<&Vec<Value>> = rows.iter().filter(in_range).collect();
        if scan.reverse {
            expected.reverse();
        }
        let slices = slices(&table, &scan).expect("bounds of this table");
        let mut found = Vec::new();
        for slice in &slices {
            let of_slice = rows.iter().filter(|row| holds(slice, row));
            let mut of_slice: Vec<&Vec<Value>> = of_slice.collect();
            if scan.reverse {
                of_slice.reverse();
            }
            found.extend(of_slice);
        }
        assert_eq!(found, expected, "seed {seed}: {scan:?} of {columns:?} in {slices:?}");
    }
}

#[test]
fn bytes_of_another_table_are_refused() {
    let table = Arc::new(table(&[(Scalar::Int, Order::Asc)]));
    for bytes in [&[1, 2, 3][..], &[0; 9]] {
        let scan = Scan {
            table: TableId(0),
            partition: &[],
            from: Bound::Included(bytes),
            to: Bound::Unbounded,
            reverse: false,
            limit: 1,
            columns: Columns::All,
            at_ms: None,
        };
        assert!(slices(&table, &scan).is_err(), "{bytes:?}");
    }
}
