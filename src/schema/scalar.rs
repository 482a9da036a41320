//! Scalars: by which names and addresses a declared scalar is bound to one that can be stored.
//!
//! Comes in: a name, or an address of `@specifiedBy`. Goes out: a [`Scalar`], or the fault. Values are not looked at.

use apollo_compiler::ast;

use super::Scalar;
use crate::diagnostic::{Diagnostic, Span, nearest};

/// The scalars of GraphQL itself.
pub(super) const BUILT_IN: &[(&str, Scalar)] = &[
    ("Boolean", Scalar::Boolean),
    ("Int", Scalar::Int),
    ("Float", Scalar::Float),
    ("String", Scalar::String),
    ("ID", Scalar::Id),
];

/// Names by which a declared scalar is bound.
pub(super) const SCALARS: &[(&str, Scalar)] = &[
    ("Long", Scalar::Long),
    ("BigInt", Scalar::BigInt),
    ("Decimal", Scalar::Decimal),
    ("BigDecimal", Scalar::Decimal),
    ("DateTime", Scalar::DateTime),
    ("Timestamp", Scalar::DateTime),
    ("LocalDate", Scalar::LocalDate),
    ("Date", Scalar::LocalDate),
    ("LocalTime", Scalar::LocalTime),
    ("Time", Scalar::LocalTime),
    ("UUID", Scalar::Uuid),
    ("Base64String", Scalar::Bytes),
    ("Bytes", Scalar::Bytes),
];

/// Ends of `@specifiedBy` addresses by which a scalar is bound, whatever its name.
const SPECIFIED: &[(&str, Scalar)] = &[
    ("andimarek/date-time", Scalar::DateTime),
    ("andimarek/date-time.html", Scalar::DateTime),
    ("andimarek/local-date", Scalar::LocalDate),
    ("andimarek/local-date.html", Scalar::LocalDate),
    ("chillicream/local-date.html", Scalar::LocalDate),
    ("chillicream/local-time.html", Scalar::LocalTime),
    ("chillicream/long.html", Scalar::Long),
    ("chillicream/uuid.html", Scalar::Uuid),
    ("chillicream/base64-string.html", Scalar::Bytes),
];

/// The scalar that a declared name is bound to.
pub(super) fn scalar_named(name: &str) -> Option<Scalar> {
    SCALARS.iter().find(|(known, _)| *known == name).map(|(_, scalar)| *scalar)
}

/// The scalar that a `@specifiedBy` address is bound to.
pub(super) fn scalar_at(url: &str) -> Option<Scalar> {
    let found = SPECIFIED.iter().find(|(end, _)| {
        url.strip_prefix("https://scalars.graphql.org/")
            .is_some_and(|path| path == *end || path == end.trim_end_matches(".html"))
    });
    found.map(|(_, scalar)| *scalar)
}

/// The `@specifiedBy` address of a declared scalar.
pub(super) fn specified_by(node: &ast::ScalarTypeDefinition) -> Option<&str> {
    let directive = node.directives.iter().find(|directive| directive.name == "specifiedBy")?;
    directive.arguments.iter().find(|argument| argument.name == "url")?.value.as_str()
}

/// The fault of a scalar that is bound to nothing.
pub(super) fn unknown_scalar(name: &str, at: Span) -> Diagnostic {
    let fault =
        Diagnostic::error("S021", at, format!("the scalar `{name}` cannot be stored")).label("not known");
    let names: Vec<&str> = SCALARS.iter().map(|(name, _)| *name).collect();
    match nearest(name, names.iter().copied()) {
        Some(near) => fault.help(format!("Did you mean `{near}`?")),
        None => fault.help(format!(
            "There are: {}; or one that `@specifiedBy` binds to one of these.",
            names.join(", ")
        )),
    }
}

/// A scalar's usual name in a schema.
pub fn scalar_name(scalar: Scalar) -> &'static str {
    match scalar {
        Scalar::Boolean => "Boolean",
        Scalar::Int => "Int",
        Scalar::Long => "Long",
        Scalar::BigInt => "BigInt",
        Scalar::Float => "Float",
        Scalar::String => "String",
        Scalar::Id => "ID",
        Scalar::Decimal => "Decimal",
        Scalar::DateTime => "DateTime",
        Scalar::LocalDate => "LocalDate",
        Scalar::LocalTime => "LocalTime",
        Scalar::Uuid => "UUID",
        Scalar::Bytes => "Base64String",
    }
}
