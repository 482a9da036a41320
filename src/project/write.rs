//! Makes writes of rows, and commits them with what was parked and how far the log was read.
//!
//! Comes in: rows with what their events have made of them. Goes out: one batch for the store, and the rows that are worth
//! remembering. What the writes of one row are, `batch` says.

use std::sync::Arc;

use tracing::Instrument;

use super::activity::Stage;
use super::work::{Row, Touched, Work};
use super::{Folded, Halt, Projector, batch, park};
use crate::event::Offset;
use crate::plan::TablePlan;
use crate::store::{Batch, Profile, ProgressMark, RowCells};
use crate::value::encode::RowKey;
use crate::value::row::EncodedRow;

/// What a batch writes so far.
#[derive(Default)]
pub(super) struct Made {
    batch: Batch,
    /// Rows as they will stand, for memory.
    remembered: Vec<(RowKey, EncodedRow)>,
    /// About how much memory the rows take.
    pub bytes: usize,
    /// Room to encode a row in.
    scratch: Vec<u8>,
}

impl Projector {
    /// Commits what was folded, and the partition's progress with it.
    pub(super) async fn commit(&mut self, folded: &mut Folded) -> Result<(), Halt> {
        let place = folded.place;
        if folded.next == self.places[place].next {
            return Ok(());
        }
        self.activity.at(folded.next);
        let relayed = folded.passage.as_ref().map(|passage| passage.relayed.clone());
        let base = self.places[place].base;
        let mut mark = self.mark(place, (folded.next, folded.end), folded.time_ms);
        mark.relayed = relayed.clone().map(Arc::new);
        let begins_at = Some(self.places[place].next);
        let mut made = std::mem::take(&mut folded.made);
        self.finish_last(&mut folded.touched, base, &mut made);
        let commit = folded.spans.commit.clone();
        self.send(made, vec![mark], begins_at).instrument(commit).await?;
        self.places[place].next = folded.next;
        self.places[place].time_ms = folded.time_ms;
        self.places[place].relayed = relayed;
        self.counts.batch(&self.places[place].at.topic, std::mem::take(&mut folded.tally));
        Ok(())
    }

    /// Writes rows, what was parked, and progress as one batch.
    pub(super) async fn write(
        &mut self,
        touched: &mut Touched,
        base: i64,
        progress: Vec<ProgressMark>,
        begins_at: Option<Offset>,
    ) -> Result<(), Halt> {
        let mut made = Made::default();
        self.finish_last(touched, base, &mut made);
        self.send(made, progress, begins_at).await
    }

    async fn send(
        &mut self,
        made: Made,
        progress: Vec<ProgressMark>,
        begins_at: Option<Offset>,
    ) -> Result<(), Halt> {
        self.activity.enter(Stage::Committing);
        let Made { mut batch, remembered, .. } = made;
        (batch.progress, batch.begins_at, batch.owners) = (progress, begins_at, Arc::clone(&self.owners));
        self.check_parked()?;
        batch.parked = self.parked.take_changes();
        // A batch that is applied whole is known whole.
        self.in_doubt = !batch.parked.is_empty() && self.tables.profile() == Profile::Stamped;
        let written = self.counts.written(&batch);
        self.tables.commit(batch).await?;
        self.counts.committed(&self.plan, written);
        self.in_doubt = false;
        self.parked.committed(&self.tables.parked());
        for (key, row) in remembered {
            self.rows.put(key, row);
        }
        Ok(())
    }

    /// Refuses a batch that parks one key too many, before anything of it is written.
    fn check_parked(&self) -> Result<(), Halt> {
        let (count, max) = (self.parked.len(), self.settings.parked_keys_max);
        let Some(last) = self.parked.last_parked() else { return Ok(()) };
        if count > max {
            return Err(Halt::TooManyParked { count, max, reason: last.reason.to_string() });
        }
        let (count, max) = (self.parked.most_of_a_window(), self.settings.parked_share_max);
        if count as f64 > max * park::WINDOW_EVENTS as f64 {
            return Err(Halt::TooLargeShareParked { count, max, reason: last.reason.to_string() });
        }
        Ok(())
    }

    /// Adds the writes of all rows of a batch, and remembers those that it met last.
    fn finish_last(&mut self, touched: &mut Touched, base: i64, made: &mut Made) {
        let forgotten = touched.rows.len().saturating_sub(self.settings.cached_rows_max);
        let rows = touched.rows.len();
        made.batch.base.reserve(rows);
        made.batch.derived.reserve(rows);
        self.finish(touched, base, made, |place, _| place >= forgotten);
    }

    /// Takes the rows out, and adds their writes to what is made. Of those that have changed the ones that are to be
    /// remembered are, by their place among these and how they stand; the others are forgotten.
    pub(super) fn finish(
        &mut self,
        touched: &mut Touched,
        base: i64,
        made: &mut Made,
        is_remembered: impl Fn(usize, &Row) -> bool,
    ) {
        for (place, work) in touched.take().enumerate() {
            let Work { key, key_cells, row, trail, set, .. } = work;
            let buckets = &mut self.buckets;
            let known = |table: &TablePlan, name: &RowKey| buckets.is_known(table, name);
            let Some(row) = row else {
                let cells = self.projection.shape.row_of(&key_cells);
                let set = set.map(|set| *set).unwrap_or_default();
                batch::assign(&self.plan, &self.entity, (key, &cells), set, base, &mut made.batch, known);
                continue;
            };
            let Some(trail) = trail else { continue };
            let is_remembered = is_remembered(place, &row);
            let encoded = (is_remembered || self.keeps_encoded)
                .then(|| row.encoded(&self.columns, &mut made.scratch))
                .flatten();
            let written = row.state.as_ref().map(|cells| match &encoded {
                Some(encoded) if self.keeps_encoded => RowCells::Encoded(encoded.clone()),
                _ => RowCells::Values(Arc::clone(cells)),
            });
            made.bytes += written.as_ref().map_or(0, RowCells::weight);
            let now = row.state.as_ref().map(|cells| cells.as_slice()).zip(written.as_ref());
            trail.finish(&self.copies, self.entity.base, (&key, now), base, &mut made.batch, known);
            match encoded.filter(|_| is_remembered) {
                Some(encoded) => made.remembered.push((key, encoded)),
                None => self.rows.remove(&key),
            }
        }
    }
}
