//! [`Collected`]: the collected heap as an allocator for the vectors and tables below the collections. What they give back is used again at once where that is easy (`heap::collected::give_back`), and is else left to
//! the sweep; and so is all that belongs to a collection that is not needed any more, because it has no destructor.

use std::alloc::Layout;
use std::marker::PhantomData;
use std::ptr::NonNull;

use allocator_api2::alloc::{AllocError, Allocator};

use crate::gc::alloc;

/// Memory for values of `T` and `U`, which say whether the marker reads it. (A pair of them would not: of types that are made of others nothing is known.)
pub struct Collected<T, U = ()>(PhantomData<fn() -> (T, U)>);

impl<T: 'static, U: 'static> Collected<T, U> {
    pub(super) const fn new() -> Self {
        const { alloc::assert_no_destructor::<(T, U)>() };
        Self(PhantomData)
    }

    #[inline(always)]
    fn is_scanned() -> bool {
        alloc::is_scanned::<T>() || alloc::is_scanned::<U>()
    }
}

impl<T, U> Clone for Collected<T, U> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T, U> Copy for Collected<T, U> {}

impl<T: 'static, U: 'static> Default for Collected<T, U> {
    fn default() -> Self {
        Self::new()
    }
}

/// A block whose bytes from `written` on read as zero, if the marker reads it.
fn block(layout: Layout, written: usize, scan: bool) -> Result<NonNull<[u8]>, AllocError> {
    if layout.size() == 0 {
        return Ok(NonNull::slice_from_raw_parts(layout.dangling_ptr(), 0));
    }
    let start = alloc::raw(layout, scan);
    zero_from(start, written, layout.size(), scan);
    Ok(NonNull::slice_from_raw_parts(start, layout.size()))
}

/// Zeroes the end of a block of `size` bytes, if the marker reads it.
fn zero_from(start: NonNull<u8>, written: usize, size: usize, scan: bool) {
    if scan {
        // SAFETY: inside the block, whose size is at least `written`.
        let rest = unsafe { start.add(written) };
        // SAFETY: as above, and the block is nobody else's.
        unsafe { rest.write_bytes(0, size - written) };
    }
}

// SAFETY: blocks are as large and aligned as asked for, and stay as long as a pointer to them, or into them, can be reached: the collection that owns one has it, and is where the collector looks, as `Gc` is.
unsafe impl<T: 'static, U: 'static> Allocator for Collected<T, U> {
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        block(layout, 0, Self::is_scanned())
    }

    #[inline]
    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        if layout.size() > 0 {
            // SAFETY: the caller's promise: a block of that layout, which nobody uses any more.
            unsafe { alloc::give_back(block, layout, Self::is_scanned()) };
        }
    }

    unsafe fn grow(&self, old: NonNull<u8>, from: Layout, to: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let scan = Self::is_scanned();
        if from.align() == to.align() && to.size() > from.size() {
            // SAFETY: the caller's promise: a block of that layout.
            let is_grown = unsafe { alloc::grow(old, from, to.size(), scan) };
            if is_grown {
                zero_from(old, from.size(), to.size(), scan);
                return Ok(NonNull::slice_from_raw_parts(old, to.size()));
            }
        }
        let new = block(to, from.size(), scan)?;
        // SAFETY: the caller's promise: `old` is a block of that size, and the new one is no smaller and another.
        unsafe { old.copy_to_nonoverlapping(new.cast(), from.size()) };
        // SAFETY: as above, and nobody uses it any more.
        unsafe { self.deallocate(old, from) };
        Ok(new)
    }
}
