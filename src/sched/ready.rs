//! Which queue a woken task enters. Whoever gets here has claimed the wait (`routine::wake`), so the task is in no queue.
//!
//! | task | woken by | goes to |
//! | --- | --- | --- |
//! | thread | anybody | its futex |
//! | home mode, or bound | its own worker | `next`, or the tail of the plain queue |
//! | home mode, or bound | anybody else | the home's inbox, and the home is woken if it sleeps |
//! | free mode | a worker of its runtime | that worker's `next`, or its `fresh` |
//! | free mode | anybody else | the injector, and a searcher is woken |

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::core::{Core, Runnable, WorkerShared};
use super::trace;
use super::worker::{self, Worker};
use crate::base::fence;
use crate::routine::cell::CANCELLED;
use crate::routine::{Kind, Reason, TaskRef, slot};

/// Makes a claimed task run again. From goroutines and plain threads.
pub(crate) fn ready(task: TaskRef) {
    if task.kind.get() == Kind::Thread {
        return super::thread::wake(task);
    }
    match slot::current() {
        // SAFETY: we run on the slot, and do not suspend while the reference is in use.
        Some(slot) => unsafe { worker::of_slot(slot) }.ready_next(task),
        None => ready_foreign(task),
    }
}

/// As [`ready`], behind those that are to run: for many at once, in their order.
pub(crate) fn ready_tail(task: TaskRef) {
    match slot::current() {
        // SAFETY: we run on the slot, and do not suspend while the reference is in use.
        Some(slot) => unsafe { worker::of_slot(slot) }.ready_tail(task),
        None => ready(task),
    }
}

/// The runtime of a goroutine that has not ended.
pub(super) fn core_of<'a>(task: TaskRef) -> &'a Core {
    // SAFETY: a runtime ends after all of its goroutines, and this one has not ended: the caller has claimed its wait, and it
    // cannot run before the caller made it ready. Callers that touch the runtime after that are counted in `foreign`, or run
    // on one of its workers.
    unsafe { &*task.runtime.load(Ordering::Relaxed).cast_const().cast::<Core>() }
}

fn home_of<'a>(task: TaskRef) -> &'a WorkerShared {
    // SAFETY: set on the first run to a worker of the goroutine's runtime, which lives as long as that (`core_of`).
    unsafe { &*task.home.load(Ordering::Relaxed).cast_const().cast::<WorkerShared>() }
}

#[cold]
#[inline(never)]
fn ready_foreign(task: TaskRef) {
    let core = core_of(task);
    if trace::is_on() {
        trace::woke_elsewhere(task);
    }
    // While this is not 0 the runtime does not end, even if the goroutine runs and ends before we are done here.
    core.foreign.fetch_add(1, Ordering::SeqCst);
    if core.config.free_migration && !task.bound.load(Ordering::Relaxed) {
        core.injector.push(Runnable::new(task));
        std::sync::atomic::fence(Ordering::SeqCst);
        core.wake_for_work();
    } else {
        let home = home_of(task);
        home.inbox.push(task);
        worker::notify(home);
    }
    core.foreign.fetch_sub(1, Ordering::SeqCst);
}

impl Worker {
    /// Makes a claimed task the next to run here, if it may run here.
    #[inline(always)]
    pub(crate) fn ready_next(&self, task: TaskRef) {
        if self.is_mine(task) {
            self.put_next(task);
            if self.free {
                self.work_pushed();
            }
        } else {
            self.ready_elsewhere(task);
        }
    }

    /// Makes a claimed task run here after those that wait, if it may run here.
    pub(crate) fn ready_tail(&self, task: TaskRef) {
        if self.is_mine(task) {
            self.put_tail(task);
            if self.free {
                self.work_pushed();
            }
        } else {
            self.ready_elsewhere(task);
        }
    }

    /// Whether the task is a goroutine that may run on this worker.
    #[inline(always)]
    fn is_mine(&self, task: TaskRef) -> bool {
        if std::ptr::eq(task.home.load(Ordering::Relaxed).cast_const(), Arc::as_ptr(&self.shared).cast())
            && task.kind.get() == Kind::Goroutine
        {
            return true;
        }
        self.free
            && task.kind.get() == Kind::Goroutine
            && !task.bound.load(Ordering::Relaxed)
            && std::ptr::eq(task.runtime.load(Ordering::Relaxed), Arc::as_ptr(&self.core).cast_mut().cast())
            && self.shared.index != usize::MAX
    }

    #[cold]
    #[inline(never)]
    fn ready_elsewhere(&self, task: TaskRef) {
        if task.kind.get() == Kind::Thread {
            return super::thread::wake(task);
        }
        let same =
            std::ptr::eq(task.runtime.load(Ordering::Relaxed), Arc::as_ptr(&self.core).cast_mut().cast());
        if !same || (self.free && !task.bound.load(Ordering::Relaxed)) {
            return ready_foreign(task);
        }
        if trace::is_on() {
            trace::woke_elsewhere(task);
        }
        // The runtime is alive as long as its worker runs us.
        let home = home_of(task);
        home.inbox.push(task);
        worker::notify(home);
    }
}

/// Cancels a task that the caller holds a reference of: at its present blocking call if it is in one, else at its next.
///
/// Setting the flag and reading the wake word, here, and setting the wake word and reading the flag, in `park::commit`, are a
/// store-buffering pattern. Cancelling is rare and parking is not, so the heavy half of the fence is here.
pub(crate) fn cancel(task: TaskRef) {
    if task.life.is_done() {
        return;
    }
    task.cancel.fetch_or(CANCELLED, Ordering::SeqCst);
    if !wake_cancelled(task) {
        // It runs, or was about to block when we looked.
        fence::heavy();
        wake_cancelled(task);
    }
}

/// Ends the present wait of a task whose flag was set; false if it is in none that can be cancelled.
pub(crate) fn wake_cancelled(task: TaskRef) -> bool {
    let claimed = task.wake.claim_cancellable();
    if claimed {
        task.reason.set(Reason::Cancelled);
        ready(task);
    }
    claimed
}
