//! A worker's timers: armed by the worker for a goroutine that it suspends, fired by the worker between two goroutines, or by another
//! one while it is stuck.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::base::fence;
use crate::base::lock::{Lock, Rank};
use crate::routine::cell::EXPIRED;
use crate::routine::{Reason, TaskRef, Ticket};
use crate::timer::{TimerId, Timers};

/// One worker's heap, and its earliest deadline for everybody to read.
pub(crate) struct TimerQueue {
    heap: Lock<Timers<Armed>>,
    /// `heap.next_deadline()`, written under the lock; `u64::MAX` for none.
    next: AtomicU64,
}

/// What a timer does when it is due.
enum Armed {
    /// Ends a wait.
    Wait(Ticket),
    /// Ends all waits of a goroutine from now on (`timeout`), which takes the timer out before it ends.
    Expiry(TaskRef),
}

// SAFETY: a ticket is an address that is mapped for ever and a number; claiming is atomic.
unsafe impl Send for Armed {}

impl TimerQueue {
    /// Empty.
    pub(crate) fn new() -> Self {
        Self { heap: Lock::new(Rank::Timers, Timers::new()), next: AtomicU64::new(u64::MAX) }
    }

    /// The earliest deadline in nanoseconds; `u64::MAX` for none.
    #[inline(always)]
    pub(crate) fn next_deadline(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    /// How many are armed.
    pub(crate) fn len(&self) -> usize {
        self.heap.lock().len()
    }

    /// Ends the wait of `ticket` at `deadline`. `note` gets the id before anybody can fire the timer.
    pub(crate) fn arm(&self, deadline: u64, ticket: Ticket, note: impl FnOnce(TimerId)) {
        let mut heap = self.heap.lock();
        note(heap.arm(deadline, Armed::Wait(ticket)));
        self.next.store(heap.next_deadline(), Ordering::Relaxed);
    }

    /// Interrupts a goroutine at `deadline`, unless the timer is taken out before.
    pub(super) fn arm_expiry(&self, deadline: u64, task: TaskRef) -> TimerId {
        let mut heap = self.heap.lock();
        let id = heap.arm(deadline, Armed::Expiry(task));
        self.next.store(heap.next_deadline(), Ordering::Relaxed);
        id
    }

    /// Takes a timer out whose wait ended otherwise.
    pub(crate) fn cancel(&self, id: TimerId) {
        let mut heap = self.heap.lock();
        let _ = heap.cancel(id);
        self.next.store(heap.next_deadline(), Ordering::Relaxed);
    }

    /// Claims the waits that are over at `now` and passes them to `ready`, without the lock.
    pub(crate) fn fire(&self, now: u64, mut ready: impl FnMut(TaskRef)) {
        loop {
            let due = {
                let mut heap = self.heap.lock();
                let due = heap.expire(now);
                self.next.store(heap.next_deadline(), Ordering::Relaxed);
                match due {
                    None => return,
                    Some(Armed::Wait(ticket)) => ticket.claim(Reason::TimedOut),
                    // Under the lock: see `timeout`.
                    Some(Armed::Expiry(task)) => expire(task),
                }
            };
            if let Some(task) = due {
                ready(task);
            }
        }
    }
}

/// Marks a goroutine as out of time, and claims its wait if it is in one that can be interrupted. As `ready::cancel`, whose fences these are.
fn expire(task: TaskRef) -> Option<TaskRef> {
    task.cancel.fetch_or(EXPIRED, Ordering::SeqCst);
    let mut claimed = task.wake.claim_cancellable();
    if !claimed {
        fence::heavy();
        claimed = task.wake.claim_cancellable();
    }
    claimed.then(|| {
        task.reason.set(Reason::Cancelled);
        task
    })
}
