//! [`Words`]: words that grow in memory of their own, because the heap's locks are in the collector's hand while it marks or searches.

use crate::sys::mem;

/// Words, as many as the kernel has memory for; `FIRST` at first.
pub(super) struct Words<const FIRST: usize> {
    /// Memory for `room` words, of which `len` are in use; 0 if there is none.
    base: usize,
    room: usize,
    len: usize,
}

impl<const FIRST: usize> Words<FIRST> {
    /// None, without memory.
    pub(super) const fn new() -> Self {
        Self { base: 0, room: 0, len: 0 }
    }

    /// That many, all 0. None if there is no memory.
    pub(super) fn zeroed(words: usize) -> Option<Self> {
        let base = mem::map(words * size_of::<usize>()).ok()?;
        Some(Self { base, room: words, len: words })
    }

    /// How many are in use.
    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Forgets them, and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.len = 0;
    }

    pub(super) fn get(&self, at: usize) -> usize {
        assert!(at < self.len, "within the words that were written");
        let place = (self.base as *const usize).wrapping_add(at);
        // SAFETY: below `len`, so in this mapping, and zero or written.
        unsafe { place.read() }
    }

    pub(super) fn set(&mut self, at: usize, word: usize) {
        assert!(at < self.len, "within the words that are in use");
        let place = (self.base as *mut usize).wrapping_add(at);
        // SAFETY: below `len`, so in this mapping.
        unsafe { place.write(word) };
    }

    /// False if there is no memory.
    #[inline(always)]
    pub(super) fn push(&mut self, word: usize) -> bool {
        if self.len == self.room && !self.grow() {
            return false;
        }
        let place = (self.base as *mut usize).wrapping_add(self.len);
        // SAFETY: below `room`, so in this mapping.
        unsafe { place.write(word) };
        self.len += 1;
        true
    }

    #[inline(always)]
    pub(super) fn pop(&mut self) -> Option<usize> {
        self.len = self.len.checked_sub(1)?;
        let place = (self.base as *const usize).wrapping_add(self.len);
        // SAFETY: below the old `len`, so zero or written.
        Some(unsafe { place.read() })
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self) -> bool {
        let Some(mut larger) = Self::zeroed((self.room * 2).max(FIRST)) else { return false };
        if self.base != 0 {
            // SAFETY: two mappings of this kind, the new one the larger.
            unsafe {
                std::ptr::copy_nonoverlapping(self.base as *const usize, larger.base as *mut usize, self.len);
            }
        }
        larger.len = self.len;
        *self = larger;
        true
    }

    /// Gives the memory back if it is more than at first.
    pub(super) fn trim(&mut self) {
        if self.room > FIRST {
            *self = Self::new();
        }
    }
}

impl<const FIRST: usize> Drop for Words<FIRST> {
    fn drop(&mut self) {
        if self.base != 0 {
            mem::unmap(self.base, self.room * size_of::<usize>());
        }
    }
}
