//! [`Semaphore`]: `raw::semaphore` with guards.

#![forbid(unsafe_code)]

use std::fmt;
use std::mem;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::{Duration, Instant};

use super::raw::NotSend;
use super::raw::semaphore::RawSemaphore;
use crate::sched;
use crate::sys::clock;

/// A number of permits, for goroutines and threads.
///
/// Whoever waits is served in the order of coming: somebody who wants many permits is not starved by those who want few, and meanwhile nobody gets any past
/// the first. What was done before permits were given back happens before they are taken again.
///
/// # Examples
///
/// ```
/// use greenroutine::sync::Semaphore;
///
/// // At most three at a time.
/// static PLACES: Semaphore = Semaphore::new(3);
///
/// greenroutine::scope(|s| {
///     for _ in 0..10 {
///         s.go(|| {
///             let _place = PLACES.acquire(1);
///         });
///     }
/// });
/// assert_eq!(PLACES.available(), 3);
/// ```
pub struct Semaphore {
    raw: RawSemaphore,
    /// How many there are, whoever has them.
    total: usize,
}

impl UnwindSafe for Semaphore {}
impl RefUnwindSafe for Semaphore {}

impl Semaphore {
    /// The most permits a semaphore can have.
    pub const MAX_PERMITS: usize = RawSemaphore::MAX;

    /// A semaphore with `permits` permits.
    ///
    /// # Panics
    ///
    /// If they are more than [`MAX_PERMITS`](Self::MAX_PERMITS).
    pub const fn new(permits: usize) -> Self {
        assert!(permits <= Self::MAX_PERMITS, "a semaphore has MAX_PERMITS permits at most");
        Self { raw: RawSemaphore::new(permits), total: permits }
    }

    /// How many permits nobody has at this moment.
    pub fn available(&self) -> usize {
        self.raw.available()
    }

    /// Takes `count` permits; dropping the guard gives them back.
    ///
    /// # Blocking
    ///
    /// Parks the calling goroutine, or blocks the calling thread, until the permits are there and those who came before have theirs.
    ///
    /// # Cancellation
    ///
    /// A goroutine that is cancelled while it waits unwinds, and those behind it are served.
    ///
    /// # Panics
    ///
    /// If there are fewer permits in all: it would wait for ever, and everybody behind it.
    #[track_caller]
    pub fn acquire(&self, count: usize) -> SemaphoreGuard<'_> {
        match self.acquire_till(count, u64::MAX) {
            Some(guard) => guard,
            None => unreachable!("there is no deadline"),
        }
    }

    #[track_caller]
    fn acquire_till(&self, count: usize, deadline: u64) -> Option<SemaphoreGuard<'_>> {
        assert!(count <= self.total, "{count} permits wanted of a semaphore that has {}", self.total);
        sched::pass_safepoint();
        self.raw.acquire(count, deadline).or_unwind().then(|| SemaphoreGuard::new(self, count))
    }

    /// Takes `count` permits if there are as many, and nobody waits.
    pub fn try_acquire(&self, count: usize) -> Option<SemaphoreGuard<'_>> {
        sched::pass_safepoint();
        self.raw.try_acquire(count).then(|| SemaphoreGuard::new(self, count))
    }

    /// As [`acquire`](Self::acquire), for at most `duration`: then `None`.
    ///
    /// # Panics
    ///
    /// As [`acquire`](Self::acquire).
    ///
    /// # Examples
    ///
    /// ```
    /// use greenroutine::sync::Semaphore;
    /// use std::time::Duration;
    ///
    /// let semaphore = Semaphore::new(2);
    /// let one = semaphore.acquire(1);
    /// assert!(semaphore.acquire_timeout(2, Duration::from_millis(1)).is_none());
    /// drop(one);
    /// assert!(semaphore.acquire_timeout(2, Duration::from_millis(1)).is_some());
    /// ```
    #[track_caller]
    pub fn acquire_timeout(&self, count: usize, duration: Duration) -> Option<SemaphoreGuard<'_>> {
        self.acquire_till(count, clock::deadline_after(duration))
    }

    /// As [`acquire`](Self::acquire), until `deadline` at most: then `None`.
    ///
    /// # Panics
    ///
    /// As [`acquire`](Self::acquire).
    #[track_caller]
    pub fn acquire_deadline(&self, count: usize, deadline: Instant) -> Option<SemaphoreGuard<'_>> {
        self.acquire_till(count, clock::of_instant(deadline))
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore").field("available", &self.available()).field("total", &self.total).finish()
    }
}

/// Permits of a [`Semaphore`]; dropping it gives them back.
///
/// Not `Send`:
///
/// ```compile_fail,E0277
/// # use greenroutine::sync::Semaphore;
/// static SEMAPHORE: Semaphore = Semaphore::new(1);
/// let permit = SEMAPHORE.acquire(1);
/// greenroutine::go(move || drop(permit));
/// ```
#[must_use = "the permits are given back when the guard is dropped"]
pub struct SemaphoreGuard<'a> {
    semaphore: &'a Semaphore,
    count: usize,
    not_send: NotSend,
}

impl UnwindSafe for SemaphoreGuard<'_> {}
impl RefUnwindSafe for SemaphoreGuard<'_> {}

impl<'a> SemaphoreGuard<'a> {
    /// The permits are taken, in the name of this guard.
    fn new(semaphore: &'a Semaphore, count: usize) -> Self {
        Self { semaphore, count, not_send: NotSend::default() }
    }

    /// How many permits it has.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Takes `count` permits out, into a guard of their own.
    ///
    /// # Panics
    ///
    /// If it has fewer.
    #[track_caller]
    pub fn split(&mut self, count: usize) -> SemaphoreGuard<'a> {
        assert!(count <= self.count, "{count} permits wanted of a guard that has {}", self.count);
        self.count -= count;
        SemaphoreGuard::new(self.semaphore, count)
    }

    /// Puts the permits of `other` in.
    ///
    /// # Panics
    ///
    /// If they are of another semaphore.
    #[track_caller]
    pub fn merge(&mut self, other: SemaphoreGuard<'a>) {
        assert!(std::ptr::eq(self.semaphore, other.semaphore), "permits of another semaphore");
        self.count += other.count;
        mem::forget(other);
    }
}

impl Drop for SemaphoreGuard<'_> {
    fn drop(&mut self) {
        self.semaphore.raw.release(self.count);
    }
}

impl fmt::Debug for SemaphoreGuard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SemaphoreGuard").field("count", &self.count).finish_non_exhaustive()
    }
}
