//! Deadlines that bound whatever a closure waits for: the scheduler's part of `time::timeout`.
//!
//! A task keeps the deadlines of the closures it is in, the outermost first ([`Extras::timeouts`](crate::routine::cell::Extras)). A goroutine arms one timer a closure, not one a wait: when it
//! goes off it marks the goroutine [`EXPIRED`] and ends its present wait, as a canceller does. So waits cost nothing more, and the goroutine unwinds at its present
//! or next wait, up to the closure whose deadline it was. A plain thread looks at its deadlines when it waits.
//!
//! | who | does | under |
//! | --- | --- | --- |
//! | who fires the timer | marks, claims the wait | the timers' lock |
//! | the goroutine, leaving the closure | takes the timer out | the timers' lock |
//!
//! So when the goroutine has left, the timer is gone or has done all it does: it never ends a wait outside of its closure.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::core::WorkerShared;
use super::{current_task, worker};
use crate::routine::cell::{CANCELLED, EXPIRED};
use crate::routine::unwind::{self, TimeoutMark};
use crate::routine::{TaskRef, slot};
use crate::sys::clock;
use crate::timer::TimerId;

/// Runs `f`, whose waits end at `deadline`. `None`: one did.
pub(crate) fn within<T>(deadline: u64, f: impl FnOnce() -> T) -> Option<T> {
    current_task(|task| {
        let depth = push(task, deadline);
        let armed = arm(task, deadline);
        let result = panic::catch_unwind(AssertUnwindSafe(f));
        if let Some((id, shared)) = armed {
            // SAFETY: a worker of our own runtime, which lives as long as we do.
            unsafe { &*shared }.timers.cancel(id);
        }
        pop(task);
        match result {
            Ok(value) => Some(value),
            Err(payload) if is_mine(&*payload, depth) => None,
            Err(payload) => panic::resume_unwind(payload),
        }
    })
}

fn is_mine(payload: &(dyn Any + Send), depth: usize) -> bool {
    payload.downcast_ref::<TimeoutMark>().is_some_and(|mark| mark.depth == depth)
}

/// The deadlines of the calling task.
fn deadlines<R>(task: TaskRef, f: impl FnOnce(&mut Vec<u64>) -> R) -> R {
    let extras = task.extras_mut();
    // SAFETY: the extras are the calling task's own, and `f`, which is of this file, calls nothing else that uses them.
    f(unsafe { &mut (*extras).timeouts })
}

/// Notes a deadline. Returns how many there were.
fn push(task: TaskRef, deadline: u64) -> usize {
    deadlines(task, |all| {
        all.push(deadline);
        all.len() - 1
    })
}

/// Takes the last deadline out. What its timer has said, and an outer one has not, holds no more.
fn pop(task: TaskRef) {
    deadlines(task, Vec::pop);
    if task.cancel.load(Ordering::Relaxed) & EXPIRED != 0 {
        // First, so that an outer one which goes off now is not overlooked: it marks after this, or its time has come by the next line.
        task.cancel.fetch_and(!EXPIRED, Ordering::SeqCst);
        if expired(task).is_some() {
            task.cancel.fetch_or(EXPIRED, Ordering::SeqCst);
        }
    }
}

/// The outermost closure whose deadline has passed.
fn expired(task: TaskRef) -> Option<usize> {
    let now = clock::now_ns();
    deadlines(task, |all| all.iter().position(|deadline| *deadline <= now))
}

/// Arms the timer of a goroutine's closure, unless an outer one goes off before.
fn arm(task: TaskRef, deadline: u64) -> Option<(TimerId, *const WorkerShared)> {
    let slot = slot::current()?;
    if deadline == u64::MAX || deadlines(task, |all| all[..all.len() - 1].iter().any(|d| *d <= deadline)) {
        return None;
    }
    // SAFETY: we run on the slot, and the reference ends here.
    let shared = unsafe { worker::of_slot(slot) }.shared.clone();
    let id = shared.timers.arm_expiry(deadline, task);
    Some((id, Arc::as_ptr(&shared)))
}

/// The earliest deadline of a plain thread that waits; `u64::MAX` for none.
#[cold]
pub(super) fn earliest(task: TaskRef) -> u64 {
    if task.extras.load(Ordering::Relaxed).is_null() {
        return u64::MAX;
    }
    deadlines(task, |all| all.iter().copied().min().unwrap_or(u64::MAX))
}

/// Notes that a plain thread's wait ended at its earliest deadline.
#[cold]
pub(super) fn expire_thread(task: TaskRef) {
    task.cancel.fetch_or(EXPIRED, Ordering::Relaxed);
}

/// Unwinds a task whose wait was interrupted, or that may not begin one: as cancelled, which comes before all, or up to the closure whose time is over.
#[cold]
#[inline(never)]
pub(super) fn unwind(task: TaskRef) -> ! {
    if task.cancel.load(Ordering::Relaxed) & CANCELLED == 0
        && let Some(depth) = expired(task)
    {
        unwind::timed_out(depth);
    }
    unwind::cancelled()
}
