//! What a record that waited does to its rows.
//!
//! Comes in: positions of a queue. Goes out: the records behind them, read in runs, and what routing makes of each: for one
//! row, or for all rows that it has.

use std::collections::VecDeque;
use std::sync::Arc;

use super::retry::Touching;
use super::work::Touch;
use super::{FETCH_BYTES, Halt, Projector};
use crate::event::{Offset, Record, Reject, Stage, Taken, TopicPartition};
use crate::route::{KeyCells, Routed, RowRange, route};
use crate::source::{Reader, Source, SourceError};
use crate::store::{Bound, Columns, ParkedKey, QueuedEvent, Scan};
use crate::value::encode::RowKey;

/// Bytes read at once where the next event of a queue is not at hand.
const READ_BYTES: usize = 64 << 10;

/// Records of queues, in the order of offsets of a partition.
pub(super) struct Log<'s> {
    source: &'s dyn Source,
    open: Option<Open>,
    /// Bytes of the records that were taken.
    pub bytes: usize,
}

struct Open {
    at: TopicPartition,
    reader: Box<dyn Reader>,
    records: VecDeque<Record>,
}

impl<'s> Log<'s> {
    pub fn new(source: &'s dyn Source) -> Log<'s> {
        Log { source, open: None, bytes: 0 }
    }

    /// The record at a position; `None` where the log no longer has it.
    async fn record(&mut self, at: &TopicPartition, offset: Offset) -> Result<Option<Record>, SourceError> {
        let known = self.open.take().filter(|open| open.at == *at);
        let mut open = match known {
            Some(open) => open,
            None => match self.source.read(&[(at.clone(), offset)]).await {
                Ok(reader) => Open { at: at.clone(), reader, records: VecDeque::new() },
                Err(SourceError::Gone(_)) => return Ok(None),
                Err(error) => return Err(error),
            },
        };
        let found = open.find(self.source, offset).await?;
        self.bytes += found.as_ref().map_or(0, Record::len_bytes);
        self.open = Some(open);
        Ok(found)
    }
}

impl Open {
    async fn find(&mut self, source: &dyn Source, offset: Offset) -> Result<Option<Record>, SourceError> {
        let passed = self.records.partition_point(|record| record.offset < offset);
        self.records.drain(..passed);
        if self.records.is_empty() {
            match self.reader.seek(&self.at, offset) {
                Err(SourceError::Gone(_)) => return Ok(None),
                sought => sought?,
            }
            match self.reader.more(READ_BYTES.min(FETCH_BYTES))? {
                Some(fetched) => self.records.extend(fetched.records),
                // A log far away has not answered yet.
                None => return source.fetch(&self.at, offset).await,
            }
        }
        Ok(self.records.front().filter(|record| record.offset == offset).cloned())
    }
}

/// What a record means to a row that waits for it.
pub(super) enum Meant {
    Touch(KeyCells, Touch),
    /// The row is one of many that go.
    Range(Taken),
    Nothing,
    /// It still cannot be applied; its type, where it could be read.
    Refused(Reject, Option<String>),
}

impl Projector {
    /// What a waiting event means to one row.
    pub(super) async fn meaning(
        &mut self,
        key: &RowKey,
        place: &QueuedEvent,
        log: &mut Log<'_>,
    ) -> Result<Meant, Halt> {
        let Some(routed) = self.routed(place, log, true).await? else { return Ok(gone()) };
        Ok(match routed {
            Routed::Event { key: found, key_cells, event } if found == *key => {
                Meant::Touch(key_cells, self.placed(Touch::Event(event), place))
            }
            Routed::Delete { key: found, key_cells, position, time_ms } if found == *key => {
                Meant::Touch(key_cells, self.placed(Touch::Delete { position, time_ms }, place))
            }
            Routed::Events(rows) => match rows.into_iter().find(|row| row.key == *key) {
                Some(row) => Meant::Touch(row.key_cells, self.placed(Touch::Events(row.events), place)),
                None => Meant::Nothing,
            },
            Routed::Range { ranges, event } if ranges.iter().any(|range| range.has(key)) => {
                Meant::Range(Taken { event, element: None })
            }
            Routed::Rejected { type_name, reject, .. } => Meant::Refused(reject, type_name),
            Routed::Stop(reason) => Meant::Refused(Reject::new(Stage::Route, reason), None),
            // The definitions say by now that it is no event of this row.
            Routed::Ignore | Routed::Event { .. } | Routed::Delete { .. } | Routed::Range { .. } => {
                Meant::Nothing
            }
        })
    }

