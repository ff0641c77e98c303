//! Collected spans that no cache holds, by bin, and the sweep. Called by `cache`, `collected`, and the collector (through `frozen`); calls `pages`.
//!
//! | a span is | who may touch its `free` bits |
//! | --- | --- |
//! | held by a cache (in no list) | the cache's thread |
//! | in a list here, or full (in no list), or not swept yet | nobody but the sweep, under the lock |
//!
//! The bins are those of manual blocks: class and whether it is scanned; only the sub-arenas differ.
//!
//! **The sweep is lazy.** A cycle ends with marks in the spans' `side` bits. [`Lists::begin_sweep`], with the world stopped, makes every span unswept by counting up one number. Then whoever
//! needs a span sweeps a few until one fits, and the collector's thread sweeps the rest. A span's free slots become all that is not marked, and its marks go.

use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::arena::Kind;
use super::class::{self, BINS};
use super::owner::Exhausted;
use super::pages::{self, Wanted};
use super::span::{self, Slot, Span};
use super::{large, sample};
use crate::base::early_lock::{EarlyLock, EarlyLocked};
use crate::base::lock::Rank;

/// Spans that one who needs a span sweeps at most before taking a fresh one.
const SWEPT_FOR_ONE: usize = 16;

/// The kinds that are swept.
const COLLECTED: [Kind; 2] = [Kind::CollectedScan, Kind::CollectedNoscan];

/// Spans with free slots, by bin, through their links; and where the sweep is.
pub(super) struct Lists {
    first: [*const Span; BINS],
    /// The number of the sweep.
    sweep: u32,
    /// Per kind: granules that are still to be swept.
    rest: [(usize, usize); COLLECTED.len()],
    swept: Swept,
    /// The number of the marking.
    marking: u32,
    log: Log,
}

/// Spans that were handed out during a marking since the last [`begin_log`], by their first granules.
struct Log {
    granules: [u32; LOG],
    /// How many there were; more than there is room for means that any may have been.
    count: usize,
}

/// Those of the millisecond in which it is needed: allocation is slowed down then.
const LOG: usize = 512;

// SAFETY: the pointers are to span records, which live for ever; what they guard is under the lock.
unsafe impl Send for Lists {}

static LISTS: EarlyLock<Lists> = EarlyLock::new(
    Rank::HeapCentral,
    Lists {
        first: [ptr::null(); BINS],
        sweep: 0,
        rest: [(0, 0); COLLECTED.len()],
        swept: Swept::NOTHING,
        marking: 0,
        log: Log { granules: [0; LOG], count: 0 },
    },
);

/// Whether new objects are born marked. Written while the world is stopped.
static IS_MARKING: AtomicBool = AtomicBool::new(false);
/// Whether what is freed is overwritten.
static POISONS: AtomicBool = AtomicBool::new(false);
/// What freed objects hold then.
const POISON: u8 = 0xDB;
/// Bytes of collected slots handed to caches, and of large objects, since the start of the process.
static HANDED_OUT: AtomicUsize = AtomicUsize::new(0);

/// What a sweep found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Swept {
    /// Marked slots and large blocks: they live on, and are unmarked.
    pub(crate) live: usize,
    /// Their bytes.
    pub(crate) live_bytes: usize,
    /// Objects that were freed.
    pub(crate) freed: usize,
    /// Spans given back whole.
    pub(crate) spans: usize,
}

impl Swept {
    const NOTHING: Self = Self { live: 0, live_bytes: 0, freed: 0, spans: 0 };
}

/// The collected kind of a bin.
pub(crate) fn kind(bin: usize) -> Kind {
    if bin.is_multiple_of(2) { Kind::CollectedScan } else { Kind::CollectedNoscan }
}

/// Whether new objects are born marked.
#[inline(always)]
pub(super) fn is_marking() -> bool {
    IS_MARKING.load(Ordering::Relaxed)
}

/// From now on, or no longer, new objects are born marked. The world is stopped.
pub(super) fn set_marking(is_marking: bool) {
    IS_MARKING.store(is_marking, Ordering::Relaxed);
}

/// From now on what is freed is overwritten, for tests: an object that was freed too early is seen.
pub(crate) fn poison_freed() {
    POISONS.store(true, Ordering::Relaxed);
}

/// Bytes handed out since the start of the process.
pub(crate) fn handed_out() -> usize {
    HANDED_OUT.load(Ordering::Relaxed)
}

/// Counts bytes that were handed out.
pub(super) fn count_handed_out(bytes: usize) {
    HANDED_OUT.fetch_add(bytes, Ordering::Relaxed);
}

