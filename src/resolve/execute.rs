//! Loads what an operation needs, level by level.
//!
//! Comes in: a planned operation and tables. Goes out: [`Data`], from which `write` makes the answer. All sites of a
//! level are loaded together: one read of each table for all keys, all pages at once. Copies that lack a column that
//! is wanted are completed by one more read of the base table for the whole level. A read that fails becomes a fault
//! of the fields that wanted it, and harms no other.

use std::sync::Arc;

use futures_util::future::{join, join_all};
use rustc_hash::FxHashMap;

use crate::plan::{Part, Plan, ReadSource, Shape as Answers, TableId, TablePlan, key};
use crate::schema::{ColumnId, ReadModel};
use crate::store::{Columns, StoreError, StoredRow, Tables};
use crate::value::Value;
use crate::value::encode::{RowKey, push_part};

use super::coerce::{Given, coerce};
use super::entity::{self, Slot};
use super::error::{Code, Fault};
use super::operation::Operation;
use super::page::{Home, Paging, Signer, Wanted};
use super::select::{Load, Planned, Read, Set, Site, Spot, Wants};
use super::walk::{Range, Rows, Walk};

/// What was loaded. Indices are those of [`Planned`].
#[derive(Debug, Default)]
pub(super) struct Data {
    pub sites: Vec<Loaded>,
    /// For each set of elements: where those of each parent begin.
    pub starts: Vec<Vec<u32>>,
    /// For each `_entities`: its items in order.
    pub lists: Vec<Vec<Slot>>,
}

/// What a site's parents got.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    /// One for each object of the parent set.
    pub of: Vec<Target>,
    pub rows: Vec<Option<StoredRow>>,
    /// The base key that was asked for, where it is known: a row that is not there can be a parked one.
    pub asked: Vec<Option<RowKey>>,
    /// The bucket of each row, where the table has buckets and cursors are wanted.
    pub buckets: Vec<Option<Arc<[u8]>>>,
    pub pages: Vec<Page>,
    pub faults: Vec<Fault>,
}

/// What one parent got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Null,
    /// A row, or a page.
    At(u32),
    Fault(u32),
}

/// A page of a site's rows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Page {
    pub start: u32,
    pub end: u32,
    pub next: bool,
    pub previous: bool,
    pub home: Home,
}

/// What executing needs beside the operation.
pub(super) struct Executor<'a> {
    pub model: &'a ReadModel,
    pub plan: &'a Plan,
    pub signer: &'a Signer,
    /// For each table: the home of its cursors, but for the place.
    pub homes: &'a [Home],
    pub tables: &'a dyn Tables,
    pub operation: &'a Operation,
    /// Whether base keys are wanted of all rows, because something is parked.
    pub marking: bool,
}

/// A site, its row, and the copy from which the row came.
type Incomplete = (usize, usize, TableId);

/// An object's cells, and the key of the map that it stands in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Object<'d> {
    pub cells: &'d [Value],
    pub key: Option<(usize, &'d Value)>,
}

/// Reads of one level that wait to be done.
#[derive(Default)]
pub(super) struct Pending {
    pub gets: Vec<Get>,
    pub scans: Vec<ScanJob>,
}

/// Rows of a site to read by key.
pub(super) struct Get {
    pub site: usize,
    pub table: TableId,
    pub keys: Vec<RowKey>,
    /// For each key the site's row that it fills.
    rows: Vec<u32>,
    /// Key → its row, so that no row is read twice.
    known: FxHashMap<RowKey, u32>,
}

/// Rows of a site to read in order.
pub(super) struct ScanJob {
    pub site: usize,
    pub range: Range,
    pub goes: Goes,
}

/// Where the rows of a scan go.
pub(super) enum Goes {
    /// The first row fills this row of the site.
    Row(usize),
    /// The rows are this page of the site.
    Page { page: usize, wanted: Wanted, wants: Wants },
}

