//! What a thread asks of the system: its timer slack, a memory barrier on every other thread, a call when it ends, calls around `fork`.

use std::ffi::c_void;
use std::sync::OnceLock;

/// Timed sleeps of this thread end on time: the default slack of 50 µs would be most of a 100 µs sleep.
pub(crate) fn precise_timers() {
    // SAFETY: PR_SET_TIMERSLACK takes one integer and changes this thread only.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1_000_u64, 0, 0, 0) };
}

// From linux/membarrier.h; libc names them on some targets only.
const MEMBARRIER_CMD_PRIVATE_EXPEDITED: i32 = 1 << 3;
const MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED: i32 = 1 << 4;

fn membarrier(command: i32) -> bool {
    // SAFETY: membarrier takes integers only.
    unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
}

/// Whether the kernel lets this process use [`barrier_on_all_threads`]; registers the process for it.
pub(crate) fn has_process_barrier() -> bool {
    static HAS: OnceLock<bool> = OnceLock::new();
    *HAS.get_or_init(|| {
        membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) && membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED)
    })
}

/// Every running thread of the process executes a full barrier before this returns. Returns false if the kernel
/// refused. 0.25 µs alone, 8.5 µs here while another processor runs the process (an interrupt to it).
pub(crate) fn barrier_on_all_threads() -> bool {
    membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED)
}

/// Asks for `destructor` to be called with a thread's [`set_at_exit`] value when the thread ends, after the destructors of Rust's thread-locals. None if the process has
/// no key left.
pub(crate) fn at_exit_key(destructor: extern "C" fn(*mut c_void)) -> Option<u32> {
    let mut key: libc::pthread_key_t = 0;
    // SAFETY: `key` is writable, and the destructor is a function for ever.
    let result = unsafe { libc::pthread_key_create(&mut key, Some(destructor)) };
    (result == 0).then_some(key)
}

/// Sets this thread's value of a key made by [`at_exit_key`]. False if the C library has no memory for it.
pub(crate) fn set_at_exit(key: u32, value: *const c_void) -> bool {
    // SAFETY: the key exists for ever.
    unsafe { libc::pthread_setspecific(key, value) == 0 }
}

/// Has the handlers run around every `fork`: before it, after it in the parent, after it in the child. False if the C library has no memory for it.
pub(crate) fn around_fork(before: extern "C" fn(), parent: extern "C" fn(), child: extern "C" fn()) -> bool {
    // SAFETY: the handlers are functions for ever.
    unsafe { libc::pthread_atfork(Some(before), Some(parent), Some(child)) == 0 }
}
