//! One span: a run of granules that holds slots of one class, or one large block. Records and arithmetic; who may call what is said on [`Span`]'s fields.
//!
//! ```text
//!   granules  |slot 0|slot 1|slot 2|slot 3| .. |rest|
//!   free        1      0      0      1            one bit a slot: it is in the span
//!   side        0      1      0      0            manual: freed by others, not folded in yet; collected: marked
//! ```
//!
//! A slot of a manual span is in exactly one place: in the span (its bit in `free`), freed by another thread (its bit in `side`), in a magazine, or in use. So the live blocks of a
//! span, which a collector needs exactly, are the slots that are in neither bitmap and in no magazine; it reads the magazines (`registry`) while their threads are stopped.
//! `free` changes when a magazine is filled or emptied, not with every block.
//!
//! A slot of a collected span is free if its bit in `free` is set, or if it is in the word that a `cache` has taken out.
//!
//! | state | `class` | `owner` | allowed next |
//! | --- | --- | --- | --- |
//! | no span starts here | `NONE` | null | any of the others, under the lock of `pages` |
//! | manual slots | 0.. | the thread record that fills its magazines from it | `NONE` (all slots free), by the owner |
//! | collected slots | 0.. | null | `NONE` (all slots free), by whoever holds it: a cache, or the lock of `central` |
//! | large block | `LARGE` | null | `NONE`, by `dealloc` or the sweep |

use std::ops::Range;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use super::arena::{self, Kind};
use super::class::{self, SLOTS_MAX};
use super::owner::Owner;
use super::remote::{Inbox, Remote};

/// Words of a span's bitmap.
pub(crate) const WORDS: usize = SLOTS_MAX / 64;

/// `class` where no span starts. Plus one in the field, so that zeroed memory says it.
pub(crate) const NONE: u32 = u32::MAX;
/// `class` of a large block.
pub(crate) const LARGE: u32 = u32::MAX - 1;

/// See the file's documentation. Fields are atomics because statistics and look-ups read them at any time; only `owner`, `side` and `remote` are raced on.
#[repr(C, align(64))]
pub(crate) struct Span {
    // Seldom written, read by all.
    /// [`NONE`], [`LARGE`] or the class, plus 1 (wrapping). Written under the lock of `pages`.
    class: AtomicU32,
    /// Granules of the run, slack included. Written under the lock of `pages`.
    granules: AtomicU32,
    /// See `remote`.
    owner: AtomicPtr<Owner>,
    /// Bytes of a large block. Written by who has the block.
    bytes: AtomicUsize,
    /// Bytes of a large block that may have been written to, at most the run's. As above.
    touched: AtomicUsize,
    // Of whoever holds the span.
    own: Aligned<Own>,
    // Of those who free from elsewhere.
    remote: Aligned<Shared>,
    free: [AtomicU64; WORDS],
    side: [AtomicU64; WORDS],
    /// Slots that the program has, and whether a large block is in use (bit 0): the check against double frees.
    #[cfg(debug_assertions)]
    live: [AtomicU64; WORDS],
}

/// A cache line of its own.
#[repr(align(64))]
struct Aligned<T>(T);

struct Own {
    /// Slots in `free`: the number of its bits.
    free_slots: AtomicU32,
    /// No bit is set in the words of `free` below.
    low: AtomicU32,
    /// Slots from here on were never taken, and their memory reads as zero. All slots, if that is not known.
    fresh: AtomicU32,
    /// Whether a list holds the span: `owner` or `central`.
    listed: AtomicU32,
    /// Of a collected span: the number of the last sweep that has been here. Under the lock of `central`.
    swept: AtomicU32,
    /// Of a collected span: the number of the last marking during which a cache has had it. Under the lock of `central`, or with the world stopped.
    taken: AtomicU32,
    /// The links of that list.
    before: AtomicPtr<Span>,
    after: AtomicPtr<Span>,
}

struct Shared {
    summary: AtomicU64,
    link: AtomicPtr<Span>,
}

