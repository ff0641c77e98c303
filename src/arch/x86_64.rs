//! x86-64: see the contract in mod.rs.

use core::arch::asm;

#[inline(always)]
pub(super) fn stack_pointer() -> usize {
    let sp: usize;
    // SAFETY: copies a register; touches neither memory, nor the stack, nor the flags.
    unsafe { asm!("mov {}, rsp", out(reg) sp, options(nomem, nostack, preserves_flags, pure)) };
    sp
}

#[inline(never)]
pub(super) fn is_under_valgrind() -> bool {
    // VG_USERREQ__RUNNING_ON_VALGRIND and five unused arguments (valgrind.h).
    let request: [u64; 6] = [0x1001, 0, 0, 0, 0, 0];
    let mut answer = 0_u64;
    // SAFETY: on a processor this rotates rdi by 128 bits, which is back to where it was, and exchanges rbx with itself; only the flags change. Valgrind
    // knows the sequence, reads `request` and writes `answer`.
    unsafe {
        asm!(
            "rol rdi, 3",
            "rol rdi, 13",
            "rol rdi, 61",
            "rol rdi, 51",
            "xchg rbx, rbx",
            in("rax") &raw const request,
            inout("rdx") answer,
            options(nostack, readonly),
        );
    }
    answer != 0
}
