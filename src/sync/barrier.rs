//! [`Barrier`]: std's, on the raw mutex and condition variable.

#![forbid(unsafe_code)]

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};

use super::raw::Acquired;
use super::raw::condvar::RawCondvar;
use super::raw::mutex::RawMutex;
use crate::base::atomic::{AtomicUsize, Ordering};
use crate::routine::Wait;
use crate::sched;

/// Lets a number of goroutines and threads wait for each other: [`std::sync::Barrier`]'s contract.
///
/// What each did before it came happens before any goes on. It can be used again at once.
///
/// # Examples
///
/// ```
/// use greenroutine::sync::Barrier;
///
/// let barrier = Barrier::new(4);
/// let leaders = greenroutine::scope(|s| {
///     let all: Vec<_> = (0..4).map(|_| s.go(|| barrier.wait().is_leader())).collect();
///     all.into_iter().map(|one| one.join().unwrap()).filter(|leads| *leads).count()
/// });
/// assert_eq!(leaders, 1);
/// ```
pub struct Barrier {
    mutex: RawMutex,
    complete: RawCondvar,
    parties: usize,
    /// Under `mutex`: who has come, and how often all had.
    arrived: AtomicUsize,
    round: AtomicUsize,
}

impl UnwindSafe for Barrier {}
impl RefUnwindSafe for Barrier {}

/// Whether a caller of [`Barrier::wait`] was the last to come.
pub struct BarrierWaitResult {
    leads: bool,
}

impl BarrierWaitResult {
    /// True for one of those that waited together: the one that came last.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.leads
    }
}

impl Barrier {
    /// A barrier for `parties` at a time. With 0 or 1 nobody waits.
    #[must_use]
    #[inline]
    pub const fn new(parties: usize) -> Self {
        Self {
            mutex: RawMutex::new(),
            complete: RawCondvar::new(),
            parties,
            arrived: AtomicUsize::new(0),
            round: AtomicUsize::new(0),
        }
    }

    /// Waits until all have come.
    ///
    /// # Blocking
    ///
    /// Parks the calling goroutine, or blocks the calling thread.
    ///
    /// # Cancellation
    ///
    /// A goroutine that is cancelled while it waits unwinds and counts as not come.
    pub fn wait(&self) -> BarrierWaitResult {
        sched::pass_safepoint();
        self.mutex.lock_uninterrupted();
        let arrived = self.arrived.load(Ordering::Relaxed) + 1;
        let round = self.round.load(Ordering::Relaxed);
        if arrived >= self.parties {
            self.arrived.store(0, Ordering::Relaxed);
            self.round.store(round.wrapping_add(1), Ordering::Relaxed);
            self.complete.notify_all();
            self.mutex.unlock();
            return BarrierWaitResult { leads: true };
        }
        self.arrived.store(arrived, Ordering::Relaxed);
        let mut ended = Acquired::Yes;
        while self.round.load(Ordering::Relaxed) == round && ended == Acquired::Yes {
            ended = self.complete.wait(&self.mutex, Wait::Barrier, u64::MAX);
        }
        if self.round.load(Ordering::Relaxed) == round {
            self.arrived.fetch_sub(1, Ordering::Relaxed);
        }
        self.mutex.unlock();
        ended.or_unwind();
        BarrierWaitResult { leads: false }
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barrier").field("parties", &self.parties).finish_non_exhaustive()
    }
}

impl fmt::Debug for BarrierWaitResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BarrierWaitResult").field("is_leader", &self.leads).finish()
    }
}
