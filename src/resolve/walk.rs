//! Reads a table in its order: across time buckets, and across shards.
//!
//! Comes in: a [`Range`] and which page of it. Goes out: rows. Buckets are walked through the table that names them, in
//! steps that grow while little is found; shards are read at once and merged. What a cursor is, is `page`'s.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use futures_util::future::{join_all, try_join_all};

use crate::plan::{Plan, TablePlan, key};
use crate::schema::{ColumnId, KeyFunction, Order};
use crate::store::{Bound, Columns, Scan, StoreError, StoredRow, Tables};
use crate::value::Value;

use super::indexed::Gathered;
use super::page::{Mark, Wanted};
use super::planned::Wants;
use super::range::{Edge, Range, tighter_from, tighter_to};

const DAY_MS: i64 = 86_400_000;
/// Bucket names read at once.
const NAMES: usize = 64;
/// Rows of a page for which room is made at once.
const ROWS_EXPECTED: usize = 1024;
/// Most buckets read at once.
const STEP_MAX: usize = 8;

/// A row and the bucket it was found in.
#[derive(Debug)]
pub(super) struct Found {
    pub row: StoredRow,
    pub bucket: Option<Arc<[u8]>>,
    /// Whether rows of other slices may have the same clustering.
    merged: bool,
}

/// One page.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub found: Vec<Found>,
    pub next: bool,
    pub previous: bool,
    /// How many rows the range has; `None` where nobody asks, or they are more than the bound.
    pub total: Option<usize>,
}

/// Where a walk begins or ends, beside the range's own bounds.
#[derive(Clone, Copy)]
enum End<'m> {
    Open,
    /// At this place, it included.
    At(&'m Mark),
    /// Next to this place.
    NextTo(&'m Mark),
}

/// Walks a range.
pub(super) struct Walk<'a> {
    pub tables: &'a dyn Tables,
    pub plan: &'a Plan,
    pub range: &'a Range,
    /// The time of the answer: rows that are gone then are not there.
    pub at_ms: i64,
    pub columns: &'a [ColumnId],
    /// Whether the list is the reverse of the table's order.
    pub reversed: bool,
    /// Entries of indexes that were read.
    pub entries: Gathered,
}