impl<'a> Executor<'a> {
    /// Loads everything.
    pub async fn load(&self, lists: Vec<Vec<entity::Item>>) -> Data {
        let planned = &*self.operation.planned;
        let mut data = Data {
            sites: planned.sites.iter().map(|_| Loaded::default()).collect(),
            starts: vec![Vec::new(); planned.sets.len()],
            lists: Vec::new(),
        };
        let mut pending = Pending::default();
        for (list, items) in planned.entity_lists.iter().zip(lists) {
            let slots = entity::gather(self, list, items, &mut data, &mut pending);
            data.lists.push(slots);
        }
        for level in 0..planned.levels {
            self.number_elements(level, &mut data);
            for (index, site) in planned.sites.iter().enumerate() {
                if site.level == level {
                    self.gather(index, site, &mut data, &mut pending);
                }
            }
            self.fetch(std::mem::take(&mut pending), &mut data).await;
        }
        data
    }

    fn number_elements(&self, level: usize, data: &mut Data) {
        for (index, set) in self.operation.planned.sets.iter().enumerate() {
            let Set::Elements { of, path, cell, level: at, .. } = set else { continue };
            if *at != level {
                continue;
            }
            let mut starts = Vec::new();
            let mut total = 0u32;
            visit(&self.operation.planned, data, *of, &mut |object| {
                starts.push(total);
                let elements =
                    object.and_then(|object| object.inside(path)).map_or(0, |object| object.elements(*cell));
                total += u32::try_from(elements).expect("collections are bounded");
            });
            data.starts[index] = starts;
        }
    }

    fn gather(&self, index: usize, site: &Site, data: &mut Data, pending: &mut Pending) {
        match &site.load {
            Load::Entities => {}
            Load::Ref { key } => self.gather_refs(index, site, key, data, pending),
            Load::Read(read) => self.gather_reads(index, site, read, data, pending),
        }
    }

    fn gather_refs(
        &self,
        index: usize,
        site: &Site,
        cells: &[usize],
        data: &mut Data,
        pending: &mut Pending,
    ) {
        let entity = self.plan.entity(site.entity);
        let base = self.plan.table(entity.base);
        let mut scratch = vec![Value::Null; self.model.ty(site.entity).columns.len()];
        let mut get = Get::new(index, base.id);
        let mut loaded = Loaded::default();
        for_each(&self.operation.planned, data, &site.parent, &mut |object| {
            let key = object.and_then(|object| {
                for (column, cell) in entity.base_key.iter().zip(cells) {
                    scratch[column.0 as usize] = object.get(*cell).clone();
                }
                key::row_key(base, &scratch)
            });
            let target = key.map_or(Target::Null, |key| Target::At(get.row_of(key, &mut loaded, true)));
            loaded.of.push(target);
        });
        data.sites[index] = loaded;
        pending.gets.push(get);
    }

    fn gather_reads(&self, index: usize, site: &Site, read: &Read, data: &mut Data, pending: &mut Pending) {
        let bound = &self.plan.reads[read.read];
        let arguments = self.arguments(read, bound.parent, bound.field);
        let mut known: FxHashMap<Vec<u8>, Target> = FxHashMap::default();
        let mut reader =
            ReadSite { executor: self, index, read, loaded: Loaded::default(), scans: Vec::new(), get: None };
        for_each(&self.operation.planned, data, &site.parent, &mut |object| {
            let target = match (&arguments, object) {
                (_, None) => Target::Null,
                (Err(fault), Some(_)) => reader.loaded.fault(fault.clone()),
                (Ok(arguments), Some(object)) => {
                    let value = |source: &ReadSource| read.value(source, arguments, &object);
                    let partition: Vec<Part<Value>> = bound
                        .partition
                        .iter()
                        .map(|part| match part {
                            Part::From(source) => Part::From(value(source)),
                            Part::EachBucket => Part::EachBucket,
                            Part::EachShard(count) => Part::EachShard(*count),
                        })
                        .collect();
                    let equal: Vec<Value> = bound.equal.iter().map(value).collect();
                    let bounds: Vec<_> = bound
                        .bounds
                        .iter()
                        .filter(|(_, source)| !read.left_out(source, arguments))
                        .map(|(op, source)| (*op, value(source)))
                        .collect();
                    let place = place_bytes(&partition, &equal, &bounds);
                    match known.get(&place) {
                        Some(target) => *target,
                        None => {
                            let target = reader.target(&partition, equal, &bounds, &place);
                            known.insert(place, target);
                            target
                        }
                    }
                }
            };
            reader.loaded.of.push(target);
        });
        let ReadSite { loaded, scans, get, .. } = reader;
        data.sites[index] = loaded;
        pending.gets.extend(get);
        pending.scans.extend(scans);
    }

