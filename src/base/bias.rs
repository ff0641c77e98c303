//! [`BiasedLock`]: a short lock that costs its owner no locked instruction.
//!
//! A channel between two goroutines of one worker is locked by that worker's thread alone, four times a round trip, and each of the four
//! compare-and-swaps costs 5 to 7 ns, because it drains the stores of the switch before it. So a lock that one worker has taken often enough in a row is
//! biased to it: the owner then says that it is inside with a plain store, and looks whether the bias is still there. Anybody else takes the
//! ordinary lock below, revokes the bias, makes that known by the heavy half of the asymmetric fence ([`super::fence`]), and waits for the owner to
//! leave. (Biased locking: Kawachiya et al. 2002; with asymmetric fences: Dice, Huang, Yang 2001.)
//!
//! ```text
//!   owner                       anybody else, holding `word`
//!   inside = 1                  owner = none
//!   light()                     heavy()
//!   read owner                  read inside              at least one of them sees the other
//! ```
//!
//! A revocation costs up to 8.5 µs, so the bias is given late (after [`STREAK`] times in a row; what lives short never has one), and later still
//! after each revocation.
//!
//! | state | who may enter | by |
//! | --- | --- | --- |
//! | `owner` null | who holds `word` | `word` |
//! | `owner` W | W | `inside` |
//! | `owner` W → null | nobody new | the holder of `word`, who enters when `inside` is 0 |

use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};
use std::ptr;

use super::atomic::{AtomicPtr, AtomicU32, Ordering};
use super::fence;
use super::lock::{Lock, Locked, Rank, ranks};

/// Who locks: an address that names the thread, null for one that is never an owner.
pub(crate) type Me = *mut ();

/// Times in a row before a lock is biased: a revocation costs as much as a thousand locks, so this bets on a lifetime of thousands.
const STREAK: u32 = if cfg!(loom) { 1 } else { 256 };

/// See the file's documentation.
// In this order: the owner needs the first three only, and finds them in one cache line with what comes before the lock (`sched::waitq`).
#[repr(C)]
pub(crate) struct BiasedLock<T> {
    /// Changed by the holder of `word` alone.
    owner: AtomicPtr<()>,
    /// 1 while the owner is inside. Written by the owner alone.
    inside: AtomicU32,
    /// Guarded by the table in the file's documentation.
    value: UnsafeCell<T>,
    word: Lock<History>,
}

/// Who has taken `word`, for the decision to bias.
struct History {
    last: Me,
    /// Times that `last` has taken it in a row.
    streak: u32,
    /// What `streak` has to reach.
    needed: u32,
}

// SAFETY: the lock gives one thread at a time access to `value`; an address of a thread's is only compared.
unsafe impl<T: Send> Send for BiasedLock<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for BiasedLock<T> {}
// SAFETY: `last` is only compared.
unsafe impl Send for History {}

const NEW: History = History { last: ptr::null_mut(), streak: 0, needed: STREAK };

impl<T> BiasedLock<T> {
    /// A free lock.
    #[cfg(not(loom))]
    pub(crate) const fn new(rank: Rank, value: T) -> Self {
        Self {
            owner: AtomicPtr::new(ptr::null_mut()),
            inside: AtomicU32::new(0),
            word: Lock::new(rank, NEW),
            value: UnsafeCell::new(value),
        }
    }

    /// A free lock.
    #[cfg(loom)]
    pub(crate) fn new(rank: Rank, value: T) -> Self {
        Self {
            owner: AtomicPtr::new(ptr::null_mut()),
            inside: AtomicU32::new(0),
            word: Lock::new(rank, NEW),
            value: UnsafeCell::new(value),
        }
    }

    /// Blocks the thread until the lock is held.
    ///
    /// `me` is an address that no other thread passes as long as this one runs, or null. The guard stays on this thread, and this
    /// thread does not lock the same lock meanwhile.
    #[inline(always)]
    pub(crate) fn lock(&self, me: Me) -> BiasLocked<'_, T> {
        match self.lock_biased(me) {
            Some(locked) => locked,
            None => BiasLocked { lock: self, word: Some(self.lock_word(me)) },
        }
    }

    /// As [`BiasedLock::lock`], if the lock is biased to the caller: what follows is then compiled for that case alone.
    #[inline(always)]
    pub(crate) fn lock_biased(&self, me: Me) -> Option<BiasLocked<'_, T>> {
        let is_inside = self.owner.load(Ordering::Relaxed) == me && !me.is_null() && self.enter(me);
        // Not `then_some`: that makes one, and drops it.
        if is_inside { Some(BiasLocked { lock: self, word: None }) } else { None }
    }

    /// The owner's way in; false if the bias was revoked.
    #[inline(always)]
    fn enter(&self, me: Me) -> bool {
        debug_assert_eq!(self.inside.load(Ordering::Relaxed), 0, "the owner is inside already");
        self.inside.store(1, Ordering::Relaxed);
        // Pairs with the heavy fence in `revoke`.
        fence::light();
        if self.owner.load(Ordering::Relaxed) == me {
            ranks::enter(self.word.rank());
            return true;
        }
        self.inside.store(0, Ordering::Release);
        false
    }

    #[inline(always)]
    fn lock_word(&self, me: Me) -> Locked<'_, History> {
        let mut history = self.word.lock();
        // Relaxed: written under `word`.
        if !self.owner.load(Ordering::Relaxed).is_null() {
            self.revoke(&mut history);
        } else if history.last != me {
            history.last = me;
            history.streak = 0;
        } else if !me.is_null() {
            history.streak += 1;
            if history.streak >= history.needed {
                // We are inside by `word` this time. Whoever takes it after us sees this.
                history.streak = 0;
                self.owner.store(me, Ordering::Relaxed);
            }
        }
        history
    }

    #[cold]
    #[inline(never)]
    fn revoke(&self, history: &mut History) {
        self.owner.store(ptr::null_mut(), Ordering::Relaxed);
        fence::heavy();
        #[cfg(not(loom))]
        let mut spins = 0_u32;
        // Acquire pairs with the Release of the owner that leaves.
        while self.inside.load(Ordering::Acquire) != 0 {
            #[cfg(loom)]
            loom::thread::yield_now();
            #[cfg(not(loom))]
            {
                spins += 1;
                if spins.is_multiple_of(64) {
                    std::thread::yield_now();
                } else {
                    crate::arch::spin_hint();
                }
            }
        }
        history.last = ptr::null_mut();
        history.streak = 0;
        history.needed = history.needed.saturating_mul(16);
    }
}

/// Evidence that the lock is held.
pub(crate) struct BiasLocked<'a, T> {
    lock: &'a BiasedLock<T>,
    /// `None`: we are the owner.
    word: Option<Locked<'a, History>>,
}

impl<T> Deref for BiasLocked<'_, T> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        let value = self.lock.value.get();
        // SAFETY: the lock is held as long as `self` lives.
        unsafe { &*value }
    }
}

impl<T> DerefMut for BiasLocked<'_, T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        let value = self.lock.value.get();
        // SAFETY: the lock is held as long as `self` lives, and `self` is borrowed exclusively.
        unsafe { &mut *value }
    }
}

impl<T> Drop for BiasLocked<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        if self.word.is_none() {
            ranks::leave(self.lock.word.rank());
            // Release pairs with the Acquire in `revoke`.
            self.lock.inside.store(0, Ordering::Release);
        }
    }
}
