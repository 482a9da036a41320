//! A collector of traces in this process: takes OTLP over HTTP and reads its protobuf, as far as spans are concerned. Written
//! from the format's definition (opentelemetry-proto 1.x), apart from what sends it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A span as it was sent.
#[derive(Clone, Debug, Default)]
pub struct Span {
    pub trace: String,
    pub id: String,
    pub parent: String,
    pub name: String,
    /// Nanoseconds since 1970.
    pub start: u64,
    pub end: u64,
    pub attributes: BTreeMap<String, String>,
    /// Attributes of whoever sent it.
    pub resource: BTreeMap<String, String>,
}

/// A collector; it takes spans as long as the test's runtime lives.
pub struct Collector {
    pub address: SocketAddr,
    spans: Arc<Mutex<Vec<Span>>>,
}

impl Collector {
    pub async fn start() -> Collector {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let spans: Arc<Mutex<Vec<Span>>> = Arc::default();
        let taken = Arc::clone(&spans);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let body = request(stream).await;
                taken.lock().expect("nobody panics").extend(spans_of(&body));
            }
        });
        Collector { address, spans }
    }

    /// What was taken so far.
    pub fn spans(&self) -> Vec<Span> {
        self.spans.lock().expect("nobody panics").clone()
    }
}

/// Takes one request, and says yes; answers its body.
async fn request(mut stream: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let (head, length) = loop {
        assert!(stream.read_buf(&mut bytes).await.expect("it can be read") > 0, "it broke off");
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8(bytes[..end].to_vec()).expect("a head is text").to_ascii_lowercase();
        let length =
            head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("it has a length");
        let length: usize = length.parse().expect("a number");
        bytes.drain(..end + 4);
        break (head, length);
    };
    assert!(head.starts_with("post /v1/traces http/1.1"), "{head}");
    assert!(head.contains("content-type: application/x-protobuf"), "{head}");
    while bytes.len() < length {
        assert!(stream.read_buf(&mut bytes).await.expect("it can be read") > 0, "it broke off");
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.expect("it can be written");
    bytes
}

/// A field of a message: its number, and what it holds.
enum Field<'b> {
    Number(u64),
    Bytes(&'b [u8]),
}

fn fields(mut rest: &[u8]) -> Vec<(u64, Field<'_>)> {
    let mut found = Vec::new();
    while !rest.is_empty() {
        let tag = varint(&mut rest);
        let field = match tag & 7 {
            0 => Field::Number(varint(&mut rest)),
            1 => Field::Number(u64::from_le_bytes(take(&mut rest, 8).try_into().expect("eight bytes"))),
            2 => {
                let len = usize::try_from(varint(&mut rest)).expect("a length");
                Field::Bytes(take(&mut rest, len))
            }
            5 => Field::Number(u64::from(u32::from_le_bytes(
                take(&mut rest, 4).try_into().expect("four bytes"),
            ))),
            other => panic!("wire type {other} is none"),
        };
        found.push((tag >> 3, field));
    }
    found
}

fn take<'b>(rest: &mut &'b [u8], len: usize) -> &'b [u8] {
    let (taken, left) = rest.split_at(len);
    *rest = left;
    taken
}

fn varint(rest: &mut &[u8]) -> u64 {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(rest, 1)[0];
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    number
}

/// The messages in a field of a message.
fn within(message: &[u8], number: u64) -> Vec<&[u8]> {
    let of = |(field, value)| match value {
        Field::Bytes(bytes) if field == number => Some(bytes),
        _ => None,
    };
    fields(message).into_iter().filter_map(of).collect()
}

fn spans_of(request: &[u8]) -> Vec<Span> {
    let mut spans = Vec::new();
    for resource_spans in within(request, 1) {
        let resource =
            within(resource_spans, 1).first().map(|resource| attributes(resource, 1)).unwrap_or_default();
        for scope_spans in within(resource_spans, 2) {
            spans.extend(within(scope_spans, 2).into_iter().map(|span| span_of(span, &resource)));
        }
    }
    spans
}

fn span_of(message: &[u8], resource: &BTreeMap<String, String>) -> Span {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut span = Span { attributes: attributes(message, 9), resource: resource.clone(), ..Span::default() };
    for (number, field) in fields(message) {
        match (number, field) {
            (1, Field::Bytes(bytes)) => span.trace = hex(bytes),
            (2, Field::Bytes(bytes)) => span.id = hex(bytes),
            (4, Field::Bytes(bytes)) => span.parent = hex(bytes),
            (5, Field::Bytes(bytes)) => span.name = String::from_utf8_lossy(bytes).into_owned(),
            (7, Field::Number(ns)) => span.start = ns,
            (8, Field::Number(ns)) => span.end = ns,
            _ => {}
        }
    }
    span
}

fn attributes(message: &[u8], number: u64) -> BTreeMap<String, String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let value = |value: &[u8]| match fields(value).into_iter().next() {
        Some((1, Field::Bytes(bytes))) => text(bytes),
        Some((_, Field::Number(number))) => number.to_string(),
        _ => String::new(),
    };
    let pair = |pair: &[u8]| {
        let key = within(pair, 1).first().map(|key| text(key)).unwrap_or_default();
        (key, within(pair, 2).first().map(|found| value(found)).unwrap_or_default())
    };
    within(message, number).into_iter().map(pair).collect()
}
