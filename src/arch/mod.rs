//! What differs by processor and no crate gives us: reading the stack pointer, the spin hint, Valgrind's presence; for the collector: registers, a load that races, the thread
//! pointer.
//!
//! Contract: each target has one `imp` file with the functions listed here, in this order. No system call,
//! no memory access, no state. Called by `stack::geometry` (who am I?), by spin loops, and once by `heap`.
//!
//! The context switch itself is corosensei's; see `routine::slot`.

#[cfg(target_arch = "aarch64")]
#[path = "aarch64.rs"]
mod imp;
#[cfg(target_arch = "x86_64")]
#[path = "x86_64.rs"]
mod imp;

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("greenroutine runs on x86-64 and aarch64");

/// How much the switch saves on the stack, and how far into that are the address where the goroutine goes on and its frame pointer: corosensei's layout (`arch` there). For looking only;
/// `tests/dump.rs` fails if it changes.
#[cfg(feature = "backtrace")]
pub(crate) use imp::{SAVED_BYTES, SAVED_FP, SAVED_PC};

/// How far below the stack pointer a function that calls nobody may use the stack: the most of all targets.
pub(crate) const RED_ZONE: usize = 128;

/// The stack pointer of the caller.
///
/// The asm reads no memory, so the compiler may reuse an earlier reading. That is harmless here: the reading is
/// only ever masked down to the stack slot, and a frame never leaves its slot.
#[inline(always)]
pub(crate) fn stack_pointer() -> usize {
    imp::stack_pointer()
}

/// Whether the program runs under Valgrind, which checks the system's allocator and knows nothing of ours. A few instructions without effect elsewhere.
pub(crate) fn is_under_valgrind() -> bool {
    // Miri runs no assembly.
    !cfg!(miri) && imp::is_under_valgrind()
}

/// How many registers [`spill_callee_saved`] writes.
const CALLEE_SAVED: usize = imp::CALLEE_SAVED;

/// Writes the registers that a called function keeps for its caller: with them in memory, what the calling frames hold is all in memory.
#[inline(always)]
fn spill_callee_saved(into: &mut [usize; CALLEE_SAVED]) {
    if !cfg!(miri) {
        imp::spill_callee_saved(into);
    }
}

/// Calls `f` with an address in the stack from which on upwards lies all that the calling functions hold, in registers too.
#[inline(always)]
pub(crate) fn with_all_in_memory<T>(f: impl FnOnce(usize) -> T) -> T {
    let mut registers = [0; CALLEE_SAVED];
    spill_callee_saved(&mut registers);
    // The array's address escapes, so it stays where it is.
    let at = std::hint::black_box(&raw const registers) as usize;
    let result = f(at.min(stack_pointer()));
    std::hint::black_box(&registers);
    result
}

/// Where the caller is, for unwinding from there: program counter, stack pointer, frame pointer.
#[cfg(feature = "backtrace")]
#[inline(always)]
pub(crate) fn here() -> [usize; 3] {
    // Miri runs no assembly.
    if cfg!(miri) { [0; 3] } else { imp::here() }
}

/// Reads a word that others may write meanwhile: a load of the processor's, which is no data race for the compiler because the compiler does not know it.
///
/// # Safety
///
/// - The eight bytes at `address`, which is aligned to 8, are mapped readable.
#[inline(always)]
pub(crate) unsafe fn racy_load(address: usize) -> usize {
    // SAFETY: passed on.
    unsafe { imp::racy_load(address) }
}

/// The same word, but the compiler does not know: it has the word in a register here, has done all that comes before, and takes the result for a new one. What it points to counts
/// as read and written, and an address of a local as given away.
#[inline(always)]
pub(crate) fn opaque(word: usize) -> usize {
    // Miri runs no assembly.
    if cfg!(miri) { word } else { imp::opaque(word) }
}

/// Fetches the cache line of an address, which may be any.
#[inline(always)]
pub(crate) fn prefetch(address: usize) {
    imp::prefetch(address);
}

/// The calling thread's control block, beside which its thread-locals lie.
#[inline(always)]
pub(crate) fn thread_pointer() -> usize {
    imp::thread_pointer()
}

/// Tells the processor that this is a spin loop.
#[inline(always)]
pub(crate) fn spin_hint() {
    #[cfg(loom)]
    loom::hint::spin_loop();
    #[cfg(not(loom))]
    core::hint::spin_loop();
}
