//! What collection costs and what it found.

#![forbid(unsafe_code)]

use std::fmt;
use std::time::Duration;

use crate::base::histogram;

/// How cycles are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Backend {
    /// Objects are marked beside the program; the kernel tells what it writes meanwhile (userfaultfd).
    Uffd,
    /// The world is stopped while objects are marked.
    Stw,
    /// Nothing is collected.
    Off,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Uffd => "uffd",
            Self::Stw => "stw",
            Self::Off => "off",
        })
    }
}

/// What the collector has done and sees: [`stats`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// How cycles are run.
    pub backend: Backend,
    /// Why it is this one and not a better one.
    pub why: String,
    /// Cycles until now.
    pub cycles: u64,
    /// Bytes of collected objects that the last cycle has found alive, and of those allocated since.
    pub heap_live: usize,
    /// Bytes of the whole heap that are in use, ordinary Rust allocations included.
    pub heap_in_use: usize,
    /// Bytes of collected objects allocated since the start of the process.
    pub allocated_total: usize,
    /// Bytes of collected objects above which the next cycle begins; none if none will.
    pub heap_goal: Option<usize>,
    /// Bytes that the last cycle has read as roots: stacks, statics, thread-locals, and ordinary allocations that may hold pointers.
    pub roots: usize,
    /// Bytes of goroutines' stacks among the roots.
    pub stacks: usize,
    /// Times for which the world stood still.
    pub pauses: Pauses,
    /// Time spent marking, in all.
    pub mark_time: Duration,
    /// Time that allocating goroutines spent helping, in all.
    pub assist_time: Duration,
    /// Time spent sweeping by the collector itself, in all.
    pub sweep_time: Duration,
}

/// A distribution of pauses. Kept in buckets an eighth of a doubling wide, so percentiles are right to within 9%; the maximum is exact.
#[derive(Clone)]
pub struct Pauses {
    counts: Box<[u64; BUCKETS]>,
    count: u64,
    max: Duration,
    total: Duration,
}

/// Eight for each power of two.
const BITS: u32 = 3;
const BUCKETS: usize = histogram::buckets(BITS);

impl Pauses {
    pub(super) fn new() -> Self {
        Self { counts: Box::new([0; BUCKETS]), count: 0, max: Duration::ZERO, total: Duration::ZERO }
    }

    pub(super) fn add(&mut self, pause: Duration) {
        let nanos = u64::try_from(pause.as_nanos()).unwrap_or(u64::MAX);
        self.counts[histogram::bucket::<BITS>(nanos)] += 1;
        self.count += 1;
        self.max = self.max.max(pause);
        self.total += pause;
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The longest.
    pub fn max(&self) -> Duration {
        self.max
    }

    /// All together.
    pub fn total(&self) -> Duration {
        self.total
    }

    /// The median.
    pub fn p50(&self) -> Duration {
        self.percentile(50.0)
    }

    /// The 99th percentile.
    pub fn p99(&self) -> Duration {
        self.percentile(99.0)
    }

    /// The histogram: how many pauses took at most so long, and longer than the one before. Upwards; buckets without a pause are left out, and the last bound is [`max`](Self::max).
    ///
    /// # Examples
    ///
    /// ```
    /// greenroutine::gc::collect();
    /// let pauses = greenroutine::gc::stats().pauses;
    /// let count: u64 = pauses.buckets().map(|(_, count)| count).sum();
    /// assert_eq!(count, pauses.count());
    /// for (at_most, count) in pauses.buckets() {
    ///     println!("{count} within {at_most:?}");
    /// }
    /// ```
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> + '_ {
        let used = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        used.map(|(bucket, count)| {
            (Duration::from_nanos(histogram::top::<BITS>(bucket)).min(self.max), *count)
        })
    }

    /// The time below which that many percent of the pauses are; zero if there were none.
    pub fn percentile(&self, percent: f64) -> Duration {
        let bucket = histogram::percentile(&self.counts[..], percent);
        bucket.map_or(self.max, |bucket| Duration::from_nanos(histogram::top::<BITS>(bucket)).min(self.max))
    }
}

impl fmt::Debug for Pauses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pauses")
            .field("count", &self.count)
            .field("p50", &self.p50())
            .field("p99", &self.p99())
            .field("max", &self.max)
            .finish()
    }
}

/// What the collector has done, and the state of the collected heap.
pub fn stats() -> Stats {
    super::collector::stats()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles() {
        let mut pauses = Pauses::new();
        assert_eq!((pauses.p50(), pauses.max()), (Duration::ZERO, Duration::ZERO));
        (1..=100).for_each(|micros| pauses.add(Duration::from_micros(micros)));
        let near =
            |duration: Duration, micros: f64| (duration.as_secs_f64() * 1e6 / micros - 1.0).abs() < 0.13;
        assert!(near(pauses.p50(), 50.0), "{pauses:?}");
        assert!(near(pauses.p99(), 99.0), "{pauses:?}");
        let (bounds, counts): (Vec<_>, Vec<_>) = pauses.buckets().unzip();
        assert!(bounds.is_sorted() && bounds.last() == Some(&pauses.max()), "{bounds:?}");
        assert_eq!(counts.iter().sum::<u64>(), 100);
        assert_eq!(pauses.max(), Duration::from_micros(100));
    }
}
