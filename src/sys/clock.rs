//! The monotonic clock in nanoseconds. 21 ns a reading here (vDSO), so loops read it only when a timer is armed.
//!
//! A thread may have a clock of its own instead, which stands still until it is set ([`set_virtual`]): the worker of a seeded run has (`sched::seeded`). While no thread
//! has one, that costs a load of a word that nobody writes.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How many threads have a clock of their own.
static VIRTUAL: AtomicUsize = AtomicUsize::new(0);

/// A thread's own clock.
#[derive(Clone, Copy)]
struct Own {
    now: u64,
    /// Where std's clock and this one stood when it was made.
    made: (Instant, u64),
}

mod local {
    std::thread_local! {
        pub(super) static OWN: super::Cell<Option<super::Own>> = const { super::Cell::new(None) };
    }
}

/// The calling thread's own clock. Not inlined: goroutines must not keep the address of a thread-local.
#[cold]
#[inline(never)]
fn own() -> Option<Own> {
    local::OWN.try_with(Cell::get).ok().flatten()
}

/// Sets the calling thread's own clock, which it has from then on; with `None` it has the system's again.
#[inline(never)]
pub(crate) fn set_virtual(now: Option<u64>) {
    let before = own();
    let after =
        now.map(|now| Own { now, made: before.map_or_else(|| (system_instant(), now), |own| own.made) });
    match (before, after) {
        (None, Some(_)) => VIRTUAL.fetch_add(1, Ordering::Relaxed),
        (Some(_), None) => VIRTUAL.fetch_sub(1, Ordering::Relaxed),
        _ => 0,
    };
    local::OWN.with(|own| own.set(after));
}

/// Nanoseconds of `CLOCK_MONOTONIC`, or of the thread's own clock; never 0, so that 0 can mean "none".
pub(crate) fn now_ns() -> u64 {
    if VIRTUAL.load(Ordering::Relaxed) != 0
        && let Some(own) = own()
    {
        return own.now;
    }
    let mut ts = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `ts` is writable for the duration of the call.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut ts) };
    debug_assert_eq!(result, 0, "CLOCK_MONOTONIC exists on every Linux");
    ts.tv_sec as u64 * 1_000_000_000 + ts.tv_nsec as u64 + 1
}

/// `now + duration`, clamped to "never" ([`u64::MAX`]) instead of overflowing.
pub(crate) fn deadline_after(duration: Duration) -> u64 {
    let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    now_ns().saturating_add(nanos)
}

/// A point of std's clock in nanoseconds of ours; the past is now.
pub(crate) fn of_instant(instant: Instant) -> u64 {
    deadline_after(instant.saturating_duration_since(instant_now()))
}

/// Now, on std's clock, or as far from where that stood as the thread's own clock has come.
pub(crate) fn instant_now() -> Instant {
    if VIRTUAL.load(Ordering::Relaxed) != 0
        && let Some(own) = own()
    {
        let (instant, then) = own.made;
        return instant.checked_add(Duration::from_nanos(own.now - then)).unwrap_or(instant);
    }
    system_instant()
}

#[allow(clippy::disallowed_methods, reason = "the one place that reads it")]
fn system_instant() -> Instant {
    Instant::now()
}

/// As [`now_ns`], of the last tick of the kernel: up to 4 ms late, and a third of the price.
pub(crate) fn coarse_ns() -> u64 {
    let mut ts = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `ts` is writable for the duration of the call.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &mut ts) };
    debug_assert_eq!(result, 0, "CLOCK_MONOTONIC_COARSE exists on every Linux");
    ts.tv_sec as u64 * 1_000_000_000 + ts.tv_nsec as u64 + 1
}
