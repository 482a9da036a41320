//! Makes the [`ReadModel`] of the declarations: kinds, names, scalars and enums here; `column`, `table`, `read` and
//! `connection` do what their names say.
//!
//! Comes in: parsed files. Goes out: a model whose every index is right, or every fault at once.

use apollo_compiler::{Node, ast};
use rustc_hash::{FxHashMap, FxHashSet};

use super::column::{is_name, not_a_name};
use super::columns::later;
use super::directive::{Known, Place, Use, uses};
use super::parse::{Declarations, In, ObjectDeclaration, name_span, place, span, twice};
use super::scalar::{BUILT_IN, SCALARS, scalar_at, scalar_named, specified_by};
use super::{
    Argument, EnumId, EnumType, Field, FieldId, FieldSource, FieldType, KeyFunction, Named, ObjectType,
    Scalar, TypeId, TypeKind, Vector, connection, names,
};
use crate::diagnostic::{Diagnostic, FileId, Sources, Span, nearest};

/// What is known while the model is being made.
pub(super) struct Binder<'a> {
    pub sources: &'a Sources,
    pub known: Known,
    /// Every type that a field may name.
    pub named: FxHashMap<String, Named>,
    /// The object types that the author wrote; the first of `types` are these, in the same order.
    pub drafts: Vec<Draft<'a>>,
    pub types: Vec<ObjectType>,
    pub enums: Vec<EnumType>,
    /// Scalars that no name and no address binds, with their place: what a field of one stores, the field must say.
    pub unbound: FxHashMap<String, Span>,
    /// Interfaces and unions, with their members.
    pub variants: Vec<(TypeId, Vec<TypeId>)>,
    /// Connections whose rows are counted.
    pub counted: FxHashSet<String>,
    /// Types with a directive that is not known. What they lack may be what it was meant to say, so nothing is said of it.
    pub unclear: Vec<TypeId>,
    pub faults: Vec<Diagnostic>,
}

/// An object type on its way to the model.
pub(super) struct Draft<'a> {
    pub declaration: &'a ObjectDeclaration<'a>,
    pub uses: Vec<Use>,
    pub fields: Vec<FieldDraft<'a>>,
}

/// A field on its way to the model.
pub(super) struct FieldDraft<'a> {
    pub file: FileId,
    pub node: &'a ast::FieldDefinition,
    /// The field's name.
    pub span: Span,
    pub uses: Vec<Use>,
    /// `None` where the type is not known; that is a fault already.
    pub ty: Option<FieldType>,
    /// What `@column(type:)` says that is stored.
    pub stored: Option<Scalar>,
    /// That it is a vector, where `@column(type:)` says so.
    pub vector: Option<Vector>,
}

impl FieldDraft<'_> {
    /// The use of a directive of ours on this field.
    pub fn used(&self, name: &str) -> Option<&Use> {
        self.uses.iter().find(|used| used.name == name)
    }

    /// Whether the field is stored, but not in the graph.
    pub fn hidden(&self) -> bool {
        self.used("column").is_some_and(|column| column.flag("hidden"))
    }
}

/// Types, enums and the faults found on the way.
pub(super) struct Bound {
    pub types: Vec<ObjectType>,
    pub enums: Vec<EnumType>,
    pub query: Option<TypeId>,
    pub faults: Vec<Diagnostic>,
}

/// Binds everything.
pub(super) fn bind(declarations: &Declarations<'_>, sources: &Sources) -> Bound {
    let mut binder = Binder {
        sources,
        known: Known::new(&declarations.directives, &declarations.schema_directives),
        named: FxHashMap::default(),
        drafts: Vec::new(),
        types: Vec::new(),
        enums: Vec::new(),
        unbound: FxHashMap::default(),
        variants: Vec::new(),
        counted: FxHashSet::default(),
        unclear: Vec::new(),
        faults: Vec::new(),
    };
    binder.refuse_what_is_later(declarations);
    binder.check_directives_elsewhere(declarations);
    binder.add_scalars(declarations);
    binder.check_extended_scalars(declarations);
    binder.add_enums(declarations);
    binder.add_objects(declarations);
    binder.add_abstracts(declarations);
    connection::derive(&mut binder, declarations);
    binder.add_fields(declarations);
    binder.bind_columns();
    connection::check_declared(&mut binder);
    binder.bind_keys_and_tables();
    binder.check_headers();
    binder.bind_refs();
    binder.bind_key_records();
    binder.check_nested_keys();
    binder.bind_interface_keys(declarations);
    binder.bind_indexes();
    binder.bind_reads();
    binder.check_names();
    let query = binder.query(declarations);
    Bound { types: binder.types, enums: binder.enums, query, faults: binder.faults }
}

