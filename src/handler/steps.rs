//! What the cases do: conditions, `let`s and verbs.
//!
//! Comes in: a declaration. Goes out: [`Declared`] with slots resolved, and faults: names that are taken, and columns
//! that a made row may lack. The assignments are `assign`'s.

use std::sync::Arc;

use super::assign::Scope;
use super::bind::{Binder, quoted};
use super::declaration::{CaseDecl, Declaration, EventDecl, RowsDecl, SetDecl};
use super::names::{EVENT, Element, FIRST_LET, Names};
use super::yaml::Text;
use super::{Case, Condition, Declared, EventCases, Initially, Rows, Step, Verb};
use crate::expr::{Compiled, Expected, Read, Shape, Type};
use crate::schema::{ColumnId, ColumnType};

/// Binds `when`, `let` and `events`.
pub fn declared(binder: &mut Binder<'_>, declaration: &Declaration) -> Declared {
    let mut lets = Vec::new();
    let seen = Seen { event: binder.event.clone(), element: None };
    bind_lets(binder, &declaration.lets, &mut lets, &seen);
    let names = names(binder, &lets, false, &seen);
    let when = declaration.when.as_ref().and_then(|text| condition(binder, text, &names, &lets));
    let ignored = declaration.ignored.iter().map(|name| name.text.as_str().into()).collect();
    let mut declared = Declared { when, events: Default::default(), ignored };
    for event in &declaration.events {
        let cases = binder
            .inside(&event.name.text, |binder| event_cases(binder, event, &declaration.always, lets.clone()));
        declared.events.insert(event.name.text.as_str().into(), cases);
    }
    declared
}

fn event_cases(
    binder: &mut Binder<'_>,
    event: &EventDecl,
    always: &[(Text, SetDecl)],
    mut lets: Vec<(String, Compiled)>,
) -> EventCases {
    let known = binder.events.get(&event.name.text).cloned();
    let is_range = is_range(binder, event);
    let (rows, element) = match &event.rows {
        Some(rows) => bind_rows(binder, rows, is_range, (&lets, known.as_ref())),
        None => (None, None),
    };
    let element = &Seen { event: known, element };
    bind_lets(binder, &event.lets, &mut lets, element);
    let cases = event.cases.iter();
    let cases: Vec<Case> =
        cases.filter_map(|case| bind_case(binder, event, (case, always), &lets, element)).collect();
    let looks_often = looks(&lets, &cases) >= LOOKS_OFTEN;
    EventCases { rows, lets, cases, looks_often }
}

/// Fields that are looked up in an event from where on it is cheaper to lay all of them side by side first.
const LOOKS_OFTEN: usize = 5;

/// About how many fields of an event its cases look up: the conditions of all, and the steps of the one with the most.
fn looks(lets: &[(String, Compiled)], cases: &[Case]) -> usize {
    let of_event = |read: &&Read| matches!(read, Read::Field(EVENT, _));
    let fields = |compiled: &Compiled| compiled.reads.iter().filter(of_event).count();
    let lets = lets.iter().map(|(_, value)| fields(value)).sum::<usize>();
    let whens =
        cases.iter().filter_map(|case| case.when.as_ref()).map(|when| fields(&when.holds)).sum::<usize>();
    let of_steps = |case: &Case| case.all_steps().flat_map(Step::expressions).map(fields).sum();
    lets + whens + cases.iter().map(of_steps).max().unwrap_or(0)
}

/// Whether an event deletes all rows whose key begins as its `key` says. Then it does nothing else.
fn is_range(binder: &mut Binder<'_>, event: &EventDecl) -> bool {
    let Some(span) = event.cases.iter().find_map(|case| case.range) else { return false };
    let help = "give the event one case: `key`, perhaps `when`, and `delete: rows`";
    if event.cases.len() > 1 {
        let message = format!("`{}` deletes rows and has other cases", event.name.text);
        binder.fault("P011", span, message, help);
    }
    match &event.rows {
        Some(rows) if rows.each.is_some() => {
            binder.fault("P011", span, "`delete: rows` goes through no list", help);
        }
        Some(_) => {}
        None => {
            let help = "say how the keys of the rows begin: `key: { orderId: event.orderId }`, beside `delete: rows`";
            binder.fault("P011", span, "`delete: rows` has no `key`", help);
        }
    }
    true
}

/// Which rows an event concerns, and the element that its cases see.
fn bind_rows(
    binder: &mut Binder<'_>,
    rows: &RowsDecl,
    is_range: bool,
    (lets, event): (&[(String, Compiled)], Option<&Arc<Shape>>),
) -> (Option<Rows>, Option<Element>) {
    let mut element = None;
    let mut each = None;
    if let Some((list, name)) = &rows.each {
        let taken = |known: &str| RESERVED.contains(&known) || lets.iter().any(|(name, _)| name == known);
        if !is_name(&name.text) || taken(&name.text) {
            let help = "use letters, digits and `_`; `event`, `row`, `record`, `old` and the names of `let` are taken";
            binder.fault("P006", name.span, format!("`{}` cannot name the element", name.text), help);
            return (None, None);
        }
        let Some(list) = binder.compile(list, &Names::of_key(event.cloned(), None), &Expected::List) else {
            return (None, None);
        };
        if !matches!(list.ty.element(), Some(Type::Dyn)) {
            let message = "rows are made for values of the event, and these are made here";
            let help = "go through a list of the event, such as `event.lines` or `[event.from, event.to]`";
            binder.fault("P018", list.span, message, help);
            return (None, None);
        }
        element = Some(Element { name: name.text.clone(), shape: list.elements.clone() });
        each = Some(list);
    }
    let names = Names::of_key(event.cloned(), element.as_ref());
    let keys = rows.keys.iter().map(|key| match is_range {
        true => binder.key_prefix(key, rows.span, &names),
        false => binder.key(key, rows.span, &names),
    });
    (Some(Rows { each, keys: keys.collect(), is_range }), element)
}

