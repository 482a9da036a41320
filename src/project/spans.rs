//! The spans of a batch, for traces.
//!
//! Comes in: where a batch begins. Goes out: a span for the batch, and one in it for each of its steps. Steps take turns while
//! a batch is folded, so each has one span that is entered again and again: how long it worked is what it was entered for.

use tracing::{Span, info_span};

use crate::event::Position;
use crate::handler::Projection;

/// The steps of one batch: its own span ends with them.
pub(super) struct Spans {
    /// Takes more of what the log has at hand.
    pub fetch: Span,
    /// Decodes records and finds their rows.
    pub decode: Span,
    /// Reads rows from the store.
    pub load: Span,
    pub fold: Span,
    /// Writes rows, what was parked, and progress.
    pub commit: Span,
}

impl Spans {
    /// Those of a batch that begins at a position.
    pub fn of(projection: &Projection, from: &Position) -> Spans {
        let name = &*projection.name;
        let batch = info_span!(
            parent: None, "batch", otel.kind = "consumer", projection = name, topic = &*from.at.topic,
            partition = from.at.partition, offset = from.offset
        );
        Spans {
            fetch: info_span!(parent: &batch, "fetch"),
            decode: info_span!(parent: &batch, "decode"),
            load: info_span!(parent: &batch, "load"),
            fold: info_span!(parent: &batch, "fold"),
            commit: info_span!(parent: &batch, "commit"),
        }
    }
}
