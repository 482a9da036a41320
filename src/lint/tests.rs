//! The pages in `docs/lint` are the cases: the first example of a page fires its rule, the second does not.
//!
//! What the findings say is in `tests/golden/lint`; `KINORA_BLESS=1` writes it anew, and the list of rules too.

use std::path::PathBuf;

use super::{RULES, Rule, Sample, Severities, State, TableSample, rule_of};
use crate::diagnostic::{Diagnostic, Severity, Sources, render};
use crate::engine;
use crate::handler::CustomHandlers;

fn below_root(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn page(rule: &Rule) -> String {
    let path = below_root(&format!("docs/lint/{}.md", rule.code));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Compares with a file, or rewrites it where `KINORA_BLESS=1`.
fn golden(path: &str, text: &str) {
    let path = below_root(path);
    if std::env::var_os("KINORA_BLESS").is_some_and(|bless| bless == "1") {
        std::fs::write(&path, text).expect("the file can be written");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "{} differs; KINORA_BLESS=1 rewrites it", path.display());
}

/// What `check` finds in the example under a heading of a page. A second schema is that of another subgraph, or the one
/// that is deployed, where the rule looks at such.
fn findings(rule: &Rule, heading: &str, severities: &Severities) -> (Vec<Diagnostic>, Sources) {
    let page = page(rule);
    let (_, section) = page.split_once(heading).unwrap_or_else(|| panic!("no `{heading}` in\n{page}"));
    let section = section.split("\n## ").next().expect("split gives at least one part");
    let block = |language: &str, nth: usize| {
        let rest = section.split(&format!("```{language}\n")).nth(nth + 1)?;
        Some(rest.split_once("```").expect("a block ends").0.to_owned())
    };
    let mut sources = Sources::default();
    let schema = sources.add("schema/orders.graphql", block("graphql", 0).expect("an example has a schema"));
    let yaml: Vec<_> =
        block("yaml", 0).into_iter().map(|text| sources.add("projections/orders.yaml", text)).collect();
    let mut loaded = engine::bind_with(sources, &[schema], &yaml, &CustomHandlers::new(), severities);
    let Some(definitions) = &loaded.definitions else { return (loaded.findings, loaded.sources) };
    let other = || block("graphql", 1).expect("an example has another schema");
    let found = match rule.state {
        State::With("--subgraph") => {
            let file = loaded.sources.add("products.graphql", other());
            super::lint_subgraph(&definitions.model, file, &loaded.sources, severities).expect("is GraphQL")
        }
        State::With("--deployed") => {
            let mut sources = Sources::default();
            let file = sources.add("schema/orders.graphql", other());
            let deployed = engine::bind_with(sources, &[file], &[], &CustomHandlers::new(), severities);
            let deployed = deployed.definitions.expect("what is deployed is sound");
            super::lint_deployed(definitions.keyed(), deployed.keyed(), severities)
        }
        _ => Vec::new(),
    };
    loaded.findings.extend(found);
    (loaded.findings, loaded.sources)
}

fn of_rule(found: &[Diagnostic], rule: &Rule) -> Vec<Diagnostic> {
    found.iter().filter(|finding| finding.code == rule.code).cloned().collect()
}

fn firing() -> impl Iterator<Item = &'static Rule> {
    RULES.iter().filter(|rule: &&Rule| match rule.state {
        State::Checked | State::Fixed => true,
        State::With(option) => option.starts_with("--") && option != "--sample",
        State::Held(_) => false,
    })
}

#[test]
fn the_first_example_of_a_page_fires_its_rule_and_the_second_does_not() {
    for rule in firing() {
        for (heading, name) in [("## It fires", "fires"), ("## Mended", "quiet")] {
            let (found, sources) = findings(rule, heading, &Severities::default());
            let text = render(&found, &sources, false);
            let shown = render(&of_rule(&found, rule), &sources, false);
            assert_eq!(shown.is_empty(), name == "quiet", "{}: {heading}\n{text}", rule.code);
            // An example shows its own fault and no other.
            let is_other =
                |finding: &&Diagnostic| finding.code != rule.code && finding.severity == Severity::Error;
            assert!(!found.iter().any(|finding| is_other(&finding)), "{} {name}:\n{text}", rule.code);
            let shown: Vec<&str> = shown.lines().map(str::trim_end).collect();
            let shown = if shown.is_empty() { "nothing found".to_owned() } else { shown.join("\n") };
            golden(&format!("tests/golden/lint/{}_{name}.txt", rule.code), &(shown + "\n"));
        }
    }
}

#[test]
fn every_finding_of_a_rule_has_advice_and_is_at_most_as_bad_as_its_rule() {
    for rule in firing() {
        let (found, _) = findings(rule, "## It fires", &Severities::default());
        for finding in of_rule(&found, rule) {
            assert!(
                finding.help.is_some() && !finding.label.is_empty(),
                "{}: {}",
                rule.code,
                finding.message
            );
            assert!(finding.severity >= rule.severity, "{} is worse than its rule says", rule.code);
        }
    }
}

#[test]
fn what_a_finding_says_how_to_mend_is_mended_by_it() {
    let mut mended = Vec::new();
    for rule in firing() {
        let (severities, custom) = (Severities::default(), CustomHandlers::new());
        let (found, sources) = findings(rule, "## It fires", &severities);
        if of_rule(&found, rule).iter().all(|finding| finding.fix.is_none()) {
            continue;
        }
        let loaded = engine::Loaded { findings: found, sources, definitions: None };
        let (loaded, ..) = engine::mend::mend(loaded, &custom, &severities);
        let text = render(&loaded.findings, &loaded.sources, false);
        assert!(of_rule(&loaded.findings, rule).is_empty() && loaded.definitions.is_some(), "{text}");
        mended.push(rule.code);
    }
    assert_eq!(mended, ["L01", "L02", "L11", "L21", "L32"]);
}

#[test]
fn a_project_chooses_how_bad_the_findings_of_a_rule_are() {
    for rule in firing().filter(|rule| rule.is_settable()) {
        let wanted = [
            ("off", None),
            ("info", Some(Severity::Info)),
            ("warn", Some(Severity::Warning)),
            ("error", Some(Severity::Error)),
        ];
        for (word, severity) in wanted {
            let mut severities = Severities::default();
            severities.set(rule, word).expect("is a severity");
            let (found, _) = findings(rule, "## It fires", &severities);
            let found = of_rule(&found, rule);
            assert_eq!(found.is_empty(), severity.is_none(), "{} as {word}", rule.code);
            assert!(
                found.iter().all(|finding| Some(finding.severity) == severity),
                "{} as {word}",
                rule.code
            );
        }
    }
}

#[test]
fn a_rule_that_always_holds_takes_no_other_severity() {
    let said = |code: &str, word: &str| {
        Severities::default().set(rule_of(code).expect("is a rule"), word).expect_err("is refused")
    };
    assert_eq!(
        said("L01", "warn"),
        "L01 (open partition) is always \"error\". The store would ask every node, and answer when the slowest has \
         searched all it has."
    );
    assert!(said("L17", "off").starts_with("L17 (materialised view) finds nothing: no definition"));
    assert_eq!(
        said("L11", "wran"),
        "`wran` is not a severity: \"off\", \"info\", \"warn\" or \"error\"; did you mean \"warn\"?"
    );
    Severities::default().set(rule_of("L01").expect("is a rule"), "error").expect("says what is so");
}

#[test]
fn every_rule_has_a_page_that_says_what_the_table_says_and_every_page_a_rule() {
    for rule in &RULES {
        let page = page(rule);
        let wanted = [
            format!("# {}: {}\n", rule.code, rule.name),
            format!("**Why.** {}\n", rule.because),
            format!("**Source.** {}.\n", rule.source),
            match rule.state {
                State::Checked | State::With(_) => {
                    format!("**Severity.** `{}` at worst", word(rule.severity))
                }
                State::Fixed => "**Severity.** Always `error`.".to_owned(),
                State::Held(why) => format!("Finds nothing: {why}.\n"),
            },
        ];
        for wanted in wanted {
            assert!(page.contains(&wanted), "{} lacks: {wanted}", rule.code);
        }
    }
    for entry in std::fs::read_dir(below_root("docs/lint")).expect("the pages are there") {
        let name = entry.expect("a folder can be listed").file_name().to_string_lossy().into_owned();
        let is_known =
            name.strip_suffix(".md").is_some_and(|code| code == "README" || rule_of(code).is_some());
        assert!(is_known, "docs/lint/{name} is of no rule");
    }
}

#[test]
fn the_list_of_rules_is_the_table() {
    let mut text = String::from(
        "# The numbered rules\n\nWhat is stored badly is said by `kinora check` before it is built. `kinora.toml` says how \
         bad the findings of a rule are:\n\n```toml\n[lint]\nL11 = \"warn\" # or \"off\", \"info\", \"error\"\n```\n\n\
         | rule | is about | severity | because |\n| --- | --- | --- | --- |\n",
    );
    for rule in &RULES {
        let severity = match rule.state {
            State::Checked => format!("`{}`", word(rule.severity)),
            State::With(option) => format!("`{}`, with `{option}`", word(rule.severity)),
            State::Fixed => "`error`, always".to_owned(),
            State::Held(_) => "holds always".to_owned(),
        };
        let Rule { code, name, because, .. } = rule;
        text.push_str(&format!("| [{code}]({code}.md) | {name} | {severity} | {because} |\n"));
    }
    golden("docs/lint/README.md", &text);
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warn",
        Severity::Info => "info",
    }
}

