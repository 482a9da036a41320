//! Plans the reads of an operation, level by level, and has them done.
//!
//! Comes in: a planned operation and tables. Goes out: [`Data`], from which `write` makes the answer. All sites of a
//! level are gathered first, one read for each different key among their parents, and then fetched together by
//! `fetch`.

use apollo_compiler::Node;
use apollo_compiler::ast;
use rustc_hash::FxHashMap;

use crate::observe::Reads;
use crate::plan::{Nearest, Part, Plan, ReadSource, Shape as Answers, TableId, VALUES_MAX, key};
use crate::schema::{ArgOp, FieldType, Named, ReadModel};
use crate::store::Tables;
use crate::value::Value;
use crate::value::encode::{RowKey, push_part};

use super::coerce::{Given, coerce};
use super::data::{Data, Loaded, Object, Page, Target, for_each, visit};
use super::entity;
use super::error::{Code, Fault};
use super::limits::Room;
use super::nearest::{self, Near};
use super::operation::Operation;
use super::page::{Home, Paging, Signer, Wanted};
use super::planned::{Load, Read, Set, Site, Wants};
use super::range::{Held, Range};

/// What executing needs beside the operation.
pub(super) struct Executor<'a> {
    pub model: &'a ReadModel,
    pub plan: &'a Plan,
    pub signer: &'a Signer,
    /// For each table: the home of its cursors, but for the place.
    pub homes: &'a [Home],
    pub tables: &'a dyn Tables,
    pub operation: &'a Operation,
    /// The time of the answer, milliseconds since 1970: rows that are gone then are not there.
    pub at_ms: i64,
    /// Whether base keys are wanted of all rows, because something is parked.
    pub marking: bool,
    /// For the rows that are read.
    pub room: Room,
    /// For each table: what its reads are counted with.
    pub counts: &'a [Reads],
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
    pub keys: Keys,
    /// For each key the site's row that it fills.
    pub rows: Vec<u32>,
}

/// Keys to read, each once.
#[derive(Default)]
pub(super) struct Keys {
    pub list: Vec<RowKey>,
    /// Hash of a key → its place in the list. Of two keys of one hash the later has the next free number: keys are
    /// compared, and not kept twice.
    known: FxHashMap<u64, u32>,
}

/// Rows of a site to read in order.
pub(super) struct ScanJob {
    pub site: usize,
    pub range: Range,
    /// Whether the list is the reverse of the table's order.
    pub reversed: bool,
    pub goes: Goes,
}

