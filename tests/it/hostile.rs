//! Requests that are wrong on purpose: each gets one status, one code and one sentence, and harms nobody else.

use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Dev, Project, written};

const JSON: &str = "content-type: application/json";
const LINES: &str = "content-type: application/x-ndjson";

/// Method and path, headers, body; status, code, and what the message says.
type Case<'a> = (&'a str, &'a [&'a str], &'a [u8], u16, &'a str, &'a str);

/// Bodies that are no GraphQL request.
const GRAPHQL: &[Case<'static>] = &[
    ("POST /graphql", &[JSON], b"{\"query\":\"{ note", 400, "BAD_USER_INPUT", "the body is not JSON"),
    ("POST /graphql", &[JSON], b"\xff\xfe", 400, "BAD_USER_INPUT", "the body is not "),
    ("POST /graphql", &[JSON], b"", 400, "BAD_USER_INPUT", "the body is "),
    ("POST /graphql", &[JSON], b"[]", 400, "BAD_USER_INPUT", "batches of operations are not taken"),
    ("POST /graphql", &[JSON], b"{}", 400, "BAD_USER_INPUT", "query"),
    ("POST /graphql", &[JSON], b"{\"query\":7}", 400, "BAD_USER_INPUT", "query"),
    (
        "POST /graphql",
        &[],
        b"{\"query\":\"{ __typename }\"}",
        415,
        "BAD_USER_INPUT",
        "`content-type` is missing",
    ),
    (
        "POST /graphql",
        &["content-type: text/plain"],
        b"{}",
        415,
        "BAD_USER_INPUT",
        "it must be application/json",
    ),
    (
        "POST /graphql",
        &["content-type: application/json; charset=latin1"],
        b"{}",
        415,
        "BAD_USER_INPUT",
        "in UTF-8",
    ),
    (
        "POST /graphql",
        &[JSON, "accept: image/png"],
        b"{}",
        406,
        "BAD_USER_INPUT",
        "nothing that `accept` names",
    ),
    ("GET /graphql?query=%ff", &[], b"", 400, "BAD_USER_INPUT", "UTF-8"),
    ("GET /graphql?variables=%7B", &[], b"", 400, "BAD_USER_INPUT", "variables"),
    (
        "POST /graphql",
        &[JSON, "x-read-after: notes"],
        b"{\"query\":\"{ __typename }\"}",
        400,
        "BAD_READ_AFTER",
        "expected topic:partition@offset",
    ),
    (
        "POST /graphql",
        &[JSON, "x-read-wait: soon"],
        b"{\"query\":\"{ __typename }\"}",
        400,
        "BAD_READ_AFTER",
        "the header `x-read-wait`",
    ),
];

/// What is no record, or comes from where it must not.
const PUBLISH: &[Case<'static>] = &[
    (
        "POST /topics/notes",
        &[LINES],
        b"{\"key\":\"a\",\"value\":",
        400,
        "BAD_USER_INPUT",
        "line 1: the line is not a record",
    ),
    ("POST /topics/notes", &[LINES], b"{\"key\":\"a\",\"value\":1}\noops", 400, "BAD_USER_INPUT", "line 2: "),
    ("POST /topics/notes", &[LINES], b"{\"key\":1,\"value\":1}", 400, "BAD_USER_INPUT", "expected a string"),
    (
        "POST /topics/notes",
        &[LINES],
        b"{\"key\":\"a\"}",
        400,
        "BAD_USER_INPUT",
        "a tombstone is \"value\": null",
    ),
    (
        "POST /topics/notes",
        &[LINES],
        b"{\"key\":\"a\",\"valueBase64\":\"?\"}",
        400,
        "BAD_USER_INPUT",
        "not base64",
    ),
    ("POST /topics/notes", &[LINES], b"{\"value\":1,\"vaule\":2}", 400, "BAD_USER_INPUT", "vaule"),
    (
        "POST /topics/notes",
        &[LINES],
        b"{\"value\":1,\"timestamp\":\"noon\"}",
        400,
        "BAD_USER_INPUT",
        "\"noon\"",
    ),
    (
        "POST /topics/notes",
        &[LINES],
        b"{\"value\":\"\xff\"}",
        400,
        "BAD_USER_INPUT",
        "line 1: this is not UTF-8",
    ),
    ("POST /topics/notes", &[LINES], b"\n", 400, "BAD_USER_INPUT", "the body has no record"),
    (
        "POST /topics/notes",
        &["content-type: text/plain"],
        b"{\"value\":1}",
        415,
        "BAD_USER_INPUT",
        "application/x-ndjson",
    ),
    ("POST /topics/notes", &[], b"{\"value\":1}", 415, "BAD_USER_INPUT", "`content-type` is missing"),
    ("POST /topics/a%20b", &[LINES], b"{\"value\":1}", 400, "BAD_USER_INPUT", "\"a b\" is not a topic name"),
    ("POST /topics/..%2F..%2Fetc", &[LINES], b"{\"value\":1}", 400, "BAD_USER_INPUT", "is not a topic name"),
    ("POST /topics/%ff", &[LINES], b"{\"value\":1}", 400, "BAD_USER_INPUT", "the path is not UTF-8"),
    (
        "POST /topics/notes",
        &[LINES, "host: evil.example"],
        b"{\"value\":1}",
        403,
        "FORBIDDEN",
        "\"evil.example\"",
    ),
];

