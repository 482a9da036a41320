//! Parked keys set free: by the owner of their events, in order, a bounded number at a time.
//!
//! Comes in: a key, and what is to become of its queue. Goes out: one batch, in which each event leaves the queue with the
//! row that has it (P5, P6, P8), and how it went. What stays in the queue is where the next step goes on, whoever takes it:
//! nothing is remembered between two steps. `touch` finds what a waiting record does to its rows.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::activity::Stage as Activity;
use super::touch::{Log, Meant};
use super::work::{Due, Touch, Touched, Work};
use super::{Halt, Projector, Trail};
use crate::event::{Position, Reject, Stage};
use crate::fold::ColumnSet;
use crate::handler::UpdateKind;
use crate::route::{KeyCells, RowRange};
use crate::source::Source;
use crate::store::{Batch, Begun, Ended, ParkChange, ParkedEntry, ParkedKey, Profile, QueuedEvent};
use crate::value::encode::RowKey;

/// Events of a queue that one step takes: one batch, and what other keys wait for it.
pub const STEP_EVENTS: usize = 1_000;

/// What is to become of the events that wait for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// They are applied, in order, up to the first that cannot be.
    Retry,
    /// The first is passed without being applied, the others are retried.
    SkipFirst,
    /// All are passed without being applied.
    Drop,
}

impl Release {
    /// What a person calls it.
    pub fn name(self) -> &'static str {
        match self {
            Release::Retry => "retry",
            Release::SkipFirst => "skip-first",
            Release::Drop => "drop",
        }
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<Release> {
        [Release::Retry, Release::SkipFirst, Release::Drop].into_iter().find(|release| release.name() == name)
    }
}

/// One step for one key.
#[derive(Clone, Debug)]
pub struct ParkedStep {
    pub key: ParkedKey,
    pub release: Release,
    /// The event that is meant to be the first: where another is, nothing is done. So a skip that is asked for twice, as
    /// when its answer was lost, skips one event.
    pub first: Option<Position>,
}

/// What a step has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stepped {
    pub applied: u64,
    pub skipped: u64,
    pub dropped: u64,
    /// Events that still wait: none where the key is parked no more.
    pub waiting: u64,
    /// Why the next step will not get further. `None` while it will.
    pub stopped: Option<Stopped>,
}

/// The event at which a step stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// `topic:partition@offset`.
    pub position: String,
    pub stage: &'static str,
    pub reason: String,
}

/// A step that is asked of a running projector.
#[derive(Debug)]
pub struct ParkedRequest {
    pub step: ParkedStep,
    /// Told what was done, or why nothing was.
    pub reply: oneshot::Sender<Result<Stepped, String>>,
}

/// Where a running projector hears of steps, and reads what waits.
pub struct ParkedRequests {
    pub source: Arc<dyn Source>,
    pub asked: mpsc::Receiver<ParkedRequest>,
}

/// A step under way.
struct Run {
    key: ParkedKey,
    /// How the key is to be listed: from the first event that waits, with what was begun of it.
    entry: ParkedEntry,
    /// Whether it is listed from an event that waits no more.
    is_behind: bool,
    /// What was begun last, as it is stored.
    was: Option<Begun>,
    touched: Touched,
    /// The base of the stamps of all that is written.
    base: Option<i64>,
    ended: Vec<(QueuedEvent, Ended)>,
}

/// Why an event cannot leave its queue yet, and its type where it could be read.
type Refused = (Reject, Option<String>);

impl Projector {
    /// Does one step for a parked key; nothing where the key is not parked.
    ///
    /// # Errors
    /// The store or the log fails, or ownership is lost. Nothing is lost: asking again is always right, after
    /// [`Projector::run`] has gone back to the last commit.
    pub async fn step_parked(&mut self, source: &dyn Source, step: &ParkedStep) -> Result<Stepped, Halt> {
        let name = Arc::clone(&self.projection.name);
        let _share = self.share(self.batch_bytes_max()).await;
        self.activity.enter(Activity::Releasing);
        self.end_doubt().await?;
        let queue = self.tables.parked_queue(&name, &step.key, None, STEP_EVENTS + 1).await?;
        let entry = self.tables.parked_entry(&name, &step.key).await?;
        let (Some(first), Some(entry)) = (queue.first(), entry) else { return Ok(Stepped::default()) };
        if let Some(other) = step.first.as_ref().filter(|meant| **meant != position(first)) {
            let reason = format!("the first event that waits is {}, not {other}", position(first));
            let stopped = Some(stopped(first, &Reject::new(Stage::Route, reason)));
            return Ok(Stepped { waiting: entry.waiting, stopped, ..Stepped::default() });
        }
        let (is_behind, was) = (entry.since != *first, entry.begun.clone());
        let begun = entry.begun.filter(|begun| begun.of(first).is_some());
        let entry = ParkedEntry { begun, since: first.clone(), ..entry };
        let (key, touched) = (step.key.clone(), Touched::default());
        let mut run = Run { key, entry, is_behind, was, touched, base: None, ended: Vec::new() };
        let mut log = Log::new(source);
        let refused = self.release(step, &queue, &mut run, &mut log).await?;
        self.end((run, &queue), refused).await
    }

