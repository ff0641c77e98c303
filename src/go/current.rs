//! The calling goroutine: who it is, and what it can do with itself.

use std::fmt;
use std::marker::PhantomData;
use std::num::NonZeroU64;
use std::sync::atomic::{Ordering, fence};
use std::time::Duration;

use crate::routine::{Reason, TaskRef, Ticket, Wait, unwind};
use crate::sched::core::release_ref;
use crate::sched::park::{check_cancelled, unwind_if_cancelled};
use crate::sched::{self, Commit, ParkOp};
use crate::sys::clock;

/// A goroutine's number, never used twice in a process.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(NonZeroU64);

impl Id {
    pub(crate) fn of(task: TaskRef) -> Self {
        Self(NonZeroU64::new(task.id.load(Ordering::Relaxed)).unwrap_or(NonZeroU64::MAX))
    }

    /// The number itself.
    pub fn as_u64(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Id({})", self.0)
    }
}

/// Names a goroutine, to wake it. Keeps neither the goroutine nor its result alive.
pub struct Handle {
    /// Holds a reference of the cell.
    task: TaskRef,
    marker: PhantomData<()>,
}

// SAFETY: of the cell, a handle touches atomics, and the id and the name, which are constant.
unsafe impl Send for Handle {}
// SAFETY: as above.
unsafe impl Sync for Handle {}

/// The calling goroutine; `None` on a plain thread.
///
/// # Examples
///
/// ```
/// assert!(greenroutine::task::current().is_none());
/// greenroutine::run(|| assert!(greenroutine::task::current().is_some()));
/// ```
pub fn current() -> Option<Handle> {
    let task = sched::current_goroutine()?;
    task.life.add_ref();
    Some(Handle { task, marker: PhantomData })
}

impl Handle {
    /// The goroutine's id.
    pub fn id(&self) -> Id {
        Id::of(self.task)
    }

    /// The name its builder gave it.
    pub fn name(&self) -> Option<&str> {
        self.task.name()
    }

    /// Ends the goroutine's present [`park`], or its next one. More than one `unpark` before a `park` count as one.
    ///
    /// What the caller did happens before that `park` returns.
    pub fn unpark(&self) {
        if let Some(slot) = crate::routine::slot::current() {
            sched::safepoint(slot);
        }
        let task = self.task;
        // SeqCst, and then the wake word: pairs with the fence in `commit_park`. The token before says that somebody else is
        // waking it already.
        if task.token.swap(1, Ordering::SeqCst) == 0 && task.wake.claim_wait(Wait::Park) {
            task.reason.set(Reason::Ready);
            sched::ready(task);
        }
    }
}

impl Handle {
    /// Changes how many reasons the goroutine has to stay on its thread. Called on that thread: by the goroutine itself, or by another one there
    /// while it has such a reason.
    pub(crate) fn pin(&self, by: i16) {
        let pins = &self.task.pins;
        pins.set(pins.get().saturating_add_signed(by));
    }
}

impl std::panic::UnwindSafe for Handle {}
impl std::panic::RefUnwindSafe for Handle {}

impl Clone for Handle {
    fn clone(&self) -> Self {
        self.task.life.add_ref();
        Self { task: self.task, marker: PhantomData }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        release_ref(self.task);
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("id", &self.id()).field("name", &self.name()).finish()
    }
}

/// # Safety
///
/// - None; the signature is that of all commits.
unsafe fn commit_park(_: *const ParkOp, ticket: Ticket) -> Commit {
    // "Blocked" was stored before; pairs with the SeqCst swap in `unpark`.
    fence(Ordering::SeqCst);
    if ticket.task.token.load(Ordering::Relaxed) == 1 { Commit::Already } else { Commit::Blocked }
}

fn park_until(deadline: u64) {
    sched::current_task(|task| {
        if sched::current_goroutine().is_some() {
            check_cancelled(task);
        }
        // Acquire pairs with the swap in `unpark`.
        if task.token.load(Ordering::Relaxed) == 1 {
            task.token.swap(0, Ordering::Acquire);
            return;
        }
        let op = ParkOp::new(Wait::Park, deadline, commit_park);
        // SAFETY: `op` stays in this frame until the call returns.
        let reason = unsafe { sched::block(&raw const op) };
        unwind_if_cancelled(reason);
        task.token.swap(0, Ordering::Acquire);
    });
}

/// Waits for an [`unpark`](Handle::unpark) of this goroutine; returns at once if there was one since the last `park`.
///
/// Unlike `std::thread::park` it does not return for no reason.
///
/// # Blocking
///
/// Parks the calling goroutine. A plain thread blocks for ever, since [`current`] gives no handle of one.
///
/// # Cancellation
///
/// A cancelled goroutine unwinds here.
///
/// # Examples
///
/// ```
/// use greenroutine::{go, task};
///
/// greenroutine::run(|| {
///     let me = task::current().unwrap();
///     go(move || me.unpark());
///     task::park();
/// });
/// ```
pub fn park() {
    park_until(u64::MAX);
}

/// As [`park`], for at most `duration`.
pub fn park_timeout(duration: Duration) {
    park_until(clock::deadline_after(duration));
}

/// Ends the calling goroutine: it unwinds, running its destructors. Its `join` is an error that is neither a panic nor a cancellation.
///
/// # Panics
///
/// On a plain thread.
///
/// # Examples
///
/// ```
/// let error = greenroutine::go(|| greenroutine::task::goexit()).join().map(|()| ()).unwrap_err();
/// assert!(!error.is_panic() && !error.is_cancelled());
/// ```
#[track_caller]
pub fn goexit() -> ! {
    assert!(sched::current_goroutine().is_some(), "goexit called on a thread that is not a goroutine");
    unwind::goexit()
}

/// Whether the calling goroutine (or plain thread) is unwinding.
///
/// Exact: a goroutine that is suspended in the middle of unwinding does not count for the others on its thread, here or in
/// [`std::thread::panicking`].
#[inline]
pub fn panicking() -> bool {
    unwind::panicking()
}
