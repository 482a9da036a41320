//! One declaration → one projection, typed against its read model.
//!
//! Comes in: a declaration, the read model, its plan, handlers written in Rust. Goes out: the projection, and every
//! fault. `steps` binds what the cases do, `kind` chooses how rows are written; which files there are is `load`'s.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::declaration::{Declaration, FromDecl};
use super::nearest::advice;
use super::yaml::Text;
use super::{
    Compute, CustomHandlers, Handling, Origin, Projection, RowShape, Tombstone, Unknown, kind, steps,
};
use crate::diagnostic::{Diagnostic, FileId, Span};
use crate::expr::{self, Compiled, Env, Expected, Read, Type};
use crate::plan::Plan;
use crate::schema::{Column, ColumnId, ColumnType, FieldSource, ObjectType, ReadModel, Scalar, TypeId};
use crate::upcast::{self, Chain, Upcast};
use crate::value::Value;

/// Slot of the row before the event; slot 0 is the event.
pub const ROW: usize = 1;

/// Binds one projection.
pub struct Binder<'a> {
    pub model: &'a ReadModel,
    pub plan: &'a Plan,
    pub ty: &'a ObjectType,
    pub entity: TypeId,
    /// Columns that `compute` makes.
    pub computed: Vec<ColumnId>,
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
        let from = self.one_source(declaration);
        let key = self.key(&declaration.key, declaration.span);
        let origin = from.and_then(|from| self.origin(from));
        let upcasts = self.upcasts(declaration);
        let handling = match &declaration.handler {
            Some(name) => self.custom(name, declaration, custom),
            None => Some(Handling::Declared(Box::new(steps::declared(&mut self, declaration)))),
        };
        let compute = self.compute(&declaration.compute);
        let mut origin = origin?;
        origin.record_key_column = record_key_column(&origin, &key);
        self.tombstone(from?, &origin, &key);
        let handling = handling?;
        if declaration.faulty {
            return None; // What kind it would be rests on what could not be read.
        }
        let (kind, kind_reason) = kind::choose(&mut self, &origin, &key, &handling, &compute)?;
        Some(Projection {
            name: Arc::from(declaration.name.as_ref()?.text.as_str()),
            file,
            span: declaration.span,
            entity: self.entity,
            entity_name: Arc::from(self.ty.name.as_str()),
            from: origin,
            key,
            unknown: declaration.unknown.unwrap_or(Unknown::Park),
            kind,
            kind_reason,
            handling,
            compute,
            upcasts,
            shape: shape(self.model, self.ty),
        })
    }

    /// Compiles an expression; its faults are kept, at places inside the text where the text is the file's.
    pub fn compile(
        &mut self,
        text: &Text,
        names: &[(String, Type)],
        expected: &Expected,
    ) -> Option<Compiled> {
        let env = Env { model: self.model, names: names.to_vec(), columns_of: None };
        match expr::compile(&text.text, text.span, &env, expected) {
            Ok(compiled) => Some(compiled),
            Err(found) => {
                self.faults.extend(found.into_iter().map(|fault| match text.exact {
                    true => fault,
                    false => Diagnostic { span: Some(text.span), ..fault },
                }));
                None
            }
        }
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
        let FieldSource::Ref(decl) = &self.ty.field(self.ty.field_named(name)?).source else { return None };
        let (_, column) = decl.key.first()?;
        Some(format!(
            "`{name}` is a reference; what is stored is its key: `{}`",
            self.ty.column(*column).name
        ))
    }

    fn one_source<'d>(&mut self, declaration: &'d Declaration) -> Option<&'d FromDecl> {
        for other in declaration.from.iter().skip(1) {
            self.fault(
                "P015",
                other.span,
                format!("the events of `{}` would come from several topics", self.ty.name),
                "their order would have to be made first (kind C, merged fold), which is not supported yet: feed a read model from one topic",
            );
        }
        declaration.from.first()
    }

    fn origin(&mut self, from: &FromDecl) -> Option<Origin> {
        self.format(from);
        let names = [("event".to_owned(), Type::Dyn)];
        if from.topic.is_none() {
            self.fault("P005", from.span, "`from` has no `topic`", "name the topic: `topic: shop.orders`");
        }
        if from.type_name.is_none() {
            let help = "say where an event's type stands: `type: event.type`";
            self.fault("P005", from.span, "`from` has no `type`", help);
        }
        let time = Expected::Cell { ty: ColumnType::Scalar(Scalar::DateTime), nullable: true };
        let mut compile =
            |text: &Option<Text>, expected| text.as_ref().map(|text| self.compile(text, &names, expected));
        let type_name = compile(&from.type_name, &Expected::Text);
        let version = compile(&from.version, &Expected::Int);
        let time = compile(&from.time, &time);
        let record_key = compile(&from.record_key, &Expected::Text);
        Some(Origin {
            topic: Arc::from(from.topic.as_ref()?.text.as_str()),
            type_name: type_name??,
            version: version.flatten(),
            time: time.flatten(),
            record_key: record_key.flatten(),
            record_key_column: None,
            tombstone: from.tombstone.map(|(tombstone, _)| tombstone),
        })
    }

    fn format(&mut self, from: &FromDecl) {
        let help = "write `format: json`";
        let Some(format) = &from.format else {
            return self.fault("P005", from.span, "`from` has no `format`", help);
        };
        let later = ["avro", "protobuf", "debezium", "cloudevents", "json-schema", "raw"];
        if later.contains(&format.text.to_lowercase().as_str()) {
            self.fault("P010", format.span, format!("`format: {}` is not supported yet", format.text), help);
        } else if format.text != "json" {
            self.fault("P006", format.span, format!("`{}` is not a format", format.text), help);
        }
    }

    /// `key`: every key column of the base table, once.
    fn key(&mut self, pairs: &[(Text, Text)], span: Span) -> Vec<(ColumnId, Compiled)> {
        let wanted = self.plan.entity(self.entity).base_key.clone();
        let names = [("event".to_owned(), Type::Dyn)];
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
            key.extend(self.compile(text, &names, &expected).map(|compiled| (column, compiled)));
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

    fn tombstone(&mut self, from: &FromDecl, origin: &Origin, key: &[(ColumnId, Compiled)]) {
        let Some((Tombstone::Delete, span)) = from.tombstone else { return };
        if origin.record_key_column.is_none() {
            return; // Said once, where the update kind is chosen.
        }
        let readable = |id: ColumnId| {
            matches!(
                self.ty.column(id).ty,
                ColumnType::Scalar(
                    Scalar::Id
                        | Scalar::String
                        | Scalar::Ascii
                        | Scalar::Byte
                        | Scalar::Short
                        | Scalar::Int
                        | Scalar::Long
                        | Scalar::BigInt
                        | Scalar::Uuid
                )
            )
        };
        if key.len() != 1 || !origin.record_key_column.is_some_and(readable) {
            self.fault(
                "P020",
                span,
                "`tombstone: delete` cannot tell which row to delete",
                "a record without a value has only its key: `recordKey` and the one column of `key` must be the same expression, of type ID, String, Int, Long, BigInt or UUID",
            );
        }
    }

    fn upcasts(&mut self, declaration: &Declaration) -> FxHashMap<Box<str>, Chain> {
        let mut by_type: FxHashMap<Box<str>, Vec<(i64, Upcast)>> = FxHashMap::default();
        let mut known: Vec<&str> = declaration.events.iter().map(|event| event.name.text.as_str()).collect();
        known.dedup();
        for step in &declaration.upcasts {
            if declaration.handler.is_none() && !known.contains(&step.type_name.text.as_str()) {
                let help = advice(&step.type_name.text, known.iter().copied());
                self.fault(
                    "P017",
                    step.type_name.span,
                    format!("`events` has no `{}`", step.type_name.text),
                    help,
                );
            }
            let steps = by_type.entry(step.type_name.text.as_str().into()).or_default();
            if let Some((last, _)) = steps.last()
                && step.version != last + 1
            {
                let message =
                    format!("version {} of `{}` follows version {last}", step.version, step.type_name.text);
                self.fault("P017", step.version_span, message, "write the versions in order, without a gap");
            }
            let mut upcast = Upcast {
                rename: step.rename.iter().map(|(old, new)| (boxed(old), boxed(new))).collect(),
                default: Vec::new(),
                drop: step.drop.iter().map(boxed).collect(),
            };
            for (field, json) in &step.default {
                match upcast::plain(json) {
                    Ok(value) => upcast.default.push((boxed(field), value)),
                    Err(reason) => {
                        let message =
                            format!("the default of `{}` is not a plain value: {reason}", field.text);
                        self.fault(
                            "P017",
                            field.span,
                            message,
                            "write text, a number, true, false, null, or lists and maps of them",
                        );
                    }
                }
            }
            steps.push((step.version, upcast));
        }
        by_type.into_iter().map(|(name, steps)| (name, Chain::new(steps))).collect()
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

    /// `compute`, in an order in which each column comes after those that it reads.
    fn compute(&mut self, pairs: &[(Text, Text)]) -> Vec<Compute> {
        let names = [("row".to_owned(), Type::Record(self.entity))];
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
            let column = self.ty.column(id).clone();
            let expected = Expected::Cell { ty: column.ty, nullable: !column.non_null };
            let Some(value) = self.compile(text, &names, &expected) else { continue };
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

/// The key column made from the expression that also makes the record's key.
fn record_key_column(origin: &Origin, key: &[(ColumnId, Compiled)]) -> Option<ColumnId> {
    let wanted = without_blanks(&origin.record_key.as_ref()?.text);
    key.iter().find(|(_, compiled)| without_blanks(&compiled.text) == wanted).map(|(column, _)| *column)
}

fn boxed(text: &Text) -> Box<str> {
    text.text.as_str().into()
}

fn without_blanks(text: &str) -> String {
    text.chars().filter(|character| !character.is_whitespace()).collect()
}

fn shape(model: &ReadModel, ty: &ObjectType) -> RowShape {
    let mut shape = RowShape {
        columns: ty.columns.clone(),
        expiry: ty.tables.first().and_then(|base| base.expiry),
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
