//! What a thread asks of the system: its timer slack, a memory barrier on every other thread, a call when it ends, calls around `fork`.

use std::ffi::c_void;
use std::sync::OnceLock;

use crate::arch;

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

/// The kernel's number of the calling thread.
pub(crate) fn tid() -> i32 {
    // SAFETY: no preconditions.
    unsafe { libc::gettid() }
}

/// The C library's name of the calling thread, for [`stack_bounds`].
pub(crate) fn handle() -> usize {
    // SAFETY: no preconditions.
    unsafe { libc::pthread_self() as usize }
}

/// The lowest and one past the highest address of a thread's stack; of a thread other than the main one, that includes its thread-locals.
///
/// # Safety
///
/// - `handle` is of a thread that has not ended.
pub(crate) unsafe fn stack_bounds(handle: usize) -> Option<(usize, usize)> {
    let mut attributes = std::mem::MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: the caller's contract; the attributes are written.
    if unsafe { libc::pthread_getattr_np(handle as libc::pthread_t, attributes.as_mut_ptr()) } != 0 {
        return None;
    }
    let (mut low, mut bytes) = (std::ptr::null_mut(), 0);
    // SAFETY: initialised above.
    let result = unsafe { libc::pthread_attr_getstack(attributes.as_ptr(), &mut low, &mut bytes) };
    // SAFETY: initialised above, and not used any more.
    unsafe { libc::pthread_attr_destroy(attributes.as_mut_ptr()) };
    (result == 0).then_some((low as usize, low as usize + bytes))
}

/// An address above all frames of the calling thread's stack, and in the same mapping. Allocates nothing, unlike [`stack_bounds`].
pub(crate) fn stack_end() -> usize {
    let sp = arch::stack_pointer();
    // SAFETY: no preconditions.
    let in_main_stack = || unsafe { libc::getauxval(libc::AT_RANDOM) } as usize;
    // The C library puts a thread's control block at the end of its stack; the main thread's is elsewhere, and below. Above its frames the kernel has put some random bytes.
    match arch::thread_pointer() {
        block if block > sp => block,
        _ => in_main_stack().max(sp),
    }
}

/// How many threads the process has, as the kernel counts them. None without /proc. Allocates nothing.
pub(crate) fn count() -> Option<usize> {
    // SAFETY: all-zero is a valid stat.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: a C string, and `stat` is writable.
    let result = unsafe { libc::stat(c"/proc/self/task".as_ptr(), &mut stat) };
    // One link for each thread's folder, and two as every folder has.
    (result == 0).then(|| (stat.st_nlink as usize).saturating_sub(2))
}

/// Calls `each` with the number of every thread of the process. False without /proc. Allocates nothing.
pub(crate) fn for_each(mut each: impl FnMut(i32)) -> bool {
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;
    // SAFETY: a C string.
    let folder = unsafe { libc::open(c"/proc/self/task".as_ptr(), flags) };
    if folder < 0 {
        return false;
    }
    let mut buffer = [0_u64; 512];
    loop {
        // SAFETY: the buffer is writable for its length.
        let read =
            unsafe { libc::syscall(libc::SYS_getdents64, folder, buffer.as_mut_ptr(), size_of_val(&buffer)) };
        if read <= 0 {
            break;
        }
        // SAFETY: bytes of the initialised buffer.
        let bytes = unsafe { std::slice::from_raw_parts(buffer.as_ptr().cast::<u8>(), read as usize) };
        let mut at = 0;
        // struct linux_dirent64: inode and offset (8 bytes each), length of the record (2), type (1), the name.
        while let Some(record) = bytes.get(at..).filter(|rest| rest.len() > 19) {
            let length = u16::from_ne_bytes([record[16], record[17]]) as usize;
            let name = record[19..length].split(|byte| *byte == 0).next().unwrap_or_default();
            if let Some(tid) = std::str::from_utf8(name).ok().and_then(|name| name.parse().ok()) {
                each(tid);
            }
            at += length.max(1);
        }
    }
    // SAFETY: ours, and not used any more.
    unsafe { libc::close(folder) };
    true
}

/// Writes the path of a file of a thread's folder in /proc. `name` ends in 0.
pub(super) fn task_path<'a>(into: &'a mut [u8; 64], tid: i32, name: &[u8]) -> &'a [u8] {
    let mut digits = [0_u8; 12];
    let mut first = digits.len();
    let mut rest = tid.unsigned_abs();
    loop {
        first -= 1;
        digits[first] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    let mut len = 0;
    for part in [&b"/proc/self/task/"[..], &digits[first..], name] {
        into[len..len + part.len()].copy_from_slice(part);
        len += part.len();
    }
    &into[..len]
}

/// Reads the beginning of a file. The path ends in 0. Allocates nothing.
pub(super) fn read_file(path: &[u8], into: &mut [u8]) -> Option<usize> {
    debug_assert_eq!(path.last(), Some(&0), "a C string");
    // SAFETY: a C string.
    let file = unsafe { libc::open(path.as_ptr().cast(), libc::O_RDONLY | libc::O_CLOEXEC) };
    if file < 0 {
        return None;
    }
    // SAFETY: the buffer is writable for its length.
    let read = unsafe { libc::read(file, into.as_mut_ptr().cast(), into.len()) };
    // SAFETY: ours, and not used any more.
    unsafe { libc::close(file) };
    usize::try_from(read).ok()
}
