//! What must hold at every moment, and at the end.
//!
//! Comes in: the tables of a generation, and what the log means. Goes out: nothing, or the first thing that is wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kinora::event::{Offset, TopicPartition};
use kinora::plan::key::{key_values, row_key};
use kinora::plan::{TablePlan, TableRole};
use kinora::store::{Columns, Mutation, ParkedKey, StoredRow, Tables, all_parked};
use kinora::value::Value;
use kinora::value::encode::RowKey;

use crate::case::Bound;
use crate::history::History;
use crate::language::copy::Copy;
use crate::language::program::Program;
use crate::language::reference::{Given, Key, MOMENTS, Row};
use crate::language::stored::{cells, copied, index, rows, shown};
use crate::operator::Standing;

pub type Held = Result<(), String>;

/// One generation of tables, and what must be in it.
pub struct Generation {
    pub bound: Arc<Bound>,
    pub history: History,
    pub tables: Arc<dyn Tables>,
    pub log: Vec<Given>,
    /// Whether what its definitions refuse is taken in the end.
    mends: bool,
    pub standing: Standing,
    /// The rows of the base table that any event may name.
    pub keys: BTreeMap<RowKey, Key>,
    /// The position at which each base row was last seen.
    seen_at: BTreeMap<Key, Offset>,
    /// The base of each partition's stamps, once one was stored.
    bases: BTreeMap<TopicPartition, i64>,
    /// How far each partition was seen to have come.
    reached: BTreeMap<TopicPartition, Offset>,
}

impl Generation {
    pub fn new(
        bound: Arc<Bound>,
        (log, mends): (&[Given], bool),
        history: History,
        tables: Arc<dyn Tables>,
    ) -> Generation {
        let mut generation = Generation {
            bound,
            history,
            tables,
            log: log.to_vec(),
            mends,
            standing: Standing::default(),
            keys: BTreeMap::new(),
            seen_at: BTreeMap::new(),
            bases: BTreeMap::new(),
            reached: BTreeMap::new(),
        };
        let base = generation.base();
        let all =
            ["p0", "p1", "p2"].iter().flat_map(|p| (0..4).map(move |i| (p.to_string(), format!("i{i}"))));
        generation.keys = all
            .map(|key| {
                let cells = cells(&key.0, &key.1, &Row::default());
                (row_key(&base, &cells).expect("its key is whole"), key)
            })
            .collect();
        generation
    }

    /// The definitions by which all is folded in the end.
    pub fn truth(&self) -> &Program {
        if self.mends { &self.bound.mended } else { &self.bound.program }
    }

    pub fn is_merged(&self) -> bool {
        self.bound.program.is_merged
    }

    pub fn base(&self) -> Arc<TablePlan> {
        let plan = &self.bound.definitions.plan;
        Arc::clone(plan.table(plan.entity(self.bound.definitions.projections[0].entity).base))
    }

    pub fn table(&self, name: &str) -> Arc<TablePlan> {
        let mut tables = self.bound.definitions.plan.tables.iter();
        Arc::clone(tables.find(|table| table.name == name).expect("the plan has it"))
    }

    fn copy(&self, table: &TablePlan) -> Option<Copy> {
        self.bound.program.copies.iter().find(|copy| copy.name() == table.name).copied()
    }

    /// How far a partition has come.
    pub fn next(&self, at: &TopicPartition) -> Offset {
        let progress = self.tables.progress();
        progress.of("rows", at).map_or(0, |mark| mark.next)
    }

    /// How far what feeds a row has come, as positions of rows are counted.
    fn next_of(&self, key: &Key) -> Offset {
        match self.is_merged() {
            true => self.tables.progress().marks.iter().map(|mark| mark.next).sum(),
            false => self.next(self.history.home(key)),
        }
    }

