//! Receivers without a channel behind them: one message at a time ([`At`]), again and again ([`Tick`]), never. They have no senders and cannot be
//! closed, and nothing happens while nobody looks: a receiver that waits arms its own timer, so one that is dropped costs nothing.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::sys::clock;

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
    start_ns: u64,
    period: u64,
    /// When the next message is due, after `start_ns`.
    next: AtomicU64,
}

impl Tick {
    pub(super) fn new(period: Duration) -> Self {
        let nanos = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX);
        Self {
            start: clock::instant_now(),
            start_ns: clock::now_ns(),
            period: nanos,
            next: AtomicU64::new(nanos),
        }
    }

    pub(super) fn due(&self) -> u64 {
        self.start_ns.saturating_add(self.next.load(Ordering::SeqCst))
    }

    /// The message that is due, if there is one: the time it was due at.
    pub(super) fn take(&self) -> Option<Instant> {
        loop {
            let next = self.next.load(Ordering::SeqCst);
            let now = clock::now_ns() - self.start_ns;
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
