//! Random projections of kind A: every event assigns the same columns whatever the row is, and no copy moves.
//!
//! Comes in: a drawn program. Goes out: the same, made blind.

use fastrand::Rng;

use super::copy::Copy;
use super::program::{Case, Num, Program, Rows, Rule, Set, Verb, When, blank};

/// Makes a program one of kind A.
pub fn make(rng: &mut Rng, program: &mut Program) {
    let rules = (0..program.rules.len()).map(|_| rule(rng)).collect();
    let copies = if rng.bool() { vec![Copy::ById] } else { vec![Copy::Halves, Copy::ById] };
    *program = Program {
        remembers: false,
        sequence: None,
        when: None,
        computes: false,
        assert_below: None,
        rules,
        copies,
        indexes: false,
        is_blind: true,
        ..program.clone()
    };
}

fn rule(rng: &mut Rng) -> Rule {
    let rows = [Rows::Own, Rows::Own, Rows::Two, Rows::Each][rng.usize(0..4)];
    let chooses = rng.u32(0..3) == 0;
    let mut cases = vec![case(rng)];
    if chooses {
        let when = Some([When::Big, When::Above(rng.i64(0..4))][rng.usize(0..2)]);
        cases.insert(0, Case { when, ..case(rng) });
    }
    Rule { rows, cases }
}

fn case(rng: &mut Rng) -> Case {
    let number = if rng.bool() { Num::Let } else { Num::Const(rng.i64(0..5)) };
    let mut sets = vec![Set::N(number), Set::WordOr, Set::MomentOr];
    sets.extend(rng.bool().then_some(Set::A));
    Case { sets, ..blank(Verb::Upsert) }
}
