//! Operators, who ask owners to set parked keys free, and what the store lets an owner decide.
//!
//! Comes in: which owner is asked what, decisions that arrive. Goes out: requests, in the loop's own queue; and what has been
//! passed, which changes what the log means. Operators ask for one thing and then another, of owners that are and that were:
//! what became of an event first, in a row or a copy, is what becomes of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fastrand::Rng;
use kinora::event::{Position, TopicPartition};
use kinora::project::retry::{ParkedRequest, ParkedStep, Release, Stepped};
use kinora::store::{Batch, Ended, Owner, ParkChange, ParkedKey, QueuedEvent, StoreError, all_parked};
use tokio::sync::oneshot;

use crate::check::{Generation, Held};
use crate::desk::{Afloat, Answer, Decided, OwnerId, Writing};
use crate::history::History;
use crate::language::reference::Passed;
use crate::plant::Plant;
use crate::world::World;

/// Steps within which all keys of a generation are free, or are known to stay parked.
const STEPS_MAX: usize = 1_000;

/// What operators ask for, as often as it stands here.
const WAYS: [Release; 5] =
    [Release::Retry, Release::Retry, Release::Retry, Release::SkipFirst, Release::Drop];

/// Something that was asked of an owner.
pub struct Asked {
    owner: OwnerId,
    release: Release,
    reply: oneshot::Receiver<Result<Stepped, String>>,
}

/// What has become of events that waited.
#[derive(Default)]
pub struct Standing {
    /// By key and position: whether the event is passed, or applied.
    decided: BTreeMap<(ParkedKey, String), bool>,
    pub passed: Passed,
    /// What operators wanted passed.
    skips: BTreeSet<(ParkedKey, String)>,
    drops: BTreeSet<ParkedKey>,
}

impl Standing {
    /// Whether nothing was ever set free.
    pub fn is_untouched(&self) -> bool {
        self.decided.is_empty()
    }

    fn want(&mut self, key: &ParkedKey, release: Release, first: &QueuedEvent) {
        match release {
            Release::Retry => {}
            Release::SkipFirst => drop(self.skips.insert((key.clone(), position(first)))),
            Release::Drop => drop(self.drops.insert(key.clone())),
        }
    }
}

fn position(event: &QueuedEvent) -> String {
    format!("{}:{}@{}", event.at.topic, event.at.partition, event.offset)
}

impl Generation {
    /// Takes in what an owner is about to write of an event that waited.
    fn decide(&mut self, Decided { key, event, ended, .. }: Decided) -> Held {
        let place = (key.clone(), position(&event));
        let passes = ended != Ended::Applied;
        let wanted = match ended {
            Ended::Applied => true,
            Ended::Skipped => self.standing.skips.contains(&place),
            Ended::Dropped => self.standing.drops.contains(&key),
        };
        if !wanted {
            return Err(format!("{} is {ended:?}, which nobody asked for", place.1));
        }
        let before = self.standing.decided.insert(place, passes);
        if before.is_some_and(|before| before != passes) {
            return Err(format!("{} is {ended:?}, and was begun otherwise", position(&event)));
        }
        if passes && before.is_none() {
            match &key {
                ParkedKey::Row(row) => {
                    let name = self.keys.get(row).ok_or("a row that no event names was parked")?;
                    self.standing.passed.rows.insert((name.clone(), position(&event)));
                }
                _ => drop(self.standing.passed.records.insert(position(&event))),
            }
            self.history = History::of(self.truth(), &self.log, &self.standing.passed);
        }
        Ok(())
    }

    /// Whether events were passed whose rows do not know of it: what assigns blindly keeps no positions, and a record without
    /// a row has none.
    pub fn has_passed_without_position(&self) -> bool {
        let Passed { rows, records } = &self.standing.passed;
        !records.is_empty() || self.bound.program.is_blind && !rows.is_empty()
    }

