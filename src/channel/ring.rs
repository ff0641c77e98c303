//! The bounded buffer: Dmitry Vyukov's bounded MPMC queue (1024cores.net, "Bounded MPMC queue"), with crossbeam-channel's addition of a mark in the
//! tail that closes it, and reserved places of our own.
//!
//! A position is `lap | mark | index`: `one_lap` is the first power of two with room for an index and the mark bit, so going on to the next lap is an
//! addition. Each slot has a stamp:
//!
//! | stamp | the slot |
//! | --- | --- |
//! | `p` | is free for the producer that gets position `p` |
//! | `p + 1` | holds the value of position `p` |
//! | `p + mark` | is reserved: position `p` was taken by a select that has yet to compute its message |
//! | `p + 1 + mark` | was reserved and given up: the consumer that comes here goes on |
//!
//! | from | to | by |
//! | --- | --- | --- |
//! | `p` | `p + 1` | the producer whose compare-and-swap moved the tail from `p` (Release, the consumer's Acquire sees the value) |
//! | `p` | `p + mark` → `p + 1` or `p + 1 + mark` | likewise, in two steps (the second SeqCst: whoever waits for the value looks at the stamp) |
//! | `p + 1`, `p + 1 + mark` | `p + one_lap` | the consumer whose compare-and-swap moved the head from `p` |
//!
//! Between the two steps of a reservation user code runs, which may block; so consumers take such a place for "empty", and are woken
//! when it is filled. Between taking a position and the stamp of the other cases there are a few instructions: who meets such a slot waits for it.

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;

use super::buffer::{Backoff, Buffer, Pop, PushError, Reserve};
use crate::base::CachePadded;
use crate::base::atomic::{AtomicUsize, Ordering, fence};

struct Slot<T> {
    stamp: AtomicUsize,
    /// Initialised while the stamp is `p + 1`.
    value: UnsafeCell<MaybeUninit<T>>,
}

/// See the file's documentation.
pub(super) struct Ring<T> {
    /// The next position to read. Never has the mark.
    head: CachePadded<AtomicUsize>,
    /// The next position to write, with the mark once it is closed.
    tail: CachePadded<AtomicUsize>,
    slots: Box<[Slot<T>]>,
    one_lap: usize,
    mark: usize,
}

// SAFETY: a slot's value is touched by the one producer or consumer that the stamp and the positions give it to; values move between
// threads.
unsafe impl<T: Send> Send for Ring<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Ring<T> {}

impl<T> Ring<T> {
    /// An empty buffer with room for `capacity` values, at least one.
    pub(super) fn new(capacity: usize) -> Self {
        debug_assert!(capacity > 0, "a channel without capacity has no buffer");
        let mark = (capacity + 1).next_power_of_two();
        let slots = (0..capacity)
            .map(|index| Slot {
                stamp: AtomicUsize::new(index),
                value: UnsafeCell::new(MaybeUninit::uninit()),
            })
            .collect();
        Self {
            head: CachePadded::new(AtomicUsize::new(0)),
            tail: CachePadded::new(AtomicUsize::new(0)),
            slots,
            one_lap: mark * 2,
            mark,
        }
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn slot(&self, position: usize) -> &Slot<T> {
        let index = position & (self.mark - 1);
        debug_assert!(index < self.slots.len(), "an index below the capacity");
        // SAFETY: `next` keeps the index of a position below the capacity.
        unsafe { self.slots.get_unchecked(index) }
    }

    /// The position after this one.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn next(&self, position: usize) -> usize {
        let index = position & (self.mark - 1);
        if index + 1 < self.slots.len() {
            position + 1
        } else {
            (position & !(self.one_lap - 1)).wrapping_add(self.one_lap)
        }
    }

    /// Takes the position at the tail.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn take_tail(&self) -> Reserve {
        let mut backoff = None;
        let mut tail = self.tail.load(Ordering::Relaxed);
        loop {
            if tail & self.mark != 0 {
                return Reserve::Closed;
            }
            // Acquire pairs with the consumer's Release: the value has been moved out.
            let stamp = self.slot(tail).stamp.load(Ordering::Acquire);
            if stamp == tail {
                match self.tail.compare_exchange_weak(
                    tail,
                    self.next(tail),
                    Ordering::SeqCst,
                    Ordering::Relaxed,
                ) {
                    Ok(_) => return Reserve::Place(tail),
                    Err(now) => tail = now,
                }
                continue;
            }
            // The slot is not free for this lap: full, or its consumer is about to free it, or our tail is old.
            fence(Ordering::SeqCst);
            if self.head.load(Ordering::Relaxed).wrapping_add(self.one_lap) == tail {
                return Reserve::Full;
            }
            backoff.get_or_insert_with(Backoff::new).wait();
            tail = self.tail.load(Ordering::Relaxed);
        }
    }

    /// What is at the head, without taking it.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn look(&self, head: usize) -> Look {
        // SeqCst: for who has linked itself as a waiter and asks `readable`. Acquire pairs with the producer's Release.
        let stamp = self.slot(head).stamp.load(Ordering::SeqCst);
        if stamp == head + 1 {
            return Look::Value;
        }
        if stamp == head + 1 + self.mark {
            return Look::GivenUp;
        }
        if stamp == head + self.mark {
            return if self.head.load(Ordering::SeqCst) == head { Look::Empty } else { Look::Again };
        }
        fence(Ordering::SeqCst);
        let tail = self.tail.load(Ordering::SeqCst);
        if tail & !self.mark == head {
            return if tail & self.mark == 0 { Look::Empty } else { Look::Closed };
        }
        // A producer is about to set the stamp, or our head is old.
        Look::Again
    }
}

