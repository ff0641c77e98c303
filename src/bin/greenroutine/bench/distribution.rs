//! [`Distribution`]: what a figure is the summary of, small enough for one line of JSON. Made by the workloads, drawn by `page`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Parts of a doubling that share a bucket: bounds are right to within 9%.
const PARTS: f64 = 8.0;

/// How often something took how long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Distribution {
    /// The most nanoseconds that were counted here, and how many were, upwards; nothing is empty.
    pub(super) buckets: Vec<(u64, u64)>,
}

impl Distribution {
    /// Of times in nanoseconds, upwards. The last bucket's bound is the longest of all.
    pub(super) fn of_sorted(nanoseconds: &[u64]) -> Self {
        let bucket = |value: u64| ((value.max(1) as f64).log2() * PARTS) as u64;
        let chunks = nanoseconds.chunk_by(|a, b| bucket(*a) == bucket(*b));
        let buckets = chunks.filter_map(|chunk| Some((*chunk.last()?, chunk.len() as u64))).collect();
        Self { buckets }
    }

    /// Of bounds and how many are at most so long and longer than the bound before.
    pub(super) fn of_buckets(buckets: impl Iterator<Item = (Duration, u64)>) -> Self {
        let nanos = |bound: Duration| u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX);
        Self { buckets: buckets.map(|(bound, count)| (nanos(bound), count)).collect() }
    }

    /// How many there were.
    pub(super) fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum()
    }

    /// The part of all, up to 1, that took at most so long; upwards.
    pub(super) fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        let (all, mut below) = (self.count() as f64, 0);
        self.buckets.iter().map(move |(bound, count)| {
            below += count;
            (below as f64 / all, *bound)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_all_and_keeps_the_longest() {
        let sorted: Vec<u64> = (0..1000).map(|n| n * n).collect();
        let all = Distribution::of_sorted(&sorted);
        assert_eq!((all.count(), all.buckets.last().map(|last| last.0)), (1000, Some(999 * 999)));
        assert!(all.buckets.is_sorted() && all.buckets.len() < 200);
        let half = all.cumulative().find(|(part, _)| *part >= 0.5).map_or(0, |(_, bound)| bound);
        assert!((half as f64 / (500.0 * 500.0) - 1.0).abs() < 0.1, "{half}");
        assert_eq!(all.cumulative().last(), Some((1.0, 999 * 999)));
        assert_eq!(Distribution::of_sorted(&[]).cumulative().count(), 0);
    }
}