    /// What a record that had no row does to rows.
    pub(super) async fn touches(
        &mut self,
        place: &QueuedEvent,
        log: &mut Log<'_>,
    ) -> Result<Result<Vec<Touching>, Meant>, Halt> {
        let Some(routed) = self.routed(place, log, false).await? else { return Ok(Err(gone())) };
        Ok(Ok(match routed {
            Routed::Ignore => Vec::new(),
            Routed::Event { key, key_cells, event } => {
                vec![Touching::Row(key, key_cells, self.placed(Touch::Event(event), place))]
            }
            Routed::Delete { key, key_cells, position, time_ms } => {
                vec![Touching::Row(key, key_cells, self.placed(Touch::Delete { position, time_ms }, place))]
            }
            Routed::Events(rows) => rows
                .into_iter()
                .map(|row| {
                    let touch = self.placed(Touch::Events(row.events), place);
                    Touching::Row(row.key, row.key_cells, touch)
                })
                .collect(),
            Routed::Range { ranges, event } => {
                vec![Touching::Range(ranges, Taken { event, element: None })]
            }
            Routed::Rejected { key: ParkedKey::Row(key), key_cells, type_name, reject, .. } => {
                let touch = Touch::Rejected { waiting: place.clone(), type_name, reject };
                vec![Touching::Row(key, key_cells, touch)]
            }
            Routed::Rejected { type_name, reject, .. } => {
                return Ok(Err(Meant::Refused(reject, type_name)));
            }
            Routed::Stop(reason) => {
                return Ok(Err(Meant::Refused(Reject::new(Stage::Route, reason), None)));
            }
        }))
    }

    /// What a record that waits is by now; `is_row`: for one row. `None`: the log no longer has it.
    async fn routed(
        &mut self,
        place: &QueuedEvent,
        log: &mut Log<'_>,
        is_row: bool,
    ) -> Result<Option<Routed>, Halt> {
        let Some(record) = log.record(&place.at, place.offset).await? else { return Ok(None) };
        if self.is_relayed {
            return self.route_relayed(place, &record, is_row).map(Some);
        }
        let base = Arc::clone(self.plan.table(self.entity.base));
        Ok(Some(route(&self.projection, &base, &place.at, &record)))
    }

    /// What a record does to a row, with its place in what is folded where that is not its own.
    pub(super) fn placed(&self, touch: Touch, place: &QueuedEvent) -> Touch {
        if self.is_relayed { touch.relayed(place) } else { touch }
    }

    /// Whether a row of ranges has gone on past a place in the order.
    pub(super) async fn has_later_rows(&mut self, ranges: &[RowRange], order: Offset) -> Result<bool, Halt> {
        for range in ranges {
            let all = range.clustering.is_empty();
            let bound = if all { Bound::Unbounded } else { Bound::Included(&range.clustering) };
            let mut after: Option<Vec<u8>> = None;
            loop {
                let rows = self
                    .tables
                    .scan(Scan {
                        table: self.entity.base,
                        partition: &range.partition,
                        from: after.as_deref().map_or(bound, Bound::Excluded),
                        to: bound,
                        reverse: false,
                        limit: super::CHUNK_RECORDS,
                        columns: Columns::All,
                        at_ms: None,
                    })
                    .await?;
                if rows.iter().any(|row| row.offset > order) {
                    return Ok(true);
                }
                let Some(last) = rows.last().filter(|_| rows.len() == super::CHUNK_RECORDS) else { break };
                after = Some(last.key.clustering().to_vec());
            }
        }
        Ok(false)
    }
}

fn gone() -> Meant {
    let reason = "the log no longer has the event; skip it, or drop the key";
    Meant::Refused(Reject::new(Stage::Decode, reason), None)
}
