//! A thread's part of the manual heap: magazines of free blocks, and the spans that they are filled from. Called by `entry` (the fast paths) and `registry`; calls
//! `remote`, `registry` (for spans of threads that are gone) and `pages`.
//!
//! ```text
//!   alloc: pop    free: push            a magazine: an array of addresses, one for each bin
//!       | empty       | full
//!       v refill      v flush (half, the oldest)
//!   spans of this owner, by bin         own slots: a plain bit; slots of others' spans: `remote`, folded in here
//!       | none left   | all slots free
//!       v             v
//!   a span of a thread that is gone, or `pages`
//! ```
//!
//! A block is freed into the freeing thread's magazine, whoever's span it is of (tcmalloc's rule): what is handed from thread to thread is used where it is hot. Only what the
//! magazine has too much of goes home, half a magazine at a time.
//!
//! Records are of one thread at a time and live for ever: `registry` says who has one. All fields are the thread's own but `inbox`; those that statistics
//! read meanwhile are atomics, read and written relaxed.
//!
//! **Idle magazines.** A block in a magazine keeps its whole span from going back, and after a burst the blocks of one magazine may lie in as many spans. So slow paths look at the
//! clock now and then ([`Owner::tidy`]), and empty the magazines that were neither filled nor emptied since the last look.
//!
//! Magazines grow: a bin begins with [`FIRST_CAP`] blocks and doubles whenever the magazine runs empty or full, up to `class::magazine`. A thread that allocates a few
//! blocks holds a few.

use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

use super::arena::{self, Kind};
use super::cache::Cache;
use super::class::{self, BINS, BINS_ROOM, MAGAZINE};
use super::meter::Meter;
use super::pages::{self, Wanted};
use super::registry;
use super::remote::{self, Inbox};
use super::span::{self, Span};
use crate::sys::clock;

/// Blocks in a magazine at first.
const FIRST_CAP: u32 = 8;
/// Slow paths between two looks at the clock, and nanoseconds between two rounds of tidying.
const TIDY_EVERY: u32 = 32;
const TIDY_NS: u64 = 100_000_000;
/// Spans that one refill looks into, once it has a block.
const SPANS_TRIED: usize = 4;

/// See the file's documentation.
#[repr(C, align(64))]
pub(crate) struct Owner {
    heads: [Head; BINS_ROOM],
    magazines: [[AtomicPtr<u8>; MAGAZINE]; BINS_ROOM],
    bins: [Bin; BINS],
    /// Free collected slots.
    pub(super) collected: Cache,
    /// Whether the thread is in a slow path: then a block may be in a magazine and elsewhere.
    is_slow: AtomicU32,
    /// Slow paths since the last look at the clock.
    slow: AtomicU32,
    /// When idle magazines were emptied last.
    tidied: AtomicU64,
    /// What counts allocations while the heap is sampled.
    pub(super) meter: Meter,
    /// Spans of this owner in which others freed something.
    pub(super) inbox: Inbox<Span>,
    /// The list of all records: written once, before the record is in it.
    pub(super) next: AtomicPtr<Owner>,
    /// The list of records without a thread, under the lock of `registry`.
    pub(super) next_idle: AtomicPtr<Owner>,
}

/// The state of one magazine.
struct Head {
    /// Blocks in it.
    count: AtomicU32,
    /// At most this many. 0 in a record that is not set up, so that both fast paths take the slow one.
    cap: AtomicU32,
}

/// This owner's spans of one bin that have free slots. Spans without are in no list.
struct Bin {
    /// The next refill's.
    first: AtomicPtr<Span>,
    /// The one that got its first free slot last.
    last: AtomicPtr<Span>,
    /// 1 if the magazine was filled or emptied since the last tidying.
    active: AtomicU32,
}

/// No free block can be had.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exhausted {
    pub(super) bytes: usize,
    pub(super) errno: i32,
}

