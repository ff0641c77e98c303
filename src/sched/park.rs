//! Waiting. A goroutine that has to wait publishes nothing itself: it suspends with the address of a [`ParkOp`], and its worker, once the
//! registers are saved, marks it blocked, arms its timer and runs the operation's `commit`, which unlocks or enqueues. So a
//! waker never finds a goroutine that still runs, and there is no state "about to sleep" to spin on.
//!
//! A plain thread does the same three steps itself and sleeps on the futex of its cell.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::core::{WorkerShared, count};
use super::worker::{self, Worker, flag};
use super::{current_task, thread, timeout};
use crate::base::fence;
use crate::routine::slot::YIELD;
use crate::routine::{Reason, SlotRef, TaskRef, Ticket, Wait, slot, unwind};
use crate::timer::TimerId;

/// What `commit` found.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Commit {
    /// The wait was published; somebody will claim it.
    Blocked,
    /// What is waited for has happened already; nothing was published.
    Already,
}

/// One wait, in the waiter's frame. `commit` finds its own data around it: ops are the first field of a `repr(C)` struct.
#[repr(C)]
pub(crate) struct ParkOp {
    /// Publishes the wait. Runs on the worker after the switch (or on the waiting thread) and must not block or panic.
    ///
    /// # Safety
    ///
    /// - The op is the one it was made for, in a frame that is suspended until the ticket is claimed.
    commit: unsafe fn(*const ParkOp, Ticket) -> Commit,
    wait: Wait,
    /// Nanoseconds; `u64::MAX` for no timeout.
    deadline: u64,
    cancellable: bool,
    /// The armed timer, and the worker whose heap it is in.
    timer: Cell<Option<(TimerId, *const WorkerShared)>>,
}

impl ParkOp {
    /// A wait that is a cancellation point unless the caller unwinds.
    // Inlined: returned through memory, the copy stalls on store forwarding (4 ns).
    #[inline(always)]
    pub(crate) fn new(wait: Wait, deadline: u64, commit: unsafe fn(*const ParkOp, Ticket) -> Commit) -> Self {
        Self { commit, wait, deadline, cancellable: !unwind::panicking(), timer: Cell::new(None) }
    }

    /// Makes the wait no cancellation point.
    pub(crate) fn uninterruptible(&mut self) {
        self.cancellable = false;
    }
}

/// Waits. The op is the first field of what `commit` expects, and stays where it is meanwhile.
///
/// # Safety
///
/// - `op` points to a live `ParkOp` that may be passed to its own `commit`.
#[inline(always)]
pub(crate) unsafe fn block(op: *const ParkOp) -> Reason {
    // SAFETY: the caller's contract.
    unsafe { block_on(slot::current(), op) }
}

/// `block` for a caller that knows its own slot.
///
/// # Safety
///
/// - As [`block`]; `slot` is the caller's.
#[inline(always)]
pub(crate) unsafe fn block_on(slot: Option<SlotRef>, op: *const ParkOp) -> Reason {
    match slot {
        Some(slot) => {
            // SAFETY: we run on this slot.
            unsafe { slot.suspend(op as usize) };
            let reason = slot.task().reason.get();
            // SAFETY: the op is in our caller's frame, and nobody else looks at it any more.
            let op = unsafe { &*op };
            if op.deadline != u64::MAX && reason != Reason::TimedOut {
                disarm(op);
            }
            reason
        }
        // SAFETY: the caller's contract.
        None => thread::with_task(|task| unsafe { block_thread(task, op) }),
    }
}

#[cold]
fn disarm(op: &ParkOp) {
    if let Some((id, shared)) = op.timer.take() {
        // SAFETY: a worker of our own runtime, which lives as long as we do.
        unsafe { &*shared }.timers.cancel(id);
    }
}

/// The code of what `op` waits for.
///
/// # Safety
///
/// - `op` points to a live `ParkOp`.
pub(super) unsafe fn wait_of(op: *const ParkOp) -> u8 {
    // SAFETY: the caller's contract.
    unsafe { &*op }.wait as u8
}

/// The worker's side: the goroutine has suspended with `op`.
///
/// # Safety
///
/// - `op` is the ParkOp with which `task` has just suspended on this worker.
#[inline(always)]
pub(super) unsafe fn commit(worker: &Worker, task: TaskRef, op: *const ParkOp) {
    count(&worker.shared.counters.parks);
    // SAFETY: in the suspended frame, which stays until somebody claims the wait; that is possible from `begin` on, so everything
    // is read before.
    let op_ref = unsafe { &*op };
    let (publish, wait, deadline, cancellable) =
        (op_ref.commit, op_ref.wait, op_ref.deadline, op_ref.cancellable);
    let episode = task.wake.begin(wait, cancellable);
    let ticket = Ticket { task, episode };
    if deadline != u64::MAX {
        // A canceller may have claimed the wait already. Then the goroutine is in a queue of this worker (in free mode it is bound
        // to it), and does not run before we are through.
        worker
            .shared
            .timers
            .arm(deadline, ticket, |id| op_ref.timer.set(Some((id, Arc::as_ptr(&worker.shared)))));
    }
    // SAFETY: the caller's contract.
    if unsafe { publish(op, ticket) } == Commit::Already {
        if let Some(task) = ticket.claim(Reason::Ready) {
            worker.put_next(task);
        }
        return;
    }
    if wait.may_need_children() {
        worker.favor_newest();
    }
    // Pairs with the heavy fence in `cancel`: either we see the flag, or the canceller sees the wait.
    fence::light();
    if cancellable
        && task.cancel.load(Ordering::Relaxed) != 0
        && let Some(task) = ticket.claim(Reason::Cancelled)
    {
        worker.put_tail(task);
    }
}

