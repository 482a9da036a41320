//! Takes records into the rows of a batch: routes them, loads the rows, folds or assigns, and parks what cannot be.
//!
//! Nothing here writes: what the rows have become is `batch`'s and the loop's.

use std::sync::Arc;

use smallvec::SmallVec;

use super::work::{Due, Row, Touch, Touched, Work};
use super::{Barrier, Projector, Trail};
use crate::event::{Event, Json, Offset, Record, Reject, Stage, TopicPartition};
use crate::expr::Fault;
use crate::fold::{self, ColumnSet, Undo};
use crate::handler::UpdateKind;
use crate::project::Halt;
use crate::route::{Routed, decode, route_decoded};
use crate::store::{Columns, ParkedEntry, ParkedKey, QueuedEvent};
use crate::value::encode::RowKey;
use crate::value::weight;

/// Records that are decoded before they are routed: few, since those behind one at which folding pauses are decoded again.
const DECODED_AT_ONCE: usize = 16;

/// Records that are folded before the copies of their rows are followed.
const FOLDED_AT_ONCE: usize = 16;

/// What records do to rows, by their numbers in the batch; and the record at which folding must pause.
pub(super) type Sorted = (Vec<(usize, Touch)>, Option<Barrier>);

impl Projector {
    /// Routes records to rows, in order. `before` is how many records of other partitions stand before them. Parks what has
    /// no row, queues what must wait. Ends early at an event at which folding must pause.
    pub(super) fn sort(
        &mut self,
        at: &TopicPartition,
        (records, before): (&[&Record], Offset),
        touched: &mut Touched,
    ) -> Sorted {
        let mut touches = Vec::with_capacity(records.len());
        let base_table = Arc::clone(self.plan.table(self.entity.base));
        let decoded = records
            .chunks(DECODED_AT_ONCE)
            .flat_map(|some| some.iter().zip(some.iter().map(|record| decode(record)).collect::<Vec<_>>()));
        for (record, decoded) in decoded {
            let Record { offset, timestamp_ms: time_ms, .. } = **record;
            let queued =
                || QueuedEvent { at: at.clone(), offset, order: before.saturating_add(offset), time_ms };
            if let Some(key) = self.waits_by_record_key(at, record.offset, record.key.as_deref()) {
                self.parked.enqueue(key, queued());
                continue;
            }
            let routed = route_decoded(&self.projection, &base_table, at, (record, decoded));
            if let Some(barrier) = self.sort_one(routed, (record.offset, &queued), touched, &mut touches) {
                return (touches, Some(barrier));
            }
        }
        (touches, None)
    }

    /// Adds what one record does to rows; or answers that folding must pause there. `queued` is where it waits if it must.
    #[inline]
    pub(super) fn sort_one(
        &mut self,
        routed: Routed,
        (offset, queued): (Offset, &dyn Fn() -> QueuedEvent),
        touched: &mut Touched,
        touches: &mut Vec<(usize, Touch)>,
    ) -> Option<Barrier> {
        match routed {
            Routed::Ignore => {}
            Routed::Stop(reason) => return Some(Barrier::Stop(offset, reason)),
            Routed::Range { ranges, event } => return Some(Barrier::Range(offset, ranges, event)),
            // It parks its row only after the row's events before it have been folded.
            Routed::Rejected { key: ParkedKey::Row(key), key_cells, type_name, reject, .. } => {
                let touch = Touch::Rejected { waiting: queued(), type_name, reject };
                touches.push((touched.place(key, key_cells), touch));
            }
            Routed::Rejected { key, shown, type_name, reject, .. } => {
                let entry = self.entry(queued(), &shown, type_name.as_deref(), &reject);
                self.parked.park(key, entry);
            }
            Routed::Event { key, key_cells, event } => {
                touches.push((touched.place(key, key_cells), Touch::Event(event)));
            }
            Routed::Events(rows) => touches.extend(
                rows.into_iter()
                    .map(|row| (touched.place(row.key, row.key_cells), Touch::Events(row.events))),
            ),
            Routed::Delete { key, key_cells, position, time_ms } => {
                touches.push((touched.place(key, key_cells), Touch::Delete { position, time_ms }));
            }
        }
        None
    }

    /// The parked record key that this record must wait behind, if there is one.
    pub(super) fn waits_by_record_key(
        &self,
        at: &TopicPartition,
        offset: Offset,
        key: Option<&[u8]>,
    ) -> Option<ParkedKey> {
        if self.parked.is_empty() {
            return None;
        }
        let key = ParkedKey::Record(key?.into());
        self.parked.holds(&key, at, offset).then_some(key)
    }

