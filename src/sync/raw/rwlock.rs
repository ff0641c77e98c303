//! [`RawRwLock`]: Go's `sync.RWMutex` on our mutex and wait queue, with readers that leave the shared word when it is contended. Called by `sync::rwlock`.
//!
//! ```text
//!   word   63        56 55                      1      0
//!        +------------+--------------------------+--------+
//!        | last place | readers                  | writer |
//!        +------------+--------------------------+--------+
//! ```
//!
//! | step | what it does |
//! | --- | --- |
//! | read | `readers += 1` while `writer` is clear; else wait in list 0 |
//! | write | take `writers`, a mutex: one writer at a time; set `writer`: no new readers; wait in list 1 until there are no readers |
//! | end of a read | `readers -= 1`; the last one under `writer` wakes the writer |
//! | end of a write | clear `writer`, let all readers of list 0 in, then give `writers` back |
//!
//! So a waiting writer stops new readers, and a writer that ends lets all waiting readers go before the next writer: neither kind starves, as in Go. Among
//! writers the mutex is fair.
//!
//! **Biased reading** (BRAVO, Dice and Kogan, ATC 2019). Readers on several processors that count in one word take turns in owning its cache line, which costs tens of
//! nanoseconds a read. A reader leaves its worker's mark in the word (`last place`) and so sees when the one before it ran elsewhere. When that has happened
//! [`BIAS_AFTER`] times with no writer in between, the lock becomes *biased*: a reader claims an entry of a global table, chosen by lock and
//! worker, and writes the lock's address there; the word stays untouched. (40 million reads on two workers, six turns each on a busy machine: 0.25 s at best and about 0.5 s in the
//! median, against 0.58 s and 0.63 s in the word.)
//!
//! | `bias` | readers | to |
//! | --- | --- | --- |
//! | `OFF` | count in the word | `ON`, by a reader that counts in it, so no writer holds the lock |
//! | `ON` | take an entry of the table, or count in the word if it is taken | `REVOKING`, by a writer that has set `writer` |
//! | `REVOKING` | count in the word, that is, wait; those with an entry wake the writer when they leave | `OFF`, by that writer, when no entry names the lock |
//!
//! ```text
//!   read                         write                       end of a read
//!   entry = lock (swap)          bias = REVOKING             entry = 0
//!   read bias: ON, or go back    heavy()                     light()
//!                                look for entries            read bias: REVOKING: wake the writer
//! ```
//!
//! These are two store-buffering patterns: either the writer finds the entry, or the reader finds the lock revoked; either the writer finds the entry gone, or the reader finds that the writer waits. A
//! revocation costs a heavy fence and a look through the table (8.5 µs at most and half a microsecond), about as much as the [`BIAS_AFTER`] such reads that come before
//! the next one.

#![forbid(unsafe_code)]

use std::ptr;

use super::Acquired;
use super::mutex::RawMutex;
use crate::base::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering, fence as memory_fence};
use crate::base::{CachePadded, fence};
use crate::routine::Wait;
use crate::sched::waitq::{Outcome, WaitQueue};

const WRITER: u64 = 1;
const READER: u64 = 2;
/// The readers' part of the word, and the mark of the last one's place.
const READERS_MASK: u64 = PLACE - READER;
const PLACE: u64 = 1 << 56;

/// Lists of the queue.
const READERS: usize = 0;
const DRAIN: usize = 1;

/// Values of `bias`.
const OFF: u32 = 0;
const ON: u32 = 1;
const REVOKING: u32 = 2;

/// Reads after one elsewhere until the lock is biased: about a revocation's worth.
const BIAS_AFTER: u32 = if cfg!(loom) { 0 } else { 128 };

/// Entries of the table, each in a cache line of its own. Not so few that readers often meet in one, not so many that a writer looks for long.
const ENTRIES: usize = if cfg!(loom) { 1 } else { 128 };

