//! Settings: what is read, what is refused, and how.

use std::time::Duration;

use super::read::{Flag, KEYS, all_keys, read};
use super::{Bytes, Loaded, Sample};
use crate::diagnostic::render;
use crate::testing::spoil;

fn of_file(text: &str) -> Loaded {
    read(text, [], &[])
}

fn of_environment(pairs: &[(&str, &str)]) -> Loaded {
    read("", pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())), &[])
}

fn messages(loaded: &Loaded) -> Vec<&str> {
    loaded.findings.iter().map(|finding| finding.message.as_str()).collect()
}

const WHOLE: &str = r#"
[serve]
listen = "[::1]:4100"
cursor_secrets = ["0123456789abcdef0123456789abcdef"]
introspection = false
deadline = "2s"
[serve.limits]
body = "64KiB"
tokens = 5_000
[topics."shop.orders"]
partitions = 8
[dev]
sample = "shop"
data = "here"
[parking]
max_keys = 5
max_share = 0.25
[project]
batch = "2MiB"
"#;

#[test]
fn nothing_given_means_the_defaults() {
    let loaded = of_file("");
    assert!(loaded.findings.is_empty());
    assert_eq!(loaded.settings.serve.listen.to_string(), "127.0.0.1:4000");
    assert_eq!(loaded.settings.partitions("any.topic"), 4);
    assert_eq!(loaded.settings.serve.limits.body, Bytes::mib(1));
    assert_eq!(loaded.settings.dev.sample, None);
}

#[test]
fn a_whole_file_is_read() {
    let loaded = of_file(WHOLE);
    assert_eq!(messages(&loaded), Vec::<&str>::new());
    let settings = loaded.settings;
    assert_eq!(settings.parking.max_keys, 5);
    assert_eq!(settings.parking.max_share, 0.25);
    assert_eq!(settings.serve.listen.port(), 4100);
    assert!(!settings.serve.introspection);
    assert_eq!(settings.serve.deadline, Duration::from_secs(2));
    assert_eq!(settings.serve.limits.operation.tokens, 5_000);
    assert_eq!(settings.partitions("shop.orders"), 8);
    assert_eq!(settings.dev.sample, Some(Sample::Shop));
    assert_eq!(settings.project.batch, Bytes::mib(2));
}

#[test]
fn later_sources_win_over_earlier_ones() {
    let flag = Flag { name: "--listen", key: "serve.listen", value: "127.0.0.1:3".to_owned() };
    let variable = ("KINORA_SERVE__LISTEN".to_owned(), "127.0.0.1:2".to_owned());
    let file = "[serve]\nlisten = \"127.0.0.1:1\"";
    assert_eq!(read(file, [], &[]).settings.serve.listen.port(), 1);
    assert_eq!(read(file, [variable.clone()], &[]).settings.serve.listen.port(), 2);
    assert_eq!(read(file, [variable], &[flag]).settings.serve.listen.port(), 3);
}

#[test]
fn all_faults_come_at_once_with_their_places() {
    let loaded = of_file("[serve]\nlisen = \"x\"\ndeadline = \"5 years\"\n[serve.limits]\nbody = -1\n");
    assert_eq!(
        messages(&loaded),
        [
            "there is no setting `serve.lisen`",
            "`serve.deadline`: \"5 years\" is not a duration from 10ms to 300s, like \"500ms\", \"5s\" or \"2m\"",
            "`serve.limits.body`: -1 is not a size from 1KiB to 64MiB, like \"64KiB\"",
        ]
    );
    assert_eq!(loaded.findings[0].help.as_deref(), Some("did you mean `serve.listen`?"));
    let places: Vec<_> = loaded
        .findings
        .iter()
        .map(|finding| loaded.sources.line_column(finding.span.expect("faults of a file have a place")))
        .collect();
    assert_eq!(places, [(2, 1), (3, 12), (5, 8)]);
}

#[test]
fn text_that_is_not_toml_is_refused_where_it_breaks() {
    let loaded = of_file("[serve\nlisten = 1");
    assert_eq!(loaded.findings[0].code, "C001");
    assert!(loaded.findings[0].message.starts_with("kinora.toml is not TOML here: "));
}