impl<'a> Binder<'a> {
    fn refuse_what_is_later(&mut self, declarations: &Declarations<'a>) {
        for name in &declarations.inputs {
            self.faults.push(later("an input type", name_span(name.file, name.node)));
        }
        for object in &declarations.objects {
            if matches!(object.name.as_str(), "Mutation" | "Subscription") {
                self.faults.push(later(&format!("the root type `{}`", object.name), object.span));
            }
        }
        for operation in &declarations.root_operations {
            let (kind, name) = &**operation.node;
            let at = name_span(operation.file, name);
            match kind {
                ast::OperationType::Query if name == "Query" => {}
                ast::OperationType::Query => {
                    self.faults.push(later("a root type with another name than `Query`", at));
                }
                _ => self.faults.push(later(&format!("the root operation `{kind}`"), at)),
            }
        }
        for &at in &declarations.executable {
            self.faults.push(
                Diagnostic::error("S017", at, "an operation or fragment stands in the schema")
                    .label("not a type")
                    .help("Schema files hold types only. Move it into a case's `query`."),
            );
        }
    }

    fn check_directives_elsewhere(&mut self, declarations: &Declarations<'a>) {
        let mut elsewhere = declarations.schema_directives.clone();
        let within = |file| move |node| In { file, node };
        for scalar in &declarations.scalars {
            elsewhere.extend(scalar.node.directives.iter().map(within(scalar.file)));
        }
        for value in declarations.enums.iter().flat_map(|found| &found.values) {
            elsewhere.extend(value.node.directives.iter().map(within(value.file)));
        }
        for scalar in &declarations.scalar_extensions {
            elsewhere.extend(scalar.node.directives.iter().map(within(scalar.file)));
        }
        for interface in &declarations.interfaces {
            elsewhere.extend(&interface.directives);
            for In { file, node } in &interface.fields {
                elsewhere.extend(node.directives.iter().map(within(*file)));
                elsewhere.extend(
                    node.arguments.iter().flat_map(|argument| &argument.directives).map(within(*file)),
                );
            }
        }
        elsewhere.extend(declarations.unions.iter().flat_map(|union| &union.directives));
        uses(&elsewhere, Place::Elsewhere, &self.known, self.sources, &mut self.faults);
    }

    fn add_scalars(&mut self, declarations: &Declarations<'a>) {
        for (name, scalar) in BUILT_IN {
            self.named.insert((*name).to_string(), Named::Scalar(*scalar));
        }
        let mut declared: Vec<(&str, Span)> = Vec::new();
        for In { file, node } in &declarations.scalars {
            let name = node.name.as_str();
            let at = name_span(*file, &node.name);
            if let Some((_, first)) = declared.iter().find(|(before, _)| *before == name) {
                self.faults.push(twice("scalar", name, at, &place(*first, self.sources)));
            }
            declared.push((name, at));
            // Scalars of linked specifications (`federation__FieldSet`) are never stored.
            if name.contains("__") || BUILT_IN.iter().any(|(known, _)| *known == name) {
                continue;
            }
            let extensions =
                declarations.scalar_extensions.iter().filter(|other| other.node.name == node.name);
            let url = specified_by(&node.directives)
                .or_else(|| extensions.into_iter().find_map(|other| specified_by(&other.node.directives)));
            let bound = url.and_then(scalar_at).or_else(|| scalar_named(name));
            match bound {
                Some(scalar) => {
                    self.named.insert(name.to_string(), Named::Scalar(scalar));
                }
                None => {
                    match name {
                        "Counter" => self.faults.push(super::column::counter(at)),
                        _ => drop(self.unbound.insert(name.to_string(), at)),
                    }
                    // Said once: fields of it are not faults of their own.
                    self.named.insert(name.to_string(), Named::Scalar(Scalar::String));
                }
            }
        }
    }

    fn check_extended_scalars(&mut self, declarations: &Declarations<'a>) {
        for In { file, node } in &declarations.scalar_extensions {
            let is_it = |scalar: &In<'_, Node<ast::ScalarTypeDefinition>>| scalar.node.name == node.name;
            let is_built_in = BUILT_IN.iter().any(|(known, _)| *known == node.name.as_str());
            if !is_built_in && !declarations.scalars.iter().any(is_it) {
                self.faults.push(never_defined("scalar", &node.name, name_span(*file, &node.name)));
            }
        }
    }

