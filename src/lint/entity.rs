//! Keys, copies and references of entities: L22, L24 to L26, L29, L32.
//!
//! Comes in: a model and its plan. Goes out: findings. What a read costs is `read`'s.

use super::{declared, field_name, read_span, remark, text};
use crate::diagnostic::{Diagnostic, Fix, Sources};
use crate::plan::{EntityPlan, KeyColumn, Plan, TablePlan, TableRole};
use crate::schema::{
    ColumnType, FieldSource, FieldType, KeyFunction, KeyPart, KeyPath, Named, ObjectType, Order, ReadModel,
    Scalar, TableDecl, TableOption, TypeId, TypeKind,
};

/// L22: a key that a gateway cannot hand back unchanged.
pub(super) fn l22(model: &ReadModel) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for (index, ty) in model.types.iter().enumerate() {
        let id = TypeId(u32::try_from(index).expect("types are counted in u32"));
        for key in ty.keys.iter().filter(|key| key.resolvable) {
            for path in &key.fields {
                let why = match model.read_as(id, path) {
                    Named::Scalar(Scalar::Float | Scalar::Float32) => "a gateway may round it",
                    Named::Scalar(Scalar::Decimal) => "equal numbers have several spellings: 1.5 and 1.50",
                    _ => continue,
                };
                let shown = model.path_shown(id, path);
                let message = format!("the key of `{}` has `{shown}`, which is not exact: {why}", ty.name);
                found.push(
                    Diagnostic::error("L22", key.span, message)
                        .label("not exact")
                        .help("Make the key of an ID, a text, a whole number, a UUID or a time."),
                );
            }
        }
    }
    found
}

/// L24: a key whose table lets a row go before the base table does.
pub(super) fn l24(model: &ReadModel, plan: &Plan) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for entity in &plan.entities {
        let (ty, base) = (model.ty(entity.entity), plan.table(entity.base));
        for (key, load) in ty.keys.iter().zip(&entity.keys) {
            let Some(table) = load.as_ref().map(|load| plan.table(load.table)) else { continue };
            if table.expires.len() <= base.expires.len() {
                continue;
            }
            let fields: Vec<String> =
                key.fields.iter().map(|path| model.path_shown(entity.entity, path)).collect();
            let message = format!(
                "the key \"{}\" of `{}` finds no row that the base table still has: `{}` has a shorter `ttl`",
                fields.join(" "),
                ty.name,
                table.name
            );
            let help =
                format!("Remove the `ttl` of `{}`: that of `{}` holds for it too.", table.name, base.name);
            found.push(Diagnostic::warning("L24", key.span, message).label("ends early").help(help));
        }
    }
    found
}

/// L24, of a header and its rows: one of the two ends before the other.
pub(super) fn l24_headers(model: &ReadModel, plan: &Plan) -> Vec<Diagnostic> {
    let headers = plan.tables.iter().filter_map(|table| Some((table, plan.table(table.heads?))));
    let after = |table: &TablePlan| table.expires.first().map(|expiry| expiry.after_ms);
    let found = headers.filter(|(header, rows)| after(header) != after(rows)).filter_map(|(header, rows)| {
        let (of_header, of_rows) = (&model.ty(header.entity).name, &model.ty(rows.entity).name);
        let message = match (after(header), after(rows)) {
            (Some(_), None) => format!("the header `{of_header}` ends, but its rows, `{of_rows}`, stay"),
            (None, Some(_)) => format!("the rows `{of_rows}` end, but their header, `{of_header}`, stays"),
            _ => format!("the header `{of_header}` and its rows, `{of_rows}`, end after different times"),
        };
        let help = "Give both the same `ttl`, unless one is meant to be there without the other.";
        let at = declared(model, header)?.span;
        Some(Diagnostic::warning("L24", at, message).label("not the same `ttl`").help(help))
    });
    found.collect()
}

/// The compactions that put rows of one time into files of their own.
const BY_TIME: [&str; 2] = ["TimeWindowCompactionStrategy", "UnifiedCompactionStrategy"];

/// L25: a table whose rows end, compacted so that they do not end together; or by time where none ends. Said only where the
/// author has chosen a compaction.
pub(super) fn l25(model: &ReadModel) -> Vec<Diagnostic> {
    let fault = |(ty, table): (&ObjectType, &TableDecl)| {
        let class = table.options.iter().find_map(TableOption::compaction_class)?;
        let ends = table.expiry.or(ty.tables.first()?.expiry).is_some();
        let (message, help) = match (ends, class) {
            (true, class) if !BY_TIME.contains(&class) => (
                format!("rows of `{}` end, but {class} mixes them with others", table.name),
                "Compact by time: `compaction = {'class': 'TimeWindowCompactionStrategy'}`.",
            ),
            (false, "TimeWindowCompactionStrategy") => (
                format!("`{}` is compacted by time windows, but no row of it ends", table.name),
                "Its files are never dropped whole. Leave `compaction` out, or say `ttl` and `ttlFrom`.",
            ),
            _ => return None,
        };
        Some(Diagnostic::warning("L25", table.span, message).label("its compaction").help(help))
    };
    super::tables(model).filter_map(fault).collect()
}

