//! Stretches of code that a stop must not interrupt: what they do to the collected heap's free lists is not seen half done. A stop that arrives meanwhile happens at the end.
//!
//! Two plain stores and a load. The words are thread-locals without destructor, used only inside functions that are never inlined and in which no switch happens: a goroutine
//! that changes threads never keeps their address (`heap::local`).

use std::cell::Cell;
use std::sync::atomic::{Ordering, compiler_fence};

use super::stop;

mod words {
    use super::Cell;

    // Not 0 inside.
    std::thread_local!(pub(super) static INSIDE: Cell<u32> = const { Cell::new(0) });
    // Whether a stop has arrived inside.
    std::thread_local!(pub(super) static IS_WANTED: Cell<bool> = const { Cell::new(false) });
}

/// Runs `work` without being stopped. It must be short, must not block but on the heap's own locks, and must not switch.
#[inline(always)]
pub(crate) fn run<T>(work: impl FnOnce() -> T) -> T {
    debug_assert_eq!(words::INSIDE.with(Cell::get), 0, "critical stretches do not nest");
    words::INSIDE.with(|inside| inside.set(1));
    // The signal's handler runs on this thread: only the compiler could reorder.
    compiler_fence(Ordering::SeqCst);
    let result = work();
    compiler_fence(Ordering::SeqCst);
    words::INSIDE.with(|inside| inside.set(0));
    compiler_fence(Ordering::SeqCst);
    if words::IS_WANTED.with(Cell::get) {
        words::IS_WANTED.with(|wanted| wanted.set(false));
        stop::stop_here();
    }
    result
}

/// As [`run`], for a path so hot that it must not save registers: the result is a word, which is handed to the stop if one has arrived, and seen by it.
#[inline(always)]
pub(crate) fn run_leaf(work: impl FnOnce() -> usize) -> usize {
    debug_assert_eq!(words::INSIDE.with(Cell::get), 0, "critical stretches do not nest");
    words::INSIDE.with(|inside| inside.set(1));
    compiler_fence(Ordering::SeqCst);
    let result = work();
    compiler_fence(Ordering::SeqCst);
    words::INSIDE.with(|inside| inside.set(0));
    compiler_fence(Ordering::SeqCst);
    if words::IS_WANTED.with(Cell::get) {
        return stop_with(result);
    }
    result
}

#[cold]
#[inline(never)]
fn stop_with(word: usize) -> usize {
    words::IS_WANTED.with(|wanted| wanted.set(false));
    stop::stop_here();
    std::hint::black_box(word)
}

/// In the signal's handler: whether the stop has to wait; it is remembered then. Signal-safe.
pub(super) fn defers() -> bool {
    let is_inside = words::INSIDE.with(Cell::get) != 0;
    if is_inside {
        words::IS_WANTED.with(|wanted| wanted.set(true));
    }
    is_inside
}
