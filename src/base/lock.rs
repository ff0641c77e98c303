//! A short lock that blocks the thread. Taking it is one compare-and-swap, giving it back a plain store: the asymmetric fence ([`super::fence`]) lets the
//! thread that goes to sleep pay for the barrier between "free" and "does anybody sleep?" (an unlock by `swap` costs 4.7 ns more, and channels
//! lock once per operation).
//!
//! ```text
//!   unlock                      lock, after spinning
//!   word = FREE                 sleepers += 1
//!   light()                     heavy()
//!   read sleepers               read word, sleep while seq is unchanged
//! ```
//!
//! For the runtime's own lists, held for tens of instructions. Never held across a switch, and no code of the user
//! (destructors, closures, `Debug`) runs under it. Locks have ranks; in debug builds taking a lower rank under a higher one
//! is an error at once instead of a deadlock some day.
//!
//! | rank | lock | held while taking |
//! | --- | --- | --- |
//! | `API` 0 | a context's children, a timer's function, where a descriptor is registered | `SOURCES`, `WAITERS` |
//! | `OBJECTS` 1 | weak pointers, destructors, clean-ups of collected objects | the heap's |
//! | `RUNTIME` 2 | a runtime's lists of workers and threads | everything below |
//! | `TIMERS` 3 | one worker's timer heap | nothing |
//! | `JOIN` 4 | the waker of one join cell, those of one channel | `WAITERS` |
//! | `SOURCES` 5 | the descriptors of one poller | `WAITERS` |
//! | `WAITERS` 6 | the waiters of one channel, lock or descriptor | nothing |
//! | `STACKS` 7 | the shared stack lists | `META` |
//! | `META` 8 | the shared cell lists | the heap's |
//! | `HEAP_RECORDS` 9 | the heap's thread records without a thread | the two below |
//! | `HEAP_CENTRAL` 10 | the heap's collected spans that no cache holds | `HEAP_PAGES` |
//! | `HEAP_PAGES` 11 | the heap's page runs | nothing |
//! | `HEAP_SAMPLES` 12 | what the heap profile has sampled | nothing |
//! | `WORLD` 13 | the list of threads | nothing |
//!
//! The crate's heap is the program's allocator, so what any of the upper locks guards may allocate under it: the heap's ranks are the last. Its
//! locks are of another make ([`super::early_lock`]).

use super::atomic::{AtomicU32, Ordering};
use super::fence;
use crate::sys::futex;
use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};

/// The order in which locks may be taken: only upwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    /// A context's children, a timer's function, where a descriptor is registered.
    Api = 0,
    /// Weak pointers, destructors, clean-ups of collected objects.
    #[cfg_attr(any(loom, not(feature = "gc")), allow(dead_code))]
    Objects = 1,
    /// A runtime's lists of workers and threads.
    Runtime = 2,
    /// One worker's timer heap.
    Timers = 3,
    /// The waker of one join cell, those of one channel.
    Join = 4,
    /// The descriptors of one poller.
    Sources = 5,
    /// The waiters of one channel, lock or descriptor.
    Waiters = 6,
    /// The shared stack lists.
    Stacks = 7,
    /// The shared cell lists.
    Meta = 8,
    /// The heap's thread records without a thread.
    HeapRecords = 9,
    /// The heap's collected spans that no cache holds.
    HeapCentral = 10,
    /// The heap's page runs.
    HeapPages = 11,
    /// What the heap profile has sampled.
    HeapSamples = 12,
    /// The list of threads.
    World = 13,
}

const FREE: u32 = 0;
const HELD: u32 = 1;

/// See the file's documentation.
pub(crate) struct Lock<T> {
    /// `FREE` or `HELD`.
    word: AtomicU32,
    /// Threads that sleep or are about to.
    sleepers: AtomicU32,
    /// The futex they sleep on: counts the wake-ups.
    seq: AtomicU32,
    rank: Rank,
    /// Guarded by `word`.
    value: UnsafeCell<T>,
}