/// The lock. The collector holds it while the world is stopped.
pub(super) fn lock() -> EarlyLocked<'static, Lists> {
    LISTS.lock()
}

/// A span with free slots, which is the caller's until the next stop.
pub(super) fn take(bin: usize) -> Result<&'static Span, Exhausted> {
    let mut lists = LISTS.lock();
    if let Some(span) = lists.take(bin) {
        lists.note(span);
        return Ok(span);
    }
    let class = bin / 2;
    // All under the lock: who has stopped the world, with the lock in hand, finds no span half made.
    let wanted = Wanted {
        kind: kind(bin),
        class: class as u32,
        granules: class::granules(class),
        align: class::GRANULE,
        slack: false,
    };
    let span = pages::make(wanted).map_err(|error| Exhausted { bytes: error.bytes, errno: error.errno })?;
    span.fill(class, false);
    // Marks of the granule's former life.
    for word in 0..class::slots(class).div_ceil(64) {
        span.side_word(word).store(0, Ordering::Relaxed);
    }
    span.set_listed(false);
    span.set_swept(lists.sweep);
    lists.note(span);
    Ok(span)
}

/// A large object; zeroed if asked for.
pub(super) fn take_large(
    kind: Kind,
    bytes: usize,
    align: usize,
    zeroed: bool,
) -> Result<&'static Span, Exhausted> {
    let mut lists = LISTS.lock();
    let span = large::make(kind, bytes, align, zeroed, false)?;
    span.side_word(0).store(u64::from(is_marking()), Ordering::Relaxed);
    span.set_swept(lists.sweep);
    lists.note(span);
    Ok(span)
}

/// From now on spans that are handed out are logged. Returns the number of the marking.
pub(super) fn begin_log() -> u32 {
    let mut lists = LISTS.lock();
    lists.log.count = 0;
    lists.marking
}

/// Frees a large object that its owner has done with, unless marking runs: what is free and marked would be neither. The lock keeps marking from beginning.
pub(super) fn take_back_large(object: NonNull<u8>) {
    let lists = LISTS.lock();
    if is_marking() {
        return;
    }
    let span = large::span_of(object.as_ptr());
    span.side_word(0).store(0, Ordering::Relaxed);
    // Else the sweep is still to come, and finds it dead.
    if span.swept() == lists.sweep {
        sample::sweep(span);
        poison_if_wanted(span.start(), span.bytes());
        large::release(span);
    }
}

/// Makes a large object larger where it is. False if it has to move, and while marking runs: the marker may have seen how large it was.
pub(super) fn grow_large(object: NonNull<u8>, bytes: usize) -> bool {
    let _lists = LISTS.lock();
    !is_marking() && large::resize(object.as_ptr(), bytes)
}

/// Sweeps up to `spans` spans. Returns whether there are more. Allocation comes first: it would wait for most of the sweep (37 ms in `bench gcbig`) if this were called in a loop and did not give way.
pub(crate) fn sweep_some(spans: usize) -> bool {
    let mut lists = LISTS.lock();
    let is_more = lists.sweep_some(spans, None);
    lists.give_way();
    is_more
}

/// Sweeps what is left, and says what this sweep has found in all.
pub(crate) fn finish_sweep() -> Swept {
    let mut lists = LISTS.lock();
    while lists.sweep_some(usize::MAX, None) {}
    lists.swept
}

