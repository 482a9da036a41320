//! The directives: which are ours and what they take, which are the federation's, which are reserved.
//!
//! Comes in: the directives of a type, field or argument. Goes out: [`Use`]s of ours with every argument checked, and
//! the faults of all others. What the values mean for the model is `bind`'s.

use apollo_compiler::Node;
use apollo_compiler::ast::{self, Value};

use super::columns::{Text, later};
use super::parse::{In, name_span, span};
use crate::diagnostic::{Diagnostic, FileId, Sources, Span, nearest};

/// Where a directive may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Object,
    Field,
    Argument,
    /// Enums, scalars, the schema: nothing of ours belongs there.
    Elsewhere,
}

impl Place {
    fn name(self) -> &'static str {
        match self {
            Place::Object => "a type",
            Place::Field => "a field",
            Place::Argument => "an argument",
            Place::Elsewhere => "this place",
        }
    }
}

/// What an argument of ours takes.
pub(super) enum Kind {
    /// A text, and the name of the scalar that says to editors what is in it.
    Text(&'static str),
    Int {
        min: u64,
        max: u64,
    },
    Bool,
    Choice {
        /// Name of the enum, for editors.
        name: &'static str,
        now: &'static [&'static str],
        later: &'static [&'static str],
    },
    /// A list of such words, or one.
    Words {
        name: &'static str,
        now: &'static [&'static str],
        later: &'static [&'static str],
    },
}

pub(super) struct Parameter {
    pub name: &'static str,
    pub kind: Kind,
    pub required: bool,
    /// What it means, for editors.
    pub about: &'static str,
}

const fn may(name: &'static str, kind: Kind, about: &'static str) -> Parameter {
    Parameter { name, kind, required: false, about }
}

const fn must(name: &'static str, kind: Kind, about: &'static str) -> Parameter {
    Parameter { name, kind, required: true, about }
}

/// A directive of ours.
pub(super) struct Ours {
    pub name: &'static str,
    pub place: Place,
    pub repeatable: bool,
    /// What it says, for editors.
    pub about: &'static str,
    pub parameters: &'static [Parameter],
}

const PAGE: Kind = Kind::Int { min: 1, max: 10_000 };
const COUNT: Kind = Kind::Int { min: 1, max: 1_000_000_000_000 };

/// Texts by what is in them.
const TEXT: Kind = Kind::Text("String");
const COLUMNS: Kind = Kind::Text("kinora__Cols");
const CEL: Kind = Kind::Text("kinora__Cel");
const DURATION: Kind = Kind::Text("kinora__Duration");
const MAPPING: Kind = Kind::Text("kinora__Key");

