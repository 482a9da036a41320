//! `[log]` and `[telemetry]`: what a process tells of itself, and to whom. Comes in: one setting at a time, then what
//! OpenTelemetry's own variables say. Goes out: [`Log`] and [`Telemetry`].

use super::value::{self, Given};
use crate::observe::{LogFormat, Traces};

/// `[log]`: lines on standard error. `KINORA_LOG` says which.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// `log.format`: `text`, for people, which is the default; or `json`, one object a line.
    pub format: LogFormat,
}

/// `[telemetry]`: traces.
#[derive(Clone, Debug, PartialEq)]
pub struct Telemetry {
    /// `telemetry.traces`: where spans are sent, by OTLP over HTTP: `http://` with host, port, and a path, which is `/v1/traces`
    /// where none is said; or `off`. Default: what `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` or `OTEL_EXPORTER_OTLP_ENDPOINT`
    /// says, else none are.
    pub traces: Option<Endpoint>,
    /// `telemetry.share`: share of the traces that begin here, from 0 to 1. Requests that come with a `traceparent` are
    /// traced where it says so. Default 1.
    pub share: f64,
    /// `telemetry.service`: name of this process in traces. Default: what `OTEL_SERVICE_NAME` says, else `kinora`.
    pub service: Option<String>,
}

/// Where spans are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    Off,
    /// A whole address, with a path.
    At(String),
}

impl Default for Telemetry {
    fn default() -> Telemetry {
        Telemetry { traces: None, share: 1.0, service: None }
    }
}

pub(super) const KEYS: [&str; 4] = ["log.format", "telemetry.traces", "telemetry.share", "telemetry.service"];

/// The path that collectors take traces at.
const PATH: &str = "/v1/traces";

impl Telemetry {
    /// Where traces are sent, and how; `None` where they are not.
    pub fn sending(&self) -> Option<Traces> {
        let Some(Endpoint::At(endpoint)) = &self.traces else { return None };
        let service = self.service.clone().unwrap_or_else(|| "kinora".to_owned());
        Some(Traces { endpoint: endpoint.clone(), share: self.share, service })
    }

    /// Takes from OpenTelemetry's variables what no setting says. What they say is another tool's matter, so what cannot be
    /// used here is a sentence only.
    pub(super) fn fill(&mut self, variables: &[(String, String)]) -> Vec<String> {
        let said = |wanted: &str| variables.iter().find(|(name, text)| name == wanted && !text.is_empty());
        if let (None, Some((_, name))) = (&self.service, said("OTEL_SERVICE_NAME")) {
            self.service = Some(name.clone());
        }
        let general = said("OTEL_EXPORTER_OTLP_ENDPOINT")
            .map(|(name, base)| (name, format!("{}{PATH}", base.trim_end_matches('/'))));
        let special = said("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").map(|(name, text)| (name, text.clone()));
        let (None, Some((name, text))) = (&self.traces, special.or(general)) else { return Vec::new() };
        match endpoint(&text) {
            Ok(endpoint) => {
                self.traces = Some(endpoint);
                Vec::new()
            }
            Err(reason) => vec![format!("the variable {name}: {reason}")],
        }
    }
}

/// Takes one setting. `None`: there is none of that name.
pub(super) fn set(
    (log, telemetry): (&mut Log, &mut Telemetry),
    key: &str,
    given: Given<'_>,
) -> Option<Result<(), String>> {
    let done = match key {
        "log.format" => value::text(given, "\"text\" or \"json\"", |text| LogFormat::of(text).is_some())
            .map(|text| log.format = LogFormat::of(&text).unwrap_or_default()),
        "telemetry.traces" => value::text(given, "an address, or \"off\"", |_| true)
            .and_then(|text| endpoint(&text))
            .map(|endpoint| telemetry.traces = Some(endpoint)),
        "telemetry.share" => value::share(given).map(|share| telemetry.share = share),
        "telemetry.service" => value::text(given, "a name", |text| !text.trim().is_empty())
            .map(|service| telemetry.service = Some(service)),
        _ => return None,
    };
    Some(done)
}

fn endpoint(text: &str) -> Result<Endpoint, String> {
    if text == "off" {
        return Ok(Endpoint::Off);
    }
    let wanted = "expected \"http://host:port\", with a path where it is not /v1/traces, or \"off\"";
    if text.starts_with("https://") {
        return Err(format!(
            "{text:?} is encrypted, which is not spoken to collectors here; {wanted}: a collector on this host passes spans on"
        ));
    }
    let rest =
        text.strip_prefix("http://").ok_or_else(|| format!("{text:?} is no such address; {wanted}"))?;
    let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse::<u16>().ok()),
        _ => (authority, Some(80)),
    };
    let plain =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>@\\^`{|}".contains(&byte));
    if host.is_empty() || port.is_none_or(|port| port == 0) || !plain(rest) {
        return Err(format!("{text:?} is no such address; {wanted}"));
    }
    let path = if path.is_empty() || path == "/" { PATH } else { path };
    Ok(Endpoint::At(format!("http://{authority}{path}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_gets_the_usual_path() {
        for (text, whole) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("http://collector/", "http://collector/v1/traces"),
            ("http://[::1]:4318/x/y", "http://[::1]:4318/x/y"),
        ] {
            assert_eq!(endpoint(text), Ok(Endpoint::At(whole.to_owned())));
        }
        assert_eq!(endpoint("off"), Ok(Endpoint::Off));
        for text in [
            "",
            "collector:4318",
            "http://",
            "http://:4318",
            "http://a:0",
            "http://a:x",
            "http://a b",
            "http://u@a",
        ] {
            assert!(endpoint(text).unwrap_err().contains("expected \"http://host:port\""), "{text}");
        }
        assert!(endpoint("https://a").unwrap_err().contains("a collector on this host passes spans on"));
    }

    #[test]
    fn what_a_setting_says_goes_before_the_common_variables() {
        let variable = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        let general = variable("OTEL_EXPORTER_OTLP_ENDPOINT", "http://general:4318/");
        let special = variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://special:4318/spans");
        let service = variable("OTEL_SERVICE_NAME", "shop");
        let filled = |traces: Option<Endpoint>, variables: &[(String, String)]| {
            let mut telemetry = Telemetry { traces, ..Telemetry::default() };
            let faults = telemetry.fill(variables);
            (telemetry.sending().map(|traces| (traces.endpoint, traces.service)), faults)
        };
        let is =
            |endpoint: &str, service: &str| (Some((endpoint.to_owned(), service.to_owned())), Vec::new());
        assert_eq!(filled(None, &[]), (None, Vec::new()));
        assert_eq!(
            filled(None, std::slice::from_ref(&general)),
            is("http://general:4318/v1/traces", "kinora")
        );
        assert_eq!(
            filled(None, &[general.clone(), special, service]),
            is("http://special:4318/spans", "shop")
        );
        assert_eq!(filled(Some(Endpoint::Off), &[general]), (None, Vec::new()));
        let (none, faults) = filled(None, &[variable("OTEL_EXPORTER_OTLP_ENDPOINT", "https://a")]);
        assert!(
            none.is_none() && faults[0].starts_with("the variable OTEL_EXPORTER_OTLP_ENDPOINT: "),
            "{faults:?}"
        );
    }
}