type Table = [CachePadded<AtomicUsize>; ENTRIES];

#[cfg(not(loom))]
static TABLE: Table = [const { CachePadded::new(AtomicUsize::new(0)) }; ENTRIES];
#[cfg(loom)]
loom::lazy_static! {
    static ref TABLE: Table = std::array::from_fn(|_| CachePadded::new(AtomicUsize::new(0)));
}

#[inline(always)]
fn table() -> &'static Table {
    &TABLE
}

/// How a reader holds the lock: it says so when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held(
    /// The entry of the table, or `COUNTED`.
    u32,
);

/// In the word.
const COUNTED: Held = Held(u32::MAX);

/// Fibonacci hashing: the high bits of the product are the mixed ones.
const GOLDEN: usize = 0x9E37_79B9_7F4A_7C15;

/// The word with one reader more, who runs at `place`.
#[inline(always)]
fn with_reader(word: u64, place: usize) -> u64 {
    let mark = (place.wrapping_mul(GOLDEN) >> 56) as u64;
    (word & (PLACE - 1)) + READER + mark * PLACE
}

/// See the file's documentation.
pub(crate) struct RawRwLock {
    word: AtomicU64,
    bias: AtomicU32,
    /// Readers' collisions since the last writer; a number lost among them does no harm.
    collisions: AtomicU32,
    writers: RawMutex,
    queue: WaitQueue<2>,
}

impl RawRwLock {
    /// Free.
    #[cfg(not(loom))]
    pub(crate) const fn new() -> Self {
        Self {
            word: AtomicU64::new(0),
            bias: AtomicU32::new(OFF),
            collisions: AtomicU32::new(0),
            writers: RawMutex::new(),
            queue: WaitQueue::new(),
        }
    }

    /// Free.
    #[cfg(loom)]
    pub(crate) fn new() -> Self {
        Self {
            word: AtomicU64::new(0),
            bias: AtomicU32::new(OFF),
            collisions: AtomicU32::new(0),
            writers: RawMutex::new(),
            queue: WaitQueue::new(),
        }
    }

    /// Takes it to read, if no writer holds it or waits. `place` tells apart those that run at the same time.
    #[inline(always)]
    pub(crate) fn try_read(&self, place: usize) -> Option<Held> {
        if self.bias.load(Ordering::Relaxed) == ON
            && let Some(held) = self.read_biased(place)
        {
            return Some(held);
        }
        self.read_counted(place)
    }

    #[inline(always)]
    fn read_counted(&self, place: usize) -> Option<Held> {
        let word = self.word.load(Ordering::Relaxed);
        if word & WRITER != 0 {
            return None;
        }
        let next = with_reader(word, place);
        // Acquire pairs with the Release of the last writer.
        if self.word.compare_exchange_weak(word, next, Ordering::Acquire, Ordering::Relaxed).is_err() {
            return self.read_collided(place);
        }
        if word / PLACE != next / PLACE {
            self.collide();
        }
        Some(COUNTED)
    }

    #[cold]
    fn read_collided(&self, place: usize) -> Option<Held> {
        let mut word = self.word.load(Ordering::Relaxed);
        while word & WRITER == 0 {
            let next = with_reader(word, place);
            match self.word.compare_exchange_weak(word, next, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => {
                    self.collide();
                    return Some(COUNTED);
                }
                Err(now) => word = now,
            }
        }
        None
    }

    /// The caller is counted in the word, and the reader before it ran elsewhere.
    #[cold]
    fn collide(&self) {
        let collisions = self.collisions.load(Ordering::Relaxed);
        if collisions < BIAS_AFTER {
            self.collisions.store(collisions + 1, Ordering::Relaxed);
        } else if self.bias.load(Ordering::Relaxed) == OFF {
            self.collisions.store(0, Ordering::Relaxed);
            // As long as we read, no writer revokes: it waits for us first, and finds this when it looks.
            let _ = self.bias.compare_exchange(OFF, ON, Ordering::Release, Ordering::Relaxed);
        }
    }