impl Walk<'_> {
    /// The first rows of the range.
    pub async fn first(&self, limit: usize) -> Result<Vec<Found>, StoreError> {
        self.rows(End::Open, End::Open, self.reversed, limit, self.columns).await
    }

    /// A page, and what of its surroundings is wanted. Both directions are exact: what lies beyond is looked up.
    /// Rows are counted up to `max`.
    pub async fn page(&self, wanted: &Wanted, wants: Wants, max: usize) -> Result<Rows, StoreError> {
        if !self.reversed {
            return self.page_in_order(wanted, wants, max).await;
        }
        // The page of a list that is turned round is that of the table from the other end.
        let Wanted { count, backward, after, before } = wanted.clone();
        let turned = Wanted { count, backward: !backward, after: before, before: after };
        let wants = Wants { next: wants.previous, previous: wants.next, ..wants };
        let mut rows = self.page_in_order(&turned, wants, max).await?;
        rows.found.reverse();
        std::mem::swap(&mut rows.next, &mut rows.previous);
        Ok(rows)
    }

    async fn page_in_order(&self, wanted: &Wanted, wants: Wants, max: usize) -> Result<Rows, StoreError> {
        let total = if wants.total { self.total(max).await? } else { None };
        if !(wants.rows || wants.next || wants.previous || wants.cursors) {
            return Ok(Rows { total, ..Rows::default() });
        }
        let after = wanted.after.as_ref().map_or(End::Open, End::NextTo);
        let before = wanted.before.as_ref().map_or(End::Open, End::NextTo);
        let ahead = if wanted.backward { wants.previous } else { wants.next };
        let limit = wanted.count + usize::from(ahead);
        let mut found = self.rows(after, before, wanted.backward, limit, self.columns).await?;
        let more = found.len() > wanted.count;
        found.truncate(wanted.count);
        if wanted.backward {
            found.reverse();
        }
        let first = found.first().map(Found::mark);
        let last = found.last().map(Found::mark);
        let (mut next, mut previous) = (false, false);
        if wants.next {
            next = (more && !wanted.backward) || self.follows(wanted, last.as_ref()).await?;
        }
        if wants.previous {
            previous = (more && wanted.backward) || self.precedes(wanted, first.as_ref()).await?;
        }
        Ok(Rows { found, next, previous, total })
    }

    async fn total(&self, max: usize) -> Result<Option<usize>, StoreError> {
        let rows = self.rows(End::Open, End::Open, false, max + 1, &[]).await?;
        Ok(Some(rows.len()).filter(|total| *total <= max))
    }

    /// Whether a row follows the page. Without `before`, forward, the read itself has told.
    async fn follows(&self, wanted: &Wanted, last: Option<&Mark>) -> Result<bool, StoreError> {
        let Some(before) = &wanted.before else { return Ok(false) };
        let from = match (last, &wanted.after, wanted.backward) {
            (Some(last), _, _) => End::NextTo(last),
            (None, _, true) => End::At(before),
            (None, Some(after), false) => End::NextTo(after),
            (None, None, false) => End::Open,
        };
        Ok(!self.rows(from, End::Open, false, 1, &[]).await?.is_empty())
    }

    /// Whether a row precedes the page.
    async fn precedes(&self, wanted: &Wanted, first: Option<&Mark>) -> Result<bool, StoreError> {
        let Some(after) = &wanted.after else { return Ok(false) };
        let to = match (first, &wanted.before, wanted.backward) {
            (Some(first), _, _) => End::NextTo(first),
            (None, _, false) => End::At(after),
            (None, Some(before), true) => End::NextTo(before),
            (None, None, true) => End::Open,
        };
        Ok(!self.rows(End::Open, to, true, 1, &[]).await?.is_empty())
    }

    /// At most `limit` rows between two ends, in the table's order or its reverse.
    async fn rows(
        &self,
        after: End<'_>,
        before: End<'_>,
        reverse: bool,
        limit: usize,
        columns: &[ColumnId],
    ) -> Result<Vec<Found>, StoreError> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let looked_at = AtomicUsize::new(0);
        let read = PartitionRead { walk: self, after, before, reverse, columns, looked_at };
        let Some((names, _)) = self.range.buckets(self.plan) else {
            let rows = read.bucket(None, limit).await?;
            let merged = self.range.slices.len() > 1;
            return Ok(rows.into_iter().map(|row| Found { row, bucket: None, merged }).collect());
        };
        let mut buckets = Buckets::new(self, names, after, before, reverse).await?;
        let merged = self.range.slices.len() > 1;
        let mut found = Vec::new();
        let mut step = 1;
        while found.len() < limit {
            let next = buckets.next(step).await?;
            if next.is_empty() {
                break;
            }
            let missing = limit - found.len();
            let reads = next.iter().map(|bucket| read.bucket(Some(&bucket.value), missing));
            for (bucket, rows) in next.iter().zip(try_join_all(reads).await?) {
                let room = limit - found.len();
                found.extend(rows.into_iter().take(room).map(|row| Found {
                    row,
                    bucket: Some(bucket.bytes.clone()),
                    merged,
                }));
            }
            step = (step * 2).min(STEP_MAX);
        }
        Ok(found)
    }
}

impl Found {
    /// A row of a range of one partition.
    pub fn alone(row: StoredRow) -> Found {
        Found { row, bucket: None, merged: false }
    }

    fn mark(&self) -> Mark {
        let bucket = self.bucket.as_deref().unwrap_or_default();
        let partition = if self.merged { self.row.key.partition() } else { &[] };
        let clustering = self.row.key.clustering().into();
        Mark { bucket: bucket.into(), partition: partition.into(), clustering }
    }
}

/// Reads between the same ends in several slices.
pub(super) struct PartitionRead<'r> {
    pub walk: &'r Walk<'r>,
    after: End<'r>,
    before: End<'r>,
    pub reverse: bool,
    columns: &'r [ColumnId],
    /// Rows that were compared with filters.
    pub looked_at: AtomicUsize,
}

