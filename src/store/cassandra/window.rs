//! How many statements are under way at once: as many as the cluster takes, up to a bound.
//!
//! Comes in: whether each was taken. Goes out: how many each batch and each read may have under way. One more for each full
//! window that was taken, half as many when the cluster is behind: additive increase and multiplicative decrease settle where it
//! is just kept busy, and share it fairly among processes (Chiu and Jain, 1989).
//!
//! All that a process sends learns one width, and nobody waits for room that another has: of futures that wait for each other
//! and share places, one that is not polled could hold up all.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::store::ledger::lock;

/// Fewest statements under way: so many can always be tried.
const LEAST: usize = 4;
/// What was sent before the window was halved fails after it, for as long as this, and says nothing new.
const HALVED_FOR: Duration = Duration::from_millis(200);

/// How many statements a batch or a read may have under way.
pub(super) struct Window {
    width: Mutex<Width>,
    most: usize,
}

struct Width {
    now: usize,
    /// Statements taken since the window grew.
    taken: usize,
    halved: Option<Instant>,
}

impl Window {
    /// As wide as it may be.
    pub fn new(most: usize) -> Window {
        Window { width: Mutex::new(Width { now: most, taken: 0, halved: None }), most }
    }

    /// How many statements may be under way.
    pub fn width(&self) -> usize {
        lock(&self.width).now
    }

    /// A statement was taken, or refused for what it says.
    pub fn taken(&self) {
        let mut width = lock(&self.width);
        width.taken += 1;
        if width.taken >= width.now && width.now < self.most {
            (width.now, width.taken) = (width.now + 1, 0);
        }
    }

    /// The cluster did not take a statement in time; answers how many may be under way from now on, where that is news.
    pub fn behind(&self, now: Instant) -> Option<usize> {
        let mut width = lock(&self.width);
        let is_old = width.halved.is_some_and(|halved| now.saturating_duration_since(halved) < HALVED_FOR);
        let half = (width.now / 2).max(LEAST.min(self.most));
        let is_news = !is_old && half < width.now;
        if is_news {
            (width.now, width.taken, width.halved) = (half, 0, Some(now));
        }
        is_news.then_some(half)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_halves_once_for_all_that_was_sent_before_and_grows_by_one_a_window() {
        let window = Window::new(64);
        let begun = Instant::now();
        assert_eq!(window.behind(begun), Some(32));
        for _ in 0..40 {
            assert_eq!(window.behind(begun + HALVED_FOR / 2), None, "it was sent before");
        }
        for _ in 0..32 {
            assert_eq!(window.width(), 32);
            window.taken();
        }
        assert_eq!(window.width(), 33);
        let halved = (1..6).filter_map(|round| window.behind(begun + HALVED_FOR * round));
        assert_eq!(halved.collect::<Vec<_>>(), [16, 8, LEAST], "some can always be tried");
        (0..64 * 64).for_each(|_| window.taken());
        assert_eq!(window.width(), 64, "it is as wide as it may be again");
    }

    #[test]
    fn it_is_never_wider_than_the_setting() {
        let window = Window::new(2);
        assert_eq!(window.behind(Instant::now()), None);
        window.taken();
        window.taken();
        assert_eq!(window.width(), 2);
    }
}
