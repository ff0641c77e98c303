//! [`Pile`]: the marker's stack of words, in memory of its own, because the heap's locks are in the collector's hand while it grows.

use crate::sys::mem;

/// Words at first: 1 MiB.
const FIRST: usize = 1 << 17;

/// See the file's documentation.
pub(super) struct Pile {
    /// Memory for `room` words, of which `len` are in use; 0 if there is none.
    base: usize,
    room: usize,
    len: usize,
    has_overflown: bool,
}

impl Pile {
    /// Empty, without memory.
    pub(super) const fn new() -> Self {
        Self { base: 0, room: 0, len: 0, has_overflown: false }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether a word was lost because the kernel refused memory.
    pub(super) fn has_overflown(&self) -> bool {
        self.has_overflown
    }

    /// Words are lost no more: the caller starts over.
    pub(super) fn clear(&mut self) {
        self.len = 0;
        self.has_overflown = false;
    }

    #[inline(always)]
    pub(super) fn push(&mut self, word: usize) {
        if self.len == self.room && !self.grow() {
            self.has_overflown = true;
            return;
        }
        let place = (self.base as *mut usize).wrapping_add(self.len);
        // SAFETY: below `room`, so in this pile's memory.
        unsafe { place.write(word) };
        self.len += 1;
    }

    #[inline(always)]
    pub(super) fn pop(&mut self) -> Option<usize> {
        self.len = self.len.checked_sub(1)?;
        let place = (self.base as *const usize).wrapping_add(self.len);
        // SAFETY: below the old `len`, so written by `push`.
        Some(unsafe { place.read() })
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self) -> bool {
        let room = (self.room * 2).max(FIRST);
        let Ok(base) = mem::map(room * size_of::<usize>()) else { return false };
        if self.base != 0 {
            // SAFETY: two mappings of this pile, the new one the larger.
            unsafe { std::ptr::copy_nonoverlapping(self.base as *const usize, base as *mut usize, self.len) };
            mem::unmap(self.base, self.room * size_of::<usize>());
        }
        (self.base, self.room) = (base, room);
        true
    }

    /// Gives most of a large pile's memory back, between cycles.
    pub(super) fn trim(&mut self) {
        if self.room > FIRST {
            mem::unmap(self.base, self.room * size_of::<usize>());
            *self = Self::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_in_first_out_across_growth() {
        let mut pile = Pile::new();
        let count = FIRST * 3;
        (0..count).for_each(|word| pile.push(word));
        assert!((0..count).rev().all(|word| pile.pop() == Some(word)));
        assert_eq!(pile.pop(), None);
        assert!(!pile.has_overflown());
        pile.trim();
        pile.push(1);
        assert_eq!(pile.pop(), Some(1));
        pile.trim();
    }
}
