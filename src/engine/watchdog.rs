//! Says which projection stands still, at what, and since when.
//!
//! Comes in: the write loops' notes of where they are, their progress, and the ends of the log. Goes out: a line in the log
//! when a stall begins and when it ends, and the stalls of now for the status. It runs on a thread of its own: a handler that
//! never comes back takes a thread of the runtime with it, and must not take the watchdog. Nothing is mended here: what
//! hangs may come back, and what it holds cannot be taken from it.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::event::{Position, TopicPartition};
use crate::handler::Projection;
use crate::plan::TablePlan;
use crate::project::ProjectorState;
use crate::project::activity::{Activity, Doing, Stage};
use crate::project::relay::route_wherever;
use crate::route::Routed;
use crate::source::Source;
use crate::store::Tables;

/// Longest wait for the log while it is looked: it may be what hangs.
const ASK_MAX: Duration = Duration::from_secs(1);

/// Looks for each time that must pass before a stall is said.
const LOOKS: u32 = 4;
/// Least and longest pause between two looks.
const PAUSE: (Duration, Duration) = (Duration::from_millis(25), Duration::from_secs(5));

/// A projection that has lag and makes no progress.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stall {
    pub projection: String,
    pub generation: u32,
    /// The stage, with `topic:partition@offset`.
    pub doing: String,
    /// The row's key, where an event is being folded and the log still has it.
    pub key: Option<String>,
    /// For how long, when it was last looked at.
    pub for_ms: u64,
}

impl std::fmt::Display for Stall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let key = self.key.as_ref().map(|key| format!(" into {key}")).unwrap_or_default();
        write!(f, "{}{key}, for {} ms", self.doing, self.for_ms)
    }
}

/// A write loop, as it is watched. Whoever runs it holds it.
pub struct Watched {
    pub generation: u32,
    pub projection: Arc<Projection>,
    /// What it is folded from.
    pub topics: Vec<Arc<str>>,
    /// Its partitions; none where all are its own. How far others are is not known here.
    pub partitions: Vec<TopicPartition>,
    pub base: Arc<TablePlan>,
    pub tables: Arc<dyn Tables>,
    pub activity: Arc<Activity>,
    pub state: watch::Receiver<ProjectorState>,
}

impl Watched {
    fn works(&self, at: &TopicPartition) -> bool {
        self.partitions.is_empty() || self.partitions.contains(at)
    }
}

/// Watches write loops.
pub struct Watchdog {
    source: Arc<dyn Source>,
    after: Duration,
    entries: Mutex<Vec<Entry>>,
    /// One look at a time.
    looking: tokio::sync::Mutex<()>,
}

struct Entry {
    watched: Weak<Watched>,
    still: Still,
    stall: Option<Stall>,
}

/// How long a loop has been as it is.
struct Still {
    progress: u64,
    progress_at: Instant,
    doing: Doing,
    doing_at: Instant,
}

impl Watchdog {
    /// Says a stall once a projection has had lag and no progress for so long.
    pub fn new(source: Arc<dyn Source>, after: Duration) -> Arc<Watchdog> {
        Arc::new(Watchdog {
            source,
            after,
            entries: Mutex::default(),
            looking: tokio::sync::Mutex::default(),
        })
    }

    /// Watches a loop for as long as somebody holds it.
    pub fn watch(&self, watched: &Arc<Watched>) {
        let now = Instant::now();
        let doing = watched.activity.look();
        let still = Still { progress: 0, progress_at: now, doing, doing_at: now };
        self.entries().push(Entry { watched: Arc::downgrade(watched), still, stall: None });
    }

