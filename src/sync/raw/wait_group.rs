//! [`RawWaitGroup`]: a count, and those who wait until it is 0. Called by `sync::wait_group`.
//!
//! ```text
//!   word   63               32 31                0
//!        +-------------------+-------------------+
//!        | rounds            | count             |
//!        +-------------------+-------------------+
//! ```
//!
//! A round ends when the count reaches 0, in the same change of the word. A waiter's `data` is the round it waits for: the end of one wakes those that wait for it or an
//! earlier one, and nobody who waits for the next, however soon that begins. The word is changed before the queue is looked at, and a waiter is linked
//! before it looks at the word, both with a full barrier in between.

#![forbid(unsafe_code)]

use std::ptr;

use super::Acquired;
use crate::base::atomic::{AtomicU64, Ordering, fence as memory_fence};
use crate::routine::Wait;
use crate::sched::waitq::{Outcome, WaitQueue};

const ROUND: u64 = 1 << 32;

const fn count(word: u64) -> u32 {
    word as u32
}

const fn round(word: u64) -> u32 {
    (word >> 32) as u32
}

/// See the file's documentation.
pub(crate) struct RawWaitGroup {
    word: AtomicU64,
    queue: WaitQueue,
}

/// Why a count was left as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OutOfRange {
    /// It would be less than 0.
    Negative,
    /// It would not fit.
    TooMany,
}

impl RawWaitGroup {
    /// With a count of 0.
    pub(crate) fn new() -> Self {
        Self { word: AtomicU64::new(0), queue: WaitQueue::new() }
    }

    /// The count at this moment.
    pub(crate) fn count(&self) -> u32 {
        count(self.word.load(Ordering::Relaxed))
    }

    /// Adds to the count; at 0 those who wait go on.
    pub(crate) fn add(&self, delta: isize) -> Result<(), OutOfRange> {
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            let new = i64::from(count(word)) + delta as i64;
            if new < 0 {
                return Err(OutOfRange::Negative);
            }
            if new > i64::from(u32::MAX) {
                return Err(OutOfRange::TooMany);
            }
            let ends = new == 0 && count(word) != 0;
            let rounds = if ends { word.wrapping_add(ROUND) } else { word } & !(ROUND - 1);
            // Release pairs with the Acquire of those who need not wait; SeqCst, and then the queue.
            match self.word.compare_exchange_weak(
                word,
                rounds | new as u64,
                Ordering::SeqCst,
                Ordering::Relaxed,
            ) {
                Ok(_) => {
                    if ends {
                        self.wake(round(word));
                    }
                    return Ok(());
                }
                Err(now) => word = now,
            }
        }
    }

    /// Waits until the count is 0, or until `deadline`.
    pub(crate) fn wait(&self, deadline: u64) -> Acquired {
        let word = self.word.load(Ordering::Acquire);
        if count(word) == 0 {
            return Acquired::Yes;
        }
        let data = ptr::without_provenance_mut(round(word) as usize);
        let outcome = self.queue.wait(0, Wait::WaitGroup, deadline, data, |_| {
            // The node is linked. Pairs with the change of the word in `add`.
            memory_fence(Ordering::SeqCst);
            round(self.word.load(Ordering::Acquire)) == round(word)
        });
        match outcome {
            Outcome::TimedOut | Outcome::Cancelled => Acquired::interrupted(outcome),
            _ => Acquired::Yes,
        }
    }

    /// A round has ended.
    fn wake(&self, ended: u32) {
        while self.queue.has_waiters(0) {
            // In a statement of its own: the lock is not held while somebody is woken.
            let claimed = self
                .queue
                .lock()
                .claim_first_if(0, |round| (round.addr() as u32).wrapping_sub(ended) as i32 <= 0);
            let Some(claimed) = claimed else { return };
            claimed.wake_tail(0);
        }
    }
}
