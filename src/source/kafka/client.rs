//! Clients of librdkafka: how they are set up, and what they tell of their connections.
//!
//! Comes in: settings. Goes out: consumers, and errors in the words of this project, with the setting to look at. librdkafka
//! connects in the background and tells later what went wrong, on a queue; [`Context`] keeps the last of it, so that a
//! request that got no answer can say why.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::config::{Kafka as Settings, Mechanism, Secret};
use crate::source::SourceError;

/// A consumer as this room uses it.
pub(super) type Consumer = BaseConsumer<Context>;

/// What a client tells of its connections, kept until somebody asks. A clone hears the same.
#[derive(Clone)]
pub(super) struct Context {
    settings: Arc<Settings>,
    told: Arc<Mutex<Told>>,
}

#[derive(Default)]
struct Told {
    trouble: Option<Trouble>,
    /// Whether no broker at all is connected.
    is_alone: bool,
}

/// What is wrong with a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Trouble {
    Login(String),
    Encryption(String),
    Host(String),
    Away(String),
}

impl Context {
    pub fn new(settings: &Arc<Settings>) -> Context {
        Context { settings: Arc::clone(settings), told: Arc::default() }
    }

    /// Whether waiting longer for an answer has no use: no broker can be reached, or the login is refused.
    pub fn is_cut_off(&self, has_waited: bool) -> bool {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(told.trouble, Some(Trouble::Login(_))) || (told.is_alone && has_waited)
    }

    /// Forgets what was told: a broker has answered since.
    pub fn answered(&self) {
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = Told::default();
    }

    /// Why no broker is connected, once for each time that it is told.
    pub fn take_outage(&self) -> Option<SourceError> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::take(&mut told.is_alone) && !matches!(told.trouble, Some(Trouble::Login(_))) {
            return None;
        }
        let trouble = told.trouble.take().unwrap_or_else(|| Trouble::Away("no connection".to_owned()));
        // A login that is refused now may have been taken before: whoever reads already goes on trying.
        Some(match self.sentence(&trouble) {
            SourceError::Refused(reason) => SourceError::Unavailable(reason),
            other => other,
        })
    }

    /// Why a request got no answer.
    pub fn why(&self, code: Option<RDKafkaErrorCode>) -> SourceError {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        match (&told.trouble, code) {
            (Some(trouble), _) => self.sentence(trouble),
            (None, Some(code)) => self.sentence(&trouble(code, &code.to_string())),
            (None, None) => self.sentence(&Trouble::Away("no answer in time".to_owned())),
        }
    }

    fn sentence(&self, trouble: &Trouble) -> SourceError {
        let Settings { brokers, security, mechanism, .. } = &*self.settings;
        let (brokers, security) = (brokers.join(", "), security.name());
        match trouble {
            Trouble::Login(reason) => SourceError::Refused(match mechanism {
                Mechanism::OauthBearer => format!(
                    "Kafka at {brokers} refused the token of `kafka.token_file`: {reason}; put one there that it takes"
                ),
                _ => format!(
                    "Kafka at {brokers} refused the login of {:?} by {}: {reason}; correct `kafka.user`, \
                     `kafka.password` or `kafka.mechanism`",
                    self.settings.user.as_deref().unwrap_or(""),
                    mechanism.name()
                ),
            }),
            Trouble::Encryption(reason) => SourceError::Refused(format!(
                "no encrypted connection to Kafka at {brokers} (`kafka.security` is {security:?}): {reason}; check \
                 `kafka.ca`, `kafka.cert` and `kafka.key`"
            )),
            Trouble::Host(reason) => SourceError::Unavailable(format!(
                "no address is known for Kafka at {brokers}: {reason}; correct `kafka.brokers`"
            )),
            Trouble::Away(reason) => SourceError::Unavailable(format!(
                "Kafka at {brokers} does not answer (`kafka.security` is {security:?}): {reason}; check \
                 `kafka.brokers`, `kafka.security`, and that it runs"
            )),
        }
    }
}

