//! Owners: processes that work the projection, each a future that the world polls itself.
//!
//! They begin, live side by side where the case allows it, crash at whichever point they wait, and stop when told. One that
//! lost its partitions goes on until it decides something, and then says so.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use kinora::handler::Projection;
use kinora::plan::{Plan, TableId};
use kinora::project::retry::{ParkedRequest, ParkedRequests};
use kinora::project::{Halt, ProjectSettings, Projector, ProjectorState};
use kinora::source::SourceError;
use kinora::store::{ParkChange, StoreError, Tables};
use kinora::value::encode::RowKey;
use tokio::sync::{mpsc, watch};

use crate::case::{Kind, settings};
use crate::check::Held;
use crate::desk::{Answer, Ask, OwnerId, Writing};
use crate::planted::Planted;
use crate::source::{Sight, SimSource};
use crate::tables::SimTables;
use crate::world::World;

/// Most owners of one run.
const OWNERS_MAX: usize = 12;

/// Most requests that wait for an owner.
const REQUESTS_MAX: usize = 2;

/// Most that live side by side.
const OWNERS_ALIVE_MAX: usize = 3;

type Working = Pin<Box<dyn Future<Output = Result<(), String>>>>;

pub struct Owner {
    pub generation: usize,
    /// `None` once it is gone.
    pub working: Option<Working>,
    pub stop: watch::Sender<bool>,
    /// What operators ask of it.
    pub requests: mpsc::Sender<ParkedRequest>,
    /// How often its partitions had been taken when it took them last.
    pub epoch: Option<u64>,
    /// Whether it takes what its forerunners refused. An owner stays as it is (B11).
    pub mended: bool,
    /// Rows that it has read since it last lost its memory.
    pub read: BTreeSet<RowKey>,
    /// Keys of copies that it has deleted.
    pub left: BTreeSet<(TableId, RowKey)>,
}

