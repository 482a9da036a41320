//! What kind C promises where batches are not applied whole: the events of several partitions go through an internal topic,
//! each once, whatever becomes of those who relay and those who fold.
//!
//! Relays die at any await, with records that arrive later or never; two are at it at once. Owners of the internal topic's
//! partitions die between two writes. The reference reads the internal topic by itself: the first time that an event stands
//! there is its place. A row writes down every event that it takes, so one that is lost, doubled or in another place shows.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use fastrand::Rng;
use futures_util::future::BoxFuture;
use kinora::engine::Definitions;
use kinora::event::{Offset, Record, TopicPartition};
use kinora::handler::UpdateKind;
use kinora::project::relay::{Course, Relay};
use kinora::project::retry::{ParkedStep, Release};
use kinora::project::{Halt, ProjectSettings, Projector, Scope};
use kinora::source::file::Lines;
use kinora::source::{Appender, Fetched, NewRecord, Reader, Source, SourceError, TopicInfo};
use kinora::store::memory::MemoryStore;
use kinora::store::{Internal, ParkedKey, Store, Tables, all_parked};
use kinora::testing::Interrupted;
use kinora::value::Value;

use crate::{bound, seeds};

const SCHEMA: &str = r#"
type Query { rowsOf(g: ID!): [Row!]! @read(table: "rows")  byWord(word: String!): [Row!]! @read }
type Row @key(fields: "g id")
  @table(name: "rows", partition: "g", clustering: "id", rows: 1000)
  @table(name: "by_last", partition: "word", clustering: "g, id", rows: 1000) {
  g: ID!
  id: ID!
  taken: [String!]! @column(as: LIST, max: 400)
  word: String!
}
"#;

const PROJECTION: &str = "
projection: rows
into: Row
from:
  - { topic: a, format: json, type: event.type }
  - { topic: b, format: json, type: event.kind, tombstone: ignore }
key: { g: event.g, id: event.id }
unknown: park
order: time
events:
  Made: { upsert: { taken: { append: record.id }, word: event.word } }
  Many: { each: event.rows, as: r, key: { g: r.g, id: r.id }, upsert: { taken: { append: record.id }, word: event.word } }
  Broken: { upsert: { taken: { append: record.id }, word: \"event.nothing + 'x'\" } }
  Gone: { when: 'row.?taken.orValue([]).size() > 3', delete: row }
  Cleared: { key: { g: event.g }, when: row.word == event.word, delete: rows }
";

/// Topics of sources with their partitions.
const TOPICS: [(&str, u32); 2] = [("a", 3), ("b", 2)];
const INTERNAL: &str = "kinora.rows";
const PARTITIONS: u32 = 3;

fn definitions() -> Arc<Definitions> {
    bound(SCHEMA, PROJECTION, &Default::default())
}

/// Records that were sent, by partition, and have not arrived.
type UnderWay = Vec<VecDeque<NewRecord>>;

/// A log whose appends go wrong.
#[derive(Clone)]
struct Log {
    lines: Lines,
    /// Of those who died: it may still arrive.
    late: Arc<Mutex<UnderWay>>,
    random: Arc<Mutex<Rng>>,
    /// Of a hundred appends so many fail.
    fails: u8,
}

impl Log {
    fn new(random: &mut Rng, fails: u8) -> Log {
        let lines = Lines::new();
        TOPICS.iter().for_each(|(name, partitions)| lines.create_topic(name, *partitions));
        lines.create_topic(INTERNAL, PARTITIONS);
        Log { lines, late: Arc::default(), random: Arc::new(Mutex::new(random.fork())), fails }
    }

    fn below(&self, bound: usize) -> usize {
        self.random.lock().expect("no test panics with it").usize(0..bound)
    }

    fn arrive(&self, record: NewRecord) {
        self.lines.push(INTERNAL, record).expect("the topic is there");
    }

    /// Some of what was under way arrives late, in order, or never.
    fn land(&self) {
        let mut late = self.late.lock().expect("no test panics with it");
        for queue in late.iter_mut() {
            for _ in 0..self.below(6) {
                queue.pop_front().into_iter().for_each(|record| self.arrive(record));
            }
            if self.below(8) == 0 {
                queue.clear();
            }
        }
        late.retain(|queue| !queue.is_empty());
    }

    async fn internal(&self) -> Internal {
        let topic = self.lines.topic(INTERNAL).await.expect("answers").expect("is there");
        let (projection, topic_id) = ("rows".into(), topic.id);
        Internal { projection, topic: INTERNAL.into(), topic_id, partitions: PARTITIONS }
    }

    async fn end(&self, topic: &str, partition: usize) -> Offset {
        self.lines.topic(topic).await.expect("answers").expect("is there").partitions[partition].end
    }
}

impl Source for Log {
    fn topics(&self) -> BoxFuture<'_, Result<Vec<TopicInfo>, SourceError>> {
        self.lines.topics()
    }

    fn topic<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<TopicInfo>, SourceError>> {
        self.lines.topic(name)
    }

    fn read<'a>(
        &'a self,
        from: &'a [(TopicPartition, Offset)],
    ) -> BoxFuture<'a, Result<Box<dyn Reader>, SourceError>> {
        Box::pin(async move {
            let inner = self.lines.read(from).await?;
            Ok(Box::new(Late { inner, log: self.clone() }) as Box<dyn Reader>)
        })
    }

    fn appender<'a>(&'a self, topic: &'a str) -> BoxFuture<'a, Result<Box<dyn Appender>, SourceError>> {
        assert_eq!(topic, INTERNAL);
        let under_way = vec![VecDeque::new(); PARTITIONS as usize];
        let appender = Dying { log: self.clone(), under_way, has_failed: false };
        Box::pin(async { Ok(Box::new(appender) as Box<dyn Appender>) })
    }

    fn fetch<'a>(
        &'a self,
        at: &'a TopicPartition,
        offset: Offset,
    ) -> BoxFuture<'a, Result<Option<Record>, SourceError>> {
        self.lines.fetch(at, offset)
    }
}

