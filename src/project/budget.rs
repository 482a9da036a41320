//! How much all projectors of a process may hold of the log at once.
//!
//! Comes in: how much one batch may need at most. Goes out: a share, given back when the batch is committed. Nothing is asked
//! for while a share is held, so nobody waits for somebody who waits for him; shares are given in the order in which they
//! were asked for, so none waits for ever. A part is kept for small batches: what is new does not wait behind a backlog. One
//! share is asked for each batch: an event costs nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of one unit: counts of bytes fit the semaphore's numbers.
const UNIT: usize = 1024;

/// The least that a share is of: a batch of one small event reads rows all the same.
const SHARE_UNITS_MIN: u32 = 64;

/// The part that is kept for small shares, and how many of these it has room for at least.
const SMALL_PART: u32 = 8;
const SMALL_SHARES: u32 = 4;

/// Bytes that projectors hold between fetch and commit: of records, and of the rows that they change.
#[derive(Debug)]
pub struct Budget {
    large: Part,
    small: Part,
    /// The most that was ever given at once.
    peak: AtomicU32,
}

/// A part of the budget.
#[derive(Debug)]
struct Part {
    free: Arc<Semaphore>,
    units_max: u32,
}

/// What a batch may hold. Dropping it gives it back.
#[derive(Debug)]
pub struct Share {
    permit: OwnedSemaphorePermit,
}

impl Budget {
    /// A budget of so many bytes, at least 64 KiB.
    pub fn new(bytes_max: usize) -> Arc<Budget> {
        let units_max = u32::try_from(bytes_max / UNIT).unwrap_or(u32::MAX).max(SHARE_UNITS_MIN);
        let small = units_max / SMALL_PART;
        let peak = AtomicU32::new(0);
        Arc::new(Budget { large: Part::new(units_max - small), small: Part::new(small), peak })
    }

    /// All of it, in bytes.
    pub fn bytes_max(&self) -> usize {
        (self.large.units_max + self.small.units_max) as usize * UNIT
    }

    /// The largest share that leaves room for another one like it.
    pub fn half(&self) -> usize {
        self.large.units_max as usize / 2 * UNIT
    }

    /// Bytes that are given away now.
    pub fn bytes_held(&self) -> usize {
        (self.large.units_held() + self.small.units_held()) * UNIT
    }

    /// The most bytes that were given away at once.
    pub fn bytes_peak(&self) -> usize {
        self.peak.load(Ordering::Relaxed) as usize * UNIT
    }

    /// Waits for a share of so many bytes. More than there is at all is given beside small ones alone, once all others are
    /// back.
    pub async fn share(&self, bytes: usize) -> Share {
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        let units = units.max(SHARE_UNITS_MIN);
        let is_small = units <= self.small.units_max / SMALL_SHARES;
        let part = if is_small { &self.small } else { &self.large };
        let permit = Arc::clone(&part.free).acquire_many_owned(units.min(part.units_max)).await;
        let permit = permit.expect("the semaphore is never closed");
        let held = u32::try_from(self.bytes_held() / UNIT).unwrap_or(u32::MAX);
        self.peak.fetch_max(held, Ordering::Relaxed);
        Share { permit }
    }
}

impl Part {
    fn new(units_max: u32) -> Part {
        Part { free: Arc::new(Semaphore::new(units_max as usize)), units_max }
    }

    fn units_held(&self) -> usize {
        (self.units_max as usize).saturating_sub(self.free.available_permits())
    }
}

impl Share {
    /// Its size in bytes.
    pub fn bytes(&self) -> usize {
        self.permit.num_permits() * UNIT
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[tokio::test]
    async fn what_does_not_fit_waits_and_what_is_larger_than_all_passes_alone() {
        let budget = Budget::new(1 << 20);
        let small = budget.share(300 << 10).await;
        assert_eq!(budget.bytes_held(), 300 << 10);
        let alone = budget.share(10 << 20);
        tokio::pin!(alone);
        assert!(alone.as_mut().now_or_never().is_none(), "it is alone, so it waits for all others");
        let behind = budget.share(64 << 10);
        tokio::pin!(behind);
        assert!(behind.as_mut().now_or_never().is_none(), "it does not overtake who asked before it");
        drop(small);
        let alone = alone.await;
        assert_eq!((alone.bytes(), budget.bytes_held()), (896 << 10, 896 << 10));
        drop(alone);
        assert_eq!(behind.await.bytes(), 64 << 10);
        assert_eq!((budget.bytes_held(), budget.bytes_peak()), (0, 896 << 10));
    }

    #[tokio::test]
    async fn a_small_share_does_not_wait_behind_large_ones() {
        let budget = Budget::new(64 << 20);
        let _all = budget.share(64 << 20).await;
        let large = budget.share(8 << 20);
        tokio::pin!(large);
        assert!(large.as_mut().now_or_never().is_none());
        let mut small = Vec::new();
        for _ in 0..4 {
            small.push(budget.share(2 << 20).now_or_never().expect("there is room for small ones"));
        }
        assert!(budget.share(1).now_or_never().is_none(), "small ones have a bound too");
        assert_eq!(budget.bytes_held(), budget.bytes_max());
    }

    #[tokio::test]
    async fn who_stops_waiting_holds_nothing() {
        let budget = Budget::new(1 << 20);
        let all = budget.share(1 << 20).await;
        {
            let waiting = budget.share(1 << 20);
            tokio::pin!(waiting);
            assert!(waiting.as_mut().now_or_never().is_none());
        }
        drop(all);
        assert_eq!(budget.bytes_held(), 0);
        assert_eq!(budget.share(1).await.bytes(), 64 << 10);
    }
}