    async fn waits(&self, change: &ParkChange) -> Result<bool, String> {
        let queue = self.queue(change.key()).await?;
        Ok(queue.iter().any(|event| event.at == change.event().at && event.offset == change.event().offset))
    }

    pub async fn queue(&self, key: &ParkedKey) -> Result<Vec<QueuedEvent>, String> {
        let queue = self.tables.parked_queue("rows", key, None, 10_000).await;
        queue.map_err(|error| error.to_string())
    }

    /// An event that a row has taken does not begin to wait for it.
    async fn not_taken(&self, change: &ParkChange) -> Held {
        let ParkedKey::Row(key) = change.key() else { return Ok(()) };
        let stored = self.base_row_of(key).await?;
        let at = stored.map(|row| row.offset);
        match at >= Some(change.event().order) && !self.bound.program.is_blind {
            true => Err(format!("{} waits for a row that stands at {at:?}", position(change.event()))),
            false => Ok(()),
        }
    }

    /// What is parked and can be set free here, each with its queue.
    async fn parked_now(&self) -> Result<Vec<(ParkedKey, Vec<QueuedEvent>)>, String> {
        let all = all_parked(self.tables.as_ref()).await.map_err(|error| error.to_string())?;
        let mut found = Vec::new();
        for ((_, key), _) in all {
            // Merged, rows go on past a record that waits without a row: what it comes to then is no matter of the log alone.
            if !self.is_merged() || matches!(key, ParkedKey::Row(_)) {
                found.push((key.clone(), self.queue(&key).await?));
            }
        }
        Ok(found)
    }
}