    /// The lock's name in the table.
    #[inline(always)]
    fn name(&self) -> usize {
        ptr::from_ref(self).addr()
    }

    #[inline(always)]
    fn read_biased(&self, place: usize) -> Option<Held> {
        let hash = (self.name() ^ place).wrapping_mul(GOLDEN);
        let at = (hash >> 40) % ENTRIES;
        let entry = &table()[at];
        if entry.load(Ordering::Relaxed) != 0
            // SeqCst, and so is the load: pairs with the heavy fence in `revoke`.
            || entry.compare_exchange(0, self.name(), Ordering::SeqCst, Ordering::Relaxed).is_err()
        {
            return None;
        }
        fence::in_model();
        let held = Held(at as u32);
        if self.bias.load(Ordering::SeqCst) == ON {
            return Some(held);
        }
        // A writer has come. It may have seen the entry.
        self.end_read(held);
        None
    }

    /// Takes it to read, waiting until `deadline` if need be.
    #[inline(always)]
    pub(crate) fn read(&self, place: usize, deadline: u64) -> Result<Held, Acquired> {
        match self.try_read(place) {
            Some(held) => Ok(held),
            None => self.read_slow(place, deadline),
        }
    }

    #[cold]
    #[inline(never)]
    fn read_slow(&self, place: usize, deadline: u64) -> Result<Held, Acquired> {
        loop {
            if let Some(held) = self.read_counted(place) {
                return Ok(held);
            }
            let outcome = self.queue.wait(READERS, Wait::RwLockRead, deadline, ptr::null_mut(), |_| {
                // The node is linked. Pairs with the change of the word in `end_write`.
                memory_fence(Ordering::SeqCst);
                self.word.load(Ordering::Relaxed) & WRITER != 0
            });
            match outcome {
                // Counted by the writer that ended.
                Outcome::Answered(_) => return Ok(COUNTED),
                Outcome::Changed | Outcome::LookAgain => {}
                Outcome::TimedOut | Outcome::Cancelled => return Err(Acquired::interrupted(outcome)),
            }
        }
    }

    /// Ends a read.
    #[inline(always)]
    pub(crate) fn end_read(&self, held: Held) {
        if held == COUNTED {
            // Release pairs with the Acquire of the next writer's look.
            let before = self.word.fetch_sub(READER, Ordering::Release);
            if before & (READERS_MASK | WRITER) == READER | WRITER {
                self.wake_writer();
            }
            return;
        }
        // Release as above.
        table()[held.0 as usize].store(0, Ordering::Release);
        // Pairs with the heavy fence in `revoke`.
        fence::light();
        if self.bias.load(Ordering::Relaxed) == REVOKING {
            self.wake_writer();
        }
    }

    #[cold]
    #[inline(never)]
    fn wake_writer(&self) {
        let claimed = self.queue.lock().claim_first(DRAIN);
        if let Some(claimed) = claimed {
            claimed.wake(0);
        }
    }

    /// Whether somebody reads, as far as the word and, once the lock is revoked, the table say. Acquire pairs with the Release in `end_read`.
    fn has_readers(&self) -> bool {
        self.word.load(Ordering::Acquire) & READERS_MASK != 0
            || self.bias.load(Ordering::Relaxed) == REVOKING
                && table().iter().any(|entry| entry.load(Ordering::Acquire) == self.name())
    }

    /// Takes it to write, waiting until `deadline` if need be.
    pub(crate) fn write(&self, deadline: u64) -> Acquired {
        let first = self.writers.lock(Wait::RwLockWrite, deadline);
        if first != Acquired::Yes {
            return first;
        }
        self.stop_readers();
        while !self.is_drained() {
            let outcome = self.queue.wait(DRAIN, Wait::RwLockWrite, deadline, ptr::null_mut(), |_| {
                // Whoever leaves after this look takes the queue's lock to wake us.
                self.has_readers()
            });
            if let Outcome::TimedOut | Outcome::Cancelled = outcome {
                self.give_up();
                return Acquired::interrupted(outcome);
            }
        }
        Acquired::Yes
    }

