//! `[kafka]`: the broker, and how it is spoken to. Comes in: one setting at a time, then all of them. Goes out: [`Kafka`],
//! and a sentence for each setting that does not fit the others.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::value::{self, Given};
use super::{Bytes, Secret};

/// `[kafka]`: events from Apache Kafka.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kafka {
    /// `kafka.brokers`: a few brokers, `host:port` each; the others are found through them. Default none: the embedded log.
    pub brokers: Vec<String>,
    /// `kafka.group`: name of the consumer group that processes share partitions in. Default `kinora`.
    pub group: String,
    /// `kafka.instance`: name of this process in the group, which a restart keeps, so that its partitions wait for it.
    /// Default none.
    pub instance: Option<String>,
    /// `kafka.security`: how connections are protected. Default `plaintext`.
    pub security: Security,
    /// `kafka.mechanism`: how this process logs in, where `kafka.security` is one of `sasl_…`. Default `PLAIN`.
    pub mechanism: Mechanism,
    /// `kafka.user`, `kafka.password`: for `PLAIN` and `SCRAM-…`.
    pub user: Option<String>,
    pub password: Option<Secret>,
    /// `kafka.token_file`: file with a JWT, for `OAUTHBEARER`; read anew before the token expires.
    pub token_file: Option<PathBuf>,
    /// `kafka.ca`: PEM file of authorities that brokers' certificates must come from. Default: the system's.
    pub ca: Option<PathBuf>,
    /// `kafka.cert`, `kafka.key`: PEM files of this process's own certificate and its key. `kafka.key_password` opens the key.
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
    pub key_password: Option<Secret>,
    /// `kafka.timeout`: how long a broker may take to answer before it counts as away. Default `10s`, from `1s` to `5m`.
    pub timeout: Duration,
    /// `kafka.memory`: bytes of records that one reader fetches ahead of folding, at least 64 KiB for each of its
    /// partitions. Default `32MiB`, from `1MiB` to `2GiB`.
    pub memory: Bytes,
    /// `kafka.internal_partitions`: partitions of each internal topic that `kinora apply` makes, for projections that merge
    /// partitions; for good, and so many processes can fold one at most. Default 12, from 1 to 1,024.
    pub internal_partitions: u32,
    /// `kafka.internal_replication`: replicas of each of them. Default: as many as brokers give, from 1 to 100.
    pub internal_replication: Option<u16>,
}

/// How connections to brokers are protected; Kafka's own names, in small letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    Plaintext,
    /// TLS; brokers may ask for a certificate.
    Ssl,
    SaslPlaintext,
    SaslSsl,
}

/// How a process logs in; Kafka's own names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    Plain,
    ScramSha256,
    ScramSha512,
    OauthBearer,
}

pub(super) const KEYS: [&str; 16] = [
    "kafka.brokers",
    "kafka.group",
    "kafka.instance",
    "kafka.security",
    "kafka.mechanism",
    "kafka.user",
    "kafka.password",
    "kafka.token_file",
    "kafka.ca",
    "kafka.cert",
    "kafka.key",
    "kafka.key_password",
    "kafka.timeout",
    "kafka.memory",
    "kafka.internal_partitions",
    "kafka.internal_replication",
];

impl Default for Kafka {
    fn default() -> Kafka {
        Kafka {
            brokers: Vec::new(),
            group: "kinora".to_owned(),
            instance: None,
            security: Security::Plaintext,
            mechanism: Mechanism::Plain,
            user: None,
            password: None,
            token_file: None,
            ca: None,
            cert: None,
            key: None,
            key_password: None,
            timeout: Duration::from_secs(10),
            memory: Bytes::mib(32),
            internal_partitions: 12,
            internal_replication: None,
        }
    }
}

impl Security {
    const ALL: [Security; 4] =
        [Security::Plaintext, Security::Ssl, Security::SaslPlaintext, Security::SaslSsl];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Security::Plaintext => "plaintext",
            Security::Ssl => "ssl",
            Security::SaslPlaintext => "sasl_plaintext",
            Security::SaslSsl => "sasl_ssl",
        }
    }

    /// Whether a process logs in.
    pub fn has_login(self) -> bool {
        matches!(self, Security::SaslPlaintext | Security::SaslSsl)
    }

    /// Whether connections are encrypted.
    pub fn is_encrypted(self) -> bool {
        matches!(self, Security::Ssl | Security::SaslSsl)
    }
}

impl Mechanism {
    const ALL: [Mechanism; 4] =
        [Mechanism::Plain, Mechanism::ScramSha256, Mechanism::ScramSha512, Mechanism::OauthBearer];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Mechanism::Plain => "PLAIN",
            Mechanism::ScramSha256 => "SCRAM-SHA-256",
            Mechanism::ScramSha512 => "SCRAM-SHA-512",
            Mechanism::OauthBearer => "OAUTHBEARER",
        }
    }
}

