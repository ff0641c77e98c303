//! Blocks of one allocator, owned. The only unsafe code of the allocator workloads: what they do with memory goes through here.

#![expect(unsafe_code, reason = "allocators are called directly, several in one program")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::marker::PhantomData;
use std::ptr::NonNull;

/// An allocator that is measured.
pub(super) trait Subject: Send + Sync + 'static {
    type Allocator: GlobalAlloc + Sync + 'static;
    const ALLOCATOR: &'static Self::Allocator;
}

/// The crate's.
pub(super) struct Ours;
/// The system's.
pub(super) struct Libc;
/// mimalloc.
pub(super) struct Mimalloc;

impl Subject for Ours {
    type Allocator = greenroutine::heap::Allocator;
    const ALLOCATOR: &'static Self::Allocator = &greenroutine::heap::Allocator;
}

impl Subject for Libc {
    type Allocator = System;
    const ALLOCATOR: &'static Self::Allocator = &System;
}

impl Subject for Mimalloc {
    type Allocator = mimalloc::MiMalloc;
    const ALLOCATOR: &'static Self::Allocator = &mimalloc::MiMalloc;
}

/// A block, freed with its value. Its first byte is written to when it is made: nobody allocates what he does not use.
pub(super) struct Block<S: Subject> {
    at: NonNull<u8>,
    size: usize,
    subject: PhantomData<S>,
}

// SAFETY: the block is owned, is plain bytes, and every allocator frees blocks of other threads.
unsafe impl<S: Subject> Send for Block<S> {}

impl<S: Subject> Block<S> {
    /// Pointers' alignment: what most Rust values have.
    fn layout(size: usize) -> Layout {
        Layout::from_size_align(size, 8).expect("workloads ask for sizes that exist")
    }

    /// A block of `size` bytes, not 0.
    #[inline]
    pub(super) fn new(size: usize) -> Self {
        let layout = Self::layout(size);
        // SAFETY: the size is not 0.
        let at = unsafe { S::ALLOCATOR.alloc(layout) };
        let at = NonNull::new(at).unwrap_or_else(|| std::alloc::handle_alloc_error(layout));
        // SAFETY: the block has at least one byte and is ours.
        unsafe { at.as_ptr().write(size as u8) };
        Self { at, size, subject: PhantomData }
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Writes to all bytes from `from` on.
    pub(super) fn fill(&mut self, from: usize) {
        let from = from.min(self.size);
        // SAFETY: at most one past the block's end.
        let start = unsafe { self.at.as_ptr().add(from) };
        // SAFETY: from there to the end of the block, which is ours.
        unsafe { start.write_bytes(7, self.size - from) };
    }

    /// The first byte.
    #[inline]
    pub(super) fn read(&self) -> u8 {
        // SAFETY: the block has at least one byte, which `new` wrote.
        unsafe { self.at.as_ptr().read() }
    }

    /// Makes the block larger or smaller; it may move.
    pub(super) fn resize(&mut self, size: usize) {
        // SAFETY: the block is of this allocator with this layout, and `size` is not 0.
        let at = unsafe { S::ALLOCATOR.realloc(self.at.as_ptr(), Self::layout(self.size), size) };
        self.at = NonNull::new(at).unwrap_or_else(|| std::alloc::handle_alloc_error(Self::layout(size)));
        self.size = size;
    }
}

impl<S: Subject> Drop for Block<S> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the block is of this allocator with this layout, and not used any more.
        unsafe { S::ALLOCATOR.dealloc(self.at.as_ptr(), Self::layout(self.size)) };
    }
}
