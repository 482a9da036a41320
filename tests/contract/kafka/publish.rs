//! `kinora publish` where the settings name brokers.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use super::{OnKafka, read_up_to, values};
use crate::sources::Subject;

/// What the command says, and how it ends.
fn publish(project: &Path, topic: &str, lines: &str) -> (Option<i32>, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_kinora"))
        .args(["publish", topic, "--project"])
        .arg(project)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("kinora can be run");
    let mut input = child.stdin.take().expect("is piped");
    input.write_all(lines.as_bytes()).expect("is read");
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

#[tokio::test]
async fn lines_are_published_to_kafka_where_brokers_are_set() {
    let Some(subject) = OnKafka::open("publish").await else { return };
    subject.create_topic("t", 2).await;
    let project = tempfile::tempdir().expect("a directory");
    let brokers = subject.settings.brokers.join(",");
    let settings = format!("[kafka]\nbrokers = [\"{brokers}\"]\ntimeout = \"5s\"\n");
    std::fs::write(project.path().join("kinora.toml"), settings).expect("can be written");
    let lines = "{\"key\":\"k\",\"value\":{\"a\":1.50}}\n{\"key\":\"k\",\"value\":null}\n";

    let (code, said) = publish(project.path(), &subject.name("t"), lines);
    assert_eq!(code, Some(0), "{said}");
    let partition = kinora::source::partition::of_key(b"k", 2);
    assert!(said.contains("2 records published") && said.contains(&format!(":{partition}@1")), "{said}");
    let mut reader = subject.source().read(&[(subject.at(partition), 0)]).await.expect("reads");
    assert_eq!(values(&read_up_to(reader.as_mut(), 2).await), ["{\"a\":1.50}", "(none)"]);
    assert!(!project.path().join(".kinora").exists(), "the embedded log is not touched");

    let (code, said) = publish(project.path(), &subject.name("none"), lines);
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains(&format!("there is no topic {:?}", subject.name("none"))), "{said}");
    let away = "[kafka]\nbrokers = [\"no-such-host.invalid:1\"]\ntimeout = \"5s\"\n";
    std::fs::write(project.path().join("kinora.toml"), away).expect("can be written");
    let (code, said) = publish(project.path(), &subject.name("t"), lines);
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("correct `kafka.brokers`"), "{said}");
}
