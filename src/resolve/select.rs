//! Plans an operation.
//!
//! Comes in: a valid operation and the values of its `@skip` and `@include`. Goes out: a [`Planned`]. Names are looked
//! up here, once; the others go by index. Nothing is read or written here.

use std::sync::Arc;

use apollo_compiler::Node;
use apollo_compiler::ast;
use apollo_compiler::executable as exe;

use crate::plan::{KeyLoad, Part, Plan, ReadPlan, ReadSource, Shape as Answers};
use crate::schema::{
    ColumnId, ColumnType, FieldId, FieldSource, FieldType, KeyPath, Named, ObjectType, ReadModel, RefDecl,
    TypeId, TypeKind,
};

use super::Caching;
use super::error::{Code, Fault, Place, Refusal};
use super::planned::{
    EntityChoice, EntityList, Load, Member, Out, PagingArguments, Planned, Read, Set, Shape, Site, Spot,
    Wants, What,
};
use super::wire;

/// What planning needs beside the operation.
pub(super) struct Planner<'a> {
    pub model: &'a ReadModel,
    pub plan: &'a Plan,
    pub document: &'a exe::ExecutableDocument,
    /// The values of variables in `@skip` and `@include`.
    pub conditions: &'a dyn Fn(&str) -> bool,
    pub introspection_allowed: bool,
    pub sdl: Arc<[u8]>,
    pub planned: Planned,
}

/// How an object's fields find their cells.
#[derive(Clone, Copy)]
pub(super) enum View<'v> {
    /// Cells are columns.
    Columns,
    /// Another subgraph's entity: the parts of its key are columns of the object that refers to it. Below `prefix`, the
    /// fields that lead to an entity inside its key.
    Referred { reference: &'v RefDecl, prefix: &'v [FieldId] },
    /// Another subgraph's entity from a representation: cells are fields.
    Represented,
}

/// Where a read's parent has the key fields, and the columns, that the read starts from.
type ParentCells = (Vec<(KeyPath, Vec<usize>)>, Vec<(ColumnId, usize)>);

type Selected<'s> = (&'s exe::Name, Vec<&'s Node<exe::Field>>);

impl<'a> Planner<'a> {
    /// Plans an operation.
    ///
    /// # Errors
    /// Introspection where it is off.
    pub fn plan(mut self, operation: &'a exe::Operation) -> Result<Planned, Refusal> {
        self.planned.sets.push(Set::Root);
        let root = Spot { set: 0, path: Vec::new() };
        let query = self.model.query;
        self.planned.root = self.object(query, View::Columns, &root, &[&operation.selection_set])?;
        for site in &mut self.planned.sites {
            site.columns.sort_unstable();
            site.columns.dedup();
        }
        self.planned.levels = self.planned.sites.iter().map(|site| site.level + 1).max().unwrap_or(0);
        self.planned.reads.sort_unstable();
        self.planned.reads.dedup();
        Ok(self.planned)
    }

