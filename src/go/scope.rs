//! `scope`: goroutines that borrow from the frame that spawns them. The contract is `std::thread::scope`'s.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::panic::{self, AssertUnwindSafe, Location};
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use super::handle::{JoinError, JoinHandle};
use crate::routine::scope::ScopeData;
use crate::routine::{Reason, TaskRef, Ticket, Wait, unwind};
use crate::sched::core::release_ref;
use crate::sched::{self, Commit, Core, Options, ParkOp, ready};

/// Where scoped goroutines are spawned; see [`scope`].
pub struct Scope<'scope, 'env: 'scope> {
    data: ScopeData,
    // Invariant in both, as std's: 'scope may not shrink, or goroutines could borrow from inside the closure.
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

/// Owns the right to a scoped goroutine's result.
pub struct ScopedJoinHandle<'scope, T> {
    inner: JoinHandle<T>,
    scope: PhantomData<&'scope ()>,
}

/// Runs `f` with a scope in which goroutines may borrow from the caller's frame, and waits for all of them before it returns.
///
/// References into the frame stay valid while the caller's stack grows: it grows in place.
///
/// # Panics
///
/// With the payload of `f`'s own panic, or else of the first goroutine that panicked and was not joined.
///
/// # Cancellation
///
/// If the calling goroutine is cancelled, the scope cancels its goroutines, waits for them, and then unwinds.
///
/// # Examples
///
/// ```
/// let words = vec!["a", "b", "c"];
/// let mut lengths = [0; 3];
/// greenroutine::scope(|s| {
///     for (word, length) in words.iter().zip(&mut lengths) {
///         s.go(move || *length = word.len());
///     }
/// });
/// assert_eq!(lengths, [1, 1, 1]);
/// ```
pub fn scope<'env, F, T>(f: F) -> T
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T,
{
    sched::current_task(|owner| {
        owner.share_stack();
        let scope = Scope { data: ScopeData::new(owner), scope: PhantomData, env: PhantomData };
        let result = panic::catch_unwind(AssertUnwindSafe(|| f(&scope)));
        let mut cancelled = matches!(&result, Err(payload) if unwind::is_interruption(&**payload));
        if cancelled {
            cancel_children(&scope.data);
        }
        cancelled |= wait_for_children(&scope.data);
        match result {
            Err(payload) => panic::resume_unwind(payload),
            Ok(_) if cancelled && !unwind::panicking() => sched::park::cancelled(),
            Ok(value) => match scope.data.take_panic() {
                Some(payload) => panic::resume_unwind(payload),
                None => value,
            },
        }
    })
}

impl<'scope> Scope<'scope, '_> {
    /// Starts a goroutine that may borrow everything that outlives the scope.
    ///
    /// # Panics
    ///
    /// As [`go`](fn@crate::go).
    #[track_caller]
    pub fn go<F, T>(&'scope self, f: F) -> ScopedJoinHandle<'scope, T>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        match self.spawn(f, None, Location::caller()) {
            Ok(handle) => handle,
            Err(error) => panic!("{error}"),
        }
    }

    fn spawn<F, T>(
        &'scope self,
        f: F,
        on: Option<&Arc<Core>>,
        site: &'static Location<'static>,
    ) -> io::Result<ScopedJoinHandle<'scope, T>>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        self.data.add();
        // SAFETY: both are Send. They outlive 'scope, and so does `data`; the scope ends after `wait_for_children` has seen this child's
        // decrement, which comes after the closure and its result, unless the handle has that, are gone. The handle cannot outlive 'scope.
        let spawned = unsafe { sched::spawn(f, on, &self.data, Options::default(), site) };
        match spawned {
            Ok(task) => {
                // SAFETY: the task is new, its result is a T, and this is its only handle.
                let inner = unsafe { JoinHandle::new(task) };
                self.data.remember(task);
                Ok(ScopedJoinHandle { inner, scope: PhantomData })
            }
            Err(error) => {
                self.data.retract();
                Err(error.into())
            }
        }
    }
}

