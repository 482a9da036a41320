//! Room for bodies and answers in flight: all requests share it, whoever finds none is told to come again.
//!
//! Comes in: bytes as they come, or an answer that is whole. Goes out: a share, given back when the request is through, or
//! when the connection has taken its answer.

use std::sync::Arc;

use axum::body::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::answer::Refusal;
use crate::observe::{Limit, metrics};

/// Bytes of one unit: counts of bytes fit the semaphore's numbers.
const UNIT: usize = 1024;

/// The room of a server.
#[derive(Clone, Debug)]
pub(super) struct Room {
    free: Arc<Semaphore>,
    units_max: usize,
}

/// A share of it. Dropping it gives it back.
#[derive(Debug)]
pub(super) struct Held {
    room: Room,
    permit: Option<OwnedSemaphorePermit>,
}

impl Room {
    pub fn new(bytes_max: usize) -> Room {
        let units_max = (bytes_max / UNIT).clamp(1, u32::MAX as usize);
        Room { free: Arc::new(Semaphore::new(units_max)), units_max }
    }

    /// A share of nothing yet.
    pub fn nothing(&self) -> Held {
        Held { room: self.clone(), permit: None }
    }

    /// Keeps an answer in a share until it is dropped.
    ///
    /// # Errors
    /// There is no room for it.
    pub fn keep(&self, answer: Vec<u8>) -> Result<Bytes, Refusal> {
        let mut held = self.nothing();
        held.grow_to(answer.len())?;
        Ok(Bytes::from_owner(Kept { answer, _held: held }))
    }
}

impl Held {
    /// Grows to so many bytes; more than there is at all counts as all.
    ///
    /// # Errors
    /// There is no room for them.
    pub fn grow_to(&mut self, bytes: usize) -> Result<(), Refusal> {
        let wanted = bytes.div_ceil(UNIT).min(self.room.units_max);
        let has = self.permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = u32::try_from(wanted.saturating_sub(has)).unwrap_or(u32::MAX);
        if more == 0 {
            return Ok(());
        }
        let Ok(permit) = Arc::clone(&self.room.free).try_acquire_many_owned(more) else {
            let most = self.room.units_max * UNIT;
            metrics().limit_hit(Limit::Memory);
            return Err(Refusal::overloaded(format!(
                "bodies and answers in flight take {most} bytes (`serve.memory`) with this one; come again"
            )));
        };
        match &mut self.permit {
            Some(held) => held.merge(permit),
            None => self.permit = Some(permit),
        }
        Ok(())
    }
}

struct Kept {
    answer: Vec<u8>,
    _held: Held,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_held_until_the_last_of_an_answer_is_dropped() {
        let room = Room::new(10 * UNIT);
        let answer = room.keep(vec![7; 6 * UNIT]).expect("there is room");
        let end = answer.slice(6 * UNIT - 1..);
        drop(answer);
        assert!(room.keep(vec![0; 5 * UNIT]).is_err(), "a part of the answer is still held");
        assert_eq!(end[..], [7]);
        drop(end);
        assert_eq!(room.keep(vec![0; 10 * UNIT]).expect("there is room").len(), 10 * UNIT);
    }

    #[test]
    fn a_share_grows_as_bytes_come_and_what_is_larger_than_all_passes_alone() {
        let room = Room::new(10 * UNIT);
        let mut held = room.nothing();
        for bytes in [1, UNIT, UNIT + 1, 9 * UNIT] {
            held.grow_to(bytes).expect("there is room");
        }
        let mut other = room.nothing();
        other.grow_to(UNIT).expect("there is room for one more");
        let refused = held.grow_to(9 * UNIT + 1).expect_err("there is none");
        assert!(refused.message.contains("take 10240 bytes (`serve.memory`)"), "{}", refused.message);
        drop((held, other));
        room.nothing().grow_to(100 * UNIT).expect("alone");
    }
}
