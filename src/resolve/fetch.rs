//! Does the reads of one level.
//!
//! Comes in: [`Pending`]: keys to get and ranges to scan. Goes out: rows, put into [`Data`]. One read of each table for
//! all keys, all pages at once. Copies that lack a column that is wanted are completed by one more read of the base
//! table for the whole level. A read that fails becomes a fault of the fields that wanted it, and harms no other.

use futures_util::future::{join, join_all};
use tracing::Instrument;

use crate::observe::metrics;
use crate::plan::{TableId, TablePlan, key};
use crate::schema::ColumnId;
use crate::store::{Columns, StoreError, StoredRow};
use crate::value::encode::RowKey;

use super::data::{Data, Loaded, Target};
use super::error::{Code, Fault};
use super::execute::{Executor, Get, Goes, Keys, Pending, ScanJob};
use super::indexed::Gathered;
use super::walk::{Rows, Walk};

/// Rows that are read before it is seen whether there is room for more.
const KEYS_AT_ONCE: usize = 1_000;

/// A site, its row, and the copy from which the row came.
type Incomplete = (usize, usize, TableId);

/// One read of a base table that completes rows of its copies.
struct Completion {
    base: TableId,
    keys: Keys,
    columns: Vec<ColumnId>,
    /// Site, row, copy, and the place of its key.
    items: Vec<(usize, usize, TableId, usize)>,
}