/// See [`Ring::look`].
enum Look {
    Value,
    GivenUp,
    Empty,
    Closed,
    Again,
}

impl<T> Buffer<T> for Ring<T> {
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn push(&self, value: T) -> Result<(), PushError<T>> {
        match self.take_tail() {
            Reserve::Place(tail) => {
                let slot = self.slot(tail);
                // SAFETY: the position is ours until we set the stamp.
                unsafe { slot.value.get().write(MaybeUninit::new(value)) };
                slot.stamp.store(tail + 1, Ordering::Release);
                Ok(())
            }
            Reserve::Full => Err(PushError::Full(value)),
            Reserve::Closed => Err(PushError::Closed(value)),
        }
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn pop(&self) -> Pop<T> {
        let mut backoff = None;
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            let given_up = match self.look(head) {
                Look::Value => false,
                Look::GivenUp => true,
                Look::Empty => return Pop::Empty,
                Look::Closed => return Pop::Closed,
                Look::Again => {
                    backoff.get_or_insert_with(Backoff::new).wait();
                    head = self.head.load(Ordering::Relaxed);
                    continue;
                }
            };
            let next = self.next(head);
            match self.head.compare_exchange_weak(head, next, Ordering::SeqCst, Ordering::Relaxed) {
                Ok(_) => {
                    let slot = self.slot(head);
                    // SAFETY: the position is ours until we set the stamp.
                    let value = unsafe { slot.value.get().read() };
                    slot.stamp.store(head.wrapping_add(self.one_lap), Ordering::Release);
                    if !given_up {
                        // SAFETY: the stamp said that the slot holds a value.
                        return Pop::Value(unsafe { value.assume_init() });
                    }
                    head = next;
                }
                Err(now) => head = now,
            }
        }
    }

    fn readable(&self) -> bool {
        !matches!(self.look(self.head.load(Ordering::SeqCst)), Look::Empty)
    }

    fn writable(&self) -> bool {
        let tail = self.tail.load(Ordering::SeqCst);
        tail & self.mark != 0 || self.head.load(Ordering::SeqCst).wrapping_add(self.one_lap) != tail
    }

    fn read_stamp(&self) -> usize {
        let stamp = self.slot(self.head.load(Ordering::SeqCst)).stamp.load(Ordering::SeqCst);
        self.tail.load(Ordering::SeqCst) ^ stamp.rotate_right(8)
    }

    fn write_stamp(&self) -> usize {
        self.head.load(Ordering::SeqCst) | (self.tail.load(Ordering::SeqCst) & self.mark)
    }

    fn reserve(&self) -> Reserve {
        let reserve = self.take_tail();
        if let Reserve::Place(tail) = reserve {
            self.slot(tail).stamp.store(tail + self.mark, Ordering::SeqCst);
        }
        reserve
    }

    fn fill(&self, place: usize, value: T) -> Result<(), T> {
        let slot = self.slot(place);
        // SAFETY: the position is the reserver's until it sets the stamp.
        unsafe { slot.value.get().write(MaybeUninit::new(value)) };
        slot.stamp.store(place + 1, Ordering::SeqCst);
        Ok(())
    }

    fn abandon(&self, place: usize) {
        self.slot(place).stamp.store(place + 1 + self.mark, Ordering::SeqCst);
        // Room again at once if it is the first; else when a consumer comes to it.
        let mut head = self.head.load(Ordering::SeqCst);
        while matches!(self.look(head), Look::GivenUp) {
            let next = self.next(head);
            match self.head.compare_exchange(head, next, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => {
                    self.slot(head).stamp.store(head.wrapping_add(self.one_lap), Ordering::Release);
                    head = next;
                }
                Err(now) => head = now,
            }
        }
    }

    fn close(&self) -> bool {
        self.tail.fetch_or(self.mark, Ordering::SeqCst) & self.mark == 0
    }

    fn is_closed(&self) -> bool {
        self.tail.load(Ordering::SeqCst) & self.mark != 0
    }

    fn len(&self) -> usize {
        loop {
            let tail = self.tail.load(Ordering::SeqCst);
            let head = self.head.load(Ordering::SeqCst);
            if self.tail.load(Ordering::SeqCst) == tail {
                let (h, t) = (head & (self.mark - 1), tail & (self.mark - 1));
                return match h.cmp(&t) {
                    std::cmp::Ordering::Less => t - h,
                    std::cmp::Ordering::Greater => self.slots.len() - h + t,
                    std::cmp::Ordering::Equal if tail & !self.mark == head => 0,
                    std::cmp::Ordering::Equal => self.slots.len(),
                };
            }
        }
    }

    fn capacity(&self) -> Option<usize> {
        Some(self.slots.len())
    }
}

impl<T> Drop for Ring<T> {
    fn drop(&mut self) {
        // Reservations are over: they borrow a sender. (One that was forgotten with `mem::forget` leaks what came after it.)
        while let Pop::Value(value) = self.pop() {
            drop(value);
        }
    }
}