/// Paths, methods and names.
const PATHS: &[Case<'static>] = &[
    ("GET /nowhere", &[], b"", 404, "BAD_USER_INPUT", "there is nothing at /nowhere"),
    ("GET /graphiql/../../etc/passwd", &[], b"", 404, "BAD_USER_INPUT", "there is nothing at"),
    ("DELETE /graphql", &[], b"", 405, "BAD_USER_INPUT", "does not take DELETE"),
    ("GET /topics/notes", &[], b"", 405, "BAD_USER_INPUT", "does not take GET"),
    ("GET /admin/status", &[], b"", 401, "UNAUTHENTICATED", "authorization: Bearer <token>"),
    (
        "GET /admin/parked/%ff",
        &["authorization: Bearer 0"],
        b"",
        401,
        "UNAUTHENTICATED",
        "not the one of this process",
    ),
    ("GET /", &["host: evil.example"], b"", 403, "FORBIDDEN", "answers as"),
];

/// Sends bytes as they are; answers all that comes back.
async fn raw(dev: &Dev<'_>, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(dev.endpoint().address).await.expect("it listens");
    // What is refused early is not read to its end.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

async fn refused(dev: &Dev<'_>, case: &Case<'_>) {
    let (line, headers, body, status, code, says) = case;
    let mut request = format!("{line} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    if !headers.iter().any(|header| header.starts_with("host:")) {
        request += &format!("host: {}\r\n", dev.endpoint().address);
    }
    for header in *headers {
        request += &format!("{header}\r\n");
    }
    let answer = raw(dev, &[request.as_bytes(), b"\r\n", body].concat()).await;
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{case:?}: {answer}");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{case:?}: {answer}"));
    assert!(head.contains("content-type: application/json"), "{case:?}: {answer}");
    let errors = serde_json::from_str::<Json>(body).unwrap_or_else(|fault| panic!("{fault}: {answer}"));
    let errors = errors["errors"].as_array().cloned().unwrap_or_default();
    assert_eq!(errors.len(), 1, "{case:?}: {answer}");
    assert_eq!(errors[0]["extensions"]["code"], json!(code), "{case:?}: {answer}");
    assert!(errors[0]["message"].as_str().is_some_and(|found| found.contains(says)), "{case:?}: {answer}");
}

#[tokio::test]
async fn every_bad_request_is_one_clear_refusal_and_nothing_of_it_is_written() {
    let project = Project::notes();
    let dev = Dev::start(&project).await.ready().await;
    let position = dev.publish("notes", &[written("a", "x")]).await;
    for case in [GRAPHQL, PUBLISH, PATHS].concat() {
        refused(&dev, &case).await;
    }
    let status = dev.status().await;
    let topics = status["topics"].as_array().expect("topics");
    assert_eq!(topics.len(), 1, "no topic was made: {status}");
    let events = |topic: &Json| -> u64 {
        let partitions = topic["partitions"].as_array().expect("partitions");
        partitions.iter().filter_map(|partition| partition[1].as_u64()).sum()
    };
    assert_eq!(events(&topics[0]), 1, "nothing was written: {status}");
    assert_eq!(status["projections"][0]["parked_keys"], json!(0));
    assert_eq!(dev.text("a", &position).await.as_deref(), Some("x"));
    assert_eq!(dev.err(), "", "a client's mistake is nothing for the log");
}

