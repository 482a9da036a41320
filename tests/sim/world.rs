//! One run: the schedule of a case, carried out, and checked after every change.
//!
//! Owners are futures that this polls itself, one at a time, whenever something they asked for was answered: a seed is one
//! order of everything. Time is tokio's, and passes only when the world says so.

use std::sync::Arc;

use fastrand::Rng;
use kinora::event::TopicPartition;
use kinora::plan::TableRole;
use kinora::store::embedded::{Durability, EmbeddedStore};
use kinora::store::memory::MemoryStore;
use kinora::store::{Batch, Columns, Mutation, Owner, Scan, Store, StoreError};

use crate::case::{Case, Fate, Kind, Step};
use crate::check::{Generation, Held};
use crate::desk::{Afloat, Answer, Ask, Decided, OwnerId, Shared, Writing};
use crate::history::{History, home};
use crate::language::reference::Passed;
use crate::operator::Asked;
use crate::owners;
use crate::plant::Plant;
use crate::seen::Seen;
use crate::source::record;

pub struct World<'c> {
    pub case: &'c Case,
    pub plant: Option<Plant>,
    pub desk: Shared,
    pub store: Box<dyn Store>,
    /// Where the embedded store lies, for as long as it is open.
    _directory: Option<tempfile::TempDir>,
    pub generations: Vec<Generation>,
    pub owners: Vec<owners::Owner>,
    pub appended: usize,
    /// What operators have asked and were not told of yet.
    pub asked: Vec<Asked>,
    pub seen: &'c mut Seen,
    pub trace: Option<&'c mut Vec<String>>,
}

/// Carries out a case.
///
/// # Errors
/// What was wrong first.
pub async fn run(
    case: &Case,
    plant: Option<Plant>,
    seen: &mut Seen,
    trace: Option<&mut Vec<String>>,
) -> Result<(), String> {
    let mut world = World::new(case, plant, seen, trace);
    world.generation().await?;
    if case.is_merged() {
        // The order of partitions depends on the log alone only where it is all there.
        world.append(case.log.len());
    }
    for step in &case.steps {
        world.step(step).await?;
    }
    world.finish().await
}

