//! Makes a failing case short: leaves out steps and records for as long as it fails.
//!
//! Comes in: a case that fails. Goes out: one that fails too, from which no piece that was tried can be taken.

use std::fmt::Write;

use crate::case::{Case, End, Step, renumber};
use crate::plant::Plant;
use crate::runs::outcome;
use crate::seen::Seen;

/// Most runs that are spent on it.
const RUNS_MAX: usize = 3_000;

/// The shortest case found, what is wrong in it, and what happens.
pub struct Short {
    pub case: Case,
    pub wrong: String,
    pub trace: Vec<String>,
}

/// Shortens a case that fails.
pub fn shrink(case: &Case, plant: Option<Plant>) -> Short {
    let mut runs = 0;
    let mut fails = |case: &Case| {
        runs += 1;
        runs <= RUNS_MAX && outcome(case, plant, &mut Seen::default(), None).is_err()
    };
    let mut short = case.clone();
    loop {
        let before = (short.steps.len(), short.log.len());
        let whole = short.clone();
        short.steps = cut(&whole.steps, |steps| fails(&Case { steps: steps.to_vec(), ..whole.clone() }));
        let whole = short.clone();
        short.log = cut(&whole.log, |log| fails(&with_log(&whole, log)));
        renumber(&mut short.log);
        for end in [End { is_fresh: false, ..short.end }, End { lands_first: false, ..short.end }] {
            let simpler = Case { end, ..short.clone() };
            if fails(&simpler) {
                short = simpler;
            }
        }
        if (short.steps.len(), short.log.len()) == before {
            break;
        }
    }
    let mut trace = Vec::new();
    let wrong = outcome(&short, plant, &mut Seen::default(), Some(&mut trace)).err();
    Short { case: short, wrong: wrong.unwrap_or_else(|| "it fails no more".to_owned()), trace }
}

fn with_log(case: &Case, log: &[crate::language::reference::Given]) -> Case {
    let mut log = log.to_vec();
    renumber(&mut log);
    Case { log, ..case.clone() }
}

/// The items that are needed: leaves out halves, then smaller pieces, down to single ones.
fn cut<T: Clone>(items: &[T], mut fails: impl FnMut(&[T]) -> bool) -> Vec<T> {
    let mut kept = items.to_vec();
    let mut piece = kept.len().div_ceil(2);
    while piece > 0 {
        let mut at = 0;
        while at < kept.len() {
            let without = [&kept[..at], &kept[kept.len().min(at + piece)..]].concat();
            match fails(&without) {
                true => kept = without,
                false => at += piece,
            }
        }
        piece /= 2;
    }
    kept
}

impl std::fmt::Display for Short {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Case { seed, kind, bound, log, alone, releases, mends, steps, end } = &self.case;
        writeln!(
            f,
            "KINORA_SEED_BASE={seed} KINORA_SEEDS=1: {kind:?}, alone: {alone}, releases: {releases}, mends: {mends}, {end:?}, shortened to"
        )?;
        for bound in bound {
            writeln!(f, "{}\n{:?}", bound.program.text(), bound.program.copies)?;
        }
        let mut schedule = String::new();
        for step in steps {
            match step {
                Step::Serve(pick) => write!(schedule, "{pick} ")?,
                other => write!(schedule, "{other:?} ")?,
            }
        }
        writeln!(f, "{} records; {} steps: {schedule}", log.len(), steps.len())?;
        self.trace.iter().try_for_each(|line| writeln!(f, "  {line}"))?;
        writeln!(f, "{}", self.wrong)
    }
}
