//! How a goroutine is made to unwind: the marks that cancellation, `goexit` and timeouts carry, and who unwinds now.
//!
//! All are `resume_unwind`s of a private type, so no panic hook runs and no message appears. Code that catches one and goes
//! on has swallowed it; a cancelled goroutine unwinds again at its next blocking call.

use std::any::Any;
use std::panic;

/// Carried by the unwinding of a cancelled goroutine.
pub(crate) struct CancelMark;

/// Carried by the unwinding of `goexit`.
pub(crate) struct GoexitMark;

/// Carried by the unwinding up to a `timeout`: the one inside of `depth` others.
pub(crate) struct TimeoutMark {
    pub(crate) depth: usize,
}

/// Why a closure unwound.
pub(crate) enum Unwound {
    Cancelled,
    Goexit,
    /// With the mark.
    TimedOut(Box<dyn Any + Send>),
    Panic(Box<dyn Any + Send>),
}

impl Unwound {
    /// Tells the marks from a panic.
    pub(crate) fn from_payload(payload: Box<dyn Any + Send>) -> Self {
        if payload.is::<CancelMark>() {
            Unwound::Cancelled
        } else if payload.is::<GoexitMark>() {
            Unwound::Goexit
        } else if payload.is::<TimeoutMark>() {
            Unwound::TimedOut(payload)
        } else {
            Unwound::Panic(payload)
        }
    }
}

/// Unwinds the calling goroutine as cancelled.
#[cold]
#[inline(never)]
pub(crate) fn cancelled() -> ! {
    panic::resume_unwind(Box::new(CancelMark))
}

/// Whether a payload is that of a task which was interrupted from outside: cancelled, or out of time.
pub(crate) fn is_interruption(payload: &(dyn Any + Send)) -> bool {
    payload.is::<CancelMark>() || payload.is::<TimeoutMark>()
}

/// Unwinds the calling task up to the `timeout` inside of `depth` others.
#[cold]
#[inline(never)]
pub(crate) fn timed_out(depth: usize) -> ! {
    panic::resume_unwind(Box::new(TimeoutMark { depth }))
}

/// Unwinds the calling goroutine as ended by itself.
#[cold]
#[inline(never)]
pub(crate) fn goexit() -> ! {
    panic::resume_unwind(Box::new(GoexitMark))
}

/// Whether the caller is unwinding. Exact for goroutines too: while one is suspended in the middle of unwinding, its thread's
/// count does not show it (`sched::panics`).
#[inline]
pub(crate) fn panicking() -> bool {
    std::thread::panicking()
}
