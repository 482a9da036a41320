//! What a process writes to standard error, and whether it traces.
//!
//! Comes in: which lines (a filter, as `KINORA_LOG` has it), their form, and where spans go. Goes out: the subscriber of all
//! events and spans of this process. Spans are for traces alone: lines do not show them.

use std::io::IsTerminal;

use tracing_subscriber::filter::{EnvFilter, FilterExt, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

use super::traces::{self, Sending, Traces};

/// The form of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object.
    Json,
}

impl LogFormat {
    /// The word for it.
    pub fn of(word: &str) -> Option<LogFormat> {
        match word {
            "text" => Some(LogFormat::Text),
            "json" => Some(LogFormat::Json),
            _ => None,
        }
    }
}

/// What is logged where nobody says it: what an operator should see, and of some crates errors only.
const FILTER: &str = "warn,fjall=error,lsm_tree=error,notify=off,scylla=error";

/// Begins to log, and to send spans where a place for them is given. Whoever holds what this answers until the process ends
/// gives spans time to be sent.
///
/// # Errors
/// Where spans are to be sent, but cannot be: one sentence. It logs all the same.
pub fn begin(
    filter: Option<&str>,
    format: LogFormat,
    traces: Option<&Traces>,
) -> (Option<Sending>, Result<(), String>) {
    let filter = filter.and_then(|filter| EnvFilter::try_new(filter).ok());
    let filter = filter.unwrap_or_else(|| EnvFilter::new(FILTER)).and(filter_fn(|of| !of.is_span()));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).with_filter(filter).boxed(),
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .with_filter(filter)
            .boxed(),
    };
    let (sending, begun) = match traces.map(traces::begin) {
        None => (None, Ok(())),
        Some(Ok(sending)) => (Some(sending), Ok(())),
        Some(Err(reason)) => (None, Err(reason)),
    };
    let spans = sending.as_ref().map(Sending::layer);
    let layers: Vec<_> = std::iter::once(lines).chain(spans).collect();
    // A program that embeds this has its own subscriber already; then that one is right.
    let _ = tracing_subscriber::registry().with(layers).try_init();
    (sending, begun)
}
