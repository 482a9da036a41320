//! What retrying, skipping and dropping promise: rows are what the same decisions make of plain queues, whatever crashes.
//!
//! A handler refuses events for a while: those that a set names. The reference has a list for each row and each record key;
//! a row writes down every event that it takes, so an event that is lost, doubled or out of turn shows.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use fastrand::Rng;

use kinora::engine::Definitions;
use kinora::event::{Event, JsonValueTrait, Position, Reject, Stage, TopicPartition};
use kinora::fold::{Change, Fold};
use kinora::handler::CustomHandlers;
use kinora::project::retry::{ParkedStep, Release, Stepped};
use kinora::project::{Halt, ProjectSettings, Projector};
use kinora::source::NewRecord;
use kinora::source::file::Lines;
use kinora::store::embedded::{Durability, EmbeddedStore};
use kinora::store::memory::MemoryStore;
use kinora::store::{ParkedKey, Profile, Store, Tables, all_parked};
use kinora::testing::Interrupted;
use kinora::value::Value;

use crate::spoilt::{Bug, Spoilt};
use crate::{bound, seeds};

const SCHEMA: &str = r#"
type Query { row(id: ID!): Row @read  byWord(word: String!): [Row!]! @read }
type Row @key(fields: "id") @table(name: "rows", partition: "id") @table(name: "by_word", partition: "word", clustering: "id", rows: 1000) {
  id: ID!
  taken: [Int!]! @column(as: LIST, max: 400)
  word: String!
}
"#;

const PROJECTION: &str = "
projection: rows
into: Row
from: { topic: rows, format: json, type: event.type, ORDER }
key: { id: event.row }
unknown: park
handler: taking
";

/// Steps within which a key is free, or refused.
const STEPS_MAX: usize = 1_000;

/// Numbers of events that are refused.
type Bad = Arc<Mutex<BTreeSet<usize>>>;

struct Taking(Bad);

impl Fold for Taking {
    fn fold(&self, row: Option<&[Value]>, event: &Event) -> Result<Change, Reject> {
        let number = event.body.get("number").and_then(|number| number.as_u64()).expect("it has a number");
        let number = usize::try_from(number).expect("logs are short");
        if self.0.lock().expect("no test panics with it").contains(&number) {
            return Err(Reject::new(Stage::Fold, format!("{number} is refused")));
        }
        if &*event.kind == "Gone" {
            return Ok(Change::Delete);
        }
        let text = |name: &str| {
            let text = event.body.get(name).and_then(|value| value.as_str().map(str::to_owned));
            Value::text(text.expect("it is there"))
        };
        let mut taken = match row {
            Some([_, Value::List(taken), _]) => taken.clone(),
            _ => Vec::new(),
        };
        taken.push(Value::Int(number as i64));
        Ok(Change::Write(vec![text("row"), Value::List(taken), text("word")]))
    }
}

#[derive(Clone, Debug)]
struct Given {
    partition: u32,
    offset: u64,
    key: Option<u8>,
    /// A record without one has no row.
    row: Option<u8>,
    word: u8,
    gone: bool,
}

/// What waits: for a row, for a record key, or alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    Row(u8),
    Record(u8),
    Alone(usize),
}

#[derive(Clone, Debug, Default)]
struct RowNow {
    taken: Vec<usize>,
    word: u8,
    /// The last event that it has passed.
    at: Option<usize>,
}

/// Queues and rows as plain lists.
#[derive(Default)]
struct Reference {
    rows: BTreeMap<u8, RowNow>,
    queues: BTreeMap<Name, Vec<usize>>,
    /// Of each parked key, the event since which events of it wait.
    since: BTreeMap<Name, usize>,
    left: usize,
}

impl Reference {
    fn take(&mut self, log: &[Given], number: usize, bad: &BTreeSet<usize>) {
        let given = &log[number];
        let record = given.key.map_or(Name::Alone(number), Name::Record);
        if self.queues.contains_key(&record) || given.row.is_none() {
            return self.wait(record, number);
        }
        self.fold(log, number, bad);
    }

