//! An event of an old version → today's: one event, several, or none.
//!
//! Comes in: a JSON object, its type and version, and the [`Upcasts`] that a projection declares. Goes out: what it is
//! today, in order, or a [`Reject`]. `change` has what a step does to fields. Only plain values take part, no expressions.

mod change;
#[cfg(test)]
mod tests;

use rustc_hash::FxHashMap;

pub use change::{Convert, Path, Upcast, plain};

use crate::event::{Json, Reject, Stage, TypeName};

/// Most events that one record may be split into: above it the record is rejected.
pub const EVENTS_OF_A_RECORD_MAX: usize = 1_000;

/// The chains of all event types.
#[derive(Clone, Debug, Default)]
pub struct Upcasts {
    chains: FxHashMap<Box<str>, Chain>,
}

/// The steps from the oldest known version of an event type to the newest.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    /// Version that the first step takes to the next.
    first: i64,
    steps: Vec<Step>,
}

/// One step: what differs between a version and the next.
#[derive(Clone, Debug, Default)]
pub struct Step {
    pub change: Upcast,
    /// What the event becomes after the change; `None`: one event, of its own type.
    pub split: Option<Vec<Piece>>,
}

/// One of the events that another is split into.
#[derive(Clone, Debug)]
pub struct Piece {
    pub type_name: TypeName,
    /// Version that the piece has; its own chain takes it further.
    pub version: i64,
    /// A list, and the name of the field that holds one element of it: there is one event for each.
    pub each: Option<(Path, Box<str>)>,
    /// Fields that it does not take over.
    pub drop: Vec<Box<str>>,
}

/// An event of today's version.
#[derive(Clone, Debug, PartialEq)]
pub struct Upcasted {
    pub type_name: TypeName,
    pub version: i64,
    pub body: Json,
}

impl Upcasts {
    /// Chains by event type.
    pub fn new(chains: FxHashMap<Box<str>, Chain>) -> Upcasts {
        Upcasts { chains }
    }

    /// The newest version of an event type: what upcasting leads to.
    pub fn newest(&self, type_name: &str) -> i64 {
        self.chains.get(type_name).map_or(1, Chain::newest)
    }

    /// Whether events of a type have steps.
    pub fn knows(&self, type_name: &str) -> bool {
        self.chains.contains_key(type_name)
    }

    /// The versions of a type that steps start from or lead to: oldest and newest.
    pub fn versions(&self, type_name: &str) -> (i64, i64) {
        self.chains.get(type_name).map_or((1, 1), |chain| (chain.first, chain.newest()))
    }

    /// The pieces that an event of a type and version is split into, wherever in its chain.
    pub fn pieces(&self, type_name: &str, version: i64) -> impl Iterator<Item = &Piece> {
        let chain = self.chains.get(type_name);
        let steps = chain.into_iter().flat_map(move |chain| chain.from(version));
        steps.filter_map(|step| step.split.as_deref()).take(1).flatten()
    }

    /// Whether an event of a type and version is split somewhere in its chain.
    pub fn is_split(&self, type_name: &str, version: i64) -> bool {
        let chain = self.chains.get(type_name);
        chain.is_some_and(|chain| chain.from(version).any(|step| step.split.is_some()))
    }

    /// What an event is today, in order: itself in its newest version, or what it was split into.
    ///
    /// # Errors
    /// A version older than the first step, a field that cannot be changed as a step says, too many events.
    pub fn apply(&self, type_name: TypeName, version: i64, body: Json) -> Result<Vec<Upcasted>, Reject> {
        let mut out = Vec::new();
        // A stack: pieces come out in their order, each with all that becomes of it. `check` has refused circles.
        let mut open = vec![Upcasted { type_name, version, body }];
        while let Some(event) = open.pop() {
            match self.advance(event)? {
                Advanced::Done(event) => out.push(event),
                Advanced::Split(mut pieces) => {
                    pieces.reverse();
                    open.append(&mut pieces);
                }
            }
            if out.len() + open.len() > EVENTS_OF_A_RECORD_MAX {
                let reason = format!(
                    "the record is split into more than {EVENTS_OF_A_RECORD_MAX} events, which is the most it may be"
                );
                return Err(reject(reason));
            }
        }
        Ok(out)
    }

    /// Takes an event to the end of its chain, or to where it is split.
    fn advance(&self, mut event: Upcasted) -> Result<Advanced, Reject> {
        let Some(chain) = self.chains.get(&*event.type_name) else {
            return match event.version < 1 {
                true => Err(too_old(&event.type_name, event.version, 1)),
                false => Ok(Advanced::Done(event)),
            };
        };
        if event.version < chain.first {
            return Err(too_old(&event.type_name, event.version, chain.first));
        }
        for step in chain.from(event.version) {
            step.change.apply(&event.type_name, &mut event.body)?;
            if let Some(pieces) = &step.split {
                return split(&event, pieces).map(Advanced::Split);
            }
        }
        event.version = chain.newest().max(event.version);
        Ok(Advanced::Done(event))
    }
}

enum Advanced {
    Done(Upcasted),
    Split(Vec<Upcasted>),
}

fn split(event: &Upcasted, pieces: &[Piece]) -> Result<Vec<Upcasted>, Reject> {
    let mut out = Vec::with_capacity(pieces.len());
    for piece in pieces {
        let Some((path, name)) = &piece.each else {
            out.push(piece.of(event, None));
            continue;
        };
        let elements = path.list(&event.body).map_err(|found| {
            reject(format!("{} is split by `{path}`, which is {found}, expected a list", event.type_name))
        })?;
        if out.len() + elements.len() > EVENTS_OF_A_RECORD_MAX {
            let (found, max) = (elements.len(), EVENTS_OF_A_RECORD_MAX);
            let reason = format!(
                "`{path}` of {} has {found} elements, at most {max} events are made",
                event.type_name
            );
            return Err(reject(reason));
        }
        out.extend(elements.iter().map(|element| piece.of(event, Some((&**name, element)))));
    }
    Ok(out)
}

impl Piece {
    fn of(&self, event: &Upcasted, element: Option<(&str, &Json)>) -> Upcasted {
        // What a piece drops is usually the long list: it is left out before anything is copied.
        let body = change::copy(&event.body, &self.drop, element);
        Upcasted { type_name: self.type_name.clone(), version: self.version, body }
    }
}

impl Chain {
    /// A chain of steps, each with the version that it starts from, without a gap.
    pub fn new(steps: Vec<(i64, Step)>) -> Chain {
        let first = steps.first().map_or(1, |(version, _)| *version);
        Chain { first, steps: steps.into_iter().map(|(_, step)| step).collect() }
    }

    /// The oldest version that it takes.
    pub fn oldest(&self) -> i64 {
        self.first
    }

    /// The version that it leads to.
    pub fn newest(&self) -> i64 {
        self.first.saturating_add(i64::try_from(self.steps.len()).unwrap_or(i64::MAX))
    }

    /// The steps that an event of a version goes through.
    fn from(&self, version: i64) -> impl Iterator<Item = &Step> {
        let skipped = usize::try_from(version.saturating_sub(self.first)).unwrap_or(0);
        self.steps.iter().skip(skipped)
    }
}

/// The reject of a version that no step starts from.
fn too_old(type_name: &str, version: i64, oldest: i64) -> Reject {
    reject(format!(
        "version {version} of {type_name} is older than {oldest}, the oldest version that is known"
    ))
}

fn reject(reason: impl Into<String>) -> Reject {
    Reject::new(Stage::Upcast, reason)
}
