//! aarch64: see the contract in mod.rs.

use core::arch::asm;

#[inline(always)]
pub(super) fn stack_pointer() -> usize {
    let sp: usize;
    // SAFETY: copies a register; touches neither memory, nor the stack, nor the flags.
    unsafe { asm!("mov {}, sp", out(reg) sp, options(nomem, nostack, preserves_flags, pure)) };
    sp
}

#[inline(never)]
pub(super) fn is_under_valgrind() -> bool {
    // VG_USERREQ__RUNNING_ON_VALGRIND and five unused arguments (valgrind.h).
    let request: [u64; 6] = [0x1001, 0, 0, 0, 0, 0];
    let mut answer = 0_u64;
    // SAFETY: on a processor this rotates x12 by 128 bits, which is back to where it was, and moves x10 to itself. Valgrind knows the sequence, reads `request` and
    // writes `answer`.
    unsafe {
        asm!(
            "ror x12, x12, #3",
            "ror x12, x12, #13",
            "ror x12, x12, #51",
            "ror x12, x12, #61",
            "orr x10, x10, x10",
            inout("x3") answer,
            in("x4") &raw const request,
            options(nostack, readonly),
        );
    }
    answer != 0
}