/// Appends one record after the other, of any partition, and may die between any two.
struct Dying {
    log: Log,
    under_way: UnderWay,
    has_failed: bool,
}

impl Dying {
    async fn send(&mut self, records: Vec<NewRecord>) -> Result<(), SourceError> {
        assert!(!self.has_failed, "after an error nothing more is appended");
        self.has_failed = true;
        for record in records {
            self.under_way[record.partition.expect("it names its partition") as usize].push_back(record);
        }
        let fails = self.log.below(100) < usize::from(self.log.fails);
        loop {
            let waiting: Vec<usize> =
                (0..self.under_way.len()).filter(|at| !self.under_way[*at].is_empty()).collect();
            if waiting.is_empty() {
                self.has_failed = false;
                return Ok(());
            }
            if fails && self.log.below(4) == 0 {
                return Err(SourceError::Unavailable("as the test asked".to_owned()));
            }
            let first = self.under_way[waiting[self.log.below(waiting.len())]].pop_front();
            first.into_iter().for_each(|record| self.log.arrive(record));
            tokio::task::yield_now().await;
        }
    }
}

impl Appender for Dying {
    fn append(&mut self, records: Vec<NewRecord>) -> BoxFuture<'_, Result<(), SourceError>> {
        Box::pin(self.send(records))
    }
}

impl Drop for Dying {
    fn drop(&mut self) {
        let mut late = self.log.late.lock().expect("no test panics with it");
        late.extend(std::mem::take(&mut self.under_way).into_iter().filter(|queue| !queue.is_empty()));
    }
}

/// An event as it was published.
#[derive(Clone, Debug)]
struct Given {
    kind: &'static str,
    /// Its rows; of `Cleared` the group counts alone. None: nobody can tell.
    rows: Vec<(u8, u8)>,
    word: u8,
}