#[tokio::test]
async fn what_is_no_http_ends_its_own_connection_alone() {
    let project = Project::notes();
    let dev = Dev::start(&project).await.ready().await;
    let address = dev.endpoint().address;
    let large = format!("GET / HTTP/1.1\r\nhost: {address}\r\nx-large: {}\r\n\r\n", "x".repeat(1 << 20));
    let answer = raw(&dev, large.as_bytes()).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{}", &answer[..answer.len().min(200)]);
    let many = format!("GET / HTTP/1.1\r\nhost: {address}\r\n{}\r\n", "x: y\r\n".repeat(5_000));
    let answer = raw(&dev, many.as_bytes()).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{}", &answer[..answer.len().min(200)]);
    for noise in
        [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], b"oops\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"]
    {
        let answer = raw(&dev, noise).await;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 400 ") || answer.starts_with("HTTP/1.1 505 "),
            "{answer}"
        );
    }
    let missing_host = raw(&dev, b"GET /health/live HTTP/1.1\r\nconnection: close\r\n\r\n").await;
    assert!(missing_host.contains("the header `host` is missing"), "{missing_host}");
    // A body that stops short, with its client gone.
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let head = format!(
        "POST /topics/notes HTTP/1.1\r\nhost: {address}\r\n{LINES}\r\ncontent-length: 100\r\n\r\n{{\"ke"
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    drop(stream);
    let position = dev.publish("notes", &[written("a", "x")]).await;
    assert_eq!(dev.text("a", &position).await.as_deref(), Some("x"));
}

#[tokio::test]
async fn events_that_cannot_be_applied_are_kept_and_wait_alone() {
    let project = Project::notes();
    let dev = Dev::start(&project).await.ready().await;
    let lines = [
        json!({ "key": "bytes", "valueBase64": "bm90IEpTT04=" }),
        json!({ "key": "number", "value": 7 }),
        json!({ "key": "typeless", "value": { "id": "typeless" } }),
        json!({ "key": "keyless", "value": { "type": "NoteWritten", "text": "x" } }),
        json!({ "key": "other", "value": { "type": "NoteWritten", "id": "differs", "text": "x" } }),
        json!({ "key": "unknown", "value": { "type": "NoteEaten", "id": "unknown" } }),
        json!({ "key": null, "value": { "type": "NoteWritten", "id": "nokey", "text": "x" } }),
        json!({ "key": "list", "value": { "type": "NoteWritten", "id": ["list"], "text": "x" } }),
        json!({ "key": "text", "value": { "type": "NoteWritten", "id": "text", "text": { "a": 1 } } }),
        json!({ "key": "tombstone", "value": null }),
    ];
    let body: Vec<String> = lines.iter().map(Json::to_string).collect();
    let headers = [("content-type", "application/x-ndjson")];
    let reply = dev.post("/topics/notes", &headers, &body.join("\n")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let good = dev.publish("notes", &[written("good", "x")]).await;
    assert_eq!(dev.text("good", &good).await.as_deref(), Some("x"));
    let answer: Json = serde_json::from_slice(&reply.body).expect("JSON");
    let after = answer["readAfter"].as_str().expect("positions");
    assert_eq!(dev.text("good", after).await.as_deref(), Some("x"), "all partitions are past them");

    let listed = project.run(&["parked", "list", "--format", "json"]).says(0, &[]).json();
    let listed = listed.as_array().expect("a list");
    assert_eq!(listed.len(), lines.len(), "each waits, each under its own key: {listed:?}");
    for parked in listed {
        let reason = parked["reason"].as_str().expect("a reason");
        assert!(reason.len() > 15 && !reason.contains("Err("), "{reason}");
        assert_eq!(parked["waiting"], json!(1), "{parked}");
    }
    assert_eq!(dev.status().await["projections"][0]["state"], json!("running"));
}
