//! The heap with all its locks in the collector's hand: what a collector does to it while the world is stopped. Called by `gc`.

use std::ops::Range;
use std::sync::atomic::Ordering;

use super::arena::{self, KINDS, Kind};
use super::central::{self, Lists};
use super::class::{self, BINS, GRANULE};
use super::pages::Pages;
use super::remote::Bits;
use super::span::{self, Span};
use super::{pages, registry};
use crate::base::early_lock::EarlyLocked;

/// Evidence that nobody holds a lock of the heap. Got before the world is stopped, and given up after it goes on.
pub(crate) struct Frozen {
    // In the order in which they are given back.
    pages: EarlyLocked<'static, Pages>,
    lists: EarlyLocked<'static, Lists>,
    _records: registry::Held,
}

/// Takes all locks.
pub(crate) fn freeze() -> Frozen {
    let records = registry::hold();
    let lists = central::lock();
    let pages = pages::lock();
    Frozen { pages, lists, _records: records }
}

/// The slots of a span, of which bit `n` of word `w` is slot `64 * w + n`.
fn all_slots(slots: usize, word: usize) -> u64 {
    let left = slots - word * 64;
    if left < 64 { (1 << left) - 1 } else { u64::MAX }
}

impl Frozen {
    /// Marking is over: all that is not marked is free, once it is swept.
    pub(crate) fn end_marking(&mut self) {
        for owner in registry::all() {
            owner.collected.empty();
        }
        central::set_marking(false);
        let pages = &self.pages;
        self.lists.begin_sweep(|kind| pages.known(kind));
    }

    /// Calls `each` for every span of a kind.
    pub(crate) fn for_each_span(&self, kind: Kind, each: impl FnMut(&'static Span)) {
        for_each_span(self.pages.known(kind), each);
    }

    /// Bytes in runs, of all kinds: what the heap takes of the machine, but for what is free and held.
    pub(crate) fn in_use(&self) -> usize {
        KINDS.into_iter().map(|kind| self.pages.part(kind).used * GRANULE).sum()
    }

    /// Calls `each` with every stretch of memory that the program has in manual blocks that may hold pointers. Free blocks in magazines are left out.
    pub(crate) fn for_each_manual(&self, mut each: impl FnMut(Range<usize>)) {
        for_each_magazine_block(|span, slot| {
            let before = span.side_word(slot.word).fetch_or(slot.mask(), Ordering::Relaxed);
            debug_assert_eq!(before & slot.mask(), 0, "a block is in one place");
        });
        self.for_each_span(Kind::ManualScan, |span| live_stretches(span, &mut each));
        for_each_magazine_block(|span, slot| {
            span.side_word(slot.word).fetch_and(!slot.mask(), Ordering::Relaxed);
        });
    }
}

/// Calls `each` for every span in a range of granules. Spans may come and go meanwhile.
pub(crate) fn for_each_span(granules: Range<usize>, mut each: impl FnMut(&'static Span)) {
    let mut granule = granules.start;
    while granule < granules.end {
        let Some(span) = span::at(granule) else {
            granule += 1;
            continue;
        };
        granule = span.granule() + span.granules().max(1);
        each(span);
    }
}

/// The free blocks in the magazines of all threads, as far as it is certain that they are free.
fn for_each_magazine_block(mut each: impl FnMut(&'static Span, span::Slot)) {
    for owner in registry::all().filter(|owner| owner.is_settled()) {
        // The bins of blocks that may hold pointers.
        for bin in (0..BINS).step_by(2) {
            for block in owner.blocks(bin) {
                if let Some(granule) = arena::granule_of(block)
                    && let Some(span) = span::at(granule)
                {
                    each(span, span.slot_of(bin / 2, block));
                }
            }
        }
    }
}

/// Calls `each` with the stretches of a manual span that are in use: neighbours together.
fn live_stretches(span: &'static Span, each: &mut impl FnMut(Range<usize>)) {
    let (start, class) = (span.start(), span.class());
    if class == span::LARGE {
        let bytes = span.bytes().min(span.granules() * GRANULE);
        return each(start..start + bytes);
    }
    let Some(size) = class::SIZES.get(class as usize).map(|size| *size as usize) else { return };
    let slots = class::slots(class as usize);
    for word in 0..slots.div_ceil(64) {
        let dead = span.free_word(word) | span.side_word(word).load(Ordering::Relaxed);
        let mut live = !dead & all_slots(slots, word);
        while live != 0 {
            let first = live.trailing_zeros() as usize;
            let count = (!(live >> first)).trailing_zeros() as usize;
            let at = start + (word * 64 + first) * size;
            each(at..at + count * size);
            live = if first + count == 64 { 0 } else { live & (u64::MAX << (first + count)) };
        }
    }
}

/// Bytes of each object of a collected span.
pub(crate) fn object_bytes(span: &'static Span) -> usize {
    match span.class() {
        span::LARGE => span.bytes(),
        class => class::SIZES.get(class as usize).map_or(0, |size| *size as usize),
    }
}

/// The marked objects of a collected span.
pub(crate) fn marked(span: &'static Span) -> impl Iterator<Item = usize> {
    let class = span.class();
    let (start, size) = (span.start(), class::SIZES.get(class as usize).map_or(0, |size| *size as usize));
    let slots = if class == span::LARGE { 1 } else { class::slots(class as usize) };
    (0..slots.div_ceil(64)).flat_map(move |word| {
        let marks = span.side_word(word).load(Ordering::Relaxed) & all_slots(slots, word);
        Bits(marks).map(move |bit| start + (word * 64 + bit) * size)
    })
}
