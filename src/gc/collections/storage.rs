//! [`Collected`]: the collected heap as an allocator for the vectors and tables below the collections. What they give back is left to the sweep: somebody may still have a stale word that points to it, and while
//! marking runs beside the program a slot that is free and marked would be neither.

use std::alloc::Layout;
use std::marker::PhantomData;
use std::ptr::NonNull;

use allocator_api2::alloc::{AllocError, Allocator};

use crate::gc::alloc;

/// Memory for values of `T`, which says whether the marker reads it.
pub struct Collected<T>(PhantomData<fn() -> T>);

impl<T: 'static> Collected<T> {
    pub(super) const fn new() -> Self {
        const { alloc::assert_no_destructor::<T>() };
        Self(PhantomData)
    }
}

impl<T> Clone for Collected<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Collected<T> {}

impl<T: 'static> Default for Collected<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// A block whose bytes from `written` on read as zero, if the marker reads it.
fn block<T: 'static>(layout: Layout, written: usize) -> Result<NonNull<[u8]>, AllocError> {
    if layout.size() == 0 {
        return Ok(NonNull::slice_from_raw_parts(layout.dangling_ptr(), 0));
    }
    let scan = alloc::is_scanned::<T>();
    let start = alloc::raw(layout, scan);
    if scan {
        // SAFETY: inside the block, whose size is at least `written`.
        let rest = unsafe { start.add(written) };
        // SAFETY: as above, and the block is nobody else's.
        unsafe { rest.write_bytes(0, layout.size() - written) };
    }
    Ok(NonNull::slice_from_raw_parts(start, layout.size()))
}

// SAFETY: blocks are as large and aligned as asked for, and stay as long as a pointer to them, or into them, can be reached: the collection that owns one has it, and is where the collector looks, as `Gc` is.
unsafe impl<T: 'static> Allocator for Collected<T> {
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        block::<T>(layout, 0)
    }

    unsafe fn deallocate(&self, _block: NonNull<u8>, _layout: Layout) {}

    unsafe fn grow(&self, old: NonNull<u8>, from: Layout, to: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let new = block::<T>(to, from.size())?;
        // SAFETY: the caller's promise: `old` is a block of that size, and the new one is no smaller and another.
        unsafe { old.copy_to_nonoverlapping(new.cast(), from.size()) };
        Ok(new)
    }
}