impl Executor<'_> {
    /// Does a level's reads, all of them at once, and completes what came from copies.
    pub async fn fetch(&self, pending: Pending, data: &mut Data) {
        if pending.gets.is_empty() && pending.scans.is_empty() {
            return;
        }
        let Pending { gets, scans } = pending;
        let scan_columns: Vec<Vec<ColumnId>> =
            scans.iter().map(|scan| self.columns(scan.site, source(scan)).0).collect();
        let walks = scans.iter().zip(&scan_columns).map(|(scan, columns)| self.scan(scan, columns));
        let (got, scanned) = join(self.get_all(&gets), join_all(walks)).await;
        let mut incomplete: Vec<Incomplete> = Vec::new();
        for (get, rows) in gets.iter().zip(got) {
            let complete = self.columns(get.site, self.plan.table(get.table)).1;
            let absent_can_be_parked =
                self.marking && self.plan.entity(self.plan.table(get.table).entity).base == get.table;
            let loaded = &mut data.sites[get.site];
            match rows {
                Ok(rows) => {
                    for (at, row) in get.rows.iter().zip(rows) {
                        loaded.rows[*at as usize] = row.filter(|row| row.live);
                    }
                    if absent_can_be_parked {
                        loaded.remember_absent(get);
                    }
                    if !complete {
                        incomplete.extend(get.rows.iter().map(|at| (get.site, *at as usize, get.table)));
                    }
                }
                Err(fault) => loaded.fail(&get.rows, fault),
            }
        }
        for (scan, rows) in scans.iter().zip(scanned) {
            let complete = self.columns(scan.site, source(scan)).1;
            let filled = data.sites[scan.site].scanned(scan, rows);
            if !complete {
                incomplete.extend(filled.map(|row| (scan.site, row, scan.range.table.id)));
            }
        }
        self.complete(incomplete, data).await;
    }

    async fn scan(&self, scan: &ScanJob, columns: &[ColumnId]) -> Result<Rows, Fault> {
        self.room.fault().map_or(Ok(()), Err)?;
        let walk = Walk {
            tables: self.tables,
            plan: self.plan,
            range: &scan.range,
            at_ms: self.at_ms,
            columns,
            reversed: scan.reversed,
            entries: Gathered::default(),
        };
        let span = tracing::info_span!("read", table = %scan.range.table.name, what = "range");
        let rows = async {
            match &scan.goes {
                Goes::Row(_) => walk.first(1).await.map(|found| Rows { found, ..Rows::default() }),
                Goes::Page { wanted, .. } if scan.range.near.is_some() => {
                    walk.nearest(wanted.count).await.map(|found| Rows { found, ..Rows::default() })
                }
                Goes::Page { wanted, wants, max, .. } => walk.page(wanted, *wants, *max).await,
            }
        };
        let rows = rows.instrument(span).await;
        let rows =
            rows.inspect_err(|error| metrics().store_error(error.name())).map_err(|error| match error {
                StoreError::Bounded(why) => Fault::new(Code::LimitExceeded, why),
                error => Fault::internal(&format!("reading table {:?}", scan.range.table.name), error),
            })?;
        self.count(scan.range.table.id, rows.found.len());
        self.room.take(rows.found.iter().map(|found| &found.row))?;
        Ok(rows)
    }

    /// One read of each table, for the keys of all sites.
    async fn get_all(&self, gets: &[Get]) -> Vec<Result<Vec<Option<StoredRow>>, Fault>> {
        let mut tables: Vec<TableId> = gets.iter().map(|get| get.table).collect();
        tables.sort_unstable();
        tables.dedup();
        let batches = tables.iter().map(|table| async move {
            let members: Vec<&Get> = gets.iter().filter(|get| get.table == *table).collect();
            let mut columns = Vec::new();
            for get in &members {
                columns.extend(self.columns(get.site, self.plan.table(*table)).0);
            }
            columns.sort_unstable();
            columns.dedup();
            if let [one] = members.as_slice() {
                return (*table, self.read(*table, &one.keys.list, &columns).await);
            }
            let mut joined = Keys::default();
            let places: Vec<usize> = members
                .iter()
                .flat_map(|get| &get.keys.list)
                .map(|key| joined.place_of(key.clone()))
                .collect();
            let rows = self.read(*table, &joined.list, &columns).await;
            (*table, rows.map(|rows| places.iter().map(|at| rows[*at].clone()).collect()))
        });
        let batches = join_all(batches).await;
        let mut batches: Vec<_> =
            batches.into_iter().map(|(table, rows)| (table, rows.map(Vec::into_iter))).collect();
        gets.iter()
            .map(|get| {
                let batch =
                    batches.iter_mut().find(|(table, _)| *table == get.table).expect("each table was read");
                match &mut batch.1 {
                    Ok(rows) => Ok(rows.take(get.keys.list.len()).collect()),
                    Err(fault) => Err(fault.clone()),
                }
            })
            .collect()
    }

    async fn read(
        &self,
        table: TableId,
        keys: &[RowKey],
        columns: &[ColumnId],
    ) -> Result<Vec<Option<StoredRow>>, Fault> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let from = self.plan.table(table);
        let is_over = |row: &StoredRow| from.is_over(&row.cells, self.at_ms);
        let mut columns = std::borrow::Cow::Borrowed(columns);
        if !from.expires.is_empty() {
            let columns = columns.to_mut();
            columns.extend(from.expires.iter().map(|expiry| expiry.from));
            columns.sort_unstable();
            columns.dedup();
        }
        let mut found = Vec::with_capacity(keys.len());
        for keys in keys.chunks(KEYS_AT_ONCE) {
            let span = tracing::info_span!("read", table = %from.name, what = "keys", keys = keys.len());
            let reading = self.tables.get(table, keys, Columns::Only(&columns)).instrument(span);
            let rows = reading.await.and_then(|rows| {
                let (rows_len, keys_len) = (rows.len(), keys.len());
                let whole = (rows_len == keys_len).then_some(rows);
                whole.ok_or_else(|| StoreError::Corrupt(format!("{rows_len} rows came for {keys_len} keys")))
            });
            let rows = rows.map_err(|error| {
                metrics().store_error(error.name());
                Fault::internal(&format!("reading table {:?}", self.plan.table(table).name), error)
            })?;
            let before = found.len();
            found.extend(rows.into_iter().map(|row| row.filter(|row| !is_over(row))));
            self.count(table, found[before..].iter().flatten().count());
            self.room.take(found[before..].iter().flatten())?;
        }
        Ok(found)
    }

    /// Counts a read of a table, and the rows that it found.
    fn count(&self, table: TableId, rows: usize) {
        if let Some(counts) = self.counts.get(table.0 as usize) {
            counts.reads.inc();
            counts.rows.inc_by(rows as u64);
        }
    }

    /// The columns to read of a table for a site, and whether the table has all that are wanted.
    fn columns(&self, site: usize, table: &TablePlan) -> (Vec<ColumnId>, bool) {
        let site = &self.operation.planned.sites[site];
        let complete = table.complete || site.columns.iter().all(|column| table.columns.contains(column));
        let mut columns: Vec<ColumnId> = site
            .columns
            .iter()
            .copied()
            .filter(|column| table.complete || table.columns.contains(column))
            .collect();
        if self.marking || !complete {
            columns.extend(&self.plan.entity(site.entity).base_key);
            columns.sort_unstable();
            columns.dedup();
        }
        (columns, complete)
    }

    /// Fills rows of copies from the base table: one read of it for each entity of the level.
    async fn complete(&self, incomplete: Vec<Incomplete>, data: &mut Data) {
        let mut bases: Vec<(TableId, Vec<Incomplete>)> = Vec::new();
        for item in incomplete {
            let base = self.plan.entity(self.operation.planned.sites[item.0].entity).base;
            match bases.iter_mut().find(|(table, _)| *table == base) {
                Some((_, items)) => items.push(item),
                None => bases.push((base, vec![item])),
            }
        }
        let completions: Vec<Completion> =
            bases.into_iter().map(|(base, items)| self.completion(base, items, data)).collect();
        let reads =
            completions.iter().map(|wanted| self.read(wanted.base, &wanted.keys.list, &wanted.columns));
        let read = join_all(reads).await;
        for (wanted, rows) in completions.into_iter().zip(read) {
            match rows {
                Ok(mut rows) => {
                    // Where each row is wanted once, as nearly always, nothing is copied.
                    let shared = wanted.items.len() > rows.len();
                    for (site, row, copy, at) in wanted.items {
                        let base = if shared { rows[at].clone() } else { rows[at].take() };
                        data.sites[site].replace(row, self.plan.table(copy), base);
                    }
                }
                Err(fault) => {
                    for (site, row, ..) in wanted.items {
                        let row = u32::try_from(row).expect("rows are counted in u32");
                        data.sites[site].fail(&[row], fault.clone());
                    }
                }
            }
        }
    }

    /// What to read of a base table for rows of its copies.
    fn completion(&self, base: TableId, items: Vec<Incomplete>, data: &Data) -> Completion {
        let table = self.plan.table(base);
        let mut completion =
            Completion { base, keys: Keys::default(), columns: Vec::new(), items: Vec::new() };
        let mut places: Vec<(usize, TableId)> = Vec::new();
        for (site, row, copy) in items {
            let Some(found) = &data.sites[site].rows[row] else { continue };
            let Some(key) = key::row_key(table, &found.cells) else { continue };
            completion.items.push((site, row, copy, completion.keys.place_of(key)));
            if !places.contains(&(site, copy)) {
                places.push((site, copy));
                completion.columns.extend(&self.operation.planned.sites[site].columns);
                completion.columns.extend(key_columns(self.plan.table(copy)));
            }
        }
        completion.columns.sort_unstable();
        completion.columns.dedup();
        completion
    }
}

