//! The files of all projections → the projections that hold.
//!
//! Comes in: the files' texts, the read model, its plan, handlers written in Rust. Goes out: projections, and every
//! fault of all files: those of one file (`yaml`, `parse`, `bind`), and those between files: a read model with two
//! projections or none.

use super::bind::Binder;
use super::declaration::{Declaration, Defaults};
use super::json_schema::{EventShapes, SchemaFiles};
use super::nearest::advice;
use super::parse;
use super::{CustomHandlers, Projection, yaml};
use crate::diagnostic::{Diagnostic, FileId, Sources, Span};
use crate::plan::Plan;
use crate::schema::{ReadModel, TypeId, TypeKind};

/// Reads and binds all projections of a project: `files` are `projections/*.yaml` without cases, `defaults` is
/// `projections/defaults.yaml`, `schemas` the schemas of events. All faults of all files come at once; a projection with a fault is left out.
pub fn load(
    files: &[FileId],
    defaults: Option<FileId>,
    schemas: &[FileId],
    sources: &Sources,
    model: &ReadModel,
    plan: &Plan,
    custom: &CustomHandlers,
) -> (Vec<Projection>, Vec<Diagnostic>) {
    let Read { declarations, mut faults, is_whole } = read(files, defaults, sources);
    let schemas = SchemaFiles::read(schemas, sources, &mut faults);
    let mut loader =
        Loader { model, plan, custom, schemas, owners: Vec::new(), names: Vec::new(), unclear: false };
    let mut projections = Vec::new();
    for (file, declaration) in &declarations {
        let before = faults.len();
        let bound = loader.bind(declaration, *file, sources, &mut faults);
        debug_assert!(
            bound.is_some() || declaration.faulty || faults.len() > before,
            "a projection that cannot be bound has a fault: {declaration:?}"
        );
        projections.extend(bound.filter(|_| !declaration.faulty && faults.len() == before));
    }
    if is_whole && !loader.unclear {
        loader.unfed(&mut faults);
    }
    (projections, once(faults))
}

/// The faults that can be found without a read model and its plan: of YAML, and of its shape.
pub fn check_shape(files: &[FileId], defaults: Option<FileId>, sources: &Sources) -> Vec<Diagnostic> {
    once(read(files, defaults, sources).faults)
}

/// What the files say, before anything is bound.
struct Read {
    declarations: Vec<(FileId, Declaration)>,
    faults: Vec<Diagnostic>,
    /// Whether every file said something.
    is_whole: bool,
}

fn read(files: &[FileId], defaults: Option<FileId>, sources: &Sources) -> Read {
    let mut faults = Vec::new();
    let defaults = read_defaults(defaults, sources, &mut faults);
    let mut declarations = Vec::new();
    for &file in files {
        let (root, found) = yaml::read(file, &sources.file(file).text);
        let readable = found.is_empty();
        faults.extend(found);
        match root {
            Some(root) => {
                let mut declaration = parse::declaration(&root, &defaults, &mut faults);
                declaration.faulty |= !readable;
                declarations.push((file, declaration));
            }
            None if readable => {
                let span = Span { file, start: 0, end: 0 };
                faults.push(
                    Diagnostic::error("P005", span, "this file is empty")
                        .help("remove it, or declare a projection"),
                );
            }
            None => {}
        }
    }
    let is_whole = declarations.len() == files.len();
    Read { declarations, faults, is_whole }
}

/// Each fault once: what is wrong in the defaults is found again for every file that takes them.
fn once(faults: Vec<Diagnostic>) -> Vec<Diagnostic> {
    let mut kept: Vec<Diagnostic> = Vec::new();
    for fault in faults {
        let same = |known: &Diagnostic| {
            known.code == fault.code && known.span == fault.span && known.message == fault.message
        };
        if !kept.iter().any(same) {
            kept.push(fault);
        }
    }
    kept
}

fn read_defaults(file: Option<FileId>, sources: &Sources, faults: &mut Vec<Diagnostic>) -> Defaults {
    let Some(file) = file else { return Defaults::default() };
    let (root, found) = yaml::read(file, &sources.file(file).text);
    faults.extend(found);
    root.map(|root| parse::defaults(&root, faults)).unwrap_or_default()
}