/// The wait of a scope's owner.
#[repr(C)]
struct ScopeOp<'a> {
    op: ParkOp,
    data: &'a ScopeData,
}

/// # Safety
///
/// - `op` is the first field of a live `ScopeOp`.
unsafe fn commit_scope(op: *const ParkOp, _: Ticket) -> Commit {
    // SAFETY: the contract; the frame is suspended.
    let data = unsafe { &*op.cast::<ScopeOp<'_>>() }.data;
    // "Blocked" was stored before; pairs with the SeqCst decrement in `ScopeData::done`.
    fence(Ordering::SeqCst);
    if data.is_pending() { Commit::Blocked } else { Commit::Already }
}

/// Waits until no child is left. If the owner is cancelled meanwhile, cancels them, waits on, and returns true.
fn wait_for_children(data: &ScopeData) -> bool {
    let mut cancelled = false;
    while data.is_pending() {
        let mut op = ScopeOp { op: ParkOp::new(Wait::Scope, u64::MAX, commit_scope), data };
        if cancelled {
            op.op.uninterruptible();
        }
        // SAFETY: `op` stays in this frame until the call returns, and is what `commit_scope` expects.
        let reason = unsafe { sched::block(&raw const op.op) };
        if reason == Reason::Cancelled {
            cancelled = true;
            cancel_children(data);
        }
    }
    cancelled
}

fn cancel_children(data: &ScopeData) {
    data.for_each_child(|task, is_child| {
        if is_child {
            ready::cancel(task);
        }
        release_ref(task);
    });
}

/// The goroutine of a `run`: told of deadlocks until it is dropped.
struct Main<'a>(&'a Core, TaskRef);

impl<'a> Main<'a> {
    fn new(core: &'a Core, task: TaskRef) -> Self {
        core.add_main(task);
        Self(core, task)
    }
}

impl Drop for Main<'_> {
    fn drop(&mut self) {
        self.0.remove_main(self.1);
    }
}

/// Runs `f` as a goroutine of `core` and waits for it: `run` and `Runtime::run`. `f` may borrow.
pub(crate) fn run_on<F, T>(core: &Arc<Core>, f: F, site: &'static Location<'static>) -> T
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    if sched::working_for().is_some_and(|from| from.seeded.is_some() && !Arc::ptr_eq(&from, core)) {
        panic!("{}", sched::seeded::refused("another runtime"));
    }
    let (result, deadlock) = scope(|s| match s.spawn(f, Some(core), site) {
        Ok(handle) => {
            let main = Main::new(core, handle.inner.task());
            let result = handle.join();
            let is_cancelled = result.as_ref().is_err_and(JoinError::is_cancelled);
            let deadlock = if is_cancelled { core.deadlock() } else { None };
            drop(main);
            (result, deadlock)
        }
        Err(error) => panic!("{error}"),
    });
    match (result, deadlock) {
        (Ok(value), _) => value,
        (Err(error), _) if error.is_panic() => panic::resume_unwind(error.into_panic()),
        (Err(_), Some(report)) => panic!("{report}"),
        (Err(error), None) => panic!("the goroutine of `run` has no result: {error}"),
    }
}

impl<T> ScopedJoinHandle<'_, T> {
    /// Waits for the goroutine to end and returns its result; see [`JoinHandle::join`].
    ///
    /// # Errors
    ///
    /// As [`JoinHandle::join`]. A panic that is returned here is not rethrown by the scope.
    #[inline]
    pub fn join(self) -> Result<T, JoinError> {
        self.inner.join()
    }

    /// Whether the goroutine has ended.
    pub fn is_finished(&self) -> bool {
        self.inner.is_finished()
    }

    /// The goroutine's id.
    pub fn id(&self) -> super::Id {
        self.inner.id()
    }

    /// Asks the goroutine to end; see [`JoinHandle::cancel`].
    pub fn cancel(&self) {
        self.inner.cancel();
    }
}

impl<T> fmt::Debug for ScopedJoinHandle<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopedJoinHandle").field("id", &self.id()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").field("pending", &self.data.is_pending()).finish_non_exhaustive()
    }
}