impl World<'_> {
    pub fn is_alive(&self, owner: OwnerId) -> bool {
        self.owners[owner].working.is_some()
    }

    pub fn alive(&self, pick: u8) -> Option<OwnerId> {
        let alive: Vec<OwnerId> = (0..self.owners.len()).filter(|owner| self.is_alive(*owner)).collect();
        (!alive.is_empty()).then(|| alive[usize::from(pick) % alive.len()])
    }

    /// Whether an owner is the last that took over its generation.
    pub fn is_newest(&self, owner: OwnerId) -> bool {
        let Owner { generation, epoch, .. } = self.owners[owner];
        epoch == Some(self.desk.lock().epochs[generation])
    }

    pub fn tables_of(&self, owner: OwnerId) -> Arc<dyn Tables> {
        Arc::clone(&self.generations[self.owners[owner].generation].tables)
    }

    pub async fn crash(&mut self, owner: OwnerId) -> Held {
        self.say(|| format!("owner {owner} crashes"));
        let asked: Vec<(u64, Ask)> = {
            let desk = self.desk.lock();
            let mine = desk.pending.iter().filter(|(_, (of, _))| *of == owner);
            mine.map(|(id, (_, ask))| (*id, ask.clone())).collect()
        };
        for (id, ask) in asked {
            match ask {
                Ask::Write(Writing::Batch(batch)) => {
                    // A process that dies while a batch is on its way has written it, or not.
                    self.seen.note("a crash while a batch was on its way");
                    if id % 2 == 0 {
                        self.land(owner, &Writing::Batch(batch)).await?;
                    }
                    self.desk.answer(id, Answer::Failed);
                }
                Ask::Write(Writing::Progress(_)) => self.seen.note("a crash between rows and progress"),
                Ask::Write(Writing::Park(ParkChange::Dequeue { .. }, _)) => {
                    self.seen.note("a crash between a row and the queue that it leaves");
                }
                Ask::Write(Writing::Own(..)) => self.seen.note("a crash while partitions were taken"),
                Ask::Write(_) => self.seen.note("a crash between the writes of a batch"),
                Ask::Get(..) => self.seen.note("a crash while rows were read"),
                _ => self.seen.note("a crash before a batch"),
            }
        }
        self.owners[owner].working = None;
        Ok(())
    }

    pub async fn start(&mut self, choice: u8, quarters: u64) -> Held {
        let generation = usize::from(choice) % self.generations.len();
        let rivals: Vec<OwnerId> = (0..self.owners.len())
            .filter(|owner| self.is_alive(*owner) && self.owners[*owner].generation == generation)
            .collect();
        if self.case.alone {
            for owner in rivals {
                self.crash(owner).await?;
            }
        } else if rivals.len() >= OWNERS_ALIVE_MAX {
            return Ok(());
        } else if !rivals.is_empty() {
            self.seen.note("two owners at once");
        }
        if self.owners.len() >= OWNERS_MAX {
            return Ok(());
        }
        self.begin(generation, choice, quarters)
    }

    /// A new owner begins.
    pub fn begin(&mut self, generation: usize, choice: u8, quarters: u64) -> Held {
        let owner = self.owners.len();
        // Merged, what was committed is what fixes the order: progress that is lost cannot be made up for.
        let quarters = if self.case.is_merged() { 4 } else { quarters };
        // On disk rows have no stamps of cells, and progress is never behind them: what only assigns cannot be older.
        let is_blind = self.generations[generation].bound.program.is_blind;
        let quarters = if self.case.kind == Kind::Embedded && is_blind { 4 } else { quarters };
        // What was passed and left no position is not known again.
        let quarters = if self.generations[generation].has_passed_without_position() { 4 } else { quarters };
        self.say(|| {
            format!("owner {owner} takes over generation {generation}, with {quarters}/4 of its progress")
        });
        if quarters < 4
            && self.generations[generation].tables.progress().marks.iter().any(|mark| mark.next > 0)
        {
            self.seen.note("applied events were delivered again");
        }
        let at = &self.generations[generation];
        let tables = SimTables {
            desk: self.desk.clone(),
            owner,
            generation,
            inner: Arc::clone(&at.tables),
            remembers_quarters: quarters,
            view: Default::default(),
            planted: Planted::new(self.plant, &self.desk, at, owner),
        };
        let mended = self.desk.lock().mended;
        let sight = Sight { mended, plant: self.plant };
        let source = SimSource { desk: self.desk.clone(), owner, sight };
        let (stop, stopped) = watch::channel(false);
        let (requests, asked) = mpsc::channel(REQUESTS_MAX);
        let definitions = &at.bound.definitions;
        let projection = if mended { &at.bound.mended_projection } else { &definitions.projections[0] };
        let now_us = 1_000_000 + i64::from(self.desk.lock().rng.u16(..));
        let working = work(
            Arc::clone(projection),
            Arc::clone(&definitions.plan),
            (Arc::new(tables), Arc::new(source)),
            (settings(choice), now_us),
            (asked, stopped),
        );
        self.owners.push(Owner {
            generation,
            working: Some(Box::pin(working)),
            stop,
            requests,
            epoch: None,
            mended,
            read: BTreeSet::new(),
            left: BTreeSet::new(),
        });
        self.poll(owner)
    }

    pub fn poll(&mut self, owner: OwnerId) -> Held {
        let Some(working) = &mut self.owners[owner].working else { return Ok(()) };
        let unconstrained = &mut std::pin::pin!(tokio::task::unconstrained(working.as_mut()));
        let polled = unconstrained.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        self.hear(owner)?;
        match polled {
            Poll::Pending => Ok(()),
            Poll::Ready(Err(reason)) if reason.contains("lost ownership of ") && !self.is_newest(owner) => {
                self.owners[owner].working = None;
                self.seen.note("an owner that had lost its place halted at a decision");
                self.say(|| format!("owner {owner} halts: {reason}"));
                Ok(())
            }
            Poll::Ready(ended) => {
                self.owners[owner].working = None;
                ended.map_err(|reason| format!("owner {owner} halted: {reason}"))?;
                self.seen.note("an owner stopped when told");
                self.say(|| format!("owner {owner} has stopped"));
                Ok(())
            }
        }
    }

    /// Time passes: who pauses goes on.
    pub async fn wait(&mut self, ms: u64) -> Held {
        tokio::time::advance(Duration::from_millis(ms)).await;
        (0..self.owners.len()).try_for_each(|owner| self.poll(owner))
    }
}

/// An owner: takes the projection up, and works until it is told to stop.
async fn work(
    projection: Arc<Projection>,
    plan: Arc<Plan>,
    (tables, source): (Arc<SimTables>, Arc<SimSource>),
    (settings, now_us): (ProjectSettings, i64),
    (asked, stop): (mpsc::Receiver<ParkedRequest>, watch::Receiver<bool>),
) -> Result<(), String> {
    loop {
        let (projection, plan) = (Arc::clone(&projection), Arc::clone(&plan));
        let tables = Arc::clone(&tables) as Arc<dyn Tables>;
        match Projector::open(projection, plan, tables, source.as_ref(), settings, now_us).await {
            Ok(projector) => {
                let (state, said) = watch::channel(ProjectorState::Running);
                let requests = ParkedRequests { source, asked };
                projector.run_with(&mut Some(requests), state, stop).await;
                return match &*said.borrow() {
                    ProjectorState::Running | ProjectorState::Waiting(_) => Ok(()),
                    ended => Err(format!("{ended:?}")),
                };
            }
            Err(Halt::Store(StoreError::Unavailable(_)) | Halt::Source(SourceError::Unavailable(_))) => {
                if *stop.borrow() {
                    return Ok(());
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(halt) => return Err(halt.to_string()),
        }
    }
}
