//! [`Condvar`]: `raw::condvar` with guards, predicates and durations.

#![forbid(unsafe_code)]

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::{Duration, Instant};

use super::mutex::MutexGuard;
use super::raw::condvar::RawCondvar;
use crate::routine::Wait;
use crate::sys::clock;

/// Waiting for a change of what a [`Mutex`](super::Mutex) guards.
///
/// Waiters are notified in the order in which they came. A notification wakes somebody who waits at that moment and stays; it is not kept for later, and a
/// waiter that is cancelled or times out takes none along. There are no wake-ups for no reason, but when a waiter has the mutex again
/// somebody else may have been faster: wait in a loop, or by [`wait_while`](Self::wait_while).
///
/// # Examples
///
/// ```
/// use greenroutine::sync::{Condvar, Mutex};
///
/// static READY: Mutex<bool> = Mutex::new(false);
/// static CHANGED: Condvar = Condvar::new();
///
/// greenroutine::go(|| {
///     *READY.lock() = true;
///     CHANGED.notify_one();
/// });
/// let mut ready = READY.lock();
/// CHANGED.wait_while(&mut ready, |ready| !*ready);
/// assert!(*ready);
/// ```
pub struct Condvar {
    raw: RawCondvar,
}

impl UnwindSafe for Condvar {}
impl RefUnwindSafe for Condvar {}

/// Whether a wait ended because its time was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitTimeoutResult {
    timed_out: bool,
}

impl WaitTimeoutResult {
    /// Whether the time was over.
    pub fn timed_out(self) -> bool {
        self.timed_out
    }
}

impl Condvar {
    /// Nobody waits.
    #[inline]
    pub const fn new() -> Self {
        Self { raw: RawCondvar::new() }
    }

    /// Gives the mutex back, waits for a notification, and takes the mutex again. A notification that comes after the mutex was given back is not
    /// missed.
    ///
    /// # Blocking
    ///
    /// Parks the calling goroutine, or blocks the calling thread, until it is notified, and then until the mutex is free.
    ///
    /// # Cancellation
    ///
    /// A goroutine that is cancelled while it waits for the notification takes the mutex again and then unwinds.
    pub fn wait<T: ?Sized>(&self, guard: &mut MutexGuard<'_, T>) {
        self.raw.wait(guard.raw(), Wait::Condvar, u64::MAX).or_unwind();
    }

    /// Waits until `condition` is false.
    ///
    /// # Blocking
    ///
    /// As [`wait`](Self::wait), as often as need be. If `condition` is false already it does not wait.
    ///
    /// # Cancellation
    ///
    /// As [`wait`](Self::wait).
    pub fn wait_while<T: ?Sized>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        mut condition: impl FnMut(&mut T) -> bool,
    ) {
        while condition(guard) {
            self.wait(guard);
        }
    }

    /// As [`wait`](Self::wait), for at most `duration`.
    ///
    /// It may return later than that: it takes the mutex again in any case.
    pub fn wait_for<T: ?Sized>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        duration: Duration,
    ) -> WaitTimeoutResult {
        self.wait_till(guard, clock::deadline_after(duration))
    }

    /// As [`wait_for`](Self::wait_for), until `deadline` at most.
    pub fn wait_until<T: ?Sized>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        deadline: Instant,
    ) -> WaitTimeoutResult {
        self.wait_till(guard, clock::of_instant(deadline))
    }

    /// As [`wait_while`](Self::wait_while), for at most `duration`. [`timed_out`](WaitTimeoutResult::timed_out) says that `condition` was still true
    /// then.
    pub fn wait_while_for<T: ?Sized>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        mut condition: impl FnMut(&mut T) -> bool,
        duration: Duration,
    ) -> WaitTimeoutResult {
        let deadline = clock::deadline_after(duration);
        let mut timed_out = false;
        while condition(guard) {
            if timed_out {
                return WaitTimeoutResult { timed_out };
            }
            timed_out = self.wait_till(guard, deadline).timed_out;
        }
        WaitTimeoutResult { timed_out: false }
    }

    fn wait_till<T: ?Sized>(&self, guard: &mut MutexGuard<'_, T>, deadline: u64) -> WaitTimeoutResult {
        WaitTimeoutResult { timed_out: !self.raw.wait(guard.raw(), Wait::Condvar, deadline).or_unwind() }
    }

    /// Wakes the one that has waited longest. False if nobody waits.
    ///
    /// Needs no mutex. If the state was changed under the mutex before, no waiter misses it.
    pub fn notify_one(&self) -> bool {
        self.raw.notify_one()
    }

    /// Wakes all that wait, and says how many those were.
    ///
    /// Those who begin to wait while it runs are not meant.
    pub fn notify_all(&self) -> usize {
        self.raw.notify_all()
    }
}

impl Default for Condvar {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condvar").finish_non_exhaustive()
    }
}