    /// Takes events off the front of a queue, until one is refused or the step is full.
    async fn release(
        &mut self,
        step: &ParkedStep,
        queue: &[QueuedEvent],
        run: &mut Run,
        log: &mut Log<'_>,
    ) -> Result<Option<Refused>, Halt> {
        for (index, event) in queue.iter().take(STEP_EVENTS).enumerate() {
            let place = self.places.iter().find(|place| place.at == event.at);
            let Some(place) = place.filter(|place| event.offset < place.next) else {
                let reason = "the projection has not read up to it yet; ask again when it has";
                return Ok(Some((Reject::new(Stage::Route, reason), None)));
            };
            let bytes_max = self.batch_bytes_max();
            let is_full = run.touched.rows.len() >= self.settings.batch_rows_max
                || run.touched.bytes >= bytes_max
                || log.bytes >= bytes_max;
            // Stamps of two partitions do not compare, unless they are merged; and what was begun is of one.
            let is_elsewhere =
                event.at != run.entry.since.at && self.projection.kind != UpdateKind::MergedFold;
            if index > 0 && (is_full || is_elsewhere) {
                return Ok(None);
            }
            run.base = Some(place.base);
            let asked = match step.release {
                Release::Drop => Ended::Dropped,
                Release::SkipFirst if index == 0 => Ended::Skipped,
                Release::Retry | Release::SkipFirst => Ended::Applied,
            };
            let begun = run.entry.begun.as_ref().map(|begun| begun.of(event));
            // What was begun is done first, and as it was begun.
            let Some(mut ended) = begun.unwrap_or(Some(asked)) else { return Ok(None) };
            let mut taken = self.take_off(ended, event, run, log).await?;
            if matches!(taken, Taken::Refused(..)) && asked != ended {
                // It was applied once: by now the log does not have it.
                ended = asked;
                taken = self.take_off(ended, event, run, log).await?;
            }
            match taken {
                Taken::Left => run.ended.push((event.clone(), ended)),
                Taken::Refused(reject, kind) => return Ok(Some((reject, kind))),
                Taken::Alone => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Takes one event off the queue, in one of the ways.
    async fn take_off(
        &mut self,
        ended: Ended,
        event: &QueuedEvent,
        run: &mut Run,
        log: &mut Log<'_>,
    ) -> Result<Taken, Halt> {
        match (run.key.clone(), ended) {
            (ParkedKey::Row(key), Ended::Applied) => self.retry_row(&key, event, run, log).await,
            (ParkedKey::Row(key), _) => self.pass_row(&key, event, run).await,
            (_, Ended::Applied) => self.retry_record(event, run, log).await,
            (_, _) => self.pass_record(event, run, log).await,
        }
    }

    /// Stores how events are taken off a queue, before any row is written, where a batch is not applied whole.
    async fn begin_release(&mut self, run: &mut Run, ended: &[(QueuedEvent, Ended)]) -> Result<(), Halt> {
        let (Some((from, first)), Some((upto, rest))) = (ended.first(), ended.last()) else { return Ok(()) };
        if run.entry.begun.is_some() || self.tables.profile() == Profile::Atomic {
            return Ok(());
        }
        let (at, from, upto) = (from.at.clone(), from.offset, upto.offset);
        let begun = Begun { at, from, upto, first: *first, rest: *rest };
        run.entry.begun = Some(begun.clone());
        let name = || (Arc::clone(&self.projection.name), run.key.clone());
        let ((projection, key), entry) = (name(), run.entry.clone());
        let since = entry.since.clone();
        let mut parked = Vec::new();
        if run.is_behind {
            parked.push(ParkChange::Restate { projection, key, entry });
        }
        let ((projection, key), was) = (name(), run.was.take());
        parked.push(ParkChange::Begin { projection, key, since, was, begun });
        self.in_doubt = true;
        self.tables.commit(Batch { parked, owners: Arc::clone(&self.owners), ..Batch::default() }).await?;
        self.in_doubt = false;
        Ok(())
    }

    /// Writes what a step has done, and says how it went.
    async fn end(
        &mut self,
        (mut run, queue): (Run, &[QueuedEvent]),
        refused: Option<Refused>,
    ) -> Result<Stepped, Halt> {
        let ended = std::mem::take(&mut run.ended);
        self.begin_release(&mut run, &ended).await?;
        let Run { key, entry: before, mut touched, base, .. } = run;
        let count = |what| ended.iter().filter(|(_, ended)| *ended == what).count() as u64;
        let (applied, skipped, dropped) =
            (count(Ended::Applied), count(Ended::Skipped), count(Ended::Dropped));
        let (shown, next) = (before.shown.clone(), queue.get(ended.len()));
        for (event, ended) in ended {
            self.parked.dequeue(key.clone(), event, ended);
        }
        let stopped = next.zip(refused.as_ref()).map(|(event, (reject, _))| stopped(event, reject));
        if let Some(next) = next {
            self.parked.restate(key.clone(), restated(before, next, refused));
        }
        self.write(&mut touched, base.unwrap_or_default(), Vec::new(), None).await?;
        let entry = self.tables.parked_entry(&self.projection.name, &key).await?;
        let waiting = entry.map_or(0, |entry| entry.waiting);
        let (projection, reason) = (&self.projection.name, stopped.as_ref().map(|stopped| &*stopped.reason));
        tracing::info!(%projection, key = %shown, applied, waiting, reason, "Parked key retried.");
        if skipped + dropped > 0 {
            tracing::warn!(%projection, key = %shown, skipped, dropped, "Parked events passed without being applied.");
        }
        Ok(Stepped { applied, skipped, dropped, waiting, stopped })
    }

    /// Applies an event that waits for its row.
    async fn retry_row(
        &mut self,
        key: &RowKey,
        event: &QueuedEvent,
        run: &mut Run,
        log: &mut Log<'_>,
    ) -> Result<Taken, Halt> {
        let work = self.row_of(key, &mut run.touched).await?;
        // The row has it: the step before ended between the row's write and this one (P6).
        if work.row.as_ref().is_some_and(|row| row.offset >= Some(event.order)) {
            return Ok(Taken::Left);
        }
        let (key_cells, touch) = match self.meaning(key, event, log).await? {
            Meant::Touch(key_cells, touch) => (key_cells, touch),
            Meant::Range(taken) => {
                let state = work.row.as_ref().and_then(|row| row.state.clone());
                let Some(cells) = state else { return Ok(self.passed(work, event)) };
                let key = self.entity.base_key.iter();
                let key_cells = key.map(|column| (*column, cells[column.0 as usize].clone())).collect();
                (key_cells, self.placed(Touch::Events(vec![taken]), event))
            }
            Meant::Nothing => return Ok(self.passed(work, event)),
            Meant::Refused(reject, kind) => return Ok(Taken::Refused(reject, kind)),
        };
        work.key_cells = key_cells;
        let taken = match self.projection.kind {
            UpdateKind::BlindSet => self.assign(work, &touch),
            UpdateKind::OwnedFold | UpdateKind::MergedFold => self.fold(work, event.order, &touch),
        };
        Ok(match taken {
            Ok(()) => Taken::Left,
            Err(reject) => Taken::Refused(reject, touch.kind().map(str::to_owned)),
        })
    }

    /// Passes an event that waits for its row without applying it: the row takes on its position (P8).
    async fn pass_row(&mut self, key: &RowKey, event: &QueuedEvent, run: &mut Run) -> Result<Taken, Halt> {
        let work = self.row_of(key, &mut run.touched).await?;
        Ok(self.passed(work, event))
    }

    /// Applies a record that waited because it had no row. Rows that are parked themselves take it into their queues, and a
    /// row that refuses it is parked.
    async fn retry_record(
        &mut self,
        event: &QueuedEvent,
        run: &mut Run,
        log: &mut Log<'_>,
    ) -> Result<Taken, Halt> {
        let touches = match self.touches(event, log).await? {
            Ok(touches) => touches,
            Err(Meant::Refused(reject, kind)) => return Ok(Taken::Refused(reject, kind)),
            Err(_) => return Ok(Taken::Left),
        };
        if let [Touching::Range(ranges, taken)] = touches.as_slice() {
            if !run.ended.is_empty() {
                // What stood before it must be written first.
                return Ok(Taken::Alone);
            }
            return self.retry_range(event, ranges, taken, run).await;
        }
        let rows: Vec<_> = touches.into_iter().filter_map(Touching::row).collect();
        if self.can_overtake() {
            for (key, key_cells, _) in &rows {
                let work = self.row_of(key, &mut run.touched).await?;
                work.key_cells = key_cells.clone();
                if work.row.as_ref().and_then(|row| row.offset) > Some(event.order) {
                    return Ok(too_late());
                }
            }
        }
        for (key, key_cells, touch) in rows {
            let place = run.touched.place(key, key_cells);
            if self.projection.kind != UpdateKind::BlindSet {
                self.load(&mut run.touched).await?;
            }
            self.take_all(&mut run.touched.rows, [Due { row: place, order: event.order, touch }]);
        }
        Ok(Taken::Left)
    }

    /// As [`Projector::retry_record`], of a record that deletes all rows of ranges.
    async fn retry_range(
        &mut self,
        event: &QueuedEvent,
        ranges: &[RowRange],
        taken: &crate::event::Taken,
        run: &mut Run,
    ) -> Result<Taken, Halt> {
        if self.can_overtake() && self.has_later_rows(ranges, event.order).await? {
            return Ok(too_late());
        }
        self.begin_release(run, &[(event.clone(), Ended::Applied)]).await?;
        let base = self.places.iter().find(|place| place.at == event.at).map_or(0, |place| place.base);
        self.delete_ranges((event, base), ranges, &taken.event).await?;
        Ok(Taken::Left)
    }

    /// Passes a record that waited because it had no row. Rows that it has by now take on its position, but for those that
    /// have gone on, or wait.
    async fn pass_record(
        &mut self,
        event: &QueuedEvent,
        run: &mut Run,
        log: &mut Log<'_>,
    ) -> Result<Taken, Halt> {
        let Ok(touches) = self.touches(event, log).await? else { return Ok(Taken::Left) };
        for (key, key_cells, _) in touches.into_iter().filter_map(Touching::row) {
            if self.is_parked(&key, &event.at, event.offset) {
                continue;
            }
            let work = self.row_of(&key, &mut run.touched).await?;
            work.key_cells = key_cells;
            self.passed(work, event);
        }
        Ok(Taken::Left)
    }

    /// A row of the step, loaded where its kind looks at it.
    async fn row_of<'t>(&mut self, key: &RowKey, touched: &'t mut Touched) -> Result<&'t mut Work, Halt> {
        let place = touched.place(key.clone(), Vec::new());
        if self.projection.kind != UpdateKind::BlindSet {
            self.load(touched).await?;
        }
        Ok(&mut touched.rows[place])
    }

    /// Lets a row take on a position, and stay as it is. A row of kind A has no position that counts.
    fn passed(&self, work: &mut Work, event: &QueuedEvent) -> Taken {
        let Some(row) = work.row.as_mut().filter(|row| row.offset < Some(event.order)) else {
            return Taken::Left;
        };
        let begun = match work.trail.take() {
            Some(trail) => Ok(trail),
            None => Trail::begin(&self.copies, &row.state).map(Box::new),
        };
        let advanced = begun.and_then(|mut trail| {
            trail.advance(&self.copies, event.order, &row.state, &ColumnSet::default())?;
            Ok(trail)
        });
        match advanced {
            Ok(trail) => {
                work.trail = Some(trail);
                row.offset = Some(event.order);
                Taken::Left
            }
            Err(fault) => Taken::Refused(Reject::new(Stage::Fold, format!("`where`: {}", fault.0)), None),
        }
    }

    /// Whether events of other record keys may take a row further while a record waits: applied later it would come out of
    /// turn. Else whoever is ahead of a record has it: the step before ended before the record left its queue (P6).
    fn can_overtake(&self) -> bool {
        self.projection.kind == UpdateKind::MergedFold
    }
}

/// What became of an event.
enum Taken {
    /// It leaves its queue.
    Left,
    /// It stays, and all behind it.
    Refused(Reject, Option<String>),
    /// It needs a step of its own.
    Alone,
}

/// What a record does to rows.
pub(super) enum Touching {
    Row(RowKey, KeyCells, Touch),
    Range(Vec<RowRange>, crate::event::Taken),
}

impl Touching {
    fn row(self) -> Option<(RowKey, KeyCells, Touch)> {
        match self {
            Touching::Row(key, key_cells, touch) => Some((key, key_cells, touch)),
            Touching::Range(..) => None,
        }
    }
}

fn too_late() -> Taken {
    let reason = "events of other record keys have taken its row further meanwhile, so it would come out of turn; skip it, \
                  or change the definitions, so that all rows are made anew";
    Taken::Refused(Reject::new(Stage::Fold, reason), None)
}

/// The key as it is listed from now on.
fn restated(before: ParkedEntry, next: &QueuedEvent, refused: Option<Refused>) -> ParkedEntry {
    let since = next.clone();
    match refused {
        Some((reject, kind)) => ParkedEntry {
            since,
            stage: reject.stage.name().into(),
            reason: reject.reason.as_str().into(),
            type_name: kind.map(Into::into),
            ..before
        },
        None if before.since == since => ParkedEntry { since, ..before },
        None => ParkedEntry {
            since,
            reason: "the events before it were taken off the queue; it was not tried yet".into(),
            type_name: None,
            ..before
        },
    }
}

fn position(event: &QueuedEvent) -> Position {
    Position { at: event.at.clone(), offset: event.offset }
}

fn stopped(event: &QueuedEvent, reject: &Reject) -> Stopped {
    let position = position(event).to_string();
    Stopped { position, stage: reject.stage.name(), reason: reject.reason.to_string() }
}