    /// After a write of a row has arrived: what stands there is what the log means at the position it claims.
    pub async fn row(&mut self, mutation: &Mutation) -> Held {
        let plan = Arc::clone(&self.bound.definitions.plan);
        let table = plan.table(mutation.table());
        let stored = get(&self.tables, table, mutation.key()).await?;
        match table.role {
            TableRole::Base => self.base_row(mutation.key(), stored),
            TableRole::Copy => {
                let copy = self.copy(table).expect("it is drawn");
                if let Some(row) = stored {
                    self.copied_row(table, copy, &row)?;
                    self.bucket(table, copy, &row).await?;
                }
                match mutation {
                    Mutation::Delete { offset, .. } => {
                        self.never_nowhere(table, copy, mutation.key(), *offset).await
                    }
                    _ => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    fn base_row(&mut self, key: &RowKey, stored: Option<StoredRow>) -> Held {
        let Some(name) = self.keys.get(key).cloned() else {
            return Err(format!("a base row that no event names: {stored:?}"));
        };
        let seen = self.seen_at.get(&name).copied();
        let Some(stored) = stored else {
            return Err(format!("base row {name:?} has no position any more; it was at {seen:?}"));
        };
        if seen.is_some_and(|seen| seen > stored.offset) {
            return Err(format!("base row {name:?} goes back from {seen:?} to {}", stored.offset));
        }
        self.seen_at.insert(name.clone(), stored.offset);
        self.same(&name, Some(&stored), stored.offset)
    }

    fn same(&self, key: &Key, stored: Option<&StoredRow>, position: Offset) -> Held {
        let wanted = self.history.at(key, position).map(|row| shown(&cells(&key.0, &key.1, row)));
        let found = stored.filter(|row| row.live).map(|row| shown(&row.cells));
        if wanted == found {
            return Ok(());
        }
        let at = stored.map(|row| row.offset);
        Err(format!(
            "base row {key:?}, stored at {at:?}, at position {position} is\n  {found:?}, the log says\n  {wanted:?}"
        ))
    }

    fn copied_row(&self, table: &TablePlan, copy: Copy, row: &StoredRow) -> Held {
        let key = name_of(&row.cells);
        let wanted = self.history.at(&key, row.offset).and_then(|state| copied(copy, &key, state));
        let found = shown(&row.cells);
        if wanted.as_ref() != Some(&found) {
            let name = &table.name;
            let at = row.offset;
            return Err(format!("{name} has {key:?} at {at} as\n  {found}, the log says\n  {wanted:?}"));
        }
        match row_key(table, &row.cells) == Some(row.key.clone()) {
            true => Ok(()),
            false => Err(format!("{} has {key:?} under the key of something else", table.name)),
        }
    }

    /// A row of a table that is cut by time stands in a bucket whose name is stored.
    async fn bucket(&self, table: &TablePlan, copy: Copy, row: &StoredRow) -> Held {
        let (Some(digits), Some(names)) = (copy.bucket_digits(), table.buckets) else { return Ok(()) };
        let named = self.all(self.bound.definitions.plan.table(names)).await?;
        let partition = if copy == Copy::ByDay { 0 } else { 4 };
        let is_it = |name: &StoredRow| {
            name.cells[partition] == row.cells[partition]
                && day(&name.cells[15])[..digits] == day(&row.cells[15])[..digits]
        };
        match named.iter().any(is_it) {
            true => Ok(()),
            false => {
                Err(format!("{} has {:?} in a bucket that is not named", table.name, name_of(&row.cells)))
            }
        }
    }

    /// After a copy was deleted: if the row is in the table from there on, it stands under another key.
    async fn never_nowhere(&self, table: &TablePlan, copy: Copy, key: &RowKey, offset: Offset) -> Held {
        let values = key_values(table, key).map_err(|error| format!("{error:?}"))?;
        let name = self.keys.values().find(|(p, id)| has(&values, p) && has(&values, id));
        let Some(name) = name else { return Err(format!("a copy of a row that no event names: {values:?}")) };
        if self.all(table).await?.iter().any(|row| name_of(&row.cells) == *name) {
            return Ok(());
        }
        let stays = self.history.since(name, offset).all(|row| row.is_some_and(|row| copy.holds(row)));
        match stays {
            true => Err(format!("{name:?} is nowhere in {} since a write of {offset}", table.name)),
            false => Ok(()),
        }
    }

    /// After progress was stored: it does not go back, and all that it passed is there.
    pub async fn progress(&mut self) -> Held {
        for mark in self.tables.progress().marks.clone() {
            let base = *self.bases.entry(mark.at.clone()).or_insert(mark.base);
            if base != mark.base {
                return Err(format!("the base of {:?} was {base} and is {}", mark.at, mark.base));
            }
            let reached = self.reached.insert(mark.at.clone(), mark.next);
            if reached > Some(mark.next) {
                return Err(format!("progress of {:?} goes back from {reached:?} to {}", mark.at, mark.next));
            }
            if reached != Some(mark.next) {
                self.passed(&mark.at).await?;
            }
        }
        self.parked(true).await
    }

    /// The first event that waits for a row, or for records of its record key.
    async fn first_waiting(&self, row: &RowKey, (p, _): &Key) -> Result<Offset, String> {
        if self.tables.parked().is_empty() {
            return Ok(Offset::MAX);
        }
        let mut first = Offset::MAX;
        let record = (!self.is_merged()).then(|| ParkedKey::Record(p.as_bytes().into()));
        for key in std::iter::once(ParkedKey::Row(row.clone())).chain(record) {
            let waiting = self.queue(&key).await?;
            first = first.min(waiting.first().map_or(Offset::MAX, |event| event.order));
        }
        Ok(first)
    }

    pub async fn base_row_of(&self, key: &RowKey) -> Result<Option<StoredRow>, String> {
        get(&self.tables, &self.base(), key).await
    }

    /// All rows of a partition are at least as far as its progress, or as what waits.
    async fn passed(&self, at: &TopicPartition) -> Held {
        let base = self.base();
        let is_merged = self.is_merged();
        for (row_key, key) in &self.keys {
            if !self.history.keys().any(|known| known == key) || !is_merged && self.history.home(key) != at {
                continue;
            }
            let stored = get(&self.tables, &base, row_key).await?;
            let next = self.first_waiting(row_key, key).await?.min(self.next_of(key));
            let position = stored.as_ref().map(|row| row.offset).max(next.checked_sub(1));
            if let Some(position) = position {
                let said = self.same(key, stored.as_ref(), position);
                said.map_err(|wrong| format!("progress of {at:?} is {next}, but {wrong}"))?;
            }
            if self.history.is_over(key, next) {
                self.copies_of(key)
                    .await
                    .map_err(|wrong| format!("progress of {at:?} is {next}, but {wrong}"))?;
            }
        }
        Ok(())
    }

    /// A row that no event changes any more stands where it belongs.
    async fn copies_of(&self, key: &Key) -> Held {
        for copy in &self.bound.program.copies {
            let found = self.all(&self.table(copy.name())).await?;
            let found: Vec<String> =
                found.iter().filter(|row| name_of(&row.cells) == *key).map(|row| shown(&row.cells)).collect();
            let last = self.history.last.rows.get(key).and_then(|row| copied(*copy, key, row));
            let wanted: Vec<String> = last.into_iter().collect();
            if found != wanted {
                let name = copy.name();
                return Err(format!("{name} has {key:?} as\n  {found:#?}, the log says\n  {wanted:#?}"));
            }
        }
        Ok(())
    }

    /// What progress has passed and cannot be applied waits, in its order.
    async fn parked(&self, so_far: bool) -> Held {
        if so_far && (self.mends || !self.standing.is_untouched()) {
            // What waits for now follows from what was asked; rows say whether it is right.
            return Ok(());
        }
        let next: BTreeMap<String, Offset> = self
            .tables
            .progress()
            .marks
            .iter()
            .map(|mark| (format!("{}:{}", mark.at.topic, mark.at.partition), mark.next))
            .collect();
        let is_passed = |position: &str| {
            let (at, _) = position.split_once('@').expect("a position has an offset");
            next.get(at).is_some_and(|next| crate::history::offset(position) < *next)
        };
        let wanted = self.history.waiting(|position| !so_far || is_passed(position));
        if wanted.is_empty() && self.tables.parked().is_empty() {
            return Ok(());
        }
        let mut found = BTreeMap::new();
        let parked = all_parked(self.tables.as_ref()).await.map_err(|error| error.to_string())?;
        for ((projection, key), entry) in &parked {
            let queue = self
                .tables
                .parked_queue(projection, key, None, 10_000)
                .await
                .map_err(|error| error.to_string())?;
            let queue =
                queue.iter().map(|one| format!("{}:{}@{}", one.at.topic, one.at.partition, one.offset));
            let queue: Vec<String> = queue.filter(|position| !so_far || is_passed(position)).collect();
            if !queue.is_empty() {
                found.insert(entry.shown.to_string(), queue);
            }
        }
        let waiting: BTreeSet<&String> = found.values().flatten().collect();
        let consumed: Offset = self.tables.progress().marks.iter().map(|mark| mark.next).sum();
        let [applied, ignored, parked] = self.history.counts;
        if !so_far && (waiting.len() != parked || consumed != (applied + ignored + parked) as Offset) {
            let waiting = waiting.len();
            return Err(format!(
                "of {consumed} events {applied} are applied, {ignored} ignored, {waiting} wait"
            ));
        }
        match found == wanted {
            true => Ok(()),
            false => Err(format!("there waits\n  {found:#?}, the log says\n  {wanted:#?}")),
        }
    }

    /// Everything, once all is folded.
    pub async fn whole(&mut self) -> Held {
        self.progress().await?;
        for table in &self.bound.definitions.plan.tables {
            index(table, self.tables.as_ref(), &self.history.last.rows).await?;
            let Some(wanted) = rows(&self.bound.program, &table.name, &self.history.last.rows) else {
                continue;
            };
            let stored = self.all(table).await?;
            let found: BTreeSet<String> = stored.iter().map(|row| shown(&row.cells)).collect();
            if found.len() != stored.len() || found != wanted {
                let missing: Vec<_> = wanted.difference(&found).collect();
                let extra: Vec<_> = found.difference(&wanted).collect();
                let count = stored.len();
                return Err(format!(
                    "at the end {} of {count} rows lacks\n  {missing:#?}, has beside them\n  {extra:#?}",
                    table.name
                ));
            }
            if let Some(copy) = self.copy(table) {
                for row in &stored {
                    self.copied_row(table, copy, row)?;
                    self.bucket(table, copy, row).await?;
                }
            }
        }
        self.parked(false).await
    }

    async fn all(&self, table: &TablePlan) -> Result<Vec<StoredRow>, String> {
        self.tables.all(table.id, None, 10_000).await.map_err(|error| error.to_string())
    }
}

async fn get(tables: &Arc<dyn Tables>, table: &TablePlan, key: &RowKey) -> Result<Option<StoredRow>, String> {
    let found = tables.get(table.id, std::slice::from_ref(key), Columns::All).await;
    Ok(found.map_err(|error| error.to_string())?.pop().flatten())
}

/// The key of a row, from its first cells.
fn name_of(cells: &[Value]) -> Key {
    let text = |cell: &Value| match cell {
        Value::Text(text) => text.to_string(),
        other => format!("{other:?}"),
    };
    (text(&cells[0]), text(&cells[1]))
}

fn has(values: &[Value], text: &str) -> bool {
    values.contains(&Value::text(text))
}

/// A time of the drawn events as it was written.
fn day(cell: &Value) -> &'static str {
    let known = MOMENTS.iter().find(|(_, ms)| *cell == Value::Timestamp(*ms));
    known.expect("it is one of those that are drawn").0
}