    fn add_enums(&mut self, declarations: &Declarations<'a>) {
        for declared in &declarations.enums {
            let name = declared.name.to_string();
            let id = EnumId(u32::try_from(self.enums.len()).expect("enums are counted in u32"));
            if !declared.defined {
                self.faults.push(never_defined("enum", &name, declared.span));
            }
            let mut values: Vec<(String, Span)> = Vec::new();
            for value in &declared.values {
                let text = value.node.value.to_string();
                let at = name_span(value.file, &value.node.value);
                if let Some((_, first)) = values.iter().find(|(before, _)| *before == text) {
                    self.faults.push(twice("enum value", &text, at, &place(*first, self.sources)));
                }
                values.push((text, at));
            }
            let values = values.into_iter().map(|(text, _)| text).collect();
            self.enums.push(EnumType { name: name.clone(), values, span: declared.span });
            self.name_type(name, Named::Enum(id), declared.span);
        }
    }

    fn add_objects(&mut self, declarations: &Declarations<'a>) {
        for declared in &declarations.objects {
            let name = declared.name.to_string();
            let id = TypeId(u32::try_from(self.types.len()).expect("types are counted in u32"));
            self.types.push(ObjectType::new(name.clone(), declared.span));
            self.name_type(name, Named::Object(id), declared.span);
        }
    }

    pub(super) fn name_type(&mut self, name: String, named: Named, at: Span) {
        if self.named.contains_key(&name) {
            let message = format!("two types are named `{name}`");
            self.faults
                .push(Diagnostic::error("S002", at, message).label("a second time").help("Rename one."));
            return;
        }
        self.named.insert(name, named);
    }

    /// Adds the directives and fields of every object type, and says what kind of type it is.
    fn add_fields(&mut self, declarations: &'a Declarations<'a>) {
        for (index, declaration) in declarations.objects.iter().enumerate() {
            let id = TypeId(u32::try_from(index).expect("types are counted in u32"));
            let before = self.faults.len();
            let found =
                uses(&declaration.directives, Place::Object, &self.known, self.sources, &mut self.faults);
            if self.faults[before..].iter().any(|fault| fault.code == "S010") {
                self.unclear.push(id);
            }
            let draft = Draft { declaration, uses: found, fields: self.field_drafts(declaration) };
            self.types[index].stored_as = self.udt_name(&draft);
            self.types[index].kind = self.kind(id, &draft);
            self.drafts.push(draft);
        }
    }

    /// The name that `@udt` gives the CQL type.
    fn udt_name(&mut self, draft: &Draft<'_>) -> Option<String> {
        let text = draft.uses.iter().find(|used| used.name == "udt")?.text("name")?;
        if is_name(&text.value) {
            return Some(text.value.clone());
        }
        self.faults.push(not_a_name(text));
        None
    }

    fn field_drafts(&mut self, declaration: &'a ObjectDeclaration<'a>) -> Vec<FieldDraft<'a>> {
        let mut drafts: Vec<FieldDraft<'a>> = Vec::new();
        for In { file, node } in &declaration.fields {
            let (file, node): (FileId, &'a ast::FieldDefinition) = (*file, node);
            let at = name_span(file, &node.name);
            if let Some(first) = drafts.iter().find(|before| before.node.name == node.name) {
                let name = format!("{}.{}", declaration.name, node.name);
                self.faults.push(twice("field", &name, at, &place(first.span, self.sources)));
                continue;
            }
            let directives: Vec<_> = node.directives.iter().map(|node| In { file, node }).collect();
            let found = uses(&directives, Place::Field, &self.known, self.sources, &mut self.faults);
            let ty = self.field_type(&node.ty, file);
            drafts.push(FieldDraft { file, node, span: at, uses: found, ty, stored: None, vector: None });
            self.type_field(drafts.last_mut().expect("one was pushed"));
        }
        drafts
    }

    /// The model's form of a type reference; a name that is not known is a fault.
    pub fn field_type(&mut self, ty: &ast::Type, file: FileId) -> Option<FieldType> {
        match ty {
            ast::Type::Named(name) | ast::Type::NonNullNamed(name) => {
                let non_null = matches!(ty, ast::Type::NonNullNamed(_));
                if let Some(&name) = self.named.get(name.as_str()) {
                    return Some(FieldType::Named { name, non_null });
                }
                self.faults.push(self.unknown_type(name, name_span(file, name)));
                None
            }
            ast::Type::List(of) | ast::Type::NonNullList(of) => {
                let non_null = matches!(ty, ast::Type::NonNullList(_));
                Some(FieldType::List { of: Box::new(self.field_type(of, file)?), non_null })
            }
        }
    }

