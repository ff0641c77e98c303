//! [`RawSemaphore`]: permits, first come first served. Called by `sync::semaphore` and `sync::err_group`.
//!
//! ```text
//!   word   63                                   1      0
//!        +---------------------------------------+--------+
//!        | permits                               | queued |
//!        +---------------------------------------+--------+
//! ```
//!
//! `queued` is set while somebody is in the queue: then nobody takes permits past it, and permits that are given back are granted under the queue's lock, to the first
//! as long as there are enough for it. So somebody who wants many is not starved by those who want few. A waiter's `data` is how many it wants.
//!
//! **Nothing is lost.** `queued` is set by a waiter, under the queue's lock, by a compare-and-swap from a word with too few permits; permits are given back by a compare-and-swap
//! from a word without `queued`, or under that lock. A waiter that leaves may have held up others that want fewer, so it grants what there is.

#![forbid(unsafe_code)]

use std::ptr;

use super::Acquired;
use crate::base::atomic::{AtomicUsize, Ordering};
use crate::routine::Wait;
use crate::sched::waitq::{Outcome, WaitQueue};

const QUEUED: usize = 1;
const PERMIT: usize = 2;

/// See the file's documentation.
pub(crate) struct RawSemaphore {
    word: AtomicUsize,
    queue: WaitQueue,
}

impl RawSemaphore {
    /// The most permits there can be.
    pub(crate) const MAX: usize = usize::MAX >> 2;

    /// With `permits`, at most `MAX`.
    #[cfg(not(loom))]
    pub(crate) const fn new(permits: usize) -> Self {
        Self { word: AtomicUsize::new(permits * PERMIT), queue: WaitQueue::new() }
    }

    /// With `permits`.
    #[cfg(loom)]
    pub(crate) fn new(permits: usize) -> Self {
        Self { word: AtomicUsize::new(permits * PERMIT), queue: WaitQueue::new() }
    }

    /// How many nobody has at this moment.
    pub(crate) fn available(&self) -> usize {
        self.word.load(Ordering::Relaxed) / PERMIT
    }

    /// Sets the number, while nobody has or waits for any.
    pub(crate) fn reset(&self, permits: usize) {
        self.word.store(permits * PERMIT, Ordering::Release);
    }

    /// Takes `count` permits if there are as many and nobody waits.
    #[inline]
    pub(crate) fn try_acquire(&self, count: usize) -> bool {
        let mut word = self.word.load(Ordering::Relaxed);
        while word & QUEUED == 0 && word / PERMIT >= count {
            // Acquire pairs with the Release in `release`.
            match self.word.compare_exchange_weak(
                word,
                word - count * PERMIT,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
        false
    }

    /// Takes `count` permits, waiting until `deadline` if need be.
    #[inline]
    pub(crate) fn acquire(&self, count: usize, deadline: u64) -> Acquired {
        if self.try_acquire(count) { Acquired::Yes } else { self.acquire_slow(count, deadline) }
    }

    #[cold]
    #[inline(never)]
    fn acquire_slow(&self, count: usize, deadline: u64) -> Acquired {
        let mut taken = false;
        let data = ptr::without_provenance_mut(count);
        let outcome = self.queue.wait(0, Wait::Semaphore, deadline, data, |_| {
            taken = self.take_or_queue(count);
            !taken
        });
        match outcome {
            Outcome::TimedOut | Outcome::Cancelled if !taken => {
                self.grant();
                Acquired::interrupted(outcome)
            }
            Outcome::Cancelled => {
                self.release(count);
                Acquired::Cancelled
            }
            // Granted, or taken when it was about to wait.
            _ => Acquired::Yes,
        }
    }

    /// Under the queue's lock: true if the caller has the permits and need not wait.
    fn take_or_queue(&self, count: usize) -> bool {
        loop {
            if self.try_acquire(count) {
                return true;
            }
            let word = self.word.load(Ordering::Relaxed);
            if word & QUEUED == 0 && word / PERMIT >= count {
                continue;
            }
            // Also if it is set already: it must be the word's last state in which there were too few.
            let queued = word | QUEUED;
            if self.word.compare_exchange(word, queued, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                return false;
            }
        }
    }

    /// Gives `count` permits back.
    #[inline]
    pub(crate) fn release(&self, count: usize) {
        let mut word = self.word.load(Ordering::Relaxed);
        while word & QUEUED == 0 {
            // Release pairs with the Acquire of whoever takes them.
            match self.word.compare_exchange_weak(
                word,
                word + count * PERMIT,
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(now) => word = now,
            }
        }
        self.release_queued(count);
    }

    #[cold]
    #[inline(never)]
    fn release_queued(&self, count: usize) {
        self.word.fetch_add(count * PERMIT, Ordering::Release);
        self.grant();
    }

    /// Gives the first waiters what they want, as long as there is as much.
    fn grant(&self) {
        let mut is_first = true;
        loop {
            let mut queue = self.queue.lock();
            // Acquire: what was done before any of these permits was given back goes on to whoever gets them.
            let permits = self.word.load(Ordering::Acquire) / PERMIT;
            let claimed = queue.claim_first_if(0, |wanted| wanted.addr() <= permits);
            if let Some(claimed) = &claimed {
                // While `queued` is set nobody else takes any.
                self.word.fetch_sub(claimed.data().addr() * PERMIT, Ordering::Relaxed);
            }
            let is_empty = queue.is_empty(0);
            if is_empty {
                self.word.fetch_and(!QUEUED, Ordering::Relaxed);
            }
            drop(queue);
            let Some(claimed) = claimed else { return };
            // So they also run in their order.
            if is_first {
                claimed.wake(0)
            } else {
                claimed.wake_tail(0)
            }
            is_first = false;
            if is_empty {
                return;
            }
        }
    }

    /// With `permits` left, and nobody in the queue.
    #[cfg(loom)]
    pub(crate) fn check_idle(&self, permits: usize) {
        assert_eq!(self.word.load(Ordering::Relaxed), permits * PERMIT);
        assert!(self.queue.lock().is_empty(0));
    }
}
