//! Runs of granules: first fit, and what was used and is free again goes back to the kernel after a while. Called by `owner`, `central` and `large`; calls
//! `arena::commit`. The lowest lock of the layer: nothing is called under it but the kernel.
//!
//! Three bits for each granule, in the tables of `arena`:
//!
//! | free | dirty | aged | the granule is |
//! | --- | --- | --- | --- |
//! | 0 | x | 0 | in a run, or being given back, or was never used (above `top`) |
//! | 1 | 0 | 0 | free, and reads as zero |
//! | 1 | 1 | 0 | free, with a former content, since less than one tick |
//! | 1 | 1 | 1 | the same, since a tick or longer: the next tick gives it back |
//!
//! `dirty` is set when a run is freed, for the part that was written to, and cleared when the kernel takes the pages. So a fresh run says by its granules' bits what
//! of it is zero: the bits of a run in use are its owner's to read.
//!
//! **Giving back.** Every freed run looks at the clock; [`TICK_NS`] after the last time, what is aged goes and what is dirty ages: memory that is used again within a tenth of a
//! second is never given back, and a burst is gone after two tenths. A process that frees and then never again calls this file is ticked by the runtime's monitor; without a
//! runtime it keeps up to what [`EXCESS`] allows. The kernel is called without the lock: the granules are taken out of `free` meanwhile.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::arena::{self, KINDS, Kind, PAGE_BITMAPS, Reservation};
use super::class::{GRANULE, GRANULE_SHIFT};
use super::span::{self, Span};
use crate::base::early_lock::{EarlyLock, EarlyLocked};
use crate::base::lock::Rank;
use crate::sys::{OsError, clock, futex, mem};

/// Between two looks at what is free.
const TICK_NS: u64 = 100_000_000;
/// Granules that may be free and dirty besides half of those in use, before the surplus goes at once: 128 MiB. Not tuned.
const EXCESS: usize = (128 << 20) / GRANULE;
/// How long collected memory is kept for a next cycle that does not come: ten seconds. Given back after a tick, as manual memory is, a program whose cycles are a second apart gets
/// every page anew from the kernel in each (half of its time: `bench gcbig`).
const KEPT_NS: u64 = 10_000_000_000;
/// Granules opened at once, at least and at most: 4 and 64 MiB.
const STEP: Range<usize> = 64..1024;
/// Ranges given back with one turn of the lock, and granules in them: 4 MiB take the kernel 0.2 ms, for which whoever maps memory waits.
const BATCH: usize = 16;
const BATCH_GRANULES: usize = 64;

/// Lengths of runs that have a lower bound of their own.
const LOWS: usize = 16;

/// The page bitmaps.
#[derive(Clone, Copy)]
enum Map {
    Free,
    Dirty,
    Aged,
}

const _: () = assert!(Map::Aged as usize + 1 == PAGE_BITMAPS);

/// One kind's part of the arena. Numbers of granules.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Part {
    /// Granules from here on were never in a run.
    top: usize,
    /// Granules below are accessible.
    committed: usize,
    /// `lows[n - 1]`: no free run of `n` granules or more begins below. The last is for all longer ones too. So a search does not look again and again at runs that are
    /// too short, however many there are.
    lows: [usize; LOWS],
    /// In runs.
    pub(crate) used: usize,
    /// Free and dirty.
    pub(crate) dirty: usize,
}

/// Whether there is an arena.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Backing {
    /// Nothing has been allocated yet.
    Unknown,
    /// The arena, as reserved.
    Arena(Reservation),
    /// The kernel, or the limit on address space, refused the smallest reservation.
    Refused,
}

/// See the file's documentation.
pub(crate) struct Pages {
    backing: Backing,
    parts: [Part; 4],
    /// Free granules of each collected kind that are not given back for their age, and until when: the next cycle's.
    kept: usize,
    kept_until: u64,
    /// When the last tick was.
    ticked: u64,
    /// Bytes given back since the start.
    pub(crate) given_back: u64,
}

static PAGES: EarlyLock<Pages> = EarlyLock::new(
    Rank::HeapPages,
    Pages {
        backing: Backing::Unknown,
        parts: [Part { top: 0, committed: 0, lows: [0; LOWS], used: 0, dirty: 0 }; 4],
        kept: 0,
        kept_until: 0,
        ticked: 0,
        given_back: 0,
    },
);

