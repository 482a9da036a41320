//! One declaration → one projection, typed against its read model.
//!
//! Comes in: a declaration, the read model, its plan, handlers written in Rust. Goes out: the projection, and every
//! fault. `steps` binds what the cases do, `kind` chooses how rows are written; which files there are is `load`'s.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::declaration::Declaration;
use super::json_schema::{self, EventShapes, SchemaFiles};
use super::names::Names;
use super::nearest::advice;
use super::sources::{reads_record, record_key_column};
use super::yaml::Text;
use super::{Assert, Compute, CustomHandlers, Handling, Key, Projection, RowShape, kind, steps};
use crate::diagnostic::{Diagnostic, FileId, Span};
use crate::expr::{self, Compiled, Env, Expected, Read, Shape, Type};
use crate::plan::Plan;
use crate::schema::{Column, ColumnId, ColumnType, FieldSource, ObjectType, ReadModel, TypeId};
use crate::value::Value;

/// Binds one projection.
pub struct Binder<'a> {
    pub model: &'a ReadModel,
    pub plan: &'a Plan,
    pub ty: &'a ObjectType,
    pub entity: TypeId,
    /// Columns that `compute` makes.
    pub computed: Vec<ColumnId>,
    /// Columns that remember events.
    pub kept: Vec<ColumnId>,
    pub schemas: &'a SchemaFiles,
    /// What is known of events, by type, and of an event of any type.
    pub events: EventShapes,
    pub event: Option<Arc<Shape>>,
    /// The path of keys to what is bound now, such as an event type and a column: faults of expressions begin with it.
    pub within: Vec<String>,
    pub faults: &'a mut Vec<Diagnostic>,
}

