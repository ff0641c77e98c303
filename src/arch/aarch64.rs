//! aarch64: see the contract in mod.rs.

use core::arch::asm;

#[inline(always)]
pub(super) fn stack_pointer() -> usize {
    let sp: usize;
    // SAFETY: copies a register; touches neither memory, nor the stack, nor the flags.
    unsafe { asm!("mov {}, sp", out(reg) sp, options(nomem, nostack, preserves_flags, pure)) };
    sp
}
