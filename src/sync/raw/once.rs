//! [`RawOnce`]: something that is done once, by whoever comes first. Called by `sync::once`, `sync::once_cell`.
//!
//! | state | means | to |
//! | --- | --- | --- |
//! | `NEW` | not done, and nobody is at it | `RUNNING`, by a compare-and-swap of whoever does it |
//! | `RUNNING` | somebody is at it | `DONE`, or `NEW` if it unwound, by that one |
//! | `DONE` | done | |
//!
//! Two lists: those who would do it themselves, and those who only wait for it. When it is done all are woken; when it unwound, one of the first list,
//! who tries next, or finds somebody else at it, who then has the same duty. A state is written before the queue is looked at, and a waiter is linked before it looks at the state, both
//! with a full barrier in between.

#![forbid(unsafe_code)]

use std::ptr;

use super::Acquired;
use crate::base::atomic::{AtomicU32, Ordering, fence as memory_fence};
use crate::base::fence;
use crate::routine::Wait;
use crate::sched::waitq::{Outcome, WaitQueue};

const NEW: u32 = 0;
const RUNNING: u32 = 1;
const DONE: u32 = 2;

/// Lists of the queue.
const DOERS: usize = 0;
const WATCHERS: usize = 1;

/// See the file's documentation.
pub(crate) struct RawOnce {
    state: AtomicU32,
    queue: WaitQueue<2>,
}

/// What a caller has to do.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// It is done.
    Done,
    /// The caller does it, and calls `end`.
    Yours,
    /// The wait for whoever does it was interrupted.
    Interrupted(Acquired),
}

impl RawOnce {
    /// Not done.
    #[cfg(not(loom))]
    pub(crate) const fn new() -> Self {
        Self { state: AtomicU32::new(NEW), queue: WaitQueue::new() }
    }

    /// Not done.
    #[cfg(loom)]
    pub(crate) fn new() -> Self {
        Self { state: AtomicU32::new(NEW), queue: WaitQueue::new() }
    }

    /// Done before anybody could ask.
    pub(crate) fn new_done() -> Self {
        let once = Self::new();
        once.state.store(DONE, Ordering::Relaxed);
        once
    }

    /// Whether it is done: then all that was done happened before.
    #[inline(always)]
    pub(crate) fn is_done(&self) -> bool {
        // Acquire pairs with the swap in `end`.
        self.state.load(Ordering::Acquire) == DONE
    }

    /// Undoes it, for who owns it.
    pub(crate) fn reset(&mut self) -> bool {
        let was_done = self.is_done();
        *self = Self::new();
        was_done
    }

    /// Lets the caller do it, or waits for whoever does.
    #[cold]
    #[inline(never)]
    pub(crate) fn begin(&self, wait: Wait) -> Begin {
        loop {
            match self.state.compare_exchange(NEW, RUNNING, Ordering::Acquire, Ordering::Acquire) {
                Ok(_) => return Begin::Yours,
                Err(DONE) => return Begin::Done,
                Err(_) => {}
            }
            let outcome = self.queue.wait(DOERS, wait, u64::MAX, ptr::null_mut(), |_| {
                // The node is linked. Pairs with the swap in `end`.
                memory_fence(Ordering::SeqCst);
                self.state.load(Ordering::Relaxed) == RUNNING
            });
            if let Outcome::TimedOut | Outcome::Cancelled = outcome {
                return Begin::Interrupted(Acquired::interrupted(outcome));
            }
        }
    }

    /// Waits until it is done, by somebody else.
    #[cold]
    pub(crate) fn watch(&self, wait: Wait) -> Acquired {
        while !self.is_done() {
            let outcome = self.queue.wait(WATCHERS, wait, u64::MAX, ptr::null_mut(), |_| {
                // The node is linked. Pairs with the swap in `end`.
                memory_fence(Ordering::SeqCst);
                self.state.load(Ordering::Relaxed) != DONE
            });
            if let Outcome::TimedOut | Outcome::Cancelled = outcome {
                return Acquired::interrupted(outcome);
            }
        }
        Acquired::Yes
    }

    /// The caller has done it, or has unwound from it.
    pub(crate) fn end(&self, done: bool) {
        // Release pairs with the Acquire of those who look; SeqCst, and then the queue.
        self.state.swap(if done { DONE } else { NEW }, Ordering::SeqCst);
        fence::in_model();
        if !done {
            self.wake(DOERS);
            return;
        }
        for list in [DOERS, WATCHERS] {
            // None of them waits again.
            while self.wake(list) {}
        }
    }

    fn wake(&self, list: usize) -> bool {
        if !self.queue.has_waiters(list) {
            return false;
        }
        let claimed = self.queue.lock().claim_any(list);
        match claimed {
            Some(claimed) => {
                claimed.wake_tail(0);
                true
            }
            None => false,
        }
    }
}
