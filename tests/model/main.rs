//! The independent model: folds random logs apart from the engine and compares every row of every table and every
//! answer, over batch boundaries, restarts and redelivery.
//!
//! Seeds: `KINORA_SEEDS` says how many (default 20), `KINORA_SEED_BASE` where they start (default 1).

#![allow(clippy::print_stdout, reason = "seeds are printed")]

mod answers;
mod cel_walk;
mod definitions;
mod driver;
mod events;
mod language;
mod mutants;
mod oracle;
mod rows;
mod shop_rules;
mod subject;
mod value;

use std::path::Path;

use definitions::Definitions;
use events::Mix;
use oracle::{Oracle, Sent};
use subject::{Kinora, StoreKind};

/// The seeds of this run.
fn seeds() -> impl Iterator<Item = u64> {
    let number = |name: &str, default: u64| match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is \"{text}\", expected a number")),
        Err(_) => default,
    };
    let base = number("KINORA_SEED_BASE", 1);
    base..base + number("KINORA_SEEDS", 20)
}

fn shop() -> Oracle {
    Oracle::new(Definitions::read(Path::new(env!("CARGO_MANIFEST_DIR"))))
}

fn log(seed: u64, events: usize, mix: Mix) -> Vec<Sent> {
    let mut rng = fastrand::Rng::with_seed(seed);
    (0..events).map(|_| events::draw(&mut rng, mix)).collect()
}

#[test]
fn the_projections_mean_what_the_rules_of_the_shop_say() {
    for seed in seeds() {
        let (mut oracle, mut rules) = (shop(), shop_rules::Shop::default());
        for (number, sent) in log(seed, 400, Mix { bad_percent: 0, keys: 6 }).iter().enumerate() {
            oracle.apply(sent);
            rules.apply(sent);
            if number % 16 != 15 {
                continue;
            }
            for entity in ["Cart", "Order", "Product", "Customer"] {
                let base = &oracle.definitions.ty(entity).tables[0];
                let (found, said) = (answers::table_rows(&oracle, entity, base), rules.rows(entity));
                let same = |a: &[serde_json::Value], b: &[serde_json::Value]| {
                    a.len() == b.len() && b.iter().all(|row| a.contains(row))
                };
                assert!(
                    same(&found, &said),
                    "seed {seed}, event {number} ({}): {entity}\nprojections: {found:#?}\nrules: {said:#?}",
                    String::from_utf8_lossy(sent.value.as_deref().unwrap_or_default()),
                );
            }
        }
    }
}

#[test]
fn random_logs_meet_every_kind_of_event() {
    let mut oracle = shop();
    let mut reasons = Vec::new();
    for seed in 1..=8 {
        oracle = shop();
        for sent in log(seed, 1_000, Mix { bad_percent: 4, keys: 40 }) {
            oracle.apply(&sent);
        }
        reasons.extend(oracle.parked.values().map(|held| held.reason.clone()));
    }
    for part in [
        "no value",
        "is unknown",
        "record key is",
        "is missing",
        "may not be null",
        "not UTF-8",
        "not a decimal",
    ] {
        assert!(
            reasons.iter().any(|reason| reason.contains(part)),
            "no event was parked for `{part}`: {reasons:#?}"
        );
    }
    let statuses: std::collections::BTreeSet<_> =
        oracle.rows_of("Order").filter_map(|row| row["status"].as_text()).collect();
    assert_eq!(statuses.len(), 4, "orders are only {statuses:?}");
}

/// Random runs of the engine on one store.
fn agrees(kind: StoreKind, steps: usize, mix: Mix) {
    for seed in seeds() {
        println!("seed {seed}");
        let mut engine = Kinora::start(Path::new(env!("CARGO_MANIFEST_DIR")), kind, 500);
        if let Err(difference) = driver::run(seed, steps, mix, shop(), &mut engine) {
            panic!("{kind:?} store, KINORA_SEED_BASE={seed} KINORA_SEEDS=1: {difference}");
        }
    }
}

#[test]
fn the_engine_agrees_on_good_events_in_the_embedded_store() {
    agrees(StoreKind::Embedded, 8, Mix { bad_percent: 0, keys: 5 });
}

#[test]
fn the_engine_agrees_on_good_and_bad_events_in_the_embedded_store() {
    agrees(StoreKind::Embedded, 8, Mix { bad_percent: 4, keys: 8 });
}

#[test]
fn the_engine_agrees_on_good_and_bad_events_in_the_memory_store() {
    agrees(StoreKind::Memory, 8, Mix { bad_percent: 4, keys: 8 });
}