pub(super) const OURS: &[Ours] = &[
    Ours {
        name: "table",
        place: Place::Object,
        repeatable: true,
        about: "A physical table. The first of a type is its base table and holds every column; the others are copies that the same events keep.",
        parameters: &[
            must("name", TEXT, "The table's name: at most 48 bytes in snake case, without `__`."),
            must(
                "partition",
                COLUMNS,
                "Columns that say which rows lie together; every read names all of them. `year`, `month`, `week`, `day` or `hour(column)` cut by time, `hash(column, 8)` into shards, `prefix(column, 2)` by first letters.",
            ),
            may(
                "clustering",
                COLUMNS,
                "Columns that order a partition's rows, each `ASC` or `DESC`. A copy's end in the base key.",
            ),
            may(
                "fields",
                COLUMNS,
                "Columns that a copy holds beside its key; the others are read from the base table.",
            ),
            may(
                "where",
                CEL,
                "A copy holds the rows for which this is true; read only where `@read(table:)` names it.",
            ),
            may("rows", COUNT, "Rows that a partition has at most."),
            may("rate", COUNT, "Writes a second to the hottest partition."),
            may(
                "static",
                Kind::Bool,
                "This type is what a partition of the table has once; its rows are another type's.",
            ),
            may(
                "ttl",
                DURATION,
                "How long after the time in `ttlFrom`, or after the last event that wrote it, a row is there: `90d`.",
            ),
            may("ttlFrom", TEXT, "The DateTime column from which `ttl` counts."),
            may(
                "options",
                TEXT,
                "Options of Cassandra's table, as CQL writes them: `gc_grace_seconds = 3600`.",
            ),
        ],
    },
    Ours {
        name: "read",
        place: Place::Field,
        repeatable: false,
        about: "This field reads a table. Without arguments the table follows from the field's arguments and its parent.",
        parameters: &[
            may("table", TEXT, "Which table it reads, where several fit."),
            may("via", TEXT, "The field that refers to the parent, where several do."),
            may("page", PAGE, "Rows of a page that the client does not size; 20 unless said."),
            may("max", PAGE, "Most rows of a page; 100 unless said."),
            may("lookback", DURATION, "Time buckets that are older than the newest by more are not read."),
            may(
                "count",
                Kind::Choice { name: "kinora__Count", now: &["NONE", "CAPPED"], later: &["EXACT"] },
                "`CAPPED`: the connection has `totalCount`, null beyond `max`.",
            ),
            may("order", COLUMNS, "The order of its rows: that of the table, or its exact reverse."),
            may(
                "maxAge",
                Kind::Int { min: 0, max: 31_536_000 },
                "Seconds for which an answer may be kept by caches; 0 unless said.",
            ),
            may(
                "scope",
                Kind::Choice { name: "kinora__CacheScope", now: &["PUBLIC", "PRIVATE"], later: &[] },
                "Whether shared caches may keep it; `PUBLIC` unless said.",
            ),
        ],
    },
    Ours {
        name: "arg",
        place: Place::Argument,
        repeatable: false,
        about: "What this argument is compared with, and how.",
        parameters: &[
            may("column", TEXT, "The column, where it is not named like the argument."),
            may(
                "op",
                Kind::Choice {
                    name: "kinora__Op",
                    now: &["EQ", "IN", "LT", "LTE", "GT", "GTE", "PREFIX", "CONTAINS", "ANN"],
                    later: &[],
                },
                "How the column is compared with it; `EQ` unless said.",
            ),
        ],
    },
    Ours {
        name: "ref",
        place: Place::Field,
        repeatable: false,
        about: "Another entity, owned here or elsewhere: only its key is stored.",
        parameters: &[must(
            "key",
            MAPPING,
            "Which columns hold the key: `userId`, or `userId -> id, tenant -> org { id }`.",
        )],
    },
    Ours {
        name: "udt",
        place: Place::Object,
        repeatable: false,
        about: "A value type, stored inside a row.",
        parameters: &[may("name", TEXT, "The name of its CQL type.")],
    },
    Ours {
        name: "column",
        place: Place::Field,
        repeatable: false,
        about: "How this field is stored.",
        parameters: &[
            may("name", TEXT, "Its name in the table."),
            may(
                "as",
                Kind::Choice { name: "kinora__Coll", now: &["LIST", "SET", "MAP"], later: &[] },
                "What a list is stored as.",
            ),
            may("key", TEXT, "The field by which a `MAP` tells its elements apart."),
            may("max", Kind::Int { min: 1, max: 1_000_000 }, "Most elements of a collection."),
            may("hidden", Kind::Bool, "Whether it is stored without being in the graph."),
            may("type", TEXT, "Its CQL type: `decimal`, `varint`, `ascii`, `vector<float, 384>`."),
        ],
    },
    Ours {
        name: "index",
        place: Place::Field,
        repeatable: true,
        about: "Reads of a table's partitions may filter by this column, which is not in the table's key.",
        parameters: &[
            may("table", TEXT, "Whose partitions it filters, where there are several tables."),
            may(
                "ops",
                Kind::Words {
                    name: "kinora__IndexOp",
                    now: &["EQ", "IN", "LT", "LTE", "GT", "GTE", "CONTAINS", "ANN"],
                    later: &["PREFIX"],
                },
                "How it is compared; unless said `EQ`, of a collection `CONTAINS`, of a vector `ANN`.",
            ),
            may(
                "similarity",
                Kind::Choice {
                    name: "kinora__Similarity",
                    now: &["COSINE", "DOT_PRODUCT", "EUCLIDEAN"],
                    later: &[],
                },
                "By what vectors are near; `COSINE` unless said.",
            ),
        ],
    },
];

const RESERVED: &[&str] = &["rollup", "agg", "top", "live", "owner"];

