//! Receivers without a channel behind them: one message at a time ([`At`]), again and again ([`Tick`]), never, and what can be stopped and set again
//! ([`Clock`], for `alarm`). They have no senders and cannot be closed, and nothing happens while nobody looks: a receiver that waits arms its own timer, so
//! one that is dropped costs nothing, and there can be no stale message.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::flavor::{Queue, RECV, WATCH};
use crate::moment;
use crate::routine::{Ticket, Wait};
use crate::sched;
use crate::sched::park::cancelled;
use crate::sched::waitq::{Node, Outcome};
use crate::sys::clock;

/// What `alarm`'s timers and tickers are: a message that is due at a time which can change. Who waits for it waits until then, and is told of changes.
pub(crate) struct Clock {
    queue: Queue,
    /// When the next message is due; [`u64::MAX`] while stopped, and when the only one was taken.
    due: AtomicU64,
    /// From one message to the next; 0 for one only.
    period: AtomicU64,
}

impl Clock {
    /// Due at `due`, and then every `period` if that is not 0.
    pub(crate) fn new(due: u64, period: u64) -> Self {
        sched::stall::note();
        Self { queue: Queue::new(), due: AtomicU64::new(due), period: AtomicU64::new(period) }
    }

    /// Changes when the next message is due, and the period. True if one was due before.
    pub(crate) fn set(&self, due: u64, period: u64) -> bool {
        self.period.store(period, Ordering::SeqCst);
        let before = self.due.swap(due, Ordering::SeqCst);
        // Who waits until the old time looks again. Who is about to wait has linked its node, or will see the new time.
        if self.queue.has_any(RECV) {
            for list in [RECV, RECV + WATCH] {
                loop {
                    let claimed = self.queue.lock().claim_first(list);
                    let Some(waiter) = claimed else { break };
                    waiter.look_again();
                }
            }
        }
        before != u64::MAX
    }

    pub(super) fn due(&self) -> u64 {
        self.due.load(Ordering::SeqCst)
    }

    /// The message, if it is due: the time it was due at. Later ones that are due already are dropped.
    pub(crate) fn take(&self) -> Option<moment::Instant> {
        loop {
            let due = self.due();
            let now = clock::now_ns();
            if now < due {
                return None;
            }
            let next = match self.period.load(Ordering::SeqCst) {
                0 => u64::MAX,
                period => due.saturating_add(((now - due) / period + 1).saturating_mul(period)),
            };
            if self.due.compare_exchange(due, next, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
                return Some(moment::Instant::from_nanos(due));
            }
        }
    }

    /// Waits until the message is due, or the time was changed; not at all if `is_over`. That is asked after the time was read, so who makes it true and then changes the time is not
    /// waited for in vain.
    pub(crate) fn wait_for_change_or_due(&self, is_over: impl FnOnce() -> bool) {
        let due = self.due();
        if !is_over() {
            self.wait_from(due, u64::MAX);
        }
    }

    /// Waits until there may be a message, until `deadline` at the latest.
    pub(super) fn wait(&self, deadline: u64) {
        self.wait_from(self.due(), deadline);
    }

    /// As `wait`, for somebody who has read `due`.
    fn wait_from(&self, due: u64, deadline: u64) {
        let until = due.min(deadline);
        let outcome =
            self.queue.wait(RECV, Wait::ChanReceive, until, std::ptr::null_mut(), |_| self.unchanged(due));
        if outcome == Outcome::Cancelled {
            cancelled();
        }
    }

    /// Whether the time is still the one that a waiter, whose node has just been linked, is going to wait for.
    fn unchanged(&self, due: u64) -> bool {
        crate::base::atomic::fence(Ordering::SeqCst);
        self.due() == due
    }

    /// Links a case of a select; false, and not linked, if there is no need to wait.
    ///
    /// # Safety
    ///
    /// - As `LockedQueue::link`.
    pub(super) unsafe fn watch(&self, observe: bool, node: &Node, ticket: Ticket) -> bool {
        let list = if observe { RECV + WATCH } else { RECV };
        let mut locked = self.queue.lock_for(ticket);
        // SAFETY: the caller's contract.
        unsafe { locked.link(list, node, ticket, false) };
        // See `WaitQueue::hints`.
        crate::base::atomic::fence(Ordering::SeqCst);
        let wait = self.due() > clock::now_ns();
        if !wait {
            locked.unlink(list, node);
        }
        wait
    }

    /// Takes out a node for which `watch` was called.
    pub(super) fn forget(&self, observe: bool, node: &Node) {
        self.queue.forget(if observe { RECV + WATCH } else { RECV }, node);
    }
}

/// One message, at a time.
pub(super) struct At {
    when: Instant,
    /// `when` on the runtime's clock.
    due: u64,
    taken: AtomicBool,
}

impl At {
    pub(super) fn new(when: Instant) -> Self {
        Self { when, due: clock::of_instant(when), taken: AtomicBool::new(false) }
    }

    /// When there will be a message; never, once it was taken.
    pub(super) fn due(&self) -> u64 {
        if self.taken.load(Ordering::Relaxed) { u64::MAX } else { self.due }
    }

    /// The message, if it is time and nobody was faster.
    pub(super) fn take(&self) -> Option<Instant> {
        (self.due() <= clock::now_ns() && !self.taken.swap(true, Ordering::SeqCst)).then_some(self.when)
    }
}

/// A message every `period`. Ticks that nobody takes in time are dropped: the next is due a period after the last was taken, or due.
pub(super) struct Tick {
    start: Instant,
    period: u64,
    /// When the next message is due, in nanoseconds after `start`.
    next: AtomicU64,
}

impl Tick {
    pub(super) fn new(period: Duration) -> Self {
        let nanos = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX);
        Self { start: clock::instant_now(), period: nanos, next: AtomicU64::new(nanos) }
    }

    pub(super) fn due(&self) -> u64 {
        // By one clock, which `take` reads too: two readings at the start could be apart by a preemption.
        let next = Duration::from_nanos(self.next.load(Ordering::SeqCst));
        self.start.checked_add(next).map_or(u64::MAX, clock::of_instant)
    }

    /// The message that is due, if there is one: the time it was due at.
    pub(super) fn take(&self) -> Option<Instant> {
        loop {
            let next = self.next.load(Ordering::SeqCst);
            let now = clock::instant_now().saturating_duration_since(self.start);
            let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
            if now < next {
                return None;
            }
            let after = next.max(now).saturating_add(self.period);
            if self.next.compare_exchange(next, after, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
                return Some(self.start + Duration::from_nanos(next));
            }
        }
    }
}
