//! [`Life`]: how many references a cell has, whether its goroutine has ended, who owns the result, who waits for it.
//!
//! ```text
//!   31         8   2        1        0
//!  +------------+--------+--------+------+
//!  | references | handle | joiner | done |
//!  +------------+--------+--------+------+
//! ```
//!
//! References keep the *cell*; they are held by the goroutine itself, by its `JoinHandle`, and by `task::Handle`s. The
//! *result* belongs to the `JoinHandle` if `handle` is still set when `done` is, and to the goroutine otherwise: it is never
//! kept by a `task::Handle`, which may outlive a scope whose borrows the result holds. A free cell has life 0.
//!
//! | step | by | change |
//! | --- | --- | --- |
//! | spawn | spawner | 0 -> 2 references, `handle` (plain: nobody knows the cell) |
//! | register | the handle's owner | set `joiner`, unless `done`; before it writes the joiner, after it leaves it alone |
//! | deregister | the handle's owner | clear `joiner`, unless `done` |
//! | detach | the handle's owner | clear `handle` and drop its reference, unless `done`: then the result is its own to drop |
//! | finish, no handle | goroutine | drops the result, then sets `done` and drops its reference in one step |
//! | finish, nobody waits | goroutine | set `done` and drop its reference in one step |
//! | finish, `joiner` set | goroutine | set `done`; now the joiner is the goroutine's to read; wake; hand over or drop its reference |
//! | abandon | spawner | set `done` and drop both references: the spawn was refused |
//! | take the result | the handle's owner | reads payload and outcome after it saw `done` (Acquire pairs with the finisher's Release) |
//! | free | whoever drops the last reference | after `done`, 1 reference seen means nobody else can get one |
//!
//! Only [`Life::try_ref`] makes a reference from none, and it refuses cells that are done: that is what makes the check "done,
//! and I hold all the references" stable without an atomic read-modify-write.

use crate::base::atomic::{AtomicU32, Ordering};

const DONE: u32 = 1;
const JOINER: u32 = 2;
const HANDLE: u32 = 4;
const REF: u32 = 1 << 8;

/// See the file's documentation.
#[repr(transparent)]
pub(crate) struct Life(AtomicU32);

/// What the finishing goroutine found.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finish {
    /// Nothing was done yet: there is no handle, so drop the result and call [`Life::finish_detached`].
    Detached,
    /// The handle has the result; the cell is not ours any more.
    Left,
    /// Somebody registered; we still hold our reference.
    Joiner,
}

impl Life {
    #[cfg(loom)]
    pub(crate) fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// Starts a life with two references and a handle. The cell is not known to anybody yet.
    #[inline(always)]
    pub(crate) fn begin(&self) {
        // Release pairs with the Acquire in `try_ref`: a dump sees the cell's fields.
        self.0.store((2 * REF) | HANDLE, Ordering::Release);
    }

    /// Marks the cell free. The caller holds the only reference.
    #[inline(always)]
    pub(crate) fn end(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// Whether the goroutine has ended; what it left is visible then.
    #[inline(always)]
    pub(crate) fn is_done(&self) -> bool {
        self.0.load(Ordering::Acquire) & DONE != 0
    }

    /// Whether the cell is not free, and whether its goroutine may still run. For who has stopped the world.
    pub(crate) fn look(&self) -> (bool, bool) {
        let life = self.0.load(Ordering::Relaxed);
        (life >= REF, life & DONE == 0)
    }

    /// Whether somebody waits for the end. For who has stopped the world.
    pub(crate) fn has_joiner(&self) -> bool {
        self.0.load(Ordering::Relaxed) & JOINER != 0
    }

    /// One more reference, from one that the caller holds.
    pub(crate) fn add_ref(&self) {
        self.0.fetch_add(REF, Ordering::Relaxed);
    }

    /// A reference from none: fails for free cells and for goroutines that have ended.
    pub(crate) fn try_ref(&self) -> bool {
        let mut life = self.0.load(Ordering::Relaxed);
        while life >= REF && life & DONE == 0 {
            match self.0.compare_exchange_weak(life, life + REF, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => life = now,
            }
        }
        false
    }

    /// Changes the word, unless the goroutine has ended: then false, and what it left is visible.
    #[must_use]
    #[inline(always)]
    fn unless_done(&self, change: impl Fn(u32) -> u32) -> bool {
        let mut life = self.0.load(Ordering::Acquire);
        while life & DONE == 0 {
            // Release pairs with the finisher's Acquire: it sees the joiner, and what the handle's owner did to the cell before.
            match self.0.compare_exchange_weak(life, change(life), Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return true,
                Err(now) => life = now,
            }
        }
        false
    }

    /// The handle is given up. False if the goroutine has ended: the result is the caller's then, and so is the reference.
    #[must_use]
    pub(crate) fn detach(&self) -> bool {
        // The goroutine holds a reference, so ours is not the last.
        self.unless_done(|life| (life & !HANDLE) - REF)
    }

    /// Drops `count` references; true if they were the last: the caller frees the cell.
    #[must_use]
    #[inline]
    pub(crate) fn drop_refs(&self, count: u32) -> bool {
        // After `done` nobody makes a reference from none, so if all of them are ours it stays so.
        let life = self.0.load(Ordering::Acquire);
        if life & DONE != 0 && life & !(REF - 1) == count * REF {
            return true;
        }
        // Release orders our reads of the cell before its reuse; Acquire the others' if we are last.
        let before = self.0.fetch_sub(count * REF, Ordering::AcqRel);
        debug_assert!(before >= count * REF, "a reference is dropped once");
        before & !(REF - 1) == count * REF
    }

    /// Announces a joiner that the caller has written; false if the goroutine has ended: nothing was announced.
    #[must_use]
    #[inline]
    pub(crate) fn register(&self) -> bool {
        self.unless_done(|life| life | JOINER)
    }

    /// Withdraws the joiner; false if the goroutine has ended: the joiner is the finisher's.
    #[must_use]
    pub(crate) fn deregister(&self) -> bool {
        self.unless_done(|life| life & !JOINER)
    }

    /// The goroutine has ended and its result is in place.
    #[inline]
    pub(crate) fn finish(&self) -> Finish {
        // Acquire: if the handle was given up, what its owner did to the cell is over.
        let mut life = self.0.load(Ordering::Acquire);
        loop {
            debug_assert_eq!(life & DONE, 0, "a goroutine ends once");
            let (next, found) = match life {
                _ if life & HANDLE == 0 => return Finish::Detached,
                _ if life & JOINER != 0 => (life | DONE, Finish::Joiner),
                _ => ((life - REF) | DONE, Finish::Left),
            };
            // Release publishes the result; Acquire makes the joiner visible.
            match self.0.compare_exchange_weak(life, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return found,
                Err(now) => life = now,
            }
        }
    }

    /// Gives up a life that never got to a queue or a handle: both of its references. True if none is left: free the cell. (A dump
    /// may hold one.)
    #[must_use]
    pub(crate) fn abandon(&self) -> bool {
        let before = self.0.fetch_sub(2 * REF - DONE, Ordering::AcqRel);
        before & !(REF - 1) == 2 * REF
    }

    /// The second half of [`Finish::Detached`]; true if no reference is left: free the cell.
    #[must_use]
    #[inline]
    pub(crate) fn finish_detached(&self) -> bool {
        // DONE is clear and we hold a reference, so this sets the one and drops the other.
        let before = self.0.fetch_sub(REF - DONE, Ordering::AcqRel);
        before & !(REF - 1) == REF
    }
}
