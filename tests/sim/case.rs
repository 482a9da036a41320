//! What a seed draws: definitions, a log, bounds of the loop, and a schedule of what goes wrong.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use fastrand::Rng;
use kinora::engine::Definitions;
use kinora::handler::Projection;
use kinora::project::ProjectSettings;
use kinora::resolve::Graph;

use crate::language::events::{Spread, log};
use crate::language::program::{Program, Rows, TYPES};
use crate::language::reference::{Given, Reference};
use crate::language::stored::definitions;

/// The store under the loop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// In memory: each mutation stands alone.
    Stamped,
    /// In memory: a batch is applied whole.
    Atomic,
    /// On disk.
    Embedded,
}

/// What becomes of one write.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fate {
    /// Applied, but the acknowledgement is lost.
    Unacknowledged,
    /// Told to have failed, and applied some time later, or never.
    Late,
    Lost,
    /// Applied and acknowledged, and once more some time later.
    Twice,
}

/// What happens next. Numbers choose among what there is at that moment.
#[derive(Clone, Debug)]
pub enum Step {
    /// One ask is answered as it should be.
    Serve(u16),
    /// One write meets a fate.
    Write(u16, Fate),
    /// One read or fetch fails.
    Fail(u16),
    /// One write that is afloat arrives.
    Land(u16),
    /// One owner is gone, at whichever point it waits.
    Crash(u8),
    /// A new owner takes over; whoever is there lives on, where the case allows that. It finds so many quarters of progress.
    Start(u8, u64),
    /// One owner is told to stop.
    Stop(u8),
    /// The log grows.
    Append(u8),
    /// Time passes.
    Wait,
    /// The other definitions begin a generation of their own.
    Rebuild,
    /// An operator asks an owner to set a parked key free: which owner, which key, in which way.
    Ask(u8, u16, u8),
    /// Those who begin from now on take events that were refused until now.
    Mend,
}

/// How it ends, once nothing goes wrong any more.
#[derive(Clone, Copy, Debug)]
pub struct End {
    /// What is afloat arrives before the last owners have caught up, not only after.
    pub lands_first: bool,
    /// All owners die, and a new one catches up.
    pub is_fresh: bool,
}

/// Definitions, bound once for many seeds.
pub struct Bound {
    pub program: Program,
    pub definitions: Arc<Definitions>,
    /// The same, mended: for the same rows.
    pub mended: Program,
    pub mended_projection: Arc<Projection>,
    /// What clients ask, once it is needed.
    pub graph: OnceLock<Graph>,
}

impl Bound {
    fn of(program: Program) -> Bound {
        let definitions = definitions(&program).unwrap_or_else(|faults| panic!("{faults}"));
        let old = &definitions.projections[0];
        let mended = program.mended();
        let bound = self::definitions(&mended).unwrap_or_else(|faults| panic!("{faults}"));
        let new = &bound.projections[0];
        // Of another kind it would write other rows.
        let (mended, new) = if new.kind == old.kind { (mended, new) } else { (program.clone(), old) };
        Bound { program, mended, mended_projection: Arc::clone(new), definitions, graph: OnceLock::new() }
    }
}

#[derive(Clone)]
pub struct Case {
    pub seed: u64,
    pub kind: Kind,
    /// One for each generation.
    pub bound: Vec<Arc<Bound>>,
    pub log: Vec<Given>,
    /// One owner at a time: the next begins when the last is gone.
    pub alone: bool,
    /// Whether operators set parked keys free, and whether some events are refused for a while only.
    pub releases: bool,
    pub mends: bool,
    pub steps: Vec<Step>,
    pub end: End,
}

/// Seeds that share their definitions: to bind them costs more than to run.
const SEEDS_OF_A_PROGRAM: u64 = 16;

/// Binds the definitions of seeds, and keeps the last.
#[derive(Default)]
pub struct Programs {
    known: BTreeMap<(u64, bool), Arc<Bound>>,
}

impl Programs {
    fn get(&mut self, number: u64, is_merged: bool) -> Arc<Bound> {
        if self.known.len() > 16 {
            self.known.clear();
        }
        let bound = self.known.entry((number, is_merged)).or_insert_with(|| {
            let mut rng = Rng::with_seed(number ^ 0x5EED);
            let program = loop {
                let program = Program::draw(&mut rng);
                if program.is_merged == is_merged {
                    break program;
                }
            };
            Arc::new(Bound::of(program))
        });
        Arc::clone(bound)
    }
}

impl Case {
    pub fn draw(seed: u64, programs: &mut Programs) -> Case {
        let mut rng = Rng::with_seed(seed);
        let kind = match rng.u8(0..64) {
            0..52 => Kind::Stamped,
            52..63 => Kind::Atomic,
            _ => Kind::Embedded,
        };
        let is_merged = kind != Kind::Stamped && rng.bool();
        let number = seed / SEEDS_OF_A_PROGRAM;
        let mut bound = vec![programs.get(number, is_merged)];
        if !is_merged && rng.u8(0..6) == 0 {
            bound.push(programs.get(number + 1, false));
        }
        let alone = if kind == Kind::Stamped { rng.u8(0..4) == 0 } else { rng.bool() };
        let bad = rng.u8(0..3) > 0;
        let releases = bad && rng.u8(0..3) > 0;
        let mends = releases && rng.bool();
        let log = draw_log(&mut rng, &bound, bad);
        let steps = draw_steps(&mut rng, log.len(), releases);
        let end = End { lands_first: rng.bool(), is_fresh: rng.bool() };
        Case { seed, kind, bound, log, alone, releases, mends, steps, end }
    }

    pub fn is_merged(&self) -> bool {
        self.bound[0].program.is_merged
    }

