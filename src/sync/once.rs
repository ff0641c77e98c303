//! [`Once`]: `raw::once` with a closure, and what `once_cell` does with it.

#![forbid(unsafe_code)]

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};

use super::raw::once::{Begin, RawOnce};
use crate::routine::Wait;

/// Does something once, whoever comes first; all others wait until it is done.
///
/// If it panics (or its goroutine is cancelled in it) it counts as not done, and the next caller, or one of those that wait, does it.
///
/// # Examples
///
/// ```
/// use greenroutine::sync::Once;
/// use std::sync::atomic::{AtomicU32, Ordering};
///
/// static START: Once = Once::new();
/// static TIMES: AtomicU32 = AtomicU32::new(0);
///
/// greenroutine::scope(|s| {
///     for _ in 0..10 {
///         s.go(|| {
///             START.call_once(|| _ = TIMES.fetch_add(1, Ordering::Relaxed));
///             assert_eq!(TIMES.load(Ordering::Relaxed), 1);
///         });
///     }
/// });
/// ```
pub struct Once {
    raw: RawOnce,
}

impl UnwindSafe for Once {}
impl RefUnwindSafe for Once {}

impl Once {
    /// Not done.
    #[inline]
    pub const fn new() -> Self {
        Self { raw: RawOnce::new() }
    }

    /// Calls `f` if nobody has yet. When this returns it is done, and what it did happened before.
    ///
    /// # Blocking
    ///
    /// Parks the calling goroutine, or blocks the calling thread, while somebody else is at it. If `f` itself calls it, it waits for ever.
    ///
    /// # Cancellation
    ///
    /// A goroutine that is cancelled while it waits for somebody else unwinds.
    ///
    /// # Panics
    ///
    /// If `f` does.
    #[inline]
    pub fn call_once(&self, f: impl FnOnce()) {
        if !self.raw.is_done() {
            call(&self.raw, Wait::Once, f);
        }
    }

    /// Whether it is done.
    #[inline]
    pub fn is_completed(&self) -> bool {
        self.raw.is_done()
    }
}

impl Default for Once {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once").field("is_completed", &self.is_completed()).finish()
    }
}

/// Ends a turn, however it ends.
pub(super) struct Turn<'a> {
    raw: &'a RawOnce,
    done: bool,
}

impl<'a> Turn<'a> {
    /// The caller's turn has begun.
    pub(super) fn new(raw: &'a RawOnce) -> Self {
        Self { raw, done: false }
    }

    /// It is done.
    pub(super) fn finish(mut self) {
        self.done = true;
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.raw.end(self.done);
    }
}

/// Calls `f` if it is the caller's turn, or waits.
#[cold]
pub(super) fn call(raw: &RawOnce, wait: Wait, f: impl FnOnce()) {
    match raw.begin(wait) {
        Begin::Done => {}
        Begin::Yours => {
            let turn = Turn::new(raw);
            f();
            turn.finish();
        }
        Begin::Interrupted(acquired) => _ = acquired.or_unwind(),
    }
}
