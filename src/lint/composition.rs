//! What other subgraphs of the graph define too: L31.
//!
//! Comes in: what composition looks at in this subgraph and in another. Goes out: findings at our side of each collision.
//! Composition has the last word: it also looks at arguments, enum values, and how a gateway gets from one subgraph to
//! the other.

use std::collections::BTreeMap;

use super::Severities;
use crate::diagnostic::{Diagnostic, FileId, Sources, Span};
use crate::schema::ReadModel;
use crate::schema::outline::{FieldOutline, Kind, Outline, TypeOutline, outline};

/// Holds the graph of a model against the SDL of another subgraph, with the project's severities.
///
/// # Errors
/// The faults of an SDL that cannot be read.
pub fn lint_subgraph(
    model: &ReadModel,
    other: FileId,
    sources: &Sources,
    severities: &Severities,
) -> Result<Vec<Diagnostic>, Vec<Diagnostic>> {
    let theirs = outline(other, sources)?;
    let mut sdl = Sources::default();
    let file = sdl.add("sdl", &*model.sdl);
    let ours = outline(file, &sdl).expect("the SDL that we serve is GraphQL");
    let places = Places::of(model);
    let path = &sources.file(other).path;
    let shown = |span: Span| format!("{path}:{}", sources.line_column(span).0);
    let mut found = Vec::new();
    for (name, ours_of) in &ours.types {
        let Some(theirs_of) = theirs.types.get(name) else { continue };
        // Scalars have no place in a model.
        let ours_at = places.of_type(name);
        let at = ours_at.unwrap_or(theirs_of.span);
        if !agree(ours_of.kind, theirs_of.kind) {
            let (kind, other) = (ours_of.kind.shown(), theirs_of.kind.shown());
            let there = shown(theirs_of.span);
            let message = format!("`{name}` is {kind} here and {other} in {there}: the two do not compose");
            let help =
                "Give one of the two another name: a name stands for one kind of type in the whole graph.";
            found.push(
                Diagnostic::error("L31", at, message)
                    .label(if ours_at.is_some() { kind } else { other })
                    .help(help),
            );
            continue;
        }
        if !matches!(ours_of.kind, Kind::Object | Kind::Interface) {
            continue;
        }
        for (field, ours_of_it) in &ours_of.fields {
            let Some(theirs_of_it) = theirs_of.fields.get(field) else { continue };
            let at = places.of_field(name, field).unwrap_or(at);
            let both =
                Both { ours: (&ours, ours_of, ours_of_it), theirs: (&theirs, theirs_of, theirs_of_it) };
            found.extend(both.field(&format!("{name}.{field}"), at, &shown(theirs_of_it.span)));
        }
    }
    Ok(severities.apply(found))
}

/// A field that two subgraphs define: the subgraph, the type and the field of each.
struct Both<'a> {
    ours: (&'a Outline, &'a TypeOutline, &'a FieldOutline),
    theirs: (&'a Outline, &'a TypeOutline, &'a FieldOutline),
}

impl Both<'_> {
    fn field(&self, name: &str, at: Span, there: &str) -> Option<Diagnostic> {
        let ((ours, of, field), (theirs, of_them, their_field)) = (self.ours, self.theirs);
        let is_sub = is_abstract(ours, &field.named) || is_abstract(theirs, &their_field.named);
        if field.lists != their_field.lists || (field.named != their_field.named && !is_sub) {
            let (type_here, type_there) = (shown_type(field), shown_type(their_field));
            let message = format!(
                "`{name}` is of type {type_here} here and of type {type_there} in {there}: the two do not compose"
            );
            let help = "Give both the same type, or one of the two another name. They may differ in `!`.";
            return Some(Diagnostic::error("L31", at, message).label(type_here).help(help));
        }
        let is_object = (of.kind, of_them.kind) == (Kind::Object, Kind::Object);
        let moves = field.overrides || their_field.overrides;
        if !is_object || moves || (field.is_shareable && their_field.is_shareable) {
            return None;
        }
        let lacking = match (field.is_shareable, their_field.is_shareable) {
            (false, false) => "neither says that it is shareable",
            (false, true) => "it is not shareable here",
            _ => "it is not shareable there",
        };
        let message =
            format!("`{name}` is defined here and in {there}, and {lacking}: the two do not compose");
        let help = "Give one of the two another name; or, where both always answer the same, say `@shareable` in both.";
        Some(Diagnostic::error("L31", at, message).label("defined twice").help(help))
    }
}

/// Whether types of one name may be of these kinds in two subgraphs.
fn agree(ours: Kind, theirs: Kind) -> bool {
    let interface = |kind| matches!(kind, Kind::Interface | Kind::InterfaceObject);
    ours == theirs || (interface(ours) && interface(theirs))
}

/// Whether values of a type can be of several others.
fn is_abstract(outline: &Outline, name: &str) -> bool {
    outline.types.get(name).is_some_and(|ty| matches!(ty.kind, Kind::Interface | Kind::Union))
}

fn shown_type(field: &FieldOutline) -> String {
    format!("`{}{}{}`", "[".repeat(field.lists), field.named, "]".repeat(field.lists))
}

/// Where the author's types and fields stand.
struct Places<'m> {
    types: BTreeMap<&'m str, Span>,
    fields: BTreeMap<(&'m str, &'m str), Span>,
}

impl<'m> Places<'m> {
    fn of(model: &'m ReadModel) -> Places<'m> {
        let of_types = model.types.iter().map(|ty| (ty.name.as_str(), ty.span));
        let of_enums = model.enums.iter().map(|found| (found.name.as_str(), found.span));
        let of_fields = model.types.iter().flat_map(|ty| {
            ty.fields.iter().map(|field| ((ty.name.as_str(), field.name.as_str()), field.span))
        });
        Places { types: of_types.chain(of_enums).collect(), fields: of_fields.collect() }
    }

    fn of_type(&self, name: &str) -> Option<Span> {
        self.types.get(name).copied()
    }

    fn of_field(&self, of: &str, field: &str) -> Option<Span> {
        self.fields.get(&(of, field)).copied()
    }
}
