//! The `@link` to the federation specification: the author's own, or the one of the lowest version that will do.
//!
//! Comes in: the author's documents. Goes out: which version and names the author chose, which directives are applied,
//! and the line that imports them.

use apollo_compiler::ast::{self, Definition, Directive, DirectiveList};

use super::directive::FEDERATION;
use super::parse::{Declarations, Parsed};
use super::sdl::is_hidden;

/// The author's own `@link` to the federation specification.
pub(super) struct Link {
    prefix: String,
    /// The minor version of the specification; 0 where it cannot be told.
    minor: u32,
    imports: Vec<(String, String)>,
}

impl Link {
    pub fn of(declarations: &Declarations<'_>) -> Option<Link> {
        let links = declarations.schema_directives.iter().filter(|directive| directive.node.name == "link");
        let text = |link: &Directive, name: &str| -> Option<String> {
            let argument = link.arguments.iter().find(|argument| argument.name == name)?;
            Some(argument.value.as_str()?.to_string())
        };
        let link = links.map(|link| link.node).find(|link| {
            text(link, "url").is_some_and(|url| url.starts_with("https://specs.apollo.dev/federation/"))
        })?;
        let mut imports = Vec::new();
        let import = link.arguments.iter().find(|argument| argument.name == "import");
        for item in import.and_then(|import| import.value.as_list()).into_iter().flatten() {
            let (name, local) = match &**item {
                ast::Value::Object(fields) => {
                    let field = |wanted: &str| {
                        let (_, value) = fields.iter().find(|(name, _)| name == wanted)?;
                        value.as_str()
                    };
                    let Some(name) = field("name") else { continue };
                    (name, field("as").unwrap_or(name))
                }
                item => match item.as_str() {
                    Some(name) => (name, name),
                    None => continue,
                },
            };
            imports
                .push((name.trim_start_matches('@').to_string(), local.trim_start_matches('@').to_string()));
        }
        let version = text(link, "url").and_then(|url| url.rsplit_once("/v2.")?.1.parse().ok());
        let prefix = text(link, "as").unwrap_or_else(|| "federation".to_string());
        Some(Link { prefix, minor: version.unwrap_or(0), imports })
    }

    /// Whether the version that the author asks for has a directive of the federation.
    pub fn has(&self, name: &str) -> bool {
        self.minor >= version_of(name)
    }

    /// Whether the author imports a directive by its name.
    pub fn imports(&self, name: &str) -> bool {
        self.imports.iter().any(|(imported, _)| imported == name)
    }

    /// What a directive of the federation is called in the author's text.
    pub fn local_name(&self, name: &str) -> String {
        match self.imports.iter().find(|(imported, _)| imported == name) {
            Some((_, local)) => local.clone(),
            None => format!("{}__{name}", self.prefix),
        }
    }
}

/// The minor version of the federation specification that brought a directive.
pub(super) fn version_of(name: &str) -> u32 {
    FEDERATION.iter().find(|(known, _)| *known == name).map_or(0, |(_, version)| *version)
}

/// The minor version of the federation specification that takes `@key` on interfaces.
const ENTITY_INTERFACES: u32 = 3;

/// Directives of the federation that the text applies, each with the minor version that it needs.
pub(super) fn used_directives(parsed: &[Parsed]) -> Vec<(String, u32)> {
    let mut used = Vec::new();
    for file in parsed {
        for definition in &file.document.definitions {
            let is_interface = matches!(
                definition,
                Definition::InterfaceTypeDefinition(_) | Definition::InterfaceTypeExtension(_)
            );
            each_directive(definition, &mut |directive| {
                let Some((name, version)) = FEDERATION.iter().find(|(name, _)| directive.name == *name)
                else {
                    return;
                };
                let has_label = *name == "override"
                    && directive.arguments.iter().any(|argument| argument.name == "label");
                let version = match *name {
                    "key" if is_interface => ENTITY_INTERFACES,
                    _ if has_label => 7,
                    _ => *version,
                };
                used.push(((*name).to_string(), version));
            });
        }
    }
    used
}

fn each_directive(definition: &Definition, found: &mut dyn FnMut(&Directive)) {
    let mut all = |directives: &DirectiveList| directives.iter().for_each(|directive| found(directive));
    all(definition.directives());
    let fields = match definition {
        Definition::ObjectTypeDefinition(node) => &node.fields,
        Definition::ObjectTypeExtension(node) => &node.fields,
        Definition::InterfaceTypeDefinition(node) => &node.fields,
        Definition::InterfaceTypeExtension(node) => &node.fields,
        Definition::EnumTypeDefinition(node) => {
            return node.values.iter().for_each(|value| all(&value.directives));
        }
        Definition::EnumTypeExtension(node) => {
            return node.values.iter().for_each(|value| all(&value.directives));
        }
        _ => return,
    };
    for field in fields.iter().filter(|field| !is_hidden(field)) {
        all(&field.directives);
        field.arguments.iter().for_each(|argument| all(&argument.directives));
    }
}

/// The `@link` of the lowest version that knows all directives used.
pub(super) fn line(mut used: Vec<(String, u32)>) -> String {
    let version = used.iter().map(|(_, version)| *version).max().unwrap_or(0);
    used.sort();
    used.dedup_by(|a, b| a.0 == b.0);
    let url = format!("https://specs.apollo.dev/federation/v2.{version}");
    let imports: Vec<String> = used.iter().map(|(name, _)| format!("\"@{name}\"")).collect();
    match imports.is_empty() {
        true => format!("extend schema @link(url: \"{url}\")\n"),
        false => format!("extend schema @link(url: \"{url}\", import: [{}])\n", imports.join(", ")),
    }
}
