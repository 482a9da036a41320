//! Binds every read to exactly one table.
//!
//! Comes in: a model and its tables. Goes out: a [`ReadPlan`] for each `@read`, or the faults, each with the
//! `@table` line that is missing. No read ever needs filtering.

use std::sync::Arc;

use super::fit::{Fit, Given, Misfit, fit};
use super::index::Bound;
use super::{
    EntityPlan, KeyColumn, Part, ReadPlan, ReadSource, Shape, TableId, TablePlan, TableRole, refuse,
};
use crate::diagnostic::{Diagnostic, nearest};
use crate::schema::{
    ArgOp, Argument, ArgumentBinding, ColumnId, Field, FieldId, FieldSource, FieldType, Named, ObjectType,
    Order, ReadDecl, ReadModel, RefDecl, TypeId, TypeKind,
};

/// What reads are bound against.
pub(super) struct Ground<'a> {
    pub model: &'a ReadModel,
    pub tables: &'a [Arc<TablePlan>],
    pub entities: &'a [EntityPlan],
}

/// What one read asks for.
pub(super) struct Asked<'a> {
    pub parent: TypeId,
    field_id: FieldId,
    pub field: &'a Field,
    pub decl: &'a ReadDecl,
    pub entity: TypeId,
    pub shape: Shape,
    pub given: Vec<Given>,
    /// What fills each of `given`.
    pub sources: Vec<ReadSource>,
    pub bounds: Vec<(ColumnId, ArgOp, ReadSource)>,
    /// The vector whose nearest rows are asked for, and what they are near to.
    pub nearest: Option<(ColumnId, ReadSource)>,
}

