//! What runs on a slot: take the goroutine, run its closure, catch what it throws, publish the end.
//!
//! Everything of the user's runs here, on the goroutine's own stack: the closure, the destructors of an unread result and of
//! task locals, a joiner's `Waker`. So all of it may block. The worker gets the rest as plain data ([`Ended`]).

use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::Ordering;
use std::task::Waker;

use super::cell::{MORE_EXTRAS, MORE_HANDOFF, Outcome, Task, TaskRef};
use super::life::Finish;
use super::place;
use super::slot::{Ended, SlotRef};
use super::unwind::Unwound;
use super::wake::{Reason, Ticket};
use crate::base::tell::{self, End};
use crate::base::{AbortGuard, fatal};

/// Runs the goroutine of the slot from its start to its end.
pub(crate) fn slot_main(slot: SlotRef) {
    // No panic leaves this function: below it are the runtime's own frames.
    let guard = AbortGuard;
    let task = slot.task();
    let end = run(task);
    tell_end(task, end);
    drop_locals(task);
    finish(task, &slot.ended);
    std::mem::forget(guard);
}

fn run(task: TaskRef) -> End {
    if task.is_cancelled() {
        // Cancelled before it started: it never runs, but what it captured is dropped, here, where that may block.
        task.outcome.set(Outcome::Cancelled);
        let dropped = panic::catch_unwind(AssertUnwindSafe(|| {
            // SAFETY: the goroutine has not run, so the payload holds the closure, and this is the goroutine.
            unsafe { place::drop_closure(task) }
        }));
        return match dropped {
            Ok(()) => End::Cancelled,
            Err(payload) => end_unwound(task, payload),
        };
    }
    let result = panic::catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: this is the goroutine, at its start: the payload holds the closure.
        unsafe { place::run(task) }
    }));
    match result {
        Ok(()) => End::Returned,
        Err(payload) => end_unwound(task, payload),
    }
}

/// Tells how the goroutine has ended, while it still is one: who is told may block. What that throws, a panic or a cancellation, ends there.
#[inline(always)]
fn tell_end(task: TaskRef, end: End) {
    if cfg!(feature = "tracing") {
        let id = task.id.load(Ordering::Relaxed);
        let told = panic::catch_unwind(AssertUnwindSafe(|| tell::ended(id, task.name(), end)));
        if let Err(payload) = told {
            drop(Unwound::from_payload(payload));
        }
    }
}

#[cold]
#[inline(never)]
fn end_unwound(task: TaskRef, payload: Box<dyn std::any::Any + Send>) -> End {
    match Unwound::from_payload(payload) {
        // No mark of a timeout gets here: there is none around the whole goroutine.
        Unwound::Cancelled | Unwound::TimedOut(_) => {
            task.outcome.set(Outcome::Cancelled);
            End::Cancelled
        }
        Unwound::Goexit => {
            task.outcome.set(Outcome::Goexit);
            End::Exited
        }
        Unwound::Panic(payload) => {
            // SAFETY: the closure was taken out and no result was put, so the payload holds nothing.
            unsafe { place::put_panic(task, payload) };
            End::Panicked
        }
    }
}

/// Drops the task locals while the goroutine is still one: their destructors may use other locals, and block.
fn drop_locals(task: TaskRef) {
    if task.more.get() & MORE_EXTRAS == 0 {
        return;
    }
    let extras = task.extras.load(Ordering::Relaxed);
    loop {
        // SAFETY: the extras are the goroutine's own; the borrow ends before the value is dropped, because its destructor may
        // make another local.
        let value = unsafe { (*extras).locals.pop() };
        let Some(value) = value else { break };
        if panic::catch_unwind(AssertUnwindSafe(|| drop(value))).is_err() {
            fatal!("greenroutine: fatal: a task local panicked on destruction\n");
        }
    }
}

/// Publishes the end. After `life.finish()` the cell is only ours if that says so.
#[inline(always)]
fn finish(task: TaskRef, ended: &Ended) {
    let scope = task.scope();
    ended.handoff.set(task.more.get() & MORE_HANDOFF != 0);
    match task.life.finish() {
        Finish::Left => {}
        Finish::Detached => {
            // Nobody will read the result: it is dropped while the goroutine still runs.
            release_result(task);
            if task.life.finish_detached() {
                ended.free.set(Some(task));
            }
        }
        Finish::Joiner => {
            let joiner = wake_joiner(task);
            ended.joiner.set(joiner);
            if joiner.is_none() && task.life.drop_refs(1) {
                ended.free.set(Some(task));
            }
        }
    }
    if let Some(scope) = scope {
        // SAFETY: the scope's owner waits for this child's decrement, which is in `done`.
        let scope = unsafe { &*scope };
        ended.owner.set(scope.done());
    }
}

/// Claims the registered joiner. If that succeeds, our reference of the cell is the joiner's now.
fn wake_joiner(task: TaskRef) -> Option<TaskRef> {
    // Relaxed: `life.finish` acquired what `register` released.
    let joiner = task.joiner.0.load(Ordering::Relaxed);
    let word = task.joiner.1.load(Ordering::Relaxed);
    if joiner.is_null() {
        // SAFETY: registered as a raw box by `set_waker`, and ours since `done` was set.
        let waker = unsafe { Box::from_raw(word as *mut Waker) };
        if panic::catch_unwind(AssertUnwindSafe(|| waker.wake())).is_err() {
            fatal!("greenroutine: fatal: the waker of a JoinHandle panicked\n");
        }
        return None;
    }
    // SAFETY: cells are mapped for ever, and a stale ticket claims nothing.
    let joiner: TaskRef = unsafe { &*joiner };
    Ticket { task: joiner, episode: word }.claim(Reason::Joined)
}

/// Drops what the goroutine left, as std does for a thread's result; a panic that nobody joined goes to the scope.
pub(crate) fn release_result(task: &Task) {
    let dropped = panic::catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: the result is the caller's by the rule of `life`: the handle's owner after `done`, or the goroutine without
        // a handle.
        let panic = unsafe { place::drop_result(task) };
        let Some(payload) = panic else { return };
        let Some(scope) = task.scope() else { return drop(payload) };
        // SAFETY: whoever drops the handle of a scoped goroutine does so inside the scope; the goroutine itself is before its
        // decrement.
        let scope = unsafe { &*scope };
        drop(scope.keep_panic(payload));
    }));
    if dropped.is_err() {
        fatal!("greenroutine: fatal: a goroutine's result panicked on destruction\n");
    }
}

/// Frees what a cell owns apart from its payload. The caller holds the only reference and gives the block back.
#[inline(always)]
pub(crate) fn end_cell(task: &Task) {
    if task.more.get() & MORE_EXTRAS != 0 {
        let extras = task.extras.swap(std::ptr::null_mut(), Ordering::Relaxed);
        // SAFETY: made by Box::into_raw in `extras_mut`; the locals are gone, the name goes now.
        drop(unsafe { Box::from_raw(extras) });
    }
    task.life.end();
}

/// Ends a goroutine that got no stack. Runs on the worker: what the closure captured is dropped there, and if that blocks, the
/// worker does.
pub(crate) fn refuse(task: TaskRef, error: crate::stack::StackError, ended: &Ended) {
    let dropped = panic::catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: the goroutine has not run, so the payload holds the closure, and its worker is the only one to have it.
        unsafe { place::drop_closure(task) }
    }));
    // A panic of the destructor has been reported by the hook; the refusal is the more useful outcome.
    drop(dropped);
    // SAFETY: the payload is empty now.
    unsafe { place::put_refusal(task, error) };
    finish(task, ended);
}