#[test]
fn variables_are_refused_by_their_name() {
    let loaded = of_environment(&[
        ("KINORA_SEEDS", "10"),
        ("KINORA_SERVE__LIMTS__BODY", "1MiB"),
        ("KINORA_SERVE__LISTEN", "4000"),
        ("KINORA_TOPICS__X__PARTITIONS", "3"),
    ]);
    assert_eq!(
        messages(&loaded),
        [
            "the variable KINORA_SERVE__LIMTS__BODY names no setting",
            "the variable KINORA_SERVE__LISTEN: `4000` is not an address with a port, like \"127.0.0.1:4000\" or \
             \"[::1]:4000\"",
            "the variable KINORA_TOPICS__X__PARTITIONS cannot set a topic",
        ]
    );
}

#[test]
fn a_secret_is_never_shown() {
    let loaded = of_file("[serve]\ncursor_secrets = [\"tooshort\"]");
    assert_eq!(loaded.findings.len(), 1);
    assert!(loaded.findings[0].span.is_none(), "the line would show it");
    assert!(!format!("{loaded:?}").replace("tooshort\\\"]", "").contains("Secret(["));
    assert!(!messages(&loaded)[0].contains("tooshort"));
}

#[test]
fn bounds_hold_below_at_and_above() {
    for (text, fits) in [("1023B", false), ("1KiB", true), ("64MiB", true), ("65MiB", false)] {
        let loaded = of_environment(&[("KINORA_SERVE__LIMITS__BODY", text)]);
        assert_eq!(loaded.findings.is_empty(), fits, "{text}");
    }
    for (text, fits) in
        [("-0.1", false), ("0", true), ("1", true), ("1.01", false), ("NaN", false), ("1%", false)]
    {
        let loaded = of_environment(&[("KINORA_PARKING__MAX_SHARE", text)]);
        assert_eq!(loaded.findings.is_empty(), fits, "{text}");
    }
    for (text, fits) in [("0", false), ("1", true), ("100000", true), ("100001", false), ("1.5", false)] {
        let loaded = of_environment(&[("KINORA_SERVE__CONCURRENT", text)]);
        assert_eq!(loaded.findings.is_empty(), fits, "{text}");
    }
}

#[test]
fn every_known_key_is_taken_from_a_variable() {
    for key in KEYS.iter().chain(&super::kafka::KEYS).chain(&super::telemetry::KEYS) {
        let name = format!("KINORA_{}", key.replace('.', "__").to_ascii_uppercase());
        let loaded = of_environment(&[(&name, "?")]);
        assert!(loaded.findings.iter().all(|finding| finding.code == "C003"), "{key} is not known to `set`");
    }
}

#[test]
fn no_text_of_a_settings_file_makes_it_panic() {
    spoil::never_panics(&[include_str!("../../kinora.toml"), WHOLE], |text| {
        let loaded = of_file(text);
        render(&loaded.findings, &loaded.sources, false);
    });
}

#[test]
fn no_nesting_of_settings_needs_more_than_a_usual_stack() {
    spoil::on_a_usual_stack(|| {
        let pieces = ["[", "{", "a.", "a=", "{a=", "[[", "]", "\"\"\"", "'", "\n", ","];
        for (before, after) in [("", ""), ("a = ", "\n")] {
            for text in spoil::nested(&pieces, 20_000, before, after) {
                of_file(&text);
            }
        }
    });
}

#[test]
fn the_readme_lists_every_setting() {
    let readme = include_str!("../../README.md");
    for key in all_keys().filter(|key| !key.starts_with("lint.")) {
        assert!(readme.contains(&format!("| `{key}` |")), "the README does not list `{key}`");
    }
    assert!(readme.contains("| `lint.L01` … `lint.L32` |"), "the README does not list the rules");
}

