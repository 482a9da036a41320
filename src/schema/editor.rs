//! The directives as SDL that defines them, for editors: a GraphQL language server then completes and checks them.
//!
//! Made from the table by which [`directive`](super::directive) checks them, so that it never says anything else. What
//! is reserved is left out. A gateway never sees it.

use std::fmt::Write;

use super::directive::{Kind, OURS, Ours, Parameter, Place};

/// The scalars that arguments take, with what is written in them.
const SCALARS: [(&str, &str); 5] = [
    ("kinora__Cols", "Columns, separated by commas: `\"userId, month(placedAt)\"`, `\"placedAt DESC, id\"`."),
    ("kinora__Cel", "An expression of the Common Expression Language over columns: `\"status == 'PAID'\"`."),
    ("kinora__Duration", "A length of time: `\"90d\"`, `\"12h\"`."),
    (
        "kinora__Key",
        "Columns that hold another entity's key: `\"userId\"`, `\"userId -> id, tenant -> org { id }\"`.",
    ),
    ("kinora__Long", "A whole number that may need more than 32 bits."),
];

/// SDL that defines every directive of `schema/*.graphql`, with descriptions.
pub fn directives_sdl() -> String {
    let mut sdl = String::from(
        "# The directives of Kinora, for editors: `kinora schema directives` prints this. A project's own files do not\n\
         # need it, and it stays outside `schema/`.\n",
    );
    for ours in OURS {
        sdl.push_str(&directive(ours));
    }
    for (name, about) in SCALARS {
        let _ = write!(sdl, "\n{}scalar {name}\n", description("", about));
    }
    let mut enums: Vec<(&str, &[&str])> = Vec::new();
    for parameter in OURS.iter().flat_map(|ours| ours.parameters) {
        if let Kind::Choice { name, now, .. } | Kind::Words { name, now, .. } = parameter.kind
            && !enums.iter().any(|(known, _)| *known == name)
        {
            enums.push((name, now));
        }
    }
    for (name, words) in enums {
        let _ = write!(sdl, "\nenum {name} {{\n  {}\n}}\n", words.join("\n  "));
    }
    sdl
}

fn directive(ours: &Ours) -> String {
    let parameters: Vec<&Parameter> = ours.parameters.iter().collect();
    let mut sdl = format!("\n{}directive @{}", description("", ours.about), ours.name);
    if !parameters.is_empty() {
        sdl.push_str("(\n");
        for parameter in parameters {
            let required = if parameter.required { "!" } else { "" };
            let _ = writeln!(
                sdl,
                "{}  {}: {}{required}",
                description("  ", parameter.about),
                parameter.name,
                type_name(&parameter.kind)
            );
        }
        sdl.push(')');
    }
    let repeatable = if ours.repeatable { " repeatable" } else { "" };
    let _ = writeln!(sdl, "{repeatable} on {}", location(ours.place));
    sdl
}

fn type_name(kind: &Kind) -> String {
    match kind {
        Kind::Text(name) | Kind::Choice { name, .. } => (*name).to_owned(),
        // GraphQL's own Int has 32 bits.
        Kind::Int { max, .. } if i32::try_from(*max).is_err() => "kinora__Long".to_owned(),
        Kind::Int { .. } => "Int".to_owned(),
        Kind::Bool => "Boolean".to_owned(),
        Kind::Words { name, .. } => format!("[{name}!]"),
    }
}

fn location(place: Place) -> &'static str {
    match place {
        Place::Object => "OBJECT",
        Place::Field => "FIELD_DEFINITION",
        Place::Argument => "ARGUMENT_DEFINITION",
        Place::Elsewhere => "SCHEMA",
    }
}

fn description(indent: &str, text: &str) -> String {
    format!("{indent}\"\"\"{text}{}\"\"\"\n", if text.ends_with('"') { " " } else { "" })
}

#[cfg(test)]
mod tests {
    use apollo_compiler::Schema;

    use super::*;

    const SHOP: &str = include_str!("../../schema/shop.graphql");

    #[test]
    fn a_schema_that_uses_the_directives_is_valid_beside_it() {
        let federation = "directive @key(fields: String!, resolvable: Boolean) repeatable on OBJECT | INTERFACE\n\
             directive @shareable repeatable on OBJECT | FIELD_DEFINITION\n";
        let parsed = Schema::builder()
            .adopt_orphan_extensions()
            .parse(directives_sdl(), "kinora.graphql")
            .parse(federation, "federation.graphql")
            .parse(SHOP, "shop.graphql")
            .build()
            .unwrap_or_else(|faults| panic!("{}", faults.errors));
        let faults = parsed.validate().err().map(|faults| faults.errors.to_string()).unwrap_or_default();
        // Connections that are not declared are made by `check`; an editor does not know them.
        let others: Vec<&str> = faults
            .lines()
            .filter(|line| line.starts_with("Error:") && !line.contains("Connection` in this document"))
            .collect();
        assert!(others.is_empty(), "{faults}");
    }

    #[test]
    fn everything_says_what_it_means() {
        for ours in OURS {
            assert!(ours.about.ends_with('.'), "{}", ours.name);
            for parameter in ours.parameters {
                assert!(parameter.about.ends_with('.'), "{}.{}", ours.name, parameter.name);
            }
        }
        for scalar in
            directives_sdl().split([':', '\n', '!', ' ']).filter(|word| word.starts_with("kinora__"))
        {
            assert!(
                directives_sdl().contains(&format!("scalar {scalar}\n"))
                    || directives_sdl().contains(&format!("enum {scalar} ")),
                "{scalar}"
            );
        }
    }
}