/// Where the rows of a scan go.
pub(super) enum Goes {
    /// The first row fills this row of the site.
    Row(usize),
    /// The rows are this page of the site.
    Page {
        page: usize,
        wanted: Wanted,
        wants: Wants,
        /// Rows are counted up to here.
        max: usize,
    },
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
            if self.room.fault().is_some() {
                // Nothing of it is answered.
                break;
            }
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
        // For each part of the base key the parent's cell.
        let parts: Vec<Option<usize>> = base
            .partition
            .iter()
            .chain(&base.clustering)
            .map(|part| {
                let at = entity.base_key.iter().position(|column| *column == part.part.column)?;
                cells.get(at).copied()
            })
            .collect();
        let mut get = Get::new(index, base.id);
        let mut loaded = Loaded::default();
        for_each(&self.operation.planned, data, &site.parent, &mut |object| {
            let key = object
                .and_then(|object| key::row_key_by(base, |at, _| parts[at].map(|cell| object.get(cell))));
            let target = key.map_or(Target::Null, |key| Target::At(get.row_of(key, &mut loaded)));
            loaded.of.push(target);
        });
        data.sites[index] = loaded;
        pending.gets.push(get);
    }

    fn gather_reads(&self, index: usize, site: &Site, read: &Read, data: &mut Data, pending: &mut Pending) {
        let bound = &self.plan.reads[read.read];
        let arguments = self.arguments(read);
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
                    let ranged = bound.ranged.iter().flat_map(|ranged| &ranged.bounds);
                    let ranged: Vec<_> = ranged
                        .filter(|(_, source)| !read.left_out(source, arguments))
                        .map(|(op, source)| (*op, value(source)))
                        .collect();
                    let filters = bound.filters.iter();
                    let filters: Vec<Held> = filters
                        .filter(|filter| !(filter.op.is_range() && read.left_out(&filter.source, arguments)))
                        .map(|filter| Held {
                            column: filter.column,
                            op: filter.op,
                            value: value(&filter.source),
                        })
                        .collect();
                    let mut place = place_bytes(&partition, &equal, &bounds);
                    let beside = filters.iter().map(|filter| (filter.op, &filter.value));
                    for (op, value) in ranged.iter().map(|(op, value)| (*op, value)).chain(beside) {
                        place.extend_from_slice(op.word().as_bytes());
                        push_part(&mut place, value, crate::schema::Order::Asc);
                    }
                    let near = bound.nearest.as_ref();
                    let near = near.and_then(|nearest| Near::new(nearest, &value(&nearest.source)));
                    near.iter().for_each(|near| near.push_place(&mut place));
                    match known.get(&place) {
                        Some(target) => *target,
                        None => {
                            let asked = Asked { partition, equal, bounds, ranged, filters, near };
                            let target = reader.target(asked, &place);
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
    fn arguments(&self, read: &Read) -> Result<Vec<Option<Value>>, Fault> {
        let bound = &self.plan.reads[read.read];
        let declared = &self.model.ty(bound.parent).field(bound.field).args;
        let mut values = Vec::with_capacity(declared.len());
        for (index, argument) in declared.iter().enumerate() {
            let (given, read_as) = (&read.arguments[index], &bound.arguments[index]);
            let source = ReadSource::Argument(index);
            let nearest = bound.nearest.as_ref().filter(|nearest| nearest.source == source);
            let node = given.as_ref();
            let (Some(given), Some(named)) = (self.operation.variables.argument(node), *read_as) else {
                values.push(None);
                continue;
            };
            let refused =
                |why: String| Fault::new(Code::BadUserInput, format!("Argument `{}`: {why}.", argument.name));
            let value = match (&argument.ty, given) {
                (FieldType::List { .. }, given) if given != Given::Null => match nearest {
                    Some(nearest) => self.vector(nearest, named, node),
                    None => self.list(named, node),
                },
                (_, given) => coerce(self.model, named, &given),
            };
            values.push(Some(value.map_err(refused)?));
        }
        Ok(values)
    }

    /// A vector, checked as those of the column are.
    fn vector(
        &self,
        nearest: &Nearest,
        named: Named,
        given: Option<&Node<ast::Value>>,
    ) -> Result<Value, String> {
        let Some(given) = given else { return Ok(Value::Null) };
        let json = self.operation.variables.json(given);
        let items = json.as_array().map_or(std::slice::from_ref(&*json), Vec::as_slice);
        nearest::check_count(nearest, items.len())?;
        let numbers = items.iter().map(|item| coerce(self.model, named, &Given::json(item)));
        let numbers = numbers.collect::<Result<Vec<Value>, String>>()?;
        nearest::check_numbers(nearest, &numbers)?;
        Ok(Value::List(numbers))
    }

    /// The values of a list; a lone value is a list of one.
    fn list(&self, named: Named, given: Option<&Node<ast::Value>>) -> Result<Value, String> {
        let Some(given) = given else { return Ok(Value::Null) };
        let json = self.operation.variables.json(given);
        let items = json.as_array().map_or(std::slice::from_ref(&*json), Vec::as_slice);
        if items.len() > VALUES_MAX {
            return Err(format!("{} values are given; at most {VALUES_MAX} are taken", items.len()));
        }
        let values = items.iter().map(|item| coerce(self.model, named, &Given::json(item)));
        Ok(Value::List(values.collect::<Result<_, String>>()?))
    }
}

/// What one read asks for, as values.
struct Asked {
    partition: Vec<Part<Value>>,
    equal: Vec<Value>,
    bounds: Vec<(ArgOp, Value)>,
    ranged: Vec<(ArgOp, Value)>,
    filters: Vec<Held>,
    near: Option<Near>,
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
    fn target(&mut self, asked: Asked, place: &[u8]) -> Target {
        let Asked { partition, equal, bounds, ranged, filters, near } = asked;
        let plan = self.executor.plan;
        let bound = &plan.reads[self.read.read];
        let table = plan.table(bound.table);
        let combinations = Range::combinations(&partition, &equal);
        if combinations > VALUES_MAX {
            let message =
                format!("Lists of values make {combinations} combinations; at most {VALUES_MAX} are taken.");
            return self.loaded.fault(Fault::new(Code::BadUserInput, message));
        }
        let range = Range::new(plan, table, partition, &equal, &bounds);
        let range = range.and_then(|range| range.filtered(filters));
        let range = match &bound.ranged {
            // Without a bound also those rows count that have no value.
            Some(entries) if !ranged.is_empty() => {
                range.and_then(|range| range.by_entries(plan.table(entries.entries), &ranged))
            }
            _ => range,
        };
        let (page, max, lookback_ms) = match bound.shape {
            Answers::One => return self.row(range, bound.reversed),
            Answers::List { page, max } => (page, max, None),
            Answers::Connection { page, max, lookback_ms, .. } => (page, max, lookback_ms),
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
        self.loaded.pages.push(Page {
            start: 0,
            end: 0,
            next: false,
            previous: false,
            total: Some(0),
            merged: combinations > 1,
            home,
        });
        if let Some(range) = range {
            let range = Range { near, ..range.looking_back(lookback_ms) };
            self.scans.push(ScanJob {
                site: self.index,
                range,
                reversed: bound.reversed,
                goes: Goes::Page { page: at, wanted, wants: self.read.wants, max: max as usize },
            });
        }
        Target::At(u32::try_from(at).expect("pages are counted in u32"))
    }

    fn row(&mut self, range: Option<Range>, reversed: bool) -> Target {
        let Some(range) = range else { return Target::Null };
        if let Some(key) = range.point().filter(|_| range.ranged.is_none() && range.filters.is_empty()) {
            let get = self.get.get_or_insert_with(|| Get::new(self.index, range.table.id));
            return Target::At(get.row_of(key, &mut self.loaded));
        }
        let row = self.loaded.push(None);
        self.scans.push(ScanJob { site: self.index, range, reversed, goes: Goes::Row(row as usize) });
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
        Get { site, table, keys: Keys::default(), rows: Vec::new() }
    }

    /// The site's row that a key fills; a new one if the key is new.
    pub fn row_of(&mut self, key: RowKey, loaded: &mut Loaded) -> u32 {
        let at = self.keys.place_of(key);
        if at == self.rows.len() {
            self.rows.push(loaded.push(None));
        }
        self.rows[at]
    }
}

impl Keys {
    /// The place of a key in the list; the last one if the key is new.
    pub fn place_of(&mut self, key: RowKey) -> usize {
        let mut hash = xxhash_rust::xxh3::xxh3_64(key.bytes());
        while let Some(at) = self.known.get(&hash) {
            let at = *at as usize;
            if self.list[at] == key {
                return at;
            }
            hash = hash.wrapping_add(1);
        }
        let at = self.list.len();
        self.known.insert(hash, u32::try_from(at).expect("rows are counted in u32"));
        self.list.push(key);
        at
    }
}

impl Read {
    fn value(&self, source: &ReadSource, arguments: &[Option<Value>], object: &Object<'_>) -> Value {
        match source {
            ReadSource::Argument(index) => arguments.get(*index).cloned().flatten().unwrap_or_default(),
            ReadSource::ParentColumn(column) => {
                let cell = self.column_cells.iter().find(|(id, _)| id == column);
                cell.map(|(_, cell)| object.get(*cell).clone()).unwrap_or_default()
            }
            ReadSource::ParentField(path) => {
                let cells = self.stub_cells.iter().find(|(known, _)| known == path);
                let cells = cells.and_then(|(_, cells)| cells.split_last());
                cells
                    .and_then(|(last, through)| Some(object.inside(through)?.get(*last).clone()))
                    .unwrap_or_default()
            }
        }
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

/// What tells one read of a site from another.
pub(super) fn place_bytes(partition: &[Part<Value>], equal: &[Value], bounds: &[(ArgOp, Value)]) -> Vec<u8> {
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