fn bind_lets(
    binder: &mut Binder<'_>,
    pairs: &[(Text, Text)],
    lets: &mut Vec<(String, Compiled)>,
    seen: &Seen,
) {
    for (name, text) in pairs {
        if !is_name(&name.text) || RESERVED.contains(&name.text.as_str()) {
            let help = "use letters, digits and `_`; `event`, `row`, `record` and `old` are taken";
            binder.fault("P006", name.span, format!("`{}` cannot be a name", name.text), help);
            continue;
        }
        if lets.iter().any(|(known, _)| *known == name.text)
            || seen.element.as_ref().is_some_and(|element| element.name == name.text)
        {
            binder.fault(
                "P003",
                name.span,
                format!("`let` names `{}` twice", name.text),
                "give it another name",
            );
            continue;
        }
        let names = names(binder, lets, false, seen);
        let path = format!("let.{}", name.text);
        if let Some(compiled) = binder.inside(&path, |binder| binder.compile(text, &names, &Expected::Any)) {
            lets.push((name.text.clone(), compiled));
        }
    }
}

/// What is known of the event and of the element that a row is made for.
struct Seen {
    event: Option<Arc<Shape>>,
    element: Option<Element>,
}

/// Names that stand for something already.
const RESERVED: [&str; 4] = ["event", "row", "record", "old"];

pub fn is_name(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(|first: char| first.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The names in scope. Where the row is surely there its columns have their own types.
fn names(binder: &Binder<'_>, lets: &[(String, Compiled)], row_there: bool, seen: &Seen) -> Names {
    let row = Type::Record(binder.entity);
    let row = if row_there { row } else { Type::Nullable(Box::new(row)) };
    let mut names = Names::of_case(seen.event.clone(), row, seen.element.as_ref());
    for (name, compiled) in lets {
        names.push_let(name, compiled);
    }
    names
}

fn condition(
    binder: &mut Binder<'_>,
    text: &Text,
    names: &Names,
    lets: &[(String, Compiled)],
) -> Option<Condition> {
    let holds = binder.inside("when", |binder| binder.compile(text, names, &Expected::Condition))?;
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
    (case, always): (&CaseDecl, &[(Text, SetDecl)]),
    lets: &[(String, Compiled)],
    seen: &Seen,
) -> Option<Case> {
    let (verb, verb_span) = case.verb?;
    let when = match &case.when {
        Some(text) => condition(binder, text, &names(binder, lets, false, seen), lets),
        None => None,
    };
    let row_there = matches!(verb, Verb::Update | Verb::Remove);
    let names = names(binder, lets, row_there, seen);
    let mut scope = Scope { binder, names, steps: Vec::new(), initially: Vec::new(), named: Vec::new() };
    for (path, value) in &case.initially {
        scope.inside(path, |scope| scope.set(path, value));
    }
    scope.initially = std::mem::take(&mut scope.steps);
    let first = std::mem::take(&mut scope.named);
    for (path, value) in &case.sets {
        scope.inside(path, |scope| scope.set(path, value));
    }
    for (path, value) in &case.onces {
        scope.inside(path, |scope| scope.set_once(path, value));
    }
    for path in &case.removes {
        scope.inside(path, |scope| scope.remove(path));
    }
    if verb != Verb::Delete {
        scope.always(always);
    }
    let Scope { steps, initially, mut named, .. } = scope;
    named.extend(first);
    if verb.makes() && !case.faulty {
        assigned_surely(binder, event, verb, &named, verb_span);
    }
    let needed = lets_needed(initially.iter().chain(&steps).flat_map(Step::expressions), lets);
    let initially = Initially { steps: initially, lets: needed };
    let lets = lets_needed(steps.iter().flat_map(Step::expressions), lets);
    Some(Case { when, verb, steps, lets, initially, parks_missing: case.parks_missing, span: case.span })
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
                && !binder.kept.contains(id)
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

/// Every expression of the cases.
pub fn all(declared: &Declared) -> impl Iterator<Item = &Compiled> {
    let mut found: Vec<&Compiled> = declared.when.iter().map(|when| &when.holds).collect();
    for event in declared.events.values() {
        found.extend(event.lets.iter().map(|(_, compiled)| compiled));
        for case in &event.cases {
            found.extend(case.when.iter().map(|when| &when.holds));
            found.extend(case.all_steps().flat_map(Step::expressions));
        }
    }
    found.into_iter()
}

pub fn is_collection(ty: &ColumnType) -> bool {
    matches!(ty, ColumnType::List(_) | ColumnType::Set(_) | ColumnType::Map { .. })
}

pub fn id(index: usize) -> ColumnId {
    ColumnId(u32::try_from(index).expect("columns are counted in u32"))
}
