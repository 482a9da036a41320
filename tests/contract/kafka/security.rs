//! Logins and certificates, right and wrong, on a broker with all of them.

use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kinora::config::{Kafka as Settings, Mechanism, Secret, Security};
use kinora::source::kafka::Kafka;
use kinora::source::{Source, SourceError};

use super::{OnKafka, read_up_to, values};
use crate::kafka_server::{self, Server};
use crate::sources::{Subject, record};

/// Everything at once: one broker serves for all.
#[tokio::test]
async fn a_process_shows_who_it_is_in_every_way() {
    if kafka_server::left_out("a broker with logins and certificates") {
        return;
    }
    let server = tokio::task::spawn_blocking(|| Server::start(true)).await.expect("starts");
    let directory = tempfile::tempdir().expect("a directory");
    for mechanism in [Mechanism::Plain, Mechanism::ScramSha256, Mechanism::ScramSha512] {
        works(&login(&server, mechanism, "alice-secret")).await;
        let reason = refusal(&login(&server, mechanism, "wrong")).await;
        let says = format!("refused the login of \"alice\" by {}", mechanism.name());
        assert!(reason.contains(&says), "{reason}");
        assert!(reason.contains("correct `kafka.user`, `kafka.password` or `kafka.mechanism`"), "{reason}");
        assert!(!reason.contains("wrong"), "a password is never shown: {reason}");
    }

    let file = directory.path().join("token");
    let token = |exp: u64| {
        let part = |text: String| URL_SAFE_NO_PAD.encode(text);
        let claims = format!("{{\"sub\":\"alice\",\"iat\":1000000000,\"exp\":{exp}}}");
        format!("{}.{}.\n", part("{\"alg\":\"none\"}".to_owned()), part(claims))
    };
    let with_token = Settings {
        mechanism: Mechanism::OauthBearer,
        token_file: Some(file.clone()),
        ..login(&server, Mechanism::OauthBearer, "")
    };
    std::fs::write(&file, token(4_000_000_000)).expect("can be written");
    works(&with_token).await;

    works(&certificate(&server, Some(("client.pem", "client.key")), "ca.pem")).await;
    let without = refusal_or_outage(&certificate(&server, None, "ca.pem")).await;
    assert!(without.contains("ssl"), "{without}");
    let reason = refusal(&certificate(&server, Some(("client.pem", "client.key")), "other.pem")).await;
    assert!(reason.contains("no encrypted connection") && reason.contains("check `kafka.ca`"), "{reason}");
    let reason = open(&certificate(&server, Some(("client.pem", "other.key")), "ca.pem"));
    assert!(reason.contains("`kafka.key`"), "{reason}");
    let missing =
        Settings { ca: Some(PathBuf::from("/not/there.pem")), ..login(&server, Mechanism::Plain, "x") };
    let reason = open(&missing);
    assert!(
        reason.starts_with("`kafka.ca` /not/there.pem: ") && reason.ends_with("name a PEM file"),
        "{reason}"
    );
    let plaintext = Settings { brokers: vec![server.with_certificates()], ..Settings::default() };
    let reason = refusal_or_outage(&plaintext).await;
    assert!(reason.contains("`kafka.security` is \"plaintext\""), "{reason}");
}

fn login(server: &Server, mechanism: Mechanism, password: &str) -> Settings {
    Settings {
        brokers: vec![server.with_login()],
        security: Security::SaslSsl,
        mechanism,
        user: Some("alice".to_owned()),
        password: Some(Secret(password.as_bytes().to_vec())),
        ca: Some(server.tls("ca.pem")),
        ..Settings::default()
    }
}

fn certificate(server: &Server, own: Option<(&str, &str)>, ca: &str) -> Settings {
    Settings {
        brokers: vec![server.with_certificates()],
        security: Security::Ssl,
        ca: Some(server.tls(ca)),
        cert: own.map(|(cert, _)| server.tls(cert)),
        key: own.map(|(_, key)| server.tls(key)),
        ..Settings::default()
    }
}

/// Appends and reads.
async fn works(settings: &Settings) {
    let subject = OnKafka::with(settings, "security");
    subject.create_topic("t", 1).await;
    subject.append("t", vec![record(0, "a".to_owned())]).await.expect("appends");
    let mut reader = subject.source().read(&[(subject.at(0), 0)]).await.expect("reads");
    assert_eq!(values(&read_up_to(reader.as_mut(), 1).await), ["a"]);
}

async fn error(settings: &Settings) -> SourceError {
    Kafka::open(settings).expect("can be set up").topic("t").await.expect_err("is refused")
}

async fn refusal(settings: &Settings) -> String {
    let error = error(settings).await;
    assert!(matches!(error, SourceError::Refused(_)), "{error:?}");
    error.to_string()
}

async fn refusal_or_outage(settings: &Settings) -> String {
    error(settings).await.to_string()
}

/// Why a client cannot even be set up.
fn open(settings: &Settings) -> String {
    Kafka::open(settings).err().expect("is refused").to_string()
}
