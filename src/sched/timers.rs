//! A worker's timers: armed by the worker for a goroutine that it suspends, fired by the worker between two goroutines, or by another
//! one while it is stuck.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::base::lock::{Lock, Rank};
use crate::routine::{Reason, TaskRef, Ticket};
use crate::timer::{TimerId, Timers};

/// One worker's heap, and its earliest deadline for everybody to read.
pub(crate) struct TimerQueue {
    heap: Lock<Timers<Armed>>,
    /// `heap.next_deadline()`, written under the lock; `u64::MAX` for none.
    next: AtomicU64,
}

/// What a timer does when it is due.
struct Armed(Ticket);

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
        note(heap.arm(deadline, Armed(ticket)));
        self.next.store(heap.next_deadline(), Ordering::Relaxed);
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
                due
            };
            let Some(Armed(ticket)) = due else { return };
            if let Some(task) = ticket.claim(Reason::TimedOut) {
                ready(task);
            }
        }
    }
}
