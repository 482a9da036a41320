//! How commands ask a running process: one request, one connection, over loopback.
//!
//! Not a general HTTP client: no TLS, no redirects, no chunks; it speaks with [`super::Server`] alone.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Endpoint;

/// Why a running process gave no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    #[error("nothing answers at {address}: {source}; is `kinora dev` still running?")]
    Unreachable { address: SocketAddr, source: std::io::Error },
    #[error("{address} did not answer within {} s", limit.as_secs())]
    Slow { address: SocketAddr, limit: Duration },
    #[error("what {address} answers is not HTTP: {reason}")]
    NotHttp { address: SocketAddr, reason: String },
    /// It answered, but not with what was asked for.
    #[error("{address} answered {status}: {message}")]
    Refused { address: SocketAddr, status: u16, message: String },
}

/// An answer as it came.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Longest wait for an answer: publishing a large file waits for the disk.
const LIMIT: Duration = Duration::from_secs(60);

impl Endpoint {
    /// Asks for a path, with the token, and reads the answer as JSON.
    ///
    /// # Errors
    /// [`ClientError`], each with the address.
    pub async fn get(&self, path: &str) -> Result<serde_json::Value, ClientError> {
        self.json(send(self.address, "GET", path, &[("authorization", &self.token.header())], &[]).await?)
    }

    /// Posts a body, with the token, and reads the answer as JSON.
    ///
    /// # Errors
    /// [`ClientError`], each with the address.
    pub async fn post(
        &self,
        path: &str,
        content_type: &str,
        body: &[u8],
    ) -> Result<serde_json::Value, ClientError> {
        let headers = [("authorization", self.token.header()), ("content-type", content_type.to_owned())];
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.json(send(self.address, "POST", path, &headers, body).await?)
    }

    fn json(&self, reply: Reply) -> Result<serde_json::Value, ClientError> {
        let address = self.address;
        let value: serde_json::Value = serde_json::from_slice(&reply.body).map_err(|error| {
            ClientError::NotHttp { address, reason: format!("the body is not JSON: {error}") }
        })?;
        if (200..300).contains(&reply.status) {
            return Ok(value);
        }
        let message = value["errors"][0]["message"].as_str().map_or_else(|| reply.text(), str::to_owned);
        Err(ClientError::Refused { address, status: reply.status, message })
    }
}

/// Sends one request and reads the whole answer.
///
/// # Errors
/// [`ClientError`], but never `Refused`.
pub async fn send(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<Reply, ClientError> {
    let unreachable = |source| ClientError::Unreachable { address, source };
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.map_err(unreachable)?;
        let mut head =
            format!("{method} {path} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
        if !headers.iter().any(|(name, _)| *name == "host") {
            head += &format!("host: {address}\r\n");
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += "\r\n";
        stream.write_all(head.as_bytes()).await.map_err(unreachable)?;
        // A server that refuses early closes before it has read all; its answer is there all the same.
        let sent = stream.write_all(body).await;
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer).await;
        if answer.is_empty() {
            sent.and(read.map(|_| ())).map_err(unreachable)?;
        }
        parse(&answer).map_err(|reason| ClientError::NotHttp { address, reason })
    };
    tokio::time::timeout(LIMIT, exchange).await.map_err(|_| ClientError::Slow { address, limit: LIMIT })?
}

fn parse(answer: &[u8]) -> Result<Reply, String> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").ok_or("the head does not end")?;
    let head = std::str::from_utf8(&answer[..end]).map_err(|_| "the head is not text")?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|text| text.parse().ok());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let body = answer[end + 4..].to_vec();
    let reply = Reply { status: status.ok_or("the first line has no status")?, headers, body };
    match reply.header("content-length").map(str::parse::<usize>) {
        Some(Ok(length)) if length != reply.body.len() => {
            Err(format!("{} of {length} bytes came", reply.body.len()))
        }
        _ => Ok(reply),
    }
}