    /// How a record is read by whoever does not understand it yet, if it is one of those: a version that is not known
    /// where that parks its one row, else bytes that are no event.
    pub fn spoilt(&self, given: &Given) -> Option<Bytes> {
        if !self.mends || given.time_ms % 7 != 3 {
            return None;
        }
        let body = given.value.as_object()?;
        let is_text = |name: &str| body.get(name).is_some_and(|value| value.is_string());
        let kind = TYPES.iter().position(|kind| body["type"] == *kind)?;
        let parks_its_row = |bound: &Arc<Bound>| {
            let program = &bound.program;
            let is_one = program.rules[kind].rows == Rows::Own && (kind != 1 || !program.splits());
            program.unknown_parks && is_one
        };
        let is_routed = ["p", "id", "eid", "other"].into_iter().all(is_text) && body["seq"].is_i64();
        let is_bound = self.is_merged() || body["p"] == given.key.as_str();
        if self.bound.iter().all(parks_its_row) && is_routed && is_bound {
            let mut body = body.clone();
            body.insert("v".into(), 9.into());
            return Some(Bytes::from(serde_json::Value::Object(body).to_string()));
        }
        // Merged, a record without a row holds back rows of other records; what becomes of these is for the definitions.
        (!self.is_merged() && given.time_ms % 2 == 1).then_some(Bytes::from_static(b"{"))
    }
}

/// Few rows, so that events meet. Unless `bad` no event parks its key.
fn draw_log(rng: &mut Rng, bound: &[Arc<Bound>], bad: bool) -> Vec<Given> {
    let few: [&'static [&'static str]; 3] = [&["p0"], &["p0", "p2"], &["p0", "p1", "p2"]];
    let spread = Spread { partitions: few[rng.usize(0..3)], ids: rng.u32(1..4), bad };
    let most = [8, 16, 40][rng.usize(0..3)];
    let count = rng.usize(2..most);
    let mut drawn = log(rng, &bound[0].program, count, &spread);
    if bad {
        return drawn;
    }
    let mut references: Vec<_> = bound.iter().map(|bound| Reference::new(&bound.program, None)).collect();
    let mut ends = BTreeMap::new();
    drawn.retain_mut(|given| {
        let end: &mut u64 = ends.entry((given.topic, given.partition)).or_default();
        place(given, *end);
        let before: Vec<_> = references.iter().map(|reference| reference.state.clone()).collect();
        references.iter_mut().for_each(|reference| reference.take(given));
        let is_free = |reference: &Reference<'_>| {
            reference.state.parked_rows.is_empty() && reference.state.parked_records.is_empty()
        };
        let fits = references.iter().all(is_free);
        match fits {
            true => *end += 1,
            false => references.iter_mut().zip(before).for_each(|(reference, state)| reference.state = state),
        }
        fits
    });
    drawn
}

fn place(given: &mut Given, offset: u64) {
    given.position = format!("{}:{}@{offset}", given.topic, given.partition);
}

/// Gives the records of a log that was cut their offsets anew.
pub fn renumber(log: &mut [Given]) {
    let mut ends = BTreeMap::new();
    for given in log {
        let end: &mut u64 = ends.entry((given.topic, given.partition)).or_default();
        place(given, *end);
        *end += 1;
    }
}

fn draw_steps(rng: &mut Rng, records: usize, releases: bool) -> Vec<Step> {
    // Some runs know little trouble, so that they get far between two faults.
    let trouble = [4, 12, 40][rng.usize(0..3)];
    let count = 20 + rng.usize(0..=records * 12);
    let mut steps = Vec::with_capacity(count + 1);
    steps.push(Step::Append(rng.u8(0..8)));
    steps.push(Step::Start(0, 4));
    for _ in 0..count {
        let step = match rng.u8(0..100) {
            0..8 if releases => draw_release(rng),
            chance if chance < trouble => draw_fault(rng),
            _ => draw_good(rng),
        };
        steps.push(step);
    }
    steps
}

fn draw_good(rng: &mut Rng) -> Step {
    match rng.u8(0..30) {
        0..2 => Step::Append(rng.u8(0..6)),
        2 => Step::Wait,
        3 => Step::Land(rng.u16(..)),
        _ => Step::Serve(rng.u16(..)),
    }
}

fn draw_release(rng: &mut Rng) -> Step {
    match rng.u8(0..12) {
        0 => Step::Mend,
        _ => Step::Ask(rng.u8(..), rng.u16(..), rng.u8(..)),
    }
}

fn draw_fault(rng: &mut Rng) -> Step {
    let fate = [Fate::Unacknowledged, Fate::Late, Fate::Late, Fate::Lost, Fate::Twice][rng.usize(0..5)];
    match rng.u8(0..20) {
        0..9 => Step::Write(rng.u16(..), fate),
        9..11 => Step::Fail(rng.u16(..)),
        11..14 => Step::Crash(rng.u8(..)),
        14..18 => Step::Start(rng.u8(..), if rng.u8(0..4) == 0 { rng.u64(0..4) } else { 4 }),
        18 => Step::Stop(rng.u8(..)),
        _ => Step::Rebuild,
    }
}

/// Bounds of an owner's loop, by chance.
pub fn settings(choice: u8) -> ProjectSettings {
    let choice = usize::from(choice);
    ProjectSettings {
        batch_bytes_max: [1, 700, 3_000, 1 << 20][choice % 4],
        batch_rows_max: [1, 3, 1_000][choice / 4 % 3],
        cached_rows_max: [1, 2, 100][choice / 12 % 3],
        cached_bytes_max: [500, 8 << 20][choice / 72 % 2],
        cached_buckets_max: [1, 100][choice / 36 % 2],
        parked_keys_max: 1_000,
        parked_share_max: 1.0,
    }
}