impl Remote for Span {
    fn summary(&self) -> &AtomicU64 {
        &self.remote.0.summary
    }
    fn word(&self, index: usize) -> &AtomicU64 {
        &self.side[index]
    }
    fn link(&self) -> &AtomicPtr<Self> {
        &self.remote.0.link
    }
    fn inbox(&self) -> Option<&'static Inbox<Self>> {
        // Acquire pairs with the Release of `set_owner`. A stale one is as good: it passes the span on.
        let owner = self.owner.load(Ordering::Acquire);
        // SAFETY: null, or a thread record, which lives for ever (`registry`).
        unsafe { owner.as_ref() }.map(|owner| &owner.inbox)
    }
}

/// A place in a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) word: usize,
    pub(crate) bit: usize,
}

impl Slot {
    #[inline(always)]
    pub(crate) fn new(index: usize) -> Self {
        Self { word: index / 64, bit: index % 64 }
    }

    #[inline(always)]
    pub(crate) fn mask(self) -> u64 {
        1 << self.bit
    }
}

impl Span {
    /// [`NONE`], [`LARGE`] or the class.
    #[inline(always)]
    pub(crate) fn class(&self) -> u32 {
        // Acquire pairs with the Release in `set_class`: what `pages` wrote before it.
        self.class.load(Ordering::Acquire).wrapping_sub(1)
    }

    pub(super) fn set_class(&self, class: u32) {
        self.class.store(class.wrapping_add(1), Ordering::Release);
    }

    /// Granules of the run.
    pub(crate) fn granules(&self) -> usize {
        self.granules.load(Ordering::Relaxed) as usize
    }

    pub(super) fn set_granules(&self, granules: usize) {
        self.granules.store(granules as u32, Ordering::Relaxed);
    }

    /// The granule that the run starts at.
    #[inline(always)]
    pub(crate) fn granule(&'static self) -> usize {
        (std::ptr::from_ref(self) as usize - std::ptr::from_ref(arena::span(0)) as usize) / size_of::<Self>()
    }

    /// The address of the first slot.
    #[inline(always)]
    pub(crate) fn start(&'static self) -> usize {
        arena::address(self.granule())
    }

    /// The kind of its blocks.
    pub(crate) fn kind(&'static self) -> Kind {
        arena::kind_of(self.granule())
    }

    #[inline(always)]
    pub(super) fn owner(&self) -> *const Owner {
        self.owner.load(Ordering::Relaxed)
    }

    /// By the owner of until now (or of the lock that stands for it), for spans without by who has just made it.
    pub(super) fn set_owner(&self, owner: *const Owner) {
        // Release pairs with the Acquire in `inbox`: the record was made before.
        self.owner.store(owner.cast_mut(), Ordering::Release);
    }

    #[inline(always)]
    pub(crate) fn free_slots(&self) -> usize {
        self.own.0.free_slots.load(Ordering::Relaxed) as usize
    }

    /// The links of the list that holds the span.
    pub(super) fn links(&self) -> (&AtomicPtr<Self>, &AtomicPtr<Self>) {
        (&self.own.0.before, &self.own.0.after)
    }

    #[inline(always)]
    pub(super) fn is_listed(&self) -> bool {
        self.own.0.listed.load(Ordering::Relaxed) != 0
    }

    pub(super) fn set_listed(&self, listed: bool) {
        self.own.0.listed.store(u32::from(listed), Ordering::Relaxed);
    }

    pub(super) fn swept(&self) -> u32 {
        self.own.0.swept.load(Ordering::Relaxed)
    }

    pub(super) fn set_swept(&self, sweep: u32) {
        self.own.0.swept.store(sweep, Ordering::Relaxed);
    }

    pub(super) fn set_taken(&self, marking: u32) {
        self.own.0.taken.store(marking, Ordering::Relaxed);
    }

    /// Whether there may be a marked object in a collected span, now or before this marking is over: a mark is there, or a cache has it, whose objects are born marked.
    pub(super) fn may_be_marked(&self, marking: u32) -> bool {
        self.own.0.taken.load(Ordering::Relaxed) == marking
            || self.side.iter().any(|word| word.load(Ordering::Relaxed) != 0)
    }

