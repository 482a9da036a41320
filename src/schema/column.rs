//! Columns: what each field stores, and the hidden columns that references make.
//!
//! Comes in: the drafts of types and fields. Goes out: `columns` and `fields` of every type the author wrote, and
//! the faults of their types. Reads and keys are bound after this.

use super::bind::{Binder, FieldDraft};
use super::columns::{Text, later};
use super::directive::Use;
use super::parse::name_span;
use super::scalar::{is_ordered, same_values, scalar_name, typed, unknown_scalar};
use super::vector;
use super::{Column, ColumnId, ColumnType, FieldSource, FieldType, Named, Scalar, TypeId, TypeKind};
use crate::diagnostic::{Diagnostic, Span, nearest};

/// A list of records stored as a map; its key is found once all records have their columns.
struct MapDraft {
    ty: TypeId,
    column: ColumnId,
    record: TypeId,
    key: Text,
}

/// Most value types inside each other.
const RECORDS_DEPTH_MAX: usize = 16;

/// What a field is, before any of it is bound.
enum Role {
    Column,
    Hidden,
    Ref,
    Read,
    External,
    Page,
}

impl Binder<'_> {
    /// Gives every type its fields and columns.
    pub(super) fn bind_columns(&mut self) {
        self.bind_variants();
        self.bind_references_of_several();
        let mut maps = Vec::new();
        for ty in self.ids() {
            for index in 0..self.drafts[ty.0 as usize].fields.len() {
                self.bind_field(ty, index, &mut maps);
            }
        }
        for map in maps {
            self.bind_map(map);
        }
        self.refuse_records_in_themselves();
        self.refuse_unbound();
    }

    fn bind_field(&mut self, ty: TypeId, index: usize, maps: &mut Vec<MapDraft>) {
        let role = self.role(ty, index);
        let has_type = self.drafts[ty.0 as usize].fields[index].ty.is_some();
        if !has_type {
            return;
        }
        match role {
            Role::Column => {
                if let Some(column) = self.add_column(ty, index, false, maps) {
                    self.push_field(ty, index, FieldSource::Column(column), Vec::new());
                }
            }
            Role::Hidden => {
                self.add_column(ty, index, true, maps);
            }
            Role::Ref => match self.reference_of_several(ty, index) {
                Some(of) => self.bind_reference_of_several(ty, index, of),
                None => {
                    self.add_ref_columns(ty, index);
                    self.push_field(ty, index, FieldSource::External, Vec::new());
                }
            },
            // The source of a read is set when all types have their columns.
            Role::Read | Role::External => {
                self.push_field(ty, index, FieldSource::External, Vec::new());
            }
            Role::Page => {
                self.push_field(ty, index, FieldSource::Page, Vec::new());
            }
        }
        if matches!(role, Role::Column | Role::Hidden | Role::Ref) {
            self.refuse_arguments(ty, index);
        }
    }

    fn role(&mut self, ty: TypeId, index: usize) -> Role {
        let kind = self.types[ty.0 as usize].kind;
        let field = &self.drafts[ty.0 as usize].fields[index];
        let name = field.node.name.as_str();
        let is_external = field.node.directives.iter().any(|directive| directive.name == "external");
        let (read, reference, column) = (field.used("read"), field.used("ref"), field.used("column"));
        let mut found = [read, reference, column].into_iter().flatten();
        if let (Some(first), Some(second)) = (found.next(), found.next()) {
            let message = format!("`{name}` has `@{}` and `@{}`", first.name, second.name);
            self.faults.push(Diagnostic::error("S040", second.span, message).label("one too many").help(
                "A field is stored (`@column`), refers to another type (`@ref`) or reads a table (`@read`).",
            ));
            return Role::External;
        }
        match kind {
            TypeKind::Connection { .. } | TypeKind::Edge { .. } | TypeKind::PageInfo => Role::Page,
            _ if read.is_some() => Role::Read,
            // The other root types are refused as a whole.
            TypeKind::Query if self.types[ty.0 as usize].name != "Query" => Role::External,
            TypeKind::Query => {
                let message = format!("nothing says how `Query.{name}` is answered");
                let fault = Diagnostic::error("S040", field.span, message).label("no `@read`");
                let stub = field.ty.as_ref().and_then(|ty| match ty.named() {
                    Named::Object(id) => {
                        Some(&self.types[id.0 as usize]).filter(|ty| ty.kind == TypeKind::Stub)
                    }
                    _ => None,
                });
                let help = match stub {
                    Some(ty) => format!(
                        "Leave it out: `{}` has no `@table`, so its own subgraph answers it.",
                        ty.name
                    ),
                    None => "Add `@read`: the table follows from the arguments.".to_string(),
                };
                self.faults.push(fault.help(help));
                Role::External
            }
            _ if self.is_unclear(ty) && matches!(kind, TypeKind::Stub) => Role::External,
            TypeKind::Stub if reference.is_some() || column.is_some() => {
                let owner = &self.types[ty.0 as usize].name;
                let message = format!("nothing of `{owner}` is stored here, so `{name}` cannot be");
                let span = reference.or(column).expect("one of them is there").span;
                let help = format!("Give `{owner}` a `@table`, or make `{name}` a `@read`.");
                self.faults.push(Diagnostic::error("S040", span, message).label("no table").help(help));
                Role::External
            }
            TypeKind::Stub => {
                let is_key = self.is_key_field(ty, name);
                let field = &self.drafts[ty.0 as usize].fields[index];
                if !is_external && !is_key {
                    let owner = &self.types[ty.0 as usize].name;
                    let message = format!("nothing says where `{owner}.{name}` comes from");
                    let help = format!(
                        "Leave it to the subgraph that has it: `{owner}` has no `@table`, so a field of it is part of its key, \
                         `@external`, or a `@read`."
                    );
                    self.faults
                        .push(Diagnostic::error("S040", field.span, message).label("no source").help(help));
                }
                Role::External
            }
            _ if reference.is_some() => Role::Ref,
            _ if is_external && !self.is_key_field(ty, name) => Role::External,
            _ if self.drafts[ty.0 as usize].fields[index].hidden() => Role::Hidden,
            _ => Role::Column,
        }
    }

    /// Whether a `@key` of the type names the field. The key itself is checked later.
    fn is_key_field(&self, ty: TypeId, name: &str) -> bool {
        let declaration = self.drafts[ty.0 as usize].declaration;
        super::bind::federation(declaration, "key")
            .filter_map(|(_, key)| super::bind::argument_text(key, "fields"))
            .any(|fields| fields.split([' ', ',', '{', '}', '\n']).any(|field| field == name))
    }

    fn refuse_arguments(&mut self, ty: TypeId, index: usize) {
        let field = &self.drafts[ty.0 as usize].fields[index];
        if let Some(argument) = field.node.arguments.first() {
            let message =
                format!("`{}` is stored, so its argument `{}` has no use", field.node.name, argument.name);
            let at = name_span(field.file, &argument.name);
            self.faults.push(
                Diagnostic::error("S043", at, message)
                    .label("no use")
                    .help("Only a field with `@read` takes arguments."),
            );
        }
    }

    fn add_column(
        &mut self,
        ty: TypeId,
        index: usize,
        hidden: bool,
        maps: &mut Vec<MapDraft>,
    ) -> Option<ColumnId> {
        let id = ColumnId(
            u32::try_from(self.types[ty.0 as usize].columns.len()).expect("columns are counted in u32"),
        );
        let field = &self.drafts[ty.0 as usize].fields[index];
        let used = field.used("column");
        let field_type = field.ty.clone().expect("fields of unknown type are left out");
        let found = self.column_type(field, &field_type, used);
        let (column_type, map) = match found {
            Ok(found) => found,
            Err(fault) => {
                self.faults.push(*fault);
                return None;
            }
        };
        let name = match used.and_then(|used| used.text("name")) {
            Some(name) => name.value.clone(),
            None => field.node.name.to_string(),
        };
        if let Some(name) = used.and_then(|used| used.text("name"))
            && !is_name(&name.value)
        {
            self.faults.push(not_a_name(name));
        }
        let max = used
            .and_then(|used| used.int("max"))
            .map(|max| u32::try_from(max).expect("checked when it was read"))
            .or(field.vector.map(|vector| vector.dimensions));
        let column = Column {
            name,
            ty: column_type,
            non_null: field_type.non_null(),
            hidden,
            max,
            vector: field.vector,
            span: field.span,
        };
        if let Some((record, key)) = map {
            maps.push(MapDraft { ty, column: id, record, key });
        }
        self.types[ty.0 as usize].columns.push(column);
        Some(id)
    }

    /// What a field stores; for a map also its record type and the name of its key.
    #[expect(clippy::type_complexity, reason = "two optional halves of one answer, used once")]
    fn column_type(
        &self,
        field: &FieldDraft<'_>,
        ty: &FieldType,
        used: Option<&Use>,
    ) -> Result<(ColumnType, Option<(TypeId, Text)>), Box<Diagnostic>> {
        let collection = used.and_then(|used| used.choice("as"));
        let key = used.and_then(|used| used.text("key"));
        let name = field.node.name.as_str();
        let fault = |message: String| Box::new(Diagnostic::error("S044", field.span, message));
        if let (Some(_), Some(used)) = (field.vector, used)
            && (collection.is_some() || key.is_some() || used.int("max").is_some())
        {
            let message = format!("`{name}` is a vector, so `as`, `key` and `max` have no use");
            return Err(Diagnostic::error("S044", used.span, message)
                .label("a vector")
                .help("Leave them out: its type says how many numbers it has.")
                .into());
        }
        let FieldType::List { of, .. } = ty else {
            let used = used.filter(|used| collection.is_some() || key.is_some() || used.int("max").is_some());
            return match used {
                Some(used) => Err(Box::new(
                    Diagnostic::error(
                        "S044",
                        used.span,
                        format!("`{name}` is not a list, so `as`, `key` and `max` have no use"),
                    )
                    .label("not a list")
                    .help(format!(
                        "Leave them out, or make it a list: `{name}: [{}!]!`.",
                        field.node.ty.inner_named_type()
                    )),
                )),
                None => Ok((self.element_type(field, ty.named())?, None)),
            };
        };
        let FieldType::Named { name: element, non_null } = **of else {
            return Err(Box::new(later("a list of lists", field.span)));
        };
        let inner = self.element_type(field, element)?;
        if !non_null {
            return Err(fault(format!("the elements of `{name}` may be null"))
                .label("elements without `!`")
                .help(format!(
                    "A collection stores no nulls. Write the element type with `!`: `[{}!]`.",
                    field.node.ty.inner_named_type()
                ))
                .into());
        }
        if let (Some(key), false) = (key, collection == Some("MAP")) {
            let message = format!("`key` of `{name}` has no use without `as: MAP`");
            let help = "Add `as: MAP` to store the list as a map by that column, or leave `key` out.";
            return Err(Box::new(Diagnostic::error("S044", key.span, message).label("no use").help(help)));
        }
        match (collection.unwrap_or("LIST"), inner, key) {
            ("SET", ColumnType::Record(_), _) => Err(fault(format!("`{name}` is a set of records"))
                .label("a set")
                .help("A set holds scalars or enums. For records unique by a field: `as: MAP, key: …`.")
                .into()),
            ("SET", ColumnType::Scalar(scalar), _) if !is_ordered(scalar) => {
                Err(fault(format!("`{name}` is a set of {}, which has no order", scalar_name(scalar)))
                    .label("a set")
                    .help("Leave `as` out to store a list.")
                    .into())
            }
            ("SET", inner, _) => Ok((ColumnType::Set(Box::new(inner)), None)),
            ("MAP", ColumnType::Record(record), Some(key)) => {
                Ok((ColumnType::Map { key: ColumnId(0), record }, Some((record, key.clone()))))
            }
            ("MAP", ColumnType::Record(_), None) => Err(fault(format!("the map `{name}` has no key"))
                .label("no `key`")
                .help("Name the element's column that it is unique by: `as: MAP, key: \"productId\"`.")
                .into()),
            ("MAP", ..) => Err(fault(format!("`{name}` is a map, but its elements are not records"))
                .label("not records")
                .help("`as: MAP` is for a list of a `@udt` type.")
                .into()),
            (_, inner, _) => Ok((ColumnType::List(Box::new(inner)), None)),
        }
    }

    fn element_type(&self, field: &FieldDraft<'_>, named: Named) -> Result<ColumnType, Box<Diagnostic>> {
        match named {
            Named::Scalar(scalar) => Ok(ColumnType::Scalar(field.stored.unwrap_or(scalar))),
            Named::Enum(id) => Ok(ColumnType::Enum(id)),
            Named::Object(id) if self.types[id.0 as usize].kind == TypeKind::Udt => {
                Ok(ColumnType::Record(id))
            }
            Named::Object(id) if self.types[id.0 as usize].kind == TypeKind::Variants => {
                let is_list = matches!(field.ty, Some(FieldType::List { .. }));
                match self.unfit_variants(id, (&field.node.name, is_list), field.span) {
                    None => Ok(ColumnType::Record(id)),
                    Some(fault) => Err(fault.into()),
                }
            }
            // What it is cannot be read; its directive is a fault already.
            Named::Object(id) if self.is_unclear(id) => Ok(ColumnType::Record(id)),
            Named::Object(id) => {
                let other = &self.types[id.0 as usize].name;
                let name = &field.node.name;
                let message = format!("nothing says how `{name}` leads to `{other}`");
                let is_list = matches!(field.ty, Some(FieldType::List { .. }));
                let help = match is_list {
                    true => format!("Add `@read`: the rows come from a table of `{other}`."),
                    false => format!("Add `@ref(key: \"{name}Id\")`: its key is stored; or `@read`."),
                };
                Err(Diagnostic::error("S040", field.span, message).label("no source").help(help).into())
            }
        }
    }

    /// A scalar that is bound to nothing can be stored where its fields say how. Where none does, that is said once.
    fn refuse_unbound(&mut self) {
        let mut unbound: Vec<(String, Span)> =
            self.unbound.iter().map(|(name, at)| (name.clone(), *at)).collect();
        unbound.sort_by_key(|(_, at)| (at.file, at.start));
        for (name, at) in unbound {
            let fields = self.drafts.iter().flat_map(|draft| &draft.fields);
            let of_it = fields.filter(|field| *field.node.ty.inner_named_type() == *name);
            let (typed, untyped): (Vec<_>, Vec<_>) = of_it.partition(|field| field.stored.is_some());
            if typed.is_empty() {
                self.faults.push(unknown_scalar(&name, at));
                continue;
            }
            self.faults.extend(untyped.iter().map(|field| {
                let message =
                    format!("nothing says how `{}` is stored: `{name}` is bound to nothing", field.node.name);
                Diagnostic::error("S021", field.span, message)
                    .label("no `type`")
                    .help("Add `@column(type: \"…\")`, as other fields of it have.")
            }));
        }
    }

    /// Takes `@column(type:)`: what a field stores, and so what it answers; an `ID` stays one.
    pub(super) fn type_field(&mut self, field: &mut FieldDraft<'_>) {
        let Some(text) = field.used("column").and_then(|used| used.text("type")).cloned() else { return };
        if vector::is_meant(&text.value) {
            match vector::typed(field, &text) {
                Ok(vector) => field.vector = Some(vector),
                Err(fault) => self.faults.push(*fault),
            }
        }
        let Some(ty) = &mut field.ty else { return };
        if vector::is_meant(&text.value) {
            // Its numbers have 32 bits each, whether or not the rest of the type is right.
            if matches!(ty.named(), Named::Scalar(Scalar::Float)) {
                field.stored = Some(Scalar::Float32);
                ty.set_named(Named::Scalar(Scalar::Float32));
            }
            return;
        }
        if text.value.eq_ignore_ascii_case("counter") {
            self.faults.push(counter(text.span));
            return;
        }
        let name = field.node.ty.inner_named_type();
        let Named::Scalar(declared) = ty.named() else {
            let message = format!("`{name}` is not a scalar, so `type` has no use");
            self.faults.push(Diagnostic::error("S044", text.span, message).label("not a scalar").help(
                "Leave it out: an enum is stored as text by its names, a value type as it is declared.",
            ));
            return;
        };
        let declared = Some(declared).filter(|_| !self.unbound.contains_key(name.as_str()));
        match typed(declared, &text) {
            Ok(stored) => {
                field.stored = Some(stored);
                if declared != Some(Scalar::Id) {
                    ty.set_named(Named::Scalar(stored));
                }
            }
            Err(fault) => self.faults.push(*fault),
        }
    }

    fn bind_map(&mut self, map: MapDraft) {
        let record = &self.types[map.record.0 as usize];
        let Some(key) = record.column_named(&map.key.value) else {
            let message = format!("`{}` has no column `{}`", record.name, map.key.value);
            let fault = Diagnostic::error("S031", map.key.span, message).label("not a column");
            self.faults.push(with_nearest(
                fault,
                &map.key.value,
                record.columns.iter().map(|column| column.name.as_str()),
            ));
            return;
        };
        if !can_be_key(&record.column(key).ty) {
            let message = format!("`{}` cannot be the key of a map: it has no order", map.key.value);
            self.faults.push(
                Diagnostic::error("S032", map.key.span, message)
                    .label("not a key")
                    .help("Keys are made of enums and of scalars but Duration and JSON."),
            );
        }
        let span = map.key.span;
        self.require_non_null(map.record, key, span, "the key of a map");
        self.types[map.ty.0 as usize].columns[map.column.0 as usize].ty =
            ColumnType::Map { key, record: map.record };
    }

    /// A column that is part of a key must be there in every row. A hidden column made by `@ref` is taken to be: the
    /// field may still be null, as the other type's row may be absent. A declared one must say so with `!`.
    pub(super) fn require_non_null(&mut self, ty: TypeId, column: ColumnId, at: Span, what: &str) {
        let owner = &self.types[ty.0 as usize];
        let found = owner.column(column);
        if found.non_null {
            return;
        }
        let declared = self.drafts[ty.0 as usize]
            .fields
            .iter()
            .any(|field| field.used("ref").is_none() && column_name(field) == found.name);
        if declared {
            let message = format!("`{}` may be null, but is {what}", found.name);
            self.faults.push(
                Diagnostic::error("S032", at, message)
                    .label("nullable")
                    .help(format!("Write the type of `{}.{}` with `!`.", owner.name, found.name)),
            );
        } else {
            self.types[ty.0 as usize].columns[column.0 as usize].non_null = true;
        }
    }

    /// Value types are stored whole inside a row, and what reads them recurses: so their depth is bounded.
    fn refuse_records_in_themselves(&mut self) {
        let depths = self.record_depths();
        for ty in self.ids().filter(|ty| depths[ty.0 as usize] > RECORDS_DEPTH_MAX) {
            let found = &self.types[ty.0 as usize];
            let fault = match self.holds_itself(ty) {
                true => {
                    Diagnostic::error("S045", found.span, format!("a `{}` would hold itself", found.name))
                        .label("endless")
                        .help("Value types are stored inside a row, so they cannot nest without end.")
                }
                false => {
                    let message = format!(
                        "from `{}` on more than {RECORDS_DEPTH_MAX} value types stand inside each other",
                        found.name
                    );
                    Diagnostic::error("S045", found.span, message)
                        .label("too deep")
                        .help("Make one of the inner types an entity with its own `@table`, and refer to it.")
                }
            };
            self.faults.push(fault);
        }
    }

    /// How many value types stand inside each other in each, itself counted; more than the bound means endless too.
    fn record_depths(&self) -> Vec<usize> {
        let mut depths = vec![0; self.types.len()];
        for _ in 0..=RECORDS_DEPTH_MAX {
            let all = (0..u32::try_from(self.types.len()).expect("types are counted in u32")).map(TypeId);
            let holds =
                |ty: &TypeId| matches!(self.types[ty.0 as usize].kind, TypeKind::Udt | TypeKind::Variants);
            for ty in all.filter(holds) {
                let inner = self.records_in(ty).map(|inner| depths[inner.0 as usize]).max();
                depths[ty.0 as usize] = 1 + inner.unwrap_or(0);
            }
        }
        depths
    }

    fn holds_itself(&self, ty: TypeId) -> bool {
        let mut open: Vec<TypeId> = self.records_in(ty).collect();
        let mut seen = Vec::new();
        while let Some(next) = open.pop() {
            if next == ty {
                return true;
            }
            if !seen.contains(&next) {
                seen.push(next);
                open.extend(self.records_in(next));
            }
        }
        false
    }

    fn records_in(&self, ty: TypeId) -> impl Iterator<Item = TypeId> {
        self.types[ty.0 as usize].columns.iter().filter_map(|column| record_in(&column.ty))
    }
}

