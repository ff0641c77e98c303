//! The monotonic clock in nanoseconds. 21 ns a reading here (vDSO), so loops read it only when a timer is armed.

/// Nanoseconds of `CLOCK_MONOTONIC`; never 0, so that 0 can mean "none".
pub(crate) fn now_ns() -> u64 {
    let mut ts = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `ts` is writable for the duration of the call.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut ts) };
    debug_assert_eq!(result, 0, "CLOCK_MONOTONIC exists on every Linux");
    ts.tv_sec as u64 * 1_000_000_000 + ts.tv_nsec as u64 + 1
}

/// `now + duration`, clamped to "never" ([`u64::MAX`]) instead of overflowing.
pub(crate) fn deadline_after(duration: std::time::Duration) -> u64 {
    let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    now_ns().saturating_add(nanos)
}

/// A point of std's clock in nanoseconds of ours; the past is now.
pub(crate) fn of_instant(instant: std::time::Instant) -> u64 {
    deadline_after(instant.saturating_duration_since(instant_now()))
}

/// Now, on std's clock.
#[allow(clippy::disallowed_methods, reason = "the one place that reads it")]
pub(crate) fn instant_now() -> std::time::Instant {
    std::time::Instant::now()
}

/// As [`now_ns`], of the last tick of the kernel: up to 4 ms late, and a third of the price.
pub(crate) fn coarse_ns() -> u64 {
    let mut ts = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `ts` is writable for the duration of the call.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &mut ts) };
    debug_assert_eq!(result, 0, "CLOCK_MONOTONIC_COARSE exists on every Linux");
    ts.tv_sec as u64 * 1_000_000_000 + ts.tv_nsec as u64 + 1
}
