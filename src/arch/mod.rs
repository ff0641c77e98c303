//! What differs by processor and no crate gives us: reading the stack pointer, the spin hint, Valgrind's presence.
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

/// Tells the processor that this is a spin loop.
#[inline(always)]
pub(crate) fn spin_hint() {
    #[cfg(loom)]
    loom::hint::spin_loop();
    #[cfg(not(loom))]
    core::hint::spin_loop();
}