// SAFETY: `word` gives one thread at a time access to `value`.
unsafe impl<T: Send> Send for Lock<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Lock<T> {}

impl<T> Lock<T> {
    /// A free lock.
    pub(crate) const fn new(rank: Rank, value: T) -> Self {
        Self {
            word: AtomicU32::new(FREE),
            sleepers: AtomicU32::new(0),
            seq: AtomicU32::new(0),
            rank,
            value: UnsafeCell::new(value),
        }
    }

    /// Blocks the thread until the lock is held.
    #[inline(always)]
    pub(crate) fn lock(&self) -> Locked<'_, T> {
        ranks::enter(self.rank);
        if !self.try_take() {
            self.lock_slow();
        }
        Locked { lock: self }
    }

    /// Its place in the order.
    #[inline(always)]
    pub(super) fn rank(&self) -> Rank {
        self.rank
    }

    #[inline(always)]
    fn try_take(&self) -> bool {
        // Acquire pairs with the Release in `Locked::drop`.
        self.word.compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    #[cold]
    fn lock_slow(&self) {
        for _ in 0..100 {
            if self.word.load(Ordering::Relaxed) == FREE && self.try_take() {
                return;
            }
            crate::arch::spin_hint();
        }
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        loop {
            let seq = self.seq.load(Ordering::SeqCst);
            // Pairs with the light fence in `Locked::drop`: it sees us, or we see the lock free.
            fence::heavy();
            if self.try_take() {
                break;
            }
            futex::wait(&self.seq, seq, u64::MAX);
        }
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
    }

    #[cold]
    #[inline(never)]
    fn wake_sleeper(&self) {
        self.seq.fetch_add(1, Ordering::SeqCst);
        futex::wake(&self.seq, 1);
    }
}

/// Evidence that the lock is held.
pub(crate) struct Locked<'a, T> {
    lock: &'a Lock<T>,
}

impl<T> Deref for Locked<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        let value = self.lock.value.get();
        // SAFETY: the lock is held as long as `self` lives.
        unsafe { &*value }
    }
}

impl<T> DerefMut for Locked<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        let value = self.lock.value.get();
        // SAFETY: the lock is held as long as `self` lives, and `self` is borrowed exclusively.
        unsafe { &mut *value }
    }
}

impl<T> Drop for Locked<'_, T> {
    #[inline]
    fn drop(&mut self) {
        ranks::leave(self.lock.rank);
        // Release pairs with the Acquire of the next `lock`.
        self.lock.word.store(FREE, Ordering::Release);
        fence::light();
        if self.lock.sleepers.load(Ordering::Relaxed) != 0 {
            self.lock.wake_sleeper();
        }
    }
}

/// The ranks this thread holds; nothing in release builds.
pub(super) mod ranks {
    use super::Rank;

    #[cfg(debug_assertions)]
    mod imp {
        use super::Rank;
        use std::cell::Cell;

        mod local {
            std::thread_local!(pub(super) static HELD: super::Cell<u32> = const { super::Cell::new(0) });
        }

        // Never inlined: the thread-local's address must not be kept by a goroutine across a switch.
        #[inline(never)]
        pub(super) fn enter(rank: Rank) {
            let bit = 1 << rank as u32;
            // A thread whose locals are gone already is checked by nobody.
            let _ = local::HELD.try_with(|held| {
                let higher = held.get() & !(bit - 1);
                debug_assert_eq!(higher, 0, "lock of rank {rank:?} taken under ranks {:b}", held.get());
                held.set(held.get() | bit);
            });
        }

        #[inline(never)]
        pub(super) fn leave(rank: Rank) {
            let _ = local::HELD.try_with(|held| held.set(held.get() & !(1 << rank as u32)));
        }
    }

    #[inline(always)]
    pub(in crate::base) fn enter(rank: Rank) {
        #[cfg(debug_assertions)]
        imp::enter(rank);
        let _ = rank;
    }

    #[inline(always)]
    pub(in crate::base) fn leave(rank: Rank) {
        #[cfg(debug_assertions)]
        imp::leave(rank);
        let _ = rank;
    }
}
