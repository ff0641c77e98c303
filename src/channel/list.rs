//! The unbounded buffer: a linked list of blocks with 31 slots each, after crossbeam-channel's list (itself after Vyukov's and `SegQueue`): producers and
//! consumers take positions by compare-and-swap and then work on their own slot; the last one to leave a block frees it.
//!
//! A position counts in steps of 2; bit 0 is a flag: in the tail "closed", in the head "there is a block after this one", which spares consumers the
//! look at the tail. Of each 32 positions the last is no slot: who takes the 31st position also links the next block, and until then
//! the others wait on the 32nd.
//!
//! | slot state bit | set by | meaning |
//! | --- | --- | --- |
//! | `WRITE` | the producer (Release) | the value is there |
//! | `READ` | the consumer (AcqRel) | the value has been moved out |
//! | `DESTROY` | who frees the block | the consumer of this slot goes on with freeing, because it was not through yet |

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::ptr;

use super::buffer::{Backoff, Buffer, Pop, PushError, Reserve};
use crate::base::CachePadded;
use crate::base::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering, fence};

const WRITE: u32 = 1;
const READ: u32 = 2;
const DESTROY: u32 = 4;

/// Positions of a block, the last of which is no slot. Few in models, so that they see blocks end.
const LAP: usize = if cfg!(loom) { 2 } else { 32 };
const SLOTS: usize = LAP - 1;
const SHIFT: u32 = 1;
const FLAG: usize = 1;

struct Slot<T> {
    value: UnsafeCell<MaybeUninit<T>>,
    state: AtomicU32,
}

struct Block<T> {
    next: AtomicPtr<Block<T>>,
    slots: [Slot<T>; SLOTS],
}

impl<T> Block<T> {
    /// Made in place: without optimisation `Box::new` builds its value on the stack, for which 31 large ones are too many.
    fn new() -> Box<Self> {
        let mut block = Box::<Self>::new_uninit();
        let at = block.as_mut_ptr();
        // SAFETY: within the allocation.
        let next = unsafe { &raw mut (*at).next };
        // SAFETY: as above.
        let slots = unsafe { (&raw mut (*at).slots).cast::<Slot<T>>() };
        // SAFETY: ours alone.
        unsafe { next.write(AtomicPtr::new(ptr::null_mut())) };
        for index in 0..SLOTS {
            // SAFETY: `slots` has SLOTS elements.
            let slot = unsafe { slots.add(index) };
            // SAFETY: within the allocation.
            let state = unsafe { &raw mut (*slot).state };
            // SAFETY: ours alone.
            unsafe { state.write(AtomicU32::new(0)) };
        }
        // SAFETY: both fields are initialised; the slots' values need not be.
        unsafe { block.assume_init() }
    }
}

struct End<T> {
    position: AtomicUsize,
    block: AtomicPtr<Block<T>>,
}

/// See the file's documentation.
pub(super) struct List<T> {
    head: CachePadded<End<T>>,
    tail: CachePadded<End<T>>,
}

// SAFETY: a slot's value is touched by the one producer or consumer that got its position; values move between threads.
unsafe impl<T: Send> Send for List<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for List<T> {}

/// A position that a consumer has got.
struct Taken<T> {
    block: *mut Block<T>,
    offset: usize,
}

/// What a consumer found at the head.
enum Take<T> {
    Slot(Taken<T>),
    Empty,
    Closed,
}

impl<T> List<T> {
    /// An empty list with its first block, so that only every 31st `push` allocates.
    pub(super) fn new() -> Self {
        let first = Box::into_raw(Block::new());
        let end = || CachePadded::new(End { position: AtomicUsize::new(0), block: AtomicPtr::new(first) });
        Self { head: end(), tail: end() }
    }