impl Kafka {
    /// Takes one setting; `name` is what stands behind `kafka.`. `None`: there is none of that name.
    pub(super) fn set(&mut self, name: &str, given: Given<'_>) -> Option<Result<(), String>> {
        self.try_set(name, given).transpose()
    }

    fn try_set(&mut self, name: &str, given: Given<'_>) -> Result<Option<()>, String> {
        let text = |wanted: &str| value::text(given, wanted, |text| !text.is_empty());
        match name {
            "brokers" => {
                self.brokers = value::texts(given, "a list of brokers, like [\"kafka-1:9092\"]", is_broker)?
            }
            "group" => self.group = text("the name of a consumer group")?,
            "instance" => self.instance = Some(text("a name for this process")?),
            "security" => self.security = one_of(given, &Security::ALL, Security::name)?,
            "mechanism" => self.mechanism = one_of(given, &Mechanism::ALL, Mechanism::name)?,
            "user" => self.user = Some(text("the name of a user")?),
            "password" => self.password = Some(value::secret(given, "the password")?),
            "token_file" => self.token_file = Some(text("a path")?.into()),
            "ca" => self.ca = Some(text("a path")?.into()),
            "cert" => self.cert = Some(text("a path")?.into()),
            "key" => self.key = Some(text("a path")?.into()),
            "key_password" => self.key_password = Some(value::secret(given, "the password of the key")?),
            "timeout" => {
                self.timeout = value::duration(given, Duration::from_secs(1)..=Duration::from_secs(300))?;
            }
            "memory" => self.memory = value::bytes(given, Bytes::mib(1)..=Bytes::mib(2048))?,
            "internal_partitions" => {
                self.internal_partitions = u32::try_from(value::count(given, 1..=1_024)?).unwrap_or(1_024);
            }
            "internal_replication" => {
                self.internal_replication = u16::try_from(value::count(given, 1..=100)?).ok();
            }
            _ => return Ok(None),
        }
        Ok(Some(()))
    }

    /// Takes paths as they are seen from a project's directory.
    pub(super) fn seen_from(&mut self, project: &Path) {
        let paths = [&mut self.token_file, &mut self.ca, &mut self.cert, &mut self.key];
        for path in paths.into_iter().flatten() {
            *path = project.join(&*path);
        }
    }

    /// What does not fit together, each in a sentence.
    pub(super) fn faults(&self) -> Vec<String> {
        let (security, mechanism) = (self.security.name(), self.mechanism.name());
        let mut faults = Vec::new();
        let mut unused = |names: &str, reason: &str| {
            faults.push(format!("{names} would not be used: {reason}"));
        };
        let has_password = self.user.is_some() || self.password.is_some();
        if !self.security.has_login() {
            let reason = format!("`kafka.security` is {security:?}; with a login it is \"sasl_ssl\"");
            if has_password {
                unused("`kafka.user` and `kafka.password`", &reason);
            }
            if self.token_file.is_some() {
                unused("`kafka.token_file`", &reason);
            }
        }
        if !self.security.is_encrypted() && (self.ca.is_some() || self.cert.is_some() || self.key.is_some()) {
            let reason = format!("`kafka.security` is {security:?}; encrypted it is \"ssl\" or \"sasl_ssl\"");
            unused("`kafka.ca`, `kafka.cert` and `kafka.key`", &reason);
        }
        if self.cert.is_some() != self.key.is_some() {
            faults.push("`kafka.cert` and `kafka.key` go together, one of them is missing".to_owned());
        }
        if self.security.has_login() {
            let is_token = self.mechanism == Mechanism::OauthBearer;
            if is_token && self.token_file.is_none() {
                faults.push("`kafka.mechanism` \"OAUTHBEARER\" needs `kafka.token_file`".to_owned());
            }
            if !is_token && (self.user.is_none() || self.password.is_none()) {
                faults
                    .push(format!("`kafka.mechanism` {mechanism:?} needs `kafka.user` and `kafka.password`"));
            }
        }
        faults
    }
}

/// Whether a text is a host, or an address, with a port behind it.
fn is_broker(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && !"/,@".contains(c);
    !host.is_empty() && host.chars().all(plain) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

fn one_of<T: Copy>(given: Given<'_>, all: &[T], name: impl Fn(T) -> &'static str) -> Result<T, String> {
    let names: Vec<String> = all.iter().map(|one| format!("{:?}", name(*one))).collect();
    let known = |text: &str| all.iter().find(|one| name(**one).eq_ignore_ascii_case(text)).copied();
    let text = value::text(given, &format!("one of {}", names.join(", ")), |text| known(text).is_some())?;
    Ok(known(&text).expect("only names that are known come back"))
}
