//! What all projectors hold between fetch and commit, counted from outside: by what is read of the log and what has been
//! committed of it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::future::{BoxFuture, join_all};
use serde_json::json;

use kinora::engine::Definitions;
use kinora::event::{Offset, Record, TopicPartition};
use kinora::project::budget::Budget;
use kinora::project::{ProjectSettings, Projector};
use kinora::source::file::Lines;
use kinora::source::{Fetched, NewRecord, Reader, Source, SourceError, TopicInfo};
use kinora::store::memory::MemoryStore;
use kinora::store::{Batch, Mutation, Store, StoreError, Tables};
use kinora::testing::Around;
use kinora::value::weight;

use crate::support::{Project, record, written};

const KIB: usize = 1024;

/// What is in flight, over all projectors that share it.
#[derive(Default)]
struct Tally {
    now: AtomicI64,
    peak: AtomicI64,
    /// Bytes of base rows of the largest batch.
    rows_peak: AtomicUsize,
}

impl Tally {
    fn add(&self, bytes: i64) {
        let now = self.now.fetch_add(bytes, Ordering::SeqCst) + bytes;
        self.peak.fetch_max(now, Ordering::SeqCst);
    }

    fn peak(&self) -> usize {
        usize::try_from(self.peak.load(Ordering::SeqCst)).expect("something was fetched")
    }
}

/// A log that counts what is fetched of it.
struct Counted {
    inner: Arc<Lines>,
    tally: Arc<Tally>,
    /// Bytes of what was fetched and not committed, by position.
    held: Arc<Mutex<BTreeMap<(TopicPartition, Offset), i64>>>,
}

struct CountedReader {
    inner: Box<dyn Reader>,
    tally: Arc<Tally>,
    held: Arc<Mutex<BTreeMap<(TopicPartition, Offset), i64>>>,
}

impl CountedReader {
    fn count(&self, fetched: &Fetched) {
        for record in &fetched.records {
            let bytes = i64::try_from(record.len_bytes()).expect("is small");
            let place = (fetched.at.clone(), record.offset);
            if self.held.lock().expect("no panic").insert(place, bytes).is_none() {
                self.tally.add(bytes);
            }
        }
    }
}

impl Source for Counted {
    fn topics(&self) -> BoxFuture<'_, Result<Vec<TopicInfo>, SourceError>> {
        self.inner.topics()
    }

    fn topic<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<TopicInfo>, SourceError>> {
        self.inner.topic(name)
    }

    fn read<'a>(
        &'a self,
        from: &'a [(TopicPartition, Offset)],
    ) -> BoxFuture<'a, Result<Box<dyn Reader>, SourceError>> {
        Box::pin(async move {
            let inner = self.inner.read(from).await?;
            let (tally, held) = (Arc::clone(&self.tally), Arc::clone(&self.held));
            Ok(Box::new(CountedReader { inner, tally, held }) as Box<dyn Reader>)
        })
    }

    fn fetch<'a>(
        &'a self,
        at: &'a TopicPartition,
        offset: Offset,
    ) -> BoxFuture<'a, Result<Option<Record>, SourceError>> {
        self.inner.fetch(at, offset)
    }
}

impl Reader for CountedReader {
    fn next(&mut self, bytes_max: usize) -> BoxFuture<'_, Result<Fetched, SourceError>> {
        Box::pin(async move {
            let fetched = self.inner.next(bytes_max).await?;
            self.count(&fetched);
            Ok(fetched)
        })
    }

    fn more(&mut self, bytes_max: usize) -> Result<Option<Fetched>, SourceError> {
        let fetched = self.inner.more(bytes_max)?;
        fetched.iter().for_each(|fetched| self.count(fetched));
        Ok(fetched)
    }

    fn seek(&mut self, at: &TopicPartition, offset: Offset) -> Result<(), SourceError> {
        self.inner.seek(at, offset)
    }
}

/// A slow store that counts what is committed to it.
struct Slow {
    inner: Arc<dyn Tables>,
    tally: Arc<Tally>,
    held: Arc<Mutex<BTreeMap<(TopicPartition, Offset), i64>>>,
}

impl Slow {
    async fn slowly(&self, batch: Batch) -> Result<(), StoreError> {
        // All others get their turn many times.
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        let rows = batch.base.iter().map(|mutation| match mutation {
            Mutation::Replace { cells, .. } => weight(&cells.values()),
            _ => 0,
        });
        self.tally.rows_peak.fetch_max(rows.sum(), Ordering::SeqCst);
        let marks = batch.progress.clone();
        self.inner.commit(batch).await?;
        for mark in marks {
            let mut held = self.held.lock().expect("no panic");
            let committed = held.extract_if(.., |(at, offset), _| *at == mark.at && *offset < mark.next);
            let bytes: i64 = committed.map(|(_, bytes)| bytes).sum();
            drop(held);
            self.tally.add(-bytes);
        }
        Ok(())
    }
}

impl Around for Slow {
    fn inner(&self) -> &dyn Tables {
        self.inner.as_ref()
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.slowly(batch))
    }
}

const PARTITIONS: u32 = 3;

