//! Sleep until a word changes: the only way that threads of this crate wait.

use std::ptr;
use std::sync::atomic::AtomicU32;

use super::clock;

/// Nanoseconds of a [`rest`]; the kernel's timers make it two or three times as much.
const REST_NS: u64 = 20_000;

/// Sleeps while `*word == expected`, until [`wake`], or until `deadline` (`CLOCK_MONOTONIC` nanoseconds; `u64::MAX`:
/// never). May return early for no reason; the caller checks its word again. Returns false at the deadline.
pub(crate) fn wait(word: &AtomicU32, expected: u32, deadline: u64) -> bool {
    let ts = libc::timespec {
        tv_sec: (deadline / 1_000_000_000) as libc::time_t,
        tv_nsec: (deadline % 1_000_000_000) as libc::c_long,
    };
    let timeout = if deadline == u64::MAX { ptr::null() } else { &raw const ts };
    // The bitset form takes an absolute deadline.
    let op = libc::FUTEX_WAIT_BITSET | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: the word and the timespec outlive the call; the kernel only reads them.
    let result = unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            op,
            expected,
            timeout,
            ptr::null::<u32>(),
            libc::FUTEX_BITSET_MATCH_ANY,
        )
    };
    !(result < 0 && std::io::Error::last_os_error().raw_os_error() == Some(libc::ETIMEDOUT))
}

/// Wakes up to `count` threads that sleep on `word`. Only the address is used, so a word that was freed meanwhile
/// costs at most a spurious wake-up elsewhere.
pub(crate) fn wake(word: *const AtomicU32, count: i32) {
    let op = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: FUTEX_WAKE does not access the word; a private futex is keyed by its address alone.
    unsafe { libc::syscall(libc::SYS_futex, word, op, count) };
}

/// Lets go of what others want for as long as it takes them to wake up and take it: for one who takes a lock (ours, or the kernel's on the address space) again and again, with nothing between. Who waits
/// would be woken each time, and come too late each time.
#[cold]
pub(crate) fn rest() {
    static NOBODY_WAKES: AtomicU32 = AtomicU32::new(0);
    wait(&NOBODY_WAKES, 0, clock::now_ns() + REST_NS);
}
