//! More than the server can bear: each is told so, and those who were there before go on.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::client::send;
use super::tests::{Running, Small, message, start};
use crate::config::Bytes;

/// Longest wait for anything.
const LIMIT: Duration = Duration::from_secs(30);

/// Asks again and again until it holds.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let asked = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LIMIT, asked).await.unwrap_or_else(|_| panic!("not within {LIMIT:?}: {what}"));
}

async fn connect(server: &Running) -> TcpStream {
    TcpStream::connect(server.address).await.expect("it listens")
}

/// Sends a query on a connection of its own, and reads nothing.
async fn begin(server: &Running, query: &str, headers: &str) -> TcpStream {
    let body = serde_json::json!({ "query": query }).to_string();
    let address = server.address;
    let request = format!(
        "POST /graphql HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = connect(server).await;
    stream.write_all(request.as_bytes()).await.expect("sent");
    stream
}

async fn executing(server: &Running, count: u64) {
    let counted = async || server.backend.executing.load(Ordering::SeqCst) == count;
    until(&format!("{count} operations are executed"), counted).await;
}

/// Everything until the server closes the connection.
async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(LIMIT, stream.read_to_end(&mut bytes)).await;
    let _ = read.expect("the server closes it");
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn a_head_that_comes_too_slowly_is_not_waited_for() {
    let server = start(Small::new(), |serve| serve.idle = Duration::from_millis(200)).await;
    let mut stream = connect(&server).await;
    stream.write_all(b"GET /health/live HTTP/1.1\r\nx-slow: ").await.expect("sent");
    let mut byte = [0];
    let dripped = async {
        loop {
            let _ = stream.write_all(b"a").await;
            let read = tokio::time::timeout(Duration::from_millis(20), stream.read(&mut byte)).await;
            if matches!(read, Ok(Ok(0) | Err(_))) {
                return;
            }
        }
    };
    tokio::time::timeout(LIMIT, dripped).await.expect("it is closed although bytes come");
    assert_eq!(server.ask("GET", "/health/live", &[], "").await.status, 200);
}

#[tokio::test]
async fn a_connection_without_a_request_is_closed() {
    let server = start(Small::new(), |serve| serve.idle = Duration::from_millis(200)).await;
    let mut silent = connect(&server).await;
    assert_eq!(rest(&mut silent).await, "");
    let mut kept = connect(&server).await;
    let request = format!("GET /health/live HTTP/1.1\r\nhost: {}\r\n\r\n", server.address);
    kept.write_all(request.as_bytes()).await.expect("sent");
    assert!(rest(&mut kept).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn connections_beyond_the_bound_are_told_to_come_again() {
    let server = start(Small::new(), |serve| serve.connections = 2).await;
    let (first, second) = (connect(&server).await, connect(&server).await);
    let ask = async || send(server.address, "GET", "/health/live", &[], b"").await;
    until("the bound is reached", async || ask().await.is_ok_and(|reply| reply.status == 503)).await;
    let reply = ask().await.expect("an answer");
    assert_eq!(reply.header("retry-after"), Some("1"));
    let said = "2 connections are open (`serve.connections`); come again";
    assert_eq!(message(&reply), (503, "OVERLOADED".into(), said.into()));
    drop(first);
    until("there is room again", async || ask().await.is_ok_and(|reply| reply.status == 200)).await;
    drop(second);
}

#[tokio::test]
async fn an_answer_that_nobody_takes_is_given_up_and_its_room_given_back() {
    let big = "{ hello } #big 60000000";
    let server = start(Small::new(), |serve| {
        serve.idle = Duration::from_millis(500);
        serve.memory = Bytes::mib(100);
    });
    let server = server.await;
    let stuck = begin(&server, big, "").await;
    let refused = async || {
        let reply = server.query(big, &[]).await;
        let told = message(&serde_reply(&reply));
        told.0 == 503 && told.2.contains("take 104857600 bytes (`serve.memory`)")
    };
    until("its answer takes the room", refused).await;
    until("the room is free again", async || server.query(big, &[]).await.status == 200).await;
    drop(stuck);
}

/// A reply without its body where that is no error.
fn serde_reply(reply: &super::client::Reply) -> super::client::Reply {
    match reply.status {
        200 => super::client::Reply { body: b"{}".to_vec(), ..reply.clone() },
        _ => reply.clone(),
    }
}

#[tokio::test]
async fn an_operation_ends_when_its_client_is_gone() {
    let server = start(Small::new(), |serve| serve.deadline = Duration::from_secs(300)).await;
    let stream = begin(&server, "{ never }", "").await;
    executing(&server, 1).await;
    drop(stream);
    executing(&server, 0).await;
}

#[tokio::test]
async fn those_who_wait_for_positions_leave_room_for_others() {
    let server = start(Small::new(), |serve| serve.waiting = 1).await;
    let after = [("x-read-after", "shop.orders:0@1")];
    let waiting = begin(&server, "{ never }", "x-read-after: shop.orders:0@1\r\n").await;
    executing(&server, 1).await;
    let reply = server.query("{ hello }", &after).await;
    let said = "1 requests wait for positions (`serve.waiting`); come again";
    assert_eq!(message(&reply), (503, "OVERLOADED".into(), said.into()));
    assert_eq!(reply.header("retry-after"), Some("1"));
    assert_eq!(server.query("{ hello }", &[]).await.status, 200);
    drop(waiting);
    until("there is room again", async || server.query("{ hello }", &after).await.status == 200).await;
}

#[tokio::test]
async fn bodies_that_are_on_their_way_share_their_room() {
    let server = start(Small::new(), |serve| serve.memory = Bytes::mib(1)).await;
    let mut announced = connect(&server).await;
    let head = format!(
        "POST /topics/t HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: 900000\r\n\r\n",
        server.address
    );
    announced.write_all(head.as_bytes()).await.expect("sent");
    let line = format!("{{\"key\":\"k\",\"value\":\"{}\"}}", "x".repeat(400_000));
    let publish =
        async || server.ask("POST", "/topics/t", &[("content-type", "application/json")], &line).await;
    until("the announced body has its room", async || publish().await.status == 503).await;
    let reply = publish().await;
    assert!(message(&reply).2.contains("take 1048576 bytes (`serve.memory`)"), "{}", reply.text());
    drop(announced);
    until("the room is free again", async || publish().await.status == 200).await;
}

#[tokio::test]
async fn a_server_that_ends_answers_what_it_has_and_refuses_the_rest() {
    let mut server = start(Small::new(), |serve| {
        serve.drain = Duration::from_secs(2);
        serve.deadline = Duration::from_secs(300);
    })
    .await;
    let under_way = begin(&server, "{ never }", "").await;
    executing(&server, 1).await;
    let begun = std::time::Instant::now();
    server.stop.take().expect("running").send(()).expect("running");
    until("it is not ready", async || server.ask("GET", "/health/ready", &[], "").await.status == 503).await;
    let ready = server.ask("GET", "/health/ready", &[], "").await;
    assert!(ready.text().contains("this process is ending"), "{}", ready.text());
    assert_eq!(server.ask("GET", "/health/live", &[], "").await.status, 200);
    let json = [("content-type", "application/json")];
    for (path, body) in [("/graphql", r#"{"query":"{ hello }"}"#), ("/topics/t", r#"{"key":null,"value":1}"#)]
    {
        let reply = server.ask("POST", path, &json, body).await;
        let (status, code, said) = message(&reply);
        assert_eq!((status, code.as_str()), (503, "OVERLOADED"), "{path}");
        assert!(said.starts_with("this process is ending"), "{said}");
        assert_eq!(reply.header("retry-after"), Some("1"));
    }
    let ended = tokio::time::timeout(LIMIT, server.ended.take().expect("running")).await;
    ended.expect("the time to drain is kept").expect("no panic").expect("ended");
    assert!(begun.elapsed() >= Duration::from_secs(2), "what is under way has all of the time to drain");
    executing(&server, 0).await;
    drop(under_way);
}