impl World<'_> {
    /// Those who begin from now on take what was refused.
    pub fn mend(&mut self) {
        if self.case.mends && !self.desk.lock().mended {
            self.desk.lock().mended = true;
            self.say(|| "what was refused is taken from now on".to_owned());
            self.seen.note("what refused events was mended");
        }
    }

    /// Hears of what an owner has decided, before anything of it arrives.
    pub fn hear(&mut self, owner: OwnerId) -> Held {
        let (decided, broken) = {
            let mut desk = self.desk.lock();
            (std::mem::take(&mut desk.decided), desk.broken.take())
        };
        let generation = self.owners[owner].generation;
        decided.into_iter().try_for_each(|decided| self.generations[generation].decide(decided))?;
        broken.map_or(Ok(()), Err)
    }

    /// An operator asks an owner to set a key free, whether it is the owner still or not.
    pub async fn ask(&mut self, owner: u8, key: u16, way: u8) -> Held {
        let Some(owner) = self.alive(owner).filter(|_| self.case.releases) else { return Ok(()) };
        let generation = &self.generations[self.owners[owner].generation];
        let mut parked = generation.parked_now().await?;
        if parked.is_empty() {
            return Ok(());
        }
        let (key, queue) = parked.swap_remove(usize::from(key) % parked.len());
        self.request(owner, key, WAYS[usize::from(way) % WAYS.len()], &queue)
    }

    fn request(&mut self, owner: OwnerId, key: ParkedKey, release: Release, queue: &[QueuedEvent]) -> Held {
        self.hear_replies();
        let generation = self.owners[owner].generation;
        let Some(first) = queue.first() else { return Ok(()) };
        let meant = Position { at: first.at.clone(), offset: first.offset };
        let names = release == Release::SkipFirst && self.plant != Some(Plant::AnySkipped);
        let first_meant = names.then_some(meant);
        let step = ParkedStep { key: key.clone(), release, first: first_meant };
        let (reply, replied) = oneshot::channel();
        if self.owners[owner].requests.try_send(ParkedRequest { step, reply }).is_err() {
            return Ok(());
        }
        self.generations[generation].standing.want(&key, release, first);
        self.say(|| {
            format!("owner {owner} is asked for {release:?} of {}, {} wait", position(first), queue.len())
        });
        if !self.is_newest(owner) {
            self.seen.note("an owner that had lost its place was asked to set a key free");
        }
        self.asked.push(Asked { owner, release, reply: replied });
        self.poll(owner)
    }

    /// Forgets what was answered, and what nobody is left to answer.
    fn hear_replies(&mut self) {
        let mut asked = std::mem::take(&mut self.asked);
        asked.retain_mut(|asked| match asked.reply.try_recv() {
            Ok(told) => {
                self.tell(asked.release, &told);
                false
            }
            Err(oneshot::error::TryRecvError::Closed) => false,
            Err(oneshot::error::TryRecvError::Empty) => self.is_alive(asked.owner),
        });
        self.asked = asked;
    }

    fn tell(&mut self, release: Release, told: &Result<Stepped, String>) {
        self.say(|| format!("{release:?} is answered with {told:?}"));
        self.seen.note(match told {
            Err(_) => "a release failed",
            Ok(done) if done.skipped > 0 => "a parked event was skipped",
            Ok(done) if done.dropped > 0 => "parked events were dropped",
            Ok(done) if done.waiting == 0 => "a key was set free",
            Ok(done) if done.applied > 0 => "a part of a queue was applied",
            Ok(_) => "a key stayed parked",
        });
    }

    /// A decision arrives: it holds while whoever has made it is the owner still.
    pub async fn decide(
        &mut self,
        owner: OwnerId,
        change: &ParkChange,
        by: &Owner,
    ) -> Result<Answer, String> {
        let number = self.owners[owner].generation;
        let epoch = self.desk.lock().epochs[number];
        let is_owners = by.epoch == epoch;
        let by = match self.plant {
            Some(Plant::DecisionsUnfenced) => Owner { epoch, ..by.clone() },
            _ => by.clone(),
        };
        let generation = &self.generations[number];
        let waited = generation.waits(change).await?;
        let batch = Batch { parked: vec![change.clone()], owners: Arc::from([by]), ..Batch::default() };
        match generation.tables.commit(batch).await {
            Err(lost @ StoreError::LostOwnership { .. }) if !is_owners => {
                self.seen.note("a decision of an owner that had lost its place was refused");
                return Ok(Answer::Refused(lost));
            }
            Err(StoreError::Unavailable(_)) => {
                self.seen.note("a release came late, and another had begun");
                return Ok(Answer::Failed);
            }
            Ok(()) if !is_owners && self.plant.is_none() => {
                return Err(format!("a decision was taken of who is not the owner: {change:?}"));
            }
            landed => landed.map_err(|error| error.to_string())?,
        }
        if !waited && generation.waits(change).await? {
            generation.not_taken(change).await?;
        }
        if matches!(change, ParkChange::Park { .. }) {
            self.seen.note("a key was parked");
        }
        Ok(Answer::Done)
    }

    /// Decisions of an owner that are afloat arrive now, or never: whoever asks has an answer.
    pub async fn end_doubt(&mut self, owner: OwnerId) -> Held {
        let is_decision =
            |afloat: &Afloat| afloat.owner == owner && matches!(afloat.writing, Writing::Park(..));
        let (decisions, others): (Vec<_>, Vec<_>) = {
            let mut desk = self.desk.lock();
            std::mem::take(&mut desk.afloat).into_iter().partition(is_decision)
        };
        self.desk.lock().afloat = others;
        for (number, afloat) in decisions.into_iter().enumerate() {
            let arrives = self.desk.lock().rng.bool();
            let Writing::Park(change, by) = &afloat.writing else { continue };
            self.say(|| format!("of owner {owner}, decision {number} that was not acknowledged: {arrives}"));
            self.seen.note("decisions were in doubt");
            if arrives {
                self.decide(owner, change, by).await?;
            }
        }
        Ok(())
    }

    /// Partitions are taken, if nobody else has taken them since they were looked at.
    pub async fn take(
        &mut self,
        owner: OwnerId,
        projection: &Arc<str>,
        partitions: &[TopicPartition],
        taken: u64,
    ) -> Result<Answer, String> {
        let number = self.owners[owner].generation;
        if self.desk.lock().epochs[number] != taken {
            self.seen.note("another owner was quicker");
            return Ok(Answer::Failed);
        }
        let newer = |other: &crate::owners::Owner| {
            other.generation == number && other.mended && other.epoch.is_some()
        };
        if !self.owners[owner].mended && self.owners.iter().any(newer) {
            // Nobody goes back to definitions that refuse more (B11).
            self.say(|| format!("owner {owner} is of the old definitions, and ends"));
            self.owners[owner].working = None;
            return Ok(Answer::Failed);
        }
        if self.plant == Some(Plant::EpochNotRaised) && taken > 0 {
            let again = |at: &TopicPartition| Owner {
                projection: Arc::clone(projection),
                at: at.clone(),
                epoch: taken,
            };
            self.owners[owner].epoch = Some(taken);
            return Ok(Answer::Owners(partitions.iter().map(again).collect()));
        }
        let owners = self.generations[number].tables.own(projection, partitions).await;
        let owners = owners.map_err(|error| error.to_string())?;
        if owners.iter().any(|owner| owner.epoch != taken + 1) {
            return Err(format!("taken {taken} times, and the owners are {owners:?}"));
        }
        self.desk.lock().epochs[number] = taken + 1;
        self.owners[owner].epoch = Some(taken + 1);
        Ok(Answer::Owners(owners))
    }

    /// Whether somebody works a generation who may decide, and takes what can be taken by now.
    pub fn has_owner(&self, generation: usize) -> bool {
        let mended = self.desk.lock().mended;
        (0..self.owners.len()).any(|owner| {
            let of = &self.owners[owner];
            of.generation == generation
                && self.is_alive(owner)
                && of.mended == mended
                && !*of.stop.borrow()
                && (of.epoch.is_none() || self.is_newest(owner))
        })
    }

    /// All keys are retried, which ends what was begun otherwise, until nothing more can be applied.
    pub async fn settle(&mut self, generation: usize) -> Held {
        let mut rng = Rng::with_seed(self.case.seed ^ 0x5E77);
        let mut settled = BTreeSet::new();
        for _ in 0..STEPS_MAX {
            if !self.has_owner(generation) {
                self.begin(generation, 3, 4)?;
                self.catch_up().await?;
            }
            let at = &self.generations[generation];
            let Some((key, queue)) =
                at.parked_now().await?.into_iter().find(|(key, _)| !settled.contains(key))
            else {
                return Ok(());
            };
            let owner = (0..self.owners.len())
                .find(|owner| {
                    self.owners[*owner].generation == generation
                        && self.is_alive(*owner)
                        && self.is_newest(*owner)
                })
                .ok_or("nobody owns the partitions")?;
            self.request(owner, key.clone(), Release::Retry, &queue)?;
            let told = self.reply(&mut rng).await?;
            match told {
                Some(Ok(done)) if done.applied + done.skipped + done.dropped > 0 => settled.clear(),
                Some(Ok(_)) => drop(settled.insert(key)),
                // Its owner is gone, or was busy with another.
                Some(Err(_)) | None => {}
            }
        }
        Err(format!("after {STEPS_MAX} steps there are still keys to be set free"))
    }

    /// Waits for what was asked last.
    async fn reply(&mut self, rng: &mut Rng) -> Result<Option<Result<Stepped, String>>, String> {
        let Some(mut asked) = self.asked.pop() else { return Ok(None) };
        for _ in 0..STEPS_MAX {
            match asked.reply.try_recv() {
                Ok(told) => {
                    self.tell(asked.release, &told);
                    return Ok(Some(told));
                }
                Err(oneshot::error::TryRecvError::Closed) => return Ok(None),
                Err(oneshot::error::TryRecvError::Empty) => {}
            }
            match self.servable(|_| true, rng.u16(..)) {
                Some(id) => self.serve(id).await?,
                None => self.wait(1_000).await?,
            }
        }
        Err("a release is never answered".to_owned())
    }
}
