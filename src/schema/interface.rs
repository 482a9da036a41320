//! `@key` on an interface: a gateway that knows an entity by the interface alone asks which of its types it is.
//!
//! Comes in: interfaces, and types with keys. Goes out: for each such interface the entities that are looked up, or the
//! faults. The rules are Federation's for entity interfaces (2.3), and one of ours: rows must be stored here to be found.

use super::bind::{Binder, argument_text, directive_span};
use super::directive::literal;
use super::fieldset::{self, Path};
use super::parse::{Declarations, In, ObjectDeclaration};
use super::{EntityKey, Named, TypeId, TypeKind, path_shown};
use crate::diagnostic::{Diagnostic, Span};

impl Binder<'_> {
    /// Binds the keys of interfaces, once those of types are bound.
    pub(super) fn bind_interface_keys(&mut self, declarations: &Declarations<'_>) {
        for interface in &declarations.interfaces {
            for directive in interface.directives.iter().filter(|directive| directive.node.name == "key") {
                if let Err(fault) = self.interface_key(interface, directive) {
                    self.faults.extend(fault.map(|fault| *fault));
                }
            }
        }
    }

    /// One key. An error without a fault: what is wrong has one already.
    fn interface_key(
        &mut self,
        interface: &ObjectDeclaration<'_>,
        directive: &In<'_, apollo_compiler::Node<apollo_compiler::ast::Directive>>,
    ) -> Result<(), Option<Box<Diagnostic>>> {
        let span = directive_span(directive.file, directive.node, self.sources);
        let name = interface.name.as_str();
        let fault = |message: String| Diagnostic::error("S051", span, message);
        let Some(fields) = argument_text(directive.node, "fields") else {
            let fault = Diagnostic::error("S014", span, "`@key` needs the argument `fields`");
            return Err(Some(Box::new(fault.label("without `fields`").help("Add `fields: \"id\"`."))));
        };
        let given = directive.node.arguments.iter().find(|argument| argument.name == "fields");
        let at = given
            .map_or(span, |given| super::parse::span(directive.file, given.value.location(), self.sources));
        let paths = fieldset::paths(&literal(fields, at, self.sources)).map_err(Some)?;
        for path in &paths {
            self.check_interface_field(interface, path).map_err(Some)?;
        }
        let Some(Named::Object(id)) = self.named.get(name).copied() else { return Err(None) };
        let members =
            self.variants.iter().find(|(known, _)| *known == id).map(|(_, members)| members.clone());
        let members = members.unwrap_or_default();
        if members.is_empty() {
            let fault = fault(format!("no type implements `{name}`, so its key finds nothing"));
            return Err(Some(Box::new(
                fault.label("nothing to find").help(format!("Write `implements {name}` on its entities.")),
            )));
        }
        for member in &members {
            self.check_implementor(name, *member, &paths, span)?;
        }
        let is_resolvable = !directive
            .node
            .arguments
            .iter()
            .any(|argument| argument.name == "resolvable" && argument.value.to_bool() == Some(false));
        if is_resolvable {
            self.types[id.0 as usize].resolves_to = members;
        }
        Ok(())
    }

    fn check_interface_field(
        &self,
        interface: &ObjectDeclaration<'_>,
        path: &Path,
    ) -> Result<(), Box<Diagnostic>> {
        let first = path.names.first().map_or("", String::as_str);
        if interface.fields.iter().any(|field| field.node.name == *first) {
            return Ok(());
        }
        let message = format!("`{}` has no field `{first}`", interface.name);
        let names = interface.fields.iter().map(|field| field.node.name.as_str());
        let fault = Diagnostic::error("S050", path.span, message).label("not a field");
        Err(Box::new(super::column::with_nearest(fault, first, names)))
    }

    /// A type that implements the interface has its key, and rows here: nothing else tells which type an entity is of.
    fn check_implementor(
        &self,
        interface: &str,
        member: TypeId,
        paths: &[Path],
        span: Span,
    ) -> Result<(), Option<Box<Diagnostic>>> {
        let owner = &self.types[member.0 as usize];
        let wanted: Vec<String> = paths.iter().map(Path::shown).collect();
        if self.is_unclear(member) {
            return Err(None);
        }
        if owner.kind != TypeKind::Entity {
            let message =
                format!("`{}` implements `{interface}`, but its rows are not stored here", owner.name);
            let help = format!(
                "Which type an entity is of is found by its row. Give `{}` a `@table`, or leave the interface's `@key` out.",
                owner.name
            );
            let fault = Diagnostic::error("S051", owner.span, message).label("no table");
            return Err(Some(Box::new(fault.help(help))));
        }
        let is_it = |key: &EntityKey| {
            let fields: Vec<String> =
                key.fields.iter().map(|path| path_shown(&self.types, member, path)).collect();
            key.resolvable
                && fields.len() == wanted.len()
                && wanted.iter().all(|wanted| fields.contains(wanted))
        };
        let declared = self.drafts[member.0 as usize].declaration;
        let of_type = super::bind::federation(declared, "key").count();
        if owner.keys.iter().any(is_it) {
            return Ok(());
        }
        if owner.keys.len() != of_type {
            return Err(None);
        }
        let wanted = wanted.join(" ");
        let message = format!("`{}` implements `{interface}`, but has not its key \"{wanted}\"", owner.name);
        let help = format!("Add `@key(fields: \"{wanted}\")` to `{}`.", owner.name);
        let fault = Diagnostic::error("S051", span, message).label("not a key of all types");
        Err(Some(Box::new(fault.help(help))))
    }
}
