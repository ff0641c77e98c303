//! What a thread asks of the kernel: its timer slack, and a memory barrier on every other thread.

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
