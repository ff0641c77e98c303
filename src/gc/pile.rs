//! [`Pile`]: the marker's stack of words.

use super::words::Words;

/// Words at first: 1 MiB.
const FIRST: usize = 1 << 17;

/// See the file's documentation.
pub(super) struct Pile {
    words: Words<FIRST>,
    has_overflown: bool,
}

impl Pile {
    /// Empty, without memory.
    pub(super) const fn new() -> Self {
        Self { words: Words::new(), has_overflown: false }
    }

    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        self.words.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a word was lost because the kernel refused memory.
    pub(super) fn has_overflown(&self) -> bool {
        self.has_overflown
    }

    /// Words are lost no more: the caller starts over.
    pub(super) fn clear(&mut self) {
        self.words.clear();
        self.has_overflown = false;
    }

    #[inline(always)]
    pub(super) fn push(&mut self, word: usize) {
        if !self.words.push(word) {
            self.has_overflown = true;
        }
    }

    #[inline(always)]
    pub(super) fn pop(&mut self) -> Option<usize> {
        self.words.pop()
    }

    /// Gives most of a large pile's memory back, between cycles.
    pub(super) fn trim(&mut self) {
        self.words.trim();
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
