//! Memory from the kernel: reserve address space, make parts usable, guard parts, give pages back.
//!
//! All functions take page-aligned addresses and return [`OsError`] when the kernel refuses. Only `stack`, `heap` and
//! `base::meta` call them. Guard pages come in two forms, chosen once by [`guard_mode`]:
//!
//! | mode | a guard is | costs |
//! | --- | --- | --- |
//! | `Madvise` (Linux 6.13+) | a marker in the page table | 0.4 µs, no memory mapping |
//! | `Mprotect` | an inaccessible mapping | 1 µs and two of `vm.max_map_count` mappings per stack |
//!
//! Measured on Linux 6.18: with markers a million guarded stacks use 25 mappings; with mprotect the 32,753rd is refused.

use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::OsError;

/// The page size this crate is built for; [`check_page_size`] refuses to start on another.
pub(crate) const PAGE: usize = 4096;

// Linux 6.13; libc does not name them on every target yet.
const MADV_GUARD_INSTALL: i32 = 102;
const MADV_GUARD_REMOVE: i32 = 103;

/// How guard pages are made on this kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GuardMode {
    /// Page-table markers: usable memory is mapped readable and writable throughout.
    Madvise,
    /// Protection: everything is inaccessible until it is committed.
    Mprotect,
}

/// Which guards this kernel has, found by installing one.
pub(crate) fn guard_mode() -> GuardMode {
    static MODE: OnceLock<GuardMode> = OnceLock::new();
    *MODE.get_or_init(|| {
        // The compiler leaves out the probes of large frames where these sanitizers are on: nothing below the open stack may be accessible, or such a frame steps over its guard.
        if cfg!(any(force_mprotect, asan, tsan)) {
            return GuardMode::Mprotect;
        }
        // Without overcommit a whole writable region would be charged at once.
        if super::limits::Limits::read().overcommit == Some(2) {
            return GuardMode::Mprotect;
        }
        let Ok(page) = reserve(PAGE) else { return GuardMode::Mprotect };
        let has = protect_rw(page, PAGE).is_ok() && makes_guards(page, guard_install);
        unmap(page, PAGE);
        if has { GuardMode::Madvise } else { GuardMode::Mprotect }
    })
}

/// Whether `install` makes guards, tried on an open page: that it says so is not enough. qemu's user emulation takes every advice that it does not know for a hint and answers 0. A guard
/// empties its page, which shows when it is gone again.
fn makes_guards(page: usize, install: fn(usize, usize) -> Result<(), OsError>) -> bool {
    let word = ptr::with_exposed_provenance::<AtomicUsize>(page);
    // SAFETY: the caller's page, open and aligned; nobody else has its address.
    let word = unsafe { &*word };
    word.store(1, Ordering::Relaxed);
    install(page, PAGE).and_then(|()| guard_remove(page, PAGE)).is_ok() && word.load(Ordering::Relaxed) == 0
}

/// Whether the system's page size is the one that this crate's layout assumes.
pub(crate) fn check_page_size() -> Result<(), usize> {
    // SAFETY: sysconf has no preconditions.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
    if size == PAGE { Ok(()) } else { Err(size) }
}

/// Reserves `bytes` of inaccessible address space, which costs no memory and is not counted by overcommit.
pub(crate) fn reserve(bytes: usize) -> Result<usize, OsError> {
    reserve_at(0, bytes)
}

/// As [`reserve`], at `hint` if that is free.
pub(crate) fn reserve_at(hint: usize, bytes: usize) -> Result<usize, OsError> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a fresh anonymous mapping replaces nothing: the address is a hint (no MAP_FIXED).
    let at = unsafe { libc::mmap(hint as *mut libc::c_void, bytes, libc::PROT_NONE, flags, -1, 0) };
    if at == libc::MAP_FAILED { Err(OsError::last("mmap", bytes)) } else { Ok(at as usize) }
}

/// A fresh readable and writable mapping, zeroed, never merged with the reservation.
pub(crate) fn map(bytes: usize) -> Result<usize, OsError> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    let prot = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a fresh anonymous mapping at an address of the kernel's choice replaces nothing.
    let at = unsafe { libc::mmap(ptr::null_mut(), bytes, prot, flags, -1, 0) };
    if at == libc::MAP_FAILED { Err(OsError::last("mmap", bytes)) } else { Ok(at as usize) }
}

