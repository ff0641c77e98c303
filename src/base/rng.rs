//! A small seeded generator (Vigna's SplitMix64) for choices that only have to be spread: victims, ties.

/// SplitMix64: one addition and two multiplications a draw; passes BigCrush.
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    /// From one state to the next.
    pub(crate) const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

    /// Starts from `seed`; different seeds give unrelated sequences.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(Self::STEP);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Below `bound`, which is not 0 (Lemire's multiplication; the bias is under 2^-32 for the bounds in use).
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        debug_assert!(bound > 0, "an empty range has no element");
        (((self.next() >> 32) * bound as u64) >> 32) as usize
    }
}