impl Owner {
    /// A record without anything: what threads have before they have one.
    pub(super) const fn empty() -> Self {
        Self {
            heads: [const { Head { count: AtomicU32::new(0), cap: AtomicU32::new(0) } }; BINS_ROOM],
            magazines: [const { [const { AtomicPtr::new(ptr::null_mut()) }; MAGAZINE] }; BINS_ROOM],
            bins: [const {
                Bin {
                    first: AtomicPtr::new(ptr::null_mut()),
                    last: AtomicPtr::new(ptr::null_mut()),
                    active: AtomicU32::new(0),
                }
            }; BINS],
            collected: Cache::new(),
            is_slow: AtomicU32::new(0),
            slow: AtomicU32::new(0),
            tidied: AtomicU64::new(0),
            meter: Meter::off(),
            inbox: Inbox::new(),
            next: AtomicPtr::new(ptr::null_mut()),
            next_idle: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// A block of the bin's magazine; none if it is empty.
    #[inline(always)]
    pub(super) fn pop(&self, bin: usize) -> Option<*mut u8> {
        let head = &self.heads[bin % BINS_ROOM];
        let count = head.count.load(Ordering::Relaxed);
        if count == 0 {
            return None;
        }
        head.count.store(count - 1, Ordering::Relaxed);
        Some(self.magazines[bin % BINS_ROOM][(count as usize - 1) % MAGAZINE].load(Ordering::Relaxed))
    }

    /// Puts a block into the bin's magazine; false if that is full.
    #[inline(always)]
    pub(super) fn push(&self, bin: usize, block: *mut u8) -> bool {
        let head = &self.heads[bin % BINS_ROOM];
        let count = head.count.load(Ordering::Relaxed);
        if count >= head.cap.load(Ordering::Relaxed) {
            return false;
        }
        self.magazines[bin % BINS_ROOM][count as usize % MAGAZINE].store(block, Ordering::Relaxed);
        head.count.store(count + 1, Ordering::Relaxed);
        true
    }

    /// Blocks in the bin's magazine, for statistics.
    pub(super) fn count(&self, bin: usize) -> usize {
        self.heads[bin].count.load(Ordering::Relaxed) as usize
    }

    /// Runs a slow path.
    #[inline(always)]
    pub(super) fn slowly<T>(&self, work: impl FnOnce() -> T) -> T {
        let outer = self.is_slow.load(Ordering::Relaxed);
        self.is_slow.store(1, Ordering::Relaxed);
        // The collector reads it while this thread is stopped: only the compiler could reorder.
        std::sync::atomic::compiler_fence(Ordering::SeqCst);
        let result = work();
        std::sync::atomic::compiler_fence(Ordering::SeqCst);
        self.is_slow.store(outer, Ordering::Relaxed);
        result
    }

    /// Whether every block in a magazine is in no other place. For who has stopped the thread.
    pub(super) fn is_settled(&self) -> bool {
        self.is_slow.load(Ordering::Relaxed) == 0
    }

    /// The blocks in the bin's magazine. Exact while the thread is stopped, and settled.
    pub(crate) fn blocks(&self, bin: usize) -> impl Iterator<Item = usize> {
        let blocks = self.magazines[bin].iter().take(self.count(bin));
        blocks.map(|block| block.load(Ordering::Relaxed) as usize)
    }

    /// Empties idle magazines, if it is time. In every slow path.
    #[inline(always)]
    pub(super) fn tidy(&'static self) {
        let slow = self.slow.load(Ordering::Relaxed) + 1;
        self.slow.store(slow % TIDY_EVERY, Ordering::Relaxed);
        if slow == TIDY_EVERY {
            self.slowly(|| self.tidy_slow());
        }
    }

    #[inline(never)]
    fn tidy_slow(&'static self) {
        let now = clock::coarse_ns();
        if now < self.tidied.load(Ordering::Relaxed) + TIDY_NS {
            return;
        }
        self.tidied.store(now, Ordering::Relaxed);
        for (bin, state) in self.bins.iter().enumerate() {
            if state.active.load(Ordering::Relaxed) == 0 {
                self.put_back(bin);
                self.heads[bin].cap.store(0, Ordering::Relaxed);
            }
            state.active.store(0, Ordering::Relaxed);
        }
        self.fold_in();
    }

    /// The next free goes into a slow path, even if another thread says so: at worst its magazine grows anew.
    pub(super) fn have_looked(&self) {
        self.heads.iter().for_each(|head| head.cap.store(0, Ordering::Relaxed));
    }

    /// How many blocks the magazine takes; from now on so many. By the thread.
    pub(super) fn swap_cap(&self, bin: usize, cap: u32) -> u32 {
        let old = self.heads[bin].cap.load(Ordering::Relaxed);
        self.heads[bin].cap.store(cap, Ordering::Relaxed);
        old
    }

    /// Lets the bin's magazine hold twice as much.
    fn grow(&self, bin: usize) -> u32 {
        let head = &self.heads[bin];
        let most = class::magazine(bin / 2);
        let cap = (head.cap.load(Ordering::Relaxed) * 2).clamp(FIRST_CAP.min(most), most);
        head.cap.store(cap, Ordering::Relaxed);
        cap
    }

    /// Fills the empty magazine to a half and takes a block of it.
    #[cold]
    #[inline(never)]
    pub(super) fn refill(&'static self, bin: usize) -> Result<*mut u8, Exhausted> {
        debug_assert_eq!(self.count(bin), 0, "only an empty magazine is filled");
        self.bins[bin].active.store(1, Ordering::Relaxed);
        self.tidy();
        self.fold_in();
        let class = bin / 2;
        let wanted = (self.grow(bin) as usize / 2).max(1);
        let magazine = &self.magazines[bin];
        let mut got = 0;
        for _ in 0..SPANS_TRIED {
            let first = self.bins[bin].first.load(Ordering::Relaxed);
            // SAFETY: null, or a span record, which lives for ever.
            let span = match unsafe { first.as_ref() } {
                Some(span) => span,
                None if got > 0 => break,
                None => self.another_span(bin)?,
            };
            // The lowest address goes to the end, where it is popped first.
            span.take(class, wanted - got, |address| {
                got += 1;
                magazine[wanted - got].store(address as *mut u8, Ordering::Relaxed);
            });
            if span.free_slots() == 0 {
                self.unlist(bin, span);
            }
            if got == wanted {
                break;
            }
        }
        if got < wanted {
            // Down to the bottom.
            for index in 0..got {
                let block = magazine[wanted - got + index].load(Ordering::Relaxed);
                magazine[index].store(block, Ordering::Relaxed);
            }
        }
        // One of them at once.
        let block = magazine[got - 1].load(Ordering::Relaxed);
        self.heads[bin].count.store(got as u32 - 1, Ordering::Relaxed);
        Ok(block)
    }

    /// A block that reads as zero and was never written to, if the magazine is empty and the next span has one. What is in the magazine is warm: better to zero that.
    #[cold]
    pub(super) fn zeroed(&'static self, bin: usize) -> Option<*mut u8> {
        if self.count(bin) > 0 {
            return None;
        }
        self.tidy();
        self.fold_in();
        let first = self.bins[bin].first.load(Ordering::Relaxed);
        // SAFETY: null, or a span record, which lives for ever.
        let span = match unsafe { first.as_ref() } {
            Some(span) => span,
            None => self.another_span(bin).ok()?,
        };
        let address = span.take_fresh(bin / 2)?;
        if span.free_slots() == 0 {
            self.unlist(bin, span);
        }
        Some(address as *mut u8)
    }

    /// Frees a block although the magazine is full, or not set up.
    #[cold]
    #[inline(never)]
    pub(super) fn push_slow(&'static self, bin: usize, block: *mut u8) {
        self.bins[bin].active.store(1, Ordering::Relaxed);
        self.tidy();
        let (cap, has) = (self.grow(bin) as usize, self.count(bin));
        // Full, or above what `have_looked` has left it.
        if has >= cap {
            self.flush(bin, has - cap / 2);
        }
        // Not `push`: the cap may be another thread's by now.
        let count = self.count(bin);
        self.magazines[bin][count].store(block, Ordering::Relaxed);
        self.heads[bin].count.store(count as u32 + 1, Ordering::Relaxed);
    }

    /// Gives the oldest `count` blocks of a magazine back to their spans.
    pub(super) fn flush(&'static self, bin: usize, count: usize) {
        if count == 0 {
            return;
        }
        let class = bin / 2;
        let magazine = &self.magazines[bin];
        let had = self.count(bin);
        // Frees that go into the same word are made together.
        let mut pending: Option<(&'static Span, usize, u64)> = None;
        for block in &magazine[..count] {
            let address = block.load(Ordering::Relaxed) as usize;
            let span = span_of(class, address);
            let slot = span.slot_of(class, address);
            pending = Some(match pending {
                Some((other, word, mask)) if ptr::eq(other, span) && word == slot.word => {
                    (span, word, mask | slot.mask())
                }
                Some((other, word, mask)) => {
                    self.give(bin, other, word, mask);
                    (span, slot.word, slot.mask())
                }
                None => (span, slot.word, slot.mask()),
            });
        }
        if let Some((span, word, mask)) = pending {
            self.give(bin, span, word, mask);
        }
        for index in count..had {
            let block = magazine[index].load(Ordering::Relaxed);
            magazine[index - count].store(block, Ordering::Relaxed);
        }
        self.heads[bin].count.store((had - count) as u32, Ordering::Relaxed);
    }

    /// Gives slots back to a span, mine or not.
    #[inline(always)]
    fn give(&'static self, bin: usize, span: &'static Span, word: usize, mask: u64) {
        // Only the owner's holder changes it, so if it is this one it stays.
        if ptr::eq(span.owner(), self) {
            span.put(word, mask);
            self.settle(bin, span);
        } else {
            remote::free(span, word, mask);
        }
    }

    /// Takes in what others freed in spans of this owner.
    #[inline(always)]
    pub(super) fn fold_in(&'static self) {
        if !self.inbox.is_empty() {
            self.fold_in_slow();
        }
    }

    #[inline(never)]
    fn fold_in_slow(&'static self) {
        remote::drain(
            &self.inbox,
            |span| ptr::eq(span.owner(), self),
            |span, word, mask| span.put(word, mask),
            |span| {
                let bin = span.class() as usize * 2 + usize::from(span.kind() == Kind::ManualNoscan);
                self.settle(bin, span);
            },
        );
    }

    /// A span of this owner has got free slots: into the list, or back to `pages` if all are free and the bin has others.
    fn settle(&'static self, bin: usize, span: &'static Span) {
        if span.free_slots() == 0 {
            // Only a summary bit without slots.
            return;
        }
        if !span.is_listed() {
            self.list(bin, span);
        }
        if span.free_slots() == class::slots(bin / 2) {
            let only = ptr::eq(self.bins[bin].first.load(Ordering::Relaxed), span)
                && ptr::eq(self.bins[bin].last.load(Ordering::Relaxed), span);
            if !only {
                self.release(bin, span);
            }
        }
    }

    fn release(&'static self, bin: usize, span: &'static Span) {
        self.unlist(bin, span);
        span.set_owner(ptr::null());
        pages::release(span, class::granules(bin / 2) * class::GRANULE);
    }

    /// A span with free slots, for a bin that has none: of a thread that is gone, or a new one.
    fn another_span(&'static self, bin: usize) -> Result<&'static Span, Exhausted> {
        if let Some(span) = registry::adopt(bin, self) {
            self.list(bin, span);
            return Ok(span);
        }
        let class = bin / 2;
        let wanted = Wanted {
            kind: Kind::manual(bin),
            class: class as u32,
            granules: class::granules(class),
            align: class::GRANULE,
            slack: false,
        };
        let span = pages::make(wanted)
            .or_else(|_| {
                // What this thread holds free, and the idle records' spans, may be whole runs.
                self.trim();
                registry::trim_idle();
                pages::make(wanted)
            })
            .map_err(|error| Exhausted { bytes: error.bytes, errno: error.errno })?;
        let is_zero = (0..class::granules(class)).all(|granule| !pages::is_dirty(span.granule() + granule));
        span.fill(class, is_zero);
        span.set_owner(self);
        self.list(bin, span);
        Ok(span)
    }

    /// A span of the bin, taken out of this owner's list, for another to have. Under the lock of `registry`.
    pub(super) fn give_away(&'static self, bin: usize) -> Option<&'static Span> {
        self.fold_in();
        let first = self.bins[bin].first.load(Ordering::Relaxed);
        // SAFETY: null, or a span record, which lives for ever.
        let span = unsafe { first.as_ref() }?;
        self.unlist(bin, span);
        Some(span)
    }

    /// Gives all magazines back, and whole free spans to `pages`. The thread ends, or memory is short.
    pub(super) fn trim(&'static self) {
        self.fold_in();
        for bin in 0..BINS {
            self.put_back(bin);
            let mut next = self.bins[bin].first.load(Ordering::Relaxed);
            // SAFETY: null, or a span record, which lives for ever.
            while let Some(span) = unsafe { next.as_ref() } {
                next = span.links().1.load(Ordering::Relaxed);
                if span.free_slots() == class::slots(bin / 2) {
                    self.release(bin, span);
                }
            }
        }
    }

    /// At the end of the list.
    fn list(&self, bin: usize, span: &'static Span) {
        debug_assert!(!span.is_listed(), "a span is in one list");
        let (before, after) = span.links();
        let last = self.bins[bin].last.load(Ordering::Relaxed);
        let this = ptr::from_ref(span).cast_mut();
        before.store(last, Ordering::Relaxed);
        after.store(ptr::null_mut(), Ordering::Relaxed);
        // SAFETY: null, or a span record, which lives for ever.
        match unsafe { last.as_ref() } {
            Some(last) => last.links().1.store(this, Ordering::Relaxed),
            None => self.bins[bin].first.store(this, Ordering::Relaxed),
        }
        self.bins[bin].last.store(this, Ordering::Relaxed);
        span.set_listed(true);
    }

    fn unlist(&self, bin: usize, span: &'static Span) {
        debug_assert!(span.is_listed(), "a span with free slots is in a list");
        let (before, after) = span.links();
        let (before, after) = (before.load(Ordering::Relaxed), after.load(Ordering::Relaxed));
        // SAFETY: null, or a span record, which lives for ever.
        match unsafe { before.as_ref() } {
            Some(before) => before.links().1.store(after, Ordering::Relaxed),
            None => self.bins[bin].first.store(after, Ordering::Relaxed),
        }
        // SAFETY: as above.
        match unsafe { after.as_ref() } {
            Some(after) => after.links().0.store(before, Ordering::Relaxed),
            None => self.bins[bin].last.store(before, Ordering::Relaxed),
        }
        span.set_listed(false);
    }
}

/// The span of a block of that class.
#[inline(always)]
fn span_of(class: usize, address: usize) -> &'static Span {
    let granule = arena::granule_in(address);
    if class < class::FIRST_MEDIUM {
        return arena::span(granule);
    }
    match span::at(granule) {
        Some(span) => span,
        None => crate::base::fatal!("greenroutine: fatal: heap: a free block lies in no span\n"),
    }
}
