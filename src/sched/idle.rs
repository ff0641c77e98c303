//! Who sleeps, who searches, and who is woken when there is work. The protocol, with its races and its proof, is in
//! docs/PROTOCOLS.md, section "Sleep"; this file holds the words it is about.
//!
//! | a worker | counted in | leaves it by |
//! | --- | --- | --- |
//! | runs goroutines | nothing | finding no work |
//! | searches | `searching` | finding work, or sleeping |
//! | dozes (searching, asleep for 50 µs at a time) | `searching`, `dozer` | the time, a backlog, its inbox |
//! | sleeps | `sleeping` bit, `sleepers` | a waker that takes its bit, its inbox, a timer |
//!
//! At most one searcher needs waking: it wakes the next when it finds work and there is more. So a burst of n wakes
//! about log2 n workers in a row instead of n at once.

use crate::base::CachePadded;
use crate::base::atomic::{AtomicU64, AtomicUsize, Ordering};

const WORDS: usize = 16;
/// Set in `dozer` while the dozer is not to be woken for a backlog.
const QUIET: usize = 1 << 32;
/// How many workers the mask can hold.
pub(crate) const CAPACITY: usize = WORDS * 64;

/// See the file's documentation.
pub(crate) struct Idle {
    /// Workers that search; also the token that a waker takes for the worker it wakes.
    searching: CachePadded<AtomicUsize>,
    /// How many bits of `sleeping` are set, or more for a moment.
    sleepers: AtomicUsize,
    /// Index + 1 of the worker that dozes, 0 for none.
    dozer: AtomicUsize,
    sleeping: [AtomicU64; WORDS],
}

impl Idle {
    /// Nobody sleeps.
    pub(crate) fn new() -> Self {
        Self {
            searching: CachePadded::new(AtomicUsize::new(0)),
            sleepers: AtomicUsize::new(0),
            dozer: AtomicUsize::new(0),
            sleeping: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// Whether work that was just published needs somebody to be woken. The caller has published it and executed a
    /// fence (`base::fence::light` against the sleeper's `heavy`, or a SeqCst operation).
    #[inline(always)]
    pub(crate) fn needs_wake(&self) -> bool {
        self.searching.load(Ordering::SeqCst) == 0 && self.sleepers.load(Ordering::SeqCst) != 0
    }

    /// Takes a sleeper to be woken as a searcher, with the searching token in its name. `None`: somebody searches already, or
    /// nobody sleeps.
    pub(crate) fn take_sleeper(&self) -> Option<usize> {
        if self.searching.compare_exchange(0, 1, Ordering::SeqCst, Ordering::Relaxed).is_err() {
            return None;
        }
        for (at, word) in self.sleeping.iter().enumerate() {
            let mut bits = word.load(Ordering::SeqCst);
            while bits != 0 {
                let bit = bits & bits.wrapping_neg();
                let before = word.fetch_and(!bit, Ordering::SeqCst);
                if before & bit != 0 {
                    self.sleepers.fetch_sub(1, Ordering::SeqCst);
                    return Some(at * 64 + bit.trailing_zeros() as usize);
                }
                bits = before & !bit;
            }
        }
        self.searching.fetch_sub(1, Ordering::SeqCst);
        None
    }

    /// Begins to search, unless `most` do already.
    pub(crate) fn begin_search(&self, most: usize) -> bool {
        let mut searching = self.searching.load(Ordering::Relaxed);
        while searching < most {
            match self.searching.compare_exchange_weak(
                searching,
                searching + 1,
                Ordering::SeqCst,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => searching = now,
            }
        }
        false
    }

    /// Ends a search; true for the last searcher, who has to see that the next one is woken if there is more work.
    pub(crate) fn end_search(&self) -> bool {
        self.searching.fetch_sub(1, Ordering::SeqCst) == 1
    }

    /// Becomes the dozer, unless there is one.
    pub(crate) fn begin_doze(&self, index: usize) -> bool {
        self.dozer.compare_exchange(0, index + 1, Ordering::SeqCst, Ordering::Relaxed).is_ok()
    }

    /// The dozer wants to be woken for a backlog, or not.
    pub(crate) fn set_quiet(&self, index: usize, quiet: bool) {
        self.dozer.store(index + 1 + if quiet { QUIET } else { 0 }, Ordering::Relaxed);
    }

    /// Stops being the dozer.
    pub(crate) fn end_doze(&self) {
        self.dozer.store(0, Ordering::SeqCst);
    }

    /// The worker that dozes and wants to be woken for a backlog.
    #[inline(always)]
    pub(crate) fn wakeable_dozer(&self) -> Option<usize> {
        self.dozer.load(Ordering::Relaxed).checked_sub(1).filter(|index| *index < QUIET)
    }

    /// Whether a worker dozes.
    pub(crate) fn has_dozer(&self) -> bool {
        self.dozer.load(Ordering::Relaxed) != 0
    }

    /// Announces that a worker goes to sleep. It executes `fence::heavy` and looks for work once more afterwards.
    pub(crate) fn begin_sleep(&self, index: usize) {
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        self.sleeping[index / 64].fetch_or(1 << (index % 64), Ordering::SeqCst);
    }

    /// A worker woke by itself. False if a waker has taken it: then that waker's notification, with the searching token,
    /// is on its way and must be waited for.
    pub(crate) fn end_sleep(&self, index: usize) -> bool {
        let bit = 1 << (index % 64);
        let mine = self.sleeping[index / 64].fetch_and(!bit, Ordering::SeqCst) & bit != 0;
        if mine {
            self.sleepers.fetch_sub(1, Ordering::SeqCst);
        }
        mine
    }

    /// How many workers sleep.
    pub(crate) fn sleepers(&self) -> usize {
        self.sleepers.load(Ordering::SeqCst)
    }
}
