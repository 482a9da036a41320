//! Spans that wait to be sent: so many at most, and nobody waits for them.
//!
//! Comes in: spans as they end. Goes out: batches of them, to a collector, from a thread of its own. What finds no room in the
//! queue, and what the collector does not take, is lost: counted each time, and said once until spans are taken again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry::Context;
use opentelemetry_otlp::{Protocol, RetryPolicy, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanExporter as _, SpanProcessor};

use super::collector::Collector;
use super::metrics;

/// Spans that wait at most.
pub const SPANS_MAX: usize = 4_096;
/// Spans sent at once.
const BATCH: usize = 512;
/// How long the first of a batch waits for others.
const LINGER: Duration = Duration::from_millis(500);
/// How long the collector may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// How long an ending process lets spans be sent.
const END_MAX: Duration = Duration::from_secs(2);

/// Where ended spans go.
pub(super) struct Queue {
    spans: SyncSender<Box<SpanData>>,
    /// Set where there was no room; the thread says it. Here nothing is logged: a span ends inside of what logs.
    has_overflowed: Arc<AtomicBool>,
}

/// The thread that sends them.
pub(super) struct Sender {
    is_ending: Arc<AtomicBool>,
    ended: Mutex<Receiver<()>>,
}

impl Queue {
    /// Begins to send spans of a resource to an address.
    ///
    /// # Errors
    /// The address is none, or the machine gives no thread: one sentence.
    pub fn begin(endpoint: &str, resource: &Resource) -> Result<(Queue, Sender), String> {
        let not_sent = |error: &dyn std::fmt::Display| format!("spans cannot be sent to {endpoint}: {error}");
        let mut exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Collector { answer_max: ANSWER_MAX })
            .with_retry_policy(RetryPolicy::disabled())
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(endpoint)
            .with_timeout(ANSWER_MAX)
            .build()
            .map_err(|error| not_sent(&error))?;
        exporter.set_resource(resource);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| not_sent(&error))?;
        let (spans, waiting) = sync_channel(SPANS_MAX);
        let (ended, end) = sync_channel(1);
        let (work, has_overflowed, is_ending) = Work::new(waiting);
        let send = move || {
            work.run(|batch| runtime.block_on(exporter.export(batch)));
            let _ = ended.send(());
        };
        let thread = std::thread::Builder::new().name("traces".to_owned());
        thread.spawn(send).map_err(|error| not_sent(&error))?;
        Ok((Queue { spans, has_overflowed }, Sender { is_ending, ended: Mutex::new(end) }))
    }
}

impl Sender {
    /// Waits until the spans that wait are sent, for a little while; later ones are not.
    pub fn end(&self) {
        self.is_ending.store(true, Ordering::Relaxed);
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = ended.recv_timeout(END_MAX);
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Queue")
    }
}

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if !span.span_context.is_sampled() {
            return;
        }
        match self.spans.try_send(Box::new(span)) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                metrics().spans_unqueued.inc();
                self.has_overflowed.store(true, Ordering::Relaxed);
            }
            Err(TrySendError::Disconnected(_)) => drop(metrics().spans_unqueued.inc()),
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// What the thread does.
struct Work {
    waiting: Receiver<Box<SpanData>>,
    is_ending: Arc<AtomicBool>,
    has_overflowed: Arc<AtomicBool>,
    /// Whether it was said that spans are lost.
    is_losing: bool,
}

impl Work {
    /// With what it shares with the queue, and with whoever ends it.
    fn new(waiting: Receiver<Box<SpanData>>) -> (Work, Arc<AtomicBool>, Arc<AtomicBool>) {
        let (has_overflowed, is_ending) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let shared = (Arc::clone(&has_overflowed), Arc::clone(&is_ending));
        (Work { waiting, is_ending, has_overflowed, is_losing: false }, shared.0, shared.1)
    }

    /// Sends batches until it is told to end and none waits any more.
    fn run(mut self, send: impl Fn(Vec<SpanData>) -> OTelSdkResult) {
        loop {
            let batch = self.gather();
            if !batch.is_empty() {
                self.send(batch, &send);
            } else if self.is_ending.load(Ordering::Relaxed) {
                return;
            }
        }
    }