impl PartitionRead<'_> {
    /// Rows of one bucket (or of the table, if it has none), of all its slices.
    async fn bucket(&self, bucket: Option<&Value>, limit: usize) -> Result<Vec<StoredRow>, StoreError> {
        let range = self.walk.range;
        let mut shards = range.slices.iter().filter_map(|slice| {
            let partition = range.partition_in(slice, bucket)?;
            let from = tighter_from(&slice.from, self.after.edge(&partition, true));
            let to = tighter_to(&slice.to, self.before.edge(&partition, false));
            Some(Shard { partition, from, to, rows: VecDeque::new(), ended: false })
        });
        if range.slices.len() == 1 {
            let Some(shard) = shards.next() else { return Ok(Vec::new()) };
            return self.partition(&shard, limit).await;
        }
        let mut shards: Vec<Shard> = shards.collect();
        self.merge(&mut shards, limit).await
    }

    /// The first rows of all shards in order. Each gives its share and a little more; only where that was too little is
    /// it asked again.
    async fn merge(&self, shards: &mut [Shard], limit: usize) -> Result<Vec<StoredRow>, StoreError> {
        let mut merged = Vec::with_capacity(limit.min(ROWS_EXPECTED));
        // The shards that have rows at hand, that of the next row first.
        let mut order: Vec<usize> = Vec::new();
        while merged.len() < limit {
            if shards.iter().any(Shard::is_short) {
                self.refill(shards, share(limit - merged.len(), shards.len())).await?;
                order = (0..shards.len()).filter(|at| shards[*at].head().is_some()).collect();
                order.sort_by(|a, b| self.compare(&shards[*a], &shards[*b]));
            }
            let Some(&at) = order.first() else { break };
            merged.extend(shards[at].rows.pop_front());
            if shards[at].head().is_some() {
                let others = &order[1..];
                let place =
                    others.partition_point(|other| self.compare(&shards[*other], &shards[at]).is_lt());
                order[..=place].rotate_left(1);
            } else {
                order.remove(0);
            }
        }
        Ok(merged)
    }

    /// Which of two shards has the row that comes first.
    fn compare(&self, a: &Shard, b: &Shard) -> Ordering {
        let order = (a.head(), &a.partition).cmp(&(b.head(), &b.partition));
        if self.reverse { order.reverse() } else { order }
    }

    /// Reads on in all shards that have fewer rows at hand than that, at once.
    async fn refill(&self, shards: &mut [Shard], wanted: usize) -> Result<(), StoreError> {
        let reads = shards.iter_mut().filter(|shard| !shard.ended && shard.rows.len() < wanted).map(
            |shard| async move {
                let limit = wanted - shard.rows.len();
                let rows = self.partition(shard, limit).await?;
                shard.take(rows, limit, self.reverse);
                Ok(())
            },
        );
        try_join_all(reads).await.map(drop)
    }

    async fn partition(&self, shard: &Shard, limit: usize) -> Result<Vec<StoredRow>, StoreError> {
        let range = self.walk.range;
        if range.ranged.is_some() || !range.filters.is_empty() {
            return self.indexed(shard, limit).await;
        }
        self.scan((&shard.partition, &shard.from, &shard.to), limit, self.columns).await
    }

    /// Rows of a partition between two edges.
    pub async fn scan(
        &self,
        (partition, from, to): (&[u8], &Edge, &Edge),
        limit: usize,
        columns: &[ColumnId],
    ) -> Result<Vec<StoredRow>, StoreError> {
        let scan = Scan {
            table: self.walk.range.table.id,
            partition,
            from: from.bound(),
            to: to.bound(),
            reverse: self.reverse,
            limit,
            columns: Columns::Only(columns),
            at_ms: Some(self.walk.at_ms),
        };
        self.walk.tables.scan(scan).await
    }
}

