//! The assignments of one case, typed against the columns.
//!
//! Comes in: paths and what stands behind them. Goes out: [`Step`]s, which columns are assigned as a whole, and faults:
//! columns that cannot be assigned, value types that lack a part, forms that a column's type does not have.

use super::bind::{Binder, quoted};
use super::declaration::SetDecl;
use super::names::Names;
use super::nearest::advice;
use super::path::Path;
use super::step::{EachMake, Make, RecordMake, Step};
use super::steps::{id, is_collection, is_name};
use super::yaml::Text;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Span;
use crate::expr::{Expected, Type};
use crate::schema::{Column, ColumnId, ColumnType, TypeId};

/// Binds the steps of one case.
pub struct Scope<'b, 'a> {
    pub binder: &'b mut Binder<'a>,
    pub names: Names,
    pub steps: Vec<Step>,
    /// Steps that are taken before these where the row is made.
    pub initially: Vec<Step>,
    /// Columns assigned as a whole.
    pub named: Vec<ColumnId>,
}

impl Scope<'_, '_> {
    /// Binds what a path is assigned.
    pub fn inside(&mut self, path: &Text, bind: impl FnOnce(&mut Self)) {
        self.binder.within.push(path.text.clone());
        bind(self);
        self.binder.within.pop();
    }

    /// `path: value`.
    pub fn set(&mut self, path: &Text, value: &SetDecl) {
        let Some(path) = self.path(path) else { return };
        let Some(column) = self.assignable(&path.column) else { return };
        match &path.key {
            Some(key) if path.parts.is_empty() => self.merge(&path, column, key, value),
            None if path.parts.is_empty() => self.whole(&path.column, column, value, false),
            key => self.touch(&path, column, key.as_ref(), value),
        }
    }

    /// `once: { column: value }`.
    pub fn set_once(&mut self, path: &Text, value: &SetDecl) {
        let Some(path) = self.path(path) else { return };
        if path.key.is_some() || !path.parts.is_empty() {
            let message = format!("`once` sets columns, and `{}` is a part of one", path.column.text);
            let help = "name the column; for an element write `old.?part.orValue(…)`";
            return self.binder.fault("P018", path.column.span, message, help);
        }
        let Some(column) = self.assignable(&path.column) else { return };
        if is_collection(&self.binder.ty.column(column).ty) && self.binder.ty.column(column).non_null {
            let message = format!("`{}` is never null, so `once` never sets it", path.column.text);
            let help = "let it be null in the schema, or assign it where the row is made";
            return self.binder.fault("P012", path.column.span, message, help);
        }
        self.whole(&path.column, column, value, true);
    }

    /// `always`: columns that every case assigns which does not do so itself. A fault is told once, for the first event type
    /// that has it.
    pub fn always(&mut self, sets: &[(Text, SetDecl)]) {
        self.binder.within.push("always".to_owned());
        for (path, value) in sets {
            let before = self.binder.faults.len();
            self.inside(path, |scope| scope.set_always(path, value));
            self.binder.forget_repeated(before, "always.");
        }
        self.binder.within.pop();
    }

    fn set_always(&mut self, path: &Text, value: &SetDecl) {
        let Some(path) = self.path(path) else { return };
        if path.key.is_some() || !path.parts.is_empty() {
            let message = format!("`always` sets columns, and `{}` is a part of one", path.column.text);
            return self.binder.fault("P018", path.column.span, message, "name the column");
        }
        let Some(column) = self.assignable(&path.column) else { return };
        if !self.named.contains(&column) {
            self.whole(&path.column, column, value, false);
        }
    }

    /// `remove: path`.
    pub fn remove(&mut self, path: &Text) {
        let Some(path) = self.path(path) else { return };
        let (Some(key), []) = (&path.key, path.parts.as_slice()) else {
            let message = format!("`remove: {}` names no element", path.column.text);
            let help = "write `remove: lines[event.productId]`; to clear a column assign `null`";
            return self.binder.fault("P018", path.column.span, message, help);
        };
        let Some(column) = self.assignable(&path.column) else { return };
        if let ColumnType::List(of) | ColumnType::Set(of) = &self.binder.ty.column(column).ty {
            let expected = Expected::Cell { ty: (**of).clone(), nullable: false };
            if let Some(element) = self.binder.compile(key, &self.names, &expected) {
                self.steps.push(Step::Without { column, element });
            }
            return;
        }
        if let Some((_, _, key)) = self.element(&path.column, column, key) {
            self.steps.push(Step::Remove { column, key });
        }
    }

