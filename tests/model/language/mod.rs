//! Random projections over random logs: the engine, on every store, comes to what the meaning of the language says.
//!
//! `program`, `blind` and `copy` draw a projection and its tables and write their text, `events` a log, `reference` folds by the
//! meaning of the language, `stored` says how its rows stand in a store, `run` lets the engine fold with redelivery, batch
//! boundaries and restarts. Seeds as everywhere: `KINORA_SEEDS`, `KINORA_SEED_BASE`.

mod blind;
#[allow(dead_code, reason = "the simulation asks for more of it")]
mod copy;
mod events;
#[allow(dead_code, reason = "the simulation asks for more of it")]
mod program;
#[allow(dead_code, reason = "the simulation asks for more of it")]
mod reference;
mod run;
mod stored;

use fastrand::Rng;

use crate::seeds;
use events::{Spread, in_order, log};
use program::{Program, Rows};
use reference::{Given, Mutant, Reference};

/// The projection and the log of a seed.
fn drawn(seed: u64) -> (Program, Vec<Given>, Rng) {
    let mut rng = Rng::with_seed(seed);
    let program = Program::draw(&mut rng);
    let (count, bad) = (rng.usize(1..140), rng.u32(0..3) > 0);
    let log = log(&mut rng, &program, count, &Spread { bad, ..Spread::default() });
    (program, log, rng)
}

#[tokio::test]
async fn random_projections_mean_what_the_language_says() {
    for seed in seeds() {
        println!("seed {seed}");
        let (program, log, mut rng) = drawn(seed);
        let expected = Reference::of(&program, None, &in_order(&program, &log));
        if let Err(difference) = run::compare(&program, &log, &expected, &mut rng).await {
            panic!("KINORA_SEED_BASE={seed} KINORA_SEEDS=1\n{}\n{difference}", program.text());
        }
    }
}

#[test]
fn every_rule_of_the_language_shows_in_some_log() {
    for mutant in [
        Mutant::NoInitially,
        Mutant::NoAlways,
        Mutant::MissingIsIgnored,
        Mutant::RemembersNothing,
        Mutant::SequenceOfNothing,
        Mutant::SplitEventsAlone,
        Mutant::OnceAlways,
        Mutant::NoKeep,
        Mutant::ParkedGoesOn,
        Mutant::RangeSparesParked,
        Mutant::NoUpcast,
    ] {
        let tells = |seed: &u64| {
            let (program, log, _) = drawn(*seed);
            let log = in_order(&program, &log);
            Reference::of(&program, None, &log) != Reference::of(&program, Some(mutant), &log)
        };
        let telling = (1..=400_u64).filter(tells).count();
        assert!(telling >= 4, "{mutant:?} shows in {telling} of 400 logs");
    }
    let programs = || (1..=400).map(|seed| drawn(seed).0);
    assert!(programs().filter(|program| program.is_merged).count() > 50);
    assert!(programs().filter(|program| program.is_blind).count() > 15);
    for rows in [Rows::Two, Rows::Each, Rows::Range] {
        assert!(programs().filter(|program| program.rules.iter().any(|rule| rule.rows == rows)).count() > 50);
    }
    let rows = (1..=400).map(|seed| {
        let (program, log, _) = drawn(seed);
        Reference::of(&program, None, &in_order(&program, &log)).rows.len()
    });
    assert!(rows.sum::<usize>() > 800, "the logs make rows");
}