/// What is found in a sample of orders by city, with these measures of the copy.
fn of_sample(table: TableSample) -> String {
    let text = "type Query { orders(city: String!): [Order!]! @read }\ntype Order @key(fields: \"id\")\n  \
                @table(name: \"orders\", partition: \"id\")\n  @table(name: \"by_city\", partition: \"city\", \
                clustering: \"id\", rows: 50, rate: 5) {\n  id: ID!\n  city: String!\n}\n";
    let mut sources = Sources::default();
    let file = sources.add("schema/orders.graphql", text);
    let model = crate::schema::load(&[file], &sources).0.expect("is sound");
    let plan = crate::plan::plan(&model, &sources).0.expect("is sound");
    let table = TableSample { table: plan.tables[1].id, ..table };
    let sample = Sample { tables: vec![table], ..Sample::default() };
    let found = super::lint_sample(&model, &plan, &sample, &Severities::default());
    assert!(found.iter().all(|finding| finding.help.is_some()));
    let shown =
        |finding: &Diagnostic| format!("{} {}: {}", finding.code, word(finding.severity), finding.message);
    found.iter().map(shown).collect::<Vec<_>>().join("\n")
}

/// As much of everything as is fine.
fn at_the_bounds() -> TableSample {
    TableSample {
        table: crate::plan::TableId(0),
        name: String::new(),
        partitions: 1_000,
        rows: 100_000,
        rows_max: 50,
        bytes_max: 10_000_000,
        rate_max: 5,
        cell_bytes_max: 1_000_000,
        key_bytes_max: 65_535,
    }
}

