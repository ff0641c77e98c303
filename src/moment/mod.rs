//! Points of time, and waiting for them. Timers, which are channels, are in `alarm`; `lib.rs` shows both as `time`.

mod instant;
mod timeout;

pub use instant::{Instant, now};
pub use timeout::{Elapsed, timeout};

use std::time::Duration;

use crate::routine::{Ticket, Wait};
use crate::sched::park::{check_cancelled, unwind_if_cancelled};
use crate::sched::{self, Commit, ParkOp};
use crate::sys::clock;

/// # Safety
///
/// - None; the signature is that of all commits.
unsafe fn commit_sleep(_: *const ParkOp, _: Ticket) -> Commit {
    Commit::Blocked
}

/// Sleeps for at least `duration`, with the resolution of the system's timers (microseconds).
///
/// # Blocking
///
/// Parks the calling goroutine, or blocks the calling thread. A duration of zero returns at once.
///
/// # Cancellation
///
/// A cancelled goroutine unwinds here.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// greenroutine::run(|| greenroutine::time::sleep(Duration::from_micros(50)));
/// ```
pub fn sleep(duration: Duration) {
    if let Some(me) = sched::current_goroutine() {
        check_cancelled(me);
    }
    if duration.is_zero() {
        return;
    }
    let op = ParkOp::new(Wait::Sleep, clock::deadline_after(duration), commit_sleep);
    // SAFETY: `op` stays in this frame until the call returns.
    let reason = unsafe { sched::block(&raw const op) };
    unwind_if_cancelled(reason);
}

/// Sleeps until `deadline`, with the resolution of the system's timers (microseconds). Returns at once if that is over.
///
/// # Blocking
///
/// Parks the calling goroutine, or blocks the calling thread.
///
/// # Cancellation
///
/// A cancelled goroutine unwinds here.
///
/// # Examples
///
/// ```
/// use greenroutine::time;
/// use std::time::Duration;
///
/// let deadline = time::now() + Duration::from_millis(1);
/// time::sleep_until(deadline);
/// assert!(time::now() >= deadline);
/// ```
pub fn sleep_until(deadline: Instant) {
    if let Some(me) = sched::current_goroutine() {
        check_cancelled(me);
    }
    if deadline.as_nanos() > clock::now_ns() {
        sleep_until_ns(deadline.as_nanos(), Wait::Sleep);
    }
}

/// Waits until `deadline` on the runtime's clock (never, if it is `u64::MAX`), as `wait` in dumps.
pub(crate) fn sleep_until_ns(deadline: u64, wait: Wait) {
    let op = ParkOp::new(wait, deadline, commit_sleep);
    // SAFETY: `op` stays in this frame until the call returns.
    let reason = unsafe { sched::block(&raw const op) };
    unwind_if_cancelled(reason);
}
