//! [`WaitGroup`]: Go's. A handle of a count and a wait queue.

#![forbid(unsafe_code)]

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use crate::base::atomic::{AtomicU64, Ordering};
use crate::go::{JoinHandle, go};
use crate::routine::Wait;
use crate::sched::waitq::{Outcome, WaitQueue};
use crate::sched::{self, park};
use crate::sys::clock;

/// Waits for a number of things to be done, usually goroutines to end. Go's `sync.WaitGroup`.
///
/// A clone is another handle of the same group. What was done before [`done`](Self::done) happens before [`wait`](Self::wait) returns.
///
/// Go's advice holds here too: [`add`](Self::add) what is started before it is started, so that a `wait` cannot come in between; [`go`](Self::go) does.
///
/// # Examples
///
/// ```
/// use greenroutine::sync::WaitGroup;
/// use std::sync::atomic::{AtomicU32, Ordering};
///
/// static SUM: AtomicU32 = AtomicU32::new(0);
///
/// let group = WaitGroup::new();
/// for n in 1..=4 {
///     group.go(move || SUM.fetch_add(n, Ordering::Relaxed));
/// }
/// group.wait();
/// assert_eq!(SUM.load(Ordering::Relaxed), 10);
/// ```
#[derive(Clone)]
pub struct WaitGroup {
    inner: Arc<Inner>,
}

/// ```text
///   word   63               32 31                0
///        +-------------------+-------------------+
///        | rounds            | count             |
///        +-------------------+-------------------+
/// ```
///
/// A round ends when the count reaches 0. A waiter's `data` is the round it waits for, so that one who waits for the next is not woken by the end of this.
struct Inner {
    word: AtomicU64,
    queue: WaitQueue,
}

const ROUND: u64 = 1 << 32;

const fn count(word: u64) -> u32 {
    word as u32
}

const fn round(word: u64) -> u32 {
    (word >> 32) as u32
}

impl UnwindSafe for WaitGroup {}
impl RefUnwindSafe for WaitGroup {}

impl WaitGroup {
    /// A group with nothing to wait for.
    pub fn new() -> Self {
        Self { inner: Arc::new(Inner { word: AtomicU64::new(0), queue: WaitQueue::new() }) }
    }

    /// Adds `delta`, which may be negative, to the number of things to wait for. At 0 those who wait go on.
    ///
    /// # Panics
    ///
    /// If the number would be negative (or more than `u32::MAX`); then it stays as it is.
    #[track_caller]
    pub fn add(&self, delta: isize) {
        sched::pass_safepoint();
        let mut word = self.inner.word.load(Ordering::Relaxed);
        loop {
            let new = i64::from(count(word)) + delta as i64;
            assert!(new >= 0, "sync: negative WaitGroup counter");
            assert!(new <= i64::from(u32::MAX), "sync: WaitGroup counter overflow");
            let ends = new == 0 && count(word) != 0;
            let rounds = if ends { word.wrapping_add(ROUND) } else { word } & !(ROUND - 1);
            // SeqCst, and then the queue: a waiter links its node and then looks at the word.
            match self.inner.word.compare_exchange_weak(
                word,
                rounds | new as u64,
                Ordering::SeqCst,
                Ordering::Relaxed,
            ) {
                Ok(_) if ends => return self.inner.wake(round(word)),
                Ok(_) => return,
                Err(now) => word = now,
            }
        }
    }

    /// One thing is done: `add(-1)`.
    ///
    /// # Panics
    ///
    /// If there is nothing left to be done.
    #[track_caller]
    pub fn done(&self) {
        self.add(-1);
    }

    /// Waits until all is done.
    ///
    /// # Blocking
    ///
    /// Parks the calling goroutine, or blocks the calling thread.
    ///
    /// # Cancellation
    ///
    /// A goroutine that is cancelled while it waits unwinds. What it waited for goes on.
    pub fn wait(&self) {
        let done = self.inner.wait(u64::MAX);
        debug_assert!(done, "there is no deadline");
    }

    /// As [`wait`](Self::wait), for at most `duration`. False if not all was done by then.
    pub fn wait_timeout(&self, duration: Duration) -> bool {
        self.inner.wait(clock::deadline_after(duration))
    }

    /// The number of things to wait for at this moment.
    pub(super) fn count(&self) -> u32 {
        count(self.inner.word.load(Ordering::Relaxed))
    }

    /// Starts a goroutine that the group waits for. It counts as done when it ends, also by a panic or a cancellation.
    ///
    /// # Panics
    ///
    /// As [`go`](fn@crate::go).
    #[track_caller]
    pub fn go<T: Send + 'static>(&self, f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        self.add(1);
        let done = Done(self.clone());
        go(move || {
            let _done = done;
            f()
        })
    }
}

/// Something to be done, until it is dropped: also with a closure that never runs.
pub(super) struct Done(pub(super) WaitGroup);

impl Drop for Done {
    fn drop(&mut self) {
        self.0.done();
    }
}

impl Inner {
    fn wait(&self, deadline: u64) -> bool {
        sched::pass_safepoint();
        // Acquire pairs with the end of the round.
        let word = self.word.load(Ordering::Acquire);
        if count(word) == 0 {
            return true;
        }
        let data = ptr::without_provenance_mut(round(word) as usize);
        let outcome = self.queue.wait(0, Wait::WaitGroup, deadline, data, |_| {
            // SeqCst: pairs with `add`.
            round(self.word.load(Ordering::SeqCst)) == round(word)
        });
        match outcome {
            Outcome::Cancelled => park::cancelled(),
            Outcome::TimedOut => false,
            _ => true,
        }
    }

    /// A round has ended.
    #[cold]
    #[inline(never)]
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

impl Default for WaitGroup {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for WaitGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitGroup").field("count", &self.count()).finish()
    }
}
