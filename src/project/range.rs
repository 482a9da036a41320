//! An event that deletes all rows whose key begins as it says.
//!
//! Comes in: ranges of the base table and the event. Goes out: writes, page by page, each row's stamped as any other write of
//! the event. What stood before the event in the log is written when this begins, so the store knows every row, and
//! memory forgets those of the range; progress passes the event only afterwards. Done again it deletes nothing more: rows that later events have made stand above it.

use std::sync::Arc;

use super::activity::Stage;
use super::work::{Due, Row, Touch, Touched};
use super::{Halt, Projector};
use crate::event::{Event, Taken};
use crate::route::RowRange;
use crate::schema::ColumnId;
use crate::store::{Bound, Columns, ParkedKey, ParkedPage, QueuedEvent, Scan, StoredRow};
use crate::value::{Value, weight};

/// Parked rows that are read at once.
const PAGE: usize = 500;

impl Projector {
    /// Deletes the rows of ranges for which the event's condition holds. Its place's order and `base` are its stamp.
    pub(super) async fn delete_ranges(
        &mut self,
        (place, base): (&QueuedEvent, i64),
        ranges: &[RowRange],
        event: &Arc<Event>,
    ) -> Result<(), Halt> {
        for range in ranges {
            // The scan shows no row that another owner has deleted already: what is kept of it in memory stands before that.
            self.rows.remove_range(range);
            let mut after: Option<Vec<u8>> = None;
            while let Some(last) = self.delete_page((place, base), range, after.as_deref(), event).await? {
                after = Some(last);
            }
            self.queue_parked(range, (place, base)).await?;
        }
        Ok(())
    }

    /// Deletes a page of rows behind a place; answers where the next one begins, if there is one.
    async fn delete_page(
        &mut self,
        (place, base): (&QueuedEvent, i64),
        range: &RowRange,
        after: Option<&[u8]>,
        event: &Arc<Event>,
    ) -> Result<Option<Vec<u8>>, Halt> {
        let all = range.clustering.is_empty();
        let bound = if all { Bound::Unbounded } else { Bound::Included(&range.clustering) };
        // As many as are loaded at once for events: the larger rows are, the fewer.
        let page = self.chunk;
        let scan = Scan {
            table: self.entity.base,
            partition: &range.partition,
            from: after.map_or(bound, Bound::Excluded),
            to: bound,
            reverse: false,
            limit: page,
            columns: Columns::All,
            // A row whose time is over is for the fold to judge, by the event's time.
            at_ms: None,
        };
        self.activity.enter(Stage::Deleting);
        let stored = self.tables.scan(scan).await?;
        self.fit_chunk(stored.iter().map(|row| weight(&row.cells)).sum(), self.batch_bytes_max());
        let next = stored.last().filter(|_| stored.len() == page).map(|row| row.key.clustering().to_vec());
        let mut touched = Touched::default();
        // A parked row waits, as one does that is not there.
        let (at, offset, order) = (&place.at, place.offset, place.order);
        let free: Vec<StoredRow> =
            stored.into_iter().filter(|row| !self.is_parked(&row.key, at, offset)).collect();
        for row in free {
            let cell = |column: &ColumnId| (*column, row.cells[column.0 as usize].clone());
            let key_cells: Vec<(ColumnId, Value)> = self.entity.base_key.iter().map(cell).collect();
            let number = touched.place(row.key.clone(), key_cells);
            touched.rows[number].row = Some(Row::from_store(Some(row)));
        }
        let touch = || Touch::Events(vec![Taken { event: Arc::clone(event), element: None }]);
        let due: Vec<Due> = (0..touched.rows.len())
            .map(|row| Due { row, order, touch: self.placed(touch(), place) })
            .collect();
        self.take_all(&mut touched.rows, due);
        if !touched.rows.is_empty() {
            self.write(&mut touched, base, Vec::new(), None).await?;
        }
        Ok(next)
    }

    /// The event queues behind the parked rows, also those that are not there: events that wait before it may make them.
    /// What was parked before it is committed, so the store knows them all.
    async fn queue_parked(
        &mut self,
        range: &RowRange,
        (place, base): (&QueuedEvent, i64),
    ) -> Result<(), Halt> {
        if self.parked.is_empty() {
            return Ok(());
        }
        let rows = [range.partition.as_slice(), &range.clustering].concat();
        let name = Arc::clone(&self.projection.name);
        let mut after: Option<ParkedKey> = None;
        loop {
            let page = ParkedPage {
                projection: Some(&name),
                rows: Some(&rows),
                after: after.as_ref().map(|key| (&*name, key)),
                limit: PAGE,
            };
            let found = self.tables.parked_page(page).await?;
            let is_last = found.len() < PAGE;
            after = found.last().map(|item| item.key.clone());
            let of_range = |key: &ParkedKey| matches!(key, ParkedKey::Row(row) if range.has(row));
            for key in found.into_iter().map(|item| item.key).filter(of_range) {
                if self.parked.holds(&key, &place.at, place.offset) {
                    self.parked.enqueue(key, place.clone());
                }
            }
            if is_last {
                return Ok(());
            }
            self.write(&mut Touched::default(), base, Vec::new(), None).await?;
        }
    }
}