    /// The arguments that bind to columns, as values of their types; `None` where one was not given.
    fn arguments(
        &self,
        read: &Read,
        parent: crate::schema::TypeId,
        field: crate::schema::FieldId,
    ) -> Result<Vec<Option<Value>>, Fault> {
        let declared = &self.model.ty(parent).field(field).args;
        let mut values = Vec::with_capacity(declared.len());
        for (argument, given) in declared.iter().zip(&read.arguments) {
            if argument.binds == crate::schema::ArgumentBinding::Paging {
                values.push(None);
                continue;
            }
            let given = self.operation.variables.argument(given.as_ref());
            let value =
                given.map(|given| coerce(self.model, argument.ty.named(), &given)).transpose().map_err(
                    |why| Fault::new(Code::BadUserInput, format!("Argument `{}`: {why}.", argument.name)),
                )?;
            values.push(value);
        }
        Ok(values)
    }

    /// Does a level's reads, all of them at once, and completes what came from copies.
    async fn fetch(&self, pending: Pending, data: &mut Data) {
        if pending.gets.is_empty() && pending.scans.is_empty() {
            return;
        }
        let Pending { gets, scans } = pending;
        let scan_columns: Vec<Vec<ColumnId>> =
            scans.iter().map(|scan| self.columns(scan.site, &scan.range.table).0).collect();
        let walks = scans.iter().zip(&scan_columns).map(|(scan, columns)| self.scan(scan, columns));
        let (got, scanned) = join(self.get_all(&gets), join_all(walks)).await;
        let mut incomplete: Vec<Incomplete> = Vec::new();
        for (get, rows) in gets.iter().zip(got) {
            let complete = self.columns(get.site, self.plan.table(get.table)).1;
            let loaded = &mut data.sites[get.site];
            match rows {
                Ok(rows) => {
                    for (at, row) in get.rows.iter().zip(rows) {
                        let at = *at as usize;
                        loaded.rows[at] = row.filter(|row| row.live);
                        if !complete {
                            incomplete.push((get.site, at, get.table));
                        }
                    }
                }
                Err(fault) => loaded.fail(&get.rows, fault),
            }
        }
        for (scan, rows) in scans.iter().zip(scanned) {
            let complete = self.columns(scan.site, &scan.range.table).1;
            let filled = data.sites[scan.site].scanned(scan, rows);
            if !complete {
                incomplete.extend(filled.map(|row| (scan.site, row, scan.range.table.id)));
            }
        }
        self.complete(incomplete, data).await;
    }

