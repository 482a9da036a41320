//! What was measured in a real log, held against the rules and against what the author says: L04, L05, L06, L12.
//!
//! Comes in: a plan and a [`Sample`], which `engine` makes by folding events. Goes out: findings. A sample of a part of
//! the log measures too little, never too much.

use std::collections::BTreeMap;

use serde::Serialize;

use super::partition::{PARTITIONS_MIN, RATE_MAX};
use super::size::{PARTITION_MAX, PARTITION_WARN, shown};
use super::{Severities, declared};
use crate::diagnostic::Diagnostic;
use crate::plan::{Plan, TableId, TablePlan};
use crate::schema::{ReadModel, TableDecl};

/// Rows from which on a sample tells of a whole table.
const ROWS_TELLING: u64 = 100_000;
/// Bytes of a cell above which a warning is given (L12).
const CELL_WARN: u64 = 1_000_000;
/// Most bytes of a key.
const KEY_MAX: u64 = 65_535;

/// What folding events of a log has shown.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Sample {
    /// Events that were read.
    pub events: u64,
    /// Events that the log has for these projections.
    pub of: u64,
    /// Events that could not be applied, and were left out.
    pub rejected: u64,
    /// Events of each type, by topic.
    pub types: BTreeMap<String, BTreeMap<String, u64>>,
    pub tables: Vec<TableSample>,
}

/// What one table came to.
#[derive(Clone, Debug, Serialize)]
pub struct TableSample {
    #[serde(skip)]
    pub table: TableId,
    pub name: String,
    pub partitions: u64,
    pub rows: u64,
    /// Rows of the partition that has the most.
    pub rows_max: u64,
    /// Bytes of the partition that has the most, as the embedded store writes its rows.
    pub bytes_max: u64,
    /// Most writes to one partition within one second of event time.
    pub rate_max: u64,
    /// Bytes of the largest cell.
    pub cell_bytes_max: u64,
    /// Bytes of the largest key.
    pub key_bytes_max: u64,
}

/// All findings in a sample, with the project's severities.
pub fn lint_sample(
    model: &ReadModel,
    plan: &Plan,
    sample: &Sample,
    severities: &Severities,
) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for measured in &sample.tables {
        let table = plan.table(measured.table);
        let Some(decl) = declared(model, table) else { continue };
        found.extend(l04(table, decl, measured));
        found.extend(l05(table, decl, measured));
        found.extend(l06(table, decl, measured));
        found.extend(l12(table, decl, measured));
    }
    severities.apply(found)
}

fn l04(table: &TablePlan, decl: &TableDecl, measured: &TableSample) -> Vec<Diagnostic> {
    let (name, bytes, rows) = (&table.name, measured.bytes_max, measured.rows_max);
    let mut found = Vec::new();
    if bytes > PARTITION_WARN {
        let is_fault = bytes > PARTITION_MAX;
        let bound = if is_fault { PARTITION_MAX } else { PARTITION_WARN };
        let message =
            format!("a partition of `{name}` has {} in the sample, above {}", shown(bytes), shown(bound));
        let finding = match is_fault {
            true => Diagnostic::error("L04", decl.span, message),
            false => Diagnostic::warning("L04", decl.span, message),
        };
        found.push(
            finding
                .label("large")
                .help("Cut it by time, as in \"…, month(at)\", or by hash, as in \"…, hash(id, 8)\"."),
        );
    }
    if let Some(said) = decl.rows.filter(|said| rows > *said) {
        let message =
            format!("a partition of `{name}` has {rows} rows in the sample, but `rows` says {said}");
        let help = format!("Say what is so, `rows: {rows}` at least; or cut the partition.");
        found.push(Diagnostic::warning("L04", decl.span, message).label("more than it says").help(help));
    }
    found
}

fn l05(table: &TablePlan, decl: &TableDecl, measured: &TableSample) -> Option<Diagnostic> {
    let TableSample { partitions, rows, .. } = *measured;
    if partitions >= PARTITIONS_MIN || rows < ROWS_TELLING {
        return None;
    }
    let message = format!("`{}` has {rows} rows in {partitions} partitions in the sample", table.name);
    let finding = Diagnostic::warning("L05", decl.partition_span, message).label("few partitions");
    Some(
        finding.help(
            "Spread each over several, which reads merge, by `hash`; or add a column with many values.",
        ),
    )
}

fn l06(table: &TablePlan, decl: &TableDecl, measured: &TableSample) -> Option<Diagnostic> {
    let (name, rate) = (&table.name, measured.rate_max);
    let message = match decl.rate {
        Some(said) if rate > said => {
            format!("a partition of `{name}` took {rate} writes in one second, but `rate` says {said}")
        }
        _ if rate > RATE_MAX => {
            format!("a partition of `{name}` took {rate} writes in one second, above {RATE_MAX}")
        }
        _ => return None,
    };
    let help = format!("Cut it by hash, which reads merge; or say what is so: `rate: {rate}`.");
    Some(Diagnostic::warning("L06", decl.partition_span, message).label("hot").help(help))
}

fn l12(table: &TablePlan, decl: &TableDecl, measured: &TableSample) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let (name, cell, key) = (&table.name, measured.cell_bytes_max, measured.key_bytes_max);
    if key > KEY_MAX {
        let message = format!("a key of `{name}` has {key} bytes in the sample, above {KEY_MAX}");
        let help = "Key the table by something short, such as an id or a hash.";
        found.push(Diagnostic::error("L12", decl.span, message).label("too long a key").help(help));
    }
    if cell > CELL_WARN {
        let message =
            format!("a value in `{name}` has {} in the sample, above {}", shown(cell), shown(CELL_WARN));
        let help = "Store it elsewhere and keep its address; or leave it out of this table with `fields`.";
        found.push(Diagnostic::warning("L12", decl.span, message).label("a large value").help(help));
    }
    found
}