    fn whole(&mut self, name: &Text, id: ColumnId, value: &SetDecl, once: bool) {
        self.named.push(id);
        let column = self.binder.ty.column(id).clone();
        let names = match &column.ty {
            ColumnType::Record(record) if matches!(value, SetDecl::Parts(..)) => self.with_old(*record),
            _ => self.names.clone(),
        };
        if let Some(mut make) = self.make(name, &column, value, &names) {
            if let Make::Record(made) = &mut make {
                made.sees_old = true;
            }
            self.steps.push(Step::Set { column: id, make, once });
        }
    }

    /// What stands behind a column or a part.
    fn make(&mut self, name: &Text, column: &Column, value: &SetDecl, names: &Names) -> Option<Make> {
        match value {
            SetDecl::Expression(text) => self.binder.compile(text, names, &cell(column)).map(Make::Value),
            SetDecl::Each { list, name, parts } => {
                self.each(column, list, name, parts, names).map(Make::Each)
            }
            SetDecl::Parts(pairs, span) => match &column.ty {
                ColumnType::Record(record) => {
                    let parts = self.parts(*record, None, pairs, names, *span)?;
                    Some(Make::Record(RecordMake { record: *record, parts, sees_old: false }))
                }
                ColumnType::List(of) if has(pairs, "append") => self.append(column, of, pairs, names),
                ColumnType::Set(of) if has(pairs, "add") || has(pairs, "addAll") => {
                    self.add(column, of, pairs, names)
                }
                _ => {
                    self.no_map(name, column, *span);
                    None
                }
            },
        }
    }

    fn no_map(&mut self, name: &Text, column: &Column, span: Span) {
        let message = format!("`{}` cannot be assigned by a map", name.text);
        let help = match column.ty {
            ColumnType::Map { .. } => format!("name the element: `{}[event.…]: {{…}}`", name.text),
            ColumnType::List(_) => {
                "make the elements with `each`, `as` and `set`, or add one with `append`".to_owned()
            }
            ColumnType::Set(_) => "add an element with `add`, or those of a list with `addAll`".to_owned(),
            _ => "write one expression, like `event.amount`".to_owned(),
        };
        self.binder.fault("P018", span, message, help);
    }

    /// `{ append: …, keep: n }`.
    fn append(
        &mut self,
        column: &Column,
        of: &ColumnType,
        pairs: &[(Text, SetDecl)],
        names: &Names,
    ) -> Option<Make> {
        let value = self.only(pairs, &["append", "keep"], 0)?;
        let element = Column { ty: of.clone(), non_null: true, ..column.clone() };
        let element = Box::new(self.make(&pairs[0].0, &element, value, names)?);
        let keep = match pairs.iter().find(|(name, _)| name.text == "keep") {
            None => None,
            Some((name, keep)) => Some(self.keep(column, name, keep)?),
        };
        Some(Make::Append { element, keep })
    }

    /// How many elements are kept: a number, at most as many as the column may have.
    fn keep(&mut self, column: &Column, name: &Text, keep: &SetDecl) -> Option<usize> {
        let text = match keep {
            SetDecl::Expression(text) => text,
            _ => name,
        };
        let most = column.max.map_or(usize::MAX, |max| max as usize);
        let found = text.text.parse().ok().filter(|keep| (1..=most).contains(keep));
        if found.is_none() {
            let help = match column.max {
                Some(max) => format!("write a number from 1 to {max}, the most that `{}` holds", column.name),
                None => "write a number from 1 on".to_owned(),
            };
            self.binder.fault("P006", text.span, format!("`{}` is not what `keep` can be", text.text), help);
        }
        found
    }

    /// `{ add: element }` or `{ addAll: list }`.
    fn add(
        &mut self,
        column: &Column,
        of: &ColumnType,
        pairs: &[(Text, SetDecl)],
        names: &Names,
    ) -> Option<Make> {
        let all = pairs[0].0.text == "addAll";
        let value = self.only(&pairs[..1], &["add", "addAll"], 0)?;
        if let Some((second, _)) = pairs.get(1) {
            let message = format!("`{}` cannot stand beside `{}`", second.text, pairs[0].0.text);
            self.binder.fault("P018", second.span, message, "write one of them");
            return None;
        }
        let SetDecl::Expression(text) = value else {
            let message = format!("`{}` is one expression", pairs[0].0.text);
            self.binder.fault("P018", pairs[0].0.span, message, "write `add: event.tag`");
            return None;
        };
        let ty = if all { column.ty.clone() } else { of.clone() };
        let value = self.binder.compile(text, names, &Expected::Cell { ty, nullable: false })?;
        Some(if all { Make::AddAll(value) } else { Make::Add(value) })
    }