fn given(random: &mut Rng) -> Given {
    let kind = ["Made", "Made", "Made", "Many", "Gone", "Cleared", "Broken", "Lost"];
    let kind = kind[random.usize(0..kind.len())];
    // Few are broken: what waits for a parked row is not folded.
    let kind = if kind == "Broken" && random.u8(0..4) > 0 { "Made" } else { kind };
    let count = match kind {
        "Many" => random.usize(1..4),
        "Lost" => 0,
        _ => 1,
    };
    let mut rows: Vec<(u8, u8)> = (0..count).map(|_| (random.u8(0..4), random.u8(0..2))).collect();
    rows.sort_unstable();
    rows.dedup();
    Given { kind, rows, word: random.u8(0..3) }
}

/// Publishes an event; answers its id.
fn publish(log: &Log, random: &mut Rng, given: &Given) -> String {
    let topic = random.usize(0..TOPICS.len());
    let partition = random.u32(0..TOPICS[topic].1);
    let name = if topic == 0 { "type" } else { "kind" };
    let Given { kind, rows, word } = given;
    let rest = match (*kind, rows.as_slice()) {
        ("Many", rows) => {
            let rows: Vec<String> =
                rows.iter().map(|(g, id)| format!(r#"{{"g":"g{g}","id":"r{id}"}}"#)).collect();
            format!(r#","rows":[{}]"#, rows.join(","))
        }
        (_, [(g, id)]) => format!(r#","g":"g{g}","id":"r{id}""#),
        _ => String::new(),
    };
    let kind = if *kind == "Lost" { "Made" } else { kind };
    let value = format!(r#"{{"{name}":"{kind}","word":"w{word}"{rest}}}"#);
    let record = NewRecord {
        key: (random.u8(0..3) > 0).then(|| format!("k{}", random.u8(0..5)).into()),
        value: Some(value.into()),
        timestamp_ms: Some(random.i64(0..30)),
        partition: Some(partition),
        ..NewRecord::default()
    };
    log.lines.push(TOPICS[topic].0, record).expect("the topic is there").to_string()
}

/// Rows by group and id: what they took, and the last word.
type Rows = BTreeMap<(String, String), (Vec<String>, String)>;

/// By row, or `alone`, the events that wait, in order.
type Waiting = BTreeMap<String, Vec<String>>;

/// The internal topic as it is: of each partition each event once, where it stands first. Looked at apart from the engine.
async fn relayed(log: &Log) -> Vec<Vec<(Offset, String)>> {
    let mut all = Vec::new();
    for partition in 0..PARTITIONS {
        let at = TopicPartition { topic: INTERNAL.into(), partition };
        let (mut seen, mut found) = (BTreeSet::new(), Vec::new());
        for offset in 0..log.end(INTERNAL, partition as usize).await {
            let record = log.lines.fetch(&at, offset).await.expect("answers").expect("is there");
            let from = record.headers.iter().find(|(name, _)| name == "kinora-from");
            let Some((_, text)) = from else { continue };
            let id = String::from_utf8_lossy(text).rsplit(' ').next().expect("a word").to_owned();
            if seen.insert(id.clone()) {
                found.push((offset, id));
            }
        }
        all.push(found);
    }
    all
}

/// The internal topic's order, folded apart from the engine.
fn reference(relayed: &[Vec<(Offset, String)>], events: &BTreeMap<String, Given>) -> (Rows, Waiting) {
    let (mut rows, mut waiting) = (Rows::new(), Waiting::new());
    // Groups lie in one partition each: which one shows in where an event of theirs alone stands, and each has one.
    let mut homes: BTreeMap<u8, usize> = BTreeMap::new();
    for (partition, events_here) in relayed.iter().enumerate() {
        for (_, id) in events_here {
            if let [(g, _)] = events[id].rows.as_slice() {
                assert_eq!(*homes.entry(*g).or_insert(partition), partition, "g{g} is folded in one place");
            }
        }
    }
    for (partition, events_here) in relayed.iter().enumerate() {
        for (_, id) in events_here {
            let Given { kind, rows: concerned, word } = &events[id];
            let word = format!("w{word}");
            if *kind == "Lost" {
                waiting.insert(format!("alone {id}"), vec![id.clone()]);
                continue;
            }
            if *kind == "Cleared" {
                let group = format!("g{}", concerned[0].0);
                let parked: Vec<String> =
                    waiting.keys().filter(|row| row.starts_with(&format!("{group}/"))).cloned().collect();
                rows.retain(|(g, row), (_, last)| {
                    *g != group || *last != word || parked.contains(&format!("{g}/{row}"))
                });
                parked.into_iter().for_each(|row| waiting.get_mut(&row).expect("it waits").push(id.clone()));
                continue;
            }
            for (g, row) in concerned.iter().filter(|(g, _)| homes[g] == partition) {
                let key = (format!("g{g}"), format!("r{row}"));
                let name = format!("{}/{}", key.0, key.1);
                if *kind == "Broken" || waiting.contains_key(&name) {
                    waiting.entry(name).or_default().push(id.clone());
                } else if *kind == "Gone" {
                    let is_long = rows.get(&key).is_some_and(|(taken, _)| taken.len() > 3);
                    drop(is_long.then(|| rows.remove(&key)));
                } else {
                    let (taken, last) = rows.entry(key).or_default();
                    taken.push(id.clone());
                    last.clone_from(&word);
                }
            }
        }
    }
    (rows, waiting)
}

/// The rows of the base table; those of the copy must be the same.
async fn rows(definitions: &Definitions, tables: &dyn Tables) -> Rows {
    let mut all = Vec::new();
    for table in &definitions.plan.tables {
        let stored = tables.all(table.id, None, 1_000).await.expect("reads");
        let rows: Rows = stored
            .into_iter()
            .map(|row| match row.cells.as_slice() {
                [Value::Text(g), Value::Text(id), Value::List(taken), Value::Text(last)] => {
                    let taken = taken.iter().map(|id| id.as_str().expect("text").to_owned()).collect();
                    ((g.to_string(), id.to_string()), (taken, last.to_string()))
                }
                other => panic!("{other:?}"),
            })
            .collect();
        all.push(rows);
    }
    assert_eq!(all[0], all[1], "the copy is as the base table");
    all.swap_remove(0)
}

/// What waits, by the ids of the events.
async fn waiting(tables: &dyn Tables, relayed: &[Vec<(Offset, String)>]) -> Waiting {
    let mut found = Waiting::new();
    for ((projection, key), entry) in &all_parked(tables).await.expect("reads") {
        let queue = tables.parked_queue(projection, key, None, 1_000).await.expect("reads");
        let id = |event: &kinora::store::QueuedEvent| {
            let mut events = relayed[event.at.partition as usize].iter();
            let found = events.find(|(offset, _)| *offset == event.offset);
            found.map(|(_, id)| id.clone()).expect("what waits is an event, where it stood first")
        };
        let ids: Vec<String> = queue.iter().map(id).collect();
        let name = match entry.shown.strip_prefix("{\"g\":\"") {
            Some(rest) => rest.trim_end_matches("\"}").replace("\",\"id\":\"", "/"),
            None => format!("alone {}", ids[0]),
        };
        found.insert(name, ids);
    }
    found
}

/// Polls so often at most: then whoever waits dies there.
async fn polled<F: Future>(future: F, polls: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    for _ in 0..polls {
        if let Poll::Ready(done) = futures_util::poll!(&mut future) {
            return Some(done);
        }
        tokio::task::yield_now().await;
    }
    None
}

#[derive(Clone)]
struct Subject {
    definitions: Arc<Definitions>,
    tables: Arc<dyn Tables>,
    log: Log,
    internal: Internal,
}

impl Subject {
    async fn new(random: &mut Rng, fails: u8) -> Subject {
        let definitions = definitions();
        assert_eq!(definitions.projections[0].kind, UpdateKind::MergedFold);
        let tables = MemoryStore::new().open(1, &definitions.plan).await.expect("opens");
        let log = Log::new(random, fails);
        let internal = log.internal().await;
        Subject { definitions, tables, log, internal }
    }

    fn course(&self) -> Course {
        Course {
            projection: Arc::clone(&self.definitions.projections[0]),
            plan: Arc::clone(&self.definitions.plan),
            tables: Arc::clone(&self.tables),
            source: Arc::new(self.log.clone()),
            internal: self.internal.clone(),
        }
    }

    async fn owner(
        &self,
        tables: Arc<dyn Tables>,
        partitions: &[TopicPartition],
        bytes: usize,
    ) -> Result<Projector, Halt> {
        let settings = ProjectSettings {
            batch_bytes_max: bytes,
            cached_rows_max: 2,
            parked_share_max: 1.0,
            ..ProjectSettings::default()
        };
        let scope = Scope { starts: &[], partitions: Some(partitions), internal: Some(&self.internal) };
        let (projection, plan) =
            (Arc::clone(&self.definitions.projections[0]), Arc::clone(&self.definitions.plan));
        Projector::open_within(projection, plan, tables, &self.log, (settings, 1_000_000), scope).await
    }

    /// Folds partitions of the internal topic to their ends.
    async fn fold(&self, tables: Arc<dyn Tables>, partitions: &[u32], bytes: usize) -> Result<(), Halt> {
        let mut ends = Vec::new();
        for partition in partitions {
            ends.push(self.log.end(INTERNAL, *partition as usize).await);
        }
        let at = |partition: &u32| TopicPartition { topic: INTERNAL.into(), partition: *partition };
        let partitions: Vec<TopicPartition> = partitions.iter().map(at).collect();
        self.owner(tables, &partitions, bytes).await?.catch_up(&ends).await
    }

    /// Whether every source is folded to its end, as who waits for a position sees it.
    async fn is_done(&self) -> bool {
        let progress = self.tables.progress();
        for topic in TOPICS.iter().map(|(name, _)| *name) {
            let info = self.log.lines.topic(topic).await.expect("answers").expect("is there");
            for (at, info) in info.all() {
                if progress.of("rows", &at).is_none_or(|mark| mark.next < info.end) {
                    return false;
                }
            }
        }
        true
    }

    /// Relays and folds all that was published, undisturbed.
    async fn finish(&self) {
        let log = Log { fails: 0, ..self.log.clone() };
        let course = Course { source: Arc::new(log), ..self.course() };
        let mut relay = Relay::open(&course, Scope::default()).await.expect("opens");
        for _ in 0..1_000 {
            self.fold(Arc::clone(&self.tables), &[0, 1, 2], usize::MAX).await.expect("folds");
            if self.is_done().await {
                return;
            }
            relay.step().await.expect("relays");
        }
        panic!("it does not come to an end: {:?}", self.tables.progress());
    }
}

#[tokio::test(start_paused = true)]
async fn each_event_is_folded_once_and_in_the_internal_order_whoever_dies() {
    let (mut doubled, mut cut) = (0, 0);
    for seed in seeds(60) {
        println!("seed {seed}");
        let mut random = Rng::with_seed(seed);
        let subject = Subject::new(&mut random, 20).await;
        let (mut events, mut relays) = (BTreeMap::new(), Vec::<Relay>::new());
        for g in 0..4 {
            let given = Given { kind: "Made", rows: vec![(g, 0)], word: 0 };
            events.insert(publish(&subject.log, &mut random, &given), given);
        }
        for _ in 0..random.usize(5..60) {
            match random.u8(0..10) {
                0..3 => {
                    for _ in 0..random.usize(1..12) {
                        let given = given(&mut random);
                        events.insert(publish(&subject.log, &mut random, &given), given);
                    }
                }
                // At most two at once: one of them has lost its place and does not know it.
                3 if relays.len() < 2 => {
                    let opened =
                        polled(Relay::open(&subject.course(), Scope::default()), random.usize(1..40)).await;
                    relays.extend(opened.and_then(Result::ok));
                }
                3..7 if !relays.is_empty() => {
                    let at = random.usize(0..relays.len());
                    tokio::time::advance(Duration::from_millis(random.u64(0..120))).await;
                    let polls = if random.bool() { 400 } else { random.usize(1..20) };
                    // Once it has failed, or was left in the middle, it is at its end.
                    if !matches!(polled(relays[at].step(), polls).await, Some(Ok(()))) {
                        relays.swap_remove(at);
                        cut += 1;
                    }
                }
                7 => subject.log.land(),
                _ => {
                    let dying = Interrupted::after(Arc::clone(&subject.tables), random.u64(1..60));
                    let some: Vec<u32> = (0..PARTITIONS).filter(|_| random.bool()).collect();
                    let _ =
                        subject.fold(Arc::new(dying), &some, [1, 300, usize::MAX][random.usize(0..3)]).await;
                }
            }
        }
        drop(relays);
        subject.log.land();
        subject.finish().await;
        let relayed = relayed(&subject.log).await;
        let (expected, waits) = reference(&relayed, &events);
        let tables = subject.tables.as_ref();
        assert_eq!(rows(&subject.definitions, tables).await, expected, "KINORA_SEED_BASE={seed}");
        assert_eq!(waiting(tables, &relayed).await, waits, "KINORA_SEED_BASE={seed}");
        // Each event is there, and those of a source's partition stand in their order.
        let there: BTreeSet<&String> = relayed.iter().flatten().map(|(_, id)| id).collect();
        assert_eq!(there, events.keys().collect(), "KINORA_SEED_BASE={seed}");
        for events in &relayed {
            let mut last: BTreeMap<&str, Offset> = BTreeMap::new();
            for (_, id) in events {
                let (place, offset) = id.rsplit_once('@').expect("a position");
                let offset = offset.parse().expect("a number");
                let before = last.insert(place, offset);
                assert!(before < Some(offset), "KINORA_SEED_BASE={seed}: {id} stands behind {before:?}");
            }
        }
        let mut records = 0;
        for partition in 0..PARTITIONS as usize {
            records += subject.log.end(INTERNAL, partition).await as usize;
        }
        doubled += records - relayed.iter().map(Vec::len).sum::<usize>();
    }
    assert!(doubled > 0 && cut > 0, "no relay was cut off, and none has repeated anything");
}

/// Readers that have nothing at hand now and then, as those of a log far away.
struct Late {
    inner: Box<dyn Reader>,
    log: Log,
}

impl Reader for Late {
    fn next(&mut self, bytes_max: usize) -> BoxFuture<'_, Result<Fetched, SourceError>> {
        Box::pin(async move {
            for _ in 0..self.log.below(3) {
                tokio::task::yield_now().await;
            }
            self.inner.next(1 + bytes_max % 64).await
        })
    }

    fn more(&mut self, bytes_max: usize) -> Result<Option<Fetched>, SourceError> {
        if self.log.below(2) == 0 { Ok(None) } else { self.inner.more(1 + bytes_max % 64) }
    }

    fn seek(&mut self, at: &TopicPartition, offset: Offset) -> Result<(), SourceError> {
        self.inner.seek(at, offset)
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_log_holds_is_relayed_in_the_order_of_times_however_late_it_comes() {
    for seed in seeds(30) {
        println!("seed {seed}");
        let mut random = Rng::with_seed(seed);
        let subject = Subject::new(&mut random, 0).await;
        for _ in 0..random.usize(1..150) {
            let given = given(&mut random);
            publish(&subject.log, &mut random, &given);
        }
        // Always the front with the least time, then the first topic and partition.
        let mut lanes: Vec<VecDeque<(i64, String)>> = Vec::new();
        for (topic, partitions) in TOPICS {
            for partition in 0..partitions {
                let at = TopicPartition { topic: topic.into(), partition };
                let mut lane = VecDeque::new();
                for offset in 0..subject.log.end(topic, partition as usize).await {
                    let record =
                        subject.log.lines.fetch(&at, offset).await.expect("answers").expect("is there");
                    lane.push_back((record.timestamp_ms, format!("{topic}:{partition}@{offset}")));
                }
                lanes.push(lane);
            }
        }
        let mut merged = Vec::new();
        while let Some(lane) = (0..lanes.len())
            .filter(|lane| !lanes[*lane].is_empty())
            .min_by_key(|lane| (lanes[*lane][0].0, *lane))
        {
            merged.push(lanes[lane].pop_front().expect("it has a front").1);
        }
        subject.finish().await;
        for (partition, events) in relayed(&subject.log).await.into_iter().enumerate() {
            let here: Vec<&String> = events.iter().map(|(_, id)| id).collect();
            let expected: Vec<&String> = merged.iter().filter(|id| here.contains(id)).collect();
            assert_eq!(here, expected, "KINORA_SEED_BASE={seed}, partition {partition}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_internal_topic_that_is_not_as_relays_have_left_it_halts_by_name() {
    let subject = Subject::new(&mut Rng::with_seed(1), 0).await;
    let fold = async |internal: &Internal| {
        let subject = Subject { internal: internal.clone(), ..subject.clone() };
        subject.fold(Arc::clone(&subject.tables), &[0], 1).await.expect_err("it halts").to_string()
    };
    let anew = Internal { topic_id: 7, ..subject.internal.clone() };
    assert!(fold(&anew).await.contains("was created anew"), "{}", fold(&anew).await);
    let grown = Internal { partitions: 2, ..subject.internal.clone() };
    assert!(
        fold(&grown).await.starts_with("internal topic \"kinora.rows\" has 3 partitions, and 2 were made")
    );
    let gone = Internal { topic: "kinora.gone".into(), ..subject.internal.clone() };
    assert!(
        fold(&gone)
            .await
            .starts_with("internal topic \"kinora.gone\" of projection \"rows\" does not exist any more")
    );
    // Somebody else has written there.
    subject
        .log
        .lines
        .push(INTERNAL, NewRecord { partition: Some(0), ..NewRecord::default() })
        .expect("is taken");
    assert_eq!(
        fold(&subject.internal).await,
        "kinora.rows:0@0, in an internal topic, cannot be folded: it has no header of a relay; nobody but `kinora project` may \
         write there, and all processes that do are of one version"
    );
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_parked_row_is_set_free_where_it_stands_in_the_internal_topic() {
    let mut random = Rng::with_seed(1);
    let subject = Subject::new(&mut random, 0).await;
    let row = |kind| Given { kind, rows: vec![(0, 0)], word: 1 };
    let mut published = Vec::new();
    for kind in ["Made", "Broken", "Made", "Lost", "Made"] {
        published.push((
            publish(
                &subject.log,
                &mut random,
                &Given { rows: if kind == "Lost" { vec![] } else { vec![(0, 0)] }, ..row(kind) },
            ),
            kind,
        ));
        // One after the other, so that the order is that of publishing.
        subject.finish().await;
    }
    let parked = all_parked(subject.tables.as_ref()).await.expect("reads");
    assert_eq!(parked.len(), 2, "a row, and a record alone: {parked:?}");
    let partitions: Vec<TopicPartition> =
        (0..PARTITIONS).map(|partition| TopicPartition { topic: INTERNAL.into(), partition }).collect();
    let mut owner = subject.owner(Arc::clone(&subject.tables), &partitions, usize::MAX).await.expect("opens");
    for ((_, key), entry) in parked {
        let is_row = matches!(key, ParkedKey::Row(_));
        let mut step = async |release| {
            let step = ParkedStep { key: key.clone(), release, first: None };
            owner.step_parked(&subject.log, &step).await.expect("is done")
        };
        let retried = step(Release::Retry).await;
        assert!(retried.applied == 0 && retried.stopped.is_some(), "{entry:?}: {retried:?}");
        let skipped = step(Release::SkipFirst).await;
        assert_eq!(
            (skipped.skipped, skipped.applied, skipped.waiting),
            (1, if is_row { 2 } else { 0 }, 0),
            "{skipped:?}"
        );
    }
    let made: Vec<String> =
        published.iter().filter(|(_, kind)| *kind == "Made").map(|(id, _)| id.clone()).collect();
    let rows = rows(&subject.definitions, subject.tables.as_ref()).await;
    assert_eq!(rows[&("g0".to_owned(), "r0".to_owned())].0, made);
}
