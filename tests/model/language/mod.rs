//! Random projections over random logs: the engine, on every store, comes to what the meaning of the language says.
//!
//! `program` draws a projection and writes its YAML, `reference` folds by its meaning, `run` lets the engine fold with
//! redelivery, batch boundaries and restarts. Seeds as everywhere: `KINORA_SEEDS`, `KINORA_SEED_BASE`.

mod program;
mod reference;
mod run;

use std::collections::BTreeMap;

use fastrand::Rng;
use serde_json::{Map, Value as Json, json};

use crate::seeds;
use program::{Program, Rows, TYPES};
use reference::{Given, Mutant, Reference};

/// One event; of the few times, and of keys so few that events meet.
fn event(rng: &mut Rng, program: &Program, bad: bool) -> Map<String, Json> {
    let few = |rng: &mut Rng, letter: &str, count: u32| json!(format!("{letter}{}", rng.u32(0..count)));
    let kind = match rng.u32(0..30) {
        0 => "Seen",
        1 if bad => "Odd",
        _ => TYPES[rng.usize(0..TYPES.len())],
    };
    let items: Vec<Json> =
        (0..rng.usize(0..5)).map(|_| json!({ "k": few(rng, "k", 3), "n": rng.i64(0..4) })).collect();
    let list: Vec<Json> = (0..rng.usize(0..4)).map(|_| few(rng, "i", 4)).collect();
    let mut event = json!({
        "type": kind, "p": few(rng, "p", 3), "id": few(rng, "i", 4), "other": few(rng, "i", 4), "list": list,
        "n": rng.i64(0..6), "a": rng.i64(0..9), "word": few(rng, "w", 4), "k": few(rng, "k", 4), "items": items,
        "eid": few(rng, "e", 12), "seq": rng.i64(1..9),
    });
    let Json::Object(fields) = &mut event else { unreachable!("it was made as an object") };
    if rng.u32(0..4) == 0 {
        fields.insert("v".into(), json!(if bad && rng.u32(0..8) == 0 { 9 } else { 1 }));
    } else if program.upcasts && (kind == "T0" || kind == "T1" && program.splits()) {
        fields.insert("v".into(), json!(2));
    }
    if kind == "T0" && rng.bool() && fields.get("v") != Some(&json!(2)) {
        let number = fields.remove("n").expect("it was just made");
        fields.insert("num".into(), number);
    }
    let gone = ["a", "word", "n", "k", "list", "items"][rng.usize(0..6)];
    if rng.u32(0..4) == 0 && !(gone == "items" && kind == "T1") {
        match (bad, rng.u32(0..4)) {
            (_, 0 | 1) if gone != "k" || bad => drop(fields.remove(gone)),
            (_, 2) if gone == "a" || bad => drop(fields.insert(gone.into(), Json::Null)),
            (true, _) => drop(fields.insert(gone.into(), json!(true))),
            _ => {}
        }
    }
    if bad && rng.u32(0..40) == 0 {
        let field = ["id", "p", "eid", "seq", "other"][rng.usize(0..5)];
        fields.insert(field.into(), Json::Null);
    }
    fields.clone()
}

/// A log in the order in which its records were appended.
fn log(rng: &mut Rng, program: &Program, count: usize, bad: bool) -> Vec<Given> {
    let mut ends: BTreeMap<(&str, u32), u64> = BTreeMap::new();
    let mut log = Vec::with_capacity(count);
    for _ in 0..count {
        let value = event(rng, program, bad);
        let p = value["p"].as_str().unwrap_or("p0").to_owned();
        let stray = bad && rng.u32(0..60) == 0;
        let key = if stray { format!("p{}", rng.u32(0..3)) } else { p };
        let (topic, partition) = match program.is_merged {
            true => (["a", "b"][rng.usize(0..2)], rng.u32(0..2)),
            false => ("a", u32::from(key == "p2")),
        };
        let end = ends.entry((topic, partition)).or_default();
        let position = format!("{topic}:{partition}@{end}");
        *end += 1;
        log.push(Given {
            topic,
            partition,
            time_ms: rng.i64(0..40),
            key,
            value: Json::Object(value),
            position,
        });
    }
    log
}

/// The order in which the records count: merged, always the front with the least time, then the first partition.
fn in_order(program: &Program, log: &[Given]) -> Vec<Given> {
    if !program.is_merged {
        return log.to_vec();
    }
    let mut lanes: BTreeMap<(&str, u32), Vec<&Given>> = BTreeMap::new();
    for given in log.iter().rev() {
        lanes.entry((given.topic, given.partition)).or_default().push(given);
    }
    let mut ordered = Vec::new();
    loop {
        let fronts = lanes.iter().filter_map(|(place, lane)| Some((lane.last()?.time_ms, *place)));
        let Some((_, place)) = fronts.min() else { return ordered };
        ordered.extend(lanes.get_mut(&place).and_then(Vec::pop).cloned());
    }
}

/// The projection and the log of a seed.
fn drawn(seed: u64) -> (Program, Vec<Given>, Rng) {
    let mut rng = Rng::with_seed(seed);
    let program = Program::draw(&mut rng);
    let (count, bad) = (rng.usize(1..140), rng.u32(0..3) > 0);
    let log = log(&mut rng, &program, count, bad);
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
    for rows in [Rows::Two, Rows::Each, Rows::Range] {
        assert!(programs().filter(|program| program.rules.iter().any(|rule| rule.rows == rows)).count() > 50);
    }
    let rows = (1..=400).map(|seed| {
        let (program, log, _) = drawn(seed);
        Reference::of(&program, None, &in_order(&program, &log)).rows.len()
    });
    assert!(rows.sum::<usize>() > 800, "the logs make rows");
}