impl Loaded {
    /// The parents of these rows get a fault instead: of pages, all parents whose page has one of them.
    fn fail(&mut self, rows: &[u32], fault: Fault) {
        let target = self.fault(fault);
        for of in &mut self.of {
            let Target::At(at) = *of else { continue };
            let hit = match self.pages.get(at as usize) {
                Some(page) => rows.iter().any(|row| (page.start..page.end).contains(row)),
                None => rows.contains(&at),
            };
            if hit {
                *of = target;
            }
        }
        for row in rows {
            self.rows[*row as usize] = None;
        }
    }

    /// Takes in what a scan found; answers which rows it filled.
    fn scanned(&mut self, scan: &ScanJob, rows: Result<Rows, Fault>) -> std::ops::Range<usize> {
        match (&scan.goes, rows) {
            (Goes::Row(row), Ok(rows)) => {
                self.rows[*row] = rows.found.into_iter().next().map(|found| found.row);
                *row..*row + 1
            }
            (Goes::Row(row), Err(fault)) => {
                self.fail(&[u32::try_from(*row).expect("rows are counted in u32")], fault);
                0..0
            }
            (Goes::Page { page, .. }, Ok(rows)) => {
                let start = self.rows.len();
                for found in rows.found {
                    if found.bucket.is_some() {
                        self.buckets.resize(self.rows.len(), None);
                        self.buckets.push(found.bucket);
                    }
                    self.push(Some(found.row));
                }
                let end = self.rows.len();
                let page = &mut self.pages[*page];
                page.start = u32::try_from(start).expect("rows are counted in u32");
                page.end = u32::try_from(end).expect("rows are counted in u32");
                page.next = rows.next;
                page.previous = rows.previous;
                page.total = rows.total;
                start..end
            }
            (Goes::Page { page, .. }, Err(fault)) => {
                let target = self.fault(fault);
                let at = Target::At(u32::try_from(*page).expect("pages are counted in u32"));
                for of in self.of.iter_mut().filter(|of| **of == at) {
                    *of = target;
                }
                0..0
            }
        }
    }

    /// Keeps the keys of rows that are not there.
    fn remember_absent(&mut self, get: &Get) {
        let rows = get.rows.iter().zip(&get.keys.list);
        let absent = rows.filter(|(row, _)| self.rows[**row as usize].is_none());
        self.asked.extend(absent.map(|(row, key)| (*row, key.clone())));
    }

    /// Puts a base row's cells in the place of a copy's. A copy whose base row is gone, or has moved to another key,
    /// is a copy under way: it counts as absent.
    fn replace(&mut self, row: usize, copy: &TablePlan, base: Option<StoredRow>) {
        let Some(stored) = &mut self.rows[row] else { return };
        let current = base.filter(|base| base.live && key::row_keys(copy, &base.cells).contains(&stored.key));
        match current {
            Some(base) => stored.cells = base.cells,
            None => self.rows[row] = None,
        }
    }
}

/// The table whose rows a scan gives: entries where it reads such in place of the table.
fn source(scan: &ScanJob) -> &TablePlan {
    scan.range.ranged.as_ref().map_or(&scan.range.table, |ranged| &ranged.entries)
}

fn key_columns(table: &TablePlan) -> impl Iterator<Item = ColumnId> {
    table.partition.iter().chain(&table.clustering).map(|column| column.part.column)
}