/// Rule L16: counters cannot be replayed. A repeated increment counts twice, and no stamp can undo it.
pub(super) fn counter(at: Span) -> Diagnostic {
    Diagnostic::error("L16", at, "a counter column would count repeated events twice")
        .label("a counter")
        .help("Keep the number in an `Int` or `Long` column: each event is applied to it exactly once.")
}

/// The name of the column that a field is stored in.
pub(super) fn column_name<'f>(field: &'f FieldDraft<'_>) -> &'f str {
    match field.used("column").and_then(|used| used.text("name")) {
        Some(name) => &name.value,
        None => &field.node.name,
    }
}

/// Adds the nearest of some names to a fault, or all of them.
pub(super) fn with_nearest<'n>(
    fault: Diagnostic,
    name: &str,
    names: impl Iterator<Item = &'n str> + Clone,
) -> Diagnostic {
    match nearest(name, names.clone()) {
        Some(near) => fault.help(format!("Did you mean `{near}`?")).fix_name(name, names),
        None => fault.help(format!("There are: {}.", names.collect::<Vec<_>>().join(", "))),
    }
}

/// Whether a column can be part of a key: of a table, or of a map.
pub(super) fn can_be_key(ty: &ColumnType) -> bool {
    match ty {
        ColumnType::Scalar(scalar) => is_ordered(*scalar),
        ColumnType::Enum(_) => true,
        ColumnType::Record(_) | ColumnType::List(_) | ColumnType::Set(_) | ColumnType::Map { .. } => false,
    }
}

/// Whether two key types hold the same values: `ID` is text.
pub(crate) fn same_key_type(column: &ColumnType, named: Named) -> bool {
    match (column, named) {
        (ColumnType::Scalar(here), Named::Scalar(there)) => same_values(*here, there),
        (ColumnType::Enum(here), Named::Enum(there)) => *here == there,
        _ => false,
    }
}

fn record_in(ty: &ColumnType) -> Option<TypeId> {
    match ty {
        ColumnType::Record(record) | ColumnType::Map { record, .. } => Some(*record),
        ColumnType::List(of) | ColumnType::Set(of) => record_in(of),
        ColumnType::Scalar(_) | ColumnType::Enum(_) => None,
    }
}

/// The fault of a text that names nothing.
pub(super) fn not_a_name(text: &Text) -> Diagnostic {
    Diagnostic::error("S013", text.span, format!("`{}` is not a name", text.value))
        .label("not a name")
        .help("A name has letters, digits and `_`, and begins with a letter.")
}

pub(super) fn is_name(text: &str) -> bool {
    text.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_')
        && text.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}
