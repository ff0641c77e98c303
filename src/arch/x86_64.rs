//! x86-64: see the contract in mod.rs.

use core::arch::asm;

#[cfg(feature = "backtrace")]
pub(crate) const SAVED_BYTES: usize = 24;
#[cfg(feature = "backtrace")]
pub(crate) const SAVED_PC: usize = 0;
#[cfg(feature = "backtrace")]
pub(crate) const SAVED_FP: usize = 16;

#[inline(always)]
pub(super) fn stack_pointer() -> usize {
    let sp: usize;
    // SAFETY: copies a register; touches neither memory, nor the stack, nor the flags.
    unsafe { asm!("mov {}, rsp", out(reg) sp, options(nomem, nostack, preserves_flags, pure)) };
    sp
}

#[cfg(feature = "backtrace")]
#[inline(always)]
pub(super) fn here() -> [usize; 3] {
    let (pc, sp, fp): (usize, usize, usize);
    // SAFETY: copies registers; touches neither memory, nor the stack, nor the flags.
    unsafe {
        asm!(
            "lea {0}, [rip]",
            "mov {1}, rsp",
            "mov {2}, rbp",
            out(reg) pc,
            out(reg) sp,
            out(reg) fp,
            options(nomem, nostack, preserves_flags),
        );
    }
    [pc, sp, fp]
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

/// rbx, rbp, r12 to r15: what a called function keeps for its caller (System V ABI).
pub(super) const CALLEE_SAVED: usize = 6;

#[inline(always)]
pub(super) fn spill_callee_saved(into: &mut [usize; CALLEE_SAVED]) {
    // SAFETY: writes the array and nothing else.
    unsafe {
        asm!(
            "mov [{0}], rbx",
            "mov [{0} + 8], rbp",
            "mov [{0} + 16], r12",
            "mov [{0} + 24], r13",
            "mov [{0} + 32], r14",
            "mov [{0} + 40], r15",
            in(reg) into.as_mut_ptr(),
            options(nostack, preserves_flags),
        );
    }
}

#[inline(always)]
pub(super) unsafe fn racy_load(address: usize) -> usize {
    let word: usize;
    // SAFETY: the caller's contract: the word is mapped. What it holds does not matter.
    unsafe {
        asm!("mov {0}, [{1}]", out(reg) word, in(reg) address, options(nostack, preserves_flags, readonly))
    };
    word
}

#[inline(always)]
pub(super) fn opaque(word: usize) -> usize {
    let mut word = word;
    // SAFETY: no instruction at all.
    unsafe { asm!("/* {0} */", inout(reg) word, options(nostack, preserves_flags)) };
    word
}

#[inline(always)]
pub(super) fn prefetch(address: usize) {
    // SAFETY: a hint; it faults at no address.
    unsafe { asm!("prefetcht0 [{0}]", in(reg) address, options(nostack, preserves_flags, readonly)) };
}

#[inline(always)]
pub(super) fn thread_pointer() -> usize {
    let pointer: usize;
    // SAFETY: the first word of the thread's control block holds its own address (the ABI of thread-local storage).
    unsafe { asm!("mov {}, fs:[0]", out(reg) pointer, options(nostack, preserves_flags, readonly)) };
    pointer
}
