//! A worker's own free slots, last in first out: the next goroutine starts on the hottest stack.

use std::cell::Cell;
use std::sync::atomic::Ordering::Relaxed;

use super::geometry::HeaderRef;
use super::{arena, commit};
use crate::sys::mem::GuardMode;

/// Slots kept per worker. 64 x 16 KiB of open stack at most, unless goroutines grew them.
const CAPACITY: usize = 64;
/// A slot that grew no further than this keeps its pages while it is cached, so that a workload whose goroutines all need
/// 32 KiB pays the growth faults (about 3 us) once and not for every goroutine.
const KEPT_OPEN: usize = 128 * 1024;

/// See the file's documentation. Owned by one worker thread; holds slots of one class.
pub(crate) struct Cache {
    /// Head of the list through the headers; 0 when empty.
    head: Cell<usize>,
    len: Cell<usize>,
    capacity: usize,
    shift: u32,
    mode: GuardMode,
}

impl Cache {
    /// An empty cache for slots of `class`. `scarce` keeps it at one slot, so that no worker hoards.
    pub(crate) fn new(class: usize, mode: GuardMode, scarce: bool) -> Self {
        let capacity = if scarce { 1 } else { CAPACITY };
        Self {
            head: Cell::new(0),
            len: Cell::new(0),
            capacity,
            shift: super::geometry::shift_of(class),
            mode,
        }
    }

    /// The slot that was freed last.
    #[inline(always)]
    pub(crate) fn pop(&self) -> Option<HeaderRef> {
        let head = self.head.get();
        if head == 0 {
            return None;
        }
        let header = super::geometry::header_of_slot(head, self.shift);
        self.head.set(header.next.load(Relaxed));
        self.len.set(self.len.get() - 1);
        Some(header)
    }

    /// Takes back the slot of a goroutine that ended.
    #[inline(always)]
    pub(crate) fn push(&self, header: HeaderRef) {
        if header.shift() != self.shift || self.len.get() >= self.capacity || header.open_bytes() > KEPT_OPEN
        {
            self.push_slow(header);
            return;
        }
        header.next.store(self.head.get(), Relaxed);
        self.head.set(header.address());
        self.len.set(self.len.get() + 1);
    }

    #[cold]
    #[inline(never)]
    fn push_slow(&self, header: HeaderRef) {
        if header.shift() == self.shift && self.len.get() < self.capacity {
            commit::cut_back(header, self.mode);
            if header.open_bytes() <= KEPT_OPEN {
                self.push(header);
                return;
            }
        }
        arena::give(header, self.mode);
        // Half of a full cache goes along, so that the next few find room.
        if self.len.get() >= self.capacity {
            for _ in 0..self.capacity / 2 {
                if let Some(header) = self.pop() {
                    arena::give(header, self.mode);
                }
            }
        }
    }

    /// Gives all slots back to the shared list.
    pub(crate) fn flush(&self) {
        while let Some(header) = self.pop() {
            arena::give(header, self.mode);
        }
    }
}
