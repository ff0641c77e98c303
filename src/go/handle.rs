//! `JoinHandle`: waiting for a goroutine, from goroutines, threads and futures; and how it ended.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::ptr;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};

use super::current::Id;
use crate::routine::{Outcome, Reason, TaskRef, Ticket, Wait, body, place, slot};
use crate::sched::core::{free_goroutine, release_ref};
use crate::sched::park::{check_cancelled, unwind_if_cancelled};
use crate::sched::{self, Commit, ParkOp, worker};
use crate::stack::StackError;

/// Owns the right to a goroutine's result. Dropping it detaches the goroutine.
///
/// What the goroutine did happens before `join` returns. As a future it can be awaited on any executor.
///
/// # Examples
///
/// ```
/// let sum = greenroutine::go(|| (1..=100).sum::<u32>());
/// assert_eq!(sum.join().unwrap(), 5050);
/// ```
pub struct JoinHandle<T> {
    /// `None` once the result was taken. Holds a reference of the cell and its `handle` bit.
    task: Option<TaskRef>,
    /// Whether a boxed waker is registered as the joiner.
    has_waker: bool,
    result: PhantomData<T>,
}

// SAFETY: the handle gives a `T` to whoever joins; the cell's fields that it touches are atomics or guarded by `life`.
unsafe impl<T: Send> Send for JoinHandle<T> {}
// SAFETY: a shared handle gives out ids, flags and cancellation, all atomic.
unsafe impl<T: Send> Sync for JoinHandle<T> {}

impl<T> Unpin for JoinHandle<T> {}
impl<T> std::panic::UnwindSafe for JoinHandle<T> {}
impl<T> std::panic::RefUnwindSafe for JoinHandle<T> {}

/// The wait for the end of `target`.
#[repr(C)]
struct JoinOp {
    op: ParkOp,
    target: TaskRef,
}

/// # Safety
///
/// - `op` is the first field of a live `JoinOp`.
unsafe fn commit_join(op: *const ParkOp, ticket: Ticket) -> Commit {
    // SAFETY: the contract; the frame is suspended.
    let target = unsafe { &*op.cast::<JoinOp>() }.target;
    target.joiner.0.store(ptr::from_ref(ticket.task).cast_mut(), Ordering::Relaxed);
    target.joiner.1.store(ticket.episode, Ordering::Relaxed);
    // Publishes both.
    if target.life.register() { Commit::Blocked } else { Commit::Already }
}

impl<T> JoinHandle<T> {
    /// # Safety
    ///
    /// - The result of `task`'s closure is a `T`, and no other handle of it exists.
    #[inline(always)]
    pub(crate) unsafe fn new(task: TaskRef) -> Self {
        Self { task: Some(task), has_waker: false, result: PhantomData }
    }

    pub(super) fn task(&self) -> TaskRef {
        self.task.expect("the result of this JoinHandle was taken already")
    }

    /// Waits for the goroutine to end and returns its result.
    ///
    /// # Blocking
    ///
    /// Parks the calling goroutine, or blocks the calling thread.
    ///
    /// # Cancellation
    ///
    /// A goroutine that is cancelled while it waits here unwinds; the goroutine it waited for goes on, detached.
    ///
    /// # Errors
    ///
    /// If the goroutine panicked, was cancelled, ended itself with [`goexit`](super::goexit), or could not be started.
    // Inlined, because a `ret` between a resume and the next suspend is mispredicted, and so is the suspend's own then: 20 ns of 75
    // for spawn and join when this was a call.
    #[inline(always)]
    pub fn join(mut self) -> Result<T, JoinError> {
        let task = self.task();
        let mut references = 1;
        let slot = slot::current();
        if !task.life.is_done() {
            if let Some(slot) = slot {
                check_cancelled(slot.task());
                // SAFETY: we run on the slot, and the reference ends here.
                unsafe { worker::of_slot(slot) }.lend_turn(task);
            }
            let op = JoinOp { op: ParkOp::new(Wait::Join, u64::MAX, commit_join), target: task };
            // SAFETY: `op` stays in this frame until the call returns, and is what `commit_join` expects.
            let reason = unsafe { sched::park::block_on(slot, &raw const op.op) };
            if reason == Reason::Joined {
                // The goroutine handed over its reference.
                references = 2;
            } else if reason == Reason::Cancelled && task.life.deregister() {
                // Dropping `self` detaches.
                unwind_if_cancelled(reason);
            }
        }
        self.task = None;
        // SAFETY: done; the result is this handle's, and a T.
        let result = unsafe { take_result::<T>(task) };
        if task.life.drop_refs(references) {
            free_goroutine(slot, task);
        }
        result
    }

    /// Whether the goroutine has ended: `join` will not wait.
    pub fn is_finished(&self) -> bool {
        self.task().life.is_done()
    }

    /// The goroutine's id.
    pub fn id(&self) -> Id {
        Id::of(self.task())
    }

    /// Asks the goroutine to end: it unwinds, running its destructors, at its present or next blocking call, and `join` gives an error that
    /// [`is_cancelled`](JoinError::is_cancelled). A goroutine that has not started never runs.
    ///
    /// While a goroutine unwinds, its blocking calls work as usual.
    ///
    /// # Examples
    ///
    /// ```
    /// let stuck = greenroutine::go(|| greenroutine::task::park());
    /// stuck.cancel();
    /// assert!(stuck.join().unwrap_err().is_cancelled());
    /// ```
    pub fn cancel(&self) {
        sched::ready::cancel(self.task());
    }