/// Whether a tick has anything to do: so that idle processes need not take the lock to find out.
static IS_DIRTY: AtomicBool = AtomicBool::new(false);

/// A run that was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) kind: Kind,
    /// The class, or [`span::LARGE`].
    pub(super) class: u32,
    pub(super) granules: usize,
    /// Of the address, in bytes.
    pub(super) align: usize,
    /// Take more granules for a block that grows, where address space is plenty.
    pub(super) slack: bool,
}

/// The pages, locked.
pub(super) fn lock() -> EarlyLocked<'static, Pages> {
    PAGES.lock()
}

/// For `registry`, around a fork.
pub(super) fn lock_for_fork() -> &'static EarlyLock<Pages> {
    &PAGES
}

/// Makes the reservation, if there is none yet. Says whether there is an arena.
pub(super) fn start() -> bool {
    let mut pages = PAGES.lock();
    if let Backing::Unknown = pages.backing {
        pages.backing = match arena::reserve() {
            Ok(reservation) => Backing::Arena(reservation),
            Err(_) => Backing::Refused,
        };
        for kind in KINDS {
            let start = arena::bounds(kind).start;
            pages.parts[kind as usize] =
                Part { top: start, committed: start, lows: [start; LOWS], used: 0, dirty: 0 };
        }
    }
    matches!(pages.backing, Backing::Arena(_))
}

/// A fresh span. Its first slots, or its bytes, are the caller's to set.
pub(super) fn make(wanted: Wanted) -> Result<&'static Span, OsError> {
    PAGES.lock().make(wanted)
}

/// Gives a span's run back; nobody else knows it any more. `written` bytes from its start may be other than zero.
pub(super) fn release(span: &'static Span, written: usize) {
    let mut pages = PAGES.lock();
    let is_collected = span.kind().is_collected();
    pages.release(span, written);
    // Who sweeps has a lock that allocation waits for (up to 29 ms at a time in `bench gcbig`), and may be the program: the collector's thread does it afterwards.
    let is_due = !is_collected && pages.is_due();
    drop(pages);
    if is_due {
        give_back_unused(Pace::Steady);
    }
}

/// Gives back what has not been used for a while, on a thread of the runtime's. Returns whether there is more that a later tick may give back.
pub(crate) fn tick() -> bool {
    give_back_unused(Pace::Restful)
}

/// How memory is given back.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// As fast as the kernel takes it: by the program's own threads.
    Steady,
    /// With rests, in which whoever else wants this processor or the lock of the address space gets it: a gigabyte takes the kernel 60 ms, and for as long the program stood still.
    Restful,
}

fn give_back_unused(pace: Pace) -> bool {
    if !IS_DIRTY.load(Ordering::Relaxed) {
        return false;
    }
    let mut pages = PAGES.lock();
    if pages.tick_is_due() {
        pages.ticked = clock::coarse_ns();
        drop(pages);
        give_back(pace, Pages::take_aged);
        pages = PAGES.lock();
        pages.age();
    }
    let surplus = pages.surplus();
    drop(pages);
    if surplus > 0 {
        let mut left = surplus;
        give_back(pace, |pages, part| {
            let taken = if left > 0 { pages.take_dirty(part) } else { Taken::default() };
            left = left.saturating_sub(taken.granules());
            taken
        });
    }
    IS_DIRTY.load(Ordering::Relaxed)
}

/// Gives back all that is free. Returns the bytes.
pub(super) fn trim() -> usize {
    if IS_DIRTY.load(Ordering::Relaxed) { give_back(Pace::Steady, Pages::take_dirty) } else { 0 }
}

/// Ranges of granules that are out of `free` while the kernel takes their pages.
#[derive(Default)]
struct Taken {
    ranges: [(usize, usize); BATCH],
    count: usize,
}

impl Taken {
    fn granules(&self) -> usize {
        self.ranges[..self.count].iter().map(|range| range.1 - range.0).sum()
    }
}

