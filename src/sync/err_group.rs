//! [`ErrGroup`]: goroutines that may fail. A [`WaitGroup`] with the first error and a limit; Go's `x/sync/errgroup`.

#![forbid(unsafe_code)]

use std::any::Any;
use std::fmt;
use std::panic::{self, AssertUnwindSafe, RefUnwindSafe, UnwindSafe};
use std::sync::Arc;

use super::mutex::Mutex;
use super::raw::semaphore::RawSemaphore;
use super::wait_group::{Done, WaitGroup};
use crate::context::{CancelFn, Context};
use crate::go::go;
use crate::routine::unwind::Unwound;
use crate::sched;

/// Goroutines that do parts of one thing and may fail: [`wait`](Self::wait) gives the first error.
///
/// A clone is another handle of the same group. An error stops nobody: the others run to their ends, or look at the context that
/// [`with_context`](Self::with_context) gives.
///
/// # Examples
///
/// ```
/// use greenroutine::sync::ErrGroup;
///
/// let group = ErrGroup::new();
/// for text in ["1", "2", "x"] {
///     group.go(move || text.parse::<u32>().map(drop));
/// }
/// assert!(group.wait().is_err());
/// ```
pub struct ErrGroup<E> {
    inner: Arc<Inner<E>>,
}

struct Inner<E> {
    running: WaitGroup,
    /// Goroutines that may still be started.
    places: RawSemaphore,
    first: Mutex<Option<Failure<E>>>,
    /// Cancels the context that goes with the group, if there is one.
    cancel: Option<CancelFn>,
}

enum Failure<E> {
    Error(E),
    Panic(Box<dyn Any + Send>),
}

impl<E> UnwindSafe for ErrGroup<E> {}
impl<E> RefUnwindSafe for ErrGroup<E> {}

impl<E: Send + 'static> ErrGroup<E> {
    /// A group without goroutines and without a limit.
    pub fn new() -> Self {
        Self::with(None)
    }

    /// A group with a context derived from `parent`, which is cancelled by the first failure, and when [`wait`](Self::wait) returns.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenroutine::context;
    /// use greenroutine::sync::ErrGroup;
    ///
    /// let (group, context) = ErrGroup::with_context(&context::background());
    /// let others = context.clone();
    /// group.go(move || {
    ///     let _ = others.done().recv(); // until somebody fails
    ///     Ok(())
    /// });
    /// group.go(|| Err("broken"));
    /// assert_eq!(group.wait(), Err("broken"));
    /// assert!(context.err().is_some());
    /// ```
    pub fn with_context(parent: &Context) -> (Self, Context) {
        let (context, cancel) = parent.with_cancel();
        (Self::with(Some(cancel)), context)
    }

    fn with(cancel: Option<CancelFn>) -> Self {
        let inner = Inner {
            running: WaitGroup::new(),
            places: RawSemaphore::new(RawSemaphore::MAX),
            first: Mutex::new(None),
            cancel,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Lets at most `limit` goroutines of the group run at a time. With 0 none can be started.
    ///
    /// # Panics
    ///
    /// If some are running.
    #[track_caller]
    pub fn set_limit(&self, limit: usize) {
        let running = self.inner.running.count();
        assert!(
            running == 0,
            "errgroup: modify limit while {running} goroutines in the group are still active"
        );
        self.inner.places.reset(limit.min(RawSemaphore::MAX));
    }

    /// Starts a goroutine of the group.
    ///
    /// # Blocking
    ///
    /// Parks the calling goroutine, or blocks the calling thread, while as many run as the limit allows.
    ///
    /// # Cancellation
    ///
    /// A goroutine that is cancelled while it waits for a place unwinds, and `f` does not run.
    ///
    /// # Panics
    ///
    /// As [`go`](fn@crate::go).
    #[track_caller]
    pub fn go(&self, f: impl FnOnce() -> Result<(), E> + Send + 'static) {
        sched::pass_safepoint();
        self.inner.places.acquire(1, u64::MAX).or_unwind();
        self.start(f);
    }

    /// Starts a goroutine of the group if the limit allows it; false if not.
    ///
    /// # Panics
    ///
    /// As [`go`](fn@crate::go).
    #[track_caller]
    pub fn try_go(&self, f: impl FnOnce() -> Result<(), E> + Send + 'static) -> bool {
        let has_place = self.inner.places.try_acquire(1);
        if has_place {
            self.start(f);
        }
        has_place
    }

    #[track_caller]
    fn start(&self, f: impl FnOnce() -> Result<(), E> + Send + 'static) {
        self.inner.running.add(1);
        // Dropped in this order: the place is free before the group is done.
        let turn = (Place(self.inner.clone()), Done(self.inner.running.clone()));
        go(move || {
            // As a whole.
            let turn = turn;
            match panic::catch_unwind(AssertUnwindSafe(f)) {
                Ok(Ok(())) => {}
                Ok(Err(error)) => turn.0.0.fail(Failure::Error(error)),
                Err(payload) => match Unwound::from_payload(payload) {
                    Unwound::Panic(payload) => turn.0.0.fail(Failure::Panic(payload)),
                    // It ends as it would without us: nobody looks at its handle.
                    Unwound::Cancelled | Unwound::Goexit | Unwound::TimedOut(_) => {}
                },
            }
        });
    }

    /// Waits until all goroutines of the group have ended.
    ///
    /// # Blocking
    ///
    /// Parks the calling goroutine, or blocks the calling thread.
    ///
    /// # Cancellation
    ///
    /// A goroutine that is cancelled while it waits unwinds. The group goes on.
    ///
    /// # Errors
    ///
    /// The first one. A later call of `wait` does not give it again.
    ///
    /// # Panics
    ///
    /// With the payload of the first goroutine that panicked, if none had failed before it.
    pub fn wait(&self) -> Result<(), E> {
        self.inner.running.wait();
        self.inner.cancel();
        let first = self.inner.first.lock().take();
        match first {
            None => Ok(()),
            Some(Failure::Error(error)) => Err(error),
            Some(Failure::Panic(payload)) => panic::resume_unwind(payload),
        }
    }
}

impl<E> Inner<E> {
    /// Keeps the first failure.
    fn fail(&self, failure: Failure<E>) {
        let mut failure = Some(failure);
        let mut first = self.first.lock();
        if first.is_none() {
            *first = failure.take();
        }
        // Before the failure that nobody wants: its destructor is the user's.
        drop(first);
        self.cancel();
    }

    fn cancel(&self) {
        if let Some(cancel) = &self.cancel {
            cancel.cancel();
        }
    }
}

/// The right to run as one of the group's goroutines.
struct Place<E>(Arc<Inner<E>>);

impl<E> Drop for Place<E> {
    fn drop(&mut self) {
        self.0.places.release(1);
    }
}

impl<E> Clone for ErrGroup<E> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<E: Send + 'static> Default for ErrGroup<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E> fmt::Debug for ErrGroup<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ErrGroup").field("running", &self.inner.running.count()).finish_non_exhaustive()
    }
}
