//! SIGQUIT, counted: a thread waits for the next one. Used by `sched::quit`.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{OsError, futex, signal};

static COUNT: AtomicU32 = AtomicU32::new(0);

/// From now on SIGQUIT is counted instead of ending the process. Once.
pub(crate) fn install() -> Result<(), OsError> {
    static DONE: OnceLock<Result<(), OsError>> = OnceLock::new();
    DONE.get_or_init(|| {
        let handler: extern "C" fn(libc::c_int) = on_signal;
        let action = signal::action(handler as *const () as usize, libc::SA_RESTART | libc::SA_ONSTACK);
        // SAFETY: the handler keeps to what a handler may do.
        unsafe { signal::set(libc::SIGQUIT, &action) }
    })
    .clone()
}

/// An atomic addition and a system call that cannot fail, and so leaves `errno` alone: a handler may do both.
extern "C" fn on_signal(_: libc::c_int) {
    COUNT.fetch_add(1, Ordering::SeqCst);
    futex::wake(&COUNT, i32::MAX);
}

/// How many there were.
pub(crate) fn count() -> u32 {
    COUNT.load(Ordering::SeqCst)
}

/// Waits until there were more than `seen`.
pub(crate) fn wait(seen: u32) {
    while count() == seen {
        futex::wait(&COUNT, seen, u64::MAX);
    }
}