    /// The next batch: empty where nothing came for a while.
    fn gather(&self) -> Vec<SpanData> {
        let (begun, mut batch) = (Instant::now(), Vec::new());
        while batch.len() < BATCH {
            let is_ending = self.is_ending.load(Ordering::Relaxed);
            // Short enough for an end to be seen soon.
            let left = if is_ending { Duration::ZERO } else { LINGER.saturating_sub(begun.elapsed()) };
            match self.waiting.recv_timeout(left.min(LINGER / 10)) {
                Ok(span) => batch.push(*span),
                Err(RecvTimeoutError::Disconnected) => {
                    self.is_ending.store(true, Ordering::Relaxed);
                    return batch;
                }
                Err(RecvTimeoutError::Timeout) if left.is_zero() => return batch,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
        batch
    }

    fn send(&mut self, batch: Vec<SpanData>, send: &impl Fn(Vec<SpanData>) -> OTelSdkResult) {
        let count = batch.len() as u64;
        let sent = send(batch);
        let has_overflowed = self.has_overflowed.swap(false, Ordering::Relaxed);
        let loss = match sent {
            Err(error) => {
                metrics().spans_unsent.inc_by(count);
                Some(error.to_string())
            }
            Ok(()) => has_overflowed.then(|| format!("more than {SPANS_MAX} waited to be sent")),
        };
        match (loss, self.is_losing) {
            (Some(reason), false) => tracing::warn!(reason, "Spans of traces are lost."),
            (None, true) => tracing::info!("Spans of traces are taken again."),
            _ => return,
        }
        self.is_losing = !self.is_losing;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use opentelemetry::trace::{Span as _, Tracer as _, TracerProvider as _};
    use opentelemetry_sdk::error::OTelSdkError;
    use opentelemetry_sdk::trace::SdkTracerProvider;

    use super::*;

    /// A queue whose batches go to a function, with a way to make spans.
    fn queue(
        send: impl Fn(Vec<SpanData>) -> OTelSdkResult + Send + 'static,
    ) -> (SdkTracerProvider, Arc<AtomicBool>, std::thread::JoinHandle<()>) {
        let (spans, waiting) = sync_channel(SPANS_MAX);
        let (work, has_overflowed, is_ending) = Work::new(waiting);
        let thread = std::thread::spawn(move || work.run(send));
        let provider =
            SdkTracerProvider::builder().with_span_processor(Queue { spans, has_overflowed }).build();
        (provider, is_ending, thread)
    }

    fn make(provider: &SdkTracerProvider, spans: usize) {
        let tracer = provider.tracer("test");
        (0..spans).for_each(|_| tracer.start("span").end());
    }

    #[test]
    fn every_span_is_sent_in_batches_before_it_ends() {
        let sent = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&sent);
        let (provider, is_ending, thread) = queue(move |batch| {
            into.lock().expect("nobody panics").push(batch.len());
            Ok(())
        });
        make(&provider, BATCH + 10);
        is_ending.store(true, Ordering::Relaxed);
        thread.join().expect("it ends");
        let sent = sent.lock().expect("nobody panics");
        assert_eq!(sent.iter().sum::<usize>(), BATCH + 10);
        assert!(sent.iter().all(|batch| *batch <= BATCH), "{sent:?}");
    }

    #[test]
    fn whoever_ends_a_span_never_waits_and_what_is_lost_is_counted() {
        let (held, free) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
        let both = (Arc::clone(&held), Arc::clone(&free));
        let is_first = AtomicBool::new(true);
        let (provider, is_ending, thread) = queue(move |_| {
            if is_first.swap(false, Ordering::Relaxed) {
                both.0.wait();
                both.1.wait();
            }
            Err(OTelSdkError::InternalFailure("nobody is there".to_owned()))
        });
        let lost = || (metrics().spans_unqueued.get(), metrics().spans_unsent.get());
        let before = lost();
        make(&provider, 1);
        held.wait();
        // The one that sends is held up, so these stay: the last ten find no room.
        make(&provider, SPANS_MAX + 10);
        assert_eq!(lost().0 - before.0, 10);
        free.wait();
        is_ending.store(true, Ordering::Relaxed);
        thread.join().expect("it ends");
        assert_eq!(lost().1 - before.1, 1 + SPANS_MAX as u64);
    }
}
