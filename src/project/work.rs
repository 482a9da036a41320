//! One row's share of a batch: the row as it stands, what its records do to it, and what that has changed so far.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::event::{Event, Offset, Position, Reject, Taken, TopicPartition};
use crate::fold::State;
use crate::project::batch::{Assigned, Trail};
use crate::route::KeyCells;
use crate::schema::ColumnId;
use crate::store::{QueuedEvent, StoredRow};
use crate::value::encode::RowKey;
use crate::value::row::EncodedRow;

/// The rows that a batch touches, in the order in which it met them.
#[derive(Default)]
pub(super) struct Touched {
    pub index: FxHashMap<RowKey, usize>,
    pub rows: Vec<Work>,
    /// About how much memory the rows took when they were loaded.
    pub bytes: usize,
}

/// One row's share of a batch.
pub(super) struct Work {
    pub key: RowKey,
    pub key_cells: KeyCells,
    /// The row as it stands after the events so far; `None` until it is loaded. Kind A loads none.
    pub row: Option<Row>,
    /// Kind B: where its copies have stood; `None` until an event changes it. In a box: a batch has many rows, and the
    /// smaller each is the more of them are at hand.
    pub trail: Option<Box<Trail>>,
    /// Kind A: what its events have assigned; `None` until one has.
    pub set: Option<Box<Assigned>>,
    /// Whether an event of it waits, and so all later ones do.
    pub waits: bool,
}

impl Touched {
    /// Takes the rows out.
    pub fn take(&mut self) -> impl ExactSizeIterator<Item = Work> {
        self.index.clear();
        self.bytes = 0;
        self.rows.drain(..)
    }

    /// The place of a row.
    pub fn place(&mut self, key: RowKey, key_cells: KeyCells) -> usize {
        *self.index.entry(key).or_insert_with_key(|key| {
            let key = key.clone();
            self.rows.push(Work { key, key_cells, row: None, trail: None, set: None, waits: false });
            self.rows.len() - 1
        })
    }
}

/// What a record does to its row.
pub(super) enum Touch {
    Event(Event),
    /// What the row takes of its record, where that is several events, or one of many rows: all of it is applied, or
    /// nothing. Never empty.
    Events(Vec<Taken>),
    /// A record without a value: the row goes.
    Delete {
        position: Position,
        time_ms: i64,
    },
    /// Its row was found, but it cannot be applied.
    Rejected {
        waiting: QueuedEvent,
        type_name: Option<String>,
        reject: Reject,
    },
    /// One of these that came through an internal topic: where it stands there, and waits if it must.
    Relayed {
        place: QueuedEvent,
        meant: Box<Touch>,
    },
}

/// A record's share that is to be taken by a row.
pub(super) struct Due {
    /// Number of the row in the batch.
    pub row: usize,
    /// What its write is stamped with: the offset, or for kind C the place of the record among those of all partitions.
    pub order: Offset,
    pub touch: Touch,
}

impl Touch {
    /// One that came through an internal topic, where it stands there.
    pub fn relayed(self, place: &QueuedEvent) -> Touch {
        Touch::Relayed { place: place.clone(), meant: Box::new(self) }
    }

    /// What it does, wherever it came through.
    pub fn meant(&self) -> &Touch {
        match self {
            Touch::Relayed { meant, .. } => meant,
            touch => touch,
        }
    }

    /// The partition that the record is read from.
    pub fn at(&self) -> &TopicPartition {
        match self {
            Touch::Relayed { place, .. } => &place.at,
            Touch::Event(event) => &event.position.at,
            Touch::Events(events) => &events[0].event.position.at,
            Touch::Delete { position, .. } => &position.at,
            Touch::Rejected { waiting, .. } => &waiting.at,
        }
    }

    pub fn offset(&self) -> Offset {
        match self {
            Touch::Relayed { place, .. } => place.offset,
            Touch::Event(event) => event.position.offset,
            Touch::Events(events) => events[0].event.position.offset,
            Touch::Delete { position, .. } => position.offset,
            Touch::Rejected { waiting, .. } => waiting.offset,
        }
    }

    /// What waits where the row is parked; `order` is its place among the row's events.
    pub fn queued(&self, order: Offset) -> QueuedEvent {
        let (position, time_ms) = match self {
            Touch::Event(event) => (&event.position, event.time_ms),
            Touch::Events(events) => (&events[0].event.position, events[0].event.time_ms),
            Touch::Delete { position, time_ms } => (position, *time_ms),
            Touch::Rejected { waiting, .. } | Touch::Relayed { place: waiting, .. } => {
                return waiting.clone();
            }
        };
        QueuedEvent { at: position.at.clone(), offset: position.offset, order, time_ms }
    }

    pub fn kind(&self) -> Option<&str> {
        match self {
            Touch::Relayed { meant, .. } => meant.kind(),
            Touch::Event(event) => Some(&event.kind),
            Touch::Events(events) => Some(&events[0].event.kind),
            Touch::Delete { .. } => None,
            Touch::Rejected { type_name, .. } => type_name.as_deref(),
        }
    }
}

/// A row as the store holds it.
#[derive(Clone)]
pub(super) struct Row {
    pub state: State,
    /// `None`: nothing was ever stored under the key.
    pub offset: Option<Offset>,
}

impl Row {
    pub fn from_store(stored: Option<StoredRow>) -> Row {
        match stored {
            Some(row) => Row { offset: Some(row.offset), state: row.live.then(|| Arc::new(row.cells)) },
            None => Row { state: None, offset: None },
        }
    }

    /// The row as bytes; `None` where nothing was ever stored, so that nothing need be kept.
    pub fn encoded(&self, columns: &[ColumnId], scratch: &mut Vec<u8>) -> Option<EncodedRow> {
        Some(EncodedRow::of(self.offset?, self.state.as_deref(), columns, scratch))
    }

    pub fn decoded(row: &EncodedRow) -> Row {
        let row = row.decoded();
        Row { state: row.live.then(|| Arc::new(row.cells)), offset: Some(row.offset) }
    }
}