    /// Stores the waker of a future, unless the goroutine has ended. True if it was stored.
    fn set_waker(&mut self, waker: &Waker) -> bool {
        let task = self.task();
        if self.has_waker {
            self.has_waker = false;
            if !task.life.deregister() {
                // The waker is the goroutine's to wake and drop.
                return false;
            }
            // SAFETY: registered by us as a raw box, and ours again.
            drop(unsafe { Box::from_raw(task.joiner.1.load(Ordering::Relaxed) as *mut Waker) });
        }
        let raw = Box::into_raw(Box::new(waker.clone()));
        task.joiner.0.store(ptr::null_mut(), Ordering::Relaxed);
        task.joiner.1.store(raw as u64, Ordering::Relaxed);
        if task.life.register() {
            self.has_waker = true;
            return true;
        }
        // SAFETY: not registered, so still ours.
        drop(unsafe { Box::from_raw(raw) });
        false
    }
}

/// # Safety
///
/// - The goroutine has ended, its result is a `T` and the caller's.
#[inline(always)]
unsafe fn take_result<T>(task: TaskRef) -> Result<T, JoinError> {
    if task.outcome.get() == Outcome::Value {
        // SAFETY: the outcome says what the payload holds; the rest is the contract.
        return Ok(unsafe { place::take_value(task) });
    }
    // SAFETY: the contract.
    Err(unsafe { take_error(task) })
}

/// # Safety
///
/// - The goroutine has ended without a value, and its result is the caller's.
#[cold]
#[inline(never)]
unsafe fn take_error(task: TaskRef) -> JoinError {
    let kind = match task.outcome.get() {
        // SAFETY: the outcome says what the payload holds; the rest is the contract.
        Outcome::Panic => Ended::Panic(unsafe { place::take_panic(task) }),
        Outcome::Cancelled => Ended::Cancelled,
        // SAFETY: as above.
        Outcome::NoStack => Ended::NoStack(unsafe { place::take_refusal(task) }),
        Outcome::Goexit | Outcome::None | Outcome::Value | Outcome::Taken => Ended::Goexit,
    };
    JoinError { id: Id::of(task), kind }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    /// # Panics
    ///
    /// If it is polled after it was ready.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let task = self.task();
        if !task.life.is_done() && self.set_waker(context.waker()) {
            return Poll::Pending;
        }
        self.task = None;
        // SAFETY: done; the result is this handle's, and a T.
        let result = unsafe { take_result::<T>(task) };
        release_ref(task);
        Poll::Ready(result)
    }
}

impl<T> Drop for JoinHandle<T> {
    #[inline]
    fn drop(&mut self) {
        let Some(task) = self.task else { return };
        if self.has_waker && task.life.deregister() {
            // SAFETY: registered by us as a raw box, and ours again.
            drop(unsafe { Box::from_raw(task.joiner.1.load(Ordering::Relaxed) as *mut Waker) });
        }
        if !task.life.detach() {
            body::release_result(task);
            release_ref(task);
        }
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle").field("id", &self.task.map(Id::of)).finish_non_exhaustive()
    }
}

/// Why a goroutine has no result.
pub struct JoinError {
    id: Id,
    kind: Ended,
}

enum Ended {
    Panic(Box<dyn Any + Send>),
    Cancelled,
    Goexit,
    NoStack(Box<StackError>),
}

// SAFETY: the payload is reachable by value only (`into_panic`), so sharing the error shares nothing of it.
unsafe impl Sync for JoinError {}

impl JoinError {
    /// Whether the goroutine panicked.
    pub fn is_panic(&self) -> bool {
        matches!(self.kind, Ended::Panic(_))
    }

    /// Whether the goroutine was cancelled.
    pub fn is_cancelled(&self) -> bool {
        matches!(self.kind, Ended::Cancelled)
    }

    /// What the panic carried: to be rethrown with [`std::panic::resume_unwind`], or looked into.
    ///
    /// # Panics
    ///
    /// If the goroutine did not panic.
    pub fn into_panic(self) -> Box<dyn Any + Send> {
        match self.kind {
            Ended::Panic(payload) => payload,
            _ => panic!("JoinError::into_panic: {self}"),
        }
    }

    /// The goroutine's id.
    pub fn id(&self) -> Id {
        self.id
    }

    /// What a panic carried, if it is text.
    fn message(&self) -> Option<&str> {
        // Only text is looked at, and `str` and `String` are Sync.
        let Ended::Panic(payload) = &self.kind else { return None };
        payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.id;
        match &self.kind {
            Ended::Panic(_) => match self.message() {
                Some(message) => write!(f, "goroutine {id} panicked: {message}"),
                None => write!(f, "goroutine {id} panicked"),
            },
            Ended::Cancelled => write!(f, "goroutine {id} was cancelled"),
            Ended::Goexit => write!(f, "goroutine {id} ended by goexit"),
            Ended::NoStack(error) => write!(f, "goroutine {id} was never started: {error}"),
        }
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinError({self})")
    }
}

impl std::error::Error for JoinError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            Ended::NoStack(error) => Some(&**error),
            _ => None,
        }
    }
}