impl<'c> World<'c> {
    fn new(
        case: &'c Case,
        plant: Option<Plant>,
        seen: &'c mut Seen,
        trace: Option<&'c mut Vec<String>>,
    ) -> World<'c> {
        let directory =
            (case.kind == Kind::Embedded).then(|| tempfile::tempdir().expect("a directory can be made"));
        let store: Box<dyn Store> = match &directory {
            Some(directory) => {
                let opened = EmbeddedStore::open(directory.path(), Durability::default());
                Box::new(opened.expect("the store opens"))
            }
            None if case.kind == Kind::Atomic => Box::new(MemoryStore::atomic()),
            None => Box::new(MemoryStore::new()),
        };
        let desk = Shared::new(Rng::with_seed(case.seed ^ 0xDE5C), case.is_merged());
        let topics = if case.is_merged() { &["a", "b"][..] } else { &["a"] };
        for topic in topics {
            for partition in 0..2 {
                desk.lock().log.insert(TopicPartition { topic: (*topic).into(), partition }, Vec::new());
            }
        }
        World {
            case,
            plant,
            desk,
            store,
            _directory: directory,
            generations: Vec::new(),
            owners: Vec::new(),
            appended: 0,
            asked: Vec::new(),
            seen,
            trace,
        }
    }

    pub fn say(&mut self, what: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(what());
        }
    }

    /// Begins the next generation.
    pub async fn generation(&mut self) -> Held {
        let number = self.generations.len();
        let bound = Arc::clone(&self.case.bound[number]);
        let truth = if self.case.mends { &bound.mended } else { &bound.program };
        let history = History::of(truth, &self.case.log, &Passed::default());
        let opened = self.store.open(number as u32 + 1, &bound.definitions.plan).await;
        let tables = opened.map_err(|error| error.to_string())?;
        self.desk.lock().epochs.push(0);
        let case = self.case;
        self.generations.push(Generation::new(bound, (&case.log, case.mends), history, tables));
        Ok(())
    }

    async fn step(&mut self, step: &Step) -> Held {
        match step {
            Step::Serve(pick) => match self.servable(|_| true, *pick) {
                Some(id) => self.serve(id).await,
                None => self.wait(200).await,
            },
            Step::Write(pick, fate) => match self.servable(|ask| matches!(ask, Ask::Write(_)), *pick) {
                Some(id) => self.write(id, *fate).await,
                None => Ok(()),
            },
            Step::Fail(pick) => match self.servable(|ask| !matches!(ask, Ask::Write(_)), *pick) {
                Some(id) => self.fail(id).await,
                None => Ok(()),
            },
            Step::Land(pick) => self.land_afloat(*pick).await,
            Step::Crash(pick) => match self.alive(*pick) {
                Some(owner) => self.crash(owner).await,
                None => Ok(()),
            },
            Step::Start(choice, quarters) => self.start(*choice, *quarters).await,
            Step::Stop(pick) => match self.alive(*pick) {
                Some(owner) => {
                    self.say(|| format!("owner {owner} is told to stop"));
                    let _ = self.owners[owner].stop.send(true);
                    self.poll(owner)
                }
                None => Ok(()),
            },
            Step::Append(count) => {
                self.append(usize::from(*count));
                Ok(())
            }
            Step::Wait => self.wait(6_000).await,
            Step::Rebuild => self.rebuild().await,
            Step::Ask(owner, key, way) => self.ask(*owner, *key, *way).await,
            Step::Mend => {
                self.mend();
                Ok(())
            }
        }
    }

    pub fn append(&mut self, count: usize) {
        let log = &self.case.log;
        let to = log.len().min(self.appended + count);
        for given in &log[self.appended..to] {
            let mut desk = self.desk.lock();
            let records = desk.log.get_mut(&home(given)).expect("all partitions are there");
            let offset = records.len() as u64;
            records.push(record(given, offset));
            if let Some(bytes) = self.case.spoilt(given) {
                desk.spoilt.insert((home(given), offset), bytes);
            }
        }
        for given in &log[self.appended..to] {
            self.say(|| format!("the log gets {} {}", given.position, given.value));
        }
        self.appended = to;
    }

    pub async fn rebuild(&mut self) -> Held {
        if self.generations.len() == self.case.bound.len() {
            return Ok(());
        }
        self.say(|| "a second generation begins".to_owned());
        self.seen.note("a definition changed in between");
        self.generation().await?;
        self.begin(self.generations.len() - 1, 0, 4)
    }

    /// One ask that can be answered.
    pub fn servable(&self, wanted: impl Fn(&Ask) -> bool, pick: u16) -> Option<u64> {
        let desk = self.desk.lock();
        let can = |ask: &Ask| match ask {
            Ask::Fetch(places, _) => places.iter().any(|place| desk.goes_on(place)),
            _ => true,
        };
        let fits = |(_, (_, ask)): &(&u64, &(OwnerId, Ask))| wanted(ask) && can(ask);
        let ids: Vec<u64> = desk.pending.iter().filter(fits).map(|(id, _)| *id).collect();
        (!ids.is_empty()).then(|| ids[usize::from(pick) % ids.len()])
    }

    fn ask_of(&self, id: u64) -> (OwnerId, Ask) {
        self.desk.lock().pending[&id].clone()
    }

    /// Answers an ask as it should be.
    pub async fn serve(&mut self, id: u64) -> Held {
        let (owner, ask) = self.ask_of(id);
        let tables = self.tables_of(owner);
        let answer = match ask {
            Ask::Get(table, keys) => {
                for key in &keys {
                    if !self.owners[owner].read.insert(key.clone()) {
                        self.seen.note("a row was read again after it was evicted");
                    }
                }
                Answer::Rows(tables.get(table, &keys, Columns::All).await.map_err(text)?)
            }
            Ask::Scan(page) => {
                self.seen.note("rows were deleted by the beginning of their key");
                let scan = Scan {
                    table: page.table,
                    partition: &page.partition,
                    from: page.from.bound(),
                    to: page.to.bound(),
                    reverse: false,
                    limit: page.limit,
                    columns: Columns::All,
                    at_ms: None,
                };
                Answer::Page(tables.scan(scan).await.map_err(text)?)
            }
            Ask::Reload => {
                self.end_doubt(owner).await?;
                Answer::Ledger(tables.progress(), tables.parked())
            }
            Ask::Topic => Answer::Done,
            Ask::Fetch(places, bytes) => self.fetch(owner, &places, bytes),
            Ask::Write(writing) => {
                self.say(|| format!("owner {owner}: {} arrives", shown(&writing)));
                self.land(owner, &writing).await?
            }
        };
        self.desk.answer(id, answer);
        self.poll(owner)
    }

    fn fetch(&mut self, owner: OwnerId, places: &[(TopicPartition, u64)], bytes: usize) -> Answer {
        let mut desk = self.desk.lock();
        let open: Vec<_> = places.iter().filter(|place| desk.goes_on(place)).collect();
        let place = open[desk.rng.usize(0..open.len())];
        let fetched = desk.fetch(place, bytes);
        drop(desk);
        let (from, to) = (place.1, fetched.next);
        self.say(|| format!("owner {owner} fetches {}:{} {from}..{to}", place.0.topic, place.0.partition));
        Answer::Fetched(fetched)
    }

    async fn write(&mut self, id: u64, fate: Fate) -> Held {
        let (owner, ask) = self.ask_of(id);
        let Ask::Write(writing) = ask else { return Ok(()) };
        self.say(|| format!("owner {owner}: {} is {fate:?}", shown(&writing)));
        // What is applied whole is not applied a second time either.
        let is_whole = matches!(writing, Writing::Batch(_));
        let afloat = Afloat { owner, writing: writing.clone() };
        match fate {
            Fate::Unacknowledged => {
                self.seen.note("a timeout of a write that was applied");
                self.land(owner, &writing).await?;
            }
            Fate::Late if !is_whole => {
                self.seen.note("a timeout of a write that was late");
                self.desk.lock().afloat.push(afloat);
            }
            Fate::Twice if !is_whole => {
                self.seen.note("a write came twice");
                let answer = self.land(owner, &writing).await?;
                self.desk.lock().afloat.push(afloat);
                self.desk.answer(id, answer);
                return self.poll(owner);
            }
            _ => self.seen.note("a timeout of a write that was never applied"),
        }
        self.forget(owner);
        self.desk.answer(id, Answer::Failed);
        self.poll(owner)
    }

    async fn fail(&mut self, id: u64) -> Held {
        let (owner, ask) = self.ask_of(id);
        self.seen.note(match ask {
            Ask::Topic | Ask::Reload => "an owner could not begin at first",
            Ask::Fetch(..) => "the log did not answer",
            _ => "a read of rows failed",
        });
        self.say(|| format!("owner {owner} is not answered"));
        self.forget(owner);
        self.desk.answer(id, Answer::Failed);
        self.poll(owner)
    }

    /// Failures make an owner forget its rows.
    fn forget(&mut self, owner: OwnerId) {
        self.owners[owner].read.clear();
    }

    pub async fn land_afloat(&mut self, pick: u16) -> Held {
        let Some(Afloat { owner, writing }) = self.desk.lock().take_afloat(pick) else { return Ok(()) };
        self.say(|| format!("of owner {owner}, late: {} arrives", shown(&writing)));
        if !self.is_newest(owner) {
            self.seen.note("a late write arrived after the owner had changed");
        } else if !self.is_alive(owner) {
            self.seen.note("a late write arrived after its owner had crashed");
        }
        self.land(owner, &writing).await.map(drop)
    }

    /// Applies a write, and checks what stands there now. Answers what the store says to it.
    pub async fn land(&mut self, owner: OwnerId, writing: &Writing) -> Result<Answer, String> {
        let is_newest = self.is_newest(owner);
        let generation = self.owners[owner].generation;
        self.witness(owner, writing).await?;
        let tables = self.tables_of(owner);
        let one = |batch| tables.commit(batch);
        match writing {
            Writing::Row(mutation) => {
                let base = vec![mutation.clone()];
                one(Batch { base, ..Batch::default() }).await.map_err(text)?;
                self.generations[generation].row(mutation).await?;
            }
            Writing::Park(change, by) => return self.decide(owner, change, by).await,
            Writing::Progress(mark) => {
                if !is_newest {
                    self.seen.note("progress of an owner that had lost its place");
                }
                one(Batch { progress: vec![mark.clone()], ..Batch::default() }).await.map_err(text)?;
                self.generations[generation].progress().await?;
            }
            Writing::Own(projection, partitions, taken) => {
                return self.take(owner, projection, partitions, *taken).await;
            }
            Writing::Batch(batch) => return self.land_batch(owner, batch).await,
        }
        Ok(Answer::Done)
    }

    /// A batch of the atomic profile: all of it, or nothing where its owner is not the owner any more.
    async fn land_batch(&mut self, owner: OwnerId, batch: &Batch) -> Result<Answer, String> {
        let generation = self.owners[owner].generation;
        let is_owners = self.is_newest(owner);
        if is_owners {
            self.desk.lock().decided.extend(Decided::of(batch));
            self.hear(owner)?;
        }
        let mut batch = batch.clone();
        let (rows, keys) =
            ([&batch.derived, &batch.left, &batch.base].map(Vec::clone).concat(), batch.parked.len());
        if self.plant == Some(Plant::BatchesUnfenced) {
            let epoch = self.desk.lock().epochs[generation];
            batch.owners = batch.owners.iter().map(|by| Owner { epoch, ..by.clone() }).collect();
        }
        match self.tables_of(owner).commit(batch).await {
            Err(lost @ StoreError::LostOwnership { .. }) if !is_owners => {
                self.seen.note("a batch of an owner that had lost its place was refused");
                return Ok(Answer::Refused(lost));
            }
            landed => landed.map_err(text)?,
        }
        if keys > 0 {
            self.seen.note("a key was parked");
        }
        for mutation in &rows {
            self.generations[generation].row(mutation).await?;
        }
        self.generations[generation].progress().await?;
        Ok(Answer::Done)
    }

    /// Notes what is rare about a write.
    async fn witness(&mut self, owner: OwnerId, writing: &Writing) -> Held {
        let Writing::Row(mutation) = writing else { return Ok(()) };
        let table = Arc::clone(
            self.generations[self.owners[owner].generation].bound.definitions.plan.table(mutation.table()),
        );
        if matches!(table.role, TableRole::Buckets { .. }) {
            self.seen.note("a bucket got its name");
        }
        let tables = self.tables_of(owner);
        let stored =
            tables.get(table.id, std::slice::from_ref(mutation.key()), Columns::All).await.map_err(text)?;
        let stored = stored.into_iter().next().flatten();
        let place = (table.id, mutation.key().clone());
        match mutation {
            Mutation::Replace { .. } if self.owners[owner].left.contains(&place) => {
                self.seen.note("a copy came back to a key that it had left");
            }
            Mutation::Delete { .. } => drop(self.owners[owner].left.insert(place)),
            _ => {}
        }
        match mutation {
            Mutation::Delete { .. } if stored.is_none() => {
                self.seen.note("a copy was left that was never stored")
            }
            Mutation::Delete { .. } => self.seen.note("a copy moved away"),
            Mutation::Bury { .. } => self.seen.note("a row was deleted"),
            _ => {}
        }
        if stored.as_ref().is_some_and(|row| row.offset > mutation.offset()) {
            self.seen.note("a write came behind a later one");
        }
        if !self.is_newest(owner) && self.is_alive(owner) {
            self.seen.note("an owner that had lost its place went on writing rows");
        }
        Ok(())
    }
}

fn text(error: StoreError) -> String {
    error.to_string()
}

/// A write, in a line.
fn shown(writing: &Writing) -> String {
    match writing {
        Writing::Row(mutation) => format!("{mutation:?}"),
        Writing::Park(change, by) => format!("by epoch {}: {change:?}", by.epoch),
        Writing::Own(_, _, taken) => format!("epoch {}", taken + 1),
        Writing::Progress(mark) => format!("progress {}:{} {}", mark.at.topic, mark.at.partition, mark.next),
        Writing::Batch(batch) => format!("{batch:?}"),
    }
}
