//! [`WaitGroup`]: Go's. A handle of `raw::wait_group`.

#![forbid(unsafe_code)]

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::Duration;

use super::raw::wait_group::{OutOfRange, RawWaitGroup};
use crate::go::{JoinHandle, go};
use crate::sched;
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
    raw: Arc<RawWaitGroup>,
}

impl UnwindSafe for WaitGroup {}
impl RefUnwindSafe for WaitGroup {}

impl WaitGroup {
    /// A group with nothing to wait for.
    pub fn new() -> Self {
        Self { raw: Arc::new(RawWaitGroup::new()) }
    }

    /// Adds `delta`, which may be negative, to the number of things to wait for. At 0 those who wait go on.
    ///
    /// # Panics
    ///
    /// If the number would be negative (or more than `u32::MAX`); then it stays as it is.
    #[track_caller]
    pub fn add(&self, delta: isize) {
        sched::pass_safepoint();
        match self.raw.add(delta) {
            Ok(()) => {}
            Err(OutOfRange::Negative) => panic!("sync: negative WaitGroup counter"),
            Err(OutOfRange::TooMany) => panic!("sync: WaitGroup counter overflow"),
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
        sched::pass_safepoint();
        self.raw.wait(u64::MAX).or_unwind();
    }

    /// As [`wait`](Self::wait), for at most `duration`. False if not all was done by then.
    pub fn wait_timeout(&self, duration: Duration) -> bool {
        sched::pass_safepoint();
        self.raw.wait(clock::deadline_after(duration)).or_unwind()
    }

    /// The number of things to wait for at this moment.
    pub(super) fn count(&self) -> u32 {
        self.raw.count()
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
