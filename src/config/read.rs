//! Goes through what is given: file, environment, flags, in that order, each over the one before.
//!
//! Every unknown key and bad value becomes a diagnostic; the rest is set all the same.

use std::borrow::Cow;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::value::{self, Given};
use super::{Bytes, Cassandra, Consistency, FILE, Loaded, Sample, Settings, kafka, telemetry};
use crate::diagnostic::{Diagnostic, FileId, Severity, Sources, Span};
use crate::lint::{RULES, rule_of};

/// A flag of the command line that sets something: its name as typed, the setting's key, the value.
#[derive(Clone, Debug)]
pub struct Flag {
    pub name: &'static str,
    pub key: &'static str,
    pub value: String,
}

/// Every key that is not of a topic, nor of Kafka, nor of what a process tells of itself.
pub(super) const KEYS: [&str; 48] = [
    "serve.listen",
    "serve.cursor_secrets",
    "serve.introspection",
    "serve.deadline",
    "serve.drain",
    "serve.concurrent",
    "serve.waiting",
    "serve.connections",
    "serve.idle",
    "serve.memory",
    "serve.limits.body",
    "serve.limits.record",
    "serve.limits.publish",
    "serve.limits.tokens",
    "serve.limits.depth",
    "serve.limits.aliases",
    "serve.limits.root_fields",
    "serve.limits.directives",
    "serve.limits.representations",
    "serve.limits.cached_operations",
    "serve.limits.read",
    "serve.limits.answer",
    "dev.sample",
    "dev.data",
    "parking.max_keys",
    "parking.max_share",
    "project.listen",
    "project.batch",
    "project.budget",
    "project.cache",
    "project.stall",
    "store.memtables",
    "store.cache",
    "cassandra.nodes",
    "cassandra.keyspace",
    "cassandra.datacenter",
    "cassandra.user",
    "cassandra.password",
    "cassandra.tls.ca",
    "cassandra.tls.cert",
    "cassandra.tls.key",
    "cassandra.consistency",
    "cassandra.replication",
    "cassandra.connect",
    "cassandra.timeout",
    "cassandra.retries",
    "cassandra.concurrent",
    "cassandra.batch",
];

/// Those whose values are never shown.
const SECRETS: [&str; 4] =
    ["serve.cursor_secrets", "cassandra.password", "kafka.password", "kafka.key_password"];

/// Why a setting was not taken.
enum Fault {
    Unknown,
    Bad(String),
}

impl From<String> for Fault {
    fn from(text: String) -> Fault {
        Fault::Bad(text)
    }
}

/// Reads settings from the file's text, variables and flags.
pub fn read(text: &str, environment: impl IntoIterator<Item = (String, String)>, flags: &[Flag]) -> Loaded {
    let mut sources = Sources::default();
    let file = sources.add(FILE, text);
    let mut loaded = Loaded { settings: Settings::default(), sources, findings: Vec::new() };
    read_file(text, file, &mut loaded);
    let environment: Vec<(String, String)> = environment.into_iter().collect();
    read_environment(environment.iter().cloned(), &mut loaded);
    for flag in flags {
        if let Err(fault) = set(&mut loaded.settings, flag.key, Given::Text(&flag.value)) {
            let message = match fault {
                Fault::Unknown => format!("the flag {} sets `{}`, which is no setting", flag.name, flag.key),
                Fault::Bad(reason) => format!("{}: {reason}", flag.name),
            };
            loaded.findings.push(self::fault("C003", None, message));
        }
    }
    let mut faults = loaded.settings.kafka.faults();
    faults.extend(loaded.settings.telemetry.fill(&environment));
    loaded.findings.extend(faults.into_iter().map(|reason| self::fault("C003", None, reason)));
    loaded
}

/// A finding about settings.
pub(super) fn fault(code: &'static str, span: Option<Span>, message: String) -> Diagnostic {
    Diagnostic { code, severity: Severity::Error, message, span, label: String::new(), help: None, fix: None }
}

