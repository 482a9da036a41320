//! Scalars: by which names, addresses and CQL types a declared scalar is bound to one that can be stored.
//!
//! Comes in: a name, an address of `@specifiedBy`, or the `type` of `@column`. Goes out: a [`Scalar`], or the fault.
//! Values are not looked at.

use apollo_compiler::ast;

use super::Scalar;
use super::columns::Text;
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
    ("Byte", Scalar::Byte),
    ("Short", Scalar::Short),
    ("Long", Scalar::Long),
    ("BigInt", Scalar::BigInt),
    ("Float32", Scalar::Float32),
    ("Decimal", Scalar::Decimal),
    ("BigDecimal", Scalar::Decimal),
    ("DateTime", Scalar::DateTime),
    ("Timestamp", Scalar::DateTime),
    ("LocalDate", Scalar::LocalDate),
    ("Date", Scalar::LocalDate),
    ("LocalTime", Scalar::LocalTime),
    ("Time", Scalar::LocalTime),
    ("Duration", Scalar::Duration),
    ("ISO8601Duration", Scalar::Duration),
    ("UUID", Scalar::Uuid),
    ("GUID", Scalar::Uuid),
    ("TimeUUID", Scalar::TimeUuid),
    ("Base64String", Scalar::Bytes),
    ("Bytes", Scalar::Bytes),
    ("Blob", Scalar::Bytes),
    ("IP", Scalar::Ip),
    ("Inet", Scalar::Ip),
    ("IPv4", Scalar::Ipv4),
    ("IPv6", Scalar::Ipv6),
    ("JSON", Scalar::Json),
];

/// What the addresses of the scalar registry begin with.
const REGISTRY: &str = "https://scalars.graphql.org/";

/// `@specifiedBy` addresses in the scalar registry by which a scalar is bound, whatever its name; `.html` may follow.
const SPECIFIED: &[(&str, Scalar)] = &[
    ("andimarek/date-time", Scalar::DateTime),
    ("andimarek/local-date", Scalar::LocalDate),
    ("chillicream/local-date", Scalar::LocalDate),
    ("chillicream/local-time", Scalar::LocalTime),
    ("apollographql/localtime-v0.1", Scalar::LocalTime),
    ("chillicream/byte", Scalar::Byte),
    ("chillicream/short", Scalar::Short),
    ("chillicream/long", Scalar::Long),
    ("apollographql/long-v0.1", Scalar::Long),
    ("chillicream/uuid", Scalar::Uuid),
    ("chillicream/base64-string", Scalar::Bytes),
];

/// Addresses elsewhere: the specification of GraphQL has the first in its own example.
const SPECIFIED_ELSEWHERE: &[(&str, Scalar)] = &[
    ("https://tools.ietf.org/html/rfc4122", Scalar::Uuid),
    ("https://www.rfc-editor.org/rfc/rfc9562", Scalar::Uuid),
];

/// CQL types that `@column(type:)` takes, and the scalar that a field of no other kind has by it.
const TYPES: &[(&str, Scalar)] = &[
    ("ascii", Scalar::Ascii),
    ("bigint", Scalar::BigInt),
    ("blob", Scalar::Bytes),
    ("boolean", Scalar::Boolean),
    ("date", Scalar::LocalDate),
    ("decimal", Scalar::Decimal),
    ("double", Scalar::Float),
    ("duration", Scalar::Duration),
    ("float", Scalar::Float32),
    ("inet", Scalar::Ip),
    ("int", Scalar::Int),
    ("smallint", Scalar::Short),
    ("text", Scalar::String),
    ("time", Scalar::LocalTime),
    ("timestamp", Scalar::DateTime),
    ("timeuuid", Scalar::TimeUuid),
    ("tinyint", Scalar::Byte),
    ("uuid", Scalar::Uuid),
    ("varchar", Scalar::String),
    ("varint", Scalar::VarInt),
];

/// The scalar that a declared name is bound to.
pub(super) fn scalar_named(name: &str) -> Option<Scalar> {
    SCALARS.iter().find(|(known, _)| *known == name).map(|(_, scalar)| *scalar)
}

/// The scalar that a `@specifiedBy` address is bound to.
pub(super) fn scalar_at(url: &str) -> Option<Scalar> {
    let found = match url.strip_prefix(REGISTRY) {
        Some(path) => {
            let path = path.strip_suffix(".html").unwrap_or(path);
            SPECIFIED.iter().find(|(known, _)| *known == path)
        }
        None => SPECIFIED_ELSEWHERE.iter().find(|(known, _)| *known == url),
    };
    found.map(|(_, scalar)| *scalar)
}

/// The `@specifiedBy` address of a declared scalar.
pub(super) fn specified_by(directives: &ast::DirectiveList) -> Option<&str> {
    let directive = directives.iter().find(|directive| directive.name == "specifiedBy")?;
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
            "There are: {}; or one that `@specifiedBy` binds to one of these; or say how each field of it is stored: \
             `@column(type: \"text\")`.",
            names.join(", ")
        )),
    }
}

