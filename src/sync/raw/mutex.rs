//! [`RawMutex`]: Go's mutex (`internal/sync/mutex.go`) on our wait queue, with an unlock that is a plain store. Called by `sync::mutex`, `sync::condvar`, and by
//! `raw::rwlock` for its writers.
//!
//! `locked` is the mutex; `flags` says what an unlock has to attend to.
//!
//! | flag | means | set | cleared |
//! | --- | --- | --- | --- |
//! | contended | an unlock must be a full barrier | by a waiter, with the flags below | by a holder after [`CALM`] unlocks with nothing else to do |
//! | parked | somebody may wait in the queue | by a waiter, under the queue's lock | under the queue's lock, when it is empty |
//! | woken | one waiter was woken to compete and has not come yet | under the queue's lock | by that waiter |
//! | starving | the mutex is handed over instead of released | by a waiter that lost after [`PATIENCE`], under the queue's lock | by one to whom it was handed and who waited less, or when the queue is empty |
//!
//! **Barging.** A free mutex belongs to whoever comes first, whoever waits. That keeps it with the goroutine that runs and has it in its cache: an unlock
//! does not wait until another goroutine has been scheduled. One waiter at a time is woken to compete (`woken`); it waits in front of
//! the others if it loses.
//!
//! **Fairness.** A waiter that loses after it has waited for a millisecond makes the mutex starve: it goes from hand to hand, in the order of the
//! queue, and nobody barges, until a waiter gets it that has not waited that long.
//!
//! **No wake-up is lost.** Unlock and park are a store-buffering pattern:
//!
//! ```text
//!   unlock                                    park, under the queue's lock
//!   flags = 0?  locked = 0; light()           flags |= contended | parked, without woken if it was mine
//!         else  locked = 0 (swap)             flags were 0?  heavy()
//!   read flags                                read locked
//!   parked, not woken: wake one               free: compete; else: sleep
//! ```
//!
//! Flags that were 0 need the heavy fence, since the holder may be at its plain store. Once they are not 0, and that fence is through (it is under
//! the queue's lock), a holder either has its store done, or reads the flags after it; then it executes a full fence before it believes them
//! (between its store and that look others may have changed them). So parking costs a heavy fence at the first contention in a thousand unlocks, and
//! an unlock without contention costs no locked instruction.
//!
//! Who leaves the queue to `woken` relies on that waiter: it takes the mutex, and unlocks it; or it parks; or it leaves and passes the
//! wake-up on ([`RawMutex::pass_on`]). In each case `woken` is cleared before `locked` is read or written.
//!
//! Rejected: one word with all bits, as Go and parking_lot have it. Both its lock and its unlock are locked instructions (4.7 ns each
//! here), and while a waiter is on its way all lockers fail their first compare-and-swap: eight goroutines on two workers took 20 ns a lock.

#![forbid(unsafe_code)]

use std::ptr;

use super::Acquired;
use crate::base::atomic::{AtomicU32, Ordering, fence};
use crate::base::fence;
use crate::routine::Wait;
use crate::sched::spin::{Spin, note_wait};
use crate::sched::waitq::{LockedQueue, Options, Outcome, WaitQueue};
use crate::sys::clock;

/// Values of `locked`.
const FREE: u32 = 0;
const HELD: u32 = 1;

/// Bits of `flags`.
const CONTENDED: u32 = 1;
const PARKED: u32 = 2;
const WOKEN: u32 = 4;
const STARVING: u32 = 8;

/// The answers of a wake-up: compete for it; it is yours.
const TRY: usize = 0;
const HANDED: usize = 1;

/// Nanoseconds that a waiter lets others barge: Go's number.
const PATIENCE: u64 = 1_000_000;

/// Unlocks with nothing to attend to until the next one is a plain store again: a heavy fence costs up to 8.5 µs, a swap 5 ns.
const CALM: u32 = if cfg!(loom) { 1 } else { 1024 };

/// See the file's documentation.
pub(crate) struct RawMutex {
    locked: AtomicU32,
    flags: AtomicU32,
    /// Unlocks left until `contended` is cleared. Written by waiters under the queue's lock and by the holder; a number lost among them does no harm.
    calm: AtomicU32,
    queue: WaitQueue,
}