/// One slice of a list that is being merged.
pub(super) struct Shard {
    pub partition: Vec<u8>,
    /// What is still to be read lies between these.
    pub from: Edge,
    pub to: Edge,
    /// Rows that were read and are not merged yet.
    rows: VecDeque<StoredRow>,
    /// Nothing lies beyond what was read.
    ended: bool,
}

impl Shard {
    /// Whether its next row is not known.
    fn is_short(&self) -> bool {
        self.rows.is_empty() && !self.ended
    }

    fn head(&self) -> Option<&[u8]> {
        self.rows.front().map(|row| row.key.clustering())
    }

    fn take(&mut self, rows: Vec<StoredRow>, limit: usize, reverse: bool) {
        self.ended = rows.len() < limit;
        if let Some(last) = rows.last() {
            let read_to = Edge::Excluded(last.key.clustering().into());
            *if reverse { &mut self.to } else { &mut self.from } = read_to;
        }
        self.rows.extend(rows);
    }
}

/// How many rows to ask of each shard so that all together have `missing`, as good as always: rows are spread by a
/// hash, so a shard's part of the first ones varies as the root of its share.
fn share(missing: usize, shards: usize) -> usize {
    let even = missing.div_ceil(shards.max(1));
    (even + 3 * even.isqrt() + 2).min(missing)
}

struct Bucket {
    value: Value,
    bytes: Arc<[u8]>,
}

/// The non-empty buckets in reading order, named a few at a time.
struct Buckets<'w> {
    tables: &'w dyn Tables,
    names: &'w TablePlan,
    partitions: Vec<Vec<u8>>,
    from: Edge,
    to: Edge,
    reverse: bool,
    exhausted: bool,
    queue: VecDeque<Bucket>,
}