impl Binder<'_> {
    /// The projection, unless something that it cannot be without is missing; faults are reported either way.
    pub fn projection(
        mut self,
        declaration: &Declaration,
        file: FileId,
        custom: &CustomHandlers,
    ) -> Option<Projection> {
        self.event_shapes(declaration);
        let names = Names::of_key(self.event.clone(), None);
        let keys: Vec<Key> =
            declaration.keys.iter().map(|key| self.key(key, declaration.span, &names)).collect();
        let sources = self.sources(declaration);
        let upcasts = self.upcasts(declaration);
        let handling = match &declaration.handler {
            Some(name) => self.custom(name, declaration, custom),
            None => Some(Handling::Declared(Box::new(steps::declared(&mut self, declaration)))),
        };
        let compute = self.compute(&declaration.compute);
        let asserts = self.asserts(&declaration.asserts);
        let mut sources = sources?;
        for (origin, from) in sources.iter_mut().zip(&declaration.from) {
            origin.record_key_column = keys.first().and_then(|key| record_key_column(origin, key));
            self.tombstone(from, origin, &keys, declaration.is_merged);
        }
        let handling = handling?;
        if declaration.faulty {
            return None; // What kind it would be rests on what could not be read.
        }
        let reads_record = reads_record(&sources, &keys, &handling);
        let (kind, kind_reason) =
            kind::choose(&mut self, declaration, (&sources, &keys), &handling, (&compute, &asserts))?;
        Some(Projection {
            name: Arc::from(declaration.name.as_ref()?.text.as_str()),
            file,
            span: declaration.span,
            entity: self.entity,
            entity_name: Arc::from(self.ty.name.as_str()),
            sources,
            keys,
            kind,
            kind_reason,
            handling,
            compute,
            asserts,
            upcasts,
            shape: shape(self.model, self.ty),
            reads_record,
        })
    }

    /// What the schemas of the sources say of the events that are handled.
    fn event_shapes(&mut self, declaration: &Declaration) {
        let names: Vec<&Text> = declaration.events.iter().map(|event| &event.name).collect();
        for schemas in declaration.from.iter().filter_map(|from| from.schemas.as_ref()) {
            self.events.extend(self.schemas.shapes(schemas, &names, self.faults));
        }
        self.event = json_schema::of_any(&self.events, &names);
    }

    /// Compiles an expression; its faults are kept, at places inside the text where the text is the file's.
    pub fn compile(&mut self, text: &Text, names: &Names, expected: &Expected) -> Option<Compiled> {
        let Names { names, shapes } = names.clone();
        let env = Env { model: self.model, names, shapes, columns_of: None };
        // What YAML has folded or unquoted is checked by itself, and the places of its faults are found afterwards.
        let span = match (text.exact, u32::try_from(text.text.len())) {
            (false, Ok(end)) => Span { start: 0, end, ..text.span },
            _ => text.span,
        };
        match expr::compile(&text.text, span, &env, expected) {
            Ok(mut compiled) => {
                compiled.span = text.span;
                Some(compiled)
            }
            Err(found) => {
                let within = self.within.join(".");
                self.faults.extend(found.into_iter().map(|fault| {
                    let message = match within.as_str() {
                        "" => fault.message,
                        within => format!("{within}: {}", fault.message),
                    };
                    let span = match (text.exact, fault.span) {
                        (false, Some(Span { start, end, .. })) => Some(text.part(start, end)),
                        (_, span) => span,
                    };
                    Diagnostic { message, span, ..fault }
                }));
                None
            }
        }
    }

    /// Binds what stands below a key.
    pub fn inside<T>(&mut self, key: &str, bind: impl FnOnce(&mut Self) -> T) -> T {
        self.within.push(key.to_owned());
        let bound = bind(self);
        self.within.pop();
        bound
    }

    /// Reports a fault.
    pub fn fault(
        &mut self,
        code: &'static str,
        span: Span,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.faults.push(Diagnostic::error(code, span, message).help(help));
    }

    /// Leaves out faults, from a place in the list on, that another event type has had already: those that are the same
    /// from a word of their message on.
    pub fn forget_repeated(&mut self, from: usize, word: &str) {
        let rest = |message: &str| message.find(word).map(|at| message[at..].to_owned());
        let (known, new) = self.faults.split_at(from);
        let same = |one: &Diagnostic, other: &Diagnostic| {
            (one.code, one.span, rest(&one.message)) == (other.code, other.span, rest(&other.message))
        };
        let keep: Vec<Diagnostic> =
            new.iter().filter(|fault| !known.iter().any(|other| same(fault, other))).cloned().collect();
        self.faults.truncate(from);
        self.faults.extend(keep);
    }

    /// The column of that name, or a fault with the nearest.
    pub fn column(&mut self, name: &Text) -> Option<ColumnId> {
        let found = self.ty.column_named(&name.text);
        if found.is_none() {
            let help = self.reference(&name.text).unwrap_or_else(|| {
                advice(&name.text, self.ty.columns.iter().map(|column| column.name.as_str()))
            });
            let message = format!("`{}` has no column `{}`", self.ty.name, name.text);
            let fault = Diagnostic::error("P012", name.span, message).help(help);
            let columns = self.ty.columns.iter().map(|column| column.name.as_str());
            self.faults.push(match self.reference(&name.text) {
                Some(_) => fault,
                None => fault.fix_name(&name.text, columns),
            });
        }
        found
    }

    /// Advice where a name is that of a reference, of which only the key is stored.
    fn reference(&self, name: &str) -> Option<String> {
        let column = match &self.ty.field(self.ty.field_named(name)?).source {
            FieldSource::Ref(decl) => &decl.key.first()?.1,
            FieldSource::Column(column) if self.ty.column(*column).hidden => column,
            _ => return None,
        };
        Some(format!(
            "`{name}` is a reference; what is stored is its key: `{}`",
            self.ty.column(*column).name
        ))
    }

    /// The beginning of a key: the partition of the base table, and the first of its clustering columns.
    pub(super) fn key_prefix(&mut self, pairs: &[(Text, Text)], span: Span, names: &Names) -> Key {
        let base = self.plan.table(self.plan.entity(self.entity).base);
        let columns = base.partition.iter().chain(&base.clustering).map(|part| part.part.column);
        let columns: Vec<ColumnId> = columns.collect();
        let said: Vec<ColumnId> =
            pairs.iter().filter_map(|(name, _)| self.ty.column_named(&name.text)).collect();
        let count = columns.iter().take_while(|column| said.contains(column)).count();
        let is_prefix = count >= base.partition.len() && count < columns.len();
        if !is_prefix || columns[count..].iter().any(|column| said.contains(column)) {
            let names: Vec<&str> =
                columns[..base.partition.len()].iter().map(|id| self.ty.column(*id).name.as_str()).collect();
            let message = "this is not the beginning of a key";
            let help = format!(
                "`delete: rows` takes the partition, {}, and may take the first of the clustering columns, but not all",
                quoted(&names)
            );
            self.fault("P014", span, message, help);
            return Key::new();
        }
        self.columns_of_key(pairs, names, &columns[..count])
    }

    fn columns_of_key(&mut self, pairs: &[(Text, Text)], names: &Names, wanted: &[ColumnId]) -> Key {
        let mut key = Key::new();
        for (name, text) in pairs {
            let Some(column) = self.column(name).filter(|column| wanted.contains(column)) else { continue };
            let expected = Expected::Cell { ty: self.ty.column(column).ty.clone(), nullable: false };
            key.extend(self.compile(text, names, &expected).map(|compiled| (column, compiled)));
        }
        key
    }

    /// `key`: every key column of the base table, once.
    pub(super) fn key(&mut self, pairs: &[(Text, Text)], span: Span, names: &Names) -> Key {
        let wanted = self.plan.entity(self.entity).base_key.clone();
        let mut key = Vec::new();
        let mut said = Vec::new();
        for (name, text) in pairs {
            let Some(column) = self.column(name) else { continue };
            said.push(column);
            if !wanted.contains(&column) {
                let base = &self.plan.table(self.plan.entity(self.entity).base).name;
                let message = format!("`{}` is not in the key of the base table `{base}`", name.text);
                self.fault(
                    "P014",
                    name.span,
                    message,
                    "name exactly the key columns of the type's first `@table`",
                );
                continue;
            }
            let expected = Expected::Cell { ty: self.ty.column(column).ty.clone(), nullable: false };
            let path = format!("key.{}", name.text);
            let compiled = self.inside(&path, |binder| binder.compile(text, names, &expected));
            key.extend(compiled.map(|compiled| (column, compiled)));
        }
        let missing: Vec<&str> = wanted
            .iter()
            .filter(|column| !said.contains(column))
            .map(|column| self.ty.column(*column).name.as_str())
            .collect();
        if !missing.is_empty() && !pairs.is_empty() {
            let message = format!("the row's key lacks {}", quoted(&missing));
            self.fault(
                "P014",
                pairs.first().map_or(span, |pair| pair.0.span),
                message,
                "say what each key column is made from",
            );
        }
        key.sort_by_key(|(column, _)| wanted.iter().position(|wanted| wanted == column));
        key
    }

    fn custom(
        &mut self,
        name: &Text,
        declaration: &Declaration,
        custom: &CustomHandlers,
    ) -> Option<Handling> {
        if let Some(when) = &declaration.when {
            self.fault("P011", when.span, "`when` is for `events`", "test conditions in the handler");
        }
        if let Some((first, _)) = declaration.lets.first() {
            self.fault("P011", first.span, "`let` is for `events`", "use variables of the handler");
        }
        if let Some((first, _)) = declaration.always.first() {
            self.fault("P011", first.span, "`always` is for `events`", "assign the columns in the handler");
        }
        let found = custom.get(&name.text).map(|handler| Handling::Custom(Arc::clone(handler)));
        if found.is_none() {
            let help = match custom.is_empty() {
                true => "no handler is registered: handlers written in Rust are given by the program that embeds the engine".to_owned(),
                false => advice(&name.text, custom.keys().map(String::as_str)),
            };
            self.fault("P019", name.span, format!("there is no handler `{}`", name.text), help);
        }
        found
    }

    /// The fault of computed columns that wait for each other; those that only wait for them are left out of it.
    fn circle(&mut self, mut open: Vec<(&Text, Compute)>) {
        let is_read = |column: ColumnId, open: &[(&Text, Compute)]| {
            open.iter().any(|(_, other)| other.reads.as_ref().is_none_or(|reads| reads.contains(&column)))
        };
        while let Some(unread) = open.iter().position(|(_, compute)| !is_read(compute.column, &open)) {
            open.remove(unread);
        }
        let names: Vec<&str> = open.iter().map(|(name, _)| name.text.as_str()).collect();
        let message = match names.as_slice() {
            [one] => format!("the computed column `{one}` reads itself"),
            several => format!("computed columns read each other in a circle: {}", quoted(several)),
        };
        let help = "a computed column reads columns that events assign, or computed ones that do not read it";
        self.fault("P016", open[0].0.span, message, help);
    }

    /// `assert`: conditions on the new row.
    fn asserts(&mut self, pairs: &[(Text, Text)]) -> Vec<Assert> {
        let names = Names::of_row(Type::Record(self.entity));
        let mut asserts = Vec::new();
        for (name, text) in pairs {
            let holds = self.compile(text, &names, &Expected::Condition);
            asserts.extend(holds.map(|holds| Assert { name: name.text.as_str().into(), holds }));
        }
        asserts
    }

    /// `compute`, in an order in which each column comes after those that it reads.
    fn compute(&mut self, pairs: &[(Text, Text)]) -> Vec<Compute> {
        let names = Names::of_row(Type::Record(self.entity));
        let base_key = self.plan.entity(self.entity).base_key.clone();
        let mut open = Vec::new();
        for (name, text) in pairs {
            let Some(id) = self.column(name) else { continue };
            if base_key.contains(&id) {
                self.fault(
                    "P016",
                    name.span,
                    format!("`{}` is in the row's key", name.text),
                    "a key is made from the event, by `key:`",
                );
                continue;
            }
            if self.kept.contains(&id) {
                let help = "compute another column, or let `from` name another";
                self.fault("P016", name.span, format!("`{}` remembers events", name.text), help);
                continue;
            }
            let column = self.ty.column(id).clone();
            let expected = Expected::Cell { ty: column.ty, nullable: !column.non_null };
            let path = format!("compute.{}", name.text);
            let value = self.inside(&path, |binder| binder.compile(text, &names, &expected));
            let Some(value) = value else { continue };
            let reads = columns_read(&value, 0);
            open.push((name, Compute { column: id, value, reads }));
        }
        let mut ordered: Vec<Compute> = Vec::new();
        while !open.is_empty() {
            let waits = |compute: &Compute| {
                let reads =
                    |column: ColumnId| compute.reads.as_ref().is_none_or(|reads| reads.contains(&column));
                open.iter().any(|(_, other)| reads(other.column))
            };
            let Some(next) = open.iter().position(|(_, compute)| !waits(compute)) else {
                self.circle(open);
                break;
            };
            ordered.push(open.remove(next).1);
        }
        ordered
    }
}

