//! [`RawCondvar`]: a queue of those who wait for a change of what a mutex guards. Called by `sync::condvar`.
//!
//! **No notification is lost.** The waiter's node is linked before the mutex is given back (`WaitQueue::wait_then`). Whoever changes the state under
//! the mutex after that therefore finds the node: also without the queue's lock, by `has_waiters`, since its lock of the mutex comes after the
//! waiter's unlock.
//!
//! **Nor does one go to somebody who leaves.** A notification is a claim, and a waiter that is cancelled or timed out was claimed by that.
//!
//! Rejected: to move the notified waiters to the mutex's queue at once (wait morphing). It saves a wake-up for each waiter that finds the mutex held, costs a
//! second kind of node in the mutex's queue, and here a wake-up is no system call unless a worker sleeps.

#![forbid(unsafe_code)]

use std::ptr;

use super::Acquired;
use super::mutex::RawMutex;
use crate::base::atomic::{AtomicUsize, Ordering};
use crate::routine::Wait;
use crate::sched::waitq::{Outcome, WaitQueue};

/// See the file's documentation.
pub(crate) struct RawCondvar {
    queue: WaitQueue,
    /// Counts the calls of `notify_all`. A waiter's `data` is the number it saw before it waited.
    rounds: AtomicUsize,
}

impl RawCondvar {
    /// Nobody waits.
    #[cfg(not(loom))]
    pub(crate) const fn new() -> Self {
        Self { queue: WaitQueue::new(), rounds: AtomicUsize::new(0) }
    }

    /// Nobody waits.
    #[cfg(loom)]
    pub(crate) fn new() -> Self {
        Self { queue: WaitQueue::new(), rounds: AtomicUsize::new(0) }
    }

    /// Gives `mutex` back and waits for a notification, or until `deadline`; takes `mutex` again in any case. `wait` is what
    /// dumps say.
    pub(crate) fn wait(&self, mutex: &RawMutex, wait: Wait, deadline: u64) -> Acquired {
        let round = ptr::without_provenance_mut(self.rounds.load(Ordering::Relaxed));
        let outcome = self.queue.wait_then(0, wait, deadline, round, || mutex.unlock());
        mutex.lock_uninterrupted();
        match outcome {
            Outcome::TimedOut | Outcome::Cancelled => Acquired::interrupted(outcome),
            _ => Acquired::Yes,
        }
    }

    /// Wakes the one that has waited longest; false if nobody waits.
    pub(crate) fn notify_one(&self) -> bool {
        if !self.queue.has_waiters(0) {
            return false;
        }
        let claimed = self.queue.lock().claim_first(0);
        match claimed {
            Some(claimed) => {
                claimed.wake(0);
                true
            }
            None => false,
        }
    }

    /// Wakes all that wait, in their order, and says how many.
    pub(crate) fn notify_all(&self) -> usize {
        if !self.queue.has_waiters(0) {
            return 0;
        }
        // Those that begin to wait from here on, perhaps again, are not meant. The queue's lock and the wake-ups order what is relaxed here.
        let round = self.rounds.fetch_add(1, Ordering::Relaxed);
        let mut woken = 0;
        loop {
            // In a statement of its own: the lock is not held while somebody is woken.
            let claimed =
                self.queue.lock().claim_first_if(0, |data| data.addr().wrapping_sub(round) as isize <= 0);
            let Some(claimed) = claimed else { return woken };
            claimed.wake_tail(0);
            woken += 1;
        }
    }
}