impl<'w> Buckets<'w> {
    async fn new(
        walk: &Walk<'w>,
        names: &'w TablePlan,
        after: End<'_>,
        before: End<'_>,
        reverse: bool,
    ) -> Result<Buckets<'w>, StoreError> {
        let range = walk.range;
        let bound = |bytes: &Option<Vec<u8>>| bytes.clone().map_or(Edge::Unbounded, Edge::Included);
        let partitions = range.names_partitions(names);
        let mut buckets = Buckets {
            tables: walk.tables,
            names,
            partitions,
            from: tighter_from(&bound(&range.bucket_from), after.bucket()),
            to: tighter_to(&bound(&range.bucket_to), before.bucket()),
            reverse,
            exhausted: false,
            queue: VecDeque::new(),
        };
        if let Some(lookback) = range.lookback_ms {
            buckets.look_back(lookback).await?;
        }
        Ok(buckets)
    }

    /// At most `count` buckets more.
    async fn next(&mut self, count: usize) -> Result<Vec<Bucket>, StoreError> {
        while self.queue.is_empty() && !self.exhausted {
            self.read_names().await?;
        }
        let count = count.min(self.queue.len());
        Ok(self.queue.drain(..count).collect())
    }

    async fn read_names(&mut self) -> Result<(), StoreError> {
        let lists =
            join_all(self.partitions.iter().map(|partition| {
                self.scan(partition, self.from.bound(), self.to.bound(), self.reverse, NAMES)
            }))
            .await;
        let mut rows = Vec::new();
        let mut known_to: Option<Box<[u8]>> = None;
        for list in lists {
            let list = list?;
            // A list that is cut off says nothing of what lies beyond its last name.
            if let Some(last) = list.last().filter(|_| list.len() == NAMES) {
                let last = last.key.clustering();
                let nearer = known_to.as_deref().is_none_or(|known| self.ordered(last, known));
                if nearer {
                    known_to = Some(last.into());
                }
            }
            rows.extend(list);
        }
        rows.sort_by(|a, b| a.key.clustering().cmp(b.key.clustering()));
        rows.dedup_by(|a, b| a.key.clustering() == b.key.clustering());
        if self.reverse {
            rows.reverse();
        }
        for row in rows {
            let beyond = known_to.as_deref().is_some_and(|known| self.ordered(known, row.key.clustering()));
            if beyond {
                break;
            }
            self.queue.push_back(self.bucket(&row)?);
        }
        match known_to {
            None => self.exhausted = true,
            Some(known) if self.reverse => self.to = Edge::Excluded(known.into()),
            Some(known) => self.from = Edge::Excluded(known.into()),
        }
        Ok(())
    }

    /// Whether `a` comes strictly before `b` in reading order.
    fn ordered(&self, a: &[u8], b: &[u8]) -> bool {
        if self.reverse { a > b } else { a < b }
    }

    fn bucket(&self, row: &StoredRow) -> Result<Bucket, StoreError> {
        let mut values =
            key::key_values(self.names, &row.key).map_err(|error| StoreError::Corrupt(error.to_string()))?;
        let value =
            values.pop().ok_or_else(|| StoreError::Corrupt("a bucket's name has no key".to_owned()))?;
        Ok(Bucket { value, bytes: row.key.clustering().into() })
    }

    async fn scan(
        &self,
        partition: &[u8],
        from: Bound<'_>,
        to: Bound<'_>,
        reverse: bool,
        limit: usize,
    ) -> Result<Vec<StoredRow>, StoreError> {
        let columns = Columns::Only(&[]);
        let (table, at_ms) = (self.names.id, None);
        self.tables.scan(Scan { table, partition, from, to, reverse, limit, columns, at_ms }).await
    }

    /// Leaves out what is older than the newest bucket by more than `lookback_ms`.
    async fn look_back(&mut self, lookback_ms: i64) -> Result<(), StoreError> {
        let ascending = self.names.clustering.first().is_none_or(|column| column.order == Order::Asc);
        let newest = join_all(
            self.partitions
                .iter()
                .map(|partition| self.scan(partition, Bound::Unbounded, Bound::Unbounded, ascending, 1)),
        )
        .await;
        let mut newest_ms = None;
        for rows in newest {
            for row in rows? {
                newest_ms = newest_ms.max(start_ms(&self.bucket(&row)?.value));
            }
        }
        let Some(oldest) = newest_ms.map(|newest| newest.saturating_sub(lookback_ms)) else { return Ok(()) };
        let hours = matches!(
            self.names.clustering.first().map(|column| column.part.via),
            Some(KeyFunction::Bucket(crate::schema::Bucket::Hour))
        );
        let value = if hours {
            Value::Timestamp(oldest)
        } else {
            let days = oldest.div_euclid(DAY_MS) + i64::from(oldest.rem_euclid(DAY_MS) > 0);
            Value::Date(i32::try_from(days).unwrap_or(i32::MIN))
        };
        let Some(bytes) = key::clustering_prefix(self.names, &[value]) else { return Ok(()) };
        if ascending {
            self.from = tighter_from(&self.from, Edge::Included(bytes));
        } else {
            self.to = tighter_to(&self.to, Edge::Included(bytes));
        }
        Ok(())
    }
}

fn start_ms(bucket: &Value) -> Option<i64> {
    match bucket {
        Value::Date(days) => Some(i64::from(*days) * DAY_MS),
        Value::Timestamp(ms) => Some(*ms),
        _ => None,
    }
}

impl End<'_> {
    /// The end as a bound in one partition, below its rows or above. Rows of one clustering in several partitions are in
    /// the order of these.
    fn edge(self, partition: &[u8], below: bool) -> Edge {
        let (mark, with_it) = match self {
            End::Open => return Edge::Unbounded,
            End::At(mark) => (mark, true),
            End::NextTo(mark) => (mark, false),
        };
        let with_it = match mark.partition.is_empty() {
            true => with_it,
            false => match partition.cmp(&mark.partition) {
                Ordering::Equal => with_it,
                Ordering::Less => !below,
                Ordering::Greater => below,
            },
        };
        let clustering = mark.clustering.to_vec();
        if with_it { Edge::Included(clustering) } else { Edge::Excluded(clustering) }
    }

    fn bucket(self) -> Edge {
        match self {
            End::Open => Edge::Unbounded,
            End::At(mark) | End::NextTo(mark) => Edge::Included(mark.bucket.to_vec()),
        }
    }
}