    fn wait(&mut self, name: Name, number: usize) {
        let queue = self.queues.entry(name).or_default();
        let place = queue.partition_point(|other| *other < number);
        queue.insert(place, number);
        self.since.entry(name).or_insert(number);
    }

    /// Folds an event into its row, or lets it wait for it.
    fn fold(&mut self, log: &[Given], number: usize, bad: &BTreeSet<usize>) {
        let row = log[number].row.expect("it has a row");
        let held = self
            .since
            .get(&Name::Row(row))
            .is_some_and(|since| log[*since].partition != log[number].partition || *since <= number);
        match held || bad.contains(&number) {
            true => self.wait(Name::Row(row), number),
            false => self.apply(log, number),
        }
    }

    fn apply(&mut self, log: &[Given], number: usize) {
        let row = self.rows.entry(log[number].row.expect("it has a row")).or_default();
        if log[number].gone && row.taken.is_empty() {
            // An event that changes nothing leaves no position.
            return;
        }
        row.at = Some(number);
        row.word = log[number].word;
        match log[number].gone {
            true => row.taken.clear(),
            false => row.taken.push(number),
        }
    }

    /// Lets a row of a record pass it.
    fn pass(&mut self, log: &[Given], number: usize) {
        if let Some(row) = log[number].row {
            let at = &mut self.rows.entry(row).or_default().at;
            *at = (*at).max(Some(number));
        }
    }

    fn release(&mut self, log: &[Given], name: Name, release: Release, bad: &BTreeSet<usize>) {
        let mut first = true;
        while let Some(number) = self.queues.get(&name).and_then(|queue| queue.first().copied()) {
            let passes = release == Release::Drop || release == Release::SkipFirst && first;
            first = false;
            let goes = match name {
                Name::Row(_) if passes => {
                    self.pass(log, number);
                    true
                }
                Name::Row(_) if bad.contains(&number) => false,
                Name::Row(_) => {
                    self.apply(log, number);
                    true
                }
                _ if passes => {
                    let row = log[number].row.map(Name::Row);
                    let waits = row.and_then(|row| self.since.get(&row)).is_some_and(|since| {
                        log[*since].partition != log[number].partition || *since <= number
                    });
                    if !waits {
                        self.pass(log, number);
                    }
                    true
                }
                _ => match log[number].row {
                    None => false,
                    Some(row) if self.rows.get(&row).is_some_and(|row| row.at > Some(number)) => false,
                    Some(_) => {
                        self.fold(log, number, bad);
                        true
                    }
                },
            };
            if !goes {
                break;
            }
            self.left += 1;
            self.queues.get_mut(&name).expect("it is there").remove(0);
        }
        match self.queues.get(&name).and_then(|queue| queue.first().copied()) {
            Some(next) => self.since.insert(name, next),
            None => {
                self.queues.remove(&name);
                self.since.remove(&name)
            }
        };
    }

    fn shown_rows(&self) -> BTreeMap<u8, (Vec<usize>, u8)> {
        let rows = self.rows.iter().filter(|(_, row)| !row.taken.is_empty());
        rows.map(|(id, row)| (*id, (row.taken.clone(), row.word))).collect()
    }
}

/// The engine on one store.
struct Subject {
    definitions: Arc<Definitions>,
    bad: Bad,
    log: Lines,
    given: Vec<Given>,
    partitions: u32,
    tables: Arc<dyn Tables>,
    /// What the tables of owners do wrong.
    bug: Option<Bug>,
    random: Rng,
}

fn definitions(bad: &Bad, merged: bool) -> Arc<Definitions> {
    let text = match merged {
        true => PROJECTION.replace(", ORDER", "") + "order: time\n",
        false => PROJECTION.replace("ORDER", "recordKey: event.row"),
    };
    let handler: Arc<dyn Fold> = Arc::new(Taking(Arc::clone(bad)));
    let custom = CustomHandlers::from([("taking".to_owned(), handler)]);
    bound(SCHEMA, &text, &custom)
}