    pub(super) fn entry(
        &self,
        since: QueuedEvent,
        shown: &str,
        type_name: Option<&str>,
        reject: &Reject,
    ) -> ParkedEntry {
        tracing::warn!(
            projection = %self.projection.name, key = %shown, offset = since.offset, reason = %reject, "Key parked."
        );
        ParkedEntry {
            since,
            entity: self.projection.entity_name.as_ref().into(),
            shown: shown.into(),
            stage: reject.stage.name().into(),
            reason: reject.reason.as_str().into(),
            type_name: type_name.map(Into::into),
            waiting: 1,
            begun: None,
        }
    }

    /// Loads the rows that are not loaded yet, from memory or from the store: whole, as a fold must see them.
    pub(super) async fn load(&mut self, touched: &mut Touched) -> Result<(), Halt> {
        let Touched { rows, bytes, .. } = touched;
        // Those that earlier records of the batch touched are loaded, and stand in front.
        let loaded = rows.partition_point(|work| work.row.is_some());
        let mut missing = Vec::new();
        self.seen.take_if(|seen| seen.is_full());
        for work in &mut rows[loaded..] {
            let is_stored = self.seen.as_mut().is_none_or(|seen| seen.meet(&work.key));
            work.row = match is_stored {
                true => self.rows.get(&work.key).map(|row| {
                    *bytes += row.bytes().len();
                    Row::decoded(row)
                }),
                false => Some(Row::from_store(None)),
            };
            if work.row.is_none() {
                missing.push(work.key.clone());
            }
        }
        if !missing.is_empty() {
            let stored = self.tables.get(self.entity.base, &missing, Columns::All).await?;
            let lacking = rows[loaded..].iter_mut().filter(|work| work.row.is_none());
            for (work, stored) in lacking.zip(stored) {
                *bytes += stored.as_ref().map_or(0, |row| weight(&row.cells));
                work.row = Some(Row::from_store(stored));
            }
        }
        Ok(())
    }

    /// Takes records of rows, in order: applies each, or lets it wait. Several are folded before the copies of their rows are
    /// followed, so that each of the two has what it works with at hand.
    pub(super) fn take_all(&mut self, rows: &mut [Work], due: impl IntoIterator<Item = Due>) {
        let mut folded = SmallVec::new();
        for due in due {
            // What a row's next record finds is its row after all that came before.
            let is_again = folded.iter().any(|(before, _): &(Due, Undo)| before.row == due.row);
            if is_again || folded.len() == FOLDED_AT_ONCE {
                self.follow_all(rows, &mut folded);
            }
            if let Some(undo) = self.take(&mut rows[due.row], due.order, &due.touch) {
                folded.push((due, undo));
            }
        }
        self.follow_all(rows, &mut folded);
    }

    /// As [`Projector::take_all`], where the records of a row follow each other, and it is at hand.
    pub(super) fn take_each(&mut self, rows: &mut [Work], due: impl IntoIterator<Item = Due>) {
        for due in due {
            let work = &mut rows[due.row];
            if let Some(undo) = self.take(work, due.order, &due.touch) {
                self.follow_or_park(work, &due, undo);
            }
        }
    }

    /// Takes one record of a row up to its copies, which are still to be followed where something is answered.
    fn take(&mut self, work: &mut Work, order: Offset, touch: &Touch) -> Option<Undo> {
        if work.waits || self.is_parked(&work.key, touch.at(), touch.offset()) {
            self.parked.enqueue(ParkedKey::Row(work.key.clone()), touch.queued(order));
            work.waits = true;
            return None;
        }
        let taken = match (touch.meant(), self.projection.kind) {
            (Touch::Rejected { reject, .. }, _) => Err(reject.clone()),
            (touch, UpdateKind::OwnedFold | UpdateKind::MergedFold) => self.fold_row(work, order, touch),
            (touch, UpdateKind::BlindSet) => self.assign(work, touch).map(|()| None),
        };
        taken.unwrap_or_else(|reject| {
            self.park_row(work, (touch, order), &reject);
            None
        })
    }

    fn follow_all(&mut self, rows: &mut [Work], folded: &mut SmallVec<[(Due, Undo); FOLDED_AT_ONCE]>) {
        for (due, undo) in folded.drain(..) {
            self.follow_or_park(&mut rows[due.row], &due, undo);
        }
    }

