//! Reads of rows: by key, by range of a partition, and of whole tables.
//!
//! Comes in: keys and scans. Goes out: rows. Every read takes the whole row, whatever columns are asked for: above one
//! replica Cassandra repairs the columns that a read names, and would carry half of a write to where a fold reads it.

use scylla::response::PagingState;

use super::bounds;
use super::session::{Binds, Reads, Session, Step, each_row};
use super::table::Physical;
use crate::store::{Columns, OVER_MAX, Scan, StoreError, StoredRow, too_many_over};
use crate::value::encode::RowKey;

/// Most rows of one page of an answer.
const PAGE_MAX: usize = 1_000;

/// One answer for each key, in their order.
pub(super) async fn get(
    session: &Session,
    table: &Physical,
    keys: &[RowKey],
    columns: Columns<'_>,
) -> Result<Vec<Option<StoredRow>>, StoreError> {
    let mut steps: Vec<Step<'_, Option<StoredRow>>> = Vec::with_capacity(keys.len());
    for key in keys {
        let read = table.read_one(key)?;
        steps.push(Box::pin(async move {
            let mut found = None;
            each_row(session.execute(read.text, Reads::Usual, &read.binds).await?, |cells| {
                found = table.row(cells, columns)?;
                Ok(())
            })?;
            Ok(found)
        }));
    }
    session.all(steps).await
}

/// The living rows of a range.
pub(super) async fn scan(
    session: &Session,
    table: &Physical,
    scan: Scan<'_>,
) -> Result<Vec<StoredRow>, StoreError> {
    let plan = &table.layout.table;
    let mut kept = Kept { found: Vec::new(), limit: scan.limit, passed: 0, at_ms: scan.at_ms };
    for slice in bounds::slices(plan, &scan).map_err(|error| table.layout.corrupt(&error))? {
        let (text, binds) = table.read_slice(scan.partition, &slice, scan.reverse)?;
        read(session, table, &text, &binds, &mut kept).await?;
    }
    let mut found = kept.found;
    found.iter_mut().for_each(|row| crate::store::keep_wanted(scan.columns, &mut row.cells));
    Ok(found)
}

/// The living rows of a whole table, behind a key: first what is left of its partition, then the partitions behind it.
pub(super) async fn all(
    session: &Session,
    table: &Physical,
    after: Option<&RowKey>,
    limit: usize,
) -> Result<Vec<StoredRow>, StoreError> {
    let mut kept = Kept { found: Vec::new(), limit, passed: 0, at_ms: None };
    if let Some(after) = after.filter(|after| !after.clustering().is_empty()) {
        let rest = Scan {
            table: table.layout.table.id,
            partition: after.partition(),
            from: crate::store::Bound::Excluded(after.clustering()),
            to: crate::store::Bound::Unbounded,
            reverse: false,
            limit,
            columns: Columns::All,
            at_ms: None,
        };
        kept.found = scan(session, table, rest).await?;
    }
    let (text, binds) = table.read_behind(after)?;
    read(session, table, &text, &binds, &mut kept).await?;
    Ok(kept.found)
}

/// What a read gathers.
struct Kept {
    found: Vec<StoredRow>,
    limit: usize,
    /// Rows whose time was over.
    passed: usize,
    at_ms: Option<i64>,
}

/// Reads pages until there are rows enough.
async fn read(
    session: &Session,
    table: &Physical,
    text: &str,
    binds: &Binds,
    kept: &mut Kept,
) -> Result<(), StoreError> {
    let plan = &table.layout.table;
    let mut state = Some(PagingState::start());
    while let Some(at) = state.take() {
        let wanted = kept.limit.saturating_sub(kept.found.len());
        if wanted == 0 {
            return Ok(());
        }
        let (result, next) = session.page(text, binds, wanted.min(PAGE_MAX), &at).await?;
        each_row(result, |cells| {
            let Some(row) = table.row(cells, Columns::All)?.filter(|row| row.live) else { return Ok(()) };
            if kept.at_ms.is_some_and(|at_ms| plan.is_over(&row.cells, at_ms)) {
                kept.passed += 1;
                return if kept.passed > OVER_MAX { Err(too_many_over(&plan.name)) } else { Ok(()) };
            }
            if kept.found.len() < kept.limit {
                kept.found.push(row);
            }
            Ok(())
        })?;
        state = next;
    }
    Ok(())
}