/// L26: a read of a copy that lacks columns usually needs a second, batched read of the base table.
pub(super) fn l26(model: &ReadModel, plan: &Plan) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for read in plan.reads.iter().filter(|read| read.completed) {
        let (table, entity) = (plan.table(read.table), plan.entity(read.entity));
        // An index holds keys only: its `fields` are nobody's choice.
        if matches!(table.role, TableRole::Index { .. }) || read.ranged.is_some() {
            continue;
        }
        let message = format!(
            "`{}` takes two reads: `{}` lacks columns, which `{}` completes",
            field_name(model, read),
            table.name,
            plan.table(entity.base).name
        );
        found.push(
            remark("L26", read_span(model, read), message)
                .label("completed by one batched read")
                .help("Nothing to do. To save the second read, add the columns to the copy's `fields`."),
        );
    }
    found
}

/// L29: a copy that nothing reads, or that has the key of another.
pub(super) fn l29(model: &ReadModel, plan: &Plan) -> Vec<Diagnostic> {
    plan.entities.iter().flat_map(|entity| l29_of(model, plan, entity)).collect()
}

fn l29_of(model: &ReadModel, plan: &Plan, entity: &EntityPlan) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let tables: Vec<&TablePlan> =
        std::iter::once(&entity.base).chain(&entity.copies).map(|id| &**plan.table(*id)).collect();
    for (index, table) in tables.iter().enumerate().skip(1) {
        let Some(decl) = declared(model, table) else { continue };
        let filter =
            |table: &TablePlan| declared(model, table).and_then(|decl| decl.filter.clone().map(|f| f.0));
        let same =
            tables[..index].iter().find(|other| key(other) == key(table) && filter(other) == filter(table));
        if let Some(other) = same {
            let message = format!("`{}` has the same key as `{}`", table.name, other.name);
            let help = "Keep one of the two, with the `fields` of both.";
            found.push(remark("L29", decl.span, message).label("the same rows again").help(help));
        } else if !is_read(plan, entity, table) {
            let message = format!("no read and no key uses `{}`", table.name);
            let help = "Remove it, or name it in a read: `@read(table:)`.";
            found.push(remark("L29", decl.span, message).label("written, never read").help(help));
        }
    }
    found
}

fn key(table: &TablePlan) -> Vec<(KeyPart, Order, bool)> {
    let part = |is_partition| move |key: &KeyColumn| (key.part.clone(), key.order, is_partition);
    let partition = table.partition.iter().map(part(true));
    partition.chain(table.clustering.iter().map(part(false))).collect()
}

fn is_read(plan: &Plan, entity: &EntityPlan, table: &TablePlan) -> bool {
    let is_it =
        |id| id == table.id || matches!(plan.table(id).role, TableRole::Index { of, .. } if of == table.id);
    plan.reads.iter().any(|read| is_it(read.table))
        || entity.keys.iter().flatten().any(|load| is_it(load.table))
}

/// L32: a reference to another subgraph's entity that may not be null. One in a key of the type is there as the key is.
pub(super) fn l32(model: &ReadModel, sources: &Sources) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for ty in &model.types {
        let in_key = |index: usize| {
            let starts = |path: &KeyPath| path.first().is_some_and(|first| first.0 as usize == index);
            ty.keys.iter().any(|key| key.fields.iter().any(starts))
        };
        let fields = ty.fields.iter().enumerate();
        // What a list holds is null by itself.
        let one = |ty: &FieldType| match ty {
            FieldType::List { of, .. } => of.non_null(),
            FieldType::Named { non_null, .. } => *non_null,
        };
        for (_, field) in fields.filter(|(index, field)| one(&field.ty) && !in_key(*index)) {
            let Some(target) = foreign(model, ty, &field.source) else { continue };
            let message = format!(
                "`{}.{}` may not be null, but whether the `{}` exists is another subgraph's to say",
                ty.name, field.name, target.name
            );
            let Named::Object(named) = field.ty.named() else { continue };
            let (name, is_list) = (&model.ty(named).name, matches!(field.ty, FieldType::List { .. }));
            let help = match is_list {
                true => format!("Write its elements without `!`: `{}: [{name}]!`.", field.name),
                false => format!("Write its type without `!`: `{}: {name}`.", field.name),
            };
            let ty = text::field(sources, field.span).map(|field| field.ty);
            let is_alone = matches!(field.source, FieldSource::Ref(_)) && !is_list;
            let fix = ty.filter(|_| is_alone);
            let fix = fix.map(|ty| Fix::replace(ty, format!("{}!", target.name), target.name.as_str()));
            let finding = Diagnostic::warning("L32", field.span, message).label("taken for granted");
            found.push(finding.help(help).fix(fix));
        }
    }
    found
}

/// The other subgraph's entity that a field refers to, alone or as one of several.
fn foreign<'m>(model: &'m ReadModel, ty: &ObjectType, source: &FieldSource) -> Option<&'m ObjectType> {
    let is_foreign = |target: &TypeId| model.ty(*target).kind == TypeKind::Stub;
    let found = match source {
        FieldSource::Ref(decl) => Some(decl.target).filter(is_foreign),
        FieldSource::Column(column) => match ty.column(*column).ty {
            ColumnType::Record(several) => model.ty(several).columns.iter().find_map(|member| {
                let ColumnType::Record(member) = member.ty else { return None };
                let TypeKind::Key { of } = model.ty(member).kind else { return None };
                Some(of).filter(is_foreign)
            }),
            _ => None,
        },
        _ => None,
    };
    found.map(|id| model.ty(id))
}

/// Whether a part of a key is the column itself.
pub(super) fn is_plain(part: &KeyPart) -> bool {
    part.via == KeyFunction::Itself
}