impl RawMutex {
    /// Free.
    #[cfg(not(loom))]
    pub(crate) const fn new() -> Self {
        let [locked, flags, calm] = [const { AtomicU32::new(0) }; 3];
        Self { locked, flags, calm, queue: WaitQueue::new() }
    }

    /// Free.
    #[cfg(loom)]
    pub(crate) fn new() -> Self {
        let [locked, flags, calm] = std::array::from_fn(|_| AtomicU32::new(0));
        Self { locked, flags, calm, queue: WaitQueue::new() }
    }

    /// Whether somebody holds it at this moment.
    pub(crate) fn is_locked(&self) -> bool {
        self.locked.load(Ordering::Relaxed) != FREE
    }

    /// Takes it if it is free.
    #[inline(always)]
    pub(crate) fn try_lock(&self) -> bool {
        // Acquire pairs with the Release of the unlock before.
        self.locked.compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Takes it, waiting until `deadline` if need be. `wait` is what dumps say.
    #[inline(always)]
    pub(crate) fn lock(&self, wait: Wait, deadline: u64) -> Acquired {
        if self.try_lock() { Acquired::Yes } else { self.lock_slow(wait, deadline, false) }
    }

    /// Takes it, however long that takes, and even if the caller is cancelled.
    pub(crate) fn lock_uninterrupted(&self) {
        if !self.try_lock() {
            let acquired = self.lock_slow(Wait::MutexLock, u64::MAX, true);
            debug_assert_eq!(acquired, Acquired::Yes, "nothing else ends this wait");
        }
    }

    #[cold]
    #[inline(never)]
    fn lock_slow(&self, wait: Wait, deadline: u64, uninterruptible: bool) -> Acquired {
        let mut spin = None;
        let mut since = 0;
        let mut woken = false;
        loop {
            if !self.is_locked() && self.try_lock() {
                if woken {
                    self.flags.fetch_and(!WOKEN, Ordering::Relaxed);
                }
                note_wait(since);
                return Acquired::Yes;
            }
            // Not with others in the queue: then the holder will wake one, and may well be suspended.
            if self.flags.load(Ordering::Relaxed) & PARKED == 0 && spin.get_or_insert_with(Spin::new).again()
            {
                continue;
            }
            let now = clock::now_ns();
            if since == 0 {
                since = now;
            }
            let starving = woken && now - since > PATIENCE;
            let options = Options { front: woken, uninterruptible };
            let outcome = self
                .queue
                .wait_with(0, wait, deadline, ptr::null_mut(), options, |_| self.park(&mut woken, starving));
            match outcome {
                Outcome::Answered(HANDED) => {
                    self.take_over(since);
                    note_wait(since);
                    return Acquired::Yes;
                }
                Outcome::TimedOut | Outcome::Cancelled => {
                    if woken {
                        self.pass_on();
                    }
                    return Acquired::interrupted(outcome);
                }
                Outcome::Answered(_) => woken = true,
                Outcome::Changed | Outcome::LookAgain => {}
            }
        }
    }

    /// Under the queue's lock: announces a waiter; false if the mutex is free. Takes `woken` from a caller that has it, and gives it back if it need
    /// not wait: only who sleeps is rid of the duty to compete.
    fn park(&self, woken: &mut bool, starving: bool) -> bool {
        let set = CONTENDED | PARKED | if starving { STARVING } else { 0 };
        let mine = if *woken { WOKEN } else { 0 };
        self.calm.store(CALM, Ordering::Relaxed);
        if self.change_flags(set, mine) == 0 {
            // Pairs with the light fence in `unlock`.
            fence::heavy();
        }
        fence::in_model();
        // SeqCst, and so was the change: pairs with the swap and the fence before `attend`.
        if self.locked.load(Ordering::SeqCst) == FREE {
            // Nobody else was woken meanwhile: that takes the queue's lock.
            self.change_flags(mine, 0);
            return false;
        }
        *woken = false;
        true
    }

    /// Returns the flags as they were.
    fn change_flags(&self, set: u32, clear: u32) -> u32 {
        let mut flags = self.flags.load(Ordering::Relaxed);
        loop {
            let next = (flags | set) & !clear;
            match self.flags.compare_exchange_weak(flags, next, Ordering::SeqCst, Ordering::Relaxed) {
                Ok(before) => return before,
                Err(now) => flags = now,
            }
        }
    }

    /// It was handed to the caller, who has waited since then.
    fn take_over(&self, since: u64) {
        if clock::now_ns() - since < PATIENCE {
            self.flags.fetch_and(!STARVING, Ordering::Relaxed);
        }
    }

    /// The caller was woken to compete, and has to leave: another one is.
    #[cold]
    fn pass_on(&self) {
        self.flags.fetch_and(!WOKEN, Ordering::SeqCst);
        fence::in_model();
        // SeqCst: as in `park`. Whoever holds it sees that nobody is on the way.
        if self.locked.load(Ordering::SeqCst) == FREE {
            self.attend();
        }
    }

    /// Gives it back.
    #[inline(always)]
    pub(crate) fn unlock(&self) {
        if self.flags.load(Ordering::Relaxed) != 0 {
            return self.unlock_contended();
        }
        // Release pairs with the Acquire in `try_lock`.
        self.locked.store(FREE, Ordering::Release);
        // Pairs with the heavy fence in `park`.
        fence::light();
        if self.flags.load(Ordering::Relaxed) != 0 {
            self.attend_fenced();
        }
    }

    #[cold]
    #[inline(never)]
    fn attend_fenced(&self) {
        fence(Ordering::SeqCst);
        self.attend();
    }

    #[inline(never)]
    fn unlock_contended(&self) {
        let flags = self.flags.load(Ordering::Relaxed);
        if flags & STARVING != 0 {
            return self.hand_over(self.queue.lock());
        }
        if flags == CONTENDED {
            let calm = self.calm.load(Ordering::Relaxed);
            if calm == 0 {
                let _ = self.flags.compare_exchange(CONTENDED, 0, Ordering::Relaxed, Ordering::Relaxed);
            } else {
                self.calm.store(calm - 1, Ordering::Relaxed);
            }
        }
        // Release as in `unlock`; SeqCst as in `park`.
        self.locked.swap(FREE, Ordering::SeqCst);
        fence::in_model();
        self.attend();
    }

    /// After the mutex was released: wakes one waiter if there are any and none is on its way.
    fn attend(&self) {
        if self.flags.load(Ordering::SeqCst) & (PARKED | WOKEN) == PARKED {
            self.wake_one();
        }
    }

    #[cold]
    #[inline(never)]
    fn wake_one(&self) {
        let mut queue = self.queue.lock();
        let flags = self.flags.load(Ordering::Relaxed);
        if flags & WOKEN != 0 {
            return;
        }
        if flags & STARVING != 0 {
            // It began to starve while it was released. Whoever has taken it since will hand it over.
            if self.try_lock() {
                self.hand_over(queue);
            }
            return;
        }
        // Only hand-overs are promised an order.
        let claimed = queue.claim_any(0);
        let empty = if queue.is_empty(0) { PARKED } else { 0 };
        self.change_flags(if claimed.is_some() { WOKEN } else { 0 }, empty);
        drop(queue);
        if let Some(claimed) = claimed {
            claimed.wake(TRY);
        }
    }

    /// The caller holds it: gives it to the first waiter.
    #[cold]
    #[inline(never)]
    fn hand_over(&self, mut queue: LockedQueue<'_, 1>) {
        let claimed = queue.claim_first(0);
        if queue.is_empty(0) {
            self.change_flags(0, PARKED | STARVING);
        }
        match claimed {
            Some(claimed) => {
                drop(queue);
                claimed.wake(HANDED);
            }
            // Under the queue's lock, so nobody parks before.
            None => self.locked.store(FREE, Ordering::Release),
        }
    }

    /// Free, and nobody in the queue or on the way.
    #[cfg(loom)]
    pub(crate) fn check_idle(&self) {
        assert_eq!(self.locked.load(Ordering::Relaxed), FREE);
        assert_eq!(self.flags.load(Ordering::Relaxed) & (WOKEN | STARVING), 0);
        assert!(self.queue.lock().is_empty(0));
    }
}