/// A directive with its arguments, each with the words that it takes; those of words that are reserved too.
#[cfg(test)]
pub(super) type Vocabulary = (&'static str, Vec<(&'static str, Vec<&'static str>)>);

/// All of ours, for the test of the reference.
#[cfg(test)]
pub(super) fn vocabulary() -> Vec<Vocabulary> {
    let words = |kind: &Kind| match kind {
        Kind::Choice { now, later, .. } | Kind::Words { now, later, .. } => [*now, *later].concat(),
        _ => Vec::new(),
    };
    let one = |ours: &Ours| {
        let arguments = ours.parameters.iter().map(|parameter| (parameter.name, words(&parameter.kind)));
        (ours.name, arguments.collect())
    };
    OURS.iter().map(one).chain(RESERVED.iter().map(|name| (*name, Vec::new()))).collect()
}

/// Directives of the federation specification, with the minor version that brought them.
pub(super) const FEDERATION: &[(&str, u32)] = &[
    ("key", 0),
    ("shareable", 0),
    ("external", 0),
    ("requires", 0),
    ("provides", 0),
    ("override", 0),
    ("tag", 0),
    ("inaccessible", 0),
    ("extends", 0),
    ("composeDirective", 1),
    ("interfaceObject", 3),
    ("authenticated", 5),
    ("requiresScopes", 5),
    ("policy", 6),
    ("context", 8),
    ("fromContext", 8),
    ("cost", 9),
    ("listSize", 9),
    ("cacheTag", 12),
];

/// Directives of GraphQL itself, and the one that imports others.
const BUILT_IN: &[&str] = &["deprecated", "specifiedBy", "oneOf", "link"];

/// Whether a directive is ours: cut out of the text that a gateway sees.
pub(super) fn is_ours(name: &str) -> bool {
    OURS.iter().any(|ours| ours.name == name)
}

/// One directive of ours, its arguments checked.
#[derive(Clone, Debug)]
pub(super) struct Use {
    pub name: &'static str,
    /// The whole directive.
    pub span: Span,
    arguments: Vec<(&'static str, Given)>,
}

#[derive(Clone, Debug)]
enum Given {
    Text(Text),
    Int(u64),
    Bool(bool),
    Choice(&'static str),
    Words(Vec<&'static str>),
}

impl Use {
    /// The text of an argument.
    pub fn text(&self, name: &str) -> Option<&Text> {
        match self.given(name)? {
            Given::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number that an argument gives.
    pub fn int(&self, name: &str) -> Option<u64> {
        match self.given(name)? {
            Given::Int(number) => Some(*number),
            _ => None,
        }
    }

    /// Whether a flag is set.
    pub fn flag(&self, name: &str) -> bool {
        matches!(self.given(name), Some(Given::Bool(true)))
    }

    /// The word that an argument gives.
    pub fn choice(&self, name: &str) -> Option<&'static str> {
        match self.given(name)? {
            Given::Choice(word) => Some(word),
            _ => None,
        }
    }

    /// The words of a list that an argument gives.
    pub fn words(&self, name: &str) -> Option<&[&'static str]> {
        match self.given(name)? {
            Given::Words(words) => Some(words),
            _ => None,
        }
    }

    fn given(&self, name: &str) -> Option<&Given> {
        self.arguments.iter().find(|(given, _)| *given == name).map(|(_, given)| given)
    }
}

/// The directives that the author's SDL itself defines or imports: they pass through untouched.
#[derive(Debug, Default)]
pub(super) struct Known {
    names: Vec<String>,
}

impl Known {
    /// Gathers definitions, and what `@link` imports.
    pub fn new(
        definitions: &[In<'_, Node<ast::DirectiveDefinition>>],
        schema: &[In<'_, Node<ast::Directive>>],
    ) -> Known {
        let mut names: Vec<String> =
            definitions.iter().map(|definition| definition.node.name.to_string()).collect();
        for link in schema.iter().filter(|directive| directive.node.name == "link") {
            names.extend(link_names(link.node));
        }
        Known { names }
    }

    fn has(&self, name: &str) -> bool {
        name.contains("__")
            || BUILT_IN.contains(&name)
            || FEDERATION.iter().any(|(known, _)| *known == name)
            || self.names.iter().any(|known| known == name)
    }

    fn all(&self) -> impl Iterator<Item = &str> {
        let ours = OURS.iter().map(|ours| ours.name).chain(RESERVED.iter().copied());
        let theirs = FEDERATION.iter().map(|(name, _)| *name).chain(BUILT_IN.iter().copied());
        ours.chain(theirs).chain(self.names.iter().map(String::as_str))
    }
}

/// The names of directives that one `@link` brings: what it imports, under the names it gives them, and its own.
pub(super) fn link_names(link: &ast::Directive) -> Vec<String> {
    let mut names = Vec::new();
    let mut imported = |value: &Value| {
        if let Some(name) = value.as_str().and_then(|name| name.strip_prefix('@')) {
            names.push(name.to_string());
        }
    };
    for argument in &link.arguments {
        match (argument.name.as_str(), &*argument.value) {
            ("as", Value::String(name)) => imported(&Value::String(format!("@{name}"))),
            ("url", Value::String(url)) => {
                if let Some(spec) = url.rsplit('/').nth(1) {
                    imported(&Value::String(format!("@{spec}")));
                }
            }
            ("import", Value::List(items)) => {
                for item in items {
                    match &**item {
                        Value::Object(fields) => fields.iter().for_each(|(_, value)| imported(value)),
                        one => imported(one),
                    }
                }
            }
            _ => {}
        }
    }
    names
}

/// Checks the directives that stand in one place; answers ours.
pub(super) fn uses(
    directives: &[In<'_, Node<ast::Directive>>],
    place: Place,
    known: &Known,
    sources: &Sources,
    faults: &mut Vec<Diagnostic>,
) -> Vec<Use> {
    let mut uses: Vec<Use> = Vec::new();
    for directive in directives {
        let name = directive.node.name.as_str();
        let whole = span(directive.file, directive.node.location(), sources);
        let Some(ours) = OURS.iter().find(|ours| ours.name == name) else {
            faults.extend(not_ours(name, whole, known));
            continue;
        };
        if ours.place != place {
            faults.push(
                Diagnostic::error("S011", whole, format!("`@{name}` cannot stand on {}", place.name()))
                    .label("wrong place")
                    .help(format!("It belongs on {}.", ours.place.name())),
            );
            continue;
        }
        if !ours.repeatable && uses.iter().any(|used| used.name == ours.name) {
            faults.push(
                Diagnostic::error("S015", whole, format!("`@{name}` stands here twice"))
                    .label("a second time")
                    .help("Keep one, with the arguments of both."),
            );
            continue;
        }
        uses.push(arguments(ours, directive.file, directive.node, whole, sources, faults));
    }
    uses
}

fn not_ours(name: &str, whole: Span, known: &Known) -> Option<Diagnostic> {
    if known.has(name) {
        return None;
    }
    if RESERVED.contains(&name) {
        return Some(later(&format!("`@{name}`"), whole));
    }
    let fault =
        Diagnostic::error("S010", whole, format!("no directive is named `@{name}`")).label("not known");
    Some(match nearest(name, known.all()) {
        Some(near) => fault.help(format!("Did you mean `@{near}`?")).fix_name(name, known.all()),
        None => fault.help(format!(
            "Define it (`directive @{name} on …`) or import it with `@link` if a gateway is to see it."
        )),
    })
}

/// One directive of ours, with those of its arguments that have no fault. It stays a use of the directive even so: one
/// typo should not make the field look as if nothing were said of it.
fn arguments(
    ours: &'static Ours,
    file: FileId,
    directive: &ast::Directive,
    whole: Span,
    sources: &Sources,
    faults: &mut Vec<Diagnostic>,
) -> Use {
    let mut found = Use { name: ours.name, span: whole, arguments: Vec::new() };
    for argument in &directive.arguments {
        let name = argument.name.as_str();
        let place = name_span(file, &argument.name);
        let Some(parameter) = ours.parameters.iter().find(|parameter| parameter.name == name) else {
            faults.push(unknown_argument(ours, name, place));
            continue;
        };
        if found.given(name).is_some() {
            faults.push(
                Diagnostic::error("S015", place, format!("`{name}` is given twice"))
                    .label("a second time")
                    .help("Keep one of the two."),
            );
            continue;
        }
        let value_span = span(file, argument.value.location(), sources);
        match value(ours.name, parameter, &argument.value, value_span, sources) {
            Ok(given) => found.arguments.push((parameter.name, given)),
            Err(fault) => faults.push(*fault),
        }
    }
    for parameter in ours.parameters.iter().filter(|parameter| parameter.required) {
        let written = directive.arguments.iter().any(|argument| argument.name == parameter.name);
        if !written {
            let message = format!("`@{}` needs the argument `{}`", ours.name, parameter.name);
            faults.push(
                Diagnostic::error("S014", whole, message)
                    .label(format!("without `{}`", parameter.name))
                    .help(format!("Add `{}: \"…\"`.", parameter.name)),
            );
        }
    }
    found
}

fn unknown_argument(ours: &Ours, name: &str, place: Span) -> Diagnostic {
    let names = || ours.parameters.iter().map(|known| known.name);
    let message = format!("`@{}` has no argument `{name}`", ours.name);
    let fault = Diagnostic::error("S012", place, message).label("not known");
    match nearest(name, names()) {
        Some(near) => fault.help(format!("Did you mean `{near}`?")).fix_name(name, names()),
        None if names().next().is_none() => fault.help(format!("`@{}` takes no arguments.", ours.name)),
        None => fault.help(format!("It takes: {}.", names().collect::<Vec<_>>().join(", "))),
    }
}

fn value(
    directive: &str,
    parameter: &Parameter,
    given: &Value,
    at: Span,
    sources: &Sources,
) -> Result<Given, Box<Diagnostic>> {
    let name = parameter.name;
    let wrong = |expected: &str| {
        let message = format!("`{name}` of `@{directive}` takes {expected}, not `{given}`");
        let help = match (&parameter.kind, given) {
            (Kind::Text(_), Value::Enum(word)) => format!("Write `{name}: \"{word}\"`."),
            (kind, _) => format!("Write `{name}: {}`.", example(kind)),
        };
        Box::new(Diagnostic::error("S013", at, message).label(format!("expected {expected}")).help(help))
    };
    match (&parameter.kind, given) {
        (Kind::Text(_), Value::String(text)) => Ok(Given::Text(literal(text, at, sources))),
        (Kind::Text(_), _) => Err(wrong("a string")),
        (Kind::Bool, Value::Boolean(flag)) => Ok(Given::Bool(*flag)),
        (Kind::Bool, _) => Err(wrong("true or false")),
        (&Kind::Int { min, max }, Value::Int(number)) => match number.as_str().parse::<u64>() {
            Ok(number) if (min..=max).contains(&number) => Ok(Given::Int(number)),
            _ => Err(wrong(&format!("a whole number from {min} to {max}"))),
        },
        (Kind::Int { min, max }, _) => Err(wrong(&format!("a whole number from {min} to {max}"))),
        (Kind::Choice { now, later: reserved, .. }, Value::Enum(word)) => {
            if let Some(word) = now.iter().find(|known| word == **known) {
                return Ok(Given::Choice(word));
            }
            if directive == "index" && word == "PREFIX" {
                return Err(Box::new(no_index_of_beginnings(at)));
            }
            if reserved.iter().any(|known| word == *known) {
                return Err(Box::new(later(&format!("`{name}: {word}`"), at)));
            }
            let fault = wrong(&format!("one of {}", now.join(", ")));
            Err(match nearest(word, now.iter().chain(*reserved).copied()) {
                Some(near) => {
                    let fault = fault.help(format!("Did you mean `{near}`?"));
                    Box::new(fault.fix_name(word, now.iter().chain(*reserved).copied()))
                }
                None => fault,
            })
        }
        (&Kind::Words { name, now, later: reserved }, given) => {
            let choice = Parameter { kind: Kind::Choice { name, now, later: reserved }, ..*parameter };
            let items: Vec<&Value> = match given {
                Value::List(items) => items.iter().map(|item| &**item).collect(),
                lone => vec![lone],
            };
            let mut words = Vec::new();
            for item in items {
                match value(directive, &choice, item, at, sources)? {
                    Given::Choice(word) if !words.contains(&word) => words.push(word),
                    _ => {}
                }
            }
            if words.is_empty() {
                Err(wrong(&format!("at least one of {}", now.join(", "))))
            } else {
                Ok(Given::Words(words))
            }
        }
        (Kind::Choice { now, .. }, _) => Err(wrong(&format!("one of {} without quotes", now.join(", ")))),
    }
}

/// Indexes of Cassandra compare whole values.
fn no_index_of_beginnings(at: Span) -> Diagnostic {
    Diagnostic::error("S080", at, "no index finds a text by its beginning: it compares whole values")
        .label("not answered")
        .help("Sort a copy by the column, which `op: PREFIX` then reads: `@table(…, clustering: \"name, id\")`.")
}

/// A value that fits, as it is written.
fn example(kind: &Kind) -> String {
    match kind {
        Kind::Text(_) => "\"…\"".to_string(),
        Kind::Int { min, .. } => (*min).max(20).to_string(),
        Kind::Bool => "true".to_string(),
        Kind::Choice { now, .. } => now[0].to_string(),
        Kind::Words { now, .. } => format!("[{}]", now[0]),
    }
}

/// A string with the place of its letters, where the literal has no escapes.
pub(super) fn literal(value: &str, at: Span, sources: &Sources) -> Text {
    let raw = sources.file(at.file).text.get(at.start as usize..at.end as usize).unwrap_or("");
    let quotes = if raw.starts_with("\"\"\"") { 3 } else { 1 };
    let inner = raw.get(quotes..raw.len().saturating_sub(quotes));
    let verbatim =
        (inner == Some(value)).then(|| at.start + u32::try_from(quotes).expect("at most three quotes"));
    Text { value: value.to_string(), span: at, verbatim }
}