/// Gives back what `take` finds, kind by kind, until it finds nothing.
fn give_back(pace: Pace, mut take: impl FnMut(&mut Pages, usize) -> Taken) -> usize {
    let mut granules = 0;
    for part in 0..KINDS.len() {
        loop {
            let taken = take(&mut PAGES.lock(), part);
            if taken.count == 0 {
                break;
            }
            let mut gone = [false; BATCH];
            for (index, &(start, end)) in taken.ranges[..taken.count].iter().enumerate() {
                // A refusal (locked memory) leaves the pages as they are.
                gone[index] = mem::discard(arena::address(start), (end - start) << GRANULE_SHIFT).is_ok();
            }
            let mut pages = PAGES.lock();
            for (&(start, end), gone) in taken.ranges[..taken.count].iter().zip(gone) {
                pages.put_back(part, start..end, gone);
            }
            drop(pages);
            if pace == Pace::Restful {
                futex::rest();
            }
            if gone[..taken.count].contains(&false) {
                break;
            }
            granules += taken.granules();
        }
    }
    granules << GRANULE_SHIFT
}

impl Pages {
    pub(crate) fn backing(&self) -> Backing {
        self.backing
    }

    pub(crate) fn part(&self, kind: Kind) -> Part {
        self.parts[kind as usize]
    }

    /// Bytes of a kind that are accessible.
    pub(crate) fn committed(&self, kind: Kind) -> usize {
        (self.parts[kind as usize].committed - arena::bounds(kind).start) << GRANULE_SHIFT
    }

    /// The granules of a kind that were ever in a run.
    pub(crate) fn known(&self, kind: Kind) -> Range<usize> {
        arena::bounds(kind).start..self.parts[kind as usize].top
    }