/// A fresh mapping of that many words, zeroed, that is never given back; none if there is no memory.
pub(crate) fn map_words(words: usize) -> Option<&'static [AtomicU64]> {
    let at = map((words * size_of::<AtomicU64>()).next_multiple_of(PAGE)).ok()?;
    // SAFETY: a mapping of ours of that size, readable and writable, that is never unmapped; zeroed atomics, and nothing but atomics is ever made of it.
    Some(unsafe { std::slice::from_raw_parts(at as *const AtomicU64, words) })
}

/// Gives a mapping made by [`reserve`] or [`map`] back; the caller has no pointer into it any more.
pub(crate) fn unmap(at: usize, bytes: usize) {
    // SAFETY: only called by this crate with ranges of its own mappings, which nothing points into any more.
    let result = unsafe { libc::munmap(at as *mut libc::c_void, bytes) };
    debug_assert_eq!(result, 0, "munmap of our own mapping");
}

/// Makes `[at, at + bytes)` of a reservation readable and writable.
pub(crate) fn protect_rw(at: usize, bytes: usize) -> Result<(), OsError> {
    protect(at, bytes, libc::PROT_READ | libc::PROT_WRITE)
}

/// Makes `[at, at + bytes)` of a reservation inaccessible.
pub(crate) fn protect_none(at: usize, bytes: usize) -> Result<(), OsError> {
    protect(at, bytes, libc::PROT_NONE)
}

fn protect(at: usize, bytes: usize, prot: i32) -> Result<(), OsError> {
    // SAFETY: the range belongs to a reservation of this crate; nothing outside the crate relies on its protection.
    match unsafe { libc::mprotect(at as *mut libc::c_void, bytes, prot) } {
        0 => Ok(()),
        _ => Err(OsError::last("mprotect", bytes)),
    }
}

fn advise(at: usize, bytes: usize, advice: i32, call: &'static str) -> Result<(), OsError> {
    // SAFETY: the range belongs to a reservation of this crate, whose contents the callers have given up.
    match unsafe { libc::madvise(at as *mut libc::c_void, bytes, advice) } {
        0 => Ok(()),
        _ => Err(OsError::last(call, bytes)),
    }
}

/// Marks the range as guard: any access faults. What it held is gone.
pub(crate) fn guard_install(at: usize, bytes: usize) -> Result<(), OsError> {
    advise(at, bytes, MADV_GUARD_INSTALL, "madvise(MADV_GUARD_INSTALL)")
}

/// Takes guard markers away from the range; ordinary pages in it stay as they are.
pub(crate) fn guard_remove(at: usize, bytes: usize) -> Result<(), OsError> {
    advise(at, bytes, MADV_GUARD_REMOVE, "madvise(MADV_GUARD_REMOVE)")
}

/// Gives the pages of the range back; it reads as zero afterwards. Guard markers stay.
pub(crate) fn discard(at: usize, bytes: usize) -> Result<(), OsError> {
    advise(at, bytes, libc::MADV_DONTNEED, "madvise(MADV_DONTNEED)")
}

/// Asks for small pages: a stack must not become two megabytes because its top was touched.
pub(crate) fn no_huge_pages(at: usize, bytes: usize) {
    // A kernel without huge pages refuses, and has what was asked for.
    let _ = advise(at, bytes, libc::MADV_NOHUGEPAGE, "madvise(MADV_NOHUGEPAGE)");
}

/// Copies memory of this process, if it is there: the kernel reads it, so that nobody faults and whoever writes it meanwhile races with nobody. False if not all could be read.
pub(crate) fn read_own(address: usize, into: &mut [u8]) -> bool {
    let from = libc::iovec { iov_base: ptr::without_provenance_mut(address), iov_len: into.len() };
    let to = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    // SAFETY: getpid takes nothing and cannot fail.
    let me = unsafe { libc::getpid() };
    // SAFETY: `to` is writable for the duration of the call, and the kernel checks `from`.
    let read = unsafe { libc::process_vm_readv(me, &to, 1, &from, 1, 0) };
    read == into.len() as isize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_that_only_says_that_it_made_a_guard_is_not_believed() {
        let page = map(PAGE).expect("a page");
        assert!(!makes_guards(page, |_, _| Ok(())));
        assert!(!makes_guards(page, |at, bytes| advise(at, bytes, -1, "madvise(-1)")));
        unmap(page, PAGE);
    }

    #[test]
    fn memory_that_is_not_there_is_not_read() {
        let mut buffer = [0_u8; 16];
        let here = [7_u8; 16];
        assert!(read_own(here.as_ptr() as usize, &mut buffer));
        assert_eq!(buffer, here);
        assert!(!read_own(PAGE, &mut buffer));
    }
}
