//! Brokers that are away: killed and started again, not there at all, or not to be found.

use std::time::{Duration, Instant};

use kinora::config::Kafka as Settings;
use kinora::source::kafka::Kafka;
use kinora::source::{Source, SourceError};

use super::{OnKafka, within};
use crate::kafka_server::{self, Server};
use crate::sources::{Subject, record};

#[tokio::test]
async fn a_reader_goes_on_where_it_was_when_the_broker_comes_back() {
    if kafka_server::left_out("a broker that is killed") {
        return;
    }
    let server = tokio::task::spawn_blocking(|| Server::start(false)).await.expect("starts");
    let subject = OnKafka::at_address(&server.address(), "outage");
    subject.create_topic("t", 1).await;
    let batch = |from: u32| (from..from + 100).map(|number| record(0, number.to_string())).collect();
    subject.append("t", batch(0)).await.expect("appends");
    let mut reader = subject.source().read(&[(subject.at(0), 0)]).await.expect("reads");
    let mut next = 0;
    while next < 50 {
        let fetched = reader.next(20).await.expect("reads");
        assert_eq!(fetched.records[0].offset, next);
        next = fetched.next;
    }
    server.kill();
    // What was fetched ahead still comes, each once.
    let away = within("the outage", async {
        loop {
            match reader.next(1_000).await {
                Ok(fetched) => {
                    fetched.records.iter().for_each(|record| {
                        assert_eq!(record.offset, next);
                        next += 1;
                    });
                }
                Err(error) => return error,
            }
        }
    });
    let away = away.await;
    assert!(matches!(away, SourceError::Unavailable(_)), "{away}");
    assert!(away.to_string().contains("does not answer"), "{away}");
    let asked = subject.source().topic(&subject.name("t")).await.expect_err("is away");
    assert!(matches!(asked, SourceError::Unavailable(_)), "{asked}");

    let server = tokio::task::spawn_blocking(move || {
        server.up();
        server
    });
    let server = server.await.expect("starts again");
    within("the first append", async { while subject.append("t", batch(100)).await.is_err() {} }).await;
    within("the rest", async {
        while next < 200 {
            // Trouble may be told a few times more.
            let Ok(fetched) = reader.next(1_000).await else { continue };
            for found in &fetched.records {
                assert_eq!(found.offset, next, "nothing is lost, nothing comes twice");
                next += 1;
            }
        }
    })
    .await;
    drop(server);
}

/// Why no topic is found, and how long it took.
async fn failure(brokers: &str) -> (SourceError, Duration) {
    let timeout = Duration::from_secs(20);
    let settings = Settings { brokers: vec![brokers.to_owned()], timeout, ..Settings::default() };
    let kafka = Kafka::open(&settings).expect("the settings are right");
    let begun = Instant::now();
    let error = kafka.topic("t").await.expect_err("there is no broker");
    let listed = kafka.topics().await.expect_err("there is no broker");
    assert!(matches!(listed, SourceError::Unavailable(_)), "{listed}");
    (error, begun.elapsed())
}

#[tokio::test]
async fn no_broker_is_said_soon_with_the_setting() {
    // Taken, and given back: nobody listens there.
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = socket.local_addr().expect("it is bound").to_string();
    drop(socket);
    let (error, took) = failure(&address).await;
    assert!(matches!(error, SourceError::Unavailable(_)), "{error}");
    let text = error.to_string();
    assert!(text.contains(&format!("Kafka at {address} does not answer")), "{text}");
    assert!(text.contains("check `kafka.brokers`"), "{text}");
    assert!(took < Duration::from_secs(15), "{took:?}");
}

#[tokio::test]
async fn a_host_that_nobody_knows_is_said() {
    let (error, _) = failure("no-such-host.invalid:9092").await;
    let text = error.to_string();
    assert!(text.contains("no address is known for Kafka at no-such-host.invalid:9092"), "{text}");
    assert!(text.contains("correct `kafka.brokers`"), "{text}");
}