fn read_file(text: &str, file: FileId, loaded: &mut Loaded) {
    let place = |range: std::ops::Range<usize>| Span {
        file,
        start: u32::try_from(range.start).unwrap_or(u32::MAX),
        end: u32::try_from(range.end).unwrap_or(u32::MAX),
    };
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let message = format!("{FILE} is not TOML here: {}", error.message());
        loaded.findings.push(fault("C001", error.span().map(place), message));
    }
    let mut leaves = Vec::new();
    collect(table.get_ref(), "", &mut leaves);
    leaves.sort_by_key(|leaf| leaf.key_span.start);
    for leaf in leaves {
        match set_from_file(&mut loaded.settings, &leaf) {
            Ok(()) => {}
            Err(Fault::Unknown) => {
                let finding =
                    fault("C002", Some(place(leaf.key_span)), format!("there is no setting `{}`", leaf.key));
                loaded.findings.push(with_nearest(finding, &leaf.key));
            }
            Err(Fault::Bad(reason)) if SECRETS.contains(&leaf.key.as_str()) => {
                // The line itself is not shown: it holds the secret.
                loaded.findings.push(fault("C003", None, format!("`{}` in {FILE}: {reason}", leaf.key)));
            }
            Err(Fault::Bad(reason)) => {
                let message = format!("`{}`: {reason}", leaf.key);
                loaded.findings.push(fault("C003", Some(place(leaf.value_span)), message));
            }
        }
    }
}

/// A key of the file that is not a section.
struct Leaf<'a> {
    /// With dots between its parts; a topic's name is one part.
    key: String,
    topic: Option<(&'a str, &'a str)>,
    value: &'a DeValue<'a>,
    key_span: std::ops::Range<usize>,
    value_span: std::ops::Range<usize>,
}

fn collect<'a>(table: &'a DeTable<'a>, prefix: &str, leaves: &mut Vec<Leaf<'a>>) {
    for (key, value) in table {
        let name =
            if prefix.is_empty() { key.get_ref().to_string() } else { format!("{prefix}.{}", key.get_ref()) };
        match value.get_ref() {
            DeValue::Table(topics) if name == "topics" => collect_topics(topics, leaves),
            DeValue::Table(inner) if is_section(&name) => collect(inner, &name, leaves),
            other => leaves.push(Leaf {
                key: name,
                topic: None,
                value: other,
                key_span: key.span(),
                value_span: value.span(),
            }),
        }
    }
}

fn collect_topics<'a>(topics: &'a DeTable<'a>, leaves: &mut Vec<Leaf<'a>>) {
    for (topic, settings) in topics {
        let name: &str = topic.get_ref();
        let DeValue::Table(inner) = settings.get_ref() else {
            leaves.push(Leaf {
                key: format!("topics.\"{name}\""),
                topic: Some((name, "")),
                value: settings.get_ref(),
                key_span: topic.span(),
                value_span: settings.span(),
            });
            continue;
        };
        for (key, value) in inner {
            leaves.push(Leaf {
                key: format!("topics.\"{name}\".{}", key.get_ref()),
                topic: Some((name, key.get_ref())),
                value: value.get_ref(),
                key_span: key.span(),
                value_span: value.span(),
            });
        }
    }
}

fn is_section(name: &str) -> bool {
    all_keys().any(|key| key.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
}

/// Every key that is not of a topic: those of [`KEYS`], of Kafka and of what a process tells, and one for each numbered rule.
pub(super) fn all_keys() -> impl Iterator<Item = Cow<'static, str>> {
    let rules = RULES.iter().map(|rule| Cow::Owned(format!("lint.{}", rule.code)));
    KEYS.iter().chain(&kafka::KEYS).chain(&telemetry::KEYS).copied().map(Cow::Borrowed).chain(rules)
}

fn set_from_file(settings: &mut Settings, leaf: &Leaf<'_>) -> Result<(), Fault> {
    match leaf.topic {
        Some((topic, "partitions")) => {
            let partitions = value::count(Given::File(leaf.value), 1..=1_024)?;
            let partitions = u32::try_from(partitions).expect("at most 1,024");
            settings.topics.entry(topic.to_owned()).or_default().partitions = partitions;
            Ok(())
        }
        Some((topic, "")) => Err(Fault::Bad(format!(
            "a topic's settings are a section: [topics.\"{topic}\"] and below it partitions = 4"
        ))),
        Some(_) => Err(Fault::Unknown),
        None => set(settings, &leaf.key, Given::File(leaf.value)),
    }
}