#[test]
fn what_was_measured_is_held_against_the_rules_and_what_the_author_says() {
    let fine = at_the_bounds();
    assert_eq!(of_sample(fine.clone()), "");
    let cases = [
        (
            TableSample { bytes_max: 10_100_000, ..fine.clone() },
            "L04 warn: a partition of `by_city` has 10.1 MB in the sample, above 10 MB",
        ),
        (
            TableSample { bytes_max: 100_100_000, ..fine.clone() },
            "L04 error: a partition of `by_city` has 100.1 MB in the sample, above 100 MB",
        ),
        (
            TableSample { rows_max: 51, ..fine.clone() },
            "L04 warn: a partition of `by_city` has 51 rows in the sample, but `rows` says 50",
        ),
        (
            TableSample { partitions: 999, ..fine.clone() },
            "L05 warn: `by_city` has 100000 rows in 999 partitions in the sample",
        ),
        (TableSample { partitions: 999, rows: 99_999, ..fine.clone() }, ""),
        (
            TableSample { rate_max: 6, ..fine.clone() },
            "L06 warn: a partition of `by_city` took 6 writes in one second, but `rate` says 5",
        ),
        (
            TableSample { cell_bytes_max: 1_100_000, ..fine.clone() },
            "L12 warn: a value in `by_city` has 1.1 MB in the sample, above 1 MB",
        ),
        (
            TableSample { key_bytes_max: 65_536, ..fine },
            "L12 error: a key of `by_city` has 65536 bytes in the sample, above 65535",
        ),
    ];
    for (measured, expected) in cases {
        assert_eq!(of_sample(measured), expected);
    }
}

#[test]
fn a_keyspace_has_three_replicas_in_each_datacenter() {
    let of = |class: &str, replicas: &[(&str, u32)]| -> Vec<String> {
        let replicas: Vec<(String, u32)> =
            replicas.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        let found = super::lint_keyspace("shop", (class, &replicas), &[], &Severities::default());
        assert!(found.iter().all(|finding| finding.code == "L30" && finding.help.is_some()));
        found.into_iter().map(|finding| finding.message).collect()
    };
    let network = "NetworkTopologyStrategy";
    assert_eq!(of(network, &[("dc1", 3), ("dc2", 5)]), Vec::<String>::new());
    assert_eq!(
        of(network, &[("dc1", 3), ("dc2", 2)]),
        ["keyspace \"shop\" has 2 replicas in dc2: a quorum of them is all, so none may be away"]
    );
    let simple = of("SimpleStrategy", &[("replication_factor", 1)]);
    assert!(
        simple[0].contains("knows no datacenters") && simple[1].contains("has one replica"),
        "{simple:?}"
    );
}

#[test]
fn replicas_sync_what_they_acknowledge() {
    let of = |count: u32, unsynced: &[&str]| -> Vec<String> {
        let unsynced: Vec<String> = unsynced.iter().map(|node| (*node).to_owned()).collect();
        let replicas = [("dc1".to_owned(), count)];
        let at = ("NetworkTopologyStrategy", &replicas[..]);
        let found = super::lint_keyspace("shop", at, &unsynced, &Severities::default());
        found.into_iter().map(|finding| finding.message).collect()
    };
    assert_eq!(of(3, &[]), Vec::<String>::new());
    let found = of(3, &["10.0.0.1:9042", "10.0.0.2:9042"]);
    assert!(
        found.len() == 1 && found[0].starts_with("10.0.0.1:9042, 10.0.0.2:9042 acknowledge"),
        "{found:?}"
    );
    let alone = of(1, &["10.0.0.1:9042"]);
    assert!(alone.len() == 1 && alone[0].contains("one replica"), "{alone:?}");
}