    fn follow_or_park(&mut self, work: &mut Work, due: &Due, undo: Undo) {
        if let Err(reject) = self.follow(work, due.order, undo) {
            self.park_row(work, (&due.touch, due.order), &reject);
        }
    }

    pub(super) fn is_parked(&self, key: &RowKey, at: &TopicPartition, offset: Offset) -> bool {
        !self.parked.is_empty() && self.parked.holds_row(key, at, offset)
    }

    /// Folds a record of kind B or C into its row, and follows the row's copies. `order` is what its write is stamped with:
    /// the offset, or for kind C the place of the record among those of all partitions.
    pub(super) fn fold(&self, work: &mut Work, order: Offset, touch: &Touch) -> Result<(), Reject> {
        match self.fold_row(work, order, touch)? {
            Some(undo) => self.follow(work, order, undo),
            None => Ok(()),
        }
    }

    /// Folds a record into its row; answers what takes it back, unless nothing has changed.
    fn fold_row(&self, work: &mut Work, order: Offset, touch: &Touch) -> Result<Option<Undo>, Reject> {
        let row = work.row.as_mut().expect("rows are loaded before their records are folded");
        // Applied before: a redelivery is skipped before it is evaluated (B1).
        if row.offset.is_some_and(|applied| order <= applied) {
            return Ok(None);
        }
        let begun = work.trail.is_none().then(|| Trail::begin(&self.copies, &row.state));
        let undo = match touch {
            Touch::Event(event) => fold::apply(&self.projection, &work.key_cells, &mut row.state, event)?,
            Touch::Events(events) => {
                fold::apply_all(&self.projection, &work.key_cells, &mut row.state, events)?
            }
            Touch::Delete { .. } => fold::delete(&mut row.state),
            Touch::Rejected { reject, .. } => return Err(reject.clone()),
            Touch::Relayed { meant, .. } => return self.fold_row(work, order, meant),
        };
        match (undo, begun) {
            (Some(undo), Some(Err(fault))) => {
                undo.take_back(&mut row.state);
                Err(unplaced(&fault))
            }
            (Some(undo), Some(Ok(trail))) => {
                work.trail = Some(Box::new(trail));
                Ok(Some(undo))
            }
            (undo, _) => Ok(undo),
        }
    }

    /// Follows the copies of a row that a record has changed. On an error it is as it was before the record.
    fn follow(&self, work: &mut Work, order: Offset, undo: Undo) -> Result<(), Reject> {
        let row = work.row.as_mut().expect("a record was folded into it");
        let trail = work.trail.as_mut().expect("it was begun when the record was folded");
        let mut changed = ColumnSet::default();
        undo.add_changed(self.columns.len(), &mut changed);
        match trail.advance(&self.copies, order, &row.state, &changed) {
            Ok(()) => {
                row.offset = Some(order);
                Ok(())
            }
            Err(fault) => {
                undo.take_back(&mut row.state);
                Err(unplaced(&fault))
            }
        }
    }

    /// Takes the cells that a record of kind A assigns, whatever is stored (A1).
    pub(super) fn assign(&self, work: &mut Work, touch: &Touch) -> Result<(), Reject> {
        // A projection whose tombstones delete rows is of kind B.
        let mut assigned = Vec::new();
        let mut assign = |event: &Event, element: Option<&Json>| {
            let cells = fold::assignments(&self.projection, &work.key_cells, event, element)?;
            assigned.extend(cells);
            Ok::<_, Reject>(())
        };
        match touch {
            Touch::Event(event) => assign(event, None)?,
            Touch::Events(events) => {
                events.iter().try_for_each(|taken| assign(&taken.event, taken.element.as_ref()))?;
            }
            _ => return Ok(()),
        }
        if !assigned.is_empty() {
            let set = work.set.get_or_insert_default();
            set.cells.extend(assigned.into_iter().flatten());
            set.set_at = Some(touch.offset());
        }
        Ok(())
    }

    fn park_row(&mut self, work: &mut Work, (touch, order): (&Touch, Offset), reject: &Reject) {
        let shown = self.projection.shown_key(&work.key_cells);
        let entry = self.entry(touch.queued(order), &shown, touch.kind(), reject);
        self.parked.park(ParkedKey::Row(work.key.clone()), entry);
        work.waits = true;
    }
}

/// Where a row's copy stands cannot be told.
fn unplaced(fault: &Fault) -> Reject {
    Reject::new(Stage::Fold, format!("`where`: {}", fault.0))
}
