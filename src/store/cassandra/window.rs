//! How many statements are under way at once: as many as the cluster takes, up to a bound.
//!
//! Comes in: whether each was taken. Goes out: room for the next. One more for each full window that was taken, half as many
//! when the cluster is behind: additive increase and multiplicative decrease settle where it is just kept busy, and share it
//! fairly among processes (Chiu and Jain, 1989).

use std::sync::Mutex;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::store::ledger::lock;

/// Fewest statements under way: so many can always be tried.
const LEAST: usize = 4;
/// What was sent before the window was halved fails after it, for as long as this, and says nothing new.
const HALVED_FOR: Duration = Duration::from_millis(200);

/// Room for statements.
pub(super) struct Window {
    room: Semaphore,
    width: Mutex<Width>,
    most: usize,
}

struct Width {
    now: usize,
    /// Places that are to go, and are taken still.
    owed: usize,
    /// Statements taken since the window grew.
    taken: usize,
    halved: Option<Instant>,
}

impl Window {
    /// As wide as it may be.
    pub fn new(most: usize) -> Window {
        let width = Width { now: most, owed: 0, taken: 0, halved: None };
        Window { room: Semaphore::new(most), width: Mutex::new(width), most }
    }

    /// Waits for room.
    pub async fn enter(&self) -> SemaphorePermit<'_> {
        self.room.acquire().await.expect("nobody closes it")
    }

    /// Gives room back after a statement that was taken, or refused for what it says.
    pub fn leave(&self, place: SemaphorePermit<'_>) {
        let mut width = lock(&self.width);
        width.taken += 1;
        if width.taken >= width.now && width.now < self.most {
            (width.now, width.taken) = (width.now + 1, 0);
            match width.owed {
                0 => self.room.add_permits(1),
                _ => width.owed -= 1,
            }
        }
        give_back(&mut width, place);
    }

    /// Gives room back after a statement that the cluster did not take in time; answers how many there is room for from now on,
    /// where that is news.
    pub fn leave_behind(&self, place: SemaphorePermit<'_>, now: Instant) -> Option<usize> {
        let mut width = lock(&self.width);
        let is_old = width.halved.is_some_and(|halved| now.saturating_duration_since(halved) < HALVED_FOR);
        let half = (width.now / 2).max(LEAST.min(self.most));
        let is_news = !is_old && half < width.now;
        if is_news {
            let fewer = width.now - half;
            width.owed += fewer - self.room.forget_permits(fewer);
            (width.now, width.taken, width.halved) = (half, 0, Some(now));
        }
        give_back(&mut width, place);
        is_news.then_some(half)
    }
}

fn give_back(width: &mut Width, place: SemaphorePermit<'_>) {
    if width.owed > 0 {
        width.owed -= 1;
        place.forget();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Statements under way, held against what the window says.
    struct Held<'w> {
        window: &'w Window,
        places: Vec<SemaphorePermit<'w>>,
    }

    impl<'w> Held<'w> {
        fn fill(&mut self) -> usize {
            while let Ok(place) = self.window.room.try_acquire() {
                self.places.push(place);
            }
            self.places.len()
        }
    }

    #[test]
    fn it_halves_once_for_all_that_was_sent_before_and_grows_by_one_a_window() {
        let window = Window::new(64);
        let mut held = Held { window: &window, places: Vec::new() };
        let begun = Instant::now();
        assert_eq!(held.fill(), 64);
        let first = held.places.pop().expect("it is full");
        assert_eq!(window.leave_behind(first, begun), Some(32));
        for place in held.places.drain(..32) {
            assert_eq!(window.leave_behind(place, begun + HALVED_FOR / 2), None, "it was sent before");
        }
        assert_eq!(held.fill(), 32, "places that were taken are gone once they are given back");
        for _ in 0..32 {
            window.leave(held.places.pop().expect("it is full"));
        }
        assert_eq!(held.fill(), 33);
        let later = begun + HALVED_FOR;
        let mut widths = Vec::new();
        for round in 0..6 {
            let place = held.places.pop().expect("it is full");
            widths.extend(window.leave_behind(place, later + HALVED_FOR * round));
        }
        assert_eq!(widths, [16, 8, LEAST], "some can always be tried");
    }

    #[test]
    fn room_is_what_it_says_whatever_comes() {
        for seed in 0..500 {
            let mut chance = fastrand::Rng::with_seed(seed);
            let most = chance.usize(1..40);
            let window = Window::new(most);
            let mut held = Held { window: &window, places: Vec::new() };
            let mut now = Instant::now();
            for _ in 0..400 {
                now += Duration::from_millis(chance.u64(..90));
                if let (true, Ok(place)) = (chance.bool(), window.room.try_acquire()) {
                    held.places.push(place);
                } else if !held.places.is_empty() {
                    let place = held.places.swap_remove(chance.usize(..held.places.len()));
                    match chance.u8(..8) {
                        0 => drop(window.leave_behind(place, now)),
                        _ => window.leave(place),
                    }
                }
                let width = lock(&window.width);
                let open = held.places.len() + window.room.available_permits();
                assert_eq!(open, width.now + width.owed, "seed {seed}");
                assert!((LEAST.min(most)..=most).contains(&width.now), "seed {seed}: {}", width.now);
            }
            for place in held.places.drain(..) {
                window.leave(place);
            }
            for _ in 0..most * (most + 1) {
                let place = window.room.try_acquire().expect("there is room");
                window.leave(place);
            }
            assert_eq!(held.fill(), most, "seed {seed}: it is as wide as it may be again");
        }
    }
}
