//! Random logs for a drawn projection.
//!
//! Comes in: a seed's chance and a [`Program`]. Goes out: records as they were appended, and the order in which they count.

use std::collections::BTreeMap;

use fastrand::Rng;
use serde_json::{Map, Value as Json, json};

use super::program::{Program, TYPES};
use super::reference::{Given, MOMENTS};

/// Over which rows events spread, and whether some cannot be applied.
pub struct Spread {
    /// Of `p0`, `p1` and `p2`; the last lies in a partition of its own.
    pub partitions: &'static [&'static str],
    /// Rows of each.
    pub ids: u32,
    pub bad: bool,
}

impl Default for Spread {
    fn default() -> Spread {
        Spread { partitions: &["p0", "p1", "p2"], ids: 4, bad: true }
    }
}

/// One event; of the few times, and of keys so few that events meet.
fn event(rng: &mut Rng, program: &Program, spread: &Spread) -> Map<String, Json> {
    let bad = spread.bad;
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
        "type": kind, "p": spread.partitions[rng.usize(0..spread.partitions.len())],
        "id": few(rng, "i", spread.ids), "other": few(rng, "i", spread.ids), "list": list,
        "n": rng.i64(0..6), "a": rng.i64(0..9), "word": few(rng, "w", 4), "k": few(rng, "k", 4), "items": items,
        "eid": few(rng, "e", 12), "seq": rng.i64(1..9), "moment": MOMENTS[rng.usize(0..MOMENTS.len())].0,
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
    if program.is_blind && rng.u32(0..3) == 0 {
        // What was assigned is cleared again.
        fields.insert("a".into(), Json::Null);
    }
    let gone = ["a", "word", "n", "k", "list", "items", "moment"][rng.usize(0..7)];
    if rng.u32(0..4) == 0 && !(gone == "items" && kind == "T1") {
        match (bad, rng.u32(0..4)) {
            (_, 0 | 1) if gone != "k" || bad => drop(fields.remove(gone)),
            (_, 2) if gone == "a" || gone == "moment" || bad => drop(fields.insert(gone.into(), Json::Null)),
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
pub fn log(rng: &mut Rng, program: &Program, count: usize, spread: &Spread) -> Vec<Given> {
    let mut ends: BTreeMap<(&str, u32), u64> = BTreeMap::new();
    let mut log = Vec::with_capacity(count);
    for _ in 0..count {
        let value = event(rng, program, spread);
        let p = value["p"].as_str().unwrap_or("p0").to_owned();
        let stray = spread.bad && rng.u32(0..60) == 0;
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
pub fn in_order(program: &Program, log: &[Given]) -> Vec<Given> {
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