/// What an error code says of connections.
fn trouble(code: RDKafkaErrorCode, reason: &str) -> Trouble {
    let reason = reason.to_owned();
    match code {
        RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed => {
            Trouble::Login(reason)
        }
        RDKafkaErrorCode::SSL => Trouble::Encryption(reason),
        RDKafkaErrorCode::Resolve => Trouble::Host(reason),
        _ => Trouble::Away(reason),
    }
}

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // What concerns the outcome of a request is told as an error too.
        tracing::debug!(?level, facility, message, "librdkafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "librdkafka");
        let Some(code) = error.rdkafka_error_code() else { return };
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        match code {
            RDKafkaErrorCode::AllBrokersDown => told.is_alone = true,
            // A partition's own matters come with its records.
            RDKafkaErrorCode::PartitionEOF | RDKafkaErrorCode::AutoOffsetReset => {}
            code => {
                let new = trouble(code, reason);
                // A connection that is cut after a refused login says less than the refusal.
                if !matches!((&told.trouble, &new), (Some(Trouble::Login(_)), Trouble::Away(_))) {
                    told.trouble = Some(new);
                }
            }
        }
    }

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        let path = self.settings.token_file.as_ref().ok_or("`kafka.token_file` is not set")?;
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("`kafka.token_file` {}: {error}", path.display()))?;
        super::token::read(text.trim())
            .map_err(|reason| format!("`kafka.token_file` {}: {reason}", path.display()).into())
    }
}

impl ConsumerContext for Context {}

/// What every client is set up with.
///
/// # Errors
/// A file that a setting names cannot be read.
pub(super) fn config(settings: &Settings) -> Result<ClientConfig, SourceError> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", settings.brokers.join(","));
    config.set("client.id", "kinora");
    config.set("security.protocol", settings.security.name());
    config.set("socket.timeout.ms", settings.timeout.as_millis().to_string());
    config.set("socket.connection.setup.timeout.ms", settings.timeout.as_millis().to_string());
    config.set("reconnect.backoff.ms", "50");
    config.set("reconnect.backoff.max.ms", "5000");
    if settings.security.has_login() {
        config.set("sasl.mechanism", settings.mechanism.name());
        if settings.mechanism != Mechanism::OauthBearer {
            config.set("sasl.username", settings.user.as_deref().unwrap_or(""));
            config.set("sasl.password", text(settings.password.as_ref(), "kafka.password")?);
        }
    }
    if settings.security.is_encrypted() {
        // `probe` looks where systems keep their authorities.
        let ca = settings.ca.as_deref().map(|path| readable(path, "kafka.ca")).transpose()?;
        config.set("ssl.ca.location", ca.unwrap_or_else(|| "probe".to_owned()));
        if let (Some(cert), Some(key)) = (&settings.cert, &settings.key) {
            config.set("ssl.certificate.location", readable(cert, "kafka.cert")?);
            config.set("ssl.key.location", readable(key, "kafka.key")?);
        }
        if settings.key_password.is_some() {
            config.set("ssl.key.password", text(settings.key_password.as_ref(), "kafka.key_password")?);
        }
    }
    Ok(config)
}

fn text(secret: Option<&Secret>, setting: &str) -> Result<String, SourceError> {
    let bytes = secret.map(|secret| secret.0.clone()).unwrap_or_default();
    String::from_utf8(bytes).map_err(|_| SourceError::Refused(format!("`{setting}` is not UTF-8")))
}

fn readable(path: &Path, setting: &str) -> Result<String, SourceError> {
    let refused = |reason: String| {
        SourceError::Refused(format!("`{setting}` {}: {reason}; name a PEM file", path.display()))
    };
    std::fs::File::open(path).map_err(|error| refused(error.to_string()))?;
    path.to_str().map(str::to_owned).ok_or_else(|| refused("the path is not UTF-8".to_owned()))
}

/// A client of a configuration.
///
/// # Errors
/// librdkafka refuses the configuration: a certificate that cannot be read, an unknown host in a wrong form.
pub(super) fn create<C: FromClientConfigAndContext<Context>>(
    config: &ClientConfig,
    context: Context,
) -> Result<C, SourceError> {
    C::from_config_and_context(config, context).map_err(|error| match error {
        KafkaError::ClientCreation(reason) if reason.contains("ssl.") || reason.contains("SSL") => {
            SourceError::Refused(format!(
                "the settings of encryption cannot be used: {reason}; check `kafka.ca`, `kafka.cert`, `kafka.key` and \
                 `kafka.key_password`"
            ))
        }
        error => SourceError::Refused(format!("the settings of `[kafka]` cannot be used: {error}")),
    })
}