    fn make(&mut self, wanted: Wanted) -> Result<&'static Span, OsError> {
        let part = wanted.kind as usize;
        let mut granules = wanted.granules;
        let bounds = arena::bounds(wanted.kind);
        // Slack costs address space only. A quarter of the arena may go that way.
        let slack = granules.saturating_mul(4);
        if wanted.slack && (self.parts[part].top - bounds.start).saturating_add(slack) < bounds.len() / 4 {
            granules = slack;
        }
        let start = self.find(part, bounds.end, granules, wanted.align).ok_or(OsError {
            call: "a run in the heap's reservation",
            bytes: wanted.granules.saturating_mul(GRANULE),
            errno: 0,
        })?;
        self.open(wanted.kind, start + granules)?;
        self.use_run(part, start..start + granules);
        let span = arena::span(start);
        span.set_granules(granules);
        for granule in start..start + granules {
            arena::first(granule).store(start as u32 + 1, Ordering::Relaxed);
        }
        span.set_class(wanted.class);
        Ok(span)
    }

    /// Where a run fits; below `top`, across it, or above.
    fn find(&mut self, part: usize, end: usize, granules: usize, align: usize) -> Option<usize> {
        let base = arena::address(0) >> GRANULE_SHIFT;
        let step = (align >> GRANULE_SHIFT).max(1);
        let align_up = |granule: usize| (base + granule).next_multiple_of(step) - base;
        let Part { top, lows, .. } = self.parts[part];
        let long = granules.min(LOWS);
        let mut first_long = None;
        let mut at = next(Map::Free, true, lows[long - 1]..top);
        let mut start = align_up(top);
        while at < top {
            let run_end = next(Map::Free, false, at..top);
            if first_long.is_none() && (run_end - at >= long || run_end == top) {
                first_long = Some(at);
            }
            // What is free up to the top goes on above it.
            if align_up(at).checked_add(granules)? <= run_end || run_end == top {
                start = align_up(at);
                break;
            }
            at = next(Map::Free, true, run_end..top);
        }
        self.parts[part].lows[long - 1] = first_long.unwrap_or(top);
        (start.checked_add(granules)? <= end).then_some(start)
    }

    /// Granules from `start` on have become free.
    fn freed(&mut self, part: usize, start: usize) {
        let bottom = arena::bounds(KINDS[part]).start;
        for (before, low) in self.parts[part].lows.iter_mut().enumerate() {
            // A run that is long enough only now begins less than its length earlier.
            *low = (*low).min(start.saturating_sub(before).max(bottom));
        }
    }

    /// Makes all granules of a kind up to `end` accessible.
    fn open(&mut self, kind: Kind, end: usize) -> Result<(), OsError> {
        let part = kind as usize;
        let committed = self.parts[part].committed;
        if end <= committed {
            return Ok(());
        }
        let bounds = arena::bounds(kind);
        let step = ((committed - bounds.start) / 4).clamp(STEP.start, STEP.end);
        let far = (committed + step).max(end).min(bounds.end);
        // Not the comfortable step, if the kernel counts: just what is needed.
        let opened = match arena::commit(kind, committed..far) {
            Ok(()) => far,
            Err(_) => arena::commit(kind, committed..end).map(|()| end)?,
        };
        self.parts[part].committed = opened;
        Ok(())
    }

    /// Takes granules out of `free`, or from above `top`.
    fn use_run(&mut self, part: usize, run: Range<usize>) {
        let top = self.parts[part].top;
        if run.start > top {
            // Skipped for the alignment.
            set(Map::Free, top..run.start, true);
            self.freed(part, top);
        }
        let known = run.start..run.end.min(top).max(run.start);
        debug_assert_eq!(next(Map::Free, false, known.clone()), known.end, "a run is free before it is used");
        self.parts[part].dirty -= count(Map::Dirty, known.clone());
        set(Map::Free, known.clone(), false);
        set(Map::Aged, known, false);
        self.parts[part].top = top.max(run.end);
        self.parts[part].used += run.len();
    }

    fn release(&mut self, span: &'static Span, written: usize) {
        let granule = span.granule();
        let run = granule..granule + span.granules();
        span.set_class(span::NONE);
        self.free_run(run, written);
    }

    /// Frees granules that are in no span any more; `written` bytes from their start are not zero.
    fn free_run(&mut self, run: Range<usize>, written: usize) {
        let part = arena::kind_of(run.start) as usize;
        set(Map::Dirty, run.start..(run.start + written.div_ceil(GRANULE)).min(run.end), true);
        set(Map::Free, run.clone(), true);
        let dirty = count(Map::Dirty, run.clone());
        self.parts[part].dirty += dirty;
        self.parts[part].used -= run.len();
        self.freed(part, run.start);
        if dirty > 0 {
            IS_DIRTY.store(true, Ordering::Relaxed);
        }
    }

    /// Lets the run of a large block grow to `granules`, if those after it are free.
    pub(super) fn extend(&mut self, span: &'static Span, granules: usize) -> bool {
        let kind = span.kind();
        let part = kind as usize;
        let start = span.granule();
        let (old, new) = (start + span.granules(), start + granules);
        let top = self.parts[part].top;
        if new > arena::bounds(kind).end
            || next(Map::Free, false, old..new.min(top).max(old)) < new.min(top)
            || self.open(kind, new).is_err()
        {
            return false;
        }
        self.use_run(part, old..new);
        for granule in old..new {
            arena::first(granule).store(start as u32 + 1, Ordering::Relaxed);
        }
        span.set_granules(granules);
        true
    }

    /// Takes the end off the run of a large block. `written` bytes of what is cut off are not zero.
    pub(super) fn shorten(&mut self, span: &'static Span, granules: usize, written: usize) {
        let start = span.granule();
        let end = start + span.granules();
        span.set_granules(granules);
        self.free_run(start + granules..end, written);
    }

    fn tick_is_due(&self) -> bool {
        clock::coarse_ns() >= self.ticked + TICK_NS
    }

    fn is_due(&self) -> bool {
        IS_DIRTY.load(Ordering::Relaxed) && (self.tick_is_due() || self.surplus() > 0)
    }

    /// Dirty granules above what may stay.
    fn surplus(&self) -> usize {
        let (dirty, used) =
            self.parts.iter().fold((0, 0), |sum, part| (sum.0 + part.dirty, sum.1 + part.used));
        dirty.saturating_sub(EXCESS + used / 2 + self.kept())
    }

    /// Keeps that many bytes of collected memory, although they are free: the program uses them until the next cycle. Without a next cycle they go after [`KEPT_NS`].
    pub(crate) fn keep(&mut self, bytes: usize) {
        self.kept = bytes / GRANULE;
        self.kept_until = clock::coarse_ns() + KEPT_NS;
    }

    fn kept(&self) -> usize {
        if clock::coarse_ns() < self.kept_until { self.kept } else { 0 }
    }

    /// What is dirty and free becomes aged.
    fn age(&mut self) {
        for (kind, part) in KINDS.into_iter().zip(self.parts) {
            let bounds = arena::bounds(kind);
            let mut at = next(Map::Free, true, part.lows[0]..part.top);
            while at < part.top {
                let end = next(Map::Free, false, at..part.top);
                while at < end {
                    let dirty = next(Map::Dirty, true, at..end);
                    let clean = next(Map::Dirty, false, dirty..end);
                    set(Map::Aged, dirty..clean, true);
                    at = clean;
                }
                at = next(Map::Free, true, end..part.top);
            }
            debug_assert!(part.top <= bounds.end);
        }
        IS_DIRTY.store(self.parts.iter().any(|part| part.dirty > 0), Ordering::Relaxed);
    }

    /// Takes aged granules of a kind out of `free`.
    fn take_aged(&mut self, part: usize) -> Taken {
        let is_collected = part >= Kind::CollectedScan as usize;
        let kept = if is_collected { self.kept() } else { 0 };
        let most = self.parts[part].dirty.saturating_sub(kept);
        self.take(part, Map::Aged, most)
    }

    /// Takes dirty granules of a kind out of `free`.
    fn take_dirty(&mut self, part: usize) -> Taken {
        self.take(part, Map::Dirty, usize::MAX)
    }

    fn take(&mut self, part: usize, map: Map, most: usize) -> Taken {
        let Part { top, lows, dirty, .. } = self.parts[part];
        let mut taken = Taken::default();
        let mut at = if dirty == 0 { top } else { next(Map::Free, true, lows[0]..top) };
        let mut left = BATCH_GRANULES.min(most);
        while at < top && taken.count < BATCH && left > 0 {
            let run_end = next(Map::Free, false, at..top);
            let start = next(map, true, at..run_end);
            if start == run_end {
                at = next(Map::Free, true, run_end..top);
                continue;
            }
            let end = next(map, false, start..run_end).min(start + left);
            set(Map::Free, start..end, false);
            set(Map::Aged, start..end, false);
            // A granule that is aged is dirty: see the table.
            self.parts[part].dirty -= end - start;
            left -= end - start;
            taken.ranges[taken.count] = (start, end);
            taken.count += 1;
            at = if end == run_end { next(Map::Free, true, end..top) } else { end };
        }
        taken
    }

    /// Puts back what [`Pages::take`] took.
    fn put_back(&mut self, part: usize, range: Range<usize>, is_clean: bool) {
        if is_clean {
            set(Map::Dirty, range.clone(), false);
            self.given_back += (range.len() << GRANULE_SHIFT) as u64;
        } else {
            self.parts[part].dirty += range.len();
        }
        set(Map::Free, range.clone(), true);
        self.freed(part, range.start);
    }
}

