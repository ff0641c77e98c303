//! Multiplicative hashing of addresses and other words (Fibonacci hashing, Knuth 6.4): the high bits of the product are the mixed ones.

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// A hash of what `hash` is of, and `word`.
#[inline(always)]
pub(crate) fn mix(hash: u64, word: u64) -> u64 {
    (hash.rotate_left(23) ^ word).wrapping_mul(GOLDEN)
}

/// Where a key begins to be looked for, in a table of `mask + 1` places, a power of two.
#[inline(always)]
pub(crate) fn home(key: u64, mask: usize) -> usize {
    (key.wrapping_mul(GOLDEN) >> 32) as usize & mask
}
