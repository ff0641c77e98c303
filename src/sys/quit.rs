//! SIGQUIT, counted: a thread waits for the next one. Used by `sched::quit`.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{OsError, futex};

static COUNT: AtomicU32 = AtomicU32::new(0);

/// From now on SIGQUIT is counted instead of ending the process. Once.
pub(crate) fn install() -> Result<(), OsError> {
    static DONE: OnceLock<Result<(), OsError>> = OnceLock::new();
    DONE.get_or_init(|| {
        let handler: extern "C" fn(libc::c_int) = on_signal;
        // SAFETY: zeroed is a valid sigaction: no flags, nothing blocked.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = handler as *const () as libc::sighandler_t;
        action.sa_flags = libc::SA_RESTART | libc::SA_ONSTACK;
        // SAFETY: the action is complete, and its handler keeps to what a handler may do.
        let result = unsafe { libc::sigaction(libc::SIGQUIT, &action, std::ptr::null_mut()) };
        if result == 0 { Ok(()) } else { Err(OsError::last("sigaction(SIGQUIT)", 0)) }
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
