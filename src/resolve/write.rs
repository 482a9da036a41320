//! Loaded rows → the answer's JSON, straight into one buffer.
//!
//! Comes in: a planned operation and its data. Goes out: `data`, the errors met, and the parked rows met. Null
//! follows the GraphQL specification: what cannot be answered becomes null at the nearest field that may be null, with
//! one error that has the path of its origin. Nothing is read here.

use crate::schema::ReadModel;
use crate::value::Value;

use super::data::{Data, Loaded, Object, Page, Target, element, record};
use super::entity::Slot;
use super::error::{Code, Fault, Place, Step, push_error};
use super::operation::Operation;
use super::page::{MarkRef, Signer};
use super::parked::Marks;
use super::planned::{EntityChoice, Member, Out, Shape, What};
use super::wire;

/// Room for an answer: what is around the rows, and a small row. More grows as it is needed.
const ANSWER_BYTES: usize = 1024;
const ROW_BYTES: usize = 128;

/// Writes one answer.
pub(super) struct Writer<'a> {
    pub model: &'a ReadModel,
    pub signer: &'a Signer,
    pub operation: &'a Operation,
    pub data: &'a Data,
    pub out: Vec<u8>,
    /// Entries of `errors`, with commas between.
    pub errors: Vec<u8>,
    pub marks: Option<Marks<'a>>,
    /// Whether it has more bytes than an answer may have: then none of it is sent.
    pub is_overfull: bool,
    bytes_max: usize,
    path: Vec<Step<'a>>,
}

/// A null went up to a field that must not be null: the parent becomes null, or passes it on.
struct Bubble;

type Written = Result<(), Bubble>;

/// What the fields of an object are written from.
#[derive(Clone, Copy)]
struct At<'a> {
    object: Object<'a>,
    /// The object's number in its set.
    number: usize,
    /// Within a connection: its site and page.
    page: Option<(usize, &'a Page)>,
}

impl<'a> Writer<'a> {
    pub fn new(
        model: &'a ReadModel,
        signer: &'a Signer,
        operation: &'a Operation,
        data: &'a Data,
        (marks, bytes_max): (Option<Marks<'a>>, usize),
    ) -> Writer<'a> {
        let rows: usize = data.sites.iter().map(|site| site.rows.len()).sum();
        let out = Vec::with_capacity((ANSWER_BYTES + rows * ROW_BYTES).min(bytes_max));
        let (errors, path) = (Vec::new(), Vec::new());
        Writer { model, signer, operation, data, out, errors, marks, is_overfull: false, bytes_max, path }
    }

    /// Writes the value of `data`.
    pub fn data(&mut self) {
        let start = self.out.len();
        let at = At { object: Object::of(&[]), number: 0, page: None };
        if self.object(&self.operation.planned.root, at).is_err() && !self.is_overfull {
            self.out.truncate(start);
            self.out.extend_from_slice(b"null");
        }
        // What the last object held.
        let _ = self.check_room();
    }

