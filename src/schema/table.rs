//! `@table` and `@key`: the keys of tables and of entities, bound to columns and fields.
//!
//! Comes in: types with columns. Goes out: `tables` and `keys` of each type, or the faults. Whether a read or a key
//! can be served is `plan`'s.

use super::bind::{Binder, FieldDraft, argument_text, directive_span};
use super::column::{column_name, is_name, not_a_name, with_nearest};
use super::columns::{Allowed, ColumnUse, Text, columns, duration_ms};
use super::directive::{Use, literal};
use super::fieldset::{self, Path};
use super::scalar::{is_ordered, scalar_name};
use super::{
    Bucket, Column, ColumnId, ColumnType, EntityKey, Expiry, FieldId, FieldSource, KeyFunction, KeyPart,
    KeyPath, Named, Order, Scalar, TIME, TableDecl, TypeId, TypeKind, key_column, path_shown,
};
use crate::diagnostic::{Diagnostic, Span};

/// The parts of a key that can be told.
struct Parts {
    parts: Vec<(KeyPart, Order)>,
    /// Whether these are all; if not, why is a fault already.
    whole: bool,
}

impl Binder<'_> {
    /// Binds the keys and tables of every type.
    pub(super) fn bind_keys_and_tables(&mut self) {
        for ty in self.ids() {
            self.bind_keys(ty);
            if self.types[ty.0 as usize].kind == TypeKind::Entity {
                self.bind_tables(ty);
            }
        }
    }

    fn bind_keys(&mut self, ty: TypeId) {
        let declaration = self.drafts[ty.0 as usize].declaration;
        for directive in declaration.directives.iter().filter(|directive| directive.node.name == "key") {
            let span = directive_span(directive.file, directive.node, self.sources);
            let resolvable = !directive
                .node
                .arguments
                .iter()
                .any(|argument| argument.name == "resolvable" && argument.value.to_bool() == Some(false));
            let named = directive.node.arguments.iter().find(|argument| argument.name == "fields");
            let at = named.map_or(span, |named| {
                super::parse::span(directive.file, named.value.location(), self.sources)
            });
            let Some(fields) = argument_text(directive.node, "fields") else {
                let message = "`@key` needs the argument `fields`";
                let fault = Diagnostic::error("S014", span, message).label("without `fields`");
                self.faults.push(fault.help("Add `fields: \"id\"`."));
                continue;
            };
            match self.key_fields(ty, &literal(fields, at, self.sources)) {
                Ok(fields) => self.types[ty.0 as usize].keys.push(EntityKey { fields, resolvable, span }),
                Err(fault) => self.faults.push(*fault),
            }
        }
    }

    fn key_fields(&mut self, ty: TypeId, text: &Text) -> Result<Vec<KeyPath>, Box<Diagnostic>> {
        let mut fields: Vec<KeyPath> = Vec::new();
        for path in fieldset::paths(text)? {
            let found = self.path_in(ty, &path, "S050")?;
            self.check_key_field(ty, &path, &found)?;
            if fields.contains(&found) {
                let message = format!("`{}` is twice in this key", path.shown());
                let fault = Diagnostic::error("S034", path.span, message).label("a second time");
                return Err(fault.help("Name each field once.").into());
            }
            fields.push(found);
        }
        Ok(fields)
    }

    /// A field of a key holds a scalar that is never null. What is inside braces is checked once references are bound.
    fn check_key_field(&self, ty: TypeId, path: &Path, found: &KeyPath) -> Result<(), Box<Diagnostic>> {
        let (mut owner, mut field) = (&self.types[ty.0 as usize], &self.types[ty.0 as usize].fields[0]);
        for id in found {
            field = owner.field(*id);
            if let Named::Object(inner) = field.ty.named() {
                owner = &self.types[inner.0 as usize];
            }
        }
        if matches!(field.source, FieldSource::Read(_) | FieldSource::Page | FieldSource::Ref(_)) {
            let message = format!("`{}` cannot be part of a key: it is not a stored scalar", field.name);
            let help = "Name fields that hold a scalar or an enum; for a reference, the field of its key.";
            return Err(Diagnostic::error("S050", path.span, message)
                .label("not a scalar")
                .help(help)
                .into());
        }
        if field.ty.non_null() {
            return Ok(());
        }
        let message = format!("`{}` may be null, but is part of a `@key`", field.name);
        let help = format!("Write the type of `{}.{}` with `!`.", owner.name, field.name);
        Err(Diagnostic::error("S032", path.span, message).label("nullable").help(help).into())
    }

    /// Nested keys, once references are bound: what stands inside the braces must be stored here, or, in another
    /// subgraph's entity, be all that is needed to load an entity that is.
    pub(super) fn check_nested_keys(&mut self) {
        let mut faults = Vec::new();
        for ty in self.ids() {
            let owner = &self.types[ty.0 as usize];
            for (key, path) in
                owner.keys.iter().flat_map(|key| key.fields.iter().map(move |path| (key, path)))
            {
                if path.len() < 2 {
                    continue;
                }
                let (shown, first) = (path_shown(&self.types, ty, path), &owner.field(path[0]).name);
                let is_faulty = matches!(owner.field(path[0]).source, FieldSource::External)
                    && self.drafts[ty.0 as usize]
                        .fields
                        .iter()
                        .any(|field| *field.node.name == **first && field.used("ref").is_some());
                if owner.kind == TypeKind::Entity && !is_faulty && key_column(&self.types, ty, path).is_none()
                {
                    let message = format!("`{shown}` is not stored in `{}`", owner.name);
                    faults.push(Diagnostic::error("S050", key.span, message).label("not stored").help(format!(
                        "Store it with the reference: `{first}: … @ref(key: \"…\")`, whose key holds that field."
                    )));
                }
                let Named::Object(inner) = owner.field(path[0]).ty.named() else { continue };
                let leads_here =
                    owner.kind == TypeKind::Stub && self.types[inner.0 as usize].kind == TypeKind::Entity;
                if leads_here && !self.is_whole_base_key(inner, path[0], &key.fields) {
                    let name = &self.types[inner.0 as usize].name;
                    let message = format!("`{shown}` does not find a row of `{name}`");
                    faults.push(Diagnostic::error("S050", key.span, message).label("not its whole key").help(format!(
                        "`{name}` is stored here: name all fields of its first table's key inside the braces."
                    )));
                }
            }
        }
        self.faults.extend(faults);
    }

    fn is_whole_base_key(&self, inner: TypeId, first: FieldId, paths: &[KeyPath]) -> bool {
        let given: Vec<_> = paths
            .iter()
            .filter(|path| path[0] == first && path.len() == 2)
            .map(|path| key_column(&self.types, inner, &path[1..]))
            .collect();
        let base = self.types[inner.0 as usize].tables.first();
        base.is_none_or(|base| base.key_columns().iter().all(|column| given.contains(&Some(*column))))
    }

    fn bind_tables(&mut self, ty: TypeId) {
        let tables = self.drafts[ty.0 as usize].uses.iter().filter(|used| used.name == "table");
        for used in tables.cloned().collect::<Vec<Use>>() {
            let found = self.table(ty, &used);
            let Some(table) = found else { continue };
            let keys = table.partition.iter().map(|part| (part, table.partition_span));
            let clustering = table.clustering.iter().map(|(part, _)| (part, table.clustering_span));
            let what = format!("part of the key of the table `{}`", table.name);
            for (column, at) in keys.chain(clustering).map(|(part, at)| (part.column, at)).collect::<Vec<_>>()
            {
                self.require_non_null(ty, column, at, &what);
            }
            self.types[ty.0 as usize].tables.push(table);
        }
        // A base table with a fault is not in the list; then the first there is another.
        let declared = self.drafts[ty.0 as usize].uses.iter().filter(|used| used.name == "table").count();
        if self.types[ty.0 as usize].tables.len() == declared {
            self.check_base(ty);
        }
    }

    fn table(&mut self, ty: TypeId, used: &Use) -> Option<TableDecl> {
        let faults_before = self.faults.len();
        let name = used.text("name")?;
        let partition_text = used.text("partition")?;
        if !is_name(&name.value) {
            self.faults.push(not_a_name(name));
        } else if name.value.contains("__") {
            let message = format!("the table name `{}` contains `__`", name.value);
            self.faults.push(
                Diagnostic::error("S003", name.span, message)
                    .label("reserved")
                    .help("`__` sets apart the engine's own tables and generations. Use one `_`."),
            );
        }
        let partition = self.key_parts(ty, partition_text, Allowed::Expressions);
        let clustering = match used.text("clustering") {
            Some(text) => self.key_parts(ty, text, Allowed::ExpressionsInOrder),
            None => Parts { parts: Vec::new(), whole: true },
        };
        let whole = partition.whole && clustering.whole;
        let (partition, clustering) = (partition.parts, clustering.parts);
        self.check_parts(ty, &partition, &clustering, used);
        let fields = used.text("fields").map(|text| self.table_fields(ty, text));
        let expiry = self.expiry(ty, used);
        let options = used.text("options").map_or(Ok(Vec::new()), super::options::options);
        let options = options.unwrap_or_else(|fault| {
            self.faults.push(*fault);
            Vec::new()
        });
        (whole && self.faults.len() == faults_before).then(|| TableDecl {
            name: name.value.clone(),
            is_header: used.flag("static"),
            partition: partition.into_iter().map(|(part, _)| part).collect(),
            clustering,
            fields,
            filter: used.text("where").map(|text| (text.value.clone(), filter_span(text))),
            expiry,
            rows: used.int("rows"),
            rate: used.int("rate"),
            options,
            span: used.span,
            partition_span: partition_text.span,
            clustering_span: used.text("clustering").unwrap_or(partition_text).span,
        })
    }

    fn key_parts(&mut self, ty: TypeId, text: &Text, allowed: Allowed) -> Parts {
        let uses = match columns(text, allowed) {
            Ok(uses) => uses,
            Err(fault) => {
                self.faults.push(fault);
                return Parts { parts: Vec::new(), whole: false };
            }
        };
        let wanted = uses.len();
        let mut parts = Vec::new();
        for used in uses {
            let Some(column) = self.column_in(ty, &used.column, used.span) else { continue };
            if let Some(fault) = self.unfit(ty, column, &used) {
                self.faults.push(fault);
                continue;
            }
            let name = match &used.alias {
                Some(alias) => alias.clone(),
                None => part_name(&used.column, used.via),
            };
            parts.push((KeyPart { column, via: used.via, name }, used.order.unwrap_or_default()));
        }
        Parts { whole: parts.len() == wanted, parts }
    }

    fn column_in(&mut self, ty: TypeId, name: &str, at: Span) -> Option<ColumnId> {
        let owner = &self.types[ty.0 as usize];
        if let Some(column) = owner.column_named(name) {
            return Some(column);
        }
        if self.has_faulty_column(ty, name) {
            return None;
        }
        let message = format!("`{}` has no column `{name}`", owner.name);
        let fault = Diagnostic::error("S031", at, message).label("not a column");
        let reference = self.drafts.get(ty.0 as usize).and_then(|draft| {
            let field = draft.fields.iter().find(|field| *field.node.name == *name)?;
            Some(field.used("ref")?.text("key")?.value.clone())
        });
        let fault = match reference {
            Some(key) => fault.help(format!("`{name}` is a reference; what is stored is its key: `{key}`.")),
            None => with_nearest(fault, name, owner.column_names()),
        };
        self.faults.push(fault);
        None
    }

    /// Whether a field that would be stored under that name is not, because of a fault of its own.
    fn has_faulty_column(&self, ty: TypeId, name: &str) -> bool {
        let Some(draft) = self.drafts.get(ty.0 as usize) else { return false };
        let stored = |field: &&FieldDraft<'_>| field.used("ref").is_none() && field.used("read").is_none();
        draft.fields.iter().filter(stored).any(|field| column_name(field) == name)
    }

    /// Why a column cannot be this part of a key.
    fn unfit(&self, ty: TypeId, column: ColumnId, used: &ColumnUse) -> Option<Diagnostic> {
        let column = self.types[ty.0 as usize].column(column);
        let scalar = match &column.ty {
            ColumnType::Scalar(scalar) if !is_ordered(*scalar) => {
                let message = format!(
                    "`{}` cannot be part of a key: {} has no order",
                    column.name,
                    scalar_name(*scalar)
                );
                return Some(
                    Diagnostic::error("S032", used.span, message)
                        .label("no order")
                        .help("Keys are made of enums and of scalars but Duration and JSON."),
                );
            }
            ColumnType::Scalar(scalar) => Some(*scalar),
            ColumnType::Enum(_) => None,
            _ => {
                let message =
                    format!("`{}` cannot be part of a key: it is a collection or record", column.name);
                return Some(
                    Diagnostic::error("S032", used.span, message)
                        .label("not a scalar")
                        .help("Keys are made of scalars and enums."),
                );
            }
        };
        if matches!(used.via, KeyFunction::Prefix(_)) {
            if matches!(scalar, Some(Scalar::String | Scalar::Id | Scalar::Ascii)) {
                return None;
            }
            let message = format!("`{}` is no text, so it has no first letters", column.name);
            let help = "`prefix` is made of a String or an ID; `hash` cuts any column.";
            return Some(Diagnostic::error("S033", used.span, message).label("not text").help(help));
        }
        let fits = match used.via {
            KeyFunction::Itself | KeyFunction::Hash(_) | KeyFunction::Prefix(_) => true,
            KeyFunction::Bucket(Bucket::Hour) => scalar == Some(Scalar::DateTime),
            KeyFunction::Bucket(_) => matches!(scalar, Some(Scalar::DateTime | Scalar::LocalDate)),
        };
        if fits {
            return None;
        }
        let message = format!("`{}` has no time that `{}` could take", column.name, function_name(used.via));
        Some(
            Diagnostic::error("S033", used.span, message)
                .label("not a time")
                .help("Time buckets are made of a DateTime; all but `hour` also of a LocalDate."),
        )
    }

    /// A bucket or hash is stored under its own name, so no column may have it.
    fn check_part_names(&mut self, ty: TypeId, parts: &[(&(KeyPart, Order), Span)]) {
        let owner = &self.types[ty.0 as usize];
        for ((part, _), at) in parts.iter().filter(|((part, _), _)| part.via != KeyFunction::Itself) {
            super::names::check("column", &part.name, *at, &mut self.faults);
            let stored = super::names::snake(&part.name);
            let Some(column) =
                owner.columns.iter().find(|column| super::names::snake(&column.name) == stored)
            else {
                continue;
            };
            let message = format!(
                "`{}` of this key and the column `{}` are both stored as `{stored}`",
                part.name, column.name
            );
            self.faults.push(Diagnostic::error("S005", *at, message).label("the name is taken").help(
                format!("Give it another name: `{}(…) AS {}Part`.", function_name(part.via), part.name),
            ));
        }
    }

    fn check_parts(
        &mut self,
        ty: TypeId,
        partition: &[(KeyPart, Order)],
        clustering: &[(KeyPart, Order)],
        used: &Use,
    ) {
        let partition_span = used.text("partition").map_or(used.span, |text| text.span);
        let clustering_span = used.text("clustering").map_or(used.span, |text| text.span);
        let all = partition.iter().map(|part| (part, partition_span));
        let all: Vec<_> = all.chain(clustering.iter().map(|part| (part, clustering_span))).collect();
        for (index, ((part, _), at)) in all.iter().enumerate() {
            if all[..index].iter().any(|((before, _), _)| before.name == part.name) {
                let message = format!("`{}` is twice in this key", part.name);
                self.faults.push(Diagnostic::error("S034", *at, message).label("a second time").help(
                    "Name each column once; one that is in the partition needs no place in the clustering.",
                ));
            }
        }
        if let Some((part, _)) = clustering.iter().find(|(part, _)| part.via != KeyFunction::Itself) {
            let message = format!("`{}` cannot be a clustering column", part.name);
            self.faults.push(
                Diagnostic::error("S033", clustering_span, message)
                    .label("an expression")
                    .help("Buckets, hashes and prefixes divide partitions. Sort by the column itself."),
            );
        }
        self.check_part_names(ty, &all);
        let buckets = partition.iter().filter(|(part, _)| matches!(part.via, KeyFunction::Bucket(_))).count();
        if buckets > 1 {
            self.faults.push(
                Diagnostic::error("S035", partition_span, "this partition has several time buckets")
                    .label("several buckets")
                    .help("One bucket bounds a partition; keep the narrowest that is needed."),
            );
        }
        if buckets == 1 && partition.len() == 1 {
            self.faults.push(
                Diagnostic::error("S035", partition_span, "this partition is only a time bucket")
                    .label("nothing else")
                    .help("All writes of the moment would go to one partition. Put a column before it, or `hash(id, 16)`."),
            );
        }
    }

    /// `ttl`, counted from the column in `ttlFrom`, else from the last event that wrote the row.
    fn expiry(&mut self, ty: TypeId, used: &Use) -> Option<Expiry> {
        let (ttl, from) = match (used.text("ttl"), used.text("ttlFrom")) {
            (Some(ttl), from) => (ttl, from),
            (None, None) => return None,
            (None, Some(from)) => {
                let fault = Diagnostic::error("S037", from.span, "`ttlFrom` says nothing without `ttl`");
                self.faults.push(
                    fault.label("no `ttl`").help("Say how long after it a row is gone: `ttl: \"90d\"`."),
                );
                return None;
            }
        };
        let after_ms = duration_ms(&ttl.value);
        if after_ms.is_none() {
            self.faults.push(super::columns::no_duration(ttl));
        }
        let Some(from) = from else {
            return Some(Expiry { from: self.time_column(ty, used.span), after_ms: after_ms? });
        };
        let column = self.column_in(ty, &from.value, from.span)?;
        let found = self.types[ty.0 as usize].column(column);
        if found.ty != ColumnType::Scalar(Scalar::DateTime) {
            let message = format!("`{}` is no DateTime, so no time can be counted from it", found.name);
            self.faults.push(Diagnostic::error("S037", from.span, message).label("not a DateTime").help(
                "Name a column of type DateTime; events have their time in one, such as `at: event.at`.",
            ));
        }
        Some(Expiry { from: column, after_ms: after_ms? })
    }

    /// The column of the time of the last event, made where it is first needed.
    fn time_column(&mut self, ty: TypeId, span: Span) -> ColumnId {
        let owner = &mut self.types[ty.0 as usize];
        owner.time_column().unwrap_or_else(|| {
            let column = ColumnId(u32::try_from(owner.columns.len()).expect("columns are counted in u32"));
            let ty = ColumnType::Scalar(Scalar::DateTime);
            let name = TIME.to_owned();
            owner.columns.push(Column {
                name,
                ty,
                non_null: false,
                hidden: true,
                max: None,
                vector: None,
                span,
            });
            column
        })
    }

    fn table_fields(&mut self, ty: TypeId, text: &Text) -> Vec<ColumnId> {
        match columns(text, Allowed::Names) {
            Ok(uses) => {
                uses.iter().filter_map(|used| self.field_column(ty, &used.column, used.span)).collect()
            }
            Err(fault) => {
                self.faults.push(fault);
                Vec::new()
            }
        }
    }

    /// A column by its name or by the reference that it belongs to.
    fn field_column(&mut self, ty: TypeId, name: &str, at: Span) -> Option<ColumnId> {
        self.column_in(ty, name, at)
    }

    fn check_base(&mut self, ty: TypeId) {
        let owner = &self.types[ty.0 as usize];
        let Some(base) = owner.tables.first() else { return };
        let mut faults = Vec::new();
        if base.filter.is_some() {
            let message = format!("the base table `{}` has a `where`", base.name);
            let at = base.filter.as_ref().map_or(base.span, |(_, at)| *at);
            faults.push(
                Diagnostic::error("S036", at, message).label("the first table holds every row").help(
                    "Put `where` on a later `@table`: a copy holds only the rows for which it is true.",
                ),
            );
        }
        let clustering = base.clustering.iter().map(|(part, _)| part);
        let parts: Vec<&KeyPart> = base.partition.iter().chain(clustering).collect();
        for part in parts.iter().filter(|part| part.via != KeyFunction::Itself) {
            let is_plain =
                parts.iter().any(|other| other.column == part.column && other.via == KeyFunction::Itself);
            if !is_plain {
                let name = &owner.column(part.column).name;
                let message =
                    format!("two rows could have one key: `{name}` is only in it as `{}`", part.name);
                faults.push(
                    Diagnostic::error("S036", base.partition_span, message)
                        .label("an expression only")
                        .help(format!("Add `{name}` itself to the clustering of the base table.")),
                );
            }
        }
        self.faults.extend(faults);
    }
}

/// Where the letters of a `where` begin, so that faults of the expression are placed in it.
fn filter_span(text: &Text) -> Span {
    text.at(0, text.value.len())
}

/// Name of a key part without `AS`: the column's, with the function's appended.
fn part_name(column: &str, via: KeyFunction) -> String {
    let function = function_name(via);
    match function.split_at_checked(1) {
        None => column.to_string(),
        Some((first, rest)) => format!("{column}{}{rest}", first.to_uppercase()),
    }
}

/// A key function's name in the schema language; empty for the column itself.
pub fn function_name(via: KeyFunction) -> &'static str {
    match via {
        KeyFunction::Itself => "",
        KeyFunction::Hash(_) => "hash",
        KeyFunction::Prefix(_) => "prefix",
        KeyFunction::Bucket(bucket) => match bucket {
            Bucket::Year => "year",
            Bucket::Month => "month",
            Bucket::Week => "week",
            Bucket::Day => "day",
            Bucket::Hour => "hour",
        },
    }
}