struct Loader<'a> {
    model: &'a ReadModel,
    plan: &'a Plan,
    custom: &'a CustomHandlers,
    schemas: SchemaFiles,
    /// Which file's projection owns which read model.
    owners: Vec<(TypeId, String)>,
    names: Vec<(String, String)>,
    /// Whether some file does not say, or not rightly, which read model it owns: it may be any that seems to have none.
    unclear: bool,
}

impl Loader<'_> {
    fn bind(
        &mut self,
        declaration: &Declaration,
        file: FileId,
        sources: &Sources,
        faults: &mut Vec<Diagnostic>,
    ) -> Option<Projection> {
        let path = &sources.file(file).path;
        self.name(declaration, path, faults);
        let entity = self.entity(declaration, path, faults)?;
        let binder = Binder {
            model: self.model,
            plan: self.plan,
            ty: self.model.ty(entity),
            entity,
            computed: declaration
                .compute
                .iter()
                .filter_map(|(name, _)| self.model.ty(entity).column_named(&name.text))
                .collect(),
            kept: declaration
                .from
                .iter()
                .flat_map(|from| {
                    from.remember.iter().chain(from.sequence.as_ref().map(|sequence| &sequence.column))
                })
                .filter_map(|name| self.model.ty(entity).column_named(&name.text))
                .collect(),
            schemas: &self.schemas,
            events: EventShapes::default(),
            event: None,
            within: Vec::new(),
            faults,
        };
        binder.projection(declaration, file, self.custom)
    }

    fn name(&mut self, declaration: &Declaration, path: &str, faults: &mut Vec<Diagnostic>) {
        let Some(name) = &declaration.name else { return };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-' || byte == b'.';
        if name.text.len() > 100 || !name.text.bytes().all(plain) {
            faults.push(
                Diagnostic::error("P006", name.span, format!("`{}` cannot name a projection", name.text))
                    .help("use letters, digits, `_`, `-` and `.`, at most 100"),
            );
        }
        if let Some((_, first)) = self.names.iter().find(|(known, _)| *known == name.text) {
            faults.push(
                Diagnostic::error("P008", name.span, format!("there are two projections `{}`", name.text))
                    .label(format!("the other is in {first}"))
                    .help("give one of them another name"),
            );
        }
        self.names.push((name.text.clone(), path.to_owned()));
    }

    fn entity(
        &mut self,
        declaration: &Declaration,
        path: &str,
        faults: &mut Vec<Diagnostic>,
    ) -> Option<TypeId> {
        let before = std::mem::replace(&mut self.unclear, true);
        let into = declaration.into.as_ref()?;
        let entities = self.model.types.iter().filter(|ty| ty.kind == TypeKind::Entity);
        let Some(id) = self.model.type_named(&into.text) else {
            let names = entities.map(|ty| ty.name.as_str());
            let help = advice(&into.text, names.clone());
            faults.push(
                Diagnostic::error("P007", into.span, format!("the schema has no type `{}`", into.text))
                    .help(help)
                    .fix_name(&into.text, names),
            );
            return None;
        };
        if self.model.ty(id).kind != TypeKind::Entity {
            faults.push(
                Diagnostic::error(
                    "P007",
                    into.span,
                    format!("`{}` has no table, so no row can be made for it", into.text),
                )
                .help("give the type a `@table` in the schema, or name a type that has one"),
            );
            return None;
        }
        self.unclear = before;
        if let Some((_, first)) = self.owners.iter().find(|(owned, _)| *owned == id) {
            faults.push(
                Diagnostic::error("P008", into.span, format!("`{}` already has a projection", into.text))
                    .label(format!("the other is in {first}"))
                    .help("one projection owns a read model: put all its events into one file"),
            );
            return None;
        }
        self.owners.push((id, path.to_owned()));
        Some(id)
    }

    fn unfed(&self, faults: &mut Vec<Diagnostic>) {
        for (index, ty) in self.model.types.iter().enumerate() {
            let owned = self.owners.iter().any(|(owner, _)| owner.0 as usize == index);
            if ty.kind == TypeKind::Entity && !owned {
                faults.push(
                    Diagnostic::warning(
                        "P009",
                        ty.span,
                        format!("no projection makes rows of `{}`", ty.name),
                    )
                    .label("its tables stay empty")
                    .help(format!("add projections/….yaml with `into: {}`", ty.name)),
                );
            }
        }
    }
}
