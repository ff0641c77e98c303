//! [`Histogram`]: how often how long, in buckets a quarter of a doubling wide.

use std::sync::atomic::{AtomicU64, Ordering};

/// Four for each power of two.
pub(crate) const BUCKETS: usize = 64 * 4;

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
        self.counts[bucket(nanos)].fetch_add(1, Ordering::Relaxed);
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
fn bucket(value: u64) -> usize {
    if value < 4 {
        return value as usize;
    }
    let power = value.ilog2() as usize;
    let quarter = (value >> (power - 2)) as usize & 3;
    (power - 1) * 4 + quarter
}

/// The largest value that is counted in a bucket.
pub(crate) fn top(bucket: usize) -> u64 {
    if bucket < 4 {
        return bucket as u64;
    }
    let (power, quarter) = (bucket / 4 + 1, bucket as u64 % 4);
    if power >= 64 {
        return u64::MAX;
    }
    ((4 + quarter + 1) << (power - 2)).wrapping_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_hold_what_they_say() {
        for value in (0..10_000).chain([1 << 40, (1 << 40) + 12_345, u64::MAX >> 1, u64::MAX]) {
            let bucket = bucket(value);
            assert!(value <= top(bucket), "{value}");
            assert!(bucket == 0 || value > top(bucket - 1), "{value}");
        }
    }
}