    /// Takes the position at the tail; `None`: closed.
    #[inline(always)]
    fn take_tail(&self) -> Option<(*mut Block<T>, usize)> {
        let mut backoff = Backoff::new();
        let mut tail = self.tail.position.load(Ordering::Acquire);
        let mut block = self.tail.block.load(Ordering::Acquire);
        let mut spare: Option<Box<Block<T>>> = None;
        loop {
            if tail & FLAG != 0 {
                return None;
            }
            let offset = (tail >> SHIFT) % LAP;
            if offset == SLOTS {
                // Somebody is linking the next block.
                backoff.wait();
                tail = self.tail.position.load(Ordering::Acquire);
                block = self.tail.block.load(Ordering::Acquire);
                continue;
            }
            if offset + 1 == SLOTS && spare.is_none() {
                // Before the position is taken, so that the others wait for as short as can be.
                spare = Some(Block::new());
            }
            let next = tail + (1 << SHIFT);
            match self.tail.position.compare_exchange_weak(tail, next, Ordering::SeqCst, Ordering::Acquire) {
                Ok(_) => {
                    if offset + 1 == SLOTS {
                        let new = Box::into_raw(spare.unwrap_or_else(Block::new));
                        self.tail.block.store(new, Ordering::Release);
                        // Nobody else changes the position now, but `close` may set the flag.
                        self.tail.position.fetch_add(1 << SHIFT, Ordering::SeqCst);
                        // SAFETY: a block is freed by the last to leave it; our slot has not been written yet.
                        unsafe { &*block }.next.store(new, Ordering::Release);
                    }
                    return Some((block, offset));
                }
                Err(now) => {
                    tail = now;
                    block = self.tail.block.load(Ordering::Acquire);
                }
            }
        }
    }

    /// Takes the position at the head.
    #[inline(always)]
    fn take_head(&self) -> Take<T> {
        let mut backoff = Backoff::new();
        let mut head = self.head.position.load(Ordering::Acquire);
        let mut block = self.head.block.load(Ordering::Acquire);
        loop {
            let offset = (head >> SHIFT) % LAP;
            if offset == SLOTS {
                // Somebody is moving on to the next block.
                backoff.wait();
                head = self.head.position.load(Ordering::Acquire);
                block = self.head.block.load(Ordering::Acquire);
                continue;
            }
            let mut next = head + (1 << SHIFT);
            if head & FLAG == 0 {
                fence(Ordering::SeqCst);
                let tail = self.tail.position.load(Ordering::SeqCst);
                if head >> SHIFT == tail >> SHIFT {
                    return if tail & FLAG == 0 { Take::Empty } else { Take::Closed };
                }
                if (head >> SHIFT) / LAP != (tail >> SHIFT) / LAP {
                    next |= FLAG;
                }
            }
            match self.head.position.compare_exchange_weak(head, next, Ordering::SeqCst, Ordering::Acquire) {
                Ok(_) => {
                    if offset + 1 == SLOTS {
                        // SAFETY: as below.
                        let after = Self::wait_next(unsafe { &*block });
                        let mut position = (next & !FLAG).wrapping_add(1 << SHIFT);
                        // SAFETY: as below; the block after this one lives, since nobody can have left it before we move the head there.
                        if !unsafe { &*after }.next.load(Ordering::Relaxed).is_null() {
                            position |= FLAG;
                        }
                        self.head.block.store(after, Ordering::Release);
                        self.head.position.store(position, Ordering::Release);
                    }
                    return Take::Slot(Taken { block, offset });
                }
                Err(now) => {
                    head = now;
                    block = self.head.block.load(Ordering::Acquire);
                }
            }
        }
    }

    fn wait_next(block: &Block<T>) -> *mut Block<T> {
        let mut backoff = Backoff::new();
        loop {
            let next = block.next.load(Ordering::Acquire);
            if !next.is_null() {
                return next;
            }
            backoff.wait();
        }
    }

    /// Frees a block whose slots from `start` on may still be read; whoever is in the middle of one goes on with it.
    ///
    /// # Safety
    ///
    /// - All positions of the block are taken; the caller has left the slots before `start`.
    unsafe fn destroy(block: *mut Block<T>, start: usize) {
        // The last slot needs no flag: its consumer is the one who begins.
        for at in start..SLOTS - 1 {
            // SAFETY: the block lives until the one who finds all slots read frees it, below.
            let slot = unsafe { &(&(*block).slots)[at] };
            if slot.state.load(Ordering::Acquire) & READ == 0
                && slot.state.fetch_or(DESTROY, Ordering::AcqRel) & READ == 0
            {
                return;
            }
        }
        // SAFETY: made by Box::into_raw; all consumers have left, and only one of them gets here.
        drop(unsafe { Box::from_raw(block) });
    }
}

