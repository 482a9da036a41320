//! Spans for OpenTelemetry: who makes them, and which trace a request belongs to.
//!
//! Comes in: where spans go, and headers of requests. Goes out: a layer that turns spans of this program into OpenTelemetry's,
//! and a thread that sends them. Where nobody asked for traces, a span costs a look at one number.

use opentelemetry::KeyValue;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::resource::{EnvResourceDetector, TelemetryResourceDetector};
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::{Layer, Registry};

use super::queue::{Queue, Sender};

/// Where spans go.
#[derive(Clone, Debug, PartialEq)]
pub struct Traces {
    /// `http://host:port/path` of a collector.
    pub endpoint: String,
    /// Share of the traces that begin here, from 0 to 1.
    pub share: f64,
    /// The name of this process.
    pub service: String,
}

/// Spans are sent while this is held; dropped, those that wait are sent, for a little while.
pub struct Sending {
    provider: SdkTracerProvider,
    sender: Sender,
}

/// Begins to send spans.
pub(super) fn begin(traces: &Traces) -> Result<Sending, String> {
    let resource = Resource::builder_empty()
        .with_service_name(traces.service.clone())
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_detectors(&[Box::new(TelemetryResourceDetector), Box::new(EnvResourceDetector::new())])
        .build();
    let (queue, sender) = Queue::begin(&traces.endpoint, &resource)?;
    let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(traces.share)));
    let provider = SdkTracerProvider::builder()
        .with_resource(resource)
        .with_sampler(sampler)
        .with_span_processor(queue)
        .build();
    Ok(Sending { provider, sender })
}

impl Sending {
    /// What makes OpenTelemetry's spans of ours.
    pub(super) fn layer(&self) -> Box<dyn Layer<Registry> + Send + Sync> {
        let layer =
            tracing_opentelemetry::layer().with_location(false).with_threads(false).with_target(false);
        // Spans of this program alone. What it logs stays out of them: lines may have keys of rows.
        let is_ours = filter_fn(|of| of.is_span() && of.target().starts_with("kinora"));
        layer.with_tracer(self.provider.tracer("kinora")).with_filter(is_ours).boxed()
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.sender.end();
    }
}

/// Makes a span part of the trace that a request belongs to, by its W3C headers. What cannot be read is as if it were not there.
pub fn continue_trace(span: &tracing::Span, traceparent: Option<&str>, tracestate: Option<&str>) {
    if !span.is_disabled()
        && let Some(parent) = traceparent
    {
        let context = TraceContextPropagator::new().extract(&Headers { parent, state: tracestate });
        // Without OpenTelemetry's layer there is no trace to be part of.
        let _ = span.set_parent(context);
    }
}

struct Headers<'h> {
    parent: &'h str,
    state: Option<&'h str>,
}

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            "traceparent" => Some(self.parent),
            "tracestate" => self.state,
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent", "tracestate"]
    }
}
