//! [`Found`]: what a search has found, each once and in the order of finding, with the place that led there. In memory of its own, because the heap's locks are in the collector's hand while
//! it grows. Called by `search`.

use crate::sys::mem;

/// Words at first: 64 KiB.
const FIRST: usize = 1 << 13;

/// Words, as many as the kernel has memory for.
struct Words {
    /// Memory for `room` words, of which `len` are in use; 0 if there is none.
    base: usize,
    room: usize,
    len: usize,
}

impl Words {
    const fn new() -> Self {
        Self { base: 0, room: 0, len: 0 }
    }

    fn get(&self, at: usize) -> usize {
        assert!(at < self.len, "within the words that were written");
        let place = (self.base as *const usize).wrapping_add(at);
        // SAFETY: below `len`, so in this mapping, and zero or written.
        unsafe { place.read() }
    }

    fn set(&mut self, at: usize, word: usize) {
        assert!(at < self.len, "within the words that are in use");
        let place = (self.base as *mut usize).wrapping_add(at);
        // SAFETY: below `len`, so in this mapping.
        unsafe { place.write(word) };
    }

    /// False if there is no memory.
    fn push(&mut self, word: usize) -> bool {
        if self.len == self.room {
            let Some(mut larger) = Self::zeroed((self.room * 2).max(FIRST)) else { return false };
            (0..self.len).for_each(|at| larger.set(at, self.get(at)));
            larger.len = self.len;
            *self = larger;
        }
        self.len += 1;
        self.set(self.len - 1, word);
        true
    }

    /// That many words, all 0.
    fn zeroed(words: usize) -> Option<Self> {
        let base = mem::map(words * size_of::<usize>()).ok()?;
        Some(Self { base, room: words, len: words })
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        if self.base != 0 {
            mem::unmap(self.base, self.room * size_of::<usize>());
        }
    }
}

/// See the file's documentation.
pub(super) struct Found {
    /// Two words each: what was found, and the address of the word that led there.
    entries: Words,
    /// A hash table with linear probing: numbers of entries plus 1, or 0. A power of two of words, at most half of them in use.
    table: Words,
    is_short_of_memory: bool,
}

impl Found {
    /// Nothing.
    pub(super) const fn new() -> Self {
        Self { entries: Words::new(), table: Words::new(), is_short_of_memory: false }
    }

    /// How many.
    pub(super) fn len(&self) -> usize {
        self.entries.len / 2
    }

    /// Whether something was lost because the kernel refused memory.
    pub(super) fn is_short_of_memory(&self) -> bool {
        self.is_short_of_memory
    }

    /// What was found as number `at`, and the word that led there.
    pub(super) fn at(&self, at: usize) -> (usize, usize) {
        (self.entries.get(2 * at), self.entries.get(2 * at + 1))
    }

    /// The number of `what`, if it was found.
    pub(super) fn position(&self, what: usize) -> Option<usize> {
        if self.table.len == 0 {
            return None;
        }
        self.table.get(self.place(what)).checked_sub(1)
    }

    /// Whether `what` was found.
    pub(super) fn has(&self, what: usize) -> bool {
        self.position(what).is_some()
    }

    /// Adds `what`, unless it is there.
    pub(super) fn add(&mut self, what: usize, via: usize) {
        if self.has(what) {
            return;
        }
        let has_room = (self.len() + 1) * 2 <= self.table.len || self.grow();
        if !has_room || !self.entries.push(what) || !self.entries.push(via) {
            self.is_short_of_memory = true;
            return;
        }
        let place = self.place(what);
        self.table.set(place, self.len());
    }

    /// Where in the table `what` is, or belongs.
    fn place(&self, what: usize) -> usize {
        let mask = self.table.len - 1;
        // Fibonacci hashing (Knuth 6.4).
        let mut at = (what.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) & mask;
        loop {
            match self.table.get(at) {
                0 => return at,
                number if self.entries.get(2 * (number - 1)) == what => return at,
                _ => at = (at + 1) & mask,
            }
        }
    }

    fn grow(&mut self) -> bool {
        let Some(table) = Words::zeroed((self.table.len * 2).max(FIRST)) else { return false };
        self.table = table;
        for number in 0..self.len() {
            let place = self.place(self.at(number).0);
            self.table.set(place, number + 1);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_found_once_in_order() {
        let mut found = Found::new();
        assert_eq!(found.position(8), None);
        for round in 0..2 {
            for number in 0..100_000 {
                found.add(number * 16 + 8, number + round);
            }
        }
        assert_eq!(found.len(), 100_000);
        assert!((0..100_000).all(|number| found.at(number) == (number * 16 + 8, number)));
        assert!((0..100_000).all(|number| found.position(number * 16 + 8) == Some(number)));
        assert!(!found.has(16));
        assert!(!found.is_short_of_memory());
    }
}