    async fn scan(&self, scan: &ScanJob, columns: &[ColumnId]) -> Result<Rows, Fault> {
        let walk = Walk { tables: self.tables, plan: self.plan, range: &scan.range, columns };
        let rows = match &scan.goes {
            Goes::Row(_) => walk.first(1).await.map(|found| Rows { found, ..Rows::default() }),
            Goes::Page { wanted, wants, .. } => walk.page(wanted, *wants).await,
        };
        rows.map_err(|error| Fault::internal(&format!("reading table {:?}", scan.range.table.name), error))
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
            let joined;
            let keys: &[RowKey] = match members.as_slice() {
                [one] => &one.keys,
                many => {
                    joined = many.iter().flat_map(|get| get.keys.iter().cloned()).collect::<Vec<_>>();
                    &joined
                }
            };
            let rows = self.read(*table, keys, &columns).await;
            (*table, rows.map(Vec::into_iter))
        });
        let mut batches = join_all(batches).await;
        gets.iter()
            .map(|get| {
                let batch =
                    batches.iter_mut().find(|(table, _)| *table == get.table).expect("each table was read");
                match &mut batch.1 {
                    Ok(rows) => Ok(rows.take(get.keys.len()).collect()),
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
        let rows = self.tables.get(table, keys, Columns::Only(columns)).await.and_then(|rows| {
            if rows.len() == keys.len() {
                return Ok(rows);
            }
            Err(StoreError::Corrupt(format!("{} rows came for {} keys", rows.len(), keys.len())))
        });
        rows.map_err(|error| {
            Fault::internal(&format!("reading table {:?}", self.plan.table(table).name), error)
        })
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
        for (base, items) in bases {
            let table = self.plan.table(base);
            let mut keys: Vec<RowKey> = Vec::new();
            let mut known: FxHashMap<RowKey, usize> = FxHashMap::default();
            let mut columns: Vec<ColumnId> = Vec::new();
            let mut wanted = Vec::new();
            for (site, row, copy) in items {
                let Some(key) =
                    data.sites[site].rows[row].as_ref().and_then(|row| key::row_key(table, &row.cells))
                else {
                    continue;
                };
                let at = *known.entry(key).or_insert_with_key(|key| {
                    keys.push(key.clone());
                    keys.len() - 1
                });
                wanted.push((site, row, copy, at));
                columns.extend(&self.operation.planned.sites[site].columns);
                columns.extend(key_columns(self.plan.table(copy)));
            }
            columns.sort_unstable();
            columns.dedup();
            let rows = self.read(base, &keys, &columns).await;
            for (site, row, copy, at) in wanted {
                let loaded = &mut data.sites[site];
                match &rows {
                    Ok(rows) => loaded.replace(row, self.plan.table(copy), rows[at].as_ref()),
                    Err(fault) => {
                        loaded.fail(&[u32::try_from(row).expect("rows are counted in u32")], fault.clone())
                    }
                }
            }
        }
    }
}

/// Makes the reads of one site, one for each different key among its parents.
struct ReadSite<'e, 'a> {
    executor: &'e Executor<'a>,
    index: usize,
    read: &'e Read,
    loaded: Loaded,
    scans: Vec<ScanJob>,
    get: Option<Get>,
}

impl ReadSite<'_, '_> {
    fn target(
        &mut self,
        partition: &[Part<Value>],
        equal: Vec<Value>,
        bounds: &[(crate::schema::ArgOp, Value)],
        place: &[u8],
    ) -> Target {
        let plan = self.executor.plan;
        let bound = &plan.reads[self.read.read];
        let table = plan.table(bound.table);
        let range = Range::new(plan, table, partition.to_vec(), &equal, bounds);
        let (page, max, lookback_ms) = match bound.shape {
            Answers::One => return self.row(range, &equal),
            Answers::List { page, max } => (page, max, None),
            Answers::Connection { page, max, lookback_ms } => (page, max, lookback_ms),
        };
        let mut named = format!("{}.{}\0", bound.parent.0, bound.field.0).into_bytes();
        named.extend_from_slice(place);
        let home =
            Home { place: xxhash_rust::xxh3::xxh3_64(&named), ..self.executor.homes[table.id.0 as usize] };
        let wanted = match self.wanted(page, max, &home) {
            Ok(wanted) => wanted,
            Err(fault) => return self.loaded.fault(fault),
        };
        let at = self.loaded.pages.len();
        self.loaded.pages.push(Page { start: 0, end: 0, next: false, previous: false, home });
        if let Some(range) = range {
            let range = range.looking_back(lookback_ms);
            self.scans.push(ScanJob {
                site: self.index,
                range,
                goes: Goes::Page { page: at, wanted, wants: self.read.wants },
            });
        }
        Target::At(u32::try_from(at).expect("pages are counted in u32"))
    }

    fn row(&mut self, range: Option<Range>, equal: &[Value]) -> Target {
        let Some(range) = range else { return Target::Null };
        if let Some(key) = point_key(&range, equal) {
            let base = self.executor.plan.entity(range.table.entity).base == range.table.id;
            let get = self.get.get_or_insert_with(|| Get::new(self.index, range.table.id));
            return Target::At(get.row_of(key, &mut self.loaded, base));
        }
        let row = self.loaded.push(None, None);
        self.scans.push(ScanJob { site: self.index, range, goes: Goes::Row(row as usize) });
        Target::At(row)
    }

    fn wanted(&self, page: u32, max: u32, home: &Home) -> Result<Wanted, Fault> {
        let variables = &self.executor.operation.variables;
        let paging = &self.read.paging;
        let [first, last] = [("first", &paging.first), ("last", &paging.last)]
            .map(|(name, value)| count(name, variables.argument(value.as_ref())));
        let [after, before] = [("after", &paging.after), ("before", &paging.before)]
            .map(|(name, value)| text(name, variables.argument(value.as_ref())));
        let (after, before) = (after?, before?);
        Paging { first: first?, last: last?, after: after.as_deref(), before: before.as_deref() }.wanted(
            page,
            max,
            self.executor.signer,
            home,
        )
    }
}

impl Get {
    pub fn new(site: usize, table: TableId) -> Get {
        Get { site, table, keys: Vec::new(), rows: Vec::new(), known: FxHashMap::default() }
    }

    /// The site's row that a key fills; a new one if the key is new.
    pub fn row_of(&mut self, key: RowKey, loaded: &mut Loaded, key_is_base: bool) -> u32 {
        if let Some(row) = self.known.get(&key) {
            return *row;
        }
        let row = loaded.push(None, key_is_base.then(|| key.clone()));
        self.known.insert(key.clone(), row);
        self.keys.push(key);
        self.rows.push(row);
        row
    }
}

impl Loaded {
    /// Adds a row, or room for one that is to be read.
    pub fn push(&mut self, row: Option<StoredRow>, asked: Option<RowKey>) -> u32 {
        self.rows.push(row);
        self.asked.push(asked);
        u32::try_from(self.rows.len() - 1).expect("rows are counted in u32")
    }

    pub fn fault(&mut self, fault: Fault) -> Target {
        self.faults.push(fault);
        Target::Fault(u32::try_from(self.faults.len() - 1).expect("faults are counted in u32"))
    }

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
                    self.buckets.resize(self.rows.len(), None);
                    self.buckets.push(found.bucket);
                    self.push(Some(found.row), None);
                }
                let end = self.rows.len();
                let page = &mut self.pages[*page];
                page.start = u32::try_from(start).expect("rows are counted in u32");
                page.end = u32::try_from(end).expect("rows are counted in u32");
                page.next = rows.next;
                page.previous = rows.previous;
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

    /// Puts a base row's cells in the place of a copy's. A copy whose base row is gone, or has moved to another key,
    /// is a copy under way: it counts as absent.
    fn replace(&mut self, row: usize, copy: &TablePlan, base: Option<&StoredRow>) {
        let Some(stored) = &mut self.rows[row] else { return };
        let current =
            base.filter(|base| base.live && key::row_key(copy, &base.cells).as_ref() == Some(&stored.key));
        match current {
            Some(base) => stored.cells.clone_from(&base.cells),
            None => self.rows[row] = None,
        }
    }
}