impl Lists {
    fn take(&mut self, bin: usize) -> Option<&'static Span> {
        if self.first[bin].is_null() {
            self.sweep_some(SWEPT_FOR_ONE, Some(bin));
        }
        // SAFETY: null, or a span record, which lives for ever.
        let span = unsafe { self.first[bin].as_ref() }?;
        self.first[bin] = span.links().1.load(Ordering::Relaxed);
        span.set_listed(false);
        Some(span)
    }

    /// A span leaves for a cache, or as a large object.
    fn note(&mut self, span: &'static Span) {
        if is_marking() {
            span.set_taken(self.marking);
            if let Some(entry) = self.log.granules.get_mut(self.log.count) {
                *entry = span.granule() as u32;
            }
            self.log.count += 1;
        }
    }

    /// The first granules of what was handed out since [`begin_log`]; none if that was too much.
    pub(super) fn logged(&self) -> Option<&[u32]> {
        self.log.granules.get(..self.log.count)
    }

    /// A marking begins. Returns its number. The world is stopped.
    pub(super) fn begin_marking(&mut self) -> u32 {
        // Never that of a span that no marking has seen.
        self.marking = self.marking.wrapping_add(1).max(1);
        self.marking
    }

    fn list(&mut self, bin: usize, span: &'static Span) {
        span.links().1.store(self.first[bin].cast_mut(), Ordering::Relaxed);
        self.first[bin] = span;
        span.set_listed(true);
    }

    /// All spans are to be swept. The world is stopped, the caches are empty, and marking is over.
    pub(super) fn begin_sweep(&mut self, known: impl Fn(Kind) -> std::ops::Range<usize>) {
        debug_assert!(self.rest.iter().all(|rest| rest.0 >= rest.1), "the sweep before this one is over");
        self.first = [ptr::null(); BINS];
        self.sweep = self.sweep.wrapping_add(1);
        self.swept = Swept::NOTHING;
        for (kind, rest) in COLLECTED.into_iter().zip(&mut self.rest) {
            let range = known(kind);
            *rest = (range.start, range.end);
        }
    }

    /// Sweeps up to `spans` spans, or until one of `bin` has free slots; of that bin's kind only. Returns whether there are more.
    fn sweep_some(&mut self, spans: usize, bin: Option<usize>) -> bool {
        let mut left = spans;
        for (index, of) in COLLECTED.into_iter().enumerate() {
            if bin.is_some_and(|bin| kind(bin) != of) {
                continue;
            }
            while left > 0 && self.rest[index].0 < self.rest[index].1 {
                let granule = self.rest[index].0;
                let Some(span) = span::at(granule) else {
                    self.rest[index].0 += 1;
                    continue;
                };
                // The span need not begin here: a large object that was made or has grown since may lie across. (Counted from here, what comes after it was passed over, and kept its marks for the next cycle.)
                self.rest[index].0 = span.granule() + span.granules().max(1);
                if span.swept() == self.sweep {
                    continue;
                }
                left -= 1;
                span.set_swept(self.sweep);
                let found = sweep_span(of, span, &mut self.swept);
                if let Some(found) = found {
                    self.list(found, span);
                }
                if bin.is_some() && found == bin {
                    return true;
                }
            }
        }
        self.rest.iter().any(|rest| rest.0 < rest.1)
    }
}

/// Sweeps one span. Returns its bin if it has free slots now.
fn sweep_span(kind: Kind, span: &'static Span, swept: &mut Swept) -> Option<usize> {
    sample::sweep(span);
    if span.class() == span::LARGE {
        if span.side_word(0).swap(0, Ordering::Relaxed) & 1 != 0 {
            swept.live += 1;
            swept.live_bytes += span.bytes();
        } else {
            swept.freed += 1;
            swept.spans += 1;
            poison_if_wanted(span.start(), span.bytes());
            large::release(span);
        }
        return None;
    }
    let class = span.class() as usize;
    let slots = class::slots(class);
    let before = slots - span.free_slots();
    if POISONS.load(Ordering::Relaxed) {
        poison_dead(span, class);
    }
    let live = span.free_unmarked(class);
    swept.live += live;
    swept.live_bytes += live * class::SIZES[class] as usize;
    swept.freed += before - live;
    span.set_listed(false);
    if live == 0 {
        swept.spans += 1;
        pages::release(span, class::granules(class) * class::GRANULE);
        return None;
    }
    (live < slots).then_some(class * 2 + usize::from(kind == Kind::CollectedNoscan))
}

#[cold]
fn poison_dead(span: &'static Span, class: usize) {
    let size = class::SIZES[class] as usize;
    for index in 0..class::slots(class) {
        let slot = Slot::new(index);
        let alive = span.free_word(slot.word) | span.side_word(slot.word).load(Ordering::Relaxed);
        if alive & slot.mask() == 0 {
            poison(span.start() + index * size, size);
        }
    }
}

/// Overwrites an object that is freed, if that was asked for.
#[inline(always)]
pub(super) fn poison_if_wanted(start: usize, bytes: usize) {
    if POISONS.load(Ordering::Relaxed) {
        poison(start, bytes);
    }
}

#[cold]
fn poison(start: usize, bytes: usize) {
    // SAFETY: an object of the heap that nobody can reach, or uses any more: this is the sweep, or its owner has given it back.
    unsafe { (start as *mut u8).write_bytes(POISON, bytes) };
}

/// For `registry`, before a fork.
pub(super) fn hold_for_fork() {
    LISTS.hold_for_fork();
}

/// For `registry`, after a fork, on both sides.
pub(super) fn release_after_fork() {
    LISTS.release_after_fork();
}
