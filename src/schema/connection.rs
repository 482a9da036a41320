//! Connections: `XConnection`, `XEdge` and `PageInfo`, made where a field names them and the author does not.
//!
//! Comes in: the types that fields name. Goes out: derived types in the model, and their SDL for `sdl` to append.
//! Those that the author declares are checked to have these fields and no others.

use apollo_compiler::ast;
use rustc_hash::FxHashMap;

use super::bind::Binder;
use super::parse::Declarations;
use super::{Field, FieldSource, FieldType, Named, ObjectType, Scalar, TypeId, TypeKind};
use crate::diagnostic::{Diagnostic, Span};

const CONNECTION: &str = "Connection";
const EDGE: &str = "Edge";
const PAGE_INFO: &str = "PageInfo";

/// The count of a connection's rows, where a read says that it is counted.
pub(super) const TOTAL: &str = "totalCount";

/// Kind of a type whose name says that it belongs to paging.
pub(super) fn kind_by_name(name: &str, named: &FxHashMap<String, Named>) -> Option<TypeKind> {
    let node = |suffix: &str| match named.get(name.strip_suffix(suffix)?) {
        Some(Named::Object(node)) => Some(*node),
        _ => None,
    };
    match name {
        PAGE_INFO => Some(TypeKind::PageInfo),
        _ => node(CONNECTION)
            .map(|node| TypeKind::Connection { node })
            .or_else(|| node(EDGE).map(|node| TypeKind::Edge { node })),
    }
}

/// Adds the types of paging that fields name and nobody declares.
pub(super) fn derive(binder: &mut Binder<'_>, declarations: &Declarations<'_>) {
    let fields = declarations.objects.iter().flat_map(|object| &object.fields);
    binder.counted = fields
        .clone()
        .filter(|field| is_counted(field.node))
        .map(|field| field.node.ty.inner_named_type().to_string())
        .collect();
    let mut wanted: Vec<(String, Span)> = fields
        .map(|field| {
            (
                field.node.ty.inner_named_type().to_string(),
                super::parse::name_span(field.file, &field.node.name),
            )
        })
        .filter(|(name, _)| name.ends_with(CONNECTION))
        .collect();
    wanted.sort_by(|a, b| a.0.cmp(&b.0));
    wanted.dedup_by(|a, b| a.0 == b.0);
    let mut found = false;
    for (name, span) in wanted {
        let node_name = name.strip_suffix(CONNECTION).expect("only these were kept");
        let Some(Named::Object(node)) = binder.named.get(node_name).copied() else { continue };
        found = true;
        add(binder, &name, TypeKind::Connection { node }, span);
        add(binder, &format!("{node_name}{EDGE}"), TypeKind::Edge { node }, span);
    }
    if found {
        let span = declarations
            .objects
            .first()
            .map_or(Span { file: crate::diagnostic::FileId(0), start: 0, end: 0 }, |object| object.span);
        add(binder, PAGE_INFO, TypeKind::PageInfo, span);
    }
    fill(binder);
}

/// Whether a field is a read that counts. What is wrong with the directive is said when it is bound.
fn is_counted(field: &ast::FieldDefinition) -> bool {
    let read = field.directives.iter().find(|directive| directive.name == "read");
    let count = read.and_then(|read| read.arguments.iter().find(|argument| argument.name == "count"));
    count.is_some_and(|count| count.value.as_enum().is_some_and(|word| word == "CAPPED"))
}

fn add(binder: &mut Binder<'_>, name: &str, kind: TypeKind, span: Span) {
    if binder.named.contains_key(name) {
        return;
    }
    let id = TypeId(u32::try_from(binder.types.len()).expect("types are counted in u32"));
    binder.named.insert(name.to_string(), Named::Object(id));
    binder.types.push(ObjectType { kind, ..ObjectType::new(name.to_string(), span) });
}

/// Gives every derived type its fields, once all of them have numbers.
fn fill(binder: &mut Binder<'_>) {
    for index in 0..binder.types.len() {
        let ty = &binder.types[index];
        // What the author wrote is still without a kind here: it has no fields yet and gets its own.
        let fields: Vec<Field> = match ty.kind {
            TypeKind::Connection { .. } | TypeKind::Edge { .. } | TypeKind::PageInfo => {
                let shape = shape(&ty.name, ty.kind, binder.counted.contains(&ty.name));
                shape.iter().map(|(name, sdl)| page_field(name, sdl, ty.span, &binder.named)).collect()
            }
            _ => continue,
        };
        binder.types[index].fields = fields;
    }
}