impl Read {
    fn value(&self, source: &ReadSource, arguments: &[Option<Value>], object: &Object<'_>) -> Value {
        match source {
            ReadSource::Argument(index) => arguments.get(*index).cloned().flatten().unwrap_or_default(),
            ReadSource::ParentColumn(column) => self.cell(Err(*column), object),
            ReadSource::ParentField(field) => self.cell(Ok(*field), object),
        }
    }

    fn cell(&self, wanted: Result<crate::schema::FieldId, ColumnId>, object: &Object<'_>) -> Value {
        let cell = match wanted {
            Ok(field) => self.stub_cells.iter().find(|(id, _)| *id == field).map(|(_, cell)| *cell),
            Err(column) => self.column_cells.iter().find(|(id, _)| *id == column).map(|(_, cell)| *cell),
        };
        cell.map(|cell| object.get(cell).clone()).unwrap_or_default()
    }

    /// Whether a bound is not meant: its argument was not given, or is null.
    fn left_out(&self, source: &ReadSource, arguments: &[Option<Value>]) -> bool {
        match source {
            ReadSource::Argument(index) => {
                arguments.get(*index).is_none_or(|value| value.as_ref().is_none_or(Value::is_null))
            }
            ReadSource::ParentColumn(_) | ReadSource::ParentField(_) => false,
        }
    }
}

static NULL: Value = Value::Null;

impl<'d> Object<'d> {
    pub fn of(cells: &'d [Value]) -> Object<'d> {
        Object { cells, key: None }
    }

    /// A cell; a map's key column may stand in the key only.
    pub fn get(&self, cell: usize) -> &'d Value {
        match (self.cells.get(cell), self.key) {
            (None | Some(Value::Null), Some((column, key))) if column == cell => key,
            (found, _) => found.unwrap_or(&NULL),
        }
    }

    /// The record at the end of a path of records.
    fn inside(self, path: &[usize]) -> Option<Object<'d>> {
        let mut object = self;
        for cell in path {
            match object.get(*cell) {
                Value::Record(cells) => object = Object::of(cells),
                _ => return None,
            }
        }
        Some(object)
    }

    fn elements(&self, cell: usize) -> usize {
        match self.get(cell) {
            Value::List(values) | Value::Set(values) => values.len(),
            Value::Map(entries) => entries.len(),
            _ => 0,
        }
    }
}