fn log(records: impl Iterator<Item = NewRecord>) -> Arc<Lines> {
    let lines = Arc::new(Lines::default());
    lines.create_topic("notes", PARTITIONS);
    for record in records {
        lines.push("notes", record).expect("taken");
    }
    lines
}

/// Notes of so many bytes, of as many rows as there are numbers.
fn notes(count: usize, rows: usize, bytes: usize) -> impl Iterator<Item = NewRecord> {
    (0..count).map(move |number| {
        let text = format!("{number}{}", "x".repeat(bytes));
        record(&written(&format!("n{}", number % rows), &text))
    })
}

/// Folds the log with so many projectors at once, each into tables of its own; answers what they held.
async fn fold(
    definitions: &Definitions,
    log: &Arc<Lines>,
    projectors: usize,
    (batch_bytes_max, budget): (usize, Option<&Arc<Budget>>),
) -> Arc<Tally> {
    let tally = Arc::new(Tally::default());
    let ends: Vec<Offset> = log
        .topic("notes")
        .await
        .expect("is there")
        .expect("is there")
        .partitions
        .iter()
        .map(|one| one.end)
        .collect();
    let settings = ProjectSettings { batch_bytes_max, ..ProjectSettings::default() };
    let mut tasks = Vec::new();
    for _ in 0..projectors {
        let held = Arc::new(Mutex::new(BTreeMap::new()));
        let source = Counted { inner: Arc::clone(log), tally: Arc::clone(&tally), held: Arc::clone(&held) };
        let inner = MemoryStore::new().open(1, &definitions.plan).await.expect("opens");
        let tables = Arc::new(Slow { inner, tally: Arc::clone(&tally), held });
        let (projection, plan) = (Arc::clone(&definitions.projections[0]), Arc::clone(&definitions.plan));
        let opened = Projector::open(projection, plan, tables as _, &source, settings, 0).await;
        let mut projector = opened.expect("opens");
        if let Some(budget) = budget {
            projector = projector.within(Arc::clone(budget));
        }
        let ends = ends.clone();
        tasks.push(tokio::spawn(async move { projector.catch_up(&ends).await.expect("folds") }));
    }
    for done in join_all(tasks).await {
        done.expect("no panic");
    }
    assert_eq!(tally.now.load(Ordering::SeqCst), 0, "all that was fetched is committed");
    tally
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_projections_with_a_backlog_hold_no_more_than_their_budget() {
    let definitions = Project::notes().definitions();
    let log = log(notes(3_000, 400, KIB));
    let (projectors, batch) = (12, 16 << 20);
    let budget = Budget::new(1 << 20);
    let tally = fold(&definitions, &log, projectors, (batch, Some(&budget))).await;
    // Half of a share is for rows; before it has its share each has fetched a little, to know that there is something.
    let first = 18 * KIB;
    let events_max = budget.bytes_max() / 2 + projectors * first;
    assert!(tally.peak() <= events_max, "{} bytes in flight, {events_max} are the most", tally.peak());
    assert!(tally.peak() > budget.bytes_max() / 4, "the budget is used: {}", tally.peak());
    assert!(budget.bytes_peak() <= budget.bytes_max() && budget.bytes_peak() > budget.bytes_max() / 2);
    assert_eq!(budget.bytes_held(), 0);

    // Without a budget of all, they hold several times as much: the count can tell.
    let tally = fold(&definitions, &log, projectors, (batch, None)).await;
    assert!(tally.peak() > 4 * events_max, "{} bytes in flight", tally.peak());
}

#[tokio::test]
async fn a_record_larger_than_the_budget_passes_alone() {
    let definitions = Project::notes().definitions();
    let large = record(&json!({ "type": "NoteWritten", "id": "large", "text": "x".repeat(3 << 20) }));
    let records = notes(200, 200, KIB).chain([large.clone()]).chain(notes(200, 200, KIB)).chain([large]);
    let log = log(records);
    let budget = Budget::new(1 << 20);
    let tally = fold(&definitions, &log, 6, (16 << 20, Some(&budget))).await;
    assert!(budget.bytes_peak() >= budget.bytes_max() / 8 * 7, "the large one had all of it");
    assert!(budget.bytes_peak() <= budget.bytes_max());
    assert!(tally.peak() >= 3 << 20);
}

#[tokio::test]
async fn large_rows_fill_a_batch_by_their_bytes() {
    let definitions = Project::notes().definitions();
    // Small events for rows that stand there large.
    let rows = 300;
    let made = notes(rows, rows, 64 * KIB);
    let again = (0..rows)
        .map(|number| record(&json!({ "type": "NoteWritten", "id": format!("n{number}"), "text": "s" })));
    let log = log(made.chain(again));
    let budget = Budget::new(4 << 20);
    let tally = fold(&definitions, &log, 1, (1 << 20, Some(&budget))).await;
    let (most, bound) = (tally.rows_peak.load(Ordering::SeqCst), 3 << 20);
    assert!(most <= bound, "{most} bytes of rows in one batch, {bound} are the most");
    assert!(most > 256 * KIB, "rows share batches: {most}");
}
