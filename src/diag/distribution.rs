//! [`Distribution`]: a histogram as it was at one moment.
#![forbid(unsafe_code)]

use std::fmt;
use std::time::Duration;

use crate::base::histogram::{self, BITS, BUCKETS, Histogram, top};

/// How often something took how long. Kept in buckets a quarter of a doubling wide, so percentiles are right to within 19%.
#[derive(Clone)]
pub struct Distribution {
    counts: Box<[u64; BUCKETS]>,
    total: u64,
}

impl Distribution {
    pub(super) fn of<'a>(histograms: impl IntoIterator<Item = &'a Histogram>) -> Self {
        let mut out = Self::default();
        for histogram in histograms {
            out.total += histogram.read(&mut out.counts);
        }
        out
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Their sum.
    pub fn total(&self) -> Duration {
        Duration::from_nanos(self.total)
    }

    /// The median; zero if nothing was counted.
    pub fn p50(&self) -> Duration {
        self.percentile(50.0)
    }

    /// The 99th percentile; zero if nothing was counted.
    pub fn p99(&self) -> Duration {
        self.percentile(99.0)
    }

    /// The longest; zero if nothing was counted.
    pub fn max(&self) -> Duration {
        self.percentile(100.0)
    }

    /// What `percent` of them do not exceed; zero if nothing was counted.
    pub fn percentile(&self, percent: f64) -> Duration {
        let bucket = histogram::percentile(&self.counts[..], percent);
        bucket.map_or(Duration::ZERO, |bucket| Duration::from_nanos(top::<BITS>(bucket)))
    }

    /// Bounds, each four times the one before, and how many do not exceed them: from a microsecond to a minute.
    pub fn cumulative(&self) -> impl Iterator<Item = (Duration, u64)> + '_ {
        (10..=36).step_by(2).map(|power| {
            let bound = (1_u64 << power) - 1;
            let within = self.counts.iter().enumerate().filter(|(bucket, _)| top::<BITS>(*bucket) <= bound);
            (Duration::from_nanos(bound), within.map(|(_, count)| count).sum())
        })
    }
}

impl Default for Distribution {
    fn default() -> Self {
        Self { counts: Box::new([0; BUCKETS]), total: 0 }
    }
}

impl fmt::Debug for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Distribution")
            .field("count", &self.count())
            .field("p50", &self.p50())
            .field("p99", &self.p99())
            .field("max", &self.max())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles() {
        let histogram = Histogram::new();
        assert_eq!(Distribution::of([&histogram]).p99(), Duration::ZERO);
        (1..=100_u64).for_each(|micros| histogram.add(micros * 1000));
        let all = Distribution::of([&histogram]);
        let near = |at: Duration, micros: f64| (at.as_secs_f64() * 1e6 / micros - 1.0).abs() < 0.2;
        assert_eq!((all.count(), all.total()), (100, Duration::from_micros(5050)));
        assert!(near(all.p50(), 50.0) && near(all.p99(), 99.0) && near(all.max(), 100.0), "{all:?}");
        let (bounds, counts): (Vec<_>, Vec<_>) = all.cumulative().unzip();
        assert!(bounds.is_sorted() && counts.is_sorted() && counts.last() == Some(&100), "{counts:?}");
    }
}