/// Fields and types of a paging type, as SDL.
fn shape(name: &str, kind: TypeKind, counted: bool) -> Vec<(&'static str, String)> {
    match kind {
        TypeKind::Connection { .. } => {
            let node = name.strip_suffix(CONNECTION).expect("named so");
            let mut fields = vec![
                ("edges", format!("[{node}{EDGE}!]!")),
                ("nodes", format!("[{node}!]!")),
                ("pageInfo", format!("{PAGE_INFO}!")),
            ];
            fields.extend(counted.then(|| (TOTAL, "Int".to_string())));
            fields
        }
        TypeKind::Edge { .. } => {
            let node = name.strip_suffix(EDGE).expect("named so");
            vec![("cursor", "String!".to_string()), ("node", format!("{node}!"))]
        }
        _ => vec![
            ("hasNextPage", "Boolean!".to_string()),
            ("hasPreviousPage", "Boolean!".to_string()),
            ("startCursor", "String".to_string()),
            ("endCursor", "String".to_string()),
        ],
    }
}

fn page_field(name: &str, sdl: &str, span: Span, named: &FxHashMap<String, Named>) -> Field {
    let bare = sdl.trim_start_matches('[').trim_end_matches(['!', ']']);
    let inner = named.get(bare).copied().unwrap_or(Named::Scalar(Scalar::String));
    let non_null = sdl.ends_with('!');
    let ty = match sdl.starts_with('[') {
        true => FieldType::List { of: Box::new(FieldType::Named { name: inner, non_null: true }), non_null },
        false => FieldType::Named { name: inner, non_null },
    };
    Field { name: name.to_string(), ty, args: Vec::new(), source: FieldSource::Page, span }
}

/// Checks the paging types that the author declares: these fields, of these types, `!` apart.
pub(super) fn check_declared(binder: &mut Binder<'_>) {
    let mut faults = Vec::new();
    for (ty, draft) in binder.types.iter().zip(&binder.drafts) {
        if !matches!(ty.kind, TypeKind::Connection { .. } | TypeKind::Edge { .. } | TypeKind::PageInfo) {
            continue;
        }
        let counted = binder.counted.contains(&ty.name);
        let shape = shape(&ty.name, ty.kind, counted);
        if counted && !draft.fields.iter().any(|field| field.node.name == TOTAL) {
            let message = format!("`{}` has no `{TOTAL}`, but a read of it counts", ty.name);
            faults.push(
                Diagnostic::error("S061", ty.span, message)
                    .label(format!("no `{TOTAL}`"))
                    .help(format!("Add `{TOTAL}: Int`, or leave the type out: it is derived.")),
            );
        }
        for field in &draft.fields {
            let name = field.node.name.as_str();
            if name == TOTAL && !counted {
                let message = format!("nothing counts the rows of `{}`", ty.name);
                faults.push(Diagnostic::error("S061", field.span, message).label("never counted").help(
                    "Add `count: CAPPED` to the `@read` of each field that answers it, or leave it out.",
                ));
                continue;
            }
            let expected = shape.iter().find(|(known, _)| *known == name);
            let fault = |message: String| Diagnostic::error("S061", field.span, message);
            let names = || shape.iter().map(|(known, _)| *known);
            match expected {
                None => {
                    let fault = fault(format!("`{}` is a paging type and cannot have `{name}`", ty.name))
                        .label("not of paging");
                    faults.push(super::column::with_nearest(
                        fault,
                        name,
                        names().collect::<Vec<_>>().into_iter(),
                    ));
                }
                Some((_, expected))
                    if bare(&field.node.ty) != expected.replace('!', "")
                        || (name == TOTAL && field.node.ty.is_non_null()) =>
                {
                    let message =
                        format!("`{}.{name}` is `{}`, but paging needs `{expected}`", ty.name, field.node.ty);
                    faults.push(
                        fault(message).label(format!("expected `{expected}`")).help(format!(
                            "Write `{name}: {expected}`, or leave the type out: it is derived."
                        )),
                    );
                }
                Some(_) => {}
            }
        }
    }
    binder.faults.extend(faults);
}

fn bare(ty: &ast::Type) -> String {
    ty.to_string().replace('!', "")
}

/// The SDL of a derived paging type; `shareable` is what that directive is called in the author's text.
pub(super) fn sdl(ty: &ObjectType, shareable: Option<&str>) -> String {
    let shareable = shareable.map_or(String::new(), |name| format!(" @{name}"));
    let fields: String = shape(&ty.name, ty.kind, ty.field_named(TOTAL).is_some())
        .iter()
        .map(|(name, sdl)| format!("  {name}: {sdl}\n"))
        .collect();
    format!("type {}{shareable} {{\n{fields}}}\n", ty.name)
}