    /// Looks again and again, on a thread of its own, until the watchdog is dropped. Where the machine gives no thread it
    /// says so, and nothing is watched.
    pub fn begin(self: &Arc<Self>) {
        let dog = Arc::downgrade(self);
        let pause = (self.after / LOOKS).clamp(PAUSE.0, PAUSE.1);
        let watch = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
            match runtime {
                Ok(runtime) => runtime.block_on(async {
                    loop {
                        tokio::time::sleep(pause).await;
                        let Some(dog) = dog.upgrade() else { return };
                        dog.look().await;
                    }
                }),
                Err(error) => tracing::error!(%error, "Stalls are not watched for."),
            }
        };
        if let Err(error) = std::thread::Builder::new().name("watchdog".to_owned()).spawn(watch) {
            tracing::error!(%error, "Stalls are not watched for: this machine gives no thread.");
        }
    }

    /// Looks at every loop once, and says what has begun or ended to stand still.
    pub async fn look(&self) {
        let _one_at_a_time = self.looking.lock().await;
        self.entries().retain(|entry| entry.watched.strong_count() > 0);
        let watched: Vec<Arc<Watched>> =
            self.entries().iter().filter_map(|entry| entry.watched.upgrade()).collect();
        for watched in watched {
            let (lag, progress) = self.lag(&watched).await;
            let doing = watched.activity.look();
            let rests = |state: &ProjectorState| {
                state.halted().is_some() || matches!(state, ProjectorState::Paused(_))
            };
            let is_halted = rests(&watched.state.borrow()) || watched.state.has_changed().is_err();
            let now = Instant::now();
            let stood = self.with_entry(&watched, |entry| {
                entry.still.see(now, lag > 0 && !is_halted, progress, doing.clone())
            });
            let Some(stood) = stood else { continue };
            let stall = match stood >= self.after {
                true => Some(self.stall(&watched, &doing, stood).await),
                false => None,
            };
            self.say(&watched, stall);
        }
    }

    /// The stall of a projection of a generation.
    pub fn stall_of(&self, generation: u32, projection: &str) -> Option<Stall> {
        let entries = self.entries();
        let mut stalls = entries.iter().filter_map(|entry| entry.stall.as_ref());
        stalls.find(|stall| stall.generation == generation && stall.projection == projection).cloned()
    }

    /// Every stall.
    pub fn stalls(&self) -> Vec<Stall> {
        self.entries().iter().filter_map(|entry| entry.stall.clone()).collect()
    }

    fn entries(&self) -> std::sync::MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_entry<T>(&self, watched: &Arc<Watched>, act: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        let mut entries = self.entries();
        let entry = entries.iter_mut().find(|entry| entry.watched.as_ptr() == Arc::as_ptr(watched))?;
        Some(act(entry))
    }

    fn say(&self, watched: &Arc<Watched>, stall: Option<Stall>) {
        let before = self.with_entry(watched, |entry| std::mem::replace(&mut entry.stall, stall.clone()));
        let projection = &watched.projection.name;
        match (before.flatten(), stall) {
            (None, Some(stall)) => tracing::error!(
                %projection, generation = stall.generation, doing = %stall.doing, key = stall.key.as_deref(),
                for_ms = stall.for_ms, "Projection stands still."
            ),
            (Some(before), None) => tracing::warn!(
                %projection, generation = before.generation, stood_ms = before.for_ms, "Projection goes on."
            ),
            _ => {}
        }
    }

    async fn stall(&self, watched: &Watched, doing: &Doing, stood: Duration) -> Stall {
        let key = match &doing.position {
            Some(position) if doing.stage == Stage::Folding => self.key(watched, position).await,
            _ => None,
        };
        Stall {
            projection: watched.projection.name.to_string(),
            generation: watched.generation,
            doing: doing.to_string(),
            key,
            for_ms: u64::try_from(stood.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// The key of the row that an event is folded into: found by routing it once more.
    async fn key(&self, watched: &Watched, position: &Position) -> Option<String> {
        let fetched = tokio::time::timeout(ASK_MAX, self.source.fetch(&position.at, position.offset)).await;
        let record = fetched.ok()?.ok()??;
        let projection = &watched.projection;
        match route_wherever(projection, &watched.base, &position.at, &record) {
            Routed::Event { key_cells, .. } | Routed::Delete { key_cells, .. } => {
                Some(projection.shown_key(&key_cells))
            }
            Routed::Events(rows) => {
                let first = projection.shown_key(&rows.first()?.key_cells);
                Some(match rows.len() {
                    1 => first,
                    many => format!("{first} and {} more", many - 1),
                })
            }
            _ => None,
        }
    }

    /// Events behind, and the sum of all positions. Where the log does not say its ends in time, those that the loop saw
    /// last count.
    async fn lag(&self, watched: &Watched) -> (u64, u64) {
        let (mut lag, mut sum) = (0u64, 0u64);
        let progress = watched.tables.progress();
        for name in &watched.topics {
            match tokio::time::timeout(ASK_MAX, self.source.topic(name)).await {
                Ok(Ok(Some(topic))) => {
                    for (partition, info) in (0u32..).zip(&topic.partitions) {
                        let at = TopicPartition { topic: Arc::clone(name), partition };
                        if !watched.works(&at) {
                            continue;
                        }
                        let mark = progress.of(&watched.projection.name, &at);
                        let next = mark.map_or(info.start, |mark| mark.next);
                        lag += info.end.saturating_sub(next);
                        sum += next;
                    }
                }
                _ => {
                    let ours = |mark: &&crate::store::ProgressMark| {
                        mark.projection == watched.projection.name
                            && mark.at.topic == *name
                            && watched.works(&mark.at)
                    };
                    for mark in progress.marks.iter().filter(ours) {
                        lag += mark.end.saturating_sub(mark.next);
                        sum += mark.next;
                    }
                }
            }
        }
        (lag, sum)
    }
}

impl Still {
    /// Takes in what is seen now; answers for how long nothing has come of it. A loop that fails and tries again moves, but
    /// only progress counts then.
    fn see(&mut self, now: Instant, is_behind: bool, progress: u64, doing: Doing) -> Duration {
        if !is_behind || progress != self.progress {
            (self.progress, self.progress_at) = (progress, now);
        }
        if doing != self.doing {
            self.doing_at = now;
        }
        let is_failing = doing.tries > 0;
        self.doing = doing;
        let since = if is_failing { self.progress_at } else { self.progress_at.max(self.doing_at) };
        now.saturating_duration_since(since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn doing(position: u64, tries: u32) -> Doing {
        Doing::of(Stage::Folding, position, tries)
    }

    /// Looks once a second; answers for how many seconds it stood still when it was looked at last.
    fn seen(looks: &[(bool, u64, u64, u32)]) -> u64 {
        let begun = Instant::now();
        let mut still = Still { progress: 0, progress_at: begun, doing: doing(0, 0), doing_at: begun };
        let mut stood = Duration::ZERO;
        for (second, (is_behind, progress, position, tries)) in (1..).zip(looks) {
            stood = still.see(begun + SECOND * second, *is_behind, *progress, doing(*position, *tries));
        }
        stood.as_secs()
    }

    #[test]
    fn only_who_is_behind_and_gets_nowhere_stands_still() {
        let still = (true, 7, 3, 0);
        assert_eq!(seen(&[still; 5]), 4, "neither progress nor events");
        assert_eq!(seen(&[(false, 7, 3, 0); 5]), 0, "there is nothing to do");
        assert_eq!(seen(&[still, still, still, (true, 8, 3, 0)]), 0, "progress");
        assert_eq!(seen(&[still, still, still, (true, 7, 4, 0)]), 0, "the next event of a long batch");
        assert_eq!(seen(&[still, still, (true, 7, 4, 0), (true, 7, 4, 0)]), 1);
    }

    #[test]
    fn who_fails_again_and_again_stands_still_though_he_moves() {
        assert_eq!(seen(&[(true, 7, 1, 0), (true, 7, 2, 1), (true, 7, 1, 1), (true, 7, 2, 2)]), 3);
        assert_eq!(seen(&[(true, 7, 1, 0), (true, 7, 2, 1), (true, 8, 1, 0), (true, 8, 2, 1)]), 1);
    }
}