    /// Bytes of a large block.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Sets the bytes of a large block.
    pub(super) fn set_bytes(&self, bytes: usize) {
        self.bytes.store(bytes, Ordering::Relaxed);
        self.touched.fetch_max(bytes, Ordering::Relaxed);
    }

    /// Bytes of a large block that may have been written to.
    pub(super) fn touched(&self) -> usize {
        self.touched.load(Ordering::Relaxed)
    }

    pub(super) fn set_touched(&self, bytes: usize) {
        self.touched.store(bytes, Ordering::Relaxed);
    }

    /// Word of the free slots, for the holder.
    #[inline(always)]
    pub(crate) fn free_word(&self, index: usize) -> u64 {
        self.free[index].load(Ordering::Relaxed)
    }

    /// Word of the side bitmap.
    pub(crate) fn side_word(&self, index: usize) -> &AtomicU64 {
        &self.side[index]
    }

    /// Sets all slots of `class` free. By who has just made the span; `is_zero` if its run reads as zero.
    pub(super) fn fill(&self, class: usize, is_zero: bool) {
        let slots = class::slots(class);
        for index in 0..slots.div_ceil(64) {
            self.free[index].store(all_slots(slots, index), Ordering::Relaxed);
        }
        self.own.0.free_slots.store(slots as u32, Ordering::Relaxed);
        self.own.0.low.store(0, Ordering::Relaxed);
        self.own.0.fresh.store(if is_zero { 0 } else { slots as u32 }, Ordering::Relaxed);
    }

    /// Frees slots of one word; they were in use or in a magazine. By the holder.
    #[inline(always)]
    pub(super) fn put(&self, word: usize, mask: u64) {
        let free = self.free_word(word);
        debug_assert_eq!(free & mask, 0, "a slot is freed once");
        self.free[word].store(free | mask, Ordering::Relaxed);
        self.own
            .0
            .free_slots
            .store((self.free_slots() + mask.count_ones() as usize) as u32, Ordering::Relaxed);
        if (word as u32) < self.own.0.low.load(Ordering::Relaxed) {
            self.own.0.low.store(word as u32, Ordering::Relaxed);
        }
    }

    /// Takes up to `count` slots, lowest first. By the holder. Returns how many it took.
    #[inline(always)]
    pub(super) fn take(&'static self, class: usize, count: usize, mut each: impl FnMut(usize)) -> usize {
        let (size, start) = (class::SIZES[class] as usize, self.start());
        let words = class::slots(class).div_ceil(64);
        let mut word = self.own.0.low.load(Ordering::Relaxed) as usize;
        let mut left = count.min(self.free_slots());
        let taken = left;
        let mut last = 0;
        while left > 0 {
            debug_assert!(word < words, "free_slots is the number of bits");
            let mut free = self.free_word(word);
            while free != 0 && left > 0 {
                last = word * 64 + free.trailing_zeros() as usize;
                each(start + last * size);
                free &= free - 1;
                left -= 1;
            }
            self.free[word].store(free, Ordering::Relaxed);
            word += usize::from(free == 0);
        }
        self.own.0.low.store(word as u32, Ordering::Relaxed);
        self.own.0.free_slots.store((self.free_slots() - taken) as u32, Ordering::Relaxed);
        if taken > 0 && last as u32 >= self.own.0.fresh.load(Ordering::Relaxed) {
            self.own.0.fresh.store(last as u32 + 1, Ordering::Relaxed);
        }
        taken
    }

    /// Takes a slot whose memory reads as zero, if one is left. By the holder.
    pub(super) fn take_fresh(&'static self, class: usize) -> Option<usize> {
        let index = self.own.0.fresh.load(Ordering::Relaxed) as usize;
        if index >= class::slots(class) {
            return None;
        }
        let slot = Slot::new(index);
        let free = self.free_word(slot.word);
        debug_assert_ne!(free & slot.mask(), 0, "a slot that was never taken is free");
        self.free[slot.word].store(free & !slot.mask(), Ordering::Relaxed);
        self.own.0.free_slots.store(self.free_slots() as u32 - 1, Ordering::Relaxed);
        self.own.0.fresh.store(index as u32 + 1, Ordering::Relaxed);
        Some(self.start() + index * class::SIZES[class] as usize)
    }

