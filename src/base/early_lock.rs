//! The heap's lock: it works before `main`, in a thread that ends, and across `fork`, and needs nothing to be set up (three states over a futex, Drepper's "Futexes are tricky",
//! mutex 2).
//!
//! [`super::lock`] is faster by an atomic exchange, which matters where every operation of a channel takes it. It needs `membarrier`, which a forked child may not have, and
//! counts sleepers, who do not exist in the child. The heap takes its locks once in dozens of operations.

use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};

use super::atomic::{AtomicU32, Ordering};
use super::lock::{Rank, ranks};
use crate::sys::futex;

const FREE: u32 = 0;
const HELD: u32 = 1;
const CONTENDED: u32 = 2;

/// See the file's documentation.
pub(crate) struct EarlyLock<T> {
    /// `FREE`, `HELD`, or `CONTENDED` (held, and somebody may sleep).
    word: AtomicU32,
    rank: Rank,
    /// Guarded by `word`.
    value: UnsafeCell<T>,
}

// SAFETY: `word` gives one thread at a time access to `value`.
unsafe impl<T: Send> Sync for EarlyLock<T> {}

impl<T> EarlyLock<T> {
    /// A free lock.
    pub(crate) const fn new(rank: Rank, value: T) -> Self {
        Self { word: AtomicU32::new(FREE), rank, value: UnsafeCell::new(value) }
    }

    /// Blocks the thread until the lock is held.
    #[inline]
    pub(crate) fn lock(&self) -> EarlyLocked<'_, T> {
        ranks::enter(self.rank);
        // Acquire pairs with the Release in `EarlyLocked::drop`.
        if self.word.compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed).is_err() {
            self.lock_slow();
        }
        EarlyLocked { lock: self }
    }

    #[cold]
    fn lock_slow(&self) {
        for _ in 0..100 {
            if self.word.load(Ordering::Relaxed) == FREE
                && self.word.compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed).is_ok()
            {
                return;
            }
            crate::arch::spin_hint();
        }
        while self.word.swap(CONTENDED, Ordering::Acquire) != FREE {
            futex::wait(&self.word, CONTENDED, u64::MAX);
        }
    }

    /// Holds the lock across a `fork`, so that the child finds what it guards whole; both sides call [`EarlyLock::release_after_fork`].
    pub(crate) fn hold_for_fork(&self) {
        std::mem::forget(self.lock());
    }

    /// Ends what [`EarlyLock::hold_for_fork`] began in this thread.
    pub(crate) fn release_after_fork(&self) {
        debug_assert_ne!(self.word.load(Ordering::Relaxed), FREE, "held since before the fork");
        drop(EarlyLocked { lock: self });
    }
}

/// Evidence that the lock is held.
pub(crate) struct EarlyLocked<'a, T> {
    lock: &'a EarlyLock<T>,
}

impl<T> EarlyLocked<'_, T> {
    /// Unlocks, and leaves the lock to who waits for it: for one who would take it again at once, over and over.
    pub(crate) fn give_way(self) {
        let is_wanted = self.lock.word.load(Ordering::Relaxed) == CONTENDED;
        drop(self);
        if is_wanted {
            futex::rest();
        }
    }
}

impl<T> Deref for EarlyLocked<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        let value = self.lock.value.get();
        // SAFETY: the lock is held as long as `self` lives.
        unsafe { &*value }
    }
}

impl<T> DerefMut for EarlyLocked<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        let value = self.lock.value.get();
        // SAFETY: the lock is held as long as `self` lives, and `self` is borrowed exclusively.
        unsafe { &mut *value }
    }
}

impl<T> Drop for EarlyLocked<'_, T> {
    #[inline]
    fn drop(&mut self) {
        ranks::leave(self.lock.rank);
        // Release pairs with the Acquire of the next `lock`.
        if self.lock.word.swap(FREE, Ordering::Release) == CONTENDED {
            futex::wake(&self.lock.word, 1);
        }
    }
}