/// # Safety
///
/// - As [`block`]; `task` is the calling thread's.
#[cold]
#[inline(never)]
unsafe fn block_thread(task: TaskRef, op: *const ParkOp) -> Reason {
    // SAFETY: the caller's contract.
    let op_ref = unsafe { &*op };
    let limit = if op_ref.cancellable { timeout::earliest(task) } else { u64::MAX };
    // For `stall`.
    task.bound.store(op_ref.deadline.min(limit) != u64::MAX, Ordering::Relaxed);
    // A plain thread cannot be cancelled by others.
    let ticket = Ticket { task, episode: task.wake.begin(op_ref.wait, false) };
    // SAFETY: the caller's contract; this thread is not doing anything else until the ticket is claimed.
    match unsafe { (op_ref.commit)(op, ticket) } {
        Commit::Already => {
            if ticket.claim(Reason::Ready).is_none() {
                thread::sleep(ticket, u64::MAX);
            }
        }
        Commit::Blocked => {
            thread::sleep(ticket, op_ref.deadline.min(limit));
            if limit < op_ref.deadline && task.reason.get() == Reason::TimedOut {
                timeout::expire_thread(task);
                return Reason::Cancelled;
            }
        }
    }
    task.reason.get()
}

/// Unwinds if the calling goroutine was cancelled (or is out of time) and may be interrupted: the start of every blocking call.
#[inline(always)]
pub(crate) fn check_cancelled(task: TaskRef) {
    if task.is_interrupted() && !unwind::panicking() {
        timeout::unwind(task);
    }
}

/// What a blocking call does about the reason it woke for: unwinds if it was cancelled.
#[inline(always)]
pub(crate) fn unwind_if_cancelled(reason: Reason) {
    if reason == Reason::Cancelled {
        cancelled();
    }
}

/// Unwinds the calling task, whose wait was [`Reason::Cancelled`]: cancelled, or out of time.
#[cold]
pub(crate) fn cancelled() -> ! {
    current_task(|task| timeout::unwind(task))
}

/// Gives the worker to the others: at the tail of the queue.
#[inline(always)]
pub(crate) fn yield_now() {
    match slot::current() {
        Some(slot) => {
            check_cancelled(slot.task());
            // SAFETY: we run on this slot.
            unsafe { slot.suspend(YIELD) };
        }
        None => std::thread::yield_now(),
    }
}

/// Yields if the goroutine has had its time slice: in every runtime call that does not block.
#[inline(always)]
pub(crate) fn safepoint(slot: SlotRef) {
    // SAFETY: we run on this slot, and the reference ends here.
    let flags = unsafe { worker::of_slot(slot) }.shared.flags.load(Ordering::Relaxed);
    if flags != 0 {
        preempted(slot);
    }
}

/// [`safepoint`] for callers that need not be goroutines.
#[inline(always)]
pub(crate) fn pass_safepoint() {
    match slot::current() {
        Some(slot) => safepoint(slot),
        // What a plain thread gets from such a call may wake somebody later.
        None => super::stall::note(),
    }
}

/// So many transfers of a goroutine (accepted connections, reads, writes) that need not wait, and it lets the others of its worker go first. One that always finds something
/// would have them wait for its whole time slice: an accept loop in a storm of connections, say. (tokio's budget is 128.)
const TRANSFERS: u32 = 64;

/// [`pass_safepoint`] before a transfer.
#[inline]
pub(crate) fn pass_transfer() {
    let Some(slot) = slot::current() else { return super::stall::note() };
    // SAFETY: we run on this slot, and the reference ends here.
    let worker = unsafe { worker::of_slot(slot) };
    let tick = worker.shared.tick.load(Ordering::Relaxed);
    let (run, count) = worker.transfers.get();
    let count = if run == tick { count + 1 } else { 1 };
    worker.transfers.set((tick, count));
    if count < TRANSFERS {
        safepoint(slot);
    } else {
        // SAFETY: we run on this slot. Not a cancellation point: the call need not wait.
        unsafe { slot.suspend(YIELD) };
    }
}

#[cold]
#[inline(never)]
fn preempted(slot: SlotRef) {
    // SAFETY: we run on this slot, and the reference ends here.
    let worker = unsafe { worker::of_slot(slot) };
    if worker.shared.flags.load(Ordering::Relaxed) & flag::PREEMPT == 0 {
        return;
    }
    if let Some(seeded) = &worker.core.seeded
        && !seeded.preempts(worker)
    {
        return;
    }
    count(&worker.shared.counters.preemptions);
    // SAFETY: we run on this slot. Not a cancellation point: the call need not wait.
    unsafe { slot.suspend(YIELD) };
}
