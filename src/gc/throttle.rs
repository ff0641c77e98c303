//! Slowing allocation down: for the last rounds of a cycle, and while one takes long. Called by `concurrent` (when) and `collector` (in the slow path of allocation). Go's assists serve the same ends.
//!
//! **The last rounds.** New objects lie on pages that were written to, and those are scanned again before a cycle can end. A goroutine that allocates at 1.8 GB/s writes pages about as fast as one
//! collector reads them, and the rest would be left for the pause (10 to 20 ms, measured with `bench gcbig`). So while little is left to do, every slow path of allocation (one in 64 objects)
//! takes [`DELAY_NS`] longer.
//!
//! **The pace.** What is allocated while a cycle marks is not freed by it: at 3.5 GB/s, beside a gigabyte that takes half a second to mark, the heap grew to 6 GB. From one and a half times the budget on (`collector`) all
//! allocation together is held to [`PACE_NS`] a byte, which a goroutine notices as a few microseconds at a time.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use crate::arch;
use crate::sys::{clock, futex};
use crate::world::blocked;

/// 64 objects of 64 bytes in this time are 200 MB/s, 50 pages a millisecond.
const DELAY_NS: u64 = 20_000;
/// 1 GB/s.
const PACE_NS: u64 = 1;
/// A longer wait is slept, a shorter one is spun.
const SPUN_NS: u64 = 50_000;
/// No pace is kept.
const NEVER: usize = usize::MAX;

static IS_ON: AtomicBool = AtomicBool::new(false);
/// A pace is kept when that much was handed out.
static PACED_FROM: AtomicUsize = AtomicUsize::new(NEVER);
/// When all is paid that was allocated at this pace.
static PAID: AtomicU64 = AtomicU64::new(0);
/// How often a pace has ended: the futex of those who keep it.
static PACES: AtomicU32 = AtomicU32::new(0);

/// The last rounds.
pub(super) fn begin() {
    IS_ON.store(true, Ordering::Relaxed);
}

pub(super) fn end() {
    IS_ON.store(false, Ordering::Relaxed);
}

/// Marking begins: a pace is kept when so many bytes were handed out since the start of the process.
pub(super) fn begin_pace(handed_out: usize) {
    PACED_FROM.store(handed_out, Ordering::Relaxed);
}

/// Marking is over.
pub(super) fn end_pace() {
    PACED_FROM.store(NEVER, Ordering::Relaxed);
    PACES.fetch_add(1, Ordering::SeqCst);
    futex::wake(&PACES, i32::MAX);
}

/// In a slow path that has got `bytes`, of `handed_out` in all: takes its time if that is asked for. Returns how long, in nanoseconds.
#[inline]
pub(super) fn pass(bytes: usize, handed_out: usize) -> u64 {
    if IS_ON.load(Ordering::Relaxed) {
        slow_down()
    } else if handed_out >= PACED_FROM.load(Ordering::Relaxed) {
        keep_pace(bytes)
    } else {
        0
    }
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

#[cold]
#[inline(never)]
fn keep_pace(bytes: usize) -> u64 {
    let pace = PACES.load(Ordering::SeqCst);
    let start = clock::now_ns();
    let cost = bytes as u64 * PACE_NS;
    let pay = |paid: u64| Some(paid.max(start) + cost);
    let paid =
        PAID.fetch_update(Ordering::Relaxed, Ordering::Relaxed, pay).unwrap_or(start).max(start) + cost;
    loop {
        let now = clock::now_ns();
        if now >= paid || PACED_FROM.load(Ordering::Relaxed) == NEVER {
            return now - start;
        }
        if paid - now > SPUN_NS {
            // It does not park: whoever allocates may hold a lock that is bound to the thread.
            blocked::wait(&PACES, pace, paid);
        } else {
            arch::spin_hint();
        }
    }
}
