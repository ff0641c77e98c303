//! The four ways in: `alloc`, `dealloc`, `alloc_zeroed`, `realloc`, as [`GlobalAlloc`] of [`Allocator`]. Calls `local` for the thread's record and `owner` for its magazines; `large` for
//! what has no class.
//!
//! The fast path of `alloc` is: the bin from size and alignment (one load), the thread's record (one load), count, address, count: no lock, no atomic read-modify-write, no access to the
//! block. That of `dealloc` is the same with a store. Both are functions of their own that are never inlined, because the thread-local's address must not be kept across a
//! goroutine's switch (`local`).
//!
//! Not for signal handlers, like every allocator but the async-signal-safe ones: a handler that interrupts a magazine's update would see it half made.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr;

use super::arena::Kind;
use super::class;
use super::local::{self, Slow};
use super::owner::Exhausted;
use super::{large, report, sample};

/// The crate's allocator. With the feature `gc` it is the program's global allocator already; by name it can be used where a program wraps its allocator.
///
/// It steps aside for the system's allocator under Miri and Valgrind, in sanitizer builds and those with `--cfg heap_aside`, with `GREENROUTINE_HEAP=system` in the environment, and
/// where the kernel refuses even a small reservation of address space.
#[derive(Clone, Copy, Debug, Default)]
pub struct Allocator;

// SAFETY: blocks are aligned to their class or granule (`class`), at least as long as asked for, and nobody else's until they are freed: a slot is in one place (`span`), a granule in
// one run (`pages`). Nothing here unwinds: the panics are debug assertions of the layer, and the tests run with them.
unsafe impl GlobalAlloc for Allocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        alloc(layout.size(), layout.align())
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise: `block` was made with this layout and is freed once.
        unsafe { dealloc(block, layout.size(), layout.align()) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        alloc_zeroed(layout)
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promise: `block` was made with this layout.
        unsafe { realloc(block, layout, size) }
    }
}

/// The alignment of blocks whose bin is in the table, at most.
const SMALL_ALIGN: usize = 8;

/// Whether a layout has its bin in the table.
#[inline(always)]
fn is_small(size: usize, align: usize) -> bool {
    size <= class::TABLE_MAX && align <= SMALL_ALIGN
}

/// The bin of a layout; none if it needs a run of its own.
#[inline(always)]
fn bin_of(size: usize, align: usize) -> Option<usize> {
    class::of(size, align).map(|class| class::bin(class, align))
}

#[inline(never)]
fn alloc(size: usize, align: usize) -> *mut u8 {
    if is_small(size, align) {
        let bin = class::small_bin(size, align);
        return match local::owner().pop(bin) {
            Some(block) => handed_out(block, bin),
            // The bin says it all: what is kept for the slow path costs the fast one.
            None => alloc_slow(bin, SMALL_ALIGN),
        };
    }
    alloc_other(size, align)
}

/// As [`alloc`], for what is not in the table.
#[inline(never)]
fn alloc_other(size: usize, align: usize) -> *mut u8 {
    let Some(bin) = bin_of(size, align) else { return alloc_large(size, align, false, false) };
    match local::owner().pop(bin) {
        Some(block) => handed_out(block, bin),
        None => alloc_slow(bin, align),
    }
}

/// A block goes to the program.
#[inline(always)]
fn handed_out(block: *mut u8, bin: usize) -> *mut u8 {
    #[cfg(debug_assertions)]
    super::check::handed_out(block, bin);
    let _ = bin;
    block
}

#[cold]
#[inline(never)]
fn alloc_slow(bin: usize, align: usize) -> *mut u8 {
    let size = class::SIZES[bin / 2] as usize;
    match local::with_slow(|owner| owner.take_slow(bin)) {
        Slow::Done(Ok(taken)) => handed_out(sample::seen(taken, size), bin),
        Slow::Done(Err(exhausted)) => refuse(exhausted),
        Slow::Aside => system_alloc(size, align),
        Slow::NoRecord => refuse(Exhausted { bytes: size, errno: crate::sys::limits::ENOMEM }),
    }
}

#[cold]
fn refuse(what: Exhausted) -> *mut u8 {
    report::exhausted(what);
    ptr::null_mut()
}

#[cold]
fn system_alloc(size: usize, align: usize) -> *mut u8 {
    let Ok(layout) = Layout::from_size_align(size, align) else { return ptr::null_mut() };
    // SAFETY: GlobalAlloc's caller has promised that the size is not 0.
    unsafe { System.alloc(layout) }
}

#[inline(never)]
fn alloc_large(size: usize, align: usize, zeroed: bool, grows: bool) -> *mut u8 {
    if local::is_aside() {
        return system_alloc(size, align);
    }
    match large::alloc(Kind::manual_aligned(align), size, align, zeroed, grows) {
        Ok(block) => {
            sample::large(block, size);
            block
        }
        Err(exhausted) => refuse(exhausted),
    }
}