    fn unknown_type(&self, name: &str, at: Span) -> Diagnostic {
        let fault = Diagnostic::error("S020", at, format!("no type is named `{name}`")).label("not declared");
        if scalar_named(name).is_some() {
            return fault.help(format!("Declare it: `scalar {name}`."));
        }
        let near =
            nearest(name, self.named.keys().map(String::as_str).chain(SCALARS.iter().map(|(name, _)| *name)));
        match near {
            Some(near) if self.named.contains_key(near) => fault
                .help(format!("Did you mean `{near}`?"))
                .fix_name(name, self.named.keys().map(String::as_str)),
            Some(near) => fault.help(format!("Did you mean `{near}`? It is declared by `scalar {near}`.")),
            None => fault.help("Declare the type, or write one that is declared."),
        }
    }

    /// Whether what a type lacks may be meant by a directive that is not known.
    pub fn is_unclear(&self, ty: TypeId) -> bool {
        self.unclear.contains(&ty)
    }

    fn kind(&mut self, ty: TypeId, draft: &Draft<'_>) -> TypeKind {
        let declaration = draft.declaration;
        let name = declaration.name.as_str();
        if let Some(kind) = connection::kind_by_name(name, &self.named) {
            return kind;
        }
        let uses = |wanted: &str| draft.uses.iter().find(|used| used.name == wanted);
        let is = |wanted: &str| declaration.directives.iter().any(|directive| directive.node.name == wanted);
        if name == "Query" || matches!(name, "Mutation" | "Subscription") {
            if let Some(used) = draft.uses.first() {
                let message = format!("`@{}` cannot stand on the root type `{name}`", used.name);
                self.faults.push(Diagnostic::error("S011", used.span, message).label("wrong place"));
            }
            return TypeKind::Query;
        }
        if let Some(udt) = uses("udt")
            && let Some(other) = ["table", "key"].into_iter().find(|other| is(other))
        {
            let message = format!("`{name}` has `@udt` and `@{other}`");
            self.faults.push(
                Diagnostic::error("S024", udt.span, message)
                    .label("a value type")
                    .help("A value type lives inside a row and has no key of its own. Keep one of the two."),
            );
        }
        match (is("table"), is("udt"), is("key")) {
            (true, ..) => TypeKind::Entity,
            (_, true, _) => TypeKind::Udt,
            (.., true) => TypeKind::Stub,
            _ if self.is_unclear(ty) => TypeKind::Udt,
            _ => {
                let message = format!("nothing says how `{name}` is stored");
                self.faults.push(
                    Diagnostic::error("S023", declaration.span, message)
                        .label("neither table, value type nor key")
                        .help(
                            "Give it `@table(name: …, partition: …)` if its rows are stored here, `@udt` if it lives \
                             inside a row, or `@key(fields: …)` if it is another subgraph's.",
                        ),
                );
                TypeKind::Udt
            }
        }
    }

    fn check_names(&mut self) {
        let mut faults = Vec::new();
        let mut type_names: Vec<(&str, Span)> = Vec::new();
        let mut tables: Vec<(&str, Span)> = Vec::new();
        let mut headers = tables.clone();
        for declared in &self.enums {
            names::check("enum", &declared.name, declared.span, &mut faults);
        }
        for (ty, draft) in self.types.iter().zip(&self.drafts) {
            names::check("type", &ty.name, ty.span, &mut faults);
            if matches!(ty.kind, TypeKind::Entity | TypeKind::Udt) {
                let named =
                    draft.uses.iter().find_map(|used| used.text("name").filter(|_| used.name == "udt"));
                match (&ty.stored_as, named) {
                    (Some(name), Some(text)) => {
                        names::check("type", name, text.span, &mut faults);
                        type_names.push((name, text.span));
                    }
                    _ => type_names.push((&ty.name, ty.span)),
                }
            }
            for field in &draft.fields {
                names::check("field", &field.node.name, field.span, &mut faults);
                for argument in &field.node.arguments {
                    names::check(
                        "argument",
                        &argument.name,
                        name_span(field.file, &argument.name),
                        &mut faults,
                    );
                }
            }
            for table in &ty.tables {
                match table.partition.iter().any(|part| matches!(part.via, KeyFunction::Bucket(_))) {
                    true => names::check_bucketed(&table.name, table.span, &mut faults),
                    false => names::check("table", &table.name, table.span, &mut faults),
                }
                let of_its_kind = if table.is_header { &mut headers } else { &mut tables };
                of_its_kind.push((&table.name, table.span));
            }
            let columns: Vec<(&str, Span)> =
                ty.columns.iter().map(|column| (column.name.as_str(), column.span)).collect();
            for (name, at) in &columns {
                let is_field = draft.fields.iter().any(|field| field.node.name == *name);
                // The engine's own column stands where its table does.
                let is_ours = *name == names::TIME && draft.uses.iter().any(|used| used.span == *at);
                if !is_field && !is_ours {
                    names::check("column", name, *at, &mut faults);
                }
            }
            names::check_distinct("column", &columns, self.sources, &mut faults);
        }
        // What is stored of interfaces and unions is a type in the store too.
        let made = self.types.iter().filter(|ty| match ty.kind {
            TypeKind::Variants => !ty.columns.is_empty(),
            // A type of that very name is a fault already.
            TypeKind::Key { .. } => !self.named.contains_key(&ty.name),
            _ => false,
        });
        type_names.extend(made.map(|ty| (ty.stored_name(), ty.span)));
        names::check_distinct("type", &type_names, self.sources, &mut faults);
        names::check_distinct("table", &tables, self.sources, &mut faults);
        names::check_distinct("header of the table", &headers, self.sources, &mut faults);
        self.faults.extend(faults);
    }