impl<T> Taken<T> {
    /// Moves the value out and leaves the block.
    #[inline(always)]
    fn read(self) -> T {
        // SAFETY: the block lives until all its consumers have left it.
        let slot = unsafe { &(&(*self.block).slots)[self.offset] };
        let mut backoff = Backoff::new();
        // Acquire pairs with the producer's Release.
        while slot.state.load(Ordering::Acquire) & WRITE == 0 {
            backoff.wait();
        }
        // SAFETY: the position is ours alone.
        let value = unsafe { slot.value.get().read() };
        // SAFETY: the producer has written it.
        let value = unsafe { value.assume_init() };
        if self.offset + 1 == SLOTS {
            // SAFETY: the last position of the block is taken last.
            unsafe { List::destroy(self.block, 0) };
        } else if slot.state.fetch_or(READ, Ordering::AcqRel) & DESTROY != 0 {
            // SAFETY: who set the flag had found the slots before ours left.
            unsafe { List::destroy(self.block, self.offset + 1) };
        }
        value
    }
}

impl<T> Buffer<T> for List<T> {
    #[inline(never)]
    fn push(&self, value: T) -> Result<(), PushError<T>> {
        match self.take_tail() {
            Some((block, offset)) => {
                // SAFETY: the block lives until all its consumers have left it, and ours waits for WRITE.
                let slot = unsafe { &(&(*block).slots)[offset] };
                // SAFETY: the position is ours alone.
                unsafe { slot.value.get().write(MaybeUninit::new(value)) };
                slot.state.fetch_or(WRITE, Ordering::Release);
                Ok(())
            }
            None => Err(PushError::Closed(value)),
        }
    }

    #[inline(never)]
    fn pop(&self) -> Pop<T> {
        match self.take_head() {
            Take::Slot(taken) => Pop::Value(taken.read()),
            Take::Empty => Pop::Empty,
            Take::Closed => Pop::Closed,
        }
    }

    fn readable(&self) -> bool {
        let head = self.head.position.load(Ordering::SeqCst);
        let tail = self.tail.position.load(Ordering::SeqCst);
        tail & FLAG != 0 || head >> SHIFT != tail >> SHIFT
    }

    fn writable(&self) -> bool {
        true
    }

    fn read_stamp(&self) -> usize {
        self.tail.position.load(Ordering::SeqCst)
    }

    fn write_stamp(&self) -> usize {
        0
    }

    // There is always room: nothing to reserve.
    fn reserve(&self) -> Reserve {
        if self.is_closed() { Reserve::Closed } else { Reserve::Place(0) }
    }

    fn fill(&self, _: usize, value: T) -> Result<(), T> {
        match self.push(value) {
            Ok(()) => Ok(()),
            Err(PushError::Full(value) | PushError::Closed(value)) => Err(value),
        }
    }

    fn abandon(&self, _: usize) {}

    fn close(&self) -> bool {
        self.tail.position.fetch_or(FLAG, Ordering::SeqCst) & FLAG == 0
    }

    fn is_closed(&self) -> bool {
        self.tail.position.load(Ordering::SeqCst) & FLAG != 0
    }

    fn len(&self) -> usize {
        loop {
            let tail = self.tail.position.load(Ordering::SeqCst) >> SHIFT;
            let head = self.head.position.load(Ordering::SeqCst) >> SHIFT;
            if self.tail.position.load(Ordering::SeqCst) >> SHIFT == tail {
                // Positions less those that are no slots.
                let slots = |position: usize| position / LAP * SLOTS + (position % LAP).min(SLOTS);
                return slots(tail).saturating_sub(slots(head));
            }
        }
    }

    fn capacity(&self) -> Option<usize> {
        None
    }
}

impl<T> Drop for List<T> {
    fn drop(&mut self) {
        while let Pop::Value(value) = self.pop() {
            drop(value);
        }
        // SAFETY: made by Box::into_raw; all other blocks were freed by their last consumers.
        drop(unsafe { Box::from_raw(self.head.block.load(Ordering::Relaxed)) });
    }
}