impl Subject {
    async fn new(store: &dyn Store, merged: bool, random: Rng) -> Subject {
        let bad = Bad::default();
        let definitions = definitions(&bad, merged);
        let tables = store.open(1, &definitions.plan).await.expect("opens");
        let log = Lines::new();
        let partitions = if merged { 3 } else { 1 };
        log.create_topic("rows", partitions);
        Subject { definitions, bad, log, given: Vec::new(), partitions, tables, bug: None, random }
    }

    fn bad(&self) -> BTreeSet<usize> {
        self.bad.lock().expect("no test panics with it").clone()
    }

    /// Publishes a random event; those without a row only where they may be.
    fn publish(&mut self, with_records: bool) -> usize {
        let number = self.given.len();
        let random = &mut self.random;
        let row = random.u8(0..4);
        let key = if self.partitions == 1 { row } else { random.u8(0..4) };
        let partition = random.u32(0..self.partitions);
        let given = Given {
            partition,
            offset: self.given.iter().filter(|given| given.partition == partition).count() as u64,
            // Merged rows are fed under any key.
            key: (self.partitions == 1 || random.u8(0..12) > 0).then_some(key),
            row: (!with_records || random.u8(0..12) > 0).then_some(row),
            word: random.u8(0..3),
            gone: random.u8(0..6) == 0,
        };
        if random.u8(0..6) == 0 {
            self.bad.lock().expect("no test panics with it").insert(number);
        }
        let row = given.row.map(|row| format!(r#""row":"r{row}","#)).unwrap_or_default();
        let kind = if given.gone { "Gone" } else { "Made" };
        let value = format!(r#"{{"type":"{kind}",{row}"number":{number},"word":"w{}"}}"#, given.word);
        let record = NewRecord {
            key: given.key.map(|key| format!("r{key}").into()),
            value: Some(value.into()),
            // So that the merged order is the one in which they are published.
            timestamp_ms: Some(number as i64),
            partition: Some(given.partition),
            ..NewRecord::default()
        };
        self.log.push("rows", record).expect("the topic is there");
        self.given.push(given);
        number
    }

    /// The tables as a process sees them that dies after a few writes.
    fn dying(&mut self) -> Arc<dyn Tables> {
        let dying = Interrupted::after(Arc::clone(&self.tables), self.random.u64(0..8));
        let whole = match self.tables.profile() {
            Profile::Atomic => vec!["rows".into()],
            Profile::Stamped => Vec::new(),
        };
        Arc::new(dying.keeping_whole(whole))
    }

    /// A new owner, which has read the log to its end.
    async fn owner(&mut self, tables: Arc<dyn Tables>) -> Result<Projector, Halt> {
        let settings = ProjectSettings {
            batch_bytes_max: [1, 300, 1 << 20][self.random.usize(0..3)],
            batch_rows_max: self.random.usize(1..6),
            cached_rows_max: self.random.usize(0..3),
            parked_share_max: 1.0,
            ..ProjectSettings::default()
        };
        let projection = Arc::clone(&self.definitions.projections[0]);
        let plan = Arc::clone(&self.definitions.plan);
        let tables = match self.bug {
            Some(bug) => Arc::new(Spoilt { inner: tables, bug, releases: AtomicBool::default() }),
            None => tables,
        };
        let mut projector = Projector::open(projection, plan, tables, &self.log, settings, 0).await?;
        let count = |partition| self.given.iter().filter(|given| given.partition == partition).count() as u64;
        let ends: Vec<u64> = (0..self.partitions).map(count).collect();
        projector.catch_up(&ends).await?;
        Ok(projector)
    }

    async fn catch_up(&mut self) {
        for _ in 0..self.random.usize(0..3) {
            let dying = self.dying();
            let _ = self.owner(dying).await;
        }
        let tables = Arc::clone(&self.tables);
        self.owner(tables).await.expect("folds");
    }

    /// Releases a key, with owners that die on the way.
    async fn release(&mut self, key: &ParkedKey, release: Release, first: usize) {
        for _ in 0..self.random.usize(0..4) {
            let dying = self.dying();
            let _ = self.release_with(dying, key, release, first).await;
        }
        let tables = Arc::clone(&self.tables);
        self.release_with(tables, key, release, first).await.expect("steps");
    }

    async fn release_with(
        &mut self,
        tables: Arc<dyn Tables>,
        key: &ParkedKey,
        mut release: Release,
        first: usize,
    ) -> Result<(), Halt> {
        let mut owner = self.owner(tables).await?;
        let mut meant = (release == Release::SkipFirst).then(|| self.position(first));
        for _ in 0..STEPS_MAX {
            let step = ParkedStep { key: key.clone(), release, first: meant.take() };
            let skips = step.first.is_some();
            let Stepped { waiting, stopped, .. } = owner.step_parked(&self.log, &step).await?;
            if waiting == 0 || stopped.is_some() && !skips {
                return Ok(());
            }
            if skips {
                release = Release::Retry;
            }
        }
        panic!("after {STEPS_MAX} steps a key is neither free nor refused")
    }

    fn position(&self, number: usize) -> Position {
        let Given { partition, offset, .. } = self.given[number];
        Position { at: TopicPartition { topic: "rows".into(), partition }, offset }
    }

    /// Rows of the base table, which those of the copy must be too.
    async fn rows(&self) -> BTreeMap<u8, (Vec<usize>, u8)> {
        let mut found = Vec::new();
        for table in &self.definitions.plan.tables {
            let rows = self.tables.all(table.id, None, usize::MAX).await.expect("reads");
            let row = |cells: &[Value]| match cells {
                [Value::Text(id), Value::List(taken), Value::Text(word)] => {
                    let number = |text: &str| text[1..].parse::<u8>().expect("a number");
                    let taken = taken.iter().map(|value| match value {
                        Value::Int(number) => usize::try_from(*number).expect("small"),
                        other => panic!("{other:?}"),
                    });
                    (number(id), (taken.collect(), number(word)))
                }
                other => panic!("{other:?}"),
            };
            found.push(rows.iter().map(|row_now| row(&row_now.cells)).collect::<BTreeMap<_, _>>());
        }
        assert_eq!((found.len(), &found[0]), (2, &found[1]), "the copy differs");
        found.remove(0)
    }

    /// What waits, each with its key.
    async fn queues(&self) -> BTreeMap<Name, (ParkedKey, Vec<usize>)> {
        let mut queues = BTreeMap::new();
        for ((projection, key), entry) in all_parked(self.tables.as_ref()).await.expect("reads") {
            let queue = self.tables.parked_queue(&projection, &key, None, usize::MAX).await.expect("reads");
            assert_eq!(queue.len() as u64, entry.waiting);
            let number = |at: &TopicPartition, offset: u64| {
                let same = |given: &Given| (given.partition, given.offset) == (at.partition, offset);
                self.given.iter().position(same).expect("it was published")
            };
            let name = match &key {
                ParkedKey::Row(_) => Name::Row(entry.shown[8..9].parse().expect("{\"id\":\"r0\"}")),
                ParkedKey::Record(_) => Name::Record(entry.shown[1..].parse().expect("r0")),
                ParkedKey::Position(at, offset) => Name::Alone(number(at, *offset)),
            };
            let numbers = queue.iter().map(|event| number(&event.at, event.offset)).collect();
            queues.insert(name, (key, numbers));
        }
        queues
    }

    async fn check(&self, reference: &Reference, what: &str) {
        let queues = self.queues().await;
        let found: BTreeMap<Name, Vec<usize>> =
            queues.into_iter().map(|(name, (_, queue))| (name, queue)).collect();
        assert_eq!(found, reference.queues, "queues, {what}\n{:#?}", self.given);
        assert_eq!(self.rows().await, reference.shown_rows(), "rows, {what}\n{:#?}", self.given);
        let parked = self.tables.parked();
        assert_eq!(parked.keys("rows"), found.len(), "{what}");
        let counts = parked.counts("rows");
        let left = counts.retried + counts.skipped + counts.dropped;
        assert_eq!(left, reference.left as u64, "events that left their queues, {what}");
    }
}

/// Random events and decisions; `with_records`: also records without a row.
async fn decisions_come_to_the_same(store: &dyn Store, merged: bool, with_records: bool, seed: u64) {
    let subject = Subject::new(store, merged, Rng::with_seed(seed)).await;
    decided(subject, (merged, with_records), seed).await;
}

async fn decided(mut subject: Subject, (merged, with_records): (bool, bool), seed: u64) {
    let mut reference = Reference::default();
    let what = format!("KINORA_SEED_BASE={seed} merged {merged} records {with_records}");
    for _ in 0..subject.random.usize(2..14) {
        let bad = subject.bad();
        match subject.random.u8(0..4) {
            0 => {
                for _ in 0..subject.random.usize(1..12) {
                    let number = subject.publish(with_records);
                    reference.take(&subject.given, number, &subject.bad());
                }
                subject.catch_up().await;
            }
            1 => {
                let mended = bad.iter().filter(|_| subject.random.bool()).copied().collect::<Vec<_>>();
                let mut bad = subject.bad.lock().expect("no test panics with it");
                mended.iter().for_each(|number| assert!(bad.remove(number)));
            }
            _ => {
                let queues = subject.queues().await;
                if queues.is_empty() {
                    continue;
                }
                let (name, (key, queue)) =
                    queues.iter().nth(subject.random.usize(0..queues.len())).expect("it is there");
                let release = [Release::Retry, Release::SkipFirst, Release::Drop][subject.random.usize(0..3)];
                subject.release(key, release, queue[0]).await;
                reference.release(&subject.given, *name, release, &bad);
            }
        }
        subject.check(&reference, &what).await;
    }
    if with_records {
        return;
    }
    // All of it once more: nothing of what was decided is undone.
    let forgetful = Arc::new(Interrupted::forgetful(Arc::clone(&subject.tables)));
    if !merged {
        subject.owner(forgetful).await.expect("folds");
        subject.check(&reference, &format!("{what}, redelivered")).await;
    }
}

#[tokio::test]
async fn retried_skipped_and_dropped_events_come_to_what_a_plain_list_comes_to_in_memory() {
    for seed in seeds(150) {
        decisions_come_to_the_same(&MemoryStore::new(), false, false, seed).await;
        decisions_come_to_the_same(&MemoryStore::new(), false, true, seed).await;
        decisions_come_to_the_same(&MemoryStore::atomic(), false, true, seed).await;
        decisions_come_to_the_same(&MemoryStore::atomic(), true, true, seed).await;
    }
}

#[tokio::test]
async fn retried_skipped_and_dropped_events_come_to_what_a_plain_list_comes_to_on_disk() {
    for seed in seeds(10) {
        for (merged, with_records) in [(false, false), (false, true), (true, true)] {
            let directory = tempfile::tempdir().expect("a directory");
            let store = EmbeddedStore::open(directory.path(), Durability::default()).expect("opens");
            decisions_come_to_the_same(&store, merged, with_records, seed).await;
        }
    }
}

#[cfg(feature = "cassandra")]
#[tokio::test]
async fn retried_skipped_and_dropped_events_come_to_what_a_plain_list_comes_to_in_cassandra() {
    for seed in seeds(3) {
        let model = Arc::clone(&definitions(&Bad::default(), false).model);
        let Some(store) = crate::cluster::cluster(model).await else { return };
        decisions_come_to_the_same(&store, false, false, seed).await;
        store.drop_generation(1).await.expect("drops");
    }
}

/// Within so many seeds each bug is found.
const SEEDS_OF_A_BUG: u64 = 100;

#[test]
fn every_bug_of_the_tables_is_found() {
    let fails = |bug: Bug, seed: u64| {
        let run = async {
            let mut subject = Subject::new(&MemoryStore::new(), false, Rng::with_seed(seed)).await;
            subject.bug = Some(bug);
            decided(subject, (false, false), seed).await;
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.expect("a runtime can be built");
        catch_unwind(AssertUnwindSafe(|| runtime.block_on(run))).is_err()
    };
    for bug in Bug::ALL {
        let found = (1..=SEEDS_OF_A_BUG).find(|seed| fails(bug, *seed));
        println!("{bug:?}: found with seed {found:?}");
        assert!(found.is_some(), "{bug:?} is not found within {SEEDS_OF_A_BUG} seeds");
    }
}

#[tokio::test]
async fn an_owner_that_was_replaced_halts_at_its_next_decision_and_says_so() {
    let mut stores: Vec<Box<dyn Store>> = vec![Box::new(MemoryStore::new()), Box::new(MemoryStore::atomic())];
    #[cfg(feature = "cassandra")]
    if let Some(store) = crate::cluster::cluster(Arc::clone(&definitions(&Bad::default(), false).model)).await
    {
        stores.push(Box::new(store));
    }
    for store in stores {
        let store = &*store;
        let mut subject = Subject::new(store, false, Rng::with_seed(1)).await;
        let tables = Arc::clone(&subject.tables);
        let mut old = subject.owner(Arc::clone(&tables)).await.expect("opens");
        let mut new = subject.owner(Arc::clone(&tables)).await.expect("opens");
        while subject.bad().is_empty() {
            subject.publish(false);
        }
        let end = subject.given.len() as u64;
        let lost = old.catch_up(&[end]).await.expect_err("it lost ownership");
        assert!(lost.to_string().starts_with("lost ownership of rows partition 0 in projection"), "{lost}");
        assert!(tables.parked().is_empty());
        new.catch_up(&[end]).await.expect("it is the owner");
        let key = subject.queues().await.into_values().next().expect("it waits").0;
        let step = ParkedStep { key, release: Release::Drop, first: None };
        let mut old = subject.owner(Arc::clone(&tables)).await.expect("opens");
        let lost = new.step_parked(&subject.log, &step).await.expect_err("it lost ownership");
        assert!(lost.to_string().starts_with("lost ownership of "), "{lost}");
        assert_eq!(tables.parked().keys("rows"), 1);
        let stepped = old.step_parked(&subject.log, &step).await.expect("it is the owner");
        assert_eq!((stepped.dropped, stepped.waiting), (1, 0));
    }
}

#[tokio::test]
async fn a_skip_that_is_asked_for_twice_skips_one_event() {
    let mut subject = Subject::new(&MemoryStore::new(), false, Rng::with_seed(1)).await;
    while subject.bad().len() < 3 {
        let number = subject.publish(false);
        let row = subject.given[number].row;
        if row != subject.given[0].row {
            subject.bad.lock().expect("no test panics with it").remove(&number);
        }
    }
    let tables = Arc::clone(&subject.tables);
    let mut owner = subject.owner(tables).await.expect("folds");
    let (key, queue) = subject.queues().await.into_values().next().expect("it waits");
    let step = ParkedStep { key, release: Release::SkipFirst, first: Some(subject.position(queue[0])) };
    let done = owner.step_parked(&subject.log, &step).await.expect("steps");
    assert_eq!(done.skipped, 1);
    let again = owner.step_parked(&subject.log, &step).await.expect("steps");
    assert_eq!((again.skipped, again.applied, again.waiting), (0, 0, done.waiting));
    let reason = again.stopped.expect("another is first").reason;
    assert!(reason.contains("the first event that waits is rows:0@"), "{reason}");
}