/// What is stored in a field that names a CQL type; `declared` is its scalar in the graph, `None` if that is bound to
/// nothing and takes any.
pub(super) fn typed(declared: Option<Scalar>, text: &Text) -> Result<Scalar, Box<Diagnostic>> {
    let wanted = text.value.to_ascii_lowercase();
    let Some((_, found)) = TYPES.iter().find(|(name, _)| *name == wanted) else {
        let fault = Diagnostic::error("S013", text.span, format!("there is no CQL type `{}`", text.value))
            .label("not a type");
        let names = || TYPES.iter().map(|(name, _)| *name);
        return Err(Box::new(match nearest(&wanted, names()) {
            Some(near) => fault.help(format!("Did you mean `{near}`?")).fix_name(&text.value, names()),
            None => fault.help(format!("There are: {}.", names().collect::<Vec<_>>().join(", "))),
        }));
    };
    let Some(declared) = declared else { return Ok(*found) };
    if cql_type(declared) == cql_type(*found) {
        return Ok(declared);
    }
    let also = also_stored_as(declared);
    if also.contains(found) {
        return Ok(*found);
    }
    let message = format!("a field of type `{}` cannot be stored as `{wanted}`", scalar_name(declared));
    let types: Vec<&str> = std::iter::once(declared).chain(also.iter().copied()).map(cql_type).collect();
    Err(Diagnostic::error("S044", text.span, message)
        .label("another kind of value")
        .help(format!("It can be: {}.", types.join(", ")))
        .into())
}

/// What a scalar of the graph can be stored as, beside its own CQL type.
fn also_stored_as(declared: Scalar) -> &'static [Scalar] {
    match declared {
        Scalar::Int => &[Scalar::Byte, Scalar::Short],
        Scalar::Float => &[Scalar::Float32],
        Scalar::BigInt => &[Scalar::VarInt],
        Scalar::String => &[Scalar::Ascii],
        Scalar::Id => &[Scalar::Ascii, Scalar::Uuid, Scalar::TimeUuid],
        Scalar::Uuid => &[Scalar::TimeUuid],
        _ => &[],
    }
}

/// Whether an argument (or a key) of one scalar can be compared with a column of another: their values are read as the
/// column's.
pub(super) fn same_values(column: Scalar, argument: Scalar) -> bool {
    let text = |scalar| matches!(scalar, Scalar::Id | Scalar::String | Scalar::Ascii);
    column == argument
        || (text(column) && text(argument))
        || also_stored_as(argument).contains(&column)
        || also_stored_as(column).contains(&argument)
        || matches!((column, argument), (Scalar::Ip, Scalar::Ipv4 | Scalar::Ipv6))
}

/// The CQL type of a scalar.
pub fn cql_type(scalar: Scalar) -> &'static str {
    match scalar {
        Scalar::Boolean => "boolean",
        Scalar::Byte => "tinyint",
        Scalar::Short => "smallint",
        Scalar::Int => "int",
        Scalar::Long | Scalar::BigInt => "bigint",
        Scalar::VarInt => "varint",
        Scalar::Float => "double",
        Scalar::Float32 => "float",
        Scalar::String | Scalar::Id | Scalar::Json => "text",
        Scalar::Ascii => "ascii",
        Scalar::Decimal => "decimal",
        Scalar::DateTime => "timestamp",
        Scalar::LocalDate => "date",
        Scalar::LocalTime => "time",
        Scalar::Duration => "duration",
        Scalar::Uuid => "uuid",
        Scalar::TimeUuid => "timeuuid",
        Scalar::Bytes => "blob",
        Scalar::Ip | Scalar::Ipv4 | Scalar::Ipv6 => "inet",
    }
}

/// A scalar's usual name in a schema.
pub fn scalar_name(scalar: Scalar) -> &'static str {
    match scalar {
        Scalar::Boolean => "Boolean",
        Scalar::Byte => "Byte",
        Scalar::Short => "Short",
        Scalar::Int => "Int",
        Scalar::Long => "Long",
        Scalar::BigInt | Scalar::VarInt => "BigInt",
        Scalar::Float => "Float",
        Scalar::Float32 => "Float32",
        Scalar::String | Scalar::Ascii => "String",
        Scalar::Id => "ID",
        Scalar::Decimal => "Decimal",
        Scalar::DateTime => "DateTime",
        Scalar::LocalDate => "LocalDate",
        Scalar::LocalTime => "LocalTime",
        Scalar::Duration => "Duration",
        Scalar::Uuid => "UUID",
        Scalar::TimeUuid => "TimeUUID",
        Scalar::Bytes => "Base64String",
        Scalar::Ip => "IP",
        Scalar::Ipv4 => "IPv4",
        Scalar::Ipv6 => "IPv6",
        Scalar::Json => "JSON",
    }
}

/// Whether values of the scalar have an order, and so can be keys, elements of sets and keys of maps: CQL takes no
/// durations there, and JSON of one meaning has many texts.
pub fn is_ordered(scalar: Scalar) -> bool {
    !matches!(scalar, Scalar::Duration | Scalar::Json)
}