    /// Takes a whole word of free slots, the lowest there is; none if the span is full. By the holder.
    pub(super) fn take_word(&self, class: usize) -> Option<(usize, u64)> {
        let words = class::slots(class).div_ceil(64);
        let low = self.own.0.low.load(Ordering::Relaxed) as usize;
        let word = (low..words).find(|word| self.free_word(*word) != 0)?;
        let free = self.free[word].swap(0, Ordering::Relaxed);
        self.own.0.low.store(word as u32 + 1, Ordering::Relaxed);
        self.own
            .0
            .free_slots
            .store((self.free_slots() - free.count_ones() as usize) as u32, Ordering::Relaxed);
        Some((word, free))
    }

    /// Frees all slots that are not marked and takes the marks away. By the sweep, for collected spans. Returns how many were marked.
    pub(super) fn free_unmarked(&self, class: usize) -> usize {
        let slots = class::slots(class);
        let mut live = 0;
        for index in 0..slots.div_ceil(64) {
            // A free slot may be marked: the marker has followed a stale word into a span that was just being made, looked whether the slot is free before it was said to be, and marked it after the marks had been
            // cleared. It is no object for all that.
            let marks = self.side[index].swap(0, Ordering::Relaxed) & !self.free_word(index);
            live += marks.count_ones() as usize;
            self.free[index].store(all_slots(slots, index) & !marks, Ordering::Relaxed);
        }
        self.own.0.free_slots.store((slots - live) as u32, Ordering::Relaxed);
        self.own.0.low.store(0, Ordering::Relaxed);
        live
    }

    /// The slot of an address inside the span.
    #[inline(always)]
    pub(crate) fn slot_of(&'static self, class: usize, address: usize) -> Slot {
        Slot::new(class::index(class, address - self.start()))
    }

    /// Marks a slot as the program's; false if it was already. Debug builds only.
    #[cfg(debug_assertions)]
    pub(super) fn set_live(&self, slot: Slot) -> bool {
        self.live[slot.word].fetch_or(slot.mask(), Ordering::Relaxed) & slot.mask() == 0
    }

    /// Takes the mark away; false if there was none. Debug builds only.
    #[cfg(debug_assertions)]
    pub(super) fn clear_live(&self, slot: Slot) -> bool {
        self.live[slot.word].fetch_and(!slot.mask(), Ordering::Relaxed) & slot.mask() != 0
    }
}

/// Word `index` of a bitmap that has a bit for each of `slots` slots.
#[inline(always)]
pub(super) fn all_slots(slots: usize, index: usize) -> u64 {
    let left = slots - index * 64;
    if left < 64 { (1 << left) - 1 } else { u64::MAX }
}

/// Calls `each` for every span in a range of granules. Spans may come and go meanwhile.
pub(super) fn for_each(granules: Range<usize>, mut each: impl FnMut(&'static Span)) {
    let mut granule = granules.start;
    while granule < granules.end {
        let Some(span) = at(granule) else {
            granule += 1;
            continue;
        };
        granule = span.granule() + span.granules().max(1);
        each(span);
    }
}

/// The span that a granule of the arena belongs to now; none if no span is there. The granule may be any.
#[inline(always)]
pub(crate) fn at(granule: usize) -> Option<&'static Span> {
    found(granule).map(|found| found.span)
}

/// A span, with what was read on the way to it.
#[derive(Clone, Copy)]
pub(super) struct Found {
    pub(super) span: &'static Span,
    /// The granule that it starts at.
    pub(super) first: usize,
    /// [`LARGE`] or the class.
    pub(super) class: u32,
}

/// As [`at`].
#[inline(always)]
pub(super) fn found(granule: usize) -> Option<Found> {
    let first = arena::first(granule).load(Ordering::Relaxed).checked_sub(1)? as usize;
    let span = arena::span(first);
    let class = span.class();
    // An entry is stale after its span is gone: then the record says so, or has another extent.
    (class != NONE && granule - first < span.granules()).then_some(Found { span, first, class })
}
