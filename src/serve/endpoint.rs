//! Where a running process is found: `DATA/endpoint`, readable by its owner alone, with the address and a token.

use std::fmt;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Name of the file in the data directory.
const FILE: &str = "endpoint";

/// The address of a running process, and what opens its `/admin/*`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    pub address: SocketAddr,
    pub token: Token,
}

/// A token: 64 hexadecimal digits, never printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(String);

/// Why an endpoint could not be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{} is not an endpoint of this program: {reason}; start `kinora dev` anew", path.display())]
    Format { path: PathBuf, reason: String },
    #[error("this machine gives no random numbers: {0}")]
    NoRandomness(String),
}

impl Token {
    /// A new one, from the system's randomness.
    ///
    /// # Errors
    /// [`EndpointError::NoRandomness`].
    pub fn draw() -> Result<Token, EndpointError> {
        let mut bytes = [0_u8; 32];
        getrandom::fill(&mut bytes).map_err(|error| EndpointError::NoRandomness(error.to_string()))?;
        Ok(Token(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    /// Whether this text is the token. Takes as long for a wrong one as for the right one.
    pub fn is(&self, text: &str) -> bool {
        let (ours, theirs) = (self.0.as_bytes(), text.as_bytes());
        let differing = ours.iter().zip(theirs).fold(0, |all, (a, b)| all | (a ^ b));
        std::hint::black_box(differing) == 0 && ours.len() == theirs.len()
    }

    /// The value of the header `authorization`.
    pub fn header(&self) -> String {
        format!("Bearer {}", self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Endpoint {
    /// Writes the file, whole or not at all, readable by its owner alone.
    ///
    /// # Errors
    /// [`EndpointError::Io`].
    pub fn write(&self, data: &Path) -> Result<(), EndpointError> {
        let path = data.join(FILE);
        let draft = data.join("endpoint.new");
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| EndpointError::Io { path, source }
        };
        let text = serde_json::to_string(self).expect("an address and a token are JSON");
        match std::fs::remove_file(&draft) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io(&draft)(error)),
            _ => {}
        }
        let mut file = private(&draft).map_err(io(&draft))?;
        file.write_all(text.as_bytes()).map_err(io(&draft))?;
        std::fs::rename(&draft, &path).map_err(io(&path))
    }

    /// Reads the file; `None` where there is none.
    ///
    /// # Errors
    /// [`EndpointError::Io`], [`EndpointError::Format`].
    pub fn read(data: &Path) -> Result<Option<Endpoint>, EndpointError> {
        let path = data.join(FILE);
        match std::fs::read_to_string(&path) {
            Ok(text) => match serde_json::from_str(&text) {
                Ok(endpoint) => Ok(Some(endpoint)),
                Err(error) => Err(EndpointError::Format { path, reason: error.to_string() }),
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(EndpointError::Io { path, source }),
        }
    }

    /// Removes the file: the process is about to end.
    pub fn remove(data: &Path) {
        // A file left behind does no harm: its token opens nothing once the process is gone.
        let _ = std::fs::remove_file(data.join(FILE));
    }
}

fn private(path: &Path) -> std::io::Result<std::fs::File> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_comes_back_as_written_and_only_its_owner_reads_it() {
        let data = tempfile::tempdir().expect("a directory");
        assert_eq!(Endpoint::read(data.path()).expect("readable"), None);
        let token = Token::draw().expect("randomness");
        let endpoint = Endpoint { address: "127.0.0.1:4000".parse().expect("an address"), token };
        endpoint.write(data.path()).expect("written");
        endpoint.write(data.path()).expect("written again");
        assert_eq!(Endpoint::read(data.path()).expect("readable"), Some(endpoint));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(data.path().join(FILE)).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        std::fs::write(data.path().join(FILE), "{").expect("written");
        let error = Endpoint::read(data.path()).expect_err("torn").to_string();
        assert!(error.contains("is not an endpoint of this program"), "{error}");
        Endpoint::remove(data.path());
        assert_eq!(Endpoint::read(data.path()).expect("readable"), None);
    }

    #[test]
    fn only_the_whole_token_is_the_token() {
        let token = Token::draw().expect("randomness");
        let text = token.header()["Bearer ".len()..].to_owned();
        assert!(token.is(&text));
        assert!(!token.is(""));
        assert!(!token.is(&text[..63]));
        assert!(!token.is(&format!("{text}0")));
        assert!(!token.is(&"g".repeat(64)));
        assert_eq!(format!("{token:?}"), "Token(…)");
    }
}
