//! Position → write order, the same on every redo.
//!
//! Stamp n of a partition is the write timestamp `B + n` in microseconds, where the base B was chosen once when
//! the projection first met the partition. Only the order of a row's stamps matters: they all come from one
//! partition, so they compare as offsets do. A second write of the same event carries the same stamp and the
//! same content, and a late one loses inside the store.

use crate::event::Offset;

/// The base of a partition: near the clock when it is first met, so that its stamps beat whatever an older
/// deployment of the same tables wrote before.
pub fn base(now_us: i64, end: Offset) -> i64 {
    now_us.saturating_sub(i64::try_from(end).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::base;

    #[test]
    fn the_next_event_to_come_is_stamped_with_the_clock() {
        assert_eq!(base(1_000_000, 250) + 250, 1_000_000);
    }

    #[test]
    fn an_absurd_end_does_not_overflow() {
        assert!(base(i64::MIN + 5, u64::MAX) <= i64::MIN + 5);
    }
}
