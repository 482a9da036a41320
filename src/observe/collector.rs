//! Speaks HTTP with whoever takes spans: one request, one connection.
//!
//! Comes in: a request. Goes out: what was answered. No TLS, no redirects, no chunks: a collector beside this process, or in its
//! network, passes spans on to where they are kept.

use std::fmt::Write as _;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Most bytes of an answer that are read.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// Whoever takes spans.
#[derive(Debug)]
pub(super) struct Collector {
    /// How long it may take to answer.
    pub answer_max: Duration,
}

impl HttpClient for Collector {
    // As `async_trait` writes it, which the trait is made with.
    fn send_bytes<'life0, 'async_trait>(
        &'life0 self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        let answer_max = self.answer_max;
        Box::pin(async move {
            let within = tokio::time::timeout(answer_max, ask(request)).await;
            within.map_err(|_| format!("no answer within {answer_max:?}"))?
        })
    }
}

async fn ask(request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let (parts, body) = request.into_parts();
    let host = parts.uri.authority().ok_or("the address names no host")?;
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let mut head = format!("{} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n", parts.method);
    for (name, value) in &parts.headers {
        let value = value.to_str().map_err(|_| format!("header {name} is not text"))?;
        write!(head, "{name}: {value}\r\n")?;
    }
    write!(head, "content-length: {}\r\n\r\n", body.len())?;
    // Brackets are of the address, not of the host.
    let name = host.host().trim_start_matches('[').trim_end_matches(']');
    let mut stream = TcpStream::connect((name, host.port_u16().unwrap_or(80))).await?;
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&body).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
    read(&answer)
}

/// Status and body of an answer.
fn read(answer: &[u8]) -> Result<Response<Bytes>, HttpError> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").ok_or("the answer is not HTTP")?;
    let head = std::str::from_utf8(&answer[..end])?;
    let status =
        head.strip_prefix("HTTP/1.").and_then(|line| line.get(2..5)).ok_or("the answer is not HTTP")?;
    let is_chunked = head.to_ascii_lowercase().contains("\r\ntransfer-encoding: chunked");
    let body = if is_chunked { Bytes::new() } else { Bytes::copy_from_slice(&answer[end + 4..]) };
    Ok(Response::builder().status(status.parse::<u16>()?).body(body)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_a_status_and_whatever_is_none_is_refused() {
        let answered =
            |text: &str| read(text.as_bytes()).map(|answer| (answer.status().as_u16(), answer.into_body()));
        let whole = answered("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").expect("it is one");
        assert_eq!(whole, (200, Bytes::from_static(b"hi")));
        let chunked = "HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
        assert_eq!(answered(chunked).expect("it is one"), (503, Bytes::new()));
        for text in ["", "HTTP/1.1 200 OK", "SSH-2.0\r\n\r\n", "HTTP/1.1\r\n\r\n", "HTTP/1.1 abc\r\n\r\n"] {
            assert!(answered(text).is_err(), "{text:?}");
        }
        assert!(read(b"HTTP/1.1 200 \xff\r\n\r\n").is_err());
    }
}
