//! How long somebody who finds a lock taken looks again before it waits: a few microseconds, and not at all where the holder cannot run meanwhile.
//!
//! Long pauses and few looks: each look takes the lock's cache line from the holder, who could use it a hundred times in a microsecond. Eight goroutines of two
//! workers that do nothing but lock took 37 ns a lock with pauses that begin at 22 ns, 33 ns with these, 30 ns with twice as long ones (medians of 15 on a
//! machine busy with other work; Go 48 ns between them).
//! In all about what it costs to wake a goroutine of another worker.

use std::sync::atomic::{AtomicU32, Ordering};

use super::worker;
use crate::arch;
use crate::base::histogram::Histogram;
use crate::routine::slot;
use crate::sys::clock;

/// Looks of one spinner, and the spin hints before each: 22 ns apiece here.
const LOOKS: u32 = 4;
const HINTS: u32 = 64;

/// See the file's documentation.
pub(crate) struct Spin {
    /// Looks that are left.
    left: u32,
}

impl Spin {
    /// Decides whether there is any use in it.
    pub(crate) fn new() -> Self {
        Self { left: if holder_may_run() { LOOKS } else { 0 } }
    }

    /// Pauses and returns true, or returns false: wait.
    #[inline(always)]
    pub(crate) fn again(&mut self) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        for _ in 0..HINTS {
            arch::spin_hint();
        }
        true
    }
}

/// How long those waited who did not get a lock at once: an eighth of them.
pub(crate) static LOCK_WAITS: Histogram = Histogram::new();

/// Somebody has got a lock for which it has waited since then.
#[inline]
pub(crate) fn note_wait(since: u64) {
    // Bits of a clock that counts nanoseconds are as good as drawn.
    if since != 0 && since & 7 == 0 {
        LOCK_WAITS.add(clock::now_ns().saturating_sub(since));
    }
}

/// Whether somebody else can run while the caller spins.
fn holder_may_run() -> bool {
    if processors() == 1 {
        return false;
    }
    match slot::current() {
        // SAFETY: we run on the slot, and the reference ends here.
        Some(slot) => unsafe { worker::of_slot(slot) }.core.config.workers > 1,
        None => true,
    }
}

fn processors() -> u32 {
    static KNOWN: AtomicU32 = AtomicU32::new(0);
    match KNOWN.load(Ordering::Relaxed) {
        0 => {
            let number = std::thread::available_parallelism().map_or(1, |n| n.get() as u32);
            KNOWN.store(number, Ordering::Relaxed);
            number
        }
        known => known,
    }
}