/// Variables `KINORA_SECTION__KEY`; those without `__` are not settings.
fn read_environment(environment: impl IntoIterator<Item = (String, String)>, loaded: &mut Loaded) {
    let mut given: Vec<(String, String, String)> = environment
        .into_iter()
        .filter_map(|(name, value)| {
            let key = name.strip_prefix("KINORA_")?.to_ascii_lowercase();
            key.contains("__").then(|| (name, key.replace("__", "."), value))
        })
        .collect();
    given.sort();
    for (name, key, text) in given {
        match set(&mut loaded.settings, &key, Given::Text(&text)) {
            Ok(()) => {}
            Err(Fault::Unknown) if key.starts_with("topics.") => {
                let finding = fault("C002", None, format!("the variable {name} cannot set a topic"));
                loaded
                    .findings
                    .push(finding.help(format!("topics are set in {FILE}, under [topics.\"<name>\"]")));
            }
            Err(Fault::Unknown) => {
                let finding = fault("C002", None, format!("the variable {name} names no setting"));
                loaded.findings.push(with_nearest(finding, &key));
            }
            Err(Fault::Bad(reason)) => {
                loaded.findings.push(fault("C003", None, format!("the variable {name}: {reason}")));
            }
        }
    }
}

fn with_nearest(finding: Diagnostic, key: &str) -> Diagnostic {
    let last = key.rsplit('.').next().unwrap_or(key);
    let nearest = all_keys()
        .chain([Cow::Borrowed("topics.\"…\".partitions")])
        .map(|known| {
            let known_last = known.rsplit('.').next().unwrap_or(&known);
            (distance(key, &known).min(distance(last, known_last) + 1), known)
        })
        .min_by_key(|(distance, _)| *distance);
    match nearest {
        Some((distance, known)) if distance <= 3 => finding.help(format!("did you mean `{known}`?")),
        _ => finding.help("README.md lists all settings"),
    }
}

/// Edits between two texts.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[right.len()]
}

fn set(settings: &mut Settings, key: &str, given: Given<'_>) -> Result<(), Fault> {
    let serve = &mut settings.serve;
    let operation = &mut serve.limits.operation;
    match key {
        "serve.listen" => serve.listen = value::address(given)?,
        "serve.cursor_secrets" => serve.cursor_secrets = value::secrets(given)?,
        "serve.introspection" => serve.introspection = value::boolean(given)?,
        "serve.deadline" => {
            serve.deadline = value::duration(given, Duration::from_millis(10)..=Duration::from_secs(300))?;
        }
        "serve.drain" => serve.drain = value::duration(given, Duration::ZERO..=Duration::from_secs(600))?,
        "serve.concurrent" => serve.concurrent = value::count(given, 1..=100_000)?,
        "serve.waiting" => serve.waiting = value::count(given, 1..=100_000)?,
        "serve.connections" => serve.connections = value::count(given, 1..=100_000)?,
        "serve.idle" => serve.idle = value::duration(given, Duration::from_millis(100)..=HOUR)?,
        "serve.memory" => serve.memory = value::bytes(given, Bytes::mib(1)..=MEMORY_MAX)?,
        "serve.limits.body" => serve.limits.body = value::bytes(given, Bytes::kib(1)..=Bytes::mib(64))?,
        "serve.limits.record" => serve.limits.record = value::bytes(given, Bytes::kib(1)..=Bytes::mib(64))?,
        "serve.limits.publish" => {
            serve.limits.publish = value::bytes(given, Bytes::kib(1)..=Bytes::mib(1024))?
        }
        "serve.limits.tokens" => operation.tokens = value::count(given, LIMIT)?,
        "serve.limits.depth" => operation.depth = value::count(given, LIMIT)?,
        "serve.limits.aliases" => operation.aliases = value::count(given, LIMIT)?,
        "serve.limits.root_fields" => operation.root_fields = value::count(given, LIMIT)?,
        "serve.limits.directives" => operation.directives = value::count(given, LIMIT)?,
        "serve.limits.representations" => operation.representations = value::count(given, LIMIT)?,
        "serve.limits.cached_operations" => operation.cached_operations = value::count(given, LIMIT)?,
        "serve.limits.read" => operation.read_bytes = value::bytes(given, ANSWER)?.len(),
        "serve.limits.answer" => operation.answer_bytes = value::bytes(given, ANSWER)?.len(),
        "dev.sample" => {
            value::text(given, "the name of a sample; there is one, \"shop\"", |name| name == "shop")?;
            settings.dev.sample = Some(Sample::Shop);
        }
        "dev.data" => settings.dev.data = value::text(given, "a path", |path| !path.is_empty())?.into(),
        "parking.max_keys" => settings.parking.max_keys = value::count(given, 0..=1_000_000)?,
        "parking.max_share" => settings.parking.max_share = value::share(given)?,
        "project.batch" => settings.project.batch = value::bytes(given, Bytes::kib(1)..=Bytes::mib(64))?,
        "project.listen" => settings.project.listen = value::address(given)?,
        "project.budget" => settings.project.budget = value::bytes(given, Bytes::mib(1)..=MEMORY_MAX)?,
        "project.cache" => settings.project.cache = value::bytes(given, Bytes::mib(1)..=MEMORY_MAX)?,
        "project.stall" => {
            settings.project.stall = value::duration(given, Duration::from_millis(100)..=HOUR)?;
        }
        "store.memtables" => {
            settings.store.memtables = value::bytes(given, Bytes::mib(4)..=Bytes::mib(16 * 1024))?;
        }
        "store.cache" => settings.store.cache = value::bytes(given, Bytes::mib(1)..=MEMORY_MAX)?,
        _ if key.starts_with("cassandra.") => set_cassandra(&mut settings.cassandra, key, given)?,
        _ => {
            let of_kafka = key.strip_prefix("kafka.").and_then(|name| settings.kafka.set(name, given));
            let told = (&mut settings.log, &mut settings.telemetry);
            if let Some(done) = of_kafka.or_else(|| telemetry::set(told, key, given)) {
                return Ok(done?);
            }
            let rule = key.strip_prefix("lint.").and_then(rule_of).ok_or(Fault::Unknown)?;
            settings.lint.set(rule, &value::text(given, "a severity in quotes", |_| true)?)?;
        }
    }
    Ok(())
}

