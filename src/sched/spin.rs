//! How long somebody who finds a lock taken looks again before it waits: a few hundred nanoseconds, and not at all where the holder cannot run meanwhile.

use std::sync::atomic::{AtomicU32, Ordering};

use super::worker;
use crate::arch;
use crate::routine::slot;

/// Looks of one spinner; the pauses between them double up to `LONGEST`.
const LOOKS: u32 = 10;
const LONGEST: u32 = 32;

/// See the file's documentation.
pub(crate) struct Spin {
    /// Looks that are left.
    left: u32,
    pauses: u32,
}

impl Spin {
    /// Decides whether there is any use in it.
    pub(crate) fn new() -> Self {
        Self { left: if holder_may_run() { LOOKS } else { 0 }, pauses: 1 }
    }

    /// Pauses and returns true, or returns false: wait.
    #[inline(always)]
    pub(crate) fn again(&mut self) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        for _ in 0..self.pauses {
            arch::spin_hint();
        }
        self.pauses = (2 * self.pauses).min(LONGEST);
        true
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
