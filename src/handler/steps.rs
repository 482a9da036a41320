//! What the cases do: verbs and assignments typed against the columns.
//!
//! Comes in: a declaration. Goes out: [`Declared`]: conditions, `let`s and steps with slots resolved, and faults:
//! columns that cannot be assigned, and columns that a made row may lack.

use super::bind::{Binder, quoted};
use super::declaration::{CaseDecl, Declaration, EventDecl, SetDecl};
use super::nearest::advice;
use super::yaml::Text;
use super::{Case, Condition, Declared, EventCases, Step, Verb};
use crate::diagnostic::Diagnostic;
use crate::expr::{Compiled, Expected, Read, Type};
use crate::schema::{Column, ColumnId, ColumnType, TypeId};

/// A name and its type, as an expression sees it.
type Names = Vec<(String, Type)>;

/// The first slot of a `let`.
pub const FIRST_LET: usize = 2;

/// Binds `when`, `let` and `events`.
pub fn declared(binder: &mut Binder<'_>, declaration: &Declaration) -> Declared {
    let mut lets = Vec::new();
    bind_lets(binder, &declaration.lets, &mut lets);
    let names = names(binder, &lets, false);
    let when = declaration.when.as_ref().and_then(|text| condition(binder, text, &names, &lets));
    let mut declared = Declared { when, events: Default::default() };
    for event in &declaration.events {
        let cases = event_cases(binder, event, lets.clone());
        declared.events.insert(event.name.text.as_str().into(), cases);
    }
    declared
}

fn event_cases(binder: &mut Binder<'_>, event: &EventDecl, mut lets: Vec<(String, Compiled)>) -> EventCases {
    bind_lets(binder, &event.lets, &mut lets);
    let cases = event.cases.iter().filter_map(|case| bind_case(binder, event, case, &lets)).collect();
    EventCases { lets, cases }
}