fn set_cassandra(cassandra: &mut Cassandra, key: &str, given: Given<'_>) -> Result<(), Fault> {
    let some = |wanted: &str| value::text(given, wanted, |text| !text.is_empty());
    match key {
        "cassandra.nodes" => cassandra.nodes = value::addresses(given)?,
        "cassandra.keyspace" => {
            let fits = |name: &str| {
                name.len() <= 48
                    && name.starts_with(|letter: char| letter.is_ascii_lowercase())
                    && name
                        .chars()
                        .all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_')
            };
            let wanted = "the name of a keyspace: at most 48 of a to z, 0 to 9 and _, a letter first";
            cassandra.keyspace = value::text(given, wanted, fits)?;
        }
        "cassandra.datacenter" => cassandra.datacenter = Some(some("the name of a datacenter")?),
        "cassandra.user" => cassandra.user = Some(some("the name of a role")?),
        "cassandra.password" => cassandra.password = Some(value::secret(given, "the password")?),
        "cassandra.tls.ca" => cassandra.tls.ca = Some(some("a path")?.into()),
        "cassandra.tls.cert" => cassandra.tls.cert = Some(some("a path")?.into()),
        "cassandra.tls.key" => cassandra.tls.key = Some(some("a path")?.into()),
        "cassandra.consistency" => {
            let word = value::text(given, "LOCAL_QUORUM or QUORUM", |word| Consistency::of(word).is_some())?;
            cassandra.consistency = Consistency::of(&word).unwrap_or_default();
        }
        "cassandra.replication" => {
            cassandra.replication = Some(some("the replication of a keyspace, like \"dc1: 3\"")?);
        }
        "cassandra.connect" => cassandra.connect = value::duration(given, WAIT)?,
        "cassandra.timeout" => cassandra.timeout = value::duration(given, WAIT)?,
        "cassandra.retries" => cassandra.retries = value::count(given, 0..=100)?,
        "cassandra.concurrent" => cassandra.concurrent = value::count(given, 1..=4_096)?,
        "cassandra.batch" => cassandra.batch = value::bytes(given, Bytes::kib(1)..=Bytes::mib(4))?,
        _ => return Err(Fault::Unknown),
    }
    Ok(())
}

const WAIT: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(300);
const LIMIT: std::ops::RangeInclusive<usize> = 1..=1_000_000;
const ANSWER: std::ops::RangeInclusive<Bytes> = Bytes::kib(1)..=Bytes::mib(1024);
const MEMORY_MAX: Bytes = Bytes::mib(64 * 1024);
const HOUR: Duration = Duration::from_secs(3600);