    fn query(&mut self, declarations: &Declarations<'_>) -> Option<TypeId> {
        for declared in &declarations.objects {
            if declared.fields.is_empty() {
                let message = format!("the type `{}` has no fields", declared.name);
                self.faults.push(
                    Diagnostic::error("S025", declared.span, message).label("empty").help(format!(
                        "Give it a field, or remove it: `type {} {{ id: ID! }}`.",
                        declared.name
                    )),
                );
            }
        }
        let query = self.types.iter().position(|ty| ty.name == "Query");
        if query.is_none() {
            self.faults.push(Diagnostic {
                span: None,
                ..Diagnostic::error("S022", NOWHERE, "the schema has no type `Query`")
                    .help("Write `type Query { order(id: ID!): Order @read }`: what can be asked for.")
            });
        }
        query.map(|index| TypeId(u32::try_from(index).expect("types are counted in u32")))
    }

    /// An argument of a field, without what it binds to.
    pub fn argument(&mut self, file: FileId, node: &ast::InputValueDefinition) -> Option<(FieldType, Span)> {
        let at = name_span(file, &node.name);
        let ty = self.field_type(&node.ty, file)?;
        Some((ty, at))
    }

    /// Adds a field to a type of the model.
    pub fn push_field(
        &mut self,
        ty: TypeId,
        draft: usize,
        source: FieldSource,
        args: Vec<Argument>,
    ) -> FieldId {
        let field = &self.drafts[ty.0 as usize].fields[draft];
        let found = Field {
            name: field.node.name.to_string(),
            ty: field.ty.clone().expect("fields of unknown type are left out"),
            args,
            source,
            span: field.span,
        };
        let fields = &mut self.types[ty.0 as usize].fields;
        fields.push(found);
        FieldId(u32::try_from(fields.len() - 1).expect("fields are counted in u32"))
    }

    /// The draft of a type that the author wrote, by number.
    pub fn ids(&self) -> impl Iterator<Item = TypeId> + use<> {
        (0..u32::try_from(self.drafts.len()).expect("types are counted in u32")).map(TypeId)
    }
}

const NOWHERE: Span = Span { file: FileId(0), start: 0, end: 0 };

pub(super) fn never_defined(what: &str, name: &str, at: Span) -> Diagnostic {
    Diagnostic::error("S026", at, format!("the {what} `{name}` is extended, but never defined"))
        .label("extended here")
        .help(format!("Write `{what} {name}` without `extend` once."))
}

/// Where a directive of the federation's stands on a type, by name.
pub(super) fn federation<'d>(
    declaration: &'d ObjectDeclaration<'_>,
    name: &'d str,
) -> impl Iterator<Item = (FileId, &'d ast::Directive)> {
    declaration
        .directives
        .iter()
        .filter(move |directive| directive.node.name == name)
        .map(|directive| (directive.file, &**directive.node))
}

/// The text of an argument of a directive that is not ours.
pub(super) fn argument_text<'d>(directive: &'d ast::Directive, name: &str) -> Option<&'d str> {
    directive.arguments.iter().find(|argument| argument.name == name)?.value.as_str()
}

/// Where a whole directive stands.
pub(super) fn directive_span(
    file: FileId,
    directive: &apollo_compiler::Node<ast::Directive>,
    sources: &Sources,
) -> Span {
    span(file, directive.location(), sources)
}