fn bind_lets(binder: &mut Binder<'_>, pairs: &[(Text, Text)], lets: &mut Vec<(String, Compiled)>) {
    for (name, text) in pairs {
        if !is_name(&name.text) || ["event", "row", "old"].contains(&name.text.as_str()) {
            let help = "use letters, digits and `_`; `event`, `row` and `old` are taken";
            binder.fault("P006", name.span, format!("`{}` cannot be a name", name.text), help);
            continue;
        }
        if lets.iter().any(|(known, _)| *known == name.text) {
            binder.fault(
                "P003",
                name.span,
                format!("`let` names `{}` twice", name.text),
                "give it another name",
            );
            continue;
        }
        let seen = names(binder, lets, false);
        if let Some(compiled) = binder.compile(text, &seen, &Expected::Any) {
            lets.push((name.text.clone(), compiled));
        }
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(|first: char| first.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The names in scope. Where the row is surely there its columns have their own types.
fn names(binder: &Binder<'_>, lets: &[(String, Compiled)], row_there: bool) -> Names {
    let row = Type::Record(binder.entity);
    let row = if row_there { row } else { Type::Nullable(Box::new(row)) };
    let mut names = vec![("event".to_owned(), Type::Dyn), ("row".to_owned(), row)];
    names.extend(lets.iter().map(|(name, compiled)| (name.clone(), compiled.ty.clone())));
    names
}

fn condition(
    binder: &mut Binder<'_>,
    text: &Text,
    names: &Names,
    lets: &[(String, Compiled)],
) -> Option<Condition> {
    let holds = binder.compile(text, names, &Expected::Condition)?;
    let lets = lets_needed([&holds], lets);
    Some(Condition { holds, lets })
}

/// The `let`s that expressions need, those first that others need.
fn lets_needed<'c>(
    expressions: impl IntoIterator<Item = &'c Compiled>,
    lets: &[(String, Compiled)],
) -> Vec<usize> {
    let mut needed = vec![false; lets.len()];
    let mut open: Vec<&Compiled> = expressions.into_iter().collect();
    while let Some(expression) = open.pop() {
        for read in &expression.reads {
            let (Read::Slot(slot) | Read::Column(slot, _) | Read::Field(slot, _)) = read;
            let index = slot.wrapping_sub(FIRST_LET);
            if index < lets.len() && !needed[index] {
                needed[index] = true;
                open.push(&lets[index].1);
            }
        }
    }
    (0..lets.len()).filter(|index| needed[*index]).collect()
}

fn bind_case(
    binder: &mut Binder<'_>,
    event: &EventDecl,
    case: &CaseDecl,
    lets: &[(String, Compiled)],
) -> Option<Case> {
    let (verb, verb_span) = case.verb?;
    let when = match &case.when {
        Some(text) => condition(binder, text, &names(binder, lets, false), lets),
        None => None,
    };
    let row_there = matches!(verb, Verb::Update | Verb::Remove);
    let seen = names(binder, lets, row_there);
    let mut scope = Scope { binder, names: seen, steps: Vec::new(), named: Vec::new() };
    for (path, value) in &case.sets {
        scope.set(path, value);
    }
    for path in &case.removes {
        scope.remove(path);
    }
    let Scope { steps, named, .. } = scope;
    if verb.makes() && !case.faulty {
        assigned_surely(binder, event, verb, &named, verb_span);
    }
    let lets = lets_needed(steps.iter().flat_map(expressions), lets);
    Some(Case { when, verb, steps, lets, span: case.span })
}

/// A row that is made has every column that must not be null.
fn assigned_surely(
    binder: &mut Binder<'_>,
    event: &EventDecl,
    verb: Verb,
    named: &[ColumnId],
    span: crate::diagnostic::Span,
) {
    let key = &binder.plan.entity(binder.entity).base_key;
    let lacking: Vec<&str> = binder
        .ty
        .columns
        .iter()
        .enumerate()
        .map(|(index, column)| (id(index), column))
        .filter(|(id, column)| {
            column.non_null
                && !is_collection(&column.ty)
                && !key.contains(id)
                && !named.contains(id)
                && !binder.computed.contains(id)
        })
        .map(|(_, column)| column.name.as_str())
        .collect();
    if !lacking.is_empty() {
        let message = format!(
            "`{}` of `{}` makes a row without {}, which cannot be null",
            verb.name(),
            event.name.text,
            quoted(&lacking)
        );
        let help = "assign each in this case, compute it, or let it be null in the schema";
        binder.fault("P013", span, message, help);
    }
}

/// Every expression of a step.
pub fn expressions(step: &Step) -> Vec<&Compiled> {
    match step {
        Step::Set { value, .. } => vec![value],
        Step::Each { list, parts, .. } => {
            std::iter::once(list).chain(parts.iter().map(|part| &part.1)).collect()
        }
        Step::Merge { key, parts, .. } => {
            std::iter::once(key).chain(parts.iter().map(|part| &part.1)).collect()
        }
        Step::Touch { key, value, .. } => vec![key, value],
        Step::Remove { key, .. } => vec![key],
    }
}

fn is_collection(ty: &ColumnType) -> bool {
    matches!(ty, ColumnType::List(_) | ColumnType::Set(_) | ColumnType::Map { .. })
}

fn id(index: usize) -> ColumnId {
    ColumnId(u32::try_from(index).expect("columns are counted in u32"))
}

fn cell(column: &Column) -> Expected {
    Expected::Cell { ty: column.ty.clone(), nullable: !column.non_null }
}

/// `column`, `column[key]` or `column[key].part`.
struct Path {
    column: Text,
    key: Option<Text>,
    part: Option<Text>,
}

/// Binds the steps of one case.
struct Scope<'b, 'a> {
    binder: &'b mut Binder<'a>,
    names: Names,
    steps: Vec<Step>,
    /// Columns assigned as a whole.
    named: Vec<ColumnId>,
}

impl Scope<'_, '_> {
    fn set(&mut self, path: &Text, value: &SetDecl) {
        let Some(path) = self.path(path) else { return };
        let Some(column) = self.assignable(&path.column) else { return };
        match (&path.key, &path.part) {
            (Some(key), Some(part)) => self.touch(&path, column, key, part, value),
            (Some(key), None) => self.merge(&path, column, key, value),
            _ => self.whole(&path.column, column, value),
        }
    }

    fn whole(&mut self, name: &Text, id: ColumnId, value: &SetDecl) {
        self.named.push(id);
        let column = self.binder.ty.column(id).clone();
        match value {
            SetDecl::Expression(text) => {
                if let Some(value) = self.binder.compile(text, &self.names, &cell(&column)) {
                    self.steps.push(Step::Set { column: id, value });
                }
            }
            SetDecl::Each { list, name, parts } => self.each(id, &column, list, name, parts),
            SetDecl::Parts(_, span) => {
                let message = format!("`{}` cannot be assigned by a map", name.text);
                let help = match column.ty {
                    ColumnType::Map { .. } => format!("name the element: `{}[event.…]: {{…}}`", name.text),
                    ColumnType::List(_) => "make the elements with `each`, `as` and `set`".to_owned(),
                    _ => "write one expression, like `money(event.amount, event.currency)`".to_owned(),
                };
                self.binder.fault("P018", *span, message, help);
            }
        }
    }

    fn each(&mut self, id: ColumnId, column: &Column, list: &Text, name: &Text, parts: &[(Text, Text)]) {
        let (record, keyed_by) = match &column.ty {
            ColumnType::Map { key, record } => (*record, Some(*key)),
            ColumnType::List(of) => match **of {
                ColumnType::Record(record) => (record, None),
                _ => return self.not_of_records(column, list),
            },
            _ => return self.not_of_records(column, list),
        };
        let list = self.binder.compile(list, &self.names, &Expected::List);
        if !is_name(&name.text) || self.names.iter().any(|(known, _)| *known == name.text) {
            let help = "use letters, digits and `_`, and a name that is not taken";
            return self.binder.fault(
                "P006",
                name.span,
                format!("`{}` cannot name the element", name.text),
                help,
            );
        }
        let element = match list.as_ref().map(|list| &list.ty) {
            Some(Type::List(of)) => (**of).clone(),
            _ => Type::Dyn,
        };
        let names = [self.names.as_slice(), &[(name.text.clone(), element)]].concat();
        let parts = self.parts(record, None, parts, &names, name.span);
        if let (Some(list), Some(parts)) = (list, parts) {
            self.steps.push(Step::Each { column: id, list, parts, record, keyed_by });
        }
    }

    fn not_of_records(&mut self, column: &Column, list: &Text) {
        let message = format!("`each` makes value types, and `{}` holds none", column.name);
        self.binder.fault("P018", list.span, message, "assign the list itself: `tags: event.tags`");
    }

    /// Parts of a record, which must name all that cannot be null.
    fn parts(
        &mut self,
        record: TypeId,
        key: Option<ColumnId>,
        pairs: &[(Text, Text)],
        names: &Names,
        span: crate::diagnostic::Span,
    ) -> Option<Vec<(ColumnId, Compiled)>> {
        let ty = self.binder.model.ty(record);
        let mut parts = Vec::new();
        let mut named = Vec::new();
        for (name, text) in pairs {
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
            parts.extend(self.binder.compile(text, names, &cell(ty.column(id))).map(|value| (id, value)));
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
            let help = advice(&name.text, ty.columns.iter().map(|column| column.name.as_str()));
            let message = format!("`{}` has no column `{}`", ty.name, name.text);
            let columns = ty.columns.iter().map(|column| column.name.as_str());
            let fault = Diagnostic::error("P012", name.span, message).help(help);
            self.binder.faults.push(fault.fix_name(&name.text, columns));
        }
        found
    }

    /// The map column of a path with brackets: its key column, its record, and the key, typed.
    fn element(&mut self, name: &Text, id: ColumnId, key: &Text) -> Option<(ColumnId, TypeId, Compiled)> {
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
            self.steps.push(Step::Merge { column: id, key, key_part, parts, record });
        }
    }

    fn touch(&mut self, path: &Path, id: ColumnId, key: &Text, part: &Text, value: &SetDecl) {
        let Some((key_part, record, key)) = self.element(&path.column, id, key) else { return };
        let Some(part_id) = self.part(record, part) else { return };
        if part_id == key_part {
            let message = format!("`{}` is the element's key", part.text);
            return self.binder.fault("P012", part.span, message, "remove the element and make another");
        }
        let SetDecl::Expression(text) = value else {
            let help = "write one expression";
            return self.binder.fault("P018", part.span, format!("`{}` is one column", part.text), help);
        };
        let names = self.with_old(record);
        let expected = cell(self.binder.model.ty(record).column(part_id));
        if let Some(value) = self.binder.compile(text, &names, &expected) {
            self.steps.push(Step::Touch { column: id, key, part: part_id, value, record });
        }
    }

    fn remove(&mut self, path: &Text) {
        let Some(path) = self.path(path) else { return };
        let (Some(key), None) = (&path.key, &path.part) else {
            let message = format!("`remove: {}` names no element", path.column.text);
            let help = "write `remove: lines[event.productId]`; to clear a column assign `null`";
            return self.binder.fault("P018", path.column.span, message, help);
        };
        let Some(column) = self.assignable(&path.column) else { return };
        if let Some((_, _, key)) = self.element(&path.column, column, key) {
            self.steps.push(Step::Remove { column, key });
        }
    }

    fn with_old(&self, record: TypeId) -> Names {
        let old = ("old".to_owned(), Type::Nullable(Box::new(Type::Record(record))));
        [self.names.as_slice(), &[old]].concat()
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
        Some(id)
    }

    fn path(&mut self, path: &Text) -> Option<Path> {
        let found = split(path);
        if found.is_none() {
            let help = "write `column`, `column[key]` or `column[key].part`";
            self.binder.fault("P018", path.span, format!("`{}` is not a path", path.text), help);
        }
        found
    }
}

fn split(path: &Text) -> Option<Path> {
    let text = path.text.as_str();
    let piece = |start: usize, end: usize| Text {
        text: text[start..end].to_owned(),
        span: if path.exact {
            let at = |byte: usize| path.span.start + u32::try_from(byte).unwrap_or(0);
            crate::diagnostic::Span { start: at(start), end: at(end), ..path.span }
        } else {
            path.span
        },
        exact: path.exact,
        quoted: path.quoted,
    };
    let Some(open) = text.find('[') else {
        return is_name(text).then(|| Path { column: piece(0, text.len()), key: None, part: None });
    };
    let close = text.rfind(']')?;
    if !is_name(&text[..open]) || close <= open + 1 {
        return None;
    }
    let part = match &text[close + 1..] {
        "" => None,
        rest if rest.starts_with('.') && is_name(&rest[1..]) => Some(piece(close + 2, text.len())),
        _ => return None,
    };
    Some(Path { column: piece(0, open), key: Some(piece(open + 1, close)), part })
}