#[test]
fn what_is_said_of_kafka_must_fit_together() {
    let whole = "[kafka]\nbrokers = [\"a:1\", \"[::1]:2\"]\nsecurity = \"sasl_ssl\"\nmechanism = \"SCRAM-SHA-512\"\n\
                 user = \"u\"\npassword = \"p\"\nca = \"ca.pem\"\ncert = \"c\"\nkey = \"k\"";
    let loaded = of_file(whole);
    assert_eq!(messages(&loaded), Vec::<&str>::new());
    assert_eq!(loaded.settings.kafka.brokers, ["a:1", "[::1]:2"]);
    assert_eq!(loaded.settings.kafka.mechanism, super::Mechanism::ScramSha512);
    assert!(!format!("{:?}", loaded.settings).contains("\"p\""));

    let loaded = of_file("[kafka]\nuser = \"u\"\ntoken_file = \"t\"\ncert = \"c\"");
    assert_eq!(
        messages(&loaded),
        [
            "`kafka.user` and `kafka.password` would not be used: `kafka.security` is \"plaintext\"; with a login it is \
             \"sasl_ssl\"",
            "`kafka.token_file` would not be used: `kafka.security` is \"plaintext\"; with a login it is \"sasl_ssl\"",
            "`kafka.ca`, `kafka.cert` and `kafka.key` would not be used: `kafka.security` is \"plaintext\"; encrypted it \
             is \"ssl\" or \"sasl_ssl\"",
            "`kafka.cert` and `kafka.key` go together, one of them is missing",
        ]
    );
    let security = |mechanism: &str| {
        let (login, mechanism) = ("KINORA_KAFKA__SECURITY", ("KINORA_KAFKA__MECHANISM", mechanism));
        let loaded = of_environment(&[(login, "sasl_plaintext"), mechanism]);
        messages(&loaded).join("\n")
    };
    assert_eq!(security("OAUTHBEARER"), "`kafka.mechanism` \"OAUTHBEARER\" needs `kafka.token_file`");
    assert_eq!(security("plain"), "`kafka.mechanism` \"PLAIN\" needs `kafka.user` and `kafka.password`");
    let gssapi = "the variable KINORA_KAFKA__MECHANISM: `GSSAPI` is not one of \"PLAIN\", \"SCRAM-SHA-256\", \
                  \"SCRAM-SHA-512\", \"OAUTHBEARER\"";
    assert!(security("GSSAPI").starts_with(gssapi), "{}", security("GSSAPI"));
}

#[test]
fn brokers_are_hosts_with_ports() {
    for (text, fits) in
        [("a:1", true), ("a:1, b:65535", true), ("", false), ("a", false), ("a:0", false), ("a:65536", false)]
    {
        let loaded = of_environment(&[("KINORA_KAFKA__BROKERS", text)]);
        assert_eq!(loaded.findings.is_empty(), fits, "{text}");
    }
    let loaded = of_file("[kafka]\nbrokers = [\"http://a:1\"]\npassword = 12345");
    assert_eq!(
        messages(&loaded),
        [
            "`kafka.brokers`: \"http://a:1\" does not belong into a list of brokers, like [\"kafka-1:9092\"]",
            "`kafka.password` in kinora.toml: the password is text in quotes, and not empty",
        ]
    );
    assert!(loaded.findings[1].span.is_none(), "the line would show it");
}

#[test]
fn a_rule_gets_its_severity_from_the_file_or_a_variable() {
    let rule = |code| crate::lint::rule_of(code).expect("is a rule");
    let mut expected = crate::lint::Severities::default();
    expected.set(rule("L11"), "warn").expect("is a severity");
    let loaded = of_file("[lint]\nL11 = \"warn\"");
    assert_eq!((messages(&loaded), &loaded.settings.lint), (vec![], &expected));
    let loaded = of_environment(&[("KINORA_LINT__L11", "warn")]);
    assert_eq!((messages(&loaded), &loaded.settings.lint), (vec![], &expected));
}

#[test]
fn a_rule_or_severity_that_is_not_there_is_refused_where_it_stands() {
    let loaded = of_file("[lint]\nL99 = \"off\"\nL11 = \"wran\"\nL01 = \"off\"\nL28 = 3");
    let text = render(&loaded.findings, &loaded.sources, false);
    let expected = [
        "there is no setting `lint.L99`",
        "`lint.L11`: `wran` is not a severity: \"off\", \"info\", \"warn\" or \"error\"; did you mean \"warn\"?",
        "`lint.L01`: L01 (open partition) is always \"error\". The store would ask every node, and answer when the \
         slowest has searched all it has.",
        "`lint.L28`: 3 is not a severity in quotes",
    ];
    assert_eq!(messages(&loaded), expected);
    assert!(text.contains("kinora.toml:2:1") && text.contains("kinora.toml:3:7"), "{text}");
    assert!(text.contains("help: did you mean `lint.L09`?"), "{text}");
}
