//! How a goroutine is made to unwind: the marks that cancellation and `goexit` carry, and who unwinds now.
//!
//! Both are `resume_unwind`s of a private type, so no panic hook runs and no message appears. Code that catches one and goes
//! on has swallowed it; a cancelled goroutine unwinds again at its next blocking call.

use std::any::Any;
use std::panic;

/// Carried by the unwinding of a cancelled goroutine.
pub(crate) struct CancelMark;

/// Carried by the unwinding of `goexit`.
pub(crate) struct GoexitMark;

/// Why a goroutine's closure unwound.
pub(crate) enum Unwound {
    Cancelled,
    Goexit,
    Panic(Box<dyn Any + Send>),
}

impl Unwound {
    /// Tells the marks from a panic.
    pub(crate) fn from_payload(payload: Box<dyn Any + Send>) -> Self {
        if payload.is::<CancelMark>() {
            Unwound::Cancelled
        } else if payload.is::<GoexitMark>() {
            Unwound::Goexit
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