impl Ground<'_> {
    /// Binds all reads of all types.
    pub(super) fn reads(&self, faults: &mut Vec<Diagnostic>) -> Vec<ReadPlan> {
        let mut reads = Vec::new();
        for (index, ty) in self.model.types.iter().enumerate() {
            let parent = TypeId(u32::try_from(index).expect("types are counted in u32"));
            for (field_index, field) in ty.fields.iter().enumerate() {
                let field_id = FieldId(u32::try_from(field_index).expect("fields are counted in u32"));
                let FieldSource::Read(decl) = &field.source else { continue };
                let faults_before = faults.len();
                let asked = self.asked(parent, field_id, field, decl, faults);
                if faults.len() > faults_before {
                    continue;
                }
                match self.bind(&asked) {
                    Ok(read) => reads.push(read),
                    Err(fault) => faults.push(*fault),
                }
            }
        }
        reads
    }

    fn asked<'a>(
        &self,
        parent: TypeId,
        field_id: FieldId,
        field: &'a Field,
        decl: &'a ReadDecl,
        faults: &mut Vec<Diagnostic>,
    ) -> Asked<'a> {
        let (entity, shape) = self.answers(field, decl);
        let (given, sources, bounds) = (Vec::new(), Vec::new(), Vec::new());
        let mut asked =
            Asked { parent, field_id, field, decl, entity, shape, given, sources, bounds, nearest: None };
        if self.model.ty(parent).kind == TypeKind::Query {
            if decl.via.is_some() {
                let fault = Diagnostic::error("S072", decl.span, "`via` has no use on a field of `Query`");
                faults.push(
                    fault
                        .label("no parent")
                        .help("Remove it: only a field of another type has a parent row."),
                );
            }
        } else if let Err(fault) = self.add_parent(&mut asked) {
            faults.push(*fault);
        }
        for (index, argument) in field.args.iter().enumerate() {
            if let Err(fault) = self.add_argument(&mut asked, index, argument) {
                faults.push(*fault);
            }
        }
        asked
    }

    fn answers(&self, field: &Field, decl: &ReadDecl) -> (TypeId, Shape) {
        let Named::Object(answer) = field.ty.named() else { unreachable!("a read answers an object type") };
        let (page, max) = (decl.page, decl.max);
        match self.model.ty(answer).kind {
            TypeKind::Connection { node } => {
                (node, Shape::Connection { page, max, lookback_ms: decl.lookback_ms, counted: decl.counted })
            }
            _ if matches!(field.ty, FieldType::List { .. }) => (answer, Shape::List { page, max }),
            _ => (answer, Shape::One),
        }
    }

    /// The parent binds through the child's reference to it.
    fn add_parent(&self, asked: &mut Asked<'_>) -> Result<(), Box<Diagnostic>> {
        let (child, parent) = (self.model.ty(asked.entity), self.model.ty(asked.parent));
        if self.add_header(asked, child) {
            return Ok(());
        }
        let reference = self.reference_back(asked, child, parent)?;
        for (key, column) in &reference.key {
            let source = match (self.model.key_column(asked.parent, key), parent.kind) {
                (Some(column), TypeKind::Entity) => ReadSource::ParentColumn(column),
                _ => ReadSource::ParentField(key.clone()),
            };
            asked.given.push(Given::Column(*column));
            asked.sources.push(source);
        }
        Ok(())
    }

    /// A header binds its rows by their common partition, where no reference says otherwise.
    fn add_header(&self, asked: &mut Asked<'_>, child: &ObjectType) -> bool {
        let refers = |field: &Field| matches!(&field.source, FieldSource::Ref(decl) if decl.target == asked.parent && !is_list(&field.ty));
        if asked.decl.via.is_some() || child.fields.iter().any(refers) {
            return false;
        }
        let mut headers = self.tables.iter().filter(|table| table.entity == asked.parent);
        let Some(header) = headers.find(|table| table.heads.is_some()) else { return false };
        let rows = header.heads.map(|rows| &self.tables[rows.0 as usize]);
        let Some(rows) = rows.filter(|rows| rows.entity == asked.entity) else { return false };
        for (of_rows, of_header) in rows.partition.iter().zip(&header.partition) {
            asked.given.push(Given::Column(of_rows.part.column));
            asked.sources.push(ReadSource::ParentColumn(of_header.part.column));
        }
        true
    }

    fn reference_back<'m>(
        &self,
        asked: &Asked<'_>,
        child: &'m ObjectType,
        parent: &ObjectType,
    ) -> Result<&'m RefDecl, Box<Diagnostic>> {
        let back: Vec<(&str, &RefDecl)> = child
            .fields
            .iter()
            .filter_map(|field| match &field.source {
                FieldSource::Ref(decl) if decl.target == asked.parent && !is_list(&field.ty) => {
                    Some((field.name.as_str(), decl))
                }
                _ => None,
            })
            .collect();
        let names = || back.iter().map(|(name, _)| *name);
        let fault = |message: String| Diagnostic::error("S072", asked.decl.span, message);
        match (&asked.decl.via, &back[..]) {
            (Some(via), _) => match back.iter().find(|(name, _)| name == via) {
                Some((_, decl)) => Ok(decl),
                None => {
                    let fault =
                        fault(format!("`{}` has no `@ref` field `{via}` to `{}`", child.name, parent.name))
                            .label("not a reference back");
                    Err(Box::new(match nearest(via, names()) {
                        Some(near) => fault.help(format!("Did you mean `{near}`?")).fix_name(via, names()),
                        None => fault.help(format!("References to `{}`: {}.", parent.name, list(names()))),
                    }))
                }
            },
            (None, [(_, decl)]) => Ok(decl),
            (None, []) => Err(fault(format!("nothing in `{}` leads back to `{}`", child.name, parent.name))
                .label("no reference back")
                .help(format!(
                    "Add a reference to `{}`: `{}: {} @ref(key: \"{}Id\")`.",
                    child.name,
                    lower_first(&parent.name),
                    parent.name,
                    lower_first(&parent.name)
                ))
                .into()),
            (None, _) => {
                Err(fault(format!("`{}` leads back to `{}` by {}", child.name, parent.name, list(names())))
                    .label("which one?")
                    .help(format!("Choose: `@read(via: \"{}\")`.", back[0].0))
                    .into())
            }
        }
    }

    fn bind(&self, asked: &Asked<'_>) -> Result<ReadPlan, Box<Diagnostic>> {
        let (found, nearest) = match &asked.nearest {
            Some(wanted) => self.nearest(asked, wanted).map(|(bound, nearest)| (bound, Some(nearest)))?,
            None => match &asked.decl.table {
                Some(name) => (self.named(asked, name)?, None),
                None => (self.inferred(asked)?, None),
            },
        };
        let Bound { table, fit, ranged, filters } = found;
        if asked.decl.lookback_ms.is_some() && !fit.walks_buckets() {
            let message = format!("`lookback` has no use: no buckets of `{}` are walked", table.name);
            let fault = Diagnostic::error("S073", asked.decl.span, message).label("no buckets");
            return Err(fault.help("Remove it, or read a table whose partition has a time bucket.").into());
        }
        let source = |part: &Part<usize>| match part {
            Part::From(index) => Part::From(asked.sources[*index].clone()),
            Part::EachBucket => Part::EachBucket,
            Part::EachShard(shards) => Part::EachShard(*shards),
        };
        Ok(ReadPlan {
            parent: asked.parent,
            field: asked.field_id,
            table: table.id,
            entity: asked.entity,
            arguments: asked.field.args.iter().map(|argument| self.read_as(asked.entity, argument)).collect(),
            partition: fit.partition.iter().map(source).collect(),
            equal: fit.equal.iter().map(|&index| asked.sources[index].clone()).collect(),
            bounds: asked
                .bounds
                .iter()
                .filter(|(column, ..)| table.clustering.iter().any(|key| key.part.column == *column))
                .map(|(_, op, source)| (*op, source.clone()))
                .collect(),
            shape: asked.shape,
            reversed: self.reversed(asked, table, &fit)?,
            completed: !table.complete || ranged.is_some(),
            ranged,
            filters,
            nearest,
        })
    }

    /// Whether a read is asked for in the reverse of what its table is sorted by.
    fn reversed(&self, asked: &Asked<'_>, table: &TablePlan, fit: &Fit) -> Result<bool, Box<Diagnostic>> {
        let Some((wanted, at)) = &asked.decl.order else { return Ok(false) };
        let open = &table.clustering[fit.equal.len()..];
        let is_named = |(key, (name, _)): (&KeyColumn, &(String, Order))| key.part.name == *name;
        // What we have appended to the clustering need not be named: it follows the rest.
        let is_whole = wanted.len() <= open.len()
            && wanted.len() + table.appended >= open.len()
            && open.iter().zip(wanted).all(is_named);
        let mut turned = open.iter().zip(wanted).map(|(key, (_, order))| key.order != *order);
        let first = turned.next().unwrap_or(false);
        if is_whole && turned.all(|other| other == first) {
            return Ok(first);
        }
        let field = format!("{}.{}", self.model.ty(asked.parent).name, asked.field.name);
        let message =
            format!("`order` of `{field}` is neither the order of `{}` nor its reverse", table.name);
        let fault = Diagnostic::error("S074", *at, message).label("another order");
        Err(match open.is_empty() {
            true => fault.help("It reads one row. Leave `order` out."),
            false => fault.help(format!(
                "It reads \"{}\", or \"{}\". For another order add a `@table` that is sorted so.",
                sorted(open, false),
                sorted(open, true)
            )),
        }
        .into())
    }

    fn read_as(&self, entity: TypeId, argument: &Argument) -> Option<Named> {
        let ArgumentBinding::Column { column, .. } = &argument.binds else { return None };
        let child = self.model.ty(entity);
        let column = child.column_named(column).or_else(|| self.named_part(entity, column))?;
        let ty = &child.column(column).ty;
        self.model.element(ty).unwrap_or(ty).named()
    }

    fn named(&self, asked: &Asked<'_>, name: &str) -> Result<Bound<'_>, Box<Diagnostic>> {
        let child = self.model.ty(asked.entity);
        let declared = || self.tables_of(asked.entity).filter(|table| !is_index(table));
        let names = || declared().map(|table| table.name.as_str());
        let Some(table) = declared().find(|table| table.name == name) else {
            let message = format!("`{}` has no table `{name}`", child.name);
            let fault = Diagnostic::error("S071", asked.decl.span, message).label("not a table");
            return Err(Box::new(match nearest(name, names()) {
                Some(near) => fault.help(format!("Did you mean `{near}`?")).fix_name(name, names()),
                None => fault.help(format!("Its tables: {}.", list(names()))),
            }));
        };
        match self.fit(asked, table) {
            Ok(fit) => Ok(Bound::by_key(table, fit)),
            Err(misfit) => match self.index_of(asked, table)? {
                Some(found) => Ok(found),
                None => Err(Box::new(self.refused(asked, Some(table), &misfit))),
            },
        }
    }

    /// The table that fits best: all parts given before walks, the base table before copies. A copy with a `where`
    /// holds only some rows, so it is never taken unasked.
    fn inferred(&self, asked: &Asked<'_>) -> Result<Bound<'_>, Box<Diagnostic>> {
        let mut fits: Vec<((usize, usize, u8), Bound<'_>)> = Vec::new();
        let mut misfit: Option<(&TablePlan, Misfit)> = None;
        let mut filtered = None;
        // An index of other `ops` is only the reason where no table answers.
        let mut other_ops = None;
        for table in self.tables_of(asked.entity) {
            if is_index(table) {
                continue;
            }
            let fitted = match self.fit(asked, table) {
                Err(misfit) => match self.index_of(asked, table).unwrap_or_else(|fault| {
                    other_ops.get_or_insert(fault);
                    None
                }) {
                    Some(bound) => {
                        fits.push((rank(asked, &bound), bound));
                        continue;
                    }
                    None => Err(misfit),
                },
                fit => fit,
            };
            match fitted {
                Ok(fit) if table.filter.is_none() => {
                    let bound = Bound::by_key(table, fit);
                    fits.push((rank(asked, &bound), bound));
                }
                Ok(_) => {
                    let why = format!(
                        "`{0}` holds only the rows of its `where`, so it must be named: `@read(table: \"{0}\")`",
                        table.name
                    );
                    filtered = filtered.or(Some((table, Misfit::Clustering(why))));
                }
                Err(found) => {
                    let is_nearer = matches!(found, Misfit::Clustering(_))
                        && !matches!(misfit, Some((_, Misfit::Clustering(_))));
                    if misfit.is_none() || is_nearer {
                        misfit = Some((table, found));
                    }
                }
            }
        }
        fits.sort_by_key(|(rank, _)| *rank);
        if let [(first, Bound { table: a, .. }), (second, Bound { table: b, .. }), ..] = &fits[..]
            && first == second
        {
            let message = format!("`{}` could read `{}` or `{}`", asked.field.name, a.name, b.name);
            return Err(Diagnostic::error("S071", asked.decl.span, message)
                .label("which one?")
                .help(format!("Say which: `@read(table: \"{}\")`.", a.name))
                .into());
        }
        if let (true, Some(fault)) = (fits.is_empty(), other_ops) {
            return Err(fault);
        }
        match (fits.into_iter().next(), filtered.or(misfit)) {
            (Some((_, bound)), _) => Ok(bound),
            (None, Some((table, misfit))) => Err(Box::new(self.refused(asked, Some(table), &misfit))),
            (None, None) => unreachable!("an entity has a table, which fits or does not"),
        }
    }

    pub(super) fn fit(&self, asked: &Asked<'_>, table: &TablePlan) -> Result<Fit, Misfit> {
        let child = self.model.ty(asked.entity);
        let name = |column: ColumnId| child.column(column).name.clone();
        let range = asked.bounds.first().map(|(column, ..)| *column);
        if let Some((other, ..)) = asked.bounds.iter().find(|(column, ..)| Some(*column) != range) {
            let first = range.map(name).unwrap_or_default();
            return Err(Misfit::Clustering(format!("`{first}` and `{}` are both bounded", name(*other))));
        }
        fit(table, &asked.given, range, &name)
    }

    pub(super) fn refused(
        &self,
        asked: &Asked<'_>,
        table: Option<&TablePlan>,
        misfit: &Misfit,
    ) -> Diagnostic {
        let parent = self.model.ty(asked.parent);
        let field = format!("{}.{}", parent.name, asked.field.name);
        let child = self.model.ty(asked.entity);
        let line = self.missing_table(asked);
        // A read that names its table would not take another.
        let unnamed = line.as_deref().filter(|_| asked.decl.table.is_none());
        let fix = unnamed.and_then(|line| refuse::add_table(child, line));
        let index = self.missing_index(asked);
        let help = match line {
            _ if index.is_some() => index.unwrap_or_default(),
            Some(line) => format!("Add to `{}`: {line}", child.name),
            None => {
                "Every read names its partition. Give the field an argument that is a column of a table's \
                     partition, such as the customer, the category or the day."
                    .to_string()
            }
        };
        let table = table.map_or("", |table| &table.name);
        let fault = match misfit {
            Misfit::Partition(column) => refuse::l01(&field, table, column, asked.decl.span),
            Misfit::Clustering(why) => refuse::l02(&field, table, why, asked.decl.span),
        };
        fault.help(help).fix(fix)
    }

    /// The `@index` without which nothing finds rows by what a collection holds.
    fn missing_index(&self, asked: &Asked<'_>) -> Option<String> {
        let child = self.model.ty(asked.entity);
        let lacks = |column: &ColumnId| child.indexes.iter().all(|index| index.column != *column);
        let held = asked.given.iter().find_map(|given| match given {
            Given::Holds(column) => Some(*column).filter(lacks),
            _ => None,
        })?;
        let name = &child.column(held).name;
        Some(format!(
            "Add to `{}.{name}`: `@index(table: \"…\", ops: [CONTAINS])`, of the table whose partition is read.",
            child.name
        ))
    }

    /// The `@table` line that would answer the read.
    fn missing_table(&self, asked: &Asked<'_>) -> Option<String> {
        let child = self.model.ty(asked.entity);
        let entity = self.entities.iter().find(|entity| entity.entity == asked.entity)?;
        let name = |column: &ColumnId| child.column(*column).name.clone();
        let given: Vec<ColumnId> = asked
            .given
            .iter()
            .filter_map(|given| match given {
                Given::Column(column) | Given::AnyOf(column) => Some(*column),
                Given::Part(_) | Given::Holds(_) => None,
            })
            .collect();
        if given.is_empty() {
            return None;
        }
        let mut clustering: Vec<ColumnId> = asked.bounds.iter().map(|(column, ..)| *column).collect();
        clustering.dedup();
        let rest =
            entity.base_key.iter().filter(|column| !given.contains(column) && !clustering.contains(column));
        let clustering: Vec<String> = clustering.iter().chain(rest).map(name).collect();
        let partition: Vec<String> = given.iter().map(name).collect();
        let by: Vec<String> = given.iter().map(|column| crate::schema::snake(&name(column))).collect();
        let base = &child.tables.first()?.name;
        let clustering = match clustering.is_empty() {
            true => String::new(),
            false => format!(", clustering: \"{}\"", clustering.join(", ")),
        };
        let name = self.free_name(format!("{base}_by_{}", by.join("_and_")));
        Some(format!("@table(name: \"{name}\", partition: \"{}\"{clustering})", partition.join(", ")))
    }

    /// The name, with a number behind it where a table has it already.
    pub(super) fn free_name(&self, name: String) -> String {
        let is_free = |name: &str| !self.tables.iter().any(|table| table.name == name);
        let numbered = (2..).map(|number| format!("{name}_{number}"));
        std::iter::once(name.clone()).chain(numbered).find(|name| is_free(name)).expect("tables are finite")
    }

    pub(super) fn tables_of(&self, entity: TypeId) -> impl Iterator<Item = &TablePlan> {
        let found = self.entities.iter().find(|found| found.entity == entity);
        let ids = found
            .into_iter()
            .flat_map(|found| std::iter::once(found.base).chain(found.copies.iter().copied()));
        ids.map(|id: TableId| &*self.tables[id.0 as usize])
    }
}

/// Smaller is better: parts of the partition that are walked, clustering columns left open where one row is wanted,
/// copies after the base
/// table, and indexes last.
fn rank(asked: &Asked<'_>, bound: &Bound<'_>) -> (usize, usize, u8) {
    let Bound { table, fit, .. } = bound;
    let walked = fit.partition.iter().filter(|part| !matches!(part, Part::From(_))).count();
    let open = match asked.shape {
        Shape::One => table.clustering.len() - fit.equal.len(),
        _ => 0,
    };
    let kind = match table.role {
        _ if bound.is_indexed() => 2,
        TableRole::Base => 0,
        TableRole::Copy | TableRole::Buckets { .. } => 1,
        TableRole::Index { .. } => 2,
    };
    (walked, open, kind)
}

/// Whether a field holds several: no table is keyed by one of a list.
fn is_list(ty: &FieldType) -> bool {
    matches!(ty, FieldType::List { .. })
}

pub(super) fn is_index(table: &TablePlan) -> bool {
    matches!(table.role, TableRole::Index { .. })
}

/// Key columns as `clustering` and `order` write them.
fn sorted(clustering: &[KeyColumn], reversed: bool) -> String {
    let one = |key: &KeyColumn| match (key.order == Order::Desc) != reversed {
        true => format!("{} DESC", key.part.name),
        false => key.part.name.clone(),
    };
    clustering.iter().map(one).collect::<Vec<_>>().join(", ")
}

pub(super) fn list<'n>(names: impl Iterator<Item = &'n str>) -> String {
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn lower_first(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or(String::new(), |first| first.to_ascii_lowercase().to_string() + letters.as_str())
}
