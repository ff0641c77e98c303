//! aarch64: see the contract in mod.rs.

use core::arch::asm;

#[cfg(feature = "backtrace")]
pub(crate) const SAVED_BYTES: usize = 32;
#[cfg(feature = "backtrace")]
pub(crate) const SAVED_PC: usize = 16;
#[cfg(feature = "backtrace")]
pub(crate) const SAVED_FP: usize = 8;

#[inline(always)]
pub(super) fn stack_pointer() -> usize {
    let sp: usize;
    // SAFETY: copies a register; touches neither memory, nor the stack, nor the flags.
    unsafe { asm!("mov {}, sp", out(reg) sp, options(nomem, nostack, preserves_flags, pure)) };
    sp
}

#[cfg(feature = "backtrace")]
#[inline(always)]
pub(super) fn here() -> [usize; 3] {
    let (pc, sp, fp): (usize, usize, usize);
    // SAFETY: copies registers; touches neither memory, nor the stack, nor the flags.
    unsafe {
        asm!(
            "adr {0}, .",
            "mov {1}, sp",
            "mov {2}, x29",
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

/// x19 to x30: what a called function keeps for its caller (AAPCS64), and the return address.
pub(super) const CALLEE_SAVED: usize = 12;

#[inline(always)]
pub(super) fn spill_callee_saved(into: &mut [usize; CALLEE_SAVED]) {
    // SAFETY: writes the array and nothing else.
    unsafe {
        asm!(
            "stp x19, x20, [{0}]",
            "stp x21, x22, [{0}, #16]",
            "stp x23, x24, [{0}, #32]",
            "stp x25, x26, [{0}, #48]",
            "stp x27, x28, [{0}, #64]",
            "stp x29, x30, [{0}, #80]",
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
        asm!("ldr {0}, [{1}]", out(reg) word, in(reg) address, options(nostack, preserves_flags, readonly))
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
    unsafe { asm!("prfm pldl1keep, [{0}]", in(reg) address, options(nostack, preserves_flags, readonly)) };
}

#[inline(always)]
pub(super) fn thread_pointer() -> usize {
    let pointer: usize;
    // SAFETY: copies a register.
    unsafe { asm!("mrs {}, tpidr_el0", out(reg) pointer, options(nomem, nostack, preserves_flags)) };
    pointer
}