/// Whether a granule of a run in use may be other than zero. By the owner of the run.
pub(super) fn is_dirty(granule: usize) -> bool {
    word(Map::Dirty, granule / 64).load(Ordering::Relaxed) & (1 << (granule % 64)) != 0
}

fn word(map: Map, index: usize) -> &'static AtomicU64 {
    arena::bitmap_word(map as usize, index)
}

/// Each word of a range of granules, with the mask of those that are in it.
fn words(range: Range<usize>) -> impl Iterator<Item = (usize, u64)> {
    let indexes = if range.is_empty() { 0..0 } else { range.start / 64..range.end.div_ceil(64) };
    indexes.map(move |index| {
        let from = if index == range.start / 64 { range.start % 64 } else { 0 };
        let upto = if index == range.end / 64 { range.end % 64 } else { 64 };
        let mask = (u64::MAX << from) & if upto == 64 { u64::MAX } else { (1 << upto) - 1 };
        (index, mask)
    })
}

/// The first granule of `range` whose bit is `value`, or its end.
fn next(map: Map, value: bool, range: Range<usize>) -> usize {
    for (index, mask) in words(range.clone()) {
        let bits = word(map, index).load(Ordering::Relaxed);
        let found = if value { bits } else { !bits } & mask;
        if found != 0 {
            return index * 64 + found.trailing_zeros() as usize;
        }
    }
    range.end
}

fn set(map: Map, range: Range<usize>, value: bool) {
    for (index, mask) in words(range) {
        // Under the lock, but for readers of their own runs' bits: no other thread writes.
        let bits = word(map, index).load(Ordering::Relaxed);
        word(map, index).store(if value { bits | mask } else { bits & !mask }, Ordering::Relaxed);
    }
}

fn count(map: Map, range: Range<usize>) -> usize {
    words(range)
        .map(|(index, mask)| (word(map, index).load(Ordering::Relaxed) & mask).count_ones() as usize)
        .sum()
}
