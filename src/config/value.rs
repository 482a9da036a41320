//! Typed values of settings. Comes in: a value of the file, or text of a variable or flag. Goes out: the value, or one
//! sentence that says what was found and what is wanted.

use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use toml::de::DeValue;

/// A number of bytes; written `512`, `"64KiB"`, `"10MiB"` or `"1GiB"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

/// A secret: never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub Vec<u8>);

/// A setting as it is given.
#[derive(Clone, Copy, Debug)]
pub(super) enum Given<'a> {
    File(&'a DeValue<'a>),
    Text(&'a str),
}

impl Bytes {
    /// So many KiB.
    pub const fn kib(count: u64) -> Bytes {
        Bytes(count * 1024)
    }

    /// So many MiB.
    pub const fn mib(count: u64) -> Bytes {
        Bytes(count * 1024 * 1024)
    }

    /// As a length in memory.
    pub fn len(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    /// Whether it is no byte at all.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        for (size, name) in UNITS {
            if self.0 >= size && self.0.is_multiple_of(size) {
                return write!(f, "{}{name}", self.0 / size);
            }
        }
        write!(f, "{}B", self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl<'a> Given<'a> {
    /// What was found, for a sentence.
    fn found(self) -> String {
        match self {
            Given::Text(text) => format!("`{text}`"),
            Given::File(DeValue::String(text)) => format!("\"{text}\""),
            Given::File(DeValue::Integer(number)) => number.as_str().to_owned(),
            Given::File(DeValue::Float(number)) => number.as_str().to_owned(),
            Given::File(DeValue::Boolean(value)) => value.to_string(),
            Given::File(other) => format!("a value of type {}", other.type_str()),
        }
    }

    fn wanted(self, wanted: &str) -> String {
        format!("{} is not {wanted}", self.found())
    }

    /// Text, trimmed where it comes from outside the file.
    fn as_text(self) -> Option<&'a str> {
        match self {
            Given::Text(text) => Some(text.trim()),
            Given::File(value) => value.as_str(),
        }
    }

    fn as_integer(self) -> Option<i64> {
        match self {
            Given::Text(text) => text.trim().replace('_', "").parse().ok(),
            Given::File(value) => {
                let number = value.as_integer()?;
                i64::from_str_radix(&number.as_str().replace('_', ""), number.radix()).ok()
            }
        }
    }
}

pub(super) fn count(given: Given<'_>, range: RangeInclusive<usize>) -> Result<usize, String> {
    let wanted = || format!("a whole number from {} to {}", range.start(), range.end());
    given
        .as_integer()
        .and_then(|number| usize::try_from(number).ok())
        .filter(|number| range.contains(number))
        .ok_or_else(|| given.wanted(&wanted()))
}

/// A part of a whole: from 0 to 1.
pub(super) fn share(given: Given<'_>) -> Result<f64, String> {
    let number = match given {
        Given::Text(text) => text.trim().parse().ok(),
        Given::File(DeValue::Float(number)) => number.as_str().replace('_', "").parse().ok(),
        Given::File(_) => given.as_integer().map(|number| number as f64),
    };
    let within = number.filter(|number: &f64| (0.0..=1.0).contains(number));
    within.ok_or_else(|| given.wanted("a share from 0 to 1, such as 0.01"))
}

pub(super) fn boolean(given: Given<'_>) -> Result<bool, String> {
    match given {
        Given::Text("true") => Ok(true),
        Given::Text("false") => Ok(false),
        Given::File(value) if value.is_bool() => Ok(value.as_bool() == Some(true)),
        _ => Err(given.wanted("true or false")),
    }
}

pub(super) fn address(given: Given<'_>) -> Result<SocketAddr, String> {
    let text = given.as_text().map(|text| text.replace("localhost:", "127.0.0.1:"));
    text.and_then(|text| text.parse().ok())
        .ok_or_else(|| given.wanted("an address with a port, like \"127.0.0.1:4000\" or \"[::1]:4000\""))
}

pub(super) fn bytes(given: Given<'_>, range: RangeInclusive<Bytes>) -> Result<Bytes, String> {
    let wanted = || format!("a size from {} to {}, like \"64KiB\"", range.start(), range.end());
    let parsed = match given.as_integer() {
        Some(number) => u64::try_from(number).ok(),
        None => given.as_text().and_then(|text| scaled(text, &BYTE_UNITS)),
    };
    parsed.map(Bytes).filter(|bytes| range.contains(bytes)).ok_or_else(|| given.wanted(&wanted()))
}

pub(super) fn duration(given: Given<'_>, range: RangeInclusive<Duration>) -> Result<Duration, String> {
    let wanted = || {
        format!("a duration from {:?} to {:?}, like \"500ms\", \"5s\" or \"2m\"", range.start(), range.end())
    };
    given
        .as_text()
        .and_then(|text| scaled(text, &TIME_UNITS))
        .map(Duration::from_millis)
        .filter(|duration| range.contains(duration))
        .ok_or_else(|| given.wanted(&wanted()))
}

pub(super) fn text(given: Given<'_>, wanted: &str, fits: impl Fn(&str) -> bool) -> Result<String, String> {
    given.as_text().filter(|text| fits(text)).map(str::to_owned).ok_or_else(|| given.wanted(wanted))
}

/// A list of texts in the file, joined by commas elsewhere; one at least.
pub(super) fn texts(
    given: Given<'_>,
    wanted: &str,
    fits: impl Fn(&str) -> bool,
) -> Result<Vec<String>, String> {
    let texts: Option<Vec<&str>> = match given {
        Given::Text(text) => Some(text.split(',').map(str::trim).collect()),
        Given::File(value) => match value.as_array() {
            Some(list) => list.iter().map(|one| one.get_ref().as_str()).collect(),
            None => value.as_str().map(|text| text.split(',').map(str::trim).collect()),
        },
    };
    let texts = texts.filter(|texts| !texts.is_empty()).ok_or_else(|| given.wanted(wanted))?;
    match texts.iter().find(|text| !fits(text)) {
        Some(text) => Err(format!("{text:?} does not belong into {wanted}")),
        None => Ok(texts.into_iter().map(str::to_owned).collect()),
    }
}

/// A secret. The fault never holds it.
pub(super) fn secret(given: Given<'_>, what: &str) -> Result<Secret, String> {
    let text = match given {
        // Not trimmed: blanks may be part of it.
        Given::Text(text) => Some(text),
        Given::File(value) => value.as_str(),
    };
    match text.filter(|text| !text.is_empty()) {
        Some(text) => Ok(Secret(text.as_bytes().to_vec())),
        None => Err(format!("{what} is text in quotes, and not empty")),
    }
}

/// Secrets: a list in the file, joined by commas elsewhere. The fault never holds the secret.
pub(super) fn secrets(given: Given<'_>) -> Result<Vec<Secret>, String> {
    let texts: Vec<&str> = match given {
        Given::Text(text) => text.split(',').map(str::trim).filter(|text| !text.is_empty()).collect(),
        Given::File(value) => match (value.as_array(), value.as_str()) {
            (Some(list), _) => {
                let texts: Option<Vec<&str>> = list.iter().map(|one| one.get_ref().as_str()).collect();
                texts.ok_or("each cursor secret is text in quotes")?
            }
            (None, Some(text)) => vec![text],
            (None, None) => return Err("cursor secrets are a list of texts".to_owned()),
        },
    };
    match texts.iter().position(|text| text.len() < 16) {
        Some(at) => Err(format!(
            "cursor secret {} has {} bytes; at least 16 are needed, `openssl rand -hex 32` makes one",
            at + 1,
            texts[at].len()
        )),
        None => Ok(texts.into_iter().map(|text| Secret(text.as_bytes().to_vec())).collect()),
    }
}

/// Nodes, `host:port` or `host`: a list in the file, joined by commas elsewhere.
pub(super) fn addresses(given: Given<'_>) -> Result<Vec<String>, String> {
    let texts: Option<Vec<&str>> = match given {
        Given::Text(text) => Some(text.split(',').map(str::trim).collect()),
        Given::File(value) => match value.as_array() {
            Some(list) => list.iter().map(|one| one.get_ref().as_str()).collect(),
            None => value.as_str().map(|text| vec![text]),
        },
    };
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    let fits = |node: &&str| match node.rsplit_once(':') {
        Some((host, port)) => !host.is_empty() && is_port(port),
        None => !node.is_empty(),
    };
    let texts = texts.filter(|texts| !texts.is_empty() && texts.iter().all(fits));
    let with_port = |node: &str| match node.contains(':') {
        true => node.to_owned(),
        false => format!("{node}:9042"),
    };
    texts
        .map(|texts| texts.into_iter().map(with_port).collect())
        .ok_or_else(|| given.wanted("a list of nodes, like [\"10.0.0.1:9042\", \"10.0.0.2:9042\"]"))
}

const BYTE_UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
const TIME_UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];

/// A whole number with a unit behind it; a space between is fine.
fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    units.iter().find_map(|(unit, scale)| {
        let number: u64 = text.strip_suffix(unit)?.trim_end().parse().ok()?;
        number.checked_mul(*scale)
    })
}