    /// The value of the first of these keys; others are faults.
    fn only<'d>(
        &mut self,
        pairs: &'d [(Text, SetDecl)],
        known: &[&str],
        wanted: usize,
    ) -> Option<&'d SetDecl> {
        let stranger = pairs.iter().find(|(name, _)| !known.contains(&name.text.as_str()));
        if let Some((name, _)) = stranger {
            let help = advice(&name.text, known.iter().copied());
            self.binder.fault("P004", name.span, format!("this form has no key `{}`", name.text), help);
            return None;
        }
        let at = pairs.iter().find(|(name, _)| name.text == known[wanted]).or(pairs.first());
        at.map(|(_, value)| value)
    }

    fn each(
        &mut self,
        column: &Column,
        list: &Text,
        name: &Text,
        parts: &[(Text, SetDecl)],
        names: &Names,
    ) -> Option<EachMake> {
        let (record, keyed_by) = match &column.ty {
            ColumnType::Map { key, record } => (*record, Some(*key)),
            ColumnType::List(of) => match **of {
                ColumnType::Record(record) => (record, None),
                _ => return self.not_of_records(column, list),
            },
            _ => return self.not_of_records(column, list),
        };
        let list = self.binder.compile(list, names, &Expected::List);
        if !is_name(&name.text) || names.has(&name.text) || name.text == "old" {
            let help = "use letters, digits and `_`, and a name that is not taken";
            self.binder.fault("P006", name.span, format!("`{}` cannot name the element", name.text), help);
            return None;
        }
        let element = match list.as_ref().map(|list| &list.ty) {
            Some(Type::List(of)) => (**of).clone(),
            _ => Type::Dyn,
        };
        let shape = list.as_ref().and_then(|list| list.elements.clone());
        let names = names.with(&name.text, element, shape);
        let parts = self.parts(record, None, parts, &names, name.span);
        let made = RecordMake { record, parts: parts?, sees_old: false };
        Some(EachMake { list: list?, made, keyed_by })
    }

    fn not_of_records<T>(&mut self, column: &Column, list: &Text) -> Option<T> {
        let message = format!("`each` makes value types, and `{}` holds none", column.name);
        self.binder.fault("P018", list.span, message, "assign the list itself: `tags: event.tags`");
        None
    }

    /// Parts of a record, which must name all that cannot be null.
    fn parts(
        &mut self,
        record: TypeId,
        key: Option<ColumnId>,
        pairs: &[(Text, SetDecl)],
        names: &Names,
        span: Span,
    ) -> Option<Vec<(ColumnId, Make)>> {
        let ty = self.binder.model.ty(record);
        let mut parts = Vec::new();
        let mut named = Vec::new();
        for (name, value) in pairs {
            let Some(id) = self.part(record, name) else { continue };
            named.push(id);
            if key == Some(id) {
                let message = format!("`{}` is the element's key", name.text);
                self.binder.fault(
                    "P012",
                    name.span,
                    message,
                    "leave it out: it is what stands in the brackets",
                );
                continue;
            }
            self.binder.within.push(name.text.clone());
            parts.extend(self.make(name, ty.column(id), value, names).map(|value| (id, value)));
            self.binder.within.pop();
        }
        let lacking: Vec<&str> = ty
            .columns
            .iter()
            .enumerate()
            .filter(|(index, column)| {
                column.non_null
                    && key != Some(id(*index))
                    && !named.contains(&id(*index))
                    && !is_collection(&column.ty)
            })
            .map(|(_, column)| column.name.as_str())
            .collect();
        if !lacking.is_empty() {
            let message = format!("`{}` is made without {}, which cannot be null", ty.name, quoted(&lacking));
            self.binder.fault("P013", span, message, "assign each, or let it be null in the schema");
            return None;
        }
        Some(parts)
    }

    fn part(&mut self, record: TypeId, name: &Text) -> Option<ColumnId> {
        let ty = self.binder.model.ty(record);
        let found = ty.column_named(&name.text);
        if found.is_none() {
            let columns = || ty.columns.iter().map(|column| column.name.as_str());
            let message = format!("`{}` has no column `{}`", ty.name, name.text);
            let fault = Diagnostic::error("P012", name.span, message).help(advice(&name.text, columns()));
            self.binder.faults.push(fault.fix_name(&name.text, columns()));
        }
        found
    }

    /// The map column of a path with brackets: its key column, its record, and the key, typed.
    fn element(
        &mut self,
        name: &Text,
        id: ColumnId,
        key: &Text,
    ) -> Option<(ColumnId, TypeId, crate::expr::Compiled)> {
        let ColumnType::Map { key: key_part, record } = self.binder.ty.column(id).ty else {
            let message = format!("`{}` is not a map, so it has no `[…]`", name.text);
            let help = "declare it with `@column(as: MAP, key: …)`, or assign the column as a whole";
            self.binder.fault("P018", name.span, message, help);
            return None;
        };
        let ty = self.binder.model.ty(record).column(key_part).ty.clone();
        let key = self.binder.compile(key, &self.names, &Expected::Cell { ty, nullable: false })?;
        Some((key_part, record, key))
    }

    fn merge(&mut self, path: &Path, id: ColumnId, key: &Text, value: &SetDecl) {
        let Some((key_part, record, key)) = self.element(&path.column, id, key) else { return };
        let SetDecl::Parts(pairs, span) = value else {
            let message = format!("an element of `{}` is assigned by its columns", path.column.text);
            return self.binder.fault(
                "P018",
                path.column.span,
                message,
                "write a map: `lines[k]: { name: event.name }`",
            );
        };
        let names = self.with_old(record);
        if let Some(parts) = self.parts(record, Some(key_part), pairs, &names, *span) {
            let made = RecordMake { record, parts, sees_old: true };
            self.steps.push(Step::Merge { column: id, key, key_part, made });
        }
    }

    /// `column.part` or `column[key].part`, and parts of parts.
    fn touch(&mut self, path: &Path, id: ColumnId, key: Option<&Text>, value: &SetDecl) {
        let (record, key_part, key) = match key {
            Some(key) => {
                let Some((key_part, record, key)) = self.element(&path.column, id, key) else { return };
                (record, Some(key_part), Some(Box::new(key)))
            }
            None => match self.binder.ty.column(id).ty {
                ColumnType::Record(record) => (record, None, None),
                _ => {
                    let message = format!("`{}` is no value type, so it has no parts", path.column.text);
                    let help = "a part stands behind a dot in a `@udt`: `address.city`, `lines[k].quantity`";
                    return self.binder.fault("P018", path.column.span, message, help);
                }
            },
        };
        let Some((parts, name, column)) = self.walk(record, &path.parts) else { return };
        if parts.first() == key_part.as_ref() {
            let message = format!("`{}` is the element's key", path.parts[0].text);
            let help = "remove the element and make another";
            return self.binder.fault("P012", path.parts[0].span, message, help);
        }
        // What was there before the event is what is changed, unless a step before makes it.
        let made_here = self.initially.iter().chain(&self.steps).any(|step| step.makes(id));
        let names = match made_here {
            true => self.with_old(record),
            false => self.names.with("old", Type::Record(record), None),
        };
        if let Some(make) = self.make(name, &column, value, &names) {
            self.steps.push(Step::Touch { column: id, key, record, parts, make });
        }
    }

    /// The columns of names behind dots, each a part of the one before; the last name and its column.
    fn walk<'p>(&mut self, record: TypeId, names: &'p [Text]) -> Option<(Vec<ColumnId>, &'p Text, Column)> {
        let mut parts = Vec::new();
        let mut record = record;
        for (index, name) in names.iter().enumerate() {
            let part = self.part(record, name)?;
            parts.push(part);
            let column = self.binder.model.ty(record).column(part).clone();
            if index + 1 == names.len() {
                return Some((parts, name, column));
            }
            let ColumnType::Record(inner) = column.ty else {
                let message = format!("`{}` is no value type, so it has no parts", name.text);
                self.binder.fault("P018", name.span, message, "end the path here");
                return None;
            };
            record = inner;
        }
        None
    }

    fn with_old(&self, record: TypeId) -> Names {
        self.names.with("old", Type::Nullable(Box::new(Type::Record(record))), None)
    }

    /// The column, if events may assign it.
    fn assignable(&mut self, name: &Text) -> Option<ColumnId> {
        let id = self.binder.column(name)?;
        if self.binder.plan.entity(self.binder.entity).base_key.contains(&id) {
            let message = format!("`{}` is in the row's key and never changes", name.text);
            self.binder.fault("P012", name.span, message, "leave it out: `key:` makes it");
            return None;
        }
        if self.binder.computed.contains(&id) {
            let message = format!("`{}` is computed from the row", name.text);
            self.binder.fault("P012", name.span, message, "leave it out here, or out of `compute:`");
            return None;
        }
        if self.binder.kept.contains(&id) {
            let message = format!("`{}` remembers events", name.text);
            self.binder.fault(
                "P012",
                name.span,
                message,
                "leave it out: `from` names it, and it is kept by itself",
            );
            return None;
        }
        Some(id)
    }

    fn path(&mut self, path: &Text) -> Option<Path> {
        let found = Path::of(path);
        if found.is_none() {
            let help = "write `column`, `column.part`, `column[key]` or `column[key].part`";
            self.binder.fault("P018", path.span, format!("`{}` is not a path", path.text), help);
        }
        found
    }
}

fn has(pairs: &[(Text, SetDecl)], key: &str) -> bool {
    pairs.first().is_some_and(|(name, _)| name.text == key)
}

fn cell(column: &Column) -> Expected {
    Expected::Cell { ty: column.ty.clone(), nullable: !column.non_null }
}
