//! [`Histogram`]: how often how long, in buckets a quarter of a doubling wide; and the arithmetic of such buckets for any power of two parts of a doubling, here `1 << BITS`.

use std::sync::atomic::{AtomicU64, Ordering};

/// Four for each power of two.
pub(crate) const BITS: u32 = 2;
pub(crate) const BUCKETS: usize = buckets(BITS);

/// How many buckets hold every value.
pub(crate) const fn buckets(bits: u32) -> usize {
    64 << bits
}

/// Added to by its owner alone, or by anybody if that is rare; read by anybody.
pub(crate) struct Histogram {
    counts: [AtomicU64; BUCKETS],
    total: AtomicU64,
}

impl Histogram {
    /// Nothing yet.
    pub(crate) const fn new() -> Self {
        Self { counts: [const { AtomicU64::new(0) }; BUCKETS], total: AtomicU64::new(0) }
    }

    /// Counts one value.
    pub(crate) fn add(&self, nanos: u64) {
        self.counts[bucket::<BITS>(nanos)].fetch_add(1, Ordering::Relaxed);
        self.total.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Adds what was counted to `counts`; returns the sum of the values.
    pub(crate) fn read(&self, counts: &mut [u64; BUCKETS]) -> u64 {
        for (to, from) in counts.iter_mut().zip(&self.counts) {
            *to += from.load(Ordering::Relaxed);
        }
        self.total.load(Ordering::Relaxed)
    }
}

/// Where a value is counted.
pub(crate) fn bucket<const BITS: u32>(value: u64) -> usize {
    let parts = 1 << BITS;
    if value < parts {
        return value as usize;
    }
    let power = value.ilog2();
    let part = (value >> (power - BITS)) as usize & (parts as usize - 1);
    ((power - BITS + 1) as usize) * parts as usize + part
}

/// The largest value that is counted in a bucket.
pub(crate) fn top<const BITS: u32>(bucket: usize) -> u64 {
    let parts = 1 << BITS;
    if bucket < parts {
        return bucket as u64;
    }
    let (power, part) = ((bucket / parts) as u32 + BITS - 1, bucket % parts);
    if power >= 64 {
        return u64::MAX;
    }
    ((parts + part + 1) as u64).wrapping_shl(power - BITS).wrapping_sub(1)
}

/// The bucket below whose top `percent` of all that was counted are; none if nothing was.
pub(crate) fn percentile(counts: &[u64], percent: f64) -> Option<usize> {
    let count: u64 = counts.iter().sum();
    let rank = ((percent / 100.0 * count as f64).ceil() as u64).clamp(1, count.max(1));
    let mut below = 0;
    counts.iter().position(|counted| {
        below += counted;
        below >= rank
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<const BITS: u32>() {
        for value in (0..10_000).chain([1 << 40, (1 << 40) + 12_345, u64::MAX >> 1, u64::MAX]) {
            let bucket = bucket::<BITS>(value);
            assert!(bucket < buckets(BITS) && value <= top::<BITS>(bucket), "{value}");
            assert!(bucket == 0 || value > top::<BITS>(bucket - 1), "{value}");
        }
    }

    #[test]
    fn buckets_hold_what_they_say() {
        check::<BITS>();
        check::<3>();
    }
}
