//! Slowing allocation down for the last rounds of a cycle. Called by `concurrent` (when) and `collector` (in the slow path of allocation).
//!
//! New objects lie on pages that were written to, and those are scanned again before a cycle can end. A goroutine that allocates at 1.8 GB/s writes pages about as fast as one collector reads
//! them, and the rest would be left for the pause (10 to 20 ms, measured with `bench gcbig`). So while little is left to do, every slow path of allocation (one in 64 objects) takes
//! [`DELAY_NS`] longer. Go's assists serve the same end.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::arch;
use crate::sys::clock;

/// 64 objects of 64 bytes in this time are 200 MB/s, 50 pages a millisecond.
const DELAY_NS: u64 = 20_000;

static IS_ON: AtomicBool = AtomicBool::new(false);

pub(super) fn begin() {
    IS_ON.store(true, Ordering::Relaxed);
}

pub(super) fn end() {
    IS_ON.store(false, Ordering::Relaxed);
}

/// In a slow path: takes its time if that is asked for. Returns how long, in nanoseconds.
#[inline]
pub(super) fn pass() -> u64 {
    if IS_ON.load(Ordering::Relaxed) { slow_down() } else { 0 }
}

#[cold]
#[inline(never)]
fn slow_down() -> u64 {
    let start = clock::now_ns();
    loop {
        arch::spin_hint();
        let taken = clock::now_ns() - start;
        if taken >= DELAY_NS || !IS_ON.load(Ordering::Relaxed) {
            return taken;
        }
    }
}