/// Goes through all objects of a set, in their order. `None`: the object is not there, but has a number.
fn visit<'d>(planned: &Planned, data: &'d Data, set: usize, f: &mut dyn FnMut(Option<Object<'d>>)) {
    match &planned.sets[set] {
        Set::Root => f(Some(Object::of(&[]))),
        Set::Rows(site) => {
            for row in &data.sites[*site].rows {
                f(row.as_ref().map(|row| Object::of(&row.cells)));
            }
        }
        Set::Elements { of, path, cell, key, .. } => visit(planned, data, *of, &mut |object| {
            let Some(object) = object.and_then(|object| object.inside(path)) else { return };
            match object.get(*cell) {
                Value::List(values) | Value::Set(values) => {
                    for value in values {
                        f(record(value, None));
                    }
                }
                Value::Map(entries) => {
                    for (entry, value) in entries {
                        f(record(value, key.map(|column| (column, entry))));
                    }
                }
                _ => {}
            }
        }),
    }
}

/// A record as an object.
pub(super) fn record<'d>(value: &'d Value, key: Option<(usize, &'d Value)>) -> Option<Object<'d>> {
    match value {
        Value::Record(cells) => Some(Object { cells, key }),
        _ => None,
    }
}

/// Goes through the objects at a spot.
fn for_each<'d>(planned: &Planned, data: &'d Data, spot: &Spot, f: &mut dyn FnMut(Option<Object<'d>>)) {
    visit(planned, data, spot.set, &mut |object| f(object.and_then(|object| object.inside(&spot.path))));
}

/// The key of the only row of a range, if its whole key is known.
fn point_key(range: &Range, equal: &[Value]) -> Option<RowKey> {
    let table = &range.table;
    if equal.len() != table.clustering.len() {
        return None;
    }
    let values: Vec<Value> = range
        .partition
        .iter()
        .map(|part| match part {
            Part::From(value) => Some(value.clone()),
            Part::EachBucket | Part::EachShard(_) => None,
        })
        .collect::<Option<_>>()?;
    let partition = key::partition_bytes(table, &values)?;
    let clustering: Vec<Value> = table
        .clustering
        .iter()
        .zip(equal)
        .map(|(column, value)| key::apply(column, value))
        .collect::<Option<_>>()?;
    Some(RowKey::new(partition, &key::clustering_prefix(table, &clustering)?))
}

fn key_columns(table: &TablePlan) -> impl Iterator<Item = ColumnId> {
    table.partition.iter().chain(&table.clustering).map(|column| column.part.column)
}

/// What tells one read of a site from another.
pub(super) fn place_bytes(
    partition: &[Part<Value>],
    equal: &[Value],
    bounds: &[(crate::schema::ArgOp, Value)],
) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(32);
    let parts = partition.iter().filter_map(|part| match part {
        Part::From(value) => Some(value),
        Part::EachBucket | Part::EachShard(_) => None,
    });
    for value in parts.chain(equal).chain(bounds.iter().map(|(_, value)| value)) {
        bytes.push(u8::from(!value.is_null()));
        if !value.is_null() {
            push_part(&mut bytes, value, crate::schema::Order::Asc);
        }
    }
    bytes
}

fn count(name: &str, given: Option<Given<'_>>) -> Result<Option<i64>, Fault> {
    let refused = || Fault::new(Code::BadUserInput, format!("`{name}` is not a whole number."));
    match given {
        None | Some(Given::Null) => Ok(None),
        Some(Given::Number(digits)) => digits
            .parse::<f64>()
            .ok()
            .filter(|number| number.fract() == 0.0)
            .map(|number| {
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "a page is far below; what is above is refused"
                )]
                Some(number as i64)
            })
            .ok_or_else(refused),
        Some(_) => Err(refused()),
    }
}

fn text(name: &str, given: Option<Given<'_>>) -> Result<Option<String>, Fault> {
    match given {
        None | Some(Given::Null) => Ok(None),
        Some(Given::Text(text)) => Ok(Some(text.to_owned())),
        Some(_) => Err(Fault::new(Code::BadUserInput, format!("`{name}` is not a string."))),
    }
}