/// Frees a block.
///
/// # Safety
///
/// - `block` was made by this allocator with this size and alignment, and is not used any more.
#[inline(never)]
unsafe fn dealloc(block: *mut u8, size: usize, align: usize) {
    if is_small(size, align) {
        let bin = class::small_bin(size, align);
        taken_back(block, bin);
        if !local::owner().push(bin, block) {
            // SAFETY: passed on.
            unsafe { dealloc_slow(bin, block, SMALL_ALIGN) };
        }
        return;
    }
    // SAFETY: passed on.
    unsafe { dealloc_other(block, size, align) };
}

/// As [`dealloc`], for what is not in the table.
///
/// # Safety
///
/// - As for [`dealloc`].
#[inline(never)]
unsafe fn dealloc_other(block: *mut u8, size: usize, align: usize) {
    let Some(bin) = bin_of(size, align) else {
        // SAFETY: passed on.
        return unsafe { dealloc_large(block, size, align) };
    };
    taken_back(block, bin);
    if !local::owner().push(bin, block) {
        // SAFETY: passed on.
        unsafe { dealloc_slow(bin, block, align) };
    }
}

/// A block comes back.
#[inline(always)]
fn taken_back(block: *mut u8, bin: usize) {
    #[cfg(debug_assertions)]
    if !local::is_aside() {
        super::check::taken_back(block, bin);
    }
    let _ = (block, bin);
}

/// Frees a block that the magazine does not take.
///
/// # Safety
///
/// - As for [`dealloc`].
#[cold]
#[inline(never)]
unsafe fn dealloc_slow(bin: usize, block: *mut u8, align: usize) {
    match local::with_slow(|owner| owner.put_slow(bin, block)) {
        Slow::Done(()) => {}
        // SAFETY: passed on; with the heap aside the block is the system's.
        Slow::Aside => unsafe { system_dealloc(block, class::SIZES[bin / 2] as usize, align) },
        // The block is lost, which is better than anything else that can be done without memory for a record.
        Slow::NoRecord => {}
    }
}

/// Frees a block of the system's.
///
/// # Safety
///
/// - `block` was made by [`system_alloc`] for this size and alignment (both rounded up alike), and is not used any more.
#[cold]
unsafe fn system_dealloc(block: *mut u8, size: usize, align: usize) {
    if let Ok(layout) = Layout::from_size_align(size, align) {
        // SAFETY: passed on.
        unsafe { System.dealloc(block, layout) };
    }
}

/// Frees a block that has no class.
///
/// # Safety
///
/// - As for [`dealloc`].
#[inline(never)]
unsafe fn dealloc_large(block: *mut u8, size: usize, align: usize) {
    if local::is_aside() {
        // SAFETY: passed on; with the heap aside the block is the system's.
        return unsafe { system_dealloc(block, size, align) };
    }
    large::dealloc(block);
    local::tidy();
}

#[inline(never)]
fn alloc_zeroed(layout: Layout) -> *mut u8 {
    if local::is_aside() {
        // SAFETY: GlobalAlloc's caller has promised that the size is not 0.
        return unsafe { System.alloc_zeroed(layout) };
    }
    let Some(bin) = bin_of(layout.size(), layout.align()) else {
        return alloc_large(layout.size(), layout.align(), true, false);
    };
    // Less than two pages are touched sooner than they are looked for.
    if bin / 2 >= class::FIRST_MEDIUM
        && let Slow::Done(Some(taken)) = local::with_slow(|owner| owner.take_zeroed(bin))
    {
        return handed_out(sample::seen(taken, class::SIZES[bin / 2] as usize), bin);
    }
    let block = alloc(layout.size(), layout.align());
    if !block.is_null() {
        // SAFETY: a fresh block of that size.
        unsafe { block.write_bytes(0, layout.size()) };
    }
    block
}

/// Changes a block's size, moving it if need be; null if there is no memory, with the block as it was.
///
/// # Safety
///
/// - `block` was made by this allocator with this layout.
#[inline(never)]
unsafe fn realloc(block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
    if local::is_aside() {
        // SAFETY: passed on; with the heap aside the block is the system's.
        return unsafe { System.realloc(block, layout, size) };
    }
    let align = layout.align();
    let (old, new) = (bin_of(layout.size(), align), bin_of(size, align));
    if old == new {
        match old {
            #[cfg(debug_assertions)]
            Some(bin) => {
                super::check::kept(block, bin);
                return block;
            }
            #[cfg(not(debug_assertions))]
            Some(_) => return block,
            None if large::resize(block, size) => {
                // As if it had moved: the old size is freed, the new one allocated.
                sample::returned(block as usize);
                sample::large(block, size);
                return block;
            }
            None => {}
        }
    }
    let moved = if new.is_none() {
        alloc_large(size, align, false, size > layout.size())
    } else {
        alloc(size, align)
    };
    if !moved.is_null() {
        // SAFETY: the old block has `layout.size()` bytes, the new one `size`, and they are two blocks.
        unsafe { ptr::copy_nonoverlapping(block, moved, layout.size().min(size)) };
        // SAFETY: the caller's promise; its content has moved.
        unsafe { dealloc(block, layout.size(), align) };
    }
    moved
}