/// The columns of the row in a slot that an expression reads; `None`: the row as a whole.
pub fn columns_read(compiled: &Compiled, slot: usize) -> Option<Vec<ColumnId>> {
    let mut columns = Vec::new();
    for read in &compiled.reads {
        match read {
            Read::Slot(found) if *found == slot => return None,
            Read::Column(found, column) if *found == slot => columns.push(*column),
            _ => {}
        }
    }
    Some(columns)
}

/// Names as ``` `a`, `b` and `c` ```.
pub fn quoted(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        None => String::new(),
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
    }
}

/// Whether two texts are the same but for blanks.
pub fn same_text(one: &str, other: &str) -> bool {
    let visible = |character: &char| !character.is_whitespace();
    one.chars().filter(visible).eq(other.chars().filter(visible))
}

fn shape(model: &ReadModel, ty: &ObjectType) -> RowShape {
    let mut shape = RowShape {
        columns: ty.columns.clone(),
        expiry: ty.tables.first().and_then(|base| base.expiry),
        time: ty.time_column(),
        blank: ty.columns.iter().map(blank).collect(),
        records: FxHashMap::default(),
        enums: FxHashMap::default(),
    };
    for column in &ty.columns {
        reach(model, &column.ty, &mut shape);
    }
    shape
}

/// What a column holds in a new row before anything is assigned.
pub fn blank(column: &Column) -> Value {
    match (&column.ty, column.non_null) {
        (ColumnType::List(_), true) => Value::List(Vec::new()),
        (ColumnType::Set(_), true) => Value::Set(Vec::new()),
        (ColumnType::Map { .. }, true) => Value::Map(Vec::new()),
        _ => Value::Null,
    }
}

fn reach(model: &ReadModel, ty: &ColumnType, shape: &mut RowShape) {
    match ty {
        ColumnType::Scalar(_) => {}
        ColumnType::Enum(id) => {
            shape.enums.entry(id.0).or_insert_with(|| model.enumeration(*id).values.clone());
        }
        ColumnType::List(of) | ColumnType::Set(of) => reach(model, of, shape),
        ColumnType::Record(id) | ColumnType::Map { record: id, .. } => {
            if !shape.records.contains_key(id) {
                shape.records.insert(*id, model.ty(*id).columns.clone());
                for column in &model.ty(*id).columns {
                    reach(model, &column.ty, shape);
                }
            }
        }
    }
}