    /// Takes it to write, if nobody holds it.
    pub(crate) fn try_write(&self) -> bool {
        if self.word.load(Ordering::Relaxed) & READERS_MASK != 0 || !self.writers.try_lock() {
            return false;
        }
        self.stop_readers();
        let drained = self.is_drained();
        if !drained {
            self.give_up();
        }
        drained
    }

    /// The caller has `writers`: no new reader is counted.
    fn stop_readers(&self) {
        // Acquire pairs with the Release of the readers that have ended.
        self.word.fetch_or(WRITER, Ordering::Acquire);
        self.collisions.store(0, Ordering::Relaxed);
        self.revoke();
    }

    /// No new reader takes an entry.
    fn revoke(&self) {
        if self.bias.load(Ordering::Relaxed) == ON {
            self.bias.store(REVOKING, Ordering::SeqCst);
            // Pairs with the compare-and-swap in `read_biased` and the light fence in `end_read`.
            fence::heavy();
        }
    }

    /// Whether the last reader has gone: then the lock is not biased any more.
    fn is_drained(&self) -> bool {
        if self.has_readers() {
            return false;
        }
        // A reader that was counted may have biased the lock after `stop_readers`; none is left that could do it again.
        self.revoke();
        let drained = !self.has_readers();
        if drained {
            self.bias.store(OFF, Ordering::Relaxed);
        }
        drained
    }

    /// The caller stopped the readers and leaves before they have ended.
    #[cold]
    fn give_up(&self) {
        if self.bias.load(Ordering::Relaxed) == REVOKING {
            // Those that have entries keep them.
            self.bias.store(ON, Ordering::Release);
        }
        self.end_write();
    }

    /// Ends a write.
    #[inline]
    pub(crate) fn end_write(&self) {
        // Release pairs with the Acquire of the next readers. SeqCst, and then `has_waiters`: a reader links its node and then looks at the word.
        self.word.fetch_and(!WRITER, Ordering::SeqCst);
        if self.queue.has_waiters(READERS) {
            self.let_readers_in();
        }
        self.writers.unlock();
    }

    /// Lets in all readers that wait. No writer comes before them: `writers` is the caller's.
    #[cold]
    #[inline(never)]
    fn let_readers_in(&self) {
        loop {
            // In a statement of its own: the lock is not held while somebody is woken.
            let claimed = self.queue.lock().claim_first(READERS);
            let Some(claimed) = claimed else { return };
            self.word.fetch_add(READER, Ordering::Relaxed);
            claimed.wake_tail(0);
        }
    }

    /// The caller writes, and goes on as a reader.
    pub(crate) fn downgrade(&self) -> Held {
        self.word.fetch_add(READER, Ordering::Relaxed);
        self.end_write();
        COUNTED
    }

    /// Makes it biased: as in `collide`, which is called by one who reads.
    #[cfg(loom)]
    pub(crate) fn bias_now(&self) {
        let _ = self.bias.compare_exchange(OFF, ON, Ordering::Release, Ordering::Relaxed);
    }

    /// Free, with nobody in the queue.
    #[cfg(loom)]
    pub(crate) fn check_idle(&self) {
        assert_eq!(self.word.load(Ordering::Relaxed) & (READERS_MASK | WRITER), 0);
        assert_ne!(self.bias.load(Ordering::Relaxed), REVOKING);
        assert!(table().iter().all(|entry| entry.load(Ordering::Relaxed) == 0));
        let queue = self.queue.lock();
        assert!(queue.is_empty(READERS) && queue.is_empty(DRAIN));
    }
}