    fn object(&mut self, fields: &'a [Out], at: At<'a>) -> Written {
        // Whatever can be many times in an answer is in objects, or in lists of what a row holds.
        self.check_room()?;
        self.out.push(b'{');
        for (index, field) in fields.iter().enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            self.out.extend_from_slice(&field.prefix);
            self.field(field, at)?;
        }
        self.out.push(b'}');
        Ok(())
    }

    /// Ends an answer that has grown too large, with all that is around.
    fn check_room(&mut self) -> Written {
        let marked = self.marks.as_ref().map_or(0, Marks::len);
        if self.out.len() + self.errors.len() + marked > self.bytes_max {
            self.is_overfull = true;
            return Err(Bubble);
        }
        Ok(())
    }

    fn field(&mut self, field: &'a Out, at: At<'a>) -> Written {
        match &field.what {
            What::Fixed(json) => {
                self.out.extend_from_slice(json);
                Ok(())
            }
            What::Value { cell, shape } => {
                let value = at.object.get(*cell);
                match (shape, value) {
                    (Shape::Scalar(scalar), value) if wire::push_scalar(&mut self.out, *scalar, value) => {
                        Ok(())
                    }
                    // A row that was only ever assigned to has no collection of which no event spoke.
                    (Shape::List { .. } | Shape::References { .. }, Value::Null) if field.non_null => {
                        self.out.extend_from_slice(b"[]");
                        Ok(())
                    }
                    (_, Value::Null) => self.null(field),
                    _ => self.guarded(field, |writer| writer.value(field, shape, value, at.number)),
                }
            }
            What::Nothing => self.null(field),
            what => self.guarded(field, |writer| writer.compound(field, what, at)),
        }
    }

    /// Writes something below a field's path; a null from inside stops here if the field may be null.
    fn guarded(&mut self, field: &'a Out, write: impl FnOnce(&mut Self) -> Written) -> Written {
        let start = self.out.len();
        self.path.push(Step::Key(&field.name));
        let written = write(self);
        self.path.pop();
        self.settle(written, field.non_null, start)
    }

    fn settle(&mut self, written: Written, non_null: bool, start: usize) -> Written {
        if written.is_err() && !non_null && !self.is_overfull {
            self.out.truncate(start);
            self.out.extend_from_slice(b"null");
            return Ok(());
        }
        written
    }

    /// What a field is, or the entity that it refers to as one of several.
    fn compound(&mut self, field: &'a Out, what: &'a What, at: At<'a>) -> Written {
        match what {
            What::Object(fields) => self.object(fields, at),
            What::Stub { key, fields } => {
                if key.iter().any(|cell| at.object.get(*cell).is_null()) {
                    return self.null_here(field);
                }
                self.object(fields, at)
            }
            What::Row { site, fields } => self.row(field, *site, fields, at.number),
            What::Rows { site, item_non_null, fields } => {
                let Some(page) = self.page(field, *site, at.number)? else { return self.null_here(field) };
                self.items(*site, page, *item_non_null, |writer, row| writer.stored(*site, fields, row))
            }
            What::Connection { site, fields } => {
                let Some(page) = self.page(field, *site, at.number)? else { return self.null_here(field) };
                let page = Some((*site, page));
                self.object(fields, At { object: Object::of(&[]), number: at.number, page })
            }
            What::Entities { list } => self.entities(field, *list),
            What::Introspection => {
                let json = self.operation.introspection.get(&*field.name);
                let json = json.map(serde_json::to_vec).and_then(Result::ok);
                self.out.extend_from_slice(json.as_deref().unwrap_or(b"null"));
                Ok(())
            }
            _ => match at.page {
                Some((site, page)) => self.paged(field, at, site, page),
                None => self.null_here(field),
            },
        }
    }

    /// The fields of connections, edges and page infos.
    fn paged(&mut self, field: &'a Out, at: At<'a>, site: usize, page: &'a Page) -> Written {
        let loaded = &self.data.sites[site];
        match &field.what {
            What::Nodes { fields } => {
                self.items(site, page, true, |writer, row| writer.stored(site, fields, row))
            }
            What::Edges { fields } => self.items(site, page, true, |writer, row| {
                writer.object(fields, At { object: Object::of(&[]), number: row, page: Some((site, page)) })
            }),
            What::Node { fields } => self.stored(site, fields, at.number),
            What::PageInfo { fields } => self.object(fields, at),
            What::Cursor => {
                self.cursor(loaded, page, at.number);
                Ok(())
            }
            What::StartCursor | What::EndCursor => {
                let mut there =
                    (page.start as usize..page.end as usize).filter(|row| loaded.rows[*row].is_some());
                let row =
                    if matches!(field.what, What::StartCursor) { there.next() } else { there.next_back() };
                match row {
                    Some(row) => {
                        self.cursor(loaded, page, row);
                        Ok(())
                    }
                    None => self.null_here(field),
                }
            }
            What::TotalCount => match page.total {
                Some(total) => {
                    wire::push_count(&mut self.out, total as u64);
                    Ok(())
                }
                None => self.null_here(field),
            },
            What::HasNext | What::HasPrevious => {
                let truth = if matches!(field.what, What::HasNext) { page.next } else { page.previous };
                self.out.extend_from_slice(if truth { b"true" } else { b"false" });
                Ok(())
            }
            _ => self.null_here(field),
        }
    }

    fn cursor(&mut self, loaded: &'a Loaded, page: &'a Page, row: usize) {
        let Some(stored) = &loaded.rows[row] else { return self.out.extend_from_slice(b"null") };
        let bucket = loaded.buckets.get(row).and_then(Option::as_deref).unwrap_or_default();
        self.out.push(b'"');
        let partition = if page.merged { stored.key.partition() } else { &[] };
        let mark = MarkRef { bucket, partition, clustering: stored.key.clustering() };
        self.signer.push_cursor(&mut self.out, &page.home, mark);
        self.out.push(b'"');
    }

    /// One row of a site, or null where it is not there.
    fn row(&mut self, field: &'a Out, site: usize, fields: &'a [Out], number: usize) -> Written {
        let loaded = &self.data.sites[site];
        match loaded.of.get(number) {
            Some(Target::At(row)) => {
                let row = *row as usize;
                if loaded.rows[row].is_some() {
                    return self.stored(site, fields, row);
                }
                self.mark_absent(site, row);
                self.null_here(field)
            }
            Some(Target::Fault(fault)) => self.fail(&loaded.faults[*fault as usize], field.place),
            Some(Target::Null) | None => self.null_here(field),
        }
    }

    /// A row that is there.
    fn stored(&mut self, site: usize, fields: &'a [Out], row: usize) -> Written {
        let Some(stored) = &self.data.sites[site].rows[row] else { return Err(Bubble) };
        if let Some(marks) = &mut self.marks {
            marks.row(self.operation.planned.sites[site].entity, stored, &self.path);
        }
        self.object(fields, At { object: Object::of(&stored.cells), number: row, page: None })
    }

    fn mark_absent(&mut self, site: usize, row: usize) {
        let Some(marks) = &mut self.marks else { return };
        let row = u32::try_from(row).expect("rows are counted in u32");
        if let Some(key) = self.data.sites[site].asked.get(&row) {
            marks.key(self.operation.planned.sites[site].entity, key, &self.path);
        }
    }

    fn page(&mut self, field: &'a Out, site: usize, number: usize) -> Result<Option<&'a Page>, Bubble> {
        let loaded = &self.data.sites[site];
        match loaded.of.get(number) {
            Some(Target::At(page)) => Ok(loaded.pages.get(*page as usize)),
            Some(Target::Fault(fault)) => {
                self.fail(&loaded.faults[*fault as usize], field.place)?;
                Ok(None)
            }
            Some(Target::Null) | None => Ok(None),
        }
    }

    /// A list of a page's rows.
    fn items(
        &mut self,
        site: usize,
        page: &'a Page,
        item_non_null: bool,
        mut write: impl FnMut(&mut Self, usize) -> Written,
    ) -> Written {
        let loaded = &self.data.sites[site];
        self.out.push(b'[');
        let mut index = 0;
        for row in page.start as usize..page.end as usize {
            if loaded.rows[row].is_none() {
                continue;
            }
            if index > 0 {
                self.out.push(b',');
            }
            let start = self.out.len();
            self.path.push(Step::Index(index));
            let written = write(self, row);
            self.path.pop();
            self.settle(written, item_non_null, start)?;
            index += 1;
        }
        self.out.push(b']');
        Ok(())
    }

    fn entities(&mut self, field: &'a Out, list: usize) -> Written {
        let types = &self.operation.planned.entity_lists[list].types;
        self.out.push(b'[');
        for (index, slot) in self.data.lists[list].iter().enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            self.check_room()?;
            let start = self.out.len();
            self.path.push(Step::Index(index));
            let written = match slot {
                Slot::Fault(fault) => self.fail(fault, field.place),
                Slot::Of { choice, parent } => self.entity(field, &types[*choice], *parent),
                Slot::OneOf(places) => self.one_of(field, types, places),
            };
            self.path.pop();
            self.settle(written, false, start)?;
        }
        self.out.push(b']');
        Ok(())
    }

    /// The entity of one of several types: the first that is there; none while one of them could not be read.
    fn one_of(&mut self, field: &'a Out, types: &'a [EntityChoice], places: &[(usize, usize)]) -> Written {
        let target = |(choice, parent): &(usize, usize)| {
            let loaded = &self.data.sites[types[*choice].site];
            match loaded.of[*parent] {
                Target::At(row) if loaded.rows[row as usize].is_none() => Target::Null,
                found => found,
            }
        };
        let there = places.iter().find(|place| matches!(target(place), Target::At(_)));
        let failed = || places.iter().find(|place| matches!(target(place), Target::Fault(_)));
        if let Some((choice, parent)) = there.or_else(failed) {
            return self.entity(field, &types[*choice], *parent);
        }
        for (choice, parent) in places {
            let site = types[*choice].site;
            if let Target::At(row) = self.data.sites[site].of[*parent] {
                self.mark_absent(site, row as usize);
            }
        }
        self.out.extend_from_slice(b"null");
        Ok(())
    }

    fn entity(&mut self, field: &'a Out, chosen: &'a EntityChoice, parent: usize) -> Written {
        let EntityChoice { site, fields, .. } = chosen;
        let site = *site;
        let loaded = &self.data.sites[site];
        match loaded.of[parent] {
            Target::At(row) if loaded.rows[row as usize].is_some() => {
                return self.stored(site, fields, row as usize);
            }
            Target::At(row) => self.mark_absent(site, row as usize),
            Target::Fault(fault) => return self.fail(&loaded.faults[fault as usize], field.place),
            Target::Null => {}
        }
        self.out.extend_from_slice(b"null");
        Ok(())
    }

    /// A value that is not null, at the path that is current.
    fn value(&mut self, field: &'a Out, shape: &'a Shape, value: &'a Value, number: usize) -> Written {
        match (shape, value) {
            (Shape::Scalar(scalar), value) if wire::push_scalar(&mut self.out, *scalar, value) => Ok(()),
            (Shape::Enum(id), Value::Text(name)) => {
                let values = &self.model.enumeration(*id).values;
                if values.iter().any(|value| **value == **name) {
                    wire::push_string(&mut self.out, name);
                    return Ok(());
                }
                let enumeration = &self.model.enumeration(*id).name;
                let message = format!("The stored value {name:?} is no value of the enum {enumeration}.");
                self.fail(&Fault::new(Code::Internal, message), field.place)
            }
            (Shape::Record(fields), Value::Record(cells)) => {
                self.object(fields, At { object: Object::of(cells), number, page: None })
            }
            (Shape::Variants(members), Value::Record(cells)) => {
                let there = members.iter().zip(cells.iter().skip(1));
                let mut found = there.filter_map(|(member, cell)| match cell {
                    Value::Record(cells) => {
                        Some((member, At { object: Object::of(cells), number, page: None }))
                    }
                    _ => None,
                });
                match found.next() {
                    Some((Member::Value(fields), at)) => self.object(fields, at),
                    Some((Member::Entity(what), at)) => self.compound(field, what, at),
                    None => self.null_here(field),
                }
            }
            (Shape::List { .. }, Value::List(values) | Value::Set(values)) => {
                self.list(field, shape, values.iter().map(|value| (None, value)), number)
            }
            (Shape::List { key, .. }, Value::Map(entries)) => {
                let entries = entries.iter().map(|(entry, value)| (key.map(|column| (column, entry)), value));
                self.list(field, shape, entries, number)
            }
            (Shape::References { item_non_null, what, set }, Value::List(keys) | Value::Set(keys)) => {
                let first = self.data.starts[*set].get(number).copied().unwrap_or_default() as usize;
                self.references(field, what, *item_non_null, (keys, first))
            }
            _ => {
                let message = format!("The stored value of `{}` is not of the field's type.", field.name);
                self.fail(&Fault::new(Code::Internal, message), field.place)
            }
        }
    }

    fn list(
        &mut self,
        field: &'a Out,
        shape: &'a Shape,
        elements: impl Iterator<Item = (Option<(usize, &'a Value)>, &'a Value)>,
        number: usize,
    ) -> Written {
        let Shape::List { item_non_null, item, set, .. } = shape else { return Ok(()) };
        let first =
            set.and_then(|set| self.data.starts[set].get(number)).copied().unwrap_or_default() as usize;
        self.out.push(b'[');
        for (index, (key, value)) in elements.enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            let start = self.out.len();
            self.path.push(Step::Index(index));
            let written = match (&**item, record(value, key)) {
                (Shape::Record(fields), Some(object)) => {
                    self.object(fields, At { object, number: first + index, page: None })
                }
                (item, _) if !value.is_null() => self.value(field, item, value, first + index),
                _ if *item_non_null => self.null_here(field),
                _ => {
                    self.out.extend_from_slice(b"null");
                    Ok(())
                }
            };
            self.path.pop();
            self.settle(written, *item_non_null, start)?;
        }
        self.out.push(b']');
        Ok(())
    }

    /// The entities that a list of keys leads to, in its order. One that is not there is null, or left out where the list
    /// holds no null. `first` is the number of the first key.
    fn references(
        &mut self,
        field: &'a Out,
        what: &'a What,
        item_non_null: bool,
        (keys, first): (&'a [Value], usize),
    ) -> Written {
        self.out.push(b'[');
        let mut index = 0;
        for (number, key) in (first..).zip(keys) {
            let Some(object) = element(key) else { continue };
            let is_absent = self.is_absent(what, number);
            if is_absent && item_non_null {
                continue;
            }
            if index > 0 {
                self.out.push(b',');
            }
            self.check_room()?;
            let start = self.out.len();
            self.path.push(Step::Index(index));
            let written = match is_absent {
                true => {
                    self.out.extend_from_slice(b"null");
                    Ok(())
                }
                false => self.compound(field, what, At { object, number, page: None }),
            };
            self.path.pop();
            self.settle(written, item_non_null, start)?;
            index += 1;
        }
        self.out.push(b']');
        Ok(())
    }

    /// Whether a key leads to a row that is not there.
    fn is_absent(&mut self, what: &'a What, number: usize) -> bool {
        let What::Row { site, .. } = what else { return false };
        let loaded = &self.data.sites[*site];
        match loaded.of.get(number) {
            Some(Target::At(row)) if loaded.rows[*row as usize].is_none() => {
                self.mark_absent(*site, *row as usize);
                true
            }
            Some(Target::Null) | None => true,
            Some(_) => false,
        }
    }

    /// Null for a field whose path is not pushed.
    fn null(&mut self, field: &'a Out) -> Written {
        if !field.non_null {
            self.out.extend_from_slice(b"null");
            return Ok(());
        }
        self.path.push(Step::Key(&field.name));
        let written = self.missing(field);
        self.path.pop();
        written
    }

    /// Null for a field whose path is pushed.
    fn null_here(&mut self, field: &'a Out) -> Written {
        if field.non_null {
            return self.missing(field);
        }
        self.out.extend_from_slice(b"null");
        Ok(())
    }

    fn missing(&mut self, field: &'a Out) -> Written {
        let message = format!("`{}` is null here, but its type has no null.", field.name);
        self.fail(&Fault::new(Code::Internal, message), field.place)
    }

    /// An error at the current path.
    fn fail(&mut self, fault: &Fault, place: Option<Place>) -> Written {
        if !self.errors.is_empty() {
            self.errors.push(b',');
        }
        push_error(&mut self.errors, fault, place.as_slice(), &self.path);
        Err(Bubble)
    }
}
