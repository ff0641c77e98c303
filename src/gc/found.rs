//! [`Found`]: what a search has found, each once and in the order of finding, with the place that led there. In memory of its own, because the heap's locks are in the collector's hand while
//! it grows. Called by `search`.

use super::words::Words;
use crate::base::hash;

/// Words at first: 64 KiB.
const FIRST: usize = 1 << 13;

/// See the file's documentation.
pub(super) struct Found {
    /// Two words each: what was found, and the address of the word that led there.
    entries: Words<FIRST>,
    /// A hash table with linear probing: numbers of entries plus 1, or 0. A power of two of words, at most half of them in use.
    table: Words<FIRST>,
    is_short_of_memory: bool,
}

impl Found {
    /// Nothing.
    pub(super) const fn new() -> Self {
        Self { entries: Words::new(), table: Words::new(), is_short_of_memory: false }
    }

    /// How many.
    pub(super) fn len(&self) -> usize {
        self.entries.len() / 2
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
        if self.table.len() == 0 {
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
        let has_room = (self.len() + 1) * 2 <= self.table.len() || self.grow();
        if !has_room || !self.entries.push(what) || !self.entries.push(via) {
            self.is_short_of_memory = true;
            return;
        }
        let place = self.place(what);
        self.table.set(place, self.len());
    }

    /// Where in the table `what` is, or belongs.
    fn place(&self, what: usize) -> usize {
        let mask = self.table.len() - 1;
        let mut at = hash::home(what as u64, mask);
        loop {
            match self.table.get(at) {
                0 => return at,
                number if self.entries.get(2 * (number - 1)) == what => return at,
                _ => at = (at + 1) & mask,
            }
        }
    }

    fn grow(&mut self) -> bool {
        let Some(table) = Words::zeroed((self.table.len() * 2).max(FIRST)) else { return false };
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