    /// The fields of an object of a known type, fields of one response key merged.
    pub(super) fn object(
        &mut self,
        ty: TypeId,
        view: View<'_>,
        spot: &Spot,
        selections: &[&'a exe::SelectionSet],
    ) -> Result<Vec<Out>, Refusal> {
        let mut outs = Vec::new();
        for (key, fields) in self.collect(Some(self.model.ty(ty)), selections) {
            let first = fields[0];
            let what = if first.name == "__typename" {
                What::Fixed(json_text(&self.model.ty(ty).name))
            } else if ty == self.model.query && first.name.starts_with('_') {
                self.root_meta(&fields)?
            } else {
                self.field(ty, view, spot, &fields)?
            };
            outs.push(self.out(key, first, what));
        }
        Ok(outs)
    }

    fn out(&self, key: &str, field: &Node<exe::Field>, what: What) -> Out {
        let mut prefix = Vec::with_capacity(key.len() + 3);
        wire::push_string(&mut prefix, key);
        prefix.push(b':');
        let non_null = field.definition.ty.is_non_null();
        let place = place(field.location(), &self.document.sources);
        Out { name: key.into(), prefix: prefix.into(), non_null, place, what }
    }

    /// Response keys in the order of their first field, fragments opened, `@skip` and `@include` applied.
    fn collect(&self, ty: Option<&ObjectType>, selections: &[&'a exe::SelectionSet]) -> Vec<Selected<'a>> {
        let mut found: Vec<Selected<'a>> = Vec::new();
        for set in selections {
            self.collect_into(ty, set, &mut found);
        }
        found
    }

    fn collect_into(
        &self,
        ty: Option<&ObjectType>,
        set: &'a exe::SelectionSet,
        found: &mut Vec<Selected<'a>>,
    ) {
        for selection in &set.selections {
            if !self.included(selection.directives()) {
                continue;
            }
            match selection {
                exe::Selection::Field(field) => {
                    let key = field.response_key();
                    match found.iter_mut().find(|(name, _)| *name == key) {
                        Some((_, fields)) => fields.push(field),
                        None => found.push((key, vec![field])),
                    }
                }
                exe::Selection::InlineFragment(fragment) => {
                    if fragment.type_condition.as_ref().is_none_or(|condition| applies(condition, ty)) {
                        self.collect_into(ty, &fragment.selection_set, found);
                    }
                }
                exe::Selection::FragmentSpread(spread) => {
                    let fragment = self.document.fragments.get(&spread.fragment_name);
                    if let Some(fragment) = fragment.filter(|fragment| applies(fragment.type_condition(), ty))
                    {
                        self.collect_into(ty, &fragment.selection_set, found);
                    }
                }
            }
        }
    }

    fn included(&self, directives: &exe::DirectiveList) -> bool {
        let holds = |name: &str| {
            let value = directives.get(name)?.specified_argument_by_name("if")?;
            Some(match &**value {
                ast::Value::Boolean(truth) => *truth,
                ast::Value::Variable(variable) => (self.conditions)(variable),
                _ => false,
            })
        };
        !holds("skip").unwrap_or(false) && holds("include").unwrap_or(true)
    }

    fn root_meta(&mut self, fields: &[&'a Node<exe::Field>]) -> Result<What, Refusal> {
        let first = fields[0];
        match first.name.as_str() {
            "_service" => self.service(fields),
            "_entities" => self.entities(fields),
            _ if self.introspection_allowed => {
                self.planned.introspection = true;
                Ok(What::Introspection)
            }
            name => {
                let fault = Fault::new(
                    Code::BadUserInput,
                    format!("Introspection is off here: `{name}` cannot be selected."),
                );
                Err(Refusal::at(fault, place(first.location(), &self.document.sources)))
            }
        }
    }

    fn service(&mut self, fields: &[&'a Node<exe::Field>]) -> Result<What, Refusal> {
        let mut outs = Vec::new();
        for (key, fields) in self.collect(None, &sets(fields)) {
            let json = if fields[0].name == "sdl" { self.sdl.clone() } else { json_text("_Service") };
            outs.push(self.out(key, fields[0], What::Fixed(json)));
        }
        Ok(What::Object(outs))
    }

    fn entities(&mut self, fields: &[&'a Node<exe::Field>]) -> Result<What, Refusal> {
        let Some(representations) = fields[0].specified_argument_by_name("representations") else {
            return Err(Refusal::of(Fault::new(Code::BadUserInput, "`_entities` needs `representations`.")));
        };
        let mut types = Vec::new();
        for (index, object) in self.model.types.iter().enumerate() {
            let resolvable = object.keys.iter().any(|key| key.resolvable);
            if !matches!(object.kind, TypeKind::Entity | TypeKind::Stub) || !resolvable {
                continue;
            }
            let ty = TypeId(u32::try_from(index).expect("types are counted in u32"));
            let root = Spot { set: 0, path: Vec::new() };
            let site = self.site(root, Load::Entities, ty);
            let view = if object.kind == TypeKind::Stub { View::Represented } else { View::Columns };
            let spot = Spot { set: self.planned.sites[site].rows, path: Vec::new() };
            let fields = self.object(ty, view, &spot, &sets(fields))?;
            types.push(EntityChoice { ty, site, fields });
        }
        self.keep_at_most(Caching { max_age_s: 0, is_private: false });
        self.planned.entity_lists.push(EntityList { representations: representations.clone(), types });
        Ok(What::Entities { list: self.planned.entity_lists.len() - 1 })
    }

    fn field(
        &mut self,
        ty: TypeId,
        view: View<'_>,
        spot: &Spot,
        fields: &[&'a Node<exe::Field>],
    ) -> Result<What, Refusal> {
        let object = self.model.ty(ty);
        let first = fields[0];
        let Some(id) = object.field_named(&first.name) else {
            let cause =
                format!("{}.{} is in the served schema but not in the read model", object.name, first.name);
            return Err(Refusal::of(Fault::internal("planning an operation", cause)));
        };
        let field = object.field(id);
        match &field.source {
            FieldSource::Ref(reference) => match &field.ty {
                FieldType::List { of, .. } => self.references(ty, of.non_null(), reference, spot, fields),
                FieldType::Named { .. } => self.reference(ty, view, reference, spot, fields),
            },
            FieldSource::Read(_) => self.read(ty, id, view, spot, fields),
            FieldSource::Column(_) | FieldSource::External | FieldSource::Page => {
                self.value(ty, id, &field.ty, view, spot, fields)
            }
        }
    }

    fn value(
        &mut self,
        ty: TypeId,
        id: FieldId,
        declared: &FieldType,
        view: View<'_>,
        spot: &Spot,
        fields: &[&'a Node<exe::Field>],
    ) -> Result<What, Refusal> {
        if let Some(what) = self.inner_entity(ty, id, view, spot, fields)? {
            return Ok(what);
        }
        let Some(cell) = self.cell(ty, id, view) else { return Ok(What::Nothing) };
        self.need(spot, cell);
        let column = match (view, &self.model.ty(ty).field(id).source) {
            (View::Columns, FieldSource::Column(column)) => {
                Some(self.model.ty(ty).column(*column).ty.clone())
            }
            _ => None,
        };
        let view = if let View::Represented = view { View::Represented } else { View::Columns };
        let shape = self.shape(declared, column.as_ref(), view, spot, cell, fields)?;
        Ok(What::Value { cell, shape })
    }

    /// The form of a value: the field says how it is answered, the column how it is stored.
    fn shape(
        &mut self,
        declared: &FieldType,
        column: Option<&ColumnType>,
        view: View<'_>,
        spot: &Spot,
        cell: usize,
        fields: &[&'a Node<exe::Field>],
    ) -> Result<Shape, Refusal> {
        match declared {
            FieldType::Named { name: Named::Scalar(scalar), .. } => Ok(Shape::Scalar(*scalar)),
            FieldType::Named { name: Named::Enum(id), .. } => Ok(Shape::Enum(*id)),
            FieldType::Named { name: Named::Object(record), .. } => {
                let mut path = spot.path.clone();
                path.push(cell);
                let inside = Spot { set: spot.set, path };
                if self.model.ty(*record).kind == TypeKind::Variants {
                    return self.variants(*record, &inside, fields);
                }
                Ok(Shape::Record(self.object(*record, view, &inside, &sets(fields))?))
            }
            FieldType::List { of, .. } => self.list(of, column, view, spot, cell, fields),
        }
    }

    /// What is selected of an interface or union, for each of its members.
    fn variants(
        &mut self,
        ty: TypeId,
        spot: &Spot,
        fields: &[&'a Node<exe::Field>],
    ) -> Result<Shape, Refusal> {
        let mut members = Vec::new();
        for (cell, column) in self.model.ty(ty).columns.iter().enumerate().skip(1) {
            let ColumnType::Record(member) = column.ty else { continue };
            let mut inside = spot.clone();
            inside.path.push(cell);
            let object = self.model.ty(member);
            let reference = match (object.kind, object.fields.first().map(|field| &field.source)) {
                (TypeKind::Key { .. }, Some(FieldSource::Ref(reference))) => Some(reference),
                _ => None,
            };
            members.push(match reference {
                Some(reference) => {
                    let what = self.reference(member, View::Columns, reference, &inside, fields)?;
                    Member::Entity(Box::new(what))
                }
                None => Member::Value(self.object(member, View::Columns, &inside, &sets(fields))?),
            });
        }
        Ok(Shape::Variants(members))
    }

    fn list(
        &mut self,
        of: &FieldType,
        column: Option<&ColumnType>,
        view: View<'_>,
        spot: &Spot,
        cell: usize,
        fields: &[&'a Node<exe::Field>],
    ) -> Result<Shape, Refusal> {
        let key = match column {
            Some(ColumnType::Map { key, .. }) => Some(key.0 as usize),
            _ => None,
        };
        let item_non_null = of.non_null();
        let FieldType::Named { name: Named::Object(record), .. } = of else {
            let item = Box::new(self.shape(of, None, view, spot, cell, fields)?);
            return Ok(Shape::List { item_non_null, item, set: None, key });
        };
        let sites_before = self.planned.sites.len();
        let level = self.level_below(spot.set);
        self.planned.sets.push(Set::Elements { of: spot.set, path: spot.path.clone(), cell, key, level });
        let set = self.planned.sets.len() - 1;
        let inside = Spot { set, path: Vec::new() };
        let item = Box::new(match self.model.ty(*record).kind {
            TypeKind::Variants => self.variants(*record, &inside, fields)?,
            _ => Shape::Record(self.object(*record, view, &inside, &sets(fields))?),
        });
        let loads = self.planned.sites.len() > sites_before;
        Ok(Shape::List { item_non_null, item, set: loads.then_some(set), key })
    }

    /// What is read of several is kept as the narrowest of them says.
    fn keep_at_most(&mut self, caching: Caching) {
        let before = self.planned.caching.unwrap_or(caching);
        self.planned.caching = Some(Caching {
            max_age_s: before.max_age_s.min(caching.max_age_s),
            is_private: before.is_private || caching.is_private,
        });
    }

    fn read(
        &mut self,
        ty: TypeId,
        id: FieldId,
        view: View<'_>,
        spot: &Spot,
        fields: &[&'a Node<exe::Field>],
    ) -> Result<What, Refusal> {
        let Some(index) = self.plan.reads.iter().position(|read| read.parent == ty && read.field == id)
        else {
            let cause = format!("{}.{} is not bound to a table", self.model.ty(ty).name, fields[0].name);
            return Err(Refusal::of(Fault::internal("planning an operation", cause)));
        };
        let bound = &self.plan.reads[index];
        if let FieldSource::Read(decl) = &self.model.ty(ty).field(id).source {
            self.keep_at_most(Caching { max_age_s: decl.max_age_s, is_private: decl.is_private });
        }
        let (stub_cells, column_cells) = self.parent_cells(ty, view, spot, bound);
        let (arguments, paging) = self.arguments(ty, id, fields[0]);
        let read = Read { read: index, arguments, stub_cells, column_cells, paging, wants: Wants::default() };
        let site = self.site(spot.clone(), Load::Read(Box::new(read)), bound.entity);
        match bound.shape {
            Answers::One => Ok(What::Row { site, fields: self.rows_of(site, fields)? }),
            Answers::List { .. } => {
                self.want(site, |wants| wants.rows = true);
                let declared = &self.model.ty(ty).field(id).ty;
                let item_non_null = matches!(declared, FieldType::List { of, .. } if of.non_null());
                Ok(What::Rows { site, item_non_null, fields: self.rows_of(site, fields)? })
            }
            Answers::Connection { .. } => {
                let named = self.model.ty(ty).field(id).ty.named();
                let Named::Object(connection) = named else {
                    return Err(Refusal::of(Fault::internal(
                        "planning an operation",
                        "a connection is not an object",
                    )));
                };
                Ok(What::Connection { site, fields: self.connection(site, connection, fields)? })
            }
        }
    }

    /// The parent's cells that a read starts from.
    fn parent_cells(&mut self, ty: TypeId, view: View<'_>, spot: &Spot, bound: &ReadPlan) -> ParentCells {
        let (mut stub_cells, mut column_cells) = ParentCells::default();
        let partition = bound.partition.iter().filter_map(|part| match part {
            Part::From(source) => Some(source),
            Part::EachBucket | Part::EachShard(_) => None,
        });
        for source in partition.chain(&bound.equal).chain(bound.bounds.iter().map(|(_, source)| source)) {
            match source {
                ReadSource::Argument(_) => {}
                ReadSource::ParentColumn(column) => {
                    let cell = self.cell_of_column(ty, *column, view);
                    self.need(spot, cell);
                    column_cells.push((*column, cell));
                }
                ReadSource::ParentField(path) => {
                    if let Some(cells) = key_cells(path, view) {
                        self.need(spot, cells[0]);
                        stub_cells.push((path.clone(), cells));
                    }
                }
            }
        }
        (stub_cells, column_cells)
    }

    fn arguments(
        &self,
        ty: TypeId,
        id: FieldId,
        field: &Node<exe::Field>,
    ) -> (Vec<Option<Node<ast::Value>>>, PagingArguments) {
        let given = |name: &str| field.argument_by_name(name).ok().cloned();
        let declared = &self.model.ty(ty).field(id).args;
        let paging =
            |name: &str| declared.iter().any(|argument| argument.name == name).then(|| given(name)).flatten();
        let arguments = declared.iter().map(|argument| given(&argument.name)).collect();
        (
            arguments,
            PagingArguments {
                first: paging("first"),
                last: paging("last"),
                after: paging("after"),
                before: paging("before"),
            },
        )
    }

    fn connection(
        &mut self,
        site: usize,
        ty: TypeId,
        fields: &[&'a Node<exe::Field>],
    ) -> Result<Vec<Out>, Refusal> {
        let mut outs = Vec::new();
        for (key, fields) in self.collect(Some(self.model.ty(ty)), &sets(fields)) {
            let what = match fields[0].name.as_str() {
                "edges" => {
                    self.want(site, |wants| wants.rows = true);
                    What::Edges { fields: self.edge(site, &fields)? }
                }
                "nodes" => {
                    self.want(site, |wants| wants.rows = true);
                    What::Nodes { fields: self.rows_of(site, &fields)? }
                }
                "totalCount" => {
                    self.want(site, |wants| wants.total = true);
                    What::TotalCount
                }
                "pageInfo" => What::PageInfo { fields: self.page_info(site, &fields) },
                "__typename" => What::Fixed(json_text(&self.model.ty(ty).name)),
                _ => What::Nothing,
            };
            outs.push(self.out(key, fields[0], what));
        }
        Ok(outs)
    }

    fn edge(&mut self, site: usize, fields: &[&'a Node<exe::Field>]) -> Result<Vec<Out>, Refusal> {
        let ty = fields[0].selection_set.ty.clone();
        let mut outs = Vec::new();
        for (key, fields) in
            self.collect(self.model.type_named(&ty).map(|ty| self.model.ty(ty)), &sets(fields))
        {
            let what = match fields[0].name.as_str() {
                "cursor" => {
                    self.want(site, |wants| wants.cursors = true);
                    What::Cursor
                }
                "node" => What::Node { fields: self.rows_of(site, &fields)? },
                "__typename" => What::Fixed(json_text(&ty)),
                _ => What::Nothing,
            };
            outs.push(self.out(key, fields[0], what));
        }
        Ok(outs)
    }

    fn page_info(&mut self, site: usize, fields: &[&'a Node<exe::Field>]) -> Vec<Out> {
        let ty = fields[0].selection_set.ty.clone();
        let mut outs = Vec::new();
        for (key, fields) in
            self.collect(self.model.type_named(&ty).map(|ty| self.model.ty(ty)), &sets(fields))
        {
            let what = match fields[0].name.as_str() {
                "hasNextPage" => {
                    self.want(site, |wants| wants.next = true);
                    What::HasNext
                }
                "hasPreviousPage" => {
                    self.want(site, |wants| wants.previous = true);
                    What::HasPrevious
                }
                "startCursor" => {
                    self.want(site, |wants| wants.cursors = true);
                    What::StartCursor
                }
                "endCursor" => {
                    self.want(site, |wants| wants.cursors = true);
                    What::EndCursor
                }
                "__typename" => What::Fixed(json_text(&ty)),
                _ => What::Nothing,
            };
            outs.push(self.out(key, fields[0], what));
        }
        outs
    }

    fn want(&mut self, site: usize, set: impl Fn(&mut Wants)) {
        if let Load::Read(read) = &mut self.planned.sites[site].load {
            set(&mut read.wants);
        }
    }

    /// The fields of a site's rows.
    pub(super) fn rows_of(
        &mut self,
        site: usize,
        fields: &[&'a Node<exe::Field>],
    ) -> Result<Vec<Out>, Refusal> {
        let Site { entity, rows, .. } = self.planned.sites[site];
        let spot = Spot { set: rows, path: Vec::new() };
        self.object(entity, View::Columns, &spot, &sets(fields))
    }

    pub(super) fn site(&mut self, parent: Spot, load: Load, entity: TypeId) -> usize {
        let level = self.level_below(parent.set);
        let site = self.planned.sites.len();
        self.planned.sets.push(Set::Rows(site));
        let rows = self.planned.sets.len() - 1;
        if self.model.ty(entity).kind == TypeKind::Entity && !matches!(load, Load::Entities) {
            self.planned.reads.push(entity);
        }
        self.planned.sites.push(Site { parent, level, load, entity, columns: Vec::new(), rows });
        site
    }

    /// The level at which what hangs from a set can be loaded.
    pub(super) fn level_below(&self, set: usize) -> usize {
        match &self.planned.sets[set] {
            Set::Root => 0,
            Set::Rows(site) => self.planned.sites[*site].level + 1,
            Set::Elements { level, .. } => *level,
        }
    }

    /// Notes that a cell is wanted; of a row's columns only these are read.
    pub(super) fn need(&mut self, spot: &Spot, cell: usize) {
        if let Set::Rows(site) = self.planned.sets[spot.set] {
            let column = spot.path.first().copied().unwrap_or(cell);
            self.planned.sites[site]
                .columns
                .push(ColumnId(u32::try_from(column).expect("columns are counted in u32")));
        }
    }

    fn cell(&self, ty: TypeId, id: FieldId, view: View<'_>) -> Option<usize> {
        match view {
            View::Columns => column_of(self.model.ty(ty).field(id)).map(|column| column.0 as usize),
            View::Represented => Some(id.0 as usize),
            View::Referred { .. } => key_cells(&[id], view).map(|cells| cells[0]),
        }
    }

    pub(super) fn cell_of_column(&self, ty: TypeId, column: ColumnId, view: View<'_>) -> usize {
        let object = self.model.ty(ty);
        let by_field = |view| {
            let id = object.fields.iter().position(|field| column_of(field) == Some(column))?;
            self.cell(ty, FieldId(u32::try_from(id).expect("fields are counted in u32")), view)
        };
        match view {
            View::Columns => column.0 as usize,
            other => by_field(other).unwrap_or(column.0 as usize),
        }
    }
}

/// Where a part of the key of another subgraph's entity is: a column of what refers to it, or what was sent of it, inside
/// records where the part is nested.
fn key_cells(path: &[FieldId], view: View<'_>) -> Option<Vec<usize>> {
    match view {
        View::Columns => None,
        View::Represented => Some(path.iter().map(|id| id.0 as usize).collect()),
        View::Referred { reference, prefix } => {
            let path = [prefix, path].concat();
            reference.key.iter().find(|(key, _)| *key == path).map(|(_, column)| vec![column.0 as usize])
        }
    }
}

/// Line and column of a node.
pub(super) fn place(
    location: Option<apollo_compiler::parser::SourceSpan>,
    sources: &apollo_compiler::parser::SourceMap,
) -> Option<Place> {
    let at = location?.line_column(sources)?;
    Some(Place { line: u32::try_from(at.line).ok()?, column: u32::try_from(at.column).ok()? })
}

/// Whether all key columns of a way to load are known: then one row is read, by its key.
pub(super) fn is_point(load: &KeyLoad, clustering: usize) -> bool {
    let known = |parts: &[Part<usize>]| parts.iter().all(|part| matches!(part, Part::From(_)));
    load.clustering.len() == clustering && known(&load.clustering) && known(&load.partition)
}

/// Whether a fragment is about a type: by its own name, that of an interface or union of it, or the union of all entities.
/// `None`: a type of the federation's own, which has no other name.
fn applies(condition: &str, ty: Option<&ObjectType>) -> bool {
    ty.is_none_or(|ty| {
        condition == ty.name || condition == "_Entity" || ty.belongs_to.iter().any(|name| condition == name)
    })
}

fn column_of(field: &crate::schema::Field) -> Option<ColumnId> {
    match field.source {
        FieldSource::Column(column) => Some(column),
        _ => None,
    }
}

pub(super) fn sets<'s>(fields: &[&'s Node<exe::Field>]) -> Vec<&'s exe::SelectionSet> {
    fields.iter().map(|field| &field.selection_set).collect()
}

/// A JSON string.
pub(super) fn json_text(text: &str) -> Arc<[u8]> {
    let mut out = Vec::with_capacity(text.len() + 2);
    wire::push_string(&mut out, text);
    out.into()
}
